/* The device protocol, version 1: the host asks, the device answers, one frame each (see frame.h).
 *
 *   request  version, sequence, command, 0, data
 *   answer   version, sequence, command + 0x80, status, data
 *
 * Numbers are little-endian.  A request that repeats the sequence number and command of the one before is answered again
 * but not carried out again, so the host may repeat whatever it has no answer to.  The first request after a reset must
 * be hello; until then every other is refused with SKA_STATUS_RESTARTED, so that a reset cannot pass unnoticed.
 *
 *   command        data                                          answer
 *   1 hello        -                                             see below
 *   2 sample       u32 offset, bytes                             -            part of the sample, in its own format
 *   3 learn        i16 label [, whole sample]                    i16 class    the class decided before it was learnt
 *   4 predict      [whole sample]                                i16 class
 *   5 decisions    u32 offset, u16 count                         bytes
 *   6 entropies    u8 first, u8 count                            i64 each
 *   7 state out    u32 offset, u16 count                         bytes
 *   8 state in     u32 offset, bytes                             -
 *   9 reset        -                                             -            the state the model was built with
 *  10 stack        -                                             u32 bytes, u32 of them used
 *  11 peek         u32 offset, u16 count                         bytes        of the arena; only with SKA_STEPPED
 *  12 poke         u32 offset, bytes                             -            the same
 *  13 run          u8 section, u16 first, u16 last,              bytes        poke, run operations first to last - 1,
 *                  u32 peek, u16 count, u32 poke, bytes                       peek; the same
 *  14 save         -                                             u8 status    the state into flash, see snapshot.h; only
 *  15 load         -                                             u8 status    with SKA_SNAPSHOTS; and back
 *
 * hello's answer: u8 features (bit 0: SKA_STEPPED, bit 1: learns, bit 2: predicts,
 * bit 3: SKA_SNAPSHOTS), u8 bytes a feature, u16 most data
 * bytes in a frame, 32 bytes program digest, u32 sample bytes, u16 classes, u8 bytes a decision, u8 entropies,
 * u32 arena bytes, u32 state bytes, build text (cut where the frame ends).
 */
#ifndef SKA_PROTOCOL_H
#define SKA_PROTOCOL_H

#define SKA_PROTOCOL_VERSION 1

enum {
    SKA_HELLO = 1,
    SKA_SAMPLE,
    SKA_LEARN,
    SKA_PREDICT,
    SKA_DECISIONS,
    SKA_ENTROPY_SUMS,
    SKA_STATE_OUT,
    SKA_STATE_IN,
    SKA_RESET,
    SKA_STACK,
    SKA_PEEK,
    SKA_POKE,
    SKA_RUN,
    SKA_SAVE,
    SKA_LOAD
};

enum {
    SKA_STATUS_DONE,
    SKA_STATUS_UNKNOWN,   /* no such command in this build */
    SKA_STATUS_MALFORMED, /* data too short, too long or too much for one frame */
    SKA_STATUS_RANGE,     /* offset, count or label beyond what there is */
    SKA_STATUS_VERSION,   /* another version of this protocol */
    SKA_STATUS_RESTARTED  /* the device has been reset since it last said hello */
};

/* Take what has come over the line; carry out and answer a request when one is whole; sleep when there is nothing. */
void ska_device_poll(void);

#endif
