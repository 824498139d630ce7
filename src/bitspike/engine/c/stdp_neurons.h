/* Neurons of the integer network: what does not depend on the type of its weights. Part of stdp.c. */

enum { LEAK_BITS = 14, THETA_BITS = 8, RESCALE_BITS = 16 };

/* What a rounding adds before `bits` bits are shifted away. */
INLINE uint32_t offset_of(const bs_stdp *net, uint32_t drawn, int bits) {
    if (net->rounding == BS_STDP_STOCHASTIC) return drawn >> (32 - bits);
    return net->rounding == BS_STDP_NEAREST ? 1u << (bits - 1) : 0;
}

/* Currents of one step from sums; wide: 32 bits do not hold their products. */
static void currents(const bs_stdp *net, const work *on, bool wide) {
    const int32_t *sums = (const int32_t *)on->sums;
    int32_t *current = (int32_t *)on->current;
    const int shift = net->scale_shift;
    const uint64_t half = ((uint64_t)1 << shift) >> 1;
    const int32_t highest = net->highest;
    if (wide) {
        for (size_t j = 0; j < on->stride; j++) {
            const uint64_t scaled = ((uint64_t)(uint32_t)sums[j] * (uint32_t)on->scale[j] + half) >> shift;
            current[j] = scaled > (uint64_t)highest ? highest : (int32_t)scaled;
        }
    } else {
        for (size_t j = 0; j < on->stride; j++) {
            const uint32_t scaled = ((uint32_t)sums[j] * (uint32_t)on->scale[j] + (uint32_t)half) >> shift;
            current[j] = scaled > (uint32_t)highest ? highest : (int32_t)scaled;
        }
    }
}

INLINE numbers chosen(numbers mask, numbers yes, numbers no) { return (yes & mask) | (no & ~mask); }

/* Potentials of one step; decisions stay in on->current. Whether any threshold is reached. */
static bool integrate_integer(const bs_stdp *net, work *on, uint32_t word) {
    const numbers none = {0}, lowest = net->lowest + none, highest = net->highest + none;
    const uint32_t random = net->rounding == BS_STDP_STOCHASTIC ? ~0u : 0;
    const uint32_t fixed = random ? 0 : offset_of(net, 0, LEAK_BITS);
    numbers any = none;
    for (size_t j = 0; j < on->stride; j += LANES) {
        const numbers wait = *(numbers *)(on->refractory + j), idle = wait == 0;
        const numbers in = *(numbers *)(on->current + j) & idle;
        const numbers decision = *(numbers *)(on->potential + j) * net->leak + in * (1 << LEAK_BITS);
        *(numbers *)(on->refractory + j) = wait - (idle + 1); /* idle is -1: down to 0 */
        const naturals drawn = (word + *(naturals *)(on->golden + j)) >> (32 - LEAK_BITS);
        numbers stored = (decision + (numbers)((drawn & random) + fixed)) >> LEAK_BITS;
        stored = chosen(stored < lowest, lowest, stored);
        *(numbers *)(on->potential + j) = chosen(stored > highest, highest, stored);
        const numbers reached = decision >= net->threshold + *(numbers *)(on->theta + j) * (1 << net->theta_shift);
        *(numbers *)(on->current + j) = decision;
        *(numbers *)(on->reached + j) = reached;
        any |= reached;
    }
    int32_t found = 0;
    for (int l = 0; l < LANES; l++) found |= any[l];
    return found != 0;
}

static int fire_integer(const bs_stdp *net, work *on, uint32_t word, bool learn) {
    int32_t *potential = (int32_t *)on->potential, *theta = (int32_t *)on->theta;
    const int32_t *decision = (const int32_t *)on->current;
    int winner = -1;
    int32_t most = 0;
    for (int j = 0; j < net->neurons; j++) {
        if (!on->reached[j]) continue;
        const int32_t excess = decision[j] - (net->threshold + theta[j] * (1 << net->theta_shift));
        if (winner < 0 || (net->strongest && excess > most)) winner = j, most = excess;
        on->refractory[j] = net->refractory;
        potential[j] = net->reset;
        if (!learn) continue;
        const uint32_t offset = offset_of(net, word + on->golden[j], THETA_BITS);
        const int32_t more = theta[j] + (int32_t)(((uint32_t)net->theta_plus + offset) >> THETA_BITS);
        theta[j] = more > net->theta_most ? net->theta_most : more;
    }
    return winner;
}

static void settle_theta(const bs_stdp *net, work *on, uint32_t image) {
    int32_t *theta = (int32_t *)on->theta;
    const uint32_t place[LANES] = {1};
    uint32_t word[LANES] = {0};
    words_of(net, NEURONS, image, 0, 0, place, 1, word);
    for (int j = 0; j < net->neurons; j++) {
        const uint64_t offset = offset_of(net, word[0] + on->golden[j], 32);
        theta[j] -= (int32_t)(((uint64_t)theta[j] * (uint64_t)net->theta_decay + offset) >> 32);
    }
}

enum { HALVES = VECTOR / 2 };
typedef uint16_t halves __attribute__((vector_size(VECTOR)));
typedef uint8_t bytes_loose LOOSE(VECTOR / 2);

/* Bytes as numbers of 16 bits. */
INLINE halves widened(const uint8_t *from) {
#if defined(__AVX512VL__)
    return (halves)_mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)from)); /* GCC 12 would take four */
#else
    return __builtin_convertvector(*(const bytes_loose *)from, halves);
#endif
}

/* sums[j] = W of the listed inputs, W bytes: in 16 bits, which hold 256 of them, then in 32. */
static void add_rows_bytes(const uint8_t *weights, size_t stride, const uint32_t *list, int count, int32_t *sums) {
    enum { MOST = 256, WIDE = ALIGNED / HALVES };
    for (size_t j = 0; j < stride; j += ALIGNED) {
        uint16_t kept[ALIGNED];
        for (int first = 0; first == 0 || first < count; first += MOST) {
            const int last = count - first < MOST ? count : first + MOST;
            halves total[WIDE] = {{0}};
            for (int a = first; a < last; a++) {
                const uint8_t *row = weights + list[a] * stride + j;
#pragma GCC unroll 8
                for (int w = 0; w < WIDE; w++) total[w] += widened(row + w * HALVES);
            }
            memcpy(kept, total, sizeof kept);
            if (first == 0)
                for (int k = 0; k < ALIGNED; k++) sums[j + (size_t)k] = kept[k];
            else
                for (int k = 0; k < ALIGNED; k++) sums[j + (size_t)k] += kept[k];
        }
    }
}

/* The same of weights of 16 bits. */
static void add_rows_wide(const uint16_t *weights, size_t stride, const uint32_t *list, int count, int32_t *sums) {
    enum { WIDE = ALIGNED / LANES };
    typedef uint16_t halves_loose LOOSE(VECTOR / 2);
    for (size_t j = 0; j < stride; j += ALIGNED) {
        numbers total[WIDE] = {{0}};
        for (int a = 0; a < count; a++) {
            const uint16_t *row = weights + list[a] * stride + j;
#pragma GCC unroll 16
            for (int w = 0; w < WIDE; w++)
                total[w] += __builtin_convertvector(*(const halves_loose *)(row + w * LANES), numbers);
        }
        for (int w = 0; w < WIDE; w++) *(numbers_loose *)(sums + j + (size_t)(w * LANES)) = total[w];
    }
}
