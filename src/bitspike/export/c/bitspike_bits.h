/* Packed bits and small integers in arrays of 32-bit words; the first lies in the lowest bit. C99, no library. */
#ifndef BITSPIKE_BITS_H
#define BITSPIKE_BITS_H

#include <stdint.h>

/* What the code relies on, checked where it is built: a right shift of a negative number rounds down, and a number
 * beyond int32_t wraps around when it is converted. Every compiler for the targets in question keeps both. */
typedef char bitspike_right_shift_is_arithmetic[((-5) >> 1) == -3 ? 1 : -1];
typedef char bitspike_conversion_wraps[(int32_t)UINT32_C(0xFFFFFFFF) == -1 ? 1 : -1];
typedef char bitspike_int_has_32_bits[sizeof(int) >= 4 ? 1 : -1];

/* The lowest so many bits, 0 to 32. */
static inline uint32_t bitspike_mask(uint32_t count)
{
    return count >= 32u ? UINT32_C(0xFFFFFFFF) : (UINT32_C(1) << count) - 1u;
}

/* Place of the lowest 1, of a word that is not 0. */
static inline uint32_t bitspike_lowest(uint32_t word)
{
#if defined(__GNUC__) && !defined(BITSPIKE_NO_BUILTINS)
    return (uint32_t)__builtin_ctz(word);
#else
    /* What is left of a lone 1 after a multiplication names its place: all 32 products differ in five bits. */
    static const uint8_t place[32] = {0,  1,  28, 2,  29, 14, 24, 3, 30, 22, 20, 15, 25, 17, 4,  8,
                                      31, 27, 13, 23, 21, 19, 16, 7, 26, 12, 18, 6,  11, 5,  10, 9};
    return place[((word & (~word + 1u)) * UINT32_C(0x077CB531)) >> 27];
#endif
}

/* Up to 32 bits from any place. Never reads a word in which none of them lies. */
static inline uint32_t bitspike_get(const uint32_t *words, uint32_t at, uint32_t count)
{
    const uint32_t *word = words + (at >> 5);
    const uint32_t skip = at & 31u;
    uint32_t bits = word[0] >> skip;
    if (skip + count > 32u) {
        bits |= word[1] << (32u - skip);
    }
    return bits & bitspike_mask(count);
}

/* Up to 32 bits to any place; their neighbours stay. */
static inline void bitspike_put(uint32_t *words, uint32_t at, uint32_t count, uint32_t bits)
{
    uint32_t *word = words + (at >> 5);
    const uint32_t skip = at & 31u;
    const uint32_t mask = bitspike_mask(count);
    word[0] = (word[0] & ~(mask << skip)) | ((bits & mask) << skip);
    if (skip + count > 32u) {
        word[1] = (word[1] & ~(mask >> (32u - skip))) | ((bits & mask) >> (32u - skip));
    }
}

/* `count` neighbouring two's complement fields of `width` bits, the first at bit `at`. */
static inline void bitspike_get_fields(const uint32_t *words, uint32_t at, uint32_t width, uint32_t count,
                                       int32_t *values)
{
    const uint32_t *word = words + (at >> 5);
    const uint32_t mask = bitspike_mask(width);
    const uint32_t sign = UINT32_C(1) << (width - 1u);
    uint32_t skip = at & 31u;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bits = word[0] >> skip;
        if (skip + width > 32u) {
            bits |= word[1] << (32u - skip);
        }
        values[i] = (int32_t)(((bits & mask) ^ sign) - sign);
        skip += width;
        word += skip >> 5;
        skip &= 31u;
    }
}

/* The reverse; values fit their fields. */
static inline void bitspike_put_fields(uint32_t *words, uint32_t at, uint32_t width, uint32_t count,
                                       const int32_t *values)
{
    uint32_t *word = words + (at >> 5);
    const uint32_t mask = bitspike_mask(width);
    uint32_t skip = at & 31u;
    uint32_t made = skip == 0u ? 0u : word[0] & bitspike_mask(skip);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t bits = (uint32_t)values[i] & mask;
        made |= bits << skip;
        skip += width;
        if (skip >= 32u) {
            skip -= 32u;
            *word++ = made;
            made = skip == 0u ? 0u : bits >> (width - skip);
        }
    }
    if (skip != 0u) {
        word[0] = (word[0] & ~bitspike_mask(skip)) | made;
    }
}

/* From planes (word k holds bit k of 32 numbers) to the first `wanted` numbers; `values` has room for the last four whole. */
static inline void bitspike_from_planes(const uint32_t *planes, uint32_t count, uint32_t wanted, uint32_t *values)
{
    for (uint32_t i = 0; i < wanted; i += 4u) {
        values[i] = values[i + 1u] = values[i + 2u] = values[i + 3u] = 0;
    }
    for (uint32_t base = 0; base < count; base += 8u) {
        const uint32_t top = count - base < 8u ? count - base : 8u;
        for (uint32_t i = 0; i < wanted; i += 4u) {
            uint32_t four = 0; /* four numbers of eight bits: the product spreads four bits, one to each */
            for (uint32_t k = 0; k < top; k++) {
                const uint32_t bits = (planes[base + k] >> i) & 15u;
                four |= ((bits * UINT32_C(0x00204081)) & UINT32_C(0x01010101)) << k;
            }
            values[i] |= (four & 255u) << base;
            values[i + 1u] |= ((four >> 8) & 255u) << base;
            values[i + 2u] |= ((four >> 16) & 255u) << base;
            values[i + 3u] |= (four >> 24) << base;
        }
    }
}

#endif
