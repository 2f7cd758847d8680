// What a rebalancing strategy sees (cluster_view) and says (plan). Index-based: nodes and schedules are numbered by
// their place in the spans; ids are at hand for strategies that hash them, but no inner loop needs a string.
//
// A schedule that is being handed over counts for the node that it goes to and must not be moved again.
//
// The leader does not draw this picture anew for each plan: the spans point into one that it keeps by following events.
// So making a view costs nothing, and a strategy that looks at nodes alone need not cost more for a million schedules.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "operations.hpp"
#include "types.hpp"

namespace rota {

/// A read-only picture of the group, valid for the duration of one make_plan call.
struct cluster_view {
    /// "No node": the owner of an orphan, the target of what cannot be placed. Also "no kind", "no departure".
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

    struct node {
        std::string_view id;  ///< the user's node_id
        fencing_token incarnation = 0;
        std::uint32_t load = 0;                      ///< schedules owned or on their way here
        std::uint32_t capacity = unlimited;          ///< most it may hold, 0 while it is drained; may be below load
        double weight = 0;                           ///< sum of the weights of its load
        std::span<std::uint32_t const> schedules{};  ///< indices of what it owns or is to own, no particular order
        std::string_view zone{};                     ///< empty: a zone of its own
        std::span<std::string const> labels{};       ///< sorted, each once
        double reported = -1;                        ///< the load that it measures itself; < 0: it reports none
        bool draining = false;                       ///< it is to end empty
    };

    struct schedule {
        std::string_view id;
        /// Of its latest change of hands, near that moment on `now`'s clock; 0: none yet.
        fencing_token generation = 0;
        double weight = 1;
        std::uint32_t owner = none;     ///< index of a live node; none: an orphan
        std::uint32_t kind = 0;         ///< index of its rules in `kinds`
        std::uint32_t departed = none;  ///< of an orphan: whose it was, in `departures`; none: nobody's, or long ago
        bool moving = false;            ///< on its way to `owner`: leave it alone
    };

    /// The placement rules that some schedules have in common (placement_rules, attributes.hpp).
    struct kind {
        std::string_view pin{};                   ///< node_id; empty: any
        std::string_view group{};                 ///< at most one schedule of a group on a node; empty: none
        std::span<std::string const> required{};  ///< labels, sorted
        std::span<std::string const> forbidden{};
    };

    /// A node that is gone, and whose schedules are orphans.
    struct departure {
        std::string_view id{};
        fencing_token incarnation = 0;
        bool left = false;   ///< in order; false: it was taken for dead
        microseconds ago{};  ///< since when its schedules may be given to others
    };

    std::span<node const> nodes;             ///< live nodes, in no particular order, but a stable one
    std::span<schedule const> schedules;     ///< all of them; entries not reachable from nodes or orphans are void
    std::span<std::uint32_t const> orphans;  ///< indices of schedules without a live owner
    std::span<kind const> kinds{};           ///< the first one has no rules; may be empty if no schedule has any
    std::span<departure const> departures{};
    fencing_token now = 0;  ///< the server's clock, in µs; 0: not known
    /// Schedules whose generation is this or higher changed hands so recently that they are to stay.
    fencing_token settled_before = std::numeric_limits<fencing_token>::max();
    /// When the group's latest moves between live nodes began, on the same clock, oldest first; at most one hour back.
    std::span<fencing_token const> recent_moves{};
    /// false: the leader is still reading who owns what. All nodes and their loads are there, and all orphans that are
    /// listed; `schedules` and `weight` of the nodes are not. Only placements of a plan for it are carried out.
    bool complete = true;

    /// Whether schedule `s` (an index), which has an owner, may be moved to another.
    [[nodiscard]] bool may_move(std::uint32_t s) const noexcept {
        return !schedules[s].moving && schedules[s].generation < settled_before;
    }
};

/// One step of a plan: a placement (from == none, forced) or a move between live nodes (voluntary).
struct move {
    std::uint32_t schedule = 0;
    std::uint32_t from = cluster_view::none;
    std::uint32_t to = 0;
    /// Why; of a placement that says nothing else it is change_reason::placed.
    change_reason why = change_reason::rebalanced;

    [[nodiscard]] bool forced() const noexcept { return from == cluster_view::none; }
    /// A move that has to be, however even the load is.
    [[nodiscard]] bool required() const noexcept { return !forced() && is_required(why); }
    [[nodiscard]] change_reason reason() const noexcept {
        return forced() && why == change_reason::rebalanced ? change_reason::placed : why;
    }
    friend bool operator==(move const&, move const&) = default;
};

/// Why an orphan has no place.
enum class no_place : std::uint8_t {
    no_room,         ///< every node that would do is full
    pin_absent,      ///< the node that it is pinned to is not there
    labels_missing,  ///< no node has the labels that it requires, and none that it forbids
    rules_conflict,  ///< its rules exclude each other: no node could ever do
    group_apart,     ///< each node that would do has another of its group
    waits,           ///< it waits for its last node to return, for room that this plan makes, or for the whole picture
};

struct unplaced_schedule {
    std::uint32_t schedule = 0;
    no_place why = no_place::no_room;
    friend bool operator==(unplaced_schedule const&, unplaced_schedule const&) = default;
};

/// What a strategy proposes, with its certificate. Placements come first, then the moves that have to be (required()),
/// then those that even out; every prefix is valid on its own.
struct plan {
    std::vector<move> moves{};
    std::uint32_t forced = 0;     ///< placements among the moves
    std::uint32_t voluntary = 0;  ///< moves between live nodes, required ones included
    std::uint32_t bound = 0;      ///< the least number of voluntary moves that reaches the strategy's balance
    std::uint32_t unplaced = 0;   ///< orphans without a place, for whatever reason (`stuck` says it)
    double spread_before = 0;     ///< fullest less emptiest node, in the strategy's measure of load
    double spread_after = 0;
    /// How far the node that is farthest off is from its target before the moves, as a fraction of the mean load, in the
    /// strategy's measure: what a threshold is compared with. < 0: not stated; it is then measured by count (imbalance()).
    double imbalance = -1;
    /// Instead of each schedule that is moved to even out, any other of the same node with the same weight and rules will
    /// do: the owner gives an idle one, if there is one.
    bool interchangeable = false;
    /// Plan again after this time even if nothing happens: something waits for it. max: no need.
    microseconds revisit = microseconds::max();
    /// Which orphans have no place for another reason than no_room (those may be listed too).
    std::vector<unplaced_schedule> stuck{};

    void clear() noexcept {
        moves.clear();
        stuck.clear();
        forced = voluntary = bound = unplaced = 0;
        spread_before = spread_after = 0;
        imbalance = -1;
        interchangeable = false;
        revisit = microseconds::max();
    }
};

}  // namespace rota
