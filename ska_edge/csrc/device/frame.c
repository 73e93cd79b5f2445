#include "frame.h"

#include "port.h"

uint8_t ska_frame[SKA_FRAME_BYTES];

static uint16_t ska_filled;  /* bytes decoded so far, at most SKA_FRAME_BYTES */
static uint8_t ska_left;     /* bytes until the next COBS code */
static uint8_t ska_zero;     /* the block before stood for a zero at its end */
static uint8_t ska_overlong; /* more came than the buffer holds */

/* Bit by bit: a table would cost 1 KiB, and a line at 115,200 baud gives every byte 1,389 cycles of a 16 MHz AVR. */
static uint32_t ska_crc(const uint8_t *bytes, uint16_t count)
{
    uint32_t crc = UINT32_C(0xFFFFFFFF);
    uint8_t bit;
    while (count--) {
        crc ^= *bytes++;
        for (bit = 0; bit < 8; bit++) {
            crc = crc & 1U ? (crc >> 1) ^ UINT32_C(0xEDB88320) : crc >> 1;
        }
    }
    return ~crc;
}

static void ska_put(uint8_t byte)
{
    if (ska_filled < SKA_FRAME_BYTES) {
        ska_frame[ska_filled++] = byte;
    } else {
        ska_overlong = 1;
    }
}

/* The end of a frame: its payload's length, or 0. */
static uint16_t ska_close(void)
{
    uint16_t length = ska_overlong || ska_left || ska_filled <= SKA_CRC_BYTES ? 0 : (uint16_t)(ska_filled - SKA_CRC_BYTES);
    ska_filled = 0;
    ska_left = ska_zero = ska_overlong = 0;
    if (length) {
        const uint8_t *sum = ska_frame + length;
        uint32_t crc = ska_crc(ska_frame, length);
        if (sum[0] != (uint8_t)crc || sum[1] != (uint8_t)(crc >> 8) || sum[2] != (uint8_t)(crc >> 16) ||
            sum[3] != (uint8_t)(crc >> 24)) {
            return 0;
        }
    }
    return length;
}

uint16_t ska_frame_take(uint8_t byte)
{
    if (byte == 0) {
        return ska_close();
    }
    if (ska_left) {
        ska_put(byte);
        ska_left--;
    } else {
        if (ska_zero) {
            ska_put(0);
        }
        ska_left = (uint8_t)(byte - 1U);
        ska_zero = byte != 255; /* a block of 254 bytes without a zero stands for itself */
    }
    return 0;
}

void ska_frame_send(uint16_t length)
{
    uint32_t crc = ska_crc(ska_frame, length);
    uint16_t start = 0;
    uint8_t run, full = 0, i;
    for (i = 0; i < SKA_CRC_BYTES; i++) {
        ska_frame[length++] = (uint8_t)crc;
        crc >>= 8;
    }
    ska_port_write(0); /* what noise left on the line ends here */
    while (start < length || (start == length && !full)) {
        for (run = 0; run < 254 && start + run < length && ska_frame[start + run]; run++) {
        }
        full = run == 254;
        ska_port_write((uint8_t)(run + 1U));
        for (i = 0; i < run; i++) {
            ska_port_write(ska_frame[start + i]);
        }
        start = (uint16_t)(start + run + !full);
    }
    ska_port_write(0);
}
