// How long a group is without a leader, over real processes and a real Redis, and how many requests its quiet members
// make meanwhile.
//
// Four groups run side by side, their nodes child processes of this one:
//   renounce  the leader gives up leadership, again and again: from the call to another process's is_leader()
//   leave     the leader leaves, and a new node comes for it: from the call, likewise
//   kill      the leader gets SIGKILL: from its lease's end at the server to another process's is_leader()
//   idle      (a server of its own) nothing happens: script calls per node and heartbeat
//
// A node tells the time of CLOCK_MONOTONIC, which all processes share: before it calls renounce_leadership() or leave(),
// and as soon as is_leader() holds. The end of a lease is read from the leader's key, which holds it in the server's
// time, and put on the same clock by the quickest of some TIME requests.
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <rota/coordinator.hpp>
#include <rota/sink/callback_sink.hpp>
#include <rota/transport/hiredis_sync.hpp>

#include "../support/child_process.hpp"
#include "../support/redis_server.hpp"
#include "figures.hpp"

namespace {

using namespace rota::test;
using namespace std::chrono_literals;

constexpr char usage[] =
    "usage: bench_handover [--renounces N] [--leaves N] [--kills N] [--help]\n"
    "\n"
    "  --renounces N, --leaves N   rounds of about 1.1 s (15)\n"
    "  --kills N                   rounds of about 3.5 s (5)\n"
    "\n"
    "All of them at the same time. Leader lease 3 s, heartbeat 1 s.\n";

constexpr auto heartbeat = 1s;
constexpr auto lease = 3s;
constexpr double jitter_ms = 5;  // node_core::election_jitter() with this heartbeat

// ---------------------------------------------------------------- a node: a process of its own

// Lines on stdout: "leads <ns>", "renounces <ns>", "leaves <ns>". SIGUSR1: renounce; SIGTERM: leave.
int run_node(std::string const& id, std::string const& url, std::string const& prefix) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    auto const say = [](char const* what, long long when) {
        std::printf("%s %lld\n", what, when);
        std::fflush(stdout);
    };
    std::function<bool()> leads;
    bool led = false;
    rota::basic_coordinator node{
        {.node_id = id, .key_prefix = prefix, .heartbeat_interval = heartbeat, .leader_lease = lease},
        rota::hiredis_sync{url},
        rota::callback_sink{[&](rota::leadership_changed const&) {
            bool const now_leads = leads();
            if (now_leads && !led) say("leads", mono_ns());
            led = now_leads;
        }}};
    leads = [&] { return node.is_leader(); };

    std::jthread const heart{[&](std::stop_token const& stop) {
        if (auto r = node.run(stop); !r) std::fprintf(stderr, "%s: %s\n", id.c_str(), r.error().message().c_str());
    }};
    for (;;) {
        int signal = 0;
        ::sigwait(&signals, &signal);
        auto const before = mono_ns();
        if (signal == SIGTERM) {
            node.leave();
            say("leaves", before);
            return 0;
        }
        if (auto r = node.renounce_leadership(); r) say("renounces", before);
    }
}

// ---------------------------------------------------------------- a group of nodes

class group {
public:
    group(std::string program, std::string url, std::string name)
        : program_{std::move(program)},
          url_{std::move(url)},
          name_{std::move(name)} {}

    /// One more node; its name is new.
    void start_node() {
        auto const id = name_ + "-" + std::to_string(++started_);
        auto node = child_process::spawn({program_, "--node", id, "--url", url_, "--prefix", prefix()});
        lines_.add(id, node.take_stdout());
        nodes_.emplace(id, std::move(node));
    }

    [[nodiscard]] std::string prefix() const { return "bench-" + name_ + ":"; }

    struct moment {
        std::string node;
        double ms = 0;
    };

    /// Waits for a line of this kind.
    moment await(std::string_view what, deadline until) {
        for (;;) {
            for (auto at = pending_.begin(); at != pending_.end(); ++at) {
                auto const space = at->text.find(' ');
                if (std::string_view{at->text}.substr(0, space) != what) continue;
                moment const found{at->source, static_cast<double>(std::stoll(at->text.substr(space + 1))) / 1e6};
                pending_.erase(at);
                return found;
            }
            if (!lines_.wait(until)) throw std::runtime_error(name_ + ": nobody " + std::string{what});
            for (auto& line : lines_.take()) pending_.push_back(std::move(line));
        }
    }

    child_process& process(std::string const& id) { return nodes_.at(id); }

private:
    std::string program_, url_, name_;
    unsigned started_ = 0;
    std::map<std::string, child_process> nodes_;
    std::vector<collected_line> pending_;
    line_collector lines_;
};

/// Milliseconds that each round took, or why there are none.
struct measurement {
    std::vector<double> ms{};
    std::string failure{};
};

/// The pause before each round: the new leader has ticked, and the others stand as they will.
constexpr auto settling = 1100ms;

void renounce(group& nodes, unsigned long rounds, std::vector<double>& ms) {
    // Who has renounced sits out one lease, so that there must be more than could renounce within one.
    for (int i = 0; i < 5; ++i) nodes.start_node();
    auto leader = nodes.await("leads", 5s);
    for (unsigned long round = 0; round < rounds; ++round) {
        std::this_thread::sleep_for(settling);
        (void)nodes.process(leader.node).signal(SIGUSR1);
        auto const gone = nodes.await("renounces", 5s);
        leader = nodes.await("leads", 5s);
        if (leader.node == gone.node) throw std::runtime_error("nobody else took over");
        ms.push_back(leader.ms - gone.ms);
    }
}

void leave(group& nodes, unsigned long rounds, std::vector<double>& ms) {
    for (int i = 0; i < 3; ++i) nodes.start_node();
    auto leader = nodes.await("leads", 5s);
    for (unsigned long round = 0; round < rounds; ++round) {
        std::this_thread::sleep_for(settling);
        (void)nodes.process(leader.node).signal(SIGTERM);
        auto const gone = nodes.await("leaves", 5s);
        leader = nodes.await("leads", 5s);
        ms.push_back(leader.ms - gone.ms);
        nodes.start_node();
    }
}

/// What to add to the server's time, in ms, to get CLOCK_MONOTONIC.
double clock_offset_ms(redis_server& server) {
    double best = 1e9, offset = 0;
    for (int i = 0; i < 20; ++i) {
        auto const before = static_cast<double>(mono_ns()) / 1e6;
        auto const time = server.command({"TIME"});
        auto const after = static_cast<double>(mono_ns()) / 1e6;
        if (time.elements.size() != 2) throw std::runtime_error("TIME: " + time.text);
        if (after - before >= best) continue;
        best = after - before;
        offset =
            (before + after) / 2 - (std::stod(time.elements[0].text) * 1e3 + std::stod(time.elements[1].text) / 1e3);
    }
    return offset;
}

void kill(group& nodes, redis_server& server, unsigned long rounds, std::vector<double>& ms) {
    for (int i = 0; i < 3; ++i) nodes.start_node();
    auto leader = nodes.await("leads", 5s);
    for (unsigned long round = 0; round < rounds; ++round) {
        std::this_thread::sleep_for(settling / 4 + 37ms * (round % 5));
        nodes.process(leader.node).kill();
        // deadline|term|incarnation|node_id
        auto const key = server.command({"GET", "{" + nodes.prefix() + "}leader"}).text;
        if (!key.ends_with("|" + leader.node)) throw std::runtime_error("the leader's key is " + key);
        auto const expiry = std::stod(key.substr(0, key.find('|'))) / 1e3 + clock_offset_ms(server);
        nodes.start_node();
        leader = nodes.await("leads", lease + 5s);
        ms.push_back(leader.ms - expiry);
    }
}

// ---------------------------------------------------------------- the table

void print(char const* what, measurement const& measured, double target) {
    if (measured.ms.empty()) {
        std::printf("%-34s not measured: %s\n", what, measured.failure.c_str());
        return;
    }
    auto const median = quantile(measured.ms);
    std::printf("%-34s %6zu %8.2f %8.2f %8.2f   median <= %g %s%s%s\n", what, measured.ms.size(),
                quantile(measured.ms, 0), median, quantile(measured.ms, 1), target, median <= target ? "met" : "MISSED",
                measured.failure.empty() ? "" : "; ended by: ", measured.failure.c_str());
}

int measure(std::string const& program, unsigned long renounces, unsigned long leaves, unsigned long kills) {
    redis_server busy;
    redis_server quiet;
    measurement renounced, left, killed;
    double calls = 0, reads = 0;
    constexpr int idle_nodes = 3;
    constexpr auto idle_time = 10 * heartbeat;
    {
        // A child dies with the thread that started it, so each group lives in a thread of its own.
        auto const start = [&](char const* name, measurement& into, auto run) {
            return std::jthread{[&, name, run] {
                try {
                    group nodes{program, busy.unix_url(), name};
                    run(nodes, into.ms);
                } catch (std::exception const& e) {
                    into.failure = e.what();
                }
            }};
        };
        auto const a = start("renounce", renounced, [&](group& n, auto& ms) { renounce(n, renounces, ms); });
        auto const b = start("leave", left, [&](group& n, auto& ms) { leave(n, leaves, ms); });
        auto const c = start("kill", killed, [&](group& n, auto& ms) { kill(n, busy, kills, ms); });

        group idle{program, quiet.unix_url(), "idle"};
        for (int i = 0; i < idle_nodes; ++i) idle.start_node();
        (void)idle.await("leads", 5s);
        std::this_thread::sleep_for(3 * heartbeat);
        (void)quiet.command({"CONFIG", "RESETSTAT"});
        std::this_thread::sleep_for(idle_time);
        auto const seen = quiet.command_calls();
        auto const per_heartbeat = [&](char const* command) {
            auto const found = seen.find(command);
            return found == seen.end() ? 0.0
                                       : static_cast<double>(found->second) / (idle_nodes * (idle_time / heartbeat));
        };
        calls = per_heartbeat("evalsha");
        reads = per_heartbeat("xread");
    }

    std::printf("leader lease 3 s, heartbeat 1 s; ms without a leader\n");
    std::printf("%-34s %6s %8s %8s %8s\n", "", "rounds", "least", "median", "most");
    print("renounce_leadership() to is_leader()", renounced, 2);
    print("leave() to is_leader()", left, 2);
    print("SIGKILL: lease's end to is_leader()", killed, 2 + jitter_ms);
    std::printf("(2 ms and up to %g ms of configured jitter after a SIGKILL)\n\n", jitter_ms);
    std::printf("%d nodes at rest for %lld s\n", idle_nodes, static_cast<long long>(idle_time / 1s));
    // The edges of the time looked at may cut off half a heartbeat each.
    print_figure("script calls per node and heartbeat", calls, wanted::at_most, 1.0 + 1.0 / 10);
    print_figure("blocking reads issued per node and heartbeat", reads, wanted::at_most, 0);
    return renounced.ms.empty() || left.ms.empty() || killed.ms.empty() ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (has_argument(argc, argv, "--help")) return std::fputs(usage, stdout) < 0;
    try {
        if (auto const id = argument(argc, argv, "--node"); !id.empty()) {
            return run_node(id, argument(argc, argv, "--url"), argument(argc, argv, "--prefix"));
        }
        return measure(argv[0], argument(argc, argv, "--renounces", 15ul), argument(argc, argv, "--leaves", 15ul),
                       argument(argc, argv, "--kills", 5ul));
    } catch (std::exception const& e) {
        std::fprintf(stderr, "bench_handover: could not measure: %s\n", e.what());
        return 1;
    }
}
