/* Between bitspike_core.c and bitspike_sum.c: maps and weighted sums. */
#ifndef BITSPIKE_SUM_H
#define BITSPIKE_SUM_H

#include <stdint.h>

#include "bitspike_core.h"

/* What a step works on. */
typedef struct {
    uint32_t *arena;
    const uint8_t *frame;
    uint32_t step;
} bitspike_now;

/* What the inputs under a window sum up to, regardless of weights. */
typedef struct {
    uint32_t magnitude, negative;
} bitspike_inputs;

static inline uint32_t bitspike_smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Bit number of a channel in a plane of a place. */
static inline uint32_t bitspike_place(const bitspike_map *map, uint32_t place, uint32_t plane, uint32_t channel)
{
    return (place * (map->planes + map->is_signed) + plane) * map->channels + channel;
}

/* One plane of up to 32 neighbouring channels; plane number `planes` is that of the signs. */
uint32_t bitspike_map_word(const bitspike_map *map, const bitspike_now *now, uint32_t place, uint32_t plane,
                           uint32_t first, uint32_t count);

/* The reverse of bitspike_values. */
void bitspike_store_values(const bitspike_map *map, uint32_t *arena, uint32_t place, uint32_t first, uint32_t count,
                           const int32_t *values);

/* sum(q * |x|) of one place for all output channels, into counters; does nothing where A was kept. Where the largest of
 * several sums counts, these are made here and it is left behind the counters. */
bitspike_inputs bitspike_count_window(const bitspike_sum *sum, const bitspike_now *now, uint32_t row, uint32_t column,
                                      uint32_t *counters);

/* A of 32 channels of one place, from the counters or, of a static source, from what the first step kept. */
void bitspike_group_sums(const bitspike_sum *sum, const bitspike_now *now, uint32_t place, uint32_t first,
                         uint32_t count, const uint32_t *counters, bitspike_inputs inputs, int32_t *values);

#endif
