import gc
import inspect
import os
import re
import tempfile
from pathlib import Path


_CACHE = tempfile.TemporaryDirectory(prefix="djx-test-cache-")
# Several CPU devices, so that sharding is tested wherever the tests run; set before
# JAX starts. The compilation cache is this session's own: what was compiled before
# must not hide a program that no longer builds.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")
os.environ["DJX_CACHE_DIR"] = _CACHE.name
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
import pytest  # noqa: E402
from jax._src import compiler  # noqa: E402


# What these folders test is mathematics, within tolerances: programs are compiled with
# few optimisations, in a third of the time. Tests of what users get (bits, memory, the
# text of a program) or that say how to compile are compiled as users compile, and so
# are all other folders: DJX_TEST_QUICK= (empty) compiles everything so.
_QUICK = os.environ.get(
    "DJX_TEST_QUICK", "brain diffeq dsp implicit nn test_batched_seeds.py"
).split()
_EXACT = re.compile(
    r"array_equal|trees_all_equal|tobytes|\bbits\b|memory_analysis|as_text"
    r"|compiler_options|as_shipped"
)
_FEW_OPTIMISATIONS = [
    ("xla_backend_optimization_level", 0),
    ("xla_cpu_use_fusion_emitters", False),
    ("xla_cpu_parallel_codegen_split_count", 1),
]


class _Compiler:
    """JAX's compile options, and whether they ask for few optimisations."""

    def __init__(self):
        self.quick = False
        self._options = compiler.get_compile_options
        compiler.get_compile_options = self

    def __call__(self, *args, **kwargs):
        options = self._options(*args, **kwargs)
        if self.quick and jax.default_backend() == "cpu":  # whose options they are
            options.env_option_overrides += _FEW_OPTIMISATIONS
        return options

    def becomes(self, quick):
        if quick != self.quick:
            jax.clear_caches()  # what is compiled otherwise
            self.quick = quick


_compiler = _Compiler()


def pytest_collection_modifyitems(items):
    # The longest file first: one that begins when the others end is waited for.
    items.sort(key=lambda item: item.path.stem != "test_experiments")


@pytest.hookimpl(tryfirst=True)  # before fixtures of modules
def pytest_runtest_setup(item):
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    _compiler.becomes(folder in _QUICK and not _EXACT.search(_source(item)))


def _source(item):
    """Of the test, and of what it may share with those of its module."""
    whole = inspect.getsource(item.module)
    return whole if 'scope="module"' in whole else inspect.getsource(item.function)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module", autouse=True)
def _free_compiled_programs():
    """Compiled programs go with their module.

    Each holds memory maps, of which Linux allows a process 65530: some ten thousand
    programs later XLA crashes.
    """
    yield
    jax.clear_caches()
    gc.collect()
