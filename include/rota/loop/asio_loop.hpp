// rota on standalone Asio: an event_loop (event_loop.hpp) over an asio::io_context of yours. Not part of rota.hpp; needs
// Asio's headers (Debian: libasio-dev).
//
//   asio::io_context io{1};
//   rota::asio_loop loop{io};
//   rota::hiredis_async transport{"localhost:6379", loop};
//   io.run();
//
// Does not keep io.run() going by itself: what is watched and posted does, or a work guard of yours.
#pragma once

#include <memory>
#include <utility>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include "event_loop.hpp"

namespace rota {

/// Threads: post() by any; all else by the one thread that runs the io_context, which must outlive this.
class asio_loop {
public:
    explicit asio_loop(asio::io_context& io) noexcept : io_{&io} {}

    /// Throws what Asio does for a descriptor that cannot be polled.
    [[nodiscard]] watch_handle watch(int fd, io_interest interest, watch_callback called) {
        auto made = std::make_unique<watcher>(std::make_shared<watched>(*io_, fd, std::move(called)));
        made->want(interest);
        return made;
    }
    [[nodiscard]] timer_handle timer(loop_task called) {
        return std::make_unique<timer_entry>(std::make_shared<timed>(*io_, std::move(called)));
    }
    void post(loop_task task) { asio::post(*io_, std::move(task)); }

private:
    // Shared with the waits that are under way, whose end is posted even where they are cancelled.
    struct watched : std::enable_shared_from_this<watched> {
        watched(asio::io_context& io, int fd, watch_callback f) : descriptor{io, fd}, called{std::move(f)} {}
        ~watched() { release(); }

        void release() {
            if (descriptor.is_open()) (void)descriptor.release();  // whose it is not
        }
        // Waits end once each: what is still of interest is waited for again.
        void wait() {
            begin(io_interest::readable, asio::posix::stream_descriptor::wait_read);
            begin(io_interest::writable, asio::posix::stream_descriptor::wait_write);
        }
        void begin(io_interest one, asio::posix::stream_descriptor::wait_type type) {
            if (!descriptor.is_open() || !includes(interest, one) || includes(waiting, one)) return;
            waiting = waiting | one;
            descriptor.async_wait(type, [self = shared_from_this(), one](asio::error_code const& failure) {
                self->waiting =
                    static_cast<io_interest>(static_cast<unsigned>(self->waiting) & ~static_cast<unsigned>(one));
                if (failure == asio::error::operation_aborted || !self->descriptor.is_open()) return;
                if (includes(self->interest, one)) self->called(one);
                self->wait();
            });
        }

        asio::posix::stream_descriptor descriptor;
        watch_callback called;
        io_interest interest = io_interest::none;
        io_interest waiting = io_interest::none;
    };
    class watcher final : public loop_watch {
    public:
        explicit watcher(std::shared_ptr<watched> of) : of_{std::move(of)} {}
        ~watcher() override { of_->release(); }
        void want(io_interest interest) override {
            of_->interest = interest;
            of_->wait();
        }

    private:
        std::shared_ptr<watched> of_;
    };

    struct timed {
        timed(asio::io_context& io, loop_task f) : timer{io}, called{std::move(f)} {}
        asio::steady_timer timer;
        loop_task called;
        unsigned long starts = 0;  // an end that was posted already cannot be taken back, only known to be of the past
    };
    class timer_entry final : public loop_timer {
    public:
        explicit timer_entry(std::shared_ptr<timed> of) : of_{std::move(of)} {}
        ~timer_entry() override { stop(); }
        void start(microseconds after) override {
            of_->timer.expires_after(after);
            of_->timer.async_wait([of = of_, started = ++of_->starts](asio::error_code const& failure) {
                if (!failure && started == of->starts) of->called();
            });
        }
        void stop() override {
            ++of_->starts;
            of_->timer.cancel();
        }

    private:
        std::shared_ptr<timed> of_;
    };

    asio::io_context* io_;
};

}  // namespace rota
