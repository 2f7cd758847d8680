// What wakes a leader that sleeps, and what it learns with its next tick instead.
#include "../support/core_group.hpp"

namespace calls_test {

using namespace rota;
using namespace std::chrono_literals;
using rota::test::core_group;
using rota::test::core_node;

namespace {

op::acknowledge hand_over(core_group const& g, std::string const& id, core_node& to, bool unasked) {
    auto const& record = g.store.schedules().at(id);
    op::acknowledge request{.incarnation = record.owner};
    request.items.push_back(
        {.id = id, .generation = record.generation, .to = to->self().incarnation, .unasked = unasked});
    return request;
}

}  // namespace

TEST_CASE("a leader sleeps on where others hand over or claim, and knows of it after its next tick") {
    core_group g;
    g.defaults.auto_rebalance = false;
    auto& a = g.join("a");
    auto& b = g.join("b");
    auto& c = g.join("c");
    b.own_new("x");
    b.own_new("y");
    g.tick({&b, &c, &a});
    REQUIRE(a.leads());
    REQUIRE_FALSE(a.has_news());

    SECTION("a hand-over by the owner") {
        REQUIRE(b.ask_one(hand_over(g, "x", c, true)).ok());
        CHECK(c.has_news());
    }
    SECTION("several at once") {
        auto both = hand_over(g, "x", c, true);
        both.items.push_back(hand_over(g, "y", c, true).items.front());
        REQUIRE(b.ask_one(both).ok());
        REQUIRE(g.store.schedules().at("y").owner == c->self().incarnation);
        CHECK(c.has_news());
    }
    SECTION("a claim") {
        REQUIRE(b.ask(op::register_schedules{.items = {{.id = "z"}}}));
        auto const called = g.store.called();  // ... by that, which it has not read yet
        REQUIRE(b.ask_one(op::claim{.incarnation = c->self().incarnation, .ids = {"z"}}).ok());
        CHECK(g.store.called() == called);
        CHECK(c.has_news());
        return;
    }
    SECTION("a hand-off that the owner begins") {
        auto const incarnation = b->self().incarnation;
        REQUIRE(b.ask_one(op::revoke{.incarnation = incarnation,
                                     .items = {{"x", g.store.schedules().at("x").generation, incarnation,
                                                c->self().incarnation, change_reason::transferred, false}},
                                     .handoff_deadline = 30s})
                    .ok());
        CHECK(b.has_news());
    }
    CHECK_FALSE(a.has_news());
    CHECK(a->feed().cursor() < g.store.seq());
    a.tick();
    CHECK(a->feed().cursor() == g.store.seq());
}

TEST_CASE("a leader is woken for what it may have to act on") {
    core_group g;
    g.defaults.auto_rebalance = false;
    auto& a = g.join("a");
    auto& b = g.join("b");
    auto& c = g.join("c");
    b.own_new("x");
    b.own_new("y");
    g.tick({&b, &c, &a});
    REQUIRE_FALSE(a.has_news());

    SECTION("a new schedule") { REQUIRE(b.ask(op::register_schedules{.items = {{.id = "z"}}})); }
    SECTION("a node that joins") { g.join("d"); }
    SECTION("a node that leaves") { b.leave(); }
    SECTION("an order") { REQUIRE(b.ask(op::give_order{op::order_kind::drain, "b"})); }
    SECTION("what a node can take") { REQUIRE(b.ask(op::describe_node{b->self().incarnation, 1, {}})); }
    SECTION("the end of a move that it had asked for") {
        auto const ends = hand_over(g, "x", c, false);
        REQUIRE(a.ask_one(op::revoke{.incarnation = a->self().incarnation,
                                     .term = g.store.leader().term,
                                     .items = {{"x", ends.items.front().generation, b->self().incarnation,
                                                c->self().incarnation, change_reason::rebalanced}},
                                     .handoff_deadline = 5s})
                    .ok());
        a.tick();
        REQUIRE_FALSE(a.has_news());
        REQUIRE(b.ask_one(ends).ok());
    }
    CHECK(a.has_news());
}

TEST_CASE("a leader follows all events while there are many of them") {
    core_group g;
    g.defaults.auto_rebalance = false;
    auto& a = g.join("a");
    auto& b = g.join("b");
    auto& c = g.join("c");
    b.own_new("x");
    auto const heartbeat = [&](int hand_overs) {
        for (int i = 0; i < hand_overs; ++i) {
            bool const there = g.store.schedules().at("x").owner == b->self().incarnation;
            REQUIRE((there ? b : c).ask_one(hand_over(g, "x", there ? c : b, true)).ok());
        }
        g.now += 1s;
        g.tick({&b, &c, &a});
        return a->what_to_listen_for().group;
    };
    CHECK(heartbeat(10) == group_interest::calls);
    CHECK(heartbeat(500) == group_interest::calls);
    CHECK(heartbeat(520) == group_interest::all);
    CHECK(a->feed().cursor() == g.store.seq());
    CHECK(heartbeat(300) == group_interest::all);
    CHECK(heartbeat(250) == group_interest::calls);
}

TEST_CASE("who follows all events is woken by each") {
    core_group g;
    g.defaults.event_scope = event_scope::group;
    auto& a = g.join("a");
    auto& b = g.join("b");
    b.own_new("x");
    g.tick({&b, &a, &b});
    REQUIRE_FALSE(a.has_news());
    REQUIRE(b.ask_one(hand_over(g, "x", a, true)).ok());
    CHECK(a.has_news());
    CHECK(b.has_news());
}

}  // namespace calls_test
