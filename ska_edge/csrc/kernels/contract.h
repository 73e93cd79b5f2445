/* SPEC 5.1 with rows of a, one an output, and one summed axis: a matrix times a vector, a norm, neurons of fields.
 *
 * Instance: SKA_NAME, SKA_A, SKA_B, SKA_C, SKA_OUT (formats), SKA_A_STEP, SKA_B_STEP (elements from one summand to the
 * next), SKA_BITS, SKA_ROUNDING.  a_row, b_row: elements from one output to the next; outputs
 * take `fields` rows of b in turn.  c_size 0: nothing is carried. */
#include "dot.h"
#include "tail.h"

static void SKA_NAME(void *out, const void *a, const void *b, const void *c, ska_index outs, ska_index sums,
                     ska_index a_row, ska_index b_row, ska_index fields, ska_index c_size, uint8_t c_shift, int32_t gain, int8_t shift,
                     uint32_t row, uint32_t t, SKA_INT lo, SKA_INT hi)
{
    ska_index at_a = 0, at_b = 0, at_c = 0, field = 0, j;
    (void)c, (void)c_shift, (void)at_c, (void)row, (void)t;
    for (j = 0; j < outs; j++) {
#if SKA_HAS_DOT
        SKA_INT sum = SKA_DOT(a, at_a, b, at_b, sums);
#else
        SKA_INT sum = 0;
        ska_index i;
        for (i = 0; i < sums; i++) {
            sum += (SKA_INT)SKA_LOAD(SKA_A, a, at_a + i * SKA_A_STEP) *
                   (SKA_INT)SKA_LOAD(SKA_B, b, at_b + i * SKA_B_STEP);
        }
#endif
        SKA_FINISH(sum * (SKA_INT)gain, j);
        at_a += a_row;
        at_b += b_row;
        if (++field == fields) {
            field = 0;
            at_b = 0;
        }
    }
}

#undef SKA_A_STEP
#undef SKA_B_STEP
#include "end.h"
