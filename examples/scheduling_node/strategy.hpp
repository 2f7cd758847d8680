// How scheduling_node's leader shares schedules out: only to nodes with the labels that they require, and evenly; over
// the zones first, if nodes name any, and then over the nodes of each.
//
// Two of rota's strategies, and a choice between them that follows from the view alone, as all that a plan says must.
#pragma once

#include <rota/strategy/constrained.hpp>
#include <rota/strategy/zoned.hpp>

namespace example {

struct strategy {
    rota::constrained<rota::least_moves> over_nodes{};
    rota::constrained<rota::zoned<>> over_zones{};

    void make_plan(rota::cluster_view const& view, rota::plan& into) const {
        for (auto const& node : view.nodes) {
            if (!node.zone.empty()) return over_zones.make_plan(view, into);
        }
        over_nodes.make_plan(view, into);
    }
};

}  // namespace example
