/* The kernels of the unsupervised network, of one build: compiled once for every instruction set, like kernels.c. */
#include "stdp.h"

#include <stdbool.h>
#include <stdlib.h>

#include "vectors.h"

#include "stdp_random.h"
#include "stdp_work.h"

#include "stdp_float.h"

#include "stdp_neurons.h"

#define weight uint8_t
#define NAMED(name) name##_bytes
#include "stdp_integer.h"
#undef weight
#undef NAMED

#define weight uint16_t
#define NAMED(name) name##_wide
#include "stdp_integer.h"
#undef weight
#undef NAMED

static int run(const bs_stdp *net, const bs_stdp_images *images) {
    work work;
    if (!make_work(&work, net)) return 1;
    switch (net->kind) {
    case BS_STDP_FLOAT: run_float(net, images, &work); break;
    case BS_STDP_BYTES: run_bytes(net, images, &work); break;
    default: run_wide(net, images, &work);
    }
    free(work.memory);
    return 0;
}

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define TEXT2(a) #a
#define TEXT(a) TEXT2(a)

const bs_stdp_kernels JOIN(bs_stdp_, BS_BUILD) = {TEXT(BS_BUILD), run};
