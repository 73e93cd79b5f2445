/* What the core at hand does faster than C says it: sums of products of runs of elements, the learning of runs of synapses.
 *
 * A run has no gaps.  For formats a and b and the sum's bits, or w and x, a core's own file may define
 *   SKA_DOT_<a>_<b>_<bits> 1      ska_dot_<a>_<b>_<bits>(a, at_a, b, at_b, n): the sum over a run;
 *   SKA_ROWS_<a>_<b>_<bits> 2     ska_dots_<a>_<b>_<bits>(sums, a, row, b, n): the sums over so many runs of a, `row` bytes
 *                                 apart, each with the same run of b;
 *   SKA_RUN_<w>_<x> 8             ska_run_<w>_<x>(w, x, s, n, offset): what learn.h says, for n > 0, a multiple of this,
 *                                 and x at a word's address.
 * Every sum is exact: 64 bits hold any, and the range proof allows 32 where 32 are asked for, in any order. */
#ifndef SKA_CORE_H
#define SKA_CORE_H

#include "arithmetic.h"

/* A routine in assembly, its arguments where the procedure call standard puts them. */
#define SKA_ASSEMBLY static __attribute__((__naked__, __noinline__, __unused__))
#define SKA_TIMES_4(line) line line line line
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#if defined(__ARM_FEATURE_SIMD32) && __ARM_FEATURE_SIMD32
#include "armv7em.h"
#elif defined(__ARM_ARCH_6M__)
#include "armv6m.h"
#endif
#pragma GCC diagnostic pop

/* How many runs of a share a run of b where that is C: as many as there are registers for their sums. */
#if defined(__AVR__)
#define SKA_ROWS_IN_C_32 1
#define SKA_ROWS_IN_C_64 1
#define SKA_UNROLLED
#elif defined(__ARM_ARCH_6M__)
#define SKA_ROWS_IN_C_32 2
#define SKA_ROWS_IN_C_64 1
#else
#define SKA_ROWS_IN_C_32 4
#define SKA_ROWS_IN_C_64 2
#endif
#ifndef SKA_UNROLLED
#define SKA_UNROLLED _Pragma("GCC unroll 4") /* sums[k] become registers only then */
#endif

#ifndef SKA_RUN_s16_s16
#define SKA_RUN_s16_s16 0
#define ska_run_s16_s16(w, x, s, n, offset) ((void)0)
#endif
#ifndef SKA_RUN_s16_u8 /* nor any other with bytes */
#define SKA_RUN_s16_u8 0
#define SKA_RUN_s16_s8 0
#define SKA_RUN_s8_u8 0
#define SKA_RUN_s8_s8 0
#define ska_run_s16_u8(w, x, s, n, offset) ((void)0)
#define ska_run_s16_s8(w, x, s, n, offset) ((void)0)
#define ska_run_s8_u8(w, x, s, n, offset) ((void)0)
#define ska_run_s8_s8(w, x, s, n, offset) ((void)0)
#endif

/* The name of something for an instance's formats: SKA_OWN(SKA_ROWS_, SKA_A, SKA_B, SKA_BITS). */
#define SKA_OWN_(what, a, b, bits) what##a##_##b##_##bits
#define SKA_OWN(what, a, b, bits) SKA_OWN_(what, a, b, bits)

#endif
