// The command connection of the asynchronous Redis transport, on an event loop: many operations in flight on one
// connection, replies matched in order, requests written together once per turn of the loop.
// Like the blocking transport it uses hiredis' parser on a socket of its own, not redisAsyncContext: no SIGPIPE, nothing
// freed inside a callback of the library's, deadlines of our own, and the same source from hiredis 0.14.1 on.
// Promises: each call is answered or failed exactly once, on the loop's thread, inside no function but the destructor's
// shut_down(); what waits for a connection that cannot be had fails with that attempt, or at its deadline if the attempt
// has no outcome by then; what is not answered by its deadline costs the connection, so that a late reply is never taken
// for another's; what had not wholly gone out when a connection was lost goes out over the next one.
// Does not: connect unless something is to be sent, or repeat what was sent (but where that has done nothing: once after
// NOSCRIPT, and in full what a script has left undone).
// Several groups may share it (redis_user.hpp): then a connection is nobody's by itself, and each group is admitted before
// its first operation on it.
#pragma once

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../loop/event_loop.hpp"
#include "../result.hpp"
#include "io_clock.hpp"
#include "name_resolution.hpp"
#include "redis_call.hpp"
#include "redis_connection.hpp"
#include "redis_handshake.hpp"
#include "redis_user.hpp"

namespace rota::detail {

/// See the top of the file. One thread: the loop's. Held by a shared_ptr, since a handler may destroy its owner.
class redis_pipeline : public std::enable_shared_from_this<redis_pipeline> {
public:
    redis_pipeline(loop_ref loop, std::size_t most_in_flight)
        : loop_{loop},
          most_{most_in_flight},
          backoff_{handshake_.session()} {}
    redis_pipeline(redis_pipeline const&) = delete;
    redis_pipeline& operator=(redis_pipeline const&) = delete;

    /// Those whose operations go here have to be known before.
    void add(std::shared_ptr<redis_user> const& user) { users_.push_back(user); }

    /// Where operations go from now on; `patience`: the least time that an attempt to connect is given.
    void open(redis_address address, std::string key_prefix, std::string client_name, microseconds patience) {
        patience_ = patience;
        is_open_ = true;
        if (!handshake_.open(std::move(address), std::move(key_prefix), std::move(client_name))) return;
        lose({errc::unavailable, "the transport was opened for another server or group"});
        backoff_.succeeded();
        if (!queue_.empty()) schedule();
    }
    [[nodiscard]] bool is_open() const noexcept { return is_open_; }

    /// `first`: it goes before all that has not been written yet, and is not counted against the limit.
    void submit(std::unique_ptr<redis_call> call, microseconds timeout, bool first) {
        if (closed_) return refuse(std::move(call), {errc::cancelled, "the transport is gone"});
        if (timeout <= microseconds{0}) {
            return refuse(std::move(call), {errc::timed_out, "no time was allowed for the request"});
        }
        if (!first && queue_.size() + in_flight_ + waiting() >= most_) {
            return refuse(std::move(call), {errc::unavailable, "too many requests in flight"});
        }
        call->deadline = io_deadline(io_now(), timeout);
        earliest_ = std::min(earliest_, call->deadline);
        if (first) {
            queue_.push_front(std::move(call));
        } else {
            queue_.push_back(std::move(call));
        }
        schedule();
    }
    /// Fails a call that is not to be sent, later, with that.
    void refuse(std::unique_ptr<redis_call> call, error why) {
        if (closed_) return fail_later(std::move(call), std::move(why));
        complete(std::move(call), std::move(why));
        schedule();
    }
    /// Fails what has not been answered, later, with that.
    void give_up_all(error const& why) {
        bool const any = in_flight_ > 0;
        for (auto& each : sent_) {
            if (each.call) complete(std::move(each.call), why);
        }
        recall_waiting();
        if (any) close();
        for (auto& call : std::exchange(queue_, {})) complete(std::move(call), why);
        schedule();
    }
    /// The same of one user's alone: the connection goes on, and answers to what was sent are swallowed.
    void give_up(redis_user& user, error const& why) {
        for (auto& each : sent_) {
            if (!each.call || each.call->user.get() != &user) continue;
            auto in_its_place = std::make_unique<forgotten_call>(*each.call);
            if (winding_up_) earliest_ = std::min(earliest_, each.call->deadline);
            complete(std::exchange(each.call, std::move(in_its_place)), why);
        }
        std::deque<std::unique_ptr<redis_call>> left;
        for (auto& call : queue_) {
            if (call->user.get() == &user) {
                complete(std::move(call), why);
            } else {
                left.push_back(std::move(call));
            }
        }
        queue_ = std::move(left);
        for (auto& call : std::exchange(user.waiting, {})) complete(std::move(call), why);
        schedule();
    }
    /// Ends what is one user's: failed with `cancelled` before this returns.
    void remove(redis_user& user) {
        auto const kept = shared_from_this();
        user.established = nullptr;
        std::erase_if(users_, [&](auto const& each) { return each.expired() || each.lock().get() == &user; });
        give_up(user, {errc::cancelled, "the transport was destroyed"});
        std::deque<outcome> mine;
        std::deque<outcome> others;
        for (auto& one : done_) (one.call->user.get() == &user ? mine : others).push_back(std::move(one));
        done_ = std::move(others);
        for (auto& one : mine) {
            if (!one.reply) {
                one.call->fail(std::move(one.why));
            } else {
                (void)one.call->answer(*one.reply, handshake_);
            }
        }
    }
    /// Ends everything; what is under way is failed with `cancelled` before this returns.
    void shut_down() {
        auto const kept = shared_from_this();
        closed_ = true;
        timer_.reset();
        resolution_.cancel();
        give_up_all({errc::cancelled, "the transport was destroyed"});
        close();
        while (!done_.empty()) deliver_one();
    }

    [[nodiscard]] redis_handshake& handshake() noexcept { return handshake_; }
    [[nodiscard]] endpoint const& peer() const noexcept { return connection_.peer(); }

private:
    static constexpr microseconds quick_succession = std::chrono::milliseconds{20};
    static constexpr std::size_t most_unsent_bytes = 256 * 1024;  // then requests wait to be written

    enum class stage : std::uint8_t {
        idle,        // no attempt under way; there may be a connection that was kept for the next
        resolving,   // the host name
        connecting,  // to endpoints_[next_endpoint_ - 1]
        greeting,    // the handshake goes on
        ready,
    };

    // Something that was written and is to be answered: a call, or else part of a user's admission, or the loading of the
    // scripts.
    struct flight {
        std::unique_ptr<redis_call> call{};
        std::size_t loaded = 0;  // of the scripts
        std::shared_ptr<redis_user> admits{};
        std::uint32_t round = 0;  // of that one's admission
        bool last = false;        // it is complete with this
        bool again = false;       // ... after the scripts were loaded

        [[nodiscard]] bool loads() const noexcept { return !call && !admits; }
    };
    // A call whose end is known: a reply, or else an error.
    struct outcome {
        std::unique_ptr<redis_call> call;
        reply_ptr reply;
        error why;
    };

    // ---------------------------------------------------------------- turns

    // All work is done in turns of the loop, never inside submit(); one post serves all that is asked for until then.
    void schedule() {
        if (closed_ || scheduled_ || in_turn_) return;
        scheduled_ = true;
        loop_.post([weak = weak_from_this()] {
            if (auto const self = weak.lock()) {
                self->scheduled_ = false;
                self->turn();
            }
        });
    }

    // A handler that throws leaves the others to the next turn.
    struct turn_guard {
        redis_pipeline& self;
        explicit turn_guard(redis_pipeline& p) noexcept : self{p} { self.in_turn_ = true; }
        turn_guard(turn_guard const&) = delete;
        turn_guard& operator=(turn_guard const&) = delete;
        ~turn_guard() {
            if (!self.in_turn_) return;
            over();
            self.schedule();
        }
        void over() const noexcept { self.in_turn_ = false; }
    };

    void turn() {
        if (closed_) return;
        auto const kept = shared_from_this();
        turn_guard const guard{*this};
        auto const now = io_now();
        if (now >= earliest_) expire(now);
        if (stage_ != stage::idle && stage_ != stage::ready && now >= patience_ends_) attempt_took_too_long(now);
        if (stage_ == stage::ready && !queue_.empty()) write(now);
        if (stage_ == stage::idle && !queue_.empty() && now >= backoff_.not_before()) attempt(now);
        for (auto left = done_.size(); left > 0 && !done_.empty() && !closed_; --left) deliver_one();
        guard.over();
        if (closed_) return;
        // What the handlers asked for goes out with this turn.
        if (stage_ == stage::ready && !queue_.empty()) write(now);
        if (!done_.empty() || (stage_ == stage::idle && !queue_.empty() && now >= backoff_.not_before())) schedule();
        set_timer(now);
    }

    // The timer is left alone when it fires too early: most of what has a deadline is answered long before.
    void set_timer(microseconds now) {
        auto next = earliest_;
        if (stage_ == stage::idle && !queue_.empty()) next = std::min(next, backoff_.not_before());
        if (stage_ != stage::idle && stage_ != stage::ready) next = std::min(next, patience_ends_);
        if (next == microseconds::max() || (timer_set_ <= next && timer_set_ > now)) return;
        if (!timer_) {
            timer_ = loop_.timer([this] {
                timer_set_ = microseconds::min();
                turn();
            });
        }
        timer_set_ = next;
        timer_->start(next - now);
    }

    void complete(std::unique_ptr<redis_call> call, error why, reply_ptr reply = nullptr) {
        done_.push_back({std::move(call), std::move(reply), std::move(why)});
    }

    void deliver_one() {
        auto one = std::move(done_.front());
        done_.pop_front();
        if (!one.reply) return one.call->fail(std::move(one.why));
        if (one.call->answer(*one.reply, handshake_) || closed_) return;
        lose({errc::protocol, "an answer did not have the form of a reply of rota's scripts"});
    }

    void fail_later(std::unique_ptr<redis_call> call, error why) const {
        loop_.post([call = std::move(call), why = std::move(why)]() mutable { call->fail(std::move(why)); });
    }

    // ---------------------------------------------------------------- time

    void expire(microseconds now) {
        bool overdue = false;
        earliest_ = microseconds::max();
        for (auto const& each : sent_) {
            if (!each.call || (!each.call->user && !winding_up_)) continue;
            overdue = overdue || each.call->deadline <= now;
            earliest_ = std::min(earliest_, each.call->deadline);
        }
        for (auto const& each : users_) {  // who waits for admission waits for the same server
            auto const user = each.lock();
            for (std::size_t i = 0; user && i < user->waiting.size(); ++i) {
                overdue = overdue || user->waiting[i]->deadline <= now;
            }
        }
        if (overdue) {
            lose({errc::timed_out, "no reply within the time allowed"});  // what had not gone out is in the queue again
            earliest_ = microseconds::max();
        }
        expire_among(queue_, now);
        for (auto const& each : users_) {
            if (auto const user = each.lock()) expire_among(user->waiting, now);
        }
    }
    void expire_among(std::deque<std::unique_ptr<redis_call>>& calls, microseconds now) {
        std::deque<std::unique_ptr<redis_call>> left;
        for (auto& call : calls) {
            if (call->deadline <= now) {
                complete(std::move(call), too_late(now));
            } else {
                earliest_ = std::min(earliest_, call->deadline);
                left.push_back(std::move(call));
            }
        }
        calls = std::move(left);
    }

    [[nodiscard]] error too_late(microseconds now) const {
        switch (stage_) {
            case stage::idle:
                if (now < backoff_.not_before()) return last_failure_;
                break;
            case stage::resolving:
                return handshake_.at_server({errc::timed_out, "the host name was not resolved in time"});
            case stage::connecting:
                return handshake_.at_server({errc::timed_out, "no connection within the time allowed"});
            case stage::greeting: return handshake_.at_server({errc::timed_out, "no reply within the time allowed"});
            case stage::ready: break;
        }
        return handshake_.at_server({errc::timed_out, "the request could not be sent within the time allowed"});
    }

    void attempt_took_too_long(microseconds now) {
        if (stage_ == stage::connecting && next_endpoint_ < endpoints_.size()) return connect_next(now, ETIMEDOUT);
        auto why = too_late(now);
        if (stage_ == stage::greeting) {
            why = handshake_.broken_off({errc::timed_out, "no reply within the time allowed"}, {});
        }
        attempt_failed(std::move(why), now);
    }

    // ---------------------------------------------------------------- making a connection ready

    void attempt(microseconds now) {
        attempt_ends_ = now + patience_;
        for (auto const& call : queue_) attempt_ends_ = std::max(attempt_ends_, call->deadline);
        patience_ends_ = attempt_ends_;
        if (connection_.is_open()) return greet(now);  // kept from the last attempt
        auto known = resolve(handshake_.address(), resolving::numbers_only);
        if (known) return found(std::move(known), now);
        if (!handshake_.address().path.empty()) return attempt_failed(handshake_.at_server(known.error()), now);
        stage_ = stage::resolving;
        resolution_.start(handshake_.address(), loop_, [this](result<std::vector<endpoint>> all) {
            found(std::move(all), io_now());
            turn();
        });
    }

    void found(result<std::vector<endpoint>> all, microseconds now) {
        if (!all) return attempt_failed(handshake_.at_server(all.error()), now);
        endpoints_ = *std::move(all);
        next_endpoint_ = 0;
        connect_next(now, ETIMEDOUT);
    }

    // Each endpoint gets its share of the time: one that swallows packets must not hide the next.
    void connect_next(microseconds now, int failure) {
        close();
        stage_ = stage::connecting;
        while (next_endpoint_ < endpoints_.size()) {
            auto const share = (attempt_ends_ - now) / static_cast<std::int64_t>(endpoints_.size() - next_endpoint_);
            failure = connection_.begin_connect(endpoints_[next_endpoint_++]);
            if (failure == 0) {
                watch(io_interest::readable);
                return greet(now);
            }
            if (failure == EINPROGRESS) {
                patience_ends_ = now + share;
                return watch(io_interest::writable);
            }
        }
        attempt_failed(failure == ETIMEDOUT
                           ? too_late(now)
                           : handshake_.at_server(
                                 {errc::unavailable, "cannot connect: " + std::generic_category().message(failure)}),
                       now);
    }

    void greet(microseconds now) {
        stage_ = stage::greeting;
        patience_ends_ = attempt_ends_;
        auto& out = connection_.request();
        out.clear();
        written_ = sent_bytes_ = 0;
        (void)handshake_.begin(out);
        flush(now);
    }

    void shake(redisReply const& reply, microseconds now) {
        switch (handshake_.take(reply, connection_.request())) {
            case handshake_step::receive: return;
            case handshake_step::send: return flush(now);
            case handshake_step::failed:
                return attempt_failed(handshake_.failure(), now, handshake_.keeps_connection());
            case handshake_step::ready: break;
        }
        stage_ = stage::ready;
        written_ = sent_bytes_ = 0;
        last_used_ = now;
        bool const changed = handshake_.take_server_changed();
        for (auto const& each : users_) {
            auto const user = each.lock();
            if (!user) continue;
            user->server_changed = user->server_changed || changed;
            if (!user->key_prefix.empty() && user->key_prefix == handshake_.key_prefix()) admit(*user);
        }
    }

    // Those who waited for it are told, but for those who have time left and lost it to silence: they wait for the next.
    void attempt_failed(error why, microseconds now, bool keep = false) {
        if (!keep) close();
        stage_ = stage::idle;
        backoff_.failed(now);
        last_failure_ = why;
        if (why == errc::timed_out) return;
        for (auto& call : std::exchange(queue_, {})) complete(std::move(call), why);
    }

    // ---------------------------------------------------------------- writing

    void write(microseconds now) {
        // A server that was restarted, or closes what is idle, has long said so: better to see it before than after
        // sending. Requests in quick succession do without the look.
        if (sent_.empty() && now - last_used_ > quick_succession && connection_.has_unasked_input()) {
            return lose({errc::unavailable, "the connection had been closed"});
        }
        last_used_ = now;
        auto& out = connection_.request();
        while (!queue_.empty() && !winding_up_ && out.size() - out_sent_ < most_unsent_bytes) {
            append(std::move(queue_.front()));
            queue_.pop_front();
        }
        flush(now);
    }

    void append(std::unique_ptr<redis_call> call) {
        if (call->user->admitted != redis_user::admission::granted) return wait_for_admission(std::move(call));
        auto& out = connection_.request();
        auto const before = out.size();
        call->write(handshake_, call->user->key_prefix, command_);
        call->script = command_.script;
        handshake_.append_call(out, command_);
        written_ += out.size() - before;
        call->end = written_;
        sent_.push_back({std::move(call)});
        ++in_flight_;
    }

    void flush(microseconds now) {
        auto& out = connection_.request();
        while (out_sent_ < out.size()) {
            auto const count = connection_.send_some(std::string_view{out}.substr(out_sent_));
            if (!count) return broken(count.error(), now, connection_.last_words());
            if (*count == 0) break;
            out_sent_ += *count;
            sent_bytes_ += *count;
        }
        bool const all = out_sent_ == out.size();
        if (all) {
            out.clear();
            out_sent_ = 0;
            if (out.capacity() > 4 * most_unsent_bytes) std::string{}.swap(out);
        }
        watch(all ? io_interest::readable : io_interest::both);
    }

    // ---------------------------------------------------------------- groups that share the connection

    void wait_for_admission(std::unique_ptr<redis_call> call) {
        auto const user = call->user;
        if (user->admitted == redis_user::admission::none) {
            if (io_now() < user->backoff.not_before()) return complete(std::move(call), user->refusal);
            user->admitted = redis_user::admission::asked;
            write_admission(user, false);
        }
        user->waiting.push_back(std::move(call));
    }
    void write_admission(std::shared_ptr<redis_user> const& user, bool again) {
        auto& out = connection_.request();
        auto const before = out.size();
        handshake_.append_admission(out, user->key_prefix);
        written_ += out.size() - before;
        ++user->round;
        for (bool const last : {false, true}) {
            sent_.push_back({.admits = user, .round = user->round, .last = last, .again = again});
        }
    }

    void take_admission(flight const& asked, redisReply const& reply, microseconds now) {
        auto& user = *asked.admits;
        if (user.admitted != redis_user::admission::asked || user.round != asked.round)
            return;  // refused, or asked anew
        if (!asked.again && redis_handshake::lacks_script(reply)) {
            load_scripts();
            write_admission(asked.admits, true);
            return flush(now);
        }
        auto const ok = asked.last ? handshake_.session_begun(reply) : handshake_.rights_granted(reply);
        if (!ok) {
            user.admitted = redis_user::admission::none;
            user.backoff.failed(now);
            user.refusal = ok.error();
            for (auto& call : std::exchange(user.waiting, {})) complete(std::move(call), user.refusal);
            // A replica, a server that is loading: it would serve none of the others either.
            if (handshake_.is_unfit(reply)) wind_up(user.refusal, now);
        } else if (asked.last) {
            user.backoff.succeeded();
            admit(user);
            recall_waiting(user);
            if (!winding_up_) write(now);
        }
    }
    static void admit(redis_user& user) {
        user.admitted = redis_user::admission::granted;
        if (user.established) user.established();
    }

    [[nodiscard]] std::size_t waiting() const {
        std::size_t count = 0;
        for (auto const& each : users_) {
            if (auto const user = each.lock()) count += user->waiting.size();
        }
        return count;
    }
    // They go before what has come since.
    void recall_waiting(redis_user& user) {
        for (; !user.waiting.empty(); user.waiting.pop_back()) queue_.push_front(std::move(user.waiting.back()));
    }
    void recall_waiting() {
        for (auto const& each : users_) {
            if (auto const user = each.lock()) recall_waiting(*user);
        }
    }

    // ---------------------------------------------------------------- reading

    void watch(io_interest interest) {
        if (!watch_) {
            watch_ = loop_.watch(connection_.descriptor(), interest, [this](io_interest ready) { on_ready(ready); });
        } else if (interest != interest_) {
            watch_->want(interest);
        }
        interest_ = interest;
    }

    void on_ready(io_interest ready) {
        auto const kept = shared_from_this();
        in_turn_ = true;  // turn() follows
        auto const now = io_now();
        if (stage_ == stage::connecting) {
            if (int const failure = connection_.connect_outcome(); failure != 0) {
                connect_next(now, failure);
            } else {
                greet(now);
            }
        } else {
            if (includes(ready, io_interest::readable)) read(now);
            if (includes(ready, io_interest::writable) && watch_ && interest_ == io_interest::both) flush(now);
        }
        turn();
    }

    void read(microseconds now) {
        constexpr int most_rounds = 16;  // others are waiting, too
        constexpr std::size_t much = 16 * 1024;
        result<std::size_t> count = std::size_t{0};
        for (int round = 0; round < most_rounds; ++round) {
            count = connection_.receive_some();
            if (!count || *count < much) break;
        }
        while (connection_.is_open()) {
            auto reply = connection_.next_reply();
            if (!reply) return broken(reply.error(), now);
            if (!*reply) break;
            take(*std::move(reply), now);
        }
        // What came before the end counts. (The connection may have been given up by it.)
        if (!count && connection_.is_open()) broken(count.error(), now);
    }

    void take(reply_ptr reply, microseconds now) {
        if (stage_ == stage::greeting) return shake(*reply, now);
        if (stage_ != stage::ready || sent_.empty()) {
            return broken({errc::protocol, "the server sent what nobody asked for"}, now);
        }
        auto& first = sent_.front();
        if (first.admits) {
            auto const asked = std::move(first);
            sent_.pop_front();
            return take_admission(asked, *reply, now);
        }
        if (!first.call) {
            auto ok = handshake_.take_loaded(static_cast<script_id>(first.loaded++), *reply);
            if (first.loaded == script_count) sent_.pop_front();
            if (!ok) wind_up(ok.error(), now);
            return;
        }
        auto call = std::move(first.call);
        sent_.pop_front();
        --in_flight_;
        if (!is_error(*reply)) {
            if (!winding_up_) backoff_.succeeded();
            if (!call->in_full && is_left_undone(call->script, *reply)) return send_in_full(std::move(call), now);
            complete(std::move(call), {}, std::move(reply));
        } else {
            take_error(std::move(call), *reply, now);
        }
        if (winding_up_ && in_flight_ == 0) close();
    }

    void take_error(std::unique_ptr<redis_call> call, redisReply const& reply, microseconds now) {
        auto refusal = handshake_.verdict_on(call->script, reply);
        if (refusal.next == after_error::reload && !call->sent_again && !winding_up_) {
            return load_and_send_again(std::move(call), now);
        }
        if (refusal.next == after_error::close) {
            wind_up(refusal.why, now);
        } else if (!winding_up_) {
            backoff_.succeeded();
        }
        complete(std::move(call), std::move(refusal.why));
    }

    // Replies come in order, so the call can go right behind the scripts; as can others that met the same.
    void load_and_send_again(std::unique_ptr<redis_call> call, microseconds now) {
        load_scripts();
        call->sent_again = true;
        append(std::move(call));
        flush(now);
    }
    // Nothing was done yet: while winding up it fails as what was not sent does.
    void send_in_full(std::unique_ptr<redis_call> call, microseconds now) {
        call->in_full = true;
        if (winding_up_) {
            complete(std::move(call), last_failure_);
            if (in_flight_ == 0) close();
            return;
        }
        append(std::move(call));
        flush(now);
    }
    void load_scripts() {
        for (auto at = sent_.rbegin(); at != sent_.rend(); ++at) {
            if (at->loads()) return;  // under way
        }
        auto& out = connection_.request();
        auto const before = out.size();
        handshake_.append_script_loads(out);
        written_ += out.size() - before;
        sent_.push_back({});
    }

    // ---------------------------------------------------------------- the end of a connection

    // The server is not fit to serve us: nothing more is sent, but what was sent is still answered (with the same error,
    // most likely, which tells more than that the outcome is unknown).
    void wind_up(error const& why, microseconds now) {
        if (!winding_up_) backoff_.failed(now);
        winding_up_ = true;
        last_failure_ = why;
        if (in_flight_ == 0) return close();
        // Nothing more is written: those that nobody waits for any more have to be in time, too.
        earliest_ = microseconds::min();
    }

    void broken(error const& why, microseconds now, std::string_view last_words = {}) {
        if (stage_ == stage::greeting) return attempt_failed(handshake_.broken_off(why, last_words), now);
        lose(why);
    }

    // What went out whole may have been done; the rest waits for the next connection, which is made at once.
    void lose(error const& why) {
        if (stage_ == stage::ready) {
            auto const gone_out = sent_bytes_;
            auto calls = std::exchange(sent_, {});
            auto const unknown = handshake_.at_server({errc::outcome_unknown, why.detail});
            for (auto& each : calls) {
                if (each.call && each.call->end <= gone_out) complete(std::move(each.call), unknown);
            }
            for (auto at = calls.rbegin(); at != calls.rend(); ++at) {
                if (!at->call || !at->call->user) continue;  // of one who is gone
                at->call->sent_again = false;
                queue_.push_front(std::move(at->call));
            }
        }
        close();
        schedule();
    }

    void close() {
        recall_waiting();
        for (auto const& each : users_) {
            if (auto const user = each.lock()) user->dismiss();
        }
        watch_.reset();  // before the descriptor
        connection_.close();
        resolution_.let_go();
        stage_ = stage::idle;
        winding_up_ = false;
        sent_.clear();
        in_flight_ = 0;
        out_sent_ = 0;
        connection_.request().clear();
    }

    loop_ref loop_;
    std::size_t most_;
    redis_handshake handshake_;
    redis_connection connection_;
    reconnect_backoff backoff_;
    error last_failure_;  // while backoff_ is in force
    microseconds patience_{};
    bool is_open_ = false;
    std::vector<std::weak_ptr<redis_user>> users_;

    std::deque<std::unique_ptr<redis_call>> queue_;  // to be written
    std::deque<flight> sent_;                        // to be answered, in this order
    std::size_t in_flight_ = 0;                      // the calls among them
    std::deque<outcome> done_;                       // to be handed over
    redis_command command_;                          // recycled

    stage stage_ = stage::idle;
    bool winding_up_ = false;  // once nothing is in flight, the connection is closed
    bool closed_ = false;
    bool scheduled_ = false;
    bool in_turn_ = false;

    name_resolution resolution_;
    std::vector<endpoint> endpoints_;
    std::size_t next_endpoint_ = 0;
    microseconds attempt_ends_{};
    microseconds patience_ends_{};  // of the present step of the attempt

    std::size_t out_sent_ = 0;      // of the bytes that connection_ is to send
    std::uint64_t written_ = 0;     // bytes of requests on this connection
    std::uint64_t sent_bytes_ = 0;  // of them, handed to the system
    microseconds last_used_{};

    watch_handle watch_;
    io_interest interest_ = io_interest::none;
    timer_handle timer_;
    microseconds timer_set_ = microseconds::min();
    microseconds earliest_ = microseconds::max();  // no call's deadline is before
};

}  // namespace rota::detail

#endif
