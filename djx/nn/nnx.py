"""Flax NNX modules as Equinox modules."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
from flax import nnx
from jaxtyping import PRNGKeyArray, PyTree


class NNXModule(eqx.Module):
    """A Flax NNX module, split into trainable parameters and other state.

    Attributes:
        params: The variables of type `nnx.Param`, trainable.
        state: Every other variable: batch statistics, caches, random streams. Its
            arrays are held constant by differentiation: their gradient is exactly
            zero (and None for the keys and counters of random streams).
        graphdef: The structure of the module, static.
    """

    params: PyTree
    state: PyTree
    graphdef: Any = eqx.field(static=True)

    def __call__(
        self,
        *args: Any,
        key: PRNGKeyArray | Mapping[str, PRNGKeyArray] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Evaluate the module without changing its state.

        Args:
            *args: Positional arguments of the Flax module.
            key: One key to reseed every random stream, or a mapping from stream
                names to keys. Without it the streams draw from where they stand,
                which is the same numbers at each call.
            **kwargs: Keyword arguments of the Flax module.

        Returns:
            The output of the Flax module.

        Raises:
            ValueError: If `key` names a stream that the module does not have, or the
                module updates its variables, which `apply_mutable` is for.
        """
        module = self._merge(key)
        before = _updatable(module)
        output = module(*args, **kwargs)
        after = _updatable(module)
        lost = [path for path in before if after.get(path) is not before[path]]
        if lost:
            raise ValueError(
                f"{type(module).__name__} updates {', '.join(lost)} while it is "
                "called, and a plain call would lose the update. Call "
                "`output, module = module.apply_mutable(...)` instead, or evaluate in "
                "inference mode."
            )
        return output

    def apply_mutable(
        self,
        *args: Any,
        key: PRNGKeyArray | Mapping[str, PRNGKeyArray] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, "NNXModule"]:
        """Evaluate the module and keep the updates of its variables.

        The random streams advance too, so that the next call draws other numbers.
        Variables of type `nnx.Intermediate` are dropped, so that the structure stays
        the same.

        Args:
            *args: Positional arguments of the Flax module.
            key: One key to reseed every random stream, or a mapping from stream
                names to keys.
            **kwargs: Keyword arguments of the Flax module.

        Returns:
            The output of the Flax module, and the module after the call.

        Raises:
            ValueError: If `key` names a stream that the module does not have.
        """
        module = self._merge(key)
        output = module(*args, **kwargs)
        nnx.pop(module, nnx.Intermediate)
        return output, from_nnx(module)

    def trainable(self) -> "NNXModule":
        """Mark the trainable leaves.

        Returns:
            This module with True for each floating-point array in `params` and False
            for every other leaf, as `equinox.partition` and `optax.masked` take it.
        """
        return NNXModule(
            jax.tree.map(eqx.is_inexact_array, self.params),
            jax.tree.map(lambda _: False, self.state),
            self.graphdef,
        )

    def to_nnx(self) -> Any:
        """Rebuild the Flax module.

        Returns:
            A new Flax module with the same variables, for example to switch it with
            `module.eval()` before wrapping it again.
        """
        return nnx.merge(self.graphdef, _copy(self.params), _copy(self.state))

    def _merge(self, key) -> Any:
        constant = jax.lax.stop_gradient(self.state)
        module = nnx.merge(self.graphdef, _copy(self.params), constant)
        if key is not None:
            # One key reseeds a stream of any shape: a stacked layer holds stacked keys.
            keys: Any = _stream_keys(module, key)
            nnx.reseed(module, policy="match_shape", **keys)
        return module


def from_nnx(module: nnx.Module) -> NNXModule:
    """Wrap a Flax NNX module as an Equinox module.

    Args:
        module: The Flax module. Later changes of it do not reach the wrapper.

    Returns:
        The module, split into parameters and other state.

    Raises:
        TypeError: If `module` is not an NNX module, or has an attribute that cannot
            be hashed.
    """
    if not isinstance(module, nnx.Module):
        raise TypeError(
            f"from_nnx takes a flax.nnx.Module, not {type(module).__name__}; for a "
            "flax.linen.Module use djx.nn.linen.from_linen."
        )
    graphdef, params, state = nnx.split(module, nnx.Param, ...)
    try:
        hash(graphdef)
    except TypeError as error:
        raise TypeError(
            f"{type(module).__name__} has an attribute that cannot be hashed "
            f"({error}), so it cannot be static under jit. Hold arrays in an "
            "nnx.Variable and sequences in tuples."
        ) from error
    return NNXModule(_copy(params), _copy(state), graphdef)


def _copy(state: PyTree) -> PyTree:
    """New variables: a split or merge shares them, and a module mutates its own."""
    return jax.tree.map(lambda leaf: leaf, state)


def _updatable(module: Any) -> dict[str, Any]:
    """The variables whose update a plain call must not lose, by path."""
    transient = (nnx.RngState, nnx.Intermediate)
    return {
        "/".join(map(str, path)): variable.get_value()
        for path, variable in nnx.to_flat_state(nnx.state(module))
        if not isinstance(variable, transient)
    }


def _stream_keys(module: Any, key: Any) -> dict[str, PRNGKeyArray]:
    """One key for each random stream of a module, by the name of the stream."""
    streams = nnx.to_flat_state(nnx.state(module, nnx.RngKey))
    names = sorted({variable.tag for _, variable in streams})
    if not isinstance(key, Mapping):
        return {name: jax.random.fold_in(key, i) for i, name in enumerate(names)}
    unknown = sorted(set(key) - set(names))
    if unknown:
        raise ValueError(
            f"No random stream is named {', '.join(map(repr, unknown))}; "
            f"{type(module).__name__} has {', '.join(map(repr, names)) or 'none'}."
        )
    return dict(key)
