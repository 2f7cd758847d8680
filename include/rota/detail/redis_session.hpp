// The command connection of a Redis transport: brings a connection to the point where operations can be performed
// (authenticated, scripts loaded, rights checked, numbered within its session), and performs one operation at a time as
// one EVALSHA.
// Promises: nothing is written before every right that rota needs has been checked; each connection raises its number in
// the session's record first, so that a command of an earlier one that arrives late is refused; attempts to connect are
// spaced with backoff, whoever asks; a script that the server forgot is loaded and the operation sent again.
// Does not: repeat an operation otherwise (the caller knows whether it may). One thread at a time.
#pragma once

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../operations.hpp"
#include "../result.hpp"
#include "entropy.hpp"
#include "late.hpp"
#include "redis_codec.hpp"
#include "redis_connection.hpp"
#include "redis_scripts.hpp"

namespace rota::detail {

/// The value of a field in the text of INFO; empty if it is not there.
[[nodiscard]] inline std::string_view info_field(std::string_view text, std::string_view name) {
    for (std::size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
        auto const end = at + name.size();
        if ((at != 0 && text[at - 1] != '\n') || end >= text.size() || text[end] != ':') continue;
        auto const value = text.substr(end + 1);
        return value.substr(0, value.find_first_of("\r\n"));
    }
    return {};
}

/// See the top of the file.
class redis_session {
public:
    redis_session() : session_{entropy()}, backoff_{session_} {}

    /// Where operations go from now on, as whom, for which group.
    void open(redis_address address, std::string key_prefix, std::string client_name) {
        if (address == address_ && key_prefix == key_prefix_ && client_name == client_name_) return;
        connection_.close();
        ready_ = false;
        address_ = std::move(address);
        key_prefix_ = std::move(key_prefix);
        client_name_ = std::move(client_name);
        server_.clear();
        backoff_.succeeded();
    }

    [[nodiscard]] redis_address const& address() const noexcept { return address_; }
    /// Where the latest connection went, and how many there have been that were fit for use.
    [[nodiscard]] endpoint const& peer() const noexcept { return connection_.peer(); }
    [[nodiscard]] std::uint64_t established() const noexcept { return established_; }

    /// Whether another server, or another run of it, answers than when this was last asked.
    [[nodiscard]] bool take_server_changed() noexcept { return std::exchange(changed_, false); }
    /// What an operator should know; taken away by the caller.
    [[nodiscard]] std::vector<error>& warnings() noexcept { return warnings_; }

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
        encode(request, key_prefix_, session_, connections_, command_);
        append_call(command_);
        for (bool reloaded = false;; reloaded = true) {
            if (auto sent = connection_.send(deadline); !sent) return lost(sent.error());
            auto const got = connection_.receive(deadline);
            if (!got) {
                auto failure = lost(got.error());
                failure.code = errc::outcome_unknown;  // whatever came of the connection, the request had gone out
                return failure;
            }
            if (!is_error(**got)) {
                backoff_.succeeded();
                auto answer = decode(request, got->get());
                if (!answer && answer.error() == errc::protocol) return lost(answer.error());
                return answer;
            }
            auto const next = meaning_of(readable_error(text_of(**got))).next;
            auto refusal = server_error(address_, script_name(command_.script), text_of(**got));
            if (next == after_error::reload && !reloaded) {
                if (auto ok = load_scripts(deadline); !ok) return ok.error();
                connection_.allow(deadline - io_now());
                append_call(command_);
                continue;
            }
            if (next == after_error::close) {
                // As after a failure to connect: what is not fit to serve us is not to be asked in a tight loop.
                drop(refusal);
            } else {
                backoff_.succeeded();
            }
            return refusal;
        }
    }

private:
    static constexpr microseconds quick_succession = std::chrono::milliseconds{20};

    // ---------------------------------------------------------------- failures

    [[nodiscard]] error at_server(error const& why) const { return {why.code, redacted(address_) + ": " + why.detail}; }

    // While a connection is made ready: what an error reply comes to, and whether the connection outlives it.
    [[nodiscard]] error refuse(std::string_view what, std::string_view text) {
        auto const meaning = meaning_of(readable_error(text));
        keep_ = meaning.code == errc::unavailable && meaning.next == after_error::keep;
        return server_error(address_, what, text);
    }

    // The connection is gone; the next attempt makes a new one, at once.
    [[nodiscard]] error lost(error const& why) {
        connection_.close();
        ready_ = false;
        return at_server(why);
    }

    // The same, and the next attempt waits.
    void drop(error const& why) {
        connection_.close();
        ready_ = false;
        backoff_.failed(io_now());
        last_failure_ = why;
    }

    void warn(std::string detail) {
        constexpr std::size_t most = 64;
        for (auto const& known : warned_) {
            if (known == detail) return;
        }
        if (warned_.size() == most) return;
        warned_.push_back(detail);
        warnings_.push_back({errc{}, redacted(address_) + ": " + detail});
    }

    // ---------------------------------------------------------------- requests

    void append_call(redis_command const& command) {
        auto& out = connection_.request();
        out.clear();
        append_header(out, '*', 3 + command.keys.size() + command.args.size());
        out.append("$7\r\nEVALSHA\r\n");
        append_bulk(out, digests_[static_cast<std::size_t>(command.script)]);
        char const* const no_keys = "$1\r\n0\r\n";
        if (command.keys.empty()) {
            out.append(no_keys);
        } else {
            append_bulk(out, std::to_string(command.keys.size()));
        }
        for (auto const& key : command.keys) append_bulk(out, key);
        for (auto const& argument : command.args) append_bulk(out, argument);
    }

    // Sends the request and hands its `count` replies to take(index, reply), up to the first that it refuses.
    template <typename Take>
    result<void> exchange(std::size_t count, microseconds deadline, Take&& take) {
        connection_.allow(deadline - io_now());
        if (auto sent = connection_.send(deadline); !sent) {
            auto const& words = connection_.last_words();
            return words.empty() ? at_server(sent.error()) : refuse("connecting", words);
        }
        result<void> outcome;
        std::string said;
        for (std::size_t i = 0; i < count; ++i) {
            auto const got = connection_.receive(deadline);
            if (!got) {
                // What the server said before it closed the connection tells more than that it did, even where an error
                // would have been tolerated.
                if (outcome && !said.empty() && got.error() == errc::unavailable) outcome = refuse("connecting", said);
                return outcome ? at_server(got.error()) : outcome;
            }
            said = is_error(**got) ? text_of(**got) : std::string_view{};
            if (outcome) outcome = take(i, **got);
        }
        return outcome;
    }

    void append_script_loads() {
        for (std::size_t i = 0; i < script_count; ++i) {
            append_command(connection_.request(), {"SCRIPT", "LOAD", script_text(static_cast<script_id>(i))});
        }
    }

    result<void> take_digest(std::size_t index, redisReply const& reply) {
        if (is_error(reply)) return refuse("loading rota's scripts", text_of(reply));
        if (text_of(reply).size() != 40) return at_server({errc::protocol, "SCRIPT LOAD gave no digest"});
        digests_[index] = text_of(reply);
        return {};
    }

    result<void> load_scripts(microseconds deadline) {
        connection_.request().clear();
        append_script_loads();
        auto outcome =
            exchange(script_count, deadline, [this](std::size_t i, redisReply const& r) { return take_digest(i, r); });
        if (!outcome) drop(outcome.error());
        return outcome;
    }

    // ---------------------------------------------------------------- making a connection ready

    result<void> make_ready(microseconds now, microseconds deadline) {
        ready_ = false;
        keep_ = false;
        if (auto const earliest = backoff_.not_before(); earliest > now) {
            io_sleep(earliest < deadline ? earliest : deadline);
            if (earliest >= deadline) return last_failure_;
        }
        if (connection_.is_open() && connection_.has_unasked_input()) connection_.close();
        auto outcome = connect(deadline);
        if (outcome) outcome = greet(deadline);
        if (outcome) outcome = check_rights(deadline);
        if (outcome) outcome = begin_session(deadline);
        if (outcome) {
            ready_ = true;
            ++established_;
        } else {
            // A server that is loading is asked again over the same connection.
            if (!keep_) connection_.close();
            backoff_.failed(io_now());
            last_failure_ = outcome.error();
        }
        return outcome;
    }

    result<void> connect(microseconds deadline) {
        if (connection_.is_open()) return {};
        if (auto ok = connection_.connect(address_, deadline); !ok) return at_server(ok.error());
        return {};
    }

    // All that writes nothing, in one round trip: who we are, what the server is, the scripts.
    result<void> greet(microseconds deadline) {
        auto& out = connection_.request();
        out.clear();
        auto const greeting = append_greeting(out, address_, client_name_);
        // INFO tells all that is to be known with one right; CONFIG GET would need another, which many services refuse.
        for (auto const section : {"server", "replication", "memory"}) append_command(out, {"INFO", section});
        append_script_loads();
        constexpr std::size_t sections = 3;
        std::string info;
        auto outcome =
            exchange(greeting.count + sections + script_count, deadline, [&](std::size_t i, redisReply const& reply) {
                if (i < greeting.count) return take_greeting(greeting.steps[i], reply);
                if (i < greeting.count + sections) {
                    if (reply.type == REDIS_REPLY_STRING)
                        info.append(text_of(reply)).append("\r\n");  // else no right to know
                    return result<void>{};
                }
                return take_digest(i - greeting.count - sections, reply);
            });
        if (outcome) look_at(info);
        return outcome;
    }

    result<void> take_greeting(greeting::step step, redisReply const& reply) {
        if (is_error(reply)) {
            if (step == greeting::step::set_name) return {};  // the name is for people only
            auto const* what = step == greeting::step::authenticate ? "AUTH" : "SELECT";
            return refuse(what, text_of(reply));
        }
        return {};
    }

    void look_at(std::string_view info) {
        if (auto const policy = info_field(info, "maxmemory_policy"); !policy.empty() && policy != "noeviction") {
            warn("maxmemory-policy is " + std::string{policy} +
                 ": when memory is short the server deletes leases and ownership; set it to noeviction");
        }
        if (auto const version = info_field(info, "redis_version"); !version.empty()) {
            unsigned major = 0;
            unsigned minor = 0;
            std::size_t at = 0;
            for (; at < version.size() && version[at] >= '0' && version[at] <= '9'; ++at) {
                major = major * 10 + static_cast<unsigned>(version[at] - '0');
            }
            for (++at; at < version.size() && version[at] >= '0' && version[at] <= '9'; ++at) {
                minor = minor * 10 + static_cast<unsigned>(version[at] - '0');
            }
            if (major < 6 || (major == 6 && minor < 2)) {
                warn("its version is " + std::string{version} + "; rota needs Redis 6.2 or Valkey 7.2");
            }
        }
        std::string server{info_field(info, "run_id")};
        server += ' ';
        server += info_field(info, "master_replid");
        if (server.size() > 1) {
            if (!server_.empty() && server != server_) {
                warn("the server was restarted or another took its place (run id and replication id were " + server_ +
                     ", are " + server + "): writes that it had not saved or replicated are lost");
            }
            if (!server_.empty() && server != server_) changed_ = true;
            server_ = std::move(server);
        }
    }

    // Every command that the scripts and the push connection use is tried, on a key to throw away.
    result<void> check_rights(microseconds deadline) {
        append_call(probe_command(key_prefix_));
        return exchange(1, deadline, [this](std::size_t, redisReply const& reply) -> result<void> {
            if (!is_error(reply) && text_of(reply) == "OK") return {};
            return refuse("checking the rights that rota needs", text_of(reply));
        });
    }

    result<void> begin_session(microseconds deadline) {
        ++connections_;
        append_call(session_command(key_prefix_, session_, connections_));
        return exchange(1, deadline, [this](std::size_t, redisReply const& reply) -> result<void> {
            if (is_error(reply)) return refuse("beginning a session", text_of(reply));
            // {0}, or what is wrong and why in words.
            if (reply.type != REDIS_REPLY_ARRAY || reply.elements == 0) {
                return at_server({errc::protocol, "the session's script gave no status"});
            }
            auto const& status = *reply.element[0];
            if (status.type == REDIS_REPLY_INTEGER && status.integer == 0) return {};
            std::string why = reply.elements > 1 ? std::string{text_of(*reply.element[1])} : std::string{};
            return at_server({errc::conflict, "beginning a session: " + std::move(why)});
        });
    }

    std::uint64_t session_;
    std::uint64_t connections_ = 0;  // the number of the present one
    redis_address address_;
    std::string key_prefix_;
    std::string client_name_;

    redis_connection connection_;
    bool ready_ = false;
    bool keep_ = false;  // the connection, although it could not be made ready
    std::uint64_t established_ = 0;
    bool changed_ = false;
    std::array<std::string, script_count> digests_;
    redis_command command_;  // recycled
    microseconds last_used_{};
    reconnect_backoff backoff_;
    error last_failure_;  // while backoff_ is in force

    std::string server_;  // run id and replication id
    std::vector<std::string> warned_;
    std::vector<error> warnings_;
};

}  // namespace rota::detail

#endif
