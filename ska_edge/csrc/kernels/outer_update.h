/* SPEC 5.5: w[j,i] += (s[j]*x[i] + offset(i,j,t)) >> shift, saturating: the learning of a synapse, in place.
 *
 * Instance: SKA_NAME, SKA_W, SKA_S, SKA_X (formats), SKA_BITS; SKA_TOWARDS where x less w takes the place of x.
 * stride, x_stride: elements from one row of w, or of x, to the next (4-bit rows are padded); neurons take the `fields`
 * rows of x in turn. */
#include "learn.h"

static void SKA_NAME(void *w, const void *s, const void *x, ska_index neurons, ska_index inputs, ska_index stride,
                     ska_index x_stride, ska_index fields, uint8_t shift, uint32_t t,
#ifdef SKA_TOWARDS
                     uint8_t x_shift, uint8_t w_shift,
#endif
                     SKA_INT lo, SKA_INT hi)
{
    ska_index at_w = 0, at_x = 0, field = 0, i, j;
    for (j = 0; j < neurons; j++) {
        const SKA_INT factor = (SKA_INT)SKA_LOAD(SKA_S, s, j);
        uint16_t offset = ska_offset(0, j, t); /* the next input's is one addition on */
        i = factor ? 0 : inputs; /* an offset alone is below 2^shift: it moves nothing */
#if SKA_HAS_LEARN && !defined(SKA_TOWARDS)
        if (factor && shift <= 16 && lo == SKA_GLUE(SKA_LOWEST_, SKA_W) && hi == -lo - 1) {
            const int32_t scaled = factor * ((int32_t)1 << (16 - shift)), most = SKA_GLUE(SKA_LEARN_MOST_, SKA_W);
            if (-most - 1 <= scaled && scaled <= most) {
                SKA_GLUE(SKA_GLUE(SKA_GLUE(ska_learn_, SKA_W), _), SKA_X)(w, at_w, scaled, x, at_x, inputs, offset);
                i = inputs;
            }
        }
#endif
        for (; i < inputs; i++) {
            const SKA_INT from = (SKA_INT)SKA_LOAD(SKA_W, w, at_w + i);
            SKA_INT v = (SKA_INT)SKA_LOAD(SKA_X, x, at_x + i);
#ifdef SKA_TOWARDS
            v = v * ((SKA_INT)1 << x_shift) - from * ((SKA_INT)1 << w_shift);
#endif
            v = factor * v + SKA_SCALED(offset, shift);
            SKA_STORE(SKA_W, w, at_w + i, SKA_SATURATE(from + (v >> shift), lo, hi));
            offset = (uint16_t)(offset + SKA_LATTICE_I);
        }
        at_w += stride;
        at_x += x_stride;
        if (++field == fields) {
            field = 0;
            at_x = 0;
        }
    }
}

#include "end.h"
