"""How fast the ONNX models are: learning beside Numba and float32 NumPy, inference in integers beside float32.

One thread; turns of the contestants alternate; medians of the thread's CPU time, so that a busy machine matters less.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .backends import open_executor
from .backends.onnx.models import models
from .backends.onnx.runtime import open_session
from .baselines.plain import PlainStream
from .bench import data_for, seconds, weights_changed
from .learner import encode
from .lowering import lower
from .network import Network, parse_shape
from .program import Program
from .rules import rule_named

SAMPLES_A_TURN = 20
BATCHES = (1, 16, 256)


def turns_of(repeats: int) -> int:
    """How often `measure` tells that a turn is done."""
    return repeats * (len(_LEARNING) + len(BATCHES))


_LEARNING = ("published", "guided")


def measure(
    shape: str, profile: str, dataset: str | None, repeats: int, advance: Callable[[int], None] = lambda count: None
) -> dict[str, Any]:
    """Microseconds a sample: `learn` {rule: {executor: time}}, `infer` {batch: {model: time}}, and weights changed."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    widths = parse_shape(shape)
    data = data_for(Network(widths).widths[0], dataset)
    result: dict[str, Any] = {"shape": shape, "profile": profile, "data": data.name, "repeats": repeats}
    result["learn"], result["infer"], result["weights_changed"] = {}, {}, {}
    with threadpool_limits(1):
        for name in _LEARNING:
            network = Network(widths, rule_named(name))
            encoding = data.encoding(centred=network.rule.centred_inputs)
            labels = data.labels if name == "guided" else None
            program = lower(network, profile, data.samples[:200], labels, encoding)
            rows = {"x": encode(program, data.samples[:256])}
            if name == "guided":
                rows["label"] = data.labels[:256] if data.labels is not None else np.arange(256) % network.widths[-1]
            plain = None
            if name == "published":
                rate, steps = network.rule.rate, network.rule.forward_steps
                plain = PlainStream(network.start_weights(), rate, steps), encoding.unit(data.samples[:256])
            times, changed = _learning(program, rows, plain, repeats, advance)
            result["learn"][name], result["weights_changed"][name] = times, changed
        for batch in BATCHES:
            result["infer"][str(batch)] = _inference(program, batch, repeats, advance)
    return result


def _learning(
    program: Program, rows: dict[str, Any], plain: Any, repeats: int, advance: Callable[[int], None]
) -> tuple[dict[str, float], float]:
    executors = {name: open_executor(name, program) for name in ("onnxruntime", "numba")}
    turns: dict[str, list[float]] = {name: [] for name in (*executors, *(["numpy_float32"] if plain else []))}
    for turn in range(-1, repeats):
        at = [(turn * SAMPLES_A_TURN + k) % len(rows["x"]) for k in range(SAMPLES_A_TURN)]
        for name, executor in executors.items():
            fed = {key: values[at] for key, values in rows.items()}
            turns[name].append(seconds(lambda e=executor, f=fed: e.stream("learn", f)))  # type: ignore[misc]
        if plain:
            learner, real = plain[0], plain[1][at].astype(np.float32)
            turns["numpy_float32"].append(seconds(lambda p=learner, r=real: [p.learn_one(x) for x in r]))  # type: ignore[misc]
        advance(turn >= 0)
    micro = {name: float(np.median(values[1:])) / SAMPLES_A_TURN * 1e6 for name, values in turns.items()}
    return micro, weights_changed(program, executors["onnxruntime"])


def _inference(program: Program, batch: int, repeats: int, advance: Callable[[int], None]) -> dict[str, float]:
    fmt, chance = program.by_name["x"].format, np.random.default_rng(0)
    made = models(program)
    sessions = {
        name: open_session(made[name].SerializeToString()) for name in ("infer_f32", "infer_qdq", "infer_exact")
    }
    turns: dict[str, list[float]] = {name: [] for name in sessions}
    raw = chance.integers(fmt.lo, fmt.hi + 1, (batch, program.by_name["x"].size))
    for turn in range(-1, repeats):
        for name, session in sessions.items():
            kind = session.get_inputs()[0].type[len("tensor(") : -1].replace("float", "float32")
            feed = {"x": raw.astype(kind)}
            again = range(max(1, 8 // batch))
            took = seconds(lambda s=session, f=feed, a=again: [s.run(None, f) for _ in a])  # type: ignore[misc]
            turns[name].append(took / len(again))
        advance(turn >= 0)
    return {name: float(np.median(values[1:])) / batch * 1e6 for name, values in turns.items()}
