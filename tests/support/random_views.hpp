// Views of all sorts drawn at random, for property tests of strategies: capacities that limit or do not, nodes that are
// drained or hold more than they may, schedules that may not move, weights of several shapes.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <rota/cluster_view.hpp>

#include "view_builder.hpp"

namespace rota_test {

enum class weight_shape : std::uint8_t { equal, even, heavy_tailed, few_large };

class random_views {
public:
    explicit random_views(std::uint64_t seed) : random_{seed} {}

    /// In [0, end).
    std::uint32_t below(std::uint32_t end) { return static_cast<std::uint32_t>(random_() % end); }
    /// In (0, 1].
    double fraction() { return static_cast<double>((random_() >> 12) + 1) * 0x1p-52; }

    struct sizes {
        std::uint32_t nodes = 30;  ///< most
        std::uint32_t load = 30;   ///< most, of a node
        bool capacities = true;
        bool staying = true;  ///< schedules that may not move
        bool draining = true;
        bool weights = true;
    };

    /// Draws the next view into the builder.
    void next(view_builder& builder, sizes const& most) {
        auto const most_load = 1 + below(most.load);
        auto const limits = most.capacities ? below(6) : 0;
        nodes.resize(1 + below(most.nodes));
        for (auto& node : nodes) {
            node = {};
            node.load = below(4) == 0 ? 0 : below(most_load + 1);
            if (limits == 1) node.capacity = below(2 * most_load);  // some below their load
            if (limits == 2) node.capacity = node.load + below(3);  // hardly any room
            if (limits == 3 && below(3) > 0) node.capacity = below(most_load);
            if (limits == 4) node.capacity = below(most_load);       // often over all capacity
            if (limits == 5) node.capacity = 1000 * (1 + below(4));  // for show
            if (most.staying && below(4) == 0) node.moving = below(node.load + 1);
            node.draining = most.draining && below(12) == 0;
        }
        orphans = below(3) == 0 ? 0 : below(static_cast<std::uint32_t>(nodes.size()) * most_load + 1);
        builder.reset(nodes, orphans);
        shape = most.weights ? static_cast<weight_shape>(below(4)) : weight_shape::equal;
        for (std::uint32_t i = 0; i < builder.schedule_count(); ++i) builder.schedule(i).weight = weight();
    }

    double weight() {
        switch (shape) {
            case weight_shape::equal: return 1;
            case weight_shape::even: return 1 + below(9);
            case weight_shape::heavy_tailed: return std::pow(fraction(), -0.8);
            case weight_shape::few_large: return below(10) == 0 ? 20 + 20 * fraction() : fraction();
        }
        return 1;
    }

    [[nodiscard]] std::string text() const {
        std::string words = "load/capacity(moving):";
        for (auto const& n : nodes) {
            words +=
                " " + std::to_string(n.load) + "/" + (n.capacity == rota::unlimited ? "-" : std::to_string(n.capacity));
            if (n.moving > 0) words += "(" + std::to_string(n.moving) + ")";
            if (n.draining) words += "d";
        }
        return words + ", orphans: " + std::to_string(orphans) +
               ", weights: " + std::to_string(static_cast<int>(shape));
    }

    std::vector<node_spec> nodes;
    std::uint32_t orphans = 0;
    weight_shape shape = weight_shape::equal;

private:
    std::mt19937_64 random_;
};

}  // namespace rota_test
