// The blocking Redis transport against real servers, and against peers that are none: each failure has its own errc and
// a message that names what and why, nothing hangs, no message holds a password, and a sleep ends when it should.
#include <rota/transport/hiredis_sync.hpp>

#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "../catch.hpp"
#include "../support/poll_until.hpp"
#include "../support/redis_server.hpp"
#include "../support/tcp_peer.hpp"
#include "../support/tcp_proxy.hpp"

namespace hiredis_sync_test {

using namespace std::chrono_literals;
using rota::errc;
using rota::hiredis_sync;
using rota::wake_reason;
using rota::test::poll_until;
using rota::test::redis_server;
using rota::test::tcp_peer;
using rota_test::contains;

static_assert(rota::blocking_transport<hiredis_sync>);

namespace {

constexpr auto timeout = 500ms;

rota::transport_settings settings(rota::microseconds patience = timeout) {
    rota::transport_settings made;
    made.key_prefix = "test:";
    made.client_name = "a node";
    made.operation_timeout = patience;
    return made;
}

std::string key(std::string const& name) { return "{test:}" + name; }

// An operation that writes, each time.
rota::operation any_operation() {
    static unsigned count = 0;
    return rota::op::register_schedules{{{"schedule-" + std::to_string(++count), 1}}};
}

hiredis_sync opened(std::string url) {
    hiredis_sync made{std::move(url)};
    auto const ok = made.open(settings());
    if (!ok) FAIL(ok.error().message());
    return made;
}

void succeed(hiredis_sync& transport, rota::operation const& request = any_operation()) {
    auto const answer = transport.perform(request, timeout);
    if (!answer) FAIL(answer.error().message());
}

// Until it succeeds, as a coordinator would after a loss.
void succeed_soon(hiredis_sync& transport) {
    std::string last;
    bool const ok = poll_until(5s, [&] {
        auto const answer = transport.perform(any_operation(), timeout);
        if (!answer) last = answer.error().message();
        return answer.has_value();
    });
    INFO(last);
    REQUIRE(ok);
}

rota::error failure(hiredis_sync& transport, rota::microseconds within = timeout) {
    auto const before = std::chrono::steady_clock::now();
    auto const answer = transport.perform(any_operation(), within);
    auto const took = std::chrono::steady_clock::now() - before;
    CHECK(took < within + 200ms);  // nothing hangs past its timeout
    if (answer) FAIL("the operation succeeded");
    CHECK_THAT(answer.error().detail, !contains("\n") && !contains("@user_script"));
    return answer.error();
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

std::string repeated(std::string const& text, int times) {
    std::string made;
    for (int i = 0; i < times; ++i) made += text;
    return made;
}

// The lines of CLIENT LIST whose client has that name.
std::vector<std::string> clients(redis_server& server, std::string const& name) {
    std::vector<std::string> found;
    auto const list = server.command({"CLIENT", "LIST"}).text;
    for (std::size_t at = 0; at < list.size();) {
        auto const end = list.find('\n', at);
        auto const line = list.substr(at, end - at);
        if (line.find(" name=" + name + " ") != std::string::npos) found.push_back(line);
        at = end + 1;
    }
    return found;
}

// Waits until the server has our blocked read.
void wait_until_listening(redis_server& server, hiredis_sync& transport, rota::subscription const& sub) {
    REQUIRE(poll_until(5s, [&] {
        (void)transport.wait(sub, 1ms);
        return server.info("clients")["blocked_clients"] == "1";
    }));
}

}  // namespace

// ---------------------------------------------------------------- where and as whom

TEST_CASE("hiredis_sync connects over TCP and over a unix socket, to the database that is asked for") {
    redis_server server;
    auto const keys_in = [&](std::string const& database) {
        REQUIRE(server.command({"SELECT", database}).ok());
        return server.command({"DBSIZE"}).integer;
    };

    auto tcp = opened(server.url() + "/3");
    succeed(tcp);
    CHECK(keys_in("3") > 0);
    CHECK(keys_in("4") == 0);

    auto local = opened(server.unix_url() + "?db=4");
    succeed(local);
    CHECK(keys_in("4") > 0);
    CHECK(keys_in("0") == 0);

    auto plain = opened("localhost:" + std::to_string(server.port()));
    succeed(plain);
    CHECK(keys_in("0") > 0);

    auto absent = opened(server.url() + "/99");
    auto const why = failure(absent);
    CHECK(why == errc::refused_by_server);
    CHECK_THAT(why.detail, contains("SELECT") && contains("out of range") && contains(server.address()));
}

TEST_CASE("hiredis_sync tells its name, made fit for Redis") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    CHECK(clients(server, "a-node").size() == 1);
    wait_until_listening(server, transport, inbox(0));
    CHECK(clients(server, "a-node:push").size() == 1);
}

TEST_CASE("hiredis_sync refuses settings that it can judge without a server") {
    hiredis_sync bad_url{"rediss://cache"};
    CHECK(bad_url.open(settings()).error() == errc::invalid_argument);
    CHECK_THAT(bad_url.open(settings()).error().detail, contains("TLS"));
    CHECK(bad_url.perform(any_operation(), timeout).error() == errc::invalid_argument);
    CHECK(bad_url.wait(inbox(0), 1ms) == wake_reason::timeout);

    hiredis_sync good_url{"cache"};
    auto with = settings();
    for (auto const* prefix : {"", "a{", "}"}) {
        with.key_prefix = prefix;
        CHECK(good_url.open(with).error() == errc::invalid_argument);
        CHECK_THAT(good_url.open(with).error().detail, contains("key_prefix"));
    }
}

TEST_CASE("hiredis_sync authenticates, and no message holds a password") {
    redis_server server{{.config = {}, .password = "battery staple@/:"}};
    auto const at = server.address();
    auto const never = [](rota::error const& why) {
        CHECK_THAT(why.message(),
                   !contains("hunter2") && !contains("battery") && !contains("staple") && !contains("somebody"));
        return why;
    };

    SECTION("the right one") {
        auto transport = opened("redis://:battery%20staple%40%2F%3A@" + at);
        succeed(transport);
        wait_until_listening(server, transport, inbox(0));
        auto named = opened("redis://default:battery staple@/:@" + at);
        succeed(named);
    }
    SECTION("a wrong one") {
        auto transport = opened("redis://:hunter2@" + at);
        for (int i = 0; i < 3; ++i) {
            auto const why = never(failure(transport));
            CHECK(why == errc::refused_by_server);
            CHECK_THAT(why.detail, contains("AUTH") && contains("WRONGPASS"));
        }
    }
    SECTION("a wrong user") {
        auto transport = opened("redis://somebody:hunter2@" + at);
        auto const why = never(failure(transport));
        CHECK(why == errc::refused_by_server);
        CHECK_THAT(why.detail, contains("WRONGPASS"));
    }
    SECTION("none") {
        auto transport = opened("redis://" + at);
        auto const why = never(failure(transport));
        CHECK(why == errc::refused_by_server);
        CHECK_THAT(why.detail, contains("NOAUTH"));
    }
    SECTION("one that is not asked for") {
        redis_server open_to_all;
        auto transport = opened("redis://:hunter2@" + open_to_all.address());
        auto const why = never(failure(transport));
        CHECK(why == errc::refused_by_server);
        CHECK_THAT(why.detail, contains("without any password configured"));
    }
    SECTION("a server that quotes what it does not understand") {
        tcp_peer parrot{
            {.replies = {"-ERR unknown command 'AUTH', with args beginning with: 'somebody' 'hunter2' \r\n" +
                         repeated("-ERR no hunter2\r\n", 100)}}};
        auto transport = opened("redis://somebody:hunter2@" + parrot.address());
        auto const why = never(failure(transport));
        CHECK(why == errc::refused_by_server);
        CHECK_THAT(why.detail, contains("unknown command 'AUTH'"));
    }
    SECTION("in what came to nothing") {
        rota::test::full_backlog full;
        auto hanging = opened("redis://somebody:hunter2@" + full.address());
        never(failure(hanging, 50ms));
        tcp_peer mute;
        auto silent = opened("redis://somebody:hunter2@" + mute.address());
        never(failure(silent, 50ms));
        auto nowhere = opened("redis://somebody:hunter2@" + std::to_string(rota::test::free_port()) + ".invalid");
        never(failure(nowhere, 5s));
        hiredis_sync malformed{"redis://somebody:hunter2@cache:x"};
        never(malformed.open(settings()).error());
    }
}

// ---------------------------------------------------------------- servers that refuse

TEST_CASE("hiredis_sync finds missing rights when it connects, before the first write") {
    redis_server server;
    std::string const all = "+@all";
    struct row {
        std::vector<std::string> rules;
        std::string words;
    };
    std::vector<row> const table{
        {{"~{test:}*", all, "-evalsha"}, "evalsha"}, {{"~{test:}*", all, "-script"}, "script"},
        {{"~{test:}*", all, "-xadd"}, "XADD"},       {{"~{test:}*", all, "-hset"}, "HSET"},
        {{"~{test:}*", all, "-xread"}, "XREAD"},     {{"~another:*", all}, "key"},
    };
    for (auto const& row : table) {
        std::vector<std::string> command{"ACL", "SETUSER", "node", "reset", "on", ">pw"};
        command.insert(command.end(), row.rules.begin(), row.rules.end());
        REQUIRE(server.command(command).ok());
        auto transport = opened("redis://node:pw@" + server.address());
        auto const why = failure(transport);
        INFO(row.rules.back());
        CHECK(why == errc::refused_by_server);
        CHECK_THAT(why.detail, contains(row.words) && contains(server.address()));
        CHECK(server.command({"DBSIZE"}).integer == 0);
    }
}

TEST_CASE("hiredis_sync does without the rights that are for people only") {
    redis_server server;
    REQUIRE(server.command({"ACL", "SETUSER", "node", "on", ">pw", "~{test:}*", "+@all", "-info", "-client", "-config"})
                .ok());
    auto transport = opened("redis://node:pw@" + server.address());
    succeed(transport);
    wait_until_listening(server, transport, inbox(0));
    CHECK(transport.take_warnings().empty());
}

TEST_CASE("rights given later are noticed without a new transport") {
    redis_server server;
    REQUIRE(server.command({"ACL", "SETUSER", "node", "on", ">pw", "~{test:}*", "+@all", "-evalsha"}).ok());
    auto transport = opened("redis://node:pw@" + server.address());
    CHECK(failure(transport) == errc::refused_by_server);
    REQUIRE(server.command({"ACL", "SETUSER", "node", "+evalsha"}).ok());
    succeed(transport);
}

TEST_CASE("a key of the wrong type is refused with the server's words, and the connection stays") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    REQUIRE(server.command({"FLUSHALL"}).ok());
    for (auto const* name : {"head", "fence", "events", "leader", "nodes", "dead", "info", "ids", "roster", "load",
                             "pending", "own", "unowned", "moves", "calls"}) {
        (void)server.command({"LPUSH", key(name), "x"});
    }
    auto const why = failure(transport);
    CHECK(why == errc::refused_by_server);
    CHECK_THAT(why.detail, contains("WRONGTYPE") && contains("register_schedules") && contains(server.address()));

    REQUIRE(server.command({"FLUSHALL"}).ok());
    auto const before = server.info("stats")["total_connections_received"];
    succeed(transport);
    CHECK(server.info("stats")["total_connections_received"] == before);
}

TEST_CASE("a server that is out of memory refuses, and is used again when it has some") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    REQUIRE(server.command({"CONFIG", "SET", "maxmemory", "1"}).ok());
    auto why = failure(transport);
    CHECK(why == errc::refused_by_server);
    CHECK_THAT(why.detail, contains("OOM"));

    auto late = opened(server.url());
    why = failure(late);
    CHECK(why == errc::refused_by_server);
    CHECK_THAT(why.detail, contains("OOM"));

    REQUIRE(server.command({"CONFIG", "SET", "maxmemory", "0"}).ok());
    succeed(transport);
    succeed(late);
}

TEST_CASE("a read-only replica is unavailable, and asked anew over a new connection") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    REQUIRE(server.command({"REPLICAOF", "127.0.0.1", "1"}).ok());

    auto why = failure(transport);
    CHECK(why == errc::unavailable);
    CHECK_THAT(why.detail, contains("READONLY") || contains("MASTERDOWN"));
    why = failure(transport);  // now found on connecting
    CHECK(why == errc::unavailable);
    CHECK_THAT(why.detail, contains("READONLY") || contains("MASTERDOWN"));

    REQUIRE(server.command({"REPLICAOF", "NO", "ONE"}).ok());
    succeed_soon(transport);
}

TEST_CASE("a server that is loading is unavailable, and asked again over the same connection") {
    redis_server server;
    REQUIRE(server.command({"EVAL", "for i = 1, 15000 do redis.call('SET', 'k' .. i, i) end return 1", "0"}).integer ==
            1);
    REQUIRE(server.command({"SAVE"}).ok());
    server.stop();
    server.launch({"--key-load-delay", "20", "--loading-process-events-interval-bytes", "1024"});  // about 1 s
    rota::test::tcp_proxy proxy{server.port()};
    auto transport = opened(proxy.url());

    int loading = 0;
    std::size_t connections = 0;
    REQUIRE(poll_until(20s, [&] {
        auto const answer = transport.perform(any_operation(), 5s);
        if (answer) return true;
        CHECK(answer.error() == errc::unavailable);
        if (answer.error().detail.find("LOADING") != std::string::npos && ++loading == 1)
            connections = proxy.accepted();
        return false;
    }));
    CHECK(loading > 1);
    CHECK(proxy.accepted() == connections);
}

TEST_CASE("a server that drops us at once is quoted with its reason") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    REQUIRE(server.command({"CONFIG", "SET", "maxclients", "2"}).ok());  // ours, and the one that asks
    auto third = opened(server.url());
    auto why = failure(third);
    CHECK(why == errc::unavailable);
    CHECK_THAT(why.detail, contains("max number of clients"));

    tcp_peer full{{.greeting = "-ERR max number of clients reached\r\n", .close_after_bytes = 36}};
    auto other = opened(full.url());
    why = failure(other);
    CHECK(why == errc::unavailable);
    CHECK_THAT(why.detail, contains("max number of clients"));

    std::string const words = "-DENIED Redis is running in protected mode\r\n";
    tcp_peer guarded{{.greeting = words, .close_after_bytes = words.size()}};
    auto fourth = opened(guarded.url());
    why = failure(fourth);
    CHECK(why == errc::refused_by_server);
    CHECK_THAT(why.detail, contains("DENIED"));
}

// ---------------------------------------------------------------- peers that are no Redis, or not there

TEST_CASE("a port that speaks another protocol") {
    for (auto const* words : {"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "SSH-2.0-OpenSSH_9.2p1\r\n",
                              "\x15\x03\x01", "$7\r\nwhat?!?\r\n"}) {
        tcp_peer peer{{.replies = {repeated(words, 40)}}};
        auto transport = opened(peer.url());
        auto const why = failure(transport);
        INFO(words);
        CHECK(why == errc::protocol);
        CHECK_THAT(why.detail, contains(peer.address()));
    }
    tcp_peer speaks_first{{.greeting = "220 mail.example ESMTP\r\n"}};
    auto transport = opened(speaks_first.url());
    CHECK(failure(transport) == errc::protocol);
}

TEST_CASE("a port that says nothing, or not enough, costs the timeout and no more") {
    tcp_peer mute;
    auto transport = opened(mute.url());
    auto why = failure(transport, 100ms);
    CHECK(why == errc::timed_out);
    CHECK_THAT(why.detail, contains("no reply") && contains(mute.address()));

    tcp_peer halting{{.replies = {"+O"}}};
    auto other = opened(halting.url());
    CHECK(failure(other, 100ms) == errc::timed_out);

    tcp_peer closing{{.close_after_requests = 1}};
    auto third = opened(closing.url());
    why = failure(third);
    CHECK(why == errc::unavailable);
    CHECK_THAT(why.detail, contains("closed the connection"));
}

TEST_CASE("connecting to a host that does not answer costs the timeout and no more") {
    rota::test::full_backlog full;
    auto transport = opened(full.url());
    auto const why = failure(transport, 100ms);
    CHECK(why == errc::timed_out);
    CHECK_THAT(why.detail, contains("no connection") && contains(full.address()));
}

TEST_CASE("nobody there: refused, at a slower and slower pace") {
    auto transport = opened("127.0.0.1:" + std::to_string(rota::test::free_port()));
    auto const why = failure(transport);
    CHECK(why == errc::unavailable);
    CHECK_THAT(why.detail, contains("refused") && contains("127.0.0.1:"));

    auto const cpu = cpu_time();
    int attempts = 0;
    for (rota::test::deadline const end{1s}; !end.passed(); ++attempts)
        CHECK(failure(transport, 100ms) == errc::unavailable);
    CHECK(attempts < 25);  // a perform sleeps until the next attempt is due
    CHECK(cpu_time() - cpu < 100ms);

    auto local = opened("unix:///nowhere/redis.sock");
    CHECK(failure(local) == errc::unavailable);
    CHECK_THAT(failure(local).detail, contains("/nowhere/redis.sock") && contains("No such file"));
    auto unnamed = opened("nowhere.invalid");
    CHECK_THAT(failure(unnamed, 10s).detail, contains("nowhere.invalid") && contains("resolve"));
}

TEST_CASE("no time allowed: nothing is sent") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    auto const before = server.command_calls()["evalsha"];
    CHECK(transport.perform(any_operation(), 0ms).error() == errc::timed_out);
    CHECK(transport.perform(any_operation(), -1ms).error() == errc::timed_out);
    CHECK(server.command_calls()["evalsha"] == before);
    CHECK(transport.perform(any_operation(), rota::microseconds::max()).has_value());
}

// ---------------------------------------------------------------- failing in the middle

TEST_CASE("a reply that does not come: the outcome is unknown") {
    redis_server server;
    rota::test::tcp_proxy proxy{server.port()};
    auto transport = opened(proxy.url());
    succeed(transport);

    SECTION("the server stalls") {
        server.pause();
        auto const why = failure(transport, 100ms);
        CHECK(why == errc::outcome_unknown);
        CHECK_THAT(why.detail, contains("no reply within the time allowed"));
        server.resume();
    }
    SECTION("the connection ends after the request") {
        proxy.swallow_next_reply("EVALSHA");
        auto const why = failure(transport);
        CHECK(why == errc::outcome_unknown);
        CHECK(proxy.wait_done(1s));
    }
    SECTION("the connection ends within the reply") {
        proxy.cut_reply_after(2);
        CHECK(failure(transport) == errc::outcome_unknown);
    }
    succeed_soon(transport);
}

TEST_CASE("a connection that was closed while idle is replaced without an error") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    REQUIRE(server.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}).integer >= 1);
    REQUIRE(poll_until(5s, [&] { return clients(server, "a-node").empty(); }));
    (void)transport.wait({}, 50ms);  // as between two ticks
    succeed(transport);
}

TEST_CASE("a server that dies between two requests does not kill the process by SIGPIPE") {
    struct sigaction now{};
    REQUIRE(::sigaction(SIGPIPE, nullptr, &now) == 0);
    REQUIRE(now.sa_handler == SIG_DFL);

    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    wait_until_listening(server, transport, inbox(0));
    succeed(transport);
    server.crash();
    for (int i = 0; i < 5; ++i) {
        auto const answer = transport.perform(any_operation(), 50ms);
        REQUIRE_FALSE(answer);
        CHECK((answer.error() == errc::unavailable || answer.error() == errc::outcome_unknown));
        CHECK(transport.wait(inbox(0), 5ms) == wake_reason::timeout);
    }
    server.start();
    succeed_soon(transport);
}

TEST_CASE("writing into a connection that was reset is an error and not a signal") {
    // One peer answers the handshake of a whole connection, and then resets it before the next request is written.
    rota::detail::redis_connection connection;
    tcp_peer peer{{.replies = {"+OK\r\n"}, .close_after_requests = 1, .reset = true}};
    auto const address = rota::detail::parse_redis_address(peer.address());
    auto const until = rota::detail::io_now() + 2s;
    REQUIRE(connection.connect(*address, until));
    connection.allow(2s);
    rota::detail::append_command(connection.request(), {"PING"});
    REQUIRE(connection.send(until));
    REQUIRE(poll_until(2s, [&] { return connection.has_unasked_input(); }));
    bool refused = false;
    for (int i = 0; i < 10 && connection.is_open(); ++i) refused = !connection.send(until);
    CHECK(refused);
    CHECK_FALSE(connection.is_open());
}

TEST_CASE("scripts that the server forgot are loaded again, within the same request") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    for (int i = 0; i < 3; ++i) {
        REQUIRE(server.command({"SCRIPT", "FLUSH"}).ok());
        succeed(transport);
    }
    CHECK(server.info("stats")["total_connections_received"] == "2");  // ours, and the one that asks
}

TEST_CASE("what the script for the usual leaves undone is sent once more, in full") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    rota::op::acknowledge const hand_over{.incarnation = 7, .items = {{"x", 3, 8, {}, true}}};
    for (bool const forgotten : {false, true}) {
        if (forgotten) REQUIRE(server.command({"SCRIPT", "FLUSH"}).ok());
        auto const before = server.command_calls()["evalsha"];
        auto const answer = transport.perform(hand_over, timeout);
        REQUIRE_FALSE(answer.has_value());
        CHECK(answer.error() == errc::not_joined);
        CHECK(server.command_calls()["evalsha"] == before + (forgotten ? 3 : 2));
    }
    succeed(transport);
    CHECK(server.info("stats")["total_connections_received"] == "2");
}

TEST_CASE("whichever of the two replies is lost, the outcome is unknown, and nothing is sent twice") {
    redis_server server;
    rota::test::tcp_proxy proxy{server.port()};
    rota::op::acknowledge const hand_over{.incarnation = 7, .items = {{"x", 3, 8, {}, true}}};
    std::uint64_t calls = 0;
    for (auto const script : {rota::detail::script_id::hand_over, rota::detail::script_id::acknowledge}) {
        auto transport = opened(proxy.url());
        succeed(transport);
        auto const before = server.command_calls()["evalsha"];
        proxy.swallow_next_reply(rota::detail::script_table::standard().digest(script));
        auto const answer = transport.perform(hand_over, timeout);
        REQUIRE_FALSE(answer.has_value());
        CHECK(answer.error() == errc::outcome_unknown);
        CHECK(server.command_calls()["evalsha"] == before + ++calls);
        succeed_soon(transport);
    }
}

TEST_CASE("a restarted server is found again, and what that may mean is told once") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    CHECK(transport.take_warnings().empty());
    server.stop();
    CHECK(failure(transport) == errc::unavailable);
    server.start();
    succeed_soon(transport);
    auto const warnings = transport.take_warnings();
    REQUIRE(warnings.size() == 1);
    CHECK_THAT(warnings[0].detail, contains("restarted") && contains("run id"));
    CHECK(transport.take_warnings().empty());
}

TEST_CASE("an eviction policy that deletes leases is warned of, once") {
    redis_server server{{.config = {"--maxmemory-policy", "volatile-lru"}}};
    auto transport = opened(server.url());
    succeed(transport);
    auto const warnings = transport.take_warnings();
    REQUIRE(warnings.size() == 1);
    CHECK_THAT(warnings[0].detail, contains("maxmemory-policy is volatile-lru") && contains("noeviction"));

    REQUIRE(server.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}).integer >= 1);
    (void)transport.wait({}, 50ms);
    succeed(transport);
    CHECK(transport.take_warnings().empty());
}

TEST_CASE("descriptors are not handed to child processes, and none is left behind") {
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
    auto const is_socket = [](int fd) {
        struct stat what{};
        return ::fstat(fd, &what) == 0 && S_ISSOCK(what.st_mode);
    };
    std::vector<bool> others;  // of the one that asks
    for (int fd = 0; fd < 1024; ++fd) others.push_back(is_socket(fd));
    {
        auto transport = opened(server.url());
        succeed(transport);
        wait_until_listening(server, transport, inbox(0));
        for (int fd = 0; fd < 1024; ++fd) {
            if (is_socket(fd) && !others[static_cast<std::size_t>(fd)]) CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
        }
        server.crash();
        for (int i = 0; i < 20; ++i) {
            (void)transport.perform(any_operation(), 20ms);
            (void)transport.wait(inbox(0), 1ms);
        }
    }
    CHECK(open_descriptors() <= before);
}

// ---------------------------------------------------------------- sleeping

TEST_CASE("wake() ends a wait at once, from another thread", "[threads]") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    for (bool const listening : {false, true}) {
        if (listening) wait_until_listening(server, transport, inbox(0));
        std::atomic<std::int64_t> woken_at = 0;
        std::thread other{[&] {
            std::this_thread::sleep_for(20ms);
            woken_at = rota::detail::io_now().count();
            transport.wake();
        }};
        CHECK(transport.wait(listening ? inbox(0) : rota::subscription{}, 10s) == wake_reason::woken);
        auto const late = rota::detail::io_now() - rota::microseconds{woken_at};
        other.join();
        CHECK(late < 100ms);
        CHECK(transport.wait(inbox(0), 5ms) == wake_reason::timeout);  // one wake ends one wait
    }
}

TEST_CASE("wake() is not lost before the wait, nor before open()") {
    hiredis_sync transport{"127.0.0.1:1"};
    transport.wake();
    transport.wake();
    CHECK(transport.wait({}, 10s) == wake_reason::woken);
    CHECK(transport.wait({}, 1ms) == wake_reason::timeout);
    REQUIRE(transport.open(settings()));
    hiredis_sync moved{std::move(transport)};
    moved.wake();
    CHECK(moved.wait(inbox(0), 10s) == wake_reason::woken);
}

TEST_CASE("operations and sleep go on side by side", "[threads]") {
    redis_server server;
    auto transport = opened(server.url());
    std::atomic<bool> done = false;
    std::size_t pushes = 0;
    std::thread sleeper{[&] {
        std::uint64_t version = 0;
        while (!done) {
            if (transport.wait(inbox(version), 1s) == wake_reason::pushed) {
                ++pushes;
                ++version;
            }
            (void)transport.take_warnings();
        }
    }};
    for (int i = 1; i <= 200; ++i) {
        succeed(transport);
        if (i % 20 == 0) (void)server.command({"XADD", key("inbox:7"), std::to_string(i) + "-0", "k", "v"});
        if (i == 100) {
            (void)server.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
            std::this_thread::sleep_for(30ms);
        }
        transport.wake();
    }
    done = true;
    transport.wake();
    sleeper.join();
    CHECK(pushes > 0);
}

TEST_CASE("what is added to the inbox ends a wait within milliseconds") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    wait_until_listening(server, transport, inbox(4));

    std::atomic<std::int64_t> added_at = 0;
    std::thread other{[&] {
        std::this_thread::sleep_for(20ms);
        added_at = rota::detail::io_now().count();
        (void)server.command({"XADD", key("inbox:7"), "5-0", "k", "v"});
    }};
    CHECK(transport.wait(inbox(4), 10s) == wake_reason::pushed);
    auto const late = rota::detail::io_now() - rota::microseconds{added_at};
    other.join();
    CHECK(late < 100ms);
    CHECK(transport.wait(inbox(5), 5ms) == wake_reason::timeout);
}

TEST_CASE("what was added before the wait began is not missed") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    (void)server.command({"XADD", key("inbox:7"), "5-0", "k", "v"});
    CHECK(transport.wait(inbox(4), 5s) == wake_reason::pushed);
    CHECK(transport.wait(inbox(4), 5s) == wake_reason::pushed);  // the caller has not moved its cursor: still new
    CHECK(transport.wait(inbox(5), 5ms) == wake_reason::timeout);
}

TEST_CASE("one read stays pending over many waits") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    auto const probed = server.command_calls()["xread"];  // the rights to it, that is
    wait_until_listening(server, transport, inbox(4));
    auto const issued = server.command_calls()["xread"] - probed;
    REQUIRE(server.command({"CONFIG", "RESETSTAT"}).ok());
    for (int i = 0; i < 50; ++i) CHECK(transport.wait(inbox(4), 1ms) == wake_reason::timeout);
    CHECK(server.info("stats")["total_connections_received"] == "0");
    CHECK(server.command_calls()["xread"] == 0);
    (void)server.command({"XADD", key("inbox:7"), "5-0", "k", "v"});
    CHECK(transport.wait(inbox(4), 5s) == wake_reason::pushed);
    CHECK(issued + server.command_calls()["xread"] ==
          1);  // counted when issued, or when answered, as the version has it
}

TEST_CASE("what the node learnt in another way does not wake it") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    wait_until_listening(server, transport, inbox(4));
    (void)server.command({"XADD", key("inbox:7"), "5-0", "k", "v"});
    // The pending read is answered, but the node has read version 5 meanwhile.
    CHECK(transport.wait(inbox(5), 20ms) == wake_reason::timeout);
    wait_until_listening(server, transport, inbox(5));
    (void)server.command({"XADD", key("inbox:7"), "6-0", "k", "v"});
    CHECK(transport.wait(inbox(5), 5s) == wake_reason::pushed);
    CHECK(clients(server, "a-node:push").size() == 1);
}

TEST_CASE("what a wait was ended by is known, and told once") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    auto const add = [&](std::string const& id, std::string const& entry) {
        (void)server.command({"XADD", key("inbox:7"), id, "e", entry});
    };
    // owned (2), placed (1), from nobody, generation 77, to 7, weight 1
    std::string const x = "2|1|0|77|7|1|1:x";
    wait_until_listening(server, transport, inbox(4));
    add("5-0", x + "2|1|0|78|7|1;t=9;g=1|1:y");
    REQUIRE(transport.wait(inbox(4), 5s) == wake_reason::pushed);
    SECTION("seen from where it listened") {
        auto const news = transport.take_news(inbox(4));
        REQUIRE(news);
        CHECK(news->incarnation == 7);
        CHECK(news->version == 4);
        CHECK_FALSE(news->changes.gap);
        CHECK(news->changes.to == 5);
        REQUIRE(news->changes.items.size() == 2);
        CHECK(news->changes.items[0].id == "x");
        CHECK(news->changes.items[0].generation == 77);
        CHECK(news->changes.items[1].traits == "g=1");
        CHECK(news->changes.items[1].triggered == 9);
        CHECK_FALSE(transport.take_news(inbox(4)));
        // Several at once.
        add("6-0", x);
        add("7-0", x);
        REQUIRE(transport.wait(inbox(5), 5s) == wake_reason::pushed);
        auto more = transport.take_news(inbox(5));
        REQUIRE(more);
        if (more->changes.to == 6) {  // the read was quicker than the second
            REQUIRE(transport.wait(inbox(6), 5s) == wake_reason::pushed);
            more = transport.take_news(inbox(6));
            REQUIRE(more);
        }
        CHECK(more->changes.to == 7);
    }
    SECTION("seen from later on") {
        auto const news = transport.take_news(inbox(5));
        REQUIRE(news);
        CHECK(news->version == 5);
        CHECK(news->changes.to == 5);
        CHECK(news->changes.items.empty());
    }
    SECTION("seen from before a hole") {
        auto const news = transport.take_news(inbox(3));
        REQUIRE(news);
        CHECK(news->changes.gap);
    }
    SECTION("what cannot be read is to be asked for") {
        add("6-0", "nonsense");
        REQUIRE(transport.wait(inbox(5), 5s) == wake_reason::pushed);
        auto const news = transport.take_news(inbox(5));
        REQUIRE(news);
        CHECK(news->changes.gap);
        CHECK(clients(server, "a-node:push").size() == 1);
    }
    SECTION("requests go by a new connection since: perhaps to another server") {
        (void)server.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
        succeed_soon(transport);
        CHECK_FALSE(transport.take_news(inbox(4)));
    }
    SECTION("over a later connection, to the same server") {
        (void)transport.take_news(inbox(4));
        wait_until_listening(server, transport, inbox(0, 8));
        (void)server.command({"XADD", key("inbox:8"), "1-0", "e", x});
        REQUIRE(transport.wait(inbox(0, 8), 5s) == wake_reason::pushed);
        auto const news = transport.take_news(inbox(0, 8));
        REQUIRE(news);
        CHECK(news->incarnation == 8);
        CHECK(news->changes.items.size() == 1);
    }
    SECTION("not over one to another run of it, of which requests do not know yet") {
        (void)transport.take_news(inbox(4));
        server.stop();
        server.start();
        wait_until_listening(server, transport, inbox(5));
        add("6-0", x);
        REQUIRE(transport.wait(inbox(5), 5s) == wake_reason::pushed);
        CHECK_FALSE(transport.take_news(inbox(5)));
    }
}

TEST_CASE("who follows the group as well is woken by what concerns it, not by what tells everybody of that") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    auto other = opened(server.url());
    auto const ask = [&]<typename Op>(Op const& request) {
        auto answer = other.perform(rota::operation{request}, timeout);
        if (!answer) FAIL(answer.error().message());
        return std::get<typename Op::reply>(*answer);
    };
    namespace op = rota::op;
    auto const giver = ask(op::join{.node_id = "giver", .nonce = 1, .node_ttl = 60s}).incarnation;
    auto const node = ask(op::join{.node_id = "node", .nonce = 2, .node_ttl = 60s}).incarnation;
    (void)ask(op::register_schedules{{{"x", 1}, {"y", 1}}});
    auto const owned = ask(op::claim{.incarnation = giver, .ids = {"x", "y"}});
    auto const now = ask(op::nodes_page{});
    auto sub = inbox(0, node);
    sub.group = rota::group_interest::all;
    sub.epoch = now.epoch;
    sub.seq = now.seq;
    wait_until_listening(server, transport, sub);

    op::acknowledge gift{.incarnation = giver};
    gift.items.push_back({.id = "x", .generation = owned.items[0].token, .to = node, .unasked = true});
    SECTION("one") {}
    SECTION("many") {
        gift.items.push_back({.id = "y", .generation = owned.items[1].token, .to = node, .unasked = true});
    }
    for (auto const& item : ask(gift).items) REQUIRE(item.ok());
    REQUIRE(transport.wait(sub, 5s) == wake_reason::pushed);
    auto const news = transport.take_news(sub);
    REQUIRE(news);
    CHECK(news->incarnation == node);
    CHECK(news->changes.items.size() == gift.items.size());
    // The other comes next.
    sub.version = 1;
    CHECK(transport.wait(sub, 5s) == wake_reason::pushed);
}

TEST_CASE("a wait follows what it is asked to follow") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    wait_until_listening(server, transport, inbox(0));

    SECTION("another incarnation") {
        wait_until_listening(server, transport, inbox(0, 8));
        (void)server.command({"XADD", key("inbox:7"), "1-0", "k", "v"});
        CHECK(transport.wait(inbox(0, 8), 20ms) == wake_reason::timeout);
        (void)server.command({"XADD", key("inbox:8"), "1-0", "k", "v"});
        CHECK(transport.wait(inbox(0, 8), 5s) == wake_reason::pushed);
    }
    SECTION("an earlier cursor") {
        wait_until_listening(server, transport, inbox(9));
        (void)server.command({"XADD", key("inbox:7"), "1-0", "k", "v"});
        CHECK(transport.wait(inbox(9), 20ms) == wake_reason::timeout);
        CHECK(transport.wait(inbox(0), 5s) == wake_reason::pushed);
    }
    SECTION("the group's events, in their epoch") {
        auto sub = inbox(0);
        sub.group = rota::group_interest::all;
        sub.epoch = 3;
        sub.seq = 5;
        (void)server.command({"DEL", key("events")});
        (void)server.command({"XADD", key("events"), "3-5", "k", "v"});
        wait_until_listening(server, transport, sub);
        CHECK(transport.wait(sub, 20ms) == wake_reason::timeout);
        (void)server.command({"XADD", key("events"), "3-6", "k", "v"});
        CHECK(transport.wait(sub, 5s) == wake_reason::pushed);
        sub.seq = 6;
        wait_until_listening(server, transport, sub);
        (void)server.command({"XADD", key("inbox:7"), "1-0", "k", "v"});
        CHECK(transport.wait(sub, 5s) == wake_reason::pushed);
        // What calls the leader, and not all of them:
        (void)server.command({"DEL", key("calls")});
        sub.version = 1;
        sub.group = rota::group_interest::calls;
        wait_until_listening(server, transport, sub);
        (void)server.command({"XADD", key("events"), "3-7", "k", "v"});
        CHECK(transport.wait(sub, 20ms) == wake_reason::timeout);
        (void)server.command({"XADD", key("calls"), "3-8", "k", "v"});
        CHECK(transport.wait(sub, 5s) == wake_reason::pushed);
        auto const news = transport.take_news(sub);
        CHECK((news && news->group));
        sub.group = rota::group_interest::all;
        // Not any more:
        wait_until_listening(server, transport, inbox(1));
        (void)server.command({"XADD", key("events"), "3-9", "k", "v"});
        CHECK(transport.wait(inbox(1), 20ms) == wake_reason::timeout);
        CHECK(transport.wait(sub, 5s) == wake_reason::pushed);
    }
    SECTION("nothing: the connection is not kept") {
        CHECK(transport.wait({}, 5ms) == wake_reason::timeout);
        CHECK(poll_until(5s, [&] { return clients(server, "a-node:push").empty(); }));
    }
}

TEST_CASE("wake_fd() polls readable for a wake and for a push") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    wait_until_listening(server, transport, inbox(0));
    auto const readable = [&](int ms) {
        pollfd one{transport.wake_fd(), POLLIN, 0};
        return ::poll(&one, 1, ms) == 1;
    };
    CHECK_FALSE(readable(0));
    transport.wake();
    CHECK(readable(0));
    CHECK(transport.wait(inbox(0), 0ms) == wake_reason::woken);
    CHECK_FALSE(readable(0));
    (void)server.command({"XADD", key("inbox:7"), "1-0", "k", "v"});
    CHECK(readable(5000));
    CHECK(transport.wait(inbox(0), 0ms) == wake_reason::pushed);
    CHECK_FALSE(readable(0));
}

TEST_CASE("a sleep outlives its server, costs next to nothing, and listens again when the server is back") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    wait_until_listening(server, transport, inbox(0));
    server.crash();

    auto const before = cpu_time();
    CHECK(transport.wait(inbox(0), 1s) == wake_reason::timeout);
    CHECK(cpu_time() - before < 50ms);

    server.start();
    succeed_soon(transport);
    wait_until_listening(server, transport, inbox(0));
    (void)server.command({"XADD", key("inbox:7"), "1-0", "k", "v"});
    CHECK(transport.wait(inbox(0), 5s) == wake_reason::pushed);
}

TEST_CASE("a sleeping node finds a broken push connection by itself") {
    redis_server server;
    auto transport = opened(server.url());
    succeed(transport);
    wait_until_listening(server, transport, inbox(0));
    auto const line = clients(server, "a-node:push").at(0);
    auto const id = line.substr(3, line.find(' ') - 3);
    REQUIRE(server.command({"CLIENT", "KILL", "ID", id}).integer == 1);
    std::thread other{[&] {
        (void)poll_until(5s, [&] { return server.info("clients")["blocked_clients"] == "1"; });
        (void)server.command({"XADD", key("inbox:7"), "1-0", "k", "v"});
    }};
    CHECK(transport.wait(inbox(0), 10s) == wake_reason::pushed);
    other.join();
}

TEST_CASE("a push connection that goes nowhere costs nothing and ends no wait early") {
    redis_server server;
    rota::test::tcp_proxy proxy{server.port()};
    auto transport = opened(proxy.url());
    succeed(transport);
    proxy.stall(rota::test::direction::to_client);
    auto const before = cpu_time();
    auto const start = rota::detail::io_now();
    CHECK(transport.wait(inbox(0), 1200ms) == wake_reason::timeout);
    CHECK(rota::detail::io_now() - start >= 1200ms);
    CHECK(cpu_time() - before < 100ms);
    proxy.resume(rota::test::direction::to_client);
    wait_until_listening(server, transport, inbox(0));
}

TEST_CASE("a server that does not let us listen is complained of once, and not asked all the time") {
    redis_server server;
    REQUIRE(server.command({"ACL", "SETUSER", "node", "on", ">pw", "~{test:}*", "+@all"}).ok());
    auto transport = opened("redis://node:pw@" + server.address());
    succeed(transport);
    REQUIRE(server.command({"ACL", "SETUSER", "node", "-xread"}).ok());
    auto const before = std::stoi(server.info("stats")["total_connections_received"]);
    CHECK(transport.wait(inbox(0), 300ms) == wake_reason::timeout);
    CHECK(std::stoi(server.info("stats")["total_connections_received"]) == before + 1);
    auto const warnings = transport.take_warnings();
    REQUIRE(warnings.size() == 1);
    CHECK_THAT(warnings[0].detail, contains("NOPERM") && contains("listening"));
}

}  // namespace hiredis_sync_test
