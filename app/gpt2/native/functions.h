/* Our own exp, gelu and layer norm: a library's differ from one machine to the next. */

#ifndef FUNCTIONS_H
#define FUNCTIONS_H

#include "vector.h"

/* e^x to 1 or 2 units in the last place, as 2^n e^r with |r| <= ln(2) / 2, where the series of e^r needs
   seven terms. ln(2) is split in two; the first part has few enough digits that n times it is exact.
   x is clamped to -86 .. 88, so the result is never denormal or infinite. */
INLINE vec vec_exp(vec x) {
    x = vec_min(vec_max(x, vec_set(-86.0f)), vec_set(88.0f));
    vec n = vec_round(vec_mul(x, vec_set(1.44269504f)));
    vec r = vec_fma(n, vec_set(-0.693359375f), x);
    r = vec_fma(n, vec_set(2.12194440e-4f), r);
    vec y = vec_set(1.0f / 5040);
    y = vec_fma(y, r, vec_set(1.0f / 720));
    y = vec_fma(y, r, vec_set(1.0f / 120));
    y = vec_fma(y, r, vec_set(1.0f / 24));
    y = vec_fma(y, r, vec_set(1.0f / 6));
    y = vec_fma(y, r, vec_set(0.5f));
    y = vec_fma(y, r, vec_set(1.0f));
    y = vec_fma(y, r, vec_set(1.0f));
    return vec_times_power(y, n);
}

/* OpenAI's: x/2 (1 + tanh(u)) with u = sqrt(2/pi) (x + 0.044715 x^3), which is x / (1 + e^-2u). */
INLINE vec vec_gelu(vec x) {
    vec square = vec_mul(x, x);
    vec minus_2u = vec_mul(x, vec_fma(square, vec_set(-0.0713548163f), vec_set(-1.59576912f)));
    return vec_div(x, vec_add(vec_set(1.0f), vec_exp(minus_2u)));
}

/* y = (x - mean) / sqrt(variance + epsilon) * weight + bias, over n channels. Arrays are padded with
   zeros to `width`, a multiple of 16. */
static void norm(float *y, const float *x, const float *weight, const float *bias, int n, int width,
                 float epsilon) {
    vec sum = vec_set(0);
    for (int k = 0; k < width; k += LANES) sum = vec_add(sum, vec_load(x + k));
    vec mean = vec_set(vec_sum(sum) / (float)n);
    vec squares = vec_set(0);
    for (int k = 0; k < width; k += LANES) {
        vec off = vec_first(vec_sub(vec_load(x + k), mean), n - k < 0 ? 0 : n - k, 0);
        vec_store(y + k, off);
        squares = vec_fma(off, off, squares);
    }
    vec factor = vec_set(1.0f / sqrtf(vec_sum(squares) / (float)n + epsilon));
    for (int k = 0; k < width; k += LANES) {
        vec scaled = vec_mul(vec_load(y + k), factor);
        vec_store(y + k, vec_fma(scaled, vec_load(weight + k), vec_load(bias + k)));
    }
}

/* The greatest |x| of n, a multiple of 16; nan if any is nan or infinite, which a maximum would hide. */
INLINE float greatest_size(const float *x, int n) {
    vec most = vec_set(0), zeros = vec_set(0);
    for (int k = 0; k < n; k += LANES) {
        vec here = vec_load(x + k);
        most = vec_max(vec_abs(here), most);
        zeros = vec_fma(here, vec_set(0), zeros);
    }
    return vec_greatest(most) + vec_sum(zeros);
}

/* Rounding to int8: 127 steps from zero to the greatest |x|. Sizes too small to matter count as zero. */
INLINE float steps_per_one(float size) { return size > 1e-30f ? 127.0f / size : 0.0f; }
INLINE float step_of(float size) { return size < 1e-30f ? 0.0f : size / 127.0f; } /* nan stays nan */

/* x [n] in steps of its greatest / 127, as bytes with `bias` added. Returns the step. */
INLINE float round_to_int8(int8_t *y, const float *x, int n, int bias) {
    float size = greatest_size(x, n);
    vec factor = vec_set(steps_per_one(size));
    for (int k = 0; k < n; k += LANES)
        vec_to_int8(y + k, vec_round(vec_mul(vec_load(x + k), factor)), bias);
    return step_of(size);
}

#endif
