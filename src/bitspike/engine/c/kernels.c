/* The kernels of one build: this file is compiled once for every instruction set, with BS_BUILD as its name. */
#include "kernels.h"
#include "vectors.h"

/* ---- lists of active inputs ---- */

/* Appends first + c * stride for every set bit c of 32 channels. */
#if defined(__AVX512VL__)
INLINE int32_t *list_word(int32_t *to, uint32_t bits, int32_t first, int32_t stride) {
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i low =
        _mm512_add_epi32(_mm512_mullo_epi32(lanes, _mm512_set1_epi32(stride)), _mm512_set1_epi32(first));
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(16 * stride));
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi32((__mmask16)bits, low));
    to += __builtin_popcount(bits & 0xFFFF);
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi32((__mmask16)(bits >> 16), high));
    return to + __builtin_popcount(bits >> 16);
}
#else
INLINE int32_t *list_word(int32_t *to, uint32_t bits, int32_t first, int32_t stride) {
    for (; bits; bits &= bits - 1) *to++ = first + __builtin_ctz(bits) * stride;
    return to;
}
#endif

static void make_lists(const bs_value *value, const uint8_t *map, int steps, const bs_lists *lists, int from, int to) {
    const size_t width = (size_t)value->width, words = ((size_t)value->channels + 31) / 32;
    const size_t line_items = width * (size_t)value->channels + LIST_SLACK; /* room for the worst case */
    const int32_t stride = lists->op ? lists->op->row_stride : 1;
    for (int t = 0; t < steps; t++) {
        for (int j = 0; j < value->planes; j++) {
            const size_t plane = ((size_t)t * (size_t)value->planes + (size_t)j) * (size_t)value->height;
            for (int y = from; y < to; y++) {
                const uint8_t *pixel =
                    map + (size_t)t * value->step + (size_t)j * value->plane + (size_t)y * value->row;
                const size_t line = plane + (size_t)y;
                uint32_t *start = lists->start + line * (size_t)lists->line;
                int32_t *const items = lists->items + line * line_items, *item = items;
                const uint32_t base = (uint32_t)(line * line_items);
                ptrdiff_t most = 0;
                for (int i = 0; i < lists->pad; i++) *start++ = base;
                for (size_t x = 0; x < width; x++, pixel += value->pixel) {
                    const int32_t column = lists->op ? lists->op->column[x] : 0;
                    int32_t *const first = item;
                    *start++ = base + (uint32_t)(item - items);
                    if (column == UNREACHED) continue;
                    for (size_t w = 0; w < words; w++) {
                        uint32_t bits;
                        memcpy(&bits, pixel + 4 * w, 4);
                        if (bits) item = list_word(item, bits, column + (int32_t)(32 * w) * stride, stride);
                    }
                    most = item - first > most ? item - first : most;
                }
                for (int i = lists->pad + (int)width; i < lists->line; i++) *start++ = base + (uint32_t)(item - items);
                lists->most[line] = (uint16_t)most;
            }
        }
    }
}

/* ---- the event-driven kernel ---- */

static void note_membranes(const bs_work *work, const uint8_t *planes, size_t size, int t, int y, int at, int offset) {
    const bs_value *value = &work->node->value;
    const int bits = work->node->fire.bits;
    for (size_t bit = 0; bit < size * 8; bit++) {
        size_t place = ((size_t)at + (size_t)offset) * 8 + bit;
        size_t x = place / ((size_t)value->pixel * 8), c = place % ((size_t)value->pixel * 8);
        if (x >= (size_t)value->width || c >= (size_t)value->channels) continue;
        int32_t stored = 0;
        for (int k = 0; k < bits; k++) stored |= ((planes[(size_t)k * size + bit / 8] >> (bit % 8)) & 1) << k;
        stored -= (stored >> (bits - 1)) << bits;
        work->membranes[(size_t)t * work->membrane_stride +
                        (c * (size_t)value->height + (size_t)y) * (size_t)value->width + x] = stored;
    }
}

/* What one group of output pixels sees of a source: its window's part of the lists. */
typedef struct {
    const bs_operator *op;
    const bs_value *from;
    const bs_lists *lists;
    int depth; /* planes that hold the number of active inputs of any window of this map */
} window;

static window window_of(const bs_operator *op, const bs_value *from, const bs_lists *lists, int steps) {
    const size_t lines = (size_t)from->height * (size_t)from->planes * (size_t)steps;
    const uint64_t places = (uint64_t)op->kernel_y * (uint64_t)op->kernel_x;
    uint16_t most = 0;
    for (size_t i = 0; i < lines; i++) most = lists->most[i] > most ? lists->most[i] : most;
    return (window){op, from, lists, bs_bit_length(places * most * (((uint64_t)1 << from->planes) - 1))};
}

#include "planes.h"

/* The active bits of a part of a source's pixel go where the channel map sends them; each goes to one channel at least. */
INLINE void join_bits(const bs_node *node, uint64_t active, size_t first_bit, uint8_t *pixel) {
    for (; active; active &= active - 1) {
        int32_t c = node->joins_first[first_bit + (size_t)__builtin_ctzll(active)];
        do {
            pixel[c / 8] = (uint8_t)(pixel[c / 8] | (1u << (c % 8)));
            c = node->joins_next[c];
        } while (c >= 0);
    }
}

static void join_pixel(const bs_node *node, const bs_value *source, const uint8_t *seen, uint8_t *pixel) {
    if (source->pixel == 4) {
        uint32_t active, joins;
        memcpy(&active, seen, sizeof active);
        memcpy(&joins, node->joins, sizeof joins);
        join_bits(node, active & joins, 0, pixel);
        return;
    }
    for (size_t at = 0; at < (size_t)source->pixel; at += 8) {
        uint64_t active, joins;
        memcpy(&active, seen + at, sizeof active);
        memcpy(&joins, node->joins + at, sizeof joins);
        join_bits(node, active & joins, at * 8, pixel);
    }
}

/* The plain skip's operand in the layer's own layout: stride and channel map are taken care of here. */
static void join_rows(const bs_work *work, int from, int to) {
    const bs_node *node = work->node;
    const bs_value *value = &node->value, *source = work->skip_value;
    uint8_t *joined = (uint8_t *)work->skip;
    const size_t plane = value->plane, step = plane * (size_t)source->planes;
    const size_t positions = (size_t)source->height * (size_t)source->width;
    for (int t = 0; t < work->steps; t++) {
        for (int j = 0; j < source->planes; j++) {
            const uint8_t *map = work->joined_from + (size_t)t * source->step + (size_t)j * source->plane;
            for (int y = from; y < to; y++) {
                uint8_t *row = joined + (size_t)t * step + (size_t)j * plane + (size_t)y * value->row;
                memset(row, 0, value->row);
                for (int x = 0; x < value->width; x++) {
                    uint8_t *pixel = row + (size_t)x * (size_t)value->pixel;
                    const uint8_t *line = map + (size_t)y * (size_t)node->skip_stride * source->row;
                    const uint8_t *seen = line + (size_t)x * (size_t)node->skip_stride * (size_t)source->pixel;
                    if (node->channel_map == NULL && !(source->flat && positions > 1)) {
                        memcpy(pixel, seen,
                               (size_t)value->pixel < (size_t)source->pixel ? (size_t)value->pixel
                                                                            : (size_t)source->pixel);
                        continue;
                    }
                    if (node->joins_first) {
                        join_pixel(node, source, seen, pixel);
                        continue;
                    }
                    for (int c = 0; c < value->channels; c++) {
                        int32_t at = node->channel_map ? node->channel_map[c] : c;
                        if (at < 0) continue;
                        size_t channel = (size_t)at;
                        if (source->flat) { /* [C * H * W] by number, pixels of channels in memory */
                            size_t position = channel % positions;
                            channel /= positions;
                            seen = map + position / (size_t)source->width * source->row +
                                   position % (size_t)source->width * (size_t)source->pixel;
                        }
                        unsigned bit = (seen[channel / 8] >> (channel % 8)) & 1;
                        pixel[c / 8] = (uint8_t)(pixel[c / 8] | (bit << (c % 8)));
                    }
                }
            }
        }
    }
}

static void run_planes(const bs_work *work, int from, int to) {
    const bs_node *node = work->node;
    const bs_value *value = &node->value;
    if (work->joined_from) join_rows(work, from, to);
    const int chunk = value->pixel > VECTOR ? value->pixel : VECTOR;
    const int group = value->group;
    uint8_t last_edge[VECTOR];
    const int ragged = value->width % group;
    for (int i = 0; i < VECTOR; i++) last_edge[i] = ragged == 0 || i < ragged * value->pixel ? 0xFF : 0;
    const window main = window_of(&node->op, work->source_value, &work->lists, work->steps);
    window skip = {0};
    if (node->skip == SKIP_WEIGHTED) skip = window_of(&node->skip_op, work->skip_value, &work->skip_lists, work->steps);
    gathering gather;
    const bool largest = bs_takes_largest(&node->op);
    if (largest) make_gathering(&gather, node, work->source_value);
    for (int y = from; y < to; y++) {
        for (int x = 0, at = 0; x < value->width; x += group, at += chunk) {
            const uint8_t *edge = ragged && x + group > value->width ? last_edge : NULL;
            for (int offset = 0; offset < chunk; offset += VECTOR)
                vector_steps(work, &main, &skip, largest ? &gather : NULL, y, x, at, offset, edge);
        }
    }
}

#include "lanes.h"
#include "maps.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

const bs_kernels PASTE(bs_kernels_, BS_BUILD) = {
    .name = TEXT(BS_BUILD),
    .vector = VECTOR,
#if defined(__AVX512VPOPCNTDQ__)
    .fast_popcount = true,
#else
    .fast_popcount = false,
#endif
    .lists = make_lists,
    .planes = run_planes,
    .dense = run_dense,
    .lanes = run_lanes,
    .ones = count_ones,
    .center = center_samples,
    .pool = pool_map,
    .readout = read_out,
};
