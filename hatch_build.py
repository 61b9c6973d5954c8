"""Compiles `djx.brain`'s library where a compiler and jaxlib's headers are.

A build that is isolated has no jaxlib of its own, and is given none: 100 MB for three
headers, and maybe not those of the jaxlib that djx will run with. It looks into the
environment that it installs for; who finds nothing leaves the rest to the first use.
"""

import importlib.util
import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeLibrary(BuildHookInterface):
    """Puts the library next to the module that loads it, or says why there is none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before files are collected, of a wheel as of an editable install."""
        folder = Path(self.root, "djx", "brain")
        native = runpy.run_path(str(folder / "_native_build.py"))
        try:
            built = native["build"](folder, _include())
        except Exception as reason:  # an install has to go on, whatever it is
            self.app.display_info(f"djx: no native library yet: {reason}")
            return
        self.app.display_info(f"djx: {built.name}")
        build_data["artifacts"].append(f"/djx/brain/{built.name}")
        build_data.update(pure_python=False, infer_tag=True)


def _include() -> Path:
    """The folder of jaxlib's headers; one that is not there if there is no jaxlib."""
    found = importlib.util.find_spec("jaxlib")
    places = [Path(p) for p in found.submodule_search_locations or ()] if found else []
    places += [Path(sysconfig.get_path(n), "jaxlib") for n in ("platlib", "purelib")]
    there = [place / "include" for place in places if (place / "include").is_dir()]
    return there[0] if there else places[-1] / "include"
