"""A gated recurrent unit whose gradient costs what its matrix products cost."""

import functools as ft

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class GRU(eqx.Module):
    """A gated recurrent unit over a sequence (Cho et al. 2014, as in cuDNN).

    r = sigmoid(W_r x + b_r + U_r h), z = sigmoid(W_z x + b_z + U_z h),
    n = tanh(W_n x + b_n + r * (U_n h + c)), and the next h is (1 - z) n + z h.

    All products with inputs are one, outside the loop. So are all products of the
    weights' gradient: autodiff of the loop would add a matrix at every step.

    Attributes:
        cell: Equinox' cell, which holds the weights.
    """

    cell: eqx.nn.GRUCell

    def __init__(self, in_size: int, size: int, *, key: PRNGKeyArray):
        """A unit at random.

        Args:
            in_size: length of an input.
            size: of the hidden state.
            key: of the weights.
        """
        self.cell = eqx.nn.GRUCell(in_size, size, key=key)

    def init(self) -> Float[Array, " size"]:
        """The hidden state before the first input."""
        return jnp.zeros(self.cell.hidden_size, self.cell.weight_hh.dtype)

    def __call__(
        self,
        inputs: Float[Array, "steps in_size"],
        start: Float[Array, " size"] | None = None,
    ) -> Float[Array, "steps size"]:
        """The hidden states after each input.

        Args:
            inputs: one after the other.
            start: hidden state before the first; zeros if None.

        Returns:
            The states; the last is where a sequence that follows starts.
        """
        cell = self.cell
        assert cell.bias is not None and cell.bias_n is not None
        start = self.init() if start is None else start
        given = inputs @ cell.weight_ih.T + cell.bias
        return _states(given, start, cell.weight_hh, cell.bias_n)


@jax.custom_jvp
def _states(given, start, weight, bias):
    """Hidden states, of inputs' parts of the gates, in the order r, z, n."""
    return _run(given, start, weight, bias)[0]


def _run(given, start, weight, bias):
    across = weight.T

    def step(h, x):
        x_r, x_z, x_n = jnp.split(x, 3)
        h_r, h_z, h_n = jnp.split(h @ across, 3)
        r, z, h_n = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z), h_n + bias
        n = jnp.tanh(x_n + r * h_n)
        h = n + z * (h - n)
        return h, (h, r, z, n, h_n)

    states, *gates = jax.lax.scan(step, start, given)[1]
    return states, gates


@_states.defjvp
def _states_jvp(primals, tangents):
    _, start, weight, bias = primals
    d_given, d_start, d_weight, d_bias = tangents
    states, gates = _run(*primals)
    before = jnp.concatenate([start[None], states[:-1]])
    across = weight.T
    change = before @ d_weight.T
    # What inputs and states do to the first two gates is the same: their cotangents are
    # one array, not two.
    two = 2 * bias.shape[0]
    gated = d_given[:, :two] + change[:, :two]
    outer, inner = d_given[:, two:], change[:, two:] + d_bias

    # Slopes of the gates are made again where they are used, in the loop: kept, they
    # would be twice what the gates are.
    @ft.partial(jax.checkpoint, prevent_cse=False)
    def step(dh, known):
        h, r, z, n, h_n, gated, outer, inner = known
        h_r, h_z, dh_n = jnp.split(dh @ across, 3)
        x_r, x_z = jnp.split(gated, 2)
        dr = r * (1 - r) * (x_r + h_r)
        dz = z * (1 - z) * (x_z + h_z)
        dn = (1 - n**2) * (outer + r * (dh_n + inner) + h_n * dr)
        dh = (1 - z) * dn + z * dh + (h - n) * dz
        return dh, dh

    known = before, *gates, gated, outer, inner
    return states, jax.lax.scan(step, d_start, known)[1]
