"""Problems where derivatives go wrong silently, and their derivatives in closed form.

As numpy arrays in float64, so that every library gets the same ones.
"""

from typing import Any, Literal, NamedTuple

import numpy as np


Kind = Literal["minimum", "root", "squares", "fixed_point", "lasso", "program"]


class Case(NamedTuple):
    """A problem, the loss of its solution, and the gradient of that loss.

    Kinds, with y = x / units where there are units:
    "minimum" of size * (y'Hy / 2 + quartic * sum y^4 - (M theta)'y), loss w'y.
    "root" of Hx - M theta, loss w'x. "squares": of Rx - theta, loss |Rx|^2.
    "fixed_point" of tanh(Wz + theta), loss w'z. "lasso": |x - theta|^2 / 2 + |x|_1,
    loss sum x. "program": x'Qx / 2 + theta'x where Ax = b and Gx <= h, loss w'x.
    """

    name: str
    kind: Kind
    data: dict[str, Any]
    theta: np.ndarray
    """What the loss is differentiated by; with a batch in front if `lanes`."""
    low: np.ndarray
    """The gradient; NaN in lanes that have none."""
    high: np.ndarray | None = None
    """Where every gradient between two is valid, the other one."""
    lanes: bool = False
    tolerance: float = 1e-3
    """Relative error from which a gradient is wrong."""
    dtype: str = "float64"


def cases() -> list[Case]:
    """All of them."""
    return [
        _stopped(3),
        _out_of_steps(),
        _equilibrium("fixed point stopped after 3 steps", steps=3),
        _conditioned(8),
        _conditioned(16),
        _singular("minimum"),
        _singular("root"),
        _deficient(),
        _bad_lane(),
        _redundant(),
        _no_solution("infeasible"),
        _no_solution("unbounded"),
        _degenerate(),
        _kink(),
        _scaled("float32 data under x64: minimum", dtype="float32"),
        _equilibrium("float32 data under x64: fixed point", dtype="float32"),
        _redundant(False, dtype="float32"),
        _start_at_solution(),
        _scaled("unknowns of size 1e12", unit=1e12),
        _scaled("unknowns of size 1e-12", unit=1e-12),
        _scaled("unknowns of sizes 1 and 1e12", unit=1e12, mixed=True),
        _scaled("objective of size 1e12", size=1e12),
        _scaled("objective of size 1e-12", size=1e-12),
    ]


def _spectrum(condition: float, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvectors, and eigenvalues from 1 down."""
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))
    return q, np.logspace(0, -np.log10(condition), n)


def _minimum(
    name: str,
    H: np.ndarray,
    theta: np.ndarray,
    w: np.ndarray,
    *,
    quartic: float = 0.0,
    tolerance: float = 1e-3,
    dtype: str = "float64",
    **more: Any,
) -> Case:
    """With M = 1; the gradient by Newton's method and a direct solve."""
    n = len(H)
    data = dict(H=H, M=np.eye(n), w=w, units=np.ones(n), size=1.0, quartic=quartic)
    data |= dict(start=np.zeros(n), steps=None, max_steps=None) | more
    y, hessian = np.zeros(n), H
    for _ in range(100):
        slope = H @ y + 4 * quartic * y**3 - theta
        hessian = H + np.diag(12 * quartic * y**2)
        y = y - np.linalg.solve(hessian, slope)
    gradient = np.linalg.solve(hessian, w)
    return Case(
        name, "minimum", data, theta, gradient, tolerance=tolerance, dtype=dtype
    )


def _stopped(steps: int) -> Case:
    q, values = _spectrum(20.0)
    rng = np.random.default_rng(1)
    return _minimum(
        f"own descent stopped after {steps} steps",
        (q * values) @ q.T,
        rng.normal(size=12),
        rng.normal(size=12),
        quartic=0.1,
        steps=steps,
        rate=0.15,
    )


def _out_of_steps() -> Case:
    q, values = _spectrum(20.0)
    rng = np.random.default_rng(1)
    theta = 30 * rng.normal(size=12)
    return _minimum(
        "library's solver out of steps",
        (q * values) @ q.T,
        theta,
        rng.normal(size=12),
        quartic=0.1,
        max_steps=2,
    )


def _conditioned(power: int) -> Case:
    """The gradient is H^-1 w with H as its spectrum says, before rounding."""
    q, values = _spectrum(10.0**power)
    H, w = (q * values) @ q.T, q @ np.ones(12)
    case = _minimum(f"Hessian of condition 1e{power}", np.eye(12), H @ w, w)
    return case._replace(data=case.data | {"H": H}, low=q @ (1 / values))


def _singular(kind: Literal["minimum", "root"]) -> Case:
    """Two zero modes, in neither the loss nor the data: the gradient is unique."""
    rng = np.random.default_rng(2)
    half = rng.normal(size=(4, 6))
    H, w = half.T @ half, half.T @ rng.normal(size=4)
    theta = rng.normal(size=4)
    exact = half @ np.linalg.pinv(H) @ w
    name = "singular Hessian" if kind == "minimum" else "singular Jacobian"
    case = _minimum(name, np.eye(6), np.zeros(6), w)
    data = case.data | {"H": H, "M": half.T}
    return case._replace(kind=kind, data=data, theta=theta, low=exact)


def _deficient() -> Case:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(9, 3)) @ rng.normal(size=(3, 5))
    b = rng.normal(size=9)
    exact = 2 * rows @ np.linalg.pinv(rows) @ b
    data = dict(R=rows, start=np.zeros(5))
    return Case("least squares of rank 3 in 5 unknowns", "squares", data, b, exact)


def _bad_lane() -> Case:
    rng = np.random.default_rng(4)
    half = rng.normal(size=(128, 5, 5))
    H = half @ half.swapaxes(1, 2) + np.eye(5)
    H[77] = np.ones((5, 5))
    theta, w = rng.normal(size=(128, 5)), rng.normal(size=5)
    exact = np.full((128, 5), np.nan)
    others = np.arange(128) != 77
    exact[others] = np.linalg.solve(H[others].swapaxes(1, 2), w[:, None])[..., 0]
    data = dict(H=H, M=np.broadcast_to(np.eye(5), H.shape), w=w, start=np.zeros(5))
    return Case(
        "one lane of 128 without a root", "root", data, theta, exact, lanes=True
    )


def _program(n=8, m=12, p=2) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    half, inside = rng.normal(size=(n, n)), rng.normal(size=n)
    A, G = rng.normal(size=(p, n)), rng.normal(size=(m, n))
    given = dict(Q=half @ half.T / n + 0.1 * np.eye(n), A=A, b=A @ inside, G=G)
    given |= dict(h=G @ inside + rng.uniform(0.0, 1.0, m), w=rng.normal(size=n))
    return given, 3 * rng.normal(size=n)


def _program_gradient(given: dict[str, np.ndarray], q: np.ndarray) -> np.ndarray:
    """By the active set that SciPy's general solver finds, which is checked."""
    from scipy import optimize

    Q, A, b, G, h = (given[key] for key in "QAbGh")
    found = optimize.minimize(
        lambda x: x @ Q @ x / 2 + q @ x,
        np.zeros(len(q)),
        jac=lambda x: Q @ x + q,
        method="SLSQP",
        constraints=[
            dict(type="eq", fun=lambda x: A @ x - b, jac=lambda x: A),
            dict(type="ineq", fun=lambda x: h - G @ x, jac=lambda x: -G),
        ],
        options=dict(ftol=1e-14, maxiter=1000),
    )
    C = np.vstack([A, G[h - G @ found.x < 1e-6]])
    kkt = np.block([[Q, C.T], [C, np.zeros((len(C), len(C)))]])
    right = np.concatenate([b, h[h - G @ found.x < 1e-6]])
    x = np.linalg.solve(kkt, np.concatenate([-q, right]))
    if np.max(G @ x[: len(q)] - h) > 1e-9 or np.min(x[len(q) + len(b) :]) < 1e-9:
        raise ValueError("the reference's active set is not the optimum's")
    u = np.linalg.solve(kkt, np.concatenate([given["w"], np.zeros(len(C))]))
    return -u[: len(q)]


def _redundant(twice: bool = True, dtype: str = "float64") -> Case:
    """Rows given twice: multipliers are not unique, the gradient is."""
    given, q = _program()
    exact = _program_gradient(given, q)
    for key in "AbGh" if twice else "":
        given[key] = np.concatenate([given[key], given[key]])
    name = "program with every constraint twice"
    if not twice:
        name = "float32 data under x64: program"
    return Case(name, "program", given, q, exact, dtype=dtype, **_loose(dtype))


def _no_solution(which: Literal["infeasible", "unbounded"]) -> Case:
    """Lane 1 of 4 has no solution."""
    given, q = _program()
    exact = np.stack([_program_gradient(given, q)] * 4)
    exact[1] = np.nan
    data = {k: np.stack([v] * 4) for k, v in given.items() if k != "w"}
    if which == "infeasible":
        data["G"][1, 1], data["h"][1, 1] = -data["G"][1, 0], -data["h"][1, 0] - 1.0
    else:
        data["Q"][1], data["G"][1], data["h"][1] = 0, 0, 1.0
    name = f"one {which} program of 4"
    data |= {"w": given["w"]}
    return Case(name, "program", data, np.stack([q] * 4), exact, lanes=True)


def _degenerate() -> Case:
    """Bounds met without a multiplier."""
    data = dict(Q=np.eye(2), A=np.zeros((0, 2)), b=np.zeros(0), G=np.eye(2))
    data |= dict(h=np.ones(2), w=np.ones(2))
    q = -np.ones(2)
    return Case("degenerate program", "program", data, q, -np.ones(2), np.zeros(2))


def _kink() -> Case:
    theta, low = np.array([1.0, 3.0]), np.array([0.0, 1.0])
    data = dict(start=np.zeros(2))
    return Case("soft thresholding at its kink", "lasso", data, theta, low, np.ones(2))


def _equilibrium(name: str, steps: int | None = None, dtype: str = "float64") -> Case:
    rng = np.random.default_rng(7)
    W = rng.normal(size=(8, 8))
    W *= 0.9 / np.max(np.abs(np.linalg.eigvals(W)))
    theta, w = 0.3 * rng.normal(size=8), rng.normal(size=8)
    z = np.zeros(8)
    for _ in range(100):
        image = np.tanh(W @ z + theta)
        slope = (1 - image**2)[:, None] * W
        z = z + np.linalg.solve(np.eye(8) - slope, image - z)
    weight = 1 - np.tanh(W @ z + theta) ** 2
    exact = weight * np.linalg.solve((np.eye(8) - weight[:, None] * W).T, w)
    data = dict(W=W, w=w, steps=steps, start=np.zeros(8))
    return Case(name, "fixed_point", data, theta, exact, dtype=dtype, **_loose(dtype))


def _loose(dtype: str) -> dict[str, Any]:
    return {"tolerance": 1e-2} if dtype == "float32" else {}


def _start_at_solution() -> Case:
    q, values = _spectrum(10.0)
    H, w = (q * values) @ q.T, np.arange(1.0, 13.0)
    start = q @ ((q.T @ np.ones(12)) / values)
    return _minimum("start at the solution", H, np.ones(12), w, start=start)


def _scaled(name, unit=1.0, size=1.0, mixed=False, dtype="float64") -> Case:
    q, values = _spectrum(10.0, 4)
    units = np.array([1.0, unit, 1.0, unit]) if mixed else np.full(4, unit)
    return _minimum(
        name,
        (q * values) @ q.T,
        np.arange(4.0),
        np.array([1.0, -2.0, 0.5, 1.5]),
        quartic=0.1,
        units=units,
        size=size,
        dtype=dtype,
        **_loose(dtype),
    )
