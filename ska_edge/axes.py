"""Axes of a contraction (SPEC 5.1): their letters, and fewer of them where neighbours can be walked as one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from .errors import ProgramError
from .operations import Tensor


def split_axes(axes: str) -> tuple[str, str, str]:
    """'oi,i->o' to ('oi', 'i', 'o').  Raises ProgramError where the text is anything else."""
    operands, arrow, out = axes.partition("->")
    a, comma, b = operands.partition(",")
    if not (arrow and comma) or not all(part.isascii() and part.isalpha() for part in (a, b, out) if part):
        raise ProgramError(f"axes {axes!r}: wanted letters as in 'oi,i->o'")
    return a, b, out


def merge_axes(axes: str, a: Tensor, b: Tensor, out: Tensor) -> tuple[str, Tensor, Tensor, Tensor]:
    """The same contraction with neighbouring axes walked as one, wherever they stand side by side in all operands.

    >>> from ska_edge.fixed import Format
    >>> from ska_edge.operations import Role
    >>> w, x, z = (Tensor(n, s, Format(8, 0), Role.INPUT) for n, s in (("w", (5, 4, 3)), ("x", (4, 3)), ("z", (5,))))
    >>> axes, w, x, z = merge_axes("oab,ab->o", w, x, z)
    >>> axes, w.shape, x.shape
    ('oa,a->o', (5, 12), (12,))
    """
    letters = list(split_axes(axes))
    tensors = [a, b, out]
    for first, second in (pair for text in letters[:2] for pair in pairwise(text)):
        holders = [i for i, text in enumerate(letters) if first in text or second in text]
        if all(first + second in letters[i] and _unpadded(tensors[i], letters[i], second) for i in holders):
            for i in holders:
                at, shape = letters[i].index(first), tensors[i].shape
                tensors[i] = replace(tensors[i], shape=(*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :]))
                letters[i] = letters[i].replace(second, "")
            return merge_axes("{},{}->{}".format(*letters), *tensors)
    return axes, a, b, out


def _unpadded(tensor: Tensor, axes: str, axis: str) -> bool:
    """Whether no padding lies between one run of an axis and the next: 4-bit rows are padded to whole bytes."""
    return tensor.format.stored_bits > 4 or axis != axes[-1] or tensor.shape[-1] % 2 == 0


def memory_steps(tensor: Tensor, axes: str) -> dict[str, int]:
    """Memory elements from one index to the next, by axis; 4-bit rows are padded to even length."""
    steps, step = {}, 1
    for axis, extent in zip(reversed(axes), reversed(tensor.shape), strict=True):
        steps[axis] = step
        step *= extent + extent % 2 if axis == axes[-1] and tensor.format.stored_bits == 4 else extent
    return steps
