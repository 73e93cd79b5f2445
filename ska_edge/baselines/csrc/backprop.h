/* Backprop for a small core: one static block, no malloc, samples of bytes.  The network is `network.h`, generated. */
#ifndef BACKPROP_H
#define BACKPROP_H

#include <stdint.h>

#include "network.h"

#if BP_CENTRED
typedef int8_t bp_feature;
#else
typedef uint8_t bp_feature;
#endif

/* A layer of `groups` patches of its inputs, `neurons` on each: a dense layer is one group that sees everything, a
 * convolution one group a place, which share their weights.  A patch is `rows` runs of `run` inputs, `stride` apart.
 * Weights lie [tap][neuron], groups one after the other, the bias as one tap more: every loop runs along a row, and an
 * input of zero costs nothing.  `carry`, `carry_error`, `carry_update`: how far int16's products are shifted before
 * they are summed, so that no sum of 32 bits overflows. */
struct layer {
    uint32_t weights, units, inputs, group_weights;
    const uint16_t *bases;
    uint16_t groups, neurons, rows, run, stride;
    uint8_t carry, carry_error, carry_update;
};

extern const struct layer bp_layers[BP_LAYERS];
extern BP_NUMBER bp_weights[BP_WEIGHTS];

/* The class of a sample of BP_FEATURES bytes: 0 to 255 for 0 to 1, or with its centre subtracted, 127 for 1. */
int16_t bp_predict(const bp_feature *x);

/* Learn one sample; returns the class decided before. */
int16_t bp_learn(const bp_feature *x, int16_t label);

/* Taps of a patch, and the input that a tap of a group reads. */
static inline uint32_t bp_taps(const struct layer *l) { return (uint32_t)l->rows * l->run; }

static inline uint32_t bp_base(const struct layer *l, uint32_t group) { return l->bases ? l->bases[group] : 0; }

#endif
