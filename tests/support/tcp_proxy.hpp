// A TCP proxy between a client and a server on loopback, for tests of a network that misbehaves: it delays, stalls one
// direction, cuts or resets connections, cuts a reply short, or lets a request land and swallows its reply.
//
// Everything is switched at run time by the test. A switch has taken effect when its call returns. One thread owns all
// sockets. A stalled direction is still read and held back here, so what a client sent before it gave up arrives when
// the direction flows again: a late command of a dead connection. What is held is bounded.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "poll_until.hpp"
#include "tcp_peer.hpp"

namespace rota::test {

enum class direction { to_server, to_client };
enum class side { client, server, both };

/// Forwards connections to 127.0.0.1:<server port>. Members may be called by any thread.
class tcp_proxy {
public:
    explicit tcp_proxy(std::uint16_t server_port) : server_port_{server_port} {
        thread_ = std::jthread{[this](std::stop_token stop) { run(stop); }};
    }
    tcp_proxy(tcp_proxy const&) = delete;
    tcp_proxy& operator=(tcp_proxy const&) = delete;
    ~tcp_proxy() {
        thread_.request_stop();
        wake_.set();
    }

    [[nodiscard]] std::uint16_t port() const { return listener_.port; }
    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port()); }
    [[nodiscard]] std::string url() const { return "redis://" + address(); }

    /// Every byte from now on is forwarded that much later than it came; order is kept. 0: at once.
    void delay(direction way, std::chrono::milliseconds by) {
        in_loop([=, this] { flow(way).delay = by; });
    }

    /// Nothing is forwarded that way, on any connection, until resume(). Its end of stream is held back as well.
    void stall(direction way) {
        in_loop([=, this] { flow(way).stalled = true; });
    }
    void resume(direction way) {
        in_loop([=, this] { flow(way).stalled = false; });
    }

    /// Closes all connections on that side, in order (FIN). With one side only, the other stays open and hears nothing.
    void cut(side which = side::both) {
        in_loop([=, this] { close_all(which, how::in_order); });
    }

    /// The same with RST, what was unsent being lost.
    void reset(side which = side::both) {
        in_loop([=, this] { close_all(which, how::reset); });
    }

    /// From now on, connections are accepted and reset at once; those there are stay.
    void refuse(bool refused = true) {
        in_loop([=, this] { refusing_ = refused; });
    }

    /// The first connection to get a reply from now on is cut on both sides after that many bytes of it.
    void cut_reply_after(std::size_t bytes) {
        in_loop([=, this] {
            cut_reply_after_ = bytes;
            ++armed_;
        });
    }

    /// The next request whose bytes hold `text` (empty: any) lands at the server; as soon as its reply begins to arrive
    /// here it is dropped, and the connection is cut on both sides. A client that waits for it sees the end of the
    /// stream, and cannot know whether the request had its effect. The text must come in one piece: it is looked for in
    /// what one read gives.
    void swallow_next_reply(std::string text = {}) {
        in_loop([&] {
            swallow_request_with_ = std::move(text);
            ++armed_;
        });
    }

    /// Waits until every cut_reply_after and swallow_next_reply has happened.
    [[nodiscard]] bool wait_done(deadline until) const {
        return poll_until(until, [&] { return done_ == armed_; });
    }

    /// Disarms cut_reply_after and swallow_next_reply.
    void disarm() {
        in_loop([this] {
            cut_reply_after_.reset();
            swallow_request_with_.reset();
            for (auto& each : connections_) each.swallow_reply = false;
            armed_ = done_.load();
        });
    }

    /// Connections accepted so far, refused ones included; and those that are open on both sides now.
    [[nodiscard]] std::size_t accepted() const { return accepted_; }
    [[nodiscard]] std::size_t open() const { return open_; }

private:
    using clock = deadline::clock;
    enum class how { in_order, reset };

    /// What holds for one direction, on all connections.
    struct flow_settings {
        std::chrono::milliseconds delay{0};
        bool stalled = false;
    };

    struct chunk {
        std::string bytes;
        clock::time_point due;
    };

    /// One direction of one connection: what came and is to be forwarded.
    struct half {
        std::deque<chunk> held;
        std::size_t held_bytes = 0;
        bool source_ended = false;   // nothing more will come
        bool target_broken = false;  // what comes is dropped
        bool end_passed_on = false;
    };

    struct connection {
        unique_fd client;
        unique_fd server;
        half to_server;
        half to_client;
        bool swallow_reply = false;
        bool one_side_cut = false;
        short client_ready = 0;
        short server_ready = 0;
    };

    static constexpr std::size_t max_connections = 256;
    static constexpr std::size_t max_held_bytes = std::size_t{16} << 20;  // then the source waits
    static constexpr std::size_t max_read = 64 * 1024;

    [[nodiscard]] flow_settings& flow(direction way) { return way == direction::to_server ? to_server_ : to_client_; }

    /// Runs the change in the proxy's thread, and returns when it is done.
    void in_loop(std::function<void()> change) {
        std::packaged_task<void()> task{std::move(change)};
        auto finished = task.get_future();
        {
            std::lock_guard const hold{mutex_};
            changes_.push_back(std::move(task));
        }
        wake_.set();
        finished.get();
    }

    void run(std::stop_token const& stop) {
        std::vector<pollfd> waiting;
        while (!stop.stop_requested()) {
            waiting.assign({{.fd = wake_.fd(), .events = POLLIN, .revents = 0},
                            {.fd = listener_.fd.get(), .events = POLLIN, .revents = 0}});
            auto next_due = clock::time_point::max();
            for (auto& each : connections_) {
                next_due = std::min({next_due, due(each.to_server, to_server_), due(each.to_client, to_client_)});
                waiting.push_back(interest(each.client, each.to_server, each.to_client, to_client_));
                waiting.push_back(interest(each.server, each.to_client, each.to_server, to_server_));
            }
            int const timeout = next_due == clock::time_point::max() ? -1 : deadline{next_due}.poll_timeout_ms();
            if (::poll(waiting.data(), waiting.size(), timeout) < 0 && errno != EINTR) throw_errno("poll");
            wake_.clear();

            std::size_t index = 2;
            for (auto& each : connections_) {
                each.client_ready = waiting[index++].revents;
                each.server_ready = waiting[index++].revents;
            }
            make_changes();
            for (auto& each : connections_) forward(each);
            accept();
            connections_.remove_if([](connection const& each) { return !each.client && !each.server; });
            open_ = static_cast<std::size_t>(std::count_if(connections_.begin(), connections_.end(),
                                                           [](connection const& c) { return c.client && c.server; }));
        }
    }

    /// What to wait for at a socket that `in` is read from and `out` is written to.
    [[nodiscard]] static pollfd interest(unique_fd const& fd, half const& in, half const& out,
                                         flow_settings const& way) {
        int events = 0;
        if (!in.source_ended && in.held_bytes < max_held_bytes) events |= POLLIN;
        if (!out.held.empty() && !way.stalled && out.held.front().due <= clock::now()) events |= POLLOUT;
        // an error would be reported again and again if nobody could take it
        return {.fd = events != 0 ? fd.get() : -1, .events = static_cast<short>(events), .revents = 0};
    }

    [[nodiscard]] static clock::time_point due(half const& way, flow_settings const& settings) {
        bool const waits = !way.held.empty() && !settings.stalled && way.held.front().due > clock::now();
        return waits ? way.held.front().due : clock::time_point::max();
    }

    void make_changes() {
        std::vector<std::packaged_task<void()>> changes;
        {
            std::lock_guard const hold{mutex_};
            changes = std::exchange(changes_, {});
        }
        for (auto& change : changes) change();
    }

    void accept() {
        while (auto client = listener_.accept()) {
            ++accepted_;
            auto server = refusing_ || connections_.size() == max_connections ? unique_fd{}
                                                                              : detail::start_connecting(server_port_);
            if (!server) {
                detail::close_with_reset(client);
                continue;
            }
            detail::send_without_delay(client);
            detail::send_without_delay(server);
            connections_.emplace_back();
            connections_.back().client = std::move(client);
            connections_.back().server = std::move(server);
        }
    }

    void forward(connection& each) {
        if (each.client_ready != 0) receive(each, direction::to_server);
        if (each.server_ready != 0) receive(each, direction::to_client);
        send(each.server, each.to_server, to_server_);
        send(each.client, each.to_client, to_client_);
        close_where_done(each);
    }

    void receive(connection& from, direction way) {
        auto& source = way == direction::to_server ? from.client : from.server;
        auto& into = way == direction::to_server ? from.to_server : from.to_client;
        if (!source || into.source_ended) return;
        std::array<char, max_read> bytes;
        auto const got = ::recv(source.get(), bytes.data(), bytes.size(), 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN)) return;
        if (got <= 0) {
            into.source_ended = true;
            return;
        }
        std::string_view const text{bytes.data(), static_cast<std::size_t>(got)};
        if (way == direction::to_server) {
            take_request(from, text);
        } else {
            take_reply(from, text);
        }
    }

    void take_request(connection& from, std::string_view text) {
        if (swallow_request_with_ && text.find(*swallow_request_with_) != std::string_view::npos) {
            swallow_request_with_.reset();
            from.swallow_reply = true;
        }
        hold_back(from.to_server, text, to_server_);
    }

    void take_reply(connection& from, std::string_view text) {
        if (from.swallow_reply) {
            close(from, side::both, how::in_order);
            ++done_;
            return;
        }
        if (cut_reply_after_ && text.size() >= *cut_reply_after_) {
            hold_back(from.to_client, text.substr(0, *std::exchange(cut_reply_after_, std::nullopt)), to_client_);
            from.to_client.source_ended = true;
            from.server.reset();
            ++done_;
            return;
        }
        if (cut_reply_after_) *cut_reply_after_ -= text.size();
        hold_back(from.to_client, text, to_client_);
    }

    static void hold_back(half& way, std::string_view text, flow_settings const& settings) {
        if (text.empty()) return;
        way.held_bytes += text.size();
        way.held.push_back({std::string{text}, clock::now() + settings.delay});
    }

    static void send(unique_fd const& to, half& way, flow_settings const& settings) {
        while (!way.held.empty() && !settings.stalled && way.held.front().due <= clock::now()) {
            auto& front = way.held.front().bytes;
            bool const dropped = !to || way.target_broken;
            auto const done = dropped ? static_cast<ssize_t>(front.size())
                                      : ::send(to.get(), front.data(), front.size(), MSG_NOSIGNAL);
            if (done < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN)) return;
            if (done < 0) {
                way.target_broken = true;  // not closed: what it sent before is still to be read
                continue;
            }
            way.held_bytes -= static_cast<std::size_t>(done);
            front.erase(0, static_cast<std::size_t>(done));
            if (front.empty()) way.held.pop_front();
        }
        if (way.source_ended && way.held.empty() && !settings.stalled && !std::exchange(way.end_passed_on, true)) {
            if (to) (void)::shutdown(to.get(), SHUT_WR);
        }
    }

    static void close_where_done(connection& each) {
        bool const server_done = each.to_server.end_passed_on || (!each.server && each.to_server.held.empty());
        bool const client_done = each.to_client.end_passed_on || (!each.client && each.to_client.held.empty());
        bool const other_hung_up = each.client ? each.to_server.source_ended : each.to_client.source_ended;
        if (server_done && client_done && (!each.one_side_cut || other_hung_up)) {
            each.client.reset();
            each.server.reset();
        }
    }

    void close_all(side which, how manner) {
        for (auto& each : connections_) close(each, which, manner);
    }

    static void close(connection& each, side which, how manner) {
        each.one_side_cut = which != side::both;
        if (which != side::server) close_one(each.client, each.to_server, each.to_client, manner);
        if (which != side::client) close_one(each.server, each.to_client, each.to_server, manner);
    }

    /// What came from that side is still forwarded, but not its end.
    static void close_one(unique_fd& fd, half& from_it, half& to_it, how manner) {
        if (manner == how::reset) detail::close_with_reset(fd);
        fd.reset();
        from_it.source_ended = from_it.end_passed_on = true;
        to_it.held.clear();
        to_it.held_bytes = 0;
    }

    std::uint16_t const server_port_;
    detail::listener listener_;
    detail::wake_up wake_;
    std::mutex mutex_;
    std::vector<std::packaged_task<void()>> changes_;
    std::atomic<std::size_t> accepted_ = 0;
    std::atomic<std::size_t> open_ = 0;
    std::atomic<std::size_t> armed_ = 0;
    std::atomic<std::size_t> done_ = 0;

    // the thread's own
    std::list<connection> connections_;
    flow_settings to_server_;
    flow_settings to_client_;
    bool refusing_ = false;
    std::optional<std::size_t> cut_reply_after_;
    std::optional<std::string> swallow_request_with_;

    std::jthread thread_;  // last: it uses all of the above
};

}  // namespace rota::test
