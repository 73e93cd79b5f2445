#include "protocol.h"

#include "frame.h"
#include "kernels/memory.h" /* constants in flash */
#include "model.h"
#include "port.h"

#ifndef SKA_BUILD
#define SKA_BUILD "not said"
#endif

#define SKA_HEADER_BYTES 4
#define SKA_DATA_BYTES (SKA_FRAME_BYTES - SKA_CRC_BYTES - SKA_HEADER_BYTES)

static const char ska_digest[] SKA_FLASH = SKA_PROGRAM_DIGEST;
static const char ska_build[] SKA_FLASH = SKA_BUILD;

static uint8_t ska_sequence, ska_command; /* of the last request; command 0: none since the reset */
static uint8_t *const ska_data = ska_frame + SKA_HEADER_BYTES;

static uint16_t ska_get16(const uint8_t *p) { return (uint16_t)(p[0] | (uint16_t)p[1] << 8); }
static uint32_t ska_get32(const uint8_t *p) { return ska_get16(p) | (uint32_t)ska_get16(p + 2) << 16; }

static uint8_t *ska_put_number(uint8_t *p, uint32_t value, uint8_t bytes)
{
    while (bytes--) {
        *p++ = (uint8_t)value;
        value >>= 8;
    }
    return p;
}

static void ska_copy(uint8_t *to, const uint8_t *from, uint16_t count)
{
    while (count--) {
        *to++ = *from++;
    }
}

static uint8_t ska_within(uint32_t offset, uint16_t count, uint32_t size)
{
    return count <= size && offset <= size - count;
}

/* offset, count -> bytes of a memory of that size, from p on in ska_data. */
static uint8_t ska_out(const uint8_t *memory, uint32_t size, const uint8_t *asked, uint16_t *length)
{
    uint32_t offset = ska_get32(asked);
    uint16_t count = ska_get16(asked + 4);
    if (count > SKA_DATA_BYTES) {
        return SKA_STATUS_MALFORMED;
    }
    if (!ska_within(offset, count, size)) {
        return SKA_STATUS_RANGE;
    }
    ska_copy(ska_data, memory + offset, count);
    *length = count;
    return SKA_STATUS_DONE;
}

/* offset, bytes -> a memory of that size. */
static uint8_t ska_in(uint8_t *memory, uint32_t size, const uint8_t *given, uint16_t count)
{
    if (count < 4) {
        return SKA_STATUS_MALFORMED;
    }
    count = (uint16_t)(count - 4U);
    if (!ska_within(ska_get32(given), count, size)) {
        return SKA_STATUS_RANGE;
    }
    ska_copy(memory + ska_get32(given), given + 4, count);
    return SKA_STATUS_DONE;
}

static uint16_t ska_hello(void)
{
    uint8_t *p = ska_data;
    uint8_t flags = 0;
    ska_index i;
#ifdef SKA_STEPPED
    flags |= 1;
#endif
#ifdef SKA_LEARNS
    flags |= 2;
#endif
#ifdef SKA_PREDICTS
    flags |= 4;
#endif
#ifdef SKA_SNAPSHOTS
    flags |= 8;
#endif
    *p++ = flags;
    *p++ = (uint8_t)sizeof(ska_feature);
    p = ska_put_number(p, SKA_DATA_BYTES, 2);
    for (i = 0; i < 64; i += 2) { /* the digest is kept as text, which can be found in an image */
        uint8_t byte = 0, k;
        for (k = 0; k < 2; k++) {
            uint8_t digit = (uint8_t)SKA_LOAD(fu8, ska_digest, i + k);
            byte = (uint8_t)(byte << 4 | (digit <= '9' ? digit - '0' : digit - 'a' + 10));
        }
        *p++ = byte;
    }
    p = ska_put_number(p, SKA_SAMPLE_BYTES, 4);
#ifdef SKA_CLASSES
    p = ska_put_number(p, SKA_CLASSES, 2);
    *p++ = (uint8_t)sizeof(ska_decision);
#else
    p = ska_put_number(p, 0, 3);
#endif
    *p++ = SKA_ENTROPIES;
    p = ska_put_number(p, SKA_ARENA_BYTES, 4);
    p = ska_put_number(p, SKA_STATE_BYTES, 4);
    for (i = 0; i < sizeof ska_build - 1 && p < ska_data + SKA_DATA_BYTES; i++) {
        *p++ = (uint8_t)SKA_LOAD(fu8, ska_build, i);
    }
    return (uint16_t)(p - ska_data);
}

static uint8_t ska_entropies(uint16_t *length)
{
    uint8_t first = ska_data[0], count = ska_data[1], i;
    uint8_t *p = ska_data;
    if ((uint16_t)count * 8 > SKA_DATA_BYTES) {
        return SKA_STATUS_MALFORMED;
    }
    if (!ska_within(first, count, SKA_ENTROPIES)) {
        return SKA_STATUS_RANGE;
    }
    for (i = 0; i < count; i++) {
        uint64_t sum = (uint64_t)ska_entropy((uint8_t)(first + i));
        p = ska_put_number(p, (uint32_t)sum, 4);
        p = ska_put_number(p, (uint32_t)(sum >> 32), 4);
    }
    *length = (uint16_t)(p - ska_data);
    return SKA_STATUS_DONE;
}

#if defined(SKA_LEARNS) || defined(SKA_PREDICTS)
/* The sample after `skip` bytes of data, where there is one; 0 where the length is neither of the two. */
static uint8_t ska_whole_sample(uint16_t skip, uint16_t count)
{
    if (count == skip) {
        return 1;
    }
    if ((uint32_t)(count - skip) != SKA_SAMPLE_BYTES) {
        return 0;
    }
    ska_copy((uint8_t *)ska_sample(), ska_data + skip, (uint16_t)(count - skip));
    return 1;
}

static uint8_t ska_choose(int16_t choice, uint16_t *length)
{
    ska_put_number(ska_data, (uint16_t)choice, 2);
    *length = 2;
    return SKA_STATUS_DONE;
}
#endif

#ifdef SKA_LEARNS
static uint8_t ska_do_learn(uint16_t count, uint8_t repeated, uint16_t *length)
{
    static int16_t choice; /* kept for an answer that must be repeated */
    if (count < 2) {
        return SKA_STATUS_MALFORMED;
    }
    if (!repeated) {
        int16_t label = (int16_t)ska_get16(ska_data);
#ifdef SKA_CLASSES
        if (label < -1 || label >= SKA_CLASSES) {
            return SKA_STATUS_RANGE;
        }
#endif
        if (!ska_whole_sample(2, count)) {
            return SKA_STATUS_MALFORMED;
        }
        choice = ska_learn(ska_sample(), label);
    }
    return ska_choose(choice, length);
}
#endif

#ifdef SKA_STEPPED
static uint8_t ska_do_run(uint16_t count, uint8_t repeated, uint16_t *length)
{
    if (count < 15 || ska_get16(ska_data + 9) > SKA_DATA_BYTES) {
        return SKA_STATUS_MALFORMED;
    }
    if (!ska_within(ska_get32(ska_data + 5), ska_get16(ska_data + 9), SKA_ARENA_BYTES)) {
        return SKA_STATUS_RANGE; /* before anything is done */
    }
    if (!repeated) {
        uint8_t status = ska_in(ska_arena(), SKA_ARENA_BYTES, ska_data + 11, (uint16_t)(count - 11U));
        if (status) {
            return status;
        }
        ska_run(ska_data[0], ska_get16(ska_data + 1), ska_get16(ska_data + 3));
    }
    return ska_out(ska_arena(), SKA_ARENA_BYTES, ska_data + 5, length);
}
#endif

#ifdef SKA_SNAPSHOTS
static uint8_t ska_do_snapshot(uint8_t command, uint8_t repeated, uint16_t *length)
{
    static uint8_t status; /* kept for an answer that must be repeated: a save wears the memory */
    const ska_flash *flash = ska_port_flash();
    if (!flash) {
        return SKA_STATUS_UNKNOWN;
    }
    if (!repeated) {
        status = command == SKA_SAVE ? ska_snapshot_save(flash) : ska_snapshot_restore(flash);
    }
    ska_data[0] = status;
    *length = 1;
    return SKA_STATUS_DONE;
}
#endif

/* Carry out a request whose data are `count` bytes; returns its status and the answer's length. */
static uint8_t ska_execute(uint8_t command, uint16_t count, uint8_t repeated, uint16_t *length)
{
    (void)repeated;
    switch (command) {
    case SKA_HELLO:
        *length = ska_hello();
        return SKA_STATUS_DONE;
    case SKA_SAMPLE:
        return ska_in((uint8_t *)ska_sample(), SKA_SAMPLE_BYTES, ska_data, count);
#ifdef SKA_LEARNS
    case SKA_LEARN:
        return ska_do_learn(count, repeated, length);
#endif
#ifdef SKA_PREDICTS
    case SKA_PREDICT: /* changes nothing that lasts: may be done twice */
        return ska_whole_sample(0, count) ? ska_choose(ska_predict(ska_sample()), length) : SKA_STATUS_MALFORMED;
#endif
#ifdef SKA_CLASSES
    case SKA_DECISIONS:
        return count == 6 ? ska_out((const uint8_t *)ska_decisions(), SKA_CLASSES * (uint32_t)sizeof(ska_decision),
                                    ska_data, length)
                          : SKA_STATUS_MALFORMED;
#endif
    case SKA_ENTROPY_SUMS:
        return count == 2 ? ska_entropies(length) : SKA_STATUS_MALFORMED;
    case SKA_STATE_OUT:
        return count == 6 ? ska_out(ska_state(), SKA_STATE_BYTES, ska_data, length) : SKA_STATUS_MALFORMED;
    case SKA_STATE_IN:
        return ska_in(ska_state(), SKA_STATE_BYTES, ska_data, count);
    case SKA_RESET:
        ska_reset();
        return SKA_STATUS_DONE;
    case SKA_STACK:
        ska_put_number(ska_put_number(ska_data, ska_port_stack_bytes(), 4), ska_port_stack_used(), 4);
        *length = 8;
        return SKA_STATUS_DONE;
#ifdef SKA_STEPPED
    case SKA_PEEK:
        return count == 6 ? ska_out(ska_arena(), SKA_ARENA_BYTES, ska_data, length) : SKA_STATUS_MALFORMED;
    case SKA_POKE:
        return ska_in(ska_arena(), SKA_ARENA_BYTES, ska_data, count);
    case SKA_RUN:
        return ska_do_run(count, repeated, length);
#endif
#ifdef SKA_SNAPSHOTS
    case SKA_SAVE:
    case SKA_LOAD:
        return ska_do_snapshot(command, repeated, length);
#endif
    default:
        return SKA_STATUS_UNKNOWN;
    }
}

static void ska_answer(uint16_t received)
{
    const uint8_t command = ska_frame[2];
    uint16_t length = 0;
    uint8_t status, repeated;
    if (received < SKA_HEADER_BYTES) {
        return; /* nothing to answer to */
    }
    if (ska_frame[0] != SKA_PROTOCOL_VERSION) {
        status = SKA_STATUS_VERSION;
    } else if (ska_command == 0 && command != SKA_HELLO) {
        status = SKA_STATUS_RESTARTED;
    } else {
        repeated = command == ska_command && ska_frame[1] == ska_sequence;
        status = ska_execute(command, (uint16_t)(received - SKA_HEADER_BYTES), repeated, &length);
        if (status == SKA_STATUS_DONE) { /* a refused request has done nothing and may be tried again */
            ska_command = command;
            ska_sequence = ska_frame[1];
        }
    }
    ska_frame[0] = SKA_PROTOCOL_VERSION;
    ska_frame[2] = (uint8_t)(command | 0x80U);
    ska_frame[3] = status;
    ska_frame_send((uint16_t)(length + SKA_HEADER_BYTES));
}

void ska_device_poll(void)
{
    const int16_t byte = ska_port_read();
    if (byte < 0) {
        ska_port_idle();
    } else {
        const uint16_t received = ska_frame_take((uint8_t)byte);
        if (received) {
            ska_answer(received);
        }
    }
}
