// How long constrained<least_moves> takes to plan for a large group with rules: zones and hardware as labels, some pins,
// some groups, about twenty classes of schedules besides.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <rota/attributes.hpp>
#include <rota/strategy/constrained.hpp>

#include "../support/view_builder.hpp"

namespace rota_test {

struct constrained_result {
    std::string name;
    double milliseconds = 0;  ///< median
    std::uint32_t placed = 0;
    std::uint32_t moved = 0;
    std::uint32_t bound = 0;
    bool exact = false;  ///< moved == bound, all is placed, and what the plan leads to needs no further one
};

/// From nothing, balanced, one node lost, one joined, and one zone's label taken from a tenth of its nodes.
inline std::vector<constrained_result> constrained_results(std::uint32_t schedules = 250'000,
                                                           std::uint32_t nodes = 5'000, std::uint32_t rounds = 5) {
    constexpr std::uint32_t zones = 5;
    auto const zone = [](std::uint32_t i) { return "zone-" + std::to_string(i % zones); };
    auto const labels_of = [&](std::uint32_t n) {
        std::vector<std::string> labels{zone(n)};
        if (n % 3 == 0) labels.push_back("ssd");
        if (n % 16 == 0) labels.push_back("gpu");
        if (n % 7 == 0) labels.push_back("old");
        return labels;
    };
    view_builder builder;
    std::vector<node_spec> specs(nodes);
    for (std::uint32_t n = 0; n < nodes; ++n) {
        specs[n].labels = labels_of(n);
        specs[n].capacity = schedules / nodes * 2 + 2;
    }
    builder.reset(specs, schedules);

    std::vector<std::uint32_t> common{0, 0, 0, 0, 0, 0, 0, 0};  // half of the schedules may be anywhere
    common.push_back(builder.add_kind({.required = {"ssd"}}));
    common.push_back(builder.add_kind({.forbidden = {"old"}}));
    common.push_back(builder.add_kind({.forbidden = {"gpu", "old"}}));
    common.push_back(builder.add_kind({.required = {"ssd"}, .forbidden = {"old"}}));
    for (std::uint32_t z = 0; z < zones; ++z) common.push_back(builder.add_kind({.required = {zone(z)}}));
    for (std::uint32_t z = 0; z < 3; ++z) common.push_back(builder.add_kind({.required = {"ssd", zone(z)}}));
    auto const gpu = builder.add_kind({.required = {"gpu"}});
    std::vector<std::uint32_t> groups;
    for (std::uint32_t g = 0; g < 5; ++g) groups.push_back(builder.add_kind({.group = "group-" + std::to_string(g)}));
    std::vector<std::uint32_t> pins;
    for (std::uint32_t p = 0; p < 50 && p < nodes; ++p) {
        pins.push_back(builder.add_kind({.pin = std::string{builder.node(p * (nodes / 50 + 1) % nodes).id}}));
    }
    for (std::uint32_t s = 0; s < schedules; ++s) {
        auto const mixed = s * 2654435761U >> 7;
        auto kind = common[mixed % common.size()];
        if (s % 97 == 0) kind = gpu;
        if (s % 1'009 == 0) kind = groups[s / 1'009 % groups.size()];
        if (s % 503 == 0) kind = pins[s / 503 % pins.size()];
        builder.schedule(s).kind = kind;
    }

    std::vector<constrained_result> results;
    rota::constrained<> const strategy;
    rota::plan plan;
    auto const measure = [&](std::string name) {
        auto const view = builder.view();
        std::vector<double> times;
        for (std::uint32_t round = 0; round <= rounds; ++round) {  // the first one warms up and does not count
            auto const begin = std::chrono::steady_clock::now();
            strategy.make_plan(view, plan);
            std::chrono::duration<double, std::milli> const took = std::chrono::steady_clock::now() - begin;
            if (round > 0) times.push_back(took.count());
        }
        std::sort(times.begin(), times.end());
        results.push_back({std::move(name), times[times.size() / 2], plan.forced, plan.voluntary, plan.bound});
        auto const valid = plan_fault(view, plan) == nullptr;
        builder.apply(plan);
        rota::plan next;
        strategy.make_plan(builder.view(), next);
        results.back().exact = valid && plan.voluntary == plan.bound && plan.unplaced == 0 && next.moves.empty();
    };
    measure("from nothing");
    measure("balanced");
    builder.lose(nodes - 1);  // to nobody pinned
    measure("one node lost");
    builder.join(specs[0].capacity);
    measure("one node joined");
    for (std::uint32_t n = 0; n < builder.node_count(); n += zones * 10) builder.set_labels(n, {"ssd"});
    measure("labels taken away");
    return results;
}

}  // namespace rota_test
