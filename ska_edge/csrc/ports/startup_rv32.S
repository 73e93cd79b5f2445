/* Start-up of an RV32 core in machine mode; everything after the stack pointer is C (startup.c). */
    .section .vectors, "ax"
    .globl Reset_Handler
Reset_Handler:
    .option arch, +zicsr
    lui t0, %hi(ska_here) /* some chips start in an alias of their flash: go where we are linked to */
    jalr zero, %lo(ska_here)(t0)
ska_here:
    csrci mstatus, 8 /* MIE */
    la sp, ska_stack_top
#ifdef __riscv_32e
    /* CH32V003 wants 1 KB of alignment for a trap, and flash is dear: mtvec stays 0, so that a fault starts afresh,
     * which the host notices by the session's number. */
    j ska_boot
#else
    la t0, ska_trap
    csrw mtvec, t0
    j ska_boot

    .balign 256 /* ESP32-C3 keeps 24 bits of mtvec, GD32VF103 26 */
ska_trap: /* nothing enables an interrupt; what arrives here is a fault, and stops */
    j ska_trap
#endif
