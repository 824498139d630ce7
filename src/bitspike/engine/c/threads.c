#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

/* A layer takes some tens of microseconds, so workers look for the next one that long before they sleep. */
enum { SPINS = 20000, SPINS_BEFORE_YIELD = 2000 };

typedef struct {
    bs_threads *threads;
    int index;
    pthread_t thread;
} worker;

struct bs_threads {
    int count, started;
    worker *workers;
    bs_part part;
    void *context;
    atomic_uint round;
    atomic_int remaining, sleeping;
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

static inline void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void *work(void *argument) {
    worker *self = argument;
    bs_threads *threads = self->threads;
    unsigned seen = 0;
    for (;;) {
        for (int spin = 0; spin < SPINS && atomic_load(&threads->round) == seen && !atomic_load(&threads->stop); spin++)
            pause_briefly();
        if (atomic_load(&threads->round) == seen && !atomic_load(&threads->stop)) {
            pthread_mutex_lock(&threads->lock);
            atomic_fetch_add(&threads->sleeping, 1);
            while (atomic_load(&threads->round) == seen && !atomic_load(&threads->stop))
                pthread_cond_wait(&threads->wake, &threads->lock);
            atomic_fetch_sub(&threads->sleeping, 1);
            pthread_mutex_unlock(&threads->lock);
        }
        if (atomic_load(&threads->stop)) return NULL;
        seen++;
        threads->part(threads->context, self->index, threads->count);
        atomic_fetch_sub(&threads->remaining, 1);
    }
}

bs_threads *bs_threads_new(int count) {
    bs_threads *threads = calloc(1, sizeof *threads);
    if (threads == NULL) return NULL;
    threads->count = count;
    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->wake, NULL);
    threads->workers = calloc((size_t)count, sizeof(worker));
    for (int i = 1; threads->workers != NULL && i < count; i++) {
        threads->workers[i].threads = threads;
        threads->workers[i].index = i;
        if (pthread_create(&threads->workers[i].thread, NULL, work, &threads->workers[i]) != 0) break;
        threads->started++;
    }
    if (threads->workers == NULL || threads->started != count - 1) {
        bs_threads_free(threads);
        return NULL;
    }
    return threads;
}

static void wake_all(bs_threads *threads) {
    if (atomic_load(&threads->sleeping) == 0) return;
    pthread_mutex_lock(&threads->lock);
    pthread_cond_broadcast(&threads->wake);
    pthread_mutex_unlock(&threads->lock);
}

void bs_threads_free(bs_threads *threads) {
    if (threads == NULL) return;
    atomic_store(&threads->stop, true);
    wake_all(threads);
    for (int i = 1; i <= threads->started; i++) pthread_join(threads->workers[i].thread, NULL);
    free(threads->workers);
    pthread_cond_destroy(&threads->wake);
    pthread_mutex_destroy(&threads->lock);
    free(threads);
}

void bs_threads_run(bs_threads *threads, bs_part part, void *context) {
    if (threads->count > 1) {
        threads->part = part;
        threads->context = context;
        atomic_store(&threads->remaining, threads->count - 1);
        atomic_fetch_add(&threads->round, 1);
        wake_all(threads);
    }
    part(context, 0, threads->count);
    for (int spin = 0; threads->count > 1 && atomic_load(&threads->remaining) > 0; spin++) {
        pause_briefly();
        if (spin > SPINS_BEFORE_YIELD) sched_yield(); /* the other thread's core may be taken */
    }
}
