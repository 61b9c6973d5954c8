"""The library in C++: the bits of XLA's loops, and machines that cannot have it."""

import runpy
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.brain import _native, _native_build
from djx.brain._backends import backend
from djx.brain._connectivity import from_edges
from djx.brain._push import push

from .push_cases import into_of, some_edges, spikes_of, weights_of


ROOT = Path(__file__).parents[2]
built = pytest.mark.skipif(not _native.available(), reason=_native.native_note())


@built
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("latest", [None, 3])
def test_all_derivatives_have_the_bits_of_loops_in_xla(x64, dtype, latest):
    """Of products that are rounded before they are added, not fused with the sum."""
    connectivity = some_edges(200, 30, 3000, latest=latest)
    spikes, into = spikes_of(200, 67).astype(dtype), into_of(connectivity).astype(dtype)
    g = jnp.cos(into)
    active = jnp.arange(200) % 3 == 0

    @jax.jit
    def every(spikes, into, g):
        def of(name, weights):
            def one(spikes, weights, into):
                given = connectivity, spikes, weights, active
                return push(*given, into=into, step=11, backend=name)

            out, pull = jax.vjp(one, spikes, weights, into)
            return out, pull(g)

        kinds = [weights_of(k, connectivity).astype(dtype) for k in ("sender", "edge")]
        return [[of(name, w) for w in kinds] for name in ("native", "serial")]

    found, expected = every(spikes, into, g)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        assert a.dtype == dtype
        np.testing.assert_array_equal(a, b)


def test_a_network_has_one_raster():
    """Cells that fire irregularly, where one bit would show after some steps."""
    cells, steps = 400, 600
    rng = np.random.default_rng(0)
    inhibits = np.arange(cells) >= 320
    who = np.repeat(np.arange(cells), 32)
    to = rng.integers(cells, size=who.size) + cells * inhibits[who]
    connectivity = from_edges(who, to, (cells, 2 * cells))
    weights_ns = jnp.asarray(np.where(inhibits, 67.0, 6.0) * rng.uniform(1, 4, cells))
    decay = jnp.asarray(np.repeat(np.exp([-0.1 / 5, -0.1 / 10]), cells), jnp.float32)

    def raster(name):
        def step(state, _):
            v_mv, open_ns, waits = state
            e, i = open_ns[:cells], open_ns[cells:]
            total = 10 + e + i
            to_mv = (-600 - 80 * i + 200) / total
            v_mv = to_mv + (v_mv - to_mv) * jnp.exp(-total * 0.1 / 200)
            v_mv = jnp.where(waits > 0, -60.0, v_mv)
            spiked = v_mv > -50
            spikes = spiked.astype(jnp.float32)
            open_ns = push(
                connectivity, spikes, weights_ns, into=open_ns * decay, backend=name
            )
            return (v_mv, open_ns, jnp.where(spiked, 50, waits - 1)), spiked

        start = jnp.asarray(rng_mv, jnp.float32), jnp.zeros(2 * cells), jnp.zeros(cells)
        return jax.jit(lambda: jax.lax.scan(step, start, length=steps)[1])()

    rng_mv = rng.normal(-55, 3, cells)
    expected = raster("serial")
    assert 4 * cells > np.sum(expected) > cells / 2
    names = ["buffered", "native"] if _native.available() else ["buffered"]
    for name in names:
        np.testing.assert_array_equal(raster(name), expected)


def test_selection_is_a_table():
    sizes = 4000, 8000, 320_000, 120
    assert backend(*sizes, "cpu", native=True) == "native"
    assert backend(*sizes, "cpu") == "serial"
    assert backend(*sizes, "cuda", pallas=True) == "pallas"
    assert backend(*sizes, "cuda", native=True) == "buffered"
    assert backend(100, 100, 5000, 60, "tpu", lanes=64) == "dense"
    assert backend(*sizes, "tpu", lanes=64) == "buffered"


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """No library of this source is there yet."""
    source = tmp_path / "other.cpp"
    source.write_text("// of another version")
    monkeypatch.setattr(_native_build, "SOURCE", source)
    monkeypatch.setenv("DJX_CACHE_DIR", str(tmp_path))
    for name in ("CXX", "DJX_NATIVE"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_compiler_loops_do_it(elsewhere, monkeypatch):
    monkeypatch.setenv("PATH", "")
    there, note = _native._loaded.__wrapped__()
    assert not there and note == "loops in XLA: no C++ compiler"
    monkeypatch.setattr(_native, "_loaded", lambda: (there, note))
    connectivity, spikes = some_edges(40, 30, 150), spikes_of(40, 9)
    found = jax.jit(lambda s: push(connectivity, s))(spikes)
    np.testing.assert_array_equal(found, push(connectivity, spikes, backend="serial"))
    with pytest.raises(ValueError, match="backend='native': loops in XLA: no C"):
        push(connectivity, spikes, backend="native")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("CXX", "no-such-compiler -O1", "no compiler no-such-compiler"),
        ("CXX", "false", "false failed: exit code 1"),
        ("DJX_NATIVE", "0", "DJX_NATIVE is 0"),
        ("DJX_CACHE_DIR", "", "not installed, and DJX_CACHE_DIR is empty"),
    ],
)
def test_a_note_says_why(elsewhere, monkeypatch, name, value, reason):
    monkeypatch.setenv(name, value)
    assert _native._loaded.__wrapped__() == (False, f"loops in XLA: {reason}")


def test_it_is_built_once_for_each_jaxlib(elsewhere, monkeypatch, tmp_path):
    compiler = tmp_path / "compiler.py"
    compiler.write_text(
        "import sys\n"
        "open(sys.argv[sys.argv.index('-o') + 1], 'w').write('built')\n"
        "open(__file__ + '.log', 'a').write('x')\n"
    )
    monkeypatch.setenv("CXX", f"{sys.executable} {compiler}")
    header = tmp_path / "xla/ffi/api/ffi.h"
    with pytest.raises(_native_build.Unbuilt, match="no headers of jaxlib"):
        _native_build.build(tmp_path / "out", tmp_path)
    header.parent.mkdir(parents=True)
    paths = []
    for version in ("1", "1", "2"):
        header.write_text(version)
        paths.append(_native_build.build(tmp_path / "out", tmp_path))
    assert paths[0] == paths[1] != paths[2]
    assert Path(f"{compiler}.log").read_text() == "xx"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        {p.name for p in paths}
    )


def test_an_install_goes_on_without_a_compiler(monkeypatch):
    interface = types.ModuleType("hatchling.builders.hooks.plugin.interface")
    interface.BuildHookInterface = object  # pyright: ignore[reportAttributeAccessIssue]
    names = interface.__name__.split(".")
    for count in range(1, len(names)):
        name = ".".join(names[:count])
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    hook = runpy.run_path(str(ROOT / "hatch_build.py"))["NativeLibrary"]()
    said: list[str] = []
    hook.root, hook.app = str(ROOT), types.SimpleNamespace(display_info=said.append)
    monkeypatch.setattr(Path, "exists", lambda path: path.suffix == ".h")
    monkeypatch.setenv("CXX", "no-such-compiler")
    data: dict = {"artifacts": []}
    hook.initialize("standard", data)
    assert data == {"artifacts": []}
    assert said == ["djx: no native library yet: no compiler no-such-compiler"]
