// Host names are resolved on a thread; a resolver that is slow costs one thread, and its answer is not lost.
#include <rota/detail/name_resolution.hpp>
#include <rota/loop/poll_loop.hpp>

#include <atomic>
#include <chrono>
#include <thread>

#include "../catch.hpp"
#include "../support/poll_until.hpp"

namespace name_resolution_test {

using namespace std::chrono_literals;
using rota::detail::name_resolution;

namespace {

// A resolver that answers when it is let.
std::atomic<int> asked{0};
std::atomic<int> answered{0};
std::atomic<bool> answers{false};

rota::result<name_resolution::endpoints> slow(rota::detail::redis_address const& address) {
    ++asked;
    while (!answers) std::this_thread::sleep_for(1ms);
    name_resolution::endpoints found(address.port == 1 ? 1 : 2);
    ++answered;
    return found;
}

struct asker {
    rota::poll_loop loop{};
    name_resolution names{&slow};
    int told = 0;
    std::size_t found = 0;

    asker() { asked = 0, answered = 0, answers = false; }
    asker(asker const&) = delete;
    asker& operator=(asker const&) = delete;
    ~asker() {  // before the next test asks
        answers = true;
        (void)rota::test::poll_until(5s, [] { return asked == answered; });
    }

    void start(std::uint16_t port) {
        rota::detail::redis_address to;
        to.host = "redis.test";
        to.port = port;
        names.start(to, loop, [this](rota::result<name_resolution::endpoints> all) {
            ++told;
            found = all ? all->size() : 0;
        });
    }
    bool is_told(int times) {
        return loop.run_until([&] { return told >= times; }, 5s);
    }
};

}  // namespace

TEST_CASE("who starts anew while a name is being resolved gets what comes of that") {
    asker a;
    for (int i = 0; i < 5; ++i) {
        a.start(1);
        a.loop.run_for(5ms);
        a.names.let_go();
    }
    a.start(1);
    CHECK(asked == 1);
    answers = true;
    REQUIRE(a.is_told(1));
    a.loop.run_for(5ms);
    CHECK(a.told == 1);
    CHECK(a.found == 1);
    a.start(1);  // a new connection asks anew
    REQUIRE(a.is_told(2));
    CHECK(asked == 2);
}

TEST_CASE("an answer that came while nobody waited is for who starts next") {
    asker a;
    a.start(1);
    a.names.let_go();
    answers = true;
    REQUIRE(rota::test::poll_until(5s, [] { return answered == 1; }));
    a.loop.run_for(20ms);
    CHECK(a.told == 0);
    a.start(1);
    CHECK(a.told == 0);  // never inside the call
    REQUIRE(a.is_told(1));
    CHECK(a.found == 1);
    CHECK(asked == 1);
}

TEST_CASE("let go between the answer and its delivery: it is for who starts next, once") {
    asker a;
    answers = true;
    a.start(1);
    REQUIRE(rota::test::poll_until(5s, [] { return answered == 1; }));
    std::this_thread::sleep_for(20ms);
    a.names.let_go();
    a.loop.run_for(5ms);
    CHECK(a.told == 0);
    a.start(1);
    REQUIRE(a.is_told(1));
    a.loop.run_for(5ms);
    CHECK(a.told == 1);
    CHECK(asked == 1);
}

TEST_CASE("another address is asked for by itself, and what was cancelled is never told") {
    asker a;
    a.start(1);
    a.start(2);
    REQUIRE(rota::test::poll_until(5s, [] { return asked == 2; }));
    answers = true;
    REQUIRE(a.is_told(1));
    CHECK(a.found == 2);
    a.start(1);
    a.names.cancel();
    a.loop.run_for(20ms);
    CHECK(a.told == 1);
}

}  // namespace name_resolution_test
