// The ACL line of the README is enough for every feature, and no word of it is too much: without any one of the
// commands join() is refused, in the server's words, before anything was written.
#include <rota/rota.hpp>

#include <cctype>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "../catch.hpp"
#include "../support/redis_server.hpp"
#include "programs.hpp"

namespace rights_test {

using namespace std::chrono_literals;
using rota::errc;
using rota::test::redis_server;

namespace {

// `ACL SETUSER …` as it stands in the README, in words.
std::vector<std::string> acl_line_of_readme() {
    std::ifstream file{rota_test::readme};
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with("ACL SETUSER ")) continue;
        std::istringstream words{line};
        return {std::istream_iterator<std::string>{words}, {}};
    }
    return {};
}

rota::options options_for(std::string node_id) {
    return {.node_id = std::move(node_id), .key_prefix = "myapp:scheduling:"};
}

std::string lower(std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
}

std::string url_of(redis_server& server) { return "redis://myapp:secret@127.0.0.1:" + std::to_string(server.port()); }

// Everything that a group does: two nodes share, lock, move, hand over and leave.
void live_a_life(std::string const& url) {
    rota::coordinator a{options_for("a"), rota::hiredis_sync{url}};
    rota::coordinator b{options_for("b"), rota::hiredis_sync{url}};
    REQUIRE(a.register_schedules({{"x"}, {"y"}, {"z"}}).all());
    REQUIRE(a.join());
    REQUIRE(b.join());
    for (int i = 0; i < 3; ++i) {
        REQUIRE(a.tick());
        REQUIRE(b.tick());
    }
    REQUIRE(a.owned().size() + b.owned().size() == 3);
    REQUIRE_FALSE(a.owned().empty());
    REQUIRE_FALSE(b.owned().empty());
    auto lock = a.try_lock(a.owned().front().id, 5s);
    REQUIRE(lock);
    REQUIRE(lock->extend(6s));
    REQUIRE(lock->release());
    REQUIRE(a.try_lock_name("maintenance", 5s));
    REQUIRE(a.transfer(a.owned().front().id, "b"));
    REQUIRE(a.nodes()->size() == 2);
    REQUIRE(a.propose());
    REQUIRE(a.orphaned());
    (void)b.run_for(50ms);  // also the second connection's blocking read
    REQUIRE(a.unregister_schedules({"z"}).all());
    REQUIRE(a.renounce_leadership());
    REQUIRE(b.tick());
    REQUIRE(a.leave());
    REQUIRE(b.leave());
}

}  // namespace

TEST_CASE("the README's ACL line is enough for all that rota does") {
    redis_server server;
    auto const line = acl_line_of_readme();
    REQUIRE(line.size() > 10);
    REQUIRE(server.command(line).text == "OK");
    live_a_life(url_of(server));
    auto const refusals = server.command({"ACL", "LOG"});
    CHECK(refusals.elements.empty());
}

TEST_CASE("without any one of the ACL line's commands, join is refused before the first write") {
    redis_server server;
    auto const line = acl_line_of_readme();
    REQUIRE(server.command(line).text == "OK");
    for (auto const& word : line) {
        // Not asked for by every node: a database, a name in the list of clients, what the server says of itself.
        bool const optional = word == "+select" || word == "+client|setname" || word == "+info" || word == "+auth";
        if (!word.starts_with('+') || optional) continue;
        INFO("without " << word);
        REQUIRE(server.command({"FLUSHALL"}).text == "OK");
        REQUIRE(server.command({"ACL", "SETUSER", "myapp", "-" + word.substr(1)}).text == "OK");
        rota::coordinator node{options_for("a"), rota::hiredis_sync{url_of(server)}};
        auto const joined = node.join();
        REQUIRE_FALSE(joined);
        CHECK(joined.error() == errc::refused_by_server);
        CHECK_THAT(lower(joined.error().detail), rota_test::contains(word.substr(1)));
        CHECK_THAT(joined.error().message(), !rota_test::contains("secret"));
        CHECK(server.command({"DBSIZE"}).integer == 0);
        REQUIRE(server.command({"ACL", "SETUSER", "myapp", word}).text == "OK");
    }
    live_a_life(url_of(server));
}

}  // namespace rights_test
