/* Shows the network a few images and compares its spikes with those of the definition; then it learns from them. */
#include <stdio.h>

#include "bitspike_stdp.h"
#include "stdp_vectors.h"

static uint16_t counts[STDP_NEURONS];

#if STDP_LEARN
/* A sum that any difference changes. */
static uint32_t digest(uint32_t of, uint32_t value) { return (of ^ value) * 16777619u; }

static uint32_t learned(void) {
    uint32_t i, neuron, found = 2166136261u;
    for (i = 0; i < STDP_INPUTS; i++)
        for (neuron = 0; neuron < STDP_NEURONS; neuron++) found = digest(found, stdp_weight(i, neuron));
    for (neuron = 0; neuron < STDP_NEURONS; neuron++)
        found = digest(digest(found, stdp_theta(neuron)), stdp_scale(neuron));
    return found;
}
#endif

int main(void) {
    uint32_t n, neuron;
    int differing = 0;
    stdp_init();
    for (n = 0; n < STDP_SAMPLES; n++) {
        stdp_present(stdp_samples + n * STDP_INPUTS, n, 0, counts);
        for (neuron = 0; neuron < STDP_NEURONS; neuron++)
            differing += counts[neuron] != stdp_responses[n * STDP_NEURONS + neuron];
        differing += stdp_class(counts) != stdp_labels[n];
    }
#if STDP_LEARN
    for (n = 0; n < STDP_SAMPLES; n++) stdp_present(stdp_samples + n * STDP_INPUTS, STDP_IMAGES + n, 1, counts);
    differing += learned() != STDP_LEARNED;
#endif
    printf(differing ? "%d differences\n" : "equal\n", differing);
    return differing != 0;
}
