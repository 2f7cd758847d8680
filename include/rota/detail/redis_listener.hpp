// The push connection (redis_push.hpp) on an event loop: calls back when something newer than a subscription came.
// Promises: one call at most for each listen(), never inside it; nothing is read again until the next listen() says where
// from, so that a reader who has not caught up yet is not called in a tight loop.
// Watches an epoll instance of its own, in which the connection registers itself as it comes and goes, so that the order
// in which descriptors are closed is no concern of the loop's. One thread: the loop's.
#pragma once

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <sys/epoll.h>
#include <unistd.h>

#include "../loop/event_loop.hpp"
#include "../policies.hpp"
#include "entropy.hpp"
#include "io_clock.hpp"
#include "redis_push.hpp"
#include "unique_function.hpp"

namespace rota::detail {

/// See the top of the file.
class redis_listener : public std::enable_shared_from_this<redis_listener> {
public:
    using callback = unique_function<void()>;
    using complaint = unique_function<void(std::string)>;

    explicit redis_listener(loop_ref loop) : loop_{loop}, push_{entropy()} {}
    redis_listener(redis_listener const&) = delete;
    redis_listener& operator=(redis_listener const&) = delete;
    ~redis_listener() { shut_down(); }

    /// Where to, from now on; and who hears why the server does not let us.
    void retarget(push_target target) {
        push_.retarget(std::move(target));
        go_on();
    }
    void complain_to(complaint heard) { complaint_ = std::move(heard); }

    /// Listens for that from now on, in place of what it was before. False: no descriptor is left.
    bool listen(subscription const& sub, callback called) {
        sub_ = sub;
        called_ = std::move(called);
        bool const wanted = redis_push::has_to_read(sub);
        if (wanted && !make_descriptor()) return false;
        if (wanted || epoll_ >= 0) go_on();
        return true;
    }

    [[nodiscard]] redis_news take_news() { return push_.take_news(); }

    void shut_down() noexcept {
        called_ = nullptr;
        complaint_ = nullptr;
        timer_.reset();
        watch_.reset();
        push_.close();
        if (epoll_ >= 0) ::close(std::exchange(epoll_, -1));
    }

private:
    bool make_descriptor() {
        if (epoll_ >= 0) return true;
        epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
        if (epoll_ < 0) return false;
        push_.watch_with(epoll_);
        watch_ = loop_.watch(epoll_, io_interest::readable, [this](io_interest) { react(); });
        timer_ = loop_.timer([this] { go_on(); });
        return true;
    }

    void go_on() {
        if (epoll_ < 0) return;
        auto const now = io_now();
        // Without anybody to call there is nothing to listen for, but what is pending stays so for the next listen().
        if (called_ || !redis_push::has_to_read(sub_)) push_.prepare(sub_, now);
        auto const next = push_.next_time();
        if (!called_ || next == microseconds::max()) {
            timer_->stop();
        } else {
            timer_->start(next - now);
        }
    }

    void react() {
        auto const kept = shared_from_this();
        bool const newer = push_.react(sub_, io_now());
        if (auto why = push_.take_refusal(); !why.empty() && complaint_) complaint_(std::move(why));
        if (newer && called_) {
            auto called = std::move(called_);
            called_ = nullptr;
            called();
        }
        go_on();
    }

    loop_ref loop_;
    redis_push push_;
    int epoll_ = -1;
    subscription sub_;
    callback called_;
    complaint complaint_;
    watch_handle watch_;
    timer_handle timer_;
};

}  // namespace rota::detail

#endif
