/* Start-up of a Cortex-M: vector table, memory, main.  Vectors: ARMv6-M Architecture Reference Manual B1.5.3. */
#include "startup.h"

void Reset_Handler(void);

/* Nothing enables an interrupt; what arrives here is a fault.  It stops, for a debugger or the host's timeout to see. */
static void ska_stop(void)
{
    for (;;) {
    }
}

typedef void (*ska_handler)(void);

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    ska_handler handlers[15];
} ska_vectors = {ska_stack_top, {Reset_Handler, ska_stop, ska_stop, ska_stop, ska_stop, ska_stop, ska_stop, ska_stop,
                                 ska_stop, ska_stop, ska_stop, ska_stop, ska_stop, ska_stop, ska_stop}};

__attribute__((noreturn, used)) void Reset_Handler(void)
{
    __asm__ volatile("cpsid i" ::: "memory");
#if defined(__ARM_ARCH) && __ARM_ARCH >= 7
    *(volatile uint32_t *)UINT32_C(0xE000ED08) = (uint32_t)(uintptr_t)&ska_vectors; /* VTOR: a bootloader has its own */
#endif
    ska_boot(); /* does not come back */
}
