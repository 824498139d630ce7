/* The network in float32. Part of stdp.c; compiled without fusing products into sums, since the definition does not. */

/* sums[j] = W of the listed inputs, added in order. */
static void add_rows_float(const float *weights, size_t stride, const uint32_t *list, int count, float *sums) {
    enum { WIDE = 4 }; /* vectors at once; the stride is a multiple */
    for (size_t j = 0; j < stride; j += WIDE * LANES) {
        reals total[WIDE] = {{0}};
        for (int a = 0; a < count; a++) {
            const float *row = weights + list[a] * stride + j;
#pragma GCC unroll 4
            for (int w = 0; w < WIDE; w++) total[w] += *(const reals_loose *)(row + w * LANES);
        }
#pragma GCC unroll 4
        for (int w = 0; w < WIDE; w++) *(reals_loose *)(sums + j + (size_t)(w * LANES)) = total[w];
    }
}

/* Potentials of one step; whether any threshold is reached. */
static bool integrate_float(const bs_stdp *net, work *on, const float *current, bool learn) {
    numbers any = {0};
    for (size_t j = 0; j < on->stride; j += LANES) {
        reals u = *(reals *)(on->potential + j) * net->float_leak;
        reals theta = *(reals *)(on->theta + j);
        if (learn) *(reals *)(on->theta + j) = theta = theta * net->float_theta_leak;
        const numbers wait = *(numbers *)(on->refractory + j);
        const numbers idle = wait == 0;
        u += (reals)((numbers)*(const reals_loose *)(current + j) & idle);
        *(numbers *)(on->refractory + j) = wait - (idle + 1); /* idle is -1: down to 0 */
        *(reals *)(on->potential + j) = u;
        const numbers reached = u >= net->float_threshold + theta;
        *(numbers *)(on->reached + j) = reached;
        any |= reached;
    }
    int32_t found = 0;
    for (int l = 0; l < LANES; l++) found |= any[l];
    return found != 0;
}

static int fire_float(const bs_stdp *net, work *on, bool learn) {
    int winner = -1;
    float most = 0;
    for (int j = 0; j < net->neurons; j++) {
        if (!on->reached[j]) continue;
        const float excess = on->potential[j] - (net->float_threshold + on->theta[j]);
        if (winner < 0 || (net->strongest && excess > most)) winner = j, most = excess;
        on->refractory[j] = net->refractory;
        on->potential[j] = net->float_reset;
        if (learn) on->theta[j] += net->float_theta_plus;
    }
    return winner;
}

static void learn_float(const bs_stdp *net, work *on, const uint32_t *list, int count, int winner, int step) {
    float *weights = (float *)on->weights;
    for (int f = 0; f < on->fired_count; f++) {
        const int neuron = on->fired[f];
        const float by = net->float_trace[step - on->spiked[neuron]] * net->rate_pre;
        if (neuron == winner) { /* its weights are bounded behind potentiation */
            for (int a = 0; a < count; a++) weights[list[a] * on->stride + (size_t)neuron] -= by;
            continue;
        }
        for (int a = 0; a < count; a++) {
            float *at = weights + list[a] * on->stride + (size_t)neuron;
            const float less = *at - by;
            *at = less < 0 ? 0 : less > 1 ? 1 : less;
        }
    }
    if (winner < 0) return;
    for (int a = 0; a < on->active_count; a++) {
        const uint32_t i = on->active[a];
        float *at = weights + i * on->stride + (size_t)winner;
        const float more = *at + net->rate_post * net->float_trace[step - on->seen[i]];
        *at = more < 0 ? 0 : more > 1 ? 1 : more;
    }
}

/* Brings one neuron's weights to their sum; whether some had to be cut at 1. */
static bool settle_float(const bs_stdp *net, work *on, int neuron) {
    float *column = (float *)on->weights + neuron;
    float total = 0, most = 0;
    for (size_t i = 0; i < (size_t)net->inputs; i++) total += column[i * on->stride];
    const float factor = total > 0 ? net->norm / total : 1;
    for (size_t i = 0; i < (size_t)net->inputs; i++) {
        const float scaled = column[i * on->stride] * factor;
        most = scaled > most ? scaled : most;
        column[i * on->stride] = scaled > 1 ? 1 : scaled;
    }
    return most > 1;
}

static void run_float(const bs_stdp *net, const bs_stdp_images *images, work *on) {
    const bool learn = images->learn;
    int counts[BLOCK];
    memcpy(on->theta, net->theta, (size_t)net->neurons * 4);
    for (int64_t number = 0; number < images->count; number++) {
        int16_t *winners = images->winners + number * net->steps;
        const int lit = images->trains ? 0 : bright(net, images->pixels + number * net->inputs, on->places, on->rates);
        begin(on, net);
        for (int step = 0; step < net->steps; step++) {
            if (step % BLOCK == 0) load_block(net, images, on, number, step / BLOCK, lit, counts);
            const uint32_t *list = on->lists[step % BLOCK];
            const int count = counts[step % BLOCK], before = step >= net->delay ? winners[step - net->delay] : -1;
            if (before >= 0) {
                const float own = on->sums[before];
                for (size_t j = 0; j < on->stride; j++) on->sums[j] -= net->float_inhibition;
                on->sums[before] = own;
            }
            const int winner = integrate_float(net, on, on->sums, learn) ? fire_float(net, on, learn) : -1;
            winners[step] = (int16_t)winner;
            if (learn) {
                note(on, list, count, winner, step);
                learn_float(net, on, list, count, winner, step);
            }
            add_rows_float((const float *)on->weights, on->stride, list, count, on->sums);
        }
        if (!learn) continue;
        for (int f = 0; f < on->fired_count; f++) net->unsettled[on->fired[f]] = 1;
        for (int j = 0; j < net->neurons; j++)
            if (net->unsettled[j]) net->unsettled[j] = settle_float(net, on, j);
    }
    if (learn) {
        weights_back(on, net);
        memcpy(net->theta, on->theta, (size_t)net->neurons * 4);
    }
}
