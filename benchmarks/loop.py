"""The loop's bars: `python -m benchmarks.loop [--quick]`.

The runner against a bare scan and against a loop in Python, eight seeds in one program
against eight runs, and the second start of a process against the first.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from . import record
from .harness import race, say


LIMIT, RUNNER = "limit: jitted scan", "djx.run.run"

TITLES = {
    "mlp": "MLP 8-64-64-1, batch 8, adam",
    "spiral_ode": "Neural ODE 2-64-64-2, Tsit5, tolerance 1e-3, 20 points, batch 32",
}


def steps_race(subject: str, at_most: float, seconds: dict[str, float], turns: int):
    """The runner's time per step over the limit's; a group and its bar."""
    from . import loop_contestants as lc

    each = lc.seconds_per_step(subject)
    say(f"{subject}: about {each * 1e6:.1f} µs per step")

    def steps(who: str) -> int:
        return -(-int(seconds[who] / each) // 1000) * 1000

    naive = max(steps("naive") // 5, 100)
    contestants = [
        lc.limit(subject, steps("limit")),
        lc.runner(subject, steps("runner")),
        lc.naive(subject, naive),
    ]
    taken = race(contestants, turns)
    rates = {
        name: [turn["wall"] / turn["steps"] for turn in one["turns"]]
        for name, one in taken.items()
    }
    middle = {name: median(r) for name, r in rates.items()}
    pairs = zip(rates[RUNNER], rates[LIMIT], strict=True)
    notes = (
        "The runner keeps every step's metrics, evaluates every "
        f"{lc.EVAL_EVERY} steps and at the end, and saves by the default policy; its "
        "wall time runs from the first dispatch to the last save. The loop in Python "
        "draws its batch with numpy and asks for the loss at every step."
    )
    group = {
        "title": TITLES[subject],
        "notes": notes,
        "per": "step",
        "columns": ["loss"],
        "contestants": taken,
        "seconds_per_step": rates,
        "naive_over_limit": middle["loop in Python"] / middle[LIMIT],
    }
    bar = record.bar(
        f"{subject}: runner / limit, per step",
        middle[RUNNER] / middle[LIMIT],
        at_most,
        turn_by_turn=[a / b for a, b in pairs],
        of_least=min(rates[RUNNER]) / min(rates[LIMIT]),
    )
    return group, [bar]


def seeds_race(steps: int, turns: int):
    """Eight seeds in one program; a group and its bars."""
    from . import loop_seeds

    taken = race(loop_seeds.contestants(steps), turns)
    batched, alone = taken["one program, map"], taken["eight runs"]
    vmapped = taken["one program, vmap"]["median_wall"] / alone["median_wall"]
    last = batched["turns"][-1]
    same = last["digests"] == alone["turns"][-1]["digests"]
    count = sum(n for name, n in last["compilations"].items() if "advance" in name)
    notes = (
        f"{steps} steps of the neural ODE for each of {loop_seeds.SEEDS} seeds, on two "
        f"CPU devices; a turn is all seeds, compilation apart. vmap / eight runs: "
        f"{vmapped:.3g}. States of map "
        + ("equal those of the runs alone bit for bit." if same else "DIFFER.")
    )
    group = {"title": "Eight seeds", "notes": notes, "contestants": taken}
    ratio = batched["median_wall"] / alone["median_wall"]
    bars = [
        record.bar("eight seeds, map / eight runs", ratio, 0.75, vmap=vmapped),
        record.bar("compilations of the eight seeds' steps", count, 1, same_bits=same),
    ]
    return group, bars


def start_race(turns: int):
    """Two starts of a process; a group and its bar."""
    from . import loop_start

    taken = race(loop_start.contestants(), turns)
    cold, warm = taken["empty cache"], taken["filled cache"]
    ratio = warm["median_wall"] / cold["median_wall"]
    command = " ".join(("experiments.run", loop_start.CONFIG, *loop_start.OVERRIDES))
    notes = (
        f"`{command}`: seconds from the start of the process to the end of the first "
        "arm's first chunk. Import: JAX, djx and the experiment. Trace: all arms. "
        "Compile: the first arm. Process: to the end of all arms and the report."
    )
    columns = ["import", "trace", "compile", "other", "process"]
    group = {"title": "Warm start", "notes": notes, "columns": columns}
    bar = record.bar("time to first step, filled / empty cache", ratio, 0.5)
    return group | {"contestants": taken}, [bar]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop")
    parser.add_argument("--quick", action="store_true", help="a trial: nothing is kept")
    parser.add_argument("--turns", type=int, default=3, help="of the time per step")
    parser.add_argument("--slow-turns", type=int, default=2, help="of seeds and starts")
    parser.add_argument("--only", nargs="*", default=["mlp", "ode", "seeds", "start"])
    args = parser.parse_args()

    environment = record.stamp()
    cache = tempfile.mkdtemp()
    os.environ["DJX_CACHE_DIR"] = cache
    import jax

    jax.config.update("jax_num_cpu_devices", 2)
    quick = args.quick
    turns, slow = (2, 1) if quick else (args.turns, args.slow_turns)
    seconds = {"limit": 10.0, "runner": 32.0, "naive": 5.0}
    if quick:
        seconds = {"limit": 1.0, "runner": 3.0, "naive": 1.0}
    races: dict[str, Any] = {
        "mlp": lambda: steps_race("mlp", 1.10, seconds, turns),
        "ode": lambda: steps_race("spiral_ode", 1.05, seconds, turns),
        "seeds": lambda: seeds_race(100 if quick else 1000, slow),
        "start": lambda: start_race(slow),
    }
    groups, bars = [], []
    try:
        for name in args.only:
            group, own = races[name]()
            groups.append(group)
            bars += own
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    whole = {
        "race": "-".join(
            ["loop", *args.only] if len(groups) < len(races) else ["loop"]
        ),
        "title": "The loop",
        "environment": environment,
        "bars": bars,
        "groups": groups,
    }
    if quick:
        print(record.markdown(whole, "a trial, not kept"))
    else:
        print(record.write(whole).relative_to(Path.cwd()).as_posix())


if __name__ == "__main__":
    main()
