// What every event loop must do, in the words of event_loop.hpp: played on poll_loop by poll_loop_test.cpp, and on the
// adapters by tests/redis/loops_test.cpp.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rota/detail/io_clock.hpp>

#include "../catch.hpp"
#include "../support/child_process.hpp"
#include "../support/loop_drivers.hpp"

namespace rota::test {

using namespace std::chrono_literals;

/// Two ends that speak to each other.
struct socket_pair {
    unique_fd here;
    unique_fd there;
    socket_pair() {
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
        here = unique_fd{ends[0]};
        there = unique_fd{ends[1]};
    }
    void say(char c) const { REQUIRE(::write(there.get(), &c, 1) == 1); }
    [[nodiscard]] std::string hear() const {
        char bytes[64];
        auto const count = ::read(here.get(), bytes, sizeof bytes);
        return {bytes, count > 0 ? static_cast<std::size_t>(count) : 0};
    }
};

inline void play_loop(loop_driver& driver) {
    auto loop = driver.loop();

    SECTION("tasks run later, in order, and may post more") {
        std::string seen;
        loop.post([&] {
            seen += 'a';
            loop.post([&] { seen += 'c'; });
        });
        loop.post([&, only_moved = std::make_unique<char>('b')] { seen += *only_moved; });
        CHECK(seen.empty());
        CHECK(driver.run_until([&] { return seen.size() == 3; }, 5s));
        CHECK(seen == "abc");
    }
    SECTION("any thread may post, and wakes the loop") {
        bool done = false;
        std::thread other{[&] {
            std::this_thread::sleep_for(10ms);
            loop.post([&] { done = true; });
        }};
        CHECK(driver.run_until([&] { return done; }, 5s));
        other.join();
    }
    SECTION("a timer fires once for each start, not before its time") {
        int fired = 0;
        auto const timer = loop.timer([&] { ++fired; });
        driver.run_for(10ms);
        CHECK(fired == 0);
        auto const start = rota::detail::io_now();
        timer->start(20ms);
        CHECK(fired == 0);
        CHECK(driver.run_until([&] { return fired == 1; }, 5s));
        CHECK(rota::detail::io_now() - start >= 19ms);
        driver.run_for(40ms);
        CHECK(fired == 1);
        timer->start(0us);
        CHECK(fired == 1);
        CHECK(driver.run_until([&] { return fired == 2; }, 5s));
    }
    SECTION("a timer is moved, stopped, started by itself, and destroyed by itself") {
        int fired = 0;
        auto moved = loop.timer([&] { ++fired; });
        moved->start(1s);
        moved->start(5ms);
        CHECK(driver.run_until([&] { return fired == 1; }, 500ms));
        moved->start(5ms);
        moved->start(10s);
        driver.run_for(20ms);
        CHECK(fired == 1);
        moved->start(5ms);
        moved->stop();
        driver.run_for(20ms);
        CHECK(fired == 1);

        timer_handle again;
        again = loop.timer([&] {
            if (++fired < 5) again->start(1ms);
        });
        again->start(1ms);
        CHECK(driver.run_until([&] { return fired == 5; }, 5s));

        again->start(1ms);
        again.reset();
        driver.run_for(10ms);
        CHECK(fired == 5);

        timer_handle last;
        last = loop.timer([&, held = std::make_shared<int>(7)] {
            last.reset();
            fired += *held;  // it is still there
        });
        last->start(1ms);
        CHECK(driver.run_until([&] { return fired == 12; }, 5s));
    }
    SECTION("many timers fire in the order of their times") {
        std::vector<int> order;
        std::vector<timer_handle> timers;
        for (int i = 0; i < 50; ++i) {
            int const at = i * 37 % 50;
            timers.push_back(loop.timer([&order, at] { order.push_back(at); }));
            timers.back()->start(std::chrono::milliseconds{5 + 2 * at});
        }
        for (std::size_t i = 0; i < timers.size(); i += 5) timers[i].reset();
        CHECK(driver.run_until([&] { return order.size() == 40; }, 5s));
        CHECK(std::is_sorted(order.begin(), order.end()));
    }
    SECTION("a descriptor is watched for what is wanted") {
        socket_pair const pair;
        std::string heard;
        int writable = 0;
        auto const watch = loop.watch(pair.here.get(), io_interest::readable, [&](io_interest ready) {
            if (includes(ready, io_interest::readable)) heard += pair.hear();
            if (includes(ready, io_interest::writable)) ++writable;
        });
        driver.run_for(10ms);
        CHECK(heard.empty());
        CHECK(writable == 0);
        pair.say('x');
        CHECK(heard.empty());
        CHECK(driver.run_until([&] { return heard == "x"; }, 5s));
        watch->want(io_interest::both);
        CHECK(driver.run_until([&] { return writable > 2; }, 5s));
        pair.say('y');
        CHECK(driver.run_until([&] { return heard == "xy"; }, 5s));
        watch->want(io_interest::none);
        auto const before = writable;
        pair.say('z');
        driver.run_for(10ms);
        CHECK(writable <= before + 1);  // one may have been on its way
        CHECK(heard == "xy");
        watch->want(io_interest::readable);
        CHECK(driver.run_until([&] { return heard == "xyz"; }, 5s));
    }
    SECTION("what is not read is told again, and so is the end") {
        socket_pair pair;
        int calls = 0;
        auto const watch = loop.watch(pair.here.get(), io_interest::readable, [&](io_interest) { ++calls; });
        pair.say('x');
        CHECK(driver.run_until([&] { return calls > 3; }, 5s));
        CHECK(pair.hear() == "x");
        driver.run_for(5ms);
        calls = 0;
        pair.there.reset();
        CHECK(driver.run_until([&] { return calls > 3; }, 5s));
    }
    SECTION("a watch ends inside its own callback, and inside another's") {
        socket_pair const one;
        socket_pair const two;
        int calls = 0;
        watch_handle first;
        watch_handle second;
        auto const end_both = [&, held = std::make_shared<int>(1)](io_interest) {
            second.reset();
            first.reset();
            calls += *held;
        };
        first = loop.watch(one.here.get(), io_interest::readable, end_both);
        second = loop.watch(two.here.get(), io_interest::readable, end_both);
        one.say('x');
        two.say('x');
        CHECK(driver.run_until([&] { return calls == 1; }, 5s));
        driver.run_for(10ms);
        CHECK(calls == 1);
    }
    SECTION("a descriptor may be closed, and its number watched again, once its watch is gone") {
        int calls = 0;
        for (int i = 0; i < 10; ++i) {
            socket_pair const pair;
            auto const watch = loop.watch(pair.here.get(), io_interest::both, [&](io_interest ready) {
                if (includes(ready, io_interest::readable) && pair.hear() == "x") ++calls;
            });
            pair.say('x');
            CHECK(driver.run_until([&] { return calls == i + 1; }, 5s));
        }
    }
}

}  // namespace rota::test
