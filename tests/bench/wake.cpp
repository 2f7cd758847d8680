// How soon work that one process gives up begins in another, next to a pair of programs written by hand on bare hiredis
// that do just that and no more.
//
//   transfer  from the call of transfer() in one process to the handler of the new owner's worker, under its lock, in
//             another. By hand: one script that writes the new owner and an XADD for it; a blocked XREAD there; one
//             script that takes the lock
//   leave     from the leader's call of leave() to another process's is_leader(). By hand: one script that deletes the
//             leader's key, and an XADD; a blocked XREAD; one script that takes the key
//   idle      what two workers at rest ask of the server
//
// The schedule goes to and fro between two processes. Those of rota and of bare hiredis take turns, in changing order.
// Where the system puts a process in memory is worth a tenth of all this: so they, and the server, are begun anew several
// times, and what counts is the median of these rounds. Moments are read from CLOCK_MONOTONIC, which all processes share,
// and are left in memory that they share, too: nothing is written to a pipe while the clock runs.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
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

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <rota/coordinator.hpp>
#include <rota/sink/callback_sink.hpp>
#include <rota/transport/hiredis_sync.hpp>
#include <rota/worker.hpp>

#include "../support/child_process.hpp"
#include "../support/redis_server.hpp"
#include "bare_hiredis.hpp"
#include "figures.hpp"
#include "server_figures.hpp"

namespace {

using namespace rota::test;
using namespace std::chrono_literals;

constexpr char usage[] =
    "usage: bench_wake [--rounds N] [--transfers N] [--leaves N] [--quick] [--any-cpu] [--help]\n"
    "\n"
    "  --rounds N      each with a server and programs that are begun anew (5)\n"
    "  --transfers N   of a schedule in each, and as many by hand (150; about 8 ms each)\n"
    "  --leaves N      of a leader in each, and as many by hand (12; about 0.3 s each)\n"
    "  --quick         a smoke run: 1, 40 and 4, and a short look at idle nodes\n"
    "  --any-cpu       leave it to the system on which CPUs the server and the programs run, and when\n";

constexpr char schedule_id[] = "customer-0000001:poll";
constexpr auto lock_time = 3s;

// ---------------------------------------------------------------- what the processes share

/// Where a round's moments are left; 0: not yet.
struct moments {
    std::atomic<long long> asked_ns{0};
    std::atomic<long long> begun_ns{0};
    std::atomic<int> ready{0};  // 1 or 2: the process that has what is to be given up next
};

/// In a file that each process maps.
class board {
public:
    explicit board(std::string const& file) {
        unique_fd const fd{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
        if (!fd || ::ftruncate(fd.get(), sizeof(moments)) != 0) throw_errno(file);
        void* const at = ::mmap(nullptr, sizeof(moments), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
        if (at == MAP_FAILED) throw_errno("mmap");
        moments_ = static_cast<moments*>(at);  // zeroes: as constructed
    }
    board(board const&) = delete;
    board& operator=(board const&) = delete;
    ~board() { ::munmap(moments_, sizeof(moments)); }

    moments* operator->() const { return moments_; }

private:
    moments* moments_;
};

/// What the children are told by: SIGUSR1, give it up.
sigset_t order_signal() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    return signals;
}

struct role {
    int number = 1;  // or 2
    std::string url, prefix, file;
    std::uint16_t port = 0;

    [[nodiscard]] std::string id() const { return name_of(number); }
    [[nodiscard]] std::string peer() const { return name_of(3 - number); }
    [[nodiscard]] static std::string name_of(int n) { return "node-" + std::to_string(n); }
};

// ---------------------------------------------------------------- rota

int run_worker(role const& r) {
    auto const orders = order_signal();
    ::pthread_sigmask(SIG_BLOCK, &orders, nullptr);
    board const shared{r.file};
    rota::worker w{{.node_id = r.id(), .key_prefix = r.prefix, .auto_rebalance = false},
                   rota::hiredis_sync{r.url},
                   rota::continuous{.pause = 1h},
                   rota::worker_options{.threads = 4, .lock_ttl = lock_time}};
    w.on_report([&](rota::run_report const& report) {
        if (report.kind == rota::run_report::what::finished) shared->ready = r.number;
    });
    if (r.number == 1) w.add(schedule_id);
    auto const peer = r.peer();
    std::jthread const heart{[&](std::stop_token const& stop) {
        auto const ended = w.run(stop, [&](rota::job&) { shared->begun_ns = mono_ns(); });
        if (!ended) std::fprintf(stderr, "%s: %s\n", r.id().c_str(), ended.error().message().c_str());
    }};
    for (;;) {
        int signal = 0;
        ::sigwait(&orders, &signal);
        shared->asked_ns = mono_ns();
        if (auto moved = w.node().transfer(schedule_id, peer); !moved) {
            std::fprintf(stderr, "%s: %s\n", r.id().c_str(), moved.error().message().c_str());
            return 1;
        }
    }
}

constexpr auto leader_heartbeat = 100ms;

int run_leader(role const& r) {
    auto const orders = order_signal();
    ::pthread_sigmask(SIG_BLOCK, &orders, nullptr);
    board const shared{r.file};
    std::function<bool()> leads;
    rota::basic_coordinator node{{.node_id = r.id(),
                                  .key_prefix = r.prefix,
                                  .heartbeat_interval = leader_heartbeat,
                                  .node_ttl = 2s,
                                  .leader_lease = 2s},
                                 rota::hiredis_sync{r.url},
                                 rota::callback_sink{[&](rota::leadership_changed const&) {
                                     if (!leads()) return;
                                     shared->begun_ns = mono_ns();
                                     shared->ready = r.number;
                                 }}};
    leads = [&] { return node.is_leader(); };
    std::jthread const heart{[&](std::stop_token const& stop) {
        // Who left comes again, once the other leads.
        for (; !stop.stop_requested(); (void)poll_until(10s, [&] { return shared->ready != 0; }, 1ms)) {
            if (auto const ended = node.run(stop); !ended) {
                std::fprintf(stderr, "%s: %s\n", r.id().c_str(), ended.error().message().c_str());
            }
        }
    }};
    for (;;) {
        int signal = 0;
        ::sigwait(&orders, &signal);
        shared->asked_ns = mono_ns();
        node.leave();
    }
}

// ---------------------------------------------------------------- by hand

// KEYS: owner, the other's inbox. ARGV: self, the other.
constexpr char give_up_script[] = R"lua(
local call = redis.call
if call('GET', KEYS[1]) ~= ARGV[1] then return {1} end
call('SET', KEYS[1], ARGV[2])
call('XADD', KEYS[2], 'MAXLEN', '~', 1000, '*', 'e', ARGV[2])
return {0}
)lua";

// KEYS: owner, lock. ARGV: self, ttl in ms.
constexpr char take_script[] = R"lua(
local call = redis.call
local time = call('TIME')
if call('GET', KEYS[1]) ~= ARGV[1] then return {1} end
local token = time[1] * 1000000 + time[2]
if not call('SET', KEYS[2], string.format('%.0f|%s', token, ARGV[1]), 'NX', 'PX', ARGV[2]) then return {2} end
return {0, token, ARGV[2]}
)lua";

// KEYS: leader, the other's inbox. ARGV: self, the other.
constexpr char leave_script[] = R"lua(
local call = redis.call
if call('GET', KEYS[1]) ~= ARGV[1] then return {1} end
call('DEL', KEYS[1])
call('XADD', KEYS[2], 'MAXLEN', '~', 1000, '*', 'e', ARGV[2])
return {0}
)lua";

// KEYS: leader. ARGV: self, ttl in ms.
constexpr char lead_script[] = R"lua(
local time = redis.call('TIME')
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return {2} end
return {0, time[1] * 1000000 + time[2], ARGV[2]}
)lua";

/// A lock (or the lead) that goes to and fro: asked to give it up, and told by the other when it has.
int run_by_hand(role const& r, bool leading) {
    auto const orders = order_signal();
    ::pthread_sigmask(SIG_BLOCK, &orders, nullptr);
    unique_fd const order{::signalfd(-1, &orders, SFD_CLOEXEC)};
    board const shared{r.file};
    bare_connection commands{r.port};
    bare_connection pushed{r.port};
    auto const key = [&](std::string const& name) { return "{" + r.prefix + "}" + name; };
    auto const owner = key(leading ? "leader" : "owner");
    auto const lock = key("lock");
    bare_command give_up{{"EVALSHA", commands.load(leading ? leave_script : give_up_script), "2", owner,
                          key("inbox:" + r.peer()), r.id(), r.peer()}};
    bare_command take{
        leading ? std::vector<std::string>{"EVALSHA", commands.load(lead_script), "1", owner, r.id(), "600000"}
                : std::vector<std::string>{"EVALSHA", commands.load(take_script), "2", owner, lock, r.id(), "3000"}};
    bare_command release{{"DEL", lock}};
    bare_command read{{"XREAD", "COUNT", "1", "BLOCK", "0", "STREAMS", key("inbox:" + r.id()), "0"}};
    auto const check = [&](bare_connection::reply const& reply) {
        if (reply->type != REDIS_REPLY_ARRAY || reply->element[0]->integer != 0) {
            throw std::runtime_error(r.id() + " by hand: refused");
        }
    };

    if (r.number == 1) {
        (void)commands.call({"SET", owner, r.id()});
        shared->ready = r.number;
    }
    pushed.send(read);
    for (;;) {
        pollfd ready[2] = {{order.get(), POLLIN, 0}, {pushed.descriptor(), POLLIN, 0}};
        if (::poll(ready, 2, -1) < 0 && errno != EINTR) throw_errno("poll");
        if ((ready[0].revents & POLLIN) != 0) {
            signalfd_siginfo info{};
            if (::read(order.get(), &info, sizeof info) != sizeof info) throw_errno("signalfd");
            shared->asked_ns = mono_ns();
            check(commands.call(give_up));
        }
        if ((ready[1].revents & POLLIN) != 0) {
            auto const news = pushed.receive();
            check(commands.call(take));
            shared->begun_ns = mono_ns();
            if (!leading) (void)commands.call(release);
            auto const& entry = *news->element[0]->element[1]->element[0]->element[0];
            read.set_word(read.last(), {entry.str, entry.len});
            pushed.send(read);
            shared->ready = r.number;
        }
    }
}

// ---------------------------------------------------------------- rounds

/// Two processes between which something goes to and fro.
class pair_of_processes {
public:
    pair_of_processes(std::string const& program, std::string kind, redis_server& server, std::string const& directory)
        : kind_{std::move(kind)},
          shared_{directory + "/" + kind_} {
        for (int i = 1; i <= 2; ++i) {
            processes_.push_back(
                child_process::spawn({program, "--as", kind_, "--number", std::to_string(i), "--url", server.url(),
                                      "--port", std::to_string(server.port()), "--board", directory + "/" + kind_}));
        }
        await("begin", [&] { return shared_->ready != 0; });
    }

    /// Milliseconds from the order to the other one's beginning.
    double hand_over() {
        auto const holder = shared_->ready.exchange(0);
        shared_->asked_ns = shared_->begun_ns = 0;
        (void)processes_.at(static_cast<std::size_t>(holder - 1)).signal(SIGUSR1);
        await("go on", [&] { return shared_->ready != 0; });
        if (shared_->ready == holder) throw std::runtime_error(kind_ + ": it did not change hands");
        return static_cast<double>(shared_->begun_ns - shared_->asked_ns) / 1e6;
    }

private:
    template <typename Condition>
    void await(std::string const& what, Condition&& condition) {
        auto const over = [&] {
            for (auto& each : processes_) {
                if (!each.running()) throw std::runtime_error(kind_ + ": a process has ended");
            }
            return condition();
        };
        if (!poll_until(10s, over, 1ms)) throw std::runtime_error(kind_ + " does not " + what);
    }

    std::string kind_;
    board shared_;
    std::vector<child_process> processes_;
};

/// What was measured in all rounds, and the ratio of the medians of each.
struct series {
    std::vector<double> rota{}, bare{}, ratios{};

    void add(series const& round) {
        ratios.push_back(quantile(round.rota) / quantile(round.bare));
        rota.insert(rota.end(), round.rota.begin(), round.rota.end());
        bare.insert(bare.end(), round.bare.begin(), round.bare.end());
    }
    void print(char const* what) const {
        std::printf("\n%s: %zu of each, in %zu rounds\n%-34s %9s %9s %9s\n", what, rota.size(), ratios.size(), "",
                    "rota", "bare", "ratio");
        auto const line = [&](char const* name, double which) {
            auto const a = quantile(rota, which), b = quantile(bare, which);
            std::printf("%-34s %9.3f %9.3f %9.3f\n", name, a, b, a / b);
            return a / b;
        };
        (void)line("  least, ms", 0);
        (void)line("  p50, ms", 0.5);
        auto const p99 = line("  p99, ms", 0.99);
        (void)line("  most, ms", 1);
        std::printf("%-58s %9.3f .. %.3f\n", "  p50 of a round, rota / bare hiredis: from .. to", quantile(ratios, 0),
                    quantile(ratios, 1));
        print_figure("  p50, rota / bare hiredis, the median round", quantile(ratios), wanted::at_most, 1.3);
        print_figure("  p99, rota / bare hiredis", p99, wanted::at_most, 2);
    }
};

/// The first of each warms up.
series take_turns(pair_of_processes& rota, pair_of_processes& bare, unsigned long times,
                  std::chrono::milliseconds rest) {
    series all;
    for (unsigned long i = 0; i <= times; ++i) {
        double a = 0, b = 0;
        std::this_thread::sleep_for(rest);
        if (i % 4 < 2) {  // both directions in both orders
            a = rota.hand_over(), b = bare.hand_over();
        } else {
            b = bare.hand_over(), a = rota.hand_over();
        }
        if (i == 0) continue;
        all.rota.push_back(a);
        all.bare.push_back(b);
    }
    return all;
}

void print_ping(redis_server& server, unsigned long rounds) {
    bare_connection connection{server.port()};
    bare_command ping{{"PING"}};
    std::vector<double> ms;
    for (unsigned long i = 0; i < rounds; ++i) {
        std::this_thread::sleep_for(1ms);
        auto const before = mono_ns();
        (void)connection.call(ping);
        ms.push_back(static_cast<double>(mono_ns() - before) / 1e6);
    }
    std::printf("PING, after a pause of 1 ms: p50 %.3f ms, p99 %.3f ms\n", quantile(ms), quantile(ms, 0.99));
}

/// Per node and heartbeat of 1 s.
void print_idle(redis_server& server, std::chrono::seconds span) {
    constexpr double nodes = 2;
    std::this_thread::sleep_for(1200ms);
    (void)server.command({"CONFIG", "RESETSTAT"});
    std::this_thread::sleep_for(span);
    auto const calls = server.command_calls();
    auto const per_heartbeat = [&](char const* command) {
        auto const found = calls.find(command);
        return found == calls.end() ? 0.0
                                    : static_cast<double>(found->second) / nodes / static_cast<double>(span.count());
    };
    std::printf("\n2 workers at rest for %lld s, heartbeat 1 s\n", static_cast<long long>(span.count()));
    // The edges of the time looked at may cut off a heartbeat.
    print_figure("  script calls per node and heartbeat", per_heartbeat("evalsha"), wanted::at_most,
                 1 + 1 / static_cast<double>(span.count()));
    print_figure("  blocking reads per node and heartbeat", per_heartbeat("xread"), wanted::at_most, 1);
}

void print_calls(redis_server& server, pair_of_processes& rota) {
    std::this_thread::sleep_for(20ms);
    (void)server.command({"CONFIG", "RESETSTAT"});
    constexpr int counted = 20;
    for (int i = 0; i < counted; ++i) (void)rota.hand_over();
    std::this_thread::sleep_for(20ms);
    std::printf("%-58s %9.1f\n", "script calls per transfer, run and release included",
                static_cast<double>(server.command_calls()["evalsha"]) / counted);
}

struct sizes {
    unsigned long rounds, transfers, leaves;
    bool quick, any_cpu;
};

int measure(std::string const& program, sizes const& s) {
    series transfers, leaves;
    for (unsigned long round = 1; round <= s.rounds; ++round) {
        redis_server server;
        temporary_directory const boards{"rota-wake-"};
        auto const directory = boards.path().string();
        std::optional<a_cpu_each> cpus;
        if (!s.any_cpu) cpus.emplace(server.process().pid(), round == 1);
        if (round == 1) print_ping(server, s.quick ? 100 : 500);
        {
            pair_of_processes rota{program, "worker", server, directory};
            if (round == 1) print_idle(server, s.quick ? 1s : 5s);
            pair_of_processes bare{program, "by-hand", server, directory};
            transfers.add(take_turns(rota, bare, s.transfers, 4ms));
            if (round == 1) print_calls(server, rota);
        }
        pair_of_processes rota{program, "leader", server, directory};
        pair_of_processes bare{program, "lead-by-hand", server, directory};
        // The new leader has learnt of the other, which is back by then.
        leaves.add(take_turns(rota, bare, s.leaves, 3 * leader_heartbeat));
    }
    transfers.print("transfer() to the new owner's handler");
    leaves.print("leave() of the leader to the next one's is_leader()");
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (has_argument(argc, argv, "--help")) return std::fputs(usage, stdout) < 0;
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    try {
        if (auto const as = argument(argc, argv, "--as"); !as.empty()) {
            role const r{.number = static_cast<int>(argument(argc, argv, "--number", 1ul)),
                         .url = argument(argc, argv, "--url"),
                         .prefix = "bench-" + as + ":",
                         .file = argument(argc, argv, "--board"),
                         .port = static_cast<std::uint16_t>(argument(argc, argv, "--port", 0ul))};
            if (as == "worker") return run_worker(r);
            if (as == "leader") return run_leader(r);
            return run_by_hand(r, as == "lead-by-hand");
        }
        bool const quick = has_argument(argc, argv, "--quick");
        sizes const s{.rounds = argument(argc, argv, "--rounds", quick ? 1ul : 5ul),
                      .transfers = argument(argc, argv, "--transfers", quick ? 40ul : 150ul),
                      .leaves = argument(argc, argv, "--leaves", quick ? 4ul : 12ul),
                      .quick = quick,
                      .any_cpu = has_argument(argc, argv, "--any-cpu")};
        if (s.rounds == 0 || s.transfers == 0 || s.leaves == 0) return std::fputs(usage, stderr), 1;
        return measure(argv[0], s);
    } catch (std::exception const& e) {
        std::fprintf(stderr, "bench_wake: could not measure: %s\n", e.what());
        return 1;
    }
}
