/* GPT-2's forward pass over a paged cache, on a CPU. Begin reading at `layer`, which is the network.

   Called from model.py, which owns all memory except scratch: packed weights (matrix.h), pages of the
   cache (attention.h), logits. The bits depend neither on the processor, nor on the number of threads,
   nor on what else is in the turn, nor on how prompts are cut.

   Shapes: T tokens of a turn, row after row; W wanted ones; E width, H heads, D head size, I inner width,
   V vocabulary. Widths are padded with zeros to multiples of 64. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attention.h"
#include "candidates.h"
#include "draws.h"
#include "functions.h"
#include "matrix.h"
#include "threads.h"

#define AT_ONCE 256 /* tokens that go through the layers together; a longer turn is cut into parts */

typedef struct weights { /* of a layer */
    const float *ln_1_weight, *ln_1_bias, *ln_2_weight, *ln_2_bias; /* [E] */
    matrix attention, projection, widening, narrowing; /* c_attn, attn.c_proj, c_fc, mlp.c_proj */
    char *cache;                                       /* records of its pages and heads */
    float scale;                                       /* of attention scores */
} weights;

typedef struct network { /* mirrored in library.py */
    int32_t n_layer, n_head, n_embd, n_inner, n_vocab, n_positions; /* not padded */
    int32_t n_candidates, n_threads, int8_cache;
    float epsilon;
    const float *positions; /* [n_positions][E] */
    const float *ln_f_weight, *ln_f_bias;
    weights *layers;
    matrix head; /* the token table */
} network;

typedef struct turn { /* mirrored in library.py */
    int32_t n_rows, n_tokens, n_wanted, n_pages; /* n_pages: of the cache */
    const int32_t *ids;         /* [T] */
    const int32_t *pasts;       /* [rows] tokens that its pages already hold */
    const int32_t *begins;      /* [rows + 1] where each row's tokens begin */
    const int32_t *pages;       /* of all rows */
    const int32_t *page_begins; /* [rows + 1] */
    const int32_t *wanted;      /* [W] indices into the T tokens, rising */
    const draw *draws;          /* [W] how to draw the tokens after them */
    float *logits;              /* [W][V] */
    int32_t *top_ids;           /* [W][n_candidates] */
    float *top_scores;          /* [W][n_candidates] */
    int32_t *drawn;             /* [W] ids, or -1 */
} turn;

typedef struct engine {
    network net;
    shape cache;
    team team;
    desk **desks; /* [threads] */
    int E, I, V, QKV;
    /* activations of the tokens that go together, [AT_ONCE][...] */
    float *x, *normed, *qkv, *seen, *hidden;
    int8_t *bytes; /* inputs of an int8 matrix, and their steps */
    float *steps;
    span *spans;
    int32_t *greatest; /* scratch of `likeliest`, for each thread */
    int64_t *found;
    atomic_int *taken; /* how many pieces of each step have been taken */
    size_t n_steps;
    /* the part of the turn being computed */
    const turn *turn;
    int n_spans, first, n, n_wanted, first_wanted;
    void *memory;
} engine;

/* ---- steps, in each of which every thread takes pieces ---- */

/* Which step a thread has reached. */
typedef struct path {
    engine *e;
    int thread;
    size_t step;
} path;

#define EACH_PIECE(p, i, n) for (int i; (i = take(&(p)->e->taken[(p)->step], (n))) >= 0;)

static void done(path *p) {
    p->step++;
    meet(&p->e->team);
}

/* How many tokens make a piece: taking them one by one costs too much. */
static int tokens_a_piece(const engine *e, int n) {
    int share = n / (4 * e->team.n);
    return share < 1 ? 1 : share > 16 ? 16 : share;
}

#define EACH_TOKEN(p, t, count)                                                                    \
    for (int size = tokens_a_piece((p)->e, (count)), piece;                                        \
         (piece = take(&(p)->e->taken[(p)->step], ((count) + size - 1) / size)) >= 0;)             \
        for (int t = piece * size; t < (count) && t < (piece + 1) * size; t++)

/* The token table is the head: a token's row is the weights of its output. */
static void embed(path *p) {
    engine *e = p->e;
    const network *net = &e->net;
    EACH_PIECE(p, i, e->n_spans) {
        const span *s = &e->spans[i];
        for (int t = 0; t < s->n; t++) {
            const int id = e->turn->ids[e->first + s->token + t];
            const float *place = net->positions + (size_t)(s->position + t) * (size_t)e->E;
            float *x = e->x + (size_t)(s->token + t) * (size_t)e->E;
            for (int k = 0; k < e->E; k++) x[k] = weight_at(&net->head, id, k) + place[k];
        }
    }
    done(p);
}

/* Rounds x, the input of token t, if the matrix is int8. */
static void round_row(engine *e, const matrix *m, const float *x, int t) {
    if (m->kind == INT8) e->steps[t] = round_inputs(e->bytes + (size_t)t * (size_t)m->n_in, x, m);
}

static void normalize(path *p, const float *weight, const float *bias, const matrix *next) {
    engine *e = p->e;
    EACH_TOKEN(p, t, e->n) {
        float *y = e->normed + (size_t)t * (size_t)e->E;
        norm(y, e->x + (size_t)t * (size_t)e->E, weight, bias, e->net.n_embd, e->E, e->net.epsilon);
        round_row(e, next, y, t);
    }
    done(p);
}

static void round_rows(path *p, const matrix *next, const float *x) {
    if (next->kind != INT8) return;
    EACH_TOKEN(p, t, p->e->n) round_row(p->e, next, x + (size_t)t * (size_t)next->n_in, t);
    done(p);
}

/* Records the greatest |input| of a matrix, which packing.py makes its vector from. */
static void note_greatest(const matrix *m, const float *x, int n) {
    for (int t = 0; t < n; t++)
        for (int k = 0; k < m->n_in; k++) {
            float size = fabsf(x[(size_t)t * (size_t)m->n_in + (size_t)k]);
            if (size > m->greatest[k]) m->greatest[k] = size;
        }
}

static void times(path *p, const matrix *m, const float *x, int n, float *to, enum how how) {
    engine *e = p->e;
    inputs in = {x, e->bytes, e->steps, (size_t)m->n_in};
    outputs out = {to, (size_t)m->n_out, how};
    if (m->greatest != NULL && p->thread == 0) note_greatest(m, x, n);
    EACH_PIECE(p, piece, m->n_out / PIECE) multiply(m, &in, (size_t)n, piece, piece + e->team.n, &out);
    done(p);
}

static void remember_all(path *p, const weights *w) {
    engine *e = p->e;
    const int E = e->net.n_embd, D = e->cache.head;
    EACH_PIECE(p, i, e->n_spans) {
        const span *s = &e->spans[i];
        for (int t = 0; t < s->n; t++) {
            const float *qkv = e->qkv + (size_t)(s->token + t) * (size_t)e->QKV;
            int position = s->position + t;
            for (int h = 0; h < e->net.n_head; h++)
                remember(&e->cache, record_at(&e->cache, w->cache, s->pages[position / PAGE], h), position % PAGE,
                         qkv + E + h * D, qkv + 2 * E + h * D);
        }
    }
    done(p);
}

static void attend_all(path *p, const weights *w) {
    engine *e = p->e;
    const int H = e->net.n_head, D = e->cache.head;
    EACH_PIECE(p, i, e->n_spans * H) {
        const span *s = &e->spans[e->n_spans - 1 - i / H]; /* the last first: they attend to the most */
        const int h = i % H;
        attend(&e->cache, w->cache, s, h, w->scale, e->qkv + (size_t)s->token * (size_t)e->QKV + h * D,
               (size_t)e->QKV, e->seen + (size_t)s->token * (size_t)e->E + h * D, (size_t)e->E,
               e->desks[p->thread]);
    }
    done(p);
}

static void layer(path *p, const weights *w) {
    engine *e = p->e;
    normalize(p, w->ln_1_weight, w->ln_1_bias, &w->attention);
    times(p, &w->attention, e->normed, e->n, e->qkv, STORE); /* [n][3E] */
    remember_all(p, w);
    attend_all(p, w); /* [n][E] */
    round_rows(p, &w->projection, e->seen);
    times(p, &w->projection, e->seen, e->n, e->x, ADD);

    normalize(p, w->ln_2_weight, w->ln_2_bias, &w->widening);
    times(p, &w->widening, e->normed, e->n, e->hidden, GELU); /* [n][I] */
    round_rows(p, &w->narrowing, e->hidden);
    times(p, &w->narrowing, e->hidden, e->n, e->x, ADD);
}

/* The logits, candidates and draws of this part's wanted tokens. */
static void conclude(path *p) {
    engine *e = p->e;
    const network *net = &e->net;
    const int K = net->n_candidates;
    if (e->n_wanted == 0) return;
    EACH_TOKEN(p, i, e->n_wanted) {
        int t = e->turn->wanted[e->first_wanted + i] - e->first;
        float *y = e->normed + (size_t)i * (size_t)e->E;
        norm(y, e->x + (size_t)t * (size_t)e->E, net->ln_f_weight, net->ln_f_bias, net->n_embd, e->E, net->epsilon);
        round_row(e, &net->head, y, i);
    }
    done(p);
    float *logits = e->turn->logits + (size_t)e->first_wanted * (size_t)e->V;
    times(p, &net->head, e->normed, e->n_wanted, logits, STORE); /* [n_wanted][V] */
    EACH_PIECE(p, i, e->n_wanted) {
        size_t w = (size_t)(e->first_wanted + i), share = (size_t)p->thread * (size_t)e->V;
        int32_t *ids = e->turn->top_ids + w * (size_t)K;
        float *scores = e->turn->top_scores + w * (size_t)K;
        likeliest(logits + (size_t)i * (size_t)e->V, net->n_vocab, K, ids, scores, e->greatest + share,
                  e->found + share);
        e->turn->drawn[w] = draw_one(&e->turn->draws[w], logits + (size_t)i * (size_t)e->V, net->n_vocab, ids, scores,
                                     K, (char *)(e->found + share));
    }
    done(p);
}

static void forward(void *of, int thread) {
    engine *e = of;
    path p = {e, thread, 0};
    embed(&p);
    for (int i = 0; i < e->net.n_layer; i++) layer(&p, &e->net.layers[i]);
    conclude(&p);
}

/* ---- called by model.py and drawer.py ---- */

const char *native_isa(void) { return ISA; }

/* The sizes of the structures that library.py mirrors, for it to compare. */
void native_sizes(int32_t sizes[5]) {
    sizes[0] = (int32_t)sizeof(network);
    sizes[1] = (int32_t)sizeof(turn);
    sizes[2] = (int32_t)sizeof(weights);
    sizes[3] = (int32_t)sizeof(matrix);
    sizes[4] = (int32_t)sizeof(draw);
}

static bool are_ids(const int32_t *ids, int m, int n) {
    for (int i = 0; i < m; i++)
        if (ids[i] < 0 || ids[i] >= n) return false;
    return true;
}

/* Draws a token by logits [n], except that `ids` [m], all different, have other `scores`; these are
   swapped into the logits meanwhile. `top_ids` and `top_scores` [k] are the likeliest without them.
   -1 leaves it to sampling.py. `scratch`: 16 bytes for each of n, padded to 16. */
int32_t native_draw(const draw *d, float *logits, int32_t n, const int32_t *top_ids, const float *top_scores,
                    int32_t k, const int32_t *ids, float *scores, int32_t m, char *scratch) {
    const size_t V = (size_t)whole_vectors(n);
    int64_t *found = (int64_t *)scratch;
    int32_t own_ids[MOST_DRAWN_FROM];
    float own_scores[MOST_DRAWN_FROM];
    if (k < 1 || k > n || k > MOST_DRAWN_FROM || !are_ids(top_ids, k, n) || !are_ids(ids, m, n)) return -1;
    exchange(logits, ids, scores, m);
    int known = rank_again(logits, top_ids, top_scores, k, ids, scores, m, own_ids, own_scores, found);
    if (known == 0 || k == n)
        likeliest(logits, n, known = k, own_ids, own_scores, (int32_t *)(scratch + 8 * V), found);
    int32_t id = draw_one(d, logits, n, own_ids, own_scores, known, scratch);
    exchange(logits, ids, scores, m);
    return id;
}

int64_t native_record_bytes(int32_t is_int8, int32_t head) {
    return (int64_t)record_bytes(is_int8 != 0, whole_vectors(head));
}

static size_t rounded(size_t bytes) { return (bytes + 63) / 64 * 64; }

void native_close(engine *e) {
    if (e == NULL) return;
    team_end(&e->team);
    free(e->desks);
    free(e->memory);
    free(e);
}

/* NULL if there is no memory, or a thread cannot be started. */
engine *native_open(const network *net) {
    engine *e = calloc(1, sizeof *e);
    if (e == NULL) return NULL;
    e->net = *net;
    e->E = net->head.n_in;
    e->V = net->head.n_out;
    e->I = net->layers[0].narrowing.n_in;
    e->QKV = net->layers[0].attention.n_out;
    int head = net->n_embd / net->n_head, padded = whole_vectors(head);
    e->cache = (shape){net->n_head, head, padded, net->int8_cache != 0, record_bytes(net->int8_cache != 0, padded)};
    e->n_steps = (size_t)(10 * net->n_layer + 4);
    const size_t T = AT_ONCE, F = sizeof(float), n_threads = (size_t)net->n_threads;
    const size_t length = (size_t)(net->n_positions + PAGE - 1) / PAGE * PAGE;
    size_t widest = (size_t)(e->I > e->E ? e->I : e->E);
    struct part {
        void *to;
        size_t bytes;
    } parts[] = {
        {&e->x, T * (size_t)e->E * F},
        {&e->normed, T * (size_t)e->E * F},
        {&e->qkv, T * (size_t)e->QKV * F},
        {&e->seen, T * (size_t)e->E * F},
        {&e->hidden, T * (size_t)e->I * F},
        {&e->bytes, T * widest},
        {&e->steps, T * F},
        {&e->spans, T * sizeof(span)},
        {&e->greatest, n_threads * (size_t)e->V * sizeof(int32_t)},
        {&e->found, n_threads * (size_t)e->V * sizeof(int64_t)},
        {&e->taken, e->n_steps * sizeof(atomic_int)},
    };
    const size_t n_parts = sizeof parts / sizeof *parts;
    const size_t a_desk = rounded(sizeof(desk)) + rounded(QUERIES * length * F);
    size_t total = n_threads * a_desk;
    for (size_t i = 0; i < n_parts; i++) total += rounded(parts[i].bytes);
    e->memory = aligned_alloc(64, total);
    e->desks = calloc(n_threads, sizeof *e->desks);
    if (e->memory == NULL || e->desks == NULL || team_start(&e->team, net->n_threads)) {
        native_close(e);
        return NULL;
    }
    memset(e->memory, 0, total);
    char *at = e->memory;
    for (size_t i = 0; i < n_parts; i++) {
        memcpy(parts[i].to, &at, sizeof at);
        at += rounded(parts[i].bytes);
    }
    for (size_t i = 0; i < n_threads; i++) {
        e->desks[i] = (desk *)at;
        e->desks[i]->scores = (float *)(at + rounded(sizeof(desk)));
        e->desks[i]->length = length;
        at += a_desk;
    }
    return e;
}

/* What is wrong with a turn, or NULL; then nothing outside an array is read or written. */
static const char *fault(const engine *e, const turn *t) {
    const network *net = &e->net;
    if (t->n_rows < 0 || t->n_tokens < 0 || t->n_wanted < 0 || t->n_wanted > t->n_tokens) return "a count is wrong";
    if (t->begins[0] != 0 || t->begins[t->n_rows] != t->n_tokens) return "rows do not hold all tokens";
    for (int r = 0; r < t->n_rows; r++) {
        int n = t->begins[r + 1] - t->begins[r], n_pages = t->page_begins[r + 1] - t->page_begins[r];
        if (n < 1) return "a row has no token";
        if (t->pasts[r] < 0 || t->pasts[r] > net->n_positions - n) return "a row is longer than the window";
        if (t->page_begins[r] < 0 || n_pages < (t->pasts[r] + n - 1) / PAGE + 1) return "a row has too few pages";
        for (int i = t->page_begins[r]; i < t->page_begins[r + 1]; i++)
            if (t->pages[i] < 0 || t->pages[i] >= t->n_pages) return "a page does not exist";
    }
    for (int i = 0; i < t->n_tokens; i++)
        if (t->ids[i] < 0 || t->ids[i] >= net->n_vocab) return "an id is not in the vocabulary";
    for (int i = 0; i < t->n_wanted; i++)
        if (t->wanted[i] < (i ? t->wanted[i - 1] + 1 : 0) || t->wanted[i] >= t->n_tokens)
            return "the wanted tokens do not rise within the turn";
    return NULL;
}

/* Cuts the tokens from `first` to `end` into spans of at most QUERIES, each of one row. */
static void cut_into_spans(engine *e, const turn *t, int first, int end) {
    e->n_spans = 0;
    for (int r = 0, at = first; at < end; r++)
        for (; at < end && at < t->begins[r + 1]; at += e->spans[e->n_spans++].n) {
            int n = (t->begins[r + 1] < end ? t->begins[r + 1] : end) - at;
            e->spans[e->n_spans] = (span){
                .token = at - first,
                .n = n < QUERIES ? n : QUERIES,
                .position = t->pasts[r] + at - t->begins[r],
                .pages = t->pages + t->page_begins[r],
            };
        }
}

/* NULL, or what is wrong with the turn; then nothing is computed. */
const char *native_forward(engine *e, const turn *t) {
    const char *wrong = fault(e, t);
    if (wrong != NULL) return wrong;
    e->turn = t;
    e->first_wanted = e->n_wanted = 0;
    for (e->first = 0; e->first < t->n_tokens; e->first += e->n) {
        int end = t->n_tokens - e->first < AT_ONCE ? t->n_tokens : e->first + AT_ONCE;
        e->n = end - e->first;
        e->first_wanted += e->n_wanted;
        for (e->n_wanted = 0; e->first_wanted + e->n_wanted < t->n_wanted;) {
            if (t->wanted[e->first_wanted + e->n_wanted] >= end) break;
            e->n_wanted++;
        }
        cut_into_spans(e, t, e->first, end);
        for (size_t i = 0; i < e->n_steps; i++) atomic_store_explicit(&e->taken[i], 0, memory_order_relaxed);
        team_run(&e->team, forward, e);
    }
    return NULL;
}
