/* The tail that contract and scale share: carried operand, rounding, shift, saturation (SPEC 2.2, 5.1, 5.2).
 *
 * SKA_FINISH(sum, k) stores element k.  It reads from the function around it: out, c, at_c, c_size, c_shift, shift, row,
 * t, lo, hi; and the macros SKA_OUT, SKA_BITS, SKA_C (a format) and SKA_ROUNDING. */
#ifndef SKA_TAIL_H
#define SKA_TAIL_H

#include "arithmetic.h"

#define SKA_ROUND_FLOOR(shift, k) ((SKA_INT)0)
#define SKA_ROUND_HALF(shift, k) ((SKA_INT)1 << ((shift)-1))
#define SKA_ROUND_LATTICE(shift, k) SKA_SCALED(ska_offset(row, k, t), (uint8_t)(shift))
#define SKA_ROUND(shift, k) SKA_GLUE(SKA_ROUND_, SKA_ROUNDING)(shift, k)

/* An operand that repeats (SPEC 4.5): the next element, from the start again after the last. */
#define SKA_NEXT(at, size) ((at) + 1 == (size) ? 0 : (at) + 1)

#define SKA_FINISH(sum, k)                                                                                             \
    do {                                                                                                               \
        SKA_INT v_ = (sum);                                                                                            \
        if (c_size) {                                                                                                  \
            v_ += SKA_LEFT((SKA_INT)SKA_LOAD(SKA_C, c, at_c), c_shift);                                                \
            at_c = SKA_NEXT(at_c, c_size);                                                                             \
        }                                                                                                              \
        v_ = shift > 0 ? (v_ + SKA_ROUND(shift, k)) >> shift : SKA_LEFT(v_, (uint8_t)-shift);                          \
        SKA_STORE(SKA_OUT, out, k, SKA_SATURATE(v_, lo, hi));                                                          \
    } while (0)

#endif
