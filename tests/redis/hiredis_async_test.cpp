// The asynchronous Redis transport against real servers, networks that misbehave and peers that are no Redis: every
// handler is called once, on the loop and never inside the call it was given to, with what is true; nothing hangs, spins,
// leaks or is taken for another's. What it has in common with the blocking one (redis_handshake.hpp) is tested there.
#include <rota/transport/hiredis_async.hpp>

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rota/loop/poll_loop.hpp>

#include "../catch.hpp"
#include "../support/poll_until.hpp"
#include "../support/redis_server.hpp"
#include "../support/tcp_peer.hpp"
#include "../support/tcp_proxy.hpp"

namespace hiredis_async_test {

using namespace std::chrono_literals;
using rota::errc;
using rota::hiredis_async;
using rota::poll_loop;
using rota::test::poll_until;
using rota::test::redis_server;
using rota::test::tcp_peer;
using rota_test::contains;

static_assert(rota::async_transport<hiredis_async>);
static_assert(!rota::blocking_transport<hiredis_async>);

namespace {

constexpr auto timeout = 500ms;

std::string key(std::string const& name) { return "{test:}" + name; }

rota::operation any_operation() {
    static unsigned count = 0;
    return rota::op::register_schedules{{{"schedule-" + std::to_string(++count), 1, {}}}};
}

rota::subscription inbox(std::uint64_t version, rota::fencing_token incarnation = 7) {
    rota::subscription made;
    made.incarnation = incarnation;
    made.version = version;
    return made;
}

std::chrono::microseconds cpu_time() {
    rusage used{};
    REQUIRE(::getrusage(RUSAGE_SELF, &used) == 0);
    auto const of = [](timeval const& t) {
        return std::chrono::seconds{t.tv_sec} + std::chrono::microseconds{t.tv_usec};
    };
    return of(used.ru_utime) + of(used.ru_stime);
}

// How operations ended, and that each did once, outside of every call.
struct outcomes {
    std::map<errc, int> of;  // errc{}: success
    int asked = 0;
    int ended = 0;
    std::string last;  // error
    bool inside = false;

    [[nodiscard]] bool all() const { return ended == asked; }
    [[nodiscard]] int ok() const { return with(errc{}); }
    [[nodiscard]] int with(errc code) const {
        auto const found = of.find(code);
        return found == of.end() ? 0 : found->second;
    }
};

// A transport on a loop of its own, and what came of what was asked.
struct asker {
    poll_loop loop;
    outcomes seen;
    std::unique_ptr<hiredis_async> transport;

    explicit asker(std::string url, std::size_t most = hiredis_async::default_most_in_flight)
        : transport{std::make_unique<hiredis_async>(std::move(url), loop, most)} {
        rota::transport_settings settings;
        settings.key_prefix = "test:";
        settings.client_name = "a node";
        settings.operation_timeout = timeout;
        auto const ok = transport->open(settings);
        if (!ok) FAIL(ok.error().message());
    }

    void ask(rota::microseconds within = timeout, rota::operation const& request = any_operation()) {
        ++seen.asked;
        seen.inside = true;
        transport->submit(request, within, [this, calls = std::make_unique<int>(0)](rota::result<rota::reply> got) {
            CHECK(++*calls == 1);
            CHECK_FALSE(seen.inside);
            ++seen.ended;
            ++seen.of[got ? errc{} : got.error().code];
            if (!got) seen.last = got.error().detail;
        });
        seen.inside = false;
    }
    void settle(rota::microseconds within = 10s) {
        REQUIRE(loop.run_until([&] { return seen.all(); }, within));
    }
    // One operation, and what came of it.
    rota::error one(rota::microseconds within = timeout) {
        auto const before = seen;
        auto const start = rota::detail::io_now();
        ask(within);
        settle();
        CHECK(rota::detail::io_now() - start - 200ms < within);
        for (auto const& [code, count] : seen.of) {
            if (count != before.with(code)) return {code, code == errc{} ? std::string{} : seen.last};
        }
        FAIL("no handler was called");
        return {};
    }
    void succeed() {
        auto const why = one();
        if (why.code != errc{}) FAIL(why.message());
    }
    void succeed_soon() {
        std::string last;
        bool const ok = poll_until(5s, [&] {
            auto const why = one();
            last = why.message();
            return why.code == errc{};
        });
        INFO(last);
        REQUIRE(ok);
    }
    void listen_and_wait(redis_server& server, rota::subscription const& sub, int& pushes) {
        transport->listen(sub, [&] { ++pushes; });
        CHECK(loop.run_until([&] { return server.info("clients")["blocked_clients"] == "1"; }, 5s));
    }
};

std::string repeated(std::string const& text, int times) {
    std::string made;
    for (int i = 0; i < times; ++i) made += text;
    return made;
}

}  // namespace

// ---------------------------------------------------------------- as it should be

TEST_CASE("many operations share one connection, and go out together") {
    redis_server server;
    asker a{server.url()};
    a.succeed();
    auto const before = server.command_calls()["evalsha"];
    for (int i = 0; i < 1000; ++i) a.ask(5s);
    a.settle();
    CHECK(a.seen.ok() == 1001);
    CHECK(server.command_calls()["evalsha"] == before + 1000);
    CHECK(server.info("stats")["total_connections_received"] == "2");  // ours, and the one that asks
}

TEST_CASE("hiredis_async connects over each kind of address") {
    redis_server server;
    for (auto const& url : {server.unix_url() + "?db=4", "localhost:" + std::to_string(server.port()),
                            server.url() + "/3", server.address()}) {
        INFO(url);
        asker a{url};
        a.succeed();
    }
}

TEST_CASE("replies are given to those whose they are") {
    redis_server server;
    asker a{server.url()};
    int right = 0;
    for (int i = 0; i < 300; ++i) {
        auto const count = static_cast<std::size_t>(i % 7) + 1;
        rota::op::register_schedules request;
        for (std::size_t n = 0; n < count; ++n) request.items.push_back({fmt::format("{}-{}", i, n), 1, {}});
        a.transport->submit(request, 5s, [&, count](rota::result<rota::reply> got) {
            if (got && std::get<rota::op::outcomes>(*got).items.size() == count) ++right;
        });
    }
    CHECK(a.loop.run_until([&] { return right == 300; }, 5s));
}

TEST_CASE("a handler may ask for more, and so on") {
    redis_server server;
    asker a{server.url()};
    int left = 50;
    std::function<void()> next = [&] {
        a.transport->submit(any_operation(), timeout, [&](rota::result<rota::reply> got) {
            CHECK(got.has_value());
            if (--left > 0) next();
        });
    };
    next();
    CHECK(a.loop.run_until([&] { return left == 0; }, 10s));
}

TEST_CASE("hiredis_async refuses settings that it can judge without a server, and what it was not opened for") {
    poll_loop loop;
    hiredis_async transport{"rediss://cache", loop};
    CHECK(transport.open({.key_prefix = "x:"}).error() == errc::invalid_argument);
    hiredis_async other{"cache", loop};
    CHECK(other.open({.key_prefix = "a{"}).error() == errc::invalid_argument);
    errc code{};
    other.submit(any_operation(), timeout, [&](rota::result<rota::reply> got) { code = got.error().code; });
    CHECK(code == errc{});
    CHECK(loop.run_until([&] { return code == errc::invalid_argument; }, 1s));
}

// ---------------------------------------------------------------- limits

TEST_CASE("more operations than the limit are unavailable, until some have ended") {
    redis_server server;
    asker a{server.url(), 100};
    for (int i = 0; i < 130; ++i) a.ask(5s);
    a.settle();
    CHECK(a.seen.ok() == 100);
    CHECK(a.seen.with(errc::unavailable) == 30);
    CHECK_THAT(a.seen.last, contains("too many requests in flight"));
    a.succeed();
}

TEST_CASE("async: no time allowed: nothing is sent") {
    redis_server server;
    asker a{server.url()};
    a.succeed();
    auto const before = server.command_calls()["evalsha"];
    CHECK(a.one(0ms) == errc::timed_out);
    CHECK(a.one(-1ms) == errc::timed_out);
    CHECK(server.command_calls()["evalsha"] == before);
    CHECK(a.one(rota::microseconds::max()).code == errc{});
}

// ---------------------------------------------------------------- the end

TEST_CASE("destruction ends each operation once, as cancelled") {
    redis_server server;
    asker a{server.url()};
    SECTION("before the loop ever ran") {
        for (int i = 0; i < 10; ++i) a.ask();
        a.transport.reset();
        CHECK(a.seen.with(errc::cancelled) == 10);
    }
    SECTION("while it connects") {
        rota::test::full_backlog full;
        asker b{full.url()};
        for (int i = 0; i < 10; ++i) b.ask();
        b.loop.run_for(10ms);
        b.transport.reset();
        CHECK(b.seen.with(errc::cancelled) == 10);
        b.loop.run_for(10ms);
    }
    SECTION("while a name is resolved") {
        asker b{"nowhere.invalid"};
        b.ask();
        b.loop.run_for(1ms);
        b.transport.reset();
        CHECK(b.seen.all());
        b.loop.run_for(50ms);
    }
    SECTION("with some in flight and some not") {
        a.succeed();
        server.pause();
        for (int i = 0; i < 10; ++i) a.ask(5s);
        a.loop.run_for(10ms);
        for (int i = 0; i < 10; ++i) a.ask(5s);
        a.transport.reset();
        CHECK(a.seen.with(errc::cancelled) == 20);
        server.resume();
    }
    SECTION("inside a handler, with others whose replies are there") {
        a.succeed();
        int after = 0;
        a.transport->submit(any_operation(), timeout, [&](rota::result<rota::reply>) { a.transport.reset(); });
        for (int i = 0; i < 10; ++i)
            a.transport->submit(any_operation(), timeout, [&](rota::result<rota::reply>) { ++after; });
        CHECK(a.loop.run_until([&] { return a.transport == nullptr; }, 5s));
        CHECK(after == 10);
    }
    SECTION("with a handler that asks again, which is told that it is too late, by the loop") {
        a.succeed();
        server.pause();
        auto* const dying = a.transport.get();
        std::vector<errc> told;
        dying->submit(any_operation(), 5s, [&, dying](rota::result<rota::reply> got) {
            told.push_back(got.error().code);
            dying->submit(any_operation(), timeout,
                          [&](rota::result<rota::reply> again) { told.push_back(again.error().code); });
            dying->cancel();
        });
        a.loop.run_for(10ms);
        a.transport.reset();
        CHECK(told == std::vector{errc::cancelled});
        a.loop.run_for(10ms);
        CHECK(told == std::vector{errc::cancelled, errc::cancelled});
        server.resume();
    }
    SECTION("inside on_push") {
        a.succeed();
        bool pushed = false;
        a.transport->listen(inbox(0), [&] {
            pushed = true;
            a.transport.reset();
        });
        (void)server.command({"XADD", key("inbox:7"), "1-0", "k", "v"});
        CHECK(a.loop.run_until([&] { return pushed; }, 5s));
    }
    a.loop.run_for(20ms);
    CHECK(a.seen.all());
}

TEST_CASE("cancel() ends what is under way, and the transport goes on") {
    redis_server server;
    asker a{server.url()};
    a.succeed();
    server.pause();
    for (int i = 0; i < 5; ++i) a.ask(5s);
    a.loop.run_for(10ms);
    for (int i = 0; i < 5; ++i) a.ask(5s);
    a.seen.inside = true;
    a.transport->cancel();
    a.seen.inside = false;
    a.settle();
    CHECK(a.seen.with(errc::cancelled) == 10);
    server.resume();
    a.succeed();
}

TEST_CASE("a handler that throws keeps no other from being called, then or later") {
    asker a{"redis://127.0.0.1:1"};
    a.transport->submit(any_operation(), 5s,
                        [](rota::result<rota::reply> const&) { throw std::runtime_error("a handler's own"); });
    a.ask(5s);
    CHECK_THROWS_AS(a.loop.run_for(1s), std::runtime_error);
    a.settle(1s);  // not when a timer happens to fire
    a.ask(5s);
    a.settle(1s);
    CHECK(a.seen.with(errc::unavailable) == 2);
}

TEST_CASE("hiredis_async is moved before its first use") {
    redis_server server;
    poll_loop loop;
    hiredis_async first{server.url(), loop};
    hiredis_async transport{"127.0.0.1:1", loop};
    transport = std::move(first);
    REQUIRE(transport.open({.key_prefix = "x:", .operation_timeout = timeout}));
    bool ok = false;
    transport.submit(any_operation(), timeout, [&](rota::result<rota::reply> got) { ok = got.has_value(); });
    CHECK(loop.run_until([&] { return ok; }, 5s));
}

// ---------------------------------------------------------------- failing before anything was done

TEST_CASE("nobody there: unavailable, at a slower and slower pace, and the loop sleeps") {
    asker a{"127.0.0.1:" + std::to_string(rota::test::free_port())};
    auto const why = a.one();
    CHECK(why == errc::unavailable);
    CHECK_THAT(why.detail, contains("refused") && contains("127.0.0.1:"));
    auto const cpu = cpu_time();
    int attempts = 0;
    for (rota::test::deadline const end{1s}; !end.passed(); ++attempts) CHECK(a.one(100ms) == errc::unavailable);
    CHECK(attempts < 25);
    a.loop.run_for(500ms);
    CHECK(cpu_time() - cpu < 150ms);

    asker local{"unix:///nowhere/redis.sock"};
    CHECK_THAT(local.one().detail, contains("/nowhere/redis.sock") && contains("No such file"));
    asker unnamed{"nowhere.invalid"};
    CHECK_THAT(unnamed.one(10s).detail, contains("nowhere.invalid") && contains("resolve"));
}

TEST_CASE("a host that does not answer costs the timeout, also for those who came later") {
    rota::test::full_backlog full;
    asker a{full.url()};
    auto const cpu = cpu_time();
    a.ask(100ms);
    a.loop.run_for(50ms);
    CHECK(a.seen.ended == 0);
    auto const why = a.one(100ms);
    CHECK(why == errc::timed_out);
    CHECK_THAT(why.detail, contains("no connection") && contains(full.address()));
    CHECK(a.seen.with(errc::timed_out) == 2);
    CHECK(cpu_time() - cpu < 50ms);
}

TEST_CASE("a wrong password is refused at once, and a changed one when it is asked for again") {
    redis_server server{{.config = {}, .password = "battery"}};
    asker wrong{"redis://:hunter2@" + server.address()};
    auto why = wrong.one();
    CHECK(why == errc::refused_by_server);
    CHECK_THAT(why.detail, contains("WRONGPASS") && !contains("hunter2"));

    asker a{server.url()};
    a.succeed();
    REQUIRE(server.command({"CONFIG", "SET", "requirepass", "staple"}).ok());
    a.succeed();  // those who are in stay in
    (void)server.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
    a.loop.run_for(30ms);
    why = a.one();
    CHECK(why == errc::refused_by_server);
    CHECK_THAT(why.detail, contains("AUTH") && !contains("battery"));
    REQUIRE(server.command({"CONFIG", "SET", "requirepass", "battery"}).ok());
    a.succeed_soon();
}

TEST_CASE("a read-only replica is unavailable to all who asked, and asked anew") {
    redis_server server;
    asker a{server.url()};
    a.succeed();
    REQUIRE(server.command({"REPLICAOF", "127.0.0.1", "1"}).ok());
    for (int i = 0; i < 20; ++i) a.ask();
    a.settle();
    CHECK(a.seen.with(errc::unavailable) == 20);
    CHECK_THAT(a.seen.last, contains("READONLY") || contains("MASTERDOWN"));
    REQUIRE(server.command({"REPLICAOF", "NO", "ONE"}).ok());
    a.succeed_soon();
}

TEST_CASE("peers that are no Redis") {
    for (auto const* words : {"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "SSH-2.0-OpenSSH_9.2p1\r\n",
                              "\x15\x03\x01", "$7\r\nwhat?!?\r\n"}) {
        tcp_peer peer{{.replies = {repeated(words, 40)}}};
        asker a{peer.url()};
        INFO(words);
        CHECK(a.one() == errc::protocol);
    }
    tcp_peer mute;
    asker a{mute.url()};
    auto why = a.one(100ms);
    CHECK(why == errc::timed_out);
    CHECK_THAT(why.detail, contains("no reply"));

    tcp_peer closing{{.close_after_requests = 1}};
    asker b{closing.url()};
    why = b.one();
    CHECK(why == errc::unavailable);
    CHECK_THAT(why.detail, contains("closed the connection"));

    tcp_peer full{{.greeting = "-ERR max number of clients reached\r\n", .close_after_bytes = 36}};
    asker c{full.url()};
    why = c.one();
    CHECK(why == errc::unavailable);
    CHECK_THAT(why.detail, contains("max number of clients"));
}

// ---------------------------------------------------------------- failing in the middle

TEST_CASE("a connection that breaks under operations in flight: their outcome is unknown, and the next succeed") {
    redis_server server;
    rota::test::tcp_proxy proxy{server.port()};
    asker a{proxy.url()};
    a.succeed();
    SECTION("the reply is swallowed") { proxy.swallow_next_reply("EVALSHA"); }
    SECTION("it ends within a reply") { proxy.cut_reply_after(2); }
    SECTION("it is reset while the server thinks") {
        proxy.stall(rota::test::direction::to_client);
        for (int i = 0; i < 10; ++i) a.ask(5s);
        a.loop.run_for(20ms);
        proxy.reset();
        a.settle();
        CHECK(a.seen.with(errc::outcome_unknown) == 10);
        proxy.resume(rota::test::direction::to_client);
    }
    auto const before = a.seen;
    for (int i = 0; i < 10; ++i) a.ask(5s);
    a.settle();
    CHECK(a.seen.ok() + a.seen.with(errc::outcome_unknown) == before.ok() + before.with(errc::outcome_unknown) + 10);
    a.succeed_soon();
}

TEST_CASE("a reply that comes after the deadline is nobody's, and costs the connection") {
    redis_server server;
    rota::test::tcp_proxy proxy{server.port()};
    asker a{proxy.url()};
    a.succeed();
    proxy.stall(rota::test::direction::to_client);
    auto const connections = proxy.accepted();
    a.ask(100ms);
    for (int i = 0; i < 3; ++i) a.ask(5s);
    auto const cpu = cpu_time();
    a.settle();
    CHECK(cpu_time() - cpu < 50ms);
    CHECK(a.seen.with(errc::outcome_unknown) == 4);
    CHECK_THAT(a.seen.last, contains("no reply within the time allowed"));
    proxy.resume(rota::test::direction::to_client);
    a.succeed_soon();
    CHECK(proxy.accepted() > connections);
}

TEST_CASE("what did not go out goes out over the next connection") {
    redis_server server;
    asker a{server.url()};
    a.succeed();
    server.pause();
    // More than the system and the limit of unsent bytes take.
    rota::op::register_schedules big;
    for (std::size_t i = 0; i < rota::op::max_batch; ++i)
        big.items.push_back({std::string(500, 'x') + std::to_string(i), 1, {}});
    for (int i = 0; i < 200; ++i) a.ask(20s, big);
    a.loop.run_for(100ms);
    server.crash();
    server.start();
    a.settle(30s);
    INFO("ok " << a.seen.ok() << ", unknown " << a.seen.with(errc::outcome_unknown) << ": " << a.seen.last);
    CHECK(a.seen.with(errc::outcome_unknown) > 0);
    CHECK(a.seen.ok() + a.seen.with(errc::outcome_unknown) + a.seen.with(errc::unavailable) == 201);
    a.succeed_soon();
}

TEST_CASE("async: a connection that was closed while idle is replaced without an error") {
    redis_server server;
    asker a{server.url()};
    a.succeed();
    REQUIRE(server.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}).integer >= 1);
    SECTION("and the loop has seen it") { a.loop.run_for(30ms); }
    SECTION("and nobody has looked") {
        // Until the server has none but the one that asks: then it has closed ours.
        CHECK(poll_until(5s, [&] {
            auto const list = server.command({"CLIENT", "LIST"}).text;
            return std::count(list.begin(), list.end(), '\n') == 1;
        }));
    }
    a.succeed();
}

TEST_CASE("a restarted server is found again, which is told once, and no SIGPIPE ends the process") {
    struct sigaction now{};
    REQUIRE(::sigaction(SIGPIPE, nullptr, &now) == 0);
    REQUIRE(now.sa_handler == SIG_DFL);
    redis_server server;
    asker a{server.url()};
    a.succeed();
    CHECK(a.transport->take_warnings().empty());
    server.crash();
    auto const cpu = cpu_time();
    for (int i = 0; i < 20; ++i) {
        a.ask(50ms);
        a.ask(50ms);
        a.settle();
    }
    CHECK(a.seen.ok() == 1);
    CHECK(cpu_time() - cpu < 100ms);
    server.start();
    a.succeed_soon();
    auto const warnings = a.transport->take_warnings();
    REQUIRE(warnings.size() == 1);
    CHECK_THAT(warnings[0].detail, contains("restarted"));
    CHECK(a.transport->take_server_changed());
    CHECK_FALSE(a.transport->take_server_changed());
}

TEST_CASE("scripts that the server forgot are loaded once for all who miss them") {
    redis_server server;
    asker a{server.url()};
    a.succeed();
    for (int round = 1; round <= 3; ++round) {
        REQUIRE(server.command({"SCRIPT", "FLUSH"}).ok());
        auto const before = server.command_calls()["script|load"] + server.command_calls()["script"];
        for (int i = 0; i < 100; ++i) a.ask(5s);
        a.settle();
        CHECK(a.seen.ok() == 1 + 100 * round);
        auto const loads = server.command_calls()["script|load"] + server.command_calls()["script"] - before;
        CHECK(loads <= rota::detail::script_count + 1);
    }
    CHECK(server.info("stats")["total_connections_received"] == "2");
}

TEST_CASE("async: what the script for the usual leaves undone is sent once more, in full") {
    redis_server server;
    asker a{server.url()};
    a.succeed();
    rota::operation const hand_over = rota::op::acknowledge{.incarnation = 7, .items = {{"x", 3, 8, {}, true}}};
    auto const before = server.command_calls()["evalsha"];
    for (int i = 0; i < 10; ++i) a.ask(5s, hand_over);
    a.settle();
    CHECK(a.seen.with(errc::not_joined) == 10);
    CHECK(server.command_calls()["evalsha"] == before + 20);

    REQUIRE(server.command({"SCRIPT", "FLUSH"}).ok());
    for (int i = 0; i < 10; ++i) a.ask(5s, hand_over);
    a.settle();
    CHECK(a.seen.with(errc::not_joined) == 20);

    // But not for one that has given up.
    server.pause();
    for (int i = 0; i < 10; ++i) a.ask(5s, hand_over);
    a.loop.run_for(10ms);
    a.transport->cancel();
    server.resume();
    a.settle();
    CHECK(a.seen.with(errc::cancelled) == 10);
    a.succeed();
}

TEST_CASE("async: whichever of the two replies is lost, the outcome is unknown, and nothing is sent twice") {
    redis_server server;
    rota::test::tcp_proxy proxy{server.port()};
    rota::operation const hand_over = rota::op::acknowledge{.incarnation = 7, .items = {{"x", 3, 8, {}, true}}};
    std::uint64_t calls = 0;
    for (auto const script : {rota::detail::script_id::hand_over, rota::detail::script_id::acknowledge}) {
        asker a{proxy.url()};
        a.succeed();
        auto const before = server.command_calls()["evalsha"];
        proxy.swallow_next_reply(rota::detail::script_table::standard().digest(script));
        a.ask(5s, hand_over);
        a.settle();
        CHECK(a.seen.with(errc::outcome_unknown) == 1);
        CHECK(server.command_calls()["evalsha"] == before + ++calls);
        a.succeed_soon();
    }
}

TEST_CASE("scripts that the server has are not loaded anew by the next connection") {
    redis_server server;
    auto loads = [&server, before = std::uint64_t{0}]() mutable {
        auto calls = server.command_calls();
        auto const all = calls["script|load"] + calls["script"];
        return all - std::exchange(before, all);
    };
    auto const connect = [&server] {
        asker a{server.url()};
        a.succeed();
    };
    connect();
    CHECK(loads() == 1 + rota::detail::script_count);  // the one that checks rights is loaded first, by everyone
    connect();
    CHECK(loads() == 1);
    REQUIRE(server.command({"SCRIPT", "FLUSH"}).ok());
    (void)loads();
    connect();
    CHECK(loads() == 1 + rota::detail::script_count);
}

TEST_CASE("async: a server that is loading is unavailable, and asked again over the same connection") {
    redis_server server;
    REQUIRE(server.command({"EVAL", "for i = 1, 15000 do redis.call('SET', 'k' .. i, i) end return 1", "0"}).integer ==
            1);
    REQUIRE(server.command({"SAVE"}).ok());
    server.stop();
    server.launch({"--key-load-delay", "20", "--loading-process-events-interval-bytes", "1024"});  // about 1 s
    rota::test::tcp_proxy proxy{server.port()};
    asker a{proxy.url()};
    int loading = 0;
    std::size_t connections = 0;
    REQUIRE(poll_until(20s, [&] {
        auto const why = a.one(5s);
        if (why.detail.find("LOADING") != std::string::npos && ++loading == 1) connections = proxy.accepted();
        return why.code == errc{};
    }));
    CHECK(loading > 1);
    CHECK(proxy.accepted() == connections);
}

TEST_CASE("hiredis_async hands no descriptor to child processes, and leaves none behind") {
    redis_server server;
    auto const open_descriptors = [] {
        std::size_t count = 0;
        for (int fd = 0; fd < 1024; ++fd) {
            if (::fcntl(fd, F_GETFD) != -1) ++count;
        }
        return count;
    };
    (void)server.command({"PING"});
    auto const before = open_descriptors();
    std::vector<bool> others;
    for (int fd = 0; fd < 1024; ++fd) others.push_back(::fcntl(fd, F_GETFD) != -1);
    {
        asker a{server.url()};
        a.succeed();
        int pushes = 0;
        a.listen_and_wait(server, inbox(0), pushes);
        for (int fd = 0; fd < 1024; ++fd) {
            auto const flags = ::fcntl(fd, F_GETFD);
            if (flags != -1 && !others[static_cast<std::size_t>(fd)]) CHECK((flags & FD_CLOEXEC) != 0);
        }
        server.crash();
        for (int i = 0; i < 10; ++i) (void)a.one(20ms);
    }
    CHECK(open_descriptors() <= before);
}

// ---------------------------------------------------------------- listening

TEST_CASE("on_push() is called once for each listen(), when there is something newer") {
    redis_server server;
    asker a{server.url()};
    a.succeed();
    int pushes = 0;
    a.listen_and_wait(server, inbox(4), pushes);
    (void)server.command({"XADD", key("inbox:7"), "5-0", "k", "v"});
    CHECK(pushes == 0);
    CHECK(a.loop.run_until([&] { return pushes == 1; }, 5s));
    auto const cpu = cpu_time();
    (void)server.command({"XADD", key("inbox:7"), "6-0", "k", "v"});
    a.loop.run_for(50ms);
    CHECK(pushes == 1);  // it rests
    CHECK(cpu_time() - cpu < 20ms);
    a.transport->listen(inbox(5), [&] { ++pushes; });
    CHECK(pushes == 1);
    CHECK(a.loop.run_until([&] { return pushes == 2; }, 5s));

    SECTION("what was learnt in another way is not told") {
        a.listen_and_wait(server, inbox(6), pushes);
        a.transport->listen(inbox(7), [&] { ++pushes; });
        (void)server.command({"XADD", key("inbox:7"), "7-0", "k", "v"});
        a.loop.run_for(30ms);
        CHECK(pushes == 2);
        (void)server.command({"XADD", key("inbox:7"), "8-0", "k", "v"});
        CHECK(a.loop.run_until([&] { return pushes == 3; }, 5s));
    }
    SECTION("the group's events") {
        auto sub = inbox(6);
        sub.group = rota::group_interest::all;
        sub.epoch = 3;
        sub.seq = 5;
        (void)server.command({"DEL", key("events")});
        (void)server.command({"XADD", key("events"), "3-5", "k", "v"});
        a.listen_and_wait(server, sub, pushes);
        (void)server.command({"XADD", key("events"), "3-6", "k", "v"});
        CHECK(a.loop.run_until([&] { return pushes == 3; }, 5s));
    }
    SECTION("what calls the leader") {
        auto sub = inbox(6);
        sub.group = rota::group_interest::calls;
        sub.epoch = 3;
        sub.seq = 5;
        (void)server.command({"DEL", key("calls")});
        a.listen_and_wait(server, sub, pushes);
        (void)server.command({"XADD", key("events"), "3-6", "k", "v"});
        a.loop.run_for(30ms);
        CHECK(pushes == 2);
        (void)server.command({"XADD", key("calls"), "3-7", "k", "v"});
        CHECK(a.loop.run_until([&] { return pushes == 3; }, 5s));
    }
    SECTION("nothing any more") {
        a.listen_and_wait(server, inbox(6), pushes);
        a.transport->listen({}, [&] { ++pushes; });
        CHECK(poll_until(5s, [&] { return server.info("clients")["blocked_clients"] == "0"; }));
        (void)server.command({"XADD", key("inbox:7"), "9-0", "k", "v"});
        a.loop.run_for(20ms);
        CHECK(pushes == 2);
    }
}

TEST_CASE("listening outlives its server, costs next to nothing meanwhile, and begins again when it is back") {
    redis_server server;
    asker a{server.url()};
    a.succeed();
    int pushes = 0;
    a.listen_and_wait(server, inbox(0), pushes);
    server.crash();
    auto const before = cpu_time();
    a.loop.run_for(1s);
    CHECK(cpu_time() - before < 60ms);
    server.start();
    a.succeed_soon();
    CHECK(a.loop.run_until([&] { return server.info("clients")["blocked_clients"] == "1"; }, 5s));
    (void)server.command({"XADD", key("inbox:7"), "1-0", "k", "v"});
    CHECK(a.loop.run_until([&] { return pushes == 1; }, 5s));
}

TEST_CASE("a server that does not let us listen is complained of once") {
    redis_server server;
    REQUIRE(server.command({"ACL", "SETUSER", "node", "on", ">pw", "~{test:}*", "+@all"}).ok());
    asker a{"redis://node:pw@" + server.address()};
    a.succeed();
    REQUIRE(server.command({"ACL", "SETUSER", "node", "-xread"}).ok());
    int pushes = 0;
    a.transport->listen(inbox(0), [&] { ++pushes; });
    a.loop.run_for(200ms);
    auto const warnings = a.transport->take_warnings();
    REQUIRE(warnings.size() == 1);
    CHECK_THAT(warnings[0].detail, contains("NOPERM") && contains("listening"));
    CHECK(pushes == 0);
}

}  // namespace hiredis_async_test
