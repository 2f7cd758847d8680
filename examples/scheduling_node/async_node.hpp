// The node on an event loop: one thread takes part, does the runs, gives the orders and keeps house, and never waits. Each
// of these is a coroutine, which is suspended while a request is under way, or asleep on a rota::alarm_clock. (Signals have a
// thread that posts them to the loop.) blocking_node.hpp is the same node on threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>

#include <rota/coro.hpp>
#include <rota/loop/poll_loop.hpp>
#include <rota/sink/sinks.hpp>
#include <rota/transport/hiredis_async.hpp>

#include "agenda.hpp"
#include "command_line.hpp"
#include "drain_switch.hpp"
#include "report.hpp"
#include "rules.hpp"
#include "signal_watch.hpp"
#include "strategy.hpp"
#include "work.hpp"

namespace example {

class async_node {
public:
    explicit async_node(settings const& asked)
        : asked_{asked},
          node_{asked.options, rota::hiredis_async{asked.redis, loop_}, strategy{},
                sinks{std::ref(told_), std::ref(todo_), waker{*this}}} {}

    /// Until a signal asks it to stop, or it cannot go on. The exit code.
    [[nodiscard]] int run() {
        signal_watch const signals{stop_, [this] { loop_.post([this] { flip(); }); }};
        std::stop_callback const on_stop{stop_.get_token(), [this] { loop_.post([this] { wake_all(); }); }};
        join();
        loop_.run();
        return exit_code_;
    }

private:
    // Whatever happens may make something due. (A sink must not do it itself: its calls are refused.)
    struct waker {
        async_node& node;
        void operator()(rota::event const&) const {
            node.runs_clock_.ring();
            node.house_clock_.ring();
        }
    };
    using sinks = rota::sinks<std::reference_wrapper<report>, std::reference_wrapper<agenda>, waker>;
    using coordinator = rota::basic_coordinator<rota::hiredis_async, strategy, sinks>;

    [[nodiscard]] bool stopping() const { return stop_.stop_requested(); }

    void wake_all() {
        for (auto* each : {&runs_clock_, &house_clock_, &drain_clock_}) each->ring();
    }

    /// As soon as Redis is there.
    rota::spawned join() {
        rota::alarm_clock pause{loop_};
        while (!stopping()) {
            auto const joined = co_await calls_.join();
            if (joined) {
                take_part();
                co_return;
            }
            if (!may_pass(joined.error())) {
                told_.not_joined(joined.error());
                exit_code_ = exit_code_of(joined.error());
                break;
            }
            told_.no_contact(joined.error().message());
            co_await pause.sleep(join_retry);
        }
        loop_.stop();
    }

    rota::spawned take_part() {
        node_.run([this](rota::result<void> const& ended) {
            if (ended || stopping()) return;
            told_.say(ended.error().message());
            exit_code_ = exit_refused;
            stop_.request_stop();
        });
        keep_house();
        obey_the_switch();
        while (!stopping() || runs_ + helpers_ > 0) co_await runs_clock_.sleep(start_what_is_due());

        auto const left = co_await calls_.leave();
        if (!left && exit_code_ == 0) told_.not_left(left.error());
        loop_.stop();
    }

    // ------------------------------------------------ runs

    /// How long nothing more can start, if nothing happens.
    [[nodiscard]] rota::microseconds start_what_is_due() {
        while (!stopping() && runs_ < asked_.threads) {
            auto const now = agenda::clock::now();
            if (auto const job = todo_.next({}, now)) {
                run(*job);
            } else {
                return std::chrono::ceil<rota::microseconds>(todo_.next_due() - now);
            }
        }
        return rota::microseconds::max();
    }

    rota::spawned run(agenda::job job) {
        ++runs_;
        auto lock = co_await calls_.try_lock(job.schedule, lock_ttl_);
        auto const generation = todo_.generation_of(job.schedule);
        if (!lock) {
            told_.run_refused(job.schedule, lock.error().message());
            if (concerns_all(lock.error())) todo_.rest(asked_.options.heartbeat_interval);
        } else if (told_.run_started(*lock, generation)) {
            rota::alarm_clock pause{loop_};
            for (work all{asked_.work, lock_ttl_}; auto const step = all.next();) {
                if (!lock->valid()) {
                    told_.run_broken_off(*lock);
                    break;
                }
                if (step->extend_first) {
                    auto const extended = co_await rota::extended(*lock, lock_ttl_);
                    told_.run_extended(*lock, extended);
                }
                co_await pause.sleep(step->time);
            }
            told_.run_finished(*lock, *generation);
            (void)co_await rota::released(*lock);
        }
        todo_.put_off(job, asked_.period);
        --runs_;
        runs_clock_.ring();
    }

    // ------------------------------------------------ housekeeping

    /// Registers the schedules when that is due, and says how things are.
    rota::spawned keep_house() {
        ++helpers_;
        while (!stopping()) {
            if (todo_.take_registration({}, agenda::clock::now())) {
                rota::result<void> registered;
                for (std::uint32_t i = 0; registered && i < asked_.schedules; i += rota::op::max_batch) {
                    auto const answers = co_await calls_.register_schedules(page_from(i, asked_));
                    registered = answers.all();
                }
                told_.registered(registered);
                if (!registered) todo_.registration_failed(registration_retry);
            }
            told_.remind();
            if (told_.summary_is_due()) told_.sum_up(todo_.owned());
            co_await house_clock_.sleep(housekeeping_interval);
        }
        --helpers_;
        runs_clock_.ring();
    }

    // ------------------------------------------------ draining

    rota::spawned obey_the_switch() {
        ++helpers_;
        auto const& self = asked_.options.node_id;
        while (!stopping()) {
            if (drain_.must_look()) {
                auto const all = co_await calls_.nodes();
                drain_.seen(all);
            }
            if (auto const order = drain_.order()) {
                // (Not in one expression: g++ 12 evaluates both sides of a conditional that is awaited.)
                auto under_way = *order ? calls_.drain(self) : calls_.undrain(self);
                auto const done = co_await under_way;
                drain_.ordered(*order, done);
            }
            auto const look_again = drain_.settled() ? rota::microseconds::max() : asked_.options.heartbeat_interval;
            co_await drain_clock_.sleep(look_again);
        }
        --helpers_;
        runs_clock_.ring();
    }

    void flip() {
        drain_.flip();
        drain_clock_.ring();
    }

    settings const& asked_;
    rota::microseconds const lock_ttl_ = lock_ttl(asked_);
    std::stop_source stop_;
    int exit_code_ = 0;
    std::uint32_t runs_ = 0;     // under way
    std::uint32_t helpers_ = 0;  // what else must have ended before it leaves

    report told_{asked_.options.node_id, asked_.json};
    agenda todo_{asked_.options.node_id, asked_.idle};
    drain_switch drain_{asked_.options.node_id, told_};

    rota::poll_loop loop_;
    rota::alarm_clock runs_clock_{loop_};
    rota::alarm_clock house_clock_{loop_};
    rota::alarm_clock drain_clock_{loop_};
    coordinator node_;
    rota::awaiting<coordinator> calls_{node_};
};

}  // namespace example
