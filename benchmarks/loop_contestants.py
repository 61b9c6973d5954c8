"""Three ways to take the same steps: the limit, the runner, and a loop in Python."""

import shutil
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from djx.core import seed_keys, stream_key
from djx.run import load_table, make_optimiser, run, Spec

from .harness import Contestant, Numbers, Run


BLOCK = 100  # steps per call of the limit
EVAL_EVERY = 100_000

BATCH = {"mlp": 8, "spiral_ode": 32}


def spec_of(subject: str, steps: int, **table: Any) -> Spec:
    """The config of a race: per-step metrics, the default checkpoint policy."""
    train = {
        "steps": steps,
        "batch": BATCH[subject],
        "log_every": BLOCK,
        "eval_every": EVAL_EVERY,
    } | table.pop("train", {})
    whole = {"experiment": subject, "train": train} | table
    return load_table(whole, f"{subject}.toml", package="benchmarks.subjects")


def limit(subject: str, steps: int) -> Contestant:
    """A donated, jitted `lax.scan` over 100 steps, on the flattened state."""

    def setup() -> Run:
        call, leaves = compiled_scan(subject)

        def turn() -> Numbers:
            nonlocal leaves
            metrics = None
            for start in range(0, steps, BLOCK):
                leaves, metrics = call(leaves, np.int32(start))
            jax.block_until_ready((leaves, metrics))
            assert metrics is not None
            return {"steps": steps, "loss": float(metrics["loss"].mean())}

        return turn

    return Contestant("limit: jitted scan", setup)


def compiled_scan(subject: str) -> tuple[Callable, list]:
    """The limit's program, and the state that it starts from."""
    spec = spec_of(subject, 10**6)
    experiment = spec.build(spec.common)
    root = seed_keys([0])[0]
    state = jax.jit(experiment.init)(stream_key(root, "init"))
    leaves, treedef = jax.tree.flatten(state)

    def step(leaves, index):
        state = jax.tree.unflatten(treedef, leaves)
        key = stream_key(root, "step", index)
        state, metrics = experiment.step(state, index, key)
        return jax.tree.leaves(state), metrics

    def block(leaves, start):
        return jax.lax.scan(step, leaves, start + jnp.arange(BLOCK))

    jitted = jax.jit(block, donate_argnums=0)
    return jitted.lower(leaves, np.int32(0)).compile(), leaves


def runner(subject: str, steps: int) -> Contestant:
    """All of `djx.run.run`: metrics, evaluations, checkpoints, the report."""
    spec = spec_of(subject, steps)

    def turn() -> Numbers:
        seconds, results = timed_run(spec)
        loss = results.arms["main"].series[0].train["loss"]
        return seconds | {"steps": steps, "loss": float(loss[-BLOCK:].mean())}

    return Contestant("djx.run.run", lambda: turn)


def timed_run(spec: Spec) -> tuple[Numbers, Any]:
    """One run in a directory that goes away; its loop's time, compilation apart."""
    out = tempfile.mkdtemp()
    try:
        results = run(spec, out, progress=False)
    finally:
        shutil.rmtree(out, ignore_errors=True)
    spent = results.seconds
    ahead = spent["main: trace"] + spent["main: compile"]
    wall = {"wall": spent["main: run"], "setup": ahead}
    return wall | {"around": spent["total"] - ahead - wall["wall"]}, results


def naive(subject: str, steps: int) -> Contestant:
    """`eqx.filter_jit`, a batch from numpy and `float(loss)` at every step."""
    module: Any = import_module(f"benchmarks.subjects.{subject}")

    def setup() -> Run:
        train = spec_of(subject, steps).common.train
        optimiser = make_optimiser(train)
        model = module.make_model(jax.random.key(0))
        state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))
        random = np.random.default_rng(0)

        @eqx.filter_jit
        def step(model, state, batch):
            loss, grads = eqx.filter_value_and_grad(module.mean_loss)(model, batch)
            trained = eqx.filter(model, eqx.is_inexact_array)
            updates, state = optimiser.update(grads, state, trained)
            return eqx.apply_updates(model, updates), state, loss

        def turn(steps: int = steps) -> Numbers:
            nonlocal model, state
            losses = []
            for _ in range(steps):
                batch = module.numpy_batch(random, train.batch)
                model, state, loss = step(model, state, batch)
                losses.append(float(loss))
            return {"steps": steps, "loss": float(np.mean(losses[-BLOCK:]))}

        turn(2)  # compiles
        return turn

    return Contestant("loop in Python", setup)


def seconds_per_step(subject: str) -> float:
    """A first look at the limit, to choose how many steps make a turn."""
    call, leaves = compiled_scan(subject)
    leaves, _ = call(leaves, np.int32(0))
    jax.block_until_ready(leaves)
    blocks, began = 0, time.perf_counter()
    while time.perf_counter() - began < 2:
        leaves, _ = jax.block_until_ready(call(leaves, np.int32(0)))
        blocks += 1
    return (time.perf_counter() - began) / (blocks * BLOCK)
