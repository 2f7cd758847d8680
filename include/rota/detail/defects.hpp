// Known ways to get a lease library wrong, to be planted on purpose: the machines of a node and the reference store take
// a template parameter that says which one they suffer from. Production uses `sound`; the simulator's mutation gate
// (tests/sim/mutation_test.cpp) plants each and demands that an invariant made for it catches it.
//
// Empty in production: sound::has() is evaluated while compiling, so every check is `if (false)`. A test's parameter may
// answer at run time: one instantiation then serves for all defects.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rota::detail {

enum class defect : std::uint8_t {
    none,

    // how long to believe
    lease_from_reply,      ///< belief is anchored at the reply's arrival instead of the request's departure
    lease_from_news,       ///< leadership that was passed on is believed in from when that was heard
    lock_from_news,        ///< ... and so is a lock that came with its schedule
    margin_ignored,        ///< belief lasts to the very deadline
    wall_clock,            ///< deadlines are kept in wall time, which jumps
    life_before_reading,   ///< a heartbeat extends a node's life before what it told of is read
    belief_after_release,  ///< a lock handle stays valid until its release is answered
    late_grant_used,       ///< a lock granted too late to be believed in is handed out
    leave_first,           ///< leaving: belief is dropped when the server has answered
    renounce_first,        ///< renouncing: likewise
    acknowledge_first,     ///< handing over: likewise
    keep_after_reap,       ///< a reaped node keeps what it believed to own
    fenced_rejoins,        ///< a fenced node takes its node_id back

    // what is told of it
    end_untold,     ///< belief that ends while a request is under way is noticed after the reply has renewed it
    resume_untold,  ///< life comes back, and leadership with it, without a word
    leads_past_it,  ///< the leader goes on as one although its lease has run out
    events_twice,   ///< a step is told twice
    gap_untold,     ///< a subscriber that missed events is not told so

    // tokens
    token_not_minted,   ///< a lock takes the last token again
    token_counts_only,  ///< tokens count up from what the server knows: not from its clock, nor from what callers know
    generation_kept,    ///< a hand-off leaves the generation as it was

    // who leads
    elected_on_request,     ///< the lead is given to whoever asks, held or not
    renew_any_term,         ///< a lease is renewed for whoever believes to have it
    renounce_forgets_term,  ///< renouncing does not check the term
    adopt_any_term,         ///< plans apply under an old term
    plan_at_once,           ///< a plan that was refused is drawn up again without a pause

    // who owns
    adopt_live_owner,     ///< schedules of nodes that may still believe are treated as orphans
    adopt_any_owner,      ///< a plan is applied to whatever the state is now
    claim_any_owner,      ///< a claim takes what another owns
    join_inherits,        ///< a new incarnation keeps what the old one owned
    supersede_frees,      ///< ... and what a superseded incarnation owns is free at once
    reap_early,           ///< nodes are taken for dead one second before their deadline
    reap_unchecked,       ///< the leader's word that a node is dead is taken, though it may have reported since
    death_takes_all,      ///< a node's schedules go with it
    grant_without_ack,    ///< a revocation grants at once
    ack_during_run,       ///< a hand-off is acknowledged with the lock still held
    lost_ack_is_failure,  ///< an acknowledgement whose reply was lost is taken for one that was not made
    unregister_untold,    ///< the owner of a schedule is not told that it is no more
    tombstone_ignored,    ///< registered again: given away while the former owner may still believe
    capacity_ignored,     ///< a plan gives a node more than it may have
    half_read_moves,      ///< a leader that still reads who owns what moves schedules already
    maintenance_ignored,  ///< ... moves schedules while the group is being maintained
    drain_ignored,        ///< ... gives schedules to a node that is being drained
    open_swap_unchecked,  ///< another schedule than the one asked for is handed over while its run is in hand
    as_of_ignored,        ///< a plan is applied although the group has changed since it was made
    swap_keeps_both,      ///< the one that another went for is handed over as well
    rules_ignored,        ///< a schedule's rules are not told to the leader
    repair_forgets,       ///< a damaged record is thrown away instead of mended
    swap_of_unlike,       ///< another schedule goes although it is not like the one that was asked for
    handoff_cuts_short,   ///< the run in hand is not extended any more as soon as its schedule is to move
    handoff_endless,      ///< ... is extended for ever
    pending_kept,         ///< a hand-off that has ended still counts as on its way
    attributes_untold,    ///< what a node says of itself later is not heard by the leader

    // locks
    acquire_any_owner,   ///< the ownership check of try_lock is missing
    acquire_again,       ///< a node gets the lock that it holds, once more
    extend_revives,      ///< an expired lock can be extended
    extend_any_owner,    ///< extension does not compare the token
    release_any_owner,   ///< release does not compare the token
    locks_outlive_none,  ///< the locks of a node that left or was superseded are free at once

    // connections and servers
    stale_connection,       ///< commands of dead connections take effect
    heartbeats_last,        ///< the machine's requests wait for all requests of the user's
    ticks_first,            ///< a tick that is due goes before all else, however slow the link is
    server_change_ignored,  ///< what another server may lack is not read anew
    resync_loses_handoffs,  ///< after reading all anew, revocations that were under way are forgotten
    resync_takes_back,      ///< ... what is being handed over is owned again
    snapshot_alone,         ///< what happened while the picture of the group was read is not folded in
    refused_gift_lost,      ///< a transfer that is refused leaves the schedule in nobody's hands
};
inline constexpr std::size_t defects = static_cast<std::size_t>(defect::refused_gift_lost) + 1;

/// Production: nothing planted.
struct sound {
    static consteval bool has(defect) { return false; }
};

}  // namespace rota::detail
