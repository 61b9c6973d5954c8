// The network of brain_problems.py as a loop of C++: what a core can do.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <vector>

namespace {

struct Network {
  int cells, excitatory;
  const int *rows, *targets;
  float *v, *excitation, *inhibition;
  int *left;  // steps that a cell is yet to be refractory
};

constexpr float dt_ms = 0.1f, tau_ms = 20, rest_mv = -60, reset_mv = -60,
                threshold_mv = -50, drive_mv = 20, excites_mv = 0,
                inhibits_mv = -80, excited = 0.6f, inhibited = 6.7f;
constexpr int refractory = 50;

// e^x to 2e-7 for x from -87 to 0: inline, where a library's would be a call. A power of
// two, and a series (Taylor's, to x^6) on the half octave around it.
inline float exponential(float x) {
  float octaves = std::nearbyint(x * 1.44269504f);
  float r = x - octaves * 0.69314718f;
  float series = 1 / 720.f;
  for (float factor : {1 / 120.f, 1 / 24.f, 1 / 6.f, 0.5f, 1.f, 1.f})
    series = series * r + factor;
  int bits = (static_cast<int>(octaves) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return series * power;
}

// Voltages, then conductances, then who fired: all cells alike, as vectors.
template <bool euler>
void advance(const Network &n, uint8_t *__restrict fired) {
  float *__restrict v = n.v, *__restrict ge = n.excitation,
                   *__restrict gi = n.inhibition;
  int *__restrict left = n.left;
  const int cells = n.cells;
  const float keep_e = std::exp(-dt_ms / 5), keep_i = std::exp(-dt_ms / 10);
  for (int i = 0; i < cells; ++i) {
    float total = 1 + ge[i] + gi[i];
    float flow = rest_mv + drive_mv + excites_mv * ge[i] + inhibits_mv * gi[i];
    float next;
    if (euler) {
      next = v[i] + dt_ms / tau_ms * (flow - total * v[i]);
    } else {
      float end = flow / total;
      next = end + (v[i] - end) * exponential(-dt_ms / tau_ms * total);
    }
    float now = left[i] > 0 ? v[i] : next;
    bool spike = now >= threshold_mv;
    left[i] = spike ? refractory : (left[i] > 0 ? left[i] - 1 : 0);
    v[i] = spike ? reset_mv : now;
    ge[i] *= keep_e;
    gi[i] *= keep_i;
    fired[i] = spike;
  }
}

inline void send(const Network &n, int sender) {
  bool excites = sender < n.excitatory;
  float *g = excites ? n.excitation : n.inhibition;
  float weight = excites ? excited : inhibited;
  for (int e = n.rows[sender]; e < n.rows[sender + 1]; ++e)
    g[n.targets[e]] += weight;
}

template <bool euler>
long simulated(const Network &n, int steps, int *sent, long room, long *ends) {
  std::vector<uint8_t> fired((n.cells + 7) / 8 * 8);
  long count = 0;
  for (int step = 0; step < steps; ++step) {
    advance<euler>(n, fired.data());
    for (size_t block = 0; block < fired.size(); block += 8) {
      uint64_t any;
      std::memcpy(&any, &fired[block], 8);
      if (!any) continue;
      for (size_t i = block; i < block + 8; ++i) {
        if (!fired[i]) continue;
        if (count == room) return -1;
        send(n, sent[count++] = static_cast<int>(i));
      }
    }
    ends[step] = count;
  }
  return count;
}

}  // namespace

extern "C" {

// Steps of a network; who fired is kept in `sent`, by step up to `ends`. Returns how
// many did, or -1 where there is no room for them.
long simulate(bool euler, Network n, int steps, int *sent, long room, long *ends) {
  return euler ? simulated<true>(n, steps, sent, room, ends)
               : simulated<false>(n, steps, sent, room, ends);
}

// The same steps without any spike being sent.
void states_alone(bool euler, Network n, int steps) {
  std::vector<uint8_t> fired(n.cells);
  for (int step = 0; step < steps; ++step)
    euler ? advance<true>(n, fired.data()) : advance<false>(n, fired.data());
}

// The spikes of a simulation alone.
void events_alone(Network n, const int *sent, long count) {
  for (long k = 0; k < count; ++k) send(n, sent[k]);
}
}
