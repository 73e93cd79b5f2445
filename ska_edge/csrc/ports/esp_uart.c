/* UART0 of ESP32-C3 as its boot ROM leaves it: 115,200 baud, pins set.  What remains is to read and write the FIFOs
 * (ESP32-C3 Technical Reference Manual, chapter UART Controller), and to stop the watchdogs that guard the boot
 * (chapters Watchdog Timers and, for the two in the RTC, Low-power Management). */
#include "device/port.h"

#include "chip.h"

#define SKA_UART(offset) SKA_REGISTER(SKA_UART_BASE + (offset))
#define SKA_FIFO SKA_UART(0x00U)
#define SKA_STATUS SKA_UART(0x1CU) /* bits 9:0: bytes received, 25:16: bytes still to go */
#define SKA_FIFO_BYTES 128U

#define SKA_RTC(offset) SKA_REGISTER(UINT32_C(0x60008000) + (offset))
#define SKA_TIMER_GROUP(n, offset) SKA_REGISTER(UINT32_C(0x6001F000) + UINT32_C(0x1000) * (n) + (offset))
#define SKA_KEY UINT32_C(0x50D83AA1)       /* opens a watchdog's registers; anything else closes them */
#define SKA_SUPER_KEY UINT32_C(0x8F1D312A) /* likewise the super watchdog's */

static void ska_watchdogs_off(void)
{
    uint32_t group;
    SKA_RTC(0xA8U) = SKA_KEY; /* RTC_CNTL_WDTWPROTECT */
    SKA_RTC(0x90U) = 0;       /* RTC_CNTL_WDTCONFIG0: off, and its flash-boot mode too */
    SKA_RTC(0xA8U) = 0;
    SKA_RTC(0xB0U) = SKA_SUPER_KEY;        /* RTC_CNTL_SWD_WPROTECT */
    SKA_RTC(0xACU) |= UINT32_C(1) << 31;   /* RTC_CNTL_SWD_CONF: feeds itself */
    SKA_RTC(0xB0U) = 0;
    for (group = 0; group < 2U; group++) {
        SKA_TIMER_GROUP(group, 0x64U) = SKA_KEY; /* TIMG_WDTWPROTECT */
        SKA_TIMER_GROUP(group, 0x48U) = 0;       /* TIMG_WDTCONFIG0 */
        SKA_TIMER_GROUP(group, 0x64U) = 0;
    }
}

void ska_port_init(void) { ska_watchdogs_off(); }

int16_t ska_port_read(void) { return SKA_STATUS & 0x3FFU ? (int16_t)(SKA_FIFO & 255U) : -1; }

void ska_port_write(uint8_t byte)
{
    while ((SKA_STATUS >> 16 & 0x3FFU) >= SKA_FIFO_BYTES - 1U) {
    }
    SKA_FIFO = byte;
}

/* Sleep would need the chip's interrupt matrix set up, which no emulator here could show to be right: it polls. */
void ska_port_idle(void) {}
