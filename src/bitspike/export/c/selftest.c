#include "selftest.h"

#include <stddef.h>

#include "bitspike_bits.h"

typedef char selftest_is_built_with_watch[BITSPIKE_WATCH ? 1 : -1];

#define HASH_START UINT32_C(2166136261)
#define HASH_FACTOR UINT32_C(16777619)

static const bitspike_vectors *present;

/* FNV-1a over 32-bit words: the spikes of a step in the order row, column, channel, the first in the lowest bit. */
void bitspike_watch(const bitspike_net *net, const uint32_t *arena, const uint8_t *frame, uint32_t node)
{
    const bitspike_map *map = net->nodes[node].values;
    (void)frame;
    for (uint32_t layer = 0; layer < present->layers; layer++) {
        if (present->nodes[layer] == node) {
            const uint32_t size = map->height * map->width * map->channels;
            for (uint32_t at = 0; at < size; at += 32u) {
                const uint32_t count = size - at < 32u ? size - at : 32u;
                uint32_t word = bitspike_get(arena + map->at, at, count);
                present->hashed[layer] = (present->hashed[layer] ^ word) * HASH_FACTOR;
                for (; word != 0u; word &= word - 1u) {
                    present->counted[layer]++;
                }
            }
        }
    }
}

static void print_number(uint32_t number, uint32_t base)
{
    char text[12];
    uint32_t at = sizeof text - 1u;
    text[at] = '\0';
    do {
        text[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0u);
    bitspike_print(text + at);
}

static void print_signed(int32_t number)
{
    if (number < 0) {
        bitspike_print("-");
    }
    print_number(number < 0 ? 0u - (uint32_t)number : (uint32_t)number, 10u);
}

static void print_pair(const char *text, uint32_t number, uint32_t base)
{
    bitspike_print(text);
    print_number(number, base);
}

static int compare_sample(const bitspike_vectors *vectors, uint32_t sample)
{
    const uint32_t classes = vectors->net->classes;
    const int32_t *answer = vectors->answers + sample * classes;
    const int32_t *logits = vectors->logits();
    int wrong = 0;
    for (uint32_t layer = 0; layer < vectors->layers; layer++) {
        const uint32_t at = sample * vectors->layers + layer;
        print_pair("sample ", sample, 10u);
        bitspike_print(" layer ");
        bitspike_print(vectors->names[layer]);
        print_pair(" spikes ", vectors->counted[layer], 10u);
        print_pair(" hash ", vectors->hashed[layer], 16u);
        if (vectors->counted[layer] != vectors->spikes[at] || vectors->hashed[layer] != vectors->hashes[at]) {
            print_pair(" WRONG, expected spikes ", vectors->spikes[at], 10u);
            print_pair(" hash ", vectors->hashes[at], 16u);
            wrong++;
        }
        bitspike_print("\n");
    }
    print_pair("sample ", sample, 10u);
    bitspike_print(" logits");
    for (uint32_t i = 0; i < classes; i++) {
        bitspike_print(" ");
        print_signed(logits[i]);
        if (logits[i] != answer[i]) {
            bitspike_print(" (WRONG, expected ");
            print_signed(answer[i]);
            bitspike_print(")");
            wrong++;
        }
    }
    print_pair(" class ", vectors->argmax(), 10u);
    bitspike_print("\n");
    return wrong;
}

int bitspike_selftest(const bitspike_vectors *vectors)
{
    const uint32_t sample_bytes = vectors->frames_per_sample * vectors->frame_bytes;
    int wrong = 0;
    present = vectors;
    for (uint32_t sample = 0; sample < vectors->samples; sample++) {
        const uint8_t *frame = vectors->frames + sample * sample_bytes;
        for (uint32_t layer = 0; layer < vectors->layers; layer++) {
            vectors->counted[layer] = 0;
            vectors->hashed[layer] = HASH_START;
        }
        vectors->init();
        for (uint32_t step = 0; step < vectors->time_steps; step++) {
            (void)vectors->step(frame + (vectors->frames_per_sample == 1u ? 0u : step * vectors->frame_bytes));
        }
        wrong += compare_sample(vectors, sample);
    }
    bitspike_print(wrong == 0 ? "self-test passed\n" : "self-test FAILED\n");
    return wrong;
}
