"""Backprop as good embedded C99 (`csrc/`), for a given shape: its sources, its bytes, and the same C on this machine.

The sources decide nothing by themselves: `network.h` and `start.c`, written here, hold the shape and the start weights.
`HostRun` compiles the very same files for this machine, so that accuracy is that of the C a chip would run.
"""

from __future__ import annotations

import ctypes
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import NetworkError
from ..fixed import FloatArray, Format, IntArray, quantise
from ..layers import Dense, Fields, Grid, Layer
from ..network import Network
from ..program import Encoding
from ..start import NormalStream
from ..toolchain import find_compiler

SOURCES = Path(str(resources.files("ska_edge"))) / "baselines" / "csrc"
NUMBERS = ("float32", "int16")
OPTIMISERS = ("sgd", "momentum", "adam")
MOMENTUM = 0.9
WEIGHT_FRACTION, UNIT_BITS, SAMPLE_BITS, ERROR_BITS = 12, 12, 8, 15
MAX_RATE_SHIFT = 6
"""A step of int16 is shifted by 10 + this, and the lattice has 16 bits."""


@dataclass(frozen=True)
class Descent:
    """A way to descend: `numbers` float32 or int16; batches of 1 are learnt in place; int16 takes rates of 2^-k.

    `centred`: each feature's mean is subtracted, which learns better, but leaves few zeros to skip.

    >>> Descent("float32", 0.1).method, Descent("float32", 0.1, "adam", 16).method
    ('backprop, in place', 'backprop, Adam, batch 16')
    """

    numbers: str
    rate: float
    optimiser: str = "sgd"
    batch: int = 1
    centred: bool = False

    def __post_init__(self) -> None:
        allowed = self.numbers in NUMBERS and self.optimiser in OPTIMISERS and 1 <= self.batch <= 1024
        if not allowed or not 0 < self.rate <= 1:
            raise NetworkError(
                f"descent: {self}; allowed are numbers {', '.join(NUMBERS)}, optimisers {', '.join(OPTIMISERS)}, "
                "batches of 1 to 1024, rates to 1"
            )
        if self.optimiser != "sgd" and self.batch == 1:
            raise NetworkError(f"descent: {self.optimiser} learns over batches here; give a batch of at least 2")
        if self.numbers == "int16" and (self.batch > 1 or self.rate_shift != -math.log2(self.rate)):
            raise NetworkError(
                f"descent: {self}; int16 learns in place, at a rate of 1, 1/2, ... 1/{2**MAX_RATE_SHIFT}"
            )

    @property
    def rate_shift(self) -> int:
        """The nearest power of two that int16 can shift by."""
        return min(max(round(-math.log2(self.rate)), 0), MAX_RATE_SHIFT)

    @property
    def step(self) -> float:
        """What the output's errors are multiplied by."""
        return 1 / self.batch if self.optimiser == "adam" else -self.rate / self.batch

    @property
    def method(self) -> str:
        """In words, without the numbers."""
        centred = ", centred" if self.centred else ""
        if self.batch == 1:
            return f"backprop, in place{centred}"
        named = {"sgd": "minibatch", "momentum": "momentum", "adam": "Adam"}[self.optimiser]
        return f"backprop, {named}, batch {self.batch}{centred}"

    @property
    def source(self) -> Path:
        """The C file."""
        return SOURCES / f"{self.numbers}.c"


@dataclass(frozen=True)
class Patches:
    """A layer as `struct layer` has it; `bases` [groups]: the first input of each patch, none where it sees all."""

    inputs: int
    groups: int
    neurons: int
    rows: int
    run: int
    stride: int
    bases: tuple[int, ...]
    shared: bool

    @property
    def taps(self) -> int:
        """Inputs of a patch."""
        return self.rows * self.run

    @property
    def weights(self) -> int:
        """Weights and biases."""
        return (1 if self.shared else self.groups) * (self.taps + 1) * self.neurons

    @property
    def units(self) -> int:
        """Neurons of all patches."""
        return self.groups * self.neurons

    def most_patches(self) -> int:
        """Patches that see one input, at most."""
        if not self.bases:
            return 1
        seen = np.zeros(self.inputs, np.int64)
        within = np.add.outer(np.arange(self.rows) * self.stride, np.arange(self.run)).ravel()
        for base in self.bases:
            seen[base + within] += 1
        return int(seen.max())


def patches_of(network: Network) -> list[Patches]:
    """Every layer of a network.  Raises NetworkError for layers whose patches have no place in backprop's order."""
    found = []
    below: Layer | None = None
    for layer, grid in zip(network.layers, network.grids, strict=True):
        if isinstance(below, Fields) and not isinstance(layer, Dense):
            raise NetworkError(f"shape {network}: patches above fields are not compared; put a dense layer there")
        if layer.competes:
            raise NetworkError(f"shape {network}: neurons that compete have no backprop to be compared with")
        found.append(_patches(layer, grid))
        below = layer
    return found


def _patches(layer: Layer, grid: Grid) -> Patches:
    index = layer.index(grid)
    shape = layer.start_shape(grid)
    if index is None:
        return Patches(grid.size, 1, math.prod(shape[:-1]), 1, grid.size, 0, (), False)
    run = int(getattr(layer, "side")) * grid.channels  # noqa: B009 - fields and filters have a side, layers need not
    stride = grid.columns * grid.channels
    bases = tuple(int(row[0]) for row in index)
    shared = not isinstance(layer, Fields)
    return Patches(grid.size, len(bases), shape[0], shape[-1] // run, run, stride, bases, shared)


def sources(network: Network, descent: Descent) -> dict[str, str]:
    """`network.h` and `start.c`, by name."""
    layers = patches_of(network)
    weights = start_weights(network, descent)
    return {"network.h": _header(layers, descent), "start.c": _start(layers, weights, descent)}


def start_weights(network: Network, descent: Descent) -> npt.NDArray[Any]:
    """Start weights in the C's order, [group][tap][neuron] and biases of zero, in its numbers."""
    stream, parts = NormalStream(network.seed), []
    layers = patches_of(network)
    for number, layer in enumerate(layers, start=1):
        groups = 1 if layer.shared else layer.groups
        gain = math.sqrt((1.0 if number == len(layers) else 2.0) / layer.taps)
        drawn = stream.take((groups, layer.taps, layer.neurons)).reshape(groups, layer.taps, layer.neurons) * gain
        parts.append(np.concatenate([drawn, np.zeros((groups, 1, layer.neurons))], axis=1).ravel())
    flat: FloatArray = np.concatenate(parts)
    if descent.numbers == "float32":
        return flat.astype(np.float32)
    return quantise(flat, Format(16, -WEIGHT_FRACTION)).astype(np.int16)


def state_bytes(network: Network, descent: Descent) -> tuple[int, int]:
    """Bytes of weights and biases, and of what learning holds beyond them and the sample."""
    layers = patches_of(network)
    count, size = sum(layer.weights for layer in layers), 4 if descent.numbers == "float32" else 2
    units, spare, widest = _buffers(layers)
    if descent.numbers == "int16":
        return 2 * count, 2 * units + 4 * (spare + widest) + 4
    copies = {"sgd": 0 if descent.batch == 1 else 1, "momentum": 1, "adam": 3}[descent.optimiser]
    shares = widest if any(_shares(layer) for layer in layers) else 0
    counters = (2 if descent.batch > 1 else 0) + (8 if descent.optimiser == "adam" else 0)
    return size * count, 4 * (units + spare + shares) + 4 * copies * count + counters


def macs(network: Network) -> tuple[int, int]:
    """Multiplications of a forward pass, and weights and biases."""
    layers = patches_of(network)
    return sum(layer.groups * layer.taps * layer.neurons for layer in layers), sum(layer.weights for layer in layers)


def _shares(layer: Patches) -> bool:
    return layer.shared and layer.groups > 1


def _buffers(layers: Sequence[Patches]) -> tuple[int, int, int]:
    """Units; the largest hidden layer that patches see; neurons of the widest patch."""
    spare = max((layer.inputs for layer in layers[1:] if layer.bases), default=0)
    return sum(layer.units for layer in layers), spare, max(layer.neurons for layer in layers)


def _header(layers: Sequence[Patches], descent: Descent) -> str:
    units, spare, widest = _buffers(layers)
    numbers = {
        "BP_NUMBER": "float" if descent.numbers == "float32" else "int16_t",
        "BP_LAYERS": len(layers),
        "BP_FEATURES": layers[0].inputs,
        "BP_CLASSES": layers[-1].units,
        "BP_WEIGHTS": sum(layer.weights for layer in layers),
        "BP_UNITS": units,
        "BP_CENTRED": int(descent.centred),
        "BP_SPARE": spare,
        "BP_WIDEST": widest,
        "BP_SHARES": int(any(_shares(layer) for layer in layers)),
        "BP_BATCHED": int(descent.batch > 1),
        "BP_BATCH": descent.batch,
        "BP_ADAM": int(descent.optimiser == "adam"),
        "BP_MOMENTUM": f"{MOMENTUM if descent.optimiser == 'momentum' else 0.0}F",
    }
    rates = {"BP_RATE": f"{descent.rate!r}F", "BP_STEP": f"({descent.step!r}F)", "BP_RATE_SHIFT": descent.rate_shift}
    lines = [f"#define {name} {value}" for name, value in numbers.items()]
    fixed = [f"#define {name} {value}" for name, value in rates.items()]
    tuned = [f"#define {name} {name.lower()}" for name in rates]
    declared = ["extern float bp_rate, bp_step;", "extern int32_t bp_rate_shift;"]
    choice = ["#ifdef BP_TUNED", *tuned, *declared, "#else", *fixed, "#endif"]
    return "\n".join(["#ifndef NETWORK_H", "#define NETWORK_H", "", *lines, *choice, "", "#endif", ""])


def _start(layers: Sequence[Patches], weights: npt.NDArray[Any], descent: Descent) -> str:
    tuned = "#ifdef BP_TUNED\nfloat bp_rate, bp_step;\nint32_t bp_rate_shift;\n#endif\n"
    parts, rows, at, unit = ['#include "backprop.h"\n', tuned], [], 0, 0
    for number, layer in enumerate(layers):
        name = "0"
        if layer.bases:
            name = f"bases{number}"
            parts.append(f"static const uint16_t {name}[] = {{{_wrapped(map(str, layer.bases))}}};\n")
        group = 0 if layer.shared or layer.groups == 1 else (layer.taps + 1) * layer.neurons
        head = (at, unit, layer.inputs, group, name, layer.groups, layer.neurons, layer.rows, layer.run, layer.stride)
        rows.append(f"    {{{', '.join(map(str, (*head, *_carries(layers, number))))}}},")
        at, unit = at + layer.weights, unit + layer.units
    parts.append("const struct layer bp_layers[BP_LAYERS] = {\n" + "\n".join(rows) + "\n};\n")
    if descent.numbers == "float32":
        texts = [f"{np.format_float_scientific(value, unique=True)}F" for value in weights]
    else:
        texts = [str(value) for value in weights.tolist()]
    parts.append(f"BP_NUMBER bp_weights[BP_WEIGHTS] = {{{_wrapped(texts)}}};\n")
    return "\n".join(parts)


def _carries(layers: Sequence[Patches], number: int) -> tuple[int, int, int]:
    """How far int16's products are shifted before they are summed: forward, errors, updates of shared weights.

    Forward: |w| <= 2^15, an input below 2^8 or 2^12, and the bias.  Errors: |e| <= 2^15; those of the output add up to
    2^15 at most, all together, and need none.
    """
    layer = layers[number]
    bits = UNIT_BITS if number else SAMPLE_BITS
    forward = bits + 15 + math.ceil(math.log2(layer.taps + 2)) - 31
    errors = 0
    if number < len(layers) - 1:
        errors = 30 + math.ceil(math.log2(layer.neurons * layer.most_patches() + 1)) - 31
    update = bits + ERROR_BITS + math.ceil(math.log2(layer.groups + 1)) - 31
    found = max(forward, 0), max(errors, 0), max(update, 0)
    if found[0] > 8 or found[1] > 12 or found[2] > 10:
        raise NetworkError(f"layer {number + 1}: {layer.taps} inputs a neuron are too many for int16's sums of 32 bits")
    return found


def _wrapped(texts: Any) -> str:
    texts = list(texts)
    return "\n    " + ",\n    ".join(", ".join(texts[k : k + 8]) for k in range(0, len(texts), 8)) + "\n"


class HostRun:
    """The C on this machine: the same files, compiled into `folder`, learn and decide.

    The rate alone is a variable here, so that one compilation serves all rates tried; a folder is for one network and
    one way to descend.

    Floating point keeps to IEEE 754 single precision without contraction, here as on the chip, so that bits agree.
    """

    def __init__(self, network: Network, descent: Descent, folder: Path) -> None:
        compiled = folder / f"{descent.numbers}.so"
        if not compiled.exists():
            for name, text in sources(network, descent).items():
                (folder / name).write_text(text)
            flags = ["-O2", "-shared", "-fPIC", "-ffp-contract=off", "-DBP_TUNED", f"-I{folder}", f"-I{SOURCES}"]
            find_compiler("gcc").compile([descent.source, folder / "start.c"], compiled, flags)
        number = len(list(folder.glob("*.so")))
        own = folder / f"run{number}.so"  # a library loads once; its variables are this run's
        shutil.copy(compiled, own)
        self._library = ctypes.CDLL(str(own))
        ctypes.c_float.in_dll(self._library, "bp_rate").value = descent.rate
        ctypes.c_float.in_dll(self._library, "bp_step").value = descent.step
        ctypes.c_int32.in_dll(self._library, "bp_rate_shift").value = descent.rate_shift
        self._count = macs(network)[1]
        self._number: Any = ctypes.c_float if descent.numbers == "float32" else ctypes.c_int16

    def learn(self, samples: npt.NDArray[np.uint8], labels: IntArray) -> None:
        """Rows of bytes, one after the other."""
        learn = self._library.bp_learn
        for row, label in zip(np.ascontiguousarray(samples), labels.tolist(), strict=True):
            learn(row.ctypes.data_as(ctypes.c_void_p), ctypes.c_int16(label))

    def predict(self, samples: npt.NDArray[np.uint8]) -> IntArray:
        """Classes of rows."""
        decide = self._library.bp_predict
        rows = np.ascontiguousarray(samples)
        return np.array([decide(row.ctypes.data_as(ctypes.c_void_p)) for row in rows], np.int64)

    def weights(self) -> bytes:
        """All weights, as they lie in memory."""
        return bytes((self._number * self._count).in_dll(self._library, "bp_weights"))


def as_bytes(samples: FloatArray, encoding: Encoding) -> npt.NDArray[np.uint8]:
    """Samples [n, features] as the C takes them: units of 1/256, or centred and signed, units of 1/128."""
    unit = encoding.unit(samples)
    if not any(encoding.centre):
        return quantise(unit, Format(8, -8, signed=False)).astype(np.uint8)
    return quantise(unit, Format(8, -7)).astype(np.int8).view(np.uint8)
