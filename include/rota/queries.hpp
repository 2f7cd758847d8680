// Answers to what a person asks of a group: how loaded its nodes are, and what the leader would move.
#pragma once

#include <string>
#include <vector>

#include "operations.hpp"
#include "types.hpp"

namespace rota {

/// How much a live node has to do.
struct node_load {
    node_ref node{};
    std::uint32_t load = 0;     ///< schedules owned
    std::uint32_t pending = 0;  ///< schedules on their way to it
    std::uint32_t capacity = unlimited;
};

struct proposed_move {
    std::string schedule{};
    node_ref from{};  ///< incarnation 0: an orphan
    node_ref to{};
    change_reason reason{};
    fencing_token generation = 0;  ///< of the ownership that it ends
    fencing_token owner = 0;       ///< whose that is: of an orphan, the node that is gone; 0: nobody's
};

/// What the strategy would do with the group as it is now: a dry run. Nothing is changed, nothing is promised. Whether the
/// leader does it depends on its options (auto_rebalance, rebalance_threshold) and on a maintenance order too.
struct proposal {
    std::vector<proposed_move> moves{};  ///< placements, then moves that have to be, then those that even out
    std::uint32_t forced = 0;            ///< orphans placed
    std::uint32_t voluntary = 0;         ///< moves between live nodes, those off drained and overfull ones included
    std::uint32_t bound = 0;             ///< the fewest voluntary moves that reach the strategy's balance
    std::uint32_t unplaced = 0;          ///< orphans without a place, for whatever reason (`stuck` says it)
    double spread_before = 0;            ///< fullest less emptiest node, in the strategy's measure
    double spread_after = 0;
    double imbalance = 0;  ///< what rebalance_threshold is compared with

    struct without_place {
        std::string schedule{};
        std::string why{};
    };
    std::vector<without_place> stuck{};  ///< orphans without a place, and why, as far as the strategy says so

    fencing_token epoch = 0;    ///< of the group, and
    std::uint64_t as_of = 0;    ///< its newest event, when this was made
    bool maintenance = false;   ///< the group is under maintenance: the leader moves nothing between live nodes
    bool hypothetical = false;  ///< of a group that is not: it cannot be applied
};

}  // namespace rota
