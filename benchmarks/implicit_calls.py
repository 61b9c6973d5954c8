"""What the races of layers share: makes of two frameworks in, one group out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .diffeq_calls import Options, Part, repeated
from .harness import Contestant, Isolated, Numbers, race


BACK = "forward and backward"


def layers_race(
    of_jax: Mapping[str, Callable],
    of_torch: Mapping[str, Callable],
    given: Sequence[np.ndarray],
    gradient: bool,
    read: Callable,
    options: Options,
    title: str,
    notes: str,
    by: int | None = None,
) -> tuple[dict[str, Any], Numbers]:
    """Races layers of the same arguments.

    Args:
        of_jax: layers by contestant.
        of_torch: the same in torch.
        given: the arguments.
        gradient: whether gradients are raced.
        read: the error of gradients, for the table.
        options: how long to race.
        title: what the layers solve.
        notes: what holds for them.
        by: how many of the arguments the gradients are by; all if None, as in torch.

    Returns:
        The group, and what `race` returned.
    """
    from .peers import layer_jax

    makes = {
        name: layer_jax.layer_call(layer, given, gradient, read, by)
        for name, layer in of_jax.items()
    }
    if of_torch:
        from .peers import layer_torch

        makes |= {
            name: layer_torch.layer_call(layer, given, gradient, read)
            for name, layer in of_torch.items()
        }
    contestants: list[Contestant | Isolated] = [
        repeated(name, make, options) for name, make in makes.items()
    ]
    taken = race(contestants, options.turns)
    group = {
        "title": f"{title}, {BACK if gradient else 'forward'}",
        "notes": f"{notes} {options.notes}",
        "per": "call",
        "columns": ["first", "error"] if gradient else ["first"],
        "contestants": taken,
    }
    return group, taken


def both_ways(run: Callable, problems: Sequence[Any]) -> dict[str, Part]:
    """Parts: every problem forward and with gradients.

    Args:
        run: of (problem, gradient, options), to groups and bars.
        problems: which.

    Returns:
        Parts by name.
    """

    def part(problem, gradient):
        return lambda options: run(problem, gradient, options)

    return {
        f"{kind}-{problem}": part(problem, kind == "gradient")
        for problem in problems
        for kind in ("forward", "gradient")
    }
