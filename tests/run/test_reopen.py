"""A run directory read back: what it held, and what it says when it holds nothing."""

import hashlib

import numpy as np
import pytest
import tomli_w

from djx.core.errors import ResumeError
from djx.run import reopen, run
from tests.run.support import quadratic


def digest_of_files(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture
def spec():
    train = {"steps": 40, "log_every": 10, "eval_every": 20}
    return quadratic(arms={"a": {}, "b": {"size": 4}}, seeds=2, train=train)


def test_a_run_comes_back_and_is_left_as_it_was(tmp_path, spec, monkeypatch):
    import djx.run._reopen as module

    ran = run(spec, tmp_path / "run", progress=False)
    before = digest_of_files(tmp_path / "run")
    monkeypatch.setattr(module, "load", lambda path, package: spec)
    back = reopen(tmp_path / "run")
    assert back.status == "done" and list(back.arms) == list(ran.arms)
    for name, arm in ran.arms.items():
        other = back.arms[name]
        assert other.digests == arm.digests and other.step == arm.step
        for seed, series in arm.series.items():
            for metric, values in series.train.items():
                again = other.series[seed].train[metric]
                np.testing.assert_array_equal(again.astype(values.dtype), values)
    assert digest_of_files(tmp_path / "run") == before


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ResumeError, match="no run directory"):
        reopen(tmp_path)


def test_a_run_without_checkpoints_is_refused(tmp_path, spec, monkeypatch):
    import djx.run._reopen as module

    monkeypatch.setattr(module, "load", lambda path, package: spec)
    (tmp_path / "config.toml").write_text(tomli_w.dumps(spec.table))
    with pytest.raises(ResumeError, match="no whole checkpoint"):
        reopen(tmp_path)
