/* Second stage for RP2040: makes flash readable at 0x10000000 and starts the vector table behind itself.
 *
 * The boot ROM checks these 252 bytes and their CRC, copies them to the end of RAM and runs them there (RP2040
 * datasheet, 2.8.1.3).  So: no address of our own, and no code in flash until the SSI (4.10) serves it.  Command 03h,
 * plain serial read, is the one that every flash chip knows.  ska_edge/chips.py adds padding and CRC. */
    .syntax unified
    .cpu cortex-m0plus
    .thumb
    .section .boot2, "ax"
    .globl ska_boot2
ska_boot2:
    ldr r3, ssi
    movs r0, #0
    str r0, [r3, #0x08] /* SSIENR: off while it is being set up */
    movs r0, #4
    str r0, [r3, #0x14] /* BAUDR: 125 MHz / 4, below the 50 MHz that 03h may have (W25Q16JV) */
    ldr r0, ctrlr0
    str r0, [r3, #0x00]
    movs r0, #0
    str r0, [r3, #0x04] /* CTRLR1: one word a read */
    ldr r0, spi_ctrlr0
    adds r3, #0xF4
    str r0, [r3]
    subs r3, #0xF4
    movs r0, #1
    str r0, [r3, #0x08]
    ldr r0, vectors
    ldr r1, vtor
    str r0, [r1]
    ldmia r0, {r0, r1}
    msr msp, r0
    bx r1

    .balign 4
ssi: .word 0x18000000
ctrlr0: .word 0x001F0300     /* DFS_32 (20:16) 32 bits, TMOD (9:8) 3: send command and address, then read */
spi_ctrlr0: .word 0x03000218 /* XIP_CMD (31:24) 03h, INST_L (9:8) 2: 8 bits, ADDR_L (5:2) 6: 24 bits */
vectors: .word 0x10000100
vtor: .word 0xE000ED08
