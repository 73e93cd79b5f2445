/* Frames on a serial line: COBS (Cheshire and Baker 1999), so that 0x00 occurs nowhere but between frames, and a CRC-32
 * (IEEE 802.3, reflected, as in zlib) after the payload, least byte first.
 *
 * One buffer serves both directions: the line is half duplex, the host waits for an answer before it speaks again. */
#ifndef SKA_FRAME_H
#define SKA_FRAME_H

#include <stdint.h>

/* Payload and CRC of the longest frame.  At least 64, at most 65,000. */
#ifndef SKA_FRAME_BYTES
#ifdef __AVR__
#define SKA_FRAME_BYTES 112
#else
#define SKA_FRAME_BYTES 512
#endif
#endif

#define SKA_CRC_BYTES 4

typedef char ska_frames_must_hold_a_hello[SKA_FRAME_BYTES >= 64 && SKA_FRAME_BYTES <= 65000L ? 1 : -1];

/* The payload received, or to be sent. */
extern uint8_t ska_frame[SKA_FRAME_BYTES];

/* Take one byte from the line.  Returns the length of a payload that has just become whole, else 0; what is too long, cut
 * short or fails its CRC is dropped without a word, and the next 0x00 starts afresh. */
uint16_t ska_frame_take(uint8_t byte);

/* Send the first `length` bytes of ska_frame, at most SKA_FRAME_BYTES - SKA_CRC_BYTES. */
void ska_frame_send(uint16_t length);

#endif
