/* A few threads that wait, spinning for a moment, for work to be split among them. */
#ifndef BITSPIKE_THREADS_H
#define BITSPIKE_THREADS_H

typedef struct bs_threads bs_threads;
typedef void (*bs_part)(void *context, int part, int parts);

/* Null where threads cannot be had; a count of 1 starts none. */
bs_threads *bs_threads_new(int count);
void bs_threads_free(bs_threads *threads);

/* Calls part(context, i, count) for i = 0 .. count - 1, each in a thread of its own, part 0 in this one. */
void bs_threads_run(bs_threads *threads, bs_part part, void *context);

#endif
