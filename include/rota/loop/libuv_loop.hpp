// rota on a libuv loop: an event_loop (event_loop.hpp) over a uv_loop_t of yours. Not part of rota.hpp; needs <uv.h>.
//
//   rota::libuv_loop loop{*uv_default_loop()};
//   rota::hiredis_async transport{"localhost:6379", loop};
//   uv_run(uv_default_loop(), UV_RUN_DEFAULT);
//
// Keeps the loop running (uv_run) as long as it exists. libuv frees handles in a later turn: after this is destroyed, run
// the loop once more (UV_RUN_DEFAULT returns when all is freed) before uv_loop_close(). Times are whole milliseconds.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <utility>

#include <uv.h>

#include "../detail/posted_tasks.hpp"
#include "event_loop.hpp"

namespace rota {

/// Threads: post() by any; all else by the one that runs the uv_loop_t, which must outlive this.
class libuv_loop {
public:
    /// Throws std::bad_alloc where the system has no descriptor left for it.
    explicit libuv_loop(uv_loop_t& loop) : loop_{&loop} {
        wake_ = watch(tasks_.descriptor(), io_interest::readable, [this](io_interest) {
            tasks_.calm();
            tasks_.run();
        });
    }

    /// std::logic_error: no open descriptor, or one that cannot be polled.
    [[nodiscard]] watch_handle watch(int fd, io_interest interest, watch_callback called) {
        return std::make_unique<watcher>(*loop_, fd, interest, std::move(called));
    }
    [[nodiscard]] timer_handle timer(loop_task called) {
        return std::make_unique<timer_entry>(*loop_, std::move(called));
    }
    void post(loop_task task) { tasks_.post(std::move(task)); }

private:
    // What libuv holds on to until it has closed the handle; the callback may be running until then.
    template <typename Handle, typename Callback>
    struct node {
        Handle handle{};
        Callback called;
        io_interest interest = io_interest::none;
    };
    template <typename Node>
    static void close(Node* of) {
        auto* const handle = reinterpret_cast<uv_handle_t*>(&of->handle);
        handle->data = of;
        uv_close(handle, [](uv_handle_t* h) { delete static_cast<Node*>(h->data); });
    }

    class watcher final : public loop_watch {
    public:
        using node_type = node<uv_poll_t, watch_callback>;

        watcher(uv_loop_t& loop, int fd, io_interest interest, watch_callback called)
            : node_{std::make_unique<node_type>()} {
            node_->called = std::move(called);
            if (uv_poll_init(&loop, &node_->handle, fd) != 0) {
                throw std::logic_error("rota::libuv_loop: this descriptor cannot be watched");
            }
            node_->handle.data = node_.get();
            want(interest);
        }
        ~watcher() override {
            uv_poll_stop(&node_->handle);
            close(node_.release());
        }
        void want(io_interest interest) override {
            node_->interest = interest;
            poll(*node_);
        }

    private:
        static void poll(node_type& of) {
            int events = 0;
            if (includes(of.interest, io_interest::readable)) events |= UV_READABLE;
            if (includes(of.interest, io_interest::writable)) events |= UV_WRITABLE;
            if (events == 0) {
                uv_poll_stop(&of.handle);
            } else {
                uv_poll_start(&of.handle, events, ready);
            }
        }
        static void ready(uv_poll_t* handle, int status, int events) {
            auto& of = *static_cast<node_type*>(handle->data);
            if (status < 0) poll(of);  // it has been stopped: where there is something to read, that is not all
            auto what = io_interest::none;
            if ((events & UV_READABLE) != 0) what = what | io_interest::readable;
            if ((events & UV_WRITABLE) != 0) what = what | io_interest::writable;
            of.called(status < 0 ? of.interest : what);
        }
        std::unique_ptr<node_type> node_;
    };

    class timer_entry final : public loop_timer {
    public:
        using node_type = node<uv_timer_t, loop_task>;

        timer_entry(uv_loop_t& loop, loop_task called) : node_{std::make_unique<node_type>()} {
            node_->called = std::move(called);
            uv_timer_init(&loop, &node_->handle);
            node_->handle.data = node_.get();
        }
        ~timer_entry() override {
            uv_timer_stop(&node_->handle);
            close(node_.release());
        }
        void start(microseconds after) override {
            uv_update_time(node_->handle.loop);
            auto const ms = after.count() <= 0 ? 0 : static_cast<std::uint64_t>((after.count() - 1) / 1000 + 1);
            uv_timer_start(&node_->handle, [](uv_timer_t* h) { static_cast<node_type*>(h->data)->called(); }, ms, 0);
        }
        void stop() override { uv_timer_stop(&node_->handle); }

    private:
        std::unique_ptr<node_type> node_;
    };

    uv_loop_t* loop_;
    detail::posted_tasks tasks_;
    watch_handle wake_;
};

}  // namespace rota
