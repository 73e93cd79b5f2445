/* SPEC 5.1 with any axes: for batches, patches, and whatever `contract.h` does not cover.  Slow and general.
 *
 * Instance as there.  The last summed axis has n elements and the steps of the instance.  loops: (extent, step in a, step
 * in b) of every other axis, output axes first, then summed axes, the last fastest; at most 3 of the one and 5 of the
 * other. */
#include "dot.h"
#include "tail.h"
#include "sum.h"

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

static void SKA_NAME(void *out, const void *a, const void *b, const void *c, const uint32_t (*loops)[3], uint8_t outs,
                     uint8_t sums, ska_index n, ska_index c_size, uint8_t c_shift, int32_t gain, int8_t shift, uint32_t row,
                     uint32_t t, SKA_INT lo, SKA_INT hi)
{
    ska_index out_index[3] = {0, 0, 0}, from_a = 0, from_b = 0, at_c = 0, k = 0;
    (void)c, (void)c_shift, (void)at_c, (void)row, (void)t;
    do {
        ska_index index[5] = {0, 0, 0, 0, 0}, at_a = from_a, at_b = from_b;
        SKA_INT sum = 0;
        do {
            sum += SKA_SUM(a, at_a, b, at_b, n);
        } while (ska_advance_axes(loops + outs, sums, index, &at_a, &at_b));
        SKA_FINISH(sum * (SKA_INT)gain, k);
        k++;
    } while (ska_advance_axes(loops, outs, out_index, &from_a, &from_b));
}

#include "end.h"
