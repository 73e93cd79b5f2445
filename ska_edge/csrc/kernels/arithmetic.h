/* SPEC 2 and 3: saturation, rounding, the lattice.  The only rounding there is; no compile-time variants. */
#ifndef SKA_ARITHMETIC_H
#define SKA_ARITHMETIC_H

#include "memory.h"

/* C99 leaves a right shift of a negative number to the compiler; SPEC does not. */
typedef char ska_right_shifts_must_floor[((-3) >> 1) == -2 ? 1 : -1];

#define SKA_LATTICE_I 53685U
#define SKA_LATTICE_J 43977U
#define SKA_LATTICE_T 36025U

/* min(max(v, lo), hi) in 32 bits (SPEC 2.1). */
SKA_INLINE int32_t ska_saturate32(int32_t v, int32_t lo, int32_t hi) { return v < lo ? lo : v > hi ? hi : v; }

/* The same in 64 bits. */
SKA_INLINE int64_t ska_saturate64(int64_t v, int64_t lo, int64_t hi) { return v < lo ? lo : v > hi ? hi : v; }

/* v * 2^n; the range proof says that it fits.  A left shift of a negative number would be undefined. */
SKA_INLINE int32_t ska_left32(int32_t v, uint8_t n) { return (int32_t)((uint32_t)v << n); }
SKA_INLINE int64_t ska_left64(int64_t v, uint8_t n) { return (int64_t)((uint64_t)v << n); }

/* offset(i, j, t) (SPEC 3). */
SKA_INLINE uint16_t ska_offset(uint32_t i, uint32_t j, uint32_t t)
{
    return (uint16_t)((uint16_t)i * SKA_LATTICE_I + (uint16_t)j * SKA_LATTICE_J + (uint16_t)t * SKA_LATTICE_T);
}

/* offset scaled to a shift of n (SPEC 3); n is at most 30 but in contract and scale. */
SKA_INLINE uint32_t ska_scaled32(uint16_t offset, uint8_t n)
{
    return n >= 16 ? (uint32_t)offset << (n - 16) : (uint32_t)offset >> (16 - n);
}
SKA_INLINE int64_t ska_scaled64(uint16_t offset, uint8_t n)
{
    return n >= 16 ? (int64_t)((uint64_t)offset << (n - 16)) : offset >> (16 - n);
}

/* SKA_BITS is 32 or 64: what the range proof allows this instance of a kernel. */
#define SKA_INT SKA_GLUE(SKA_GLUE(int, SKA_BITS), _t)
#define SKA_SATURATE SKA_GLUE(ska_saturate, SKA_BITS)
#define SKA_LEFT SKA_GLUE(ska_left, SKA_BITS)
#define SKA_SCALED(offset, n) ((SKA_INT)SKA_GLUE(ska_scaled, SKA_BITS)(offset, n))

#endif
