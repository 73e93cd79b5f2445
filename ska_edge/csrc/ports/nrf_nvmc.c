/* Flash of nRF51 and nRF52 for snapshots, at the end of what images may use (nRF51 Series Reference Manual, chapter
 * NVMC; nRF52840 Product Specification, chapter NVMC: the same registers).  The core halts while a page is erased. */
#include "device/port.h"

#include "cortex_m.h"
#include "model.h"

#define SKA_NVMC_READY SKA_REGISTER(UINT32_C(0x4001E400))
#define SKA_NVMC_CONFIG SKA_REGISTER(UINT32_C(0x4001E504)) /* 0 read, 1 write, 2 erase */
#define SKA_NVMC_ERASEPAGE SKA_REGISTER(UINT32_C(0x4001E508))
#define SKA_WORD_BYTES 4U

static void ska_ready(void)
{
    while (!(SKA_NVMC_READY & 1U)) {
    }
}

static uint8_t ska_erase(uint32_t at)
{
    SKA_NVMC_CONFIG = 2U;
    ska_ready();
    SKA_NVMC_ERASEPAGE = SKA_STORE_BASE + at;
    ska_ready();
    SKA_NVMC_CONFIG = 0;
    return 0;
}

static uint8_t ska_program(uint32_t at, const uint8_t *bytes)
{
    uint32_t word = 0, i;
    for (i = 0; i < SKA_WORD_BYTES; i++) {
        word |= (uint32_t)bytes[i] << (8U * i);
    }
    SKA_NVMC_CONFIG = 1U;
    ska_ready();
    SKA_REGISTER(SKA_STORE_BASE + at) = word;
    ska_ready();
    SKA_NVMC_CONFIG = 0;
    return 0;
}

static uint8_t ska_read(uint32_t at, uint8_t *to, uint16_t count)
{
    const volatile uint8_t *from = (const volatile uint8_t *)(uintptr_t)(SKA_STORE_BASE + at);
    while (count--) {
        *to++ = *from++;
    }
    return 0;
}

const ska_flash *ska_port_flash(void)
{
    static const ska_flash flash = {SKA_STORE_SLOT, SKA_STORE_PAGE, SKA_WORD_BYTES, ska_erase, ska_program, ska_read};
    return &flash;
}
