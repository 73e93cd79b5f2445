/* UART0 of nRF51 and, the same registers kept, nRF52 (nRF51 Series Reference Manual, chapter UART). */
#include "device/port.h"

#include "cortex_m.h"

#define SKA_UART(offset) SKA_REGISTER(SKA_UART_BASE + (offset))
#define SKA_STARTRX SKA_UART(0x000U)
#define SKA_STARTTX SKA_UART(0x008U)
#define SKA_RXDRDY SKA_UART(0x108U)
#define SKA_TXDRDY SKA_UART(0x11CU)
#define SKA_INTENSET SKA_UART(0x304U)
#define SKA_ENABLE SKA_UART(0x500U)
#define SKA_PSELTXD SKA_UART(0x50CU)
#define SKA_PSELRXD SKA_UART(0x514U)
#define SKA_RXD SKA_UART(0x518U)
#define SKA_TXD SKA_UART(0x51CU)
#define SKA_BAUDRATE SKA_UART(0x524U) /* baud * 2^32 / 16 MHz, in steps of 4096 */

/* GPIO port 0, or 1 where a chip has two: pin 32 is P1.00. */
#define SKA_GPIO(pin, offset) SKA_REGISTER(UINT32_C(0x50000000) + 0x300U * ((pin) >> 5) + (offset))

static uint8_t ska_sent; /* TXDRDY comes after a byte has gone: there is none before the first */

void ska_port_init(void)
{
#ifdef SKA_UART_TX
    /* OUTSET and PIN_CNF: TXD idles high; RXD is an input with a pull-up. */
    SKA_GPIO(SKA_UART_TX, 0x508U) = UINT32_C(1) << (SKA_UART_TX & 31U);
    SKA_GPIO(SKA_UART_TX, 0x700U + 4U * (SKA_UART_TX & 31U)) = 3U;
    SKA_GPIO(SKA_UART_RX, 0x700U + 4U * (SKA_UART_RX & 31U)) = 12U;
    SKA_PSELTXD = SKA_UART_TX;
    SKA_PSELRXD = SKA_UART_RX;
#endif
    SKA_BAUDRATE = (uint32_t)(((((uint64_t)SKA_BAUD << 32) / 16000000U) + 2048U) & UINT32_C(0xFFFFF000));
    SKA_ENABLE = 4U;
    SKA_RXDRDY = 0;
    SKA_TXDRDY = 0;
    SKA_INTENSET = 4U; /* RXDRDY */
    SKA_STARTTX = 1U;
    SKA_STARTRX = 1U;
    ska_wake_enable();
}

int16_t ska_port_read(void)
{
    if (!SKA_RXDRDY) {
        return -1;
    }
    SKA_RXDRDY = 0; /* before the byte is read: reading it makes room for the next, which sets the event again */
    return (int16_t)(SKA_RXD & 255U);
}

void ska_port_write(uint8_t byte)
{
    while (ska_sent && !SKA_TXDRDY) {
    }
    SKA_TXDRDY = 0;
    SKA_TXD = byte;
    ska_sent = 1;
}

void ska_port_idle(void)
{
    ska_wake_clear();
    if (!SKA_RXDRDY) {
        ska_wait();
    }
}
