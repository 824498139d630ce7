/* The network in integers, for one type `weight` of its weights; functions are NAMED after it. Part of stdp.c. */

static void NAMED(learn)(const bs_stdp *net, work *on, uint32_t image, const uint32_t *list, int count, int winner,
                         int step) {
    weight *weights = (weight *)on->weights;
    const int shift = net->update_shift;
    const bool random = net->rounding == BS_STDP_STOCHASTIC;
    if (random && on->fired_count > 0)
        words_of(net, WEIGHTS, image, (uint32_t)step, 0, list, count, on->drawn);
    for (int f = 0; f < on->fired_count; f++) {
        const int neuron = on->fired[f];
        const uint32_t by = (uint32_t)(net->down * net->trace[step - on->spiked[neuron]]);
        if (neuron == winner) continue;
        for (int a = 0; a < count; a++) {
            const uint32_t drawn = random ? on->drawn[a] + on->golden[neuron] : 0;
            weight *at = weights + list[a] * on->stride + (size_t)neuron;
            const int32_t less = *at - (int32_t)((by + offset_of(net, drawn, shift)) >> shift);
            *at = (weight)(less < 0 ? 0 : less);
        }
    }
    if (winner < 0) return;
    /* Depression at the inputs of this step, in a table by input, then potentiation; bounded once behind both. */
    int32_t *less = on->less;
    const uint32_t by = (uint32_t)(net->down * net->trace[0]);
    for (int a = 0; a < count; a++) {
        const uint32_t drawn = random ? on->drawn[a] + on->golden[winner] : 0;
        less[list[a]] = (int32_t)((by + offset_of(net, drawn, shift)) >> shift);
    }
    if (random) words_of(net, WEIGHTS, image, (uint32_t)step, 1, on->active, on->active_count, on->drawn);
    for (int a = 0; a < on->active_count; a++) {
        const uint32_t i = on->active[a];
        const uint32_t drawn = random ? on->drawn[a] + on->golden[winner] : 0;
        const uint32_t more = (uint32_t)(net->up * net->trace[step - on->seen[i]]);
        weight *at = weights + i * on->stride + (size_t)winner;
        const int32_t sum = *at - less[i] + (int32_t)((more + offset_of(net, drawn, shift)) >> shift);
        *at = (weight)(sum < 0 ? 0 : sum > net->levels ? net->levels : sum);
    }
    for (int a = 0; a < count; a++) less[list[a]] = 0;
}

/* The neurons that spiked: their weights are scaled down if their sum is too large, and their scales follow. */
static void NAMED(settle)(const bs_stdp *net, work *on, uint32_t image) {
    weight *weights = (weight *)on->weights;
    bool drawn = false;
    for (int f = 0; f < on->fired_count; f++) {
        const int neuron = on->fired[f];
        weight *column = weights + neuron;
        uint64_t total = 0;
        for (size_t i = 0; i < (size_t)net->inputs; i++) total += column[i * on->stride];
        if (total > (uint64_t)net->limit) {
            if (!drawn && net->rounding == BS_STDP_STOCHASTIC) {
                for (int i = 0; i < net->inputs; i++) on->places[i] = (uint32_t)i;
                words_of(net, WEIGHTS, image, (uint32_t)net->steps, 2, on->places, net->inputs, on->drawn);
                drawn = true;
            }
            const uint64_t factor = ((uint64_t)net->target << RESCALE_BITS) / total;
            total = 0;
            for (size_t i = 0; i < (size_t)net->inputs; i++) {
                weight *at = column + i * on->stride;
                const uint32_t offset = offset_of(net, on->drawn[i] + on->golden[neuron], RESCALE_BITS);
                *at = (weight)((*at * factor + offset) >> RESCALE_BITS);
                total += *at;
            }
        }
        const uint64_t scale = total ? ((uint64_t)net->numerator + total / 2) / total : (uint64_t)net->scale_most;
        on->scale[neuron] = scale > (uint64_t)net->scale_most ? net->scale_most : (int32_t)scale;
    }
}

static void NAMED(run)(const bs_stdp *net, const bs_stdp_images *images, work *on) {
    const bool learn = images->learn, random = net->rounding == BS_STDP_STOCHASTIC;
    int32_t *theta = (int32_t *)on->theta, *current = (int32_t *)on->current;
    int counts[BLOCK];
    for (int j = 0; j < net->neurons; j++) theta[j] = ((const uint16_t *)net->theta)[j];
    for (int j = 0; j < net->neurons; j++) on->scale[j] = net->scale[j];
    for (int64_t number = 0; number < images->count; number++) {
        const uint32_t image = images->numbers[number];
        int16_t *winners = images->winners + number * net->steps;
        const int lit = images->trains ? 0 : bright(net, images->pixels + number * net->inputs, on->places, on->rates);
        int32_t largest = 0;
        for (int j = 0; j < net->neurons; j++) largest = on->scale[j] > largest ? on->scale[j] : largest;
        const bool wide = (uint64_t)largest * (uint64_t)net->levels * (uint64_t)net->inputs >> 31 != 0 || net->scale_shift > 31;
        begin(on, net);
        if (random) words_by_step(net, learn ? NEURONS : RESPONSE_NEURONS, image, on->by_step);
        for (int step = 0; step < net->steps; step++) {
            if (step % BLOCK == 0) load_block(net, images, on, number, step / BLOCK, lit, counts);
            const uint32_t *list = on->lists[step % BLOCK], word = on->by_step[step];
            const int count = counts[step % BLOCK], before = step >= net->delay ? winners[step - net->delay] : -1;
            currents(net, on, wide);
            if (before >= 0) {
                const int32_t own = current[before];
                for (size_t j = 0; j < on->stride; j++) current[j] -= net->inhibition;
                current[before] = own;
            }
            const int winner = integrate_integer(net, on, word) ? fire_integer(net, on, word, learn) : -1;
            winners[step] = (int16_t)winner;
            if (learn) {
                note(on, list, count, winner, step);
                NAMED(learn)(net, on, image, list, count, winner, step);
            }
            NAMED(add_rows)((const weight *)on->weights, on->stride, list, count, (int32_t *)on->sums);
        }
        if (!learn) continue;
        NAMED(settle)(net, on, image);
        settle_theta(net, on, image);
    }
    if (!learn) return;
    weights_back(on, net);
    for (int j = 0; j < net->neurons; j++) ((uint16_t *)net->theta)[j] = (uint16_t)theta[j];
    for (int j = 0; j < net->neurons; j++) net->scale[j] = (uint16_t)on->scale[j];
}
