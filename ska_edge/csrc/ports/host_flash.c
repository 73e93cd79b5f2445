/* Flash for the port of a process on this machine (host.c): a file, named by the environment variable SKA_FLASH_FILE, so
 * that it outlives the process as flash outlives a reset.  Without the variable there is no flash. */
#include "device/port.h"

#include "model.h"

#include <stdio.h>
#include <stdlib.h>

#define SKA_HOST_UNIT 8U
#define SKA_HOST_PAGE 256U
#define SKA_HOST_SLOT SKA_SNAPSHOT_UNITS(SKA_SNAPSHOT_BYTES(SKA_HOST_UNIT), SKA_HOST_PAGE)

static FILE *ska_file(uint32_t at)
{
    FILE *file = fopen(getenv("SKA_FLASH_FILE"), "r+b");
    if (file && fseek(file, (long)at, SEEK_SET)) {
        fclose(file);
        file = 0;
    }
    return file;
}

static uint8_t ska_write(uint32_t at, const uint8_t *bytes, uint32_t count)
{
    FILE *file = ska_file(at);
    uint8_t failed = 1;
    if (file) {
        failed = fwrite(bytes, 1, count, file) != count;
        failed = (uint8_t)(fclose(file) != 0) | failed;
    }
    return failed;
}

static uint8_t ska_erase(uint32_t at)
{
    uint8_t page[SKA_HOST_PAGE];
    uint32_t i;
    for (i = 0; i < SKA_HOST_PAGE; i++) {
        page[i] = 0xFF;
    }
    return ska_write(at, page, SKA_HOST_PAGE);
}

static uint8_t ska_program(uint32_t at, const uint8_t *bytes) { return ska_write(at, bytes, SKA_HOST_UNIT); }

static uint8_t ska_read(uint32_t at, uint8_t *to, uint16_t count)
{
    FILE *file = ska_file(at);
    uint32_t found = 0, i;
    if (!file) {
        return 1;
    }
    found = (uint32_t)fread(to, 1, count, file);
    for (i = found; i < count; i++) {
        to[i] = 0xFF; /* never written */
    }
    return fclose(file) != 0;
}

const ska_flash *ska_port_flash(void)
{
    static const ska_flash flash = {SKA_HOST_SLOT, SKA_HOST_PAGE, SKA_HOST_UNIT, ska_erase, ska_program, ska_read};
    return getenv("SKA_FLASH_FILE") ? &flash : 0;
}
