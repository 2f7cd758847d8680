// How fast groups are simulated: node-seconds per second of CPU time, ticks only, with every invariant on, no faults;
// then with runs, and with runs and faults; beside what the empty event loop costs in the same run. And whether an event
// costs the same late in a run as early. Then a rolling restart of 100 nodes with 100,000 schedules: what changes hands,
// against the least that must, with and without a strategy that waits for who has left.
//
//   bench_sim [--rounds N] [--only-restart]       5 rounds if left out: medians
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include <rota/sim/sweep.hpp>
#include <rota/strategy/graced.hpp>

#include "../support/rolling_restart.hpp"
#include "figures.hpp"

namespace {

namespace sim = rota::sim;
using namespace std::chrono_literals;
using rota::test::quantile;

double cpu_seconds() {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

struct shape {
    std::uint32_t nodes = 0;
    std::uint32_t schedules = 0;
    rota::microseconds time{};
    bool runs = false;
    bool faults = false;
    [[nodiscard]] std::string words() const {
        auto text = fmt::format("{} nodes, {} schedules", nodes, schedules);
        if (runs) text += ", runs";
        if (faults) text += ", faults";
        return text;
    }
};

struct figures {
    double node_seconds_per_second = 0;
    double events_per_second = 0;
    double late_over_early = 1;  // cost of an event in the last tenth, to that in the second (the first settles down)
};

figures measure(shape const& s) {
    sim::sweep_settings const weather{.faults_for = s.time,
                                      .swarm = false,
                                      .most_faults = static_cast<std::uint32_t>(s.time / 10s),
                                      .nodes = s.nodes,
                                      .schedules = s.schedules};
    sim::world_settings settings{.seed = 1, .nodes = s.nodes, .work = sim::no_work};
    if (s.runs) settings.work = {.period = 1s, .most = 200ms};
    if (s.faults) settings.faults = sim::draw_scenario(1, weather).world.faults;
    sim::world w{settings};
    w.keep_notes(false);
    sim::check_all(w);
    w.register_schedules(s.schedules);
    if (auto const there = w.run_until(sim::converged, 60s); !there && !s.faults) {
        std::fprintf(stderr, "it did not converge: %s\n", there.missing.c_str());
    }
    auto const part = s.time / 10;
    std::vector<double> cost;  // of an event, in each tenth
    auto const events = w.events();
    auto const start = cpu_seconds();
    for (int i = 0; i < 10; ++i) {
        auto const events_before = w.events();
        auto const before = cpu_seconds();
        w.run_for(part);
        cost.push_back((cpu_seconds() - before) / static_cast<double>(w.events() - events_before));
    }
    auto const took = cpu_seconds() - start;
    return {static_cast<double>(s.time.count()) / 1e6 * s.nodes / took, static_cast<double>(w.events() - events) / took,
            cost.back() / cost[1]};
}

// Events that cause one other each, with as many of them waiting as a group of `nodes` has.
double empty_loop(std::uint32_t nodes) {
    sim::event_queue queue;
    sim::choices pick{1};
    for (std::uint32_t i = 0; i < nodes * 4; ++i)
        queue.add(sim::moment{pick.between(0us, 1s)}, sim::happening::lane_wakes, i);
    constexpr std::uint64_t events = 1'000'000;
    std::uint64_t sum = 0;
    auto const start = cpu_seconds();
    for (std::uint64_t n = 0; n < events; ++n) {
        auto const e = queue.take();
        sum = sim::mixed(sum ^ static_cast<std::uint64_t>(e.at.time_since_epoch().count()));
        queue.add(e.at + pick.between(100us, 1s), e.what, e.who);
    }
    auto const took = cpu_seconds() - start;
    if (sum == 0) std::puts("");  // or it might all be left out
    return static_cast<double>(events) / took;
}

template <typename Strategy>
double report_restart(char const* name, Strategy const& strategy) {
    rota_test::rolling_restart r{.nodes = 100, .schedules = 100'000};
    auto const start = cpu_seconds();
    r.run(strategy);
    std::printf("%-22s %9lu %9lu %9lu %9lu %9lu %7.3f %8.1f s%s\n", name, static_cast<unsigned long>(r.placed),
                static_cast<unsigned long>(r.given_back), static_cast<unsigned long>(r.moved),
                static_cast<unsigned long>(r.moves()), static_cast<unsigned long>(r.least_moves()), r.ratio(),
                cpu_seconds() - start, r.settled ? "" : "  IT DID NOT SETTLE");
    return r.settled ? r.ratio() : 1000;
}

void restart_all() {
    std::puts("rolling restart: 100 nodes, 100,000 schedules; each leaves, and is back after 5 s\n");
    std::printf("%-22s %9s %9s %9s %9s %9s %7s %10s\n", "", "placed", "returned", "moved", "all", "least", "ratio",
                "CPU time");
    auto const plain = report_restart("least_moves", rota::least_moves{});
    auto const graced = report_restart("graced<least_moves>", rota::graced<>{});
    std::puts("");
    rota::test::print_figure("moves of a rolling restart / least possible", plain, rota::test::wanted::at_most, 1.0);
    rota::test::print_figure("... graced", graced, rota::test::wanted::at_most, 1.0);
    std::puts("");
}

}  // namespace

int main(int argc, char** argv) {
    restart_all();
    if (rota::test::has_argument(argc, argv, "--only-restart")) return 0;
    auto const rounds = std::max(rota::test::argument(argc, argv, "--rounds", 5ul), 1ul);
    std::vector<shape> const shapes{
        {5, 50, 2000s},        {20, 1000, 200s},      {100, 5000, 100s},         {5, 50, 400s, true},
        {20, 1000, 20s, true}, {100, 5000, 5s, true}, {5, 50, 400s, true, true},
    };
    std::vector<std::vector<double>> rates(shapes.size()), events(shapes.size()), late(shapes.size());
    std::vector<double> empty;
    for (unsigned long round = 0; round < rounds; ++round) {
        empty.push_back(empty_loop(5));
        for (std::size_t i = 0; i < shapes.size(); ++i) {
            auto const f = measure(shapes[i]);
            rates[i].push_back(f.node_seconds_per_second);
            events[i].push_back(f.events_per_second);
            late[i].push_back(f.late_over_early);
        }
    }
    std::printf("medians of %lu rounds; all invariants on; CPU time of one thread\n\n", rounds);
    std::printf("%-36s %14s %14s %18s\n", "", "node-s per s", "events per s", "late/early event");
    std::printf("%-36s %14s %14.0f\n", "the empty event loop", "", quantile(empty));
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        std::printf("%-36s %14.0f %14.0f %18.2f\n", shapes[i].words().c_str(), quantile(rates[i]), quantile(events[i]),
                    quantile(late[i]));
    }
    std::puts("");
    rota::test::print_figure("node-seconds per second, 5 nodes, 50 schedules", quantile(rates[0]),
                             rota::test::wanted::at_least, 100'000);
}
