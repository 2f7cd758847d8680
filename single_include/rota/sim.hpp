// rota 0.1.0: the simulator, all in one file.
// Generated from include/rota/ by single_include/amalgamate.py; do not edit.
//
// SPDX-License-Identifier: MIT
//
// MIT License
//
// Copyright (c) 2026 The rota authors
//
// Permission is hereby granted, free of charge, to any person obtaining a copy
// of this software and associated documentation files (the "Software"), to deal
// in the Software without restriction, including without limitation the rights
// to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
// copies of the Software, and to permit persons to whom the Software is
// furnished to do so, subject to the following conditions:
//
// The above copyright notice and this permission notice shall be included in all
// copies or substantial portions of the Software.
//
// THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
// IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
// FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
// AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
// LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
// OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
// SOFTWARE.

#pragma once

// ---- rota/sim.hpp --------------------------------------------------------------------------------------------------
// The simulator: whole groups of nodes in one thread on virtual time, running the same algorithm as production, with
// every fault that a lease can meet, reproducible from one number. For tests; production programs do not include it, and
// it needs no hiredis.

#include "rota.hpp"

// ---- rota/check_strategy.hpp ---------------------------------------------------------------------------------------
// Whether a strategy keeps its contract: for the tests of whoever writes one.
//
//   auto const report = rota::check_strategy(my_strategy{});
//   REQUIRE(report.passed);       // report.text() says what is wrong, and in which group it was seen
//
// It is asked for plans of all small groups, and of many random ones: with capacities, weights, zones, labels and rules,
// drained nodes, schedules on their way, nodes that have gone or come back, half-read pictures, and nobody at all.
//
// Each plan must keep the rules of cluster_view.hpp: it names only what is there, each schedule once, from where it is;
// places before it moves, and moves first what has to be; keeps capacities at every step, so that every prefix is
// valid; leaves alone what may not move; counts right; says why an orphan has no place while there is room. The same view
// gives the same plan, whatever the object, the addresses and the recycled buffer. Carried out over and over, with
// nothing else happening, the plans end: the group comes to rest. And no call throws, or takes longer than the deadline.
//
// Not checked: how good a plan is. No test framework is needed. Not part of rota.hpp: it starts a thread.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/core.h>

// ---- rota/detail/strategy_check/group_model.hpp --------------------------------------------------------------------
// A group as check_strategy imagines it: what a cluster_view shows of it, what becomes of it when a plan is carried out,
// and what it looks like in words, for a fault to say where it was seen.

#include <cstddef>

namespace rota::detail {

struct group_model {
    struct node {
        std::string id{};
        std::uint32_t capacity = unlimited;
        node_attributes has{};  // zone and labels
        bool draining = false;
        bool reports = false;
        double reported = -1;  // what it reports if it does not report report_scale x its weight
    };
    struct schedule {
        std::string id{};
        fencing_token generation = 0;
        double weight = 1;
        std::uint32_t owner = cluster_view::none;
        std::uint32_t kind = 0;
        std::uint32_t departed = cluster_view::none;
        bool moving = false;
        bool registered = true;  // false: a void entry of the view
    };
    struct departure {
        std::string id{};
        bool left = false;
        microseconds ago{};
    };

    std::vector<node> nodes{};
    std::vector<schedule> schedules{};
    std::vector<placement_rules> kinds{};  // labels sorted; the first one has no rules
    std::vector<departure> departures{};
    fencing_token now = 0;
    fencing_token settled_before = std::numeric_limits<fencing_token>::max();
    std::vector<fencing_token> recent_moves{};
    double report_scale = 1;
    bool backwards = false;  // lists what has no particular order from its end
    bool complete = true;

    void pass(microseconds time) {
        now += static_cast<fencing_token>(time.count());
        for (auto& one : departures) one.ago += time;
        constexpr fencing_token hour = 3'600'000'000;
        while (!recent_moves.empty() && recent_moves.front() + hour < now) recent_moves.erase(recent_moves.begin());
    }

    /// What is on its way gets there. Returns whether anything was.
    bool arrive() {
        bool any = false;
        for (auto& one : schedules) any = std::exchange(one.moving, false) || any;
        return any;
    }

    /// Carries out a plan that is sound. What moves is on its way until arrive().
    void apply(plan const& p) {
        for (auto const& step : p.moves) {
            auto& one = schedules[step.schedule];
            one.owner = step.to;
            one.departed = cluster_view::none;
            one.generation = now;
            if (step.forced()) continue;
            one.moving = true;
            recent_moves.push_back(now);
        }
    }

    [[nodiscard]] std::string in_words() const {
        std::string text = fmt::format("{} nodes:", nodes.size());
        for (std::uint32_t i = 0; i < nodes.size(); ++i) {
            auto const& n = nodes[i];
            text += fmt::format(" {}", n.id);
            text += n.capacity == unlimited ? std::string{} : fmt::format("/{}", n.capacity);
            if (n.draining) text += " draining";
            if (!n.has.zone.empty()) text += fmt::format(" zone {}", n.has.zone);
            for (auto const& label : n.has.labels) text += fmt::format(" +{}", label);
            text += " [" + names_of(i) + "]";
        }
        text += "; orphans: [" + names_of(cluster_view::none) + "]";
        return text + (complete ? "" : "; incomplete");
    }

private:
    [[nodiscard]] std::string names_of(std::uint32_t owner) const {
        constexpr std::size_t most = 12;
        std::string text;
        std::size_t count = 0;
        for (auto const& one : schedules) {
            if (!one.registered || one.owner != owner) continue;
            if (++count > most) continue;
            text += fmt::format("{}{}", text.empty() ? "" : " ", one.id);
            if (one.weight != 1) text += fmt::format(":{}", one.weight);
            if (one.moving) text += " (moving)";
        }
        return count > most ? text + fmt::format(" and {} more", count - most) : text;
    }
};

/// What a strategy is shown of a model; made anew, so at other addresses, each time.
class model_view {
public:
    explicit model_view(group_model const& m) : rules_{m.kinds}, recent_{m.recent_moves}, held_(m.nodes.size()) {
        texts_.reserve(m.schedules.size());
        for (std::uint32_t s = 0; s < m.schedules.size(); ++s) {
            auto const& one = m.schedules[s];
            texts_.push_back(one.id);
            schedules_.push_back(
                {texts_.back(), one.generation, one.weight, one.owner, one.kind, one.departed, one.moving});
            if (one.registered) (one.owner == cluster_view::none ? orphans_ : held_[one.owner]).push_back(s);
        }
        nodes_from_.reserve(m.nodes.size());
        for (std::uint32_t i = 0; i < m.nodes.size(); ++i) {
            auto const& from = nodes_from_.emplace_back(m.nodes[i]);
            if (m.backwards) turn_round(held_[i]);
            cluster_view::node n{.id = from.id, .incarnation = i + 1};
            n.load = static_cast<std::uint32_t>(held_[i].size());
            n.capacity = from.draining ? 0 : from.capacity;
            for (auto const s : held_[i]) n.weight += schedules_[s].weight;
            n.reported = from.reports ? m.report_scale * n.weight : from.reported;
            n.zone = from.has.zone;
            n.labels = from.has.labels;
            n.draining = from.draining;
            if (m.complete) {
                n.schedules = held_[i];
            } else {
                n.weight = 0;
            }
            nodes_.push_back(n);
        }
        if (m.backwards) turn_round(orphans_);
        for (auto const& k : rules_) kinds_.push_back({k.pin, k.group, k.required, k.forbidden});
        departed_.reserve(m.departures.size());
        for (auto const& d : m.departures) {
            departures_.push_back({departed_.emplace_back(d.id), 1'000'000 + departures_.size(), d.left, d.ago});
        }
        view_ = {nodes_, schedules_, orphans_, kinds_, departures_, m.now, m.settled_before, recent_, m.complete};
    }
    model_view(model_view const&) = delete;
    model_view& operator=(model_view const&) = delete;

    [[nodiscard]] cluster_view const& view() const { return view_; }

private:
    static void turn_round(std::vector<std::uint32_t>& list) {
        for (std::size_t i = 0; i + i + 1 < list.size(); ++i) std::swap(list[i], list[list.size() - 1 - i]);
    }

    std::vector<std::string> texts_;
    std::vector<group_model::node> nodes_from_;
    std::vector<std::string> departed_;
    std::vector<placement_rules> rules_;
    std::vector<fencing_token> recent_;
    std::vector<std::vector<std::uint32_t>> held_;
    std::vector<std::uint32_t> orphans_;
    std::vector<cluster_view::node> nodes_;
    std::vector<cluster_view::schedule> schedules_;
    std::vector<cluster_view::kind> kinds_;
    std::vector<cluster_view::departure> departures_;
    cluster_view view_;
};

}  // namespace rota::detail

// ---- rota/detail/strategy_check/model_source.hpp -------------------------------------------------------------------
// The groups that check_strategy tries a strategy on: all small ones, up to the order of nodes, and random ones with
// everything that a view can have. The same seed gives the same groups everywhere.

#include <limits>

namespace rota::detail {

/// SplitMix64 (Steele, Lea, Flood 2014).
class model_random {
public:
    explicit model_random(std::uint64_t seed) : state_{seed} {}

    std::uint64_t next() {
        auto x = state_ += 0x9e3779b97f4a7c15U;
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
        x = (x ^ x >> 27) * 0x94d049bb133111ebU;
        return x ^ x >> 31;
    }
    std::uint32_t below(std::uint32_t end) { return end == 0 ? 0 : static_cast<std::uint32_t>(next() % end); }
    bool one_in(std::uint32_t n) { return below(n) == 0; }

private:
    std::uint64_t state_;
};

inline constexpr fencing_token model_noon = 1'700'000'000'000'000;  // some day of 2023, in µs

/// Short ids, ids of a few families, or ids that differ at their end alone: a strategy may read something out of them.
enum class id_style : std::uint8_t { flat, families, long_ones };

inline std::string schedule_id(id_style style, std::size_t n) {
    switch (style) {
        case id_style::families: return fmt::format("family-{}/{}", n % 3, n);
        case id_style::long_ones: return fmt::format("{:0>60}", n);
        default: return fmt::format("s{}", n);
    }
}

inline void add_schedules(group_model& m, std::uint32_t owner, std::uint32_t count, id_style style) {
    for (std::uint32_t k = 0; k < count; ++k) {
        auto& made = m.schedules.emplace_back();
        made.id = schedule_id(style, m.schedules.size() - 1);
        made.owner = owner;
    }
}

/// Calls visit(model) for every group of up to 3 nodes with up to 2 schedules and 2 orphans, of every capacity that
/// matters, once for all that differ in the order of nodes only (which then takes turns).
template <typename Visit>
void each_small_model(Visit const& visit) {
    constexpr std::uint32_t capacities[] = {0, 1, 2, unlimited};
    constexpr std::uint32_t shapes = 3 * 4;
    std::uint32_t turn = 0;
    auto const try_all = [&](std::vector<std::uint32_t> const& shape_of) {
        for (std::uint32_t orphans = 0; orphans <= 2; ++orphans) {
            group_model m;
            m.now = model_noon;
            ++turn;
            auto const style = static_cast<id_style>(turn % 3);
            for (std::size_t i = 0; i < shape_of.size(); ++i) {
                auto const shape = shape_of[(i + turn) % shape_of.size()];
                auto& n = m.nodes.emplace_back();
                n.id = fmt::format("n{}", i);
                n.capacity = capacities[shape % 4];
                n.draining = n.capacity == 0;
                add_schedules(m, static_cast<std::uint32_t>(i), shape / 4, style);
            }
            add_schedules(m, cluster_view::none, orphans, style);
            visit(m);
        }
    };
    try_all({});
    for (std::uint32_t a = 0; a < shapes; ++a) {
        try_all({a});
        for (std::uint32_t b = a; b < shapes; ++b) {
            try_all({a, b});
            for (std::uint32_t c = b; c < shapes; ++c) try_all({a, b, c});
        }
    }
}

class model_source {
public:
    model_source(std::uint64_t seed, std::uint32_t most_nodes, std::uint32_t most_schedules)
        : random_{seed},
          most_nodes_{most_nodes},
          most_schedules_{most_schedules} {}

    [[nodiscard]] group_model draw() {
        group_model m;
        m.now = model_noon;
        m.backwards = random_.one_in(2);
        m.report_scale = 1 + random_.below(50) / 10.0;
        auto const nodes = 1 + random_.below(most_nodes_);
        auto const per_node = most_schedules_ / nodes;
        style_ = static_cast<id_style>(drawn_++ % 3);
        add_nodes(m, nodes, per_node);
        add_schedules(m, cluster_view::none, random_.one_in(2) ? random_.below(per_node * nodes + 1) : 0, style_);
        if (random_.one_in(2)) weigh(m);
        if (random_.one_in(3)) add_rules(m);
        if (random_.one_in(3)) add_departures(m);
        if (random_.one_in(3)) set_moving(m);
        if (random_.one_in(4)) settle(m);
        if (random_.one_in(4)) leave_gaps(m);
        if (random_.one_in(4)) report(m);
        m.complete = !random_.one_in(8);
        return m;
    }

private:
    void add_nodes(group_model& m, std::uint32_t count, std::uint32_t per_node) {
        auto const limits = random_.below(4);  // none, wide, tight, any
        bool const zones = random_.one_in(3);
        bool const labels = random_.one_in(2);
        bool const reports = random_.one_in(3);
        for (std::uint32_t i = 0; i < count; ++i) {
            auto const load = random_.one_in(4) ? 0 : random_.below(per_node + 1);
            auto& n = m.nodes.emplace_back();
            n.id = fmt::format("n{}", i);
            if (limits == 1) n.capacity = load + random_.below(2 * per_node + 1);
            if (limits == 2) n.capacity = load + random_.below(2);
            if (limits == 3 && !random_.one_in(3)) n.capacity = random_.below(2 * per_node + 1);
            n.draining = random_.one_in(8);
            if (zones && !random_.one_in(5)) n.has.zone = fmt::format("z{}", random_.below(3));
            if (labels && random_.one_in(2)) n.has.labels.push_back("disk");
            if (labels && random_.one_in(2)) n.has.labels.push_back("gpu");
            n.reports = reports && !random_.one_in(4);
            add_schedules(m, i, load, style_);
        }
    }

    void weigh(group_model& m) {
        bool const whole = random_.one_in(2);
        for (auto& one : m.schedules) {
            one.weight = whole ? 1 + random_.below(9) : (1 + random_.below(1000)) / 64.0;
            if (random_.one_in(50)) one.weight = random_.one_in(2) ? 1e9 : 1e-9;
        }
    }

    void add_rules(group_model& m) {
        m.kinds.resize(1);
        auto const count = 1 + random_.below(4);
        for (std::uint32_t k = 0; k < count; ++k) {
            auto& rules = m.kinds.emplace_back();
            auto const what = random_.below(6);
            if (what == 0) rules.pin = fmt::format("n{}", random_.below(most_nodes_ + 1));  // perhaps not there
            if (what == 1 || what == 2) rules.group = fmt::format("g{}", k);
            if (what == 2 || what == 3) rules.required.push_back("disk");
            if (what == 4) rules.forbidden.push_back("gpu");
            if (what == 5) rules.required = rules.forbidden = {"gpu"};  // nowhere
        }
        for (auto& one : m.schedules) {
            if (random_.one_in(3)) one.kind = random_.below(count + 1);
        }
    }

    void add_departures(group_model& m) {
        auto const count = 1 + random_.below(3);
        for (std::uint32_t d = 0; d < count; ++d) {
            auto& one = m.departures.emplace_back();
            bool const back = random_.one_in(2);
            one.id =
                back ? m.nodes[random_.below(static_cast<std::uint32_t>(m.nodes.size()))].id : fmt::format("gone{}", d);
            one.left = random_.one_in(2);
            one.ago = std::chrono::seconds{random_.below(100)};
        }
        for (auto& one : m.schedules) {
            if (one.owner == cluster_view::none && !random_.one_in(4)) one.departed = random_.below(count);
        }
    }

    void set_moving(group_model& m) {
        for (auto& one : m.schedules) {
            one.moving = one.owner != cluster_view::none && random_.one_in(4);
            if (one.moving) m.recent_moves.push_back(m.now - 1'000'000);
        }
    }

    void settle(group_model& m) {
        m.settled_before = m.now - 60'000'000;
        for (auto& one : m.schedules) one.generation = m.now - random_.below(120'000'000);
    }

    void leave_gaps(group_model& m) {
        for (auto& one : m.schedules) {
            if (!random_.one_in(5)) continue;
            one.registered = false;
            one.owner = cluster_view::none;
            one.moving = false;
        }
    }

    void report(group_model& m) {
        double const odd[] = {
            0, 1e-9, 1e300, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN(), -3};
        for (auto& n : m.nodes) {
            n.reports = false;
            n.reported = random_.one_in(6) ? odd[random_.below(6)] : random_.below(1000) / 10.0;
        }
    }

    model_random random_;
    std::uint32_t most_nodes_;
    std::uint32_t most_schedules_;
    std::uint32_t drawn_ = 0;
    id_style style_{};
};

}  // namespace rota::detail

// ---- rota/detail/strategy_check/plan_faults.hpp --------------------------------------------------------------------
// What breaks the contract of a strategy in one plan for one view, in words.

namespace rota::detail {

struct plan_fault {
    std::string what{};  ///< the rule that is broken; empty: none
    std::string which{};
    explicit operator bool() const noexcept { return !what.empty(); }
};

class plan_inspector {
public:
    plan_inspector(cluster_view const& view, plan const& p, bool places_all)
        : view_{view},
          plan_{p},
          places_all_{places_all},
          state_(view.schedules.size(), absent) {}

    [[nodiscard]] plan_fault first_fault() {
        for (auto const s : view_.orphans) state_[s] = orphan;
        for (auto const& node : view_.nodes) {
            load_.push_back(node.load);
            for (auto const s : node.schedules) state_[s] = owned;
        }
        for (auto const check : {&plan_inspector::steps, &plan_inspector::counts, &plan_inspector::numbers,
                                 &plan_inspector::stuck, &plan_inspector::orphans_left}) {
            if (auto fault = (this->*check)()) return fault;
        }
        return {};
    }

private:
    enum what_it_is : std::uint8_t { absent, orphan, owned, touched, without_room };

    plan_fault steps() {
        bool evening_out = false;
        for (auto const& step : plan_.moves) {
            // Of a picture that is half read only placements are carried out.
            if (!step.forced() && !view_.complete) break;
            if (auto fault = names(step)) return fault;
            auto const& schedule = view_.schedules[step.schedule];
            auto const& target = view_.nodes[step.to];
            auto const which = fmt::format("{} to {}", schedule.id, target.id);
            if (state_[step.schedule] == touched) return {"assigns a schedule twice", which};
            if (state_[step.schedule] == absent) return {"names a schedule that is not there (a void entry)", which};
            if (step.from != schedule.owner) return {"takes a schedule from where it is not", which};
            if (step.to == step.from) return {"moves a schedule to where it is", which};
            if (step.forced()) {
                if (moved_) return {"places an orphan after a move", which};
            } else {
                if (schedule.moving) return {"moves a schedule that is on its way already", which};
                if (!view_.may_move(step.schedule)) return {"moves a schedule that is to stay (settled_before)", which};
                if (step.required() && evening_out)
                    return {"has a move that has to be after one that evens out", which};
                if (!step.required() && step.why != change_reason::rebalanced)
                    return {"gives a reason that is none for a move", which};
                evening_out = !step.required();
                if (!moved_) placed_load_ = load_;
                moved_ = true;
            }
            if (load_[step.to] >= target.capacity)
                return {"gives a node more than its capacity", fmt::format("{}, capacity {}", which, target.capacity)};
            ++load_[step.to];
            if (!step.forced()) --load_[step.from];
            state_[step.schedule] = touched;
        }
        if (!moved_) placed_load_ = load_;
        return {};
    }

    [[nodiscard]] plan_fault names(move const& step) const {
        if (step.schedule >= view_.schedules.size())
            return {"names a schedule that is not there",
                    fmt::format("{} of {}", step.schedule, view_.schedules.size())};
        if (step.to >= view_.nodes.size())
            return {"names a node that is not there", fmt::format("{} of {}", step.to, view_.nodes.size())};
        return {};
    }

    plan_fault counts() {
        std::size_t forced = 0;
        for (auto const& step : plan_.moves) forced += step.forced() ? 1 : 0;
        if (plan_.forced != forced)
            return {"miscounts its placements", fmt::format("forced is {}, not {}", plan_.forced, forced)};
        if (plan_.voluntary != plan_.moves.size() - forced)
            return {"miscounts its moves",
                    fmt::format("voluntary is {}, not {}", plan_.voluntary, plan_.moves.size() - forced)};
        if (plan_.unplaced != view_.orphans.size() - forced)
            return {"miscounts the orphans that it leaves",
                    fmt::format("unplaced is {}, not {}", plan_.unplaced, view_.orphans.size() - forced)};
        return {};
    }

    plan_fault numbers() {
        auto const finite = [](double x) { return x - x == 0; };
        if (!finite(plan_.spread_before) || !finite(plan_.spread_after) || !finite(plan_.imbalance))
            return {"states what is no finite number", "spread_before, spread_after or imbalance"};
        if (plan_.spread_before < 0 || plan_.spread_after < 0) return {"states a spread below 0", ""};
        if (plan_.revisit <= microseconds{0})
            return {"asks to be asked again at once, for ever", fmt::format("revisit is {} us", plan_.revisit.count())};
        return {};
    }

    plan_fault stuck() {
        for (auto const& one : plan_.stuck) {
            if (one.schedule >= view_.schedules.size() || state_[one.schedule] == absent)
                return {"says of a schedule that is not there that it has no place", fmt::format("{}", one.schedule)};
            auto const which = std::string{view_.schedules[one.schedule].id};
            if (view_.schedules[one.schedule].owner != cluster_view::none)
                return {"says of what has an owner that it has no place", which};
            if (state_[one.schedule] != orphan)
                return {"says of what it places that it has no place, or says so twice", which};
            state_[one.schedule] = one.why == no_place::no_room ? without_room : touched;
        }
        return {};
    }

    // An orphan of which nothing is said has no place because every node is full. Only those without rules: of others it
    // may be that just those nodes are full that would do.
    plan_fault orphans_left() {
        if (!places_all_) return {};
        for (auto const s : view_.orphans) {
            bool const left = state_[s] == orphan || state_[s] == without_room;
            if (!left || view_.schedules[s].kind != 0) continue;
            for (std::size_t i = 0; i < view_.nodes.size(); ++i) {
                auto const& node = view_.nodes[i];
                if (placed_load_[i] >= node.capacity || load_[i] >= node.capacity) continue;
                return {"leaves an orphan although a node has room, and does not say why",
                        fmt::format("{}, {}", view_.schedules[s].id, node.id)};
            }
            break;  // nobody has room
        }
        return {};
    }

    cluster_view const& view_;
    plan const& plan_;
    bool places_all_;
    std::vector<what_it_is> state_;
    std::vector<std::uint32_t> load_;
    std::vector<std::uint32_t> placed_load_;  // after the placements
    bool moved_ = false;
};

/// Whether two plans say the same, certificate and all.
[[nodiscard]] inline bool same_plan(plan const& a, plan const& b) {
    return a.moves == b.moves && a.stuck == b.stuck && a.forced == b.forced && a.voluntary == b.voluntary &&
           a.bound == b.bound && a.unplaced == b.unplaced && a.spread_before == b.spread_before &&
           a.spread_after == b.spread_after && a.imbalance == b.imbalance && a.interchangeable == b.interchangeable &&
           a.revisit == b.revisit;
}

}  // namespace rota::detail

// ---- rota/detail/strategy_check/watched_run.hpp --------------------------------------------------------------------
// Runs a check on a thread of its own, so that a call that never ends is found out: the thread is then left behind, with
// all that it uses, and the check ends with what it has found. Where no thread can be started, calls are timed only
// once they have ended.

#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace rota::detail {

/// The time of the call that is under way, shared by who makes it and who watches.
class call_watch {
public:
    using clock = std::chrono::steady_clock;
    struct abandoned {};  ///< thrown in a thread that was left behind, should its call end after all

    explicit call_watch(clock::duration deadline) : deadline_{deadline} {}

    void begin() {
        std::lock_guard const lock{mutex_};
        in_call_ = true;
        began_ = clock::now();
    }
    /// Returns how long it took. What the call used may be changed from here on.
    clock::duration end() {
        std::lock_guard const lock{mutex_};
        if (left_behind_) throw abandoned{};
        in_call_ = false;
        return clock::now() - began_;
    }
    void finish() {
        std::lock_guard const lock{mutex_};
        finished_ = true;
        changed_.notify_all();
    }

    [[nodiscard]] clock::duration deadline() const { return deadline_; }

    /// Waits until the check has finished, true; or a call takes too long: then calls leave(), while what that call uses
    /// cannot change, and returns false.
    template <typename Leave>
    bool wait(Leave const& leave) {
        std::unique_lock lock{mutex_};
        for (;;) {
            if (finished_) return true;
            auto const now = clock::now();
            auto const until = (in_call_ ? began_ : now) + deadline_;
            if (now >= until) break;
            changed_.wait_until(lock, until);
        }
        left_behind_ = true;
        leave();
        return false;
    }

private:
    clock::duration deadline_;
    std::mutex mutex_;
    std::condition_variable changed_;
    clock::time_point began_{};
    bool in_call_ = false;
    bool finished_ = false;
    bool left_behind_ = false;
};

/// Calls check->run(), which uses check->watch for its calls; check->overdue() is called if one of them takes too long.
template <typename Check>
void run_watched(std::shared_ptr<Check> const& check) {
    auto const work = [check] {
        try {
            check->run();
        } catch (call_watch::abandoned const&) {
            return;
        }
        check->watch.finish();
    };
    std::thread worker;
    try {
        worker = std::thread{work};
    } catch (std::system_error const&) {
        return work();
    }
    if (check->watch.wait([&] { check->overdue(); })) {
        worker.join();
    } else {
        worker.detach();
    }
}

}  // namespace rota::detail

namespace rota {

struct check_strategy_options {
    std::uint64_t seed = 1;         ///< of the random groups: same seed, same groups
    std::uint32_t groups = 500;     ///< random ones, beyond all small ones; and one in a hundred 20 times as large
    std::uint32_t nodes = 12;       ///< most nodes of a random group
    std::uint32_t schedules = 100;  ///< about the most schedules of a random group
    std::uint32_t rounds = 2'000;   ///< within which a group must come to rest, and two more for each schedule
    bool places_all = true;         ///< false: it may leave orphans although there is room, without saying why
    std::chrono::milliseconds deadline{10'000};  ///< of a call
};

struct check_strategy_report {
    bool passed = false;
    /// Each rule that was broken, once: which, how, how often, and the first group in which it was.
    std::vector<std::string> faults{};
    std::uint64_t groups = 0;             ///< tried
    std::uint64_t plans = 0;              ///< asked for
    std::uint64_t moves = 0;              ///< in the plans that were carried out, placements included
    std::uint64_t most_rounds = 0;        ///< that a group took to come to rest
    std::chrono::microseconds slowest{};  ///< call

    [[nodiscard]] std::string text() const {
        auto text = fmt::format("{}: {} groups, {} plans, {} steps, at most {} rounds, slowest call {} us\n",
                                passed ? "passed" : "failed", groups, plans, moves, most_rounds, slowest.count());
        for (auto const& fault : faults) text += "  " + fault + "\n";
        return text;
    }
};

namespace detail {

/// Any strategy, so that the check is compiled once.
struct checked_strategy {
    virtual ~checked_strategy() = default;
    virtual void make_plan(cluster_view const& view, plan& into) const = 0;
    [[nodiscard]] virtual std::unique_ptr<checked_strategy> copy() const = 0;  ///< null: it cannot be copied
};

template <typename S>
struct checked_as final : checked_strategy {
    explicit checked_as(S&& given) : strategy{std::move(given)} {}
    explicit checked_as(S const& given) : strategy{given} {}

    void make_plan(cluster_view const& view, plan& into) const override {
        auto const& asked = unwrap(strategy);
        if constexpr (requires { asked.make_plan(view, into); }) {
            asked.make_plan(view, into);
        } else {
            into = asked.make_plan(view);
        }
    }
    [[nodiscard]] std::unique_ptr<checked_strategy> copy() const override {
        if constexpr (std::is_copy_constructible_v<S>) {
            return std::make_unique<checked_as>(strategy);
        } else {
            return nullptr;
        }
    }

    S strategy;
};

class strategy_check {
public:
    strategy_check(std::unique_ptr<checked_strategy> strategy, check_strategy_options const& o)
        : watch{o.deadline},
          strategy_{std::move(strategy)},
          options_{o} {}

    void run() {
        each_small_model([&](group_model const& small) { try_on(small); });
        model_source source{options_.seed, options_.nodes, options_.schedules};
        for (std::uint32_t i = 0; i < options_.groups; ++i) try_on(source.draw());
        model_source large{options_.seed, 20 * options_.nodes, 20 * options_.schedules};
        for (std::uint32_t i = 0; i < options_.groups / 100; ++i) try_on(large.draw());
    }

    /// The present call takes too long. (It does not go on while this is called.)
    void overdue() { note("does not end", fmt::format("after {} ms it still plans", options_.deadline.count())); }

    [[nodiscard]] check_strategy_report take_report() {
        for (auto const& fault : faults_) {
            report_.faults.push_back(
                fmt::format("{}{}{}; in a group of {}{}", fault.what, fault.which.empty() ? "" : ": ", fault.which,
                            fault.where, fault.times > 1 ? fmt::format(" ({} times in all)", fault.times) : ""));
        }
        report_.passed = faults_.empty();
        return report_;
    }

    call_watch watch;

private:
    struct seen_fault {
        std::string what;
        std::string which;
        std::string where;
        std::uint64_t times = 1;
    };

    void note(std::string what, std::string which) {
        for (auto& fault : faults_) {
            if (fault.what == what) return void(++fault.times);
        }
        faults_.push_back({std::move(what), std::move(which), group_.in_words()});
    }

    // Returns whether there is a plan.
    bool ask(checked_strategy const& strategy, cluster_view const& view, plan& into) {
        ++report_.plans;
        watch.begin();
        std::string thrown;
        try {
            strategy.make_plan(view, into);
        } catch (std::exception const& e) {
            thrown = fmt::format("\"{}\"", e.what());
        } catch (...) {
            thrown = "what is no std::exception";
        }
        auto const took = watch.end();
        auto const in_us = std::chrono::duration_cast<std::chrono::microseconds>(took);
        report_.slowest = std::max(report_.slowest, in_us);
        if (took > watch.deadline()) note("takes too long", fmt::format("{} us", in_us.count()));
        if (!thrown.empty()) note("throws", thrown);
        return thrown.empty();
    }

    bool sound(cluster_view const& view, plan const& p) {
        auto fault = plan_inspector{view, p, options_.places_all}.first_fault();
        if (!fault) return true;
        note(std::move(fault.what), std::move(fault.which));
        return false;
    }

    void try_on(group_model model) {
        ++report_.groups;
        group_ = std::move(model);
        plan first;
        {
            model_view const shown{group_};
            if (!ask(*strategy_, shown.view(), first) || !sound(shown.view(), first)) return;
            plan again;
            if (!ask(*strategy_, shown.view(), again)) return;
            if (!same_plan(first, again)) return note("gives another plan when asked again for the same view", "");
        }
        if (!same_elsewhere(first)) return;
        if (group_.complete) come_to_rest();
    }

    // Other addresses, a copy of the strategy, a buffer that holds another plan.
    bool same_elsewhere(plan const& first) {
        model_view const shown{group_};
        auto recycled = leftovers();
        if (!ask(*strategy_, shown.view(), recycled)) return false;
        if (!same_plan(first, recycled)) {
            note("gives another plan into a recycled one", "write over all that it holds, or clear() it first");
            return false;
        }
        if (auto const copy = strategy_->copy()) {
            plan by_copy;
            if (!ask(*copy, shown.view(), by_copy)) return false;
            if (!same_plan(first, by_copy)) {
                note("gives another plan when it is a copy", "a plan must follow from the view alone");
                return false;
            }
        }
        return true;
    }

    static plan leftovers() {
        plan p;
        p.moves = {{7, 8, 9, change_reason::drained}, {7, cluster_view::none, 1'000'000}};
        p.stuck = {{1'000'000, no_place::waits}};
        p.forced = p.voluntary = p.bound = p.unplaced = 77;
        p.spread_before = p.spread_after = p.imbalance = 77;
        p.interchangeable = true;
        p.revisit = microseconds{77};
        return p;
    }

    // From here on nothing happens but what the plans say; what reports its load reports its weight.
    void come_to_rest() {
        group_.settled_before = std::numeric_limits<fencing_token>::max();
        for (auto& node : group_.nodes) node.reported = -1;
        std::uint32_t idle = 0;
        auto const limit = options_.rounds + 2 * group_.schedules.size();  // a move at a time, and a wait after each
        for (std::size_t round = 0; round < limit; ++round) {
            switch (next_round()) {
                case outcome::fault: return;
                case outcome::changed:
                    idle = 0;
                    report_.most_rounds = std::max<std::uint64_t>(report_.most_rounds, round + 1);
                    break;
                case outcome::waits:
                    if (++idle <= most_idle_rounds) break;
                    return;  // whoever asks again and again, but never moves anything, is at rest
                case outcome::rests:
                    group_.pass(std::chrono::hours{2});
                    if (next_round() == outcome::changed)
                        note("moves again what was at rest", "two hours later, though nothing has happened");
                    return;
            }
        }
        note("never comes to rest", fmt::format("it still moves schedules after {} rounds", limit));
    }

    enum class outcome : std::uint8_t { fault, changed, waits, rests };

    outcome next_round() {
        plan next;
        {
            model_view const shown{group_};
            if (!ask(*strategy_, shown.view(), next) || !sound(shown.view(), next)) return outcome::fault;
        }
        report_.moves += next.moves.size();
        group_.apply(next);
        bool const arrived = group_.arrive();
        bool const waits = next.revisit != microseconds::max();
        bool const changed = arrived || !next.moves.empty();
        group_.pass(waits && !changed ? std::min<microseconds>(next.revisit, std::chrono::hours{24})
                                      : std::chrono::seconds{1});
        return changed ? outcome::changed : waits ? outcome::waits : outcome::rests;
    }

    static constexpr std::uint32_t most_idle_rounds = 100;

    std::unique_ptr<checked_strategy> strategy_;
    check_strategy_options options_;
    group_model group_;
    std::vector<seen_fault> faults_;
    check_strategy_report report_;
};

}  // namespace detail

/// Tries a strategy. Takes a few seconds at most, if it is quick; a call that does not end within the deadline ends the
/// check, its thread is left behind, so what the strategy refers to should then outlive the program's tests.
template <typename S>
[[nodiscard]] check_strategy_report check_strategy(S strategy, check_strategy_options const& options = {}) {
    constexpr bool is_strategy = strategy_policy<detail::unwrapped_t<S>>;
    static_assert(is_strategy,
                  "rota: what is to be checked is no strategy: it lacks `rota::plan "
                  "make_plan(rota::cluster_view const&) const`");
    if constexpr (is_strategy) {
        auto const check = std::make_shared<detail::strategy_check>(
            std::make_unique<detail::checked_as<S>>(std::move(strategy)), options);
        detail::run_watched(check);
        return check->take_report();
    } else {
        return {};  // refused above; nothing more is said
    }
}

}  // namespace rota

// ---- rota/sim/converged.hpp ----------------------------------------------------------------------------------------
// What a group comes to once nothing goes wrong any more, as predicates for run_until that say what is missing: converged
// with the default strategy, and every other that evens load out; settled with one that does not mean to.

#include <cmath>

// ---- rota/sim/world.hpp --------------------------------------------------------------------------------------------
// A whole group in one thread on virtual time: machines with clocks, processes that run the production algorithm, links,
// and the model of Redis. Time passes by run_for and run_until alone.
//
//   sim::world w{{.seed = 7, .nodes = 5, .clock_drift = 200e-6}};
//   w.check<sim::one_leader, sim::tokens_rise>();
//   w.register_schedules(50);
//   if (!w.run_until(sim::converged, 30s)) ...
//
// An invariant that breaks throws broken_invariant out of whatever moved time, with all that is needed to see it again.

#include <array>
#include <concepts>
#include <deque>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string_view>

// ---- rota/sim/clock.hpp --------------------------------------------------------------------------------------------
// A node's clock: true time seen through a rate and an offset of its own. The monotonic clock, which rota uses, never
// goes back; wall time may jump, and nothing may depend on it.

// ---- rota/sim/event_queue.hpp --------------------------------------------------------------------------------------
// What is to happen, ordered by true time, and among equals by when it was put in: so a run is the same wherever it is
// repeated. An entry is a few plain words, and costs the same however long the run has gone on.

namespace rota::sim {

/// A point of true time: what an omniscient watch shows. Every run starts at 0.
using moment = std::chrono::time_point<struct true_clock, microseconds>;

enum class happening : std::uint8_t {
    lane_wakes,       ///< of a node; detail: which sleep it ends
    request_arrives,  ///< at the server; detail: message
    server_goes_on,   ///< with requests that wait for it; detail: server
    reply_arrives,    ///< at a node; detail: message
    times_out,        ///< a node's request; detail: exchange
    connection_ends,  ///< a node reads end of file; detail: connection
    push_arrives,     ///< at a node; detail: connection
    work_is_due,      ///< of a node; detail: run
    round_begins,     ///< of a node: look for work
    process_starts,   ///< of a slot
    fault_begins,     ///< detail: entry of the plan
    fault_ends,
    node_goes_on,  ///< after a pause
    watch_looks,   ///< invariants that look at the whole
};

class event_queue {
public:
    struct entry {
        moment at{};
        std::uint64_t sequence = 0;
        std::uint64_t detail = 0;
        std::uint32_t who = 0;
        happening what{};
    };

    void add(moment at, happening what, std::uint32_t who = 0, std::uint64_t detail = 0) {
        heap_.push_back({at, ++sequence_, detail, who, what});
        rise(heap_.size() - 1);
    }

    [[nodiscard]] bool empty() const { return heap_.empty(); }
    [[nodiscard]] std::size_t size() const { return heap_.size(); }
    [[nodiscard]] moment next_at() const { return heap_.empty() ? moment::max() : heap_.front().at; }

    entry take() {
        auto const first = heap_.front();
        auto const last = heap_.back();
        heap_.pop_back();
        if (!heap_.empty()) sink(last);
        return first;
    }

private:
    static bool before(entry const& a, entry const& b) { return a.at != b.at ? a.at < b.at : a.sequence < b.sequence; }
    void rise(std::size_t i) {
        auto const moving = heap_[i];
        while (i > 0) {
            auto const parent = (i - 1) / 4;
            if (!before(moving, heap_[parent])) break;
            heap_[i] = heap_[parent];
            i = parent;
        }
        heap_[i] = moving;
    }
    // Four children per node: half the depth of a binary heap, and they share a cache line or two.
    void sink(entry const& moving) {
        std::size_t i = 0;
        for (;;) {
            auto const first = 4 * i + 1;
            if (first >= heap_.size()) break;
            auto least = first;
            for (auto c = first + 1; c < first + 4 && c < heap_.size(); ++c) {
                if (before(heap_[c], heap_[least])) least = c;
            }
            if (!before(heap_[least], moving)) break;
            heap_[i] = heap_[least];
            i = least;
        }
        heap_[i] = moving;
    }

    std::vector<entry> heap_;
    std::uint64_t sequence_ = 0;
};

}  // namespace rota::sim

namespace rota::sim {

class node_clock {
public:
    /// Rates are kept in parts per billion: integers, so that every machine agrees.
    static constexpr std::int64_t billion = 1'000'000'000;

    node_clock() = default;
    node_clock(moment now, instant shows, std::int64_t fast_by_ppb)
        : base_true_{now},
          base_node_{shows},
          fast_by_{fast_by_ppb} {}

    [[nodiscard]] instant at(moment now) const {
        auto const passed = (now - base_true_).count();
        auto const shown = base_node_ + microseconds{passed + scaled(passed, fast_by_)};
        return shows_wall_time ? shown + wall_offset : shown;
    }

    /// The first moment at which it shows `then` or more.
    [[nodiscard]] moment when(instant then) const {
        if (shows_wall_time) then -= wall_offset;
        auto const needed = (then - base_node_).count();
        if (needed <= 0) return base_true_;
        // One step of correction after the first guess is enough for rates near 1.
        auto guess = needed - scaled(needed, fast_by_);
        for (int i = 0; i < 3; ++i) guess += needed - (guess + scaled(guess, fast_by_));
        while (guess + scaled(guess, fast_by_) < needed) ++guess;
        while (guess > 0 && guess - 1 + scaled(guess - 1, fast_by_) >= needed) --guess;
        return base_true_ + microseconds{guess};
    }

    [[nodiscard]] std::int64_t fast_by() const { return fast_by_; }
    void run_fast_by(moment now, std::int64_t ppb) {
        base_node_ = shows_wall_time ? at(now) - wall_offset : at(now);
        base_true_ = now;
        fast_by_ = ppb;
    }

    /// Wall time less true time.
    microseconds wall_offset{};
    /// A defect: who asks for the monotonic clock is shown wall time.
    bool shows_wall_time = false;

private:
    static constexpr std::int64_t scaled(std::int64_t time, std::int64_t ppb) {
        return time / billion * ppb + time % billion * ppb / billion;
    }

    moment base_true_{};
    instant base_node_{};
    std::int64_t fast_by_ = 0;
};

}  // namespace rota::sim

// ---- rota/sim/handles.hpp ------------------------------------------------------------------------------------------
// What a test says to a world, in a few words: handles of a node, of its link, its clock and of Redis.
//
//   w.link(leader).drop_replies();
//   w.clock(leader).rate(0.9998).jump_wall(-5s);
//   w.node(2).crash();
//   w.redis().fail_over({.lose_last = 200ms});
//   w.heal();
//
// Each call is a fault that begins now (faults.hpp) and joins the world's plan, so that a failing run prints it. One that
// lasts does so until heal(), unless a time is given. A handle is two words, and names a place: the node that it is of
// may crash, and come back as another process.

// ---- rota/sim/faults.hpp -------------------------------------------------------------------------------------------
// A fault plan: what goes wrong in a run, and when, as a list drawn up before the run begins. So it can be printed, read
// back, edited and shrunk, and one entry taken away leaves the others where they were.
//
//   at 12.5s cut_replies node 2 for 3.25s
//   at 14s fail_over amount 200000 for 10s
//
// Kinds that break what rota assumes of its server (see within_promises) suspend the invariants that rest on it, until
// every belief of that time has run out; tokens must protect even then.

// ---- rota/sim/choices.hpp ------------------------------------------------------------------------------------------
// Where every decision of a simulation comes from: how long a message takes, which fault comes when, what a nonce is.
// One call, choose(n), over one of four sources:
//   a seed         splitmix64 (Steele, Lea, Flood 2014): the same numbers on every compiler and standard library
//   a list         what was chosen before, for replay; past its end: 0
//   bytes          of a fuzzer; past their end: 0
//   every_history  all sequences of choices there are, one after the other (for small scopes)
// A source of zeros is a dull run: whoever asks makes 0 the ordinary case.
//
// Whoever asks for 2^32 or more wants bits that differ (a nonce, what a clock shows), which is no decision: all sources
// but the seed then give what only depends on how often they were asked.
//
// Beware of `f(c.choose(2), c.choose(3))`: compilers order arguments as they like. Ask in separate statements.

#include <span>

namespace rota::sim {

/// One step of splitmix64; also a good way to make unrelated seeds out of related ones.
[[nodiscard]] constexpr std::uint64_t mixed(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/// Enumerates all histories of choices, depth first: run once per history, with choices{*this}, while next() says there
/// is another. The number of alternatives of a choice may depend on the choices before it.
class every_history {
public:
    /// Moves on to the next history; false when all have been seen.
    bool next() {
        ++seen_;
        while (!path_.empty() && path_.back().first + 1 == path_.back().second) path_.pop_back();
        at_ = 0;
        if (path_.empty()) return false;
        ++path_.back().first;
        return true;
    }
    /// Histories that were run to their end.
    [[nodiscard]] std::uint64_t seen() const { return seen_; }

    std::uint64_t choose(std::uint64_t n) {
        if (at_ == path_.size()) path_.emplace_back(0, n);
        return path_[at_++].first;
    }

private:
    std::vector<std::pair<std::uint64_t, std::uint64_t>> path_;  // chosen, of how many
    std::size_t at_ = 0;
    std::uint64_t seen_ = 0;
};

class choices {
public:
    explicit choices(std::uint64_t seed) : source_{source::seed}, state_{seed} {}
    [[nodiscard]] static choices replayed(std::vector<std::uint64_t> list) {
        choices c{0};
        c.source_ = source::list;
        c.list_ = std::move(list);
        return c;
    }
    [[nodiscard]] static choices from_bytes(std::span<std::uint8_t const> bytes) {
        choices c{0};
        c.source_ = source::bytes;
        c.bytes_ = bytes;
        return c;
    }
    /// `histories` must outlive it.
    explicit choices(every_history& histories) : source_{source::histories}, histories_{&histories} {}

    /// 0 .. n-1; 0 for n < 2, without asking the source.
    std::uint64_t choose(std::uint64_t n) {
        if (n < 2) return 0;
        ++asked_;
        if (n >= std::uint64_t{1} << 32 && source_ != source::seed) return mixed(asked_) % n;
        switch (source_) {
            case source::seed: return mixed(state_++) % n;
            case source::list: return position_ < list_.size() ? list_[position_++] % n : 0;
            case source::bytes: return from_next_bytes(n);
            case source::histories: return histories_->choose(n);
        }
        return 0;
    }

    /// True once in n times; never with a source of zeros.
    bool one_in(std::uint64_t n) { return n <= 1 || choose(n) == n - 1; }

    /// least .. most, inclusive, in steps of a microsecond.
    microseconds between(microseconds least, microseconds most) {
        if (most <= least) return least;
        auto const width = static_cast<std::uint64_t>((most - least).count()) + 1;
        return least + microseconds{static_cast<microseconds::rep>(choose(width))};
    }

    /// How many choices there have been.
    [[nodiscard]] std::uint64_t asked() const { return asked_; }

private:
    enum class source : std::uint8_t { seed, list, bytes, histories };

    std::uint64_t from_next_bytes(std::uint64_t n) {
        std::uint64_t value = 0;
        for (std::uint64_t range = 1; range < n && position_ < bytes_.size(); range <<= 8) {
            value = value << 8 | bytes_[position_++];
            if (range > (~std::uint64_t{0} >> 8)) break;
        }
        return value % n;
    }

    source source_;
    std::uint64_t state_ = 0;
    std::uint64_t asked_ = 0;
    std::size_t position_ = 0;
    std::vector<std::uint64_t> list_;
    std::span<std::uint8_t const> bytes_;
    every_history* histories_ = nullptr;
};

}  // namespace rota::sim

namespace rota::sim {

enum class fault_kind : std::uint8_t {
    crash,           ///< the process dies; a new one, that remembers nothing, starts after `lasting`
    replace,         ///< a new process starts under the node's id while the old one goes on
    pause,           ///< SIGSTOP for `lasting`: its clock goes on
    leave,           ///< leaves in order; a new process starts after `lasting`
    renounce,        ///< gives up leadership, if it leads
    clock_rate,      ///< its clock runs fast by `amount` parts per billion, from now on
    wall_jump,       ///< its wall time jumps by `amount` µs; nothing may come of it
    delay,           ///< each message takes up to `amount` µs longer, for `lasting`
    stall,           ///< nothing arrives for `lasting`, then all of it
    cut_requests,    ///< nothing reaches the server for `lasting`
    cut_replies,     ///< nothing comes from the server for `lasting`
    cut,             ///< neither
    refuse,          ///< connections are refused for `lasting`
    reset,           ///< the connection breaks
    lose_reply,      ///< the next request has its effect, then the connection breaks
    late_request,    ///< the next request lands `amount` µs late, on a connection that broke meanwhile
    claim,           ///< claims a schedule that nobody owns, or somebody (`amount`: which)
    transfer,        ///< asks to hand schedule `amount` to the next node
    register_one,    ///< registers a schedule (`amount`: which)
    unregister_one,  ///< unregisters one
    update_one,      ///< gives one another weight and rules for `lasting` (`amount`: which, and see becomes())
    attributes,      ///< says other things of itself for `lasting` (`amount`: see attributes_at())
    report_load,     ///< reports a load of `amount`
    drain,           ///< orders the node that is `amount` places further to be drained, for `lasting`
    maintenance,     ///< begins maintenance, for `lasting`
    slow_server,     ///< each request takes the server `amount` µs, for `lasting`
    stall_server,    ///< it stands still for `lasting`
    restart_server,  ///< it is down for `lasting`, and keeps its data
    server_error,    ///< it answers with error number `amount` of server_errors(), for `lasting`
    lose_data,       ///< it is down for `lasting`, and forgets everything
    server_clock,    ///< its clock steps by `amount` µs
    fail_over,  ///< to a replica that lacks the last `amount` µs of writes; the old one serves who it had, `lasting`
    damage,     ///< an edit by hand to the records of the group (`amount`: which schedule, and see damage_at())
};
inline constexpr std::size_t fault_kinds = static_cast<std::size_t>(fault_kind::damage) + 1;

[[nodiscard]] constexpr std::string_view name_of(fault_kind kind) {
    constexpr std::string_view names[fault_kinds] = {
        "crash",        "replace",        "pause",        "leave",          "renounce",     "clock_rate",
        "wall_jump",    "delay",          "stall",        "cut_requests",   "cut_replies",  "cut",
        "refuse",       "reset",          "lose_reply",   "late_request",   "claim",        "transfer",
        "register_one", "unregister_one", "update_one",   "attributes",     "report_load",  "drain",
        "maintenance",  "slow_server",    "stall_server", "restart_server", "server_error", "lose_data",
        "server_clock", "fail_over",      "damage"};
    auto const number = static_cast<std::size_t>(kind);
    return number < fault_kinds ? names[number] : std::string_view{"no_such_kind"};
}

[[nodiscard]] constexpr bool concerns_node(fault_kind kind) {
    return kind < fault_kind::slow_server || kind == fault_kind::damage;
}
/// What is wrong with a link, rather than with the node behind it.
[[nodiscard]] constexpr bool concerns_link(fault_kind kind) {
    return kind >= fault_kind::delay && kind <= fault_kind::refuse;
}
/// Whether `amount` is the number of a schedule: in a plan, counted round those that there are and one more.
[[nodiscard]] constexpr bool names_schedule(fault_kind kind) {
    return (kind >= fault_kind::claim && kind <= fault_kind::update_one) || kind == fault_kind::damage;
}
/// Of kinds that do one of several things to a schedule, `amount` is which one: so many times this, plus the schedule.
inline constexpr std::int64_t per_way = 10'000;
[[nodiscard]] constexpr bool has_ways(fault_kind kind) {
    return kind == fault_kind::update_one || kind == fault_kind::damage;
}
/// Whether `lasting` means something to it.
[[nodiscard]] constexpr bool lasts(fault_kind kind) {
    switch (kind) {
        case fault_kind::replace:
        case fault_kind::renounce:
        case fault_kind::clock_rate:
        case fault_kind::wall_jump:
        case fault_kind::reset:
        case fault_kind::lose_reply:
        case fault_kind::late_request:
        case fault_kind::claim:
        case fault_kind::transfer:
        case fault_kind::register_one:
        case fault_kind::unregister_one:
        case fault_kind::report_load:
        case fault_kind::server_clock:
        case fault_kind::damage: return false;
        default: return true;
    }
}
/// Whether all that rota promises must hold in spite of it.
[[nodiscard]] constexpr bool within_promises(fault_kind kind) { return kind < fault_kind::lose_data; }

/// How long a fault lasts that only healing ends: some 30 years.
inline constexpr microseconds forever = std::chrono::seconds{1'000'000'000};

struct fault {
    moment at{};
    fault_kind kind{};
    std::uint32_t node = 0;
    microseconds lasting{};
    std::int64_t amount = 0;

    friend bool operator==(fault const&, fault const&) = default;
};

using fault_plan = std::vector<fault>;

/// The number of the schedule that a fault is about, not counted round yet; and in which way.
[[nodiscard]] constexpr std::int64_t schedule_of(fault const& f) {
    return has_ways(f.kind) ? f.amount % per_way : f.amount;
}
[[nodiscard]] constexpr std::int64_t way_of(fault const& f) { return f.amount / per_way; }

/// What update_one makes of a schedule: two other weights, then rules: a pin to `neighbour`, or to no node at all, a label
/// that it must or must not find, a group.
inline constexpr std::int64_t ways_to_update = 8;
[[nodiscard]] inline schedule becomes(fault const& f, std::string id, std::string const& neighbour) {
    schedule s{.id = std::move(id)};
    switch (way_of(f) % ways_to_update) {
        case 0: s.weight = 3; break;
        case 1: s.weight = 0.5; break;
        case 2: s.rules.pin = neighbour; break;
        case 3: s.rules.pin = "nowhere"; break;
        case 4: s.rules.required = {"a"}; break;
        case 5: s.rules.forbidden = {"a"}; break;
        case 6: s.rules.group = "apart"; break;
        default: s = {.id = std::move(s.id), .weight = 2, .rules = {.required = {"b"}, .forbidden = {"a"}}};
    }
    return s;
}

/// What a node says of itself during an attributes fault: a capacity of 1 to 15, or the one of its `usual` ones; none of
/// two labels, one of them or both; its usual zone or another.
inline constexpr std::int64_t ways_to_describe = 16 * 4 * 2;
[[nodiscard]] inline node_attributes attributes_at(std::int64_t amount, node_attributes usual) {
    auto a = std::move(usual);
    if (amount % 16 != 0) a.capacity = static_cast<std::uint32_t>(amount % 16);
    a.labels.clear();
    if ((amount / 16 & 1) != 0) a.labels.emplace_back("a");
    if ((amount / 32 & 1) != 0) a.labels.emplace_back("b");
    if ((amount / 64 & 1) != 0) a.zone = "elsewhere";
    return a;
}

/// How many kinds of damage there are, see damage_at() (redis.hpp).
inline constexpr std::int64_t ways_to_damage = 6;
inline constexpr std::int64_t way_to_lose = 0;
inline constexpr std::int64_t way_to_unlist = 4;

/// What a server may answer instead of a reply (DESIGN.md §5), and what the transport makes of it.
struct server_error {
    char const* words;
    errc code;
    bool reconnects;
};
[[nodiscard]] inline std::vector<server_error> const& server_errors() {
    static std::vector<server_error> const all{
        {"LOADING Redis is loading the dataset in memory", errc::unavailable, false},
        {"READONLY You can't write against a read only replica.", errc::unavailable, true},
        {"NOREPLICAS Not enough good replicas to write.", errc::unavailable, true},
        {"OOM command not allowed when used memory > 'maxmemory'.", errc::refused_by_server, false},
        {"NOPERM this user has no permissions to run the 'evalsha' command", errc::refused_by_server, false},
    };
    return all;
}

// ---------------------------------------------------------------- as text

[[nodiscard]] inline std::string seconds_in_words(microseconds d) {
    auto const us = d.count();
    auto text =
        fmt::format("{}{}.{:06}", us < 0 ? "-" : "", (us < 0 ? -us : us) / 1'000'000, (us < 0 ? -us : us) % 1'000'000);
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
    return text + "s";
}
[[nodiscard]] inline std::string in_words(moment t) { return seconds_in_words(t.time_since_epoch()); }

[[nodiscard]] inline std::string to_text(fault const& f) {
    auto text = fmt::format("at {} {}", in_words(f.at), name_of(f.kind));
    if (concerns_node(f.kind)) text += fmt::format(" node {}", f.node);
    if (f.lasting >= forever) {
        text += " until healed";
    } else if (f.lasting != microseconds{}) {
        text += " for " + seconds_in_words(f.lasting);
    }
    if (f.amount != 0) text += fmt::format(" amount {}", f.amount);
    return text;
}
[[nodiscard]] inline std::string to_text(fault_plan const& plan) {
    std::string text;
    for (auto const& f : plan) text += to_text(f) + "\n";
    return text;
}

namespace plan_text {

class words {
public:
    explicit words(std::string_view line) : rest_{line} {}
    std::string_view next() {
        while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t' || rest_.front() == '\r')) {
            rest_.remove_prefix(1);
        }
        auto const word = rest_.substr(0, rest_.find_first_of(" \t\r"));
        rest_.remove_prefix(word.size());
        return word;
    }

private:
    std::string_view rest_;
};

[[nodiscard]] inline std::optional<std::int64_t> integer(std::string_view text) {
    bool const negative = !text.empty() && text.front() == '-';
    if (negative) text.remove_prefix(1);
    if (text.empty() || text.size() > 18) return std::nullopt;
    std::int64_t n = 0;
    for (char c : text) {
        if (c < '0' || c > '9') return std::nullopt;
        n = n * 10 + (c - '0');
    }
    return negative ? -n : n;
}

[[nodiscard]] inline std::optional<microseconds> seconds(std::string_view text) {
    if (text.empty() || text.back() != 's') return std::nullopt;
    text.remove_suffix(1);
    bool const negative = !text.empty() && text.front() == '-';
    if (negative) text.remove_prefix(1);
    auto const point = text.find('.');
    auto const whole = integer(text.substr(0, point));
    std::int64_t part = 0;
    if (point != std::string_view::npos) {
        auto const digits = text.substr(point + 1);
        auto const given = integer(digits);
        if (!given || *given < 0 || digits.size() > 6) return std::nullopt;
        part = *given;
        for (auto i = digits.size(); i < 6; ++i) part *= 10;
    }
    if (!whole || *whole < 0 || *whole > 1'000'000'000) return std::nullopt;
    auto const us = *whole * 1'000'000 + part;
    return microseconds{negative ? -us : us};
}

}  // namespace plan_text

/// One line; nullopt if it is no fault.
[[nodiscard]] inline std::optional<fault> fault_from(std::string_view line) {
    plan_text::words words{line};
    if (words.next() != "at") return std::nullopt;
    auto const at = plan_text::seconds(words.next());
    auto const name = words.next();
    std::optional<fault> f;
    for (std::size_t k = 0; at && k < fault_kinds; ++k) {
        auto const kind = static_cast<fault_kind>(k);
        if (name_of(kind) == name) f = fault{.at = moment{*at}, .kind = kind};
    }
    if (!f) return std::nullopt;
    for (auto key = words.next(); !key.empty(); key = words.next()) {
        auto const value = words.next();
        auto const number = plan_text::integer(value);
        auto const time = plan_text::seconds(value);
        if (key == "node" && number && *number >= 0 && *number < 1'000'000) {
            f->node = static_cast<std::uint32_t>(*number);
        } else if (key == "for" && time) {
            f->lasting = *time;
        } else if (key == "until" && value == "healed") {
            f->lasting = forever;
        } else if (key == "amount" && number) {
            f->amount = *number;
        } else {
            return std::nullopt;
        }
    }
    return f;
}

/// Why no world can make sense of it; empty: one can. (What is drawn makes sense; what is read may be anything.)
[[nodiscard]] inline std::string what_is_senseless(fault const& f) {
    constexpr std::int64_t day = std::int64_t{24} * 3600 * 1'000'000;
    if (static_cast<std::size_t>(f.kind) >= fault_kinds) return "there is no such kind";
    if (f.at < moment{} || f.lasting < microseconds{}) return "time does not go back";
    if (f.lasting > forever) return "it lasts for more than sim::forever";
    auto within = [&](std::int64_t least, std::int64_t most, char const* unit) {
        return f.amount >= least && f.amount <= most
                   ? std::string{}
                   : fmt::format("the amount of {} must be {} .. {}{}", name_of(f.kind), least, most, unit);
    };
    switch (f.kind) {
        case fault_kind::clock_rate: return within(-500'000'000, 1'000'000'000, " parts per billion");
        case fault_kind::wall_jump: return within(-1000 * day, 1000 * day, " us");
        case fault_kind::server_clock: return within(-day, day, " us");
        case fault_kind::server_error:
            return within(0, static_cast<std::int64_t>(server_errors().size()) - 1, ", a number of server_errors()");
        case fault_kind::claim:
        case fault_kind::transfer:
        case fault_kind::register_one:
        case fault_kind::unregister_one: return within(0, day, ", the number of a schedule");
        case fault_kind::update_one: return within(0, ways_to_update * per_way - 1, ", see sim::becomes");
        case fault_kind::damage: return within(0, ways_to_damage * per_way - 1, ", see sim::damage_at");
        case fault_kind::attributes: return within(0, ways_to_describe - 1, ", see sim::attributes_at");
        default: return within(0, day, " us");
    }
}
[[nodiscard]] inline bool makes_sense(fault const& f) { return what_is_senseless(f).empty(); }

// ---------------------------------------------------------------- drawing one up

/// Some kinds of fault: bit n is fault_kind n.
using fault_set = std::uint64_t;
static_assert(fault_kinds <= 64);

/// Which kinds may come, between when and when, and how many.
struct fault_weather {
    fault_set kinds = 0;
    moment from{};
    moment to{};
    std::uint32_t count = 0;
    std::uint32_t nodes = 1;
    std::uint32_t schedules = 1;
    microseconds lease = std::chrono::seconds{3};  ///< faults last about as long as what they endanger
    std::int64_t clock_drift_ppb = 0;
};

[[nodiscard]] constexpr fault_set bit(fault_kind kind) { return fault_set{1} << static_cast<unsigned>(kind); }
inline constexpr fault_set every_kind = (fault_set{1} << fault_kinds) - 1;
/// All kinds that the promises stand up to.
inline constexpr fault_set promised_kinds = bit(fault_kind::lose_data) - 1;

[[nodiscard]] inline fault_plan draw_faults(fault_weather const& w, choices& c) {
    std::vector<fault_kind> kinds;
    for (std::size_t k = 0; k < fault_kinds; ++k) {
        if (w.kinds >> k & 1) kinds.push_back(static_cast<fault_kind>(k));
    }
    fault_plan plan;
    if (kinds.empty()) return plan;
    auto const longest = 3 * w.lease;
    for (std::uint32_t i = 0; i < w.count; ++i) {
        fault f;
        f.at = moment{c.between(w.from.time_since_epoch(), w.to.time_since_epoch())};
        f.kind = kinds[c.choose(kinds.size())];
        if (concerns_node(f.kind)) f.node = static_cast<std::uint32_t>(c.choose(w.nodes));
        auto const about = c.choose(4);
        auto lasts = [&](microseconds least, microseconds most) {
            f.lasting = about == 0 ? least : c.between(least, about == 1 ? (least + most) / 8 : most);
        };
        auto amount = [&](std::int64_t least, std::int64_t most) {
            f.amount = c.between(microseconds{least}, microseconds{most}).count();
        };
        auto const lease = w.lease.count();
        switch (f.kind) {
            case fault_kind::crash:
            case fault_kind::leave:
            case fault_kind::pause:
            case fault_kind::stall:
            case fault_kind::cut_requests:
            case fault_kind::cut_replies:
            case fault_kind::cut:
            case fault_kind::refuse: lasts(microseconds{1000}, longest); break;
            case fault_kind::clock_rate: amount(-w.clock_drift_ppb, w.clock_drift_ppb); break;
            case fault_kind::wall_jump: amount(-1'000'000'000, 1'000'000'000); break;
            case fault_kind::delay:
            case fault_kind::slow_server:
                lasts(microseconds{1000}, longest);
                amount(1, f.kind == fault_kind::delay ? lease / 2 : lease / 100);
                break;
            case fault_kind::late_request: amount(1, lease * 2); break;
            case fault_kind::claim:
            case fault_kind::transfer:
            case fault_kind::register_one:
            case fault_kind::unregister_one: amount(0, static_cast<std::int64_t>(w.schedules)); break;
            case fault_kind::update_one:
            case fault_kind::damage: {
                bool const updates = f.kind == fault_kind::update_one;
                if (updates) lasts(microseconds{1000}, 4 * longest);
                amount(0, static_cast<std::int64_t>(w.schedules));
                f.amount += per_way * static_cast<std::int64_t>(c.choose(updates ? ways_to_update : ways_to_damage));
                break;
            }
            case fault_kind::attributes:
                lasts(microseconds{1000}, 4 * longest);
                amount(0, ways_to_describe - 1);
                break;
            case fault_kind::report_load: amount(0, 1000); break;
            case fault_kind::drain:
                lasts(microseconds{1000}, 4 * longest);
                amount(0, static_cast<std::int64_t>(w.nodes) - 1);
                break;
            case fault_kind::maintenance: lasts(microseconds{1000}, 4 * longest); break;
            case fault_kind::stall_server:
            case fault_kind::restart_server:
            case fault_kind::lose_data: lasts(microseconds{1000}, longest); break;
            case fault_kind::server_error:
                lasts(microseconds{1000}, longest);
                amount(0, static_cast<std::int64_t>(server_errors().size()) - 1);
                break;
            case fault_kind::server_clock: amount(-2 * lease, 2 * lease); break;
            case fault_kind::fail_over:
                lasts(microseconds{}, longest);
                amount(0, 1'000'000);
                break;
            case fault_kind::replace:
            case fault_kind::renounce:
            case fault_kind::reset:
            case fault_kind::lose_reply: break;
        }
        plan.push_back(f);
    }
    // In order of time, and of being drawn. (Not std::stable_sort: clang warns of what libstdc++ 12 does in it.)
    for (auto f = plan.begin(); f != plan.end(); ++f) {
        auto const earlier = [](fault const& a, fault const& b) { return a.at < b.at; };
        std::rotate(std::upper_bound(plan.begin(), f, *f, earlier), f, f + 1);
    }
    return plan;
}

}  // namespace rota::sim

// ---- rota/sim/node.hpp ---------------------------------------------------------------------------------------------
// A process that runs a node: it drives the production algorithm exactly as detail::blocking_engine does (one request
// at a time; the lane asks until there is nothing to ask, then sleeps until due() or a push; requests of the user's are
// attempted up to three times), but on virtual time, and with every reply, timeout and sleep as an event.
//
// On top runs simulated work, as a careless user would write it: each round, lock what is owned, process it for a while
// with extensions in good time, release. It holds no rule of rota's: whether it may act is asked of the handle.

// ---- rota/sim/network.hpp ------------------------------------------------------------------------------------------
// Connections between nodes and servers. Each is FIFO, as TCP is; what is on its way when a connection ends may still
// land, also after the first request of the next one. A node has one connection at a time (and its pushes come by a
// second one that shares the node's fate). Connections raise their number at the server before their first request.

// ---- rota/sim/redis.hpp --------------------------------------------------------------------------------------------
// The Redis of a simulation: the reference store as it is, with a clock of its own, a time that requests take, and a
// replica behind it that is given every write a little later. Restart, stall and failover are done here, around the
// store; what a request means is the store's business alone.
//
// The replica is kept by replication, as Redis does it: it performs what the primary performed, at the times of the
// primary. A failover that loses the last 200 ms performs all but those.

// ---- rota/sim/subject.hpp ------------------------------------------------------------------------------------------
// What is under test, behind two small interfaces: the production algorithm of a node, and the reference model of the
// server's state. Both take a template parameter for planted defects; behind an interface the rest of the simulator is
// compiled once, whatever is planted. Nothing here adds behaviour.

#include <map>

namespace rota::sim {

/// Where a node stands.
enum class standing : std::uint8_t { out, joining, member, fenced };

/// node_core<Defects>, see there.
class node_machine {
public:
    virtual ~node_machine() = default;
    virtual void want_join(instant now) = 0;
    virtual void want_tick(instant now) = 0;
    virtual void begin_leave() = 0;
    virtual std::optional<operation> leave_operation() const = 0;
    virtual void finish_leave(bool done) = 0;
    virtual std::optional<operation> begin_renounce(instant now) = 0;
    virtual void rebalance_now() = 0;
    virtual void describe(node_attributes) = 0;
    virtual void report_load(double load, instant now) = 0;
    virtual std::optional<operation> next(instant now) = 0;
    virtual void done(operation const&, result<reply> const&, instant sent, instant now) = 0;
    virtual instant due() const = 0;
    virtual subscription what_to_listen_for() const = 0;
    virtual void hear(std::optional<pushed_news> const&, instant now) = 0;
    virtual std::vector<event> take_events() = 0;
    virtual result<void> can_act(instant now) const = 0;
    virtual op::acquire_locks acquisition(op::lock_kind, std::vector<std::string> names, microseconds ttl) = 0;
    virtual instant on_acquired(op::lock_kind, std::string const& name, op::outcome const&, instant sent,
                                instant now) = 0;
    struct taken_lock {
        fencing_token token = 0;
        instant until{};
    };
    virtual std::optional<taken_lock> take_handed(std::string const& schedule, microseconds ttl, instant now) = 0;
    virtual std::optional<fencing_token> handed_in_the_way_of(std::string const& schedule, instant now) = 0;
    virtual void on_locked_by_other(std::string const& schedule) = 0;
    virtual void on_lock_granted(std::string const& schedule) = 0;
    virtual instant on_extended(op::lock_kind, std::string const& name, op::outcome const&, instant sent,
                                instant now) = 0;
    virtual void on_releasing(op::lock_kind, std::string const& name, fencing_token) = 0;
    virtual void on_released(op::lock_kind, std::string const& name, fencing_token) = 0;
    virtual bool give(std::string const& schedule, fencing_token to, instant now) = 0;
    virtual void see(fencing_token) = 0;
    virtual void own_log_moved() = 0;
    virtual void group_log_moved() = 0;
    virtual std::uint64_t new_nonce() = 0;
    virtual void server_changed() = 0;  ///< the transport has connected to another server, or another run of it

    virtual standing state() const = 0;
    virtual node_ref self() const = 0;
    virtual fencing_token seen() const = 0;
    virtual options const& settings() const = 0;
    virtual std::optional<error> last_failure() const = 0;
    /// Whether its picture of the group is up to date as far as it knows, and with which event.
    virtual bool picture_is_current() const = 0;
    virtual std::uint64_t picture_cursor() const = 0;
    virtual fencing_token picture_epoch() const = 0;
    /// All of it has been read, if not yet what happened meanwhile.
    virtual bool picture_is_complete() const = 0;
    struct pictured {
        fencing_token generation = 0;
        fencing_token owner = 0;
        fencing_token moving_to = 0;
        double weight = 1;
        std::string_view traits{};
        friend bool operator==(pictured const&, pictured const&) = default;
    };
    virtual std::optional<pictured> picture_of(std::string const& schedule) const = 0;
    virtual std::size_t pictured_schedules() const = 0;
    struct pictured_node {
        std::string_view id{};
        bool alive = false;
        std::uint32_t capacity = unlimited;
        std::string_view traits{};
        std::uint32_t owned = 0;
        bool draining = false;
        friend bool operator==(pictured_node const&, pictured_node const&) = default;
    };
    virtual pictured_node picture_of_node(fencing_token incarnation) const = 0;
    virtual bool pictures_maintenance() const = 0;
    virtual node_attributes const& attributes() const = 0;
    virtual plan const& last_plan() = 0;
    /// What is planted in it concerns how its process uses it, too.
    virtual bool suffers_from(detail::defect) const = 0;
};

/// What the server holds, as far as invariants look at it.
struct stored_leader {
    std::int64_t deadline = 0;
    fencing_token term = 0;
    fencing_token incarnation = 0;
};
struct stored_schedule {
    fencing_token generation = 0;
    fencing_token owner = 0;
    fencing_token moving_to = 0;
    double weight = 1;
    std::string_view traits{};     // as it is stored: gone with the next request
    std::int64_t handoff_until{};  // when extensions end
    bool open = false;             // another may go in its place
};
struct stored_node {
    std::string_view id{};
    bool live = false;
    std::int64_t deadline = 0;
    std::uint32_t capacity = unlimited;
    std::uint32_t load = 0;
    std::uint32_t pending = 0;
    std::string_view traits{};
};
struct stored_lock {
    std::int64_t deadline = 0;
    fencing_token token = 0;
    fencing_token holder = 0;
};

/// basic_store<Defects>, see there. `now`: µs of the server's clock.
class store_model {
public:
    virtual ~store_model() = default;
    virtual std::unique_ptr<store_model> copy() const = 0;
    virtual void raise(detail::connection_stamp) = 0;
    virtual result<reply> perform(operation const&, detail::connection_stamp, std::int64_t now) = 0;

    virtual std::uint64_t seq() const = 0;
    virtual fencing_token epoch() const = 0;
    virtual fencing_token fence() const = 0;
    virtual std::uint64_t version_of(fencing_token incarnation) const = 0;
    virtual pushed_news news_for(subscription const&) const = 0;
    virtual bool has_news_for(subscription const&) const = 0;
    virtual stored_leader leader() const = 0;
    virtual std::optional<stored_schedule> schedule(std::string const& id) const = 0;
    virtual std::optional<stored_node> node(fencing_token incarnation) const = 0;
    virtual std::optional<stored_lock> lock(op::lock_kind, std::string const& name) const = 0;
    virtual std::size_t schedule_count() const = 0;
    virtual std::size_t unowned_count() const = 0;
    /// All of them, in order. Not for every event.
    virtual std::vector<std::pair<std::string, stored_schedule>> schedules() const = 0;
    virtual std::vector<std::pair<fencing_token, stored_node>> nodes() const = 0;

    virtual bool maintenance() const = 0;
    virtual bool is_drained(std::string_view node_id) const = 0;
    virtual std::vector<std::string> drained() const = 0;
    /// Whether the index of `holder` (0: of nobody) lists the schedule.
    virtual bool lists(fencing_token holder, std::string const& id) const = 0;
    /// What of its records and indexes does not agree, in words; empty: all does.
    virtual std::string disagreement() const = 0;
    virtual void inflict(detail::store_damage const&) = 0;
};

template <typename Defects>
class node_machine_of final : public node_machine {
public:
    node_machine_of(options o, detail::planner strategy, std::shared_ptr<detail::belief> published,
                    std::uint64_t entropy)
        : core_{std::move(o), strategy, std::move(published), entropy} {}

    void want_join(instant now) override { core_.want_join(now); }
    void want_tick(instant now) override { core_.want_tick(now); }
    void begin_leave() override { core_.begin_leave(); }
    std::optional<operation> leave_operation() const override { return core_.leave_operation(); }
    void finish_leave(bool done) override { core_.finish_leave(done); }
    std::optional<operation> begin_renounce(instant now) override { return core_.begin_renounce(now); }
    void rebalance_now() override { core_.rebalance_now(); }
    void describe(node_attributes attributes) override { core_.description().set(std::move(attributes)); }
    void report_load(double load, instant now) override { core_.description().measured(load, now); }
    std::optional<operation> next(instant now) override { return core_.next(now); }
    void done(operation const& request, result<reply> const& answer, instant sent, instant now) override {
        core_.done(request, answer, sent, now);
    }
    instant due() const override { return core_.due(); }
    subscription what_to_listen_for() const override { return core_.what_to_listen_for(); }
    void hear(std::optional<pushed_news> const& news, instant now) override { core_.hear(news, now); }
    std::vector<event> take_events() override {
        return core_.has_events() ? core_.take_events() : std::vector<event>{};
    }
    result<void> can_act(instant now) const override { return core_.can_act(now); }
    op::acquire_locks acquisition(op::lock_kind kind, std::vector<std::string> names, microseconds ttl) override {
        return core_.acquisition(kind, std::move(names), ttl);
    }
    instant on_acquired(op::lock_kind kind, std::string const& name, op::outcome const& grant, instant sent,
                        instant now) override {
        return core_.on_acquired(core_.entry_of(kind, name), grant, sent, now);
    }
    std::optional<taken_lock> take_handed(std::string const& schedule, microseconds ttl, instant now) override {
        auto const taken = core_.take_handed(schedule, ttl, now);
        if (!taken) return std::nullopt;
        return taken_lock{taken->token, taken->until};
    }
    std::optional<fencing_token> handed_in_the_way_of(std::string const& schedule, instant now) override {
        return core_.handed_in_the_way_of(schedule, now);
    }
    void on_locked_by_other(std::string const& schedule) override { core_.on_locked_by_other(schedule); }
    void on_lock_granted(std::string const& schedule) override { core_.on_lock_granted(schedule); }
    instant on_extended(op::lock_kind kind, std::string const& name, op::outcome const& grant, instant sent,
                        instant now) override {
        return core_.on_extended(kind, name, grant, sent, now);
    }
    void on_releasing(op::lock_kind kind, std::string const& name, fencing_token token) override {
        core_.on_releasing(kind, name, token);
    }
    void on_released(op::lock_kind kind, std::string const& name, fencing_token token) override {
        core_.on_released(kind, name, token);
    }
    bool give(std::string const& schedule, fencing_token to, instant now) override {
        bool const given = core_.give(schedule, to, now);
        if (given) core_.forget_given(schedule);  // nobody waits for it
        return given;
    }
    void see(fencing_token token) override { core_.see(token); }
    void own_log_moved() override { core_.own_log_moved(); }
    void group_log_moved() override { core_.group_log_moved(); }
    std::uint64_t new_nonce() override { return core_.new_nonce(); }

    void server_changed() override {
        if constexpr (requires(core& c) { c.server_changed(); }) core_.server_changed();
    }

    standing state() const override { return static_cast<standing>(core_.state()); }
    node_ref self() const override { return core_.self(); }
    fencing_token seen() const override { return core_.seen(); }
    options const& settings() const override { return core_.settings(); }
    std::optional<error> last_failure() const override { return core_.last_failure(); }
    bool picture_is_current() const override { return core_.feed().current(); }
    std::uint64_t picture_cursor() const override { return core_.feed().cursor(); }
    fencing_token picture_epoch() const override { return core_.feed().epoch(); }
    std::optional<pictured> picture_of(std::string const& schedule) const override {
        auto const& all = core_.feed().picture();
        auto const s = all.find(schedule);
        if (s == all.none) return std::nullopt;
        auto const r = all.record_of(s);
        return pictured{r.generation, r.owner, r.moving_to, r.weight, r.traits};
    }
    bool picture_is_complete() const override { return core_.feed().active() && core_.feed().picture().is_complete(); }
    std::size_t pictured_schedules() const override { return core_.feed().picture().schedule_count(); }
    pictured_node picture_of_node(fencing_token incarnation) const override {
        auto const& all = core_.feed().picture();
        auto const n = all.node_of(incarnation);
        return {n.id, n.alive, n.capacity, n.traits, n.owned, n.alive && all.is_drained(n.id)};
    }
    bool pictures_maintenance() const override { return core_.feed().picture().maintenance(); }
    node_attributes const& attributes() const override { return core_.description().attributes(); }
    plan const& last_plan() override { return core_.leading().last_plan(); }
    bool suffers_from(detail::defect d) const override {
        if constexpr (std::is_same_v<Defects, detail::sound>) {
            return false;
        } else {
            return Defects::has(d);
        }
    }

private:
    using core = detail::node_core<Defects>;
    static_assert(static_cast<int>(core::standing::out) == static_cast<int>(standing::out) &&
                  static_cast<int>(core::standing::joining) == static_cast<int>(standing::joining) &&
                  static_cast<int>(core::standing::member) == static_cast<int>(standing::member) &&
                  static_cast<int>(core::standing::fenced) == static_cast<int>(standing::fenced));
    core core_;
};

template <typename Defects>
class store_model_of final : public store_model {
public:
    std::unique_ptr<store_model> copy() const override { return std::make_unique<store_model_of>(*this); }
    void raise(detail::connection_stamp from) override { store_.raise(from); }
    result<reply> perform(operation const& request, detail::connection_stamp from, std::int64_t now) override {
        return store_.perform(request, from, now);
    }
    std::uint64_t seq() const override { return store_.seq(); }
    fencing_token epoch() const override { return store_.epoch(); }
    fencing_token fence() const override { return store_.fence(); }
    std::uint64_t version_of(fencing_token incarnation) const override { return store_.version_of(incarnation); }
    pushed_news news_for(subscription const& sub) const override { return store_.news_for(sub); }
    bool has_news_for(subscription const& sub) const override { return store_.has_news_for(sub); }
    stored_leader leader() const override {
        auto const& l = store_.leader();
        return {l.deadline, l.term, l.incarnation};
    }
    std::optional<stored_schedule> schedule(std::string const& id) const override {
        auto const s = store_.schedules().find(id);
        if (s == store_.schedules().end()) return std::nullopt;
        return of(s->second);
    }
    std::optional<stored_node> node(fencing_token incarnation) const override {
        auto const n = store_.nodes().find(incarnation);
        if (n == store_.nodes().end()) return std::nullopt;
        return of(n->second);
    }
    std::optional<stored_lock> lock(op::lock_kind kind, std::string const& name) const override {
        auto const l = store_.locks(kind).find(name);
        if (l == store_.locks(kind).end()) return std::nullopt;
        return stored_lock{l->second.deadline, l->second.token, l->second.holder};
    }
    std::size_t schedule_count() const override { return store_.schedules().size(); }
    std::size_t unowned_count() const override { return store_.unowned().size(); }
    std::vector<std::pair<std::string, stored_schedule>> schedules() const override {
        std::vector<std::pair<std::string, stored_schedule>> all;
        for (auto const& [id, s] : store_.schedules()) all.emplace_back(id, of(s));
        return all;
    }
    std::vector<std::pair<fencing_token, stored_node>> nodes() const override {
        std::vector<std::pair<fencing_token, stored_node>> all;
        for (auto const& [incarnation, n] : store_.nodes()) all.emplace_back(incarnation, of(n));
        return all;
    }

    bool maintenance() const override { return store_.maintenance(); }
    bool is_drained(std::string_view node_id) const override { return store_.drained().contains(node_id); }
    std::vector<std::string> drained() const override { return {store_.drained().begin(), store_.drained().end()}; }
    bool lists(fencing_token holder, std::string const& id) const override {
        if (holder == 0) return store_.unowned().contains(id);
        auto const n = store_.nodes().find(holder);
        return n != store_.nodes().end() && n->second.owned.contains(id);
    }
    std::string disagreement() const override {
        std::map<fencing_token, std::uint32_t> owned, pending;
        for (auto const& [id, s] : store_.schedules()) {
            if (!lists(s.owner, id)) return id + " is not listed where it is";
            ++owned[s.owner];
            if (s.move.to != 0) ++pending[s.move.to];
        }
        if (owned[0] != store_.unowned().size()) return "something is listed as nobody's, and is not";
        for (auto const& [incarnation, n] : store_.nodes()) {
            if (owned[incarnation] != n.owned.size()) return n.id + " is listed with what it does not own";
            if (owned[incarnation] != n.load) return n.id + " counts what it owns wrongly";
            if (pending[incarnation] != n.pending) return n.id + " counts what is on its way to it wrongly";
        }
        return {};
    }
    void inflict(detail::store_damage const& d) override { store_.inflict(d); }

private:
    using store = detail::basic_store<Defects>;
    static stored_schedule of(typename store::schedule_record const& s) {
        return {s.generation, s.owner, s.move.to, s.weight, s.traits, s.move.deadline, s.move.open};
    }
    static stored_node of(typename store::node_record const& n) {
        return {n.id, n.live, n.deadline, n.capacity, static_cast<std::uint32_t>(n.owned.size()), n.pending, n.traits};
    }
    store store_;
};

}  // namespace rota::sim

namespace rota::sim {

/// One server: a store, and when it will look at the next request.
struct redis_server {
    std::unique_ptr<store_model> store;
    std::int64_t clock_offset = 0;
    bool primary = true;
    bool up = true;
    moment free_from{};                   // busy or standing still until then
    std::deque<std::uint32_t> waiting{};  // messages, meanwhile
    std::uint32_t run = 0;                // counts restarts: connections belong to one
};

/// What damage does: the record of the schedule is gone, cannot be read, names `node`, or one that never was; the index
/// of its owner does not list it, or that of `node` does.
[[nodiscard]] inline rota::detail::store_damage damage_at(fault const& f, std::string id, fencing_token node,
                                                          fencing_token owner) {
    using kind = rota::detail::store_damage::kind;
    switch (way_of(f) % ways_to_damage) {
        case way_to_lose: return {.what = kind::lose_record, .id = std::move(id)};
        case 1: return {.what = kind::garble_record, .id = std::move(id)};
        case 2: return {.what = kind::change_owner, .id = std::move(id), .node = node};
        case 3: return {.what = kind::change_owner, .id = std::move(id), .node = 4711};
        case way_to_unlist: return {.what = kind::unlist, .id = std::move(id), .node = owner};
        default: return {.what = kind::list, .id = std::move(id), .node = node};
    }
}

class redis_model {
public:
    /// Its clock shows 2020 at the beginning. `longest_loss`: how far back a failover can go; 0: there is no replica.
    redis_model(std::unique_ptr<store_model> empty, microseconds longest_loss)
        : empty_{std::move(empty)},
          longest_loss_{longest_loss} {
        servers_.push_back(fresh());
        if (longest_loss_ > microseconds{}) replica_ = empty_->copy();
    }

    static constexpr std::int64_t started_at = std::int64_t{50} * 365 * 24 * 3600 * 1'000'000;

    [[nodiscard]] std::uint32_t primary() const { return static_cast<std::uint32_t>(servers_.size() - 1); }
    [[nodiscard]] redis_server& server(std::uint32_t number) { return servers_[number]; }
    [[nodiscard]] redis_server const& server(std::uint32_t number) const { return servers_[number]; }
    [[nodiscard]] store_model const& store() const { return *servers_.back().store; }
    [[nodiscard]] store_model& store() { return *servers_.back().store; }
    [[nodiscard]] std::int64_t clock(std::uint32_t number, moment now) const {
        return started_at + now.time_since_epoch().count() + servers_[number].clock_offset;
    }

    /// Writes that the replica was not given yet.
    [[nodiscard]] std::size_t behind() const { return log_.size(); }

    result<reply> perform(std::uint32_t number, operation const& request, rota::detail::connection_stamp from,
                          moment now) {
        auto const at = clock(number, now);
        if (replica_ && number == primary()) log({request, from, at, now});
        return servers_[number].store->perform(request, from, at);
    }
    void raise(std::uint32_t number, rota::detail::connection_stamp from, moment now) {
        if (replica_ && number == primary()) log({.from = from, .performed = now, .raises = true});
        servers_[number].store->raise(from);
    }

    /// An edit by hand, which the replica is given like any other write.
    void inflict(rota::detail::store_damage const& d, moment now) {
        if (replica_) log({.from = {}, .performed = now, .inflicts = d});
        store().inflict(d);
    }

    void lose_data() {
        servers_.back().store = empty_->copy();
        log_.clear();
        if (replica_) replica_ = empty_->copy();
    }

    /// The replica becomes the primary, without the writes of the last `lost`. The old primary goes on as server
    /// primary() - 1.
    /// Whether any were lost.
    bool fail_over(microseconds lost, moment now) {
        if (!replica_) throw std::logic_error("rota::sim: fail_over needs a replica: set world_settings::longest_loss");
        if (lost > longest_loss_) {
            throw std::logic_error("rota::sim: fail_over cannot lose more than world_settings::longest_loss");
        }
        catch_up(now - lost);
        bool const lost_some = !log_.empty();
        log_.clear();
        auto next = fresh();
        next.store = std::move(replica_);
        next.clock_offset = servers_.back().clock_offset;
        replica_ = next.store->copy();
        servers_.back().primary = false;
        servers_.push_back(std::move(next));
        return lost_some;
    }

private:
    struct logged {
        operation request{};
        rota::detail::connection_stamp from{};
        std::int64_t at = 0;
        moment performed{};
        bool raises = false;
        std::optional<rota::detail::store_damage> inflicts{};
    };

    redis_server fresh() const {
        redis_server s;
        s.store = empty_->copy();
        return s;
    }
    void log(logged write) {
        auto const now = write.performed;
        log_.push_back(std::move(write));
        catch_up(now - longest_loss_);
    }
    void catch_up(moment to) {
        for (; !log_.empty() && log_.front().performed <= to; log_.pop_front()) {
            auto const& l = log_.front();
            if (l.inflicts) {
                replica_->inflict(*l.inflicts);
            } else if (l.raises) {
                replica_->raise(l.from);
            } else {
                (void)replica_->perform(l.request, l.from, l.at);
            }
        }
    }

    std::unique_ptr<store_model> empty_;
    microseconds longest_loss_;
    std::deque<redis_server> servers_;
    std::unique_ptr<store_model> replica_;
    std::deque<logged> log_;
};

}  // namespace rota::sim

// ---- rota/sim/stage.hpp --------------------------------------------------------------------------------------------
// What every part of a simulation shares: true time, what is to happen, the source of choices, and who watches. Watchers
// (invariants, the record of a run) are told of what happens; they change nothing.

// ---- rota/sim/sometimes.hpp ----------------------------------------------------------------------------------------
// What must have been seen, sometimes: the rare turns that simulations are made for. A run counts what it came by, a sweep
// adds its runs up, and fails if something was never seen: it tested nothing.
//
//   sim::sometimes seen;
//   for (auto seed : ...) seen += run(seed).seen();
//   if (auto missing = seen.missing(); !missing.empty()) ...

namespace rota::sim {

enum class sight : std::uint8_t {
    takeover_by_expiry,             ///< a lease ran out, and another node took it
    takeover_by_vacancy,            ///< a leader left or renounced, and another node took over
    takeover_by_succession,         ///< ... and passed leadership to that node
    leader_lost_in_mid_plan,        ///< a plan came after its term, or was half carried out
    orphans_adopted,                ///< schedules of a dead node were placed
    reaped_and_rejoined,            ///< a node was taken for dead, learned it, and came back
    fenced_by_twin,                 ///< a newer process took the node_id
    suspended_and_resumed,          ///< contact in time after all
    unknown_outcome,                ///< a request whose effect nobody knew
    late_reply_dropped,             ///< a reply to what had been given up
    stale_connection_refused,       ///< a command of a dead connection landed after the next one's first
    resync_after_gap,               ///< a subscriber had missed something, and read all anew
    handoff_done,                   ///< revoke, acknowledge, grant
    handoff_to_nobody,              ///< the target was gone or full
    plan_item_refused,              ///< part of a plan met a state that it was not made for
    server_answered_error,          ///< an error of DESIGN.md, section 5
    data_loss_noticed,              ///< an epoch or a token was missing
    failover_with_loss,             ///< a replica took over that lacked acknowledged writes
    placed_before_all_was_read,     ///< a new leader gave orphans away while it still read who owns the rest
    moved_from_drained_node,        ///< a node that is to end empty gave something
    moved_from_overfull_node,       ///< ... one whose capacity was lowered
    plan_of_another_state_refused,  ///< the group had changed since what the plan was made for
    damage_mended,                  ///< records that disagreed agree again
    // with runs:
    lock_refused,              ///< somebody else had it
    lock_refused_to_stranger,  ///< the schedule was not its own any more
    lock_expired_while_held,   ///< a run saw that its lock was gone
    stale_token_refused,       ///< the resource rejected an effect under an older token
    stale_extend_refused,      ///< an extension or a release came too late
    handoff_deadline_passed,   ///< a run went on so long that its lock was not extended any more
    handoff_waited_for_run,    ///< an acknowledgement came while the lock was live
    granted_too_late,          ///< a lock was granted, and given back at once
    idle_one_went_instead,     ///< an idle schedule was handed over in the place of one whose run was in hand
    came_with_its_lock,        ///< a run began under the lock that a schedule came with
};
inline constexpr std::size_t sights = static_cast<std::size_t>(sight::came_with_its_lock) + 1;

[[nodiscard]] constexpr std::string_view name_of(sight s) {
    constexpr std::string_view names[sights] = {"takeover_by_expiry",
                                                "takeover_by_vacancy",
                                                "takeover_by_succession",
                                                "leader_lost_in_mid_plan",
                                                "orphans_adopted",
                                                "reaped_and_rejoined",
                                                "fenced_by_twin",
                                                "suspended_and_resumed",
                                                "unknown_outcome",
                                                "late_reply_dropped",
                                                "stale_connection_refused",
                                                "resync_after_gap",
                                                "handoff_done",
                                                "handoff_to_nobody",
                                                "plan_item_refused",
                                                "server_answered_error",
                                                "data_loss_noticed",
                                                "failover_with_loss",
                                                "placed_before_all_was_read",
                                                "moved_from_drained_node",
                                                "moved_from_overfull_node",
                                                "plan_of_another_state_refused",
                                                "damage_mended",
                                                "lock_refused",
                                                "lock_refused_to_stranger",
                                                "lock_expired_while_held",
                                                "stale_token_refused",
                                                "stale_extend_refused",
                                                "handoff_deadline_passed",
                                                "handoff_waited_for_run",
                                                "granted_too_late",
                                                "idle_one_went_instead",
                                                "came_with_its_lock"};
    return names[static_cast<std::size_t>(s)];
}

/// The kinds of fault without which it cannot come; every kind, where several do.
[[nodiscard]] constexpr fault_set causes_of(sight s) {
    switch (s) {
        case sight::fenced_by_twin: return bit(fault_kind::replace);
        case sight::server_answered_error: return bit(fault_kind::server_error);
        case sight::failover_with_loss: return bit(fault_kind::fail_over);
        case sight::moved_from_drained_node: return bit(fault_kind::drain);
        case sight::moved_from_overfull_node: return bit(fault_kind::attributes);
        case sight::plan_of_another_state_refused: return bit(fault_kind::transfer);
        case sight::damage_mended: return bit(fault_kind::damage);
        case sight::data_loss_noticed:
            return bit(fault_kind::lose_data) | bit(fault_kind::fail_over) | bit(fault_kind::server_clock);
        default: return every_kind;
    }
}

/// How often each was seen.
class sometimes {
public:
    void saw(sight s) { ++counts_[static_cast<std::size_t>(s)]; }
    [[nodiscard]] std::uint64_t count(sight s) const { return counts_[static_cast<std::size_t>(s)]; }
    sometimes& operator+=(sometimes const& other) {
        for (std::size_t i = 0; i < sights; ++i) counts_[i] += other.counts_[i];
        return *this;
    }
    /// What was never seen, by name; empty: all was. Of runs that had faults of some kinds only, or no work, less is asked.
    [[nodiscard]] std::string missing(fault_set kinds = every_kind, bool work = true) const {
        std::string names;
        for (std::size_t i = 0; i < sights; ++i) {
            auto const s = static_cast<sight>(i);
            if ((causes_of(s) & kinds) == 0 || (!work && s >= sight::lock_refused)) continue;
            if (counts_[i] == 0) names += (names.empty() ? "" : ", ") + std::string{name_of(static_cast<sight>(i))};
        }
        return names;
    }
    [[nodiscard]] std::string to_text() const {
        std::string text;
        for (std::size_t i = 0; i < sights; ++i) {
            text += fmt::format("{:<30}{:>10}\n", name_of(static_cast<sight>(i)), counts_[i]);
        }
        return text;
    }

    friend bool operator==(sometimes const&, sometimes const&) = default;

private:
    std::array<std::uint64_t, sights> counts_{};
};

}  // namespace rota::sim

namespace rota::sim {

class process;
struct run;

/// A request that the server has just performed.
struct step {
    operation const& request;
    result<reply> const& answer;
    std::uint32_t server = 0;
    std::uint32_t process = 0;  ///< whose; no_process: the simulation's own
    std::int64_t server_time = 0;
    detail::connection_stamp from{};  ///< which connection it came by; session 0: none
};
inline constexpr std::uint32_t no_process = ~std::uint32_t{0};

/// What is told of a run of the simulation.
class audience {
public:
    virtual ~audience() = default;
    virtual void performed(step const&) {}
    virtual void acted(process const&) {}                   ///< a node did something: its beliefs may be others
    virtual void told(process const&, event const&) {}      ///< its sink was
    virtual void lock_taken(process const&, run const&) {}  ///< try_lock gave a handle
    virtual void run_began(process const&, run const&) {}   ///< the user's handler
    virtual void run_worked(process const&, run const&) {}  ///< ... had an effect on the resource
    virtual void run_ended(process const&, run const&) {}   ///< ... is done, or has stopped
    virtual void lock_ended(process const&, run const&) {}  ///< the handle is gone: released, lost or forgotten
    virtual void fault_began(fault const&) {}
    virtual void fault_ended(fault const&) {}
    virtual void process_began(process const&) {}
    virtual void process_ended(process const&, std::string_view /*how*/) {}
    /// An invariant broke; the last that is told. It must not throw.
    virtual void broke(moment, std::string_view /*invariant*/, std::string_view /*words*/) {}
};

struct stage {
    moment now{};
    event_queue queue;
    choices pick;
    audience* watch = nullptr;
    sometimes seen;

    explicit stage(choices c) : pick{std::move(c)} {}
};

}  // namespace rota::sim

namespace rota::sim {

/// The way between one machine and the servers, and what is wrong with it; counted, as faults may overlap.
struct route {
    unsigned requests_cut = 0;
    unsigned replies_cut = 0;
    unsigned stalled = 0;
    unsigned refused = 0;
    microseconds extra_delay{};
    bool lose_next_reply = false;
    microseconds make_next_late{};
    std::optional<std::uint32_t> old_server;  ///< after a failover: the one that it still finds under the address
};

/// The connection of a process, and what is on its way.
struct link {
    route* way = nullptr;
    rota::detail::connection_stamp stamp;  // number 0: there was none yet
    bool open = false;
    std::uint32_t server = 0;
    std::uint32_t server_run = 0;
    std::uint64_t known_server = 0;  // and run, of the last connection that came about; 0: none
    moment last_up{};                // arrival of what was sent last
    moment last_down{};
    std::vector<std::uint32_t> held_up;  // messages that wait for the way to be free
    std::vector<std::uint32_t> held_down;
};

/// A request on its way to the server, then its reply on the way back.
struct message {
    operation request;
    result<reply> answer{errc::unavailable};
    rota::detail::connection_stamp from;
    std::uint64_t exchange = 0;
    std::uint32_t process = 0;
    std::uint32_t server = 0;
    std::uint32_t server_run = 0;
    bool hello = false;  // raises the connection's number, nothing else
    bool used = false;
    bool closes = false;  // the server ends the connection after it
};

struct network_settings {
    microseconds least_delay{100};  ///< one way
    microseconds most_delay{400};
};

class network {
public:
    network(stage& s, redis_model& r, network_settings n) : stage_{s}, redis_{r}, settings_{n} {}

    [[nodiscard]] message& at(std::uint64_t number) { return messages_[number]; }
    [[nodiscard]] network_settings const& settings() const { return settings_; }
    std::uint64_t requests() const { return requests_; }
    [[nodiscard]] std::size_t places() const { return messages_.size(); }

    microseconds slow_by{};                     // each request takes the server that long
    std::optional<std::size_t> answer_error{};  // server_errors()[...]

    // ---------------------------------------------------------------- from a node

    /// A new connection: what was on its way by the old one may land or be lost.
    void connect(link& l) {
        l.stamp.number++;
        l.server = l.way->old_server.value_or(redis_.primary());
        l.server_run = redis_.server(l.server).run;
        l.last_up = l.last_down = stage_.now;
        l.open = false;
    }

    void send(link& l, std::uint32_t process, std::uint64_t exchange, operation const* request) {
        auto const number = allocate();
        auto& m = messages_[number];
        if (request) m.request = *request;
        m.hello = request == nullptr;
        m.from = l.stamp;
        m.exchange = exchange;
        m.process = process;
        m.server = l.server;
        m.server_run = l.server_run;
        m.closes = false;
        if (l.way->refused > 0 && m.hello) {
            stage_.queue.add(stage_.now + delay(l), happening::connection_ends, process, l.stamp.number);
            free(number);
            return;
        }
        if (!m.hello && l.way->make_next_late > microseconds{}) {
            auto const late = std::exchange(l.way->make_next_late, microseconds{});
            stage_.queue.add(stage_.now + late, happening::request_arrives, process, number);
            stage_.queue.add(stage_.now + delay(l), happening::connection_ends, process, l.stamp.number);
            return;
        }
        if (l.way->requests_cut > 0 || l.way->stalled > 0) {
            l.held_up.push_back(number);
            return;
        }
        l.last_up = std::max(l.last_up, stage_.now + delay(l));
        stage_.queue.add(l.last_up, happening::request_arrives, process, number);
    }

    // ---------------------------------------------------------------- at the server

    /// A request has arrived. `l`: the link of its process, null if that is no more.
    void serve(std::uint32_t number, link* l) {
        auto& m = messages_[number];
        auto& server = redis_.server(m.server);
        if (!server.up || server.run != m.server_run) {
            if (l && l->stamp.number == m.from.number) end_connection(*l, m.process);
            free(number);
            return;
        }
        if (server.free_from > stage_.now || (!server.waiting.empty() && server.waiting.front() != number)) {
            if (server.waiting.empty()) goes_on(m.server);
            server.waiting.push_back(number);
            return;
        }
        if (slow_by > microseconds{}) server.free_from = stage_.now + slow_by;
        if (m.hello) {
            redis_.raise(m.server, m.from, stage_.now);
            m.answer = reply{op::done{}};
        } else if (answer_error && server.primary) {
            auto const& e = server_errors()[*answer_error % server_errors().size()];
            m.answer = {e.code, e.words};
            m.closes = e.reconnects;
            stage_.seen.saw(sight::server_answered_error);
        } else {
            ++requests_;
            auto const before = server.store->seq();
            m.answer = redis_.perform(m.server, m.request, m.from, stage_.now);
            stage_.watch->performed(
                {m.request, m.answer, m.server, m.process, redis_.clock(m.server, stage_.now), m.from});
            changed_ = changed_ || server.store->seq() != before;
        }
        if (!l || l->stamp.session != m.from.session || l->stamp.number != m.from.number) {
            free(number);
        } else if (l->way->lose_next_reply && !m.hello) {
            l->way->lose_next_reply = false;
            end_connection(*l, m.process);
            free(number);
        } else if (l->way->replies_cut > 0 || l->way->stalled > 0) {
            l->held_down.push_back(number);
        } else {
            l->last_down = std::max(l->last_down, stage_.now + delay(*l));
            stage_.queue.add(l->last_down, happening::reply_arrives, m.process, number);
        }
    }

    /// The next of the requests that wait, if the server has time for it now.
    [[nodiscard]] std::optional<std::uint32_t> next_waiting(std::uint32_t server_number) {
        auto& server = redis_.server(server_number);
        if (server.waiting.empty()) return std::nullopt;
        if (server.free_from > stage_.now) {
            goes_on(server_number);
            return std::nullopt;
        }
        return server.waiting.front();
    }
    void was_waiting(std::uint32_t server_number) { redis_.server(server_number).waiting.pop_front(); }
    void goes_on(std::uint32_t server_number) {
        stage_.queue.add(std::max(stage_.now, redis_.server(server_number).free_from), happening::server_goes_on, 0,
                         server_number);
    }

    /// Whether something was written since this was last asked: subscribers are to be looked at.
    bool take_changed() { return std::exchange(changed_, false); }

    void push(link& l, std::uint32_t process, microseconds more) {
        if (l.way->replies_cut > 0 || l.way->stalled > 0 || l.way->refused > 0) return;
        stage_.queue.add(stage_.now + more + delay(l), happening::push_arrives, process, l.stamp.number);
    }

    // ---------------------------------------------------------------- what goes wrong

    /// The node will read end of file.
    void end_connection(link& l, std::uint32_t process) {
        stage_.queue.add(stage_.now + delay(l), happening::connection_ends, process, l.stamp.number);
    }

    /// The way is free again, in one direction at least: what was held goes on, or (of connections that are no more) is
    /// lost, as chance has it.
    void release_held(link& l, std::uint32_t process) {
        if (l.way->requests_cut == 0 && l.way->stalled == 0) {
            for (auto number : std::exchange(l.held_up, {})) {
                auto const& m = messages_[number];
                bool const current = m.from.number == l.stamp.number && m.from.session == l.stamp.session;
                if (!current && stage_.pick.one_in(2)) {
                    free(number);
                    continue;
                }
                auto const arrives = stage_.now + delay(l);
                if (current) l.last_up = std::max(l.last_up, arrives);
                stage_.queue.add(current ? l.last_up : arrives, happening::request_arrives, process, number);
            }
        }
        if (l.way->replies_cut == 0 && l.way->stalled == 0) {
            for (auto number : std::exchange(l.held_down, {})) {
                l.last_down = std::max(l.last_down, stage_.now + delay(l));
                stage_.queue.add(l.last_down, happening::reply_arrives, process, number);
            }
        }
    }

    void free(std::uint64_t number) {
        messages_[number].used = false;
        unused_.push_back(static_cast<std::uint32_t>(number));
    }

private:
    microseconds delay(link const& l) {
        auto const more = l.way->extra_delay > microseconds{} ? stage_.pick.between(microseconds{}, l.way->extra_delay)
                                                              : microseconds{};
        return more + stage_.pick.between(settings_.least_delay, settings_.most_delay);
    }
    std::uint32_t allocate() {
        if (unused_.empty()) {
            messages_.emplace_back();
            unused_.push_back(static_cast<std::uint32_t>(messages_.size() - 1));
        }
        auto const number = unused_.back();
        unused_.pop_back();
        messages_[number].used = true;
        return number;
    }

    stage& stage_;
    redis_model& redis_;
    network_settings settings_;
    std::deque<message> messages_;
    std::vector<std::uint32_t> unused_;
    bool changed_ = false;
    std::uint64_t requests_ = 0;
};

}  // namespace rota::sim

namespace rota::sim {

/// What the user's code does on every node: each round, it locks what the node owns, works on it, and releases.
struct work_settings {
    microseconds period = std::chrono::seconds{1};       ///< from one round to the next; 0: it does nothing
    microseconds least = std::chrono::milliseconds{10};  ///< how long a run takes
    microseconds most = std::chrono::seconds{2};
    microseconds lock_ttl = std::chrono::seconds{5};
    std::uint32_t names = 0;  ///< so many plain names are fought for, too
    bool heeds_stop = true;   ///< a run whose lock is no longer valid ends when it next looks; false: a planted bug
};
/// Nodes that take part, and run nothing.
inline constexpr work_settings no_work{.period = microseconds{}};

/// One handling of a schedule (or of a plain name), from try_lock to release.
struct run {
    enum class stage : std::uint8_t { unused, asking, working, releasing };
    std::string name;
    op::lock_kind kind{};
    stage at = stage::unused;
    fencing_token token = 0;
    fencing_token generation = 0;  // under which it was asked for
    fencing_token incarnation = 0;
    instant until{};     // of the handle
    instant started{};   // the work
    instant ends{};      // or is to be asked whether it does
    bool holds = false;  // the handle
    bool extending = false;
    moment began{};
    std::optional<moment> asked_to_stop{};  // when the work first saw that the handle is not valid
    std::uint32_t server = 0;               // that granted it
    fencing_token epoch = 0;                // ... under which state
    std::uint64_t stamp = 0;                // of the event that it waits for
};

/// What a handler of your own sees of its run, in place of work_settings' least and most. It is called as the run begins,
/// and again whenever the time has passed that it returned; it returns 0 when the run is done. Nothing stops it meanwhile:
/// who returns more than a quarter of work_settings::lock_ttl may work on without a lock (handlers_stop).
///
///   w.use_handler([](sim::job const& j) {
///       return j.stop_requested() || j.elapsed() >= 2s ? 0us : 100ms;
///   });
class job {
public:
    job(std::string const& schedule, fencing_token token, microseconds elapsed, bool stop)
        : schedule_{schedule},
          token_{token},
          elapsed_{elapsed},
          stop_{stop} {}
    [[nodiscard]] std::string const& schedule() const { return schedule_; }
    [[nodiscard]] fencing_token token() const { return token_; }
    /// By the node's clock.
    [[nodiscard]] microseconds elapsed() const { return elapsed_; }
    /// The lock is no longer valid: somebody else may be at it, or soon will.
    [[nodiscard]] bool stop_requested() const { return stop_; }

private:
    std::string const& schedule_;
    fencing_token token_;
    microseconds elapsed_;
    bool stop_;
};
using work_handler = std::function<microseconds(job const&)>;

class simulated_belief final : public rota::detail::belief {
public:
    simulated_belief(stage const& s, node_clock const& c) : stage_{s}, clock_{c} {}
    [[nodiscard]] instant now() const override { return clock_.at(stage_.now); }

private:
    stage const& stage_;
    node_clock const& clock_;
};

/// What a world lends to a process.
struct process_makings {
    std::uint32_t number = 0;
    std::uint32_t slot = 0;
    options settings;
    work_settings work;
    std::function<void(event const&)> sink;
    work_handler handler;
    bool lane_first = true;
    rota::detail::planner strategy;
    std::unique_ptr<node_machine> (*make)(options, rota::detail::planner, std::shared_ptr<rota::detail::belief>,
                                          std::uint64_t entropy) = nullptr;
};

class process {
public:
    process(stage& s, network& n, node_clock& c, route& way, process_makings m)
        : stage_{s},
          network_{n},
          clock_{c},
          makings_{std::move(m)},
          belief_{std::make_shared<simulated_belief>(s, c)} {
        auto const high = stage_.pick.choose(std::uint64_t{1} << 32);
        auto const low = stage_.pick.choose(std::uint64_t{1} << 32);
        machine_ = makings_.make(makings_.settings, makings_.strategy, belief_, high << 32 | low);
        if (suffers_from(defect::heartbeats_last)) makings_.lane_first = false;
        if (suffers_from(defect::wall_clock)) clock_.shows_wall_time = true;
        link_.way = &way;
        link_.stamp.session = makings_.number + 1;
    }
    process(process const&) = delete;
    process& operator=(process const&) = delete;

    // ---------------------------------------------------------------- looking at it

    [[nodiscard]] std::uint32_t number() const { return makings_.number; }
    [[nodiscard]] std::uint32_t slot() const { return makings_.slot; }
    [[nodiscard]] work_settings const& work() const { return makings_.work; }
    [[nodiscard]] std::string const& node_id() const { return makings_.settings.node_id; }
    [[nodiscard]] bool alive() const { return alive_; }  ///< the process, not the node
    [[nodiscard]] bool paused() const { return paused_; }
    [[nodiscard]] node_machine& machine() const { return *machine_; }
    [[nodiscard]] rota::detail::belief const& belief() const { return *belief_; }
    [[nodiscard]] node_clock const& clock() const { return clock_; }
    [[nodiscard]] sim::link& link() { return link_; }
    [[nodiscard]] std::vector<run> const& runs() const { return runs_; }
    [[nodiscard]] bool stopped() const { return stopped_; }  ///< run() has returned
    /// What it knew of the group as it asked for what it last asked of its own accord.
    struct knowledge {
        bool complete = false;     ///< it had read all of it
        std::uint64_t cursor = 0;  ///< up to which event
        fencing_token epoch = 0;
    };
    [[nodiscard]] knowledge const& knew() const { return knew_; }

    [[nodiscard]] instant now() const { return clock_.at(stage_.now); }
    [[nodiscard]] bool believes_it_leads() const { return alive_ && belief_->leads(now()); }
    [[nodiscard]] bool believes_it_lives() const { return alive_ && belief_->alive(belief_->incarnation(), now()); }
    [[nodiscard]] bool is_valid(run const& r) const {
        auto const at = now();
        return alive_ && r.holds && belief_->alive(r.incarnation, at) && at < r.until && at < belief_->alive_until();
    }

    // ---------------------------------------------------------------- what a program does

    /// run(): joins and takes part.
    void start() {
        machine_->want_join(now());
        stopped_ = false;
        drive();
        if (makings_.work.period > microseconds{}) next_round(stage_.pick.between({}, makings_.work.period));
    }

    /// leave(), and the program ends.
    void leave() { add_task({.kind = task::what::leave}); }
    void renounce() { add_task({.kind = task::what::renounce}); }
    void claim(std::string id) { add_task({.kind = task::what::claim, .name = std::move(id)}); }
    void transfer(std::string id, std::string node_id) {
        add_task({.kind = task::what::transfer_nodes, .name = std::move(id), .other = std::move(node_id)});
    }
    void add_schedule(std::string id) { add_task({.kind = task::what::add, .name = std::move(id)}); }
    void remove_schedule(std::string id) { add_task({.kind = task::what::remove_lookup, .name = std::move(id)}); }
    /// Unless it is `until` already when its turn comes.
    void update_schedule(schedule s, moment until) {
        add_task({.kind = task::what::update_lookup,
                  .name = std::move(s.id),
                  .other = to_traits(s.rules),
                  .weight = s.weight,
                  .until = until});
    }
    void give_order(op::order_kind kind, std::string node_id, moment until) {
        add_task({.kind = task::what::order, .name = std::move(node_id), .order = kind, .until = until});
    }
    void set_attributes(node_attributes a) {
        machine_->describe(std::move(a));
        if (machine_->state() == standing::member) drive();
    }
    void report_load(double load) {
        machine_->report_load(load, now());
        if (machine_->state() == standing::member) drive();
    }

    void die(std::string_view how) {
        alive_ = false;
        stage_.watch->process_ended(*this, how);
        machine_.reset();
        runs_.clear();
        tasks_.clear();
        backlog_.clear();
    }

    // ---------------------------------------------------------------- what happens to it

    void pause() { ++paused_; }
    void go_on() {
        if (paused_ == 0 || --paused_ > 0) return;
        // In the order in which it all came.
        for (auto const& e : std::exchange(backlog_, {})) stage_.queue.add(stage_.now, e.what, e.who, e.detail);
    }

    void on(event_queue::entry const& e) {
        if (!alive_) {
            if (e.what == happening::reply_arrives) network_.free(e.detail);
            return;
        }
        if (paused_ > 0) {
            backlog_.push_back(e);
            return;
        }
        switch (e.what) {
            case happening::lane_wakes:
                if (!asleep_ || e.detail != sleep_) return;
                drive();
                break;
            case happening::reply_arrives: on_reply(e.detail); break;
            case happening::times_out:
                if (!waiting_ || e.detail != exchange_) return;
                lose_connection(connecting_ ? errc::timed_out : errc::outcome_unknown, "no reply in time");
                break;
            case happening::connection_ends:
                if (e.detail != link_.stamp.number || (!link_.open && !waiting_)) return;
                lose_connection(connecting_ ? errc::unavailable : errc::outcome_unknown, "the connection broke");
                break;
            case happening::push_arrives:
                push_pending_ = false;
                if (!asleep_ || !link_.open || e.detail != link_.stamp.number) return;
                machine_->hear(std::exchange(pushed_, std::nullopt), now());
                tell();
                drive();
                break;
            case happening::work_is_due: on_work(static_cast<std::size_t>(e.detail & 0xffff), e.detail >> 16); break;
            case happening::round_begins: begin_round(); break;
            default: break;
        }
        if (alive_) stage_.watch->acted(*this);
    }

    /// The server has something new, perhaps for this one.
    void look_for_push(store_model const& store, microseconds more) {
        if (!alive_ || !asleep_ || push_pending_ || !link_.open) return;
        if (!store.has_news_for(listens_)) return;
        push_pending_ = true;
        // What the server sends now arrives later, when more may have happened. Some transports say only that there is news.
        pushed_.reset();
        if (number() % 4 != 3) pushed_ = store.news_for(listens_);
        network_.push(link_, number(), more);
        if (link_.way->replies_cut > 0 || link_.way->stalled > 0 || link_.way->refused > 0) push_pending_ = false;
    }
    /// Set by the world: the store that this process is connected to, for looking as it goes to sleep.
    store_model const* (*store_of)(void const* world, std::uint32_t server) = nullptr;
    void const* world = nullptr;

    std::uint64_t spins() const { return spins_; }

private:
    struct task {
        enum class what : std::uint8_t {
            lane,
            acquire,
            clear_the_way,
            extend,
            release,
            leave,
            renounce,
            claim,
            transfer_nodes,
            transfer_lookup,
            transfer,
            add,
            remove_lookup,
            remove,
            update_lookup,
            update,
            order
        };
        what kind{};
        std::string name{};
        std::string other{};
        std::size_t run = 0;
        std::uint64_t nonce = 0;
        fencing_token found = 0;  // incarnation that was looked up
        unsigned rounds = 0;
        double weight = 1;
        op::order_kind order{};
        moment until = moment::max();
        std::uint64_t as_of = 0;  // the state that was looked at: to be refused if it has changed
    };
    static constexpr unsigned most_attempts = 3;

    using defect = rota::detail::defect;
    [[nodiscard]] bool suffers_from(defect d) const { return machine_->suffers_from(d); }

    // ---------------------------------------------------------------- one request at a time: the engine's mutex

    void add_task(task t) {
        tasks_.push_back(std::move(t));
        go_ahead();
    }
    void drive() {
        asleep_ = false;
        if (!lane_wants_) want_lane();
        lane_wants_ = true;
        go_ahead();
    }

    // Who waits for the mutex gets it in turn; the lane queues up for each of its requests, before the users' threads.
    void want_lane() {
        if (makings_.lane_first) {
            tasks_.push_front({.kind = task::what::lane});
        } else {
            tasks_.push_back({.kind = task::what::lane});
        }
    }
    void go_ahead() {
        while (alive_ && !busy_ && !tasks_.empty()) {
            task_ = std::move(tasks_.front());
            tasks_.pop_front();
            busy_ = true;
            request_.reset();
            if (task_.kind == task::what::lane) {
                request_ = machine_->next(now());
                lane_wants_ = request_.has_value();
                knew_ = {machine_->picture_is_complete(), machine_->picture_cursor(), machine_->picture_epoch()};
            } else {
                prepare();
            }
            if (!alive_) return;
            tell();
            if (request_) return begin_attempts();
            busy_ = false;
            if (task_.kind == task::what::lane) go_to_sleep();
        }
    }

    void go_to_sleep() {
        auto const state = machine_->state();
        if (state == standing::fenced || state == standing::out) {
            stopped_ = true;
            return;
        }
        auto const due = machine_->due();
        auto const at = now();
        ++sleep_;
        asleep_ = true;
        listens_ = machine_->what_to_listen_for();
        if (due <= at) {
            // run() would go round again at once; real time passes meanwhile.
            ++spins_;
            stage_.queue.add(stage_.now + microseconds{1}, happening::lane_wakes, number(), sleep_);
            return;
        }
        spins_ = 0;
        if (due != instant::max()) {
            auto const when = std::max(clock_.when(due), stage_.now + microseconds{1});
            stage_.queue.add(when, happening::lane_wakes, number(), sleep_);
        }
        if (link_.open) look_for_push(*store_of(world, link_.server), network_.settings().most_delay);
    }

    // What the engine's public calls do under the mutex, before their request.
    void prepare() {
        auto& t = task_;
        auto const can = machine_->can_act(now());
        auto* r = t.kind == task::what::acquire || t.kind == task::what::extend || t.kind == task::what::release
                      ? &runs_[t.run]
                      : nullptr;
        switch (t.kind) {
            case task::what::lane: break;
            case task::what::acquire: {
                if (!can) return finish_run(t.run);
                if (r->kind == op::lock_kind::schedule && t.rounds == 0) {
                    if (take_handed(t.run)) return;
                    if (auto const token = machine_->handed_in_the_way_of(r->name, now())) {
                        t.kind = task::what::clear_the_way;
                        machine_->on_releasing(r->kind, r->name, *token);
                        request_ = op::release_locks{.kind = r->kind, .items = {{r->name, *token}}};
                        return;
                    }
                }
                auto request = machine_->acquisition(r->kind, {r->name}, makings_.work.lock_ttl);
                r->incarnation = request.incarnation;
                r->generation = request.items.front().generation;
                request_ = std::move(request);
                break;
            }
            case task::what::extend:
                if (!std::exchange(r->extending, false) || !r->holds || !can) return;
                request_ = op::extend_locks{.incarnation = r->incarnation,
                                            .kind = r->kind,
                                            .items = {{r->name, r->token}},
                                            .ttl = makings_.work.lock_ttl};
                break;
            case task::what::release:
                machine_->on_releasing(r->kind, r->name, r->token);
                request_ = op::release_locks{.kind = r->kind, .items = {{r->name, r->token}}};
                break;
            case task::what::leave:
                machine_->begin_leave();
                request_ = machine_->leave_operation();
                if (!request_) {
                    tell();
                    die("left");
                }
                break;
            case task::what::renounce: request_ = machine_->begin_renounce(now()); break;
            case task::what::claim:
                if (!can) return;
                request_ =
                    op::claim{.incarnation = machine_->self().incarnation, .ids = {t.name}, .seen = machine_->seen()};
                break;
            case task::what::transfer_nodes: request_ = op::nodes_page{}; break;
            case task::what::transfer_lookup:
            case task::what::remove_lookup: request_ = op::lookup{.ids = {t.name}}; break;
            case task::what::add: request_ = op::register_schedules{.items = {{.id = t.name}}}; break;
            case task::what::update_lookup:
                if (stage_.now < t.until) request_ = op::lookup{.ids = {t.name}};
                break;
            case task::what::order:
                if (stage_.now < t.until) request_ = op::give_order{t.order, t.name};
                break;
            case task::what::clear_the_way:
            case task::what::transfer:
            case task::what::remove:
            case task::what::update: break;
        }
    }

    // The lock that came with the schedule.
    bool take_handed(std::size_t number) {
        auto& r = runs_[number];
        auto const lock = machine_->take_handed(r.name, makings_.work.lock_ttl, now());
        if (!lock) return false;
        stage_.seen.saw(sight::came_with_its_lock);
        r.incarnation = machine_->self().incarnation;
        r.token = r.generation = lock->token;
        r.until = lock->until;
        lock_is_held(number);
        return true;
    }
    void lock_is_held(std::size_t number) {
        auto& r = runs_[number];
        r.holds = true;
        r.server = link_.server;
        r.epoch = store_of(world, link_.server)->epoch();
        // Granted too late to be of use: given back, not handed out.
        if (!is_valid(r) && !suffers_from(defect::late_grant_used)) {
            stage_.seen.saw(sight::granted_too_late);
            r.at = run::stage::releasing;
            r.holds = false;
            add_task({.kind = task::what::release, .run = number});
            return;
        }
        stage_.watch->lock_taken(*this, r);
        begin_run(number);
    }

    void begin_attempts() {
        attempts_ = 1;
        sent_ = now();
        limit_ = sent_ + makings_.settings.operation_timeout;
        begin_exchange(makings_.settings.operation_timeout);
    }
    void begin_exchange(microseconds timeout) {
        waiting_ = true;
        ++exchange_;
        stage_.queue.add(clock_.when(now() + timeout), happening::times_out, number(), exchange_);
        connecting_ = !link_.open;
        if (connecting_) network_.connect(link_);
        network_.send(link_, number(), exchange_, connecting_ ? nullptr : &*request_);
    }

    void on_reply(std::uint64_t message_number) {
        auto& m = network_.at(message_number);
        bool const expected =
            waiting_ && m.exchange == exchange_ && m.from.number == link_.stamp.number && m.hello == connecting_;
        if (!expected) {
            if (!m.hello) stage_.seen.saw(sight::late_reply_dropped);
            network_.free(message_number);
            return;
        }
        if (m.hello) {
            network_.free(message_number);
            link_.open = true;
            connecting_ = false;
            auto const server = (std::uint64_t{link_.server} << 32 | link_.server_run) + 1;
            auto const known = std::exchange(link_.known_server, server);
            if (known != 0 && known != server) machine_->server_changed();
            network_.send(link_, number(), exchange_, &*request_);
            return;
        }
        auto answer = std::move(m.answer);
        if (m.closes) link_.open = false;
        network_.free(message_number);
        waiting_ = false;
        complete(std::move(answer));
    }
    void lose_connection(errc code, char const* why) {
        link_.open = false;
        connecting_ = false;
        push_pending_ = false;
        if (!waiting_) return;
        waiting_ = false;
        complete({code, why});
    }

    void complete(result<reply> answer) {
        if (!answer && answer.error().code == errc::outcome_unknown) stage_.seen.saw(sight::unknown_outcome);
        if (task_.kind == task::what::lane) {
            machine_->done(*request_, answer, sent_, now());
            busy_ = false;
            tell();
            want_lane();
            return go_ahead();
        }
        if (!answer) {
            auto const code = answer.error().code;
            bool const worth_it = code == errc::unavailable || code == errc::outcome_unknown;
            if (code == errc::not_joined || code == errc::not_leader) machine_->want_tick(now());
            if (worth_it && attempts_ < most_attempts && now() < limit_) {
                ++attempts_;
                return begin_exchange(std::max(limit_ - now(), microseconds{1000}));
            }
        }
        tell();
        conclude(answer);
        if (!alive_) return;
        if (std::exchange(next_is_ready_, false)) return begin_attempts();
        busy_ = false;
        tell();
        // after_locks(), after_change(): the lane may have something to do now.
        if (machine_->state() == standing::member && !lane_wants_ && machine_->due() <= now()) drive();
        go_ahead();
    }

    // What the engine's public calls make of the answer.
    void conclude(result<reply> const& answer) {
        auto& t = task_;
        auto const first = [&]() -> op::outcome const& { return std::get<op::outcomes>(*answer).items.front(); };
        auto const released = [&] { return std::get<op::release_locks>(*request_).items.front().token; };
        switch (t.kind) {
            case task::what::lane: break;
            case task::what::acquire: {
                auto& r = runs_[t.run];
                if (answer && first().code == errc::locked_by_other && r.kind == op::lock_kind::schedule) {
                    machine_->on_locked_by_other(r.name);
                }
                if (!answer || !first().ok()) return finish_run(t.run);
                if (r.kind == op::lock_kind::schedule) machine_->on_lock_granted(r.name);
                r.token = first().token;
                r.until = machine_->on_acquired(r.kind, r.name, first(), sent_, now());
                lock_is_held(t.run);
                break;
            }
            case task::what::clear_the_way:
                if (!answer) return finish_run(t.run);
                machine_->on_released(runs_[t.run].kind, runs_[t.run].name, released());
                go_on_with(task::what::acquire);
                break;
            case task::what::extend: {
                auto& r = runs_[t.run];
                if (!answer) return;
                if (first().ok()) {
                    auto const until = machine_->on_extended(r.kind, r.name, first(), sent_, now());
                    if (until > r.until) r.until = until;
                    if (r.holds) stage_.watch->lock_taken(*this, r);
                } else if (first().code == errc::lock_lost) {
                    machine_->on_released(r.kind, r.name, r.token);
                    drop_handle(r);
                }
                break;
            }
            case task::what::release: {
                auto& r = runs_[t.run];
                if (answer) machine_->on_released(r.kind, r.name, r.token);
                finish_run(t.run);
                break;
            }
            case task::what::leave:
                machine_->finish_leave(answer.has_value());
                if (auto next = machine_->leave_operation()) {  // it led
                    next_request_ = std::move(next);
                    return go_on_with(task::what::leave);
                }
                tell();
                die("left");
                break;
            case task::what::renounce:
                if (answer) machine_->done(*request_, answer, sent_, now());
                break;
            case task::what::claim:
                if (answer) note_own_change(std::get<op::outcomes>(*answer));
                after_change();
                break;
            case task::what::transfer_nodes:
                if (!answer) return;
                for (auto const& n : std::get<op::nodes_reply>(*answer).items) {
                    if (n.alive && n.node.id == t.other) t.found = n.node.incarnation;
                }
                // Sometimes as apply() does it: as part of a plan for that very state.
                if (stage_.pick.one_in(2)) t.as_of = std::get<op::nodes_reply>(*answer).seq;
                if (t.found == 0) break;
                if (machine_->give(t.name, t.found, now())) {
                    after_change();
                } else {
                    go_on_with(task::what::transfer_lookup);
                }
                break;
            case task::what::transfer_lookup: transfer_found(answer); break;
            case task::what::transfer:
                if (answer) note_own_change(std::get<op::outcomes>(*answer));
                after_change();
                break;
            case task::what::add: after_change(); break;
            case task::what::remove_lookup:
                if (!answer) return;
                if (t.nonce == 0) t.nonce = machine_->new_nonce();
                next_request_ = op::unregister_schedules{
                    .items = {{t.name, std::get<op::lookup_reply>(*answer).items.front().status.owner}},
                    .nonce = t.nonce};
                go_on_with(task::what::remove);
                break;
            case task::what::remove:
                if (answer && first().code == errc::conflict && t.rounds < 4)
                    return go_on_with(task::what::remove_lookup);
                after_change();
                break;
            case task::what::update_lookup: {
                if (!answer) return;
                auto const& entry = std::get<op::lookup_reply>(*answer).items.front();
                if (!entry.registered) return;
                next_request_ = op::update_schedules{.items = {{t.name, t.weight, t.other, entry.status.owner}}};
                go_on_with(task::what::update);
                break;
            }
            case task::what::update:
                if (answer && first().code == errc::conflict && t.rounds < 4)
                    return go_on_with(task::what::update_lookup);
                after_change();
                break;
            case task::what::order: after_change(); break;
        }
    }

    // The next request of the same call. Others may come between: the mutex is free.
    void go_on_with(task::what kind) {
        auto t = task_;
        t.kind = kind;
        ++t.rounds;
        if (kind == task::what::transfer || kind == task::what::remove || kind == task::what::update ||
            kind == task::what::leave) {
            // Its request is ready; it goes out at once.
            task_ = std::move(t);
            request_ = std::move(next_request_);
            next_is_ready_ = true;
            return;
        }
        tasks_.push_back(std::move(t));
    }

    void transfer_found(result<reply> const& answer) {
        if (!answer) return;
        auto const& entry = std::get<op::lookup_reply>(*answer).items.front();
        auto const& status = entry.status;
        if (!entry.registered || status.owner == task_.found || !machine_->can_act(now())) return;
        auto const self = machine_->self().incarnation;
        fencing_token const term = belief_->leads(now()) ? belief_->term() : 0;
        if (term == 0 && status.owner != self) return;
        if (status.owner == 0) {
            next_request_ =
                op::adopt{.incarnation = self,
                          .term = term,
                          .items = {{task_.name, status.generation, 0, task_.found, change_reason::transferred}},
                          .seen = machine_->seen(),
                          .as_of = task_.as_of};
        } else {
            next_request_ = op::revoke{
                .incarnation = self,
                .term = status.owner == self ? 0 : term,
                .items = {{task_.name, status.generation, status.owner, task_.found, change_reason::transferred}},
                .handoff_deadline = makings_.settings.handoff_deadline,
                .as_of = task_.as_of};
        }
        go_on_with(task::what::transfer);
    }

    void note_own_change(op::outcomes const& r) {
        for (auto const& out : r.items) {
            machine_->see(out.token);
            if (out.ok()) return machine_->own_log_moved();
        }
    }
    void after_change() {
        machine_->group_log_moved();
        if (machine_->state() == standing::member) drive();
    }

    void tell() {
        for (auto const& e : machine_->take_events()) {
            stage_.watch->told(*this, e);
            if (makings_.sink) makings_.sink(e);
        }
    }

    // ---------------------------------------------------------------- the user's work

    void next_round(microseconds after) {
        stage_.queue.add(clock_.when(now() + after), happening::round_begins, number());
    }
    void begin_round() {
        next_round(makings_.work.period);
        auto const at = now();
        for (auto const& s : belief_->owned(at)) {
            if (!s.handing_over) want_run(op::lock_kind::schedule, s.id);
        }
        if (makings_.work.names > 0) {
            auto const which = stage_.pick.choose(makings_.work.names);
            want_run(op::lock_kind::name, "name-" + std::to_string(which));
        }
    }
    void want_run(op::lock_kind kind, std::string const& name) {
        for (auto const& r : runs_) {
            if (r.at != run::stage::unused && r.kind == kind && r.name == name) return;
        }
        std::size_t number = 0;
        while (number < runs_.size() && runs_[number].at != run::stage::unused) ++number;
        if (number == runs_.size()) runs_.emplace_back();
        auto const stamp = runs_[number].stamp;
        runs_[number] = {.name = name, .kind = kind, .at = run::stage::asking, .stamp = stamp + 1};
        add_task({.kind = task::what::acquire, .run = number});
    }

    // The careless part: a handle is taken for a right to begin.
    void begin_run(std::size_t number) {
        auto& r = runs_[number];
        r.at = run::stage::working;
        r.began = stage_.now;
        r.started = r.ends = now();
        if (!makings_.handler) r.ends += stage_.pick.between(makings_.work.least, makings_.work.most);
        stage_.watch->run_began(*this, r);
        if (makings_.handler && is_over(r)) return end_run(number);
        wait_for_work(number);
    }
    void wait_for_work(std::size_t number) {
        auto& r = runs_[number];
        // It looks at least every quarter of the ttl: to extend, and whether it should stop.
        auto const look = std::min(r.ends, now() + makings_.work.lock_ttl / 4);
        ++r.stamp;
        stage_.queue.add(std::max(clock_.when(look), stage_.now + microseconds{1}), happening::work_is_due,
                         this->number(), number | r.stamp << 16);
    }
    void on_work(std::size_t number, std::uint64_t stamp) {
        if (number >= runs_.size() || runs_[number].stamp != stamp || runs_[number].at != run::stage::working) return;
        auto& r = runs_[number];
        if (makings_.handler) {
            // In the midst of a step the handler is not asked anything; whether it still may work is noted all the same.
            if (now() < r.ends) {
                look_whether_to_stop(r);
            } else if (is_over(r)) {
                return end_run(number);
            }
        } else {
            look_whether_to_stop(r);
            if (r.asked_to_stop && makings_.work.heeds_stop) return end_run(number);
        }
        stage_.watch->run_worked(*this, r);
        if (!makings_.handler && now() >= r.ends) return end_run(number);
        if (r.holds && !r.extending && r.until - now() < makings_.work.lock_ttl * 3 / 4) {
            r.extending = true;
            add_task({.kind = task::what::extend, .run = number});
        }
        wait_for_work(number);
    }
    // What the handler says to it.
    [[nodiscard]] bool is_over(run& r) {
        auto const at = now();
        look_whether_to_stop(r);
        auto const more = makings_.handler(job{r.name, r.token, at - r.started, r.asked_to_stop.has_value()});
        if (more < microseconds{} || more > forever) {
            throw std::logic_error(fmt::format(
                "rota::sim: the handler of {} returned {} us for {}; it must be 0 (done) or how long it works, "
                "sim::forever at most",
                node_id(), more.count(), r.name));
        }
        r.ends = at + more;
        return more <= microseconds{};
    }
    void look_whether_to_stop(run& r) {
        if (r.asked_to_stop || is_valid(r)) return;
        r.asked_to_stop = stage_.now;
        stage_.seen.saw(sight::lock_expired_while_held);
    }
    void end_run(std::size_t number) {
        auto& r = runs_[number];
        ++r.stamp;
        stage_.watch->run_ended(*this, r);
        r.at = run::stage::releasing;
        if (!r.holds) return finish_run(number);
        if (!suffers_from(defect::belief_after_release)) drop_handle(r);
        add_task({.kind = task::what::release, .run = number});
    }
    void drop_handle(run& r) {
        if (!r.holds) return;
        r.holds = false;
        stage_.watch->lock_ended(*this, r);
    }
    void finish_run(std::size_t number) {
        auto& r = runs_[number];
        drop_handle(r);
        r.at = run::stage::unused;
        ++r.stamp;
    }

    stage& stage_;
    network& network_;
    node_clock& clock_;
    process_makings makings_;
    std::shared_ptr<simulated_belief> belief_;
    std::unique_ptr<node_machine> machine_;
    sim::link link_;
    bool alive_ = true;
    bool stopped_ = true;
    unsigned paused_ = 0;
    std::vector<event_queue::entry> backlog_;

    // the lane's sleep
    bool asleep_ = false;
    bool lane_wants_ = false;
    bool push_pending_ = false;
    std::uint64_t sleep_ = 0;
    std::uint64_t spins_ = 0;
    subscription listens_;
    std::optional<pushed_news> pushed_;  // on its way

    // the request under way
    bool busy_ = false;
    bool waiting_ = false;
    bool connecting_ = false;
    bool next_is_ready_ = false;
    std::uint64_t exchange_ = 0;
    unsigned attempts_ = 0;
    instant sent_{};
    instant limit_{};
    std::optional<operation> request_;
    std::optional<operation> next_request_;
    task task_;
    std::deque<task> tasks_;

    knowledge knew_;
    std::vector<run> runs_;
};

}  // namespace rota::sim

namespace rota::sim {

class world;

/// A node of the group: the machine, and the process that runs on it now.
class node_handle {
public:
    node_handle(world& w, std::uint32_t place) : world_{&w}, place_{place} {}

    /// Its number in the world, 0 .. size()-1.
    [[nodiscard]] std::uint32_t place() const { return place_; }
    /// Its node_id.
    [[nodiscard]] std::string const& id() const;

    // ---------------------------------------------------------------- what it believes; all false while it is down

    [[nodiscard]] bool is_up() const;
    [[nodiscard]] bool is_member() const;
    [[nodiscard]] bool is_suspended() const;
    /// coordinator::is_leader().
    [[nodiscard]] bool believes_it_leads() const;
    /// Whether the schedule is among coordinator::owned().
    [[nodiscard]] bool owns(std::string_view schedule) const;
    [[nodiscard]] std::vector<std::string> owned() const;
    /// Whether it has a handle of that lock, and the handle is valid().
    [[nodiscard]] bool holds(std::string_view name) const;
    /// 0: none.
    [[nodiscard]] fencing_token incarnation() const;
    [[nodiscard]] fencing_token term() const;

    // ---------------------------------------------------------------- what befalls it

    /// The process dies, and one that remembers nothing starts later.
    node_handle const& crash(microseconds down_for = forever) const;
    /// A new process now, whether one was running or not.
    node_handle const& restart() const;
    /// SIGSTOP; its clock goes on.
    node_handle const& pause(microseconds time = forever) const;
    node_handle const& resume() const;
    /// A second process under its node_id, while the old one goes on.
    node_handle const& replace() const;

    // ---------------------------------------------------------------- what its program does

    /// leave(), and the program ends. A new one starts later.
    node_handle const& leave(microseconds away_for = forever) const;
    node_handle const& renounce() const;
    /// By number, see world::schedule_id; at most world::schedules(), the first that is not registered yet.
    node_handle const& claim(std::uint32_t schedule) const;
    /// To the next node.
    node_handle const& transfer(std::uint32_t schedule) const;
    /// Orders itself to be drained, until undrain() or for so long.
    node_handle const& drain(microseconds time = forever) const;
    node_handle const& undrain() const;
    /// Begins maintenance of the group, and ends it.
    node_handle const& begin_maintenance(microseconds time = forever) const;
    node_handle const& end_maintenance() const;
    /// Says so of itself, until its process ends.
    node_handle const& set_attributes(node_attributes a) const;

    // ---------------------------------------------------------------- how it differs from the others
    // From the next start of its process on: said before time passes, it holds from the first. What is said later is
    // checked at once, what is said before as time begins to pass.

    /// node_id is the world's to set.
    node_handle const& use_options(options o) const;
    node_handle const& use_work(work_settings w) const;
    template <typename Sink>
    node_handle const& use_sink(Sink sink) const;
    /// The node must have work (use_work, world_settings::work): else nothing would call it.
    template <typename Handler>
    node_handle const& use_handler(Handler handler) const;

    friend bool operator==(node_handle const& a, node_handle const& b) {
        return a.world_ == b.world_ && a.place_ == b.place_;
    }

private:
    [[nodiscard]] process* running() const;
    node_handle const& suffers(fault_kind kind, microseconds lasting = {}, std::int64_t amount = 0) const;
    world* world_;
    std::uint32_t place_;
};

/// The way between a node and the servers. Connections are FIFO; what is cut is held up, and goes on (or is lost with its
/// connection) when the link heals.
class link_handle {
public:
    link_handle(world& w, std::uint32_t place) : world_{&w}, place_{place} {}

    /// Nothing comes back from the server; requests still land.
    link_handle const& drop_replies(microseconds time = forever) const;
    /// Nothing reaches the server.
    link_handle const& drop_requests(microseconds time = forever) const;
    /// Neither.
    link_handle const& cut(microseconds time = forever) const;
    /// Nothing arrives on either side, and then all of it.
    link_handle const& stall(microseconds time = forever) const;
    /// Each message takes up to so much longer.
    link_handle const& delay(microseconds up_to, microseconds time = forever) const;
    /// The connection breaks, and new ones are refused.
    link_handle const& refuse(microseconds time = forever) const;
    /// The connection breaks.
    link_handle const& reset() const;
    /// The next request has its effect; instead of its reply the connection breaks.
    link_handle const& lose_next_reply() const;
    /// The next request lands so much later, on a connection that broke meanwhile.
    link_handle const& make_next_late(microseconds by) const;
    /// Ends what is wrong with this link.
    link_handle const& heal() const;

private:
    link_handle const& suffers(fault_kind kind, microseconds lasting = {}, std::int64_t amount = 0) const;
    world* world_;
    std::uint32_t place_;
};

/// A node's clock.
class clock_handle {
public:
    clock_handle(world& w, std::uint32_t place) : world_{&w}, place_{place} {}

    /// 0.9998 loses 200 µs per second. Beyond options::clock_drift no promise holds: invariants that rest on it wait until
    /// the rate is set right, by this or by world::heal().
    clock_handle const& rate(double r) const;
    [[nodiscard]] double rate() const;
    /// Wall time alone: rota reads the monotonic clock, so nothing may come of it.
    clock_handle const& jump_wall(microseconds by) const;
    /// The monotonic clock.
    [[nodiscard]] instant shows() const;

private:
    world* world_;
    std::uint32_t place_;
};

struct fail_over_settings {
    /// Acknowledged writes that the replica lacks; at most world_settings::longest_loss.
    microseconds lose_last{};
    /// How long the old primary still answers some of the nodes.
    microseconds old_primary_serves{};
};

/// The server, or what stands behind its address.
class redis_handle {
public:
    explicit redis_handle(world& w) : world_{&w} {}

    /// The replica becomes the primary.
    redis_handle const& fail_over(fail_over_settings s = {}) const;
    /// Down for a while; keeps its data.
    redis_handle const& restart(microseconds down_for = std::chrono::milliseconds{500}) const;
    /// Down for a while, and forgets everything.
    redis_handle const& restart_empty(microseconds down_for = std::chrono::milliseconds{500}) const;
    /// Stands still: what arrives waits.
    redis_handle const& stall(microseconds time = forever) const;
    /// Each request takes so much longer.
    redis_handle const& slow(microseconds by, microseconds time = forever) const;
    /// Its clock steps; back is outside of the promises, and so is forward.
    redis_handle const& jump_clock(microseconds by) const;
    /// Answers with an error of server_errors(), named by its first word: "LOADING", "READONLY", "OOM" ...
    redis_handle const& answer(std::string_view error, microseconds time = forever) const;
    /// Ends what is wrong with the server.
    redis_handle const& heal() const;

    // ---------------------------------------------------------------- the model, for who looks at it

    [[nodiscard]] std::uint32_t primary() const;
    [[nodiscard]] redis_server const& server(std::uint32_t number) const;
    [[nodiscard]] store_model const& store() const;
    [[nodiscard]] std::int64_t clock(std::uint32_t number, moment now) const;

private:
    redis_handle const& suffers(fault_kind kind, microseconds lasting = {}, std::int64_t amount = 0) const;
    world* world_;
};

}  // namespace rota::sim

// ---- rota/sim/spotter.hpp ------------------------------------------------------------------------------------------
// Counts the rare turns of a run (sometimes.hpp) from what an audience is told. Those that nobody is told of, the
// processes and the network count themselves.

namespace rota::sim {

class spotter {
public:
    explicit spotter(sometimes& seen) : seen_{seen} {}

    /// `by`: whose request it was; null: the simulation's own.
    void performed(step const& s, store_model const& store, process const* by) {
        if (!s.answer) {
            auto const* const plan = std::get_if<op::revoke>(&s.request);
            if (plan && plan->as_of != 0 && s.answer.error().code == errc::conflict) {
                seen_.saw(sight::plan_of_another_state_refused);
            }
            if (s.answer.error().code == errc::not_leader) seen_.saw(sight::leader_lost_in_mid_plan);
            if (s.answer.error().code == errc::conflict && !std::holds_alternative<op::join>(s.request)) {
                seen_.saw(sight::stale_connection_refused);
            }
            return;
        }
        if (auto const* t = std::get_if<op::ticked>(&*s.answer)) {
            if (t->status == op::tick_status::data_lost) {
                seen_.saw(sight::data_loss_noticed);
                term_ = 0;
            }
            if (t->status == op::tick_status::ok && t->term != term_) leader_changed(*t, store);
            return;
        }
        bool const goes =
            std::holds_alternative<op::leave>(s.request) || std::holds_alternative<op::renounce>(s.request);
        if (goes && store.leader().incarnation == 0) how_ = sight::takeover_by_vacancy;
        if (goes && store.leader().incarnation != 0 && store.leader().term != term_)
            how_ = sight::takeover_by_succession;
        auto const* r = std::get_if<op::outcomes>(&*s.answer);
        if (!r) return;
        bool const acquires = std::holds_alternative<op::acquire_locks>(s.request);
        bool const extends = std::holds_alternative<op::extend_locks>(s.request);
        bool const acknowledges = std::holds_alternative<op::acknowledge>(s.request);
        bool const adopts = std::holds_alternative<op::adopt>(s.request);
        bool const plans = adopts || std::holds_alternative<op::revoke>(s.request);
        for (std::size_t i = 0; i < r->items.size(); ++i) {
            auto const code = r->items[i].code;
            if (r->items[i].ok()) {
                if (acknowledges) seen_.saw(sight::handoff_done);
                if (acknowledges && !std::get<op::acknowledge>(s.request).items[i].instead_of.empty()) {
                    seen_.saw(sight::idle_one_went_instead);
                }
                if (adopts && std::get<op::adopt>(s.request).items[i].from != 0) seen_.saw(sight::orphans_adopted);
                if (adopts && by && !by->knew().complete) seen_.saw(sight::placed_before_all_was_read);
                if (auto const* moves = std::get_if<op::revoke>(&s.request)) {
                    auto const why = moves->items[i].reason;
                    if (why == change_reason::drained) seen_.saw(sight::moved_from_drained_node);
                    if (why == change_reason::overfull) seen_.saw(sight::moved_from_overfull_node);
                }
                continue;
            }
            if (acquires && code == errc::locked_by_other) seen_.saw(sight::lock_refused);
            if (acquires && code == errc::not_owner) seen_.saw(sight::lock_refused_to_stranger);
            if (extends && code == errc::not_owner) seen_.saw(sight::handoff_deadline_passed);
            if (code == errc::lock_lost) seen_.saw(sight::stale_extend_refused);
            if (plans) seen_.saw(sight::plan_item_refused);
            if (acknowledges && code == errc::locked_by_other) seen_.saw(sight::handoff_waited_for_run);
            if (acknowledges && (code == errc::unknown_node || code == errc::capacity_exceeded)) {
                seen_.saw(sight::handoff_to_nobody);
            }
        }
    }
    void told(process const& p, event const& e) {
        if (auto const* lost = std::get_if<node_lost>(&e)) {
            if (!lost->data_lost) lost_.emplace(p.number(), true);
        } else if (std::holds_alternative<node_joined>(e)) {
            if (lost_.erase(p.number()) > 0) seen_.saw(sight::reaped_and_rejoined);
        } else if (std::holds_alternative<node_fenced>(e)) {
            seen_.saw(sight::fenced_by_twin);
        } else if (std::holds_alternative<node_resumed>(e)) {
            seen_.saw(sight::suspended_and_resumed);
        } else if (std::holds_alternative<events_gap>(e)) {
            seen_.saw(sight::resync_after_gap);
        }
    }
    // The resource that rejects what comes under a lower token than the highest it has seen.
    void effect(run const& r) {
        auto& highest = highest_[{r.kind, r.name}];
        if (r.token < highest) seen_.saw(sight::stale_token_refused);
        if (r.token > highest) highest = r.token;
    }
    void process_ended(process const& p) { lost_.erase(p.number()); }

private:
    void leader_changed(op::ticked const& t, store_model const& store) {
        if (t.term == 0) return;
        for (auto const& [id, s] : store.schedules()) {
            if (s.moving_to == 0) continue;
            seen_.saw(sight::leader_lost_in_mid_plan);
            break;
        }
        if (term_ != 0) seen_.saw(how_);
        how_ = sight::takeover_by_expiry;
        term_ = t.term;
    }

    sometimes& seen_;
    fencing_token term_ = 0;
    sight how_ = sight::takeover_by_expiry;  // the next leader comes to lead
    std::map<std::uint32_t, bool> lost_;
    std::map<std::pair<op::lock_kind, std::string>, fencing_token> highest_;
};

}  // namespace rota::sim

// ---- rota/sim/words.hpp --------------------------------------------------------------------------------------------
// What happens in a run, in a line each: for the last events that a broken invariant prints.

#include <iterator>
#include <variant>

namespace rota::sim {

/// What the server did, and for whom.
[[nodiscard]] inline std::string in_words(step const& s, std::string const& whose) {
    static constexpr char const* names[] = {"join",          "tick",
                                            "leave",         "renounce",
                                            "acquire_locks", "extend_locks",
                                            "release_locks", "register_schedules",
                                            "lookup",        "unregister_schedules",
                                            "claim",         "reap",
                                            "adopt",         "revoke",
                                            "acknowledge",   "changes_since",
                                            "events_since",  "schedules_page",
                                            "nodes_page",    "describe_node",
                                            "give_order",    "update_schedules",
                                            "scan_page",     "mend",
                                            "trigger"};
    static_assert(std::size(names) == std::variant_size_v<operation>);
    auto text = fmt::format("server {} performs {}", s.server, names[s.request.index()]);
    if (!whose.empty()) text += " of " + whose;
    auto list = [&](auto const& items, auto&& words) {
        std::size_t n = 0;
        for (auto const& i : items) {
            if (++n > 6) {
                text += " ...";
                return;
            }
            text += " " + words(i);
        }
    };
    if (auto* r = std::get_if<op::adopt>(&s.request)) {
        list(r->items, [](auto const& i) { return fmt::format("{}:{}->{}", i.id, i.from, i.to); });
    } else if (auto* r2 = std::get_if<op::revoke>(&s.request)) {
        list(r2->items, [](auto const& i) { return fmt::format("{}:{}->{}", i.id, i.from, i.to); });
    } else if (auto* r3 = std::get_if<op::reap>(&s.request)) {
        list(r3->nodes, [](auto const& i) { return fmt::format("{}", i); });
    } else if (auto* r4 = std::get_if<op::acknowledge>(&s.request)) {
        list(r4->items, [](auto const& i) { return fmt::format("{}->{}", i.id, i.to); });
    } else if (auto* r5 = std::get_if<op::acquire_locks>(&s.request)) {
        list(r5->items, [](auto const& i) { return fmt::format("{}", i.name); });
    } else if (auto* r6 = std::get_if<op::release_locks>(&s.request)) {
        list(r6->items, [](auto const& i) { return fmt::format("{} {}", i.name, i.token); });
    }
    if (!s.answer) {
        text += fmt::format(" -> {} {}", to_string(s.answer.error().code), s.answer.error().detail);
    } else if (auto* r7 = std::get_if<op::outcomes>(&*s.answer)) {
        text += " ->";
        list(r7->items,
             [](auto const& o) { return o.ok() ? fmt::format("{}", o.token) : std::string{to_string(o.code)}; });
    } else if (auto* r8 = std::get_if<op::ticked>(&*s.answer)) {
        static constexpr char const* statuses[] = {"ok", "reaped", "fenced", "data_lost", "unsettled"};
        static_assert(std::size(statuses) == static_cast<std::size_t>(op::last_tick_status) + 1);
        text += fmt::format(" -> {} leader {} term {} for {} version {} seq {}",
                            statuses[static_cast<std::size_t>(r8->status)], r8->leader_id, r8->term,
                            seconds_in_words(r8->leader_remaining), r8->version, r8->seq);
        if (!r8->sweep.expired.empty()) text += fmt::format(" expired {}", r8->sweep.expired.size());
        if (!r8->sweep.dead.empty()) text += fmt::format(" dead {}", r8->sweep.dead.size());
    } else if (auto* r9 = std::get_if<op::joined>(&*s.answer)) {
        text += fmt::format(" -> {} superseded {}", r9->incarnation, r9->superseded);
    }
    return text;
}

/// What a sink is told.
[[nodiscard]] inline std::string in_words(event const& e) {
    static constexpr char const* names[] = {
        "node_joined",        "node_left",         "node_suspended",    "node_resumed",       "node_lost",
        "node_fenced",        "ownership_changed", "handoff_requested", "schedule_triggered", "leadership_changed",
        "membership_changed", "schedule_changed",  "events_gap",        "plan_refused",       "warning"};
    static_assert(std::size(names) == std::variant_size_v<event>);
    std::string text = names[e.index()];
    if (auto* o = std::get_if<ownership_changed>(&e)) {
        text += fmt::format(" {} {} -> {} generation {}", o->schedule, o->from.id, o->to.id, o->generation);
    } else if (auto* l = std::get_if<leadership_changed>(&e)) {
        text += fmt::format(" {} term {} (was {})", l->leader.id, l->term, l->previous.id);
    } else if (auto* r10 = std::get_if<plan_refused>(&e)) {
        text += " " + r10->why;
    } else if (auto* w = std::get_if<warning>(&e)) {
        text += " " + w->what.detail;
    }
    return text;
}

}  // namespace rota::sim

namespace rota::sim {

class world;

/// What broke, when, and between whom; what() has it all, with the last events.
class broken_invariant : public std::runtime_error {
public:
    broken_invariant(std::string name, moment when, std::string what_broke, std::uint64_t hash,
                     std::string const& report)
        : std::runtime_error{report},
          invariant{std::move(name)},
          at{when},
          words{std::move(what_broke)},
          trace_hash{hash} {}

    std::string invariant;
    moment at;
    std::string words;
    std::uint64_t trace_hash;  ///< of the run up to then
};

/// Something that must hold at every moment. Derive, override what you want to be told of, and call fail().
class invariant : public audience {
public:
    [[nodiscard]] virtual std::string_view name() const = 0;
    /// Once a second of true time, for what is too much to look at after every event.
    virtual void looks() {}
    virtual void begin() {}
    /// What it needs and this world does not have or record; empty: nothing. Asked before time passes.
    [[nodiscard]] virtual std::string lacks() const { return {}; }

    void belongs_to(world& w) { world_ = &w; }

protected:
    [[nodiscard]] world& group() const { return *world_; }
    [[noreturn]] void fail(std::string words) const;

private:
    world* world_ = nullptr;
};

struct world_settings {
    std::uint64_t seed = 1;
    std::uint32_t nodes = 3;
    /// Node clocks run fast or slow by up to this fraction. Options allow for 0.01 unless told otherwise.
    double clock_drift = 200e-6;
    /// Of all nodes; node_id is set by the world.
    rota::options options{};
    work_settings work{};
    network_settings network{};
    /// How far back a failover can go. 0: no replica is kept.
    microseconds longest_loss = std::chrono::seconds{1};
    fault_plan faults{};
    /// How long a program that ended by itself (fenced, refused) stays away before it is started again.
    microseconds restart_after = std::chrono::seconds{1};
    /// A strategy by its name, for setups that know some (strategies.hpp). The world itself takes no notice of it.
    std::string strategy{};
};

/// What invariants need to know of a strategy. As it stands: what least_moves does.
struct strategy_habits {
    bool evens_out = true;     ///< the number of schedules, as far as options::rebalance_threshold asks
    bool moves_least = true;   ///< ... and by no more moves than that takes
    bool heeds_rules = false;  ///< placement_rules
    microseconds waits{};      ///< for so long it may leave an orphan where it is
    microseconds takes{};      ///< so much longer than all at once it may take for moves that have to be
};

/// What run_until found.
struct outcome_of_wait {
    bool held = false;
    std::string missing{};
    explicit operator bool() const { return held; }
    template <typename Stream>
    friend auto operator<<(Stream& to, outcome_of_wait const& o) -> decltype(to << std::declval<std::string const&>()) {
        return to << (o.held ? "it held" : o.missing);
    }
};

/// What run_until can ask: whether it holds, or what is missing.
template <typename T>
inline constexpr bool is_predicate_of_world = requires(T& predicate, world& w) {
    { predicate(w) } -> std::convertible_to<std::string>;
} || requires(T& predicate, world& w) {
    { predicate(w) } -> std::same_as<bool>;
};

class world {
public:
    explicit world(world_settings s) : world{std::move(s), std::optional<choices>{}} {}
    world(world_settings s, choices c) : world{std::move(s), std::optional<choices>{std::move(c)}} {}
    virtual ~world() = default;
    world(world const&) = delete;
    world& operator=(world const&) = delete;

    // ---------------------------------------------------------------- set up

    /// Before time passes. Or all at once: check_all, check_sound (invariants/all.hpp).
    template <typename... Invariants>
    void check() {
        static_assert((std::is_base_of_v<invariant, Invariants> && ...),
                      "rota::sim: what is checked must derive from rota::sim::invariant, as sim::one_leader does");
        before_time_passes("check");
        if constexpr ((std::is_base_of_v<invariant, Invariants> && ...)) (add<Invariants>(), ...);
    }

    /// Tells `watcher`, an audience that is no invariant, of all that happens. It must outlive the world.
    template <typename Watcher>
    void watch(Watcher& watcher) {
        watch_.add(&watcher);
    }

    /// Any strategy policy, for all nodes of this world. Before time passes, and before check_all() or check_sound():
    /// what they ask for depends on its `habits`.
    template <typename Strategy>
    void use_strategy(Strategy strategy, strategy_habits habits = {}) {
        static_assert(strategy_policy<rota::detail::unwrapped_t<Strategy>>,
                      "rota::sim: a strategy must have `rota::plan make_plan(rota::cluster_view const&) const`, or "
                      "`void make_plan(rota::cluster_view const&, rota::plan&) const`");
        before_time_passes("use_strategy");
        auto held = std::make_shared<Strategy>(std::move(strategy));
        planner_ = {held.get(), [](void const* self, cluster_view const& view, plan& into) {
                        auto const& s = rota::detail::unwrap(*static_cast<Strategy const*>(self));
                        if constexpr (requires { s.make_plan(view, into); }) {
                            s.make_plan(view, into);
                        } else {
                            into = s.make_plan(view);
                        }
                    }};
        strategy_ = held;
        habits_ = habits;
    }
    [[nodiscard]] strategy_habits const& habits() const { return habits_; }

    /// Any sink policy, for all nodes of this world: a copy per process, unless given by std::ref. Before time passes.
    template <typename Sink>
    void use_sink(Sink const& sink) {
        before_time_passes("use_sink");
        for (auto& s : slots_) s.make_sink = maker_of_sinks(sink);
    }
    /// The user's work, for all nodes: see job. A copy per process, unless given by std::ref. Before time passes. Some node
    /// must have work: else nothing would call it.
    template <typename Handler>
    void use_handler(Handler const& handler) {
        before_time_passes("use_handler");
        for (auto& s : slots_) s.handler = handler_of(handler);
    }

    /// Makes these exist.
    void register_schedules(std::vector<schedule> const& all) {
        op::register_schedules request;
        for (std::size_t i = 0; i < all.size(); ++i) {
            request.items.push_back({all[i].id, all[i].weight, to_traits(all[i].rules)});
            if (request.items.size() == op::max_batch || i + 1 == all.size()) administer(std::exchange(request, {}));
        }
    }
    /// Makes schedule-0000 … exist.
    void register_schedules(std::uint32_t count) {
        op::register_schedules request;
        for (std::uint32_t i = 0; i < count; ++i) {
            request.items.push_back({.id = schedule_id(i)});
            if (request.items.size() == op::max_batch || i + 1 == count) {
                administer(std::exchange(request, {}));
            }
        }
        schedules_ = std::max(schedules_, count);
    }
    [[nodiscard]] static std::string schedule_id(std::uint32_t n) { return fmt::format("schedule-{:04}", n); }

    // ---------------------------------------------------------------- handles, by number or by node (handles.hpp)

    [[nodiscard]] node_handle node(std::uint32_t place) { return {*this, known(place)}; }
    /// The node that believes it leads. There must be one.
    [[nodiscard]] node_handle leader();
    /// The first member that does not. There must be one.
    [[nodiscard]] node_handle follower();
    [[nodiscard]] link_handle link(std::uint32_t place) { return {*this, known(place)}; }
    [[nodiscard]] link_handle link(node_handle const& n) { return link(n.place()); }
    [[nodiscard]] clock_handle clock(std::uint32_t place) { return {*this, known(place)}; }
    [[nodiscard]] clock_handle clock(node_handle const& n) { return clock(n.place()); }
    [[nodiscard]] redis_handle redis() { return redis_handle{*this}; }

    // ---------------------------------------------------------------- time

    void run_for(microseconds time) {
        if (time < microseconds{}) throw std::logic_error("rota::sim::world::run_for: time does not go back");
        begin();
        auto const until = stage_.now + time;
        while (stage_.queue.next_at() <= until) advance();
        stage_.now = until;
    }

    /// Runs until `predicate(*this)` holds: a bool, or a text that says what is missing. Looked at every millisecond at
    /// most, and only when something has happened. Gives up after `limit`.
    template <typename Predicate>
    outcome_of_wait run_until(Predicate&& predicate, microseconds limit) {
        static_assert(is_predicate_of_world<Predicate>,
                      "rota::sim: run_until takes a predicate that is called with a rota::sim::world& (or const&) and "
                      "returns bool, or a std::string that says what is missing");
        if constexpr (is_predicate_of_world<Predicate>) {
            return wait_until(predicate, limit);
        } else {
            return {};
        }
    }

    [[nodiscard]] moment now() const { return stage_.now; }

    // ---------------------------------------------------------------- looking at it
    [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(slots_.size()); }
    /// Every process that there ever was.
    [[nodiscard]] std::deque<std::unique_ptr<process>> const& processes() const { return processes_; }
    /// Those that are there now, in order of their start.
    [[nodiscard]] std::vector<process*> const& living() const { return living_; }
    /// The one that runs on a node now; null while it is down.
    [[nodiscard]] process* process_at(std::uint32_t place) const {
        auto const number = slots_[known(place)].current;
        return number == no_process ? nullptr : processes_[number].get();
    }
    [[nodiscard]] node_clock const& clock_of(std::uint32_t place) const { return slots_[known(place)].clock; }
    [[nodiscard]] redis_model const& servers() const { return redis_; }
    [[nodiscard]] store_model const& store() const { return redis_.store(); }
    [[nodiscard]] std::int64_t server_time() const { return redis_.clock(redis_.primary(), stage_.now); }
    [[nodiscard]] moment true_time_of(std::int64_t server_time) const {
        return stage_.now + microseconds{server_time - this->server_time()};
    }
    [[nodiscard]] world_settings const& settings() const { return settings_; }
    [[nodiscard]] network const& wires() const { return network_; }
    /// How much there is of what a run keeps: none of it grows with time.
    struct size_of_parts {
        std::size_t waiting = 0;     ///< things that are to happen
        std::size_t messages = 0;    ///< places for those on their way
        std::size_t replicated = 0;  ///< writes that the replica is still to be given
        std::size_t processes = 0;   ///< that there ever were
        std::size_t runs = 0;        ///< places for the work of those that live
    };
    [[nodiscard]] size_of_parts sizes() const {
        size_of_parts s{stage_.queue.size(), network_.places(), redis_.behind(), processes_.size(), 0};
        for (auto const* p : living_) s.runs += p->runs().size();
        return s;
    }
    /// Which rare turns this run has come by.
    [[nodiscard]] sometimes const& seen() const { return stage_.seen; }
    [[nodiscard]] std::uint64_t events() const { return events_; }
    [[nodiscard]] std::uint32_t schedules() const { return schedules_; }
    /// The same for the same seed, settings and plan, whatever compiled it.
    [[nodiscard]] std::uint64_t trace_hash() const { return hash_; }
    /// Whether rota's promises hold now: nothing that they exclude has happened for as long as any belief lasts, and no
    /// record is damaged.
    [[nodiscard]] bool promises_hold() const { return stage_.now >= promises_from_ && !damaged_since_; }
    [[nodiscard]] bool promises_ever_broken() const { return promises_from_ > moment{} || damaged_since_; }
    /// Since when there is damage that was done and is not mended yet.
    [[nodiscard]] std::optional<moment> damaged_since() const { return damaged_since_; }
    /// Its process is up and not paused, and nothing is wrong with its link and clock.
    [[nodiscard]] bool is_healthy(std::uint32_t place) const {
        auto const& s = slots_[known(place)];
        auto const& w = s.way;
        return s.current != no_process && !processes_[s.current]->paused() && w.requests_cut == 0 &&
               w.replies_cut == 0 && w.stalled == 0 && w.refused == 0 && w.extra_delay == microseconds{} &&
               !w.old_server && !runs_too_far_off(s.clock);
    }
    /// Since when no fault began or ended, and no process did; nodes may have been down, paused or cut off all the while.
    /// now(): the server is not well, or a link is slow (who is behind it can neither be done with nor without).
    [[nodiscard]] moment calm_since() const {
        bool const well = servers_down_ == 0 && redis_.server(redis_.primary()).up && !network_.answer_error &&
                          network_.slow_by == microseconds{} && redis_.server(redis_.primary()).free_from <= stage_.now;
        bool const slow =
            std::any_of(slots_.begin(), slots_.end(), [](slot const& s) { return s.way.extra_delay > microseconds{}; });
        return well && !slow ? std::max(last_fault_, last_process_) : stage_.now;
    }
    [[nodiscard]] rota::options const& options_of(std::uint32_t place) const { return slots_[known(place)].options; }
    /// Whether any node runs the user's work.
    [[nodiscard]] bool has_work() const {
        return std::any_of(slots_.begin(), slots_.end(), [](slot const& s) { return s.work.period > microseconds{}; });
    }
    /// Whether the sink of any node is told of the whole group.
    [[nodiscard]] bool has_group_subscribers() const {
        return std::any_of(slots_.begin(), slots_.end(),
                           [](slot const& s) { return s.options.event_scope == event_scope::group; });
    }
    /// When a fault last began or ended.
    [[nodiscard]] moment last_fault() const { return last_fault_; }

    // ---------------------------------------------------------------- faults

    /// Ends all faults, whatever remains of the plan included, and sets clocks right that run outside of the promises.
    void heal() {
        begin();
        end_faults([](fault const&) { return true; });
        plan_is_over_ = true;
        for (auto& s : slots_) {
            s.way.lose_next_reply = false;
            s.way.make_next_late = {};
            if (runs_too_far_off(s.clock)) s.clock.run_fast_by(stage_.now, 0);
        }
        take_back_orders();
        look_at_clocks();
    }
    /// One more fault, beginning now; handles say it shorter.
    void begin_fault(fault f) {
        f.at = stage_.now;
        check_fault(f, to_text(f));
        if (names_schedule(f.kind) && schedule_of(f) > last_schedule()) {
            throw std::logic_error(
                fmt::format("rota::sim::world: {}: there is no schedule {}: {} are registered, say 0 .. {}", to_text(f),
                            schedule_of(f), schedules_, last_schedule()));
        }
        begin();
        settings_.faults.push_back(f);
        under_way_.push_back(false);
        begin_fault(settings_.faults.size() - 1);
    }
    /// In a plan a number counts round, so that it means something still where a shrunk run has fewer schedules.
    [[nodiscard]] std::string schedule_named_by(fault const& f) const {
        return schedule_id(static_cast<std::uint32_t>(schedule_of(f) % (last_schedule() + 1)));
    }
    template <typename Which>
    void end_faults(Which&& which) {
        for (std::size_t i = 0; i < settings_.faults.size(); ++i) {
            if (under_way_[i] && which(settings_.faults[i])) end_fault(i);
        }
    }

    [[noreturn]] void broken(std::string_view invariant, std::string words) const {
        auto const headline = fmt::format("{} broken at {}: {}\n", invariant, in_words(stage_.now), words);
        auto report = headline + fmt::format("  seed {}\n", settings_.seed);
        report += "  last events:\n" + last_events();
        if (!settings_.faults.empty()) report += "  faults:\n";
        for (auto const& f : settings_.faults) report += "    " + to_text(f) + "\n";
        report += headline;  // once more: the first one may have scrolled away
        watch_.tell_broken(invariant, words);
        throw broken_invariant{std::string{invariant}, stage_.now, std::move(words), hash_, report};
    }

    /// The last things that happened, one per line, `most` of them or what is kept; before them how many more there were.
    [[nodiscard]] std::string last_events(std::size_t most = 40) const {
        std::string text;
        auto const count = std::min({noted_, notes_.size(), most});
        auto const first = noted_ - count;
        if (first > 0) text += fmt::format("    ... {} earlier\n", first);
        for (auto i = first; i < noted_; ++i) {
            auto const& n = notes_[i % notes_.size()];
            text += fmt::format("    {:>12} {}\n", in_words(n.at), n.words);
        }
        return text;
    }
    /// Whether to keep words on everything that happens, for last_events(): on unless turned off, as sweeps do; slow.
    void keep_notes(bool on) { keeps_notes_ = on; }
    void note(std::string words) {
        if (!keeps_notes_) return;
        if (noted_ < notes_.size() || !notes_.empty()) notes_[noted_ % notes_.size()] = {stage_.now, std::move(words)};
        ++noted_;
    }

protected:
    using maker = std::unique_ptr<node_machine> (*)(options, rota::detail::planner,
                                                    std::shared_ptr<rota::detail::belief>, std::uint64_t);
    world(world_settings s, std::optional<choices> c, std::unique_ptr<store_model> empty, maker make)
        : settings_{std::move(s)},
          stage_{c ? std::move(*c) : choices{mixed(settings_.seed)}},
          redis_{std::move(empty), settings_.longest_loss},
          network_{stage_, redis_, settings_.network},
          make_{make} {
        set_up();
    }

private:
    world(world_settings s, std::optional<choices> c)
        : world{std::move(s), std::move(c), std::make_unique<store_model_of<rota::detail::sound>>(),
                [](options o, rota::detail::planner p, std::shared_ptr<rota::detail::belief> b,
                   std::uint64_t entropy) -> std::unique_ptr<node_machine> {
                    return std::make_unique<node_machine_of<rota::detail::sound>>(std::move(o), p, std::move(b),
                                                                                  entropy);
                }} {}

    using sink_maker = std::function<std::function<void(event const&)>()>;
    struct slot {
        std::string node_id;
        node_clock clock;
        route way;
        std::uint32_t current = no_process;
        bool starting = false;
        unsigned down = 0;  // faults that keep it so
        rota::options options{};
        work_settings work{};
        sink_maker make_sink{};
        work_handler handler{};
        bool handler_is_its_own = false;  // given to this node, rather than to all
    };
    friend class node_handle;
    template <typename Sink>
    static sink_maker maker_of_sinks(Sink const& sink) {
        static_assert(sink_policy<rota::detail::unwrapped_t<Sink>>,
                      "rota::sim: a sink must take rota::event const&, or some of the event types");
        return [sink] {
            return std::function<void(event const&)>{
                [copy = sink](event const& e) mutable { rota::detail::deliver(copy, e); }};
        };
    }
    template <typename Handler>
    static work_handler handler_of(Handler const& handler) {
        static_assert(
            std::is_invocable_r_v<microseconds, Handler&, job const&>,
            "rota::sim: a handler takes rota::sim::job const& and returns how long it works until it is called "
            "again, 0 if it is done");
        return handler;
    }

    // Hands what happens to the invariants that want it, and to the trace.
    class fan_out final : public audience {
    public:
        explicit fan_out(world& w) : world_{w} {}
        void performed(step const& s) override {
            world_.hash_in(s.request.index() << 8 | (s.answer ? s.answer->index() : 0x80u));
            world_.hash_in(s.answer ? 0 : static_cast<std::uint64_t>(s.answer.error().code));
            if (world_.keeps_notes_) world_.note_step(s);
            auto const* const by = s.process == no_process ? nullptr : world_.processes_[s.process].get();
            world_.spotter_.performed(s, *world_.redis_.server(s.server).store, by);
            for (auto* i : performed_) i->performed(s);
        }
        void acted(process const& p) override {
            for (auto* i : acted_) i->acted(p);
        }
        void told(process const& p, event const& e) override {
            world_.hash_in(0x100 + e.index());
            if (world_.keeps_notes_) world_.note_event(p, e);
            world_.spotter_.told(p, e);
            for (auto* i : told_) i->told(p, e);
        }
        void lock_taken(process const& p, run const& r) override {
            world_.hash_in(r.token);
            for (auto* i : locks_) i->lock_taken(p, r);
        }
        void lock_ended(process const& p, run const& r) override {
            for (auto* i : locks_) i->lock_ended(p, r);
        }
        void run_began(process const& p, run const& r) override {
            if (world_.keeps_notes_) world_.note(fmt::format("{} begins {} under {}", who(p), r.name, r.token));
            world_.spotter_.effect(r);
            for (auto* i : runs_) i->run_began(p, r);
        }
        void run_worked(process const& p, run const& r) override {
            world_.spotter_.effect(r);
            for (auto* i : runs_) i->run_worked(p, r);
        }
        void run_ended(process const& p, run const& r) override {
            if (world_.keeps_notes_) world_.note(fmt::format("{} ends {} under {}", who(p), r.name, r.token));
            for (auto* i : runs_) i->run_ended(p, r);
        }
        void fault_began(fault const& f) override {
            world_.note(to_text(f));
            for (auto* i : faults_) i->fault_began(f);
        }
        void fault_ended(fault const& f) override {
            world_.note("over: " + to_text(f));
            for (auto* i : faults_) i->fault_ended(f);
        }
        void process_began(process const& p) override {
            world_.last_process_ = world_.stage_.now;
            world_.note(who(p) + " starts");
            for (auto* i : processes_) i->process_began(p);
        }
        void process_ended(process const& p, std::string_view how) override {
            world_.last_process_ = world_.stage_.now;
            world_.spotter_.process_ended(p);
            world_.note(who(p) + " ends: " + std::string{how});
            for (auto* i : processes_) i->process_ended(p, how);
        }
        void tell_broken(std::string_view invariant, std::string_view words) const {
            for (auto* i : of_breaks_) i->broke(world_.stage_.now, invariant, words);
        }

        // Who does not override a hook is not called for it.
        template <typename T>
        void add(T* watcher) {
            if constexpr (!std::is_same_v<decltype(&T::performed), decltype(&audience::performed)>)
                performed_.push_back(watcher);
            if constexpr (!std::is_same_v<decltype(&T::acted), decltype(&audience::acted)>) acted_.push_back(watcher);
            if constexpr (!std::is_same_v<decltype(&T::told), decltype(&audience::told)>) told_.push_back(watcher);
            if constexpr (!std::is_same_v<decltype(&T::lock_taken), decltype(&audience::lock_taken)> ||
                          !std::is_same_v<decltype(&T::lock_ended), decltype(&audience::lock_ended)>)
                locks_.push_back(watcher);
            if constexpr (!std::is_same_v<decltype(&T::run_began), decltype(&audience::run_began)> ||
                          !std::is_same_v<decltype(&T::run_worked), decltype(&audience::run_worked)> ||
                          !std::is_same_v<decltype(&T::run_ended), decltype(&audience::run_ended)>)
                runs_.push_back(watcher);
            if constexpr (!std::is_same_v<decltype(&T::fault_began), decltype(&audience::fault_began)> ||
                          !std::is_same_v<decltype(&T::fault_ended), decltype(&audience::fault_ended)>)
                faults_.push_back(watcher);
            if constexpr (!std::is_same_v<decltype(&T::process_began), decltype(&audience::process_began)> ||
                          !std::is_same_v<decltype(&T::process_ended), decltype(&audience::process_ended)>)
                processes_.push_back(watcher);
            if constexpr (!std::is_same_v<decltype(&T::broke), decltype(&audience::broke)>)
                of_breaks_.push_back(watcher);
        }

    private:
        static std::string who(process const& p) { return fmt::format("{}#{}", p.node_id(), p.number()); }
        world& world_;
        std::vector<audience*> performed_, acted_, told_, locks_, runs_, faults_, processes_, of_breaks_;
    };

    template <typename T>
    void add() {
        auto owned = std::make_unique<T>();
        owned->belongs_to(*this);
        watch_.add(owned.get());
        if constexpr (!std::is_same_v<decltype(&T::looks), decltype(&invariant::looks)>)
            lookers_.push_back(owned.get());
        invariants_.push_back(std::move(owned));
    }

    void set_up() {
        if (settings_.nodes == 0) throw std::logic_error("rota::sim::world: a world needs nodes");
        if (!(settings_.clock_drift >= 0 && settings_.clock_drift <= 0.1)) {
            throw std::logic_error("rota::sim::world: clock_drift must be 0 .. 0.1");
        }
        stage_.watch = &watch_;
        use_strategy(least_moves{});
        auto const drift = static_cast<std::int64_t>(settings_.clock_drift * 1e9);
        for (std::uint32_t i = 0; i < settings_.nodes; ++i) {
            auto& s = slots_.emplace_back();
            s.node_id = fmt::format("node-{}", i);
            auto const shows = stage_.pick.between(std::chrono::hours{1}, std::chrono::hours{1000});
            auto const fast_by = stage_.pick.between(microseconds{-drift}, microseconds{drift}).count();
            s.clock = {moment{}, instant{shows}, fast_by};
            s.options = settings_.options;
            s.work = settings_.work;
        }
        under_way_.resize(settings_.faults.size());
        notes_.resize(256);
    }

    // The first time that time passes.
    void begin() {
        if (begun_) return;
        check_settings();
        begun_ = true;
        for (std::uint32_t i = 0; i < settings_.nodes; ++i) {
            auto const after = stage_.pick.between({}, settings_.options.heartbeat_interval);
            slots_[i].starting = true;
            stage_.queue.add(stage_.now + after, happening::process_starts, i);
        }
        for (std::size_t i = 0; i < settings_.faults.size(); ++i) {
            stage_.queue.add(settings_.faults[i].at, happening::fault_begins, 0, i);
        }
        stage_.queue.add(stage_.now + std::chrono::seconds{1}, happening::watch_looks);
        for (auto& i : invariants_) i->begin();
    }

    // Wrong use is said before time passes.
    void check_settings() {
        auto refuse = [](std::string const& why) { throw std::logic_error("rota::sim::world: " + why); };
        bool handled = false;
        bool calls_handler = false;
        for (auto& s : slots_) {
            s.options.node_id = s.node_id;
            check_options(s.options);
            check_work(s.work);
            if (s.handler_is_its_own) check_handler(s);
            handled = handled || s.handler;
            calls_handler = calls_handler || (s.handler && s.work.period > microseconds{});
        }
        if (handled && !calls_handler) refuse(std::string{"use_handler: "} + handler_is_idle);
        if (settings_.network.least_delay < microseconds{} ||
            settings_.network.most_delay < settings_.network.least_delay) {
            refuse("network: delays must not be negative, nor most_delay less than least_delay");
        }
        if (settings_.longest_loss < microseconds{}) refuse("longest_loss must not be negative");
        if (settings_.restart_after < microseconds{}) refuse("restart_after must not be negative");
        for (std::size_t i = 0; i < settings_.faults.size(); ++i) {
            check_fault(settings_.faults[i], fmt::format("fault {} ({})", i, to_text(settings_.faults[i])));
        }
        for (auto const& i : invariants_) {
            if (auto const missing = i->lacks(); !missing.empty()) {
                refuse(fmt::format("{} cannot be checked here: {}", i->name(), missing));
            }
        }
    }
    void check_options(rota::options const& o) const {
        auto refuse = [](std::string const& why) { throw std::logic_error("rota::sim::world: " + why); };
        if (auto r = validate(o); !r) refuse(o.node_id + ": " + r.error().detail);
        if (settings_.clock_drift > o.clock_drift) {
            refuse(fmt::format("clock_drift is {}, and options::clock_drift allows for {} only: no promise would hold",
                               settings_.clock_drift, o.clock_drift));
        }
    }
    static void check_work(work_settings const& w) {
        auto refuse = [](std::string const& why) { throw std::logic_error("rota::sim::world: work: " + why); };
        if (w.period < microseconds{} || w.least < microseconds{} || w.most < w.least) {
            refuse("period, least and most must not be negative, nor most less than least");
        }
        if (w.period > microseconds{} && w.lock_ttl < std::chrono::milliseconds{1}) {
            refuse("lock_ttl must be 1 ms or more");
        }
    }
    static constexpr char const* handler_is_idle =
        "there are no runs that would call it: set world_settings::work, or use_work";
    static void check_handler(slot const& s) {
        if (s.work.period > microseconds{}) return;
        throw std::logic_error(fmt::format("rota::sim::world: use_handler of {}: {}", s.node_id, handler_is_idle));
    }
    void check_fault(fault const& f, std::string const& which) const {
        auto refuse = [&](std::string const& why) {
            throw std::logic_error("rota::sim::world: " + which + ": " + why);
        };
        if (concerns_node(f.kind) && f.node >= slots_.size()) refuse(no_such_node(f.node));
        if (auto const why = what_is_senseless(f); !why.empty()) refuse(why);
        if (f.kind == fault_kind::fail_over && settings_.longest_loss == microseconds{}) {
            refuse("fail_over needs a replica: set world_settings::longest_loss");
        }
        if (f.kind == fault_kind::fail_over && f.amount > settings_.longest_loss.count()) {
            refuse("fail_over cannot lose more than world_settings::longest_loss, " +
                   seconds_in_words(settings_.longest_loss));
        }
    }
    void before_time_passes(char const* what) const {
        if (begun_) throw std::logic_error(fmt::format("rota::sim::world::{}: before time passes, please", what));
    }
    [[nodiscard]] std::string no_such_node(std::uint32_t place) const {
        return fmt::format("there is no node {}: this world has 0 to {}", place, slots_.size() - 1);
    }
    [[nodiscard]] std::uint32_t known(std::uint32_t place) const {
        if (place >= slots_.size()) throw std::logic_error("rota::sim::world: " + no_such_node(place));
        return place;
    }

    template <typename Predicate>
    outcome_of_wait wait_until(Predicate& predicate, microseconds limit) {
        if (limit < microseconds{}) throw std::logic_error("rota::sim::world::run_until: time does not go back");
        begin();
        auto const until = stage_.now + limit;
        auto missing = missing_of(predicate);
        while (!missing.empty()) {
            auto const next = stage_.queue.next_at();
            if (next > until) {
                stage_.now = until;
                return {false, std::move(missing)};
            }
            auto const look_at = stage_.now + std::chrono::milliseconds{1};
            while (stage_.queue.next_at() <= std::min(look_at, until)) advance();
            if (stage_.queue.next_at() > look_at) stage_.now = std::min(look_at, until);
            missing = missing_of(predicate);
        }
        return {true, {}};
    }

    template <typename Predicate>
    std::string missing_of(Predicate& predicate) {
        auto found = predicate(*this);
        if constexpr (std::is_same_v<decltype(found), bool>) {
            return found ? std::string{} : std::string{"the condition does not hold"};
        } else {
            return found;
        }
    }

    void hash_in(std::uint64_t word) { hash_ = mixed(hash_ ^ word); }

    void advance() {
        auto const e = stage_.queue.take();
        ++events_;
        stage_.now = e.at;
        hash_in(static_cast<std::uint64_t>(e.at.time_since_epoch().count()) << 8 | static_cast<std::uint64_t>(e.what));
        hash_in(std::uint64_t{e.who} << 32 ^ e.detail);
        switch (e.what) {
            case happening::request_arrives: serve(static_cast<std::uint32_t>(e.detail)); break;
            case happening::server_goes_on: {
                auto const server = static_cast<std::uint32_t>(e.detail);
                while (auto const message = network_.next_waiting(server)) {
                    serve(*message);
                    network_.was_waiting(server);
                }
                break;
            }
            case happening::process_starts: start_process(e.who); break;
            case happening::fault_begins:
                if (!plan_is_over_) begin_fault(static_cast<std::size_t>(e.detail));
                break;
            case happening::fault_ends:
                if (under_way_[e.detail]) end_fault(static_cast<std::size_t>(e.detail));
                break;
            case happening::watch_looks:
                stage_.queue.add(stage_.now + std::chrono::seconds{1}, happening::watch_looks);
                look_at_damage();
                for (auto* i : lookers_) i->looks();
                break;
            default:
                processes_[e.who]->on(e);
                after_process(*processes_[e.who]);
                break;
        }
    }

    void serve(std::uint32_t message) {
        auto* const from = processes_[network_.at(message).process].get();
        network_.serve(message, from->alive() ? &from->link() : nullptr);
        if (!network_.take_changed()) return;
        for (auto* p : living_) p->look_for_push(*redis_.server(p->link().server).store, {});
    }

    // A program that has ended is started again, as by a supervisor; one that has been replaced is not.
    void after_process(process& p) {
        if (p.alive() && p.spins() > 10'000)
            broken("no_busy_loop", p.node_id() + " has nothing to do, and does not sleep");
        if (p.alive() && !p.stopped()) return;
        if (p.alive()) p.die("run() returned");
        std::erase(living_, &p);
        auto& s = slots_[p.slot()];
        if (s.current != p.number()) return;
        s.current = no_process;
        if (!s.starting) start_later(p.slot(), settings_.restart_after);
    }
    void start_later(std::uint32_t number, microseconds after) {
        slots_[number].starting = true;
        stage_.queue.add(stage_.now + after, happening::process_starts, number);
    }
    void start_now(std::uint32_t number) {
        if (std::exchange(slots_[number].starting, true)) return;
        start_process(number);
    }
    void start_process(std::uint32_t number) {
        auto& s = slots_[number];
        if (!std::exchange(s.starting, false) || s.down > 0) return;
        process_makings m{.number = static_cast<std::uint32_t>(processes_.size()),
                          .slot = number,
                          .settings = s.options,
                          .work = s.work,
                          .sink = s.make_sink ? s.make_sink() : nullptr,
                          .handler = s.handler,
                          .strategy = planner_,
                          .make = make_};
        m.settings.node_id = s.node_id;
        processes_.push_back(std::make_unique<process>(stage_, network_, s.clock, s.way, std::move(m)));
        auto& p = *processes_.back();
        p.world = this;
        p.store_of = [](void const* self, std::uint32_t server) -> store_model const* {
            return static_cast<world const*>(self)->redis_.server(server).store.get();
        };
        living_.push_back(&p);
        s.current = p.number();
        watch_.process_began(p);
        p.start();
    }
    void kill(std::uint32_t slot_number, std::string_view how) {
        auto& s = slots_[slot_number];
        if (s.current == no_process) return;
        auto& p = *processes_[s.current];
        s.current = no_process;
        p.die(how);
        std::erase(living_, &p);
    }

    void administer(operation request) {
        auto const answer = redis_.perform(redis_.primary(), request, {}, stage_.now);
        watch_.performed({request, answer, redis_.primary(), no_process, server_time()});
        for (auto* p : living_) p->look_for_push(*redis_.server(p->link().server).store, {});
    }

    // ---------------------------------------------------------------- faults

    template <typename Use>
    void with_process(std::uint32_t slot_number, Use&& use) {
        auto const number = slots_[slot_number].current;
        if (number == no_process) return;
        auto& p = *processes_[number];
        use(p);
        after_process(p);
    }
    void break_connections(std::uint32_t server) {
        for (auto* p : living_) {
            if (p->link().server == server) network_.end_connection(p->link(), p->number());
        }
    }
    // For how long the promises are off after something that they exclude, and that lasts: until every belief of before
    // has run out, and every node has heard.
    void suspend_promises(microseconds lasting = {}) {
        microseconds longest{};
        for (auto const& s : slots_) {
            auto const o = with_defaults(s.options);
            longest = std::max(
                {longest, 2 * std::max({o.node_ttl, o.leader_lease, s.work.lock_ttl}) + 10 * o.operation_timeout});
        }
        promises_from_ = std::max(promises_from_,
                                  stage_.now + longest + std::min(lasting, microseconds{std::chrono::hours{10'000}}));
    }

    [[nodiscard]] bool runs_too_far_off(node_clock const& c) const {
        auto const most = static_cast<std::int64_t>(settings_.options.clock_drift * 1e9);
        return c.fast_by() > most || c.fast_by() < -most;
    }
    // No promise holds while a clock runs at a rate that options::clock_drift does not allow for.
    void look_at_clocks() {
        bool off = false;
        for (auto const& s : slots_) off = off || runs_too_far_off(s.clock);
        if (off) {
            promises_from_ = moment::max();
        } else if (promises_from_ == moment::max()) {
            promises_from_ = moment{};
            suspend_promises();
        }
    }

    void begin_fault(std::size_t index) {
        auto const f = settings_.faults[index];
        under_way_[index] = true;
        last_fault_ = stage_.now;
        watch_.fault_began(f);
        if (!within_promises(f.kind)) suspend_promises(f.lasting);
        auto* const s = concerns_node(f.kind) ? &slots_[f.node] : nullptr;
        switch (f.kind) {
            case fault_kind::crash:
                ++s->down;
                kill(f.node, "crashed");
                break;
            case fault_kind::replace: start_now(f.node); break;
            case fault_kind::pause:
                if (s->current != no_process) paused_.push_back({index, s->current}), processes_[s->current]->pause();
                break;
            case fault_kind::leave:
                ++s->down;
                if (s->current != no_process) {
                    auto& p = *processes_[s->current];
                    s->current = no_process;
                    p.leave();
                    if (!p.alive()) std::erase(living_, &p);
                }
                break;
            case fault_kind::renounce: with_process(f.node, [](process& p) { p.renounce(); }); break;
            case fault_kind::clock_rate:
                s->clock.run_fast_by(stage_.now, f.amount);
                look_at_clocks();
                break;
            case fault_kind::wall_jump: s->clock.wall_offset += microseconds{f.amount}; break;
            case fault_kind::delay: s->way.extra_delay += microseconds{f.amount}; break;
            case fault_kind::stall: ++s->way.stalled; break;
            case fault_kind::cut_requests: ++s->way.requests_cut; break;
            case fault_kind::cut_replies: ++s->way.replies_cut; break;
            case fault_kind::cut: ++s->way.requests_cut, ++s->way.replies_cut; break;
            case fault_kind::refuse:
                ++s->way.refused;
                break_connection_of(f.node);
                break;
            case fault_kind::reset: break_connection_of(f.node); break;
            case fault_kind::lose_reply: s->way.lose_next_reply = true; break;
            case fault_kind::late_request: s->way.make_next_late = microseconds{f.amount}; break;
            case fault_kind::claim: with_process(f.node, [&](process& p) { p.claim(schedule_named_by(f)); }); break;
            case fault_kind::transfer:
                with_process(f.node, [&](process& p) {
                    p.transfer(schedule_named_by(f), slots_[(f.node + 1) % slots_.size()].node_id);
                });
                break;
            case fault_kind::register_one:
                with_process(f.node, [&](process& p) { p.add_schedule(schedule_named_by(f)); });
                break;
            case fault_kind::unregister_one:
                with_process(f.node, [&](process& p) { p.remove_schedule(schedule_named_by(f)); });
                break;
            case fault_kind::update_one:
                with_process(f.node, [&](process& p) {
                    p.update_schedule(becomes(f, schedule_named_by(f), neighbour_of(f.node, 1)),
                                      stage_.now + f.lasting);
                });
                break;
            case fault_kind::attributes:
                with_process(f.node, [&](process& p) { p.set_attributes(attributes_at(f.amount, usual(*s))); });
                break;
            case fault_kind::report_load:
                with_process(f.node, [&](process& p) { p.report_load(static_cast<double>(f.amount)); });
                break;
            case fault_kind::drain:
                with_process(f.node, [&](process& p) {
                    p.give_order(op::order_kind::drain, neighbour_of(f.node, f.amount), stage_.now + f.lasting);
                });
                break;
            case fault_kind::maintenance:
                with_process(f.node, [&](process& p) {
                    p.give_order(op::order_kind::begin_maintenance, {}, stage_.now + f.lasting);
                });
                break;
            case fault_kind::damage: do_damage(f); break;
            case fault_kind::slow_server: network_.slow_by += microseconds{f.amount}; break;
            case fault_kind::stall_server: {
                auto& server = redis_.server(redis_.primary());
                server.free_from = std::max(server.free_from, stage_.now + f.lasting);
                break;
            }
            case fault_kind::restart_server:
            case fault_kind::lose_data: {
                auto& server = redis_.server(redis_.primary());
                server.up = false;
                ++server.run;
                ++servers_down_;
                if (f.kind == fault_kind::lose_data) redis_.lose_data();
                break_connections(redis_.primary());
                break;
            }
            case fault_kind::server_error: network_.answer_error = static_cast<std::size_t>(f.amount); break;
            case fault_kind::server_clock: redis_.server(redis_.primary()).clock_offset += f.amount; break;
            case fault_kind::fail_over: {
                auto const old = redis_.primary();
                if (redis_.fail_over(microseconds{f.amount}, stage_.now)) stage_.seen.saw(sight::failover_with_loss);
                for (auto& each : slots_) {
                    if (f.lasting > microseconds{} && stage_.pick.one_in(2)) each.way.old_server = old;
                }
                for (auto* p : living_) {
                    if (!p->link().way->old_server) network_.end_connection(p->link(), p->number());
                }
                break;
            }
        }
        stage_.queue.add(stage_.now + f.lasting, happening::fault_ends, 0, index);
    }

    void end_fault(std::size_t index) {
        auto const f = settings_.faults[index];
        under_way_[index] = false;
        last_fault_ = stage_.now;
        auto* const s = concerns_node(f.kind) ? &slots_[f.node] : nullptr;
        auto free_way = [&] {
            for (auto* p : living_) {
                if (p->slot() == f.node) network_.release_held(p->link(), p->number());
            }
        };
        switch (f.kind) {
            case fault_kind::crash:
            case fault_kind::leave:
                if (--s->down == 0 && s->current == no_process) start_now(f.node);
                break;
            case fault_kind::pause:
                for (auto& [fault, number] : paused_) {
                    if (fault == index) processes_[number]->go_on();
                }
                std::erase_if(paused_, [&](auto const& p) { return p.first == index; });
                break;
            case fault_kind::delay: s->way.extra_delay -= microseconds{f.amount}; break;
            case fault_kind::stall: --s->way.stalled, free_way(); break;
            case fault_kind::cut_requests: --s->way.requests_cut, free_way(); break;
            case fault_kind::cut_replies: --s->way.replies_cut, free_way(); break;
            case fault_kind::cut: --s->way.requests_cut, --s->way.replies_cut, free_way(); break;
            case fault_kind::refuse: --s->way.refused; break;
            case fault_kind::update_one: restore(schedule_named_by(f)); break;
            case fault_kind::attributes: with_process(f.node, [&](process& p) { p.set_attributes(usual(*s)); }); break;
            case fault_kind::drain:
                administer(op::give_order{op::order_kind::undrain, neighbour_of(f.node, f.amount)});
                break;
            case fault_kind::maintenance: administer(op::give_order{op::order_kind::end_maintenance}); break;
            case fault_kind::slow_server: network_.slow_by -= microseconds{f.amount}; break;
            case fault_kind::stall_server:
                redis_.server(redis_.primary()).free_from = stage_.now;
                network_.goes_on(redis_.primary());
                break;
            case fault_kind::restart_server:
            case fault_kind::lose_data:
                if (--servers_down_ == 0) redis_.server(redis_.primary()).up = true;
                if (f.kind == fault_kind::lose_data) suspend_promises();
                break;
            case fault_kind::server_error: network_.answer_error.reset(); break;
            case fault_kind::fail_over:
                for (std::uint32_t n = 0; n < redis_.primary(); ++n) {
                    if (!redis_.server(n).up) continue;
                    redis_.server(n).up = false;
                    break_connections(n);
                }
                for (auto& each : slots_) each.way.old_server.reset();
                suspend_promises();
                break;
            default: break;
        }
        watch_.fault_ended(f);
    }

    void break_connection_of(std::uint32_t slot_number) {
        for (auto* p : living_) {
            if (p->slot() == slot_number) network_.end_connection(p->link(), p->number());
        }
    }
    // One that is registered, or the first that is not.
    [[nodiscard]] std::int64_t last_schedule() const { return std::max<std::int64_t>(schedules_, 1); }
    [[nodiscard]] std::string const& neighbour_of(std::uint32_t place, std::int64_t further) const {
        return slots_[(place + static_cast<std::size_t>(further)) % slots_.size()].node_id;
    }
    [[nodiscard]] static node_attributes usual(slot const& s) {
        return {s.options.max_schedules_per_node, s.options.zone, s.options.labels};
    }

    // What update_one made of it is over: by an operator who is never cut off, as are the ends of all orders.
    void restore(std::string const& id) {
        auto const s = store().schedule(id);
        if (s && (s->weight != 1 || !s->traits.empty())) {
            administer(op::update_schedules{.items = {{id, 1, {}, s->owner}}});
        }
    }
    // Those too that have come late.
    void take_back_orders() {
        for (auto& node_id : store().drained()) administer(op::give_order{op::order_kind::undrain, std::move(node_id)});
        if (store().maintenance()) administer(op::give_order{op::order_kind::end_maintenance});
        for (auto const& f : settings_.faults) {
            if (f.kind == fault_kind::update_one && f.at <= stage_.now) restore(schedule_named_by(f));
        }
    }

    void do_damage(fault const& f) {
        auto const* const p = process_at(f.node);
        auto const id = schedule_named_by(f);
        auto const s = store().schedule(id);
        if (!s) return;
        // What neither a record nor an index tells of is gone for good, and its owner would never hear of it.
        bool const loses_it = way_of(f) % ways_to_damage == way_to_lose;
        if (loses_it && !store().lists(s->owner, id)) return;
        redis_.inflict(damage_at(f, id, p ? p->belief().incarnation() : 0, s->owner), stage_.now);
        if (!damaged_since_ && !store().disagreement().empty()) damaged_since_ = stage_.now;
    }
    void look_at_damage() {
        if (!damaged_since_ || !store().disagreement().empty()) return;
        damaged_since_.reset();
        stage_.seen.saw(sight::damage_mended);
        suspend_promises();
    }

    struct note_line {
        moment at{};
        std::string words{};
    };
    void note_step(step const& s) {
        auto const* p = s.process == no_process ? nullptr : processes_[s.process].get();
        note(in_words(s, p ? fmt::format("{}#{}", p->node_id(), s.process) : std::string{}));
    }
    void note_event(process const& p, event const& e) {
        note(fmt::format("{}#{} tells {}", p.node_id(), p.number(), in_words(e)));
    }

    world_settings settings_;
    stage stage_;
    redis_model redis_;
    network network_;
    maker make_;
    spotter spotter_{stage_.seen};
    fan_out watch_{*this};
    std::deque<slot> slots_;
    std::deque<std::unique_ptr<process>> processes_;
    std::vector<process*> living_;
    std::vector<std::unique_ptr<invariant>> invariants_;
    std::vector<invariant*> lookers_;
    std::shared_ptr<void> strategy_;
    strategy_habits habits_;
    rota::detail::planner planner_;
    std::vector<bool> under_way_;
    std::vector<std::pair<std::size_t, std::uint32_t>> paused_;
    bool begun_ = false;
    bool plan_is_over_ = false;
    unsigned servers_down_ = 0;
    std::uint32_t schedules_ = 0;
    std::uint64_t events_ = 0;
    std::uint64_t hash_ = 0;
    moment promises_from_{};
    std::optional<moment> damaged_since_{};
    moment last_fault_{};
    moment last_process_{};
    bool keeps_notes_ = true;
    std::vector<note_line> notes_;
    std::size_t noted_ = 0;
};

inline void invariant::fail(std::string words) const { world_->broken(name(), std::move(words)); }

// ---------------------------------------------------------------- handles

inline node_handle world::leader() {
    for (std::uint32_t i = 0; i < size(); ++i) {
        if (auto const* p = process_at(i); p && p->believes_it_leads()) return {*this, i};
    }
    throw std::logic_error("rota::sim::world::leader: at " + in_words(now()) +
                           " no node believes that it leads: run_until(sim::converged, ...) first");
}
inline node_handle world::follower() {
    for (std::uint32_t i = 0; i < size(); ++i) {
        auto const* p = process_at(i);
        if (p && p->machine().state() == standing::member && !p->believes_it_leads()) return {*this, i};
    }
    throw std::logic_error("rota::sim::world::follower: at " + in_words(now()) + " there is none");
}

inline process* node_handle::running() const { return world_->process_at(place_); }
inline std::string const& node_handle::id() const { return world_->slots_[place_].node_id; }
inline bool node_handle::is_up() const { return running() != nullptr; }
inline bool node_handle::is_member() const {
    auto const* p = running();
    return p && p->machine().state() == standing::member;
}
inline bool node_handle::is_suspended() const { return is_member() && !running()->believes_it_lives(); }
inline bool node_handle::believes_it_leads() const {
    auto const* p = running();
    return p && p->believes_it_leads();
}
inline bool node_handle::owns(std::string_view schedule) const {
    auto const* p = running();
    return p && p->believes_it_lives() && p->belief().table().contains(schedule);
}
inline std::vector<std::string> node_handle::owned() const {
    std::vector<std::string> ids;
    if (auto const* p = running()) {
        for (auto& s : p->belief().owned(p->now())) ids.push_back(std::move(s.id));
    }
    return ids;
}
inline bool node_handle::holds(std::string_view name) const {
    auto const* p = running();
    if (!p) return false;
    return std::any_of(p->runs().begin(), p->runs().end(),
                       [&](run const& r) { return r.name == name && p->is_valid(r); });
}
inline fencing_token node_handle::incarnation() const { return running() ? running()->belief().incarnation() : 0; }
inline fencing_token node_handle::term() const { return running() ? running()->belief().term() : 0; }

inline node_handle const& node_handle::suffers(fault_kind kind, microseconds lasting, std::int64_t amount) const {
    world_->begin_fault({.kind = kind, .node = place_, .lasting = lasting, .amount = amount});
    return *this;
}
inline node_handle const& node_handle::crash(microseconds down_for) const {
    return suffers(fault_kind::crash, down_for);
}
inline node_handle const& node_handle::restart() const {
    if (is_up()) suffers(fault_kind::crash);
    world_->end_faults([&](fault const& f) {
        return f.node == place_ && (f.kind == fault_kind::crash || f.kind == fault_kind::leave);
    });
    return *this;
}
inline node_handle const& node_handle::pause(microseconds time) const { return suffers(fault_kind::pause, time); }
inline node_handle const& node_handle::resume() const {
    world_->end_faults([&](fault const& f) { return f.node == place_ && f.kind == fault_kind::pause; });
    return *this;
}
inline node_handle const& node_handle::replace() const { return suffers(fault_kind::replace); }
inline node_handle const& node_handle::leave(microseconds away_for) const {
    return suffers(fault_kind::leave, away_for);
}
inline node_handle const& node_handle::renounce() const { return suffers(fault_kind::renounce); }
inline node_handle const& node_handle::claim(std::uint32_t schedule) const {
    return suffers(fault_kind::claim, {}, schedule);
}
inline node_handle const& node_handle::transfer(std::uint32_t schedule) const {
    return suffers(fault_kind::transfer, {}, schedule);
}
inline node_handle const& node_handle::drain(microseconds time) const { return suffers(fault_kind::drain, time); }
inline node_handle const& node_handle::undrain() const {
    world_->end_faults(
        [&](fault const& f) { return f.kind == fault_kind::drain && world_->neighbour_of(f.node, f.amount) == id(); });
    return *this;
}
inline node_handle const& node_handle::begin_maintenance(microseconds time) const {
    return suffers(fault_kind::maintenance, time);
}
inline node_handle const& node_handle::end_maintenance() const {
    world_->end_faults([](fault const& f) { return f.kind == fault_kind::maintenance; });
    return *this;
}
inline node_handle const& node_handle::set_attributes(node_attributes a) const {
    world_->with_process(place_, [&](process& p) { p.set_attributes(std::move(a)); });
    return *this;
}
inline node_handle const& node_handle::use_options(options o) const {
    o.node_id = id();
    if (world_->begun_) world_->check_options(o);
    world_->slots_[place_].options = std::move(o);
    return *this;
}
inline node_handle const& node_handle::use_work(work_settings w) const {
    if (world_->begun_) world::check_work(w);
    world_->slots_[place_].work = w;
    return *this;
}
template <typename Sink>
node_handle const& node_handle::use_sink(Sink sink) const {
    world_->slots_[place_].make_sink = world::maker_of_sinks(sink);
    return *this;
}
template <typename Handler>
node_handle const& node_handle::use_handler(Handler handler) const {
    auto& s = world_->slots_[place_];
    if (world_->begun_) world::check_handler(s);
    s.handler = world::handler_of(handler);
    s.handler_is_its_own = true;
    return *this;
}

inline link_handle const& link_handle::suffers(fault_kind kind, microseconds lasting, std::int64_t amount) const {
    world_->begin_fault({.kind = kind, .node = place_, .lasting = lasting, .amount = amount});
    return *this;
}
inline link_handle const& link_handle::drop_replies(microseconds time) const {
    return suffers(fault_kind::cut_replies, time);
}
inline link_handle const& link_handle::drop_requests(microseconds time) const {
    return suffers(fault_kind::cut_requests, time);
}
inline link_handle const& link_handle::cut(microseconds time) const { return suffers(fault_kind::cut, time); }
inline link_handle const& link_handle::stall(microseconds time) const { return suffers(fault_kind::stall, time); }
inline link_handle const& link_handle::delay(microseconds up_to, microseconds time) const {
    return suffers(fault_kind::delay, time, up_to.count());
}
inline link_handle const& link_handle::refuse(microseconds time) const { return suffers(fault_kind::refuse, time); }
inline link_handle const& link_handle::reset() const { return suffers(fault_kind::reset); }
inline link_handle const& link_handle::lose_next_reply() const { return suffers(fault_kind::lose_reply); }
inline link_handle const& link_handle::make_next_late(microseconds by) const {
    return suffers(fault_kind::late_request, {}, by.count());
}
inline link_handle const& link_handle::heal() const {
    world_->end_faults([&](fault const& f) { return f.node == place_ && concerns_link(f.kind); });
    return *this;
}

inline clock_handle const& clock_handle::rate(double r) const {
    if (!(r >= 0.5 && r <= 2)) throw std::logic_error("rota::sim: a clock's rate must be 0.5 .. 2");
    auto const fast_by = (r - 1) * 1e9;
    world_->begin_fault({.kind = fault_kind::clock_rate,
                         .node = place_,
                         .amount = static_cast<std::int64_t>(fast_by + (fast_by < 0 ? -0.5 : 0.5))});
    return *this;
}
inline double clock_handle::rate() const { return 1 + static_cast<double>(world_->clock_of(place_).fast_by()) / 1e9; }
inline clock_handle const& clock_handle::jump_wall(microseconds by) const {
    world_->begin_fault({.kind = fault_kind::wall_jump, .node = place_, .amount = by.count()});
    return *this;
}
inline instant clock_handle::shows() const { return world_->clock_of(place_).at(world_->now()); }

inline redis_handle const& redis_handle::suffers(fault_kind kind, microseconds lasting, std::int64_t amount) const {
    world_->begin_fault({.kind = kind, .lasting = lasting, .amount = amount});
    return *this;
}
inline redis_handle const& redis_handle::fail_over(fail_over_settings s) const {
    return suffers(fault_kind::fail_over, s.old_primary_serves, s.lose_last.count());
}
inline redis_handle const& redis_handle::restart(microseconds down_for) const {
    return suffers(fault_kind::restart_server, down_for);
}
inline redis_handle const& redis_handle::restart_empty(microseconds down_for) const {
    return suffers(fault_kind::lose_data, down_for);
}
inline redis_handle const& redis_handle::stall(microseconds time) const {
    return suffers(fault_kind::stall_server, time);
}
inline redis_handle const& redis_handle::slow(microseconds by, microseconds time) const {
    return suffers(fault_kind::slow_server, time, by.count());
}
inline redis_handle const& redis_handle::jump_clock(microseconds by) const {
    return suffers(fault_kind::server_clock, {}, by.count());
}
inline redis_handle const& redis_handle::answer(std::string_view error, microseconds time) const {
    auto const& all = server_errors();
    for (std::size_t i = 0; i < all.size(); ++i) {
        std::string_view const words = all[i].words;
        if (words.substr(0, words.find(' ')) == error) {
            return suffers(fault_kind::server_error, time, static_cast<std::int64_t>(i));
        }
    }
    std::string known;
    for (auto const& e : all) {
        std::string_view const words = e.words;
        known += (known.empty() ? "" : ", ") + std::string{words.substr(0, words.find(' '))};
    }
    throw std::logic_error(fmt::format("rota::sim: {} is none of server_errors(): {}", error, known));
}
inline redis_handle const& redis_handle::heal() const {
    world_->end_faults([](fault const& f) { return !concerns_node(f.kind); });
    return *this;
}
inline std::uint32_t redis_handle::primary() const { return world_->servers().primary(); }
inline redis_server const& redis_handle::server(std::uint32_t number) const { return world_->servers().server(number); }
inline store_model const& redis_handle::store() const { return world_->store(); }
inline std::int64_t redis_handle::clock(std::uint32_t number, moment now) const {
    return world_->servers().clock(number, now);
}

/// A world whose nodes and server suffer from a planted defect (detail/defects.hpp); `world` is basic_world<sound>.
template <typename Defects>
class basic_world : public world {
public:
    explicit basic_world(world_settings s, std::optional<choices> c = {})
        : world{std::move(s), std::move(c), std::make_unique<store_model_of<Defects>>(),
                [](options o, rota::detail::planner p, std::shared_ptr<rota::detail::belief> b,
                   std::uint64_t entropy) -> std::unique_ptr<node_machine> {
                    return std::make_unique<node_machine_of<Defects>>(std::move(o), p, std::move(b), entropy);
                }} {}
};

}  // namespace rota::sim

namespace rota::sim {

/// Every program is up and a member; one of them leads, and the server says so; every schedule is owned, by a live node
/// that knows it, as far as capacity allows; nothing is on its way. How load is spread does not matter: for strategies
/// that do not balance (check_sound).
struct settled_predicate {
    [[nodiscard]] std::string operator()(world const& w) const {
        std::uint32_t leaders = 0;
        std::size_t owned = 0;
        std::uint64_t capacity = 0;
        auto const stored = w.store().leader();
        for (std::uint32_t i = 0; i < w.size(); ++i) {
            auto const* p = w.process_at(i);
            if (!p) return fmt::format("node-{} is down", i);
            if (p->machine().state() != standing::member) return p->node_id() + " is no member";
            if (!p->believes_it_lives()) return p->node_id() + " is suspended";
            if (p->believes_it_leads()) {
                ++leaders;
                if (stored.incarnation != p->belief().incarnation() || stored.term != p->belief().term()) {
                    return p->node_id() + " leads, and the server has another leader";
                }
            }
            auto const load = p->belief().table().size();
            owned += load;
            capacity += w.store().is_drained(p->node_id()) ? 0 : p->machine().attributes().capacity.value_or(unlimited);
        }
        if (leaders != 1) return fmt::format("{} nodes lead", leaders);
        auto const expected = std::min<std::uint64_t>(w.store().schedule_count(), capacity);
        // (A node may hold more than it is allowed to by now, if nobody else can have it.)
        if (owned < expected || owned > w.store().schedule_count()) {
            return fmt::format("{} of {} schedules are believed in", owned, expected);
        }
        for (std::uint32_t i = 0; i < w.size(); ++i) {
            auto const* p = w.process_at(i);
            for (auto const& [id, mine] : p->belief().table()) {
                auto const s = w.store().schedule(id);
                if (!s || s->owner != p->belief().incarnation() || s->generation != mine.generation) {
                    return fmt::format("{} believes to own {}; the server knows better", p->node_id(), id);
                }
                if (s->moving_to != 0) return id + " is on its way";
            }
        }
        return {};
    }
};
inline constexpr settled_predicate settled{};

/// settled, and, where the strategy is known to even out (strategy_habits), the load is within
/// options::rebalance_threshold. Nodes that are drained are empty, and do not count.
struct converged_predicate {
    [[nodiscard]] std::string operator()(world const& w) const {
        if (auto missing = settled(w); !missing.empty()) return missing;
        std::size_t owned = 0;
        std::size_t least = ~std::size_t{0}, most = 0, nodes = 0;
        if (!w.habits().evens_out || w.store().maintenance()) return {};
        for (auto const* p : w.living()) {
            if (w.process_at(p->slot()) != p) continue;
            auto const load = p->belief().table().size();
            if (w.store().is_drained(p->node_id())) {
                if (load > 0) return p->node_id() + " is to end empty";
                continue;
            }
            ++nodes;
            owned += load;
            least = std::min(least, load);
            most = std::max(most, load);
        }
        if (nodes == 0) return {};
        auto const mean = static_cast<double>(owned) / static_cast<double>(nodes);
        auto const allowed = std::max(1.0, std::ceil(2 * w.settings().options.rebalance_threshold * mean) + 1);
        if (w.settings().options.auto_rebalance && !w.settings().options.max_schedules_per_node &&
            static_cast<double>(most - least) > allowed) {
            return fmt::format("loads are {} to {}", least, most);
        }
        return {};
    }
};
inline constexpr converged_predicate converged{};

}  // namespace rota::sim

// ---- rota/sim/exhaustive.hpp ---------------------------------------------------------------------------------------
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

// ---- rota/sim/sweep.hpp --------------------------------------------------------------------------------------------
// One seed, one run: draws a group, its options and a fault plan from the seed, lets it all happen, then ends the faults
// and demands that the group comes to rest in time. A run that breaks something is shrunk: to fewer faults, fewer nodes,
// less time, as long as the same invariant breaks.
//
//   for (std::uint64_t seed = 1; seed <= 2000; ++seed)
//       if (auto f = sim::find_failure(sim::draw_scenario(seed, {}))) std::puts(sim::describe(*f).c_str());  // replay.hpp
//
// A run depends on its scenario and setup alone; threads may run any number of them side by side.

// ---- rota/sim/invariants/all.hpp -----------------------------------------------------------------------------------
// All invariants, and two presets, which ask for each that a world can be asked for: check_all() for the default strategy
// and such as balance as it does, check_sound() for a strategy that does not balance.

// ---- rota/sim/invariants/damage.hpp --------------------------------------------------------------------------------
// Records that disagree: never by rota's own doing; and where somebody else has damaged them, they are mended.

#include <set>

// ---- rota/sim/invariants/liveness.hpp ------------------------------------------------------------------------------
// How soon a group comes right: bounds in numbers, from the moment on at which nothing more goes wrong. What goes wrong with
// some nodes for ever (cut off one way, paused, down) is no excuse: the others must do without them.

// ---- rota/sim/invariants/plans.hpp ---------------------------------------------------------------------------------
// What leaders' plans come to: they take effect under the present term alone, they are sound, and they move no more
// than they must.

namespace rota::sim {

/// Plans take effect only under the term that is stored as the present one.
class plans_under_current_term final : public invariant {
public:
    std::string_view name() const override { return "plans_under_current_term"; }
    void performed(step const& s) override {
        if (!s.answer) return;
        if (auto* r = std::get_if<op::adopt>(&s.request)) check(s, r->incarnation, r->term);
        if (auto* r = std::get_if<op::reap>(&s.request)) check(s, r->incarnation, r->term);
        if (auto* r = std::get_if<op::revoke>(&s.request); r && r->term != 0) check(s, r->incarnation, r->term);
    }

private:
    void check(step const& s, fencing_token incarnation, fencing_token term) {
        auto const l = group().servers().server(s.server).store->leader();
        if (l.incarnation == incarnation && l.term == term) return;
        fail(fmt::format("a plan of {} under term {} was applied; the present one is {} of {}", incarnation, term,
                         l.term, l.incarnation));
    }
};

/// No plan has to be refused: the strategy gives nothing to two nodes, nor more than a node may have, nor what is not
/// there to be given.
class plans_are_sound final : public invariant {
public:
    std::string_view name() const override { return "plans_are_sound"; }
    void told(process const& p, event const& e) override {
        if (auto const* refused = std::get_if<plan_refused>(&e)) {
            fail(fmt::format("the strategy of {}#{} broke its contract: {}", p.node_id(), p.number(), refused->why));
        }
    }
};

/// A group's loads, and by how many voluntary moves they are off the most even ones that capacities allow: V* of
/// DESIGN.md, section 6, computed from its definition. Independent of strategy/balance.hpp on purpose.
struct load_picture {
    struct node {
        std::int64_t load = 0;
        std::int64_t capacity = 0;
    };
    std::vector<node> nodes;
    std::int64_t unowned = 0;
    std::int64_t moving = 0;

    // What is on its way between live nodes counts for where it goes.
    static load_picture of(store_model const& store) {
        load_picture p;
        std::map<fencing_token, std::size_t> index;
        for (auto const& [incarnation, n] : store.nodes()) {
            if (!n.live) continue;
            index[incarnation] = p.nodes.size();
            p.nodes.push_back({0, store.is_drained(n.id) ? 0 : n.capacity});
        }
        for (auto const& [id, s] : store.schedules()) {
            auto const owner = index.find(s.owner);
            if (owner == index.end()) {
                ++p.unowned;
                continue;
            }
            if (s.moving_to != 0) ++p.moving;
            auto const target = s.moving_to == 0 ? index.end() : index.find(s.moving_to);
            ++p.nodes[target == index.end() ? owner->second : target->second].load;
        }
        return p;
    }

    struct target {
        std::int64_t level = 0;
        bool exact = false;  // nobody needs to be above the level
        bool over = false;   // more than all may have
        [[nodiscard]] std::int64_t least(node const& n) const { return std::min(n.capacity, level); }
        [[nodiscard]] std::int64_t most(node const& n) const { return std::min(n.capacity, exact ? level : level + 1); }
    };
    [[nodiscard]] target aim() const {
        std::int64_t wanted = unowned;
        std::int64_t capacity = 0;
        for (auto const& n : nodes) {
            wanted += n.load;
            capacity += n.capacity;
        }
        auto const total = std::min(wanted, capacity);
        auto volume = [&](std::int64_t level) {
            std::int64_t sum = 0;
            for (auto const& n : nodes) sum += std::min(n.capacity, level);
            return sum;
        };
        std::int64_t level = total / static_cast<std::int64_t>(nodes.size());
        while (level < total && volume(level + 1) <= total) ++level;
        return {level, volume(level) == total, wanted > capacity};
    }
    [[nodiscard]] std::int64_t least_moves() const {
        if (nodes.empty()) return 0;
        auto const t = aim();
        std::int64_t surplus = 0;
        std::int64_t shortage = 0;
        for (auto const& n : nodes) {
            surplus += std::max<std::int64_t>(n.load - t.most(n), 0);
            shortage += std::max<std::int64_t>(t.least(n) - n.load, 0);
        }
        auto const moved_in = std::max<std::int64_t>(shortage - unowned, 0);
        return t.over ? moved_in : std::max(surplus, moved_in);
    }
    /// How far the node that is farthest off is from its target.
    [[nodiscard]] std::int64_t farthest() const {
        std::int64_t most = 0;
        if (nodes.empty()) return 0;
        auto const t = aim();
        for (auto const& n : nodes) most = std::max({most, n.load - t.most(n), t.least(n) - n.load});
        return most;
    }
    [[nodiscard]] double mean() const {
        std::int64_t sum = 0;
        for (auto const& n : nodes) sum += n.load;
        return nodes.empty() ? 0 : static_cast<double>(sum) / static_cast<double>(nodes.size());
    }
};

/// Moves between live nodes, those that a drain or a lowered capacity ask for included, never exceed the optimum for what
/// made them necessary. Declared bound beyond it: a plan that is under way as something else changes may be carried out all the same, and what it spoilt be made good: twice what was left.
/// For strategies that even out counts, as least_moves does.
class moves_bounded final : public invariant {
public:
    std::string_view name() const override { return "moves_bounded"; }
    void performed(step const& s) override {
        if (s.server != group().servers().primary()) return;
        auto const& store = group().store();
        if (!group().promises_hold()) {
            seq_ = 0;
            return;
        }
        if (store.seq() == seq_) return;
        auto const picture = load_picture::of(store);
        auto const before = std::exchange(best_, picture.least_moves());
        auto const moving = std::exchange(moving_, picture.moving);
        bool const fresh = std::exchange(seq_, store.seq()) == 0;
        changed_ = group().now();
        if (fresh) {
            allowed_ = 3 * best_ + moving_;  // of what came before, nothing is known
            return;
        }
        auto const* revoked = std::get_if<op::revoke>(&s.request);
        if (revoked && revoked->term != 0 && revoked->items.front().reason != change_reason::transferred) {
            auto const moves = moving_ - moving;
            if (moves > allowed_) {
                fail(fmt::format("{} moves more, where {} were the most that could be needed", moves, allowed_));
            }
            allowed_ -= moves;
            return;
        }
        allowed_ += std::max<std::int64_t>(best_ - before, 0);
        if (!std::holds_alternative<op::adopt>(s.request)) allowed_ += 2 * before;
    }
    void looks() override {
        if (best_ == 0 && group().now() - changed_ > std::chrono::seconds{30}) allowed_ = 0;
    }

private:
    std::uint64_t seq_ = 0;
    std::int64_t best_ = 0;  // moves from here, if nothing else happens
    std::int64_t moving_ = 0;
    std::int64_t allowed_ = 0;
    moment changed_{};
};

}  // namespace rota::sim

namespace rota::sim {

/// The times that the bounds are made of, as nodes and links of a world have them.
struct time_scales {
    microseconds lease{};
    microseconds node_ttl{};
    microseconds round_trip{};  ///< there and back, at the slowest
    /// For a request that was lost to time out, for the next try, and for a silent group to report.
    microseconds retry{};

    static time_scales of(world const& w) {
        time_scales t;
        t.round_trip = 2 * w.settings().network.most_delay;
        for (std::uint32_t i = 0; i < w.size(); ++i) {
            auto const o = with_defaults(w.options_of(i));
            t.lease = std::max(t.lease, o.leader_lease);
            t.node_ttl = std::max(t.node_ttl, o.node_ttl);
            t.retry = std::max(t.retry, o.operation_timeout + o.heartbeat_interval / 2 + o.heartbeat_interval);
        }
        return t;
    }
};

/// How long it takes at most, once things are calm, until what is to move has moved: first every schedule is owned, then
/// the runs in hand are over.
[[nodiscard]] inline microseconds time_to_move(world const& w) {
    auto const t = time_scales::of(w);
    auto const& work = w.settings().work;
    auto const runs = w.has_work() ? work.most + 2 * work.lock_ttl : microseconds{};
    return std::max(t.node_ttl, t.lease) + 2 * t.retry + 24 * t.round_trip + runs + w.habits().waits + w.habits().takes;
}

/// Once things are calm, some node leads within the lease, a retry and a few round trips; and then it stays.
class leader_in_time final : public invariant {
public:
    std::string_view name() const override { return "leader_in_time"; }
    void begin() override {
        auto const t = time_scales::of(group());
        bound_ = t.lease + t.retry + 8 * t.round_trip;
    }
    void looks() override {
        auto const calm = group().now() - group().calm_since();
        if (calm <= bound_ || !group().promises_hold()) {
            term_ = 0;
            return;
        }
        bool healthy = false;
        bool leads = false;
        for (auto const* p : group().living()) {  // one that was replaced and has not heard of it may still lead
            if (!group().is_healthy(p->slot())) continue;
            healthy = true;
            leads = leads || p->believes_it_leads();
        }
        if (!healthy) return;
        if (!leads) fail(fmt::format("nothing went wrong for {}, and nobody leads", seconds_in_words(calm)));
        auto const term = group().store().leader().term;
        if (term_ != 0 && term_ != term) {
            fail(fmt::format("the leader of term {} was replaced, in term {}, although nothing went wrong", term_,
                             term));
        }
        term_ = term;
    }

private:
    microseconds bound_{};
    fencing_token term_ = 0;
};

/// Once things are calm, every schedule that there is room for is owned by a healthy node, which knows it, within the
/// longer of node_ttl and lease, a retry and a few round trips.
class owned_in_time final : public invariant {
public:
    std::string_view name() const override { return "owned_in_time"; }
    void begin() override {
        auto const t = time_scales::of(group());
        bound_ = std::max(t.node_ttl, t.lease) + t.retry + 16 * t.round_trip + group().habits().waits;
    }
    void looks() override {
        auto const calm = group().now() - group().calm_since();
        if (calm <= bound_ || !group().promises_hold()) {
            nobodys_.clear();
            return;
        }
        std::map<fencing_token, process const*> healthy;
        std::uint64_t room = 0;
        for (std::uint32_t i = 0; i < group().size(); ++i) {
            if (!group().is_healthy(i)) continue;
            auto const* p = group().process_at(i);
            healthy[p->belief().incarnation()] = p;
            auto const n = group().store().node(p->belief().incarnation());
            if (n) room += group().store().is_drained(n->id) ? n->load : n->capacity;
        }
        if (healthy.empty() || room < group().store().schedule_count()) return;
        for (auto const& [id, s] : group().store().schedules()) {
            auto const p = healthy.find(s.owner);
            bool const known = p != healthy.end() && p->second->believes_it_lives() &&
                               (p->second->belief().table().contains(id) || s.moving_to != 0);
            bool const homeless = group().habits().heeds_rules && !s.traits.empty();  // or so it may be
            if (known || homeless) {
                nobodys_.erase(id);
                continue;
            }
            // It may have been granted just now: then its owner hears of it within a round trip.
            auto const since = nobodys_.try_emplace(id, group().now()).first->second;
            if (group().now() == since) continue;
            fail(fmt::format("nothing went wrong for {}, and {} is nobody's (stored: {} under {})",
                             seconds_in_words(calm), id, s.owner, s.generation));
        }
    }

private:
    microseconds bound_{};
    std::map<std::string, moment> nobodys_;
};

/// Once things are calm, the spread of the loads is within options::rebalance_threshold, as soon as every schedule is
/// owned and the runs in hand are over. For strategies that even out counts, as least_moves does.
class even_in_time final : public invariant {
public:
    std::string_view name() const override { return "even_in_time"; }
    void begin() override { bound_ = time_to_move(group()); }
    void looks() override {
        auto const calm = group().now() - group().calm_since();
        auto const& o = group().settings().options;
        if (calm <= bound_ || !group().promises_hold() || !o.auto_rebalance || group().store().maintenance()) return;
        bool healthy = false;
        for (std::uint32_t i = 0; i < group().size(); ++i) healthy = healthy || group().is_healthy(i);
        if (!healthy || (seq_ == group().store().seq() && even_)) return;
        auto const picture = load_picture::of(group().store());
        seq_ = group().store().seq();
        even_ = picture.least_moves() == 0 ||
                static_cast<double>(picture.farthest()) <= o.rebalance_threshold * picture.mean();
        if (even_) return;
        std::string loads;
        for (auto const& n : picture.nodes) loads += fmt::format(" {}", n.load);
        fail(fmt::format("nothing went wrong for {}, and the loads are{}", seconds_in_words(calm), loads));
    }

private:
    microseconds bound_{};
    std::uint64_t seq_ = 0;
    bool even_ = false;
};

/// After a graceful leave its schedules have new owners within a few round trips: nobody waits for a ttl. Where meanwhile
/// something else goes wrong, nothing is asked.
class leave_without_gap final : public invariant {
public:
    std::string_view name() const override { return "leave_without_gap"; }
    void begin() override {
        auto const t = time_scales::of(group());
        // A new leader first reads the group: a page per member.
        bound_ = (16 + 2 * group().size()) * t.round_trip + std::chrono::milliseconds{10};
        calm_before_ = std::max(t.node_ttl, t.lease) + t.retry;
    }
    void fault_began(fault const& f) override {
        bool const alone = f.kind == fault_kind::leave && group().now() - left_at_ > 2 * bound_;
        if (f.kind == fault_kind::leave) left_at_ = group().now();
        if (!alone) disturbed_ = group().now();
    }
    void fault_ended(fault const&) override { disturbed_ = group().now(); }
    void performed(step const& s) override {
        if (s.server != group().servers().primary()) return;
        if (auto* q = std::get_if<op::leave>(&s.request); q && s.answer) {
            begin_to_wait(q->incarnation);
        } else if (auto* q2 = std::get_if<op::adopt>(&s.request); q2 && s.answer && !left_.empty()) {
            for (auto const& item : q2->items) {
                auto const l = left_.find(item.id);
                if (l == left_.end()) continue;
                if (auto const now = group().store().schedule(item.id); !now || now->owner == l->second.from) continue;
                judge(item.id, l->second);
                left_.erase(item.id);
            }
        } else if (auto* q3 = std::get_if<op::unregister_schedules>(&s.request); q3 && !left_.empty()) {
            for (auto const& item : q3->items) left_.erase(item.id);
        }
    }
    void looks() override {
        for (auto const& [id, l] : left_) {
            if (group().now() - l.at > bound_) judge(id, l);
        }
        std::erase_if(left_, [&](auto const& l) { return !is_fair(l.second); });
    }

private:
    struct leaving {
        moment at{};
        fencing_token from = 0;
    };
    [[nodiscard]] bool is_fair(leaving const& l) const { return group().promises_hold() && disturbed_ <= l.at; }
    void begin_to_wait(fencing_token incarnation) {
        // Somebody must be there to take over, as ever: a leader, or candidates; and all in good health for a while.
        std::uint32_t others = 0;
        for (auto const* p : group().living()) {
            if (p->belief().incarnation() == incarnation || p->belief().incarnation() == 0) continue;
            bool const fit =
                group().is_healthy(p->slot()) && p->believes_it_lives() && p->machine().state() == standing::member;
            if (!fit) return;
            ++others;
        }
        std::uint64_t room = 0;
        for (auto const& [other, n] : group().store().nodes()) {
            if (n.live && other != incarnation && !group().store().is_drained(n.id)) room += n.capacity;
        }
        if (room < group().store().schedule_count()) return;  // not all of them have a place
        if (group().calm_since() == group().now()) return;    // the server is not well
        if (group().habits().waits > microseconds{}) return;
        if (others == 0 || !group().promises_hold() || group().now() - disturbed_ < calm_before_) return;
        for (auto const& [id, s] : group().store().schedules()) {
            bool const homeless = group().habits().heeds_rules && !s.traits.empty();  // or so it may be
            if (s.owner == incarnation && !homeless) left_[id] = {group().now(), incarnation};
        }
    }
    void judge(std::string const& id, leaving const& l) {
        auto const took = group().now() - l.at;
        if (took <= bound_ || !is_fair(l)) return;
        fail(fmt::format("{} left, and {} had no owner for {}", l.from, id, seconds_in_words(took)));
    }
    microseconds bound_{};
    microseconds calm_before_{};
    moment disturbed_{};
    moment left_at_{std::chrono::hours{-1}};
    std::map<std::string, leaving> left_;
};

}  // namespace rota::sim

namespace rota::sim {

/// Each record is listed by the index of its owner and by no other, and counters count what there is.
class records_agree final : public invariant {
public:
    std::string_view name() const override { return "records_agree"; }
    void looks() override {
        if (!group().promises_hold() || seq_ == group().store().seq()) return;
        seq_ = group().store().seq();
        if (auto const what = group().store().disagreement(); !what.empty()) fail(what);
    }

private:
    std::uint64_t seq_ = 0;
};

/// Once things are calm, damage is mended within options::audit_interval, the time that the leader takes to look through
/// all records, and a few round trips; and what was registered still is.
class damage_mended final : public invariant {
public:
    std::string_view name() const override { return "damage_mended"; }
    void begin() override {
        auto const t = time_scales::of(group());
        auto const& o = group().settings().options;
        bound_ = o.audit_interval + std::max(t.node_ttl, t.lease) + t.retry + 32 * t.round_trip +
                 o.heartbeat_interval * (1 + static_cast<int>(group().schedules() / op::max_batch));
    }
    void fault_began(fault const& f) override {
        if (within_promises(f.kind)) return;
        if (f.kind != fault_kind::damage) return there_.clear();
        // What no index lists any more, nor any record has, is lost indeed.
        auto const id = group().schedule_named_by(f);
        auto const s = group().store().schedule(id);
        if (way_of(f) % ways_to_damage == way_to_unlist || !s || !group().store().lists(s->owner, id)) there_.erase(id);
    }
    void performed(step const& s) override {
        if (s.server != group().servers().primary() || !s.answer) return;
        if (auto* q = std::get_if<op::register_schedules>(&s.request)) {
            for (auto const& item : q->items) there_.insert(item.id);
        } else if (auto* q2 = std::get_if<op::unregister_schedules>(&s.request)) {
            for (auto const& item : q2->items) there_.erase(item.id);
        } else if (std::holds_alternative<op::mend>(s.request)) {
            auto const& items = std::get<op::mend>(s.request).items;
            for (auto const& item : items) {
                bool const is_there = group().store().schedule(item.id).has_value();
                if (!is_there && there_.contains(item.id)) {
                    fail(item.id + " was damaged, and mending it has lost it");
                }
                if (is_there) there_.insert(item.id);
            }
        }
    }
    void looks() override {
        auto const since = group().damaged_since();
        if (!since) return;
        auto const calm = group().now() - std::max(*since, group().calm_since());
        bool healthy = false;
        for (std::uint32_t i = 0; i < group().size(); ++i) healthy = healthy || group().is_healthy(i);
        if (calm <= bound_ || !healthy || group().settings().options.audit_interval == microseconds{}) return;
        fail(fmt::format("nothing went wrong for {}, and still {}", seconds_in_words(calm),
                         group().store().disagreement()));
    }

private:
    microseconds bound_{};
    std::set<std::string> there_;
};

}  // namespace rota::sim

// ---- rota/sim/invariants/events.hpp --------------------------------------------------------------------------------
// What a subscriber is told: in order, without duplicates, and such that folding it gives the state.

namespace rota::sim {

/// With event_scope::own: the ownership that a node tells of, folded, is what it believes to own (what it has given up
/// and not yet told of excepted), each gain and loss told once.
class own_events_fold_to_state final : public invariant {
public:
    std::string_view name() const override { return "own_events_fold_to_state"; }
    void told(process const& p, event const& e) override {
        auto const* change = std::get_if<ownership_changed>(&e);
        if (!change || p.machine().settings().event_scope != event_scope::own) return;
        auto& mine = owned_[p.number()];
        bool const lost = change->from.id == p.node_id() && change->from.incarnation != 0;
        bool const gained = change->to.id == p.node_id() && change->to.incarnation != 0;
        if (lost && mine.erase(change->schedule) == 0 && !gained) {
            fail(fmt::format("{}#{} tells that it lost {}, which it had not told to own", p.node_id(), p.number(),
                             change->schedule));
        }
        if (gained) {
            auto const [at, fresh] = mine.try_emplace(change->schedule, change->generation);
            if (!fresh && at->second >= change->generation && change->reason != change_reason::resynced) {
                fail(fmt::format("{}#{} tells twice that it owns {} under {}", p.node_id(), p.number(),
                                 change->schedule, change->generation));
            }
            at->second = change->generation;
        }
    }
    void looks() override {
        for (auto const* p : group().living()) {
            if (p->machine().settings().event_scope != event_scope::own) continue;
            auto const& mine = owned_[p->number()];
            for (auto const& [id, s] : p->belief().table()) {
                if (!missing_.empty()) missing_.erase({p->number(), id});
                auto const t = mine.find(id);
                if (t == mine.end() || t->second != s.generation) {
                    fail(fmt::format("{}#{} owns {} under {}, and has not told", p->node_id(), p->number(), id,
                                     s.generation));
                }
            }
            if (mine.size() > p->belief().table().size() && group().store().node(p->belief().incarnation())) {
                for (auto const& [id, generation] : mine) {
                    if (p->belief().table().contains(id)) continue;
                    // Given up, and the acknowledgement not yet answered? Then it was this node's a moment ago.
                    auto& since = missing_[{p->number(), id}];
                    if (since.first != generation) since = {generation, group().now()};
                    if (group().now() - since.second > std::chrono::seconds{60}) {
                        fail(fmt::format("{}#{} does not own {} any more, and has not told for a minute", p->node_id(),
                                         p->number(), id));
                    }
                }
            }
        }
    }
    void process_ended(process const& p, std::string_view) override {
        owned_.erase(p.number());
        std::erase_if(missing_, [&](auto const& m) { return m.first.first == p.number(); });
    }

private:
    std::map<std::uint32_t, std::map<std::string, fencing_token>> owned_;
    std::map<std::pair<std::uint32_t, std::string>, std::pair<fencing_token, moment>> missing_;
};

/// With event_scope::group: what a node tells of members, schedules and owners comes in one order, that of the server's
/// tokens, nothing twice; what could not be had one by one is announced as a gap; and folded it is the group's picture.
class group_events_fold_to_state final : public invariant {
public:
    std::string_view name() const override { return "group_events_fold_to_state"; }
    [[nodiscard]] std::string lacks() const override {
        return group().has_group_subscribers() ? "" : "no node has event_scope::group";
    }
    void told(process const& p, event const& e) override {
        if (p.machine().settings().event_scope != event_scope::group) return;
        auto& s = subscribers_[p.number()];
        if (std::holds_alternative<events_gap>(e)) {
            s.in_gap = true;
        } else if (auto const* lost = std::get_if<node_lost>(&e)) {
            if (lost->data_lost) s = {};  // another state of the server: all begins anew
        } else if (auto const* c = std::get_if<schedule_changed>(&e); c && s.begun) {
            bool const changed =
                c->registered ? s.schedules.try_emplace(c->schedule).second : s.schedules.erase(c->schedule) > 0;
            // (Else it was gone from the server when its first picture was looked at, or was damaged as that was read.)
            if (!changed && s.whole && group().promises_hold()) {
                fail(fmt::format("{}#{} tells twice that {} is {}registered", p.node_id(), p.number(), c->schedule,
                                 c->registered ? "" : "un"));
            }
        } else if (auto const* o = std::get_if<ownership_changed>(&e);
                   o && (o->generation != 0 || o->reason == change_reason::resynced)) {
            owner_changed(p, s, *o);  // 0: registered anew during the gap
        }
    }
    void acted(process const& p) override {
        if (p.machine().settings().event_scope != event_scope::group) return;
        auto& s = subscribers_[p.number()];
        if (s.begun || !p.machine().picture_is_current()) return;
        // What a first snapshot shows is not told.
        s.begun = true;
        for (auto const& [id, stored] : group().store().schedules()) {
            if (auto const seen = p.machine().picture_of(id)) s.schedules[id] = {seen->generation, seen->owner};
        }
        s.whole = s.schedules.size() == p.machine().pictured_schedules();
    }
    void looks() override {
        for (auto const* p : group().living()) {
            auto const found = subscribers_.find(p->number());
            if (found == subscribers_.end()) continue;
            auto& s = found->second;
            if (!s.begun || !p->machine().picture_is_current() || p->machine().state() != standing::member) continue;
            if (s.whole && s.schedules.size() != p->machine().pictured_schedules()) {
                fail(fmt::format("{}#{} has told of {} schedules, and knows {}", p->node_id(), p->number(),
                                 s.schedules.size(), p->machine().pictured_schedules()));
            }
            for (auto const& [id, told] : s.schedules) {
                auto const seen = p->machine().picture_of(id);
                if (seen && seen->generation == told.generation && seen->owner == told.owner) continue;
                fail(fmt::format("{}#{} has told that {} is of {} under {}, and knows of {} under {}", p->node_id(),
                                 p->number(), id, told.owner, told.generation, seen ? seen->owner : 0,
                                 seen ? seen->generation : 0));
            }
        }
    }
    void process_ended(process const& p, std::string_view) override { subscribers_.erase(p.number()); }

private:
    struct owned {
        fencing_token generation = 0;
        fencing_token owner = 0;
    };
    struct subscriber {
        bool begun = false;
        bool whole = false;  // all schedules of the first picture are known here
        bool in_gap = false;
        fencing_token last = 0;
        std::map<std::string, owned> schedules;
    };
    void owner_changed(process const& p, subscriber& s, ownership_changed const& o) {
        if (!s.begun) return;
        if (o.reason == change_reason::resynced) {
            if (!s.in_gap) {
                fail(fmt::format("{}#{} tells of {} out of turn, and of no gap", p.node_id(), p.number(), o.schedule));
            }
        } else {
            s.in_gap = false;
            if (o.generation <= s.last) {
                fail(fmt::format("{}#{} tells of {} under {} after it has told of {}", p.node_id(), p.number(),
                                 o.schedule, o.generation, s.last));
            }
            s.last = o.generation;
        }
        s.schedules[o.schedule] = {o.generation, o.to.incarnation};
    }
    std::map<std::uint32_t, subscriber> subscribers_;
};

/// A picture of the group that is current is what the server has: of schedules, nodes and orders.
class pictures_are_true final : public invariant {
public:
    std::string_view name() const override { return "pictures_are_true"; }
    void looks() override {
        if (!group().promises_hold()) return;
        auto const& store = group().store();
        for (auto const* p : group().living()) {
            auto const& m = p->machine();
            if (!m.picture_is_current() || m.picture_epoch() != store.epoch() || m.picture_cursor() != store.seq())
                continue;
            if (m.pictured_schedules() != store.schedule_count()) {
                fail(fmt::format("{}#{} pictures {} schedules of {}", p->node_id(), p->number(), m.pictured_schedules(),
                                 store.schedule_count()));
            }
            for (auto const& [id, s] : store.schedules()) {
                auto const seen = m.picture_of(id);
                bool const same = seen && seen->generation == s.generation && seen->owner == s.owner &&
                                  seen->moving_to == s.moving_to;
                if (!same) {
                    fail(fmt::format("{}#{} pictures {} of {} under {} for {}; it is of {} under {} for {}",
                                     p->node_id(), p->number(), id, seen ? seen->owner : 0, seen ? seen->generation : 0,
                                     seen ? seen->moving_to : 0, s.owner, s.generation, s.moving_to));
                }
                if (seen->weight == s.weight && seen->traits == s.traits) continue;
                fail(fmt::format("{}#{} pictures {} with weight {} and \"{}\"; it has {} and \"{}\"", p->node_id(),
                                 p->number(), id, seen->weight, seen->traits, s.weight, s.traits));
            }
            for (auto const& [incarnation, n] : store.nodes()) {
                auto const seen = m.picture_of_node(incarnation);
                node_machine::pictured_node const is{n.id,
                                                     n.live,
                                                     n.live ? n.capacity : seen.capacity,
                                                     n.live ? n.traits : seen.traits,
                                                     n.load,
                                                     n.live && store.is_drained(n.id)};
                if (seen == is) continue;
                fail(fmt::format("{}#{} pictures {} as {} ({}, {}) with {} of {}; it is {} ({}, {}) with {} of {}",
                                 p->node_id(), p->number(), incarnation, seen.id, seen.alive ? "alive" : "gone",
                                 seen.draining ? "drained" : seen.traits, seen.owned, seen.capacity, n.id,
                                 n.live ? "alive" : "gone", is.draining ? "drained" : n.traits, n.load, n.capacity));
            }
            if (m.pictures_maintenance() != store.maintenance()) {
                fail(fmt::format("{}#{} pictures {}maintenance", p->node_id(), p->number(),
                                 m.pictures_maintenance() ? "" : "no "));
            }
        }
    }
};

}  // namespace rota::sim

// ---- rota/sim/invariants/handoffs.hpp ------------------------------------------------------------------------------
// How schedules change hands while their owner works: the run in hand is finished, nobody is given it before, and where
// another one goes in its place, just that one goes.

// ---- rota/sim/invariants/locks.hpp ---------------------------------------------------------------------------------
// Locks and runs: one valid handle at a time, tokens that rise, no run begun by a node that may not.

namespace rota::sim {

/// Which lock: of which kind, by which name.
using lock_key = std::pair<op::lock_kind, std::string>;

/// A lock that somebody got: by a request for it, or with its schedule.
struct lock_grant {
    lock_key key;
    op::outcome out;
    fencing_token holder = 0;
    std::uint64_t nonce = 0;
    microseconds ttl{};                  // as it was asked for
    std::int64_t until = 0;              // as it was answered
    std::uint32_t process = no_process;  // if by a request
};
/// Those of a step.
[[nodiscard]] inline std::vector<lock_grant> locks_granted(step const& s) {
    std::vector<lock_grant> all;
    if (!s.answer) return all;
    if (auto const* q = std::get_if<op::acquire_locks>(&s.request)) {
        auto const& out = std::get<op::outcomes>(*s.answer).items;
        for (std::size_t i = 0; i < out.size(); ++i) {
            if (!out[i].ok()) continue;
            all.push_back({{q->kind, q->items[i].name},
                           out[i],
                           q->incarnation,
                           q->nonce,
                           q->ttl,
                           s.server_time + out[i].remaining.count(),
                           s.process});
        }
    } else if (auto const* q2 = std::get_if<op::acknowledge>(&s.request); q2 && q2->lock_ttl > microseconds{}) {
        auto const& out = std::get<op::outcomes>(*s.answer).items;
        if (out.size() != 1 || !out[0].ok()) return all;
        auto const& item = q2->items[0];
        all.push_back({{op::lock_kind::schedule, item.id},
                       out[0],
                       item.to,
                       0,
                       q2->lock_ttl,
                       s.server_time + q2->lock_ttl.count()});
    }
    return all;
}

/// What looks at runs has nothing to see where none are.
class run_invariant : public invariant {
public:
    [[nodiscard]] std::string lacks() const override {
        return group().has_work() ? "" : "there are no runs to look at: set world_settings::work, or use_work";
    }
};

/// At most one handle of a lock is valid at any moment.
class locks_exclusive final : public run_invariant {
public:
    std::string_view name() const override { return "locks_exclusive"; }
    void lock_taken(process const& p, run const& r) override { look(p, r); }
    void told(process const& p, event const& e) override {
        if (!std::holds_alternative<node_resumed>(e)) return;
        for (auto const& r : p.runs()) {
            if (r.holds) look(p, r);
        }
    }

private:
    void look(process const& p, run const& r) {
        if (!group().promises_hold() || !p.is_valid(r)) return;
        for (auto const* other : group().living()) {
            for (auto const& o : other->runs()) {
                if (&o == &r || o.kind != r.kind || o.name != r.name || !other->is_valid(o)) continue;
                fail(fmt::format("{}#{} (token {}) and {}#{} (token {}) hold {}", p.node_id(), p.number(), r.token,
                                 other->node_id(), other->number(), o.token, r.name));
            }
        }
    }
};

/// Tokens of one name rise from grant to grant; the group's highest never falls; terms rise.
class tokens_rise final : public invariant {
public:
    std::string_view name() const override { return "tokens_rise"; }
    void performed(step const& s) override {
        if (s.server != group().servers().primary()) return;
        auto const& store = group().store();
        if (!group().promises_hold()) {
            fence_ = store.fence();
            term_ = store.leader().term;
            highest_[0].clear();
            highest_[1].clear();
            return;
        }
        if (store.fence() < fence_) fail(fmt::format("the highest token fell from {} to {}", fence_, store.fence()));
        fence_ = store.fence();
        auto const l = store.leader();
        if (l.term != 0 && l.term != term_) {
            if (l.term < term_) fail(fmt::format("term {} came after {}", l.term, term_));
            term_ = l.term;
        }
        for (auto const& g : locks_granted(s)) {
            auto& last = highest_[g.key.first == op::lock_kind::schedule ? 0 : 1][g.key.second];
            bool const repeat = g.out.token == last.first && g.nonce == last.second;
            if (!repeat && g.out.token <= last.first) {
                fail(
                    fmt::format("{} was granted under {}, and before under {}", g.key.second, g.out.token, last.first));
            }
            last = {g.out.token, g.nonce};
        }
    }
    // A server that nobody asks anything for a while may have lost all of it meanwhile.
    void fault_began(fault const& f) override {
        if (!within_promises(f.kind)) fence_ = term_ = 0;
    }

private:
    fencing_token fence_ = 0;
    fencing_token term_ = 0;
    std::map<std::string, std::pair<fencing_token, std::uint64_t>> highest_[2];
};

/// Extend and release change nothing for who does not hold the lock under that very token.
class strangers_change_nothing final : public invariant {
public:
    std::string_view name() const override { return "strangers_change_nothing"; }
    void performed(step const& s) override {
        if (!s.answer || s.server != group().servers().primary()) return;
        if (!group().promises_hold()) {
            known_.clear();
            all_known_ = false;
            return;
        }
        if (auto* q = std::get_if<op::acquire_locks>(&s.request)) {
            for (auto const& item : q->items) remember({q->kind, item.name});
        } else if (auto* q4 = std::get_if<op::acknowledge>(&s.request)) {
            for (auto const& item : q4->items) remember({op::lock_kind::schedule, item.id});
        } else if (auto* q2 = std::get_if<op::extend_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                look_at(s, {q2->kind, q2->items[i].name}, q2->items[i].token, out[i].ok(), "extended");
            }
        } else if (auto* q3 = std::get_if<op::release_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                look_at(s, {q3->kind, q3->items[i].name}, q3->items[i].token, out[i].ok(), "released");
            }
        }
    }

private:
    void look_at(step const& s, lock_key const& key, fencing_token token, bool done, char const* what) {
        auto const k = known_.find(key);
        if (k != known_.end() || all_known_) {
            auto const before = k == known_.end() ? stored_lock{} : k->second;
            bool const held = before.token == token && token != 0 && before.deadline > s.server_time;
            if (done && !held) {
                fail(fmt::format("the lock of {} was {} under {}, which does not hold it", key.second, what, token));
            }
            auto const now = stored(key);
            bool const same = before.token == now.token && before.deadline == now.deadline;
            if (!same && !held) {
                fail(fmt::format("who is refused to have the lock of {} {} under {} changed it", key.second, what,
                                 token));
            }
        }
        remember(key);
    }
    stored_lock stored(lock_key const& key) const {
        return group().store().lock(key.first, key.second).value_or(stored_lock{});
    }
    void remember(lock_key const& key) { known_[key] = stored(key); }

    std::map<lock_key, stored_lock> known_;  // as it was left; token 0: free
    bool all_known_ = true;                  // what is not in there is free
};

/// A lock that was released is not extended any more, by whatever comes late.
class no_extend_after_release final : public invariant {
public:
    std::string_view name() const override { return "no_extend_after_release"; }
    void performed(step const& s) override {
        if (!s.answer || s.server != group().servers().primary()) return;
        if (!group().promises_hold()) return released_.clear();
        if (auto* q = std::get_if<op::release_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                auto& last = released_[{q->kind, q->items[i].name}];
                if (out[i].ok()) last = std::max(last, q->items[i].token);
            }
        } else if (auto* q2 = std::get_if<op::extend_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                auto const r = released_.find({q2->kind, q2->items[i].name});
                if (!out[i].ok() || r == released_.end() || r->second < q2->items[i].token) continue;
                fail(
                    fmt::format("{} was extended under {}, which was released", q2->items[i].name, q2->items[i].token));
            }
        }
    }

private:
    std::map<lock_key, fencing_token> released_;
};

/// An acquire whose answer did not come has no effect but to keep others out for its ttl: nobody gets a handle by it, and
/// it is not extended. A handle is made of a grant to that very process.
class unanswered_acquire_harmless final : public invariant {
public:
    std::string_view name() const override { return "unanswered_acquire_harmless"; }
    void performed(step const& s) override {
        if (!s.answer || s.server != group().servers().primary()) return;
        if (!group().promises_hold()) {
            granted_.clear();
            all_known_ = false;
            return;
        }
        for (auto const& got : locks_granted(s)) {
            auto& g = granted_[got.key];
            if (g.token != got.out.token) g = {got.out.token, got.holder, got.process, false};
        }
        if (auto* q2 = std::get_if<op::extend_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                auto const g = granted_.find({q2->kind, q2->items[i].name});
                if (!out[i].ok() || g == granted_.end() || g->second.token != q2->items[i].token) continue;
                if (!g->second.taken) {
                    fail(fmt::format("{} is extended under {}, of which nobody has a handle", q2->items[i].name,
                                     q2->items[i].token));
                }
            }
        }
    }
    void lock_taken(process const& p, run const& r) override {
        if (!group().promises_hold()) return;
        auto const g = granted_.find({r.kind, r.name});
        if (g == granted_.end() || g->second.token != r.token) {
            // A later grant is possible only once this one has ended: then the handle is not valid any more.
            if (!all_known_ || !p.is_valid(r)) return;
            fail(fmt::format("{}#{} has a handle of {} under {}, which was not granted", p.node_id(), p.number(),
                             r.name, r.token));
        }
        if (g->second.process == no_process ? g->second.holder != r.incarnation : g->second.process != p.number()) {
            fail(fmt::format("{}#{} has a handle of {} under {}, which was granted to process {}", p.node_id(),
                             p.number(), r.name, r.token, g->second.process));
        }
        g->second.taken = true;
    }

private:
    struct grant {
        fencing_token token = 0;
        fencing_token holder = 0;
        std::uint32_t process = no_process;
        bool taken = false;
    };
    std::map<lock_key, grant> granted_;  // the latest of each lock
    bool all_known_ = true;
};

/// A lock is free at the latest when the ttl is over that its last grant or extension asked for, whatever became of its
/// holder, and of the answer.
class locks_end_by_ttl final : public invariant {
public:
    std::string_view name() const override { return "locks_end_by_ttl"; }
    void performed(step const& s) override {
        if (!s.answer || s.server != group().servers().primary()) return;
        if (!group().promises_hold()) return until_.clear();
        for (auto const& g : locks_granted(s)) {
            auto& u = until_[g.key];
            if (u.first != g.out.token) u = {g.out.token, s.server_time + g.ttl.count()};
        }
        if (auto* q = std::get_if<op::acquire_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                if (out[i].code != errc::locked_by_other) continue;
                lock_key const key{q->kind, q->items[i].name};
                auto const u = until_.find(key);
                if (u == until_.end() || u->second.second >= s.server_time + out[i].remaining.count()) continue;
                fail(fmt::format(
                    "{} is said to be locked for another {}; its ttl is over {} before", key.second,
                    seconds_in_words(out[i].remaining),
                    seconds_in_words(microseconds{s.server_time + out[i].remaining.count() - u->second.second})));
            }
        } else if (auto* q2 = std::get_if<op::extend_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                auto const u = until_.find({q2->kind, q2->items[i].name});
                if (!out[i].ok() || u == until_.end()) continue;
                u->second.second = std::max(u->second.second, s.server_time + q2->ttl.count());
            }
        }
    }

private:
    std::map<lock_key, std::pair<fencing_token, std::int64_t>> until_;
};

/// No run is begun by a node that does not hold the lock and own the schedule at that moment, nor by one that is fenced
/// or suspended; and when runs overlap in time, the later has the higher token, and the earlier has no right any more.
class no_double_run final : public run_invariant {
public:
    std::string_view name() const override { return "no_double_run"; }
    void run_began(process const& p, run const& r) override {
        if (!group().promises_hold()) return;
        if (p.machine().state() != standing::member) {
            fail(fmt::format("{}#{} begins {} and is no member", p.node_id(), p.number(), r.name));
        }
        if (!p.believes_it_lives()) {
            fail(fmt::format("{}#{} begins {} while suspended", p.node_id(), p.number(), r.name));
        }
        if (!p.is_valid(r)) {
            fail(fmt::format("{}#{} begins {} under {}: try_lock gave a handle that is not valid", p.node_id(),
                             p.number(), r.name, r.token));
        }
        if (r.kind == op::lock_kind::schedule) {
            auto const s = group().store().schedule(r.name);
            if (s && (s->owner != r.incarnation || s->generation != r.generation)) {
                fail(fmt::format("{}#{} begins {} under generation {}; it is {}'s under {}", p.node_id(), p.number(),
                                 r.name, r.generation, s->owner, s->generation));
            }
        }
        for (auto const* other : group().living()) {
            for (auto const& o : other->runs()) {
                if (&o == &r || o.at != run::stage::working || o.kind != r.kind || o.name != r.name) continue;
                if (o.token >= r.token || other->is_valid(o)) {
                    fail(fmt::format("{}#{} begins {} under {} while {}#{} is at it under {}", p.node_id(), p.number(),
                                     r.name, r.token, other->node_id(), other->number(), o.token));
                }
            }
        }
    }
};

/// A resource that rejects tokens lower than the highest it has seen is never touched by two runs under one token: holds
/// whatever happens to clocks and servers. (Servers that have lost sight of each other, or of what they knew, may come to
/// mint the same number: tokens are compared where the state that minted them is the same.)
class effects_safe final : public run_invariant {
public:
    std::string_view name() const override { return "effects_safe"; }
    void run_began(process const& p, run const& r) override { effect(p, r); }
    void run_worked(process const& p, run const& r) override { effect(p, r); }

private:
    struct resource {
        fencing_token highest = 0;
        std::uint32_t server = 0;
        fencing_token epoch = 0;
        std::uint32_t by = no_process;
        moment began{};
    };
    void effect(process const& p, run const& r) {
        auto& it = resources_[{r.kind, r.name}];
        if (r.token < it.highest) return;  // rejected
        bool const same_source = r.server == it.server && r.epoch == it.epoch;
        if (r.token == it.highest && same_source && (it.by != p.number() || it.began != r.began)) {
            fail(fmt::format("token {} of {} is that of two runs, by {}#{} and by process {}", r.token, r.name,
                             p.node_id(), p.number(), it.by));
        }
        it = {r.token, r.server, r.epoch, p.number(), r.began};
    }
    std::map<lock_key, resource> resources_;
};

/// The user's handler stops when it is asked to: a run whose lock is not valid any more does not go on for longer than it
/// takes to look (a quarter of the lock's ttl). One that works for longer than that in one step cannot be asked in time,
/// and is named too. This is about the program, not about rota.
class handlers_stop final : public run_invariant {
public:
    std::string_view name() const override { return "handlers_stop"; }
    void run_worked(process const& p, run const& r) override {
        if (!r.asked_to_stop) return;
        auto const since = group().now() - *r.asked_to_stop;
        if (since <= p.work().lock_ttl / 4) return;
        fail(fmt::format("the handler of {}#{} goes on with {} under {}, {} after it was asked to stop", p.node_id(),
                         p.number(), r.name, r.token, seconds_in_words(since)));
    }
};

}  // namespace rota::sim

namespace rota::sim {

/// No run is cut short by a hand-off: while a schedule is on its way its lock is extended until handoff_deadline, no
/// longer, and nobody is given it before its lock has ended.
class runs_finish final : public invariant {
public:
    std::string_view name() const override { return "runs_finish"; }
    void performed(step const& s) override {
        if (!s.answer || s.server != group().servers().primary()) return;
        if (!group().promises_hold()) return locks_.clear();
        if (auto* q2 = std::get_if<op::extend_locks>(&s.request); q2 && q2->kind == op::lock_kind::schedule) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) extended(s, *q2, i, out[i]);
        } else if (auto* q3 = std::get_if<op::release_locks>(&s.request); q3 && q3->kind == op::lock_kind::schedule) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                if (out[i].ok()) locks_.erase(q3->items[i].name);
            }
        } else if (auto* q4 = std::get_if<op::acknowledge>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                if (out[i].token != 0) handed_over(s, q4->items[i].id, q4->incarnation);
            }
        } else if (auto* q5 = std::get_if<op::revoke>(&s.request)) {
            for (auto const& item : q5->items) {
                auto const now = group().store().schedule(item.id);
                if (now && now->owner != item.from) handed_over(s, item.id, item.from);
            }
        }
        for (auto const& g : locks_granted(s)) {
            if (g.key.first == op::lock_kind::schedule) locks_[g.key.second] = {g.out.token, g.holder, g.until};
        }
    }
    void looks() override {
        std::erase_if(locks_, [&](auto const& l) { return l.second.until < group().server_time(); });
    }

private:
    struct held {
        fencing_token token = 0;
        fencing_token holder = 0;
        std::int64_t until = 0;
    };
    static std::int64_t until(step const& s, op::outcome const& out) { return s.server_time + out.remaining.count(); }

    void extended(step const& s, op::extend_locks const& q, std::size_t i, op::outcome const& out) {
        auto const& [name, token] = q.items[i];
        auto const l = locks_.find(name);
        if (l == locks_.end() || l->second.token != token || l->second.until <= s.server_time) return;
        auto const now = group().store().schedule(name);
        bool const moves = now && now->moving_to != 0;
        bool const over = moves && now->handoff_until <= s.server_time;
        if (out.ok()) l->second.until = until(s, out);
        if (!out.ok() && moves && !over) {
            fail(fmt::format("the run of {} under {} was not extended, {} before its hand-off's deadline", name, token,
                             seconds_in_words(microseconds{now->handoff_until - s.server_time})));
        }
        if (out.ok() && over) {
            fail(fmt::format("the run of {} under {} was extended, {} after its hand-off's deadline", name, token,
                             seconds_in_words(microseconds{s.server_time - now->handoff_until})));
        }
    }
    void handed_over(step const& s, std::string const& id, fencing_token by) {
        auto const l = locks_.find(id);
        if (l == locks_.end() || l->second.holder != by || l->second.until <= s.server_time) return;
        fail(fmt::format("{} was handed over while {} had a run of it in hand, under {} for another {}", id, by,
                         l->second.token, seconds_in_words(microseconds{l->second.until - s.server_time})));
    }

    std::map<std::string, held> locks_;
};

/// Where another schedule goes in the place of the one that was asked for, it is one like it, and that one stays.
class swaps_hand_over_one final : public invariant {
public:
    std::string_view name() const override { return "swaps_hand_over_one"; }
    void performed(step const& s) override {
        if (!s.answer || s.server != group().servers().primary() || !group().promises_hold()) return;
        auto const* q = std::get_if<op::acknowledge>(&s.request);
        if (!q) return;
        auto const& out = std::get<op::outcomes>(*s.answer).items;
        for (std::size_t i = 0; i < out.size(); ++i) {
            auto const& item = q->items[i];
            if (!out[i].ok() || item.instead_of.empty()) continue;
            auto const went = group().store().schedule(item.id);
            auto const stayed = group().store().schedule(item.instead_of);
            if (!went || went->owner != item.to || went->generation != out[i].token) {
                fail(fmt::format("{} was to go to {} instead of {}, and did not", item.id, item.to, item.instead_of));
            }
            if (!stayed || stayed->owner != q->incarnation || stayed->moving_to != 0) {
                fail(fmt::format("{} went to {} instead of {}, which does not stay with {}", item.id, item.to,
                                 item.instead_of, q->incarnation));
            }
            if (went->weight != stayed->weight || went->traits != stayed->traits) {
                fail(fmt::format("{} went to {} instead of {}, which is not like it", item.id, item.to,
                                 item.instead_of));
            }
        }
    }
};

}  // namespace rota::sim

// ---- rota/sim/invariants/leadership.hpp ----------------------------------------------------------------------------
// Who leads: at most one believes it, no belief outlasts what the server granted, and gain and loss are told in turn.

namespace rota::sim {

/// At most one node's is_leader() is true at any moment.
class one_leader final : public invariant {
public:
    std::string_view name() const override { return "one_leader"; }
    void acted(process const& p) override {
        if (!p.believes_it_leads() || !group().promises_hold()) return;
        for (auto const* other : group().living()) {
            if (other == &p || !other->believes_it_leads()) continue;
            fail(fmt::format("{}#{} (term {}) and {}#{} (term {}) believe that they lead", p.node_id(), p.number(),
                             p.belief().term(), other->node_id(), other->number(), other->belief().term()));
        }
    }
};

/// Belief in the lease and in being alive ends, with the margin to spare, before the server's grant does.
class belief_ends_in_time final : public invariant {
public:
    std::string_view name() const override { return "belief_ends_in_time"; }
    void acted(process const& p) override {
        if (!group().promises_hold()) return;
        auto const& b = p.belief();
        auto const margin = p.machine().settings().safety_margin;
        if (p.believes_it_leads()) {
            auto const l = group().store().leader();
            auto const until = p.clock().when(b.leads_until() + margin);
            if (l.incarnation != b.incarnation() || l.term != b.term()) {
                fail(fmt::format("{}#{} believes in term {}, which is not the one stored ({} of {})", p.node_id(),
                                 p.number(), b.term(), l.term, l.incarnation));
            }
            check(p, "the lease", until, l.deadline);
        }
        if (p.believes_it_lives()) {
            auto const n = group().store().node(b.incarnation());
            if (!n)
                fail(fmt::format("{}#{} believes that it lives; the server has forgotten it", p.node_id(), p.number()));
            check(p, "its life", p.clock().when(b.alive_until() + margin), n->deadline);
        }
    }
    void lock_taken(process const& p, run const& r) override {
        if (!group().promises_hold() || !p.is_valid(r)) return;
        auto const l = group().store().lock(r.kind, r.name);
        if (!l || l->token != r.token) {
            fail(fmt::format("{}#{} holds {} under {}, which the server does not have", p.node_id(), p.number(), r.name,
                             r.token));
        }
        auto const margin = p.machine().settings().safety_margin;
        check(p, "the lock of " + r.name, p.clock().when(r.until + margin), l->deadline);
    }

private:
    void check(process const& p, std::string const& what, moment until, std::int64_t deadline) {
        // A microsecond is lost in rounding to the node's clock and back.
        auto const granted = group().true_time_of(deadline);
        if (until <= granted + microseconds{2}) return;
        fail(fmt::format("{}#{} believes in {} (and a margin) until {}, the server until {}", p.node_id(), p.number(),
                         what, in_words(until), in_words(granted)));
    }
};

/// A node tells of its own leadership gained and lost in turn, and of lost at last when it goes.
class leadership_alternates final : public invariant {
public:
    std::string_view name() const override { return "leadership_alternates"; }
    void told(process const& p, event const& e) override {
        auto& t = tellers_[p.number()];
        if (auto const* joined = std::get_if<node_joined>(&e)) t.incarnation = joined->node.incarnation;
        auto const* change = std::get_if<leadership_changed>(&e);
        if (!change) return;
        bool const gained = t.incarnation != 0 && change->leader.incarnation == t.incarnation;
        bool const lost = t.incarnation != 0 && change->previous.incarnation == t.incarnation;
        if (gained && t.leads) fail(fmt::format("{}#{} tells that it leads, twice", p.node_id(), p.number()));
        if (gained && lost) fail(fmt::format("{}#{} tells that it succeeded itself", p.node_id(), p.number()));
        if (lost && !t.leads) {
            fail(fmt::format("{}#{} tells that it lost a leadership that it had not told of", p.node_id(), p.number()));
        }
        ++t.changes;
        if (gained) t.leads = true;
        if (lost) t.leads = false;
    }
    void acted(process const& p) override {
        auto& t = tellers_[p.number()];
        bool const leads = p.believes_it_leads();
        if (leads && !t.leads) fail(fmt::format("{}#{} leads and has not told", p.node_id(), p.number()));
        if (leads && t.last.until < p.now() && t.last.changes == t.changes && t.last.led) {
            fail(fmt::format("{}#{} did not lead for a while, and has not told", p.node_id(), p.number()));
        }
        t.last = {leads, std::min(p.belief().leads_until(), p.belief().alive_until()), t.changes};
    }
    void process_ended(process const& p, std::string_view how) override {
        // A crash tells nothing; whoever leaves in order does.
        if (how == "left" && tellers_[p.number()].leads) {
            fail(fmt::format("{}#{} left, and has not told that it leads no more", p.node_id(), p.number()));
        }
        tellers_.erase(p.number());
    }

private:
    struct last_seen {
        bool led = false;
        instant until{};
        std::uint64_t changes = 0;
    };
    struct teller {
        fencing_token incarnation = 0;
        bool leads = false;
        last_seen last{};
        std::uint64_t changes = 0;
    };
    std::map<std::uint32_t, teller> tellers_;
};

}  // namespace rota::sim

// ---- rota/sim/invariants/orders.hpp --------------------------------------------------------------------------------
// What leaders' plans heed: standing orders, the rules of schedules, and that they know all of what they plan for.
//
// A leader is held to what it knew as it asked: up to which event of the group's log it had read (process::knew). That it
// does not stay behind is the business of others (pictures_are_true, even_in_time).

namespace rota::sim {

/// A step of a leader's own plan that took effect, and what it knew.
class plan_invariant : public invariant {
public:
    void performed(step const& s) override {
        if (!s.answer || s.server != group().servers().primary()) return;
        happened(s);
        if (s.process == no_process || !group().promises_hold()) return;
        auto const& knew = group().processes()[s.process]->knew();
        if (knew.epoch != group().store().epoch()) return;
        auto each = [&](auto const& items, bool moves) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < items.size(); ++i) {
                bool const of_plan = items[i].reason != change_reason::transferred;  // else it is its user's wish
                if (of_plan && out[i].ok()) took_effect(items[i].id, items[i].to, items[i].reason, moves, knew);
            }
        };
        if (auto* q = std::get_if<op::adopt>(&s.request)) each(q->items, false);
        if (auto* q = std::get_if<op::revoke>(&s.request); q && q->term != 0) each(q->items, true);
    }

protected:
    virtual void happened(step const&) {}
    virtual void took_effect(std::string const& id, fencing_token to, change_reason why, bool moves,
                             process::knowledge const& knew) = 0;
};

/// A leader that has not read all of who owns what moves nothing.
class whole_pictures_move final : public plan_invariant {
public:
    std::string_view name() const override { return "whole_pictures_move"; }

protected:
    void took_effect(std::string const& id, fencing_token to, change_reason, bool moves,
                     process::knowledge const& knew) override {
        if (moves && !knew.complete) {
            fail(fmt::format("{} was moved to {} by a leader that had not read who owns what", id, to));
        }
    }
};

/// While the group is maintained, nothing is moved between live nodes.
class maintenance_kept final : public plan_invariant {
public:
    std::string_view name() const override { return "maintenance_kept"; }

protected:
    void happened(step const& s) override {
        if (!std::holds_alternative<op::give_order>(s.request)) return;
        if (!group().store().maintenance()) {
            since_ = 0;
        } else if (since_ == 0) {
            since_ = group().store().seq();
        }
    }
    void took_effect(std::string const& id, fencing_token to, change_reason, bool moves,
                     process::knowledge const& knew) override {
        if (!moves || !group().store().maintenance() || since_ == 0 || knew.cursor < since_) return;
        fail(fmt::format("{} was moved to {}, although the group is being maintained", id, to));
    }

private:
    std::uint64_t since_ = 0;
};

/// A node that is drained is given nothing; and once things are calm it ends empty, if the others have room.
class drained_end_empty final : public plan_invariant {
public:
    std::string_view name() const override { return "drained_end_empty"; }
    void begin() override { bound_ = time_to_move(group()); }
    void looks() override {
        auto const calm = group().now() - group().calm_since();
        if (calm <= bound_ || !group().promises_hold() || group().store().maintenance()) return;
        std::uint64_t room = 0, there = 0;
        std::string held;
        bool healthy = false;
        for (std::uint32_t i = 0; i < group().size(); ++i) healthy = healthy || group().is_healthy(i);
        for (auto const& [incarnation, n] : group().store().nodes()) {
            if (!n.live) continue;
            if (group().store().is_drained(n.id)) {
                if (n.load > 0) held = fmt::format("{} still has {} schedules", n.id, n.load);
                there += n.load;
            } else {
                room += n.capacity > n.load + n.pending ? n.capacity - n.load - n.pending : 0;
            }
        }
        if (!healthy || held.empty() || room < there || has_rules()) return;
        fail(fmt::format("nothing went wrong for {}, and {}, which is to end empty", seconds_in_words(calm), held));
    }

protected:
    void happened(step const& s) override {
        if (!std::holds_alternative<op::give_order>(s.request)) return;
        std::map<std::string, std::uint64_t, std::less<>> now;
        for (auto const& id : group().store().drained()) {
            auto const known = since_.find(id);
            now[id] = known == since_.end() ? group().store().seq() : known->second;
        }
        since_ = std::move(now);
    }
    void took_effect(std::string const& id, fencing_token to, change_reason, bool,
                     process::knowledge const& knew) override {
        auto const n = group().store().node(to);
        if (!n || !group().store().is_drained(n->id)) return;
        auto const since = since_.find(n->id);
        if (since == since_.end() || knew.cursor < since->second) return;
        fail(fmt::format("{} was given to {}, which is to end empty", id, n->id));
    }

private:
    // They may stand against it, where they are heeded.
    [[nodiscard]] bool has_rules() const {
        if (!group().habits().heeds_rules) return false;
        auto const all = group().store().schedules();
        return std::any_of(all.begin(), all.end(), [](auto const& s) { return !s.second.traits.empty(); });
    }
    microseconds bound_{};
    std::map<std::string, std::uint64_t, std::less<>> since_;  // the event from which on it is so
};

/// What a plan places or moves goes where the rules of the schedule allow it. For strategies that heed them.
class rules_kept final : public plan_invariant {
public:
    std::string_view name() const override { return "rules_kept"; }
    [[nodiscard]] std::string lacks() const override {
        return group().habits().heeds_rules ? "" : "the strategy heeds no rules, or is not said to (strategy_habits)";
    }

protected:
    void happened(step const& s) override {
        auto const seq = group().store().seq();
        auto each = [&](auto const& items) {
            for (auto const& item : items) changed_[item.id] = seq;
        };
        if (auto* q = std::get_if<op::update_schedules>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::register_schedules>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::adopt>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::revoke>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::acknowledge>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::claim>(&s.request)) {
            for (auto const& id : q->ids) changed_[id] = seq;
        }
        if (auto* q = std::get_if<op::describe_node>(&s.request)) described_[q->incarnation] = seq;
        if (auto* q = std::get_if<op::update_schedules>(&s.request)) {
            for (auto const& item : q->items) ruled_[item.id] = seq;
        }
    }
    void took_effect(std::string const& id, fencing_token to, change_reason, bool,
                     process::knowledge const& knew) override {
        auto const& store = group().store();
        auto const s = store.schedule(id);
        auto const n = store.node(to);
        if (!s || !n || s->traits.empty() || ruled_[id] > knew.cursor || described_[to] > knew.cursor) return;
        auto const rules = rules_of(s->traits);
        auto const labels = attributes_of(n->traits).labels;
        auto const has = [&](std::string const& label) {
            return std::find(labels.begin(), labels.end(), label) != labels.end();
        };
        bool const allowed = (rules.pin.empty() || rules.pin == n->id) &&
                             std::all_of(rules.required.begin(), rules.required.end(), has) &&
                             std::none_of(rules.forbidden.begin(), rules.forbidden.end(), has);
        if (!allowed) fail(fmt::format("{} ({}) was given to {} ({})", id, s->traits, n->id, n->traits));
        if (rules.group.empty()) return;
        for (auto const& [other, o] : store.schedules()) {
            bool const there = (o.moving_to != 0 ? o.moving_to : o.owner) == to;
            if (other == id || !there || changed_[other] > knew.cursor) continue;
            if (rules_of(o.traits).group != rules.group) continue;
            fail(fmt::format("{} was given to {}, which has {} of the same group", id, n->id, other));
        }
    }

private:
    // The latest event that concerns a schedule at all, its rules, a node.
    std::map<std::string, std::uint64_t> changed_, ruled_;
    std::map<fencing_token, std::uint64_t> described_;
};

/// A plan that names the state that it was made for takes effect in that state alone.
class plans_fit_their_state final : public invariant {
public:
    std::string_view name() const override { return "plans_fit_their_state"; }
    void performed(step const& s) override {
        if (s.server != group().servers().primary()) return;
        auto const before = std::exchange(seq_, group().store().seq());
        if (!s.answer || !group().promises_hold()) return;
        auto const* placing = std::get_if<op::adopt>(&s.request);
        auto const* moving = std::get_if<op::revoke>(&s.request);
        auto const as_of = placing ? placing->as_of : moving ? moving->as_of : 0;
        if (as_of == 0 || as_of == before) return;
        fail(fmt::format("a plan for the group as of event {} took effect after event {}", as_of, before));
    }

private:
    std::uint64_t seq_ = 0;
};

}  // namespace rota::sim

// ---- rota/sim/invariants/ownership.hpp -----------------------------------------------------------------------------
// Who owns what: local beliefs never overlap, generations rise, only what is nobody's is taken, nothing is lost.

namespace rota::sim {

/// Tells when a node's beliefs may have come to be others than they were: its table changed, or it lives again.
class belief_watch {
public:
    /// Whether what `p` believes to own is to be looked at now.
    bool is_news(process const& p) {
        auto& last = seen_[p.number()];
        auto const& b = p.belief();
        bool const lives = p.believes_it_lives();
        bool const again = lives && (!last.lived || last.until <= p.now());
        std::uint64_t stamp = b.incarnation();
        for (auto const& [id, s] : b.table()) stamp += mixed(s.generation);
        bool const news = lives && (again || stamp != last.stamp);
        last = {stamp, lives, b.alive_until()};
        return news;
    }
    void forget(process const& p) { seen_.erase(p.number()); }

private:
    struct last_seen {
        std::uint64_t stamp = 0;
        bool lived = false;
        instant until{};
    };
    std::map<std::uint32_t, last_seen> seen_;
};

/// What a node believes to own the server has as its own, under that generation.
class one_owner final : public invariant {
public:
    std::string_view name() const override { return "one_owner"; }
    void acted(process const& p) override {
        if (!group().promises_hold()) {
            watch_.forget(p);
            return;
        }
        if (!watch_.is_news(p)) return;
        auto const& b = p.belief();
        for (auto const& [id, mine] : b.table()) {
            auto const s = group().store().schedule(id);
            if (s && (s->owner != b.incarnation() || s->generation != mine.generation) && !may_not_know(id)) {
                fail(fmt::format("{}#{} believes to own {} under {}; the server has {} under {}", p.node_id(),
                                 p.number(), id, mine.generation, s->owner, s->generation));
            }
        }
    }
    void process_ended(process const& p, std::string_view) override { watch_.forget(p); }
    void performed(step const& s) override {
        if (auto* q = std::get_if<op::unregister_schedules>(&s.request); q && s.answer) {
            for (auto const& item : q->items) unregistered_[item.id] = group().now();
        }
    }

private:
    // Unregistered and registered again: whoever had it hears of it while it lives, and nobody else is given it before.
    [[nodiscard]] bool may_not_know(std::string const& id) const {
        auto const u = unregistered_.find(id);
        return u != unregistered_.end() && group().store().schedule(id)->owner == 0 &&
               group().now() - u->second < with_defaults(group().settings().options).node_ttl;
    }
    belief_watch watch_;
    std::map<std::string, moment> unregistered_;
};

/// The times during which nodes believe to own a schedule are disjoint, on true time: whenever one begins to, no other
/// does.
class ownership_disjoint final : public invariant {
public:
    std::string_view name() const override { return "ownership_disjoint"; }
    void acted(process const& p) override {
        if (!group().promises_hold()) {
            watch_.forget(p);
            return;
        }
        if (!watch_.is_news(p)) return;
        for (auto const* other : group().living()) {
            if (other == &p || !other->believes_it_lives()) continue;
            for (auto const& [id, mine] : p.belief().table()) {
                auto const theirs = other->belief().table().find(id);
                if (theirs == other->belief().table().end()) continue;
                fail(fmt::format("{}#{} (generation {}) and {}#{} (generation {}) believe to own {}", p.node_id(),
                                 p.number(), mine.generation, other->node_id(), other->number(),
                                 theirs->second.generation, id));
            }
        }
    }
    void process_ended(process const& p, std::string_view) override { watch_.forget(p); }

private:
    belief_watch watch_;
};

/// Each change of owner mints a generation above all before it; an owner does not change without one.
class generation_rises final : public invariant {
public:
    std::string_view name() const override { return "generation_rises"; }
    void performed(step const& s) override {
        if (s.server != group().servers().primary() || !s.answer) return;
        if (!group().promises_hold()) {
            known_.clear();
            return;
        }
        auto const* r = std::get_if<op::outcomes>(&*s.answer);
        if (!r) return;
        auto each = [&](auto const& items, auto&& id_of) {
            for (auto const& item : items) look_at(id_of(item));
        };
        if (auto* q = std::get_if<op::adopt>(&s.request)) each(q->items, [](auto& i) { return i.id; });
        if (auto* q = std::get_if<op::acknowledge>(&s.request)) each(q->items, [](auto& i) { return i.id; });
        if (auto* q = std::get_if<op::claim>(&s.request)) each(q->ids, [](auto& i) { return i; });
        if (auto* q = std::get_if<op::revoke>(&s.request)) each(q->items, [](auto& i) { return i.id; });
        if (auto* q = std::get_if<op::unregister_schedules>(&s.request)) each(q->items, [](auto& i) { return i.id; });
        if (auto* q = std::get_if<op::mend>(&s.request)) each(q->items, [](auto& i) { return i.id; });
    }
    // A server that nobody asks anything for a while may have lost all of it meanwhile.
    void fault_began(fault const& f) override {
        if (!within_promises(f.kind)) known_.clear();
    }

private:
    void look_at(std::string const& id) {
        auto const s = group().store().schedule(id);
        if (!s) {
            known_.erase(id);
            return;
        }
        auto& before = known_[id];
        if (s->generation < before.generation || (s->owner != before.owner && s->generation == before.generation)) {
            fail(fmt::format("{} went from {} under {} to {} under {}", id, before.owner, before.generation, s->owner,
                             s->generation));
        }
        before = *s;
    }
    std::map<std::string, stored_schedule> known_;
};

/// What names a generation takes effect under that one alone: a plan, an acknowledgement, a lock of yesterday does not.
class stale_generations_refused final : public invariant {
public:
    std::string_view name() const override { return "stale_generations_refused"; }
    void performed(step const& s) override {
        if (s.server != group().servers().primary() || !s.answer) return;
        if (!group().promises_hold()) {
            known_.clear();
            return;
        }
        auto const* r = std::get_if<op::outcomes>(&*s.answer);
        if (!r) return;
        if (auto* q = std::get_if<op::adopt>(&s.request)) each(q->items, *r, "placed");
        if (auto* q = std::get_if<op::acknowledge>(&s.request)) each(q->items, *r, "handed over");
        if (auto* q = std::get_if<op::revoke>(&s.request)) each(q->items, *r, "revoked");
        if (auto* q = std::get_if<op::claim>(&s.request)) {
            for (auto const& id : q->ids) remember(id);
        }
        if (auto* q = std::get_if<op::unregister_schedules>(&s.request)) {
            for (auto const& item : q->items) known_.erase(item.id);
        }
        if (auto* q = std::get_if<op::acquire_locks>(&s.request); q && q->kind == op::lock_kind::schedule) {
            for (std::size_t i = 0; i < q->items.size(); ++i) {
                if (r->items[i].ok()) look_at(q->items[i].name, q->items[i].generation, "locked");
            }
        }
        if (auto* q = std::get_if<op::mend>(&s.request)) {
            for (auto const& item : q->items) remember(item.id);
        }
    }
    void fault_began(fault const& f) override {
        if (!within_promises(f.kind)) known_.clear();
    }

private:
    template <typename Items>
    void each(Items const& items, op::outcomes const& r, char const* what) {
        for (std::size_t i = 0; i < items.size(); ++i) {
            if (r.items[i].ok()) look_at(items[i].id, items[i].generation, what);
        }
        for (auto const& item : items) remember(item.id);
    }
    void look_at(std::string const& id, fencing_token generation, char const* what) {
        auto const before = known_.find(id);
        if (before == known_.end() || before->second == generation) return;
        fail(fmt::format("{} was {} under generation {}; its own was {}", id, what, generation, before->second));
    }
    void remember(std::string const& id) {
        if (auto const s = group().store().schedule(id)) known_[id] = s->generation;
    }
    std::map<std::string, fencing_token> known_;
};

/// Only what has no owner, or one that cannot believe in it any more, is given away by a plan.
class only_expired_orphaned final : public invariant {
public:
    std::string_view name() const override { return "only_expired_orphaned"; }
    void performed(step const& s) override {
        if (!s.answer || s.server != group().servers().primary()) return;
        if (auto* q = std::get_if<op::tick>(&s.request)) {
            if (std::get<op::ticked>(*s.answer).status == op::tick_status::ok) {
                life_[q->incarnation] = s.server_time + q->node_ttl.count();
            }
        } else if (auto* q2 = std::get_if<op::join>(&s.request)) {
            life_[std::get<op::joined>(*s.answer).incarnation] = s.server_time + q2->node_ttl.count();
        } else if (auto* q3 = std::get_if<op::leave>(&s.request)) {
            life_.erase(q3->incarnation);
        } else if (auto* q4 = std::get_if<op::reap>(&s.request)) {
            for (auto const& out : std::get<op::outcomes>(*s.answer).items) {
                if (auto l = life_.find(out.token);
                    l != life_.end() && l->second > s.server_time && group().promises_hold()) {
                    fail(fmt::format("{} was reaped {} before its deadline", out.token,
                                     seconds_in_words(microseconds{l->second - s.server_time})));
                }
            }
            for (auto n : q4->nodes) {
                if (!group().store().node(n)) life_.erase(n);
            }
        } else if (auto* q5 = std::get_if<op::adopt>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                if (!out[i].ok()) continue;
                auto const l = life_.find(q5->items[i].from);
                if (l != life_.end() && l->second > s.server_time && group().promises_hold()) {
                    fail(fmt::format("{} was taken from {}, which may believe in it for another {}", q5->items[i].id,
                                     l->first, seconds_in_words(microseconds{l->second - s.server_time})));
                }
            }
        }
    }

    void looks() override {
        std::erase_if(life_, [&](auto const& l) { return !group().store().node(l.first); });
    }

private:
    std::map<fencing_token, std::int64_t> life_;
};

/// What is registered and not unregistered is stored, and nothing else.
class nothing_lost final : public invariant {
public:
    std::string_view name() const override { return "nothing_lost"; }
    void performed(step const& s) override {
        if (s.server != group().servers().primary()) return;
        if (s.answer) {
            if (auto* q = std::get_if<op::register_schedules>(&s.request)) {
                for (auto const& item : q->items) there_.insert(item.id);
            } else if (auto* q6 = std::get_if<op::unregister_schedules>(&s.request)) {
                auto const& out = std::get<op::outcomes>(*s.answer).items;
                for (std::size_t i = 0; i < out.size(); ++i) {
                    if (out[i].ok()) there_.erase(q6->items[i].id);
                }
            }
        }
        if (there_.size() != group().store().schedule_count() && group().promises_hold()) compare();
    }
    void looks() override {
        if (group().promises_hold()) {
            compare();
        } else {
            there_.clear();
            for (auto const& [id, s] : group().store().schedules()) there_.insert(id);
        }
    }

private:
    void compare() {
        std::set<std::string> stored;
        for (auto const& [id, s] : group().store().schedules()) stored.insert(id);
        for (auto const& id : there_) {
            if (!stored.contains(id)) fail(id + " is registered, and the server does not have it");
        }
        for (auto const& id : stored) {
            if (!there_.contains(id)) fail("the server has " + id + ", which nobody registered");
        }
    }
    std::set<std::string> there_;
};

/// A new incarnation owns nothing.
class restart_inherits_nothing final : public invariant {
public:
    std::string_view name() const override { return "restart_inherits_nothing"; }
    void performed(step const& s) override {
        if (!s.answer || !std::holds_alternative<op::join>(s.request)) return;
        auto const& joined = std::get<op::joined>(*s.answer);
        if (joined.incarnation <= highest_) return;  // a repeat
        highest_ = joined.incarnation;
        auto const n = group().servers().server(s.server).store->node(joined.incarnation);
        if (n && n->load != 0) fail(fmt::format("{} joined, and owns {} schedules", joined.incarnation, n->load));
    }
    void told(process const& p, event const& e) override {
        if (std::holds_alternative<node_joined>(e) && !p.belief().table().empty()) {
            fail(fmt::format("{}#{} joined, and believes to own something", p.node_id(), p.number()));
        }
    }

private:
    fencing_token highest_ = 0;
};

/// A node that is fenced or suspended begins nothing. The server grants nothing to an incarnation that
/// is not live.
class fenced_do_nothing final : public invariant {
public:
    std::string_view name() const override { return "fenced_do_nothing"; }
    void run_began(process const& p, run const& r) override { look(p, r, "begins"); }
    void performed(step const& s) override {
        if (!s.answer) return;
        if (auto* q = std::get_if<op::acquire_locks>(&s.request)) look(s, q->incarnation, "locked something");
        if (auto* q = std::get_if<op::extend_locks>(&s.request)) look(s, q->incarnation, "extended a lock");
        if (auto* q = std::get_if<op::claim>(&s.request)) look(s, q->incarnation, "claimed something");
        if (auto* q = std::get_if<op::acknowledge>(&s.request)) look(s, q->incarnation, "handed something over");
    }

private:
    void look(step const& s, fencing_token incarnation, char const* did) {
        auto const n = group().servers().server(s.server).store->node(incarnation);
        if (!n || !n->live) fail(fmt::format("{} {}, and is no member", incarnation, did));
    }
    void look(process const& p, run const& r, char const* does) {
        if (p.machine().state() == standing::fenced) {
            fail(fmt::format("{}#{} {} {} and is fenced", p.node_id(), p.number(), does, r.name));
        }
        if (!p.believes_it_lives()) {
            fail(fmt::format("{}#{} {} {} while suspended", p.node_id(), p.number(), does, r.name));
        }
    }
};

}  // namespace rota::sim

// ---- rota/sim/invariants/server.hpp --------------------------------------------------------------------------------
// What the server grants: nothing to commands of connections that are no more, nothing beyond a node's capacity.

namespace rota::sim {

/// Once a session has been heard by a newer connection, no command that comes by an older one has an effect. (But for a
/// brief tick, which extends a deadline: see op::tick.)
class dead_connections_do_nothing final : public invariant {
public:
    std::string_view name() const override { return "dead_connections_do_nothing"; }
    void performed(step const& s) override {
        if (s.from.session == 0) return;
        auto& newest = newest_[{s.server, s.from.session}];
        if (s.from.number >= newest) {
            newest = s.from.number;
        } else if (s.answer && !may_come_late(s.request) && group().promises_hold()) {
            fail(fmt::format("a command of process {} by connection {} took effect; connection {} had been used",
                             s.process, s.from.number, newest));
        }
    }
    // A server that has lost data has lost which connections there were, too.
    void fault_began(fault const& f) override {
        if (!within_promises(f.kind)) newest_.clear();
    }

private:
    static bool may_come_late(operation const& o) {
        auto const* const tick = std::get_if<op::tick>(&o);
        return (tick && tick->brief) || std::holds_alternative<op::lookup>(o) ||
               std::holds_alternative<op::changes_since>(o) || std::holds_alternative<op::events_since>(o) ||
               std::holds_alternative<op::schedules_page>(o) || std::holds_alternative<op::nodes_page>(o) ||
               std::holds_alternative<op::scan_page>(o);
    }
    std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> newest_;
};

/// What is given to a node, or set out for it, is never more than it may have. (It may come to hold more, by being allowed
/// less.)
class capacity_kept final : public invariant {
public:
    std::string_view name() const override { return "capacity_kept"; }
    void performed(step const& s) override {
        auto& seq = seq_[s.server];
        auto const store_seq = group().servers().server(s.server).store->seq();
        if (!s.answer || std::exchange(seq, store_seq) == store_seq) return;  // a repeat of what was done before
        auto const* r = std::get_if<op::outcomes>(&*s.answer);
        auto each = [&](auto const& items) {
            for (std::size_t i = 0; i < items.size(); ++i) {
                if (r->items[i].ok()) look_at(s, items[i].to);
            }
        };
        if (auto* q = std::get_if<op::adopt>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::revoke>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::acknowledge>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::claim>(&s.request); q && r->items.front().ok()) look_at(s, q->incarnation);
    }

private:
    void look_at(step const& s, fencing_token incarnation) {
        auto const& store = *group().servers().server(s.server).store;
        auto const n = store.node(incarnation);
        if (!n || n->load + n->pending <= n->capacity || !store.disagreement().empty()) return;
        fail(fmt::format("{} owns {} schedules and expects {}; it may have {}", incarnation, n->load, n->pending,
                         n->capacity));
    }
    std::map<std::uint32_t, std::uint64_t> seq_;
};

}  // namespace rota::sim

// ---- rota/sim/invariants/traffic.hpp -------------------------------------------------------------------------------
// How much a group asks of its server: bounded, whatever goes wrong.

namespace rota::sim {

/// No node asks the server more than a bounded number of times a second, user calls not counted.
class no_storm final : public invariant {
public:
    std::string_view name() const override { return "no_storm"; }
    void performed(step const& s) override {
        if (s.process == no_process || is_user_call(s.request)) return;
        if (++count_[s.process] > most()) {
            fail(fmt::format("process {} made {} requests within a second", s.process, count_[s.process]));
        }
    }
    void looks() override { count_.clear(); }

private:
    static bool is_user_call(operation const& o) {
        return std::holds_alternative<op::acquire_locks>(o) || std::holds_alternative<op::extend_locks>(o) ||
               std::holds_alternative<op::release_locks>(o) || std::holds_alternative<op::lookup>(o) ||
               std::holds_alternative<op::claim>(o) || std::holds_alternative<op::register_schedules>(o) ||
               std::holds_alternative<op::unregister_schedules>(o) || std::holds_alternative<op::update_schedules>(o) ||
               std::holds_alternative<op::give_order>(o);
    }
    // A few dozen for a change of leader with snapshot and plan, and something per thing that can change.
    [[nodiscard]] std::uint32_t most() const {
        auto const beats = std::chrono::seconds{1} / group().settings().options.heartbeat_interval;
        return 100 + 20 * static_cast<std::uint32_t>(beats) + 4 * group().schedules() + 4 * group().size();
    }
    std::map<std::uint32_t, std::uint32_t> count_;
};

}  // namespace rota::sim

namespace rota::sim {

/// What rota promises with any strategy, also one that fills up node after node, or leaves all where it is: goes with
/// sim::settled. What looks at runs is left out where a world has none (and handlers_stop where its handlers are told not
/// to), as is what looks at subscribers of the group.
inline void check_sound(world& w) {
    w.check<one_leader, belief_ends_in_time, leadership_alternates, plans_under_current_term, plans_are_sound,
            one_owner, ownership_disjoint, generation_rises, stale_generations_refused, only_expired_orphaned,
            nothing_lost, restart_inherits_nothing, fenced_do_nothing, tokens_rise, strangers_change_nothing,
            no_extend_after_release, unanswered_acquire_harmless, locks_end_by_ttl, own_events_fold_to_state,
            pictures_are_true, leader_in_time, owned_in_time, leave_without_gap, dead_connections_do_nothing,
            capacity_kept, no_storm, swaps_hand_over_one, whole_pictures_move, maintenance_kept, drained_end_empty,
            plans_fit_their_state, records_agree, damage_mended>();
    if (w.habits().heeds_rules) w.check<rules_kept>();
    if (w.has_work()) w.check<locks_exclusive, no_double_run, effects_safe, runs_finish>();
    if (w.has_work() && w.settings().work.heeds_stop) w.check<handlers_stop>();
    if (w.has_group_subscribers()) w.check<group_events_fold_to_state>();
}

/// check_sound, and what the default strategy achieves: load is even in time (even_in_time), by few moves
/// (moves_bounded). For strategies that balance; goes with sim::converged. Of one that is said not to do so
/// (strategy_habits) it asks no more than it does.
inline void check_all(world& w) {
    check_sound(w);
    if (w.habits().moves_least) w.check<moves_bounded>();
    if (w.habits().evens_out) w.check<even_in_time>();
}

}  // namespace rota::sim

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

// ---- rota/sim/replay.hpp -------------------------------------------------------------------------------------------
// A run as a text: what it takes to see it again, what broke in it, and its trace hash. Written when a run fails, read
// back by replay(), and fit to be pasted into a test, where it says whether the same still breaks:
//
//   rota-replay 1
//   rota 0.1.0
//   setup standard
//   seed 7
//   nodes 3
//   schedules 4
//   length 42.5s
//   leader_lease 2s
//   fault at 12.5s cut_replies node 2 for 3.25s
//   broke one_leader at 14.203117s
//   trace 0123456789abcdef
//   end
//
// Settings that are not named have their defaults. Numbers mean the same to every compiler. What cannot be run as it was
// recorded is refused with words: another version of rota (its defaults, and what it draws from a seed, may differ;
// replay_settings::any_version runs it anyway), another setup, a text that is cut off or none at all.

#include <charconv>

namespace rota::sim {

/// A run, and what came of it.
struct recording {
    scenario run;
    std::string version = version_text;
    std::string setup = "standard";
    std::string invariant{};  ///< that broke; empty: none
    moment broke_at{};
    std::uint64_t trace_hash = 0;
};

[[nodiscard]] inline recording recording_of(failure const& f) {
    return {f.run, version_text, f.setup, f.broken.invariant, f.broken.at, f.broken.trace_hash};
}

namespace replay_text {

inline constexpr std::string_view first_line = "rota-replay 1";
inline constexpr std::size_t most_faults = 100'000;
inline constexpr std::size_t most_bytes = 1'000'000;

// Every setting of a run by its name, for writing and for reading. A seed is enough for whatever is not here.
template <typename Scenario, typename Visit>
void each_setting(Scenario& s, Visit&& visit) {
    auto& w = s.world;
    visit("clock_drift", w.clock_drift);
    visit("longest_loss", w.longest_loss);
    visit("restart_after", w.restart_after);
    visit("strategy", w.strategy);
    visit("network.least_delay", w.network.least_delay);
    visit("network.most_delay", w.network.most_delay);
    visit("work.period", w.work.period);
    visit("work.least", w.work.least);
    visit("work.most", w.work.most);
    visit("work.lock_ttl", w.work.lock_ttl);
    visit("work.names", w.work.names);
    visit("work.heeds_stop", w.work.heeds_stop);
    auto& o = w.options;
    visit("options.heartbeat_interval", o.heartbeat_interval);
    visit("options.node_ttl", o.node_ttl);
    visit("options.leader_lease", o.leader_lease);
    visit("options.operation_timeout", o.operation_timeout);
    visit("options.clock_drift", o.clock_drift);
    visit("options.safety_margin", o.safety_margin);
    visit("options.max_schedules_per_node", o.max_schedules_per_node);
    visit("options.auto_rebalance", o.auto_rebalance);
    visit("options.rebalance_threshold", o.rebalance_threshold);
    visit("options.handoff_deadline", o.handoff_deadline);
    visit("options.zone", o.zone);
    visit("options.planning_budget", o.planning_budget);
    visit("options.load_smoothing", o.load_smoothing);
    visit("options.load_floor", o.load_floor);
    visit("options.audit_interval", o.audit_interval);
    visit("options.on_conflict", o.on_conflict);
    visit("options.event_scope", o.event_scope);
    visit("options.jitter_seed", o.jitter_seed);
}

[[nodiscard]] inline std::string written(std::uint64_t n) { return fmt::format("{}", n); }
[[nodiscard]] inline std::string written(std::uint32_t n) { return fmt::format("{}", n); }
[[nodiscard]] inline std::string written(double n) { return fmt::format("{}", n); }  // the shortest that reads the same
[[nodiscard]] inline std::string written(bool yes) { return yes ? "yes" : "no"; }
[[nodiscard]] inline std::string written(microseconds d) { return seconds_in_words(d); }
[[nodiscard]] inline std::string written(std::string const& word) { return word.empty() ? "none" : word; }
[[nodiscard]] inline std::string written(conflict_policy p) {
    return p == conflict_policy::refuse ? "refuse" : "take_over";
}
[[nodiscard]] inline std::string written(event_scope s) { return s == event_scope::group ? "group" : "own"; }
template <typename T>
[[nodiscard]] std::string written(std::optional<T> const& n) {
    return n ? written(*n) : "none";
}

template <typename Number>
[[nodiscard]] bool read_number(std::string_view text, Number& into) {
    auto const [end, failed] = std::from_chars(text.data(), text.data() + text.size(), into);
    return failed == std::errc{} && end == text.data() + text.size();
}
[[nodiscard]] inline bool read(std::string_view text, std::uint64_t& into) { return read_number(text, into); }
[[nodiscard]] inline bool read(std::string_view text, std::uint32_t& into) {
    return read_number(text, into) && into <= 10'000'000;
}
[[nodiscard]] inline bool read(std::string_view text, double& into) { return read_number(text, into); }
[[nodiscard]] inline bool read(std::string_view text, bool& into) {
    into = text == "yes";
    return into || text == "no";
}
[[nodiscard]] inline bool read(std::string_view text, microseconds& into) {
    auto const time = plan_text::seconds(text);
    if (!time || *time < microseconds{} || *time > std::chrono::hours{24 * 366}) return false;
    into = *time;
    return true;
}
[[nodiscard]] inline bool read(std::string_view text, std::string& into) {
    if (text.empty() || text.size() > max_label_size || text.find_first_of(" \t") != text.npos) return false;
    into = text == "none" ? std::string_view{} : text;
    return true;
}
[[nodiscard]] inline bool read(std::string_view text, conflict_policy& into) {
    into = text == "refuse" ? conflict_policy::refuse : conflict_policy::take_over;
    return text == written(into);
}
[[nodiscard]] inline bool read(std::string_view text, event_scope& into) {
    into = text == "group" ? event_scope::group : event_scope::own;
    return text == written(into);
}
template <typename T>
[[nodiscard]] bool read(std::string_view text, std::optional<T>& into) {
    if (text == "none") return into.reset(), true;
    return read(text, into.emplace());
}

[[nodiscard]] inline std::string hex(std::vector<std::uint8_t> const& bytes) {
    std::string text;
    for (auto b : bytes) text += fmt::format("{:02x}", b);
    return text;
}
[[nodiscard]] inline bool read_hex(std::string_view text, std::vector<std::uint8_t>& into) {
    if (text.empty() || text.size() % 2 != 0 || text.size() > 2 * most_bytes) return false;
    into.clear();
    for (std::size_t i = 0; i < text.size(); i += 2) {
        auto const* const first = text.data() + i;
        std::uint8_t byte = 0;
        auto const [end, failed] = std::from_chars(first, first + 2, byte, 16);
        if (failed != std::errc{} || end != first + 2) return false;
        into.push_back(byte);
    }
    return true;
}

// What a stranger's text may hold goes into messages cut short and without bytes that a terminal acts on.
[[nodiscard]] inline std::string quoted(std::string_view text) { return rota::detail::in_words(std::string{text}); }

[[nodiscard]] inline std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
    return text;
}

class reader {
public:
    [[nodiscard]] result<recording> read_all(std::string_view text) {
        while (!text.empty() && wrong_.empty()) {
            auto const end = std::min(text.find('\n'), text.size());
            ++number_;
            if (auto const line = trimmed(text.substr(0, end)); !line.empty() && line.front() != '#') read_line(line);
            text.remove_prefix(std::min(end + 1, text.size()));
        }
        if (!wrong_.empty()) return {errc::invalid_argument, std::move(wrong_)};
        auto refused = [](std::string why) {
            return result<recording>{errc::invalid_argument, "the replay file " + std::move(why)};
        };
        if (!begun_) return refused("is empty");
        if (!ended_) return refused("has no line \"end\": it is cut off");
        if (!has_trace_) return refused("does not say what its trace is");
        if (r_.run.world.nodes == 0 || r_.run.world.nodes > 10'000) {
            return refused(fmt::format("has {} nodes, must have 1 to 10000", r_.run.world.nodes));
        }
        if (!(r_.run.world.clock_drift >= 0 && r_.run.world.clock_drift <= 0.1)) {
            return refused(fmt::format("has clock_drift {}, must be 0 .. 0.1", r_.run.world.clock_drift));
        }
        if (r_.run.world.work.lock_ttl < std::chrono::milliseconds{1}) return refused("has work.lock_ttl under 1 ms");
        auto o = r_.run.world.options;
        o.node_id = "node";
        if (auto valid = validate(o); !valid) return refused("has options that rota refuses: " + valid.error().detail);
        return std::move(r_);
    }

private:
    void wrong(std::string why) { wrong_ = fmt::format("line {} of the replay file: {}", number_, why); }

    void read_line(std::string_view line) {
        if (!begun_) {
            begun_ = line == first_line;
            if (begun_) return;
            return wrong(
                line.starts_with("rota-replay ")
                    ? fmt::format("it has the format {}; this version of rota reads \"{}\"", quoted(line), first_line)
                    : fmt::format("this is no replay file: it begins with {}, not with \"{}\"", quoted(line),
                                  first_line));
        }
        auto const space = std::min(line.find(' '), line.size());
        auto const name = line.substr(0, space);
        auto const value = trimmed(line.substr(space));
        if (ended_) return wrong(fmt::format("{} after the line \"end\"", quoted(line)));
        if (name != "fault" && !given_.emplace(name).second) {
            return wrong(fmt::format("there was a line {} before", quoted(name)));
        }
        if (name == "end") {
            ended_ = true;
        } else if (name == "rota") {
            r_.version = value;
        } else if (name == "setup") {
            r_.setup = value;
        } else if (name == "fault") {
            auto const f = fault_from(value);
            if (!f) return wrong(fmt::format("{} is no fault", quoted(value)));
            if (!makes_sense(*f)) return wrong(fmt::format("{} is out of range", quoted(value)));
            if (r_.run.world.faults.size() == most_faults) return wrong("too many faults");
            r_.run.world.faults.push_back(*f);
        } else if (name == "bytes") {
            if (!read_hex(value, r_.run.bytes)) wrong("bytes: these are no bytes in hexadecimal");
        } else if (name == "broke") {
            plan_text::words words{value};
            r_.invariant = words.next();
            bool const at = words.next() == "at";
            auto const when = plan_text::seconds(words.next());
            if (!at || !when || !words.next().empty()) return wrong("expected: broke INVARIANT at TIME");
            r_.broke_at = moment{*when};
        } else if (name == "trace") {
            auto const [end, failed] = std::from_chars(value.data(), value.data() + value.size(), r_.trace_hash, 16);
            has_trace_ = failed == std::errc{} && value.size() == 16 && end == value.data() + value.size();
            if (!has_trace_) wrong(fmt::format("trace: {} is no hash of 16 hexadecimal digits", quoted(value)));
        } else {
            read_setting(name, value);
        }
    }

    void read_setting(std::string_view name, std::string_view value) {
        bool known = false, good = false;
        auto look = [&](std::string_view its_name, auto& into) {
            if (its_name != name) return;
            known = true;
            good = read(value, into);
        };
        look("seed", r_.run.world.seed);
        look("nodes", r_.run.world.nodes);
        look("schedules", r_.run.schedules);
        look("length", r_.run.length);
        each_setting(r_.run, look);
        if (!known) return wrong(fmt::format("there is no setting {}", quoted(name)));
        if (!good) wrong(fmt::format("{}: {} is no such value, or out of range", name, quoted(value)));
    }

    recording r_;
    std::set<std::string, std::less<>> given_;  // names of lines so far
    std::string wrong_;
    std::size_t number_ = 0;
    bool begun_ = false;
    bool ended_ = false;
    bool has_trace_ = false;
};

}  // namespace replay_text

/// The replay file of a run.
[[nodiscard]] inline std::string to_text(recording const& r) {
    using namespace replay_text;
    auto text =
        fmt::format("{}\nrota {}\nsetup {}\nseed {}\nnodes {}\nschedules {}\nlength {}\n", first_line, r.version,
                    r.setup, r.run.world.seed, r.run.world.nodes, r.run.schedules, written(r.run.length));
    std::vector<std::string> defaults;
    scenario const nothing_set;
    each_setting(nothing_set, [&](std::string_view, auto const& value) { defaults.push_back(written(value)); });
    std::size_t n = 0;
    each_setting(r.run, [&](std::string_view name, auto const& value) {
        if (auto words = written(value); words != defaults[n++]) text += fmt::format("{} {}\n", name, words);
    });
    if (!r.run.bytes.empty()) text += fmt::format("bytes {}\n", hex(r.run.bytes));
    for (auto const& f : r.run.world.faults) text += "fault " + to_text(f) + "\n";
    if (!r.invariant.empty()) text += fmt::format("broke {} at {}\n", r.invariant, in_words(r.broke_at));
    text += fmt::format("trace {:016x}\nend\n", r.trace_hash);
    return text;
}

/// Reads a replay file. The error (invalid_argument) says which line is wrong, and what is wrong with it.
[[nodiscard]] inline result<recording> recording_from(std::string_view text) {
    return replay_text::reader{}.read_all(text);
}

/// What a replay came to.
struct replayed {
    recording recorded;
    std::optional<broken_invariant> broken;  ///< with the last events; none: nothing breaks (any more)
    std::uint64_t trace_hash = 0;
    bool as_recorded = false;  ///< the same broke (or nothing), and the trace is the same
    std::string words;         ///< all of this as a sentence
};

struct replay_settings {
    sim::setup setup{};
    bool any_version = false;  ///< run it whichever version recorded it: for tests that outlive releases
};

/// Runs it again. A text that cannot be run as it was recorded gives invalid_argument, and what differs in words.
///
///   auto again = sim::replay(text);
///   REQUIRE(again);              // it could be run
///   CHECK_FALSE(again->broken);  // and nothing breaks any more
template <typename World = world>
[[nodiscard]] result<replayed> replay(std::string_view text, replay_settings const& with = {}) {
    auto read = recording_from(text);
    if (!read) return read.error();
    auto& recorded = *read;
    if (recorded.version != version_text && !with.any_version) {
        return {errc::invalid_argument,
                fmt::format("the replay file is of rota {}, this is rota {}: what it draws from a seed may differ "
                            "(replay_settings::any_version runs it all the same)",
                            replay_text::quoted(recorded.version), version_text)};
    }
    if (recorded.setup != with.setup.name) {
        return {errc::invalid_argument,
                fmt::format("the replay file is of a run with the setup {}, this one is \"{}\": give replay() the same",
                            replay_text::quoted(recorded.setup), with.setup.name)};
    }
    replayed r{std::move(recorded), std::nullopt, 0, false, {}};
    try {
        r.trace_hash = run_scenario<World>(r.recorded.run, true, with.setup);
    } catch (broken_invariant const& e) {
        r.trace_hash = e.trace_hash;
        r.broken = e;
    } catch (std::logic_error const& e) {
        return {errc::invalid_argument, fmt::format("the replay file asks for what cannot be: {}", e.what())};
    }
    auto const& was = r.recorded;
    auto const now = r.broken ? r.broken->invariant + " breaks at " + in_words(r.broken->at) : "nothing breaks";
    bool const same_end =
        r.broken ? r.broken->invariant == was.invariant && r.broken->at == was.broke_at : was.invariant.empty();
    r.as_recorded = same_end && r.trace_hash == was.trace_hash;
    if (r.as_recorded) {
        r.words = now + ", as recorded";
    } else if (same_end) {
        r.words = now + ", as recorded, but the way there is another";
    } else if (was.invariant.empty()) {
        r.words = now + "; nothing did when it was recorded";
    } else {
        r.words = fmt::format("{}; when it was recorded, {} broke at {}", now, was.invariant, in_words(was.broke_at));
    }
    return r;
}

/// What people read of a failing run: what broke, the last events, the shrunk plan, and the text to replay it by.
[[nodiscard]] inline std::string describe(failure const& f) {
    return fmt::format("{}  to see it again, sim::replay this text:\n\n{}", f.broken.what(), to_text(recording_of(f)));
}

}  // namespace rota::sim

// ---- rota/sim/timeline.hpp -----------------------------------------------------------------------------------------
// Draws a run as one SVG file that needs nothing else: a lane per node with when it was up, a member and the leader, how
// many schedules it believed to own, its runs and locks, its pauses and faults; one lane for the server with its faults
// and how much it was asked; messages on demand. Small marks tell more where a mouse rests on them.
//
//   sim::world w{{.seed = 7}};
//   sim::timeline drawn{w};
//   w.run_for(60s);
//   std::ofstream{"run.svg"} << drawn.svg();
//
// An invariant that breaks is marked in it. What is drawn is what nodes believed, in true time. Marks closer than a pixel become one, so that the size of a file
// has a bound (a few MB; usually some 50 kB) however long the run was.

namespace rota::sim {

struct timeline_settings {
    std::string title{};
    moment from{};                   ///< what is drawn begins here ...
    std::optional<moment> to{};      ///< ... and ends here; none: at the end of the run
    bool messages = false;           ///< also each request that the server performed; for a few seconds of a run
    unsigned width = 1400;           ///< pixels
    std::uint32_t most_lanes = 100;  ///< of nodes; others are counted, not drawn
};

class timeline final : public audience {
public:
    /// Watches the world from now on. The world must not outlive it, but where time does not pass any more.
    explicit timeline(world& w) : world_{&w}, lanes_(w.size()) { w.watch(*this); }
    timeline(timeline const&) = delete;
    timeline& operator=(timeline const&) = delete;

    /// Says in the drawing that something happened. (That an invariant broke, it says by itself.)
    void mark(moment at, std::string words) {
        end_ = std::max(end_, at);
        marks_.push_back({at, std::move(words)});
    }

    [[nodiscard]] std::string svg(timeline_settings const& how = {}) const;

    // ---------------------------------------------------------------- what it is told

    void acted(process const& p) override { look_at(p); }
    void process_began(process const& p) override {
        auto& l = lane_of(p);
        l.up.push_back({now(), moment::max(), fmt::format("process {} of {}", p.number(), p.node_id())});
        l.name = p.node_id();
        now_in_[p.number()].up = l.up.size();
    }
    void process_ended(process const& p, std::string_view how) override {
        auto& l = lane_of(p);
        auto const at = now();
        auto& open = now_in_[p.number()];
        if (open.leads > 0) cut(l.leads[open.leads - 1], at);
        if (open.lives > 0) cut(l.lives[open.lives - 1], at);
        if (open.up > 0) {
            l.up[open.up - 1].to = at;
            l.up[open.up - 1].words += ", " + std::string{how};
        }
        for (auto const& [name, index] : open.runs) l.runs[index].to = at;
        for (auto const& [name, index] : open.locks) l.locks[index].to = at;
        now_in_.erase(p.number());
        note_load(l);
    }
    void lock_taken(process const& p, run const& r) override { begin(p, r, lane_of(p).locks, &open_in::locks); }
    void lock_ended(process const& p, run const& r) override { end(p, r, lane_of(p).locks, &open_in::locks); }
    void run_began(process const& p, run const& r) override { begin(p, r, lane_of(p).runs, &open_in::runs); }
    void run_ended(process const& p, run const& r) override { end(p, r, lane_of(p).runs, &open_in::runs); }
    void fault_began(fault const& f) override {
        auto& l = concerns_node(f.kind) && f.node < lanes_.size() ? lanes_[f.node] : server_;
        l.faults.push_back({now(), moment::max(), to_text(f)});
        open_faults_.push_back({f, &l, l.faults.size() - 1});
    }
    void fault_ended(fault const& f) override {
        auto const it = std::find_if(open_faults_.begin(), open_faults_.end(), [&](auto& o) { return o.what == f; });
        if (it == open_faults_.end()) return;
        it->where->faults[it->index].to = now();
        open_faults_.erase(it);
    }
    void performed(step const& s) override {
        auto const second = static_cast<std::size_t>(now().time_since_epoch() / std::chrono::seconds{1});
        if (second >= asked_.size()) asked_.resize(std::min<std::size_t>(second + 1, most_seconds));
        if (second < asked_.size()) ++asked_[second];
        if (s.process == no_process || messages_.size() >= most_messages) return;
        auto const slot = world_->processes()[s.process]->slot();
        messages_.push_back({now(), slot, static_cast<std::uint8_t>(s.request.index()), s.answer.has_value()});
    }

    void broke(moment at, std::string_view invariant, std::string_view words) override {
        mark(at, fmt::format("{}: {}", invariant, words));
    }

private:
    static constexpr std::size_t most_messages = 200'000;
    static constexpr std::size_t most_seconds = 1'000'000;
    static constexpr std::size_t most_spans = 200'000;  // of a kind, in a lane

    struct span {
        moment from{};
        moment to{};
        std::string words{};
    };
    struct load_at {
        moment at{};
        std::size_t load = 0;
    };
    struct lane {
        std::string name{};
        std::vector<span> up{}, lives{}, leads{}, runs{}, locks{}, faults{};
        std::vector<load_at> loads{};
    };
    // Where in its lane the open spans of a process are; 0: there is none, n: the one before n.
    struct open_in {
        std::size_t up = 0, lives = 0, leads = 0;
        std::map<std::string, std::size_t> runs{}, locks{};
        std::size_t load = 0;
        moment lives_until{};
    };
    struct open_fault {
        fault what;
        lane* where;
        std::size_t index;
    };
    struct message_mark {
        moment at{};
        std::uint32_t slot = 0;
        std::uint8_t operation = 0;
        bool good = true;
    };
    struct drawn_mark {
        moment at{};
        std::string words{};
    };

    lane& lane_of(process const& p) { return lanes_[p.slot()]; }
    moment now() {
        end_ = std::max(end_, world_->now());
        return world_->now();
    }
    static void cut(span& s, moment at) { s.to = std::min(s.to, at); }
    static std::string key_of(run const& r) { return (r.kind == op::lock_kind::name ? "n" : "s") + r.name; }

    void begin(process const& p, run const& r, std::vector<span>& spans,
               std::map<std::string, std::size_t> open_in::* open) {
        auto& in = now_in_[p.number()].*open;
        if (in.contains(key_of(r)) || spans.size() >= most_spans) return;
        in[key_of(r)] = spans.size();
        spans.push_back({now(), moment::max(), fmt::format("{} under {}", r.name, r.token)});
    }
    void end(process const& p, run const& r, std::vector<span>& spans,
             std::map<std::string, std::size_t> open_in::* open) {
        auto& in = now_in_[p.number()].*open;
        auto const it = in.find(key_of(r));
        if (it == in.end()) return;
        spans[it->second].to = now();
        in.erase(it);
    }

    // A belief is drawn until the moment at which it would end by itself, which each renewal moves.
    void look_at(process const& p) {
        auto& l = lane_of(p);
        auto& open = now_in_[p.number()];
        auto const at = now();
        auto const& b = p.belief();
        auto const lives_until = p.believes_it_lives() ? p.clock().when(b.alive_until()) : at;
        auto const leads_until = p.believes_it_leads() ? std::min(p.clock().when(b.leads_until()), lives_until) : at;
        follow(l.lives, open.lives, at, lives_until, [&] { return fmt::format("{} is a member", p.node_id()); });
        follow(l.leads, open.leads, at, leads_until,
               [&] { return fmt::format("{} leads under term {}", p.node_id(), b.term()); });
        if (at >= open.lives_until && open.load > 0) {  // nothing was owned since then
            open.load = 0;
            note_load(l, open.lives_until);
        }
        open.lives_until = lives_until;
        auto const load = lives_until > at ? b.table().size() : 0;
        if (load == open.load) return;
        open.load = load;
        note_load(l);
    }
    template <typename Words>
    static void follow(std::vector<span>& spans, std::size_t& open, moment at, moment until, Words&& words) {
        if (open > 0 && spans[open - 1].to < at) open = 0;  // it ended by itself
        if (until > at) {
            if (open == 0) {
                if (spans.size() >= most_spans) return;
                spans.push_back({at, until, words()});
                open = spans.size();
            }
            spans[open - 1].to = until;
        } else if (open > 0) {
            cut(spans[open - 1], at);
            open = 0;
        }
    }
    void note_load(lane& l, moment at) {
        std::size_t sum = 0;
        for (auto const& [number, open] : now_in_) {
            if (world_->processes()[number]->slot() == static_cast<std::uint32_t>(&l - lanes_.data())) sum += open.load;
        }
        if (l.loads.size() < most_spans) l.loads.push_back({at, sum});
    }
    void note_load(lane& l) { note_load(l, now()); }

    class picture;

    world* world_;
    std::vector<lane> lanes_;
    lane server_{.name = "server"};
    std::map<std::uint32_t, open_in> now_in_;
    std::vector<open_fault> open_faults_;
    std::vector<std::uint32_t> asked_;  // per second
    std::vector<message_mark> messages_;
    std::vector<drawn_mark> marks_;
    moment end_{};
};

/// The drawing itself: true time to pixels, and what is closer than one of them put together.
class timeline::picture {
public:
    picture(timeline const& t, timeline_settings const& how) : t_{t}, how_{how} {
        from_ = how.from;
        to_ = std::max(how.to.value_or(t.end_), from_ + microseconds{1});
        width_ = std::clamp(how.width, 400u, 10'000u);
        lanes_ = std::min<std::size_t>(t.lanes_.size(), std::max<std::uint32_t>(how.most_lanes, 1));
        lane_height_ = lanes_ <= 8 ? 64 : lanes_ <= 20 ? 46 : 34;
        full_load_ = usual_load();
    }

    std::string draw() {
        auto const bottom = lane_top(lanes_) + 4;
        auto const height = bottom + 62;
        text_ = fmt::format(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" "
            "font-family=\"system-ui, sans-serif\" font-size=\"11\">\n",
            width_, height);
        text_ += R"svg(<style>
.down{fill:#fff;stroke:#adb5bd}.up{fill:#dee2e6}.lives{fill:#e7f5ff}.leads{fill:#f59f00}.load{fill:#74c0fc}.run{fill:#2b8a3e}.lock{fill:#b2f2bb}
.fault{fill:#e03131}.pause{fill:url(#hatch)}.grid{stroke:#ced4da;stroke-width:1}.frame{fill:none;stroke:#adb5bd}
.asked{fill:#868e96}.message{stroke:#5f3dc4;stroke-opacity:.35}.refused{stroke:#e03131;stroke-opacity:.7}
.broke{stroke:#c92a2a;stroke-width:1.5;stroke-dasharray:5 3}.small{font-size:9.5px}.red{fill:#c92a2a}.grey{fill:#868e96}
.dot{fill:#5f3dc4}
</style>
<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="2" height="6" fill="#7048e8" fill-opacity=".55"/></pattern></defs>
<rect width="100%" height="100%" fill="#fff"/>
)svg";
        text(8, 18, how_.title.empty() ? "rota simulation" : how_.title, "font-size=\"14\" font-weight=\"600\"");
        axis(bottom);
        server_lane();
        for (std::size_t i = 0; i < lanes_; ++i) node_lane(t_.lanes_[i], i);
        if (how_.messages) messages();
        std::size_t n = 0;
        for (auto const& m : t_.marks_) {
            if (m.at < from_ || m.at > to_ || n++ == 20) continue;
            auto const x = x_of(m.at);
            text_ +=
                fmt::format("<line class=\"broke\" x1=\"{0:.1f}\" y1=\"26\" x2=\"{0:.1f}\" y2=\"{1}\"/>\n", x, bottom);
            bool const left = x > width_ * 0.6;
            text(left ? x - 4 : x + 4, 34, shortened(m.words, 90),
                 left ? "class=\"red\" text-anchor=\"end\"" : "class=\"red\"");
        }
        legend(bottom + 34);
        return text_ += "</svg>\n";
    }

private:
    static constexpr double left_ = 92, right_ = 14, top_ = 44, server_height_ = 44;

    [[nodiscard]] double lane_top(std::size_t i) const {
        return top_ + server_height_ + 8 + static_cast<double>(i) * lane_height_;
    }
    [[nodiscard]] double x_of(moment at) const {
        auto const all = static_cast<double>((to_ - from_).count());
        auto const part = static_cast<double>((std::clamp(at, from_, to_) - from_).count());
        return left_ + part / all * (width_ - left_ - right_);
    }

    // What fills a lane: two and a half times the mean of who owns anything, over time. A node that owned everything for a
    // moment, as the first one does, would else make the others flat.
    [[nodiscard]] double usual_load() const {
        double load_time = 0, time = 0;
        std::size_t most = 0;
        for (auto const& l : t_.lanes_) {
            for (std::size_t i = 0; i < l.loads.size(); ++i) {
                auto const until = i + 1 < l.loads.size() ? l.loads[i + 1].at : t_.end_;
                auto const lasted = static_cast<double>((until - l.loads[i].at).count());
                if (l.loads[i].load > 0) time += lasted;
                load_time += lasted * static_cast<double>(l.loads[i].load);
                most = std::max(most, l.loads[i].load);
            }
        }
        auto const usual = time > 0 ? 2.5 * load_time / time : 0;
        return std::min(static_cast<double>(most), usual);
    }

    // ---------------------------------------------------------------- small parts

    static std::string escaped(std::string_view words) {
        std::string text;
        for (char c : words) {
            switch (c) {
                case '&': text += "&amp;"; break;
                case '<': text += "&lt;"; break;
                case '>': text += "&gt;"; break;
                case '"': text += "&quot;"; break;
                default: text += static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e ? '?' : c;
            }
        }
        return text;
    }
    static std::string shortened(std::string const& words, std::size_t most) {
        return words.size() <= most ? words : words.substr(0, most) + "...";
    }
    void text(double x, double y, std::string_view words, std::string_view attributes = {}) {
        text_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, attributes, escaped(words));
    }

    struct bar {
        double from = 0;
        double to = 0;
        std::string const* words = nullptr;  // null: more than one
    };
    // Of spans in order of their beginning: those in view, at least a pixel wide, what touches put together.
    [[nodiscard]] std::vector<bar> bars_of(std::vector<span> const& spans) const {
        std::vector<bar> bars;
        for (auto const& s : spans) {
            if (s.from > to_ || s.to < from_) continue;
            auto const from = x_of(s.from);
            auto const to = std::max(x_of(s.to), from + 1);
            if (!bars.empty() && from < bars.back().to + 0.5) {
                bars.back().to = std::max(bars.back().to, to);
                bars.back().words = nullptr;
            } else {
                bars.push_back({from, to, &s.words});
            }
        }
        return bars;
    }
    void draw_bars(std::vector<span> const& spans, std::string_view look, double y, double height) {
        auto const bars = bars_of(spans);
        std::size_t told = 0;
        std::string path;
        for (auto const& b : bars) {
            if (b.words && told++ < 300) {
                text_ += fmt::format(
                    "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
                    "height=\"{:.1f}\"><title>{}</title></rect>\n",
                    look, b.from, y, b.to - b.from, height, escaped(shortened(*b.words, 200)));
            } else {
                path += fmt::format("M{:.1f} {:.1f}h{:.1f}v{:.1f}h{:.1f}z", b.from, y, b.to - b.from, height,
                                    b.from - b.to);
            }
        }
        if (!path.empty()) text_ += fmt::format("<path class=\"{}\" d=\"{}\"/>\n", look, path);
    }
    // Bars with as many words beside them as there is room for.
    void draw_faults(std::vector<span> const& spans, double y) {
        draw_bars(spans, "fault", y + 10, 4);
        double free_from = left_;
        std::size_t labels = 0;
        for (auto const& s : spans) {
            if (s.from > to_ || s.to < from_ || labels == 150) continue;
            // "at 12.5s crash node 1 for 2s": its third word
            plan_text::words words{s.words};
            (void)words.next(), (void)words.next();
            auto const kind = words.next();
            auto const x = x_of(s.from);
            auto const wide = 5.2 * static_cast<double>(kind.size()) + 4;
            if (x < free_from || x + wide > width_ - right_ + 10) continue;
            text(x, y + 8, kind, "class=\"small red\"");
            free_from = x + wide;
            ++labels;
        }
    }

    // ---------------------------------------------------------------- large parts

    void axis(double bottom) {
        auto const seconds = static_cast<double>((to_ - from_).count()) / 1e6;
        double unit = 1e-6;
        for (int i = 0; seconds / unit > 14; ++i) unit *= i % 3 == 1 ? 2.5 : 2;  // 1, 2, 5, 10 ... of a microsecond
        if (unit > 30) {
            for (double nice : {60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 18000.0, 36000.0, 86400.0}) {
                unit = nice;
                if (seconds / unit <= 14) break;
            }
        }
        auto const step = std::max<std::int64_t>(static_cast<std::int64_t>(std::llround(unit * 1e6)), 1);
        auto const first = (from_.time_since_epoch().count() + step - 1) / step * step;
        for (auto at = first, n = std::int64_t{0}; moment{microseconds{at}} <= to_ && n < 100; at += step, ++n) {
            auto const x = x_of(moment{microseconds{at}});
            text_ += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\"/>\n", x,
                                 top_ - 4, bottom);
            auto const words = unit < 60 || at % 60'000'000 != 0 ? seconds_in_words(microseconds{at})
                                                                 : fmt::format("{} min", at / 60'000'000);
            text(x, bottom + 12, words, "text-anchor=\"middle\" class=\"grey\"");
        }
    }

    void server_lane() {
        text(8, top_ + 16, "server");
        text_ += fmt::format("<rect class=\"frame\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n", left_, top_,
                             width_ - left_ - right_, server_height_);
        // Requests per second, per pixel the busiest second.
        std::map<int, std::uint32_t> columns;
        std::uint32_t most = 1;
        for (std::size_t s = 0; s < t_.asked_.size(); ++s) {
            moment const at{std::chrono::seconds{s}};
            if (at + std::chrono::seconds{1} < from_ || at > to_) continue;
            auto& c = columns[static_cast<int>(x_of(at))];
            c = std::max(c, t_.asked_[s]);
            most = std::max(most, c);
        }
        auto const wide = std::max(x_of(from_ + std::chrono::seconds{1}) - left_, 1.0);
        std::string path;
        for (auto const& [x, count] : columns) {
            auto const high = (server_height_ - 20) * count / most;
            path += fmt::format("M{} {:.1f}h{:.1f}v{:.1f}h{:.1f}z", x, top_ + server_height_ - high,
                                std::min(wide, width_ - right_ - x), high, -std::min(wide, width_ - right_ - x));
        }
        text_ += fmt::format("<path class=\"asked\" d=\"{}\"><title>requests per second, at most {}</title></path>\n",
                             path, most);
        text(8, top_ + 30, fmt::format("{} requests/s", most), "class=\"small grey\"");
        draw_faults(t_.server_.faults, top_ + 1);
    }

    void node_lane(lane const& l, std::size_t i) {
        auto const y = lane_top(i);
        auto const high = lane_height_ - 4.0;
        auto const most = [&] {
            std::size_t m = 0;
            for (auto const& each : l.loads) m = std::max(m, each.load);
            return m;
        }();
        text(8, y + 16, l.name.empty() ? fmt::format("node {}", i) : shortened(l.name, 14));
        if (lane_height_ > 40) text(8, y + 30, fmt::format("owns up to {}", most), "class=\"small grey\"");
        draw_bars(l.up, "up", y, high);
        draw_bars(l.lives, "lives", y, high);
        load_of(l, y + 9, high - 33);
        draw_bars(l.leads, "leads", y + 1, 6);
        draw_bars(l.locks, "lock", y + high - 22, 6);
        draw_bars(l.runs, "run", y + high - 21, 4);
        draw_faults(l.faults, y + high - 15);
        std::vector<span> pauses;
        for (auto const& f : l.faults) {
            if (f.words.find(" pause ") != std::string::npos) pauses.push_back(f);
        }
        draw_bars(pauses, "pause", y, high);
        text_ += fmt::format("<rect class=\"frame\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n", left_, y,
                             width_ - left_ - right_, high);
    }

    // Steps; where several fall on a pixel, the last.
    void load_of(lane const& l, double y, double high) {
        if (!(full_load_ > 0) || l.loads.empty()) return;
        auto const y_of = [&](std::size_t load) {
            return y + high - high * std::min(static_cast<double>(load) / full_load_, 1.0);
        };
        std::vector<std::pair<double, std::size_t>> steps{{left_, 0}};
        for (auto const& each : l.loads) {
            if (each.at > to_) break;
            auto const x = x_of(each.at);
            if (x < steps.back().first + 1) {
                steps.back().second = each.load;
            } else if (each.load != steps.back().second) {
                steps.emplace_back(x, each.load);
            }
        }
        steps.emplace_back(width_ - right_, steps.back().second);
        auto path = fmt::format("M{:.1f} {:.1f}", left_, y + high);
        for (std::size_t i = 0; i + 1 < steps.size(); ++i) {
            path += fmt::format("V{:.1f}H{:.1f}", y_of(steps[i].second), steps[i + 1].first);
        }
        text_ += fmt::format("<path class=\"load\" d=\"{}V{:.1f}z\"/>\n", path, y + high);
        std::size_t labels = 0;
        for (std::size_t i = 0; i + 1 < steps.size() && labels < 60; ++i) {
            if (steps[i + 1].first - steps[i].first < 24) continue;
            text(steps[i].first + 3, y + high - 2, fmt::format("{}", steps[i].second), "class=\"small\"");
            ++labels;
        }
    }

    void messages() {
        static constexpr char const* names[] = {"join",          "tick",         "leave",     "renounce", "acquire",
                                                "extend",        "release",      "register",  "lookup",   "unregister",
                                                "claim",         "reap",         "adopt",     "revoke",   "acknowledge",
                                                "changes since", "events since", "schedules", "nodes",    "describe",
                                                "order",         "update",       "scan",      "mend",     "trigger"};
        static_assert(std::size(names) == std::variant_size_v<operation>);
        double last = -1;
        std::uint32_t last_slot = no_process;
        std::size_t drawn = 0;
        for (auto const& m : t_.messages_) {
            if (m.at < from_ || m.at > to_ || m.slot >= lanes_ || drawn == 10'000) continue;
            auto const x = x_of(m.at);
            if (m.slot == last_slot && x < last + 0.5) continue;
            last = x, last_slot = m.slot;
            ++drawn;
            auto const y = lane_top(m.slot) + 4;
            text_ += fmt::format(
                "<line class=\"{0}\" x1=\"{1:.1f}\" y1=\"{2:.1f}\" x2=\"{1:.1f}\" y2=\"{3:.1f}\"/>"
                "<circle class=\"dot\" cx=\"{1:.1f}\" cy=\"{3:.1f}\" r=\"1.8\"><title>{4} at {5}</title></circle>\n",
                m.good ? "message" : "refused", x, top_ + server_height_, y, names[m.operation], in_words(m.at));
        }
    }

    void legend(double y) {
        struct entry {
            std::string_view look, words;
        };
        double x = left_;
        for (auto const& [look, words] :
             {entry{"leads", "believes that it leads"}, entry{"load", "schedules that it owns"},
              entry{"lives", "member"}, entry{"up", "up, no member"}, entry{"down", "down"}, entry{"run", "runs"},
              entry{"lock", "lock held"}, entry{"pause", "paused"}, entry{"fault", "fault"},
              entry{"asked", "requests"}}) {
            text_ +=
                fmt::format("<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"14\" height=\"10\"/>\n", look, x, y);
            text(x + 18, y + 9, words);
            x += 34 + 6.0 * static_cast<double>(words.size());
        }
        if (lanes_ < t_.lanes_.size()) {
            text(x, y + 9, fmt::format("and {} more nodes", t_.lanes_.size() - lanes_), "class=\"grey\"");
        }
    }

    timeline const& t_;
    timeline_settings const& how_;
    moment from_{}, to_{};
    unsigned width_ = 0;
    std::size_t lanes_ = 0;
    double lane_height_ = 0;
    double full_load_ = 0;
    std::string text_;
};

inline std::string timeline::svg(timeline_settings const& how) const { return picture{*this, how}.draw(); }

}  // namespace rota::sim
