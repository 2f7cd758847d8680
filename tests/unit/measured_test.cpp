// measured<S>: hot spots are relieved by what nodes report, and nothing else ever moves because of it.
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <rota/check_strategy.hpp>
#include <rota/strategy/budgeted.hpp>
#include <rota/strategy/constrained.hpp>
#include <rota/strategy/graced.hpp>
#include <rota/strategy/measured.hpp>
#include <rota/strategy/thresholded.hpp>
#include <rota/strategy/zoned.hpp>

#include "../catch.hpp"
#include "../support/effort.hpp"
#include "../support/view_builder.hpp"

namespace measured_test {

namespace {

using namespace std::chrono_literals;
using rota_test::node_spec;
using rota_test::plan_fault;
using rota_test::view_builder;

constexpr rota::fencing_token second = 1'000'000;
constexpr rota::fencing_token noon = 1'700'000'000 * second;

template <typename S>
rota::plan plan_of(S const& strategy, rota::cluster_view const& view) {
    rota::plan made;
    strategy.make_plan(view, made);
    CHECK(plan_fault(view, made) == nullptr);
    return made;
}

// Keeps what it was shown.
struct witness {
    struct sight {
        std::vector<double> node_weights{};
        std::vector<double> weights{};
    };
    sight* seen;

    rota::plan make_plan(rota::cluster_view const& view) const {
        *seen = {};
        for (auto const& node : view.nodes) seen->node_weights.push_back(node.weight);
        for (auto const& one : view.schedules) seen->weights.push_back(one.weight);
        rota::plan made;
        made.unplaced = static_cast<std::uint32_t>(view.orphans.size());
        return made;
    }
};

}  // namespace

TEST_CASE("measured: a node that reports more gives to those that report less") {
    view_builder builder{{{10}, {10}, {10}}};
    builder.node(0).reported = 100;
    builder.node(1).reported = 40;
    builder.node(2).reported = 40;
    auto const made = plan_of(rota::measured<>{}, builder.view());
    // Sixty each is even: four schedules of ten.
    CHECK(made.voluntary == 4);
    for (auto const& step : made.moves) CHECK(step.from == 0);
    CHECK(made.spread_before == Approx(60));
    CHECK(made.spread_after == Approx(0));
    CHECK(made.imbalance == Approx(40.0 / 60));
}

TEST_CASE("measured: the weights on a node add up to what it reports; others are in proportion") {
    view_builder builder{{{2}, {2}, {2}}, 1};
    for (std::uint32_t s = 0; s < 7; ++s) builder.schedule(s).weight = 1 + s % 2;  // 1 2 | 1 2 | 1 2 | 1
    builder.node(0).reported = 30;
    builder.node(1).reported = 15;
    witness::sight seen;
    plan_of(rota::measured<witness>{.strategy = {&seen}}, builder.view());
    CHECK(seen.node_weights ==
          std::vector<double>{30, 15, 22.5});  // the third reports nothing: 7.5 per weight, the mean
    CHECK(seen.weights == std::vector<double>{10, 20, 5, 10, 7.5, 15, 7.5});
}

TEST_CASE("measured: reports that make no sense are none") {
    for (double const odd : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), -3.0}) {
        view_builder builder{{{2}, {2}, {2}}, 1};
        builder.node(0).reported = 30;
        builder.node(1).reported = 10;
        builder.node(2).reported = odd;
        witness::sight seen;
        plan_of(rota::measured<witness>{.strategy = {&seen}}, builder.view());
        CHECK(seen.node_weights == std::vector<double>{30, 10, 20});
    }
}

TEST_CASE("measured: without a report it is what S plans, by the weights as given") {
    view_builder builder{{{10}, {2}, {3}}, 2};
    auto const view = builder.view();
    CHECK(plan_of(rota::measured<>{}, view).moves == plan_of(rota::weighted_least_moves{}, view).moves);
}

TEST_CASE("measured: even reports move nothing, whatever the weights say") {
    view_builder builder{{{30}, {10}, {1}}};
    for (std::uint32_t n = 0; n < 3; ++n) builder.node(n).reported = 50 + n;
    auto const made = plan_of(rota::measured<>{}, builder.view());
    CHECK(made.moves.empty());
    CHECK(made.bound == 0);
    CHECK(made.spread_before == 2);
    CHECK(made.spread_after == 2);
    CHECK(made.imbalance == Approx(1.0 / 51));
}

TEST_CASE("measured: loads near zero never move anything, however they differ") {
    view_builder builder{{{30}, {10}, {0}}};
    builder.node(0).reported = 0.9;
    builder.node(1).reported = 0.0001;
    builder.node(2).reported = 0;
    CHECK(plan_of(rota::measured<>{.floor = 1}, builder.view()).moves.empty());
    CHECK_FALSE(plan_of(rota::measured<>{.floor = 0}, builder.view()).moves.empty());

    SECTION("also where one reports nothing") {
        builder.node(1).reported = -1;
        CHECK(plan_of(rota::measured<>{.floor = 1}, builder.view()).moves.empty());
    }
    SECTION("and where orphans are placed at the same time") {
        view_builder more{{{30}, {10}, {20}}, 3};
        for (std::uint32_t n = 0; n < 3; ++n) more.node(n).reported = 0.3 * n;
        auto const made = plan_of(rota::measured<>{.floor = 1, .tolerance = 0.5}, more.view());
        CHECK(made.forced == 3);
        CHECK(made.voluntary == 0);
    }
}

TEST_CASE("measured: orphans go where least is measured, not where least is owned") {
    view_builder builder{{{2}, {20}}, 3};
    builder.node(0).reported = 90;
    builder.node(1).reported = 60;
    auto const made = plan_of(rota::measured<>{.tolerance = 10}, builder.view());
    CHECK(made.forced == 3);
    for (auto const& step : made.moves) CHECK(step.to == 1);
}

TEST_CASE("measured: where orphans are placed, what differs by less than the tolerance stays all the same") {
    view_builder builder{{{10}, {10}, {10}}, 1};
    for (std::uint32_t n = 0; n < 3; ++n) builder.node(n).reported = 116 - 16.0 * n;
    auto const made = plan_of(rota::measured<>{.tolerance = 0.2}, builder.view());
    CHECK(made.forced == 1);
    CHECK(made.voluntary == 0);
    CHECK(plan_of(rota::measured<>{.tolerance = 0.05}, builder.view()).voluntary == 1);
}

TEST_CASE("measured: drained and overfull nodes are relieved even if all reports are even") {
    view_builder builder{{{2}, {6, 4}, {2}}};
    for (std::uint32_t n = 0; n < 3; ++n) builder.node(n).reported = 50;
    builder.drain(0);
    auto const made = plan_of(rota::measured<>{.tolerance = 10}, builder.view());
    CHECK(made.voluntary == 4);
    for (auto const& step : made.moves) CHECK(step.required());
}

TEST_CASE("measured: nothing is evened out until the reports can show the latest moves") {
    view_builder builder{{{10}, {10}}};
    builder.node(0).reported = 100;
    builder.node(1).reported = 20;
    auto view = builder.view();
    view.now = noon;
    rota::measured<> const strategy{.settle = 30s};
    CHECK(plan_of(strategy, view).voluntary > 0);

    rota::fencing_token const recent[] = {noon - 50 * second, noon - 20 * second};
    view.recent_moves = recent;
    auto const early = plan_of(strategy, view);
    CHECK(early.voluntary == 0);
    CHECK(early.revisit == 10s);

    view.now += 10 * second;
    CHECK(plan_of(strategy, view).voluntary > 0);
}

TEST_CASE("measured: what has just arrived counts in addition to the report, and much of it makes all wait") {
    view_builder builder{{{10}, {10}, {10}}};
    for (std::uint32_t n = 0; n < 3; ++n) builder.node(n).reported = 100;
    builder.node(1).reported = 5;  // it was restarted, and has just got its schedules back
    for (std::uint32_t s = 0; s < 30; ++s) builder.schedule(s).generation = noon - 500 * second;
    for (std::uint32_t s = 10; s < 20; ++s) builder.schedule(s).generation = noon - 5 * second;
    auto view = builder.view();
    view.now = noon;
    auto const made = plan_of(rota::measured<>{.settle = 30s}, view);
    CHECK(made.moves.empty());
    CHECK(made.revisit == 25s);

    SECTION("even if it would be much, together with the rest") {
        view_builder more{{{10}, {20}, {10}}};
        for (std::uint32_t n = 0; n < 3; ++n) more.node(n).reported = n == 2 ? 60 : 100;
        for (std::uint32_t s = 20; s < 30; ++s) more.schedule(s).generation = noon - 5 * second;
        view = more.view();
        view.now = noon;
        auto const early = plan_of(rota::measured<>{.settle = 30s}, view);
        CHECK(early.moves.empty());
        CHECK(early.imbalance > 0.4);
        CHECK(early.revisit == 25s);
        view.now += 25 * second;
        CHECK(plan_of(rota::measured<>{.settle = 30s}, view).voluntary > 0);  // by now they are in the report
    }
    SECTION("a few new ones do not: they have the mean weight") {
        for (std::uint32_t s = 11; s < 20; ++s) builder.schedule(s).generation = noon - 500 * second;
        view = builder.view();
        view.now = noon;
        witness::sight seen;
        builder.node(1).reported = 45;
        plan_of(rota::measured<witness>{.settle = 30s, .strategy = {&seen}}, view);
        auto const mean = (100 + 45 + 100) / 29.0;
        CHECK(seen.node_weights[1] == Approx(45 + mean));
        CHECK(seen.weights[11] == Approx(5));
        CHECK(seen.weights[10] == Approx(mean));
    }
}

TEST_CASE("measured: a hot spot is relieved in a few rounds although reports come late, and then nothing moves") {
    // What each schedule really costs is known to nobody; the nodes measure sums, smoothed.
    std::vector<double> cost(60, 1);
    for (int s = 0; s < 10; ++s) cost[static_cast<std::size_t>(s)] = 5 + s;  // all on the first node
    view_builder builder{{{15}, {15}, {15}, {15}}};
    std::map<std::string, double> smoothed;
    auto now = noon;
    std::vector<rota::fencing_token> begun;
    std::vector<int> moves_of(60, 0);
    auto const measure = [&] {
        auto const view = builder.view();
        double worst = 0;
        for (std::uint32_t n = 0; n < 4; ++n) {
            double real = 0;
            for (auto const s : view.nodes[n].schedules) real += cost[s];
            auto& kept = smoothed.try_emplace(std::string{view.nodes[n].id}, real).first->second;
            kept += (real - kept) * 0.2;  // a mean over the last five seconds or so
            builder.node(n).reported = kept;
            worst = std::max(worst, real);
        }
        return worst;
    };
    measure();
    std::uint32_t last_move = 0;
    for (std::uint32_t t = 0; t < 600; ++t, now += second) {
        auto view = builder.view();
        view.now = now;
        view.recent_moves = begun;
        auto const made = plan_of(rota::measured<>{.settle = 30s}, view);
        for (auto const& step : made.moves) {
            ++moves_of[step.schedule];
            begun.push_back(now);
            last_move = t;
        }
        builder.apply(made, made.moves.size(), true, now);
        measure();
    }
    CHECK(measure() <= 1.35 * (95 + 50) / 4);  // from 2.76 times the mean
    CHECK(last_move < 200);
    CHECK(begun.size() <= 30);
    for (auto const count : moves_of) CHECK(count <= 2);
}

TEST_CASE("measured: no ping-pong over 10,000 rounds of reports that jitter within the tolerance") {
    std::mt19937_64 random{9};
    std::uniform_real_distribution<double> load{90, 109};  // ten percent off the mean at most
    view_builder builder{{{12}, {9}, {10}, {11}, {10}}};
    rota::measured<> const strategy{.tolerance = 0.2};
    rota::plan made;
    for (int round = 0; round < rota_test::rounds(10'000); ++round) {
        for (std::uint32_t n = 0; n < 5; ++n) builder.node(n).reported = load(random);
        auto view = builder.view();
        view.now = noon + static_cast<rota::fencing_token>(round) * second;
        strategy.make_plan(view, made);
        REQUIRE(made.moves.empty());
    }
}

TEST_CASE("measured: no ping-pong over 10,000 rounds of reports that jitter below the floor") {
    std::mt19937_64 random{10};
    std::uniform_real_distribution<double> load{0, 1};
    view_builder builder{{{12}, {0}, {10}, {50}, {10}}};
    rota::measured<> const strategy{.floor = 1};
    rota::plan made;
    for (int round = 0; round < rota_test::rounds(10'000); ++round) {
        for (std::uint32_t n = 0; n < 5; ++n) builder.node(n).reported = load(random);
        strategy.make_plan(builder.view(), made);
        REQUIRE(made.moves.empty());
    }
}

TEST_CASE("measured: keeps the contract, alone and in company, whatever is reported") {
    auto const check = [](auto const& strategy) {
        auto const report = rota::check_strategy(strategy, {.seed = 3, .groups = 1000});
        INFO(report.text());
        CHECK(report.passed);
    };
    using rota::weighted_least_moves;
    check(rota::measured<>{});
    check(rota::measured<>{.floor = 0, .tolerance = 0, .settle = 0s});
    check(rota::measured<rota::zoned<weighted_least_moves>>{});
    check(rota::budgeted<rota::graced<rota::measured<>>>{.moves_per_round = 2, .moves_per_minute = 9});
    check(rota::measured<rota::thresholded<weighted_least_moves>>{.tolerance = 0});
}

}  // namespace measured_test
