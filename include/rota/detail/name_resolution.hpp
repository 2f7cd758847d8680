// Finds the endpoints of a Redis without keeping an event loop waiting: numbers and unix sockets at once, host names by
// the system's resolver, on a thread that lives as long as it takes and posts what it found.
// Promises: one thread at most at a time; after cancel(), or destruction, the callback is not called and the loop is not
// touched any more, however long the resolver takes; the thread takes no signals.
// Does not: bound the time that the system's resolver takes.
#pragma once

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <csignal>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>

#include "../loop/event_loop.hpp"
#include "../result.hpp"
#include "redis_connection.hpp"
#include "unique_function.hpp"

namespace rota::detail {

/// See the top of the file. Loop's thread only.
class name_resolution {
public:
    using endpoints = std::vector<endpoint>;
    using callback = unique_function<void(result<endpoints>)>;

    name_resolution() = default;
    name_resolution(name_resolution const&) = delete;
    name_resolution& operator=(name_resolution const&) = delete;
    ~name_resolution() { cancel(); }

    /// Calls back on the loop's thread, later.
    void start(redis_address const& address, loop_ref loop, callback called) {
        cancel();
        request_ = std::make_shared<request>(loop, std::move(called));
        sigset_t all;
        sigset_t before;
        sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            std::thread{[kept = request_, address] { finish(kept, resolve(address)); }}.detach();
        } catch (std::system_error const& e) {
            finish(request_, {errc::unavailable, std::string{"no thread to resolve the host name: "} + e.what()});
        }
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    void cancel() {
        if (!request_) return;
        callback dropped;  // outside the lock
        {
            std::lock_guard const lock{request_->mutex};
            request_->wanted = false;
            dropped = std::move(request_->called);
        }
        request_.reset();
    }

private:
    struct request {
        request(loop_ref l, callback c) : loop{l}, called{std::move(c)} {}
        std::mutex mutex;
        bool wanted = true;
        loop_ref loop;
        callback called;
    };

    static void finish(std::shared_ptr<request> const& of, result<endpoints> found) {
        std::lock_guard const lock{of->mutex};  // so that the loop, which outlives cancel(), is there
        if (!of->wanted) return;
        of->loop.post([of, found = std::move(found)]() mutable {
            if (!of->wanted) return;
            of->wanted = false;
            auto const called = std::make_unique<callback>(std::move(of->called));
            (*called)(std::move(found));
        });
    }

    std::shared_ptr<request> request_;
};

}  // namespace rota::detail

#endif
