"""`onnx-node` and `onnx-wasm`: the same models in onnxruntime-node and onnxruntime-web, in a Node.js process."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
import weakref
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx

from ...errors import MissingError, SkaError
from ...program import Program
from .executors import Array, OnnxExecutor, Run

VERSION = "1.30.0"
FOLDER_VARIABLE = "SKA_EDGE_ONNXRUNTIME_JS"
DEFAULT_FOLDER = Path(__file__).parents[3] / "out" / "onnxruntime"
SERVER = Path(__file__).with_name("server.mjs")
ANSWER_SECONDS = 300


def folder_with(package: str) -> Path:
    """Where npm put a package.  Raises MissingError with the command that gets it."""
    folder = Path(os.environ.get(FOLDER_VARIABLE, DEFAULT_FOLDER))
    if not (folder / "node_modules" / package).is_dir():
        raise MissingError(
            f"{package}: not in {folder}; npm install --ignore-scripts --prefix {folder} {package}@{VERSION} "
            f"(another folder: {FOLDER_VARIABLE})"
        )
    return folder


class NodeServer:
    """A Node.js process that runs models of one package."""

    def __init__(self, package: str) -> None:
        node = shutil.which("node")
        if node is None:
            raise MissingError("node: not installed; Debian package nodejs")
        folder = folder_with(package)
        self._process = subprocess.Popen(
            [node, str(SERVER), str(folder), package],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.close = weakref.finalize(self, _end, self._process)

    def ask(self, head: dict[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """One request and its answer.  Raises SkaError for an error at the other end."""
        text = json.dumps(head).encode()
        message = len(text).to_bytes(4, "little") + len(data).to_bytes(4, "little") + text + data
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(message)
            self._process.stdin.flush()
            sizes = self._take(8)
            answer = json.loads(self._take(int.from_bytes(sizes[:4], "little")))
            found = self._take(int.from_bytes(sizes[4:], "little"))
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            raise SkaError(f"node: the process ended or fell silent ({error})") from None
        if "error" in answer:
            raise SkaError(f"node: {answer['error']}")
        return answer, found

    def _take(self, count: int) -> bytes:
        assert self._process.stdout is not None
        handle, data, until = self._process.stdout.fileno(), b"", time.monotonic() + ANSWER_SECONDS
        while len(data) < count:
            if not select.select([handle], [], [], max(until - time.monotonic(), 0))[0]:
                raise TimeoutError(f"no answer in {ANSWER_SECONDS} s")
            got = os.read(handle, count - len(data))
            if not got:
                raise EOFError("end of file")
            data += got
        return data


class JavascriptExecutor(OnnxExecutor):
    """A Program in a package of npm."""

    package: ClassVar[str]

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self._server = NodeServer(self.package)

    def load(self, model: onnx.ModelProto) -> Run:
        """A session at the other end."""
        number = self._server.ask({"load": True}, model.SerializeToString())[0]["model"]

        def run(feeds: dict[str, Array]) -> list[Array]:
            arrays = {name: np.array(array, order="C") for name, array in feeds.items()}
            tensors = [
                {"name": n, "type": str(a.dtype), "dims": list(a.shape), "bytes": a.nbytes} for n, a in arrays.items()
            ]
            answer, data = self._server.ask(
                {"model": number, "tensors": tensors}, b"".join(array.tobytes() for array in arrays.values())
            )
            found, at = [], 0
            for entry in answer["tensors"]:
                part = data[at : at + entry["bytes"]]
                found.append(np.frombuffer(part, entry["type"]).reshape(entry["dims"]))
                at += entry["bytes"]
            return found

        return run


class NodeExecutor(JavascriptExecutor):
    """`onnx-node`."""

    name = "onnx-node"
    package = "onnxruntime-node"


class WasmExecutor(JavascriptExecutor):
    """`onnx-wasm`: what runs in a browser, without one."""

    name = "onnx-wasm"
    package = "onnxruntime-web"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
