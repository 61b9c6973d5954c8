"""The digits experiment's own pieces."""

import numpy as np
import sklearn.datasets

from experiments import neural_ode


def test_digits_are_those_of_scikit_learn_split_once():
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    train, test = neural_ode._digits("float64")
    got = np.concatenate([train[0], test[0]])
    order = np.random.default_rng(0).permutation(len(images))
    np.testing.assert_array_equal(got, images[order] / 16)
    np.testing.assert_array_equal(np.concatenate([train[1], test[1]]), labels[order])
    assert len(train[0]) == 1437 and got.dtype == np.float64
    assert neural_ode._digits("float32")[0][0].dtype == np.float32


def test_penalty_weight_runs_exponentially_and_zero_stays_zero():
    weights = [float(neural_ode._interpolate(1.0, 0.1, d)) for d in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(weights, [1.0, 10**-0.5, 0.1], rtol=1e-6)
    assert float(neural_ode._interpolate(0.0, 0.0, 0.5)) == 0.0
    assert float(neural_ode._interpolate(0.0, 1.0, 0.5)) == 0.0
