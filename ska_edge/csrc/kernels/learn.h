/* The learning of a run of 16-bit synapses: w[i] += (s * x[i] + offset_i) >> 16, saturating at 16 bits.
 *
 * offset_(i+1) = offset_i + A modulo 2^16.  SKA_HAS_LEARN is 1 where there is a ska_learn_<w>_<s>_<x>.  |s x| <= 2^30, and
 * an offset adds less than 2^16: 32 bits hold it.
 *
 * A shift of n < 16 is one of 16 with s * 2^(16-n) in place of s, if 16 bits hold that: the last 16-n bits of an offset
 * then meet zeros and carry nothing. */
#ifndef SKA_LEARN_H
#define SKA_LEARN_H

#include "dot.h"

#define SKA_HAS_LEARN__(w, s, x, bits) SKA_LEARN_##w##_##s##_##x##_##bits
#define SKA_HAS_LEARN_(w, s, x, bits) SKA_HAS_LEARN__(w, s, x, bits)
#define SKA_HAS_LEARN SKA_HAS_LEARN_(SKA_W, SKA_S, SKA_X, SKA_BITS)
#define SKA_LEARN SKA_GLUE(SKA_GLUE(SKA_GLUE(SKA_GLUE(SKA_GLUE(ska_learn_, SKA_W), _), SKA_S), _), SKA_X)

#define SKA_LEARN_s16_s16_s16_32 1
#define SKA_LEARN_s16_s16_s8_32 1
#define SKA_LEARN_s16_s16_u8_32 1

/* A weight with its offset behind it makes 32 bits, which overflow where the weight saturates. */
SKA_INLINE void ska_learn_one(ska_s16 *w, int16_t s, int32_t x, uint16_t offset)
{
    const int32_t from = (int32_t)((uint32_t)*w << 16 | offset);
    int32_t v;
    if (__builtin_expect(__builtin_add_overflow(from, s * x, &v), 0)) {
        v = from < 0 ? INT32_MIN : INT32_MAX;
    }
    *w = (int16_t)(v >> 16);
}

/* n synapses, those that the core's own routine takes at a time by that. */
#define SKA_DEFINE_LEARN(format)                                                                                       \
    SKA_APART void ska_learn_s16_s16_##format(void *weights, ska_index at_w, int16_t s, const void *inputs,            \
                                              ska_index at_x, ska_index n, uint16_t offset)                            \
    {                                                                                                                  \
        ska_s16 *w = (ska_s16 *)weights + at_w;                                                                        \
        const ska_##format *x = (const ska_##format *)inputs + at_x;                                                   \
        ska_index learnt = 1;                                                                                          \
        for (; n; n -= learnt, w += learnt, x += learnt) {                                                             \
            learnt = 1;                                                                                                \
            if (SKA_RUN_##format && n >= SKA_RUN_##format && !((uintptr_t)x & 3U)) {                                   \
                learnt = n & ~(ska_index)(SKA_RUN_##format - 1);                                                       \
                ska_run_##format(w, x, s, learnt, offset);                                                             \
            } else {                                                                                                   \
                ska_learn_one(w, s, *x, offset);                                                                       \
            }                                                                                                          \
            offset = (uint16_t)(offset + learnt * SKA_LATTICE_I);                                                      \
        }                                                                                                              \
    }
SKA_DEFINE_LEARN(s16)
SKA_DEFINE_LEARN(s8)
SKA_DEFINE_LEARN(u8)

#endif
