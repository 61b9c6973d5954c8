"""A run directory as the results that it holds, without running anything."""

import json
from pathlib import Path

import jax
import numpy as np

from ..core import tree_digest
from ..core.errors import ResumeError
from ._checkpoint import CheckpointStore
from ._load import load
from ._loop import Outcome
from ._metrics import read_metrics, Series
from ._program import group_arms, Program
from ._results import ArmResult, Results


def reopen(folder: str | Path, *, package: str = "experiments") -> Results:
    """Reads what a run saved last, be it done or not; nothing in it is changed.

    Args:
        folder: the run directory.
        package: where experiment modules are looked up.

    Returns:
        The results; of a run that is not done the arms that have a checkpoint.

    Raises:
        ResumeError: where there is no run, or none of its checkpoints is whole.
        ConfigError: where its config is no longer valid.
    """
    folder = Path(folder)
    if not (folder / "config.toml").exists():
        raise ResumeError(f"{folder} is no run directory: it has no config.toml")
    spec = load(folder / "config.toml", package=package)
    metrics = folder / "metrics.jsonl"
    series = read_metrics(metrics) if metrics.exists() else {}
    arms: dict[str, ArmResult] = {}
    finished = []
    for program in (Program(own, spec.build) for own in group_arms(spec.arms)):
        store = CheckpointStore.of(folder, program.arms, program.config)
        try:
            saved = store.newest(program.state_shapes, len(program.lanes))
        finally:
            store.close()
        if saved is None:
            finished.append(False)
            continue
        finished.append(saved.manifest["finished"])
        seconds = saved.manifest.get("step_seconds")
        outcome = Outcome(
            saved.leaves,
            saved.step,
            finished[-1],
            {},
            float("nan") if seconds is None else seconds,
        )
        arms |= arms_of(program, outcome, series)
    if not arms:
        raise ResumeError(f"{folder} holds no whole checkpoint")
    told = folder / "environment.json"
    environment = json.loads(told.read_text()) if told.exists() else {}
    return Results(
        spec,
        {name: arms[name] for name in spec.arms if name in arms},
        "done" if all(finished) else "stopped",
        {},
        environment,
        folder,
        spec.build(spec.common).report,
    )


def arms_of(
    program: Program, outcome: Outcome, series: dict[tuple[str, int], Series]
) -> dict[str, ArmResult]:
    """A program's lanes, as arms of seeds.

    Args:
        program: what ran.
        outcome: how it ended.
        series: per arm and seed.

    Returns:
        The arms by name.
    """
    arms = {}
    treedef = jax.tree.structure(program.state_shapes)
    count = len(program.seeds)
    for index, arm in enumerate(program.arms):
        mine = slice(index * count, (index + 1) * count)
        state = treedef.unflatten([np.asarray(leaf)[mine] for leaf in outcome.leaves])
        digests = {
            seed: tree_digest(jax.tree.map(lambda x, i=i: x[i], state))
            for i, seed in enumerate(program.seeds)
        }
        own = {s: series[arm, s] for s in program.seeds if (arm, s) in series}
        arms[arm] = ArmResult(
            program.configs[arm],
            state,
            own,
            digests,
            outcome.step,
            outcome.step_seconds,
        )
    return arms
