"""Where a network lies on a neuromorphic chip: every core of the mesh, filled by the synaptic memory it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RULE, Picture, picture

if TYPE_CHECKING:
    from firmware_sim.neurocore.hardware import Mesh

    from ..loihi.mapping import Map

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY, "#56B4E9")
_GAP = 0.16  # between tiles, in cores


def floorplan_picture(found: Map) -> Picture:
    """Tiles of the mesh and the cores in them; each core is filled from below by the share of its memory in use.

    The mesh of unknown hardware is drawn as a plain list of the cores in use.
    """
    from firmware_sim.neurocore.hardware import Mesh

    hardware = found.hardware
    mesh = hardware.mesh or Mesh(min(len(found.cores), 16), -(-len(found.cores) // 16), 1, "")
    allowed = hardware.limit("synaptic_bytes") or hardware.limit("core_bytes")
    used = {core.slot: core for core in found.cores}
    layers = sorted({core.layer for core in found.cores})
    across, down = _tile_shape(mesh)

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        for slot in range(mesh.cores):
            left, top = _corner(mesh, slot)
            core = used.get(slot)
            axis.add_patch(_box(left, top, 1, facecolor="white", edgecolor=RULE if core is None else INK, lw=0.6))
            if core is not None:
                share = core.synaptic_bytes / allowed if allowed else 1.0
                colour = _COLOURS[layers.index(core.layer) % len(_COLOURS)]
                axis.add_patch(_box(left, top + 1 - share, share, facecolor=colour, edgecolor="none"))
                words = f"{share:.0%}" if allowed else ""
                dark = share < 0.5  # the middle of the core is white
                axis.text(
                    left + 0.5, top + 0.5, words, ha="center", va="center", fontsize=7, color=INK if dark else "w"
                )
        width, height = mesh.columns * (across + _GAP), mesh.rows * (down + _GAP)
        axis.set(xlim=(-_GAP, width), ylim=(height, -_GAP), aspect="equal", xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        kilobytes = f" of {allowed / 1024:g} KB" if allowed else ""
        axis.set_title(f"{hardware.title}: synaptic memory in use, share{kilobytes} a core")
        patches = [
            _box(0, 0, 0, facecolor=_COLOURS[n % len(_COLOURS)], label=f"layer {layer}")
            for n, layer in enumerate(layers)
        ]
        figure.legend(handles=patches, loc="outside lower center", ncols=min(len(patches), 8))

    total = sum(core.synaptic_bytes for core in found.cores)
    parts = "; ".join(
        f"layer {core.layer}, {core.neurons} neurons, {core.synaptic_bytes:,} bytes" for core in found.cores
    )
    columns = mesh.columns * across
    size = (max(4.0, 0.52 * columns), 0.52 * mesh.rows * down + 1.2)
    return picture(draw, *size, f"{len(found.cores)} cores of {hardware.name} hold {total:,} bytes: {parts}.")


def _tile_shape(mesh: Mesh) -> tuple[int, int]:
    """Cores across and down a tile, as square as it goes."""
    down = next(n for n in range(int(mesh.cores_per_tile**0.5), 0, -1) if mesh.cores_per_tile % n == 0)
    return mesh.cores_per_tile // down, down


def _corner(mesh: Mesh, slot: int) -> tuple[float, float]:
    """Left and top of a core."""
    across, down = _tile_shape(mesh)
    column, row = mesh.tile(slot)
    inside = slot % mesh.cores_per_tile
    return column * (across + _GAP) + inside % across, row * (down + _GAP) + inside // across


def _box(left: float, top: float, height: float, **style: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((left, top), 1, height, **style)
