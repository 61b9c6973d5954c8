"""What the solvers' races solve, as numpy arrays, the same for every framework."""

import numpy as np


Layers = list[tuple[np.ndarray, np.ndarray]]

TIMES = np.linspace(0.0, 8.0, 20)
TOLERANCE = 1e-6


def mlp_layers(sizes: tuple[int, ...], seed: int) -> Layers:
    """Weights `(in, out)` and biases of a network, in float32.

    With seed 2 the spiral's network asks for about 20 steps, and its flow is bounded.

    Args:
        sizes: widths, input and output included.
        seed: of the draw.

    Returns:
        One pair per layer.
    """
    random = np.random.default_rng(seed)
    layers = []
    for into, out in zip(sizes[:-1], sizes[1:], strict=True):
        weight = random.standard_normal((into, out)) / np.sqrt(into)
        layers.append((weight, 0.1 * random.standard_normal(out) / np.sqrt(into)))
    return [(w.astype(np.float32), b.astype(np.float32)) for w, b in layers]


def cubic_spiral(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts near (2, 0), and where dx/dt = x^3 [[-0.1, 2], [-2, -0.1]] takes them.

    Args:
        batch: number of trajectories.

    Returns:
        Starts `(batch, 2)` and paths `(20, batch, 2)` at `TIMES`, in float32.
    """
    from scipy.integrate import solve_ivp

    random = np.random.default_rng(1)
    starts = [2.0, 0.0] + 0.2 * random.standard_normal((batch, 2))
    turn = np.array([[-0.1, 2.0], [-2.0, -0.1]])

    def field(t, x):
        return (x.reshape(batch, 2) ** 3 @ turn).ravel()

    span = TIMES[0], TIMES[-1]
    path = solve_ivp(field, span, starts.ravel(), t_eval=TIMES, rtol=1e-8, atol=1e-8)
    paths = path.y.T.reshape(len(TIMES), batch, 2)
    return starts.astype(np.float32), paths.astype(np.float32)


SIGMA, RHO, BETA = 10.0, 28.0, 8.0 / 3.0
LORENZ_END = 5.0


def lorenz_starts(count: int) -> np.ndarray:
    """Different points of and around the attractor, `(count, 3)`, in float64."""
    random = np.random.default_rng(2)
    return [0.0, 0.0, 25.0] + [8.0, 8.0, 8.0] * random.standard_normal((count, 3))


def lorenz_columns(x, y, z):
    """The three time derivatives of the Lorenz system; any framework's arrays."""
    return SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z


def lorenz_ends(starts: np.ndarray) -> np.ndarray:
    """Where the starts are at `LORENZ_END`, by SciPy's DOP853 at tolerance 1e-13.

    All in one system, with a tolerance tighter than asked of each alone, since the
    norm is a mean over the samples.
    """
    from scipy.integrate import solve_ivp

    def field(t, flat):
        return np.concatenate(lorenz_columns(*flat.reshape(3, -1)))

    solved = solve_ivp(
        field,
        (0.0, LORENZ_END),
        starts.T.ravel(),
        method="DOP853",
        t_eval=[LORENZ_END],
        rtol=1e-13,
        atol=1e-13,
    )
    return solved.y[:, -1].reshape(3, -1).T


LATENT, CONTEXT, OBSERVED = 4, 16, 3
SDE_STEPS, SDE_STEP = 100, 1 / 128  # times are exact in float32
EVERY = 5  # steps between observations


def latent_sde(
    batch: int, hidden: int
) -> tuple[dict[str, Layers], dict[str, np.ndarray]]:
    """A latent SDE's networks, and what a training step is given.

    Args:
        batch: number of series.
        hidden: width of the networks.

    Returns:
        Layers of `posterior` drift (of state and context), `prior` drift and `decoder`,
        and in `diffusion` one network 1-hidden-1 for each channel, its two layers
        stacked over channels; the states at the start `(batch, 4)`, contexts
        `(batch, 16)` and observations `(batch, 20, 3)`.
    """
    random = np.random.default_rng(3)
    scales = random.standard_normal((2, LATENT, hidden)) / [[[1.0]], [[8.0]]]
    layers = {
        "posterior": mlp_layers((LATENT + CONTEXT, hidden, hidden, LATENT), 4),
        "prior": mlp_layers((LATENT, hidden, hidden, LATENT), 5),
        "decoder": mlp_layers((LATENT, OBSERVED), 6),
        "diffusion": [
            (scales[0].astype(np.float32), np.zeros((LATENT, hidden), np.float32)),
            (scales[1].astype(np.float32), np.zeros(LATENT, np.float32)),
        ],
    }
    times = np.arange(1, SDE_STEPS // EVERY + 1) * (EVERY * SDE_STEP)
    phases = 2 * np.pi * random.random((batch, 1, OBSERVED))
    given = {
        "starts": random.standard_normal((batch, LATENT)),
        "contexts": random.standard_normal((batch, CONTEXT)),
        "observations": np.sin(times[:, None] * [2.0, 3.0, 5.0] + phases),
    }
    return layers, {name: array.astype(np.float32) for name, array in given.items()}
