/* RP2040 and RP2350 after their boot ROMs: crystal, PLL, clocks, resets, pins.
 *
 * RP2040 datasheet: 2.2 Address map, 2.14 Resets, 2.15 Clocks, 2.16 XOSC, 2.18 PLL, 2.19 GPIO.  RP2350 datasheet: 2.2,
 * 7.5 Resets, 8.1 Clocks, 8.2 XOSC, 8.6 PLL, 9 GPIO.  Both boards carry a crystal of 12 MHz. */
#include "chip.h"

#if defined(SKA_CHIP_RP2040)
#define SKA_CLOCKS UINT32_C(0x40008000)
#define SKA_RESETS UINT32_C(0x4000C000)
#define SKA_IO_BANK UINT32_C(0x40014000)
#define SKA_PADS_BANK UINT32_C(0x4001C000)
#define SKA_XOSC UINT32_C(0x40024000)
#define SKA_PLL UINT32_C(0x40028000)
#define SKA_IN_RESET(name) (UINT32_C(1) << SKA_RESET_##name)
#define SKA_RESET_IO_BANK 5
#define SKA_RESET_PADS_BANK 8
#define SKA_RESET_PLL 12
#define SKA_RESET_UART0 22
#define SKA_PLL_DIVIDERS (6U << 16 | 2U << 12) /* 1500 MHz / 6 / 2 */
#define SKA_CHIP_HZ 125000000UL
#elif defined(SKA_CHIP_RP2350)
#define SKA_CLOCKS UINT32_C(0x40010000)
#define SKA_RESETS UINT32_C(0x40020000)
#define SKA_IO_BANK UINT32_C(0x40028000)
#define SKA_PADS_BANK UINT32_C(0x40038000)
#define SKA_XOSC UINT32_C(0x40048000)
#define SKA_PLL UINT32_C(0x40050000)
#define SKA_IN_RESET(name) (UINT32_C(1) << SKA_RESET_##name)
#define SKA_RESET_IO_BANK 6
#define SKA_RESET_PADS_BANK 9
#define SKA_RESET_PLL 14
#define SKA_RESET_UART0 26
#define SKA_PLL_DIVIDERS (5U << 16 | 2U << 12) /* 1500 MHz / 5 / 2 */
#define SKA_CHIP_HZ 150000000UL
#else
#error "which chip?"
#endif

#if SKA_CLOCK_HZ != SKA_CHIP_HZ
#error "this port makes another clock than it was told of"
#endif

/* Writes here clear, or set, bits of the register 0x3000, or 0x2000, below (datasheets: atomic register access). */
#define SKA_CLEAR(address) SKA_REGISTER((address) + UINT32_C(0x3000))
#define SKA_SET(address) SKA_REGISTER((address) + UINT32_C(0x2000))

#define SKA_REF_CTRL (SKA_CLOCKS + 0x30U)
#define SKA_SYS_CTRL (SKA_CLOCKS + 0x3CU)
#define SKA_PERI_CTRL (SKA_CLOCKS + 0x48U)
#define SKA_SELECTED 8U /* from a clock's CTRL to its SELECTED: one bit, that of the source in use */
#define SKA_FUNCTION_UART 2U

static void ska_release(uint32_t blocks)
{
    SKA_CLEAR(SKA_RESETS) = blocks;
    while ((SKA_REGISTER(SKA_RESETS + 8U) & blocks) != blocks) { /* RESET_DONE */
    }
}

/* From whatever the boot ROM left to the crystal, then to the PLL: 12 MHz * 125 = 1500 MHz, divided. */
static void ska_clocks(void)
{
    SKA_REGISTER(SKA_XOSC) = 0xAA0U;                /* CTRL: 1 to 15 MHz */
    SKA_REGISTER(SKA_XOSC + 0x0CU) = 12000U / 256U; /* STARTUP: about 1 ms, in 256 cycles */
    SKA_SET(SKA_XOSC) = UINT32_C(0xFAB) << 12;      /* CTRL: enable */
    while (!(SKA_REGISTER(SKA_XOSC + 4U) >> 31)) {  /* STATUS: stable */
    }
    SKA_CLEAR(SKA_SYS_CTRL) = 1U; /* off the PLL, should a debugger have left it there */
    while (!(SKA_REGISTER(SKA_SYS_CTRL + SKA_SELECTED) & 1U)) {
    }
    SKA_REGISTER(SKA_REF_CTRL) = 2U; /* the crystal */
    while (!(SKA_REGISTER(SKA_REF_CTRL + SKA_SELECTED) & 4U)) {
    }
    SKA_SET(SKA_RESETS) = SKA_IN_RESET(PLL);
    ska_release(SKA_IN_RESET(PLL));
    SKA_REGISTER(SKA_PLL) = 1U;              /* CS: reference divided by 1 */
    SKA_REGISTER(SKA_PLL + 8U) = 125U;       /* FBDIV_INT */
    SKA_CLEAR(SKA_PLL + 4U) = 1U | 1U << 5;  /* PWR: PD and VCOPD off */
    while (!(SKA_REGISTER(SKA_PLL) >> 31)) { /* LOCK */
    }
    SKA_REGISTER(SKA_PLL + 0x0CU) = SKA_PLL_DIVIDERS; /* PRIM */
    SKA_CLEAR(SKA_PLL + 4U) = 1U << 3;                /* PWR: POSTDIVPD off */
    SKA_REGISTER(SKA_SYS_CTRL) = 0;                   /* auxiliary source 0: PLL_SYS */
    SKA_SET(SKA_SYS_CTRL) = 1U;                       /* and the auxiliary source it is */
    while (!(SKA_REGISTER(SKA_SYS_CTRL + SKA_SELECTED) & 2U)) {
    }
    SKA_REGISTER(SKA_PERI_CTRL) = 1U << 11; /* ENABLE; source 0: the system clock */
}

void ska_chip_init(void)
{
    ska_clocks();
    ska_release(SKA_IN_RESET(IO_BANK) | SKA_IN_RESET(PADS_BANK) | SKA_IN_RESET(UART0));
    /* Pads: input enabled, 4 mA, Schmitt trigger; a pull-up for RX.  On RP2350 this also ends their isolation. */
    SKA_REGISTER(SKA_PADS_BANK + 4U + 4U * SKA_UART_TX) = 0x52U;
    SKA_REGISTER(SKA_PADS_BANK + 4U + 4U * SKA_UART_RX) = 0x5AU;
    SKA_REGISTER(SKA_IO_BANK + 4U + 8U * SKA_UART_TX) = SKA_FUNCTION_UART;
    SKA_REGISTER(SKA_IO_BANK + 4U + 8U * SKA_UART_RX) = SKA_FUNCTION_UART;
}
