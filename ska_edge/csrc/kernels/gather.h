/* SPEC 5.8: out[k] = a[index[k]].  Instance: SKA_NAME, SKA_A, SKA_INDEX, SKA_OUT (formats). */
#include "arithmetic.h"

static void SKA_NAME(void *out, const void *a, const void *index, ska_index size)
{
    ska_index k;
    for (k = 0; k < size; k++) {
        SKA_STORE(SKA_OUT, out, k, SKA_LOAD(SKA_A, a, (ska_index)SKA_LOAD(SKA_INDEX, index, k)));
    }
}

#include "end.h"
