// The mutation gate: plants each of the known mistakes of detail/defects.hpp into the algorithm of the nodes, their
// processes or the server's, makes the sweep that CI makes, and demands that an invariant meant for the mistake catches
// it. What stands in the way of a second mistake is worth as much as what catches the first.
#include "catch.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/core.h>

#include "support/ci_sweep.hpp"
#include "support/planted.hpp"

namespace {

using namespace rota_test;
using namespace std::chrono_literals;
using rota::detail::defect;
using enum sim::fault_kind;
using sim::bit;

struct mistake {
    defect planted;
    char const* name;
    std::vector<std::string_view> meant;  // the invariants that are made to catch it
    // Where the plain swarm seldom gets there: kinds of fault that make it likely, closely packed on few schedules; or
    // a group that makes it so.
    sim::fault_set likely_with = 0;
    void (*likely_in)(sim::scenario&) = nullptr;
};

// More requests than there is time for: a heartbeat that queues up behind them comes too late.
void overload(sim::scenario& s) {
    s.schedules = 30;
    s.world.network.most_delay = 60ms;
    s.world.work = {.period = 500ms, .least = 10ms, .most = 100ms, .lock_ttl = 5s};
}

// Requests that take longer than the time from one heartbeat to the next; nothing else goes wrong.
void slow_link(sim::scenario& s) {
    s.world.network = {.least_delay = 25ms, .most_delay = 60ms};
    s.world.options.heartbeat_interval = 50ms;
    s.world.options.node_ttl = 2s;
    s.world.options.leader_lease = 2s;
    s.world.faults.clear();
}

// Runs that are seldom over when their schedule is to move.
void long_runs(sim::scenario& s) {
    s.schedules = 8;
    s.world.options.rebalance_threshold = 0;
    s.world.work = {.period = 500ms, .least = 1s, .most = 8s, .lock_ttl = 2s};
}

// What asks so much that a whole run of it would take too long to simulate.
void brief(sim::scenario& s) {
    s.length = 1min;
    std::erase_if(s.world.faults, [&](sim::fault const& f) { return f.at > sim::moment{s.length}; });
}

// Transfers that are often refused.
void little_room(sim::scenario& s) { s.world.options.max_schedules_per_node = 2; }

// Schedules that go with their locks, to where somebody soon wants them.
void locked_handoffs(sim::scenario& s) {
    s.world.work = {.period = 500ms, .lock_ttl = 5s};
    s.world.options.handoff_lock_ttl = 5s;
}

// Loads that a new leader seldom finds even.
void uneven(sim::scenario& s) {
    s.schedules = 8;
    s.world.options.rebalance_threshold = 0;
}

std::vector<mistake> const& mistakes() {
    static std::vector<mistake> const all{
        {defect::lease_from_reply, "lease_from_reply", {"belief_ends_in_time", "one_leader"}},
        {defect::lease_from_news, "lease_from_news", {"belief_ends_in_time", "one_leader"}},
        {defect::lock_from_news,
         "lock_from_news",
         {"belief_ends_in_time", "locks_exclusive"},
         bit(transfer) | bit(delay) | bit(stall),
         locked_handoffs},
        {defect::margin_ignored, "margin_ignored", {"belief_ends_in_time", "one_leader"}},
        {defect::wall_clock,
         "wall_clock",
         {"belief_ends_in_time", "one_leader", "one_owner", "ownership_disjoint", "locks_exclusive"}},
        {defect::life_before_reading,
         "life_before_reading",
         {"one_owner", "ownership_disjoint"},
         bit(unregister_one) | bit(register_one) | bit(cut_replies) | bit(stall) | bit(claim)},
        {defect::belief_after_release, "belief_after_release", {"locks_exclusive"}},
        {defect::late_grant_used, "late_grant_used", {"no_double_run", "fenced_do_nothing"}},
        {defect::leave_first,
         "leave_first",
         {"belief_ends_in_time", "one_owner", "ownership_disjoint", "leadership_alternates"}},
        {defect::renounce_first, "renounce_first", {"belief_ends_in_time", "one_leader"}},
        {defect::acknowledge_first,
         "acknowledge_first",
         {"one_owner", "ownership_disjoint", "own_events_fold_to_state"}},
        {defect::keep_after_reap,
         "keep_after_reap",
         {"belief_ends_in_time", "one_owner", "ownership_disjoint", "restart_inherits_nothing"}},
        // Two processes that take the node_id from each other for ever.
        {defect::fenced_rejoins, "fenced_rejoins", {"leader_in_time", "comes_to_rest", "no_storm"}, 0, brief},

        {defect::end_untold, "end_untold", {"leadership_alternates"}},
        {defect::resume_untold, "resume_untold", {"leadership_alternates"}},
        {defect::leads_past_it, "leads_past_it", {"leadership_alternates"}},
        {defect::events_twice, "events_twice", {"group_events_fold_to_state"}},
        {defect::gap_untold, "gap_untold", {"group_events_fold_to_state"}},

        {defect::token_not_minted, "token_not_minted", {"tokens_rise", "effects_safe"}},
        // Numbers come again after a loss, those of incarnations too: two nodes with one, who put each other out.
        {defect::token_counts_only, "token_counts_only", {"effects_safe", "tokens_rise", "no_storm"}},
        {defect::generation_kept, "generation_kept", {"generation_rises"}},

        {defect::elected_on_request, "elected_on_request", {"one_leader", "belief_ends_in_time"}},
        {defect::renew_any_term, "renew_any_term", {"one_leader", "tokens_rise", "belief_ends_in_time"}},
        {defect::renounce_forgets_term, "renounce_forgets_term", {"one_leader", "belief_ends_in_time"}},
        {defect::adopt_any_term, "adopt_any_term", {"plans_under_current_term"}},
        {defect::plan_at_once, "plan_at_once", {"no_storm"}},

        {defect::adopt_live_owner, "adopt_live_owner", {"only_expired_orphaned", "one_owner", "ownership_disjoint"}},
        {defect::adopt_any_owner, "adopt_any_owner", {"stale_generations_refused", "one_owner", "ownership_disjoint"}},
        {defect::claim_any_owner, "claim_any_owner", {"one_owner", "ownership_disjoint"}},
        {defect::join_inherits, "join_inherits", {"restart_inherits_nothing"}},
        {defect::supersede_frees,
         "supersede_frees",
         {"only_expired_orphaned", "belief_ends_in_time", "one_owner", "ownership_disjoint"}},
        {defect::reap_early, "reap_early", {"only_expired_orphaned"}},
        {defect::reap_unchecked, "reap_unchecked", {"only_expired_orphaned"}},
        {defect::death_takes_all, "death_takes_all", {"nothing_lost"}},
        {defect::grant_without_ack, "grant_without_ack", {"one_owner", "ownership_disjoint"}},
        {defect::ack_during_run, "ack_during_run", {"locks_exclusive", "strangers_change_nothing", "runs_finish"}},
        {defect::lost_ack_is_failure,
         "lost_ack_is_failure",
         {"one_owner", "ownership_disjoint"},
         bit(transfer) | bit(lose_reply) | bit(reset) | bit(delay)},
        {defect::unregister_untold, "unregister_untold", {"one_owner", "ownership_disjoint", "comes_to_rest"}},
        {defect::tombstone_ignored,
         "tombstone_ignored",
         {"one_owner", "ownership_disjoint"},
         bit(unregister_one) | bit(register_one) | bit(claim) | bit(stall) | bit(cut)},
        {defect::capacity_ignored, "capacity_ignored", {"capacity_kept"}},
        {defect::half_read_moves,
         "half_read_moves",
         {"whole_pictures_move"},
         bit(crash) | bit(leave) | bit(maintenance),
         uneven},
        {defect::refused_gift_lost,
         "refused_gift_lost",
         {"own_events_fold_to_state", "owned_in_time"},
         bit(transfer),
         little_room},
        {defect::maintenance_ignored, "maintenance_ignored", {"maintenance_kept"}},
        {defect::drain_ignored, "drain_ignored", {"drained_end_empty"}},
        {defect::open_swap_unchecked, "open_swap_unchecked", {"runs_finish"}},
        {defect::as_of_ignored,
         "as_of_ignored",
         {"plans_fit_their_state"},
         bit(transfer) | bit(register_one) | bit(unregister_one)},
        {defect::swap_keeps_both, "swap_keeps_both", {"swaps_hand_over_one"}, bit(crash) | bit(leave), long_runs},
        {defect::rules_ignored, "rules_ignored", {"pictures_are_true", "rules_kept"}},
        {defect::repair_forgets, "repair_forgets", {"damage_mended"}},
        {defect::swap_of_unlike,
         "swap_of_unlike",
         {"swaps_hand_over_one"},
         bit(crash) | bit(leave) | bit(update_one),
         long_runs},
        {defect::handoff_cuts_short, "handoff_cuts_short", {"runs_finish"}},
        {defect::handoff_endless, "handoff_endless", {"runs_finish"}},
        {defect::pending_kept, "pending_kept", {"records_agree"}},
        {defect::attributes_untold, "attributes_untold", {"pictures_are_true"}},

        {defect::acquire_any_owner, "acquire_any_owner", {"no_double_run", "stale_generations_refused"}},
        {defect::acquire_again, "acquire_again", {"tokens_rise", "effects_safe"}},
        {defect::extend_revives, "extend_revives", {"strangers_change_nothing"}},
        {defect::extend_any_owner, "extend_any_owner", {"strangers_change_nothing"}},
        {defect::release_any_owner, "release_any_owner", {"strangers_change_nothing"}},
        {defect::locks_outlive_none, "locks_outlive_none", {"locks_exclusive"}},

        {defect::stale_connection, "stale_connection", {"dead_connections_do_nothing"}},
        {defect::heartbeats_last, "heartbeats_last", {"leader_in_time", "owned_in_time", "comes_to_rest"}, 0, overload},
        {defect::ticks_first, "ticks_first", {"leader_in_time", "owned_in_time", "comes_to_rest"}, 0, slow_link},
        {defect::server_change_ignored,
         "server_change_ignored",
         {"pictures_are_true", "one_owner", "ownership_disjoint", "comes_to_rest", "owned_in_time", "leader_in_time"},
         bit(fail_over) | bit(unregister_one) | bit(register_one) | bit(transfer)},
        {defect::resync_loses_handoffs,
         "resync_loses_handoffs",
         {"comes_to_rest", "owned_in_time", "drained_end_empty"}},
        {defect::resync_takes_back,
         "resync_takes_back",
         {"own_events_fold_to_state", "one_owner", "ownership_disjoint", "no_storm"}},
        {defect::snapshot_alone, "snapshot_alone", {"pictures_are_true"}},
    };
    return all;
}

sim::scenario scenario_of(mistake const& m, std::uint64_t seed) {
    auto run = m.likely_with == 0 ? ci_scenario(seed)
                                  : sim::draw_scenario(seed, {.most_schedules = 4,
                                                              .faults_for = 10min,
                                                              .kinds = m.likely_with,
                                                              .swarm = false,
                                                              .most_faults = 1000,
                                                              .nodes = 3});
    if (m.likely_in) m.likely_in(run);
    return run;
}

struct finding {
    std::uint64_t seeds = 0;
    std::string invariant;  // none: not caught
    std::string words;
    bool sound_passes = false;
};

finding caught(mistake const& m) {
    // Where code is slow, a glance: whether it is caught at all is for the optimised build to say.
    auto const seeds = in_full ? ci_seeds : std::uint64_t{2};
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const run = scenario_of(m, seed);
        planting const planted{m.planted};
        auto const f = sim::failure_of<planted_world>(run, false, ci_setup());
        if (!f) continue;
        return {seed, f->invariant, f->words, !sim::failure_of(run, false, ci_setup())};
    }
    return {seeds, {}, {}, true};
}

}  // namespace

TEST_CASE("each planted mistake is caught by an invariant meant for it") {
    REQUIRE(mistakes().size() + 1 == rota::detail::defects);
    std::vector<finding> found(mistakes().size());
    in_parallel(found.size(), [&](std::uint64_t n) { found[n] = caught(mistakes()[n]); });

    for (std::size_t i = 0; i < found.size(); ++i) {
        auto const& m = mistakes()[i];
        auto const& f = found[i];
        fmt::print("{:<22} {:>4} seeds  {}: {}\n", m.name, f.seeds, f.invariant.empty() ? "not caught" : f.invariant,
                   f.words);
        CAPTURE(m.name, f.seeds, f.invariant, f.words);
        CHECK(f.sound_passes);
        if (!in_full && f.invariant.empty()) continue;  // there was no time to look for it
        CHECK(std::find(m.meant.begin(), m.meant.end(), f.invariant) != m.meant.end());
    }
}
