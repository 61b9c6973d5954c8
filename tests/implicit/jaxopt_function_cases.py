"""The same for JAXopt's losses, objectives, projections, proximal operators, trees."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from .jaxopt_cases import Case, CG, jaxopt, THETA


_rng = np.random.default_rng(1)
DATA, VALUES = _rng.normal(size=(10, 4)), _rng.normal(size=10)
CLASSES, SIDES = _rng.integers(0, 3, 10), _rng.integers(0, 2, 10)
TABLE = _rng.normal(size=12)
VECTOR = np.array([0.9, -0.4, 1.6, 0.2, -1.1])
NORMAL = np.array([1.0, -2.0, 0.5, 1.5, 0.3])
PLANES = _rng.normal(size=(2, 5))
LOW, HIGH = np.full(5, -0.3), np.array([0.5, 0.6, 0.7, 0.8, 0.9])
HALFSPACES = PLANES[:1], LOW[:1], np.eye(5), HIGH
POSITIVE = np.array([1.0, 0.5, 2.0, 1.5, 0.7])
SUMS = np.array([0.4, 0.6]), np.array([0.3, 0.5, 0.2])
ONES = np.ones(2), np.ones(2)


def same(call, at=VECTOR):
    """Both are called alike."""
    return Case(call, call, at)


def applied(theirs, ours, at=VECTOR, **options):
    """Of theta and, in JAXopt one tuple of parameters, now several."""
    return Case(
        lambda t, function: function(t, *theirs),
        lambda t, function: function(t, *ours),
        at,
        **options,
    )


def binary(negative):
    """Of scores, for labels from 0 to 1 in JAXopt and from `negative` to 1 now."""
    return Case(
        lambda t, loss: [loss(label, v) for label in (0, 1) for v in t],
        lambda t, loss: [loss(v, jnp.asarray(s)) for s in (negative, 1) for v in t],
        VECTOR,
    )


def multiclass():
    """Of five scores, for every label."""
    return Case(
        lambda t, loss: [loss(label, t) for label in range(5)],
        lambda t, loss: loss(jnp.stack([t] * 5), jnp.arange(5)),
        VECTOR,
    )


def logistic(intercept, strength=None):
    """JAXopt's objective of (weights, data), and the mean of a loss."""

    def split(theta):
        weights = theta.reshape(4, 3)
        return (weights, weights[0]) if intercept else weights

    def theirs(theta, function):
        middle = () if strength is None else (strength,)
        return function(split(theta), *middle, (DATA, CLASSES))

    def ours(theta, loss):
        weights = theta.reshape(4, 3)
        scores = DATA @ weights + (weights[0] if intercept else 0)
        return jnp.mean(loss(scores, CLASSES)) + penalty(theta, strength or 0.0)

    return Case(theirs, ours, TABLE)


def penalty(theta, strength):
    return strength * jnp.sum(theta**2) / 2


def sparse_simplex(theta, top_k, simplex):
    values, where = top_k(theta, 3)
    return jnp.zeros_like(theta).at[where].set(simplex(values))


def transported(marginals=None):
    """By the dual: the derivative through JAXopt's semi-dual is zero."""

    def theirs(theta, project):
        accurate = functools.partial(jaxopt.LBFGS, tol=1e-13, maxiter=3000, **CG)
        sums = () if marginals is None else (marginals,)
        size = 2 if marginals is None else 3
        scores = theta.reshape(-1, size)
        return project(scores, *sums, make_solver=accurate, use_semi_dual=False)

    return theirs


def sinkhorn(rows, columns):
    """Rows and columns scaled in turn, in logarithms; the mean of a shift is fixed."""

    def ours(theta, fixed_point):
        scores = theta.reshape(len(rows), len(columns))

        def of_columns(f):
            return jnp.log(columns) - jax.nn.logsumexp(scores + f[:, None], axis=0)

        def balance(f):
            f = jnp.log(rows) - jax.nn.logsumexp(scores + of_columns(f), axis=1)
            return f - jnp.mean(f)

        f = fixed_point(balance, jnp.zeros(len(rows)), tolerance=1e-13).value
        f = jnp.log(rows) - jax.nn.logsumexp(scores + of_columns(f), axis=1)
        return jnp.exp(scores + f[:, None] + of_columns(f))

    return ours


def isotonic(theta, qp):
    """Increasing, from -1.5 to 1.5."""
    n = len(theta)
    falls = jnp.eye(n - 1, n) - jnp.eye(n - 1, n, 1)
    G = jnp.concatenate([falls, -jnp.eye(1, n), jnp.eye(1, n, n - 1)])
    h = jnp.concatenate([jnp.zeros(n - 1), jnp.full(2, 1.5)])
    return qp(jnp.eye(n), -theta, G=G, h=h).value.x


def winner(x):
    return jax.nn.one_hot(jnp.argmax(x), x.shape[0])


MANY = dict(num_samples=100_000, sigma=1.0)


def noise(theta, kind):
    """Samples, and the density at theta."""
    return kind().sample(jax.random.key(0), (3,)), kind().log_prob(theta)


def tree(theta):
    return {"a": theta[:2], "b": theta[2:]}


def other(theta):
    return {"a": jnp.exp(theta[:2]), "b": jnp.sin(theta[2:])}


def turned(theta):
    """A complex tree."""
    return jax.tree.map(lambda v: v * jnp.exp(1j * v), tree(theta))


def real(value):
    """A complex tree as real ones."""
    return jax.tree.map(lambda v: (jnp.real(v), jnp.imag(v)), value)


FUNCTIONS = {
    "isotonic.isotonic_l2_pav": Case(
        lambda t, pav: pav(t, -1.5, 1.5),
        isotonic,
        np.array([1.0, -2.0, 0.5, 3.0, 0.2, -2.5, 1.0, 1.2]),
    ),
    "loss.binary_hinge_loss": binary(-1),
    "loss.binary_logistic_loss": binary(0),
    "loss.binary_perceptron_loss": binary(-1),
    "loss.binary_sparsemax_loss": binary(0),
    "loss.huber_loss": Case(
        lambda t, huber: [huber(0.3, v, 0.5) for v in t],
        lambda t, huber: [huber(v, 0.3, delta=0.5) for v in t],
        VECTOR,
    ),
    "loss.make_fenchel_young_loss": Case(
        lambda t, make: make(jax.nn.logsumexp)(winner(t), t),
        lambda t, make: make(jax.nn.logsumexp)(t, winner(t)),
        VECTOR,
    ),
    "loss.multiclass_hinge_loss": multiclass(),
    "loss.multiclass_logistic_loss": multiclass(),
    "loss.multiclass_perceptron_loss": multiclass(),
    "loss.multiclass_sparsemax_loss": multiclass(),
    "loss.sparse_plus": same(lambda t, function: function(t)),
    "loss.sparse_sigmoid": same(lambda t, function: function(t)),
    "objective.binary_logreg": Case(
        lambda t, function: function(t, (DATA, SIDES)),
        lambda t, loss: jnp.mean(loss(DATA @ t, SIDES)),
        THETA,
    ),
    "objective.l2_multiclass_logreg": logistic(False, 0.3),
    "objective.l2_multiclass_logreg_with_intercept": logistic(True, 0.3),
    "objective.least_squares": Case(
        lambda t, function: function(t, (DATA, VALUES)),
        lambda t, l2: jnp.mean(l2(DATA @ t, VALUES)),
        THETA,
    ),
    "objective.multiclass_logreg": logistic(False),
    "objective.multiclass_logreg_with_intercept": logistic(True),
    "objective.ridge_regression": Case(
        lambda t, function: function(t, 0.3, (DATA, VALUES)),
        lambda t, l2: jnp.mean(l2(DATA @ t, VALUES)) + penalty(t, 0.3),
        THETA,
    ),
    "perturbations.Gumbel": same(noise),
    "perturbations.Normal": same(noise),
    "perturbations.make_perturbed_argmax": Case(
        lambda t, make: make(winner, **MANY)(t, jax.random.key(0)),
        lambda t, make: make(winner, **MANY)(jax.random.key(1), t),
        VECTOR[:3],
        tolerance=0.02,
    ),
    "perturbations.make_perturbed_fun": Case(
        lambda t, make: make(jnp.max, **MANY)(t, jax.random.key(0)),
        lambda t, make: make(jnp.max, **MANY)(jax.random.key(1), t),
        VECTOR[:3],
        tolerance=0.02,
    ),
    "perturbations.make_perturbed_max": Case(
        lambda t, make: make(winner, **MANY)(t, jax.random.key(0)),
        lambda t, make: make(jnp.max, **MANY)(jax.random.key(1), t),
        VECTOR[:3],
        tolerance=0.02,
    ),
    "projection.kl_projection_birkhoff": Case(
        transported(), sinkhorn(*ONES), TABLE[:4]
    ),
    "projection.kl_projection_transport": Case(
        transported(SUMS), sinkhorn(*SUMS), TABLE[:6]
    ),
    "projection.projection_affine_set": applied(
        [(PLANES, np.array([0.3, -0.2]))], [PLANES, np.array([0.3, -0.2])]
    ),
    "projection.projection_birkhoff": Case(
        transported(),
        lambda t, birkhoff: birkhoff(t.reshape(2, 2)),
        TABLE[:4] / 3,
    ),
    "projection.projection_box": applied([(LOW, HIGH)], [LOW, HIGH]),
    "projection.projection_box_section": applied(
        [(LOW, HIGH, POSITIVE, 1.1)], [LOW, HIGH, POSITIVE, 1.1], tolerance=1e-5
    ),
    "projection.projection_halfspace": applied([(NORMAL, 0.4)], [NORMAL, 0.4]),
    "projection.projection_hypercube": applied([0.7], [0.7]),
    "projection.projection_hyperplane": applied([(NORMAL, 0.4)], [NORMAL, 0.4]),
    "projection.projection_l1_ball": applied([1.3], [1.3]),
    "projection.projection_l1_sphere": applied([1.3], [1.3]),
    "projection.projection_l2_ball": applied([1.3], [1.3]),
    "projection.projection_l2_sphere": applied([1.3], [1.3]),
    "projection.projection_linf_ball": applied([0.7], [0.7]),
    "projection.projection_non_negative": applied([], []),
    "projection.projection_polyhedron": Case(
        lambda t, project: project(t, HALFSPACES, check_feasible=False),
        lambda t, project: project(t, *HALFSPACES),
        VECTOR,
        tolerance=1e-3,
    ),
    "projection.projection_simplex": applied([1.3], [1.3]),
    "projection.projection_sparse_simplex": Case(
        lambda t, project: project(t, 3), sparse_simplex, VECTOR
    ),
    "projection.projection_transport": Case(
        transported(SUMS),
        lambda t, transport: transport(t.reshape(2, 3), *SUMS),
        TABLE[:6] / 3,
    ),
    "prox.prox_elastic_net": applied([(0.4, 0.7), 0.5], [0.2, 0.14]),
    "prox.prox_group_lasso": applied([0.4, 0.5], [0.2]),
    "prox.prox_lasso": applied([0.4, 0.5], [0.2]),
    "prox.prox_non_negative_lasso": applied([0.4, 0.5], [0.2]),
    "prox.prox_non_negative_ridge": Case(
        lambda t, prox: prox(t, 0.4, 0.5),
        lambda t, ridge, non_negative: non_negative(ridge(t, 0.2)),
        VECTOR,
    ),
    "prox.prox_ridge": applied([0.4, 0.5], [0.2]),
    "tree_util.broadcast_pytrees": Case(
        lambda t, broadcast: broadcast(t[0], tree(t)),
        lambda t, broadcast: (broadcast(t[0], tree(t)), tree(t)),
        VECTOR,
    ),
    "tree_util.tree_add": same(lambda t, add: add(tree(t), other(t))),
    "tree_util.tree_add_scalar_mul": same(lambda t, add: add(tree(t), t[0], other(t))),
    "tree_util.tree_conj": same(lambda t, conj: real(conj(turned(t)))),
    "tree_util.tree_div": same(lambda t, div: div(tree(t), other(t))),
    "tree_util.tree_dot": Case(
        lambda t, dot: dot(tree(t), other(t)),
        lambda t, map_, dot: map_(dot, tree(t), other(t)),
        VECTOR,
    ),
    "tree_util.tree_imag": Case(
        lambda t, imag: imag(turned(t)),
        lambda t, map_, imag: map_(imag, turned(t)),
        VECTOR,
    ),
    "tree_util.tree_inf_norm": Case(
        lambda t, norm: norm(tree(t)),
        lambda t, norm: norm(tree(t), ord="inf"),
        VECTOR,
    ),
    "tree_util.tree_l2_norm": Case(
        lambda t, norm: (norm(tree(t)), norm(tree(t), squared=True)),
        lambda t, norm: (norm(tree(t)), norm(tree(t), squared=True)),
        VECTOR,
    ),
    "tree_util.tree_map": same(lambda t, map_: map_(jnp.sin, tree(t))),
    "tree_util.tree_mul": same(lambda t, mul: mul(tree(t), other(t))),
    "tree_util.tree_negative": Case(
        lambda t, negative: negative(tree(t)),
        lambda t, scale: scale(-1, tree(t)),
        VECTOR,
    ),
    "tree_util.tree_ones_like": same(lambda t, ones: ones(tree(t))),
    "tree_util.tree_real": same(lambda t, real_: real_(turned(t))),
    "tree_util.tree_reduce": same(
        lambda t, reduce: reduce(lambda a, v: a + jnp.sum(v**2), tree(t), 0.0)
    ),
    "tree_util.tree_scalar_mul": same(lambda t, scale: scale(t[0], other(t))),
    "tree_util.tree_sub": same(lambda t, sub: sub(tree(t), other(t))),
    "tree_util.tree_sum": same(lambda t, sum_: sum_(other(t))),
    "tree_util.tree_vdot": same(lambda t, vdot: real(vdot(turned(t), other(t)))),
    "tree_util.tree_vdot_real": Case(
        lambda t, vdot: vdot(turned(t), turned(t**2)),
        lambda t, real_, vdot: real_(vdot(turned(t), turned(t**2))),
        VECTOR,
    ),
    "tree_util.tree_where": same(lambda t, where: where(t[0] > 0, tree(t), other(t))),
    "tree_util.tree_zeros_like": same(lambda t, zeros: zeros(tree(t))),
}
