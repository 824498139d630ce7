/* The unsupervised network's part of the C interface: hands calls to the kernels of a build. */
#include <string.h>

#include "stdp.h"

static const bs_stdp_kernels *const builds[] = {
#if defined(BS_TRAIN_AVX512F)
    &bs_stdp_avx512f,
#endif
#if defined(BS_TRAIN_AVX2)
    &bs_stdp_avx2,
#endif
#if defined(BS_TRAIN_NEON)
    &bs_stdp_neon,
#endif
#if defined(BS_TRAIN_BASELINE)
    &bs_stdp_baseline,
#endif
};

int bs_train_build_usable(int build);

int bs_stdp_build_count(void) { return (int)(sizeof builds / sizeof builds[0]); }

const char *bs_stdp_build_name(int build) {
    return build >= 0 && build < bs_stdp_build_count() ? builds[build]->name : "";
}

/* The builds are those of training, in the same order. */
int bs_stdp_build_usable(int build) { return bs_train_build_usable(build); }

int bs_stdp_run(int build, const bs_stdp *net, const bs_stdp_images *images) {
    return builds[build]->run(net, images);
}
