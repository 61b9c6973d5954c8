"""What every race shares: contestants take turns, and one table comes out.

Standard library only at import, so that a worker in another environment can import it.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

from .meters import busy_seconds, children_seconds, peak_mib


ROOT = Path(__file__).parents[1]

Numbers = dict[str, Any]
Run = Callable[[], Numbers | None]


@dataclass
class Contestant:
    """Runs in this process.

    `setup` builds and compiles, and returns what one repetition calls. That may return
    numbers of its own; `wall` and `setup` among them replace what is measured here, for
    a contestant that compiles within its call.
    """

    name: str
    setup: Callable[[], Run]
    clear: Callable[[], None] = lambda: None
    _run: Run | None = field(default=None, init=False, repr=False)

    def begin(self) -> Numbers:
        """Sets up; says how long that took."""
        began = time.perf_counter()
        self._run = self.setup()
        return {"setup": time.perf_counter() - began}

    def measure(self) -> Numbers:
        """One repetition."""
        assert self._run is not None
        busy, wall, cpu = busy_seconds(), time.perf_counter(), time.process_time()
        children = children_seconds()
        own = self._run() or {}
        whole = time.perf_counter() - wall
        took = {"wall": whole, "cpu": time.process_time() - cpu, "peak": peak_mib()}
        mine = took["cpu"] + children_seconds() - children
        others = max(0.0, (busy_seconds() - busy - mine) / whole)
        return took | own | {"others": others}

    def end(self) -> None:
        """Lets go of what `setup` made."""
        self._run = None
        self.clear()


@dataclass
class Isolated:
    """Runs in a process of its own for the whole race, so that its memory is its own.

    It has a virtual environment of its own, too, if it has requirements; else it runs
    where this process does. `where` is `"package.module:function"`; the function is a
    `setup` as above.
    """

    name: str
    where: str
    requirements: Sequence[str] = ()
    arguments: Sequence[str] = ()
    python: str = sys.executable
    _process: Any = field(default=None, init=False, repr=False)

    def begin(self) -> Numbers:
        """Makes the environment if need be, starts the worker, sets up."""
        python = self.python
        if self.requirements:
            python = environment_python(self.requirements, python)
        command = [python, "-m", "benchmarks.harness", self.where, *self.arguments]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self._ask("begin")

    def measure(self) -> Numbers:
        """One repetition."""
        return self._ask("run")

    def end(self) -> None:
        """Ends the worker."""
        if self._process is not None:
            self._process.communicate()

    def _ask(self, what: str) -> Numbers:
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name}: the worker died, see above")
        return json.loads(answer)


def environment_python(requirements: Sequence[str], python: str) -> str:
    """The interpreter of a virtual environment that has the requirements."""
    from platformdirs import user_cache_path

    version = subprocess.run([python, "-V"], capture_output=True, text=True).stdout
    key = sha256(json.dumps([version, *requirements]).encode()).hexdigest()[:16]
    folder = user_cache_path("djx") / "bench-venvs" / key
    inside, whole = folder / "bin" / "python", folder / "whole"
    if not whole.exists():
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        pip = [inside, "-m", "pip", "install", "--quiet", *requirements]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        whole.write_text("\n".join(requirements))
    return str(inside)


def serve(where: str, arguments: Sequence[str]) -> None:
    """The worker's side: "begin" and "run" come in as JSON lines, numbers go out."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed must not land among the answers
    module, name = where.split(":")
    setup = getattr(importlib.import_module(module), name)
    contestant = Contestant(where, lambda: setup(*arguments))
    for line in sys.stdin:
        begin = json.loads(line) == "begin"
        answer = contestant.begin() if begin else contestant.measure()
        print(json.dumps(answer), file=out, flush=True)


def race(
    contestants: Sequence[Contestant | Isolated], repetitions: int
) -> dict[str, Numbers]:
    """Takes turns A B C A B C, after every contestant has been set up.

    Args:
        contestants: who takes part.
        repetitions: turns of each.

    Returns:
        By name: the median and least wall seconds, CPU seconds, set-up seconds, peak
        memory, and every repetition's numbers.
    """
    turns: dict[str, list[Numbers]] = {c.name: [] for c in contestants}
    try:
        setup = {c.name: c.begin()["setup"] for c in contestants}
        for turn in range(repetitions):
            for one in contestants:
                turns[one.name].append(one.measure())
                say(f"{turn + 1}/{repetitions} {one.name}: {turns[one.name][-1]}")
    finally:
        for one in contestants:
            one.end()
    return {name: _summary(setup[name], taken) for name, taken in turns.items()}


def _summary(setup: float, turns: list[Numbers]) -> Numbers:
    middle = {k: median(t[k] for t in turns) for k in ("wall", "cpu")}
    return {
        "median_wall": middle["wall"],
        "min_wall": min(t["wall"] for t in turns),
        "median_cpu": middle["cpu"],
        "setup": setup + median(t.get("setup", 0.0) for t in turns),
        "peak": max(t["peak"] for t in turns),
        "others": max(t["others"] for t in turns),
        "turns": turns,
    }


def say(message: str) -> None:
    """Progress, on standard error."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
