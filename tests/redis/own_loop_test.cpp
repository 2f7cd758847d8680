// A loop of the user's own, as the README shows it: poll() on wake_fd(), tick() when it is readable or next_tick() over.
#include <poll.h>

#include <chrono>
#include <string>

#include <rota/coordinator.hpp>
#include <rota/transport/hiredis_sync.hpp>

#include "../catch.hpp"
#include "../support/redis_server.hpp"

namespace own_loop_test {

using namespace std::chrono_literals;
using rota::test::redis_server;

namespace {

using timer = std::chrono::steady_clock;

template <typename Until>
int run_loop(rota::coordinator& node, timer::duration limit, Until&& until) {
    int ticks = 0;
    for (auto const end = timer::now() + limit; timer::now() < end && !until();) {
        pollfd watched{node.wake_fd(), POLLIN, 0};
        ::poll(&watched, 1, static_cast<int>(node.next_tick() / 1ms) + 1);
        node.tick();
        ++ticks;
    }
    return ticks;
}

}  // namespace

TEST_CASE("a loop of its own ticks once per heartbeat while nothing happens, and at once for what is pushed") {
    redis_server server;
    auto const address = "unix://" + server.unix_socket();
    rota::coordinator node{{.node_id = "looping"}, rota::hiredis_sync{address}};
    rota::coordinator other{{.node_id = "other", .heartbeat_interval = 30s}, rota::hiredis_sync{address}};
    REQUIRE(other.join());
    REQUIRE(other.is_leader());
    REQUIRE(node.join());

    (void)run_loop(node, 500ms, [] { return false; });  // a few ticks until it listens
    CHECK(run_loop(node, 3s, [] { return false; }) <= 5);

    auto const began = timer::now();
    REQUIRE(other.register_schedules({{"a"}, {"b"}}).all());
    other.tick();
    int const ticks = run_loop(node, 2s, [&] { return !node.owned().empty(); });
    CHECK(node.owned().size() == 1);
    CHECK(ticks <= 5);
    CHECK(timer::now() - began < 300ms);

    node.wake();
    pollfd watched{node.wake_fd(), POLLIN, 0};
    CHECK(::poll(&watched, 1, 1000) == 1);
    node.tick();
    CHECK(::poll(&watched, 1, 0) == 0);
}

}  // namespace own_loop_test
