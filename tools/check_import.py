"""Fail unless `import ska_edge` is cheap: under 0.3 s of CPU (the least of five runs), without any heavy package."""

import subprocess
import sys

LIMIT_SECONDS = 0.3
HEAVY = ("numba", "llvmlite", "onnx", "onnxruntime", "lava", "matplotlib", "sklearn", "scipy", "rich", "jinja2")
CODE = f"""
import sys, time
start = time.process_time()
import ska_edge
from ska_edge import Network, Program
print(time.process_time() - start)
print(*[name for name in {HEAVY!r} if name in sys.modules])
"""

runs = [subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True) for _ in range(5)]
seconds = min(float(run.stdout.split("\n")[0]) for run in runs)  # others may share the core
loaded = runs[0].stdout.split("\n")[1]
print(f"import ska_edge: {seconds:.3f} s{f', and it loads {loaded}' if loaded else ''}")
sys.exit(bool(loaded) or seconds > LIMIT_SECONDS)
