/* Sixteen numbers at a time: the same results, to the bit, on every processor.

   `vec` is 16 floats, `ivec` 16 integers of 32 bits. There are three versions of each function: AVX-512,
   AVX2, and plain C, which defines what the others compute. All round as IEEE 754 says after each
   operation; they are fused only where the name says fma (-ffp-contract=off). Sums across the sixteen
   follow one fixed tree: 8 + 8, 4 + 4, 2 + 2, 1 + 1. */

#ifndef VECTOR_H
#define VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define LANES 16

/* The least multiple of 16 that is at least n. */
INLINE int whole_vectors(int n) { return (n + LANES - 1) / LANES * LANES; }

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VNNI__)

#define ISA "avx512-vnni"
#define TILE_ROWS 8 /* of sums, as many as fit in registers: see matrix.h */
#define TILE_SIXTEENS 2

typedef __m512 vec;
typedef __m512i ivec;

INLINE vec vec_set(float x) { return _mm512_set1_ps(x); }
INLINE vec vec_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void vec_store(float *p, vec a) { _mm512_storeu_ps(p, a); }
INLINE vec vec_add(vec a, vec b) { return _mm512_add_ps(a, b); }
INLINE vec vec_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
INLINE vec vec_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
INLINE vec vec_div(vec a, vec b) { return _mm512_div_ps(a, b); }
INLINE vec vec_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vec vec_max(vec a, vec b) { return _mm512_max_ps(a, b); }
INLINE vec vec_min(vec a, vec b) { return _mm512_min_ps(a, b); }
INLINE vec vec_abs(vec a) { return _mm512_abs_ps(a); }
/* x where a < b, else 0. */
INLINE vec vec_if_less(vec a, vec b, vec x) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), x);
}
INLINE vec vec_round(vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

/* The first n lanes of a, and `other` in the rest. */
INLINE vec vec_first(vec a, int n, float other) {
    __mmask16 mask = (__mmask16)(n >= LANES ? 0xFFFF : (1u << n) - 1);
    return _mm512_mask_blend_ps(mask, _mm512_set1_ps(other), a);
}
INLINE vec vec_from_bf16(const uint16_t *p) {
    __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
}
INLINE vec vec_from_int8(const int8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
/* Integers from -127 to 127 as bytes, with `bias` added. */
INLINE void vec_to_int8(int8_t *p, vec a, int bias) {
    __m512i x = _mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(bias));
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(x));
}
/* y * 2^n, for integers n that keep it a normal number. */
INLINE vec vec_times_power(vec y, vec n) {
    __m512i bits = _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(y), bits));
}
INLINE __m256 low_half(vec a) { return _mm512_castps512_ps256(a); }
INLINE __m256 high_half(vec a) {
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
}

INLINE ivec ivec_set(int32_t x) { return _mm512_set1_epi32(x); }
INLINE ivec ivec_load(const int32_t *p) { return _mm512_loadu_si512(p); }
INLINE ivec ivec_add(ivec a, ivec b) { return _mm512_add_epi32(a, b); }
INLINE ivec ivec_times(ivec a, int32_t x) { return _mm512_mullo_epi32(a, _mm512_set1_epi32(x)); }
INLINE vec vec_from_ivec(ivec a) { return _mm512_cvtepi32_ps(a); }

#elif defined(__AVX2__) && defined(__FMA__)

#if defined(__AVXVNNI__)
#define ISA "avx-vnni"
#else
#define ISA "avx2"
#endif
#define TILE_ROWS 4
#define TILE_SIXTEENS 1

typedef struct {
    __m256 a, b;
} vec;
typedef struct {
    __m256i a, b;
} ivec;

#define BOTH(x, y) ((vec){(x), (y)})
#define IBOTH(x, y) ((ivec){(x), (y)})

INLINE vec vec_set(float x) { return BOTH(_mm256_set1_ps(x), _mm256_set1_ps(x)); }
INLINE vec vec_load(const float *p) { return BOTH(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
INLINE void vec_store(float *p, vec x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
INLINE vec vec_add(vec x, vec y) { return BOTH(_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)); }
INLINE vec vec_sub(vec x, vec y) { return BOTH(_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)); }
INLINE vec vec_mul(vec x, vec y) { return BOTH(_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)); }
INLINE vec vec_div(vec x, vec y) { return BOTH(_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)); }
INLINE vec vec_fma(vec x, vec y, vec z) {
    return BOTH(_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b));
}
INLINE vec vec_max(vec x, vec y) { return BOTH(_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)); }
INLINE vec vec_min(vec x, vec y) { return BOTH(_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)); }
INLINE vec vec_abs(vec x) {
    __m256 sign = _mm256_set1_ps(-0.0f);
    return BOTH(_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b));
}
INLINE vec vec_if_less(vec x, vec y, vec z) {
    return BOTH(_mm256_and_ps(_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), z.a),
                _mm256_and_ps(_mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ), z.b));
}
INLINE vec vec_round(vec x) {
    enum { NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    return BOTH(_mm256_round_ps(x.a, NEAREST), _mm256_round_ps(x.b, NEAREST));
}
INLINE vec vec_first(vec x, int n, float other) {
    __m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i a = _mm256_cmpgt_epi32(_mm256_set1_epi32(n), at);
    __m256i b = _mm256_cmpgt_epi32(_mm256_set1_epi32(n - 8), at);
    __m256 o = _mm256_set1_ps(other);
    return BOTH(_mm256_blendv_ps(o, x.a, _mm256_castsi256_ps(a)),
                _mm256_blendv_ps(o, x.b, _mm256_castsi256_ps(b)));
}
INLINE __m256 eight_from_bf16(const uint16_t *p) {
    __m256i x = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(x, 16));
}
INLINE vec vec_from_bf16(const uint16_t *p) { return BOTH(eight_from_bf16(p), eight_from_bf16(p + 8)); }
INLINE vec vec_from_int8(const int8_t *p) {
    __m128i x = _mm_loadu_si128((const __m128i *)p);
    return BOTH(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(x, 8))));
}
INLINE void vec_to_int8(int8_t *p, vec x, int bias) {
    __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
    words = _mm256_permute4x64_epi64(words, 0xD8);
    __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    bytes = _mm_add_epi8(bytes, _mm_set1_epi8((char)bias)); /* last: packing saturates */
    _mm_storeu_si128((__m128i *)p, bytes);
}
INLINE __m256 eight_times_power(__m256 y, __m256 n) {
    __m256i bits = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), bits));
}
INLINE vec vec_times_power(vec y, vec n) {
    return BOTH(eight_times_power(y.a, n.a), eight_times_power(y.b, n.b));
}
INLINE __m256 low_half(vec x) { return x.a; }
INLINE __m256 high_half(vec x) { return x.b; }

INLINE ivec ivec_set(int32_t x) { return IBOTH(_mm256_set1_epi32(x), _mm256_set1_epi32(x)); }
INLINE ivec ivec_load(const int32_t *p) {
    return IBOTH(_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 8)));
}
INLINE ivec ivec_add(ivec x, ivec y) {
    return IBOTH(_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b));
}
INLINE ivec ivec_times(ivec x, int32_t by) {
    __m256i y = _mm256_set1_epi32(by);
    return IBOTH(_mm256_mullo_epi32(x.a, y), _mm256_mullo_epi32(x.b, y));
}
INLINE vec vec_from_ivec(ivec x) { return BOTH(_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)); }

#else

#define ISA "plain"
#define TILE_ROWS 1
#define TILE_SIXTEENS 1

typedef struct {
    float at[LANES];
} vec;
typedef struct {
    int32_t at[LANES];
} ivec;

#define EACH(type, expression)                                                                     \
    type made;                                                                                      \
    for (int i = 0; i < LANES; i++) made.at[i] = (expression);                                     \
    return made

INLINE vec vec_set(float x) { EACH(vec, x); }
INLINE vec vec_load(const float *p) { EACH(vec, p[i]); }
INLINE void vec_store(float *p, vec a) { memcpy(p, a.at, sizeof a.at); }
INLINE vec vec_add(vec a, vec b) { EACH(vec, a.at[i] + b.at[i]); }
INLINE vec vec_sub(vec a, vec b) { EACH(vec, a.at[i] - b.at[i]); }
INLINE vec vec_mul(vec a, vec b) { EACH(vec, a.at[i] * b.at[i]); }
INLINE vec vec_div(vec a, vec b) { EACH(vec, a.at[i] / b.at[i]); }
INLINE vec vec_fma(vec a, vec b, vec c) { EACH(vec, fmaf(a.at[i], b.at[i], c.at[i])); }
INLINE vec vec_max(vec a, vec b) { EACH(vec, a.at[i] > b.at[i] ? a.at[i] : b.at[i]); }
INLINE vec vec_min(vec a, vec b) { EACH(vec, a.at[i] < b.at[i] ? a.at[i] : b.at[i]); }
INLINE vec vec_abs(vec a) { EACH(vec, fabsf(a.at[i])); }
INLINE vec vec_if_less(vec a, vec b, vec x) { EACH(vec, a.at[i] < b.at[i] ? x.at[i] : 0.0f); }
INLINE vec vec_round(vec a) { EACH(vec, rintf(a.at[i])); }
INLINE vec vec_first(vec a, int n, float other) { EACH(vec, i < n ? a.at[i] : other); }

INLINE float float_from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
INLINE uint32_t bits_of_float(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
INLINE int32_t nearest(float x) { /* as processors convert, also nan and what does not fit */
    return x > -2147483648.0f && x < 2147483648.0f ? (int32_t)rintf(x) : INT32_MIN;
}
INLINE vec vec_from_bf16(const uint16_t *p) { EACH(vec, float_from_bits((uint32_t)p[i] << 16)); }
INLINE vec vec_from_int8(const int8_t *p) { EACH(vec, (float)p[i]); }
INLINE void vec_to_int8(int8_t *p, vec a, int bias) {
    for (int i = 0; i < LANES; i++) p[i] = (int8_t)((uint32_t)nearest(a.at[i]) + (uint32_t)bias);
}
INLINE vec vec_times_power(vec y, vec n) {
    EACH(vec, float_from_bits(bits_of_float(y.at[i]) + ((uint32_t)nearest(n.at[i]) << 23)));
}
INLINE ivec ivec_set(int32_t x) { EACH(ivec, x); }
INLINE ivec ivec_load(const int32_t *p) { EACH(ivec, p[i]); }
INLINE ivec ivec_add(ivec a, ivec b) { EACH(ivec, a.at[i] + b.at[i]); }
INLINE ivec ivec_times(ivec a, int32_t x) { EACH(ivec, a.at[i] * x); }
INLINE vec vec_from_ivec(ivec a) { EACH(vec, (float)a.at[i]); }

#endif

/* ---- across the sixteen ---- */

#if defined(__AVX2__) && defined(__FMA__)

INLINE float vec_sum(vec x) {
    __m256 eight = _mm256_add_ps(low_half(x), high_half(x));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
INLINE float vec_greatest(vec x) {
    __m256 eight = _mm256_max_ps(low_half(x), high_half(x));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

#else

INLINE float vec_sum(vec x) {
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) x.at[i] += x.at[i + half];
    return x.at[0];
}
INLINE float vec_greatest(vec x) {
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) x.at[i] = x.at[i] > x.at[i + half] ? x.at[i] : x.at[i + half];
    return x.at[0];
}

#endif

/* ---- integer products: four bytes times four bytes, added to each of sixteen sums ----

   Integer sums are exact, so their order does not matter. One side is 64 bytes, four for each sum
   (`quads`); the other is four bytes that all sums share (`quad`), stored with QUAD_BIAS added. The bias
   adds QUAD_BIAS times the sum of the first side's bytes, which is known beforehand and subtracted. No
   byte is -128, for the sake of AVX2. */

#if defined(__AVX512VNNI__)

#define QUAD_BIAS 128 /* the instruction takes one side unsigned */

typedef __m512i quads;
typedef __m512i quad;

INLINE quads quads_load(const int8_t *p) { return _mm512_loadu_si512(p); }
INLINE quad quad_load(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
}
INLINE ivec ivec_dot(ivec sums, quads w, quad x) { return _mm512_dpbusd_epi32(sums, x, w); }

#elif defined(__AVX2__) && defined(__FMA__) && defined(__AVXVNNI__)

#define QUAD_BIAS 128

typedef ivec quads;
typedef __m256i quad;

INLINE quads quads_load(const int8_t *p) { return ivec_load((const int32_t *)p); }
INLINE quad quad_load(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}
INLINE ivec ivec_dot(ivec sums, quads w, quad x) {
    return IBOTH(_mm256_dpbusd_avx_epi32(sums.a, x, w.a), _mm256_dpbusd_avx_epi32(sums.b, x, w.b));
}

#elif defined(__AVX2__) && defined(__FMA__)

#define QUAD_BIAS 0

/* AVX2 multiplies unsigned by signed bytes and adds pairs in 16 bits, which saturate. |w| times x with
   the sign of w is the same product, and 2 x 127 x 127 = 32,258 fits. */
typedef struct {
    ivec signs, sizes;
} quads;
typedef __m256i quad;

INLINE quads quads_load(const int8_t *p) {
    ivec w = ivec_load((const int32_t *)p);
    return (quads){w, IBOTH(_mm256_abs_epi8(w.a), _mm256_abs_epi8(w.b))};
}
INLINE quad quad_load(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}
INLINE __m256i eight_dots(__m256i sums, __m256i sizes, __m256i signs, __m256i x) {
    __m256i pairs = _mm256_maddubs_epi16(sizes, _mm256_sign_epi8(x, signs));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
INLINE ivec ivec_dot(ivec sums, quads w, quad x) {
    return IBOTH(eight_dots(sums.a, w.sizes.a, w.signs.a, x), eight_dots(sums.b, w.sizes.b, w.signs.b, x));
}

#else

#define QUAD_BIAS 0

typedef struct {
    int8_t at[4 * LANES];
} quads;
typedef struct {
    int8_t at[4];
} quad;

INLINE quads quads_load(const int8_t *p) {
    quads w;
    memcpy(w.at, p, sizeof w.at);
    return w;
}
INLINE quad quad_load(const int8_t *p) {
    quad x;
    memcpy(x.at, p, sizeof x.at);
    return x;
}
INLINE ivec ivec_dot(ivec sums, quads w, quad x) {
    for (int i = 0; i < LANES; i++)
        for (int k = 0; k < 4; k++) sums.at[i] += w.at[4 * i + k] * x.at[k];
    return sums;
}

#endif

#endif
