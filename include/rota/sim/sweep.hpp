// One seed, one run: draws a group, its options and a fault plan from the seed, lets it all happen, then ends the faults
// and demands that the group comes to rest in time. A run that breaks something is shrunk: to fewer faults, fewer nodes,
// less time, as long as the same invariant breaks.
//
//   for (std::uint64_t seed = 1; seed <= 2000; ++seed)
//       if (auto f = sim::find_failure(sim::draw_scenario(seed, {}))) std::puts(sim::describe(*f).c_str());  // replay.hpp
//
// A run depends on its scenario and setup alone; threads may run any number of them side by side.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "converged.hpp"
#include "invariants/all.hpp"
#include "world.hpp"

namespace rota::sim {

/// What a sweep varies, and how far it goes.
struct sweep_settings {
    std::uint32_t most_nodes = 5;
    std::uint32_t most_schedules = 30;
    microseconds faults_for = std::chrono::minutes{5};
    fault_set kinds = promised_kinds;
    bool swarm = true;  ///< each seed has some of the kinds only
    std::uint32_t most_faults = 60;
    bool runs = true;                      ///< simulated work, in half of the seeds
    std::optional<std::uint32_t> nodes{};  ///< so many, instead of drawing a number
    std::optional<std::uint32_t> schedules{};
};

/// A run, drawn or given: all values that it takes to see it again.
struct scenario {
    world_settings world;
    std::uint32_t schedules = 0;
    microseconds length{};
    /// What is chosen while it runs, from bytes of a fuzzer instead of the seed. Empty: from the seed.
    std::vector<std::uint8_t> bytes{};
};

/// The group, its options and its faults, out of any source of choices.
[[nodiscard]] inline scenario draw_scenario(std::uint64_t seed, sweep_settings const& s, choices c) {
    scenario d;
    d.world.seed = seed;
    d.world.nodes = 1 + static_cast<std::uint32_t>(c.choose(s.most_nodes));
    d.schedules = static_cast<std::uint32_t>(c.choose(s.most_schedules + 1));
    d.world.nodes = s.nodes.value_or(d.world.nodes);
    d.schedules = s.schedules.value_or(d.schedules);
    d.length = s.faults_for;
    auto& o = d.world.options;
    o.clock_drift = c.one_in(4) ? 0.0001 : 0.01;
    d.world.clock_drift = o.clock_drift;
    if (c.one_in(3)) o.leader_lease = std::chrono::seconds{2};
    if (c.one_in(3)) o.node_ttl = std::chrono::seconds{2};
    if (c.one_in(3)) o.event_scope = event_scope::group;
    if (c.one_in(4)) o.handoff_deadline = std::chrono::seconds{1};
    if (c.one_in(4)) o.rebalance_threshold = 0;
    // Damage is to be mended while the run lasts.
    if (c.one_in(2) || (s.kinds & bit(fault_kind::damage)) != 0) o.audit_interval = std::chrono::seconds{5};
    if (c.one_in(4)) d.world.network.most_delay = std::chrono::milliseconds{60};
    d.world.work = no_work;
    if (s.runs && c.one_in(2)) {
        auto& w = d.world.work;
        w.period = c.between(std::chrono::milliseconds{300}, std::chrono::seconds{5});
        w.most = c.between(std::chrono::milliseconds{20}, std::chrono::seconds{8});
        w.lock_ttl = c.between(std::chrono::seconds{1}, std::chrono::seconds{6});
        w.names = static_cast<std::uint32_t>(c.choose(3));
        w.heeds_stop = !c.one_in(4);
    }
    fault_weather weather{.kinds = s.kinds,
                          .from = moment{std::chrono::seconds{1}},
                          .to = moment{d.length},
                          .count = static_cast<std::uint32_t>(1 + c.choose(s.most_faults)),
                          .nodes = d.world.nodes,
                          .schedules = d.schedules,
                          .lease = std::chrono::seconds{3},
                          .clock_drift_ppb = static_cast<std::int64_t>(o.clock_drift * 1e9)};
    if (s.swarm) {
        fault_set some = 0;
        for (std::size_t k = 0; k < fault_kinds; ++k) {
            if (c.one_in(3)) some |= fault_set{1} << k;
        }
        weather.kinds &= some;
    }
    d.world.faults = draw_faults(weather, c);
    // The same as is asked for, or longer: then it is not taken, and in the way.
    if (c.one_in(2)) o.handoff_lock_ttl = d.world.work.lock_ttl * (c.one_in(4) ? 2 : 1);
    return d;
}
[[nodiscard]] inline scenario draw_scenario(std::uint64_t seed, sweep_settings const& s) {
    return draw_scenario(seed, s, choices{mixed(seed ^ 0x5ce9a210u)});
}

/// What a run has that is no value of its scenario: invariants, a strategy. A replay file says by what name.
struct setup {
    std::string name = "standard";
    std::function<void(world&)> prepare = check_all;
    /// What a run must come to: sim::settled with a strategy that does not balance.
    std::function<std::string(world const&)> comes_to = converged;
};

/// What runs have come to; add them up.
class tally final : public audience {
public:
    std::uint64_t runs = 0;
    std::uint64_t events = 0;     ///< of the simulation
    std::uint64_t requests = 0;   ///< that a server performed
    std::uint64_t processes = 0;  ///< that were started
    std::uint64_t work = 0;       ///< runs of handlers
    microseconds node_time{};     ///< nodes times simulated time
    std::array<std::uint64_t, fault_kinds> faults{};
    sometimes turns{};  ///< the rare ones

    void performed(step const&) override { ++requests; }
    void run_began(process const&, run const&) override { ++work; }
    void fault_began(fault const& f) override { ++faults[static_cast<std::size_t>(f.kind)]; }
    void process_began(process const&) override { ++processes; }
    void run_is_over(world const& w) {
        ++runs;
        events += w.events();
        node_time += w.now().time_since_epoch() * w.size();
        turns += w.seen();
    }
    tally& operator+=(tally const& other) {
        runs += other.runs;
        events += other.events;
        requests += other.requests;
        processes += other.processes;
        work += other.work;
        node_time += other.node_time;
        turns += other.turns;
        for (std::size_t k = 0; k < fault_kinds; ++k) faults[k] += other.faults[k];
        return *this;
    }
};

/// Lets it happen; its trace hash. Throws broken_invariant. `World`: world, or basic_world<...>.
template <typename World = world>
std::uint64_t run_scenario(scenario const& d, bool notes = false, setup const& with = {}, tally* seen = nullptr) {
    World w{d.world, d.bytes.empty() ? choices{mixed(d.world.seed)} : choices::from_bytes(d.bytes)};
    w.keep_notes(notes);
    if (with.prepare) with.prepare(w);
    if (seen) w.watch(*seen);
    struct at_end {
        world const& w;
        tally* seen;
        ~at_end() {
            if (seen) seen->run_is_over(w);
        }
    } const count{w, seen};

    w.register_schedules(d.schedules);
    w.run_for(d.length);
    w.heal();
    auto const o = with_defaults(d.world.options);
    w.run_for(2 * std::max(o.node_ttl, o.leader_lease) + std::chrono::seconds{1});
    w.heal();  // orders that were under way have landed by now
    auto const damage = std::any_of(d.world.faults.begin(), d.world.faults.end(),
                                    [](fault const& f) { return f.kind == fault_kind::damage; });
    auto const limit = 3 * std::max(o.node_ttl, o.leader_lease) + 2 * d.world.work.most + d.world.work.lock_ttl +
                       std::chrono::seconds{10} + w.habits().waits + w.habits().takes +
                       (damage ? o.audit_interval : microseconds{});
    if (auto r = w.run_until(with.comes_to, limit); !r) w.broken("comes_to_rest", r.missing);
    // And stays so.
    auto const leader = w.store().leader().term;
    w.run_for(std::chrono::seconds{10});
    if (w.store().leader().term != leader) w.broken("comes_to_rest", "the leader changed again");
    return w.trace_hash();
}

template <typename World = world>
[[nodiscard]] std::optional<broken_invariant> failure_of(scenario const& d, bool notes = false,
                                                         setup const& with = {}) {
    try {
        (void)run_scenario<World>(d, notes, with);
    } catch (broken_invariant const& e) {
        return e;
    }
    return std::nullopt;
}

/// The same with less, while the same invariant still breaks: faults go by halves first, then one by one; then time,
/// work, schedules and nodes that it can do without.
template <typename World = world>
[[nodiscard]] scenario shrunk(scenario d, std::string const& invariant, setup const& with = {}) {
    unsigned runs_left = 1000;
    auto keep_if_broken = [&](scenario less) {
        if (runs_left == 0) return false;
        --runs_left;
        auto const f = failure_of<World>(less, false, with);
        if (!f || f->invariant != invariant) return false;
        d = std::move(less);
        return true;
    };
    auto drop_faults = [&](std::size_t size) {
        bool dropped = false;
        for (std::size_t at = 0; at < d.world.faults.size();) {
            auto less = d;
            auto const first = less.world.faults.begin() + static_cast<std::ptrdiff_t>(at);
            auto const count = std::min(size, less.world.faults.size() - at);
            less.world.faults.erase(first, first + static_cast<std::ptrdiff_t>(count));
            if (keep_if_broken(std::move(less))) {
                dropped = true;
            } else {
                at += size;
            }
        }
        return dropped;
    };

    if (auto const f = failure_of<World>(d, false, with); f && f->at < moment{d.length}) {
        auto less = d;
        less.length = f->at.time_since_epoch() + microseconds{1};
        std::erase_if(less.world.faults, [&](fault const& each) { return each.at > f->at; });
        keep_if_broken(std::move(less));
    }
    for (auto size = std::max<std::size_t>(d.world.faults.size() / 2, 1); size > 1; size /= 2) drop_faults(size);
    while (drop_faults(1)) {}

    auto try_with = [&](auto change) {
        auto less = d;
        change(less);
        return keep_if_broken(std::move(less));
    };
    if (d.world.work.period > microseconds{}) try_with([](scenario& s) { s.world.work = no_work; });
    while (d.schedules > 0 && try_with([](scenario& s) { s.schedules /= 2; })) {}
    while (d.world.nodes > 1 && try_with([](scenario& s) {
               --s.world.nodes;
               std::erase_if(s.world.faults,
                             [&](fault const& f) { return concerns_node(f.kind) && f.node >= s.world.nodes; });
           })) {}
    while (drop_faults(1)) {}
    return d;
}

/// A run that breaks something: as short as it got, and what broke in it, with the last events.
struct failure {
    scenario run;
    broken_invariant broken;
    std::string setup;
};

/// Runs it; if something breaks, the shortest run that was found in which the same breaks.
template <typename World = world>
[[nodiscard]] std::optional<failure> find_failure(scenario const& d, setup const& with = {}, tally* seen = nullptr) {
    try {
        (void)run_scenario<World>(d, false, with, seen);
        return std::nullopt;
    } catch (broken_invariant const& e) {
        auto less = shrunk<World>(d, e.invariant, with);
        if (auto f = failure_of<World>(less, true, with)) return failure{std::move(less), *f, with.name};
        throw std::logic_error("rota::sim: a run broke " + e.invariant + " and, repeated, did not");
    }
}

}  // namespace rota::sim
