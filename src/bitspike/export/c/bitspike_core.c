/* The operations of an integer spiking network. */
#include "bitspike_core.h"

#include <stddef.h>

#include "bitspike_bits.h"
#include "bitspike_sum.h"

enum { STEPS_AT = 0, TOTALS_AT = 1 };

/* Sums wrap around as the definition's do; lowering proves that none reaches so far. */
static int32_t add(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

/* ---- spiking layers ---- */

static uint32_t rotate(uint32_t word, uint32_t by)
{
    return (word << by) | (word >> (32u - by));
}

/* Threefry-4x32 with 20 rounds (Salmon et al., 2011); words holds the counter, then the result. */
static void threefry(uint32_t *words, uint32_t seed)
{
    static const uint8_t rotations[8][2] = {{10, 26}, {11, 21}, {13, 27}, {23, 5},
                                            {6, 20},  {17, 11}, {25, 10}, {18, 20}};
    uint32_t schedule[5] = {0, 0, 0, 0, 0};
    schedule[0] = seed;
    schedule[4] = UINT32_C(0x1BD11BDA) ^ seed;
    words[0] += schedule[0];
    for (uint32_t turn = 0; turn < 20u; turn++) {
        const uint32_t a = (turn & 1u) == 0u ? 1u : 3u;
        const uint32_t b = 4u - a;
        words[0] += words[a];
        words[a] = rotate(words[a], rotations[turn & 7u][0]) ^ words[0];
        words[2] += words[b];
        words[b] = rotate(words[b], rotations[turn & 7u][1]) ^ words[2];
        if ((turn & 3u) == 3u) {
            const uint32_t injection = (turn >> 2) + 1u;
            for (uint32_t i = 0; i < 4u; i++) {
                words[i] += schedule[(injection + i) % 5u];
            }
            words[3] += injection;
        }
    }
}

/* Random integers in [0, 2^g) for 32 channels of one place. */
static void draw(const bitspike_layer *layer, uint32_t step, uint32_t place, uint32_t group, uint32_t *numbers)
{
    uint32_t planes[32];
    for (uint32_t k = 0; k < layer->g; k += 4u) {
        planes[k] = place;
        planes[k + 1u] = step;
        planes[k + 2u] = layer->stream;
        planes[k + 3u] = group * 8u + (k >> 2);
        threefry(planes + k, layer->seed);
    }
    bitspike_from_planes(planes, layer->g, 32u, numbers);
}

/* j of up to 32 channels of one place. */
static void skip_counts(const bitspike_skip *skip, const bitspike_now *now, uint32_t place, uint32_t first,
                        uint32_t count, int32_t *counts)
{
    const bitspike_map *map = skip->source;
    if (skip->map == NULL) {
        bitspike_values(map, now->arena, now->frame, place, first, count, counts);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const int32_t from = skip->map[first + i];
        counts[i] = 0;
        if (from >= 0) {
            const uint32_t at = (uint32_t)from;
            bitspike_values(map, now->arena, now->frame, place + at / map->channels, at % map->channels, 1u,
                            counts + i);
        }
    }
}

/* One step of up to 32 neurons: sums become spikes, potentials are brought up to date. */
static uint32_t fire(const bitspike_layer *layer, uint32_t first, uint32_t count, const int32_t *sums,
                     const int32_t *counts, const uint32_t *random, int32_t *potentials)
{
    const uint32_t leak = (uint32_t)layer->leak;
    const int32_t levels = layer->levels;
    uint32_t spikes = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t entry = (first + i) * layer->entries + (counts == NULL ? 0u : (uint32_t)counts[i]);
        const int32_t total = (int32_t)((uint32_t)potentials[i] * leak + (uint32_t)sums[i]);
        int32_t offset = layer->rounding[entry];
        int32_t stored;
        if (total >= layer->threshold[entry]) {
            spikes |= UINT32_C(1) << i;
            if (layer->rounding_fired == NULL) {
                potentials[i] = 0;
                continue;
            }
            offset = layer->rounding_fired[entry];
        }
        if (random != NULL) {
            offset = add(offset, (int32_t)random[i]);
        }
        stored = add(total, offset) >> layer->g;
        stored = stored > levels ? levels : stored;
        potentials[i] = stored < -levels ? -levels : stored;
    }
    return spikes;
}

/* The operands of up to 32 neurons of one place, their spikes, their membranes. */
static void run_group(const bitspike_layer *layer, const bitspike_map *values, const bitspike_now *now, uint32_t place,
                      uint32_t skip_place, uint32_t first, const int32_t *sums)
{
    int32_t potentials[32];
    int32_t counts[32];
    uint32_t random[32];
    uint32_t *membranes = now->arena + layer->membrane_at;
    const uint32_t count = bitspike_smaller(32u, values->channels - first);
    const uint32_t neuron = place * values->channels + first;
    const int has_counts = layer->skip != NULL && layer->entries > 1u;
    uint32_t spikes;
    if (has_counts) {
        skip_counts(layer->skip, now, skip_place, first, count, counts);
    }
    if (layer->is_stochastic) {
        draw(layer, now->step, place, first >> 5, random);
    }
    bitspike_get_fields(membranes, neuron * layer->membrane_bits, layer->membrane_bits, count, potentials);
    spikes = fire(layer, first, count, sums, has_counts ? counts : NULL, layer->is_stochastic ? random : NULL,
                  potentials);
    bitspike_put_fields(membranes, neuron * layer->membrane_bits, layer->membrane_bits, count, potentials);
    bitspike_put(now->arena + values->at, neuron, count, spikes);
}

/* A << shift, plus the same of a weighted skip, of 32 channels of one place. */
static void layer_currents(const bitspike_net *net, const bitspike_layer *layer, const bitspike_now *now,
                           uint32_t place, uint32_t first, uint32_t count, const bitspike_inputs *inputs, int32_t *sums)
{
    int32_t skip_sums[32];
    bitspike_group_sums(&layer->sum, now, place, first, count, now->arena + net->scratch_at, inputs[0], sums);
    for (uint32_t i = 0; i < count; i++) {
        sums[i] = (int32_t)((uint32_t)sums[i] << layer->shift[first + i]);
    }
    if (layer->skip_sum == NULL) {
        return;
    }
    bitspike_group_sums(layer->skip_sum, now, place, first, count, now->arena + net->skip_scratch_at, inputs[1],
                        skip_sums);
    for (uint32_t i = 0; i < count; i++) {
        sums[i] = add(sums[i], (int32_t)((uint32_t)skip_sums[i] << layer->skip_shift[first + i]));
    }
}

static void run_layer(const bitspike_net *net, const bitspike_layer *layer, const bitspike_map *values,
                      const bitspike_now *now)
{
    bitspike_inputs inputs[2] = {{0, 0}, {0, 0}};
    int32_t sums[32];
    uint32_t place = 0;
    for (uint32_t row = 0; row < values->height; row++) {
        for (uint32_t column = 0; column < values->width; column++, place++) {
            uint32_t skip_place = 0;
            if (layer->skip != NULL) {
                skip_place = (row * layer->skip->source->width + column) * layer->skip->stride;
            }
            inputs[0] = bitspike_count_window(&layer->sum, now, row, column, now->arena + net->scratch_at);
            if (layer->skip_sum != NULL) {
                inputs[1] = bitspike_count_window(layer->skip_sum, now, row, column, now->arena + net->skip_scratch_at);
            }
            for (uint32_t first = 0; first < values->channels; first += 32u) {
                const uint32_t count = bitspike_smaller(32u, values->channels - first);
                layer_currents(net, layer, now, place, first, count, inputs, sums);
                run_group(layer, values, now, place, skip_place, first, sums);
            }
        }
    }
}

/* ---- pooling and readout ---- */

static void run_pool(const bitspike_pool *pool, const bitspike_map *values, const bitspike_now *now)
{
    const bitspike_map *map = pool->source;
    int32_t window[32];
    int32_t result[32];
    for (uint32_t place = 0, row = 0; row < values->height; row++) {
        for (uint32_t column = 0; column < values->width; column++, place++) {
            for (uint32_t first = 0; first < values->channels; first += 32u) {
                const uint32_t count = bitspike_smaller(32u, values->channels - first);
                const int is_or = !pool->is_sum && map->planes == 1u && !map->is_signed;
                uint32_t any = 0;
                int is_first = 1;
                for (uint32_t at = 0; at < pool->kernel_height * pool->kernel_width; at++) {
                    /* Before the first row or column these wrap around, to numbers beyond the last. */
                    const uint32_t y = row * pool->stride_rows + at / pool->kernel_width - pool->padding_rows;
                    const uint32_t x = column * pool->stride_columns + at % pool->kernel_width - pool->padding_columns;
                    if (y >= map->height || x >= map->width) {
                        continue;
                    }
                    if (is_or) {
                        any |= bitspike_map_word(map, now, y * map->width + x, 0u, first, count);
                        continue;
                    }
                    bitspike_values(map, now->arena, now->frame, y * map->width + x, first, count, window);
                    for (uint32_t i = 0; i < count; i++) {
                        if (is_first) {
                            result[i] = window[i];
                        } else if (pool->is_sum) {
                            result[i] = add(result[i], window[i]);
                        } else if (window[i] > result[i]) {
                            result[i] = window[i];
                        }
                    }
                    is_first = 0;
                }
                if (is_or) {
                    bitspike_put(now->arena + values->at, bitspike_place(values, place, 0u, first), count, any);
                } else {
                    bitspike_store_values(values, now->arena, place, first, count, result);
                }
            }
        }
    }
}

static void run_readout(const bitspike_net *net, const bitspike_sum *sum, const bitspike_now *now)
{
    uint32_t *totals = now->arena + TOTALS_AT;
    uint32_t *counters = now->arena + net->scratch_at;
    const bitspike_inputs inputs = bitspike_count_window(sum, now, 0u, 0u, counters);
    int32_t gained[32];
    for (uint32_t first = 0; first < sum->outputs; first += 32u) {
        const uint32_t count = bitspike_smaller(32u, sum->outputs - first);
        bitspike_group_sums(sum, now, 0u, first, count, counters, inputs, gained);
        for (uint32_t i = 0; i < count; i++) {
            totals[first + i] += (uint32_t)gained[i];
        }
    }
}

/* ---- the network ---- */

void bitspike_init(const bitspike_net *net, uint32_t *arena)
{
    for (uint32_t i = 0; i < net->state_words; i++) {
        arena[i] = 0;
    }
    for (uint32_t i = 0; i < net->classes; i++) {
        arena[TOTALS_AT + i] = (uint32_t)net->bias[i];
    }
}

int bitspike_step(const bitspike_net *net, uint32_t *arena, const uint8_t *frame)
{
    bitspike_now now;
    now.arena = arena;
    now.frame = frame;
    now.step = arena[STEPS_AT];
    if (net->time_steps != 0u && now.step >= net->time_steps) {
        return 0;
    }
    for (uint32_t i = 0; i < net->node_count; i++) {
        const bitspike_node *node = net->nodes + i;
        if (node->layer != NULL) {
            run_layer(net, node->layer, node->values, &now);
        } else if (node->pool != NULL) {
            run_pool(node->pool, node->values, &now);
        } else {
            run_readout(net, node->readout, &now);
        }
#if BITSPIKE_WATCH
        bitspike_watch(net, arena, frame, i);
#endif
    }
    arena[STEPS_AT] = now.step + 1u;
    return 1;
}

const int32_t *bitspike_logits(const uint32_t *arena)
{
    return (const int32_t *)(arena + TOTALS_AT);
}

uint32_t bitspike_steps(const uint32_t *arena)
{
    return arena[STEPS_AT];
}

uint32_t bitspike_argmax(const bitspike_net *net, const uint32_t *arena)
{
    const int32_t *logits = bitspike_logits(arena);
    uint32_t best = 0;
    for (uint32_t i = 1; i < net->classes; i++) {
        if (logits[i] > logits[best]) {
            best = i;
        }
    }
    return best;
}
