/* PL011 UART (Arm DDI 0183, chapter 3, Programmers model), as in RP2040 (datasheet, section 4.2) and RP2350 (12.1). */
#include "device/port.h"

#include "wake.h"

#include "chip.h"

#define SKA_UART(offset) SKA_REGISTER(SKA_UART_BASE + (offset))
#define SKA_DATA SKA_UART(0x000U)
#define SKA_FLAGS SKA_UART(0x018U) /* bit 4: nothing received, bit 5: no room to send */
#define SKA_IBRD SKA_UART(0x024U)
#define SKA_FBRD SKA_UART(0x028U)
#define SKA_LCR_H SKA_UART(0x02CU) /* bits 6:5: 8 bits a byte, bit 4: FIFOs on */
#define SKA_CR SKA_UART(0x030U)    /* bit 0: on, bits 8 and 9: transmit, receive */
#define SKA_IFLS SKA_UART(0x034U)  /* bits 5:3: interrupt from this part of the receive FIFO on, 0 is an eighth */
#define SKA_IMSC SKA_UART(0x038U)  /* bit 4: receive interrupt, bit 6: bytes lie there and no more come */

/* Clock over 16 times the speed, in 64ths: IBRD takes the whole part, FBRD the rest. */
#define SKA_DIVISOR ((4U * SKA_CLOCK_HZ + SKA_BAUD / 2U) / SKA_BAUD)

void ska_port_init(void)
{
    ska_chip_init();
    SKA_IBRD = (uint32_t)(SKA_DIVISOR >> 6);
    SKA_FBRD = (uint32_t)(SKA_DIVISOR & 63U);
    SKA_LCR_H = 3U << 5 | 1U << 4; /* after the divisors: writing it is what puts them in force */
    SKA_IFLS = 0;
    SKA_IMSC = 1U << 4 | 1U << 6;
    SKA_CR = 1U << 9 | 1U << 8 | 1U;
    ska_wake_enable();
}

int16_t ska_port_read(void) { return SKA_FLAGS & 1U << 4 ? -1 : (int16_t)(SKA_DATA & 255U); }

void ska_port_write(uint8_t byte)
{
    while (SKA_FLAGS & 1U << 5) {
    }
    SKA_DATA = byte;
}

void ska_port_idle(void)
{
    ska_wake_clear();
    if (SKA_FLAGS & 1U << 4) {
        ska_wait();
    }
}
