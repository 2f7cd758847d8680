// One connection to a Redis: connecting under a deadline of our own, requests as bytes, replies through redis_parser.
// Promises: no SIGPIPE, no descriptor leaked to child processes, one send and one recv for a request whose reply comes
// in one piece; after a failure the connection is closed, and the kind of error tells whether the whole request had been
// handed to the system (receive() failed) or not (send() failed: the server cannot have acted on it).
// Does not: retry, know rota's scripts, or bound the time that the system takes to resolve a host name (numbers and
// /etc/hosts are immediate; a name server that is away costs what resolv.conf says). One thread at a time.
#pragma once

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "../result.hpp"
#include "../types.hpp"
#include "io_clock.hpp"
#include "redis/request_bytes.hpp"
#include "redis_address.hpp"
#include "redis_error.hpp"
#include "redis_parser.hpp"

namespace rota::detail {

// ---------------------------------------------------------------- time

/// ppoll for at most `timeout`, to the microsecond; true if a descriptor is ready. EINTR counts as not ready.
inline bool io_poll(pollfd* descriptors, std::size_t count, microseconds timeout) noexcept {
    if (timeout < microseconds{0}) timeout = microseconds{0};
    timespec span{};
    span.tv_sec = static_cast<std::time_t>(timeout.count() / 1'000'000);
    span.tv_nsec = static_cast<long>(timeout.count() % 1'000'000 * 1'000);
    return ::ppoll(descriptors, static_cast<nfds_t>(count), &span, nullptr) > 0;
}

/// Sleeps until `deadline`, whatever signals come.
inline void io_sleep(microseconds deadline) noexcept {
    for (auto now = io_now(); now < deadline; now = io_now()) io_poll(nullptr, 0, deadline - now);
}

/// When the next attempt to connect may be made: at once after a good time, then in steps from 5 ms up to 1 s, each
/// shortened at random by up to half, so that the nodes of a group do not come back in step.
class reconnect_backoff {
public:
    explicit reconnect_backoff(std::uint64_t seed) noexcept : random_{seed | 1} {}

    void failed(microseconds now) noexcept {
        constexpr microseconds first = std::chrono::milliseconds{5};
        constexpr microseconds most = std::chrono::seconds{1};
        step_ = step_ < first ? first : 2 * step_;
        if (step_ > most) step_ = most;
        random_ ^= random_ << 13;  // xorshift64
        random_ ^= random_ >> 7;
        random_ ^= random_ << 17;
        auto const half = step_.count() / 2;
        not_before_ =
            now + step_ - microseconds{static_cast<std::int64_t>(random_ % static_cast<std::uint64_t>(half + 1))};
    }
    /// It was refused for a reason that people must mend.
    void refused(microseconds now) noexcept { not_before_ = now + std::chrono::seconds{30}; }
    void succeeded() noexcept { step_ = not_before_ = microseconds{0}; }

    [[nodiscard]] microseconds not_before() const noexcept { return not_before_; }

private:
    microseconds step_{0};
    microseconds not_before_{0};
    std::uint64_t random_;
};

/// An address that a host name was resolved to.
struct endpoint {
    sockaddr_storage address{};
    socklen_t size = 0;
};

enum class resolving : std::uint8_t { names, numbers_only };

/// All endpoints of an address, in the order in which to try them. unavailable: the name cannot be resolved now; or, of
/// numbers_only, which asks nobody and so never blocks, it is a name.
[[nodiscard]] inline result<std::vector<endpoint>> resolve(redis_address const& address,
                                                           resolving what = resolving::names) {
    std::vector<endpoint> found;
    if (!address.path.empty()) {
        sockaddr_un local{};
        local.sun_family = AF_UNIX;
        if (address.path.size() >= sizeof local.sun_path)
            return {errc::invalid_argument, "the socket's path is too long"};
        std::memcpy(local.sun_path, address.path.data(), address.path.size());
        auto& one = found.emplace_back();
        std::memcpy(&one.address, &local, sizeof local);
        one.size = static_cast<socklen_t>(sizeof local);
        return found;
    }

    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV | (what == resolving::numbers_only ? AI_NUMERICHOST : 0);
    addrinfo* list = nullptr;
    auto const port = std::to_string(address.port);
    if (int const failure = ::getaddrinfo(address.host.c_str(), port.c_str(), &hints, &list); failure != 0) {
        auto const why =
            failure == EAI_SYSTEM ? std::generic_category().message(errno) : std::string{::gai_strerror(failure)};
        return {errc::unavailable, "the host name cannot be resolved: " + why};
    }
    for (auto const* entry = list; entry != nullptr; entry = entry->ai_next) {
        if (entry->ai_addrlen > sizeof(sockaddr_storage)) continue;
        auto& one = found.emplace_back();
        std::memcpy(&one.address, entry->ai_addr, entry->ai_addrlen);
        one.size = entry->ai_addrlen;
    }
    ::freeaddrinfo(list);
    return found;
}

/// See the top of the file.
class redis_connection {
public:
    redis_connection() = default;
    redis_connection(redis_connection const&) = delete;
    redis_connection& operator=(redis_connection const&) = delete;
    ~redis_connection() { close(); }

    [[nodiscard]] bool is_open() const noexcept { return descriptor_ >= 0; }
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
    /// Where the last connection went.
    [[nodiscard]] endpoint const& peer() const noexcept { return peer_; }

    void close() noexcept {
        if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
        parser_.stop();
    }

    // ---------------------------------------------------------------- connecting

    /// Resolves the address and connects to the first of its endpoints that takes the connection, blocking until the
    /// deadline. unavailable: refused or not found; timed_out: no answer.
    result<void> connect(redis_address const& to, microseconds deadline) {
        auto const targets = resolve(to);
        if (!targets) return targets.error();
        int failure = ETIMEDOUT;
        for (std::size_t i = 0; i < targets->size(); ++i) {
            auto const now = io_now();
            if (now >= deadline) break;
            failure = begin_connect((*targets)[i]);
            if (failure == EINPROGRESS) {
                // Each endpoint gets its share of the time: one that swallows packets must not hide the next.
                auto const share = (deadline - now) / static_cast<std::int64_t>(targets->size() - i);
                failure = await_connected(now + share);
            }
            if (failure == 0 && ::fcntl(descriptor_, F_SETFL, 0) != 0)
                failure = errno;  // from here on SO_RCVTIMEO rules
            if (failure == 0) return {};
            close();
        }
        if (failure == ETIMEDOUT) return {errc::timed_out, "no connection within the time allowed"};
        return {errc::unavailable, "cannot connect: " + std::generic_category().message(failure)};
    }

    /// Starts to connect without waiting, on a non-blocking socket. 0: connected; EINPROGRESS: see connect_outcome() once
    /// the descriptor is writable; else the errno of the failure, and the connection is closed.
    int begin_connect(endpoint const& to) {
        close();
        int const family = to.address.ss_family;
        descriptor_ = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (descriptor_ < 0) return errno;
        if (family != AF_UNIX) {
            // A request must not wait for its predecessor's acknowledgement; and a peer that is gone is noticed in half a
            // minute even by a connection that only listens.
            set_option(IPPROTO_TCP, TCP_NODELAY, 1);
            set_option(SOL_SOCKET, SO_KEEPALIVE, 1);
            set_option(IPPROTO_TCP, TCP_KEEPIDLE, 15);
            set_option(IPPROTO_TCP, TCP_KEEPINTVL, 5);
            set_option(IPPROTO_TCP, TCP_KEEPCNT, 3);
        }
        parser_.start();
        io_timeout_ = microseconds{0};
        peer_ = to;
        if (::connect(descriptor_, reinterpret_cast<sockaddr const*>(&to.address), to.size) == 0) return 0;
        int const failure = errno == EINTR ? EINPROGRESS : errno;
        if (failure != EINPROGRESS) close();
        return failure;
    }

    /// What became of a connection that was EINPROGRESS: 0 or an errno.
    [[nodiscard]] int connect_outcome() const noexcept {
        int failure = 0;
        socklen_t size = sizeof failure;
        if (::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &failure, &size) != 0) return errno;
        return failure == 0 && is_own_peer() ? ECONNREFUSED : failure;
    }

    // ---------------------------------------------------------------- requests and replies, blocking

    /// The request to send, to be cleared and filled by the caller; its capacity is kept.
    [[nodiscard]] std::string& request() noexcept { return output_; }

    /// Says how much time there is from now on, before send() and receive(). Costs nothing while it is about the same as
    /// for the last request.
    void allow(microseconds remaining) noexcept {
        // Somewhat longer is tolerable (a sixteenth, for the sake of no system call); shorter only leads to another turn.
        if (io_timeout_ <= remaining + remaining / 16 && io_timeout_ >= remaining / 2 && io_timeout_.count() != 0)
            return;
        if (remaining < microseconds{1'000}) remaining = microseconds{1'000};  // 0 would mean for ever
        io_timeout_ = remaining;
        timeval span{};
        span.tv_sec = static_cast<std::time_t>(remaining.count() / 1'000'000);
        span.tv_usec = static_cast<suseconds_t>(remaining.count() % 1'000'000);
        ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &span, sizeof span);
        ::setsockopt(descriptor_, SOL_SOCKET, SO_SNDTIMEO, &span, sizeof span);
    }

    /// Sends the request. On failure (unavailable, timed_out) the server has at most a part of it, on which it cannot act.
    result<void> send(microseconds deadline) {
        std::size_t sent = 0;
        for (;;) {
            auto const count = ::send(descriptor_, output_.data() + sent, output_.size() - sent, MSG_NOSIGNAL);
            if (count >= 0) {
                sent += static_cast<std::size_t>(count);
                if (sent == output_.size()) return {};
            } else if (errno != EINTR && errno != EAGAIN) {
                auto why = std::generic_category().message(errno);
                keep_last_words();
                close();
                return {errc::unavailable, "connection lost: " + why};
            }
            if (out_of_time(deadline)) {
                close();
                return {errc::timed_out, "the request could not be sent within the time allowed"};
            }
        }
    }

    /// The next reply, never null. On failure (unavailable: connection lost; timed_out; protocol) requests that were sent
    /// may or may not have been carried out.
    result<reply_ptr> receive(microseconds deadline) {
        if (!input_) input_ = std::make_unique_for_overwrite<char[]>(input_size);
        for (;;) {
            auto next = parse();
            if (!next || *next) return next;
            auto const count = ::recv(descriptor_, input_.get(), input_size, 0);
            if (count > 0) {
                parser_.feed(input_.get(), static_cast<std::size_t>(count));
                // One that answers byte by byte is not waited for longer than others. (The usual reply is whole.)
                next = parse();
                if (!next || *next) return next;
            } else if (count == 0) {
                close();
                return {errc::unavailable, "the server closed the connection"};
            } else if (errno != EINTR && errno != EAGAIN) {
                auto why = std::generic_category().message(errno);
                close();
                return {errc::unavailable, "connection lost: " + why};
            }
            if (out_of_time(deadline)) {
                close();
                return {errc::timed_out, "no reply within the time allowed"};
            }
        }
    }

    /// Whether there is something to read although nothing was asked: the end of the connection, as a rule.
    [[nodiscard]] bool has_unasked_input() const noexcept {
        char byte = 0;
        auto const count = ::recv(descriptor_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        return count >= 0 || (errno != EAGAIN && errno != EINTR);
    }

    /// An error reply that the server sent before it dropped us, in the middle of our request. Empty: none.
    [[nodiscard]] std::string const& last_words() const noexcept { return last_words_; }

    // ---------------------------------------------------------------- requests and replies, not blocking

    /// Hands the request to the system; false (and closed) if it does not take all of it at once.
    bool send_now() noexcept {
        auto const count = ::send(descriptor_, output_.data(), output_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count == static_cast<ssize_t>(output_.size())) return true;
        close();
        return false;
    }

    /// Reads what is there; false (and closed) at the end of the connection.
    bool receive_now() {
        if (receive_some()) return true;
        close();
        return false;
    }

    /// The next reply in what was read, null if none is complete. protocol: the bytes are not Redis' (and closed).
    result<reply_ptr> parse() {
        auto next = next_reply();
        if (!next) close();
        return next;
    }

    // The same for whoever watches the descriptor, and so must be the one that closes it: these leave it open.

    /// Hands as many of the bytes to the system as it takes now, and tells how many. unavailable: the connection is lost;
    /// last_words() may tell why.
    result<std::size_t> send_some(std::string_view bytes) {
        for (;;) {
            auto const count = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (count >= 0) return static_cast<std::size_t>(count);
            if (errno == EAGAIN) return std::size_t{0};
            if (errno == EINTR) continue;
            error why{errc::unavailable, "connection lost: " + std::generic_category().message(errno)};
            keep_last_words();
            return why;
        }
    }

    /// Reads what is there, up to a limit, and tells how much; 0: nothing yet. unavailable: the connection is over.
    result<std::size_t> receive_some() {
        char bytes[nonblocking_size];  // not kept: a program may have thousands of connections
        auto const count = ::recv(descriptor_, bytes, sizeof bytes, MSG_DONTWAIT);
        if (count > 0) {
            parser_.feed(bytes, static_cast<std::size_t>(count));
            return static_cast<std::size_t>(count);
        }
        if (count == 0) return {errc::unavailable, "the server closed the connection"};
        if (errno == EAGAIN || errno == EINTR) return std::size_t{0};
        return {errc::unavailable, "connection lost: " + std::generic_category().message(errno)};
    }

    /// As parse().
    result<reply_ptr> next_reply() { return parser_.next(); }

private:
    static constexpr std::size_t input_size = 64 * 1024;
    static constexpr std::size_t nonblocking_size = 16 * 1024;

    void set_option(int level, int name, int value) noexcept {
        ::setsockopt(descriptor_, level, name, &value, sizeof value);  // all of them are improvements only
    }

    // Trying again and again for a server on this machine that is away, one meets oneself sooner or later: the system may
    // give the client's end the very port that it is to connect to.
    [[nodiscard]] bool is_own_peer() const noexcept {
        sockaddr_storage own{};
        socklen_t size = sizeof own;
        if (::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&own), &size) != 0) return false;
        if (own.ss_family != peer_.address.ss_family) return false;
        if (own.ss_family == AF_INET) {
            auto const& a = reinterpret_cast<sockaddr_in const&>(own);
            auto const& b = reinterpret_cast<sockaddr_in const&>(peer_.address);
            return a.sin_port == b.sin_port && a.sin_addr.s_addr == b.sin_addr.s_addr;
        }
        if (own.ss_family == AF_INET6) {
            auto const& a = reinterpret_cast<sockaddr_in6 const&>(own);
            auto const& b = reinterpret_cast<sockaddr_in6 const&>(peer_.address);
            return a.sin6_port == b.sin6_port && std::memcmp(&a.sin6_addr, &b.sin6_addr, sizeof a.sin6_addr) == 0;
        }
        return false;
    }

    int await_connected(microseconds deadline) noexcept {
        for (auto now = io_now(); now < deadline; now = io_now()) {
            pollfd wanted{descriptor_, POLLOUT, 0};
            if (io_poll(&wanted, 1, deadline - now)) return connect_outcome();
        }
        return ETIMEDOUT;
    }

    bool out_of_time(microseconds deadline) noexcept {
        auto const now = io_now();
        if (now >= deadline) return true;
        allow(deadline - now);
        return false;
    }

    // A server that drops a connection at once (too many clients, protected mode) says why first.
    void keep_last_words() {
        last_words_.clear();
        if (!receive_some()) return;
        auto const said = parser_.next();
        if (said && *said && is_error(**said)) last_words_ = text_of(**said);
    }

    int descriptor_ = -1;
    redis_parser parser_;
    std::unique_ptr<char[]> input_;
    std::string output_;
    std::string last_words_;
    endpoint peer_;
    microseconds io_timeout_{0};
};

// ---------------------------------------------------------------- what opens every connection

/// AUTH, SELECT and CLIENT SETNAME, as far as the address asks for them.
struct greeting {
    enum class step : std::uint8_t { authenticate, select, set_name };
    step steps[3]{};
    std::size_t count = 0;
};

inline greeting append_greeting(std::string& out, redis_address const& address, std::string_view name) {
    greeting made;
    if (address.authenticate) {
        if (address.user.empty()) {
            append_command(out, {"AUTH", address.password});
        } else {
            append_command(out, {"AUTH", address.user, address.password});
        }
        made.steps[made.count++] = greeting::step::authenticate;
    }
    if (address.database != 0) {
        append_command(out, {"SELECT", std::to_string(address.database)});
        made.steps[made.count++] = greeting::step::select;
    }
    append_command(out, {"CLIENT", "SETNAME", name});
    made.steps[made.count++] = greeting::step::set_name;
    return made;
}

/// A name that Redis takes for a client: printable, no spaces.
[[nodiscard]] inline std::string as_client_name(std::string_view name) {
    std::string made{name.substr(0, 128)};
    for (char& c : made) {
        if (c < '!' || c > '~') c = '-';
    }
    return made.empty() ? std::string{"rota"} : made;
}

/// An error reply as an error of ours: what was refused, and the server's words without the password.
[[nodiscard]] inline error server_error(redis_address const& address, std::string_view what, std::string_view text) {
    auto const words = readable_error(without(std::string{text}, address.password));
    std::string detail = redacted(address);
    detail += ": ";
    detail += what;
    detail += ": ";
    detail += words;
    return {meaning_of(words).code, std::move(detail)};
}

}  // namespace rota::detail

#endif
