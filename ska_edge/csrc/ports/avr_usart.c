/* USART0 of an ATmega (ATmega328P data sheet, chapters USART0 and Power Management).  avr-libc's start-up code prepares
 * memory.  Polled; the one interrupt does nothing but end the sleep. */
#include "device/port.h"

#include <avr/interrupt.h>
#include <avr/io.h>

#ifdef USART0_RX_vect
#define SKA_RECEIVED USART0_RX_vect
#else
#define SKA_RECEIVED USART_RX_vect
#endif

#define SKA_PAINT 0xA5

extern uint8_t __heap_start; /* from avr-libc's linker script: the first byte after .bss */

/* In .init3 there is a stack pointer but nothing on the stack yet, and .data and .bss come later. */
__attribute__((naked, used, section(".init3"))) static void ska_paint(void)
{
    __asm__ volatile("ldi r30, lo8(__heap_start)\n\t"
                     "ldi r31, hi8(__heap_start)\n\t"
                     "ldi r24, %0\n"
                     "1:\n\t"
                     "st Z+, r24\n\t"
                     "cpi r30, lo8(%1 + 1)\n\t"
                     "ldi r25, hi8(%1 + 1)\n\t"
                     "cpc r31, r25\n\t"
                     "brne 1b" ::"M"(SKA_PAINT),
                     "n"(RAMEND));
}

void ska_port_init(void)
{
    UBRR0 = (uint16_t)((SKA_CLOCK_HZ + 4UL * SKA_BAUD) / (8UL * SKA_BAUD) - 1UL);
    UCSR0A = (uint8_t)(1U << U2X0);
    UCSR0C = (uint8_t)(1U << UCSZ01 | 1U << UCSZ00);
    UCSR0B = (uint8_t)(1U << RXEN0 | 1U << TXEN0);
}

int16_t ska_port_read(void) { return UCSR0A & (1U << RXC0) ? UDR0 : -1; }

void ska_port_write(uint8_t byte)
{
    while (!(UCSR0A & (1U << UDRE0))) {
    }
    UDR0 = byte;
}

ISR(SKA_RECEIVED) { UCSR0B = (uint8_t)(1U << RXEN0 | 1U << TXEN0); }

void ska_port_idle(void)
{
    cli();
    if (UCSR0A & (1U << RXC0)) {
        sei();
        return;
    }
    UCSR0B = (uint8_t)(1U << RXEN0 | 1U << TXEN0 | 1U << RXCIE0);
    SMCR = (uint8_t)(1U << SE); /* idle mode: the line stays awake */
    __asm__ volatile("sei\n\tsleep" ::: "memory"); /* nothing can come between the two */
    SMCR = 0;
}

uint32_t ska_port_stack_bytes(void) { return (uint32_t)(RAMEND + 1U - (uint16_t)(uintptr_t)&__heap_start); }

uint32_t ska_port_stack_used(void)
{
    const volatile uint8_t *p = &__heap_start;
    while ((uintptr_t)p <= RAMEND && *p == SKA_PAINT) {
        p++;
    }
    return (uint32_t)(RAMEND + 1U - (uint16_t)(uintptr_t)p);
}
