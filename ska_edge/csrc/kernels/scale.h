/* SPEC 5.2: out = requantise(gain * a * b + (c << c_shift)), element by element, suffix broadcast.
 *
 * Instance: SKA_NAME, SKA_A, SKA_B, SKA_C, SKA_OUT (formats), SKA_BITS, SKA_ROUNDING.  b_size or c_size 0: absent. */
#include "tail.h"

static void SKA_NAME(void *out, const void *a, const void *b, const void *c, ska_index size, ska_index a_size,
                     ska_index b_size, ska_index c_size, uint8_t c_shift, int32_t gain, int8_t shift, uint32_t row,
                     uint32_t t, SKA_INT lo, SKA_INT hi)
{
    ska_index at_a = 0, at_b = 0, at_c = 0, k;
    (void)b, (void)at_b, (void)c, (void)c_shift, (void)at_c, (void)row, (void)t;
    for (k = 0; k < size; k++) {
        SKA_INT v = (SKA_INT)SKA_LOAD(SKA_A, a, at_a);
        at_a = SKA_NEXT(at_a, a_size);
        if (b_size) {
            v *= (SKA_INT)SKA_LOAD(SKA_B, b, at_b);
            at_b = SKA_NEXT(at_b, b_size);
        }
        SKA_FINISH(v * (SKA_INT)gain, k);
    }
}

#include "end.h"
