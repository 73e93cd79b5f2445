/* The memory functions that compilers call behind one's back.  The empty asm keeps them from calling themselves. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);

void *memcpy(void *to, const void *from, size_t count)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    while (count--) {
        *out++ = *in++;
        __asm__ volatile("");
    }
    return to;
}

void *memmove(void *to, const void *from, size_t count)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    if ((uintptr_t)out <= (uintptr_t)in) {
        return memcpy(to, from, count);
    }
    while (count--) {
        out[count] = in[count];
        __asm__ volatile("");
    }
    return to;
}

void *memset(void *to, int value, size_t count)
{
    uint8_t *out = to;
    while (count--) {
        *out++ = (uint8_t)value;
        __asm__ volatile("");
    }
    return to;
}
