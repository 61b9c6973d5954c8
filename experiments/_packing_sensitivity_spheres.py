"""Soft spheres of two sizes in a periodic square: energy, contacts, rest."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


Positions = Float[Array, "n 2"]

FLAT = 1e-9  # of the largest eigenvalue: below it a mode costs no energy


class Spheres(NamedTuple):
    """How many, and in what box; the first half has diameter 1, the rest the small."""

    count: int
    side: float
    """Of the periodic square."""


def spheres(count: int, small: float, packing_fraction: float) -> Spheres:
    """The box in which spheres fill a given fraction of the area, overlaps uncounted.

    Args:
        count: how many, half of them small.
        small: diameter of the small ones in units of the large ones'.
        packing_fraction: sum of their areas by that of the box.

    Returns:
        The system; its box does not change with the diameter from here on.
    """
    area = math.pi / 4 * (count - count // 2 + count // 2 * small**2)
    return Spheres(count, math.sqrt(area / packing_fraction))


def length(v: Array) -> Float[Array, ""]:
    """The Euclidean norm of all entries."""
    return jnp.sqrt(jnp.sum(v**2))


def diameters(system: Spheres, small: Float[Array, ""]) -> Float[Array, " n"]:
    """Of every sphere."""
    half = system.count // 2
    return jnp.where(jnp.arange(system.count) < system.count - half, 1.0, small)


def pairs(system: Spheres, x: Positions, small: Float[Array, ""]):
    """Offsets `(n, n, 2)` to the nearest images, distances and sums of radii `(n, n)`.

    A sphere's distance to itself is that of spheres out of reach.
    """
    offset = x[:, None] - x[None]
    offset = offset - system.side * jnp.round(offset / system.side)
    itself = jnp.eye(system.count, dtype=bool)
    square = jnp.where(itself, system.side**2, jnp.sum(offset**2, -1))
    d = diameters(system, small)
    return offset, jnp.sqrt(square), (d[:, None] + d[None]) / 2


def energy(system: Spheres, x: Positions, small: Float[Array, ""]) -> Float[Array, ""]:
    """Sum over overlapping pairs of (1 - r / sigma)^2 / 2, sigma the mean diameter."""
    _, r, sigma = pairs(system, x, small)
    return jnp.sum(jnp.maximum(1 - r / sigma, 0) ** 2) / 4


def slope(
    system: Spheres,
    x: Positions,
    small: Float[Array, ""],
    among: Bool[Array, " n"] | None = None,
) -> Positions:
    """The gradient of the energy in the positions, of all spheres or among some."""
    offset, r, sigma = pairs(system, x, small)
    push = jnp.maximum(1 - r / sigma, 0) / (sigma * r)
    if among is not None:
        push = jnp.where(among[:, None] & among[None], push, 0)
    return -jnp.sum(push[:, :, None] * offset, 1)


def hessian(system: Spheres, x: Positions, small: Float[Array, ""]):
    """The second derivative of the energy, `(2n, 2n)`, contacts taken as they are."""
    offset, r, sigma = pairs(system, x, small)
    touching = r < sigma
    along = offset / r[:, :, None]
    outer = along[:, :, :, None] * along[:, :, None, :]
    stiff = jnp.where(touching, 1 / sigma**2, 0)[:, :, None, None]
    pressed = jnp.where(touching, (1 - r / sigma) / (sigma * r), 0)[:, :, None, None]
    block = stiff * outer - pressed * (jnp.eye(2, dtype=x.dtype) - outer)
    own = jnp.eye(system.count, dtype=x.dtype)[:, :, None, None]
    whole = own * jnp.sum(block, 1)[:, None] - block
    return jnp.swapaxes(whole, 1, 2).reshape(x.size, x.size)


def contacts(system: Spheres, x: Positions, small: Float[Array, ""]):
    """Which pairs overlap, `(n, n)`."""
    _, r, sigma = pairs(system, x, small)
    return r < sigma


def backbone(touching: Bool[Array, "n n"]) -> Bool[Array, " n"]:
    """Spheres that are held in place; the others are rattlers.

    Fewer than three contacts cannot hold a disc, so such spheres are taken out until
    none is left.
    """

    def held(kept):
        return kept & (jnp.sum(touching & kept[:, None] & kept[None], 1) >= 3)

    first = jnp.ones(len(touching), bool)
    pair = jax.lax.while_loop(
        lambda pair: jnp.any(pair[0] != pair[1]),
        lambda pair: (pair[1], held(pair[1])),
        (first, held(first)),
    )
    return pair[1]


class _Search(NamedTuple):
    x: Positions
    slope: Positions
    energy: Float[Array, ""]
    count: Array
    live: Bool[Array, ""]


def settle(
    system: Spheres,
    small: Float[Array, ""],
    start: Positions,
    *,
    goal: float = 1e-14,
    max_steps: int = 100,
) -> Positions:
    """The minimum of the energy downhill of a point, to rounding.

    Newton steps by the eigenvectors of the Hessian, in which downward curvature counts
    as upward and modes that cost no energy (translations, rattlers) stand still; each
    step is shortened until it gains.

    Args:
        system: the spheres.
        small: diameter of the small ones.
        start: positions.
        goal: gradient norm at which to stop; where rounding allows no less, that.
        max_steps: Newton steps.

    Returns:
        Positions, not wrapped into the box.
    """
    unit = float(jnp.finfo(start.dtype).eps)

    def direction(search: _Search):
        values, vectors = jnp.linalg.eigh(hessian(system, search.x, small))
        stiff = jnp.abs(values)
        real = stiff > FLAT * jnp.max(stiff)
        weight = jnp.where(real, 1 / jnp.where(real, stiff, 1), 0)
        move = -vectors @ (weight * (vectors.T @ search.slope.ravel()))
        longest = jnp.max(jnp.abs(move))
        return (move * jnp.minimum(1, 0.1 / longest)).reshape(search.x.shape)

    def step(search: _Search) -> _Search:
        move = direction(search)
        fall = jnp.sum(move * search.slope)

        def tried(part):
            x = search.x + part * move
            return x, slope(system, x, small), energy(system, x, small)

        def gains(part, new_slope, new_energy):
            # Near the minimum energies differ by rounding alone; there slopes decide.
            level = new_energy <= search.energy * (1 + 10 * unit)
            lower = new_energy <= search.energy + 1e-4 * part * fall
            flatter = length(new_slope) < 0.9 * length(search.slope)
            return (lower & (fall < -unit * search.energy)) | (level & flatter)

        def shorten(carry):
            part = carry[0] / 2
            x, new_slope, new_energy = tried(part)
            good = gains(part, new_slope, new_energy)
            return part, x, new_slope, new_energy, good

        two = jnp.asarray(2.0, search.x.dtype)
        first = two, search.x, search.slope, search.energy, jnp.asarray(False)
        _, x, new_slope, new_energy, good = jax.lax.while_loop(
            lambda carry: ~carry[4] & (carry[0] > 1e-6), shorten, first
        )
        x, new_slope, new_energy = jax.tree.map(
            lambda new, old: jnp.where(good, new, old),
            (x, new_slope, new_energy),
            (search.x, search.slope, search.energy),
        )
        count = search.count + 1
        live = good & (length(new_slope) > goal) & (count < max_steps)
        return _Search(x, new_slope, new_energy, count, live)

    uphill = slope(system, start, small)
    first = _Search(
        start,
        uphill,
        energy(system, start, small),
        jnp.zeros((), jnp.int32),
        length(uphill) > goal,
    )
    return jax.lax.while_loop(lambda search: search.live, step, first).x
