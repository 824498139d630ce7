/* Reading a program: every number is checked before anything is sized, allocated or indexed by it.
 *
 * A program is little-endian 32-bit words; byte arrays follow a word that counts them, padded to whole words.
 * bitspike/engine/program.py writes it, field by field in the order in which it is read here.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

enum { CONVOLUTION = 0, DENSE, CONVOLUTION_LARGEST };
enum { MAGIC = 0x45505342, PROGRAM_VERSION = 1 }; /* "BSPE" */
enum { MOST_NODES = 4096, MOST_CHANNELS = 65535, MOST_SIDE = 8192, MOST_STEPS = 65535, MOST_CLASSES = 65535 };
#define MOST_NEURONS ((int64_t)1 << 26)
#define MOST_WEIGHTS ((int64_t)1 << 30)
#define MOST_WIDE ((int64_t)1 << 24) /* whole numbers that a float holds exactly */

typedef struct {
    const uint8_t *at, *end;
    char *error;
    size_t error_size;
    bool failed;
    int node;
} reader;

static void fail(reader *r, const char *format, ...) {
    if (r->failed) return;
    r->failed = true;
    if (r->error_size == 0) return;
    int used = r->node >= 0 ? snprintf(r->error, r->error_size, "node %d: ", r->node) : 0;
    if (used < 0 || (size_t)used >= r->error_size) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->error + used, r->error_size - (size_t)used, format, arguments);
    va_end(arguments);
}

static int32_t word(reader *r) {
    int32_t value = 0;
    if (r->failed) return 0;
    if (r->end - r->at < 4) {
        fail(r, "the program ends too early");
        return 0;
    }
    memcpy(&value, r->at, 4);
    r->at += 4;
    return value;
}

static int32_t ranged(reader *r, const char *what, int32_t low, int32_t high) {
    int32_t value = word(r);
    if (!r->failed && (value < low || value > high)) {
        fail(r, "%s is %d; allowed: %d to %d", what, value, low, high);
        return low;
    }
    return r->failed ? low : value;
}

static const uint8_t *bytes(reader *r, size_t count) {
    size_t padded = bs_round_up(count, 4);
    if (r->failed) return NULL;
    if ((size_t)(r->end - r->at) < padded) {
        fail(r, "the program ends too early");
        return NULL;
    }
    const uint8_t *found = r->at;
    r->at += padded;
    return found;
}

/* An array of exactly `count` words, copied; a null result means failure or a count of zero. */
static int32_t *words(reader *r, bs_net *net, const char *what, size_t count, size_t capacity) {
    int32_t given = word(r);
    if (r->failed) return NULL;
    if (given < 0 || (size_t)given != count) {
        fail(r, "%s has %d numbers; expected: %zu", what, given, count);
        return NULL;
    }
    const uint8_t *from = bytes(r, count * 4);
    if (r->failed || count == 0) return NULL;
    int32_t *kept = bs_keep(net, capacity, 4);
    if (kept == NULL) {
        fail(r, "there is not enough memory");
        return NULL;
    }
    memcpy(kept, from, count * 4);
    return kept;
}

/* A table [count][rows] of words, kept as [rows][width]. */
static int32_t *table(reader *r, bs_net *net, const char *what, int count, int rows, int width, int32_t padding) {
    size_t size = (size_t)count * (size_t)rows;
    int32_t given = word(r);
    if (r->failed) return NULL;
    if (given < 0 || (size_t)given != size) {
        fail(r, "%s has %d numbers; expected: %zu", what, given, size);
        return NULL;
    }
    const uint8_t *from = bytes(r, size * 4);
    if (r->failed) return NULL;
    int32_t *kept = bs_keep(net, (size_t)rows * (size_t)width, 4);
    if (kept == NULL) {
        fail(r, "there is not enough memory");
        return NULL;
    }
    for (int row = 0; row < rows; row++) {
        for (int c = 0; c < width; c++) {
            int32_t value = padding;
            if (c < count) memcpy(&value, from + 4 * ((size_t)c * (size_t)rows + (size_t)row), 4);
            kept[(size_t)row * (size_t)width + (size_t)c] = value;
        }
    }
    return kept;
}

void bs_value_layout(bs_value *value, size_t vector) {
    size_t channels = (size_t)value->channels, width = (size_t)value->width, height = (size_t)value->height;
    if (value->planes == 0) {
        value->pixel = 0;
        value->group = 1;
        value->row = width * channels * sizeof(float);
        value->plane = value->row * height;
        value->step = bs_round_up(value->plane, 64);
        return;
    }
    size_t pixel = channels <= 32    ? 4
                   : channels <= 64  ? 8
                   : channels <= 128 ? 16
                   : channels <= 256 ? 32
                                     : bs_round_up(channels, 8 * vector) / 8;
    value->pixel = (int)pixel;
    value->group = pixel < vector ? (int)(vector / pixel) : 1;
    value->row = bs_round_up(width * pixel, vector);
    value->plane = value->row * height;
    value->step = value->plane * (size_t)value->planes;
}

static void shape(reader *r, bs_value *value, int channels, int64_t height, int64_t width) {
    if (r->failed) return;
    if (channels < 1 || channels > MOST_CHANNELS || height < 1 || height > MOST_SIDE || width < 1 ||
        width > MOST_SIDE || channels * height * width > MOST_NEURONS) {
        fail(r, "a map of %d x %lld x %lld is out of bounds", channels, (long long)height, (long long)width);
        return;
    }
    value->channels = channels;
    value->height = (int)height;
    value->width = (int)width;
}

static void counted(reader *r, bs_value *value, int64_t bound) {
    value->bound = bound;
    value->planes = bs_bit_length((uint64_t)bound);
    if (value->planes < 1) value->planes = 1;
    if (value->planes > MOST_COUNT_PLANES) fail(r, "counts up to %lld are out of bounds", (long long)bound);
}

static int64_t features(const bs_value *value) { return (int64_t)value->channels * value->height * value->width; }

/* The weights of `op`; the shape of its result is left in `result`. dense: it reads all features of its source. */
static void read_weights(reader *r, bs_operator *op, int64_t inputs, const bs_value *from) {
    op->grid = (bs_grid)ranged(r, "the weight grid", GRID_BINARY, GRID_SIGNED);
    op->bits = ranged(r, "the weight bits", 1, 16);
    if (!r->failed && ((op->grid == GRID_BINARY) != (op->bits == 1 && op->grid != GRID_SIGNED)))
        fail(r, "the weight grid does not go with %d bits", op->bits);
    if (!r->failed && op->grid == GRID_ODD && op->bits > 15) fail(r, "odd weights of %d bits do not fit 16", op->bits);
    int64_t weights = (int64_t)op->outputs * inputs * op->kernel_y * op->kernel_x;
    if (!r->failed && weights > MOST_WEIGHTS) fail(r, "%lld weights are too many", (long long)weights);
    if (r->failed) return;
    size_t size = (size_t)((weights + 7) / 8) * (size_t)op->bits;
    int32_t given = word(r);
    if (!r->failed && (given < 0 || (size_t)given != size))
        fail(r, "weights take %d bytes; expected: %zu", given, size);
    op->packed = bytes(r, size);
    int64_t largest = op->grid == GRID_SIGNED ? (int64_t)1 << (op->bits - 1) : ((int64_t)1 << op->bits) - 1;
    int64_t fan_in = inputs * op->kernel_y * op->kernel_x;
    /* fan_in <= 2^26 * 2^26 is refused above through the number of weights; the products below stay within 63 bits */
    op->bound = fan_in * largest;
    if (op->bound > ((int64_t)1 << 40) / (from->bound + 1)) fail(r, "the weighted sum does not fit 32 bits");
    op->bound *= from->bound;
}

/* The windows of sums of which the largest counts; they make the map of `result` smaller. */
static void read_largest(reader *r, bs_operator *op, bs_value *result) {
    op->most_y = ranged(r, "the window of sums", 1, MOST_SIDE);
    op->most_x = ranged(r, "the window of sums", 1, MOST_SIDE);
    op->most_stride_y = ranged(r, "the stride of sums", 1, MOST_SIDE);
    op->most_stride_x = ranged(r, "the stride of sums", 1, MOST_SIDE);
    if (r->failed) return;
    if (op->most_y > result->height || op->most_x > result->width) {
        fail(r, "a window of sums is larger than their map");
        return;
    }
    shape(r, result, result->channels, (result->height - op->most_y) / op->most_stride_y + 1,
          (result->width - op->most_x) / op->most_stride_x + 1);
}

static void read_operator(reader *r, bs_operator *op, const bs_value *from, bs_value *result) {
    const int kind = ranged(r, "the operator", CONVOLUTION, CONVOLUTION_LARGEST);
    op->most_y = op->most_x = op->most_stride_y = op->most_stride_x = 1;
    op->outputs = ranged(r, "the number of outputs", 1, MOST_CHANNELS);
    if (r->failed) return;
    if (kind == DENSE) {
        int32_t inputs = word(r);
        if (!from->flat && (from->height > 1 || from->width > 1)) fail(r, "a dense layer reads a map that is not flat");
        if (!r->failed && inputs != features(from))
            fail(r, "a dense layer of %d inputs reads %lld features", inputs, (long long)features(from));
        /* A convolution with a window as large as the map; the order of the weights is the map's, see tables.c. */
        op->flat_order = true;
        op->inputs = from->channels;
        op->kernel_y = from->height;
        op->kernel_x = from->width;
        op->stride_y = op->stride_x = 1;
        op->pad_y = op->pad_x = 0;
        shape(r, result, op->outputs, 1, 1);
    } else {
        op->inputs = ranged(r, "the number of inputs", 1, MOST_CHANNELS);
        op->kernel_y = ranged(r, "the window", 1, MOST_SIDE);
        op->kernel_x = ranged(r, "the window", 1, MOST_SIDE);
        op->stride_y = ranged(r, "the stride", 1, MOST_SIDE);
        op->stride_x = ranged(r, "the stride", 1, MOST_SIDE);
        op->pad_y = ranged(r, "the padding", 0, MOST_SIDE);
        op->pad_x = ranged(r, "the padding", 0, MOST_SIDE);
        if (r->failed) return;
        if (from->flat) fail(r, "a convolution reads a flat value");
        if (op->inputs != from->channels)
            fail(r, "a convolution of %d inputs reads %d channels", op->inputs, from->channels);
        int64_t height = (int64_t)from->height + 2 * op->pad_y - op->kernel_y;
        int64_t width = (int64_t)from->width + 2 * op->pad_x - op->kernel_x;
        if (!r->failed && (height < 0 || width < 0)) fail(r, "the window is larger than the map");
        shape(r, result, op->outputs, height / op->stride_y + 1, width / op->stride_x + 1);
        if (kind == CONVOLUTION_LARGEST) read_largest(r, op, result);
    }
    if (!r->failed) read_weights(r, op, op->inputs, from);
}

static void read_fire(reader *r, bs_net *net, bs_node *node) {
    bs_fire *fire = &node->fire;
    int channels = node->op.outputs;
    fire->width = (int)bs_round_up((size_t)channels, 16);
    fire->leak = ranged(r, "the leak", 0, 1 << 16);
    fire->leak_exponent = ranged(r, "the leak's exponent", 0, 30);
    fire->g = ranged(r, "g", 0, 30);
    fire->levels = ranged(r, "the membrane's levels", 1, (1 << 15) - 1);
    fire->soft = ranged(r, "the reset", 0, 1) != 0;
    fire->stochastic = ranged(r, "the rounding", 0, 1) != 0;
    fire->seed = (uint32_t)word(r);
    fire->stream = (uint32_t)word(r);
    fire->counts = ranged(r, "the largest count", 0, 1 << 20);
    if (r->failed) return;
    if (fire->leak_exponent > fire->g) fail(r, "the leak's exponent %d is above g = %d", fire->leak_exponent, fire->g);
    if (fire->levels & (fire->levels + 1)) fail(r, "%d levels are not 2^k - 1", fire->levels);
    if ((int64_t)(fire->counts + 1) * fire->width > MOST_NEURONS) fail(r, "the table of thresholds is out of bounds");
    if (r->failed) return;
    fire->bits = bs_bit_length((uint64_t)fire->levels) + 1;
    int rows = fire->counts + 1;
    fire->threshold = table(r, net, "the thresholds", channels, rows, fire->width, INT32_MAX);
    fire->rounding = table(r, net, "the roundings", channels, rows, fire->width, 0);
    if (fire->soft) fire->rounding_fired = table(r, net, "the roundings", channels, rows, fire->width, 0);
    fire->shift = words(r, net, "the shifts", (size_t)channels, (size_t)fire->width);
    for (int c = 0; !r->failed && c < channels; c++)
        if (fire->shift[c] < 0 || fire->shift[c] > 30) fail(r, "a shift is %d; allowed: 0 to 30", fire->shift[c]);
}

static const bs_value *source(reader *r, bs_net *net, int index) {
    int32_t found = ranged(r, "the source", 0, index - 1);
    if (!r->failed && net->nodes[found].kind == NODE_READOUT) fail(r, "the readout's result is not a value");
    return r->failed ? NULL : &net->nodes[found].value;
}

static int index_of(const bs_net *net, const bs_value *value) {
    return (int)((const bs_node *)((const char *)value - offsetof(bs_node, value)) - net->nodes);
}

static void invert_channel_map(reader *r, bs_net *net, bs_node *node, const bs_value *from) {
    const size_t bits = (size_t)from->pixel * 8;
    node->joins = bs_keep(net, (size_t)from->pixel, 1);
    node->joins_first = bs_keep(net, bits, sizeof(int32_t));
    node->joins_next = bs_keep(net, (size_t)node->value.channels, sizeof(int32_t));
    if (node->joins == NULL || node->joins_first == NULL || node->joins_next == NULL) {
        fail(r, "there is not enough memory");
        return;
    }
    for (size_t bit = 0; bit < bits; bit++) node->joins_first[bit] = -1;
    for (int c = node->value.channels - 1; c >= 0; c--) {
        const int32_t at = node->channel_map[c];
        node->joins_next[c] = at < 0 ? -1 : node->joins_first[at];
        if (at < 0) continue;
        node->joins_first[at] = c;
        node->joins[at / 8] = (uint8_t)(node->joins[at / 8] | (1u << (at % 8)));
    }
}

static void read_skip(reader *r, bs_net *net, int index, bs_node *node) {
    node->skip = (bs_skip_kind)ranged(r, "the skip", SKIP_NONE, SKIP_WEIGHTED);
    if (r->failed || node->skip == SKIP_NONE) {
        if (!r->failed && node->fire.counts != 0) fail(r, "thresholds for counts without a skip");
        return;
    }
    const bs_value *from = source(r, net, index);
    if (r->failed) return;
    if (bs_takes_largest(&node->op)) fail(r, "a layer that takes the largest of its sums has a skip");
    node->skip_source = index_of(net, from);
    const bs_value *to = &node->value;
    if (node->skip == SKIP_WEIGHTED) {
        bs_value result = {0};
        read_operator(r, &node->skip_op, from, &result);
        if (!r->failed && bs_takes_largest(&node->skip_op)) fail(r, "a skip takes the largest of its sums");
        if (!r->failed && (result.channels != to->channels || result.height != to->height || result.width != to->width))
            fail(r, "the skip's map does not meet the layer's");
        node->fire.skip_shift = words(r, net, "the skip's shifts", (size_t)to->channels, (size_t)node->fire.width);
        for (int c = 0; !r->failed && c < to->channels; c++)
            if (node->fire.skip_shift[c] < 0 || node->fire.skip_shift[c] > 30)
                fail(r, "a skip's shift is %d; allowed: 0 to 30", node->fire.skip_shift[c]);
        if (!r->failed && node->fire.counts != 0) fail(r, "thresholds for counts with a convolved skip");
        return;
    }
    node->skip_stride = ranged(r, "the skip's stride", 1, MOST_SIDE);
    int32_t mapped = ranged(r, "the channel map", 0, 1);
    if (r->failed) return;
    if (from->negative) fail(r, "a plain skip reads values below zero");
    if (from->bound > node->fire.counts) fail(r, "the skip's counts reach %lld", (long long)from->bound);
    int64_t channels = from->flat ? features(from) : from->channels;
    if (mapped) {
        node->channel_map = words(r, net, "the channel map", (size_t)to->channels, (size_t)to->channels);
        for (int c = 0; !r->failed && c < to->channels; c++)
            if (node->channel_map[c] < -1 || node->channel_map[c] >= channels)
                fail(r, "the channel map leaves its source");
        if (!r->failed && from->planes > 0 && !(from->flat && features(from) > from->channels))
            invert_channel_map(r, net, node, from);
    } else if (!r->failed && channels != to->channels) {
        fail(r, "the skip has %lld channels, the layer %d", (long long)channels, to->channels);
    }
    if (r->failed) return;
    int height = from->flat ? 1 : (from->height - 1) / node->skip_stride + 1;
    int width = from->flat ? 1 : (from->width - 1) / node->skip_stride + 1;
    if (height != to->height || width != to->width) fail(r, "the skip's map does not meet the layer's");
}

static void read_input(reader *r, bs_net *net, bs_node *node) {
    node->image = ranged(r, "the kind of input", 0, 1) == 0;
    int channels = ranged(r, "channels", 1, MOST_CHANNELS);
    int height = ranged(r, "height", 1, MOST_SIDE), width = ranged(r, "width", 1, MOST_SIDE);
    net->steps = ranged(r, "time steps", 0, MOST_STEPS);
    int bound = ranged(r, "the largest value", 1, 255);
    shape(r, &node->value, channels, height, width);
    if (r->failed) return;
    node->zero_point = words(r, net, "the zero point", (size_t)channels, (size_t)channels);
    for (int c = 0; !r->failed && c < channels; c++) {
        if (node->zero_point[c] < 0 || node->zero_point[c] > 255)
            fail(r, "a zero point is %d", node->zero_point[c]);
        else
            node->value.negative |= node->zero_point[c] > 0;
    }
    if (!r->failed && node->image && net->steps == 0) fail(r, "images need a number of time steps");
    /* The largest magnitude: of what enters, or of a zero point alone. */
    for (int c = 0; !r->failed && c < channels; c++) bound = node->zero_point[c] > bound ? node->zero_point[c] : bound;
    node->value.bound = bound;
    node->value.fixed = node->image;
}

static void read_pool(reader *r, bs_net *net, int index, bs_node *node) {
    const bs_value *from = source(r, net, index);
    if (r->failed) return;
    node->source = index_of(net, from);
    const int kind = ranged(r, "the kind of pooling", 0, 3); /* 1: sum, 2: windows reach beyond the map */
    node->maximum = (kind & 1) == 0;
    node->pool_y = ranged(r, "the window", 0, MOST_SIDE);
    node->pool_x = ranged(r, "the window", 0, MOST_SIDE);
    node->pool_stride_y = ranged(r, "the stride", 0, MOST_SIDE);
    node->pool_stride_x = ranged(r, "the stride", 0, MOST_SIDE);
    node->pool_pad_y = kind & 2 ? ranged(r, "the padding", 0, node->pool_y / 2) : 0;
    node->pool_pad_x = kind & 2 ? ranged(r, "the padding", 0, node->pool_x / 2) : 0;
    if (r->failed) return;
    const int height = from->height + 2 * node->pool_pad_y, width = from->width + 2 * node->pool_pad_x;
    if (from->flat) fail(r, "pooling reads a flat value");
    if (node->pool_y == 0 || node->pool_x == 0) {
        node->pool_y = from->height;
        node->pool_x = from->width;
        node->pool_stride_y = node->pool_stride_x = 1;
    }
    if (node->pool_stride_y < 1 || node->pool_stride_x < 1) fail(r, "a stride of pooling is 0");
    if (node->pool_y > height || node->pool_x > width) fail(r, "the window is larger than the map");
    if (r->failed) return;
    shape(r, &node->value, from->channels, (height - node->pool_y) / node->pool_stride_y + 1,
          (width - node->pool_x) / node->pool_stride_x + 1);
    int64_t bound = node->maximum ? from->bound : from->bound * node->pool_y * node->pool_x;
    if (bound >= MOST_WIDE) fail(r, "a pooled sum of up to %lld is out of bounds", (long long)bound);
    node->value.fixed = from->fixed;
    node->value.negative = from->negative;
    if (from->planes == 0)
        node->value.bound = bound;
    else
        counted(r, &node->value, bound);
}

static void read_readout(reader *r, bs_net *net, int index, bs_node *node) {
    const bs_value *from = source(r, net, index);
    if (r->failed) return;
    node->source = index_of(net, from);
    node->classes = ranged(r, "the number of classes", 1, MOST_CLASSES);
    node->class_width = (int)bs_round_up((size_t)node->classes, 16);
    int32_t inputs = word(r);
    if (!r->failed && !from->flat && (from->height > 1 || from->width > 1))
        fail(r, "the readout reads a map that is not flat");
    if (!r->failed && inputs != features(from))
        fail(r, "a readout of %d inputs reads %lld features", inputs, (long long)features(from));
    if (r->failed) return;
    bs_operator *op = &node->op;
    op->outputs = node->classes;
    op->flat_order = true;
    op->inputs = from->channels;
    op->kernel_y = from->height;
    op->kernel_x = from->width;
    op->stride_y = op->stride_x = 1;
    read_weights(r, op, op->inputs, from);
    int32_t *bias = words(r, net, "the bias", (size_t)node->classes, (size_t)node->classes);
    if (r->failed) return;
    node->bias = bs_keep(net, (size_t)node->classes, sizeof(int64_t));
    if (node->bias == NULL) fail(r, "there is not enough memory");
    for (int k = 0; !r->failed && k < node->classes; k++) node->bias[k] = bias[k];
    node->value.channels = node->classes;
    node->value.height = node->value.width = 1;
    node->value.flat = true;
}

bool bs_program_read(bs_net *net, const uint8_t *program, size_t size, char *error, size_t error_size) {
    reader r = {program, program + size, error, error_size, false, -1};
    if (word(&r) != MAGIC) fail(&r, "this is not a program of the engine");
    int32_t version = word(&r);
    if (!r.failed && version != PROGRAM_VERSION)
        fail(&r, "the program has version %d, the engine reads %d", version, PROGRAM_VERSION);
    net->count = ranged(&r, "the number of nodes", 2, MOST_NODES);
    if (r.failed) return false;
    net->nodes = bs_keep(net, (size_t)net->count, sizeof(bs_node));
    if (net->nodes == NULL) fail(&r, "there is not enough memory");
    for (int index = 0; !r.failed && index < net->count; index++) {
        bs_node *node = &net->nodes[index];
        r.node = index;
        node->kind = (bs_kind)ranged(&r, "the kind of node", NODE_INPUT, NODE_READOUT);
        if (r.failed) break;
        if ((node->kind == NODE_INPUT) != (index == 0)) fail(&r, "the input is the first node and no other");
        if ((node->kind == NODE_READOUT) != (index == net->count - 1))
            fail(&r, "the readout is the last node and no other");
        if (r.failed) break;
        if (node->kind == NODE_INPUT) {
            read_input(&r, net, node);
        } else if (node->kind == NODE_SPIKING) {
            const bs_value *from = source(&r, net, index);
            if (r.failed) break;
            node->source = index_of(net, from);
            read_operator(&r, &node->op, from, &node->value);
            if (!r.failed) read_fire(&r, net, node);
            if (!r.failed) read_skip(&r, net, index, node);
            counted(&r, &node->value, 1);
        } else if (node->kind == NODE_POOL) {
            read_pool(&r, net, index, node);
        } else if (node->kind == NODE_FLATTEN) {
            const bs_value *from = source(&r, net, index);
            if (r.failed) break;
            node->source = index_of(net, from);
            node->value = *from;
            node->value.flat = true;
        } else {
            read_readout(&r, net, index, node);
        }
        if (r.failed) break;
        if (node->kind != NODE_READOUT && node->kind != NODE_FLATTEN) bs_value_layout(&node->value, net->vector);
    }
    r.node = -1;
    if (!r.failed && r.at != r.end) fail(&r, "the program goes on after its last node");
    return !r.failed;
}
