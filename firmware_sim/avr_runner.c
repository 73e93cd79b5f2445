/* Runs an AVR image in simavr (libsimavr) and counts: instructions and cycles by program address and call path.
 *
 *   avr_runner FIRMWARE.elf MCU CLOCK_HZ BUDGET STATICS_END STARTS.bin EVENTS.bin EVENTS EEPROM_CYCLES
 *
 * STARTS.bin: little-endian u32 byte addresses of functions, for tail calls.  EVENTS.bin gets pairs of u64, cycles and
 * place, wherever the place changes, EVENTS at most.  EEPROM_CYCLES: how long EEPE stays set after a byte was written;
 * simavr itself clears it at once.  On standard input come requests:
 *   u32 count, bytes    put them onto USART0 and run until the core sleeps with nothing left to come
 *   u32 0xFFFFFFFE      cut the power and give it back: RAM and registers are lost, EEPROM and all counts stay
 *   u32 0xFFFFFFFF      print what was counted, then end
 * Each run answers with one line: state cycles instructions lowest_sp pc, then what was sent as hexadecimal digits.
 * Cycles are those of a core that is awake; asleep, time passes uncounted. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <simavr/avr_eeprom.h>
#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

#define QUIET_CYCLES 50000U /* after a byte went in, its arrival may still be under way for so long */
#define LOST 0xA5U /* what RAM holds after the power came back */
#define PLACES 4096
#define DEEPEST 200
#define SETTLING 4 /* instructions from one half of a new stack pointer to the other, at most */

typedef struct {
    int32_t parent;
    uint32_t function, site, back;
    uint16_t depth;
    uint32_t lowest;
    uint64_t *counts; /* pairs by word address: instructions, cycles */
} place;

static avr_t *avr;
static avr_irq_t *to_core;
static uint8_t *waiting;
static uint32_t waiting_first, waiting_end;
static int stopped;
static avr_cycle_count_t last_fed;
static place places[PLACES];
static int place_count, here;
static uint8_t *starts;
static uint64_t awake, instructions;
static FILE *events;
static uint64_t events_left;
static int settling;
static uint16_t last_half;
static uint32_t words;
static avr_eeprom_t *eeprom;
static uint32_t *eeprom_writes;
static uint32_t eeprom_cycles;
static int eeprom_busy, eeprom_misused;
static void *eeprom_parameter;
static avr_io_write_t eeprom_control;

static void on_byte(struct avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq, (void)unused;
    printf("%02x", (unsigned)(value & 255U));
}

static void on_xon(struct avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq, (void)value, (void)unused;
    stopped = 0;
}

static void on_xoff(struct avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq, (void)value, (void)unused;
    stopped = 1;
}

static void on_sleep(avr_t *core, avr_cycle_count_t cycles) { (void)core, (void)cycles; /* no time to lose */ }

static uint16_t opcode(uint32_t pc) { return (uint16_t)(avr->flash[pc] | avr->flash[pc + 1] << 8); }

static uint32_t stack_pointer(void) { return (uint32_t)(avr->data[R_SPL] | avr->data[R_SPH] << 8); }

static int child(int parent, uint32_t function, uint32_t site, uint32_t back)
{
    int n;
    for (n = 1; n < place_count; n++) {
        if (places[n].parent == parent && places[n].function == function && places[n].site == site) {
            return n;
        }
    }
    if (place_count == PLACES || (parent >= 0 && places[parent].depth >= DEEPEST)) {
        return parent;
    }
    n = place_count++;
    places[n].parent = parent;
    places[n].function = function;
    places[n].site = site;
    places[n].back = back;
    places[n].depth = parent >= 0 ? (uint16_t)(places[parent].depth + 1) : 0;
    places[n].lowest = UINT32_MAX;
    places[n].counts = calloc(2U * words, sizeof(uint64_t));
    if (!places[n].counts) {
        exit(3);
    }
    return n;
}

static void note(void)
{
    const uint64_t event[2] = {awake, (uint64_t)here};
    if (events_left) {
        events_left--;
        fwrite(event, sizeof event, 1, events);
    }
}

static int is_call(uint16_t code)
{
    return (code & 0xFE0EU) == 0x940EU || (code & 0xF000U) == 0xD000U || code == 0x9509U || code == 0x9519U;
}

/* OUT of a half of the stack pointer, which is no address until the other half is written too */
static int is_half(uint16_t code) { return (code & 0xFE0FU) == 0xBE0DU || (code & 0xFE0FU) == 0xBE0EU; }

static void follow(uint32_t from, uint16_t code)
{
    uint32_t to = avr->pc;
    if (is_call(code)) {
        here = child(here, to, from, from + ((code & 0xFE0EU) == 0x940EU ? 4U : 2U));
    } else if (code == 0x9508U || code == 0x9518U) { /* RET, RETI */
        int up = here;
        while (up > 0 && places[up].back != to) {
            up = places[up].parent;
        }
        here = up > 0 ? places[up].parent : here;
    } else if (to / 2U < words && starts[to / 2U] && to != from + 2U && to != places[here].function) {
        here = here == 0 ? child(0, to, UINT32_MAX, UINT32_MAX)
                         : child(places[here].parent, to, places[here].site, places[here].back);
    }
}

static avr_cycle_count_t on_eeprom_done(struct avr_t *core, avr_cycle_count_t when, void *unused)
{
    (void)when, (void)unused;
    avr_regbit_clear(core, eeprom->eepe);
    eeprom_busy = 0;
    return 0;
}

/* A write to EECR: with EEMPE set before, EEPE now programs the byte at EEAR; EERE reads one. */
static void on_eeprom_control(struct avr_t *core, avr_io_addr_t address, uint8_t value, void *unused)
{
    const uint8_t starts = (uint8_t)(1U << eeprom->eempe.bit | 1U << eeprom->eere.bit), going = 1U << eeprom->eepe.bit;
    const uint8_t programs = avr_regbit_get(core, eeprom->eempe) && (value & going);
    const uint32_t at = core->data[eeprom->r_eearl] | (eeprom->r_eearh ? (uint32_t)core->data[eeprom->r_eearh] << 8 : 0U);
    (void)unused;
    if (eeprom_busy) {
        eeprom_misused |= value & starts;
        core->data[address] = value | going;
        return;
    }
    eeprom_control(core, address, value, eeprom_parameter);
    if (programs && at < eeprom->size) {
        eeprom_writes[at]++;
        if (eeprom_cycles) {
            avr_regbit_set(core, eeprom->eepe);
            eeprom_busy = 1;
            avr_cycle_timer_register(core, eeprom_cycles, on_eeprom_done, NULL);
        }
    }
}

static int watch_eeprom(void)
{
    avr_io_t *part;
    for (part = avr->io_port; part && strcmp(part->kind, "eeprom"); part = part->next) {
    }
    if (part) {
        avr_io_addr_t control;
        eeprom = (avr_eeprom_t *)part;
        control = AVR_DATA_TO_IO(eeprom->r_eecr);
        eeprom_writes = calloc(eeprom->size, sizeof *eeprom_writes);
        eeprom_control = avr->io[control].w.c;
        eeprom_parameter = avr->io[control].w.param;
        avr->io[control].w.c = on_eeprom_control;
    }
    return !part || (eeprom_writes && eeprom_control);
}

static void power_up(void)
{
    memset(avr->data + avr->ioend + 1U, LOST, avr->ramend - avr->ioend);
    avr_reset(avr);
    eeprom_busy = 0;
    stopped = settling = 0;
    here = 0;
    note();
}

static void print_counts(void)
{
    int n;
    uint32_t w;
    for (w = 0; eeprom && w < eeprom->size; w++) {
        if (eeprom_writes[w]) {
            printf("eeprom %u %u\n", w, eeprom_writes[w]);
        }
    }
    for (n = 0; n < place_count; n++) {
        printf("place %d %d %u %u %u\n", n, places[n].parent, places[n].function, places[n].site, places[n].lowest);
        for (w = 0; w < words; w++) {
            if (places[n].counts[2U * w]) {
                printf("%u %llu %llu\n", 2U * w, (unsigned long long)places[n].counts[2U * w],
                       (unsigned long long)places[n].counts[2U * w + 1U]);
            }
        }
    }
    printf("end\n");
    fflush(stdout);
}

/* Run until there is nothing to do.  Returns why: 0 asleep, 1 crashed, 2 the budget is spent, 3 the stack overflowed, 4 it
 * jumps to itself, 5 it used its EEPROM during a write. */
static int run(uint64_t budget, uint32_t statics_end)
{
    for (;;) {
        const uint32_t from = avr->pc;
        const avr_cycle_count_t before = avr->cycle;
        const int running = avr->state == cpu_Running;
        const uint16_t code = opcode(from);
        const int was = here;
        if (waiting_first < waiting_end && !stopped && before - last_fed > 64U) {
            avr_raise_irq(to_core, waiting[waiting_first++]);
            last_fed = before;
        }
        if (avr_run(avr) == cpu_Crashed) {
            return 1;
        }
        if (running) {
            const uint64_t taken = avr->state == cpu_Running ? avr->cycle - before : 1U;
            uint64_t *counts = places[here].counts + from / 2U * 2U;
            uint32_t pointer = stack_pointer();
            counts[0]++;
            counts[1] += taken;
            instructions++;
            awake += taken;
            if (is_half(code)) {
                settling = settling && (code & 3U) != (last_half & 3U) ? 0 : SETTLING;
                last_half = code;
            } else if (settling) {
                settling--;
            }
            if (!settling && pointer < places[here].lowest && pointer > 0x100U) {
                places[here].lowest = pointer;
                if (pointer < statics_end) {
                    return 3;
                }
            }
            follow(from, code);
            if (here != was) {
                note();
            }
            if (awake >= budget) {
                return 2;
            }
            if (eeprom_misused) {
                return 5;
            }
            if (avr->pc == from && code == 0xCFFFU) {
                return 4; /* rjmp to itself */
            }
        } else if (waiting_first == waiting_end && avr->cycle - last_fed > QUIET_CYCLES) {
            return 0;
        }
    }
}

int main(int argc, char **argv)
{
    elf_firmware_t firmware = {0};
    uint32_t flags = 0, count, address;
    uint64_t budget;
    FILE *file;
    if (argc != 10 || elf_read_firmware(argv[1], &firmware)) {
        fprintf(stderr, "usage: avr_runner FIRMWARE.elf MCU CLOCK_HZ BUDGET STATICS_END STARTS.bin EVENTS.bin EVENTS "
                        "EEPROM_CYCLES\n");
        return 2;
    }
    firmware.frequency = (uint32_t)strtoul(argv[3], NULL, 10);
    avr = avr_make_mcu_by_name(argv[2]);
    if (!avr || avr_init(avr)) {
        fprintf(stderr, "simavr does not know %s\n", argv[2]);
        return 2;
    }
    avr->log = LOG_ERROR;
    avr_load_firmware(avr, &firmware);
    avr->sleep = on_sleep;
    words = (avr->flashend + 1U) / 2U;
    eeprom_cycles = (uint32_t)strtoul(argv[9], NULL, 10);
    starts = calloc(words, 1);
    file = fopen(argv[6], "rb");
    events = fopen(argv[7], "wb");
    events_left = strtoull(argv[8], NULL, 10);
    if (!starts || !file || !events || !watch_eeprom()) {
        return 2;
    }
    while (fread(&address, 4, 1, file) == 1) {
        if (address / 2U < words) {
            starts[address / 2U] = 1;
        }
    }
    fclose(file);
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    to_core = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), on_byte, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), on_xon, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), on_xoff, NULL);
    here = child(-1, 0, 0, UINT32_MAX);
    note();
    budget = strtoull(argv[4], NULL, 10);
    while (fread(&count, 4, 1, stdin) == 1 && count != UINT32_MAX) {
        int why;
        uint32_t lowest = UINT32_MAX;
        int n;
        if (count == UINT32_MAX - 1U) {
            power_up();
            continue;
        }
        waiting = realloc(waiting, count + 1U);
        waiting_first = 0;
        waiting_end = count;
        if (!waiting || fread(waiting, 1, count, stdin) != count) {
            return 2;
        }
        printf("sent ");
        why = run(budget, (uint32_t)strtoul(argv[5], NULL, 10));
        for (n = 0; n < place_count; n++) {
            lowest = places[n].lowest < lowest ? places[n].lowest : lowest;
        }
        printf("\nran %d %llu %llu %u %u\n", why, (unsigned long long)awake, (unsigned long long)instructions, lowest,
               avr->pc);
        fflush(stdout);
    }
    fclose(events);
    print_counts();
    return 0;
}
