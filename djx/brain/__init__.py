"""Networks of spiking neurons: work for those that fire, gradients, delays.

Units are mV, ms, nS, pA and pF.
"""

from ._backends import backend as backend
from ._blocks import (
    Block as Block,
    onto_receptors as onto_receptors,
    Parts as Parts,
    split as split,
    stacked as stacked,
)
from ._buffered import turns as turns
from ._cell import Cell as Cell, term as term
from ._connectivity import (
    Connectivity as Connectivity,
    from_edges as from_edges,
    from_matrix as from_matrix,
)
from ._coupling import Coupling as Coupling, coupling as coupling
from ._couplings import couplings as couplings
from ._currents import (
    OrnsteinUhlenbeck as OrnsteinUhlenbeck,
    Redrawn as Redrawn,
    Steps as Steps,
    WhiteNoise as WhiteNoise,
)
from ._damping import damped as damped, detached as detached
from ._delays import (
    delays_in_steps as delays_in_steps,
    interpolated as interpolated,
    normal_delays as normal_delays,
    requantised as requantised,
    with_delays as with_delays,
)
from ._divide import Divided as Divided, divided as divided
from ._drive import Drive as Drive, ohmic as ohmic
from ._gap_junctions import GapJunctions as GapJunctions
from ._gradient_health import gradient_health as gradient_health, Health as Health
from ._hodgkin_huxley import HodgkinHuxley as HodgkinHuxley, TraubMiles as TraubMiles
from ._incoming import Incoming as Incoming
from ._inputs import (
    Input as Input,
    PoissonInput as PoissonInput,
    PoissonSources as PoissonSources,
    SpikeTimes as SpikeTimes,
)
from ._integrate_and_fire import (
    AdaptiveLIF as AdaptiveLIF,
    AdEx as AdEx,
    ExpIF as ExpIF,
    Izhikevich as Izhikevich,
    LIF as LIF,
)
from ._kinetics import (
    Alpha as Alpha,
    DualExponential as DualExponential,
    Exponential as Exponential,
    Instantaneous as Instantaneous,
    Kinetics as Kinetics,
)
from ._moments import (
    Moments as Moments,
    Synchrony as Synchrony,
    voltage_mv as voltage_mv,
)
from ._monitors import Raster as Raster, Spikes as Spikes, Traces as Traces
from ._native import native_note as native_note
from ._network import Network as Network, NetworkState as NetworkState
from ._nmda import (
    magnesium_block as magnesium_block,
    NMDA as NMDA,
    NMDAGating as NMDAGating,
)
from ._populations import (
    of_single_cells as of_single_cells,
    Populations as Populations,
)
from ._procedural import Procedural as Procedural
from ._projection import (
    Projection as Projection,
    ProjectionState as ProjectionState,
    Sent as Sent,
)
from ._push import push as push
from ._randomness import (
    bernoulli_spikes as bernoulli_spikes,
    normals as normals,
    poisson_counts as poisson_counts,
    uniforms as uniforms,
)
from ._receptors import ampa as ampa, gaba as gaba, Receptors as Receptors
from ._rules import (
    all_to_all as all_to_all,
    chance_row as chance_row,
    fixed_in_degree as fixed_in_degree,
    fixed_out_degree as fixed_out_degree,
    fixed_probability as fixed_probability,
    fixed_total as fixed_total,
    one_to_one as one_to_one,
)
from ._run import run as run
from ._short_term import ShortTermPlasticity as ShortTermPlasticity
from ._spatial import gaussian as gaussian, small_world as small_world
from ._spike_counts import (
    Correlations as Correlations,
    PopulationRate as PopulationRate,
)
from ._spike_statistics import SpikeStatistics as SpikeStatistics
from ._stdp import PairSTDP as PairSTDP, TripletSTDP as TripletSTDP
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
from ._synapse import Learning as Learning, Release as Release, Synapse as Synapse
from ._synapses import (
    Conductances as Conductances,
    Currents as Currents,
    synaptic_term as synaptic_term,
)
