/* What a serial port asks of the chip around it: clocks, resets, pins.  One file a family of chips. */
#ifndef SKA_CHIP_H
#define SKA_CHIP_H

#include <stdint.h>

#ifndef SKA_REGISTER
#define SKA_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#endif

/* Make SKA_CLOCK_HZ true, feed the line at SKA_UART_BASE its clock, give it the pins SKA_UART_TX and SKA_UART_RX. */
void ska_chip_init(void);

#endif
