/* Everything between spiking layers: the input's pixels, pooling, the readout, counting spikes. */

static int64_t count_ones(const uint8_t *map, size_t size) {
    int64_t total = 0;
    size_t i = 0;
#if defined(__AVX512VPOPCNTDQ__)
    __m512i wide = _mm512_setzero_si512();
    for (; i + 64 <= size; i += 64) wide = _mm512_add_epi64(wide, _mm512_popcnt_epi64(_mm512_loadu_si512(map + i)));
    total = _mm512_reduce_add_epi64(wide);
#endif
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, map + i, 8);
        total += __builtin_popcountll(word);
    }
    return total;
}

/* uint8 [C, H, W] to pixels minus their zero point, [H, W, C]. */
static void center_samples(const bs_node *input, const uint8_t *samples, float *map) {
    const bs_value *value = &input->value;
    const size_t channels = (size_t)value->channels, positions = (size_t)value->height * (size_t)value->width;
    for (size_t c = 0; c < channels; c++) {
        const float zero = (float)input->zero_point[c];
        const uint8_t *from = samples + c * positions;
        if (channels == 1) {
            for (size_t i = 0; i < positions; i++) map[i] = (float)from[i] - zero;
        } else {
            for (size_t i = 0; i < positions; i++) map[i * channels + c] = (float)from[i] - zero;
        }
    }
}

/* The part of a window that lies on the map: its corner, and how many rows and columns it has. */
typedef struct {
    size_t y, x;
    int rows, columns;
} part_window;

INLINE part_window window_at(const bs_node *node, const bs_value *from, int y, int x) {
    const int top = y * node->pool_stride_y - node->pool_pad_y, left = x * node->pool_stride_x - node->pool_pad_x;
    const int bottom = top + node->pool_y, right = left + node->pool_x;
    const int first_row = top > 0 ? top : 0, first_column = left > 0 ? left : 0;
    return (part_window){(size_t)first_row, (size_t)first_column,
                         (bottom < from->height ? bottom : from->height) - first_row,
                         (right < from->width ? right : from->width) - first_column};
}

static void pool_pixels(const bs_node *node, const bs_value *from, const float *source, float *out) {
    const size_t channels = (size_t)from->channels, line = (size_t)from->width * channels;
    for (int y = 0; y < node->value.height; y++) {
        for (int x = 0; x < node->value.width; x++, out += channels) {
            const part_window window = window_at(node, from, y, x);
            const float *corner = source + window.y * line + window.x * channels;
            for (size_t c = 0; c < channels; c++) {
                float result = node->maximum ? corner[c] : 0.0f;
                for (int ky = 0; ky < window.rows; ky++)
                    for (int kx = 0; kx < window.columns; kx++) {
                        const float pixel = corner[(size_t)ky * line + (size_t)kx * channels + c];
                        result = !node->maximum ? result + pixel : pixel > result ? pixel : result;
                    }
                out[c] = result;
            }
        }
    }
}

/* Pools `size` bytes (at most 8) of packed channels, plane by plane: OR of spikes, largest count, or sum. */
INLINE void pool_word(const bs_node *node, const bs_value *from, part_window window, const uint8_t *corner, size_t size,
                      uint8_t *out) {
    uint64_t result[MOST_COUNT_PLANES] = {0};
    const int planes = node->value.planes;
    for (int ky = 0; ky < window.rows; ky++) {
        for (int kx = 0; kx < window.columns; kx++) {
            const uint8_t *pixel = corner + (size_t)ky * from->row + (size_t)kx * (size_t)from->pixel;
            uint64_t seen[MOST_COUNT_PLANES];
            for (int j = 0; j < from->planes; j++) {
                seen[j] = 0;
                memcpy(&seen[j], pixel + (size_t)j * from->plane, size);
            }
            if (node->maximum && planes == 1) {
                result[0] |= seen[0];
            } else if (node->maximum) {
                uint64_t larger = 0, equal = ~(uint64_t)0; /* compared from the highest plane down */
                for (int j = planes - 1; j >= 0; j--) {
                    larger |= equal & seen[j] & ~result[j];
                    equal &= ~(seen[j] ^ result[j]);
                }
                for (int j = 0; j < planes; j++) result[j] = (seen[j] & larger) | (result[j] & ~larger);
            } else {
                uint64_t carry = 0;
                for (int j = 0; j < planes; j++) {
                    const uint64_t other = j < from->planes ? seen[j] : 0, sum = result[j];
                    if (other == 0 && carry == 0 && j >= from->planes) break;
                    result[j] = sum ^ other ^ carry;
                    carry = (sum & other) | ((sum ^ other) & carry);
                }
            }
        }
    }
    for (int j = 0; j < planes; j++) memcpy(out + (size_t)j * node->value.plane, &result[j], size);
}

/* The two common cases, windows of 2 x 2 on spikes: OR, and counts up to 4 in three planes. */
#define POOL_2X2(name, word)                                                                           \
    INLINE void name(const bs_node *node, const bs_value *from, const uint8_t *corner, uint8_t *out) { \
        word a, b, c, d;                                                                               \
        memcpy(&a, corner, sizeof a);                                                                  \
        memcpy(&b, corner + from->pixel, sizeof b);                                                    \
        memcpy(&c, corner + from->row, sizeof c);                                                      \
        memcpy(&d, corner + from->row + from->pixel, sizeof d);                                        \
        if (node->maximum) {                                                                           \
            a |= b | c | d;                                                                            \
            memcpy(out, &a, sizeof a);                                                                 \
        } else {                                                                                       \
            const word first = a ^ b, second = c ^ d, ones = first ^ second, fours = a & b & c & d;    \
            const word twos = ((a & b) ^ (c & d)) | (first & second);                                  \
            memcpy(out, &ones, sizeof ones);                                                           \
            memcpy(out + node->value.plane, &twos, sizeof twos);                                       \
            memcpy(out + 2 * node->value.plane, &fours, sizeof fours);                                 \
        }                                                                                              \
    }
POOL_2X2(pool_2x2_word, uint32_t)
POOL_2X2(pool_2x2_long, uint64_t)

/* OR over 2 x 2 of a whole row of at most 32 channels: neighbours lie side by side, which the compiler makes use of. */
static void pool_row(const uint32_t *restrict above, const uint32_t *restrict below, uint32_t *restrict out,
                     int width) {
    for (int x = 0; x < width; x++) out[x] = above[2 * x] | above[2 * x + 1] | below[2 * x] | below[2 * x + 1];
}

static void pool_map(const bs_node *node, const bs_value *from, const uint8_t *source, uint8_t *out) {
    const bs_value *value = &node->value;
    if (from->planes == 0) {
        pool_pixels(node, from, (const float *)source, (float *)out);
        return;
    }
    const bool inside = node->pool_pad_y == 0 && node->pool_pad_x == 0;
    const bool small = inside && node->pool_y == 2 && node->pool_x == 2 && from->planes == 1;
    const bool rows = small && node->maximum && value->pixel == 4 && node->pool_stride_x == 2;
    for (int y = 0; y < value->height; y++) {
        if (rows) {
            const uint8_t *above = source + (size_t)y * (size_t)node->pool_stride_y * from->row;
            pool_row((const uint32_t *)above, (const uint32_t *)(above + from->row),
                     (uint32_t *)(out + (size_t)y * value->row), value->width);
            continue;
        }
        for (int x = 0; x < value->width; x++) {
            const part_window window = window_at(node, from, y, x);
            const uint8_t *corner = source + window.y * from->row + window.x * (size_t)from->pixel;
            uint8_t *to = out + (size_t)y * value->row + (size_t)x * (size_t)value->pixel;
            if (small && value->pixel == 4) {
                pool_2x2_word(node, from, corner, to);
            } else if (small) {
                for (size_t i = 0; i < (size_t)value->pixel; i += 8) pool_2x2_long(node, from, corner + i, to + i);
            } else if (value->pixel == 4) {
                pool_word(node, from, window, corner, 4, to);
            } else {
                for (size_t i = 0; i < (size_t)value->pixel; i += 8)
                    pool_word(node, from, window, corner + i, 8, to + i);
            }
        }
    }
}

/* One step of the readout, added to the totals. Weights lie [height][width][channels][classes padded to 16]. */
static void read_out(const bs_node *node, const bs_value *from, const uint8_t *source, int64_t *total) {
    const bs_operator *op = &node->op;
    const size_t width = (size_t)node->class_width, classes = (size_t)node->classes;
    if (from->planes == 0) {
        const float *pixel = (const float *)source;
        const size_t count = patch_size(op);
        for (size_t i = 0; i < count; i++) {
            if (pixel[i] == 0) continue;
            for (size_t k = 0; k < classes; k++)
                total[k] +=
                    (int64_t)pixel[i] * (int64_t)(op->real ? op->real[i * width + k] : op->real64[i * width + k]);
        }
        return;
    }
    for (size_t first = 0; first < classes; first += LANES) {
        numbers sum = {0};
        for (int j = from->planes - 1; j >= 0; j--) {
            sum <<= 1;
            for (int y = 0; y < from->height; y++) {
                const uint8_t *row = source + (size_t)j * from->plane + (size_t)y * from->row;
                for (int x = 0; x < from->width; x++) {
                    const size_t pixel = ((size_t)y * (size_t)from->width + (size_t)x) * (size_t)from->channels;
                    const int16_t *codes = op->codes + pixel * width + first;
                    for (size_t w = 0; w * 32 < (size_t)from->channels; w++) {
                        uint32_t bits;
                        memcpy(&bits, row + (size_t)x * (size_t)from->pixel + 4 * w, 4);
                        for (; bits; bits &= bits - 1) {
                            const size_t channel = 32 * w + (size_t)__builtin_ctz(bits);
                            sum += __builtin_convertvector(*(const codes_loose *)(codes + channel * width), numbers);
                        }
                    }
                }
            }
        }
        for (size_t k = 0; k < LANES && first + k < classes; k++) total[first + k] += sum[k];
    }
}
