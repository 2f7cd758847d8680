// The small examples as users run them, all in one group: each joins on its own event loop (or, the worker, on threads),
// polls the feeds that it owns, and hands them over when it is asked to stop.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <rota/coordinator.hpp>
#include <rota/transport/hiredis_sync.hpp>

#include "../catch.hpp"
#include "../support/child_process.hpp"
#include "../support/poll_until.hpp"
#include "../support/redis_server.hpp"

#if __has_include("programs.hpp")
#include "programs.hpp"

namespace examples_test {

namespace {

using namespace std::chrono_literals;
using rota::test::child_process;
using rota::test::poll_until;

struct poller {
    std::string node_id;
    child_process process;
};

std::vector<poller> start_all(std::string const& redis) {
    std::vector<poller> all;
    for (std::string const program : rota_test::feed_pollers) {
        if (program.empty()) continue;
        auto const id = program.substr(program.rfind('/') + 1);
        all.push_back({id, child_process::spawn({program, id, redis})});
    }
    return all;
}

std::string all_lines(child_process& ended) {
    std::string text;
    while (auto line = ended.next_line(1s)) text += *line + '\n';
    return text;
}

}  // namespace

TEST_CASE("the examples share their feeds, poll them, and hand them over when they are asked to stop") {
    rota::test::redis_server server;
    auto running = start_all(server.url());
    REQUIRE(running.size() >= 2);  // the loops of others may not be there

    rota::coordinator eye{{.node_id = "eye", .observer = true}, rota::hiredis_sync{server.url()}};
    REQUIRE(eye.join());
    auto const share = [&] {  // the feeds of those that run, evenly: how many each has at least
        auto const nodes = eye.nodes();
        REQUIRE(nodes);
        std::size_t members = 0;
        auto least = rota::unlimited;
        std::uint32_t sum = 0;
        for (auto const& n : *nodes) {
            if (!n.alive) continue;
            ++members;
            least = std::min(least, n.load);
            sum += n.load;
        }
        return members == running.size() && sum == 6 ? least : 0;
    };
    auto const even = [&] { return share() >= 6 / running.size(); };
    REQUIRE(poll_until(20s, even));
    std::this_thread::sleep_for(3s);  // each polls what it has every second, or every other

    while (!running.empty()) {
        auto one = std::move(running.back());
        running.pop_back();
        CAPTURE(one.node_id);
        CHECK(one.process.running());
        CHECK(one.process.signal(running.size() % 2 == 0 ? SIGTERM : SIGINT));
        auto const exit = one.process.exit_status(10s);
        REQUIRE(exit);
        CHECK(exit->describe() == "exit code 0");
        auto const said = all_lines(one.process);
        CAPTURE(said);
        CHECK(said.find("feed-") != std::string::npos);
        // In order: nobody waits for a ttl (3 s).
        if (!running.empty()) CHECK(poll_until(2s, even));
    }
}

}  // namespace examples_test

#endif
