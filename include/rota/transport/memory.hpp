// A group without a server: the reference model of the server's state in this process, shared by any number of
// transports. For tests (with switches for what goes wrong on a network), for trying rota out, and for services of one
// process. With real time it blocks and wakes as Redis does; with manual time it never blocks, and time passes only by
// advance().
//
//   rota::memory_store store;                                   // or memory_store{rota::manual_time}
//   rota::memory_transport wire{store};                         // a handle: keep a copy to throw the switches
//   rota::basic_coordinator node{{.node_id = "a"}, wire};
//   wire.lose_replies(1);
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "../detail/late.hpp"
#include "../detail/store.hpp"
#include "../policies.hpp"

namespace rota {

struct manual_time_t {};
/// memory_store{manual_time}: its clock stands still but for advance().
inline constexpr manual_time_t manual_time{};

/// The state of any number of groups (by key_prefix), with its own server clock. A handle: copies share the state.
/// Thread-safe.
template <typename Defects = detail::sound>
class basic_memory_store {
public:
    /// Time passes as it does outside.
    basic_memory_store() : shared_{std::make_shared<shared>()} {}

    /// Time passes by advance() only, from `start` on (µs since 1970, like Redis' TIME).
    explicit basic_memory_store(manual_time_t, microseconds start = std::chrono::hours{24 * 365 * 50})
        : basic_memory_store{} {
        shared_->manual = true;
        shared_->manual_now = start.count();
    }

    /// The server's clock.
    [[nodiscard]] microseconds now() const {
        std::lock_guard const lock{shared_->mutex};
        return microseconds{shared_->now()};
    }

    /// Moves the server's clock (manual time: this is all that moves it; real time: it jumps ahead by that much).
    void advance(microseconds by) const {
        std::lock_guard const lock{shared_->mutex};
        shared_->manual_now += by.count();
        shared_->changed.notify_all();
    }

    /// Loses everything, as a server without persistence that is restarted. Connections break.
    void restart_empty() const {
        std::lock_guard const lock{shared_->mutex};
        shared_->groups.clear();
        ++shared_->restarts;
        shared_->changed.notify_all();
    }

    /// Damages the records of a group, as a failover that lost writes or an edit by hand would: for tests of healing.
    void damage(std::string const& key_prefix, detail::store_damage const& what) const {
        std::lock_guard const lock{shared_->mutex};
        shared_->groups[key_prefix].inflict(what);
    }

private:
    template <typename>
    friend class basic_memory_transport;

    struct shared {
        std::mutex mutex;
        std::condition_variable changed;
        bool manual = false;
        std::int64_t manual_now = 0;
        std::uint64_t restarts = 0;
        std::uint64_t sessions = 0;
        std::map<std::string, detail::basic_store<Defects>, std::less<>> groups;

        std::int64_t now() const {
            if (manual) return manual_now;
            auto const t = std::chrono::steady_clock::now().time_since_epoch();
            static auto const origin = std::chrono::system_clock::now().time_since_epoch() -
                                       std::chrono::steady_clock::now().time_since_epoch();
            return std::chrono::duration_cast<microseconds>(t + origin).count() + manual_now;
        }
    };

    std::shared_ptr<shared> shared_;
};

using memory_store = basic_memory_store<>;

/// A blocking transport (see policies.hpp) to a memory_store. A handle: copies are the same connection.
template <typename Defects = detail::sound>
class basic_memory_transport {
    using reply = detail::late<rota::reply, Defects>;

public:
    using store_type = basic_memory_store<Defects>;

    /// To a store of its own, in real time.
    basic_memory_transport() : basic_memory_transport{store_type{}} {}
    explicit basic_memory_transport(store_type shared_store) : link_{std::make_shared<link>()} {
        link_->store = shared_store.shared_;
        std::lock_guard const lock{link_->store->mutex};
        link_->from.session = ++link_->store->sessions;
        link_->from.number = 1;
    }

    // ---------------------------------------------------------------- what goes wrong; each from any thread

    /// While true every request fails with `unavailable`, and nothing is done or pushed.
    void refuse(bool on) const {
        std::lock_guard const lock{link_->store->mutex};
        link_->refusing = on;
    }
    /// The next `count` requests have their effect, but their replies are lost (outcome_unknown, a new connection).
    void lose_replies(unsigned count) const {
        std::lock_guard const lock{link_->store->mutex};
        link_->losing = count;
    }
    /// The connection breaks: a new one is made for the next request.
    void disconnect() const {
        std::lock_guard const lock{link_->store->mutex};
        link_->connect_anew();
    }
    /// Requests performed so far, failed ones included.
    [[nodiscard]] std::uint64_t requests() const {
        std::lock_guard const lock{link_->store->mutex};
        return link_->requests;
    }

    // ---------------------------------------------------------------- blocking_transport

    result<void> open(transport_settings const& settings) {
        std::lock_guard const lock{link_->store->mutex};
        link_->group = settings.key_prefix;
        return {};
    }

    result<reply> perform(operation const& request, microseconds /*timeout*/) {
        auto& store = *link_->store;
        std::lock_guard const lock{store.mutex};
        ++link_->requests;
        if (link_->refusing) return {errc::unavailable, "memory_transport refuses"};
        auto& group = store.groups[link_->group];
        if (std::exchange(link_->restarts, store.restarts) != store.restarts) link_->connect_anew();
        group.raise(link_->from);
        auto answer = group.perform(request, link_->from, store.now());
        store.changed.notify_all();
        if (link_->losing > 0) {
            --link_->losing;
            link_->connect_anew();
            return {errc::outcome_unknown, "memory_transport lost the reply"};
        }
        return answer;
    }

    wake_reason wait(subscription const& sub, microseconds timeout) {
        auto& store = *link_->store;
        std::unique_lock lock{store.mutex};
        auto const pushed = [&] {
            if (link_->refusing) return false;
            auto const group = store.groups.find(link_->group);
            return group != store.groups.end() && group->second.has_news_for(sub);
        };
        auto const awake = [&] { return link_->woken || pushed(); };
        if (!store.manual && timeout > microseconds{}) {
            auto const limit =
                std::chrono::steady_clock::now() + std::min(timeout, microseconds{std::chrono::hours{1}});
            store.changed.wait_until(lock, limit, awake);
        }
        if (std::exchange(link_->woken, false)) return wake_reason::woken;
        return pushed() ? wake_reason::pushed : wake_reason::timeout;
    }

    std::optional<pushed_news> take_news(subscription const& sub) {
        std::lock_guard const lock{link_->store->mutex};
        auto const group = link_->store->groups.find(link_->group);
        if (link_->refusing || group == link_->store->groups.end()) return std::nullopt;
        if (link_->restarts != link_->store->restarts) return std::nullopt;  // the next request is told of that
        return group->second.news_for(sub);
    }

    void wake() {
        std::lock_guard const lock{link_->store->mutex};
        link_->woken = true;
        link_->store->changed.notify_all();
    }

private:
    struct link {
        std::shared_ptr<typename store_type::shared> store;
        std::string group;
        detail::connection_stamp from;
        std::uint64_t restarts = 0;
        std::uint64_t requests = 0;
        unsigned losing = 0;
        bool refusing = false;
        bool woken = false;

        void connect_anew() { ++from.number; }
    };

    std::shared_ptr<link> link_;
};

using memory_transport = basic_memory_transport<>;

}  // namespace rota
