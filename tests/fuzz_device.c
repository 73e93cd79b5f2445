/* Throws damaged, hostile and plain wrong frames at the device code; afterwards a good hello must be answered.
 *
 *   fuzz_device COUNT SEED
 *
 * Built with the address and undefined-behaviour sanitizers: a fault ends it.  Prints what it has sent and got. */
#include "device/frame.h"
#include "device/port.h"
#include "device/protocol.h"
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t line[1 << 16];
static size_t line_first, line_end;
static uint8_t heard[1 << 16];
static size_t heard_count;
static unsigned long answers;
static uint64_t state;

void ska_port_init(void) {}
void ska_port_idle(void) {}
uint32_t ska_port_stack_bytes(void) { return 0; }
uint32_t ska_port_stack_used(void) { return 0; }
int16_t ska_port_read(void) { return line_first < line_end ? line[line_first++] : -1; }

void ska_port_write(uint8_t byte)
{
    if (heard_count == sizeof heard) {
        abort();
    }
    heard[heard_count++] = byte;
}

static uint32_t chance(uint32_t below) /* xorshift64* */
{
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return (uint32_t)((state * UINT64_C(2685821657736338717)) >> 32) % below;
}

static void put(uint8_t byte)
{
    if (line_end < sizeof line) {
        line[line_end++] = byte;
    }
}

/* Payload, CRC, COBS, zero: written apart from the device's code, with a table and from the back. */
static void put_frame(uint8_t *payload, size_t count, int good)
{
    uint32_t crc = 0xFFFFFFFFU;
    size_t i, j, from;
    for (i = 0; i < count; i++) {
        uint32_t byte = (crc ^ payload[i]) & 255U;
        for (j = 0; j < 8; j++) {
            byte = (byte >> 1) ^ (0xEDB88320U & (0U - (byte & 1U)));
        }
        crc = byte ^ (crc >> 8);
    }
    crc = ~crc ^ (good ? 0U : 1U << chance(32));
    for (i = 0; i < 4; i++) {
        payload[count++] = (uint8_t)(crc >> (8 * i));
    }
    for (from = 0; from <= count;) {
        size_t end = from;
        while (end < count && payload[end] && end - from < 254) {
            end++;
        }
        put((uint8_t)(end - from + 1));
        for (i = from; i < end; i++) {
            put(payload[i]);
        }
        from = end - from == 254 ? end : end + 1;
        if (end - from == 254 && end == count) {
            break;
        }
    }
    put(0);
}

static size_t a_request(uint8_t *payload)
{
    size_t count = 4 + chance(chance(4) ? 24 : SKA_FRAME_BYTES + 64), i;
    for (i = 0; i < count; i++) {
        payload[i] = (uint8_t)(chance(3) ? chance(256) : 0);
    }
    payload[0] = (uint8_t)(chance(16) ? SKA_PROTOCOL_VERSION : chance(256));
    payload[2] = (uint8_t)(chance(16) ? chance(16) : chance(256));
    if (chance(2)) { /* small offsets and counts get further */
        for (i = 6; i < count && i < 15; i++) {
            payload[i] = (uint8_t)(i == 8 || i == 13 ? payload[i] : 0);
        }
    }
    return count;
}

static void poll_all(void)
{
    while (line_first < line_end) {
        ska_device_poll();
    }
    line_first = line_end = 0;
    answers += heard_count != 0;
    heard_count = 0;
}

int main(int argc, char **argv)
{
    static uint8_t payload[SKA_FRAME_BYTES + 256];
    unsigned long sent, count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    size_t i;
    state = argc > 2 ? strtoull(argv[2], NULL, 10) * 2 + 1 : 1;
    ska_reset();
    for (sent = 0; sent < count; sent++) {
        size_t length = a_request(payload), before = line_end;
        switch (chance(6)) {
        case 0: /* noise */
            for (i = 0; i < length; i++) {
                put((uint8_t)chance(256));
            }
            break;
        case 1: /* a bit has flipped */
            put_frame(payload, length, 1);
            line[before + chance((uint32_t)(line_end - before))] ^= (uint8_t)(1U << chance(8));
            break;
        case 2: /* cut short */
            put_frame(payload, length, 1);
            line_end = before + chance((uint32_t)(line_end - before));
            break;
        case 3: /* wrong sum */
            put_frame(payload, length, 0);
            break;
        default: /* undamaged, and wrong in every other way */
            put_frame(payload, length, 1);
            break;
        }
        poll_all();
    }
    put(0); /* ends what was cut short */
    poll_all();
    memset(payload, 0, 4);
    payload[0] = SKA_PROTOCOL_VERSION, payload[1] = 77, payload[2] = SKA_HELLO;
    put_frame(payload, 4, 1);
    while (line_first < line_end) {
        ska_device_poll();
    }
    /* zero, COBS code, version, sequence, command, (zero), ... */
    if (heard_count < 50 || heard[2] != SKA_PROTOCOL_VERSION || heard[3] != 77 || heard[4] != (SKA_HELLO | 0x80)) {
        fprintf(stderr, "no good answer to a good hello: %lu bytes\n", (unsigned long)heard_count);
        return 1;
    }
    printf("%lu frames, %lu of them answered; then a good hello: answered with %lu bytes\n", sent, answers,
           (unsigned long)heard_count);
    return 0;
}
