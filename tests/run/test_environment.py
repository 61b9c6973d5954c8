"""Where compiled programs are kept."""

from pathlib import Path

import jax
import pytest

from djx.run._environment import enable_compilation_cache


@pytest.fixture
def chosen(monkeypatch):
    """The folder that is chosen, instead of being set."""

    class Settings:
        def __init__(self):
            self.values = {"jax_compilation_cache_dir": None}
            self.update = self.values.__setitem__

    def folder():
        settings = Settings()
        with monkeypatch.context() as patch:
            patch.setattr(jax, "config", settings)
            enable_compilation_cache()
        return settings.values["jax_compilation_cache_dir"]

    return folder


def test_each_kind_of_processor_has_its_own_folder(chosen, monkeypatch, tmp_path):
    monkeypatch.setenv("DJX_CACHE_DIR", str(tmp_path))
    told = {"flags": "flags : sse avx"}
    monkeypatch.setattr(Path, "read_text", lambda self: told["flags"])
    small = chosen()
    assert Path(small).parent == tmp_path and chosen() == small
    told["flags"] = "flags : sse avx avx512f"
    assert chosen() != small
    # The clock's speed is no kind.
    told["flags"] = "cpu MHz : 2000\nflags : sse avx"
    assert chosen() == small

    def unreadable(self):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", unreadable)
    assert Path(chosen()).parent == tmp_path


def test_an_empty_name_switches_it_off(chosen, monkeypatch):
    monkeypatch.setenv("DJX_CACHE_DIR", "")
    assert chosen() is None
