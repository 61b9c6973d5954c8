"""Flax Linen modules as Equinox modules."""

from collections.abc import Mapping
from typing import Any, NoReturn

import equinox as eqx
import flax.errors
import flax.linen as nn
import jax
from flax.core import unfreeze
from jaxtyping import PRNGKeyArray, PyTree


# One key serves every random stream: Flax falls back to "params" for a stream that
# was not given, and counts the draws so that no two of them coincide.
_FALLBACK_STREAM = "params"


class LinenModule(eqx.Module):
    """A Flax Linen module together with its variables.

    Attributes:
        params: The trainable variables, as nested dicts of arrays.
        collections: Every other collection (`batch_stats`, `cache`, ...). Its arrays
            are held constant by differentiation: their gradient is exactly zero.
        module: The Flax module, static.
    """

    params: PyTree
    collections: dict[str, PyTree]
    module: nn.Module = eqx.field(static=True)

    @property
    def variables(self) -> dict[str, PyTree]:
        """The variables as `module.apply` expects them."""
        return {"params": self.params, **self.collections}

    def __call__(
        self,
        *args: Any,
        key: PRNGKeyArray | Mapping[str, PRNGKeyArray] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Evaluate the module without changing its collections.

        Args:
            *args: Positional arguments of the Flax module.
            key: One key for every random stream, or a mapping from stream names to
                keys; needed only where the module draws random numbers.
            **kwargs: Keyword arguments of the Flax module.

        Returns:
            The output of the Flax module.

        Raises:
            ValueError: If the module draws random numbers and `key` is missing, or
                updates a collection, which `apply_mutable` is for.
        """
        return self._apply(args, kwargs, key, mutable=False)

    def apply_mutable(
        self,
        *args: Any,
        key: PRNGKeyArray | Mapping[str, PRNGKeyArray] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, "LinenModule"]:
        """Evaluate the module and keep the updates of its collections.

        Collections that the module did not have when it was initialised, such as
        `intermediates`, are dropped, so that the structure stays the same.

        Args:
            *args: Positional arguments of the Flax module.
            key: One key for every random stream, or a mapping from stream names to
                keys; needed only where the module draws random numbers.
            **kwargs: Keyword arguments of the Flax module.

        Returns:
            The output of the Flax module, and this module with updated collections.

        Raises:
            ValueError: If the module draws random numbers and `key` is missing.
        """
        output, updated = self._apply(args, kwargs, key, mutable=list(self.collections))
        collections = {**self.collections, **unfreeze(updated)}
        return output, LinenModule(self.params, collections, self.module)

    def trainable(self) -> "LinenModule":
        """Mark the trainable leaves.

        Returns:
            This module with True for each floating-point array in `params` and False
            for every other leaf, as `equinox.partition` and `optax.masked` take it.
        """
        return LinenModule(
            jax.tree.map(eqx.is_inexact_array, self.params),
            jax.tree.map(lambda _: False, self.collections),
            self.module,
        )

    def _apply(self, args, kwargs, key, *, mutable: bool | list[str]) -> Any:
        constant = jax.lax.stop_gradient(self.collections)
        variables = {"params": self.params, **constant}
        rngs = {_FALLBACK_STREAM: key} if isinstance(key, jax.Array) else key
        try:
            return self.module.apply(
                variables, *args, rngs=rngs, mutable=mutable, **kwargs
            )
        except flax.errors.InvalidRngError as error:
            _explain_missing_key(error)
        except flax.errors.ModifyScopeVariableError as error:
            raise ValueError(
                f"{type(self.module).__name__} updates its variables while it is "
                "called, and a plain call would lose the update. Call "
                "`output, module = module.apply_mutable(...)` instead, or evaluate in "
                f"inference mode. Flax said: {error}"
            ) from error


def from_linen(
    module: nn.Module, *example_args: Any, key: PRNGKeyArray, **kwargs: Any
) -> LinenModule:
    """Initialise a Flax Linen module and wrap it as an Equinox module.

    Args:
        module: The Flax module. It must be hashable, since it is static.
        *example_args: Positional arguments to initialise it with.
        key: Key for every random stream of the initialisation.
        **kwargs: Keyword arguments to initialise it with.

    Returns:
        The module with its variables.

    Raises:
        TypeError: If `module` is not a Linen module, or not hashable.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"from_linen takes a flax.linen.Module, not {type(module).__name__}; for a "
            "flax.nnx.Module use djx.nn.nnx.from_nnx."
        )
    try:
        hash(module)
    except TypeError as error:
        raise TypeError(
            f"{type(module).__name__} has an attribute that cannot be hashed "
            f"({error}), so it cannot be static under jit. Make arrays variables "
            "of the module or call arguments, and sequences tuples."
        ) from error
    variables = module.init({_FALLBACK_STREAM: key}, *example_args, **kwargs)
    variables = dict(unfreeze(variables))
    params = variables.pop("params", {})
    return LinenModule(params, variables, module)


def _explain_missing_key(error: Exception) -> NoReturn:
    raise ValueError(
        "The module draws random numbers and no key was given for them: pass "
        "`key=jax.random.key(seed)`, or evaluate in inference mode. "
        f"Flax said: {error}"
    ) from error
