// constrained<S>: heeds placement rules, and leaves all that no rule decides to S.
//
//   pin        on the node of that node_id and on no other; while it is not there, nowhere
//   required   on nodes that have all of these labels; forbidden: that have none of those
//   group      no two of a group on one node; what there are too many of has no place
//
// With S = least_moves it is exact: the best plan that there is for schedules of equal weight, by min-cost flow
// (exact_placement.hpp). With any other S the rules come first, greedily (rules_first.hpp), then S.
#pragma once

#include <cstdint>
#include <type_traits>

#include "../cluster_view.hpp"
#include "../detail/exact_placement.hpp"
#include "../detail/late.hpp"
#include "../detail/placement_classes.hpp"
#include "../detail/rules_first.hpp"
#include "layers.hpp"
#include "least_moves.hpp"

namespace rota {

/// Any thread may use it if S allows it. Where no schedule that may move has rules that matter, the plan is S's own.
///
/// constrained<least_moves>. Of all ways to place and move what may move, it aims at the one with, in this order,
///   1. most orphans placed at once, with the room that there is before anything moves (nearly so for those of groups
///      on nodes that others leave at the same time);
///   2. fewest rules broken and orphans without a place, of these rather the former than the latter;
///   3. least held over capacity (a node that is drained may hold nothing);
///   4. most even loads: the least sum of their squares;
///   5. fewest moves. That number is the plan's `bound`.
/// What breaks a rule and has no better place stays; nothing that has an owner is left without one. A schedule that is
/// pinned to a node which is drained stays there: it has no other place. Where nodes hold more than they may, or more
/// than one of a group, nobody enters until a later plan. `voluntary` is `bound` unless full nodes would have to swap
/// schedules: such moves are left out, or go to another node. An orphan that has to wait until others have moved, or have
/// been moved to make room for it, is `stuck` with no_place::waits; the plan after the next event places it. So planning
/// on the result of a plan gives none, but where a node was full or a rule was broken twice: after a few it gives none.
///
/// Placements, and moves that have to be, come first: a move that makes room for one of these has the reason
/// `constrained` too. `imbalance` is the largest distance of a node from where its load is in the most even result.
/// Time and memory: O(nodes x classes), where a class is the kinds that may be on the same nodes, each group by itself,
/// times a small number of passes, and O(schedules) to look at them. A network of over two million edges is not built: then the rules come first, as with
/// any other S.
///
/// Any other S: schedules whose rules are broken move, orphans with rules are placed, each to the node that will do, has
/// room and carries the least weight. S then plans for all that has no rules; it sees the others as `moving`. `bound`
/// is S's, plus what had to move. Not exact: it moves nothing to make room, and evens out only what has no rules.
///
/// While the view is not complete, orphans with rules but no group are placed on the node that carries the least, those
/// with a group wait, and nothing moves.
template <typename S = least_moves>
struct constrained {
    using inner = S;
    static constexpr auto layer = strategy_layer::limits;

    [[no_unique_address]] S strategy{};

    void make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const;

    static_assert(detail::nests<constrained, layer, S>());
};

template <typename S>
void constrained<S>::make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const {
    if (view.kinds.size() <= 1) return detail::ask(strategy, view, into);
    detail::placement_classes<S> const classes{view};
    detail::class_census<S> const census{view, classes};
    bool ruled = false;
    for (std::uint32_t c = 0; c < classes.count(); ++c) {
        if (!classes[c].anywhere && census.movable(c) + census.orphans(c) > 0) ruled = true;
    }
    if (!ruled) return detail::ask(strategy, view, into);
    if constexpr (std::is_same_v<S, least_moves>) {
        if (view.complete && detail::exact_placement<S>{view, classes, census}.make_plan(into)) return;
    }
    detail::rules_first<S>{view, classes}.make_plan(strategy, into);
}

}  // namespace rota
