/* An AVR board as the host sees it: simavr with a bootloader in its flash and USART0 at a pseudo-terminal.
 *
 *   simavr_board BOOTLOADER.hex MCU CLOCK_HZ [WORN]
 *
 * WORN is the address of a byte of flash that cannot be written any more: a host that reads back must notice.
 * Prints the terminal's name as its first line.  As on an Arduino, opening the terminal resets the chip, with the flag of
 * an external reset; a pseudo-terminal has no DTR, but it tells when somebody has opened it.  Time passes no faster than
 * on the board, or the bootloader's watchdog would end its second before the host has said a word.  What was flashed
 * lasts until this process ends: with SIGTERM, or when its standard input does. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>

#define TURN_US 1000U     /* of the chip's time, between two looks at the terminal */
#define LATE_NS 50000000L /* what a busy machine did not compute in time is not caught up beyond this */

static avr_t *avr;
static avr_irq_t *to_core;
static uint8_t waiting[65536]; /* bytes that have come and not yet gone to the core */
static size_t waiting_first, waiting_end;
static uint8_t leaving[65536];
static size_t leaving_count;
static int stopped; /* the core's receive buffer is full */
static int terminal, opened;
static avr_flashaddr_t worn;

static void on_byte(struct avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq, (void)unused;
    if (leaving_count < sizeof leaving) { /* a line nobody reads loses what is sent, as a serial line does */
        leaving[leaving_count++] = (uint8_t)value;
    }
}

static void feed(void)
{
    while (waiting_first < waiting_end && !stopped) {
        avr_raise_irq(to_core, waiting[waiting_first++]);
    }
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

static void on_sleep(avr_t *core, avr_cycle_count_t cycles) { (void)core, (void)cycles; /* main keeps the time */ }

static void reset(void)
{
    waiting_first = waiting_end = leaving_count = 0;
    stopped = 0;
    avr_reset(avr);
    avr_regbit_clear(avr, avr->reset_flags.porf);
    avr_regbit_set(avr, avr->reset_flags.extrf);
}

/* What the host has done: opened or closed the terminal, sent bytes, taken some. */
static void look(void)
{
    struct pollfd lines[2] = {{terminal, POLLIN, 0}, {0, POLLIN, 0}};
    char byte;
    ssize_t done;
    poll(lines, 2, 0);
    if (lines[1].revents && read(0, &byte, 1) <= 0) {
        exit(0);
    }
    if (lines[0].revents & POLLHUP) {
        opened = 0;
        leaving_count = 0;
        return;
    }
    if (!opened) {
        opened = 1;
        reset();
    }
    if (waiting_first == waiting_end && lines[0].revents & POLLIN) {
        done = read(terminal, waiting, sizeof waiting);
        waiting_first = 0;
        waiting_end = done > 0 ? (size_t)done : 0;
    }
    if (leaving_count) {
        done = write(terminal, leaving, leaving_count);
        if (done > 0) {
            leaving_count -= (size_t)done;
            memmove(leaving, leaving + done, leaving_count);
        }
    }
}

/* Wait until the board's clock would have got here. */
static void keep_time(void)
{
    static struct timespec due;
    struct timespec now;
    long ahead;
    clock_gettime(CLOCK_MONOTONIC, &now);
    due.tv_nsec += TURN_US * 1000L;
    if (due.tv_nsec >= 1000000000L) {
        due.tv_sec++;
        due.tv_nsec -= 1000000000L;
    }
    ahead = (long)(due.tv_sec - now.tv_sec) * 1000000000L + due.tv_nsec - now.tv_nsec;
    if (ahead < -LATE_NS) {
        due = now;
    } else if (ahead > 0) {
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    }
}

static int open_terminal(void)
{
    struct termios raw;
    int slave;
    terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal < 0 || grantpt(terminal) || unlockpt(terminal) || fcntl(terminal, F_SETFL, O_NONBLOCK)) {
        return -1;
    }
    slave = open(ptsname(terminal), O_RDWR | O_NOCTTY); /* until it was opened once, nothing tells that it is not */
    if (slave < 0 || tcgetattr(slave, &raw)) {
        return -1;
    }
    cfmakeraw(&raw);
    tcsetattr(slave, TCSANOW, &raw);
    return close(slave);
}

/* Put Intel HEX into flash; the lowest address is where the bootloader starts.  simavr's own reader stumbles over
 * optiboot's record of the start address (type 3). */
static int load(const char *path, avr_flashaddr_t *start)
{
    FILE *file = fopen(path, "r");
    char line[600];
    unsigned count, address, kind, byte, n, loaded = 0;
    if (!file) {
        return -1;
    }
    *start = avr->flashend;
    while (fgets(line, sizeof line, file) && sscanf(line, ":%2x%4x%2x", &count, &address, &kind) == 3) {
        if (kind != 0) {
            continue;
        }
        for (n = 0; n < count; n++, loaded++) {
            if (sscanf(line + 9 + 2 * n, "%2x", &byte) != 1 || address + n > avr->flashend) {
                fclose(file);
                return -1;
            }
            avr->flash[address + n] = (uint8_t)byte;
        }
        *start = address < *start ? address : *start;
    }
    fclose(file);
    return loaded ? 0 : -1;
}

int main(int argc, char **argv)
{
    avr_cycle_count_t turn, next;
    uint32_t flags = 0;
    int state = cpu_Running;
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: simavr_board BOOTLOADER.hex MCU CLOCK_HZ [WORN]\n");
        return 2;
    }
    avr = avr_make_mcu_by_name(argv[2]);
    if (!avr || avr_init(avr)) {
        fprintf(stderr, "simavr does not know %s\n", argv[2]);
        return 2;
    }
    avr->log = LOG_ERROR;
    avr->frequency = (uint32_t)strtoul(argv[3], NULL, 10);
    memset(avr->flash, 0xFF, avr->flashend + 1U);
    if (load(argv[1], &avr->reset_pc)) { /* fuse BOOTRST: reset leads to the bootloader */
        fprintf(stderr, "%s: no Intel HEX within the flash of %s\n", argv[1], argv[2]);
        return 2;
    }
    worn = argc == 5 ? (avr_flashaddr_t)strtoul(argv[4], NULL, 0) : avr->flashend;
    if (worn > avr->flashend) {
        fprintf(stderr, "%s: beyond the flash of %s\n", argv[4], argv[2]);
        return 2;
    }
    avr->codeend = avr->flashend;
    avr->sleep = on_sleep;
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags); /* no echo to the console, no naps while polled */
    to_core = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), on_byte, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), on_xon, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), on_xoff, NULL);
    reset();
    if (open_terminal()) {
        perror("pseudo-terminal");
        return 2;
    }
    printf("%s\n", ptsname(terminal));
    fflush(stdout);
    turn = (avr_cycle_count_t)(avr->frequency / 1000000U) * TURN_US;
    for (;;) {
        look();
        if (argc == 5) {
            avr->flash[worn] = 0xFF;
        }
        for (next = avr->cycle + turn; avr->cycle < next;) {
            state = avr_run(avr);
            if (state == cpu_Done || state == cpu_Crashed) {
                fprintf(stderr, "the core has stopped in state %d at %x\n", state, (unsigned)avr->pc);
                return 1;
            }
            feed();
        }
        keep_time();
    }
}
