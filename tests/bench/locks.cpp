// What a lock costs through a coordinator, next to bare hiredis that calls the very same scripts with the same bytes
// (taken from detail::encode once; a release gets the token that its acquisition brought).
//
// Both take turns in one run over a connection of their own to one server, a few pairs at a time and in changing order,
// so that a busy machine disturbs both alike; the figure is the median of the ratios of neighbours.
//
// Client and server get a CPU each (and, where the system allows it, go before other programs). Left to itself a busy
// system runs both on one CPU, where a round trip is a mere switch between two processes: then nothing is saved by
// sending many locks at once but what Redis does for a request, and the factor is a third of what it is over a network.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <rota/coordinator.hpp>
#include <rota/transport/hiredis_sync.hpp>

#include "../support/child_process.hpp"
#include "../support/redis_server.hpp"
#include "bare_hiredis.hpp"
#include "figures.hpp"
#include "server_figures.hpp"

namespace {

using namespace rota::test;
using namespace std::chrono_literals;

constexpr char usage[] =
    "usage: bench_locks [--rounds N] [--instructions] [--any-cpu] [--help]\n"
    "\n"
    "  --rounds N      rounds per transport, of some pairs of each kind (600)\n"
    "  --instructions  also count the client's instructions per pair (needs valgrind; some seconds more)\n"
    "  --any-cpu       leave it to the system on which CPUs client and server run, and when\n";

constexpr auto lock_time = 10s;
constexpr std::size_t batch = 100;      // locks taken at once
constexpr std::size_t neighbours = 20;  // pairs of one kind in a row
constexpr double most_seconds = 9;      // per transport

[[noreturn]] void give_up(std::string const& why) { throw std::runtime_error(why); }

/// A member that owns `batch` schedules and has nothing else to do.
class node {
public:
    node(std::string const& url, std::string const& prefix)
        : coordinator_{{.node_id = "bench", .key_prefix = prefix, .heartbeat_interval = 10s, .operation_timeout = 5s},
                       rota::hiredis_sync{url}} {
        if (auto r = coordinator_.join(); !r) give_up(r.error().message());
        std::vector<rota::schedule> schedules;
        for (std::size_t i = 0; i < batch; ++i) schedules.push_back({.id = "schedule-" + std::to_string(i)});
        if (auto r = coordinator_.register_schedules(schedules).all(); !r) give_up(r.error().message());
        for (auto const& s : schedules) ids_.push_back(s.id);
        rest();
        if (coordinator_.owned().size() != batch) give_up("the node does not own its schedules");
    }

    [[nodiscard]] auto& coordinator() { return coordinator_; }
    [[nodiscard]] std::vector<std::string> const& ids() const { return ids_; }

    /// Between measurements: what is due anyway, so that it is not due meanwhile.
    void rest() {
        if (auto r = coordinator_.tick(); !r) give_up(r.error().message());
    }

    void pair(std::size_t which) {
        auto lock = coordinator_.try_lock(ids_[which], lock_time);
        if (!lock || !lock->release())
            give_up("no lock: " + (lock ? std::string{"not released"} : lock.error().message()));
    }

    void pair_of_batches() {
        auto acquired = coordinator_.try_lock_each(ids_, lock_time);
        locks_.clear();
        for (auto& lock : acquired) locks_.push_back(std::move(lock).value());
        if (auto r = coordinator_.release_each(locks_).all(); !r) give_up(r.error().message());
    }

private:
    rota::coordinator coordinator_;
    std::vector<std::string> ids_;
    std::vector<rota::schedule_lock> locks_;
};

/// The same requests, by redisCommandArgv.
class bare {
public:
    bare(node& member, bare_connection connection, std::string const& prefix) : connection_{std::move(connection)} {
        auto const all = member.coordinator().nodes();
        if (!all || all->size() != 1) give_up("who is the node?");
        auto many = locks_of(all->front().node.incarnation, lock_time);
        for (auto const& s : member.coordinator().owned()) {
            many.items.push_back({s.id, s.generation});
            auto one = many;
            one.items = {many.items.back()};
            each_.emplace_back(one, prefix);
        }
        all_.emplace_back(many, prefix);
    }

    void pair(std::size_t which) { connection_.pair(each_[which]); }
    void pair_of_batches() { connection_.pair(all_.front()); }

private:
    bare_connection connection_;
    std::vector<bare_locks> each_;
    std::vector<bare_locks> all_;
};

template <typename Work>
double microseconds_of(Work&& work) {
    auto const begin = mono_ns();
    work();
    return static_cast<double>(mono_ns() - begin) / 1000;
}

void measure(char const* name, std::string const& url, std::string const& socket, std::uint16_t port,
             unsigned long rounds) {
    auto const prefix = std::string{"bench-"} + name + ":";
    node rota{url, prefix};
    bare plain{rota, socket.empty() ? bare_connection{port} : bare_connection{socket}, prefix};

    std::vector<double> rota_one, bare_one, rota_many, bare_many, one_ratio, many_ratio, gain, bare_gain;
    std::size_t next = 0;
    auto const end = mono_ns() + static_cast<long long>(most_seconds * 1e9);
    for (unsigned long round = 0; round <= rounds && mono_ns() < end; ++round) {  // the first one warms up
        auto const singles = [&](auto& who) {
            return microseconds_of([&] {
                       for (std::size_t i = 0; i < neighbours; ++i) who.pair((next + i) % batch);
                   }) /
                   static_cast<double>(neighbours);
        };
        auto const batches = [&](auto& who) {
            return microseconds_of([&] { who.pair_of_batches(); }) / static_cast<double>(batch);
        };
        rota.rest();
        double a = 0, b = 0, c = 0, d = 0;
        if (round % 2 == 0) {
            a = singles(rota), b = singles(plain), c = batches(rota), d = batches(plain);
        } else {
            b = singles(plain), a = singles(rota), d = batches(plain), c = batches(rota);
        }
        next += neighbours;
        if (round == 0) continue;
        rota_one.push_back(a), bare_one.push_back(b), rota_many.push_back(c), bare_many.push_back(d);
        one_ratio.push_back(a / b), many_ratio.push_back(c / d), gain.push_back(a / c), bare_gain.push_back(b / d);
    }

    std::printf("\n%s: median of %zu rounds, µs per lock\n", name, one_ratio.size());
    std::printf("%-34s %10s %10s %10s\n", "acquire + release", "rota", "bare", "ratio");
    std::printf("%-34s %10.2f %10.2f %10.3f\n", "  one at a time", quantile(rota_one), quantile(bare_one),
                quantile(one_ratio));
    std::printf("%-34s %10.2f %10.2f %10.3f\n", "  100 at once", quantile(rota_many), quantile(bare_many),
                quantile(many_ratio));
    std::printf("%-34s %10.1f %10.1f\n", "  times as fast at once", quantile(gain), quantile(bare_gain));
    print_figure("  one at a time, rota / bare hiredis", quantile(one_ratio), wanted::at_most, 1.05);
    print_figure("  try_lock_each of 100, times as fast per lock", quantile(gain), wanted::at_least, 15);
}

// ---------------------------------------------------------------- instructions

/// What callgrind runs: pairs of one kind, after a setup that is the same for both kinds and any number of pairs.
int run_pairs(std::string const& kind, std::string const& socket, unsigned long pairs) {
    auto const prefix = "bench-instructions-" + std::to_string(::getpid()) + ":";
    node rota{"unix://" + socket, prefix};
    bare plain{rota, bare_connection{socket}, prefix};
    for (unsigned long i = 0; i < pairs; ++i) {
        if (kind == "rota") rota.pair(i % batch);
        if (kind == "bare") plain.pair(i % batch);
        if (kind == "rota-batch") rota.pair_of_batches();
        if (kind == "bare-batch") plain.pair_of_batches();
    }
    return 0;
}

/// Instructions in user space of the whole program, by callgrind.
double instructions_of(std::string const& program, std::string const& kind, std::string const& socket,
                       unsigned long pairs) {
    temporary_directory const directory{"rota-callgrind-"};
    auto const file = (directory.path() / "out").string();
    auto valgrind = child_process::spawn({"valgrind", "--tool=callgrind", "--callgrind-out-file=" + file, program,
                                          "--run", kind, "--socket", socket, "--pairs", std::to_string(pairs)},
                                         {.out = output::discard, .err = error_output::discard});
    auto const end = valgrind.exit_status(20s);
    if (!end || !end->success()) give_up("callgrind: " + (end ? end->describe() : "takes too long"));
    std::ifstream lines{file};
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("summary: ")) return std::stod(line.substr(9));
    }
    give_up("callgrind tells no sum");
}

void count_instructions(std::string const& program, std::string const& socket) {
    std::printf("client-side instructions per acquire + release, by callgrind (user space)\n");
    auto const per_pair = [&](std::string const& kind, unsigned long few, unsigned long many) {
        return (instructions_of(program, kind, socket, many) - instructions_of(program, kind, socket, few)) /
               static_cast<double>(many - few);
    };
    auto const rota_one = per_pair("rota", 200, 1200);
    auto const bare_one = per_pair("bare", 200, 1200);
    auto const rota_many = per_pair("rota-batch", 2, 22) / batch;
    auto const bare_many = per_pair("bare-batch", 2, 22) / batch;
    std::printf("%-34s %10s %10s %10s\n", "", "rota", "bare", "ratio");
    std::printf("%-34s %10.0f %10.0f %10.3f\n", "  one at a time", rota_one, bare_one, rota_one / bare_one);
    std::printf("%-34s %10.0f %10.0f %10.3f\n\n", "  100 at once, per lock", rota_many, bare_many,
                rota_many / bare_many);
}

}  // namespace

int main(int argc, char** argv) {
    if (has_argument(argc, argv, "--help")) return std::fputs(usage, stdout) < 0;
    try {
        if (auto const kind = argument(argc, argv, "--run"); !kind.empty()) {
            return run_pairs(kind, argument(argc, argv, "--socket"), argument(argc, argv, "--pairs", 0ul));
        }
        auto const rounds = argument(argc, argv, "--rounds", 600ul);
        if (rounds == 0) return std::fputs(usage, stderr), 1;
        redis_server server;
        if (has_argument(argc, argv, "--instructions")) count_instructions(argv[0], server.unix_socket());
        std::optional<a_cpu_each> cpus;
        if (!has_argument(argc, argv, "--any-cpu")) cpus.emplace(server.process().pid());
        measure("unix socket", server.unix_url(), server.unix_socket(), 0, rounds);
        measure("tcp", server.url(), {}, server.port(), rounds);
        return 0;
    } catch (std::exception const& e) {
        std::fprintf(stderr, "bench_locks: could not measure: %s\n", e.what());
        return 1;
    }
}
