// Transports that do what memory_transport never does: take their time, answer from another server, complain.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <rota/clock/manual_clock.hpp>
#include <rota/coordinator.hpp>
#include <rota/sink/recording_sink.hpp>
#include <rota/transport/memory.hpp>

#include "../catch.hpp"
#include "../support/core_group.hpp"
#include "../support/poll_until.hpp"
#include "../support/scenario.hpp"

namespace odd_wires_test {

using namespace std::chrono_literals;
using rota::errc;
using rota::microseconds;

namespace {

namespace op = rota::op;

// memory_transport, with a say in what comes back.
struct odd_wire {
    rota::memory_store store;
    rota::memory_transport wire;
    rota::manual_clock clock;
    microseconds takes{};                  // each request
    std::optional<rota::error> refusal{};  // of each request
    std::function<bool(rota::operation const&)> loses_reply{};
    bool server_changed = false;
    std::vector<rota::error> warnings{};
    std::vector<rota::operation> asked{};

    explicit odd_wire(rota::memory_store s) : store{s}, wire{s} {}

    void pass(microseconds time) {
        store.advance(time);
        clock.advance(time);
    }

    rota::result<void> open(rota::transport_settings const& s) { return wire.open(s); }
    rota::result<rota::reply> perform(rota::operation const& request, microseconds timeout) {
        asked.push_back(request);
        if (refusal) return *refusal;
        auto answer = wire.perform(request, timeout);
        pass(takes);
        if (loses_reply && loses_reply(request)) return rota::error{errc::outcome_unknown, "reset"};
        return answer;
    }
    rota::wake_reason wait(rota::subscription const& sub, microseconds timeout) { return wire.wait(sub, timeout); }
    void wake() { wire.wake(); }
    bool take_server_changed() { return std::exchange(server_changed, false); }
    std::vector<rota::error> take_warnings() { return std::exchange(warnings, {}); }

    // Loses the reply to the next request of that kind.
    template <typename Op>
    void lose_next() {
        loses_reply = [this](rota::operation const& request) {
            if (!std::holds_alternative<Op>(request)) return false;
            loses_reply = [](auto const&) { return false; };
            return true;
        };
    }

    template <typename Op>
    [[nodiscard]] std::size_t count() const {
        std::size_t n = 0;
        for (auto const& request : asked) n += std::holds_alternative<Op>(request);
        return n;
    }
};

struct fixture {
    odd_wire wire{rota::memory_store{rota::manual_time}};
    rota::recording_sink record;
    rota::basic_coordinator<std::reference_wrapper<odd_wire>, rota::manual_clock, rota::recording_sink> node;

    explicit fixture(rota::options o = {.node_id = "node"}) : node{std::move(o), std::ref(wire), wire.clock, record} {
        REQUIRE(node.join());
        REQUIRE(node.is_leader());
        (void)record.take();
        wire.asked.clear();
    }

    void live(microseconds time) {
        for (auto until = wire.clock.now() + time; wire.clock.now() < until;) {
            wire.pass(10ms);
            if (node.next_tick() == 0us) node.tick();
        }
    }
};

}  // namespace

TEST_CASE("a leader leaves whatever becomes of what it says first") {
    fixture f;
    auto const goodbyes = [&] {
        auto const events = f.record.take();
        return std::count_if(events.begin(), events.end(),
                             [](auto const& e) { return std::holds_alternative<rota::node_left>(e); });
    };
    SECTION("all goes well") {
        CHECK(f.node.leave());
        CHECK(f.wire.count<op::renounce>() == 1);
        CHECK(f.wire.count<op::leave>() == 1);
        CHECK(goodbyes() == 1);
    }
    SECTION("no reply comes") {
        f.wire.loses_reply = [](auto const& request) { return std::holds_alternative<op::renounce>(request); };
        CHECK(f.node.leave());
        CHECK(f.wire.count<op::leave>() == 1);
        CHECK(goodbyes() == 1);
    }
    SECTION("there is no contact, and one request is all that is tried") {
        f.wire.refusal = rota::error{errc::unavailable, "away"};
        CHECK_FALSE(f.node.tick());
        CHECK(f.node.leave().error() == errc::unavailable);
        CHECK(f.wire.count<op::renounce>() == 0);
        CHECK(f.wire.count<op::leave>() > 0);
        CHECK(goodbyes() == 0);
    }
    CHECK_FALSE(f.node.is_leader());
}

TEST_CASE("a lock that is granted too late is no lock, and is given back") {
    fixture f;
    f.wire.takes = 400ms;
    auto const late = f.node.try_lock_name("name", 300ms);
    f.wire.takes = 0us;
    REQUIRE_FALSE(late);
    CHECK(late.error() == errc::lock_lost);

    // Its whole ttl is left if the reply alone took that long: without a release the next one would have to wait.
    f.wire.takes = 500ms;
    auto const later = f.node.try_lock_name("name", 510ms);
    f.wire.takes = 0us;
    REQUIRE_FALSE(later);
    f.node.tick();
    CHECK(f.wire.count<op::release_locks>() > 0);
    CHECK(f.node.try_lock_name("name", 5s));
}

TEST_CASE("a lock that is granted once the node's own deadline has passed is no lock") {
    fixture f;
    f.wire.takes = 3s;
    auto const late = f.node.try_lock_name("name", 1h);
    f.wire.takes = 0us;
    REQUIRE_FALSE(late);
    CHECK(late.error() == errc::lock_lost);
}

TEST_CASE("another server answers: all that was known of it is read anew") {
    fixture f;
    REQUIRE(f.node.register_schedules(rota_test::schedules("s", 3)).all());
    f.live(2s);
    REQUIRE(f.node.owned().size() == 3);
    (void)f.record.take();
    f.wire.asked.clear();

    f.wire.server_changed = true;
    f.live(2s);
    CHECK(f.wire.count<op::schedules_page>() > 0);
    CHECK(f.wire.count<op::nodes_page>() > 0);  // the leader's picture of the group too
    CHECK(f.record.count<rota::events_gap>() == 1);
    CHECK(f.record.count<rota::ownership_changed>() == 0);  // it had lost nothing
    CHECK(f.node.owned().size() == 3);

    f.wire.asked.clear();
    f.live(5s);
    CHECK(f.wire.count<op::schedules_page>() == 0);
}

TEST_CASE("what a transport warns of is told") {
    fixture f;
    f.wire.warnings = {{errc::refused_by_server, "maxmemory-policy is allkeys-lru"}};
    f.live(2s);
    CHECK(f.record.count<rota::warning>() == 1);
}

TEST_CASE("a refusal that lasts is told once a minute, and a lack of contact not at all") {
    fixture f;
    f.wire.refusal = rota::error{errc::refused_by_server, "OOM command not allowed"};
    f.live(150s);
    CHECK(f.record.count<rota::warning>() == 3);
    CHECK(f.record.count<rota::node_suspended>() == 1);
    (void)f.record.take();
    f.wire.refusal = rota::error{errc::unavailable, "connection refused"};
    f.live(150s);
    CHECK(f.record.count<rota::warning>() == 0);
    f.wire.refusal.reset();
    f.live(3s);
    CHECK(f.node.is_leader());
}

TEST_CASE("that the group cannot be joined is told once a minute, but for a first failure, which may pass") {
    rota::test::core_group g;
    auto& a = g.add("a");
    a->want_join(g.now);
    auto warnings = [&a] {
        auto const told = a->take_events();
        return std::count_if(told.begin(), told.end(),
                             [](auto const& e) { return std::holds_alternative<rota::warning>(e); });
    };
    for (int i = 0; i < 150; ++i) {
        auto const request = a->next(g.now);
        REQUIRE(request);
        a->done(*request, rota::error{i % 2 == 0 ? errc::timed_out : errc::unavailable}, g.now, g.now);
        if (i == 0) CHECK(warnings() == 0);
        g.now += 1s;
    }
    CHECK(warnings() == 3);
    g.now += 1s;
    a.drive();
    CHECK(a.leads());
}

TEST_CASE("where each request takes longer than a heartbeat, ticks do not keep all else from being done") {
    fixture f{{.node_id = "node", .heartbeat_interval = 100ms, .node_ttl = 2s, .leader_lease = 2s}};
    REQUIRE(f.node.register_schedules(rota_test::schedules("s", 3)).all());
    f.wire.takes = 150ms;
    f.live(5s);
    f.wire.takes = 0us;
    CHECK(f.node.owned().size() == 3);
    CHECK(f.record.count<rota::node_suspended>() == 0);
}

TEST_CASE("a server that comes back empty during a hand-off") {
    rota_test::scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    REQUIRE(a->register_schedules(rota_test::schedules("s", 2)).all());
    REQUIRE(group.until([&] { return group.owned() == 2; }, 10s) <= 10s);
    auto const id = a->owned().empty() ? std::string{} : a->owned().front().id;
    REQUIRE_FALSE(id.empty());
    auto& run = group.keep(a->try_lock(id, 20s));
    REQUIRE(a->transfer(id, "b"));
    group.store.restart_empty();
    group.pass(15s);
    CHECK_FALSE(run.valid());
    REQUIRE(a->register_schedules(rota_test::schedules("s", 2)).all());
    REQUIRE(group.until([&] { return group.owned() == 2; }, 10s) <= 10s);
    CHECK(group.leader() != nullptr);
    for (auto* m : {&a, &b}) CHECK_FALSE(m->told<rota::node_lost>().empty());
    group.check_told();
}

TEST_CASE("nodes of one group may have different ttls: each lives by its own") {
    rota_test::scenario group;
    auto& quick = group.join("quick", {.heartbeat_interval = 500ms, .node_ttl = 1s, .leader_lease = 1s});
    auto& slow = group.join("slow", {.heartbeat_interval = 5s, .node_ttl = 15s, .leader_lease = 10s});
    REQUIRE(quick->register_schedules(rota_test::schedules("s", 4)).all());
    REQUIRE(group.until([&] { return quick.owned().size() == 2 && slow.owned().size() == 2; }, 20s) <= 20s);
    group.pass(30s);
    CHECK(quick.told<rota::node_lost>().empty());
    CHECK(slow.told<rota::node_lost>().empty());
    CHECK(slow.told<rota::node_suspended>().empty());

    slow.crash();
    group.pass(8s);
    CHECK(quick.owned().size() == 2);
    REQUIRE(group.until([&] { return quick.owned().size() == 4; }, 10s) <= 10s);
}

TEST_CASE("what failed is retried after a moment, not with the next heartbeat") {
    fixture f{{.node_id = "node", .heartbeat_interval = 30s}};
    SECTION("the leader's picture of the nodes") { f.wire.lose_next<op::nodes_page>(); }
    SECTION("of the schedules") { f.wire.lose_next<op::schedules_page>(); }
    SECTION("of what happened") { f.wire.lose_next<op::events_since>(); }
    SECTION("the placing") { f.wire.lose_next<op::adopt>(); }
    SECTION("what this node was given") { f.wire.lose_next<op::changes_since>(); }
    REQUIRE(f.node.register_schedules(rota_test::schedules("s", 3)).all());
    f.wire.server_changed = true;  // all is read anew
    f.live(1s);
    CHECK(f.node.owned().size() == 3);
    f.live(10s);
    CHECK(f.node.next_tick() > 10s);
}

TEST_CASE("an attempt that may have been done is not called undone by what comes after it") {
    fixture f;
    f.wire.loses_reply = [&](rota::operation const& request) {
        if (!std::holds_alternative<op::register_schedules>(request)) return false;
        f.wire.refusal = rota::error{errc::unavailable, "connection refused"};
        return true;
    };
    auto const r = f.node.register_schedules({{"x"}}).all();
    f.wire.refusal.reset();
    REQUIRE_FALSE(r);
    CHECK(r.error() == errc::outcome_unknown);
    f.live(2s);
    CHECK(f.node.owned().size() == 1);
}

TEST_CASE("a lock that was taken unheard is given back once there is contact") {
    fixture f;
    f.wire.loses_reply = [](auto const& request) { return std::holds_alternative<op::acquire_locks>(request); };
    auto const lost = f.node.try_lock_name("name", 1h);
    REQUIRE_FALSE(lost);
    CHECK(lost.error() == errc::outcome_unknown);
    f.live(5s);  // asked about, and unanswered again and again
    f.wire.loses_reply = nullptr;
    f.live(2s);
    CHECK(f.node.try_lock_name("name", 1s));
}

TEST_CASE("transfer of an orphan whose first answer is lost") {
    odd_wire wire{rota::memory_store{rota::manual_time}};
    rota::basic_coordinator a{{.node_id = "a", .max_schedules_per_node = 0}, std::ref(wire), wire.clock};
    rota::basic_coordinator b{{.node_id = "b"}, rota::memory_transport{wire.store}, wire.clock};
    REQUIRE(a.join());
    REQUIRE(b.join());
    a.tick();
    REQUIRE(b.register_schedules({{"x"}}).all());
    wire.lose_next<op::adopt>();
    CHECK(a.transfer("x", "b"));
    b.tick();
    CHECK(b.owned().size() == 1);
}

TEST_CASE("join of a node whose run() is trying leaves it to try", "[threads]") {
    odd_wire wire{rota::memory_store{rota::manual_time}};
    rota::basic_coordinator node{{.node_id = "a"}, std::ref(wire), wire.clock};
    wire.refusal = rota::error{errc::unavailable, "connection refused"};
    std::atomic<bool> over{false};
    std::jthread heart{[&](std::stop_token stop) {
        // (The calls of run_for() below may be there first.)
        while (!stop.stop_requested()) {
            if (auto const r = node.run(stop); r || r.error() != errc::already_running) break;
        }
        over = true;
    }};
    REQUIRE(rota::test::poll_until(5s, [&] { return !node.run_for(0us); }));  // already_running
    CHECK_FALSE(node.join());
    std::this_thread::sleep_for(50ms);
    CHECK_FALSE(over.load());
    heart.request_stop();
}

TEST_CASE("more nodes than go into one request die at once: all are taken out at once") {
    odd_wire wire{rota::memory_store{rota::manual_time}};
    for (int i = 0; i < 450; ++i) {
        rota::memory_transport ghost{wire.store};
        REQUIRE(ghost.open({"rota:", "ghost", 500ms}));
        REQUIRE(ghost.perform(
            op::join{.node_id = "ghost " + std::to_string(i), .nonce = std::uint64_t(i) + 1, .node_ttl = 3s}, 500ms));
    }
    rota::basic_coordinator node{{.node_id = "node"}, std::ref(wire), wire.clock};
    REQUIRE(node.join());
    for (auto end = wire.clock.now() + 3100ms; wire.clock.now() < end;) {
        wire.pass(10ms);
        if (node.next_tick() == 0us) node.tick();
    }
    auto const left = node.loads();
    REQUIRE(left);
    CHECK(left->size() == 1);
}

TEST_CASE("a node that leaves after the group's data was lost has left once") {
    fixture f;
    f.wire.store.restart_empty();
    f.wire.loses_reply = [&](auto const&) {
        f.wire.refusal = rota::error{errc::unavailable, "connection refused"};
        return false;
    };
    f.node.tick();
    f.wire.loses_reply = nullptr;
    f.wire.refusal.reset();
    f.node.leave();
    CHECK(f.record.count<rota::node_lost>() == 1);
    CHECK(f.record.count<rota::node_left>() == 0);
}

TEST_CASE("scope group: what was lost between a fencing and the next join is told") {
    odd_wire wire{rota::memory_store{rota::manual_time}};
    rota::recording_sink record;
    rota::basic_coordinator node{
        {.node_id = "a", .event_scope = rota::event_scope::group}, std::ref(wire), wire.clock, record};
    REQUIRE(node.join());
    REQUIRE(node.register_schedules({{"x"}, {"y"}}).all());
    node.tick();
    bool const fenced = GENERATE(true, false);
    rota::basic_coordinator twin{{.node_id = "a"}, rota::memory_transport{wire.store}, wire.clock};
    if (fenced) {
        REQUIRE(twin.join());
        node.tick();
        CHECK(record.count<rota::node_fenced>() == 1);
    } else {
        node.leave();
    }
    (void)record.take();
    wire.store.restart_empty();
    REQUIRE(node.join());
    node.tick();
    CHECK(record.count<rota::events_gap>() == 1);
    CHECK(record.count<rota::schedule_changed>() == 2);
}

TEST_CASE("a coordinator that is destroyed under run() ends it", "[threads]") {
    rota::memory_store store;
    rota::result<void> ended;
    std::jthread heart;
    {
        rota::basic_coordinator node{{.node_id = "a"}, rota::memory_transport{store}};
        heart = std::jthread{[&](std::stop_token stop) { ended = node.run(stop); }};
        REQUIRE(rota::test::poll_until(5s, [&] { return node.is_leader(); }));
    }
    heart.join();
    REQUIRE_FALSE(ended);
    CHECK(ended.error() == errc::cancelled);
}

TEST_CASE("run() for no time, or that is to stop already, does not join") {
    fixture f;
    rota::basic_coordinator node{{.node_id = "b"}, rota::memory_transport{f.wire.store}, f.wire.clock};
    CHECK(node.run_for(-5s));
    std::stop_source stop;
    stop.request_stop();
    CHECK(node.run(stop.get_token()));
    CHECK(f.node.nodes()->size() == 1);
}

TEST_CASE("the item that is invalid is named, and ids in braces are ids") {
    fixture f;
    REQUIRE(f.node.register_schedules({{"a"}, {"b"}}).all());
    f.node.tick();
    auto const locks = f.node.try_lock_each({"a", "b", ""}, 5s);
    CHECK(locks[0].error().message() == "invalid argument: item 2: a schedule id has 0 bytes, must have 1..512");
    CHECK(f.node.unregister_schedules({{"a", "b"}}).all());
    auto const claimed = f.node.claim({{"a", "b"}});
    REQUIRE(claimed.size() == 2);
    CHECK(claimed[1].error().message() == "unknown schedule: \"b\"");
}

TEST_CASE("schedules that no node has room for are warned of, once") {
    fixture f{{.node_id = "node", .max_schedules_per_node = 2}};
    REQUIRE(f.node.register_schedules(rota_test::schedules("s", 5)).all());
    f.live(5s);
    REQUIRE(f.record.count<rota::warning>() == 1);
    for (auto const& e : f.record.take()) {
        if (auto const* w = std::get_if<rota::warning>(&e)) {
            CHECK(w->what.message() == "capacity exceeded: 3 schedules have no owner: no node has room for them");
        }
    }
}

}  // namespace odd_wires_test
