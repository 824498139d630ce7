/* What the engine knows of a network once its program has been read: shapes, constants, weight tables.
 *
 * A value is kept in one of two ways:
 *   planes  spikes and counts: plane j holds bit j of every neuron, channels of a pixel side by side, pixels of a row
 *           side by side, rows padded to whole vectors of the build. A vector so holds `group` neighbouring pixels.
 *   wide    pixels and what is pooled from them: one float per neuron, [h][w][c]. All are whole numbers below 2^24.
 */
#ifndef BITSPIKE_NET_H
#define BITSPIKE_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bitspike_engine.h"

enum { MOST_VECTOR = 64 };       /* bytes */
enum { MOST_PLANES = 40 };       /* bit planes of a sum while it is worked on */
enum { MOST_COUNT_PLANES = 24 }; /* bit planes of a count */
enum { MOST_PLACES = 4 };        /* columns of a window of sums, for the event-driven kernel */
#define UNREACHED INT32_MIN

typedef enum { NODE_INPUT = 0, NODE_SPIKING, NODE_POOL, NODE_FLATTEN, NODE_READOUT } bs_kind;
typedef enum { GRID_BINARY = 0, GRID_ODD, GRID_SIGNED } bs_grid;
typedef enum { SKIP_NONE = 0, SKIP_PLAIN, SKIP_WEIGHTED } bs_skip_kind;

/* A value's shape and how it lies in memory. */
typedef struct bs_value {
    int channels, height, width;
    bool flat;               /* [C * H * W] to whoever reads it; it lies as before */
    bool fixed;              /* the same at all steps, kept once */
    bool negative;           /* may be below zero */
    int64_t bound;           /* largest magnitude */
    int planes;              /* 0: wide */
    int pixel;               /* bytes of a pixel in one plane (planes) */
    int group;               /* pixels in a vector, 1 where a pixel fills one or more */
    size_t row, plane, step; /* bytes */
} bs_value;

/* A weighted sum of one source, with the tables of the kernels that compute it. */
typedef struct bs_operator {
    int outputs, inputs, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x;
    int most_y, most_x, most_stride_y, most_stride_x; /* windows of sums of which the largest counts; 1 x 1: of one */
    bool flat_order;                                  /* weights of a dense layer: all positions of an input channel side by side */
    bs_grid grid;
    int bits;
    int64_t bound;         /* of the sum */
    const uint8_t *packed; /* weight planes as in the program; only while tables are made */

    /* Event-driven: rows of weight bits, one bit for every output channel. A group of neighbouring output pixels sees
     * `columns` columns of inputs; at column u pixel q needs the weights of window place u - q * stride. So the places of a
     * window lie side by side, last to first, with zeros before them, and every column begins at its own place in there:
     *     group of 2, window of 3:   0 w2 w1 w0 | 0 w2 w1 w0 | ...    column 0: w0 0   1: w1 w0   2: w2 w1   3: 0 w2
     * The row of channel c at input column x, for output row's place y of the window and the group that begins at output
     * pixel g, lies at  column[x] + c * row_stride + y * line_stride + g * group_stride:  a sum of what an active input
     * knows of itself and of what only the window knows. So active inputs are listed once, and every window reads its
     * part of the list of a map's row as it is. */
    uint8_t *rows;
    int row_stride, plane_stride; /* plane_stride: bytes between the planes of weights of several bits */
    int64_t line_stride, group_stride;
    int columns;     /* that a group sees */
    int list_line;   /* places of a row in the table of starts: padding, the map, and what the last group sees */
    int32_t *column; /* [width of the source], UNREACHED: no window sees it */
    int32_t zero_row;
    int32_t *lane_pixel; /* [32-bit lanes of a vector]: which pixel of the group */

    /* Dense: [kernel_y][kernel_x][32 inputs][bits][outputs padded to 16], 32 inputs to a word. */
    uint32_t *dense;

    /* Lanes: [kernel_y][kernel_x][inputs][outputs padded to 16]. */
    int16_t *codes;
    float *real;      /* wide sources, sums below 2^24 */
    int32_t *offsets; /* of a window's places in the source's map, in the order of the codes */
    double *real64;   /* wide sources, larger sums */
} bs_operator;

typedef struct bs_fire {
    int width;                                      /* channels padded to 16 lanes */
    int counts;                                     /* J: largest skip count that has its own thresholds */
    int32_t *threshold, *rounding, *rounding_fired; /* [J + 1][width] */
    int32_t *shift, *skip_shift;                    /* [width] */
    int leak, leak_exponent, g, levels, bits;
    bool soft, stochastic;
    uint32_t seed, stream;

    /* The same as bit planes, for sums of `sum_planes` bits; [vector of channels][plane][entries] of a vector's bytes:
     * inverted threshold, (its change by a skip's spike), rounding, (change), (rounding after a spike), (change). */
    uint8_t *constants;
    int sum_planes, entries;
    int shift_base, shift_stages, skip_shift_base, skip_shift_stages;
    uint8_t *shift_masks, *skip_shift_masks; /* [vector][stage] of a vector's bytes */
} bs_fire;

typedef struct bs_node {
    bs_kind kind;
    int source;     /* index of the node whose value is read */
    bs_value value; /* what the node gives */
    /* input */
    bool image;
    int zero_point_count;
    int32_t *zero_point;
    /* spiking */
    bs_operator op;
    bs_fire fire;
    bs_skip_kind skip;
    int skip_source, skip_stride;
    int32_t *channel_map; /* null: channel c to channel c */
    /* The map from the side of a source in planes: which bits of a source's pixel join any channel, the first one that each
     * joins, and after each channel the next one of the same bit, -1: none. So what does not fire costs nothing, and no
     * branch depends on whether a channel's partner was pruned. Null: not such a source. */
    uint8_t *joins;
    int32_t *joins_first, *joins_next;
    bs_operator skip_op;
    bool can_planes, can_dense;
    size_t state_offset; /* of the membrane's planes in a state */
    size_t state_bytes;
    /* pool */
    bool maximum;
    int pool_y, pool_x, pool_stride_y, pool_stride_x, pool_pad_y, pool_pad_x;
    /* readout */
    int classes, class_width;
    int64_t *bias;
} bs_node;

struct bs_net {
    int count;
    bs_node *nodes;
    int steps;  /* T of the input; 0: open */
    int kernel; /* as asked: enum bs_kernel */
    const struct bs_kernels *kernels;
    size_t vector; /* bytes of a vector of theirs */
    size_t state_bytes, total_offset;
    size_t bytes, most_bytes; /* of everything allocated for it */
    struct bs_block {
        struct bs_block *next;
    } * blocks; /* everything allocated for the net */
};

/* Zeroed memory that lives as long as the net, aligned to 64 bytes; null if there is none. */
void *bs_keep(bs_net *net, size_t count, size_t size);

bool bs_program_read(bs_net *net, const uint8_t *program, size_t size, char *error, size_t error_size);
bool bs_tables_make(bs_net *net, char *error, size_t error_size);

static inline bool bs_takes_largest(const bs_operator *op) {
    return op->most_y > 1 || op->most_x > 1 || op->most_stride_y > 1 || op->most_stride_x > 1;
}
static inline int bs_bit_length(uint64_t value) { return value ? 64 - __builtin_clzll(value) : 0; }
static inline size_t bs_round_up(size_t value, size_t to) { return (value + to - 1) / to * to; }

/* Lays a value out for vectors of so many bytes: bytes of pixels, rows, planes and steps. */
void bs_value_layout(bs_value *value, size_t vector);

/* The vectors of sums, side by side, that the windows of one vector of results reach over. */
static inline int bs_vectors_of_windows(const bs_operator *op, const bs_value *result) {
    return ((result->group - 1) * op->most_stride_x + op->most_x + result->group - 1) / result->group;
}

/* The map of all sums, of which the largest of each window is left in `result`. */
static inline bs_value bs_map_of_sums(const bs_operator *op, const bs_value *from, const bs_value *result) {
    bs_value sums = *result;
    sums.height = (from->height + 2 * op->pad_y - op->kernel_y) / op->stride_y + 1;
    sums.width = (from->width + 2 * op->pad_x - op->kernel_x) / op->stride_x + 1;
    return sums;
}

#endif
