/* The noise of draws: which tokens have much of it. The same bits as _hash in sampling.py. */

#ifndef NOISE_H
#define NOISE_H

#include <stdint.h>

#define HASHED 1024 /* ids at a time: their hashes stay in the nearest cache */

static inline uint32_t mix_32(uint32_t x) {
    x = (x ^ (x >> 16)) * 0x7FEB352Du;
    x = (x ^ (x >> 15)) * 0x846CA68Bu;
    return x ^ (x >> 16);
}

static inline uint32_t hash(uint64_t key, uint32_t id) {
    return mix_32(mix_32(id * 0x9E3779B1u + (uint32_t)key) + (uint32_t)(key >> 32));
}

/* Ids below `n` whose hash is at least `bar`, rising, and their hashes: room for n each. How many. */
int32_t native_loud(uint64_t key, int32_t n, uint32_t bar, int32_t *ids, uint32_t *hashes) {
    uint32_t some[HASHED];
    int32_t found = 0;
    for (int32_t begin = 0; begin < n; begin += HASHED) {
        int32_t m = n - begin < HASHED ? n - begin : HASHED;
        uint32_t n_loud = 0;
        for (int32_t i = 0; i < m; i++) {
            some[i] = hash(key, (uint32_t)(begin + i));
            n_loud += some[i] >= bar;
        }
        for (int32_t i = 0; n_loud > 0; i++) {
            if (some[i] < bar) continue;
            ids[found] = begin + i;
            hashes[found++] = some[i];
            n_loud--;
        }
    }
    return found;
}

#endif
