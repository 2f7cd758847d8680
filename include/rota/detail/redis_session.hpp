// The command connection of the blocking Redis transport: drives redis_handshake.hpp until a connection is ready, and
// performs one operation at a time by EVALSHA.
// Promises: attempts to connect are spaced with backoff, whoever asks; a script that the server forgot is loaded and the
// operation sent again; as is, in full, one that its script has left undone.
// Does not: repeat an operation otherwise (the caller knows whether it may). One thread at a time.
#pragma once

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "../operations.hpp"
#include "../result.hpp"
#include "late.hpp"
#include "redis_codec.hpp"
#include "redis_connection.hpp"
#include "redis_handshake.hpp"

namespace rota::detail {

/// See the top of the file.
class redis_session {
public:
    redis_session() : backoff_{handshake_.session()} {}

    /// Where operations go from now on, as whom, for which group.
    void open(redis_address address, std::string key_prefix, std::string client_name) {
        if (!handshake_.open(std::move(address), std::move(key_prefix), std::move(client_name))) return;
        connection_.close();
        ready_ = false;
        backoff_.succeeded();
    }

    /// Where the latest connection went, and how many there have been that were fit for use.
    [[nodiscard]] endpoint const& peer() const noexcept { return connection_.peer(); }
    [[nodiscard]] std::uint64_t established() const noexcept { return handshake_.established(); }

    [[nodiscard]] std::string const& server() const noexcept { return handshake_.server(); }
    [[nodiscard]] bool take_server_changed() noexcept { return handshake_.take_server_changed(); }
    [[nodiscard]] std::vector<error>& warnings() noexcept { return handshake_.warnings(); }

    /// One attempt. unavailable, timed_out, refused_by_server, protocol: nothing was done; outcome_unknown: it may have been.
    template <typename T = void>
    result<late<reply, T>> perform(late<operation, T> const& request, microseconds timeout) {
        if (timeout <= microseconds{0}) return {errc::timed_out, "no time was allowed for the request"};
        auto const now = io_now();
        auto const deadline = io_deadline(now, timeout);
        // A server that was restarted, or closes what is idle, has long said so: better to see it before than after
        // sending. Requests in quick succession do without the look.
        if (ready_ && now - last_used_ > quick_succession && connection_.has_unasked_input()) ready_ = false;
        if (!ready_) {
            if (auto ok = make_ready(now, deadline); !ok) return ok.error();
            connection_.allow(deadline - io_now());
        } else {
            connection_.allow(deadline - now);
        }
        last_used_ = now;
        auto const write = [&](bool in_full) {
            encode(request, handshake_.key_prefix(), handshake_.session(), handshake_.connection_number(), command_,
                   in_full);
        };
        write(false);
        for (bool reloaded = false;;) {
            connection_.request().clear();
            handshake_.append_call(connection_.request(), command_);
            if (auto sent = connection_.send(deadline); !sent) return lost(sent.error());
            auto const got = connection_.receive(deadline);
            if (!got) {
                auto failure = lost(got.error());
                failure.code = errc::outcome_unknown;  // whatever came of the connection, the request had gone out
                return failure;
            }
            if (!is_error(**got)) {
                backoff_.succeeded();
                if (is_left_undone(command_.script, **got)) {
                    write(true);
                    connection_.allow(deadline - io_now());
                    continue;
                }
                auto answer = decode(request, got->get());
                if (!answer && answer.error() == errc::protocol) return lost(answer.error());
                return answer;
            }
            auto refusal = handshake_.verdict_on(command_.script, **got);
            if (refusal.next == after_error::reload && !reloaded) {
                reloaded = true;
                if (auto ok = load_scripts(deadline); !ok) return ok.error();
                connection_.allow(deadline - io_now());
                continue;
            }
            if (refusal.next == after_error::close) {
                // As after a failure to connect: what is not fit to serve us is not to be asked in a tight loop.
                drop(refusal.why);
            } else {
                backoff_.succeeded();
            }
            return std::move(refusal.why);
        }
    }

private:
    static constexpr microseconds quick_succession = std::chrono::milliseconds{20};

    // The connection is gone; the next attempt makes a new one, at once.
    [[nodiscard]] error lost(error const& why) {
        connection_.close();
        ready_ = false;
        return handshake_.at_server(why);
    }

    // The same, and the next attempt waits.
    void drop(error const& why) {
        connection_.close();
        ready_ = false;
        backoff_.failed(io_now());
        last_failure_ = why;
    }

    result<void> load_scripts(microseconds deadline) {
        auto outcome = exchange_loads(deadline);
        if (!outcome) drop(outcome.error());
        return outcome;
    }
    result<void> exchange_loads(microseconds deadline) {
        connection_.request().clear();
        handshake_.append_script_loads(connection_.request());
        connection_.allow(deadline - io_now());
        if (auto sent = connection_.send(deadline); !sent) return handshake_.at_server(sent.error());
        for (std::size_t i = 0; i < script_count; ++i) {
            auto const got = connection_.receive(deadline);
            if (!got) return handshake_.at_server(got.error());
            if (auto ok = handshake_.take_loaded(static_cast<script_id>(i), **got); !ok) return ok;
        }
        return {};
    }

    // ---------------------------------------------------------------- making a connection ready

    result<void> make_ready(microseconds now, microseconds deadline) {
        ready_ = false;
        if (auto const earliest = backoff_.not_before(); earliest > now) {
            io_sleep(earliest < deadline ? earliest : deadline);
            if (earliest >= deadline) return last_failure_;
        }
        if (connection_.is_open() && connection_.has_unasked_input()) connection_.close();
        bool keep = false;
        auto outcome = connect(deadline);
        if (outcome) {
            outcome = shake_hands(deadline);
            keep = handshake_.keeps_connection();
        }
        if (outcome) {
            ready_ = true;
        } else {
            if (!keep) connection_.close();
            backoff_.failed(io_now());
            last_failure_ = outcome.error();
        }
        return outcome;
    }

    result<void> connect(microseconds deadline) {
        if (connection_.is_open()) return {};
        if (auto ok = connection_.connect(handshake_.address(), deadline); !ok) return handshake_.at_server(ok.error());
        return {};
    }

    result<void> shake_hands(microseconds deadline) {
        auto& out = connection_.request();
        out.clear();
        for (auto step = handshake_.begin(out);;) {
            if (step == handshake_step::ready) return {};
            if (step == handshake_step::failed) return handshake_.failure();
            if (step == handshake_step::send) {
                connection_.allow(deadline - io_now());
                if (auto sent = connection_.send(deadline); !sent) {
                    return handshake_.broken_off(sent.error(), connection_.last_words());
                }
                out.clear();
            }
            auto const got = connection_.receive(deadline);
            if (!got) return handshake_.broken_off(got.error(), {});
            step = handshake_.take(**got, out);
        }
    }

    redis_handshake handshake_;
    redis_connection connection_;
    bool ready_ = false;
    redis_command command_;  // recycled
    microseconds last_used_{};
    reconnect_backoff backoff_;
    error last_failure_;  // while backoff_ is in force
};

}  // namespace rota::detail

#endif
