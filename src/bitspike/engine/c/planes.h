/* The event-driven kernel.
 *
 * Every active input adds its row of weight bits to counters that lie across vectors, bit k of all counters in one
 * vector (carry-save adders, no carry ever moves sideways). The membrane's integers live in the same planes, so that
 * threshold, leak, reset and clamp are a few logic operations for all channels of a vector at once, and the result of
 * the comparison is the packed word of output spikes.
 */
#define ADD3(carry, sum, a, b)               \
    do {                                     \
        vec first_ = (a), second_ = (b);     \
        carry = major(sum, first_, second_); \
        sum = xor3(sum, first_, second_);    \
    } while (0)
#define ROW(i) (*(const vec_loose *)(rows + list[i]))

INLINE void ripple(vec *counter, int from, int depth, vec carry) {
    for (int k = from; k < depth; k++) {
        vec next = counter[k] & carry;
        counter[k] ^= carry;
        carry = next;
    }
}

/* Adds `count` listed rows to counters of `depth` planes (at least 4 planes are there). */
INLINE void count_rows(const uint8_t *rows, const int32_t *list, int count, int32_t zero_row, vec *counter, int depth) {
    vec ones = counter[0], twos = counter[1], fours = counter[2], eights = counter[3];
    vec a, b, c, d, e, f;
    int32_t tail[16] __attribute__((aligned(64)));
    while (count > 0) {
        if (count < 16) { /* the rest, filled up with rows of zeros */
            const numbers lane = LANE_NUMBERS;
            for (int i = 0; i < 16; i += LANES) {
                const numbers inside = lane < count - i;
                *(numbers *)(tail + i) = (*(const numbers_loose *)(list + i) & inside) | (zero_row & ~inside);
            }
            list = tail;
        }
        ADD3(a, ones, ROW(0), ROW(1));
        ADD3(b, ones, ROW(2), ROW(3));
        ADD3(c, twos, a, b);
        ADD3(a, ones, ROW(4), ROW(5));
        ADD3(b, ones, ROW(6), ROW(7));
        ADD3(d, twos, a, b);
        ADD3(e, fours, c, d);
        if (count <= 8) {
            a = eights & e;
            eights ^= e;
            ripple(counter, 4, depth, a);
            break;
        }
        ADD3(a, ones, ROW(8), ROW(9));
        ADD3(b, ones, ROW(10), ROW(11));
        ADD3(c, twos, a, b);
        ADD3(a, ones, ROW(12), ROW(13));
        ADD3(b, ones, ROW(14), ROW(15));
        ADD3(d, twos, a, b);
        ADD3(f, fours, c, d);
        ADD3(a, eights, e, f);
        ripple(counter, 4, depth, a);
        count -= 16;
        list += 16;
    }
    counter[0] = ones;
    counter[1] = twos;
    counter[2] = fours;
    counter[3] = eights;
}

/* A positive sum of `width` planes plus or minus a positive `from` << `shift`; returns the new width. After a subtraction
 * the last plane is the sign, in two's complement. */
INLINE int combine(vec *sum, int width, const vec *from, int from_width, int shift, const bool minus) {
    vec carry = (vec){0};
    int to = from_width + shift;
    while (width < to) sum[width++] = (vec){0};
    for (int k = shift; k < width; k++) {
        vec other = k < to ? from[k - shift] : (vec){0};
        vec next = minus ? borrow(sum[k], other, carry) : major(sum[k], other, carry);
        sum[k] = xor3(sum[k], other, carry);
        carry = next;
    }
    sum[width] = carry;
    return width + 1;
}

ALONE int add_positive(vec *sum, int width, const vec *from, int from_width, int shift) {
    return combine(sum, width, from, from_width, shift, false);
}

ALONE int subtract(vec *sum, int width, const vec *from, int from_width, int shift) {
    return combine(sum, width, from, from_width, shift, true);
}

/* First line of starts of a window, and the rows of the window that lie within the map. */
INLINE const uint32_t *window_starts(const window *seen, int t, int j, int y, int x, int *low, int *high) {
    const bs_operator *op = seen->op;
    const int first = y * op->stride_y - op->pad_y;
    *low = first < 0 ? -first : 0;
    *high = first + op->kernel_y > seen->from->height ? seen->from->height - first : op->kernel_y;
    const int64_t line = ((int64_t)t * seen->from->planes + j) * seen->from->height + first;
    return seen->lists->start + line * seen->lists->line + (int64_t)x * op->stride_x;
}

/* Counters of active rows of one weight plane, counts of the source by their planes, highest first. */
ALONE void count_planes(const window *seen, int t, int y, int x, int offset, vec *counter) {
    const bs_operator *op = seen->op;
    const int depth = seen->depth, line = seen->lists->line, columns = op->columns;
    for (int k = 0; k < 4; k++) counter[k] = (vec){0};
    for (int k = 4; k < depth; k++) counter[k] = (vec){0};
    for (int j = seen->from->planes - 1; j >= 0; j--) {
        if (j < seen->from->planes - 1) {
            for (int k = (depth > 4 ? depth : 4) - 1; k > 0; k--) counter[k] = counter[k - 1];
            counter[0] = (vec){0};
        }
        int low, high;
        const uint32_t *start = window_starts(seen, t, j, y, x, &low, &high);
        for (int ky = low; ky < high; ky++) {
            const uint32_t first = start[(int64_t)ky * line], end = start[(int64_t)ky * line + columns];
            const int64_t base = ky * op->line_stride + x * op->group_stride;
            count_rows(op->rows + offset + base, seen->lists->items + first, (int)(end - first),
                       (int32_t)(op->zero_row - base), counter, depth);
        }
    }
}

/* The number of active inputs, counted with their weight, of every lane's pixel. */
INLINE numbers active_inputs(const window *seen, int t, int y, int x) {
    const bs_operator *op = seen->op;
    const int line = seen->lists->line;
    numbers total = {0};
    for (int j = 0; j < seen->from->planes; j++) {
        int low, high;
        const uint32_t *start = window_starts(seen, t, j, y, x, &low, &high);
        for (int ky = low; ky < high; ky++) {
            const uint32_t *here = start + (int64_t)ky * line;
            if (op->stride_x == 1) {
                total += (*(const numbers_loose *)(here + op->kernel_x) - *(const numbers_loose *)here) << j;
            } else {
                const int group = (op->columns - op->kernel_x) / op->stride_x + 1;
                for (int q = 0; q < group; q++)
                    total[q] += (int32_t)(here[q * op->stride_x + op->kernel_x] - here[q * op->stride_x]) << j;
            }
        }
    }
    return taken(total, *(const numbers_loose *)op->lane_pixel);
}

/* A of one vector of channels: two's complement in `sum`, whose last plane is the sign.
 * All widths are the same for all pixels of a map, so that the processor learns how long each loop is. */
ALONE int weighted_sum(const window *seen, int t, int y, int x, int offset, vec *sum) {
    const bs_operator *op = seen->op;
    const int depth = seen->depth;
    if (op->bits == 1 && op->grid == GRID_BINARY) { /* A = 2 P - N, the common case */
        const numbers total = active_inputs(seen, t, y, x);
        count_planes(seen, t, y, x, offset, sum + 1);
        sum[0] = (vec){0};
        vec carry = (vec){0};
        for (int k = 0; k <= depth; k++) {
            vec number = spread(total, k);
            vec next = borrow(sum[k], number, carry);
            sum[k] = xor3(sum[k], number, carry);
            carry = next;
        }
        sum[depth + 1] = carry;
        return depth + 2;
    }
    vec parts[MOST_PLANES + 8];
    int width = 0;
    for (int bit = 0; bit < op->bits; bit++) {
        count_planes(seen, t, y, x, offset + bit * op->plane_stride, parts);
        if (op->grid == GRID_SIGNED && bit == op->bits - 1)
            width = subtract(sum, width, parts, depth, bit);
        else
            width = add_positive(sum, width, parts, depth, bit);
    }
    if (op->grid == GRID_SIGNED) return width;
    /* A = 2 sum - (2^bits - 1) N */
    for (int k = width; k > 0; k--) sum[k] = sum[k - 1];
    sum[0] = (vec){0};
    width++;
    const numbers number = active_inputs(seen, t, y, x) * ((1 << op->bits) - 1);
    const int number_width = depth + op->bits < 31 ? depth + op->bits : 31;
    for (int k = 0; k < number_width; k++) parts[k] = spread(number, k);
    return subtract(sum, width, parts, number_width, 0);
}

/* How the sums of neighbouring pixels are gathered: from `vectors` of them, side by side in the map of sums, those that are
 * at place p of the windows of one vector of results. A pixel is whole lanes, so whole lanes move. */
typedef struct {
    int vectors, width; /* width: of the map of sums */
    int group;          /* pixels of a vector */
    numbers from[MOST_PLACES][MOST_PLACES];
    vec there[MOST_PLACES][MOST_PLACES]; /* [place][vector]: which lanes come from it */
} gathering;

static void make_gathering(gathering *to, const bs_node *node, const bs_value *source) {
    const bs_operator *op = &node->op;
    const int group = to->group = node->value.group, lanes = LANES / group; /* of a pixel */
    to->vectors = bs_vectors_of_windows(op, &node->value);
    to->width = bs_map_of_sums(op, source, &node->value).width;
    for (int p = 0; p < op->most_x; p++) {
        for (int v = 0; v < to->vectors; v++) {
            numbers there;
            for (int i = 0; i < LANES; i++) {
                const int column = i / lanes * op->most_stride_x + p;
                there[i] = -(column / group == v);
                to->from[p][v][i] = column % group * lanes + i % lanes;
            }
            to->there[p][v] = (vec)there;
        }
    }
}

/* The larger of two numbers in two's complement, in `most`. */
INLINE void keep_larger(vec *most, const vec *other, int width) {
    vec less = (vec){0};
    for (int k = 0; k < width - 1; k++) less = borrow(most[k], other[k], less);
    less = borrow(~most[width - 1], ~other[width - 1], less); /* signs: the other way around */
    for (int k = 0; k < width; k++) most[k] = choose(less, other[k], most[k]);
}

/* The same as `weighted_sum`, of the largest sums of windows. */
ALONE int largest_sum(const window *seen, const gathering *gather, int t, int y, int x, int offset, vec *sum) {
    const bs_operator *op = seen->op;
    const int left = x * op->most_stride_x, group = gather->group;
    vec most[MOST_PLACES][MOST_PLANES + 34];
    int width = 0;
    for (int v = 0; v < gather->vectors; v++) {
        if (v > 0 && left + v * group >= gather->width) { /* beyond the map: nobody looks at what is there */
            for (int k = 0; k < width; k++) most[v][k] = (vec){0};
            continue;
        }
        for (int row = 0; row < op->most_y; row++) {
            const int at = y * op->most_stride_y + row;
            width = weighted_sum(seen, t, at, left + v * group, offset, row == 0 ? most[v] : sum);
            if (row > 0) keep_larger(most[v], sum, width);
        }
    }
    for (int p = 0; p < op->most_x; p++) {
        vec place[MOST_PLANES + 34];
        vec *to = p == 0 ? sum : place;
        for (int k = 0; k < width; k++) {
            to[k] = (vec){0};
            for (int v = 0; v < gather->vectors; v++)
                to[k] |= (vec)taken((numbers)most[v][k], gather->from[p][v]) & gather->there[p][v];
        }
        if (p > 0) keep_larger(sum, place, width);
    }
    return width;
}

/* Shifts every channel by its own amount and fills up to `planes` with the sign. */
ALONE void shift(vec *sum, int width, int base, int stages, const uint8_t *masks, int planes) {
    if (base > 0) {
        for (int k = (width + base < planes ? width : planes - base) - 1; k >= 0; k--) sum[k + base] = sum[k];
        for (int k = 0; k < base && k < planes; k++) sum[k] = (vec){0};
        width += base;
    }
    if (width > planes) width = planes; /* the sum is known to fit */
    for (int s = 0; s < stages; s++) {
        vec mask = *(const vec_loose *)(masks + (size_t)s * VECTOR);
        int by = 1 << s, to = width + by < planes ? width + by : planes;
        vec sign = sum[width - 1];
        for (int k = width; k < to; k++) sum[k] = sign;
        for (int k = to - 1; k >= by; k--) sum[k] = choose(mask, sum[k - by], sum[k]);
        for (int k = 0; k < by && k < to; k++) sum[k] &= ~mask;
        width = to;
    }
    for (int k = width; k < planes; k++) sum[k] = sum[width - 1];
}

INLINE void add(vec *sum, const vec *other, int planes) {
    vec carry = (vec){0};
    for (int k = 0; k < planes; k++) {
        vec next = major(sum[k], other[k], carry);
        sum[k] = xor3(sum[k], other[k], carry);
        carry = next;
    }
}

/* Plane k of I = leaked U + A: its part in the comparison, and in the rounded sum; `sum[k]` is left as that sum's plane. */
#define FIRE_PLANE(stored, above_g)                            \
    do {                                                       \
        vec full = sum[k];                                     \
        if (leaks) {                                           \
            const vec stored_ = (stored);                      \
            const vec next = major(full, stored_, leak_carry); \
            full = xor3(full, stored_, leak_carry);            \
            leak_carry = next;                                 \
        }                                                      \
        vec threshold = constant[0], r = constant[offset];     \
        if (skip) threshold ^= joined & constant[1];           \
        if (skip) r ^= joined & constant[offset + 1];          \
        below = xor3(full, threshold, compare);                \
        compare = major(full, threshold, compare);             \
        if (soft) {                                            \
            sum[k] = full;                                     \
        } else {                                               \
            if (above_g) sum[k] = xor3(full, r, carry);        \
            carry = major(full, r, carry);                     \
        }                                                      \
        constant += entries;                                   \
    } while (0)

/* One step: S = I >= theta[j]; U = 0 or clamp((I + r[j]) >> g). `sum` comes as A << f, with the skip's sum. */
INLINE vec fire_planes(const bs_fire *fire, vec *sum, vec *membrane, const uint8_t *constants, const vec joined,
                       const int skip, const int soft) {
    const int planes = fire->sum_planes, g = fire->g, bits = fire->bits, up = g - fire->leak_exponent;
    const int entries = (soft ? 3 : 2) * (skip ? 2 : 1), offset = skip ? 2 : 1, fired = skip ? 4 : 2;
    const vec_loose *constant = (const vec_loose *)constants;
    vec leak_carry = (vec){0}, compare = ~(vec){0}, carry = (vec){0}, below = (vec){0};
    int k = 0;
    if (fire->leak == 1) { /* one pass over all vec */
        for (const int leaks = 0; k < up; k++) FIRE_PLANE((vec){0}, false);
        const int leaks = 1;
        for (; k < g; k++) FIRE_PLANE(membrane[k - up < bits ? k - up : bits - 1], false);
        for (; k < up + bits - 1 && k < planes; k++) FIRE_PLANE(membrane[k - up], true);
        for (const vec sign_ = membrane[bits - 1]; k < planes; k++) FIRE_PLANE(sign_, true);
    } else {
        const int leaks = 0;
        for (int leak = fire->leak, to = up; leak != 0; leak >>= 1, to++) {
            if (!(leak & 1)) continue;
            vec into = (vec){0};
            for (int i = to; i < planes; i++) {
                vec stored = membrane[i - to < bits ? i - to : bits - 1];
                vec next = major(sum[i], stored, into);
                sum[i] = xor3(sum[i], stored, into);
                into = next;
            }
        }
        for (; k < g; k++) FIRE_PLANE((vec){0}, false);
        for (; k < planes; k++) FIRE_PLANE((vec){0}, true);
    }
    const vec spikes = ~below; /* the sign of I - theta */
    if (soft) {                /* which r it is, is known only now */
        constant = (const vec_loose *)constants;
        for (k = 0; k < planes; k++, constant += entries) {
            vec r = constant[offset], after = constant[fired];
            if (skip) r ^= joined & constant[offset + 1];
            if (skip) after ^= joined & constant[fired + 1];
            r = choose(spikes, after, r);
            vec next = major(sum[k], r, carry);
            sum[k] = xor3(sum[k], r, carry);
            carry = next;
        }
    }
    /* clamp to -n .. n: what is beyond has planes that differ from the sign, -n - 1 has none set but the sign */
    vec *value = sum + g;
    const int width = planes - g;
    const vec sign = value[width - 1];
    vec beyond = (vec){0}, low = (vec){0};
    for (k = bits - 1; k < width - 1; k++) beyond |= value[k] ^ sign;
    for (k = 0; k < bits - 1; k++) low |= k < width ? value[k] : sign;
    const vec least = (beyond | ~low) & sign;
    const vec kept = soft ? ~(vec){0} : ~spikes;
    for (k = 0; k < bits - 1; k++) {
        vec here = choose(beyond, ~sign, k < width ? value[k] : sign);
        if (k == 0) here |= least;
        membrane[k] = here & kept;
    }
    membrane[bits - 1] = sign & kept;
    return spikes;
}

/* One function for each combination of what a layer may have. */
ALONE vec fire_hard(const bs_fire *fire, vec *sum, vec *membrane, const uint8_t *constants, const vec *joined) {
    return fire_planes(fire, sum, membrane, constants, *joined, 0, 0);
}
ALONE vec fire_hard_skip(const bs_fire *fire, vec *sum, vec *membrane, const uint8_t *constants, const vec *joined) {
    return fire_planes(fire, sum, membrane, constants, *joined, 1, 0);
}
ALONE vec fire_soft(const bs_fire *fire, vec *sum, vec *membrane, const uint8_t *constants, const vec *joined) {
    return fire_planes(fire, sum, membrane, constants, *joined, 0, 1);
}
ALONE vec fire_soft_skip(const bs_fire *fire, vec *sum, vec *membrane, const uint8_t *constants, const vec *joined) {
    return fire_planes(fire, sum, membrane, constants, *joined, 1, 1);
}

/* One vector of channels of one group of pixels, all steps. */
ALONE void vector_steps(const bs_work *work, const window *seen, const window *skip_seen, const gathering *gather, int y,
                        int x, int at, int offset, const uint8_t *edge) {
    const bs_node *node = work->node;
    const bs_fire *fire = &node->fire;
    const bs_value *value = &node->value;
    const bool skip = node->skip == SKIP_PLAIN && fire->counts == 1, weighted = node->skip == SKIP_WEIGHTED;
    vec (*const step)(const bs_fire *, vec *, vec *, const uint8_t *, const vec *) =
        fire->soft ? (skip ? fire_soft_skip : fire_soft) : (skip ? fire_hard_skip : fire_hard);
    const uint8_t *constants = fire->constants + (size_t)offset * (size_t)fire->sum_planes * (size_t)fire->entries;
    const size_t place = (size_t)y * value->row + (size_t)at + (size_t)offset;
    vec membrane[16];
    for (int k = 0; k < fire->bits; k++) {
        membrane[k] = (vec){0};
        if (work->state) membrane[k] = *(const vec_loose *)(work->state + (size_t)k * value->plane + place);
    }
    for (int t = 0; t < work->steps; t++) {
        vec sum[MOST_PLANES + 34], joined = (vec){0};
        int width = gather ? largest_sum(seen, gather, t, y, x, offset, sum) : weighted_sum(seen, t, y, x, offset, sum);
        shift(sum, width, fire->shift_base, fire->shift_stages,
              fire->shift_masks + (size_t)offset * (size_t)fire->shift_stages, fire->sum_planes);
        if (weighted) {
            vec other[MOST_PLANES + 34];
            width = weighted_sum(skip_seen, t, y, x, offset, other);
            shift(other, width, fire->skip_shift_base, fire->skip_shift_stages,
                  fire->skip_shift_masks + (size_t)offset * (size_t)fire->skip_shift_stages, fire->sum_planes);
            add(sum, other, fire->sum_planes);
        }
        if (skip) joined = *(const vec_loose *)(work->skip + (size_t)t * value->step + place);
        vec spikes = step(fire, sum, membrane, constants, &joined);
        if (edge) spikes &= *(const vec_loose *)edge;
        *(vec_loose *)(work->out + (size_t)t * value->step + place) = spikes;
        if (work->membranes) note_membranes(work, (const uint8_t *)membrane, VECTOR, t, y, at, offset);
    }
    if (work->state)
        for (int k = 0; k < fire->bits; k++)
            *(vec_loose *)(work->state + (size_t)k * value->plane + place) = membrane[k];
}
