/* Backprop in float32: in place, sample by sample, or over batches (BP_BATCHED), with momentum or Adam.
 *
 * An error takes the place of its unit, and the rate is multiplied into the output's errors once, so that learning in
 * place needs one number a neuron beyond the weights.  Momentum's velocity is the gradient's buffer. */
#include "backprop.h"

static float units[BP_UNITS];
#if BP_SPARE
static float spare[BP_SPARE]; /* errors of a hidden layer whose units several patches see */
#endif
#if BP_SHARES
static float sums[BP_WIDEST]; /* of a filter's tap, over all places */
#endif
#if BP_BATCHED
static float gradient[BP_WEIGHTS];
static uint16_t waiting;
#define TARGET gradient
#else
#define TARGET bp_weights
#endif
#if BP_ADAM
static float first[BP_WEIGHTS], second[BP_WEIGHTS];
static float first_left = 1.0F, second_left = 1.0F; /* beta^t */
#endif

static float exponential(float x) /* of x <= 0, to about 3e-7 */
{
    union {
        uint32_t bits;
        float value;
    } power;
    int32_t k;
    float r;
    if (x < -80.0F) {
        return 0.0F;
    }
    k = (int32_t)(x * 1.44269504F - 0.5F);
    r = x - (float)k * 0.69314718F;
    power.bits = (uint32_t)(k + 127) << 23;
    return power.value * (1.0F + r * (1.0F + r * (0.5F + r * (0.16666667F + r * (0.041666667F + r * 0.008333333F)))));
}

static float input(uint32_t l, const bp_feature *x, uint32_t i)
{
    return l ? units[bp_layers[l - 1].units + i] : (float)x[i] * (BP_CENTRED ? 1.0F / 128.0F : 1.0F / 256.0F);
}

static void add(float *to, const float *from, float times, uint32_t count)
{
    while (count--) {
        *to++ += times * *from++;
    }
}

static float dot(const float *a, const float *b, uint32_t count)
{
    float sum = 0.0F;
    while (count--) {
        sum += *a++ * *b++;
    }
    return sum;
}

static void forward(const bp_feature *x)
{
    uint32_t l, g, r, c, n;
    for (l = 0; l < BP_LAYERS; l++) {
        const struct layer *layer = &bp_layers[l];
        for (g = 0; g < layer->groups; g++) {
            const float *w = bp_weights + layer->weights + g * layer->group_weights;
            const float *bias = w + bp_taps(layer) * layer->neurons;
            float *z = units + layer->units + g * layer->neurons;
            for (n = 0; n < layer->neurons; n++) {
                z[n] = bias[n];
            }
            for (r = 0; r < layer->rows; r++) {
                uint32_t from = bp_base(layer, g) + r * layer->stride;
                for (c = 0; c < layer->run; c++, w += layer->neurons) {
                    float in = input(l, x, from + c);
                    if (in < 0.0F || in > 0.0F) {
                        add(z, w, in, layer->neurons);
                    }
                }
            }
            for (n = 0; l + 1 < BP_LAYERS && n < layer->neurons; n++) {
                z[n] = z[n] > 0.0F ? z[n] : 0.0F;
            }
        }
    }
}

static int16_t decide(void)
{
    const float *out = units + BP_UNITS - BP_CLASSES;
    int16_t c, best = 0;
    for (c = 1; c < BP_CLASSES; c++) {
        if (out[c] > out[best]) {
            best = c;
        }
    }
    return best;
}

/* Softmax minus label, times BP_STEP: what is to be added to the weights, but for the input. */
static void surprise(int16_t label, int16_t best)
{
    float *out = units + BP_UNITS - BP_CLASSES, top = out[best], total = 0.0F;
    int16_t c;
    for (c = 0; c < BP_CLASSES; c++) {
        out[c] = exponential(out[c] - top);
        total += out[c];
    }
    total = BP_STEP / total;
    for (c = 0; c < BP_CLASSES; c++) {
        out[c] *= total;
    }
    out[label] -= BP_STEP;
}

static void backward(const bp_feature *x)
{
    uint32_t l, g, r, c;
    for (l = BP_LAYERS; l--;) {
        const struct layer *layer = &bp_layers[l];
        uint32_t width = layer->neurons, taps = bp_taps(layer), tap = 0;
        float *e = units + layer->units;
#if BP_SPARE
        for (g = 0; l && layer->bases && g < layer->inputs; g++) {
            spare[g] = 0.0F;
        }
#endif
        for (r = 0; r < layer->rows; r++) {
            for (c = 0; c < layer->run; c++, tap++) {
                uint32_t at = layer->weights + tap * width;
#if BP_SHARES
                int shares = layer->groups > 1 && !layer->group_weights;
                for (g = 0; shares && g < width; g++) {
                    sums[g] = 0.0F;
                }
#endif
                for (g = 0; g < layer->groups; g++) {
                    uint32_t i = bp_base(layer, g) + r * layer->stride + c;
                    uint32_t row = at + g * layer->group_weights;
                    float in = input(l, x, i);
                    if (!(in < 0.0F || in > 0.0F)) {
                        continue;
                    }
                    if (l) {
                        float error = dot(bp_weights + row, e + g * width, width);
#if BP_SPARE
                        if (layer->bases) {
                            spare[i] += error;
                        } else
#endif
                        {
                            units[bp_layers[l - 1].units + i] = error;
                        }
                    }
#if BP_SHARES
                    if (shares) {
                        add(sums, e + g * width, in, width);
                        continue;
                    }
#endif
                    add(TARGET + row, e + g * width, in, width);
                }
#if BP_SHARES
                if (shares) {
                    add(TARGET + at, sums, 1.0F, width);
                }
#endif
            }
        }
        for (g = 0; g < layer->groups; g++) {
            add(TARGET + layer->weights + g * layer->group_weights + taps * width, e + g * width, 1.0F, width);
        }
#if BP_SPARE
        for (g = 0; l && layer->bases && g < layer->inputs; g++) {
            float *unit = &units[bp_layers[l - 1].units + g];
            *unit = *unit > 0.0F ? spare[g] : 0.0F;
        }
#endif
    }
}

#if BP_ADAM
#if BP_HARD_ROOT
#define root __builtin_sqrtf
#else
static float root(float x) /* rounded as IEEE 754 wants it, bit by bit: a core without floats has no faster way */
{
    union {
        float value;
        uint32_t bits;
    } number;
    uint32_t rest, found = 0, bit;
    int32_t exponent;
    number.value = x;
    if (number.bits < UINT32_C(0x00800000)) { /* zero, and what is too small to matter */
        return 0.0F;
    }
    exponent = (int32_t)(number.bits >> 23) - 127;
    rest = ((number.bits & UINT32_C(0x7FFFFF)) | UINT32_C(0x800000)) << (exponent & 1 ? 2 : 1);
    exponent -= exponent & 1;
    for (bit = UINT32_C(0x1000000); bit; bit >>= 1, rest <<= 1) {
        if (2 * found + bit <= rest) {
            rest -= 2 * found + bit;
            found += bit;
        }
    }
    found += found & 1; /* the last of 25 bits rounds; a root never lies in the middle */
    number.bits = ((uint32_t)(exponent / 2 + 126) << 23) + (found >> 1);
    return number.value;
}
#endif
#endif

#if BP_BATCHED
static void step(void)
{
    uint32_t k;
#if BP_ADAM
    float size, floor;
    first_left *= 0.9F;
    second_left *= 0.999F;
    size = root(1.0F - second_left) * (BP_RATE / (1.0F - first_left));
    floor = 1e-8F;
#endif
    for (k = 0; k < BP_WEIGHTS; k++) {
#if BP_ADAM
        first[k] += 0.1F * (gradient[k] - first[k]);
        second[k] += 0.001F * (gradient[k] * gradient[k] - second[k]);
        bp_weights[k] -= size * first[k] / (root(second[k]) + floor);
        gradient[k] = 0.0F;
#else
        bp_weights[k] += gradient[k];
        gradient[k] *= BP_MOMENTUM;
#endif
    }
}
#endif

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
#if BP_BATCHED
    if (++waiting == BP_BATCH) {
        waiting = 0;
        step();
    }
#endif
    return best;
}
