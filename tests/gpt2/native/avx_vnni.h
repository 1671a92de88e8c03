/* AVX-VNNI's one instruction, for processors with AVX2: included before kernel.c. */

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define __AVXVNNI__ 1
#define _mm256_dpbusd_avx_epi32 emulated_dpbusd

static inline __m256i emulated_dpbusd(__m256i sums, __m256i x, __m256i w) {
    int32_t total[8];
    uint8_t of_x[32];
    int8_t of_w[32];
    memcpy(total, &sums, 32);
    memcpy(of_x, &x, 32);
    memcpy(of_w, &w, 32);
    for (int i = 0; i < 32; i++) total[i / 4] += of_x[i] * of_w[i];
    return _mm256_loadu_si256((const __m256i *)total);
}
