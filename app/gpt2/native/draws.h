/* A row's next token, as `choose` of sampling.py draws it. That stays the oracle, and still draws where
   several filters are combined and the candidates do not settle them. */

#ifndef DRAWS_H
#define DRAWS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "candidates.h"
#include "functions.h"
#include "noise.h"

#define MOST_DRAWN_FROM 128 /* CANDIDATES in paged.py */
#define BLOCK 1024          /* tokens at a time: few enough for the L1 cache and for sums of floats */

typedef struct draw { /* mirrored in library.py */
    uint64_t key;     /* of the noise */
    double temperature, top_p, min_p, typical_p;
    double xtc_threshold; /* above 1: XTC drops nothing */
    int32_t top_k;        /* 0: all tokens */
    int32_t is_here;      /* 0: the kernel does not draw this row */
} draw;

/* ---- among the likeliest ---- */

/* Keeps the tokens whose surprise is nearest to the mean, until they reach typical_p. */
static void keep_typical(bool *kept, const double *weights, int n, double typical_p) {
    double total = 0, expected = 0, before = 0, far[MOST_DRAWN_FROM];
    int order[MOST_DRAWN_FROM];
    while (weights[n - 1] == 0) kept[--n] = false; /* their surprise would be infinite */
    for (int i = 0; i < n; i++) total += weights[i];
    for (int i = 0; i < n; i++) expected += weights[i] / total * -log(weights[i] / total);
    for (int i = 0; i < n; i++) {
        far[i] = fabs(-log(weights[i] / total) - expected);
        int place = i;
        for (; place > 0 && far[order[place - 1]] > far[i]; place--) order[place] = order[place - 1];
        order[place] = i;
    }
    for (int i = 0; i < n; i++) {
        kept[order[i]] = before < typical_p * total;
        before += weights[order[i]];
    }
    if (typical_p == 0) kept[0] = true;
}

/* Drops all that reach the threshold but the least likely of them. */
static void drop_top(bool *kept, const double *weights, int n, double threshold) {
    double total = 0;
    int last = -1;
    for (int i = 0; i < n; i++) total += kept[i] ? weights[i] : 0;
    for (int i = 0; i < n; i++) {
        if (!kept[i] || weights[i] / total < threshold) continue;
        if (last >= 0) kept[last] = false;
        last = i;
    }
}

/* Draws one of the likeliest ids [k] of n tokens by their falling scores [k]; -1 if others could win. */
static int32_t draw_among(const draw *d, const int32_t *ids, const float *scores, int k, int n) {
    double weights[MOST_DRAWN_FROM], sums[MOST_DRAWN_FROM], total = 0;
    bool kept[MOST_DRAWN_FROM];
    const bool is_whole = k == n || (d->top_k > 0 && d->top_k <= k);
    const int most = d->top_k > 0 && d->top_k < k ? d->top_k : k;
    for (int i = 0; i < most; i++) {
        weights[i] = exp(scores[i] / d->temperature - scores[0] / d->temperature);
        sums[i] = total += weights[i];
    }
    int n_kept = 0; /* top_k, top_p and min_p each keep a prefix of the falling order */
    for (; n_kept < most; kept[n_kept++] = true) {
        bool is_kept = isfinite(scores[n_kept]) && weights[n_kept] >= d->min_p;
        if (is_whole && d->top_p < 1) is_kept = is_kept && sums[n_kept] - weights[n_kept] < d->top_p * total;
        if (!is_kept && n_kept > 0) break;
    }
    const bool has_end = n_kept < k;
    if (!is_whole && !(has_end && (d->top_p >= 1 || d->top_k == 1))) return -1;
    if (d->typical_p < 1) keep_typical(kept, weights, n_kept, d->typical_p);
    if (d->xtc_threshold <= 1) drop_top(kept, weights, n_kept, d->xtc_threshold);
    int best = 0;
    double best_score = -INFINITY;
    for (int i = 0; i < n_kept; i++) {
        if (!kept[i]) continue;
        double score = scores[i] / d->temperature + gumbel(hash(d->key, (uint32_t)ids[i]));
        if (score > best_score) {
            best_score = score;
            best = i;
        }
    }
    return ids[best];
}

/* ---- among all ---- */

/* All tokens, for a filter that keeps a prefix of some order: by falling likelihood, or for typical_p by
   how far the surprise is from its mean. Nothing is sorted: find the winner among all, and add up the
   weights that precede it to see whether the filter keeps it. If not, it keeps nothing after it either,
   so find the winner among those before it, and so on. */
typedef struct crowd {
    const draw *d;
    const float *logits;
    int n;
    const int32_t *ids; /* [k] the likeliest */
    int k;
    float *weights;   /* [n] 1 for the likeliest */
    uint32_t *hashes; /* [n] known after the first winner */
    bool is_hashed;
    float per_degree; /* 1 / temperature */
    float expected;   /* mean surprise, less that of the likeliest; 0 to order by likelihood */
    double least;     /* weight that may win */
    int64_t most;     /* key that may win */
    int32_t end;      /* the first token known to be dropped, or -1 */
} crowd;

INLINE vec vec_surprise(const crowd *c, int i) { /* of sixteen tokens, less that of the likeliest */
    float last[LANES] = {0};
    const float *logits = c->logits + i;
    if (c->n - i < LANES) logits = memcpy(last, logits, (size_t)(c->n - i) * sizeof *last);
    return vec_mul(vec_sub(vec_set(c->logits[c->ids[0]]), vec_load(logits)), vec_set(c->per_degree));
}
INLINE vec vec_far(const crowd *c, int i) { return vec_abs(vec_sub(vec_surprise(c, i), vec_set(c->expected))); }
static float far_of(const crowd *c, int32_t id) {
    return fabsf((c->logits[c->ids[0]] - c->logits[id]) * c->per_degree - c->expected);
}

/* Computes the weights, 0 below `least`. Returns their sum; `mean` is the mean surprise. */
static double weigh(const crowd *c, float least, double *mean) {
    double total = 0, moment = 0;
    const vec below = vec_set(least > 0 ? nextafterf(least, 0) : -1.0f);
    for (int begin = 0; begin < c->n; begin += BLOCK) {
        vec sum = vec_set(0), moments = vec_set(0);
        for (int i = begin; i < c->n && i < begin + BLOCK; i += LANES) {
            vec surprise = vec_surprise(c, i);
            vec all = vec_exp(vec_sub(vec_set(0), surprise)), weights = vec_if_less(below, all, all);
            weights = vec_first(weights, c->n - i, 0);
            sum = vec_add(sum, weights);
            moments = vec_fma(weights, vec_min(surprise, vec_set(1e30f)), moments);
            vec_store(c->weights + i, weights);
        }
        total += vec_sum(sum);
        moment += vec_sum(moments);
    }
    *mean = moment / total;
    return total;
}

/* How many tokens are likelier; of equals those with a smaller id. */
static int count_likelier(const crowd *c, int32_t id) {
    const float own = c->logits[id];
    int n = 0;
    for (int i = 0; i < c->n; i++) n += c->logits[i] > own;
    for (int i = 0; i < id; i++) n += c->logits[i] == own;
    return n;
}

/* The sum of the weights that precede a token. */
static double weigh_before(const crowd *c, int32_t id) {
    const vec own = vec_set(far_of(c, id));
    double total = 0;
    for (int begin = 0; begin < c->n; begin += BLOCK) {
        vec sum = vec_set(0);
        for (int i = begin; i < c->n && i < begin + BLOCK; i += LANES)
            sum = vec_add(sum, vec_if_less(vec_far(c, i), own, vec_load(c->weights + i)));
        total += vec_sum(sum);
    }
    int n_equal = 0;
    for (int i = 0; i < id; i++) n_equal += c->logits[i] == c->logits[id];
    return total + n_equal * (double)c->weights[id];
}

static bool may_win(const crowd *c, int32_t id) {
    const int64_t key = key_of(c->logits[id], id);
    if (key > c->most) return false;
    if (c->end < 0) return true;
    const float far = far_of(c, id), end = far_of(c, c->end);
    return far < end || (far == end && key > key_of(c->logits[c->end], c->end));
}

static double score_of(const crowd *c, int32_t id) { return c->logits[id] / c->d->temperature; }

/* Makes a token the best so far if its score + noise is above `most`. Returns the new `most`. */
static double compete(const crowd *c, int32_t id, uint32_t hash, double most, int32_t *best) {
    if (!may_win(c, id)) return most;
    const double noisy = score_of(c, id) + gumbel(hash);
    if (!(noisy > most) || exp(score_of(c, id) - score_of(c, c->ids[0])) < c->least) return most;
    *best = id;
    return noisy;
}

/* The token with the greatest score + noise of those that may win. */
static int32_t winner(crowd *c) {
    double most = -INFINITY;
    int32_t best = c->ids[0];
    for (int i = 0; i < c->k; i++) most = compete(c, c->ids[i], hash(c->d->key, (uint32_t)c->ids[i]), most, &best);
    /* No other token's score is above the last candidate's, so it needs enough noise to win. */
    const double last = score_of(c, c->ids[c->k - 1]);
    for (int begin = 0; begin < c->n; begin += BLOCK) {
        const int m = c->n - begin < BLOCK ? c->n - begin : BLOCK;
        const uint32_t bar = least_hash(most - last);
        uint32_t *hashes = c->hashes + begin, n_loud = 0;
        for (int i = 0; !c->is_hashed && i < m; i++) hashes[i] = hash(c->d->key, (uint32_t)(begin + i));
        for (int i = 0; i < m; i++) n_loud += hashes[i] >= bar;
        for (int i = 0; n_loud > 0; i++) {
            if (hashes[i] < bar) continue;
            n_loud--;
            most = compete(c, begin + i, hashes[i], most, &best);
        }
    }
    c->is_hashed = true;
    return best;
}

/* With one filter at most besides min_p; else -1. `scratch`: 8 bytes for each of n, padded to 16. */
static int32_t draw_from_all(const draw *d, const float *logits, int n, const int32_t *ids, int k,
                             char *scratch) {
    float *weights = (float *)scratch;
    uint32_t *hashes = (uint32_t *)(weights + whole_vectors(n));
    const bool is_typical = d->typical_p < 1, drops = d->xtc_threshold <= 1;
    const double share = is_typical ? d->typical_p : d->top_p;
    if ((d->top_k > 0) + (d->top_p < 1) + is_typical + drops > 1) return -1;
    if (share == 0) return ids[0];
    crowd c = {
        .d = d, .logits = logits, .n = n, .ids = ids, .k = k, .weights = weights, .hashes = hashes,
        .per_degree = (float)(1 / d->temperature), .least = d->min_p, .most = INT64_MAX, .end = -1,
    };
    double total = 0, mean = 0;
    if (is_typical && c.least < 1e-30) c.least = 1e-30; /* banned tokens have no surprise */
    if (share < 1 || drops) total = weigh(&c, d->top_p < 1 ? 0 : (float)c.least, &mean);
    if (is_typical) c.expected = (float)mean;
    if (drops) { /* only if they are all among the candidates */
        int last = -1;
        for (int i = 0; i < k; i++)
            if (weights[ids[i]] / total >= d->xtc_threshold) last = i;
        if (last == k - 1) return -1;
        if (last >= 0) c.most = key_of(logits[ids[last]], ids[last]);
    }
    for (;;) {
        const int32_t id = winner(&c);
        bool is_kept = true;
        if (d->top_k > 0) is_kept = count_likelier(&c, id) < d->top_k;
        if (share < 1) is_kept = weigh_before(&c, id) < share * total;
        if (is_kept || id == c.end) return id;
        c.end = id;
    }
}

/* Draws a token by logits [n] and their k likeliest; -1 leaves it to sampling.py. */
static int32_t draw_one(const draw *d, const float *logits, int n, const int32_t *ids, const float *scores, int k,
                        char *scratch) {
    if (!d->is_here || !isfinite(scores[0]) || k > MOST_DRAWN_FROM) return -1;
    const int32_t id = draw_among(d, ids, scores, k, n);
    return id >= 0 ? id : draw_from_all(d, logits, n, ids, k, scratch);
}

#endif
