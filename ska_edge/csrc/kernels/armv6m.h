/* The inner loops of contract and outer_update for Armv6-M (Cortex-M0, M0+), which has eight registers at hand.
 *
 * In assembly, because those eight are exactly enough.  Loads of bytes and half words with a sign want their offset in a
 * register: one counts down for all rows. */
#ifndef SKA_ARMV6M_H
#define SKA_ARMV6M_H

#define SKA_ROWS_s8_u8_32 2
#define SKA_ROWS_s8_s8_32 2
#define SKA_ROWS_s16_s16_64 1

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

/* A weight with its offset behind it, as high in 32 bits as it goes: they overflow where the weight saturates.  It is
 * loaded below the offset, which is in the upper half of r3, and turned by the number in r4.  r8 is A in the upper half. */
#define SKA_LEARN_ONE(load, store, down, x, place, label)                                                              \
    "muls   " x ", r2\n" load " r7, [r0, #" place "]\n"                                                                \
    "adds   r7, r3\n"                                                                                                  \
    "add    r3, r8\n"                                                                                                  \
    "rors   r7, r4\n"                                                                                                  \
    "adds   r7, " x "\n"                                                                                               \
    "bvs    " label "0f\n" label "1:\n"                                                                                \
    "lsrs   r7, r7, #" down "\n" store " r7, [r0, #" place "]\n"
/* Its sum has the wrong sign: what it saturates to is 2^31 (r9), less one where that sign is negative. */
#define SKA_SATURATED(label)                                                                                           \
    label "0:\n"                                                                                                       \
    "lsrs   r7, r7, #31\n"                                                                                             \
    "negs   r7, r7\n"                                                                                                  \
    "add    r7, r9\n"                                                                                                  \
    "b      " label "1b\n"

#define SKA_ONE_s16(x, k) SKA_LEARN_ONE("ldrh  ", "strh  ", "16", x, #k "*2", "1" #k)
#define SKA_ONE_s8(x, k) SKA_LEARN_ONE("ldrb  ", "strb  ", "24", x, #k, "1" #k)

/* Inputs come as words, but for bytes without a sign. */
#define SKA_TWO_s16(one, j, k)                                                                                         \
    "ldr    r6, [r1, #" #j "*2]\n"                                                                                     \
    "sxth   r5, r6\n" one("r5", j) "asrs   r6, r6, #16\n" one("r6", k)
#define SKA_EIGHT_s16(one)                                                                                             \
    SKA_TWO_s16(one, 0, 1) SKA_TWO_s16(one, 2, 3) SKA_TWO_s16(one, 4, 5) SKA_TWO_s16(one, 6, 7) "adds   r1, #16\n"
#define SKA_FOUR_s8(one, i, j, k, l)                                                                                   \
    "ldr    r6, [r1, #" #i "]\n"                                                                                       \
    "sxtb   r5, r6\n" one("r5", i) "lsls   r5, r6, #16\n"                                                              \
    "asrs   r5, r5, #24\n" one("r5", j) "lsls   r5, r6, #8\n"                                                          \
    "asrs   r5, r5, #24\n" one("r5", k) "asrs   r6, r6, #24\n" one("r6", l)
#define SKA_EIGHT_s8(one) SKA_FOUR_s8(one, 0, 1, 2, 3) SKA_FOUR_s8(one, 4, 5, 6, 7) "adds   r1, #8\n"
#define SKA_BYTE_u8(one, k) "ldrb   r5, [r1, #" #k "]\n" one("r5", k)
#define SKA_EIGHT_u8(one)                                                                                              \
    SKA_BYTE_u8(one, 0) SKA_BYTE_u8(one, 1) SKA_BYTE_u8(one, 2) SKA_BYTE_u8(one, 3) SKA_BYTE_u8(one, 4)                \
        SKA_BYTE_u8(one, 5) SKA_BYTE_u8(one, 6) SKA_BYTE_u8(one, 7) "adds   r1, #8\n"

#define SKA_RUN_s16_s16 8
#define SKA_RUN_s16_u8 8
#define SKA_RUN_s16_s8 8
#define SKA_RUN_s8_u8 8
#define SKA_RUN_s8_s8 8

/* r0 weights, r1 inputs, r2 s, r12 the inputs' end. */
#define SKA_DEFINE_RUN(w_format, w_bytes, x_format, x_bytes)                                                           \
    SKA_ASSEMBLY void ska_run_##w_format##_##x_format(void *w, const void *x, int32_t s, ska_index n, uint32_t offset) \
    {                                                                                                                  \
        __asm__(".syntax unified\n"                                                                                    \
                "push   {r4-r7, lr}\n"                                                                                 \
                "mov    r4, r8\n"                                                                                      \
                "mov    r5, r9\n"                                                                                      \
                "push   {r4, r5}\n"                                                                                    \
                "lsls   r3, r3, #" #x_bytes "-1\n"                                                                     \
                "adds   r3, r1\n"                                                                                      \
                "mov    r12, r3\n"                                                                                     \
                "lsls   r2, r2, #16-8*" #w_bytes "\n"                                                                  \
                "ldr    r3, [sp, #28]\n"                                                                               \
                "lsls   r3, r3, #16\n"                                                                                 \
                "movs   r4, #1\n"                                                                                      \
                "lsls   r4, r4, #31\n"                                                                                 \
                "mov    r9, r4\n"                                                                                      \
                "ldr    r4, 9f\n"                                                                                     \
                "mov    r8, r4\n"                                                                                      \
                "movs   r4, #8*" #w_bytes "\n"                                                                         \
                ".p2align 2\n"                                                                                         \
                "8:\n" SKA_EIGHT_##x_format(SKA_ONE_##w_format) "adds   r0, #8*" #w_bytes "\n"                        \
                "cmp    r1, r12\n"                                                                                     \
                "bne    8b\n"                                                                                         \
                "pop    {r4, r5}\n"                                                                                    \
                "mov    r8, r4\n"                                                                                      \
                "mov    r9, r5\n"                                                                                      \
                "pop    {r4-r7, pc}\n" SKA_SATURATED("10") SKA_SATURATED("11") SKA_SATURATED("12") SKA_SATURATED("13")     \
                    SKA_SATURATED("14") SKA_SATURATED("15") SKA_SATURATED("16") SKA_SATURATED("17") ".p2align 2\n"         \
                "9: .word 53685 << 16\n"); /* SKA_LATTICE_I */                                                        \
    }
SKA_DEFINE_RUN(s16, 2, s16, 2)
SKA_DEFINE_RUN(s16, 2, u8, 1)
SKA_DEFINE_RUN(s16, 2, s8, 1)
SKA_DEFINE_RUN(s8, 1, u8, 1)
SKA_DEFINE_RUN(s8, 1, s8, 1)

#endif
