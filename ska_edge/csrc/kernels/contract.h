/* SPEC 5.1 with rows of a, one an output, and one summed axis: a matrix times a vector, a norm, neurons of fields.
 *
 * Instance: SKA_NAME, SKA_A, SKA_B, SKA_C, SKA_OUT (formats), SKA_A_STEP, SKA_B_STEP (elements from one summand to the
 * next), SKA_BITS, SKA_PRODUCT (bits that hold any product), SKA_ROUNDING.  a_row, b_row: elements from one output to the
 * next; outputs take `fields` rows of b in turn.  c_size 0: nothing is carried. */
#include "dot.h"
#include "tail.h"

#if SKA_A_STEP == 1 && SKA_B_STEP == 1
#define SKA_DOTS SKA_OWN(ska_dots_, SKA_A, SKA_B, SKA_BITS)
#define SKA_ROWS SKA_OWN(SKA_ROWS_, SKA_A, SKA_B, SKA_BITS)
#define SKA_DOT SKA_OWN(SKA_DOT_, SKA_A, SKA_B, SKA_BITS)
#endif
#if !SKA_ROWS
#undef SKA_ROWS
#define SKA_ROWS 1
#undef SKA_DOTS
#endif
#define SKA_FACTOR SKA_GLUE(SKA_GLUE(int, SKA_PRODUCT), _t)

static void SKA_NAME(void *out, const void *a, const void *b, const void *c, ska_index outs, ska_index sums,
                     ska_index a_row, ska_index b_row, ska_index fields, ska_index c_size, uint8_t c_shift, int32_t gain, int8_t shift,
                     uint32_t row, uint32_t t, SKA_INT lo, SKA_INT hi)
{
    ska_index at_a = 0, at_b = 0, at_c = 0, field = 0, j, rows, k;
    SKA_INT sum[SKA_ROWS];
    (void)c, (void)c_shift, (void)at_c, (void)row, (void)t;
    for (j = 0; j < outs; j += rows) {
#ifdef SKA_DOTS
        rows = SKA_ROWS;
        if (rows == 1 || (!b_row && outs - j >= rows)) {
            SKA_DOTS(sum, SKA_AT(SKA_A, a, at_a), a_row * sizeof(SKA_GLUE(ska_, SKA_A)), SKA_AT(SKA_B, b, at_b), sums);
        } else
#endif
        {
            rows = 1;
#if SKA_DOT
            sum[0] = SKA_OWN(ska_dot_, SKA_A, SKA_B, SKA_BITS)(a, at_a, b, at_b, sums);
#else
            sum[0] = 0;
            for (k = 0; k < sums; k++) {
                sum[0] += (SKA_FACTOR)SKA_LOAD(SKA_A, a, at_a + k * SKA_A_STEP) *
                          (SKA_FACTOR)SKA_LOAD(SKA_B, b, at_b + k * SKA_B_STEP);
            }
#endif
        }
        for (k = 0; k < rows; k++) {
            SKA_FINISH(sum[k] * (SKA_INT)gain, j + k);
            at_a += a_row;
            at_b += b_row;
            if (++field == fields) {
                field = 0;
                at_b = 0;
            }
        }
    }
}

#undef SKA_DOTS
#undef SKA_ROWS
#undef SKA_DOT
#undef SKA_FACTOR
#undef SKA_PRODUCT
#undef SKA_A_STEP
#undef SKA_B_STEP
#include "end.h"
