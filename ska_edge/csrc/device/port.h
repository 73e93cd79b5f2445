/* What the device code needs from a board: four functions, and two for whoever wants to know how deep the stack went.
 *
 * A port is one file in `ports/`.  Nothing else in the firmware touches hardware.  With SKA_SNAPSHOTS
 * there is one function more; of our ports only the host's has it yet.
 */
#ifndef SKA_PORT_H
#define SKA_PORT_H

#include <stdint.h>

/* Set up clock and serial line.  Called once, before anything else. */
void ska_port_init(void);

/* The next byte received (0 to 255), or -1 where none has come.  Does not wait. */
int16_t ska_port_read(void);

/* Send one byte; waits while the line is full. */
void ska_port_write(uint8_t byte);

/* Nothing to do until a byte comes: sleep if the chip can, else return.  May return early. */
void ska_port_idle(void);

/* Bytes of stack there are, and how many of them were ever used (start-up paints them); 0 where nobody painted. */
uint32_t ska_port_stack_bytes(void);
uint32_t ska_port_stack_used(void);

#ifdef SKA_SNAPSHOTS
#include "snapshot.h"

/* Where snapshots go, or null where there is no such memory. */
const ska_flash *ska_port_flash(void);
#endif

#endif
