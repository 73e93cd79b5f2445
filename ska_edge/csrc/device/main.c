/* The firmware: one model at one serial line. */
#include "model.h"
#include "port.h"
#include "protocol.h"

int main(void)
{
    ska_port_init();
    ska_reset();
    for (;;) {
        ska_device_poll();
    }
}
