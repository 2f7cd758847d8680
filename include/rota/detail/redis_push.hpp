// The second connection of a Redis transport: a blocked XREAD of the node's inbox and, if asked for, of the group's
// events or of what calls its leader, so that the server wakes a sleeping node the moment there is something new.
// Promises: never blocks; one read stays pending for as many sleeps as it takes, and is issued again only when
// it was answered or does not cover the subscription any more; nothing between a cursor and the read is missed, because
// the read starts at the cursor; while the server is away it tries again in ever longer steps. The changes that a read of
// the inbox brings are kept, so that who is woken need not ask for them (take_news); of the group's events, only that
// there are newer ones.
// Does not: resolve names: it goes where the command connection went. One thread at a time.
#pragma once

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/epoll.h>

#include "../policies.hpp"
#include "redis_codec.hpp"
#include "redis_connection.hpp"
#include "redis_info.hpp"

namespace rota::detail {

/// Where to listen, as whom and for which group.
struct push_target {
    endpoint where;
    std::string server;     ///< which one requests go to: see server_identity(); empty: it does not tell
    redis_address address;  ///< for credentials and database
    std::string name;
    std::string inbox;        ///< key of the inboxes, but for the incarnation
    std::string events;       ///< key of the group's events
    std::string calls;        ///< ... and of those alone that call the leader: their numbers, and nothing more
    microseconds patience{};  ///< for connecting and greeting
};

/// What was read of an inbox, in order: which versions, and what changed with each.
struct redis_news {
    fencing_token incarnation = 0;
    std::vector<op::changes_reply> steps{};
    bool group = false;  ///< the group's event log goes on

    /// Seen from there; nothing if nothing was read.
    [[nodiscard]] std::optional<pushed_news> since(subscription const& sub) && {
        if (steps.empty() && !group) return std::nullopt;
        pushed_news news{.incarnation = incarnation, .version = sub.version, .group = group};
        news.changes.to = sub.version;
        for (auto& step : steps) {
            if (step.to <= sub.version) continue;
            if (step.gap ||
                step.to != news.changes.to + 1) {  // what is between was kept no more, or is read by another way
                news.changes.gap = true;
                break;
            }
            news.changes.to = step.to;
            for (auto& change : step.items) news.changes.items.push_back(std::move(change));
        }
        return news;
    }
};

/// See the top of the file. The caller's loop: prepare(), poll wanted() until next_time(), react() if it is ready.
class redis_push {
public:
    explicit redis_push(std::uint64_t seed) noexcept : backoff_{seed} {}

    [[nodiscard]] static bool has_to_read(subscription const& sub) noexcept {
        return sub.incarnation != 0 || sub.group != group_interest::none;
    }

    /// Also registers the connection's descriptor with this epoll instance, as it comes and goes.
    void watch_with(int epoll) noexcept { epoll_ = epoll; }

    /// Listens there from now on.
    void retarget(push_target target) {
        close();
        news_ = {};
        connects_ = 0;
        target_ = std::move(target);
        has_target_ = true;
        backoff_.succeeded();
    }

    /// Listens nowhere from now on.
    void forget_target() noexcept {
        close();
        has_target_ = false;
    }

    /// Connects, or issues or abandons a read, as the subscription needs.
    void prepare(subscription const& sub, microseconds now) {
        wanted_ = has_target_ && has_to_read(sub);
        if (!wanted_) return close();
        if (reading_ && !covers(asked_, sub)) close();
        if (being_greeted() && now >= patience_ends_) failed(now);
        if (state_ == state::closed) {
            if (now < backoff_.not_before()) return;
            opened_at_ = now;
            ++connects_;
            patience_ends_ = now + target_.patience;
            int const failure = connection_.begin_connect(target_.where);
            if (failure != 0 && failure != EINPROGRESS) return failed(now);
            watch(EPOLL_CTL_ADD, failure == 0 ? EPOLLIN : EPOLLOUT);
            state_ = state::connecting;
            if (failure == 0) greet(sub, now);
        } else if (state_ == state::connected && !reading_) {
            connection_.request().clear();
            append_read(sub);
            if (!connection_.send_now()) failed(now);
        }
    }

    /// What to poll for; a negative descriptor if nothing.
    [[nodiscard]] pollfd wanted() const noexcept {
        return {state_ == state::closed ? -1 : connection_.descriptor(),
                static_cast<short>(state_ == state::connecting ? POLLOUT : POLLIN), 0};
    }

    /// When prepare() must be called again, whatever happens.
    [[nodiscard]] microseconds next_time() const noexcept {
        if (!wanted_) return microseconds::max();
        if (state_ == state::closed) return backoff_.not_before();
        return being_greeted() ? patience_ends_ : microseconds::max();
    }

    /// Reads what came. True if something came that is newer than the subscription's cursors.
    bool react(subscription const& sub, microseconds now) {
        if (state_ == state::connecting) {
            if (connection_.connect_outcome() != 0) return failed(now), false;
            watch(EPOLL_CTL_MOD, EPOLLIN);
            greet(sub, now);
            return false;
        }
        bool newer = false;
        bool const open = connection_.receive_now();
        while (open) {
            auto next = connection_.parse();
            if (!next) break;
            if (!*next) return newer;
            if (greeted_ < greeting_.count) {
                if (!accept_greeting(**next)) break;
            } else if (to_identify_ > 0) {
                accept_identity(**next);
            } else if (!accept_read(**next, sub, newer)) {
                break;
            }
        }
        bool const refused = std::exchange(refused_, false);
        failed(now);
        if (refused) backoff_.refused(now);
        return newer;
    }

    /// What the last reads brought, once. A later connection than the first may meet another server than requests go to, or
    /// another run of it: only if it is seen to be the same one, what is read is kept. (Whoever asks for the changes by a
    /// request finds out.)
    [[nodiscard]] redis_news take_news() { return std::exchange(news_, {}); }

    /// Why the server does not let us listen, once for each time it says so; empty: it does.
    [[nodiscard]] std::string take_refusal() { return std::exchange(refusal_, {}); }

    void close() noexcept {
        connection_.close();  // which takes it out of the epoll instance too
        state_ = state::closed;
        reading_ = false;
        greeting_ = {};
        greeted_ = 0;
        to_identify_ = 0;
        identified_ = false;
        refused_ = false;
    }

private:
    enum class state : std::uint8_t { closed, connecting, connected };

    [[nodiscard]] bool being_greeted() const noexcept {
        return state_ == state::connecting || greeted_ < greeting_.count || to_identify_ > 0;
    }

    // A read that starts at an older cursor is as good: it is pending, so nothing was there after that cursor.
    static bool covers(subscription const& asked, subscription const& sub) noexcept {
        if (asked.incarnation != sub.incarnation || asked.group != sub.group) return false;
        if (asked.version > sub.version) return false;
        return sub.group == group_interest::none || (asked.epoch == sub.epoch && asked.seq <= sub.seq);
    }

    void failed(microseconds now) noexcept {
        if (now - opened_at_ > std::chrono::seconds{5}) backoff_.succeeded();  // it had been good for a while
        backoff_.failed(now);
        close();
    }

    void watch(int operation, std::uint32_t events) noexcept {
        if (epoll_ < 0) return;
        epoll_event wanted{};
        wanted.events = events;
        ::epoll_ctl(epoll_, operation, connection_.descriptor(), &wanted);
    }

    // Greeting and first read go out together: one round trip, and no state in between.
    void greet(subscription const& sub, microseconds now) {
        state_ = state::connected;
        connection_.request().clear();
        greeting_ = append_greeting(connection_.request(), target_.address, target_.name);
        greeted_ = 0;
        identified_ = connects_ == 1;
        identity_.clear();
        if (!identified_ && !target_.server.empty()) {
            for (auto const section : {"server", "replication"})
                append_command(connection_.request(), {"INFO", section});
            to_identify_ = 2;
        }
        append_read(sub);
        if (!connection_.send_now()) failed(now);
    }

    void append_read(subscription const& sub) {
        // For ever: a quiet group costs no commands, and the server keeps no time for each of us, which it would look at
        // whenever it wakes. (A peer that is gone is noticed by TCP, see redis_connection.) Of events one is enough.
        auto& out = connection_.request();
        bool const inbox = sub.incarnation != 0;
        bool const group = sub.group != group_interest::none;
        auto const most = std::to_string(group ? 1 : op::max_change_steps);
        append_header(out, '*', 6 + (inbox ? 2u : 0u) + (group ? 2u : 0u));
        for (std::string_view const word : {"XREAD", "COUNT", most.c_str(), "BLOCK", "0", "STREAMS"})
            append_bulk(out, word);
        if (inbox) append_bulk(out, target_.inbox + std::to_string(sub.incarnation));
        if (group) append_bulk(out, sub.group == group_interest::all ? target_.events : target_.calls);
        if (inbox) append_bulk(out, std::to_string(sub.version) + "-0");
        if (group) append_bulk(out, std::to_string(sub.epoch) + "-" + std::to_string(sub.seq));
        asked_ = sub;
        reading_ = true;
    }

    // False: the server will not have us.
    bool accept_greeting(redisReply const& reply) {
        auto const step = greeting_.steps[greeted_++];
        if (is_error(reply) && step != greeting::step::set_name) {
            refusal_ = server_error(target_.address, "listening for changes", text_of(reply)).detail;
            refused_ = true;
            return false;
        }
        return true;
    }

    void accept_identity(redisReply const& reply) {
        if (reply.type == REDIS_REPLY_STRING) identity_.append(text_of(reply)).append("\r\n");  // else no right to know
        if (--to_identify_ > 0) return;
        identified_ = server_identity(identity_) == target_.server;
        std::string{}.swap(identity_);
    }

    // False: the connection is of no use any more.
    bool accept_read(redisReply const& reply, subscription const& sub, bool& newer) {
        if (!std::exchange(reading_, false)) return false;  // nothing was asked
        if (reply.type == REDIS_REPLY_NIL) return true;     // an operator ended it: CLIENT UNBLOCK
        if (is_error(reply)) {
            auto const why = server_error(target_.address, "listening for changes", text_of(reply));
            refused_ = why.code == errc::refused_by_server;
            if (refused_) refusal_ = why.detail;
            return false;
        }
        if (reply.type != REDIS_REPLY_ARRAY) return false;
        news_ = {.incarnation = asked_.incarnation};
        bool sound = true;
        for (std::size_t i = 0; sound && i < reply.elements; ++i) sound = accept_stream(*reply.element[i], sub, newer);
        if (!identified_) news_ = {};
        return sound;
    }

    // [key, [[id, fields]...]]; what is not newer was learnt in another way meanwhile.
    bool accept_stream(redisReply const& stream, subscription const& sub, bool& newer) {
        redis_array_reader parts{&stream};
        auto const key = parts.text();
        bool const events = key == target_.events || key == target_.calls;
        redis_array_reader entries{parts.next()};
        redis_decoder<> const decoder{entries};
        while (entries.left() > 0) {
            auto copy = entries;
            auto const [major, minor] = decoder.skip_entry(entries);
            if (events) {
                news_.group = news_.group || major > sub.epoch || (major == sub.epoch && minor > sub.seq);
                continue;
            }
            newer = newer || major > sub.version;
            op::changes_reply step;
            redis_decoder<>{copy}.read_step(copy, step);
            if (!copy.ok()) step = {.gap = true, .to = major};  // whoever asks for it is told what is wrong with it
            news_.steps.push_back(std::move(step));
        }
        newer = newer || news_.group;
        return parts.done() && entries.done();
    }

    redis_connection connection_;
    push_target target_;
    bool has_target_ = false;
    bool wanted_ = false;  // a connection
    int epoll_ = -1;
    state state_ = state::closed;
    greeting greeting_;         // replies to come before any other
    std::size_t greeted_ = 0;   // of them, here
    unsigned to_identify_ = 0;  // replies that tell which server it is, to come after those
    bool identified_ = false;   // as the one that requests go to
    std::string identity_;
    bool reading_ = false;   // a read is pending
    subscription asked_;     // by that read
    redis_news news_;        // of the last one that was answered
    unsigned connects_ = 0;  // attempts, since the target is this one
    bool refused_ = false;   // by the server, in words: trying again soon is of no use
    std::string refusal_;
    microseconds opened_at_{};
    microseconds patience_ends_{};
    reconnect_backoff backoff_;
};

}  // namespace rota::detail

#endif
