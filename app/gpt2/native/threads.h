/* A team of threads that do one job together, step by step.

   All threads run the same function. A step's work is cut into pieces, and each free thread takes the
   next one, so a slow thread does not delay the others; the bits do not depend on who computes a piece.
   All meet at the end of a step. A waiting thread spins for some microseconds, since the others are
   rarely late, and then sleeps: a team without a job uses no processor time. */

#ifndef THREADS_H
#define THREADS_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SPINS 1500 /* about 30 microseconds */

typedef struct team {
    atomic_int n; /* threads, including the caller's */
    int n_started;
    pthread_t *workers;
    void (*job)(void *, int thread); /* NULL: end */
    void *of;
    atomic_int arrived, meetings, n_asleep;
    pthread_mutex_t lock;
    pthread_cond_t wake;
} team;

typedef struct member {
    team *team;
    int thread;
} member;

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Returns once all threads have arrived. */
static void meet(team *t) {
    int meeting = atomic_load(&t->meetings);
    if (atomic_fetch_add(&t->arrived, 1) == t->n - 1) {
        atomic_store(&t->arrived, 0);
        atomic_store(&t->meetings, meeting + 1);
        if (atomic_load(&t->n_asleep) > 0) {
            pthread_mutex_lock(&t->lock);
            pthread_cond_broadcast(&t->wake);
            pthread_mutex_unlock(&t->lock);
        }
        return;
    }
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&t->meetings) != meeting) return;
        relax();
    }
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add(&t->n_asleep, 1);
    while (atomic_load(&t->meetings) == meeting) pthread_cond_wait(&t->wake, &t->lock);
    atomic_fetch_sub(&t->n_asleep, 1);
    pthread_mutex_unlock(&t->lock);
}

/* Takes the next of n pieces; -1 if none is left. */
static int take(atomic_int *taken, int n) {
    int piece = atomic_fetch_add_explicit(taken, 1, memory_order_relaxed);
    return piece < n ? piece : -1;
}

static void *work(void *of) {
    member me = *(member *)of;
    free(of);
    for (;;) {
        meet(me.team);
        if (me.team->job == NULL) return NULL;
        me.team->job(me.team->of, me.thread);
        meet(me.team);
    }
}

static void team_run(team *t, void (*job)(void *, int), void *of) {
    t->job = job;
    t->of = of;
    meet(t);
    if (job == NULL) return;
    job(of, 0);
    meet(t);
}

/* 0, or an errno if a thread could not be started; then call team_end, which ends those that were. */
static int team_start(team *t, int n) {
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    t->n = n;
    t->workers = calloc((size_t)n, sizeof *t->workers);
    if (t->workers == NULL) return ENOMEM;
    for (int i = 1; i < n; i++) {
        member *who = malloc(sizeof *who);
        if (who == NULL) return ENOMEM;
        *who = (member){t, i};
        int error = pthread_create(&t->workers[i - 1], NULL, work, who);
        if (error) {
            free(who);
            return error;
        }
        t->n_started++;
    }
    return 0;
}

static void team_end(team *t) {
    t->n = t->n_started + 1; /* not all may have started */
    team_run(t, NULL, NULL);
    for (int i = 0; i < t->n_started; i++) pthread_join(t->workers[i], NULL);
    free(t->workers);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->wake);
}

#endif
