// An event loop of rota's own, for programs that have none: one thread in run(), epoll, timers in a heap.
//
//   rota::poll_loop loop;
//   rota::hiredis_async transport{"localhost:6379", loop};
//   loop.run();                       // until another thread, or a callback, calls loop.stop()
//
// Promises: thousands of watches and timers (starting and stopping a timer costs O(log n), an idle watch nothing);
// timers fire to within what the system takes to wake a thread, never early; descriptors are closed on exec.
// Does not: start threads, handle signals, or survive fork() in the child, which must make a loop of its own.
// Linux (epoll, eventfd).
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <new>
#include <stdexcept>
#include <stop_token>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "../detail/io_clock.hpp"
#include "../detail/posted_tasks.hpp"
#include "event_loop.hpp"

namespace rota {

/// An event_loop (event_loop.hpp). Threads: post() and stop() by any; all else by one thread, which is the one that runs
/// it. Everything made through it must be destroyed before it.
class poll_loop {
public:
    /// Throws std::bad_alloc where the system has no descriptor left for it.
    poll_loop() : epoll_{::epoll_create1(EPOLL_CLOEXEC)} {
        epoll_event wanted{};
        wanted.events = EPOLLIN;
        if (epoll_ < 0) throw std::bad_alloc{};
        if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, tasks_.descriptor(), &wanted) != 0) {
            ::close(epoll_);
            throw std::bad_alloc{};
        }
    }
    poll_loop(poll_loop const&) = delete;
    poll_loop& operator=(poll_loop const&) = delete;
    ~poll_loop() { ::close(epoll_); }

    // ---------------------------------------------------------------- what an event_loop offers

    /// std::logic_error: no open descriptor, one that cannot be polled (a plain file), or one that is watched already.
    [[nodiscard]] watch_handle watch(int fd, io_interest interest, watch_callback called) {
        auto made = std::make_unique<watcher>(*this, fd, std::move(called));
        made->add(interest);
        return made;
    }
    [[nodiscard]] timer_handle timer(loop_task called) {
        return std::make_unique<timer_entry>(*this, std::move(called));
    }
    /// Any thread.
    void post(loop_task task) { tasks_.post(std::move(task)); }

    // ---------------------------------------------------------------- running it

    /// Runs callbacks until stop(). std::logic_error: called inside a callback (so do the others here).
    void run() {
        run_while([] { return true; }, microseconds::max());
    }
    /// Runs callbacks until stop(), or until a stop is requested.
    void run(std::stop_token const& stop) {
        std::stop_callback const wake_up{stop, [this] { tasks_.wake(); }};
        run_while([&] { return !stop.stop_requested(); }, microseconds::max());
    }
    /// Runs callbacks for that long, or until stop().
    void run_for(microseconds duration) {
        run_while([] { return true; }, duration);
    }
    /// Runs callbacks until the predicate holds, which is looked at before each turn; false if that long, or a stop(), came
    /// first.
    template <typename Predicate>
    [[nodiscard]] bool run_until(Predicate&& holds, microseconds at_most) {
        bool held = false;
        run_while([&] { return !(held = static_cast<bool>(holds())); }, at_most);
        return held;
    }
    /// Ends the present run, after the callback that is in hand; or the next one at once, if none is under way. Any thread.
    void stop() noexcept {
        stop_.store(true, std::memory_order_release);
        tasks_.wake();
    }

private:
    // A callback that may be destroyed while it runs: it lives on in retired_ until the turn is over.
    struct watched {
        explicit watched(watch_callback f) : called{std::move(f)} {}
        watch_callback called;
        bool live = true;
        io_interest interest = io_interest::none;
    };
    struct timed {
        explicit timed(loop_task f) : called{std::move(f)} {}
        loop_task called;
        microseconds due{};
        std::uint64_t order = 0;              // among those due at the same time: first started, first
        std::size_t place = ~std::size_t{0};  // in the heap
        [[nodiscard]] bool started() const noexcept { return place != ~std::size_t{0}; }
    };

    class watcher final : public loop_watch {
    public:
        watcher(poll_loop& loop, int fd, watch_callback called)
            : loop_{loop},
              fd_{fd},
              node_{std::make_unique<watched>(std::move(called))} {}
        ~watcher() override {
            if (!added_) return;
            ::epoll_ctl(loop_.epoll_, EPOLL_CTL_DEL, fd_, nullptr);
            node_->live = false;
            if (loop_.running_) loop_.retired_watches_.push_back(std::move(node_));
        }
        void want(io_interest interest) override {
            if (interest != node_->interest) control(EPOLL_CTL_MOD, interest);
        }
        void add(io_interest interest) {
            control(EPOLL_CTL_ADD, interest);
            added_ = true;
        }

    private:
        void control(int what, io_interest interest) {
            epoll_event wanted{};
            if (includes(interest, io_interest::readable)) wanted.events |= EPOLLIN;
            if (includes(interest, io_interest::writable)) wanted.events |= EPOLLOUT;
            wanted.data.ptr = node_.get();
            if (::epoll_ctl(loop_.epoll_, what, fd_, &wanted) != 0) {
                if (errno == ENOMEM || errno == ENOSPC) throw std::bad_alloc{};
                throw std::logic_error("rota::poll_loop: this descriptor cannot be watched");
            }
            node_->interest = interest;
        }

        poll_loop& loop_;
        int fd_;
        std::unique_ptr<watched> node_;
        bool added_ = false;
    };

    class timer_entry final : public loop_timer {
    public:
        timer_entry(poll_loop& loop, loop_task called)
            : loop_{loop},
              node_{std::make_unique<timed>(std::move(called))} {}
        ~timer_entry() override {
            stop();
            if (loop_.running_) loop_.retired_timers_.push_back(std::move(node_));
        }
        void start(microseconds after) override {
            node_->due = detail::io_deadline(detail::io_now(), std::max(after, microseconds{0}));
            node_->order = ++loop_.timers_started_;
            loop_.place(*node_);
        }
        void stop() override { loop_.displace(*node_); }

    private:
        poll_loop& loop_;
        std::unique_ptr<timed> node_;
    };

    // ---------------------------------------------------------------- one turn

    template <typename Condition>
    void run_while(Condition&& go_on, microseconds at_most) {
        if (running_) throw std::logic_error("rota::poll_loop: run inside a callback");
        struct marked {
            poll_loop& loop;
            ~marked() {
                loop.running_ = false;
                loop.bury();
            }
        } const mark{*this};
        running_ = true;
        auto const until = detail::io_deadline(detail::io_now(), at_most);
        while (!stop_.exchange(false, std::memory_order_acquire) && go_on() && detail::io_now() < until) turn(until);
    }

    void turn(microseconds until) {
        // Waiting comes first, so that a predicate is looked at after whatever could have made it hold.
        epoll_event ready[64];
        int const count = await(ready, 64, until);
        for (int i = 0; i < count; ++i) {
            auto* const node = static_cast<watched*>(ready[i].data.ptr);
            if (node == nullptr) {
                tasks_.calm();
            } else if (node->live) {
                if (auto const what = became(ready[i].events, node->interest); what != io_interest::none)
                    node->called(what);
            }
        }
        tasks_.run();
        run_timers();
        bury();
    }

    static io_interest became(std::uint32_t events, io_interest interest) noexcept {
        auto what = io_interest::none;
        bool const over = (events & (EPOLLERR | EPOLLHUP)) != 0;
        if ((events & EPOLLIN) != 0 || (over && interest != io_interest::writable)) what = what | io_interest::readable;
        if ((events & EPOLLOUT) != 0 || (over && interest == io_interest::writable))
            what = what | io_interest::writable;
        return what;
    }

    // epoll counts in milliseconds; the last two of a wait are left to ppoll, which is exact.
    int await(epoll_event* ready, int room, microseconds until) {
        struct sleep {
            explicit sleep(detail::posted_tasks& t) : tasks{t}, begun{t.begin_sleep()} {}
            ~sleep() { tasks.end_sleep(); }
            detail::posted_tasks& tasks;
            bool begun;
        } const nap{tasks_};
        bool const busy = !nap.begun || stop_.load(std::memory_order_acquire);
        if (busy) {  // every other time what is posted does not even wait for a look
            passed_by_ = !passed_by_ && !nap.begun;
            return passed_by_ ? 0 : ::epoll_wait(epoll_, ready, room, 0);
        }
        if (!heap_.empty()) until = std::min(until, heap_.front()->due);
        auto const left = until - detail::io_now();
        if (left <= microseconds{0}) return ::epoll_wait(epoll_, ready, room, 0);
        if (left >= std::chrono::milliseconds{2}) {
            constexpr std::int64_t hour_ms = 3'600'000;
            return ::epoll_wait(epoll_, ready, room, static_cast<int>(std::min(left.count() / 1000, hour_ms)));
        }
        pollfd one{epoll_, POLLIN, 0};
        timespec span{};
        span.tv_nsec = static_cast<long>(left.count() * 1000);
        return ::ppoll(&one, 1, &span, nullptr) > 0 ? ::epoll_wait(epoll_, ready, room, 0) : 0;
    }

    void run_timers() {
        if (heap_.empty()) return;
        auto const now = detail::io_now();
        auto const last = timers_started_;
        while (!heap_.empty() && heap_.front()->due <= now && heap_.front()->order <= last) {
            auto& first = *heap_.front();
            displace(first);
            first.called();
        }
    }

    void bury() noexcept {
        // What a callback holds may have a destructor that retires more.
        while (!retired_watches_.empty() || !retired_timers_.empty()) {
            auto const watches = std::exchange(retired_watches_, {});
            auto const timers = std::exchange(retired_timers_, {});
        }
    }

    // ---------------------------------------------------------------- the heap of timers, the earliest in front

    static bool before(timed const& a, timed const& b) noexcept {
        return a.due != b.due ? a.due < b.due : a.order < b.order;
    }
    void place(timed& node) {
        if (!node.started()) {
            node.place = heap_.size();
            heap_.push_back(&node);
        }
        settle(node.place);
    }
    void displace(timed& node) noexcept {
        if (!node.started()) return;
        auto const hole = std::exchange(node.place, ~std::size_t{0});
        auto* const last = heap_.back();
        heap_.pop_back();
        if (last == &node) return;
        heap_[hole] = last;
        last->place = hole;
        settle(hole);
    }
    void settle(std::size_t at) noexcept {
        auto* const node = heap_[at];
        auto const put = [this](std::size_t where, timed* what) {
            heap_[where] = what;
            what->place = where;
        };
        while (at > 0 && before(*node, *heap_[(at - 1) / 2])) {
            put(at, heap_[(at - 1) / 2]);
            at = (at - 1) / 2;
        }
        for (;;) {
            auto child = 2 * at + 1;
            if (child >= heap_.size()) break;
            if (child + 1 < heap_.size() && before(*heap_[child + 1], *heap_[child])) ++child;
            if (!before(*heap_[child], *node)) break;
            put(at, heap_[child]);
            at = child;
        }
        put(at, node);
    }

    detail::posted_tasks tasks_;
    int epoll_ = -1;
    std::atomic<bool> stop_{false};

    // For the thread that runs it.
    bool running_ = false;
    bool passed_by_ = false;  // the last turn looked at no descriptor
    std::vector<timed*> heap_;
    std::uint64_t timers_started_ = 0;
    std::vector<std::unique_ptr<watched>> retired_watches_;
    std::vector<std::unique_ptr<timed>> retired_timers_;
};

}  // namespace rota
