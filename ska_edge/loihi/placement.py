"""Cores placed on the mesh: those that talk most lie closest.

The quadratic assignment problem, by scipy's FAQ heuristic and pairwise exchange, over as many places as there are
cores, nearest first to where samples come in.  Where the host's messages enter the mesh is not published; tile (0, 0)
is assumed.  The order of the layers, place after place, is kept where the heuristic finds nothing shorter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from firmware_sim.neurocore.hardware import Mesh

from ..fixed import FloatArray, IntArray

SAME_TILE = 0.25
"""Distance between two cores of one tile, in hops between tiles; 0 would not tell it from a core's own messages."""
_EXCHANGED = 48
"""Most cores for pairwise exchange: it takes time in their cube."""


@dataclass(frozen=True)
class Placement:
    """A slot of the mesh for every core.

    `distance`: the sum over all axons of hops between tiles (`SAME_TILE` inside one); `in_order`: the same for cores
    placed one after the other.  Both None where the mesh is unknown.
    """

    slots: tuple[int, ...]
    distance: float | None
    in_order: float | None


def place(axons: FloatArray, mesh: Mesh | None) -> Placement:
    """Slots for cores; `axons` [cores + 1, cores] counts those from each row to each column, the host in the last row.

    >>> place(np.array([[0, 0, 9], [0, 0, 0], [0, 0, 0], [1, 1, 1]], float), Mesh(3, 1, 1, "cited: an example"))
    Placement(slots=(1, 0, 2), distance=12.25, in_order=21.25)
    """
    cores = axons.shape[1]
    if mesh is None:
        return Placement(tuple(range(cores)), None, None)
    hops = _hops(mesh)
    slots = np.sort(np.argsort(hops[0], kind="stable")[:cores])  # slot 0 is where the host's messages come in
    ends = np.append(slots, 0)
    between = hops[np.ix_(ends, ends)]  # the host in the last row, as in the axons
    between[-1, between[-1] == 0] = SAME_TILE
    flows = np.column_stack([axons, np.zeros(cores + 1)])
    in_order = np.arange(cores + 1)
    found = min(in_order, _assign(flows, between), key=lambda places: _length(flows, between, places))
    lengths = [_length(flows, between, places) for places in (found, in_order)]
    return Placement(tuple(int(slots[place]) for place in found[:-1]), *lengths)


def _assign(flows: FloatArray, between: FloatArray) -> IntArray:
    """A place for each core, short distances for large flows; the host stays where it is."""
    from scipy.optimize import quadratic_assignment

    host = len(flows) - 1
    fixed = np.array([[host, host]])
    found = quadratic_assignment(flows, between, method="faq", options={"partial_match": fixed}).col_ind
    if host <= _EXCHANGED:
        guess = np.column_stack([np.arange(host + 1), found])
        options = {"partial_match": fixed, "partial_guess": guess, "rng": np.random.default_rng(0)}
        found = quadratic_assignment(flows, between, method="2opt", options=options).col_ind
    return np.asarray(found, np.int64)


def _hops(mesh: Mesh) -> FloatArray:
    """Between any two slots."""
    tiles = np.array([mesh.tile(slot) for slot in range(mesh.cores)])
    hops: FloatArray = np.abs(tiles[:, np.newaxis] - tiles[np.newaxis]).sum(axis=2).astype(np.float64)
    hops[hops == 0] = SAME_TILE
    np.fill_diagonal(hops, 0.0)
    return hops


def _length(flows: FloatArray, between: FloatArray, places: IntArray) -> float:
    return float((flows * between[np.ix_(places, places)]).sum())
