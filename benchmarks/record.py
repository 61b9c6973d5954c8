"""A race's record: bars, the environment's stamp, JSON, and the table made from it."""

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from statistics import median
from typing import Any

from .harness import ROOT


RESULTS = Path(__file__).parent / "results"

_PACKAGES = (
    "jax",
    "jaxlib",
    "equinox",
    "diffrax",
    "optax",
    "orbax-checkpoint",
    "numpy",
)

_LEGEND = """\
Contestants took turns. Wall: seconds of one turn. CPU: seconds of all threads in the
whole turn, also of what it compiled; of a call, where times are per call. Set-up:
building and compiling, not part of the wall time. Peak: the high-water mark of the
process's resident memory, which contestants in one process share, so that it only grows
down a table. Others: cores that other processes kept busy in the worst turn; far from
0, wall times say little.
"""


def bar(
    what: str,
    measured: float,
    at_most: float | None = None,
    *,
    at_least: float | None = None,
    **details: Any,
) -> dict[str, Any]:
    """A bar, and whether it is passed; NaN passes none."""
    limits = {"at_most": at_most, "at_least": at_least}
    limits = {which: limit for which, limit in limits.items() if limit is not None}
    if not limits:
        raise ValueError(f"{what}: a bar needs at_most or at_least")
    below = at_most is None or measured <= at_most
    above = at_least is None or measured >= at_least
    stated = {"bar": what, "measured": measured, **limits}
    return stated | {"passed": bool(below and above)} | details


def stamp(packages: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the race ran on; no names of machines or paths on them."""
    return {
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "packages": {name: _version(name) for name in (*_PACKAGES, *packages)},
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": len((_git("status", "--porcelain") or "").splitlines()),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*args: str) -> str | None:
    command = ["git", "-C", str(ROOT), *args]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def write(record: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Writes `<race>-<date>.json`, and `<race>.md` from it.

    Args:
        record: `race`, `title`, `environment`, `groups`, `bars`.
        folder: where to.

    Returns:
        The path of the JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['race']}-{record['environment']['date']}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    table = folder / f"{record['race']}.md"
    table.write_text(markdown(json.loads(path.read_text()), path.name))
    return path


def markdown(record: dict[str, Any], source: str) -> str:
    """The table of a record.

    Args:
        record: as in the JSON.
        source: the JSON's name.

    Returns:
        Markdown.
    """
    env = record["environment"]
    versions = ", ".join(f"{k} {v}" for k, v in env["packages"].items() if v)
    lines = [
        f"# {record['title']}",
        "",
        f"From `{source}`. {env['date']}, {env['cpu']}, {env['cores']} cores, "
        f"{env['system']}, Python {env['python']}, {versions}; commit "
        f"{(env['commit'] or 'unknown')[:12]} with {env['changed_files']} changed "
        f"files; load at the start {env['load_at_start']}.",
        "",
        _LEGEND,
        "| bar | measured | limit | |",
        "|---|---:|---:|---|",
    ]
    for one in record["bars"]:
        word = "passed" if one["passed"] else "**missed**"
        measured = f"{one['measured']:.3g}"
        limits = [k for k in ("at_least", "at_most") if k in one]
        limit = " and ".join(f"{k.replace('_', ' ')} {one[k]}" for k in limits)
        lines.append(f"| {one['bar']} | {measured} | {limit} | {word} |")
    for group in record["groups"]:
        lines += ["", f"## {group['title']}", "", group["notes"], "", *_table(group)]
    return "\n".join(lines) + "\n"


def _table(group: dict[str, Any]) -> list[str]:
    unit = group.get("per", "turn")
    scale, name = (1, "s") if unit == "turn" else (1e6, "µs")
    extra = group.get("columns", [])
    head = [
        f"{name} per {unit}, median",
        "least",
        "CPU µs" if unit == "call" else "CPU s",
        "set-up s",
        "peak MiB",
        "others",
    ]
    head = ["", "turns", *head, *extra]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for contestant, one in group["contestants"].items():
        turns = one["turns"]
        count = 1 if unit == "turn" else turns[0][f"{unit}s"]
        cells = [contestant, str(len(turns))]
        cells += [_number(one[k] / count * scale) for k in ("median_wall", "min_wall")]
        cpu = one["median_cpu"]  # of a call, or of a whole turn
        cells.append(_number(cpu / count * scale if unit == "call" else cpu))
        cells += [_number(one[k]) for k in ("setup", "peak", "others")]
        for key in extra:
            values = [turn[key] for turn in turns if key in turn]
            cells.append(_number(median(values)) if values else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
