// Connections between nodes and servers. Each is FIFO, as TCP is; what is on its way when a connection ends may still
// land, also after the first request of the next one. A node has one connection at a time (and its pushes come by a
// second one that shares the node's fate). Connections raise their number at the server before their first request.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "redis.hpp"
#include "stage.hpp"

namespace rota::sim {

/// The way between one machine and the servers, and what is wrong with it; counted, as faults may overlap.
struct route {
    unsigned requests_cut = 0;
    unsigned replies_cut = 0;
    unsigned stalled = 0;
    unsigned refused = 0;
    microseconds extra_delay{};
    bool lose_next_reply = false;
    microseconds make_next_late{};
    std::optional<std::uint32_t> old_server;  ///< after a failover: the one that it still finds under the address
};

/// The connection of a process, and what is on its way.
struct link {
    route* way = nullptr;
    rota::detail::connection_stamp stamp;  // number 0: there was none yet
    bool open = false;
    std::uint32_t server = 0;
    std::uint32_t server_run = 0;
    std::uint64_t known_server = 0;  // and run, of the last connection that came about; 0: none
    moment last_up{};                // arrival of what was sent last
    moment last_down{};
    std::vector<std::uint32_t> held_up;  // messages that wait for the way to be free
    std::vector<std::uint32_t> held_down;
};

/// A request on its way to the server, then its reply on the way back.
struct message {
    operation request;
    result<reply> answer{errc::unavailable};
    rota::detail::connection_stamp from;
    std::uint64_t exchange = 0;
    std::uint32_t process = 0;
    std::uint32_t server = 0;
    std::uint32_t server_run = 0;
    bool hello = false;  // raises the connection's number, nothing else
    bool used = false;
    bool closes = false;  // the server ends the connection after it
};

struct network_settings {
    microseconds least_delay{100};  ///< one way
    microseconds most_delay{400};
};

class network {
public:
    network(stage& s, redis_model& r, network_settings n) : stage_{s}, redis_{r}, settings_{n} {}

    [[nodiscard]] message& at(std::uint64_t number) { return messages_[number]; }
    [[nodiscard]] network_settings const& settings() const { return settings_; }
    std::uint64_t requests() const { return requests_; }
    [[nodiscard]] std::size_t places() const { return messages_.size(); }

    microseconds slow_by{};                     // each request takes the server that long
    std::optional<std::size_t> answer_error{};  // server_errors()[...]

    // ---------------------------------------------------------------- from a node

    /// A new connection: what was on its way by the old one may land or be lost.
    void connect(link& l) {
        l.stamp.number++;
        l.server = l.way->old_server.value_or(redis_.primary());
        l.server_run = redis_.server(l.server).run;
        l.last_up = l.last_down = stage_.now;
        l.open = false;
    }

    void send(link& l, std::uint32_t process, std::uint64_t exchange, operation const* request) {
        auto const number = allocate();
        auto& m = messages_[number];
        if (request) m.request = *request;
        m.hello = request == nullptr;
        m.from = l.stamp;
        m.exchange = exchange;
        m.process = process;
        m.server = l.server;
        m.server_run = l.server_run;
        m.closes = false;
        if (l.way->refused > 0 && m.hello) {
            stage_.queue.add(stage_.now + delay(l), happening::connection_ends, process, l.stamp.number);
            free(number);
            return;
        }
        if (!m.hello && l.way->make_next_late > microseconds{}) {
            auto const late = std::exchange(l.way->make_next_late, microseconds{});
            stage_.queue.add(stage_.now + late, happening::request_arrives, process, number);
            stage_.queue.add(stage_.now + delay(l), happening::connection_ends, process, l.stamp.number);
            return;
        }
        if (l.way->requests_cut > 0 || l.way->stalled > 0) {
            l.held_up.push_back(number);
            return;
        }
        l.last_up = std::max(l.last_up, stage_.now + delay(l));
        stage_.queue.add(l.last_up, happening::request_arrives, process, number);
    }

    // ---------------------------------------------------------------- at the server

    /// A request has arrived. `l`: the link of its process, null if that is no more.
    void serve(std::uint32_t number, link* l) {
        auto& m = messages_[number];
        auto& server = redis_.server(m.server);
        if (!server.up || server.run != m.server_run) {
            if (l && l->stamp.number == m.from.number) end_connection(*l, m.process);
            free(number);
            return;
        }
        if (server.free_from > stage_.now || (!server.waiting.empty() && server.waiting.front() != number)) {
            if (server.waiting.empty()) goes_on(m.server);
            server.waiting.push_back(number);
            return;
        }
        if (slow_by > microseconds{}) server.free_from = stage_.now + slow_by;
        if (m.hello) {
            redis_.raise(m.server, m.from, stage_.now);
            m.answer = reply{op::done{}};
        } else if (answer_error && server.primary) {
            auto const& e = server_errors()[*answer_error % server_errors().size()];
            m.answer = {e.code, e.words};
            m.closes = e.reconnects;
            stage_.seen.saw(sight::server_answered_error);
        } else {
            ++requests_;
            auto const before = server.store->seq();
            m.answer = redis_.perform(m.server, m.request, m.from, stage_.now);
            stage_.watch->performed(
                {m.request, m.answer, m.server, m.process, redis_.clock(m.server, stage_.now), m.from});
            changed_ = changed_ || server.store->seq() != before;
        }
        if (!l || l->stamp.session != m.from.session || l->stamp.number != m.from.number) {
            free(number);
        } else if (l->way->lose_next_reply && !m.hello) {
            l->way->lose_next_reply = false;
            end_connection(*l, m.process);
            free(number);
        } else if (l->way->replies_cut > 0 || l->way->stalled > 0) {
            l->held_down.push_back(number);
        } else {
            l->last_down = std::max(l->last_down, stage_.now + delay(*l));
            stage_.queue.add(l->last_down, happening::reply_arrives, m.process, number);
        }
    }

    /// The next of the requests that wait, if the server has time for it now.
    [[nodiscard]] std::optional<std::uint32_t> next_waiting(std::uint32_t server_number) {
        auto& server = redis_.server(server_number);
        if (server.waiting.empty()) return std::nullopt;
        if (server.free_from > stage_.now) {
            goes_on(server_number);
            return std::nullopt;
        }
        return server.waiting.front();
    }
    void was_waiting(std::uint32_t server_number) { redis_.server(server_number).waiting.pop_front(); }
    void goes_on(std::uint32_t server_number) {
        stage_.queue.add(std::max(stage_.now, redis_.server(server_number).free_from), happening::server_goes_on, 0,
                         server_number);
    }

    /// Whether something was written since this was last asked: subscribers are to be looked at.
    bool take_changed() { return std::exchange(changed_, false); }

    void push(link& l, std::uint32_t process, microseconds more) {
        if (l.way->replies_cut > 0 || l.way->stalled > 0 || l.way->refused > 0) return;
        stage_.queue.add(stage_.now + more + delay(l), happening::push_arrives, process, l.stamp.number);
    }

    // ---------------------------------------------------------------- what goes wrong

    /// The node will read end of file.
    void end_connection(link& l, std::uint32_t process) {
        stage_.queue.add(stage_.now + delay(l), happening::connection_ends, process, l.stamp.number);
    }

    /// The way is free again, in one direction at least: what was held goes on, or (of connections that are no more) is
    /// lost, as chance has it.
    void release_held(link& l, std::uint32_t process) {
        if (l.way->requests_cut == 0 && l.way->stalled == 0) {
            for (auto number : std::exchange(l.held_up, {})) {
                auto const& m = messages_[number];
                bool const current = m.from.number == l.stamp.number && m.from.session == l.stamp.session;
                if (!current && stage_.pick.one_in(2)) {
                    free(number);
                    continue;
                }
                auto const arrives = stage_.now + delay(l);
                if (current) l.last_up = std::max(l.last_up, arrives);
                stage_.queue.add(current ? l.last_up : arrives, happening::request_arrives, process, number);
            }
        }
        if (l.way->replies_cut == 0 && l.way->stalled == 0) {
            for (auto number : std::exchange(l.held_down, {})) {
                l.last_down = std::max(l.last_down, stage_.now + delay(l));
                stage_.queue.add(l.last_down, happening::reply_arrives, process, number);
            }
        }
    }

    void free(std::uint64_t number) {
        messages_[number].used = false;
        unused_.push_back(static_cast<std::uint32_t>(number));
    }

private:
    microseconds delay(link const& l) {
        auto const more = l.way->extra_delay > microseconds{} ? stage_.pick.between(microseconds{}, l.way->extra_delay)
                                                              : microseconds{};
        return more + stage_.pick.between(settings_.least_delay, settings_.most_delay);
    }
    std::uint32_t allocate() {
        if (unused_.empty()) {
            messages_.emplace_back();
            unused_.push_back(static_cast<std::uint32_t>(messages_.size() - 1));
        }
        auto const number = unused_.back();
        unused_.pop_back();
        messages_[number].used = true;
        return number;
    }

    stage& stage_;
    redis_model& redis_;
    network_settings settings_;
    std::deque<message> messages_;
    std::vector<std::uint32_t> unused_;
    bool changed_ = false;
    std::uint64_t requests_ = 0;
};

}  // namespace rota::sim
