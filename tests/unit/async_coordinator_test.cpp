// An asynchronous coordinator: the blocking one's calls with a handler last, on a loop whose time stands still.
#include "../catch.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <rota/async_coordinator.hpp>
#include <rota/sink/recording_sink.hpp>

#include "../support/manual_loop.hpp"

namespace async_coordinator_test {

using namespace std::chrono_literals;
using rota::errc;
using rota::result;
using rota_test::async_memory_transport;
using rota_test::manual_loop;

namespace {

using coordinator = rota::basic_coordinator<async_memory_transport, rota::manual_clock, rota::recording_sink>;

/// What a call's handler was told, and how often.
template <typename T>
struct answer {
    std::optional<T> value;
    int calls = 0;

    auto handler() {
        return [this](T v) {
            ++calls;
            value.emplace(std::move(v));
        };
    }
    explicit operator bool() const { return calls == 1 && value && value->has_value(); }
    [[nodiscard]] rota::error const& error() const { return value->error(); }
};

struct group {
    rota::manual_clock clock;
    manual_loop loop{clock};
    rota::memory_store store{rota::manual_time};

    void pass(rota::microseconds span, rota::microseconds step = 50ms) {
        for (auto left = span; left > 0us; left -= step) {
            clock.advance(std::min(step, left));
            store.advance(std::min(step, left));
            loop.run();
        }
    }
};

struct node {
    node(group& g, std::string id, rota::options o = {})
        : all{g},
          wire{rota::memory_transport{g.store}},
          async{wire, g.loop},
          object{std::make_unique<coordinator>(with_id(std::move(o), std::move(id)), async, g.clock, sink)} {}

    static rota::options with_id(rota::options o, std::string id) {
        o.node_id = std::move(id);
        return o;
    }
    coordinator* operator->() { return object.get(); }

    void run() {
        object->run(ended.handler());
        all.loop.run();
    }
    std::vector<std::string> owned() {
        std::vector<std::string> ids;
        for (auto& s : object->owned()) ids.push_back(s.id);
        return ids;
    }

    group& all;
    rota::memory_transport wire;
    async_memory_transport async;
    rota::recording_sink sink;
    answer<result<void>> ended;  // (before the coordinator: its destructor calls handlers)
    std::unique_ptr<coordinator> object;
};

}  // namespace

TEST_CASE("async: a handler is called once, later, with what the blocking call would return") {
    group all;
    node a{all, "a"};
    answer<result<void>> joined;
    a->join(joined.handler());
    CHECK(joined.calls == 0);
    all.loop.run();
    REQUIRE(joined);
    CHECK(a->is_leader());

    answer<result<void>> again;
    a->join(again.handler());
    CHECK(again.calls == 0);
    all.loop.run();
    CHECK(again);

    node nobody{all, "", {}};
    answer<result<void>> refused;
    nobody->join(refused.handler());
    CHECK(refused.calls == 0);  // although it is known at once
    all.loop.run();
    REQUIRE(refused.calls == 1);
    CHECK(refused.error() == errc::invalid_argument);
}

TEST_CASE("async: nodes on one loop share schedules, and take over from one that is gone") {
    group all;
    node a{all, "a"};
    node b{all, "b"};
    a.run();
    b.run();
    answer<rota::results<void>> registered;
    std::vector<rota::schedule> list;
    for (int i = 0; i < 300; ++i) list.push_back({"s" + std::to_string(i)});  // more than a page
    a->register_schedules(list, registered.handler());
    all.loop.run();
    REQUIRE(registered.value);
    CHECK(registered.value->all());
    all.pass(2s);
    CHECK(a.owned().size() == 150);
    CHECK(b.owned().size() == 150);

    a.object.reset();  // no leave: as if it had died
    all.loop.run();
    REQUIRE(a.ended.calls == 1);
    CHECK(a.ended.error() == errc::cancelled);
    all.pass(4s);
    CHECK(b->is_leader());
    CHECK(b.owned().size() == 300);

    node c{all, "c"};
    c.run();
    all.pass(3s);
    CHECK(b.owned().size() == 150);
    CHECK(c.owned().size() == 150);

    answer<result<void>> left;
    b->leave(left.handler());
    all.loop.run();
    CHECK(left);
    CHECK(b.ended);         // run() returns
    CHECK(c->is_leader());  // woken, not after a lease
    all.pass(100ms);
    CHECK(c.owned().size() == 300);
}

TEST_CASE("async: a transfer is heard of at once, by push") {
    group all;
    node a{all, "a", {.auto_rebalance = false}};
    node b{all, "b", {.auto_rebalance = false}};
    a.run();
    b.run();
    answer<rota::results<void>> registered;
    a->register_schedules({{"x"}}, registered.handler());
    all.loop.run();
    all.pass(1s);
    auto& owner = a.owned().empty() ? b : a;
    auto& other = a.owned().empty() ? a : b;
    auto const before = all.clock.now();
    answer<result<void>> moved;
    owner->transfer("x", &other == &a ? "a" : "b", moved.handler());
    all.loop.run();
    REQUIRE(moved);
    CHECK(other.owned() == std::vector<std::string>{"x"});
    CHECK(all.clock.now() == before);
}

TEST_CASE("async: a lock that came with its schedule is had without a request, and among others in one") {
    group all;
    rota::options o{.auto_rebalance = false, .handoff_lock_ttl = 3s};
    node a{all, "a", o};
    a.run();
    a->register_schedules({{"u"}, {"w"}, {"z"}}, [](rota::results<void>) {});
    all.loop.run();
    REQUIRE(a.owned().size() == 3);
    node b{all, "b", o};
    b.run();
    auto const give = [&](std::string const& id) {
        answer<result<void>> moved;
        a->transfer(id, "b", moved.handler());
        all.loop.run();
        REQUIRE(moved);
    };
    give("u");
    all.pass(4s);  // its lock has run out
    give("w");
    give("z");
    REQUIRE(b.owned().size() == 3);
    SECTION("alone") {
        answer<result<rota::async_lock>> w;
        auto const before = b.async.submitted();
        b->try_lock("w", 3s, w.handler());
        all.loop.run();
        REQUIRE(w);
        CHECK(b.async.submitted() == before);
        CHECK((*w.value)->valid());
        CHECK((*w.value)->token() == b->owned()[1].generation);
        CHECK((*w.value)->remaining() >= 1500ms);
        // Somebody else of this node does not get it.
        answer<result<rota::async_lock>> again;
        b->try_lock("w", 3s, again.handler());
        all.loop.run();
        CHECK(again.error() == errc::locked_by_other);
        answer<result<void>> extended, released;
        (*w.value)->extend(3s, extended.handler());
        all.loop.run();
        CHECK(extended);
        (*w.value)->release(released.handler());
        all.loop.run();
        CHECK(released);
        b->try_lock("w", 3s, again.handler());
        all.loop.run();
        CHECK(again.value->has_value());
    }
    SECTION("among others, each where it was asked for") {
        answer<rota::results<rota::async_lock>> all_of_them;
        auto const before = b.async.submitted();
        SECTION("answered") {}
        SECTION("not answered") { b.async.cancel_replies(3); }
        b->try_lock_each({"none", "w", "u", "z"}, 3s, all_of_them.handler());
        all.loop.run();
        REQUIRE(all_of_them.calls == 1);
        auto& got = *all_of_them.value;
        REQUIRE(got.size() == 4);
        CHECK_FALSE(got[0]);
        REQUIRE(got[1]);
        CHECK(got[1]->name() == "w");
        CHECK(got[1]->valid());
        REQUIRE(got[3]);
        CHECK(got[3]->name() == "z");
        CHECK(b.async.submitted() > before);
        if (got[0].error() == errc::unknown_schedule) {
            REQUIRE(got[2]);
            CHECK(got[2]->name() == "u");
        } else {
            CHECK_FALSE(got[2]);
        }
    }
    SECTION("among others that are answered so late that it is of no use any more") {
        answer<rota::results<rota::async_lock>> both;
        b.async.hold(true);
        b->try_lock_each({"w", "u"}, 3s, both.handler());
        all.pass(3s);
        b.async.hold(false);
        all.loop.run();
        REQUIRE(both.calls == 1);
        REQUIRE(both.value->size() == 2);
        CHECK((*both.value)[0].error() == errc::lock_lost);
        all.pass(1s);
        answer<result<rota::async_lock>> w;
        b->try_lock("w", 3s, w.handler());
        all.loop.run();
        CHECK(w);
    }
    SECTION("too little is left of it: given back, and asked for") {
        all.pass(1600ms);
        answer<result<rota::async_lock>> w;
        auto const before = b.async.submitted();
        b->try_lock("w", 3s, w.handler());
        all.loop.run();
        REQUIRE(w);
        CHECK(b.async.submitted() == before + 2);
        CHECK((*w.value)->remaining() >= 2s);
    }
}

TEST_CASE("async: locks are taken side by side, extended, released, and end with their handle") {
    group all;
    node a{all, "a"};
    a.run();
    answer<rota::results<void>> registered;
    a->register_schedules({{"x"}, {"y"}, {"z"}}, registered.handler());
    all.loop.run();
    all.pass(1s);
    REQUIRE(a.owned().size() == 3);

    a.async.hold(true);
    answer<result<rota::async_lock>> x, y;
    answer<rota::results<rota::async_lock>> both;
    a->try_lock("x", 5s, x.handler());
    a->try_lock("y", 5s, y.handler());
    a->try_lock_each({"y", "z"}, 5s, both.handler());
    all.loop.run();
    CHECK(x.calls + y.calls + both.calls == 0);
    CHECK(a.async.held() == 3);  // all of them were sent
    a.async.hold(false);
    all.loop.run();
    REQUIRE(x);
    REQUIRE(y);
    CHECK((**x.value).valid());
    CHECK((**y.value).token() > (**x.value).token());
    REQUIRE(both.value->size() == 2);
    CHECK((*both.value)[0].error() == errc::locked_by_other);
    CHECK((*both.value)[1]);

    auto lock = std::move(**x.value);
    all.pass(2s);
    CHECK(lock.remaining() < 3s);
    answer<result<void>> extended;
    lock.extend(5s, extended.handler());
    CHECK(extended.calls == 0);
    all.loop.run();
    REQUIRE(extended);
    CHECK(lock.remaining() > 2500ms);  // bounded by the node's own life

    answer<result<void>> released;
    lock.release(released.handler());
    CHECK_FALSE(lock.valid());
    all.loop.run();
    CHECK(released);
    answer<result<void>> twice;
    lock.release(twice.handler());
    all.loop.run();
    REQUIRE(twice.calls == 1);
    CHECK(twice.error() == errc::lock_lost);

    answer<result<rota::async_lock>> anew;
    a->try_lock("x", 5s, anew.handler());
    all.loop.run();
    REQUIRE(anew);
    { auto const dropped = std::move(**anew.value); }
    all.loop.run();
    answer<result<rota::async_lock>> third;
    a->try_lock("x", 5s, third.handler());
    all.loop.run();
    CHECK(third);  // the handle that was dropped had let go of it
}

TEST_CASE("async: a lock that moves while it is being extended is extended") {
    group all;
    node a{all, "a"};
    a.run();
    answer<result<rota::async_lock>> got;
    a->try_lock_name("n", 2s, got.handler());
    all.loop.run();
    REQUIRE(got);
    auto first = std::move(**got.value);
    answer<result<void>> extended;
    first.extend(10s, extended.handler());
    rota::async_lock second{std::move(first)};
    all.loop.run();
    REQUIRE(extended);
    all.pass(2500ms);
    CHECK(second.valid());
    CHECK_FALSE(first.valid());
    CHECK(first.token() == 0);
}

TEST_CASE("async: what is being locked is not handed over before the answer is there") {
    group all;
    node a{all, "a", {.auto_rebalance = false}};
    node b{all, "b", {.auto_rebalance = false}};
    a.run();
    answer<rota::results<void>> registered;
    a->register_schedules({{"x"}}, registered.handler());
    all.loop.run();
    all.pass(1s);
    REQUIRE(a.owned().size() == 1);
    b.run();

    a.async.hold(true);
    answer<result<rota::async_lock>> lock;
    a->try_lock("x", 3s, lock.handler());
    all.loop.run();
    REQUIRE(a.async.held() == 1);
    a.async.hold(false);
    a.async.hold(true);
    answer<result<void>> moved;
    a->transfer("x", "b", moved.handler());
    // Its own revocation is answered, and it hears of it; the lock's answer is there by then.
    for (int i = 0; i < 50; ++i) {
        a.async.hold(false);
        all.loop.run();
    }
    REQUIRE(moved);
    REQUIRE(lock);
    CHECK((**lock.value).valid());
    CHECK(b.owned().empty());  // the run in hand goes on
    answer<result<void>> released;
    (**lock.value).release(released.handler());
    all.loop.run();
    CHECK(b.owned().size() == 1);
}

TEST_CASE("async: destroying a coordinator ends every call with cancelled, once") {
    group all;
    auto a = std::make_unique<node>(all, "a");
    a->run();
    std::vector<std::unique_ptr<answer<result<rota::async_lock>>>> locks;
    a->async.hold(true);
    for (int i = 0; i < 500; ++i) {
        locks.push_back(std::make_unique<answer<result<rota::async_lock>>>());
        a->object->try_lock_name("n" + std::to_string(i), 5s, locks.back()->handler());
    }
    answer<result<std::vector<rota::node_status>>> nodes;
    answer<result<void>> ticked, left, renounced;
    a->object->nodes(nodes.handler());
    a->object->tick(ticked.handler());
    a->object->renounce_leadership(renounced.handler());
    a->object->leave(left.handler());
    for (int i = 0; i < 100; ++i) all.loop.step();
    auto async = a->async;
    auto ended = std::move(a->ended);
    SECTION("and the replies come later") {
        a->object.reset();
        all.loop.run();
        async.hold(false);
        all.loop.run();
    }
    SECTION("with replies on their way") {
        async.hold(false);
        a->object.reset();
        all.loop.run();
    }
    for (auto& l : locks) {
        REQUIRE(l->calls == 1);
        CHECK(l->error() == errc::cancelled);
    }
    CHECK(nodes.calls == 1);
    CHECK(ticked.calls == 1);
    CHECK(left.calls == 1);
    CHECK(renounced.calls == 1);
    CHECK(a->ended.calls == 1);
}

TEST_CASE("async: what the first pages were granted is invalid when the coordinator is destroyed before the last") {
    group all;
    node a{all, "a"};
    a.run();
    std::vector<rota::schedule> list;
    std::vector<std::string> ids;
    for (int i = 0; i < 300; ++i) {
        ids.push_back("s" + std::to_string(i));
        list.push_back({.id = ids.back()});
    }
    a->register_schedules(list, [](rota::results<void>) {});
    all.loop.run();
    all.pass(1s);
    REQUIRE(a.owned().size() == 300);
    std::vector<rota::async_lock> kept;
    a->try_lock_each(ids, 5s, [&](rota::results<rota::async_lock> locks) {
        for (auto& l : locks) {
            if (l) kept.push_back(std::move(*l));
        }
    });
    all.loop.step();  // the first page is performed,
    all.loop.step();  // and answered: the second is sent
    a.object.reset();
    REQUIRE(kept.size() == 200);
    for (auto& l : kept) CHECK_FALSE(l.valid());
    kept.clear();
}

TEST_CASE("async: a handler may destroy the coordinator") {
    group all;
    node a{all, "a"};
    a.run();
    int calls = 0;
    a->nodes([&](result<std::vector<rota::node_status>>) {
        ++calls;
        a.object.reset();
    });
    answer<result<void>> later;
    a->tick(later.handler());
    all.loop.run();
    CHECK(calls == 1);
    CHECK(later.calls == 1);
    CHECK(a.ended.calls == 1);
}

TEST_CASE("async: a lock outlives its coordinator, and is invalid then") {
    group all;
    node a{all, "a"};
    a.run();
    answer<result<rota::async_lock>> got;
    a->try_lock_name("n", 5s, got.handler());
    all.loop.run();
    REQUIRE(got);
    auto lock = std::move(**got.value);
    CHECK(lock.valid());
    a.object.reset();
    CHECK_FALSE(lock.valid());
    CHECK(lock.token() != 0);
    answer<result<void>> extended;
    lock.extend(5s, extended.handler());
    CHECK(extended.calls == 1);
    CHECK(extended.error() == errc::lock_lost);
}

TEST_CASE("async: a lost reply is asked for again, and has one effect") {
    group all;
    node a{all, "a"};
    a.run();
    a.wire.lose_replies(1);
    answer<result<rota::async_lock>> got;
    a->try_lock_name("n", 5s, got.handler());
    all.loop.run();
    REQUIRE(got);
    a.wire.refuse(true);
    answer<result<rota::async_lock>> refused;
    a->try_lock_name("m", 5s, refused.handler());
    all.loop.run();
    REQUIRE(refused.calls == 1);
    CHECK(refused.error() == errc::unavailable);
    all.pass(4s);
    CHECK_FALSE((**got.value).valid());
    CHECK_FALSE(a->is_leader());
    a.wire.refuse(false);
    all.pass(2s);
    CHECK(a->is_leader());
}

TEST_CASE("async: leave while a tick is under way comes after it") {
    group all;
    node a{all, "a"};
    a.run();
    a.async.hold(true);
    answer<result<void>> ticked, left;
    a->tick(ticked.handler());
    all.loop.run();
    a->leave(left.handler());
    all.loop.run();
    CHECK(a.async.held() == 1);
    CHECK(left.calls == 0);
    a.async.hold(false);
    all.loop.run();
    CHECK(left);
    CHECK(ticked.calls == 1);
    CHECK(a.ended);
    CHECK_FALSE(a->is_leader());
    node b{all, "b"};
    b.run();
    CHECK(b->is_leader());
}

TEST_CASE("async: a quiet node makes one request per heartbeat") {
    group all;
    node a{all, "a"};
    node b{all, "b"};
    a.run();
    b.run();
    all.pass(2s);
    auto const before = a.async.submitted() + b.async.submitted();
    all.pass(10s);
    CHECK(a.async.submitted() + b.async.submitted() - before <= 21);
    CHECK(a.async.submitted() + b.async.submitted() - before >= 19);
}

TEST_CASE("async: run() ends when it is asked to stop, and a second one is refused") {
    group all;
    node a{all, "a"};
    std::stop_source stop;
    answer<result<void>> ended, second;
    a->run(stop.get_token(), ended.handler());
    all.loop.run();
    a->run(second.handler());
    all.loop.run();
    REQUIRE(second.calls == 1);
    CHECK(second.error() == errc::already_running);
    stop.request_stop();
    CHECK(ended.calls == 0);
    all.loop.run();
    CHECK(ended);
    CHECK(a->is_leader());  // it has not left
}

TEST_CASE("async: proposals, orders and attributes") {
    group all;
    node a{all, "a"};
    node b{all, "b"};
    a.run();
    b.run();
    answer<rota::results<void>> registered, updated, gone;
    a->register_schedules({{"x"}, {"y"}}, registered.handler());
    all.loop.run();
    all.pass(1s);
    answer<result<rota::proposal>> p, lost, joined;
    a->propose(p.handler());
    a->propose_if_lost("b", lost.handler());
    a->propose_if_joined(1, {}, joined.handler());
    all.loop.run();
    REQUIRE(p);
    CHECK((**p.value).moves.empty());
    REQUIRE(lost);
    CHECK((**lost.value).forced == 1);
    REQUIRE(joined);
    answer<result<void>> drained, applied, told;
    a->drain("b", drained.handler());
    all.loop.run();
    CHECK(drained);
    all.pass(1s);
    CHECK(a.owned().size() == 2);
    a->apply(**p.value, applied.handler());
    b->set_attributes({.capacity = 7}, told.handler());
    all.loop.run();
    REQUIRE(applied.calls == 1);
    REQUIRE(told);
    answer<result<std::vector<rota::node_load>>> loads;
    a->loads(loads.handler());
    a->update_schedules({{.id = "x", .weight = 3}}, updated.handler());
    a->unregister_schedules({"y", "nothing"}, gone.handler());
    all.loop.run();
    REQUIRE(loads);
    CHECK((**loads.value)[1].capacity == 7);
    CHECK(updated.value->all());
    CHECK((*gone.value)[0]);
    CHECK((*gone.value)[1].error() == errc::unknown_schedule);
}

TEST_CASE("async: a schedule that is released and locked anew at once is not offered to others in between") {
    group all;
    node a{all, "a", {.rebalance_threshold = 0}};
    node b{all, "b"};
    a.run();
    a->register_schedules({{"s1"}, {"s2"}, {"s3"}, {"s4"}}, [](rota::results<void>) {});
    all.loop.run();
    all.pass(1s);
    REQUIRE(a.owned().size() == 4);
    answer<rota::results<rota::async_lock>> locks;
    a->try_lock_each({"s1", "s2", "s3", "s4"}, 20s, locks.handler());
    all.loop.run();
    REQUIRE(locks.value->all());
    b.run();
    all.pass(1s);  // two are to go to b, or others in their place, once their runs have ended
    auto const owned = a->owned();
    std::size_t stays = 0;
    while (stays < owned.size() && owned[stays].handing_over) ++stays;
    REQUIRE(stays < owned.size());
    auto const id = owned[stays].id;

    answer<result<void>> released;
    answer<result<rota::async_lock>> anew;
    (*locks.value)[stays]->release(released.handler());
    a->try_lock(id, 10s, anew.handler());
    all.loop.run();
    REQUIRE(released);
    REQUIRE(anew);
    auto const mine = a.owned();
    CHECK(std::find(mine.begin(), mine.end(), id) != mine.end());
    (**anew.value).release([](result<void>) {});
    all.loop.run();
    answer<result<rota::async_lock>> again;
    a->try_lock(id, 1s, again.handler());
    all.loop.run();
    auto const its = b.owned();
    CHECK((again || std::find(its.begin(), its.end(), id) != its.end()));  // somebody can run it
}

TEST_CASE("async: what ends with cancelled may have been done, and is made good") {
    group all;
    node a{all, "a"};
    SECTION("joining") {
        a.async.cancel_replies(1);
        a.run();
        all.pass(2s);
        CHECK(a.ended.calls == 0);
        CHECK(a->is_leader());
    }
    SECTION("an acquisition") {
        a.run();
        a.async.cancel_replies(1);
        answer<result<rota::async_lock>> first, second;
        a->try_lock_name("n", 60s, first.handler());
        all.loop.run();
        REQUIRE(first.calls == 1);
        CHECK(first.error() == errc::cancelled);
        all.pass(3s);
        a->try_lock_name("n", 60s, second.handler());
        all.loop.run();
        CHECK(second);  // not in its own way
    }
    for (auto& e : a.sink.events()) CHECK_FALSE(std::holds_alternative<rota::warning>(e));
}

TEST_CASE("async: a tick that is asked for while another is under way makes a request of its own") {
    group all;
    node a{all, "a"};
    node b{all, "b"};
    a.run();
    b.run();
    all.pass(2s);
    REQUIRE(a->is_leader());
    b.async.hold(true);
    answer<result<void>> ticked;
    b->tick(ticked.handler());
    all.loop.run();
    REQUIRE(b.async.held() == 1);  // done, before the leader left
    answer<result<void>> left;
    a->leave(left.handler());
    all.loop.run();
    REQUIRE(left);
    answer<result<bool>> won;
    b->try_become_leader(won.handler());
    b.async.hold(false);
    while (won.calls == 0) REQUIRE(all.loop.step());
    REQUIRE(won);
    CHECK(**won.value);
}

TEST_CASE("async: a handler that throws leaves the others to be called") {
    group all;
    node a{all, "a"};
    node nobody{all, ""};
    answer<result<void>> second, third;
    nobody->join([](result<void>) { throw std::runtime_error("from a handler"); });
    nobody->join(second.handler());
    nobody->join(third.handler());
    CHECK_THROWS_AS(all.loop.run(), std::runtime_error);
    all.loop.run();
    CHECK(second.calls == 1);
    CHECK(third.calls == 1);
}

TEST_CASE("async: extending after leave() says that the lock is lost") {
    group all;
    node a{all, "a"};
    a.run();
    answer<result<rota::async_lock>> got;
    a->try_lock_name("n", 5s, got.handler());
    all.loop.run();
    REQUIRE(got);
    a->leave([](result<void>) {});
    all.loop.run();
    answer<result<void>> extended;
    (**got.value).extend(5s, extended.handler());
    all.loop.run();
    REQUIRE(extended.calls == 1);
    CHECK(extended.error() == errc::lock_lost);
}

}  // namespace async_coordinator_test
