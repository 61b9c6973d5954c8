"""Every config with `tier = "smoke"` trains several seeds in one program."""

import dataclasses

import numpy as np
import pytest

from djx.run import load, run

from .test_experiments import IDS, SMOKE


@pytest.mark.parametrize("path", SMOKE, ids=IDS)
def test_runs_with_two_batched_seeds(path):
    spec = load(path, "seeds=[4, 9]", "seed_mode=vmap", "train.steps=2")
    first = next(iter(spec.arms))
    alone = dataclasses.replace(spec, arms={first: spec.arms[first]}, claims={})
    arm = run(alone, progress=False).arms[first]
    assert set(arm.series) == {4, 9} and arm.digests[4] != arm.digests[9]
    for series in arm.series.values():
        assert all(np.isfinite(v).all() for v in series.train.values())
