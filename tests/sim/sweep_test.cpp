// What a sweep draws, how it runs it, and what it says of it.
#include <rota/sim/sweep.hpp>

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "../catch.hpp"

namespace sim = rota::sim;
using namespace std::chrono_literals;

namespace {

sim::fault_set kinds_of(sim::fault_plan const& plan) {
    sim::fault_set kinds = 0;
    for (auto const& f : plan) kinds |= sim::bit(f.kind);
    return kinds;
}

}  // namespace

TEST_CASE("A seed always draws the same, another one something else, and never more than was asked for") {
    sim::sweep_settings const s{.most_nodes = 4, .most_schedules = 6, .faults_for = 2min, .most_faults = 30};
    std::set<std::string> plans;
    std::set<std::uint32_t> nodes, schedules;
    sim::fault_set all_kinds = 0;
    int with_runs = 0, in_swarm = 0;
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        auto const d = sim::draw_scenario(seed, s);
        auto const again = sim::draw_scenario(seed, s);
        CHECK(d.world.faults == again.world.faults);
        CHECK(d.world.nodes == again.world.nodes);
        CHECK(d.schedules == again.schedules);
        CHECK(d.world.seed == seed);
        REQUIRE(d.world.nodes >= 1);
        REQUIRE(d.world.nodes <= 4);
        REQUIRE(d.schedules <= 6);
        REQUIRE(d.world.faults.size() <= 30);
        CHECK(std::is_sorted(d.world.faults.begin(), d.world.faults.end(),
                             [](auto const& a, auto const& b) { return a.at < b.at; }));
        for (auto const& f : d.world.faults) {
            CHECK(sim::within_promises(f.kind));
            CHECK(sim::makes_sense(f));
            CHECK(f.node < d.world.nodes);
            CHECK(f.at <= sim::moment{2min});
            auto const read = sim::fault_from(sim::to_text(f));
            REQUIRE(read);
            CHECK(*read == f);
        }
        plans.insert(sim::to_text(d.world.faults));
        nodes.insert(d.world.nodes);
        schedules.insert(d.schedules);
        all_kinds |= kinds_of(d.world.faults);
        if (d.world.work.period > 0us) ++with_runs;
        if (kinds_of(d.world.faults) != sim::promised_kinds) ++in_swarm;
    }
    CHECK(plans.size() > 150);
    CHECK(nodes.size() == 4);
    CHECK(schedules.size() == 7);
    CHECK(all_kinds == sim::promised_kinds);
    CHECK(with_runs > 60);
    CHECK(with_runs < 140);
    CHECK(in_swarm == 200);

    auto const given = sim::draw_scenario(
        1, {.kinds = sim::bit(sim::fault_kind::lose_data), .swarm = false, .nodes = 7, .schedules = 0});
    CHECK(given.world.nodes == 7);
    CHECK(given.schedules == 0);
    CHECK(kinds_of(given.world.faults) == sim::bit(sim::fault_kind::lose_data));
}

TEST_CASE("A run is the same whenever and wherever it is repeated, noted or not") {
    auto const d = sim::draw_scenario(9, {.faults_for = 1min, .kinds = sim::every_kind, .swarm = false, .nodes = 4});
    auto const hash = sim::run_scenario(d);
    CHECK(sim::run_scenario(d, true) == hash);
    CHECK(sim::run_scenario(d, false, {.name = "no checks", .prepare = nullptr}) == hash);
    std::vector<std::uint64_t> in_threads(4);
    {
        std::vector<std::jthread> threads;
        for (auto& each : in_threads) threads.emplace_back([&] { each = sim::run_scenario(d); });
    }
    CHECK(in_threads == std::vector<std::uint64_t>(4, hash));

    auto other = d;
    other.world.seed = 10;
    CHECK(sim::run_scenario(other) != hash);
    other = d;
    other.world.faults.pop_back();
    CHECK(sim::run_scenario(other) != hash);

    INFO("with bytes in place of the seed's choices");
    other = d;
    other.bytes = {1, 2, 3, 4, 5, 6, 7, 8};
    auto const of_bytes = sim::run_scenario(other);
    CHECK(of_bytes != hash);
    other.world.seed = 77;
    CHECK(sim::run_scenario(other) == of_bytes);  // the seed has no say
}

TEST_CASE("A tally says what runs came to") {
    sim::sweep_settings const s{
        .faults_for = 1min, .kinds = sim::bit(sim::fault_kind::crash), .swarm = false, .nodes = 3, .schedules = 3};
    sim::tally one, all;
    auto const d = sim::draw_scenario(2, s);
    (void)sim::run_scenario(d, false, {}, &one);
    CHECK(one.runs == 1);
    CHECK(one.faults[static_cast<std::size_t>(sim::fault_kind::crash)] == d.world.faults.size());
    CHECK(one.processes > 3);
    CHECK(one.requests > 100);
    CHECK(one.events > one.requests);
    CHECK(one.node_time >= 3 * 70s);
    CHECK(one.node_time < 3 * 120s);
    all += one;
    all += one;
    CHECK(all.runs == 2);
    CHECK(all.events == 2 * one.events);
    CHECK(all.node_time == 2 * one.node_time);
}

TEST_CASE("A short sweep finds nothing") {
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        auto const found = sim::find_failure(sim::draw_scenario(seed, {.faults_for = 1min, .kinds = sim::every_kind}));
        if (found) FAIL(found->broken.what());
    }
}
