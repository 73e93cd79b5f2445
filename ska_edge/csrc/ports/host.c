/* Port for a process on this machine: standard input and output are the line.  Built and run by the tests. */
#include "device/port.h"

#include <stdlib.h>
#include <unistd.h>

void ska_port_init(void) {}

int16_t ska_port_read(void)
{
    static uint8_t buffer[4096];
    static ssize_t filled, taken;
    if (taken == filled) {
        taken = 0;
        filled = read(0, buffer, sizeof buffer);
        if (filled <= 0) {
            exit(0); /* the other side is gone */
        }
    }
    return buffer[taken++];
}

void ska_port_write(uint8_t byte)
{
    /* A frame at a time: a system call a byte would be most of the time. */
    static uint8_t buffer[4096];
    static size_t filled;
    buffer[filled++] = byte;
    if ((byte == 0 && filled > 1) || filled == sizeof buffer) {
        if (write(1, buffer, filled) != (ssize_t)filled) {
            exit(1);
        }
        filled = 0;
    }
}

void ska_port_idle(void) {}

uint32_t ska_port_stack_bytes(void) { return 0; }
uint32_t ska_port_stack_used(void) { return 0; }
