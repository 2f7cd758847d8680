// Locks that come with their schedules (options::handoff_lock_ttl): who takes one without a request, until when it is
// believed in, and what becomes of those that nobody takes.
#include "../support/core_group.hpp"

using namespace std::chrono_literals;
using namespace rota;
using rota::test::core_group;
using rota::test::core_node;

namespace {

// a owns "x"; locks go along for 3 s.
struct pair : core_group {
    pair() {
        defaults.handoff_lock_ttl = 3s;
        defaults.auto_rebalance = false;
        a = &join("a");
        b = &join("b");
        c = &join("c");
        a->own_new("x");
        tick({a, b, c});
        ticked = now - 1ms;  // b
        now += 400ms;
    }
    void give(core_node& from, core_node& to) {
        REQUIRE(from->give("x", to->self().incarnation, now));
        from.drive();
        REQUIRE(owner() == to->self().incarnation);
    }
    [[nodiscard]] fencing_token owner() const { return store.schedules().find("x")->second.owner; }
    [[nodiscard]] fencing_token generation() const { return store.schedules().find("x")->second.generation; }
    /// Who has the lock as the server sees it; 0: nobody.
    [[nodiscard]] fencing_token holder() const {
        auto const& locks = store.locks(op::lock_kind::schedule);
        auto const l = locks.find("x");
        auto const server = 1'000'000'000 + now.time_since_epoch().count();
        return l == locks.end() || l->second.deadline <= server ? 0 : l->second.holder;
    }
    op::outcome acquire(core_node& by) { return by.ask_one(by->acquisition(op::lock_kind::schedule, {"x"}, 3s)); }

    core_node* a = nullptr;
    core_node* b = nullptr;
    core_node* c = nullptr;
    instant ticked{};
};

}  // namespace

TEST_CASE("a lock that came with its schedule is taken without a request, once, and believed in since the last tick") {
    pair g;
    g.give(*g.a, *g.b);
    CHECK(g.holder() == (*g.b)->self().incarnation);
    g.now += 100ms;
    g.b->hear();
    auto const lock = (*g.b)->take_handed("x", 3s, g.now);
    REQUIRE(lock);
    CHECK(lock->token == g.generation());
    CHECK(lock->until <= g.ticked + 3s - g.defaults.safety_margin);
    CHECK(lock->until > g.ticked + 2900ms - g.defaults.safety_margin);
    CHECK_FALSE((*g.b)->take_handed("x", 3s, g.now));
    CHECK_FALSE((*g.b)->handed_in_the_way_of("x", g.now));
    // It is a lock like any other: extended, waited for by who is to hand over, released.
    CHECK(g.acquire(*g.b).code == errc::locked_by_other);
    CHECK_FALSE((*g.b)->give("x", (*g.c)->self().incarnation, g.now));
    CHECK(g.b->ask_one(
                 op::extend_locks{.incarnation = (*g.b)->self().incarnation, .items = {{"x", lock->token}}, .ttl = 3s})
              .ok());
    (*g.b)->on_releasing(op::lock_kind::schedule, "x", lock->token);
    CHECK(g.b->ask_one(op::release_locks{.items = {{"x", lock->token}}}).ok());
    (*g.b)->on_released(op::lock_kind::schedule, "x", lock->token);
    CHECK(g.acquire(*g.b).token > lock->token);
}

TEST_CASE("who cannot take it gives it back first, as long as it may stand in the way") {
    pair g;
    g.give(*g.a, *g.b);
    microseconds ttl = 3s;
    SECTION("less than half of it is left") {
        g.b->hear();
        g.now += 1200ms;
    }
    SECTION("wanted for a shorter time") {
        g.b->hear();
        ttl = 2s;
    }
    SECTION("wanted for so long that it is less than half") {
        g.b->hear();
        ttl = 6s;
    }
    SECTION("heard of after a tick that may have been sent after it was granted") {
        g.b->tick();
        REQUIRE_FALSE(g.b->has_news());
    }
    SECTION("read anew, without a word of locks") {
        (*g.b)->server_changed();
        g.b->drive();
    }
    SECTION("another server answers since") {
        g.b->hear();
        (*g.b)->server_changed();
    }
    CHECK_FALSE((*g.b)->take_handed("x", ttl, g.now));
    auto const token = (*g.b)->handed_in_the_way_of("x", g.now);
    REQUIRE(token);
    CHECK(*token == g.generation());
    CHECK(g.b->ask_one(op::release_locks{.items = {{"x", *token}}}).ok());
    (*g.b)->on_released(op::lock_kind::schedule, "x", *token);
    CHECK_FALSE((*g.b)->handed_in_the_way_of("x", g.now));
    CHECK(g.acquire(*g.b).ok());
}

TEST_CASE("one that nobody takes runs out") {
    pair g;
    g.give(*g.a, *g.b);
    g.b->hear();
    for (int i = 0; i < 3; ++i) {
        CHECK((*g.b)->handed_in_the_way_of("x", g.now));
        g.now += 1s;
        g.b->tick();
    }
    g.now += 50ms;
    CHECK(g.holder() == 0);
    CHECK_FALSE((*g.b)->handed_in_the_way_of("x", g.now));
    CHECK(g.acquire(*g.b).ok());
}

TEST_CASE("a schedule goes on although nobody took its lock") {
    pair g;
    g.give(*g.a, *g.b);
    g.b->hear();
    auto const before = g.generation();
    SECTION("given away") {
        // Not in one step: its lock may be somebody's.
        REQUIRE_FALSE((*g.b)->give("x", (*g.c)->self().incarnation, g.now));
    }
    SECTION("the reply to giving the lock back is lost") {
        REQUIRE(g.b->ask_one(op::revoke{.incarnation = (*g.b)->self().incarnation,
                                        .items = {{"x", before, (*g.b)->self().incarnation, (*g.c)->self().incarnation,
                                                   change_reason::transferred}},
                                        .handoff_deadline = 10s})
                    .ok());
        g.b->hear();
        REQUIRE(g.b->step(true));
        g.now += 1s;
    }
    if (g.store.schedules().find("x")->second.move.to == 0) {
        REQUIRE(g.b->ask_one(op::revoke{.incarnation = (*g.b)->self().incarnation,
                                        .items = {{"x", before, (*g.b)->self().incarnation, (*g.c)->self().incarnation,
                                                   change_reason::transferred}},
                                        .handoff_deadline = 10s})
                    .ok());
        g.b->hear();
    }
    CHECK_FALSE((*g.b)->take_handed("x", 3s, g.now));
    g.b->drive();
    CHECK(g.owner() == (*g.c)->self().incarnation);
    CHECK(g.generation() > before);
    g.c->hear();
    CHECK((*g.c)->take_handed("x", 3s, g.now));
}

TEST_CASE("the lock of a schedule that is registered no more is given back") {
    pair g;
    g.give(*g.a, *g.b);
    g.b->hear();
    REQUIRE(g.a->ask_one(op::unregister_schedules{.items = {{"x", (*g.b)->self().incarnation}}, .nonce = 7}).ok());
    CHECK(g.holder() != 0);
    g.b->hear();
    CHECK_FALSE((*g.b)->take_handed("x", 3s, g.now));
    g.b->drive();
    CHECK(g.holder() == 0);
}

TEST_CASE("a membership that ends takes with it what came") {
    pair g;
    g.give(*g.a, *g.b);
    g.b->hear();
    CHECK((*g.b)->has_handed_locks());
    g.b->leave();
    CHECK_FALSE((*g.b)->has_handed_locks());
}

TEST_CASE("without the option, schedules go alone") {
    core_group g;
    g.defaults.auto_rebalance = false;
    auto& a = g.join("a");
    auto& b = g.join("b");
    a.own_new("x");
    g.tick({&a, &b});
    REQUIRE(a->give("x", b->self().incarnation, g.now));
    a.drive();
    b.hear();
    CHECK_FALSE(b->has_handed_locks());
    CHECK(g.store.locks(op::lock_kind::schedule).empty());
}
