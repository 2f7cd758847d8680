// Leadership that is passed on: what the heir makes of it when it hears, step by step.
#include <set>

#include "../support/core_group.hpp"

namespace succession_test {

using namespace std::chrono_literals;
using namespace rota;
using rota::detail::standing;
using rota::test::core_group;

TEST_CASE("the heir leads when it hears, and no longer than a lease after its last tick was sent") {
    core_group g;
    auto& a = g.join("a");
    auto& b = g.join("b");
    g.now += 500ms;
    g.tick({&b, &a});
    auto const last_tick = g.now - 1ms;
    g.now += 400ms;
    a.leave();
    CHECK_FALSE(a.leads());
    CHECK(g.leader() == "b");
    CHECK_FALSE(b.leads());
    g.now += 100ms;
    b.hear();
    CHECK(b.leads());
    CHECK(b.leads_until() <= last_tick + 3s - g.defaults.safety_margin);
    CHECK(b.leads_until() > last_tick + 3s - g.defaults.safety_margin - 100ms);
    REQUIRE(b.told().size() == 2);
    CHECK(b.told().back().leader.id == "b");
    CHECK(b.told().back().term == g.store.leader().term);
    CHECK(b.told().back().previous.id == "a");
    // Its next tick, at once, makes a whole lease of it.
    b.drive();
    CHECK(b.leads_until() > g.now + 2900ms - g.defaults.safety_margin);
    CHECK(b.told().size() == 2);
}

TEST_CASE("who hears too late does not believe, and learns with its next tick how it stands") {
    core_group g;
    auto& a = g.join("a");
    auto& b = g.join("b");
    g.tick({&b, &a});
    a.leave();
    g.now += 3100ms;
    b.hear();
    CHECK_FALSE(b.leads());
    b.drive();
    CHECK(b.leads());  // nobody else was there to take it
}

TEST_CASE("nothing is believed before the first answered tick: a join that was repeated may be older than it seems") {
    core_group g;
    auto& a = g.join("a");
    auto& b = g.add("b");
    b->want_join(g.now);
    REQUIRE(b.step(true));  // it is a member, and does not know
    g.now += 100ms;
    g.tick({&a});
    a.leave();
    CHECK(g.leader() == "b");
    g.now += 2900ms;
    REQUIRE(b.step());  // told now, with the lease nearly over
    REQUIRE(b->state() == standing::member);
    SECTION("pushed") { b.hear(); }
    SECTION("read, because somebody asked for it") {
        b->own_log_moved();
        auto const request = b->next(g.now);
        REQUIRE(request);
        CHECK(std::holds_alternative<op::tick>(*request));
    }
    CHECK_FALSE(b.leads());
}

TEST_CASE("an heir that goes before its first tick passes it on to who comes next") {
    core_group g;
    auto& a = g.join("a");
    auto& b = g.join("b");
    auto& c = g.join("c");
    g.tick({&c, &b, &a});
    SECTION("leaves") {
        a.leave();
        REQUIRE(g.leader() == "b");
        b.hear();
        b.leave();
    }
    SECTION("renounces") {
        a.renounce();
        REQUIRE(g.leader() == "b");
        b.hear();
        b.renounce();
        // It goes by whom the server heard of last, and a has only just renounced.
        if (g.leader() == "a") a.hear(), a.drive();
    }
    CHECK(g.leader() == "c");
    CHECK(c.has_news());
    c.hear();
    CHECK(c.leads());
}

TEST_CASE(
    "a leader that goes before its next tick passes leadership on to whom it has only read of, or heard of, since") {
    core_group g;
    auto& a = g.add("a");
    a->want_join(g.now);
    REQUIRE(a.step());  // a member
    REQUIRE(a.step());  // the leader, alone
    REQUIRE(a.leads());
    bool const heard_of = GENERATE(false, true);
    if (heard_of) a.drive();
    auto& b = g.join("b");
    if (heard_of) a.hear();
    a.drive();
    REQUIRE(g.leader() == "a");
    GENERATE(false, true) ? a.leave() : a.renounce();
    CHECK(g.leader() == "b");
    b.hear();
    CHECK(b.leads());
}

TEST_CASE("two that have just renounced do not pass leadership to and fro: who declined once takes it") {
    core_group g;
    auto& a = g.join("a");
    auto& b = g.join("b");
    a.hear();
    a.drive();
    g.tick({&b, &a});
    a.renounce();
    b.hear();
    b.drive();
    REQUIRE(b.leads());
    b.renounce();
    bool const pushed = GENERATE(true, false);
    std::set<fencing_token> seen;
    for (int i = 0; i < 150; ++i) {
        g.now += 10ms;
        for (auto* each : {&a, &b}) {
            if (pushed) each->hear();
            (*each)->want_full_tick(g.now);
            each->drive();
            if (!g.leader().empty()) seen.insert(g.store.leader().term);
        }
    }
    CHECK(seen.size() <= 3);
    CHECK(a.leads() != b.leads());
}

TEST_CASE("a leader that renounces where nobody can follow leads again soon") {
    core_group g;
    auto& a = g.join("a");
    auto& b = g.join("b");  // and is never heard of again
    a.hear();
    a.drive();
    for (int i = 0; i < 5; ++i) {
        g.now += 1s;
        a.tick();
    }
    g.now += 1500ms;
    a->want_tick(g.now);
    REQUIRE(a.step());  // it hears that b has expired, and has not taken it out yet
    REQUIRE(a.leads());
    REQUIRE(a->feed().picture().is_listed(b->self().incarnation));
    a.renounce();
    REQUIRE(g.leader().empty());
    g.now += 500ms;
    a.drive();
    CHECK(a.leads());
}

TEST_CASE("a leader whose heirs leave has others") {
    core_group g;
    auto& a = g.join("a");
    auto& b = g.join("b");
    auto& c = g.join("c");
    auto& d = g.join("d");
    auto& e = g.join("e");
    g.tick({&e, &b, &c, &d, &a});  // the freshest three are told to a, and e is none of them
    for (auto* each : {&b, &c, &d}) each->leave();
    a.hear();
    a.drive();
    a.leave();
    CHECK(g.leader() == "e");
    e.hear();
    CHECK(e.leads());
}

TEST_CASE("who has just renounced declines in favour of who comes next") {
    core_group g;
    auto& a = g.join("a");
    auto& b = g.join("b");
    auto& c = g.join("c");
    g.tick({&c, &b, &a});
    a.renounce();
    REQUIRE(g.leader() == "b");
    b.hear();
    g.tick({&c, &a, &b});
    REQUIRE(b.leads());
    b.renounce();
    REQUIRE(g.leader() == "a");
    SECTION("when it hears") { a.hear(); }
    SECTION("when its tick says so") { g.now += 1s; }
    a.drive();
    CHECK_FALSE(a.leads());
    if (g.leader() == "b") b.hear(), b.drive();  // it has just renounced, too
    CHECK(g.leader() == "c");
    c.hear();
    CHECK(c.leads());
    CHECK_FALSE(b.leads());
}

TEST_CASE("what is over is told of before what begins") {
    core_group g;
    g.defaults.node_ttl = 20s;
    auto& b = g.join("b");
    auto lease = g.defaults;
    g.defaults.leader_lease = 15s;
    auto& c = g.join("c");
    g.tick({&c, &b});
    REQUIRE(b.leads());
    g.now += 4s;  // b stands still
    c.tick();
    REQUIRE(c.leads());
    c.tick();
    c.leave();
    REQUIRE(g.leader() == "b");
    b.hear();
    CHECK(b.leads());
    auto const told = b.told();
    REQUIRE(told.size() == 3);
    CHECK(told[0].leader.id == "b");
    CHECK(told[1].leader.id.empty());
    CHECK(told[1].previous.id == "b");
    CHECK(told[2].leader.id == "b");
    CHECK(told[2].term == g.store.leader().term);
}

TEST_CASE("a renounce that the server refuses leaves the leader what it is") {
    core_group g;
    auto& a = g.join("a");
    auto& b = g.join("b");
    g.tick({&b, &a});
    auto const request = a->begin_renounce(g.now);
    REQUIRE(request);
    CHECK_FALSE(a.leads());
    a->done(*request, error{errc::refused_by_server, "OOM"}, g.now, g.now);
    CHECK(g.leader() == "a");
    g.now += 1s;
    a.tick();
    CHECK(a.leads());
}

TEST_CASE("a leader that leaves passes leadership on first, and then goes") {
    core_group g;
    auto& a = g.join("a");
    auto& b = g.join("b");
    g.tick({&b, &a});
    a->begin_leave();
    CHECK_FALSE(a.leads());
    auto const first = a->leave_operation();
    REQUIRE(first);
    REQUIRE(std::holds_alternative<op::renounce>(*first));

    SECTION("the heir need not wait for the rest") {
        REQUIRE(a.ask(*first));
        b.hear();
        CHECK(b.leads());
        a->finish_leave(true);
        auto const second = a->leave_operation();
        REQUIRE(second);
        REQUIRE(std::holds_alternative<op::leave>(*second));
        REQUIRE(a.ask(*second));
        a->finish_leave(true);
        CHECK_FALSE(a->leave_operation());
        CHECK(g.leader() == "b");
        b.tick();
        CHECK(b.leads());
    }
    SECTION("where that fails, the goodbye passes leadership on as well") {
        a->finish_leave(false);
        REQUIRE(a.ask(*a->leave_operation()));
        a->finish_leave(true);
        CHECK_FALSE(a->leave_operation());
        CHECK(g.leader() == "b");
        b.hear();
        CHECK(b.leads());
    }
}

}  // namespace succession_test
