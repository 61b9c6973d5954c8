"""The digits experiment's own pieces."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import sklearn.datasets

from experiments import neural_ode
from experiments._digits import digits


def test_digits_are_those_of_scikit_learn_split_once():
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    train, test = digits("float64")
    got = np.concatenate([train[0], test[0]])
    order = np.random.default_rng(0).permutation(len(images))
    np.testing.assert_array_equal(got, images[order] / 16)
    np.testing.assert_array_equal(np.concatenate([train[1], test[1]]), labels[order])
    assert len(train[0]) == 1437 and got.dtype == np.float64
    assert digits("float32")[0][0].dtype == np.float32


def test_penalty_weight_runs_exponentially_and_zero_stays_zero():
    weights = [float(neural_ode._interpolate(1.0, 0.1, d)) for d in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(weights, [1.0, 10**-0.5, 0.1], rtol=1e-6)
    assert float(neural_ode._interpolate(0.0, 0.0, 0.5)) == 0.0
    assert float(neural_ode._interpolate(0.0, 1.0, 0.5)) == 0.0


@pytest.mark.parametrize(
    "section",
    [
        {"kind": "kinetic", "weight": [1.0, 1.0]},
        {"kind": "taylor", "order": 2, "weight": [1.0, 1.0]},
    ],
    ids=["kinetic", "taylor"],
)
def test_integrals_are_those_of_the_saved_path_and_leave_the_solve_alone(x64, section):
    config = neural_ode.Config.model_validate(
        {"experiment": "neural_ode", "train": {"steps": 1}, "regulariser": section}
    )
    net = neural_ode.Net(100, key=jr.key(0))
    x = jnp.asarray(digits("float64")[0][0][:64])

    @jax.jit
    def both(x):
        solution, end, penalty = neural_ode.penalised_solve(
            net, x, config, key=jr.key(1)
        )
        plain = neural_ode.solve(net, x, config.model)
        nfe = [neural_ode._statistics(s)["nfe"] for s in (solution, plain)]
        return end, plain.ys[0], penalty, nfe

    end, plain, penalty, nfe = both(x)
    np.testing.assert_allclose(end, plain, rtol=1e-12)
    assert nfe[0] == nfe[1]

    # A classical fine solve, Simpson's rule, and derivatives by central differences.
    count, h = 200, 1 / 200
    path, weights = [x], np.ones(count + 1)
    for i in range(count):
        y, t = path[-1], i * h
        a = net.velocity(t, y)
        b = net.velocity(t + h / 2, y + h / 2 * a)
        c = net.velocity(t + h / 2, y + h / 2 * b)
        d = net.velocity(t + h, y + h * c)
        path.append(y + h / 6 * (a + 2 * b + 2 * c + d))
    weights[1:-1:2], weights[2:-1:2] = 4, 2

    def rate(t, y):
        speed = net.velocity(t, y)
        if section["kind"] == "kinetic":
            return np.mean(speed**2)
        e = 1e-4
        ahead = net.velocity(t + e, y + e * speed)
        behind = net.velocity(t - e, y - e * speed)
        return np.mean(((ahead - behind) / (2 * e)) ** 2)

    rates = [rate(i * h, y) for i, y in enumerate(path)]
    np.testing.assert_allclose(penalty, weights @ rates * h / 3, rtol=1e-6)
