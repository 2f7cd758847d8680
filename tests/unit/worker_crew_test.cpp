// The threads of a worker, by themselves: who steers, who does what is found, and how it ends.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <rota/detail/worker_crew.hpp>

#include "../catch.hpp"
#include "../support/poll_until.hpp"

namespace worker_crew_test {

using namespace std::chrono_literals;
using rota::detail::worker_step;
using rota::test::poll_until;
using crew = rota::detail::worker_crew<>;

namespace {

/// Holds whoever waits here until it is opened.
class gate {
public:
    void wait() {
        std::unique_lock lock{mutex_};
        opened_.wait(lock, [this] { return open_; });
    }
    void open() {
        {
            std::lock_guard const lock{mutex_};
            open_ = true;
        }
        opened_.notify_all();
    }

private:
    std::mutex mutex_;
    std::condition_variable opened_;
    bool open_ = false;
};

}  // namespace

TEST_CASE("who finds something to do does it, and another steers meanwhile", "[threads]") {
    gate done;
    std::atomic<int> steps{0}, ends{0};
    std::atomic<bool> stop{false};
    std::atomic<std::thread::id> found_by, done_by;
    crew hands{1,
               [&] {
                   std::this_thread::sleep_for(1ms);
                   if (++steps == 3) {
                       found_by = std::this_thread::get_id();
                       return worker_step{.item = 7};
                   }
                   return worker_step{.over = stop};
               },
               [&](std::uint32_t item) {
                   if (item == 7) done_by = std::this_thread::get_id();
                   done.wait();
               },
               [&] { ++ends; }};
    hands.start();
    // While it is being done:
    CHECK(poll_until(5s, [&] { return done_by.load() != std::thread::id{} && steps > 10; }));
    CHECK(found_by.load() == done_by.load());
    CHECK(found_by.load() != std::this_thread::get_id());
    CHECK(ends == 0);
    stop = true;
    CHECK(poll_until(5s, [&] { return ends == 1; }));
    done.open();
    CHECK_FALSE(hands.finish());
    CHECK(ends == 1);
}

TEST_CASE("one steers at a time, each item is done once, by no more threads than hands and one", "[threads]") {
    constexpr std::uint32_t hands_there_are = 3, items = 3000;
    std::atomic<int> steering{0}, at_once{0}, doing{0}, most{0};
    std::uint32_t next = 0;  // of whoever steers
    std::mutex mutex;
    std::multiset<std::uint32_t> seen;
    std::set<std::thread::id> threads;
    crew* crew_itself = nullptr;
    crew hands{hands_there_are,
               [&] {
                   if (++steering > 1) ++at_once;
                   worker_step step;
                   if (next == items) {
                       step.over = doing == 0;
                   } else if (doing < static_cast<int>(hands_there_are)) {
                       ++doing;
                       auto const item = next++;
                       if (item % 3 == 0) {
                           crew_itself->push(item);
                       } else {
                           step.item = item;
                       }
                   }
                   --steering;
                   return step;
               },
               [&](std::uint32_t item) {
                   for (auto before = most.load(); doing > before && !most.compare_exchange_weak(before, doing);) {}
                   {
                       std::lock_guard const lock{mutex};
                       seen.insert(item);
                       threads.insert(std::this_thread::get_id());
                   }
                   --doing;
               },
               [] {}};
    crew_itself = &hands;
    hands.start();
    CHECK_FALSE(hands.finish());
    CHECK(at_once == 0);
    CHECK(most <= static_cast<int>(hands_there_are));
    CHECK(threads.size() <= hands_there_are + 1);
    CHECK(seen.size() == items);
    CHECK(std::set<std::uint32_t>{seen.begin(), seen.end()}.size() == items);
}

TEST_CASE("what a step throws ends it, once what is being done has ended", "[threads]") {
    gate done;
    std::atomic<int> steps{0}, ends{0}, begun{0}, ended{0};
    crew hands{2,
               [&]() -> worker_step {
                   if (++steps == 1) return {.item = 1};
                   if (steps == 2) {
                       (void)poll_until(5s, [&] { return begun == 1; });
                       throw std::runtime_error{"no memory, say"};
                   }
                   return {.over = true};
               },
               [&](std::uint32_t) {
                   ++begun;
                   done.wait();
                   ++ended;
               },
               [&] { ++ends; }};
    hands.start();
    CHECK(poll_until(5s, [&] { return ends == 1; }));
    CHECK(ended == 0);
    done.open();
    auto const failure = hands.finish();
    CHECK(ended == 1);
    CHECK(steps == 2);
    REQUIRE(failure);
    CHECK_THROWS_WITH(std::rethrow_exception(failure), "no memory, say");
}

TEST_CASE("a crew that was never started, and one that is over, can be destroyed", "[threads]") {
    std::atomic<int> ends{0};
    auto const over = [] { return worker_step{.over = true}; };
    {
        crew const idle{1, over, [](std::uint32_t) {}, [&] { ++ends; }};
    }
    {
        crew hands{1, over, [](std::uint32_t) {}, [&] { ++ends; }};
        hands.start();
    }
    CHECK(ends == 2);
}

}  // namespace worker_crew_test
