/* Backprop in 16-bit integers, in place, sample by sample, dithered by the lattice of ska_edge's SPEC 3.
 *
 * Weights have 12 fraction bits, units 8, samples are bytes; an error has 14 and holds the rate 2^-BP_RATE_SHIFT already,
 * which so costs nothing.  Sums have 32 bits.  Forward sums are rounded half up. */
#include "backprop.h"

#define UNIT_TOP 4095 /* just below 16 */
#define A 53685U
#define B 43977U
#define C 36025U
#define STEP_SHIFT (10U + (uint32_t)BP_RATE_SHIFT) /* 14 of the error, rate, 8 of the unit, less 12 of the weight */

static int16_t units[BP_UNITS];
static int32_t sums[BP_WIDEST];
static uint32_t counter;
#if BP_SPARE
static int32_t spare[BP_SPARE]; /* errors of a hidden layer whose units several patches see */
#endif

static const uint16_t powers[33] = {
    /* 2^15 * 2^(-k / 32) */
    32768, 32066, 31379, 30706, 30048, 29405, 28774, 28158, 27554, 26964, 26386,
    25821, 25268, 24726, 24196, 23678, 23170, 22674, 22188, 21713, 21247, 20792,
    20347, 19911, 19484, 19066, 18658, 18258, 17867, 17484, 17109, 16743, 16384};

static int32_t saturate(int32_t value) { return value > 32767 ? 32767 : value < -32768 ? -32768 : value; }

static uint32_t lattice(uint32_t i, uint32_t j) { return i * A + j * B + counter * C; }

static int32_t dithered(int32_t value, uint32_t offset, uint32_t shift)
{
    return (value + (int32_t)((offset & 0xFFFFU) >> (16U - shift))) >> shift;
}

static int32_t input(uint32_t l, const bp_feature *x, uint32_t i)
{
    return l ? units[bp_layers[l - 1].units + i] : x[i] * (BP_CENTRED ? 2 : 1);
}

/* A row of weights learns: what it moves by is its input times the row's errors. */
static void learn(int16_t *w, const int16_t *e, int32_t in, uint32_t offset, uint32_t count)
{
    while (count--) {
        *w = (int16_t)saturate(*w + dithered(in * *e++, offset, STEP_SHIFT));
        w++;
        offset += B;
    }
}

static void forward(const bp_feature *x)
{
    uint32_t l, g, r, c, n;
    for (l = 0; l < BP_LAYERS; l++) {
        const struct layer *layer = &bp_layers[l];
        uint32_t width = layer->neurons, carry = layer->carry;
        for (g = 0; g < layer->groups; g++) {
            const int16_t *w = bp_weights + layer->weights + g * layer->group_weights;
            const int16_t *bias = w + bp_taps(layer) * width;
            int16_t *z = units + layer->units + g * width;
            for (n = 0; n < width; n++) {
                sums[n] = bias[n] * (256 >> carry);
            }
            for (r = 0; r < layer->rows; r++) {
                uint32_t from = bp_base(layer, g) + r * layer->stride;
                for (c = 0; c < layer->run; c++, w += width) {
                    int32_t in = input(l, x, from + c);
                    if (in == 0) {
                        continue;
                    }
                    if (carry) {
                        for (n = 0; n < width; n++) {
                            sums[n] += (in * w[n]) >> carry;
                        }
                    } else {
                        for (n = 0; n < width; n++) {
                            sums[n] += in * w[n];
                        }
                    }
                }
            }
            for (n = 0; n < width; n++) {
                int32_t sum = (sums[n] + (2048 >> carry)) >> (12U - carry);
                z[n] = (int16_t)(l + 1 == BP_LAYERS ? saturate(sum) : sum < 0 ? 0 : sum > UNIT_TOP ? UNIT_TOP : sum);
            }
        }
    }
}

static int16_t decide(void)
{
    const int16_t *out = units + BP_UNITS - BP_CLASSES;
    int16_t c, best = 0;
    for (c = 1; c < BP_CLASSES; c++) {
        if (out[c] > out[best]) {
            best = c;
        }
    }
    return best;
}

/* Label minus softmax: what is to be added to the weights, but for input and rate. */
static void surprise(int16_t label, int16_t best)
{
    int16_t *out = units + BP_UNITS - BP_CLASSES, top = out[best], c;
    uint32_t total = 0;
    for (c = 0; c < BP_CLASSES; c++) {
        uint32_t below = ((uint32_t)(top - out[c]) * 369U) >> 8; /* 369 / 256 is log2 e */
        const uint16_t *at = &powers[(below & 255U) >> 3];
        uint32_t power = (below >> 8) > 15U ? 0 : (at[0] - (((uint32_t)(at[0] - at[1]) * (below & 7U)) >> 3)) >> (below >> 8);
        sums[c] = (int32_t)power;
        total += power;
    }
    for (c = 0; c < BP_CLASSES; c++) {
        int32_t share = (int32_t)((((uint32_t)sums[c] << 14) + total / 2) / total);
        out[c] = (int16_t)((c == label ? 16384 : 0) - share);
    }
}

static void backward(const bp_feature *x)
{
    uint32_t l, g, r, c, n;
    for (l = BP_LAYERS; l--;) {
        const struct layer *layer = &bp_layers[l];
        uint32_t width = layer->neurons, taps = bp_taps(layer), tap = 0, carry = layer->carry_error;
        const int16_t *e = units + layer->units;
        int shares = layer->groups > 1 && !layer->group_weights;
#if BP_SPARE
        for (g = 0; l && layer->bases && g < layer->inputs; g++) {
            spare[g] = 0;
        }
#endif
        for (r = 0; r < layer->rows; r++) {
            for (c = 0; c < layer->run; c++, tap++) {
                int16_t *row = bp_weights + layer->weights + tap * width;
                for (n = 0; shares && n < width; n++) {
                    sums[n] = 0;
                }
                for (g = 0; g < layer->groups; g++) {
                    uint32_t i = bp_base(layer, g) + r * layer->stride + c;
                    const int16_t *errors = e + g * width;
                    int16_t *w = row + g * layer->group_weights;
                    int32_t in = input(l, x, i);
                    if (in == 0) {
                        continue;
                    }
                    if (l) {
                        int32_t error = 0;
                        for (n = 0; n < width; n++) {
                            error += (w[n] * errors[n]) >> carry;
                        }
#if BP_SPARE
                        if (layer->bases) {
                            spare[i] += error;
                        } else
#endif
                        {
                            int32_t rounded = dithered(error, lattice(i, l), 12U - carry);
                            units[bp_layers[l - 1].units + i] = (int16_t)saturate(rounded);
                        }
                    }
                    if (shares) {
                        for (n = 0; n < width; n++) {
                            sums[n] += (in * errors[n]) >> layer->carry_update;
                        }
                    } else {
                        learn(w, errors, in, lattice(tap, g * width), width);
                    }
                }
                for (n = 0; shares && n < width; n++) {
                    int32_t step = dithered(sums[n], lattice(tap, n), STEP_SHIFT - layer->carry_update);
                    row[n] = (int16_t)saturate(row[n] + step);
                }
            }
        }
        for (g = 0; g < layer->groups; g++) {
            int16_t *bias = bp_weights + layer->weights + g * layer->group_weights + taps * width;
            learn(bias, e + g * width, 256, lattice(taps, g * width), width);
        }
#if BP_SPARE
        for (g = 0; l && layer->bases && g < layer->inputs; g++) {
            int16_t *unit = &units[bp_layers[l - 1].units + g];
            *unit = (int16_t)(*unit > 0 ? saturate(dithered(spare[g], lattice(g, l), 12U - carry)) : 0);
        }
#endif
    }
    counter++;
}

int16_t bp_predict(const bp_feature *x)
{
    forward(x);
    return decide();
}

int16_t bp_learn(const bp_feature *x, int16_t label)
{
    int16_t best = bp_predict(x);
    surprise(label, best);
    backward(x);
    return best;
}
