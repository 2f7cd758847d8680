// Locks through an asynchronous coordinator, next to a bare redisAsyncContext that calls the very same scripts with the
// same bytes:
//
//   in flight  1,000 named locks, each taken and released again and again, so that 1,000 requests are always under way:
//              pairs of acquire and release per second, and the client's CPU time for each
//   each       try_lock_each of 100 schedules, one call at a time, next to one call of the script that takes them all;
//              both give each lock back by itself, which is not measured, so that the server is in the same state
//
// Both take turns in one run over a connection of their own to one server, in changing order (each: after every call, so
// that neither finds its code and data in the cache because it has just been there), so that a busy machine disturbs both
// alike. Where a program lies in memory is worth several percent, too, so all is begun anew a few times: the figure is the
// median of these runs, and a run's the median of the ratios of neighbours.
//
// Client and server get a CPU each (and, where the system allows it, go before other programs), so that the faster one
// waits for the other: throughput tells the slower one's part, which is the server's as a rule; CPU time tells the
// client's.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <rota/async_coordinator.hpp>
#include <rota/loop/poll_loop.hpp>
#include <rota/transport/hiredis_async.hpp>

#include "../support/redis_server.hpp"
#include "bare_hiredis.hpp"
#include "figures.hpp"
#include "server_figures.hpp"

namespace {

using namespace rota::test;
using namespace std::chrono_literals;

constexpr char usage[] =
    "usage: bench_async_locks [--runs N] [--rounds N] [--in-flight N] [--pairs N] [--quick] [--any-cpu] [--help]\n"
    "\n"
    "  --runs N        each with a server and a node that are begun anew (5)\n"
    "  --rounds N      of each kind in a run (8)\n"
    "  --in-flight N   locks that are wanted at the same time (1000)\n"
    "  --pairs N       of acquire and release in a round (10000)\n"
    "  --quick         a smoke run: 1 run of 3 rounds\n"
    "  --any-cpu       leave it to the system on which CPUs client and server run, and when\n"
    "  --only P        rounds of P alone, for a profiler to look at: rota, bare, rota-each or bare-each\n";

constexpr char prefix[] = "bench-async:";
constexpr auto lock_time = 10s;
constexpr std::size_t batch = 100;       // schedules locked at once
constexpr std::size_t batch_rounds = 8;  // of them in a row

[[noreturn]] void give_up(std::string const& why) { throw std::runtime_error(why); }

/// As long as what rota is given for a name in practice.
std::string name_of(std::size_t i) { return "customer-" + std::to_string(1'000'000 + i) + ":poll"; }

/// What a round is to do, and what is left of it.
struct quota {
    std::size_t to_start = 0;
    std::size_t to_end = 0;

    quota() = default;
    explicit quota(std::size_t pairs) : to_start{pairs}, to_end{pairs} {}
    bool start() { return to_start > 0 && to_start-- > 0; }
};

// ---------------------------------------------------------------- rota

/// A member that owns `batch` schedules and has nothing else to do.
class node {
public:
    explicit node(std::string const& url) : coordinator_{options(), rota::hiredis_async{url, loop_}} {
        coordinator_.run([](rota::result<void> ended) {
            if (ended || ended.error() == rota::errc::cancelled) return;
            std::fprintf(stderr, "the node ended: %s\n", ended.error().message().c_str());
        });
        std::vector<rota::schedule> schedules;
        for (std::size_t i = 0; i < batch; ++i) schedules.push_back({.id = "schedule-" + std::to_string(i)});
        for (auto const& s : schedules) ids_.push_back(s.id);
        await([&] { return coordinator_.is_leader(); }, "lead");
        coordinator_.register_schedules(schedules, [](rota::results<void> all) {
            if (auto r = all.all(); !r) give_up(r.error().message());
        });
        await([&] { return coordinator_.owned().size() == batch; }, "own its schedules");
    }

    [[nodiscard]] std::vector<rota::owned_schedule> owned() const { return coordinator_.owned(); }
    [[nodiscard]] rota::fencing_token incarnation() {
        rota::fencing_token found = 0;
        coordinator_.nodes([&](rota::result<std::vector<rota::node_status>> all) {
            if (all && all->size() == 1) found = all->front().node.incarnation;
        });
        await([&] { return found != 0; }, "find itself");
        return found;
    }

    void pairs(std::size_t in_flight, std::size_t count) {
        while (names_.size() < in_flight) names_.push_back(name_of(names_.size()));
        left_ = quota{count};
        for (std::size_t i = 0; i < in_flight; ++i) take(names_[i]);
        await([&] { return left_.to_end == 0; }, "lock in time");
    }

    /// Microseconds from the call to the handler.
    double each() {
        std::size_t held = 0;
        bool answered = false;
        rota::results<rota::async_lock> locks;
        auto const begin = mono_ns();
        long long end = 0;
        coordinator_.try_lock_each(ids_, lock_time, [&](rota::results<rota::async_lock> granted) {
            end = mono_ns();
            locks = std::move(granted);
            answered = true;
        });
        await([&] { return answered; }, "lock in time");
        for (auto& lock : locks) {
            if (!lock) give_up(lock.error().message());
            ++held;
            lock->release([&](rota::result<void> released) {
                if (!released) give_up(released.error().message());
                --held;
            });
        }
        await([&] { return held == 0; }, "release in time");
        return static_cast<double>(end - begin) / 1e3;
    }

private:
    static rota::options options() {
        return {.node_id = "bench", .key_prefix = prefix, .heartbeat_interval = 10s, .operation_timeout = 5s};
    }

    template <typename Condition>
    void await(Condition&& holds, char const* what) {
        if (!loop_.run_until(holds, 20s)) give_up(std::string{"the node does not "} + what);
    }

    void take(std::string const& name) {
        if (!left_.start()) return;
        coordinator_.try_lock_name(name, lock_time, [this, &name](rota::result<rota::async_lock> lock) {
            if (!lock) give_up(lock.error().message());
            lock->release([this, &name](rota::result<void> released) {
                if (!released) give_up(released.error().message());
                --left_.to_end;
                take(name);
            });
        });
    }

    rota::poll_loop loop_;
    std::vector<std::string> ids_;
    std::deque<std::string> names_;
    quota left_;
    rota::basic_coordinator<rota::hiredis_async> coordinator_;
};

// ---------------------------------------------------------------- bare hiredis

class bare {
public:
    bare(node& member, std::uint16_t port) : incarnation_{member.incarnation()}, connection_{loop_.connect(port)} {
        auto many = locks_of(incarnation_, lock_time);
        for (auto const& s : member.owned()) {
            many.items.push_back({s.id, s.generation});
            auto one = locks_of(incarnation_, lock_time);
            one.items.push_back(many.items.back());
            all_.push_back({*this, bare_locks{one, prefix}});
        }
        taken_together_.push_back({*this, bare_locks{many, prefix}});
    }

    void pairs(std::size_t in_flight, std::size_t count) {
        while (each_.size() < in_flight) {
            auto one = locks_of(incarnation_, lock_time, rota::op::lock_kind::name);
            one.items.push_back({name_of(each_.size()), 0});
            each_.push_back({*this, bare_locks{one, prefix}});
        }
        left_ = quota{count};
        for (std::size_t i = 0; i < in_flight; ++i) take(each_[i]);
        while (left_.to_end > 0) loop_.turn(1000);
    }

    double each() {
        left_ = quota{batch};
        auto const begin = mono_ns();
        bare_loop::send(connection_, taken_together_.front().locks.acquire, &bare::on_all_taken,
                        &taken_together_.front());
        while (left_.to_end > 0) loop_.turn(1000);
        return static_cast<double>(granted_ns_ - begin) / 1e3;
    }

private:
    struct pair {
        bare& self;
        bare_locks locks;
    };

    void take(pair& p) {
        if (left_.start()) bare_loop::send(connection_, p.locks.acquire, &bare::on_taken, &p);
    }
    static void on_taken(redisAsyncContext*, void* reply, void* with) {
        auto& p = *static_cast<pair*>(with);
        if (!p.locks.take_granted(static_cast<redisReply*>(reply))) return p.self.loop_.fail("no lock");
        bare_loop::send(p.self.connection_, p.locks.release, &bare::on_released, with);
    }
    static void on_all_taken(redisAsyncContext*, void* reply, void* with) {
        auto& all = *static_cast<pair*>(with);
        auto& self = all.self;
        self.granted_ns_ = mono_ns();
        auto const* const granted = static_cast<redisReply*>(reply);
        if (!all.locks.take_granted(granted)) return self.loop_.fail("no locks");
        self.left_.to_start = 0;
        for (std::size_t i = 0; i < batch; ++i) {
            self.all_[i].locks.release.set_token(self.all_[i].locks.first_token, granted->element[2 + 3 * i]->integer);
            bare_loop::send(self.connection_, self.all_[i].locks.release, &bare::on_released, &self.all_[i]);
        }
    }
    static void on_released(redisAsyncContext*, void* reply, void* with) {
        auto& p = *static_cast<pair*>(with);
        if (!p.locks.is_released(static_cast<redisReply*>(reply))) return p.self.loop_.fail("not released");
        --p.self.left_.to_end;
        p.self.take(p);
    }

    bare_loop loop_;
    rota::fencing_token incarnation_;
    redisAsyncContext* connection_;
    std::deque<pair> each_;
    std::deque<pair> taken_together_;  // the batch
    std::deque<pair> all_;             // its locks, each by itself
    quota left_;
    long long granted_ns_ = 0;
};

// ---------------------------------------------------------------- rounds

struct sizes {
    std::size_t runs, rounds, in_flight, pairs;
};

struct cost {
    double wall_us, cpu_us;  // per pair
};
template <typename Who>
cost pairs(Who& who, sizes const& s) {
    auto const begin = mono_ns();
    auto const cpu_begin = cpu_ns();
    who.pairs(s.in_flight, s.pairs);
    auto const per_pair = [&](long long ns) { return static_cast<double>(ns) / 1e3 / static_cast<double>(s.pairs); };
    return {per_pair(mono_ns() - begin), per_pair(cpu_ns() - cpu_begin)};
}
/// Microseconds of each, in turns: what disturbs one for a while disturbs the other as well.
struct both {
    double rota, bare;
};
both each(node& member, bare& plain, bool rota_first) {
    std::vector<double> a, b;
    for (std::size_t i = 0; i < batch_rounds; ++i) {
        if (rota_first) a.push_back(member.each());
        b.push_back(plain.each());
        if (!rota_first) a.push_back(member.each());
    }
    return {quantile(a), quantile(b)};
}

/// What each took, and the ratios of neighbours.
struct series {
    std::vector<double> rota{}, bare{}, ratio{};
    std::vector<double> ratio_of_run{};
    std::size_t in_runs_before = 0;

    void add(double a, double b) {
        rota.push_back(a);
        bare.push_back(b);
        ratio.push_back(a / b);
    }
    void end_run() {
        auto const begin = ratio.begin() + static_cast<std::ptrdiff_t>(in_runs_before);
        ratio_of_run.push_back(quantile({begin, ratio.end()}));
        in_runs_before = ratio.size();
    }
    [[nodiscard]] double speed() const { return 1 / quantile(ratio_of_run); }
    void print(char const* what, double unit = 1) const {
        std::printf("%-40s %10.2f %10.2f %10.3f   %.3f .. %.3f\n", what, unit * quantile(rota), unit * quantile(bare),
                    quantile(ratio_of_run), quantile(ratio_of_run, 0), quantile(ratio_of_run, 1));
    }
};

struct figures {
    series wall{}, cpu{}, many{};

    void end_run() {
        for (auto* each : {&wall, &cpu, &many}) each->end_run();
    }
    void print(sizes const& s) const {
        std::printf("\nmedian of %zu runs of %zu rounds\n%-40s %10s %10s %10s   %s\n", s.runs, s.rounds, "", "rota",
                    "bare", "ratio", "of a run");
        std::printf("%zu named locks in flight\n", s.in_flight);
        std::printf("%-40s %10.0f %10.0f\n", "  acquire + release, pairs per s", 1e6 / quantile(wall.rota),
                    1e6 / quantile(wall.bare));
        wall.print("  ... µs per pair");
        cpu.print("  ... CPU time of the client, µs per pair");
        std::printf("%zu schedules at once\n", batch);
        many.print("  acquire, µs");
        std::printf("\n");
        print_figure("locks in flight, throughput of rota / bare hiredis", wall.speed(), wanted::at_least, 0.9);
        print_figure("try_lock_each of 100, speed of rota / bare hiredis", many.speed(), wanted::at_least, 0.9);
    }
};

void measure(node& member, bare& plain, sizes const& s, figures& into) {
    for (std::size_t round = 0; round <= s.rounds; ++round) {  // the first one warms up
        cost a{}, b{};
        bool const rota_first = round % 2 == 0;
        if (rota_first) a = pairs(member, s);
        b = pairs(plain, s);
        if (!rota_first) a = pairs(member, s);
        auto const together = each(member, plain, rota_first);
        if (round == 0) continue;
        into.wall.add(a.wall_us, b.wall_us);
        into.cpu.add(a.cpu_us, b.cpu_us);
        into.many.add(together.rota, together.bare);
    }
    into.end_run();
}

/// For a profiler to look at.
void repeat(std::string const& only, node& member, bare& plain, sizes const& s) {
    for (std::size_t i = 0; i < s.rounds; ++i) {
        if (only.ends_with("-each")) {
            std::printf("%s: %.2f µs\n", only.c_str(), only == "rota-each" ? member.each() : plain.each());
            continue;
        }
        auto const took = only == "rota" ? pairs(member, s) : pairs(plain, s);
        std::printf("%s: %.2f µs per pair, %.2f µs of the client's CPU time\n", only.c_str(), took.wall_us,
                    took.cpu_us);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (has_argument(argc, argv, "--help")) return std::fputs(usage, stdout) < 0;
    try {
        bool const quick = has_argument(argc, argv, "--quick");
        sizes const s{.runs = argument(argc, argv, "--runs", quick ? 1ul : 5ul),
                      .rounds = argument(argc, argv, "--rounds", quick ? 3ul : 8ul),
                      .in_flight = argument(argc, argv, "--in-flight", 1000ul),
                      .pairs = argument(argc, argv, "--pairs", 10'000ul)};
        if (s.runs == 0 || s.rounds == 0 || s.in_flight == 0 || s.in_flight > 5000 || s.pairs < s.in_flight) {
            return std::fputs(usage, stderr), 1;
        }
        auto const only = argument(argc, argv, "--only");
        figures all;
        for (std::size_t run = 0; run < (only.empty() ? s.runs : 1); ++run) {
            redis_server server;
            std::optional<a_cpu_each> cpus;
            if (!has_argument(argc, argv, "--any-cpu")) cpus.emplace(server.process().pid());
            node member{server.url()};
            bare plain{member, server.port()};
            if (!only.empty()) {
                repeat(only, member, plain, s);
            } else {
                measure(member, plain, s, all);
            }
        }
        if (only.empty()) all.print(s);
        return 0;
    } catch (std::exception const& e) {
        std::fprintf(stderr, "bench_async_locks: could not measure: %s\n", e.what());
        return 1;
    }
}
