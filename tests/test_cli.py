"""The command line as a user meets it: results, exit codes, bad input, and what survives an interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from ska_edge import Learner, load
from ska_edge.cli import main


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def call_json(*words: object) -> dict[str, Any]:
    result = call(*words, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def refused(*words: object, code: int = 2) -> str:
    """The message of a call that must fail with this exit code, on standard error, without a traceback."""
    result = call(*words)
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert not result.stdout
    return str(result.stderr)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "digits.ska"
    call_json("train", "--dataset", "digits", "--passes", 2, "--out", path)
    return path


def write_csv(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


class TestTrain:
    def test_keys_and_health(self, tmp_path: Path) -> None:
        result = call_json("train", "--dataset", "digits", "--passes", 4, "--out", tmp_path / "m.ska")
        keys = "model program_digest state_digest samples weight_updates weights_changed saturated accuracy seconds"
        assert set(keys.split()) <= set(result)
        assert result["accuracy"] > 0.9
        assert result["weights_changed"] >= 0.2
        assert result["saturated"] <= 0.2
        assert result["samples"] == 4 * 1437
        assert result["weight_updates"] == 4 * 1437 * 1184
        program = load(tmp_path / "m.ska")
        assert (program.program_digest, program.state_digest) == (result["program_digest"], result["state_digest"])

    def test_same_seed_same_bits(self, tmp_path: Path) -> None:
        digests = [
            call_json("train", "--dataset", "digits", "--passes", 1, "--seed", seed, "--out", tmp_path / f"{i}.ska")
            for i, seed in enumerate((3, 3, 4))
        ]
        assert digests[0]["state_digest"] == digests[1]["state_digest"] != digests[2]["state_digest"]

    def test_resume_goes_on(self, tmp_path: Path, model: Path) -> None:
        again = tmp_path / "again.ska"
        result = call_json("train", "--dataset", "digits", "--resume", model, "--passes", 1, "--out", again)
        assert result["program_digest"] == load(model).program_digest
        assert result["state_digest"] != load(model).state_digest

    @pytest.mark.parametrize("profile", ["w16d15", "w16d8", "w4d8"])
    def test_profiles_learn(self, tmp_path: Path, profile: str) -> None:
        words = ("train", "--dataset", "digits", "--passes", 3, "--profile", profile, "--out", tmp_path / "m.ska")
        assert call_json(*words)["accuracy"] > 0.85

    def test_own_csv_and_npz(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 3, 300)
        samples = rng.normal(labels[:, np.newaxis] * 2.0, 0.5, (300, 5))
        rows = [",".join(map(str, (*sample, label))) for sample, label in zip(samples, labels, strict=True)]
        file = write_csv(tmp_path / "mine.csv", ["a,b,c,d,e,class", *rows])
        result = call_json("train", "--data", file, "--label-column", "class", "--out", tmp_path / "csv.ska")
        assert result["accuracy"] > 0.9
        np.savez(tmp_path / "mine.npz", samples=samples, labels=labels)
        call_json("train", "--data", tmp_path / "mine.npz", "--passes", 1, "--out", tmp_path / "npz.ska")
        predicted = call_json("predict", tmp_path / "csv.ska", "--data", file)
        assert len(predicted["predictions"]) == 300
        assert predicted["accuracy"] > 0.9

    def test_published_rule_learns_without_labels_and_warns(self, tmp_path: Path) -> None:
        words = ("train", "--dataset", "digits", "--rule", "published", "--passes", 3, "--out", tmp_path / "m.ska")
        result = call(*words, "--json")
        assert result.exit_code == 0
        assert json.loads(result.stdout)["weights_changed"] > 0.2
        assert "saturated" in result.stderr


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--dataset", "cats"], "allowed are digits, mnist, ecg"),
            ([], "give either --dataset NAME"),
            (["--dataset", "digits", "--profile", "w5"], "allowed are w16d15, w16d8, w8d8, w4d8"),
            (["--dataset", "digits", "--rule", "magic"], "allowed are published, homeostatic"),
            (["--dataset", "digits", "--rate", "nan"], "rate nan"),
            (["--dataset", "digits", "--rate", "-1"], "rate -1"),
            (["--dataset", "digits", "--rate", "1e9"], "less than 5"),
            (["--dataset", "digits", "--forward-steps", "1"], "allowed are 2 to"),
            (["--dataset", "digits", "--forward-steps", "1000000"], "allowed are 2 to"),
            (["--dataset", "digits", "--shape", "64-x-10"], "layer 'x': wanted a width"),
            (["--dataset", "digits", "--shape", "64-16-9"], "classes 0 to 8"),
            (["--dataset", "digits", "--shape", "63-16-10"], "63 inputs, digits has 64 features"),
            (["--dataset", "digits", "--heads", "loud"], "allowed are learnt, code"),
            (["--dataset", "digits", "--executor", "abacus"], "allowed are oracle, numba"),
            (["--dataset", "digits", "--passes", "0"], "0 is not in the range"),
            (["--data", "none.csv"], "none.csv: cannot be read"),
            (["--data", "none.txt"], "allowed are .csv and .npz"),
            (["--dataset", "digits", "--resume", "none.ska"], "none.ska: cannot be read"),
            (["--dataset", "digits", "--out", "/nowhere/m.ska"], "/nowhere/m.ska: cannot be written"),
        ],
    )
    def test_train(self, words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert said in refused("train", *words)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("rows", "said"),
        [
            (["1,2,0", "1,nan,1"], "sample 1, feature 1 is nan"),
            (["1,2,0", "inf,2,1"], "sample 1, feature 0 is inf"),
            (["1,2,0", "1,1"], "line 2 has 2 fields"),
            (["1,2,0", "1,x,1"], "line 2"),
            (["1,2,0.5", "1,2,1"], "labels must be whole numbers"),
            (["1,2,-2", "1,2,1"], "labels must be whole numbers"),
            (["a,b,c"], "no samples"),
            ([""], "empty"),
            (["1,2,0", "1,3,1"], "cannot be split"),
        ],
    )
    def test_bad_csv(self, rows: list[str], said: str, tmp_path: Path) -> None:
        file = write_csv(tmp_path / "bad.csv", rows)
        assert said in refused("train", "--data", file, "--out", tmp_path / "m.ska")
        assert not (tmp_path / "m.ska").exists()

    def test_json_error_is_one_object(self) -> None:
        result = call("show", "none.ska", "--json")
        assert result.exit_code == 2
        assert "none.ska" in json.loads(result.stdout)["error"]

    def test_damaged_model(self, model: Path, tmp_path: Path) -> None:
        data = model.read_bytes()
        for name, bad in {"cut": data[:-7], "flip": data[:99] + bytes([data[99] ^ 1]) + data[100:], "no": b""}.items():
            path = tmp_path / f"{name}.ska"
            path.write_bytes(bad)
            for verb in ("show", "verify"):
                assert str(path) in refused(verb, path)

    def test_wrong_width(self, model: Path, tmp_path: Path) -> None:
        file = write_csv(tmp_path / "narrow.csv", ["1,2,0", "3,4,1"])
        assert "takes rows of 64 features" in refused("predict", model, "--data", file)

    def test_label_out_of_range(self, model: Path, tmp_path: Path) -> None:
        row = ",".join(["0"] * 64)
        file = write_csv(tmp_path / "labels.csv", [f"{row},10"])
        assert "classes 0 to 9" in refused("verify", model, "--data", file)

    def test_missing_published_data(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("SKA_EDGE_DATA", str(tmp_path))
        assert "set SKA_EDGE_DATA" in refused("train", "--dataset", "mnist")


class TestVerifyAndShow:
    def test_verify_says_whom_it_spares(self, model: Path) -> None:
        words = call("verify", model, "--against", "onnx-reference", "--samples", 104).stdout
        assert "onnx-reference: slow; only the first 100 of 104 samples (--full: all)" in words
        found = call_json("verify", model, "--against", "onnx-reference", "--samples", 104)["executors"]
        assert {name: (each["samples"], each["traced"]) for name, each in found.items()} == {
            "oracle": (104, 4),
            "onnx-reference": (100, 4),
        }
        assert found["onnx-reference"]["state_digest"] != found["oracle"]["state_digest"]
        assert all(each["mismatches"] == 0 for each in found.values())

    def test_verify_digits(self, model: Path) -> None:
        result = call_json("verify", model, "--against", "numba", "--samples", 200)
        assert set(result["executors"]) == {"oracle", "numba"}
        assert result["skipped"] == {}
        digests = {each["state_digest"] for each in result["executors"].values()}
        assert len(digests) == 1
        for each in result["executors"].values():
            assert each["weight_updates"] == 200 * 1184
            assert each["mismatches"] == 0

    def test_a_difference_is_found_and_placed(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from ska_edge.backends.jit import NumbaExecutor

        honest = NumbaExecutor.read

        def lying(self: NumbaExecutor, tensor: str) -> Any:
            values = honest(self, tensor).copy()
            if tensor == "W1":
                values[3, 7] += 1
            return values

        monkeypatch.setattr(NumbaExecutor, "read", lying)
        result = call("verify", model, "--against", "numba", "--samples", 2)
        assert result.exit_code == 1
        assert "W1[3, 7]" in result.stdout
        assert "NOT equal" in result.stdout

    def test_unknown_executor(self, model: Path) -> None:
        assert "allowed are oracle, numba, " in refused("verify", model, "--against", "abacus")

    def test_show(self, model: Path) -> None:
        shown = call_json("show", model)
        assert all(bound["margin_bits"] >= 0 for bound in shown["proof"])
        assert shown["memory"]["weights"] == 1024
        text = call("show", model).stdout
        assert "flow" in text
        assert "range proof holds" in text


def test_interrupt_keeps_the_last_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "m.ska"
    words = [sys.executable, "-m", "ska_edge", "train", "--dataset", "digits", "--passes", "100000", "--out", str(path)]
    child = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=os.environ)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (path.exists() and load(path).meta.get("passes", 0) >= 1):
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 130
    assert "Traceback" not in errors
    assert load(path).meta["passes"] >= 1
    assert [file.name for file in tmp_path.iterdir()] == ["m.ska"]
    Learner.load(path, "oracle").learn_one([0.0] * 64, 3)


def test_compiled_code_comes_from_the_cache(model: Path) -> None:
    """A second process loads what the first compiled (its speed is the benchmark's business)."""
    code = (
        "import sys; from ska_edge import Learner; from ska_edge.backends.jit import kernels;"
        "Learner.load(sys.argv[1]).learn_one([0.0] * 64, 3);"
        "stats = kernels.stream.stats; print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))"
    )
    outputs = [
        subprocess.run([sys.executable, "-c", code, str(model)], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert outputs[1].split() == ["1", "0"]
