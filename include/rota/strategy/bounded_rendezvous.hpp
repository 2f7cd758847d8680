// Placement by hash with a limit: as rendezvous with equal nodes, but no node is to hold more than ceil((1 + epsilon) x
// the mean), or its capacity. Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016), with highest
// random weight in place of the ring. Who owns what still follows from who is there: schedules choose one after the
// other, in the order of their hashes, and what finds its node full goes to the best that is not.
//
// A node that joins or goes moves its own share and, as others step up or down with their limit, a number of schedules
// of the order of 1 / epsilon^2 for each of these; the more even the loads, the more is moved.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../cluster_view.hpp"
#include "../detail/late.hpp"
#include "balance.hpp"
#include "rendezvous.hpp"

namespace rota {

/// What is said of rendezvous holds here too: cost, exceptions and certificate. The limit is kept by every plan for a
/// complete view, once it is carried out, unless what may not move, or may not be exchanged between nodes at their
/// capacities, stands against it. Where small capacities leave more than the limit to the others, theirs is the level
/// that even loads would have. The mean is of all nodes that are not drained.
struct bounded_rendezvous {
    double epsilon = 0.25;  ///< how far over the mean a node may be; >= 0 (what is not, counts as 0)

    template <typename T = void>  // see late.hpp
    void make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const;
};

namespace detail {

template <typename View>
std::uint32_t load_limit(View const& view, double epsilon) {
    std::uint64_t total = view.orphans.size();
    std::uint64_t members = 0;
    for (auto const& node : view.nodes) {
        total += node.load;
        if (node.capacity > 0) ++members;
    }
    if (members == 0) return 0;
    auto const even = balance_target_of(view).upper(unlimited);
    auto const share = (epsilon > 0 ? 1 + epsilon : 1) * static_cast<double>(total) / static_cast<double>(members);
    if (!(share < static_cast<double>(unlimited)) || even >= unlimited) return unlimited;
    auto limit = static_cast<std::uint64_t>(share);
    if (static_cast<double>(limit) < share) ++limit;
    return static_cast<std::uint32_t>(limit > even ? limit : even);
}

}  // namespace detail

template <typename T>
void bounded_rendezvous::make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const {
    detail::hash_run<T>{view, into, false, detail::load_limit(view, epsilon)}.run();
}

}  // namespace rota
