"""Mutation test of the firmware's C: change one number or operator of a kernel; some check must notice each time.

    python tools/mutate_c.py [FILES...] [--jobs 2] [--sample N] [--seed S]

Every integer becomes one more and one less; `+` and `-`, `<<` and `>>`, `<` and `<=`, `>` and `>=`, `==` and `!=`
change places.  A mutant lives in a copy of `csrc`; it is compiled with gcc and held against the oracle on the
hand-computed vectors and random Programs of the primitives that its file is part of, and no byte may change that no
output owns.  What is Arm's own, where numbers in assembly change too, is judged in QEMU's Cortex-M4 and M0.  Not
compiling, crashing, differing and taking longer than two minutes all count as noticed.

FILES are names of kernels, as in `flow.h`.  Exit code 1 if a mutant survives.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from programs import VERBS, Case, Wanted, case_of, check_case, check_in_step  # noqa: E402
from vectors import check_vector, load_vectors  # noqa: E402

from ska_edge import Network, lower, rule_named, toolchain  # noqa: E402
from ska_edge.backends.c.generate import generate  # noqa: E402
from ska_edge.backends.c.host import GccExecutor  # noqa: E402
from ska_edge.data import load_dataset  # noqa: E402
from ska_edge.errors import ProgramError  # noqa: E402
from ska_edge.fixed import Format  # noqa: E402
from ska_edge.learner import encode  # noqa: E402
from ska_edge.network import parse_shape  # noqa: E402
from ska_edge.operations import Contract, Role, Tensor  # noqa: E402
from ska_edge.program import Program  # noqa: E402
from ska_edge.wellformed import split_axes  # noqa: E402

SECONDS = 120
RANDOM_PROGRAMS = {"flow": 40, "contract": 12}
OTHERS = 6
GUARD = 64
USERS = {  # files that several primitives include
    "arithmetic.h": VERBS,
    "memory.h": VERBS,
    "tail.h": ("contract", "scale"),
    "interpolate.h": ("lut", "flow"),
    "contract_any.h": ("contract",),
    "rows.h": ("contract",),
}
ARM = {  # files with lines that only Arm compiles: where they run
    "armv7em.h": ("qemu-m4",),
    "armv6m.h": ("qemu-m0",),
    "core.h": ("qemu-m4", "qemu-m0"),
    "learn.h": ("qemu-m4", "qemu-m0"),
    "contract.h": ("qemu-m4",),
    "rows.h": ("qemu-m4",),
    "outer_update.h": ("qemu-m4",),
}
ARM_ALONE = ("armv7em.h", "armv6m.h", "core.h", "learn.h")
SKIPPED = ("end.h",)  # forgets macros
TOKEN = re.compile(
    r"(?P<skip>/\*.*?\*/|^\s*#[^\n]*|\"[^\"]*\"|->|\+\+|--|\b[A-Za-z_]\w*\b)"
    r"|(?P<number>\b(?:0[xX][0-9A-Fa-f]+|\d+)(?=[uUlL]*\b))"
    r"|(?P<swap><<|>>|<=|>=|==|!=|[+\-<>]=?)",
    re.DOTALL | re.MULTILINE,
)
ASSEMBLY = re.compile(r"#(\d+)")
SWAPS = {
    "+": "-",
    "-": "+",
    "+=": "-=",
    "-=": "+=",
    "<<": ">>",
    ">>": "<<",
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "==": "!=",
    "!=": "==",
}
SAME = "the first of a row compared with itself"
ROOM = "an array with room to spare"
REST = "the last four are summed one by one"
EQUIVALENT = {  # file, a piece of the changed line that only the mutant has: why no behaviour can change
    ("arg.h", "for (i = 0; i < columns"): SAME,
    ("pool.h", "for (p = 0; p < count"): SAME,
    ("pool.h", "best = v >= best"): "of equals it does not matter which",
    ("contract_any.h", "return 2;"): "anything but 0 means that there is more",
    ("armv7em.h", "n >= 5"): REST,
    ("armv7em.h", "; n > 4;"): REST,
    ("contract_any.h", "out_index[3]"): ROOM,
    ("contract_any.h", " index[6]"): ROOM,
}


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: str
    start: int
    before: str
    after: str
    text: str

    @property
    def line(self) -> str:
        """The changed line."""
        number = self.text.count("\n", 0, self.start)
        return f"{number + 1}: {self.text.splitlines()[number].strip()}"

    def __str__(self) -> str:
        return f"{self.file}:{self.line.split(':')[0]}: {self.before} -> {self.after}    {self.line.partition(': ')[2]}"


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Every mutant of a file, from top to bottom."""
    source = path.read_text()
    for found in TOKEN.finditer(source):
        if found.group("number"):
            places = [(found.start(), _neighbours(found.group("number")))]
        elif found.group("swap") in SWAPS:
            places = [(found.start(), (found.group("swap"), [SWAPS[found.group("swap")]]))]
        elif found.group().startswith('"'):
            places = [(at.start(1), _neighbours(at.group(1))) for at in ASSEMBLY.finditer(source, *found.span())]
        else:
            continue
        for start, (old, changed) in places:
            for new in changed:
                text = source[:start] + new + source[start + len(old) :]
                yield Mutant(path.name, start, old, new, text)


def _neighbours(number: str) -> tuple[str, list[str]]:
    """A number as it is written, and the one above and the one below, which is not negative."""
    value = int(number, 0)
    return number, [str(value + 1), *([str(value - 1)] if value else [])]


def checks_of(file: str) -> list[Callable[[], None]]:
    """What judges a file: vectors and random Programs of its primitives, or networks in QEMU."""
    arm = [check_in_qemu(core, profile) for core in ARM.get(file, ()) for profile in ("w16d15", "w16d8", "w8d8")]
    if file in ARM_ALONE:
        return arm
    verbs = USERS.get(file, (file.removesuffix(".h"),))
    checks: list[Callable[[], None]] = []
    for vector in load_vectors():
        if next(iter(vector.program.sections.values()))[0].verb in verbs:
            checks.append(lambda vector=vector: check_vector(quick, vector))
    for verb in verbs:
        found = 0
        for seed in range(1000):
            case = case_of(seed, Wanted([verb], (1, 1)))
            try:
                generate(case.program)
            except ProgramError:
                continue
            checks.append(lambda case=case: check_case(quick, case))
            found += 1
            if found == RANDOM_PROGRAMS.get(verb, OTHERS):
                break
    if "contract" in verbs:
        checks += [
            lambda axes=axes: check_case(quick, contraction(axes)) for axes in ("abc,abc->", "abc,def->", "abc,dba->dc")
        ]
    return checks + arm


class Guarded(GccExecutor):
    """Refuses an operation that changes a byte which none of its outputs owns; the arena has some bytes to spare."""

    def run_operations(self, section: int, first: int, last: int) -> None:
        """Run them one by one, and look at all bytes before and after."""
        name = list(self.program.sections)[section]
        for position in range(first, last):
            size = self.plan.arena_bytes + GUARD
            before = bytearray(self.peek(0, size))
            super().run_operations(section, position, position + 1)
            after = bytearray(self.peek(0, size))
            for output in self.program.sections[name][position].outputs().values():
                start = self.plan.offset(name, output)
                end = start + self.program.by_name[output].byte_count
                before[start:end] = after[start:end]
            assert before == after, f"{name}[{position}] writes beyond its outputs"


def quick(program: Program) -> GccExecutor:
    """An executor compiled in little time, with a guard behind its arena."""
    return Guarded(program, ("-O1", f"-DSKA_SPARE_BYTES={GUARD}"))


def contraction(axes: str) -> Case:
    """A sum over many axes, on random numbers."""
    a_axes, b_axes, out_axes = split_axes(axes)
    extents = {letter: 2 + number % 2 for number, letter in enumerate("abcdef")}
    fmt = Format(8, 0)

    def tensor(name: str, letters: str, role: Role, bits: Format = fmt) -> Tensor:
        return Tensor(name, tuple(extents[letter] for letter in letters), bits, role)

    tensors = (
        tensor("a", a_axes, Role.INPUT),
        tensor("b", b_axes, Role.INPUT),
        tensor("out", out_axes, Role.OUTPUT, Format(32, 0)),
    )
    program = Program(tensors, {"learn": (Contract("out", "a", "b", axes),)}, {})
    source = np.random.default_rng(len(axes))
    run = {t.name: source.integers(-128, 128, t.shape) for t in tensors[:2]}
    return Case(program, [run, run])


def check_in_qemu(core: str, profile: str) -> Callable[[], None]:
    """A few digits learnt on an emulated core, step by step; widths that leave three of four and one of three over."""
    from ska_edge.backends import open_executor

    digits = load_dataset("digits")
    programs = []
    for shape, centred in (("64-15-10", True), ("64-15-10", False), ("64-9x3f3-10", True)):
        network = Network(parse_shape(shape), rule_named("guided"))
        encoding = digits.encoding(centred=centred)
        programs.append(lower(network, profile, digits.samples[:200], digits.labels[:200], encoding))

    def check() -> None:
        for program in programs:
            rows = encode(program, digits.samples[:6])
            runs = [{"x": x, "label": label} for x, label in zip(rows, digits.labels[:6], strict=True)]
            check_in_step(open_executor(core, program), program, "learn", runs)

    return check


def notices(mutant: Mutant | None, file: str, folder: str) -> bool:
    """Whether any check fails with this mutant; a forked process, ended after a while."""
    copy = Path(folder) / "csrc"
    path = copy / "kernels" / file
    original = path.read_text()
    if mutant:
        path.write_text(mutant.text)
    try:
        child = multiprocessing.get_context("fork").Process(target=judge, args=(file, copy))
        child.start()
        child.join(SECONDS)
        if child.is_alive():
            child.kill()
            child.join()
            return True
        return child.exitcode != 0
    finally:
        path.write_text(original)


_CHECKS: dict[str, list[Callable[[], None]]] = {}


def judge(file: str, copy: Path) -> None:
    """In the forked process: exit 0 if every check passes."""
    toolchain.INCLUDE = copy
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    try:
        for check in _CHECKS[file]:
            check()
    except BaseException:
        os._exit(1)
    os._exit(0)


def work(mutants: list[Mutant], progress: multiprocessing.Queue[tuple[int, bool]], first: int, step: int) -> None:
    """One worker: every step-th mutant."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        shutil.copytree(toolchain.INCLUDE, Path(folder) / "csrc")
        for number in range(first, len(mutants), step):
            progress.put((number, notices(mutants[number], mutants[number].file, folder)))


def main() -> int:
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", metavar="FILES", help="kernels to mutate; all by default")
    parser.add_argument("--jobs", type=int, default=2, help="mutants judged at a time (default 2)")
    parser.add_argument("--sample", type=int, metavar="N", help="judge only N of them, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="what draws the sample (default 0)")
    options = parser.parse_args()
    kernels = sorted(path for path in (toolchain.INCLUDE / "kernels").glob("*.h") if path.name not in SKIPPED)
    chosen = [path for path in kernels if not options.files or path.name in options.files]
    if not chosen:
        raise SystemExit(f"{', '.join(options.files)}: kernels are {', '.join(path.name for path in kernels)}")
    mutants = [
        mutant
        for path in chosen
        for mutant in mutants_of(path)
        if not any(file == mutant.file and piece in mutant.line for file, piece in EQUIVALENT)
    ]
    if options.sample and options.sample < len(mutants):
        picked = sorted(random.Random(options.seed).sample(range(len(mutants)), options.sample))
        mutants = [mutants[number] for number in picked]
    for file in {mutant.file for mutant in mutants}:
        _CHECKS[file] = checks_of(file)
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            shutil.copytree(toolchain.INCLUDE, Path(folder) / "csrc")
            if notices(None, file, folder):
                raise SystemExit(f"{file}: its checks fail without a mutant")
    context = multiprocessing.get_context("fork")
    progress: multiprocessing.Queue[tuple[int, bool]] = context.Queue()
    workers = [context.Process(target=work, args=(mutants, progress, n, options.jobs)) for n in range(options.jobs)]
    for worker in workers:
        worker.start()
    noticed = [False] * len(mutants)
    for done in range(len(mutants)):
        number, noticed[number] = progress.get()
        if sys.stderr.isatty():
            print(f"\r{done + 1} of {len(mutants)}", end="", file=sys.stderr)
    for worker in workers:
        worker.join()
    survivors = [mutant for mutant, seen in zip(mutants, noticed, strict=True) if not seen]
    print(*survivors, sep="\n", end="\n" if survivors else "")
    print(f"{len(mutants)} mutants, {len(mutants) - len(survivors)} killed, {len(survivors)} survivors")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
