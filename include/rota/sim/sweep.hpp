// One seed, one run: draws a group, its options and a fault plan from the seed, lets it all happen, then ends the faults
// and demands that the group comes to rest in time. Also what shrinks a plan that fails.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "converged.hpp"
#include "invariants/events.hpp"
#include "invariants/leadership.hpp"
#include "invariants/locks.hpp"
#include "invariants/ownership.hpp"
#include "invariants/traffic.hpp"
#include "world.hpp"

namespace rota::sim {

/// What a sweep varies, and how far it goes.
struct sweep_settings {
    std::uint32_t most_nodes = 5;
    std::uint32_t most_schedules = 30;
    microseconds faults_for = std::chrono::minutes{5};
    std::uint32_t kinds = promised_kinds;
    bool swarm = true;  ///< each seed has some of the kinds only
    std::uint32_t most_faults = 60;
    bool runs = true;  ///< simulated work, in half of the seeds
};

/// A run, drawn or given: everything that it takes to see it again.
struct scenario {
    world_settings world;
    std::uint32_t schedules = 0;
    microseconds length{};
};

[[nodiscard]] inline scenario draw_scenario(std::uint64_t seed, sweep_settings const& s) {
    choices c{mixed(seed ^ 0x5ce9a210u)};
    scenario d;
    d.world.seed = seed;
    d.world.nodes = 1 + static_cast<std::uint32_t>(c.choose(s.most_nodes));
    d.schedules = static_cast<std::uint32_t>(c.choose(s.most_schedules + 1));
    d.length = s.faults_for;
    auto& o = d.world.options;
    o.clock_drift = c.one_in(4) ? 0.0001 : 0.01;
    d.world.clock_drift = o.clock_drift;
    if (c.one_in(3)) o.leader_lease = std::chrono::seconds{2};
    if (c.one_in(3)) o.node_ttl = std::chrono::seconds{2};
    if (c.one_in(3)) o.event_scope = event_scope::group;
    if (c.one_in(4)) o.handoff_deadline = std::chrono::seconds{1};
    if (c.one_in(4)) o.rebalance_threshold = 0;
    if (c.one_in(4)) d.world.network.most_delay = std::chrono::milliseconds{60};
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
        std::uint32_t some = 0;
        for (std::size_t k = 0; k < fault_kinds; ++k) {
            if (c.one_in(3)) some |= std::uint32_t{1} << k;
        }
        weather.kinds &= some;
    }
    d.world.faults = draw_faults(weather, c);
    return d;
}

/// What is demanded of every run.
inline void check_all(world& w) {
    w.check<one_leader, belief_ends_in_time, leadership_alternates, plans_under_current_term, one_owner,
            generation_rises, only_expired_orphaned, nothing_lost, restart_inherits_nothing, locks_exclusive,
            tokens_rise, strangers_change_nothing, no_double_run, effects_safe, own_events_fold_to_state,
            pictures_are_true, no_storm>();
}

/// Throws broken_invariant. `World`: world, or basic_world<...>.
template <typename World = world>
std::uint64_t run_scenario(scenario const& d, bool notes = false, std::string* last = nullptr) {
    World w{d.world};
    w.keep_notes(notes);
    check_all(w);
    (void)last;
    w.register_schedules(d.schedules);
    w.run_for(d.length);
    w.heal();
    auto const o = with_defaults(d.world.options);
    w.run_for(std::max(o.node_ttl, o.leader_lease));  // whoever could not renew before has lost it by now
    auto const limit = 3 * std::max(o.node_ttl, o.leader_lease) + 2 * d.world.work.most + d.world.work.lock_ttl +
                       std::chrono::seconds{10};
    if (auto r = w.run_until(converged, limit); !r) w.broken("comes_to_rest", r.missing);
    // And stays so.
    auto const leader = w.store().leader().term;
    w.run_for(std::chrono::seconds{10});
    if (w.store().leader().term != leader) w.broken("comes_to_rest", "the leader changed again");
    return w.trace_hash();
}

template <typename World = world>
[[nodiscard]] std::optional<broken_invariant> failure_of(scenario const& d, bool notes = false) {
    try {
        (void)run_scenario<World>(d, notes);
    } catch (broken_invariant const& e) {
        return e;
    }
    return std::nullopt;
}

/// Takes faults away while the same invariant still breaks: halves first, then one by one.
template <typename World = world>
[[nodiscard]] scenario shrunk(scenario d, std::string const& invariant) {
    auto still = [&](scenario const& s) {
        auto const f = failure_of<World>(s);
        return f && f->invariant == invariant;
    };
    for (std::size_t size = std::max<std::size_t>(d.world.faults.size() / 2, 1); size > 0; size /= 2) {
        for (std::size_t at = 0; at < d.world.faults.size();) {
            auto less = d;
            auto const end = std::min(at + size, less.world.faults.size());
            less.world.faults.erase(less.world.faults.begin() + static_cast<std::ptrdiff_t>(at),
                                    less.world.faults.begin() + static_cast<std::ptrdiff_t>(end));
            if (still(less)) {
                d = std::move(less);
            } else {
                at += size;
            }
        }
    }
    return d;
}

}  // namespace rota::sim
