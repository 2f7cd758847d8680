// What a node does to take part: join, tick, run, leave; and what it does about leadership.
#pragma once

#include <algorithm>
#include <atomic>
#include <optional>
#include <stop_token>
#include <utility>

#include "driver.hpp"

namespace rota::detail {

template <typename Mode, typename Defects>
class membership_calls {
    using driver_type = driver<Mode, Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;

public:
    explicit membership_calls(driver_type& d) : driver_{d} {}

    flow<result<void>> join() {
        if (auto r = driver_.enter(); !r) co_return r;
        auto const began = co_await begin_join();
        if (!began) co_return began.error();
        auto const limit = driver_.time_allowed();
        bool unknown = false;
        for (unsigned n = 1;; ++n) {
            co_await driver_.drive();
            auto const turn = driver_.mode.user_turn();
            auto const state = driver_.core.state();
            if (state == standing::member) break;
            if (state == standing::observing && !driver_.core.last_failure()) {
                if (driver_.core.has_observed()) break;
                continue;  // there is much to read
            }
            auto failure = driver_.core.last_failure().value_or(error{errc::unavailable, "could not join"});
            bool const again = failure == errc::outcome_unknown;
            unknown = unknown || again;
            if ((state == standing::joining || state == standing::observing) && again && n < most_attempts &&
                driver_.now() < limit) {
                driver_.core.want_tick(driver_.now());
                continue;
            }
            // What run() is still trying, or a member that was taken for dead, is left to try.
            if (*began && !running_.load()) driver_.core.begin_leave();
            if (unknown) failure.code = errc::outcome_unknown;
            co_return failure;
        }
        if (has_more_to_do()) co_await driver_.drive();  // its first tick, if joining took long
        co_return result<void>{};
    }

    flow<result<void>> tick() { return tick_at_once(false); }

    flow<result<void>> tick_at_once(bool in_full) {
        if (auto r = driver_.enter(); !r) co_return r;
        {
            // (Whole: a tick that is under way may have missed what this one is asked for.)
            auto const turn = co_await driver_.mode.whole_turn();
            if (driver_.core.state() == standing::out)
                co_return error{errc::not_joined, "join() first, or wait until run() has joined"};
            if (in_full) {
                driver_.core.want_full_tick(driver_.now());
            } else {
                driver_.core.want_tick(driver_.now());
            }
        }
        co_await driver_.drive();
        if (watched_.load()) co_await listen();
        co_return outcome_of_tick();
    }

    /// From now on a loop watches the transport's wake_fd().
    void be_watched() { watched_.store(true); }

    /// Ends with what comes first. `enough` is looked at after each event that was told, and after each stir().
    flow<result<void>> run(std::stop_token stop, instant until, std::atomic<bool> const* enough = nullptr) {
        if (auto r = driver_.enter(); !r) co_return r;
        if (running_.exchange(true)) {
            co_return error{errc::already_running, "run() is under way already"};
        }
        struct no_longer_running {
            membership_calls& self;
            ~no_longer_running() {
                self.driver_.mode.ended([this] { self.running_.store(false); });
            }
        } const guard{*this};
        auto const wake = [this] { driver_.mode.stir(); };
        std::stop_callback const on_stop{stop, wake};
        auto const has_to_end = [&] { return stop.stop_requested() || (enough && enough->load()); };
        if (state() == standing::fenced) co_return fenced();
        if (has_to_end() || driver_.now() >= until) co_return result<void>{};
        if (state() != standing::member) {
            auto const began = co_await begin_join();
            if (!began) co_return began.error();
        }
        for (;;) {
            co_await driver_.drive(&stop, enough);
            if (auto const over = ended()) co_return *over;
            auto const at = driver_.now();
            if (has_to_end() || at >= until) co_return result<void>{};
            if (closing_.load()) co_return error{errc::cancelled, "the coordinator is being destroyed"};
            auto const nap = fall_asleep();
            auto const wake_at = std::min(nap.until, until);
            auto why = wake_reason::timeout;
            if (wake_at > at) why = co_await driver_.mode.sleep(nap.listen, std::min(wake_at - at, longest_sleep));
            {
                auto const turn = co_await driver_.mode.lane_turn();
                driver_.wake_up();
                if (why == wake_reason::pushed) driver_.hear();
            }
            // Told before anything is asked: who is given something to do need not wait for that.
            if (why == wake_reason::pushed) driver_.deliver();
            if (has_to_end()) co_return result<void>{};
        }
    }

    /// Between one run() and the next, for who has no time to sleep: does what is due, takes in what was pushed, and goes
    /// on listening.
    flow<result<void>> look_in() {
        if (auto r = driver_.enter(); !r) co_return r;
        co_await driver_.drive();
        if (!ended()) co_await listen();
        auto const over = ended();
        co_return over ? *over : result<void>{};
    }

    /// run() returns soon, and is not entered again.
    void close() { closing_.store(true); }
    [[nodiscard]] bool running() const { return running_.load(); }

    flow<result<void>> leave() {
        if (auto r = driver_.enter(); !r) co_return r;
        result<void> answer;
        {
            auto const turn = co_await driver_.mode.whole_turn();
            driver_.core.begin_leave();
            while (auto const request = driver_.core.leave_operation()) {
                driver_.collect();
                auto const reply = co_await driver_.attempt(*request);
                driver_.core.finish_leave(reply.has_value());
                answer = reply ? result<void>{} : reply.error();
            }
            driver_.collect();
        }
        if (running_.load()) driver_.mode.stir();
        driver_.deliver();
        co_return answer;
    }

    [[nodiscard]] microseconds next_tick() const {
        auto const at = driver_.now();
        auto const due = driver_.due.load();
        return due > at ? due - at : microseconds{};
    }

    // ================================================================ leadership

    flow<result<bool>> try_become_leader() {
        auto const ticked = co_await tick_at_once(true);
        if (!ticked) co_return ticked.error();
        co_return driver_.belief->leads(driver_.now());
    }

    flow<result<void>> renounce() {
        if (auto r = driver_.enter(); !r) co_return r;
        result<void> answer;
        {
            auto const turn = co_await driver_.mode.whole_turn();
            auto const request = driver_.core.begin_renounce(driver_.now());
            if (!request) co_return error{errc::not_leader, "this node does not lead"};
            driver_.collect();
            auto const sent = driver_.now();
            auto const reply = co_await driver_.attempt(*request);
            if (reply) driver_.core.done(*request, reply, sent, driver_.now());
            if (!reply) answer = reply.error();
            driver_.collect();
        }
        driver_.deliver();
        co_return answer;
    }

    flow<result<void>> rebalance() {
        if (auto r = driver_.enter(); !r) co_return r;
        {
            auto const turn = co_await driver_.mode.whole_turn();
            if (auto r = driver_.core.can_act(driver_.now()); !r) co_return r;
            if (!driver_.belief->leads(driver_.now())) {
                co_return error{errc::not_leader, "only the leader rebalances"};
            }
            if (driver_.core.feed().picture().maintenance()) {
                co_return error{errc::conflict, "the group is under maintenance: nothing is moved"};
            }
            driver_.core.rebalance_now();
            driver_.core.want_tick(driver_.now());
        }
        co_await driver_.drive();
        if (auto r = outcome_of_tick(); !r) co_return r;
        auto const turn = driver_.mode.user_turn();
        auto const& fault = driver_.core.leading().last_fault();
        if (!fault.empty()) co_return error{errc::invalid_argument, fault};
        co_return result<void>{};
    }

    // ================================================================ of use to other calls

    result<void> outcome_of_tick() {
        auto const where = where_we_are();
        if (where.state == standing::fenced) return fenced();
        if (where.failure) return *where.failure;
        if (where.state != standing::member && where.state != standing::observing) {
            return {errc::not_joined, "join() first, or wait until run() has joined"};
        }
        return {};
    }

private:
    static constexpr unsigned most_attempts = 3;
    static constexpr microseconds longest_sleep = std::chrono::hours{1};

    static error fenced() { return {errc::fenced, "a newer process has this node_id"}; }

    standing state() {
        auto const turn = driver_.mode.quick_turn();
        return driver_.core.state();
    }
    struct whereabouts {
        standing state{};
        std::optional<error> failure;
    };
    whereabouts where_we_are() {
        auto const turn = driver_.mode.quick_turn();
        return {driver_.core.state(), driver_.core.last_failure()};
    }
    // What run() returns once it is a member no more.
    std::optional<result<void>> ended() {
        auto const where = where_we_are();
        if (where.state == standing::fenced) return fenced();
        if (where.state != standing::out) return std::nullopt;
        return where.failure ? result<void>{*where.failure} : result<void>{};
    }
    typename driver_type::nap fall_asleep() {
        auto const turn = driver_.mode.quick_turn();
        return driver_.fall_asleep();
    }
    bool has_more_to_do() {
        auto const turn = driver_.mode.quick_turn();
        return driver_.core.due() <= driver_.now();
    }

    // Whether it was neither a member nor trying to be one.
    flow<result<bool>> begin_join() {
        auto const turn = co_await driver_.mode.whole_turn();
        if (auto r = driver_.open(); !r) co_return r.error();
        if (driver_.core.state() == standing::member) co_return false;
        auto const state = driver_.core.state();
        bool const fresh = state != standing::joining && state != standing::observing;
        driver_.core.want_join(driver_.now());
        driver_.core.want_tick(driver_.now());
        co_return fresh;
    }

    // What run() does in its sleep, for who does the sleeping itself: takes in what made wake_fd() readable, and listens
    // for what comes next.
    flow<void> listen() {
        for (int rounds = 0; rounds < 2; ++rounds) {
            subscription next;
            {
                auto const turn = driver_.mode.quick_turn();
                next = driver_.core.what_to_listen_for();
            }
            auto const why = driver_.mode.look(next);  // timeout, too, while run() sleeps: it listens
            if (why != wake_reason::pushed) co_return;
            {
                auto const turn = co_await driver_.mode.lane_turn();
                driver_.hear();
            }
            co_await driver_.drive();
        }
    }

    driver_type& driver_;
    std::atomic<bool> running_{false};
    std::atomic<bool> closing_{false};
    std::atomic<bool> watched_{false};
};

}  // namespace rota::detail
