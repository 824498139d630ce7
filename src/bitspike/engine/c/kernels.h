/* What a build for one instruction set offers, and the work it is given. */
#ifndef BITSPIKE_KERNELS_H
#define BITSPIKE_KERNELS_H

#include "net.h"

enum { LIST_SLACK = 32, LANE_BLOCK = 4 };

/* The active inputs of a value, plane by plane and row by row of every step: items[start[x] .. start[x + 1]) are those of
 * column x, where start is one line of `line` places that begins `pad` places before the map. */
typedef struct bs_lists {
    const bs_operator *op; /* items are offsets of its rows; null: items are channels */
    int32_t *items;
    uint32_t *start;
    uint16_t *most; /* of every row: the most items that one of its pixels has */
    int line, pad;
} bs_lists;

/* One spiking layer on one sample: all given steps of rows [from, to) of its map. */
typedef struct bs_work {
    const bs_node *node;
    const bs_value *source_value, *skip_value;
    const uint8_t *source;      /* map of all steps */
    const uint8_t *skip;        /* map of all steps: of a weighted skip; of a plain one in the layer's own layout */
    const uint8_t *joined_from; /* a plain skip's map that has yet to be brought into that layout, in `skip`; or null */
    bs_lists lists, skip_lists; /* of source and skip, where a kernel reads them */
    uint8_t *out;
    uint8_t *state; /* membrane before and after, or null: starts at rest, is not kept */
    int steps, first_step;
    int32_t *membranes;     /* to note [steps][...][C, H, W], or null */
    size_t membrane_stride; /* numbers between two steps of it */
    uint8_t *scratch;       /* of this thread */
} bs_work;

typedef struct bs_kernels {
    const char *name;
    int vector;         /* bytes of a vector of the event-driven kernel */
    bool fast_popcount; /* whether the dense kernel is worth choosing */
    void (*lists)(const bs_value *value, const uint8_t *map, int steps, const bs_lists *lists, int from, int to);
    void (*planes)(const bs_work *work, int from, int to);
    void (*dense)(const bs_work *work, int from, int to);
    void (*lanes)(const bs_work *work, int from, int to);
    int64_t (*ones)(const uint8_t *map, size_t size);
    void (*center)(const bs_node *input, const uint8_t *samples, float *map);
    void (*pool)(const bs_node *node, const bs_value *from, const uint8_t *source, uint8_t *out);
    void (*readout)(const bs_node *node, const bs_value *from, const uint8_t *source, int64_t *total);
} bs_kernels;

extern const bs_kernels bs_kernels_avx512, bs_kernels_avx512f, bs_kernels_avx2, bs_kernels_baseline, bs_kernels_neon;

#endif
