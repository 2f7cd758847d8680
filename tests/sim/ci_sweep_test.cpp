// The sweep of CI: 2,000 seeds of ten simulated minutes each (fewer where code is not optimised). None may break anything,
// and all that simulations are made for must have come up somewhere: else it tested nothing.
#include "catch.hpp"

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include <rota/sim/replay.hpp>

#include "support/ci_sweep.hpp"

using namespace rota_test;

TEST_CASE("a sweep of swarm seeds breaks nothing, and sees what it is for") {
    std::mutex mutex;
    sim::tally seen;
    std::uint64_t done = 0;
    std::vector<std::string> failures;
    auto const began = std::chrono::steady_clock::now();
    auto const seconds = [&] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    };

    in_parallel(ci_seeds, [&](std::uint64_t n) {
        auto const run = ci_scenario(n + 1);
        sim::tally of_this;
        std::string broken;
        try {
            (void)sim::run_scenario(run, false, ci_setup(), &of_this);
        } catch (sim::broken_invariant const& e) {
            broken = e.what();
        }
        std::lock_guard const lock{mutex};
        seen += of_this;
        if (!broken.empty() && failures.empty()) broken = sim::describe(*sim::find_failure(run, ci_setup()));
        if (!broken.empty()) failures.push_back(std::move(broken));
        if (++done % (ci_seeds / 10) == 0) fmt::print("{} of {} seeds, {:.1f} s\n", done, ci_seeds, seconds());
    });

    auto const hours = std::chrono::duration<double, std::ratio<3600>>(seen.node_time).count();
    fmt::print("{:.0f} node-hours, {} processes, {} requests, {} runs, {} events in {:.1f} s\n{}", hours,
               seen.processes, seen.requests, seen.work, seen.events, seconds(), seen.turns.to_text());
    for (auto const& failure : failures) FAIL_CHECK(failure);
    CHECK(seen.runs == ci_seeds);
    if (in_full) {
        CHECK(seen.turns.missing() == "");
        CHECK(seconds() < 180);
    }
}
