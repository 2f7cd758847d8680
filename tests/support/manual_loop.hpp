// An event loop on a manual clock, and an asynchronous transport to a memory_store on it: what an asynchronous coordinator
// does, replayed exactly, without a server and without waiting.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include <rota/clock/manual_clock.hpp>
#include <rota/loop/event_loop.hpp>
#include <rota/transport/memory.hpp>

namespace rota_test {

/// Watches no descriptors. One thread.
class manual_loop {
public:
    explicit manual_loop(rota::manual_clock clock) : clock_{std::move(clock)} {}
    manual_loop(manual_loop const&) = delete;
    manual_loop& operator=(manual_loop const&) = delete;

    rota::watch_handle watch(int, rota::io_interest, rota::watch_callback) {
        throw std::logic_error("manual_loop watches no descriptors");
    }
    rota::timer_handle timer(rota::loop_task called) { return std::make_unique<timer_type>(*this, std::move(called)); }
    void post(rota::loop_task task) { tasks_.push_back(std::move(task)); }

    /// Called whenever there is nothing else to do; true: it has made something to do.
    std::vector<std::function<bool()>> idle;

    /// Runs what is due, until nothing is.
    void run() {
        for (std::size_t steps = 0;; ++steps) {
            if (steps > 1'000'000) throw std::logic_error("manual_loop: it never comes to rest");
            if (!tasks_.empty()) {
                auto task = std::move(tasks_.front());
                tasks_.pop_front();
                task();
            } else if (!fire_one() && !ask_idle()) {
                return;
            }
        }
    }
    /// Runs one task, if there is one.
    bool step() {
        if (tasks_.empty()) return fire_one();
        auto task = std::move(tasks_.front());
        tasks_.pop_front();
        task();
        return true;
    }
    [[nodiscard]] std::size_t waiting() const { return tasks_.size(); }

private:
    class timer_type final : public rota::loop_timer {
    public:
        timer_type(manual_loop& l, rota::loop_task called) : loop_{l}, called_{std::move(called)} {
            loop_.timers_.push_back(this);
        }
        ~timer_type() override { std::erase(loop_.timers_, this); }
        void start(rota::microseconds after) override { due = loop_.clock_.now() + after; }
        void stop() override { due = rota::instant::max(); }
        void fire() { called_(); }
        rota::instant due = rota::instant::max();

    private:
        manual_loop& loop_;
        rota::loop_task called_;
    };

    bool fire_one() {
        timer_type* first = nullptr;
        for (auto* t : timers_) {
            if (t->due <= clock_.now() && (first == nullptr || t->due < first->due)) first = t;
        }
        if (first == nullptr) return false;
        first->due = rota::instant::max();
        first->fire();
        return true;
    }
    bool ask_idle() {
        bool more = false;
        for (auto& ask : idle) more = ask() || more;
        return more;
    }

    rota::manual_clock clock_;
    std::deque<rota::loop_task> tasks_;
    std::vector<timer_type*> timers_;
};

/// An asynchronous transport over a memory_transport. A request has its effect one turn of the loop after it was
/// submitted, and is answered one turn later; `hold` keeps replies back. A handle, as memory_transport is.
class async_memory_transport {
public:
    async_memory_transport(rota::memory_transport wire, manual_loop& loop)
        : shared_{std::make_shared<shared>(std::move(wire), loop)} {
        loop.idle.push_back([weak = std::weak_ptr{shared_}] {
            auto const s = weak.lock();
            return s && s->push();
        });
    }

    rota::result<void> open(rota::transport_settings const& settings) { return shared_->wire.open(settings); }
    void submit(rota::operation const& request, rota::microseconds timeout,
                rota::detail::unique_function<void(rota::result<rota::reply>)> handler) {
        ++shared_->submitted;
        shared_->loop->post([s = shared_, request, timeout, h = std::move(handler)]() mutable {
            auto answer = s->wire.perform(request, timeout);
            if (s->cancelling > 0) {
                --s->cancelling;
                answer = rota::error{rota::errc::cancelled, "async_memory_transport was told to"};
            }
            auto tell = [h = std::move(h), answer = std::move(answer)]() mutable { h(std::move(answer)); };
            if (s->holding) {
                s->held.emplace_back(std::move(tell));
            } else {
                s->loop->post(std::move(tell));
            }
        });
    }
    void listen(rota::subscription const& sub, rota::loop_task pushed) {
        shared_->sub = sub;
        shared_->pushed = std::move(pushed);
        shared_->listening = true;
    }
    std::optional<rota::pushed_news> take_news(rota::subscription const& sub) { return shared_->wire.take_news(sub); }
    [[nodiscard]] rota::loop_ref loop() const { return *shared_->loop; }

    /// Replies of what is performed from now on wait until hold(false).
    void hold(bool on) {
        shared_->holding = on;
        if (on) return;
        for (auto& tell : std::exchange(shared_->held, {})) shared_->loop->post(std::move(tell));
    }
    /// The next `count` requests have their effect, and are answered `cancelled`.
    void cancel_replies(unsigned count) { shared_->cancelling = count; }
    [[nodiscard]] std::size_t submitted() const { return shared_->submitted; }
    [[nodiscard]] std::size_t held() const { return shared_->held.size(); }

private:
    struct shared {
        shared(rota::memory_transport w, manual_loop& l) : wire{std::move(w)}, loop{&l} {}

        bool push() {
            if (!listening || wire.wait(sub, {}) != rota::wake_reason::pushed) return false;
            listening = false;
            pushed();
            return true;
        }

        rota::memory_transport wire;
        manual_loop* loop;
        bool holding = false;
        unsigned cancelling = 0;
        std::vector<rota::loop_task> held;
        std::size_t submitted = 0;
        bool listening = false;
        rota::subscription sub;
        rota::loop_task pushed;
    };

    std::shared_ptr<shared> shared_;
};

}  // namespace rota_test
