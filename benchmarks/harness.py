"""The harness that every race shares.

Contestants take turns (A B C A B C ...), so a machine that slows down slows all of
them; medians are compared. Time to get ready (tracing, compiling) stands apart. A
contestant is in this process, or, where its pins clash with ours, a `Peer` in a virtual
environment of its own, in the same turns.
"""

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import platformdirs


RESULTS = Path(__file__).parent / "results"


@dataclasses.dataclass
class Contestant:
    """One entry of a race.

    `setup` makes everything ready and returns a function that does one repetition and
    returns (units of work done, seconds), or just the units to be timed from outside.
    """

    name: str
    setup: Callable[[], Callable[[], Any]]


@dataclasses.dataclass
class Peer:
    """A contestant that runs elsewhere.

    `script` is a Python file that prints "ready", then for every line it reads does
    one repetition and prints JSON: {"units": ..., "wall": ..., "cpu": ...}.
    """

    name: str
    requirements: Sequence[str]
    script: Path

    def setup(self) -> Callable[[], dict[str, float]]:
        """Makes the virtual environment where it is missing, and starts the worker."""
        home = Path(platformdirs.user_cache_dir("djx")) / "bench-venvs" / self.name
        python = home / "bin" / "python"
        if not (home / "done").exists():
            venv.create(home, with_pip=True, clear=True)
            command = [str(python), "-m", "pip", "install", "-q", *self.requirements]
            subprocess.run(command, check=True)
            (home / "done").write_text("\n".join(self.requirements))
        worker = subprocess.Popen(
            [str(python), str(self.script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert worker.stdin is not None and worker.stdout is not None
        given, taken = worker.stdin, worker.stdout
        if taken.readline().strip() != "ready":
            raise RuntimeError(f"{self.name}: its worker did not get ready")

        def repeat() -> dict[str, float]:
            given.write("run\n")
            given.flush()
            return json.loads(taken.readline())

        return repeat


def race(
    contestants: Sequence[Contestant | Peer], repetitions: int
) -> dict[str, dict[str, Any]]:
    """Runs contestants in turns.

    Args:
        contestants: the entries.
        repetitions: turns of each.

    Returns:
        Per name: median and least wall seconds per unit, CPU seconds per unit, seconds
        of setup, and the process's peak memory after its turns, in MiB.
    """
    ready = {}
    for one in contestants:
        began = time.perf_counter()
        ready[one.name] = (one.setup(), time.perf_counter() - began)
    turns: dict[str, list[dict[str, float]]] = {one.name: [] for one in contestants}
    peak = {}
    for _ in range(repetitions):
        for one in contestants:
            turns[one.name].append(_turn(ready[one.name][0]))
            peak[one.name] = _peak_mib()
    return {
        name: {
            "wall_per_unit": statistics.median(t["wall"] for t in found),
            "wall_per_unit_min": min(t["wall"] for t in found),
            "cpu_per_unit": statistics.median(t["cpu"] for t in found),
            "units": found[0]["units"],
            "repetitions": repetitions,
            "setup_seconds": ready[name][1],
            "peak_mib": peak[name],
        }
        for name, found in turns.items()
    }


def _turn(repeat: Callable[[], Any]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    done = repeat()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if isinstance(done, dict):
        units, wall, cpu = done["units"], done["wall"], done["cpu"]
    elif isinstance(done, tuple):
        units, wall = done
    else:
        units = done
    return {"units": units, "wall": wall / units, "cpu": cpu / units}


def _peak_mib() -> float:
    """High-water mark of this process so far: a later contestant includes earlier."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def environment() -> dict[str, Any]:
    """What the race ran on."""
    packages = ("jax", "jaxlib", "equinox", "diffrax", "optax", "orbax-checkpoint")
    return {
        "date": datetime.date.today().isoformat(),
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return done.stdout.strip() or None


def bar(name: str, measured: float, at_most: float, note: str = "") -> dict[str, Any]:
    """A stated bar and whether it was met."""
    return {
        "bar": name,
        "measured": measured,
        "at_most": at_most,
        "met": measured <= at_most,
        "note": note,
    }


def write(name: str, title: str, body: dict[str, Any]) -> Path:
    """Writes a race's JSON, dated, and its Markdown table, the newest.

    Args:
        name: the race.
        title: one line for the table.
        body: `environment`, `bars`, and `races`: per race, what `race` returned.

    Returns:
        The JSON's path.
    """
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{body['environment']['date']}.json"
    path.write_text(json.dumps(body, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(table(title, body))
    print(table(title, body))
    return path


def table(title: str, body: dict[str, Any]) -> str:
    """Renders a race's JSON as Markdown."""
    stamp = body["environment"]
    lines = [
        f"# {title}",
        "",
        f"{stamp['date']}, {stamp['cores']} cores of {stamp['cpu']}, jax "
        f"{stamp['packages']['jax']}, commit {stamp['commit']}. Medians of interleaved "
        "repetitions.",
        "",
        "| bar | measured | at most | met | note |",
        "|---|---|---|---|---|",
    ]
    for row in body["bars"]:
        met = "yes" if row["met"] else "**no**"
        lines.append(
            f"| {row['bar']} | {row['measured']:.3g} | {row['at_most']:g} | {met} "
            f"| {row['note']} |"
        )
    head = "| contestant | wall us/unit | least | CPU us/unit | units | setup s |"
    for race_name, entries in body["races"].items():
        lines += ["", f"## {race_name}", "", head, "|---|---|---|---|---|---|"]
        for name, row in entries.items():
            lines.append(
                f"| {name} | {1e6 * row['wall_per_unit']:.4g} "
                f"| {1e6 * row['wall_per_unit_min']:.4g} "
                f"| {1e6 * row['cpu_per_unit']:.4g} | {row['units']:g} "
                f"| {row['setup_seconds']:.1f} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit("run a race: python -m benchmarks.loop")
