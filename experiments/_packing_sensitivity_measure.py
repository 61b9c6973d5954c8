"""How packings answer to a diameter: what is measured, and against what."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from djx import implicit
from experiments._packing_sensitivity_spheres import (
    backbone,
    contacts,
    FLAT,
    hessian,
    length,
    pairs,
    Positions,
    slope,
    Spheres,
)


LARGEST, SMALLEST = 1e-4, 4e-7  # steps of the diameter that differences try
CLEAR = 1e-9  # relative uncertainty at which no shorter step is tried
WRONG = 1e-2  # relative error of a sensitivity that is of no use


class Modes(NamedTuple):
    """Of the Hessian of a packing."""

    free: Bool[Array, " modes"]
    """Which cost no energy."""
    stiffness: Float[Array, " modes"]
    vectors: Float[Array, "coordinates modes"]

    def yields(self, force: Positions) -> Positions:
        """The displacement of least norm that a force causes."""
        weight = jnp.where(self.free, 0, 1 / jnp.where(self.free, 1, self.stiffness))
        move = self.vectors @ (weight * (self.vectors.T @ force.ravel()))
        return move.reshape(force.shape)


def modes(matrix: Float[Array, "coordinates coordinates"]) -> Modes:
    """The eigenvectors of a Hessian."""
    stiffness, vectors = jnp.linalg.eigh(matrix)
    free = jnp.abs(stiffness) <= FLAT * jnp.max(stiffness)
    return Modes(free, stiffness, vectors)


class Differences(NamedTuple):
    """The sensitivity by packings that were settled again."""

    value: Positions
    step: Float[Array, ""]
    """The change of diameter."""
    uncertainty: Float[Array, ""]
    """By how much two extrapolations differ, relative to the value."""
    kept: Bool[Array, ""]
    """Whether there is a step that keeps all contacts; if not, this is a kink."""


def perturbed(
    system: Spheres,
    small: Float[Array, ""],
    x: Positions,
    held: Bool[Array, " n"],
    modes: Modes,
) -> Differences:
    """Central differences of settled packings in the diameter, extrapolated twice.

    Six packings are settled anew for each step, which is divided by four until no
    contact of the backbone opens or closes over all of it, no rattler is caught, and
    two extrapolations agree; the least uncertain of the steps that keep all contacts
    counts. Rattlers, which give way, are left out of the forces. The Hessian at x only
    drives the settling.

    Args:
        system: the spheres.
        small: diameter of the small ones.
        x: a settled packing.
        held: its backbone.
        modes: of its Hessian.

    Returns:
        The sensitivity of the spheres that are held, without their common shift.
    """
    offsets = jnp.asarray([1, -1, 0.5, -0.5, 0.25, -0.25], x.dtype)
    within = held[:, None] & held[None]
    before = contacts(system, x, small) & within

    def settled(small):
        """By steps with the one factor, for as long as forces shrink."""

        def move(carry):
            y, force, size, _ = carry
            new = y + modes.yields(force)
            new_force = -slope(system, new, small, held)
            return new, new_force, length(new_force), size

        force = -slope(system, x, small, held)
        first = x, force, length(force), jnp.asarray(jnp.inf, x.dtype)
        y, _, left, _ = jax.lax.while_loop(
            lambda carry: (carry[2] > 1e-14) & (carry[2] < carry[3]), move, first
        )
        touching = contacts(system, y, small)
        same = jnp.all((touching & within) == before)
        return y, same & jnp.all(backbone(touching) == held) & (left < 1e-12)

    def extrapolated(step):
        y, same = jax.lax.map(settled, small + offsets * step)
        one, half, quarter = (
            (y[i] - y[i + 1]) / (2 * offsets[i] * step) for i in (0, 2, 4)
        )
        wide, narrow = (4 * half - one) / 3, (4 * quarter - half) / 3
        value = held_part((16 * narrow - wide) / 15, held)
        doubt = length(held_part(narrow - wide, held)) / length(value)
        return Differences(value, step, doubt, jnp.all(same))

    def shorter(carry):
        best, step = carry
        new = extrapolated(step)
        better = new.kept & (~best.kept | (new.uncertainty < best.uncertainty))
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), new, best)
        return best, step / 4

    unknown = jnp.asarray(jnp.nan, x.dtype)
    none = Differences(unknown + x, unknown, unknown, jnp.asarray(False))
    return jax.lax.while_loop(
        lambda carry: (carry[1] >= SMALLEST) & ~(carry[0].uncertainty <= CLEAR),
        shorter,
        (none, jnp.asarray(LARGEST, x.dtype)),
    )[0]


def held_part(v: Positions, held: Bool[Array, " n"]) -> Positions:
    """A displacement without what costs no energy: rattlers and the common shift."""
    mean = jnp.sum(jnp.where(held[:, None], v, 0), 0) / jnp.sum(held)
    return jnp.where(held[:, None], v - mean, 0)


def tilt(system: Spheres, small: Float[Array, ""], x: Positions) -> Positions:
    """The change of the energy's gradient with the diameter, positions fixed."""
    one = jnp.ones_like(small)
    return jax.jvp(lambda small: slope(system, x, small), (small,), (one,))[1]


def implicit_sensitivity(
    system: Spheres,
    small: Float[Array, ""],
    x: Positions,
    gradient: implicit.Gradient,
) -> tuple[Positions, implicit.Receipt]:
    """The sensitivity of a settled packing in forward mode, and a receipt.

    Receipts come with reverse passes. The Hessian is symmetric, so the reverse pass
    whose cotangent is the `tilt` solves the very system of the forward mode.

    Args:
        system: the spheres.
        small: diameter of the small ones.
        x: the packing.
        gradient: how to differentiate.

    Returns:
        dx / d(small), and the receipt of the linear solve.
    """

    def equation(y, small, found):
        del found
        return slope(system, y, small)

    solve: Any = implicit.attach(
        equation, lambda small, found: found, gradient=gradient
    )

    def packing(small, receipt):
        return solve(small, x, receipt=receipt)

    nothing = implicit.Receipt.zeros()
    one = jnp.ones_like(small)
    tangent = jax.jvp(lambda small: packing(small, nothing), (small,), (one,))[1]
    # A receipt is filled in only where something else is differentiated as well.
    _, pull = jax.vjp(packing, small, nothing)
    return tangent, pull(tilt(system, small, x))[1]


def judged(
    system: Spheres, small: Float[Array, ""], x: Positions, tangent: Positions
) -> dict[str, Array]:
    """What is to be said of a sensitivity.

    Args:
        system: the spheres.
        small: diameter of the small ones.
        x: a settled packing.
        tangent: claimed to be its derivative.

    Returns:
        Metrics.
    """
    held = backbone(contacts(system, x, small))
    matrix, right = hessian(system, x, small), tilt(system, small, x)
    spectrum = modes(matrix)
    truth = perturbed(system, small, x, held, spectrum)
    wanted, found = truth.value, held_part(tangent, held)
    left = (matrix @ tangent.ravel()).reshape(x.shape) + right
    _, r, sigma = pairs(system, x, small)
    gap = jnp.where(held[:, None] & held[None], jnp.abs(r - sigma), jnp.inf)
    error = length(found - wanted) / length(wanted)
    return {
        "error": error,
        "wrong": (~(error <= WRONG)).astype(jnp.int32),
        "l1": jnp.sum(jnp.abs(found)),
        "true_l1": jnp.sum(jnp.abs(wanted)),
        "residual": length(left) / length(right),
        "gradient_norm": length(slope(system, x, small)),
        "zero_modes": jnp.sum(spectrum.free),
        "rattlers": jnp.sum(~held),
        "nearest_switch": jnp.min(gap),
        "difference_step": truth.step,
        "difference_uncertainty": truth.uncertainty,
        "kinks": (~truth.kept).astype(jnp.int32),
    }
