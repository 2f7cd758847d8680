// thresholded<S>: evens out only what is worth it. Moves that merely even out wait until some node is off its target by
// more than a fraction of the mean load, so loads that jitter below that move nothing, ever.
//
// It is options::rebalance_threshold, but measured as S measures: by weight, if S balances by weight, from the target
// that S has for each node. (Where a strategy does not state its plan::imbalance, it is counted in schedules.)
#pragma once

#include "../cluster_view.hpp"
#include "../detail/late.hpp"
#include "balance.hpp"
#include "cut_plan.hpp"
#include "layers.hpp"
#include "least_moves.hpp"

namespace rota {

/// Placements of orphans, and moves that have to be (drained and overfull nodes, rules), never wait. Time and memory:
/// S's own.
template <typename S = least_moves>
struct thresholded {
    using inner = S;
    static constexpr auto layer = strategy_layer::pacing;

    /// Even out if the farthest node is farther from its target than this fraction of the mean load. 0: whenever S
    /// would; 0.2 of a mean of 10: from a distance of 3 on. What is no number lets nothing move.
    double threshold = 0.2;
    S strategy{};

    void make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const;

    static_assert(detail::nests<thresholded, layer, S>());
};

namespace detail {

template <typename S>
inline constexpr bool reads_schedules<thresholded<S>> = reads_schedules<S>;

}  // namespace detail

template <typename S>
void thresholded<S>::make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const {
    detail::ask(strategy, view, into);
    auto const needed = detail::needed_steps(into);
    if (needed == into.moves.size()) return;
    bool const stated = into.imbalance >= 0;  // not so for what is no number
    if (!stated) into.imbalance = imbalance(view);
    if (!(into.imbalance > threshold)) detail::cut_plan(view, into, needed);
}

}  // namespace rota
