// async_lock: the handle of a lock that an asynchronous coordinator holds. As schedule_lock, but for how it waits: extend
// and release take a handler.
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <memory>
#include <string>
#include <utility>

#include "detail/life.hpp"
#include "detail/unique_function.hpp"
#include "result.hpp"
#include "schedule_lock.hpp"

namespace rota {

namespace detail {

class async_lock_host;

/// What a handle and the requests about it share. It is read by any thread, and changed by the loop's.
struct async_hold {
    lock_host::target held;
    std::shared_ptr<life const> node;
    async_lock_host* host = nullptr;  ///< null: the coordinator is gone
    atomic_instant until;
    std::atomic<bool> ended{false};
};

using lock_handler = unique_function<void(result<void>)>;

class async_lock_host {
public:
    virtual void extend(std::shared_ptr<async_hold>, microseconds ttl, lock_handler) = 0;
    virtual void release(std::shared_ptr<async_hold>, lock_handler) = 0;
    /// A lock that there is no coordinator for, or no lock: the handler is called all the same, later.
    virtual void refuse(error, lock_handler) = 0;

protected:
    ~async_lock_host() = default;
};

}  // namespace detail

/// A held lock. Move-only; releases itself when destroyed (errors are swallowed: the lock then ends with its ttl). May
/// outlive its coordinator, and is invalid then. token, valid and remaining: any thread; all else: the loop's. Handlers
/// are called exactly once, on the loop's thread, never inside the call; but for those of a lock whose coordinator is
/// gone, or of none, which are told lock_lost at once.
class async_lock {
public:
    /// Holds nothing.
    async_lock() = default;
    async_lock(async_lock&&) noexcept = default;
    async_lock& operator=(async_lock&& other) noexcept {
        if (this != &other) {
            let_go();
            hold_ = std::move(other.hold_);
        }
        return *this;
    }
    ~async_lock() { let_go(); }

    /// As of schedule_lock.
    [[nodiscard]] std::string const& name() const noexcept {
        static std::string const none;
        return hold_ ? hold_->held.name : none;
    }
    [[nodiscard]] fencing_token token() const noexcept { return hold_ ? hold_->held.token : 0; }
    [[nodiscard]] bool valid() const { return remaining() > microseconds{}; }
    [[nodiscard]] microseconds remaining() const {
        if (!hold_ || hold_->ended.load()) return {};
        return hold_->node->left(hold_->held.incarnation, hold_->until.load());
    }

    /// Makes it last `ttl` from now on; `handler(result<void>)`. Errors as schedule_lock::extend.
    template <std::invocable<result<void>> Handler>
    void extend(microseconds ttl, Handler&& handler) {
        if (!is_held()) return refuse(std::forward<Handler>(handler));
        hold_->host->extend(hold_, ttl, std::forward<Handler>(handler));
    }

    /// Invalid at once, then one request tells the server; `handler(result<void>)`. Errors as schedule_lock::release.
    template <std::invocable<result<void>> Handler>
    void release(Handler&& handler) {
        if (!is_held() || hold_->ended.exchange(true)) return refuse(std::forward<Handler>(handler));
        hold_->host->release(hold_, std::forward<Handler>(handler));
    }

    /// For coordinators.
    explicit async_lock(std::shared_ptr<detail::async_hold> hold) : hold_{std::move(hold)} {}
    [[nodiscard]] std::shared_ptr<detail::async_hold> const& hold() const noexcept { return hold_; }

private:
    [[nodiscard]] bool is_held() const { return hold_ && hold_->host && !hold_->ended.load(); }

    void refuse(detail::lock_handler handler) {
        if (hold_ && hold_->host) return hold_->host->refuse({errc::lock_lost, {}}, std::move(handler));
        handler(errc::lock_lost);
    }
    void let_go() noexcept {
        if (is_held() && !hold_->ended.exchange(true)) hold_->host->release(hold_, {});
    }

    std::shared_ptr<detail::async_hold> hold_;
};

}  // namespace rota
