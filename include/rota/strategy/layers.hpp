// How combinators nest. A combinator is a strategy made of another, S: it changes what S sees or what becomes of S's
// plan. Any class template of one type can be one: it names S `inner`, says in which layer it stands, and ends with
// `static_assert(detail::nests<my_combinator, layer, S>());`. A strategy that says nothing is a base.
//
//   base     plans alone                               least_moves, rendezvous…, your own
//   spread   asks S for one part of the group          zoned
//   limits   asks S for what no rule decides           constrained
//   pacing   asks S for the whole group: when it       budgeted, graced, thresholded, measured
//            moves, how much, by which weights
//
// A layer may stand around itself and those above it in this list, each combinator once; those that pace, in any order.
// So budgeted<constrained<zoned<S>>> is one; zoned<budgeted<S>>, where each zone would have a budget of its own and S
// would never see the whole, is refused in one line.
#pragma once

#include <cstdint>
#include <type_traits>

#include "../policies.hpp"

namespace rota {

struct least_moves;

enum class strategy_layer : std::uint8_t { base, spread, limits, pacing };

namespace detail {

template <typename S>
inline constexpr bool is_combinator = requires {
    typename S::inner;
    { S::layer } -> std::same_as<strategy_layer const&>;
};

template <typename S>
constexpr strategy_layer layer_of() {
    if constexpr (is_combinator<S>) {
        return S::layer;
    } else {
        return strategy_layer::base;
    }
}

template <template <typename> typename Combinator, typename S>
inline constexpr bool made_by = false;
template <template <typename> typename Combinator, typename S>
inline constexpr bool made_by<Combinator, Combinator<S>> = true;

/// Whether S is that combinator, or holds it at any depth.
template <template <typename> typename Combinator, typename S>
constexpr bool holds() {
    if constexpr (made_by<Combinator, S>) {
        return true;
    } else if constexpr (is_combinator<S>) {
        return holds<Combinator, typename S::inner>();
    } else {
        return false;
    }
}

enum class nesting_fault : std::uint8_t { none, no_strategy, not_const, twice, part_of_group, part_of_rules };

template <template <typename> typename Combinator, strategy_layer Layer, typename S>
constexpr nesting_fault fault_of_nesting();

// What stands in S was looked at when S was made: who is refused for it is S, not all that is around it.
template <typename S>
inline constexpr bool refused = false;
template <template <typename> typename Combinator, typename S>
    requires is_combinator<Combinator<S>>
inline constexpr bool refused<Combinator<S>> =
    refused<S> || fault_of_nesting<Combinator, Combinator<S>::layer, S>() != nesting_fault::none;

template <template <typename> typename Combinator, strategy_layer Layer, typename S>
constexpr nesting_fault fault_of_nesting() {
    if constexpr (refused<S>) {
        return nesting_fault::none;
    } else if constexpr (strategy_policy<S>) {
        if (holds<Combinator, S>()) return nesting_fault::twice;
        if (layer_of<S>() <= Layer) return nesting_fault::none;
        return Layer == strategy_layer::spread ? nesting_fault::part_of_group : nesting_fault::part_of_rules;
    } else {
        return requires(S s, cluster_view const& view, plan& into) {
            s.make_plan(view, into);
        } || requires(S s, cluster_view const& view) { s.make_plan(view); } ? nesting_fault::not_const
                                                                            : nesting_fault::no_strategy;
    }
}

/// Refuses a senseless nesting at compile time; always true, so that this is all that the compiler says.
template <template <typename> typename Combinator, strategy_layer Layer, typename S>
constexpr bool nests() {
    constexpr auto fault = fault_of_nesting<Combinator, Layer, S>();
    constexpr bool is_strategy = fault != nesting_fault::no_strategy;
    constexpr bool is_pure = fault != nesting_fault::not_const;
    constexpr bool once = fault != nesting_fault::twice;
    constexpr bool sees_group = fault != nesting_fault::part_of_group;
    constexpr bool sees_plan = fault != nesting_fault::part_of_rules;
    static_assert(is_strategy,
                  "rota: what this combinator is given is no strategy: it lacks "
                  "`rota::plan make_plan(rota::cluster_view const&) const`");
    static_assert(is_pure,
                  "rota: the make_plan of what this combinator is given must be const and give a rota::plan: a plan is "
                  "a pure function of the view");
    static_assert(once, "rota: the same combinator twice in one strategy, like budgeted<budgeted<S>>: leave one out");
    static_assert(sees_group,
                  "rota: zoned<S> asks S for one zone at a time, and this S must see the whole group: turn them round, "
                  "like budgeted<constrained<zoned<S>>>");
    static_assert(sees_plan,
                  "rota: constrained<S> asks S for what no rule decides, and this S must see the whole plan: turn them "
                  "round, like budgeted<constrained<S>>");
    return true;
}

/// Whether S goes by weights at all, as far as that is known: what counts schedules does not.
template <typename S>
constexpr bool may_heed_weights() {
    if constexpr (is_combinator<S>) {
        return may_heed_weights<typename S::inner>();
    } else {
        return !std::is_same_v<S, least_moves>;
    }
}

/// Whether S looks at schedules beyond `may_move` of those that a node is said to have. If not, a combinator that shows
/// it a part or another state of the group need not copy the schedules.
template <typename S>
inline constexpr bool reads_schedules = true;
template <>
inline constexpr bool reads_schedules<least_moves> = false;

/// How a combinator asks the strategy that it holds, whichever form its make_plan has.
template <typename S, typename View, typename Plan>
void ask(S const& strategy, View const& view, Plan& into) {
    if constexpr (requires { strategy.make_plan(view, into); }) {
        strategy.make_plan(view, into);
    } else if constexpr (requires { into = strategy.make_plan(view); }) {
        into = strategy.make_plan(view);
    }  // else it was refused, and nothing more is said
}

}  // namespace detail

}  // namespace rota
