"""Differentiable systems on JAX: pure functions, one way to run them.

Sub-packages load when they are first touched, so `import djx` stays cheap.
"""

import importlib as _importlib


__version__ = "0.1.0"

_SUBPACKAGES = ("core", "diffeq", "dsp", "implicit", "nn", "run")


def __getattr__(name: str):
    if name in _SUBPACKAGES:
        return _importlib.import_module(f"djx.{name}")
    raise AttributeError(f"module 'djx' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_SUBPACKAGES])
