// What an even load is, for strategies that balance by count: the target band of each node, the least number of moves
// that reaches it, and how far from it the group is. Formulas only (DESIGN: "what best means"): nothing here builds a
// plan, so that a plan can be checked against it.
//
// Each takes O(nodes x bits of a load), no memory, and never looks at a schedule; the number of orphans is enough.
#pragma once

#include <cstdint>

#include "../cluster_view.hpp"

namespace rota {

/// Where the loads of a view should end: each node between lower and upper of its capacity. With room for all, these
/// are exactly the most even distributions that keep the capacities.
struct balance_target {
    std::uint64_t level = 0;     ///< the water level: what every node with enough capacity holds at least
    bool exact = true;           ///< the total comes out even at `level`; otherwise some nodes hold one more
    bool overcommitted = false;  ///< more schedules than capacity: all capacity is used, the excess stays where it is

    [[nodiscard]] std::uint64_t lower(std::uint32_t capacity) const noexcept {
        return capacity < level ? capacity : level;
    }
    [[nodiscard]] std::uint64_t upper(std::uint32_t capacity) const noexcept {
        auto const most = exact ? level : level + 1;
        return capacity < most ? capacity : most;
    }
};

namespace detail {

// The largest level in [low, high) whose volume is within the limit; volume(low) is, volume(high) is not.
template <typename Volume>
std::uint64_t highest_level(std::uint64_t low, std::uint64_t high, std::uint64_t limit, Volume const& volume) {
    while (high - low > 1) {
        auto const middle = low + (high - low) / 2;
        (volume(middle) <= limit ? low : high) = middle;
    }
    return low;
}

struct load_totals {
    std::uint64_t load = 0;
    std::uint64_t capacity = 0;
    std::uint64_t room = 0;  // places that are free: of nodes below their capacity only
    std::uint32_t largest_capacity = 0;
};

inline load_totals totals_of(cluster_view const& view) {
    load_totals sum;
    for (auto const& node : view.nodes) {
        sum.load += node.load;
        sum.capacity += node.capacity;
        if (node.load < node.capacity) sum.room += node.capacity - node.load;
        if (node.capacity > sum.largest_capacity) sum.largest_capacity = node.capacity;
    }
    return sum;
}

inline balance_target target_of(cluster_view const& view, load_totals const& sum) {
    auto const wanted = sum.load + view.orphans.size();
    if (wanted >= sum.capacity) return {sum.largest_capacity, true, wanted > sum.capacity};

    auto const volume = [&](std::uint64_t level) {
        std::uint64_t held = 0;
        for (auto const& node : view.nodes) held += node.capacity < level ? node.capacity : level;
        return held;
    };
    // With capacities that hardly limit, the level is the mean: two passes.
    auto level = wanted / view.nodes.size();
    if (volume(level + 1) <= wanted) {
        level = highest_level(level + 1, sum.largest_capacity, wanted, volume);
    }
    return {level, volume(level) == wanted, false};
}

inline std::uint32_t moves_to(balance_target const& target, cluster_view const& view) {
    std::uint64_t surplus = 0;
    std::uint64_t shortage = 0;
    for (auto const& node : view.nodes) {
        auto const lower = target.lower(node.capacity);
        auto const upper = target.upper(node.capacity);
        if (node.load > upper) surplus += node.load - upper;
        if (node.load < lower) shortage += lower - node.load;
    }
    auto const unowned = view.orphans.size();
    auto const moved_in = shortage > unowned ? shortage - unowned : 0;
    // Over capacity, only what the orphans leave free can be moved into; the rest of the surplus has to stay.
    if (target.overcommitted) return static_cast<std::uint32_t>(moved_in);
    return static_cast<std::uint32_t>(surplus > moved_in ? surplus : moved_in);
}

}  // namespace detail

/// The band that the loads of `view` should end in, orphans included.
[[nodiscard]] inline balance_target balance_target_of(cluster_view const& view) {
    return detail::target_of(view, detail::totals_of(view));
}

/// V*: the fewest moves between live nodes after which every load is within its target band, orphans being placed
/// where they serve best. Where the total exceeds all capacity: the fewest after which no capacity is left unused.
/// Counts schedules that are `moving` as if they could be moved again.
[[nodiscard]] inline std::uint32_t least_moves_bound(cluster_view const& view) {
    return detail::moves_to(balance_target_of(view), view);
}

/// How uneven the group will be once its orphans are placed as least_moves places them: the largest distance of a
/// node from its target band, as a fraction of the mean load. 0 exactly if least_moves_bound is 0. This is what
/// options::rebalance_threshold is compared with. A load above the node's capacity is a distance like any other.
[[nodiscard]] inline double imbalance(cluster_view const& view) {
    auto const sum = detail::totals_of(view);
    auto const target = detail::target_of(view, sum);
    if (detail::moves_to(target, view) == 0) return 0;

    // Orphans fill the emptiest nodes up to `filled`; the rest go, one each, to the first nodes at that level.
    auto const unowned = std::uint64_t{view.orphans.size()};
    auto const placed = unowned < sum.room ? unowned : sum.room;
    auto const volume = [&](std::uint64_t level) {
        std::uint64_t poured = 0;
        for (auto const& node : view.nodes) {
            auto const top = node.capacity < level ? node.capacity : level;
            if (node.load < top) poured += top - node.load;
        }
        return poured;
    };
    std::uint64_t filled = 0;
    std::uint64_t rest = 0;
    if (placed == sum.room) {
        filled = sum.largest_capacity;
    } else if (placed > 0) {
        filled = detail::highest_level(0, sum.largest_capacity, placed, volume);
        rest = placed - volume(filled);
    }

    std::uint64_t farthest = 0;
    for (auto const& node : view.nodes) {
        auto const top = node.capacity < filled ? node.capacity : filled;
        auto load = node.load < top ? top : std::uint64_t{node.load};
        if (rest > 0 && load == filled && load < node.capacity) ++load, --rest;
        auto const lower = target.lower(node.capacity);
        auto const upper = target.upper(node.capacity);
        auto const distance = load > upper ? load - upper : load < lower ? lower - load : 0;
        if (distance > farthest) farthest = distance;
    }
    auto const mean = static_cast<double>(sum.load + placed) / static_cast<double>(view.nodes.size());
    return static_cast<double>(farthest) / mean;
}

}  // namespace rota
