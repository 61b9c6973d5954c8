"""The dictionary experiment's own pieces."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import ElasticNet, LogisticRegression
from sklearn.metrics import roc_auc_score

from djx.implicit import Receipt
from experiments import dictionary_learning
from experiments._dictionary_learning_codes import (
    area_under_curve,
    best_classifier,
    encode,
    hypergradient_check,
    reconstruction,
    unit_atoms,
)
from experiments._dictionary_learning_data import standardised, table, train_count


L1, L2 = 0.3, 0.1


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def problem():
    generator = np.random.default_rng(0)
    raw = generator.normal(size=(4, 6))
    return raw, generator.normal(size=(8, 6)), generator.integers(0, 2, 8) * 1.0


def test_table_is_what_scikit_learn_loads():
    known: Any = load_breast_cancer()
    features, labels = table()
    np.testing.assert_array_equal(features, known.data)
    np.testing.assert_array_equal(labels, known.target)


def test_split_is_standardised_by_its_training_part():
    order = jr.permutation(jr.key(3), 569)
    count = train_count(0.25)
    rows, labels = standardised(order, count)
    assert count == 427
    np.testing.assert_allclose(jnp.mean(rows[:count], 0), 0, atol=1e-12)
    np.testing.assert_allclose(jnp.std(rows[:count], 0), 1, rtol=1e-12)
    known: Any = load_breast_cancer()
    kept = np.asarray(order)
    train = known.data[kept[:count]]
    wanted = (known.data[kept] - train.mean(0)) / train.std(0)
    np.testing.assert_allclose(rows, wanted, atol=1e-11)
    np.testing.assert_array_equal(labels, known.target[kept])


def test_seeds_split_alike_in_all_arms():
    config = {"experiment": "dictionary_learning", "train": {"steps": 1}}
    methods = ("task_driven", "unsupervised", "raw", "pca")
    made = [
        dictionary_learning.start(
            dictionary_learning.Config(**config, method=method), jr.key(5)
        )
        for method in methods
    ]
    for model in made:
        np.testing.assert_array_equal(model.order, made[0].order)
        assert sorted(np.asarray(model.order)) == list(range(569))
    np.testing.assert_array_equal(made[0].atoms, made[1].atoms)
    np.testing.assert_allclose(jnp.linalg.norm(made[0].atoms, axis=1), 1, rtol=1e-12)


def by_supports(atoms, row):
    """The code by trying every support and every choice of signs."""
    best, code = np.inf, np.zeros(len(atoms))
    for signs in itertools.product((-1, 0, 1), repeat=len(atoms)):
        signs = np.array(signs)
        on = signs != 0
        x = np.zeros(len(atoms))
        matrix = atoms[on] @ atoms[on].T + L2 * np.eye(on.sum())
        x[on] = np.linalg.solve(matrix, atoms[on] @ row - L1 * signs[on])
        if np.any(x * signs < 0):
            continue
        value = np.sum((row - x @ atoms) ** 2) / 2
        value += L1 * np.abs(x).sum() + L2 * np.sum(x**2) / 2
        if value < best:
            best, code = value, x
    return code


def test_codes_by_all_supports_and_by_scikit_learn(problem):
    raw, rows, _ = problem
    atoms = np.asarray(unit_atoms(jnp.asarray(raw)))
    codes = encode(jnp.asarray(atoms), jnp.asarray(rows), L1, L2)
    assert jnp.all(codes.converged) and not jnp.any(codes.kink)
    wanted = np.stack([by_supports(atoms, row) for row in rows])
    np.testing.assert_allclose(codes.value, wanted, atol=1e-9)
    np.testing.assert_array_equal(np.asarray(codes.value) != 0, wanted != 0)
    assert 0 < np.mean(wanted != 0) < 1
    # Scikit-learn has means over features where there are sums here.
    alpha, ratio = (L1 + L2) / 6, L1 / (L1 + L2)
    net = ElasticNet(alpha=alpha, l1_ratio=ratio, fit_intercept=False, tol=1e-12)
    again = np.stack([net.fit(atoms.T, row).coef_ for row in rows])
    np.testing.assert_allclose(codes.value, again, atol=1e-6)


def test_derivatives_of_codes_in_closed_form(problem):
    """On the support S: x = (D D' + l2)^-1 (D y - l1 sign x), all else zero."""
    raw, rows, _ = problem
    atoms, rows = unit_atoms(jnp.asarray(raw)), jnp.asarray(rows)

    def implicit_codes(atoms, l1, l2):
        return encode(atoms, rows, l1, l2, tolerance=1e-13).value

    signs = jnp.sign(implicit_codes(atoms, L1, L2))

    def closed(atoms, l1, l2):
        def one(row, sign):
            on = jnp.abs(sign)
            gram = (atoms @ atoms.T) * on[:, None] * on[None]
            matrix = gram + l2 * jnp.diag(on) + jnp.diag(1 - on)
            return jnp.linalg.solve(matrix, on * (atoms @ row) - l1 * sign)

        return jax.vmap(one)(rows, signs)

    at = (atoms, jnp.asarray(L1), jnp.asarray(L2))
    found = jax.jit(jax.jacrev(implicit_codes, argnums=(0, 1, 2)))(*at)
    wanted = jax.jit(jax.jacrev(closed, argnums=(0, 1, 2)))(*at)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_receipts_count_rows_and_kinks():
    """With one atom the code is (|y| - l1)+ / (1 + l2): a kink where |y| = l1."""
    atoms = jnp.asarray([[1.0, 0.0]])
    rows = jnp.asarray([[1.0, 0.0], [L1, 0.0], [0.1, 3.0]])

    def loss(atoms, receipt):
        return jnp.sum(encode(atoms, rows, L1, L2, receipt=receipt).value)

    _, told = jax.grad(loss, argnums=(0, 1))(atoms, Receipt.zeros())
    assert (told.solves, told.failed, told.kinks) == (3, 0, 1)
    codes = encode(atoms, rows, L1, L2)
    np.testing.assert_allclose(codes.value[:, 0], [0.7 / 1.1, 0, 0], atol=1e-9)
    np.testing.assert_array_equal(codes.kink, [False, True, False])


def test_reconstruction_has_the_gradient_of_the_least_objective(problem):
    """The envelope theorem, against the derivative through the codes."""
    raw, rows, _ = problem
    atoms, rows = unit_atoms(jnp.asarray(raw)), jnp.asarray(rows)

    def least(atoms):
        x = encode(atoms, rows, L1, L2, tolerance=1e-13).value
        penalty = L1 * jnp.sum(jnp.abs(x), 1) + L2 * jnp.sum(x**2, 1) / 2
        return reconstruction(atoms, rows, x) + jnp.mean(penalty)

    fixed = encode(atoms, rows, L1, L2, tolerance=1e-13).value
    found = jax.grad(lambda atoms: reconstruction(atoms, rows, fixed))(atoms)
    np.testing.assert_allclose(found, jax.jit(jax.grad(least))(atoms), atol=1e-10)


def test_area_under_the_curve_with_ties():
    scores = np.array([0.1, 0.4, 0.4, 0.8, 0.3, 0.4])
    labels = np.array([0.0, 0, 1, 1, 0, 1])
    found = area_under_curve(jnp.asarray(scores), jnp.asarray(labels))
    np.testing.assert_allclose(found, roc_auc_score(labels, scores))


def test_best_classifier_is_scikit_learns(problem):
    features, labels = table()
    features = (features - features.mean(0)) / features.std(0)
    ridge = 1e-2
    weights, offset = best_classifier(jnp.asarray(features), jnp.asarray(labels), ridge)
    known: Any = LogisticRegression(
        C=1 / (ridge * len(labels)), tol=1e-10, max_iter=10000
    )
    known.fit(features, labels)
    np.testing.assert_allclose(weights, known.coef_[0], atol=1e-5)
    np.testing.assert_allclose(offset, known.intercept_[0], atol=1e-5)


def test_hypergradient_check_leaves_out_rows_at_a_kink():
    """One atom along the first axis: rows at |y1| = l1 have no derivative."""
    raw = jnp.asarray([[2.0, 0.0]])
    rows = jnp.asarray([[1.0, 0.5], [L1, 0.2], [0.05, 3.0]])
    direction = jnp.asarray([[0.3, 1.0]])
    classifier = jnp.asarray([2.0]), jnp.asarray(0.1)
    found = jax.jit(
        lambda raw: hypergradient_check(
            raw, direction, rows, jnp.asarray([1.0, 0, 1]), classifier, L1, L2
        )
    )(raw)
    assert found.moved == 1 and found.error < 1e-8
