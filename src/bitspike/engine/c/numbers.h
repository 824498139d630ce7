/* Numbers of the training kernels: float or bfloat16 in memory, float in between. Part of training.c. */
/* FOLD: of how many rows or tiles floats are added up before they go into doubles. */
enum { FOLD = 64 };

INLINE float load(const void *from, const bool half, size_t i) {
    if (!half) return ((const float *)from)[i];
    union {
        uint32_t bits;
        float real;
    } number = {(uint32_t)((const uint16_t *)from)[i] << 16};
    return number.real;
}

/* To the nearest bfloat16, to the even one at a tie. */
INLINE void store(void *to, const bool half, size_t i, float value) {
    if (!half) {
        ((float *)to)[i] = value;
        return;
    }
    union {
        float real;
        uint32_t bits;
    } number = {value};
    ((uint16_t *)to)[i] = (uint16_t)((number.bits + 0x7FFF + ((number.bits >> 16) & 1)) >> 16);
}

INLINE const void *part_of(const void *base, const bool half, size_t i) {
    return (const char *)base + i * (half ? 2 : 4);
}

/* Decisions are numbers, 1 or 0, and choices are products: branches would keep compilers from making vectors. */
INLINE float reaches(float value, float edge) { return value >= edge ? 1.0f : 0.0f; }
INLINE float smaller(float a, float b) { return a < b ? a : b; }
INLINE float larger(float a, float b) { return a > b ? a : b; }
INLINE float size_of(float value) { return larger(value, -value); }

/* floor of a number that an int32 holds. */
INLINE float whole(float value) {
    const float cut = (float)(int32_t)value;
    return cut - (1.0f - reaches(value, cut));
}

