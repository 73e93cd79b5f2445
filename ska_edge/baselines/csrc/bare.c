/* The least that runs on a board: a learner, one sample's bytes, and nothing to talk to.  For comparisons: whoever learns
 * finds the same start-up and the same main, so that bytes differ by the learner alone.  `bare_wish` is never set: the
 * simulator calls learn and predict itself. */
#include <stdint.h>

#ifdef BARE_BACKPROP
#include "backprop.h"

static bp_feature sample[BP_FEATURES];
#define START() (void)0
#define SAMPLE sample
#define LEARN bp_learn
#define PREDICT bp_predict
#else
#include "model.h"

#define START() ska_reset()
#define SAMPLE ska_sample()
#define LEARN ska_learn
#define PREDICT ska_predict
#endif

volatile uint8_t bare_wish;
volatile int16_t bare_label;
volatile void *volatile bare_sample;

int16_t bare_learn(int16_t label);
int16_t bare_predict(void);
int main(void);

__attribute__((noinline, used)) int16_t bare_learn(int16_t label) { return LEARN(SAMPLE, label); }
__attribute__((noinline, used)) int16_t bare_predict(void) { return PREDICT(SAMPLE); }

int main(void)
{
#if BARE_FLOATS
    *(volatile uint32_t *)UINT32_C(0xE000ED88) |= UINT32_C(0xF) << 20; /* CPACR: the unit for floats is off at reset */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
    START();
    bare_sample = SAMPLE;
    while (bare_wish) {
        bare_label = bare_wish & 1 ? bare_learn(bare_label) : bare_predict();
    }
    return 0;
}
