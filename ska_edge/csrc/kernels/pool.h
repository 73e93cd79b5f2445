/* SPEC 5.9: out[k] = the largest of a[windows[k,p]].  Instance: SKA_NAME, SKA_A, SKA_INDEX, SKA_OUT (formats), SKA_BITS. */
#include "arithmetic.h"

static void SKA_NAME(void *out, const void *a, const void *windows, ska_index size, ska_index count)
{
    ska_index k, p, at = 0;
    for (k = 0; k < size; k++) {
        SKA_INT best = (SKA_INT)SKA_LOAD(SKA_A, a, (ska_index)SKA_LOAD(SKA_INDEX, windows, at));
        for (p = 1; p < count; p++) {
            const SKA_INT v = (SKA_INT)SKA_LOAD(SKA_A, a, (ska_index)SKA_LOAD(SKA_INDEX, windows, at + p));
            best = v > best ? v : best;
        }
        SKA_STORE(SKA_OUT, out, k, best);
        at += count;
    }
}

#include "end.h"
