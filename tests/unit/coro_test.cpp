// co_await on an asynchronous coordinator's calls.
#include "../catch.hpp"

#include <memory>
#include <string>
#include <vector>

#include <rota/coro.hpp>

#include "../support/manual_loop.hpp"

namespace coro_test {

using namespace std::chrono_literals;
using rota::errc;
using rota_test::async_memory_transport;
using rota_test::manual_loop;

namespace {

using node_type = rota::basic_coordinator<async_memory_transport, rota::manual_clock>;

struct group {
    rota::manual_clock clock;
    manual_loop loop{clock};
    rota::memory_store store{rota::manual_time};
    async_memory_transport wire{rota::memory_transport{store}, loop};
    std::unique_ptr<node_type> node = std::make_unique<node_type>(rota::options{.node_id = "a"}, wire, clock);
};

/// Counts itself, to see what a coroutine's end destroys.
struct counted {
    explicit counted(int& n) : alive{n} { ++alive; }
    counted(counted const&) = delete;
    counted& operator=(counted const&) = delete;
    ~counted() { --alive; }
    int& alive;
};

rota::spawned whole_life(node_type& node, std::vector<std::string>& log, int& alive) {
    counted const here{alive};
    rota::awaiting calls{node};
    auto const joined = co_await calls.join();
    log.push_back(joined ? "joined" : joined.error().message());
    std::vector<rota::schedule> list{{"x"}, {"y"}};
    auto const registered = co_await calls.register_schedules(list);
    log.push_back(registered.all() ? "registered" : "not registered");
    std::vector<std::string> const ids{"x", "y"};
    auto const claimed = co_await calls.claim(ids);
    log.push_back(claimed.all() ? "claimed" : "not claimed");
    // Both under way at the same time.
    auto first = calls.try_lock("x", 5s);
    auto second = calls.try_lock("x", 5s);
    auto lock = co_await std::move(first);
    auto const refused = co_await std::move(second);
    log.push_back(lock && lock->valid() ? "locked" : "not locked");
    log.push_back(std::string{to_string(refused ? errc{} : refused.error().code)});
    auto const longer = co_await rota::extended(*lock, 10s);
    log.push_back(longer ? "extended" : longer.error().message());
    auto const ended = co_await rota::released(*lock);
    log.push_back(ended ? "released" : ended.error().message());
    auto const nodes = co_await calls.nodes();
    log.push_back(nodes ? (*nodes)[0].node.id : nodes.error().message());
    auto const left = co_await calls.leave();
    log.push_back(left ? "left" : left.error().message());
}

}  // namespace

TEST_CASE("coro: a coroutine reads like the blocking program") {
    group g;
    std::vector<std::string> log;
    int alive = 0;
    whole_life(*g.node, log, alive);
    CHECK(log.empty());
    CHECK(alive == 1);
    g.loop.run();
    CHECK(log == std::vector<std::string>{"joined", "registered", "claimed", "locked", "locked by another holder",
                                          "extended", "released", "a", "left"});
    CHECK(alive == 0);
}

TEST_CASE("coro: destroying the coordinator ends what is awaited") {
    group g;
    std::vector<std::string> log;
    int alive = 0;
    auto const wait = [](node_type& node, std::vector<std::string>& said, int& count) -> rota::spawned {
        counted const here{count};
        rota::awaiting calls{node};
        auto const r = co_await calls.join();
        said.push_back(r ? "joined" : std::string{to_string(r.error().code)});
    };
    g.wire.hold(true);
    wait(*g.node, log, alive);
    g.loop.run();
    CHECK(log.empty());
    g.node.reset();
    g.loop.run();
    CHECK(log == std::vector<std::string>{"cancelled"});
    CHECK(alive == 0);
}

namespace {

rota::spawned sleeper(rota::alarm_clock& clock, std::vector<std::string>& log) {
    co_await clock.sleep(1h);
    log.push_back("rung for");
    co_await clock.sleep(100ms);
    log.push_back("in time");
    co_await clock.sleep(1h);
    log.push_back("rung for before");
}

}  // namespace

TEST_CASE("coro: a coroutine sleeps for a time, or until it is rung for") {
    group g;
    rota::alarm_clock clock{g.loop};
    std::vector<std::string> log;
    sleeper(clock, log);
    auto const pass = [&](rota::microseconds time) {
        g.clock.advance(time);
        g.loop.run();
    };
    pass(1s);
    CHECK(log.empty());
    clock.ring();
    CHECK(log.empty());  // not inside the call
    pass(99ms);
    CHECK(log == std::vector<std::string>{"rung for"});
    clock.ring();
    pass(0ms);
    CHECK(log.size() == 2);  // rung for, too, and not late
    pass(1s);
    CHECK(log.size() == 2);
    clock.ring();
    pass(0ms);
    CHECK(log.size() == 3);
}

namespace {

// A coroutine that its owner may destroy while it is suspended.
struct owned_coroutine {
    struct promise_type {
        owned_coroutine get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
        static std::suspend_never initial_suspend() noexcept { return {}; }
        static std::suspend_always final_suspend() noexcept { return {}; }
        static void return_void() noexcept {}
        static void unhandled_exception() noexcept { std::terminate(); }
    };
    std::coroutine_handle<promise_type> handle;
};

owned_coroutine napper(rota::alarm_clock& clock, int& woken) {
    co_await clock.sleep(100ms);
    ++woken;
    co_await clock.sleep(100ms);
    ++woken;
}

}  // namespace

TEST_CASE("coro: a coroutine that is destroyed while it sleeps is not resumed, and another may sleep there") {
    group g;
    rota::alarm_clock clock{g.loop};
    int woken = 0;
    auto const pass = [&](rota::microseconds time) {
        g.clock.advance(time);
        g.loop.run();
    };
    auto const first = napper(clock, woken);
    pass(100ms);
    CHECK(woken == 1);
    first.handle.destroy();
    pass(1s);
    clock.ring();
    pass(1s);
    CHECK(woken == 1);
    auto const second = napper(clock, woken);
    pass(100ms);
    pass(100ms);
    CHECK(woken == 3);
    second.handle.destroy();
}

}  // namespace coro_test
