/* The learning of a run of 16-bit synapses, two at a time, where the core has instructions for pairs (Arm's SIMD32).
 *
 * w[i] += (s * x[i] + offset_i) >> 16, saturating at 16 bits; offset_(i+1) = offset_i + A modulo 2^16.  SKA_HAS_LEARN is 1
 * where there is a ska_learn_<w>_<s>_<x>.  |s x| <= 2^30, and an offset adds less than 2^16: 32 bits hold it. */
#ifndef SKA_LEARN_H
#define SKA_LEARN_H

#include "dot.h"

#define SKA_HAS_LEARN__(w, s, x, bits) SKA_LEARN_##w##_##s##_##x##_##bits
#define SKA_HAS_LEARN_(w, s, x, bits) SKA_HAS_LEARN__(w, s, x, bits)
#define SKA_HAS_LEARN SKA_HAS_LEARN_(SKA_W, SKA_S, SKA_X, SKA_BITS)
#define SKA_LEARN SKA_GLUE(SKA_GLUE(SKA_GLUE(SKA_GLUE(SKA_GLUE(ska_learn_, SKA_W), _), SKA_S), _), SKA_X)

#if defined(__ARM_FEATURE_SIMD32) && __ARM_FEATURE_SIMD32

#define SKA_LEARN_s16_s16_s16_32 1
#define SKA_LEARN_s16_s16_s8_32 1
#define SKA_LEARN_s16_s16_u8_32 1

#define SKA_DEFINE_LEARN(format)                                                                                       \
    SKA_INLINE void ska_learn_s16_s16_##format(void *weights, ska_index at_w, int16_t s, const void *inputs,           \
                                               ska_index at_x, ska_index n, uint16_t offset)                           \
    {                                                                                                                  \
        ska_s16 *w = (ska_s16 *)weights + at_w;                                                                        \
        const ska_##format *x = (const ska_##format *)inputs + at_x;                                                   \
        const uint16x2_t step = (uint16x2_t)((2 * SKA_LATTICE_I & 0xFFFFU) * 0x10001U);                                \
        uint16x2_t offsets = (uint16x2_t)(offset | (uint32_t)(uint16_t)(offset + SKA_LATTICE_I) << 16);                \
        int32_t v;                                                                                                     \
        for (; n >= 2; n -= 2, w += 2, x += 2) {                                                                       \
            const int32_t even = s * x[0] + (int32_t)((uint32_t)offsets & 0xFFFFU);                                    \
            const int32_t odd = s * x[1] + (int32_t)((uint32_t)offsets >> 16);                                         \
            const uint32_t delta = ((uint32_t)even >> 16) | ((uint32_t)odd & 0xFFFF0000U);                             \
            const int16x2_t moved = __qadd16((int16x2_t)ska_word(w), (int16x2_t)delta);                                \
            __builtin_memcpy(w, &moved, sizeof moved);                                                                 \
            offsets = __uadd16(offsets, step);                                                                         \
        }                                                                                                              \
        if (n) {                                                                                                       \
            v = *w + ((s * *x + (int32_t)((uint32_t)offsets & 0xFFFFU)) >> 16);                                        \
            *w = (int16_t)ska_saturate32(v, INT16_MIN, INT16_MAX);                                                     \
        }                                                                                                              \
    }
SKA_DEFINE_LEARN(s16)
SKA_DEFINE_LEARN(s8)
SKA_DEFINE_LEARN(u8)

#endif
#endif
