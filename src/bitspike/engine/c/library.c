/* The builds in this library, and nets: made from programs, read-only from then on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

#define MOST_TABLE_BYTES ((size_t)1 << 30)
/* One weight of one bit takes at most 16 doubles, where a layer has a single output; its neighbours' tables less. */
enum { MOST_BYTES_PER_BYTE = 4096, BYTES_AT_LEAST = 64 << 20 };

int bs_abi_version(void) { return BS_ABI_VERSION; }

static const bs_kernels *const builds[] = {
#if defined(BS_HAVE_AVX512)
    &bs_kernels_avx512,
#endif
#if defined(BS_HAVE_AVX512F)
    &bs_kernels_avx512f,
#endif
#if defined(BS_HAVE_AVX2)
    &bs_kernels_avx2,
#endif
#if defined(BS_HAVE_NEON)
    &bs_kernels_neon,
#endif
#if defined(BS_HAVE_BASELINE)
    &bs_kernels_baseline,
#endif
};

int bs_build_count(void) { return (int)(sizeof builds / sizeof builds[0]); }

const char *bs_build_name(int build) { return build >= 0 && build < bs_build_count() ? builds[build]->name : ""; }

int bs_build_usable(int build) {
    const char *name = bs_build_name(build);
#if defined(__x86_64__)
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
    const int avx512f = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512cd");
    if (strcmp(name, "avx512") == 0)
        return avx512f && __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512vnni") &&
               __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
               __builtin_cpu_supports("avx512bitalg");
    if (strcmp(name, "avx512f") == 0) return avx512f;
    if (strcmp(name, "avx2") == 0) return avx2;
#endif
    return name[0] != 0;
}

/* Every block begins with the link to the next one and its data 64 bytes further on. */
void *bs_keep(bs_net *net, size_t count, size_t size) {
    if (size != 0 && count > MOST_TABLE_BYTES / size) return NULL;
    size_t wanted = count * size;
    if (wanted > net->most_bytes - net->bytes) return NULL;
    size_t whole = bs_round_up(wanted, 64) + 64;
    struct bs_block *block = aligned_alloc(64, whole);
    if (block == NULL) return NULL;
    memset(block, 0, whole);
    block->next = net->blocks;
    net->blocks = block;
    net->bytes += wanted;
    return (char *)block + 64;
}

bs_net *bs_net_new(const uint8_t *program, size_t size, int build, int kernel, char *error, size_t error_size) {
    if (error_size > 0) error[0] = 0;
    if (build < 0 || build >= bs_build_count() || !bs_build_usable(build)) {
        snprintf(error, error_size, "this processor cannot run build %d", build);
        return NULL;
    }
    if (kernel < BS_AUTO || kernel > BS_LANES) {
        snprintf(error, error_size, "kernel is %d; allowed: 0 to 3", kernel);
        return NULL;
    }
    bs_net *net = calloc(1, sizeof *net);
    if (net == NULL) {
        snprintf(error, error_size, "there is not enough memory");
        return NULL;
    }
    net->kernels = builds[build];
    net->kernel = kernel;
    net->vector = (size_t)builds[build]->vector;
    net->most_bytes = size > MOST_TABLE_BYTES / MOST_BYTES_PER_BYTE ? MOST_TABLE_BYTES : size * MOST_BYTES_PER_BYTE;
    if (net->most_bytes < BYTES_AT_LEAST) net->most_bytes = BYTES_AT_LEAST;
    if (bs_program_read(net, program, size, error, error_size) && bs_tables_make(net, error, error_size)) return net;
    bs_net_free(net);
    return NULL;
}

void bs_net_free(bs_net *net) {
    if (net == NULL) return;
    for (struct bs_block *block = net->blocks; block != NULL;) {
        struct bs_block *next = block->next;
        free(block);
        block = next;
    }
    free(net);
}

size_t bs_net_bytes(const bs_net *net) { return net->bytes; }
int bs_net_nodes(const bs_net *net) { return net->count; }
int bs_net_classes(const bs_net *net) { return net->nodes[net->count - 1].classes; }
