/* USART of the STM32L4, G0 and H7 (RM0351, RM0444, RM0433: USART registers), its FIFO left off.  Built, never run. */
#include "device/port.h"

#include "wake.h"

#include "chip.h"

#define SKA_USART(offset) SKA_REGISTER(SKA_UART_BASE + (offset))
#define SKA_CR1 SKA_USART(0x00U) /* bit 5: RXNEIE, bit 3: TE, bit 2: RE, bit 0: UE */
#define SKA_BRR SKA_USART(0x0CU)
#define SKA_ISR SKA_USART(0x1CU) /* bit 3: ORE, bit 5: RXNE, bit 7: TXE */
#define SKA_ICR SKA_USART(0x20U)
#define SKA_RDR SKA_USART(0x24U)
#define SKA_TDR SKA_USART(0x28U)

void ska_port_init(void)
{
    ska_chip_init();
    SKA_BRR = (SKA_CLOCK_HZ + SKA_BAUD / 2U) / SKA_BAUD;
    SKA_CR1 = 1U << 5 | 1U << 3 | 1U << 2 | 1U;
    ska_wake_enable();
}

int16_t ska_port_read(void)
{
    if (SKA_ISR & 8U) {
        SKA_ICR = 8U; /* bytes were lost: the frame fails its sum and is asked for again */
    }
    return SKA_ISR & 0x20U ? (int16_t)(SKA_RDR & 255U) : -1;
}

void ska_port_write(uint8_t byte)
{
    while (!(SKA_ISR & 0x80U)) {
    }
    SKA_TDR = byte;
}

void ska_port_idle(void)
{
    ska_wake_clear();
    if (!(SKA_ISR & 0x28U)) {
        ska_wait();
    }
}
