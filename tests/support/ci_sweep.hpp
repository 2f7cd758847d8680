// The sweep that CI makes, and the workers that make it: seeds 1, 2, … of what swarm mode draws, ten simulated minutes
// each. The mutation gate plants its defects into the same runs.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <thread>
#include <vector>

#include <rota/sim/strategies.hpp>
#include <rota/sim/sweep.hpp>

#include "effort.hpp"

namespace rota_test {

namespace sim = rota::sim;

/// Whether there is time for all of it: where code is optimised, and not watched by a sanitizer.
#if defined(__OPTIMIZE__)
inline constexpr bool in_full = !sanitized;
#else
inline constexpr bool in_full = false;
#endif
inline constexpr std::uint64_t ci_seeds = in_full ? 2000 : 40;

/// Every other seed has kinds of fault that break what rota assumes, too. One in four has much going wrong with few
/// schedules: it takes several things at a time to meet some mistakes. Another one has nodes of limited capacity. Half of
/// them have one of the strategies that there are beside the default.
[[nodiscard]] inline sim::scenario ci_scenario(std::uint64_t seed) {
    sim::sweep_settings s{.faults_for = std::chrono::minutes{10},
                          .kinds = seed % 2 == 0 ? sim::every_kind : sim::promised_kinds};
    auto const way = seed / 2 % 4;
    if (way == 0) {
        s.most_schedules = 4;
        s.most_faults = 1000;
    }
    auto d = sim::draw_scenario(seed, s);
    if (way == 1) d.world.options.max_schedules_per_node = 1 + static_cast<std::uint32_t>(sim::mixed(seed) % 10);
    if (auto const which = sim::mixed(seed) / 16 % (2 * std::size(sim::strategy_names)); which % 2 == 1) {
        d.world.strategy = sim::strategy_names[which / 2];
    }
    return d;
}

[[nodiscard]] inline sim::setup ci_setup() {
    return {.name = "ci", .prepare = [](sim::world& w) {
                auto const& name = w.settings().strategy;
                sim::use_strategy_named(w, name);
                // Else each would be a zone of its own.
                for (std::uint32_t i = 0; i < w.size() && (name == "zoned" || name == "nested"); ++i) {
                    auto o = w.options_of(i);
                    o.zone = i % 2 == 0 ? "east" : "west";
                    w.node(i).use_options(o);
                }
                sim::check_all(w);
            }};
}

/// Calls work(n) for n = 0 .. count-1, two at a time; worlds share nothing.
template <typename Work>
void in_parallel(std::uint64_t count, Work const& work) {
    std::atomic<std::uint64_t> next{0};
    auto const loop = [&] {
        for (std::uint64_t n = next++; n < count; n = next++) work(n);
    };
    std::thread other{loop};
    loop();
    other.join();
}

}  // namespace rota_test
