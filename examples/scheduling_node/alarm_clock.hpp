// How a coroutine on an event loop sleeps, and is woken: what a condition variable is to a thread.
#pragma once

#include <coroutine>
#include <utility>

#include <rota/loop/event_loop.hpp>

namespace example {

/// For one coroutine at a time, which must not sleep any more when this is destroyed. The loop's thread.
class alarm_clock {
public:
    explicit alarm_clock(rota::loop_ref loop) : timer_{loop.timer([this] { go_off(); })} {}
    alarm_clock(alarm_clock const&) = delete;
    alarm_clock& operator=(alarm_clock const&) = delete;

    class nap {
    public:
        nap(alarm_clock& clock, rota::microseconds at_most) : clock_{clock}, at_most_{at_most} {}
        [[nodiscard]] bool await_ready() const { return std::exchange(clock_.rung_, false); }
        void await_suspend(std::coroutine_handle<> sleeper) {
            clock_.sleeper_ = sleeper;
            clock_.timer_->start(at_most_);
        }
        void await_resume() const {}

    private:
        alarm_clock& clock_;
        rota::microseconds at_most_;
    };
    /// To be awaited: goes on after that time, or when it is rung for.
    [[nodiscard]] nap sleep(rota::microseconds at_most) { return {*this, at_most}; }

    /// Ends the present sleep soon, never inside this call; or else the next one.
    void ring() {
        rung_ = true;
        timer_->start({});
    }

private:
    void go_off() {
        if (!sleeper_) return;
        rung_ = false;
        std::exchange(sleeper_, {}).resume();
    }

    bool rung_ = false;
    std::coroutine_handle<> sleeper_;
    rota::timer_handle timer_;
};

}  // namespace example
