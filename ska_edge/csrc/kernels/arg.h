/* SPEC 5.11: index of the first largest (or smallest) element of each row.  Instance: SKA_NAME, SKA_A, SKA_OUT, SKA_BITS. */
#include "arithmetic.h"

static void SKA_NAME(void *out, const void *a, ska_index rows, ska_index columns, ska_index stride, uint8_t largest)
{
    ska_index j, i, at = 0;
    for (j = 0; j < rows; j++) {
        SKA_INT best = (SKA_INT)SKA_LOAD(SKA_A, a, at);
        ska_index where = 0;
        for (i = 1; i < columns; i++) {
            const SKA_INT v = (SKA_INT)SKA_LOAD(SKA_A, a, at + i);
            if (largest ? v > best : v < best) {
                best = v;
                where = i;
            }
        }
        SKA_STORE(SKA_OUT, out, j, where);
        at += stride;
    }
}

#include "end.h"
