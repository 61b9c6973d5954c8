"""Recursive filters in JAX: djx, and their definitions by `lax.scan` and autodiff."""

import jax
import jax.numpy as jnp
import numpy as np

from djx.dsp import allpole, sosfilt

from ..dsp_filter_problems import equaliser, moving_poles, signals


def djx_allpole(audio, poles):
    """The batch, by djx."""
    return jax.vmap(allpole)(audio, poles)


def plain_allpole(audio, poles):
    """The definition."""

    def step(last, given):
        x, a = given
        y = x - a[0] * last[0] - a[1] * last[1]
        return (y, last[0]), y

    def one(audio, poles):
        return jax.lax.scan(step, (0.0, 0.0), (audio, poles))[1]

    return jax.vmap(one)(audio, poles)


def djx_equaliser(audio, sections):
    """The batch, by djx."""
    return jax.vmap(lambda x, s: sosfilt(x, s)[0])(audio, sections)


def plain_equaliser(audio, sections):
    """The definition, in transposed direct form II."""

    def one(audio, sections):
        normal = sections / sections[:, 3:4]

        def step(state, x):
            ends = []
            for z, (b0, b1, b2, _, a1, a2) in zip(state, normal, strict=True):
                y = z[0] + b0 * x
                ends.append((z[1] + b1 * x - a1 * y, b2 * x - a2 * y))
                x = y
            return ends, x

        return jax.lax.scan(step, [(0.0, 0.0)] * len(sections), audio)[1]

    return jax.vmap(one)(audio, sections)


def filter_call(function, kind: str, batch: int, gradient: bool):
    """`make` of a filter, alone or with the gradients of a linear loss."""

    def make():
        audio, weights = map(jnp.asarray, signals(batch))
        controls = jnp.asarray((moving_poles if kind == "poles" else equaliser)(batch))

        def loss(audio, controls, weights):
            return jnp.vdot(function(audio, controls), weights)

        compiled = jax.jit(jax.grad(loss, (0, 1)) if gradient else function)
        arguments = (audio, controls, weights) if gradient else (audio, controls)

        def call():
            return jax.block_until_ready(compiled(*arguments))

        def read(result):
            names = ("by audio", "by controls") if gradient else ("output",)
            parts = result if gradient else [result]
            return {
                name: float(np.linalg.norm(np.asarray(part, np.float64)))
                for name, part in zip(names, parts, strict=True)
            }

        return call, read

    return make
