// Locks that come with their schedules (options::handoff_lock_ttl): who takes one without a request, until when it is
// believed in, and what becomes of those that nobody takes.
#include "../support/core_group.hpp"

namespace handed_locks_test {

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
    /// Asked for by its owner.
    void revoke(std::string const& id, core_node& from, core_node& to, bool open = false) {
        auto const self = from->self().incarnation;
        auto const under = store.schedules().find(id)->second.generation;
        REQUIRE(from.ask_one(op::revoke{
                                 .incarnation = self,
                                 .items = {{id, under, self, to->self().incarnation, change_reason::transferred, open}},
                                 .handoff_deadline = 10s})
                    .ok());
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

TEST_CASE("a page does not tell of the lock that came along: whoever is refused for it lets it go") {
    pair g;
    bool const option = GENERATE(true, false);
    if (!option) {  // of the new owner: the giver's counts
        auto o = g.defaults;
        g.defaults.handoff_lock_ttl = 0us;
        g.b = &g.join("plain");
        g.defaults = o;
    }
    g.give(*g.a, *g.b);
    (*g.b)->server_changed();
    g.b->drive();
    CHECK_FALSE((*g.b)->has_handed_locks());
    SECTION("locked") {
        REQUIRE(g.acquire(*g.b).code == errc::locked_by_other);
        (*g.b)->on_locked_by_other("x");
        g.b->drive();
        CHECK(g.acquire(*g.b).ok());
        // Once: what else locks it is not for us to release.
        (*g.b)->on_locked_by_other("x");
        CHECK_FALSE(g.b->step());
    }
    SECTION("over, and locked since: it is handed on in one step") {
        g.now += 3s;
        g.b->tick();
        auto const run = g.acquire(*g.b);
        REQUIRE(run.ok());
        (*g.b)->on_lock_granted("x");
        REQUIRE(g.b->ask_one(op::release_locks{.items = {{"x", run.token}}}).ok());
        CHECK((*g.b)->give("x", (*g.c)->self().incarnation, g.now));
    }
    SECTION("it goes in the place of another") {
        g.b->own_new("y");
        auto const busy = g.b->ask_one((*g.b)->acquisition(op::lock_kind::schedule, {"y"}, 3s));
        REQUIRE(busy.ok());
        (*g.b)->on_acquired((*g.b)->entry_of(op::lock_kind::schedule, "y"), busy, g.now, g.now);
        g.revoke("y", *g.b, *g.c, true);
        g.b->hear();
        g.b->drive();
        CHECK(g.owner() == (*g.c)->self().incarnation);
    }
    SECTION("handed on") {
        REQUIRE_FALSE((*g.b)->give("x", (*g.c)->self().incarnation, g.now));
        g.revoke("x", *g.b, *g.c);
        g.b->hear();
        g.b->drive();
        CHECK(g.owner() == (*g.c)->self().incarnation);
    }
}

TEST_CASE("a handle that was taken is never released for being in the way, however its schedule is read anew") {
    pair g;
    g.give(*g.a, *g.b);
    g.b->hear();
    auto const lock = (*g.b)->take_handed("x", 3s, g.now);
    REQUIRE(lock);
    g.now = lock->until;  // our belief ends earlier than the server's
    REQUIRE((*g.b)->give("x", (*g.c)->self().incarnation, g.now));
    REQUIRE(g.b->ask_one(op::extend_locks{
                             .incarnation = (*g.b)->self().incarnation, .items = {{"x", lock->token}}, .ttl = 3s})
                .ok());
    auto const until = (*g.b)->on_extended(op::lock_kind::schedule, "x", {{}, lock->token, 3s}, g.now, g.now);
    (*g.b)->server_changed();
    g.b->drive();
    REQUIRE(g.acquire(*g.b).code != errc{});
    (*g.b)->on_locked_by_other("x");
    g.b->drive();
    CHECK(g.holder() == (*g.b)->self().incarnation);
    CHECK(g.owner() == (*g.b)->self().incarnation);
    CHECK(until > g.now + 2s);
}

TEST_CASE("a lock whose release came to nothing is released with the schedule that is read anew as on its way") {
    pair g;
    g.give(*g.a, *g.b);
    g.b->hear();
    REQUIRE((*g.b)->handed_in_the_way_of("x", g.now));  // and the request is never answered
    g.revoke("x", *g.b, *g.c);
    (*g.b)->server_changed();
    g.b->drive();
    CHECK(g.owner() == (*g.c)->self().incarnation);
}

TEST_CASE("an idle schedule goes in the place of a busy one although it came with its lock") {
    pair g;
    g.b->own_new("y");
    auto const run = g.b->ask_one((*g.b)->acquisition(op::lock_kind::schedule, {"y"}, 3s));
    REQUIRE(run.ok());
    (*g.b)->on_acquired((*g.b)->entry_of(op::lock_kind::schedule, "y"), run, g.now, g.now);
    g.give(*g.a, *g.b);
    g.b->hear();
    g.revoke("y", *g.b, *g.c, true);
    g.b->hear();
    g.b->drive();
    CHECK(g.owner() == (*g.c)->self().incarnation);
    CHECK(g.store.schedules().find("y")->second.owner == (*g.b)->self().incarnation);
}

TEST_CASE("a release that is refused for good does not hold up what else there is to do") {
    pair g;
    g.give(*g.a, *g.b);
    g.b->hear();
    REQUIRE(g.a->ask_one(op::unregister_schedules{.items = {{"x", (*g.b)->self().incarnation}}, .nonce = 7}).ok());
    g.b->hear();
    auto const request = (*g.b)->next(g.now);
    REQUIRE(request);
    REQUIRE(std::holds_alternative<op::release_locks>(*request));
    (*g.b)->done(*request, error{errc::refused_by_server, "NOPERM"}, g.now, g.now);
    g.now += 500ms;
    CHECK_FALSE(g.b->step());
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
        g.revoke("x", *g.b, *g.c);
        g.b->hear();
        REQUIRE(g.b->step(true));
        g.now += 1s;
    }
    if (g.store.schedules().find("x")->second.move.to == 0) {
        g.revoke("x", *g.b, *g.c);
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

}  // namespace handed_locks_test
