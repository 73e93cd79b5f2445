/* Clocks and pins of STM32 families, and of two RISC-V chips that keep the F1's RCC and GPIO.
 *
 * Each runs from its internal oscillator, mostly as reset leaves it: nothing to wait for, nothing a board must have. */
#include "chip.h"

#if defined(SKA_CHIP_STM32F1) /* RM0008: 7.3 RCC registers, 9.2 GPIO registers, 3.3 Memory map; HSI */
#define SKA_CHIP_HZ 8000000UL
#define SKA_FAMILY_F1
#elif defined(SKA_CHIP_GD32VF103) /* GD32VF103 user manual: 5.3 RCU registers, 7.5 GPIO registers; IRC8M */
#define SKA_CHIP_HZ 8000000UL
#define SKA_FAMILY_F1
#elif defined(SKA_CHIP_CH32V003) /* CH32V003 reference manual: 3.4 RCC registers, 7.3 GPIO registers; HSI */
#define SKA_CHIP_HZ 24000000UL
#define SKA_FAMILY_F1
#elif defined(SKA_CHIP_STM32F4) /* RM0390: 6.3 RCC registers, 7.4 GPIO registers, 2.2.2 Memory map; HSI */
#define SKA_CHIP_HZ 16000000UL
#define SKA_RCC UINT32_C(0x40023800)
#define SKA_GPIO UINT32_C(0x40020000)
#define SKA_GPIO_ENABLE 0x30U /* AHB1ENR */
#define SKA_APB1_ENABLE 0x40U
#define SKA_APB2_ENABLE 0x44U
#define SKA_USART1_BIT 4
#define SKA_FUNCTION 7U
#elif defined(SKA_CHIP_STM32L4) /* RM0351: 6.4 RCC registers, 8.5 GPIO registers; HSI16, see below */
#define SKA_CHIP_HZ 16000000UL
#define SKA_RCC UINT32_C(0x40021000)
#define SKA_GPIO UINT32_C(0x48000000)
#define SKA_GPIO_ENABLE 0x4CU /* AHB2ENR */
#define SKA_APB1_ENABLE 0x58U /* APB1ENR1 */
#define SKA_APB2_ENABLE 0x60U
#define SKA_USART1_BIT 14
#define SKA_FUNCTION 7U
#elif defined(SKA_CHIP_STM32G0) /* RM0444: 5.4 RCC registers, 7.4 GPIO registers; DS12232, alternate functions; HSI16 */
#define SKA_CHIP_HZ 16000000UL
#define SKA_RCC UINT32_C(0x40021000)
#define SKA_GPIO UINT32_C(0x50000000)
#define SKA_GPIO_ENABLE 0x34U /* IOPENR */
#define SKA_APB1_ENABLE 0x3CU /* APBENR1 */
#define SKA_APB2_ENABLE 0x40U /* APBENR2 */
#define SKA_USART1_BIT 14
#define SKA_FUNCTION 1U
#elif defined(SKA_CHIP_STM32H7) /* RM0433: 8.7 RCC registers, 11.4 GPIO registers; HSI */
#define SKA_CHIP_HZ 64000000UL
#define SKA_RCC UINT32_C(0x58024400)
#define SKA_GPIO UINT32_C(0x58020000)
#define SKA_GPIO_ENABLE 0xE0U /* AHB4ENR */
#define SKA_APB1_ENABLE 0xE8U /* APB1LENR */
#define SKA_APB2_ENABLE 0xF0U
#define SKA_USART1_BIT 4
#define SKA_FUNCTION 7U
#else
#error "which chip?"
#endif

#ifdef SKA_FAMILY_F1
#define SKA_RCC UINT32_C(0x40021000)
#define SKA_GPIO UINT32_C(0x40010800)
#define SKA_GPIO_ENABLE 0x18U /* APB2ENR, from bit 2 */
#define SKA_APB1_ENABLE 0x1CU
#define SKA_APB2_ENABLE 0x18U
#define SKA_USART1_BIT 14
#define SKA_FIRST_PORT_BIT 2U
#else
#define SKA_FIRST_PORT_BIT 0U
#endif

#if SKA_CLOCK_HZ != SKA_CHIP_HZ
#error "this port makes another clock than it was told of"
#endif

/* USART2 and 3 lie at the same addresses and bits in every family; what is neither is taken for USART1. */
#if SKA_UART_BASE == 0x40004400UL
#define SKA_USART_ENABLE SKA_APB1_ENABLE
#define SKA_USART_BIT 17
#elif SKA_UART_BASE == 0x40004800UL
#define SKA_USART_ENABLE SKA_APB1_ENABLE
#define SKA_USART_BIT 18
#else
#define SKA_USART_ENABLE SKA_APB2_ENABLE
#define SKA_USART_BIT SKA_USART1_BIT
#endif

#define SKA_PORT(pin) (SKA_GPIO + UINT32_C(0x400) * ((pin) >> 4)) /* pins are 16 times the port plus the number */

static void ska_set(uint32_t address, uint32_t bits, uint32_t at, uint32_t value)
{
    uint32_t mask = ((UINT32_C(1) << bits) - 1U) << at;
    SKA_REGISTER(address) = (SKA_REGISTER(address) & ~mask) | value << at;
    (void)SKA_REGISTER(address); /* a clock runs two cycles after it was switched on: the read takes that long */
}

#ifdef SKA_FAMILY_F1
/* CRL and CRH: four bits a pin, mode below configuration. */
static void ska_pin(uint32_t pin, uint32_t mode)
{
    ska_set(SKA_PORT(pin) + 4U * ((pin & 15U) >> 3), 4U, 4U * (pin & 7U), mode);
}

static void ska_pins(void)
{
    ska_set(SKA_PORT(SKA_UART_RX) + 0x0CU, 1U, SKA_UART_RX & 15U, 1U); /* ODR: the pull goes up */
    ska_pin(SKA_UART_RX, 8U);                                          /* input with pull */
    ska_pin(SKA_UART_TX, 11U);                                         /* alternate function, push-pull */
}
#else
static void ska_pin(uint32_t pin, uint32_t pull)
{
    uint32_t port = SKA_PORT(pin), number = pin & 15U;
    ska_set(port + 0x20U + 4U * (number >> 3), 4U, 4U * (number & 7U), SKA_FUNCTION); /* AFRL, AFRH */
    ska_set(port + 0x0CU, 2U, 2U * number, pull);                                     /* PUPDR */
    ska_set(port, 2U, 2U * number, 2U);                                               /* MODER: alternate function */
}

static void ska_pins(void)
{
    ska_pin(SKA_UART_RX, 1U);
    ska_pin(SKA_UART_TX, 0);
}
#endif

void ska_chip_init(void)
{
#ifdef SKA_CHIP_CH32V003
    ska_set(SKA_RCC + 4U, 4U, 4U, 0); /* CFGR0, HPRE: reset divides by 3; 24 MHz need no wait state (FLASH_ACTLR) */
#endif
#ifdef SKA_CHIP_STM32L4
    /* Reset gives 4 MHz, 35 cycles a bit at 115,200 baud; HSI16 is as free of charge and four times as fast. */
    ska_set(SKA_RCC, 1U, 8U, 1U); /* CR: HSION, then wait for HSIRDY */
    while (!(SKA_REGISTER(SKA_RCC) & UINT32_C(1) << 10)) {
    }
    ska_set(SKA_RCC + 8U, 2U, 0, 1U); /* CFGR: SW; no wait state up to 16 MHz (3.3.3) */
#endif
    ska_set(SKA_RCC + SKA_GPIO_ENABLE, 1U, SKA_FIRST_PORT_BIT + (SKA_UART_TX >> 4), 1U);
    ska_set(SKA_RCC + SKA_GPIO_ENABLE, 1U, SKA_FIRST_PORT_BIT + (SKA_UART_RX >> 4), 1U);
    ska_set(SKA_RCC + SKA_USART_ENABLE, 1U, SKA_USART_BIT, 1U);
    ska_pins();
}
