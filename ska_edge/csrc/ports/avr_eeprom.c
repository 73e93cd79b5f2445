/* EEPROM of an ATmega for snapshots (ATmega328P data sheet, section EEPROM Data Memory): bytes, overwritten one by one. */
#include "device/port.h"

#include "model.h"

#include <avr/interrupt.h>
#include <avr/io.h>

static void ska_ready(void)
{
    while (EECR & (1U << EEPE)) {
    }
}

static uint8_t ska_program(uint32_t at, const uint8_t *byte)
{
    const uint8_t status = SREG;
    ska_ready();
    EEAR = (uint16_t)(SKA_STORE_BASE + at);
    EEDR = *byte;
    cli(); /* EEPE must follow EEMPE within four cycles */
    EECR |= (uint8_t)(1U << EEMPE);
    EECR |= (uint8_t)(1U << EEPE);
    SREG = status;
    return 0;
}

static uint8_t ska_read(uint32_t at, uint8_t *to, uint16_t count)
{
    ska_ready();
    for (; count; count--, at++, to++) {
        EEAR = (uint16_t)(SKA_STORE_BASE + at);
        EECR |= (uint8_t)(1U << EERE);
        *to = EEDR;
    }
    return 0;
}

const ska_flash *ska_port_flash(void)
{
    static const ska_flash eeprom = {SKA_STORE_SLOT, 1, 1, 0, ska_program, ska_read};
    return &eeprom;
}
