// Finds the endpoints of a Redis without keeping an event loop waiting: numbers and unix sockets at once, host names by
// the system's resolver, on a thread that lives as long as it takes and posts what it found.
// Promises: one thread at most for an address at a time: who has no time left to wait lets go, and finds the answer, or what
// is under way, by starting anew; after cancel(), or destruction, the callback is not called and the loop is not touched
// any more, however long the resolver takes; the thread takes no signals.
// Does not: bound the time that the system's resolver takes.
#pragma once

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <chrono>
#include <csignal>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>

#include "../loop/event_loop.hpp"
#include "../result.hpp"
#include "io_clock.hpp"
#include "redis_address.hpp"
#include "redis_connection.hpp"
#include "unique_function.hpp"

namespace rota::detail {

/// See the top of the file. Loop's thread only.
class name_resolution {
public:
    using endpoints = std::vector<endpoint>;
    using callback = unique_function<void(result<endpoints>)>;

    using resolver = result<endpoints> (*)(redis_address const&);

    name_resolution() : name_resolution{[](redis_address const& address) { return resolve(address); }} {}
    explicit name_resolution(resolver asks) : asks_{asks} {}
    name_resolution(name_resolution const&) = delete;
    name_resolution& operator=(name_resolution const&) = delete;
    ~name_resolution() { cancel(); }

    /// Calls back on the loop's thread, later.
    void start(redis_address const& address, loop_ref loop, callback called) {
        if (request_ && request_->address == address) {
            std::lock_guard const lock{request_->mutex};
            if (request_->is_of_use(io_now())) {
                request_->called = std::move(called);
                if (request_->found) deliver(request_);
                return;
            }
        }
        cancel();
        request_ = std::make_shared<request>(address, loop, std::move(called));
        sigset_t all;
        sigset_t before;
        sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            std::thread{[kept = request_, asks = asks_] { finish(kept, asks(kept->address)); }}.detach();
        } catch (std::system_error const& e) {
            finish(request_, {errc::unavailable, std::string{"no thread to resolve the host name: "} + e.what()});
        }
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    /// The callback is not called any more; what is under way goes on, for the next start().
    void let_go() {
        if (!request_) return;
        callback dropped;  // outside the lock
        std::lock_guard const lock{request_->mutex};
        dropped = std::exchange(request_->called, {});
    }

    void cancel() {
        if (!request_) return;
        let_go();
        {
            std::lock_guard const lock{request_->mutex};
            request_->over = true;
        }
        request_.reset();
    }

private:
    struct request {
        request(redis_address a, loop_ref l, callback c) : address{std::move(a)}, loop{l}, called{std::move(c)} {}

        // With the mutex. A name may lead elsewhere after a while.
        [[nodiscard]] bool is_of_use(microseconds now) const {
            return !over && (!found || now - found_at < std::chrono::seconds{5});
        }

        redis_address const address;
        loop_ref const loop;
        std::mutex mutex;  // of what follows
        bool over = false;
        callback called;
        std::optional<result<endpoints>> found;
        microseconds found_at{};
    };

    static void finish(std::shared_ptr<request> const& of, result<endpoints> found) {
        std::lock_guard const lock{of->mutex};  // so that the loop, which outlives cancel(), is there
        if (of->over) return;
        of->found.emplace(std::move(found));
        of->found_at = io_now();
        if (of->called) deliver(of);
    }
    // With the mutex.
    static void deliver(std::shared_ptr<request> const& of) {
        of->loop.post([of] {
            callback called;
            std::optional<result<endpoints>> found;
            {
                std::lock_guard const lock{of->mutex};
                if (of->over || !of->called || !of->found) return;
                of->over = true;
                called = std::exchange(of->called, {});
                found = std::exchange(of->found, {});
            }
            called(*std::move(found));
        });
    }

    resolver asks_;
    std::shared_ptr<request> request_;
};

}  // namespace rota::detail

#endif
