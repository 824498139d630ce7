/* From packed weights and per-channel integers to the tables that the kernels read. */
#include <stdio.h>
#include <string.h>

#include "kernels.h"

enum { AUTO_PLANE_BITS = 4, FORCED_PLANE_BITS = 8, AUTO_DENSE_BITS = 2 };
enum { SLACK = 64 }; /* kernels may read so many bytes beyond a table */

/* Index, in bits, of the weights of one input at one place of the window: one bit for every output follows. */
static size_t first_bit(const bs_operator *op, int y, int x, int input) {
    size_t place = op->flat_order
                       ? ((size_t)input * (size_t)op->kernel_y + (size_t)y) * (size_t)op->kernel_x + (size_t)x
                       : ((size_t)y * (size_t)op->kernel_x + (size_t)x) * (size_t)op->inputs + (size_t)input;
    return place * (size_t)op->outputs;
}

static size_t plane_bytes(const bs_operator *op) {
    size_t weights = (size_t)op->outputs * (size_t)op->inputs * (size_t)op->kernel_y * (size_t)op->kernel_x;
    return (weights + 7) / 8;
}

/* `count` bits from bit `from` of a packed plane, to whole bytes with zeros behind. */
static void copy_bits(uint8_t *to, const uint8_t *packed, size_t size, size_t from, size_t count) {
    size_t whole = (count + 7) / 8, first = from / 8;
    unsigned shift = (unsigned)(from % 8);
    if (shift == 0) {
        memcpy(to, packed + first, whole);
    } else {
        for (size_t i = 0; i < whole; i++) {
            unsigned next = first + i + 1 < size ? packed[first + i + 1] : 0;
            to[i] = (uint8_t)((packed[first + i] >> shift) | (next << (8 - shift)));
        }
    }
    if (count % 8) to[whole - 1] = (uint8_t)(to[whole - 1] & ((1u << (count % 8)) - 1));
}

/* Units (pixels of output) before the places of residue `residue` of a window in its row, the group's zeros included. */
static int64_t first_unit(const bs_operator *op, int group, int residue) {
    int64_t unit = group - 1;
    for (int r = 0; r < residue; r++) unit += (op->kernel_x - 1 - r) / op->stride_x + group;
    return unit;
}

static bool make_rows(bs_net *net, bs_operator *op, const bs_value *from, const bs_value *result) {
    const size_t pixel = (size_t)result->pixel, vector = net->vector;
    const int group = result->group < result->width ? result->group : result->width, stride = op->stride_x;
    const int64_t columns = (int64_t)(group - 1) * stride + op->kernel_x;
    if (columns > (1 << 20)) return false;
    /* Places of one residue of the window, last to first, behind group - 1 zeros; all residues one after another. A group
     * of one pixel has tables of their own for all places of the window, which the cache likes better. */
    const bool alone = group == 1;
    const int residues = stride < op->kernel_x ? stride : op->kernel_x;
    const int64_t units = alone ? 1 : (int64_t)residues * (group - 1) + op->kernel_x;
    const int64_t plane = units * (int64_t)pixel, row = plane * op->bits, place = row * op->inputs;
    const int64_t lines = (int64_t)op->kernel_y * (alone ? op->kernel_x : 1);
    const int64_t spread = (int64_t)(from->width + op->pad_x + 1) * (alone ? place : (int64_t)pixel);
    if (row > INT32_MAX / op->inputs || lines > INT32_MAX / 4 / place || spread > INT32_MAX / 4) return false;
    op->columns = (int)columns;
    op->row_stride = (int)row;
    op->plane_stride = (int)plane;
    op->line_stride = alone ? place * op->kernel_x : place;
    op->group_stride = alone ? -place * stride : (int64_t)pixel;
    op->zero_row = (int32_t)bs_round_up((size_t)(lines * place) + (size_t)(group - 1) * pixel, vector);
    const int64_t groups = (int64_t)bs_round_up((size_t)result->width, (size_t)result->group);
    const int64_t seen = (groups - 1) * stride + op->kernel_x, held = (int64_t)op->pad_x + from->width;
    if (seen > 8 * (held + 64)) return false; /* strides far beyond the map: lists would be padding */
    op->list_line = (int)(seen > held ? seen : held) + 1 + LIST_SLACK;
    const size_t zeros = (pixel > vector ? pixel : vector) + (size_t)op->bits * (size_t)plane;
    op->rows = bs_keep(net, (size_t)op->zero_row + zeros + SLACK, 1);
    op->lane_pixel = bs_keep(net, vector / 4, sizeof(int32_t));
    op->column = bs_keep(net, (size_t)from->width, sizeof(int32_t));
    if (op->rows == NULL || op->lane_pixel == NULL || op->column == NULL) return false;
    for (size_t lane = 0; lane < vector / 4 && pixel < vector; lane++)
        op->lane_pixel[lane] = (int32_t)(lane * 4 / pixel);
    const size_t packed = plane_bytes(op);
    for (int x = 0; x < op->kernel_x; x++) {
        const int residue = x % stride, last = (op->kernel_x - 1 - residue) / stride; /* largest place of the residue */
        const int64_t unit = alone ? 0 : first_unit(op, group, residue) + last - x / stride;
        for (int y = 0; y < op->kernel_y; y++) {
            for (int input = 0; input < op->inputs; input++) {
                uint8_t *to =
                    op->rows + y * op->line_stride + (alone ? x * place : 0) + input * row + unit * (int64_t)pixel;
                for (int k = 0; k < op->bits; k++)
                    copy_bits(to + k * plane, op->packed + (size_t)k * packed, packed, first_bit(op, y, x, input),
                              (size_t)op->outputs);
            }
        }
    }
    for (int x = 0; x < from->width; x++) {
        const int at = x + op->pad_x, residue = at % stride;
        op->column[x] = UNREACHED;
        if (residue >= op->kernel_x) continue;
        if (alone)
            op->column[x] = (int32_t)(at * place);
        else
            op->column[x] =
                (int32_t)((first_unit(op, group, residue) + (op->kernel_x - 1 - residue) / stride - at / stride) *
                          (int64_t)pixel);
    }
    return true;
}

static void transpose(uint32_t block[32]) {
    uint32_t mask = 0x0000FFFF;
    for (int j = 16; j != 0; j >>= 1, mask ^= mask << j) {
        for (int k = 0; k < 32; k = (k + j + 1) & ~j) {
            uint32_t swapped = ((block[k] >> j) ^ block[k + j]) & mask;
            block[k + j] ^= swapped;
            block[k] ^= swapped << j;
        }
    }
}

static bool make_dense(bs_net *net, bs_operator *op) {
    size_t width = bs_round_up((size_t)op->outputs, 16), words = ((size_t)op->inputs + 31) / 32,
           bits = (size_t)op->bits;
    size_t places = (size_t)op->kernel_y * (size_t)op->kernel_x;
    op->dense = bs_keep(net, places * words * bits * width + SLACK, sizeof(uint32_t));
    size_t row_bytes = bs_round_up((size_t)op->outputs, 32) / 8;
    uint8_t *rows = bs_keep(net, row_bytes, 32);
    if (op->dense == NULL || rows == NULL) return false;
    size_t plane = plane_bytes(op);
    for (size_t place = 0; place < places; place++) {
        int y = (int)(place / (size_t)op->kernel_x), x = (int)(place % (size_t)op->kernel_x);
        for (size_t w = 0; w < words; w++) {
            for (size_t k = 0; k < bits; k++) {
                memset(rows, 0, row_bytes * 32);
                for (size_t i = 0; i < 32 && w * 32 + i < (size_t)op->inputs; i++)
                    copy_bits(rows + i * row_bytes, op->packed + k * plane, plane,
                              first_bit(op, y, x, (int)(w * 32 + i)), (size_t)op->outputs);
                uint32_t *to = op->dense + ((place * words + w) * bits + k) * width;
                for (size_t c = 0; c < (size_t)op->outputs; c += 32) {
                    uint32_t block[32];
                    for (size_t i = 0; i < 32; i++) memcpy(&block[i], rows + i * row_bytes + c / 8, 4);
                    transpose(block);
                    for (size_t i = 0; i < 32 && c + i < (size_t)op->outputs; i++) to[c + i] = block[i];
                }
            }
        }
    }
    return true;
}

static int32_t code(const bs_operator *op, size_t plane, size_t index) {
    int32_t raw = 0;
    for (int k = 0; k < op->bits; k++) raw |= ((op->packed[(size_t)k * plane + index / 8] >> (index % 8)) & 1) << k;
    if (op->grid == GRID_SIGNED) return raw - ((raw >> (op->bits - 1)) << op->bits);
    return 2 * raw - ((1 << op->bits) - 1);
}

/* Codes one by one, [kernel_y][kernel_x][inputs][outputs padded to 16]: for sums lane by lane. */
static bool make_codes(bs_net *net, bs_operator *op, const bs_value *from) {
    const bool wide = from->planes == 0;
    size_t width = bs_round_up((size_t)op->outputs, 16), plane = plane_bytes(op);
    size_t rows = (size_t)op->kernel_y * (size_t)op->kernel_x * (size_t)op->inputs;
    bool exact = op->bound < ((int64_t)1 << 24); /* every partial sum is a whole number that a float holds */
    if (wide && exact)
        op->real = bs_keep(net, rows * width, sizeof(float));
    else if (wide)
        op->real64 = bs_keep(net, rows * width, sizeof(double));
    else
        op->codes = bs_keep(net, rows * width, sizeof(int16_t));
    if (op->real == NULL && op->real64 == NULL && op->codes == NULL) return false;
    if (op->real) op->offsets = bs_keep(net, rows, sizeof(int32_t));
    if (op->real && op->offsets == NULL) return false;
    size_t row = 0;
    for (int y = 0; y < op->kernel_y; y++) {
        for (int x = 0; x < op->kernel_x; x++) {
            for (int input = 0; input < op->inputs; input++, row++) {
                size_t first = first_bit(op, y, x, input);
                if (op->offsets) op->offsets[row] = (int32_t)((y * from->width + x) * op->inputs + input);
                for (size_t c = 0; c < (size_t)op->outputs; c++) {
                    int32_t value = code(op, plane, first + c);
                    if (op->real)
                        op->real[row * width + c] = (float)value;
                    else if (op->real64)
                        op->real64[row * width + c] = value;
                    else
                        op->codes[row * width + c] = (int16_t)value;
                }
            }
        }
    }
    return true;
}

/* ---- constants of the membrane as bit planes ---- */

static void set_bit(uint8_t *vector, size_t bit) { vector[bit / 8] = (uint8_t)(vector[bit / 8] | (1u << (bit % 8))); }

/* Which channel bit `bit` of a pixel group belongs to; the group repeats the pixel. */
static int channel_of(const bs_value *value, size_t bit) {
    size_t pixel_bits = (size_t)value->pixel * 8;
    size_t channel = bit % pixel_bits;
    return channel < (size_t)value->channels ? (int)channel : -1;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

static int largest(const int32_t *values, int count) {
    int32_t found = values[0];
    for (int i = 1; i < count; i++) found = values[i] > found ? values[i] : found;
    return found;
}

static int smallest(const int32_t *values, int count) {
    int32_t found = values[0];
    for (int i = 1; i < count; i++) found = values[i] < found ? values[i] : found;
    return found;
}

static bool make_shift_masks(bs_net *net, const bs_value *value, const int32_t *shift, int *base, int *stages,
                             uint8_t **masks) {
    const size_t chunk = net->vector, bytes = (size_t)value->pixel > chunk ? (size_t)value->pixel : chunk;
    *base = smallest(shift, value->channels);
    *stages = bs_bit_length((uint64_t)(largest(shift, value->channels) - *base));
    if (*stages == 0) return true;
    *masks = bs_keep(net, bytes * (size_t)*stages, 1);
    if (*masks == NULL) return false;
    /* Laid out like the constants: [vector of channels][stage][bytes]; a vector is told by its offset. */
    for (size_t offset = 0; offset < bytes; offset += chunk) {
        for (int s = 0; s < *stages; s++) {
            uint8_t *to = *masks + offset * (size_t)*stages + (size_t)s * chunk;
            for (size_t bit = 0; bit < chunk * 8; bit++) {
                int c = channel_of(value, offset * 8 + bit);
                if (c >= 0 && ((shift[c] - *base) >> s) & 1) set_bit(to, bit);
            }
        }
    }
    return true;
}

/* The width of sums, and all constants in planes. False if the layer does not fit MOST_PLANES. */
static bool make_constants(bs_net *net, bs_node *node, bool *fits) {
    bs_fire *fire = &node->fire;
    const bs_value *value = &node->value;
    int channels = value->channels;
    int64_t reach = node->op.bound << largest(fire->shift, channels);
    int top = bs_bit_length((uint64_t)node->op.bound) + largest(fire->shift, channels);
    if (node->skip == SKIP_WEIGHTED) {
        reach += node->skip_op.bound << largest(fire->skip_shift, channels);
        int skip_top = bs_bit_length((uint64_t)node->skip_op.bound) + largest(fire->skip_shift, channels);
        top = skip_top > top ? skip_top : top;
    }
    /* The number of active inputs is counted in 32 bits. Sums that are known only by their weights to fit those are left
     * to the other kernels, which add modulo 2^32. */
    *fits =
        top < 40 && node->op.bound <= INT32_MAX && (node->skip != SKIP_WEIGHTED || node->skip_op.bound <= INT32_MAX);
    if (!*fits) return true;
    reach += ((int64_t)fire->levels * fire->leak) << (fire->g - fire->leak_exponent);
    int rows = fire->counts + 1, width = fire->width;
    int64_t offset = 0;
    for (int row = 0; row < rows; row++) {
        for (int c = 0; c < channels; c++) {
            int64_t r = fire->rounding[row * width + c], r1 = fire->soft ? fire->rounding_fired[row * width + c] : 0;
            r = r < 0 ? -r : r;
            r1 = r1 < 0 ? -r1 : r1;
            offset = r > offset ? r : offset;
            offset = r1 > offset ? r1 : offset;
        }
    }
    int64_t most = reach + 1 > offset ? reach + 1 : offset;
    fire->sum_planes = bs_bit_length((uint64_t)(reach + most)) + 1;
    if (fire->sum_planes < fire->g + 1) fire->sum_planes = fire->g + 1;
    if (fire->sum_planes > MOST_PLANES - 1) {
        *fits = false;
        return true;
    }
    bool skip = fire->counts == 1;
    fire->entries = (fire->soft ? 3 : 2) * (skip ? 2 : 1);
    const size_t chunk = net->vector, bytes = (size_t)value->pixel > chunk ? (size_t)value->pixel : chunk;
    fire->constants = bs_keep(net, bytes * (size_t)fire->sum_planes * (size_t)fire->entries, 1);
    if (fire->constants == NULL) return false;
    for (size_t start = 0; start < bytes; start += chunk) {
        uint8_t *to = fire->constants + start * (size_t)fire->sum_planes * (size_t)fire->entries;
        for (size_t bit = 0; bit < chunk * 8; bit++) {
            int c = channel_of(value, start * 8 + bit);
            int64_t numbers[6] = {0}; /* in the order of the entries */
            const int32_t *tables[3] = {fire->threshold, fire->rounding, fire->rounding_fired};
            int used = 0;
            for (int part = 0; part < (fire->soft ? 3 : 2); part++) {
                int64_t quiet = c < 0 ? (part == 0 ? reach + 1 : 0)
                                      : clamp(tables[part][c], -reach - 1 - offset, reach + 1 + offset);
                int64_t joined =
                    c < 0 || !skip ? quiet : clamp(tables[part][width + c], -reach - 1 - offset, reach + 1 + offset);
                if (part == 0) { /* beyond the sums' range it means always or never */
                    quiet = clamp(quiet, -reach, reach + 1);
                    joined = clamp(joined, -reach, reach + 1);
                    numbers[used++] = ~quiet;
                    if (skip) numbers[used++] = quiet ^ joined;
                } else {
                    numbers[used++] = quiet;
                    if (skip) numbers[used++] = quiet ^ joined;
                }
            }
            for (int k = 0; k < fire->sum_planes; k++)
                for (int e = 0; e < fire->entries; e++)
                    if (((uint64_t)numbers[e] >> k) & 1)
                        set_bit(to + ((size_t)k * (size_t)fire->entries + (size_t)e) * chunk, bit);
        }
    }
    if (!make_shift_masks(net, value, fire->shift, &fire->shift_base, &fire->shift_stages, &fire->shift_masks))
        return false;
    return node->skip != SKIP_WEIGHTED || make_shift_masks(net, value, fire->skip_shift, &fire->skip_shift_base,
                                                           &fire->skip_shift_stages, &fire->skip_shift_masks);
}

/* ---- what a layer needs ---- */

static bool planes_possible(const bs_net *net, const bs_node *node) {
    int bits = net->kernel == BS_PLANES ? FORCED_PLANE_BITS : AUTO_PLANE_BITS;
    if (net->kernel == BS_LANES || net->kernel == BS_DENSE) return false;
    if (net->nodes[node->source].value.planes == 0 || node->op.bits > bits) return false;
    if (node->fire.stochastic || node->fire.counts > 1) return false;
    if (node->op.most_x > MOST_PLACES || node->op.most_stride_x > MOST_PLACES) return false;
    if (node->skip != SKIP_NONE && net->nodes[node->skip_source].value.planes == 0) return false;
    return node->skip != SKIP_WEIGHTED || node->skip_op.bits <= bits;
}

static bool dense_possible(const bs_net *net, const bs_node *node) {
    if (net->nodes[node->source].value.planes == 0 || net->kernel == BS_LANES || net->kernel == BS_PLANES) return false;
    if (bs_takes_largest(&node->op)) return false;
    if (net->kernel == BS_DENSE) return node->op.bits <= FORCED_PLANE_BITS;
    return net->kernels->fast_popcount && node->op.bits <= AUTO_DENSE_BITS &&
           net->nodes[node->source].value.planes <= 3;
}

static bool make_spiking(bs_net *net, bs_node *node) {
    bool weighted = node->skip == SKIP_WEIGHTED;
    node->can_planes = planes_possible(net, node);
    if (node->can_planes) {
        const bs_value *from = &net->nodes[node->source].value;
        const bs_value sums = bs_map_of_sums(&node->op, from, &node->value);
        bool fits = true;
        if (!make_constants(net, node, &fits)) return false;
        node->can_planes =
            fits && make_rows(net, &node->op, from, &sums) &&
            (!weighted || make_rows(net, &node->skip_op, &net->nodes[node->skip_source].value, &node->value));
    }
    node->can_dense = dense_possible(net, node);
    if (node->can_dense && !make_dense(net, &node->op)) return false;
    bool lanes = !node->can_planes && !node->can_dense;
    if (lanes && !make_codes(net, &node->op, &net->nodes[node->source].value)) return false;
    return !weighted || (node->can_planes && !node->can_dense) ||
           make_codes(net, &node->skip_op, &net->nodes[node->skip_source].value);
}

static void place_state(bs_net *net, bs_node *node) {
    node->state_offset = net->state_bytes;
    node->state_bytes = node->value.plane * (size_t)node->fire.bits;
    net->state_bytes += bs_round_up(node->state_bytes, net->vector);
}

bool bs_tables_make(bs_net *net, char *error, size_t error_size) {
    for (int index = 0; index < net->count; index++) {
        bs_node *node = &net->nodes[index];
        bool made = true;
        if (node->kind == NODE_SPIKING) {
            made = make_spiking(net, node);
            place_state(net, node);
        } else if (node->kind == NODE_READOUT) {
            made = make_codes(net, &node->op, &net->nodes[node->source].value);
        }
        if (!made) {
            snprintf(error, error_size,
                     "node %d: its tables take more memory than there is, or than a program of this size may ask for",
                     index);
            return false;
        }
    }
    net->total_offset = net->state_bytes;
    /* running sum of the readout, then the number of steps done */
    net->state_bytes += bs_round_up((size_t)(net->nodes[net->count - 1].classes + 1) * sizeof(int64_t), net->vector);
    return true;
}
