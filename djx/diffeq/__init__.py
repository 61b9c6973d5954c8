"""Differential equations: regularisers and statistics on diffrax's own objects."""

from ._accumulate import (
    AbstractAccumulator as AbstractAccumulator,
    AccumulatingSolver as AccumulatingSolver,
    check_adjoint as check_adjoint,
    Step as Step,
)
from ._adjoint import ReplayAdjoint as ReplayAdjoint
from ._brownian import BulkBrownianPath as BulkBrownianPath
from ._estimates import (
    ErrorIntegral as ErrorIntegral,
    scaled_error as scaled_error,
    stiffness_estimate as stiffness_estimate,
    StiffnessIntegral as StiffnessIntegral,
)
from ._local import (
    BiasedSample as BiasedSample,
    local_penalty as local_penalty,
    sample_time as sample_time,
    UnbiasedSample as UnbiasedSample,
)
from ._quadrature import (
    hutchinson_probe as hutchinson_probe,
    JacobianFrobenius as JacobianFrobenius,
    KineticEnergy as KineticEnergy,
    state_norm as state_norm,
    TaylorDerivative as TaylorDerivative,
    with_integrals as with_integrals,
)
from ._reversible import ReversibleAdjoint as ReversibleAdjoint
from ._solve import diffeqsolve as diffeqsolve, explain as explain
from ._statistics import field_evaluations as field_evaluations
from ._steer import steer_end_time as steer_end_time
