"""Optional places that metrics also go to; each library loads only when asked for."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import ConfigError, Fault


Sink = tuple[Callable[[dict[str, Any]], None], Callable[[], None]]  # take, close


def make_sink(name: str, out: Path, table: dict[str, Any]) -> Sink:
    """Opens a sink.

    Args:
        name: "tensorboard", "wandb" or "mlflow".
        out: the run directory.
        table: the resolved config.

    Returns:
        A function that takes a line of metrics.jsonl, and one that closes.

    Raises:
        ConfigError: where the name is unknown or its library is not installed.
    """
    makers = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}
    if name not in makers:
        known = ", ".join(makers)
        raise ConfigError([Fault("--track", "", f"no sink {name!r}; known: {known}")])
    try:
        return makers[name](out, table)
    except ImportError as error:
        message = f"{name} is not installed ({error.name}): pip install 'djx[track]'"
        raise ConfigError([Fault("--track", "", message)]) from None


def scalars(line: dict[str, Any]) -> dict[str, float]:
    """The scalars of a line: evaluations, and a block's mean of every step's metrics.

    Args:
        line: as in metrics.jsonl.

    Returns:
        Values by `arm/seed/name`.
    """
    prefix = f"{line['arm']}/{line['seed']}"
    found = {}
    for name, values in line.get("train", {}).items():
        found[f"{prefix}/train/{name}"] = float(np.mean(np.asarray(values, float)))
    for name, value in line.get("eval", {}).items():
        if np.ndim(value) == 0:
            found[f"{prefix}/{name}"] = float(value)
    return found


def _tensorboard(out: Path, table: dict[str, Any]) -> Sink:
    del table
    writer = importlib.import_module("tensorboardX").SummaryWriter(
        str(out / "tensorboard")
    )

    def take(line):
        for name, value in scalars(line).items():
            writer.add_scalar(name, value, line["step"])

    return take, writer.close


def _wandb(out: Path, table: dict[str, Any]) -> Sink:
    wandb = importlib.import_module("wandb")
    run = wandb.init(project="djx", dir=str(out), config=table)
    return lambda line: run.log(scalars(line) | {"step": line["step"]}), run.finish


def _mlflow(out: Path, table: dict[str, Any]) -> Sink:
    mlflow = importlib.import_module("mlflow")
    mlflow.set_tracking_uri((out / "mlflow").absolute().as_uri())
    mlflow.set_experiment(table["experiment"])
    run = mlflow.start_run()
    del run

    def take(line):
        mlflow.log_metrics(scalars(line), step=line["step"])

    return take, mlflow.end_run
