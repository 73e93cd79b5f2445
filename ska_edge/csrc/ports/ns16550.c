/* NS16550A (National Semiconductor PC16550D data sheet), bytes apart, behind a PLIC (RISC-V PLIC specification 1.0), as
 * on QEMU's virt machine: PLIC at 0x0C000000, source 10, hart 0 in machine mode (hw/riscv/virt.c, memory map). */
#include "device/port.h"

#define SKA_BYTE(offset) (*(volatile uint8_t *)(uintptr_t)(SKA_UART_BASE + (offset)))
#define SKA_WORD(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define SKA_DATA SKA_BYTE(0U)
#define SKA_IER SKA_BYTE(1U)
#define SKA_FCR SKA_BYTE(2U)
#define SKA_LCR SKA_BYTE(3U)
#define SKA_LSR SKA_BYTE(5U) /* bit 0: a byte has come, bit 5: room for one to go */
#define SKA_PLIC_PRIORITY SKA_WORD(UINT32_C(0x0C000000) + 4U * 10U)
#define SKA_PLIC_ENABLE SKA_WORD(UINT32_C(0x0C002000))
#define SKA_PLIC_THRESHOLD SKA_WORD(UINT32_C(0x0C200000))
#define SKA_PLIC_CLAIM SKA_WORD(UINT32_C(0x0C200004))

void ska_port_init(void)
{
    SKA_LCR = 3U; /* 8 bits, no parity; the divisor is left alone: QEMU has no line speed */
    SKA_FCR = 7U; /* FIFOs on and empty */
    (void)SKA_DATA; /* QEMU holds back what follows a byte that came before the FIFOs were on, until one is read */
    SKA_IER = 1U;
    SKA_PLIC_PRIORITY = 1U;
    SKA_PLIC_ENABLE = UINT32_C(1) << 10;
    SKA_PLIC_THRESHOLD = 0;
    /* MEIE; mstatus.MIE stays 0: nothing is taken.  (RV32E is built without Zicsr, for gcc to find its library.) */
    __asm__ volatile(".option push\n\t.option arch, +zicsr\n\tcsrs mie, %0\n\t.option pop" ::"r"(UINT32_C(1) << 11));
}

int16_t ska_port_read(void) { return SKA_LSR & 1U ? SKA_DATA : -1; }

void ska_port_write(uint8_t byte)
{
    while (!(SKA_LSR & 0x20U)) {
    }
    SKA_DATA = byte;
}

void ska_port_idle(void)
{
    uint32_t claimed = SKA_PLIC_CLAIM;
    if (claimed) {
        SKA_PLIC_CLAIM = claimed;
    }
    if (!(SKA_LSR & 1U)) {
        __asm__ volatile("wfi" ::: "memory");
    }
}
