"""Configs for the frame's tests, as tables."""

from djx.run import load_table


def quadratic(**changes):
    """A loaded config of the quadratic; `train` is merged, the rest replaced."""
    train = {"steps": 40, "batch": 4, "log_every": 10, "eval_every": 20}
    train |= {"optimiser": {"name": "sgd", "learning_rate": 0.05}}
    train |= changes.pop("train", {})
    table = {"experiment": "quadratic", "train": train, "seeds": 2, **changes}
    return load_table(table, "configs/test/quadratic.toml", package="tests.run.frames")


def walk(**changes):
    """A loaded config of the random walk."""
    train = {"steps": 40, "log_every": 10} | changes.pop("train", {})
    table = {"experiment": "walk", "train": train, **changes}
    return load_table(table, "configs/test/walk.toml", package="tests.run.frames")
