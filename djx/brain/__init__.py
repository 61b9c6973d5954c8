"""Networks of spiking neurons: work for those that fire, gradients, delays.

Units are mV, ms, nS, pA and pF.
"""

from ._cell import Cell as Cell, term as term
from ._connectivity import (
    all_to_all as all_to_all,
    chance_row as chance_row,
    Connectivity as Connectivity,
    fixed_in_degree as fixed_in_degree,
    fixed_out_degree as fixed_out_degree,
    fixed_probability as fixed_probability,
    from_edges as from_edges,
    from_matrix as from_matrix,
    one_to_one as one_to_one,
    onto_receptors as onto_receptors,
)
from ._drive import Drive as Drive, ohmic as ohmic
from ._hodgkin_huxley import HodgkinHuxley as HodgkinHuxley, TraubMiles as TraubMiles
from ._integrate_and_fire import (
    AdaptiveLIF as AdaptiveLIF,
    AdEx as AdEx,
    ExpIF as ExpIF,
    Izhikevich as Izhikevich,
    LIF as LIF,
)
from ._monitors import Raster as Raster, SpikeStatistics as SpikeStatistics
from ._network import Network as Network, NetworkState as NetworkState, run as run
from ._push import push as push
from ._receptors import Receptors as Receptors
from ._stepping import (
    exponential_euler as exponential_euler,
    forward_euler as forward_euler,
    heun as heun,
)
from ._surrogate import (
    FastSigmoid as FastSigmoid,
    Logistic as Logistic,
    Surrogate as Surrogate,
    Triangle as Triangle,
)
