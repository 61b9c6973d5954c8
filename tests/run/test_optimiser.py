"""Optimisers from config tables, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from djx.core.errors import ConfigError
from djx.run import make_optimiser
from djx.run._optimiser import learning_rate
from djx.run._schema import Optimiser, OPTIMISERS, Train, with_values


START = {"w": np.array([1.0, -2.0, 3.0, 0.5], np.float32)}
GRADS = {"w": np.array([3.0, 0.0, -4.0, 12.0], np.float32)}  # their norm is 13


def table(steps=10, **optimiser):
    optimiser.setdefault("name", "sgd")
    optimiser.setdefault("learning_rate", 0.1)
    return Train.model_validate({"steps": steps, "optimiser": optimiser})


def take(train, grads, params=START):
    """The parameters after each gradient."""
    optimiser = make_optimiser(train)
    params = jax.tree.map(jnp.asarray, params)
    state, seen = optimiser.init(params), []
    # The branches of accumulation would be compiled anew at every step.
    jitted = train.optimiser.accumulate > 1
    update = jax.jit(optimiser.update) if jitted else optimiser.update
    for grad in grads:
        updates, state = update(grad, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return seen


def assert_close(got, wanted, rtol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol), got, wanted)


def moved(params, grads, rate):
    return jax.tree.map(lambda p, g: p - rate * g, params, grads)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_name_takes_steps_down_a_quadratic(name):
    optimiser = make_optimiser(table(name=name, learning_rate=1e-2))

    def loss(params):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))

    @jax.jit
    def step(params, state):
        grads = jax.grad(loss)(params)
        updates, state = optimiser.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = jax.tree.map(jnp.asarray, START)
    state, losses = optimiser.init(params), [float(loss(params))]
    for _ in range(5):
        params, state = step(params, state)
        losses.append(float(loss(params)))
    assert all(
        after < before for before, after in zip(losses, losses[1:], strict=False)
    )


def test_sgd_is_its_closed_form():
    first, second = take(table(), [GRADS, GRADS])
    assert_close(first, moved(START, GRADS, 0.1))
    assert_close(second, moved(START, GRADS, 0.2))


def test_options_reach_the_optax_function():
    """Momentum: the second step repeats 0.9 of the first."""
    _, second = take(table(options={"momentum": 0.9}), [GRADS, GRADS])
    assert_close(second, moved(START, GRADS, 0.1 * (1 + 1.9)))
    _, nesterov = take(
        table(options={"momentum": 0.9, "nesterov": True}), [GRADS, GRADS]
    )
    assert_close(nesterov, moved(START, GRADS, 0.1 * (1.9 + 1 + 0.9 * 1.9)))


def test_decoupled_decay_is_its_closed_form():
    """p - rate (g + decay p), the decay outside what the method makes of g."""
    first, second = take(table(weight_decay=0.3), [GRADS, GRADS])
    want = jax.tree.map(lambda p, g: p - 0.1 * (g + 0.3 * p), START, GRADS)
    assert_close(first, want)
    want = jax.tree.map(lambda p, g: p - 0.1 * (g + 0.3 * p), want, GRADS)
    assert_close(second, want)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_decay_adds_rate_times_decay_times_parameters_to_any_method(name):
    """Whatever decay the optax function has by default is replaced, not added to."""
    plain = {"options": {"weight_decay": 0.0}} if name in WITH_OWN else {}
    (bare,) = take(table(name=name, **plain), [GRADS])
    (decayed,) = take(table(name=name, weight_decay=0.3), [GRADS])
    want = jax.tree.map(lambda b, p: b - 0.1 * 0.3 * p, bare, START)
    assert_close(decayed, want, rtol=1e-5)


WITH_OWN = ("adadelta", "adamw", "lamb", "lion")


def test_adamw_decays_as_adam_with_decay():
    grads = [GRADS, moved(GRADS, START, 1.0), GRADS]
    adamw = take(table(name="adamw", options={"weight_decay": 0.05}), grads)
    for kind in ("adam", "adamw"):
        for got, want in zip(
            take(table(name=kind, weight_decay=0.05), grads), adamw, strict=True
        ):
            assert_close(got, want)


def test_decay_follows_the_schedule():
    train = table(steps=4, weight_decay=0.3, schedule={"kind": "linear"})
    want, zero = START, jax.tree.map(np.zeros_like, GRADS)
    for index, got in enumerate(take(train, [zero] * 4)):
        rate = 0.1 * (1 - index / 4)
        want = moved(want, want, rate * 0.3)
        assert_close(got, want)


def test_decay_leaves_absent_parameters_alone():
    """Filtered trees have None where nothing is trained."""
    params, grads = START | {"none": None}, GRADS | {"none": None}
    (got,) = take(table(weight_decay=0.3, clip_norm=1.0), [grads], params)
    assert got["none"] is None


@pytest.mark.parametrize("limit", [0.5, 5.0, 13.0, 20.0])
def test_clipping_bounds_the_global_norm(limit):
    (got,) = take(table(clip_norm=limit, learning_rate=1.0), [GRADS])
    update = jax.tree.map(lambda a, b: a - b, got, START)
    norm = np.sqrt(sum(float(np.sum(u**2)) for u in jax.tree.leaves(update)))
    np.testing.assert_allclose(norm, min(limit, 13.0), rtol=1e-6)
    scale = min(limit / 13.0, 1.0)
    assert_close(got, moved(START, GRADS, scale), rtol=1e-5)


def test_clipping_does_not_reach_the_decay():
    (got,) = take(table(clip_norm=1.3, weight_decay=0.3), [GRADS])
    want = jax.tree.map(lambda p, g: p - 0.1 * (0.1 * g + 0.3 * p), START, GRADS)
    assert_close(got, want, rtol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_accumulation_is_one_step_on_the_mean_gradient(name):
    rng = np.random.default_rng(0)
    grads = [
        jax.tree.map(lambda g: rng.normal(size=g.shape).astype(np.float32), GRADS)
        for _ in range(8)
    ]
    extras = {"clip_norm": 0.4, "weight_decay": 0.1, "name": name}
    schedule = {"kind": "linear", "final_fraction": 0.5}
    got = take(table(steps=8, accumulate=4, schedule=schedule, **extras), grads)
    means = [
        jax.tree.map(lambda *g: np.mean(g, axis=0), *grads[i : i + 4]) for i in (0, 4)
    ]
    want = take(table(steps=2, schedule=schedule, **extras), means)
    for index in range(3):
        assert_close(got[index], START, rtol=0)
    for index in range(3, 7):
        assert_close(got[index], want[0], rtol=1e-5)
    assert_close(got[7], want[1], rtol=1e-5)


def test_fewer_steps_than_are_accumulated_make_no_update():
    for schedule in (None, {"kind": "exponential"}, {"kind": "cosine"}):
        train = table(steps=2, accumulate=4, schedule=schedule)
        assert_close(take(train, [GRADS] * 2)[-1], START, rtol=0)


def rates(schedule, counts, peak=0.1, updates=100, **more):
    optimiser = Optimiser(learning_rate=peak, schedule=schedule, **more)
    shape = learning_rate(optimiser, updates)
    return [float(shape(jnp.asarray(count))) for count in counts]


COUNTS = (0, 1, 25, 50, 99, 100, 150)


def test_cosine_values():
    got = rates({"kind": "cosine", "final_fraction": 0.2}, COUNTS)
    done = np.minimum(np.array(COUNTS) / 100, 1)
    want = 0.1 * (0.2 + 0.8 * (1 + np.cos(np.pi * done)) / 2)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(np.array(got)[[0, 3, 5]], [0.1, 0.06, 0.02], rtol=1e-5)


def test_warm_up_values():
    schedule = {"kind": "cosine", "warmup_steps": 20, "final_fraction": 0.2}
    got = rates(schedule, (0, 5, 10, 19, 20, 60, 100))
    want = [0, 0.025, 0.05, 0.095, 0.1, 0.06, 0.02]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-9)


def test_warm_up_counts_steps_where_gradients_are_accumulated():
    schedule = {"kind": "cosine", "warmup_steps": 20}
    got = rates(schedule, (0, 1, 2, 4, 5), updates=25, accumulate=4)
    np.testing.assert_allclose(got[:5], [0, 0.02, 0.04, 0.08, 0.1], rtol=1e-5)


def test_warm_up_of_the_whole_run_reaches_the_peak():
    got = rates({"kind": "cosine", "warmup_steps": 100}, (50, 100))
    np.testing.assert_allclose(got, [0.05, 0.1], rtol=1e-5)


def test_exponential_values():
    got = rates({"kind": "exponential", "final_fraction": 0.01}, COUNTS[:6])
    want = 0.1 * 0.01 ** (np.array(COUNTS[:6]) / 100)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(np.array(got)[[0, 3, 5]], [0.1, 0.01, 0.001], rtol=1e-5)


def test_linear_values():
    got = rates({"kind": "linear", "final_fraction": 0.5}, COUNTS)
    want = 0.1 * (1 - 0.5 * np.minimum(np.array(COUNTS) / 100, 1))
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_steps_take_the_scheduled_rate():
    train = table(steps=4, schedule={"kind": "linear", "final_fraction": 0.2})
    want = START
    for index, got in enumerate(take(train, [GRADS] * 4)):
        want = moved(want, GRADS, 0.1 * (1 - 0.8 * index / 4))
        assert_close(got, want)


TRACED = {
    "train.optimiser.learning_rate": 0.02,
    "train.optimiser.clip_norm": 2.0,
    "train.optimiser.weight_decay": 0.4,
    "train.optimiser.schedule.final_fraction": 0.3,
}


KINDS = ("cosine", "exponential", "linear")


@pytest.mark.parametrize(
    "name, kind", [(name, KINDS[i % 3]) for i, name in enumerate(OPTIMISERS)]
)
def test_traced_hyperparameters_are_those_written_out(name, kind):
    """One program serves arms that differ in them."""
    base = {"name": name, "clip_norm": 1.0, "weight_decay": 0.1}
    train = table(steps=12, schedule={"kind": kind}, **base)
    short = {path.removeprefix("train."): v for path, v in TRACED.items()}
    written = with_values(train, short)

    @jax.jit
    def run(values):
        return take(with_values(train, values), [GRADS] * 2)[-1]

    assert_close(run(short), take(written, [GRADS] * 2)[-1], rtol=1e-5)


def test_traced_rates_batch():
    rates = np.array([0.1, 0.2, 0.0], np.float32)

    def run(rate):
        train = with_values(table(), {"optimiser.learning_rate": rate})
        return take(train, [GRADS])[-1]

    got = jax.vmap(run)(rates)
    for index, rate in enumerate(rates):
        assert_close(
            jax.tree.map(lambda x, i=index: x[i], got), moved(START, GRADS, rate)
        )


@pytest.mark.parametrize(
    "name, option, known",
    [
        ("adam", "b11", "b1"),
        ("sgd", "momentun", "momentum"),
        ("rmsprop", "epss", "eps"),
        ("adamw", "weight_decy", "weight_decay"),
        ("adam", "learning_rate", None),
        ("adam", "mu_dtype", None),
        ("adamw", "mask", None),
        ("lamb", "zzz", None),
    ],
)
def test_unknown_options_are_config_errors(name, option, known):
    with pytest.raises(ConfigError) as caught:
        make_optimiser(table(name=name, options={option: 0.5}))
    (fault,) = caught.value.faults
    assert fault.field == f"train.optimiser.options.{option}"
    start = f"optax.{name} takes no {option!r}"
    hint = f"; did you mean {known!r}?"
    assert fault.message == start + hint if known else fault.message.startswith(start)


def test_all_unknown_options_are_listed():
    with pytest.raises(ConfigError) as caught:
        make_optimiser(table(name="adam", options={"x": 1.0, "b1": 0.5, "y": True}))
    fields = [fault.field.rpartition(".")[2] for fault in caught.value.faults]
    assert fields == ["x", "y"]


def test_decay_given_twice_is_a_config_error():
    options = {"weight_decay": 0.1}
    with pytest.raises(ConfigError, match="weight_decay is given too; keep one"):
        make_optimiser(table(name="adamw", weight_decay=0.1, options=options))
