/* SPEC 5.6: p[k] += ((v[k] << v_shift) + offset) >> shift, saturating.
 *
 * Instance: SKA_NAME, SKA_P, SKA_X (v's) (formats), SKA_BITS.  rows x columns elements; for one axis or none rows is 1 and
 * the lattice is read at i = row, j = k (plain = 1), else at i = column, j = row.  p_stride, v_stride: see outer_update. */
#include "arithmetic.h"

static void SKA_NAME(void *p, const void *v, ska_index rows, ska_index columns, ska_index p_stride, ska_index v_stride,
                     uint8_t plain, uint8_t v_shift, uint8_t shift, uint32_t row, uint32_t t, SKA_INT lo, SKA_INT hi)
{
    ska_index i, j;
    for (j = 0; j < rows; j++) {
        for (i = 0; i < columns; i++) {
            const uint16_t offset = plain ? ska_offset(row, i, t) : ska_offset(i, j, t);
            SKA_INT moved = SKA_LEFT((SKA_INT)SKA_LOAD(SKA_X, v, j * v_stride + i), v_shift) + SKA_SCALED(offset, shift);
            moved = (SKA_INT)SKA_LOAD(SKA_P, p, j * p_stride + i) + (moved >> shift);
            SKA_STORE(SKA_P, p, j * p_stride + i, SKA_SATURATE(moved, lo, hi));
        }
    }
}

#include "end.h"
