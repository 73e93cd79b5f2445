/* Sums of products of two runs of elements, where the core has instructions for pairs (Arm's SIMD32: M4, M7, M33).
 *
 * SKA_HAS_DOT(a, b, bits, a_step, b_step) is 1 where there is a ska_dot_<a>_<b>_<bits> for runs without gaps.  Every sum is
 * exact: 64 bits hold any, and the range proof allows 32 where 32 are asked for, whatever the order of summation. */
#ifndef SKA_DOT_H
#define SKA_DOT_H

#include "arithmetic.h"

#define SKA_HAS_DOT__(a, b, bits, a_step, b_step) SKA_DOT_##a##_##b##_##bits##_##a_step##_##b_step
#define SKA_HAS_DOT_(a, b, bits, a_step, b_step) SKA_HAS_DOT__(a, b, bits, a_step, b_step)
#define SKA_HAS_DOT SKA_HAS_DOT_(SKA_A, SKA_B, SKA_BITS, SKA_A_STEP, SKA_B_STEP)
#define SKA_DOT SKA_GLUE(SKA_GLUE(SKA_GLUE(SKA_GLUE(SKA_GLUE(ska_dot_, SKA_A), _), SKA_B), _), SKA_BITS)

#if defined(__ARM_FEATURE_SIMD32) && __ARM_FEATURE_SIMD32
#include <arm_acle.h>

#define SKA_DOT_s16_s16_64_1_1 1
#define SKA_DOT_s16_u8_64_1_1 1
#define SKA_DOT_s16_u8_32_1_1 1
#define SKA_DOT_s16_s8_64_1_1 1
#define SKA_DOT_s16_s8_32_1_1 1
#define SKA_DOT_s8_u8_32_1_1 1
#define SKA_DOT_s8_s8_32_1_1 1

#if defined(__clang__)
typedef int8x4_t ska_bytes; /* clang's __uxtb16 takes signed bytes, against ACLE; gcc's does not */
#else
typedef uint8x4_t ska_bytes;
#endif

/* Four bytes from any address: these cores load unaligned words. */
SKA_INLINE uint32_t ska_word(const void *p)
{
    uint32_t word;
    __builtin_memcpy(&word, p, sizeof word);
    return word;
}

/* The bytes 0 and 2, or 1 and 3, of a word as two 16-bit lanes. */
SKA_INLINE int16x2_t ska_even_s8(uint32_t word) { return __sxtb16((int8x4_t)word); }
SKA_INLINE int16x2_t ska_odd_s8(uint32_t word) { return __sxtb16((int8x4_t)(word >> 8)); }
SKA_INLINE int16x2_t ska_even_u8(uint32_t word) { return (int16x2_t)__uxtb16((ska_bytes)word); }
SKA_INLINE int16x2_t ska_odd_u8(uint32_t word) { return (int16x2_t)__uxtb16((ska_bytes)(word >> 8)); }

/* s8 times bytes: four a turn, bytes 0 and 2 with 0 and 2, 1 and 3 with 1 and 3. */
#define SKA_DEFINE_DOT_BYTES(format)                                                                                   \
    SKA_INLINE int32_t ska_dot_s8_##format##_32(const void *a, ska_index at_a, const void *b, ska_index at_b,          \
                                                ska_index n)                                                           \
    {                                                                                                                  \
        const ska_s8 *p = (const ska_s8 *)a + at_a;                                                                    \
        const ska_##format *q = (const ska_##format *)b + at_b;                                                        \
        int32_t sum = 0;                                                                                               \
        for (; n >= 4; n -= 4, p += 4, q += 4) {                                                                       \
            const uint32_t w = ska_word(p), x = ska_word(q);                                                           \
            sum = __smlad(ska_even_s8(w), ska_even_##format(x), sum);                                                  \
            sum = __smlad(ska_odd_s8(w), ska_odd_##format(x), sum);                                                    \
        }                                                                                                              \
        for (; n; n--) {                                                                                               \
            sum += *p++ * *q++;                                                                                        \
        }                                                                                                              \
        return sum;                                                                                                    \
    }
SKA_DEFINE_DOT_BYTES(u8)
SKA_DEFINE_DOT_BYTES(s8)

/* s16 times bytes: four a turn; the halves of two words of weights are packed to match bytes 0 and 2, 1 and 3. */
#define SKA_DEFINE_DOT_MIXED(format, bits, mla)                                                                        \
    SKA_INLINE int##bits##_t ska_dot_s16_##format##_##bits(const void *a, ska_index at_a, const void *b,               \
                                                           ska_index at_b, ska_index n)                                \
    {                                                                                                                  \
        const ska_s16 *p = (const ska_s16 *)a + at_a;                                                                  \
        const ska_##format *q = (const ska_##format *)b + at_b;                                                        \
        int##bits##_t sum = 0;                                                                                         \
        for (; n >= 4; n -= 4, p += 4, q += 4) {                                                                       \
            const uint32_t low = ska_word(p), high = ska_word(p + 2), x = ska_word(q);                                 \
            sum = mla((int16x2_t)((low & 0xFFFFU) | (high << 16)), ska_even_##format(x), sum);                         \
            sum = mla((int16x2_t)((low >> 16) | (high & 0xFFFF0000U)), ska_odd_##format(x), sum);                      \
        }                                                                                                              \
        for (; n; n--) {                                                                                               \
            sum += *p++ * *q++;                                                                                        \
        }                                                                                                              \
        return sum;                                                                                                    \
    }
SKA_DEFINE_DOT_MIXED(u8, 64, __smlald)
SKA_DEFINE_DOT_MIXED(u8, 32, __smlad)
SKA_DEFINE_DOT_MIXED(s8, 64, __smlald)
SKA_DEFINE_DOT_MIXED(s8, 32, __smlad)

/* s16 times s16: two a turn. */
SKA_INLINE int64_t ska_dot_s16_s16_64(const void *a, ska_index at_a, const void *b, ska_index at_b, ska_index n)
{
    const ska_s16 *p = (const ska_s16 *)a + at_a, *q = (const ska_s16 *)b + at_b;
    int64_t sum = 0;
    for (; n >= 4; n -= 4, p += 4, q += 4) {
        sum = __smlald((int16x2_t)ska_word(p), (int16x2_t)ska_word(q), sum);
        sum = __smlald((int16x2_t)ska_word(p + 2), (int16x2_t)ska_word(q + 2), sum);
    }
    for (; n; n--) {
        sum += *p++ * *q++;
    }
    return sum;
}

#endif
#endif
