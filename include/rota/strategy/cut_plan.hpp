// Takes the last steps off a plan and keeps its certificate true: what combinators that hold moves back have in common.
// Every prefix of a plan is valid on its own, so what is left is a plan.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../cluster_view.hpp"
#include "../detail/late.hpp"

namespace rota::detail {

/// How many steps of the plan are placements or moves that have to be: all that stands before those that even out.
template <typename Plan>
std::size_t needed_steps(Plan const& p) {
    std::size_t needed = p.forced;
    while (needed < p.moves.size() && p.moves[needed].required()) ++needed;
    return needed;
}

/// Fullest less emptiest node after the first `steps` steps of the plan, by `load_of(node)` and `share_of(schedule)`.
template <typename Number, typename View, typename Plan, typename LoadOf, typename ShareOf>
double spread_of(View const& view, Plan const& p, std::size_t steps, LoadOf const& load_of, ShareOf const& share_of) {
    std::vector<Number> load;
    load.reserve(view.nodes.size());
    for (auto const& node : view.nodes) load.push_back(load_of(node));
    for (std::size_t i = 0; i < steps; ++i) {
        auto const& step = p.moves[i];
        auto const share = share_of(view.schedules[step.schedule]);
        load[step.to] += share;
        if (!step.forced()) load[step.from] -= share;
    }
    if (load.empty()) return 0;
    auto fullest = load.front();
    auto emptiest = load.front();
    for (auto const one : load) {
        if (one > fullest) fullest = one;
        if (one < emptiest) emptiest = one;
    }
    return static_cast<double>(fullest - emptiest);
}

/// Keeps the first `kept` steps, the placements among them. `spread_after` is then counted anew where the strategy
/// measures load by count or by weight, which its spread_before shows; otherwise it stays what the whole plan leads to,
/// unless nothing is left of that. `bound` and `imbalance` are about the view, and stay.
template <typename View, typename Plan>
void cut_plan(View const& view, Plan& p, std::size_t kept) {
    if (kept >= p.moves.size()) return;
    p.moves.resize(kept);
    p.voluntary = static_cast<std::uint32_t>(kept) - p.forced;
    if (kept == 0) {
        p.spread_after = p.spread_before;
        return;
    }
    auto const by_count = [&](std::size_t steps) {
        return spread_of<std::int64_t>(
            view, p, steps, [](auto const& node) { return std::int64_t{node.load}; },
            [](auto const&) { return std::int64_t{1}; });
    };
    auto const by_weight = [&](std::size_t steps) {
        return spread_of<double>(
            view, p, steps, [](auto const& node) { return node.weight; },
            [](auto const& schedule) { return schedule.weight; });
    };
    if (by_count(0) == p.spread_before) {
        p.spread_after = by_count(kept);
    } else if (auto const off = by_weight(0) - p.spread_before;
               off * off <= 1e-18 * p.spread_before * p.spread_before) {
        p.spread_after = by_weight(kept);
    }
}

}  // namespace rota::detail
