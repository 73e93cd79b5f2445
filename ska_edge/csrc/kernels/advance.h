/* SPEC 5.12: t = (t + 1) mod 2^bits.  Instance: SKA_NAME, SKA_OUT. */
#include "arithmetic.h"

static void SKA_NAME(void *t, uint32_t mask) { SKA_STORE(SKA_OUT, t, 0, ((uint32_t)SKA_LOAD(SKA_OUT, t, 0) + 1U) & mask); }

#include "end.h"
