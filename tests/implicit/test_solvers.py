"""Forward solvers, adapters of others, and the ways to differentiate."""

import warnings

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
import numpy as np
import optax
import optimistix as optx
import pytest
import scipy.optimize

from djx.implicit import (
    argmin,
    attach,
    DEQ,
    fixed_point,
    Gradient,
    jacobian_penalty,
    jaxopt,
    least_squares,
    qp,
    Receipt,
    root,
    SpectralLinear,
)
from djx.implicit._direct import condition, factored, solved
from djx.implicit._iterative import cg, gmres


def rosenbrock(x, a):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (a - x[:-1]) ** 2)


SOLVERS = {
    "own": None,
    "optimistix BFGS": optx.BFGS(rtol=1e-10, atol=1e-12),
    "jaxopt BFGS": jaxopt.solver("BFGS", tol=1e-9, maxiter=500),
    "jaxopt LBFGS": jaxopt.solver("LBFGS", tol=1e-9, maxiter=500),
}


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_any_minimiser_has_the_same_derivative(x64, solver):
    def last(a):
        return argmin(rosenbrock, jnp.zeros(2), a, solver=solver, max_steps=1000).value

    found = jax.jit(jax.jacrev(last))(1.0)
    np.testing.assert_allclose(found, [1.0, 2.0], rtol=1e-5)


def test_attached_to_anything(x64):
    """SciPy on the host, an optax loop, a differential equation at rest."""

    def equation(x, theta):
        return x**3 + x - theta

    @attach(lambda x, start, theta: equation(x, theta), host=True)
    def scipy_root(start, theta):
        return scipy.optimize.root(lambda x: x**3 + x - theta, start, tol=1e-13).x

    theta = jnp.array([0.5, 2.0])

    @attach(equation)
    def by_optax(theta):
        optimiser = optax.adam(0.05)

        def step(carry, _):
            x, state = carry
            updates, state = optimiser.update(equation(x, theta), state)
            return (x + updates, state), None

        x = jnp.zeros(2)
        (x, _), _ = jax.lax.scan(step, (x, optimiser.init(x)), length=2000)
        return x

    @attach(equation)
    def at_rest(theta):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, x, a: -equation(x, theta)),
            diffrax.Tsit5(),
            0.0,
            100.0,
            0.1,
            jnp.zeros(2),
            stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-12),
            max_steps=10000,
        ).ys[-1]

    solves = {
        "scipy": lambda theta: scipy_root(jnp.zeros(2), theta),
        "optax": by_optax,
        "diffrax": at_rest,
    }
    x = np.array(
        [scipy.optimize.brentq(lambda x, a=a: x**3 + x - a, 0, 3) for a in [0.5, 2.0]]
    )
    for name, solve in solves.items():
        np.testing.assert_allclose(jax.jit(solve)(theta), x, rtol=1e-5, err_msg=name)
        found = jax.jit(jax.jacrev(solve))(theta)
        expected = np.diag(1 / (3 * x**2 + 1))
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)
        pushed = jax.jit(jax.jacfwd(solve))(theta)
        np.testing.assert_allclose(pushed, found, rtol=1e-9, err_msg=name)
    batch = jax.vmap(lambda theta: scipy_root(jnp.zeros(2), theta))
    np.testing.assert_allclose(batch(jnp.stack([theta, 2 * theta]))[0], x, rtol=1e-9)


def crossing(x, a):
    return jnp.cos(x) - a * x


def test_roots_by_optimistix_and_jaxopt(x64):
    for solver in (
        optx.Newton(rtol=1e-10, atol=1e-12),
        optx.LevenbergMarquardt(rtol=1e-10, atol=1e-12),
        jaxopt.solver("Broyden", tol=1e-10, maxiter=200),
    ):

        def solved(a, solver=solver):
            return root(crossing, jnp.ones(1), a, solver=solver).value[0]

        found = jax.grad(solved)(1.2)
        x = scipy.optimize.brentq(lambda x: np.cos(x) - 1.2 * x, 0, 2)
        np.testing.assert_allclose(found, -x / (np.sin(x) + 1.2), rtol=1e-6)


def test_jaxopt_is_loaded_quietly_and_names_are_checked():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jaxopt.load()
    with pytest.raises(ValueError, match="Did you mean 'LBFGS'"):
        jaxopt.solver("LBFG")


def test_levenberg_marquardt_against_scipy(x64):
    rng = np.random.default_rng(0)
    t = np.linspace(0, 3, 40)
    data = 2 * np.exp(-0.7 * t) * np.cos(3 * t + 0.4) + 0.05 * rng.normal(size=40)

    def residuals(p, xp):
        wave = xp.cos(p[2] * t + p[3])
        return p[0] * xp.exp(-p[1] * t) * wave - data

    guess = np.array([1.0, 0.5, 2.8, 0.0])
    theirs = scipy.optimize.least_squares(
        lambda p: residuals(p, np), guess, xtol=1e-14, ftol=1e-14, gtol=1e-14
    )
    ours = jax.jit(lambda g: least_squares(lambda p: residuals(p, jnp), g))(guess)
    np.testing.assert_allclose(ours.value, theirs.x, rtol=1e-8)
    assert ours.stats["iterations"] < 30


@pytest.mark.parametrize("kind", ["cholesky", "lu", "eigh", "svd"])
def test_factors_solve_and_know_their_condition(x64, kind):
    rng = np.random.default_rng(1)
    half = rng.normal(size=(3, 6, 6))
    matrices = half if kind in ("lu", "svd") else half @ half.swapaxes(1, 2)
    rhs = rng.normal(size=(3, 6, 2))
    factor = factored(kind, jnp.asarray(matrices))
    for transposed in (False, True):
        found = solved(factor, jnp.asarray(rhs), transposed)
        given = matrices.swapaxes(1, 2) if transposed else matrices
        np.testing.assert_allclose(found, np.linalg.solve(given, rhs), rtol=1e-8)
    scaled = matrices * np.asarray(factor.rows)[:, :, None]
    scaled = scaled * np.asarray(factor.columns)[:, None]
    order = 1 if kind in ("cholesky", "lu") else 2
    exact = [np.linalg.cond(m, order) for m in scaled]
    assert np.all(condition(factor) <= np.multiply(exact, 1 + 1e-9))
    assert np.all(condition(factor) >= np.divide(exact, 4))
    # One matrix for many right-hand sides.
    shared = factored(kind, jnp.asarray(matrices[:1]))
    found = solved(shared, jnp.asarray(rhs))
    np.testing.assert_allclose(found, np.linalg.solve(matrices[:1], rhs), rtol=1e-8)


def test_krylov_methods_with_lanes_of_their_own(x64):
    rng = np.random.default_rng(2)
    half = rng.normal(size=(4, 40, 40)) / np.sqrt(40)
    definite = half @ half.swapaxes(1, 2) + np.diag(np.linspace(0.5, 2, 40))
    general = np.eye(40) + 0.9 * half
    rhs = rng.normal(size=(4, 40))
    rhs[2] = 0
    for method, matrices in ((cg, definite), (gmres, general)):
        found = method(
            lambda u, m=matrices: jnp.einsum("lij,lj->li", m, u),
            jnp.asarray(rhs),
            jnp.zeros((4, 40)),
            tolerance=1e-10,
            max_steps=600,
        )
        exact = np.linalg.solve(matrices, rhs[..., None])[..., 0]
        np.testing.assert_allclose(found.x, exact, atol=1e-7)
        assert found.iterations[2] == 0  # nothing to do
    found = cg(
        lambda u: jnp.einsum("lij,lj->li", definite, u),
        jnp.asarray(rhs),
        jnp.zeros((4, 40)),
        tolerance=1e-12,
        max_steps=600,
    )
    exact = np.linalg.cond(definite)
    ratio = np.asarray(found.condition) / exact
    assert np.all((ratio[[0, 1, 3]] > 0.7) & (ratio[[0, 1, 3]] < 1.3))


def contraction(z, W, x):
    return jnp.tanh(W @ z + x)


@pytest.mark.parametrize("steps", [1, 3, 20])
def test_approximate_modes_are_the_sums_they_stand_for(x64, steps):
    rng = np.random.default_rng(3)
    W = rng.normal(size=(6, 6))
    W = jnp.asarray(0.8 * W / np.linalg.norm(W, 2))
    x, v = jnp.asarray(rng.normal(size=6)), rng.normal(size=6)
    z = fixed_point(contraction, jnp.zeros(6), W, x, tolerance=1e-13).value
    slope = 1 - np.asarray(z) ** 2
    J = slope[:, None] * np.asarray(W)

    def adjoint(mode, **options):
        def loss(x, receipt):
            how = Gradient(mode=mode, steps=steps, **options)
            solution = fixed_point(
                contraction,
                jnp.zeros(6),
                W,
                x,
                gradient=how,
                tolerance=1e-13,
                receipt=receipt,
            )
            return v @ solution.value

        found, receipt = jax.jit(jax.grad(loss, argnums=(0, 1)))(x, Receipt.zeros())
        return np.asarray(found) / slope, receipt

    powers = [np.linalg.matrix_power(J.T, k) @ v for k in range(steps)]
    neumann, receipt = adjoint("neumann")
    np.testing.assert_allclose(neumann, np.sum(powers, 0), rtol=1e-9)
    left = v - (neumann - J.T @ neumann)
    size = np.linalg.norm(left) / np.linalg.norm(v)
    np.testing.assert_allclose(receipt.residual, size, rtol=1e-6, atol=1e-14)
    free, _ = adjoint("jacobian_free")
    np.testing.assert_allclose(free, v, rtol=1e-9)
    tau = 0.7
    damped = tau * J.T + (1 - tau) * np.eye(6)
    sums = [tau * np.linalg.matrix_power(damped, k) @ v for k in range(steps)]
    phantom, _ = adjoint("phantom", damping=tau)
    np.testing.assert_allclose(phantom, np.sum(sums, 0), rtol=1e-9)
    exact = np.linalg.solve(np.eye(6) - J.T, v)
    truncated, _ = adjoint("truncated")
    bound = 1.0 if steps < 6 else 1e-8
    assert np.linalg.norm(truncated - exact) <= bound * np.linalg.norm(exact)


def test_ridge_and_unrolling(x64):
    def solved(theta, **options):
        return argmin(
            lambda x: jnp.sum(theta * x**2) / 2 - jnp.sum(x),
            jnp.zeros(2),
            gradient=Gradient(**options),
        ).value

    theta = jnp.array([1.0, 4.0])
    biased = jax.jit(jax.jacrev(lambda t: solved(t, ridge=0.5)))(theta)
    x = 1 / np.asarray(theta)
    expected = -np.diag(x / (np.asarray(theta) + 0.5))
    np.testing.assert_allclose(biased, expected, rtol=1e-9)

    @attach(lambda x, a: x - a, gradient=Gradient(mode="unrolled"))
    def halfway(a):
        return jax.lax.fori_loop(0, 1, lambda _, x: x + (a - x) / 2, 0.0 * a)

    assert jax.grad(halfway)(3.0) == 0.5


def test_a_callers_iterations_can_be_unrolled_and_ours_cannot(x64):
    """x <- x - (theta x - 1) / 8, ten times: dx/dtheta of the polynomial itself."""
    unrolled = Gradient(mode="unrolled")

    def descend(objective, x):
        def step(x, _):
            return x - jax.grad(objective)(x) / 8, None

        return jax.lax.scan(step, x, None, length=10)[0]

    def solved(theta, solver, **options):
        return argmin(
            lambda x: jnp.sum(theta * x**2 / 2 - x),
            jnp.zeros(1),
            solver=solver,
            gradient=unrolled,
            **options,
        ).value[0]

    theta = 2.0
    x, slope = 0.0, 0.0
    for _ in range(10):
        x, slope = x - (theta * x - 1) / 8, slope - (x + theta * slope) / 8
    np.testing.assert_allclose(
        jax.grad(lambda t: solved(t, descend))(theta), slope, rtol=1e-12
    )
    assert abs(slope + 1 / theta**2) > 0.01
    for solver in (None, optx.LBFGS(1e-8, 1e-8)):
        with pytest.raises(ValueError, match="of your own"):
            solved(theta, solver)
    with pytest.raises(ValueError, match="of your own"):
        qp(jnp.eye(2), jnp.ones(2), gradient=unrolled)


def test_corrected_solutions_of_any_solver(x64):
    """With one Newton step, derivatives of a poor solution are right to 2nd order."""

    def poor(start, theta):
        del start
        return theta ** (1 / 3) + 1e-3

    for certify, bound in (("off", 1e-2), ("correct", 1e-5)):
        cube_root = attach(
            lambda x, start, theta: x**3 - theta,
            poor,
            gradient=Gradient(certify=certify),
        )
        slope = jax.grad(cube_root, argnums=1)(1.0, 2.0)
        error = abs(slope * 3 * 2.0 ** (2 / 3) - 1)
        assert error < bound, certify
        assert certify == "correct" or error > 1e-4
    with pytest.raises(ValueError, match="certify"):
        Gradient(certify="estimate")


def test_large_systems_need_no_matrix(x64):
    """Above 512 unknowns: CG, GMRES and the forward iteration; the memory stays."""
    n = 600
    diagonal = jnp.linspace(1.0, 5.0, n)

    def minimum(theta):
        return argmin(lambda x: jnp.sum(diagonal * x**2) / 2 - theta @ x, jnp.zeros(n))

    theta = jnp.ones(n)
    found = jax.jit(jax.grad(lambda theta: jnp.sum(minimum(theta).value)))(theta)
    np.testing.assert_allclose(found, 1 / diagonal, rtol=1e-6)
    shifted = jax.jit(
        jax.grad(
            lambda t: jnp.sum(
                root(
                    lambda x: diagonal * x + 0.1 * jnp.roll(x, 1) - t,
                    jnp.zeros(n),
                    rtol=1e-8,
                ).value
            )
        )
    )(theta)
    matrix = np.diag(np.asarray(diagonal)) + 0.1 * np.roll(np.eye(n), 1, 0)
    np.testing.assert_allclose(
        shifted, np.linalg.solve(matrix.T, np.ones(n)), rtol=1e-6
    )


def test_equilibrium_layer_trains_and_reports():
    key = jr.key(0)
    inner, outer = jr.split(key)

    class Cell(eqx.Module):
        of_z: SpectralLinear
        of_x: eqx.nn.Linear

        def __call__(self, z, x):
            return jnp.tanh(self.of_z(z) + self.of_x(x))

    cell = Cell(SpectralLinear(8, 8, key=inner), eqx.nn.Linear(3, 8, key=outer))
    layer = DEQ(cell, tolerance=1e-6, max_steps=100)
    x = jr.normal(jr.key(1), (5, 3))

    @eqx.filter_jit
    def loss(both, x):
        layer, receipts = both

        def one(x, receipt):
            return layer(x, jnp.zeros(8), receipt=receipt)

        solution = jax.vmap(one)(x, receipts)
        return jnp.sum(solution.value**2), solution

    given = layer, Receipt.zeros((5,))
    (found, receipts), solution = eqx.filter_jit(eqx.filter_grad(loss, has_aux=True))(
        given, x
    )
    assert np.all(solution.receipt.failed == 0) and np.all(receipts.failed == 0)
    singular = np.linalg.norm(np.asarray(cell.of_z.scaled()), 2)
    assert singular <= 0.9 * 1.05
    direction = jax.tree.map(
        lambda w: jnp.cos(jnp.arange(w.size, dtype=w.dtype)).reshape(w.shape),
        eqx.filter(layer, eqx.is_inexact_array),
    )
    h = 1e-2

    def moved(size):
        return eqx.apply_updates(layer, jax.tree.map(lambda d: size * d, direction))

    up, down = (loss((moved(size), given[1]), x)[0] for size in (h, -h))
    dot = sum(
        jnp.vdot(a, b)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(direction), strict=True)
    )
    np.testing.assert_allclose(dot, (up - down) / (2 * h), rtol=2e-2)


def test_jacobian_penalty_is_unbiased(x64):
    rng = np.random.default_rng(5)
    W = jnp.asarray(rng.normal(size=(6, 6)))
    keys = jr.split(jr.key(0), 4000)
    values = jax.vmap(
        lambda key: jacobian_penalty(lambda z, x: W @ z, jnp.zeros(6), None, key=key)
    )(keys)
    expected = np.sum(np.asarray(W) ** 2) / 6
    assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(4000)


def test_traced_once_and_under_shard_map(x64):
    count = []

    def solve(a):
        count.append(None)
        return root(lambda x: x**3 + x - a, jnp.zeros(())).value

    compiled = jax.jit(jax.vmap(jax.grad(solve)))
    for shift in range(3):
        compiled(jnp.arange(4.0) + shift)
    assert len(count) == 1
    devices = jax.devices()
    if len(devices) < 2:
        pytest.skip("needs two devices")
    mesh = jax.make_mesh((2,), ("batch",), devices=devices[:2])
    spec = jax.sharding.PartitionSpec("batch")
    mapped = jax.shard_map(
        jax.vmap(jax.grad(solve)),
        mesh=mesh,
        in_specs=spec,
        out_specs=spec,
        check_vma=False,
    )
    a = jnp.arange(4.0)
    found = jax.jit(mapped)(jax.device_put(a, jax.NamedSharding(mesh, spec)))
    # Lanes are corrected until the worst of a device's is within sqrt(eps) / 100.
    np.testing.assert_allclose(found, compiled(a), rtol=3e-10)


def test_linear_solvers_of_lineax_agree(x64):
    """The derivative of a linear solve, by lineax' own rules."""
    rng = np.random.default_rng(6)
    A = jnp.asarray(rng.normal(size=(5, 5)) + 5 * np.eye(5))
    b = jnp.asarray(rng.normal(size=5))

    def theirs(A):
        return jnp.sum(lx.linear_solve(lx.MatrixLinearOperator(A), b).value ** 3)

    def ours(A):
        return jnp.sum(root(lambda x: A @ x - b, jnp.zeros(5)).value ** 3)

    np.testing.assert_allclose(jax.grad(ours)(A), jax.grad(theirs)(A), rtol=1e-9)
    np.testing.assert_allclose(
        jax.hessian(ours)(A), jax.hessian(theirs)(A), rtol=1e-7, atol=1e-12
    )
