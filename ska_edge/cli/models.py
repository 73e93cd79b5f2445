"""`ska-edge models`: models that were learnt before you came."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from .common import CHECK_FAILED, emit, json_option, quiet_option


@click.command()
@click.argument("action", type=click.Choice(["list", "show", "copy", "rebuild"]), default="list")
@click.argument("names", nargs=-1)
@click.option("--out", default=".", show_default=True, type=click.Path(), help="copy: folder to put the .ska into.")
@quiet_option
@json_option
def models(action: str, names: tuple[str, ...], out: str, quiet: bool, as_json: bool) -> None:
    """List shipped models, show a card, copy a .ska, or learn models again and compare digests (all, if none is named).

    Exit code 1 where a rebuilt model is not the shipped one.
    """
    from ..errors import FileError
    from ..models import model_named, rebuild, shipped
    from ..plan import learning_bytes, weight_bytes
    from ..progress import bar

    chosen = [model_named(name) for name in names] or list(shipped().values())
    if action == "rebuild":
        with bar("learning again", len(chosen), not (quiet or as_json)) as advance:
            found = rebuild(chosen, advance)

        def told() -> None:
            for name, result in found.items():
                print(f"{name}: {'the same' if result['same'] else 'ANOTHER'}, state {result['state_digest'][:16]}")

        emit(as_json, {"models": found}, told)
        if not all(result["same"] for result in found.values()):
            sys.exit(CHECK_FAILED)
        return
    if action == "copy":
        written = []
        for model in chosen:
            target = Path(out) / model.path.name
            if target.exists():
                raise FileError(f"{target}: exists; remove it, or name another folder with --out")
            assert model.program  # refuses a damaged one
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                written.append(str(shutil.copyfile(model.path, target)))
            except OSError as error:
                raise FileError(f"{target}: cannot be written ({error.strerror})") from None
        emit(as_json, {"files": written}, lambda: print(*written, sep="\n"))
        return
    rows = [
        {
            "name": model.name,
            "purpose": model.purpose,
            "dataset": model.dataset,
            "shape": model.settings.shape,
            "rule": model.settings.rule,
            "profile": model.settings.profile,
            "weight_bytes": weight_bytes(model.program),
            "state_bytes": learning_bytes(model.program),
            "program_digest": model.program_digest,
            "state_digest": model.state_digest,
            "command": model.command,
            "card": (model.path.with_suffix(".md")).read_text(encoding="utf-8"),
        }
        for model in chosen
    ]

    def human() -> None:
        if action == "show":
            print(*(row["card"] for row in rows), sep="\n\n")
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold underline")
        for heading in ("name", "shape", "rule", "profile", "weight\nbytes", "memory\nbytes", "what for"):
            table.add_column(heading, justify="right" if "bytes" in heading else "left", no_wrap=heading == "name")
        keys = ("name", "shape", "rule", "profile", "weight_bytes", "state_bytes", "purpose")
        for row in rows:
            table.add_row(*(str(row[key]) for key in keys))
        Console().print(table)

    emit(as_json, {"models": rows}, human)
