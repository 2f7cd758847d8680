// Asynchronous coordinators over a real Redis, all on one loop.
#include "../catch.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <rota/loop/poll_loop.hpp>
#include <rota/sink/callback_sink.hpp>
#include <rota/sink/describe.hpp>
#include <rota/sink/recording_sink.hpp>
#include <rota/transport/hiredis_async.hpp>
#include <rota/transport/hiredis_sync.hpp>

#include "../support/redis_server.hpp"
#include "../support/tcp_proxy.hpp"

namespace async_coordinator_test {

using namespace std::chrono_literals;
using rota::errc;
using rota::result;
using rota::test::redis_server;

namespace {

using node_type = rota::basic_coordinator<rota::hiredis_async>;

struct member {
    member(rota::poll_loop& loop, std::string const& url, rota::options o)
        : object{std::make_unique<node_type>(std::move(o), rota::hiredis_async{url, loop})} {
        object->run([this](result<void> r) {
            ++ends;
            ended = std::move(r);
        });
    }
    node_type* operator->() { return object.get(); }
    [[nodiscard]] bool joined() const { return object->leader().has_value(); }

    int ends = 0;
    std::optional<result<void>> ended;
    std::unique_ptr<node_type> object;
};

std::vector<rota::schedule> schedules(int count) {
    std::vector<rota::schedule> list;
    for (int i = 0; i < count; ++i) list.push_back({.id = "s" + std::to_string(i)});
    return list;
}

}  // namespace

TEST_CASE("async over Redis: nodes on one loop share schedules, hear at once, and leave in order") {
    redis_server server;
    rota::poll_loop loop;
    member a{loop, server.unix_url(), {.node_id = "a", .auto_rebalance = false}};
    REQUIRE(loop.run_until([&] { return a->is_leader(); }, 5s));
    bool registered = false;
    a->register_schedules(schedules(250), [&](rota::results<void> r) { registered = r.all().has_value(); });
    REQUIRE(loop.run_until([&] { return a->owned().size() == 250; }, 5s));
    REQUIRE(loop.run_until([&] { return registered; }, 5s));
    member b{loop, server.url(), {.node_id = "b", .auto_rebalance = false}};
    REQUIRE(loop.run_until([&] { return b.joined(); }, 5s));
    loop.run_for(300ms);  // it listens

    bool moved = false;
    auto const began = std::chrono::steady_clock::now();
    a->transfer("s7", "b", [&](result<void> r) { moved = r.has_value(); });
    REQUIRE(loop.run_until([&] { return b->owned().size() == 1; }, 5s));
    CHECK(std::chrono::steady_clock::now() - began < 400ms);  // pushed, not polled: a heartbeat is 1 s
    REQUIRE(loop.run_until([&] { return moved; }, 1s));

    std::optional<rota::async_lock> lock;
    b->try_lock("s7", 2s, [&](result<rota::async_lock> r) {
        if (r) lock.emplace(std::move(*r));
    });
    REQUIRE(loop.run_until([&] { return lock.has_value(); }, 1s));
    CHECK(lock->valid());
    bool extended = false;
    lock->extend(10s, [&](result<void> r) { extended = r.has_value(); });
    REQUIRE(loop.run_until([&] { return extended; }, 1s));
    lock.reset();

    bool left = false;
    auto const leaving = std::chrono::steady_clock::now();
    a->leave([&](result<void> r) { left = r.has_value(); });
    REQUIRE(loop.run_until([&] { return left && b->is_leader() && b->owned().size() == 250; }, 5s));
    CHECK(std::chrono::steady_clock::now() - leaving < 1s);  // nobody waits for a lease
    CHECK(a.ends == 1);
    CHECK(a.ended->has_value());
}

TEST_CASE("async over Redis: an observer outside the group is told at once of what happens in it") {
    redis_server server;
    rota::poll_loop loop;
    member a{loop, server.unix_url(), {.node_id = "a", .auto_rebalance = false}};
    REQUIRE(loop.run_until([&] { return a->is_leader(); }, 5s));
    std::vector<std::string> told;
    rota::basic_coordinator eye{rota::options{.node_id = "eye", .observer = true},
                                rota::hiredis_async{server.url(), loop},
                                rota::callback_sink{[&](rota::event const& e) { told.push_back(rota::describe(e)); }}};
    bool follows = false;
    eye.join([&](result<void> r) { follows = r.has_value(); });
    REQUIRE(loop.run_until([&] { return follows; }, 5s));
    eye.run([](result<void>) {});
    loop.run_for(300ms);  // it listens
    CHECK(told.empty());

    auto const began = std::chrono::steady_clock::now();
    a->register_schedules(schedules(2), [](rota::results<void>) {});
    REQUIRE(loop.run_until([&] { return told.size() >= 4; }, 5s));  // registered, owned
    CHECK(std::chrono::steady_clock::now() - began < 400ms);        // a heartbeat is 1 s
    CHECK(told.size() == 4);
    std::optional<std::size_t> nodes;
    a->nodes([&](result<std::vector<rota::node_status>> r) { nodes = r ? r->size() : 0; });
    REQUIRE(loop.run_until([&] { return nodes.has_value(); }, 1s));
    CHECK(nodes == 1u);  // the observer is none
}

TEST_CASE("async over Redis: what a node missed was trimmed: it is told of a gap, then how things stand, each once") {
    redis_server server;
    rota::poll_loop loop;
    member a{loop, server.unix_url(), {.node_id = "a", .auto_rebalance = false}};
    a->register_schedules(schedules(4), [](rota::results<void>) {});
    REQUIRE(loop.run_until([&] { return a->owned().size() == 4; }, 5s));

    rota::test::tcp_proxy proxy{server.port()};
    rota::recording_sink record;
    rota::basic_coordinator b{rota::options{.node_id = "b",
                                            .heartbeat_interval = 200ms,
                                            .node_ttl = 30s,
                                            .auto_rebalance = false,
                                            .event_scope = rota::event_scope::group},
                              rota::hiredis_async{proxy.url(), loop}, record};
    b.run([](result<void>) {});
    bool moved = false;
    REQUIRE(loop.run_until([&] { return b.leader().has_value(); }, 5s));
    a->transfer("s0", "b", [&](result<void> r) { moved = r.has_value(); });
    REQUIRE(loop.run_until([&] { return moved && b.owned().size() == 1; }, 5s));
    loop.run_for(300ms);  // it has read all, and listens
    auto const owned_there = [&] {
        std::map<std::string, rota::fencing_token> all;
        auto const records = server.command({"HGETALL", "{rota:}own"}).elements;  // generation|owner|weight
        for (std::size_t i = 0; i + 1 < records.size(); i += 2) {
            auto const owner = records[i + 1].text.substr(records[i + 1].text.find('|') + 1);
            all[records[i].text] = std::stoull(owner);
        }
        return all;
    };
    auto owner_of = owned_there();
    auto const take_in = [&](std::size_t from) {
        for (auto const& e : record.events(from)) {
            if (auto const* o = std::get_if<rota::ownership_changed>(&e)) owner_of[o->schedule] = o->to.incarnation;
            if (auto const* s = std::get_if<rota::schedule_changed>(&e); s && !s->registered)
                owner_of.erase(s->schedule);
        }
    };
    auto const before = record.events().size();

    proxy.refuse(true);
    proxy.reset();
    moved = false;
    bool gone = false;
    a->register_schedules({{"t0"}, {"t1"}, {"t2"}}, [](rota::results<void>) {});
    a->transfer("s1", "b", [&](result<void> r) { moved = r.has_value(); });
    a->unregister_schedules({"s0", "s2"}, [&](rota::results<void> r) { gone = r.all().has_value(); });
    REQUIRE(loop.run_until([&] { return moved && gone; }, 5s));
    loop.run_for(300ms);
    REQUIRE(record.events(before).empty());
    for (auto const& key : server.command({"KEYS", "*"}).elements) {
        bool const log = key.text.find("inbox:") != std::string::npos || key.text == "{rota:}events";
        if (log) REQUIRE_FALSE(server.command({"XTRIM", key.text, "MAXLEN", "0"}).is_error());
    }
    loop.run_for(500ms);
    proxy.refuse(false);

    auto const knows = [&] {
        take_in(before);
        return owner_of == owned_there() && owner_of.size() == 5;
    };
    CHECK(loop.run_until(knows, 10s));
    CHECK(loop.run_until([&] { return b.owned().size() >= 2; }, 5s));  // s1 and what was placed
    for (auto const& s : b.owned()) CHECK(s.id != "s0");
    unsigned gaps = 0;
    std::map<std::string, unsigned> registered;
    for (auto const& e : record.events(before)) {
        gaps += std::holds_alternative<rota::events_gap>(e) ? 1 : 0;
        if (auto const* s = std::get_if<rota::schedule_changed>(&e)) ++registered[s->schedule];
    }
    CHECK(gaps == 2);  // of its own log, and of the group's
    CHECK(registered == std::map<std::string, unsigned>{{"s0", 1}, {"s2", 1}, {"t0", 1}, {"t1", 1}, {"t2", 1}});
}

TEST_CASE("async over Redis: the server is away for a while, and comes back empty") {
    redis_server server;
    rota::poll_loop loop;
    rota::options const brisk{.node_id = "a", .heartbeat_interval = 100ms, .operation_timeout = 100ms};
    member a{loop, server.url(), brisk};
    a->register_schedules(schedules(3), [](rota::results<void>) {});
    REQUIRE(loop.run_until([&] { return a->owned().size() == 3; }, 5s));
    server.stop();
    REQUIRE(loop.run_until([&] { return !a->is_leader() && a->owned().empty(); }, 5s));
    std::optional<result<rota::async_lock>> refused;
    a->try_lock("s0", 1s, [&](result<rota::async_lock> r) { refused.emplace(std::move(r)); });
    REQUIRE(loop.run_until([&] { return refused.has_value(); }, 2s));
    CHECK_FALSE(*refused);
    server.start();
    REQUIRE(loop.run_until([&] { return a->is_leader(); }, 5s));
    CHECK(a.ends == 0);
}

TEST_CASE("async over Redis: destroyed with a thousand requests under way, every handler is called once") {
    redis_server server;
    rota::poll_loop loop;
    auto a = std::make_unique<member>(loop, server.unix_url(), rota::options{.node_id = "a"});
    REQUIRE(loop.run_until([&] { return (*a)->is_leader(); }, 5s));
    std::vector<int> calls(1000);
    int cancelled = 0;
    int granted = 0;
    for (auto& n : calls) {
        auto const name = "n" + std::to_string(&n - calls.data());
        (*a)->try_lock_name(name, 5s, [&](result<rota::async_lock> r) {
            ++n;
            if (r) ++granted;
            if (!r && r.error() == errc::cancelled) ++cancelled;
        });
    }
    (void)loop.run_until([&] { return granted > 0; }, 5s);
    a.reset();
    loop.run_for(50ms);
    for (auto n : calls) CHECK(n == 1);
    CHECK(granted + cancelled == 1000);
    CHECK(granted > 0);
}

TEST_CASE("over Redis: an observer's join reads for as long as it takes") {
    redis_server server;
    rota::basic_coordinator office{rota::options{.node_id = "office"}, rota::hiredis_sync{server.unix_url()}};
    REQUIRE(office.register_schedules(schedules(4000)).all());
    rota::basic_coordinator eye{rota::options{.node_id = "eye",
                                              .heartbeat_interval = 1ms,
                                              .node_ttl = 100ms,
                                              .leader_lease = 100ms,
                                              .safety_margin = 1ms,
                                              .observer = true},
                                rota::hiredis_sync{server.unix_url()}};
    auto const joined = eye.join();
    INFO((joined ? "" : joined.error().message()));
    CHECK(joined);
}

TEST_CASE("async over Redis: a flood of requests does not cost a node its life") {
    redis_server server;
    rota::poll_loop loop;
    std::vector<std::string> told;
    rota::basic_coordinator a{
        rota::options{.node_id = "a", .heartbeat_interval = 200ms}, rota::hiredis_async{server.unix_url(), loop, 500},
        rota::callback_sink{[&](rota::node_suspended const& e) { told.push_back(e.why.message()); },
                            [&](rota::node_lost const&) { told.push_back("lost"); }}};
    a.run([](result<void>) {});
    REQUIRE(loop.run_until([&] { return a.is_leader(); }, 5s));
    // Always more than the transport takes: each one that ends is followed by the next.
    struct flood {
        decltype(a)& node;
        bool on = true;
        std::size_t ended = 0;
        std::size_t too_many = 0;

        void one_more() {
            node.nodes([this](result<std::vector<rota::node_status>> r) {
                ++ended;
                too_many += !r && r.error() == errc::unavailable;
                if (on) one_more();
            });
        }
    } of{a};
    for (int i = 0; i < 600; ++i) of.one_more();
    loop.run_for(2s);
    CHECK(told.empty());
    CHECK(a.is_leader());
    CHECK(of.ended > 1000);
    CHECK(of.too_many > 0);
    of.on = false;
    loop.run_for(200ms);
}

TEST_CASE("async over Redis: many coordinators on one loop") {
    redis_server server;
    rota::poll_loop loop;
    std::vector<std::unique_ptr<member>> all;
    for (int i = 0; i < 60; ++i) {
        all.push_back(std::make_unique<member>(loop, server.unix_url(), rota::options{.node_id = std::to_string(i)}));
    }
    auto const leaders = [&] {
        int n = 0;
        for (auto& m : all) n += (*m)->is_leader() ? 1 : 0;
        return n;
    };
    auto const joined = [&] {
        for (auto& m : all) {
            if (!m->joined()) return false;
        }
        return true;
    };
    REQUIRE(loop.run_until([&] { return joined() && leaders() == 1; }, 20s));
    (*all.front())->register_schedules(schedules(120), [](rota::results<void>) {});
    auto const even = [&] {
        for (auto& m : all) {
            if ((*m)->owned().size() != 2) return false;
        }
        return true;
    };
    REQUIRE(loop.run_until(even, 20s));
    CHECK(loop.run_until([&] { return leaders() == 1; }, 10s));
}

}  // namespace async_coordinator_test
