/* Threefry-4x32-20 in every lane, and images as lists of spikes. Part of stdp.c. */

/* What a number is for: the second word of the key, as in bitspike/stdp/randomness.py. */
enum { INITIAL = 0, LEARNING_INPUT, RESPONSE_INPUT, WEIGHTS, NEURONS, RESPONSE_NEURONS };
#define GOLDEN 0x9E3779B9u
#define PARITY 0x1BD11BDAu

enum { BLOCK = 8 }; /* steps that one block of random words serves */

INLINE naturals rotated(naturals word, int by) { return (word << by) | (word >> (32 - by)); }
INLINE naturals all(uint32_t value) { return value - (naturals){0}; }

/* Turns four words of counters into random ones. */
INLINE void threefry(naturals word[4], uint32_t seed, uint32_t purpose) {
    static const int turns[8][2] = {{10, 26}, {11, 21}, {13, 27}, {23, 5}, {6, 20}, {17, 11}, {25, 10}, {18, 20}};
    const uint32_t key[5] = {seed, purpose, 0, 0, PARITY ^ seed ^ purpose};
    for (int i = 0; i < 4; i++) word[i] += key[i];
#pragma GCC unroll 20
    for (int turn = 0; turn < 20; turn++) {
        const int a = turn % 2 == 0 ? 1 : 3, b = 4 - a;
        word[0] += word[a];
        word[a] = rotated(word[a], turns[turn % 8][0]) ^ word[0];
        word[2] += word[b];
        word[b] = rotated(word[b], turns[turn % 8][1]) ^ word[2];
        if (turn % 4 == 3) {
            const int injection = turn / 4 + 1;
            for (int i = 0; i < 4; i++) word[i] += key[(injection + i) % 5];
            word[3] += (uint32_t)injection;
        }
    }
}

/* Word `which` of (image, step, place) for every place of a list; both lists have room for a whole vector more. */
static void words_of(const bs_stdp *net, uint32_t purpose, uint32_t image, uint32_t step, int which,
                     const uint32_t *places, int count, uint32_t *to) {
    for (int i = 0; i < count; i += LANES) {
        naturals word[4] = {all(image), all(step), *(const naturals_loose *)(places + i), all(0)};
        threefry(word, net->seed, purpose);
        *(naturals_loose *)(to + i) = word[which];
    }
}

/* One word for every step: word t % 4 of (image, t / 4, 0). */
static void words_by_step(const bs_stdp *net, uint32_t purpose, uint32_t image, uint32_t *to) {
    const naturals lane = (naturals)(numbers)LANE_NUMBERS;
    for (int first = 0; first < net->steps; first += 4 * LANES) {
        naturals word[4] = {all(image), (uint32_t)(first / 4) + lane, all(0), all(0)};
        threefry(word, net->seed, purpose);
        for (int l = 0; l < LANES; l++)
            for (int i = 0; i < 4; i++) to[first + 4 * l + i] = word[i][l];
    }
}

/* Appends those places whose lane of a is below b; writes up to a whole vector beyond them. */
INLINE int append_below(uint32_t *list, int count, naturals places, naturals a, naturals b) {
#if defined(__AVX512VL__)
    const __mmask16 below = _mm512_cmplt_epu32_mask((__m512i)a, (__m512i)b);
    _mm512_storeu_si512(list + count, _mm512_maskz_compress_epi32(below, (__m512i)places));
    return count + __builtin_popcount(below);
#elif defined(__AVX2__)
    uint32_t below = (uint32_t)_mm256_movemask_ps((__m256)((numbers)a < (numbers)b));
    for (; below != 0; below &= below - 1) list[count++] = places[__builtin_ctz(below)];
    return count;
#else
    for (int l = 0; l < LANES; l++)
        if (a[l] < b[l]) list[count++] = places[l];
    return count;
#endif
}

/* The pixels that can spike: their places and their probabilities, filled up to a whole vector by ones that cannot. */
static int bright(const bs_stdp *net, const uint8_t *pixels, uint32_t *places, uint32_t *rates) {
    int count = 0;
    for (int i = 0; i < net->inputs; i++) {
        places[count] = (uint32_t)i;
        rates[count] = net->rates[pixels[i]];
        count += rates[count] != 0;
    }
    for (int l = 0; l < LANES; l++) places[count + l] = rates[count + l] = 0;
    return count;
}

/* Lists of the inputs that spike in each of the eight steps of block `block`, in ascending order. */
static void spikes_of_block(const bs_stdp *net, uint32_t purpose, uint32_t image, int block, const uint32_t *places,
                            const uint32_t *rates, int bright_count, uint32_t *const *lists, int *counts) {
    for (int s = 0; s < BLOCK; s++) counts[s] = 0;
    for (int i = 0; i < bright_count; i += LANES) {
        const naturals where = *(const naturals_loose *)(places + i), rate = *(const naturals_loose *)(rates + i);
        naturals word[4] = {all(image), all((uint32_t)block), where, all(0)};
        threefry(word, net->seed, purpose);
        for (int w = 0; w < 4; w++) {
            counts[2 * w] = append_below(lists[2 * w], counts[2 * w], where, word[w] & 0xFFFF, rate);
            counts[2 * w + 1] = append_below(lists[2 * w + 1], counts[2 * w + 1], where, word[w] >> 16, rate);
        }
    }
}

/* The same from given spikes. */
static void given_block(const bs_stdp *net, const uint8_t *train, int block, uint32_t *const *lists, int *counts) {
    for (int s = 0; s < BLOCK; s++) {
        const int step = block * BLOCK + s;
        counts[s] = 0;
        if (step >= net->steps) continue;
        const uint8_t *row = train + (size_t)step * (size_t)net->inputs;
        for (int i = 0; i < net->inputs; i++)
            if (row[i]) lists[s][counts[s]++] = (uint32_t)i;
    }
}
