"""Where derivatives elsewhere go wrong silently: right here, or reported."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.implicit import (
    argmin,
    fixed_point,
    Gradient,
    least_squares,
    prox,
    proximal_argmin,
    qp,
    Receipt,
    RESULTS,
    root,
    value_and_grad,
)


def matrix(condition, n=12, seed=0):
    """Symmetric positive definite, eigenvalues 1 to 1 / condition."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    return (q * np.logspace(0, -np.log10(condition), n)) @ q.T, q


def gradient_and_receipt(loss, *args):
    """Of loss(theta, ..., receipt)."""
    both = jax.jit(jax.grad(loss, argnums=(0, len(args))))
    return both(*args, Receipt.zeros())


def relative(found, expected):
    return np.linalg.norm(np.asarray(found - expected)) / np.linalg.norm(expected)


@pytest.mark.parametrize("linear", ["auto", "lu", "cholesky", "cg", "gmres"])
def test_ill_conditioned_hessian(x64, linear):
    """x = H^-1 theta, loss w'x, gradient H^-1 w: right to the tolerance, or failed."""
    powers = np.arange(2, 17, 2)
    hessians, vectors = zip(*[matrix(10.0**p) for p in powers], strict=True)
    w = vectors[0] @ np.ones(12)  # every eigenvector takes part

    def loss(theta, hessian, receipt):
        def objective(x):
            return x @ hessian @ x / 2 - theta @ x

        how = Gradient(linear=linear)
        x = argmin(objective, jnp.zeros(12), gradient=how, receipt=receipt).value
        return jnp.asarray(w) @ x

    found, receipt = jax.jit(jax.vmap(jax.grad(loss, argnums=(0, 2))))(
        jnp.asarray(hessians) @ w, jnp.asarray(hessians), Receipt.zeros((8,))
    )
    tolerance = np.finfo(float).eps ** 0.5
    for i, power in enumerate(powers):
        error = relative(found[i], vectors[i] @ np.logspace(0, power, 12))
        assert error <= 10 * tolerance or receipt.failed[i] == 1
        if power <= 6 and linear != "gmres":
            assert receipt.failed[i] == 0 and error <= tolerance
        # The receipt's own estimate is not far below the truth.
        estimate = receipt.error[i]
        assert not np.isfinite(estimate) or estimate >= error / 100


@pytest.mark.parametrize("steps", [1, 3, 10, 30])
def test_inner_solve_stopped_early(x64, steps):
    """Gradient descent that has not converged: the certificate tells by how much."""
    rng = np.random.default_rng(1)
    hessian, _ = matrix(20.0)
    data, w = rng.normal(size=12), rng.normal(size=12)

    def objective(x, theta):
        quartic = jnp.sum(jnp.cosh(x)) + theta @ x**2 / 2
        return x @ jnp.asarray(hessian) @ x / 2 + quartic - jnp.asarray(data) @ x

    def descend(function, x):
        slope = jax.grad(function)
        return jax.lax.fori_loop(0, steps, lambda _, x: x - 0.15 * slope(x), x)

    def loss(theta, gradient, solver=descend):
        x = argmin(
            objective, jnp.zeros(12), theta, solver=solver, gradient=gradient
        ).value
        return jnp.sum(jnp.asarray(w) * x**2)

    theta = jnp.ones(12) / 2
    exact = jax.grad(lambda theta: loss(theta, Gradient(), None))(theta)
    _, found, certificate = jax.jit(value_and_grad(loss))(theta)
    _, better, _ = jax.jit(value_and_grad(loss, certify="correct"))(theta)
    error = float(jnp.linalg.norm(found - exact))
    assert 0.5 <= certificate.error / error <= 2
    assert jnp.linalg.norm(better - exact) <= 0.4 * error


def test_a_solver_that_ran_out_of_steps_is_a_failure(x64):
    def loss(theta, receipt):
        solution = argmin(
            lambda x: jnp.sum((x - theta) ** 4) + jnp.sum(jnp.cosh(x)),
            jnp.zeros(3),
            max_steps=1,
            receipt=receipt,
        )
        return jnp.sum(solution.value), solution

    theta = jnp.full(3, 5.0)
    (_, receipt), solution = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(
        theta, Receipt.zeros()
    )
    assert solution.result == RESULTS.not_converged
    assert solution.receipt.failed == 1 and receipt.failed == 1
    with pytest.raises(Exception, match="stopped before"):
        argmin(
            lambda x: jnp.sum((x - theta) ** 4), jnp.zeros(3), max_steps=1, throw=True
        )


def test_singular_hessian(x64):
    """Zero modes: a failure, or by eigh the derivative of least norm."""
    rng = np.random.default_rng(2)
    half = rng.normal(size=(4, 6))
    hessian, w = half.T @ half, half.T @ rng.normal(size=4)

    def loss(theta, receipt, linear):
        def objective(x):
            return x @ jnp.asarray(hessian) @ x / 2 - (jnp.asarray(half).T @ theta) @ x

        how = Gradient(linear=linear)
        solution = argmin(objective, jnp.zeros(6), gradient=how, receipt=receipt)
        return jnp.asarray(w) @ solution.value

    theta = jnp.asarray(rng.normal(size=4))
    expected = half @ np.linalg.pinv(hessian) @ w
    for linear in ("auto", "lu", "cholesky"):
        part = functools.partial(loss, linear=linear)
        found, receipt = gradient_and_receipt(part, theta)
        assert receipt.failed == 1 or relative(found, expected) < 1e-7
    for linear in ("eigh", "svd"):
        part = functools.partial(loss, linear=linear)
        found, receipt = gradient_and_receipt(part, theta)
        np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_rank_deficient_least_squares(x64):
    """Minimum-norm derivative of a consistent problem, by eigh of J'J."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(9, 3)) @ rng.normal(size=(3, 5))

    def loss(b, receipt, linear):
        how = Gradient(linear=linear)
        solution = least_squares(
            lambda x: jnp.asarray(rows) @ x - b,
            jnp.zeros(5),
            gradient=how,
            receipt=receipt,
        )
        return jnp.sum((jnp.asarray(rows) @ solution.value) ** 2)

    b = jnp.asarray(rng.normal(size=9))
    projector = rows @ np.linalg.pinv(rows)
    expected = 2 * projector @ b
    found, receipt = gradient_and_receipt(functools.partial(loss, linear="eigh"), b)
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    found, receipt = gradient_and_receipt(functools.partial(loss, linear="auto"), b)
    assert receipt.failed == 1 or relative(found, expected) < 1e-7


def test_one_bad_lane_of_many(x64):
    """A singular lane is reported and harms no other, whatever the policy."""
    rng = np.random.default_rng(4)
    half = rng.normal(size=(128, 5, 5))
    hessians = half @ half.swapaxes(1, 2) + np.eye(5)
    hessians[77] = np.outer(np.ones(5), np.ones(5))
    theta = rng.normal(size=(128, 5))
    w = rng.normal(size=5)

    def loss(theta, receipt, hessian, policy):
        solution = root(
            lambda x: hessian @ x - theta,
            jnp.zeros(5),
            gradient=Gradient(on_failure=policy),
            receipt=receipt,
        )
        return jnp.asarray(w) @ solution.value

    others = np.arange(128) != 77
    expected = np.linalg.solve(
        hessians[others].swapaxes(1, 2), np.broadcast_to(w, (127, 5))[..., None]
    )[..., 0]
    for policy in ("report", "zero", "nan"):
        part = functools.partial(loss, policy=policy)
        found, receipt = jax.jit(jax.vmap(jax.grad(part, argnums=(0, 1))))(
            theta, Receipt.zeros((128,)), hessians
        )
        np.testing.assert_allclose(found[others], expected, rtol=1e-9)
        assert receipt.failed[77] == 1 and np.all(receipt.failed[others] == 0)
        if policy == "zero":
            np.testing.assert_array_equal(found[77], 0)
        if policy == "nan":
            assert np.all(np.isnan(found[77]))
        assert receipt.mean()["failed"] == 1 and receipt.mean()["solves"] == 128
    part = functools.partial(loss, policy="raise")
    with pytest.raises(Exception, match="implicit derivative failed"):
        jax.block_until_ready(
            jax.jit(jax.vmap(jax.grad(part)))(theta, Receipt.zeros((128,)), hessians)
        )


def program(n=8, m=12, p=2, seed=0):
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(n, n))
    inside = rng.normal(size=n)
    A, G = rng.normal(size=(p, n)), rng.normal(size=(m, n))
    slack = rng.uniform(0.0, 1.0, m)
    return dict(
        Q=half @ half.T / n + 0.1 * np.eye(n),
        q=3 * rng.normal(size=n),
        A=A,
        b=A @ inside,
        G=G,
        h=G @ inside + slack,
    )


def qp_gradient(given, w):
    def loss(q, receipt):
        solution = qp(**(given | {"q": q}), receipt=receipt)
        return jnp.asarray(w) @ solution.value.x, solution

    both = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    return both(jnp.asarray(given["q"]), Receipt.zeros())


def test_redundant_constraints_of_a_program(x64):
    """Rows given twice: multipliers are not unique, the solution's derivative is."""
    given, w = program(), np.random.default_rng(5).normal(size=8)
    (expected, _), once = qp_gradient(given, w)
    twice = dict(given)
    for matrix, vector in (("A", "b"), ("G", "h")):
        twice[matrix] = np.concatenate([given[matrix], given[matrix]])
        twice[vector] = np.concatenate([given[vector], given[vector]])
    (found, receipt), solution = qp_gradient(twice, w)
    np.testing.assert_allclose(solution.value.x, once.value.x, atol=1e-8)
    assert receipt.failed == 1 or relative(found, expected) < 1e-6


def test_infeasible_and_unbounded_lanes(x64):
    """Their status says so, their gradients are zero, the others' are untouched."""
    given, w = program(), np.random.default_rng(6).normal(size=8)
    (expected, _), _ = qp_gradient(given, w)
    batch = {k: np.broadcast_to(v, (4, *np.shape(v))).copy() for k, v in given.items()}
    batch["G"][1, 1], batch["h"][1, 1] = -batch["G"][1, 0], -batch["h"][1, 0] - 1.0
    batch["Q"][2] = 0
    batch["G"][2], batch["h"][2] = 0, 1.0

    def loss(q, receipt, rest):
        solution = qp(
            q=q, **rest, receipt=receipt, gradient=Gradient(on_failure="zero")
        )
        x = solution.value.x
        return jnp.asarray(w) @ jnp.where(jnp.isnan(x), 0, x), solution

    rest = {k: v for k, v in batch.items() if k != "q"}
    (found, receipt), solution = jax.jit(
        jax.vmap(jax.grad(loss, argnums=(0, 1), has_aux=True))
    )(batch["q"], Receipt.zeros((4,)), rest)
    codes = [RESULTS.successful, RESULTS.infeasible, RESULTS.unbounded]
    results = [
        jax.tree.map(lambda leaf, i=i: leaf[i], solution.result) for i in range(4)
    ]
    for result, code in zip(results, [*codes, codes[0]], strict=True):
        assert result == code
    np.testing.assert_array_equal(receipt.failed, [0, 1, 1, 0])
    np.testing.assert_allclose(found[jnp.array([0, 3])], [expected] * 2, rtol=1e-6)
    np.testing.assert_array_equal(found[1:3], 0)


def test_degenerate_program_is_flagged(x64):
    """A constraint met without a multiplier: one of several derivatives is given."""
    given = dict(Q=np.eye(2), q=np.array([-1.0, -1.0]), G=np.eye(2), h=np.ones(2))
    (found, receipt), solution = qp_gradient(given, np.ones(2))
    np.testing.assert_allclose(solution.value.x, 1.0, atol=1e-7)
    assert solution.stats["kink"] and receipt.kinks == 1
    assert all(-1 - 1e-6 <= value <= 1e-6 for value in found)  # between -1 and 0
    clear = given | {"h": np.full(2, 2.0)}
    (found, receipt), solution = qp_gradient(clear, np.ones(2))
    assert not solution.stats["kink"] and receipt.kinks == 0
    np.testing.assert_allclose(found, -1.0, rtol=1e-9)


def test_kink_of_soft_thresholding_is_flagged(x64):
    def loss(c, receipt):
        solution = proximal_argmin(
            lambda x: jnp.sum((x - c) ** 2) / 2,
            prox.l1,
            jnp.zeros(2),
            receipt=receipt,
        )
        return jnp.sum(solution.value)

    at, receipt = gradient_and_receipt(loss, jnp.array([1.0, 3.0]))
    assert receipt.kinks == 1 and -1e-9 <= at[0] <= 1 + 1e-9
    away, receipt = gradient_and_receipt(loss, jnp.array([0.5, 3.0]))
    assert receipt.kinks == 0
    np.testing.assert_allclose(away, [0.0, 1.0], atol=1e-9)


def test_single_precision_data_under_x64(x64):
    """Types stay: nothing is promoted, nothing breaks."""
    x = jnp.asarray(np.random.default_rng(7).normal(size=(20, 4)), jnp.float32)

    def loss(theta, solve):
        return jnp.sum(solve(theta).value ** 2)

    def ridge(theta):
        return argmin(
            lambda w: jnp.sum((x @ w - 1) ** 2) + jnp.sum(theta * w**2),
            jnp.zeros(4, jnp.float32),
        )

    def layer(theta):
        return fixed_point(
            lambda z: jnp.tanh(x[:4] @ z / 8 + theta),
            jnp.zeros(4, jnp.float32),
            tolerance=1e-6,
        )

    def program(theta):
        eye = jnp.eye(4, dtype=jnp.float32)
        solution = qp(eye, theta, G=eye, h=jnp.zeros(4, jnp.float32))
        return solution.__class__(
            solution.value.x, solution.result, solution.receipt, solution.stats
        )

    for solve in (ridge, layer, program):
        theta = jnp.full(4, 0.5, jnp.float32)
        value = jax.jit(solve)(theta).value
        found = jax.jit(jax.grad(loss), static_argnums=1)(theta, solve)
        assert value.dtype == found.dtype == jnp.float32
        double, h = jnp.asarray(theta, float), 1e-3
        loss_of = jax.jit(lambda theta, solve=solve: loss(theta, solve))
        for i in range(2):
            step = jnp.zeros(4).at[i].set(h)
            up = loss_of(jnp.float32(double + step))
            down = loss_of(jnp.float32(double - step))
            np.testing.assert_allclose(found[i], (up - down) / (2 * h), atol=5e-3)


def test_start_at_the_solution(x64):
    hessian, _ = matrix(10.0)

    def solve(theta, guess):
        return argmin(
            lambda x: x @ jnp.asarray(hessian) @ x / 2 - theta @ x, guess
        ).value

    theta = jnp.ones(12)
    guess = solve(theta, jnp.zeros(12))
    found = jax.jit(jax.jacrev(solve))(theta, guess)
    np.testing.assert_allclose(found, np.linalg.inv(hessian), rtol=1e-9)
    still = jax.jacrev(lambda a: fixed_point(lambda z: a * z, 0.0).value)(0.5)
    assert still == 0
    exact = jax.jacrev(lambda a: root(lambda x: x**2 - a, 2.0).value)(4.0)
    np.testing.assert_allclose(exact, 0.25, rtol=1e-12)


@pytest.mark.parametrize("kind", ["unknowns", "objective", "mixed"])
def test_huge_and_tiny_scales(x64, kind):
    """Units of unknowns and objective do not matter."""
    hessian, _ = matrix(10.0, n=4)
    scales = jnp.array([1.0, 1e-12, 1e-6, 1e6, 1e12])

    def solve(theta, scale):
        units, size = jnp.ones(4), 1.0
        if kind == "unknowns":
            units = jnp.full(4, scale)
        elif kind == "mixed":
            units = jnp.stack([1.0, scale, 1.0, scale])
        else:
            size = scale

        def objective(x):
            y = x / units
            smooth = y @ jnp.asarray(hessian) @ y / 2 + jnp.sum(y**4) / 10
            return size * (smooth - theta @ y)

        return argmin(objective, jnp.zeros(4)).value / units

    derivative = jax.jit(jax.vmap(jax.jacrev(solve), in_axes=(None, 0)))
    found = derivative(jnp.arange(4.0), scales)
    for one in found[1:]:
        np.testing.assert_allclose(one, found[0], rtol=1e-6, atol=1e-9)
    x = jax.jit(solve)(jnp.arange(4.0), scales[0])
    exact = np.linalg.inv(hessian + np.diag(1.2 * np.asarray(x) ** 2))
    np.testing.assert_allclose(found[0], exact, rtol=1e-9)


@pytest.mark.parametrize("cotangent", [0.0, 1e-200, 1e200, np.nan])
def test_cotangents_of_any_size(x64, cotangent):
    def solve(theta):
        return root(lambda x: 2 * x - theta, jnp.zeros(2)).value

    _, pull = jax.vjp(solve, jnp.ones(2))
    (found,) = pull(jnp.array([cotangent, 0.0]))
    assert found[0] == cotangent / 2 or np.isnan(cotangent)


def test_more_equations_than_unknowns_and_wrong_types_are_named():
    with pytest.raises(ValueError, match="3 equations for 2 unknowns"):
        root(lambda x: jnp.append(x, 1.0), jnp.zeros(2))
    with pytest.raises(TypeError, match="floating-point arrays, not int"):
        root(lambda x: x - 1, jnp.zeros(2, int))
    with pytest.raises(ValueError, match="one number"):
        argmin(lambda x: x, jnp.zeros(2))
    with pytest.raises(ValueError, match="did you mean 'neumann'"):
        Gradient(mode="neuman")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="G and h come together"):
        qp(jnp.eye(2), jnp.zeros(2), G=jnp.eye(2))
    with pytest.raises(ValueError, match=r"h has shape \(3,\); expected \(2,\)"):
        qp(jnp.eye(2), jnp.zeros(2), G=jnp.eye(2), h=jnp.zeros(3))
