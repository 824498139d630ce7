/* The kernels of training, of one build: compiled once for every instruction set, like kernels.c. */
#include "training.h"

#include <stdbool.h>
#include <stdlib.h>

#include "vectors.h"

#include "numbers.h"

/* ---- mean and squared deviations per channel ---- */

INLINE void moments_of(const void *x, const bool half, size_t rows, size_t channels, double *mean, double *squares,
                       float *row) {
    float *sum = row, *deviation = row + channels, *middle = row + 2 * channels;
    double count = 0;
    for (size_t c = 0; c < channels; c++) mean[c] = squares[c] = 0;
    for (size_t first = 0; first < rows; first += FOLD) {
        const size_t here = rows - first < FOLD ? rows - first : FOLD;
        const void *block = part_of(x, half, first * channels);
        for (size_t c = 0; c < channels; c++) sum[c] = deviation[c] = 0;
        for (size_t r = 0; r < here; r++)
            for (size_t c = 0; c < channels; c++) sum[c] += load(block, half, r * channels + c);
        for (size_t c = 0; c < channels; c++) middle[c] = sum[c] / (float)here;
        for (size_t r = 0; r < here; r++)
            for (size_t c = 0; c < channels; c++) {
                const float apart = load(block, half, r * channels + c) - middle[c];
                deviation[c] += apart * apart;
            }
        /* Two sets of numbers become one (Chan, Golub, LeVeque). */
        const double both = count + (double)here;
        for (size_t c = 0; c < channels; c++) {
            const double apart = (double)middle[c] - mean[c];
            mean[c] += apart * (double)here / both;
            squares[c] += (double)deviation[c] + apart * apart * count * (double)here / both;
        }
        count = both;
    }
}

static int moments(const void *x, int half, int64_t rows, int64_t channels, double *mean, double *squares) {
    float *row = malloc(3 * (size_t)channels * sizeof(float));
    if (row == NULL) return 1;
    if (half)
        moments_of(x, true, (size_t)rows, (size_t)channels, mean, squares, row);
    else
        moments_of(x, false, (size_t)rows, (size_t)channels, mean, squares, row);
    free(row);
    return 0;
}

#include "neurons.h"

static int64_t forward(const bs_layer *layer, int64_t from, int64_t to) {
    tiles tile;
    if (!make_tiles(&tile, layer, false)) return -1;
    const int64_t number = walk(layer, &tile, false, from, to, NULL);
    free(tile.memory);
    return number;
}

static int backward(const bs_layer *layer, int64_t from, int64_t to, double *totals) {
    tiles tile;
    for (int64_t i = 0; i < 3 * layer->channels; i++) totals[i] = 0;
    if (!make_tiles(&tile, layer, true)) return 1;
    walk(layer, &tile, true, from, to, totals);
    free(tile.memory);
    return 0;
}

/* ---- flow through the affine map of a batch norm: to = a flow + b x + c ---- */

INLINE void affine_of(const void *flow, const void *x, const bool half, size_t rows, size_t channels, const float *a,
                      const float *b, const float *c, void *to) {
    for (size_t r = 0; r < rows; r++) {
        const void *from = part_of(flow, half, r * channels), *by = part_of(x, half, r * channels);
        void *into = (void *)part_of(to, half, r * channels);
        for (size_t i = 0; i < channels; i++)
            store(into, half, i, a[i] * load(from, half, i) + (b[i] * load(by, half, i) + c[i]));
    }
}

static void affine(const void *flow, const void *x, int half, int64_t rows, int64_t channels, const float *a,
                   const float *b, const float *c, void *to) {
    if (half)
        affine_of(flow, x, true, (size_t)rows, (size_t)channels, a, b, c, to);
    else
        affine_of(flow, x, false, (size_t)rows, (size_t)channels, a, b, c, to);
}

/* ---- spikes as bits ---- */

/* 32 numbers to 32 bits; `strange` collects what is neither 0 nor 1. */
#if defined(__AVX512VL__)
INLINE uint32_t bits_of(const void *from, const bool half, uint32_t *strange) {
    if (half) {
        const __m512i numbers = _mm512_loadu_si512(from);
        const uint32_t bits = _mm512_test_epi16_mask(numbers, numbers);
        *strange |= bits & ~_mm512_cmpeq_epi16_mask(numbers, _mm512_set1_epi16(0x3F80));
        return bits;
    }
    uint32_t bits = 0;
    for (int k = 0; k < 2; k++) {
        const __m512i numbers = _mm512_loadu_si512((const char *)from + 64 * k);
        const uint32_t some = _mm512_test_epi32_mask(numbers, numbers);
        *strange |= some & ~(uint32_t)_mm512_cmpeq_epi32_mask(numbers, _mm512_set1_epi32(0x3F800000));
        bits |= some << (16 * k);
    }
    return bits;
}
#else
INLINE uint32_t bits_of(const void *from, const bool half, uint32_t *strange) {
    const uint32_t one = half ? 0x3F80 : 0x3F800000;
    uint32_t bits = 0;
    for (int k = 0; k < 32; k++) {
        const uint32_t number = half ? ((const uint16_t *)from)[k] : ((const uint32_t *)from)[k];
        *strange |= number != 0 && number != one;
        bits |= (uint32_t)(number != 0) << k;
    }
    return bits;
}
#endif

static int pack(const void *from, int half, int64_t count, uint8_t *bits) {
    uint32_t strange = 0;
    int64_t i = 0;
    for (; i + 32 <= count; i += 32) {
        const void *numbers = part_of(from, half, (size_t)i);
        const uint32_t word = half ? bits_of(numbers, true, &strange) : bits_of(numbers, false, &strange);
        memcpy(bits + i / 8, &word, 4);
    }
    if (i < count) {
        uint32_t last[32] = {0};
        memcpy(last, part_of(from, half, (size_t)i), (size_t)(count - i) * (half ? 2 : 4));
        const uint32_t word = half ? bits_of(last, true, &strange) : bits_of(last, false, &strange);
        memcpy(bits + i / 8, &word, (size_t)(count - i + 7) / 8);
    }
    return strange == 0;
}

/* The eight numbers of every byte. */
typedef struct {
    uint16_t half[256][8];
    uint32_t real[256][8];
} eights;

static void unpack(const uint8_t *bits, int half, int64_t count, void *to) {
    eights table;
    for (unsigned byte = 0; byte < 256; byte++)
        for (unsigned k = 0; k < 8; k++) {
            table.half[byte][k] = byte >> k & 1 ? 0x3F80 : 0;
            table.real[byte][k] = byte >> k & 1 ? 0x3F800000 : 0;
        }
    const int64_t bytes = count / 8, rest = count % 8;
    if (half) {
        uint16_t *numbers = to;
        for (int64_t i = 0; i < bytes; i++) memcpy(numbers + 8 * i, table.half[bits[i]], 16);
        if (rest) memcpy(numbers + 8 * bytes, table.half[bits[bytes]], (size_t)rest * 2);
    } else {
        uint32_t *numbers = to;
        for (int64_t i = 0; i < bytes; i++) memcpy(numbers + 8 * i, table.real[bits[i]], 32);
        if (rest) memcpy(numbers + 8 * bytes, table.real[bits[bytes]], (size_t)rest * 4);
    }
}

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

const bs_training PASTE(bs_training_, BS_BUILD) = {
    .name = TEXT(BS_BUILD),
    .moments = moments,
    .forward = forward,
    .backward = backward,
    .affine = affine,
    .pack = pack,
    .unpack = unpack,
};
