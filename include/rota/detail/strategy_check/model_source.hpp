// The groups that check_strategy tries a strategy on: all small ones, up to the order of nodes, and random ones with
// everything that a view can have. The same seed gives the same groups everywhere.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "group_model.hpp"

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
