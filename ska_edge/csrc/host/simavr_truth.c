/* How many cycles one function takes, by simavr alone: its own counter at the function's entry and at its return.
 *
 *   simavr_truth FIRMWARE.elf MCU CLOCK_HZ ENTRY CALLS < bytes for USART0
 *
 * Prints the difference for each call.  No profile, no hooks but the line's. */
#include <stdio.h>
#include <stdlib.h>

#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

#define MOST_CYCLES 400000000U

static int stopped;

static void on_xon(struct avr_irq_t *irq, uint32_t value, void *unused) { (void)irq, (void)value, (void)unused, stopped = 0; }
static void on_xoff(struct avr_irq_t *irq, uint32_t value, void *unused) { (void)irq, (void)value, (void)unused, stopped = 1; }
static void on_sleep(avr_t *core, avr_cycle_count_t cycles) { (void)core, (void)cycles; }

int main(int argc, char **argv)
{
    elf_firmware_t firmware = {0};
    uint32_t flags = 0, entry, level = 0;
    int calls, inside = 0;
    avr_t *avr;
    avr_irq_t *line;
    avr_cycle_count_t entered = 0, fed = 0;
    if (argc != 6 || elf_read_firmware(argv[1], &firmware)) {
        return 2;
    }
    firmware.frequency = (uint32_t)strtoul(argv[3], NULL, 10);
    avr = avr_make_mcu_by_name(argv[2]);
    if (!avr || avr_init(avr)) {
        return 2;
    }
    entry = (uint32_t)strtoul(argv[4], NULL, 10);
    calls = atoi(argv[5]);
    avr->log = LOG_ERROR;
    avr_load_firmware(avr, &firmware);
    avr->sleep = on_sleep;
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    line = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), on_xon, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), on_xoff, NULL);
    while (calls) {
        uint32_t stack = (uint32_t)(avr->data[R_SPL] | avr->data[R_SPH] << 8);
        if (!inside && avr->pc == entry) {
            inside = 1;
            level = stack;
            entered = avr->cycle;
        } else if (inside && stack > level) { /* RET has taken the return address off */
            inside = 0;
            calls--;
            printf("cycles %llu\n", (unsigned long long)(avr->cycle - entered));
        }
        /* Bytes come while the core waits for them, as from a host that waits for its answer. */
        if (avr->state == cpu_Sleeping && !stopped && avr->cycle - fed > 2000U) {
            int byte = getchar();
            if (byte != EOF) {
                avr_raise_irq(line, (uint32_t)byte);
            }
            fed = avr->cycle;
        }
        if (avr_run(avr) == cpu_Crashed || avr->cycle > MOST_CYCLES) {
            return 1;
        }
    }
    return 0;
}
