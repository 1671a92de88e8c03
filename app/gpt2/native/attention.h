/* Attention over pages of 32 tokens, and how keys and values lie in them.

   Of each layer, page and head there is a record. In whole numbers, each token's keys and values in
   steps of their own greatest:
     keys    int8  [D/4][32][4]   a load serves sixteen tokens, as weights serve sixteen outputs
     values  int8  [32][D]
     steps   float [32] of keys, [32] of values;  sums int32 [32] of keys
   In float32:
     keys    float [D][32]
     values  float [32][D]
   D is a head's size, padded with zeros to a multiple of 16.

   A token's result does not depend on how it came to be computed: each score is its own; the greatest
   is the greatest in any order; odds are added up sixteen positions at a time from position 0 on, and
   values one by one. */

#ifndef ATTENTION_H
#define ATTENTION_H

#include <stdbool.h>

#include "functions.h"

#define PAGE 32
#define QUERIES 8 /* tokens of a row that look at its pages together */

typedef struct shape { /* of the cache */
    int n_heads, head, padded; /* D as it is, and padded */
    bool whole;                /* int8, or float32 */
    size_t record;             /* bytes */
} shape;

static size_t record_bytes(bool whole, int padded) {
    size_t numbers = 2 * (size_t)padded * PAGE;
    return whole ? numbers + 3 * PAGE * sizeof(float) : numbers * sizeof(float);
}

typedef struct record { /* where its parts are */
    int8_t *keys, *values;
    float *key_steps, *value_steps;
    int32_t *key_sums;
    float *float_keys, *float_values;
} record;

INLINE record record_at(const shape *s, char *layer, int page, int head) {
    char *at = layer + ((size_t)page * (size_t)s->n_heads + (size_t)head) * s->record;
    size_t numbers = (size_t)s->padded * PAGE;
    char *steps = at + 2 * numbers;
    return (record){
        .keys = (int8_t *)at,
        .values = (int8_t *)at + numbers,
        .key_steps = (float *)steps,
        .value_steps = (float *)steps + PAGE,
        .key_sums = (int32_t *)steps + 2 * PAGE,
        .float_keys = (float *)at,
        .float_values = (float *)at + numbers,
    };
}

/* Keys k [D] and values v [D] of one token, to its place in the record. `room`: [D] of floats and
   bytes for their padding. */
static void remember(const shape *s, record to, int place, const float *k, const float *v) {
    float padded[2][512] = {{0}};
    memcpy(padded[0], k, (size_t)s->head * sizeof(float));
    memcpy(padded[1], v, (size_t)s->head * sizeof(float));
    if (!s->whole) {
        for (int d = 0; d < s->padded; d++) to.float_keys[d * PAGE + place] = padded[0][d];
        memcpy(to.float_values + (size_t)place * (size_t)s->padded, padded[1], (size_t)s->padded * sizeof(float));
        return;
    }
    int8_t keys[512];
    int32_t sum = 0;
    to.key_steps[place] = round_to_int8(keys, padded[0], s->padded, 0);
    for (int d = 0; d < s->padded; d += 4) memcpy(to.keys + (size_t)(d * PAGE + place * 4), keys + d, 4);
    for (int d = 0; d < s->padded; d++) sum += keys[d];
    to.key_sums[place] = sum;
    to.value_steps[place] = round_to_int8(to.values + (size_t)place * (size_t)s->padded, padded[1], s->padded, 0);
}

/* ---- what queries are made of ---- */

typedef struct query {
    float floats[512];        /* scaled; [D] */
    int8_t high[512], low[512]; /* in whole numbers, 127 `high` + `low`: 14 bits */
    float step;
} query;

/* q [D] times `scale`. One byte a number would be one rounding as coarse as that of the keys more. */
static void prepare_query(const shape *s, query *to, const float *q, float scale) {
    memset(to->floats, 0, (size_t)s->padded * sizeof(float));
    for (int d = 0; d < s->head; d++) to->floats[d] = q[d] * scale;
    if (!s->whole) return;
    float size = greatest_size(to->floats, s->padded);
    vec factor = vec_set(steps_per_one(size));
    for (int d = 0; d < s->padded; d += LANES) {
        vec x = vec_mul(vec_load(to->floats + d), factor);
        vec whole = vec_round(x);
        vec_to_int8(to->high + d, whole, QUAD_BIAS);
        vec_to_int8(to->low + d, vec_round(vec_mul(vec_sub(x, whole), vec_set(127.0f))), QUAD_BIAS);
    }
    to->step = step_of(size) / 127.0f;
}

/* Of one query with the 32 keys of a record. */
INLINE void score_page(const shape *s, const record *at, const query *q, float *scores) {
    if (!s->whole) {
        vec sums[2] = {vec_set(0), vec_set(0)};
        for (int d = 0; d < s->padded; d++)
            for (int half = 0; half < 2; half++) {
                vec keys = vec_load(at->float_keys + d * PAGE + half * LANES);
                sums[half] = vec_fma(vec_set(q->floats[d]), keys, sums[half]);
            }
        for (int half = 0; half < 2; half++) vec_store(scores + half * LANES, sums[half]);
        return;
    }
    ivec high[2] = {ivec_set(0), ivec_set(0)}, low[2] = {ivec_set(0), ivec_set(0)};
    for (int d = 0; d < s->padded; d += 4) {
        quad h = quad_load(q->high + d), l = quad_load(q->low + d);
        for (int half = 0; half < 2; half++) {
            quads keys = quads_load(at->keys + d * PAGE + half * 4 * LANES);
            high[half] = ivec_dot(high[half], keys, h);
            low[half] = ivec_dot(low[half], keys, l);
        }
    }
    for (int half = 0; half < 2; half++) {
        ivec biased = ivec_times(ivec_load(at->key_sums + half * LANES), -128 * QUAD_BIAS);
        ivec sum = ivec_add(ivec_add(ivec_times(high[half], 127), low[half]), biased);
        vec steps = vec_mul(vec_set(q->step), vec_load(at->key_steps + half * LANES));
        vec_store(scores + half * LANES, vec_mul(vec_from_ivec(sum), steps));
    }
}

/* Scores become odds that add up to what is returned; none beyond the first n. Returns their sum. */
static float soften(float *scores, int n) {
    vec most = vec_set(-INFINITY);
    for (int k = 0; k < n; k += LANES)
        most = vec_max(vec_first(vec_load(scores + k), n - k, -INFINITY), most);
    vec greatest = vec_set(vec_greatest(most)), sum = vec_set(0);
    for (int k = 0; k < n; k += LANES) {
        vec odds = vec_first(vec_exp(vec_sub(vec_load(scores + k), greatest)), n - k, 0);
        vec_store(scores + k, odds);
        sum = vec_add(sum, odds);
    }
    return vec_sum(sum);
}

/* Adds the first n values of a page, each times its weight, to C sixteens of sums. */
INLINE void add_values(const int C, const bool whole, float *sums, const void *values, int padded,
                       const float *weights, int n) {
    vec sum[4];
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) sum[c] = vec_load(sums + c * LANES);
    for (int t = 0; t < n; t++) {
        vec weight = vec_set(weights[t]);
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) {
            size_t at = (size_t)t * (size_t)padded + (size_t)(c * LANES);
            vec value = whole ? vec_from_int8((const int8_t *)values + at) : vec_load((const float *)values + at);
            sum[c] = vec_fma(weight, value, sum[c]);
        }
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) vec_store(sums + c * LANES, sum[c]);
}

INLINE void add_all_values(const bool whole, float *sums, const void *values, int padded, const float *weights,
                           int n) {
    const size_t size = whole ? 1 : sizeof(float);
    int d = 0;
    for (; d + 4 * LANES <= padded; d += 4 * LANES)
        add_values(4, whole, sums + d, (const char *)values + (size_t)d * size, padded, weights, n);
    for (; d < padded; d += LANES)
        add_values(1, whole, sums + d, (const char *)values + (size_t)d * size, padded, weights, n);
}

/* ---- a few tokens of one row, one head ---- */

/* What is read soon, so that it is there by then: a row's pages lie anywhere. */
INLINE void fetch(const void *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch((const char *)from + at, 0, 2);
}

typedef struct span { /* tokens that follow each other */
    int token, n;     /* the first of them in the turn, and how many */
    int position;     /* the first one's */
    const int32_t *pages;
} span;

typedef struct desk { /* a thread's own */
    query queries[QUERIES];
    float sums[QUERIES][512];
    float values[PAGE * 512];
    float *scores; /* [QUERIES][length] */
    size_t length;
} desk;

/* From q, of which a token's lies `stride` behind the one before: out [D] of each token likewise. */
static void attend(const shape *s, char *layer, const span *of, int head, float scale, const float *q,
                   size_t q_stride, float *out, size_t out_stride, desk *d) {
    const int n_pages = (of->position + of->n - 1) / PAGE + 1;
    const size_t half = (size_t)s->padded * PAGE * (s->whole ? 1 : sizeof(float)); /* of a record: keys, values */
    fetch(record_at(s, layer, of->pages[0], head).keys, s->record);
    for (int i = 0; i < of->n; i++) {
        prepare_query(s, &d->queries[i], q + (size_t)i * q_stride, scale);
        memset(d->sums[i], 0, (size_t)s->padded * sizeof(float));
    }
    for (int p = 0; p < n_pages; p++) {
        record at = record_at(s, layer, of->pages[p], head);
        if (p + 1 < n_pages) {
            record next = record_at(s, layer, of->pages[p + 1], head);
            fetch(next.keys, half);
            if (s->whole) fetch(next.key_steps, s->record - 2 * half);
        }
        for (int i = 0; i < of->n; i++)
            score_page(s, &at, &d->queries[i], d->scores + (size_t)i * d->length + (size_t)p * PAGE);
    }
    float shares[QUERIES];
    for (int i = 0; i < of->n; i++)
        shares[i] = 1.0f / soften(d->scores + (size_t)i * d->length, of->position + i + 1);
    for (int p = 0; p < n_pages; p++) {
        record at = record_at(s, layer, of->pages[p], head);
        if (p + 1 < n_pages) fetch((char *)record_at(s, layer, of->pages[p + 1], head).keys + half, half);
        bool unpack = s->whole && of->n > 1;
        if (unpack)
            for (int k = 0; k < PAGE * s->padded; k += LANES) vec_store(d->values + k, vec_from_int8(at.values + k));
        for (int i = 0; i < of->n; i++) {
            float *weights = d->scores + (size_t)i * d->length + (size_t)p * PAGE;
            int n = of->position + i + 1 - p * PAGE;
            if (n <= 0) continue;
            if (n > PAGE) n = PAGE;
            if (s->whole)
                for (int t = 0; t < PAGE; t += LANES)
                    vec_store(weights + t, vec_mul(vec_load(weights + t), vec_load(at.value_steps + t)));
            if (unpack) add_all_values(false, d->sums[i], d->values, s->padded, weights, n);
            else if (s->whole) add_all_values(true, d->sums[i], at.values, s->padded, weights, n);
            else add_all_values(false, d->sums[i], at.float_values, s->padded, weights, n);
        }
    }
    for (int i = 0; i < of->n; i++)
        for (int k = 0; k < s->head; k++)
            out[(size_t)i * out_stride + (size_t)k] = d->sums[i][k] * shares[i];
}

#endif
