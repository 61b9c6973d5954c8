"""Stochastic differential equations: `python -m benchmarks.diffeq_sde [--quick]`.

A latent SDE's training step, a saved path of almost nothing but noise, and memory and
time of the gradient through reversible Heun.
"""

from .diffeq_calls import agreement, command_line, Options, Part, ratio, repeated
from .harness import Contestant, Isolated, race, say
from .record import bar


LIMIT, DJX, DIFFRAX = "limit: scan over bulk normals", "djx", "diffrax"
TORCHSDE, ADJOINT = "torchsde", "torchsde, adjoint"
REVERSIBLE, CHECKPOINTED = "djx, reversible", "djx, default adjoint"
BATCH = 64

LATENT_NOTES = (
    "Batch 64, 100 steps of Euler-Maruyama, latent 4, context 16, 20 observations of 3 "
    "channels, float32. Networks with softplus, w = {hidden}: posterior 20-w-w-4, "
    "prior 4-w-w-4, diffusion 1-w-1 for each channel; the divergence is a channel of "
    "the state. djx: vmap, BulkBrownianPath. diffrax: vmap, VirtualBrownianTree with "
    "half a step of tolerance, ConstantStepSize. torchsde: sdeint and sdeint_adjoint, "
    "euler, logqp=True, BrownianInterval. Loss: mean over 8 draws of the noise, which "
    "is each contestant's own; gradient: its norm for one draw. The limit bounds what "
    "can be gained: the wider the networks, the less."
)
PATH_NOTES = (
    "dX = -X dt + dW / 2, 1000 steps of Euler-Maruyama, one path, every step kept, "
    "float32. djx: BulkBrownianPath. diffrax: VirtualBrownianTree with half a step of "
    "tolerance. Variation: the path's quadratic variation over what is expected of it."
)
HEUN_NOTES = (
    "Reversible Heun with constant steps of 1/1024, batch 16 by vmap, networks 4-32-4 "
    "for drift and diagonal diffusion, loss of the end alone, float32; timed at "
    "{timed} steps. KiB: XLA's temporary memory of the compiled value and gradient. "
    "diffrax: VirtualBrownianTree and its default adjoint. djx: BulkBrownianPath, the "
    "same path with either adjoint. max_steps is the number of steps."
)


def latent_race(hidden: int, options: Options):
    """The latent SDE's training step at one width; its group and bars."""
    import diffrax

    from djx import diffeq

    from .peers import jax_latent as jl, jax_paths, torch_sde

    djx = jl.solved_loss(diffeq.diffeqsolve, jax_paths.bulk)
    peer = jl.solved_loss(diffrax.diffeqsolve, jax_paths.tree)
    makes = {
        LIMIT: jl.latent(jl.scanned_loss, BATCH, hidden),
        DJX: jl.latent(djx, BATCH, hidden),
        DIFFRAX: jl.latent(peer, BATCH, hidden),
        TORCHSDE: torch_sde.latent(BATCH, hidden, False),
    }
    if not options.quick:
        makes[ADJOINT] = torch_sde.latent(BATCH, hidden, True)
    contestants: list[Contestant | Isolated] = [
        repeated(name, make, options) for name, make in makes.items()
    ]
    taken = race(contestants, options.turns)
    group = {
        "title": f"Training step of a latent SDE, width {hidden}",
        "notes": f"{LATENT_NOTES.format(hidden=hidden)} {options.notes}",
        "per": "call",
        "columns": ["first", "loss", "gradient"],
        "contestants": taken,
    }
    what = f"latent SDE, width {hidden}"
    bars = [
        ratio(taken, DIFFRAX, DJX, what, at_least=3.0),
        ratio(taken, TORCHSDE, DJX, what, at_least=6.0),
        ratio(taken, DJX, LIMIT, what, at_most=1.5),
        agreement(taken, ("loss",), f"{what}, other noise", at_most=0.1),
    ]
    return [group], bars


def path_race(size: int, options: Options):
    """A saved path of so many dimensions; its group and bars."""
    import diffrax

    from djx import diffeq

    from .peers import jax_paths as jp

    makes = {
        LIMIT: jp.saved_path_limit(size),
        DJX: jp.saved_path(diffeq.diffeqsolve, jp.bulk, size),
        DIFFRAX: jp.saved_path(diffrax.diffeqsolve, jp.tree, size),
    }
    contestants: list[Contestant | Isolated] = [
        repeated(name, make, options) for name, make in makes.items()
    ]
    taken = race(contestants, options.turns)
    group = {
        "title": f"Saved path, d = {size}",
        "notes": f"{PATH_NOTES} {options.notes}",
        "per": "call",
        "columns": ["first", "steps", "variation"],
        "contestants": taken,
    }
    what = f"saved path, d = {size}"
    bars = [
        ratio(taken, DIFFRAX, DJX, what, at_least=50.0),
        ratio(taken, DJX, LIMIT, what, at_most=1.5),
        # four standard deviations of the difference of two paths
        agreement(
            taken, ("variation",), what, at_most=round(8 / (1000 * size) ** 0.5, 3)
        ),
    ]
    return [group], bars


def heun_race(options: Options):
    """Reversible Heun's gradient; its group and bars."""
    import diffrax

    from djx import diffeq

    from .peers import jax_paths as jp

    lengths = (100,) if options.quick else (100, 1000, 10_000)
    timed = 100 if options.quick else 1000
    default = diffrax.RecursiveCheckpointAdjoint()
    makes = {
        DIFFRAX: jp.reversible(diffrax.diffeqsolve, jp.tree, default, lengths, timed)
    }
    reversible = getattr(diffeq, "ReversibleAdjoint", None)
    if reversible is None:
        say("djx.diffeq has no ReversibleAdjoint: diffrax runs alone")
    else:
        ours = diffeq.diffeqsolve, jp.bulk
        makes[REVERSIBLE] = jp.reversible(*ours, reversible(), lengths, timed)
        makes[CHECKPOINTED] = jp.reversible(*ours, default, lengths, timed)
    contestants: list[Contestant | Isolated] = [
        repeated(name, make, options) for name, make in makes.items()
    ]
    taken = race(contestants, options.turns)
    memory = [f"KiB, {steps} steps" for steps in lengths]
    group = {
        "title": "Gradient through reversible Heun",
        "notes": f"{HEUN_NOTES.format(timed=timed)} {options.notes}",
        "per": "call",
        "columns": ["loss", "gradient", *memory],
        "contestants": taken,
    }
    if reversible is None:
        return [group], []
    what = "reversible Heun"
    same = {name: taken[name] for name in (REVERSIBLE, CHECKPOINTED)}
    bars = [
        ratio(taken, DIFFRAX, REVERSIBLE, what, at_least=1.0),
        agreement(same, ("loss", "gradient"), f"{what}, both adjoints", at_most=1e-3),
    ]
    if not options.quick:
        held = {name: one["turns"][0] for name, one in taken.items()}
        least, most = (held[REVERSIBLE][memory[i]] for i in (0, -1))
        theirs = held[DIFFRAX][memory[-1]]
        growth = f"{what}, memory of djx: {lengths[-1]} / {lengths[0]} steps"
        beside = f"{what}, memory at {lengths[-1]} steps: diffrax / djx"
        bars += [
            bar(growth, most / least, at_most=1.5),
            bar(beside, theirs / most, at_least=1.0),
        ]
    return [group], bars


def parts() -> dict[str, Part]:
    """The training step at two widths, the two paths, reversible Heun."""
    return {
        "latent": lambda options: latent_race(64, options),
        "latent-32": lambda options: latent_race(32, options),
        "path-1": lambda options: path_race(1, options),
        "path-64": lambda options: path_race(64, options),
        "heun": heun_race,
    }


if __name__ == "__main__":
    quick = ["latent", "path-1", "heun"]
    command_line("diffeq_sde", "Stochastic differential equations", parts, quick)
