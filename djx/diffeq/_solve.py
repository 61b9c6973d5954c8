"""Skeleton, replaced by the engine."""
import diffrax


def diffeqsolve(terms, solver, t0, t1, dt0, y0, args=None, **kwargs) -> diffrax.Solution:
    """Solves a differential equation: diffrax's signature and objects."""
    return diffrax.diffeqsolve(terms, solver, t0, t1, dt0, y0, args, **kwargs)
