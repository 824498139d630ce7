/* The memory of one call, and what both arithmetics share. Part of stdp.c. */

/* Rows of weights and arrays of neurons are padded to whole vectors. Padding has no weights, so it never spikes. */
enum { ALIGNED = 64 };

typedef struct work {
    void *memory;
    size_t stride;      /* neurons with their padding */
    char *weights;      /* [inputs][stride] */
    float *potential;   /* [stride], or int32 */
    float *theta;
    float *current;
    float *sums;
    int32_t *refractory;
    int32_t *scale;
    uint32_t *golden;   /* neuron * GOLDEN */
    int32_t *reached;   /* -1 where a threshold is reached, 0 elsewhere */
    int32_t *spiked;    /* [neurons]: step of the last spike, -1 for none */
    int32_t *fired;     /* [neurons]: those that have spiked in this image, in order */
    int32_t *seen;      /* [inputs]: step of the last spike, -1 for none */
    uint32_t *active;   /* [inputs]: those that have spiked in this image, in order */
    uint32_t *drawn;    /* [inputs] */
    int32_t *less;      /* [inputs]: depression of the winner's weights in a step, 0 between steps */
    uint32_t *places, *rates; /* [inputs]: pixels that can spike */
    uint32_t *by_step;  /* [steps] */
    uint32_t *lists[BLOCK]; /* [inputs] each */
    int fired_count, active_count;
} work;

static void *part(char **at, size_t bytes) {
    void *found = *at;
    *at += (bytes + ALIGNED - 1) / ALIGNED * ALIGNED + ALIGNED; /* a vector more: writers round up */
    return found;
}

static bool make_work(work *to, const bs_stdp *net) {
    const size_t inputs = (size_t)net->inputs, item = net->kind == BS_STDP_FLOAT ? 4 : (size_t)net->kind;
    const size_t stride = ((size_t)net->neurons + ALIGNED - 1) / ALIGNED * ALIGNED;
    const size_t steps = ((size_t)net->steps + 4 * LANES) * 4;
    const size_t bytes = inputs * stride * item + 10 * (stride * 4 + 2 * ALIGNED) + (6 + BLOCK) * (inputs * 4 + 2 * ALIGNED) +
                         steps + 16 * ALIGNED;
    to->memory = aligned_alloc(ALIGNED, (bytes + ALIGNED - 1) / ALIGNED * ALIGNED);
    if (to->memory == NULL) return false;
    memset(to->memory, 0, bytes);
    char *at = to->memory;
    to->stride = stride;
    to->weights = part(&at, inputs * stride * item);
    to->potential = part(&at, stride * 4);
    to->theta = part(&at, stride * 4);
    to->current = part(&at, stride * 4);
    to->sums = part(&at, stride * 4);
    to->refractory = part(&at, stride * 4);
    to->scale = part(&at, stride * 4);
    to->golden = part(&at, stride * 4);
    to->reached = part(&at, stride * 4);
    to->spiked = part(&at, stride * 4);
    to->fired = part(&at, stride * 4);
    to->seen = part(&at, inputs * 4);
    to->active = part(&at, inputs * 4);
    to->drawn = part(&at, inputs * 4);
    to->less = part(&at, inputs * 4);
    to->places = part(&at, inputs * 4);
    to->rates = part(&at, inputs * 4);
    for (int s = 0; s < BLOCK; s++) to->lists[s] = part(&at, inputs * 4);
    to->by_step = part(&at, steps);
    for (size_t j = 0; j < stride; j++) to->golden[j] = (uint32_t)j * GOLDEN;
    for (size_t i = 0; i < inputs; i++)
        memcpy(to->weights + i * stride * item, (const char *)net->weights + i * (size_t)net->neurons * item,
               (size_t)net->neurons * item);
    return true;
}

static void weights_back(const work *from, const bs_stdp *net) {
    const size_t item = net->kind == BS_STDP_FLOAT ? 4 : (size_t)net->kind, row = (size_t)net->neurons * item;
    for (size_t i = 0; i < (size_t)net->inputs; i++)
        memcpy((char *)net->weights + i * row, from->weights + i * from->stride * item, row);
}

/* An image begins: nothing has spiked. */
static void begin(work *on, const bs_stdp *net) {
    memset(on->potential, 0, on->stride * 4);
    memset(on->sums, 0, on->stride * 4);
    memset(on->refractory, 0, on->stride * 4);
    memset(on->spiked, 0xFF, on->stride * 4);
    memset(on->seen, 0xFF, (size_t)net->inputs * 4);
    on->fired_count = on->active_count = 0;
}

/* Notes a step's spikes of the inputs, and of the winner if there is one. */
INLINE void note(work *on, const uint32_t *list, int count, int winner, int step) {
    for (int a = 0; a < count; a++) {
        const uint32_t i = list[a];
        if (on->seen[i] < 0) on->active[on->active_count++] = i;
        on->seen[i] = step;
    }
    if (winner < 0) return;
    if (on->spiked[winner] < 0) on->fired[on->fired_count++] = winner;
    on->spiked[winner] = step;
}

/* Finds the spikes of a block's steps. */
static void load_block(const bs_stdp *net, const bs_stdp_images *images, work *on, int64_t number, int block,
                       int bright_count, int *counts) {
    if (images->trains != NULL) {
        const size_t size = (size_t)net->steps * (size_t)net->inputs;
        given_block(net, images->trains + (size_t)number * size, block, on->lists, counts);
    } else {
        spikes_of_block(net, images->learn ? LEARNING_INPUT : RESPONSE_INPUT, images->numbers[number], block, on->places,
                        on->rates, bright_count, on->lists, counts);
    }
}
