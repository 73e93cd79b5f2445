/* The learning of a run of synapses of 8 or 16 bits: w[i] += (s * x[i] + offset_i) >> 16, saturating.
 *
 * offset_(i+1) = offset_i + A modulo 2^16.  SKA_HAS_LEARN is 1 where there is a ska_learn_<w>_<x>, for s of 16 bits.
 *
 * A shift of n < 16 is one of 16 with s * 2^(16-n) in place of s: the last 16-n bits of an offset then meet zeros and
 * carry nothing.  That s must lie in -SKA_LEARN_MOST-1..SKA_LEARN_MOST: 16 bits, or what moves 8-bit weights by at most a
 * signed byte (255 s + 65535 < 2^23). */
#ifndef SKA_LEARN_H
#define SKA_LEARN_H

#include "core.h"

#define SKA_LEARN_MOST_s16 32767
#define SKA_LEARN_MOST_s8 32639
#define SKA_LOWEST_s16 INT16_MIN
#define SKA_LOWEST_s8 INT8_MIN

/* A weight with its offset behind it, as high in 32 bits as it goes: they overflow where the weight saturates.
 * |s x| is at most 2^30, or 2^23 beside weights of 8 bits. */
#define SKA_DEFINE_LEARN_ONE(format, bits)                                                                             \
    SKA_INLINE void ska_learn_one_##format(ska_##format *w, int32_t s, int32_t x, uint16_t offset)                     \
    {                                                                                                                  \
        const int32_t from = *w * ((int32_t)1 << (32 - bits)) + (int32_t)offset * (1 << (16 - bits));                  \
        int32_t v;                                                                                                     \
        const int over = __builtin_add_overflow(from, s * ((int32_t)1 << (16 - bits)) * x, &v);                        \
        *w = (ska_##format)(!__builtin_expect(over, 0) ? v >> (32 - bits) : from < 0 ? INT##bits##_MIN : INT##bits##_MAX); \
    }
SKA_DEFINE_LEARN_ONE(s8, 8)
SKA_DEFINE_LEARN_ONE(s16, 16)

/* n synapses; those that the core's own routine takes at a time by that. */
#define SKA_DEFINE_LEARN(w_format, x_format)                                                                           \
    SKA_APART void ska_learn_##w_format##_##x_format(void *weights, ska_index at_w, int32_t s, const void *inputs,     \
                                                     ska_index at_x, ska_index n, uint16_t offset)                     \
    {                                                                                                                  \
        ska_##w_format *w = (ska_##w_format *)weights + at_w;                                                          \
        const ska_##x_format *x = (const ska_##x_format *)inputs + at_x;                                               \
        const ska_index some = SKA_RUN_##w_format##_##x_format;                                                        \
        ska_index learnt;                                                                                              \
        for (; n; n -= learnt, w += learnt, x += learnt) {                                                             \
            learnt = 1;                                                                                                \
            if (some && n >= some && !((uintptr_t)x & 3U)) {                                                           \
                learnt = n & ~(some - 1);                                                                              \
                ska_run_##w_format##_##x_format(w, x, s, learnt, offset);                                              \
            } else {                                                                                                   \
                ska_learn_one_##w_format(w, s, *x, offset);                                                            \
            }                                                                                                          \
            offset = (uint16_t)(offset + learnt * SKA_LATTICE_I);                                                      \
        }                                                                                                              \
    }
/* Without a routine for runs, outer_update's loop is as fast where one instruction saturates, and faster where registers
 * have 8 bits. */
#if SKA_RUN_s16_s16 || !(defined(__ARM_FEATURE_SAT) || defined(__AVR__))
#define SKA_LEARN_s16_s16_s16_32 1
#define SKA_LEARN_s16_s16_s8_32 1
#define SKA_LEARN_s16_s16_u8_32 1
#define SKA_LEARN_s8_s16_s8_32 1
#define SKA_LEARN_s8_s16_u8_32 1
SKA_DEFINE_LEARN(s16, s16)
SKA_DEFINE_LEARN(s16, s8)
SKA_DEFINE_LEARN(s16, u8)
SKA_DEFINE_LEARN(s8, s8)
SKA_DEFINE_LEARN(s8, u8)
#endif

#define SKA_HAS_LEARN__(w, s, x, bits) SKA_LEARN_##w##_##s##_##x##_##bits
#define SKA_HAS_LEARN_(w, s, x, bits) SKA_HAS_LEARN__(w, s, x, bits)
#define SKA_HAS_LEARN SKA_HAS_LEARN_(SKA_W, SKA_S, SKA_X, SKA_BITS)

#endif
