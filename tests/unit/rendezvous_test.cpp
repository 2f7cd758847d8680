// rendezvous and bounded_rendezvous against what they are defined by, written down once more without their shortcuts:
// each schedule's best node by floating-point scores, choices one after the other, and the limits that must hold.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include <rota/strategy/bounded_rendezvous.hpp>
#include <rota/strategy/hashing.hpp>
#include <rota/strategy/rendezvous.hpp>

#include "../catch.hpp"
#include "../support/effort.hpp"
#include "../support/random_views.hpp"
#include "../support/view_builder.hpp"

namespace rendezvous_test {

namespace {

using rota_test::node_spec;
using rota_test::plan_fault;
using rota_test::random_views;
using rota_test::view_builder;

constexpr auto none = rota::cluster_view::none;

template <typename Strategy>
rota::plan plan_of(Strategy const& strategy, rota::cluster_view const& view) {
    rota::plan made;
    strategy.make_plan(view, made);
    return made;
}

bool same(rota::plan const& a, rota::plan const& b) {
    return a.moves == b.moves && a.stuck == b.stuck && a.forced == b.forced && a.voluntary == b.voluntary &&
           a.bound == b.bound && a.unplaced == b.unplaced && a.spread_before == b.spread_before &&
           a.spread_after == b.spread_after && a.imbalance == b.imbalance;
}

// Where each schedule belongs, in floating point; ties do not occur in these tests.
std::vector<std::uint32_t> homes_of(rota::cluster_view const& view, bool by_capacity, std::uint64_t limit) {
    bool weighted = by_capacity;
    for (auto const& node : view.nodes) {
        weighted = weighted && node.capacity != rota::unlimited;
    }
    std::vector<std::uint64_t> hashes;
    for (auto const& schedule : view.schedules) hashes.push_back(rota::detail::hash_of_id(schedule.id));
    std::vector<std::uint64_t> node_hashes;
    for (auto const& node : view.nodes) node_hashes.push_back(rota::detail::hash_of_id(node.id));
    auto const score = [&](std::uint32_t schedule, std::uint32_t node) {
        auto const drawn = rota::detail::pair_hash(hashes[schedule], node_hashes[node]);
        auto const u = (static_cast<long double>(drawn) + 0.5L) * 0x1p-64L;
        return weighted ? -static_cast<long double>(view.nodes[node].capacity) / std::log(u) : u;
    };
    std::vector<std::uint64_t> free;
    for (auto const& node : view.nodes) free.push_back(std::min<std::uint64_t>(node.capacity, limit));
    std::vector<std::uint32_t> choosing;
    std::vector<std::uint32_t> homes(view.schedules.size(), none);
    for (std::uint32_t s = 0; s < view.schedules.size(); ++s) {
        auto const owner = view.schedules[s].owner;
        if (owner == none || view.may_move(s)) {
            choosing.push_back(s);
        } else {
            homes[s] = owner;
            free[owner] -= free[owner] > 0;
        }
    }
    std::sort(choosing.begin(), choosing.end(), [&](auto a, auto b) { return hashes[a] > hashes[b]; });
    for (auto const s : choosing) {
        for (std::uint32_t node = 0; node < view.nodes.size(); ++node) {
            if (free[node] == 0) continue;
            if (homes[s] == none || score(s, node) > score(s, homes[s])) homes[s] = node;
        }
        if (homes[s] != none) --free[homes[s]];
    }
    return homes;
}

std::vector<std::uint32_t> owners_of(rota::cluster_view const& view) {
    std::vector<std::uint32_t> owners;
    for (auto const& schedule : view.schedules) owners.push_back(schedule.owner);
    return owners;
}

// Owners by name, as nodes move up when others are lost.
std::vector<std::string> names_of_owners(rota::cluster_view const& view) {
    std::vector<std::string> names;
    for (auto const& schedule : view.schedules) names.emplace_back(view.nodes[schedule.owner].id);
    return names;
}

std::uint64_t limit_of(rota::cluster_view const& view, double epsilon) {
    std::uint64_t total = view.orphans.size();
    std::uint64_t members = 0;
    for (auto const& node : view.nodes) {
        total += node.load;
        members += node.capacity > 0;
    }
    return static_cast<std::uint64_t>(
        std::ceil((1 + epsilon) * static_cast<double>(total) / static_cast<double>(members)));
}

void fill(view_builder& builder, std::vector<node_spec> const& nodes, std::uint32_t schedules, auto const& strategy) {
    builder.reset(nodes, schedules);
    builder.apply(plan_of(strategy, builder.view()));
}

}  // namespace

TEST_CASE("hashing: the same numbers on every platform, forever") {
    using namespace rota::detail;
    CHECK(hash_of_id("") == 0x48218226ff3cd4bfU);
    CHECK(hash_of_id("node-1") == 0x2307e8846ccf6d24U);
    CHECK(hash_of_id("a feed of more than one word, \xc3\xa9") == 0x375ec0d42735d642U);
    CHECK(pair_hash(1, 2) == 0x1e535eede31428f0U);
    CHECK(minus_log(0x2307e8846ccf6d24U) == 133475984);
    CHECK(hash_of_id(std::string(8, '\0')) != hash_of_id(std::string(16, '\0')));
    CHECK(hash_of_id(std::string(3, '\0')) != hash_of_id(std::string(4, '\0')));
}

TEST_CASE("hashing: the logarithm is within a few units of the true one, never far below its lower bound") {
    random_views random{1};
    auto const check = [](std::uint64_t hash) {
        auto const exact = -std::log(static_cast<long double>(hash) * 0x1p-64L) * 0x1p26L;
        auto const own = static_cast<long double>(rota::detail::minus_log(hash));
        if (std::abs(own - exact) > 1 + 1e-9L * exact) FAIL("of " << hash << ": " << own << ", not " << exact);
        if (own + 2 < static_cast<long double>(~hash >> 38)) FAIL("of " << hash << " is below 1 - u");
    };
    for (unsigned bit = 0; bit < 64; ++bit) {
        check(std::uint64_t{1} << bit | 1);
        check(~std::uint64_t{0} >> bit);
        check(~(std::uint64_t{1} << bit) | 1);
    }
    for (int i = 0; i < 100'000; ++i) {
        auto const hash = rota::detail::mix(static_cast<std::uint64_t>(i));
        check(hash | 1);
        check(~(hash >> random.below(64)) | 1);
    }
}

TEST_CASE("rendezvous: from nothing, each schedule goes to the node that scores highest for it") {
    for (bool const weighted : {false, true}) {
        std::vector<node_spec> nodes(20);
        for (std::uint32_t i = 0; weighted && i < nodes.size(); ++i) nodes[i].capacity = 1000 * (1 + i % 7);
        view_builder builder{nodes, 3000};
        auto const view = builder.view();
        auto const plan = plan_of(rota::rendezvous{}, view);
        REQUIRE(plan_fault(view, plan) == nullptr);
        REQUIRE(plan.forced == 3000);
        auto const homes = homes_of(view, true, rota::unlimited);
        for (auto const& step : plan.moves) REQUIRE(step.to == homes[step.schedule]);
        CHECK(plan.bound == 0);
        CHECK(plan.imbalance == 0);
    }
}

TEST_CASE("rendezvous: shares are proportional to capacities where all nodes state one, else equal") {
    std::vector<node_spec> nodes(10, {0, 40'000});
    for (std::uint32_t i = 0; i < 5; ++i) nodes[i].capacity = 120'000;
    view_builder builder;
    fill(builder, nodes, 100'000, rota::rendezvous{});
    auto view = builder.view();
    // 15,000 and 5,000 each; the standard deviation is below 120.
    for (std::uint32_t i = 0; i < 10; ++i) {
        CHECK(std::abs(static_cast<int>(view.nodes[i].load) - (i < 5 ? 15'000 : 5'000)) < 480);
    }
    CHECK(plan_of(rota::rendezvous{}, view).moves.empty());

    fill(builder, nodes, 100'000, rota::rendezvous{.by_capacity = false});
    view = builder.view();
    for (auto const& node : view.nodes) CHECK(std::abs(static_cast<int>(node.load) - 10'000) < 400);

    nodes[9].capacity = rota::unlimited;
    fill(builder, nodes, 100'000, rota::rendezvous{});
    view = builder.view();
    for (auto const& node : view.nodes) CHECK(std::abs(static_cast<int>(node.load) - 10'000) < 400);
}

TEST_CASE("rendezvous: a node that joins takes what it wins and nothing else moves; when it goes, all is as before") {
    for (std::uint32_t const capacity : {rota::unlimited, 5000U}) {
        std::vector<node_spec> nodes(12, {0, capacity});
        view_builder builder;
        fill(builder, nodes, 6000, rota::rendezvous{});
        auto const before = names_of_owners(builder.view());

        builder.join(capacity == rota::unlimited ? capacity : 2 * capacity);
        auto plan = plan_of(rota::rendezvous{}, builder.view());
        REQUIRE(plan_fault(builder.view(), plan) == nullptr);
        CHECK(plan.voluntary == plan.bound);
        CHECK(plan.voluntary > 300);
        CHECK(plan.imbalance == Approx(plan.voluntary / (6000 / 13.0)));
        for (auto const& step : plan.moves) REQUIRE(step.to == 12);
        builder.apply(plan);
        CHECK(plan_of(rota::rendezvous{}, builder.view()).moves.empty());

        builder.lose(12);
        plan = plan_of(rota::rendezvous{}, builder.view());
        CHECK(plan.forced == plan.moves.size());
        builder.apply(plan);
        CHECK(names_of_owners(builder.view()) == before);

        // The same for one in the middle, which comes back under its name.
        builder.drain(3);
        plan = plan_of(rota::rendezvous{}, builder.view());
        CHECK(plan.voluntary == builder.view().nodes[3].load);
        for (auto const& step : plan.moves) {
            REQUIRE(step.from == 3);
            REQUIRE(step.why == rota::change_reason::drained);
        }
        builder.apply(plan);
        CHECK(builder.view().nodes[3].load == 0);
        CHECK(plan_of(rota::rendezvous{}, builder.view()).moves.empty());
        builder.undrain(3);
        plan = plan_of(rota::rendezvous{}, builder.view());
        for (auto const& step : plan.moves) REQUIRE(step.to == 3);
        builder.apply(plan);
        CHECK(names_of_owners(builder.view()) == before);
    }
}

TEST_CASE("rendezvous: the order of nodes and schedules in the view means nothing") {
    view_builder forward{{{0, 500}, {0, 300}, {0, 200}, {0, 600}}, 1000};
    auto const view = forward.view();
    std::vector<rota::cluster_view::node> nodes(view.nodes.rbegin(), view.nodes.rend());
    std::vector<std::uint32_t> orphans(view.orphans.rbegin(), view.orphans.rend());
    rota::cluster_view backward = view;
    backward.nodes = nodes;
    backward.orphans = orphans;
    std::map<std::uint32_t, std::uint32_t> homes;
    for (auto const& step : plan_of(rota::rendezvous{}, view).moves) homes[step.schedule] = step.to;
    auto const plan = plan_of(rota::rendezvous{}, backward);
    REQUIRE(plan.moves.size() == homes.size());
    for (auto const& step : plan.moves) CHECK(3 - step.to == homes[step.schedule]);
}

namespace {

// All that must hold of any view: returns what does not.
template <typename Strategy>
std::string check_any(Strategy const& strategy, view_builder& builder, bool by_capacity, double epsilon,
                      rota::plan& recycled) {
    auto view = builder.view();
    auto const plan = plan_of(strategy, view);
    if (auto const* fault = plan_fault(view, plan)) return fault;
    strategy.make_plan(view, recycled);
    if (!same(plan, recycled)) return "another plan of the same view";

    std::uint64_t room = 0;
    std::uint64_t total = view.orphans.size();
    std::uint64_t capacity = 0;
    std::uint64_t members = 0;
    for (auto const& node : view.nodes) {
        if (node.load < node.capacity) room += node.capacity - node.load;
        total += node.load;
        capacity += node.capacity;
        members += node.capacity > 0;
    }
    if (plan.forced != std::min<std::uint64_t>(room, view.orphans.size())) return "orphans left out";
    if (plan.voluntary > plan.bound) return "more moves than are called for";
    if ((plan.imbalance > 0) != (plan.bound > 0) && total <= capacity) return "imbalance without moves";

    auto limit = std::uint64_t{rota::unlimited};
    if (epsilon >= 0 && members > 0)
        limit = std::max(limit_of(view, epsilon),
                         rota::detail::target_of(view, rota::detail::totals_of(view)).upper(rota::unlimited));
    auto const homes = homes_of(view, by_capacity, limit);
    std::size_t strays = 0;
    for (std::uint32_t s = 0; s < homes.size(); ++s) {
        strays += view.schedules[s].owner != none && homes[s] != none && homes[s] != view.schedules[s].owner;
    }
    if (total <= capacity && plan.bound != strays) return "a wrong bound";

    bool diverted = false;
    for (auto const& step : plan.moves) {
        if (step.to == homes[step.schedule]) continue;
        if (!step.forced() && !step.required()) return "a move to where the schedule does not belong";
        diverted = true;
    }
    auto const complete = plan.voluntary == plan.bound && total <= capacity;
    builder.apply(plan);
    view = builder.view();
    if (complete && !diverted && owners_of(view) != homes) return "something is not where it belongs";
    bool any_room = false;
    for (auto const& node : view.nodes) any_room = any_room || node.load < node.capacity;
    for (auto const& node : view.nodes) {
        if (!any_room || node.load <= node.capacity) continue;
        for (auto const s : node.schedules) {
            if (view.may_move(s)) return "a node over its capacity although there is room";
        }
    }
    auto next = plan_of(strategy, view);
    if (!diverted && !next.moves.empty()) return "moves on its own result";
    builder.apply(next);
    if (!plan_of(strategy, builder.view()).moves.empty()) return "moves on and on";
    return "";
}

}  // namespace

TEST_CASE("rendezvous: valid, repeatable, at rest and as defined on 10,000 random views") {
    random_views random{11};
    view_builder builder;
    rota::plan recycled;
    for (int round = 0; round < rota_test::rounds(10'000); ++round) {
        random.next(builder, {.nodes = 20, .load = 20, .weights = false});
        auto const fault = check_any(rota::rendezvous{}, builder, true, -1, recycled);
        if (!fault.empty()) FAIL("round " << round << ": " << fault << "; " << random.text());
    }
}

TEST_CASE("bounded_rendezvous: valid, repeatable, at rest and as defined on 10,000 random views") {
    random_views random{12};
    view_builder builder;
    rota::plan recycled;
    for (int round = 0; round < rota_test::rounds(10'000); ++round) {
        random.next(builder, {.nodes = 20, .load = 20, .weights = false});
        auto const epsilon = 0.05 * random.below(10);
        auto const fault = check_any(rota::bounded_rendezvous{.epsilon = epsilon}, builder, false, epsilon, recycled);
        if (!fault.empty()) FAIL("round " << round << ": " << fault << "; " << random.text());
    }
}

TEST_CASE("bounded_rendezvous: no node over (1 + epsilon) x the mean, whatever it was before") {
    random_views random{13};
    view_builder builder;
    for (int round = 0; round < rota_test::rounds(2000); ++round) {
        random.next(builder, {.nodes = 20, .load = 40, .capacities = false, .staying = false, .weights = false});
        auto const epsilon = round % 3 == 0 ? 0 : random.fraction();
        INFO("round " << round << ", epsilon " << epsilon << "; " << random.text());
        if (std::all_of(random.nodes.begin(), random.nodes.end(), [](auto const& n) { return n.draining; })) continue;
        auto const limit = limit_of(builder.view(), epsilon);
        auto const plan = plan_of(rota::bounded_rendezvous{.epsilon = epsilon}, builder.view());
        REQUIRE(plan.voluntary == plan.bound);
        builder.apply(plan);
        for (auto const& node : builder.view().nodes) REQUIRE(node.load <= limit);
    }
}

TEST_CASE("bounded_rendezvous: owners follow from who is there, not from how it came about") {
    view_builder history;
    view_builder anew;
    rota::bounded_rendezvous const strategy{.epsilon = 0.1};
    fill(history, std::vector<node_spec>(9), 900, strategy);
    history.join();
    history.apply(plan_of(strategy, history.view()));
    history.join();
    history.apply(plan_of(strategy, history.view()));
    history.lose(9);
    history.apply(plan_of(strategy, history.view()));
    history.lose(9);
    history.apply(plan_of(strategy, history.view()));
    fill(anew, std::vector<node_spec>(9), 900, strategy);
    CHECK(names_of_owners(history.view()) == names_of_owners(anew.view()));
}

TEST_CASE("bounded_rendezvous: a node that joins moves its share and some more, not everything") {
    for (double const epsilon : {0.1, 0.25, 1.0}) {
        view_builder builder;
        rota::bounded_rendezvous const strategy{.epsilon = epsilon};
        fill(builder, std::vector<node_spec>(50), 5000, strategy);
        builder.join();
        auto const plan = plan_of(strategy, builder.view());
        INFO("epsilon " << epsilon << ", moved " << plan.voluntary);
        CHECK(plan.voluntary > 60);
        CHECK(plan.voluntary < (epsilon < 0.2 ? 1500 : epsilon < 0.5 ? 500 : 160));
    }
}

TEST_CASE("bounded_rendezvous: where small capacities leave more than the limit, it is the even level") {
    view_builder builder;
    fill(builder, {{0, 5}, {0, 5}, {0, 5}, {0}, {0}}, 215, rota::bounded_rendezvous{.epsilon = 0.1});
    auto const view = builder.view();
    CHECK(view.nodes[3].load == 100);
    CHECK(view.nodes[4].load == 100);
}

TEST_CASE("bounded_rendezvous: an epsilon that is none, or beyond all bounds") {
    view_builder builder{std::vector<node_spec>(7), 700};
    auto const even = plan_of(rota::bounded_rendezvous{.epsilon = 0}, builder.view());
    CHECK(even.spread_after == 0);
    CHECK(plan_of(rota::bounded_rendezvous{.epsilon = -3}, builder.view()).moves == even.moves);
    CHECK(plan_of(rota::bounded_rendezvous{.epsilon = std::nan("")}, builder.view()).moves == even.moves);
    auto const free = plan_of(rota::rendezvous{}, builder.view());
    CHECK(plan_of(rota::bounded_rendezvous{.epsilon = 1e300}, builder.view()).moves == free.moves);
    CHECK(plan_of(rota::bounded_rendezvous{.epsilon = INFINITY}, builder.view()).moves == free.moves);
}

TEST_CASE("rendezvous: nodes at their capacity do not exchange schedules, and the plan comes to rest") {
    // Every schedule is on the wrong one of two full nodes.
    view_builder builder{{{0, 40}, {0, 40}}, 80};
    builder.apply(plan_of(rota::rendezvous{}, builder.view()));
    view_builder turned{{{40, 40}, {40, 40}}};
    auto const plan = plan_of(rota::rendezvous{}, turned.view());
    CHECK(plan.moves.empty());
    CHECK(plan.bound > 0);

    // One free place is enough to work through all of it.
    turned.join(1);
    auto const first = plan_of(rota::rendezvous{.by_capacity = false}, turned.view());
    CHECK(first.moves.size() > 20);
}

TEST_CASE("rendezvous: what may not move stays and counts for its node") {
    std::vector<node_spec> nodes(4, {10});
    nodes[0].moving = 10;
    view_builder builder{nodes};
    auto view = builder.view();
    auto plan = plan_of(rota::rendezvous{}, view);
    for (auto const& step : plan.moves) CHECK(step.from != 0);

    for (std::uint32_t i = 0; i < 40; ++i) builder.schedule(i).generation = 100;
    view = builder.view();
    view.settled_before = 100;
    plan = plan_of(rota::rendezvous{}, view);
    CHECK(plan.moves.empty());
    CHECK(plan.bound == 0);
}

TEST_CASE("rendezvous: what a node holds over its capacity goes first, to where it belongs") {
    view_builder builder{{{30}, {20, 5}, {0}, {30}}};
    auto const view = builder.view();
    auto const plan = plan_of(rota::rendezvous{.by_capacity = false}, view);
    REQUIRE(plan_fault(view, plan) == nullptr);
    for (std::size_t i = 0; i < plan.moves.size(); ++i) {
        CHECK((plan.moves[i].why == rota::change_reason::overfull) == (i < 15));
        if (i < 15) CHECK(plan.moves[i].from == 1);
    }
    CHECK(plan.voluntary == plan.bound);
}

TEST_CASE("rendezvous: of a picture that is not complete, orphans are placed, by the loads that are known") {
    view_builder builder{{{5, 8}, {5, 6}, {9, 9}}, 30};
    auto const view = builder.incomplete_view();
    for (auto const& plan : {plan_of(rota::rendezvous{}, view), plan_of(rota::bounded_rendezvous{}, view)}) {
        REQUIRE(plan_fault(view, plan) == nullptr);
        CHECK(plan.forced == 4);
        CHECK(plan.voluntary == 0);
        CHECK(plan.bound == 0);
        CHECK(plan.unplaced == 26);
        CHECK(plan.stuck.size() == 26);
    }
}

TEST_CASE("rendezvous: without nodes, without schedules, all drained") {
    view_builder builder{{}, 3};
    CHECK(plan_of(rota::rendezvous{}, builder.view()).unplaced == 3);
    CHECK(plan_of(rota::bounded_rendezvous{}, builder.view()).unplaced == 3);
    builder.reset({{0}, {0}});
    CHECK(plan_of(rota::rendezvous{}, builder.view()).moves.empty());
    builder.reset({{3}, {2}}, 1);
    builder.drain(0);
    builder.drain(1);
    CHECK(plan_of(rota::rendezvous{}, builder.view()).moves.empty());
    CHECK(plan_of(rota::bounded_rendezvous{}, builder.view()).unplaced == 1);
}

}  // namespace rendezvous_test
