// thresholded<S>: what does not have to move stays until it is worth it, in S's own measure.
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <rota/strategy/thresholded.hpp>

#include "../catch.hpp"
#include "../support/view_builder.hpp"

namespace thresholded_test {

namespace {

using rota_test::plan_fault;
using rota_test::view_builder;

template <typename S>
rota::plan plan_of(S const& strategy, rota::cluster_view const& view) {
    rota::plan made;
    strategy.make_plan(view, made);
    CHECK(plan_fault(view, made) == nullptr);
    return made;
}

// Moves one schedule, and states some imbalance.
struct one_move {
    double imbalance = 0;

    void make_plan(rota::cluster_view const&, rota::plan& into) const {
        into.clear();
        into.moves.push_back({.schedule = 0, .from = 0, .to = 1});
        into.voluntary = 1;
        into.imbalance = imbalance;
    }
};

}  // namespace

TEST_CASE("thresholded: evens out only beyond a fraction of the mean load") {
    view_builder builder{{{12}, {10}, {8}}};  // two off a mean of ten
    auto const view = builder.view();
    CHECK(rota::imbalance(view) == 0.2);

    auto const held_back = plan_of(rota::thresholded<>{.threshold = 0.2}, view);
    CHECK(held_back.moves.empty());
    CHECK(held_back.voluntary == 0);
    CHECK(held_back.bound == 2);  // what it would take is still said
    CHECK(held_back.spread_before == 4);
    CHECK(held_back.spread_after == 4);

    auto const made = plan_of(rota::thresholded<>{.threshold = 0.19}, view);
    CHECK(made.voluntary == 2);
    CHECK(made.spread_after == 0);
}

TEST_CASE("thresholded: 0 evens out whenever S would") {
    view_builder builder{{{1001}, {1000}, {999}}};
    CHECK(plan_of(rota::thresholded<>{.threshold = 0}, builder.view()).voluntary == 1);
}

TEST_CASE("thresholded: orphans are placed, and drained and overfull nodes relieved, whatever the threshold") {
    view_builder builder{{{4, 9, 0, 1, true}, {20, 18}, {12}, {9}}, 2};
    auto const made = plan_of(rota::thresholded<>{.threshold = 1e9}, builder.view());
    CHECK(made.forced == 2);
    CHECK(made.voluntary == 6);
    for (std::size_t i = made.forced; i < made.moves.size(); ++i) CHECK(made.moves[i].required());
    CHECK(made.spread_after == 18);  // from 20 / 0 to 18 on the full one, none on the drained one
}

TEST_CASE("thresholded: the imbalance is S's own where S states one") {
    view_builder builder{{{5}, {5}}};
    auto const view = builder.view();
    using strategy = rota::thresholded<one_move>;

    CHECK(plan_of(strategy{.threshold = 0.5, .strategy = {0.51}}, view).voluntary == 1);
    CHECK(plan_of(strategy{.threshold = 0.5, .strategy = {0.5}}, view).voluntary == 0);
    // Not stated, or no number: by count these nodes are even.
    CHECK(plan_of(strategy{.threshold = 0.5, .strategy = {-1}}, view).voluntary == 0);
    CHECK(plan_of(strategy{.threshold = 0.5, .strategy = {std::numeric_limits<double>::quiet_NaN()}}, view).voluntary ==
          0);
    CHECK(plan_of(strategy{.threshold = 0.5, .strategy = {-1}}, view).imbalance == 0);
}

TEST_CASE("thresholded: a threshold that is no number moves nothing") {
    view_builder builder{{{50}, {0}}};
    CHECK(
        plan_of(rota::thresholded<>{.threshold = std::numeric_limits<double>::quiet_NaN()}, builder.view()).voluntary ==
        0);
}

TEST_CASE("thresholded: no ping-pong over 10,000 rounds of loads that jitter below the threshold") {
    rota::thresholded<> const strategy{.threshold = 0.2};
    std::mt19937_64 random{7};
    view_builder builder;
    rota::plan made;
    std::size_t uneven = 0;
    for (int round = 0; round < 10'000; ++round) {
        std::vector<rota_test::node_spec> nodes(10);
        for (auto& node : nodes) node.load = 45 + static_cast<std::uint32_t>(random() % 9);  // 49 ± 4: under a tenth
        builder.reset(nodes);
        strategy.make_plan(builder.view(), made);
        REQUIRE(made.moves.empty());
        if (made.bound > 0) ++uneven;
    }
    CHECK(uneven > 9'000);  // without the threshold nearly each of them would have moved something
}

}  // namespace thresholded_test
