/* Power-fail-safe snapshots of what has been learnt, in flash or EEPROM.
 *
 * Two slots take turns.  A save erases and writes the slot that does not hold the newest snapshot, so that a cut at any
 * moment leaves the last snapshot or the one before it, and never a mixture.  A slot, in order of address:
 *
 *   mark     u32 SKA_SNAPSHOT_MARK                                    erased first, written last
 *   header   u32 SKA_SNAPSHOT_MAGIC (its last byte is the format's version), u32 sequence number, u32 bytes of state,
 *            8 bytes: the first of the program digest, u32 CRC-32 (IEEE 802.3) of the header before it and of the state
 *   state    the bytes of ska_state()
 *
 * Numbers are little-endian.  Each of the three begins at a new program unit and is padded with 0xFF to whole units, and
 * no unit is ever programmed twice without an erasure between: flash with error-correcting codes allows nothing else.
 *
 * A slot counts when its mark, its CRC and its digest are right; of two that count, the one with the later sequence
 * number, compared so that the number may wrap around.  So bit rot in the newest falls back to the other.
 *
 * Wear: a save erases each page of one slot once (each byte of EEPROM is written once, the mark's twice), so a page is
 * erased every other save.  A slot that endures n erasures gives 2 n saves.
 *
 * Not covered: a unit cut while it was programmed that reads as if it were whole, and fades later.  Its CRC is checked at
 * every restore, so that it is then refused, not believed.
 */
#ifndef SKA_SNAPSHOT_H
#define SKA_SNAPSHOT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The largest program unit of the ports that are built in: this many bytes of stack while saving.  At least 16. */
#ifndef SKA_FLASH_UNIT_BYTES
#ifdef __AVR__
#define SKA_FLASH_UNIT_BYTES 16
#else
#define SKA_FLASH_UNIT_BYTES 256
#endif
#endif

#define SKA_SNAPSHOT_MARK UINT32_C(0x3A96C55A)
#define SKA_SNAPSHOT_MAGIC UINT32_C(0x01414B53) /* "SKA", version 1 */
#define SKA_SNAPSHOT_HEADER_BYTES 24U

/* A port: two slots side by side, addressed from 0 (slot 0) and slot_bytes (slot 1).
 *
 * The three functions return 0 when it is done, anything else when the memory reports an error.  All calls stay within
 * the two slots; erase is given the start of a page, program the start of a unit. */
typedef struct {
    uint32_t slot_bytes; /* of one slot: whole pages; see SKA_SNAPSHOT_BYTES */
    uint32_t page_bytes; /* of the unit of erasure: whole program units */
    uint16_t unit_bytes; /* of the smallest write: 1 to SKA_FLASH_UNIT_BYTES, a power of two */

    /* Make one page 0xFF.  Null where bytes can be overwritten one by one, as in EEPROM; page_bytes is then ignored. */
    uint8_t (*erase)(uint32_t at);

    /* Write one unit of unit_bytes.  The bytes may lie at any alignment. */
    uint8_t (*program)(uint32_t at, const uint8_t *bytes);

    /* Read.  An error (bits that the memory's own code cannot correct) makes the slot one that does not count. */
    uint8_t (*read)(uint32_t at, uint8_t *to, uint16_t count);
} ska_flash;

/* Bytes of a slot for program units of that size, before rounding up to whole pages. */
#define SKA_SNAPSHOT_UNITS(bytes, unit) (((bytes) + (unit)-1U) / (unit) * (unit))
#define SKA_SNAPSHOT_BYTES(unit)                                                                                       \
    (SKA_SNAPSHOT_UNITS(4U, unit) + SKA_SNAPSHOT_UNITS(SKA_SNAPSHOT_HEADER_BYTES, unit) +                              \
     SKA_SNAPSHOT_UNITS(SKA_STATE_BYTES, unit))

enum {
    SKA_SNAPSHOT_DONE,
    SKA_SNAPSHOT_NONE,    /* restore: no slot counts.  The state is as it was */
    SKA_SNAPSHOT_FOREIGN, /* restore: what there is was saved by another program.  The state is as it was */
    SKA_SNAPSHOT_FAILED,  /* the memory reports an error, or does not hold what was written.  After save: the newest
                           * snapshot is still there; after restore: the state is that of ska_reset() */
    SKA_SNAPSHOT_PORT     /* the port's sizes make no sense, or a slot is too small for the state */
};

/* Save the state.  Takes one pass over the state, reads both slots and what was written; calls no library. */
uint8_t ska_snapshot_save(const ska_flash *flash);

/* Bring back the newest snapshot.  A slot is read and checked as a whole before the state is touched. */
uint8_t ska_snapshot_restore(const ska_flash *flash);

#ifdef __cplusplus
}
#endif
#endif
