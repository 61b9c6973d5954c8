"""Kill, damage and resume: the same bits and the same metrics file, or a clear no."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from djx.core.errors import ResumeError
from djx.run import run
from tests.run.support import quadratic, walk


_CHILD = """
import sys, os
sys.path.insert(0, os.getcwd())
from tests.run.support import quadratic
from djx.run import run
train = {"steps": 6000, "log_every": 10, "eval_every": 500,
         "checkpoint": {"every_steps": 200, "keep": 3}}
arms = {"a": {}, "b": {"size": 4}}
spec = quadratic(arms=arms, seeds=2, train=train)
print("ready", flush=True)
results = run(spec, sys.argv[1], progress=False)
print(results.arms["a"].digests, results.arms["b"].digests, flush=True)
"""


def child(out):
    cache = os.environ | {"DJX_CACHE_DIR": str(out.parent / "cache")}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _CHILD, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=cache,
    )


def finish(process):
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return out.splitlines()[-1]


def test_killed_at_random_moments_ends_with_the_same_bits(tmp_path):
    kills = int(os.environ.get("DJX_TEST_KILLS", "3"))  # the full check: 10
    began = time.monotonic()
    expected = finish(child(tmp_path / "whole"))
    whole = time.monotonic() - began
    rng = random.Random(1)
    killed = inside_save = 0
    for attempt in range(60):
        if killed == kills:
            break
        process = child(tmp_path / "cut")
        assert process.stdout is not None
        process.stdout.readline()  # past the imports, so that the kill meets work
        checkpoints = tmp_path / "cut" / "checkpoints"
        if attempt % 3 == 0:  # wait for a save to be under way
            deadline = time.monotonic() + whole
            while time.monotonic() < deadline and process.poll() is None:
                if list(checkpoints.glob("*/*.orbax-checkpoint-tmp*")):
                    break
                time.sleep(0.002)
        else:
            time.sleep(rng.uniform(0.0, 0.5) * whole)
        if process.poll() is not None:  # it got to the end first: once more, from 0
            assert finish(process) == expected
            shutil.rmtree(tmp_path / "cut")
        else:
            process.send_signal(signal.SIGKILL)
            killed += 1
            inside_save += bool(list(checkpoints.glob("*/*.orbax-checkpoint-tmp*")))
            process.communicate()
    assert killed == kills and inside_save >= 1
    assert finish(child(tmp_path / "cut")) == expected
    whole_file = (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert (tmp_path / "cut" / "metrics.jsonl").read_bytes() == whole_file


def interrupted(out, stop_at=100, spec=None):
    """A run (of 200 steps that saves every 50) that is stopped by a signal."""
    train = {"steps": 200, "checkpoint": {"every_steps": 50}}
    spec = spec or quadratic(train=train)

    def stop(line):
        if line["step"] >= stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    from djx.run import _metrics

    original = _metrics.Recorder.__init__

    def with_listener(self, *args):
        original(self, *args)
        self.listeners.append(stop)

    _metrics.Recorder.__init__ = with_listener
    try:
        results = run(spec, out, progress=False)
    finally:
        _metrics.Recorder.__init__ = original
    assert results.status == "stopped"
    assert results.arms["main"].step < spec.common.train.steps
    return spec


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    train = {"steps": 200, "checkpoint": {"every_steps": 50}}
    results = run(quadratic(train=train), out, progress=False)
    return results.arms["main"].digests, (out / "metrics.jsonl").read_bytes()


def test_stopped_by_a_signal_goes_on_to_the_same_end(tmp_path, whole):
    spec = interrupted(tmp_path)
    assert not (tmp_path / "claims.json").exists()
    results = run(spec, tmp_path, progress=False)
    assert results.status == "done"
    assert (
        results.arms["main"].digests,
        (tmp_path / "metrics.jsonl").read_bytes(),
    ) == whole


def newest(out):
    folders = [p for p in (out / "checkpoints" / "main").iterdir() if p.name.isdigit()]
    return max(folders, key=lambda p: int(p.name))


def data_files(folder):
    """Files that hold array bytes, largest first."""
    files = [
        p for p in (folder / "state").rglob("*") if p.is_file() and "/d/" in str(p)
    ]
    assert files
    return sorted(files, key=lambda p: -p.stat().st_size)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_one_flipped_byte_falls_back_and_says_so(tmp_path, whole, place):
    spec = interrupted(tmp_path)
    step = newest(tmp_path).name
    target = data_files(newest(tmp_path))[0]
    content = bytearray(target.read_bytes())
    content[int(place * len(content))] ^= 0x10
    target.write_bytes(content)
    with pytest.warns(UserWarning, match=rf"checkpoint {step} is damaged .*before"):
        results = run(spec, tmp_path, progress=False)
    assert (
        results.arms["main"].digests,
        (tmp_path / "metrics.jsonl").read_bytes(),
    ) == whole


def test_a_flipped_byte_of_any_file_is_noticed(tmp_path):
    from djx.run._checkpoint import _check_seal

    interrupted(tmp_path)
    folder = newest(tmp_path)
    files = [p for p in folder.rglob("*") if p.is_file() and p.stat().st_size]
    rng = np.random.default_rng(0)
    assert len(files) > 5
    _check_seal(folder.parent, int(folder.name))
    for target in files:
        content = bytearray(target.read_bytes())
        place = rng.integers(len(content))
        content[place] ^= 0x04
        target.write_bytes(content)
        with pytest.raises(ValueError, match=target.name):
            _check_seal(folder.parent, int(folder.name))
        content[place] ^= 0x04
        target.write_bytes(content)


def test_without_its_seal_leaf_digests_still_tell(tmp_path, whole):
    """Killed between the commit and the seal, then every data file damaged."""
    spec = interrupted(tmp_path)
    folder = newest(tmp_path)
    (folder.parent / "seals" / f"{folder.name}.sha256").unlink()
    for target in data_files(folder):
        content = bytearray(target.read_bytes())
        for place in range(0, len(content), 64):
            content[place] ^= 0x10
        target.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged"):
        results = run(spec, tmp_path, progress=False)
    assert (
        results.arms["main"].digests,
        (tmp_path / "metrics.jsonl").read_bytes(),
    ) == whole


def test_a_half_written_checkpoint_falls_back(tmp_path, whole):
    spec = interrupted(tmp_path)
    for target in data_files(newest(tmp_path)):
        target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])
    with pytest.warns(UserWarning, match="damaged"):
        results = run(spec, tmp_path, progress=False)
    assert (
        results.arms["main"].digests,
        (tmp_path / "metrics.jsonl").read_bytes(),
    ) == whole


def test_resume_at_a_step_and_at_a_missing_one(tmp_path, whole):
    spec = interrupted(tmp_path, stop_at=150)
    with pytest.raises(
        ResumeError, match="no checkpoint at step 70; there are: 100, 150"
    ):
        run(spec, tmp_path, resume=70, progress=False)
    results = run(spec, tmp_path, resume=100, progress=False)
    assert (
        results.arms["main"].digests,
        (tmp_path / "metrics.jsonl").read_bytes(),
    ) == whole


def test_never_starts_anew(tmp_path, whole):
    spec = interrupted(tmp_path)
    results = run(spec, tmp_path, resume="never", progress=False)
    assert (
        results.arms["main"].digests,
        (tmp_path / "metrics.jsonl").read_bytes(),
    ) == whole


def test_another_config_is_refused_by_the_names_of_its_fields(tmp_path):
    interrupted(tmp_path)
    other = quadratic(
        noise=0.2, train={"steps": 300, "checkpoint": {"every_steps": 50}}
    )
    with pytest.raises(ResumeError, match=r"train.steps was 200, now 300.*noise was"):
        run(other, tmp_path, progress=False)


def test_what_results_do_not_depend_on_may_change(tmp_path, whole):
    interrupted(tmp_path)
    claims = {"near": {"measure": "main.distance", "at_most": 0.5}}
    train = {
        "steps": 200,
        "chunk": 5,
        "checkpoint": {"every_seconds": 0.05},
        "shards": 2,
    }
    results = run(quadratic(claims=claims, train=train), tmp_path, progress=False)
    assert results.arms["main"].digests == whole[0]
    assert results.claims[0].holds


def test_a_finished_run_is_read_back_without_training(tmp_path):
    spec = quadratic(claims={"c": {"measure": "main.distance", "at_most": 9.0}})
    first = run(spec, tmp_path, progress=False)
    again = run(spec, tmp_path, progress=False)
    assert "compile" not in "".join(again.seconds)
    assert first.arms["main"].digests == again.arms["main"].digests
    assert first.claims == again.claims
    for name, values in first.values["main"].items():
        np.testing.assert_array_equal(values, again.values["main"][name])


def test_wall_time_saves_do_not_change_results(tmp_path, whole):
    train = {"steps": 200, "checkpoint": {"every_seconds": 1e-6}}
    results = run(quadratic(train=train), tmp_path, progress=False)
    assert (
        results.arms["main"].digests,
        (tmp_path / "metrics.jsonl").read_bytes(),
    ) == whole
    kept = [
        p for p in (tmp_path / "checkpoints" / "main").iterdir() if p.name.isdigit()
    ]
    assert len(kept) == 3


def test_wall_clock_limit_saves_and_goes_on(tmp_path, whole):
    spec = quadratic(train={"steps": 200, "max_seconds": 1e-6})
    results = run(spec, tmp_path, progress=False)
    assert results.status == "limit" and results.arms["main"].step == 10
    more = quadratic(train={"steps": 200, "checkpoint": {"every_steps": 50}})
    results = run(more, tmp_path, progress=False)
    assert (
        results.arms["main"].digests,
        (tmp_path / "metrics.jsonl").read_bytes(),
    ) == whole


def test_keys_in_the_state_survive(tmp_path):
    spec = walk(seeds=2, train={"checkpoint": {"every_steps": 10}})
    whole = run(spec, tmp_path / "a", progress=False)
    run(walk(seeds=2, train={"max_seconds": 1e-6}), tmp_path / "b", progress=False)
    resumed = run(spec, tmp_path / "b", progress=False)
    assert whole.arms["main"].digests == resumed.arms["main"].digests


def test_early_stop_is_remembered_over_a_restart(tmp_path):
    rule = {"metric": "distance", "patience": 2, "min_delta": 0.05}
    train = {"steps": 600, "eval_every": 15, "log_every": 5, "early_stop": rule}
    spec = quadratic(noise=0.0, seeds=3, train=train)
    whole = run(spec, tmp_path / "a", progress=False)
    stops = sorted(s.train["step"][-1] for s in whole.arms["main"].series.values())
    interrupted(tmp_path / "b", stop_at=stops[0], spec=spec)
    resumed = run(spec, tmp_path / "b", progress=False)
    assert whole.arms["main"].digests == resumed.arms["main"].digests
    a, b = (tmp_path / n / "metrics.jsonl" for n in "ab")
    assert a.read_bytes() == b.read_bytes()
