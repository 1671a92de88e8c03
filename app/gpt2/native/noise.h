/* The noise of draws, from a hash of a row's key and a token's id: the same bits as in sampling.py. */

#ifndef NOISE_H
#define NOISE_H

#include <math.h>
#include <stdint.h>

static inline uint32_t mix_32(uint32_t x) {
    x = (x ^ (x >> 16)) * 0x7FEB352Du;
    x = (x ^ (x >> 15)) * 0x846CA68Bu;
    return x ^ (x >> 16);
}

static inline uint32_t hash(uint64_t key, uint32_t id) {
    return mix_32(mix_32(id * 0x9E3779B1u + (uint32_t)key) + (uint32_t)(key >> 32));
}

/* Gumbel noise from the middle of one of 2^32 equal steps of (0, 1). */
static double gumbel(uint32_t hash) { return -log(-log(((double)hash + 0.5) * 0x1p-32)); }

/* A lower bound of the hashes that give at least this noise. */
static uint32_t least_hash(double noise) {
    double bar = exp(-exp(-noise)) * 0x1p32 - 2;
    return bar > 0 ? (uint32_t)bar : 0;
}

#endif
