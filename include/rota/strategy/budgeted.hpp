// budgeted<S>: what S plans, a little at a time. It bounds how many schedules are on the move, how many moves begin per
// minute, and how soon a schedule that has changed hands may do so again.
//
// A bounded plan is a beginning of S's plan. Where those are the best of their length (least_moves), so is each round:
// a round that is cut short loses nothing.
//
// All moves between live nodes count, also those that have to be: a node that is drained is emptied at this pace too.
// (They stand first in a plan, so they are served first.) Placements of orphans are neither bounded nor counted. What
// is held back is not forgotten: plan::revisit says when the next move may begin.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include "../cluster_view.hpp"
#include "../detail/late.hpp"
#include "cut_plan.hpp"
#include "layers.hpp"
#include "least_moves.hpp"

namespace rota {

/// Time and memory: S's own; with a bound per round also O(schedules) while moves are under way; with a cool-down, when
/// there is nothing to move, that of S a second time.
template <typename S = least_moves>
struct budgeted {
    using inner = S;
    static constexpr auto layer = strategy_layer::pacing;

    /// Most schedules that are on their way at a time: those that still are count for the next round. None: no bound.
    std::optional<std::uint32_t> moves_per_round{};
    /// Most moves that begin within any minute of the server's time. None: no bound.
    std::optional<std::uint32_t> moves_per_minute{};  // (0: nothing is ever moved)
    /// For how long a schedule stays where it is after it changed hands, for whatever reason. 0: no time.
    microseconds cool_down{};
    S strategy{};

    void make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const;

    static_assert(detail::nests<budgeted, layer, S>());
};

namespace detail {

inline constexpr fencing_token minute_of_tokens = 60'000'000;

/// How many moves may begin now, if `limit` may within a minute, and the time of the one that the next after those has
/// to wait for (a minute long).
struct minute_budget {
    std::size_t left = 0;
    fencing_token waits_for = 0;
};

template <typename View>
minute_budget budget_of_minute(View const& view, std::uint32_t limit) {
    auto const& recent = view.recent_moves;
    std::size_t used = 0;  // up to the limit
    while (used < limit && used < recent.size() && recent[recent.size() - 1 - used] + minute_of_tokens > view.now) {
        ++used;
    }
    return {limit - used, used > 0 ? recent[recent.size() - used] : view.now};
}

template <typename View>
std::size_t moving_in(View const& view, std::size_t enough) {
    std::size_t moving = 0;
    for (auto const& node : view.nodes) {
        for (auto const s : node.schedules) {
            if (view.schedules[s].moving && ++moving >= enough) return moving;
        }
    }
    return moving;
}

/// How long until the first schedule has cooled down, of those on nodes that `wanted` takes something from; max: none.
template <typename View, typename Plan>
microseconds until_cooled(View const& view, Plan const& wanted, fencing_token settled_before) {
    constexpr auto none = std::numeric_limits<fencing_token>::max();
    auto oldest = none;
    for (auto from = cluster_view::none; auto const& step : wanted.moves) {
        if (step.forced() || step.from == from) continue;
        from = step.from;
        for (auto const s : view.nodes[from].schedules) {
            auto const since = view.schedules[s].generation;
            if (since >= settled_before && since < oldest && view.may_move(s)) oldest = since;
        }
    }
    if (oldest == none) return microseconds::max();
    return microseconds{static_cast<std::int64_t>(oldest - settled_before) + 1};
}

template <typename S>
inline constexpr bool reads_schedules<budgeted<S>> = reads_schedules<S>;

}  // namespace detail

template <typename S>
void budgeted<S>::make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const {
    auto const cooling = view.now > 0 && cool_down > microseconds{0};
    auto seen = view;
    auto settled_before = view.settled_before;
    if (cooling) {
        auto const since = static_cast<fencing_token>(cool_down.count());
        settled_before = view.now > since ? view.now - since : 0;
        if (settled_before < seen.settled_before) seen.settled_before = settled_before;
    }
    detail::ask(strategy, seen, into);

    auto const revisit_in = [&](microseconds rest) {
        if (rest < into.revisit) into.revisit = rest;
    };
    auto const wanted = into.moves.size() - into.forced;
    if (wanted == 0) {
        if (!cooling) return;
        detail::late<plan, S> uncooled;
        detail::ask(strategy, view, uncooled);
        revisit_in(detail::until_cooled(view, uncooled, settled_before));
        return;
    }

    auto allowed = wanted;
    if (moves_per_round) {
        std::size_t const limit = *moves_per_round;
        // What is on its way began to move a short while ago, so if nothing did, nobody need be asked.
        bool const any_moving = view.now == 0 || !view.recent_moves.empty();
        auto const left = limit - (any_moving ? detail::moving_in(view, limit) : 0);
        if (left < allowed) allowed = left;
    }
    if (moves_per_minute) {
        auto const budget = detail::budget_of_minute(view, *moves_per_minute);
        if (budget.left < allowed) allowed = budget.left;
        // Were it not for the round, would the minute hold something back?
        if (budget.left < wanted && *moves_per_minute > 0) {
            auto const rest = budget.waits_for + detail::minute_of_tokens - view.now;
            revisit_in(microseconds{
                static_cast<std::int64_t>(rest < detail::minute_of_tokens ? rest : detail::minute_of_tokens)});
        }
    }
    detail::cut_plan(view, into, into.forced + allowed);
}

}  // namespace rota
