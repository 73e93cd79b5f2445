/* SKA_SUM(a, at_a, b, at_b, n): the sum of n products, for the instance of contract or contract_any that includes this. */
#define SKA_FACTOR SKA_GLUE(SKA_GLUE(int, SKA_PRODUCT), _t)
#if SKA_A_STEP == 1 && SKA_B_STEP == 1
#define SKA_DOT SKA_OWN(SKA_DOT_, SKA_A, SKA_B, SKA_BITS)
#endif
#if SKA_DOT
#define SKA_SUM SKA_OWN(ska_dot_, SKA_A, SKA_B, SKA_BITS)
#else
#define SKA_SUM SKA_GLUE(SKA_NAME, _sum)
SKA_INLINE SKA_INT SKA_SUM(const void *a, ska_index at_a, const void *b, ska_index at_b, ska_index n)
{
    SKA_INT sum = 0;
    for (; n; n--, at_a += SKA_A_STEP, at_b += SKA_B_STEP) {
        sum += (SKA_FACTOR)SKA_LOAD(SKA_A, a, at_a) * (SKA_FACTOR)SKA_LOAD(SKA_B, b, at_b);
    }
    return sum;
}
#endif
