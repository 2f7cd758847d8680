// A peer on loopback that is no Redis, or a bad one: it answers with scripted bytes, with nothing, hangs up in the
// middle of a reply, or does not even accept. For tests of what a client says of such a server, and when.
//
// tcp_peer runs one thread, stopped by its destructor. full_backlog needs none: it is a port whose queue of connections
// is full, so that connecting to it takes until the client's own timeout.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "child_process.hpp"

namespace rota::test {

/// What a tcp_peer does with each connection.
struct peer_script {
    std::string greeting{};              ///< sent at once
    std::vector<std::string> replies{};  ///< the next one is sent whenever bytes arrive; the last one again and again
    std::optional<std::size_t> close_after_bytes{};     ///< hang up after so many bytes sent; 0: at once
    std::optional<std::size_t> close_after_requests{};  ///< hang up after so many arrivals, their replies sent
    bool reset = false;                                 ///< hang up with RST instead of FIN
};

namespace detail {

inline sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
}

inline unique_fd make_socket() {
    unique_fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!fd) throw_errno("socket");
    return fd;
}

/// A listening socket and its port.
struct listener {
    unique_fd fd = make_socket();
    std::uint16_t port = 0;

    explicit listener(int backlog = 64) {
        auto address = loopback(0);
        socklen_t size = sizeof address;
        if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) < 0) throw_errno("bind");
        if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) < 0) throw_errno("getsockname");
        if (::listen(fd.get(), backlog) < 0) throw_errno("listen");
        port = ntohs(address.sin_port);
    }

    [[nodiscard]] unique_fd accept() const {
        return unique_fd{::accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    }
};

/// Small writes go out at once, as with Redis and its clients.
inline void send_without_delay(unique_fd const& fd) {
    int const on = 1;
    if (::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) throw_errno("setsockopt(TCP_NODELAY)");
}

/// Connects without waiting; it may not have been established yet.
inline unique_fd start_connecting(std::uint16_t port) {
    auto fd = make_socket();
    auto const address = loopback(port);
    if (::connect(fd.get(), reinterpret_cast<sockaddr const*>(&address), sizeof address) < 0 && errno != EINPROGRESS) {
        fd.reset();
    }
    return fd;
}

/// Closes with RST, whatever is still unsent.
inline void close_with_reset(unique_fd& fd) {
    linger const at_once{.l_onoff = 1, .l_linger = 0};
    if (fd) (void)::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    fd.reset();
}

/// Wakes a thread that polls fd().
class wake_up {
public:
    wake_up() : fd_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
        if (!fd_) throw_errno("eventfd");
    }
    [[nodiscard]] int fd() const { return fd_.get(); }
    void set() const {
        std::uint64_t const one = 1;
        (void)!::write(fd_.get(), &one, sizeof one);
    }
    void clear() const {
        std::uint64_t count = 0;
        (void)!::read(fd_.get(), &count, sizeof count);
    }

private:
    unique_fd fd_;
};

}  // namespace detail

/// A TCP server with a script. It listens from construction on. Members may be called by any thread.
class tcp_peer {
public:
    explicit tcp_peer(peer_script script = {}) : script_{std::move(script)} {
        thread_ = std::jthread{[this](std::stop_token stop) { serve(stop); }};
    }
    tcp_peer(tcp_peer const&) = delete;
    tcp_peer& operator=(tcp_peer const&) = delete;
    ~tcp_peer() {
        thread_.request_stop();
        wake_.set();
    }

    [[nodiscard]] std::uint16_t port() const { return listener_.port; }
    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port()); }
    [[nodiscard]] std::string url() const { return "redis://" + address(); }

    /// Connections accepted so far.
    [[nodiscard]] std::size_t accepted() const { return accepted_; }

    /// All bytes received so far, of all connections.
    [[nodiscard]] std::string received() const {
        std::lock_guard const hold{mutex_};
        return received_;
    }

private:
    struct connection {
        unique_fd fd;
        std::string unsent{};
        std::size_t sent = 0;
        std::size_t arrivals = 0;
        bool hung_up = false;  // FIN sent; still read, because closing with bytes unread would send RST
    };

    static constexpr std::size_t max_connections = 256;
    static constexpr std::size_t max_received = std::size_t{1} << 20;

    void serve(std::stop_token const& stop) {
        std::vector<connection> connections;
        std::vector<pollfd> waiting;
        while (!stop.stop_requested()) {
            waiting.assign({{.fd = wake_.fd(), .events = POLLIN, .revents = 0},
                            {.fd = listener_.fd.get(), .events = POLLIN, .revents = 0}});
            for (auto const& each : connections) {
                short const events = each.unsent.empty() ? POLLIN : POLLIN | POLLOUT;
                waiting.push_back({.fd = each.fd.get(), .events = events, .revents = 0});
            }
            if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) throw_errno("poll");
            wake_.clear();
            for (std::size_t i = 0; i < connections.size(); ++i) {
                if (waiting[i + 2].revents != 0) receive(connections[i]);
            }
            while (auto fd = listener_.accept()) {
                ++accepted_;
                if (connections.size() == max_connections) continue;
                connections.push_back({.fd = std::move(fd), .unsent = script_.greeting});
            }
            for (auto& each : connections) send(each);
            std::erase_if(connections, [](connection const& each) { return !each.fd; });
        }
    }

    void receive(connection& from) {
        std::array<char, 16 * 1024> chunk;
        auto const got = ::recv(from.fd.get(), chunk.data(), chunk.size(), 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (got <= 0) return from.fd.reset();
        {
            std::lock_guard const hold{mutex_};
            received_.append(chunk.data(), std::min(static_cast<std::size_t>(got), max_received - received_.size()));
        }
        if (!from.hung_up && !script_.replies.empty()) {
            from.unsent += script_.replies[std::min(from.arrivals, script_.replies.size() - 1)];
        }
        ++from.arrivals;
    }

    void send(connection& to) const {
        if (!to.fd || to.hung_up) return;
        auto const allowed = script_.close_after_bytes.value_or(to.sent + to.unsent.size()) - to.sent;
        auto const size = std::min(allowed, to.unsent.size());
        if (size > 0) {
            auto const done = ::send(to.fd.get(), to.unsent.data(), size, MSG_NOSIGNAL);
            if (done < 0 && errno != EAGAIN && errno != EINTR) return to.fd.reset();
            if (done > 0) {
                to.sent += static_cast<std::size_t>(done);
                to.unsent.erase(0, static_cast<std::size_t>(done));
            }
        }
        bool const bytes_done = script_.close_after_bytes && to.sent >= *script_.close_after_bytes;
        bool const requests_done =
            script_.close_after_requests && to.arrivals >= *script_.close_after_requests && to.unsent.empty();
        if (!bytes_done && !requests_done) return;
        if (script_.reset) return detail::close_with_reset(to.fd);
        (void)::shutdown(to.fd.get(), SHUT_WR);
        to.hung_up = true;
        to.unsent.clear();
    }

    peer_script const script_;
    detail::listener listener_;
    detail::wake_up wake_;
    std::atomic<std::size_t> accepted_ = 0;
    mutable std::mutex mutex_;
    std::string received_;
    std::jthread thread_;  // last: it uses all of the above
};

/// A port that takes no more connections: each further one hangs in connect, as with a host that drops packets.
class full_backlog {
public:
    full_backlog() {
        constexpr std::size_t at_most = 16;
        constexpr int established_within_ms = 200;
        while (held_.size() < at_most) {
            held_.push_back(detail::start_connecting(listener_.port));
            pollfd waiting{.fd = held_.back().get(), .events = POLLOUT, .revents = 0};
            if (::poll(&waiting, 1, established_within_ms) == 0) return;  // this one hangs: so will the next
        }
        throw std::runtime_error("the backlog of a listening socket does not fill up here");
    }

    [[nodiscard]] std::uint16_t port() const { return listener_.port; }
    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port()); }
    [[nodiscard]] std::string url() const { return "redis://" + address(); }

private:
    detail::listener listener_{0};
    std::vector<unique_fd> held_;
};

}  // namespace rota::test
