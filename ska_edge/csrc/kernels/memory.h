/* Loads and stores of every element format (SPEC 1.2), one function each: ska_load_s8, ska_store_s4, ...
 *
 * k is an index in memory: odd rows of 4-bit tensors are padded to whole bytes.  The formats named f... lie in flash:
 * on AVR that is an address space of its own, everywhere else a load like any other. */
#ifndef SKA_MEMORY_H
#define SKA_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#if defined(__AVR__)
typedef uint16_t ska_index; /* no AVR has an arena beyond 64 KiB */
#else
typedef uint32_t ska_index;
#endif

/* One block of bytes holds elements of every width, so aliasing is the rule here. */
#define SKA_ALIAS __attribute__((__may_alias__))
typedef int8_t SKA_ALIAS ska_s8;
typedef uint8_t SKA_ALIAS ska_u8;
typedef int16_t SKA_ALIAS ska_s16;
typedef uint16_t SKA_ALIAS ska_u16;
typedef int32_t SKA_ALIAS ska_s32;
typedef uint32_t SKA_ALIAS ska_u32;
typedef int64_t SKA_ALIAS ska_s64;

#define SKA_INLINE static inline __attribute__((__always_inline__, __unused__))
#define SKA_APART static __attribute__((__noinline__, __unused__)) /* a loop that wants all registers for itself */

SKA_INLINE int32_t ska_load_s8(const void *p, ska_index k) { return ((const ska_s8 *)p)[k]; }
SKA_INLINE int32_t ska_load_u8(const void *p, ska_index k) { return ((const ska_u8 *)p)[k]; }
SKA_INLINE int32_t ska_load_s16(const void *p, ska_index k) { return ((const ska_s16 *)p)[k]; }
SKA_INLINE int32_t ska_load_u16(const void *p, ska_index k) { return ((const ska_u16 *)p)[k]; }
SKA_INLINE int32_t ska_load_s32(const void *p, ska_index k) { return ((const ska_s32 *)p)[k]; }
SKA_INLINE int64_t ska_load_u32(const void *p, ska_index k) { return ((const ska_u32 *)p)[k]; }
SKA_INLINE int64_t ska_load_s64(const void *p, ska_index k) { return ((const ska_s64 *)p)[k]; }

SKA_INLINE int32_t ska_nibble(int32_t byte, ska_index k) { return (byte >> ((k & 1U) << 2)) & 15; }
SKA_INLINE int32_t ska_load_u4(const void *p, ska_index k) { return ska_nibble(ska_load_u8(p, k >> 1), k); }
SKA_INLINE int32_t ska_load_s4(const void *p, ska_index k) { return (ska_load_u4(p, k) ^ 8) - 8; }

SKA_INLINE void ska_store_s8(void *p, ska_index k, int64_t v) { ((ska_s8 *)p)[k] = (int8_t)v; }
SKA_INLINE void ska_store_u8(void *p, ska_index k, int64_t v) { ((ska_u8 *)p)[k] = (uint8_t)v; }
SKA_INLINE void ska_store_s16(void *p, ska_index k, int64_t v) { ((ska_s16 *)p)[k] = (int16_t)v; }
SKA_INLINE void ska_store_u16(void *p, ska_index k, int64_t v) { ((ska_u16 *)p)[k] = (uint16_t)v; }
SKA_INLINE void ska_store_s32(void *p, ska_index k, int64_t v) { ((ska_s32 *)p)[k] = (int32_t)v; }
SKA_INLINE void ska_store_u32(void *p, ska_index k, int64_t v) { ((ska_u32 *)p)[k] = (uint32_t)v; }
SKA_INLINE void ska_store_s64(void *p, ska_index k, int64_t v) { ((ska_s64 *)p)[k] = v; }

SKA_INLINE void ska_store_u4(void *p, ska_index k, int64_t v)
{
    ska_u8 *byte = (ska_u8 *)p + (k >> 1);
    uint32_t up = (k & 1U) << 2;
    *byte = (uint8_t)((*byte & (0xF0U >> up)) | (((uint32_t)v & 15U) << up));
}
SKA_INLINE void ska_store_s4(void *p, ska_index k, int64_t v) { ska_store_u4(p, k, v); }

#if defined(__AVR__)
#include <avr/pgmspace.h>
#define SKA_FLASH PROGMEM
SKA_INLINE int32_t ska_load_fu8(const void *p, ska_index k) { return pgm_read_byte((const uint8_t *)p + k); }
SKA_INLINE int32_t ska_load_fs8(const void *p, ska_index k) { return (int8_t)ska_load_fu8(p, k); }
SKA_INLINE int32_t ska_load_fu16(const void *p, ska_index k) { return pgm_read_word((const uint16_t *)p + k); }
SKA_INLINE int32_t ska_load_fs16(const void *p, ska_index k) { return (int16_t)pgm_read_word((const uint16_t *)p + k); }
SKA_INLINE int32_t ska_load_fs32(const void *p, ska_index k) { return (int32_t)pgm_read_dword((const uint32_t *)p + k); }
SKA_INLINE int64_t ska_load_fu32(const void *p, ska_index k) { return pgm_read_dword((const uint32_t *)p + k); }
SKA_INLINE int64_t ska_load_fs64(const void *p, ska_index k)
{
    uint64_t high = pgm_read_dword((const uint32_t *)p + 2 * k + 1);
    return (int64_t)(high << 32 | pgm_read_dword((const uint32_t *)p + 2 * k));
}
#else
#define SKA_FLASH
SKA_INLINE int32_t ska_load_fu8(const void *p, ska_index k) { return ska_load_u8(p, k); }
SKA_INLINE int32_t ska_load_fs8(const void *p, ska_index k) { return ska_load_s8(p, k); }
SKA_INLINE int32_t ska_load_fu16(const void *p, ska_index k) { return ska_load_u16(p, k); }
SKA_INLINE int32_t ska_load_fs16(const void *p, ska_index k) { return ska_load_s16(p, k); }
SKA_INLINE int32_t ska_load_fs32(const void *p, ska_index k) { return ska_load_s32(p, k); }
SKA_INLINE int64_t ska_load_fu32(const void *p, ska_index k) { return ska_load_u32(p, k); }
SKA_INLINE int64_t ska_load_fs64(const void *p, ska_index k) { return ska_load_s64(p, k); }
#endif
SKA_INLINE int32_t ska_load_fu4(const void *p, ska_index k) { return ska_nibble(ska_load_fu8(p, k >> 1), k); }
SKA_INLINE int32_t ska_load_fs4(const void *p, ska_index k) { return (ska_load_fu4(p, k) ^ 8) - 8; }

/* Where an element of whole bytes stands. */
#define SKA_AT(format, p, k) ((const SKA_GLUE(ska_, format) *)(p) + (k))

/* SKA_LOAD(s8, p, k): the kernels name formats by macros, which must be expanded before they are glued together. */
#define SKA_GLUE_(a, b) a##b
#define SKA_GLUE(a, b) SKA_GLUE_(a, b)
#define SKA_LOAD(format, p, k) SKA_GLUE(ska_load_, format)(p, k)
#define SKA_STORE(format, p, k, v) SKA_GLUE(ska_store_, format)(p, k, v)

#endif
