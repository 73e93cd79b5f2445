# Two commands: `make demo` and `make test`.  Both set up .venv first, once.
.PHONY: demo test verify mutants clean help

help:
	@echo "make demo     set up and run the main job: learn the digits in integers, write out/demo/index.html"
	@echo "make test     set up and run every check: lint, types, tests, the examples in the docs"
	@echo "make verify   learn the digits in the oracle and Numba (10^8 weight updates), then in every executor (10^6)"
	@echo "make mutants  change every constant in the shipped kernels; some test must notice each time"
	@echo "make clean    remove what was built"

demo:
	@tools/setup.sh
	.venv/bin/ska-edge demo --out out/demo

test:
	@tools/setup.sh test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest -q --numprocesses auto

UPDATES = 100000000
verify:
	@tools/setup.sh
	@mkdir -p out
	.venv/bin/ska-edge train --dataset digits --passes 1 --out out/verify.ska
	.venv/bin/ska-edge verify out/verify.ska --against numba --updates $(UPDATES)
	.venv/bin/ska-edge verify out/verify.ska --against all --updates 1000000

mutants:
	@tools/setup.sh test
	.venv/bin/python tools/mutate.py

clean:
	rm -rf .venv out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
