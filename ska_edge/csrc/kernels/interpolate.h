/* SPEC 5.3 before its requantise: a table at x, clamped to its domain, linear between entries, rounded half up. */
#ifndef SKA_INTERPOLATE_H
#define SKA_INTERPOLATE_H

#include "arithmetic.h"

/* y = the table at x; all in SKA_INT, the table's format is SKA_TABLE.  last = entries - 1. */
#define SKA_INTERPOLATE(y, table, x, first, width, last)                                                               \
    do {                                                                                                               \
        SKA_INT d_ = (x) - (first), left_, right_;                                                                     \
        ska_index i_;                                                                                                  \
        d_ = SKA_SATURATE(d_, 0, (SKA_INT)(last) << (width));                                                          \
        i_ = (ska_index)(d_ >> (width));                                                                               \
        i_ = i_ < (last) ? i_ : (last)-1;                                                                              \
        d_ -= (SKA_INT)i_ << (width);                                                                                  \
        left_ = (SKA_INT)SKA_LOAD(SKA_TABLE, table, i_);                                                               \
        right_ = (SKA_INT)SKA_LOAD(SKA_TABLE, table, i_ + 1);                                                          \
        (y) = (SKA_LEFT(left_, width) + (right_ - left_) * d_ + (((SKA_INT)1 << (width)) >> 1)) >> (width);            \
    } while (0)

#endif
