/* What every Cortex-M port shares (ARMv6-M, v7-M and v8-M Architecture Reference Manuals: NVIC, WFI).
 *
 * Interrupts stay masked for good (PRIMASK): there are no handlers, so nothing ever runs beside the learning.  WFI still
 * ends when an enabled interrupt becomes pending, which is all the line needs to wake the core. */
#ifndef SKA_CORTEX_M_H
#define SKA_CORTEX_M_H

#include <stdint.h>

#define SKA_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#if defined(__ARM_ARCH) && __ARM_ARCH < 7
#define SKA_NVIC_WORDS 1U
#else
#define SKA_NVIC_WORDS 4U
#endif

/* SysTick counts 24 bits: at most this many cycles of sleep, about 50 ms where the clock is below 335 MHz. */
#define SKA_TICK_CYCLES (SKA_CLOCK_HZ / 20U < 0xFFFFFFU ? SKA_CLOCK_HZ / 20U : 0xFFFFFFU)

/* Let whatever peripheral has been told to interrupt wake the core.  Only the line's has; and SysTick, so that nothing
 * the line forgets to say lasts.  (QEMU, too, looks at a line that was not ready only when something else happens.) */
static inline void ska_wake_enable(void)
{
    uint32_t word;
    __asm__ volatile("cpsid i" ::: "memory");
    SKA_REGISTER(UINT32_C(0xE000E014)) = SKA_TICK_CYCLES - 1U; /* SYST_RVR */
    SKA_REGISTER(UINT32_C(0xE000E018)) = 0;                    /* SYST_CVR */
    SKA_REGISTER(UINT32_C(0xE000E010)) = 7U;                   /* SYST_CSR: core clock, interrupt, on */
    for (word = 0; word < SKA_NVIC_WORDS; word++) {
        SKA_REGISTER(UINT32_C(0xE000E100) + 4U * word) = UINT32_C(0xFFFFFFFF); /* ISER */
    }
}

/* Forget what is pending.  Then look at the peripheral, then ska_wait: a byte that comes in between ends the wait. */
static inline void ska_wake_clear(void)
{
    uint32_t word;
    for (word = 0; word < SKA_NVIC_WORDS; word++) {
        SKA_REGISTER(UINT32_C(0xE000E280) + 4U * word) = UINT32_C(0xFFFFFFFF); /* ICPR */
    }
    SKA_REGISTER(UINT32_C(0xE000ED04)) = UINT32_C(1) << 25; /* ICSR: PENDSTCLR */
    __asm__ volatile("dsb" ::: "memory");
}

static inline void ska_wait(void) { __asm__ volatile("dsb\n\twfi" ::: "memory"); }

#endif
