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
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <rota/coordinator.hpp>
#include <rota/transport/hiredis_sync.hpp>

#include "../catch.hpp"
#include "../support/child_process.hpp"
#include "../support/json_line.hpp"
#include "../support/poll_until.hpp"
#include "../support/redis_server.hpp"
#include "../support/run_history.hpp"

#if __has_include("programs.hpp")
#include "programs.hpp"  // written by the build
#endif

namespace scheduling_node_test {

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

/// scheduling_node processes that share a group, and what they have said. `kind`: blocking, async, or mixed: every second one
/// of those that are started is async.
class node_group {
public:
    node_group(redis_server const& server, std::string kind, std::vector<std::string> arguments)
        : kind_{std::move(kind)},
          arguments_{std::move(arguments)} {
        arguments_.insert(arguments_.end(), {"--redis", server.url(), "--prefix", "roster:", "--json"});
    }

    void start(std::string const& name, std::vector<std::string> const& more = {}) {
        std::vector<std::string> command{scheduling_node_program(), name};
        command.insert(command.end(), arguments_.begin(), arguments_.end());
        command.insert(command.end(), more.begin(), more.end());
        if (kind_ == "async" || (kind_ == "mixed" && nodes_.size() % 2 == 1)) command.push_back("--async");
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
            REQUIRE_NOTHROW(take_in(line.source, line.text));
            if (line.text.find("\"run_") == std::string::npos) recent_.push_back(line.text);
            if (recent_.size() > 200) recent_.pop_front();
        }
        return history_;
    }

    template <typename Condition>
    [[nodiscard]] bool wait(deadline until, Condition&& condition) {
        return poll_until(until, [&] { return condition(history()); }, 10ms);
    }

    /// When the node last said this, whatever it is; nothing if it never did.
    [[nodiscard]] std::optional<moment> last(std::string const& node, std::string const& event) const {
        auto const found = said_.find({node, event});
        return found == said_.end() ? std::nullopt : std::optional{found->second};
    }

    /// How many schedules the node says that it owns, and the most that it ever said.
    [[nodiscard]] std::size_t owned_by(std::string const& node) const { return of(owned_, node).size(); }
    [[nodiscard]] std::size_t most_owned_by(std::string const& node) const { return of(most_owned_, node); }

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
    template <typename Map>
    [[nodiscard]] static typename Map::mapped_type of(Map const& map, std::string const& node) {
        auto const found = map.find(node);
        return found == map.end() ? typename Map::mapped_type{} : found->second;
    }

    void take_in(std::string const& node, std::string const& text) {
        auto const line = rota::test::parse_json_line(text);
        auto const& event = line.at("event").string();
        said_[{node, event}] = moment{line.at("mono_us").integer()};
        if (event != "ownership") return;
        auto const& to = line.at("to");
        auto& owned = owned_[node];
        auto const& schedule = line.at("schedule").string();
        if (!to.is_null() && to.string() == node) {
            owned.insert(schedule);
        } else {
            owned.erase(schedule);
        }
        most_owned_[node] = std::max(most_owned_[node], owned.size());
    }

    std::string kind_;
    std::vector<std::string> arguments_;
    std::map<std::pair<std::string, std::string>, moment> said_;
    std::map<std::string, std::set<std::string>> owned_;
    std::map<std::string, std::size_t> most_owned_;
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

/// The runs of a node that have begun and not ended, and began after `since`.
[[nodiscard]] std::vector<rota::test::run> in_progress(run_history const& history, std::string const& node,
                                                       moment since = {}) {
    std::vector<rota::test::run> found;
    for (auto const& run : history.runs()) {
        if (run.node == node && !run.finished && run.started > since) found.push_back(run);
    }
    return found;
}

/// That very run, as it stands now.
[[nodiscard]] rota::test::run latest(run_history const& history, rota::test::run const& of) {
    for (auto const& run : history.runs()) {
        if (run.token == of.token && run.schedule == of.schedule) return run;
    }
    return of;
}

/// The first run of its schedule after this one.
[[nodiscard]] std::optional<rota::test::run> run_after(run_history const& history, rota::test::run const& earlier) {
    std::optional<rota::test::run> next;
    for (auto const& run : history.runs()) {
        if (run.schedule != earlier.schedule || run.token <= earlier.token) continue;
        if (!next || run.token < next->token) next = run;
    }
    return next;
}

/// What the group says of its nodes: asked by one who is no member.
class onlooker {
public:
    explicit onlooker(redis_server const& server)
        : coordinator_{{.node_id = "onlooker", .key_prefix = "roster:"}, rota::hiredis_sync{server.url()}} {}

    [[nodiscard]] std::optional<rota::node_status> node(std::string const& name) {
        auto const all = coordinator_.nodes();
        REQUIRE(all);
        for (auto const& each : *all) {
            if (each.node.id == name) return each;
        }
        return std::nullopt;
    }

private:
    rota::basic_coordinator<rota::hiredis_sync> coordinator_;
};

[[nodiscard]] bool has_run_since(run_history const& history, std::string const& node, moment since) {
    auto const& runs = history.runs();
    return std::any_of(runs.rbegin(), runs.rend(),
                       [&](auto const& run) { return run.node == node && run.started > since; });
}

}  // namespace

TEST_CASE("Three processes share schedules, and outlive a kill, a pause and a leave", "[scheduling_node]") {
    auto const [kind, pause_the_leader] = GENERATE(table<std::string, bool>(
        {{"blocking", false}, {"blocking", true}, {"async", false}, {"async", true}, {"mixed", true}}));
    CAPTURE(kind, pause_the_leader);
    constexpr auto node_ttl = 1s;
    constexpr auto lease = 1s;
    constexpr moment takeover_bound = std::max(node_ttl, lease) + 500ms;
    auto const all = schedules(30);

    redis_server server;
    node_group group{server,
                     kind,
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
    auto const [kind, schedule_count] =
        GENERATE(table<std::string, int>({{"blocking", 10}, {"blocking", 10'000}, {"async", 10'000}}));
    CAPTURE(kind, schedule_count);
    constexpr auto heartbeat = 200ms;
    constexpr int node_count = 3;

    redis_server server;
    node_group group{server,
                     kind,
                     {"--heartbeat", "200ms", "--node-ttl", "3s", "--lease", "3s", "--schedules",
                      std::to_string(schedule_count), "--idle"}};
    for (int i = 1; i <= node_count; ++i) group.start("node-" + std::to_string(i));

    INFO("given three idle nodes, each with its part, and five heartbeats without news");
    REQUIRE(group.wait(60s, [&](run_history const& history) {
        return history.owned() == static_cast<std::size_t>(schedule_count) && group.quiet_for(5 * heartbeat) &&
               loads(history).size() == node_count;
    }));
    CHECK(server.info("clients").at("blocked_clients") == std::to_string(node_count));

    INFO("and a leader that has looked through all records for damage");
    auto const script_calls = [&] { return static_cast<std::int64_t>(server.command_calls()["evalsha"]); };
    auto seen_at = deadline::clock::now();
    auto seen = script_calls();
    REQUIRE(poll_until(60s, [&] {
        auto const now = deadline::clock::now();
        if (now - seen_at < 5 * heartbeat) return false;
        auto const before = std::exchange(seen, script_calls());
        auto const heartbeats = (now - std::exchange(seen_at, now)) / heartbeat;
        return seen - before <= node_count * (heartbeats + 1);
    }));

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

TEST_CASE("A drained process hands its schedules over after their runs, stays a member, and comes back",
          "[scheduling_node]") {
    auto const kind = GENERATE(as<std::string>{}, "blocking", "async");
    CAPTURE(kind);
    bool const drain_the_leader = GENERATE(false, true);
    CAPTURE(drain_the_leader);
    constexpr auto node_ttl = 1s;
    constexpr auto work = 3s;

    redis_server server;
    onlooker group_seen{server};
    node_group group{server,
                     kind,
                     {"--heartbeat", "200ms", "--node-ttl", "1s", "--lease", "1s", "--schedules", "6", "--work", "3s",
                      "--period", "100ms"}};
    group.start("node-1", {"--zone", "east", "--labels", "ssd,gpu"});
    group.start("node-2", {"--zone", "west"});

    INFO("given two nodes, each with a part, and in the middle of a run of three seconds");
    REQUIRE(group.wait(15s, [&](run_history const& history) { return history.leader() && history.owned() == 6; }));
    auto const leader = group.history().leader()->leader;
    auto const other_one = [](std::string const& node) { return std::string{node == "node-1" ? "node-2" : "node-1"}; };
    auto const drained = drain_the_leader ? leader : other_one(leader);
    auto const other = other_one(drained);
    REQUIRE(group.wait(10s, [&](run_history const& history) {
        auto const runs = in_progress(history, drained, monotonic_now() - 1s);
        return group.owned_by(drained) == 3 && group.owned_by(other) == 3 && !runs.empty();
    }));
    auto const in_hand = in_progress(group.history(), drained).front();
    CHECK(rota::attributes_of(group_seen.node("node-1")->traits) ==
          rota::node_attributes{.zone = "east", .labels = {"gpu", "ssd"}});
    CHECK(rota::attributes_of(group_seen.node("node-2")->traits) == rota::node_attributes{.zone = "west"});

    INFO("when one gets SIGUSR1, it hands over what is idle at once, while it finishes its run");
    auto const incarnation = group_seen.node(drained)->node.incarnation;
    REQUIRE(group[drained].signal(SIGUSR1));
    REQUIRE(group.wait(1s, [&](run_history const&) { return group.last(drained, "draining").has_value(); }));
    REQUIRE(group.wait(1s, [&](run_history const& history) {
        return history.owners()[in_hand.schedule] == drained && loads(history)[other] == 5;
    }));
    REQUIRE_FALSE(latest(group.history(), in_hand).finished);
    CHECK_FALSE(group.last(drained, "drained"));

    INFO("then the run comes to its end, and only after it does the other begin one");
    REQUIRE(group.wait(work + 1s, [&](run_history const& history) { return latest(history, in_hand).finished; }));
    auto const finished = latest(group.history(), in_hand);
    CHECK(*finished.finished - finished.started >= work);
    REQUIRE(group.wait(1s, [&](run_history const& history) { return loads(history)[other] == 6; }));
    REQUIRE(group.wait(6 * (work + 1s), [&](run_history const& history) { return run_after(history, finished); }));
    auto const next = *run_after(group.history(), finished);
    CHECK(next.node == other);
    CHECK(next.started >= *finished.finished);
    CHECK(next.generation > finished.generation);

    INFO("and the drained one has said that it is empty, and goes on as the member that it was");
    REQUIRE(group.wait(2s, [&](run_history const&) { return group.last(drained, "drained").has_value(); }));
    auto const empty_since = *group.last(drained, "drained");
    CHECK(empty_since >= *finished.finished);
    REQUIRE_FALSE(poll_until(3 * node_ttl, [&] {
        auto const seen = group_seen.node(drained);
        bool const as_it_was = seen && seen->alive && seen->node.incarnation == incarnation && seen->draining &&
                               seen->load == 0 && seen->pending == 0;
        return !as_it_was;
    }));
    CHECK(group.owned_by(drained) == 0);
    CHECK_FALSE(has_run_since(group.history(), drained, *finished.finished));
    CHECK_FALSE(group.history().last(drained, "suspended"));

    INFO("when it gets SIGUSR1 once more, it has a part again");
    REQUIRE(group[drained].signal(SIGUSR1));
    REQUIRE(group.wait(2s, [&](run_history const&) { return group.last(drained, "undrained").has_value(); }));
    REQUIRE(group.wait(2s, [&](run_history const& history) {
        return group.owned_by(drained) == 3 && has_run_since(history, drained, empty_since);
    }));
    CHECK_FALSE(group_seen.node(drained)->draining);

    for (auto const* node : {"node-1", "node-2"}) {
        REQUIRE(group[node].signal(SIGTERM));
        CHECK(group[node].exit_status(work + 2s) == rota::test::process_exit{.code = 0});
    }
    REQUIRE(group.all_said_their_last(2s));
    CHECK(group.listed(group.history().check()) == "");
}

TEST_CASE("A drained process that is started anew stays drained", "[scheduling_node]") {
    auto const kind = GENERATE(as<std::string>{}, "blocking", "async", "mixed");
    CAPTURE(kind);
    redis_server server;
    onlooker group_seen{server};
    node_group group{server, kind, {"--heartbeat", "200ms", "--node-ttl", "1s", "--lease", "1s", "--schedules", "4"}};
    group.start("node-1");
    group.start("node-2");
    REQUIRE(group.wait(15s, [&](run_history const&) { return group.owned_by("node-1") == 2; }));
    REQUIRE(group["node-1"].signal(SIGUSR1));
    REQUIRE(group.wait(2s, [&](run_history const&) { return group.last("node-1", "drained").has_value(); }));

    auto const restarted = monotonic_now();
    REQUIRE(group["node-1"].signal(SIGTERM));
    CHECK(group["node-1"].exit_status(5s) == rota::test::process_exit{.code = 0});
    group.start("node-1");

    REQUIRE(group.wait(5s, [&](run_history const&) { return group.last("node-1", "drained") > restarted; }));
    CHECK(group.last("node-1", "draining") > restarted);
    CHECK(group_seen.node("node-1")->draining);
    CHECK(group.owned_by("node-1") == 0);

    REQUIRE(group["node-1"].signal(SIGUSR1));
    CHECK(group.wait(2s, [&](run_history const&) { return group.owned_by("node-1") == 2; }));
    CHECK(group.last("node-1", "undrained") > restarted);
}

TEST_CASE("A run in hand is finished when its schedule goes to a process that has just joined", "[scheduling_node]") {
    auto const kind = GENERATE(as<std::string>{}, "blocking", "async");
    CAPTURE(kind);
    constexpr auto work = 3s;
    constexpr std::size_t count = 6;

    redis_server server;
    onlooker group_seen{server};
    node_group group{server,
                     kind,
                     {"--heartbeat", "200ms", "--node-ttl", "1s", "--lease", "1s", "--schedules", std::to_string(count),
                      "--work", "3s", "--period", "100ms", "--threads", std::to_string(count)}};

    INFO("given a node that runs all of its schedules at once, so that none is idle");
    group.start("node-1");
    std::vector<rota::test::run> in_hand;
    REQUIRE(group.wait(10s, [&](run_history const& history) {
        in_hand = in_progress(history, "node-1", monotonic_now() - 1s);
        return in_hand.size() == count;
    }));

    INFO("when two others join, of which one takes no more than one");
    group.start("node-2");
    group.start("node-3", {"--capacity", "1"});

    INFO("then they get their share, each schedule when its run has come to its end");
    REQUIRE(group.wait(3 * work, [&](run_history const& history) {
        bool const all_finished =
            std::all_of(in_hand.begin(), in_hand.end(), [&](auto const& run) { return latest(history, run).finished; });
        return all_finished && group.owned_by("node-2") >= 2 && group.owned_by("node-3") == 1 &&
               has_run_since(history, "node-2", {}) && has_run_since(history, "node-3", {});
    }));
    auto const& history = group.history();
    int moved = 0;
    for (auto const& run : in_hand) {
        auto const finished = latest(history, run);
        CAPTURE(finished.schedule);
        REQUIRE(finished.finished);
        CHECK(*finished.finished - finished.started >= work);
        auto const next = run_after(history, finished);
        if (!next) continue;
        CHECK(next->started >= *finished.finished);
        if (next->node == "node-1") continue;
        CHECK(next->generation > finished.generation);
        ++moved;
    }
    CHECK(moved > 0);

    INFO("and when all but the small one leave, it takes no more than it may");
    for (auto const* node : {"node-1", "node-2"}) REQUIRE(group[node].signal(SIGTERM));
    for (auto const* node : {"node-1", "node-2"}) {
        CHECK(group[node].exit_status(work + 2s) == rota::test::process_exit{.code = 0});
    }
    REQUIRE(group.wait(5s, [&](run_history const& h) { return h.last("node-1", "left") && h.last("node-2", "left"); }));
    auto const left = std::max(*group.history().last("node-1", "left"), *group.history().last("node-2", "left"));
    REQUIRE(group.wait(2 * (work + 1s), [&](run_history const& h) { return has_run_since(h, "node-3", left); }));
    auto const alone = group_seen.node("node-3");
    REQUIRE(alone);
    CHECK(alone->capacity == 1);
    CHECK(alone->load + alone->pending == 1);
    CHECK(group.most_owned_by("node-3") == 1);

    REQUIRE(group["node-3"].signal(SIGTERM));
    CHECK(group["node-3"].exit_status(work + 2s) == rota::test::process_exit{.code = 0});
    REQUIRE(group.all_said_their_last(2s));
    CHECK(group.listed(group.history().check()) == "");
}

TEST_CASE("Processes share schedules evenly over zones, among those with the labels that are required",
          "[scheduling_node]") {
    auto const kind = GENERATE(as<std::string>{}, "blocking", "async", "mixed");
    CAPTURE(kind);
    redis_server server;
    node_group group{server,
                     kind,
                     {"--heartbeat", "200ms", "--node-ttl", "1s", "--lease", "1s", "--schedules", "8", "--require",
                      "disk", "--threshold", "0", "--idle"}};
    bool const labelled = GENERATE(true, false);
    CAPTURE(labelled);
    if (labelled) {
        INFO("given one without the label");
        group.start("node-1", {"--labels", "gpu"});
        group.start("node-2", {"--labels", "gpu,disk"});
        group.start("node-3", {"--labels", "disk"});
        CHECK(group.wait(
            15s, [&](run_history const&) { return group.owned_by("node-2") == 4 && group.owned_by("node-3") == 4; }));
        CHECK(group.most_owned_by("node-1") == 0);
    } else {
        INFO("given two in one zone and one in another");
        group.start("node-1", {"--labels", "disk", "--zone", "east"});
        group.start("node-2", {"--labels", "disk", "--zone", "west"});
        group.start("node-3", {"--labels", "disk", "--zone", "east"});
        CHECK(group.wait(15s, [&](run_history const&) {
            return group.owned_by("node-1") == 2 && group.owned_by("node-2") == 4 && group.owned_by("node-3") == 2;
        }));
    }
}

TEST_CASE("A node that is started before Redis comes up when Redis does", "[scheduling_node]") {
    auto const kind = GENERATE(as<std::string>{}, "blocking", "async");
    CAPTURE(kind);
    redis_server server;
    server.stop();
    node_group group{server, kind, {"--heartbeat", "200ms", "--node-ttl", "1s", "--lease", "1s", "--schedules", "3"}};
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

TEST_CASE("A node that is asked to stop finishes its run, and ends at once when asked twice", "[scheduling_node]") {
    auto const kind = GENERATE(as<std::string>{}, "blocking", "async");
    CAPTURE(kind);
    redis_server server;
    node_group group{server, kind, {"--heartbeat", "200ms", "--node-ttl", "1s", "--lease", "1s", "--work", "700ms"}};
    group.start("node-1");
    REQUIRE(group.wait(10s, [&](run_history const& history) { return !in_progress(history, "node-1").empty(); }));
    auto const in_hand = in_progress(group.history(), "node-1").front();

    bool const twice = GENERATE(false, true);
    CAPTURE(twice);
    REQUIRE(group["node-1"].signal(SIGTERM));
    CHECK_FALSE(group["node-1"].exit_status(100ms));
    if (twice) REQUIRE(group["node-1"].signal(SIGTERM));
    CHECK(group["node-1"].exit_status(twice ? 200ms : 5s) ==
          rota::test::process_exit{.code = twice ? 128 + SIGTERM : 0});

    REQUIRE(group.all_said_their_last(2s));
    CHECK(latest(group.history(), in_hand).finished.has_value() == !twice);
    CHECK(group.history().runs().back().token == in_hand.token);  // none began after it
    CHECK(group.last("node-1", "left").has_value() == !twice);
}

TEST_CASE("A node that is replaced by a newer process of its name says so, and ends", "[scheduling_node]") {
    auto const kind = GENERATE(as<std::string>{}, "blocking", "async");
    CAPTURE(kind);
    redis_server server;
    std::vector<std::string> const arguments{"--heartbeat", "200ms", "--node-ttl", "1s", "--lease", "1s"};
    node_group older{server, kind, arguments};
    older.start("node-1");
    REQUIRE(older.wait(10s, [](run_history const& history) { return !history.runs().empty(); }));

    node_group newer{server, kind, arguments};
    newer.start("node-1");

    CHECK(older["node-1"].exit_status(5s) == rota::test::process_exit{.code = 1});
    REQUIRE(older.all_said_their_last(2s));
    (void)older.history();
    CHECK(older.last("node-1", "fenced"));
    CHECK(newer.wait(5s, [](run_history const& history) { return !history.runs().empty(); }));
}

}  // namespace scheduling_node_test
