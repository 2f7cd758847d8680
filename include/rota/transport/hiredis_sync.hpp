// The blocking transport to Redis, over hiredis' parser: operations over one connection, and a sleep that the server
// ends the moment there is something new, over a second one.
//
//   rota::basic_coordinator node{{.node_id = "node-1"}, rota::hiredis_sync{"redis://localhost:6379"}};
//
// There where hiredis can be included and ROTA_NO_HIREDIS is not defined. Linux (eventfd, epoll).
#pragma once

#include "../policies.hpp"

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../detail/entropy.hpp"
#include "../detail/late.hpp"
#include "../detail/redis_push.hpp"
#include "../detail/redis_session.hpp"

namespace rota {

/// A blocking_transport (policies.hpp) to a Redis at `host`, `host:port`, `[v6]:port`,
/// `redis://[user:password@]host[:port][/db]` or `unix://[user:password@]/path[?db=N]`.
///
/// Promises:
///  * perform() is one attempt: connecting if need be, one EVALSHA, the reply, all within its timeout (but for a name
///    server that does not answer, which takes what the system's resolver is configured to take).
///  * Errors tell whether the operation may have been done (outcome_unknown) or not (all others); messages name the
///    server and hold its words, never a user name or password.
///  * The address is resolved anew for each connection. Attempts to connect are spaced by 5 ms up to 1 s, at random by
///    up to half less; a perform() in between sleeps until the next is due, or its own time is over.
///  * wait() keeps one blocking read pending over any number of sleeps, and works as a plain sleep, which tries to
///    connect again now and then, while the server is away.
///  * No SIGPIPE, no threads, descriptors closed on exec.
///
/// Not promised: TLS, Sentinel, Cluster redirections.
///
/// Threads: see blocking_transport. wake() may also be called from a signal handler. take_warnings(): any thread.
/// Movable until it is first used.
class hiredis_sync {
public:
    /// Never connects and never refuses: open() reports what is wrong with the text.
    explicit hiredis_sync(std::string url) : self_{std::make_unique<state>(std::move(url))} {}

    /// Remembers the settings. invalid_argument: the URL or the key prefix; unavailable: no file descriptor is left.
    result<void> open(transport_settings const& settings) {
        auto& self = *self_;
        self.opened = false;
        auto address = detail::parse_redis_address(self.url);
        if (!address) return address.error();
        if (settings.key_prefix.empty() || settings.key_prefix.find_first_of("{}") != std::string::npos) {
            return {errc::invalid_argument, "key_prefix must not be empty or hold a brace"};
        }
        if (!self.make_descriptors()) {
            return {errc::unavailable, "no file descriptor for wake(): " + std::generic_category().message(errno)};
        }
        auto const name = detail::as_client_name(settings.client_name);
        self.session.open(*address, settings.key_prefix, name);
        auto const tagged = "{" + settings.key_prefix + "}";
        std::lock_guard const lock{self.mutex};
        self.target.address = *std::move(address);
        self.target.name = name + ":push";
        self.target.inbox = tagged + "inbox:";
        self.target.events = tagged + "events";
        self.target.calls = tagged + "calls";
        self.target.patience = settings.operation_timeout;
        self.opened = true;
        return {};
    }

    /// Performs one operation. unavailable, timed_out, refused_by_server, protocol: not done; outcome_unknown: maybe.
    template <typename T = void>  // see detail/late.hpp
    result<detail::late<reply, T>> perform(detail::late<operation, T> const& request, microseconds timeout) {
        auto& self = *self_;
        if (!self.opened) return {errc::invalid_argument, "hiredis_sync: perform() without a successful open()"};
        auto answer = self.session.perform(request, timeout);
        if (self.session.established() != self.announced) self.announce();
        return answer;
    }

    /// Sleeps until something new came for the subscription, wake(), or the timeout. Errors only make it sleep longer.
    wake_reason wait(subscription const& sub, microseconds timeout) {
        auto& self = *self_;
        auto now = detail::io_now();
        auto const deadline = detail::io_deadline(now, timeout);
        for (;;) {
            if (self.woken.exchange(false, std::memory_order_acquire)) {
                self.calm();
                return wake_reason::woken;
            }
            if (self.announcements.load(std::memory_order_acquire) != self.followed) self.follow();
            self.push.prepare(sub, now);
            auto const until = self.push.next_time();
            pollfd ready[2] = {{self.event.load(std::memory_order_relaxed), POLLIN, 0}, self.push.wanted()};
            bool const any = detail::io_poll(ready, 2, (until < deadline ? until : deadline) - now);
            now = detail::io_now();
            if (any && ready[0].revents != 0) self.calm();
            if (any && ready[1].revents != 0) {
                bool const newer = self.push.react(sub, now);
                if (auto why = self.push.take_refusal(); !why.empty())
                    self.warn({errc::refused_by_server, std::move(why)});
                if (newer) {
                    self.keep_news();
                    return wake_reason::pushed;
                }
            }
            if (!any && now >= deadline) {
                return self.woken.exchange(false, std::memory_order_acquire) ? wake_reason::woken
                                                                             : wake_reason::timeout;
            }
        }
    }

    /// Ends the present or the next wait. Any thread, any time, also in a signal handler; never blocks.
    void wake() noexcept {
        self_->woken.store(true, std::memory_order_release);
        self_->poke();
    }

    /// What a wait() was ended by. Any thread; while nothing is performed.
    [[nodiscard]] std::optional<pushed_news> take_news(subscription const& sub) {
        auto& self = *self_;
        std::lock_guard const lock{self.mutex};
        // Heard over a connection to where requests went before: perhaps from another server.
        if (self.news_from != self.announcements.load(std::memory_order_acquire)) return std::nullopt;
        self.news_from = 0;
        return std::move(self.news).since(sub);
    }

    /// Polls readable when wait() has something to do: a wake, or bytes from the server. Owned by the transport.
    [[nodiscard]] int wake_fd() const noexcept { return self_->epoll; }

    /// Whether another server, or another run of it, answers than before: it may lack acknowledged writes. As perform().
    [[nodiscard]] bool take_server_changed() { return self_->session.take_server_changed(); }

    /// What an operator should know, once each.
    [[nodiscard]] std::vector<error> take_warnings() {
        auto& self = *self_;
        std::lock_guard const lock{self.mutex};
        return std::exchange(self.warnings, {});
    }

private:
    struct state {
        explicit state(std::string text) : url{std::move(text)}, push{detail::entropy()} {
            (void)make_descriptors();  // so that wake() works from now on; open() tries again and reports
        }
        state(state const&) = delete;
        state& operator=(state const&) = delete;
        ~state() {
            push.close();
            if (epoll >= 0) ::close(epoll);
            if (event >= 0) ::close(event);
        }

        bool make_descriptors() noexcept {
            if (event < 0) event = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
            if (event < 0) return false;
            if (epoll >= 0) return true;
            int const made = ::epoll_create1(EPOLL_CLOEXEC);
            if (made < 0) return false;
            epoll_event wanted{};
            wanted.events = EPOLLIN;
            if (::epoll_ctl(made, EPOLL_CTL_ADD, event, &wanted) != 0) {
                ::close(made);
                return false;
            }
            epoll = made;
            push.watch_with(made);
            return true;
        }

        // Makes a poll return, now or later.
        void poke() noexcept {
            int const before = errno;
            std::uint64_t const one = 1;
            // Fails only if it is readable anyway, or was never made.
            [[maybe_unused]] auto const ignored = ::write(event.load(std::memory_order_relaxed), &one, sizeof one);
            errno = before;
        }

        void calm() noexcept {
            std::uint64_t count = 0;
            [[maybe_unused]] auto const ignored = ::read(event.load(std::memory_order_relaxed), &count, sizeof count);
        }

        void warn(error what) {
            constexpr std::size_t most = 64;
            std::lock_guard const lock{mutex};
            for (auto const& known : refusals) {
                if (known == what.detail) return;
            }
            if (refusals.size() == most) return;
            refusals.push_back(what.detail);
            warnings.push_back(std::move(what));
        }

        // There is a new command connection: listening goes to the same server, on a connection as fresh. (The old one may
        // be dead without knowing.) Also hands over what was noticed on the way.
        void announce() {
            announced = session.established();
            {
                std::lock_guard const lock{mutex};
                target.where = session.peer();
                target.server = session.server();
                for (auto& each : session.warnings()) warnings.push_back(std::move(each));
                session.warnings().clear();
                announcements.fetch_add(1, std::memory_order_release);
            }
            poke();
        }

        void keep_news() {
            std::lock_guard const lock{mutex};
            news = push.take_news();
            news_from = followed;
        }

        void follow() {
            std::lock_guard const lock{mutex};
            followed = announcements.load(std::memory_order_acquire);
            push.retarget(target);
        }

        std::string url;

        // For the thread that performs.
        bool opened = false;
        detail::redis_session session;
        std::uint64_t announced = 0;

        // For all.
        std::mutex mutex;
        detail::push_target target;
        std::vector<error> warnings;
        std::vector<std::string> refusals;
        detail::redis_news news;      // what ended the last wait, and
        std::uint64_t news_from = 0;  // ... by which announcement it listened there; 0: there is none
        std::atomic<std::uint64_t> announcements{0};
        std::atomic<bool> woken{false};
        std::atomic<int> event{-1};
        std::atomic<int> epoll{-1};

        // For the thread that waits.
        detail::redis_push push;
        std::uint64_t followed = 0;
    };

    std::unique_ptr<state> self_;
};

template <typename... Policies>
class basic_coordinator;

/// The blocking coordinator over Redis, with the default strategy, clock and sink.
using coordinator = basic_coordinator<hiredis_sync>;

}  // namespace rota

#else

namespace rota {
inline namespace without_hiredis {

template <typename>
inline constexpr bool hiredis_is_there = false;

// Stands in where there is no hiredis, and says so to whoever uses it.
class hiredis_sync {
public:
    template <typename Url>
    explicit hiredis_sync(Url const&) {
        static_assert(
            hiredis_is_there<Url>,
            "rota: no hiredis: <hiredis/hiredis.h> was not found (Debian: libhiredis-dev), or ROTA_NO_HIREDIS is "
            "defined");
    }
    result<void> open(transport_settings const&);
    result<reply> perform(operation const&, microseconds);
    wake_reason wait(subscription const&, microseconds);
    void wake();
};

}  // namespace without_hiredis

template <typename... Policies>
class basic_coordinator;
using coordinator = basic_coordinator<hiredis_sync>;

}  // namespace rota

#endif
