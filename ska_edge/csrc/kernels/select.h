/* SPEC 5.10: out = a where p == q (or p < q), else b; suffix broadcast.
 *
 * Instance: SKA_NAME, SKA_P, SKA_Q, SKA_A, SKA_B, SKA_OUT (formats), SKA_BITS. */
#include "tail.h"

static void SKA_NAME(void *out, const void *p, const void *q, const void *a, const void *b, ska_index size,
                     ska_index p_size, ska_index q_size, ska_index a_size, ska_index b_size, uint8_t less)
{
    ska_index at_p = 0, at_q = 0, at_a = 0, at_b = 0, k;
    for (k = 0; k < size; k++) {
        const SKA_INT left = (SKA_INT)SKA_LOAD(SKA_P, p, at_p), right = (SKA_INT)SKA_LOAD(SKA_Q, q, at_q);
        const SKA_INT yes = (SKA_INT)SKA_LOAD(SKA_A, a, at_a), no = (SKA_INT)SKA_LOAD(SKA_B, b, at_b);
        SKA_STORE(SKA_OUT, out, k, (less ? left < right : left == right) ? yes : no);
        at_p = SKA_NEXT(at_p, p_size);
        at_q = SKA_NEXT(at_q, q_size);
        at_a = SKA_NEXT(at_a, a_size);
        at_b = SKA_NEXT(at_b, b_size);
    }
}

#include "end.h"
