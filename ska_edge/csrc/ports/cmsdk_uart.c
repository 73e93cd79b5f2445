/* APB UART of Arm's Cortex-M System Design Kit (DDI 0479, section APB UART), as on the MPS2 FPGA images and in QEMU. */
#include "device/port.h"

#include "cortex_m.h"

#define SKA_UART(offset) SKA_REGISTER(SKA_UART_BASE + (offset))
#define SKA_DATA SKA_UART(0x00U)
#define SKA_STATE SKA_UART(0x04U) /* bit 0: transmit buffer full, bit 1: receive buffer full */
#define SKA_CTRL SKA_UART(0x08U)  /* bits 0 and 1: enable transmit, receive; bit 3: receive interrupt */
#define SKA_INTCLEAR SKA_UART(0x0CU)
#define SKA_BAUDDIV SKA_UART(0x10U) /* at least 16 */

void ska_port_init(void)
{
    SKA_BAUDDIV = SKA_CLOCK_HZ / SKA_BAUD < 16U ? 16U : SKA_CLOCK_HZ / SKA_BAUD;
    SKA_CTRL = 1U | 2U | 8U;
    ska_wake_enable();
}

int16_t ska_port_read(void) { return SKA_STATE & 2U ? (int16_t)(SKA_DATA & 255U) : -1; }

void ska_port_write(uint8_t byte)
{
    while (SKA_STATE & 1U) {
    }
    SKA_DATA = byte;
}

void ska_port_idle(void)
{
    SKA_INTCLEAR = 2U;
    ska_wake_clear();
    if (!(SKA_STATE & 2U)) {
        ska_wait();
    }
}
