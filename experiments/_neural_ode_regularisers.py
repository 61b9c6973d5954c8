"""What can regularise the neural ODE experiment, as sections of its config."""

from typing import Annotated, Literal

from pydantic import Field

from djx.run import Section, Traced


Weight = Annotated[
    list[Annotated[float, Field(ge=0)]],
    Field(min_length=2, max_length=2),
    Traced(),
]


class Vanilla(Section):
    """No regulariser."""

    kind: Literal["none"]


class Local(Section):
    """The error of one step at a random time (Pal et al. 2023)."""

    kind: Literal["local"]
    sampling: Literal["unbiased", "biased"] = "unbiased"
    """unbiased: uniform in time; biased: uniform over the accepted steps."""
    weight: Weight
    """At the first and the last step; exponential in between."""


class Global(Section):
    """The error or stiffness estimate summed over all steps (Pal et al. 2021)."""

    kind: Literal["error", "stiffness"]
    weight: Weight
    """At the first and the last step; exponential in between."""


class Steer(Section):
    """A random end time in training (Ghosh et al. 2020)."""

    kind: Literal["steer"]
    half_width: Annotated[float, Field(gt=0, lt=1), Traced()] = 0.5
    """Of the interval that the end time is drawn from, around 1."""


class Kinetic(Section):
    """The integral of the squared speed (Finlay et al. 2020).

    A mean over images and pixels; their code halves it.
    """

    kind: Literal["kinetic"]
    weight: Weight
    """At the first and the last step; exponential in between."""


class Taylor(Section):
    """The integral of a squared time derivative of the solution (Kelly et al. 2020).

    A mean over images and pixels, as in their code.
    """

    kind: Literal["taylor"]
    order: Annotated[int, Field(ge=1, le=6)] = 3
    """Of the derivative."""
    weight: Weight
    """At the first and the last step; exponential in between."""


Regulariser = Annotated[
    Vanilla | Local | Global | Steer | Kinetic | Taylor, Field(discriminator="kind")
]
