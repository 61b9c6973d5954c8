import gc
import os
import tempfile


_CACHE = tempfile.TemporaryDirectory(prefix="djx-test-cache-")
# Several CPU devices, so that sharding is tested wherever the tests run; set before
# JAX starts. The compilation cache is this session's own: what was compiled before
# must not hide a program that no longer builds.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")
os.environ["DJX_CACHE_DIR"] = _CACHE.name
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
import pytest  # noqa: E402


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
