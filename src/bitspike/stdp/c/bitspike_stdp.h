/* An unsupervised network that learns where it runs: C99, integers only, no library but memcpy and memset, no allocation.
 *
 * bitspike/stdp/integers.py is the definition; this equals it bit for bit. The network itself is stdp_network.h and
 * stdp_network.c. One network in a program; all memory is static.
 */
#ifndef BITSPIKE_STDP_H
#define BITSPIKE_STDP_H

#include <stdint.h>

#include "stdp_network.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 0: the network only responds; its weights stay in constant memory. */
#ifndef STDP_LEARN
#define STDP_LEARN 1
#endif

/* Takes the network as it was exported. Call it once before the others. */
void stdp_init(void);

/* Shows one image, pixels [STDP_INPUTS], and counts the spikes of every neuron [STDP_NEURONS].
 * image: its number, for random numbers; give every image that is learned from another one. learn: 0 or 1. */
void stdp_present(const uint8_t *pixels, uint32_t image, int learn, uint16_t *counts);

/* The class of a response, -1 in silence. */
int stdp_class(const uint16_t *counts);

/* One weight, and what is learned of a neuron, to look at or to keep. */
uint32_t stdp_weight(uint32_t input, uint32_t neuron);
uint32_t stdp_theta(uint32_t neuron);
uint32_t stdp_scale(uint32_t neuron);

#ifdef __cplusplus
}
#endif

#endif
