/* Kernels with one channel to a 32-bit lane: weighted sums of pixels, of listed inputs with wider weights, and the dense
 * kernel (AND and popcount); the membrane step that all of them share does everything the integer form knows.
 */

enum { BLOCK = LANE_BLOCK }; /* neighbouring pixels that are worked on together */

typedef struct lane_scratch {
    int32_t *sum, *other, *membrane;            /* [BLOCK][width] */
    int32_t *current, *count, *random, *spikes; /* [width] */
    int32_t *steps;                             /* [steps][width], dense sums of all steps */
    float *patch;
    double *patch64;
} lane_scratch;

static size_t patch_size(const bs_operator *op) {
    return (size_t)op->kernel_y * (size_t)op->kernel_x * (size_t)op->inputs;
}

static lane_scratch lane_parts(const bs_work *work) {
    const bs_node *node = work->node;
    const size_t width = (size_t)node->fire.width;
    int32_t *at = (int32_t *)work->scratch;
    lane_scratch parts = {.sum = at, .other = at + BLOCK * width, .membrane = at + 2 * BLOCK * width};
    at += 3 * BLOCK * width;
    parts.current = at;
    parts.count = at + width;
    parts.random = at + 2 * width;
    parts.spikes = at + 3 * width;
    parts.steps = at + 4 * width;
    at += (4 + (size_t)work->steps) * width;
    parts.patch = (float *)at;
    parts.patch64 = (double *)at;
    return parts;
}

/* ---- weighted sums ---- */

/* The window's pixels of BLOCK neighbouring outputs, [place][BLOCK]; zero outside of the map. */
#define PATCH(name, real)                                                                                        \
    static void name(const bs_operator *op, const bs_value *from, const float *map, int y, int x, real *patch) { \
        const int first_y = y * op->stride_y - op->pad_y;                                                        \
        const size_t inputs = (size_t)op->inputs;                                                                \
        for (int ky = 0; ky < op->kernel_y; ky++) {                                                              \
            const bool inside = first_y + ky >= 0 && first_y + ky < from->height;                                \
            const float *line = map + (inside ? (size_t)(first_y + ky) * (size_t)from->width * inputs : 0);      \
            for (int kx = 0; kx < op->kernel_x; kx++, patch += inputs * BLOCK) {                                 \
                const int64_t first = (int64_t)x * op->stride_x - op->pad_x + kx;                                \
                if (inside && inputs == 1 && op->stride_x == 1 && first >= 0 && first + BLOCK <= from->width) {  \
                    for (int q = 0; q < BLOCK; q++) patch[q] = (real)line[first + q];                            \
                    continue;                                                                                    \
                }                                                                                                \
                for (int q = 0; q < BLOCK; q++) {                                                                \
                    const int64_t column = ((int64_t)x + q) * op->stride_x - op->pad_x + kx;                     \
                    const bool seen = inside && column >= 0 && column < from->width;                             \
                    for (size_t i = 0; i < inputs; i++)                                                          \
                        patch[i * BLOCK + (size_t)q] = seen ? (real)line[(size_t)column * inputs + i] : (real)0; \
                }                                                                                                \
            }                                                                                                    \
        }                                                                                                        \
    }
PATCH(fill_patch, float)
PATCH(fill_patch64, double)

enum { PARTS = 2 }; /* vectors of channels held in registers beside BLOCK pixels */

/* BLOCK sums for `parts` vectors of channels. The pixels of place i are at patch[i * BLOCK], or, where `offsets` are given,
 * at patch[offsets[i]] and every `step` numbers further on: in the map itself, for windows that lie within it. */
INLINE void sum_patch(const float *weights, const float *patch, const int32_t *offsets, size_t step, size_t places,
                      size_t width, size_t first, const int parts, int32_t *sum) {
    reals total[BLOCK][PARTS];
    for (int q = 0; q < BLOCK; q++)
        for (int p = 0; p < parts; p++) total[q][p] = (reals){0};
    for (size_t i = 0; i < places; i++) {
        const float *pixel = offsets ? patch + offsets[i] : patch + i * BLOCK;
        if (!offsets) {
            uint64_t pair[2];
            memcpy(pair, pixel, sizeof pair);
            if ((pair[0] | pair[1]) == 0) continue; /* events leave most of a window empty */
        }
        const float *row = weights + i * width + first;
        for (int p = 0; p < parts; p++) {
            const reals weight = *(const reals_loose *)(row + LANES * p);
            for (int q = 0; q < BLOCK; q++) total[q][p] += weight * pixel[(size_t)q * step];
        }
    }
    for (int q = 0; q < BLOCK; q++)
        for (int p = 0; p < parts; p++)
            *(numbers_loose *)(sum + (size_t)q * width + first + LANES * (size_t)p) =
                __builtin_convertvector(total[q][p], numbers);
}

/* BLOCK sums of pixels. All are whole numbers that a float (or a double) holds exactly, in any order of addition. */
static void sum_pixels(const bs_operator *op, const bs_value *from, const float *map, int y, int x,
                       const lane_scratch *parts, int32_t *sum) {
    const size_t places = patch_size(op), width = bs_round_up((size_t)op->outputs, 16);
    if (op->real) {
        const int left = x * op->stride_x - op->pad_x, top = y * op->stride_y - op->pad_y;
        const bool within = from->fixed && left >= 0 &&
                            left + (BLOCK - 1) * op->stride_x + op->kernel_x <= from->width && top >= 0 &&
                            top + op->kernel_y <= from->height;
        const size_t step = within ? (size_t)op->stride_x * (size_t)op->inputs : 1;
        const float *pixels = parts->patch;
        if (within)
            pixels = map + ((size_t)top * (size_t)from->width + (size_t)left) * (size_t)op->inputs;
        else
            fill_patch(op, from, map, y, x, parts->patch);
        size_t first = 0;
        for (; first + LANES * PARTS <= width; first += LANES * PARTS) {
            if (within)
                sum_patch(op->real, pixels, op->offsets, step, places, width, first, PARTS, sum);
            else
                sum_patch(op->real, pixels, NULL, 1, places, width, first, PARTS, sum);
        }
        for (; first < width; first += LANES)
            sum_patch(op->real, pixels, within ? op->offsets : NULL, step, places, width, first, 1, sum);
        return;
    }
    fill_patch64(op, from, map, y, x, parts->patch64);
    for (int q = 0; q < BLOCK; q++) {
        for (size_t c = 0; c < width; c++) {
            double total = 0;
            for (size_t i = 0; i < places; i++)
                total += op->real64[i * width + c] * parts->patch64[i * BLOCK + (size_t)q];
            sum[(size_t)q * width + c] = (int32_t)(int64_t)total;
        }
    }
}

/* The sum of one output pixel over listed inputs for `parts` vectors of channels, counts by their planes, highest first. */
INLINE void sum_listed_part(const bs_operator *op, const bs_value *from, const bs_lists *lists, int t, int y, int x,
                            size_t width, size_t first, const int parts, int32_t *sum) {
    const int first_x = x * op->stride_x - op->pad_x, first_y = y * op->stride_y - op->pad_y;
    numbers total[4];
    for (int p = 0; p < parts; p++) total[p] = (numbers){0};
    for (int j = from->planes - 1; j >= 0; j--) {
        for (int p = 0; p < parts; p++) total[p] <<= 1;
        const size_t plane = ((size_t)t * (size_t)from->planes + (size_t)j) * (size_t)from->height;
        for (int ky = 0; ky < op->kernel_y; ky++) {
            if (first_y + ky < 0 || first_y + ky >= from->height) continue;
            const uint32_t *start = lists->start + (plane + (size_t)(first_y + ky)) * (size_t)lists->line;
            for (int kx = 0; kx < op->kernel_x; kx++) {
                const int column = first_x + kx;
                if (column < 0 || column >= from->width) continue;
                const int16_t *codes =
                    op->codes + (size_t)(ky * op->kernel_x + kx) * (size_t)op->inputs * width + first;
                for (uint32_t i = start[column]; i < start[column + 1]; i++) {
                    const int16_t *row = codes + (size_t)lists->items[i] * width;
                    for (int p = 0; p < parts; p++)
                        total[p] += __builtin_convertvector(*(const codes_loose *)(row + LANES * p), numbers);
                }
            }
        }
    }
    for (int p = 0; p < parts; p++) *(numbers_loose *)(sum + first + LANES * (size_t)p) = total[p];
}

static void sum_listed(const bs_operator *op, const bs_value *from, const bs_lists *lists, int t, int y, int x,
                       int32_t *sum) {
    const size_t width = bs_round_up((size_t)op->outputs, 16);
    size_t first = 0;
    for (; first + 4 * LANES <= width; first += 4 * LANES)
        sum_listed_part(op, from, lists, t, y, x, width, first, 4, sum);
    for (; first < width; first += LANES) sum_listed_part(op, from, lists, t, y, x, width, first, 1, sum);
}

INLINE naturals popcounts(naturals bits) {
#if defined(__AVX512VPOPCNTDQ__)
    return (naturals)_mm512_popcnt_epi32((__m512i)bits);
#else
    bits = bits - ((bits >> 1) & 0x55555555);
    bits = (bits & 0x33333333) + ((bits >> 2) & 0x33333333);
    bits = (bits + (bits >> 4)) & 0x0F0F0F0F;
    return (bits * 0x01010101) >> 24;
#endif
}

/* Sums of one output pixel at `count` steps from step t on, for `parts` vectors of channels: weights are read once for all. */
INLINE void sum_dense_part(const bs_operator *op, const bs_value *from, const uint8_t *map, int t, int y, int x,
                           size_t width, size_t first, const int count, const int parts, int32_t *sums) {
    const int first_x = x * op->stride_x - op->pad_x, first_y = y * op->stride_y - op->pad_y;
    const size_t words = ((size_t)op->inputs + 31) / 32, bits = (size_t)op->bits;
    const bool odd = op->grid != GRID_SIGNED;
    naturals total[4][4];
    int64_t number[4] = {0};
    for (int s = 0; s < count; s++)
        for (int p = 0; p < parts; p++) total[s][p] = (naturals){0};
    for (int ky = 0; ky < op->kernel_y; ky++) {
        if (first_y + ky < 0 || first_y + ky >= from->height) continue;
        for (int kx = 0; kx < op->kernel_x; kx++) {
            if (first_x + kx < 0 || first_x + kx >= from->width) continue;
            const uint8_t *pixel = map + (size_t)t * from->step + (size_t)(first_y + ky) * from->row +
                                   (size_t)(first_x + kx) * (size_t)from->pixel;
            const uint32_t *place = op->dense + (size_t)(ky * op->kernel_x + kx) * words * bits * width + first;
            for (size_t w = 0; w < words; w++) {
                for (int j = 0; j < from->planes; j++) {
                    uint32_t seen[4];
                    for (int s = 0; s < count; s++) {
                        memcpy(&seen[s], pixel + (size_t)s * from->step + (size_t)j * from->plane + 4 * w, 4);
                        number[s] += (int64_t)__builtin_popcount(seen[s]) << j;
                    }
                    for (size_t k = 0; k < bits; k++) {
                        const bool negative = !odd && k == bits - 1;
                        const int by = j + (int)k;
                        for (int p = 0; p < parts; p++) {
                            const naturals weight =
                                *(const naturals_loose *)(place + (w * bits + k) * width + LANES * (size_t)p);
                            for (int s = 0; s < count; s++) {
                                naturals ones = popcounts(weight & seen[s]);
                                if (by) ones <<= by;
                                total[s][p] = negative ? total[s][p] - ones : total[s][p] + ones;
                            }
                        }
                    }
                }
            }
        }
    }
    for (int s = 0; s < count; s++) {
        for (int p = 0; p < parts; p++) {
            numbers sum = (numbers)total[s][p];
            if (odd) sum = 2 * sum - (int32_t)(number[s] * (((int64_t)1 << bits) - 1));
            *(numbers_loose *)(sums + (size_t)s * width + first + LANES * (size_t)p) = sum;
        }
    }
}

static void sum_dense(const bs_operator *op, const bs_value *from, const uint8_t *map, int steps, int y, int x,
                      int32_t *sums) {
    const size_t width = bs_round_up((size_t)op->outputs, 16);
    for (int t = 0; t < steps; t += 4) {
        const int count = steps - t < 4 ? steps - t : 4;
        int32_t *to = sums + (size_t)t * width;
        size_t first = 0;
        for (; first + 4 * LANES <= width; first += 4 * LANES) {
            if (count == 4)
                sum_dense_part(op, from, map, t, y, x, width, first, 4, 4, to);
            else if (count == 2)
                sum_dense_part(op, from, map, t, y, x, width, first, 2, 4, to);
            else if (count == 1)
                sum_dense_part(op, from, map, t, y, x, width, first, 1, 4, to);
            else
                sum_dense_part(op, from, map, t, y, x, width, first, 3, 4, to);
        }
        for (; first < width; first += LANES) sum_dense_part(op, from, map, t, y, x, width, first, count, 1, to);
    }
}

/* ---- random integers for stochastic rounding: Threefry-4x32-20, see integer/threefry.py ---- */

INLINE uint32_t rotate(uint32_t value, int by) { return (value << by) | (value >> (32 - by)); }

static void threefry(const uint32_t counter[4], uint32_t key, uint32_t out[4]) {
    static const int rotations[8][2] = {{10, 26}, {11, 21}, {13, 27}, {23, 5}, {6, 20}, {17, 11}, {25, 10}, {18, 20}};
    const uint32_t schedule[5] = {key, 0, 0, 0, 0x1BD11BDAu ^ key};
    for (int i = 0; i < 4; i++) out[i] = counter[i] + schedule[i];
    for (int turn = 0; turn < 20; turn++) {
        const int a = turn % 2 ? 3 : 1, b = turn % 2 ? 1 : 3;
        out[0] += out[a];
        out[a] = rotate(out[a], rotations[turn % 8][0]) ^ out[0];
        out[2] += out[b];
        out[b] = rotate(out[b], rotations[turn % 8][1]) ^ out[2];
        if (turn % 4 == 3) {
            const int injection = turn / 4 + 1;
            for (int i = 0; i < 4; i++) out[i] += schedule[(injection + i) % 5];
            out[3] += (uint32_t)injection;
        }
    }
}

/* An integer in [0, 2^g) for every channel of one pixel at one step. */
static void draw(const bs_fire *fire, int channels, uint32_t pixel, uint32_t step, int32_t *random) {
    memset(random, 0, (size_t)fire->width * sizeof(int32_t));
    for (int first = 0; first < channels; first += 32) {
        for (int j = 0; j < fire->g; j += 4) {
            const uint32_t counter[4] = {pixel, step, fire->stream, (uint32_t)(first / 32 * 8 + j / 4)};
            uint32_t planes[4];
            threefry(counter, fire->seed, planes);
            for (int i = 0; i < 4 && j + i < fire->g; i++)
                for (int c = first; c < channels && c < first + 32; c++)
                    random[c] |= (int32_t)((planes[i] >> (c - first)) & 1) << (j + i);
        }
    }
}

/* ---- the membrane ---- */

/* One bit of every lane, into the packed channels of a pixel. width is a multiple of 16. */
INLINE void pack_bits(const int32_t *values, size_t width, int bit, uint8_t *out) {
    for (size_t c = 0; c < width; c += 16) {
        uint16_t packed;
#if defined(__AVX512VL__)
        packed = (uint16_t)_mm512_test_epi32_mask(_mm512_loadu_si512(values + c), _mm512_set1_epi32((int)(1u << bit)));
#else
        packed = 0;
        for (int i = 0; i < 16; i++) packed = (uint16_t)(packed | (((uint32_t)values[c + (size_t)i] >> bit & 1) << i));
#endif
        memcpy(out + c / 8, &packed, 2);
    }
}

static void unpack_planes(const uint8_t *planes, size_t plane, int count, size_t width, bool sign, int32_t *values) {
#if defined(__AVX512VL__)
    for (size_t c = 0; c < width && count == 1 && !sign; c += 16) { /* widths are whole lanes */
        uint16_t bits;
        memcpy(&bits, planes + c / 8, 2);
        _mm512_storeu_si512(values + c, _mm512_maskz_set1_epi32(bits, 1));
    }
    if (count == 1 && !sign) return;
#endif
    for (size_t c = 0; c < width; c++) {
        int32_t value = 0;
        for (int k = 0; k < count; k++) value |= ((planes[(size_t)k * plane + c / 8] >> (c % 8)) & 1) << k;
        values[c] = sign ? value - ((value >> (count - 1)) << count) : value;
    }
}

/* S = I >= theta; U = 0 where S, else clamp((I + r) >> g), at `steps` steps of `count` pixels, whose sums do not change:
 * the layer without skip, random numbers or soft reset. Pixels go side by side, since the steps of one wait for another. */
INLINE void fire_plain(const bs_work *work, const int32_t *sums, int t, int steps, int y, int x, const int count,
                       int32_t *membranes) {
    const bs_fire *fire = &work->node->fire;
    const bs_value *value = &work->node->value;
    const size_t width = (size_t)fire->width, pixel = (size_t)value->pixel, step = value->step;
    const int32_t g = fire->g, n = fire->levels, up = g - fire->leak_exponent, leak = fire->leak;
    const bool fresh = t == 0 && work->state == NULL, last = work->state != NULL || t + steps < work->steps;
    uint8_t *row = work->out + (size_t)t * step + (size_t)y * value->row + (size_t)x * pixel;
    for (size_t c = 0; c < width; c += LANES, row += LANES == 4 ? c % 8 == 0 : LANES / 8) {
        const numbers threshold = *(const numbers_loose *)(fire->threshold + c),
                      rounding = *(const numbers_loose *)(fire->rounding + c);
        const numbers shift = *(const numbers_loose *)(fire->shift + c);
        numbers current[BLOCK], stored[BLOCK];
        for (int q = 0; q < count; q++) {
            current[q] = *(const numbers_loose *)(sums + (size_t)q * width + c) << shift;
            stored[q] = (numbers){0};
            if (!fresh) stored[q] = *(const numbers_loose *)(membranes + (size_t)q * width + c);
        }
        uint8_t *out = row;
        for (int s = 0; s < steps; s++, out += step) {
            for (int q = 0; q < count; q++) {
                const numbers total = (leak == 1 ? stored[q] << up : (stored[q] * leak) << up) + current[q];
#if defined(__AVX512VL__)
                const __mmask16 packed = _mm512_cmpge_epi32_mask((__m512i)total, (__m512i)threshold);
                const __mmask16 quiet = _mm512_cmplt_epi32_mask((__m512i)total, (__m512i)threshold);
                const __m512i high = _mm512_min_epi32((__m512i)((total + rounding) >> g), _mm512_set1_epi32(n));
                stored[q] = (numbers)_mm512_maskz_max_epi32(quiet, high, _mm512_set1_epi32(-n));
#else
                const numbers spikes = total >= threshold;
                stored[q] = clamped((total + rounding) >> g, -n, n) & ~spikes;
                const uint32_t packed = packed_lanes(spikes);
#endif
                uint8_t *to = out + (size_t)q * pixel;
                if (LANES >= 8)
                    memcpy(to, &packed, LANES / 8);
                else
                    *to = (uint8_t)(c % 8 ? *to | (packed << 4) : packed);
            }
        }
        for (int q = 0; q < count && last; q++) *(numbers_loose *)(membranes + (size_t)q * width + c) = stored[q];
    }
}

/* The same with everything a layer may have, for skips of at most one spike: no table is indexed by a count. */
static void fire_joined(const bs_fire *fire, const int32_t *restrict current, const int32_t *restrict count,
                        const int32_t *restrict random, int32_t *restrict membrane, int32_t *restrict spikes) {
    const int32_t g = fire->g, n = fire->levels, gain = fire->leak << (g - fire->leak_exponent), width = fire->width;
    const int32_t after = fire->counts ? width : 0; /* where the numbers for a skip's spike lie */
    const int32_t *restrict threshold = fire->threshold, *restrict rounding = fire->rounding;
    const int32_t *restrict fired = fire->soft ? fire->rounding_fired : fire->rounding;
    const int32_t reset = fire->soft ? 0 : -1;
    for (int32_t c = 0; c < width; c++) {
        const int32_t joined = -count[c], total = membrane[c] * gain + current[c];
        const int32_t limit = (threshold[c] & ~joined) | (threshold[c + after] & joined);
        const int32_t spike = -(total >= limit);
        const int32_t quiet = (rounding[c] & ~joined) | (rounding[c + after] & joined);
        const int32_t loud = (fired[c] & ~joined) | (fired[c + after] & joined);
        int32_t stored = (total + ((quiet & ~spike) | (loud & spike)) + random[c]) >> g;
        stored = stored > n ? n : stored;
        stored = stored < -n ? -n : stored;
        membrane[c] = stored & ~(spike & reset);
        spikes[c] = spike;
    }
}

static void fire_any(const bs_fire *fire, const int32_t *current, const int32_t *count, const int32_t *random,
                     int32_t *membrane, int32_t *spikes) {
    const int32_t g = fire->g, n = fire->levels, gain = fire->leak << (g - fire->leak_exponent);
    for (int c = 0; c < fire->width; c++) {
        const size_t at = (size_t)count[c] * (size_t)fire->width + (size_t)c;
        const int32_t total = membrane[c] * gain + current[c];
        const bool spike = total >= fire->threshold[at];
        const int32_t r = spike && fire->soft ? fire->rounding_fired[at] : fire->rounding[at];
        int32_t stored = (total + r + random[c]) >> g;
        stored = stored > n ? n : stored;
        stored = stored < -n ? -n : stored;
        membrane[c] = spike && !fire->soft ? 0 : stored;
        spikes[c] = -(int32_t)spike;
    }
}

/* A plain skip from values that are kept as numbers. */
static void wide_counts(const bs_node *node, const bs_value *from, const float *map, int y, int x, int32_t *count) {
    const size_t channels = (size_t)from->channels, positions = (size_t)from->height * (size_t)from->width;
    const size_t place = ((size_t)y * (size_t)from->width + (size_t)x) * (size_t)node->skip_stride;
    memset(count, 0, (size_t)node->fire.width * sizeof(int32_t));
    for (int c = 0; c < node->value.channels; c++) {
        const int32_t at = node->channel_map ? node->channel_map[c] : c;
        if (at < 0) continue;
        if (from->flat)
            count[c] = (int32_t)map[(size_t)at % positions * channels + (size_t)at / positions];
        else
            count[c] = (int32_t)map[place * channels + (size_t)at];
    }
}

/* The membrane step of one pixel: sums of the operator and, where there is one, of the convolved skip. */
static void fire_pixel(const bs_work *work, const lane_scratch *parts, const int32_t *sum, const int32_t *skip_sum,
                       int t, int y, int x, int32_t *membrane) {
    const bs_node *node = work->node;
    const bs_fire *fire = &node->fire;
    const bs_value *value = &node->value;
    const size_t width = (size_t)fire->width, place = (size_t)y * value->row + (size_t)x * (size_t)value->pixel;
    const int32_t *restrict shift = fire->shift;
    int32_t *restrict current = parts->current;
    for (size_t c = 0; c < width; c++) current[c] = sum[c] << shift[c];
    if (skip_sum)
        for (size_t c = 0; c < width; c++) current[c] += skip_sum[c] << fire->skip_shift[c];
    const bool joins = node->skip == SKIP_PLAIN;
    if (joins && work->skip_value->planes == 0)
        wide_counts(node, work->skip_value,
                    (const float *)(work->skip + (work->skip_value->fixed ? 0 : (size_t)t * work->skip_value->step)), y,
                    x, parts->count);
    else if (joins)
        unpack_planes(work->skip + ((size_t)t * (size_t)work->skip_value->planes) * value->plane + place, value->plane,
                      work->skip_value->planes, width, false, parts->count); /* padding too: it indexes tables */
    if (fire->stochastic)
        draw(fire, value->channels, (uint32_t)(y * value->width + x), (uint32_t)(work->first_step + t), parts->random);
    if (!joins) memset(parts->count, 0, width * sizeof(int32_t));
    if (!fire->stochastic) memset(parts->random, 0, width * sizeof(int32_t));
    if (fire->counts <= 1)
        fire_joined(fire, current, parts->count, parts->random, membrane, parts->spikes);
    else
        fire_any(fire, current, parts->count, parts->random, membrane, parts->spikes);
    pack_bits(parts->spikes, width, 0, work->out + (size_t)t * value->step + place);
    if (work->membranes) {
        int32_t *note =
            work->membranes + (size_t)t * work->membrane_stride + (size_t)y * (size_t)value->width + (size_t)x;
        for (int c = 0; c < value->channels; c++)
            note[(size_t)c * (size_t)value->height * (size_t)value->width] = membrane[c];
    }
}

static void begin_pixel(const bs_work *work, int y, int x, int32_t *membrane) {
    const bs_value *value = &work->node->value;
    const bs_fire *fire = &work->node->fire;
    const size_t place = (size_t)y * value->row + (size_t)x * (size_t)value->pixel;
    memset(membrane, 0, (size_t)fire->width * sizeof(int32_t));
    if (work->state)
        unpack_planes(work->state + place, value->plane, fire->bits, (size_t)value->channels, true, membrane);
}

static void end_pixel(const bs_work *work, int y, int x, const int32_t *membrane) {
    const bs_value *value = &work->node->value;
    if (work->state == NULL) return;
    const size_t place = (size_t)y * value->row + (size_t)x * (size_t)value->pixel;
    for (int k = 0; k < work->node->fire.bits; k++)
        pack_bits(membrane, (size_t)work->node->fire.width, k, work->state + (size_t)k * value->plane + place);
}

/* BLOCK sums side by side, of pixels or of listed inputs. */
static void sum_block(const bs_operator *op, const bs_value *from, const uint8_t *map, const bs_lists *lists, int t,
                      int y, int x, int count, const lane_scratch *parts, int32_t *sum) {
    if (from->planes == 0) {
        sum_pixels(op, from, (const float *)(map + (from->fixed ? 0 : (size_t)t * from->step)), y, x, parts, sum);
        return;
    }
    const size_t width = bs_round_up((size_t)op->outputs, 16);
    for (int q = 0; q < count; q++) sum_listed(op, from, lists, t, y, x + q, sum + (size_t)q * width);
}

/* The convolution that gives, at every output pixel, the sum at one place of its window of sums: with larger steps, and
 * begun further on. */
static bs_operator at_place(const bs_operator *op, int place_y, int place_x) {
    bs_operator moved = *op;
    moved.pad_y -= place_y * op->stride_y;
    moved.pad_x -= place_x * op->stride_x;
    moved.stride_y *= op->most_stride_y;
    moved.stride_x *= op->most_stride_x;
    return moved;
}

/* The largest sums of the windows of BLOCK neighbouring outputs. `parts->other` is free: such a layer has no skip. */
static void largest_block(const bs_operator *op, const bs_value *from, const uint8_t *map, const bs_lists *lists, int t,
                          int y, int x, int count, const lane_scratch *parts) {
    const size_t numbers_of_all = (size_t)count * bs_round_up((size_t)op->outputs, 16);
    for (int place = 0; place < op->most_y * op->most_x; place++) {
        const bs_operator moved = at_place(op, place / op->most_x, place % op->most_x);
        int32_t *restrict sum = place == 0 ? parts->sum : parts->other;
        sum_block(&moved, from, map, lists, t, y, x, count, parts, sum);
        if (place == 0) continue;
        int32_t *restrict most = parts->sum;
        for (size_t i = 0; i < numbers_of_all; i++) most[i] = sum[i] > most[i] ? sum[i] : most[i];
    }
}

static bool is_plain(const bs_work *work) {
    return work->node->skip == SKIP_NONE && !work->node->fire.stochastic && !work->node->fire.soft &&
           work->membranes == NULL;
}

static void run_lanes(const bs_work *work, int from, int to) {
    const bs_node *node = work->node;
    const bs_value *value = &node->value;
    const size_t width = (size_t)node->fire.width;
    const bool weighted = node->skip == SKIP_WEIGHTED, plain = is_plain(work), fixed = work->source_value->fixed;
    const lane_scratch parts = lane_parts(work);
    if (work->joined_from) join_rows(work, from, to);
    for (int y = from; y < to; y++) {
        for (int x = 0; x < value->width; x += BLOCK) {
            const int count = value->width - x < BLOCK ? value->width - x : BLOCK;
            for (int q = 0; q < count && (!plain || work->state); q++)
                begin_pixel(work, y, x + q, parts.membrane + (size_t)q * width);
            for (int t = 0; t < work->steps; t++) {
                if ((t == 0 || !fixed) && bs_takes_largest(&node->op))
                    largest_block(&node->op, work->source_value, work->source, &work->lists, t, y, x, count, &parts);
                else if (t == 0 || !fixed)
                    sum_block(&node->op, work->source_value, work->source, &work->lists, t, y, x, count, &parts,
                              parts.sum);
                if (plain) {
                    const int now = fixed ? work->steps : 1;
                    if (count == BLOCK)
                        fire_plain(work, parts.sum, t, now, y, x, BLOCK, parts.membrane);
                    else
                        fire_plain(work, parts.sum, t, now, y, x, count, parts.membrane);
                    if (fixed) break;
                    continue;
                }
                if (weighted && (t == 0 || !work->skip_value->fixed))
                    sum_block(&node->skip_op, work->skip_value, work->skip, &work->skip_lists, t, y, x, count, &parts,
                              parts.other);
                for (int q = 0; q < count; q++)
                    fire_pixel(work, &parts, parts.sum + (size_t)q * width,
                               weighted ? parts.other + (size_t)q * width : NULL, t, y, x + q,
                               parts.membrane + (size_t)q * width);
            }
            for (int q = 0; q < count; q++) end_pixel(work, y, x + q, parts.membrane + (size_t)q * width);
        }
    }
}

static void run_dense(const bs_work *work, int from, int to) {
    const bs_node *node = work->node;
    const bs_value *value = &node->value;
    const size_t width = (size_t)node->fire.width;
    const bool weighted = node->skip == SKIP_WEIGHTED, plain = is_plain(work);
    const lane_scratch parts = lane_parts(work);
    if (work->joined_from) join_rows(work, from, to);
    for (int y = from; y < to; y++) {
        for (int x = 0; x < value->width; x++) {
            if (!plain || work->state) begin_pixel(work, y, x, parts.membrane);
            sum_dense(&node->op, work->source_value, work->source, work->steps, y, x, parts.steps);
            for (int t = 0; t < work->steps; t++) {
                if (plain) {
                    fire_plain(work, parts.steps + (size_t)t * width, t, 1, y, x, 1, parts.membrane);
                    continue;
                }
                if (weighted)
                    sum_block(&node->skip_op, work->skip_value, work->skip, &work->skip_lists, t, y, x, 1, &parts,
                              parts.other);
                fire_pixel(work, &parts, parts.steps + (size_t)t * width, weighted ? parts.other : NULL, t, y, x,
                           parts.membrane);
            }
            end_pixel(work, y, x, parts.membrane);
        }
    }
}
