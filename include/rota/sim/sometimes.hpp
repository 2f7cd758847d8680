// What must have been seen, sometimes: the rare turns that simulations are made for. A run counts what it came by, a sweep
// adds its runs up, and fails if something was never seen: it tested nothing.
//
//   sim::sometimes seen;
//   for (auto seed : ...) seen += run(seed).seen();
//   if (auto missing = seen.missing(); !missing.empty()) ...
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "faults.hpp"

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
