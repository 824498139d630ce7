/* A libFuzzer target: damaged programs through the engine's plan builder, and through a run of what it accepts.
 *
 * An input is one byte of choices (build, kernel, order of execution) and a program. Whatever is refused must be refused
 * with a sentence; whatever is accepted must run without touching memory that is not its own. Run it with `make fuzz`.
 */
#include <stdlib.h>
#include <string.h>

#include "net.h"

/* Additions and window places that one run may take; larger nets are built, and only not run, to keep the pace. */
static const int64_t most_work = 1 << 19;

static int64_t map_size(const bs_value *value) { return (int64_t)value->channels * value->height * value->width; }

static int64_t work_of(const bs_net *net) {
    int64_t work = 0;
    for (int i = 0; i < net->count && work < most_work; i++) {
        const bs_node *node = &net->nodes[i];
        int64_t outputs = node->kind == NODE_READOUT ? node->classes : map_size(&node->value);
        int64_t each = 1;
        if (node->kind == NODE_SPIKING || node->kind == NODE_READOUT)
            each += (int64_t)node->op.inputs * node->op.kernel_y * node->op.kernel_x * node->op.bits;
        if (node->kind == NODE_SPIKING && node->skip == SKIP_WEIGHTED)
            each += (int64_t)node->skip_op.inputs * node->skip_op.kernel_y * node->skip_op.kernel_x * node->skip_op.bits;
        if (node->kind == NODE_POOL) each += (int64_t)node->pool_y * node->pool_x;
        if (outputs > most_work / each) return most_work;
        work += outputs * each;
    }
    return work;
}

static void run(const bs_net *net, int events, int choice) {
    char error[200];
    int step_by_step = choice & 64;
    int steps = step_by_step ? 1 : net->steps > 0 ? net->steps : 2;
    if (steps > 4) return; /* sessions of many steps are only large */
    bs_session *session = bs_session_new(net, steps, (choice & 160) == 160 ? 2 : 1, error, sizeof error);
    if (session == NULL) return;
    if (work_of(net) < most_work) {
        enum { BATCH = 2 };
        size_t frame = (size_t)map_size(&net->nodes[0].value);
        size_t frames = BATCH * (events && !step_by_step ? (size_t)steps : 1);
        uint8_t *samples = malloc(frame * frames);
        int64_t *logits = calloc((size_t)(BATCH * bs_net_classes(net)), sizeof *logits);
        uint8_t *states = calloc(BATCH, bs_state_bytes(net));
        if (samples != NULL && logits != NULL && states != NULL) {
            int bound = (int)net->nodes[0].value.bound;
            for (size_t i = 0; i < frame * frames; i++) samples[i] = (uint8_t)((i * 2654435761u >> 7) % (unsigned)(bound + 1));
            if (step_by_step) {
                bs_step(session, samples, BATCH, states, logits, NULL);
                bs_step(session, samples, BATCH, states, logits, NULL);
            } else {
                bs_predict(session, samples, BATCH, logits, NULL);
            }
        }
        free(samples);
        free(logits);
        free(states);
    }
    bs_session_free(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    int choice = data[0], build = (choice >> 2) % 4 % bs_build_count();
    if (!bs_build_usable(build)) return 0;
    char error[200] = "";
    /* A copy that ends where the program ends, and no further. */
    uint8_t *program = malloc(size - 1 ? size - 1 : 1);
    if (program == NULL) return 0;
    memcpy(program, data + 1, size - 1);
    bs_net *net = bs_net_new(program, size - 1, build, choice & 3, error, sizeof error);
    free(program);
    if (net == NULL) {
        if (error[0] == 0) abort(); /* refused without a word */
        return 0;
    }
    run(net, !net->nodes[0].image, choice);
    bs_net_free(net);
    return 0;
}
