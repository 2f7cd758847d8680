// Every history of a small scope: up to k faults, each of every kind asked for, of every node, short or long, at every
// point of the run where it could make a difference. Where a sweep samples, this covers; it says how many histories.
//
//   auto const all = sim::explore({.faults = 1});
//   CHECK_FALSE(all.failure);
//   fmt::print("{} histories, {} points", all.histories, all.points);
//
// Points: a fault at some moment acts before all else at that moment, so what matters is between which two events it
// comes. All moments at which a node or the server did something, in the run with the faults before it, are tried; a
// fault that comes after another one may come at the same moment.
//
// What is held fixed: delays, drifts and jitter are those of one seed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "choices.hpp"
#include "sweep.hpp"

namespace rota::sim {

struct exhaustive_settings {
    std::uint32_t nodes = 2;
    std::uint32_t schedules = 1;
    std::uint32_t faults = 1;  ///< at most so many in a history
    fault_set kinds = bit(fault_kind::crash) | bit(fault_kind::replace) | bit(fault_kind::pause) |
                      bit(fault_kind::leave) | bit(fault_kind::renounce) | bit(fault_kind::stall) |
                      bit(fault_kind::cut_requests) | bit(fault_kind::cut_replies) | bit(fault_kind::reset) |
                      bit(fault_kind::lose_reply) | bit(fault_kind::late_request) | bit(fault_kind::transfer) |
                      bit(fault_kind::stall_server) | bit(fault_kind::restart_server);
    /// Where the first fault may come; later ones follow it within `window` too.
    moment from{};
    microseconds window = std::chrono::seconds{5};
    /// A fault that lasts is tried with each.
    std::vector<microseconds> lasting{std::chrono::milliseconds{400}, std::chrono::milliseconds{4500}};
    work_settings work{};
    std::uint64_t seed = 1;
    std::uint64_t most_histories = 10'000'000;  ///< then it ends, and says that it is not complete
    sim::setup setup{};
};

struct exploration {
    std::uint64_t histories = 0;  ///< that were run to their end
    std::uint64_t points = 0;     ///< in the run without faults
    std::uint64_t faults = 0;     ///< that may come at each: kinds, nodes and durations
    bool complete = false;        ///< all there are
    std::optional<sim::failure> failure{};
};

namespace exhaustive {

/// The moments at which something happened.
class points final : public audience {
public:
    explicit points(world& w) : world_{w} { w.watch(*this); }
    void performed(step const&) override { add(); }
    void acted(process const&) override { add(); }
    void process_began(process const&) override { add(); }
    [[nodiscard]] std::vector<moment> within(moment from, moment to) const {
        std::vector<moment> some;
        for (auto at : seen_) {
            if (at >= from && at <= to) some.push_back(at);
        }
        return some;
    }

private:
    void add() {
        if (seen_.empty() || seen_.back() != world_.now()) seen_.push_back(world_.now());
    }
    world& world_;
    std::vector<moment> seen_;
};

// Which faults may come at a point; `at` is filled in later.
[[nodiscard]] inline std::vector<fault> alternatives(exhaustive_settings const& s) {
    std::vector<fault> all;
    for (std::size_t k = 0; k < fault_kinds; ++k) {
        if ((s.kinds >> k & 1) == 0) continue;
        fault f{.kind = static_cast<fault_kind>(k)};
        switch (f.kind) {
            case fault_kind::clock_rate: f.amount = 200'000; break;
            case fault_kind::wall_jump: f.amount = -5'000'000; break;
            case fault_kind::delay: f.amount = 500'000; break;
            case fault_kind::late_request: f.amount = 1'500'000; break;
            case fault_kind::slow_server: f.amount = 20'000; break;
            case fault_kind::server_clock: f.amount = -5'000'000; break;
            case fault_kind::fail_over: f.amount = 300'000; break;
            default: break;
        }
        for (std::uint32_t node = 0; node < (concerns_node(f.kind) ? s.nodes : 1); ++node) {
            f.node = node;
            f.lasting = {};
            if (!lasts(f.kind)) {
                all.push_back(f);
                continue;
            }
            for (auto lasting : s.lasting) {
                f.lasting = lasting;
                all.push_back(f);
            }
        }
    }
    return all;
}

}  // namespace exhaustive

template <typename World = world>
[[nodiscard]] exploration explore(exhaustive_settings const& s) {
    exploration result;
    auto const possible = exhaustive::alternatives(s);
    result.faults = possible.size();

    scenario base;
    base.world.seed = s.seed;
    base.world.nodes = s.nodes;
    base.world.work = s.work;
    base.schedules = s.schedules;

    // Runs a plan: what breaks in it, and where the next fault may come.
    struct seen {
        fault_plan plan;
        std::vector<moment> points;
    };
    auto run = [&](fault_plan plan) {
        auto d = base;
        auto const first = plan.empty() ? s.from : plan.back().at;
        d.world.faults = plan;
        d.length = (first + s.window).time_since_epoch();
        std::optional<exhaustive::points> points;
        setup with{s.setup.name, [&](world& w) {
                       if (s.setup.prepare) s.setup.prepare(w);
                       points.emplace(w);
                   }};
        if (auto const f = failure_of<World>(d, false, with); f && !result.failure) {
            result.failure = find_failure<World>(d, s.setup);
        }
        ++result.histories;
        return seen{std::move(plan), points->within(first, first + s.window)};
    };

    // With each history the choices say, for each fault in turn: where (0: there is none, and no further one), and which.
    // The runs with fewer faults, which say what points there are, are histories themselves; each is run once, as the
    // enumeration comes by it first.
    std::vector<seen> path{run({})};
    result.points = path.front().points.size();
    every_history all;
    do {
        choices pick{all};
        std::size_t depth = 0;
        while (depth < s.faults && !possible.empty() && !result.failure) {
            auto const& points = path[depth].points;
            auto const where = pick.choose(points.size() + 1);
            if (where == 0) break;
            auto const which = pick.choose(possible.size());
            auto plan = path[depth].plan;
            plan.push_back(possible[which]);
            plan.back().at = points[where - 1];
            ++depth;
            if (depth < path.size() && path[depth].plan == plan) continue;
            path.resize(depth);
            path.push_back(run(std::move(plan)));
        }
        if (result.failure || result.histories >= s.most_histories) return result;
    } while (all.next());
    result.complete = true;
    return result;
}

}  // namespace rota::sim
