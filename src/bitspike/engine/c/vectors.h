/* Vector types of GCC and Clang, and the three-input logic that counting is made of. */
#ifndef BITSPIKE_VECTORS_H
#define BITSPIKE_VECTORS_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512VL__)
enum { VECTOR = 64 };
#elif defined(__AVX2__)
enum { VECTOR = 32 };
#else /* SSE2, NEON */
enum { VECTOR = 16 };
#endif

#define INLINE static inline __attribute__((always_inline))
/* A function of its own: inlined into one another, the loops of the event kernel would keep their counters in memory. */
#define ALONE static __attribute__((noinline))
#define LOOSE(bytes) __attribute__((vector_size(bytes), aligned(1), may_alias))

/* One bit plane of a group of pixels, and the same vector as one 32-bit number a lane. */
typedef uint64_t vec __attribute__((vector_size(VECTOR)));
typedef uint64_t vec_loose LOOSE(VECTOR);
typedef int32_t numbers __attribute__((vector_size(VECTOR)));
typedef int32_t numbers_loose LOOSE(VECTOR);

/* Channels, one a lane. */
enum { LANES = VECTOR / 4 };
#if defined(__AVX512VL__)
#define LANE_NUMBERS \
    { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 }
#elif defined(__AVX2__)
#define LANE_NUMBERS \
    { 0, 1, 2, 3, 4, 5, 6, 7 }
#else
#define LANE_NUMBERS \
    { 0, 1, 2, 3 }
#endif
typedef float reals __attribute__((vector_size(VECTOR)));
typedef float reals_loose LOOSE(VECTOR);
typedef uint32_t naturals __attribute__((vector_size(VECTOR)));
typedef uint32_t naturals_loose LOOSE(VECTOR);
typedef int16_t codes_loose LOOSE(VECTOR / 2);

#if defined(__AVX512VL__)
/* One instruction each; GCC does not find all of them by itself. */
#define TERNARY(a, b, c, table) (vec) _mm512_ternarylogic_epi64((__m512i)(a), (__m512i)(b), (__m512i)(c), table)
INLINE vec xor3(vec a, vec b, vec c) { return TERNARY(a, b, c, 0x96); }
INLINE vec major(vec a, vec b, vec c) { return TERNARY(a, b, c, 0xE8); }
INLINE vec choose(vec s, vec a, vec b) { return TERNARY(s, a, b, 0xCA); }
INLINE vec borrow(vec a, vec b, vec c) { return TERNARY(a, b, c, 0x8E); }
#else
INLINE vec xor3(vec a, vec b, vec c) { return a ^ b ^ c; }
INLINE vec major(vec a, vec b, vec c) { return (a & b) | ((a ^ b) & c); }
INLINE vec choose(vec s, vec a, vec b) { return b ^ (s & (a ^ b)); }
INLINE vec borrow(vec a, vec b, vec c) { return (~a & (b | c)) | (b & c); }
#endif

#if !defined(__AVX512VL__) /* there one instruction does it, with a mask */
INLINE numbers clamped(numbers of, int32_t low, int32_t high) {
#if defined(__AVX2__)
    return (numbers)_mm256_max_epi32(_mm256_min_epi32((__m256i)of, _mm256_set1_epi32(high)), _mm256_set1_epi32(low));
#else
    const numbers above = of > high, below = of < low;
    return (of & ~above & ~below) | (above & high) | (below & low);
#endif
}

/* The lowest bit of every lane of a comparison's result (0 or -1), packed. */
INLINE uint32_t packed_lanes(numbers of) {
#if defined(__AVX2__)
    return (uint32_t)_mm256_movemask_ps((__m256)of);
#else
    uint32_t bits = 0;
    for (int i = 0; i < LANES; i++) bits |= (uint32_t)(of[i] & 1) << i;
    return bits;
#endif
}
#endif

/* Lane l of the result is lane where[l] of the numbers. */
INLINE numbers taken(numbers from, numbers where) {
#if defined(__AVX512VL__)
    return (numbers)_mm512_permutexvar_epi32((__m512i)where, (__m512i)from);
#elif defined(__AVX2__)
    return (numbers)_mm256_permutevar8x32_epi32((__m256i)from, (__m256i)where);
#else
    numbers result = {0};
    for (int i = 0; i < LANES; i++) result[i] = from[where[i]];
    return result;
#endif
}

/* Bit `plane` of the number in every lane, spread over the whole lane. */
INLINE vec spread(numbers of, int plane) { return (vec)((of << (31 - plane)) >> 31); }

#endif
