/* Training's part of the C interface: hands calls to the kernels of a build. */
#include "kernels.h"

int bs_train_moments(int build, const void *x, int half, int64_t rows, int64_t channels, double *mean,
                     double *squares) {
    return bs_training_of(build)->moments(x, half, rows, channels, mean, squares);
}

int64_t bs_train_forward(int build, const bs_layer *layer, int64_t from, int64_t to) {
    return bs_training_of(build)->forward(layer, from, to);
}

int bs_train_backward(int build, const bs_layer *layer, int64_t from, int64_t to, double *totals) {
    return bs_training_of(build)->backward(layer, from, to, totals);
}

void bs_train_affine(int build, const void *flow, const void *x, int half, int64_t rows, int64_t channels,
                     const float *a, const float *b, const float *c, void *to) {
    bs_training_of(build)->affine(flow, x, half, rows, channels, a, b, c, to);
}

int bs_train_pack(int build, const void *from, int half, int64_t count, uint8_t *bits) {
    return bs_training_of(build)->pack(from, half, count, bits);
}

void bs_train_unpack(int build, const uint8_t *bits, int half, int64_t count, void *to) {
    bs_training_of(build)->unpack(bits, half, count, to);
}
