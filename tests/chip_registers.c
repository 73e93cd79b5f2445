/* A chip's set-up run on this machine: registers are entries of a table, printed as JSON afterwards.
 *
 * Registers begin at 0 but for those named on the command line, in hexadecimal, as ADDRESS=VALUE, or as ADDRESS:VALUE
 * where these bits are found set whatever was written. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    uint32_t address;
    volatile uint32_t value;
    uint32_t always;
} entries[256];
static size_t used;

static volatile uint32_t *entry(uint32_t address)
{
    size_t n;
    for (n = 0; n < used; n++) {
        if (entries[n].address == address) {
            entries[n].value |= entries[n].always;
            return &entries[n].value;
        }
    }
    if (used == sizeof entries / sizeof *entries) {
        exit(2);
    }
    entries[used].address = address;
    return &entries[used++].value;
}

#define SKA_REGISTER(address) (*entry(address))
#include SKA_CHIP_FILE

int main(int count, char **words)
{
    int n;
    size_t at;
    for (n = 1; n < count; n++) {
        char *end;
        uint32_t address = (uint32_t)strtoul(words[n], &end, 16);
        *entry(address) = (uint32_t)strtoul(end + 1, NULL, 16);
        if (*end == ':') {
            entries[used - 1].always = *entry(address);
        }
    }
    ska_chip_init();
    printf("{");
    for (at = 0; at < used; at++) {
        printf("%s\"%08X\": %lu", at ? ", " : "", (unsigned)entries[at].address, (unsigned long)entries[at].value);
    }
    printf("}\n");
    return 0;
}
