"""The loop against the bare compiled scan it wraps: `python -m benchmarks.loop`.

Every contestant of a race makes the same step. The limit is a donated `jax.jit` of a
`lax.scan` over 100 steps, which keeps nothing, evaluates nothing and saves nothing.
"""

import argparse
import functools as ft
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any


os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")  # for the sharded seeds; else unused

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

from benchmarks import harness  # noqa: E402
from benchmarks.harness import Contestant  # noqa: E402
from benchmarks.subjects import mlp, spiral_ode  # noqa: E402
from djx.core import stream_key  # noqa: E402
from djx.run import load_table, run, Spec  # noqa: E402


BATCH = {"mlp": 8, "spiral_ode": 32}


def spec_of(experiment: str, steps: int, **changes: Any) -> Spec:
    """A config with the default checkpoint policy and log_every = 100."""
    train = {"steps": steps, "batch": BATCH[experiment], "log_every": 100}
    train |= {"eval_every": max(steps // 10, 100)} | changes.pop("train", {})
    table = {"experiment": experiment, "train": train, **changes}
    return load_table(table, f"{experiment}.toml", package="benchmarks.subjects")


def bare_scan(experiment: str, steps: int) -> Contestant:
    """The limit."""

    def setup():
        spec = spec_of(experiment, steps)
        parts = spec.build(spec.common)
        root = jax.random.key(0)
        leaves, treedef = jax.tree.flatten(parts.init(stream_key(root, "init")))

        def body(leaves, index):
            state = jax.tree.unflatten(treedef, leaves)
            key = stream_key(root, "step", index)
            state, metrics = parts.step(state, index, key)
            return jax.tree.leaves(state), metrics

        def chunk(leaves, start):
            return jax.lax.scan(body, leaves, start + jnp.arange(100))

        compiled = jax.jit(chunk, donate_argnums=0)
        held = [compiled(leaves, 0)[0]]

        def repeat():
            leaves = held[0]
            for start in range(0, steps, 100):
                leaves, _ = compiled(leaves, start)
            held[0] = jax.block_until_ready(leaves)
            return steps

        return repeat

    return Contestant("bare donated scan (limit)", setup)


def whole_runner(experiment: str, steps: int, name: str, **changes: Any) -> Contestant:
    """`run` with its files, evaluations and checkpoints; its loop's seconds."""

    def setup():
        spec = spec_of(experiment, steps, **changes)

        def repeat():
            with tempfile.TemporaryDirectory() as out:
                results = run(spec, out, progress=False)
            return steps, results.seconds["main: run"]

        return repeat

    return Contestant(name, setup)


def naive_loop(subject: Any, batch: int, steps: int) -> Contestant:
    """What one writes first: filter_jit, a numpy batch, float(loss) at every step."""

    def setup():
        model = subject.init(jax.random.key(0))
        optimiser = optax.adam(1e-3)
        state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))
        draw = np.random.default_rng(0)
        width = 8 if subject is mlp else 2

        @eqx.filter_jit
        def step(model, state, x):
            loss, grads = eqx.filter_value_and_grad(subject.error)(model, x)
            updates, state = optimiser.update(grads, state)
            return eqx.apply_updates(model, updates), state, loss

        def repeat(count=steps):
            nonlocal model, state
            for _ in range(count):
                x = draw.uniform(-1, 1, (batch, width)).astype(np.float32)
                model, state, loss = step(model, state, x)
                float(loss)
            return count

        repeat(2)
        return repeat

    return Contestant("filter_jit Python loop", setup)


def overhead(subject: Any, name: str, long: int, repetitions: int) -> dict[str, Any]:
    """Limit, runner and naive loop on one experiment."""
    entries = [
        bare_scan(name, long // 3 // 100 * 100),
        whole_runner(name, long, "djx runner"),
        naive_loop(subject, BATCH[name], max(long // 100, 20)),
    ]
    return harness.race(entries, repetitions)


def seeds(steps: int, repetitions: int) -> tuple[dict[str, Any], int]:
    """Eight seeds in one program against eight runs of one; units are seed-steps."""
    compilations = 0

    def together(changes):
        def setup():
            spec = spec_of("spiral_ode", steps, seeds=8, **changes)

            def repeat():
                nonlocal compilations
                results = run(spec, progress=False)
                compilations = sum("compile" in name for name in results.seconds)
                return 8 * steps, results.seconds["main: run"]

            return repeat

        return setup

    def apart():
        specs = [spec_of("spiral_ode", steps, seeds=[seed]) for seed in range(8)]

        def repeat():
            runs = [run(spec, progress=False) for spec in specs]
            return 8 * steps, sum(r.seconds["main: run"] for r in runs)

        return repeat

    shards = {"train": {"shards": 2}}
    entries = [
        Contestant("eight single-seed runs", lambda: apart()),
        Contestant("map, one device", together({"seed_mode": "map"})),
        Contestant("map, two devices", together({"seed_mode": "map"} | shards)),
        Contestant("vmap, one device", together({})),
        Contestant("vmap, two devices", together(dict(shards))),
    ]
    return harness.race(entries, repetitions), compilations


_FIRST_STEP = """
import sys, time
from djx.run import load, run
spec = load("configs/neural_ode/smoke.toml", "train.steps=10", "train.shards=1")
import jax
jax.devices()
began = time.time() - float(sys.argv[1])
results = run(spec, progress=False)
import json
print(json.dumps(results.seconds | {"import": began}))
"""


def warm_start(repetitions: int) -> dict[str, Any]:
    """Seconds from process start to the first step, with an empty and a full cache."""
    found: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory() as cache:
            for kind in ("cold", "warm"):
                command = [sys.executable, "-c", _FIRST_STEP, str(time.time())]
                place = os.environ | {"DJX_CACHE_DIR": cache}
                done = subprocess.run(
                    command, env=place, capture_output=True, text=True, check=True
                )
                seconds = json.loads(done.stdout.splitlines()[-1])
                seconds["to first step"] = seconds["import"] + seconds["first step"]
                found[kind].append(seconds)
    return {
        kind: {k: float(np.median([s[k] for s in runs])) for k in runs[0]}
        for kind, runs in found.items()
    }


def main() -> None:
    """Runs everything and writes the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop")
    parser.add_argument("--quick", action="store_true", help="a trial of the race")
    quick = parser.parse_args().quick
    stamp = harness.environment()
    scale = 50 if quick else 1
    turns = 1 if quick else 3
    races, bars = {}, []
    plan = [("mlp", mlp, 1_000_000, 1.10), ("spiral_ode", spiral_ode, 12_000, 1.05)]
    for name, subject, long, limit in plan:
        found = overhead(subject, name, max(long // scale, 300), turns)
        races[f"{name}: one step"] = found
        least = found["bare donated scan (limit)"]["wall_per_unit"]
        runner = found["djx runner"]
        spent = runner["wall_per_unit"] * runner["units"]
        note = f"runs of {spent:.0f} s"
        ratio = ft.partial(harness.bar, f"{name}: runner / bare scan")
        bars.append(ratio(runner["wall_per_unit"] / least, limit, note))
    found, compilations = seeds(100 if quick else 500, turns)
    races["spiral_ode: eight seeds, one seed's step"] = found
    apart = found["eight single-seed runs"]["wall_per_unit"]
    best = min(list(found)[1:], key=lambda name: found[name]["wall_per_unit"])
    ratio = found[best]["wall_per_unit"] / apart
    note = f"{best}; compiled {compilations} time(s)"
    bars.append(harness.bar("eight seeds together / one by one", ratio, 0.75, note))
    starts = warm_start(1 if quick else 3)
    ratio = starts["warm"]["to first step"] / starts["cold"]["to first step"]
    note = (
        f"{starts['cold']['to first step']:.1f} s, then "
        f"{starts['warm']['to first step']:.1f} s"
    )
    bars.append(harness.bar("warm start / cold start", ratio, 0.5, note))
    body = {"environment": stamp, "bars": bars, "races": races, "starts": starts}
    title = "The loop, beside the bare scan it wraps"
    harness.write("loop-quick" if quick else "loop", title, body)


if __name__ == "__main__":
    main()
