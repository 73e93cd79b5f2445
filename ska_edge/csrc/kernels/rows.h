/* SKA_NEXT_ROWS(sum, a, at_a, a_row, b, at_b, b_row, n, left): sums of n products, for the instance of contract or
 * contract_any that includes this.  sum[k] is that over row k of a, `a_row` elements after the one before, with row k of
 * b; SKA_ROWS at a time where they share their b (b_row is 0) and so many are left.  How many there were is returned.
 * SKA_TOTAL (32 or 64 bits) holds every sum. */
#if SKA_A_STEP == 1 && SKA_B_STEP == 1
#define SKA_DOT SKA_OWN(SKA_DOT_, SKA_A, SKA_B, SKA_TOTAL)
#define SKA_ROWS SKA_OWN(SKA_ROWS_, SKA_A, SKA_B, SKA_TOTAL)
#endif
#if SKA_ROWS
#define SKA_DOTS SKA_OWN(ska_dots_, SKA_A, SKA_B, SKA_TOTAL)
#else
#undef SKA_ROWS
#define SKA_ROWS SKA_GLUE(SKA_ROWS_IN_C_, SKA_TOTAL)
#endif
#define SKA_FACTOR SKA_GLUE(SKA_GLUE(int, SKA_PRODUCT), _t)
#define SKA_SUM SKA_GLUE(SKA_GLUE(int, SKA_TOTAL), _t)
#define SKA_NEXT_ROWS SKA_GLUE(SKA_NAME, _rows)

SKA_INLINE ska_index SKA_NEXT_ROWS(SKA_SUM *sum, const void *a, ska_index at_a, ska_index a_row, const void *b,
                                   ska_index at_b, ska_index b_row, ska_index n, ska_index left)
{
    const ska_index rows = SKA_ROWS;
    if (rows == 1 || (!b_row && left >= rows)) {
#ifdef SKA_DOTS
        SKA_DOTS(sum, SKA_AT(SKA_A, a, at_a), a_row * sizeof(SKA_GLUE(ska_, SKA_A)), SKA_AT(SKA_B, b, at_b), n);
#else
        ska_index k;
        SKA_UNROLLED
        for (k = 0; k < SKA_ROWS; k++) {
            sum[k] = 0;
        }
        for (; n; n--, at_a += SKA_A_STEP, at_b += SKA_B_STEP) {
            const SKA_FACTOR x = (SKA_FACTOR)SKA_LOAD(SKA_B, b, at_b);
            SKA_UNROLLED
            for (k = 0; k < SKA_ROWS; k++) {
                sum[k] += (SKA_FACTOR)SKA_LOAD(SKA_A, a, at_a + k * a_row) * x;
            }
        }
#endif
        return rows;
    }
#if SKA_DOT
    sum[0] = SKA_OWN(ska_dot_, SKA_A, SKA_B, SKA_TOTAL)(a, at_a, b, at_b, n);
#else
    sum[0] = 0;
    for (; n; n--, at_a += SKA_A_STEP, at_b += SKA_B_STEP) {
        sum[0] += (SKA_FACTOR)SKA_LOAD(SKA_A, a, at_a) * (SKA_FACTOR)SKA_LOAD(SKA_B, b, at_b);
    }
#endif
    return 1;
}
