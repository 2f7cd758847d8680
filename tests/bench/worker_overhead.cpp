// What a worker adds to a run: its handler is empty, so that all there is to a run is taking the lock, handing it to a
// thread, and releasing it; next to bare hiredis that calls the very same scripts with the same bytes for one schedule
// after the other.
//
// A worker takes the locks of all that is due and has a free thread by one request, and gives back likewise. So with
// four threads it is compared with both: pairs of requests for one lock each, one after the other, as a program by hand
// would do it, and pairs of requests for four. Against the former it may well win; the latter tells what it adds.
//
// Every run ends with the next being due at once (a trigger of the benchmark's own, which stops that between slices).
// Slices of the workers and of bare hiredis take turns in one run, in changing order, so that a busy machine disturbs
// all alike; the figure is the median of the ratios of neighbours.
//
// Server and client get a CPU each (and, where the system allows it, go before other programs): all threads of a worker
// share one.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rota/coordinator.hpp>
#include <rota/transport/hiredis_sync.hpp>
#include <rota/worker.hpp>

#include "../support/redis_server.hpp"
#include "bare_hiredis.hpp"
#include "figures.hpp"
#include "server_figures.hpp"

namespace {

using namespace rota::test;
using namespace std::chrono_literals;

constexpr char usage[] =
    "usage: bench_worker_overhead [--rounds N] [--schedules N] [--slice MS] [--quick] [--any-cpu] [--help]\n"
    "\n"
    "  --rounds N      of a slice of each kind (30)\n"
    "  --schedules N   of each worker (64)\n"
    "  --slice MS      that each works for (100)\n"
    "  --quick         a smoke run: 3 rounds\n"
    "  --any-cpu       leave it to the system on which CPUs client and server run, and when\n"
    "  --only N        slices of a worker with N threads alone, for a profiler to look at\n";

constexpr auto lock_time = 10s;

[[noreturn]] void give_up(std::string const& why) { throw std::runtime_error(why); }

/// Runs follow each other at once while the gate is open.
struct gate {
    std::atomic<bool> const* open;

    [[nodiscard]] std::optional<rota::microseconds> next_run(rota::schedule_times const&) const {
        if (!open->load(std::memory_order_relaxed)) return std::nullopt;
        return rota::microseconds{};
    }
};

struct slice {
    double us_per_run = 0;
    double cpu_us_per_run = 0;  // of the client
};

/// Counts runs from the first moment that is looked at to the last.
class stopwatch {
public:
    [[nodiscard]] slice stop(std::uint64_t runs) const {
        if (runs == 0) give_up("nothing was run in a slice");
        auto const per_run = [&](long long ns) { return static_cast<double>(ns) / 1e3 / static_cast<double>(runs); };
        return {per_run(mono_ns() - wall_), per_run(cpu_ns() - cpu_)};
    }

private:
    long long wall_ = mono_ns();
    long long cpu_ = cpu_ns();
};

// ---------------------------------------------------------------- rota

class working {
public:
    working(std::string const& url, std::string const& name, std::uint32_t threads, std::size_t schedules)
        : prefix_{"bench-" + name + ":"},
          worker_{{.node_id = name, .key_prefix = prefix_, .operation_timeout = 1s},
                  rota::hiredis_sync{url},
                  gate{&open_},
                  rota::worker_options{.threads = threads, .lock_ttl = lock_time, .stop_margin = 500ms}} {
        std::vector<rota::schedule> all;
        for (std::size_t i = 0; i < schedules; ++i) {
            ids_.push_back("customer-" + std::to_string(1'000'000 + i) + ":poll");
            all.push_back({.id = ids_.back()});
        }
        worker_.on_report([this](rota::run_report const& r) {
            if (rota::is_trouble(r.kind)) std::fprintf(stderr, "%s\n", rota::describe(r).c_str());
            if (r.kind == rota::run_report::what::finished) finished_.fetch_add(1, std::memory_order_relaxed);
        });
        worker_.add(std::move(all));
        heart_ = std::jthread{[this](std::stop_token const& stop) {
            auto const ended = worker_.run(stop, [this](rota::job&) { runs_.fetch_add(1, std::memory_order_relaxed); });
            if (!ended) std::fprintf(stderr, "the worker ended: %s\n", ended.error().message().c_str());
        }};
        if (!poll_until(10s, [&] { return worker_.node().owned().size() == schedules; })) {
            give_up("the worker does not own its schedules");
        }
    }

    [[nodiscard]] auto& node() { return worker_.node(); }
    [[nodiscard]] std::string const& prefix() const { return prefix_; }

    slice work(std::chrono::milliseconds span) {
        open_ = true;
        for (auto const& id : ids_) {
            if (!worker_.trigger_here(id)) give_up("the worker does not own " + id);
        }
        std::this_thread::sleep_for(span / 5);
        auto const before = runs_.load();
        stopwatch const watch;
        std::this_thread::sleep_for(span);
        auto const took = watch.stop(runs_.load() - before);
        open_ = false;
        // What was due already runs once more, and its lock is released.
        auto at_rest = [this, last = ~std::uint64_t{0}]() mutable {
            auto const earlier = std::exchange(last, runs_.load());
            return earlier == last && earlier == finished_.load();
        };
        if (!poll_until(10s, at_rest, 10ms)) give_up("the worker does not rest");
        return took;
    }

private:
    std::atomic<bool> open_{false};
    std::atomic<std::uint64_t> runs_{0};
    std::atomic<std::uint64_t> finished_{0};
    std::string prefix_;
    std::vector<std::string> ids_;
    rota::worker<rota::hiredis_sync, gate, rota::worker_options> worker_;
    std::jthread heart_;
};

// ---------------------------------------------------------------- bare hiredis

/// The same locks, so many at once.
class bare {
public:
    bare(working& member, std::uint16_t port, std::size_t at_once) : connection_{port}, at_once_{at_once} {
        auto const all = member.node().nodes();
        if (!all || all->size() != 1) give_up("who is the node?");
        auto const owned = member.node().owned();
        for (std::size_t i = 0; i + at_once <= owned.size(); i += at_once) {
            auto request = locks_of(all->front().node.incarnation, lock_time);
            for (auto s = owned.begin() + static_cast<std::ptrdiff_t>(i); request.items.size() < at_once; ++s) {
                request.items.push_back({s->id, s->generation});
            }
            locks_.emplace_back(request, member.prefix());
        }
    }

    slice work(std::chrono::milliseconds span) {
        auto const end = mono_ns() + std::chrono::nanoseconds{span}.count();
        std::uint64_t runs = 0;
        stopwatch const watch;
        while (mono_ns() < end) {
            connection_.pair(locks_[next_++ % locks_.size()]);
            runs += at_once_;
        }
        return watch.stop(runs);
    }

private:
    bare_connection connection_;
    std::size_t at_once_;
    std::vector<bare_locks> locks_;
    std::size_t next_ = 0;
};

// ---------------------------------------------------------------- rounds

struct series {
    char const* name;
    std::function<slice()> work;
    std::vector<double> us{}, cpu_us{};

    void take() {
        auto const took = work();
        us.push_back(took.us_per_run);
        cpu_us.push_back(took.cpu_us_per_run);
    }
    void print() const {
        std::printf("%-44s %10.0f %10.2f %12.2f\n", name, 1e6 / quantile(us), quantile(us), quantile(cpu_us));
    }
    [[nodiscard]] double against(series const& other) const {
        std::vector<double> ratios;
        for (std::size_t i = 0; i < us.size(); ++i) ratios.push_back(us[i] / other.us[i]);
        return quantile(ratios);
    }
};

int measure(std::string const& only, unsigned long rounds, std::size_t schedules, std::chrono::milliseconds span,
            bool any_cpu) {
    redis_server server;
    std::optional<a_cpu_each> cpus;
    if (!any_cpu) cpus.emplace(server.process().pid());
    if (!only.empty()) {
        working profiled{server.url(), "profiled", static_cast<std::uint32_t>(std::stoul(only)), schedules};
        for (unsigned long i = 0; i < rounds; ++i) {
            auto const took = profiled.work(span);
            std::printf("%.2f µs per run, %.2f µs of the client's CPU time\n", took.us_per_run, took.cpu_us_per_run);
        }
        return 0;
    }
    working one{server.url(), "one-thread", 1, schedules};
    working four{server.url(), "four-threads", 4, schedules};
    bare single{one, server.port(), 1};
    bare batches{one, server.port(), 4};
    std::vector<series> all{{"worker, 1 thread", [&] { return one.work(span); }},
                            {"worker, 4 threads", [&] { return four.work(span); }},
                            {"bare hiredis, a lock at a time", [&] { return single.work(span); }},
                            {"bare hiredis, 4 locks at a time", [&] { return batches.work(span); }}};
    for (unsigned long round = 0; round <= rounds; ++round) {
        for (std::size_t i = 0; i < all.size(); ++i) {
            auto& next = all[round % 2 == 0 ? i : all.size() - 1 - i];
            next.take();
            if (round == 0) next.us.clear(), next.cpu_us.clear();  // it warms up
        }
    }
    std::printf("\n%zu schedules, empty handlers; median of %lu rounds\n", schedules, rounds);
    std::printf("%-44s %10s %10s %12s\n", "", "runs per s", "µs per run", "client's CPU");
    for (auto const& each : all) each.print();
    std::printf("\n");
    print_figure("1 thread, time of a run / bare acquire + release", all[0].against(all[2]), wanted::at_most, 1.5);
    print_figure("4 threads, time of a run / bare acquire + release", all[1].against(all[2]), wanted::at_most, 1.5);
    print_figure("4 threads, time of a run / bare batches of 4, per lock", all[1].against(all[3]));
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (has_argument(argc, argv, "--help")) return std::fputs(usage, stdout) < 0;
    try {
        auto const rounds = argument(argc, argv, "--rounds", has_argument(argc, argv, "--quick") ? 3ul : 30ul);
        auto const schedules = argument(argc, argv, "--schedules", 64ul);
        auto const span = argument(argc, argv, "--slice", 100ul);
        if (rounds == 0 || schedules < 4 || schedules > 10'000 || span == 0) return std::fputs(usage, stderr), 1;
        return measure(argument(argc, argv, "--only"), rounds, schedules, std::chrono::milliseconds{span},
                       has_argument(argc, argv, "--any-cpu"));
    } catch (std::exception const& e) {
        std::fprintf(stderr, "bench_worker_overhead: could not measure: %s\n", e.what());
        return 1;
    }
}
