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
};

/// What the strategy would do with the group as it is now: a dry run. Nothing is changed, nothing is promised.
struct proposal {
    std::vector<proposed_move> moves{};
    std::uint32_t forced = 0;     ///< orphans placed
    std::uint32_t voluntary = 0;  ///< moves between live nodes
    std::uint32_t bound = 0;      ///< the fewest voluntary moves that reach the strategy's balance
    std::uint32_t unplaced = 0;   ///< orphans for which no node has room
    double spread_before = 0;     ///< fullest less emptiest node
    double spread_after = 0;
};

}  // namespace rota
