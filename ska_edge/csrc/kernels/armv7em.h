/* The inner loops of contract and outer_update for Armv7E-M's pairs of 16 bits (SIMD32: Cortex-M4, M7, M33).
 *
 * The longest in assembly: 14 registers hold all that a loop wants only if nobody else gives them out, and a load takes
 * one cycle instead of two behind another load.  All of these cores load words from any address. */
#ifndef SKA_ARMV7EM_H
#define SKA_ARMV7EM_H

#include <arm_acle.h>

#define SKA_DOT_s16_s16_64 1
#define SKA_DOT_s16_u8_64 1
#define SKA_DOT_s16_u8_32 1
#define SKA_DOT_s16_s8_64 1
#define SKA_DOT_s16_s8_32 1
#define SKA_DOT_s8_u8_32 1
#define SKA_DOT_s8_s8_32 1

#if defined(__clang__)
typedef int8x4_t ska_bytes; /* clang's __uxtb16 takes signed bytes, against ACLE; gcc's does not */
#else
typedef uint8x4_t ska_bytes;
#endif

/* Four bytes from any address: these cores load unaligned words. */
SKA_INLINE uint32_t ska_word(const void *p)
{
    uint32_t word;
    __builtin_memcpy(&word, p, sizeof word);
    return word;
}

/* The bytes 0 and 2, or 1 and 3, of a word as two 16-bit lanes. */
SKA_INLINE int16x2_t ska_even_s8(uint32_t word) { return __sxtb16((int8x4_t)word); }
SKA_INLINE int16x2_t ska_odd_s8(uint32_t word) { return __sxtb16((int8x4_t)(word >> 8)); }
SKA_INLINE int16x2_t ska_even_u8(uint32_t word) { return (int16x2_t)__uxtb16((ska_bytes)word); }
SKA_INLINE int16x2_t ska_odd_u8(uint32_t word) { return (int16x2_t)__uxtb16((ska_bytes)(word >> 8)); }

/* s8 times bytes: four a turn, bytes 0 and 2 with 0 and 2, 1 and 3 with 1 and 3. */
#define SKA_DEFINE_DOT_BYTES(format)                                                                                   \
    SKA_INLINE int32_t ska_dot_s8_##format##_32(const void *a, ska_index at_a, const void *b, ska_index at_b,          \
                                                ska_index n)                                                           \
    {                                                                                                                  \
        const ska_s8 *p = (const ska_s8 *)a + at_a;                                                                    \
        const ska_##format *q = (const ska_##format *)b + at_b;                                                        \
        int32_t sum = 0;                                                                                               \
        for (; n >= 4; n -= 4, p += 4, q += 4) {                                                                       \
            const uint32_t w = ska_word(p), x = ska_word(q);                                                           \
            sum = __smlad(ska_even_s8(w), ska_even_##format(x), sum);                                                  \
            sum = __smlad(ska_odd_s8(w), ska_odd_##format(x), sum);                                                    \
        }                                                                                                              \
        for (; n; n--) {                                                                                               \
            sum += *p++ * *q++;                                                                                        \
        }                                                                                                              \
        return sum;                                                                                                    \
    }
SKA_DEFINE_DOT_BYTES(u8)
SKA_DEFINE_DOT_BYTES(s8)

/* s16 times bytes: four a turn; the halves of two words of weights are packed to match bytes 0 and 2, 1 and 3. */
#define SKA_DEFINE_DOT_MIXED(format, bits, mla)                                                                        \
    SKA_INLINE int##bits##_t ska_dot_s16_##format##_##bits(const void *a, ska_index at_a, const void *b,               \
                                                           ska_index at_b, ska_index n)                                \
    {                                                                                                                  \
        const ska_s16 *p = (const ska_s16 *)a + at_a;                                                                  \
        const ska_##format *q = (const ska_##format *)b + at_b;                                                        \
        int##bits##_t sum = 0;                                                                                         \
        for (; n >= 4; n -= 4, p += 4, q += 4) {                                                                       \
            const uint32_t low = ska_word(p), high = ska_word(p + 2), x = ska_word(q);                                 \
            sum = mla((int16x2_t)((low & 0xFFFFU) | (high << 16)), ska_even_##format(x), sum);                         \
            sum = mla((int16x2_t)((low >> 16) | (high & 0xFFFF0000U)), ska_odd_##format(x), sum);                      \
        }                                                                                                              \
        for (; n; n--) {                                                                                               \
            sum += *p++ * *q++;                                                                                        \
        }                                                                                                              \
        return sum;                                                                                                    \
    }
SKA_DEFINE_DOT_MIXED(u8, 64, __smlald)
SKA_DEFINE_DOT_MIXED(u8, 32, __smlad)
SKA_DEFINE_DOT_MIXED(s8, 64, __smlald)
SKA_DEFINE_DOT_MIXED(s8, 32, __smlad)

/* s16 times s16: two a turn. */
SKA_INLINE int64_t ska_dot_s16_s16_64(const void *a, ska_index at_a, const void *b, ska_index at_b, ska_index n)
{
    const ska_s16 *p = (const ska_s16 *)a + at_a, *q = (const ska_s16 *)b + at_b;
    int64_t sum = 0;
    for (; n >= 4; n -= 4, p += 4, q += 4) {
        sum = __smlald((int16x2_t)ska_word(p), (int16x2_t)ska_word(q), sum);
        sum = __smlald((int16x2_t)ska_word(p + 2), (int16x2_t)ska_word(q + 2), sum);
    }
    for (; n; n--) {
        sum += *p++ * *q++;
    }
    return sum;
}

#define SKA_ROWS_s8_u8_32 3
#define SKA_ROWS_s8_s8_32 3
#define SKA_ROWS_s16_s16_64 3

/* r4, r5, r6 += four products of each row.  Bytes 0 and 2 of b go to r8, 1 and 3 to r7. */
#define SKA_FOUR_PRODUCTS(row, sum)                                                                                    \
    "sxtb16 r12, " row "\n"                                                                                            \
    "sxtb16 " row ", " row ", ror #8\n"                                                                                \
    "smlad  " sum ", r12, r8, " sum "\n"                                                                               \
    "smlad  " sum ", " row ", r7, " sum "\n"
#define SKA_FOUR_COLUMNS(extend)                                                                                       \
    "ldr    r7, [r3], #4\n"                                                                                            \
    "ldr    r10, [r1, r2]\n"                                                                                           \
    "ldr    r11, [r1, r2, lsl #1]\n"                                                                                   \
    "ldr    r9, [r1], #4\n" extend " r8, r7\n" extend " r7, r7, ror #8\n" SKA_FOUR_PRODUCTS("r9", "r4")                \
        SKA_FOUR_PRODUCTS("r10", "r5") SKA_FOUR_PRODUCTS("r11", "r6")

/* r0 sums, r1 and r2 place and step of the rows, r3 b; n in lr, less what a turn takes. */
#define SKA_DEFINE_DOTS_BYTES(format, extend, load)                                                                    \
    SKA_ASSEMBLY void ska_dots_s8_##format##_32(int32_t *sums, const void *a, ska_index row, const void *b,            \
                                                ska_index n)                                                           \
    {                                                                                                                  \
        __asm__("push   {r4-r11, lr}\n"                                                                                \
                "ldr    lr, [sp, #36]\n"                                                                               \
                "movs   r4, #0\n"                                                                                      \
                "movs   r5, #0\n"                                                                                      \
                "movs   r6, #0\n"                                                                                      \
                "subs   lr, #16\n"                                                                                     \
                "blo    2f\n"                                                                                          \
                ".p2align 2\n"                                                                                         \
                "1:\n" SKA_TIMES_4(SKA_FOUR_COLUMNS(extend))                                                           \
                "subs   lr, #16\n"                                                                                     \
                "bhs    1b\n"                                                                                          \
                "2:\n"                                                                                                 \
                "adds   lr, #12\n"                                                                                     \
                "bmi    4f\n"                                                                                          \
                "3:\n" SKA_FOUR_COLUMNS(extend)                                                                        \
                "subs   lr, #4\n"                                                                                      \
                "bpl    3b\n"                                                                                          \
                "4:\n"                                                                                                 \
                "adds   lr, #3\n"                                                                                      \
                "bmi    6f\n"                                                                                          \
                "5:\n" load " r7, [r3], #1\n"                                                                          \
                "ldrsb  r10, [r1, r2]\n"                                                                               \
                "ldrsb  r11, [r1, r2, lsl #1]\n"                                                                       \
                "ldrsb  r9, [r1], #1\n"                                                                                \
                "mla    r4, r9, r7, r4\n"                                                                              \
                "mla    r5, r10, r7, r5\n"                                                                             \
                "mla    r6, r11, r7, r6\n"                                                                             \
                "subs   lr, #1\n"                                                                                      \
                "bpl    5b\n"                                                                                          \
                "6:\n"                                                                                                 \
                "stm    r0, {r4-r6}\n"                                                                                 \
                "pop    {r4-r11, pc}\n");                                                                              \
    }
SKA_DEFINE_DOTS_BYTES(u8, "uxtb16", "ldrb")
SKA_DEFINE_DOTS_BYTES(s8, "sxtb16", "ldrsb")

/* r5:r4, r7:r6, r9:r8 += two products of each row. */
#define SKA_TWO_COLUMNS                                                                                                \
    "ldr    r10, [r3], #4\n"                                                                                           \
    "ldr    r12, [r1, r2]\n"                                                                                           \
    "ldr    r0, [r1, r2, lsl #1]\n"                                                                                    \
    "ldr    r11, [r1], #4\n"                                                                                           \
    "smlald r4, r5, r10, r11\n"                                                                                        \
    "smlald r6, r7, r10, r12\n"                                                                                        \
    "smlald r8, r9, r10, r0\n"

SKA_ASSEMBLY void ska_dots_s16_s16_64(int64_t *sums, const void *a, ska_index row, const void *b, ska_index n)
{
    __asm__("push   {r0, r4-r11, lr}\n"
            "ldr    lr, [sp, #40]\n"
            "movs   r4, #0\n"
            "movs   r5, #0\n"
            "movs   r6, #0\n"
            "movs   r7, #0\n"
            "mov    r8, r4\n"
            "mov    r9, r4\n"
            "subs   lr, #32\n"
            "blo    2f\n"
            ".p2align 2\n"
            "1:\n" SKA_TIMES_4(SKA_TIMES_4(SKA_TWO_COLUMNS))
            "subs   lr, #32\n"
            "bhs    1b\n"
            "2:\n"
            "adds   lr, #30\n"
            "bmi    4f\n"
            "3:\n" SKA_TWO_COLUMNS
            "subs   lr, #2\n"
            "bpl    3b\n"
            "4:\n"
            "adds   lr, #1\n" /* -1 where one is left */
            "bmi    5f\n"
            "ldrsh  r10, [r3]\n"
            "ldrsh  r12, [r1, r2]\n"
            "ldrsh  r0, [r1, r2, lsl #1]\n"
            "ldrsh  r11, [r1]\n"
            "smlal  r4, r5, r10, r11\n"
            "smlal  r6, r7, r10, r12\n"
            "smlal  r8, r9, r10, r0\n"
            "5:\n"
            "pop    {r0}\n"
            "stm    r0, {r4-r9}\n"
            "pop    {r4-r11, pc}\n");
}

/* Two weights of 16 bits: r4 holds the first one's offset below 16 zeros, then the third one's; r5 is A.  x0 and x1 stand
 * in halves (b or t) of registers; `spare` may be that of x1, which is lost then. */
#define SKA_MOVE(to, x, half)                                                                                          \
    "smlab" half " " to ", r2, " x ", r4\n"                                                                            \
    "uadd16 r4, r4, r5\n"
#define SKA_LEARN_TWO(weights, x0, half0, x1, half1, spare)                                                            \
    SKA_MOVE("lr", x0, half0)                                                                                          \
    SKA_MOVE(spare, x1, half1)                                                                                         \
    "pkhtb  lr, " spare ", lr, asr #16\n"                                                                              \
    "qadd16 " weights ", " weights ", lr\n"
#define SKA_STORE_EIGHT                                                                                                \
    "str    r7, [r0, #4]\n"                                                                                            \
    "str    r8, [r0, #8]\n"                                                                                            \
    "str    r9, [r0, #12]\n"                                                                                           \
    "str    r6, [r0], #16\n"
#define SKA_LOAD_EIGHT                                                                                                 \
    "ldr    r6, [r0]\n"                                                                                                \
    "ldr    r7, [r0, #4]\n"                                                                                            \
    "ldr    r8, [r0, #8]\n"                                                                                            \
    "ldr    r9, [r0, #12]\n"

#define SKA_EIGHT_s16_s16                                                                                              \
    SKA_LOAD_EIGHT                                                                                                     \
    "ldr    r10, [r1, #4]\n"                                                                                           \
    "ldr    r11, [r1, #8]\n"                                                                                           \
    "ldr    r12, [r1], #16\n" SKA_LEARN_TWO("r6", "r12", "b", "r12", "t", "r12")                                       \
    "ldr    r12, [r1, #-4]\n" SKA_LEARN_TWO("r7", "r10", "b", "r10", "t", "r10")                                       \
        SKA_LEARN_TWO("r8", "r11", "b", "r11", "t", "r11") SKA_LEARN_TWO("r9", "r12", "b", "r12", "t", "r12")          \
            SKA_STORE_EIGHT

/* Four inputs of 8 bits: 0 and 2 go to r12, 1 and 3 stay. */
#define SKA_PART(extend, x) extend " r12, " x "\n" extend " " x ", " x ", ror #8\n"
#define SKA_EIGHT_s16(extend)                                                                                          \
    SKA_LOAD_EIGHT                                                                                                     \
    "ldr    r10, [r1], #8\n" SKA_PART(extend, "r10") SKA_LEARN_TWO("r6", "r12", "b", "r10", "b", "r11")                \
        SKA_LEARN_TWO("r7", "r12", "t", "r10", "t", "r11")                                                             \
    "ldr    r10, [r1, #-4]\n" SKA_PART(extend, "r10") SKA_LEARN_TWO("r8", "r12", "b", "r10", "b", "r11")               \
        SKA_LEARN_TWO("r9", "r12", "t", "r10", "t", "r11") SKA_STORE_EIGHT
#define SKA_EIGHT_s16_u8 SKA_EIGHT_s16("uxtb16")
#define SKA_EIGHT_s16_s8 SKA_EIGHT_s16("sxtb16")

/* Four weights of 8 bits: what is added to each is a signed byte, above 16 others. */
#define SKA_LEARN_FOUR(extend, weights, x)                                                                             \
    SKA_PART(extend, x)                                                                                                \
    SKA_MOVE("lr", "r12", "b")                                                                                         \
    SKA_MOVE("r8", x, "b")                                                                                             \
    SKA_MOVE("r12", "r12", "t")                                                                                        \
    SKA_MOVE(x, x, "t")                                                                                                \
    "pkhtb  lr, r12, lr, asr #16\n"                                                                                    \
    "pkhtb  r8, " x ", r8, asr #16\n"                                                                                  \
    "uxtb16 lr, lr\n"                                                                                                  \
    "uxtb16 r8, r8\n"                                                                                                  \
    "orr    lr, lr, r8, lsl #8\n"                                                                                      \
    "qadd8  " weights ", " weights ", lr\n"
#define SKA_EIGHT_s8(extend)                                                                                           \
    "ldr    r6, [r0]\n"                                                                                                \
    "ldr    r7, [r0, #4]\n"                                                                                            \
    "ldr    r10, [r1, #4]\n"                                                                                           \
    "ldr    r9, [r1], #8\n" SKA_LEARN_FOUR(extend, "r6", "r9") SKA_LEARN_FOUR(extend, "r7", "r10")                     \
    "str    r7, [r0, #4]\n"                                                                                            \
    "str    r6, [r0], #8\n"
#define SKA_EIGHT_s8_u8 SKA_EIGHT_s8("uxtb16")
#define SKA_EIGHT_s8_s8 SKA_EIGHT_s8("sxtb16")

#define SKA_RUN_s16_s16 8
#define SKA_RUN_s16_u8 8
#define SKA_RUN_s16_s8 8
#define SKA_RUN_s8_u8 8
#define SKA_RUN_s8_s8 8

/* r0 weights, r1 inputs, r2 s, r3 n. */
#define SKA_DEFINE_RUN(formats)                                                                                        \
    SKA_ASSEMBLY void ska_run_##formats(void *w, const void *x, int32_t s, ska_index n, uint32_t offset)               \
    {                                                                                                                  \
        __asm__("push   {r4-r11, lr}\n"                                                                                \
                "ldr    r4, [sp, #36]\n"                                                                               \
                "movw   r5, #53685\n" /* SKA_LATTICE_I */                                                              \
                ".p2align 2\n"                                                                                         \
                "1:\n" SKA_EIGHT_##formats                                                                             \
                "subs   r3, #8\n"                                                                                      \
                "bne    1b\n"                                                                                          \
                "pop    {r4-r11, pc}\n");                                                                              \
    }
SKA_DEFINE_RUN(s16_s16)
SKA_DEFINE_RUN(s16_u8)
SKA_DEFINE_RUN(s16_s8)
SKA_DEFINE_RUN(s8_u8)
SKA_DEFINE_RUN(s8_s8)

#endif
