/* Samples with what the reference computed for them, and the comparison. */
#ifndef BITSPIKE_SELFTEST_H
#define BITSPIKE_SELFTEST_H

#include <stdint.h>

#include "bitspike_core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const bitspike_net *net;
    void (*init)(void);
    int (*step)(const uint8_t *frame);
    const int32_t *(*logits)(void);
    uint32_t (*argmax)(void);
    uint32_t samples, time_steps;
    uint32_t frame_bytes;
    uint32_t frames_per_sample; /* 1: the same frame at every step */
    const uint8_t *frames;
    uint32_t layers;             /* spiking layers */
    const char *const *names;    /* [layers] */
    const uint32_t *nodes;       /* [layers]: their numbers in the network */
    const uint32_t *spikes;      /* [samples, layers]: spikes of all steps */
    const uint32_t *hashes;      /* [samples, layers] */
    const int32_t *answers;      /* [samples, classes] */
    uint32_t *counted, *hashed;  /* [layers]: room for what is found */
} bitspike_vectors;

/* Runs all samples and prints what each layer did; how many numbers differ. Built with BITSPIKE_WATCH=1. */
int bitspike_selftest(const bitspike_vectors *vectors);

/* Given by the platform. */
void bitspike_print(const char *text);

#ifdef __cplusplus
}
#endif

#endif
