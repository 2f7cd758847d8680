// Workers with their threads, in real time, over the memory transport: each does what its documentation says. Run under
// ThreadSanitizer too ([threads]).
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <rota/sink/recording_sink.hpp>
#include <rota/strategy/graced.hpp>
#include <rota/transport/memory.hpp>
#include <rota/worker.hpp>

#include "../catch.hpp"
#include "../support/poll_until.hpp"

namespace worker_test {

using namespace std::chrono_literals;
using rota::errc;
using rota::job;
using rota::memory_store;
using rota::memory_transport;
using rota::run_report;
using rota::test::poll_until;
using what = rota::run_report::what;

namespace {

rota::options quick(std::string id) {
    return {.node_id = std::move(id), .heartbeat_interval = 100ms, .safety_margin = 10ms};
}
// ... whose runs are not cut short because the machine is busy.
rota::options steady(std::string id) {
    auto o = quick(std::move(id));
    o.node_ttl = o.leader_lease = 5s;
    return o;
}
rota::worker_options short_ones() { return {.threads = 4, .stop_grace = 200ms, .drain_budget = 1s}; }

/// Reports, for a test to look at from its own thread.
class notebook {
public:
    [[nodiscard]] auto writer() {
        return [this](run_report const& r) {
            std::lock_guard const lock{mutex_};
            list_.push_back(r);
        };
    }
    [[nodiscard]] std::vector<run_report> all(what kind) const {
        std::lock_guard const lock{mutex_};
        std::vector<run_report> found;
        for (auto const& r : list_) {
            if (r.kind == kind) found.push_back(r);
        }
        return found;
    }
    [[nodiscard]] std::size_t count(what kind) const { return all(kind).size(); }

private:
    mutable std::mutex mutex_;
    std::vector<run_report> list_;
};

/// A worker whose run() has a thread of its own, until stop() or the end of the test.
template <typename Worker>
class running {
public:
    template <typename Handler>
    running(Worker& w, Handler handler)
        : worker_{w},
          thread_{[this, handler = std::move(handler)](std::stop_token stop) mutable {
              outcome_ = worker_.run(stop, handler);
              over_ = true;
          }} {}

    void ask() { thread_.request_stop(); }
    rota::result<void> stop() {
        ask();
        if (thread_.joinable()) thread_.join();
        return outcome_;
    }
    [[nodiscard]] bool over() const { return over_; }

private:
    Worker& worker_;
    rota::result<void> outcome_;
    std::atomic<bool> over_{false};
    std::jthread thread_;
};

/// What handlers do at the same time, of all workers that share it.
class census {
public:
    explicit census(rota::microseconds time = 2ms) : time_{time} {}

    void operator()(job& j) {
        {
            std::lock_guard const lock{mutex_};
            if (!inside_.insert(j.schedule()).second) ++overlaps_;
            if (j.token() <= last_[j.schedule()]) ++overlaps_;
            last_[j.schedule()] = j.token();
            most_ = std::max(most_, inside_.size());
            ++runs_;
        }
        std::this_thread::sleep_for(time_);
        std::lock_guard const lock{mutex_};
        inside_.erase(j.schedule());
    }
    [[nodiscard]] int runs() const {
        std::lock_guard const lock{mutex_};
        return runs_;
    }
    [[nodiscard]] int overlaps() const {
        std::lock_guard const lock{mutex_};
        return overlaps_;
    }
    [[nodiscard]] std::size_t most() const {
        std::lock_guard const lock{mutex_};
        return most_;
    }
    [[nodiscard]] std::size_t schedules() const {
        std::lock_guard const lock{mutex_};
        return last_.size();
    }

private:
    rota::microseconds time_;
    mutable std::mutex mutex_;
    std::set<std::string> inside_;
    std::map<std::string, rota::fencing_token> last_;
    std::size_t most_ = 0;
    int runs_ = 0;
    int overlaps_ = 0;
};

std::vector<rota::schedule> some(int count) {
    std::vector<rota::schedule> list;
    for (int i = 0; i < count; ++i) list.push_back({.id = "s" + std::to_string(i)});
    return list;
}

}  // namespace

TEST_CASE("a worker registers, runs each schedule under its lock, and leaves", "[threads]") {
    memory_store store;
    rota::recording_sink record;
    rota::worker w{quick("a"), memory_transport{store}, record, short_ones(), rota::continuous{.pause = 1ms}};
    notebook notes;
    w.on_report(notes.writer());
    w.add("x", std::string{"y"}, rota::schedule{.id = "z", .weight = 2});
    census seen;
    std::atomic<int> wrong{0};
    running r{w, [&](job& j) {
                  seen(j);
                  if (j.generation() == 0 || j.attempt() != 1 || j.remaining() <= 0ms || j.stop_requested()) ++wrong;
                  if (j.stop_token().stop_requested()) ++wrong;
              }};

    REQUIRE(poll_until(10s, [&] { return seen.runs() >= 200; }));
    CHECK(r.stop());
    CHECK(seen.schedules() == 3);
    CHECK(seen.overlaps() == 0);
    CHECK(seen.most() > 1);
    CHECK(wrong == 0);
    // As it stops, a thread may find that it is too late for what it was to begin.
    CHECK(notes.count(what::started) >= static_cast<std::size_t>(seen.runs()));
    CHECK(notes.count(what::started) - static_cast<std::size_t>(seen.runs()) <= 4);
    CHECK(notes.count(what::finished) == static_cast<std::size_t>(seen.runs()));
    CHECK(record.count<rota::node_left>() == 1);
}

TEST_CASE("several workers share the runs: never two at once of one schedule, while workers come and go", "[threads]") {
    memory_store store;
    census seen;
    auto const make = [&](std::string id) {
        return std::make_unique<rota::worker<memory_transport, rota::worker_options, rota::continuous>>(
            quick(std::move(id)), memory_transport{store}, short_ones(), rota::continuous{.pause = 0ms});
    };
    auto a = make("a");
    a->add(some(12));
    running ra{*a, std::ref(seen)};
    auto const progress = [&](int more) {
        auto const before = seen.runs();
        return poll_until(10s, [&] { return seen.runs() >= before + more; });
    };
    REQUIRE(progress(100));
    auto b = make("b");
    running rb{*b, std::ref(seen)};
    REQUIRE(poll_until(10s, [&] { return b->node().owned().size() >= 5; }));
    REQUIRE(progress(200));
    CHECK(ra.stop());
    REQUIRE(poll_until(10s, [&] { return b->node().owned().size() == 12; }));
    REQUIRE(progress(200));
    CHECK(rb.stop());
    CHECK(seen.overlaps() == 0);
    CHECK(seen.schedules() == 12);
    CHECK(seen.most() <= 8);
}

TEST_CASE("no more handlers at once than threads", "[threads]") {
    memory_store store;
    rota::worker w{quick("a"), memory_transport{store}, rota::worker_options{.threads = 2},
                   rota::continuous{.pause = 0ms}};
    w.add(some(9));
    census seen;
    running r{w, std::ref(seen)};
    REQUIRE(poll_until(10s, [&] { return seen.runs() >= 100; }));
    CHECK(r.stop());
    CHECK(seen.most() == 2);
    CHECK(seen.schedules() == 9);
}

TEST_CASE("the lock is extended for as long as the handler runs", "[threads]") {
    memory_store store;
    rota::worker w{quick("a"), memory_transport{store}, short_ones()};
    w.add("long");
    std::atomic<bool> done{false};
    std::atomic<bool> stopped{false};
    std::atomic<rota::microseconds::rep> least{1'000'000};
    running r{w, [&](job& j) {
                  for (int i = 0; i < 100; ++i) {  // three times the ttl
                      if (j.stop_requested() || j.stop_token().stop_requested()) stopped = true;
                      least = std::min(least.load(), j.remaining().count());
                      std::this_thread::sleep_for(10ms);
                  }
                  done = true;
              }};
    REQUIRE(poll_until(10s, [&] { return done.load(); }));
    CHECK_FALSE(stopped);
    CHECK(least > 0);
    CHECK(r.stop());
}

TEST_CASE("one thread for handlers: the node takes part while it is taken, and others wait", "[threads]") {
    memory_store store;
    notebook notes;
    std::atomic<int> begun{0}, asked{0};
    std::atomic<bool> go_on{false};
    rota::worker w{quick("a"), memory_transport{store}, rota::worker_options{.threads = 1, .lock_ttl = 200ms}};
    w.on_report(notes.writer());
    w.add("x", "y");
    running run{w, [&](job& j) {
                    ++begun;
                    (void)poll_until(10s, [&] { return go_on || j.stop_requested(); });
                    if (j.stop_requested() && !go_on) ++asked;
                }};
    REQUIRE(poll_until(5s, [&] { return begun == 1; }));
    // Much longer than the lock, and than the group waits for a node.
    std::this_thread::sleep_for(800ms);
    CHECK(begun == 1);
    CHECK(asked == 0);
    CHECK(w.node().is_leader());
    CHECK(w.node().owned().size() == 2);
    go_on = true;
    std::set<std::string> ran;
    CHECK(poll_until(5s, [&] {
        for (auto const& r : notes.all(what::finished)) ran.insert(r.schedule);
        return ran.size() == 2;
    }));
    CHECK(run.stop());
}

TEST_CASE("reports come one at a time, a run's in order, whichever thread tells them", "[threads]") {
    memory_store store;
    std::atomic<int> telling{0}, at_once{0}, wrong{0};
    std::set<rota::fencing_token> begun;  // of whoever tells
    std::atomic<int> finished{0};
    rota::worker w{steady("a"), memory_transport{store}, rota::continuous{.pause = 1ms},
                   rota::worker_options{.threads = 4}};
    w.on_report([&](run_report const& r) {
        if (++telling > 1) ++at_once;
        if (r.kind == what::started && !begun.insert(r.token).second) ++wrong;
        if (r.kind == what::finished && begun.erase(r.token) != 1) ++wrong;
        if (r.kind == what::finished) ++finished;
        --telling;
    });
    for (int i = 0; i < 8; ++i) w.add("x" + std::to_string(i));
    running run{w, [](job&) {}};
    CHECK(poll_until(20s, [&] { return finished > 500; }));
    CHECK(run.stop());
    CHECK(at_once == 0);
    CHECK(wrong == 0);
    CHECK(begun.size() <= 4);  // what was about to begin when it was stopped does not, and is not reported again
}

TEST_CASE("a schedule comes with its lock, which lasts as long as its run", "[threads]") {
    memory_store store;
    auto const options = [](std::string id) {
        auto o = quick(std::move(id));
        o.auto_rebalance = false;
        return o;
    };
    rota::worker a{options("a"), memory_transport{store}, short_ones(), rota::on_demand{}};
    rota::worker b{options("b"), memory_transport{store}, short_ones(), rota::continuous{.pause = 10s}};
    a.add("x");
    running ra{a, [](job&) {}};
    REQUIRE(poll_until(5s, [&] { return a.node().owned().size() == 1; }));
    std::atomic<unsigned> came_along{0};
    std::atomic<unsigned> runs{0};
    std::atomic<bool> stopped{false};
    running rb{b, [&](job& j) {
                   if (j.token() == j.generation()) ++came_along;
                   for (int i = 0; i < 60 && came_along == 1; ++i) {  // twice the ttl
                       if (j.stop_requested() || j.stop_token().stop_requested()) stopped = true;
                       std::this_thread::sleep_for(10ms);
                   }
                   ++runs;
               }};
    REQUIRE(poll_until(5s, [&] { return b.node().next_tick() > 0ms; }));
    // Where b hears of it only by its own tick, it asks for the lock: a few tries.
    for (int i = 0; i < 20 && came_along == 0; ++i) {
        auto const before = runs.load();
        REQUIRE(a.node().transfer("x", "b"));
        REQUIRE(poll_until(5s, [&] { return runs > before; }));
        REQUIRE(poll_until(5s, [&] { return b.node().transfer("x", "a").has_value(); }));
        REQUIRE(poll_until(5s, [&] { return a.node().owned().size() == 1; }));
    }
    CHECK(came_along > 0);
    CHECK_FALSE(stopped);
    CHECK(ra.stop());
    CHECK(rb.stop());
}

TEST_CASE("a node that loses contact asks its runs to stop before their locks end, and runs again after", "[threads]") {
    memory_store store;
    memory_transport wire{store};
    rota::worker w{quick("a"), wire, short_ones(), rota::continuous{.pause = 10ms}};
    notebook notes;
    w.on_report(notes.writer());
    w.add("x");
    std::atomic<int> runs{0};
    std::atomic<int> stopped_in_time{0};
    std::atomic<bool> last{false};
    running r{w, [&](job& j) {
                  ++runs;
                  std::mutex m;
                  std::condition_variable_any c;
                  std::unique_lock lock{m};
                  (void)c.wait_for(lock, j.stop_token(), 20s, [&] { return last.load(); });
                  if (j.stop_requested() && j.remaining() > 0ms) ++stopped_in_time;
              }};
    REQUIRE(poll_until(5s, [&] { return runs == 1; }));
    wire.refuse(true);
    REQUIRE(poll_until(5s, [&] { return notes.count(what::finished) == 1; }));
    CHECK(stopped_in_time == 1);
    REQUIRE(notes.count(what::stop_requested) == 1);
    CHECK(notes.all(what::stop_requested).front().cause == rota::stop_cause::lock_ending);
    last = true;
    CHECK_FALSE(poll_until(400ms, [&] { return runs > 1; }));
    wire.refuse(false);
    CHECK(poll_until(5s, [&] { return runs > 1; }));
    CHECK(r.stop());
}

TEST_CASE("a handler that throws, or returns an error, is reported and tried again, so many times", "[threads]") {
    memory_store store;
    auto o = short_ones();
    o.retry = {.attempts = 3, .first = 1ms, .most = 4ms};
    rota::worker w{quick("a"), memory_transport{store}, o, rota::continuous{.pause = 1h}};
    notebook notes;
    w.on_report(notes.writer());
    w.add("throws", "errs", "odd", "well");
    running r{w, [&](job& j) -> rota::result<void> {
                  if (j.schedule() == "throws") throw std::runtime_error("no such feed");
                  if (j.schedule() == "odd") throw 7;
                  if (j.schedule() == "errs") return {errc::unavailable, "the feed is down"};
                  return {};
              }};
    REQUIRE(poll_until(10s, [&] { return notes.count(what::failed) >= 9 && notes.count(what::finished) == 1; }));
    CHECK_FALSE(poll_until(50ms, [&] { return notes.count(what::failed) > 9; }));
    CHECK(r.stop());
    std::map<std::string, std::vector<std::uint32_t>> attempts;
    for (auto const& f : notes.all(what::failed)) {
        attempts[f.schedule].push_back(f.attempt);
        CHECK(f.retry_in.has_value() == (f.attempt < 3));
        if (f.schedule == "throws") CHECK(f.why == "no such feed");
        if (f.schedule == "errs") CHECK(f.why == "unavailable: the feed is down");
        if (f.schedule == "odd") CHECK(f.why == "an exception that is no std::exception");
        CHECK(rota::describe(f).find('"' + f.schedule + "\": the run failed (attempt ") == 0);
    }
    for (auto const& [schedule, list] : attempts) CHECK(list == std::vector<std::uint32_t>{1, 2, 3});
    CHECK(attempts.size() == 3);
}

TEST_CASE("a handler that ignores its stop request is reported and loses its lock, and others go on", "[threads]") {
    memory_store store;
    auto o = short_ones();
    o.threads = 2;
    o.max_run_time = 50ms;
    rota::worker w{quick("a"), memory_transport{store}, o, rota::continuous{.pause = 1ms}};
    notebook notes;
    w.on_report(notes.writer());
    w.add("deaf", "well");
    std::atomic<bool> let_go{false};
    std::atomic<int> deaf{0};
    std::atomic<int> well{0};
    std::atomic<bool> lock_over{false};
    running r{w, [&](job& j) {
                  if (j.schedule() == "well") {
                      ++well;
                      return;
                  }
                  ++deaf;
                  while (!let_go) std::this_thread::sleep_for(1ms);
                  lock_over = j.remaining() == 0ms && j.stop_requested();
              }};
    REQUIRE(poll_until(5s, [&] { return notes.count(what::stop_ignored) == 1; }));
    auto const told = notes.all(what::stop_ignored).front();
    CHECK(told.schedule == "deaf");
    CHECK(told.cause == rota::stop_cause::max_run_time);
    CHECK(told.took >= 250ms);
    auto const before = well.load();
    CHECK(poll_until(5s, [&] { return well > before + 20; }));
    CHECK(deaf == 1);
    {  // its lock is free: who has it next has a higher token
        rota::basic_coordinator other{quick("b"), memory_transport{store}};
        REQUIRE(other.join());
        REQUIRE(w.node().transfer("deaf", "b"));
        REQUIRE(poll_until(5s, [&] {
            other.tick();
            auto const l = other.try_lock("deaf", 1s);
            return l && l->token() > told.token;
        }));
    }
    let_go = true;
    CHECK(r.stop());
    CHECK(lock_over);
}

TEST_CASE("stop: nothing starts any more, what runs may end within the budget, then the node leaves", "[threads]") {
    memory_store store;
    auto o = short_ones();
    rota::worker w{steady("a"), memory_transport{store}, o, rota::continuous{.pause = 0ms}};
    notebook notes;
    w.on_report(notes.writer());
    w.add(some(8));
    std::atomic<bool> stopped{false};
    std::atomic<int> started_after{0};
    std::atomic<int> runs{0};

    SECTION("well-behaved runs") {
        running r{w, [&](job&) {
                      if (stopped) ++started_after;
                      ++runs;
                      std::this_thread::sleep_for(20ms);
                  }};
        REQUIRE(poll_until(5s, [&] { return runs > 20; }));
        w.stop();
        std::this_thread::sleep_for(1ms);  // one that was about to be called
        stopped = true;
        auto const began = std::chrono::steady_clock::now();
        CHECK(poll_until(5s, [&] { return r.over(); }));
        CHECK(std::chrono::steady_clock::now() - began < 500ms);
        CHECK(r.stop());
        CHECK(started_after == 0);
        CHECK(notes.count(what::stop_requested) == 0);
        CHECK(notes.count(what::finished) == static_cast<std::size_t>(runs));
    }
    SECTION("runs that take longer are asked near its end") {
        running r{w, [&](job& j) {
                      ++runs;
                      while (!j.stop_requested()) std::this_thread::sleep_for(1ms);
                  }};
        REQUIRE(poll_until(5s, [&] { return runs >= 4; }));
        auto const began = std::chrono::steady_clock::now();
        r.ask();
        CHECK(r.stop());
        auto const took = std::chrono::steady_clock::now() - began;
        CHECK(took >= 790ms);
        CHECK(took < 990ms);
        CHECK(runs == 4);
        REQUIRE(notes.count(what::stop_requested) == 4);
        CHECK(notes.all(what::stop_requested).front().cause == rota::stop_cause::shutting_down);
        CHECK(notes.count(what::stop_ignored) == 0);
    }
    SECTION("a deaf one does not keep the node") {
        std::atomic<bool> let_go{false};
        running r{w, [&](job& j) {
                      ++runs;
                      while (j.schedule() == "s0" ? !let_go : !j.stop_requested()) std::this_thread::sleep_for(1ms);
                  }};
        REQUIRE(poll_until(5s, [&] { return runs >= 4; }));
        rota::basic_coordinator other{steady("b"), memory_transport{store}};
        REQUIRE(other.join());
        r.ask();
        CHECK(poll_until(5s, [&] { return other.tick(), other.owned().size() == 8; }));
        CHECK_FALSE(r.over());
        CHECK(poll_until(5s, [&] { return notes.count(what::stop_ignored) == 1; }));
        let_go = true;
        CHECK(r.stop());
    }
}

TEST_CASE("a trigger from any thread is answered at once", "[threads]") {
    memory_store store;
    rota::worker w{rota::options{.node_id = "a", .heartbeat_interval = 30s}, memory_transport{store}, rota::on_demand{},
                   short_ones()};
    CHECK_FALSE(w.trigger_here("x"));
    w.add("x");
    std::atomic<int> runs{0};
    running r{w, [&](job&) { ++runs; }};
    REQUIRE(poll_until(5s, [&] { return w.trigger_here("x"); }));
    REQUIRE(poll_until(5s, [&] { return runs == 1; }));
    CHECK_FALSE(w.trigger_here("other"));
    for (int i = 2; i < 50; ++i) {
        REQUIRE(poll_until(5s, [&] { return w.trigger_here("x"); }));
        REQUIRE(poll_until(1s, [&] { return runs == i; }));
    }
    CHECK(r.stop());
}

TEST_CASE("a trigger on any node is run by the owner, whoever that is", "[threads]") {
    memory_store store;
    std::atomic<int> runs_of_a{0}, runs_of_b{0};
    std::atomic<bool> hold{false};
    rota::worker a{quick("a"), memory_transport{store}, rota::on_demand{}, short_ones()};
    rota::worker b{quick("b"), memory_transport{store}, rota::on_demand{}, short_ones()};
    auto const handler = [&](std::atomic<int>& runs) {
        return [&](job& j) {
            ++runs;
            while (hold && !j.stop_requested()) std::this_thread::sleep_for(1ms);
        };
    };
    auto const count_a = handler(runs_of_a), count_b = handler(runs_of_b);
    a.add("x");
    CHECK(a.trigger("x").error() == rota::errc::unknown_schedule);
    running ra{a, count_a};
    REQUIRE(poll_until(5s, [&] { return !a.node().owned().empty(); }));
    running rb{b, count_b};
    REQUIRE(poll_until(5s, [&] { return b.node().leader().has_value(); }));
    for (int i = 1; i < 10; ++i) {
        REQUIRE(b.trigger("x"));
        REQUIRE(poll_until(5s, [&] { return runs_of_a == i; }));
    }
    REQUIRE(poll_until(5s, [&] { return a.node().owned().front().triggered == 0; }));  // told to be done
    // Cut off in the middle, it is run by the next owner.
    hold = true;
    REQUIRE(b.trigger("x"));
    REQUIRE(poll_until(5s, [&] { return runs_of_a == 10; }));
    CHECK(ra.stop());
    hold = false;
    REQUIRE(poll_until(5s, [&] { return runs_of_b == 1; }));
    REQUIRE(poll_until(5s, [&] { return b.node().owned().front().triggered == 0; }));
    // Nobody is there: remembered.
    CHECK(rb.stop());
    rota::basic_coordinator outside{quick("outside"), memory_transport{store}};
    REQUIRE(outside.trigger({"x"}).all());
    rota::worker c{quick("c"), memory_transport{store}, rota::on_demand{}, short_ones()};
    std::atomic<int> runs_of_c{0};
    auto const count_c = handler(runs_of_c);
    running rc{c, count_c};
    CHECK(poll_until(10s, [&] { return runs_of_c == 1; }));
    CHECK(rc.stop());
    CHECK(runs_of_a == 10);
    CHECK(runs_of_b == 1);
}

TEST_CASE("what is added while the worker runs is registered at once; what cannot be is reported", "[threads]") {
    memory_store store;
    memory_transport wire{store};
    wire.refuse(true);
    rota::worker w{quick("a"), wire, short_ones(), rota::continuous{.pause = 10ms}};
    notebook notes;
    w.on_report(notes.writer());
    w.add("early", std::string(513, 'x'), rota::schedule{.id = "weightless", .weight = 0}, "late");
    census seen;
    running r{w, std::ref(seen)};
    CHECK_FALSE(poll_until(50ms, [&] { return seen.runs() > 0; }));
    wire.refuse(false);
    REQUIRE(poll_until(5s, [&] { return seen.schedules() == 2; }));
    CHECK(notes.count(what::registration_failed) == 2);
    w.add("more");
    REQUIRE(poll_until(5s, [&] { return seen.schedules() == 3; }));
    w.add("weightless");  // as it should be
    REQUIRE(poll_until(5s, [&] { return seen.schedules() == 4; }));

    INFO("and again when the server has lost them");
    auto const before = seen.runs();
    store.restart_empty();
    REQUIRE(poll_until(10s, [&] { return seen.runs() > before + 20 && w.node().owned().size() == 4; }));
    CHECK(r.stop());
    CHECK(seen.overlaps() == 0);
}

TEST_CASE("senseless options are not computed with before run() has refused them") {
    memory_store store;
    auto refused = [&](auto change) {
        auto o = quick("a");
        change(o);
        rota::worker w{o, memory_transport{store}};
        auto const r = w.run({}, [](job&) {});
        REQUIRE_FALSE(r);
        CHECK(r.error() == errc::invalid_argument);
    };
    refused([](auto& o) { o.heartbeat_interval = rota::microseconds::max(); });
    refused([](auto& o) { o.safety_margin = rota::microseconds::max(); });
    refused([](auto& o) { o.clock_drift = 1e300; });
}

TEST_CASE("run says why it cannot take part", "[threads]") {
    memory_store store;
    auto const nothing = [](job&) {};
    SECTION("options of the node") {
        rota::worker w{rota::options{}, memory_transport{store}};
        CHECK(w.run({}, nothing).error() == errc::invalid_argument);
    }
    SECTION("options of the worker") {
        rota::worker w{quick("a"), memory_transport{store}, rota::worker_options{.threads = 2000}};
        CHECK(w.run({}, nothing).error().detail == "threads is 2000, must be at most 1000");
    }
    SECTION("a newer process has its id: handlers are asked to stop") {
        rota::worker w{quick("a"), memory_transport{store}, short_ones()};
        w.add("x");
        std::atomic<int> runs{0};
        running r{w, [&](job& j) {
                      ++runs;
                      while (!j.stop_requested()) std::this_thread::sleep_for(1ms);
                  }};
        REQUIRE(poll_until(5s, [&] { return runs == 1; }));
        rota::basic_coordinator newer{quick("a"), memory_transport{store}};
        REQUIRE(newer.join());
        REQUIRE(poll_until(5s, [&] { return r.over(); }));
        auto const ended = r.stop();
        REQUIRE_FALSE(ended);
        CHECK(ended.error() == errc::fenced);
        CHECK(runs == 1);
    }
    SECTION("stop() before run()") {
        rota::worker w{quick("a"), memory_transport{store}, short_ones()};
        w.stop();
        CHECK(w.run({}, nothing));
    }
}

namespace {

/// A handler whose runs go on until they are let go, or asked to stop.
struct held_runs {
    void operator()(job& j) {
        ++runs;
        while (!let_go && !j.stop_requested()) std::this_thread::sleep_for(1ms);
    }
    std::atomic<int> runs{0};
    std::atomic<bool> let_go{false};
};

}  // namespace

TEST_CASE("stop: what is idle goes to others while runs go on, which end in peace", "[threads]") {
    memory_store store;
    rota::worker w{steady("a"), memory_transport{store}, rota::worker_options{.threads = 4, .drain_budget = 20s}};
    notebook notes;
    w.on_report(notes.writer());
    w.add(some(8));
    held_runs held;
    running r{w, std::ref(held)};
    REQUIRE(poll_until(5s, [&] { return held.runs >= 4; }));
    w.add("idle 1", "idle 2", "idle 3", "idle 4");
    rota::basic_coordinator other{steady("b"), memory_transport{store}};
    REQUIRE(other.join());
    auto const others = [&other](std::size_t count) {
        return poll_until(5s, [&] { return other.tick(), other.owned().size() == count; });
    };
    REQUIRE(others(6));  // a runs four, and has two more
    w.stop();
    CHECK(others(8));
    CHECK_FALSE(r.over());
    CHECK(w.node().owned().size() == 4);
    held.let_go = true;
    CHECK(others(12));
    CHECK(poll_until(5s, [&] { return r.over(); }));
    CHECK(r.stop());
    CHECK(held.runs == 4);
    CHECK(notes.count(what::stop_requested) == 0);
    CHECK(w.node().attributes().capacity == std::nullopt);  // should it run again
}

TEST_CASE("stop: under graced<> what is idle stays, since a restart is to move nothing", "[threads]") {
    memory_store store;
    using graced = rota::graced<>;
    rota::worker w{steady("a"), memory_transport{store}, graced{},
                   rota::worker_options{.threads = 1, .drain_budget = 20s}};
    w.add(some(4));
    held_runs held;
    running r{w, std::ref(held)};
    REQUIRE(poll_until(5s, [&] { return held.runs >= 1; }));
    rota::basic_coordinator other{steady("b"), memory_transport{store}, graced{}};
    REQUIRE(other.join());
    REQUIRE(poll_until(5s, [&] { return other.tick(), other.owned().size() == 2; }));
    w.stop();
    CHECK_FALSE(poll_until(500ms, [&] { return other.tick(), other.owned().size() != 2; }));
    CHECK_FALSE(r.over());
    held.let_go = true;
    CHECK(poll_until(5s, [&] { return r.over(); }));
    CHECK(r.stop());
}

namespace {

// A wire on which one request finds no memory.
class poor_wire {
public:
    poor_wire(memory_transport wire, std::shared_ptr<std::atomic<bool>> fails)
        : wire_{std::move(wire)},
          fails_{std::move(fails)} {}
    rota::result<void> open(rota::transport_settings const& s) { return wire_.open(s); }
    rota::result<rota::reply> perform(rota::operation const& request, rota::microseconds timeout) {
        if (fails_->exchange(false)) throw std::bad_alloc{};
        return wire_.perform(request, timeout);
    }
    rota::wake_reason wait(rota::subscription const& sub, rota::microseconds timeout) {
        return wire_.wait(sub, timeout);
    }
    void wake() { wire_.wake(); }

private:
    memory_transport wire_;
    std::shared_ptr<std::atomic<bool>> fails_;
};

}  // namespace

TEST_CASE("what is thrown at the helm comes out of run() when handlers have returned; it may run again", "[threads]") {
    memory_store store;
    rota::basic_coordinator other{quick("b"), memory_transport{store}};
    auto const fails = std::make_shared<std::atomic<bool>>(false);
    std::atomic<int> begun{0}, ended{0};
    rota::worker w{steady("a"), poor_wire{memory_transport{store}, fails}, short_ones()};
    w.add("x");
    auto const handler = [&](job& j) {
        if (++begun == 1) {
            // Its lock is still held when all ends, and there is news to be told then.
            (void)other.register_schedules({{.id = "y"}});
            *fails = true;
            CHECK(poll_until(10s, [&] { return j.stop_requested(); }));
        }
        ++ended;
    };
    CHECK_THROWS_AS((void)w.run({}, handler), std::bad_alloc);
    CHECK(begun == ended);
    auto const before = begun.load();
    running run{w, handler};
    CHECK(poll_until(10s, [&] { return begun > before; }));
    CHECK(run.stop());
}

TEST_CASE("a worker may run again after it has stopped", "[threads]") {
    memory_store store;
    rota::worker w{quick("a"), memory_transport{store}, short_ones(), rota::continuous{.pause = 1ms}};
    w.add("x");
    for (int round = 0; round < 3; ++round) {
        census seen;
        running r{w, std::ref(seen)};
        REQUIRE(poll_until(5s, [&] { return seen.runs() > 5; }));
        CHECK(r.stop());
        CHECK(seen.overlaps() == 0);
    }
}

TEST_CASE("a busy worker goes on ticking, and hears at once that a schedule is to move", "[threads]") {
    memory_store store;
    auto o = quick("a");
    o.heartbeat_interval = 500ms;
    rota::worker w{o, memory_transport{store}, short_ones(), rota::continuous{.pause = 0ms}};
    w.add(some(40));
    std::atomic<int> runs{0};
    running r{w, [&](job&) { ++runs; }};
    REQUIRE(poll_until(5s, [&] { return runs > 2000; }));
    rota::basic_coordinator other{o = {.node_id = "b", .heartbeat_interval = 500ms}, memory_transport{store}};
    REQUIRE(other.join());
    REQUIRE(w.node().transfer("s7", "b"));
    auto const began = std::chrono::steady_clock::now();
    auto const has_it = [&] {
        other.tick();
        for (auto const& s : other.owned()) {
            if (s.id == "s7") return true;
        }
        return false;
    };
    CHECK(poll_until(5s, has_it));
    CHECK(std::chrono::steady_clock::now() - began < 250ms);
    CHECK_FALSE(poll_until(2s, [&] { return w.node().owned().empty(); }));
    CHECK(r.stop());
}

TEST_CASE("a busy worker hears at once what is pushed: another has joined, and is to have its share", "[threads]") {
    memory_store store;
    auto o = quick("a");
    o.heartbeat_interval = 20s;
    o.node_ttl = o.leader_lease = 60s;
    rota::worker w{o, memory_transport{store}, short_ones(), rota::continuous{.pause = 0ms}};
    w.add(some(40));
    std::atomic<int> runs{0};
    running r{w, [&](job&) { ++runs; }};
    REQUIRE(poll_until(5s, [&] { return runs > 2000; }));
    o.node_id = "b";
    rota::basic_coordinator other{o, memory_transport{store}};
    REQUIRE(other.join());
    CHECK(poll_until(5s, [&] { return w.node().owned().size() == 20; }));
    CHECK(r.stop());
}

TEST_CASE("options with which no handler would ever run are refused") {
    memory_store store;
    auto const refused = [&](rota::worker_options given) {
        rota::worker w{rota::options{.node_id = "a"}, memory_transport{store}, given};
        auto const r = w.run({}, [](job&) {});
        REQUIRE_FALSE(r);
        CHECK(r.error() == errc::invalid_argument);
        CHECK_THAT(r.error().detail, rota_test::contains("stop_margin is"));
    };
    refused({.lock_ttl = 30s, .stop_margin = 5s});  // a node lives for 3 s
    refused({.lock_ttl = 10s, .stop_margin = 2s});  // and ticks every second
}

namespace {

/// Where stderr goes while it lives.
enum class stderr_to { a_file, nobody, a_full_disk };

class redirected_stderr {
public:
    explicit redirected_stderr(stderr_to where) {
        switch (where) {
            case stderr_to::a_file: ::dup2(::fileno(file_), STDERR_FILENO); break;
            case stderr_to::nobody: {
                int ends[2];
                REQUIRE(::pipe(ends) == 0);
                ::dup2(ends[1], STDERR_FILENO);
                for (int end : ends) ::close(end);
                break;
            }
            case stderr_to::a_full_disk: {
                int const full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
                REQUIRE(full >= 0);
                ::dup2(full, STDERR_FILENO);
                ::close(full);
                break;
            }
        }
    }
    ~redirected_stderr() {
        ::dup2(before_, STDERR_FILENO);
        ::close(before_);
        std::fclose(file_);
    }
    redirected_stderr(redirected_stderr const&) = delete;
    redirected_stderr& operator=(redirected_stderr const&) = delete;

    [[nodiscard]] std::string text() const {
        std::string all(4096, '\0');
        auto const read = ::pread(::fileno(file_), all.data(), all.size(), 0);
        all.resize(read > 0 ? static_cast<std::size_t>(read) : 0);
        return all;
    }
    [[nodiscard]] bool has(std::string const& words) const { return text().find(words) != std::string::npos; }

private:
    std::FILE* file_ = std::tmpfile();
    int before_ = ::dup(STDERR_FILENO);
};

}  // namespace

TEST_CASE("without sink and on_report trouble goes to stderr, and is none if nobody reads that", "[threads]") {
    memory_store store;
    memory_transport wire{store};
    wire.refuse(true);
    auto const where = GENERATE(stderr_to::a_file, stderr_to::nobody, stderr_to::a_full_disk);
    redirected_stderr const said{where};
    auto const says = [&](std::string const& words) {
        return where != stderr_to::a_file || poll_until(5s, [&] { return said.has(words); });
    };
    rota::worker w{quick("a"), wire, short_ones()};
    w.add("x");
    std::atomic<int> runs{0};
    running r{w, [&](job&) {
                  ++runs;
                  throw std::runtime_error{"no such feed"};
              }};
    REQUIRE(poll_until(5s, [&] { return wire.requests() > 3; }));
    CHECK(says("rota: warning: unavailable"));
    auto const tries = wire.requests();
    REQUIRE(poll_until(5s, [&] { return wire.requests() > tries + 3; }));
    CHECK(said.text().find("warning") == said.text().rfind("warning"));
    wire.refuse(false);
    REQUIRE(poll_until(5s, [&] { return runs > 1; }));
    CHECK(says("rota: \"x\": the run failed (attempt 1"));
    wire.refuse(true);
    REQUIRE(poll_until(5s, [&] { return w.node().owned().empty(); }));
    CHECK(says("is suspended: unavailable"));
    wire.refuse(false);
    CHECK(poll_until(5s, [&] { return !w.node().owned().empty(); }));
    CHECK(r.stop());
}

TEST_CASE("a null_sink that was asked for is quiet", "[threads]") {
    memory_transport wire;
    wire.refuse(true);
    redirected_stderr const said{stderr_to::a_file};
    rota::worker w{quick("a"), wire, rota::null_sink{}};
    running r{w, [](job&) {}};
    REQUIRE(poll_until(5s, [&] { return wire.requests() > 5; }));
    CHECK(r.stop());
    CHECK(said.text().empty());
}

}  // namespace worker_test
