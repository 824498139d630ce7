/* Running a net: samples through its nodes, rows of a map or whole samples split among threads. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels.h"
#include "threads.h"

#define MOST_SESSION_BYTES ((size_t)1 << 33)

/* What one sample in work needs; every thread of a session has one, so that a batch can be split among them. */
typedef struct {
    uint8_t **maps; /* of every node, all steps */
    bs_lists lists, skip_lists;
    uint8_t *joined;
    uint8_t *scratch;
    int64_t *total;
} arena;

struct bs_session {
    const bs_net *net;
    int steps, threads;
    bs_threads *pool;
    arena *arenas;
    uint8_t *memory;
    size_t bytes;
    int64_t *times; /* null: not asked for */
    /* the call in work */
    const uint8_t *samples;
    uint8_t *states;
    int batch, first_step;
    int64_t *logits;
    const bs_record *record;
    int next; /* sample */
    const bs_work *work;
};

/* ---- memory ---- */

/* Sizes that saturate: whatever does not fit comes out as too large. */
static size_t times_(size_t a, size_t b) { return b != 0 && a > SIZE_MAX / 2 / b ? SIZE_MAX / 2 : a * b; }
static size_t plus(size_t a, size_t b) { return a > SIZE_MAX / 2 - b % (SIZE_MAX / 2) ? SIZE_MAX / 2 : a + b; }

typedef struct {
    uint8_t *memory; /* null while only measuring */
    size_t used;
} space;

static void *take(space *from, size_t count, size_t size) {
    void *found = from->memory == NULL ? NULL : from->memory + from->used;
    from->used = plus(from->used, plus(times_(count, size), 63) / 64 * 64);
    return found;
}

static size_t steps_kept(const bs_value *value, int steps) { return value->fixed ? 1 : (size_t)steps; }

static size_t list_lines(const bs_value *value, int steps) {
    return times_((size_t)value->planes * (size_t)value->height, (size_t)steps);
}

static size_t scratch_bytes(const bs_node *node, int steps) {
    size_t places = times_((size_t)node->op.kernel_y * (size_t)node->op.kernel_x, (size_t)node->op.inputs);
    if (node->skip == SKIP_WEIGHTED) {
        size_t others =
            times_((size_t)node->skip_op.kernel_y * (size_t)node->skip_op.kernel_x, (size_t)node->skip_op.inputs);
        places = others > places ? others : places;
    }
    size_t lanes = times_((size_t)(3 * LANE_BLOCK + 4) + (size_t)steps, (size_t)node->fire.width * sizeof(int32_t));
    lanes = plus(lanes, times_(places, LANE_BLOCK * sizeof(double)));
    return plus(lanes, 64);
}

static void place_lists(space *from, bs_lists *lists, const size_t sizes[3]) {
    lists->items = take(from, plus(sizes[0], LIST_SLACK), sizeof(int32_t));
    lists->start = take(from, plus(sizes[1], LIST_SLACK), sizeof(uint32_t));
    lists->most = take(from, sizes[2], sizeof(uint16_t));
    if (sizes[0] > UINT32_MAX) from->used = SIZE_MAX / 2;
}

static void place_arena(space *from, arena *to, const bs_net *net, int steps) {
    size_t scratch = 0, joined = 0, lists[2][3] = {{0}, {0}}; /* items, starts and lines of both lists */
    to->maps = take(from, (size_t)net->count, sizeof(uint8_t *));
    for (int i = 0; i < net->count; i++) {
        const bs_node *node = &net->nodes[i];
        if (node->kind == NODE_FLATTEN || node->kind == NODE_READOUT) continue;
        uint8_t *map = take(from, plus(times_(node->value.step, steps_kept(&node->value, steps)), 64), 1);
        if (from->memory) to->maps[i] = map;
        if (node->kind != NODE_SPIKING) continue;
        const int sources[2] = {node->source, node->skip == SKIP_WEIGHTED ? node->skip_source : -1};
        for (int s = 0; s < 2; s++) {
            if (sources[s] < 0 || net->nodes[sources[s]].value.planes == 0) continue;
            const bs_value *value = &net->nodes[sources[s]].value;
            const bs_operator *op = s == 0 ? &node->op : &node->skip_op;
            const size_t lines = list_lines(value, steps), plain = (size_t)value->width + 1;
            const size_t line = op->rows && (size_t)op->list_line > plain ? (size_t)op->list_line : plain;
            const size_t needed[3] = {
                times_(lines, plus(times_((size_t)value->width, (size_t)value->channels), LIST_SLACK)),
                times_(lines, line), lines};
            for (int i = 0; i < 3; i++) lists[s][i] = needed[i] > lists[s][i] ? needed[i] : lists[s][i];
        }
        if (node->skip == SKIP_PLAIN) {
            size_t needed =
                times_(node->value.plane, times_((size_t)net->nodes[node->skip_source].value.planes, (size_t)steps));
            joined = needed > joined ? needed : joined;
        }
        size_t needed = scratch_bytes(node, steps);
        scratch = needed > scratch ? needed : scratch;
    }
    place_lists(from, &to->lists, lists[0]);
    place_lists(from, &to->skip_lists, lists[1]);
    to->joined = take(from, plus(joined, 64), 1);
    to->scratch = take(from, scratch, 1);
    to->total = take(from, (size_t)net->nodes[net->count - 1].classes, sizeof(int64_t));
    if (from->memory == NULL) return;
    for (int i = 0; i < net->count; i++)
        if (net->nodes[i].kind == NODE_FLATTEN) to->maps[i] = to->maps[net->nodes[i].source];
}

bs_session *bs_session_new(const bs_net *net, int steps, int threads, char *error, size_t error_size) {
    if (error_size > 0) error[0] = 0;
    if (steps < 1 || steps > 65535 || threads < 1 || threads > 256) {
        snprintf(error, error_size, "%d steps and %d threads; allowed: 1 to 65535 and 1 to 256", steps, threads);
        return NULL;
    }
    arena measured = {0};
    space ruler = {NULL, 0};
    place_arena(&ruler, &measured, net, steps);
    size_t bytes = times_(plus(ruler.used, 64), (size_t)threads);
    if (bytes > MOST_SESSION_BYTES) {
        snprintf(error, error_size, "%d steps in %d threads need more than %zu bytes; take fewer", steps, threads,
                 MOST_SESSION_BYTES);
        return NULL;
    }
    bs_session *session = calloc(1, sizeof *session);
    if (session != NULL) {
        session->net = net;
        session->steps = steps;
        session->threads = threads;
        session->bytes = bytes;
        session->memory = calloc(bytes + 64, 1); /* pages that no layer comes to are never touched */
        session->arenas = calloc((size_t)threads, sizeof(arena));
        session->pool = bs_threads_new(threads);
    }
    if (session == NULL || session->memory == NULL || session->arenas == NULL || session->pool == NULL) {
        snprintf(error, error_size, "there is not enough memory, or no thread, for %d steps in %d threads", steps,
                 threads);
        bs_session_free(session);
        return NULL;
    }
    space room = {session->memory + (64 - (uintptr_t)session->memory % 64) % 64, 0};
    for (int i = 0; i < threads; i++) place_arena(&room, &session->arenas[i], net, steps);
    return session;
}

void bs_session_free(bs_session *session) {
    if (session == NULL) return;
    bs_threads_free(session->pool);
    free(session->arenas);
    free(session->memory);
    free(session->times);
    free(session);
}

size_t bs_session_bytes(const bs_session *session) { return session->bytes; }

void bs_session_profile(bs_session *session) {
    if (session->times == NULL) session->times = calloc((size_t)session->net->count, sizeof(int64_t));
}

void bs_session_times(const bs_session *session, int64_t *nanoseconds) {
    for (int i = 0; i < session->net->count; i++) nanoseconds[i] = session->times ? session->times[i] : 0;
}

/* ---- one sample ---- */

/* The share of firing inputs above which the dense kernel overtakes the event-driven one, as measured on AVX-512. */
static double dense_above(const bs_node *node) {
    return node->value.channels <= 128 ? 0.42 : node->value.channels <= 256 ? 0.52 : 0.64;
}

static int chosen_kernel(const bs_net *net, const bs_node *node, const uint8_t *source, int steps) {
    if (!node->can_planes) return node->can_dense ? BS_DENSE : BS_LANES;
    if (!node->can_dense) return BS_PLANES;
    const bs_value *value = &net->nodes[node->source].value;
    const int64_t ones = net->kernels->ones(source, value->step * (size_t)steps);
    const double all = (double)value->channels * value->height * value->width * value->planes * steps;
    return (double)ones > dense_above(node) * all ? BS_DENSE : BS_PLANES;
}

typedef struct {
    bs_session *session;
    bs_work work;
    arena *arenas; /* scratch of every thread */
    int kernel;
    bool list_source, list_skip;
} layer_job;

static void list_rows(void *context, int part, int parts) {
    layer_job *job = context;
    const bs_kernels *kernels = job->session->net->kernels;
    const bs_work *work = &job->work;
    if (job->list_source) {
        int height = work->source_value->height;
        kernels->lists(work->source_value, work->source, work->steps, &work->lists, height * part / parts,
                       height * (part + 1) / parts);
    }
    if (job->list_skip) {
        int height = work->skip_value->height;
        kernels->lists(work->skip_value, work->skip, work->steps, &work->skip_lists, height * part / parts,
                       height * (part + 1) / parts);
    }
}

static void run_rows(void *context, int part, int parts) {
    layer_job *job = context;
    const bs_kernels *kernels = job->session->net->kernels;
    bs_work work = job->work;
    work.scratch = job->arenas[part].scratch;
    const int height = work.node->value.height, from = height * part / parts, to = height * (part + 1) / parts;
    if (job->kernel == BS_PLANES)
        kernels->planes(&work, from, to);
    else if (job->kernel == BS_DENSE)
        kernels->dense(&work, from, to);
    else
        kernels->lanes(&work, from, to);
}

/* Lists for the event-driven kernel hold offsets of rows, for all others channels. */
static void set_layout(bs_lists *lists, const bs_operator *op, const bs_value *from) {
    lists->op = op;
    lists->line = op ? op->list_line : from->width + 1;
    lists->pad = op ? op->pad_x : 0;
}

static void run_spiking(bs_session *session, arena *own, int index, int sample, bool split) {
    const bs_net *net = session->net;
    const bs_node *node = &net->nodes[index];
    const bs_value *source = &net->nodes[node->source].value;
    layer_job job = {.session = session, .arenas = split ? session->arenas : own};
    bs_work *work = &job.work;
    work->node = node;
    work->source_value = source;
    work->source = own->maps[node->source];
    work->lists = own->lists;
    work->skip_lists = own->skip_lists;
    work->out = own->maps[index];
    work->steps = session->steps;
    work->first_step = session->first_step;
    if (session->states) work->state = session->states + (size_t)sample * net->state_bytes + node->state_offset;
    if (session->record && session->record->membranes && session->record->membranes[index]) {
        size_t neurons = (size_t)node->value.channels * (size_t)node->value.height * (size_t)node->value.width;
        work->membranes = session->record->membranes[index] + (size_t)sample * neurons;
        work->membrane_stride = (size_t)session->batch * neurons;
    }
    if (node->skip != SKIP_NONE) {
        const bs_value *skip = &net->nodes[node->skip_source].value;
        work->skip_value = skip;
        work->skip = own->maps[node->skip_source];
        bool same = node->skip_stride == 1 && node->channel_map == NULL && skip->pixel == node->value.pixel &&
                    skip->height == node->value.height && skip->width == node->value.width;
        if (node->skip == SKIP_PLAIN && skip->planes > 0 && !same) {
            work->joined_from = work->skip;
            work->skip = own->joined;
        }
    }
    job.kernel = chosen_kernel(net, node, work->source, session->steps);
    set_layout(&work->lists, job.kernel == BS_PLANES ? &node->op : NULL, source);
    if (node->skip == SKIP_WEIGHTED)
        set_layout(&work->skip_lists, job.kernel == BS_PLANES ? &node->skip_op : NULL, work->skip_value);
    job.list_source = job.kernel != BS_DENSE && source->planes > 0;
    job.list_skip = node->skip == SKIP_WEIGHTED && work->skip_value->planes > 0;
    if (split) {
        if (job.list_source || job.list_skip) bs_threads_run(session->pool, list_rows, &job);
        bs_threads_run(session->pool, run_rows, &job);
    } else {
        list_rows(&job, 0, 1);
        run_rows(&job, 0, 1);
    }
    if (session->record && session->record->spikes) {
        int64_t spikes = net->kernels->ones(work->out, node->value.step * (size_t)session->steps);
        __atomic_fetch_add(&session->record->spikes[index], spikes, __ATOMIC_RELAXED);
    }
}

static void note_value(const bs_session *session, const arena *own, int index, int sample) {
    const bs_node *node = &session->net->nodes[index];
    const bs_value *value = &node->value;
    const size_t positions = (size_t)value->height * (size_t)value->width,
                 neurons = positions * (size_t)value->channels;
    for (int t = 0; t < session->steps; t++) {
        int32_t *to = session->record->values[index] + ((size_t)t * (size_t)session->batch + (size_t)sample) * neurons;
        const uint8_t *map = own->maps[index] + (value->fixed ? 0 : (size_t)t * value->step);
        for (size_t p = 0; p < positions; p++) {
            for (size_t c = 0; c < (size_t)value->channels; c++) {
                int32_t found = 0;
                if (value->planes == 0) found = (int32_t)((const float *)map)[p * (size_t)value->channels + c];
                const uint8_t *pixel =
                    map + p / (size_t)value->width * value->row + p % (size_t)value->width * (size_t)value->pixel;
                for (int j = 0; j < value->planes; j++)
                    found |= ((pixel[(size_t)j * value->plane + c / 8] >> (c % 8)) & 1) << j;
                to[c * positions + p] = found;
            }
        }
    }
}

static void run_input(bs_session *session, const arena *own, int sample) {
    const bs_net *net = session->net;
    const bs_node *node = &net->nodes[0];
    const size_t neurons = (size_t)node->value.channels * (size_t)node->value.height * (size_t)node->value.width;
    const int steps = node->value.fixed ? 1 : session->steps;
    for (int t = 0; t < steps; t++) {
        const uint8_t *from = session->samples + ((size_t)t * (size_t)session->batch + (size_t)sample) * neurons;
        net->kernels->center(node, from, (float *)(own->maps[0] + (size_t)t * node->value.step));
    }
}

static int64_t clock_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void run_readout(const bs_session *session, arena *own, const bs_node *node, int sample) {
    const bs_net *net = session->net;
    const bs_value *from = &net->nodes[node->source].value;
    const size_t classes = (size_t)node->classes;
    int64_t *logits = session->logits + (size_t)sample * classes, *kept = NULL;
    memset(own->total, 0, classes * sizeof(int64_t));
    int32_t *noted = session->record && session->record->values ? session->record->values[net->count - 1] : NULL;
    for (int t = 0; t < (from->fixed ? 1 : session->steps); t++) {
        int32_t *now = noted ? noted + ((size_t)t * (size_t)session->batch + (size_t)sample) * classes : NULL;
        for (size_t k = 0; now && k < classes; k++) now[k] = (int32_t)-own->total[k];
        net->kernels->readout(node, from, own->maps[node->source] + (size_t)t * from->step, own->total);
        for (size_t k = 0; now && k < classes; k++) now[k] += (int32_t)own->total[k];
    }
    for (int t = 1; noted && from->fixed && t < session->steps; t++)
        memcpy(noted + ((size_t)t * (size_t)session->batch + (size_t)sample) * classes,
               noted + (size_t)sample * classes, classes * sizeof(int32_t));
    if (session->states) kept = (int64_t *)(session->states + (size_t)sample * net->state_bytes + net->total_offset);
    for (size_t k = 0; k < classes; k++) {
        int64_t sum = own->total[k] * (from->fixed ? session->steps : 1);
        if (kept) sum = kept[k] += sum;
        logits[k] = sum + node->bias[k];
    }
    if (kept) kept[classes]++;
}

static void run_sample(bs_session *session, arena *own, int sample, bool split) {
    const bs_net *net = session->net;
    for (int i = 0; i < net->count; i++) {
        const bs_node *node = &net->nodes[i];
        const int64_t began = session->times ? clock_now() : 0;
        if (node->kind == NODE_INPUT) {
            run_input(session, own, sample);
        } else if (node->kind == NODE_SPIKING) {
            run_spiking(session, own, i, sample, split);
        } else if (node->kind == NODE_POOL) {
            const bs_value *from = &net->nodes[node->source].value;
            for (size_t t = 0; t < steps_kept(&node->value, session->steps); t++)
                net->kernels->pool(node, from, own->maps[node->source] + t * from->step,
                                   own->maps[i] + t * node->value.step);
        } else if (node->kind == NODE_READOUT) {
            run_readout(session, own, node, sample);
        }
        if (session->times) __atomic_fetch_add(&session->times[i], clock_now() - began, __ATOMIC_RELAXED);
        if (session->record && session->record->values && session->record->values[i] && node->kind != NODE_READOUT)
            note_value(session, own, i, sample);
    }
}

/* ---- batches ---- */

static void run_samples(void *context, int part, int parts) {
    bs_session *session = context;
    (void)parts;
    for (;;) {
        int sample = __atomic_fetch_add(&session->next, 1, __ATOMIC_RELAXED);
        if (sample >= session->batch) return;
        run_sample(session, &session->arenas[part], sample, false);
    }
}

static void run_batch(bs_session *session) {
    if (session->threads > 1 && session->batch >= session->threads) {
        session->next = 0;
        bs_threads_run(session->pool, run_samples, session);
    } else {
        for (int sample = 0; sample < session->batch; sample++)
            run_sample(session, &session->arenas[0], sample, session->threads > 1);
    }
}

void bs_predict(bs_session *session, const uint8_t *samples, int batch, int64_t *logits, const bs_record *record) {
    session->samples = samples;
    session->states = NULL;
    session->batch = batch;
    session->first_step = 0;
    session->logits = logits;
    session->record = record;
    run_batch(session);
}

void bs_step(bs_session *session, const uint8_t *frame, int batch, uint8_t *states, int64_t *logits,
             const bs_record *record) {
    int64_t done = 0;
    if (batch > 0) bs_state_total(session->net, states, NULL, &done, 0);
    session->samples = frame;
    session->states = states;
    session->batch = batch;
    session->first_step = (int)done;
    session->logits = logits;
    session->record = record;
    run_batch(session);
}

/* ---- states ---- */

size_t bs_state_bytes(const bs_net *net) { return net->state_bytes; }

void bs_state_membrane(const bs_net *net, uint8_t *state, int index, int32_t *values, int write) {
    const bs_node *node = &net->nodes[index];
    const bs_value *value = &node->value;
    const int bits = node->fire.bits;
    uint8_t *planes = state + node->state_offset;
    if (write) memset(planes, 0, node->state_bytes);
    for (int c = 0; c < value->channels; c++) {
        for (int y = 0; y < value->height; y++) {
            for (int x = 0; x < value->width; x++, values++) {
                uint8_t *byte = planes + (size_t)y * value->row + (size_t)x * (size_t)value->pixel + (size_t)c / 8;
                int32_t found = 0;
                for (int k = 0; k < bits; k++, byte += value->plane) {
                    if (write)
                        *byte = (uint8_t)(*byte | ((((uint32_t)*values >> k) & 1) << (c % 8)));
                    else
                        found |= ((*byte >> (c % 8)) & 1) << k;
                }
                if (!write) *values = found - ((found >> (bits - 1)) << bits);
            }
        }
    }
}

void bs_state_total(const bs_net *net, uint8_t *state, int64_t *total, int64_t *steps, int write) {
    int64_t *kept = (int64_t *)(state + net->total_offset);
    const size_t classes = (size_t)bs_net_classes(net);
    if (write) {
        memcpy(kept, total, classes * sizeof(int64_t));
        kept[classes] = *steps;
    } else {
        if (total) memcpy(total, kept, classes * sizeof(int64_t));
        if (steps) *steps = kept[classes];
    }
}
