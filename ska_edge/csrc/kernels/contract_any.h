/* SPEC 5.1 with any axes: for batches, patches, and whatever `contract.h` does not cover.
 *
 * Instance as there.  The last output axis has `outs` elements, a_row and b_row apart; the last summed axis has n, and the
 * steps of the instance.  loops: (extent, step in a, step in b) of every other axis, `outer` of the output, then `inner`
 * that are summed, the last fastest; at most 2 of the one and 5 of the other. */
#include "core.h"
#include "tail.h"
#include "rows.h"

#ifndef SKA_LOOPS_H
#define SKA_LOOPS_H
/* One more in an odometer of `count` axes; moves both places; returns 0 after the last. */
static inline uint8_t ska_advance_axes(const uint32_t (*loops)[3], uint8_t count, ska_index *index, ska_index *at_a,
                                       ska_index *at_b)
{
    while (count--) {
        ska_index extent = (ska_index)loops[count][0], a = (ska_index)loops[count][1], b = (ska_index)loops[count][2];
        *at_a += a;
        *at_b += b;
        if (++index[count] < extent) {
            return 1;
        }
        index[count] = 0;
        *at_a -= extent * a;
        *at_b -= extent * b;
    }
    return 0;
}
#endif

static void SKA_NAME(void *out, const void *a, const void *b, const void *c, const uint32_t (*loops)[3], uint8_t outer,
                     uint8_t inner, ska_index outs, ska_index n, ska_index a_row, ska_index b_row, ska_index c_size,
                     uint8_t c_shift, int32_t gain, int8_t shift, uint32_t row, uint32_t t, SKA_INT lo, SKA_INT hi)
{
    ska_index out_index[2] = {0, 0}, from_a = 0, from_b = 0, at_c = 0, k = 0;
    (void)c, (void)c_shift, (void)at_c, (void)row, (void)t;
    do {
        ska_index row_a = from_a, row_b = from_b, left = outs;
        while (left) {
            ska_index index[5] = {0, 0, 0, 0, 0}, at_a = row_a, at_b = row_b, rows, i;
            SKA_SUM sum[SKA_ROWS], part[SKA_ROWS];
            rows = SKA_NEXT_ROWS(sum, a, at_a, a_row, b, at_b, b_row, n, left);
            while (ska_advance_axes(loops + outer, inner, index, &at_a, &at_b)) {
                (void)SKA_NEXT_ROWS(part, a, at_a, a_row, b, at_b, b_row, n, left);
                for (i = 0; i < rows; i++) {
                    sum[i] += part[i];
                }
            }
            for (i = 0; i < rows; i++, k++) {
                SKA_FINISH((SKA_INT)sum[i] * (SKA_INT)gain, k);
            }
            row_a += rows * a_row;
            row_b += rows * b_row;
            left -= rows;
        }
    } while (ska_advance_axes(loops, outer, out_index, &from_a, &from_b));
}

#include "end.h"
