/* Memory at start: .data copied, .bss cleared, the stack painted.  Symbols come from the linker script. */
#ifndef SKA_STARTUP_H
#define SKA_STARTUP_H

#include <stdint.h>

extern uint32_t ska_data_load[], ska_data_start[], ska_data_end[], ska_bss_start[], ska_bss_end[];
extern uint32_t ska_stack_bottom[], ska_stack_top[];

/* Prepare memory and run main.  Called on the stack, which is painted up to a margin below the caller's frame. */
__attribute__((noreturn)) void ska_boot(void);

#endif
