/* The engine's C interface: plain pointers and numbers, loaded by ctypes and usable from any language.
 *
 *   program --bs_net_new--> net (read-only, may be shared) --bs_session_new--> session (one caller at a time) --> run
 *
 * A program is the flat form of an integer graph that bitspike/engine/program.py writes. It is checked here as a whole
 * before anything is built from it. No function allocates while a network runs.
 */
#ifndef BITSPIKE_ENGINE_H
#define BITSPIKE_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define BS_API __declspec(dllexport)
#else
#define BS_API __attribute__((visibility("default")))
#endif

#define BS_ABI_VERSION 2

typedef struct bs_net bs_net;
typedef struct bs_session bs_session;

/* How weighted sums are computed. A layer that cannot be computed as asked is computed as bs_auto would. */
enum bs_kernel { BS_AUTO = 0, BS_PLANES = 1, BS_DENSE = 2, BS_LANES = 3 };

/* What a run notes besides the logits; every pointer may be null. Arrays are indexed by node. */
typedef struct bs_record {
    int32_t **values;    /* [T, B, C, H, W] of each node, as its shape is */
    int32_t **membranes; /* [T, B, C, H, W] stored after each step, of spiking nodes */
    int64_t *spikes;     /* number of spikes, added up, of spiking nodes */
} bs_record;

BS_API int bs_abi_version(void);

/* Builds for instruction sets, best first, and whether this processor can run them. */
BS_API int bs_build_count(void);
BS_API const char *bs_build_name(int build);
BS_API int bs_build_usable(int build);

/* Returns null and a sentence in error if the program is not sound. The program may be freed afterwards. */
BS_API bs_net *bs_net_new(const uint8_t *program, size_t size, int build, int kernel, char *error, size_t error_size);
BS_API void bs_net_free(bs_net *net);
BS_API size_t bs_net_bytes(const bs_net *net); /* tables held by the net */
BS_API int bs_net_nodes(const bs_net *net);
BS_API int bs_net_classes(const bs_net *net);

BS_API bs_session *bs_session_new(const bs_net *net, int steps, int threads, char *error, size_t error_size);
BS_API void bs_session_free(bs_session *session);
BS_API size_t bs_session_bytes(const bs_session *session);

/* Layer by layer. samples: uint8 [B, C, H, W] of images or [T, B, C, H, W] of events, with the session's T. logits: [B, K]. */
BS_API void bs_predict(bs_session *session, const uint8_t *samples, int batch, int64_t *logits,
                       const bs_record *record);

/* Step by step. frame: uint8 [B, C, H, W]; states: B states of bs_state_bytes each; logits so far: [B, K].
 * The session must have been made for one step. Zeroed memory is a state at rest before step 0. */
BS_API size_t bs_state_bytes(const bs_net *net);
BS_API void bs_step(bs_session *session, const uint8_t *frame, int batch, uint8_t *states, int64_t *logits,
                    const bs_record *record);

/* A state's parts in plain form, to save and to compare: membranes of one layer [C, H, W], readout's sum [K], steps done. */
BS_API void bs_state_membrane(const bs_net *net, uint8_t *state, int node, int32_t *values, int write);
BS_API void bs_state_total(const bs_net *net, uint8_t *state, int64_t *total, int64_t *steps, int write);

/* Nanoseconds of thread CPU time spent in each node since profiling was switched on. */
BS_API void bs_session_profile(bs_session *session);
BS_API void bs_session_times(const bs_session *session, int64_t *nanoseconds);

#endif
