"""Checkpoints: orbax writes them, digests say on restore whether they are whole."""

import contextlib
import dataclasses
import functools as ft
import hashlib
import json
import logging
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PyTree

from ..core import combine_digests, leaf_digest, leaf_names
from ..core.errors import ResumeError
from ._schema import Checkpoints, Config


@dataclasses.dataclass(frozen=True)
class Saved:
    """A restored checkpoint."""

    step: int
    leaves: list[np.ndarray]
    manifest: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one program: asynchronous, atomic, the newest few kept."""

    def __init__(self, folder: Path, policy: Checkpoints):
        self._folder = folder.absolute()
        self._policy = policy
        self._last_save = time.monotonic()
        self._sealing: list[threading.Thread] = []

    @classmethod
    def of(cls, folder: Path, arms: Sequence[str], config: Config) -> Self:
        """The checkpoints of a program in a run directory.

        Args:
            folder: the run directory.
            arms: the program's.
            config: of one of them.

        Returns:
            The store.
        """
        name = "+".join(arms)
        if len(name) > 80:
            name = f"{arms[0]}+{len(arms) - 1}"
        return cls(folder / "checkpoints" / name, config.train.checkpoint)

    @ft.cached_property
    def _ocp(self) -> Any:
        # A third of a second, which a fresh run has to spare once it is training.
        import orbax.checkpoint as ocp

        _quiet()
        return ocp

    @ft.cached_property
    def _manager(self) -> Any:
        options = self._ocp.CheckpointManagerOptions(
            max_to_keep=self._policy.keep,
            create=True,
            cleanup_tmp_directories=True,
            enable_async_checkpointing=True,
        )
        return self._ocp.CheckpointManager(self._folder, options=options)

    def due(self, step: int) -> bool:
        """Whether the policy asks for a save after this step."""
        if self._policy.every_steps:
            return step % self._policy.every_steps == 0
        if self._policy.every_seconds:
            return time.monotonic() - self._last_save >= self._policy.every_seconds
        return False

    def steps(self) -> list[int]:
        """The steps that have a complete checkpoint, oldest first."""
        return sorted(self._manager.all_steps()) if self._folder.exists() else []

    def save(
        self, step: int, leaves: list[np.ndarray], like: PyTree, facts: dict[str, Any]
    ) -> None:
        """Starts writing a checkpoint and returns.

        Args:
            step: steps completed.
            leaves: host copies of the state's leaves.
            like: a pytree of the state's structure, for the leaves' names.
            facts: what else to keep, as JSON.
        """
        args = self._ocp.args
        named = dict(zip(leaf_names(like), leaves, strict=True))
        digests = {name: leaf_digest(leaf) for name, leaf in named.items()}
        manifest = facts | {"step": step, "leaves": digests}
        manifest["digest"] = _manifest_digest(manifest)
        self._manager.save(
            step,
            args=args.Composite(
                state=args.StandardSave(named), manifest=args.JsonSave(manifest)
            ),
            force=True,
        )
        self._last_save = time.monotonic()
        self._join()
        thread = threading.Thread(target=_seal, args=(self._folder, step))
        thread.start()
        self._sealing.append(thread)

    def restore(
        self, like: PyTree, lanes: int, step: int | None, say: Callable[[str], None]
    ) -> Saved | None:
        """Reads the newest checkpoint that is whole, or a given one.

        Args:
            like: shapes and types of one lane's state.
            lanes: how many lanes the checkpoint holds.
            step: which one; the newest if None.
            say: is told about checkpoints that are damaged.

        Returns:
            The checkpoint, or None where there is none.

        Raises:
            ResumeError: where the step asked for is not there or not whole.
        """
        steps = self.steps()
        if step is not None and step not in steps:
            there = ", ".join(map(str, steps)) or "none"
            raise ResumeError(f"no checkpoint at step {step}; there are: {there}")
        for candidate in [step] if step is not None else steps[::-1]:
            try:
                saved = self._read(candidate, like, lanes)
            except Exception as error:  # orbax raises whatever its readers raise
                reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
                message = f"checkpoint {candidate} is damaged ({reason})"
                if step is not None:
                    raise ResumeError(message) from None
                say(f"{message}; trying the one before")
                self.discard(candidate)
                continue
            self.discard(candidate + 1)
            return saved
        return None

    def newest(self, like: PyTree, lanes: int) -> Saved | None:
        """Reads the newest checkpoint that is whole, and touches none.

        Args:
            like: shapes and types of one lane's state.
            lanes: how many lanes the checkpoint holds.

        Returns:
            The checkpoint, or None where none is whole.
        """
        for step in self.steps()[::-1]:
            with contextlib.suppress(Exception):  # orbax raises what its readers raise
                return self._read(step, like, lanes)
        return None

    def _read(self, step: int, like: PyTree, lanes: int) -> Saved:
        _check_seal(self._folder, step)
        args = self._ocp.args
        shapes = {
            name: _host_shape(leaf, lanes)
            for name, leaf in zip(leaf_names(like), jax.tree.leaves(like), strict=True)
        }
        manifest = self._manager.restore(
            step, args=args.Composite(manifest=args.JsonRestore())
        )["manifest"]
        kept = {k: v for k, v in manifest.items() if k != "digest"}
        if _manifest_digest(kept) != manifest.get("digest"):
            raise ValueError("its manifest does not match its digest")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            named = self._manager.restore(
                step, args=args.Composite(state=args.StandardRestore(shapes))
            )["state"]
        for name in shapes:
            if leaf_digest(named[name]) != manifest["leaves"].get(name):
                raise ValueError(f"leaf {name} does not match its digest")
        leaves = [np.asarray(named[name]) for name in shapes]
        return Saved(step, leaves, manifest)

    def discard(self, first: int = 0) -> None:
        """Removes checkpoints, from a step on, that the run is about to write again."""
        doomed = [step for step in self.steps() if step >= first]
        if doomed:
            self._manager.close()
            del self._manager  # opened again when it is next needed
            for step in doomed:
                shutil.rmtree(self._folder / str(step), ignore_errors=True)
                (self._folder / "seals" / f"{step}.sha256").unlink(missing_ok=True)

    def close(self) -> None:
        """Waits for saves to be complete, and lets go of the folder."""
        if "_manager" in self.__dict__:
            self._manager.close()
        self._join()

    def _join(self) -> None:
        while self._sealing:
            self._sealing.pop().join()


def _seal(folder: Path, step: int) -> None:
    """Once a checkpoint is committed, notes the digest of every file of it.

    Leaf digests catch what would change a result; this also catches a byte of orbax's
    own metadata. A kill before the seal is written leaves the leaf digests.
    """
    place = folder / str(step)
    deadline = time.monotonic() + 600
    while not place.exists():
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)
    seals = folder / "seals"
    seals.mkdir(exist_ok=True)
    try:
        text = _file_digests(place)
    except FileNotFoundError:  # already superseded and removed
        return
    partial = seals / f"{step}.partial"
    partial.write_text(text)
    partial.replace(seals / f"{step}.sha256")
    for seal in seals.glob("*.sha256"):
        if not (folder / seal.stem).exists():
            seal.unlink(missing_ok=True)


def _check_seal(folder: Path, step: int) -> None:
    seal = folder / "seals" / f"{step}.sha256"
    if not seal.exists():
        return
    then = set(seal.read_text(errors="replace").splitlines())
    now = set(_file_digests(folder / str(step)).splitlines())
    changed = sorted({line.partition("  ")[2] for line in then ^ now})
    if changed:
        raise ValueError(f"changed since it was written: {', '.join(changed[:3])}")


def _file_digests(place: Path) -> str:
    files = sorted(path for path in place.rglob("*") if path.is_file())
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(place)}\n"
        for path in files
    )


def to_host(leaves: list[jax.Array]) -> list[np.ndarray]:
    """Copies leaves to the host; typed keys as their data.

    Args:
        leaves: device arrays, which may be donated afterwards.

    Returns:
        Arrays that own their memory.
    """
    plain = [jr.key_data(leaf) if _is_key(leaf) else leaf for leaf in leaves]
    return [np.array(leaf, copy=True) for leaf in jax.device_get(plain)]


def from_host(leaves: list[np.ndarray], like: PyTree) -> list[Any]:
    """Undoes `to_host`: gives keys their type back.

    Args:
        leaves: host arrays.
        like: shapes and types of one lane's state.

    Returns:
        Arrays of the types that `like` has.
    """
    shapes = jax.tree.leaves(like)
    return [
        jr.wrap_key_data(jnp.asarray(leaf), impl=_key_kind(shape))
        if _is_key(shape)
        else leaf
        for leaf, shape in zip(leaves, shapes, strict=True)
    ]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _key_kind(shape: jax.ShapeDtypeStruct) -> Any:
    """The implementation of a key of which only the shape is at hand."""
    found = []
    jax.eval_shape(lambda key: found.append(jr.key_impl(key)), shape)
    return found[0]


def _host_shape(leaf: Any, lanes: int) -> np.ndarray:
    if _is_key(leaf):
        data = jax.eval_shape(jr.key_data, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
        leaf = data
    return np.zeros((lanes, *leaf.shape), leaf.dtype)


def _manifest_digest(manifest: dict[str, Any]) -> str:
    return combine_digests([("manifest", json.dumps(manifest, sort_keys=True))])


def _quiet() -> None:
    """Standard error is for errors: orbax reports its progress there."""
    for name in ("absl", "orbax"):
        logging.getLogger(name).setLevel(logging.ERROR)
