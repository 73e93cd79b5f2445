/* USART of the STM32F1 and F4 (RM0008, RM0390: USART registers), and of chips that copied it: GD32VF103, CH32V003.
 * Run in QEMU as the STM32F405's and the STM32F100's. */
#include "device/port.h"

#include "wake.h"

#include "chip.h"

#define SKA_USART(offset) SKA_REGISTER(SKA_UART_BASE + (offset))
#define SKA_SR SKA_USART(0x00U) /* bit 5: RXNE, bit 7: TXE */
#define SKA_DR SKA_USART(0x04U)
#define SKA_BRR SKA_USART(0x08U)
#define SKA_CR1 SKA_USART(0x0CU) /* bit 13: UE, bit 5: RXNEIE, bit 3: TE, bit 2: RE */

void ska_port_init(void)
{
    ska_chip_init();
    SKA_BRR = (SKA_CLOCK_HZ + SKA_BAUD / 2U) / SKA_BAUD;
    SKA_CR1 = 1U << 13 | 1U << 5 | 1U << 3 | 1U << 2;
    ska_wake_enable();
}

/* Reading SR and then DR also clears an overrun. */
int16_t ska_port_read(void) { return SKA_SR & 0x28U ? (int16_t)(SKA_DR & 255U) : -1; }

void ska_port_write(uint8_t byte)
{
    while (!(SKA_SR & 0x80U)) {
    }
    SKA_DR = byte;
}

void ska_port_idle(void)
{
    ska_wake_clear();
    if (!(SKA_SR & 0x28U)) {
        ska_wait();
    }
}
