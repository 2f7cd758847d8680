// The event loops that tests run on, each of which its owner turns: poll_loop, and the adapters of those that were found
// (ROTA_TEST_LIBUV, ROTA_TEST_LIBEVENT, ROTA_TEST_ASIO are defined where they are linked).
#pragma once

#include <poll.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rota/loop/event_loop.hpp>
#include <rota/loop/poll_loop.hpp>

#ifdef ROTA_TEST_LIBUV
#include <rota/loop/libuv_loop.hpp>
#endif
#ifdef ROTA_TEST_LIBEVENT
#include <rota/loop/libevent_loop.hpp>
#endif
#ifdef ROTA_TEST_ASIO
#include <rota/loop/asio_loop.hpp>
#endif

#include "poll_until.hpp"

namespace rota::test {

/// A loop, and the thread that runs it while a test waits.
class loop_driver {
public:
    loop_driver() = default;
    loop_driver(loop_driver const&) = delete;
    loop_driver& operator=(loop_driver const&) = delete;
    virtual ~loop_driver() = default;

    [[nodiscard]] virtual loop_ref loop() = 0;
    /// Runs what there is to run, waiting for it at most some milliseconds.
    virtual void turn() = 0;

    template <typename Condition>
    [[nodiscard]] bool run_until(Condition&& holds, deadline within) {
        for (;;) {
            if (holds()) return true;
            if (within.passed()) return false;
            turn();
        }
    }
    void run_for(std::chrono::milliseconds duration) {
        (void)run_until([] { return false; }, duration);
    }
};

class poll_loop_driver final : public loop_driver {
public:
    loop_ref loop() override { return loop_; }
    void turn() override {
        bool once = false;  // it looks before each turn
        (void)loop_.run_until([&] { return std::exchange(once, true); }, std::chrono::milliseconds{5});
    }

private:
    poll_loop loop_;
};

#ifdef ROTA_TEST_LIBUV
class libuv_driver final : public loop_driver {
public:
    libuv_driver() {
        uv_loop_init(&uv_);
        loop_ = std::make_unique<libuv_loop>(uv_);
    }
    ~libuv_driver() override {
        loop_.reset();
        uv_run(&uv_, UV_RUN_DEFAULT);
        if (uv_loop_close(&uv_) != 0) std::abort();  // a handle is left open
    }
    loop_ref loop() override { return *loop_; }
    void turn() override {
        auto const wait = uv_backend_timeout(&uv_);
        pollfd one{uv_backend_fd(&uv_), POLLIN, 0};
        ::poll(&one, 1, wait >= 0 && wait < 5 ? wait : 5);
        uv_run(&uv_, UV_RUN_NOWAIT);
    }

private:
    uv_loop_t uv_{};
    std::unique_ptr<libuv_loop> loop_;
};
#endif

#ifdef ROTA_TEST_LIBEVENT
class libevent_driver final : public loop_driver {
public:
    loop_ref loop() override { return *loop_; }
    void turn() override {
        timeval const five_ms{0, 5000};
        event_base_loopexit(base_.get(), &five_ms);
        event_base_loop(base_.get(), EVLOOP_ONCE);
    }

private:
    std::unique_ptr<event_base, void (*)(event_base*)> base_{event_base_new(), event_base_free};
    std::unique_ptr<libevent_loop> loop_ = std::make_unique<libevent_loop>(*base_);
};
#endif

#ifdef ROTA_TEST_ASIO
class asio_driver final : public loop_driver {
public:
    loop_ref loop() override { return loop_; }
    void turn() override {
        io_.restart();
        io_.run_one_for(std::chrono::milliseconds{5});
    }

private:
    asio::io_context io_{1};
    asio_loop loop_{io_};
};
#endif

/// Every loop there is, by name.
[[nodiscard]] inline std::vector<std::pair<std::string, std::function<std::unique_ptr<loop_driver>()>>> loop_drivers() {
    return {
        {"poll_loop", [] { return std::make_unique<poll_loop_driver>(); }},
#ifdef ROTA_TEST_LIBUV
        {"libuv", [] { return std::make_unique<libuv_driver>(); }},
#endif
#ifdef ROTA_TEST_LIBEVENT
        {"libevent", [] { return std::make_unique<libevent_driver>(); }},
#endif
#ifdef ROTA_TEST_ASIO
        {"asio", [] { return std::make_unique<asio_driver>(); }},
#endif
    };
}

}  // namespace rota::test
