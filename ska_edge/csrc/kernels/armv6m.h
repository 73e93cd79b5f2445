/* The inner loops of contract and outer_update for Armv6-M (Cortex-M0, M0+), which has eight registers at hand.
 *
 * In assembly, because those eight are exactly enough.  Loads of bytes and half words with a sign want their offset in a
 * register: one counts down for all rows. */
#ifndef SKA_ARMV6M_H
#define SKA_ARMV6M_H

#define SKA_ROWS_s8_u8_32 2
#define SKA_ROWS_s8_s8_32 2
#define SKA_ROWS_s16_s16_64 1

#define SKA_TIMES_4(line) line line line line

/* While the count in r6 is not one of fours: `one` (which counts down); then four a turn, the offset running from the
 * last element, r6 - `size`, to below 0. */
#define SKA_COUNT_DOWN(size, fours, one)                                                                               \
    "1:\n"                                                                                                             \
    "movs   r7, #" fours "\n"                                                                                          \
    "subs   r6, #" size "\n"                                                                                           \
    "bmi    4f\n"                                                                                                      \
    "ands   r7, r6\n"                                                                                                  \
    "cmp    r7, #" fours "\n"                                                                                          \
    "beq    3f\n" one "b      1b\n"                                                                                    \
    ".p2align 2\n"                                                                                                     \
    "3:\n" SKA_TIMES_4(one "subs   r6, #" size "\n")                                                                   \
    "bpl    3b\n"                                                                                                      \
    "4:\n"

/* r4 and r5 += a product of each row: r1 and r2 are the rows, r3 is b, r6 the offset. */
#define SKA_COLUMN(load)                                                                                               \
    load " r7, [r3, r6]\n"                                                                                             \
    "ldrsb  r0, [r1, r6]\n"                                                                                            \
    "muls   r0, r7\n"                                                                                                  \
    "adds   r4, r0\n"                                                                                                  \
    "ldrsb  r0, [r2, r6]\n"                                                                                            \
    "muls   r0, r7\n"                                                                                                  \
    "adds   r5, r0\n"

#define SKA_DEFINE_DOTS_BYTES(format, load)                                                                            \
    SKA_ASSEMBLY void ska_dots_s8_##format##_32(int32_t *sums, const void *a, ska_index row, const void *b,            \
                                                ska_index n)                                                           \
    {                                                                                                                  \
        __asm__(".syntax unified\n"                                                                                    \
                "push   {r4-r7, lr}\n"                                                                                 \
                "mov    r12, r0\n"                                                                                     \
                "ldr    r6, [sp, #20]\n"                                                                               \
                "adds   r2, r1\n"                                                                                      \
                "movs   r4, #0\n"                                                                                      \
                "movs   r5, #0\n" SKA_COUNT_DOWN("1", "3", SKA_COLUMN(load))                                           \
                "mov    r0, r12\n"                                                                                     \
                "stmia  r0!, {r4, r5}\n"                                                                               \
                "pop    {r4-r7, pc}\n");                                                                               \
    }
SKA_DEFINE_DOTS_BYTES(u8, "ldrb  ")
SKA_DEFINE_DOTS_BYTES(s8, "ldrsb ")

/* r5:r4 += a product: r1 is the row, r3 is b, r6 the offset. */
#define SKA_WIDE_COLUMN                                                                                                \
    "ldrsh  r7, [r3, r6]\n"                                                                                            \
    "ldrsh  r2, [r1, r6]\n"                                                                                            \
    "muls   r2, r7\n"                                                                                                  \
    "asrs   r7, r2, #31\n"                                                                                             \
    "adds   r4, r2\n"                                                                                                  \
    "adcs   r5, r7\n"

SKA_ASSEMBLY void ska_dots_s16_s16_64(int64_t *sums, const void *a, ska_index row, const void *b, ska_index n)
{
    __asm__(".syntax unified\n"
            "push   {r4-r7, lr}\n"
            "ldr    r6, [sp, #20]\n"
            "lsls   r6, r6, #1\n"
            "movs   r4, #0\n"
            "movs   r5, #0\n" SKA_COUNT_DOWN("2", "6", SKA_WIDE_COLUMN)
            "stmia  r0!, {r4, r5}\n"
            "pop    {r4-r7, pc}\n");
}

/* A weight, its offset and what is added, as 32 bits that overflow where the weight saturates: offset and weight are
 * loaded the wrong way round, and turned by the 16 in r4.  r3 is the offset above 16 zeros, r8 is A there. */
#define SKA_LEARN_ONE(x, place, turn, back)                                                                            \
    "muls   " x ", r2\n"                                                                                               \
    "ldrh   r7, [r0, #" place "]\n"                                                                                    \
    "adds   r7, r3\n"                                                                                                  \
    "add    r3, r8\n"                                                                                                  \
    "rors   r7, r4\n"                                                                                                  \
    "adds   r7, " x "\n"                                                                                               \
    "bvs    " turn "f\n" back ":\n"                                                                                    \
    "lsrs   r7, r7, #16\n"                                                                                             \
    "strh   r7, [r0, #" place "]\n"
#define SKA_LEARN_TWO(at, first, second, turn)                                                                         \
    "ldr    r6, [r1, #" at "]\n"                                                                                       \
    "sxth   r5, r6\n" SKA_LEARN_ONE("r5", first, turn "0", turn "1")                                                   \
    "asrs   r6, r6, #16\n" SKA_LEARN_ONE("r6", second, turn "2", turn "3")
/* The sum has the wrong sign: what it saturates to is 2^31 (r9), less one where that sign is negative. */
#define SKA_SATURATED(turn, back)                                                                                      \
    turn ":\n"                                                                                                         \
    "lsrs   r7, r7, #31\n"                                                                                             \
    "negs   r7, r7\n"                                                                                                  \
    "add    r7, r9\n"                                                                                                  \
    "b      " back "b\n"

#define SKA_RUN_s16_s16 8

/* r0 weights, r1 inputs (a word's address), r2 s, r12 the inputs' end. */
SKA_ASSEMBLY void ska_run_s16_s16(void *w, const void *x, int32_t s, ska_index n, uint32_t offset)
{
    __asm__(".syntax unified\n"
            "push   {r4-r7, lr}\n"
            "mov    r4, r8\n"
            "mov    r5, r9\n"
            "push   {r4, r5}\n"
            "lsls   r3, r3, #1\n"
            "adds   r3, r1\n"
            "mov    r12, r3\n"
            "ldr    r3, [sp, #28]\n"
            "lsls   r3, r3, #16\n"
            "movs   r4, #1\n"
            "lsls   r4, r4, #31\n"
            "mov    r9, r4\n"
            "ldr    r4, 5f\n"
            "mov    r8, r4\n"
            "movs   r4, #16\n"
            ".p2align 2\n"
            "9:\n" SKA_LEARN_TWO("0", "0", "2", "1") SKA_LEARN_TWO("4", "4", "6", "2")
            SKA_LEARN_TWO("8", "8", "10", "3") SKA_LEARN_TWO("12", "12", "14", "4")
            "adds   r0, #16\n"
            "adds   r1, #16\n"
            "cmp    r1, r12\n"
            "bne    9b\n"
            "pop    {r4, r5}\n"
            "mov    r8, r4\n"
            "mov    r9, r5\n"
            "pop    {r4-r7, pc}\n" SKA_SATURATED("10", "11") SKA_SATURATED("12", "13") SKA_SATURATED("20", "21")
            SKA_SATURATED("22", "23") SKA_SATURATED("30", "31") SKA_SATURATED("32", "33") SKA_SATURATED("40", "41")
            SKA_SATURATED("42", "43")
            ".p2align 2\n"
            "5: .word 53685 << 16\n"); /* SKA_LATTICE_I */
}

#endif
