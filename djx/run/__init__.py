"""The frame: configs, the experiment contract, the loop, checkpoints, claims, reports.

Names load when they are first asked for: reading and checking a config file needs no
JAX.
"""

import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING


if _TYPE_CHECKING:
    from ._experiment import (
        compute_cast as compute_cast,
        epoch_batches as epoch_batches,
        Experiment as Experiment,
        supervised as supervised,
        trained_model as trained_model,
        TrainState as TrainState,
    )
    from ._load import load as load, load_table as load_table, Spec as Spec
    from ._metrics import read_metrics as read_metrics, Series as Series
    from ._optimiser import make_optimiser as make_optimiser
    from ._program import Program as Program
    from ._reopen import reopen as reopen
    from ._report import Report as Report
    from ._results import ArmResult as ArmResult, Results as Results
    from ._runner import run as run
    from ._schema import (
        Config as Config,
        Section as Section,
        Traced as Traced,
        TracedFloat as TracedFloat,
    )

_WHERE = {
    "ArmResult": "_results",
    "Config": "_schema",
    "Experiment": "_experiment",
    "Program": "_program",
    "Report": "_report",
    "Results": "_results",
    "Section": "_schema",
    "Series": "_metrics",
    "Spec": "_load",
    "TrainState": "_experiment",
    "Traced": "_schema",
    "TracedFloat": "_schema",
    "compute_cast": "_experiment",
    "epoch_batches": "_experiment",
    "load": "_load",
    "load_table": "_load",
    "make_optimiser": "_optimiser",
    "read_metrics": "_metrics",
    "reopen": "_reopen",
    "run": "_runner",
    "supervised": "_experiment",
    "trained_model": "_experiment",
}

__all__ = list(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str):
    if name in _WHERE:
        return getattr(_importlib.import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module 'djx.run' has no attribute {name!r}")
