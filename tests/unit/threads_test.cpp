// Coordinators in real time with run() on threads of their own, many callers at once, sinks that call back, and handles
// that outlive what they came from. Run under ThreadSanitizer too ([threads]).
#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <thread>
#include <vector>

#include <rota/coordinator.hpp>
#include <rota/sink/callback_sink.hpp>
#include <rota/sink/recording_sink.hpp>
#include <rota/transport/memory.hpp>

#include "../catch.hpp"
#include "../support/poll_until.hpp"

namespace threads_test {

using namespace std::chrono_literals;
using rota::errc;
using rota::memory_store;
using rota::memory_transport;
using rota::options;
using rota::recording_sink;
using rota::schedule_lock;
using rota::test::poll_until;

namespace {

using coordinator = rota::basic_coordinator<memory_transport, recording_sink>;

// A coordinator with run() on a thread.
struct running_node {
    memory_transport wire;
    recording_sink record;
    coordinator node;
    rota::result<void> ended;
    std::atomic<bool> over{false};
    std::jthread thread;

    running_node(memory_store store, options o)
        : wire{store},
          node{std::move(o), wire, record},
          thread{[this](std::stop_token stop) {
              ended = node.run(stop);
              over = true;
          }} {}
    ~running_node() { stop(); }

    void stop() {
        thread.request_stop();
        if (thread.joinable()) thread.join();
    }
    [[nodiscard]] std::size_t owned() const { return node.owned().size(); }
};

options quick(std::string id) { return {.node_id = std::move(id), .heartbeat_interval = 100ms, .safety_margin = 10ms}; }
// So slow that nothing happens in time unless it is pushed.
options slow(std::string id) { return {.node_id = std::move(id), .heartbeat_interval = 60s}; }

std::vector<rota::schedule> some(int count) {
    std::vector<rota::schedule> list;
    for (int i = 0; i < count; ++i) list.push_back({.id = "s" + std::to_string(i)});
    return list;
}

}  // namespace

namespace {

// A wire on which every request takes a while.
class slow_wire {
public:
    explicit slow_wire(memory_transport wire) : wire_{std::move(wire)} {}
    rota::result<void> open(rota::transport_settings const& s) { return wire_.open(s); }
    rota::result<rota::reply> perform(rota::operation const& request, rota::microseconds timeout) {
        std::this_thread::sleep_for(20ms);
        return wire_.perform(request, timeout);
    }
    rota::wake_reason wait(rota::subscription const& sub, rota::microseconds timeout) {
        return wire_.wait(sub, timeout);
    }
    void wake() { wire_.wake(); }

private:
    memory_transport wire_;
};

}  // namespace

TEST_CASE("threads that use the connection all the time do not make the node miss its heartbeats", "[threads]") {
    memory_store store;
    recording_sink record;
    rota::basic_coordinator node{quick("busy"), slow_wire{memory_transport{store}}, record};
    REQUIRE(node.join());
    std::jthread heart{[&](std::stop_token stop) { (void)node.run(stop); }};
    {
        std::vector<std::jthread> users;
        for (int i = 0; i < 16; ++i) {
            users.emplace_back([&node, i](std::stop_token stop) {
                while (!stop.stop_requested()) (void)node.try_lock_name("lock " + std::to_string(i), 5s);
            });
        }
        std::this_thread::sleep_for(3s);
    }
    heart.request_stop();
    heart.join();
    CHECK(record.count<rota::node_suspended>() == 0);
    CHECK(record.count<rota::node_lost>() == 0);
    CHECK(node.is_leader());
}

TEST_CASE("run: joins, leads, owns, hands over what it cannot keep, and ends when asked", "[threads]") {
    memory_store store;
    running_node a{store, quick("a")};
    REQUIRE(poll_until(5s, [&] { return a.node.is_leader(); }));
    running_node b{store, quick("b")};
    REQUIRE(a.node.register_schedules(some(10)).all());
    REQUIRE(poll_until(5s, [&] { return a.owned() == 5 && b.owned() == 5; }));
    REQUIRE(b.node.leave());
    REQUIRE(poll_until(5s, [&] { return a.owned() == 10; }));
    REQUIRE(poll_until(5s, [&] { return b.over.load(); }));
    CHECK(b.ended);
    a.stop();
    CHECK(a.ended);
    CHECK(a.owned() == 10);  // it does not leave
}

TEST_CASE("run is woken at once by what is pushed, however slow the heartbeat", "[threads]") {
    memory_store store;
    running_node a{store, slow("a")};
    REQUIRE(poll_until(5s, [&] { return a.node.is_leader(); }));
    running_node b{store, slow("b")};
    REQUIRE(poll_until(5s, [&] { return b.node.leader().has_value(); }));
    memory_transport outside{store};
    rota::basic_coordinator somebody{slow("x"), outside};

    REQUIRE(somebody.register_schedules(some(10)).all());
    CHECK(poll_until(5s, [&] { return a.owned() == 5 && b.owned() == 5; }));  // registered, granted
    REQUIRE(a.node.transfer(b.node.owned().front().id, "a"));
    CHECK(poll_until(5s, [&] { return a.owned() == 6 && b.owned() == 4; }));  // revoked, acknowledged, granted
    REQUIRE(a.node.renounce_leadership());
    CHECK(poll_until(5s, [&] { return b.node.is_leader(); }));  // vacated
    REQUIRE(b.node.leave());
    CHECK(poll_until(5s, [&] { return b.over.load(); }));
}

TEST_CASE("a request to stop ends the sleep of run", "[threads]") {
    memory_store store;
    running_node a{store, slow("a")};
    REQUIRE(poll_until(5s, [&] { return a.node.is_leader(); }));
    std::this_thread::sleep_for(20ms);
    auto const before = std::chrono::steady_clock::now();
    a.stop();
    CHECK(std::chrono::steady_clock::now() - before < 5s);
    CHECK(a.ended);
    CHECK(a.node.is_leader());
}

TEST_CASE("wake ends the sleep of run, from any thread, also from a sink", "[threads]") {
    memory_store store;
    memory_transport wire{store};
    std::atomic<int> told{0};
    rota::basic_coordinator<memory_transport, std::function<void(rota::event const&)>>* self = nullptr;
    rota::basic_coordinator<memory_transport, std::function<void(rota::event const&)>> node{
        slow("a"), wire, std::function<void(rota::event const&)>{[&](rota::event const&) {
            ++told;
            self->wake();
        }}};
    self = &node;
    std::jthread thread{[&](std::stop_token stop) { (void)node.run(stop); }};
    REQUIRE(poll_until(5s, [&] { return told.load() == 2; }));
    for (int i = 0; i < 100; ++i) node.wake();
    thread.request_stop();
    thread.join();
}

TEST_CASE("a second run is refused while the first goes on, and may come after it", "[threads]") {
    memory_store store;
    running_node a{store, quick("a")};
    REQUIRE(poll_until(5s, [&] { return a.node.is_leader(); }));
    CHECK(a.node.run_for(1s).error() == errc::already_running);
    CHECK(a.node.tick());  // others may call what they like
    a.stop();
    CHECK(a.node.run_for(1ms));
}

TEST_CASE("run_for ends in time", "[threads]") {
    rota::basic_coordinator node{quick("a"), memory_transport{}};
    auto const before = std::chrono::steady_clock::now();
    CHECK(node.run_for(250ms));
    auto const took = std::chrono::steady_clock::now() - before;
    CHECK(took >= 250ms);
    CHECK(took < 5s);
    CHECK(node.is_leader());
}

TEST_CASE("run: a refused first attempt is what it returns; later ones are not", "[threads]") {
    memory_store store;
    auto refusing = quick("twin");
    refusing.on_conflict = rota::conflict_policy::refuse;
    running_node older{store, refusing};
    REQUIRE(poll_until(5s, [&] { return older.node.is_leader(); }));
    rota::basic_coordinator newer{refusing, memory_transport{store}};
    CHECK(newer.run_for(10s).error() == errc::conflict);
    rota::basic_coordinator nameless{options{}, memory_transport{store}};
    CHECK(nameless.run_for(10s).error() == errc::invalid_argument);

    // It has been a member before; that makes its next attempt no better.
    REQUIRE(older.node.leave());
    REQUIRE(poll_until(5s, [&] { return older.over.load(); }));
    REQUIRE(newer.join());
    CHECK(older.node.run_for(1s).error() == errc::conflict);
}

TEST_CASE("run: without a server it keeps trying, and comes up with it", "[threads]") {
    memory_store store;
    memory_transport wire{store};
    wire.refuse(true);
    recording_sink record;
    coordinator node{quick("a"), wire, record};
    std::jthread thread{[&](std::stop_token stop) { (void)node.run(stop); }};
    REQUIRE(poll_until(5s, [&] { return wire.requests() > 3; }));
    auto const before = wire.requests();
    std::this_thread::sleep_for(300ms);
    CHECK(wire.requests() - before < 30);  // not in a rush
    CHECK_FALSE(node.is_leader());
    wire.refuse(false);
    CHECK(poll_until(5s, [&] { return node.is_leader(); }));
    thread.request_stop();
}

TEST_CASE("run: success after leave, also if the server was away at that moment", "[threads]") {
    memory_store store;
    running_node a{store, quick("a")};
    REQUIRE(poll_until(5s, [&] { return a.node.is_leader(); }));
    a.wire.refuse(true);
    auto const before = a.wire.requests();
    REQUIRE(poll_until(5s, [&] { return a.wire.requests() > before + 1; }));
    CHECK_FALSE(a.node.leave());
    REQUIRE(poll_until(5s, [&] { return a.over.load(); }));
    INFO((a.ended ? std::string{} : a.ended.error().message()));
    CHECK(a.ended);
}

TEST_CASE("run: fenced, when a newer process takes the id", "[threads]") {
    memory_store store;
    running_node older{store, quick("twin")};
    REQUIRE(poll_until(5s, [&] { return older.node.is_leader(); }));
    running_node newer{store, quick("twin")};
    REQUIRE(poll_until(5s, [&] { return older.over.load(); }));
    CHECK(older.ended.error() == errc::fenced);
    CHECK(poll_until(5s, [&] { return newer.node.is_leader(); }));
    CHECK(older.record.count<rota::node_fenced>() == 1);
}

TEST_CASE("run does not spin on what is pushed while its requests get no answer", "[threads]") {
    memory_store store;
    auto patient = quick("b");
    patient.heartbeat_interval = 1s;
    running_node a{store, quick("a")};
    REQUIRE(poll_until(5s, [&] { return a.node.is_leader(); }));
    running_node b{store, patient};
    REQUIRE(poll_until(5s, [&] { return b.node.leader().has_value(); }));
    b.wire.lose_replies(1'000'000);
    REQUIRE(a.node.register_schedules(some(10)).all());  // b is told of its share, again and again
    std::this_thread::sleep_for(100ms);
    auto const before = b.wire.requests();
    std::this_thread::sleep_for(500ms);
    CHECK(b.wire.requests() - before < 50);
    b.wire.lose_replies(0);
    CHECK(poll_until(5s, [&] { return b.owned() == 5; }));
}

TEST_CASE("from inside a sink: local reads work, everything else is reentrant_call", "[threads]") {
    struct probe {
        rota::basic_coordinator<memory_transport, std::reference_wrapper<probe>>* node = nullptr;
        std::optional<schedule_lock> lock;
        int told = 0;
        std::vector<errc> answers;
        bool local = false;
        bool failed_to_fail = false;

        void operator()(rota::event const& e) {
            ++told;
            if (!std::holds_alternative<rota::ownership_changed>(e) || !answers.empty()) return;
            auto note = [&](auto const& r) {
                if (r)
                    failed_to_fail = true;
                else
                    answers.push_back(r.error().code);
            };
            local = node->is_leader() && node->leader() && node->owned().size() == 1 && node->next_tick() >= 0us;
            node->wake();
            note(node->join());
            note(node->tick());
            note(node->run_for(1s));
            note(node->leave());
            note(node->try_become_leader());
            note(node->renounce_leadership());
            note(node->rebalance());
            note(node->try_lock("s", 1s));
            note(node->try_lock_name("s", 1s));
            note(node->try_lock_each({"s"}, 1s).all());
            note(node->register_schedules({{.id = "t"}}).all());
            note(node->unregister_schedules({"s"}).all());
            note(node->claim({"s"}).all());
            note(node->transfer("s", "a"));
            note(node->nodes());
            note(node->loads());
            note(node->orphaned());
            note(node->propose());
            if (lock) {
                local = local && lock->valid();
                note(lock->extend(1s));
                lock.reset();  // a handle may die here: the server is told later
            }
        }
    } sink;
    rota::basic_coordinator node{quick("a"), memory_transport{}, std::ref(sink)};
    sink.node = &node;
    REQUIRE(node.join());
    sink.lock = node.try_lock_name("n", 60s).value();
    REQUIRE(node.register_schedules({{.id = "s"}}).all());
    CHECK(sink.told == 3);
    CHECK(sink.local);
    CHECK_FALSE(sink.failed_to_fail);
    CHECK(sink.answers == std::vector<errc>(19, errc::reentrant_call));
    REQUIRE(node.tick());
    CHECK(node.try_lock_name("n", 60s));
    CHECK(node.owned().size() == 1);
}

TEST_CASE("a slow sink holds up the thread that delivers, not local reads, and order is kept", "[threads]") {
    memory_store store;
    std::atomic<bool> inside{false}, go{false};
    std::atomic<int> overlapping{0}, now_inside{0};
    auto sink = [&](rota::event const& e) {
        if (++now_inside > 1) ++overlapping;
        if (std::holds_alternative<rota::node_joined>(e)) {
            inside = true;
            while (!go) std::this_thread::sleep_for(1ms);
        }
        --now_inside;
    };
    rota::basic_coordinator node{quick("a"), memory_transport{store}, std::ref(sink)};
    std::jthread thread{[&](std::stop_token stop) { (void)node.run(stop); }};
    REQUIRE(poll_until(5s, [&] { return inside.load(); }));
    CHECK(node.owned().empty());
    (void)node.is_leader();
    (void)node.next_tick();
    std::jthread other{[&] { (void)node.tick(); }};
    std::this_thread::sleep_for(20ms);
    go = true;
    REQUIRE(poll_until(5s, [&] { return node.is_leader(); }));
    other.join();
    thread.request_stop();
    thread.join();
    CHECK(overlapping.load() == 0);
}

TEST_CASE("many threads lock and release at once: never two valid handles, tokens rise", "[threads]") {
    memory_store store;
    running_node a{store, quick("a")};
    running_node b{store, quick("b")};
    REQUIRE(poll_until(5s, [&] { return a.node.leader().has_value() && b.node.leader().has_value(); }));
    std::atomic<int> holders{0}, granted{0}, faults{0};
    std::atomic<rota::fencing_token> last{0};
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 6; ++t) {
            threads.emplace_back([&, t] {
                auto& node = t % 2 ? a.node : b.node;
                for (int i = 0; i < 200; ++i) {
                    auto lock = node.try_lock_name("one", 2s);
                    if (!lock) {
                        if (!(lock.error() == errc::locked_by_other)) ++faults;
                        continue;
                    }
                    if (++holders != 1) ++faults;
                    if (!lock->valid()) ++faults;
                    if (last.exchange(lock->token()) >= lock->token()) ++faults;
                    if (i % 3 == 0 && !lock->extend(2s)) ++faults;
                    ++granted;
                    --holders;
                    if (i % 2 && !lock->release()) ++faults;
                }
            });
        }
    }
    CHECK(faults.load() == 0);
    CHECK(granted.load() > 0);
}

TEST_CASE("valid, remaining and token may be read while another thread extends and releases", "[threads]") {
    memory_store store;
    running_node a{store, quick("a")};
    REQUIRE(poll_until(5s, [&] { return a.node.is_leader(); }));
    for (int round = 0; round < 50; ++round) {
        auto lock = a.node.try_lock_name("n", 2s).value();
        std::atomic<bool> done{false};
        std::jthread reader{[&] {
            while (!done) {
                (void)lock.valid();
                (void)lock.remaining();
                (void)lock.token();
            }
        }};
        (void)lock.extend(3s);
        (void)lock.release();
        CHECK_FALSE(lock.valid());
        done = true;
    }
}

TEST_CASE("every call from every thread while run goes on", "[threads]") {
    memory_store store;
    running_node a{store, quick("a")};
    running_node b{store, quick("b")};
    REQUIRE(poll_until(5s, [&] { return a.node.leader().has_value() && b.node.leader().has_value(); }));
    REQUIRE(a.node.register_schedules(some(20)).all());
    std::atomic<bool> stop{false};
    {
        std::vector<std::jthread> threads;
        for (auto* n : {&a, &b}) {
            threads.emplace_back([&, n] {
                while (!stop) {
                    (void)n->node.is_leader();
                    (void)n->node.leader();
                    (void)n->node.next_tick();
                    for (auto& s : n->node.owned()) (void)n->node.try_lock(s.id, 1s);
                }
            });
            threads.emplace_back([&, n] {
                for (int i = 0; !stop; ++i) {
                    (void)n->node.register_schedules({{.id = "x" + std::to_string(i % 5)}});
                    (void)n->node.claim({"x" + std::to_string(i % 5)});
                    (void)n->node.transfer("s" + std::to_string(i % 20), i % 2 ? "a" : "b");
                    (void)n->node.unregister_schedules({"x" + std::to_string((i + 2) % 5)});
                    (void)n->node.nodes();
                    (void)n->node.propose();
                    (void)n->node.rebalance();
                    (void)n->node.renounce_leadership();
                    n->node.wake();
                    (void)n->node.tick();
                }
            });
        }
        std::this_thread::sleep_for(500ms);
        stop = true;
    }
    CHECK(poll_until(10s, [&] {
        auto const orphans = a.node.orphaned();
        return orphans && orphans->empty() && (a.node.is_leader() || b.node.is_leader());
    }));
    for (auto* n : {&a, &b}) CHECK(n->record.count<rota::node_lost>() == 0);
}

TEST_CASE("a coordinator is destroyed while handles live and are being used", "[threads]") {
    memory_store store;
    for (int round = 0; round < 20; ++round) {
        std::optional<coordinator> node;
        node.emplace(quick("a"), memory_transport{store}, recording_sink{});
        REQUIRE(node->join());
        std::vector<schedule_lock> locks;
        for (int i = 0; i < 4; ++i) locks.push_back(node->try_lock_name("n" + std::to_string(i), 5s).value());
        std::atomic<bool> ready{false};
        std::jthread user{[&] {
            ready = true;
            for (int i = 0; i < 200; ++i) {
                for (auto& lock : locks) {
                    (void)lock.valid();
                    (void)lock.extend(5s);
                }
            }
        }};
        while (!ready) std::this_thread::yield();
        node.reset();
        for (auto& lock : locks) CHECK_FALSE(lock.valid());
        user.join();
        for (auto& lock : locks) CHECK_FALSE(lock.release());
    }
}

TEST_CASE("leave while run sleeps on another thread ends it", "[threads]") {
    memory_store store;
    running_node a{store, slow("a")};
    REQUIRE(poll_until(5s, [&] { return a.node.is_leader(); }));
    CHECK(a.node.leave());
    CHECK(poll_until(5s, [&] { return a.over.load(); }));
    CHECK(a.ended);
    CHECK_FALSE(a.node.is_leader());
}

TEST_CASE("a node whose thread stands still fences itself, and the group goes on", "[threads]") {
    memory_store store;
    running_node a{store, quick("a")};
    memory_transport wire{store};
    coordinator b{quick("b"), wire, recording_sink{}};
    REQUIRE(b.join());
    REQUIRE(a.node.register_schedules(some(10)).all());
    REQUIRE(poll_until(5s, [&] {
        (void)b.tick();
        return b.owned().size() == 5;
    }));
    auto const lock = b.try_lock(b.owned().front().id, 60s);
    REQUIRE(lock);
    CHECK(poll_until(5s, [&] { return a.owned() == 10; }));
    CHECK(b.owned().empty());
    CHECK_FALSE(lock->valid());
}

TEST_CASE("a sink that waits for what a caller holds does not wait for ever", "[threads]") {
    memory_store store;
    std::mutex held_by_caller;
    std::atomic<bool> in_sink{false};
    rota::basic_coordinator node{quick("a"), memory_transport{store},
                                 rota::callback_sink{[&](rota::schedule_changed const&) {},
                                                     [&](rota::node_joined const&) {
                                                         in_sink = true;
                                                         std::lock_guard const lock{held_by_caller};
                                                     }}};
    std::unique_lock held{held_by_caller};
    std::jthread joins{[&] { (void)node.join(); }};
    REQUIRE(poll_until(5s, [&] { return in_sink.load(); }));
    CHECK(node.try_lock_name("name", 5s));  // returns although the sink does not
    held.unlock();
}

}  // namespace threads_test
