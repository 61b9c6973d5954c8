"""Runs the configs of a tier and rewrites RESULTS.md: `python -m experiments.claims`.

`--tier smoke` (the default) takes minutes, `--tier full` measures every published
claim. Exit status 3 if a claim fails, 1 if a run does.
"""

import argparse
import datetime
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from djx.run._load import read_table


_HEAD = """# Results

Written by `python -m experiments.claims [--tier full]`: every claim of every config,
measured. A claim that fails stays in the table.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the tier's configs, one process each, and rewrites its section."""
    parser = argparse.ArgumentParser(prog="python -m experiments.claims")
    parser.add_argument("--tier", choices=["smoke", "full"], default="smoke")
    parser.add_argument("--out", default="runs/claims", help="where run folders go")
    parser.add_argument("--results", default="RESULTS.md")
    args = parser.parse_args(arguments)
    rows, status = [], 0
    for path in configs_of(args.tier):
        out = Path(args.out) / path.parent.name / path.stem
        command = [sys.executable, "-m", "experiments.run", str(path), "--check"]
        done = subprocess.run([*command, "--out", str(out), "--resume", "never"])
        if done.returncode not in (0, 3):
            rows.append(f"| {path} | run failed, exit {done.returncode} | | | | | |")
            status = 1
            continue
        status = status or done.returncode
        rows += _rows(path, out)
    results = Path(args.results)
    old = results.read_text() if results.exists() else _HEAD
    results.write_text(with_section(old, args.tier, _section(args.tier, rows)))
    return status


def configs_of(tier: str, root: str | Path = "configs") -> list[Path]:
    """The configs of a tier.

    Args:
        tier: "smoke" or "full".
        root: the folder of all configs.

    Returns:
        Their paths, sorted.
    """
    found = sorted(Path(root).glob("*/*.toml"))
    return [path for path in found if read_table(path).get("tier") == tier]


def with_section(text: str, tier: str, section: str) -> str:
    """Replaces one tier's section of RESULTS.md, or adds it.

    Args:
        text: the file so far.
        tier: whose section.
        section: the new one.

    Returns:
        The file's new text.
    """
    begin, end = f"<!-- {tier} -->", f"<!-- end {tier} -->"
    block = f"{begin}\n{section}{end}\n"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}\n", re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: block, text)
    return f"{text.rstrip()}\n\n{block}"


def _section(tier: str, rows: list[str]) -> str:
    day = datetime.date.today().isoformat()
    titles = "config claim measure claimed measured_(over_seeds) verdict source".split()
    head = f"| {' | '.join(titles)} |".replace("_", " ")
    lines = [
        f"## {tier}",
        "",
        f"Measured on {day}.",
        "",
        head,
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *rows]) + "\n"


def _rows(path: Path, out: Path) -> list[str]:
    result: dict[str, Any] = json.loads((out / "result.json").read_text())
    environment = json.loads((out / "environment.json").read_text())
    total, budget = result["seconds"]["total"], read_table(path).get("budget_seconds")
    where = f"{environment['cpu_count']} x {environment['device_kind']}"
    taken = f"{total:.0f} s on {where}"
    late = ""
    if isinstance(budget, int | float):
        taken += f", of {budget:.0f} s"
        late = "**over its budget**" if total > budget else ""
    rows = [f"| {path} | | | | {taken} | {late} | |"]
    for claim in json.loads((out / "claims.json").read_text()):
        value, low, high = (_number(claim[k]) for k in ("value", "low", "high"))
        verdict = "holds" if claim["holds"] else "**fails**"
        measure = claim["measure"].replace("|", "\\|")
        rows.append(
            f"| | {claim['name']} | `{measure}` | {claim['bound']} "
            f"| {value} ({low} .. {high}) | {verdict} | {claim['paper']} |"
        )
    return rows


def _number(value: float | None) -> str:
    return "not a number" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
