// How a connection to Redis is brought to the point where operations can be performed (authenticated, the server looked
// at, rights checked, numbered within its session, scripts there), and what is known from it afterwards: a machine that
// gives bytes to send and takes replies, and does no input or output itself. The blocking session (redis_session.hpp)
// and the pipelined one (redis_pipeline.hpp) drive the same.
// The scripts' digests are known, so they are loaded only onto a server that does not have them: as a rule, that is the
// first connection of the first node of a version. (An operation whose script is missing loads them, too.)
// Promises: nothing is written to the server before every right that rota needs has been checked; each connection raises
// its number in the session's record before its first operation, so that a command of an earlier one that arrives late
// is refused (but for a brief tick, see op::tick); no message holds a password.
// Does not: time anything, or decide when to try again (that is reconnect_backoff).
#pragma once

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../result.hpp"
#include "entropy.hpp"
#include "redis_codec.hpp"
#include "redis_connection.hpp"
#include "redis_info.hpp"
#include "redis_scripts.hpp"

namespace rota::detail {

/// What a handshake needs next.
enum class handshake_step : std::uint8_t {
    send,     ///< the bytes that it appended must go out
    receive,  ///< the next reply
    ready,    ///< nothing: operations can be sent
    failed,   ///< nothing more can come of it: see failure()
};

/// See the top of the file. begin(), then a take() for each reply, until it is ready or failed.
class redis_handshake {
public:
    redis_handshake() : session_{entropy()} {}

    // ---------------------------------------------------------------- whose connections they are

    /// Where connections go from now on, as whom, for which group (empty: for several, each to be admitted by itself; then a
    /// connection is ready once it is greeted). False: just as before.
    bool open(redis_address address, std::string key_prefix, std::string client_name) {
        if (address == address_ && key_prefix == key_prefix_ && client_name == client_name_) return false;
        address_ = std::move(address);
        key_prefix_ = std::move(key_prefix);
        client_name_ = std::move(client_name);
        server_.clear();
        return true;
    }

    [[nodiscard]] redis_address const& address() const noexcept { return address_; }
    [[nodiscard]] std::string const& key_prefix() const noexcept { return key_prefix_; }
    /// What scripts know the sender of an operation by: the session, and the number of the present connection in it.
    [[nodiscard]] std::uint64_t session() const noexcept { return session_; }
    [[nodiscard]] std::uint64_t connection_number() const noexcept { return connections_; }
    /// How many connections there have been that became fit for use.
    [[nodiscard]] std::uint64_t established() const noexcept { return established_; }

    /// Which run of which server it is, as far as it tells: see server_identity().
    [[nodiscard]] std::string const& server() const noexcept { return server_; }
    /// Whether another server, or another run of it, answers than when this was last asked.
    [[nodiscard]] bool take_server_changed() noexcept { return std::exchange(changed_, false); }
    /// What an operator should know; taken away by the caller.
    [[nodiscard]] std::vector<error>& warnings() noexcept { return warnings_; }

    /// For tests: where scripts take their time from, in place of the server's clock; and as whom operations are sent.
    void set_time_source(std::string_view lua) { own_scripts_ = std::make_unique<script_table>(lua); }
    void pretend(std::uint64_t session, std::uint64_t number) noexcept {
        session_ = session;
        connections_ = number;
    }

    // ---------------------------------------------------------------- a new connection

    /// Begins with all that writes nothing, in one round trip: who we are, what the server is, the script that checks our
    /// rights (whether it is there or not: loading is one of them).
    handshake_step begin(std::string& out) {
        phase_ = phase::greeting;
        keep_ = false;
        outcome_ = {};
        said_.clear();
        info_.clear();
        greeting_ = append_greeting(out, address_, client_name_);
        // INFO tells all that is to be known with one right; CONFIG GET would need another, which many services refuse.
        for (auto const section : {"server", "replication", "memory"}) append_command(out, {"INFO", section});
        append_load(out, script_id::probe);
        return expect(greeting_.count + sections + 1);
    }

    /// Takes the next reply, and may append what is to be sent next.
    handshake_step take(redisReply const& reply, std::string& out) {
        said_ = is_error(reply) ? text_of(reply) : std::string_view{};
        // After a failure, replies are only counted: the connection may be kept, and must not answer for the past.
        if (outcome_) outcome_ = judge(reply);
        if (++taken_ < expected_) return handshake_step::receive;
        if (!outcome_) return handshake_step::failed;
        switch (phase_) {
            case phase::greeting:
                look_at(info_);
                std::string{}.swap(info_);  // several KB, and there may be a thousand of us
                if (key_prefix_.empty()) {
                    ++connections_;
                    break;
                }
                phase_ = phase::rights;
                append_call(out, probe_command(key_prefix_));
                return expect(1);
            case phase::rights:
                ++connections_;
                loaded_ = false;
                return number(out);
            case phase::loading: loaded_ = true; return number(out);
            case phase::numbering:
                if (!missing_) break;
                phase_ = phase::loading;
                append_script_loads(out);
                return expect(script_count);
        }
        ++established_;
        return handshake_step::ready;
    }

    /// Why it failed, once it did.
    [[nodiscard]] error const& failure() const { return outcome_.error(); }
    /// Whether the connection may be kept for the next attempt: a server that is loading is asked again over the same.
    [[nodiscard]] bool keeps_connection() const noexcept { return keep_; }

    /// The connection broke while this went on: what that comes to. What the server said before it closed the connection
    /// tells more than that it did, even where an error would have been tolerated.
    [[nodiscard]] error broken_off(error const& why, std::string_view last_words) {
        if (!outcome_) return outcome_.error();
        if (!last_words.empty()) return refuse("connecting", last_words);
        if (!said_.empty() && why == errc::unavailable) return refuse("connecting", said_);
        return at_server(why);
    }

    // ---------------------------------------------------------------- on a connection that is ready

    /// The call of a script.
    void append_call(std::string& out, redis_command const& command) const {
        append_header(out, '*', 3 + command.keys.count + command.args.count);
        out.append("$7\r\nEVALSHA\r\n");
        append_bulk(out, scripts().digest(command.script));
        append_bulk(out, digits_of{command.keys.count}.text());
        out.append(command.keys.bytes.view()).append(command.args.bytes.view());
    }

    /// What admits another group to a connection that is ready: its rights are checked (a reply for rights_granted()), and
    /// the connection is numbered in its session's record (a reply for session_begun()).
    void append_admission(std::string& out, std::string_view key_prefix) const {
        append_call(out, probe_command(key_prefix));
        append_session(out, key_prefix);
    }
    void append_session(std::string& out, std::string_view key_prefix) const {
        append_call(out, session_command(key_prefix, session_, connections_));
    }
    // Every command that the scripts and the push connection use is tried, on a key to throw away.
    [[nodiscard]] result<void> rights_granted(redisReply const& reply) {
        if (!is_error(reply) && text_of(reply) == "OK") return {};
        return refuse("checking the rights that rota needs", text_of(reply));
    }
    [[nodiscard]] result<void> session_begun(redisReply const& reply) {
        if (is_error(reply)) return refuse("beginning a session", text_of(reply));
        // {0}, or what is wrong and why in words.
        if (reply.type != REDIS_REPLY_ARRAY || reply.elements == 0) {
            return at_server({errc::protocol, "the session's script gave no status"});
        }
        auto const& status = *reply.element[0];
        if (status.type == REDIS_REPLY_INTEGER && status.integer == 0) return {};
        std::string why = reply.elements > 1 ? std::string{text_of(*reply.element[1])} : std::string{};
        return at_server({errc::conflict, "beginning a session: " + std::move(why)});
    }
    /// Whether a reply says that the server serves nobody now, for whatever group.
    [[nodiscard]] static bool is_unfit(redisReply const& reply) {
        auto const meaning = meaning_of(readable_error(text_of(reply)));
        return meaning.code == errc::unavailable && meaning.next == after_error::close;
    }
    /// Whether a reply says that the script called is not there.
    [[nodiscard]] static bool lacks_script(redisReply const& reply) {
        return is_error(reply) && meaning_of(readable_error(text_of(reply))).next == after_error::reload;
    }

    /// What loads the scripts, with script_count replies, each for take_loaded().
    void append_script_loads(std::string& out) const {
        for (std::size_t i = 0; i < script_count; ++i) append_load(out, static_cast<script_id>(i));
    }
    result<void> take_loaded(script_id script, redisReply const& reply) {
        if (is_error(reply)) return refuse("loading rota's scripts", text_of(reply));
        if (text_of(reply) == scripts().digest(script)) return {};
        return at_server({errc::protocol, "SCRIPT LOAD did not answer with the digest of what it was given"});
    }

    /// What an error reply to the call of a script comes to, for the caller and for the connection.
    struct verdict {
        error why;
        after_error next{};
    };
    [[nodiscard]] verdict verdict_on(script_id script, redisReply const& reply) const {
        return {server_error(address_, script_name(script), text_of(reply)),
                meaning_of(readable_error(text_of(reply))).next};
    }

    [[nodiscard]] error at_server(error const& why) const { return {why.code, redacted(address_) + ": " + why.detail}; }

private:
    enum class phase : std::uint8_t { greeting, rights, numbering, loading };
    static constexpr std::size_t sections = 3;

    handshake_step expect(std::size_t replies) noexcept {
        expected_ = replies;
        taken_ = 0;
        return handshake_step::send;
    }

    [[nodiscard]] script_table const& scripts() const {
        return own_scripts_ ? *own_scripts_ : script_table::standard();
    }
    void append_load(std::string& out, script_id script) const {
        append_command(out, {"SCRIPT", "LOAD", scripts().text(script)});
    }

    handshake_step number(std::string& out) {
        phase_ = phase::numbering;
        missing_ = false;
        append_session(out, key_prefix_);
        return expect(1);
    }

    // What an error reply comes to, and whether the connection outlives it.
    [[nodiscard]] error refuse(std::string_view what, std::string_view text) {
        auto const meaning = meaning_of(readable_error(text));
        keep_ = meaning.code == errc::unavailable && meaning.next == after_error::keep;
        return server_error(address_, what, text);
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

    result<void> judge(redisReply const& reply) {
        switch (phase_) {
            case phase::greeting: return judge_greeting(taken_, reply);
            case phase::rights: return rights_granted(reply);
            case phase::loading: return take_loaded(static_cast<script_id>(taken_), reply);
            case phase::numbering: break;
        }
        missing_ = !loaded_ && lacks_script(reply);
        if (!missing_) return session_begun(reply);
        said_.clear();  // nothing that tells why the connection broke, if it does
        return {};
    }

    result<void> judge_greeting(std::size_t index, redisReply const& reply) {
        if (index < greeting_.count) {
            auto const step = greeting_.steps[index];
            if (!is_error(reply) || step == greeting::step::set_name) return {};  // the name is for people only
            return refuse(step == greeting::step::authenticate ? "AUTH" : "SELECT", text_of(reply));
        }
        if (index < greeting_.count + sections) {
            if (reply.type == REDIS_REPLY_STRING) info_.append(text_of(reply)).append("\r\n");  // else no right to know
            return {};
        }
        return take_loaded(script_id::probe, reply);
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
        auto server = server_identity(info);
        if (!server.empty()) {
            if (!server_.empty() && server != server_) {
                warn("the server was restarted or another took its place (run id and replication id were " + server_ +
                     ", are " + server + "): writes that it had not saved or replicated are lost");
            }
            if (!server_.empty() && server != server_) changed_ = true;
            server_ = std::move(server);
        }
    }

    std::uint64_t session_;
    std::uint64_t connections_ = 0;  // the number of the present one
    std::uint64_t established_ = 0;
    redis_address address_;
    std::string key_prefix_;
    std::string client_name_;
    std::unique_ptr<script_table const> own_scripts_;  // tests have some

    // Of the connection that is being made ready.
    phase phase_{};
    greeting greeting_;
    std::size_t expected_ = 0;  // replies, to what was last sent
    std::size_t taken_ = 0;     // of them
    std::string info_;
    std::string said_;      // the error that the last reply was
    bool missing_ = false;  // the server does not have the scripts
    bool loaded_ = false;   // they were loaded just now
    result<void> outcome_;
    bool keep_ = false;

    bool changed_ = false;
    std::string server_;  // run id and replication id
    std::vector<std::string> warned_;
    std::vector<error> warnings_;
};

}  // namespace rota::detail

#endif
