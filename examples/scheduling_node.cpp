// A complete node: registers schedules, takes part in the group, runs what it owns, and leaves in order. Start it in
// several terminals, kill one, and watch its schedules move. `--help` lists its options and what it prints.
//
// One thread takes part (run), some do the runs, one waits for signals, and one gives the orders that SIGUSR1 asks for.
// What happens comes through the event sinks: `report` says it, `agenda` makes of it what is to be run next.
#if !__has_include(<hiredis/hiredis.h>)
#error "scheduling_node talks to Redis: it needs hiredis (Debian: libhiredis-dev)"
#endif

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/core.h>

#include <rota/coordinator.hpp>
#include <rota/sink/sinks.hpp>
#include <rota/transport/hiredis_sync.hpp>

#include "scheduling_node/agenda.hpp"
#include "scheduling_node/command_line.hpp"
#include "scheduling_node/drain_switch.hpp"
#include "scheduling_node/report.hpp"
#include "scheduling_node/strategy.hpp"

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using example::agenda;
using example::drain_switch;
using example::report;

using sinks = rota::sinks<std::reference_wrapper<report>, std::reference_wrapper<agenda>>;
using coordinator = rota::basic_coordinator<rota::hiredis_sync, example::strategy, sinks>;

constexpr int refused = 1;
constexpr int bad_usage = 2;

/// Turns SIGINT and SIGTERM into a request to stop; a second one ends the process at once. SIGUSR1 flips the switch. Make
/// it before any thread: they inherit that these signals are blocked, so only its own thread gets them, by waiting.
class signal_watch {
public:
    signal_watch(std::stop_source stop, drain_switch& drain) {
        ::sigemptyset(&signals_);
        ::sigaddset(&signals_, SIGINT);
        ::sigaddset(&signals_, SIGTERM);
        ::sigaddset(&signals_, SIGUSR1);
        ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
        thread_ = std::jthread{[this, stop = std::move(stop), &drain](std::stop_token done) mutable {
            for (int signal = 0; ::sigwait(&signals_, &signal) == 0 && !done.stop_requested();) {
                if (signal == SIGUSR1) {
                    drain.flip();
                } else if (!stop.request_stop()) {
                    std::_Exit(128 + signal);
                }
            }
        }};
    }
    signal_watch(signal_watch const&) = delete;
    signal_watch& operator=(signal_watch const&) = delete;
    ~signal_watch() {
        thread_.request_stop();
        ::pthread_kill(thread_.native_handle(), SIGTERM);  // ends its wait
    }

private:
    sigset_t signals_{};
    std::jthread thread_;
};

/// Sleeps, unless stop is requested.
void pause(std::stop_token const& stop, clock_type::duration time) {
    auto const until = clock_type::now() + time;
    while (!stop.stop_requested() && clock_type::now() < until) std::this_thread::sleep_for(10ms);
}

/// Joins as soon as Redis is there. An error: it will never work like this.
rota::result<void> join(coordinator& node, report& told, std::stop_token const& stop) {
    while (!stop.stop_requested()) {
        auto const joined = node.join();
        if (joined) return {};
        auto const& why = joined.error();
        if (why != rota::errc::unavailable && why != rota::errc::timed_out && why != rota::errc::outcome_unknown) {
            return why;
        }
        told.no_contact(why.message());
        pause(stop, 100ms);
    }
    return rota::errc::cancelled;
}

/// One page after the other, so that a lost connection does not cost a timeout for each.
rota::result<void> register_schedules(coordinator& node, example::settings const& asked) {
    std::vector<rota::schedule> page;
    for (std::uint32_t i = 0; i < asked.schedules; ++i) {
        page.push_back({.id = fmt::format("schedule-{}", i), .rules = {.required = asked.required_labels}});
        if (page.size() < rota::op::max_batch && i + 1 < asked.schedules) continue;
        if (auto registered = node.register_schedules(page).all(); !registered) return registered;
        page.clear();
    }
    return {};
}

/// Stands for what a service would do with a schedule under lock.token(). It goes on only while the lock is valid, and
/// asks for more time when half of what it has is over.
void work(rota::schedule_lock& lock, rota::microseconds time, rota::microseconds lock_ttl, report& told) {
    constexpr rota::microseconds slice = 5ms;
    auto extend_after = std::min(time, lock_ttl) / 2;
    for (rota::microseconds done{}; done < time;) {
        if (!lock.valid()) {
            told.say(lock.name() + ": the run is broken off, the lock has ended");
            return;
        }
        if (done >= extend_after) {
            if (auto extended = lock.extend(lock_ttl); !extended) {
                told.say(lock.name() + ": no more time, " + extended.error().message());
            }
            extend_after = done + lock_ttl / 2;
        }
        auto const step = std::min({slice, time - done, std::max(extend_after - done, rota::microseconds{1})});
        std::this_thread::sleep_for(step);
        done += step;
    }
}

/// What ails the node, not just one schedule.
bool concerns_all(rota::error const& why) {
    return why != rota::errc::not_owner && why != rota::errc::locked_by_other && why != rota::errc::unknown_schedule;
}

void run(coordinator& node, std::string const& schedule, example::settings const& asked, report& told, agenda& todo) {
    // At the end of the ttl the group may take this node for dead: no use in locks that last longer.
    auto const lock_ttl = rota::with_defaults(asked.options).node_ttl;
    auto lock = node.try_lock(schedule, lock_ttl);
    if (!lock) {
        told.run_refused(schedule, lock.error().message());
        if (concerns_all(lock.error())) todo.rest(asked.options.heartbeat_interval);
        return;
    }
    auto const generation = todo.generation_of(schedule);
    if (!generation || !told.run_started(*lock, *generation)) {
        told.run_refused(schedule, "the lock ended before the run began");
        return;
    }
    work(*lock, asked.work, lock_ttl, told);
    told.run_finished(*lock, *generation);
    (void)lock->release();
}

/// Until stop is requested.
void do_the_runs(coordinator& node, example::settings const& asked, report& told, agenda& todo,
                 std::stop_token const& stop) {
    while (auto const job = todo.next(stop)) {
        run(node, job->schedule, asked, told, todo);
        todo.put_off(*job, asked.period);
    }
}

/// Until stop is requested: registers the schedules when that is due, and says how things are.
void keep_house(coordinator& node, example::settings const& asked, report& told, agenda& todo,
                std::stop_token const& stop) {
    constexpr auto summary_interval = 5s;
    auto next_summary = clock_type::now() + summary_interval;
    while (!stop.stop_requested()) {
        if (todo.take_registration(stop, clock_type::now() + 500ms)) {
            if (auto registered = register_schedules(node, asked); registered) {
                told.in_contact();
            } else {
                told.no_contact("the schedules are not registered: " + registered.error().message());
                todo.registration_failed(500ms);
            }
        }
        told.remind();
        if (clock_type::now() >= next_summary) {
            next_summary += summary_interval;
            told.sum_up(todo.owned());
        }
    }
}

int take_part(example::settings const& asked) {
    std::stop_source stop;
    drain_switch drain;
    signal_watch const signals{stop, drain};
    report told{asked.options.node_id, asked.json};
    agenda todo{asked.options.node_id, asked.idle};
    coordinator node{asked.options, rota::hiredis_sync{asked.redis}, example::strategy{},
                     sinks{std::ref(told), std::ref(todo)}};

    if (auto joined = join(node, told, stop.get_token()); !joined) {
        if (joined.error() == rota::errc::cancelled) return 0;
        fmt::print(stderr, "scheduling_node: {}\n", joined.error().message());
        return joined.error() == rota::errc::invalid_argument ? bad_usage : refused;
    }
    std::atomic<int> exit_code{0};
    std::jthread const heart{[&](std::stop_token const& end) {
        auto const ended = node.run(end);
        if (ended || stop.stop_requested()) return;
        told.say(ended.error().message());
        exit_code = refused;
        stop.request_stop();
    }};
    {
        std::vector<std::jthread> threads;
        threads.emplace_back(
            [&] { drain.obey(node, asked.options.node_id, told, asked.options.heartbeat_interval, stop.get_token()); });
        for (std::uint32_t i = 0; i < asked.threads; ++i) {
            threads.emplace_back([&] { do_the_runs(node, asked, told, todo, stop.get_token()); });
        }
        keep_house(node, asked, told, todo, stop.get_token());
    }
    if (auto left = node.leave(); !left && exit_code == 0) {
        told.say("the group could not be told, and will notice later: " + left.error().message());
    }
    return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
    auto const asked = example::read_command_line(argc, argv);
    if (auto const* words = std::get_if<example::parting_words>(&asked)) {
        fmt::print(words->exit_code == 0 ? stdout : stderr, "{}", words->text);
        return words->exit_code;
    }
    return take_part(std::get<example::settings>(asked));
}
