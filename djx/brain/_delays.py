"""How long spikes are under way: in steps, drawn by chance, or learnt."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from ._connectivity import checked_delays, Connectivity
from ._hash import check_seed, hashed, stream


def delays_in_steps(
    delays_ms: Float[np.ndarray, "..."] | float, dt_ms: float, *, exact: bool = False
) -> Int32[np.ndarray, "..."]:
    """Delays by the clock, halves of a step upwards.

    Args:
        delays_ms: any number of them.
        dt_ms: length of a step.
        exact: refuse delays that are not whole steps to a millionth.

    Returns:
        Steps, each 1 or more.

    Raises:
        ValueError: where one is below a step, or none, or not exact.
    """
    if not dt_ms > 0:
        raise ValueError(f"dt_ms={dt_ms}: has to be a number above 0")
    delays_ms = np.asarray(delays_ms, np.float64)
    steps = delays_ms / dt_ms
    near = np.floor(steps + 0.5)
    for bad, why in (
        (~((steps > 1 - 1e-6) & (near < 2**31)), "has to be a step or more"),
        (
            exact & (np.abs(steps - near) > 1e-6 * near),
            "is not a whole number of steps; exact=False rounds it",
        ),
    ):
        if np.any(bad):
            raise ValueError(
                f"delays_ms: {delays_ms[bad].flat[0]:.9g} ms at steps of {dt_ms} ms "
                f"{why}"
            )
    return near.astype(np.int32)


def with_delays(
    connectivity: Connectivity,
    delays: Int32[np.ndarray, "..."] | int,
    latest: int | None = None,
) -> Connectivity:
    """The same edges, with delays.

    Args:
        connectivity: whose delays, if it has any, are forgotten.
        delays: one for all or one an edge, in steps.
        latest: for how large ones there shall be room; the largest if None.

    Returns:
        The connectivity.

    Raises:
        ValueError: where they are not as many as edges, not whole, not a step or more,
            or later than the latest.
    """
    delays = checked_delays(delays, connectivity.edges)
    largest = int(np.max(delays, initial=1))
    if latest is not None and latest < largest:
        raise ValueError(f"latest={latest}: there is a delay of {largest} steps")
    return dataclasses.replace(
        connectivity, delays=jnp.asarray(delays), latest=latest or largest
    )


def requantised(
    connectivity: Connectivity,
    dt_from_ms: float,
    dt_to_ms: float,
    *,
    exact: bool = True,
) -> Connectivity:
    """The same delays by another clock.

    Args:
        connectivity: with delays in old steps; without any it stays as it is.
        dt_from_ms: length of an old step.
        dt_to_ms: length of a new step.
        exact: refuse delays that are not whole new steps, instead of rounding them.

    Returns:
        The connectivity, with delays in new steps.

    Raises:
        ValueError: where a delay is below a new step, or not exact.
    """
    if connectivity.delays is None:
        return connectivity
    old_ms = np.asarray(connectivity.delays) * float(dt_from_ms)
    return with_delays(connectivity, delays_in_steps(old_ms, dt_to_ms, exact=exact))


def normal_delays(
    connectivity: Connectivity,
    mean_ms: float,
    spread_ms: float,
    dt_ms: float,
    *,
    seed: int,
) -> Connectivity:
    """Delays of a normal distribution, rounded to steps; below one they are one.

    An edge's is a function of the seed, its sender and its place in the row.

    Args:
        connectivity: whose delays, if it has any, are forgotten.
        mean_ms: of the distribution.
        spread_ms: its standard deviation.
        dt_ms: length of a step.
        seed: from 0 to 2^32 - 1.

    Returns:
        The connectivity, with delays.

    Raises:
        ValueError: where the mean is below a step, or the spread below 0.
    """
    check_seed(seed)
    mean = int(delays_in_steps(mean_ms, dt_ms))
    if not 0 <= spread_ms < math.inf:
        raise ValueError(f"spread_ms={spread_ms}: has to be a number, 0 or more")
    if not spread_ms:
        return with_delays(connectivity, mean)
    rows = np.asarray(connectivity.rows)
    senders = np.repeat(np.arange(connectivity.senders), np.diff(rows))
    places = np.arange(connectivity.edges) - rows[senders]
    words = hashed(seed, stream("normal delays"), senders, places)
    # As whole numbers, so that no device rounds otherwise: how much of the
    # distribution is rounded to k steps or fewer.
    most = math.ceil((mean_ms + 6.5 * spread_ms) / dt_ms)
    ends = ((np.arange(1, most + 1) + 0.5) * dt_ms - mean_ms) / spread_ms
    shares = np.array([0.5 * math.erfc(-end / math.sqrt(2)) for end in ends])
    thresholds = np.floor(shares * 2.0**32)
    return with_delays(
        connectivity, 1 + np.searchsorted(thresholds, words, side="right")
    )


def interpolated(
    connectivity: Connectivity,
    weights: Float[Array, "..."] | float,
    delays: Float[Array, " edges"],
    per: str | None = None,
) -> list[tuple[Connectivity, Float[Array, " edges"]]]:
    """Delays between steps: a spike arrives in part a step earlier, in part later.

    What arrives is linear in the delay between whole steps, and so has a derivative by
    it. Delays that lie outside of 1 to `connectivity.latest` count as the nearest of
    these, without a derivative; within, and at both ends, they have one.

    Args:
        connectivity: whose `latest` says how large delays may become.
        weights: one for all edges, one a sender or one an edge.
        delays: of every edge, in steps, that need not be whole.
        per: "sender" or "edge", where weights are as many as both.

    Returns:
        Two connectivities with their weights, both of which are to be pushed.

    Raises:
        ValueError: where there is no room between delays, or they are not as many as
            edges.
    """
    latest = connectivity.latest
    if latest < 2:
        raise ValueError(
            "latest=1: no delay is between steps; with_delays(..., latest=) makes room"
        )
    if delays.shape != (connectivity.edges,):
        raise ValueError(f"delays: {connectivity.edges} of edges, not {delays.shape}")
    weights = jnp.asarray(weights)
    if connectivity.kind_of(weights.shape, per) == "sender":
        weights = weights[connectivity.sender_of_edges()]
    # At the latest the earlier step is the last but one, and its share nothing.
    early = jnp.clip(jnp.floor(jax.lax.stop_gradient(delays)), 1, latest - 1)
    share = delays - early
    share = jnp.where(share < 0, 0, jnp.where(share > 1, 1, share))
    early = early.astype(jnp.int32)
    return [
        (dataclasses.replace(connectivity, delays=early), weights * (1 - share)),
        (dataclasses.replace(connectivity, delays=early + 1), weights * share),
    ]
