/* The smallest image definition: executable, secure, Arm, RP2350 (RP2350 datasheet, 5.9.5.1).  The boot ROM looks
 * for it in the first 4 KB of flash and, as no entry point is named, starts the vector table at its beginning. */
#include <stdint.h>

extern const uint32_t ska_image_definition[5];

__attribute__((section(".image_definition"), used)) const uint32_t ska_image_definition[5] = {
    UINT32_C(0xFFFFDED3), /* start of block */
    UINT32_C(0x10210142), /* item: image type; 1 word, flags 0x1021 */
    UINT32_C(0x000001FF), /* last item; 1 word before it */
    0,                    /* to the next block: this one, the only one */
    UINT32_C(0xAB123579), /* end of block */
};
