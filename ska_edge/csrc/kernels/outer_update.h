/* SPEC 5.5: w[j,i] += (s[j]*x[i] + offset(i,j,t)) >> shift, saturating: the learning of a synapse, in place.
 *
 * Instance: SKA_NAME, SKA_W, SKA_S, SKA_X (formats), SKA_BITS.  stride: elements from one row of w to the next (4-bit rows
 * are padded); x_row: the same of x, or 0 where all neurons share their inputs. */
#include "learn.h"

static void SKA_NAME(void *w, const void *s, const void *x, ska_index neurons, ska_index inputs, ska_index stride,
                     ska_index x_row, uint8_t shift, uint32_t t, SKA_INT lo, SKA_INT hi)
{
    ska_index at_w = 0, at_x = 0, i, j;
    for (j = 0; j < neurons; j++) {
        const SKA_INT factor = (SKA_INT)SKA_LOAD(SKA_S, s, j);
        uint16_t offset = ska_offset(0, j, t); /* the next input's is one addition on */
#if SKA_HAS_LEARN
        if (shift == 16 && lo == INT16_MIN && hi == INT16_MAX) {
            SKA_LEARN(w, at_w, (int16_t)factor, x, at_x, inputs, offset);
            at_w += stride;
            at_x += x_row;
            continue;
        }
#endif
        for (i = 0; factor && i < inputs; i++) { /* an offset alone is below 2^shift: it moves nothing */
            SKA_INT v = factor * (SKA_INT)SKA_LOAD(SKA_X, x, at_x + i) + SKA_SCALED(offset, shift);
            v = (SKA_INT)SKA_LOAD(SKA_W, w, at_w + i) + (v >> shift);
            SKA_STORE(SKA_W, w, at_w + i, SKA_SATURATE(v, lo, hi));
            offset = (uint16_t)(offset + SKA_LATTICE_I);
        }
        at_w += stride;
        at_x += x_row;
    }
}

#include "end.h"
