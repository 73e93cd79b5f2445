/* SPEC 5.4: K forward steps of one sample through one layer, every neuron by itself, all steps in 32 bits.
 *
 * Instance: SKA_NAME, SKA_Z, SKA_MEAN, SKA_DRIVE, SKA_TABLE, SKA_OUT (the factor's), SKA_DECISION (formats);
 * SKA_BITS is 32.  mean and drive may be 0.  fraction = -(exponent of z). */
#include "interpolate.h"

#define SKA_ONE 32768

static void SKA_NAME(void *factor, void *decision, void *entropy, const void *z, const void *mean, const void *drive,
                     const void *table, int32_t gain, uint32_t t, ska_index neurons, int32_t first, uint8_t width,
                     ska_index last, uint16_t steps, int32_t rate, uint8_t rate_shift, uint8_t shift, uint32_t row,
                     uint8_t guard, uint8_t fraction, uint8_t entropy_shift, uint8_t emit_first,
                     uint8_t decision_shift, int32_t z_lo, int32_t z_hi, int32_t factor_lo, int32_t factor_hi,
                     int32_t decision_lo, int32_t decision_hi)
{
    const int32_t y_lo = ska_left32(z_lo, guard), y_hi = ska_left32(z_hi, guard) + ((int32_t)1 << guard) - 1;
    int64_t bits = 0;
    ska_index j;
    for (j = 0; j < neurons; j++) {
        int32_t q = (int32_t)SKA_LOAD(SKA_Z, z, j), y = ska_left32(q, guard), moved = 0, emitted, before, now;
        const int32_t m = mean ? (int32_t)SKA_LOAD(SKA_MEAN, mean, j) : 0;
        const int32_t d = drive ? (int32_t)SKA_LOAD(SKA_DRIVE, drive, j) : 0;
        int64_t total;
        uint16_t step;
        SKA_INTERPOLATE(before, table, q, first, width, last);
        emitted = before;
        for (step = 0; step < steps; step++) {
            int32_t slope, own, v;
            q = ska_saturate32((y + ((int32_t)1 << (guard - 1))) >> guard, z_lo, z_hi);
            SKA_INTERPOLATE(now, table, q, first, width, last);
            slope = (now * (SKA_ONE - now) + (1 << 14)) >> 15;
            own = (q - m) * slope + ska_left32(now - before, fraction);
            v = ((own >> entropy_shift) - d * slope + ((int32_t)1 << (fraction - 1))) >> fraction;
            moved += v;
            bits -= q * (now - before);
            y += (v * rate + ((int32_t)1 << (rate_shift - 1))) >> rate_shift;
            y = ska_saturate32(y, y_lo, y_hi);
            before = now;
        }
        if (!emit_first) {
            emitted = before;
        }
        total = ((int64_t)moved * gain + ska_scaled64(ska_offset(row, j, t), shift)) >> shift;
        SKA_STORE(SKA_OUT, factor, j, ska_saturate64(total, factor_lo, factor_hi));
        emitted = (emitted + (((int32_t)1 << decision_shift) >> 1)) >> decision_shift;
        SKA_STORE(SKA_DECISION, decision, j, ska_saturate32(emitted, decision_lo, decision_hi));
    }
    ska_store_s64(entropy, 0, bits);
}

#include "end.h"
