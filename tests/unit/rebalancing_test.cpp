// Evening out the load: when the leader moves schedules between live nodes, and what it does with a strategy that breaks
// its contract.
#include "../support/scenario.hpp"

#include <stdexcept>

namespace rebalancing_test {

using namespace std::chrono_literals;
using rota::errc;
using rota::ownership_changed;
using rota::plan_refused;
using rota_test::contains;
using rota_test::ids;
using rota_test::member;
using rota_test::scenario;
using rota_test::schedules;

namespace {

// a leads; a and b own what is said; nothing moves by itself until `leader` runs on.
struct uneven : scenario {
    uneven(std::size_t of_a, std::size_t of_b, rota::options o = {}) : scenario{o}, a{join("a")}, b{join("b")} {
        a.strategy.use([](auto const&, auto& into) { into.clear(); });
        REQUIRE(a->register_schedules(schedules("a", of_a)).all());
        REQUIRE(a->register_schedules(schedules("b", of_b)).all());
        if (of_a) REQUIRE(a->claim(ids("a", of_a)).all());
        if (of_b) REQUIRE(b->claim(ids("b", of_b)).all());
        pass(1500ms);
        REQUIRE(a.owned().size() == of_a);
        REQUIRE(b.owned().size() == of_b);
        REQUIRE(a->is_leader());
    }
    member& a;
    member& b;
};

std::size_t moves(scenario& group, std::size_t nodes) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < nodes; ++i) {
        for (auto& e : group[i].told<ownership_changed>()) {
            count += e.reason == rota::change_reason::rebalanced && e.to.id == group[i].name ? 1 : 0;
        }
    }
    return count;
}

}  // namespace

TEST_CASE("a node that joins gets its share, by the fewest moves") {
    scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    REQUIRE(a->register_schedules(schedules("s", 30)).all());
    group.pass(3s);
    REQUIRE(a.owned().size() == 15);
    REQUIRE(b.owned().size() == 15);
    auto& c = group.join("c");
    group.pass(4s);
    CHECK(a.owned().size() == 10);
    CHECK(b.owned().size() == 10);
    CHECK(c.owned().size() == 10);
    CHECK(moves(group, 3) == 10);
    group.check_told();
    // And then it is quiet.
    group.pass(20s, 50ms);
    CHECK(moves(group, 3) == 10);
}

TEST_CASE("rebalance_threshold: below it nothing moves, above it the load is evened out") {
    // Twelve and eight of twenty: two off the target, a fifth of the mean.
    auto const [threshold, moved] =
        GENERATE(std::pair{0.0, 2u}, std::pair{0.19, 2u}, std::pair{0.2, 0u}, std::pair{5.0, 0u});
    CAPTURE(threshold);
    rota::options o{.rebalance_threshold = threshold};
    uneven group{12, 8, o};
    group.a.strategy.use_least_moves();
    REQUIRE(group.a->register_schedules({{.id = "z"}}).all());
    REQUIRE(group.a->unregister_schedules({"z"}).all());
    group.pass(5s);
    CHECK(moves(group, 2) == moved);
    CHECK(group.a.owned().size() == 12 - moved);
}

TEST_CASE("auto_rebalance = false: orphans are placed, nothing else moves") {
    rota::options o{.auto_rebalance = false};
    uneven group{12, 2, o};
    group.a.strategy.use_least_moves();
    REQUIRE(group.a->register_schedules(schedules("new", 4)).all());
    group.pass(5s);
    CHECK(group.a.owned().size() == 12);
    CHECK(group.b.owned().size() == 6);
    CHECK(moves(group, 2) == 0);
    group.b.crash();
    group.pass(5s);
    CHECK(group.a.owned().size() == 18);
}

TEST_CASE("rebalance() evens out whatever the threshold says, and whether or not auto_rebalance is on") {
    auto const automatic = GENERATE(true, false);
    rota::options o{.auto_rebalance = automatic, .rebalance_threshold = 100};
    uneven group{12, 2, o};
    group.a.strategy.use_least_moves();
    group.pass(3s);
    REQUIRE(group.a.owned().size() == 12);
    REQUIRE(group.a->rebalance());
    group.pass(3s);
    CHECK(group.a.owned().size() == 7);
    CHECK(group.b.owned().size() == 7);
    CHECK(moves(group, 2) == 5);
    group.check_told();
}

TEST_CASE("rebalance() is the leader's") {
    uneven group{4, 0};
    CHECK(group.b->rebalance().error() == errc::not_leader);
    CHECK(group.a->rebalance());
}

TEST_CASE("a schedule that is being worked on moves when the run is over, not before") {
    uneven group{6, 0};
    std::vector<rota::schedule_lock*> locks;
    for (auto& id : ids("a", 6)) locks.push_back(&group.keep(group.a->try_lock(id, 20s)));
    group.a.strategy.use_least_moves();
    REQUIRE(group.a->rebalance());
    group.pass(3s);
    CHECK(group.a.owned().size() == 6);
    CHECK(group.b.owned().empty());
    CHECK(group.a.told<rota::handoff_requested>().size() == 3);
    auto const loads = group.b->loads().value();
    CHECK(loads[1].pending == 3);
    for (auto* lock : locks) {
        CHECK(lock->valid());
        CHECK(lock->release());
    }
    group.pass(1100ms);
    CHECK(group.a.owned().size() == 3);
    CHECK(group.b.owned().size() == 3);
    group.check_told();
}

TEST_CASE("propose: what would be done, with its certificate; nothing is changed") {
    rota::options o{.auto_rebalance = false};
    uneven group{8, 2, o};
    REQUIRE(group.b->register_schedules(schedules("new", 2)).all());
    group.pass(2s);
    auto const events_before = group.a.record.events().size() + group.b.record.events().size();

    auto const p = group.b->propose().value();

    CHECK(p.forced == 2);
    CHECK(p.voluntary == 2);
    CHECK(p.bound == 2);
    CHECK(p.unplaced == 0);
    CHECK(p.spread_before == 6);
    CHECK(p.spread_after == 0);
    REQUIRE(p.moves.size() == 4);
    for (std::size_t i = 0; i < 4; ++i) {
        CHECK(p.moves[i].to.id == "b");
        CHECK(p.moves[i].to.incarnation != 0);
        if (i < 2) {
            CHECK(p.moves[i].from == rota::node_ref{});
            CHECK(p.moves[i].reason == rota::change_reason::placed);
        } else {
            CHECK(p.moves[i].from.id == "a");
            CHECK(p.moves[i].reason == rota::change_reason::rebalanced);
        }
    }
    group.pass(3s);
    CHECK(group.a.owned().size() == 8);
    CHECK(group.b.owned().size() == 2);
    CHECK(group.a->orphaned().value().size() == 2);
    CHECK(group.a.record.events().size() + group.b.record.events().size() == events_before);
}

TEST_CASE("propose and rebalance with more than a page of schedules") {
    uneven group{900, 0};
    auto const p = [&] {
        group.b.strategy.use_least_moves();
        return group.b->propose().value();
    }();
    CHECK(p.voluntary == 450);
    group.a.strategy.use_least_moves();
    REQUIRE(group.a->rebalance());
    group.pass(5s);
    CHECK(group.a.owned().size() == 450);
    CHECK(group.b.owned().size() == 450);
    group.check_told();
}

TEST_CASE("a strategy that breaks its contract: nothing of its plan is applied, it is told, and the group goes on") {
    rota::options o{.max_schedules_per_node = 6};
    uneven group{3, 3, o};
    auto& a = group.a;
    auto& b = group.b;
    std::string expected;
    // Indices: nodes a = 0, b = 1; schedules in order of ids: a000… = 0…2, b000… = 3…5, new… = 6….
    SECTION("it throws") {
        a.strategy.use([](auto const&, auto&) { throw std::runtime_error("out of ideas"); });
        expected = "out of ideas";
    }
    SECTION("it throws what is no exception") {
        a.strategy.use([](auto const&, auto&) { throw 42; });
        expected = "threw";
    }
    SECTION("it throws after half a plan") {
        a.strategy.use([](auto const&, auto& into) {
            into.moves.push_back({0, 0, 1});
            throw std::runtime_error("half way");
        });
        expected = "half way";
    }
    SECTION("it assigns one twice") {
        a.strategy.use([](auto const&, auto& into) { into.moves = {{6, rota::cluster_view::none, 0}, {6, 0, 1}}; });
        expected = "twice";
    }
    SECTION("it names a schedule that is not there") {
        a.strategy.use([](auto const&, auto& into) { into.moves = {{60, 0, 1}}; });
        expected = "schedule 60";
    }
    SECTION("it names a node that is not there") {
        a.strategy.use([](auto const&, auto& into) { into.moves = {{0, 0, 7}}; });
        expected = "node 7";
    }
    SECTION("it gives one away that its node does not own") {
        a.strategy.use([](auto const&, auto& into) { into.moves = {{0, 1, 0}}; });
        expected = "does not own";
    }
    SECTION("it takes a live node's schedule for an orphan") {
        a.strategy.use([](auto const&, auto& into) { into.moves = {{3, rota::cluster_view::none, 0}}; });
        expected = "does not own";
    }
    SECTION("it moves to where it is") {
        a.strategy.use([](auto const&, auto& into) { into.moves = {{0, 0, 0}}; });
        expected = "where it is";
    }
    SECTION("it exceeds a capacity") {
        a.strategy.use([](rota::cluster_view const& view, rota::plan& into) {
            for (auto s : view.orphans) into.moves.push_back({s, rota::cluster_view::none, 1});
        });
        expected = "capacity of 6";
    }
    if (expected.empty()) return;
    REQUIRE(a->register_schedules(schedules("new", 5)).all());
    CHECK_NOTHROW(group.pass(3s));

    auto const refused = a.told<plan_refused>();
    REQUIRE_FALSE(refused.empty());
    CHECK_THAT(refused.front().why, contains(expected));
    CHECK(refused.size() <= 5);
    CHECK(a.owned() == ids("a", 3));
    CHECK(b.owned() == ids("b", 3));
    CHECK(a->is_leader());
    // As soon as the strategy is well again, it goes on.
    a.strategy.use_least_moves();
    group.pass(3s);
    CHECK(a.owned().size() + b.owned().size() == 11);
    group.check_told();
}

TEST_CASE("a strategy that takes longer than its budget is refused, and the group goes on with what it had") {
    rota::options o{.planning_budget = 200ms};
    uneven group{6, 0, o};
    auto& a = group.a;
    std::size_t asked = 0;
    a.strategy.use([&](rota::cluster_view const& view, rota::plan& into) {
        rota::least_moves{}.make_plan(view, into);
        if (++asked > 2) return;
        a.clock.advance(250ms);
    });
    REQUIRE(a->rebalance().error() == errc::invalid_argument);
    CHECK(a.owned().size() == 6);
    auto const refused = a.told<plan_refused>();
    REQUIRE_FALSE(refused.empty());
    CHECK_THAT(refused.front().why, contains("planning_budget"));
    group.pass(5s);
    CHECK(a.owned().size() == 3);
}

TEST_CASE("schedules without a place are named, with the reason") {
    uneven group{1, 1};
    group.a.strategy.use([](rota::cluster_view const& view, rota::plan& into) {
        into.clear();
        for (auto const s : view.orphans) into.stuck.push_back({s, rota::no_place::labels_missing});
        into.unplaced = static_cast<std::uint32_t>(view.orphans.size());
    });
    REQUIRE(group.a->register_schedules({{.id = "choosy"}}).all());
    group.pass(2s);
    auto const warnings = group.a.told<rota::warning>();
    REQUIRE(warnings.size() == 1);  // once, not with every plan
    CHECK_THAT(warnings.front().what.detail, contains("choosy"));
    CHECK_THAT(warnings.front().what.detail, contains("labels"));
    group.b.strategy.use([](rota::cluster_view const& view, rota::plan& into) {
        into.clear();
        for (auto const s : view.orphans) into.stuck.push_back({s, rota::no_place::pin_absent});
    });
    auto const p = group.b->propose().value();
    REQUIRE(p.stuck.size() == 1);
    CHECK(p.stuck.front().schedule == "choosy");
    CHECK_THAT(p.stuck.front().why, contains("pinned"));
}

TEST_CASE("where the choice is open the owner gives idle schedules, and runs in hand are left alone") {
    uneven group{6, 0};
    // The first three, which the plan would take, are being worked on.
    for (auto& id : ids("a", 3)) group.keep(group.a->try_lock(id, 20s));
    group.a.strategy.use([](rota::cluster_view const& view, rota::plan& into) {
        into.clear();
        into.interchangeable = true;
        into.imbalance = 1;
        for (std::uint32_t s = 0; s < view.schedules.size(); ++s) {
            if (view.schedules[s].id < "a003" && view.nodes[1].load == 0) into.moves.push_back({s, 0, 1});
        }
    });
    SECTION("open") {
        REQUIRE(group.a->rebalance());
        group.pass(1500ms);
        CHECK(group.b.owned() == std::vector<std::string>{"a003", "a004", "a005"});
        CHECK(group.a.owned() == ids("a", 3));
        for (auto& s : group.a->owned()) CHECK_FALSE(s.handing_over);
        for (auto& l : group.a->loads().value()) CHECK(l.pending == 0);
        group.pass(30s, 50ms);  // the runs end; nothing more is handed over
        CHECK(group.a.owned() == ids("a", 3));
        CHECK(group.a->try_lock("a000", 1s));
    }
    SECTION("but not one of another weight") {
        REQUIRE(group.a->update_schedules({{.id = "a003", .weight = 2}, {.id = "a004", .weight = 2}}).all());
        group.pass(1s);
        REQUIRE(group.a->rebalance());
        group.pass(1500ms);
        CHECK(group.b.owned() == std::vector<std::string>{"a005"});
    }
    group.check_told();
}

TEST_CASE("an idle schedule that was offered is given once, also if the reply is lost") {
    uneven group{2, 0};
    group.keep(group.a->try_lock("a000", 20s));
    group.a.strategy.use([](rota::cluster_view const& view, rota::plan& into) {
        into.clear();
        into.interchangeable = true;
        into.imbalance = 1;
        if (view.nodes[1].load == 0) into.moves.push_back({0, 0, 1});
    });
    REQUIRE(group.a->rebalance());
    CHECK(group.b.owned().empty());
    group.a.wire.lose_replies(1);
    group.pass(3s);
    CHECK(group.b.owned() == std::vector<std::string>{"a001"});
    CHECK(group.a.owned() == std::vector<std::string>{"a000"});
    group.pass(25s, 50ms);
    CHECK(group.b.owned() == std::vector<std::string>{"a001"});
    group.check_told();
}

TEST_CASE("one goes in the place of another whose run ends meanwhile: both are accounted for") {
    // Cut off as it is asked, a can neither offer an idle schedule nor acknowledge until both are due.
    rota::memory_store store{rota::manual_time};
    rota::manual_clock clock;
    rota::memory_transport wire{store};
    bool asked = false;
    rota::options const even{.node_id = "a", .rebalance_threshold = 0};
    rota::basic_coordinator a{even, wire, clock, [&](rota::handoff_requested const&) {
                                  if (!std::exchange(asked, true)) wire.refuse(true);
                              }};
    rota::basic_coordinator b{{.node_id = "b", .rebalance_threshold = 0}, rota::memory_transport{store}, clock};
    auto const pass = [&](rota::microseconds time) {
        for (; time > 0us; time -= 10ms) {
            store.advance(10ms);
            clock.advance(10ms);
            if (a.next_tick() <= 0us) a.tick();
            if (b.next_tick() <= 0us) b.tick();
        }
    };
    REQUIRE(a.join());
    REQUIRE(a.register_schedules(schedules("s", 4)).all());
    pass(3s);
    REQUIRE(a.owned().size() == 4);
    auto busy = a.try_lock_each(ids("s", 3), 20s);
    REQUIRE(b.join());
    for (int i = 0; i < 300 && !asked; ++i) pass(10ms);
    REQUIRE(asked);
    pass(20ms);
    for (auto& lock : busy) lock->release();
    wire.refuse(false);
    pass(30s);

    CHECK(a.owned().size() == 2);
    CHECK(b.owned().size() == 2);
    for (auto& n : b.nodes().value()) CHECK(n.load == 2);
    for (auto& s : a.owned()) CHECK(a.try_lock(s.id, 1s));
    for (auto& s : b.owned()) CHECK(b.try_lock(s.id, 1s));
}

TEST_CASE("propose with a strategy that breaks its contract says so") {
    uneven group{3, 3};
    group.b.strategy.use([](auto const&, auto&) { throw std::runtime_error("out of ideas"); });
    auto const p = group.b->propose();
    REQUIRE_FALSE(p);
    CHECK_THAT(p.error().detail, contains("out of ideas"));
}

TEST_CASE("a strategy sees the group as it is: indices, loads, capacities, weights, what is moving") {
    rota::options o{.max_schedules_per_node = 10, .auto_rebalance = false};
    uneven group{2, 3, o};
    REQUIRE(group.a->register_schedules({{.id = "orphan", .weight = 2.5}}).all());
    auto& lock = group.keep(group.a->try_lock("a000", 20s));
    REQUIRE(group.a->transfer("a000", "b"));
    bool looked = false;
    group.b.strategy.use([&](rota::cluster_view const& view, rota::plan& into) {
        into.clear();
        looked = true;
        REQUIRE(view.nodes.size() == 2);
        CHECK(view.nodes[0].id == "a");
        CHECK(view.nodes[1].id == "b");
        CHECK(view.nodes[0].load == 1);
        CHECK(view.nodes[1].load == 4);  // what is on its way counts where it goes
        CHECK(view.nodes[0].capacity == 10);
        CHECK(view.nodes[1].weight == 4);
        CHECK(view.nodes[1].schedules.size() == 4);
        REQUIRE(view.orphans.size() == 1);
        CHECK(view.schedules[view.orphans[0]].id == "orphan");
        CHECK(view.schedules[view.orphans[0]].weight == 2.5);
        for (auto& s : view.schedules) CHECK(s.moving == (s.id == "a000"));
    });
    CHECK(group.b->propose());
    CHECK(looked);
    CHECK(lock.valid());
}

TEST_CASE("a strategy is told the server's time whoever asks it, a member or not") {
    uneven group{2, 3};
    auto& stranger = group.add("stranger");
    std::vector<rota::fencing_token> told;
    auto const note = [&told](rota::cluster_view const& view, rota::plan& into) {
        into.clear();
        told.push_back(view.now);
        CHECK(view.nodes.size() == 2);
        for (auto& s : view.schedules) CHECK(s.generation <= view.now);
    };
    stranger.strategy.use(note);
    REQUIRE(stranger->propose());
    group.pass(2s);
    REQUIRE(stranger->propose());
    REQUIRE(told.size() == 2);
    CHECK(told[0] > 0);
    CHECK(told[1] - told[0] == 2'000'000);
}

TEST_CASE("a plan made on yesterday's picture does no harm") {
    uneven group{4, 4};
    auto& a = group.a;
    // While a plans, b unregisters one of its orphans and claims another.
    bool once = true;
    a.strategy.use([&](rota::cluster_view const& view, rota::plan& into) {
        rota::least_moves{}.make_plan(view, into);
        if (!view.orphans.empty() && std::exchange(once, false)) {
            CHECK(group.b->unregister_schedules({"new000"}).all());
            CHECK(group.b->claim({"new001"}).all());
        }
    });
    REQUIRE(group.b->register_schedules(schedules("new", 4)).all());
    group.pass(3s);
    CHECK_FALSE(once);
    CHECK(group.owned() == 11);
    CHECK(group.b.owns("new001"));
    group.check_told();
}

}  // namespace rebalancing_test
