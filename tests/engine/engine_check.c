/* Runs cases that Python has written through every build and kernel that this processor can run, in both orders, and
 * compares every logit, value and membrane. For targets without Python, and for sanitizers without Python's leaks.
 *
 *   engine_check [--require BUILD] CASE...     exit 0: equal, 1: a difference, 2: a case cannot be read
 *
 * A case is little-endian: "BSCHECK1"; five int64: program bytes, events (0/1), steps, batch, bytes of one frame;
 * the program; the samples, uint8 [B, frame] or [T, B, frame]; then arrays, each an int64 count and its numbers:
 * logits int64 [B, K], and for every node values int32 [T, B, ...] and membranes int32 [T, B, ...], empty if not noted.
 * tests/engine/engine_cases.py writes them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitspike_engine.h"

typedef struct {
    const uint8_t *program, *samples;
    size_t size;
    int events, steps, batch, classes, nodes;
    size_t frame;
    const uint8_t *logits;
    int64_t *value_counts, *membrane_counts;
    const uint8_t **values, **membranes;
} test_case;

typedef struct {
    const char *file, *build, *order;
    int kernel, threads;
} setting;

static const char *const kernel_names[] = {"auto", "planes", "dense", "lanes"};

static void *need(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (memory == NULL) {
        fprintf(stderr, "there is not enough memory\n");
        exit(2);
    }
    return memory;
}

/* ---- reading ---- */

typedef struct {
    const uint8_t *at, *end;
} cursor;

static const uint8_t *take(cursor *from, int64_t size) {
    if (size < 0 || from->end - from->at < size) {
        fprintf(stderr, "the case ends too early\n");
        exit(2);
    }
    const uint8_t *found = from->at;
    from->at += size;
    return found;
}

static int64_t number(cursor *from) {
    int64_t value;
    memcpy(&value, take(from, 8), 8);
    return value;
}

static const uint8_t *array(cursor *from, int64_t size, int64_t *count) {
    *count = number(from);
    if (*count < 0 || *count > (INT64_MAX >> 4)) *count = INT64_MAX >> 4; /* more than there is */
    return take(from, *count * size);
}

static uint8_t *read_file(const char *name, size_t *size) {
    FILE *file = fopen(name, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        fprintf(stderr, "%s cannot be read\n", name);
        exit(2);
    }
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *content = need(*size, 1);
    if (fread(content, 1, *size, file) != *size) {
        fprintf(stderr, "%s cannot be read\n", name);
        exit(2);
    }
    fclose(file);
    return content;
}

static test_case read_case(const uint8_t *content, size_t size, const char *name) {
    cursor from = {content, content + size};
    test_case it = {0};
    if (memcmp(take(&from, 8), "BSCHECK1", 8) != 0) {
        fprintf(stderr, "%s is not a case\n", name);
        exit(2);
    }
    it.size = (size_t)number(&from);
    it.events = (int)number(&from);
    it.steps = (int)number(&from);
    it.batch = (int)number(&from);
    it.frame = (size_t)number(&from);
    it.program = take(&from, (int64_t)it.size);
    it.samples = take(&from, (int64_t)it.frame * it.batch * (it.events ? it.steps : 1));
    int64_t count;
    it.logits = array(&from, 8, &count);
    it.classes = (int)(count / it.batch);
    it.nodes = (int)number(&from);
    it.values = need((size_t)it.nodes, sizeof *it.values);
    it.membranes = need((size_t)it.nodes, sizeof *it.membranes);
    it.value_counts = need((size_t)it.nodes, sizeof *it.value_counts);
    it.membrane_counts = need((size_t)it.nodes, sizeof *it.membrane_counts);
    for (int node = 0; node < it.nodes; node++) {
        it.values[node] = array(&from, 4, &it.value_counts[node]);
        it.membranes[node] = array(&from, 4, &it.membrane_counts[node]);
    }
    return it;
}

/* ---- comparing ---- */

static void where(const setting *with) {
    fprintf(stderr, "%s: build %s, kernel %s, %d threads, %s: ", with->file, with->build, kernel_names[with->kernel],
            with->threads, with->order);
}

static int same_logits(const setting *with, const test_case *it, const int64_t *found) {
    for (int i = 0; i < it->batch * it->classes; i++) {
        int64_t wanted;
        memcpy(&wanted, it->logits + 8 * (size_t)i, 8);
        if (found[i] == wanted) continue;
        where(with);
        fprintf(stderr, "sample %d, class %d: logit %" PRId64 ", expected %" PRId64 "\n", i / it->classes, i % it->classes,
                found[i], wanted);
        return 0;
    }
    return 1;
}

/* `step` < 0: all steps; else only that one was noted. */
static int same(const setting *with, const test_case *it, const char *what, int node, const uint8_t *expected,
                int64_t count, const int32_t *found, int step) {
    int64_t per_step = count / it->steps, from = step < 0 ? 0 : per_step * step, size = step < 0 ? count : per_step;
    for (int64_t i = 0; i < size; i++) {
        int32_t wanted;
        memcpy(&wanted, expected + 4 * (size_t)(from + i), 4);
        if (found[i] == wanted) continue;
        int64_t at = from + i, neuron = at % per_step;
        where(with);
        fprintf(stderr, "%s of node %d, step %" PRId64 ", sample %" PRId64 ", neuron %" PRId64 ": %d, expected %d\n", what, node,
                at / per_step, neuron / (per_step / it->batch), neuron % (per_step / it->batch), found[i], wanted);
        return 0;
    }
    return 1;
}

static bs_record make_record(const test_case *it) {
    bs_record record = {need((size_t)it->nodes, sizeof(int32_t *)), need((size_t)it->nodes, sizeof(int32_t *)),
                        need((size_t)it->nodes, sizeof(int64_t))};
    for (int node = 0; node < it->nodes; node++) {
        if (it->value_counts[node]) record.values[node] = need((size_t)it->value_counts[node], 4);
        if (it->membrane_counts[node]) record.membranes[node] = need((size_t)it->membrane_counts[node], 4);
    }
    return record;
}

static void free_record(const test_case *it, bs_record *record) {
    for (int node = 0; node < it->nodes; node++) {
        free(record->values[node]);
        free(record->membranes[node]);
    }
    free(record->values);
    free(record->membranes);
    free(record->spikes);
}

static int same_record(const setting *with, const test_case *it, const bs_record *record, int step) {
    for (int node = 0; node < it->nodes; node++) {
        if (it->value_counts[node] &&
            !same(with, it, "value", node, it->values[node], it->value_counts[node], record->values[node], step))
            return 0;
        if (it->membrane_counts[node] &&
            !same(with, it, "membrane", node, it->membranes[node], it->membrane_counts[node], record->membranes[node], step))
            return 0;
        if (step >= 0 || !it->membrane_counts[node] || !it->value_counts[node]) continue;
        int64_t spikes = 0;
        for (int64_t i = 0; i < it->value_counts[node]; i++) spikes += record->values[node][i];
        if (spikes != record->spikes[node]) {
            where(with);
            fprintf(stderr, "node %d: counted %" PRId64 " spikes, there are %" PRId64 "\n", node, record->spikes[node], spikes);
            return 0;
        }
    }
    return 1;
}

/* ---- running ---- */

static bs_session *session_of(const setting *with, const bs_net *net, int steps) {
    char error[256] = "";
    bs_session *session = bs_session_new(net, steps, with->threads, error, sizeof error);
    if (session == NULL) {
        where(with);
        fprintf(stderr, "no session: %s\n", error);
    }
    return session;
}

static int by_layer(setting *with, const test_case *it, const bs_net *net) {
    with->order = "layer by layer";
    bs_session *session = session_of(with, net, it->steps);
    if (session == NULL) return 0;
    int64_t *logits = need((size_t)(it->batch * it->classes), sizeof *logits);
    bs_record record = make_record(it);
    bs_predict(session, it->samples, it->batch, logits, &record);
    int equal = same_record(with, it, &record, -1) && same_logits(with, it, logits);
    memset(logits, 0, (size_t)(it->batch * it->classes) * sizeof *logits);
    bs_predict(session, it->samples, it->batch, logits, NULL); /* nothing noted, and nothing left of the first run */
    with->order = "layer by layer, again";
    equal = equal && same_logits(with, it, logits);
    free_record(it, &record);
    free(logits);
    bs_session_free(session);
    return equal;
}

static int by_step(setting *with, const test_case *it, const bs_net *net) {
    with->order = "step by step";
    bs_session *session = session_of(with, net, 1);
    if (session == NULL) return 0;
    int64_t *logits = need((size_t)(it->batch * it->classes), sizeof *logits);
    uint8_t *states = need((size_t)it->batch, bs_state_bytes(net));
    bs_record record = make_record(it);
    int equal = 1;
    for (int step = 0; equal && step < it->steps; step++) {
        const uint8_t *frame = it->samples + (it->events ? (size_t)step * (size_t)it->batch * it->frame : 0);
        bs_step(session, frame, it->batch, states, logits, &record);
        equal = same_record(with, it, &record, step);
    }
    equal = equal && same_logits(with, it, logits);
    free_record(it, &record);
    free(states);
    free(logits);
    bs_session_free(session);
    return equal;
}

static int run_case(const char *file, int *compared) {
    size_t size;
    uint8_t *content = read_file(file, &size);
    test_case it = read_case(content, size, file);
    int equal = 1;
    for (int build = 0; equal && build < bs_build_count(); build++) {
        if (!bs_build_usable(build)) continue;
        for (int kernel = BS_AUTO; equal && kernel <= BS_LANES; kernel++) {
            setting with = {file, bs_build_name(build), "", kernel, 1};
            char error[256] = "";
            bs_net *net = bs_net_new(it.program, it.size, build, kernel, error, sizeof error);
            if (net == NULL || bs_net_nodes(net) != it.nodes || bs_net_classes(net) != it.classes) {
                where(&with);
                fprintf(stderr, "no net of %d nodes and %d classes: %s\n", it.nodes, it.classes, error);
                equal = 0;
            }
            for (int threads = 1; equal && threads <= 3; threads += 2) {
                with.threads = threads;
                equal = by_layer(&with, &it, net) && by_step(&with, &it, net);
                *compared += 1;
            }
            bs_net_free(net);
        }
    }
    free(it.values);
    free(it.membranes);
    free(it.value_counts);
    free(it.membrane_counts);
    free(content);
    return equal;
}

static int has_build(const char *name) {
    for (int build = 0; build < bs_build_count(); build++)
        if (strcmp(bs_build_name(build), name) == 0 && bs_build_usable(build)) return 1;
    return 0;
}

int main(int count, char **arguments) {
    int first = 1, compared = 0;
    if (count > 2 && strcmp(arguments[1], "--require") == 0) {
        if (!has_build(arguments[2])) {
            fprintf(stderr, "the build %s is not there or does not run here\n", arguments[2]);
            return 1;
        }
        first = 3;
    }
    for (int i = first; i < count; i++)
        if (!run_case(arguments[i], &compared)) return 1;
    printf("%d cases, %d settings, all equal\n", count - first, compared);
    return compared > 0 ? 0 : 2;
}
