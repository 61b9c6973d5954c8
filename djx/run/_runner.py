"""`run`: from a loaded config to results and a run directory."""

import contextlib
import datetime
import json
import shutil
import signal
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import tomli_w

from ..core import combine_digests
from ..core.errors import ConfigError, did_you_mean, Fault, ResumeError
from ._backend import check_backend
from ._checkpoint import CheckpointStore, Saved
from ._claims import claims_json, references
from ._environment import describe_environment, enable_compilation_cache
from ._load import Spec
from ._loop import Outcome, run_program
from ._metrics import Recorder
from ._program import group_arms, Program
from ._progress import make_progress, Progress
from ._reopen import arms_of
from ._report import write_report
from ._results import Results, STEP_SECONDS
from ._sinks import make_sink


Resume = Literal["auto", "never"] | int

# What may change between a checkpoint and the run that goes on from it.
_FREE = (
    "claims",
    "description",
    "tier",
    "budget_seconds",
    "train.checkpoint",
    "train.max_seconds",
    "train.chunk",
    "train.shards",
)


def run(
    spec: Spec,
    out: str | Path | None = None,
    *,
    resume: Resume = "auto",
    progress: bool = True,
    track: tuple[str, ...] = (),
) -> Results:
    """Runs every arm and seed of a config.

    Interrupting it (Ctrl-C, SIGTERM, or the config's wall-clock limit) ends it at the
    next block of steps: what there is is saved and returned.

    Args:
        spec: what `load` returned.
        out: the run directory; None keeps everything in memory.
        resume: "auto" goes on from the newest whole checkpoint in `out` if there is
            one, "never" starts anew, a step goes on from that one.
        progress: whether to report on standard output.
        track: sinks that metrics also go to: "tensorboard", "wandb", "mlflow".

    Returns:
        States, metrics, measured claims, timings.

    Raises:
        BackendError: where the installed XLA computes wrong numbers.
        ConfigError: where the config cannot run, before anything is trained.
        ResumeError: where `out` holds a run that this config does not continue.
    """
    began = time.perf_counter()
    check_backend()
    enable_compilation_cache()
    programs = [Program(arms, spec.build) for arms in group_arms(spec.arms)]
    _check_names(spec, programs)
    folder = Path(out) if out is not None else None
    if folder is not None:
        _prepare(folder, spec, resume)
    environment = describe_environment()
    show = make_progress(progress)
    if folder is not None and progress:
        show.say(f"{spec.name} -> {folder}")
    recorder = Recorder(
        folder / "metrics.jsonl" if folder else None, spec.common.train.log_every
    )
    recorder.listeners.append(show.recorded)
    sinks = [make_sink(name, folder or Path("runs"), spec.table) for name in track]
    recorder.listeners += [take for take, _ in sinks]
    if folder is not None:
        (folder / "config.toml").write_text(tomli_w.dumps(spec.table))
        _write_json(folder / "environment.json", environment)
    limit = spec.common.train.max_seconds
    deadline = began + limit if limit else float("inf")
    outcomes: list[Outcome] = []
    reason = "done"
    first_step: list[float] = []

    def advanced(step: int) -> None:
        if step and not first_step:
            first_step.append(time.perf_counter() - began)
        show.advanced(step)

    stores, saved = _restore(programs, recorder, folder, resume, show)
    try:
        with _stop_signals() as asked:
            for program, store, old in zip(programs, stores, saved, strict=True):

                def stop_asked() -> bool:
                    return asked.is_set() or time.perf_counter() > deadline

                if outcomes and stop_asked():
                    break
                show.start(program.arms, len(program.lanes), program.config.train.steps)
                outcome = run_program(
                    program,
                    recorder,
                    store,
                    old,
                    facts=_facts(spec, program),
                    stop_asked=stop_asked,
                    advanced=advanced,
                )
                outcomes.append(outcome)
                if not outcome.finished:
                    break
            if len(outcomes) < len(programs) or not outcomes[-1].finished:
                reason = "stopped" if asked.is_set() else "limit"
    finally:
        show.stop()
        recorder.close()
        closing = [store.close for store in stores if store] + [c for _, c in sinks]
        for close in closing:
            close()
    results = _results(spec, programs, outcomes, recorder, environment, folder, reason)
    results.seconds["first step"] = first_step[0] if first_step else float("nan")
    results.seconds["total"] = time.perf_counter() - began
    if folder is not None:
        _finish(results, folder, show)
    return results


def _restore(
    programs: list[Program],
    recorder: Recorder,
    folder: Path | None,
    resume: Resume,
    show: Progress,
) -> tuple[list[CheckpointStore | None], list[Saved | None]]:
    """Opens every program's checkpoints and reads those that the run goes on from.

    Programs run one after the other, so the first that is not finished is where the
    run goes on, and whatever a later one had saved starts anew. The metrics file is
    cut back once, to the last of those checkpoints.
    """
    if folder is None:
        return [None] * len(programs), [None] * len(programs)
    stores: list[CheckpointStore | None] = []
    saved: list[Saved | None] = []
    for program in programs:
        stores.append(CheckpointStore.of(folder, program.arms, program.config))
    begun = [index for index, store in enumerate(stores) if store and store.steps()]
    if isinstance(resume, int) and not begun:
        raise ResumeError(f"{folder} holds no checkpoints to resume at {resume}")
    position, open_end = 0, False
    for index, (program, store) in enumerate(zip(programs, stores, strict=True)):
        assert store is not None
        old = None
        if open_end:
            store.discard()
        else:
            at = resume if isinstance(resume, int) and index == begun[-1] else None
            like, lanes = program.state_shapes, len(program.lanes)
            old = store.restore(like, lanes, at, show.say)
            open_end = old is None or not old.manifest["finished"]
            position = old.manifest["metrics_bytes"] if old else position
        saved.append(old)
        if old is not None:  # it has lines to read back; the others trace later
            for arm in program.arms:
                for name, kind in program.metric_names.items():
                    recorder.types[f"{arm}.train.{name}"] = kind
                for name, kind in program.evaluated_types.items():
                    recorder.types[f"{arm}.eval.{name}"] = kind
    recorder.rewind(position)
    return stores, saved


def _facts(spec: Spec, program: Program) -> dict[str, Any]:
    return {
        "config": spec_digest(spec),
        "arms": program.arms,
        "seeds": program.seeds,
        "jax": jax.__version__,
        "devices": [device.device_kind for device in program.devices],
    }


def spec_digest(spec: Spec) -> str:
    """SHA-256 of what a config says about results.

    Args:
        spec: the config.

    Returns:
        The digest in hexadecimal; fields that results do not depend on are left out.
    """
    flat = _flat(spec.table)
    kept = [(k, repr(v)) for k, v in sorted(flat.items()) if not _is_free(k)]
    return combine_digests(kept)


def _check_names(spec: Spec, programs: list[Program]) -> None:
    """A claim or an early stop on what is never recorded fails before training."""
    faults = []
    by_arm = {arm: program for program in programs for arm in program.arms}
    for arm, config in spec.arms.items():
        rule, program = config.train.early_stop, by_arm[arm]
        if rule is not None and rule.metric not in program.evaluated_names:
            known = program.evaluated_names
            there = ", ".join(known) or "none"
            hint = did_you_mean(rule.metric, known)
            message = (
                f"no metric {rule.metric!r} in evaluate (there are: {there}){hint}"
            )
            faults.append(Fault(spec.path, "train.early_stop.metric", message))
        elif rule is not None and not config.train.eval_every:
            message = "needs train.eval_every: the rule looks at evaluations"
            faults.append(Fault(spec.path, "train.early_stop", message))
    for name, claim in spec.claims.items():
        for arm, metric in references(claim.measure):
            program = by_arm[arm]
            shapes = {STEP_SECONDS: ()} | dict(program.evaluated_names)
            if metric.startswith("train."):
                shapes |= {f"train.{k}": () for k in program.metric_names}
            where = f"claims.{name}.measure"
            if metric not in shapes:
                there = ", ".join(shapes) or "none"
                hint = did_you_mean(metric, shapes)
                message = f"no metric {metric!r} in arm {arm!r} (there are: {there}"
                message += "; metrics of a step are written arm.train.name)" + hint
                faults.append(Fault(spec.path, where, message))
            elif shapes[metric] != ():
                message = (
                    f"metric {metric!r} is an array {shapes[metric]}, not a number"
                )
                faults.append(Fault(spec.path, where, message))
    if faults:
        raise ConfigError(faults)


def _prepare(folder: Path, spec: Spec, resume: Resume) -> None:
    """Makes the run directory, or checks that it holds a run of this config."""
    old = folder / "config.toml"
    if resume == "never":
        for part in ("checkpoints", "metrics.jsonl", "claims.json", "result.json"):
            target = folder / part
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
    elif old.exists() and (folder / "checkpoints").exists():
        changes = config_drift(tomllib.loads(old.read_text()), spec.table)
        if changes:
            listed = "; ".join(changes)
            raise ResumeError(
                f"{folder} was started with another config: {listed}. Use another "
                "--out, or --resume never to start it anew"
            )
    elif isinstance(resume, int):
        raise ResumeError(f"{folder} holds no checkpoints to resume at {resume}")
    folder.mkdir(parents=True, exist_ok=True)


def config_drift(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Lists the fields whose change would make a resumed run another run.

    Args:
        old: the config that the checkpoint was taken under.
        new: the present one.

    Returns:
        One text per field; none where the run may go on.
    """
    before, now = _flat(old), _flat(new)
    changes = []
    for key in dict.fromkeys([*before, *now]):
        if before.get(key) != now.get(key) and not _is_free(key):
            was, is_ = before.get(key, "absent"), now.get(key, "absent")
            changes.append(f"{key} was {was!r}, now {is_!r}")
    return changes


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found = {}
    for key, value in table.items():
        path = f"{prefix}{key}"
        found |= _flat(value, path + ".") if isinstance(value, dict) else {path: value}
        if value == {}:
            found[path] = {}
    return found


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(free + ".") for free in _FREE)


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Turns the first SIGINT or SIGTERM into a request; a second SIGINT interrupts."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def handle(number, frame):
        del frame
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    before = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _results(
    spec, programs, outcomes, recorder, environment, folder, status
) -> Results:
    series = recorder.series()
    arms, seconds = {}, {}
    for program, outcome in zip(programs, outcomes, strict=False):
        arms |= arms_of(program, outcome, series)
        for what, spent in outcome.seconds.items():
            seconds[f"{'+'.join(program.arms)}: {what}"] = spent
    report = spec.build(spec.common).report
    ordered = {name: arms[name] for name in spec.arms if name in arms}
    return Results(spec, ordered, status, seconds, environment, folder, report)


def _finish(results: Results, folder: Path, show: Progress) -> None:
    claims = results.claims
    if results.status == "done":
        (folder / "claims.json").write_text(claims_json(claims))
    final = {
        arm: {name: np.asarray(v).tolist() for name, v in values.items()}
        for arm, values in results.values.items()
    }
    _write_json(
        folder / "result.json",
        {
            "status": results.status,
            "steps": {name: arm.step for name, arm in results.arms.items()},
            "digests": {name: arm.digests for name, arm in results.arms.items()},
            "final": final,
            "seconds": results.seconds,
        },
    )
    try:
        write_report(results, folder / "report.html")
    except RuntimeError as error:
        show.say(f"warning: {error}")


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def default_out(spec: Spec, root: str | Path = "runs") -> Path:
    """A fresh run directory's path: the config's name and the time.

    Args:
        spec: the config.
        root: the folder of all runs.

    Returns:
        The path, which does not exist yet.
    """
    now = datetime.datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
    path, count = Path(root) / spec.name / now, 1
    while path.exists():
        count += 1
        path = Path(root) / spec.name / f"{now}-{count}"
    return path
