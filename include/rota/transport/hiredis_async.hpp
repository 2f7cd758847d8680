// The asynchronous transport to Redis, over hiredis' parser, on an event loop of the user's: many operations in flight
// on one connection, and a second one on which the server tells at once when there is something new.
//
//   rota::poll_loop loop;             // or an adapter of another: loop/libuv_loop.hpp, libevent_loop.hpp, asio_loop.hpp
//   rota::basic_coordinator node{{.node_id = "node-1"}, rota::hiredis_async{"redis://localhost:6379", loop}};
//
// There where hiredis can be included and ROTA_NO_HIREDIS is not defined. Linux (epoll).
#pragma once

#include "../async_coordinator.hpp"
#include "../loop/event_loop.hpp"
#include "../policies.hpp"

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "../detail/late.hpp"
#include "../detail/redis_call.hpp"
#include "../detail/redis_listener.hpp"
#include "../detail/redis_pipeline.hpp"
#include "../detail/redis_user.hpp"

namespace rota {

namespace detail {
struct hiredis_async_access;  // tests define it
}

/// A connection for the operations of several groups: give it to the transports of their coordinators in place of an
/// address. (What is pushed still comes to each over a connection of its own.) It is made under the name of the first that
/// joins; every group's rights are checked, and its session numbered, on each connection anew, which takes its first
/// operation one more round trip.
/// A handle: copies are the same connection, which lasts as long as a handle or transport does. Threads: the loop's.
class redis_link {
public:
    redis_link(std::string url, loop_ref loop, std::size_t most_in_flight = 10'000)
        : self_{std::make_shared<state>(std::move(url), loop, most_in_flight)} {}

private:
    friend class hiredis_async;

    struct state {
        state(std::string at, loop_ref on, std::size_t most_in_flight)
            : url{std::move(at)},
              loop{on},
              pipeline{std::make_shared<detail::redis_pipeline>(on, most_in_flight)} {}
        state(state const&) = delete;
        state& operator=(state const&) = delete;
        ~state() { pipeline->shut_down(); }

        std::string url;
        loop_ref loop;
        std::shared_ptr<detail::redis_pipeline> pipeline;
    };

    std::shared_ptr<state> self_;
};

/// An async_transport (policies.hpp) to a Redis at an address as hiredis_sync takes it.
///
/// Promises:
///  * A handler is called exactly once, on the loop's thread, never inside the call that it was given to. Its errors tell
///    whether the operation may have been done: outcome_unknown and cancelled: maybe; all others: no. Messages name the
///    server and hold its words, never a user name or password.
///  * The destructor hands `cancelled` to every handler that was not called yet, before it returns: the one place where
///    handlers run inside a call of yours. (They could not be left to a loop that may never run again.)
///  * What is asked for in one turn of the loop goes out together. At most `most_in_flight` operations wait or are under
///    way; more fail with `unavailable`. Those that a node lives by (join, tick, reading its changes) go before all
///    others that wait, and are not counted: a flood of requests does not cost a node its life.
///  * It connects when there is something to send, and anew after a loss; in between an operation waits until its own
///    time is over. It fails at once with an attempt that was refused or failed. Attempts are spaced by 5 ms up to 1 s,
///    at random by up to half less. An operation that has no reply when its time is over costs the connection, so that no
///    late reply is taken for another's; others that were on it end with outcome_unknown.
///  * Host names are resolved anew for each connection, on a short-lived thread of their own unless they are numbers; it
///    touches neither loop nor transport once this is destroyed.
///  * No SIGPIPE; descriptors closed on exec.
///
/// Not promised: TLS, Sentinel, Cluster redirections; any use in the child after fork().
///
/// Threads: all calls on the loop's. The loop must outlive it. Movable until it is first used.
class hiredis_async {
public:
    static constexpr std::size_t default_most_in_flight = 10'000;

    /// Never connects and never refuses: open() reports what is wrong with the text.
    hiredis_async(std::string url, loop_ref loop, std::size_t most_in_flight = default_most_in_flight)
        : self_{std::make_shared<state>(redis_link{std::move(url), loop, most_in_flight}.self_, false)} {}
    /// Over a connection that others share.
    explicit hiredis_async(redis_link const& link) : self_{std::make_shared<state>(link.self_, true)} {}
    hiredis_async(hiredis_async&&) = default;
    hiredis_async& operator=(hiredis_async&& other) noexcept {
        if (this != &other) {
            if (self_) self_->shut_down();
            self_ = std::move(other.self_);
        }
        return *this;
    }
    ~hiredis_async() {
        if (self_) self_->shut_down();  // handlers may still call this, in vain
    }

    /// Remembers the settings. invalid_argument: the URL or the key prefix.
    result<void> open(transport_settings const& settings) {
        auto& self = *self_;
        self.opened = false;
        auto address = detail::parse_redis_address(self.link->url);
        if (!address) return address.error();
        if (settings.key_prefix.empty() || settings.key_prefix.find_first_of("{}") != std::string::npos) {
            return {errc::invalid_argument, "key_prefix must not be empty or hold a brace"};
        }
        auto const name = detail::as_client_name(settings.client_name);
        auto const tagged = "{" + settings.key_prefix + "}";
        if (!self.shares) {
            self.pipeline->open(*address, settings.key_prefix, name, settings.operation_timeout);
        } else if (!self.pipeline->is_open()) {
            self.pipeline->open(*address, {}, name, settings.operation_timeout);
        }
        if (self.shares && self.user->key_prefix != settings.key_prefix) self.user->dismiss();
        self.user->key_prefix = settings.key_prefix;
        self.target.address = *std::move(address);
        self.target.name = name + ":push";
        self.target.inbox = tagged + "inbox:";
        self.target.events = tagged + "events";
        self.target.calls = tagged + "calls";
        self.target.patience = settings.operation_timeout;
        self.opened = true;
        return {};
    }

    /// Performs one operation within the timeout, and calls `handler(result<reply>)`, which may be a callable that can only
    /// be moved. unavailable (also: too many in flight), timed_out, refused_by_server, protocol, invalid_argument (not
    /// open): not done; outcome_unknown, cancelled: maybe.
    template <typename T = void, typename Handler>  // see detail/late.hpp
    void submit(detail::late<operation, T> request, microseconds timeout, Handler&& handler) {
        using call = detail::redis_call_of<std::decay_t<Handler>, T>;
        bool const first = keeps_alive(request);
        auto made = std::make_unique<call>(std::move(request), std::forward<Handler>(handler));
        if (!self_->opened) {
            auto why = self_->ended
                           ? rota::error{errc::cancelled, "the transport is being destroyed"}
                           : rota::error{errc::invalid_argument, "hiredis_async: submit() without a successful open()"};
            made->user = self_->user;
            return self_->pipeline->refuse(std::move(made), std::move(why));
        }
        made->user = self_->user;
        self_->pipeline->submit(std::move(made), timeout, first);
    }

    /// Ends what is under way: its handlers get `cancelled`, later. What was sent may have been done.
    void cancel() {
        rota::error const why{errc::cancelled, "cancel() was called"};
        if (self_->shares) {
            self_->pipeline->give_up(*self_->user, why);
        } else {
            self_->pipeline->give_up_all(why);
        }
    }

    /// What on_push() was called for. Forgotten when requests go by a new connection: see async_transport.
    [[nodiscard]] std::optional<pushed_news> take_news(subscription const& sub) {
        return self_->listener->take_news().since(sub);
    }

    /// Calls `on_push()` once when something newer than the subscription is there, and then rests until the next listen(),
    /// each of which takes the place of the one before; subscription{} listens to nothing. Errors only make it later: while
    /// the server is away it tries to connect again now and then, to where operations last reached it.
    template <typename OnPush>
    void listen(subscription const& sub, OnPush&& on_push) {
        if (self_->listener->listen(sub, std::forward<OnPush>(on_push))) return;
        self_->warn({errc::unavailable, "no file descriptor is left to listen for changes"});
    }

    [[nodiscard]] loop_ref loop() const noexcept { return self_->link->loop; }

    /// Whether another server, or another run of it, answers than before: it may lack acknowledged writes.
    [[nodiscard]] bool take_server_changed() { return std::exchange(self_->user->server_changed, false); }

    /// What an operator should know, once each.
    [[nodiscard]] std::vector<error> take_warnings() {
        auto all = std::exchange(self_->warnings, {});
        auto& more = self_->pipeline->handshake().warnings();
        for (auto& each : more) all.push_back(std::move(each));
        more.clear();
        return all;
    }

private:
    friend struct detail::hiredis_async_access;

    template <typename Operation>
    [[nodiscard]] static bool keeps_alive(Operation const& request) {
        return std::holds_alternative<op::join>(request) || std::holds_alternative<op::tick>(request) ||
               std::holds_alternative<op::changes_since>(request);
    }

    // Never moves, so that what is called back knows where it is.
    struct state {
        template <typename Link>
        state(std::shared_ptr<Link> by, bool with_others)
            : shares{with_others},
              link{std::move(by)},
              pipeline{link->pipeline},
              listener{std::make_shared<detail::redis_listener>(link->loop)} {
            // Listening goes to the server that operations go to, on a connection as fresh. (The old one may be dead
            // without knowing.)
            user->established = [this] {
                target.where = pipeline->peer();
                target.server = pipeline->handshake().server();
                listener->retarget(target);
            };
            pipeline->add(user);
            listener->complain_to([this](std::string why) { warn({errc::refused_by_server, std::move(why)}); });
        }
        state(state const&) = delete;
        state& operator=(state const&) = delete;

        void shut_down() {
            opened = false;
            ended = true;
            listener->shut_down();
            auto const kept = pipeline;
            if (shares) {
                kept->remove(*user);
            } else {
                kept->shut_down();
            }
        }
        void warn(error what) {
            constexpr std::size_t most = 64;
            for (auto const& known : refusals) {
                if (known == what.detail) return;
            }
            if (refusals.size() == most) return;
            refusals.push_back(what.detail);
            warnings.push_back(std::move(what));
        }

        bool const shares;  // the connection
        bool opened = false;
        bool ended = false;
        detail::push_target target;
        std::vector<error> warnings;
        std::vector<std::string> refusals;
        std::shared_ptr<redis_link::state> link;
        std::shared_ptr<detail::redis_pipeline> pipeline;
        std::shared_ptr<detail::redis_user> user = std::make_shared<detail::redis_user>();
        std::shared_ptr<detail::redis_listener> listener;
    };

    std::shared_ptr<state> self_;
};

}  // namespace rota

#else

#include <cstddef>
#include <string>

namespace rota {
inline namespace without_hiredis {

template <typename>
inline constexpr bool hiredis_is_there_for_async = false;

// Stands in where there is no hiredis, and says so to whoever uses it.
class hiredis_async {
public:
    template <typename Url>
    hiredis_async(Url const&, loop_ref loop, std::size_t = 0) : loop_{loop} {
        static_assert(
            hiredis_is_there_for_async<Url>,
            "rota: no hiredis: <hiredis/hiredis.h> was not found (Debian: libhiredis-dev), or ROTA_NO_HIREDIS is "
            "defined");
    }
    result<void> open(transport_settings const&);
    template <typename Handler>
    void submit(operation const&, microseconds, Handler&&);
    template <typename OnPush>
    void listen(subscription const&, OnPush&&);
    loop_ref loop() const;

private:
    loop_ref loop_;
};

}  // namespace without_hiredis
}  // namespace rota

#endif
