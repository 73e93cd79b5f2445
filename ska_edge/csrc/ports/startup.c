#include "startup.h"

#include "device/port.h"

#define SKA_PAINT UINT32_C(0xA5A5A5A5)
#define SKA_MARGIN_WORDS 16 /* of this function's own frame */

int main(void);

__attribute__((noinline)) void ska_boot(void)
{
    const uint32_t *from = ska_data_load;
    uint32_t *to;
    uint32_t here;
    for (to = ska_data_start; to != ska_data_end; to++) {
        *to = *from++;
    }
    for (to = ska_bss_start; to != ska_bss_end; to++) {
        *to = 0;
    }
    for (to = ska_stack_bottom; to + SKA_MARGIN_WORDS < &here; to++) {
        *to = SKA_PAINT;
    }
    main();
    for (;;) {
    }
}

uint32_t ska_port_stack_bytes(void) { return (uint32_t)((uintptr_t)ska_stack_top - (uintptr_t)ska_stack_bottom); }

uint32_t ska_port_stack_used(void)
{
    const volatile uint32_t *p = ska_stack_bottom; /* the compiler must not know what lies there */
    while (p != ska_stack_top && *p == SKA_PAINT) {
        p++;
    }
    return (uint32_t)((uintptr_t)ska_stack_top - (uintptr_t)p);
}
