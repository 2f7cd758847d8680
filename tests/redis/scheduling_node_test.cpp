// The example that users run, as they run it: real processes, a real Redis, real signals; judged by what the nodes say
// on stdout (`--json`) and by what Redis counts. The program's path is given by the build, or by the environment variable
// ROTA_SCHEDULING_NODE.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../catch.hpp"
#include "../support/child_process.hpp"
#include "../support/poll_until.hpp"
#include "../support/redis_server.hpp"
#include "../support/run_history.hpp"

#if __has_include("programs.hpp")
#include "programs.hpp"  // written by the build
#endif

namespace {

using namespace std::chrono_literals;
using rota::test::child_process;
using rota::test::deadline;
using rota::test::moment;
using rota::test::monotonic_now;
using rota::test::poll_until;
using rota::test::redis_server;
using rota::test::run_history;
using rota::test::violation;

[[nodiscard]] std::string scheduling_node_program() {
#ifdef ROTA_SCHEDULING_NODE
    return ROTA_SCHEDULING_NODE;
#else
    std::string program;
#if __has_include("programs.hpp")
    program = rota_test::scheduling_node;
#endif
    if (auto const* from_environment = std::getenv("ROTA_SCHEDULING_NODE"); program.empty() && from_environment) {
        program = from_environment;
    }
    if (program.empty()) FAIL("no scheduling_node: build the examples, or set ROTA_SCHEDULING_NODE");
    return program;
#endif
}

[[nodiscard]] std::set<std::string> schedules(int count) {
    std::set<std::string> names;
    for (int i = 0; i < count; ++i) names.insert("schedule-" + std::to_string(i));
    return names;
}

/// scheduling_node processes that share a group, and what they have said.
class node_group {
public:
    node_group(redis_server const& server, std::vector<std::string> arguments) : arguments_{std::move(arguments)} {
        arguments_.insert(arguments_.end(), {"--redis", server.url(), "--prefix", "roster:", "--json"});
    }

    void start(std::string const& name) {
        std::vector<std::string> command{scheduling_node_program(), name};
        command.insert(command.end(), arguments_.begin(), arguments_.end());
        auto node = child_process::spawn(command);
        lines_.add(name, node.take_stdout());
        nodes_.insert_or_assign(name, std::move(node));
    }

    [[nodiscard]] child_process& operator[](std::string const& name) { return nodes_.at(name); }

    /// Takes in what the nodes have said meanwhile. Only a killed node may end in the middle of a line.
    run_history& history() {
        for (auto const& line : lines_.take()) {
            last_line_ = line.arrived;
            if (!line.whole) {
                auto const status = nodes_.at(line.source).exit_status(1s);
                INFO(line.source << " said at its end: " << line.text);
                REQUIRE((status && status->signal == SIGKILL));
                continue;
            }
            INFO(line.source << " said: " << line.text);
            REQUIRE_NOTHROW(history_.add(line.text));
            if (line.text.find("\"run_") == std::string::npos) recent_.push_back(line.text);
            if (recent_.size() > 200) recent_.pop_front();
        }
        return history_;
    }

    template <typename Condition>
    [[nodiscard]] bool wait(deadline until, Condition&& condition) {
        return poll_until(until, [&] { return condition(history()); }, 10ms);
    }

    /// Nobody has said anything for that long.
    [[nodiscard]] bool quiet_for(std::chrono::milliseconds time) const {
        return deadline::clock::now() - last_line_ >= time;
    }

    [[nodiscard]] bool all_said_their_last(deadline until) { return lines_.wait_all_ended(until); }

    /// For CHECK: empty if nothing was found; else all of it, and what the nodes said last but for their runs.
    [[nodiscard]] std::string listed(std::vector<violation> const& found) const {
        if (found.empty()) return "";
        std::string text;
        for (auto const& each : found) text += Catch::Detail::stringify(each) + '\n';
        for (auto const& line : recent_) text += line + '\n';
        return text;
    }

private:
    std::vector<std::string> arguments_;
    std::map<std::string, child_process> nodes_;
    rota::test::line_collector lines_;
    run_history history_;
    std::deque<std::string> recent_;
    deadline::clock::time_point last_line_ = deadline::clock::now();
};

[[nodiscard]] std::map<std::string, int> loads(run_history const& history) {
    std::map<std::string, int> result;
    for (auto const& [schedule, owner] : history.owners()) ++result[owner];
    return result;
}

[[nodiscard]] bool has_run_since(run_history const& history, std::string const& node, moment since) {
    auto const& runs = history.runs();
    return std::any_of(runs.rbegin(), runs.rend(),
                       [&](auto const& run) { return run.node == node && run.started > since; });
}

}  // namespace

TEST_CASE("Three processes share schedules, and outlive a kill, a pause and a leave", "[scheduling_node]") {
    bool const pause_the_leader = GENERATE(false, true);
    CAPTURE(pause_the_leader);
    constexpr auto node_ttl = 1s;
    constexpr auto lease = 1s;
    constexpr moment takeover_bound = std::max(node_ttl, lease) + 500ms;
    auto const all = schedules(30);

    redis_server server;
    node_group group{server,
                     {"--heartbeat", "200ms", "--node-ttl", "1s", "--lease", "1s", "--schedules", "30", "--work", "5ms",
                      "--period", "100ms"}};
    std::set<std::string> alive{"node-1", "node-2", "node-3"};
    for (auto const& node : alive) group.start(node);

    INFO("given three nodes that share the work, each with its part, and one that leads");
    REQUIRE(group.wait(15s, [&](run_history const& history) {
        auto const load = loads(history);
        std::set<std::string> run;
        for (auto const& each : history.runs()) run.insert(each.schedule);
        return run == all && load.size() == 3 &&
               std::all_of(load.begin(), load.end(), [](auto const& node) { return node.second >= 5; }) &&
               history.leader();
    }));
    auto const first_leader = group.history().leader()->leader;
    REQUIRE(alive.count(first_leader) == 1);

    INFO("when the leader is killed, every schedule runs again in time");
    auto const before_kill = monotonic_now();
    group[first_leader].kill();
    group.history().killed(first_leader, monotonic_now());
    alive.erase(first_leader);
    auto const after_kill = [&](run_history const& history) {
        return history.check_run_again(all, first_leader, before_kill, takeover_bound);
    };
    (void)group.wait(takeover_bound + 5s, [&](run_history const& history) { return after_kill(history).empty(); });
    REQUIRE(group.listed(after_kill(group.history())) == "");
    REQUIRE(group.wait(5s, [&](run_history const& h) { return h.leader()->leader != first_leader; }));

    INFO("when another is paused, the last one takes its part over");
    auto const second_leader = group.history().leader()->leader;
    REQUIRE(alive.count(second_leader) == 1);
    auto const follower = *alive.begin() == second_leader ? *alive.rbegin() : *alive.begin();
    auto const paused = pause_the_leader ? second_leader : follower;
    auto const last_one = pause_the_leader ? follower : second_leader;
    auto const before_pause = monotonic_now();
    deadline const wake_up = 3s;
    REQUIRE(group[paused].pause());
    (void)poll_until(wake_up, [] { return false; });  // the pause itself
    auto const woken = monotonic_now();
    group.history().paused(paused, before_pause, woken);
    REQUIRE(group[paused].resume());
    REQUIRE(group.listed(group.history().check_run_again(all, paused, before_pause, takeover_bound)) == "");

    INFO("then, once awake, it notices, comes back, and gets a part again");
    REQUIRE(group.wait(10s, [&](run_history const& history) {
        return history.last(paused, "joined") > woken && has_run_since(history, paused, woken) &&
               loads(history)[paused] >= 5;
    }));
    CHECK(group.listed(group.history().check_pauses()) == "");

    INFO("when the last one is asked to stop, it leaves in order, and the other has all at once");
    REQUIRE(group[last_one].signal(SIGTERM));
    CHECK(group[last_one].exit_status(5s) == rota::test::process_exit{.code = 0});
    REQUIRE(group.wait(2s, [&](run_history const& history) { return history.last(last_one, "left").has_value(); }));
    auto const left = *group.history().last(last_one, "left");
    auto const after_leave = [&](run_history const& history) { return history.check_new_owners(all, last_one, 100ms); };
    (void)group.wait(3s, [&](run_history const& history) { return after_leave(history).empty(); });
    CHECK(group.listed(after_leave(group.history())) == "");
    CHECK(group.wait(
        3s, [&](run_history const& history) { return history.check_run_again(all, last_one, left, 3s).empty(); }));

    INFO("and when all have ended, no run was out of order");
    REQUIRE(group[paused].signal(SIGINT));
    CHECK(group[paused].exit_status(5s) == rota::test::process_exit{.code = 0});
    REQUIRE(group.all_said_their_last(2s));
    auto const& history = group.history();
    CHECK(history.last(paused, "left").has_value());
    CHECK(group.listed(history.check()) == "");
    CHECK(group.listed(history.check_pauses()) == "");
    CHECK(history.runs().size() > 500);
}

TEST_CASE("A node and heartbeat cost one script call while nothing happens", "[scheduling_node]") {
    int const schedule_count = GENERATE(10, 10'000);
    CAPTURE(schedule_count);
    constexpr auto heartbeat = 200ms;
    constexpr int node_count = 3;

    redis_server server;
    node_group group{server,
                     {"--heartbeat", "200ms", "--node-ttl", "3s", "--lease", "3s", "--schedules",
                      std::to_string(schedule_count), "--idle"}};
    for (int i = 1; i <= node_count; ++i) group.start("node-" + std::to_string(i));

    INFO("given three idle nodes, each with its part, and five heartbeats without news");
    REQUIRE(group.wait(60s, [&](run_history const& history) {
        return history.owned() == static_cast<std::size_t>(schedule_count) && group.quiet_for(5 * heartbeat) &&
               loads(history).size() == node_count;
    }));
    CHECK(server.info("clients").at("blocked_clients") == std::to_string(node_count));

    INFO("when twenty more pass");
    auto const started = monotonic_now();
    auto const before = server.command_calls();
    (void)poll_until(20 * heartbeat, [] { return false; });
    auto const after = server.command_calls();
    auto const heartbeats = static_cast<double>((monotonic_now() - started).count()) / moment{heartbeat}.count();
    (void)group.history();
    REQUIRE(group.quiet_for(20 * heartbeat));

    INFO("then each made one script call per heartbeat, and none read again");
    auto const calls = [&](std::string const& command) {
        auto const count = [&](auto const& all) { return all.count(command) == 1 ? all.at(command) : 0; };
        return static_cast<double>(count(after) - count(before));
    };
    CAPTURE(heartbeats);
    CHECK(std::abs(calls("evalsha") - node_count * heartbeats) <= node_count + 1);
    for (auto const* other : {"eval", "fcall", "xread", "xreadgroup", "blpop", "brpop", "subscribe"}) {
        CAPTURE(other);
        CHECK(calls(other) == 0);
    }

    INFO("and they still leave in order");
    for (int i = 1; i <= node_count; ++i) {
        auto& node = group["node-" + std::to_string(i)];
        REQUIRE(node.signal(SIGTERM));
        CHECK(node.exit_status(10s) == rota::test::process_exit{.code = 0});
    }
    REQUIRE(group.all_said_their_last(2s));
    CHECK(group.listed(group.history().check()) == "");
    CHECK(group.history().runs().empty());
}

TEST_CASE("A node that is started before Redis comes up when Redis does", "[scheduling_node]") {
    redis_server server;
    server.stop();
    node_group group{server, {"--heartbeat", "200ms", "--node-ttl", "1s", "--lease", "1s", "--schedules", "3"}};
    group.start("node-1");

    CHECK_FALSE(group["node-1"].exit_status(500ms));
    CHECK_FALSE(group.history().first("node-1", "joined"));

    server.start();
    CHECK(group.wait(10s, [](run_history const& history) { return history.runs().size() >= 3; }));
    REQUIRE(group["node-1"].signal(SIGTERM));
    CHECK(group["node-1"].exit_status(5s) == rota::test::process_exit{.code = 0});
    REQUIRE(group.all_said_their_last(2s));
    CHECK(group.listed(group.history().check()) == "");
}
