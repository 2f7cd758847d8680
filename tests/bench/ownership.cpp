// How soon the schedules of a node that dies are owned again, over a real Redis, and what that costs: the server in long
// scripts, other clients in waiting, the nodes in bytes and memory.
//
//   lost    100,000 schedules, 50 nodes; a follower gets SIGKILL. Then one joins, and one is drained
//   leader  1,000,000 schedules, 20 nodes; the leader gets SIGKILL: its successor has to read all of that
//
// All nodes but the one that dies are threads of one process, each a blocking coordinator with a run() of its own; that
// one is a process. It is killed just after a heartbeat, so that it counts as alive as long as can be. A schedule is
// owned again when its new owner's sink has heard of it.
//
// Two nodes in ten are given less room than an even share of the dead one's schedules takes, or none at all, to tell
// what a node receives for what it is given from what it receives anyway.
//
// Redis gets a CPU of its own, and all nodes together another; where the system allows it, both go before other programs.
// Another client pings Redis every millisecond.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <memory>
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
#include "server_figures.hpp"

namespace {

using namespace rota::test;
using namespace std::chrono_literals;

constexpr char usage[] =
    "usage: bench_ownership [--part lost|leader] [--schedules N] [--nodes N] [--any-cpu] [--help]\n"
    "\n"
    "  --part P        only that part: lost (100,000 schedules, 50 nodes; about 20 s),\n"
    "                  leader (1,000,000 schedules, 20 nodes; about 1 minute, 1 GB)\n"
    "  --schedules N, --nodes N   other sizes\n"
    "  --any-cpu       leave it to the system which CPU does what\n"
    "\n"
    "Heartbeat 1 s, node ttl and leader lease 3 s.\n";

constexpr auto heartbeat = 1s;
constexpr auto ttl = 3s;  // and lease
constexpr char prefix[] = "bench-ownership:";

[[nodiscard]] rota::options options_of(std::string id) {
    return {.node_id = std::move(id),
            .key_prefix = prefix,
            .heartbeat_interval = heartbeat,
            .node_ttl = ttl,
            .leader_lease = ttl};
}

[[nodiscard]] double seconds_since(long long ns) { return static_cast<double>(mono_ns() - ns) / 1e9; }

// ---------------------------------------------------------------- child processes

int run_victim(std::string const& url) {
    rota::basic_coordinator node{options_of("victim"), rota::hiredis_sync{url}};
    auto const ended = node.run(std::stop_token{});
    std::fprintf(stderr, "victim: %s\n", ended ? "ended" : ended.error().message().c_str());
    return 1;
}

// Lines on stdout: "<when, ns> <how long, us>".
int run_pings(std::string const& socket) {
    auto* const context = ::redisConnectUnix(socket.c_str());
    if (!context || context->err) return 1;
    for (auto next = std::chrono::steady_clock::now();; next += 1ms) {
        std::this_thread::sleep_until(next);
        auto const before = mono_ns();
        auto* const reply = ::redisCommand(context, "PING");
        if (!reply) return 1;
        ::freeReplyObject(reply);
        auto const after = mono_ns();
        std::printf("%lld %lld\n", before, (after - before) / 1000);
        std::fflush(stdout);
        next = std::max(next, std::chrono::steady_clock::now() - 1ms);  // none is made up for
    }
}

/// Another client of that Redis.
class pings {
public:
    pings(std::string const& program, redis_server const& server) {
        process_ = child_process::spawn({program, "--ping", server.unix_socket()});
        (void)run_first(process_.pid(), 2);  // it is not the nodes' part of the machine that is to be measured
        lines_.add("ping", process_.take_stdout());
    }

    /// Milliseconds of those sent since then.
    [[nodiscard]] std::vector<double> since(long long ns) {
        std::vector<double> ms;
        for (auto const& line : lines_.take()) {
            auto const space = line.text.find(' ');
            if (space == std::string::npos || std::stoll(line.text) < ns) continue;
            ms.push_back(std::stod(line.text.substr(space)) / 1e3);
        }
        return ms;
    }

private:
    child_process process_;
    line_collector lines_;
};

// ---------------------------------------------------------------- the nodes

/// What all sinks have told.
struct ownership_count {
    std::atomic<std::int64_t> owned{0};
    std::atomic<long long> last_change_ns{0};
    std::atomic<unsigned> lost_nodes{0};
    std::atomic<unsigned> resyncs{0};
};

class member {
public:
    member(std::string const& id, std::string const& url, ownership_count& all)
        : coordinator_{options_of(id), rota::hiredis_sync{url}, sink{id, all, owned_}} {
        heart_ = std::jthread{[this](std::stop_token const& stop) {
            if (auto ended = coordinator_.run(stop); !ended) {
                std::fprintf(stderr, "a node ended: %s\n", ended.error().message().c_str());
            }
        }};
    }

    [[nodiscard]] std::int64_t owned() const { return owned_.load(); }
    [[nodiscard]] auto& coordinator() { return coordinator_; }

private:
    struct sink {
        std::string self;
        ownership_count& all;
        std::atomic<std::int64_t>& owned;

        void operator()(rota::ownership_changed const& e) {
            auto const change = (e.to.id == self ? 1 : 0) - (e.from.id == self ? 1 : 0);
            owned += change;
            all.owned += change;
            all.last_change_ns = mono_ns();
        }
        void operator()(rota::node_lost const&) { ++all.lost_nodes; }
        void operator()(rota::events_gap const&) { ++all.resyncs; }
    };

    std::atomic<std::int64_t> owned_{0};
    rota::basic_coordinator<rota::hiredis_sync, sink> coordinator_;
    std::jthread heart_;
};

struct sizes {
    std::string part;
    unsigned long schedules;
    unsigned long nodes;
    double bound_s;  // beyond max(ttl, lease)
};

class group {
public:
    group(std::string program, sizes const& s, bool any_cpu)
        : program_{std::move(program)},
          sizes_{s},
          pinned_{!any_cpu},
          scripts_{server_} {
        if (pinned_) {
            run_on_cpu(1, server_.process().pid());
            run_on_cpu(0, 0);
            first_ = run_first(server_.process().pid()) && run_first(0);
        }
        std::printf("\n%lu schedules, %lu nodes%s%s\n", s.schedules, s.nodes,
                    pinned_ ? "; Redis and the nodes on a CPU each" : "", first_ ? ", before other programs" : "");
    }

    void start_victim() {
        victim_ = child_process::spawn({program_, "--victim", server_.url()});
        wait("the victim joins", 20s, [&] { return victim_now().has_value(); });
    }

    void start_others() {
        base_bytes_ = memory_bytes("VmRSS");
        for (unsigned long i = 1; i < sizes_.nodes; ++i) {
            members_.push_back(std::make_unique<member>("node-" + std::to_string(i), server_.url(), count_));
        }
        wait("all nodes join", 20s, [&] {
            auto const all = onlooker_.loads();
            return all && all->size() >= sizes_.nodes - (victim_.running() ? 0 : 1);
        });
    }

    void register_schedules() {
        constexpr unsigned long page_size = 10'000;
        auto const began = mono_ns();
        std::vector<rota::schedule> page;
        for (unsigned long i = 0; i < sizes_.schedules; ++i) {
            page.push_back({.id = fmt::format("customer-{:07}:poll", i)});
            if (page.size() < page_size && i + 1 < sizes_.schedules) continue;
            if (auto done = onlooker_.register_schedules(page).all(); !done) {
                throw std::runtime_error("cannot register: " + done.error().message());
            }
            page.clear();
        }
        print_figure("  registered, s", seconds_since(began));
        settle();
        print_figure("  registered and placed, s", seconds_since(began));
    }

    /// Everything is owned, and the server has nothing to do but heartbeats.
    void settle() {
        wait("all schedules are owned", 300s, [&] {
            auto const all = onlooker_.loads();
            if (!all) return false;
            std::uint64_t stored = 0;
            std::uint64_t pending = 0;
            std::int64_t of_victim = 0;
            for (auto const& each : *all) {
                stored += each.load;
                pending += each.pending;
                if (each.node.id == "victim") of_victim = each.load;
            }
            return pending == 0 && stored == sizes_.schedules &&
                   count_.owned.load() == static_cast<std::int64_t>(sizes_.schedules) - of_victim;
        });
        wait_until_quiet();
    }

    /// One node in ten gets none of what the victim has, and one at most half of an even share.
    void give_some_less_room() {
        auto const share = victim_now()->load / (sizes_.nodes - 1);
        for (std::size_t i = 0; i < members_.size(); ++i) {
            auto const has = static_cast<std::uint32_t>(members_[i]->owned());
            if (i % 10 == 1) set_capacity(*members_[i], has);
            if (i % 10 == 2) set_capacity(*members_[i], has + static_cast<std::uint32_t>(share / 2));
        }
        less_room_ = true;
        wait_until_quiet();
    }
    void give_all_room() {
        for (auto& m : members_) set_capacity(*m, std::nullopt);
        less_room_ = false;
        wait_until_quiet();
    }

    void kill(std::string_view what) {
        auto const seen = victim_now();
        if (!seen) throw std::runtime_error("there is no victim");
        bool const led = victim_leads();
        std::printf("%s: a %s with %u schedules\n", std::string{what}.c_str(), led ? "leader" : "follower", seen->load);
        if (led) print_figure("  its peak RSS per schedule, bytes", memory_bytes("VmHWM", victim_.pid()) / of_all());

        // At rest for as long as what follows takes at least.
        auto const rest_began = bytes_received(server_);
        auto const at_rest = mono_ns();
        std::this_thread::sleep_for(ttl);
        auto const rest_ended = bytes_received(server_);
        auto const rest_s = seconds_since(at_rest);
        auto const owned_before = owned_by_each();

        wait("the victim's heartbeat", 5s, [&] { return victim_now()->remaining > ttl - 60ms; });
        pings another{program_, server_};
        scripts_.reset();
        auto const cpu_before = cpu_seconds(server_);
        auto const own_cpu_before = std::clock();
        auto const bytes_before = bytes_received(server_);
        auto const killed = mono_ns();
        victim_.kill();
        auto const expires_in = std::chrono::duration<double, std::milli>(victim_now()->remaining).count() +
                                static_cast<double>(mono_ns() - killed) / 1e6;
        wait("all is owned again", 120s,
             [&] { return count_.owned.load() == static_cast<std::int64_t>(sizes_.schedules); });
        auto const took_ms = static_cast<double>(count_.last_change_ns.load() - killed) / 1e6;
        auto const window_s = seconds_since(killed);
        auto const bytes_after = bytes_received(server_);
        auto const scripts = scripts_.read();
        auto const waits = another.since(killed);
        auto const server_cpu = cpu_seconds(server_) - cpu_before;
        auto const own_cpu = static_cast<double>(std::clock() - own_cpu_before) / CLOCKS_PER_SEC;

        print_figure("  SIGKILL to all owned again, s", took_ms / 1e3, wanted::at_most,
                     std::chrono::duration<double>(ttl).count() + sizes_.bound_s);
        print_figure("    ... after it counted as dead", (took_ms - expires_in) / 1e3);
        print_scripts(scripts, led ? judged::no : judged::yes);
        print_figure("  PING of another client, p99 ms", quantile(waits, 0.99), wanted::at_most, 10);
        print_figure("    ... longest", quantile(waits, 1));
        print_figure("  CPU of the server meanwhile, s", server_cpu);
        print_figure("  CPU of the nodes meanwhile, s", own_cpu);
        print_bytes(owned_before, rest_began, rest_ended, window_s / rest_s, bytes_before, bytes_after);

        if (led) print_while_read(killed);
        if (count_.lost_nodes != 0) std::printf("  %u nodes lost their membership\n", count_.lost_nodes.exchange(0));
        if (count_.resyncs != 0) std::printf("  %u nodes read all anew\n", count_.resyncs.exchange(0));
    }

    // The new leader goes on to read who owns what.
    void print_while_read(long long killed) {
        scripts_.reset();
        pings another{program_, server_};
        auto const from = mono_ns();
        wait_until_quiet();
        print_figure("  SIGKILL to the new leader having read all, s", seconds_since(killed) - 0.5);
        print_scripts(scripts_.read());
        auto const waits = another.since(from);
        print_figure("    PING of another client, p99 ms", quantile(waits, 0.99), wanted::at_most, 10);
        print_figure("    ... longest", quantile(waits, 1));
    }

    void print_memory() {
        print_figure("peak RSS of the nodes per schedule, bytes", (memory_bytes("VmHWM") - base_bytes_) / of_all());
        print_figure("memory of the server per schedule, bytes",
                     std::stod(server_.info("memory").at("used_memory")) / of_all());
    }

    /// From the start of a node to its having an even share.
    void start_victim_and_wait_for_its_share() {
        scripts_.reset();
        auto const began = mono_ns();
        start_victim();
        wait("the new node has its share", 120s, [&] {
            auto const now = victim_now();
            return now && now->pending == 0 && now->load + 1 >= sizes_.schedules / sizes_.nodes;
        });
        std::printf("a node joins\n");
        print_figure("  to its having an even share, s", seconds_since(began));
        print_scripts(scripts_.read());
        settle();
    }

    /// From the order to the node's being empty, and it is no leader.
    void drain_one() {
        auto const leader = members_.front()->coordinator().leader();
        auto const& drained = leader && leader->node.id == "node-1" ? members_[1] : members_[0];
        auto const id = leader && leader->node.id == "node-1" ? "node-2" : "node-1";
        scripts_.reset();
        auto const began = mono_ns();
        std::printf("a follower with %lld schedules is drained\n", static_cast<long long>(drained->owned()));
        if (auto ordered = onlooker_.drain(id); !ordered) throw std::runtime_error(ordered.error().message());
        wait("the drained node is empty", 60s, [&] { return drained->owned() == 0; });
        print_figure("  to its being empty, s", seconds_since(began));
        settle();
        print_scripts(scripts_.read());
    }

private:
    template <typename Condition>
    static void wait(std::string_view for_what, deadline until, Condition&& condition) {
        if (!poll_until(until, condition, 5ms)) throw std::runtime_error("not in time: " + std::string{for_what});
    }

    [[nodiscard]] double of_all() const { return static_cast<double>(sizes_.schedules); }

    static void set_capacity(member& m, std::optional<std::uint32_t> capacity) {
        if (auto told = m.coordinator().set_attributes({.capacity = capacity}); !told) {
            throw std::runtime_error("capacity: " + told.error().message());
        }
    }

    [[nodiscard]] std::optional<rota::node_status> victim_now() {
        auto const all = onlooker_.nodes();
        if (!all) return std::nullopt;
        for (auto const& each : *all) {
            if (each.alive && each.node.id == "victim") return each;
        }
        return std::nullopt;
    }

    [[nodiscard]] bool victim_leads() {
        auto const leader = members_.front()->coordinator().leader();
        return leader && leader->node.id == "victim";
    }

    // The requests that are more than heartbeats and this look itself have ended.
    void wait_until_quiet() {
        auto const calls = [&] { return server_.command_calls()["evalsha"]; };
        wait("the server has nothing to do", 300s, [&] {
            auto const before = calls();
            std::this_thread::sleep_for(500ms);
            return calls() - before <= sizes_.nodes;
        });
    }

    [[nodiscard]] std::vector<std::int64_t> owned_by_each() const {
        std::vector<std::int64_t> each;
        for (auto const& m : members_) each.push_back(m->owned());
        return each;
    }

    enum class judged { yes, no };
    static void print_scripts(script_times::summary const& s, judged by_targets = judged::no) {
        std::printf("  %llu script calls, %.3f ms in the mean\n", static_cast<unsigned long long>(s.calls), s.mean_ms);
        if (by_targets == judged::yes) {
            print_figure("  scripts, p99 ms", s.p99_ms, wanted::at_most, 2);
            print_figure("  longest script, ms", s.longest_ms, wanted::at_most, 5);
        } else {
            print_figure("  scripts, p99 ms", s.p99_ms);
            print_figure("  longest script, ms", s.longest_ms);
        }
        for (auto const& each : s.slowest) {
            std::printf("    %-20s %6zu calls above %.1f ms, the longest %.3f\n", std::string{each.name}.c_str(),
                        each.slow, script_times::limit_ms, each.longest_ms);
        }
    }

    using bytes = std::map<std::string, std::uint64_t>;
    void print_bytes(std::vector<std::int64_t> const& owned_before, bytes rest_began, bytes rest_ended, double longer,
                     bytes before, bytes after) {
        auto const leader = members_.front()->coordinator().leader();
        auto const leader_id = leader ? leader->node.id : std::string{};
        struct tally {
            std::vector<double> more{};  // bytes beyond those at rest
            std::vector<double> each{};  // ... for each schedule
            std::int64_t gained = 0;
        };
        tally given_all, given_less, given_none;
        std::printf("  bytes that a node received, beyond those at rest\n");
        for (std::size_t i = 0; i < members_.size(); ++i) {
            auto const id = "node-" + std::to_string(i + 1);
            auto const at_rest = static_cast<double>(rest_ended[id] - rest_began[id]) * longer;
            auto const more = static_cast<double>(after[id] - before[id]) - at_rest;
            auto const gained = members_[i]->owned() - owned_before[i];
            if (id == leader_id) {
                std::printf("    the leader %10.0f\n", more);
                continue;
            }
            auto& tally = !less_room_ || i % 10 == 0 || i % 10 > 2 ? given_all : i % 10 == 1 ? given_none : given_less;
            tally.more.push_back(more);
            tally.gained += gained;
            if (gained > 0) tally.each.push_back(more / static_cast<double>(gained));
        }
        auto const print_tally = [](char const* what, tally const& t) {
            if (t.more.empty()) return;
            std::printf("    %-22s %3zu nodes, %5.0f schedules each, bytes: least %.0f, median %.0f, most %.0f\n", what,
                        t.more.size(), static_cast<double>(t.gained) / static_cast<double>(t.more.size()),
                        quantile(t.more, 0), quantile(t.more), quantile(t.more, 1));
        };
        print_tally("with room", given_all);
        print_tally("with half the room", given_less);
        print_tally("without room", given_none);
        if (given_all.each.empty()) return;
        auto const usual = quantile(given_all.each);
        print_figure("    bytes per schedule, median", usual);
        print_figure("    ... most of any node, as a multiple of that", quantile(given_all.each, 1) / usual,
                     wanted::at_most, 1.5);
        if (given_less.each.empty() || given_none.more.empty()) return;
        print_figure("    ... with half the room, as a multiple of that", quantile(given_less.each) / usual,
                     wanted::at_most, 1.5);
        print_figure("    without room, as a multiple of those with",
                     quantile(given_none.more) / quantile(given_all.more), wanted::at_most, 0.1);
    }

    std::string program_;
    sizes sizes_;
    bool pinned_;
    bool first_ = false;
    redis_server server_;
    script_times scripts_;
    rota::basic_coordinator<rota::hiredis_sync> onlooker_{options_of("onlooker"), rota::hiredis_sync{server_.url()}};
    ownership_count count_;
    double base_bytes_ = 0;
    bool less_room_ = false;
    child_process victim_;
    std::vector<std::unique_ptr<member>> members_;
};

int measure_lost(std::string const& program, sizes const& s, bool any_cpu) {
    group nodes{program, s, any_cpu};
    nodes.start_others();
    nodes.start_victim();
    nodes.register_schedules();
    nodes.give_some_less_room();
    nodes.kill("a node is lost");
    nodes.give_all_room();
    nodes.start_victim_and_wait_for_its_share();
    nodes.drain_one();
    nodes.print_memory();
    return 0;
}

int measure_leader(std::string const& program, sizes const& s, bool any_cpu) {
    group nodes{program, s, any_cpu};
    nodes.start_victim();  // the first one leads
    nodes.start_others();
    nodes.register_schedules();
    nodes.kill("the leader is lost");
    nodes.print_memory();
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (has_argument(argc, argv, "--help")) return std::fputs(usage, stdout) < 0;
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    try {
        if (auto const url = argument(argc, argv, "--victim"); !url.empty()) return run_victim(url);
        if (auto const socket = argument(argc, argv, "--ping"); !socket.empty()) {
            return run_pings(socket);
        }
        auto const part = argument(argc, argv, "--part");
        bool const any_cpu = has_argument(argc, argv, "--any-cpu");
        if (part == "lost") {
            return measure_lost(
                argv[0],
                {"lost", argument(argc, argv, "--schedules", 100'000ul), argument(argc, argv, "--nodes", 50ul), 0.25},
                any_cpu);
        }
        if (part == "leader") {
            return measure_leader(argv[0],
                                  {"leader", argument(argc, argv, "--schedules", 1'000'000ul),
                                   argument(argc, argv, "--nodes", 20ul), 1.5},
                                  any_cpu);
        }
        if (!part.empty()) return std::fputs(usage, stderr), 1;
        // A process each, so that each has a peak of its own.
        int failed = 0;
        for (auto const* each : {"lost", "leader"}) {
            std::vector<std::string> command(argv, argv + argc);
            command.insert(command.end(), {"--part", each});
            auto process = child_process::spawn(command, {.out = output::inherit});
            auto const ended = process.exit_status(600s);
            if (!ended || !ended->success()) failed = 1;
        }
        return failed;
    } catch (std::exception const& e) {
        std::fprintf(stderr, "bench_ownership: could not measure: %s\n", e.what());
        return 1;
    }
}
