// budgeted<S>: a bounded round is the best of its length (against brute force over loads), and what it holds back comes
// later, at the time that it says.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <set>
#include <vector>

#include <rota/strategy/budgeted.hpp>

#include "../catch.hpp"
#include "../support/view_builder.hpp"

namespace budgeted_test {

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

using loads = std::vector<std::uint32_t>;

// What is better, in this order: less held over capacity; more even.
std::uint32_t cost_of(loads const& load, std::vector<node_spec> const& nodes) {
    std::uint32_t cost = 0;
    for (std::size_t i = 0; i < load.size(); ++i) {
        cost += load[i] * load[i];
        if (load[i] > nodes[i].capacity) cost += 1000 * (load[i] - nodes[i].capacity);
    }
    return cost;
}

// The least cost that 0, 1, 2… moves reach from these loads.
std::vector<std::uint32_t> least_costs(loads const& start, std::vector<node_spec> const& nodes, std::size_t moves) {
    std::vector<std::uint32_t> best{cost_of(start, nodes)};
    std::set<loads> reached{start};
    while (best.size() <= moves) {
        std::set<loads> next = reached;  // fewer moves are as good
        auto least = best.back();
        for (auto const& before : reached) {
            for (std::size_t from = 0; from < before.size(); ++from) {
                for (std::size_t to = 0; to < before.size(); ++to) {
                    if (from == to || before[from] == 0 || before[to] >= nodes[to].capacity) continue;
                    auto after = before;
                    --after[from];
                    ++after[to];
                    least = std::min(least, cost_of(after, nodes));
                    next.insert(after);
                }
            }
        }
        reached = std::move(next);
        best.push_back(least);
    }
    return best;
}

}  // namespace

TEST_CASE("budgeted: each bounded round is the best of its length, on every view of 3 nodes and up to 6 schedules") {
    std::size_t rounds = 0;
    view_builder builder;
    std::uint32_t const capacities[] = {0, 2, 4, 9};
    for (std::uint32_t code = 0; code < 64 * 7 * 7 * 7; ++code) {
        std::vector<node_spec> nodes;
        std::uint32_t total = 0;
        for (auto rest = code / 64, limits = code % 64; nodes.size() < 3; rest /= 7, limits /= 4) {
            nodes.push_back({rest % 7, capacities[limits % 4]});
            total += rest % 7;
        }
        if (total > 6) continue;
        for (std::uint32_t orphans = 0; orphans <= 1; ++orphans) {
            builder.reset(nodes, orphans);
            auto const view = builder.view();
            auto const whole = plan_of(rota::least_moves{}, view);
            if (whole.voluntary == 0) continue;

            loads start;
            for (auto const& node : nodes) start.push_back(node.load);
            for (std::uint32_t i = 0; i < whole.forced; ++i) ++start[whole.moves[i].to];
            auto const best = least_costs(start, nodes, whole.voluntary);

            for (std::uint32_t limit = 0; limit <= whole.voluntary; ++limit) {
                auto const round = plan_of(rota::budgeted<>{.moves_per_round = limit}, view);
                auto after = start;
                for (std::size_t i = round.forced; i < round.moves.size(); ++i) {
                    --after[round.moves[i].from];
                    ++after[round.moves[i].to];
                }
                REQUIRE(round.forced == whole.forced);
                REQUIRE(round.voluntary == limit);
                REQUIRE(cost_of(after, nodes) == best[limit]);
                auto const [emptiest, fullest] = std::minmax_element(after.begin(), after.end());
                REQUIRE(round.spread_after == *fullest - *emptiest);
                REQUIRE(round.bound == whole.bound);
                ++rounds;
            }
        }
    }
    CHECK(rounds > 10'000);
}

TEST_CASE("budgeted: rounds that have arrived take no more moves together than one plan, and end balanced") {
    view_builder builder{{{100}, {7}, {0}, {3, 10}, {20, 4}}, 5};
    auto const whole = plan_of(rota::least_moves{}, builder.view());
    std::uint32_t moved = 0;
    for (int round = 0;; ++round) {
        REQUIRE(round < 100);
        auto const made = plan_of(rota::budgeted<>{.moves_per_round = 7}, builder.view());
        CHECK(made.voluntary <= 7);
        if (made.moves.empty()) break;
        moved += made.voluntary;
        builder.apply(made);
    }
    CHECK(moved == whole.voluntary);
    CHECK(rota::least_moves_bound(builder.view()) == 0);
}

TEST_CASE("budgeted: what is still on its way counts for the next round") {
    view_builder builder{{{20}, {0}}};
    rota::budgeted<> const strategy{.moves_per_round = 4};
    auto const first = plan_of(strategy, builder.view());
    CHECK(first.voluntary == 4);
    builder.apply(first, 3, false);

    CHECK(plan_of(strategy, builder.view()).voluntary == 1);

    SECTION("the leader's clock is known, and the moves were recent") {
        auto view = builder.view();
        rota::fencing_token const recent[] = {noon - second};
        view.now = noon;
        view.recent_moves = recent;
        CHECK(plan_of(strategy, view).voluntary == 1);
    }
}

TEST_CASE("budgeted: no more moves begin within a minute than allowed, and the next begins as soon as it may") {
    view_builder builder{{{100}, {0}}};
    auto view = builder.view();
    view.now = noon;
    rota::budgeted<> const strategy{.moves_per_minute = 3};

    SECTION("nothing has moved: three may, and the next in a minute") {
        auto const made = plan_of(strategy, view);
        CHECK(made.voluntary == 3);
        CHECK(made.revisit == 60s);
    }
    SECTION("two of those that moved are less than a minute old: one may, and the next when the older one is") {
        rota::fencing_token const recent[] = {noon - 61 * second, noon - 60 * second, noon - 50 * second,
                                              noon - second};
        view.recent_moves = recent;
        auto const made = plan_of(strategy, view);
        CHECK(made.voluntary == 1);
        CHECK(made.revisit == 10s);
    }
    SECTION("more have moved than may: the next when but two are left of them") {
        rota::fencing_token const recent[] = {noon - 30 * second, noon - 20 * second, noon - 9 * second,
                                              noon - 8 * second, noon - 7 * second};
        view.recent_moves = recent;
        auto const made = plan_of(strategy, view);
        CHECK(made.voluntary == 0);
        CHECK(made.revisit == 51s);
    }
    SECTION("tokens are ahead of the clock: no longer than a minute") {
        rota::fencing_token const recent[] = {noon + 500 * second, noon + 500 * second, noon + 500 * second};
        view.recent_moves = recent;
        CHECK(plan_of(strategy, view).revisit == 60s);
    }
    SECTION("the rest fits: nothing waits") {
        view_builder even{{{4}, {0}}};
        auto small = even.view();
        small.now = noon;
        auto const made = plan_of(strategy, small);
        CHECK(made.voluntary == 2);
        CHECK(made.revisit == rota::microseconds::max());
    }
    SECTION("no budget at all: nothing ever moves, and nobody need look again") {
        auto const made = plan_of(rota::budgeted<>{.moves_per_minute = 0}, view);
        CHECK(made.voluntary == 0);
        CHECK(made.revisit == rota::microseconds::max());
    }
}

TEST_CASE("budgeted: planned again whenever it says, it keeps the budget of every minute and loses no time") {
    view_builder builder{{{100}, {0}, {0}}};
    rota::budgeted<> const strategy{.moves_per_minute = 10};
    std::vector<rota::fencing_token> begun;
    auto now = noon;
    for (int round = 0; round < 1000; ++round) {
        auto view = builder.view();
        view.now = now;
        view.recent_moves = begun;
        auto const made = plan_of(strategy, view);
        builder.apply(made);
        for (std::uint32_t i = 0; i < made.voluntary; ++i) begun.push_back(now);
        if (made.revisit == rota::microseconds::max()) break;
        now += static_cast<rota::fencing_token>(made.revisit.count());
    }
    CHECK(begun.size() == 66);
    CHECK(now == noon + 6 * 60 * second);
    for (std::size_t i = 10; i < begun.size(); ++i) CHECK(begun[i] >= begun[i - 10] + 60 * second);
}

TEST_CASE("budgeted: orphans are placed whatever the budget, and do not use it up") {
    view_builder builder{{{10}, {0}}, 6};
    auto const made = plan_of(rota::budgeted<>{.moves_per_round = 1, .moves_per_minute = 1}, builder.view());
    CHECK(made.forced == 6);
    CHECK(made.voluntary == 1);
}

TEST_CASE("budgeted: a drained node is emptied at the same pace, before anything is evened out") {
    view_builder builder{{{5, 9, 0, 1, true}, {9}, {0}}};
    auto const made = plan_of(rota::budgeted<>{.moves_per_round = 6}, builder.view());
    REQUIRE(made.voluntary == 6);
    for (std::size_t i = 0; i < 5; ++i) CHECK(made.moves[i].why == rota::change_reason::drained);
    CHECK(made.moves[5].why == rota::change_reason::rebalanced);
}

TEST_CASE("budgeted: what has just changed hands stays for the cool-down, and is looked at as soon as that is over") {
    view_builder builder{{{6}, {0}}};
    for (std::uint32_t s = 0; s < 6; ++s) builder.schedule(s).generation = noon - (20 - s) * second;
    auto view = builder.view();
    view.now = noon;

    SECTION("some have cooled down: they go first, though others stand before them") {
        rota::budgeted<> const strategy{.cool_down = 17s};
        auto const made = plan_of(strategy, view);
        CHECK(made.voluntary == 3);
        for (auto const& step : made.moves) CHECK(step.schedule < 3);
    }
    SECTION("none has: the plan says when the first will") {
        rota::budgeted<> const strategy{.cool_down = 30s};
        auto const made = plan_of(strategy, view);
        CHECK(made.voluntary == 0);
        CHECK(made.revisit == 10s + 1us);
        view.now += static_cast<rota::fencing_token>(made.revisit.count());
        CHECK(plan_of(strategy, view).voluntary == 1);
    }
    SECTION("the group is even: nothing waits") {
        view_builder even{{{3}, {3}}};
        for (std::uint32_t s = 0; s < 6; ++s) even.schedule(s).generation = noon;
        view = even.view();
        view.now = noon;
        CHECK(plan_of(rota::budgeted<>{.cool_down = 30s}, view).revisit == rota::microseconds::max());
    }
    SECTION("the server's clock is not known: there is no cool-down") {
        view.now = 0;
        CHECK(plan_of(rota::budgeted<>{.cool_down = 30s}, view).voluntary == 3);
    }
    SECTION("a stricter rule of the view's own is kept") {
        view.settled_before = noon - 19 * second;
        CHECK(plan_of(rota::budgeted<>{.cool_down = 1s}, view).voluntary == 1);
    }
}

TEST_CASE("budgeted: without a bound it is what S plans") {
    view_builder builder{{{50}, {3, 5}, {0}, {12, 6}}, 9};
    auto const view = builder.view();
    auto const made = plan_of(rota::budgeted<>{}, view);
    auto const whole = plan_of(rota::least_moves{}, view);
    CHECK(made.moves == whole.moves);
    CHECK(made.spread_after == whole.spread_after);
}

}  // namespace budgeted_test
