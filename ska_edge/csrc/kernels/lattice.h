/* SPEC 5.7: out[i] = offset(i, neuron, t).  Instance: SKA_NAME, SKA_OUT. */
#include "arithmetic.h"

static void SKA_NAME(void *out, ska_index size, uint32_t neuron, uint32_t t)
{
    uint16_t offset = ska_offset(0, neuron, t);
    ska_index i;
    for (i = 0; i < size; i++) {
        SKA_STORE(SKA_OUT, out, i, offset);
        offset = (uint16_t)(offset + SKA_LATTICE_I);
    }
}

#include "end.h"
