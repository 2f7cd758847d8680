// Locks: the exclusive right to process a schedule, or to use a name, for a while.
#include "../support/scenario.hpp"

#include <optional>

namespace locks_test {

using namespace std::chrono_literals;
using rota::errc;
using rota::schedule_lock;
using rota_test::contains;
using rota_test::ids;
using rota_test::member;
using rota_test::scenario;
using rota_test::schedules;

namespace {

// Two nodes; a owns the even half, b the odd half of what is registered.
struct pair_of_nodes : scenario {
    explicit pair_of_nodes(std::size_t count = 4, rota::options o = {}) : scenario{o}, a{join("a")}, b{join("b")} {
        REQUIRE(a->register_schedules(schedules("s", count)).all());
        pass(3s);
        REQUIRE(owned() == count);
        REQUIRE_FALSE(a.owned().empty());
        REQUIRE_FALSE(b.owned().empty());
        of_a = a.owned().front();
        of_b = b.owned().front();
    }
    member& a;
    member& b;
    std::string of_a, of_b;
};

}  // namespace

TEST_CASE("try_lock: the owner gets it, with a token; nobody else, and not twice") {
    pair_of_nodes group;
    auto& lock = group.keep(group.a->try_lock(group.of_a, 5s));
    CHECK(lock.valid());
    CHECK(lock.name() == group.of_a);
    CHECK(lock.token() > group.a.generation_of(group.of_a));
    CHECK(lock.remaining() > 2s);
    CHECK(lock.remaining() <= 5s);

    auto const again = group.a->try_lock(group.of_a, 5s);
    REQUIRE_FALSE(again);
    CHECK(again.error() == errc::locked_by_other);
    CHECK_THAT(again.error().detail, contains(group.of_a) && contains("ms"));
    CHECK(group.b->try_lock(group.of_a, 5s).error() == errc::not_owner);
    CHECK(group.b->try_lock("nowhere", 5s).error() == errc::unknown_schedule);
    CHECK(lock.valid());
}

TEST_CASE("a lock ends by its ttl, by itself, earlier than at the server") {
    rota::options o{.node_ttl = 60s, .leader_lease = 60s, .clock_drift = 0.02, .safety_margin = 100ms};
    pair_of_nodes group{4, o};
    auto& lock = group.keep(group.a->try_lock(group.of_a, 5s));
    // 5 s less 2 % less 100 ms.
    CHECK(lock.remaining() == 4800ms);
    group.pass_silently(4799ms);
    CHECK(lock.valid());
    CHECK(group.a->try_lock(group.of_a, 5s).error() == errc::locked_by_other);
    group.pass_silently(1ms);
    CHECK_FALSE(lock.valid());
    CHECK(lock.remaining() == 0us);
    // The server's time is not up yet.
    CHECK(group.a->try_lock(group.of_a, 5s).error() == errc::locked_by_other);
    group.pass_silently(199ms);
    CHECK(group.a->try_lock(group.of_a, 5s).error() == errc::locked_by_other);
    group.pass_silently(1ms);
    auto& next = group.keep(group.a->try_lock(group.of_a, 5s));
    CHECK(next.token() > lock.token());
    CHECK_FALSE(lock.valid());
    CHECK(lock.release().error() == errc::lock_lost);
    CHECK(next.valid());
}

TEST_CASE("extend: makes it last, never shortens it, and not once it has ended") {
    rota::options o{.node_ttl = 60s, .leader_lease = 60s};
    pair_of_nodes group{4, o};
    auto& lock = group.keep(group.a->try_lock(group.of_a, 10s));
    auto const long_one = lock.remaining();
    CHECK(lock.extend(1s));
    CHECK(lock.remaining() == long_one);
    group.pass_silently(5s);
    CHECK(lock.extend(10s));
    CHECK(lock.remaining() == long_one);
    CHECK(lock.token() > 0);
    group.pass_silently(11s);
    CHECK_FALSE(lock.valid());
    CHECK(lock.extend(10s).error() == errc::lock_lost);
    CHECK_FALSE(lock.valid());
    CHECK(lock.extend(10s).error() == errc::lock_lost);
}

TEST_CASE("valid() ends at the earlier of the lock's and the node's deadline") {
    rota::options o{.node_ttl = 4s, .clock_drift = 0, .safety_margin = 0us};
    pair_of_nodes group{4, o};
    REQUIRE(group.a->tick());
    auto& longer = group.keep(group.a->try_lock_name("long", 60s));
    auto& shorter = group.keep(group.a->try_lock_name("short", 2s));
    CHECK(longer.remaining() == 4s);
    CHECK(shorter.remaining() == 2s);
    group.pass_silently(2s);
    CHECK_FALSE(shorter.valid());
    CHECK(longer.valid());
    group.pass_silently(1999ms);
    CHECK(longer.valid());
    group.pass_silently(1ms);
    CHECK_FALSE(longer.valid());
    // In contact again: the lock itself is still there.
    REQUIRE(group.a->tick());
    CHECK(longer.valid());
}

TEST_CASE("release: invalid at once, free for the next, and only once") {
    pair_of_nodes group;
    auto& lock = group.keep(group.a->try_lock(group.of_a, 5s));
    auto const token = lock.token();
    CHECK(lock.release());
    CHECK_FALSE(lock.valid());
    CHECK(lock.token() == token);
    CHECK(lock.release().error() == errc::lock_lost);
    auto& next = group.keep(group.a->try_lock(group.of_a, 5s));
    CHECK(next.token() > token);
    CHECK(next.valid());
}

TEST_CASE("a release that does not arrive: invalid all the same, and the lock ends with its ttl") {
    pair_of_nodes group;
    auto& lock = group.keep(group.a->try_lock(group.of_a, 2s));
    group.a.cut();
    CHECK(lock.release().error() == errc::unavailable);
    CHECK_FALSE(lock.valid());
    group.a.mend();
    CHECK(group.a->try_lock(group.of_a, 2s).error() == errc::locked_by_other);
    group.pass(2s);
    CHECK(group.a->try_lock(group.of_a, 2s));
}

TEST_CASE("destruction releases") {
    pair_of_nodes group;
    {
        auto const lock = group.a->try_lock(group.of_a, 50s);
        REQUIRE(lock);
        CHECK(group.a->try_lock(group.of_a, 50s).error() == errc::locked_by_other);
    }
    CHECK(group.a->try_lock(group.of_a, 50s));
}

TEST_CASE("handles move, and what was moved from holds nothing") {
    static_assert(!std::is_copy_constructible_v<schedule_lock> && !std::is_copy_assignable_v<schedule_lock>);
    static_assert(std::is_nothrow_move_constructible_v<schedule_lock> &&
                  std::is_nothrow_move_assignable_v<schedule_lock>);
    pair_of_nodes group;
    schedule_lock first = group.a->try_lock(group.of_a, 50s).value();
    auto const token = first.token();

    schedule_lock second{std::move(first)};
    CHECK(second.valid());
    CHECK(second.token() == token);
    CHECK_FALSE(first.valid());
    CHECK(first.token() == 0);
    CHECK(first.name().empty());
    CHECK(first.remaining() == 0us);
    CHECK(first.release().error() == errc::lock_lost);
    CHECK(first.extend(1s).error() == errc::lock_lost);
    CHECK(second.valid());

    first = std::move(second);
    CHECK(first.valid());
    CHECK_FALSE(second.valid());

    // What a handle held is released when another lock is moved into it.
    first = group.a->try_lock_name("n", 50s).value();
    CHECK(first.name() == "n");
    CHECK(group.a->try_lock(group.of_a, 50s));
    auto& self = first;
    first = std::move(self);
    CHECK(first.valid());

    schedule_lock const nothing;
    CHECK_FALSE(nothing.valid());
    CHECK(nothing.token() == 0);
}

TEST_CASE("a released handle stays released, wherever it is moved") {
    scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    auto first = a->try_lock_name("name", 5s);
    REQUIRE(first);
    first->release();
    auto& second = group.keep(b->try_lock_name("name", 5s));
    rota::schedule_lock moved{std::move(*first)};
    CHECK_FALSE(moved.valid());
    rota::schedule_lock assigned;
    assigned = std::move(moved);
    CHECK_FALSE(assigned.valid());
    CHECK(assigned.extend(5s).error() == errc::lock_lost);
    CHECK(second.valid());
}

TEST_CASE("a handle that outlives its coordinator is invalid, and harmless") {
    rota::memory_store store{rota::manual_time};
    rota::manual_clock clock;
    std::optional<schedule_lock> lock;
    {
        rota::basic_coordinator node{rota::options{.node_id = "a"}, rota::memory_transport{store}, clock};
        REQUIRE(node.join());
        lock = node.try_lock_name("n", 50s).value();
        REQUIRE(lock->valid());
    }
    CHECK_FALSE(lock->valid());
    CHECK(lock->remaining() == 0us);
    CHECK(lock->token() > 0);
    CHECK(lock->extend(5s).error() == errc::lock_lost);
    CHECK(lock->release().error() == errc::lock_lost);
    lock.reset();
}

TEST_CASE("leave invalidates every lock, and frees them for others") {
    pair_of_nodes group;
    auto& lock = group.keep(group.a->try_lock_name("n", 50s));
    REQUIRE(group.a->leave());
    CHECK_FALSE(lock.valid());
    auto& next = group.keep(group.b->try_lock_name("n", 50s));
    CHECK(next.token() > lock.token());
    (void)lock.release();
    CHECK(next.valid());
    CHECK(group.a->join());
    CHECK_FALSE(lock.valid());
    CHECK(group.a->try_lock_name("n", 50s).error() == errc::locked_by_other);
}

TEST_CASE("extending after leave() says that the lock is lost, and ends the handle") {
    scenario group;
    auto& a = group.join("a");
    auto lock = a->try_lock_name("n", 5s);
    REQUIRE(lock);
    REQUIRE(a->leave());
    CHECK(lock->extend(5s).error() == errc::lock_lost);
    REQUIRE(a->join());
    CHECK(lock->extend(5s).error() == errc::lock_lost);
    CHECK_FALSE(lock->valid());
}

TEST_CASE("a lock of a dead node ends with the node, not with its ttl") {
    pair_of_nodes group;
    auto& lock = group.keep(group.b->try_lock(group.of_b, 600s));
    auto& name = group.keep(group.b->try_lock_name("n", 600s));
    group.b.crash();
    group.pass(5s);
    REQUIRE(group.a.owns(group.of_b));
    CHECK_FALSE(lock.valid());
    CHECK(group.keep(group.a->try_lock(group.of_b, 5s)).token() > lock.token());
    CHECK(group.keep(group.a->try_lock_name("n", 5s)).token() > name.token());
}

TEST_CASE("names and schedule ids do not meet") {
    pair_of_nodes group;
    auto& by_name = group.keep(group.b->try_lock_name("x-" + group.of_a, 5s));
    auto const as_name = group.b->try_lock_name(group.of_a, 5s);
    CHECK(as_name);
    auto const as_schedule = group.a->try_lock(group.of_a, 5s);
    CHECK(as_schedule);
    CHECK(by_name.valid());
}

TEST_CASE("a name is locked by one, whoever it is") {
    pair_of_nodes group;
    auto& lock = group.keep(group.a->try_lock_name("n", 5s));
    CHECK(group.b->try_lock_name("n", 5s).error() == errc::locked_by_other);
    CHECK(lock.release());
    auto& next = group.keep(group.b->try_lock_name("n", 5s));
    CHECK(next.valid());
    CHECK(group.a->try_lock_name("n", 5s).error() == errc::locked_by_other);
}

TEST_CASE("durations that make no lock are refused in words") {
    pair_of_nodes group;
    auto const before = group.a.wire.requests();
    for (auto ttl : {0us, -1us, 999us, 50'000us, rota::microseconds::min(), rota::microseconds::max(),
                     rota::microseconds{31 * 24h}}) {
        CAPTURE(ttl.count());
        auto const r = group.a->try_lock(group.of_a, ttl);
        REQUIRE_FALSE(r);
        CHECK(r.error() == errc::invalid_argument);
        CHECK_THAT(r.error().detail, contains("ttl"));
        CHECK(group.a->try_lock_name("n", ttl).error() == errc::invalid_argument);
        CHECK(group.a->try_lock_each({group.of_a}, ttl).all().error() == errc::invalid_argument);
    }
    CHECK(group.a.wire.requests() == before);
    auto& lock = group.keep(group.a->try_lock(group.of_a, 5s));
    CHECK(lock.extend(0s).error() == errc::invalid_argument);
    CHECK(lock.extend(-5s).error() == errc::invalid_argument);
    CHECK(lock.valid());
}

TEST_CASE("many at once: one answer per item, one request per 200") {
    rota::options o{.node_ttl = 60s};
    pair_of_nodes group{1000, o};
    auto wanted = group.a.owned();
    REQUIRE(wanted.size() == 500);
    wanted[7] = group.of_b;
    wanted[450] = "nowhere";
    auto const before = group.a.wire.requests();

    auto locks = group.a->try_lock_each(wanted, 5s);

    CHECK(group.a.wire.requests() - before == 3);
    REQUIRE(locks.size() == 500);
    std::set<rota::fencing_token> tokens;
    std::vector<schedule_lock> held;
    for (std::size_t i = 0; i < 500; ++i) {
        if (i == 7) {
            CHECK(locks[i].error() == errc::not_owner);
        } else if (i == 450) {
            CHECK(locks[i].error() == errc::unknown_schedule);
        } else {
            REQUIRE(locks[i]);
            REQUIRE(locks[i]->name() == wanted[i]);
            REQUIRE(locks[i]->valid());
            tokens.insert(locks[i]->token());
            held.push_back(std::move(*locks[i]));
        }
    }
    CHECK(tokens.size() == 498);

    SECTION("extended and released together") {
        group.pass_silently(500ms);
        auto const shorter = held.front().remaining();
        auto const at = group.a.wire.requests();
        REQUIRE(group.a->extend_each(held, 8s).all());
        CHECK(group.a.wire.requests() - at == 3);
        CHECK(held.front().remaining() > shorter);
        CHECK(held.back().remaining() > shorter);
        auto const released = group.a->release_each(held);
        CHECK(group.a.wire.requests() - at == 6);
        CHECK(released.size() == 498);
        CHECK(released.all());
        for (auto& lock : held) REQUIRE_FALSE(lock.valid());
        CHECK(group.a->release_each(held).all().error() == errc::lock_lost);
        CHECK(group.a.wire.requests() - at == 6);
        CHECK(group.a->try_lock(wanted[0], 5s));
    }
    SECTION("both kinds, empty handles and lost ones in between") {
        held.resize(3);
        (void)held[1].release();
        held.push_back(group.a->try_lock_name("n", 5s).value());
        held.emplace_back();
        auto const extended = group.a->extend_each(held, 8s);
        REQUIRE(extended.size() == 5);
        CHECK(extended[0]);
        CHECK(extended[1].error() == errc::lock_lost);
        CHECK(extended[2]);
        CHECK(extended[3]);
        CHECK(extended[4].error() == errc::lock_lost);
        auto const released = group.a->release_each(held);
        CHECK(released[0]);
        CHECK(released[1].error() == errc::lock_lost);
        CHECK(released[3]);
        CHECK(group.b->try_lock_name("n", 5s));
    }
}

TEST_CASE("locks of another coordinator are left alone by extend_each and release_each") {
    pair_of_nodes group;
    std::vector<schedule_lock> of_b;
    of_b.push_back(group.b->try_lock(group.of_b, 5s).value());
    CHECK(group.a->extend_each(of_b, 5s).front().error() == errc::lock_lost);
    CHECK(of_b.front().valid());
    CHECK(group.a->release_each(of_b).front().error() == errc::lock_lost);
    CHECK(of_b.front().valid());
    CHECK(of_b.front().extend(5s));
}

TEST_CASE("try_lock tells of the state at the server, not of what this node believes") {
    pair_of_nodes group;
    // b has not heard yet that its schedule is gone.
    REQUIRE(group.a->unregister_schedules({group.of_b}).all());
    REQUIRE(group.b.owns(group.of_b));
    CHECK(group.b->try_lock(group.of_b, 5s).error() == errc::unknown_schedule);
}

TEST_CASE("without contact: unavailable, and nothing is held afterwards") {
    pair_of_nodes group;
    group.a.cut();
    CHECK(group.a->try_lock(group.of_a, 5s).error() == errc::unavailable);
    group.a.mend();
    CHECK(group.a->try_lock(group.of_a, 5s));
}

TEST_CASE("one lost reply is no matter: the request is repeated, and takes one lock, once") {
    for (unsigned lost : {1u, 2u}) {
        CAPTURE(lost);
        pair_of_nodes group;
        group.a.wire.lose_replies(lost);
        auto& lock = group.keep(group.a->try_lock(group.of_a, 5s));
        CHECK(lock.valid());
        group.a.wire.lose_replies(lost);
        CHECK(lock.extend(6s));
        group.a.wire.lose_replies(lost);
        (void)lock.release();  // the repeat may find nothing to release
        CHECK_FALSE(lock.valid());
        CHECK(group.a->try_lock(group.of_a, 5s));
        group.a.wire.lose_replies(lost);
        auto locks = group.a->try_lock_each(group.a.owned(), 5s);
        for (auto& l : locks) CHECK(l);
    }
}

TEST_CASE("if every reply is lost the outcome is unknown, and the lock free again by its ttl at the latest") {
    pair_of_nodes group;
    group.a.wire.lose_replies(100);
    CHECK(group.a->try_lock(group.of_a, 2s).error() == errc::outcome_unknown);
    group.a.wire.lose_replies(0);
    group.pass(2s);
    CHECK(group.a->try_lock(group.of_a, 2s));
}

TEST_CASE("an extension that gets no answer leaves the handle as it was") {
    pair_of_nodes group;
    auto& lock = group.keep(group.a->try_lock(group.of_a, 2500ms));
    auto const left = lock.remaining();
    group.a.cut();
    CHECK(lock.extend(20s).error() == errc::unavailable);
    CHECK(lock.remaining() == left);
    group.a.mend();
    group.a.wire.lose_replies(100);
    CHECK(lock.extend(20s).error() == errc::outcome_unknown);
    CHECK(lock.remaining() == left);
    group.a.wire.lose_replies(0);
    CHECK(lock.extend(20s));
}

}  // namespace locks_test
