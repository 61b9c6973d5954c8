"""Dataset distillation: its inner problem and its hypergradients."""

import functools as ft

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import sklearn.linear_model

from djx.implicit import Gradient
from experiments import dataset_distillation as distillation


def few(key=0):
    images = 0.3 * jr.normal(jr.key(key), (10, 64))
    return distillation.Distilled(images, jnp.arange(10))


def test_classifier_is_that_of_scikit_learn(x64):
    distilled, inner = few(), distillation.Inner(tolerance=1e-10)
    found = distillation.classifier(distilled, inner, jnp.zeros((64, 10)))
    # Its objective is the sum over images and C times the loss.
    reference = sklearn.linear_model.LogisticRegression(
        C=1 / (10 * inner.penalty), fit_intercept=False, tol=1e-10, max_iter=5000
    ).fit(np.asarray(distilled.images), np.arange(10))
    np.testing.assert_allclose(found.value.T, reference.coef_, atol=1e-5)


@pytest.mark.parametrize("derivative", ["implicit", "unrolled"])
def test_gradients_agree_with_differences(x64, derivative):
    inner = distillation.Inner(derivative=derivative, steps=300, tolerance=1e-12)
    (images, labels), _ = distillation.digits("float64")
    labels = jnp.asarray(labels[:50])
    along = jr.normal(jr.key(1), (10, 64))
    how = Gradient() if derivative == "implicit" else None

    @jax.jit
    def outer(images_there):
        there = distillation.Distilled(images_there, jnp.arange(10))
        start = jnp.zeros((64, 10))
        weights = distillation.classifier(there, inner, start, gradient=how).value
        return distillation.cross_entropy(weights, jnp.asarray(images[:50]), labels)

    at, step = few().images, 1e-5
    slope = (outer(at + step * along) - outer(at - step * along)) / (2 * step)
    found = jnp.vdot(jax.grad(outer)(at), along)
    np.testing.assert_allclose(found, slope, rtol=1e-6)


def test_error_of_a_gradient_is_found():
    start = jnp.zeros((64, 10))
    _, test = distillation.digits("float32")
    exact = distillation.Inner(tolerance=1e-7)
    error = ft.partial(distillation.gradient_error, few(), start=start, real=test)
    small, norm = error(distillation.Inner(tolerance=1e-6), exact)
    large, _ = error(distillation.Inner(derivative="unrolled", steps=2), exact)
    assert small < 1e-2 < 0.1 < large and norm > 0


def test_real_images_are_of_their_classes():
    (images, labels), _ = distillation.digits("float32")
    chosen = distillation._of_each_class((images, labels), 2, jr.key(0))
    for image, label in zip(np.asarray(chosen), 2 * list(range(10)), strict=True):
        same = np.all(images == image, axis=1)
        assert label in labels[same]
