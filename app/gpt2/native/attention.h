/* Attention over pages of 32 tokens, and the layout of keys and values in them.

   Each layer, page and head has a record. As int8, each token's keys and values are scaled by their
   own greatest:
     keys    int8  [D/4][32][4]   one load serves sixteen tokens, as weights serve sixteen outputs
     values  int8  [32][D]
     steps   float [32] of keys, [32] of values;  sums int32 [32] of keys
   As float32:
     keys    float [D][32]
     values  float [32][D]
   D is a head's size, padded with zeros to a multiple of 16.

   A token's result does not depend on what it was computed together with: scores are independent, a
   maximum has no order, and the sums of weights (sixteen positions at a time) and of values (one by
   one) always start at position 0. */

#ifndef ATTENTION_H
#define ATTENTION_H

#include <stdbool.h>

#include "functions.h"

#define PAGE 32
#define MOST_HEAD 512 /* the largest D: see model.py */
#define QUERIES 8 /* tokens of a row that go through its pages together */

typedef struct shape { /* of the cache */
    int n_heads, head, padded; /* D before and after padding */
    bool is_int8;              /* or float32 */
    size_t record;             /* bytes */
} shape;

static size_t record_bytes(bool is_int8, int padded) {
    size_t numbers = 2 * (size_t)padded * PAGE;
    return is_int8 ? numbers + 3 * PAGE * sizeof(float) : numbers * sizeof(float);
}

typedef struct record { /* pointers to its parts */
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

/* Store one token's keys k [D] and values v [D] at its place in the record. */
static void remember(const shape *s, record to, int place, const float *k, const float *v) {
    float padded[2][MOST_HEAD] = {{0}};
    memcpy(padded[0], k, (size_t)s->head * sizeof(float));
    memcpy(padded[1], v, (size_t)s->head * sizeof(float));
    if (!s->is_int8) {
        for (int d = 0; d < s->padded; d++) to.float_keys[d * PAGE + place] = padded[0][d];
        memcpy(to.float_values + (size_t)place * (size_t)s->padded, padded[1], (size_t)s->padded * sizeof(float));
        return;
    }
    int8_t keys[MOST_HEAD];
    int32_t sum = 0;
    to.key_steps[place] = round_to_int8(keys, padded[0], s->padded, 0);
    for (int d = 0; d < s->padded; d += 4) memcpy(to.keys + (size_t)(d * PAGE + place * 4), keys + d, 4);
    for (int d = 0; d < s->padded; d++) sum += keys[d];
    to.key_sums[place] = sum;
    to.value_steps[place] = round_to_int8(to.values + (size_t)place * (size_t)s->padded, padded[1], s->padded, 0);
}

/* ---- queries ---- */

typedef struct query {
    float floats[MOST_HEAD];                /* [D] scaled */
    int8_t high[MOST_HEAD], low[MOST_HEAD]; /* [D] as integers of 14 bits, 127 high + low */
    float step;
} query;

/* q [D] times `scale`. A single byte per number would add a rounding as coarse as that of the keys. */
static void prepare_query(const shape *s, query *to, const float *q, float scale) {
    memset(to->floats, 0, (size_t)s->padded * sizeof(float));
    for (int d = 0; d < s->head; d++) to->floats[d] = q[d] * scale;
    if (!s->is_int8) return;
    float size = greatest_size(to->floats, s->padded);
    vec factor = vec_set(steps_per_one(size));
    for (int d = 0; d < s->padded; d += LANES) {
        vec x = vec_mul(vec_load(to->floats + d), factor);
        vec high = vec_round(x);
        vec_to_int8(to->high + d, high, QUAD_BIAS);
        vec_to_int8(to->low + d, vec_round(vec_mul(vec_sub(x, high), vec_set(127.0f))), QUAD_BIAS);
    }
    to->step = step_of(size) / 127.0f;
}

/* The scores of one query with the 32 keys of a record. */
INLINE void score_page(const shape *s, const record *at, const query *q, float *scores) {
    if (!s->is_int8) {
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

/* Turns the first n scores into weights e^(score - greatest), the rest into 0. Returns their sum. */
static float exponentiate(float *scores, int n) {
    vec most = vec_set(-INFINITY);
    for (int k = 0; k < n; k += LANES)
        most = vec_max(vec_first(vec_load(scores + k), n - k, -INFINITY), most);
    vec greatest = vec_set(vec_greatest(most)), sum = vec_set(0);
    for (int k = 0; k < n; k += LANES) {
        vec weights = vec_first(vec_exp(vec_sub(vec_load(scores + k), greatest)), n - k, 0);
        vec_store(scores + k, weights);
        sum = vec_add(sum, weights);
    }
    return vec_sum(sum);
}

/* Adds the first n values of a page, each times its weight, to 16 C sums. */
INLINE void add_values(const int C, const bool is_int8, float *sums, const void *values, int padded,
                       const float *weights, int n) {
    vec sum[4];
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) sum[c] = vec_load(sums + c * LANES);
    for (int t = 0; t < n; t++) {
        vec weight = vec_set(weights[t]);
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) {
            size_t at = (size_t)t * (size_t)padded + (size_t)(c * LANES);
            vec value = is_int8 ? vec_from_int8((const int8_t *)values + at) : vec_load((const float *)values + at);
            sum[c] = vec_fma(weight, value, sum[c]);
        }
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) vec_store(sums + c * LANES, sum[c]);
}

INLINE void add_all_values(const bool is_int8, float *sums, const void *values, int padded, const float *weights,
                           int n) {
    const size_t size = is_int8 ? 1 : sizeof(float);
    int d = 0;
    for (; d + 4 * LANES <= padded; d += 4 * LANES)
        add_values(4, is_int8, sums + d, (const char *)values + (size_t)d * size, padded, weights, n);
    for (; d < padded; d += LANES)
        add_values(1, is_int8, sums + d, (const char *)values + (size_t)d * size, padded, weights, n);
}

/* ---- a few tokens of one row, one head ---- */

/* Prefetch what is read next: a row's pages may be anywhere in memory. */
INLINE void fetch(const void *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch((const char *)from + at, 0, 2);
}

typedef struct span { /* consecutive tokens of a row */
    int token, n;     /* the first one's index in this part of the turn, and how many */
    int position;     /* of the first one */
    const int32_t *pages;
} span;

typedef struct desk { /* one thread's scratch memory */
    query queries[QUERIES];
    float sums[QUERIES][MOST_HEAD];
    float values[PAGE * MOST_HEAD];
    float *scores; /* [QUERIES][length] */
    size_t length;
} desk;

/* Reads the query of each token of the span, and writes its attention [D]; strides are from one token
   to the next. */
static void attend(const shape *s, char *layer, const span *of, int head, float scale, const float *q,
                   size_t q_stride, float *out, size_t out_stride, desk *d) {
    const int n_pages = (of->position + of->n - 1) / PAGE + 1;
    const size_t half = (size_t)s->padded * PAGE * (s->is_int8 ? 1 : sizeof(float)); /* a record's keys, or its values */
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
            if (s->is_int8) fetch(next.key_steps, s->record - 2 * half);
        }
        for (int i = 0; i < of->n; i++)
            score_page(s, &at, &d->queries[i], d->scores + (size_t)i * d->length + (size_t)p * PAGE);
    }
    float shares[QUERIES];
    for (int i = 0; i < of->n; i++)
        shares[i] = 1.0f / exponentiate(d->scores + (size_t)i * d->length, of->position + i + 1);
    for (int p = 0; p < n_pages; p++) {
        record at = record_at(s, layer, of->pages[p], head);
        if (p + 1 < n_pages) fetch((char *)record_at(s, layer, of->pages[p + 1], head).keys + half, half);
        bool unpack = s->is_int8 && of->n > 1;
        if (unpack)
            for (int k = 0; k < PAGE * s->padded; k += LANES) vec_store(d->values + k, vec_from_int8(at.values + k));
        for (int i = 0; i < of->n; i++) {
            float *weights = d->scores + (size_t)i * d->length + (size_t)p * PAGE;
            int n = of->position + i + 1 - p * PAGE;
            if (n <= 0) continue;
            if (n > PAGE) n = PAGE;
            if (s->is_int8)
                for (int t = 0; t < PAGE; t += LANES)
                    vec_store(weights + t, vec_mul(vec_load(weights + t), vec_load(at.value_steps + t)));
            if (unpack) add_all_values(false, d->sums[i], d->values, s->padded, weights, n);
            else if (s->is_int8) add_all_values(true, d->sums[i], at.values, s->padded, weights, n);
            else add_all_values(false, d->sums[i], at.float_values, s->padded, weights, n);
        }
    }
    for (int i = 0; i < of->n; i++)
        for (int k = 0; k < s->head; k++)
            out[(size_t)i * out_stride + (size_t)k] = d->sums[i][k] * shares[i];
}

#endif
