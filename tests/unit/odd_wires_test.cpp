// Transports that do what memory_transport never does: take their time, answer from another server, complain.
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <rota/clock/manual_clock.hpp>
#include <rota/coordinator.hpp>
#include <rota/sink/recording_sink.hpp>
#include <rota/transport/memory.hpp>

#include "../catch.hpp"
#include "../support/scenario.hpp"

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
        return answer;
    }
    rota::wake_reason wait(rota::subscription const& sub, microseconds timeout) { return wire.wait(sub, timeout); }
    void wake() { wire.wake(); }
    bool take_server_changed() { return std::exchange(server_changed, false); }
    std::vector<rota::error> take_warnings() { return std::exchange(warnings, {}); }

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
