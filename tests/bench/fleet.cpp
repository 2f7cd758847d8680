// What a large group costs while nothing happens: 1,000 nodes of one group, asynchronous coordinators on one poll_loop in
// one process, next to 1,000 bare connections of another process, each of which calls one minimal script a second (TIME
// and a ZADD, what a heartbeat cannot do without).
//
// Each kind has a Redis of its own, and all four processes run at the same time, so that a busy machine disturbs both
// alike. Nodes and connections start one after the other, so that heartbeats are spread over the second, and a server has
// as a rule one request to serve when it wakes. Of both kinds is told what CPU time the server takes and the
// client's, and how much memory the client's process has grown by.
//
// The servers share a CPU, and so do the clients, where there is more than one; where the system allows it, all go
// before other programs.
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rota/async_coordinator.hpp>
#include <rota/loop/poll_loop.hpp>
#include <rota/transport/hiredis_async.hpp>

#include "../support/child_process.hpp"
#include "../support/redis_server.hpp"
#include "bare_hiredis.hpp"
#include "figures.hpp"
#include "server_figures.hpp"

namespace {

using namespace rota::test;
using namespace std::chrono_literals;

constexpr char usage[] =
    "usage: bench_fleet [--nodes N] [--seconds N] [--quick] [--any-cpu] [--help]\n"
    "\n"
    "  --nodes N     of the group, and bare connections (1000)\n"
    "  --seconds N   to look at them for, once all take part (20)\n"
    "  --quick       a smoke run: 200 nodes for 1 s\n"
    "  --any-cpu     leave it to the system on which CPUs servers and clients run, and when\n"
    "\n"
    "Heartbeat 1 s, node ttl and leader lease 3 s.\n";

constexpr char prefix[] = "bench-fleet:";
constexpr auto heartbeat = 1s;

/// From the start of one node to that of the next.
constexpr std::chrono::microseconds apart(unsigned long count) { return std::chrono::microseconds{heartbeat} / count; }

/// SIGTERM as something to poll.
unique_fd end_signal() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    unique_fd made{::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK)};
    if (!made) throw_errno("signalfd");
    return made;
}

// Lines on stdout: "ready <bytes that the process has grown by>"; at the end "leaders <how many>" and "grown <bytes>".
void say(char const* what, double number) {
    std::printf("%s %.0f\n", what, number);
    std::fflush(stdout);
}

// ---------------------------------------------------------------- rota

int run_fleet(std::string const& url, unsigned long count) {
    auto const end = end_signal();
    using node = rota::basic_coordinator<rota::hiredis_async>;
    bool failed = false;
    rota::poll_loop loop;
    std::vector<std::unique_ptr<node>> nodes;
    nodes.reserve(count);
    auto const before = memory_bytes("VmRSS");
    for (unsigned long i = 0; i < count; ++i) {
        nodes.push_back(std::make_unique<node>(rota::options{.node_id = "node-" + std::to_string(i),
                                                             .key_prefix = prefix,
                                                             .heartbeat_interval = heartbeat,
                                                             .operation_timeout = 1s},
                                               rota::hiredis_async{url, loop}));
        nodes.back()->run([&](rota::result<void> ended) {
            if (ended || ended.error() == rota::errc::cancelled) return;
            std::fprintf(stderr, "a node ended: %s\n", ended.error().message().c_str());
            failed = true;
        });
        loop.run_for(apart(count));
    }
    auto const leaders = [&] {
        std::size_t leading = 0;
        for (auto const& each : nodes) leading += each->is_leader() ? 1 : 0;
        return leading;
    };
    auto const all_joined = [&] {
        for (auto const& each : nodes) {
            if (!each->leader()) return false;
        }
        return true;
    };
    if (!loop.run_until(all_joined, 60s) || leaders() != 1) throw std::runtime_error("not all have joined");
    say("ready", memory_bytes("VmRSS") - before);
    auto const watch =
        rota::loop_ref{loop}.watch(end.get(), rota::io_interest::readable, [&](rota::io_interest) { loop.stop(); });
    loop.run();
    say("leaders", static_cast<double>(leaders()));
    say("grown", memory_bytes("VmRSS") - before);
    return failed ? 1 : 0;
}

// ---------------------------------------------------------------- bare hiredis

// KEYS: nodes. ARGV: node, ttl.
constexpr char heartbeat_script[] = R"lua(
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000000 + time[2] + ARGV[2], ARGV[1])
return 0
)lua";

int run_bare(std::uint16_t port, unsigned long count) {
    auto const end = end_signal();
    auto const digest = bare_connection{port}.load(heartbeat_script);
    bare_loop loop;
    struct client {
        redisAsyncContext* connection;
        bare_command call;
    };
    std::vector<client> clients;
    clients.reserve(count);
    auto const before = memory_bytes("VmRSS");
    auto const on_reply = [](redisAsyncContext* c, void* reply, void*) {
        auto const* const r = static_cast<redisReply const*>(reply);
        if (r == nullptr || r->type != REDIS_REPLY_INTEGER) bare_loop::of(c).fail("no heartbeat");
    };
    auto const began = mono_ns();
    auto const step = std::chrono::nanoseconds{apart(count)}.count();
    for (unsigned long next = 0;; ++next) {
        auto const which = next % count;
        auto const due = began + static_cast<long long>(next) * step;
        for (auto now = mono_ns(); now < due; now = mono_ns()) {
            loop.turn(static_cast<int>((due - now + 999'999) / 1'000'000));
        }
        if (which == 0) {
            signalfd_siginfo info{};
            if (::read(end.get(), &info, sizeof info) == sizeof info) break;
            if (next == count) say("ready", memory_bytes("VmRSS") - before);
        }
        if (clients.size() < count) {
            clients.push_back(
                {loop.connect(port), bare_command{{"EVALSHA", digest, "1", "bench-fleet:nodes",
                                                   std::to_string(1'000'000'000'000'000 + which), "3000000"}}});
        }
        bare_loop::send(clients[which].connection, clients[which].call, on_reply, nullptr);
    }
    say("grown", memory_bytes("VmRSS") - before);
    return 0;
}

// ---------------------------------------------------------------- both

/// A server and the process of its clients.
class side {
public:
    side(std::string const& program, std::string kind, unsigned long count) : kind_{std::move(kind)} {
        client_ = child_process::spawn({program, "--as", kind_, "--url", server_.url(), "--port",
                                        std::to_string(server_.port()), "--nodes", std::to_string(count)});
    }

    [[nodiscard]] redis_server& server() { return server_; }
    [[nodiscard]] pid_t client() const { return client_.pid(); }

    /// The number in the next line, which must be of this kind.
    double await(std::string const& what, deadline until) {
        auto const line = client_.next_line(until);
        if (!line || !line->starts_with(what + " ")) {
            throw std::runtime_error(kind_ + ": no \"" + what + "\"" + (line ? " but " + *line : std::string{}));
        }
        return std::stod(line->substr(what.size()));
    }
    void end() { (void)client_.signal(SIGTERM); }

    struct used {
        double server_s, client_s;
    };
    [[nodiscard]] used cpu_now() { return {cpu_seconds_of(server_.process().pid()), cpu_seconds_of(client_.pid())}; }

private:
    std::string kind_;
    redis_server server_;
    child_process client_;
};

void print_calls(char const* who, side& s, double per) {
    auto const calls = s.server().command_calls();
    std::printf("%s: calls of each per heartbeat (those inside of scripts, too):", who);
    for (auto const& [name, count] : calls) {
        if (static_cast<double>(count) / per >= 0.001)
            std::printf(" %s %.3f", name.c_str(), static_cast<double>(count) / per);
    }
    std::printf("\n");
}

int measure(std::string const& program, unsigned long count, unsigned long seconds, bool any_cpu) {
    side rota{program, "fleet", count};
    side bare{program, "bare", count};
    if (!any_cpu) {
        run_on_cpu(1, rota.server().process().pid());
        run_on_cpu(1, bare.server().process().pid());
        run_on_cpu(0, rota.client());
        run_on_cpu(0, bare.client());
        bool first = true;
        for (auto* each : {&rota, &bare}) {
            first = run_first(each->server().process().pid()) && run_first(each->client()) && first;
        }
        std::printf("servers and clients on a CPU each%s\n", first ? ", before other programs" : "");
    }
    auto const grown = rota.await("ready", 120s);
    auto const bare_grown = bare.await("ready", 120s);
    auto const listed = rota.server().command({"ZCARD", "{" + std::string{prefix} + "}nodes"}).integer;
    std::printf("%lld of %lu nodes have joined, one leads\n", listed, count);
    if (listed != static_cast<long long>(count)) throw std::runtime_error("not all have joined");
    std::this_thread::sleep_for(heartbeat / 2);

    // Spans of 2 s, so that a disturbance of one server alone does not spoil all.
    std::chrono::seconds const span{seconds < 2 ? 1 : 2};
    (void)rota.server().command({"CONFIG", "RESETSTAT"});
    (void)bare.server().command({"CONFIG", "RESETSTAT"});
    auto const began = mono_ns();
    std::vector<double> server_us, bare_server_us, client_us, bare_client_us, ratios;
    for (unsigned long passed = 0; passed < seconds; passed += static_cast<unsigned long>(span.count())) {
        auto const a = rota.cpu_now(), b = bare.cpu_now();
        auto const from = mono_ns();
        std::this_thread::sleep_for(span);
        auto const c = rota.cpu_now(), d = bare.cpu_now();
        auto const beats = static_cast<double>(count) * static_cast<double>(mono_ns() - from) / 1e9;
        auto const us = [&](double s) { return s * 1e6 / beats; };
        server_us.push_back(us(c.server_s - a.server_s));
        bare_server_us.push_back(us(d.server_s - b.server_s));
        client_us.push_back(us(c.client_s - a.client_s));
        bare_client_us.push_back(us(d.client_s - b.client_s));
        ratios.push_back((c.server_s - a.server_s) / (d.server_s - b.server_s));
    }
    auto const beats = static_cast<double>(count) * static_cast<double>(mono_ns() - began) / 1e9;
    auto const calls = rota.server().command_calls();
    auto const scripts = static_cast<double>(calls.contains("evalsha") ? calls.at("evalsha") : 0) / beats;
    auto const reads = static_cast<double>(calls.contains("xread") ? calls.at("xread") : 0) / beats;
    print_calls("rota", rota, beats);
    print_calls("bare", bare, beats);
    rota.end();
    bare.end();
    auto const leaders = rota.await("leaders", 10s);
    auto const grown_to = rota.await("grown", 10s);
    auto const bare_grown_to = bare.await("grown", 10s);

    auto const kib_each = [&](double bytes) { return bytes / 1024 / static_cast<double>(count); };
    std::printf("\n%lu nodes and bare connections for %lu s; a heartbeat of each per second\n", count, seconds);
    std::printf("%-44s %10s %10s %10s\n", "", "rota", "bare", "ratio");
    auto const line = [](char const* name, double a, double b) {
        std::printf("%-44s %10.2f %10.2f %10.3f\n", name, a, b, a / b);
    };
    line("  CPU time of the server, µs per heartbeat", quantile(server_us), quantile(bare_server_us));
    line("  CPU time of the client, µs per heartbeat", quantile(client_us), quantile(bare_client_us));
    line("  memory of the client, KiB each, joined", kib_each(grown), kib_each(bare_grown));
    line("  memory of the client, KiB each, at the end", kib_each(grown_to), kib_each(bare_grown_to));
    std::printf("\n");
    print_figure("leaders", leaders, wanted::at_least, 1);
    print_figure("CPU time of the server, rota / bare", quantile(ratios), wanted::at_most, 1.3);
    print_figure("memory of the client, KiB per node", kib_each(grown_to), wanted::at_most, 32);
    print_figure("script calls per node and heartbeat", scripts, wanted::at_most, 1.05);
    print_figure("blocking reads per node and heartbeat", reads, wanted::at_most, 1);
    return leaders == 1 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    if (has_argument(argc, argv, "--help")) return std::fputs(usage, stdout) < 0;
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    try {
        bool const quick = has_argument(argc, argv, "--quick");
        auto const count = argument(argc, argv, "--nodes", quick ? 200ul : 1000ul);
        auto const seconds = argument(argc, argv, "--seconds", quick ? 1ul : 20ul);
        if (count == 0 || count > 5000 || seconds == 0) return std::fputs(usage, stderr), 1;
        // Three descriptors a node here, two at the server.
        rlimit files{};
        if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
            files.rlim_cur = files.rlim_max;
            (void)::setrlimit(RLIMIT_NOFILE, &files);
        }
        auto const as = argument(argc, argv, "--as");
        if (as == "fleet") return run_fleet(argument(argc, argv, "--url"), count);
        if (as == "bare") return run_bare(static_cast<std::uint16_t>(argument(argc, argv, "--port", 0ul)), count);
        return measure(argv[0], count, seconds, has_argument(argc, argv, "--any-cpu"));
    } catch (std::exception const& e) {
        std::fprintf(stderr, "bench_fleet: could not measure: %s\n", e.what());
        return 1;
    }
}
