/* SPEC 5.1 with rows of a, one an output, and one summed axis: a matrix times a vector, a norm, neurons of fields.
 *
 * Instance: SKA_NAME, SKA_A, SKA_B, SKA_C, SKA_OUT (formats), SKA_A_STEP, SKA_B_STEP (elements from one summand to the
 * next), SKA_BITS, SKA_PRODUCT (bits that hold any product), SKA_ROUNDING.  a_row, b_row: elements from one output to the
 * next; outputs take `fields` rows of b in turn.  c_size 0: nothing is carried. */
#include "dot.h"
#include "tail.h"

#if SKA_A_STEP == 1 && SKA_B_STEP == 1
#define SKA_ROWS SKA_OWN(SKA_ROWS_, SKA_A, SKA_B, SKA_BITS)
#endif
#if SKA_ROWS
#define SKA_SUMS SKA_OWN(ska_dots_, SKA_A, SKA_B, SKA_BITS)
#else
#undef SKA_ROWS
#define SKA_ROWS SKA_GLUE(SKA_ROWS_IN_C_, SKA_BITS)
#endif
#include "sum.h"

static void SKA_NAME(void *out, const void *a, const void *b, const void *c, ska_index outs, ska_index sums,
                     ska_index a_row, ska_index b_row, ska_index fields, ska_index c_size, uint8_t c_shift, int32_t gain, int8_t shift,
                     uint32_t row, uint32_t t, SKA_INT lo, SKA_INT hi)
{
    ska_index at_a = 0, at_b = 0, at_c = 0, field = 0, j, rows, k;
    SKA_INT sum[SKA_ROWS];
    (void)c, (void)c_shift, (void)at_c, (void)row, (void)t;
    for (j = 0; j < outs; j += rows) {
        rows = SKA_ROWS; /* which share their b */
        if (rows > 1 && (b_row || outs - j < rows)) {
            rows = 1;
            sum[0] = SKA_SUM(a, at_a, b, at_b, sums);
        } else {
#ifdef SKA_SUMS
            SKA_SUMS(sum, SKA_AT(SKA_A, a, at_a), a_row * sizeof(SKA_GLUE(ska_, SKA_A)), SKA_AT(SKA_B, b, at_b), sums);
#else
            ska_index i;
            SKA_UNROLLED
            for (k = 0; k < SKA_ROWS; k++) {
                sum[k] = 0;
            }
            for (i = 0; i < sums; i++) {
                const SKA_FACTOR x = (SKA_FACTOR)SKA_LOAD(SKA_B, b, at_b + i * SKA_B_STEP);
                SKA_UNROLLED
                for (k = 0; k < SKA_ROWS; k++) {
                    sum[k] += (SKA_FACTOR)SKA_LOAD(SKA_A, a, at_a + k * a_row + i * SKA_A_STEP) * x;
                }
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

#include "end.h"
