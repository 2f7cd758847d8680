// schedule_lock: the exclusive right to process one schedule (or to use one name) for a while, and its fencing token.
//
// valid() is a promise about this instant only: nothing stops a thread between a check and its effect. Work in steps,
// check between them, extend() well before remaining() runs out, and pass token() along with every effect, so that the
// resource can reject whoever comes late.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "detail/life.hpp"
#include "operations.hpp"
#include "result.hpp"
#include "types.hpp"

namespace rota {

namespace detail {

/// What a handle needs of its coordinator.
class lock_host {
public:
    struct target {
        op::lock_kind kind{};
        std::string name{};
        fencing_token token = 0;
        fencing_token incarnation = 0;
    };
    /// Until when it may be believed in now.
    virtual result<instant> extend_lock(target const&, microseconds ttl) = 0;
    virtual result<void> release_lock(target const&) = 0;

protected:
    ~lock_host() = default;
};

/// The way from handles to their coordinator, which may be gone: then use() says so, and close() waits for those inside.
class lock_link {
public:
    lock_link(lock_host& host, std::shared_ptr<life const> shared) : host_{&host}, life_{std::move(shared)} {}

    template <typename Use>
    auto use(Use&& call) -> decltype(call(std::declval<lock_host&>())) {
        lock_host* host = nullptr;
        {
            std::lock_guard const lock{mutex_};
            host = host_;
            if (host) ++users_;
        }
        if (!host) return errc::lock_lost;
        struct no_longer_inside {
            lock_link& link;
            ~no_longer_inside() {
                std::lock_guard const lock{link.mutex_};
                if (--link.users_ == 0) link.unused_.notify_all();
            }
        } const guard{*this};
        return call(*host);
    }

    void close() {
        std::unique_lock lock{mutex_};
        host_ = nullptr;
        unused_.wait(lock, [this] { return users_ == 0; });
    }

    [[nodiscard]] life const& node_life() const { return *life_; }

private:
    std::mutex mutex_;
    std::condition_variable unused_;
    lock_host* host_;
    unsigned users_ = 0;
    std::shared_ptr<life const> life_;
};

}  // namespace detail

/// A held lock. Move-only; releases itself when destroyed (one bounded request, errors are swallowed: the lock then ends
/// with its ttl). May outlive its coordinator, and is invalid then. token, valid and remaining: any thread; extend,
/// release and moving: one thread at a time.
class schedule_lock {
public:
    /// Holds nothing.
    schedule_lock() = default;

    schedule_lock(schedule_lock&& other) noexcept
        : link_{std::move(other.link_)},
          target_{std::exchange(other.target_, {})} {
        until_.store(other.until_.load());
        ended_.store(other.ended_.load());
    }
    schedule_lock& operator=(schedule_lock&& other) noexcept {
        schedule_lock{std::move(other)}.swap(*this);
        return *this;
    }
    ~schedule_lock() { (void)release(); }

    /// The schedule or name that is locked; empty if nothing is held.
    [[nodiscard]] std::string const& name() const noexcept { return target_.name; }

    /// The fencing token, to be passed along with every effect; stays readable after release. 0: nothing was ever held.
    [[nodiscard]] fencing_token token() const noexcept { return target_.token; }

    /// Whether this is the one valid lock right now: not released, not run out, and its node not suspended or gone.
    /// A local read. Ends earlier than the server's grant by options::clock_drift and safety_margin, so extend() may still
    /// succeed, and make it valid again, a moment after it ended.
    [[nodiscard]] bool valid() const { return remaining() > microseconds{}; }

    /// For how long it will stay valid if nothing is heard from the server, that is never longer than the node's own life
    /// (node_ttl); 0 when it is not valid. A local read.
    [[nodiscard]] microseconds remaining() const {
        if (!link_ || ended_.load()) return {};
        return link_->node_life().left(target_.incarnation, until_.load());
    }

    /// Makes it last `ttl` from now on; never shortens it. lock_lost: it ended before; not_owner: the schedule is to be
    /// handed over and the time allowed for that is up; unavailable, timed_out, outcome_unknown: unchanged so far as
    /// valid() knows. On lock_lost the handle is invalid from then on.
    [[nodiscard]] result<void> extend(microseconds ttl) {
        if (!link_ || ended_.load()) return errc::lock_lost;
        auto until = link_->use([&](detail::lock_host& host) { return host.extend_lock(target_, ttl); });
        if (until) {
            if (*until > until_.load()) until_.store(*until);
            return {};
        }
        if (until.error() == errc::lock_lost) ended_.store(true);
        return until.error();
    }

    /// Invalid at once, then one request tells the server; from inside a sink, the next tick does. lock_lost: it had ended
    /// before.
    result<void> release() {
        if (!link_ || ended_.exchange(true)) return errc::lock_lost;
        return link_->use([&](detail::lock_host& host) { return host.release_lock(target_); });
    }

    /// For coordinators.
    schedule_lock(std::shared_ptr<detail::lock_link> link, detail::lock_host::target target, instant until)
        : link_{std::move(link)},
          target_{std::move(target)} {
        until_.store(until);
    }
    /// For coordinators: what is held, and ending the handle without telling the server (it was told in a batch).
    [[nodiscard]] detail::lock_host::target const& held() const noexcept { return target_; }
    [[nodiscard]] bool is_held_by(detail::lock_link const& whose) const noexcept {
        return link_.get() == &whose && !ended_.load();
    }
    void forget() noexcept { ended_.store(true); }
    void extended_until(instant until) noexcept {
        if (until > until_.load()) until_.store(until);
    }

private:
    void swap(schedule_lock& other) noexcept {
        std::swap(link_, other.link_);
        std::swap(target_, other.target_);
        auto const until = until_.load();
        until_.store(other.until_.load());
        other.until_.store(until);
        other.ended_.store(ended_.exchange(other.ended_.load()));
    }

    std::shared_ptr<detail::lock_link> link_;
    detail::lock_host::target target_;
    detail::atomic_instant until_;
    std::atomic<bool> ended_{false};  // released or lost; the link stays, for readers on other threads
};

}  // namespace rota
