"""Compiles `_native.cpp`. It needs neither JAX nor djx: `pip install` runs it as well.

A library has a name of its own for every source, header and machine: one of another
time is not found, rather than loaded.
"""

import contextlib
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path


SOURCE = Path(__file__).with_name("_native.cpp")
# Neither reordered nor fused: sums are those of XLA's loops, bit for bit.
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=off", "-fPIC", "-shared"]
SECONDS = 300.0  # until a compiler is given up


class Unbuilt(Exception):
    """There is no library, and why."""


def library(include: Path) -> str:
    """The file name of the library.

    Args:
        include: the folder of XLA's headers.

    Returns:
        The name.
    """
    told = hashlib.sha256(" ".join([platform.machine(), *FLAGS]).encode())
    for file in (SOURCE, *sorted((include / "xla/ffi/api").glob("*.h"))):
        told.update(file.read_bytes())
    return f"_native-{told.hexdigest()[:16]}.so"


def compiler() -> list[str]:
    """The command of a C++ compiler: `CXX`'s, or the first of the usual ones.

    Returns:
        The command.

    Raises:
        Unbuilt: where there is none.
    """
    chosen = shlex.split(os.environ.get("CXX", ""))
    for command in [chosen] if chosen else [["c++"], ["g++"], ["clang++"]]:
        if shutil.which(command[0]):
            return command
    raise Unbuilt(f"no compiler {chosen[0]}" if chosen else "no C++ compiler")


def build(folder: Path, include: Path) -> Path:
    """Compiles the library, unless it is there already.

    Args:
        folder: where it is to be.
        include: the folder of XLA's headers.

    Returns:
        Its path.

    Raises:
        Unbuilt: where it cannot be.
    """
    if platform.system() == "Windows":
        raise Unbuilt("on Windows it is not compiled")
    if not (include / "xla/ffi/api/ffi.h").exists():
        raise Unbuilt("no headers of jaxlib")
    built = folder / library(include)
    if built.exists():
        return built
    command = compiler()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder), tempfile.TemporaryDirectory(dir=folder) as scratch:
            if not built.exists():
                # Moved when it is whole: others may be looking.
                made = Path(scratch) / built.name
                files = ["-isystem", str(include), str(SOURCE), "-o", str(made)]
                _run([*command, *FLAGS, *files])
                os.replace(made, built)
    except OSError as fault:
        raise Unbuilt(f"{folder}: {fault.strerror or fault}") from fault
    return built


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise Unbuilt(f"{command[0]} took more than {SECONDS:g} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        faults = [line for line in said if "error" in line]
        raise Unbuilt(f"{command[0]} failed: {(faults or said)[0]}")


@contextlib.contextmanager
def _alone(folder: Path):
    """One process at a time, where the system has such locks for folders."""
    opened = None
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        opened = os.open(folder, os.O_RDONLY)
        fcntl.flock(opened, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if opened is not None:
            os.close(opened)
