/* Runs an AVR image in simavr with USART0 at standard input and output.
 *
 *   simavr_runner FIRMWARE.elf MCU CLOCK_HZ
 *
 * Ends when its input ends, or when the core crashes.  While the core sleeps it waits for input instead of spinning. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

#define TURN 2048        /* instructions between two looks at the input */
#define BUSY_CYCLES 50000U /* after a byte went in, its arrival may still be under way for so long */
#define WAIT_MS 2

static avr_t *avr;
static avr_irq_t *to_core;
static uint8_t waiting[65536]; /* bytes that have come and not yet gone to the core */
static size_t waiting_first, waiting_end;
static uint8_t leaving[4096];
static size_t leaving_count;
static int stopped; /* the core's receive buffer is full */
static avr_cycle_count_t last_fed;

static void flush(void)
{
    size_t sent = 0;
    while (sent < leaving_count) {
        ssize_t done = write(1, leaving + sent, leaving_count - sent);
        if (done <= 0) {
            exit(0);
        }
        sent += (size_t)done;
    }
    leaving_count = 0;
}

static void on_byte(struct avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq, (void)unused;
    leaving[leaving_count++] = (uint8_t)value;
    if (leaving_count == sizeof leaving || (value == 0 && leaving_count > 1)) {
        flush();
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

/* Take what has come, waiting so long for it, and hand the core what it takes. */
static void feed(int wait_ms)
{
    struct pollfd input = {0, POLLIN, 0};
    if (waiting_first == waiting_end) {
        waiting_first = waiting_end = 0;
        if (poll(&input, 1, wait_ms) > 0) {
            ssize_t got = read(0, waiting, sizeof waiting);
            if (got <= 0) {
                flush();
                exit(0);
            }
            waiting_end = (size_t)got;
        }
    }
    while (waiting_first < waiting_end && !stopped) {
        avr_raise_irq(to_core, waiting[waiting_first++]);
        last_fed = avr->cycle;
    }
}

static void on_sleep(avr_t *core, avr_cycle_count_t cycles)
{
    (void)cycles;
    if (core->cycle - last_fed > BUSY_CYCLES) {
        feed(WAIT_MS);
    }
}

int main(int argc, char **argv)
{
    elf_firmware_t firmware = {0};
    uint32_t flags = 0;
    int state, turn = 0;
    if (argc != 4 || elf_read_firmware(argv[1], &firmware)) {
        fprintf(stderr, "usage: simavr_runner FIRMWARE.elf MCU CLOCK_HZ\n");
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
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags); /* no echo to the console, no naps while polled */
    to_core = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), on_byte, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), on_xon, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), on_xoff, NULL);
    do {
        state = avr_run(avr);
        if (++turn == TURN) {
            turn = 0;
            feed(0);
        }
    } while (state != cpu_Done && state != cpu_Crashed);
    flush();
    fprintf(stderr, "the core has stopped in state %d at %x\n", state, (unsigned)avr->pc);
    return 1;
}
