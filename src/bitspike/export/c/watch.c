/* Runs samples through a network and records every value, membrane and logit: for comparing, on a host. */
#include <stddef.h>
#include <stdint.h>

#include "bitspike_bits.h"
#include "bitspike_core.h"

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED
#endif

typedef char watch_is_built_with_watch[BITSPIKE_WATCH ? 1 : -1];

/* Where the present step of the present sample goes, node by node; no place: not recorded. */
static int32_t **values_now;
static int32_t **membranes_now;

void bitspike_watch(const bitspike_net *net, const uint32_t *arena, const uint8_t *frame, uint32_t node)
{
    const bitspike_node *done = net->nodes + node;
    const bitspike_map *map = done->values;
    if (map == NULL) {
        return;
    }
    for (uint32_t place = 0; place < map->height * map->width; place++) {
        for (uint32_t first = 0; first < map->channels; first += 32u) {
            const uint32_t count = map->channels - first < 32u ? map->channels - first : 32u;
            const uint32_t at = place * map->channels + first;
            if (values_now != NULL && values_now[node] != NULL) {
                bitspike_values(map, arena, frame, place, first, count, values_now[node] + at);
            }
            if (membranes_now != NULL && membranes_now[node] != NULL && done->layer != NULL) {
                const uint32_t width = done->layer->membrane_bits;
                bitspike_get_fields(arena + done->layer->membrane_at, at * width, width, count,
                                    membranes_now[node] + at);
            }
        }
    }
}

/* frames: [steps, samples, frame_bytes], or [samples, frame_bytes] where step_bytes is 0. values, membranes: for
 * every node a place for [steps, samples, places, channels], or none. logits: [steps, samples, classes]. */
EXPORTED void bitspike_run_samples(const bitspike_net *net, uint32_t *arena, const uint8_t *frames, uint32_t samples,
                                   uint32_t steps, size_t frame_bytes, size_t step_bytes, int32_t *logits,
                                   int32_t **values, int32_t **membranes, int32_t **node_values,
                                   int32_t **node_membranes)
{
    values_now = values == NULL ? NULL : node_values;
    membranes_now = membranes == NULL ? NULL : node_membranes;
    for (uint32_t sample = 0; sample < samples; sample++) {
        bitspike_init(net, arena);
        for (uint32_t step = 0; step < steps; step++) {
            const size_t at = (size_t)step * samples + sample;
            for (uint32_t node = 0; node < net->node_count; node++) {
                const bitspike_map *map = net->nodes[node].values;
                const size_t size = map == NULL ? 0 : (size_t)map->height * map->width * map->channels;
                if (values_now != NULL) {
                    node_values[node] = values[node] == NULL ? NULL : values[node] + at * size;
                }
                if (membranes_now != NULL) {
                    node_membranes[node] = membranes[node] == NULL ? NULL : membranes[node] + at * size;
                }
            }
            (void)bitspike_step(net, arena, frames + step * step_bytes + sample * frame_bytes);
            for (uint32_t i = 0; i < net->classes; i++) {
                logits[at * net->classes + i] = bitspike_logits(arena)[i];
            }
        }
    }
}
