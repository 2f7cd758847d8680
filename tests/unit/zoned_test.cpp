// zoned<S>: even zones first, by the fewest moves between them, then S inside each.
#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include <rota/check_strategy.hpp>
#include <rota/strategy/bounded_rendezvous.hpp>
#include <rota/strategy/rendezvous.hpp>
#include <rota/strategy/weighted_least_moves.hpp>
#include <rota/strategy/zoned.hpp>

#include "../catch.hpp"
#include "../support/effort.hpp"
#include "../support/view_builder.hpp"

namespace zoned_test {

namespace {

using rota_test::node_spec;
using rota_test::plan_fault;
using rota_test::view_builder;

template <typename S>
rota::plan plan_of(S const& strategy, rota::cluster_view const& view) {
    rota::plan made;
    strategy.make_plan(view, made);
    CHECK(plan_fault(view, made) == nullptr);
    return made;
}

std::map<std::string, std::uint32_t> zone_loads(rota::cluster_view const& view) {
    std::map<std::string, std::uint32_t> loads;
    for (auto const& node : view.nodes) {
        loads[std::string{node.zone.empty() ? node.id : node.zone}] += node.load;
    }
    return loads;
}

std::uint32_t between_zones(rota::cluster_view const& view, rota::plan const& made) {
    std::uint32_t count = 0;
    for (auto const& step : made.moves) {
        if (step.forced()) continue;
        auto const& from = view.nodes[step.from];
        auto const& to = view.nodes[step.to];
        count += from.zone != to.zone || (from.zone.empty() && step.from != step.to);
    }
    return count;
}

node_spec in(std::string zone, std::uint32_t load, std::uint32_t capacity = rota::unlimited) {
    node_spec node;
    node.load = load;
    node.capacity = capacity;
    node.zone = std::move(zone);
    return node;
}

}  // namespace

TEST_CASE("zoned: orphans are spread over zones, not over nodes") {
    view_builder builder{{in("a", 0), in("a", 0), in("a", 0), in("a", 0), in("b", 0), in("c", 0)}, 30};
    auto const made = plan_of(rota::zoned<>{}, builder.view());
    CHECK(made.forced == 30);
    builder.apply(made);
    CHECK(zone_loads(builder.view()) == std::map<std::string, std::uint32_t>{{"a", 10}, {"b", 10}, {"c", 10}});
    for (std::uint32_t n = 0; n < 4; ++n)
        CHECK((builder.view().nodes[n].load == 2 || builder.view().nodes[n].load == 3));
    CHECK(plan_of(rota::zoned<>{}, builder.view()).moves.empty());
}

TEST_CASE("zoned: the fewest moves between zones, then the fewest inside") {
    view_builder builder{{in("a", 12), in("a", 2), in("b", 3), in("b", 1), in("c", 6)}};
    auto const view = builder.view();
    auto const made = plan_of(rota::zoned<>{}, view);
    // 14, 4 and 6: six move, from the fullest node of a, to where least is.
    CHECK(between_zones(view, made) == 6);
    CHECK(made.bound == made.voluntary);
    CHECK(made.voluntary == 8);  // and two inside a: 12 - 6 and 2
    CHECK(made.spread_before == 10);
    CHECK(made.imbalance == 0.75);
    builder.apply(made);
    CHECK(zone_loads(builder.view()) == std::map<std::string, std::uint32_t>{{"a", 8}, {"b", 8}, {"c", 8}});
    CHECK(builder.view().nodes[0].load == 4);
    CHECK(builder.view().nodes[2].load == 4);
    CHECK(made.spread_after == 0);
    CHECK(plan_of(rota::zoned<>{}, builder.view()).moves.empty());
}

TEST_CASE("zoned: moves between zones stand before those that merely even out inside") {
    view_builder builder{{in("a", 12), in("a", 2), in("b", 3), in("b", 1), in("c", 6)}};
    auto const view = builder.view();
    auto const made = plan_of(rota::zoned<>{}, view);
    for (std::size_t i = 0; i < made.moves.size(); ++i) {
        auto const& step = made.moves[i];
        CHECK((view.nodes[step.from].zone != view.nodes[step.to].zone) == (i < 6));
    }
}

TEST_CASE(
    "zoned: the loss of any one zone leaves no more than its even share to be placed, and all of it finds a place") {
    std::mt19937_64 random{42};
    auto const below = [&](std::uint32_t end) { return static_cast<std::uint32_t>(random() % end); };
    for (int round = 0; round < 100; ++round) {
        auto const zones = 2 + below(4);
        std::vector<node_spec> nodes;
        for (std::uint32_t z = 0; z < zones; ++z) {
            for (auto count = 1 + below(6); count > 0; --count) nodes.push_back(in("z" + std::to_string(z), below(40)));
        }
        view_builder builder;
        std::uint32_t total = 0;
        auto const settle = [&] {
            for (rota::plan made; made = plan_of(rota::zoned<>{}, builder.view()), !made.moves.empty();) {
                builder.apply(made);
            }
        };
        for (std::uint32_t lost = 0; lost < zones; ++lost) {
            builder.reset(nodes, 17);
            total = static_cast<std::uint32_t>(builder.view().schedules.size());
            settle();
            auto const name = "z" + std::to_string(lost);
            for (std::uint32_t n = builder.node_count(); n-- > 0;) {
                if (builder.view().nodes[n].zone == name) builder.lose(n);
            }
            auto const view = builder.view();
            REQUIRE(view.orphans.size() <= (total + zones - 1) / zones);
            auto const made = plan_of(rota::zoned<>{}, view);
            REQUIRE(made.unplaced == 0);
            REQUIRE(made.voluntary == 0);  // what others have stays, however it is spread inside
        }
    }
}

TEST_CASE("zoned: zones hold what their capacities allow, and no orphan is left while any node has room") {
    view_builder builder{{in("a", 5, 5), in("a", 0, 2), in("b", 0, 4), in("c", 0, 100)}, 40};
    auto const made = plan_of(rota::zoned<>{}, builder.view());
    CHECK(made.forced == 40);
    builder.apply(made);
    CHECK(zone_loads(builder.view()) == std::map<std::string, std::uint32_t>{{"a", 7}, {"b", 4}, {"c", 34}});

    SECTION("nor while its zone as a whole is over its capacity") {
        view_builder drained{{in("a", 6), in("a", 0, 3), in("b", 2, 2)}, 2};
        drained.drain(0);
        auto const early = plan_of(rota::zoned<>{}, drained.view());
        CHECK(early.forced == 2);
        CHECK(early.voluntary == 1);
        CHECK(early.moves.back().why == rota::change_reason::drained);
    }
}

TEST_CASE("zoned: a drained node is emptied into its own zone as far as there is room, and into others beyond that") {
    view_builder builder{{in("a", 10), in("a", 10, 14), in("b", 20, 60), in("c", 20, 60)}};
    builder.drain(0);
    auto const view = builder.view();
    auto const made = plan_of(rota::zoned<>{}, view);
    CHECK(made.voluntary == 10);
    CHECK(between_zones(view, made) == 6);
    for (auto const& step : made.moves) CHECK(step.why == rota::change_reason::drained);
}

TEST_CASE("zoned: what is moving, or has just moved, stays") {
    view_builder builder{{in("a", 10), in("b", 0)}};
    for (std::uint32_t s = 0; s < 8; ++s) builder.schedule(s).generation = 1000 + s;
    builder.schedule(8).moving = true;
    auto view = builder.view();
    view.settled_before = 1003;
    CHECK(plan_of(rota::zoned<>{}, view).voluntary == 4);  // s0, s1, s2 and s9
}

TEST_CASE("zoned: an orphan is not placed where room is only once something has left its zone") {
    view_builder builder{{in("a", 7, 5), in("a", 5, 5), in("a", 4, 5), in("b", 30, 60)}, 1};
    for (std::uint32_t s = 0; s < 7; ++s) builder.schedule(s).moving = true;
    auto const made = plan_of(rota::zoned<>{}, builder.view());
    REQUIRE(made.forced == 1);
    CHECK(made.moves.front().to == 2);
}

TEST_CASE("zoned: a node without a zone is one of its own") {
    view_builder builder{{in("", 9), in("", 0), in("a", 0), in("a", 0)}};
    auto const made = plan_of(rota::zoned<>{}, builder.view());
    builder.apply(made);
    CHECK(builder.view().nodes[0].load == 3);
    CHECK(builder.view().nodes[1].load == 3);
    CHECK(made.voluntary == 6);
}

TEST_CASE("zoned: without zones, or with a single one, it is what S does") {
    std::vector<node_spec> nodes{{10, 12}, {3}, {0, 2}, {7, 5}};
    view_builder none{nodes, 5};
    auto const of_zoned = plan_of(rota::zoned<>{}, none.view());
    auto const plain = plan_of(rota::least_moves{}, none.view());
    CHECK(of_zoned.voluntary == plain.voluntary);
    CHECK(of_zoned.bound == plain.bound);
    CHECK(of_zoned.forced == plain.forced);
    CHECK(of_zoned.spread_after == plain.spread_after);

    for (auto& node : nodes) node.zone = "all";
    view_builder one{nodes, 5};
    CHECK(plan_of(rota::zoned<>{}, one.view()).moves == plain.moves);
}

TEST_CASE("zoned: while the leader still reads who owns what, orphans go to where there is least") {
    view_builder builder{{in("a", 8), in("a", 2), in("b", 4), in("c", 4)}, 4};
    auto const made = plan_of(rota::zoned<>{}, builder.incomplete_view());
    CHECK(made.forced == 4);
    for (auto const& step : made.moves) CHECK(step.to >= 2);
}

TEST_CASE("zoned: S decides which node of a zone takes what comes, and is told whose the others are") {
    // An S that looks at owners: it puts what comes on the node of the schedule that stands before it.
    struct beside_the_one_before {
        rota::plan make_plan(rota::cluster_view const& view) const {
            rota::plan made;
            for (std::uint32_t n = 0; n < view.nodes.size(); ++n) {
                for (auto const s : view.nodes[n].schedules) CHECK(view.schedules[s].owner == n);
            }
            for (auto const s : view.orphans) {
                CHECK(view.schedules[s].owner == rota::cluster_view::none);
                auto const before = s > 0 ? view.schedules[s - 1].owner : 0;
                made.moves.push_back({.schedule = s, .to = before < view.nodes.size() ? before : 0});
                ++made.forced;
            }
            return made;
        }
    };
    static_assert(rota::detail::reads_schedules<beside_the_one_before>);
    view_builder builder{{in("a", 2), in("b", 2), in("a", 9), in("b", 1)}, 3};
    auto const view = builder.view();
    auto const made = plan_of(rota::zoned<beside_the_one_before>{}, view);
    CHECK(made.forced == 3);
    CHECK(made.voluntary > 0);
    CHECK_FALSE(made.interchangeable);
}

TEST_CASE("zoned: what has left a zone is not there when S plans for it") {
    struct adds_up {
        void make_plan(rota::cluster_view const& view, rota::plan& into) const {
            for (auto const& node : view.nodes) {
                double weight = 0;
                for (auto const s : node.schedules) weight += view.schedules[s].weight;
                CHECK(node.load == node.schedules.size());
                CHECK(node.weight == weight);
            }
            rota::least_moves{}.make_plan(view, into);
        }
    };
    view_builder builder{{in("a", 12), in("a", 2), in("b", 3), in("b", 1), in("c", 6)}};
    for (std::uint32_t s = 0; s < 24; ++s) builder.schedule(s).weight = 1 + s;
    auto const made = plan_of(rota::zoned<adds_up>{}, builder.view());
    CHECK(made.voluntary == 8);
}

TEST_CASE("zoned: what S takes not into its zone stays where it was") {
    struct takes_nothing {
        rota::plan make_plan(rota::cluster_view const& view) const {
            rota::plan made;
            made.unplaced = static_cast<std::uint32_t>(view.orphans.size());
            return made;
        }
    };
    view_builder builder{{in("a", 10), in("b", 0)}, 2};
    auto const made = plan_of(rota::zoned<takes_nothing>{}, builder.view());
    CHECK(made.moves.empty());
    CHECK(made.unplaced == 2);
    CHECK(made.spread_after == 10);
}

TEST_CASE("zoned: keeps the contract with every S, on whatever group") {
    auto const check = [](auto const& strategy) {
        auto const report = rota::check_strategy(strategy, {.seed = 11, .groups = 1000});
        INFO(report.text());
        CHECK(report.passed);
    };
    check(rota::zoned<>{});
    check(rota::zoned<rota::weighted_least_moves>{});
    check(rota::zoned<rota::rendezvous>{});
    check(rota::zoned<rota::bounded_rendezvous>{});
}

TEST_CASE("zoned: zones are even after one plan on random large groups, and a second plan is empty") {
    std::mt19937_64 random{3};
    auto const below = [&](std::uint32_t end) { return static_cast<std::uint32_t>(random() % end); };
    view_builder builder;
    for (int round = 0; round < rota_test::rounds(1000); ++round) {
        std::vector<node_spec> nodes;
        auto const zones = 1 + below(5);
        for (auto count = 1 + below(30); count > 0; --count) {
            nodes.push_back(in("z" + std::to_string(below(zones)), below(50)));
            if (below(3) == 0) nodes.back().capacity = below(60);
        }
        builder.reset(nodes, round % 2 == 0 ? 0 : below(200));
        auto const view = builder.view();
        std::map<std::string, node_spec> as_nodes;
        for (auto const& node : nodes) {
            auto& zone = as_nodes.try_emplace(node.zone, node_spec{0, 0}).first->second;
            zone.load += node.load;
            zone.capacity = rota::detail::added(zone.capacity, node.capacity);
        }
        std::vector<node_spec> zone_nodes;
        for (auto const& [name, zone] : as_nodes) zone_nodes.push_back(zone);
        view_builder zone_builder{zone_nodes, static_cast<std::uint32_t>(view.orphans.size())};
        auto const made = plan_of(rota::zoned<>{}, view);
        auto const fewest = rota::least_moves_bound(zone_builder.view());
        // (Where orphans take the place of what an overfull node of their zone should give, more has to leave the zone.)
        if (view.orphans.empty()) REQUIRE(between_zones(view, made) == fewest);
        REQUIRE(between_zones(view, made) >= fewest);
        REQUIRE(made.voluntary == made.bound);
        builder.apply(made);
        auto const again = plan_of(rota::zoned<>{}, builder.view());
        builder.apply(again);
        REQUIRE(plan_of(rota::zoned<>{}, builder.view()).moves.empty());
    }
}

TEST_CASE("zone_shortfall: what has no place once a zone is lost") {
    view_builder builder{{in("a", 5, 10), in("a", 5, 10), in("b", 9, 12), in("c", 9, 9)}};
    // 28 in all; without a there is room for 21, without b for 29, without c for 32.
    CHECK(rota::zone_shortfall(builder.view()) == 7);
    builder.node(2).capacity = 19;
    CHECK(rota::zone_shortfall(builder.view()) == 0);
    builder.node(0).capacity = rota::unlimited;
    builder.node(2).capacity = 18;
    CHECK(rota::zone_shortfall(builder.view()) == 1);  // what cannot be lost is the one without a limit

    view_builder nobody;
    CHECK(rota::zone_shortfall(nobody.view()) == 0);
}

}  // namespace zoned_test
