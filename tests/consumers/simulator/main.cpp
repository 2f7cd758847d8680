// Nothing but this file, rota.hpp and sim.hpp beside it: a simulated failover, and the trace hashes of some runs, which
// must be the same whatever compiled this (run.py compares).
#include "sim.hpp"

#include <cstdio>
#include <cstdlib>

namespace sim = rota::sim;
using namespace std::chrono_literals;

static void require(bool holds, char const* what) {
    if (holds) return;
    std::fprintf(stderr, "does not hold: %s\n", what);
    std::exit(1);
}
#define REQUIRE(condition) require(static_cast<bool>(condition), #condition)

static std::uint64_t a_leader_is_cut_off() {
    sim::world w{{.seed = 7, .nodes = 5, .clock_drift = 200e-6}};
    w.check<sim::one_leader, sim::tokens_rise, sim::nothing_lost, sim::no_double_run>();
    w.register_schedules(50);
    REQUIRE(w.run_until(sim::converged, 30s));
    auto leader = w.leader();
    w.link(leader).drop_replies();  // requests still land
    w.clock(leader).rate(0.9998).jump_wall(-5s);
    w.run_for(12s);
    REQUIRE(!leader.believes_it_leads());
    w.redis().fail_over({.lose_last = 200ms});
    w.heal();
    REQUIRE(w.run_until(sim::converged, 45s));
    return w.trace_hash();
}

int main() {
    std::printf("failover %016llx\n", static_cast<unsigned long long>(a_leader_is_cut_off()));
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        auto const drawn = sim::draw_scenario(seed, {.faults_for = 1min, .kinds = sim::every_kind});
        auto const hash = sim::run_scenario(drawn, false, {.name = "no checks", .prepare = nullptr});
        std::printf("seed %llu %016llx\n", static_cast<unsigned long long>(seed),
                    static_cast<unsigned long long>(hash));
    }
}
