// poll_loop, as an event loop and as a thing to run.
#include <rota/loop/poll_loop.hpp>

#include <fcntl.h>
#include <sys/resource.h>

#include <stdexcept>
#include <stop_token>
#include <thread>
#include <vector>

#include "loop_conformance.hpp"

namespace poll_loop_test {

using namespace rota::test;
using rota::poll_loop;

static_assert(rota::event_loop<poll_loop>);
static_assert(rota::event_loop<rota::loop_ref>);
static_assert(!rota::event_loop<int>);

namespace {

std::chrono::microseconds cpu_time() {
    rusage used{};
    REQUIRE(::getrusage(RUSAGE_SELF, &used) == 0);
    auto const of = [](timeval const& t) {
        return std::chrono::seconds{t.tv_sec} + std::chrono::microseconds{t.tv_usec};
    };
    return of(used.ru_utime) + of(used.ru_stime);
}

}  // namespace

TEST_CASE("poll_loop does what an event loop must") {
    poll_loop_driver driver;
    play_loop(driver);
}

TEST_CASE("poll_loop runs until it is told to stop") {
    poll_loop loop;
    SECTION("by a callback") {
        loop.post([&] { loop.stop(); });
        loop.run();
    }
    SECTION("by another thread") {
        std::thread other{[&] {
            std::this_thread::sleep_for(5ms);
            loop.stop();
        }};
        loop.run();
        other.join();
    }
    SECTION("before it runs") {
        loop.stop();
        loop.run();
    }
    SECTION("by a stop token") {
        std::stop_source source;
        std::thread other{[&] {
            std::this_thread::sleep_for(5ms);
            source.request_stop();
        }};
        loop.run(source.get_token());
        other.join();
        loop.run(source.get_token());
    }
    SECTION("by the time") {
        auto const start = rota::detail::io_now();
        loop.run_for(15ms);
        CHECK(rota::detail::io_now() - start >= 15ms);
        CHECK_FALSE(loop.run_until([] { return false; }, 5ms));
        CHECK(loop.run_until([] { return true; }, 0us));
    }
    SECTION("when what it waits for holds, whoever made it so") {
        bool holds = false;
        auto const start = rota::detail::io_now();
        loop.post([&] { holds = true; });
        CHECK(loop.run_until([&] { return holds; }, 10s));
        auto const timer = loop.timer([&] { holds = false; });
        timer->start(1ms);
        CHECK(loop.run_until([&] { return !holds; }, 10s));
        CHECK(rota::detail::io_now() - start < 5s);
    }
}

TEST_CASE("poll_loop does not run inside itself") {
    poll_loop loop;
    bool refused = false;
    loop.post([&] {
        try {
            loop.run();
        } catch (std::logic_error const&) {
            refused = true;
        }
    });
    loop.run_for(5ms);
    CHECK(refused);
}

TEST_CASE("poll_loop refuses what cannot be watched") {
    poll_loop loop;
    socket_pair const pair;
    auto const nothing = [](rota::io_interest) {};
    CHECK_THROWS_AS(loop.watch(-1, rota::io_interest::readable, nothing), std::logic_error);
    auto const watch = loop.watch(pair.here.get(), rota::io_interest::readable, nothing);
    CHECK_THROWS_AS(loop.watch(pair.here.get(), rota::io_interest::readable, nothing), std::logic_error);
}

TEST_CASE("poll_loop fires within half a millisecond or so, and sleeps in between") {
    poll_loop loop;
    auto soonest = 1'000'000us;
    int left = 20;
    rota::timer_handle timer;
    auto due = rota::detail::io_now();
    auto const begin = [&] {
        due = rota::detail::io_now() + 10'300us;
        timer->start(10'300us);
    };
    timer = loop.timer([&] {
        auto const late = rota::detail::io_now() - due;
        CHECK(late >= 0us);
        soonest = std::min(soonest, late);
        if (--left > 0) begin();
    });
    begin();
    auto const cpu = cpu_time();
    CHECK(loop.run_until([&] { return left == 0; }, 10s));
    CHECK(soonest < 900us);  // of many: others may have had the processor
    CHECK(cpu_time() - cpu < 60ms);
}

TEST_CASE("poll_loop carries thousands of timers and leaves no descriptor to children") {
    poll_loop loop;
    int fired = 0;
    std::vector<rota::timer_handle> timers;
    for (int i = 0; i < 10'000; ++i) {
        timers.push_back(loop.timer([&] { ++fired; }));
        timers.back()->start(std::chrono::microseconds{(i * 7919) % 20'000});
    }
    for (int i = 0; i < 10'000; i += 2) timers[static_cast<std::size_t>(i)]->start(30s);
    CHECK(loop.run_until([&] { return fired == 5'000; }, 10s));
    for (int fd = 3; fd < 256; ++fd) {
        char name[64];
        std::string const link = "/proc/self/fd/" + std::to_string(fd);
        auto const size = ::readlink(link.c_str(), name, sizeof name);
        if (size <= 0 || std::string(name, static_cast<std::size_t>(size)).find("[event") == std::string::npos)
            continue;
        CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    }
}

TEST_CASE("threads post to a poll_loop while it runs", "[threads]") {
    poll_loop loop;
    int seen = 0;
    std::vector<std::thread> others;
    for (int t = 0; t < 4; ++t) {
        others.emplace_back([&] {
            for (int i = 0; i < 1000; ++i) loop.post([&] { ++seen; });
        });
    }
    CHECK(loop.run_until([&] { return seen == 4000; }, 10s));
    for (auto& each : others) each.join();
}

TEST_CASE("poll_loop: a task that throws takes none of the others along") {
    rota::poll_loop loop;
    std::vector<int> ran;
    for (int i = 0; i < 4; ++i) {
        loop.post([&ran, i] {
            ran.push_back(i);
            if (i == 1) throw std::runtime_error("a task");
        });
    }
    loop.post([&] { loop.post([&] { ran.push_back(9); }); });
    CHECK_THROWS_AS(loop.run_for(10ms), std::runtime_error);
    loop.post([&] { ran.push_back(8); });
    loop.run_for(10ms);
    CHECK(ran == std::vector<int>{0, 1, 2, 3, 8, 9});
}

}  // namespace poll_loop_test
