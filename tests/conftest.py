import os


# Several CPU devices, so that sharding is tested wherever the tests run; set before
# JAX starts. Tests compile afresh: a cache could hide a program that no longer builds.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")
os.environ.setdefault("DJX_CACHE_DIR", "")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session", autouse=True)
def _free_compiled_programs():
    yield
    jax.clear_caches()
