// What a rebalancing strategy sees (cluster_view) and says (plan). Index-based: nodes and schedules are numbered by
// their place in the spans; ids are at hand for strategies that hash them, but no inner loop needs a string.
//
// A schedule that is being handed over counts for the node that it goes to and must not be moved again.
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
    /// "No node": the owner of an orphan, the target of what cannot be placed.
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

    struct node {
        std::string_view id;  ///< the user's node_id
        fencing_token incarnation = 0;
        std::uint32_t load = 0;                      ///< schedules owned or on their way here
        std::uint32_t capacity = unlimited;          ///< most it may hold; may be below load (the excess may stay)
        double weight = 0;                           ///< sum of the weights of its load
        std::span<std::uint32_t const> schedules{};  ///< indices of what it owns or is to own, no particular order
    };

    struct schedule {
        std::string_view id;
        std::uint32_t owner = none;  ///< index of a live node; none: an orphan
        bool moving = false;         ///< on its way to `owner`: leave it alone
        double weight = 1;
    };

    std::span<node const> nodes;             ///< live nodes, ordered by id
    std::span<schedule const> schedules;     ///< all of them; entries not reachable from nodes or orphans are void
    std::span<std::uint32_t const> orphans;  ///< indices of schedules without a live owner
};

/// One step of a plan: a placement (from == none, forced) or a move between live nodes (voluntary).
struct move {
    std::uint32_t schedule = 0;
    std::uint32_t from = cluster_view::none;
    std::uint32_t to = 0;

    [[nodiscard]] bool forced() const noexcept { return from == cluster_view::none; }
    friend bool operator==(move const&, move const&) = default;
};

/// What a strategy proposes, with its certificate. Placements come before moves; every prefix is valid on its own.
struct plan {
    std::vector<move> moves{};
    std::uint32_t forced = 0;     ///< placements among the moves
    std::uint32_t voluntary = 0;  ///< moves between live nodes
    std::uint32_t bound = 0;      ///< the least number of voluntary moves that reaches the strategy's balance
    std::uint32_t unplaced = 0;   ///< orphans for which no node has room
    double spread_before = 0;     ///< fullest less emptiest node, in the strategy's measure of load
    double spread_after = 0;

    void clear() noexcept {
        moves.clear();
        forced = voluntary = bound = unplaced = 0;
        spread_before = spread_after = 0;
    }
};

}  // namespace rota
