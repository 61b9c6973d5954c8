"""Runs a config: `python -m experiments.run configs/neural_ode/digits.toml`."""

import argparse
import contextlib
import os
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """The command line.

    Args:
        arguments: as in `sys.argv[1:]`.

    Returns:
        The exit status: 0 done, 1 fault, 2 config error, 3 a claim failed under
        `--check`, 75 stopped and saved.
    """
    args = _parser().parse_intermixed_args(arguments)
    # XLA takes its compiler's preferences for instructions that a processor lacks, and
    # prints errors over every program it reads from the cache (openxla/xla 44565).
    # What goes wrong in earnest comes as an exception. "1" is what JAX itself sets, and
    # leaves to processes that it starts.
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from djx.core.errors import BackendError, ConfigError, ResumeError

    try:
        return _dispatch(args)
    except ConfigError as error:
        return _refuse([str(fault) for fault in error.faults])
    except ResumeError as error:
        return _refuse([f"config error: {args.config}: {error}"])
    except BackendError as error:
        _refuse([f"fault: {error}"])
        return 1


def _dispatch(args: argparse.Namespace) -> int:
    from experiments import _listing

    if args.list:
        return _listing.show_list()
    if args.schema is not None:
        return _listing.write_schemas(args.schema)
    if args.config is None:
        _parser().error("name a config, or --list")
    from djx.run._read import check_file

    check_file(args.config, args.overrides)
    from djx.run import load

    spec = load(args.config, *args.overrides)
    _make_cpu_devices(spec.common.train.shards)
    from djx.run import run
    from djx.run._runner import default_out
    from experiments._listing import claims_table

    out = Path(args.out) if args.out else default_out(spec)
    results = run(spec, out, resume=args.resume, track=tuple(args.track))
    if results.status != "done":
        print(f"{results.status}: saved; go on with --out {out}")
        return 75
    claims_table(results)
    print(f"report: {out / 'report.html'}")
    failed = [claim.name for claim in results.claims if not claim.holds]
    return 3 if args.check and failed else 0


def _make_cpu_devices(count: int) -> None:
    """Virtual CPU devices for the shards, where nothing else was asked for."""
    import jax

    if count > 1 and jax.config.values["jax_num_cpu_devices"] in (-1, 0, None):
        jax.config.update("jax_num_cpu_devices", count)


def _refuse(lines: list[str]) -> int:
    text = "\n".join(lines)
    print(text, file=sys.stderr)
    log = Path("/dev/termination-log")
    with contextlib.suppress(OSError):
        if log.exists():
            log.write_text(text + "\n")
    return 2


def _resume(text: str):
    if text in ("auto", "never"):
        return text
    if text.isdigit():
        return int(text)
    raise argparse.ArgumentTypeError("auto, never or a step")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.run",
        description="Train every arm and seed of a config and measure its claims.",
        epilog="exit status: 0 done, 1 fault, 2 config error, 3 a claim failed under "
        "--check, 75 stopped and saved (run again with the same --out to go on)",
    )
    parser.add_argument("config", nargs="?", help="a TOML file")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value", help="in TOML")
    parser.add_argument("--out", help="run directory (default: runs/CONFIG/TIME)")
    parser.add_argument(
        "--resume", type=_resume, default="auto", metavar="auto|never|STEP"
    )
    parser.add_argument("--check", action="store_true", help="exit 3 if a claim fails")
    parser.add_argument(
        "--track", action="append", default=[], metavar="tensorboard|wandb|mlflow"
    )
    parser.add_argument("--list", action="store_true", help="experiments and configs")
    parser.add_argument(
        "--schema",
        nargs="?",
        const="configs/schema",
        metavar="DIR",
        help="write JSON Schemas for editors",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
