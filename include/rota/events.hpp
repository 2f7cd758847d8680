// What a coordinator tells its event sink: changes of this node's own standing, of ownership, leadership and
// membership, and warnings. Plain values; a sink takes `event const&` (the variant) or any of the types below.
//
// With event_scope::own a sink hears of this node and of who leads; with event_scope::group of every node and schedule.
// In both, each change comes once and in order; where some could not be had, a `gap` comes first, and then the
// differences to what was last told, with change_reason::resynced. With event_scope::group the first thing that this node
// reads is how the group stands; that is not told, but for what it came to own by then (from nobody, resynced).
// Its last events are `node_left` or `node_lost`: that others own what was its own is told to others, and to itself once
// it takes part again. (With event_scope::own it is told of each schedule that it `lost` as well.)
#pragma once

#include <string>
#include <variant>

#include "error.hpp"
#include "operations.hpp"
#include "types.hpp"

namespace rota {

/// This node takes part under a new incarnation.
struct node_joined {
    node_ref node{};
    fencing_token epoch = 0;
};

/// This node left in order; it owns nothing and holds no lock.
struct node_left {
    node_ref node{};
};

/// No contact for so long that the group may act without this node: it leads nothing, owns nothing, and no handle of a
/// lock is valid, until `node_resumed` (contact in time after all) or `node_lost`.
struct node_suspended {
    node_ref node{};
    error why{};
};

/// In contact again under the same incarnation; what it owned is still its own.
struct node_resumed {
    node_ref node{};
};

/// The group took this node for dead (or the server lost its data): all that it owned is gone. run() joins anew.
struct node_lost {
    node_ref node{};
    bool data_lost = false;  ///< because the server lost writes: registered schedules may be gone too
};

/// A newer process took the node_id: this one has stopped, until somebody calls join(), which takes the id back.
struct node_fenced {
    node_ref node{};
};

/// A schedule changed hands. Nodes that this coordinator has not heard of have an empty id; incarnation 0: nobody.
/// `generation` is that of the new ownership; 0 where a node only knows that it has lost one (change_reason::lost,
/// unregistered).
struct ownership_changed {
    std::string schedule{};
    node_ref from{};
    node_ref to{};
    fencing_token generation = 0;
    change_reason reason{};
};

/// A schedule of this node is to go to another as soon as the run in hand is done. It hands an idle one over at once.
struct handoff_requested {
    std::string schedule{};
    fencing_token to = 0;
    microseconds within{};  ///< after this, locks on it are not extended any more
    change_reason reason{};
};

/// A run of a schedule of this node was asked for: now, or before it came here. Say trigger_done() with that token when it
/// is done. (A worker does both.)
struct schedule_triggered {
    std::string schedule{};
    fencing_token token = 0;
};

/// Another node leads, or none (incarnation 0). This node's own gain and loss is told the moment its belief changes.
struct leadership_changed {
    node_ref leader{};
    fencing_token term = 0;
    node_ref previous{};
};

enum class membership_change : std::uint8_t { joined, left, died, superseded };

/// A node came or went (event_scope::group, and on the leader).
struct membership_changed {
    node_ref subject{};
    membership_change change{};
};

/// A schedule was registered or unregistered (event_scope::group).
struct schedule_changed {
    std::string schedule{};
    bool registered = false;
};

/// Some changes could not be had one by one; the differences follow as events with change_reason::resynced.
struct events_gap {};

/// A plan was not applied: the strategy broke its contract, or part of the state changed meanwhile.
struct plan_refused {
    std::string why{};
};

/// Something that an operator should know: that the server refuses this node's requests, may evict leases, was restarted;
/// that the group cannot be joined, attempt after attempt; that schedules have no node with room. `what.code` is errc{} where nothing failed.
struct warning {
    error what{};
};

using event = std::variant<node_joined, node_left, node_suspended, node_resumed, node_lost, node_fenced,
                           ownership_changed, handoff_requested, schedule_triggered, leadership_changed,
                           membership_changed, schedule_changed, events_gap, plan_refused, warning>;

}  // namespace rota
