"""What a config says about sounds to learn from."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, ValidationInfo

from djx.run import Section


Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]


class BankSource(Section):
    """Recorded notes of instruments, each at the key that it was played at."""

    kind: Literal["bank"]
    file: str | None = None
    """An SF2 file; if absent, that of fluid-soundfont-gm or of pretty_midi."""
    instruments: Annotated[list[str], Field(min_length=1)] = ["Tenor Sax"]
    """Names of the bank's presets, in whatever case."""


class FolderSource(Section):
    """WAV and FLAC files of one instrument, cut into windows."""

    kind: Literal["folder"]
    path: str
    """The folder; those below it count."""
    hop_seconds: Positive | None = None
    """From one window's start to the next's; a window's length if absent."""


class MadeSource(Section):
    """Notes of which everything is known."""

    kind: Literal["made"]
    instruments: Annotated[
        list[Literal["bowed", "plucked", "reed"]], Field(min_length=1)
    ] = ["bowed"]
    lowest_key: Annotated[int, Field(ge=24, le=96)] = 48
    """MIDI."""
    keys: Annotated[int, Field(gt=0, le=64)] = 14
    key_step: Count = 2
    """Semitones from key to key."""
    takes: Count = 2
    """Notes of every key, with swells and noise of their own."""
    reverb_seconds: Positive | None = None
    """Time in which the room's response falls by 60 dB; no room if absent."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class Recordings(Section):
    """Where sounds come from, and how they are cut and measured."""

    source: Annotated[
        BankSource | FolderSource | MadeSource, Field(discriminator="kind")
    ] = BankSource(kind="bank")
    sample_rate: Annotated[int, Field(ge=4000)] = 16000
    """In Hz."""
    hop: Count = 64
    """Samples in a frame."""
    least_hz: Positive = 50.0
    """Lowest pitch that is looked for."""
    greatest_hz: Positive = 2500.0
    """Highest pitch that is looked for."""
    seconds: Positive = 4.0
    """Of every sound; whole frames."""

    @field_validator("greatest_hz")
    @classmethod
    def _above(cls, greatest_hz: float, info: ValidationInfo) -> float:
        if greatest_hz < 2 * info.data.get("least_hz", 0):
            raise ValueError("must be an octave above least_hz, or more")
        return greatest_hz

    @field_validator("seconds")
    @classmethod
    def _whole_frames(cls, seconds: float, info: ValidationInfo) -> float:
        rate, hop = info.data.get("sample_rate"), info.data.get("hop")
        if rate and hop and (round(seconds * rate) % hop or seconds * rate < hop):
            raise ValueError(
                f"{seconds * rate:g} samples are no whole frames of hop = {hop}"
            )
        return seconds
