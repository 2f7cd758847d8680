// A libFuzzer target: the bytes of the fuzzer are the source of all choices of a run. The first of them draw the group,
// its options and its faults; the others are used up by delays and jitter as the run goes on, and then it is dull.
//
// What breaks is printed with the text that replays it, which needs no fuzzer.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

#include <rota/sim/replay.hpp>
#include <rota/sim/sweep.hpp>

namespace sim = rota::sim;

namespace {

constexpr std::size_t bytes_of_scenario = 512;

sim::scenario scenario_of(std::span<std::uint8_t const> bytes) {
    auto const head = bytes.first(std::min(bytes.size(), bytes_of_scenario));
    auto const tail = bytes.subspan(head.size());
    sim::sweep_settings const small{.most_nodes = 4,
                                    .most_schedules = 6,
                                    .faults_for = std::chrono::seconds{40},
                                    .kinds = sim::every_kind,
                                    .swarm = false,
                                    .most_faults = 24};
    auto d = sim::draw_scenario(1, small, sim::choices::from_bytes(head));
    d.bytes.assign(tail.begin(), tail.end());
    if (d.bytes.empty()) d.bytes.push_back(0);
    return d;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    auto const found = sim::find_failure(scenario_of({data, size}));
    if (!found) return 0;
    std::fputs(sim::describe(*found).c_str(), stderr);
    std::abort();
}
