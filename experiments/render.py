"""A trained instrument plays: `python -m experiments.render RUN tune.mid out.wav`."""

import argparse
import functools as ft
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments._control_files import QUIET_DB, read_score


BLOCK = 50  # frames rendered at once
TAIL_SECONDS = 1.0  # for the room to fade


def main(arguments: list[str] | None = None) -> int:
    """The command line.

    Args:
        arguments: as in `sys.argv[1:]`.

    Returns:
        The exit status: 0 done, 2 where the run or the file cannot be used.
    """
    args = _parser().parse_args(arguments)
    from djx.core.errors import ConfigError, ResumeError

    try:
        seconds, spent = render(
            args.run,
            args.controls,
            args.wav,
            arm=args.arm,
            seed=args.seed,
            loudest_db=args.loudest,
            quietest_db=args.quietest,
            transpose=args.transpose,
            timbre=args.timbre,
        )
    except ConfigError as error:
        print("\n".join(map(str, error.faults)), file=sys.stderr)
        return 2
    except ResumeError as error:
        print(f"config error: {error}", file=sys.stderr)
        return 2
    print(f"{args.wav}: {seconds:.1f} s of sound in {spent:.1f} s")
    return 0


def render(
    run: str | Path,
    controls: str | Path,
    wav: str | Path,
    *,
    arm: str | None = None,
    seed: int | None = None,
    loudest_db: float = -18.0,
    quietest_db: float = -40.0,
    transpose: float = 0.0,
    timbre: str | Path | None = None,
) -> tuple[float, float]:
    """Plays a control file or a MIDI file on an instrument, and writes a WAV file.

    It is rendered as a stream, block by block.

    Args:
        run: directory of a run of `ddsp_autoencoder`.
        controls: a .csv or .mid file, as `read_score` takes them.
        wav: the file to be written, 16 bits a sample.
        arm: which instrument; the first one that was trained if None.
        seed: which seed of it; the first if None.
        loudest_db: loudness of a MIDI file's hardest note.
        quietest_db: the least loudness that the instrument is asked for; what is below
            is made softer afterwards.
        transpose: semitones upwards.
        timbre: a recording whose mean timbre is played, where the arm has an encoder.

    Returns:
        Seconds of sound, and seconds that it took without compilation.

    Raises:
        ConfigError: where a file cannot be read, or the arm or seed is not there.
        ResumeError: where the directory holds no run.
    """
    import scipy.io.wavfile

    from djx.dsp import Room

    model, config = _instrument(run, arm, seed)
    rate, hop = config.data.sample_rate, config.data.hop
    score = read_score(controls, hop / rate, loudest_db)
    inputs = {
        "f0_hz": score.f0_hz * np.float32(2 ** (transpose / 12)),
        "loudness_db": score.loudness_db,
    }
    if model.encoder is not None:
        z = _timbre(model, timbre, rate)
        inputs["z"] = np.tile(z, (len(score.f0_hz), 1))
    silent = round(TAIL_SECONDS * rate / hop)
    inputs = {name: _held(a, silent) for name, a in inputs.items()}
    wanted = inputs["loudness_db"]
    wanted[-silent:] = QUIET_DB
    # What is softer than all that was learned from is turned down afterwards: no
    # network was told what silence is. A room would be cut off with it.
    if not any(isinstance(node.processor, Room) for node in model.voice.nodes):
        inputs["loudness_db"] = np.maximum(wanted, quietest_db)
    sound, spent = streamed(model.voice, inputs, hop)
    gain_db = (wanted - inputs["loudness_db"]).astype(np.float64)
    place = np.arange(len(sound)) / hop
    sound = sound * 10 ** (np.interp(place, np.arange(len(gain_db)), gain_db) / 20)
    # Only what would be cut off is made softer.
    sound = sound / max(1.0, float(np.max(np.abs(sound), initial=0)))
    scipy.io.wavfile.write(wav, rate, np.int16(np.round(32767 * sound)))
    return len(sound) / rate, spent


def streamed(
    voice: Any, inputs: dict[str, np.ndarray], hop: int, block: int = BLOCK
) -> tuple[np.ndarray, float]:
    """A graph's whole sound, made as a stream.

    Args:
        voice: the graph.
        inputs: by name, frames.
        hop: samples in a frame.
        block: frames rendered at once.

    Returns:
        Samples, without the stream's delay, and the seconds after the first block.
    """
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from rich.progress import track

    frames = len(inputs["f0_hz"])
    late = -(-voice.delay // hop)
    fill = -(frames + late) % block + late
    given = {name: jnp.asarray(_held(a, fill)) for name, a in inputs.items()}
    state = voice.init(given, key=jax.random.key(0))
    advance = eqx.filter_jit(lambda voice, state, given: voice.step(state, given))
    parts, began = [], 0.0
    starts = range(0, frames + fill, block)
    for first in track(starts, "rendering", transient=True):
        state, out = advance(
            voice, state, {n: a[first : first + block] for n, a in given.items()}
        )
        parts.append(np.asarray(out))
        began = began or time.perf_counter()
    spent = time.perf_counter() - began
    return np.concatenate(parts)[voice.delay :][: frames * hop], spent


def _held(array: np.ndarray, rows: int) -> np.ndarray:
    """Rows, and the last of them again and again."""
    return np.concatenate([array, np.repeat(array[-1:], rows, 0)])


def _instrument(run: str | Path, arm: str | None, seed: int | None) -> tuple[Any, Any]:
    """A trained arm's model and config."""
    from djx.core.errors import ConfigError, did_you_mean, Fault
    from djx.run import reopen, trained_model
    from experiments.ddsp_autoencoder import Config, initial_model

    def fault(message: str) -> ConfigError:
        return ConfigError([Fault(str(run), "", message)])

    results = reopen(run)
    arms = {
        name: arm
        for name, arm in results.arms.items()
        if isinstance(arm.config, Config) and arm.config.model.synthesiser != "nearest"
    }
    if not arms:
        raise fault("is no run of ddsp_autoencoder with an arm that was trained")
    arm = next(iter(arms)) if arm is None else arm
    if arm not in arms:
        raise fault(f"has no instrument {arm!r}{did_you_mean(arm, arms)}")
    found = arms[arm]
    assert isinstance(found.config, Config)
    seeds = list(found.digests)
    seed = seeds[0] if seed is None else seed
    if seed not in seeds:
        raise fault(f"{arm} has the seeds {', '.join(map(str, seeds))}, not {seed}")
    init = ft.partial(initial_model, found.config)
    return trained_model(init, found.lane(seeds.index(seed))), found.config


def _timbre(model: Any, path: str | Path | None, rate: int) -> np.ndarray:
    """The mean timbre of a recording."""
    import jax.numpy as jnp

    from djx.core.errors import ConfigError, Fault
    from experiments._recordings_sounds import levelled, read_file

    if path is None:
        message = "reads its timbre from sound: name a recording by --timbre"
        raise ConfigError([Fault("the instrument", "", message)])
    audio = levelled(read_file(Path(path), rate))
    return np.asarray(jnp.mean(model.encoder(jnp.asarray(audio)), 0))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.render",
        description="Render a control file or a MIDI file on a trained instrument.",
    )
    parser.add_argument("run", help="directory of a run of ddsp_autoencoder")
    parser.add_argument(
        "controls", help=".csv with time, f0_hz, loudness_db; or .mid, for one voice"
    )
    parser.add_argument("wav", help="the file to write")
    parser.add_argument("--arm", help="which instrument (default: the first trained)")
    parser.add_argument("--seed", type=int, help="which seed (default: the first)")
    parser.add_argument(
        "--loudest",
        type=float,
        default=-18.0,
        metavar="DB",
        help="loudness of a MIDI file's hardest note (default: %(default)s)",
    )
    parser.add_argument(
        "--quietest",
        type=float,
        default=-40.0,
        metavar="DB",
        help="least loudness that the instrument learned (default: %(default)s)",
    )
    parser.add_argument(
        "--transpose", type=float, default=0.0, metavar="SEMITONES", help="upwards"
    )
    parser.add_argument(
        "--timbre", metavar="WAV", help="whose timbre, for arms that read it"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
