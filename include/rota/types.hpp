// The words of rota as types: tokens, times, nodes, schedules. Plain values, no behaviour.
//
// Incarnation, term, generation and lock token are all rota::fencing_token: numbers from one increasing source per
// group, minted inside the atomic step that grants the thing, so any two of them can be compared to tell the newer.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>

namespace rota {

/// A number that rises with every grant in a group; 0 means "none". Below 2^53.
/// Pass it along with every effect on a resource, and let the resource reject lower ones.
using fencing_token = std::uint64_t;

/// The resolution of all times in rota.
using microseconds = std::chrono::microseconds;

/// A point of a node's own monotonic clock (a clock policy's now()). Its origin means nothing outside the process.
using instant = std::chrono::time_point<struct node_clock, microseconds>;

/// A capacity that never limits.
inline constexpr std::uint32_t unlimited = std::numeric_limits<std::uint32_t>::max();

/// Longest id of a schedule, node or named lock, in bytes.
inline constexpr std::size_t max_id_size = 512;

/// One participation of a node: the user's node_id and the incarnation that its join minted.
struct node_ref {
    std::string id{};
    fencing_token incarnation = 0;

    friend bool operator==(node_ref const&, node_ref const&) = default;
};

/// The leader as this node last heard of it.
struct leader_info {
    node_ref node{};
    fencing_token term = 0;
    microseconds remaining{};  ///< what was left of the lease when last heard, less what has passed since; never < 0
};

/// A schedule that this node owns.
struct owned_schedule {
    std::string id{};
    fencing_token generation = 0;  ///< fencing token of this ownership
    double weight = 1;
    bool handing_over = false;    ///< asked to give it up: no new lock is granted, a held one may be finished
    fencing_token triggered = 0;  ///< a run was asked for (trigger), and is not done yet; 0: none was
};

/// Where a schedule is, as the server has it.
struct schedule_status {
    std::string id{};
    fencing_token generation = 0;  ///< of the latest change of owner; 0: never owned
    fencing_token owner = 0;       ///< incarnation; 0: none
    double weight = 1;
    fencing_token moving_to = 0;  ///< incarnation that it is being handed to; 0: none
    std::string traits{};         ///< its placement rules, see rules_of (attributes.hpp)
    fencing_token triggered = 0;  ///< a run was asked for (trigger), and is not done yet; 0: none was

    friend bool operator==(schedule_status const&, schedule_status const&) = default;
};

/// A node as the server has it.
struct node_status {
    node_ref node{};
    bool alive = false;         ///< false: dead or left, with schedules that are not yet re-assigned
    microseconds remaining{};   ///< until it is taken for dead; 0 when it is
    std::uint32_t load = 0;     ///< schedules owned
    std::uint32_t pending = 0;  ///< schedules being handed to it
    std::uint32_t capacity = unlimited;
    std::string traits{};     ///< its zone, labels and reported load, see attributes_of (attributes.hpp)
    bool left = false;        ///< not alive: because it left in order
    microseconds gone_for{};  ///< not alive: since when its schedules may be given to others; 0: not yet
    bool draining = false;    ///< it is to end empty, see drain()

    friend bool operator==(node_status const&, node_status const&) = default;
};

}  // namespace rota
