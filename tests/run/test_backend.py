"""A broken XLA is refused before anything is trained."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from djx.core.errors import BackendError
from djx.run import _backend, run
from experiments.run import main
from tests.run.support import quadratic


def test_this_backend_is_right():
    _backend.check_backend()


def test_a_wrong_sum_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_backend, "_sum_of_product", lambda x: jnp.sum(x) * 65)
    with pytest.raises(BackendError, match="jaxlib .* XLA_FLAGS"):
        run(quadratic(), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_the_command_line_says_it_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_backend, "_sum_of_product", lambda x: x[0, 0])
    out = tmp_path / "run"
    config = Path(__file__).parents[2] / "configs/neural_ode/smoke.toml"
    assert main([str(config), "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fault: jaxlib") and len(error.splitlines()) == 1


def test_other_backends_are_not_asked(monkeypatch):
    monkeypatch.setattr(_backend, "_sum_of_product", lambda x: x[0, 0])
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    _backend.check_backend()
