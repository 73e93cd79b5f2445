/* Snapshots in a flash that exists only here, with the power cut wherever it can be cut.
 *
 * The flash is as unkind as data sheets allow: programming clears bits and does nothing else; a unit programmed twice, an
 * address outside or off its unit is a violation that fails the test; a cut leaves any subset of a unit's bits programmed
 * and any content in a page that was being erased; with `ecc`, what was cut cannot be read at all.
 *
 * As a program, it sweeps all cuts of several saves in a row and prints what it counted; as a library, tests drive it. */
#include "device/snapshot.h"

#include "model.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_FLASH (1U << 17)
#define MOST_STATE (1U << 15)

enum { CUT_BEFORE, CUT_SUBSET, CUT_RANDOM, CUT_AFTER, CUT_KINDS };

uint32_t test_state_bytes;
uint8_t test_state[MOST_STATE];
uint8_t *ska_state(void) { return test_state; }
void ska_reset(void) { memset(test_state, 0xEE, test_state_bytes); }

typedef struct {
    uint8_t bytes[MOST_FLASH];
    uint8_t dirty[MOST_FLASH];  /* by unit: programmed since its page was erased */
    uint8_t broken[MOST_FLASH]; /* by unit: cut; cannot be read with ecc */
} memory_t;

memory_t test_memory;
uint32_t test_erasures[MOST_FLASH]; /* by page, or by byte written where there is no erasure */
uint32_t test_operations, test_cut_at, test_violations;
uint32_t test_cut_kind, test_ecc, test_fail_at = UINT32_MAX, test_read_fails_at = UINT32_MAX;
static uint32_t reads;
static uint64_t seed = 1;
static jmp_buf power;
static uint8_t erase(uint32_t at);
static uint8_t program(uint32_t at, const uint8_t *bytes);
static uint8_t read(uint32_t at, uint8_t *to, uint16_t count);
ska_flash test_flash = {0, 0, 0, erase, program, read};

static uint8_t chance(void) /* xorshift64, Marsaglia 2003 */
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint8_t)(seed >> 24);
}

/* Count an operation; says whether the power goes during it. */
static int last(void) { return test_operations++ == test_cut_at; }

static void check(uint32_t at, uint32_t count, uint32_t step)
{
    const uint64_t end = 2 * (uint64_t)test_flash.slot_bytes;
    if (at % step || at + (uint64_t)count > end) {
        test_violations++;
    }
}

static uint8_t erase(uint32_t at)
{
    const uint32_t size = test_flash.page_bytes, unit = test_flash.unit_bytes;
    const int cut = last();
    uint32_t i;
    check(at, size, size);
    if (cut && test_cut_kind == CUT_BEFORE) {
        longjmp(power, 1);
    }
    test_erasures[at / size]++;
    for (i = at; i < at + size; i++) {
        uint8_t *const byte = &test_memory.bytes[i];
        if (!cut || test_cut_kind == CUT_AFTER) {
            *byte = 0xFF;
        } else {
            *byte = test_cut_kind == CUT_SUBSET ? *byte | chance() : chance();
        }
        test_memory.dirty[i / unit] = cut && test_cut_kind != CUT_AFTER;
        test_memory.broken[i / unit] = cut && test_cut_kind != CUT_AFTER && (chance() & 1U);
    }
    if (cut) {
        longjmp(power, 1);
    }
    return test_operations > test_fail_at;
}

static uint8_t program(uint32_t at, const uint8_t *bytes)
{
    const uint32_t unit = test_flash.unit_bytes;
    const int cut = last();
    uint32_t i;
    check(at, unit, unit);
    if (cut && test_cut_kind == CUT_BEFORE) {
        longjmp(power, 1);
    }
    test_violations += test_flash.erase && test_memory.dirty[at / unit];
    test_memory.dirty[at / unit] = 1;
    test_memory.broken[at / unit] = cut && test_cut_kind != CUT_AFTER;
    for (i = 0; i < unit; i++) {
        uint8_t *const byte = &test_memory.bytes[at + i];
        const uint8_t kept = cut && test_cut_kind != CUT_AFTER ? chance() : 0;
        if (test_flash.erase) {
            *byte = (uint8_t)(*byte & (bytes[i] | kept)); /* a subset of the bits that were to be cleared */
        } else {
            *byte = cut && test_cut_kind == CUT_RANDOM ? chance() : (uint8_t)((bytes[i] & ~kept) | (*byte & kept));
            test_erasures[at + i]++;
        }
    }
    if (cut) {
        longjmp(power, 1);
    }
    return test_operations > test_fail_at;
}

static uint8_t read(uint32_t at, uint8_t *to, uint16_t count)
{
    uint32_t i;
    check(at, count, 1);
    memcpy(to, test_memory.bytes + at, count);
    for (i = at; test_ecc && i < at + count; i++) {
        if (test_memory.broken[i / test_flash.unit_bytes]) {
            return 1;
        }
    }
    return reads++ >= test_read_fails_at;
}

/* --- for tests that drive it ------------------------------------------------------------------------------------- */

void test_setup(uint32_t slot, uint32_t page, uint32_t unit, uint32_t state)
{
    test_flash.slot_bytes = slot;
    test_flash.page_bytes = page;
    test_flash.unit_bytes = (uint16_t)unit;
    test_flash.erase = page ? erase : 0;
    test_state_bytes = state;
    memset(&test_memory, 0, sizeof test_memory);
    memset(test_memory.bytes, 0xFF, sizeof test_memory.bytes);
    memset(test_erasures, 0, sizeof test_erasures);
    test_operations = test_violations = test_ecc = 0;
    test_cut_at = test_fail_at = test_read_fails_at = UINT32_MAX;
}

void test_set_seed(uint32_t value) { seed = value * UINT64_C(0x9E3779B97F4A7C15) + 1; }

/* Save; -1 where the power went. */
int32_t test_save(uint32_t cut_at, uint32_t kind)
{
    int32_t status;
    test_operations = 0;
    test_cut_at = cut_at;
    test_cut_kind = kind;
    status = setjmp(power) ? -1 : (int32_t)ska_snapshot_save(&test_flash);
    test_cut_at = UINT32_MAX;
    return status;
}

int32_t test_restore(void)
{
    reads = 0;
    return ska_snapshot_restore(&test_flash);
}

/* --- the sweep --------------------------------------------------------------------------------------------------- */

static uint64_t cuts, twice, recovered_last, recovered_before, lost;

/* The state of the n-th save: every byte differs from that of the saves around it, so that a mixture shows. */
static void fill(uint32_t n)
{
    uint32_t i;
    for (i = 0; i < test_state_bytes; i++) {
        test_state[i] = (uint8_t)(i * 7U + (i >> 8) + n * 85U);
    }
}

static int holds(uint32_t n)
{
    uint32_t i;
    for (i = 0; i < test_state_bytes; i++) {
        if (test_state[i] != (uint8_t)(i * 7U + (i >> 8) + n * 85U)) {
            return 0;
        }
    }
    return 1;
}

/* What a restart brings back: a or b, or no snapshot where a is 0.  Returns which. */
static uint32_t restart(uint32_t before, uint32_t now)
{
    int32_t status;
    memset(test_state, 0x55, test_state_bytes);
    status = test_restore();
    if (status == SKA_SNAPSHOT_DONE && holds(now)) {
        recovered_last++;
        return now;
    }
    if (before ? status == SKA_SNAPSHOT_DONE && holds(before) : status == SKA_SNAPSHOT_NONE) {
        recovered_before++;
        return before;
    }
    lost++;
    return before;
}

/* Only as much as there is of the flash: the sweep does little else. */
static void copy(memory_t *to, const memory_t *from)
{
    const size_t count = 2 * test_flash.slot_bytes, units = count / test_flash.unit_bytes;
    memcpy(to->bytes, from->bytes, count);
    memcpy(to->dirty, from->dirty, units);
    memcpy(to->broken, from->broken, units);
}

static void sweep(uint32_t saves)
{
    static memory_t kept, cut_once;
    uint32_t n, at, kind, operations;
    for (n = 1; n <= saves; n++) {
        copy(&kept, &test_memory);
        fill(n);
        if (test_save(UINT32_MAX, 0) != SKA_SNAPSHOT_DONE || restart(n, n) != n) {
            lost++;
        }
        operations = test_operations;
        for (at = 0; at < operations; at++) {
            for (kind = 0; kind < CUT_KINDS; kind++) {
                uint32_t found;
                copy(&test_memory, &kept);
                fill(n);
                if (test_save(at, kind) != -1) {
                    lost++;
                }
                cuts++;
                found = restart(n - 1, n);
                copy(&cut_once, &test_memory);
                fill(n + 1); /* and once more, at some other operation of the save after */
                if (test_save((chance() * 256U + chance()) % operations, chance() % CUT_KINDS) == -1) {
                    twice++;
                    restart(found, n + 1);
                }
                copy(&test_memory, &cut_once); /* and nothing stands in the way of the save after */
                fill(n + 1);
                if (test_save(UINT32_MAX, 0) != SKA_SNAPSHOT_DONE || restart(n + 1, n + 1) != n + 1) {
                    lost++;
                }
            }
        }
        copy(&test_memory, &kept);
        fill(n);
        if (test_save(UINT32_MAX, 0) != SKA_SNAPSHOT_DONE) {
            lost++;
        }
    }
}

static uint32_t up(uint32_t bytes, uint32_t unit) { return (bytes + unit - 1) / unit * unit; }

int main(int argc, char **argv)
{
    const uint32_t state = (uint32_t)strtoul(argc > 1 ? argv[1] : "100", 0, 10);
    const uint32_t least = (uint32_t)strtoul(argc > 2 ? argv[2] : "1", 0, 10);
    const uint32_t saves = (uint32_t)strtoul(argc > 3 ? argv[3] : "3", 0, 10);
    uint32_t unit, page, ecc, violations = 0, shapes = 0;
    for (unit = least; unit <= 256; unit *= 2) {
        for (page = 64; page <= 4096; page *= 2) {
            const uint32_t eeprom = page == 64 && unit <= 4; /* no flash we know erases so little and writes less */
            const uint32_t size = eeprom ? unit : page;
            for (ecc = 0; ecc < 2 && page >= unit; ecc++) {
                test_setup(up(up(4, unit) + up(24, unit) + up(state, unit), size), eeprom ? 0 : page, unit, state);
                test_set_seed(unit * 8192 + page + ecc);
                test_ecc = ecc;
                sweep(saves);
                violations += test_violations;
                shapes++;
            }
        }
    }
    printf("{\"shapes\": %u, \"cuts\": %llu, \"cut_twice\": %llu, \"last\": %llu, \"before\": %llu, \"lost\": %llu, "
           "\"violations\": %u}\n",
           shapes, (unsigned long long)cuts, (unsigned long long)twice, (unsigned long long)recovered_last,
           (unsigned long long)recovered_before, (unsigned long long)lost, violations);
    return lost || violations;
}
