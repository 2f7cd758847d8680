// The node on threads: one takes part (run), some do the runs, one gives the orders that SIGUSR1 asks for, and the one that
// started it keeps house. Calls wait for their replies. async_node.hpp is the same node on an event loop.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rota/coordinator.hpp>
#include <rota/sink/sinks.hpp>
#include <rota/transport/hiredis_sync.hpp>

#include "agenda.hpp"
#include "command_line.hpp"
#include "drain_switch.hpp"
#include "report.hpp"
#include "rules.hpp"
#include "signal_watch.hpp"
#include "strategy.hpp"
#include "work.hpp"

namespace example {

class blocking_node {
public:
    explicit blocking_node(settings const& asked)
        : asked_{asked},
          node_{asked.options, rota::hiredis_sync{asked.redis}, strategy{}, sinks{std::ref(told_), std::ref(todo_)}} {}

    /// Until a signal asks it to stop, or it cannot go on. The exit code.
    [[nodiscard]] int run() {
        signal_watch const signals{stop_, [this] { flip(); }};
        if (!join()) return exit_code_;
        std::jthread const heart{[this](std::stop_token const& end) { take_part(end); }};
        {
            std::vector<std::jthread> threads;
            threads.emplace_back([this] { obey_the_switch(); });
            for (std::uint32_t i = 0; i < asked_.threads; ++i) threads.emplace_back([this] { do_the_runs(); });
            keep_house();
        }
        if (auto left = node_.leave(); !left && exit_code_ == 0) told_.not_left(left.error());
        return exit_code_;
    }

private:
    using clock = std::chrono::steady_clock;
    using sinks = rota::sinks<std::reference_wrapper<report>, std::reference_wrapper<agenda>>;
    using coordinator = rota::basic_coordinator<rota::hiredis_sync, strategy, sinks>;

    [[nodiscard]] bool stopping() const { return stop_.stop_requested(); }

    /// As soon as Redis is there. False: asked to stop before that, or it will never work.
    [[nodiscard]] bool join() {
        while (!stopping()) {
            auto const joined = node_.join();
            if (joined) return true;
            if (!may_pass(joined.error())) {
                told_.not_joined(joined.error());
                exit_code_ = exit_code_of(joined.error());
                return false;
            }
            told_.no_contact(joined.error().message());
            auto const again = clock::now() + join_retry;
            while (!stopping() && clock::now() < again) std::this_thread::sleep_for(std::chrono::milliseconds{10});
        }
        return false;
    }

    void take_part(std::stop_token const& end) {
        auto const ended = node_.run(end);
        if (ended || stopping()) return;
        told_.say(ended.error().message());
        exit_code_ = exit_refused;
        stop_.request_stop();
    }

    // ------------------------------------------------ runs

    void do_the_runs() {
        while (auto const job = todo_.next(stop_.get_token())) {
            run(job->schedule);
            todo_.put_off(*job, asked_.period);
        }
    }

    void run(std::string const& schedule) {
        auto lock = node_.try_lock(schedule, lock_ttl_);
        if (!lock) {
            told_.run_refused(schedule, lock.error().message());
            if (concerns_all(lock.error())) todo_.rest(asked_.options.heartbeat_interval);
            return;
        }
        auto const generation = todo_.generation_of(schedule);
        if (!told_.run_started(*lock, generation)) return;
        for (work all{asked_.work, lock_ttl_}; auto const step = all.next();) {
            if (!lock->valid()) {
                told_.run_broken_off(*lock);
                break;
            }
            if (step->extend_first) told_.run_extended(*lock, lock->extend(lock_ttl_));
            std::this_thread::sleep_for(step->time);
        }
        told_.run_finished(*lock, *generation);
        (void)lock->release();
    }

    // ------------------------------------------------ housekeeping

    /// Registers the schedules when that is due, and says how things are.
    void keep_house() {
        while (!stopping()) {
            if (todo_.take_registration(stop_.get_token(), clock::now() + housekeeping_interval)) register_schedules();
            told_.remind();
            if (told_.summary_is_due()) told_.sum_up(todo_.owned());
        }
    }

    void register_schedules() {
        rota::result<void> registered;
        for (std::uint32_t i = 0; registered && i < asked_.schedules; i += rota::op::max_batch) {
            registered = node_.register_schedules(page_from(i, asked_)).all();
        }
        told_.registered(registered);
        if (!registered) todo_.registration_failed(registration_retry);
    }

    // ------------------------------------------------ draining

    void obey_the_switch() {
        auto const& self = asked_.options.node_id;
        drain_switch drain{self, told_};
        while (!stopping()) {
            if (drain.must_look()) drain.seen(node_.nodes());
            if (auto const order = drain.order()) {
                drain.ordered(*order, *order ? node_.drain(self) : node_.undrain(self));
            }
            if (wait_for_flip(drain.settled())) drain.flip();
        }
    }

    void flip() {
        std::lock_guard const lock{mutex_};
        flipped_ = !flipped_;
        news_.notify_all();
    }

    /// Until then, or for a heartbeat; or until stop is requested.
    [[nodiscard]] bool wait_for_flip(bool however_long) {
        std::unique_lock lock{mutex_};
        auto const flipped = [this] { return flipped_; };
        if (however_long) {
            news_.wait(lock, stop_.get_token(), flipped);
        } else {
            news_.wait_for(lock, stop_.get_token(), asked_.options.heartbeat_interval, flipped);
        }
        return std::exchange(flipped_, false);
    }

    settings const& asked_;
    rota::microseconds const lock_ttl_ = lock_ttl(asked_);
    std::stop_source stop_;
    std::atomic<int> exit_code_{0};

    std::mutex mutex_;
    std::condition_variable_any news_;
    bool flipped_ = false;  // an odd number of times

    report told_{asked_.options.node_id, asked_.json};
    agenda todo_{asked_.options.node_id, asked_.idle};
    coordinator node_;
};

}  // namespace example
