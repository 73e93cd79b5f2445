/* SPEC 5.3.  Instance: SKA_NAME, SKA_X, SKA_TABLE, SKA_OUT (formats), SKA_BITS. */
#include "interpolate.h"

static void SKA_NAME(void *out, const void *x, const void *table, ska_index size, SKA_INT first, uint8_t width,
                     ska_index last, uint8_t shift, SKA_INT lo, SKA_INT hi)
{
    ska_index k;
    for (k = 0; k < size; k++) {
        SKA_INT y;
        SKA_INTERPOLATE(y, table, (SKA_INT)SKA_LOAD(SKA_X, x, k), first, width, last);
        y = (y + (((SKA_INT)1 << shift) >> 1)) >> shift;
        SKA_STORE(SKA_OUT, out, k, SKA_SATURATE(y, lo, hi));
    }
}

#include "end.h"
