"""The loop: the same bits however it is cut, and what it records is what happened."""

import dataclasses

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

from djx.core import stream_key
from djx.run import run, supervised
from tests.run.frames import quadratic as subject
from tests.run.support import quadratic, walk


def digests(results):
    return {name: arm.digests for name, arm in results.arms.items()}


def test_chunk_length_changes_neither_state_nor_metrics_file(tmp_path):
    seen = []
    for chunk in (1, 10, 50, None):
        out = tmp_path / str(chunk)
        train = {"steps": 130, "log_every": 10, "eval_every": 35}
        train |= {} if chunk is None else {"chunk": chunk}
        seen.append(digests(run(quadratic(train=train), out, progress=False)))
        seen.append((out / "metrics.jsonl").read_bytes())
    assert seen[0] == seen[2] == seen[4] == seen[6]
    assert seen[1] == seen[3] == seen[5] == seen[7]
    assert seen[1].count(b"\n") == 2 * 13 + 2 * 4


def test_single_seed_runs_are_the_lanes_of_map_mode():
    together = run(quadratic(seeds=[3, 7, 8], seed_mode="map"), progress=False)
    for seed in (3, 7, 8):
        alone = run(quadratic(seeds=[seed]), progress=False)
        assert alone.arms["main"].digests[seed] == together.arms["main"].digests[seed]


def test_batched_seeds_agree_with_single_runs():
    together = run(quadratic(seeds=3), progress=False)
    for seed in range(3):
        alone = run(quadratic(seeds=[seed]), progress=False)
        got = together.arms["main"].state.params.position[seed]
        np.testing.assert_allclose(
            got, alone.arms["main"].state.params.position[0], rtol=1e-5
        )


@pytest.mark.parametrize("mode", ["vmap", "map"])
def test_sharded_lanes_give_the_same_results(mode):
    """Three lanes over two devices: the odd lane is repeated and dropped."""
    assert jax.device_count() >= 2
    one = run(quadratic(seeds=3, seed_mode=mode), progress=False)
    spec = quadratic(seeds=3, seed_mode=mode, train={"shards": 2})
    two = run(spec, progress=False)
    if mode == "map":
        assert digests(one) == digests(two)
    np.testing.assert_allclose(
        one.arms["main"].state.params.position,
        two.arms["main"].state.params.position,
        rtol=1e-6,
    )


def test_arms_that_differ_in_traced_fields_share_one_program_and_its_bits():
    arms = {"near": {"target": 1.0}, "far": {"target": 5.0, "noise": 0.3}}
    subject.TRACES.clear()
    together = run(quadratic(arms=arms, seed_mode="map"), progress=False)
    assert sorted(subject.TRACES) == ["evaluate", "step"]  # once, for four lanes
    for name, change in arms.items():
        alone = run(quadratic(seed_mode="map", **change), progress=False)
        assert alone.arms["main"].digests == together.arms[name].digests


def test_arms_that_differ_in_shape_compile_apart():
    subject.TRACES.clear()
    arms = {"small": {"size": 2}, "large": {"size": 5}}
    results = run(quadratic(arms=arms), progress=False)
    assert subject.TRACES.count("step") == 2
    assert results.arms["small"].state.params.position.shape == (2, 2)
    assert results.arms["large"].state.params.position.shape == (2, 5)


def test_states_and_metrics_are_those_of_a_hand_written_loop():
    """Float64 numpy descends on the same noise; only the draws come from JAX."""
    spec = quadratic(seeds=[5], train={"steps": 25, "precision": "float64"})
    results = run(spec, progress=False)
    with jax.enable_x64(True):
        root = jr.key(5)
        start = stream_key(stream_key(root, "init"), "model")
        x = np.asarray(jr.normal(start, (3,)))
        losses = []
        for step in range(25):
            noise = np.asarray(jr.normal(stream_key(root, "step", step), (3,)))
            gap = x - (1.0 + 0.1 * noise)
            losses.append(np.mean(gap**2))
            x = x - 0.05 * 2 * gap / 3
    arm = results.arms["main"]
    np.testing.assert_allclose(arm.state.params.position[0], x, rtol=1e-12)
    np.testing.assert_allclose(arm.series[5].train["loss"], losses, rtol=1e-12)
    np.testing.assert_array_equal(arm.series[5].train["step"], np.arange(1, 26))
    np.testing.assert_array_equal(arm.series[5].evaluated["step"], [20, 25])
    distance = np.abs(x - 1.0).max()
    np.testing.assert_allclose(arm.final()["distance"], [distance], rtol=1e-12)
    assert arm.series[5].evaluated["gaps"].shape == (2, 3)


def test_accumulated_micro_batches_move_once():
    plain = {"name": "sgd", "learning_rate": 0.05, "accumulate": 4}
    results = run(quadratic(noise=0.0, train={"optimiser": plain}), progress=False)
    start = run(
        quadratic(noise=0.0, train={"steps": 1, "optimiser": plain}), progress=False
    )
    x = start.arms["main"].state.params.position.astype(float)
    for _ in range(10):
        x = x - 0.05 * 2 * (x - 1.0) / 3
    got = results.arms["main"].state.params.position
    np.testing.assert_allclose(got, x, rtol=1e-5)


def test_average_of_parameters_is_the_exponential_one():
    spec = quadratic(noise=0.0, seeds=[0], train={"steps": 20, "ema": 0.9})
    state = run(spec, progress=False).arms["main"].state
    one_step = quadratic(noise=0.0, seeds=[0], train={"steps": 1, "ema": 0.9})
    x = (
        run(one_step, progress=False)
        .arms["main"]
        .state.params.position[0]
        .astype(float)
    )
    factor = 1 - 0.05 * 2 / 3
    start = 1 + (x - 1) / factor
    average, position = start, start
    for _ in range(20):
        position = 1 + (position - 1) * factor
        average = 0.9 * average + 0.1 * position
    np.testing.assert_allclose(state.average.position[0], average, rtol=1e-5)


def test_bfloat16_computes_coarsely_on_float32_parameters():
    coarse = run(quadratic(train={"precision": "bfloat16"}), progress=False)
    fine = run(quadratic(), progress=False)
    a = coarse.arms["main"].state.params.position
    b = fine.arms["main"].state.params.position
    assert a.dtype == np.float32
    gap = np.abs(a - b).max()
    assert 1e-6 < gap < 0.05


def test_float64_reaches_the_state_and_leaves_no_trace():
    results = run(quadratic(train={"precision": "float64"}), progress=False)
    assert results.arms["main"].state.params.position.dtype == np.float64
    assert not jax.config.jax_enable_x64


def test_early_stop_ends_each_lane_by_itself(tmp_path):
    """Without noise the distance shrinks for ever: only min_delta stops it."""
    rule = {"metric": "distance", "patience": 2, "min_delta": 0.05}
    train = {"steps": 600, "eval_every": 15, "early_stop": rule}
    for mode in ("vmap", "map"):
        spec = quadratic(noise=0.0, seeds=3, seed_mode=mode, train=train)
        results = run(spec, tmp_path / mode, progress=False)
        ends = []
        for seed, series in results.arms["main"].series.items():
            values = series.evaluated["distance"]
            best, waited = np.inf, 0
            count = 0
            for value in values:
                count += 1
                improved = value < best - 0.05
                best, waited = (value, 0) if improved else (best, waited + 1)
                if waited == 2:
                    break
            assert count == len(values)
            ends.append(series.train["step"][-1])
            assert ends[-1] == 15 * count
            state = results.arms["main"].state.params.position[seed]
            np.testing.assert_allclose(np.abs(state - 1).max(), values[-1], rtol=1e-6)
        assert len(set(ends)) > 1 and max(ends) < 600


def test_custom_step_with_keys_and_integers():
    results = run(walk(seeds=2, drift=0.5), progress=False)
    state = results.arms["main"].state
    np.testing.assert_array_equal(state["n"], [40, 40])
    series = results.arms["main"].series[1]
    np.testing.assert_array_equal(series.train["n"], np.arange(1, 41))
    assert not series.evaluated


def test_one_step_and_one_lane():
    results = run(walk(train={"steps": 1}), progress=False)
    assert len(results.arms["main"].series[0].train["step"]) == 1


def test_metrics_that_are_not_finite_are_recorded_and_fail_claims(tmp_path):
    claims = {"c": {"measure": "main.train.loss", "at_most": 1e30}}
    rate = {"name": "sgd", "learning_rate": 1e30}
    spec = quadratic(claims=claims, train={"optimiser": rate})
    results = run(spec, tmp_path, progress=False)
    assert not results.claims[0].holds
    assert b"null" in (tmp_path / "metrics.jsonl").read_bytes()
    assert '"value": null' in (tmp_path / "claims.json").read_text()


def test_steps_that_change_the_state_are_named():
    from djx.run import Experiment, Spec

    spec = walk()

    def build(config):
        good = spec.build(config)

        def step(state, index, key):
            new, metrics = good.step(state, index, key)
            return new | {"x": new["x"][:1]}, metrics

        return Experiment(good.init, step)

    bad = Spec(spec.path, spec.table, spec.arms, spec.claims, build)
    with pytest.raises(TypeError, match=r"step changed x from float32\(2,\) to"):
        run(bad, progress=False)


def test_what_a_step_leaves_is_there_in_the_next_and_after_a_resume(tmp_path):
    """The memory counts steps; a loss that reads it sees how many came before."""

    def init(key):
        return jnp.ones(())

    def loss(model, batch, step, key, memory):
        del batch, step, key
        return model * 0.0 + memory, ({"seen": memory}, memory + 1)

    experiment = supervised(
        init,
        loss,
        lambda key, step: (),
        optax.sgd(0.1),
        memory=lambda model: 5 * model,
    )
    spec = dataclasses.replace(walk(train={"steps": 20}), build=lambda _: experiment)
    whole = run(spec, progress=False).arms["main"]
    (series,) = whole.series.values()
    np.testing.assert_array_equal(series.train["seen"], np.arange(5, 25))
    np.testing.assert_array_equal(whole.state.memory, [25])


def test_what_a_backward_pass_leaves_is_there_in_the_next():
    """The cotangent counts steps."""

    def loss(model, batch, step, key, adjoint):
        del batch, step, key
        linear = adjoint * jax.lax.stop_gradient(adjoint + 1)
        return model**2 + linear, {"seen": adjoint}

    experiment = supervised(
        lambda key: jnp.ones(()),
        loss,
        lambda key, step: (),
        optax.sgd(0.1),
        adjoint=lambda model: 5 * model,
    )
    spec = dataclasses.replace(walk(train={"steps": 20}), build=lambda _: experiment)
    whole = run(spec, progress=False).arms["main"]
    (series,) = whole.series.values()
    np.testing.assert_array_equal(series.train["seen"], np.arange(5, 25))
    np.testing.assert_array_equal(whole.state.adjoint, [25])


def test_claims_may_name_the_time_of_a_step(tmp_path):
    claims = {
        "positive": {"measure": "main.step_seconds", "at_least": 0.0},
        "short": {"measure": "main.step_seconds", "at_most": 1e-12},
    }
    spec = quadratic(claims=claims)
    results = run(spec, tmp_path, progress=False)
    assert [claim.holds for claim in results.claims] == [True, False]
    taken = results.values["main"]["step_seconds"]
    assert taken.shape == (2,) and 0 < taken[0] < results.seconds["total"]
    again = run(spec, tmp_path, progress=False)  # read back, not measured again
    np.testing.assert_array_equal(again.values["main"]["step_seconds"], taken)
