// What people tell a group: drain a node, keep still for maintenance, change what a node says of itself; and what they
// ask: what would be done, what if, and do it.
#include "../support/scenario.hpp"

namespace orders_test {

using namespace std::chrono_literals;
using rota::change_reason;
using rota::errc;
using rota::ownership_changed;
using rota_test::contains;
using rota_test::ids;
using rota_test::member;
using rota_test::scenario;
using rota_test::schedules;

namespace {

// Three nodes with four schedules each; a leads.
struct trio : scenario {
    explicit trio(rota::options o = {}, std::size_t count = 12)
        : scenario{o},
          a{join("a")},
          b{join("b")},
          c{join("c")} {
        REQUIRE(a->register_schedules(schedules("s", count)).all());
        pass(4s);
        REQUIRE(a->is_leader());
        REQUIRE(owned() == count);
    }
    member& a;
    member& b;
    member& c;

    std::size_t moves(change_reason why) {
        std::size_t count = 0;
        for (auto* m : {&a, &b, &c}) {
            for (auto& e : m->told<ownership_changed>()) {
                count += e.reason == why && e.to.id == m->name ? 1u : 0u;
            }
        }
        return count;
    }
    rota::node_status status_of(std::string const& id) {
        for (auto& n : a->nodes().value()) {
            if (n.node.id == id && n.alive) return n;
        }
        return {};
    }
};

}  // namespace

TEST_CASE("a drained node ends empty, stays a member, and gets nothing until it is undrained") {
    trio group;
    REQUIRE(group.b->drain("c"));
    CHECK(group.until([&] { return group.c.owned().empty() && group.owned() == 12; }, 3s) <= 3s);
    CHECK(group.moves(change_reason::drained) == 4);
    CHECK(group.status_of("c").draining);

    REQUIRE(group.a->register_schedules(schedules("more", 6)).all());
    group.pass(5s);
    CHECK(group.c.owned().empty());
    CHECK(group.owned() == 18);
    CHECK(group.status_of("c").alive);

    REQUIRE(group.b->undrain("c"));
    CHECK(group.until([&] { return group.c.owned().size() == 6; }, 5s) <= 5s);
    CHECK_FALSE(group.status_of("c").draining);
    group.check_told();
}

TEST_CASE("a drain is kept by node_id: a new process under it gets nothing either, and a new leader keeps to it") {
    trio group;
    REQUIRE(group.a->drain("c"));
    group.pass(3s);
    REQUIRE(group.c.owned().empty());
    group.c->leave();
    REQUIRE(group.c->join());
    group.pass(3s);
    CHECK(group.c.owned().empty());
    group.a.crash();
    group.pass(10s);
    CHECK(group.leader() != &group.a);
    CHECK(group.b.owned().size() == 12);
    CHECK(group.c.owned().empty());
}

TEST_CASE("a drain lets the run in hand end, and moves few as surely as many") {
    rota::options o{.rebalance_threshold = 5};  // evening out is far off
    trio group{o};
    auto& lock = group.keep(group.c->try_lock(group.c.owned().front(), 2s));
    REQUIRE(group.a->drain("c"));
    group.pass(1s);
    CHECK(group.c.owned().size() == 1);
    CHECK(lock.valid());
    CHECK(lock.release());
    group.pass(2s);
    CHECK(group.c.owned().empty());
    CHECK(group.moves(change_reason::rebalanced) == 0);
}

TEST_CASE("drain: only of a node that is there; undrain of any") {
    trio group;
    CHECK(group.a->drain("nobody").error() == errc::unknown_node);
    CHECK(group.a->undrain("nobody"));
    CHECK(group.a->drain("").error() == errc::invalid_argument);
    CHECK(group.a->drain("b"));
    CHECK(group.a->drain("b"));
}

TEST_CASE("in maintenance nothing moves, whatever for, but orphans are placed") {
    trio group;
    REQUIRE(group.c->begin_maintenance());
    group.pass(100ms);
    auto& d = group.join("d");
    REQUIRE(group.a->drain("c"));
    group.pass(5s);
    CHECK(d.owned().empty());
    CHECK(group.c.owned().size() == 4);
    CHECK(group.a->rebalance().error() == errc::conflict);

    group.b.crash();
    group.pass(6s);
    CHECK(d.owned().size() + group.a.owned().size() == 8);  // b's: not to c, which is drained
    CHECK(group.c.owned().size() == 4);

    REQUIRE(group.a->end_maintenance());
    CHECK(group.until([&] { return group.c.owned().empty() && group.owned() == 12; }, 5s) <= 5s);
    CHECK(group.a.owned().size() == 6);
    CHECK(d.owned().size() == 6);
}

TEST_CASE("a capacity that is lowered under way moves the rest elsewhere; one that is raised is used") {
    rota::options o{.max_schedules_per_node = 5};
    trio group{o};
    REQUIRE(group.c->set_attributes({.capacity = 1}));
    group.pass(5s);
    CHECK(group.owned() == 12);
    CHECK(group.c.owned().size() == 2);  // five and five and one: there is no room for the twelfth, and so it stays
    CHECK(group.moves(change_reason::overfull) == 2);
    CHECK(group.status_of("c").capacity == 1);
    REQUIRE(group.c->set_attributes({.capacity = std::nullopt, .zone = "eu", .labels = {"ssd"}}));
    group.pass(5s);
    CHECK(group.owned() == 12);
    auto const told = rota::attributes_of(group.status_of("c").traits);
    CHECK(told.zone == "eu");
    CHECK(told.labels == std::vector<std::string>{"ssd"});
    CHECK(group.c->set_attributes({.zone = std::string(65, 'z')}).error() == errc::invalid_argument);
    CHECK(group.c->set_attributes({.labels = {""}}).error() == errc::invalid_argument);
}

TEST_CASE("attributes outlive the membership they were told in") {
    scenario group;
    auto& a = group.join("a", {.max_schedules_per_node = 3, .zone = "one", .labels = {"x"}});
    CHECK(a->attributes() == rota::node_attributes{.capacity = 3, .zone = "one", .labels = {"x"}});
    REQUIRE(a->set_attributes({.capacity = 4, .zone = "two"}));
    a->leave();
    REQUIRE(a->join());
    auto const n = a->nodes().value().back();
    CHECK(n.capacity == 4);
    CHECK(rota::attributes_of(n.traits).zone == "two");
}

TEST_CASE("what changes while a join's reply is lost is told after it") {
    scenario group;
    auto& a = group.add("a");
    a.wire.lose_replies(3);
    REQUIRE_FALSE(a->join());
    REQUIRE(a->set_attributes({.capacity = 1}));
    REQUIRE(a->join());
    group.pass(1s);
    for (auto& n : a->nodes().value()) CHECK(n.capacity == 1);
}

TEST_CASE("what a node took back while its word was lost on the way is taken back at the server") {
    scenario group;
    auto& a = group.join("a");
    a.wire.lose_replies(3);
    REQUIRE_FALSE(a->set_attributes({.capacity = 1}));  // it has its effect, unheard
    (void)a->set_attributes({});
    group.pass(3s);
    for (auto& n : a->nodes().value()) CHECK(n.capacity == rota::unlimited);
}

TEST_CASE("maintenance ends what was planned before it") {
    trio group{{}, 2100};
    auto& d = group.join("d");
    REQUIRE(group.until([&] { return !d.owned().empty(); }, 5s) <= 5s);
    REQUIRE(group.c->begin_maintenance());
    group.pass(100ms);
    auto const by_then = d.owned().size();
    group.pass(10s, 100ms);
    CHECK(d.owned().size() <= by_then + 200);  // what was under way is completed
}

TEST_CASE("weights and rules of schedules can be changed while they are owned") {
    trio group;
    auto const id = group.c.owned().front();
    REQUIRE(group.a->update_schedules({{.id = id, .weight = 2.5, .rules = {.pin = "c"}}}).all());
    group.pass(2s);
    CHECK(group.c.owns(id));
    for (auto& s : group.c->owned()) CHECK(s.weight == (s.id == id ? 2.5 : 1));
    bool seen = false;
    group.b.strategy.use([&](rota::cluster_view const& view, rota::plan&) {
        for (auto& s : view.schedules) {
            if (s.id != id) continue;
            seen = true;
            CHECK(s.weight == 2.5);
            CHECK(view.kinds[s.kind].pin == "c");
        }
    });
    CHECK(group.b->propose());
    CHECK(seen);
    CHECK(group.a->update_schedules({{.id = "unheard of"}}).front().error() == errc::unknown_schedule);
    CHECK(group.a->update_schedules({{.id = id, .weight = -1}}).front().error() == errc::invalid_argument);
    CHECK(group.a->update_schedules({{.id = id, .rules = {.required = {""}}}}).front().error() ==
          errc::invalid_argument);
}

TEST_CASE("a load that a node reports is smoothed, told when it has changed, and seen by strategies") {
    trio group;
    auto reported = [&] { return rota::reported_load_of(group.status_of("c").traits); };
    CHECK_FALSE(reported());
    REQUIRE(group.c->report_load(100));
    CHECK(reported() == 100);
    auto const requests = group.c.wire.requests();
    REQUIRE(group.c->report_load(101));  // next to nothing: not told
    CHECK(group.c.wire.requests() == requests);
    group.pass(30s, 100ms);
    REQUIRE(group.c->report_load(200));  // the time constant has passed: half way
    CHECK(reported().value() == Approx(150).margin(2));
    CHECK(group.c->report_load(-1).error() == errc::invalid_argument);
    double seen = 0;
    group.b.strategy.use([&](rota::cluster_view const& view, rota::plan&) {
        for (auto& n : view.nodes) {
            if (n.id == "c") seen = n.reported;
        }
    });
    CHECK(group.b->propose());
    CHECK(seen == reported());
}

// ================================================================ what if, and do it

TEST_CASE("what if a node were lost, what if others joined: proposals, and nothing happens") {
    trio group;
    auto const lost = group.b->propose_if_lost("c").value();
    CHECK(lost.forced == 4);
    CHECK(lost.voluntary == 0);
    CHECK(lost.hypothetical);
    for (auto& m : lost.moves) CHECK(m.to.id != "c");
    auto const joined = group.b->propose_if_joined(3, {.capacity = 1}).value();
    CHECK(joined.voluntary == 3);
    CHECK(joined.bound == 3);
    for (auto& m : joined.moves) CHECK_THAT(m.to.id, contains("new-"));
    CHECK(group.b->propose_if_lost("nobody").error() == errc::unknown_node);
    CHECK(group.a->apply(lost).error() == errc::invalid_argument);
    group.pass(3s);
    CHECK(group.c.owned().size() == 4);
}

TEST_CASE("a proposal is applied by the leader as it was made") {
    rota::options o{.auto_rebalance = false};
    trio group{o};
    auto& d = group.join("d");
    group.pass(2s);
    auto const p = group.b->propose().value();
    REQUIRE(p.voluntary == 3);
    CHECK(p.imbalance > 0);
    CHECK(group.b->apply(p).error() == errc::not_leader);
    REQUIRE(group.a->apply(p));
    group.pass(2s);
    CHECK(d.owned().size() == 3);
    for (auto& m : p.moves) CHECK(d.owns(m.schedule));
    // It was for then, not for now.
    CHECK(group.a->apply(p).error() == errc::conflict);
}

TEST_CASE("a proposal is refused as a whole if anything has changed since") {
    rota::options o{.auto_rebalance = false};
    trio group{o};
    group.join("d");
    group.pass(2s);
    auto const p = group.a->propose().value();
    REQUIRE(p.voluntary == 3);
    SECTION("a schedule more") { REQUIRE(group.b->register_schedules({{.id = "new"}}).all()); }
    SECTION("a node more") { group.join("e"); }
    SECTION("an order more") { REQUIRE(group.b->drain("b")); }
    SECTION("an attribute") { REQUIRE(group.b->set_attributes({.capacity = 100})); }
    auto const refused = group.a->apply(p);
    REQUIRE_FALSE(refused);
    CHECK(refused.error() == errc::conflict);
    group.pass(2s);
    CHECK(group.moves(change_reason::rebalanced) == 0);
}

TEST_CASE("under maintenance a proposal moves nothing") {
    rota::options o{.auto_rebalance = false};
    trio group{o};
    group.join("d");
    REQUIRE(group.a->begin_maintenance());
    group.pass(2s);
    auto const p = group.a->propose().value();
    REQUIRE(p.voluntary == 3);
    CHECK(group.a->apply(p).error() == errc::conflict);
}

}  // namespace orders_test
