// All invariants, and two presets, which ask for each that a world can be asked for: check_all() for the default strategy
// and such as balance as it does, check_sound() for a strategy that does not balance.
#pragma once

#include "damage.hpp"
#include "events.hpp"
#include "handoffs.hpp"
#include "leadership.hpp"
#include "liveness.hpp"
#include "locks.hpp"
#include "orders.hpp"
#include "ownership.hpp"
#include "plans.hpp"
#include "server.hpp"
#include "traffic.hpp"

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
