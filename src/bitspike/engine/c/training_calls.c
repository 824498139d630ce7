/* Training's part of the C interface: hands calls to the kernels of a build. */
#include <string.h>

#include "training.h"

static const bs_training *const builds[] = {
#if defined(BS_TRAIN_AVX512F)
    &bs_training_avx512f,
#endif
#if defined(BS_TRAIN_AVX2)
    &bs_training_avx2,
#endif
#if defined(BS_TRAIN_NEON)
    &bs_training_neon,
#endif
#if defined(BS_TRAIN_BASELINE)
    &bs_training_baseline,
#endif
};

int bs_train_build_count(void) { return (int)(sizeof builds / sizeof builds[0]); }

const char *bs_train_build_name(int build) {
    return build >= 0 && build < bs_train_build_count() ? builds[build]->name : "";
}

int bs_train_build_usable(int build) {
    const char *name = bs_train_build_name(build);
#if defined(__x86_64__)
    if (strcmp(name, "avx512f") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
               __builtin_cpu_supports("fma");
    if (strcmp(name, "avx2") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
#endif
    return name[0] != 0;
}

int bs_train_moments(int build, const void *x, int half, int64_t rows, int64_t channels, double *mean,
                     double *squares) {
    return builds[build]->moments(x, half, rows, channels, mean, squares);
}

int64_t bs_train_forward(int build, const bs_layer *layer, int64_t from, int64_t to) {
    return builds[build]->forward(layer, from, to);
}

int bs_train_backward(int build, const bs_layer *layer, int64_t from, int64_t to, double *totals) {
    return builds[build]->backward(layer, from, to, totals);
}

void bs_train_affine(int build, const void *flow, const void *x, int half, int64_t rows, int64_t channels,
                     const float *a, const float *b, const float *c, void *to) {
    builds[build]->affine(flow, x, half, rows, channels, a, b, c, to);
}

int bs_train_pack(int build, const void *from, int half, int64_t count, uint8_t *bits) {
    return builds[build]->pack(from, half, count, bits);
}

void bs_train_unpack(int build, const uint8_t *bits, int half, int64_t count, void *to) {
    builds[build]->unpack(bits, half, count, to);
}
