/* The unsupervised network: images through Poisson coding, one winner a step, and learning by spike timing.
 *
 * bitspike/stdp/floating.py and bitspike/stdp/integers.py define what is computed; this computes the same, bit for bit.
 * Only what spikes is visited: rows of weights of active inputs, and columns of neurons that have spiked in an image.
 */
#ifndef BITSPIKE_STDP_H
#define BITSPIKE_STDP_H

#include "bitspike_engine.h"

enum { BS_STDP_FLOAT = 0, BS_STDP_BYTES = 1, BS_STDP_WIDE = 2 };          /* weights: float, uint8, uint16 */
enum { BS_STDP_TRUNCATE = 0, BS_STDP_NEAREST = 1, BS_STDP_STOCHASTIC = 2 };

/* bitspike/engine/stdp.py has the same fields in the same order. */
typedef struct bs_stdp {
    int64_t numerator, theta_decay;
    float float_leak, float_reset, float_threshold, float_inhibition, float_theta_plus, float_theta_leak;
    float rate_pre, rate_post, norm;
    uint32_t seed;
    int32_t kind, inputs, neurons, steps, delay, refractory, strongest, rounding;
    int32_t levels, target, limit, scale_most, scale_shift, leak, highest, lowest, reset, inhibition;
    int32_t threshold, theta_shift, theta_plus, theta_most, update_shift, up, down;
    const uint32_t *rates;    /* [256]: probability of a spike in a step, of 2^16, by pixel */
    const float *float_trace; /* [steps + 1] by steps since the spike */
    const int32_t *trace;
    void *weights; /* [inputs][neurons] */
    void *theta;   /* [neurons] float, or uint16 */
    uint16_t *scale;
    uint8_t *unsettled;
} bs_stdp;

/* What is presented: pixels [count][inputs], or, if trains is not null, spikes 0 or 1, [count][steps][inputs]. */
typedef struct bs_stdp_images {
    const uint8_t *pixels, *trains;
    const uint32_t *numbers; /* [count]: of the images, for random numbers */
    int64_t count;
    int32_t learn;
    int16_t *winners; /* [count][steps]: which neuron spikes, -1 for none */
} bs_stdp_images;

typedef struct bs_stdp_kernels {
    const char *name;
    int (*run)(const bs_stdp *net, const bs_stdp_images *images);
} bs_stdp_kernels;

extern const bs_stdp_kernels bs_stdp_avx512f, bs_stdp_avx2, bs_stdp_neon, bs_stdp_baseline;

BS_API int bs_stdp_build_count(void);
BS_API const char *bs_stdp_build_name(int build);
BS_API int bs_stdp_build_usable(int build);

/* Not 0: there is not enough memory, and nothing was learned. Without learning, several threads may share a net. */
BS_API int bs_stdp_run(int build, const bs_stdp *net, const bs_stdp_images *images);

#endif
