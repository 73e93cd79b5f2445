"""Mutation test: change every constant of the shipped arithmetic, one at a time; some test must notice each time.

    python tools/mutate.py [FILES...] [--jobs 2] [--json]

Every integer n becomes n + 1 and n - 1; `<` and `<=`, `>` and `>=`, `==` and `!=`, `+` and `-`, `<<` and `>>`, `min`
and `max` change places.  Each mutant is written into a temporary copy of the package, never into the work tree, and
judged by the fast tests named below with NUMBA_DISABLE_JIT set: the kernels then run as plain Python.  A mutant of
`memory.py` or `wide.py` is also judged with the compiler.  Failing, crashing and taking longer than a minute all
count as noticed.

FILES are names of mutated files, or `name:line`.  Exit code 1 if a mutant survives.
"""

from __future__ import annotations

import argparse
import ast
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 60
MEMORY = 4 << 30  # a mutated shift can ask for a number of 10^9 digits
KERNEL_TESTS = ("tests/test_kernels.py",)
ORACLE_TESTS = ("tests/test_interpreter.py", "tests/test_oracle.py", "tests/test_kernels.py")
TARGETS = {
    "ska_edge/backends/jit/kernels.py": KERNEL_TESTS,
    "ska_edge/backends/jit/memory.py": KERNEL_TESTS,
    "ska_edge/backends/jit/wide.py": KERNEL_TESTS,
    "ska_edge/interpreter.py": ORACLE_TESTS,
    "ska_edge/fixed.py": ("tests/test_fixed.py", *ORACLE_TESTS),
    "ska_edge/builder.py": ("tests/test_builder.py",),
}
COMPILED_TESTS = {
    "ska_edge/backends/jit/memory.py": ("tests/test_memory.py",),
    "ska_edge/backends/jit/wide.py": ("tests/test_memory.py",),
}
ONE_BY_ONE = "a row of b at a time instead of a pair: slower, the same sums"
SAME_END = "a value at the end of a range is that end"
SAME_SHIFT = "a shift by nothing, to the left or to the right"
NOTHING_ADDED = "what rounds a shift by nothing is 0 by every rounding"
NEVER_ABSENT = "this operand is never absent"
NO_LATTICE = "without t there is no lattice, and t is not looked at"
RESHAPED = "NumPy works out the one extent that is negative, whatever it is"
KERNELS, ORACLE = "ska_edge/backends/jit/kernels.py", "ska_edge/interpreter.py"
FIXED, BUILDER = "ska_edge/fixed.py", "ska_edge/builder.py"
EQUIVALENT = {  # file, a piece of the changed line that only the mutant has: why no behaviour can change
    (KERNELS, "AXES = 23 "): "an operation's row has room: its loops may start anywhere from 11 to 28",
    (KERNELS, "AXES = 25 "): "an operation's row has room: its loops may start anywhere from 11 to 28",
    (KERNELS, "p[11] + 5 * LANES"): "the workspace ends with a whole line of cache: 128 bytes, 96 of them in use",
    (KERNELS, "pair = planes == 3"): ONE_BY_ONE,
    (KERNELS, "column + 2 < columns"): ONE_BY_ONE,
    (ORACLE, "lo if v <= lo else"): SAME_END,
    (ORACLE, "hi if v >= hi else"): SAME_END,
    (ORACLE, "if shift < 0 or rounding"): NOTHING_ADDED,
    (ORACLE, "if shift <= -1 or rounding"): NOTHING_ADDED,
    (ORACLE, "if n > 16 else"): SAME_SHIFT,
    (ORACLE, "if n >= 17 else"): SAME_SHIFT,
    (ORACLE, "reshape(-2)"): RESHAPED,
    (ORACLE, "_get(name)[-1] if"): "a tensor without axes has one element: the first is the last",
    (ORACLE, "_get(name)[0] if name is not None else -1"): NO_LATTICE,
    (ORACLE, "_get(name)[0] if name is not None else 1"): NO_LATTICE,
    (ORACLE, "_get_broadcast(op.a, out, -1)"): NEVER_ABSENT,
    (ORACLE, "_get_broadcast(op.a, out, 1)"): NEVER_ABSENT,
    (ORACLE, "_get_broadcast(name, out, -1)"): NEVER_ABSENT,
    (ORACLE, "_get_broadcast(name, out, 1)"): NEVER_ABSENT,
    (FIXED, "if shape else 2"): "one nibble takes a byte, as two do",
    (FIXED, "reshape(-2,"): RESHAPED,
    (FIXED, "packed.shape[0], -2)"): RESHAPED,
    (BUILDER, "KNOWLEDGE.hi + 3,"): "the last knot is at hi + 1, the next would be a segment further on",
    (BUILDER, "math.log2(rates[1])"): "the first two rates are equal: below one segment the rate no longer grows",
    (BUILDER, "if grain else -1"): "nothing to coarsen by, as with 0",
}

SWAPS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
}
NAMES = {"min": "max", "max": "min"}


# --- mutants ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: str
    line: int
    column: int
    before: str
    after: str
    source: bytes

    def row(self, source: bytes) -> str:
        """The changed line as it stands in some version of the file."""
        return source.splitlines()[self.line - 1].decode().strip()

    def equivalents(self) -> set[tuple[str, str]]:
        """What `EQUIVALENT` says of it."""
        old, new = self.row((ROOT / self.file).read_bytes()), self.row(self.source)
        return {(file, piece) for file, piece in EQUIVALENT if file == self.file and piece in new and piece not in old}

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.before} -> {self.after}    {self.row(self.source)}"


class _Finder(ast.NodeVisitor):
    """Collects (start, end, replacement) in bytes."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.edits: list[tuple[int, int, str]] = []

    def begin(self, node: Any) -> int:
        return int(self.starts[node.lineno - 1] + node.col_offset)

    def end(self, node: Any) -> int:
        return int(self.starts[node.end_lineno - 1] + node.end_col_offset)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Messages: and Python 3.11 does not know where their parts are."""

    def visit_Constant(self, node: ast.Constant) -> None:
        if type(node.value) is int:
            for value in (node.value + 1, node.value - 1):
                self.edits.append((self.begin(node), self.end(node), str(value)))

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.swap(node.op, self.end(node.left), self.begin(node.right))
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.swap(node.op, self.end(node.target), self.begin(node.value))
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        left: ast.expr = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            self.swap(op, self.end(left), self.begin(right))
            left = right
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in NAMES:
            self.edits.append((self.begin(node.func), self.end(node.func), NAMES[node.func.id]))
        self.generic_visit(node)

    def swap(self, op: ast.AST, start: int, end: int) -> None:
        if type(op) in SWAPS:
            old, new = SWAPS[type(op)]
            at = start + self.source[start:end].index(old.encode())
            self.edits.append((at, at + len(old), new))


def mutants_of(file: str) -> Iterator[Mutant]:
    """Every mutant of a file, from top to bottom."""
    source = (ROOT / file).read_bytes()
    finder = _Finder(source)
    finder.visit(ast.parse(source))
    for start, end, new in sorted(finder.edits):
        line = source[:start].count(b"\n") + 1
        column = start - source.rfind(b"\n", 0, start)
        changed = source[:start] + new.encode() + source[end:]
        yield Mutant(file, line, column, source[start:end].decode(), new, changed)


def chosen(names: list[str]) -> list[Mutant]:
    """The mutants asked for, without those known to be equivalent."""
    wanted = [name.partition(":") for name in names] or [("", "", "")]
    files = [file for file in TARGETS if any(file.endswith(name) for name, _, _ in wanted)]
    if not files:
        raise SystemExit(f"{', '.join(names)}: mutated are {', '.join(TARGETS)}")
    mutants = [mutant for file in files for mutant in mutants_of(file)]
    known = {mutant: mutant.equivalents() for mutant in mutants}
    stale = {each for each in EQUIVALENT if each[0] in files} - set().union(*known.values())
    if stale:
        raise SystemExit(f"EQUIVALENT names what is no mutant: {sorted(stale)}")
    return [
        mutant
        for mutant in mutants
        if not known[mutant]
        and any(mutant.file.endswith(name) and (not at or int(at) == mutant.line) for name, _, at in wanted)
    ]


# --- judging ----------------------------------------------------------------------------------------------------------


class Bench:
    """A copy of the package in which one process after the other is forked: what they import first is shared."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in ("ska_edge", "tests"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "pytest.ini").write_text("[pytest]\npythonpath = . tests\n")
        os.chdir(folder)
        os.environ.update(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
        os.environ["NUMBA_CACHE_DIR"] = str(folder / "cache")
        for module in ("hypothesis.strategies", "numba.extending", "pytest"):
            import_module(module)

    def warm_up(self, files: set[str]) -> None:
        """Nothing changed: every test must pass.  Leaves compiled modules behind, but those that will be changed."""
        for file in sorted(files):
            for compiled, tests in self.runs(file):
                if self.run(tests, compiled, write_bytecode=True) != 0:
                    raise SystemExit(f"{', '.join(tests)}: fails without a mutant\n{(self.folder / 'log').read_text()}")
        for file in TARGETS:
            for left in (self.folder / file).parent.glob(f"__pycache__/{Path(file).stem}.*"):
                left.unlink()

    def runs(self, file: str) -> Iterator[tuple[bool, tuple[str, ...]]]:
        """Whether to compile, and which tests judge a file."""
        yield False, TARGETS[file]
        if file in COMPILED_TESTS:
            yield True, COMPILED_TESTS[file]

    def notices(self, mutant: Mutant) -> bool:
        """Whether any test fails with this mutant."""
        path = self.folder / mutant.file
        original = path.read_bytes()
        path.write_bytes(mutant.source)
        try:
            return any(self.run(tests, compiled) != 0 for compiled, tests in self.runs(mutant.file))
        finally:
            path.write_bytes(original)

    def run(self, tests: tuple[str, ...], compiled: bool, write_bytecode: bool = False) -> int:
        """Exit status of pytest in a process of its own; it is ended after SECONDS."""
        child = os.fork()
        if child == 0:
            os._exit(self.run_here(tests, compiled, write_bytecode))
        give_up = time.monotonic() + SECONDS
        pause = 0.002
        while time.monotonic() < give_up:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        os.kill(child, signal.SIGKILL)
        return os.waitpid(child, 0)[1]

    def run_here(self, tests: tuple[str, ...], compiled: bool, write_bytecode: bool) -> int:
        """Run pytest; only a forked process may."""
        import numba
        import pytest

        log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.dont_write_bytecode = not write_bytecode
        numba.config.DISABLE_JIT = int(not compiled)
        os.environ["NUMBA_DISABLE_JIT"] = str(int(not compiled))
        try:
            return int(pytest.main(["-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests]))
        except BaseException:
            return 1


READY, FAILED = -1, -2


def work(todo: SimpleQueue[Any], done: SimpleQueue[Any], files: set[str]) -> None:
    """One worker: takes numbers of mutants until there is None."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        try:
            bench = Bench(Path(folder))
            bench.warm_up(files)
            done.put((READY, None))
            while (item := todo.get()) is not None:
                number, mutant = item
                done.put((number, bench.notices(mutant)))
        except (Exception, SystemExit) as error:
            done.put((FAILED, str(error)))


# --- the command ------------------------------------------------------------------------------------------------------


def main() -> int:
    options = parse_options()
    mutants = chosen(options.files)
    if options.sample and options.sample < len(mutants):
        picked = sorted(random.Random(options.seed).sample(range(len(mutants)), options.sample))
        mutants = [mutants[number] for number in picked]
    start = time.monotonic()
    survivors = [mutant for mutant, noticed in zip(mutants, judge(mutants, options.jobs), strict=True) if not noticed]
    took = time.monotonic() - start
    if options.json:
        rows = [{"file": m.file, "line": m.line, "column": m.column, "mutant": m.row(m.source)} for m in survivors]
        print(json.dumps({"mutants": len(mutants), "survivors": rows, "seconds": round(took, 1)}, indent=1))
    else:
        print(*survivors, sep="\n", end="\n" if survivors else "")
        print(f"{len(mutants)} mutants, {len(mutants) - len(survivors)} killed, {len(survivors)} survivors")
    return 1 if survivors else 0


def parse_options() -> argparse.Namespace:
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", metavar="FILES", help="files to mutate, or file:line; all by default")
    parser.add_argument("--jobs", type=int, default=2, help="mutants judged at a time (default 2)")
    parser.add_argument("--sample", type=int, metavar="N", help="judge only N of them, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="what draws the sample (default 0)")
    parser.add_argument("--json", action="store_true", help="survivors as JSON")
    return parser.parse_args()


def judge(mutants: list[Mutant], jobs: int) -> list[bool]:
    """Whether each mutant is noticed."""
    context = multiprocessing.get_context("fork")
    todo, done = context.SimpleQueue(), context.SimpleQueue()
    files = {mutant.file for mutant in mutants}
    workers = [context.Process(target=work, args=(todo, done, files)) for _ in range(max(jobs, 1))]
    noticed = [False] * len(mutants)
    for worker in workers:
        worker.start()
    try:
        for _ in workers:
            answer(done)
        with bar(len(mutants)) as advance:
            waiting = iter(enumerate(mutants))
            for item in islice(waiting, 2 * len(workers)):
                todo.put(item)
            for _ in mutants:
                number, noticed[number] = answer(done)
                advance()
                todo.put(next(waiting, None))
    finally:
        for _ in workers:
            todo.put(None)
        for worker in workers:
            worker.join(SECONDS)
    return noticed


def answer(done: SimpleQueue[Any]) -> Any:
    """What a worker says next."""
    number, result = done.get()
    if number == FAILED:
        raise SystemExit(result)
    return number, result


@contextmanager
def bar(total: int) -> Iterator[Any]:
    """A progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("mutants"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


if __name__ == "__main__":
    sys.exit(main())
