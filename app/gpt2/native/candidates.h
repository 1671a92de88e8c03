/* The likeliest tokens of a row of logits, in falling order, equals by rising id. */

#ifndef CANDIDATES_H
#define CANDIDATES_H

#include <stdlib.h>

#include "vector.h"

#define GROUP 64

/* An integer that orders as x does, with 0.0 and -0.0 equal. */
INLINE int32_t rank_of(float x) {
    int32_t bits;
    x += 0.0f;
    memcpy(&bits, &x, sizeof bits);
    return bits ^ ((bits >> 31) & 0x7FFFFFFF);
}

/* Greater for a greater score, then for a smaller id. */
INLINE int64_t key_of(float x, int id) { return (int64_t)rank_of(x) * (INT64_C(1) << 32) + (INT32_MAX - id); }

static int falling(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* The k-th greatest of n integers, which it reorders. */
static int32_t kth_greatest(int32_t *x, int n, int k) {
    int low = 0, high = n - 1;
    while (low < high) {
        int32_t pivot = x[(low + high) / 2];
        int i = low, j = high;
        while (i <= j) {
            while (x[i] > pivot) i++;
            while (x[j] < pivot) j--;
            if (i <= j) {
                int32_t swap = x[i];
                x[i++] = x[j];
                x[j--] = swap;
            }
        }
        if (k - 1 <= j) high = j;
        else if (k - 1 >= i) low = i;
        else break;
    }
    return x[k - 1];
}

static void name_found(const int64_t *found, int n, const float *logits, int32_t *ids, float *scores) {
    for (int i = 0; i < n; i++) {
        ids[i] = INT32_MAX - (int32_t)(found[i] & 0xFFFFFFFF);
        scores[i] = logits[ids[i]];
    }
}

/* Writes the likeliest ids [k] of logits [n], and their scores [k]. `greatest` and `found` are scratch:
   2 (n / 64 + 1) and n numbers. */
static void likeliest(const float *logits, int n, int k, int32_t *ids, float *scores, int32_t *greatest,
                      int64_t *found) {
    /* 1. The greatest rank of each group of 64. */
    int n_groups = (n + GROUP - 1) / GROUP, n_found = 0;
    int32_t bar = INT32_MIN;
    for (int g = 0; g < n_groups; g++) {
        int32_t most = INT32_MIN;
        int end = (g + 1) * GROUP < n ? (g + 1) * GROUP : n;
        for (int i = g * GROUP; i < end; i++) {
            int32_t rank = rank_of(logits[i]);
            most = rank > most ? rank : most;
        }
        greatest[g] = most;
    }
    /* 2. The k-th greatest of these is a bar: at least k ranks reach it, so none below it is needed. */
    if (n_groups >= k) {
        int32_t *copy = greatest + n_groups;
        memcpy(copy, greatest, (size_t)n_groups * sizeof *copy);
        bar = kth_greatest(copy, n_groups, k);
    }
    /* 3. All that reach it, in the groups whose greatest does. */
    for (int g = 0; g < n_groups; g++) {
        if (greatest[g] < bar) continue;
        int end = (g + 1) * GROUP < n ? (g + 1) * GROUP : n;
        for (int i = g * GROUP; i < end; i++)
            if (rank_of(logits[i]) >= bar) found[n_found++] = key_of(logits[i], i);
    }
    /* 4. In order. */
    qsort(found, (size_t)n_found, sizeof *found, falling);
    name_found(found, k, logits, ids, scores);
}

/* Swaps the logits of ids [m], all different, with `scores` [m]. */
static void exchange(float *logits, const int32_t *ids, float *scores, int m) {
    for (int i = 0; i < m; i++) {
        float logit = logits[ids[i]];
        logits[ids[i]] = scores[i];
        scores[i] = logit;
    }
}

/* Inserts a key among n in falling order. */
static int insert(int64_t *keys, int n, int64_t key) {
    int place = n;
    for (; place > 0 && keys[place - 1] < key; place--) keys[place] = keys[place - 1];
    keys[place] = key;
    return n + 1;
}

/* Writes the likeliest ids and scores after an exchange; `top_ids` and `top_scores` [k] were the
   likeliest before it. Other tokens had at most the last one's score, so only the order above it is
   certain. Returns how many that are, at most k. */
static int rank_again(const float *logits, const int32_t *top_ids, const float *top_scores, int k,
                      const int32_t *changed, const float *before, int m, int32_t *ids, float *scores,
                      int64_t *found) {
    const float bar = top_scores[k - 1];
    int n = 0;
    for (int i = 0; i < k; i++) {
        float score = logits[top_ids[i]];
        if (score == top_scores[i] && score > bar) n = insert(found, n, key_of(score, top_ids[i]));
    }
    for (int i = 0; i < m; i++) {
        float score = logits[changed[i]];
        if (score != before[i] && score > bar) n = insert(found, n, key_of(score, changed[i]));
    }
    if (n > k) n = k;
    name_found(found, n, logits, ids, scores);
    return n;
}

#endif
