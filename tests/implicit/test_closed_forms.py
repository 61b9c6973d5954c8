"""Solutions whose derivatives are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from djx.implicit import (
    argmin,
    fixed_point,
    Gradient,
    least_squares,
    prox,
    proximal_argmin,
    qp,
    root,
)


RNG = np.random.default_rng(0)


def both_modes(function):
    """Jacobians by forward and reverse mode, which must agree."""

    def run(*args, **keywords):
        forward = jax.jit(jax.jacfwd(function, **keywords))(*args)
        reverse = jax.jit(jax.jacrev(function, **keywords))(*args)
        np.testing.assert_allclose(forward, reverse, rtol=1e-8, atol=1e-10)
        return reverse

    return run


@pytest.mark.parametrize("second", ["ff", "fr", "rf", "rr"])
def test_ridge_regression_to_second_order(x64, second):
    X, y = RNG.normal(size=(20, 5)), RNG.normal(size=20)

    def solved(penalty):
        return argmin(
            lambda w: jnp.sum((X @ w - y) ** 2) / 2 + jnp.sum(penalty * w**2) / 2,
            jnp.zeros(5),
        ).value

    def exact(penalty):
        return jnp.linalg.solve(X.T @ X + jnp.diag(penalty), X.T @ y)

    penalty = jnp.asarray(RNG.uniform(0.5, 2.0, 5))
    modes = {"f": jax.jacfwd, "r": jax.jacrev}
    twice = [modes[m] for m in second]
    found, expected = (jax.jit(twice[0](twice[1](f)))(penalty) for f in (solved, exact))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)


def test_second_order_through_what_is_not_linear(x64):
    """x^3 + x = a: x' = 1 / (3x^2 + 1), x'' = -6x x'^3; also inside scan and vmap."""

    def solved(a):
        return root(lambda x: x**3 + x - a, 0.0).value

    a = jnp.linspace(-2.0, 3.0, 7)
    x = np.array([brentq(lambda x, a=a: x**3 + x - a, -3, 3) for a in np.asarray(a)])
    first = 1 / (3 * x**2 + 1)
    np.testing.assert_allclose(jax.vmap(solved)(a), x, rtol=1e-10)
    np.testing.assert_allclose(jax.vmap(jax.grad(solved))(a), first, rtol=1e-9)
    for twice in (jax.grad(jax.grad(solved)), jax.jacfwd(jax.grad(solved))):
        np.testing.assert_allclose(
            jax.jit(jax.vmap(twice))(a), -6 * x * first**3, rtol=1e-8
        )

    def scanned(a):
        return jax.lax.scan(lambda c, a: (c + solved(a), None), 0.0, a)[0]

    np.testing.assert_allclose(jax.jit(jax.grad(scanned))(a), first, rtol=1e-9)


def test_lasso_along_its_path(x64):
    """On the support S: x = (A_S'A_S)^-1 (A_S'b - strength sign), linear in both."""
    A, b = RNG.normal(size=(30, 8)), RNG.normal(size=30)

    def solved(strength):
        return proximal_argmin(
            lambda x: jnp.sum((A @ x - b) ** 2) / 2,
            lambda x, step: prox.l1(x, step * strength),
            jnp.zeros(8),
            tolerance=1e-13,
        ).value

    for strength in (0.5, 2.0, 5.0):
        x = np.asarray(jax.jit(solved)(strength))
        support = np.abs(x) > 1e-9
        signs = np.sign(x[support])
        gram = np.linalg.inv(A[:, support].T @ A[:, support])
        expected = np.zeros(8)
        expected[support] = gram @ (A[:, support].T @ b - strength * signs)
        np.testing.assert_allclose(x, expected, atol=1e-9)
        slope = np.zeros(8)
        slope[support] = -gram @ signs
        found = both_modes(solved)(strength)
        np.testing.assert_allclose(found, slope, atol=1e-7)


def test_projections_have_their_jacobians(x64):
    x = jnp.asarray(RNG.normal(size=6))
    A = RNG.normal(size=(2, 6))
    found = both_modes(lambda x: prox.affine(x, A, jnp.ones(2)))(x)
    expected = np.eye(6) - A.T @ np.linalg.inv(A @ A.T) @ A
    np.testing.assert_allclose(found, expected, atol=1e-12)
    by_qp = prox.polyhedron(x, A, jnp.ones(2), None, None)
    np.testing.assert_allclose(by_qp, prox.affine(x, A, jnp.ones(2)), atol=1e-8)
    simplex = both_modes(prox.simplex)(x)
    on = np.asarray(prox.simplex(x)) > 0
    expected = np.diag(on * 1.0) - np.outer(on, on) / on.sum()
    np.testing.assert_allclose(simplex, expected, atol=1e-12)
    section = prox.box_section(x, -0.5, 0.5, jnp.ones(6), 0.3)
    assert abs(section.sum() - 0.3) < 1e-12 and np.all(np.abs(section) <= 0.5)
    free = np.abs(np.asarray(section)) < 0.5
    expected = np.diag(free * 1.0) - np.outer(free, free) / free.sum()
    found = both_modes(lambda x: prox.box_section(x, -0.5, 0.5, jnp.ones(6), 0.3))(x)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    stochastic = prox.birkhoff(jnp.asarray(RNG.normal(size=(3, 3))))
    np.testing.assert_allclose(stochastic.sum(0), 1, atol=1e-8)
    np.testing.assert_allclose(stochastic.sum(1), 1, atol=1e-8)
    assert stochastic.min() > -1e-8


@pytest.mark.parametrize("values", [[3.0, 1.0, -2.0, -0.5], [2.0, 2.0, -1.0, -1.0]])
def test_projection_on_the_semidefinite_cone(x64, values):
    """By differences, also at repeated eigenvalues."""
    q, _ = np.linalg.qr(RNG.normal(size=(4, 4)))
    x = jnp.asarray((q * np.asarray(values)) @ q.T)
    direction = RNG.normal(size=(4, 4))
    direction = direction + direction.T
    _, found = jax.jvp(prox.positive_semidefinite, (x,), (jnp.asarray(direction),))
    h = 1e-5
    up, down = (prox.positive_semidefinite(x + s * h * direction) for s in (1.0, -1.0))
    np.testing.assert_allclose(found, (up - down) / (2 * h), atol=1e-6)


def program(seed=0, n=7, m=9, p=2):
    rng = np.random.default_rng(seed)
    half, inside = rng.normal(size=(n, n)), rng.normal(size=n)
    A, G = rng.normal(size=(p, n)), rng.normal(size=(m, n))
    slack = rng.uniform(0.1, 1.0, m)
    given = (half @ half.T / n + 0.1 * np.eye(n), 3 * rng.normal(size=n), A, A @ inside)
    return tuple(map(jnp.asarray, (*given, G, G @ inside + slack)))


@pytest.mark.parametrize("seed", [0, 1])
def test_sensitivities_of_a_program_to_all_its_data(x64, seed):
    """Against the KKT matrix of the active set, dense and by numpy."""
    given = program(seed)
    Q, q, A, b, G, h = map(np.asarray, given)
    n, p = len(q), len(b)
    solution = jax.jit(qp)(*given)
    x = np.asarray(solution.value.x)
    on = np.asarray(solution.stats["active"])
    assert 0 < on.sum() < n - p
    C = np.concatenate([A, G[on]])
    kkt = np.block([[Q, C.T], [C, np.zeros((len(C), len(C)))]])
    exact = np.linalg.solve(kkt, np.concatenate([-q, b, h[on]]))
    np.testing.assert_allclose(x, exact[:n], atol=1e-10)
    multipliers = np.concatenate(
        [solution.value.equality, np.asarray(solution.value.inequality)[on]]
    )
    np.testing.assert_allclose(multipliers, exact[n:], atol=1e-8)
    w = RNG.normal(size=n)
    u = np.linalg.solve(kkt, np.concatenate([w, np.zeros(len(C))]))
    ux, uc = u[:n], u[n:]
    expected = {
        0: -(np.outer(ux, x) + np.outer(x, ux)) / 2,
        1: -ux,
        2: -(np.outer(exact[n : n + p], ux) + np.outer(uc[:p], x)),
        3: uc[:p],
    }
    dG, dh = np.zeros(G.shape), np.zeros(h.shape)
    dG[on] = -(np.outer(exact[n + p :], ux) + np.outer(uc[p:], x))
    dh[on] = uc[p:]
    expected |= {4: dG, 5: dh}
    found = jax.jit(jax.grad(lambda given: w @ qp(*given).value.x))(given)
    for index, value in expected.items():
        np.testing.assert_allclose(found[index], value, atol=1e-7)


def test_quadratic_program_against_scipy(x64):
    from scipy.optimize import minimize

    given = program(2, n=5, m=6, p=1)
    Q, q, A, b, G, h = map(np.asarray, given)
    theirs = minimize(
        lambda x: x @ Q @ x / 2 + q @ x,
        np.zeros(5),
        jac=lambda x: Q @ x + q,
        constraints=[
            {"type": "eq", "fun": lambda x: A @ x - b, "jac": lambda x: A},
            {"type": "ineq", "fun": lambda x: h - G @ x, "jac": lambda x: -G},
        ],
        options={"ftol": 1e-14, "maxiter": 500},
        method="SLSQP",
    )
    np.testing.assert_allclose(qp(*given).value.x, theirs.x, atol=1e-6)


def test_keplers_equation(x64):
    """E - e sin E = M: dE/dM = 1 / (1 - e cos E), dE/de = sin E / (1 - e cos E)."""

    def anomaly(mean, eccentricity):
        return root(lambda e: e - eccentricity * jnp.sin(e) - mean, mean).value

    for mean, eccentricity in ((0.3, 0.1), (2.0, 0.9)):

        def equation(e, mean=mean, eccentricity=eccentricity):
            return e - eccentricity * np.sin(e) - mean

        e = brentq(equation, 0, 4, xtol=1e-14)
        below = 1 - eccentricity * np.cos(e)
        np.testing.assert_allclose(anomaly(mean, eccentricity), e, rtol=1e-10)
        found = jax.jit(jax.grad(anomaly, argnums=(0, 1)))(mean, eccentricity)
        np.testing.assert_allclose(found, [1 / below, np.sin(e) / below], rtol=1e-9)


def test_stiff_implicit_euler_step(x64):
    """y1 = y0 + h f(y1) for y' = -rate (y - cos): linear, so known."""
    rate, h, t = 1e6, 0.1, 0.1

    def step(y0, rate):
        return root(lambda y: y - y0 + h * rate * (y - jnp.cos(t)), y0).value

    found = jax.jit(jax.grad(step, argnums=(0, 1)))(2.0, rate)
    below = 1 + h * rate
    slope = h * (np.cos(t) - (2.0 + h * rate * np.cos(t)) / below) / below
    np.testing.assert_allclose(found, [1 / below, slope], rtol=1e-7)


@pytest.mark.parametrize("solver", ["anderson", "picard", "broyden"])
def test_linear_fixed_point(x64, solver):
    """z = Wz + x: dz/dx = (1 - W)^-1, and dz/dW."""
    W = RNG.normal(size=(70, 70))
    W = jnp.asarray(0.6 * W / np.linalg.norm(W, 2))
    x, v = jnp.asarray(RNG.normal(size=70)), RNG.normal(size=70)

    def loss(W, x):
        solution = fixed_point(
            lambda z: W @ z + x, jnp.zeros(70), solver=solver, tolerance=1e-12
        )
        return v @ solution.value, solution

    (dW, dx), solution = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(W, x)
    inverse = np.linalg.inv(np.eye(70) - W)
    np.testing.assert_allclose(solution.value, inverse @ x, atol=1e-10)
    u = inverse.T @ v
    np.testing.assert_allclose(dx, u, atol=1e-7)
    np.testing.assert_allclose(dW, np.outer(u, inverse @ x), atol=1e-7)


def test_softmax_as_a_maximum(x64):
    """The maximum of s'p + entropy(p) on the simplex, unconstrained in its logits."""
    s = jnp.asarray(RNG.normal(size=5))

    def soft(s):
        def objective(p):
            return jnp.sum(p * jnp.log(p)) - s @ p + (jnp.sum(p) - 1) ** 2 * 0

        def conditions(v):
            p, multiplier = v[:-1], v[-1]
            slope = jax.grad(objective)(p) + multiplier
            return jnp.append(slope, jnp.sum(p) - 1)

        return root(conditions, jnp.append(jnp.full(5, 0.2), 0.0)).value[:-1]

    p = np.asarray(jax.nn.softmax(s))
    np.testing.assert_allclose(soft(s), p, rtol=1e-9)
    expected = np.diag(p) - np.outer(p, p)
    np.testing.assert_allclose(both_modes(soft)(s), expected, atol=1e-9)


def test_least_squares_with_residuals_that_matter(x64):
    """The whole Hessian, not that of Gauss and Newton alone."""
    t = jnp.linspace(0.0, 2.0, 15)
    data = jnp.asarray(np.exp(-1.3 * t) + 0.3 * np.cos(5 * t))

    def fit(data, mode="exact"):
        return least_squares(
            lambda p: p[0] * jnp.exp(-p[1] * t) - data,
            jnp.array([0.8, 1.0]),
            gradient=Gradient(mode=mode),
        ).value

    found = both_modes(fit)(data)
    h = 1e-5
    up, down = (jax.jit(fit)(data + s * h * jnp.eye(15)[3]) for s in (1.0, -1.0))
    np.testing.assert_allclose(found[:, 3], (up - down) / (2 * h), rtol=1e-6)
    p = fit(data)
    jacobian = np.stack([np.exp(-p[1] * t), -p[0] * t * np.exp(-p[1] * t)], 1)
    gauss = both_modes(functools.partial(fit, mode="gauss_newton"))(data)
    # dr/ddata = -1, so B = -J'.
    mixed = np.linalg.solve(jacobian.T @ jacobian, jacobian.T)
    assert np.linalg.norm(gauss - found) > 1e-3
    np.testing.assert_allclose(gauss, mixed, rtol=1e-6)


def test_closures_pytrees_and_complex_unknowns(x64):
    def solved(theta):
        def equations(x):
            return {
                "z": x["z"] ** 2 - theta * (1 + 2j),
                "y": x["y"] - jnp.array([theta, 2 * theta]),
            }

        guess = {"z": jnp.asarray(1 + 1j), "y": jnp.zeros(2)}
        return root(equations, guess).value

    found = solved(3.0)
    np.testing.assert_allclose(found["z"], np.sqrt(3 * (1 + 2j)), rtol=1e-10)
    _, tangent = jax.jvp(solved, (3.0,), (1.0,))
    np.testing.assert_allclose(tangent["z"], np.sqrt((1 + 2j) / 3) / 2, rtol=1e-9)
    np.testing.assert_allclose(tangent["y"], [1.0, 2.0])


def test_auxiliary_output_is_that_at_the_solution(x64):
    def solved(theta):
        solution = root(lambda x: (x**2 - theta, theta * x), 1.0, has_aux=True)
        return solution.aux

    np.testing.assert_allclose(solved(4.0), 8.0, rtol=1e-10)
    np.testing.assert_allclose(jax.grad(solved)(4.0), 3.0, rtol=1e-9)
