// weighted_least_moves against brute force over every distribution of small views, and every one that steps can reach: how
// heavy the heaviest node has to be, and how many moves it takes; and against bounds, and what it says of balance, on
// thousands of larger views.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <rota/strategy/weighted_least_moves.hpp>

#include "../catch.hpp"
#include "../support/effort.hpp"
#include "../support/makespan_bound.hpp"
#include "../support/random_views.hpp"
#include "../support/reachable.hpp"
#include "../support/view_builder.hpp"

namespace weighted_least_moves_test {

namespace {

using rota_test::makespan_bound;
using rota_test::node_spec;
using rota_test::plan_fault;
using rota_test::random_views;
using rota_test::reachable;
using rota_test::view_builder;

constexpr auto none = rota::cluster_view::none;

rota::plan plan_of(rota::cluster_view const& view, double tolerance = 0.01) {
    rota::plan made;
    rota::weighted_least_moves{.tolerance = tolerance}.make_plan(view, made);
    return made;
}

bool same(rota::plan const& a, rota::plan const& b) {
    return a.moves == b.moves && a.stuck == b.stuck && a.forced == b.forced && a.voluntary == b.voluntary &&
           a.bound == b.bound && a.unplaced == b.unplaced && a.spread_before == b.spread_before &&
           a.spread_after == b.spread_after && a.imbalance == b.imbalance && a.interchangeable == b.interchangeable;
}

bool at_most(double a, double b) { return a <= b + 1e-9 * std::abs(b); }

// Gives the schedules of the builder these weights, in the order in which it numbers them.
void weigh(view_builder& builder, std::vector<double> const& weights) {
    REQUIRE(builder.schedule_count() == weights.size());
    for (std::uint32_t i = 0; i < weights.size(); ++i) builder.schedule(i).weight = weights[i];
}

struct state {
    std::vector<std::uint32_t> owners;
    std::vector<double> weights;  // of nodes
    std::vector<std::uint32_t> counts;
};

state state_after(rota::cluster_view const& view, rota::plan const& plan) {
    state s{{}, std::vector<double>(view.nodes.size()), std::vector<std::uint32_t>(view.nodes.size())};
    for (auto const& schedule : view.schedules) s.owners.push_back(schedule.owner);
    for (auto const& step : plan.moves) s.owners[step.schedule] = step.to;
    for (std::size_t i = 0; i < s.owners.size(); ++i) {
        if (s.owners[i] == none) continue;
        s.weights[s.owners[i]] += view.schedules[i].weight;
        ++s.counts[s.owners[i]];
    }
    return s;
}

double heaviest(state const& s) { return *std::max_element(s.weights.begin(), s.weights.end()); }

double heaviest_member(rota::cluster_view const& view, state const& s) {
    double heaviest = 0;
    for (std::size_t i = 0; i < s.weights.size(); ++i) {
        if (view.nodes[i].capacity > 0) heaviest = std::max(heaviest, s.weights[i]);
    }
    return heaviest;
}

double lightest_member(rota::cluster_view const& view, state const& s) {
    double lightest = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < s.weights.size(); ++i) {
        if (view.nodes[i].capacity > 0) lightest = std::min(lightest, s.weights[i]);
    }
    return lightest;
}

bool any_full(rota::cluster_view const& view, state const& s) {
    for (std::size_t i = 0; i < s.counts.size(); ++i) {
        if (view.nodes[i].capacity > 0 && s.counts[i] >= view.nodes[i].capacity) return true;
    }
    return false;
}

// ---- brute force --------------------------------------------------------------------------------

// Every distribution of the schedules that the plan places or leaves where they are, whether a plan could reach it or
// not: what may not move stays, no node gets more than its capacity, and where there is not room for all, the same stays
// behind.
class distributions {
public:
    distributions(rota::cluster_view const& view, rota::plan const& plan)
        : view_{view},
          after_{state_after(view, plan)} {
        weights_.resize(view.nodes.size());
        counts_.resize(view.nodes.size());
        heaviest_ = weighted_least_moves_test::heaviest(after_);
        lightest_ = lightest_member(view, after_);
        deal(0, 0);
    }

    double best = std::numeric_limits<double>::infinity();  // heaviest node, by any number of moves
    std::uint32_t fewest = none;                            // moves to weights within those of the plan

private:
    void deal(std::size_t schedule, std::uint32_t moves) {
        if (schedule == view_.schedules.size()) return judge(moves);
        auto const owner = view_.schedules[schedule].owner;
        auto const weight = view_.schedules[schedule].weight;
        if (after_.owners[schedule] == none) return deal(schedule + 1, moves);
        bool const left_behind = after_.owners[schedule] == owner && view_.nodes[owner].capacity == 0;
        for (std::uint32_t node = 0; node < view_.nodes.size(); ++node) {
            auto const number = static_cast<std::uint32_t>(schedule);
            if (left_behind && node != owner) continue;
            if (node != owner && (view_.nodes[node].capacity == 0 || (owner != none && !view_.may_move(number))))
                continue;
            weights_[node] += weight;
            ++counts_[node];
            deal(schedule + 1, moves + (owner != none && node != owner));
            weights_[node] -= weight;
            --counts_[node];
        }
    }

    void judge(std::uint32_t moves) {
        double most = 0;
        double least = std::numeric_limits<double>::infinity();
        for (std::size_t i = 0; i < weights_.size(); ++i) {
            auto const& node = view_.nodes[i];
            most = std::max(most, weights_[i]);
            if (node.capacity > 0) least = std::min(least, weights_[i]);
            if (counts_[i] > std::max(node.capacity, after_.counts[i])) return;
        }
        best = std::min(best, most);
        if (at_most(most, heaviest_) && at_most(lightest_, least)) fewest = std::min(fewest, moves);
    }

    rota::cluster_view const& view_;
    state after_;
    std::vector<double> weights_;
    std::vector<std::uint32_t> counts_;
    double heaviest_ = 0;
    double lightest_ = 0;
};

// A view that brute force can cope with: up to 4 nodes, up to 10 schedules.
void draw_small(random_views& random, view_builder& builder, bool capacities) {
    std::vector<node_spec> nodes(2 + random.below(3));
    auto left = nodes.size() == 4 ? 7 : nodes.size() == 3 ? 8 : 10U;
    auto const limits = capacities ? random.below(4) : 0;
    for (auto& node : nodes) {
        node.load = random.below(left + 1);
        left -= node.load;
        if (random.below(5) == 0) node.moving = random.below(node.load + 1);
        if (limits == 1) node.capacity = random.below(6);
        if (limits == 2) node.capacity = node.load + random.below(2);
        if (limits == 3) node.capacity = 1 + random.below(8);
        node.draining = random.below(8) == 0;
    }
    builder.reset(nodes, random.below(left + 1));
    auto const shape = random.below(5);
    for (std::uint32_t i = 0; i < builder.schedule_count(); ++i) {
        auto const large = random.below(2) == 0;
        builder.schedule(i).weight = shape == 0   ? 1
                                     : shape == 1 ? 1 + random.below(4)
                                     : shape == 2 ? 1 + random.below(20)
                                     : shape == 3 ? (large ? 8 + random.below(8) : 1 + random.below(3))
                                                  : random.fraction();
    }
}

std::string text_of(rota::cluster_view const& view) {
    std::string text;
    for (auto const& node : view.nodes) {
        text += "[" + std::to_string(node.capacity) + ":";
        for (auto const s : node.schedules) {
            text += " " + std::to_string(view.schedules[s].weight) + (view.may_move(s) ? "" : "!");
        }
        text += "] ";
    }
    for (auto const s : view.orphans) text += " " + std::to_string(view.schedules[s].weight);
    return text;
}

}  // namespace

TEST_CASE("weighted_least_moves: at most 1.5 x the best of all distributions, and a bound that holds, by brute force") {
    random_views random{1};
    view_builder builder;
    double worst = 0;
    for (int round = 0; round < rota_test::rounds(5000); ++round) {
        draw_small(random, builder, false);
        auto const view = builder.view();
        auto const plan = plan_of(view, round % 4 == 0 ? 0.2 : 0.01);
        INFO("round " << round << "; " << text_of(view));
        REQUIRE(plan_fault(view, plan) == nullptr);
        distributions const all{view, plan};
        auto const reached = heaviest(state_after(view, plan));
        REQUIRE(at_most(reached, 1.5 * all.best));
        REQUIRE(plan.bound <= all.fewest);
        if (all.best > 0) worst = std::max(worst, reached / all.best);
    }
    CHECK(worst > 1.2);  // it has been put to the test
}

TEST_CASE(
    "weighted_least_moves: at most 1.5 x the best that as many moves reach where places are scarce, by brute force") {
    random_views random{2};
    view_builder builder;
    int full = 0;
    double worst = 0;
    for (int round = 0; round < rota_test::rounds(15'000); ++round) {
        draw_small(random, builder, true);
        auto const view = builder.view();
        auto const plan = plan_of(view);
        INFO("round " << round << "; " << text_of(view));
        REQUIRE(plan_fault(view, plan) == nullptr);
        auto const after = state_after(view, plan);
        auto const reached = heaviest_member(view, after);
        reachable const others{view, plan};
        REQUIRE(at_most(others.best, reached));  // the plan is one of them
        REQUIRE(at_most(reached, 1.5 * others.best));
        if (others.best > 0) {
            makespan_bound const bound{view, plan};  // which is all that larger views are judged by
            REQUIRE_FALSE(bound.excludes(others.best * (1 + 1e-6)));
            REQUIRE_FALSE(bound.excludes_by_search(others.best * (1 + 1e-6), 10'000));
        }
        bool const any = any_full(view, after);
        if (round % 6 == 0) {
            distributions const all{view, plan};
            REQUIRE(plan.bound <= all.fewest);
            if (!any) REQUIRE(at_most(heaviest(after), 1.5 * all.best));
        }
        full += any;
        if (any && others.best > 0) worst = std::max(worst, reached / others.best);
    }
    CHECK(full > rota_test::rounds(7'500));
    CHECK(worst > 1.3);  // it has been put to the test
}

TEST_CASE("weighted_least_moves: what the brute force of the tests counts as reachable") {
    view_builder builder{{{2, 2}, {2, 2}}};
    weigh(builder, {3, 3, 1, 1});
    rota::plan two;
    two.voluntary = 2;
    CHECK(reachable(builder.view(), two).found == 1);  // both are full: nothing can be exchanged
    builder.join(1);
    CHECK(reachable(builder.view(), two).found == 13);  // any to the new one, any of the other node after it
    CHECK(reachable(builder.view(), two).best == 3);
    two.voluntary = 1;
    CHECK(reachable(builder.view(), two).found == 5);

    // An orphan gets only what room there is before anything moves.
    builder.reset({{1, 1}, {0, 1}}, 1);
    weigh(builder, {3, 1});
    auto plan = plan_of(builder.view());
    REQUIRE(plan.moves.size() == 1);
    plan.voluntary = 1;
    CHECK(reachable(builder.view(), plan).found == 1);
}

// ---- larger views -------------------------------------------------------------------------------

namespace {

// Whether moving one schedule makes the heavier of two nodes lighter that are further apart than the tolerance.
bool could_be_evener(rota::cluster_view const& view, double tolerance) {
    double mean = 0;
    std::uint32_t members = 0;
    std::uint32_t lightest = none;
    for (std::uint32_t i = 0; i < view.nodes.size(); ++i) {
        auto const& node = view.nodes[i];
        if (node.capacity == 0) continue;
        mean += node.weight;
        ++members;
        if (node.load < node.capacity && (lightest == none || node.weight < view.nodes[lightest].weight)) lightest = i;
    }
    if (lightest == none) return false;
    mean /= members;
    for (auto const& node : view.nodes) {
        auto const distance = node.weight - view.nodes[lightest].weight;
        if (distance <= tolerance * mean * (1 + 1e-9)) continue;
        for (auto const s : node.schedules) {
            auto const weight = view.schedules[s].weight;
            if (view.may_move(s) && weight > 1e-6 * node.weight &&
                weight < distance * (1 - 1e-6) - 1e-6 * node.weight) {
                return true;
            }
        }
    }
    return false;
}

// No distribution has a lighter heaviest node than this.
double lower_bound(rota::cluster_view const& view) {
    std::vector<double> each;  // but those that stay on drained nodes
    double sum = 0;
    double most = 0;
    std::size_t members = 0;
    for (auto const& node : view.nodes) {
        double staying = 0;
        for (auto const s : node.schedules) {
            auto const weight = view.schedules[s].weight;
            if (!view.may_move(s)) staying += weight;
            if (view.may_move(s) || node.capacity > 0) each.push_back(weight);
        }
        most = std::max(most, staying);
        members += node.capacity > 0;
    }
    for (auto const s : view.orphans) each.push_back(view.schedules[s].weight);
    std::sort(each.rbegin(), each.rend());
    for (auto const weight : each) sum += weight;
    if (!each.empty()) most = std::max(most, each.front());
    if (members > 0 && each.size() > members) most = std::max(most, each[members - 1] + each[members]);
    return members > 0 ? std::max(most, sum / static_cast<double>(members)) : most;
}

}  // namespace

TEST_CASE("weighted_least_moves: valid, repeatable, even and at rest on 10,000 random views without limits") {
    random_views random{3};
    view_builder builder;
    rota::plan recycled;
    for (int round = 0; round < rota_test::rounds(10'000); ++round) {
        random.next(builder, {.nodes = 30, .load = 30, .capacities = false});
        auto const tolerance = round % 5 == 0 ? 0 : round % 5 == 1 ? 0.3 : 0.01;
        INFO("round " << round << ", tolerance " << tolerance << "; " << random.text());
        auto view = builder.view();
        auto const plan = plan_of(view, tolerance);
        auto const* fault = plan_fault(view, plan);
        INFO((fault ? fault : "valid"));
        REQUIRE(fault == nullptr);
        rota::weighted_least_moves{.tolerance = tolerance}.make_plan(view, recycled);
        REQUIRE(same(plan, recycled));
        auto const no_members =
            lightest_member(view, state_after(view, plan)) == std::numeric_limits<double>::infinity();
        REQUIRE(plan.unplaced == (no_members ? view.orphans.size() : 0));
        REQUIRE(plan.bound <= plan.voluntary);
        if (!no_members) REQUIRE(at_most(heaviest(state_after(view, plan)), 1.5 * lower_bound(view)));

        builder.apply(plan);
        view = builder.view();
        REQUIRE_FALSE(could_be_evener(view, tolerance));
        auto const next = plan_of(view, tolerance);
        REQUIRE(next.moves.empty());
        REQUIRE(next.bound == 0);
        REQUIRE(next.imbalance == 0);
        REQUIRE(next.spread_before == Approx(plan.spread_after).margin(1e-6));
    }
}

namespace {

// Whether the heaviest node is at most 1.5 x as heavy as in the best that as many moves reach, as bounds show, or else a
// search.
bool is_proven(rota::cluster_view const& view, rota::plan const& plan) {
    auto const after = state_after(view, plan);
    auto const reached = heaviest_member(view, after);
    double sum = 0;
    double members = 0;
    for (std::size_t i = 0; i < view.nodes.size(); ++i) {
        if (view.nodes[i].capacity == 0) continue;
        sum += after.weights[i];
        ++members;
    }
    if (members == 0 || at_most(reached, 1.5 * sum / members)) return true;
    makespan_bound const bound{view, plan};
    return bound.excludes(reached / 1.5) || bound.excludes_by_search(reached / 1.5, 1'000'000);
}

}  // namespace

TEST_CASE("weighted_least_moves: valid, repeatable and soon at rest on 10,000 random views with limits") {
    random_views random{4};
    view_builder builder;
    rota::plan recycled;
    int second_plans = 0;
    int not_proven = 0;
    for (int round = 0; round < rota_test::rounds(10'000); ++round) {
        random.next(builder, {.nodes = 20, .load = 20});
        INFO("round " << round << "; " << random.text());
        auto view = builder.view();
        auto plan = plan_of(view);
        auto const* fault = plan_fault(view, plan);
        INFO((fault ? fault : "valid"));
        REQUIRE(fault == nullptr);
        rota::weighted_least_moves{.tolerance = 0.01}.make_plan(view, recycled);
        REQUIRE(same(plan, recycled));
        std::uint64_t room = 0;
        for (auto const& node : view.nodes) room += node.load < node.capacity ? node.capacity - node.load : 0;
        REQUIRE(plan.forced == std::min<std::uint64_t>(room, view.orphans.size()));

        not_proven += !is_proven(view, plan);

        // Nobody is over capacity while others have room, unless what it holds may not move.
        builder.apply(plan);
        view = builder.view();
        bool any_room = false;
        for (auto const& node : view.nodes) any_room = any_room || node.load < node.capacity;
        for (auto const& node : view.nodes) {
            if (!any_room || node.load <= node.capacity) continue;
            for (auto const s : node.schedules) REQUIRE_FALSE(view.may_move(s));
        }

        int further = 0;
        for (plan = plan_of(view); !plan.moves.empty() && further < 5; ++further) {
            REQUIRE(plan_fault(view, plan) == nullptr);
            builder.apply(plan);
            view = builder.view();
            plan = plan_of(view);
        }
        second_plans += further > 0;
        REQUIRE(further < 4);
        REQUIRE_FALSE(could_be_evener(view, 0.01));
    }
    CHECK(not_proven == 0);
    CHECK(second_plans < 400);  // where a place became free too late for the first one
}

TEST_CASE("weighted_least_moves: weights that change by less than the tolerance move nothing, 10,000 times") {
    random_views random{5};
    view_builder builder{std::vector<node_spec>(5), 100};
    for (std::uint32_t i = 0; i < 100; ++i) builder.schedule(i).weight = 1 + random.fraction();
    builder.apply(plan_of(builder.view()));
    std::vector<double> weights;
    for (std::uint32_t i = 0; i < 100; ++i) weights.push_back(builder.schedule(i).weight);
    for (int round = 0; round < rota_test::rounds(10'000); ++round) {
        for (std::uint32_t i = 0; i < 100; ++i)
            builder.schedule(i).weight = weights[i] * (1 + 0.02 * random.fraction());
        REQUIRE(plan_of(builder.view(), 0.1).moves.empty());
    }
}

// ---- single cases -------------------------------------------------------------------------------

TEST_CASE("weighted_least_moves: orphans go largest first, each to the lightest node") {
    view_builder builder{{{1}, {1}}, 4};
    weigh(builder, {3, 1, 2, 5, 4, 1});
    auto const plan = plan_of(builder.view());
    REQUIRE(plan.forced == 4);
    CHECK(plan.moves[0] == rota::move{3, none, 1, rota::change_reason::placed});  // 3 and 6
    CHECK(plan.moves[1] == rota::move{4, none, 0, rota::change_reason::placed});  // 7 and 6
    CHECK(plan.moves[2] == rota::move{2, none, 1, rota::change_reason::placed});  // 7 and 8
    CHECK(plan.moves[3] == rota::move{5, none, 0, rota::change_reason::placed});  // 8 and 8
    CHECK(plan.voluntary == 0);
    CHECK(plan.spread_before == 2);
    CHECK(plan.spread_after == 0);
    CHECK(plan.interchangeable);
}

TEST_CASE("weighted_least_moves: one schedule of the right weight, not many small ones") {
    view_builder builder{{{6}, {2}}};
    weigh(builder, {1, 1, 1, 4, 9, 4, 6, 6});  // 20 and 12
    auto const plan = plan_of(builder.view());
    REQUIRE(plan.moves.size() == 1);
    CHECK(plan.moves[0].schedule == 3);
    CHECK(plan.moves[0].why == rota::change_reason::rebalanced);
    CHECK(plan.bound == 1);
    CHECK(plan.imbalance == Approx(4 / 16.0));
}

TEST_CASE("weighted_least_moves: a node that joins gets its share in as few moves as there are givers") {
    view_builder builder{{{10}, {10}, {10}, {10}}};
    builder.join();
    auto const plan = plan_of(builder.view(), 0);
    CHECK(plan.voluntary == 8);
    CHECK(plan.bound == 8);
    CHECK(plan.spread_before == 10);
    CHECK(plan.spread_after == 0);
    for (auto const& step : plan.moves) CHECK(step.to == 4);
}

TEST_CASE("weighted_least_moves: large schedules that share a node change places with small ones") {
    // Moving one of the first two 8s to any other node would only make that one as heavy.
    view_builder builder{{{2}, {1}, {1}, {4}}};
    weigh(builder, {8, 8, 8, 8, 2, 2, 2, 2});
    auto const view = builder.view();
    auto const plan = plan_of(view);
    REQUIRE(plan_fault(view, plan) == nullptr);
    CHECK(heaviest(state_after(view, plan)) <= 12);
    CHECK(plan.voluntary <= 4);
    builder.apply(plan);
    CHECK(plan_of(builder.view()).moves.empty());
}

TEST_CASE("weighted_least_moves: at most 1.5 x the optimum where large schedules share nodes, at any size") {
    random_views random{6};
    view_builder builder;
    int exchanged = 0;
    for (int round = 0; round < rota_test::rounds(2000); ++round) {
        // As many large ones as nodes, two of them on some nodes, small ones on as many others.
        auto const shared = 1 + random.below(3);
        auto const single = 2 * shared + random.below(20);
        auto const small = 3 + random.below(40);
        std::vector<node_spec> nodes(2 * shared + single, {1});
        for (std::uint32_t i = 0; i < shared; ++i) nodes[i].load = 2;
        for (std::uint32_t i = 0; i < shared; ++i) nodes[nodes.size() - 1 - i].load = small;
        if (round % 3 == 0) nodes[0].moving = 1;
        builder.reset(nodes);
        for (std::uint32_t i = 0; i < builder.schedule_count(); ++i) {
            builder.schedule(i).weight = i < 2 * shared + single ? 10 + 0.1 * random.fraction() : 10.2 / small;
        }
        auto const view = builder.view();
        auto const plan = plan_of(view);
        INFO("round " << round << "; " << text_of(view));
        REQUIRE(plan_fault(view, plan) == nullptr);
        REQUIRE(at_most(heaviest(state_after(view, plan)), 1.5 * lower_bound(view)));
        exchanged += plan.voluntary > 0;
        builder.apply(plan);
        REQUIRE(plan_of(builder.view()).moves.empty());
    }
    CHECK(exchanged == rota_test::rounds(2000));
}

TEST_CASE("weighted_least_moves: a node far above or below what the others can reach does not lead to needless moves") {
    // One holds a single schedule heavier than all others; one that joins gets its share of the rest, and no more moves.
    std::vector<node_spec> nodes(11, {10});
    nodes[0].load = 1;
    view_builder builder{nodes};
    builder.schedule(0).weight = 1000;
    builder.join();
    auto const plan = plan_of(builder.view(), 0);
    CHECK(plan.voluntary == 9);

    // Full nodes stay below; the others even out among themselves.
    nodes.assign(12, {10, 10});
    nodes[0] = {60};
    nodes[1] = {40};
    builder.reset(nodes);
    for (std::uint32_t i = 100; i < builder.schedule_count(); ++i) builder.schedule(i).weight = 0.1;
    CHECK(plan_of(builder.view(), 0).voluntary == 10);
}

TEST_CASE("weighted_least_moves: what makes even is left alone, however coarse") {
    view_builder builder{{{1}, {1}, {1}}};
    weigh(builder, {100, 30, 1});  // nothing can be split
    CHECK(plan_of(builder.view(), 0).moves.empty());
    CHECK(plan_of(builder.view(), 0).imbalance == 0);
    CHECK(plan_of(builder.view(), 0).spread_after == 99);
}

TEST_CASE("weighted_least_moves: nodes within the tolerance are even, and no schedule is looked at") {
    std::vector<std::uint32_t> const held{0, 1, 2};  // of which there are none
    std::vector<rota::cluster_view::node> nodes(3);
    for (auto& node : nodes) {
        node.load = 3;
        node.schedules = held;
        node.weight = 100;
    }
    nodes[2].weight = 109;
    rota::cluster_view view;
    view.nodes = nodes;
    auto const plan = plan_of(view, 0.1);
    CHECK(plan.moves.capacity() == 0);
    CHECK(plan.imbalance == 0);
    CHECK(plan.spread_before == 9);
    CHECK(plan.spread_after == 9);
}

TEST_CASE("weighted_least_moves: a tolerance that is none counts as 0, one of too much as 0.5") {
    view_builder builder{{{6}, {5}, {4}}};
    auto const exact = plan_of(builder.view(), 0);
    CHECK(exact.voluntary == 1);
    CHECK(same(plan_of(builder.view(), -1), exact));
    CHECK(same(plan_of(builder.view(), std::nan("")), exact));
    CHECK(plan_of(builder.view(), 0.5).voluntary == 0);
    builder.reset({{9}, {5}, {3}});
    CHECK(plan_of(builder.view(), 0.5).voluntary > 0);
    CHECK(same(plan_of(builder.view(), 1e9), plan_of(builder.view(), 0.5)));
}

TEST_CASE("weighted_least_moves: a drained node is emptied, largest first, before anything is evened out") {
    view_builder builder{{{3}, {2}, {1}, {4}}};
    weigh(builder, {2, 5, 3, 1, 1, 2, 9, 9, 9, 9});
    builder.drain(0);
    auto const view = builder.view();
    auto const plan = plan_of(view);
    REQUIRE(plan_fault(view, plan) == nullptr);
    REQUIRE(plan.moves.size() > 3);
    std::vector<std::uint32_t> first;
    for (std::size_t i = 0; i < plan.moves.size(); ++i) {
        CHECK(plan.moves[i].required() == (i < 3));
        if (i < 3) first.push_back(plan.moves[i].schedule);
        if (i < 3) CHECK(plan.moves[i].why == rota::change_reason::drained);
    }
    CHECK(first == std::vector<std::uint32_t>{1, 2, 0});
    CHECK(plan.bound >= 3);
}

TEST_CASE("weighted_least_moves: an overfull node gives what it has too much, in count and in weight") {
    view_builder builder{{{5, 3}, {1, 8}}};
    weigh(builder, {2, 3, 3, 4, 6, 6});  // 18 and 6: two are to go, 6 in all
    auto const plan = plan_of(builder.view());
    REQUIRE(plan.moves.size() == 2);
    for (auto const& step : plan.moves) CHECK(step.why == rota::change_reason::overfull);
    CHECK(plan.bound == 2);
    CHECK(plan.spread_after == 0);
}

TEST_CASE("weighted_least_moves: without room for all, the lightest orphans are left over and listed") {
    view_builder builder{{{0, 1}, {0, 1}}, 4};
    weigh(builder, {1, 4, 2, 3});
    auto plan = plan_of(builder.view());
    CHECK(plan.forced == 2);
    CHECK(plan.unplaced == 2);
    REQUIRE(plan.stuck.size() == 2);
    CHECK(plan.stuck[0] == rota::unplaced_schedule{2, rota::no_place::no_room});
    CHECK(plan.stuck[1] == rota::unplaced_schedule{0, rota::no_place::no_room});

    builder.reset({{1, 1}, {2, 0}}, 2);
    plan = plan_of(builder.view());
    CHECK(plan.moves.empty());
    CHECK(plan.unplaced == 2);
    CHECK(plan.stuck.size() == 2);
    builder.reset({}, 2);
    CHECK(plan_of(builder.view()).unplaced == 2);
    builder.reset({{0}, {0}});
    CHECK(plan_of(builder.view()).moves.empty());
}

TEST_CASE("weighted_least_moves: of a picture that is not complete, all orphans wait") {
    view_builder builder{{{5}, {1}}, 3};
    auto const plan = plan_of(builder.incomplete_view());
    CHECK(plan.moves.empty());
    CHECK(plan.unplaced == 3);
    REQUIRE(plan.stuck.size() == 3);
    for (auto const& one : plan.stuck) CHECK(one.why == rota::no_place::waits);
}

TEST_CASE("weighted_least_moves: what may not move binds the best distribution as well") {
    view_builder builder{{{4, rota::unlimited, 3}, {0}, {0}}};
    weigh(builder, {5, 5, 5, 2});
    auto const plan = plan_of(builder.view());
    REQUIRE(plan.moves.size() == 1);
    CHECK(plan.moves[0].schedule == 3);

    builder.reset({{4}, {0}});
    for (std::uint32_t i = 0; i < 4; ++i) builder.schedule(i).generation = 50;
    auto view = builder.view();
    view.settled_before = 50;
    CHECK(plan_of(view).moves.empty());
    view.settled_before = 51;
    CHECK(plan_of(view).moves.size() == 2);
}

TEST_CASE("weighted_least_moves: weights that are no weights end in a valid plan") {
    auto const infinite = std::numeric_limits<double>::infinity();
    for (double const odd : {0.0, -1.0, std::nan(""), infinite, -infinite, 1e308, 1e-308}) {
        view_builder builder{{{4}, {1}, {3, 2}, {2}}, 5};
        for (std::uint32_t i = 0; i < builder.schedule_count(); i += 2) builder.schedule(i).weight = odd;
        builder.drain(3);
        for (int round = 0; round < 4; ++round) {
            auto const view = builder.view();
            auto const plan = plan_of(view);
            INFO("weights of " << odd << ", round " << round);
            REQUIRE(plan_fault(view, plan) == nullptr);
            if (round == 3) CHECK(plan.moves.empty());
            builder.apply(plan);
        }
        CHECK(builder.view().nodes[3].load == 0);
    }
}

}  // namespace weighted_least_moves_test
