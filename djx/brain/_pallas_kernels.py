"""A program looks at some senders, and takes the rows of those that fired.

A sum by receivers takes two kernels. The first hangs every event, an edge whose sender
fired, into a list of its receiver, in whatever order threads come. The second adds each
list's terms in the order of edges: a loop over edges gives the same bits.
"""

import functools as ft
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..core import varying_alike
from ._contraction import Contraction


SENDERS = 16, 64  # of a program; the second where there are many
MANY = 2**16
RECEIVERS = 128  # of a program
WARPS = 4  # of a program, at most
WIDEST = 1024  # edges of a program at once
FEW = 4  # events of a list that are sorted at once
NONE = np.int32(2**31 - 1)  # past the last edge


class Kernels:
    """Those of one sum; every lane has its own programs."""

    def __init__(
        self,
        what: Contraction,
        flat: dict[str, jax.Array],
        mask: str,
        interpret: bool,
    ):
        """What they have in common.

        Args:
            what: the sum, all of whose lanes the result has.
            flat: its arrays, each of one axis.
            mask: the name of that which says which senders count.
            interpret: whether XLA does what the kernels would, on any device.
        """
        # Loaded where a kernel is built: it takes a while.
        from jax.experimental import pallas as pl
        from jax.experimental.pallas import triton

        self.pl, self.triton, self.interpret = pl, triton, interpret
        self.what, self.source, self.flat, self.mask = what, what.source, flat, mask
        self.lanes = math.prod(lane.size for lane in what.lanes)
        self.reach = math.prod(what.source.reach)
        self.senders = SENDERS[what.source.senders > MANY]
        self.wide = max(32, min(pl.next_power_of_2(what.source.longest), WIDEST))
        self.chunks = pl.cdiv(what.source.longest, self.wide)

    def as_they_come(self, start):
        """Terms that are added to receivers at once."""

        def visit(refs, at, sender, edge, there, out):
            place = self.place(refs, at, edge, there)
            term = self.product(refs, at, sender, edge, there, place)
            self.atomic("add", out, at["result"] + place, term, there)

        return self.over_events(visit, start)[0]

    def in_order(self, start):
        """Events into lists of receivers, and what they come to."""
        events = jax.ShapeDtypeStruct((self.lanes * self.source.edges,), jnp.int32)
        terms = jax.ShapeDtypeStruct(events.shape, start.dtype)

        def visit(refs, at, sender, edge, there, heads, following, terms):
            receiver = self.of_edges("targets", refs, at, edge, there)
            term = self.product(refs, at, sender, edge, there, None)
            before = self.atomic("xchg", heads, at["list"] + receiver, edge, there)
            place = at["event"] + edge
            self.triton.store(following.at[place], before, mask=there)
            self.triton.store(terms.at[place], term, mask=there)

        heads = jnp.full(self.lanes * self.source.receivers, -1, jnp.int32)
        heads = varying_alike(heads, start)
        lists = self.over_events(visit, heads, events, terms)
        lists = dict(zip(("heads", "following", "terms"), lists, strict=True))
        late = {n: self.flat[n] for n in ("delays", "step") if n in self.flat}
        grid = self.pl.cdiv(self.source.receivers, RECEIVERS), 1
        return self.call(self.sums, grid, WARPS, {**lists, **late}, start)[0]

    def row_by_row(self, start):
        """A number for every sender, or for every edge."""
        by_senders = self.what.by == "senders"

        def kernel(refs, at, out):
            def visit(sender, begin, end):
                def some(number, total):
                    edge = begin + number * self.wide + _upto(self.wide)
                    there = edge < end
                    place = self.place(refs, at, edge, there)
                    term = self.product(refs, at, sender, edge, there, place)
                    if by_senders:
                        return total + jnp.where(there, term, 0)
                    self.triton.store(out.at[at["result"] + edge], term, mask=there)
                    return total

                turns = lax.div(end - begin + (self.wide - 1), np.int32(self.wide))
                total = jnp.zeros(self.wide, start.dtype)
                total = lax.fori_loop(0, turns, some, total)
                if by_senders:
                    out[at["result"] + sender] = jnp.sum(total)

            self.rows(refs, at, visit)

        none = varying_alike(jnp.zeros_like(start), start)
        (out,) = self.over_senders(kernel, 1, none)
        return start + out if self.what.adds else out

    def over_events(self, visit, start, *others):
        """Some edges of a row after others; long rows have several programs."""

        def kernel(refs, at, *outs):
            chunk = self.pl.program_id(1) * self.wide

            def of_row(sender, begin, end):
                edge = begin + chunk + _upto(self.wide)
                visit(refs, at, sender, edge, edge < end, *outs)

            self.rows(refs, at, of_row)

        return self.over_senders(kernel, self.chunks, start, *others)

    def over_senders(self, kernel, chunks, start, *others):
        """Calls a kernel whose programs have some senders each."""
        grid = self.pl.cdiv(self.source.senders, self.senders), chunks
        warps = min(self.wide // 32, WARPS)
        return self.call(kernel, grid, warps, self.flat, start, *others)

    def call(self, kernel, grid, warps, named, start, *others):
        """Calls it with arrays by name, where a lane's begin, and the results.

        What the first result starts from is the last of the arrays.
        """

        def body(*refs):
            by_name = dict(zip(named, refs, strict=False))
            kernel(by_name, self.beginnings(), *refs[len(named) + 1 :])

        known = {"manual_axis_type": jax.typeof(start).mat}  # of `shard_map`
        results = [
            jax.ShapeDtypeStruct(a.shape, a.dtype, **known) for a in (start, *others)
        ]
        return self.pl.pallas_call(
            body,
            out_shape=results,
            grid=(*grid, self.lanes),
            input_output_aliases={len(named): 0},
            compiler_params=self.triton.CompilerParams(num_warps=warps, num_stages=1),
            interpret=self.interpret,
        )(*named.values(), start)

    def beginnings(self):
        """Where the lane of a program begins: its lists and events, in each array."""
        lane, places = self.pl.program_id(2), []
        at = {
            "list": lane * self.source.receivers,
            "event": lane * self.source.edges,
            "result": lane * math.prod(self.what.shape),
        }
        for axis in reversed(self.what.lanes):
            places.append((axis, lane % axis.size))
            lane = lane // axis.size
        for name, array in self.flat.items():
            own = [(axis.size, place) for axis, place in places if name in axis.of]
            step, at[name] = array.size // math.prod(size for size, _ in own), 0
            for size, place in own:
                at[name] += place * step
                step *= size
        return at

    def rows(self, refs, at, visit):
        """`visit(sender, begin, end)` for those of a program's senders that count."""
        first, place = self.pl.program_id(0) * self.senders, _upto(self.senders)
        there = first + place < self.source.senders
        mask = refs[self.mask].at[at[self.mask] + first + place]
        counts = there & (self.triton.load(mask, mask=there, other=0) != 0)

        def after(number):
            return jnp.min(jnp.where(counts & (place > number), place, self.senders))

        def row(number):
            here = at["rows"] + first + number
            visit(first + number, refs["rows"][here], refs["rows"][here + 1])
            return after(number)

        lax.while_loop(lambda number: number < self.senders, row, after(-1))

    def of_edges(self, name, refs, at, edge, there):
        """Numbers of edges; for those that are not there, one that is none's."""
        other = self.source.receivers if name == "targets" else 0
        ref = refs[name].at[at[name] + edge]
        return self.triton.load(ref, mask=there, other=other)

    def place(self, refs, at, edge, there):
        """Where the receivers of edges are, in a flat array."""
        receiver = self.of_edges("targets", refs, at, edge, there)
        if self.source.depth is None:
            return receiver
        row = self.row(refs, at, edge, there)
        return jnp.where(there, row * self.source.receivers + receiver, self.reach)

    def row(self, refs, at, edge, there):
        """Of the ring, in which edges arrive."""
        late = self.of_edges("delays", refs, at, edge, there)
        return (refs["step"][at["step"]] + late) % self.source.depth

    def product(self, refs, at, sender, edge, there, place):
        """What edges make of what is known."""
        factors = self.what.factors
        term = jnp.ones(self.wide, refs[factors[0]].dtype)
        if "senders" in factors:
            term = term * refs["senders"][at["senders"] + sender]
        if "receivers" in factors:
            ref = refs["receivers"].at[at["receivers"] + place]
            term = term * self.triton.load(ref, mask=there, other=0)
        if "weights" in factors:
            term = term * self.of_edges("weights", refs, at, edge, there)
        return term

    def atomic(self, kind, ref, place, new, there):
        """Adds or exchanges numbers one after the other; what was there before."""
        if not self.interpret:
            function = getattr(self.triton, f"atomic_{kind}")
            return function(ref, (place,), new, mask=there)

        # JAX interprets no atomic operation of which some are left out.
        def one(number, before):
            old, given = ref[place[number]], new[number]
            given = old + given if kind == "add" else given
            ref[place[number]] = jnp.where(there[number], given, old)
            return before.at[number].set(old)

        return lax.fori_loop(0, self.wide, one, new)

    def sums(self, refs, at, out):
        """Adds lists' terms: the few that come first, the next few, and so on."""
        load, store = self.triton.load, self.triton.store
        receiver = self.pl.program_id(0) * RECEIVERS + _upto(RECEIVERS)
        there = receiver < self.source.receivers
        head = load(refs["heads"].at[at["list"] + receiver], mask=there, other=-1)
        at_once = self.source.depth is None  # every list has one place

        def walk(last, state):
            """One step along every list: puts what it finds among the first."""
            event, few, _ = state
            there, place = event >= 0, at["event"] + event
            new = (
                jnp.where(there & (event > last), event, NONE),
                load(refs["terms"].at[place], mask=there, other=0),
            )
            first = []
            for old in few:
                less = new[0] < old[0]
                pairs = list(zip(new, old, strict=True))
                first.append(tuple(jnp.where(less, a, b) for a, b in pairs))
                new = tuple(jnp.where(less, b, a) for a, b in pairs)
            event = load(refs["following"].at[place], mask=there, other=-1)
            return event, tuple(first), jnp.max(event)

        def add(state):
            last, total, _ = state
            event = jnp.where(last < NONE, head, -1)
            none = jnp.full_like(event, NONE), jnp.zeros_like(total)
            state = event, (none,) * FEW, jnp.max(event)
            step = ft.partial(walk, last)
            _, few, _ = lax.while_loop(lambda state: state[2] >= 0, step, state)
            for event, term in few:
                there = event < NONE
                if at_once:
                    total = jnp.where(there, total + term, total)
                    continue
                row = self.row(refs, at, event, there)
                ref = out.at[at["result"] + row * self.source.receivers + receiver]
                store(ref, load(ref, mask=there, other=0) + term, mask=there)
            last = few[-1][0]
            return last, total, jnp.min(last)

        hit = head >= 0
        last = jnp.where(hit, np.int32(-1), NONE)
        total = jnp.zeros(RECEIVERS, out.dtype)
        if at_once:
            total = load(out.at[at["result"] + receiver], mask=hit, other=0)
        state = last, total, jnp.min(last)
        _, total, _ = lax.while_loop(lambda state: state[2] < NONE, add, state)
        if at_once:
            store(out.at[at["result"] + receiver], total, mask=hit)


def _upto(count):
    return jnp.arange(count, dtype=jnp.int32)
