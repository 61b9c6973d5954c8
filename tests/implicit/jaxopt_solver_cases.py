"""The same for JAXopt's solvers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix as optx
from scipy import optimize

from .jaxopt_cases import (
    Case,
    CG,
    descend,
    equation,
    HALF,
    HESSIAN,
    image,
    jaxopt,
    LU,
    objective,
    osqp,
    program,
    residuals,
    slope,
    START,
    THETA,
    WEIGHTS,
)


FINE = dict(tol=1e-12, maxiter=3000)
LOW, HIGH = np.full(4, -0.4), np.full(4, 0.7)
WIDE = np.full(4, -2.0), np.full(4, 3.0)


def cubic(x, theta):
    return x**3 + x - theta


def project(project_one, *bounds):
    """A projection as a proximal operator."""
    return lambda x, step: project_one(x, *bounds)


def minimised(**options):
    def theirs(theta, solver):
        return solver(objective, **FINE, **LU, **options).run(START, theta).params

    return theirs


def minimise(**options):
    def ours(theta, argmin, method):
        how = method(rtol=1e-13, atol=1e-13, **options)
        return argmin(objective, START, theta, solver=how, max_steps=3000).value

    return ours


def armijo(theta, attach, search):
    steps = optax.chain(optax.sgd(1.0), search(15))
    return attach(slope, descend(steps))(theta)


def interpolation(x, theta):
    return jnp.sum((HALF @ (x - jnp.sin(theta))) ** 2) / 2


def polyak(theta, attach, polyak_sgd):
    run = descend(polyak_sgd(max_learning_rate=1.0), interpolation, 2000)
    return attach(jax.grad(interpolation), run)(theta)


def bisect(theta, attach, method):
    def solve(theta):
        return optx.root_find(
            cubic,
            method(rtol=1e-15, atol=1e-15),
            jnp.asarray(0.0),
            theta,
            options=dict(lower=-9.0, upper=9.0),
            max_steps=200,
        ).value

    return attach(cubic, solve)(theta)


def boxed(theta, solver):
    Q, q, A, b, G, h = program(theta)
    low = jnp.concatenate([b, jnp.full(8, -jnp.inf)])
    found = solver(tol=1e-11, maxiter=20000, **CG).run(
        params_obj=(Q, q),
        params_eq=jnp.concatenate([A, G]),
        params_ineq=(low, jnp.concatenate([b, h])),
    )
    return found.params.primal[0]


DATA = np.concatenate([HALF, WEIGHTS, HESSIAN])


def lasso_by_blocks(theta, solver):
    problem = solver(
        jaxopt.objective.least_squares,
        jaxopt.prox.prox_lasso,
        tol=1e-13,
        maxiter=5000,
        **LU,
    )
    values = jnp.cos(DATA @ theta)
    return problem.run(START, theta[0] / 50, (DATA, values)).params


def lasso_by_block_steps(theta, fixed_point, block_step, l1):
    values, strength = jnp.cos(DATA @ theta), theta[0] / 50

    def part(x, i):
        return jnp.asarray(DATA)[:, i] @ (DATA @ x - values) / len(DATA)

    steps = len(DATA) / jnp.sum(jnp.square(DATA), 0)
    one_pass = block_step(part, lambda row, step: l1(row, step * strength), steps)
    return fixed_point(one_pass, START, tolerance=1e-13).value


TILT = np.array([1.0, 1.2, 1.5, 0.9])
QUARTERS = np.full(4, 0.25)


def mirrored(theta, solver):
    def move(x, slope, step, _):
        return jax.nn.softmax(jnp.log(x) - step * slope)

    return solver(objective, move, 0.2, **FINE, **LU).run(QUARTERS, None, theta).params


def mirror(theta, fixed_point, mirror_step):
    step = mirror_step(objective, 0.2)
    return fixed_point(
        step, QUARTERS, theta, solver="picard", tolerance=1e-13, max_steps=5000
    ).value


def box_by_coordinates(theta, solver):
    found = solver(tol=1e-13, maxiter=2000, **LU).run(
        START, params_obj=(HESSIAN, -theta), params_ineq=(LOW, HIGH)
    )
    return found.params


def box_program(theta, qp):
    both = jnp.concatenate([jnp.eye(4), -jnp.eye(4)])
    ends = jnp.concatenate([HIGH, -LOW])
    return qp(jnp.asarray(HESSIAN), -theta, G=both, h=ends).value.x


def whole_program(theta, qp):
    return qp(*program(theta)).value.x


def equality_program(theta, qp):
    return qp(*program(theta)[:4]).value.x


def equality_constrained(theta, solver):
    Q, q, A, b, _, _ = program(theta)
    found = solver(tol=1e-14, **CG).run(params_obj=(Q, q), params_eq=(A, b))
    return found.params.primal


def box_by_scipy(theta, attach):
    """On the host; optimality is that of a projected gradient step."""

    def solve(theta):
        found = optimize.minimize(
            lambda x: float(x @ HESSIAN @ x / 2 + np.cosh(x).sum() - theta @ x),
            START,
            jac=lambda x: HESSIAN @ x + np.sinh(x) - theta,
            bounds=list(zip(LOW, HIGH, strict=True)),
            method="L-BFGS-B",
            options=dict(ftol=1e-16, gtol=1e-12),
        )
        return found.x

    def optimality(x, theta):
        return x - jnp.clip(x - slope(x, theta), LOW, HIGH)

    return attach(optimality, solve, host=True)(theta)


def squares_by_scipy(theta, attach, bounds=(-np.inf, np.inf)):
    def of(x, theta):
        return np.concatenate([HALF @ x - theta, 0.1 * np.sin(x)])

    def solve(theta):
        return optimize.least_squares(
            of, START, args=(theta,), bounds=bounds, **TIGHT
        ).x

    def optimality(x, theta):
        r, pull = jax.vjp(lambda x: residuals(x, theta), x)
        return x - jnp.clip(x - pull(r)[0], *bounds)

    return attach(optimality, solve, host=True)(theta)


def minimum_by_scipy(theta, attach):
    def solve(theta):
        return optimize.minimize(
            lambda x: x @ HESSIAN @ x / 2 + np.cosh(x).sum() - theta @ x,
            START,
            jac=lambda x: HESSIAN @ x + np.sinh(x) - theta,
            hess=lambda x: HESSIAN + np.diag(np.cosh(x)),
            method="trust-exact",
            options=dict(gtol=1e-13),
        ).x

    return attach(slope, solve, host=True)(theta)


def root_by_scipy(theta, attach):
    def solve(theta):
        def of(x):
            return x + np.tanh(WEIGHTS @ x) - theta

        return optimize.root(of, START, tol=1e-14).x

    return attach(equation, solve, host=True)(theta)


def anderson_wrapped(theta, wrapper):
    steps = jaxopt.GradientDescent(
        objective, stepsize=0.1, acceleration=False, maxiter=1000, tol=1e-12
    )
    return wrapper(steps, ridge=1e-10, **LU).run(START, theta).params


def hager_zhang(theta, attach):
    search = dict(linesearch="hager-zhang", implicit_diff=False)

    def solve(theta):
        return jaxopt.LBFGS(objective, **FINE, **search).run(START, theta).params

    return attach(slope, solve)(theta)


FIXED = dict(tol=1e-13, maxiter=500)
TIGHT: dict[str, Any] = dict(xtol=1e-15, ftol=1e-15, gtol=1e-15)
FITTED = dict(xtol=1e-14, gtol=1e-14, solver="cholesky")
SOLVERS = {
    "AndersonAcceleration": Case(
        lambda t, solver: solver(image, **FIXED, **LU).run(START, t).params,
        lambda t, fixed_point: (
            fixed_point(image, START, t, solver="anderson", tolerance=1e-13).value
        ),
        THETA,
    ),
    "AndersonWrapper": Case(
        anderson_wrapped,
        lambda t, fixed_point: (
            fixed_point(
                lambda x, t: x - 0.1 * slope(x, t), START, t, tolerance=1e-13
            ).value
        ),
        THETA,
    ),
    "ArmijoSGD": Case(minimised(implicit_diff=True), armijo, THETA),
    "BFGS": Case(minimised(), minimise(), THETA),
    "Bisection": Case(
        lambda t, solver: (
            solver(cubic, -9.0, 9.0, maxiter=100, tol=1e-15, check_bracket=False)
            .run(None, t)
            .params
        ),
        bisect,
        np.array(3.0),
    ),
    "BlockCoordinateDescent": Case(lasso_by_blocks, lasso_by_block_steps, THETA),
    "BoxCDQP": Case(box_by_coordinates, box_program, THETA),
    "BoxOSQP": Case(boxed, whole_program, THETA),
    "Broyden": Case(
        lambda t, solver: solver(equation, **FINE, **LU).run(START, t).params,
        lambda t, root: root(equation, START, t).value,
        THETA,
    ),
    "CvxpyQP": Case(
        lambda t, solver: osqp(t, solver, solver="CLARABEL").primal,
        whole_program,
        THETA,
        jit=False,
        needs="cvxpy",
        tolerance=1e-6,
    ),
    "EqualityConstrainedQP": Case(equality_constrained, equality_program, THETA),
    "FixedPointIteration": Case(
        lambda t, solver: solver(image, **FIXED, **LU).run(START, t).params,
        lambda t, fixed_point: (
            fixed_point(image, START, t, solver="picard", tolerance=1e-13).value
        ),
        THETA,
    ),
    "GaussNewton": Case(
        lambda t, solver: (
            solver(residuals, tol=1e-13, maxiter=200, **LU).run(START, t).params
        ),
        lambda t, least_squares, method: (
            least_squares(
                residuals, START, t, solver=method(rtol=1e-13, atol=1e-13)
            ).value
        ),
        THETA,
    ),
    "GradientDescent": Case(minimised(), minimise(learning_rate=0.1), THETA),
    "HagerZhangLineSearch": Case(
        lambda t, search: minimised()(t, jaxopt.LBFGS), hager_zhang, THETA
    ),
    "IterativeRefinement": Case(
        lambda t, solver: (
            solver(tol=1e-15, **LU).run(None, HESSIAN + jnp.diag(t**2), t).params
        ),
        lambda t, root: root(lambda x: HESSIAN @ x + t**2 * x - t, START).value,
        THETA,
    ),
    "LBFGS": Case(minimised(), minimise(), THETA),
    "LBFGSB": Case(
        lambda t, solver: (
            solver(objective, **FINE, **LU).run(START, (LOW, HIGH), t).params
        ),
        lambda t, proximal_argmin, box: (
            proximal_argmin(objective, project(box, LOW, HIGH), START, t).value
        ),
        THETA,
    ),
    "LevenbergMarquardt": Case(
        lambda t, solver: (
            solver(residuals, **FINE, **FITTED, **LU).run(START, t).params
        ),
        lambda t, least_squares: least_squares(residuals, START, t).value,
        THETA,
    ),
    "MirrorDescent": Case(mirrored, mirror, TILT),
    "NonlinearCG": Case(minimised(), minimise(), THETA),
    "OSQP": Case(
        lambda t, solver: osqp(t, solver, tol=1e-11, maxiter=20000).primal,
        whole_program,
        THETA,
    ),
    "OptStep": Case(
        lambda t, step: step(*jaxopt.LBFGS(objective, **FINE, **LU).run(START, t))[0],
        lambda t, argmin, solution: [
            found.value
            for found in [argmin(objective, START, t)]
            if isinstance(found, solution)
        ],
        THETA,
    ),
    "OptaxSolver": Case(
        lambda t, solver: (
            solver(objective, optax.sgd(0.1), **FINE, implicit_diff=True, **LU)
            .run(START, t)
            .params
        ),
        lambda t, argmin, method: (
            argmin(
                objective,
                START,
                t,
                solver=method(optax.sgd(0.1), rtol=1e-13, atol=1e-13),
                max_steps=3000,
            ).value
        ),
        THETA,
    ),
    "PolyakSGD": Case(
        lambda t, solver: (
            solver(interpolation, tol=1e-13, maxiter=3000, implicit_diff=True, **LU)
            .run(START, t)
            .params
        ),
        polyak,
        THETA,
    ),
    "ProjectedGradient": Case(
        lambda t, solver: (
            solver(objective, jaxopt.projection.projection_simplex, **FINE, **LU)
            .run(jnp.full(4, 0.25), 1.0, t)
            .params
        ),
        lambda t, proximal_argmin, simplex: (
            proximal_argmin(
                objective,
                project(simplex),
                jnp.full(4, 0.25),
                t,
            ).value
        ),
        THETA,
    ),
    "ProximalGradient": Case(
        lambda t, solver: (
            solver(objective, jaxopt.prox.prox_lasso, **FINE, **LU)
            .run(START, t[3] / 5, t)
            .params
        ),
        lambda t, proximal_argmin, l1: (
            proximal_argmin(
                objective, lambda x, step: l1(x, step * t[3] / 5), START, t
            ).value
        ),
        THETA,
    ),
    "ScipyBoundedLeastSquares": Case(
        lambda t, solver: (
            solver(fun=residuals, method="trf", options=TIGHT, **LU)
            .run(START, WIDE, t)
            .params
        ),
        lambda t, attach: squares_by_scipy(t, attach, WIDE),
        THETA,
        jit=False,
    ),
    "ScipyBoundedMinimize": Case(
        lambda t, solver: (
            solver(fun=objective, method="l-bfgs-b", tol=1e-15, **LU)
            .run(START, (LOW, HIGH), t)
            .params
        ),
        box_by_scipy,
        THETA,
        jit=False,
    ),
    "ScipyLeastSquares": Case(
        lambda t, solver: (
            solver(fun=residuals, method="trf", options=TIGHT, **LU)
            .run(START, t)
            .params
        ),
        squares_by_scipy,
        THETA,
        jit=False,
    ),
    "ScipyMinimize": Case(
        lambda t, solver: (
            solver(fun=objective, method="BFGS", tol=1e-9, **LU).run(START, t).params
        ),
        minimum_by_scipy,
        THETA,
        jit=False,
    ),
    "ScipyRootFinding": Case(
        lambda t, solver: (
            solver(optimality_fun=equation, method="hybr", tol=1e-14, **LU)
            .run(START, t)
            .params
        ),
        root_by_scipy,
        THETA,
        jit=False,
    ),
}
