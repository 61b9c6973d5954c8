"""How djx's own adaptive engine is differentiated, where defaults do not do."""

import diffrax


class ReplayAdjoint(diffrax.AbstractAdjoint):
    """Discretise then optimise, by replaying the accepted steps.

    What `diffrax.RecursiveCheckpointAdjoint`, the default, means to djx's engine as
    well; this one also says how a batch under `jax.vmap` is run. Solves that go to
    diffrax use `RecursiveCheckpointAdjoint` with the same number of checkpoints.

    Args:
        checkpoints: states that a reverse pass keeps; None for as many as fit 4 MiB,
            at least twice the square root of `max_steps`.
        compaction: whether a batch of solves, once three quarters of it have ended,
            goes on with the others alone, and so on. Worth its longer compilation where
            few samples take many more steps than the rest. Only solves that are not
            differentiated do so.
    """

    checkpoints: int | None = None
    compaction: bool = False

    def loop(self, **kwargs):
        """As `diffrax.RecursiveCheckpointAdjoint`."""
        return diffrax.RecursiveCheckpointAdjoint(self.checkpoints).loop(**kwargs)
