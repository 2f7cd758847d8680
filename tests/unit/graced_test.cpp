// graced<S>: a node that left may come back before its schedules move, and finds them again.
#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <rota/check_strategy.hpp>
#include <rota/strategy/constrained.hpp>
#include <rota/strategy/graced.hpp>
#include <rota/strategy/rendezvous.hpp>

#include "../catch.hpp"
#include "../support/view_builder.hpp"

namespace graced_test {

namespace {

using namespace std::chrono_literals;
using rota::change_reason;
using rota_test::plan_fault;
using rota_test::view_builder;

template <typename S>
rota::plan plan_of(S const& strategy, rota::cluster_view const& view) {
    rota::plan made;
    strategy.make_plan(view, made);
    CHECK(plan_fault(view, made) == nullptr);
    return made;
}

std::uint32_t returned(rota::plan const& made) {
    std::uint32_t count = 0;
    for (auto const& step : made.moves) count += step.forced() && step.why == change_reason::returned;
    return count;
}

constexpr auto waits = rota::no_place::waits;

}  // namespace

TEST_CASE("graced: orphans of a node that left wait for it, until the grace is over") {
    view_builder builder{{{4}, {4}, {4}}};
    builder.lose(0, true);
    rota::graced<> const strategy{.grace = 60s};

    builder.departure(0).ago = 10s;
    auto const early = plan_of(strategy, builder.view());
    CHECK(early.moves.empty());
    CHECK(early.unplaced == 4);
    REQUIRE(early.stuck.size() == 4);
    for (auto const& one : early.stuck) CHECK(one.why == waits);
    CHECK(early.revisit == 50s);

    builder.departure(0).ago = 60s;
    auto const late = plan_of(strategy, builder.view());
    CHECK(late.forced == 4);
    CHECK(late.stuck.empty());
    CHECK(late.revisit == rota::microseconds::max());
}

TEST_CASE("graced: orphans of a node that crashed do not wait, unless asked") {
    view_builder builder{{{4}, {4}, {4}}};
    builder.lose(0);
    CHECK(plan_of(rota::graced<>{.grace = 60s}, builder.view()).forced == 4);
    CHECK(plan_of(rota::graced<>{.grace = 60s, .crashed_too = true}, builder.view()).forced == 0);
}

TEST_CASE("graced: each departure has its own grace, and the shortest rest is the one to wait for") {
    view_builder builder{{{1}, {2}, {3}, {4}}};
    builder.lose(0, true);
    builder.lose(0, true);
    builder.lose(0, false);
    builder.departure(0).ago = 90s;  // over
    builder.departure(1).ago = 50s;
    builder.departure(2).ago = 20s;
    auto const made = plan_of(rota::graced<>{.grace = 60s, .crashed_too = true}, builder.view());
    CHECK(made.forced == 1);
    CHECK(made.stuck.size() == 5);
    CHECK(made.revisit == 10s);
}

TEST_CASE("graced: orphans that were nobody's are placed at once") {
    view_builder builder{{{4}, {4}}, 3};
    builder.lose(0, true);
    auto const made = plan_of(rota::graced<>{}, builder.view());
    CHECK(made.forced == 3);
    CHECK(made.unplaced == 4);
}

TEST_CASE("graced: a node that is back gets its own again, and nothing else moves") {
    view_builder builder{{{5}, {5}, {5}}};
    auto const before = builder.view();
    std::set<std::uint32_t> const own{before.nodes[0].schedules.begin(), before.nodes[0].schedules.end()};
    auto const name = std::string{before.nodes[0].id};
    builder.lose(0, true);
    builder.departure(0).ago = 5s;
    builder.join();
    builder.node(2).id = name;  // with another incarnation

    auto const made = plan_of(rota::graced<>{}, builder.view());
    CHECK(made.moves.size() == 5);
    CHECK(returned(made) == 5);
    CHECK(made.voluntary == 0);
    CHECK(made.unplaced == 0);
    for (auto const& step : made.moves) {
        CHECK(step.to == 2);
        CHECK(own.contains(step.schedule));
        CHECK(step.reason() == change_reason::returned);
    }
    builder.apply(made);
    CHECK(plan_of(rota::graced<>{}, builder.view()).moves.empty());
}

TEST_CASE("graced: without grace the restart of a node moves what grace saves") {
    view_builder builder{{{5}, {5}, {5}}};
    auto const name = std::string{builder.view().nodes[0].id};
    builder.lose(0, true);
    builder.apply(plan_of(rota::least_moves{}, builder.view()));
    builder.join();
    builder.node(2).id = name;
    CHECK(plan_of(rota::least_moves{}, builder.view()).voluntary == 5);
}

TEST_CASE("graced: who crashed and is back before its orphans were placed gets them, asked or not") {
    view_builder builder{{{5}, {5}}};
    auto const name = std::string{builder.view().nodes[0].id};
    builder.lose(0);
    builder.join();
    builder.node(1).id = name;
    CHECK(returned(plan_of(rota::graced<>{}, builder.view())) == 5);
    builder.departure(0).ago = 60s;  // too late
    CHECK(returned(plan_of(rota::graced<>{}, builder.view())) == 0);
}

TEST_CASE(
    "graced: a node that is back with less room gets what fits; S places the rest, and counts what was given back") {
    view_builder builder{{{6}, {2}, {2, 2}}};
    auto const name = std::string{builder.view().nodes[0].id};
    builder.lose(0, true);
    builder.join(4);
    builder.node(2).id = name;

    auto const made = plan_of(rota::graced<>{}, builder.view());
    CHECK(returned(made) == 4);
    CHECK(made.forced == 6);
    for (std::size_t i = 4; i < 6; ++i) CHECK(made.moves[i].to == 0);  // the only one with room left
    CHECK(made.voluntary == 0);
}

TEST_CASE("graced: a node that is back but drained gets nothing, and nobody waits for it") {
    view_builder builder{{{6}, {2}}};
    auto const name = std::string{builder.view().nodes[0].id};
    builder.lose(0, true);
    builder.join();
    builder.node(1).id = name;
    builder.drain(1);
    auto const made = plan_of(rota::graced<>{}, builder.view());
    CHECK(returned(made) == 0);
    CHECK(made.forced == 6);
}

TEST_CASE("graced: nothing is given back that rules forbid") {
    view_builder builder{{{6}, {0}}};
    auto const name = std::string{builder.view().nodes[0].id};
    auto const pinned_there = builder.add_kind({.pin = name});
    auto const pinned_elsewhere = builder.add_kind({.pin = "n00001"});
    auto const labelled = builder.add_kind({.required = {"fast"}});
    auto const unwanted = builder.add_kind({.forbidden = {"old", "slow"}});
    auto const alone = builder.add_kind({.group = "pair"});
    builder.schedule(0).kind = pinned_there;
    builder.schedule(1).kind = pinned_elsewhere;
    builder.schedule(2).kind = labelled;
    builder.schedule(3).kind = unwanted;
    builder.schedule(4).kind = alone;
    builder.schedule(5).kind = alone;  // was there against the rule
    builder.lose(0, true);
    builder.join();
    builder.node(1).id = name;

    auto const back_on = [&] {
        std::set<std::uint32_t> back;
        for (auto const& step : plan_of(rota::graced<>{}, builder.view()).moves) {
            if (step.why == change_reason::returned) back.insert(step.schedule);
        }
        return back;
    };
    SECTION("a node without labels") { CHECK(back_on() == std::set<std::uint32_t>{0, 3, 4}); }
    SECTION("one that has what is required") {
        builder.set_labels(1, {"big", "fast"});
        CHECK(back_on() == std::set<std::uint32_t>{0, 2, 3, 4});
    }
    SECTION("one that has what is forbidden") {
        builder.set_labels(1, {"slow"});
        CHECK(back_on() == std::set<std::uint32_t>{0, 4});
    }
}

TEST_CASE("graced: what a node was given of a group meanwhile keeps its old one away") {
    view_builder builder{{{1}, {2}}};
    auto const name = std::string{builder.view().nodes[0].id};
    auto const alone = builder.add_kind({.group = "pair"});
    builder.schedule(0).kind = alone;
    builder.schedule(1).kind = alone;
    builder.lose(0, true);
    builder.join();
    builder.node(1).id = name;
    rota::plan other;
    other.moves.push_back({.schedule = 1, .from = 0, .to = 1});
    builder.apply(other);
    CHECK(returned(plan_of(rota::graced<>{}, builder.view())) == 0);
}

TEST_CASE("graced: a rolling restart of every node moves nothing between live nodes") {
    view_builder builder;
    std::vector<rota_test::node_spec> nodes(10);
    for (auto& node : nodes) node.load = 20;
    builder.reset(nodes);
    std::uint32_t placed_elsewhere = 0;
    std::uint32_t moved = 0;
    rota::graced<> const strategy{.grace = 60s};
    auto const settle = [&] {
        auto const made = plan_of(strategy, builder.view());
        placed_elsewhere += made.forced - returned(made);
        moved += made.voluntary;
        builder.apply(made);
    };
    for (std::uint32_t departed = 0; departed < 10; ++departed) {
        builder.lose(0, true);
        settle();
        builder.join();
        builder.node(9).id = builder.departure(departed).id;
        settle();
    }
    CHECK(placed_elsewhere == 0);
    CHECK(moved == 0);
    CHECK(builder.view().orphans.empty());
}

TEST_CASE("graced: S sees what is given back, and keeps another of its group away") {
    view_builder builder{{{1}, {5}}, 1};
    auto const alone = builder.add_kind({.group = "pair"});
    builder.schedule(0).kind = alone;
    builder.schedule(6).kind = alone;  // an orphan; its node would be the emptier one
    auto const name = std::string{builder.view().nodes[0].id};
    builder.lose(0, true);
    builder.join();
    builder.node(1).id = name;
    auto const made = plan_of(rota::graced<rota::constrained<>>{}, builder.view());
    CHECK(returned(made) == 1);
    REQUIRE(made.forced == 2);
    CHECK(made.moves[0].to == 1);
    CHECK(made.moves[1].to == 0);
}

TEST_CASE("graced: keeps the contract with every S, on whatever group") {
    auto const check = [](auto const& strategy) {
        auto const report = rota::check_strategy(strategy, {.seed = 17, .groups = 1000});
        INFO(report.text());
        CHECK(report.passed);
    };
    check(rota::graced<>{});
    check(rota::graced<rota::rendezvous>{.crashed_too = true});
    check(rota::graced<rota::constrained<>>{});
}

}  // namespace graced_test
