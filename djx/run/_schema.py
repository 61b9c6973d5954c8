"""What a config may say. Pydantic only: importing this does not load JAX."""

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
    ValidationInfo,
)

from ._claims import parse_measure


class Section(BaseModel):
    """A table of a config: unknown fields are faults, values never change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Traced:
    """Marks a field whose value may be a traced array inside the compiled program.

    Arms that differ in such fields alone are lanes of one program. Code that reads the
    field must treat it as an array: no Python `if` on it.
    """


Count = Annotated[int, Field(gt=0, lt=2**31)]  # what the loop counts in 32 bits
TracedFloat = Annotated[float, Traced()]
Positive = Annotated[float, Field(gt=0)]
TracedPositive = Annotated[float, Field(gt=0), Traced()]
TracedNotNegative = Annotated[float, Field(ge=0), Traced()]
TracedUnit = Annotated[float, Field(ge=0, lt=1), Traced()]


class Cosine(Section):
    """Linear warm-up, then a cosine down to a fraction of the peak."""

    kind: Literal["cosine"]
    warmup_steps: Annotated[int, Field(ge=0, lt=2**31)] = 0
    final_fraction: TracedUnit = 0.0


class Exponential(Section):
    """Exponential interpolation from the peak to a fraction of it at the end."""

    kind: Literal["exponential"]
    final_fraction: TracedPositive = 0.1


class Linear(Section):
    """Straight line from the peak to a fraction of it at the end."""

    kind: Literal["linear"]
    final_fraction: TracedUnit = 0.0


Schedule = Annotated[Cosine | Exponential | Linear, Field(discriminator="kind")]

OPTIMISERS = (
    "adabelief",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "lamb",
    "lion",
    "nadam",
    "radam",
    "rmsprop",
    "sgd",
)


class Optimiser(Section):
    """An optax optimiser and what is chained to it."""

    name: Literal[OPTIMISERS] = "adam"  # pyright: ignore[reportInvalidTypeForm]
    """The optax function of that name."""
    learning_rate: TracedPositive = 1e-3
    """Peak learning rate."""
    schedule: Schedule | None = None
    """How the learning rate moves over `train.steps`; constant if absent."""
    clip_norm: TracedPositive | None = None
    """Largest global norm of the gradient."""
    weight_decay: TracedNotNegative | None = None
    """Decoupled weight decay, times the learning rate."""
    accumulate: Count = 1
    """Steps whose gradients are averaged into one update."""
    options: dict[str, float | bool] = {}
    """Further keyword arguments of the optax function."""


class Checkpoints(Section):
    """When to save. Results do not depend on it."""

    every_seconds: Positive | None = 60.0
    """Wall time between saves."""
    every_steps: Count | None = None
    """Steps between saves, instead of wall time."""
    keep: Count = 3
    """How many saves are kept."""


class EarlyStop(Section):
    """Ends a lane (one arm, one seed) whose evaluated metric has stopped improving."""

    metric: str
    """A metric of `evaluate`."""
    mode: Literal["min", "max"] = "min"
    """Which way is better."""
    patience: Count = 5
    """Evaluations without an improvement before the lane stops."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """The least change that counts as an improvement."""


class Train(Section):
    """The loop."""

    steps: Count
    """Optimisation steps."""
    batch: Count = 128
    """Examples per step."""
    optimiser: Optimiser = Optimiser()
    ema: TracedUnit | None = None
    """Decay of the averaged parameters that evaluation uses; none if absent."""
    log_every: Count = 100
    """Steps per block of metrics; every step's metrics are kept."""
    chunk: Count | None = None
    """Steps per call of the compiled program; chosen by the loop if absent."""
    eval_every: Count | None = None
    """Steps between evaluations; only the last step's if absent."""
    checkpoint: Checkpoints = Checkpoints()
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    """float32; bfloat16 arithmetic on float32 parameters; or float64."""
    early_stop: EarlyStop | None = None
    max_seconds: Positive | None = None
    """Wall time after which the run saves and exits with status 75."""
    shards: Count = 1
    """Devices that share the lanes; on a CPU the command line makes as many."""

    # Checks of one field against earlier ones, so that another fault hides neither.

    @field_validator("chunk")
    @classmethod
    def _whole_blocks(cls, chunk: int | None, info: ValidationInfo) -> int | None:
        log_every = info.data.get("log_every")
        if chunk and log_every and chunk % log_every and log_every % chunk:
            raise ValueError(
                f"chunk = {chunk} and log_every = {log_every}: one must be a multiple "
                "of the other"
            )
        return chunk

    @field_validator("checkpoint")
    @classmethod
    def _whole_chunks(cls, checkpoint: Checkpoints, info: ValidationInfo):
        save, log_every = checkpoint.every_steps, info.data.get("log_every")
        if save and log_every and "chunk" in info.data:
            chunk = info.data["chunk"] or log_every
            if save % log_every or save % chunk:
                raise ValueError(
                    f"every_steps = {save} must be a multiple of log_every = "
                    f"{log_every} and of chunk = {chunk}"
                )
        return checkpoint


BOUNDS = ("at_most", "at_least", "within")
ONE_BOUND = "give exactly one of at_most, at_least and within"


class Claim(Section):
    """What the source says, as arithmetic over measured metrics."""

    measure: str
    """Such as `"local.nfe / vanilla.nfe"`: arm.metric, + - * / **, mean min max std."""
    at_most: float | None = None
    at_least: float | None = None
    within: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    """Lower and upper bound."""
    paper: str = ""
    """The source's own figure, and where it stands."""

    @field_validator("measure")
    @classmethod
    def _parses(cls, measure: str) -> str:
        parse_measure(measure)
        return measure

    @field_validator("within")
    @classmethod
    def _ordered(cls, within: list[float] | None) -> list[float] | None:
        if within is not None and within[0] > within[1]:
            raise ValueError("within = [low, high] has low above high")
        return within

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if sum(getattr(self, bound) is not None for bound in BOUNDS) != 1:
            raise ValueError(ONE_BOUND)
        return self


class Config(Section):
    """What every experiment's config has; experiments add their own tables."""

    experiment: str
    """The module `experiments/<experiment>.py`."""
    description: str = ""
    """One line for `--list`."""
    tier: Literal["smoke", "full"] | None = None
    """Which tier of `python -m experiments.claims` runs it."""
    budget_seconds: Positive | None = None
    """Wall time expected on two CPU cores, compilation included."""
    seeds: Count | Annotated[list[int], Field(min_length=1)] = 1
    """How many seeds, or which."""
    seed_mode: Literal["vmap", "map"] = "vmap"
    """vmap batches the lanes; map runs them in turn, bit for bit as alone."""
    train: Train

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: int | list[int]) -> int | list[int]:
        if isinstance(seeds, list) and (
            len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**32
        ):
            raise ValueError("must be distinct, not negative and below 2**32")
        return seeds

    def seed_list(self) -> list[int]:
        """The seeds, written out."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


def traced_values(section: Section, prefix: str = "") -> dict[str, Any]:
    """Collects the fields marked `Traced`, by dotted path.

    Args:
        section: a validated config or a table of one.
        prefix: the path so far.

    Returns:
        Values by path; absent (None) values are left out.
    """
    found = {}
    for name, field in type(section).model_fields.items():
        value, path = getattr(section, name), f"{prefix}{name}"
        if isinstance(value, Section):
            found |= traced_values(value, path + ".")
        elif value is not None and _is_traced(field):
            found[path] = value
    return found


def _is_traced(field) -> bool:
    marks = list(field.metadata)
    for option in getattr(field.annotation, "__args__", ()):
        marks += getattr(option, "__metadata__", ())
    return any(isinstance(mark, Traced) for mark in marks)


S = TypeVar("S", bound=Section)


def with_values(section: S, values: dict[str, Any], prefix: str = "") -> S:
    """Replaces fields by dotted path, without validation: values may be tracers.

    Args:
        section: a validated config or a table of one.
        values: new values by path.
        prefix: the path so far.

    Returns:
        A changed copy.
    """
    update = {}
    for name in type(section).model_fields:
        value, path = getattr(section, name), f"{prefix}{name}"
        if path in values:
            update[name] = values[path]
        elif isinstance(value, Section):
            update[name] = with_values(value, values, path + ".")
    return section.model_copy(update=update)
