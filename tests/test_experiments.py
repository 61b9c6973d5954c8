"""What every config with `tier = "smoke"` must pass, now and for every newcomer."""

import dataclasses
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from djx.run import Experiment, load, run
from djx.run._program import group_arms
from experiments.claims import configs_of


ROOT = Path(__file__).parent.parent
SMOKE = configs_of("smoke", ROOT / "configs")
IDS = [f"{path.parent.name}/{path.stem}" for path in SMOKE]


@pytest.fixture(scope="module", params=SMOKE, ids=IDS)
def finished(request, tmp_path_factory):
    """One whole run, with its traces of `step` counted."""
    spec = load(request.param)
    traces: list[None] = []

    def build(config):
        plain = spec.build(config)

        def step(state, index, key):
            traces.append(None)
            return plain.step(state, index, key)

        return Experiment(plain.init, step, plain.evaluate, plain.report)

    out = tmp_path_factory.mktemp("whole")
    counted = dataclasses.replace(spec, build=build)
    return request.param, run(counted, out, progress=False), len(traces)


def test_states_a_description_a_budget_and_a_claim(finished):
    _, results, _ = finished
    common = results.spec.common
    assert common.description and common.budget_seconds and results.spec.claims


def test_claims_hold(finished):
    _, results, _ = finished
    assert [claim for claim in results.claims if not claim.holds] == []


def test_is_traced_once_per_program(finished):
    _, results, traces = finished
    assert traces == len(group_arms(results.spec.arms))


def test_run_directory_is_complete(finished):
    _, results, _ = finished
    names = {path.name for path in results.out.iterdir()}
    wanted = "config.toml environment.json metrics.jsonl claims.json report.html"
    assert names >= {*wanted.split(), "checkpoints", "result.json"}
    page = (results.out / "report.html").read_text()
    assert "Figures are missing" not in page
    words = re.sub("base64,[A-Za-z0-9+/=]+", "", page.split("<h2>Config")[0])
    assert "http" not in words.replace("http-equiv", "")  # it loads nothing
    environment = json.loads((results.out / "environment.json").read_text())
    assert environment["packages"]["jax"]
    assert load(results.out / "config.toml").arms == results.spec.arms


def test_killed_and_resumed_gives_the_same_digests_again(finished, tmp_path):
    """Another process, killed in its work: also that two runs give the same bits."""
    path, results, _ = finished
    command = [sys.executable, "-m", "experiments.run", str(path)]
    command += ["--out", str(tmp_path / "cut"), "train.checkpoint.every_seconds=0.5"]
    kwargs = {"cwd": ROOT, "text": True}
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, **kwargs)
    deadline = time.monotonic() + 10 * results.spec.common.budget_seconds
    while not list((tmp_path / "cut").glob("checkpoints/*/[0-9]*")):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not (tmp_path / "cut" / "result.json").exists()
    if path == SMOKE[0]:  # what the loop does, whatever it runs
        limit = [*command, "train.max_seconds=0.001"]
        assert subprocess.run(limit, capture_output=True, **kwargs).returncode == 75
    done = subprocess.run(command, capture_output=True, **kwargs)
    assert (done.returncode, done.stderr) == (0, "")
    resumed = json.loads((tmp_path / "cut" / "result.json").read_text())
    expected = {
        name: {str(seed): digest for seed, digest in arm.digests.items()}
        for name, arm in results.arms.items()
    }
    assert resumed["digests"] == expected
    metrics = (tmp_path / "cut" / "metrics.jsonl").read_bytes()
    assert metrics == (results.out / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("finished", SMOKE[:1], ids=IDS[:1], indirect=True)
def test_a_failed_claim_is_exit_status_3(finished):
    """Claims may change after the run: it is read back, not trained again."""
    path, results, _ = finished
    bound = ["claims.impossible={measure='1', at_most=0}", "--check"]
    out = ["--out", str(results.out)]
    command = [sys.executable, "-m", "experiments.run", str(path), *bound, *out]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, text=True)
    assert (done.returncode, done.stderr) == (3, "")
    assert "FAILS" in done.stdout and "steps/s" not in done.stdout
