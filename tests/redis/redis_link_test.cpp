// Several groups whose operations go by one connection.
#include "../catch.hpp"

#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <rota/loop/poll_loop.hpp>
#include <rota/transport/hiredis_async.hpp>

#include "../support/redis_server.hpp"

namespace redis_link_test {

using namespace std::chrono_literals;
using rota::errc;
using rota::result;
using rota::test::redis_server;
using rota_test::contains;

namespace {

using node_type = rota::basic_coordinator<rota::hiredis_async>;

struct member {
    member(rota::redis_link const& link, std::string const& group)
        : object{std::make_unique<node_type>(rota::options{.node_id = "node",
                                                           .key_prefix = group + ":",
                                                           .heartbeat_interval = 200ms,
                                                           .operation_timeout = 200ms},
                                             rota::hiredis_async{link})} {
        object->run([this](result<void> r) { ended.emplace(std::move(r)); });
    }
    node_type* operator->() { return object.get(); }

    std::optional<result<void>> ended;
    std::unique_ptr<node_type> object;
};

// Connections by the names that they have; those that only listen are named so.
std::size_t connections(redis_server& server, bool listening) {
    auto const list = server.command({"CLIENT", "LIST"}).text;
    std::size_t count = 0;
    for (auto at = list.find(" name=node"); at != std::string::npos; at = list.find(" name=node", at + 1)) {
        bool const listens = list.compare(at, 16, " name=node:push ") == 0;
        count += listens == listening ? 1 : 0;
    }
    return count;
}

}  // namespace

TEST_CASE("several groups share one connection for their operations") {
    redis_server server;
    rota::poll_loop loop;
    rota::redis_link const link{server.url(), loop};
    std::vector<std::unique_ptr<member>> members;
    for (int i = 0; i < 5; ++i) members.push_back(std::make_unique<member>(link, "group-" + std::to_string(i)));
    auto const all_own = [&] {
        for (auto& m : members) {
            if ((*m)->owned().size() != 3) return false;
        }
        return true;
    };
    for (auto& m : members) {
        (*m)->register_schedules({{.id = "x"}, {.id = "y"}, {.id = "z"}},
                                 [](rota::results<void> r) { CHECK(r.all()); });
    }
    REQUIRE(loop.run_until(all_own, 5s));
    CHECK(connections(server, false) == 1);
    CHECK(loop.run_until([&] { return connections(server, true) == 5; }, 5s));

    // A lock of the same name in each: they are not in each other's way.
    int locked = 0;
    std::vector<rota::async_lock> kept;
    for (auto& m : members) {
        (*m)->try_lock("x", 5s, [&](result<rota::async_lock> lock) {
            if (!lock) return;
            ++locked;
            kept.push_back(std::move(*lock));
        });
    }
    REQUIRE(loop.run_until([&] { return locked == 5; }, 5s));

    SECTION("the connection breaks: all go on over the next") {
        (void)server.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
        loop.run_for(1s);
        CHECK(connections(server, false) == 1);
        for (auto& m : members) CHECK((*m)->is_leader());
        CHECK(all_own());
        for (auto const& lock : kept) CHECK(lock.valid());
    }
    SECTION("the scripts are forgotten, and the connection breaks") {
        (void)server.command({"SCRIPT", "FLUSH"});
        loop.run_for(500ms);
        (void)server.command({"SCRIPT", "FLUSH"});
        (void)server.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
        loop.run_for(1s);
        for (auto& m : members) CHECK((*m)->is_leader());
    }
    SECTION("one goes, with operations under way: its handlers are told, the others go on") {
        int told = 0;
        int answered = 0;
        kept.clear();
        for (int i = 0; i < 100; ++i) {
            (*members[2])->nodes([&](result<std::vector<rota::node_status>> r) {
                ++told;
                if (!r) CHECK(r.error() == errc::cancelled);
            });
            (*members[3])->nodes([&](result<std::vector<rota::node_status>> r) { answered += r ? 1 : 0; });
            if (i == 50) loop.run_for(1ms);
        }
        members.erase(members.begin() + 2);
        CHECK(told == 100);
        REQUIRE(loop.run_until([&] { return answered == 100; }, 5s));
        loop.run_for(500ms);
        CHECK(all_own());
        CHECK(connections(server, false) == 1);
        // Also the one that connected, and whose name the connection has.
        members.erase(members.begin());
        loop.run_for(500ms);
        CHECK(all_own());
    }
    SECTION("the server is away for a while") {
        server.stop();
        REQUIRE(loop.run_until([&] { return !(*members[0])->is_leader() && !(*members[4])->is_leader(); }, 5s));
        server.start();
        REQUIRE(loop.run_until([&] { return (*members[0])->is_leader() && (*members[4])->is_leader(); }, 10s));
    }
    for (auto& m : members) CHECK_FALSE(m->ended);
}

TEST_CASE("a group that comes to a connection that is there already is admitted to it, and listens") {
    redis_server server;
    rota::poll_loop loop;
    rota::redis_link const link{server.url(), loop};
    rota::basic_coordinator waits{rota::options{.node_id = "node", .key_prefix = "late:", .heartbeat_interval = 5s},
                                  rota::hiredis_async{link}};
    member first{link, "first"};
    REQUIRE(loop.run_until([&] { return first->is_leader(); }, 5s));
    waits.run([](result<void>) {});
    REQUIRE(loop.run_until([&] { return waits.is_leader(); }, 5s));
    CHECK(server.command({"KEYS", "{late:}session:*"}).elements.size() == 1);
    CHECK(loop.run_until([&] { return connections(server, true) == 2; }, 5s));
    CHECK(connections(server, false) == 1);
    // What another node does in that group is heard of at once.
    rota::basic_coordinator other{rota::options{.node_id = "other", .key_prefix = "late:"},
                                  rota::hiredis_async{server.url(), loop}};
    auto const began = std::chrono::steady_clock::now();
    other.register_schedules({{.id = "x"}}, [](rota::results<void>) {});
    REQUIRE(loop.run_until([&] { return waits.owned().size() == 1; }, 5s));
    CHECK(std::chrono::steady_clock::now() - began < 1s);
}

TEST_CASE("a shared connection that breaks with requests of one who is gone still unsent") {
    redis_server server;
    rota::poll_loop loop;
    rota::redis_link const link{server.url(), loop};
    member stays{link, "stays"};
    auto goes = std::make_unique<member>(link, "goes");
    REQUIRE(loop.run_until([&] { return stays->is_leader() && (*goes)->is_leader(); }, 5s));
    int ended = 0;
    for (int i = 0; i < 2000; ++i) {  // more than the system takes at once
        std::vector<std::string> names;
        for (int n = 0; n < 20; ++n) names.push_back(std::string(500, 'x') + std::to_string(n));
        (*goes)->trigger(std::move(names), [&](rota::results<void>) { ++ended; });
    }
    (void)server.process().signal(SIGSTOP);
    loop.run_for(50ms);
    goes.reset();
    CHECK(ended == 2000);
    (void)server.process().signal(SIGCONT);
    (void)server.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
    loop.run_for(1s);
    CHECK(stays->is_leader());
}

TEST_CASE("a shared connection to a replica is given up, and made anew") {
    redis_server primary;
    redis_server replica;
    REQUIRE(replica.command({"REPLICAOF", "127.0.0.1", std::to_string(primary.port())}).ok());
    rota::poll_loop loop;
    rota::redis_link const link{replica.url(), loop};
    member a{link, "a"};
    member b{link, "b"};
    auto const before = std::stoi(replica.info("stats")["total_connections_received"]);
    loop.run_for(1500ms);
    CHECK(std::stoi(replica.info("stats")["total_connections_received"]) > before + 2);
    if (a.ended) CHECK(a.ended->error() == errc::unavailable);
}

TEST_CASE("a group that the server refuses does not keep the others from going on") {
    redis_server server;
    (void)server.command({"ACL", "SETUSER", "some", "on", ">word", "~{allowed:}*", "~{fine:}*", "+@all"});
    rota::poll_loop loop;
    rota::redis_link const link{"redis://some:word@" + server.address(), loop};
    member allowed{link, "allowed"};
    member refused{link, "refused"};
    member fine{link, "fine"};
    REQUIRE(loop.run_until([&] { return allowed->is_leader() && fine->is_leader() && refused.ended; }, 5s));
    CHECK(refused.ended->error() == errc::refused_by_server);
    CHECK_THAT(refused.ended->error().detail, contains("rights"));
    CHECK_THAT(refused.ended->error().detail, !contains("word"));
    CHECK(connections(server, false) == 1);
    // Nothing was written for it.
    CHECK(server.command({"KEYS", "{refused:}*"}).elements.empty());

    // The first to be opened is the one that is refused.
    rota::redis_link const another{"redis://some:word@" + server.address(), loop};
    member first{another, "refused"};
    REQUIRE(loop.run_until([&] { return first.ended.has_value(); }, 5s));
    CHECK(first.ended->error() == errc::refused_by_server);
}

TEST_CASE("operations beyond the limit of a shared connection are unavailable") {
    redis_server server;
    rota::poll_loop loop;
    rota::redis_link const link{server.url(), loop, 10};
    member a{link, "a"};
    member b{link, "b"};
    REQUIRE(loop.run_until([&] { return a->is_leader() && b->is_leader(); }, 5s));
    int fine = 0, refused = 0;
    for (int i = 0; i < 20; ++i) {
        (i % 2 == 0 ? a : b)->nodes([&](result<std::vector<rota::node_status>> r) {
            ++(r ? fine : refused);
            if (!r) CHECK(r.error() == errc::unavailable);
        });
    }
    REQUIRE(loop.run_until([&] { return fine + refused == 20; }, 5s));
    CHECK(refused >= 10);  // (the nodes themselves may have asked something, too)
    CHECK(fine >= 5);
    bool again = false;
    a->nodes([&](result<std::vector<rota::node_status>> r) { again = r.has_value(); });
    CHECK(loop.run_until([&] { return again; }, 5s));
}

}  // namespace redis_link_test
