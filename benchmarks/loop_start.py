"""How long a fresh process takes to its first step, with and without a filled cache."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .harness import Contestant, Numbers, ROOT, Run


CONFIG = "configs/neural_ode/smoke.toml"
OVERRIDES = ("train.steps=10",)


def contestants() -> list[Contestant]:
    """An empty compilation cache, then the same one filled by that run."""
    folder: list[str] = []

    def cold() -> Numbers:
        clear()
        folder.append(tempfile.mkdtemp())
        return _fresh_process(folder[-1])

    def warm() -> Numbers:
        return _fresh_process(folder[-1])

    def clear() -> None:
        while folder:
            shutil.rmtree(folder.pop(), ignore_errors=True)

    def setup(run: Run):
        return lambda: run

    first = Contestant("empty cache", setup(cold))
    second = Contestant("filled cache", setup(warm), clear)
    return [first, second]


def _fresh_process(cache: str) -> Numbers:
    """Wall seconds to the first step; the whole process is told apart."""
    out = tempfile.mkdtemp()
    env = os.environ | {"DJX_CACHE_DIR": cache}
    env.pop("JAX_COMPILATION_CACHE_DIR", None)
    before = os.times()
    module = [sys.executable, "-m", "benchmarks.first_step", str(time.time())]
    try:
        done = subprocess.run(
            [*module, CONFIG, *OVERRIDES, "--out", str(Path(out) / "run")],
            env=env,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
    finally:
        shutil.rmtree(out, ignore_errors=True)
    after = os.times()
    told = json.loads(done.stdout.splitlines()[-1])
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return {"wall": told["first_step"], "cpu": cpu} | told
