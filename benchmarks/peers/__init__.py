"""Who races: one module per framework and kind of equation.

A contestant's `make` builds what is called, and returns the call and a function that
reads numbers off its result. Torch is imported inside, JAX's contestants take the
`diffeqsolve` that they are to call.
"""
