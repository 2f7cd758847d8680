// rota on libevent: an event_loop (event_loop.hpp) over an event_base of yours. Not part of rota.hpp; needs
// <event2/event.h> (Debian: libevent-dev; link event_core).
//
//   rota::libevent_loop loop{*base};
//   rota::hiredis_async transport{"localhost:6379", loop};
//   event_base_dispatch(base);
//
// Keeps the dispatch running as long as it exists. Does not need libevent's own support of threads.
#pragma once

#include <memory>
#include <new>
#include <stdexcept>
#include <utility>

#include <event2/event.h>
#include <sys/time.h>

#include "../detail/posted_tasks.hpp"
#include "event_loop.hpp"

namespace rota {

/// Threads: post() by any; all else by the one that runs the event_base, which must outlive this.
class libevent_loop {
public:
    /// Throws std::bad_alloc where the system has no descriptor left for it.
    explicit libevent_loop(event_base& base) : base_{&base} {
        wake_ = watch(tasks_.descriptor(), io_interest::readable, [this](io_interest) {
            tasks_.calm();
            tasks_.run();
        });
    }

    /// std::logic_error: no open descriptor, or one that cannot be polled.
    [[nodiscard]] watch_handle watch(int fd, io_interest interest, watch_callback called) {
        return std::make_unique<watcher>(*base_, fd, interest, std::move(called));
    }
    [[nodiscard]] timer_handle timer(loop_task called) {
        return std::make_unique<timer_entry>(*base_, std::move(called));
    }
    void post(loop_task task) { tasks_.post(std::move(task)); }

private:
    struct deleter {
        void operator()(::event* e) const noexcept { event_free(e); }
    };
    using event_ptr = std::unique_ptr<::event, deleter>;

    static event_ptr checked(::event* made) {
        if (made == nullptr) throw std::bad_alloc{};
        return event_ptr{made};
    }

    // Callbacks are shared with the call that is under way, which may destroy its watch or timer.
    class watcher final : public loop_watch {
    public:
        watcher(event_base& base, int fd, io_interest interest, watch_callback called)
            : called_{std::make_shared<watch_callback>(std::move(called))},
              event_{checked(event_new(&base, fd, EV_READ | EV_PERSIST, ready, this))} {
            want(interest);
        }
        void want(io_interest interest) override {
            event_del(event_.get());
            short events = EV_PERSIST;
            if (includes(interest, io_interest::readable)) events |= EV_READ;
            if (includes(interest, io_interest::writable)) events |= EV_WRITE;
            if (interest == io_interest::none) return;
            auto* const e = event_.get();
            if (event_assign(e, event_get_base(e), event_get_fd(e), events, ready, this) != 0 ||
                event_add(e, nullptr) != 0) {
                throw std::logic_error("rota::libevent_loop: this descriptor cannot be watched");
            }
        }

    private:
        static void ready(evutil_socket_t, short events, void* self) {
            auto const called = static_cast<watcher*>(self)->called_;
            auto what = io_interest::none;
            if ((events & EV_READ) != 0) what = what | io_interest::readable;
            if ((events & EV_WRITE) != 0) what = what | io_interest::writable;
            (*called)(what);
        }
        std::shared_ptr<watch_callback> called_;
        event_ptr event_;
    };

    class timer_entry final : public loop_timer {
    public:
        timer_entry(event_base& base, loop_task called)
            : called_{std::make_shared<loop_task>(std::move(called))},
              event_{checked(event_new(&base, -1, 0, fired, this))} {}
        void start(microseconds after) override {
            auto const us = after.count() < 0 ? 0 : after.count();
            timeval span{};
            span.tv_sec = static_cast<decltype(span.tv_sec)>(us / 1'000'000);
            span.tv_usec = static_cast<decltype(span.tv_usec)>(us % 1'000'000);
            event_add(event_.get(), &span);
        }
        void stop() override { event_del(event_.get()); }

    private:
        static void fired(evutil_socket_t, short, void* self) {
            auto const called = static_cast<timer_entry*>(self)->called_;
            (*called)();
        }
        std::shared_ptr<loop_task> called_;
        event_ptr event_;
    };

    event_base* base_;
    detail::posted_tasks tasks_;
    watch_handle wake_;
};

}  // namespace rota
