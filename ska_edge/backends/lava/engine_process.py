"""A matrix that learns in Lava's own learning engine.  Importing this module needs Lava (`compat.prepare`)."""

from __future__ import annotations

from .compat import prepare

prepare()

import numpy as np  # noqa: E402
from lava.magma.core.learning.constants import GradedSpikeCfg  # noqa: E402
from lava.magma.core.learning.learning_rule import Loihi3FLearningRule  # noqa: E402
from lava.proc.dense.process import LearningDense  # noqa: E402

from ...fixed import IntArray  # noqa: E402
from .engine import EPOCH, X_TAU, Scale  # noqa: E402


def learning_dense(weights: IntArray, scale: Scale, seed: int = 0) -> LearningDense:
    """Lava's LearningDense with the update of a layer.  `weights`: even integers [neurons, inputs], -256 to 254.

    An epoch is two time steps: graded spikes 0 to 255 on `s_in` in the first, nothing in the second; in the second
    `a_out` sends what they summed up, and `s_in_y1` and `s_in_y2` take the third factor's negative and positive part,
    0 to 127.  `s_in_bap` and `s_in_y3` must be fed too, with zeros.
    """
    rule = Loihi3FLearningRule(dw=scale.rule, x1_tau=X_TAU, t_epoch=EPOCH, rng_seed=seed)
    return LearningDense(
        weights=np.asarray(weights),
        learning_rule=rule,
        num_message_bits=8,
        num_weight_bits=8,
        graded_spike_cfg=GradedSpikeCfg.OVERWRITE,
    )
