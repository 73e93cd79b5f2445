/* Sleep until a byte comes where the core can; elsewhere the line is polled. */
#ifndef SKA_WAKE_H
#define SKA_WAKE_H

#if defined(__arm__)
#include "cortex_m.h"
#else
#include <stdint.h>
#define SKA_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
static inline void ska_wake_enable(void) {}
static inline void ska_wake_clear(void) {}
static inline void ska_wait(void) {}
#endif

#endif
