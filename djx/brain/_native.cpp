// Spikes to their targets on CPUs, called by XLA (see _native.py).
//
// Sums are taken in the order in which _serial.py takes them, and no product is fused
// with an addition: both give the same bits.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

// What operands are for. Those that are not needed have no elements.
enum Operand { kInto, kSenders, kWeights, kReceivers, kMask, kSource };
constexpr int kOperands = kSource + 4;

enum By : int64_t { kByReceivers, kBySenders, kByWeights };

// ---- who counts -----------------------------------------------------------------

template <typename T>
using Word =
    std::conditional_t<sizeof(T) == 8, uint64_t,
                       std::conditional_t<sizeof(T) == 4, uint32_t, uint8_t>>;

template <typename T>
inline Word<T> bits_of(T x) {
  Word<T> word;
  std::memcpy(&word, &x, sizeof word);
  // Zeros have a sign.
  return std::is_floating_point_v<T> ? static_cast<Word<T>>(word << 1) : word;
}

// Calls `now` of all places that are not zero, in order, and of each `soon` before
// the one ahead of it is done with.
template <typename T, typename Soon, typename Now>
inline void each(const T* numbers, int64_t count, Soon soon, Now now) {
  constexpr int64_t kBlock = 64 / sizeof(T);
  int64_t waiting = -1;
  auto found = [&](int64_t i) {
    soon(i);
    if (waiting >= 0) now(waiting);
    waiting = i;
  };
  int64_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    Word<T> any = 0;
    for (int64_t j = 0; j < kBlock; ++j) any |= bits_of(numbers[i + j]);
    if (!any) continue;
    for (int64_t j = i; j < i + kBlock; ++j) {
      if (bits_of(numbers[j])) found(j);
    }
  }
  for (; i < count; ++i) {
    if (bits_of(numbers[i])) found(i);
  }
  if (waiting >= 0) now(waiting);
}

// ---- whom they reach ------------------------------------------------------------

// Rows that are stored. With delays, receivers are a ring of rows by their arrival.
template <bool kDelayed>
struct Stored {
  const int32_t *rows, *targets, *delays;
  int64_t senders, receivers, edges, depth, now;

  void prefetch(int64_t sender) const {
    const int64_t stop = rows[sender + 1];
    for (int64_t e = rows[sender]; e < stop; e += 16) {
      __builtin_prefetch(targets + e);
      if (kDelayed) __builtin_prefetch(delays + e);
    }
  }
  // The row of this step: no delay leads to it.
  template <typename T>
  void clear(T* ring) const {
    if (kDelayed) std::fill_n(ring + now * receivers, receivers, T(0));
  }
  int64_t target(int64_t edge) const {
    if (!kDelayed) return targets[edge];
    int64_t row = now + delays[edge];
    if (row >= depth) row -= depth;
    return row * receivers + targets[edge];
  }
  template <typename Visit>
  void row(int64_t sender, Visit visit) const {
    const int64_t start = std::max<int64_t>(rows[sender], 0);
    const int64_t stop = std::min<int64_t>(rows[sender + 1], edges);
    const uint64_t reach = receivers * std::max<int64_t>(depth, 1);
    for (int64_t e = start; e < stop; ++e) {
      const int64_t place = target(e);
      // Whatever the arrays say, nothing else is written to.
      if (static_cast<uint64_t>(place) < reach) visit(e, place);
    }
  }
};

inline uint32_t mixed(uint32_t word) {
  word = (word ^ (word >> 16)) * 0x85EBCA6Bu;
  word = (word ^ (word >> 13)) * 0xC2B2AE35u;
  return word ^ (word >> 16);
}

// Rows that are drawn whenever they are needed, alike each time (see `chance_row`).
struct Drawn {
  static constexpr uint32_t kGolden = 0x9E3779B9u;
  static constexpr int64_t kBlock = 16;

  const uint32_t* thresholds;
  const int32_t* guide;    // of i: how many thresholds are up to i << shift
  const int32_t* offsets;  // of a sender's targets; may be missing
  int64_t senders, cells, most, shift;
  uint32_t seed;

  void prefetch(int64_t) const {}
  template <typename T>
  void clear(T*) const {}

  int64_t gap(uint32_t word) const {
    int32_t low = guide[word >> shift], high = guide[(word >> shift) + 1];
    while (low < high) {
      const int32_t middle = (low + high) / 2;
      if (thresholds[middle] <= word) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
  template <typename Visit>
  void row(int64_t sender, Visit visit) const {
    const uint32_t start = mixed(mixed(seed ^ kGolden) ^
                                 mixed(static_cast<uint32_t>(sender) + kGolden));
    const int64_t offset = offsets ? offsets[sender] : 0;
    int64_t cell = -1;
    for (int64_t k = 0; k < most; k += kBlock) {
      uint32_t words[kBlock];
      for (int64_t j = 0; j < kBlock; ++j) {
        words[j] = mixed(start ^ mixed(static_cast<uint32_t>(k + j) + 2 * kGolden));
      }
      for (int64_t j = 0; j < kBlock && k + j < most; ++j) {
        cell += gap(words[j]) + 1;
        if (cell >= cells) return;
        visit(k + j, offset + cell);
      }
    }
  }
};

// ---- the sum over edges of sender times weight times receiver --------------------

template <typename T>
struct Values {
  T* out;
  const T *senders, *weights, *receivers;
  const bool* mask;
};

template <bool kWeighted, typename T, typename Source>
void contract(By by, const Source& source, const Values<T>& v) {
  const auto soon = [&](int64_t i) { source.prefetch(i); };
  T* const out = v.out;
  const T* const weights = v.weights;
  const T* const receivers = v.receivers;
  switch (by) {
    case kByReceivers:
      each(v.senders, source.senders, soon, [&](int64_t i) {
        const T x = v.senders[i];
        source.row(i, [&](int64_t edge, int64_t target) {
          out[target] += kWeighted ? x * weights[edge] : x;
        });
      });
      break;
    case kBySenders:
      each(v.mask, source.senders, soon, [&](int64_t i) {
        // Four sums in turn, which need not wait for one another.
        T a = 0, b = 0, c = 0, d = 0;
        source.row(i, [&](int64_t edge, int64_t target) {
          const T x = receivers[target];
          const T sum = a + (kWeighted ? x * weights[edge] : x);
          a = b, b = c, c = d, d = sum;
        });
        out[i] += (a + c) + (b + d);
      });
      break;
    case kByWeights:
      each(v.senders, source.senders, soon, [&](int64_t i) {
        const T x = v.senders[i];
        source.row(i, [&](int64_t edge, int64_t target) {
          out[edge] += x * receivers[target];
        });
      });
      break;
  }
}

// ---- how a step ends (see _step_end.py) -----------------------------------------

// Several versions of a function, of which the machine takes its best.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define DJX_FOR_MACHINES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define DJX_FOR_MACHINES
#endif

template <typename T>
struct Cells {
  int64_t count, kinds;
  T *v, *left, *inlet;
  uint8_t* spiked;
  const T *threshold, *reset, *lasts, *kept;
  bool own;  // whether each cell has its own threshold, reset and refractory time
  T steps_a_ms, dt_ms;
};

template <bool kOwn, typename T>
__attribute__((always_inline)) inline void settle_all(const Cells<T>& c) {
  // By themselves: what the loop writes cannot change them.
  const int64_t count = c.count;
  const T steps_a_ms = c.steps_a_ms, dt_ms = c.dt_ms;
  T* __restrict v = c.v;
  T* __restrict left = c.left;
  uint8_t* __restrict spiked = c.spiked;
  const T* __restrict thresholds = c.threshold;
  const T* __restrict resets = c.reset;
  const T* __restrict all_last = c.lasts;
  const T all[] = {*thresholds, *resets, *all_last};
  for (int64_t i = 0; i < count; ++i) {
    const T threshold = kOwn ? thresholds[i] : all[0];
    const T reset = kOwn ? resets[i] : all[1], lasts = kOwn ? all_last[i] : all[2];
    const T steps = std::rint(left[i] * steps_a_ms) - 1;
    const T waits = (steps < 0 ? 0 : steps) * dt_ms;
    const bool fires = (v[i] - threshold >= 0) & (waits <= 0);
    v[i] = fires ? reset : v[i];
    left[i] = fires ? lasts : waits;
    spiked[i] = fires;
  }
}

template <typename T>
__attribute__((always_inline)) inline void settle(const Cells<T>& c) {
  if (c.own) {
    settle_all<true>(c);
  } else {
    settle_all<false>(c);
  }
  for (int64_t kind = 0; kind < c.kinds; ++kind) {
    T* const inlet = c.inlet + kind * c.count;
    const T kept = c.kept[kind];
    for (int64_t i = 0; i < c.count; ++i) inlet[i] *= kept;
  }
}

DJX_FOR_MACHINES void settled(const Cells<float>& c) { settle(c); }
DJX_FOR_MACHINES void settled(const Cells<double>& c) { settle(c); }

enum Weights : int64_t { kNone, kOne, kOfSenders, kOfEdges };

template <typename T>
void end_step(const Cells<T>& cells, const Stored<false>& source, Weights of,
              const T* weights) {
  if (!cells.count) return;
  settled(cells);
  if (of == kNone) return;
  const auto soon = [&](int64_t i) { source.prefetch(i); };
  each(cells.spiked, cells.count, soon, [&](int64_t i) {
    if (of == kOfEdges) {
      source.row(i, [&](int64_t e, int64_t to) { cells.inlet[to] += weights[e]; });
    } else {
      const T x = weights[of == kOne ? 0 : i];
      source.row(i, [&](int64_t, int64_t to) { cells.inlet[to] += x; });
    }
  });
}

// ---- lanes ----------------------------------------------------------------------

// Calls with where each operand of a lane begins. `axes`, outermost first, are told
// by their size and, for each operand, by how far apart its lanes are.
template <typename Visit>
void each_lane(ffi::Span<const int64_t> axes, Visit visit) {
  constexpr int64_t kTold = 1 + kOperands;
  const int64_t count = axes.size() / kTold;
  int64_t lanes = 1, starts[kOperands];
  for (int64_t a = 0; a < count; ++a) lanes *= axes[a * kTold];
  for (int64_t lane = 0; lane < lanes; ++lane) {
    std::memset(starts, 0, sizeof starts);
    int64_t rest = lane;
    for (int64_t a = count; a-- > 0;) {
      const int64_t* told = &axes[a * kTold];
      const int64_t place = rest % told[0];
      rest /= told[0];
      for (int o = 0; o < kOperands; ++o) starts[o] += place * told[1 + o];
    }
    visit(starts);
  }
}

template <typename T>
const T* from(const ffi::AnyBuffer& buffer, int64_t start) {
  if (!buffer.element_count()) return nullptr;
  return static_cast<const T*>(buffer.untyped_data()) + start;
}

template <typename T, typename SourceOf>
void run(By by, bool clears, ffi::Span<const int64_t> axes,
         const ffi::AnyBuffer* operands, T* out, SourceOf source_of) {
  each_lane(axes, [&](const int64_t* start) {
    const Values<T> values{out + start[kInto],
                           from<T>(operands[kSenders], start[kSenders]),
                           from<T>(operands[kWeights], start[kWeights]),
                           from<T>(operands[kReceivers], start[kReceivers]),
                           from<bool>(operands[kMask], start[kMask])};
    const auto source = source_of(start + kSource);
    if (clears) source.clear(values.out);
    if (values.weights) {
      contract<true>(by, source, values);
    } else {
      contract<false>(by, source, values);
    }
  });
}

template <typename SourceOf>
ffi::Error dispatch(int64_t by, bool clears, ffi::Span<const int64_t> axes,
                    const ffi::AnyBuffer* operands, ffi::AnyBuffer out,
                    SourceOf source_of) {
  // XLA has put what is added to where the result is to be.
  void* const to = out.untyped_data();
  const void* const into = operands[kInto].untyped_data();
  if (into != to) std::memcpy(to, into, out.size_bytes());
  switch (out.element_type()) {
    case ffi::F32:
      run(By(by), clears, axes, operands, static_cast<float*>(to), source_of);
      return ffi::Error::Success();
    case ffi::F64:
      run(By(by), clears, axes, operands, static_cast<double*>(to), source_of);
      return ffi::Error::Success();
    default:
      return ffi::Error::InvalidArgument("spikes: neither float32 nor float64");
  }
}

ffi::Error stored(ffi::AnyBuffer into, ffi::AnyBuffer senders, ffi::AnyBuffer weights,
                  ffi::AnyBuffer receivers, ffi::AnyBuffer mask, ffi::AnyBuffer rows,
                  ffi::AnyBuffer targets, ffi::AnyBuffer delays, ffi::AnyBuffer step,
                  ffi::Result<ffi::AnyBuffer> out, int64_t by,
                  ffi::Span<const int64_t> axes, int64_t count, int64_t clears,
                  int64_t receiver_count, int64_t edges, int64_t depth) {
  const ffi::AnyBuffer operands[kOperands] = {into, senders, weights, receivers, mask,
                                              rows, targets, delays,  step};
  const auto source = [&](auto delayed, const int64_t* start) {
    int64_t now = 0;
    if (delayed) {
      now = *from<int32_t>(step, start[3]) % depth;
      if (now < 0) now += depth;
    }
    return Stored<decltype(delayed)::value>{from<int32_t>(rows, start[0]),
                                            from<int32_t>(targets, start[1]),
                                            from<int32_t>(delays, start[2]),
                                            count,
                                            receiver_count,
                                            edges,
                                            depth,
                                            now};
  };
  if (depth) {
    return dispatch(by, clears, axes, operands, *out, [&](const int64_t* start) {
      return source(std::true_type(), start);
    });
  }
  return dispatch(by, clears, axes, operands, *out, [&](const int64_t* start) {
    return source(std::false_type(), start);
  });
}

ffi::Error drawn(ffi::AnyBuffer into, ffi::AnyBuffer senders, ffi::AnyBuffer weights,
                 ffi::AnyBuffer receivers, ffi::AnyBuffer mask,
                 ffi::AnyBuffer thresholds, ffi::AnyBuffer guide,
                 ffi::AnyBuffer offsets, ffi::AnyBuffer none,
                 ffi::Result<ffi::AnyBuffer> out, int64_t by,
                 ffi::Span<const int64_t> axes, int64_t count, int64_t clears,
                 int64_t cells,
                 int64_t most, int64_t shift, int64_t seed) {
  const ffi::AnyBuffer operands[kOperands] = {
      into, senders, weights, receivers, mask, thresholds, guide, offsets, none};
  return dispatch(by, clears, axes, operands, *out, [&](const int64_t* start) {
    return Drawn{from<uint32_t>(thresholds, start[0]),
                 from<int32_t>(guide, start[1]),
                 from<int32_t>(offsets, start[2]),
                 count,
                 cells,
                 most,
                 shift,
                 static_cast<uint32_t>(seed)};
  });
}

// Where a result is, which begins as an argument that XLA may have put elsewhere.
template <typename T>
T* begun(const ffi::AnyBuffer& argument, ffi::Result<ffi::AnyBuffer>& result) {
  void* const to = result->untyped_data();
  if (to != argument.untyped_data()) {
    std::memcpy(to, argument.untyped_data(), result->size_bytes());
  }
  return static_cast<T*>(to);
}

// Operands, of which lanes may share all but the first three.
enum OfEnd {
  kV,
  kLeft,
  kInlet,
  kThreshold,
  kReset,
  kLasts,
  kKept,
  kEndWeights,
  kRows,
  kTargets,
  kEndOperands
};

ffi::Error step_end(ffi::AnyBuffer v, ffi::AnyBuffer left, ffi::AnyBuffer inlet,
                    ffi::AnyBuffer threshold, ffi::AnyBuffer reset,
                    ffi::AnyBuffer lasts, ffi::AnyBuffer kept, ffi::AnyBuffer weights,
                    ffi::AnyBuffer rows, ffi::AnyBuffer targets,
                    ffi::Result<ffi::AnyBuffer> v_to,
                    ffi::Result<ffi::AnyBuffer> left_to,
                    ffi::Result<ffi::AnyBuffer> inlet_to,
                    ffi::Result<ffi::AnyBuffer> spiked, double steps_a_ms,
                    double dt_ms, int64_t of, int64_t own, int64_t lanes,
                    ffi::Span<const int64_t> batched) {
  const ffi::AnyBuffer all[kEndOperands] = {v,     left, inlet,   threshold, reset,
                                            lasts, kept, weights, rows,      targets};
  int64_t sizes[kEndOperands];  // of a lane
  for (int k = 0; k < kEndOperands; ++k) {
    sizes[k] = static_cast<int64_t>(all[k].element_count()) / (batched[k] ? lanes : 1);
  }
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    T* const to[] = {begun<T>(v, v_to), begun<T>(left, left_to),
                     begun<T>(inlet, inlet_to)};
    const auto count = static_cast<int64_t>(v.element_count()) / lanes;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const auto place = [&](int k) { return batched[k] ? lane * sizes[k] : 0; };
      const Cells<T> cells{count,
                           sizes[kKept],
                           to[0] + lane * count,
                           to[1] + lane * count,
                           to[2] + place(kInlet),
                           static_cast<uint8_t*>(spiked->untyped_data()) + lane * count,
                           from<T>(threshold, place(kThreshold)),
                           from<T>(reset, place(kReset)),
                           from<T>(lasts, place(kLasts)),
                           from<T>(kept, place(kKept)),
                           own != 0,
                           static_cast<T>(steps_a_ms),
                           static_cast<T>(dt_ms)};
      const Stored<false> source{from<int32_t>(rows, place(kRows)),
                                 from<int32_t>(targets, place(kTargets)),
                                 nullptr,
                                 count,
                                 sizes[kInlet],
                                 sizes[kTargets],
                                 0,
                                 0};
      end_step(cells, source, Weights(of), from<T>(weights, place(kEndWeights)));
    }
    return ffi::Error::Success();
  };
  if (v.element_type() == ffi::F32) return run(0.0f);
  if (v.element_type() == ffi::F64) return run(0.0);
  return ffi::Error::InvalidArgument("voltages: neither float32 nor float64");
}

// What a handler takes: so many arrays.
template <int kCount, typename Binding>
auto arrays(Binding&& binding) {
  if constexpr (kCount == 1) {
    return std::move(binding).template Arg<ffi::AnyBuffer>();
  } else {
    return arrays<kCount - 1>(std::move(binding).template Arg<ffi::AnyBuffer>());
  }
}

auto operands() {
  return arrays<kOperands>(ffi::Ffi::Bind())
      .Ret<ffi::AnyBuffer>()
      .Attr<int64_t>("by")
      .Attr<ffi::Span<const int64_t>>("axes")
      .Attr<int64_t>("senders")
      .Attr<int64_t>("clears");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(djx_push_stored, stored,
                              operands()
                                  .Attr<int64_t>("receivers")
                                  .Attr<int64_t>("edges")
                                  .Attr<int64_t>("depth"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(djx_push_drawn, drawn,
                              operands()
                                  .Attr<int64_t>("cells")
                                  .Attr<int64_t>("most")
                                  .Attr<int64_t>("shift")
                                  .Attr<int64_t>("seed"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(djx_step_end, step_end,
                              arrays<kEndOperands>(ffi::Ffi::Bind())
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<double>("steps_a_ms")
                                  .Attr<double>("dt_ms")
                                  .Attr<int64_t>("weights")
                                  .Attr<int64_t>("own")
                                  .Attr<int64_t>("lanes")
                                  .Attr<ffi::Span<const int64_t>>("batched"));
