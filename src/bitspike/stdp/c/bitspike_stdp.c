/* The integer network of bitspike/stdp/integers.py in portable C99. */
#include "bitspike_stdp.h"

#include <string.h>

/* What a number is for: the second word of the generator's key. */
enum { LEARNING_INPUT = 1, RESPONSE_INPUT, WEIGHTS, NEURONS, RESPONSE_NEURONS };
enum { TRUNCATION = 0, NEAREST = 1, STOCHASTIC = 2 };
enum { LEAK_BITS = 14, THETA_BITS = 8, RESCALE_BITS = 16, BLOCK = 8, NONE = -1 };
#define GOLDEN 0x9E3779B9u
#define PARITY 0x1BD11BDAu
/* Weights lie bit behind bit, inputs outermost; two bytes more, since a weight is read through three. */
#define PACKED_BYTES (((size_t)STDP_INPUTS * STDP_NEURONS * STDP_WEIGHT_BITS + 7) / 8 + 2)

#if STDP_LEARN
static uint8_t weights[PACKED_BYTES];
static uint16_t theta[STDP_NEURONS], scale[STDP_NEURONS];
static int16_t seen[STDP_INPUTS], spiked[STDP_NEURONS];
#else
#define weights stdp_weights
#define theta stdp_thetas
#define scale stdp_scales
#endif
static int16_t potential[STDP_NEURONS];
static uint16_t refractory[STDP_NEURONS];
static int32_t sums[STDP_NEURONS];
static uint8_t spikes[STDP_INPUTS]; /* bit s: spikes in step s of this block */
static uint32_t neuron_words[4];

static uint32_t rotated(uint32_t word, int by) { return word << by | word >> (32 - by); }

/* Threefry-4x32-20 of (image, step, place, 0). */
static void threefry(uint32_t purpose, uint32_t image, uint32_t step, uint32_t place, uint32_t word[4]) {
    static const uint8_t turns[8][2] = {{10, 26}, {11, 21}, {13, 27}, {23, 5}, {6, 20}, {17, 11}, {25, 10}, {18, 20}};
    uint32_t key[5];
    uint32_t turn, i;
    key[0] = STDP_SEED, key[1] = purpose, key[2] = key[3] = 0, key[4] = PARITY ^ STDP_SEED ^ purpose;
    word[0] = image + key[0], word[1] = step + key[1], word[2] = place, word[3] = 0;
    for (turn = 0; turn < 20; turn++) {
        const uint32_t a = turn % 2 == 0 ? 1 : 3, b = 4 - a;
        word[0] += word[a];
        word[a] = rotated(word[a], turns[turn % 8][0]) ^ word[0];
        word[2] += word[b];
        word[b] = rotated(word[b], turns[turn % 8][1]) ^ word[2];
        if (turn % 4 == 3) {
            for (i = 0; i < 4; i++) word[i] += key[(turn / 4 + 1 + i) % 5];
            word[3] += turn / 4 + 1;
        }
    }
}

/* What a rounding adds before `bits` bits are shifted away; drawn: the word of this row or step. */
static uint32_t offset_of(uint32_t drawn, uint32_t neuron, int bits) {
    if (STDP_ROUNDING == STOCHASTIC) return (drawn + neuron * GOLDEN) >> (32 - bits);
    return STDP_ROUNDING == NEAREST ? (uint32_t)1 << (bits - 1) : 0;
}

/* floor(value / 2^bits) on any sign, which >> does not promise. */
static int32_t shifted(int32_t value, int bits) {
    return value >= 0 ? (int32_t)((uint32_t)value >> bits) : -1 - (int32_t)((uint32_t)(-1 - value) >> bits);
}

uint32_t stdp_weight(uint32_t input, uint32_t neuron) {
    const uint64_t place = ((uint64_t)input * STDP_NEURONS + neuron) * STDP_WEIGHT_BITS;
    const uint8_t *at = weights + (place >> 3);
    const uint32_t window = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16;
    return window >> (place & 7) & (((uint32_t)1 << STDP_WEIGHT_BITS) - 1);
}

uint32_t stdp_theta(uint32_t neuron) { return theta[neuron]; }
uint32_t stdp_scale(uint32_t neuron) { return scale[neuron]; }

void stdp_init(void) {
#if STDP_LEARN
    memcpy(weights, stdp_weights, sizeof weights);
    memcpy(theta, stdp_thetas, sizeof theta);
    memcpy(scale, stdp_scales, sizeof scale);
#endif
}

#if STDP_LEARN
static void set_weight(uint32_t input, uint32_t neuron, uint32_t value) {
    const uint64_t place = ((uint64_t)input * STDP_NEURONS + neuron) * STDP_WEIGHT_BITS;
    uint8_t *at = weights + (place >> 3);
    const uint32_t mask = (((uint32_t)1 << STDP_WEIGHT_BITS) - 1) << (place & 7);
    uint32_t window = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16;
    window = (window & ~mask) | value << (place & 7);
    at[0] = (uint8_t)window, at[1] = (uint8_t)(window >> 8), at[2] = (uint8_t)(window >> 16);
}

/* Depression of the synapses of inputs that spike now, potentiation of the winner's. */
static void learn_step(uint32_t image, int32_t step, int winner) {
    uint32_t input, neuron, word[4];
    for (input = 0; input < STDP_INPUTS; input++) {
        const int active = spikes[input] >> (step % BLOCK) & 1;
        if (active) seen[input] = (int16_t)step;
        if (!active && (winner == NONE || seen[input] == NONE)) continue;
        threefry(WEIGHTS, image, (uint32_t)step, input, word);
        for (neuron = active ? 0 : (uint32_t)winner; neuron < STDP_NEURONS; neuron++) {
            int32_t value;
            if (spiked[neuron] != NONE) {
                value = (int32_t)stdp_weight(input, neuron);
                if (active) {
                    const uint32_t by = (uint32_t)STDP_DOWN * stdp_trace[step - spiked[neuron]];
                    value -= (int32_t)((by + offset_of(word[0], neuron, STDP_UPDATE_SHIFT)) >> STDP_UPDATE_SHIFT);
                }
                if ((int)neuron == winner) {
                    const uint32_t by = (uint32_t)STDP_UP * stdp_trace[step - seen[input]];
                    value += (int32_t)((by + offset_of(word[1], neuron, STDP_UPDATE_SHIFT)) >> STDP_UPDATE_SHIFT);
                }
                set_weight(input, neuron, value < 0 ? 0 : value > STDP_LEVELS ? STDP_LEVELS : (uint32_t)value);
            }
            if (!active) break;
        }
    }
}

/* The neurons that spiked come back to their sum; all thresholds decay a little. */
static void settle(uint32_t image) {
    uint32_t neuron, input, word[4];
    for (neuron = 0; neuron < STDP_NEURONS; neuron++) {
        uint32_t total = 0, found;
        if (spiked[neuron] == NONE) continue;
        for (input = 0; input < STDP_INPUTS; input++) total += stdp_weight(input, neuron);
        if (total > STDP_LIMIT) {
            const uint32_t factor = (uint32_t)(((uint64_t)STDP_TARGET << RESCALE_BITS) / total);
            total = 0;
            for (input = 0; input < STDP_INPUTS; input++) {
                uint32_t value;
                threefry(WEIGHTS, image, STDP_STEPS, input, word);
                value = stdp_weight(input, neuron) * factor + offset_of(word[2], neuron, RESCALE_BITS);
                set_weight(input, neuron, value >> RESCALE_BITS);
                total += value >> RESCALE_BITS;
            }
        }
        found = STDP_SCALE_MOST;
        if (total != 0 && (STDP_NUMERATOR + total / 2) / total < STDP_SCALE_MOST)
            found = (uint32_t)((STDP_NUMERATOR + total / 2) / total);
        scale[neuron] = (uint16_t)found;
    }
    threefry(NEURONS, image, 0, 1, word);
    for (neuron = 0; neuron < STDP_NEURONS; neuron++) {
        const uint64_t decay = (uint64_t)theta[neuron] * STDP_THETA_DECAY + offset_of(word[0], neuron, 32);
        theta[neuron] = (uint16_t)(theta[neuron] - (uint16_t)(decay >> 32));
    }
}
#endif

/* Which inputs spike in the eight steps from here on. */
static void code(const uint8_t *pixels, uint32_t image, int32_t step, int learn) {
    uint32_t input, word[4], s;
    for (input = 0; input < STDP_INPUTS; input++) {
        const uint32_t rate = stdp_rates[pixels[input]];
        spikes[input] = 0;
        if (rate == 0) continue;
        threefry(learn ? LEARNING_INPUT : RESPONSE_INPUT, image, (uint32_t)(step / BLOCK), input, word);
        for (s = 0; s < BLOCK; s++)
            spikes[input] |= (uint8_t)(((word[s / 2] >> 16 * (s % 2) & 0xFFFF) < rate) << s);
    }
}

/* Potentials of one step; which neuron spikes. before: the one whose inhibition arrives. */
static int neurons_step(uint32_t drawn, int before, int32_t step, int learn) {
    int winner = NONE;
    int32_t most = 0;
    uint32_t neuron;
    for (neuron = 0; neuron < STDP_NEURONS; neuron++) {
        const int32_t edge = STDP_THRESHOLD + ((int32_t)theta[neuron] * ((int32_t)1 << STDP_THETA_SHIFT));
        int32_t decision = (int32_t)potential[neuron] * STDP_LEAK, stored;
        if (refractory[neuron] == 0) {
            const uint64_t half = ((uint64_t)1 << STDP_SCALE_SHIFT) >> 1;
            const uint64_t scaled = ((uint64_t)(uint32_t)sums[neuron] * scale[neuron] + half) >> STDP_SCALE_SHIFT;
            int32_t current = scaled > STDP_HIGHEST ? STDP_HIGHEST : (int32_t)scaled;
            if (before != NONE && before != (int)neuron) current -= STDP_INHIBITION;
            decision += current * ((int32_t)1 << LEAK_BITS);
        } else {
            refractory[neuron]--;
        }
        if (decision >= edge) {
            if (winner == NONE || (STDP_STRONGEST && decision - edge > most)) winner = (int)neuron, most = decision - edge;
            refractory[neuron] = STDP_REFRACTORY;
            potential[neuron] = STDP_RESET;
#if STDP_LEARN
            if (learn) {
                const uint32_t rise = ((uint32_t)STDP_THETA_PLUS + offset_of(drawn, neuron, THETA_BITS)) >> THETA_BITS;
                theta[neuron] = (uint16_t)(theta[neuron] + rise > STDP_THETA_MOST ? STDP_THETA_MOST : theta[neuron] + rise);
            }
#endif
            continue;
        }
        stored = shifted(decision + (int32_t)offset_of(drawn, neuron, LEAK_BITS), LEAK_BITS);
        potential[neuron] = (int16_t)(stored < STDP_LOWEST ? STDP_LOWEST : stored > STDP_HIGHEST ? STDP_HIGHEST : stored);
    }
    (void)learn;
#if STDP_LEARN
    if (winner != NONE) spiked[winner] = (int16_t)step;
#else
    (void)step;
#endif
    return winner;
}

void stdp_present(const uint8_t *pixels, uint32_t image, int learn, uint16_t *counts) {
    int winner = NONE, previous = NONE; /* of the last step, and of the one before */
    int32_t step;
    uint32_t input, neuron;
    memset(potential, 0, sizeof potential);
    memset(refractory, 0, sizeof refractory);
    memset(sums, 0, sizeof sums);
    memset(counts, 0, STDP_NEURONS * sizeof counts[0]);
#if STDP_LEARN
    for (input = 0; input < STDP_INPUTS; input++) seen[input] = NONE;
    for (neuron = 0; neuron < STDP_NEURONS; neuron++) spiked[neuron] = NONE;
#else
    learn = 0;
#endif
    for (step = 0; step < STDP_STEPS; step++) {
        const int before = STDP_DELAY == 1 ? winner : previous;
        if (step % BLOCK == 0) code(pixels, image, step, learn);
        if (step % 4 == 0 && STDP_ROUNDING == STOCHASTIC)
            threefry(learn ? NEURONS : RESPONSE_NEURONS, image, (uint32_t)(step / 4), 0, neuron_words);
        previous = winner;
        winner = neurons_step(neuron_words[step % 4], before, step, learn);
        if (winner != NONE) counts[winner]++;
#if STDP_LEARN
        if (learn) learn_step(image, step, winner);
#endif
        memset(sums, 0, sizeof sums);
        for (input = 0; input < STDP_INPUTS; input++)
            if (spikes[input] >> (step % BLOCK) & 1)
                for (neuron = 0; neuron < STDP_NEURONS; neuron++) sums[neuron] += (int32_t)stdp_weight(input, neuron);
    }
#if STDP_LEARN
    if (learn) settle(image);
#endif
}

int stdp_class(const uint16_t *counts) {
    int found = NONE, label;
    uint64_t most = 0;
    for (label = 0; label < STDP_CLASSES; label++) {
        uint64_t said = 0;
        uint32_t neuron;
        for (neuron = 0; neuron < STDP_NEURONS; neuron++)
            said += (uint64_t)counts[neuron] * stdp_votes[neuron * STDP_CLASSES + (uint32_t)label];
        if (said > most) most = said, found = label;
    }
    return found;
}
