/* One layer in training, tile by tile: its neurons through all steps, and back. Part of training.c. */

/* Numbers that are worked on together: a row of parameters that long, and its potentials, stay in the first cache. */
enum { TILE = 512 };

/* Numbers of one time step, and of one behind the pool. */
static size_t whole_step(const bs_layer *layer) {
    return (size_t)(layer->samples * layer->height * layer->width * layer->channels);
}

static size_t pooled_step(const bs_layer *layer) {
    return (size_t)(layer->samples * (layer->height / 2) * (layer->width / 2) * layer->channels);
}

/* Parameters repeated until they fill a tile of whole pixels, and room for one tile of potentials and gradients. */
typedef struct {
    size_t length; /* numbers of a tile: `pixels` times the channels */
    size_t pixels;
    float *gain, *shift, *extra_gain, *step, *threshold, *mean, *extra_mean;
    float *total; /* [2 rows][steps or 1][length] */
    float *stored, *of_spike, *flow, *now;
    float *sum, *sum_x, *sum_extra;
    void *spikes; /* [2 rows][length] before they are pooled */
    float *memory;
} tiles;

static float *filled(float **next, const float *from, size_t channels, size_t length, float factor) {
    float *to = *next;
    for (size_t i = 0; i < length; i++) to[i] = from == NULL ? 0 : from[i % channels] * factor;
    *next += length;
    return to;
}

static float *room(float **next, size_t length) {
    float *to = *next;
    *next += length;
    return to;
}

static bool make_tiles(tiles *tile, const bs_layer *layer, bool back) {
    const size_t channels = (size_t)layer->channels, steps = back ? (size_t)layer->steps : 1;
    size_t pixels = TILE / channels;
    if (pixels < 2) pixels = layer->pool ? 2 : 1;
    tile->pixels = layer->pool ? pixels & ~(size_t)1 : pixels;
    const size_t length = tile->length = tile->pixels * channels;
    float *next = tile->memory = calloc((7 + 2 * steps + 4 * 2 + 3 + 2) * length, sizeof(float));
    if (next == NULL) return false;
    tile->gain = filled(&next, layer->gain, channels, length, 1);
    tile->shift = filled(&next, layer->shift, channels, length, 1);
    tile->extra_gain = filled(&next, layer->extra_gain, channels, length, 1);
    tile->step = filled(&next, layer->step, channels, length, 1);
    tile->threshold = filled(&next, layer->step, channels, length, 1);
    for (size_t i = 0; i < length; i++) tile->threshold[i] = layer->threshold / tile->step[i];
    tile->mean = filled(&next, layer->mean, channels, length, 1);
    tile->extra_mean = filled(&next, layer->extra_mean, channels, length, 1);
    tile->total = room(&next, 2 * steps * length);
    tile->stored = room(&next, 2 * length);
    tile->of_spike = room(&next, 2 * length);
    tile->flow = room(&next, 2 * length);
    tile->now = room(&next, 2 * length);
    tile->sum = room(&next, length);
    tile->sum_x = room(&next, length);
    tile->sum_extra = room(&next, length);
    tile->spikes = room(&next, 2 * length);
    return true;
}

/* Where a tile lies: the numbers of one step before it, how many it has, and the same behind the pool. */
typedef struct {
    size_t at[2]; /* of its row or its two rows */
    size_t count, pooled_at, pooled_count;
    int rows;
} place;

/* Below, the loops over numbers are functions with constants for what does not change, so that each case gets a loop of
 * its own; the functions that choose among them are called once a tile. */

/* h after the reset, where `fired` is 1. */
INLINE float reset(const bool soft, float total, float fired, float threshold) {
    return soft ? total - fired * threshold : total - fired * total;
}

/* What is stored of it: on the membrane's grid, if it has one. */
INLINE float grid(const bool levels, float after, float offset, float most) {
    return levels ? whole(larger(smaller(after + offset, most), -most)) : after;
}

/* h of step t; `stored` holds u of the step before. */
INLINE void sum_up_of(const bool half, size_t count, const void *restrict x, const float *restrict gain,
                      const float *restrict shift, float leak, const float *restrict stored, float *restrict total) {
    for (size_t i = 0; i < count; i++) total[i] = load(x, half, i) * gain[i] + shift[i] + leak * stored[i];
}

INLINE void add_extra(const bool half, size_t count, const void *restrict e, const float *restrict gain,
                      float *restrict total) {
    for (size_t i = 0; i < count; i++) total[i] += load(e, half, i) * gain[i];
}

static void sum_up(const bs_layer *layer, const tiles *tile, size_t t, size_t at, size_t count, const float *stored,
                   float *total) {
    const size_t step = whole_step(layer) * t;
    const bool half = layer->half_sums, half_extra = layer->half_spikes;
    const void *x = part_of(layer->sums, half, at + (layer->fixed ? 0 : step));
    const float leak = t == 0 ? 0 : layer->leak;
    if (half)
        sum_up_of(true, count, x, tile->gain, tile->shift, leak, stored, total);
    else
        sum_up_of(false, count, x, tile->gain, tile->shift, leak, stored, total);
    if (layer->extra == NULL) return;
    const void *e = part_of(layer->extra, half_extra, at + step);
    if (half_extra)
        add_extra(true, count, e, tile->extra_gain, total);
    else
        add_extra(false, count, e, tile->extra_gain, total);
}

INLINE void keep_of(const bool soft, const bool levels, size_t count, const float *restrict total,
                    const float *restrict threshold, float offset, float most, float *restrict stored) {
    for (size_t i = 0; i < count; i++)
        stored[i] = grid(levels, reset(soft, total[i], reaches(total[i], threshold[i]), threshold[i]), offset, most);
}

/* u of the step from its h. */
static void keep(const bs_layer *layer, const tiles *tile, size_t count, const float *total, float *stored) {
    const float offset = layer->offset, most = (float)layer->levels;
    if (layer->soft && layer->levels)
        keep_of(true, true, count, total, tile->threshold, offset, most, stored);
    else if (layer->soft)
        keep_of(true, false, count, total, tile->threshold, offset, most, stored);
    else if (layer->levels)
        keep_of(false, true, count, total, tile->threshold, offset, most, stored);
    else
        keep_of(false, false, count, total, tile->threshold, offset, most, stored);
}

INLINE int32_t fire_of(const bool half, size_t count, const float *restrict total, const float *restrict threshold,
                       void *restrict spikes) {
    int32_t number = 0;
    for (size_t i = 0; i < count; i++) {
        const float fired = reaches(total[i], threshold[i]);
        store(spikes, half, i, fired);
        number += (int32_t)fired;
    }
    return number;
}

static int32_t fire(const bs_layer *layer, const tiles *tile, size_t count, const float *total, void *spikes) {
    return layer->half_spikes ? fire_of(true, count, total, tile->threshold, spikes)
                              : fire_of(false, count, total, tile->threshold, spikes);
}

/* Two rows of spikes to one of windows. */
INLINE void pool_rows_of(const bool half, const bool sum, size_t pooled_count, size_t channels,
                         const void *restrict top, const void *restrict bottom, void *restrict to) {
    for (size_t p = 0; p < pooled_count; p += channels)
        for (size_t c = 0; c < channels; c++) {
            const size_t left = 2 * p + c, right = left + channels;
            const float one = load(top, half, left), two = load(top, half, right);
            const float three = load(bottom, half, left), four = load(bottom, half, right);
            store(to, half, p + c,
                  sum ? one + two + three + four : larger(larger(one, two), larger(three, four)));
        }
}

static void pool_rows(const bs_layer *layer, const place *here, const void *top, const void *bottom, void *to) {
    const size_t count = here->pooled_count, channels = (size_t)layer->channels;
    const bool sum = layer->pool == BS_SUM_POOL;
    if (layer->half_spikes && sum)
        pool_rows_of(true, true, count, channels, top, bottom, to);
    else if (layer->half_spikes)
        pool_rows_of(true, false, count, channels, top, bottom, to);
    else if (sum)
        pool_rows_of(false, true, count, channels, top, bottom, to);
    else
        pool_rows_of(false, false, count, channels, top, bottom, to);
}

static void forward_tile(const bs_layer *layer, const tiles *tile, const place *here, int64_t *number) {
    const size_t length = tile->length, step = whole_step(layer);
    const bool half = layer->half_spikes;
    for (size_t t = 0; t < (size_t)layer->steps; t++) {
        for (int row = 0; row < here->rows; row++) {
            const size_t own = (size_t)row * length;
            float *total = tile->total + own, *stored = tile->stored + own;
            void *spikes = layer->pool ? (void *)part_of(tile->spikes, half, own)
                                       : (void *)part_of(layer->spikes, half, t * step + here->at[row]);
            sum_up(layer, tile, t, here->at[row], here->count, stored, total);
            *number += fire(layer, tile, here->count, total, spikes);
            keep(layer, tile, here->count, total, stored);
        }
        if (here->pooled_count > 0)
            pool_rows(layer, here, tile->spikes, part_of(tile->spikes, half, length),
                      (void *)part_of(layer->spikes, half, t * pooled_step(layer) + here->pooled_at));
    }
}

/* d loss / d s of one pooled pixel: what comes back goes to the first spike of its window, or to its first place where
 * there is none, as with maxima elsewhere. */
INLINE void unpool_max(size_t channels, const bool half, const float *restrict above, const float *restrict below,
                       const float *restrict threshold, const void *restrict gradient, float per_spike,
                       float *restrict top, float *restrict bottom) {
    for (size_t c = 0; c < channels; c++) {
        const float back = load(gradient, half, c), edge = threshold[c];
        /* Whether none of the places before has fired. */
        const float second = 1 - reaches(above[c], edge);
        const float third = second * (1 - reaches(above[channels + c], edge));
        const float fourth = third * (1 - reaches(below[c], edge));
        const float none = fourth * (1 - reaches(below[channels + c], edge));
        top[c] = per_spike + back * (1 - second + none);
        top[channels + c] = per_spike + back * (second - third);
        bottom[c] = per_spike + back * (third - fourth);
        bottom[channels + c] = per_spike + back * (fourth - none);
    }
}

INLINE void unpool_sum(size_t channels, const bool half, const void *restrict gradient, float per_spike,
                       float *restrict top, float *restrict bottom) {
    for (size_t c = 0; c < channels; c++)
        top[c] = top[channels + c] = bottom[c] = bottom[channels + c] = per_spike + load(gradient, half, c);
}

static void unpool(const bs_layer *layer, const tiles *tile, const place *here, const float *total, size_t row_stride,
                   const void *gradient) {
    const size_t channels = (size_t)layer->channels;
    const bool half = layer->half_spikes;
    const float per_spike = layer->per_spike;
    float *top = tile->of_spike, *bottom = top + tile->length;
    for (size_t i = here->pooled_count * 2; i < here->count; i++) top[i] = bottom[i] = per_spike; /* beyond windows */
    for (size_t p = 0; p < here->pooled_count; p += channels) {
        const void *back = part_of(gradient, half, p);
        const float *above = total + 2 * p, *below = above + row_stride;
        if (layer->pool == BS_SUM_POOL && half)
            unpool_sum(channels, true, back, per_spike, top + 2 * p, bottom + 2 * p);
        else if (layer->pool == BS_SUM_POOL)
            unpool_sum(channels, false, back, per_spike, top + 2 * p, bottom + 2 * p);
        else if (half)
            unpool_max(channels, true, above, below, tile->threshold, back, per_spike, top + 2 * p, bottom + 2 * p);
        else
            unpool_max(channels, false, above, below, tile->threshold, back, per_spike, top + 2 * p, bottom + 2 * p);
    }
}

INLINE void take_gradient(const bool half, size_t count, const void *restrict gradient, float per_spike,
                          float *restrict of_spike) {
    for (size_t i = 0; i < count; i++) of_spike[i] = load(gradient, half, i) + per_spike;
}

INLINE void step_back_of(const bool soft, const bool levels, size_t count, const bs_layer *layer,
                         const float *restrict threshold, const float *restrict step, const float *restrict total,
                         const float *restrict of_spike, float *restrict stored, float *restrict flow) {
    const float most = (float)layer->levels, leak = layer->leak, real_threshold = layer->threshold;
    for (size_t i = 0; i < count; i++) {
        const float h = total[i], fired = reaches(h, threshold[i]);
        const float slope = larger(1 - size_of(h - threshold[i]) * step[i], 0);
        float of_stored = stored[i];
        if (levels) of_stored *= reaches(most, size_of(reset(soft, h, fired, threshold[i])));
        const float of_reset = soft ? real_threshold : h * step[i];
        const float through = soft ? of_stored : of_stored - fired * of_stored;
        flow[i] = slope * (of_spike[i] - of_stored * of_reset) + through;
        stored[i] = leak * flow[i];
    }
}

/* One step back: from d loss / d s[t] and d loss / d u[t], in `stored`, to d loss / d h[t] = d loss / d i[t], and on to
 * d loss / d u[t-1]. */
static void step_back(const bs_layer *layer, const tiles *tile, size_t count, const float *total,
                      const float *of_spike, float *stored, float *flow) {
    const float *threshold = tile->threshold, *step = tile->step;
    if (layer->soft && layer->levels)
        step_back_of(true, true, count, layer, threshold, step, total, of_spike, stored, flow);
    else if (layer->soft)
        step_back_of(true, false, count, layer, threshold, step, total, of_spike, stored, flow);
    else if (layer->levels)
        step_back_of(false, true, count, layer, threshold, step, total, of_spike, stored, flow);
    else
        step_back_of(false, false, count, layer, threshold, step, total, of_spike, stored, flow);
}

/* sum_x += flow (x - mean) */
INLINE void take_in_of(const bool half, size_t count, const float *restrict flow, const void *restrict x,
                       const float *restrict mean, float *restrict sum_x) {
    for (size_t i = 0; i < count; i++) sum_x[i] += flow[i] * (load(x, half, i) - mean[i]);
}

static void take_in(bool half, size_t count, const float *flow, const void *x, const float *mean, float *sum_x) {
    if (half)
        take_in_of(true, count, flow, x, mean, sum_x);
    else
        take_in_of(false, count, flow, x, mean, sum_x);
}

static void add_to(size_t count, const float *restrict flow, float *restrict sum) {
    for (size_t i = 0; i < count; i++) sum[i] += flow[i];
}

INLINE void write_of(const bool half, size_t count, const float *restrict flow, void *restrict to) {
    for (size_t i = 0; i < count; i++) store(to, half, i, flow[i]);
}

/* The flow of a row of the tile is done: into memory, and into the sums. */
static void flow_out(const bs_layer *layer, const tiles *tile, size_t at, size_t count, const float *flow) {
    const bool half = layer->half_sums;
    if (half)
        write_of(true, count, flow, (void *)part_of(layer->flow, half, at));
    else
        write_of(false, count, flow, (void *)part_of(layer->flow, half, at));
    add_to(count, flow, tile->sum);
    take_in(half, count, flow, part_of(layer->sums, half, at), tile->mean, tile->sum_x);
}

static void backward_tile(const bs_layer *layer, const tiles *tile, const place *here) {
    const size_t length = tile->length, steps = (size_t)layer->steps, row_stride = steps * length;
    const size_t step = whole_step(layer), count = here->count;
    const bool half = layer->half_spikes;
    for (int row = 0; row < here->rows; row++) {
        float *total = tile->total + (size_t)row * row_stride, *stored = tile->stored + (size_t)row * length;
        for (size_t t = 0; t < steps; t++) {
            sum_up(layer, tile, t, here->at[row], count, stored, total + t * length);
            keep(layer, tile, count, total + t * length, stored);
        }
        memset(stored, 0, length * sizeof(float));
        memset(tile->flow + (size_t)row * length, 0, length * sizeof(float));
    }
    for (size_t t = steps; t-- > 0;) {
        if (layer->pool)
            unpool(layer, tile, here, tile->total + t * length, row_stride,
                   part_of(layer->gradient, half, t * pooled_step(layer) + here->pooled_at));
        for (int row = 0; row < here->rows; row++) {
            const size_t own = (size_t)row * length, at = t * step + here->at[row];
            float *of_spike = tile->of_spike + own, *now = tile->now + own;
            const void *gradient = layer->pool ? NULL : part_of(layer->gradient, half, at);
            if (gradient != NULL && half) take_gradient(true, count, gradient, layer->per_spike, of_spike);
            if (gradient != NULL && !half) take_gradient(false, count, gradient, layer->per_spike, of_spike);
            step_back(layer, tile, count, tile->total + (size_t)row * row_stride + t * length, of_spike,
                      tile->stored + own, now);
            if (layer->extra != NULL)
                take_in(half, count, now, part_of(layer->extra, half, at), tile->extra_mean, tile->sum_extra);
            if (layer->fixed)
                add_to(count, now, tile->flow + own);
            else
                flow_out(layer, tile, at, count, now);
        }
    }
    for (int row = 0; layer->fixed && row < here->rows; row++)
        flow_out(layer, tile, here->at[row], count, tile->flow + (size_t)row * length);
}

static void fold_sums(const tiles *tile, size_t channels, double *totals) {
    float *const sums[] = {tile->sum, tile->sum_x, tile->sum_extra};
    for (size_t k = 0; k < 3; k++)
        for (size_t first = 0; first < tile->length; first += channels)
            for (size_t c = 0; c < channels; c++) {
                totals[k * channels + c] += (double)sums[k][first + c];
                sums[k][first + c] = 0;
            }
}

/* All tiles of samples [from, to). Without a pool, a sample's rows are one long row. */
static int64_t walk(const bs_layer *layer, const tiles *tile, bool back, int64_t from, int64_t to, double *totals) {
    const size_t channels = (size_t)layer->channels, height = layer->pool ? (size_t)layer->height : 1;
    const size_t width = (size_t)layer->width * (layer->pool ? 1 : (size_t)layer->height);
    int64_t number = 0;
    int done = 0;
    for (size_t b = (size_t)from; b < (size_t)to; b++)
        for (size_t y = 0; y < height; y += 2)
            for (size_t x = 0; x < width; x += tile->pixels) {
                const size_t pixels = width - x < tile->pixels ? width - x : tile->pixels;
                place here = {.count = pixels * channels, .rows = layer->pool && y + 1 < height ? 2 : 1};
                here.at[0] = ((b * height + y) * width + x) * channels;
                here.at[1] = here.at[0] + width * channels;
                if (here.rows == 2) {
                    here.pooled_count = pixels / 2 * channels;
                    here.pooled_at = ((b * (height / 2) + y / 2) * (width / 2) + x / 2) * channels;
                }
                if (!back) {
                    forward_tile(layer, tile, &here, &number);
                    continue;
                }
                backward_tile(layer, tile, &here);
                if (++done % FOLD == 0) fold_sums(tile, channels, totals);
            }
    if (back) fold_sums(tile, channels, totals);
    return number;
}

