/* Rows of x times a matrix, 64 outputs at a time: the unit of a thread's work.

   Weights are packed so that one load serves sixteen outputs and nothing is added across lanes:
     int8                [outputs/16][inputs/4][16][4]
     bfloat16, float32   [outputs/16][inputs][16]
   Every width is padded with zeros to a multiple of 64.

   int8: each row of x is divided by the vector that the weights were multiplied by (see packing.py), and
   rounded. Sums are integers, so they are exact.
   Floats: each output is a sum over its inputs, one by one, in the same order whatever the batch. */

#ifndef MATRIX_H
#define MATRIX_H

#include <stddef.h>

#include "functions.h"

#define PIECE 64 /* outputs */

enum kind { INT8, BFLOAT16, FLOAT32 };

typedef struct matrix {
    const void *weights;
    const float *bias;     /* [out] */
    const float *scales;   /* [out] of int8 */
    const int32_t *sums;   /* [out] of int8: the sum of an output's weights */
    const float *inverses; /* [in] of int8: one over the vector */
    float *greatest;       /* [in] the greatest |x| met, or NULL not to record it */
    int32_t kind, n_in, n_out;
} matrix;

typedef struct inputs {
    const float *floats; /* [n][stride] */
    const int8_t *bytes; /* [n][stride] rounded, QUAD_BIAS added */
    const float *steps;  /* [n] */
    size_t stride;
} inputs;

enum how { STORE, ADD, GELU };

typedef struct outputs {
    float *to; /* [n][stride] */
    size_t stride;
    enum how how;
} outputs;

/* The weight of one input in one output; int8 as its factors restore it. */
INLINE float weight_at(const matrix *m, int out, int in) {
    const size_t block = (size_t)(out / LANES * LANES) * (size_t)m->n_in, lane = (size_t)(out % LANES);
    if (m->kind == INT8) {
        size_t at = block + (size_t)(in / 4 * 4) * LANES + lane * 4 + (size_t)(in % 4);
        return (float)((const int8_t *)m->weights)[at] * m->scales[out] * m->inverses[in];
    }
    size_t at = block + (size_t)in * LANES + lane;
    if (m->kind == FLOAT32) return ((const float *)m->weights)[at];
    uint32_t bits = (uint32_t)((const uint16_t *)m->weights)[at] << 16;
    float w;
    return *(float *)memcpy(&w, &bits, sizeof w);
}

/* Rounds x [n_in] for an int8 matrix. Returns the step. */
static float round_inputs(int8_t *bytes, const float *x, const matrix *m) {
    vec most = vec_set(0), zeros = vec_set(0);
    for (int k = 0; k < m->n_in; k += LANES) {
        vec here = vec_mul(vec_load(x + k), vec_load(m->inverses + k));
        most = vec_max(vec_abs(here), most);
        zeros = vec_fma(here, vec_set(0), zeros);
    }
    float size = vec_greatest(most) + vec_sum(zeros);
    vec factor = vec_set(steps_per_one(size));
    for (int k = 0; k < m->n_in; k += LANES) {
        vec here = vec_mul(vec_load(x + k), vec_load(m->inverses + k));
        vec_to_int8(bytes + k, vec_round(vec_mul(here, factor)), QUAD_BIAS);
    }
    return step_of(size);
}

/* Fetches the weights of the thread's next tile while this one is computed. */
INLINE void fetch_later(const void *from) { __builtin_prefetch(from, 0, 2); }

INLINE void put(const outputs *out, size_t row, int at, vec y) {
    float *to = out->to + row * out->stride + at;
    if (out->how == GELU) y = vec_gelu(y);
    if (out->how == ADD) y = vec_add(vec_load(to), y);
    vec_store(to, y);
}

/* Tiles of R rows by 16 NB outputs: as many sums as fit in registers. */
#define NB TILE_SIXTEENS

INLINE void tile_int8(const int R, const matrix *m, const inputs *x, size_t row, int at, int later,
                      const outputs *out) {
    const int8_t *w = (const int8_t *)m->weights + (size_t)at * m->n_in;
    const int8_t *w_later = (const int8_t *)m->weights + (size_t)later * m->n_in;
    const int8_t *rows = x->bytes + row * x->stride;
    const size_t next = (size_t)m->n_in * LANES;
    ivec sums[TILE_ROWS][NB];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int b = 0; b < NB; b++) sums[r][b] = ivec_set(0);
    for (int k = 0; k < m->n_in; k += 4) {
        quads ws[NB];
#pragma GCC unroll 2
        for (int b = 0; b < NB; b++) {
            fetch_later(w_later + b * next + (size_t)k * LANES);
            ws[b] = quads_load(w + b * next + (size_t)k * LANES);
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            quad four = quad_load(rows + r * x->stride + k);
#pragma GCC unroll 2
            for (int b = 0; b < NB; b++) sums[r][b] = ivec_dot(sums[r][b], ws[b], four);
        }
    }
#pragma GCC unroll 2
    for (int b = 0; b < NB; b++) {
        int o = at + b * LANES;
        vec scales = vec_load(m->scales + o), bias = vec_load(m->bias + o);
        ivec biased = ivec_times(ivec_load(m->sums + o), -QUAD_BIAS);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            vec factor = vec_mul(vec_set(x->steps[row + r]), scales);
            put(out, row + r, o, vec_fma(vec_from_ivec(ivec_add(sums[r][b], biased)), factor, bias));
        }
    }
}

INLINE vec load_weights(const enum kind kind, const void *weights, size_t at) {
    if (kind == BFLOAT16) return vec_from_bf16((const uint16_t *)weights + at);
    return vec_load((const float *)weights + at);
}

INLINE void tile_floats(const int R, const enum kind kind, const matrix *m, const inputs *x, size_t row, int at,
                        const outputs *out) {
    const size_t first = (size_t)at * m->n_in, next = (size_t)m->n_in * LANES;
    const float *rows = x->floats + row * x->stride;
    vec sums[TILE_ROWS][NB];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int b = 0; b < NB; b++) sums[r][b] = vec_set(0);
    for (int k = 0; k < m->n_in; k++) {
        vec ws[NB];
#pragma GCC unroll 2
        for (int b = 0; b < NB; b++) ws[b] = load_weights(kind, m->weights, first + b * next + (size_t)k * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            vec one = vec_set(rows[r * x->stride + k]);
#pragma GCC unroll 2
            for (int b = 0; b < NB; b++) sums[r][b] = vec_fma(one, ws[b], sums[r][b]);
        }
    }
#pragma GCC unroll 2
    for (int b = 0; b < NB; b++)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            int o = at + b * LANES;
            put(out, row + r, o, vec_add(sums[r][b], vec_load(m->bias + o)));
        }
}

#define TILE(R)                                                                                    \
    case R:                                                                                        \
        if (m->kind == INT8) tile_int8(R, m, x, row, at, later, out);                              \
        else if (m->kind == BFLOAT16) tile_floats(R, BFLOAT16, m, x, row, at, out);                \
        else tile_floats(R, FLOAT32, m, x, row, at, out);                                          \
        break;

/* The 64 outputs of a piece, for all n rows. `after`: the piece that this thread will likely take next. */
static void multiply(const matrix *m, const inputs *x, size_t n, int piece, int after, const outputs *out) {
    for (int at = piece * PIECE, later; at < (piece + 1) * PIECE; at += NB * LANES) {
        later = at + NB * LANES < (piece + 1) * PIECE ? at + NB * LANES : after * PIECE;
        if (later >= m->n_out) later = at;
        for (size_t row = 0; row < n;) {
            int R = n - row < TILE_ROWS ? (int)(n - row) : TILE_ROWS;
            switch (R) {
                TILE(1)
#if TILE_ROWS >= 4
                TILE(2) TILE(3) TILE(4)
#endif
#if TILE_ROWS >= 8
                TILE(5) TILE(6) TILE(7) TILE(8)
#endif
            }
            row += (size_t)R;
        }
    }
}

#endif
