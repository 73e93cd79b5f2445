/* SPEC 5.1 with rows of a, one an output, and one summed axis: a matrix times a vector, a norm, neurons of fields.
 *
 * Instance: SKA_NAME, SKA_A, SKA_B, SKA_C, SKA_OUT (formats), SKA_A_STEP, SKA_B_STEP (elements from one summand to the
 * next), SKA_BITS, SKA_PRODUCT and SKA_TOTAL (bits that hold any product and any sum), SKA_ROUNDING.  a_row, b_row:
 * elements from one output to the next; outputs take `fields` rows of b in turn.  c_size 0: nothing is carried. */
#include "core.h"
#include "tail.h"
#include "rows.h"

static void SKA_NAME(void *out, const void *a, const void *b, const void *c, ska_index outs, ska_index sums,
                     ska_index a_row, ska_index b_row, ska_index fields, ska_index c_size, uint8_t c_shift,
                     int32_t gain, int8_t shift, uint32_t row, uint32_t t, SKA_INT lo, SKA_INT hi)
{
    ska_index at_a = 0, at_b = 0, at_c = 0, field = 0, j, rows, k;
    SKA_SUM sum[SKA_ROWS];
    (void)c, (void)c_shift, (void)at_c, (void)row, (void)t;
    for (j = 0; j < outs; j += rows) {
        rows = SKA_NEXT_ROWS(sum, a, at_a, a_row, b, at_b, b_row, sums, outs - j);
        for (k = 0; k < rows; k++) {
            SKA_FINISH((SKA_INT)sum[k] * (SKA_INT)gain, j + k);
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
