// What can go wrong, as values. Every call that can fail returns rota::result<T> (result.hpp), whose error says what
// kind it is (errc, for code to act on) and what and why in words (detail, for people; never holds a password).
// errc is a std::error_code enum, so it fits programs that collect std::error_code.
#pragma once

#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace rota {

/// The kind of a failure. Each says what the caller may assume about the effect.
enum class errc {
    unavailable = 1,    ///< the server could not be reached or cannot serve now; nothing was done
    timed_out,          ///< the time allowed ran out before the request could be sent; nothing was done
    outcome_unknown,    ///< the request was sent and no reply came: it may or may not have had its effect
    cancelled,          ///< given up on the caller's wish (stop, destruction); nothing more is done
    fenced,             ///< a newer process took this node_id; this one must not go on
    not_joined,         ///< the call needs membership: join() first, or the node was reaped meanwhile
    already_running,    ///< run() is under way on another thread
    reentrant_call,     ///< called from inside an event sink, where only local reads are allowed
    not_owner,          ///< this node does not own the schedule (any more), or is to hand it over
    owned_by_other,     ///< claim: the schedule has another owner
    not_leader,         ///< the call needs leadership under a current term
    locked_by_other,    ///< the lock is held; detail tells how long at most
    lock_lost,          ///< the lock ended before the call: released, expired or superseded
    unknown_schedule,   ///< no such schedule is registered
    unknown_node,       ///< no live node of that id or incarnation
    capacity_exceeded,  ///< the target node holds as many schedules as it may
    conflict,           ///< the state was not as the request expected it; look again and retry
    invalid_argument,   ///< an argument, option or URL is malformed or out of range; detail names it
    refused_by_server,  ///< the server answers but refuses (rights, type, configuration); detail has its words
    protocol,           ///< the peer does not speak Redis as expected
};

/// The fixed words for a kind, e.g. "not the owner".
[[nodiscard]] constexpr std::string_view to_string(errc code) noexcept {
    switch (code) {
        case errc::unavailable: return "unavailable";
        case errc::timed_out: return "timed out";
        case errc::outcome_unknown: return "outcome unknown";
        case errc::cancelled: return "cancelled";
        case errc::fenced: return "fenced";
        case errc::not_joined: return "not joined";
        case errc::already_running: return "already running";
        case errc::reentrant_call: return "reentrant call";
        case errc::not_owner: return "not the owner";
        case errc::owned_by_other: return "owned by another node";
        case errc::not_leader: return "not the leader";
        case errc::locked_by_other: return "locked by another holder";
        case errc::lock_lost: return "lock lost";
        case errc::unknown_schedule: return "unknown schedule";
        case errc::unknown_node: return "unknown node";
        case errc::capacity_exceeded: return "capacity exceeded";
        case errc::conflict: return "conflict";
        case errc::invalid_argument: return "invalid argument";
        case errc::refused_by_server: return "refused by the server";
        case errc::protocol: return "protocol error";
    }
    return "unknown error";
}

/// A failure: its kind, and what and why in words.
struct error {
    errc code{};
    std::string detail{};

    /// "kind: detail", or the kind alone.
    [[nodiscard]] std::string message() const {
        if (code == errc{}) return detail;  // of a warning that is no failure
        std::string text{to_string(code)};
        if (!detail.empty()) {
            text += ": ";
            text += detail;
        }
        return text;
    }

    friend bool operator==(error const& a, errc b) noexcept { return a.code == b; }
    friend bool operator==(error const&, error const&) = default;
};

/// The std::error_category of rota ("rota").
[[nodiscard]] inline std::error_category const& error_category() noexcept {
    struct category final : std::error_category {
        [[nodiscard]] char const* name() const noexcept override { return "rota"; }
        [[nodiscard]] std::string message(int code) const override {
            return std::string{to_string(static_cast<errc>(code))};
        }
    };
    static category const instance;
    return instance;
}

[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept {
    return {static_cast<int>(code), error_category()};
}

}  // namespace rota

template <>
struct std::is_error_code_enum<rota::errc> : std::true_type {};
