#include "snapshot.h"

#include "crc.h"
#include "kernels/memory.h" /* the digest lies in flash */
#include "model.h"

#define SKA_SUMMED_BYTES 20U /* the header before its CRC */
#define SKA_PIECE_BYTES 16U  /* read at a time; a mark and a header begin within it */

typedef char ska_units_must_hold_a_piece[SKA_FLASH_UNIT_BYTES >= 16 && SKA_FLASH_UNIT_BYTES <= 32768 ? 1 : -1];

static const char ska_digest[] SKA_FLASH = SKA_PROGRAM_DIGEST;

/* What was found in a slot. */
enum { SKA_SLOT_TORN, SKA_SLOT_FOREIGN, SKA_SLOT_WHOLE };

static uint32_t ska_units(const ska_flash *flash, uint32_t bytes)
{
    return (bytes + flash->unit_bytes - 1U) & ~(uint32_t)(flash->unit_bytes - 1U);
}

static uint32_t ska_header_at(const ska_flash *flash) { return ska_units(flash, 4); }

static uint32_t ska_state_at(const ska_flash *flash)
{
    return ska_header_at(flash) + ska_units(flash, SKA_SNAPSHOT_HEADER_BYTES);
}

/* Nothing is written through a port that would run over its slots. */
static uint8_t ska_sensible(const ska_flash *flash)
{
    const uint32_t unit = flash->unit_bytes, slot = flash->slot_bytes, page = flash->page_bytes;
    if (!unit || unit > SKA_FLASH_UNIT_BYTES || (unit & (unit - 1U)) || slot > UINT32_MAX / 2U || slot & (unit - 1U)) {
        return 0;
    }
    if (flash->erase && (!page || page & (unit - 1U) || slot % page)) {
        return 0;
    }
    return slot >= ska_state_at(flash) && slot - ska_state_at(flash) >= ska_units(flash, SKA_STATE_BYTES);
}

static uint32_t ska_get_number(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void ska_put_number(uint8_t *p, uint32_t value)
{
    uint8_t i;
    for (i = 0; i < 4; i++) {
        p[i] = (uint8_t)(value >> (8U * i));
    }
}

/* Byte i of the program digest, which is kept as text. */
static uint8_t ska_digest_byte(ska_index i)
{
    uint8_t byte = 0, k;
    for (k = 0; k < 2; k++) {
        const uint8_t digit = (uint8_t)SKA_LOAD(fu8, ska_digest, 2U * i + k);
        byte = (uint8_t)(byte << 4 | (digit <= '9' ? digit - '0' : digit - 'a' + 10));
    }
    return byte;
}

/* Read a slot's state, into `to` where there is one, and go on with its CRC.  0 when the memory reports no error. */
static uint8_t ska_read_state(const ska_flash *flash, uint32_t slot, uint32_t bytes, uint8_t *to, uint32_t *crc)
{
    const uint32_t start = slot + ska_state_at(flash);
    uint8_t piece[SKA_PIECE_BYTES];
    uint32_t at;
    for (at = 0; at < bytes; at += SKA_PIECE_BYTES) {
        const uint32_t left = bytes - at;
        const uint16_t count = (uint16_t)(left < SKA_PIECE_BYTES ? left : SKA_PIECE_BYTES);
        uint8_t *const into = to ? to + at : piece;
        if (flash->read(start + at, into, count)) {
            return 1;
        }
        *crc = ska_crc_more(*crc, into, count);
    }
    return 0;
}

/* Check a slot but for its mark, and copy its state where `to` says so.  *sequence is set where the slot is whole. */
static uint8_t ska_check_body(const ska_flash *flash, uint32_t slot, uint8_t *to, uint32_t *sequence)
{
    uint8_t header[SKA_SNAPSHOT_HEADER_BYTES], i, own = 1;
    uint32_t crc = SKA_CRC_START, bytes;
    if (flash->read(slot + ska_header_at(flash), header, SKA_SNAPSHOT_HEADER_BYTES) ||
        ska_get_number(header) != SKA_SNAPSHOT_MAGIC) {
        return SKA_SLOT_TORN;
    }
    bytes = ska_get_number(header + 8);
    if (bytes > flash->slot_bytes - ska_state_at(flash)) {
        return SKA_SLOT_TORN;
    }
    for (i = 0; i < 8; i++) {
        if (header[12 + i] != ska_digest_byte(i)) {
            own = 0;
        }
    }
    if (bytes != SKA_STATE_BYTES) {
        own = 0;
    }
    crc = ska_crc_more(crc, header, SKA_SUMMED_BYTES);
    if (ska_read_state(flash, slot, bytes, own ? to : 0, &crc) || ~crc != ska_get_number(header + SKA_SUMMED_BYTES)) {
        return SKA_SLOT_TORN;
    }
    *sequence = ska_get_number(header + 4);
    return own ? SKA_SLOT_WHOLE : SKA_SLOT_FOREIGN;
}

static uint8_t ska_marked(const ska_flash *flash, uint32_t slot)
{
    uint8_t mark[4];
    return !flash->read(slot, mark, 4) && ska_get_number(mark) == SKA_SNAPSHOT_MARK;
}

/* Check a slot, all of it. */
static uint8_t ska_check(const ska_flash *flash, uint32_t slot, uint8_t *to, uint32_t *sequence)
{
    return ska_marked(flash, slot) ? ska_check_body(flash, slot, to, sequence) : (uint8_t)SKA_SLOT_TORN;
}

/* Whether a was counted after b, wrap-around included. */
static uint8_t ska_later(uint32_t a, uint32_t b) { return a != b && a - b < UINT32_C(0x80000000); }

/* Number of the better slot, by its kind and then by its sequence number. */
static uint8_t ska_better(const uint8_t *kind, const uint32_t *sequence)
{
    return (uint8_t)(kind[1] > kind[0] || (kind[1] == kind[0] && ska_later(sequence[1], sequence[0])));
}

/* Program `count` bytes from `at` on, whole units straight from where they lie, the last one padded. */
static uint8_t ska_program(const ska_flash *flash, uint32_t at, const uint8_t *bytes, uint32_t count)
{
    uint8_t unit[SKA_FLASH_UNIT_BYTES];
    uint32_t done;
    uint16_t i;
    for (done = 0; done < count; done += flash->unit_bytes) {
        const uint8_t *whole = bytes + done;
        if (count - done < flash->unit_bytes) {
            for (i = 0; i < flash->unit_bytes; i++) {
                unit[i] = done + i < count ? bytes[done + i] : 0xFF;
            }
            whole = unit;
        }
        if (flash->program(at + done, whole)) {
            return 1;
        }
    }
    return 0;
}

/* Take a slot's validity away, and all else with it where the memory erases.  The mark's page goes first. */
static uint8_t ska_clear(const ska_flash *flash, uint32_t slot)
{
    const uint8_t nothing[4] = {0xFF, 0xFF, 0xFF, 0xFF};
    uint32_t at;
    if (!flash->erase) {
        return ska_program(flash, slot, nothing, 4);
    }
    for (at = 0; at < flash->slot_bytes; at += flash->page_bytes) {
        if (flash->erase(slot + at)) {
            return 1;
        }
    }
    return 0;
}

uint8_t ska_snapshot_save(const ska_flash *flash)
{
    uint8_t header[SKA_SNAPSHOT_HEADER_BYTES], kind[2], i;
    uint32_t sequence[2] = {0, 0}, crc, slot;
    if (!ska_sensible(flash)) {
        return SKA_SNAPSHOT_PORT;
    }
    for (i = 0; i < 2; i++) {
        kind[i] = ska_check(flash, i ? flash->slot_bytes : 0, 0, &sequence[i]);
    }
    i = ska_better(kind, sequence);
    slot = i ? 0 : flash->slot_bytes;

    ska_put_number(header, SKA_SNAPSHOT_MAGIC);
    ska_put_number(header + 4, sequence[i] + 1U);
    ska_put_number(header + 8, SKA_STATE_BYTES);
    for (i = 0; i < 8; i++) {
        header[12 + i] = ska_digest_byte(i);
    }
    crc = ~ska_crc_more(ska_crc_more(SKA_CRC_START, header, SKA_SUMMED_BYTES), ska_state(), SKA_STATE_BYTES);
    ska_put_number(header + SKA_SUMMED_BYTES, crc);

    if (ska_clear(flash, slot) || ska_program(flash, slot + ska_header_at(flash), header, SKA_SNAPSHOT_HEADER_BYTES) ||
        ska_program(flash, slot + ska_state_at(flash), ska_state(), SKA_STATE_BYTES)) {
        return SKA_SNAPSHOT_FAILED;
    }
    if (ska_check_body(flash, slot, 0, &sequence[0]) != SKA_SLOT_WHOLE) {
        return SKA_SNAPSHOT_FAILED; /* worn-out pages are found before the slot is declared good */
    }
    ska_put_number(header, SKA_SNAPSHOT_MARK);
    return ska_program(flash, slot, header, 4) || !ska_marked(flash, slot) ? SKA_SNAPSHOT_FAILED : SKA_SNAPSHOT_DONE;
}

uint8_t ska_snapshot_restore(const ska_flash *flash)
{
    uint8_t kind[2], i, tries;
    uint32_t sequence[2] = {0, 0};
    if (!ska_sensible(flash)) {
        return SKA_SNAPSHOT_PORT;
    }
    for (i = 0; i < 2; i++) {
        kind[i] = ska_check(flash, i ? flash->slot_bytes : 0, 0, &sequence[i]);
    }
    i = ska_better(kind, sequence);
    if (kind[i] != SKA_SLOT_WHOLE) {
        return kind[i] == SKA_SLOT_FOREIGN ? SKA_SNAPSHOT_FOREIGN : SKA_SNAPSHOT_NONE;
    }
    for (tries = 0; tries < 2 && kind[i] == SKA_SLOT_WHOLE; tries++) {
        if (ska_check(flash, i ? flash->slot_bytes : 0, ska_state(), &sequence[i]) == SKA_SLOT_WHOLE) {
            return SKA_SNAPSHOT_DONE;
        }
        i ^= 1U; /* it was whole a moment ago: the memory is failing, and the state half overwritten */
    }
    ska_reset();
    return SKA_SNAPSHOT_FAILED;
}
