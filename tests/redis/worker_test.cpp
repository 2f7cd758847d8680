// Workers as users run them: real processes, a real Redis, real signals; judged by what they say on stdout. The processes
// are this test program itself, started again with the hidden test "[.worker_process]" and told by the environment what
// to be.
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rota/sink/callback_sink.hpp>
#include <rota/transport/hiredis_sync.hpp>
#include <rota/worker.hpp>

#include "../catch.hpp"
#include "../support/child_process.hpp"
#include "../support/json_line.hpp"
#include "../support/poll_until.hpp"
#include "../support/redis_server.hpp"
#include "../support/run_history.hpp"

namespace worker_test {

namespace {

using namespace std::chrono_literals;
using rota::test::child_process;
using rota::test::deadline;
using rota::test::moment;
using rota::test::monotonic_now;
using rota::test::poll_until;
using rota::test::redis_server;
using rota::test::run_history;

// ---------------------------------------------------------------- the process

std::string from_environment(char const* name) {
    auto const* value = std::getenv(name);
    return value == nullptr ? std::string{} : value;
}

/// Says things on stdout, a JSON object per line.
class voice {
public:
    explicit voice(std::string node) : node_{std::move(node)} {}

    void say(char const* event, std::string const& more = {}, moment at = monotonic_now()) {
        std::lock_guard const lock{mutex_};
        fmt::print("{{\"mono_us\":{},\"node\":\"{}\",\"event\":\"{}\"{}}}\n", at.count(), node_, event, more);
        std::fflush(stdout);
    }
    void say(char const* event, rota::job const& j, moment at) {
        say(event,
            fmt::format(",\"schedule\":\"{}\",\"token\":{},\"generation\":{}", j.schedule(), j.token(), j.generation()),
            at);
    }

private:
    std::mutex mutex_;
    std::string node_;
};

int be_a_worker() {
    auto const node = from_environment("ROTA_WORKER");
    auto const behaviour = from_environment("ROTA_WORKER_BEHAVIOUR");
    voice told{node};
    rota::worker w{
        {.node_id = node, .key_prefix = "roster:", .heartbeat_interval = 200ms, .node_ttl = 1s, .leader_lease = 1s},
        rota::hiredis_sync{from_environment("ROTA_WORKER_REDIS")},
        rota::continuous{.pause = behaviour == "brisk" ? 20ms : 1ms},
        rota::worker_options{
            .threads = behaviour == "brisk" ? 1u : 4u,  // run_history takes a node's runs to be in turn
            .stop_grace = 500ms,
            .drain_budget = 2s,
            .retry = {.attempts = 3, .first = 10ms, .most = 40ms}},
        rota::callback_sink{[&](rota::node_joined const&) { told.say("joined"); },
                            [&](rota::node_suspended const&) { told.say("suspended"); },
                            [&](rota::node_resumed const&) { told.say("resumed"); },
                            [&](rota::node_fenced const&) { told.say("fenced"); },
                            [&](rota::node_left const&) { told.say("left"); }}};
    w.on_report([&](rota::run_report const& r) {
        using enum rota::run_report::what;
        if (r.kind == stop_requested) told.say("stop_requested");
        if (r.kind == stop_ignored) {
            told.say("stop_ignored");
            std::this_thread::sleep_for(20ms);  // a slow log
        }
        if (r.kind == failed) told.say("failed");
    });
    for (int i = 0; i < 12; ++i) w.add("schedule-" + std::to_string(i));
    std::atomic<int> runs{0};
    return w.run_until_signal([&](rota::job& j) {
        auto const began = monotonic_now();
        if (j.stop_requested()) return;  // so the stamp is of a time when the lock was valid
        told.say("run_started", j, began);
        if (behaviour == "brisk") {
            for (int i = 0; i < 4 && !j.stop_requested(); ++i) std::this_thread::sleep_for(5ms);
        } else if (behaviour == "lasting") {
            while (!j.stop_requested()) std::this_thread::sleep_for(5ms);
        } else {  // deaf
            for (;;) std::this_thread::sleep_for(1s);
        }
        told.say("run_finished", j, monotonic_now());
        if (++runs % 10 == 0) throw std::runtime_error("every tenth");
    });
}

// ---------------------------------------------------------------- and who watches it

class worker_group {
public:
    explicit worker_group(redis_server const& server) : url_{server.url()} {}

    void start(std::string const& name, std::string const& behaviour) {
        auto const self = std::filesystem::read_symlink("/proc/self/exe").string();
        auto worker = child_process::spawn({self, "[.worker_process]"},
                                           {.environment = {"ROTA_WORKER=" + name, "ROTA_WORKER_REDIS=" + url_,
                                                            "ROTA_WORKER_BEHAVIOUR=" + behaviour}});
        lines_.add(name, worker.take_stdout());
        workers_.insert_or_assign(name, std::move(worker));
    }
    [[nodiscard]] child_process& operator[](std::string const& name) { return workers_.at(name); }

    run_history& history() {
        for (auto const& line : lines_.take()) {
            if (line.text.empty() || line.text.front() != '{') continue;  // the test framework's own words
            if (!line.whole) continue;                                    // of one that was killed
            INFO(line.source << " said: " << line.text);
            REQUIRE_NOTHROW(history_.add(line.text));
            ++said_[{line.source, rota::test::parse_json_line(line.text).at("event").string()}];
        }
        return history_;
    }
    template <typename Condition>
    [[nodiscard]] bool wait(deadline until, Condition&& condition) {
        return poll_until(until, [&] { return condition(history()); }, 10ms);
    }
    [[nodiscard]] int said(std::string const& name, std::string const& event) {
        (void)history();
        auto const found = said_.find({name, event});
        return found == said_.end() ? 0 : found->second;
    }
    [[nodiscard]] bool all_said_their_last(deadline until) { return lines_.wait_all_ended(until); }

    [[nodiscard]] static std::string listed(std::vector<rota::test::violation> const& found) {
        std::string text;
        for (auto const& each : found) text += Catch::Detail::stringify(each) + '\n';
        return text;
    }

private:
    std::string url_;
    std::map<std::string, child_process> workers_;
    rota::test::line_collector lines_;
    run_history history_;
    std::map<std::pair<std::string, std::string>, int> said_;
};

std::set<std::string> schedules() {
    std::set<std::string> names;
    for (int i = 0; i < 12; ++i) names.insert("schedule-" + std::to_string(i));
    return names;
}

int running(run_history const& history, std::string const& node) {
    return static_cast<int>(std::count_if(history.runs().begin(), history.runs().end(),
                                          [&](auto const& r) { return r.node == node && !r.finished; }));
}
int runs_of(run_history const& history, std::string const& node, moment since = {}) {
    return static_cast<int>(std::count_if(history.runs().begin(), history.runs().end(),
                                          [&](auto const& r) { return r.node == node && r.started > since; }));
}

}  // namespace

TEST_CASE("a process that is a worker", "[.worker_process]") {
    if (from_environment("ROTA_WORKER").empty()) return;
    auto const code = be_a_worker();
    std::fflush(stdout);
    std::_Exit(code);
}

TEST_CASE("workers in three processes never run a schedule twice at once, over a kill, a pause and a stop",
          "[worker]") {
    redis_server server;
    worker_group group{server};
    for (auto const* name : {"w1", "w2", "w3"}) group.start(name, "brisk");
    REQUIRE(group.wait(20s, [](run_history const& h) {
        return runs_of(h, "w1") > 50 && runs_of(h, "w2") > 50 && runs_of(h, "w3") > 50;
    }));

    INFO("when one is killed in the middle of its runs, the others run what it had");
    auto const before_kill = monotonic_now();
    group["w1"].kill();
    group.history().killed("w1", monotonic_now());
    CHECK(group.wait(
        10s, [&](run_history const& h) { return h.check_run_again(schedules(), "w1", before_kill, 1500ms).empty(); }));

    INFO("when one is paused for longer than its ttl, it starts nothing on what it lost, and comes back");
    auto const before_pause = monotonic_now();
    REQUIRE(group["w2"].pause());
    (void)poll_until(deadline{2500ms}, [] { return false; });  // the pause itself
    auto const woken = monotonic_now();
    group.history().paused("w2", before_pause, woken);
    REQUIRE(group["w2"].resume());
    REQUIRE(group.wait(10s, [&](run_history const& h) { return runs_of(h, "w2", woken) > 50; }));
    CHECK(group.listed(group.history().check_pauses()) == "");

    INFO("when one is told to stop, it ends its runs, starts none, and the other has all at once");
    auto const told = monotonic_now();
    REQUIRE(group["w3"].signal(SIGTERM));
    CHECK(group["w3"].exit_status(1s) == rota::test::process_exit{.code = 0});
    REQUIRE(group.wait(2s, [](run_history const& h) { return h.last("w3", "left").has_value(); }));
    CHECK(runs_of(group.history(), "w3", told + 50ms) == 0);
    CHECK(group.said("w3", "stop_requested") == 0);
    CHECK(group.wait(5s, [&](run_history const& h) {
        return h.check_run_again(schedules(), "w3", *h.last("w3", "left"), 500ms).empty();
    }));
    CHECK(group.said("w3", "failed") > 0);

    REQUIRE(group["w2"].signal(SIGINT));
    CHECK(group["w2"].exit_status(2s) == rota::test::process_exit{.code = 0});
    REQUIRE(group.all_said_their_last(5s));
    CHECK(group.listed(group.history().check()) == "");
}

TEST_CASE("a worker whose runs last is asked to let them end when its drain budget is nearly over", "[worker]") {
    redis_server server;
    worker_group group{server};
    group.start("w1", "lasting");
    REQUIRE(group.wait(10s, [](run_history const& h) { return running(h, "w1") == 4; }));
    auto const told = monotonic_now();
    REQUIRE(group["w1"].signal(SIGTERM));
    CHECK(group["w1"].exit_status(5s) == rota::test::process_exit{.code = 0});
    CHECK(group.said("w1", "stop_requested") == 4);
    CHECK(group.said("w1", "stop_ignored") == 0);
    CHECK(group.said("w1", "run_finished") == 4);
    CHECK(group.said("w1", "run_started") == 4);
    REQUIRE(group.history().last("w1", "left").has_value());
    CHECK(*group.history().last("w1", "left") - told >= 1450ms);
    CHECK(*group.history().last("w1", "left") - told <= 2050ms);
}

TEST_CASE("a handler that does not return keeps neither the schedules nor the process", "[worker]") {
    redis_server server;
    worker_group group{server};
    group.start("w1", "deaf");
    REQUIRE(group.wait(10s, [](run_history const& h) { return running(h, "w1") == 4; }));
    group.start("w2", "brisk");
    REQUIRE(group.wait(10s, [](run_history const& h) { return runs_of(h, "w2") > 20; }));
    auto const told = monotonic_now();
    REQUIRE(group["w1"].signal(SIGTERM));
    CHECK(group["w1"].exit_status(6s) == rota::test::process_exit{.code = 1});
    CHECK(monotonic_now() - told < 3500ms);  // budget and grace
    CHECK(group.said("w1", "stop_ignored") == 4);
    REQUIRE(group.history().last("w1", "left").has_value());
    CHECK(*group.history().last("w1", "left") - told <= 2050ms);
    auto const left = *group.history().last("w1", "left");

    INFO("what it had in hand runs elsewhere, under a higher token");
    REQUIRE(group.wait(
        5s, [&](run_history const& h) { return h.check_run_again(schedules(), "w1", left, 500ms).empty(); }));
    std::map<std::string, rota::fencing_token> deaf;
    for (auto const& r : group.history().runs()) {
        if (r.node == "w1") deaf[r.schedule] = r.token;
        if (r.node == "w2" && deaf.count(r.schedule) != 0) CHECK(r.token > deaf[r.schedule]);
    }
    CHECK(deaf.size() == 4);
    REQUIRE(group["w2"].signal(SIGTERM));
    CHECK(group["w2"].exit_status(2s) == rota::test::process_exit{.code = 0});
}

TEST_CASE("a worker that is fenced ends as well, though a handler does not return", "[worker]") {
    redis_server server;
    worker_group group{server};
    group.start("w1", "deaf");
    REQUIRE(group.wait(10s, [](run_history const& h) { return running(h, "w1") == 4; }));
    rota::coordinator newer{{.node_id = "w1", .key_prefix = "roster:"}, rota::hiredis_sync{server.url()}};
    REQUIRE(newer.join());
    CHECK(group["w1"].exit_status(5s) == rota::test::process_exit{.code = 1});
    CHECK(group.said("w1", "fenced") == 1);
    CHECK(group.said("w1", "stop_ignored") == 4);
}

TEST_CASE("a second signal ends a worker at once", "[worker]") {
    redis_server server;
    worker_group group{server};
    group.start("w1", "deaf");
    REQUIRE(group.wait(10s, [](run_history const& h) { return running(h, "w1") == 4; }));
    REQUIRE(group["w1"].signal(SIGTERM));
    CHECK_FALSE(group["w1"].exit_status(300ms));
    REQUIRE(group["w1"].signal(SIGTERM));
    CHECK(group["w1"].exit_status(1s) == rota::test::process_exit{.code = 128 + SIGTERM});
}

}  // namespace worker_test
