// co_await for the calls of an asynchronous coordinator. Opt-in: rota.hpp does not include it.
//
//   rota::spawned work(node_type& node) {
//       rota::awaiting calls{node};
//       auto lock = co_await calls.try_lock("feed-1", 30s);                   // rota::result<rota::async_lock>
//       if (lock) {
//           co_await process(lock->token());
//           (void)co_await rota::released(*lock);
//       }
//   }
//
// Promises: a call is made at once, not when it is awaited, so several can be under way: keep what they return and await
// one after the other. The coroutine goes on on the loop's thread. A coroutine that is destroyed while it awaits is not
// resumed; the call goes on all the same.
//
// Beware of g++ 12: name what you await, unless it is a plain call. It does not compile a list in braces inside a co_await
// expression, destroys a lambda with captures that is made in one twice, and of `co_await (a ? f() : g())` it makes both
// calls.
#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "async_coordinator.hpp"
#include "async_lock.hpp"
#include "detail/flow.hpp"
#include "loop/event_loop.hpp"

namespace rota {

/// A call that was made, to be awaited once. Move-only.
template <typename T>
class [[nodiscard]] awaited {
    struct state {
        std::optional<T> value;
        std::coroutine_handle<> waiting;
    };

public:
    awaited() : state_{std::make_shared<state>()} {}
    awaited(awaited&&) noexcept = default;
    awaited& operator=(awaited&&) = delete;
    ~awaited() {
        if (state_) state_->waiting = {};
    }

    /// To be given to the call.
    [[nodiscard]] auto handler() const {
        return [s = state_](T value) {
            s->value.emplace(std::move(value));
            if (s->waiting) std::exchange(s->waiting, {}).resume();
        };
    }

    [[nodiscard]] bool await_ready() const noexcept { return state_->value.has_value(); }
    void await_suspend(std::coroutine_handle<> h) noexcept { state_->waiting = h; }
    T await_resume() { return *std::move(state_->value); }

private:
    std::shared_ptr<state> state_;
};

/// A coroutine that runs by itself from its call on, up to its end. An exception that leaves it leaves the loop's run().
using spawned = detail::detached_flow;

/// What a coroutine sleeps on: it goes on after a time, or when somebody rings. For one coroutine at a time, which must not
/// sleep any more when this is destroyed. The loop's thread; an event sink may ring, too.
class alarm_clock {
public:
    explicit alarm_clock(loop_ref loop) : timer_{loop.timer([this] { go_off(); })} {}
    alarm_clock(alarm_clock const&) = delete;
    alarm_clock& operator=(alarm_clock const&) = delete;

    class [[nodiscard]] nap {
    public:
        nap(nap const&) = delete;
        nap& operator=(nap const&) = delete;
        ~nap() {
            if (sleeper_ && clock_.sleeper_ == sleeper_) clock_.sleeper_ = {};
        }
        [[nodiscard]] bool await_ready() const noexcept { return std::exchange(clock_.rung_, false); }
        void await_suspend(std::coroutine_handle<> sleeper) {
            clock_.sleeper_ = sleeper_ = sleeper;
            clock_.timer_->start(at_most_);
        }
        void await_resume() noexcept { sleeper_ = {}; }

    private:
        friend class alarm_clock;
        nap(alarm_clock& clock, microseconds at_most) : clock_{clock}, at_most_{at_most} {}
        alarm_clock& clock_;
        microseconds at_most_;
        std::coroutine_handle<> sleeper_;
    };
    /// To be awaited.
    nap sleep(microseconds at_most) { return {*this, at_most}; }

    /// Ends the present sleep soon, never inside this call; if there is none, the next one.
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
    timer_handle timer_;
};

/// A coordinator's calls by their names, without a handler: each returns what to co_await for what the blocking call of
/// that name returns. Refers to the coordinator, which must outlive it, and the awaiting coroutine its argument's calls.
template <typename Node>
class awaiting {
public:
    explicit awaiting(Node& node) noexcept : node_{node} {}

    auto join() {
        return call<result<void>>([&](auto h) { node_.join(std::move(h)); });
    }
    auto tick() {
        return call<result<void>>([&](auto h) { node_.tick(std::move(h)); });
    }
    auto run(std::stop_token stop = {}) {
        return call<result<void>>([&](auto h) { node_.run(std::move(stop), std::move(h)); });
    }
    auto leave() {
        return call<result<void>>([&](auto h) { node_.leave(std::move(h)); });
    }

    auto try_become_leader() {
        return call<result<bool>>([&](auto h) { node_.try_become_leader(std::move(h)); });
    }
    auto renounce_leadership() {
        return call<result<void>>([&](auto h) { node_.renounce_leadership(std::move(h)); });
    }
    auto rebalance() {
        return call<result<void>>([&](auto h) { node_.rebalance(std::move(h)); });
    }

    auto try_lock(std::string schedule, microseconds ttl) {
        return call<result<async_lock>>([&](auto h) { node_.try_lock(std::move(schedule), ttl, std::move(h)); });
    }
    auto try_lock_name(std::string name, microseconds ttl) {
        return call<result<async_lock>>([&](auto h) { node_.try_lock_name(std::move(name), ttl, std::move(h)); });
    }
    auto try_lock_each(std::vector<std::string> schedules, microseconds ttl) {
        return call<results<async_lock>>([&](auto h) { node_.try_lock_each(std::move(schedules), ttl, std::move(h)); });
    }

    auto register_schedules(std::vector<schedule> schedules) {
        return call<results<void>>([&](auto h) { node_.register_schedules(std::move(schedules), std::move(h)); });
    }
    auto update_schedules(std::vector<schedule> schedules) {
        return call<results<void>>([&](auto h) { node_.update_schedules(std::move(schedules), std::move(h)); });
    }
    auto unregister_schedules(std::vector<std::string> ids) {
        return call<results<void>>([&](auto h) { node_.unregister_schedules(std::move(ids), std::move(h)); });
    }
    auto trigger(std::vector<std::string> ids) {
        return call<results<void>>([&](auto h) { node_.trigger(std::move(ids), std::move(h)); });
    }
    auto trigger_done(std::vector<schedule_triggered> runs) {
        return call<results<void>>([&](auto h) { node_.trigger_done(std::move(runs), std::move(h)); });
    }
    auto claim(std::vector<std::string> ids) {
        return call<results<owned_schedule>>([&](auto h) { node_.claim(std::move(ids), std::move(h)); });
    }
    auto transfer(std::string schedule, std::string node_id) {
        return call<result<void>>(
            [&](auto h) { node_.transfer(std::move(schedule), std::move(node_id), std::move(h)); });
    }

    auto set_attributes(node_attributes attributes) {
        return call<result<void>>([&](auto h) { node_.set_attributes(std::move(attributes), std::move(h)); });
    }
    auto report_load(double load) {
        return call<result<void>>([&](auto h) { node_.report_load(load, std::move(h)); });
    }
    auto drain(std::string node_id) {
        return call<result<void>>([&](auto h) { node_.drain(std::move(node_id), std::move(h)); });
    }
    auto undrain(std::string node_id) {
        return call<result<void>>([&](auto h) { node_.undrain(std::move(node_id), std::move(h)); });
    }
    auto begin_maintenance() {
        return call<result<void>>([&](auto h) { node_.begin_maintenance(std::move(h)); });
    }
    auto end_maintenance() {
        return call<result<void>>([&](auto h) { node_.end_maintenance(std::move(h)); });
    }

    auto nodes() {
        return call<result<std::vector<node_status>>>([&](auto h) { node_.nodes(std::move(h)); });
    }
    auto loads() {
        return call<result<std::vector<node_load>>>([&](auto h) { node_.loads(std::move(h)); });
    }
    auto orphaned() {
        return call<result<std::vector<schedule_status>>>([&](auto h) { node_.orphaned(std::move(h)); });
    }
    auto propose() {
        return call<result<proposal>>([&](auto h) { node_.propose(std::move(h)); });
    }
    auto propose_if_lost(std::string node_id) {
        return call<result<proposal>>([&](auto h) { node_.propose_if_lost(std::move(node_id), std::move(h)); });
    }
    auto propose_if_joined(std::uint32_t count, node_attributes each = {}) {
        return call<result<proposal>>([&](auto h) { node_.propose_if_joined(count, std::move(each), std::move(h)); });
    }
    auto apply(proposal p) {
        return call<result<void>>([&](auto h) { node_.apply(std::move(p), std::move(h)); });
    }

private:
    // (The lambdas end before anything is awaited: g++ 12 destroys those twice that are made in a co_await expression.)
    template <typename T, typename Make>
    static awaited<T> call(Make&& make) {
        awaited<T> made;
        make(made.handler());
        return made;
    }

    Node& node_;
};

/// async_lock::extend and release, to be awaited.
inline awaited<result<void>> extended(async_lock& lock, microseconds ttl) {
    awaited<result<void>> made;
    lock.extend(ttl, made.handler());
    return made;
}
inline awaited<result<void>> released(async_lock& lock) {
    awaited<result<void>> made;
    lock.release(made.handler());
    return made;
}

}  // namespace rota
