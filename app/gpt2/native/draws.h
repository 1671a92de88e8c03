/* A row's next token, drawn from its likeliest: what sampling.py's `choose` does with the settings
   that nearly everybody uses. It stays the oracle, and draws whatever is not settled here. */

#ifndef DRAWS_H
#define DRAWS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "noise.h"

#define MOST_DRAWN_FROM 128 /* candidates, as paged.py has it */

typedef struct draw { /* mirrored in library.py */
    uint64_t key;     /* of the noise */
    double temperature, top_p, min_p;
    int32_t top_k;   /* 0: all tokens */
    int32_t is_here; /* or the row is drawn by others, or not at all */
} draw;

/* The middle of one of 2^32 equal steps of (0, 1), turned into Gumbel noise. */
static double gumbel(uint32_t hash) { return -log(-log(((double)hash + 0.5) * 0x1p-32)); }

/* One of ids [k] by scores [k], which fall, of a vocabulary of n; -1 if others could win as well. */
static int32_t draw_one(const draw *d, const int32_t *ids, const float *scores, int k, int n) {
    double weights[MOST_DRAWN_FROM], sums[MOST_DRAWN_FROM], total = 0;
    const double first = scores[0] / d->temperature;
    if (!d->is_here || !isfinite(first) || k > MOST_DRAWN_FROM) return -1;
    const bool is_whole = k == n || (d->top_k > 0 && d->top_k <= k);
    const int most = d->top_k > 0 && d->top_k < k ? d->top_k : k;
    for (int i = 0; i < most; i++) {
        weights[i] = exp(scores[i] / d->temperature - first);
        sums[i] = total += weights[i];
    }
    bool has_end = most < k;
    int best = 0;
    double best_score = -INFINITY;
    for (int i = 0; i < most; i++) {
        bool is_kept = isfinite(scores[i]) && weights[i] >= d->min_p;
        if (is_whole && d->top_p < 1) is_kept = is_kept && sums[i] - weights[i] < d->top_p * total;
        if (!is_kept && i > 0) {
            has_end = true; /* each filter keeps a beginning of the falling order */
            break;
        }
        double score = scores[i] / d->temperature + gumbel(hash(d->key, (uint32_t)ids[i]));
        if (score > best_score) {
            best_score = score;
            best = i;
        }
    }
    if (!is_whole && !(has_end && (d->top_p >= 1 || d->top_k == 1))) return -1;
    return ids[best];
}

#endif
