"""What a run ran on, and the compilation cache."""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import platformdirs


_PACKAGES = (
    "djx",
    "jax",
    "jaxlib",
    "equinox",
    "diffrax",
    "optax",
    "flax",
    "chex",
    "jaxopt",
    "lineax",
    "optimistix",
    "orbax-checkpoint",
    "numpy",
    "scipy",
)


def describe_environment() -> dict[str, Any]:
    """Versions, devices and git state, for `environment.json`.

    Returns:
        A mapping that JSON can hold.
    """
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "devices": [str(device) for device in devices],
        "device_kind": devices[0].device_kind,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git": _git_state(),
    }


def enable_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache directory, for the next process.

    `DJX_CACHE_DIR` moves it (empty: off); JAX's own setting wins where it is set.
    Each kind of processor has a folder of its own: JAX looks programs up without
    asking what they were compiled for, and home directories are shared.
    """
    if jax.config.values["jax_compilation_cache_dir"]:
        return
    chosen = os.environ.get("DJX_CACHE_DIR", platformdirs.user_cache_dir("djx"))
    if chosen:
        folder = os.path.join(chosen, f"xla-{_processor()}")
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _processor() -> str:
    """What tells processors with other instructions apart, in eight digits."""
    told = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        named = ("model name", "flags", "Features")
        told += sorted({line for line in lines if line.startswith(named)})
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:8]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    root = Path(__file__).parent

    def git(*args: str) -> str:
        command = ["git", "-C", str(root), *args]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "changed_files": len(git("status", "--porcelain").splitlines()),
        }
    except (OSError, subprocess.CalledProcessError):
        return None
