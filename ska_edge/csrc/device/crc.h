/* CRC-32 of IEEE 802.3, reflected, as in zlib; least bit first.
 *
 * Bit by bit: a table would cost 1 KiB of flash, or 64 bytes and half the time. */
#ifndef SKA_CRC_H
#define SKA_CRC_H

#include <stdint.h>

#define SKA_CRC_START UINT32_C(0xFFFFFFFF)

/* Go on with a CRC that began as SKA_CRC_START; its complement is the sum. */
static inline uint32_t ska_crc_more(uint32_t crc, const uint8_t *bytes, uint32_t count)
{
    uint8_t bit;
    while (count--) {
        crc ^= *bytes++;
        for (bit = 0; bit < 8; bit++) {
            crc = crc & 1U ? (crc >> 1) ^ UINT32_C(0xEDB88320) : crc >> 1;
        }
    }
    return crc;
}

#endif
