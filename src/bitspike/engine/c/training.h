/* A spiking layer in training: what lies between its weighted sums and its spikes, over all time steps at once.
 *
 *   i[t] = gain x[t] + shift (+ extra_gain e[t])       batch norm as one affine map; e: a skip's operand
 *   h[t] = leak u[t-1] + i[t],  s[t] = h[t] >= threshold / step,  u[t] = grid(reset(h[t], s[t]))
 *
 * Potentials are in units of the membrane's step, so its grid is the whole numbers; a step of 1 and no levels leave it in
 * float. Layout: [steps][samples][height][width][channels]. Numbers are float, or bfloat16 where a flag says so.
 */
#ifndef BITSPIKE_TRAINING_H
#define BITSPIKE_TRAINING_H

#include "bitspike_engine.h"

enum { BS_NO_POOL = 0, BS_MAX_POOL = 1, BS_SUM_POOL = 2 }; /* windows of 2x2 */

typedef struct bs_layer {
    int64_t steps, samples, height, width, channels;
    int32_t half_sums, half_spikes; /* x and flow; spikes, extra and gradient: bfloat16 */
    int32_t fixed;                  /* x is the same at all steps and stored once; so is flow, their sum */
    int32_t pool;
    int32_t soft;          /* reset by subtraction */
    int32_t levels;        /* n of the membrane's grid -n..n, 0 for none */
    float offset;          /* of its rounding: 1/2 nearest, 0 floor */
    float leak, threshold; /* threshold in real units */
    float per_spike;       /* d loss / d every spike, besides gradient: of a loss on firing rates */
    const void *sums, *extra;
    const float *gain, *shift, *extra_gain, *step; /* [channels]; the gains and the shift are divided by step */
    const float *mean, *extra_mean;                /* subtracted from x and e in the totals below */
    void *spikes;                                  /* behind the pool, if there is one */
    const void *gradient;                          /* d loss / d spikes, in the same shape */
    void *flow;                                    /* d loss / d i */
} bs_layer;

/* What every build has. Parts of the work go to threads by ranges of samples or rows; nothing is shared among them. */
typedef struct bs_training {
    const char *name;
    /* Mean and sum of squared deviations of every column of x [rows][channels]; not 0: no memory. */
    int (*moments)(const void *x, int half, int64_t rows, int64_t channels, double *mean, double *squares);
    /* Spikes of samples [from, to); returns how many, or -1: no memory. */
    int64_t (*forward)(const bs_layer *layer, int64_t from, int64_t to);
    /* Flow of samples [from, to); totals [3][channels]: sums of flow, flow (x - mean), flow (e - extra_mean). */
    int (*backward)(const bs_layer *layer, int64_t from, int64_t to, double *totals);
    /* to = a flow + b x + c, by columns: the flow through a batch norm. */
    void (*affine)(const void *flow, const void *x, int half, int64_t rows, int64_t channels, const float *a,
                   const float *b, const float *c, void *to);
    /* Bit i of bits: whether number i is not 0; returns 1 if all are 0 or 1. */
    int (*pack)(const void *from, int half, int64_t count, uint8_t *bits);
    void (*unpack)(const uint8_t *bits, int half, int64_t count, void *to);
} bs_training;

extern const bs_training bs_training_avx512f, bs_training_avx2, bs_training_baseline, bs_training_neon;

/* Builds of these kernels, best first, and whether this processor can run them: they need less than the engine's do. */
BS_API int bs_train_build_count(void);
BS_API const char *bs_train_build_name(int build);
BS_API int bs_train_build_usable(int build);

/* The same for ctypes; `build` is the number of one that is usable. */
BS_API int bs_train_moments(int build, const void *x, int half, int64_t rows, int64_t channels, double *mean,
                            double *squares);
BS_API int64_t bs_train_forward(int build, const bs_layer *layer, int64_t from, int64_t to);
BS_API int bs_train_backward(int build, const bs_layer *layer, int64_t from, int64_t to, double *totals);
BS_API void bs_train_affine(int build, const void *flow, const void *x, int half, int64_t rows, int64_t channels,
                            const float *a, const float *b, const float *c, void *to);
BS_API int bs_train_pack(int build, const void *from, int half, int64_t count, uint8_t *bits);
BS_API void bs_train_unpack(int build, const uint8_t *bits, int half, int64_t count, void *to);

#endif
