/* An integer spiking network, run one time step at a time. The network itself is constant data of these types.
 *
 * No library, no allocation, no floating point. All memory is one array of words, the arena, given by the caller:
 * the steps done, the readout's sums, the stored membranes as fields of their true bits, then what layers hand on.
 */
#ifndef BITSPIKE_CORE_H
#define BITSPIKE_CORE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 1: the weighted sums of a static input are computed in the first step and kept; more memory, less work.
 * Every step must then be given the same image. 0: they are computed again at each step. */
#ifndef BITSPIKE_REUSE_INPUT
#define BITSPIKE_REUSE_INPUT 0
#endif

/* The choice is also one of memory, so all files must make the same: otherwise these names are not found. */
#if BITSPIKE_REUSE_INPUT
#define bitspike_step bitspike_step_reusing_input
#define bitspike_group_sums bitspike_group_sums_reusing_input
#endif

/* 1: bitspike_watch is called after every node of every step; whoever builds with it defines it. */
#ifndef BITSPIKE_WATCH
#define BITSPIKE_WATCH 0
#endif

/* Values of one time step: spikes, counts, pixels. Packed as planes of bits in the order row, column, plane,
 * channel; a last plane holds signs where there are any. The frame that a step is given is a map too, of bytes in
 * the order channel, row, column, from which `zero` is subtracted. */
typedef struct {
    uint32_t at; /* first word in the arena */
    uint32_t height, width, channels;
    uint32_t planes;    /* bits of the largest magnitude */
    uint32_t is_signed; /* 0 or 1: a plane of signs follows */
    uint32_t is_frame;
    uint32_t bound;      /* of a frame: larger bytes count as this */
    const uint8_t *zero; /* of a frame: [channels] */
} bitspike_map;

/* Max pooling before the neurons: windows of sums, of each of which the largest counts. */
typedef struct {
    uint32_t at; /* words of the scratch before the largest sums */
    uint32_t height, width;
    uint32_t stride_rows, stride_columns;
} bitspike_largest;

/* A = sum(W * x) at every place of a window, W packed in `bits` planes in the order kernel row, kernel column,
 * input channel, plane, output channel. With q the number in the planes, W = factor * q - offset. Where 8-bit weights
 * meet wide values, W is `bytes` in the same order instead: there multiplying is less work than counting bits. */
typedef struct {
    const bitspike_map *source;
    const uint32_t *weights; /* or none */
    const int8_t *bytes;     /* or none */
    uint32_t outputs, bits;
    uint32_t kernel_height, kernel_width;
    uint32_t stride_rows, stride_columns;
    uint32_t padding_rows, padding_columns;
    uint32_t factor, offset; /* grids "binary", "odd": 2, 2^bits - 1; "signed": 1, 2^(bits-1) */
    uint32_t counters;       /* planes that hold sum(q * x); with bytes unused */
    uint32_t kept_bits;      /* bits of an A that may be kept, 0: the source is not static */
    uint32_t kept_at;        /* where, in the arena */
    const bitspike_largest *largest; /* none: every place has one sum */
} bitspike_sum;

/* j of a plain skip: the source's value at every stride-th place, channel by channel or, with a map, at
 * place * channels + map[c]; map[c] < 0: none. */
typedef struct {
    const bitspike_map *source;
    uint32_t stride;
    const int32_t *map;
} bitspike_skip;

/* I = U * leak + (A << shift[c]) + (A' << skip_shift[c]);  S = I >= threshold[c, j]
 * U = 0 if S (hard reset) else clamp((I + rounding[c, j] + random) >> g, -levels, levels);  soft reset: where S,
 * rounding_fired takes the place of rounding. leak holds its left shift already. */
typedef struct {
    bitspike_sum sum;
    const bitspike_sum *skip_sum; /* weighted skip, or none */
    const bitspike_skip *skip;    /* plain skip, or none */
    const int32_t *threshold, *rounding;
    const int32_t *rounding_fired; /* none: hard reset */
    const uint8_t *shift, *skip_shift;
    uint32_t entries; /* values of j in the tables */
    int32_t leak, levels;
    uint32_t g;
    uint32_t membrane_at, membrane_bits;
    uint32_t is_stochastic, seed, stream;
} bitspike_layer;

/* The largest or the sum over windows of the source. */
typedef struct {
    const bitspike_map *source;
    uint32_t is_sum;
    uint32_t kernel_height, kernel_width;
    uint32_t stride_rows, stride_columns;
    uint32_t padding_rows, padding_columns; /* what lies beyond the map does not count */
} bitspike_pool;

/* One of the three; `values` is what it makes, none for the readout. */
typedef struct {
    const bitspike_map *values;
    const bitspike_layer *layer;
    const bitspike_pool *pool;
    const bitspike_sum *readout;
} bitspike_node;

typedef struct {
    const bitspike_node *nodes;
    uint32_t node_count;
    const int32_t *bias; /* [classes] */
    uint32_t classes;
    uint32_t time_steps;      /* 0: any number */
    uint32_t state_words;     /* the part of the arena that outlives a step */
    uint32_t scratch_at;      /* counters of one place */
    uint32_t skip_scratch_at; /* the same of a weighted skip */
} bitspike_net;

/* The state at rest. */
void bitspike_init(const bitspike_net *net, uint32_t *arena);

/* One time step; 1, or 0 where the network's time steps are done already and nothing happens. */
int bitspike_step(const bitspike_net *net, uint32_t *arena, const uint8_t *frame);

/* The sums so far, bias included; after the last step they are the network's answer. */
const int32_t *bitspike_logits(const uint32_t *arena);

/* Steps done since bitspike_init. */
uint32_t bitspike_steps(const uint32_t *arena);

/* The index of the largest, the lowest at a tie. */
uint32_t bitspike_argmax(const bitspike_net *net, const uint32_t *arena);

/* Up to 32 neighbouring channels of one place of a map. */
void bitspike_values(const bitspike_map *map, const uint32_t *arena, const uint8_t *frame, uint32_t place,
                     uint32_t first, uint32_t count, int32_t *values);

#if BITSPIKE_WATCH
void bitspike_watch(const bitspike_net *net, const uint32_t *arena, const uint8_t *frame, uint32_t node);
#endif

#ifdef __cplusplus
}
#endif

#endif
