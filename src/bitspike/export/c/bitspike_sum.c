/* Maps and weighted sums, event-driven and bit-sliced: every active input adds its row of weight bits into counters
 * of 32 channels at once, whose planes are words. */
#include "bitspike_sum.h"

#include <stddef.h>

#include "bitspike_bits.h"

enum { ROWS_AT_ONCE = 7 };

/* Rows of weights that wait to be added together. */
typedef struct {
    uint32_t row[ROWS_AT_ONCE];
    uint32_t flip[ROWS_AT_ONCE]; /* all ones where the input is negative */
    uint32_t count;
} bitspike_rows;

/* ---- maps ---- */

static int32_t frame_value(const bitspike_map *map, const uint8_t *frame, uint32_t place, uint32_t channel)
{
    const uint32_t byte = frame[channel * map->height * map->width + place];
    return (int32_t)bitspike_smaller(byte, map->bound) - (int32_t)map->zero[channel];
}

static uint32_t magnitude(int32_t value)
{
    return value < 0 ? 0u - (uint32_t)value : (uint32_t)value;
}

uint32_t bitspike_map_word(const bitspike_map *map, const bitspike_now *now, uint32_t place, uint32_t plane,
                           uint32_t first, uint32_t count)
{
    uint32_t word = 0;
    if (!map->is_frame) {
        return bitspike_get(now->arena + map->at, bitspike_place(map, place, plane, first), count);
    }
    for (uint32_t i = 0; i < count; i++) {
        const int32_t value = frame_value(map, now->frame, place, first + i);
        const uint32_t bit = plane == map->planes ? (uint32_t)(value < 0) : (magnitude(value) >> plane) & 1u;
        word |= bit << i;
    }
    return word;
}

void bitspike_values(const bitspike_map *map, const uint32_t *arena, const uint8_t *frame, uint32_t place,
                     uint32_t first, uint32_t count, int32_t *values)
{
    uint32_t planes[32];
    uint32_t numbers[32];
    uint32_t signs = 0;
    if (map->is_frame) {
        for (uint32_t i = 0; i < count; i++) {
            values[i] = frame_value(map, frame, place, first + i);
        }
        return;
    }
    for (uint32_t k = 0; k < map->planes; k++) {
        planes[k] = bitspike_get(arena + map->at, bitspike_place(map, place, k, first), count);
    }
    if (map->is_signed) {
        signs = bitspike_get(arena + map->at, bitspike_place(map, place, map->planes, first), count);
    }
    bitspike_from_planes(planes, map->planes, count, numbers);
    for (uint32_t i = 0; i < count; i++) {
        values[i] = (int32_t)((signs >> i) & 1u ? 0u - numbers[i] : numbers[i]);
    }
}

void bitspike_store_values(const bitspike_map *map, uint32_t *arena, uint32_t place, uint32_t first, uint32_t count,
                           const int32_t *values)
{
    for (uint32_t k = 0; k < map->planes + map->is_signed; k++) {
        uint32_t word = 0;
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t bit = k == map->planes ? (uint32_t)(values[i] < 0) : (magnitude(values[i]) >> k) & 1u;
            word |= bit << i;
        }
        bitspike_put(arena + map->at, bitspike_place(map, place, k, first), count, word);
    }
}

/* ---- weighted sums ---- */

/* Seven bits of each channel become a number of three. */
static void compress(const uint32_t *word, uint32_t *bits)
{
    const uint32_t half_a = word[0] ^ word[1];
    const uint32_t half_b = word[3] ^ word[4];
    const uint32_t one_a = half_a ^ word[2];
    const uint32_t one_b = half_b ^ word[5];
    const uint32_t two_a = (word[0] & word[1]) | (half_a & word[2]);
    const uint32_t two_b = (word[3] & word[4]) | (half_b & word[5]);
    const uint32_t half_c = one_a ^ one_b;
    const uint32_t two_c = (one_a & one_b) | (half_c & word[6]);
    const uint32_t half_d = two_a ^ two_b;
    bits[0] = half_c ^ word[6];
    bits[1] = half_d ^ two_c;
    bits[2] = (two_a & two_b) | (half_d & two_c);
}

/* counters += bits << level, counting modulo 2^planes. */
static void count_up(uint32_t *counters, uint32_t planes, uint32_t level, const uint32_t *bits)
{
    uint32_t carry = 0;
    for (uint32_t k = 0; k < 3u; k++, level++) {
        if (level >= planes) {
            return;
        }
        const uint32_t half = counters[level] ^ bits[k];
        const uint32_t next = (counters[level] & bits[k]) | (half & carry);
        counters[level] = half ^ carry;
        carry = next;
    }
    for (; carry != 0u && level < planes; level++) {
        const uint32_t next = counters[level] & carry;
        counters[level] ^= carry;
        carry = next;
    }
}

/* Adds 2^level times the waiting rows of weights. */
static void add_rows(const bitspike_sum *sum, uint32_t *counters, uint32_t level, bitspike_rows *rows)
{
    uint32_t word[ROWS_AT_ONCE] = {0};
    uint32_t start[ROWS_AT_ONCE];
    uint32_t bits[3];
    const uint32_t row_bits = sum->bits * sum->outputs;
    const uint32_t waiting = rows->count;
    const int aligned = (sum->outputs & 31u) == 0u;
    rows->count = 0;
    for (uint32_t i = 0; i < waiting; i++) {
        start[i] = rows->row[i] * row_bits;
    }
    for (uint32_t k = 0; k < sum->bits && level + k < sum->counters; k++) {
        uint32_t *group = counters;
        for (uint32_t first = 0; first < sum->outputs; first += 32u, group += sum->counters) {
            const uint32_t at = k * sum->outputs + first;
            if (aligned) {
                for (uint32_t i = 0; i < waiting; i++) {
                    word[i] = sum->weights[(start[i] + at) >> 5] ^ rows->flip[i];
                }
            } else {
                const uint32_t count = bitspike_smaller(32u, sum->outputs - first);
                for (uint32_t i = 0; i < waiting; i++) {
                    word[i] = bitspike_get(sum->weights, start[i] + at, count) ^ rows->flip[i];
                }
            }
            compress(word, bits);
            count_up(group, sum->counters, level + k, bits);
        }
    }
}

/* The active inputs of one place and plane: their rows are added, their number is returned. */
static void take_place(const bitspike_sum *sum, const bitspike_now *now, uint32_t place, uint32_t tap, uint32_t plane,
                       uint32_t *counters, bitspike_rows *rows, bitspike_inputs *inputs)
{
    const bitspike_map *map = sum->source;
    for (uint32_t first = 0; first < map->channels; first += 32u) {
        const uint32_t count = bitspike_smaller(32u, map->channels - first);
        uint32_t active = bitspike_map_word(map, now, place, plane, first, count);
        uint32_t signs = 0;
        if (active != 0u && map->is_signed) {
            signs = bitspike_map_word(map, now, place, map->planes, first, count);
        }
        for (; active != 0u; active &= active - 1u) {
            const uint32_t channel = bitspike_lowest(active);
            const uint32_t negative = (signs >> channel) & 1u;
            rows->row[rows->count] = tap * map->channels + first + channel;
            rows->flip[rows->count] = 0u - negative;
            inputs->magnitude += UINT32_C(1) << plane;
            inputs->negative += negative << plane;
            if (++rows->count == (uint32_t)ROWS_AT_ONCE) {
                add_rows(sum, counters, plane, rows);
            }
        }
    }
}

static int is_kept(const bitspike_sum *sum, const bitspike_now *now)
{
    return BITSPIKE_REUSE_INPUT && sum->kept_bits != 0u && now->step != 0u;
}

/* sum(W * x) of one place, W in bytes. No product leaves 32 bits, since no sum of magnitudes does. */
static void multiply_window(const bitspike_sum *sum, const bitspike_now *now, uint32_t row, uint32_t column,
                            uint32_t *totals)
{
    const bitspike_map *map = sum->source;
    int32_t values[32];
    for (uint32_t i = 0; i < sum->outputs; i++) {
        totals[i] = 0;
    }
    for (uint32_t tap = 0; tap < sum->kernel_height * sum->kernel_width; tap++) {
        const uint32_t y = row * sum->stride_rows + tap / sum->kernel_width - sum->padding_rows;
        const uint32_t x = column * sum->stride_columns + tap % sum->kernel_width - sum->padding_columns;
        if (y >= map->height || x >= map->width) {
            continue;
        }
        for (uint32_t first = 0; first < map->channels; first += 32u) {
            const uint32_t count = bitspike_smaller(32u, map->channels - first);
            const int8_t *weights = sum->bytes + (tap * map->channels + first) * sum->outputs;
            bitspike_values(map, now->arena, now->frame, y * map->width + x, first, count, values);
            for (uint32_t i = 0; i < count; i++, weights += sum->outputs) {
                for (uint32_t j = 0; values[i] != 0 && j < sum->outputs; j++) {
                    totals[j] += (uint32_t)(values[i] * weights[j]);
                }
            }
        }
    }
}

/* sum(q * |x|) of one place, into counters. */
static bitspike_inputs count_place(const bitspike_sum *sum, const bitspike_now *now, uint32_t row, uint32_t column,
                                   uint32_t *counters)
{
    const bitspike_map *map = sum->source;
    const uint32_t words = ((sum->outputs + 31u) >> 5) * sum->counters;
    bitspike_inputs inputs = {0, 0};
    bitspike_rows rows;
    if (sum->bytes != NULL) {
        multiply_window(sum, now, row, column, counters);
        return inputs;
    }
    rows.count = 0;
    for (uint32_t i = 0; i < words; i++) {
        counters[i] = 0;
    }
    for (uint32_t plane = 0; plane < map->planes; plane++) {
        for (uint32_t i = 0; i < sum->kernel_height; i++) {
            /* Unsigned: what lies above or left of the map wraps around to beyond its end. */
            const uint32_t y = row * sum->stride_rows + i - sum->padding_rows;
            if (y >= map->height) {
                continue;
            }
            for (uint32_t j = 0; j < sum->kernel_width; j++) {
                const uint32_t x = column * sum->stride_columns + j - sum->padding_columns;
                if (x < map->width) {
                    take_place(sum, now, y * map->width + x, i * sum->kernel_width + j, plane, counters, &rows,
                               &inputs);
                }
            }
        }
        if (rows.count != 0u) {
            add_rows(sum, counters, plane, &rows);
        }
    }
    return inputs;
}

/* From counters to A = factor * sum(q * x) - offset * sum(x) of up to 32 channels. A negative input has counted the
 * complement of q: on a factor-2 grid the code of opposite sign, on the other grid one less than it. */
static void read_counters(const bitspike_sum *sum, const uint32_t *counters, uint32_t group, uint32_t count,
                          bitspike_inputs inputs, int32_t *values)
{
    uint32_t counted[32];
    const uint32_t rest = (2u - sum->factor) * inputs.negative - sum->offset * inputs.magnitude;
    bitspike_from_planes(counters + group * sum->counters, sum->counters, count, counted);
    for (uint32_t i = 0; i < count; i++) {
        values[i] = (int32_t)(sum->factor * counted[i] + rest);
    }
}

/* A of up to 32 channels from what `count_place` left. */
static void read_sums(const bitspike_sum *sum, const uint32_t *counters, uint32_t first, uint32_t count,
                      bitspike_inputs inputs, int32_t *values)
{
    if (sum->bytes == NULL) {
        read_counters(sum, counters, first >> 5, count, inputs, values);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        values[i] = (int32_t)counters[first + i];
    }
}

static void find_largest(const bitspike_sum *sum, const bitspike_now *now, uint32_t row, uint32_t column,
                         uint32_t *counters)
{
    const bitspike_largest *windows = sum->largest;
    uint32_t *largest = counters + windows->at;
    int32_t values[32];
    for (uint32_t at = 0; at < windows->height * windows->width; at++) {
        const uint32_t y = row * windows->stride_rows + at / windows->width;
        const uint32_t x = column * windows->stride_columns + at % windows->width;
        const bitspike_inputs inputs = count_place(sum, now, y, x, counters);
        for (uint32_t first = 0; first < sum->outputs; first += 32u) {
            const uint32_t count = bitspike_smaller(32u, sum->outputs - first);
            read_sums(sum, counters, first, count, inputs, values);
            for (uint32_t i = 0; i < count; i++) {
                if (at == 0u || values[i] > (int32_t)largest[first + i]) {
                    largest[first + i] = (uint32_t)values[i];
                }
            }
        }
    }
}

bitspike_inputs bitspike_count_window(const bitspike_sum *sum, const bitspike_now *now, uint32_t row, uint32_t column,
                                      uint32_t *counters)
{
    const bitspike_inputs none = {0, 0};
    if (is_kept(sum, now)) {
        return none;
    }
    if (sum->largest == NULL) {
        return count_place(sum, now, row, column, counters);
    }
    find_largest(sum, now, row, column, counters);
    return none;
}

void bitspike_group_sums(const bitspike_sum *sum, const bitspike_now *now, uint32_t place, uint32_t first,
                         uint32_t count, const uint32_t *counters, bitspike_inputs inputs, int32_t *values)
{
    uint32_t *kept = now->arena + sum->kept_at;
    const uint32_t at = (place * sum->outputs + first) * sum->kept_bits;
    if (is_kept(sum, now)) {
        bitspike_get_fields(kept, at, sum->kept_bits, count, values);
        return;
    }
    if (sum->largest == NULL) {
        read_sums(sum, counters, first, count, inputs, values);
    } else {
        for (uint32_t i = 0; i < count; i++) {
            values[i] = (int32_t)counters[sum->largest->at + first + i];
        }
    }
    if (BITSPIKE_REUSE_INPUT && sum->kept_bits != 0u) {
        bitspike_put_fields(kept, at, sum->kept_bits, count, values);
    }
}

