"""metrics.jsonl: every step's metrics, in blocks, as they came; the truth of a run."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from ..core.errors import ResumeError


class Series(NamedTuple):
    """What one lane recorded."""

    train: dict[str, np.ndarray]
    """Per metric, one value per step; `step` counts from one."""
    evaluated: dict[str, np.ndarray]
    """Per metric, one value (or array) per evaluation; `step` says when."""


class Recorder:
    """Keeps metrics in memory and, where there is a file, appends them to it.

    A line is one lane's block of steps or one evaluation:
    `{"step": 200, "arm": "a", "seed": 0, "first": 101, "train": {"loss": [...]}}`,
    `{"step": 200, "arm": "a", "seed": 0, "eval": {"accuracy": 0.9}}`. Blocks end at
    multiples of `log_every`, whatever the chunk, so the file does not depend on it. A
    value that is not finite is written as null.
    """

    def __init__(self, path: Path | None, log_every: int):
        self._path = path
        self._every = log_every
        self._file = path.open("ab") if path else None
        self._partial: dict[int, list[tuple[int, dict[str, np.ndarray]]]] = {}
        self._lines: list[dict[str, Any]] = []
        # By "arm.train.name" or "arm.eval.name": read back, values keep every bit.
        self.types: dict[str, np.dtype] = {}
        self.listeners: list[Callable[[dict[str, Any]], None]] = []

    def train(
        self,
        lanes: Sequence[tuple[str, int]],
        first: int,
        counts: np.ndarray,
        metrics: Mapping[str, np.ndarray],
        *,
        last: bool,
    ) -> None:
        """Takes a chunk's metrics.

        Args:
            lanes: (arm, seed) of each row.
            first: the chunk's first step, counted from one.
            counts: how many steps each lane ran.
            metrics: arrays `(lanes, chunk)`.
            last: whether the run's last step is among them.
        """
        rows: list[tuple[int, int, dict[str, Any]]] = []
        for index, (arm, seed) in enumerate(lanes):
            count = int(counts[index])
            if count == 0:
                continue
            part = {k: v[index, :count] for k, v in metrics.items()}
            held = self._partial.setdefault(index, [])
            held.append((first, part))
            end = first + count - 1
            cut = end - end % self._every
            start = held[0][0]
            if not (last or cut >= start):
                continue
            joined = {k: np.concatenate([p[k] for _, p in held]) for k in part}
            self._partial[index] = []
            while start <= end:
                stop = min(start - (start - 1) % self._every + self._every - 1, end)
                block = {k: v[: stop - start + 1] for k, v in joined.items()}
                if stop % self._every and not last:
                    self._partial[index] = [(start, block)]
                    break
                head = {"step": stop, "arm": arm, "seed": seed, "first": start}
                rows.append((stop, index, head | {"train": block}))
                joined = {k: v[stop - start + 1 :] for k, v in joined.items()}
                start = stop + 1
        for _, _, line in sorted(rows, key=lambda row: row[:2]):
            self._write(line)

    def release(self, index: int, lane: tuple[str, int]) -> None:
        """Writes the unfinished block of a lane that stops between two blocks."""
        held = self._partial.pop(index, [])
        if held:
            start = held[0][0]
            joined = {k: np.concatenate([p[k] for _, p in held]) for k in held[0][1]}
            stop = start + len(next(iter(joined.values()))) - 1
            head = {"step": stop, "arm": lane[0], "seed": lane[1], "first": start}
            self._write(head | {"train": joined})

    def evaluated(
        self,
        lanes: Sequence[tuple[str, int]],
        step: int,
        active: np.ndarray,
        metrics: Mapping[str, np.ndarray],
    ) -> None:
        """Takes an evaluation's metrics, of the lanes that are still running."""
        for index, (arm, seed) in enumerate(lanes):
            if active[index]:
                values = {k: np.asarray(v[index]) for k, v in metrics.items()}
                self._write({"step": step, "arm": arm, "seed": seed, "eval": values})

    def _write(self, line: dict[str, Any]) -> None:
        self._lines.append(line)
        if self._file:
            option = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
            self._file.write(orjson.dumps(line, option=option, default=_plain))
        for listener in self.listeners:
            listener(line)

    def position(self) -> int:
        """Bytes written, once they are safely on disk."""
        if self._file is None:
            return 0
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def rewind(self, position: int) -> None:
        """Cuts the file back to a position and takes over what stands before it.

        Args:
            position: bytes to keep.

        Raises:
            ResumeError: where the file is shorter than that.
        """
        if self._file is None or self._path is None:
            return
        self._file.flush()
        size = self._path.stat().st_size
        if size < position:
            raise ResumeError(
                f"{self._path} has {size} bytes, but the checkpoint was taken at "
                f"{position}; put the file back, or start anew with --resume never"
            )
        self._file.truncate(position)
        self._file.seek(position)
        self._partial = {}
        self._lines = [_typed(line, self.types) for line in read_lines(self._path)]

    def series(self) -> dict[tuple[str, int], Series]:
        """What each lane recorded."""
        return collect(self._lines)

    def close(self) -> None:
        """Flushes and closes the file."""
        if self._file:
            self._file.close()
            self._file = None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads a metrics file; a half-written last line is left out."""
    lines = []
    for raw in path.read_bytes().splitlines(keepends=True):
        if not raw.endswith(b"\n"):
            break
        lines.append(orjson.loads(raw))
    return lines


def read_metrics(path: Path) -> dict[tuple[str, int], Series]:
    """Reads a run's `metrics.jsonl`.

    Args:
        path: the file.

    Returns:
        Per (arm, seed), the training and evaluation series.
    """
    return collect([_typed(line, {}) for line in read_lines(Path(path))])


def collect(lines: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], Series]:
    """Joins lines into one series per lane."""
    blocks: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for line in lines:
        blocks.setdefault((line["arm"], line["seed"]), []).append(line)
    found = {}
    for lane, own in blocks.items():
        train = [line for line in own if "train" in line]
        evals = [line for line in own if "eval" in line]
        series = Series({}, {})
        if train:
            for name in train[0]["train"]:
                series.train[name] = np.concatenate([b["train"][name] for b in train])
            steps = [np.arange(b["first"], b["step"] + 1) for b in train]
            series.train["step"] = np.concatenate(steps)
        if evals:
            for name in evals[0]["eval"]:
                series.evaluated[name] = np.stack([b["eval"][name] for b in evals])
            series.evaluated["step"] = np.asarray([b["step"] for b in evals])
        found[lane] = series
    return found


def _typed(line: dict[str, Any], types: Mapping[str, np.dtype]) -> dict[str, Any]:
    for part in ("train", "eval"):
        if part in line:
            line[part] = {
                name: _array(value, types.get(f"{line['arm']}.{part}.{name}"))
                for name, value in line[part].items()
            }
    return line


def _array(value: Any, dtype: np.dtype | None) -> np.ndarray:
    nan_for_null = np.asarray(value)
    if nan_for_null.dtype == object:
        nan_for_null = np.asarray(value, float)
    return nan_for_null if dtype is None else nan_for_null.astype(dtype)


def _plain(value: Any) -> Any:
    """What orjson does not take as it is: bfloat16, strided and scalar arrays."""
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in "biuf":
            value = value.astype(np.float32)
        whole = np.ascontiguousarray(value)
        return whole[0] if np.ndim(value) == 0 else whole
    raise TypeError(type(value))
