"""The explicit Runge-Kutta methods of djx's own engine, as data."""

from typing import Any, NamedTuple

import diffrax
import numpy as np
from numpy.polynomial import polynomial as poly


class Method(NamedTuple):
    """One explicit method and its dense output `y0 + sum_i k_i p_i(theta)`."""

    c: np.ndarray
    """Stage times, the first one included."""
    a: tuple[np.ndarray, ...]
    """Row i weighs the increments before stage i."""
    b: np.ndarray
    b_error: np.ndarray | None
    fsal: bool
    dense: np.ndarray
    """Coefficients of p_i: one row a stage, columns theta, theta^2, ..."""
    two_at_end: bool
    """Whether the last two stages are both at the end of the step."""

    @property
    def stages(self) -> int:
        """How many."""
        return len(self.c)

    @property
    def new_stages(self) -> int:
        """Field evaluations of one step, an inherited first stage left out."""
        return self.stages - self.fsal


def method_of(solver: Any) -> Method | None:
    """What the engine knows of a solver.

    Args:
        solver: a diffrax solver.

    Returns:
        Its method; None for one that the engine does not know.
    """
    dense = _DENSE.get(type(solver))
    if dense is None:
        return None
    if type(solver) is diffrax.Euler:
        one = np.ones(1)
        return Method(np.zeros(1), (np.zeros(0),), one, None, False, dense(), False)
    tableau = solver.tableau
    c = np.append(0.0, tableau.c)
    two_at_end = bool(tableau.fsal and len(c) > 2 and c[-1] == c[-2] == 1)
    return Method(
        c,
        (np.zeros(0), *tableau.a_lower),
        tableau.b_sol,
        tableau.b_error,
        tableau.fsal,
        dense(solver),
        two_at_end,
    )


def _hermite(solver) -> np.ndarray:
    """Cubic through both ends with the slopes of the first and the last stage."""
    b = solver.tableau.b_sol
    first, last = np.eye(len(b))[0], np.eye(len(b))[-1]
    return np.stack([first, 3 * b - 2 * first - last, first + last - 2 * b], 1)


def _quartic(solver) -> np.ndarray:
    """Quartic through both ends and the middle, with the slopes of both ends."""
    b, middle = solver.tableau.b_sol, solver.interpolation_cls.c_mid
    first, last = np.eye(len(b))[0], np.eye(len(b))[-1]
    square = last - 4 * first - 5 * b + 16 * middle
    cube = 5 * first - 3 * last + 14 * b - 32 * middle
    fourth = 2 * (last - first) - 8 * b + 16 * middle
    return np.stack([first, square, cube, fourth], 1)


def _tsitouras(solver) -> np.ndarray:
    """The free interpolant of Tsitouras 2011, multiplied out."""
    del solver
    factors = [
        (
            -1.0530884977290216,
            [0, 1],
            [-1.3299890189751412, 1],
            [0.7139816917074209, -1.4364028541716351, 1],
        ),
        (0.1017, [0, 0, 1], [1.2949852507374631, -2.1966568338249754, 1]),
        (
            2.490627285651252793,
            [0, 0, 1],
            [1.57803468208092486, -2.38535645472061657, 1],
        ),
        (
            -16.54810288924490272,
            [0, 0, 1],
            [-1.21712927295533244, 1],
            [-0.61620406037800089, 1],
        ),
        (
            47.37952196281928122,
            [0, 0, 1],
            [-1.203071208372362603, 1],
            [-0.658047292653547382, 1],
        ),
        (-34.87065786149660974, [0, 0, 1], [-1.2, 1], [-0.666666666666666667, 1]),
        (2.5, [0, 0, 1], [-1, 1], [-0.6, 1]),
    ]
    rows = []
    for scale, *parts in factors:
        row = np.asarray([scale])
        for part in parts:
            row = poly.polymul(row, part)
        rows.append(row[1:])
    return np.stack(rows)


def _bogacki(solver) -> np.ndarray:
    """Bogacki and Shampine's interpolant of the eighth-order pair."""
    return np.asarray(solver.interpolation_cls.eval_coeffs)[:, ::-1]


_DENSE = {
    diffrax.Euler: lambda: np.ones((1, 1)),
    diffrax.Heun: _hermite,
    diffrax.Midpoint: _hermite,
    diffrax.Ralston: _hermite,
    diffrax.Bosh3: _hermite,
    diffrax.Tsit5: _tsitouras,
    diffrax.Dopri5: _quartic,
    diffrax.Dopri8: _bogacki,
}
