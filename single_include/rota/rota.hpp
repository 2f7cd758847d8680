// rota 0.1.0: the library, all in one file.
// Generated from include/rota/ by single_include/amalgamate.py; do not edit.
//
// SPDX-License-Identifier: MIT
//
// MIT License
//
// Copyright (c) 2026 The rota authors
//
// Permission is hereby granted, free of charge, to any person obtaining a copy
// of this software and associated documentation files (the "Software"), to deal
// in the Software without restriction, including without limitation the rights
// to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
// copies of the Software, and to permit persons to whom the Software is
// furnished to do so, subject to the following conditions:
//
// The above copyright notice and this permission notice shall be included in all
// copies or substantial portions of the Software.
//
// THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
// IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
// FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
// AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
// LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
// OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
// SOFTWARE.

#pragma once

// ---- rota/rota.hpp -------------------------------------------------------------------------------------------------
// Everything of rota but the simulator. The Redis transports switch on where hiredis can be included; define
// ROTA_NO_HIREDIS to leave them out.

// ---- rota/version.hpp ----------------------------------------------------------------------------------------------
// The version of rota: the one place that states it. CMake, the CMake package and rota.pc read the macros below.

#if !defined(__cplusplus) || __cplusplus < 202002L
#error "rota needs C++20: compile with -std=c++20"
#endif

#define ROTA_VERSION_MAJOR 0
#define ROTA_VERSION_MINOR 1
#define ROTA_VERSION_PATCH 0

#define ROTA_DETAIL_TEXT_OF(value) #value
#define ROTA_DETAIL_DOTTED(a, b, c) ROTA_DETAIL_TEXT_OF(a) "." ROTA_DETAIL_TEXT_OF(b) "." ROTA_DETAIL_TEXT_OF(c)

namespace rota {

inline constexpr int version_major = ROTA_VERSION_MAJOR;
inline constexpr int version_minor = ROTA_VERSION_MINOR;
inline constexpr int version_patch = ROTA_VERSION_PATCH;

/// "major.minor.patch".
inline constexpr char version_text[] = ROTA_DETAIL_DOTTED(ROTA_VERSION_MAJOR, ROTA_VERSION_MINOR, ROTA_VERSION_PATCH);

}  // namespace rota

#undef ROTA_DETAIL_DOTTED
#undef ROTA_DETAIL_TEXT_OF

// ---- rota/error.hpp ------------------------------------------------------------------------------------------------
// What can go wrong, as values. Every call that can fail returns rota::result<T> (result.hpp), whose error says what
// kind it is (errc, for code to act on) and what and why in words (detail, for people; never holds a password).
// errc is a std::error_code enum, so it fits programs that collect std::error_code.

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

// ---- rota/result.hpp -----------------------------------------------------------------------------------------------
// result<T>: a value, or the error that says why there is none. C++20 has no std::expected; this is the small part of
// it that rota needs, with the same names. Functions that return one are [[nodiscard]], so that no failure is dropped by
// accident, but for tick, leave and release, which report through events too.

#include <optional>
#include <stdexcept>
#include <type_traits>
#include <vector>

namespace rota {

/// Either a T or an error. Reading the one that is not there throws std::logic_error: a bug of the caller.
template <typename T>
class result {
public:
    using value_type = T;

    result(T value) : value_{std::move(value)} {}
    result(rota::error e) : error_{std::move(e)} {}
    result(errc code, std::string detail = {}) : result(rota::error{code, std::move(detail)}) {}

    [[nodiscard]] bool has_value() const noexcept { return value_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }

    [[nodiscard]] T& value() & { return checked(), *value_; }
    [[nodiscard]] T const& value() const& { return checked(), *value_; }
    /// Of a temporary: moved out, so that `for (auto& n : *node.nodes())` loops over what still exists.
    [[nodiscard]] T value() && { return checked(), *std::move(value_); }

    [[nodiscard]] T& operator*() & { return value(); }
    [[nodiscard]] T const& operator*() const& { return value(); }
    [[nodiscard]] T operator*() && { return std::move(*this).value(); }
    [[nodiscard]] T* operator->() { return &value(); }
    [[nodiscard]] T const* operator->() const { return &value(); }

    template <typename U>
    [[nodiscard]] T value_or(U&& otherwise) const& {
        return has_value() ? value() : static_cast<T>(std::forward<U>(otherwise));
    }
    template <typename U>
    [[nodiscard]] T value_or(U&& otherwise) && {
        return has_value() ? *std::move(value_) : static_cast<T>(std::forward<U>(otherwise));
    }

    [[nodiscard]] rota::error const& error() const {
        if (value_) throw std::logic_error("rota::result: error() of a result that holds a value");
        return error_;
    }

private:
    void checked() const {
        if (!value_) throw std::logic_error("rota::result: no value: " + error_.message());
    }

    // No std::variant: g++ 12 warns of uninitialised members where none are, and it takes longer to compile.
    std::optional<T> value_;
    rota::error error_;
};

/// Success without a value, or an error.
template <>
class result<void> {
public:
    using value_type = void;

    result() = default;
    result(rota::error e) : error_{std::move(e)}, failed_{true} {}
    result(errc code, std::string detail = {}) : result(rota::error{code, std::move(detail)}) {}

    [[nodiscard]] bool has_value() const noexcept { return !failed_; }
    explicit operator bool() const noexcept { return has_value(); }

    void value() const {
        if (failed_) throw std::logic_error("rota::result: no value: " + error_.message());
    }

    [[nodiscard]] rota::error const& error() const {
        if (!failed_) throw std::logic_error("rota::result: error() of a result that holds a value");
        return error_;
    }

private:
    rota::error error_{};
    bool failed_ = false;
};

/// One result per item of a request, in order.
template <typename T>
class results : public std::vector<result<T>> {
public:
    using std::vector<result<T>>::vector;

    /// Success if every item succeeded, or the first error.
    [[nodiscard]] result<void> all() const {
        for (auto const& item : *this) {
            if (!item) return item.error();
        }
        return {};
    }
};

}  // namespace rota

// ---- rota/types.hpp ------------------------------------------------------------------------------------------------
// The words of rota as types: tokens, times, nodes, schedules. Plain values, no behaviour.
//
// Incarnation, term, generation and lock token are all rota::fencing_token: numbers from one increasing source per
// group, minted inside the atomic step that grants the thing, so any two of them can be compared to tell the newer.

#include <chrono>
#include <cstdint>
#include <limits>

namespace rota {

/// A number that rises with every grant in a group; 0 means "none". Below 2^53.
/// Pass it along with every effect on a resource, and let the resource reject lower ones.
using fencing_token = std::uint64_t;

/// The resolution of all times in rota.
using microseconds = std::chrono::microseconds;

/// A point of a node's own monotonic clock (a clock policy's now()). Its origin means nothing outside the process.
using instant = std::chrono::time_point<struct node_clock, microseconds>;

/// A capacity that never limits.
inline constexpr std::uint32_t unlimited = std::numeric_limits<std::uint32_t>::max();

/// Longest id of a schedule, node or named lock, in bytes.
inline constexpr std::size_t max_id_size = 512;

/// One participation of a node: the user's node_id and the incarnation that its join minted.
struct node_ref {
    std::string id{};
    fencing_token incarnation = 0;

    friend bool operator==(node_ref const&, node_ref const&) = default;
};

/// The leader as this node last heard of it.
struct leader_info {
    node_ref node{};
    fencing_token term = 0;
    microseconds remaining{};  ///< what was left of the lease when last heard, less what has passed since; never < 0
};

/// A schedule to register.
struct schedule {
    std::string id{};   ///< opaque bytes, 1..512
    double weight = 1;  ///< its share of load; finite, > 0
};

/// A schedule that this node owns.
struct owned_schedule {
    std::string id{};
    fencing_token generation = 0;  ///< fencing token of this ownership
    double weight = 1;
    bool handing_over = false;  ///< asked to give it up: no new lock is granted, a held one may be finished
};

/// Where a schedule is, as the server has it.
struct schedule_status {
    std::string id{};
    fencing_token generation = 0;  ///< of the latest change of owner; 0: never owned
    fencing_token owner = 0;       ///< incarnation; 0: none
    double weight = 1;
    fencing_token moving_to = 0;  ///< incarnation that it is being handed to; 0: none

    friend bool operator==(schedule_status const&, schedule_status const&) = default;
};

/// A node as the server has it.
struct node_status {
    node_ref node{};
    bool alive = false;         ///< false: dead or left, with schedules that are not yet re-assigned
    microseconds remaining{};   ///< until it is taken for dead; 0 when it is
    std::uint32_t load = 0;     ///< schedules owned
    std::uint32_t pending = 0;  ///< schedules being handed to it
    std::uint32_t capacity = unlimited;

    friend bool operator==(node_status const&, node_status const&) = default;
};

}  // namespace rota

// ---- rota/cluster_view.hpp -----------------------------------------------------------------------------------------
// What a rebalancing strategy sees (cluster_view) and says (plan). Index-based: nodes and schedules are numbered by
// their place in the spans; ids are at hand for strategies that hash them, but no inner loop needs a string.
//
// A schedule that is being handed over counts for the node that it goes to and must not be moved again.

#include <span>

// ---- rota/operations.hpp -------------------------------------------------------------------------------------------
// The operations that a transport performs, and their replies. Each is ONE atomic step on the state of a group: one
// script on Redis, a few lines of C++ in memory_transport, which is the reference for every reply.
//
// Common rules:
//  * Times in requests and replies are durations; the server compares deadlines with its own clock only.
//  * `seen` is the highest fencing token the caller knows. Tokens are minted as
//    max(last + 1, server time in µs, seen + 1). A `seen` above the last one means that the server has lost writes: a
//    join or tick mends that (a new epoch), unless it is over one hour above both the last token and server time
//    (refused_by_server); whatever else mints answers not_joined, and grants nothing that would hide the loss.
//  * Batches hold at most max_batch items, no two for the same thing, and take consecutive tokens, in item order.
//    Items are checked in order, each seeing the effect of those before it.
//  * Repeating an operation whose reply was lost has one effect: each checks what it expects, and those that could
//    not tell a repeat from a second request carry a `nonce`.
//  * A request that writes, from an older connection of the same session than the newest one, is refused (conflict).
//  * An incarnation is *live* while it is in the member table, whatever its deadline: only reap takes it out. It *may
//    believe* in what it owns while it is live, or superseded with its last deadline still to come.
//  * Whole-operation failures come as errors: not_joined (the incarnation is not live: reaped, left or superseded),
//    not_leader (no lease under that term; one that ran out but was taken by nobody still counts), conflict,
//    refused_by_server.

#include <variant>

namespace rota {

/// What join does when a live process already uses the node_id.
enum class conflict_policy : std::uint8_t {
    take_over,  ///< the newcomer gets the id, the older process is fenced. What that one owned waits for its ttl
    refuse,     ///< the newcomer is refused with errc::conflict until the older one is gone
};

/// Why a schedule changed hands.
enum class change_reason : std::uint8_t {
    claimed,       ///< a node asked for it
    placed,        ///< an orphan was placed by the leader
    rebalanced,    ///< moved to even out the load
    transferred,   ///< moved on somebody's request
    unregistered,  ///< it is registered no more
    given_up,      ///< its new node was gone or full at the end of a hand-off: it has no owner now
    lost,          ///< this node left or lost its membership, and all that it owned with it
    resynced,      ///< found in a snapshot after a gap
};

namespace op {

/// Most items in one operation; keeps a script near 1 ms.
inline constexpr std::size_t max_batch = 200;

/// Steps kept in a node's change log, and in the group's event log; who is further behind gets a gap.
inline constexpr std::size_t change_log_length = 1024;
inline constexpr std::size_t event_log_length = 16384;

/// Most steps in one changes_reply.
inline constexpr std::size_t max_change_steps = 8;

/// How long a repeat of unregister_schedules is recognised by its nonce.
inline constexpr microseconds repeat_window = std::chrono::seconds{60};

/// How far above server time and the last token the `seen` of a caller may be.
inline constexpr microseconds max_seen_lead = std::chrono::hours{1};

/// What became of one item of a batch: code == errc{} for success.
struct outcome {
    errc code{};
    fencing_token token = 0;   ///< what was minted or found, see each operation
    microseconds remaining{};  ///< locks: until the lock (also another's) ends

    [[nodiscard]] bool ok() const noexcept { return code == errc{}; }
    friend bool operator==(outcome const&, outcome const&) = default;
};

struct outcomes {
    std::vector<outcome> items{};
    friend bool operator==(outcomes const&, outcomes const&) = default;
};

struct done {
    friend bool operator==(done const&, done const&) = default;
};

// ---------------------------------------------------------------- membership and leadership

struct joined {
    fencing_token incarnation = 0;
    fencing_token epoch = 0;
    std::uint64_t seq = 0;         ///< newest event of the group, the cursor for events_since
    fencing_token superseded = 0;  ///< the older incarnation of this node_id that was still live, or 0
    friend bool operator==(joined const&, joined const&) = default;
};

/// Take part. Mints an incarnation. A live older incarnation of the node_id is superseded (take_over) or, while its
/// deadline is to come, a reason to refuse (conflict). A repeat with the nonce of a live incarnation returns that one.
/// Takes the id, never the schedules: those of the older one can be granted from its deadline or its leave on.
struct join {
    using reply = joined;
    std::string node_id{};
    std::uint64_t nonce = 0;
    microseconds node_ttl{};
    std::uint32_t capacity = unlimited;
    conflict_policy on_conflict = conflict_policy::take_over;
    fencing_token seen = 0;
};

/// What a leader needs to know in addition, from its own tick.
struct watch {
    microseconds next_expiry = microseconds::max();  ///< until the earliest deadline of another live node; max: none
    std::vector<fencing_token> expired{};          ///< live nodes past their deadline, oldest first, at most max_batch
    std::vector<fencing_token> dead{};             ///< dead nodes whose schedules may be adopted now, at most max_batch
    microseconds next_dead = microseconds::max();  ///< until the next superseded node's schedules may be adopted
    std::vector<fencing_token> candidates{};       ///< the freshest other live nodes, at most 3, freshest first
    friend bool operator==(watch const&, watch const&) = default;
};

enum class tick_status : std::uint8_t {
    ok,
    reaped,     ///< the incarnation is not live any more: join anew
    fenced,     ///< a newer process has the node_id
    data_lost,  ///< the server lost writes (epoch missing, or its last token below `seen`, or another epoch)
};

struct ticked {
    tick_status status = tick_status::ok;
    fencing_token epoch = 0;
    fencing_token fence = 0;    ///< the highest token that the group has minted
    std::uint64_t version = 0;  ///< of this node's change log; unlike the local one: read changes_since
    std::uint64_t seq = 0;      ///< newest event of the group
    fencing_token leader = 0;   ///< incarnation holding an unexpired lease; 0: vacant
    fencing_token term = 0;
    std::string leader_id{};
    microseconds leader_remaining{};
    watch sweep{};  ///< filled only if the caller is the leader
    // (with a status other than ok, only epoch, fence and seq are filled)
    friend bool operator==(ticked const&, ticked const&) = default;
};

/// The heartbeat: extends the node's deadline to now + node_ttl; renews the leader lease if the caller holds it under
/// `term`, even past its deadline if nobody took it; takes a vacant one under a new term if `candidate`.
/// `epoch` is what the caller joined under. If the group's epoch is missing or its fence is below `seen`, writes were
/// lost: a new epoch is minted, a data_lost event emitted, and status is data_lost, as it is for whoever still comes
/// with another epoch; nothing is renewed then. Never an error for a node that is gone: see status.
/// A lease or a node's deadline further ahead than it was granted for (the server's clock stepped back) is pulled in: the
/// lease by any tick, the nodes' by the leader's, as of the next one.
struct tick {
    using reply = ticked;
    fencing_token incarnation = 0;
    std::string node_id{};
    fencing_token epoch = 0;
    fencing_token term = 0;  ///< the caller's own term if it believes it leads, else 0
    bool candidate = false;
    microseconds node_ttl{};
    microseconds leader_lease{};
    fencing_token seen = 0;
};

/// Go: no member any more, leadership vacated, schedules adoptable at once. Also how a superseded incarnation says that
/// it has dropped all belief. `wake`: nodes told of the vacancy if the leader leaves. Never an error for one that is
/// gone.
struct leave {
    using reply = done;
    fencing_token incarnation = 0;
    std::string node_id{};
    std::vector<fencing_token> wake{};
};

/// Give up leadership (no effect if it is not held under that term) and tell the nodes in `wake`.
struct renounce {
    using reply = done;
    fencing_token incarnation = 0;
    fencing_token term = 0;
    std::vector<fencing_token> wake{};
};

// ---------------------------------------------------------------- locks

enum class lock_kind : std::uint8_t {
    schedule,  ///< only by the owner under its current generation
    name,      ///< a plain lock, any live node; names do not meet schedule ids
};

/// Take locks for `ttl`. Outcome: token and remaining; locked_by_other with the holder's remaining (also if this node
/// holds it by another nonce); unknown_schedule; not_owner (also while it is being handed over). A lock whose holder
/// may no longer believe in anything counts as free. A repeat with the same nonce returns the token held.
struct acquire_locks {
    using reply = outcomes;
    struct item {
        std::string name{};
        fencing_token generation = 0;
    };
    fencing_token incarnation = 0;
    lock_kind kind = lock_kind::schedule;
    std::vector<item> items{};
    microseconds ttl{};
    std::uint64_t nonce = 0;
    fencing_token seen = 0;
};

struct lock_ref {
    std::string name{};
    fencing_token token = 0;
};

/// Extend held locks to now + ttl, never shortening. Outcome: remaining; lock_lost if not held under that token or
/// past its end; not_owner if the schedule's hand-off deadline has passed (the lock then runs out as it is).
struct extend_locks {
    using reply = outcomes;
    fencing_token incarnation = 0;
    lock_kind kind = lock_kind::schedule;
    std::vector<lock_ref> items{};
    microseconds ttl{};
};

/// Release held locks. Outcome: ok, or lock_lost if not held under that token (a repeat, or lost before).
/// Works for an incarnation that is gone as well: the token alone tells.
struct release_locks {
    using reply = outcomes;
    lock_kind kind = lock_kind::schedule;
    std::vector<lock_ref> items{};
};

// ---------------------------------------------------------------- schedules

/// Make schedules exist; no effect on those that do. Anyone may. Outcome: ok.
struct register_schedules {
    using reply = outcomes;
    std::vector<schedule> items{};
};

/// Where schedules are now. Anyone may.
struct lookup {
    using reply = struct lookup_reply;
    std::vector<std::string> ids{};
};
struct lookup_reply {
    struct entry {
        bool registered = false;
        schedule_status status{};
        friend bool operator==(entry const&, entry const&) = default;
    };
    std::vector<entry> items{};
    friend bool operator==(lookup_reply const&, lookup_reply const&) = default;
};

/// Make schedules exist no more. Anyone may. `owner` is where lookup found it. Outcome: ok (also for a repeat with the
/// same nonce), unknown_schedule, conflict (another owner meanwhile: look it up again). A live lock stays with its
/// holder; the owner is told; the same id registered anew is granted to nobody before that owner's present deadline.
struct unregister_schedules {
    using reply = outcomes;
    struct item {
        std::string id{};
        fencing_token owner = 0;
    };
    std::vector<item> items{};
    std::uint64_t nonce = 0;
};

/// Own schedules that nobody owns, up to this node's capacity. Outcome: ok with the generation (also for one that is
/// owned already), unknown_schedule, owned_by_other (also by a dead node: the leader places those),
/// capacity_exceeded, conflict (registered anew too recently).
struct claim {
    using reply = outcomes;
    fencing_token incarnation = 0;
    std::vector<std::string> ids{};
    fencing_token seen = 0;
};

/// By the leader: take nodes past their deadline out of the member table, and forget dead ones that own nothing more.
/// Names that no longer qualify are skipped. Returns the incarnations taken out, in order (token of each outcome).
struct reap {
    using reply = outcomes;
    fencing_token incarnation = 0;
    fencing_token term = 0;
    std::vector<fencing_token> nodes{};
};

/// By the leader: give orphans to nodes. `from`: 0 or a dead incarnation. Outcome: ok with the new generation;
/// unknown_schedule; conflict (generation, owner, or it may still be believed in); unknown_node (target not live or past
/// its deadline); capacity_exceeded.
struct adopt {
    using reply = outcomes;
    struct item {
        std::string id{};
        fencing_token generation = 0;
        fencing_token from = 0;
        fencing_token to = 0;
        change_reason reason = change_reason::placed;
    };
    fencing_token incarnation = 0;
    fencing_token term = 0;
    std::vector<item> items{};
    fencing_token seen = 0;
};

/// Begin hand-offs: by the leader under its term, or by the owner itself (term 0, from == incarnation). The owner is
/// told, and refused new locks on it. Outcome: ok (also if it is moving there already); unknown_schedule; conflict
/// (generation, owner not live, moving elsewhere); unknown_node; capacity_exceeded.
struct revoke {
    using reply = outcomes;
    struct item {
        std::string id{};
        fencing_token generation = 0;
        fencing_token from = 0;
        fencing_token to = 0;
        change_reason reason = change_reason::rebalanced;
    };
    fencing_token incarnation = 0;
    fencing_token term = 0;
    std::vector<item> items{};
    microseconds handoff_deadline{};
};

/// By the owner, having dropped its belief: complete hand-offs. The grant happens in the same step. Outcome: ok with the
/// new generation; unknown_node or capacity_exceeded, also with a new generation, if the target was gone, past its
/// deadline or full: the schedule is now nobody's; unknown_schedule; conflict if the generation, owner or target is
/// another (as on a repeat); locked_by_other while its lock is live (with remaining).
struct acknowledge {
    using reply = outcomes;
    struct item {
        std::string id{};
        fencing_token generation = 0;
        fencing_token to = 0;
    };
    fencing_token incarnation = 0;
    std::vector<item> items{};
    fencing_token seen = 0;
};

// ---------------------------------------------------------------- following what happens

enum class change_kind : std::uint8_t {
    granted,   ///< generation, weight, reason, other (who had it)
    revoking,  ///< generation, other (who is to have it), handoff, reason
    removed,   ///< unregistered
    vacancy,   ///< the leader left or renounced: stand for election
};

/// One entry of a node's change log.
struct change {
    change_kind kind{};
    std::string id{};
    fencing_token generation = 0;
    double weight = 1;
    fencing_token other = 0;
    change_reason reason{};
    microseconds handoff{};  ///< time allowed from the moment of the request
    friend bool operator==(change const&, change const&) = default;
};

/// The entries after `version`, oldest first. `gap`: some are not kept any more; read schedules_page instead, from
/// `to` on. `to` is the version after the last entry returned; the log's newest may be higher.
struct changes_reply {
    bool gap = false;
    std::uint64_t to = 0;
    std::vector<change> items{};
    friend bool operator==(changes_reply const&, changes_reply const&) = default;
};
struct changes_since {
    using reply = changes_reply;
    fencing_token incarnation = 0;
    std::uint64_t version = 0;
};

enum class group_event_kind : std::uint8_t {
    registered,    ///< id, weight
    unregistered,  ///< id, from (its owner, or 0)
    owned,         ///< id, generation, from, to (0: nobody), reason, weight
    moving,        ///< id, from, to, reason: a hand-off began
    joined,        ///< to, node_id, capacity
    superseded,    ///< from (old), to (new), node_id
    left,          ///< from, node_id
    died,          ///< from, node_id
    forgotten,     ///< from: a dead node owns nothing more
    led,           ///< to, node_id, generation = term, from = previous leader's incarnation or 0
    vacated,       ///< from, generation = term
    data_lost,     ///< generation = the new epoch
};

struct group_event {
    std::uint64_t seq = 0;  ///< several events of one atomic step share one
    group_event_kind kind{};
    std::string id{};  ///< schedule or node_id, as the kind says
    fencing_token from = 0;
    fencing_token to = 0;
    fencing_token generation = 0;
    double weight = 1;
    std::uint32_t capacity = unlimited;
    change_reason reason{};
    friend bool operator==(group_event const&, group_event const&) = default;
};

/// The group's events after `seq`, oldest first, at most `limit` steps. `gap`: some are not kept any more, or the
/// epoch is another. `to`: cursor for the next call. `head`: the newest there is.
struct events_reply {
    bool gap = false;
    std::uint64_t to = 0;
    std::uint64_t head = 0;
    std::vector<group_event> items{};
    friend bool operator==(events_reply const&, events_reply const&) = default;
};
struct events_since {
    using reply = events_reply;
    fencing_token epoch = 0;
    std::uint64_t seq = 0;
    std::uint32_t limit = 64;
};

/// Schedules held by `holder` (0: by nobody) with ids above `after`, in byte order; fewer than `limit`: the last page.
struct page_reply {
    std::uint64_t version = 0;  ///< of the holder's change log at this moment; 0 for nobody
    std::vector<schedule_status> items{};
    friend bool operator==(page_reply const&, page_reply const&) = default;
};
struct schedules_page {
    using reply = page_reply;
    fencing_token holder = 0;
    std::string after{};
    std::uint32_t limit = max_batch;
};

/// Nodes, live and dead, with incarnations above `after`, in order; fewer than `limit`: the last page.
struct nodes_reply {
    fencing_token epoch = 0;
    std::uint64_t seq = 0;
    std::vector<node_status> items{};
    friend bool operator==(nodes_reply const&, nodes_reply const&) = default;
};
struct nodes_page {
    using reply = nodes_reply;
    fencing_token after = 0;
    std::uint32_t limit = max_batch;
};

}  // namespace op

/// Any request, and any reply. The reply to a T holds a T::reply.
using operation =
    std::variant<op::join, op::tick, op::leave, op::renounce, op::acquire_locks, op::extend_locks, op::release_locks,
                 op::register_schedules, op::lookup, op::unregister_schedules, op::claim, op::reap, op::adopt,
                 op::revoke, op::acknowledge, op::changes_since, op::events_since, op::schedules_page, op::nodes_page>;
using reply = std::variant<op::done, op::joined, op::ticked, op::outcomes, op::lookup_reply, op::changes_reply,
                           op::events_reply, op::page_reply, op::nodes_reply>;

}  // namespace rota

namespace rota {

/// A read-only picture of the group, valid for the duration of one make_plan call.
struct cluster_view {
    /// "No node": the owner of an orphan, the target of what cannot be placed.
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

    struct node {
        std::string_view id;  ///< the user's node_id
        fencing_token incarnation = 0;
        std::uint32_t load = 0;                      ///< schedules owned or on their way here
        std::uint32_t capacity = unlimited;          ///< most it may hold; may be below load (the excess may stay)
        double weight = 0;                           ///< sum of the weights of its load
        std::span<std::uint32_t const> schedules{};  ///< indices of what it owns or is to own, no particular order
    };

    struct schedule {
        std::string_view id;
        std::uint32_t owner = none;  ///< index of a live node; none: an orphan
        bool moving = false;         ///< on its way to `owner`: leave it alone
        double weight = 1;
    };

    std::span<node const> nodes;             ///< live nodes, ordered by id
    std::span<schedule const> schedules;     ///< all of them; entries not reachable from nodes or orphans are void
    std::span<std::uint32_t const> orphans;  ///< indices of schedules without a live owner
};

/// One step of a plan: a placement (from == none, forced) or a move between live nodes (voluntary).
struct move {
    std::uint32_t schedule = 0;
    std::uint32_t from = cluster_view::none;
    std::uint32_t to = 0;

    [[nodiscard]] bool forced() const noexcept { return from == cluster_view::none; }
    friend bool operator==(move const&, move const&) = default;
};

/// What a strategy proposes, with its certificate. Placements come before moves; every prefix is valid on its own.
struct plan {
    std::vector<move> moves{};
    std::uint32_t forced = 0;     ///< placements among the moves
    std::uint32_t voluntary = 0;  ///< moves between live nodes
    std::uint32_t bound = 0;      ///< the least number of voluntary moves that reaches the strategy's balance
    std::uint32_t unplaced = 0;   ///< orphans for which no node has room
    double spread_before = 0;     ///< fullest less emptiest node, in the strategy's measure of load
    double spread_after = 0;

    void clear() noexcept {
        moves.clear();
        forced = voluntary = bound = unplaced = 0;
        spread_before = spread_after = 0;
    }
};

}  // namespace rota

// ---- rota/events.hpp -----------------------------------------------------------------------------------------------
// What a coordinator tells its event sink: changes of this node's own standing, of ownership, leadership and
// membership, and warnings. Plain values; a sink takes `event const&` (the variant) or any of the types below.
//
// With event_scope::own a sink hears of this node and of who leads; with event_scope::group of every node and schedule.
// In both, each change comes once and in order; where some could not be had, a `gap` comes first, and then the
// differences to what was last told, with change_reason::resynced.

namespace rota {

/// This node takes part under a new incarnation.
struct node_joined {
    node_ref node{};
    fencing_token epoch = 0;
};

/// This node left in order; it owns nothing and holds no lock.
struct node_left {
    node_ref node{};
};

/// No contact for so long that the group may act without this node: it leads nothing, owns nothing, and no handle of a
/// lock is valid, until `node_resumed` (contact in time after all) or `node_lost`.
struct node_suspended {
    node_ref node{};
    error why{};
};

/// In contact again under the same incarnation; what it owned is still its own.
struct node_resumed {
    node_ref node{};
};

/// The group took this node for dead (or the server lost its data): all that it owned is gone. run() joins anew.
struct node_lost {
    node_ref node{};
    bool data_lost = false;  ///< because the server lost writes: registered schedules may be gone too
};

/// A newer process took the node_id: this one has stopped, until somebody calls join(), which takes the id back.
struct node_fenced {
    node_ref node{};
};

/// A schedule changed hands. Nodes that this coordinator has not heard of have an empty id; incarnation 0: nobody.
/// `generation` is that of the new ownership; 0 where a node only knows that it has lost one (change_reason::lost,
/// unregistered).
struct ownership_changed {
    std::string schedule{};
    node_ref from{};
    node_ref to{};
    fencing_token generation = 0;
    change_reason reason{};
};

/// A schedule of this node is to go to another as soon as the run in hand is done. It hands an idle one over at once.
struct handoff_requested {
    std::string schedule{};
    fencing_token to = 0;
    microseconds within{};  ///< after this, locks on it are not extended any more
    change_reason reason{};
};

/// Another node leads, or none (incarnation 0). This node's own gain and loss is told the moment its belief changes.
struct leadership_changed {
    node_ref leader{};
    fencing_token term = 0;
    node_ref previous{};
};

enum class membership_change : std::uint8_t { joined, left, died, superseded };

/// A node came or went (event_scope::group, and on the leader).
struct membership_changed {
    node_ref subject{};
    membership_change change{};
};

/// A schedule was registered or unregistered (event_scope::group).
struct schedule_changed {
    std::string schedule{};
    bool registered = false;
};

/// Some changes could not be had one by one; the differences follow as events with change_reason::resynced.
struct events_gap {};

/// A plan was not applied: the strategy broke its contract, or part of the state changed meanwhile.
struct plan_refused {
    std::string why{};
};

/// Something that an operator should know: that the server refuses this node's requests, may evict leases, was restarted;
/// that schedules have no node with room. `what.code` is errc{} where nothing failed.
struct warning {
    error what{};
};

using event = std::variant<node_joined, node_left, node_suspended, node_resumed, node_lost, node_fenced,
                           ownership_changed, handoff_requested, leadership_changed, membership_changed,
                           schedule_changed, events_gap, plan_refused, warning>;

}  // namespace rota

// ---- rota/options.hpp ----------------------------------------------------------------------------------------------
// The options of a coordinator, and validate(), which checks them as a whole: every member alone and all of them
// together (the lease must outlive heartbeats and margin). Constructors never refuse; join() calls validate().

#include <fmt/core.h>

namespace rota {

enum class event_scope : std::uint8_t {
    own,    ///< what concerns this node
    group,  ///< every node and schedule of the group
};

/// An aggregate: name what differs, in this order: `{.node_id = "node-1", .heartbeat_interval = 2s}`.
struct options {
    /// This node's name, 1..512 bytes, unique among live processes of the group. Required.
    std::string node_id{};
    /// Names the group; every key is `{<prefix>}…`. 1..512 bytes, no braces.
    std::string key_prefix = "rota:";
    /// Time between two ticks of a quiet node. 1 ms .. 1 day.
    microseconds heartbeat_interval = std::chrono::seconds{1};
    /// Silence after which the group takes a node for dead. At least 2 heartbeats. 0: 3 heartbeats.
    microseconds node_ttl{};
    /// How long leadership outlives the leader's last tick. At least 2 heartbeats. 0: 3 heartbeats.
    microseconds leader_lease{};
    /// Longest wait for one request, connecting included; also bounds the destructor. 1 ms .. 1 hour.
    microseconds operation_timeout = std::chrono::milliseconds{500};
    /// By how much the rate of this node's clock may differ from the server's, as a fraction. 0 .. 0.1.
    double clock_drift = 0.01;
    /// How much earlier than computed this node stops to believe in a lease or lock. Less than half of node_ttl and of
    /// leader_lease, which must outlast a heartbeat after drift and margin. Covers the time between a check and its effect, as far as you can bound it.
    microseconds safety_margin = std::chrono::milliseconds{50};
    /// Most schedules that this node owns, a hard limit. None: unlimited.
    std::optional<std::uint32_t> max_schedules_per_node{};
    /// Whether the leader also moves schedules between live nodes. Orphans are placed in any case.
    bool auto_rebalance = true;
    /// The leader moves schedules once a node is off its target by more than this fraction of the mean load.
    /// Counted in schedules, whatever the strategy. Finite, >= 0; 0 evens out every difference.
    double rebalance_threshold = 0.2;
    /// How long the run in hand may extend its lock when its schedule is to move; what was granted last runs to its end.
    microseconds handoff_deadline = std::chrono::seconds{30};
    /// What join does if another live process has this node_id.
    conflict_policy on_conflict = conflict_policy::take_over;
    /// Which events the sink gets.
    rota::event_scope event_scope = rota::event_scope::own;
    /// Seed of the jitter of retries and elections. None: derived from node_id and incarnation.
    std::optional<std::uint64_t> jitter_seed{};
};

/// `o` with the members that stand for a derived default (0) filled in.
[[nodiscard]] inline options with_defaults(options o) {
    bool const absurd = o.heartbeat_interval > std::chrono::hours{24} ||
                        o.heartbeat_interval < microseconds{};  // refused by validate; not to be computed with
    auto const derived = absurd ? o.heartbeat_interval : 3 * o.heartbeat_interval;
    if (o.node_ttl == microseconds{}) o.node_ttl = derived;
    if (o.leader_lease == microseconds{}) o.leader_lease = derived;
    return o;
}

namespace detail {

/// Neither infinite nor a NaN. (<cmath> has it too, and costs a compiler a third of what all else in rota does.)
constexpr bool is_finite(double x) {
    return x >= std::numeric_limits<double>::lowest() && x <= std::numeric_limits<double>::max();
}

// Templates although nothing varies, here and for validate(): so that a program that includes rota pays for compiling
// them (and what they use of fmt) only where it uses them.
template <typename = void>
[[nodiscard]] std::string in_words(microseconds d) {
    if (d >= std::chrono::hours{1} && d % std::chrono::hours{1} == microseconds{}) {
        return fmt::format("{} h", d / std::chrono::hours{1});
    }
    if (d.count() % 1'000'000 == 0) return fmt::format("{} s", d.count() / 1'000'000);
    if (d.count() % 1'000 == 0) return fmt::format("{} ms", d.count() / 1'000);
    return fmt::format("{} us", d.count());
}

// An id as it may stand in a message: bytes that a terminal would act on are shown as ?, long ones cut.
template <typename = void>
[[nodiscard]] std::string in_words(std::string const& id) {
    std::string text = id.substr(0, 64);
    for (char& c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    }
    if (text.size() < id.size()) text += "...";
    return '"' + text + '"';
}

template <typename = void>
[[nodiscard]] result<void> check_id(char const* field, std::string const& id) {
    if (!id.empty() && id.size() <= max_id_size) return {};
    return {errc::invalid_argument, fmt::format("{} has {} bytes, must have 1..{}", field, id.size(), max_id_size)};
}

template <typename = void>
[[nodiscard]] result<void> check_duration(char const* field, microseconds value, microseconds least,
                                          microseconds most) {
    if (value >= least && value <= most) return {};
    return {errc::invalid_argument,
            fmt::format("{} is {}, must be {} .. {}", field, in_words(value), in_words(least), in_words(most))};
}

}  // namespace detail

/// Checks `o` as a whole. The error (invalid_argument) names the first field that is wrong, its value, and the rule.
template <typename = void>
[[nodiscard]] result<void> validate(options const& given) {
    using namespace std::chrono_literals;
    auto const o = with_defaults(given);
    auto wrong = [](std::string text) { return result<void>{errc::invalid_argument, std::move(text)}; };

    if (auto r = detail::check_id("node_id", o.node_id); !r) return r;
    if (auto r = detail::check_id("key_prefix", o.key_prefix); !r) return r;
    if (o.key_prefix.find_first_of("{}") != std::string::npos) {
        return wrong(fmt::format("key_prefix is {}, must have no braces", detail::in_words(o.key_prefix)));
    }
    if (auto r = detail::check_duration("heartbeat_interval", o.heartbeat_interval, 1ms, 24h); !r) return r;
    if (auto r = detail::check_duration("node_ttl", o.node_ttl, 2 * o.heartbeat_interval, 24h * 30); !r) {
        return wrong(r.error().detail + ", that is at least 2 heartbeats");
    }
    if (auto r = detail::check_duration("leader_lease", o.leader_lease, 2 * o.heartbeat_interval, 24h * 30); !r) {
        return wrong(r.error().detail + ", that is at least 2 heartbeats");
    }
    if (auto r = detail::check_duration("operation_timeout", o.operation_timeout, 1ms, 1h); !r) return r;
    if (!detail::is_finite(o.clock_drift) || o.clock_drift < 0 || o.clock_drift > 0.1) {
        return wrong(fmt::format("clock_drift is {}, must be 0 .. 0.1", o.clock_drift));
    }
    auto const shorter = o.node_ttl < o.leader_lease ? o.node_ttl : o.leader_lease;
    if (o.safety_margin < 0us || o.safety_margin >= shorter - shorter / 2) {
        return wrong(
            fmt::format("safety_margin is {}, must be 0 or more and less than half of node_ttl and leader_lease ({})",
                        detail::in_words(o.safety_margin), detail::in_words(shorter / 2)));
    }
    auto const believed =
        microseconds{static_cast<microseconds::rep>(static_cast<double>(shorter.count()) * (1 - o.clock_drift))} -
        o.safety_margin;
    if (believed <= o.heartbeat_interval) {
        return wrong(
            fmt::format("node_ttl and leader_lease are {} at least: after clock_drift ({}) and safety_margin ({}) "
                        "{} are left of that, must be more than heartbeat_interval ({})",
                        detail::in_words(shorter), o.clock_drift, detail::in_words(o.safety_margin),
                        detail::in_words(believed), detail::in_words(o.heartbeat_interval)));
    }
    if (o.max_schedules_per_node && *o.max_schedules_per_node == unlimited) {
        return wrong(fmt::format("max_schedules_per_node is {}, must be less (leave it out for no limit)", unlimited));
    }
    if (!detail::is_finite(o.rebalance_threshold) || o.rebalance_threshold < 0) {
        return wrong(fmt::format("rebalance_threshold is {}, must be finite and not negative", o.rebalance_threshold));
    }
    if (auto r = detail::check_duration("handoff_deadline", o.handoff_deadline, 0us, 24h * 30); !r) return r;
    if (o.on_conflict != conflict_policy::take_over && o.on_conflict != conflict_policy::refuse) {
        return wrong("on_conflict is neither take_over nor refuse");
    }
    if (o.event_scope != event_scope::own && o.event_scope != event_scope::group) {
        return wrong("event_scope is neither own nor group");
    }
    return {};
}

}  // namespace rota

// ---- rota/policies.hpp ---------------------------------------------------------------------------------------------
// The four policy roles of basic_coordinator and what each must offer. A role is recognised by one name; the whole
// contract is then checked by the static_asserts of coordinator.hpp, one per requirement, each naming what is missing.
//
//   role       recognised by     must offer                                               see
//   transport  perform / submit  open, perform, wait, wake (blocking)                     blocking_transport
//   strategy   make_plan         make_plan(cluster_view const&) const -> plan, or         strategy_policy
//                                make_plan(cluster_view const&, plan& recycled) const
//   clock      now               now() const -> rota::instant, monotonic                  clock_policy
//   sink       (any callable)    operator()(event const&), or of some event types         sink_policy
//
// Policies are held by value; share one with std::ref, or through a handle of its own (memory_transport does).

#include <concepts>

namespace rota {

/// What a transport is told before its first operation.
struct transport_settings {
    std::string key_prefix{};   ///< names the group; not empty, no braces
    std::string client_name{};  ///< shown in the server's list of clients
    microseconds operation_timeout{};
};

/// What a sleeping transport listens for. Cursors, so that nothing between reading and sleeping is missed.
struct subscription {
    fencing_token incarnation = 0;  ///< whose change log; 0: none
    std::uint64_t version = 0;      ///< changes after this wake
    fencing_token epoch = 0;        ///< the group's event log, if follow_group
    std::uint64_t seq = 0;          ///< events after this wake
    bool follow_group = false;

    friend bool operator==(subscription const&, subscription const&) = default;
};

enum class wake_reason : std::uint8_t {
    timeout,  ///< the time is over
    woken,    ///< wake() was called
    pushed,   ///< something was added to what the subscription follows (or may have been: a hint, never the truth)
};

namespace detail {

// Unwraps std::reference_wrapper, so that a policy shared by std::ref is recognised as what it refers to.
template <typename T>
struct unwrapped {
    using type = T;
};
template <typename T>
    requires requires(T t) {
        typename T::type;
        { t.get() } -> std::same_as<typename T::type&>;
        requires std::convertible_to<T, typename T::type&>;
    }
struct unwrapped<T> {
    using type = typename T::type;
};
template <typename T>
using unwrapped_t = typename unwrapped<std::remove_cvref_t<T>>::type;

template <typename T>
constexpr unwrapped_t<T>& unwrap(T& policy) {
    if constexpr (std::same_as<unwrapped_t<T>, T>) {
        return policy;
    } else {
        return policy.get();
    }
}

template <typename T>
constexpr unwrapped_t<T> const& unwrap(T const& policy) {
    if constexpr (std::same_as<unwrapped_t<T>, T>) {
        return policy;
    } else {
        return policy.get();
    }
}

// Recognition by one name, however it is declared (overloaded, wrong signature, not const): an ambiguity trick. A class
// that inherits `T` and a class with the name cannot name it unambiguously if T has it too.
#define ROTA_DETAIL_HAS_NAME(name)                                                                              \
    struct fallback_##name {                                                                                    \
        int name;                                                                                               \
    };                                                                                                          \
    template <typename T>                                                                                       \
    struct probe_##name : T, fallback_##name {};                                                                \
    template <typename T>                                                                                       \
    constexpr bool finds_##name() {                                                                             \
        if constexpr (!std::is_class_v<T>) {                                                                    \
            return false;                                                                                       \
        } else if constexpr (std::is_final_v<T>) { /* cannot be derived from: overloaded names are not found */ \
            return requires { &T::name; };                                                                      \
        } else {                                                                                                \
            return !requires { &probe_##name<T>::name; };                                                       \
        }                                                                                                       \
    }                                                                                                           \
    template <typename T>                                                                                       \
    concept has_##name = finds_##name<T>();
ROTA_DETAIL_HAS_NAME(perform)
ROTA_DETAIL_HAS_NAME(submit)
ROTA_DETAIL_HAS_NAME(make_plan)
ROTA_DETAIL_HAS_NAME(now)
#undef ROTA_DETAIL_HAS_NAME

template <typename T>
concept transport_like = has_perform<unwrapped_t<T>> || has_submit<unwrapped_t<T>>;
template <typename T>
concept strategy_like = has_make_plan<unwrapped_t<T>>;
template <typename T>
concept clock_like = has_now<unwrapped_t<T>>;

template <typename Sink, typename Event>
concept takes = std::invocable<Sink&, Event const&>;

template <typename Sink, typename Variant>
inline constexpr bool takes_some = false;
template <typename Sink, typename... Events>
inline constexpr bool takes_some<Sink, std::variant<Events...>> = (takes<Sink, Events> || ...);

}  // namespace detail

/// Requirements of a blocking transport `t`. Threads: perform and open by one thread at a time; wait by one thread at a
/// time, concurrently with perform; wake by any thread, at any time, never blocking.
///
/// | expression                  | type                | meaning |
/// | t.open(settings)            | result<void>        | remember the settings and check what can be checked without a server; called again by each join |
/// | t.perform(op, timeout)      | result<reply>       | one attempt within `timeout`; on success the reply holds Op::reply. unavailable, timed_out: nothing was done; outcome_unknown: it may have been |
/// | t.wait(sub, timeout)        | wake_reason         | sleep until something new, a wake() since the last wait began, or the timeout |
/// | t.wake()                    | -                   | end the present or the next wait |
/// | t.take_warnings()           | std::vector<error>  | optional: what an operator should know, once each |
/// | t.take_server_changed()     | bool                | optional: another server, or another run of it, answers than before |
/// | t.wake_fd()                 | int                 | optional: a descriptor that polls readable when wait would return at once |
template <typename T>
concept blocking_transport = requires(T t, operation const& request, transport_settings const& settings,
                                      subscription const& sub, microseconds timeout) {
    { t.open(settings) } -> std::same_as<result<void>>;
    { t.perform(request, timeout) } -> std::same_as<result<reply>>;
    { t.wait(sub, timeout) } -> std::same_as<wake_reason>;
    t.wake();
};

/// Requirements of a strategy `s` (const: a pure function of the view; same view, same plan; ends in bounded time;
/// places orphans before it moves anything; keeps capacities; never touches what is `moving`).
template <typename T>
concept strategy_policy = requires(T const s, cluster_view const& view) {
    { s.make_plan(view) } -> std::same_as<plan>;
} || requires(T const s, cluster_view const& view, plan& recycled) { s.make_plan(view, recycled); };

/// Requirements of a clock `c`: now() never goes back, advances at the rate of real time within options::clock_drift,
/// also while the machine is suspended. Any thread may call it.
template <typename T>
concept clock_policy = requires(T const c) {
    { c.now() } -> std::same_as<instant>;
};

/// Requirements of a sink: callable with `event const&`, or with at least one event type; others are skipped. Called by
/// one thread at a time, in order, outside every lock of rota. Only local reads of the coordinator are allowed inside.
/// One that throws terminates the program.
template <typename T>
concept sink_policy = detail::takes<T, event> || detail::takes_some<T, event>;

}  // namespace rota

// ---- rota/queries.hpp ----------------------------------------------------------------------------------------------
// Answers to what a person asks of a group: how loaded its nodes are, and what the leader would move.

namespace rota {

/// How much a live node has to do.
struct node_load {
    node_ref node{};
    std::uint32_t load = 0;     ///< schedules owned
    std::uint32_t pending = 0;  ///< schedules on their way to it
    std::uint32_t capacity = unlimited;
};

struct proposed_move {
    std::string schedule{};
    node_ref from{};  ///< incarnation 0: an orphan
    node_ref to{};
    change_reason reason{};
};

/// What the strategy would do with the group as it is now: a dry run. Nothing is changed, nothing is promised.
struct proposal {
    std::vector<proposed_move> moves{};
    std::uint32_t forced = 0;     ///< orphans placed
    std::uint32_t voluntary = 0;  ///< moves between live nodes
    std::uint32_t bound = 0;      ///< the fewest voluntary moves that reach the strategy's balance
    std::uint32_t unplaced = 0;   ///< orphans for which no node has room
    double spread_before = 0;     ///< fullest less emptiest node
    double spread_after = 0;
};

}  // namespace rota

// ---- rota/clock/boottime_clock.hpp ---------------------------------------------------------------------------------
// The default clock: monotonic, and counting while the machine is suspended (CLOCK_BOOTTIME on Linux), because leases
// on the server go on running then. Elsewhere std::chrono::steady_clock, which may stop in suspend: a node that wakes
// up may then believe in a lease for longer than it has it, so raise options::safety_margin or forbid suspend.

#include <ctime>

namespace rota {

struct boottime_clock {
    [[nodiscard]] instant now() const noexcept {
#ifdef CLOCK_BOOTTIME
        std::timespec t{};
        ::clock_gettime(CLOCK_BOOTTIME, &t);
        return instant{std::chrono::duration_cast<microseconds>(std::chrono::seconds{t.tv_sec} +
                                                                std::chrono::nanoseconds{t.tv_nsec})};
#else
        return instant{std::chrono::duration_cast<microseconds>(std::chrono::steady_clock::now().time_since_epoch())};
#endif
    }
};

}  // namespace rota

// ---- rota/clock/manual_clock.hpp -----------------------------------------------------------------------------------
// A clock that stands still until it is told to advance: for tests that replay a scenario exactly. A handle: copies
// share one time, so a test keeps one and gives another to the coordinator. Any thread may read or advance it.

#include <atomic>
#include <memory>

// ---- rota/detail/late.hpp ------------------------------------------------------------------------------------------
// late<T, Parameter>: T, by a name that means something only once Parameter is known.
//
// Whoever includes rota has its templates parsed, used or not. What a template's body says about types that depend on
// its parameters is put aside until it is instantiated; all else is looked into at once, and std::optional<operation>
// alone makes some 2,500 instantiations. So a template that deals in dear types names them late, and what holds no
// template parameter at all (detail::in_words, validate) is one all the same: `template <typename = void>`.
// tests/bench/compile_time.py watches what this is for.

namespace rota::detail {

template <typename T, typename Parameter>
struct late_type {
    using type = T;
};
template <typename T, typename Parameter>
using late = typename late_type<T, Parameter>::type;

}  // namespace rota::detail

namespace rota {

// (A template for the reason that late.hpp gives.)
template <typename T = void>
class basic_manual_clock {
    using atomic_time = detail::late<std::atomic<microseconds::rep>, T>;

public:
    explicit basic_manual_clock(instant start = instant{std::chrono::hours{1}})
        : now_{std::make_shared<atomic_time>(start.time_since_epoch().count())} {}

    [[nodiscard]] instant now() const noexcept { return instant{microseconds{now_->load()}}; }

    /// Moves time on. Throws std::logic_error for a negative step: node clocks never go back.
    void advance(microseconds by) const {
        if (by < microseconds{}) throw std::logic_error("rota::manual_clock: time never goes back");
        now_->fetch_add(by.count());
    }

private:
    std::shared_ptr<atomic_time> now_;
};

using manual_clock = basic_manual_clock<>;

}  // namespace rota

// ---- rota/sink/callback_sink.hpp -----------------------------------------------------------------------------------
// A sink of functions, for programs that care about a few events:
//
//   callback_sink{[](node_joined const& e) { ... }, [](ownership_changed const& e) { ... }}
//
// An event that no function takes is skipped. A function that takes `event const&` (also as `auto const&`: it then gets
// the variant) is for the rest: it gets the events that no function for their own type has taken.

#include <tuple>

// ---- rota/detail/deliver.hpp ---------------------------------------------------------------------------------------
// How one event gets to one sink, whatever the sink takes: the one place that knows. Used by the coordinator and by
// the sinks that hold other sinks or functions.

namespace rota::detail {

template <typename Event, typename Sink, typename Variant>
constexpr bool deliver_if_taken(Sink& sink, Variant const& e) noexcept {
    if constexpr (takes<Sink, Event>) {
        if (auto const* held = std::get_if<Event>(&e)) {
            static_cast<void>(sink(*held));
            return true;
        }
    }
    return false;
}

template <typename Variant>
struct alternatives_of;
template <typename... Events>
struct alternatives_of<std::variant<Events...>> {
    template <typename Sink>
    static constexpr bool deliver(Sink& sink, std::variant<Events...> const& e) noexcept {
        return (deliver_if_taken<Events>(sink, e) || ...);
    }
};

/// Gives `e` to `sink` (or to what a std::reference_wrapper refers to): as a whole if it takes `event const&`, else the
/// type that it holds, if the sink takes that. Returns whether it was taken. noexcept: a sink that throws terminates.
template <typename Sink>
constexpr bool deliver(Sink& sink, event const& e) noexcept {
    auto& target = unwrap(sink);
    using target_type = std::remove_reference_t<decltype(target)>;
    static_assert(sink_policy<target_type>, "rota: a sink must take rota::event const&, or some of the event types");
    if constexpr (takes<target_type, event>) {
        static_cast<void>(target(e));
        return true;
    } else {
        return alternatives_of<event>::deliver(target, e);
    }
}

}  // namespace rota::detail

namespace rota {

/// Holds the functions by value (share one by std::ref). Several for one type are called in order.
template <typename... Functions>
class callback_sink {
    static_assert(sizeof...(Functions) > 0, "rota::callback_sink: needs a function; null_sink drops all events");
    static_assert((sink_policy<detail::unwrapped_t<Functions>> && ...),
                  "rota::callback_sink: each function must take rota::event const&, or some of the event types");

public:
    constexpr explicit callback_sink(Functions... functions) : functions_{std::move(functions)...} {}

    constexpr void operator()(event const& e) {
        std::apply([&](Functions&... f) { call(e, f...); }, functions_);
    }

private:
    template <typename Function>
    static constexpr bool for_the_rest = detail::takes<detail::unwrapped_t<Function>, event>;

    static constexpr void call(event const& e, Functions&... functions) {
        bool taken = false;
        auto offer = [&](auto& f, bool due) {
            if (due && detail::deliver(f, e)) taken = true;
        };
        (offer(functions, !for_the_rest<Functions>), ...);
        if (!taken) (offer(functions, for_the_rest<Functions>), ...);
    }

    [[no_unique_address]] std::tuple<Functions...> functions_;
};

}  // namespace rota

// ---- rota/sink/log_sink.hpp ----------------------------------------------------------------------------------------
// Writes each event as one line of text for people (describe.hpp): to stderr, another C stream, or a function of the
// user's, such as the logger of the program. Adds no time and no level: a logger knows better. A line that cannot be
// written is dropped: coordination does not end for the lack of a log.

#include <cstdio>

// ---- rota/sink/describe.hpp ----------------------------------------------------------------------------------------
// The words for an event: one line of text for people, as log_sink writes it, recording_sink compares it and the
// examples print it. The same event always has the same words. They are no format to parse: take the event for that.

namespace rota {

/// The fixed words for a reason, e.g. "given up".
[[nodiscard]] constexpr std::string_view to_string(change_reason reason) noexcept {
    switch (reason) {
        case change_reason::claimed: return "claimed";
        case change_reason::placed: return "placed";
        case change_reason::rebalanced: return "rebalanced";
        case change_reason::transferred: return "transferred";
        case change_reason::unregistered: return "unregistered";
        case change_reason::given_up: return "given up";
        case change_reason::lost: return "lost";
        case change_reason::resynced: return "resynced";
    }
    return "unknown reason";
}

/// The fixed words for a change of membership, e.g. "died".
[[nodiscard]] constexpr std::string_view to_string(membership_change change) noexcept {
    switch (change) {
        case membership_change::joined: return "joined";
        case membership_change::left: return "left";
        case membership_change::died: return "died";
        case membership_change::superseded: return "superseded";
    }
    return "unknown change";
}

// Templates although nothing varies, here and in the sinks that use it: as in options.hpp, a program that does not ask
// for words does not pay for compiling them.
namespace detail {

// Makes text safe to print as one line, whoever wrote it: control characters become ?. In UTF-8 those of 0x80..0x9f
// are C2 80 .. C2 9F; some terminals act on them too.
template <typename = void>
[[nodiscard]] std::string one_line(std::string text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto const byte = static_cast<unsigned char>(text[i]);
        if (byte < 0x20 || byte == 0x7f) text[i] = '?';
        if (byte != 0xc2 || i + 1 == text.size()) continue;
        auto const next = static_cast<unsigned char>(text[i + 1]);
        if (next >= 0x80 && next <= 0x9f) text.replace(i, 2, "?");
    }
    return text;
}

template <typename = void>
[[nodiscard]] std::string in_words(node_ref const& node) {
    if (node.incarnation == 0) return node.id.empty() ? "nobody" : in_words(node.id);
    auto const incarnation = fmt::format("incarnation {}", node.incarnation);
    return node.id.empty() ? incarnation : in_words(node.id) + " (" + incarnation + ')';
}

// One for each event type; describe() does not compile without.

template <typename = void>
[[nodiscard]] std::string words_for(node_joined const& e) {
    return fmt::format("{} joined, epoch {}", in_words(e.node), e.epoch);
}

template <typename = void>
[[nodiscard]] std::string words_for(node_left const& e) {
    return in_words(e.node) + " left";
}

template <typename = void>
[[nodiscard]] std::string words_for(node_suspended const& e) {
    return in_words(e.node) + " is suspended: " + e.why.message();
}

template <typename = void>
[[nodiscard]] std::string words_for(node_resumed const& e) {
    return in_words(e.node) + " resumed";
}

template <typename = void>
[[nodiscard]] std::string words_for(node_lost const& e) {
    return in_words(e.node) + " lost its membership" + (e.data_lost ? ": the server lost data" : "");
}

template <typename = void>
[[nodiscard]] std::string words_for(node_fenced const& e) {
    return in_words(e.node) + " is fenced: a newer process took its id";
}

template <typename = void>
[[nodiscard]] std::string words_for(ownership_changed const& e) {
    auto text = "schedule " + in_words(e.schedule) + " went from " + in_words(e.from) + " to " + in_words(e.to) + ": ";
    text += to_string(e.reason);
    if (e.generation != 0) text += fmt::format(", generation {}", e.generation);
    return text;
}

template <typename = void>
[[nodiscard]] std::string words_for(handoff_requested const& e) {
    auto text = "schedule " + in_words(e.schedule) + " is to go to " + in_words(node_ref{{}, e.to}) + " within " +
                in_words(e.within) + ": ";
    text += to_string(e.reason);
    return text;
}

template <typename = void>
[[nodiscard]] std::string words_for(leadership_changed const& e) {
    auto text = in_words(e.leader) + " leads";
    if (e.term != 0) text += fmt::format(", term {}", e.term);
    return text + ", after " + in_words(e.previous);
}

template <typename = void>
[[nodiscard]] std::string words_for(membership_changed const& e) {
    auto text = "member " + in_words(e.subject) + ' ';
    text += e.change == membership_change::superseded ? "was superseded" : to_string(e.change);
    return text;
}

template <typename = void>
[[nodiscard]] std::string words_for(schedule_changed const& e) {
    return "schedule " + in_words(e.schedule) + (e.registered ? " was registered" : " was unregistered");
}

template <typename = void>
[[nodiscard]] std::string words_for(events_gap const&) {
    return "some events could not be had; the differences follow";
}

template <typename = void>
[[nodiscard]] std::string words_for(plan_refused const& e) {
    return "plan refused: " + e.why;
}

template <typename = void>
[[nodiscard]] std::string words_for(warning const& e) {
    return "warning: " + e.what.message();
}

}  // namespace detail

/// `e` in words: one line, without its end. Ids are quoted, and cut if long; control characters are shown as ?.
template <typename = void>
[[nodiscard]] std::string describe(event const& e) {
    return detail::one_line(std::visit([](auto const& held) { return detail::words_for(held); }, e));
}

}  // namespace rota

namespace rota {

/// Copies share the stream, or the function.
class log_sink {
public:
    /// Writes lines to `to`, each "<prefix>: <words>", or the words alone. Each is one fwrite, so that lines of several
    /// threads do not mix; when it is flushed is up to the stream. `to` must outlive the sink; null: std::logic_error.
    explicit log_sink(std::FILE* to = stderr, std::string prefix = {})
        : file_{to},
          prefix_{as_prefix(std::move(prefix))} {
        if (to == nullptr) throw std::logic_error("rota::log_sink: no stream to write to");
    }

    /// Calls `write` with each line, without its end. As with any sink: one call at a time, and it must not throw.
    template <typename Write>
        requires std::invocable<std::decay_t<Write>&, std::string_view>
    explicit log_sink(Write&& write, std::string prefix = {})
        : writer_{std::make_shared<function_writer<std::decay_t<Write>>>(std::forward<Write>(write))},
          prefix_{as_prefix(std::move(prefix))} {}

    template <typename T = void>
    void operator()(detail::late<event, T> const& e) const {
        auto line = prefix_ + describe(e);
        if (writer_) {
            writer_->write(line);
        } else {
            line += '\n';
            static_cast<void>(std::fwrite(line.data(), 1, line.size(), file_));
        }
    }

private:
    struct writer {
        virtual void write(std::string_view line) = 0;

    protected:
        ~writer() = default;
    };

    template <typename Write>
    struct function_writer final : writer {
        explicit function_writer(Write function) : function_{std::move(function)} {}
        void write(std::string_view line) override { static_cast<void>(function_(line)); }
        Write function_;
    };

    static std::string as_prefix(std::string prefix) {
        return prefix.empty() ? prefix : detail::one_line(std::move(prefix)) + ": ";
    }

    std::FILE* file_ = nullptr;
    std::shared_ptr<writer> writer_{};
    std::string prefix_;
};

}  // namespace rota

// ---- rota/sink/null_sink.hpp ---------------------------------------------------------------------------------------
// The sink of those who want no events: takes each and drops it. The default; takes no space.

namespace rota {

struct null_sink {
    constexpr void operator()(event const&) const noexcept {}
};

}  // namespace rota

// ---- rota/sink/recording_sink.hpp ----------------------------------------------------------------------------------
// Keeps every event, for tests and for looking back. A handle: copies share one record, so a test keeps one and gives
// another to the coordinator. Any thread may call it. The record grows without bound: take() empties it.

#include <cstddef>
#include <mutex>

namespace rota {

// (A template for the reason that late.hpp gives.)
template <typename T = void>
class basic_recording_sink {
    using event = detail::late<rota::event, T>;

public:
    void operator()(event const& e) const {
        std::lock_guard const lock{record_->mutex};
        record_->events.push_back(e);
    }

    /// All events so far, oldest first.
    [[nodiscard]] std::vector<event> events() const {
        std::lock_guard const lock{record_->mutex};
        return record_->events;
    }

    /// As events(), and forgets them.
    [[nodiscard]] std::vector<event> take() const {
        std::lock_guard const lock{record_->mutex};
        return std::exchange(record_->events, {});
    }

    /// How many events of type `Event` there are.
    template <typename Event>
    [[nodiscard]] std::size_t count() const {
        std::lock_guard const lock{record_->mutex};
        std::size_t found = 0;
        for (auto const& e : record_->events) found += std::holds_alternative<Event>(e) ? 1 : 0;
        return found;
    }

    /// The events in words, a line each: equal runs of a scenario have equal text, byte for byte.
    [[nodiscard]] std::string text() const {
        std::string lines;
        for (auto const& e : events()) lines += describe(e) + '\n';
        return lines;
    }

private:
    struct record {
        std::mutex mutex{};
        std::vector<event> events{};
    };
    std::shared_ptr<record> record_ = std::make_shared<record>();
};

using recording_sink = basic_recording_sink<>;

}  // namespace rota

// ---- rota/sink/sinks.hpp -------------------------------------------------------------------------------------------
// Several sinks as one: `sinks{log_sink{}, std::ref(mine)}`. Each gets every event that it takes, one after the other in
// the order given. Held by value; share one by std::ref, or through a handle of its own (recording_sink is one).

namespace rota {

template <typename... Sinks>
class sinks {
    static_assert((sink_policy<detail::unwrapped_t<Sinks>> && ...),
                  "rota::sinks: each must take rota::event const&, or some of the event types");

public:
    constexpr explicit sinks(Sinks... all) : all_{std::move(all)...} {}

    constexpr void operator()(event const& e) {
        std::apply([&](Sinks&... sink) { (detail::deliver(sink, e), ...); }, all_);
    }

private:
    [[no_unique_address]] std::tuple<Sinks...> all_;
};

}  // namespace rota

// ---- rota/strategy/least_moves.hpp ---------------------------------------------------------------------------------
// The default strategy: the most even loads that the capacities allow, by the fewest moves. Every schedule counts as
// one, whatever its weight; shares in proportion to capacity are another strategy's business.
//
// The plan is greedy: place each orphan on the emptiest node with room; bring nodes that hold more than they may down
// to their capacity; then move from the fullest to the emptiest with room while they differ by more than one. For
// convex costs (here: first what is held over capacity, then the sum of squared loads) greedy steps are optimal, and
// so is every prefix of them (marginal analysis, B. Fox 1966). A round that is cut short loses nothing.
//
// Not promised: which schedules of a node move (the first that may); evenness that `moving` schedules stand against.

// ---- rota/detail/assert.hpp ----------------------------------------------------------------------------------------
// ROTA_ASSERT states an invariant of rota's own where it must hold. Off unless a program defines it for all of its
// translation units (rota's tests do); never assert(), whose meaning differs per unit and would break the
// one-definition rule in headers. A caller's broken precondition throws std::logic_error instead.

#ifndef ROTA_ASSERT
#define ROTA_ASSERT(condition) static_cast<void>(0)
#endif

// ---- rota/strategy/balance.hpp -------------------------------------------------------------------------------------
// What an even load is, for strategies that balance by count: the target band of each node, the least number of moves
// that reaches it, and how far from it the group is. Formulas only (DESIGN: "what best means"): nothing here builds a
// plan, so that a plan can be checked against it.
//
// Each takes O(nodes x bits of a load), no memory, and never looks at a schedule; the number of orphans is enough.

namespace rota {

/// Where the loads of a view should end: each node between lower and upper of its capacity. With room for all, these
/// are exactly the most even distributions that keep the capacities.
struct balance_target {
    std::uint64_t level = 0;     ///< the water level: what every node with enough capacity holds at least
    bool exact = true;           ///< the total comes out even at `level`; otherwise some nodes hold one more
    bool overcommitted = false;  ///< more schedules than capacity: all capacity is used, the excess stays where it is

    [[nodiscard]] std::uint64_t lower(std::uint32_t capacity) const noexcept {
        return capacity < level ? capacity : level;
    }
    [[nodiscard]] std::uint64_t upper(std::uint32_t capacity) const noexcept {
        auto const most = exact ? level : level + 1;
        return capacity < most ? capacity : most;
    }
};

namespace detail {

// The largest level in [low, high) whose volume is within the limit; volume(low) is, volume(high) is not.
template <typename Volume>
std::uint64_t highest_level(std::uint64_t low, std::uint64_t high, std::uint64_t limit, Volume const& volume) {
    while (high - low > 1) {
        auto const middle = low + (high - low) / 2;
        (volume(middle) <= limit ? low : high) = middle;
    }
    return low;
}

struct load_totals {
    std::uint64_t load = 0;
    std::uint64_t capacity = 0;
    std::uint64_t room = 0;  // places that are free: of nodes below their capacity only
    std::uint32_t largest_capacity = 0;
};

inline load_totals totals_of(cluster_view const& view) {
    load_totals sum;
    for (auto const& node : view.nodes) {
        sum.load += node.load;
        sum.capacity += node.capacity;
        if (node.load < node.capacity) sum.room += node.capacity - node.load;
        if (node.capacity > sum.largest_capacity) sum.largest_capacity = node.capacity;
    }
    return sum;
}

inline balance_target target_of(cluster_view const& view, load_totals const& sum) {
    auto const wanted = sum.load + view.orphans.size();
    if (wanted >= sum.capacity) return {sum.largest_capacity, true, wanted > sum.capacity};

    auto const volume = [&](std::uint64_t level) {
        std::uint64_t held = 0;
        for (auto const& node : view.nodes) held += node.capacity < level ? node.capacity : level;
        return held;
    };
    // With capacities that hardly limit, the level is the mean: two passes.
    auto level = wanted / view.nodes.size();
    if (volume(level + 1) <= wanted) {
        level = highest_level(level + 1, sum.largest_capacity, wanted, volume);
    }
    return {level, volume(level) == wanted, false};
}

inline std::uint32_t moves_to(balance_target const& target, cluster_view const& view) {
    std::uint64_t surplus = 0;
    std::uint64_t shortage = 0;
    for (auto const& node : view.nodes) {
        auto const lower = target.lower(node.capacity);
        auto const upper = target.upper(node.capacity);
        if (node.load > upper) surplus += node.load - upper;
        if (node.load < lower) shortage += lower - node.load;
    }
    auto const unowned = view.orphans.size();
    auto const moved_in = shortage > unowned ? shortage - unowned : 0;
    // Over capacity, only what the orphans leave free can be moved into; the rest of the surplus has to stay.
    if (target.overcommitted) return static_cast<std::uint32_t>(moved_in);
    return static_cast<std::uint32_t>(surplus > moved_in ? surplus : moved_in);
}

}  // namespace detail

/// The band that the loads of `view` should end in, orphans included.
[[nodiscard]] inline balance_target balance_target_of(cluster_view const& view) {
    return detail::target_of(view, detail::totals_of(view));
}

/// V*: the fewest moves between live nodes after which every load is within its target band, orphans being placed
/// where they serve best. Where the total exceeds all capacity: the fewest after which no capacity is left unused.
/// Counts schedules that are `moving` as if they could be moved again.
[[nodiscard]] inline std::uint32_t least_moves_bound(cluster_view const& view) {
    return detail::moves_to(balance_target_of(view), view);
}

/// How uneven the group will be once its orphans are placed as least_moves places them: the largest distance of a
/// node from its target band, as a fraction of the mean load. 0 exactly if least_moves_bound is 0. This is what
/// options::rebalance_threshold is compared with. A load above the node's capacity is a distance like any other.
[[nodiscard]] inline double imbalance(cluster_view const& view) {
    auto const sum = detail::totals_of(view);
    auto const target = detail::target_of(view, sum);
    if (detail::moves_to(target, view) == 0) return 0;

    // Orphans fill the emptiest nodes up to `filled`; the rest go, one each, to the first nodes at that level.
    auto const unowned = std::uint64_t{view.orphans.size()};
    auto const placed = unowned < sum.room ? unowned : sum.room;
    auto const volume = [&](std::uint64_t level) {
        std::uint64_t poured = 0;
        for (auto const& node : view.nodes) {
            auto const top = node.capacity < level ? node.capacity : level;
            if (node.load < top) poured += top - node.load;
        }
        return poured;
    };
    std::uint64_t filled = 0;
    std::uint64_t rest = 0;
    if (placed == sum.room) {
        filled = sum.largest_capacity;
    } else if (placed > 0) {
        filled = detail::highest_level(0, sum.largest_capacity, placed, volume);
        rest = placed - volume(filled);
    }

    std::uint64_t farthest = 0;
    for (auto const& node : view.nodes) {
        auto const top = node.capacity < filled ? node.capacity : filled;
        auto load = node.load < top ? top : std::uint64_t{node.load};
        if (rest > 0 && load == filled && load < node.capacity) ++load, --rest;
        auto const lower = target.lower(node.capacity);
        auto const upper = target.upper(node.capacity);
        auto const distance = load > upper ? load - upper : load < lower ? lower - load : 0;
        if (distance > farthest) farthest = distance;
    }
    auto const mean = static_cast<double>(sum.load + placed) / static_cast<double>(view.nodes.size());
    return static_cast<double>(farthest) / mean;
}

}  // namespace rota

namespace rota {

/// Stateless; any thread may use it. Whatever the number of schedules, time is O(nodes x bits of a load + steps of
/// the plan + `moving` schedules passed over); memory beyond the plan's own is O(nodes), none if nothing is to do.
///
/// The certificate: `bound` is V* (least_moves_bound) and `voluntary` equals it, unless a node that should give holds
/// nothing but schedules that are `moving`. It then gives none, the others are evened out as far as that allows, and
/// `voluntary` may be below `bound`, never above. A plan made once those have arrived finishes the work.
///
/// Nobody takes more than its capacity. Orphans without a place are `unplaced`, the last ones of view.orphans; what
/// is held over capacity and has no other place stays. A balanced view gives an empty plan. Among equals the node
/// with the lower index comes first, so the same view gives the same plan.
struct least_moves {
    template <typename T = void>  // see late.hpp
    void make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const;
};

namespace detail {

// Raises the lowest of its members by one, again and again; among equals, the one with the lowest node index. A
// member leaves at its limit. Members at the lowest level form a round, which is walked in order, so a step costs
// O(1) and no heap is needed. Lowering the highest is the same walk over loads counted downwards.
template <typename T>
class level_walk {
public:
    struct place {
        std::uint32_t node;
        std::uint32_t member;
    };

    // A span would do, but its iterators are slow to compile.
    struct places {
        place const* first;
        place const* last;
        [[nodiscard]] place const* begin() const noexcept { return first; }
        [[nodiscard]] place const* end() const noexcept { return last; }
    };

    explicit level_walk(std::size_t most_members) { members_.reserve(most_members); }

    /// Members are added in order of their nodes, all before the first step; `from` < `limit`.
    void add(std::uint32_t node, std::uint32_t from, std::uint32_t limit) {
        if (!members_.empty()) sorted_ = sorted_ && members_.back().value <= from;
        members_.push_back({node, from, from, limit});
    }

    /// Is there a member to raise? Then `level` is its value.
    [[nodiscard]] bool more() {
        if (position_ == round_.size()) next_round();
        return position_ < round_.size();
    }

    [[nodiscard]] std::uint32_t level() const noexcept { return level_; }

    /// The next members to be raised, all at the present level, at most `count`. Only after more().
    [[nodiscard]] places take(std::size_t count) {
        auto const left = round_.size() - position_;
        auto const* first = round_.data() + position_;
        auto const taken = count < left ? count : left;
        position_ += taken;
        return {first, first + taken};
    }

    [[nodiscard]] std::uint32_t take_one() { return round_[position_++].node; }

    /// The member taken last could not be raised after all, and never can.
    void drop() {
        members_[round_[position_ - 1].member].limit = level_;
        nearest_limit_ = level_;
    }

    /// Calls change(node, steps) for each member that has taken part.
    template <typename Change>
    void each_change(Change const& change) {
        for (std::size_t i = 0; i < round_.size(); ++i) {
            auto& member = members_[round_[i].member];
            auto const value = i < position_ ? level_ + 1 : level_;
            member.value = value < member.limit ? value : member.limit;
        }
        for (std::size_t i = 0; i < joined_; ++i) {
            change(members_[i].node, members_[i].value - members_[i].from);
        }
    }

private:
    struct walker {
        std::uint32_t node;
        std::uint32_t from;
        std::uint32_t value;  // while in a round, level_ stands for it
        std::uint32_t limit;
    };

    void next_round() {
        if (!sorted_) sort();
        if (!round_.empty()) ++level_;
        bool const leaving = !round_.empty() && nearest_limit_ <= level_;
        bool const joining = joined_ < members_.size() && (round_.empty() || members_[joined_].value == level_);
        position_ = 0;
        if (!leaving && !joining) return;

        if (leaving) leave();
        if (joined_ < members_.size() && round_.empty()) level_ = members_[joined_].value;
        join();
    }

    void leave() {
        std::size_t kept = 0;
        nearest_limit_ = unlimited;
        for (auto const at : round_) {
            auto& member = members_[at.member];
            if (member.limit <= level_) {
                member.value = member.limit;
            } else {
                round_[kept++] = at;
                if (member.limit < nearest_limit_) nearest_limit_ = member.limit;
            }
        }
        round_.resize(kept);
    }

    // Merges the members at the present level into the round, by node index.
    void join() {
        merged_.clear();
        merged_.reserve(members_.size());
        std::size_t old = 0;
        for (; joined_ < members_.size() && members_[joined_].value == level_; ++joined_) {
            auto const& member = members_[joined_];
            while (old < round_.size() && round_[old].node < member.node) merged_.push_back(round_[old++]);
            merged_.push_back({member.node, static_cast<std::uint32_t>(joined_)});
            if (member.limit < nearest_limit_) nearest_limit_ = member.limit;
        }
        while (old < round_.size()) merged_.push_back(round_[old++]);
        round_.swap(merged_);
    }

    // By value; stable, so that equals stay in order of their nodes. A radix sort: O(members), and no <algorithm>.
    void sort() {
        std::uint32_t differing = 0;
        for (auto const& member : members_) differing |= member.value ^ members_.front().value;
        std::vector<walker> spare(members_.size());
        for (unsigned shift = 0; shift < 32; shift += 8) {
            if ((differing >> shift & 0xff) == 0) continue;
            std::uint32_t start[257] = {};
            for (auto const& member : members_) ++start[(member.value >> shift & 0xff) + 1];
            for (unsigned digit = 0; digit < 256; ++digit) start[digit + 1] += start[digit];
            for (auto const& member : members_) spare[start[member.value >> shift & 0xff]++] = member;
            members_.swap(spare);
        }
        sorted_ = true;
    }

    std::vector<walker> members_;  // by value; those before joined_ have been in a round
    std::vector<place> round_;     // members at level_, by node; those before position_ have been raised
    std::vector<place> merged_;
    std::size_t joined_ = 0;
    std::size_t position_ = 0;
    std::uint32_t level_ = 0;
    std::uint32_t nearest_limit_ = unlimited;
    bool sorted_ = true;
};

struct load_extremes {
    std::uint32_t fullest = 0;
    std::uint32_t emptiest = unlimited;
    std::uint32_t emptiest_with_room = unlimited;
    bool over_capacity = false;
};

template <typename View>
load_extremes extremes_of(View const& view) {
    load_extremes found;
    for (auto const& node : view.nodes) {
        if (node.load > found.fullest) found.fullest = node.load;
        if (node.load < found.emptiest) found.emptiest = node.load;
        if (node.load > node.capacity) found.over_capacity = true;
        if (node.load < node.capacity && node.load < found.emptiest_with_room) found.emptiest_with_room = node.load;
    }
    return found;
}

// One run of least_moves: the receivers, and what each node still holds that may be moved.
template <typename T>
class least_moves_run {
    using cluster_view = late<rota::cluster_view, T>;
    using plan = late<rota::plan, T>;

public:
    least_moves_run(cluster_view const& view, plan& into) : view_{view}, plan_{into}, receivers_{view.nodes.size()} {
        loads_.reserve(view.nodes.size());
        for (std::uint32_t i = 0; i < view.nodes.size(); ++i) {
            auto const& node = view.nodes[i];
            loads_.push_back(node.load);
            if (node.load >= node.capacity) continue;
            receivers_.add(i, node.load, node.capacity);
            room_ += node.capacity - node.load;
        }
    }

    // Writes over what the recycled plan holds: a million push_backs take up to three times as long.
    void place_orphans() {
        auto const& orphans = view_.orphans;
        auto const count = orphans.size() < room_ ? orphans.size() : static_cast<std::size_t>(room_);
        auto& moves = plan_.moves;
        moves.resize(count);
        for (std::size_t placed = 0; placed < count && receivers_.more();) {
            for (auto const target : receivers_.take(count - placed)) {
                moves[placed] = {orphans[placed], cluster_view::none, target.node};
                ++placed;
            }
        }
        plan_.forced = static_cast<std::uint32_t>(count);
        plan_.unplaced = static_cast<std::uint32_t>(orphans.size() - count);
    }

    /// What a node holds over its capacity goes to whoever has room, even if that one is no emptier.
    void keep_capacities() {
        level_walk<T> givers{loads_.size()};
        for (std::uint32_t i = 0; i < loads_.size(); ++i) {
            auto const capacity = view_.nodes[i].capacity;
            if (loads_[i] > capacity) givers.add(i, ~loads_[i], ~capacity);
        }
        hand_over(givers, [](std::uint32_t, std::uint32_t) { return true; });
    }

    void even_out() {
        if (!receivers_.more()) return;
        level_walk<T> givers{loads_.size()};
        for (std::uint32_t i = 0; i < loads_.size(); ++i) {
            if (differ(loads_[i], receivers_.level())) givers.add(i, ~loads_[i], ~std::uint32_t{0});
        }
        hand_over(givers, differ);
    }

    [[nodiscard]] double spread_after() {
        receivers_.each_change([&](std::uint32_t node, std::uint32_t taken) { loads_[node] += taken; });
        auto fullest = loads_.front();
        auto emptiest = loads_.front();
        for (auto const load : loads_) {
            if (load > fullest) fullest = load;
            if (load < emptiest) emptiest = load;
        }
        return fullest - emptiest;
    }

private:
    static bool differ(std::uint32_t giver, std::uint32_t receiver) noexcept {
        return giver > receiver && giver - receiver > 1;
    }

    template <typename Worthwhile>
    void hand_over(level_walk<T>& givers, Worthwhile const& worthwhile) {
        while (givers.more() && receivers_.more() && worthwhile(~givers.level(), receivers_.level())) {
            auto const from = givers.take_one();
            auto const schedule = next_movable(from);
            if (schedule == cluster_view::none) {
                givers.drop();
            } else {
                plan_.moves.push_back({schedule, from, receivers_.take_one()});
            }
        }
        givers.each_change([&](std::uint32_t node, std::uint32_t given) { loads_[node] -= given; });
    }

    std::uint32_t next_movable(std::uint32_t node) {
        if (passed_.empty()) passed_.resize(loads_.size());
        auto const held = view_.nodes[node].schedules;
        for (auto& at = passed_[node]; at < held.size();) {
            auto const schedule = held[at++];
            if (!view_.schedules[schedule].moving) return schedule;
        }
        return cluster_view::none;
    }

    cluster_view const& view_;
    plan& plan_;
    level_walk<T> receivers_;
    std::uint64_t room_ = 0;  // of all receivers, before the first step
    std::vector<late<std::uint32_t, T>>
        loads_;  // what was given is taken off at once, what was received is added at the end
    std::vector<late<std::uint32_t, T>> passed_;  // per node, how many of its schedules were looked at
};

}  // namespace detail

template <typename T>
void least_moves::make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const {
    auto const found = detail::extremes_of(view);
    bool const any_room = found.emptiest_with_room != unlimited;
    bool const uneven = found.over_capacity || (any_room && found.fullest - found.emptiest_with_room > 1);
    if (!any_room || (view.orphans.empty() && !uneven)) {
        into.clear();
        into.unplaced = static_cast<std::uint32_t>(view.orphans.size());
        into.spread_before = into.spread_after = view.nodes.empty() ? 0 : found.fullest - found.emptiest;
        return;
    }

    detail::least_moves_run<T> run{view, into};
    run.place_orphans();
    if (found.over_capacity) run.keep_capacities();
    run.even_out();
    into.voluntary = static_cast<std::uint32_t>(into.moves.size()) - into.forced;
    into.bound = least_moves_bound(view);
    into.spread_before = found.fullest - found.emptiest;
    into.spread_after = run.spread_after();
    ROTA_ASSERT(into.voluntary <= into.bound);
}

}  // namespace rota

// ---- rota/coordinator.hpp ------------------------------------------------------------------------------------------
// basic_coordinator<Policies...>: a node of a group. The one type that user code holds.
//
//   rota::basic_coordinator node{{.node_id = "node-1"}, rota::memory_transport{store}};
//   std::jthread heart{[&](std::stop_token stop) { (void)node.run(stop); }};
//   for (auto& s : node.owned())
//       if (auto lock = node.try_lock(s.id, 5s)) process(s.id, lock->token());
//   node.leave();
//
// Policies come in any order; each role is recognised by one name (policies.hpp). The transport is never defaulted; the
// strategy is least_moves, the clock boottime_clock and the sink null_sink unless given.

#include <initializer_list>
#include <stop_token>

// ---- rota/detail/blocking_engine.hpp -------------------------------------------------------------------------------
// Runs the algorithm of node_core over a blocking transport, for any number of calling threads. It owns the mutex that
// guards core and command connection, the queue of events, and the sleep of run(). Policies reach it through `ports`, so
// it is compiled once whatever they are; and only where it is used, being a template.
//
// Lock order: sleep_, io_, queue_mutex_. None is held while a sink runs; while run() sleeps, only sleep_ is.

#include <condition_variable>
#include <set>
#include <thread>

// ---- rota/schedule_lock.hpp ----------------------------------------------------------------------------------------
// schedule_lock: the exclusive right to process one schedule (or to use one name) for a while, and its fencing token.
//
// valid() is a promise about this instant only: nothing stops a thread between a check and its effect. Work in steps,
// check between them, extend() well before remaining() runs out, and pass token() along with every effect, so that the
// resource can reject whoever comes late.

// ---- rota/detail/life.hpp ------------------------------------------------------------------------------------------
// The part of a node's belief that lock handles share: under which incarnation it counts as alive, and until when.
// Written by the machine in step with the server's replies (belief.hpp), read by any thread without waiting. May outlive
// the coordinator: then the incarnation is 0 for good.

namespace rota::detail {

/// A point in time that threads may read while another moves it.
class atomic_instant {
public:
    [[nodiscard]] instant load() const noexcept { return instant{microseconds{value_.load()}}; }
    void store(instant t) noexcept { value_.store(t.time_since_epoch().count()); }

private:
    std::atomic<microseconds::rep> value_{instant::min().time_since_epoch().count()};
};

class life {
public:
    virtual ~life() = default;

    /// The node's clock, at hand for whoever shares the belief.
    [[nodiscard]] virtual instant now() const = 0;

    // ------------------------------------------------ read by any thread

    [[nodiscard]] fencing_token incarnation() const noexcept { return incarnation_.load(); }

    /// Counts as alive, under that incarnation.
    [[nodiscard]] bool alive(fencing_token incarnation, instant now) const noexcept {
        return incarnation != 0 && incarnation_.load() == incarnation && now < alive_until_.load();
    }
    [[nodiscard]] instant alive_until() const noexcept { return alive_until_.load(); }

    // ------------------------------------------------ written by the machine alone (one thread at a time)

    void become(fencing_token incarnation, instant until) {
        alive_until_.store(until);
        incarnation_.store(incarnation);
    }
    void extend_life(instant until) {
        if (until > alive_until_.load()) alive_until_.store(until);
    }

protected:
    void end_life() { incarnation_.store(0); }

private:
    std::atomic<fencing_token> incarnation_{0};
    atomic_instant alive_until_;
};

}  // namespace rota::detail

namespace rota {

namespace detail {

/// What a handle needs of its coordinator.
class lock_host {
public:
    struct target {
        op::lock_kind kind{};
        std::string name{};
        fencing_token token = 0;
        fencing_token incarnation = 0;
    };
    /// Until when it may be believed in now.
    virtual result<instant> extend_lock(target const&, microseconds ttl) = 0;
    virtual result<void> release_lock(target const&) = 0;

protected:
    ~lock_host() = default;
};

/// The way from handles to their coordinator, which may be gone: then use() says so, and close() waits for those inside.
class lock_link {
public:
    lock_link(lock_host& host, std::shared_ptr<life const> shared) : host_{&host}, life_{std::move(shared)} {}

    template <typename Use>
    auto use(Use&& call) -> decltype(call(std::declval<lock_host&>())) {
        lock_host* host = nullptr;
        {
            std::lock_guard const lock{mutex_};
            host = host_;
            if (host) ++users_;
        }
        if (!host) return errc::lock_lost;
        struct no_longer_inside {
            lock_link& link;
            ~no_longer_inside() {
                std::lock_guard const lock{link.mutex_};
                if (--link.users_ == 0) link.unused_.notify_all();
            }
        } const guard{*this};
        return call(*host);
    }

    void close() {
        std::unique_lock lock{mutex_};
        host_ = nullptr;
        unused_.wait(lock, [this] { return users_ == 0; });
    }

    [[nodiscard]] life const& node_life() const { return *life_; }

private:
    std::mutex mutex_;
    std::condition_variable unused_;
    lock_host* host_;
    unsigned users_ = 0;
    std::shared_ptr<life const> life_;
};

}  // namespace detail

/// A held lock. Move-only; releases itself when destroyed (one bounded request, errors are swallowed: the lock then ends
/// with its ttl). May outlive its coordinator, and is invalid then. token, valid and remaining: any thread; extend,
/// release and moving: one thread at a time.
class schedule_lock {
public:
    /// Holds nothing.
    schedule_lock() = default;

    schedule_lock(schedule_lock&& other) noexcept
        : link_{std::move(other.link_)},
          target_{std::exchange(other.target_, {})} {
        until_.store(other.until_.load());
        ended_.store(other.ended_.load());
    }
    schedule_lock& operator=(schedule_lock&& other) noexcept {
        schedule_lock{std::move(other)}.swap(*this);
        return *this;
    }
    ~schedule_lock() { (void)release(); }

    /// The schedule or name that is locked; empty if nothing is held.
    [[nodiscard]] std::string const& name() const noexcept { return target_.name; }

    /// The fencing token, to be passed along with every effect; stays readable after release. 0: nothing was ever held.
    [[nodiscard]] fencing_token token() const noexcept { return target_.token; }

    /// Whether this is the one valid lock right now: not released, not run out, and its node not suspended or gone.
    /// A local read. Ends earlier than the server's grant by options::clock_drift and safety_margin, so extend() may still
    /// succeed, and make it valid again, a moment after it ended.
    [[nodiscard]] bool valid() const { return remaining() > microseconds{}; }

    /// For how long it will stay valid if nothing is heard from the server, that is never longer than the node's own life
    /// (node_ttl); 0 when it is not valid. A local read.
    [[nodiscard]] microseconds remaining() const {
        if (!link_ || ended_.load()) return {};
        auto const& life = link_->node_life();
        auto const now = life.now();
        if (!life.alive(target_.incarnation, now)) return {};
        auto const end = std::min(until_.load(), life.alive_until());
        return end > now ? end - now : microseconds{};
    }

    /// Makes it last `ttl` from now on; never shortens it. lock_lost: it ended before; not_owner: the schedule is to be
    /// handed over and the time allowed for that is up; unavailable, timed_out, outcome_unknown: unchanged so far as
    /// valid() knows. On lock_lost the handle is invalid from then on.
    [[nodiscard]] result<void> extend(microseconds ttl) {
        if (!link_ || ended_.load()) return errc::lock_lost;
        auto until = link_->use([&](detail::lock_host& host) { return host.extend_lock(target_, ttl); });
        if (until) {
            if (*until > until_.load()) until_.store(*until);
            return {};
        }
        if (until.error() == errc::lock_lost) ended_.store(true);
        return until.error();
    }

    /// Invalid at once, then one request tells the server; from inside a sink, the next tick does. lock_lost: it had ended
    /// before.
    result<void> release() {
        if (!link_ || ended_.exchange(true)) return errc::lock_lost;
        return link_->use([&](detail::lock_host& host) { return host.release_lock(target_); });
    }

    /// For coordinators.
    schedule_lock(std::shared_ptr<detail::lock_link> link, detail::lock_host::target target, instant until)
        : link_{std::move(link)},
          target_{std::move(target)} {
        until_.store(until);
    }
    /// For coordinators: what is held, and ending the handle without telling the server (it was told in a batch).
    [[nodiscard]] detail::lock_host::target const& held() const noexcept { return target_; }
    [[nodiscard]] bool is_held_by(detail::lock_link const& whose) const noexcept {
        return link_.get() == &whose && !ended_.load();
    }
    void forget() noexcept { ended_.store(true); }
    void extended_until(instant until) noexcept {
        if (until > until_.load()) until_.store(until);
    }

private:
    void swap(schedule_lock& other) noexcept {
        std::swap(link_, other.link_);
        std::swap(target_, other.target_);
        auto const until = until_.load();
        until_.store(other.until_.load());
        other.until_.store(until);
        other.ended_.store(ended_.exchange(other.ended_.load()));
    }

    std::shared_ptr<detail::lock_link> link_;
    detail::lock_host::target target_;
    detail::atomic_instant until_;
    std::atomic<bool> ended_{false};  // released or lost; the link stays, for readers on other threads
};

}  // namespace rota

// ---- rota/detail/belief.hpp ----------------------------------------------------------------------------------------
// What this node may believe right now: its incarnation, until when it counts as alive, whether and until when it
// leads, what it owns. Written by the machine in step with the server's replies; read by any thread without waiting
// for the network. Lock handles share it, and may outlive the coordinator: then the incarnation is 0 for good.
//
// A belief is always shorter than what the server grants: see anchored().

#include <map>

// ---- rota/detail/defects.hpp ---------------------------------------------------------------------------------------
// Known ways to get a lease library wrong, to be planted on purpose: the machines of a node and the reference store take
// a template parameter that says which one they suffer from. Production uses `sound`; the simulator's mutation gate
// (tests/unit/sim_mutation_test.cpp) plants each and demands that an invariant made for it catches it.
//
// Empty in production: sound::has() is evaluated while compiling, so every check is `if (false)`. A test's parameter may
// answer at run time: one instantiation then serves for all defects.

namespace rota::detail {

enum class defect : std::uint8_t {
    none,

    // how long to believe
    lease_from_reply,      ///< belief is anchored at the reply's arrival instead of the request's departure
    margin_ignored,        ///< belief lasts to the very deadline
    wall_clock,            ///< deadlines are kept in wall time, which jumps
    life_before_reading,   ///< a heartbeat extends a node's life before what it told of is read
    belief_after_release,  ///< a lock handle stays valid until its release is answered
    late_grant_used,       ///< a lock granted too late to be believed in is handed out
    leave_first,           ///< leaving: belief is dropped when the server has answered
    renounce_first,        ///< renouncing: likewise
    acknowledge_first,     ///< handing over: likewise
    keep_after_reap,       ///< a reaped node keeps what it believed to own
    fenced_rejoins,        ///< a fenced node takes its node_id back

    // what is told of it
    end_untold,     ///< belief that ends while a request is under way is noticed after the reply has renewed it
    resume_untold,  ///< life comes back, and leadership with it, without a word
    leads_past_it,  ///< the leader goes on as one although its lease has run out
    events_twice,   ///< a step is told twice
    gap_untold,     ///< a subscriber that missed events is not told so

    // tokens
    token_not_minted,   ///< a lock takes the last token again
    token_counts_only,  ///< tokens count up from what the server knows: not from its clock, nor from what callers know
    generation_kept,    ///< a hand-off leaves the generation as it was

    // who leads
    elected_on_request,     ///< the lead is given to whoever asks, held or not
    renew_any_term,         ///< a lease is renewed for whoever believes to have it
    renounce_forgets_term,  ///< renouncing does not check the term
    adopt_any_term,         ///< plans apply under an old term
    plan_at_once,           ///< a plan that was refused is drawn up again without a pause

    // who owns
    adopt_live_owner,     ///< schedules of nodes that may still believe are treated as orphans
    adopt_any_owner,      ///< a plan is applied to whatever the state is now
    claim_any_owner,      ///< a claim takes what another owns
    join_inherits,        ///< a new incarnation keeps what the old one owned
    supersede_frees,      ///< ... and what a superseded incarnation owns is free at once
    reap_early,           ///< nodes are taken for dead one second before their deadline
    reap_unchecked,       ///< the leader's word that a node is dead is taken, though it may have reported since
    death_takes_all,      ///< a node's schedules go with it
    grant_without_ack,    ///< a revocation grants at once
    ack_during_run,       ///< a hand-off is acknowledged with the lock still held
    lost_ack_is_failure,  ///< an acknowledgement whose reply was lost is taken for one that was not made
    unregister_untold,    ///< the owner of a schedule is not told that it is no more
    tombstone_ignored,    ///< registered again: given away while the former owner may still believe
    capacity_ignored,     ///< a plan gives a node more than it may have

    // locks
    acquire_any_owner,   ///< the ownership check of try_lock is missing
    acquire_again,       ///< a node gets the lock that it holds, once more
    extend_revives,      ///< an expired lock can be extended
    extend_any_owner,    ///< extension does not compare the token
    release_any_owner,   ///< release does not compare the token
    locks_outlive_none,  ///< the locks of a node that left or was superseded are free at once

    // connections and servers
    stale_connection,       ///< commands of dead connections take effect
    heartbeats_last,        ///< the machine's requests wait for all requests of the user's
    ticks_first,            ///< a tick that is due goes before all else, however slow the link is
    server_change_ignored,  ///< what another server may lack is not read anew
    resync_loses_handoffs,  ///< after reading all anew, revocations that were under way are forgotten
    resync_takes_back,      ///< ... what is being handed over is owned again
    snapshot_alone,         ///< what happened while the picture of the group was read is not folded in
};
inline constexpr std::size_t defects = static_cast<std::size_t>(defect::snapshot_alone) + 1;

/// Production: nothing planted.
struct sound {
    static consteval bool has(defect) { return false; }
};

}  // namespace rota::detail

namespace rota::detail {

/// Until when to believe in what the server granted for `remaining`, when the request departed at `sent`. The server
/// began to count later than that, and its clock may run faster by `clock_drift`; the margin is the user's.
template <typename Defects = sound>
[[nodiscard]] instant anchored(options const& o, instant sent, instant received, microseconds remaining) {
    if (Defects::has(defect::lease_from_reply)) sent = received;
    auto const margin = Defects::has(defect::margin_ignored) ? microseconds{} : o.safety_margin;
    auto const slow = Defects::has(defect::margin_ignored) ? 0.0 : o.clock_drift;
    auto const certain = static_cast<double>(remaining.count()) * (1.0 - slow);
    return sent + microseconds{static_cast<microseconds::rep>(certain)} - margin;
}

template <typename T = void>
class basic_belief : public life {
    using leader_info = late<rota::leader_info, T>;
    using owned_schedule = late<rota::owned_schedule, T>;

public:
    struct ownership {
        fencing_token generation = 0;
        double weight = 1;
        // Asked to hand it over:
        fencing_token moving_to = 0;
        change_reason moving_why{};
    };
    using owned_table = std::map<std::string, ownership, std::less<>>;

    // ------------------------------------------------ read by any thread

    [[nodiscard]] bool leads(instant now) const noexcept {
        return term_.load() != 0 && now < leads_until_.load() && now < alive_until();
    }

    [[nodiscard]] std::vector<owned_schedule> owned(instant now) const {
        std::vector<owned_schedule> list;
        std::lock_guard const lock{mutex_};
        if (!alive(incarnation(), now)) return list;
        list.reserve(owned_.size());
        for (auto const& [id, s] : owned_) list.push_back({id, s.generation, s.weight, s.moving_to != 0});
        return list;
    }

    [[nodiscard]] std::optional<leader_info> leader(instant now) const {
        std::lock_guard const lock{mutex_};
        if (leader_.node.incarnation == 0 || now >= leader_until_) return std::nullopt;
        auto info = leader_;
        info.remaining = leader_until_ - now;
        return info;
    }

    // ------------------------------------------------ written by the machine alone (one thread at a time)

    void lead(fencing_token term, instant until) {
        if (term != term_.load() || until > leads_until_.load()) leads_until_.store(until);
        term_.store(term);
    }
    void stop_leading() { term_.store(0); }
    [[nodiscard]] fencing_token term() const noexcept { return term_.load(); }
    [[nodiscard]] instant leads_until() const noexcept { return leads_until_.load(); }

    /// Every handle is invalid, nothing is owned, from here on.
    void end() {
        end_life();
        term_.store(0);
        std::lock_guard const lock{mutex_};
        owned_.clear();
    }

    void hear_of_leader(leader_info info, instant until) {
        std::lock_guard const lock{mutex_};
        leader_ = std::move(info);
        leader_until_ = until;
    }

    // The machine reads the table without the mutex: it is the only writer.
    [[nodiscard]] owned_table const& table() const { return owned_; }
    [[nodiscard]] leader_info const& last_leader() const { return leader_; }
    [[nodiscard]] instant last_leader_until() const { return leader_until_; }

    template <typename Change>
    void change_table(Change&& change) {
        std::lock_guard const lock{mutex_};
        change(owned_);
    }

private:
    std::atomic<fencing_token> term_{0};
    atomic_instant leads_until_;
    mutable std::mutex mutex_;  // of what follows
    owned_table owned_;
    leader_info leader_;
    instant leader_until_{};
};

using belief = basic_belief<>;

template <typename Clock>
class belief_on final : public late<belief, Clock> {
public:
    explicit belief_on(Clock clock) : clock_{std::move(clock)} {}
    [[nodiscard]] instant now() const override { return unwrap(clock_).now(); }

private:
    [[no_unique_address]] Clock clock_;
};

}  // namespace rota::detail

// ---- rota/detail/node_core.hpp -------------------------------------------------------------------------------------
// The algorithm of a node, without I/O: it is resumed with replies and the time, and says which operation to perform
// next (next), when to look again (due), and what happened (take_events). One algorithm serves the blocking
// coordinator, the asynchronous one and the simulator.
//
// What is delicate, and kept here:
//  * Belief ends before the server's grant does, and is dropped before anything that gives up is sent.
//  * A heartbeat extends the node's life only once every change that the server had for it is applied: a node that
//    counts as alive has heard, at most one node_ttl late, of all that was taken from it.
//  * A lost reply is repeated, never guessed at: each operation has one effect however often it arrives.
//
// Not thread-safe; beliefs are published through detail::belief, which any thread may read.

// ---- rota/detail/find.hpp ------------------------------------------------------------------------------------------
// What rota needs of <algorithm>, which brings the ranges and the parallel version of all it has along and so costs
// whoever includes it nearly a third of what all else in rota does. Sorting is left to ordered containers; std::min and std::max
// come with <string> and <vector> in every standard library.

namespace rota::detail {

/// The first element that `fits`, or the end.
template <typename Container, typename Predicate>
[[nodiscard]] auto find_where(Container& elements, Predicate const& fits) {
    auto at = elements.begin();
    while (at != elements.end() && !fits(*at)) ++at;
    return at;
}

}  // namespace rota::detail

// ---- rota/detail/group_feed.hpp ------------------------------------------------------------------------------------
// A local picture of the whole group, kept by following its event log: what the leader plans on, and what a subscriber
// of event_scope::group is told from. First a snapshot in pages, with the log's cursor taken before page one; then the
// events after it, which also correct whatever changed while the pages were read. A gap starts over.
//
// The picture is `current()` once all events that the server has told of are folded in; only then may it be planned on.

namespace rota::detail {

// (Outside of the template for the reason that node_core.hpp gives.)
enum class feed_stage : std::uint8_t { off, nodes, schedules, following };

template <typename Defects = sound>
class group_feed {
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;

public:
    struct node {
        std::string id;
        bool alive = false;
        std::uint32_t capacity = unlimited;
    };
    struct item {
        fencing_token generation = 0;
        fencing_token owner = 0;
        fencing_token moving_to = 0;
        double weight = 1;
    };

    /// Begin to follow; nothing is told of the first snapshot.
    void start(fencing_token epoch) {
        if (stage_ != feed_stage::off && epoch == epoch_) return;
        if (stage_ == feed_stage::following && !catching_up_) remember();
        begin_snapshot(epoch);
    }
    void stop() { *this = group_feed{}; }

    /// Stop for now; after the next start the differences to what was told until here are told.
    void interrupt() {
        if (stage_ == feed_stage::following && !catching_up_) remember();
        auto told = std::move(told_);
        stop();
        told_ = std::move(told);
    }

    [[nodiscard]] bool active() const { return stage_ != feed_stage::off; }

    /// The server's newest event is at least `seq`.
    void heard_of(std::uint64_t seq) {
        if (seq > head_) head_ = seq;
    }
    /// Something may have happened: look.
    void look() { head_ = std::max(head_, cursor_ + 1); }

    /// The server may have lost what it told: read all of it anew, and tell the differences.
    void doubt() {
        if (stage_ == feed_stage::off) return;
        if (stage_ == feed_stage::following && !catching_up_) remember();
        begin_snapshot(epoch_);
    }

    [[nodiscard]] bool current() const { return stage_ == feed_stage::following && cursor_ >= head_; }
    [[nodiscard]] std::uint64_t cursor() const { return cursor_; }
    [[nodiscard]] fencing_token epoch() const { return epoch_; }

    [[nodiscard]] std::optional<operation> next() const {
        switch (stage_) {
            case feed_stage::off: return std::nullopt;
            case feed_stage::nodes: return op::nodes_page{.after = after_node_};
            case feed_stage::schedules: return op::schedules_page{.holder = holders_.back(), .after = after_schedule_};
            case feed_stage::following: break;
        }
        if (current()) return std::nullopt;
        return op::events_since{.epoch = epoch_, .seq = cursor_};
    }

    // ------------------------------------------------ replies; what a group subscriber is told goes to `tell`

    void on(op::nodes_reply const& page) {
        if (stage_ != feed_stage::nodes) return;
        if (after_node_ == 0) {
            epoch_ = page.epoch;
            cursor_ = page.seq;
            head_ = page.seq;
            holders_ = {0};
        }
        for (auto const& n : page.items) {
            nodes_[n.node.incarnation] = {n.node.id, n.alive, n.capacity};
            holders_.push_back(n.node.incarnation);
            after_node_ = n.node.incarnation;
        }
        if (page.items.size() < op::max_batch) stage_ = feed_stage::schedules;
    }

    void on(op::page_reply const& page) {
        if (stage_ != feed_stage::schedules) return;
        for (auto const& s : page.items) {
            schedules_[s.id] = {s.generation, s.owner, s.moving_to, s.weight};
            after_schedule_ = s.id;
        }
        if (page.items.size() == op::max_batch) return;
        holders_.pop_back();
        after_schedule_.clear();
        if (!holders_.empty()) return;
        // What happened while pages were read is still to be folded in; nothing is told of it one by one, as the pages
        // may hold it already.
        stage_ = feed_stage::following;
        catching_up_ = true;
        ++head_;
    }

    template <typename Tell>
    void on(op::events_reply const& page, Tell&& tell) {
        if (stage_ != feed_stage::following) return;
        if (page.gap) {
            if (!catching_up_) remember();
            begin_snapshot(epoch_);
            return;
        }
        for (auto const& e : page.items) {
            if (catching_up_) {
                if (Defects::has(defect::snapshot_alone)) continue;
                fold(e, [](event const&) {});
            } else {
                fold(e, tell);
            }
        }
        cursor_ = page.to;
        head_ = page.head;
        if (catching_up_ && current()) {
            catching_up_ = false;
            dirty_ = true;
            if (told_) tell_differences(tell);
        }
    }

    // ------------------------------------------------ the picture

    [[nodiscard]] std::map<fencing_token, node> const& nodes() const { return nodes_; }
    [[nodiscard]] std::map<std::string, item, std::less<>> const& schedules() const { return schedules_; }

    [[nodiscard]] node_ref ref(fencing_token incarnation) const {
        auto n = nodes_.find(incarnation);
        return {n == nodes_.end() ? std::string{} : n->second.id, incarnation};
    }

    /// Whether the picture has changed since this was last asked.
    [[nodiscard]] bool dirty() const { return dirty_; }
    void clean() { dirty_ = false; }

private:
    struct picture {
        std::map<fencing_token, node> nodes;
        std::map<std::string, item, std::less<>> schedules;
    };

    void begin_snapshot(fencing_token epoch) {
        stage_ = feed_stage::nodes;
        epoch_ = epoch;
        cursor_ = head_ = 0;
        nodes_.clear();
        schedules_.clear();
        holders_.clear();
        after_node_ = 0;
        after_schedule_.clear();
    }

    template <typename Tell>
    void fold(op::group_event const& e, Tell&& tell) {
        using kind = op::group_event_kind;
        dirty_ = true;
        switch (e.kind) {
            case kind::registered:
                schedules_.try_emplace(e.id, item{.weight = e.weight});
                tell(event{schedule_changed{e.id, true}});
                break;
            case kind::unregistered:
                schedules_.erase(e.id);
                tell(event{schedule_changed{e.id, false}});
                break;
            case kind::owned: {
                schedules_[e.id] = {e.generation, e.to, 0, e.weight};
                tell(event{ownership_changed{e.id, ref(e.from), ref(e.to), e.generation, e.reason}});
                break;
            }
            case kind::moving:
                if (auto s = schedules_.find(e.id); s != schedules_.end()) s->second.moving_to = e.to;
                break;
            case kind::joined:
                nodes_[e.to] = {e.id, true, e.capacity};
                tell(event{membership_changed{{e.id, e.to}, membership_change::joined}});
                break;
            case kind::superseded:
            case kind::left:
            case kind::died:
                if (auto n = nodes_.find(e.from); n != nodes_.end()) n->second.alive = false;
                tell(event{membership_changed{{e.id, e.from},
                                              e.kind == kind::left   ? membership_change::left
                                              : e.kind == kind::died ? membership_change::died
                                                                     : membership_change::superseded}});
                break;
            case kind::forgotten: nodes_.erase(e.from); break;
            case kind::led:
            case kind::vacated:
            case kind::data_lost: break;  // who leads, and whether data was lost, comes with every tick
        }
    }

    void remember() { told_.emplace(picture{std::move(nodes_), std::move(schedules_)}); }

    // After a gap: what is different from what was told last.
    template <typename Tell>
    void tell_differences(Tell&& tell) {
        if (!Defects::has(defect::gap_untold)) tell(event{events_gap{}});
        for (auto const& [incarnation, n] : told_->nodes) {
            auto now = nodes_.find(incarnation);
            if (n.alive && (now == nodes_.end() || !now->second.alive)) {
                tell(event{membership_changed{{n.id, incarnation}, membership_change::died}});
            }
        }
        for (auto const& [incarnation, n] : nodes_) {
            auto before = told_->nodes.find(incarnation);
            if (n.alive && (before == told_->nodes.end() || !before->second.alive)) {
                tell(event{membership_changed{{n.id, incarnation}, membership_change::joined}});
            }
        }
        for (auto const& [id, s] : told_->schedules) {
            if (!schedules_.contains(id)) tell(event{schedule_changed{id, false}});
        }
        for (auto const& [id, s] : schedules_) {
            auto before = told_->schedules.find(id);
            bool const is_new = before == told_->schedules.end();
            if (is_new) tell(event{schedule_changed{id, true}});
            auto const old_owner = is_new ? 0 : before->second.owner;
            auto const old_generation = is_new ? 0 : before->second.generation;
            if (s.generation != old_generation) {
                auto was = told_->nodes.find(old_owner);
                tell(event{ownership_changed{id,
                                             {was == told_->nodes.end() ? std::string{} : was->second.id, old_owner},
                                             ref(s.owner),
                                             s.generation,
                                             change_reason::resynced}});
            }
        }
        told_.reset();
    }

    feed_stage stage_ = feed_stage::off;
    fencing_token epoch_ = 0;
    std::uint64_t cursor_ = 0;
    std::uint64_t head_ = 0;
    std::map<fencing_token, node> nodes_;
    std::map<std::string, item, std::less<>> schedules_;
    std::vector<fencing_token> holders_;  // whose pages are still to be read
    fencing_token after_node_ = 0;
    std::string after_schedule_;
    std::optional<picture> told_;
    bool catching_up_ = false;
    bool dirty_ = false;
};

}  // namespace rota::detail

// ---- rota/detail/leader_machine.hpp --------------------------------------------------------------------------------
// What the leader does beyond holding its lease: takes dead nodes out, places orphans, evens out the load. A to-do
// list, not a script: next() looks at what is known and says what to ask the server for; replies change what is known.
//
// Every step names the term it acts under, and every item what it expects to find, so the server refuses whatever a
// leader of yesterday, or one with a picture of yesterday, sends.

#include <exception>

namespace rota::detail {

/// The strategy, type-erased: planning is rare, compiling is not.
struct planner {
    void const* strategy = nullptr;
    void (*make)(void const* strategy, cluster_view const&, plan&) = nullptr;

    /// Plans, and says why the plan must not be applied; empty if it may.
    template <typename T = void>
    [[nodiscard]] std::string operator()(late<cluster_view, T> const& view, late<plan, T>& into) const;
};

/// A cluster_view and what it points into, made from the picture that a group_feed keeps.
template <typename Defects = sound>
class planning_board {
    template <typename T>
    using late_vector = std::vector<late<T, Defects>>;

public:
    cluster_view const& draw(group_feed<Defects> const& feed) {
        nodes_.clear();
        schedules_.clear();
        orphans_.clear();
        ids_.clear();
        std::map<std::pair<std::string_view, fencing_token>, typename group_feed<Defects>::node const*> by_id;
        for (auto const& [incarnation, n] : feed.nodes()) {
            if (n.alive) by_id[{n.id, incarnation}] = &n;
        }
        std::map<fencing_token, late<std::uint32_t, Defects>> index;
        for (auto const& [key, n] : by_id) {
            index[key.second] = static_cast<std::uint32_t>(nodes_.size());
            nodes_.push_back({.id = n->id, .incarnation = key.second, .capacity = n->capacity});
        }
        owned_.resize(nodes_.size());
        for (auto& list : owned_) list.clear();
        for (auto const& [id, s] : feed.schedules()) {
            auto const number = static_cast<std::uint32_t>(schedules_.size());
            auto const at = index.find(s.owner);
            auto const bound_for = s.moving_to == 0 ? index.end() : index.find(s.moving_to);
            auto owner = cluster_view::none;
            // On its way from a live node: counts for where it goes; if that one is gone, it will be given up.
            bool const moving = s.moving_to != 0 && at != index.end();
            if (moving) {
                owner = bound_for == index.end() ? at->second : bound_for->second;
            } else if (at != index.end()) {
                owner = at->second;
            }
            schedules_.push_back({.id = id, .owner = owner, .moving = moving, .weight = s.weight});
            ids_.push_back(&id);
            if (owner == cluster_view::none) {
                orphans_.push_back(number);
            } else {
                owned_[owner].push_back(number);
                ++nodes_[owner].load;
                nodes_[owner].weight += s.weight;
            }
        }
        for (std::size_t i = 0; i < nodes_.size(); ++i) nodes_[i].schedules = owned_[i];
        view_ = {nodes_, schedules_, orphans_};
        return view_;
    }

    [[nodiscard]] cluster_view const& view() const { return view_; }
    [[nodiscard]] std::string const& id_of(std::uint32_t schedule) const { return *ids_[schedule]; }

private:
    late_vector<cluster_view::node> nodes_;
    late_vector<cluster_view::schedule> schedules_;
    late_vector<std::uint32_t> orphans_;
    late_vector<std::string const*> ids_;  // into the feed's picture
    std::vector<late_vector<std::uint32_t>> owned_;
    cluster_view view_;
};

/// Why `p` must not be applied to `view`, or an empty string. A strategy is somebody else's code: it is not trusted.
template <typename T = void>
[[nodiscard]] std::string fault_of(late<plan, T> const& p, late<cluster_view, T> const& view) {
    std::vector<late<std::uint32_t, T>> load;
    for (auto const& n : view.nodes) load.push_back(n.load);
    std::vector<late<bool, T>> taken(view.schedules.size());
    for (auto const& m : p.moves) {
        auto const id = [&] { return in_words(std::string{view.schedules[m.schedule].id}); };
        if (m.schedule >= view.schedules.size())
            return fmt::format("the plan names schedule {} of {}", m.schedule, view.schedules.size());
        if (m.to >= view.nodes.size())
            return fmt::format("the plan moves {} to node {} of {}", id(), m.to, view.nodes.size());
        auto const& s = view.schedules[m.schedule];
        if (taken[m.schedule]) return fmt::format("the plan moves {} twice", id());
        taken[m.schedule] = true;
        if (s.owner != m.from) return fmt::format("the plan moves {} from a node that does not own it", id());
        if (s.moving) return fmt::format("the plan moves {}, which is on its way already", id());
        if (m.from == m.to) return fmt::format("the plan moves {} to where it is", id());
        if (!m.forced()) --load[m.from];
        if (++load[m.to] > view.nodes[m.to].capacity) {
            return fmt::format("the plan gives node {} more than its capacity of {}",
                               in_words(std::string{view.nodes[m.to].id}), view.nodes[m.to].capacity);
        }
    }
    return {};
}

template <typename T>
std::string planner::operator()(late<cluster_view, T> const& view, late<plan, T>& into) const {
    into.clear();
    if (view.nodes.empty()) {
        into.unplaced = static_cast<std::uint32_t>(view.orphans.size());
        return {};
    }
    try {
        make(strategy, view, into);
    } catch (std::exception const& e) {
        into.clear();
        return fmt::format("the strategy threw: {}", e.what());
    } catch (...) {
        into.clear();
        return "the strategy threw what is no std::exception";
    }
    auto fault = fault_of(into, view);
    if (!fault.empty()) into.clear();
    return fault;
}

template <typename Defects = sound>
class leader_machine {
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;

public:
    leader_machine(options const& o, planner strategy) : options_{o}, strategy_{strategy} {}

    void start(fencing_token self, fencing_token term) {
        *this = leader_machine{options_, strategy_};
        self_ = self;
        term_ = term;
    }
    void stop() { start(0, 0); }
    [[nodiscard]] bool active() const { return term_ != 0; }

    /// What the leader's own tick tells. `reap_from`: nobody is taken for dead before (the server was silent).
    void on_tick(op::watch watch, instant received, instant reap_from) {
        watch_ = std::move(watch);
        heard_ = received;
        reap_from_ = reap_from;
        reaped_ = false;
        if (!watch_.dead.empty()) plan_again_ = received;  // their schedules may have become adoptable just now
    }

    /// Even out the load now, whatever the threshold says.
    void rebalance_now() { forced_round_ = true; }
    [[nodiscard]] plan const& last_plan() const { return plan_; }
    /// Why the last plan was refused; empty: it was not.
    [[nodiscard]] std::string const& last_fault() const { return fault_; }
    [[nodiscard]] std::vector<fencing_token> const& candidates() const { return watch_.candidates; }

    /// When the next node can be taken for dead, or its schedules be had: a tick then says which.
    [[nodiscard]] instant tick_due() const {
        if (!active()) return instant::max();
        if (reaped_ && watch_.expired.size() + watch_.dead.size() >= op::max_batch) {
            return instant::min();  // there were more than go into one reap, or into the lists
        }
        auto const next = std::min(watch_.next_expiry, watch_.next_dead);
        return next == microseconds::max() ? instant::max() : heard_ + next + microseconds{1000};
    }

    /// When next() has something to say although nothing was heard: nodes to take out once that is allowed again, or a
    /// plan that met a state it was not made for.
    [[nodiscard]] instant work_due() const {
        if (!active()) return instant::max();
        if (!placements_.empty() || !moves_.empty()) return instant::min();
        return !watch_.expired.empty() && !reaped_ ? std::min(plan_again_, reap_from_) : plan_again_;
    }

    template <typename Tell>
    [[nodiscard]] std::optional<operation> next(group_feed<Defects> const& feed, instant now, fencing_token seen,
                                                Tell&& tell) {
        if (!active()) return std::nullopt;
        if (!feed.current()) return feed.next();
        if (auto to_reap = who_is_gone(feed, now); !to_reap.empty()) {
            return op::reap{.incarnation = self_, .term = term_, .nodes = std::move(to_reap)};
        }
        if (placements_.empty() && moves_.empty()) draw_up_plan(feed, now, tell);
        if (!placements_.empty()) {
            return op::adopt{.incarnation = self_, .term = term_, .items = first_of(placements_), .seen = seen};
        }
        if (!moves_.empty()) {
            return op::revoke{.incarnation = self_,
                              .term = term_,
                              .items = first_of(moves_),
                              .handoff_deadline = options_.handoff_deadline};
        }
        return std::nullopt;
    }

    void on(op::reap const&) { reaped_ = true; }

    void on(op::adopt const& request, op::outcomes const& reply, instant now) {
        settle(placements_, request.items.size(), reply, now);
    }
    void on(op::revoke const& request, op::outcomes const& reply, instant now) {
        settle(moves_, request.items.size(), reply, now);
    }

private:
    template <typename Item>
    static std::vector<Item> first_of(std::vector<Item> const& queue) {
        auto const count = std::min(queue.size(), op::max_batch);
        return {queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(count)};
    }

    // Items that were refused are dropped: the events say what is true now, and the next plan is made from that.
    template <typename Item>
    void settle(std::vector<Item>& queue, std::size_t sent, op::outcomes const& reply, instant now) {
        queue.erase(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(std::min(sent, queue.size())));
        for (auto const& item : reply.items) {
            auto const pause = Defects::has(defect::plan_at_once) ? microseconds{} : options_.heartbeat_interval / 2;
            if (!item.ok()) plan_again_ = std::min(plan_again_, now + pause);
        }
    }

    // Expired nodes, and dead ones that own nothing more (those that do are forgotten with their last schedule).
    std::vector<fencing_token> who_is_gone(group_feed<Defects> const& feed, instant now) {
        std::vector<fencing_token> gone;
        if (reaped_) return gone;
        if (now >= reap_from_) gone = watch_.expired;
        for (auto incarnation : watch_.dead) {
            auto const& all = feed.schedules();
            auto const owned = find_where(all, [&](auto const& s) { return s.second.owner == incarnation; });
            if (owned == all.end()) gone.push_back(incarnation);
        }
        if (gone.size() > op::max_batch) gone.resize(op::max_batch);
        return gone;
    }

    template <typename Tell>
    void draw_up_plan(group_feed<Defects> const& feed, instant now, Tell&& tell) {
        if (feed.cursor() == planned_at_ && !forced_round_ && now < plan_again_) return;
        bool const forced_round = std::exchange(forced_round_, false);
        planned_at_ = feed.cursor();
        plan_again_ = instant::max();
        auto const& view = board_.draw(feed);
        fault_ = strategy_(view, plan_);
        if (!fault_.empty()) {
            tell(event{plan_refused{fault_}});
            plan_again_ = now + options_.heartbeat_interval;
            return;
        }
        if (plan_.unplaced != 0 && unplaced_ == 0) {
            tell(
                event{warning{{errc::capacity_exceeded,
                               fmt::format("{} schedules have no owner: no node has room for them", plan_.unplaced)}}});
        }
        unplaced_ = plan_.unplaced;
        bool const even_out =
            forced_round || (options_.auto_rebalance && imbalance(view) > options_.rebalance_threshold);
        for (auto const& m : plan_.moves) {
            auto const& s = feed.schedules().find(board_.id_of(m.schedule))->second;
            auto const to = view.nodes[m.to].incarnation;
            if (m.forced()) {
                placements_.push_back({board_.id_of(m.schedule), s.generation, s.owner, to, change_reason::placed});
            } else if (even_out) {
                moves_.push_back({board_.id_of(m.schedule), s.generation, s.owner, to, change_reason::rebalanced});
            }
        }
    }

    options options_;
    planner strategy_;
    fencing_token self_ = 0;
    fencing_token term_ = 0;
    op::watch watch_;
    instant heard_{};
    instant reap_from_{};
    bool reaped_ = false;
    bool forced_round_ = false;
    std::uint32_t unplaced_ = 0;  // as last planned
    std::string fault_;           // of the last plan
    std::uint64_t planned_at_ = ~std::uint64_t{0};
    instant plan_again_ = instant::max();
    std::vector<late<op::adopt::item, Defects>> placements_;
    std::vector<late<op::revoke::item, Defects>> moves_;
    planning_board<Defects> board_;
    plan plan_;
};

}  // namespace rota::detail

namespace rota::detail {

/// A small generator for jitter (xorshift64*, Vigna 2016): the same on every platform.
class jitter_source {
public:
    explicit jitter_source(std::uint64_t seed) : state_{seed ? seed : 0x9e3779b97f4a7c15u} {}
    std::uint64_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545f4914f6cdd1du;
    }
    /// 0 .. most, inclusive.
    microseconds up_to(microseconds most) {
        if (most <= microseconds{}) return {};
        return microseconds{static_cast<microseconds::rep>(next() % (static_cast<std::uint64_t>(most.count()) + 1))};
    }

private:
    std::uint64_t state_;
};

/// FNV-1a, for seeds.
[[nodiscard]] inline std::uint64_t hash_of(std::string const& text) {
    std::uint64_t h = 0xcbf29ce484222325u;
    for (char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    return h;
}

/// A lock that this node holds or may hold at the server.
struct held_lock {
    fencing_token token = 0;
    instant until{};        // belief
    bool released = false;  // the handle is gone; the server may still have it
};

// (Outside of the template: g++ 12 compares the names within one with those of the program that includes this.)
enum class standing : std::uint8_t {
    out,      // not a member, and not trying to be
    joining,  // trying
    member,
    fenced,  // a newer process has the node_id
};

template <typename Defects = sound>
class node_core {
    using error = late<rota::error, Defects>;
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;
    using reply = late<rota::reply, Defects>;

public:
    using standing = detail::standing;

    /// `entropy`: random bits that no other process shares.
    node_core(options given, planner strategy, std::shared_ptr<belief> published, std::uint64_t entropy)
        : options_{with_defaults(std::move(given))},
          belief_{std::move(published)},
          leader_{options_, strategy},
          nonces_{entropy},
          jitter_{options_.jitter_seed.value_or(hash_of(options_.node_id))} {}

    [[nodiscard]] options const& settings() const { return options_; }
    [[nodiscard]] standing state() const { return standing_; }
    [[nodiscard]] node_ref const& self() const { return self_; }
    [[nodiscard]] fencing_token seen() const { return seen_; }
    [[nodiscard]] std::optional<error> const& last_failure() const { return failure_; }
    [[nodiscard]] group_feed<Defects> const& feed() const { return feed_; }
    [[nodiscard]] leader_machine<Defects>& leading() { return leader_; }
    std::uint64_t new_nonce() { return nonces_.next(); }

    // ================================================================ wishes

    void want_join(instant now) {
        if (standing_ == standing::joining || standing_ == standing::member) return;
        standing_ = standing::joining;
        failure_.reset();
        was_member_ = false;
        if (join_nonce_ == 0) join_nonce_ = new_nonce();  // kept while an attempt's outcome is unknown
        retry_at_ = now;
    }

    void want_tick(instant now) {
        tick_at_ = std::min(tick_at_, now);
        retry_at_ = std::min(retry_at_, now);
    }

    /// Drops all belief at once. Then leave_operation() is to be performed.
    void begin_leave() {
        if (standing_ == standing::fenced) return;
        if (self_.incarnation != 0 && standing_ == standing::member) {
            farewell_ = self_.incarnation;
            left_ = true;
            if (Defects::has(defect::leave_first)) return;
            drop_everything(change_reason::lost);
        }
        feed_.interrupt();
        failure_.reset();
        standing_ = standing::out;
    }

    [[nodiscard]] std::optional<operation> leave_operation() const {
        if (farewell_ == 0) return std::nullopt;
        return op::leave{.incarnation = farewell_, .node_id = options_.node_id, .wake = candidates_};
    }

    void finish_leave(bool done) {
        auto const gone = std::exchange(farewell_, 0);
        if (std::exchange(left_, false) && gone != 0 && done) tell(node_left{{options_.node_id, gone}});
    }

    /// Drops the belief in leadership at once. Then the operation is to be performed; nullopt if it is not held.
    [[nodiscard]] std::optional<operation> begin_renounce(instant now) {
        auto const term = belief_->term();
        if (term == 0) return std::nullopt;
        renouncing_ = op::renounce{.incarnation = self_.incarnation, .term = term, .wake = leader_.candidates()};
        if (!leader_.candidates().empty()) sit_out_until_ = now + options_.leader_lease;
        if (!Defects::has(defect::renounce_first)) end_leadership();
        return *renouncing_;
    }

    void rebalance_now() { leader_.rebalance_now(); }

    // ================================================================ the background lane: one operation at a time

    /// What to ask the server for now; nothing: wait until due().
    [[nodiscard]] std::optional<operation> next(instant now) {
        notice_the_time(now);
        if (now < retry_at_) return std::nullopt;
        if (farewell_ != 0) return leave_operation();
        if (standing_ == standing::joining) {
            return op::join{.node_id = options_.node_id,
                            .nonce = join_nonce_,
                            .node_ttl = options_.node_ttl,
                            .capacity = options_.max_schedules_per_node.value_or(unlimited),
                            .on_conflict = options_.on_conflict,
                            .seen = seen_};
        }
        if (standing_ != standing::member) return std::nullopt;
        if (renouncing_) return *renouncing_;
        bool const tick_is_due = now >= tick_due();
        // Where requests take longer than heartbeats (a slow link, many users of it), ticks take turns with what they
        // give occasion for: life is extended only by reading what a tick told of.
        if (!tick_is_due || (ticked_last_ && !Defects::has(defect::ticks_first))) {
            if (auto other = next_but_ticks(now)) {
                ticked_last_ = false;
                return other;
            }
        }
        ticked_last_ = tick_is_due;
        if (tick_is_due) return tick_now(now);
        return std::nullopt;
    }

    /// The reply to what next() asked for, departed at `sent`.
    void done(operation const& request, result<reply> const& answer, instant sent, instant now) {
        if (!Defects::has(defect::end_untold))
            notice_the_time(now);  // what ended while it was under way ended, even if the reply brings it back
        if (!answer) {
            fail(request, answer.error(), now);
            return;
        }
        failures_ = 0;
        std::visit([&](auto const& r) { this->on(r, *answer, sent, now); }, request);
    }

    /// When next() may have something to say, if nobody asks for anything before.
    [[nodiscard]] instant due() const {
        if (standing_ == standing::out || standing_ == standing::fenced) {
            return farewell_ != 0 ? retry_at_ : instant::max();
        }
        if (standing_ == standing::joining || farewell_ != 0) return retry_at_;
        auto request = has_to_ask() ? instant::min() : std::min(tick_due(), leader_.work_due());
        if (acknowledging_.size() < op::max_batch) {
            for (auto const& id : handing_over_) request = std::min(request, idle_from(id));
        }
        for (auto const& a : acknowledging_) request = std::min(request, a.not_before);
        // Belief ends when it ends, whether the server may be asked again by then or not.
        auto belief_ends = instant::max();
        if (leads_told_ && !Defects::has(defect::leads_past_it)) belief_ends = belief_->leads_until();
        if (!suspended_) belief_ends = std::min(belief_ends, belief_->alive_until());
        return std::min(belief_ends, std::max(request, retry_at_));
    }

    /// Whether next() has something to ask for, whatever the time is, once retrying is allowed.
    [[nodiscard]] bool has_to_ask() const {
        if (renouncing_ || resync_ || read_to_the_end_ || server_version_ > version_) return true;
        bool const follows = feed_.active() && (!leads_told_ || leader_.active());
        return follows && !feed_.current();
    }

    [[nodiscard]] subscription what_to_listen_for() const {
        if (failures_ > 0) return {};  // what is pushed now could not be read: wait for the next try instead
        return {.incarnation = standing_ == standing::member ? self_.incarnation : 0,
                .version = version_,
                .epoch = feed_.epoch(),
                .seq = feed_.cursor(),
                .follow_group = feed_.active() && feed_.current()};
    }

    [[nodiscard]] std::vector<event> take_events() { return std::exchange(events_, {}); }
    [[nodiscard]] bool has_events() const { return !events_.empty(); }
    void tell(event e) { events_.push_back(std::move(e)); }

    // ================================================================ locks

    [[nodiscard]] result<void> can_act(instant now) const {
        if (standing_ == standing::fenced)
            return {errc::fenced, "a newer process has node_id " + in_words(options_.node_id)};
        if (standing_ != standing::member) return {errc::not_joined, "join() first"};
        if (!belief_->alive(self_.incarnation, now)) return {errc::unavailable, "no contact with the group: suspended"};
        return {};
    }

    [[nodiscard]] op::acquire_locks acquisition(op::lock_kind kind, std::vector<std::string> names, microseconds ttl) {
        op::acquire_locks request{
            .incarnation = self_.incarnation, .kind = kind, .ttl = ttl, .nonce = new_nonce(), .seen = seen_};
        request.items.reserve(names.size());
        for (auto& name : names) {
            auto const s = belief_->table().find(name);
            // Generation 0 never matches: the server then says why it cannot be.
            auto const generation =
                s == belief_->table().end() || s->second.moving_to != 0 ? fencing_token{0} : s->second.generation;
            request.items.push_back({std::move(name), generation});
        }
        return request;
    }

    /// Until when a granted lock may be believed in.
    instant on_acquired(op::lock_kind kind, std::string const& name, op::outcome const& grant, instant sent,
                        instant now) {
        see(grant.token);
        auto const until = anchored<Defects>(options_, sent, now, grant.remaining);
        held(kind)[name] = {grant.token, until, false};
        return until;
    }

    instant on_extended(op::lock_kind kind, std::string const& name, op::outcome const& grant, instant sent,
                        instant now) {
        auto const until = anchored<Defects>(options_, sent, now, grant.remaining);
        auto l = held(kind).find(name);
        if (l == held(kind).end() || l->second.token != grant.token) return until;
        if (until > l->second.until) l->second.until = until;
        return l->second.until;
    }

    /// The handle is invalid from now on; the server is told next.
    void on_releasing(op::lock_kind kind, std::string const& name, fencing_token token) {
        auto l = held(kind).find(name);
        if (l != held(kind).end() && l->second.token == token) l->second.released = true;
    }
    void on_released(op::lock_kind kind, std::string const& name, fencing_token token) {
        auto l = held(kind).find(name);
        if (l != held(kind).end() && l->second.token == token) held(kind).erase(l);
    }

    void see(fencing_token token) { seen_ = std::max(seen_, token); }

    /// Another server answers now, or the same one after a restart: it may lack what was acknowledged before. All that
    /// is known of it is read anew.
    void server_changed() {
        if (standing_ != standing::member || Defects::has(defect::server_change_ignored)) return;
        resync_.emplace();
        feed_.doubt();
    }

    /// Something was granted to this node, or taken from it, by an operation of its own: read the log.
    void own_log_moved() { read_to_the_end_ = true; }
    void group_log_moved() {
        if (feed_.active()) feed_.look();
    }

private:
    using lock_table = std::map<std::string, late<held_lock, Defects>, std::less<>>;

    // ================================================================ time

    // Belief that has run out is told of at once; it ended by itself, for whoever looked.
    void notice_the_time(instant now) {
        if (standing_ == standing::member && !suspended_ && now >= belief_->alive_until()) {
            suspended_ = true;
            tell(node_suspended{self_, failure_.value_or(error{errc::timed_out, "no tick in time"})});
        }
        if (leads_told_ && !leads(now)) leadership_ended(now);
    }

    [[nodiscard]] std::optional<operation> next_but_ticks(instant now) {
        if (auto read = next_own_read()) return read;
        if (auto ack = next_acknowledgement(now)) return ack;
        if (feed_.active() && !leads(now)) return feed_.next();
        if (leads(now)) return leader_.next(feed_, now, seen_, [this](event e) { tell(std::move(e)); });
        return std::nullopt;
    }

    [[nodiscard]] instant tick_due() const {
        auto when = std::min(tick_at_, leader_.tick_due());
        if (!leads_told_ && election_at_ < when) when = election_at_;
        return when;
    }

    [[nodiscard]] bool leads(instant now) const {
        return leads_told_ && (belief_->leads(now) || Defects::has(defect::leads_past_it));
    }

    operation tick_now(instant now) {
        // A tick that is a little late does not shift those to come.
        bool const in_time = tick_at_ <= now && now - tick_at_ < options_.heartbeat_interval / 16;
        tick_from_ = in_time ? tick_at_ : now;
        return op::tick{.incarnation = self_.incarnation,
                        .node_id = options_.node_id,
                        .epoch = epoch_,
                        .term = belief_->term(),
                        .candidate = now >= sit_out_until_,
                        .node_ttl = options_.node_ttl,
                        .leader_lease = options_.leader_lease,
                        .seen = seen_};
    }

    void fail(operation const& request, error const& why, instant now) {
        failure_ = why;
        if (Defects::has(defect::lost_ack_is_failure) && std::holds_alternative<op::acknowledge>(request)) {
            for (auto const& a : std::exchange(acknowledging_, {})) {
                belief_->change_table(
                    [&](auto& table) { table[a.item.id] = {a.item.generation, 1, a.item.to, a.why}; });
                handing_over_.insert(a.item.id);
            }
        }
        if (std::holds_alternative<op::join>(request)) {
            bool const hopeless =
                why.code != errc::unavailable && why.code != errc::timed_out && why.code != errc::outcome_unknown;
            // A refusal is the user's to see; while it was a member before, it keeps trying.
            if (hopeless && !was_member_) standing_ = standing::out;
        }
        if (why.code == errc::not_joined || why.code == errc::not_leader) {
            // The tick says what became of us.
            tick_at_ = now;
            if (why.code == errc::not_leader) leader_.stop(), feed_if_wanted();
            retry_at_ = now;
            return;
        }
        // What retrying alone does not heal is an operator's business: said once, and again after a while.
        bool const transient = why.code == errc::unavailable || why.code == errc::timed_out ||
                               why.code == errc::outcome_unknown || why.code == errc::conflict;
        if (!transient && (warned_of_ != why || now >= warn_again_at_)) {
            warned_of_ = why;
            warn_again_at_ = now + std::chrono::minutes{1};
            tell(warning{why});
        }
        // What the server refuses is not said again: the lease, or the life, ends by itself.
        if (!transient || why.code == errc::conflict) {
            if (std::holds_alternative<op::renounce>(request)) renouncing_.reset();
            if (std::holds_alternative<op::leave>(request)) farewell_ = 0;
        }
        ++failures_;
        auto const step =
            std::min(options_.heartbeat_interval / 2, microseconds{5000} * (1 << std::min(failures_ - 1, 10u)));
        retry_at_ = now + step / 2 + jitter_.up_to(step / 2);
    }

    // ================================================================ replies: membership and leadership

    void on(op::join const&, reply const& answer, instant sent, instant now) {
        auto const& r = std::get<op::joined>(answer);
        standing_ = standing::member;
        join_nonce_ = 0;
        was_member_ = true;
        suspended_ = false;
        failure_.reset();
        self_ = {options_.node_id, r.incarnation};
        epoch_ = r.epoch;
        see(r.incarnation);
        version_ = server_version_ = life_needs_version_ = 0;
        read_to_the_end_ = false;
        if (!options_.jitter_seed) jitter_ = jitter_source{hash_of(options_.node_id) ^ r.incarnation};
        belief_->become(r.incarnation, anchored<Defects>(options_, sent, now, options_.node_ttl));
        tell(node_joined{self_, r.epoch});
        if (options_.event_scope == event_scope::group) feed_.start(epoch_);
        feed_.heard_of(r.seq);
        last_contact_ = now;
        // Nobody is taken for dead by one that cannot know yet whether the group was silent.
        reap_from_ = now + options_.heartbeat_interval;
        tick_at_ = now;
    }

    void on(op::tick const& request, reply const& answer, instant sent, instant now) {
        auto const& r = std::get<op::ticked>(answer);
        if (request.incarnation != self_.incarnation) return;
        see(r.fence);
        failure_.reset();
        switch (r.status) {
            case op::tick_status::reaped: lose(false, now); return;
            case op::tick_status::data_lost: lose(true, now); return;
            case op::tick_status::fenced: be_fenced(); return;
            case op::tick_status::ok: break;
        }
        tick_at_ = tick_from_ + options_.heartbeat_interval;
        // After a silence of the whole group (the server stalled), give the others a heartbeat to report.
        if (now - last_contact_ > options_.heartbeat_interval + options_.heartbeat_interval / 2) {
            reap_from_ = now + options_.heartbeat_interval;
        }
        last_contact_ = now;
        auto const until = anchored<Defects>(options_, sent, now, options_.node_ttl);
        if (Defects::has(defect::life_before_reading)) extend_life(until);
        if (r.version < version_) server_changed();  // what we have read is not there any more
        if (r.version == version_) {
            extend_life(until);
        } else {
            server_version_ = std::max(server_version_, r.version);
            if (life_needs_version_ == 0) {
                life_after_reading_ = until;
                life_needs_version_ = r.version;
            }
        }
        feed_.heard_of(r.seq);
        hear_of_leader(r, sent, now);
    }

    void extend_life(instant until) {
        belief_->extend_life(until);
        if (suspended_ && belief_->now() < belief_->alive_until()) {
            suspended_ = false;
            tell(node_resumed{self_});
            if (!Defects::has(defect::resume_untold)) leadership_begins(belief_->now());
        }
    }

    // Belief in our own leadership needs a lease and a life; whichever comes second makes it so.
    void leadership_begins(instant now) {
        if (leads_told_ || !belief_->leads(now)) return;
        leads_told_ = true;
        tell(leadership_changed{self_, belief_->term(), std::exchange(told_leader_, {})});
        leader_.start(self_.incarnation, belief_->term());
        feed_.start(epoch_);
        tick_at_ = now;  // whom to watch
    }

    void hear_of_leader(op::ticked const& r, instant sent, instant now) {
        auto const previous = belief_->last_leader().node;
        bool const me = r.leader == self_.incarnation;
        auto const lease_end = now + r.leader_remaining;
        node_ref const leader{r.leader_id, r.leader};
        if (me) {
            belief_->lead(r.term, anchored<Defects>(options_, sent, now, r.leader_remaining));
            belief_->hear_of_leader({leader, r.term, {}}, lease_end);
            if (!leads_told_ && belief_->leads(belief_->now())) {
                leads_told_ = true;
                tell(leadership_changed{leader, r.term, previous == leader ? node_ref{} : previous});
            }
            if (leads_told_ && !leader_.active()) {
                leader_.start(self_.incarnation, r.term);
                feed_.start(epoch_);
                feed_.heard_of(r.seq);
            }
            leader_.on_tick(r.sweep, now, reap_from_);
            candidates_ = r.sweep.candidates;
            election_at_ = instant::max();
            return;
        }
        if (leads_told_) leadership_ended(now);
        belief_->stop_leading();
        candidates_.clear();
        auto const before = belief_->last_leader();
        bool const changed = told_leader_ != leader || before.term != r.term;
        belief_->hear_of_leader({leader, r.term, {}}, lease_end);
        if (changed && (r.leader != 0 || told_leader_.incarnation != 0)) {
            tell(leadership_changed{leader, r.term, std::exchange(told_leader_, leader)});
        }
        told_leader_ = leader;
        // Be there when the lease ends: at once if it is vacant and we may, a little apart from the others.
        if (r.leader == 0) {
            election_at_ = std::max(sit_out_until_, now + options_.heartbeat_interval / 4);
        } else {
            election_at_ = std::max(sit_out_until_, lease_end + microseconds{1000} + jitter_.up_to(election_jitter()));
        }
    }

    // How far apart candidates spread their first try after a lease has run out.
    [[nodiscard]] microseconds election_jitter() const {
        return std::min(microseconds{5000}, options_.heartbeat_interval / 100);
    }

    void leadership_ended(instant now) {
        leads_told_ = false;
        leader_.stop();
        feed_if_wanted();
        told_leader_ = {};
        auto const was = self_;
        leadership_changed nobody;
        nobody.previous = was;
        tell(std::move(nobody));
        if (belief_->last_leader().node.incarnation == was.incarnation) belief_->hear_of_leader({}, now);
    }

    void end_leadership() {
        belief_->stop_leading();
        if (leads_told_) leadership_ended(belief_->now());
    }

    void feed_if_wanted() {
        if (options_.event_scope == event_scope::own) feed_.stop();
    }

    void on(op::renounce const&, reply const&, instant, instant now) {
        renouncing_.reset();
        if (Defects::has(defect::renounce_first)) end_leadership();
        election_at_ = std::max(sit_out_until_, now + options_.heartbeat_interval / 4);
    }

    // A goodbye of the lane: to an incarnation whose state was lost or taken over.
    void on(op::leave const&, reply const&, instant, instant) { farewell_ = 0; }

    void lose(bool data_lost, instant now) {
        auto const was = self_;
        if (data_lost) farewell_ = was.incarnation;  // it may still stand there: its schedules need not wait
        tell(node_lost{was, data_lost});
        if (Defects::has(defect::keep_after_reap)) {
            belief_->become(was.incarnation, now + options_.node_ttl);
        } else {
            feed_.interrupt();
            drop_everything(change_reason::lost);
        }
        standing_ = standing::joining;
        join_nonce_ = new_nonce();
        retry_at_ = now;
    }

    void be_fenced() {
        if (Defects::has(defect::fenced_rejoins)) return lose(false, belief_->now());
        farewell_ = self_.incarnation;  // all belief is dropped: the newer one need not wait for our deadline
        auto const was = self_;
        drop_everything(change_reason::lost);
        standing_ = standing::fenced;
        tell(node_fenced{was});
    }

    void drop_everything(change_reason why) {
        end_leadership();
        auto const was = std::exchange(self_, {options_.node_id, 0});
        std::vector<std::string> had;
        for (auto const& [id, s] : belief_->table()) had.push_back(id);
        for (auto const& a : acknowledging_) had.push_back(a.item.id);
        belief_->end();
        if (options_.event_scope == event_scope::own) {
            for (auto& id : had) tell(ownership_changed{std::move(id), was, {}, 0, why});
        }
        held_[0].clear();
        held_[1].clear();
        acknowledging_.clear();
        handing_over_.clear();
        resync_.reset();
        renouncing_.reset();
        suspended_ = false;
        if (options_.event_scope == event_scope::own) feed_.stop();
        belief_->hear_of_leader({}, {});
        told_leader_ = {};
        election_at_ = instant::max();
        tick_at_ = instant::max();
    }

    // ================================================================ what this node owns

    struct resync {
        std::uint64_t base = 0;
        bool first_page = true;
        std::string after;
        belief::owned_table table;
    };

    [[nodiscard]] std::optional<operation> next_own_read() const {
        if (resync_) return op::schedules_page{.holder = self_.incarnation, .after = resync_->after};
        if (read_to_the_end_ || server_version_ > version_)
            return op::changes_since{.incarnation = self_.incarnation, .version = version_};
        return std::nullopt;
    }

    void on(op::changes_since const& request, reply const& answer, instant, instant now) {
        auto const& r = std::get<op::changes_reply>(answer);
        if (request.incarnation != self_.incarnation) return;
        if (r.gap) {
            resync_.emplace();
            return;
        }
        for (auto const& c : r.items) apply(c, now);
        // The versions of a log are dense: fewer steps than there is room for were all there are.
        bool const at_end = r.to - request.version < op::max_change_steps;
        version_ = r.to;
        if (at_end) read_to_the_end_ = false;
        if (at_end || version_ > server_version_) server_version_ = version_;
        heard_all_up_to_version();
    }

    void heard_all_up_to_version() {
        if (life_needs_version_ == 0 || version_ < life_needs_version_) return;
        life_needs_version_ = 0;
        extend_life(life_after_reading_);
    }

    void tell_own(std::string const& id, node_ref from, node_ref to, fencing_token generation, change_reason why) {
        if (options_.event_scope == event_scope::own)
            tell(ownership_changed{id, std::move(from), std::move(to), generation, why});
    }
    [[nodiscard]] node_ref ref(fencing_token incarnation) const {
        if (incarnation == self_.incarnation) return self_;
        if (incarnation == told_leader_.incarnation) return told_leader_;
        return feed_.ref(incarnation);
    }

    // It is ours again before we heard that it had gone: that comes first.
    void forget_acknowledgement(std::string const& id) {
        auto const a = find_where(acknowledging_, [&](auto const& x) { return x.item.id == id; });
        if (a == acknowledging_.end()) return;
        tell_own(id, self_, ref(a->item.to), 0, a->why);
        acknowledging_.erase(a);
    }

    void apply(op::change const& c, instant now) {
        auto const s = belief_->table().find(c.id);
        bool const known = s != belief_->table().end();
        switch (c.kind) {
            case op::change_kind::granted:
                see(c.generation);
                if (known && s->second.generation >= c.generation) return;
                forget_acknowledgement(c.id);
                belief_->change_table([&](auto& table) { table[c.id] = {c.generation, c.weight}; });
                handing_over_.erase(c.id);
                tell_own(c.id, ref(c.other), self_, c.generation, c.reason);
                return;
            case op::change_kind::revoking:
                if (!known || s->second.generation != c.generation || s->second.moving_to != 0) return;
                belief_->change_table([&](auto& table) {
                    auto& mine = table[c.id];
                    mine.moving_to = c.other;
                    mine.moving_why = c.reason;
                });
                handing_over_.insert(c.id);
                tell(handoff_requested{c.id, c.other, c.handoff, c.reason});
                return;
            case op::change_kind::removed:
                if (!known) return;
                belief_->change_table([&](auto& table) { table.erase(c.id); });
                handing_over_.erase(c.id);
                tell_own(c.id, self_, {}, 0, change_reason::unregistered);
                return;
            case op::change_kind::vacancy:  // the tick that told of this entry may have come before it
                if (!leads_told_) tick_at_ = std::min(tick_at_, now);
                return;
        }
    }

    void on(op::schedules_page const& request, reply const& answer, instant, instant) {
        auto const& r = std::get<op::page_reply>(answer);
        if (!resync_ || request.holder != self_.incarnation) {
            feed_.on(r);
            return;
        }
        if (resync_->first_page) resync_->base = r.version;
        resync_->first_page = false;
        for (auto const& s : r.items) {
            resync_->table[s.id] = {s.generation, s.weight, s.moving_to, change_reason::rebalanced};
            resync_->after = s.id;
        }
        if (r.items.size() == op::max_batch) return;
        tell(events_gap{});
        auto fresh = std::move(resync_->table);
        version_ = resync_->base;
        server_version_ = std::max(server_version_, version_);
        read_to_the_end_ = true;  // what happened since page one
        resync_.reset();
        // What an acknowledgement is under way for is given up for good: it is not believed in again.
        std::erase_if(acknowledging_, [&](acknowledgement const& a) {
            auto const s = fresh.find(a.item.id);
            bool const still =
                s != fresh.end() && s->second.generation == a.item.generation && s->second.moving_to == a.item.to;
            if (still && !Defects::has(defect::resync_takes_back)) {
                fresh.erase(s);
            } else {
                tell_own(a.item.id, self_, {}, 0, change_reason::resynced);
            }
            return !still;
        });
        for (auto const& [id, s] : belief_->table()) {
            auto const now_there = fresh.find(id);
            if (now_there == fresh.end()) tell_own(id, self_, {}, 0, change_reason::resynced);
        }
        for (auto const& [id, s] : fresh) {
            auto const before = belief_->table().find(id);
            see(s.generation);
            if (before == belief_->table().end() || before->second.generation != s.generation) {
                tell_own(id, {}, self_, s.generation, change_reason::resynced);
            }
        }
        handing_over_.clear();
        for (auto const& [id, s] : fresh) {
            if (s.moving_to != 0 && !Defects::has(defect::resync_loses_handoffs)) handing_over_.insert(id);
        }
        belief_->change_table([&](auto& table) { table = std::move(fresh); });
    }

    // ================================================================ hand-offs

    // From when on no run of ours can be under way.
    [[nodiscard]] instant idle_from(std::string const& id) const {
        auto const l = held_[0].find(id);
        if (l == held_[0].end() || l->second.released || Defects::has(defect::ack_during_run)) return instant::min();
        return l->second.until;
    }

    struct acknowledgement {
        op::acknowledge::item item;
        instant not_before{};
        change_reason why{};
    };

    // Belief in what is to be handed over is dropped here, before the acknowledgement is sent.
    [[nodiscard]] std::optional<operation> next_acknowledgement(instant now) {
        std::vector<std::string> idle;
        for (auto const& id : handing_over_) {
            if (acknowledging_.size() + idle.size() >= op::max_batch) break;
            if (now >= idle_from(id)) idle.push_back(id);
        }
        for (auto const& id : idle) {
            auto const s = belief_->table().find(id)->second;
            acknowledging_.push_back({{id, s.generation, s.moving_to}, now, s.moving_why});
            handing_over_.erase(id);
            if (Defects::has(defect::acknowledge_first)) continue;
            belief_->change_table([&](auto& table) { table.erase(id); });
        }
        op::acknowledge request{.incarnation = self_.incarnation, .seen = seen_};
        for (auto const& a : acknowledging_) {
            if (now >= a.not_before && request.items.size() < op::max_batch) request.items.push_back(a.item);
        }
        if (request.items.empty()) return std::nullopt;
        return request;
    }

    void on(op::acknowledge const& request, reply const& answer, instant, instant now) {
        auto const& r = std::get<op::outcomes>(answer);
        for (std::size_t i = 0; i < r.items.size() && i < request.items.size(); ++i) {
            auto const& out = r.items[i];
            auto const& id = request.items[i].id;
            auto const a = find_where(acknowledging_, [&](auto const& x) { return x.item.id == id; });
            if (a == acknowledging_.end()) continue;
            see(out.token);
            if (out.code == errc::locked_by_other) {
                a->not_before = now + out.remaining + microseconds{1000};
                continue;
            }
            if (Defects::has(defect::acknowledge_first)) {
                belief_->change_table([&](auto& table) { table.erase(a->item.id); });
            }
            bool const given_up = out.code == errc::unknown_node || out.code == errc::capacity_exceeded;
            bool const handed = out.ok() || out.code == errc::conflict;  // conflict: a repeat of what was done already
            tell_own(a->item.id, self_, handed ? ref(a->item.to) : node_ref{}, out.token,
                     given_up ? change_reason::given_up : a->why);
            acknowledging_.erase(a);
        }
        if (!acknowledging_.empty()) tick_at_ = std::min(tick_at_, now + options_.heartbeat_interval);
    }

    // ================================================================ the group, and leading it

    void on(op::events_since const&, reply const& answer, instant, instant) {
        feed_.on(std::get<op::events_reply>(answer), [this](event e) {
            bool const membership = std::holds_alternative<membership_changed>(e);
            if (options_.event_scope == event_scope::group || (membership && leads_told_)) tell(std::move(e));
        });
    }
    void on(op::nodes_page const&, reply const& answer, instant, instant) {
        feed_.on(std::get<op::nodes_reply>(answer));
    }
    void on(op::reap const& request, reply const&, instant, instant) {
        leader_.on(request);
        feed_.look();
    }
    void on(op::adopt const& request, reply const& answer, instant, instant now) {
        leader_.on(request, std::get<op::outcomes>(answer), now);
        after_own_grants(request.items, std::get<op::outcomes>(answer));
        feed_.look();
    }
    void on(op::revoke const& request, reply const& answer, instant, instant now) {
        leader_.on(request, std::get<op::outcomes>(answer), now);
        auto const& r = std::get<op::outcomes>(answer);
        for (std::size_t i = 0; i < r.items.size() && i < request.items.size(); ++i) {
            if (r.items[i].ok() && request.items[i].from == self_.incarnation) own_log_moved();
        }
        feed_.look();
    }
    // The leader need not be woken for what it gave itself.
    void after_own_grants(std::vector<op::adopt::item> const& items, op::outcomes const& r) {
        for (std::size_t i = 0; i < r.items.size() && i < items.size(); ++i) {
            see(r.items[i].token);
            if (r.items[i].ok() && items[i].to == self_.incarnation) {
                own_log_moved();
                return;
            }
        }
    }

    // The lane asks for nothing else.
    template <typename Other>
    void on(Other const&, reply const&, instant, instant) {
        ROTA_ASSERT(false);
    }

    [[nodiscard]] lock_table& held(op::lock_kind k) { return held_[k == op::lock_kind::schedule ? 0 : 1]; }

    options options_;
    std::shared_ptr<late<belief, Defects>> belief_;
    leader_machine<Defects> leader_;
    group_feed<Defects> feed_;
    jitter_source nonces_;
    jitter_source jitter_;

    standing standing_ = standing::out;
    bool was_member_ = false;
    bool suspended_ = false;
    bool leads_told_ = false;
    bool ticked_last_ = false;
    node_ref self_;
    fencing_token epoch_ = 0;
    fencing_token seen_ = 0;
    std::uint64_t join_nonce_ = 0;
    fencing_token farewell_ = 0;  // an incarnation that is still to take its leave
    bool left_ = false;           // ... because it was told to
    node_ref told_leader_;
    std::vector<fencing_token> candidates_;
    std::optional<late<op::renounce, Defects>> renouncing_;

    instant tick_at_ = instant::max();
    instant tick_from_{};
    instant election_at_ = instant::max();
    instant sit_out_until_{};
    instant retry_at_{};
    instant last_contact_{};
    instant reap_from_{};
    unsigned failures_ = 0;
    std::optional<error> failure_;
    std::optional<error> warned_of_;
    instant warn_again_at_{};

    std::uint64_t version_ = 0;         // of our change log: applied
    std::uint64_t server_version_ = 0;  // ... known to exist
    bool read_to_the_end_ = false;      // ... newer entries than that may exist
    std::uint64_t life_needs_version_ = 0;
    instant life_after_reading_{};
    std::optional<resync> resync_;
    std::set<late<std::string, Defects>, std::less<>> handing_over_;  // owned, but another is to have it
    lock_table held_[2];
    std::vector<acknowledgement> acknowledging_;
    std::vector<event> events_;
};

}  // namespace rota::detail

// ---- rota/detail/two_lane_mutex.hpp --------------------------------------------------------------------------------
// A mutex with a fast lane: whoever comes by it waits for one holder at most, however many others queue up. A node's
// heartbeats take it, so that threads which use the connection all the time cannot make the node miss its deadline.

namespace rota::detail {

/// Of those in the queue one at a time stands beside the door; only with that one does the fast lane compete. Neither
/// lane is fair among its own.
class two_lane_mutex {
public:
    void lock() {
        queue_.lock();
        enter();
    }
    void unlock() {
        inside_.unlock();
        queue_.unlock();
    }

    /// The same mutex by its fast lane, for a lock_guard.
    class fast_lane {
    public:
        explicit fast_lane(two_lane_mutex& m) : mutex_{m} {}
        void lock() { mutex_.enter(); }
        void unlock() { mutex_.inside_.unlock(); }

    private:
        two_lane_mutex& mutex_;
    };

private:
    void enter() {
        std::lock_guard const at_the_door{door_};
        inside_.lock();
    }

    std::mutex queue_, door_, inside_;
};

}  // namespace rota::detail

namespace rota::detail {

/// The policies of a blocking coordinator, type-erased.
class ports {
public:
    virtual result<void> open(transport_settings const&) = 0;
    virtual result<reply> perform(operation const&, microseconds timeout) = 0;
    virtual wake_reason wait(subscription const&, microseconds timeout) = 0;
    virtual void wake() = 0;
    virtual bool take_server_changed() = 0;
    virtual std::vector<error> take_warnings() = 0;
    virtual void deliver(event const&) noexcept = 0;
    virtual planner strategy() = 0;

protected:
    ~ports() = default;
};

template <typename Defects = sound>
class blocking_engine final : private lock_host {
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;
    template <typename T>
    using results = late<rota::results<T>, Defects>;

public:
    blocking_engine(options given, ports& policies, std::shared_ptr<belief> published, std::uint64_t entropy)
        : ports_{policies},
          belief_{std::move(published)},
          core_{std::move(given), policies.strategy(), belief_, entropy},
          link_{std::make_shared<lock_link>(static_cast<lock_host&>(*this), belief_)} {}

    /// The coordinator's destructor: no handle reaches in any more, then one bounded leave.
    void shut_down() {
        link_->close();
        {
            std::unique_lock lock{queue_mutex_};
            closing_.store(true);
            ports_.wake();
            idle_.wait(lock, [this] { return !running_.load(); });
        }
        (void)leave();
    }

    // ================================================================ membership

    result<void> join() {
        if (auto r = enter(); !r) return r;
        auto const began = begin_join();
        if (!began) return began.error();
        auto const limit = now() + core_.settings().operation_timeout;
        bool unknown = false;
        for (unsigned n = 1;; ++n) {
            drive();
            std::lock_guard const io{io_};
            auto const state = core_.state();
            if (state == standing::member) break;
            auto failure = core_.last_failure().value_or(error{errc::unavailable, "could not join"});
            bool const again = failure == errc::outcome_unknown;
            unknown = unknown || again;
            if (state == standing::joining && again && n < most_attempts && now() < limit) {
                core_.want_tick(now());
                continue;
            }
            // What run() is still trying, or a member that was taken for dead, is left to try.
            if (*began && !running_.load()) core_.begin_leave();
            if (unknown) failure.code = errc::outcome_unknown;
            return failure;
        }
        if (has_more_to_do()) drive();  // its first tick, if joining took long
        return {};
    }

    result<void> tick() {
        if (auto r = enter(); !r) return r;
        {
            std::lock_guard const io{io_};
            if (core_.state() == standing::out) return {errc::not_joined, "join() first"};
            core_.want_tick(now());
        }
        drive();
        if (watched_.load()) listen();
        return outcome_of_tick();
    }

    /// From now on a loop watches the transport's wake_fd().
    void be_watched() { watched_.store(true); }

    result<void> run(std::stop_token stop, instant until) {
        if (auto r = enter(); !r) return r;
        if (running_.exchange(true)) return {errc::already_running, "run() is under way on another thread"};
        struct no_longer_running {
            blocking_engine& engine;
            ~no_longer_running() {
                std::lock_guard const lock{engine.queue_mutex_};
                engine.running_.store(false);
                engine.idle_.notify_all();
            }
        } const guard{*this};
        std::stop_callback const on_stop{stop, [this] { ports_.wake(); }};
        if (state() == standing::fenced) return fenced();
        if (stop.stop_requested() || now() >= until) return {};
        if (state() != standing::member) {
            if (auto r = begin_join(); !r) return r.error();
        }
        for (;;) {
            drive();
            auto const [state, failure] = where_we_are();
            if (state == standing::fenced) return fenced();
            if (state == standing::out) return failure ? result<void>{*failure} : result<void>{};
            auto const at = now();
            if (stop.stop_requested() || at >= until) return {};
            if (closing_.load()) return {errc::cancelled, "the coordinator is being destroyed"};
            auto const [listen, due] = fall_asleep();
            auto const wake_at = std::min(due, until);
            auto why = wake_reason::timeout;
            if (wake_at > at) {
                std::lock_guard const turn{sleep_};
                why = ports_.wait(listen, std::min(wake_at - at, longest_sleep));
            }
            std::lock_guard const io{lane_io_};
            nap_.reset();
            if (why == wake_reason::pushed) core_.want_tick(now());
        }
    }

    result<void> leave() {
        if (auto r = enter(); !r) return r;
        result<void> answer;
        {
            std::lock_guard const io{io_};
            core_.begin_leave();
            if (auto request = core_.leave_operation()) {
                collect();
                auto const reply = attempt(*request);
                core_.finish_leave(reply.has_value());
                if (!reply) answer = reply.error();
            }
            collect();
        }
        if (running_.load()) ports_.wake();
        deliver();
        return answer;
    }

    [[nodiscard]] microseconds next_tick() const {
        auto const at = now();
        auto const due = due_.load();
        return due > at ? due - at : microseconds{};
    }

    // ================================================================ leadership

    result<bool> try_become_leader() {
        if (auto r = tick(); !r) return r.error();
        return belief_->leads(now());
    }

    result<void> renounce() {
        if (auto r = enter(); !r) return r;
        result<void> answer;
        {
            std::lock_guard const io{io_};
            auto const request = core_.begin_renounce(now());
            if (!request) return {errc::not_leader, "this node does not lead"};
            collect();
            auto const sent = now();
            auto const reply = attempt(*request);
            if (reply) core_.done(*request, reply, sent, now());
            if (!reply) answer = reply.error();
            collect();
        }
        deliver();
        return answer;
    }

    result<void> rebalance() {
        if (auto r = enter(); !r) return r;
        {
            std::lock_guard const io{io_};
            if (auto r = core_.can_act(now()); !r) return r;
            if (!belief_->leads(now())) return {errc::not_leader, "only the leader rebalances"};
            core_.rebalance_now();
            core_.want_tick(now());
        }
        drive();
        if (auto r = outcome_of_tick(); !r) return r;
        std::lock_guard const io{io_};
        auto const& fault = core_.leading().last_fault();
        return fault.empty() ? result<void>{} : result<void>{errc::invalid_argument, fault};
    }

    // ================================================================ locks

    results<schedule_lock> lock_each(op::lock_kind kind, std::vector<std::string> names, microseconds ttl) {
        results<schedule_lock> locks;
        locks.reserve(names.size());
        auto refuse_rest = [&](error const& why) {
            while (locks.size() < names.size()) locks.push_back(why);
        };
        if (auto r = check_locks(kind, names, ttl); !r) {
            refuse_rest(r.error());
            return locks;
        }
        while (locks.size() < names.size()) {
            auto const begin = std::make_move_iterator(names.begin() + std::ssize(locks));
            auto const count = std::min<std::size_t>(op::max_batch, names.size() - locks.size());
            if (auto r = lock_page(kind, {begin, begin + static_cast<std::ptrdiff_t>(count)}, ttl, locks); !r) {
                refuse_rest(r.error());
            }
        }
        deliver();
        return locks;
    }

    result<schedule_lock> lock_one(op::lock_kind kind, std::string name, microseconds ttl) {
        std::vector<std::string> names;
        names.push_back(std::move(name));
        auto locks = lock_each(kind, std::move(names), ttl);
        return std::move(locks.front());
    }

    results<void> extend_each(std::span<schedule_lock> locks, microseconds ttl) {
        return in_batches(
            locks, [&](std::span<schedule_lock*> batch, op::lock_kind kind) { return extend_batch(batch, kind, ttl); });
    }

    results<void> release_each(std::span<schedule_lock> locks) {
        return in_batches(
            locks, [&](std::span<schedule_lock*> batch, op::lock_kind kind) { return release_batch(batch, kind); });
    }

    // ================================================================ schedules

    results<void> register_schedules(std::span<schedule const> list) {
        results<void> answers;
        if (auto r = enter(); !r) return all_failed<void>(list.size(), r.error());
        for (auto const& s : list) {
            if (auto r = check_id("a schedule id", s.id); !r) {
                return all_failed<void>(list.size(), at_item(&s - list.data(), r.error()));
            }
            if (!is_finite(s.weight) || s.weight <= 0) {
                return all_failed<void>(
                    list.size(),
                    {errc::invalid_argument,
                     fmt::format("the weight of {} is {}, must be finite and more than 0", in_words(s.id), s.weight)});
            }
        }
        std::vector<std::string_view> ids;
        for (auto const& s : list) ids.push_back(s.id);
        if (auto r = check_distinct(std::move(ids)); !r) return all_failed<void>(list.size(), r.error());
        each_page(list, [&](std::span<schedule const> page) {
            auto const r = perform<op::register_schedules>({.items = {page.begin(), page.end()}});
            add_outcomes(answers, page.size(), r, [&](std::size_t i) { return in_words(page[i].id); });
        });
        after_change();
        return answers;
    }

    results<void> unregister_schedules(std::span<std::string const> ids) {
        results<void> answers;
        if (auto r = enter(); !r) return all_failed<void>(ids.size(), r.error());
        if (auto r = check_ids(ids); !r) return all_failed<void>(ids.size(), r.error());
        each_page(ids, [&](std::span<std::string const> page) {
            auto const nonce = new_nonce();
            std::vector<outcome_or_error> state(page.size());
            // Where they are is looked up first; who moved in between is looked up again.
            for (int round = 0; round < 4; ++round) {
                op::lookup look;
                std::vector<std::size_t> open;
                for (std::size_t i = 0; i < page.size(); ++i) {
                    if (state[i].settled) continue;
                    look.ids.push_back(page[i]);
                    open.push_back(i);
                }
                if (open.empty()) break;
                auto const found = perform<op::lookup>(look);
                op::unregister_schedules request{.nonce = nonce};
                for (std::size_t k = 0; found && k < open.size(); ++k) {
                    request.items.push_back({page[open[k]], found->items[k].status.owner});
                }
                auto const r = found ? perform<op::unregister_schedules>(request) : result<op::outcomes>{found.error()};
                for (std::size_t k = 0; k < open.size(); ++k) state[open[k]].set(r, k);
                if (r) note_own_change(*r);
            }
            for (std::size_t i = 0; i < page.size(); ++i) answers.push_back(state[i].as_result(in_words(page[i])));
        });
        after_change();
        return answers;
    }

    results<owned_schedule> claim(std::span<std::string const> ids) {
        results<owned_schedule> answers;
        if (auto r = enter(); !r) return all_failed<owned_schedule>(ids.size(), r.error());
        if (auto r = check_ids(ids); !r) return all_failed<owned_schedule>(ids.size(), r.error());
        each_page(ids, [&](std::span<std::string const> page) {
            op::claim request{.ids = {page.begin(), page.end()}};
            if (auto r = as_member(request); !r) {
                for (std::size_t i = 0; i < page.size(); ++i) answers.push_back(r.error());
                return;
            }
            auto const r = perform<op::claim>(request);
            for (std::size_t i = 0; i < page.size(); ++i) {
                if (!r) {
                    answers.push_back(r.error());
                } else if (!r->items[i].ok()) {
                    bool const guarded = r->items[i].code == errc::conflict;
                    auto const why = guarded ? ": registered anew, and an earlier owner may not have heard of it" : "";
                    answers.push_back(error{r->items[i].code, in_words(page[i]) + why});
                } else {
                    answers.push_back(owned_schedule{page[i], r->items[i].token});
                }
            }
            if (r) note_own_change(*r);
        });
        after_change();
        std::lock_guard const io{io_};
        for (auto& claimed : answers) {
            if (!claimed) continue;
            auto const s = belief_->table().find(claimed->id);  // the weight is known by now
            if (s != belief_->table().end()) claimed->weight = s->second.weight;
        }
        return answers;
    }

    result<void> transfer(std::string const& id, std::string const& node_id) {
        if (auto r = enter(); !r) return r;
        if (auto r = check_id("the schedule id", id); !r) return r;
        auto const to = incarnation_of(node_id);
        if (!to) return to.error();
        auto const found = perform<op::lookup>({.ids = {id}});
        if (!found) return found.error();
        auto const& [registered, status] = found->items.front();
        if (!registered) return {errc::unknown_schedule, in_words(id)};
        if (status.owner == *to && status.moving_to == 0) return {};
        result<op::outcomes> r = errc::not_leader;
        fencing_token self = 0, term = 0;
        {
            std::lock_guard const io{io_};
            if (auto can = core_.can_act(now()); !can) return can;
            self = core_.self().incarnation;
            if (belief_->leads(now())) term = belief_->term();
        }
        if (term == 0 && status.owner != self) {
            return {errc::not_leader, "only the owner or the leader transfers a schedule"};
        }
        auto const seen = seen_token();
        if (status.owner == *to) return {errc::conflict, in_words(id) + " is on its way to another node"};
        if (status.owner == 0) {
            r = perform<op::adopt>({.incarnation = self,
                                    .term = term,
                                    .items = {{id, status.generation, 0, *to, change_reason::transferred}},
                                    .seen = seen});
        } else {
            r = perform<op::revoke>({.incarnation = self,
                                     .term = status.owner == self ? 0 : term,
                                     .items = {{id, status.generation, status.owner, *to, change_reason::transferred}},
                                     .handoff_deadline = core_.settings().handoff_deadline});
        }
        if (!r) return r.error();
        note_own_change(*r);
        after_change();
        auto const& out = r->items.front();
        if (out.ok()) return {};
        if (out.code == errc::conflict) {  // also what a repeat is answered, once the first has taken effect
            auto const now_at = perform<op::lookup>({.ids = {id}});
            if (now_at && now_at->items.front().status.owner == *to) return {};
        }
        return {out.code, in_words(id) + " to " + in_words(node_id)};
    }

    // ================================================================ queries

    result<std::vector<node_status>> nodes() {
        if (auto r = enter(); !r) return r.error();
        std::vector<node_status> all;
        for (fencing_token after = 0;;) {
            auto page = perform<op::nodes_page>({.after = after});
            if (!page) return page.error();
            for (auto& n : page->items) {
                after = n.node.incarnation;
                all.push_back(std::move(n));
            }
            if (page->items.size() < op::max_batch) return all;
        }
    }

    result<std::vector<schedule_status>> orphaned() {
        auto const all = nodes();
        if (!all) return all.error();
        std::vector<schedule_status> orphans;
        if (auto r = read_holder(0, orphans); !r) return r.error();
        for (auto const& n : *all) {
            if (n.alive && n.remaining > microseconds{}) continue;
            if (auto r = read_holder(n.node.incarnation, orphans); !r) return r.error();
        }
        return orphans;
    }

    result<proposal> propose() {
        if (auto r = enter(); !r) return r.error();
        group_feed<Defects> picture;
        auto const start = perform<op::nodes_page>({.limit = 1});
        if (!start) return start.error();
        picture.start(start->epoch);
        while (auto request = picture.next()) {
            auto const answer = perform_any(*request);
            if (!answer) return answer.error();
            if (auto* page = std::get_if<op::nodes_reply>(&*answer)) picture.on(*page);
            if (auto* page = std::get_if<op::page_reply>(&*answer)) picture.on(*page);
            if (auto* page = std::get_if<op::events_reply>(&*answer)) picture.on(*page, [](event const&) {});
        }
        planning_board<Defects> board;
        auto const& view = board.draw(picture);
        plan p;
        std::string fault;
        {
            std::lock_guard const io{io_};  // the strategy is asked by one thread at a time
            fault = ports_.strategy()(view, p);
        }
        if (!fault.empty()) return error{errc::invalid_argument, std::move(fault)};
        proposal out{.forced = p.forced,
                     .voluntary = p.voluntary,
                     .bound = p.bound,
                     .unplaced = p.unplaced,
                     .spread_before = p.spread_before,
                     .spread_after = p.spread_after};
        for (auto const& m : p.moves) {
            auto const from =
                m.forced() ? node_ref{} : node_ref{std::string{view.nodes[m.from].id}, view.nodes[m.from].incarnation};
            out.moves.push_back({board.id_of(m.schedule),
                                 from,
                                 {std::string{view.nodes[m.to].id}, view.nodes[m.to].incarnation},
                                 m.forced() ? change_reason::placed : change_reason::rebalanced});
        }
        return out;
    }

    [[nodiscard]] instant now() const { return belief_->now(); }
    [[nodiscard]] bool in_sink() const { return delivering_.load() == std::this_thread::get_id(); }

private:
    using core = node_core<Defects>;
    using standing = typename core::standing;
    static constexpr microseconds longest_sleep = std::chrono::hours{1};
    static constexpr unsigned most_attempts = 3;

    struct outcome_or_error {
        bool settled = false;
        errc code{};
        std::string words;

        void set(result<op::outcomes> const& r, std::size_t item) {
            code = r ? r->items[item].code : r.error().code;
            words = r ? std::string{} : r.error().detail;
            settled = code != errc::conflict;
        }
        result<void> as_result(std::string const& what) const {
            if (code == errc{}) return {};
            return {code, words.empty() ? what : words};
        }
    };

    result<void> enter() const {
        if (in_sink())
            return {errc::reentrant_call, "called from inside an event sink: only local reads are allowed there"};
        return {};
    }

    static result<void> fenced() { return {errc::fenced, "a newer process has this node_id"}; }

    standing state() {
        std::lock_guard const io{lane_io_};
        return core_.state();
    }
    std::pair<standing, std::optional<error>> where_we_are() {
        std::lock_guard const io{lane_io_};
        return {core_.state(), core_.last_failure()};
    }
    // What run() sleeps for. Calls of other threads may change that: see collect().
    struct nap {
        subscription listen;
        instant until{};
    };
    nap fall_asleep() {
        std::lock_guard const io{lane_io_};
        nap_ = {core_.what_to_listen_for(), core_.due()};
        return *nap_;
    }
    std::uint64_t new_nonce() {
        std::lock_guard const io{io_};
        return core_.new_nonce();
    }
    fencing_token seen_token() {
        std::lock_guard const io{io_};
        return core_.seen();
    }

    result<void> outcome_of_tick() {
        auto const [state, failure] = where_we_are();
        if (state == standing::fenced) return fenced();
        if (failure) return *failure;
        if (state != standing::member) return {errc::not_joined, "join() first"};
        return {};
    }

    // Whether it was neither a member nor trying to be one.
    result<bool> begin_join() {
        std::lock_guard const io{io_};
        if (auto r = open_locked(); !r) return r.error();
        if (core_.state() == standing::member) return false;
        bool const fresh = core_.state() != standing::joining;
        core_.want_join(now());
        core_.want_tick(now());
        return fresh;
    }

    bool has_more_to_do() {
        std::lock_guard const io{lane_io_};
        return core_.due() <= now();
    }

    // What run() does in its sleep, for a loop that does the sleeping itself: takes in what made wake_fd() readable, and
    // listens for what comes next.
    void listen() {
        std::unique_lock const turn{sleep_, std::try_to_lock};
        if (!turn) return;  // run() is asleep: it listens
        for (int rounds = 0; rounds < 2; ++rounds) {
            subscription next;
            {
                std::lock_guard const io{lane_io_};
                next = core_.what_to_listen_for();
            }
            if (ports_.wait(next, microseconds{}) != wake_reason::pushed) return;
            {
                std::lock_guard const io{lane_io_};
                core_.want_tick(now());
            }
            drive();
        }
    }

    // Before the first request: options and settings, as a whole.
    result<void> open_locked() {
        if (opened_) return {};
        auto const& o = core_.settings();
        if (auto r = validate(o); !r) return r;
        if (auto r = ports_.open({o.key_prefix, o.node_id, o.operation_timeout}); !r) return r;
        opened_ = true;
        return {};
    }

    // ---------------------------------------------------------------- events

    // Under io_: moves what happened to the queue, in order.
    void collect() {
        if (ports_.take_server_changed()) core_.server_changed();
        auto const due = core_.due();
        due_.store(due);
        if (nap_) {
            auto const listen = core_.what_to_listen_for();
            bool const other = listen.incarnation != nap_->listen.incarnation || listen.epoch != nap_->listen.epoch ||
                               listen.follow_group != nap_->listen.follow_group;
            if (other || due < nap_->until) {
                nap_.reset();
                ports_.wake();
            }
        }
        for (auto& w : ports_.take_warnings()) core_.tell(event{warning{std::move(w)}});
        if (!core_.has_events()) return;
        auto fresh = core_.take_events();
        std::lock_guard const lock{queue_mutex_};
        for (auto& e : fresh) queue_.push_back(std::move(e));
    }

    // Without any lock: one thread at a time delivers, in order. Who comes meanwhile leaves its events to that one, and
    // does not wait: the sink may be waiting for something that it holds.
    void deliver() {
        std::unique_lock lock{queue_mutex_};
        if (delivering_.load() != std::thread::id{}) return;
        while (!queue_.empty()) {
            delivering_.store(std::this_thread::get_id());
            auto const batch = std::exchange(queue_, {});
            lock.unlock();
            for (auto const& e : batch) ports_.deliver(e);
            lock.lock();
        }
        delivering_.store(std::thread::id{});
    }

    // ---------------------------------------------------------------- requests

    // One request of the user's, under io_: repeated (every operation has one effect) while that may help and the time
    // allowed is not up.
    result<reply> attempt(operation const& request) {
        auto const limit = now() + core_.settings().operation_timeout;
        bool unknown = false;
        for (unsigned n = 1;; ++n) {
            auto const left = limit - now();
            auto answer = ports_.perform(request, std::max(left, microseconds{1000}));
            if (answer) return answer;
            auto const code = answer.error().code;
            unknown = unknown || code == errc::outcome_unknown;
            bool const worth_it = code == errc::unavailable || code == errc::outcome_unknown;
            if (code == errc::not_joined || code == errc::not_leader) core_.want_tick(now());
            if (worth_it && n < most_attempts && now() < limit) continue;
            if (unknown) return error{errc::outcome_unknown, answer.error().detail};  // an attempt may have done it
            return answer;
        }
    }

    result<reply> perform_any(operation const& request) {
        std::lock_guard const io{io_};
        if (auto r = open_locked(); !r) return r.error();
        auto answer = attempt(request);
        collect();
        return answer;
    }

    template <typename Op>
    result<typename Op::reply> perform(Op request) {
        auto answer = perform_any(operation{std::move(request)});
        if (!answer) return answer.error();
        return std::get<typename Op::reply>(*std::move(answer));
    }

    // The background lane, until it has nothing to ask for. The mutex is free between requests. Where each takes longer
    // than a heartbeat there is always something: then until the next is due, and the caller looks after itself.
    void drive() {
        auto const until = now() + core_.settings().heartbeat_interval;
        for (bool more = true; more; more = more && now() < until) {
            {
                std::lock_guard const io{lane_io_};
                more = release_abandoned();
                auto request = core_.next(now());
                if (!request) more = settle_unanswered() || more;
                if (request) {
                    more = true;
                    collect();
                    auto const sent = now();
                    auto const answer = ports_.perform(*request, core_.settings().operation_timeout);
                    core_.done(*request, answer, sent, now());
                }
                collect();
            }
            deliver();
        }
    }

    // After a request of ours that may have given us something to read or to do.
    void after_change() {
        bool member = false;
        {
            std::lock_guard const io{io_};
            core_.group_log_moved();
            member = core_.state() == standing::member;
        }
        if (member) drive();
        deliver();
    }

    void note_own_change(op::outcomes const& r) {
        std::lock_guard const io{io_};
        for (auto const& out : r.items) {
            core_.see(out.token);
            if (out.ok()) {
                core_.own_log_moved();
                return;
            }
        }
    }

    result<void> as_member(op::claim& request) {
        std::lock_guard const io{io_};
        if (auto r = core_.can_act(now()); !r) return r;
        request.incarnation = core_.self().incarnation;
        request.seen = core_.seen();
        return {};
    }

    template <typename T>
    static results<T> all_failed(std::size_t count, error const& why) {
        results<T> answers;
        answers.reserve(count);
        for (std::size_t i = 0; i < count; ++i) answers.push_back(why);
        return answers;
    }

    template <typename Item, typename Use>
    static void each_page(std::span<Item const> all, Use&& use) {
        for (; !all.empty(); all = all.subspan(std::min(all.size(), op::max_batch))) {
            use(all.first(std::min(all.size(), op::max_batch)));
        }
    }

    template <typename Words>
    static void add_outcomes(results<void>& answers, std::size_t count, result<op::outcomes> const& r, Words&& words) {
        for (std::size_t i = 0; i < count; ++i) {
            if (!r) {
                answers.push_back(r.error());
            } else if (r->items[i].ok()) {
                answers.push_back({});
            } else {
                answers.push_back(error{r->items[i].code, words(i)});
            }
        }
    }

    static error at_item(std::ptrdiff_t index, error why) {
        why.detail = fmt::format("item {}: {}", index, why.detail);
        return why;
    }

    static result<void> check_ids(std::span<std::string const> ids) {
        for (auto const& id : ids) {
            if (auto r = check_id("a schedule id", id); !r) return at_item(&id - ids.data(), r.error());
        }
        return check_distinct({ids.begin(), ids.end()});
    }

    static result<void> check_distinct(std::vector<std::string_view> ids) {
        std::set<late<std::string_view, Defects>> seen;
        for (auto id : ids) {
            if (!seen.insert(id).second) return {errc::invalid_argument, in_words(std::string{id}) + " is named twice"};
        }
        return {};
    }

    result<fencing_token> incarnation_of(std::string const& node_id) {
        auto const all = nodes();
        if (!all) return all.error();
        for (auto const& n : *all) {
            if (n.alive && n.node.id == node_id) return n.node.incarnation;
        }
        return {errc::unknown_node, in_words(node_id)};
    }

    result<void> read_holder(fencing_token holder, std::vector<schedule_status>& into) {
        for (std::string after;;) {
            auto page = perform<op::schedules_page>({.holder = holder, .after = after});
            if (!page) return page.error();
            auto const count = page->items.size();
            for (auto& s : page->items) into.push_back(std::move(s));
            if (count < op::max_batch) return {};
            after = into.back().id;
        }
    }

    // ---------------------------------------------------------------- locks

    result<void> check_locks(op::lock_kind kind, std::vector<std::string> const& names, microseconds ttl) const {
        if (auto r = enter(); !r) return r;
        if (auto r = check_ttl(ttl); !r) return r;
        char const* const what = kind == op::lock_kind::schedule ? "a schedule id" : "the name of a lock";
        for (auto const& name : names) {
            if (auto r = check_id(what, name); !r) return at_item(&name - names.data(), r.error());
        }
        if (names.size() == 1) return {};
        return check_distinct({names.begin(), names.end()});
    }

    result<void> check_ttl(microseconds ttl) const {
        auto const& o = core_.settings();
        if (auto r = check_duration("ttl", ttl, microseconds{1000}, std::chrono::hours{24 * 30}); !r) return r;
        if (anchored(o, instant{}, instant{}, ttl) > instant{}) return {};
        return {errc::invalid_argument,
                fmt::format("ttl is {}: nothing is left of it after safety_margin ({}) and clock_drift", in_words(ttl),
                            in_words(o.safety_margin))};
    }

    result<void> lock_page(op::lock_kind kind, std::vector<std::string> names, microseconds ttl,
                           results<schedule_lock>& locks) {
        std::lock_guard const io{io_};
        if (auto r = core_.can_act(now()); !r) return r;
        operation const request = core_.acquisition(kind, std::move(names), ttl);
        auto const& asked = std::get<op::acquire_locks>(request);
        auto const sent = now();
        auto const answer = attempt(request);
        collect();
        if (!answer) {
            if (answer.error() == errc::outcome_unknown) unanswered_.push_back({request, now() + ttl});
            return answer.error();
        }
        auto const& granted = std::get<op::outcomes>(*answer).items;
        auto const at = now();
        for (std::size_t i = 0; i < granted.size(); ++i) {
            auto const& name = asked.items[i].name;
            if (!granted[i].ok()) {
                locks.push_back(error{granted[i].code, why_not(granted[i], name)});
                continue;
            }
            auto const until = core_.on_acquired(kind, name, granted[i], sent, at);
            if (at >= until || !belief_->alive(asked.incarnation, at)) {  // too late to be of use: given back
                std::lock_guard const lock{queue_mutex_};
                abandoned_.push_back({kind, name, granted[i].token, asked.incarnation});
                locks.push_back(error{errc::lock_lost, in_words(name) + " was granted too late to be of use"});
                continue;
            }
            locks.push_back(schedule_lock{link_, {kind, name, granted[i].token, asked.incarnation}, until});
        }
        return {};
    }

    static std::string why_not(op::outcome const& out, std::string const& name) {
        if (out.code != errc::locked_by_other) return in_words(name);
        return fmt::format("{}, for {} ms at most", in_words(name), out.remaining.count() / 1000 + 1);
    }

    // Locks of both kinds and of this coordinator alone, in requests of one kind; the others are lost ones.
    template <typename Send>
    results<void> in_batches(std::span<schedule_lock> locks, Send&& send) {
        if (auto r = enter(); !r) return all_failed<void>(locks.size(), r.error());
        results<void> answers = all_failed<void>(locks.size(), {errc::lock_lost, {}});
        for (auto kind : {op::lock_kind::schedule, op::lock_kind::name}) {
            std::vector<schedule_lock*> batch;
            std::vector<std::size_t> places;
            auto flush = [&] {
                if (batch.empty()) return;
                auto r = send(batch, kind);
                for (std::size_t i = 0; i < batch.size(); ++i) answers[places[i]] = std::move(r[i]);
                batch.clear();
                places.clear();
            };
            for (std::size_t i = 0; i < locks.size(); ++i) {
                if (!locks[i].is_held_by(*link_) || locks[i].held().kind != kind) continue;
                batch.push_back(&locks[i]);
                places.push_back(i);
                if (batch.size() == op::max_batch) flush();
            }
            flush();
        }
        after_locks();
        return answers;
    }

    results<void> extend_batch(std::span<schedule_lock*> batch, op::lock_kind kind, microseconds ttl) {
        if (auto r = check_ttl(ttl); !r) return all_failed<void>(batch.size(), r.error());
        results<void> answers;
        answers.reserve(batch.size());
        std::lock_guard const io{io_};
        if (auto r = core_.can_act(now()); !r) return all_failed<void>(batch.size(), r.error());
        op::extend_locks request{.incarnation = core_.self().incarnation, .kind = kind, .ttl = ttl};
        request.items.reserve(batch.size());
        for (auto* l : batch) request.items.push_back({l->held().name, l->held().token});
        auto const sent = now();
        auto const answer = attempt(std::move(request));
        collect();
        if (!answer) return all_failed<void>(batch.size(), answer.error());
        auto const& out = std::get<op::outcomes>(*answer).items;
        auto const at = now();
        for (std::size_t i = 0; i < out.size(); ++i) {
            if (out[i].ok()) {
                batch[i]->extended_until(core_.on_extended(kind, batch[i]->held().name, out[i], sent, at));
                answers.push_back({});
                continue;
            }
            answers.push_back(error{out[i].code, in_words(batch[i]->held().name)});
            if (out[i].code != errc::lock_lost) continue;
            core_.on_released(kind, batch[i]->held().name, batch[i]->held().token);
            batch[i]->forget();
        }
        return answers;
    }

    results<void> release_batch(std::span<schedule_lock*> batch, op::lock_kind kind) {
        op::release_locks request{.kind = kind};
        request.items.reserve(batch.size());
        for (auto* l : batch) {
            request.items.push_back({l->held().name, l->held().token});
            l->forget();
        }
        std::lock_guard const io{io_};
        auto const r = release_locked(std::move(request));
        if (!r) return all_failed<void>(batch.size(), r.error());
        results<void> answers(r->items.size());
        for (std::size_t i = 0; i < r->items.size(); ++i) {
            if (!r->items[i].ok()) answers[i] = error{r->items[i].code, in_words(batch[i]->held().name)};
        }
        return answers;
    }

    // Under io_; the handles are invalid already.
    result<op::outcomes> release_locked(op::release_locks released) {
        operation const request{std::move(released)};
        auto const& [kind, locks] = std::get<op::release_locks>(request);
        for (auto const& l : locks) core_.on_releasing(kind, l.name, l.token);
        auto answer = attempt(request);
        collect();
        if (!answer) return answer.error();
        for (auto const& l : locks) core_.on_released(kind, l.name, l.token);
        return std::get<op::outcomes>(*std::move(answer));
    }

    result<instant> extend_lock(target const& held, microseconds ttl) override {
        if (auto r = enter(); !r) return r.error();
        if (auto r = check_ttl(ttl); !r) return r.error();
        auto answer = [&]() -> result<instant> {
            std::lock_guard const io{io_};
            if (held.incarnation != belief_->incarnation()) return {errc::lock_lost, in_words(held.name)};
            if (auto r = core_.can_act(now()); !r) return r.error();
            auto const sent = now();
            auto const reply = attempt(op::extend_locks{
                .incarnation = held.incarnation, .kind = held.kind, .items = {{held.name, held.token}}, .ttl = ttl});
            collect();
            if (!reply) return reply.error();
            auto const& out = std::get<op::outcomes>(*reply).items.front();
            if (out.ok()) return core_.on_extended(held.kind, held.name, out, sent, now());
            if (out.code == errc::lock_lost) core_.on_released(held.kind, held.name, held.token);
            return {out.code, in_words(held.name)};
        }();
        deliver();
        return answer;
    }

    result<void> release_lock(target const& held) override {
        if (in_sink()) {  // a handle that dies in a sink: the lane tells the server
            std::lock_guard const lock{queue_mutex_};
            abandoned_.push_back(held);
            return {};
        }
        auto answer = [&]() -> result<void> {
            std::lock_guard const io{io_};
            auto const r = release_locked({.kind = held.kind, .items = {{held.name, held.token}}});
            if (!r) return r.error();
            auto const& out = r->items.front();
            return out.ok() ? result<void>{} : result<void>{out.code, in_words(held.name)};
        }();
        after_locks();
        return answer;
    }

    // A hand-off may have waited for the lock just released.
    void after_locks() {
        bool waiting = false;
        {
            std::lock_guard const io{io_};
            waiting = core_.state() == standing::member && core_.due() <= now();
        }
        if (waiting) drive();
        deliver();
    }

    // Under io_: one request, for locks whose handles died in a sink, or were granted too late. False: there are none.
    bool release_abandoned() {
        op::release_locks request;
        {
            std::lock_guard const lock{queue_mutex_};
            if (abandoned_.empty()) return false;
            request.kind = abandoned_.front().kind;
            std::erase_if(abandoned_, [&](target const& held) {
                if (held.kind != request.kind || request.items.size() == op::max_batch) return false;
                request.items.push_back({held.name, held.token});
                return true;
            });
        }
        (void)release_locked(std::move(request));
        return true;
    }

    // Under io_: an acquisition that was never answered is asked about once there is contact again, and what it took is
    // given back; else that would stand in this node's own way for its ttl. (A repeat has one effect.) False: nothing
    // to ask.
    bool settle_unanswered() {
        if (unanswered_.empty() || core_.last_failure()) return false;
        auto [request, until] = std::move(unanswered_.back());
        unanswered_.pop_back();
        auto const& asked = std::get<op::acquire_locks>(request);
        if (now() >= until || asked.incarnation != core_.self().incarnation) return true;
        auto const answer = attempt(request);
        if (!answer) {  // another time
            if (answer.error() != errc::not_joined) unanswered_.push_back({std::move(request), until});
            return false;
        }
        op::release_locks taken{.kind = asked.kind};
        auto const& out = std::get<op::outcomes>(*answer).items;
        for (std::size_t i = 0; i < out.size(); ++i) {
            if (out[i].ok()) taken.items.push_back({asked.items[i].name, out[i].token});
        }
        if (!taken.items.empty()) (void)release_locked(std::move(taken));
        return true;
    }

    ports& ports_;
    std::shared_ptr<late<belief, Defects>> belief_;
    two_lane_mutex io_;                       // of core and command connection
    two_lane_mutex::fast_lane lane_io_{io_};  // ... for the background lane, which goes first
    core core_;
    bool opened_ = false;
    std::optional<nap> nap_;  // while run() sleeps
    struct unanswered {
        operation request;
        instant until{};
    };
    std::vector<unanswered> unanswered_;  // acquisitions
    std::shared_ptr<lock_link> link_;
    std::atomic<bool> running_{false};
    atomic_instant due_;

    std::mutex sleep_;                  // held by the thread that waits for what is pushed
    std::atomic<bool> watched_{false};  // a loop polls wake_fd()

    std::atomic<bool> closing_{false};
    std::condition_variable idle_;               // with queue_mutex_: run() has returned
    std::mutex queue_mutex_;                     // of what follows
    std::atomic<std::thread::id> delivering_{};  // the thread that runs the sink
    std::vector<event> queue_;
    std::vector<target> abandoned_;
};

}  // namespace rota::detail

// ---- rota/detail/entropy.hpp ---------------------------------------------------------------------------------------
// Random bits that no other process shares, for session numbers and nonces. Not for jitter, which is seeded.
// (std::random_device would do, but <random> costs more to compile than most of rota.)

#if defined(__APPLE__)
#include <sys/random.h>
#else
#include <unistd.h>
#endif

namespace rota::detail {

[[nodiscard]] inline std::uint64_t entropy() {
    std::uint64_t bits = 0;
    if (::getentropy(&bits, sizeof bits) == 0) return bits;
    // A kernel without: time and an address that the loader has shuffled.
    auto const now = std::chrono::steady_clock::now().time_since_epoch().count();
    return static_cast<std::uint64_t>(now) * 0x9e3779b97f4a7c15u ^ reinterpret_cast<std::uintptr_t>(&bits);
}

}  // namespace rota::detail

// ---- rota/detail/policy_set.hpp ------------------------------------------------------------------------------------
// Sorts the policies of a basic_coordinator into their roles, fills in defaults, and refuses what does not fit with one
// readable line per fault. A set that is not valid still has types for every role (stand-ins), so that the one line is
// all that the compiler says.

namespace rota::detail {

// Values, not concepts: a compiler explains at length why a concept is not satisfied.
template <typename T, typename... Others>
inline constexpr bool one_of = (std::is_same_v<T, Others> || ...);
template <typename... Types>
inline constexpr bool all_different = true;
template <typename First, typename... Rest>
inline constexpr bool all_different<First, Rest...> = !one_of<First, Rest...> && all_different<Rest...>;

enum class role : std::uint8_t { transport, strategy, clock, sink, unknown };

template <typename T>
constexpr role role_of() {
    if constexpr (transport_like<T>)
        return role::transport;
    else if constexpr (strategy_like<T>)
        return role::strategy;
    else if constexpr (clock_like<T>)
        return role::clock;
    else if constexpr (sink_policy<unwrapped_t<T>>)
        return role::sink;
    else
        return role::unknown;
}

template <role Role, typename... Policies>
inline constexpr std::size_t count_of = (std::size_t{0} + ... + (role_of<Policies>() == Role ? 1 : 0));

// The first policy of that role, or the fallback.
template <role Role, typename Fallback, typename... Policies>
struct first_of_role {
    using type = Fallback;
};
template <role Role, typename Fallback, typename First, typename... Rest>
struct first_of_role<Role, Fallback, First, Rest...> {
    using type = typename std::conditional_t<role_of<First>() == Role, std::type_identity<First>,
                                             first_of_role<Role, Fallback, Rest...>>::type;
};

// What stands in for a policy that was refused. (Nothing is ever linked that uses it.)
struct no_transport {
    result<void> open(transport_settings const&);
    result<reply> perform(operation const&, microseconds);
    wake_reason wait(subscription const&, microseconds);
    void wake();
};

/// What is wrong with a policy, or with a set of them.
enum class policy_fault {
    none,
    unknown,
    transport_lacks_open,
    transport_lacks_perform,
    transport_lacks_wait,
    transport_lacks_wake,
    strategy_is_not_const,
    strategy_lacks_make_plan,
    clock_is_not_const,
    clock_lacks_now,
    two_roles,
    no_transport,
    two_transports,
    two_strategies,
    two_clocks,
    two_sinks,
};

template <typename T>
constexpr policy_fault fault_of_transport() {
    if constexpr (!requires(T t, transport_settings const& s) {
                      { t.open(s) } -> std::same_as<result<void>>;
                  }) {
        return policy_fault::transport_lacks_open;
    } else if constexpr (!requires(T t, operation const& request, microseconds timeout) {
                             { t.perform(request, timeout) } -> std::same_as<result<reply>>;
                         }) {
        return policy_fault::transport_lacks_perform;
    } else if constexpr (!requires(T t, subscription const& sub, microseconds timeout) {
                             { t.wait(sub, timeout) } -> std::same_as<wake_reason>;
                         }) {
        return policy_fault::transport_lacks_wait;
    } else if constexpr (!requires(T t) { t.wake(); }) {
        return policy_fault::transport_lacks_wake;
    } else {
        return policy_fault::none;
    }
}

template <typename T>
constexpr policy_fault fault_of_strategy() {
    if constexpr (strategy_policy<T>) {
        return policy_fault::none;
    } else if constexpr (
        requires(T s, cluster_view const& view) {
            { s.make_plan(view) } -> std::same_as<plan>;
        } || requires(T s, cluster_view const& view, plan& into) { s.make_plan(view, into); }) {
        return policy_fault::strategy_is_not_const;
    } else {
        return policy_fault::strategy_lacks_make_plan;
    }
}

template <typename T>
constexpr policy_fault fault_of_clock() {
    if constexpr (clock_policy<T>) {
        return policy_fault::none;
    } else if constexpr (requires(T c) {
                             { c.now() } -> std::same_as<instant>;
                         }) {
        return policy_fault::clock_is_not_const;
    } else {
        return policy_fault::clock_lacks_now;
    }
}

template <typename Policy>
constexpr policy_fault fault_of_policy() {
    using plain = unwrapped_t<Policy>;
    constexpr role part = role_of<Policy>();
    if constexpr (part != role::sink && part != role::unknown && sink_policy<plain>)
        return policy_fault::two_roles;
    else if constexpr (part == role::transport)
        return fault_of_transport<plain>();
    else if constexpr (part == role::strategy)
        return fault_of_strategy<plain>();
    else if constexpr (part == role::clock)
        return fault_of_clock<plain>();
    else
        return part == role::sink ? policy_fault::none : policy_fault::unknown;
}

// The first fault: of a policy alone, then of all together.
template <typename... Policies>
constexpr policy_fault fault_of_set() {
    policy_fault fault = policy_fault::none;
    (void)((fault = fault_of_policy<Policies>(), fault != policy_fault::none) || ...);
    if (fault != policy_fault::none) return fault;
    if (count_of<role::transport, Policies...> == 0) return policy_fault::no_transport;
    if (count_of<role::transport, Policies...> > 1) return policy_fault::two_transports;
    if (count_of<role::strategy, Policies...> > 1) return policy_fault::two_strategies;
    if (count_of<role::clock, Policies...> > 1) return policy_fault::two_clocks;
    if (count_of<role::sink, Policies...> > 1) return policy_fault::two_sinks;
    return policy_fault::none;
}

/// Says what is wrong, at compile time; always true, so that this is all that the compiler says.
template <policy_fault Fault>
constexpr bool refuse() {
    using enum policy_fault;
    static_assert(Fault != unknown,
                  "rota: this type is no policy: no transport (perform), strategy (make_plan), clock (now), nor a sink "
                  "(callable with `rota::event const&`, or so with one of its types)");
    static_assert(Fault != transport_lacks_open,
                  "rota: the transport policy lacks `rota::result<void> open(rota::transport_settings const&)`");
    static_assert(Fault != transport_lacks_perform,
                  "rota: the transport policy lacks `rota::result<rota::reply> perform(rota::operation const&, "
                  "rota::microseconds timeout)`");
    static_assert(Fault != transport_lacks_wait,
                  "rota: the transport policy lacks `rota::wake_reason wait(rota::subscription const&, "
                  "rota::microseconds timeout)`");
    static_assert(Fault != transport_lacks_wake, "rota: the transport policy lacks `void wake()`");
    static_assert(Fault != strategy_is_not_const,
                  "rota: the strategy policy's make_plan must be const: a plan is a pure function of the view");
    static_assert(Fault != strategy_lacks_make_plan,
                  "rota: the strategy policy lacks `rota::plan make_plan(rota::cluster_view const&) const`");
    static_assert(Fault != clock_is_not_const, "rota: the clock policy's now must be const: any thread may read it");
    static_assert(Fault != clock_lacks_now,
                  "rota: the clock policy lacks `rota::instant now() const` (what has a member `now` "
                  "is taken for a clock; of a memory_store, pass rota::memory_transport{store})");
    static_assert(Fault != two_roles,
                  "rota: this policy is an event sink (it is callable) and something else as well: make two of it, or "
                  "its events would be lost");
    static_assert(Fault != no_transport,
                  "rota: no transport given: name one (rota::memory_transport, rota::hiredis_sync); it is never "
                  "defaulted, for then every process would elect itself");
    static_assert(Fault != two_transports, "rota: two transports given: a coordinator has one");
    static_assert(Fault != two_strategies, "rota: two strategies given: a coordinator has one");
    static_assert(Fault != two_clocks, "rota: two clocks given: a coordinator has one");
    static_assert(Fault != two_sinks, "rota: two event sinks given: compose them with rota::sinks");
    return true;
}

template <typename... Policies>
struct policy_set {
    static constexpr policy_fault fault = fault_of_set<Policies...>();
    static constexpr bool valid = fault == policy_fault::none;

    template <role Role, typename Fallback, typename Refused>
    using type_for = std::conditional_t<valid, typename first_of_role<Role, Fallback, Policies...>::type, Refused>;

    using transport = type_for<role::transport, no_transport, no_transport>;
    using strategy = type_for<role::strategy, least_moves, least_moves>;
    using clock = type_for<role::clock, boottime_clock, boottime_clock>;
    using sink = type_for<role::sink, null_sink, null_sink>;
};

/// The argument of type T among those given, or a default.
template <typename T>
T pick() {
    static_assert(
        std::is_default_constructible_v<T>,
        "rota: a policy without a default constructor must be passed, e.g. rota::hiredis_sync{\"redis://host:6379\"}");
    if constexpr (std::is_default_constructible_v<T>) {
        return T{};
    } else {
        std::terminate();  // refused above; nothing more is said
    }
}
template <typename T, typename First, typename... Rest>
T pick(First& first, Rest&... rest) {
    if constexpr (std::is_same_v<First, T>) {
        return std::move(first);
    } else {
        return pick<T>(rest...);
    }
}

}  // namespace rota::detail

namespace rota {

namespace detail {

template <typename Names>
[[nodiscard]] std::vector<std::string> flattened(Names const& lists) {
    std::vector<std::string> all;
    for (auto const& list : lists) all.insert(all.end(), list.begin(), list.end());
    return all;
}

}  // namespace detail

/// A node of a group over a blocking transport. Neither copied nor moved.
///
/// Threads: starts none. Any thread may call anything, also while run() is under way on another. is_leader, leader, owned
/// and next_tick are local reads: they never wait for the network. Everything else may take up to operation_timeout per
/// request, and waits for the request of another thread first. From inside an event sink only local reads are allowed; others return errc::reentrant_call.
///
/// Errors that any call with a request may return: unavailable, timed_out (nothing was done), outcome_unknown (it may
/// have been), refused_by_server, protocol; invalid_argument before anything is sent; not_joined and fenced if
/// membership is needed and not had.
template <typename... Policies>
class basic_coordinator {
    using set = detail::policy_set<Policies...>;
    static_assert(detail::refuse<set::fault>());

    // See late.hpp: who includes this does not pay for what it does not call.
    using engine_type = detail::late<detail::blocking_engine<>, set>;
    using leader_info = detail::late<rota::leader_info, set>;
    using owned_schedule = detail::late<rota::owned_schedule, set>;
    using reply = detail::late<rota::reply, set>;
    template <typename T>
    using result = detail::late<rota::result<T>, set>;
    template <typename T>
    using results = detail::late<rota::results<T>, set>;

public:
    using transport_type = typename set::transport;
    using strategy_type = typename set::strategy;
    using clock_type = typename set::clock;
    using sink_type = typename set::sink;

    /// Connects to nothing and refuses nothing: join() does. `policies`: in any order; those left out are
    /// default-constructed.
    template <typename... Given>
    explicit basic_coordinator(rota::options given_options, Given... policies)
        : shell_{std::move(given_options), detail::pick<clock_type>(policies...),
                 detail::pick<transport_type>(policies...), detail::pick<strategy_type>(policies...),
                 detail::pick<sink_type>(policies...)} {
        static_assert(
            !set::valid || (detail::one_of<Given, transport_type, strategy_type, clock_type, sink_type> && ...),
            "rota: an argument is none of this coordinator's policies");
        static_assert(!set::valid || detail::all_different<Given...>, "rota: an argument is given twice");
    }

    basic_coordinator(basic_coordinator const&) = delete;
    basic_coordinator& operator=(basic_coordinator const&) = delete;

    /// Ends run() on another thread (it returns errc::cancelled), then one bounded leave(). No other call may be under way.
    ~basic_coordinator() { engine().shut_down(); }

    // ---------------------------------------------------------------- taking part

    /// Becomes a member, and one that leads if nobody does. No effect on a member; one that was fenced takes its id back. invalid_argument: the options or the
    /// transport's address, naming field, value and rule; conflict: another live process has the node_id
    /// (options::on_conflict). After an error the node is out again, unless run() keeps trying on another thread.
    [[nodiscard]] result<void> join() { return engine().join(); }

    /// One heartbeat now, and all that it gives occasion for: one request if nothing has changed; returns after about a
    /// heartbeat_interval even if there is more to do (then next_tick() is zero). For loops of your own:
    /// at least every heartbeat_interval, best when next_tick() is over or wake_fd() is readable. A node that the group
    /// took for dead rejoins in it.
    result<void> tick() { return engine().tick(); }

    /// Takes part until `stop` is requested: joins if needed, ticks when it is time, wakes at once for what is pushed,
    /// retries with backoff while the server is away, rejoins after a loss. Returns success on stop or after leave();
    /// fenced when a newer process took the node_id; already_running; cancelled on destruction; what join() says if the
    /// first attempt is refused. Does not leave. Sleeps in real time: with a manual_clock use tick().
    [[nodiscard]] result<void> run(std::stop_token stop) { return engine().run(std::move(stop), instant::max()); }

    /// run() for a limited time; a time that no clock can reach is for ever.
    [[nodiscard]] result<void> run_for(std::chrono::microseconds time) {
        auto const now = engine().now();
        return engine().run(std::stop_token{}, time < instant::max() - now ? now + time : instant::max());
    }

    /// Ends membership in order: every handle and belief is dropped at once, then the group is told, so that nobody waits
    /// for a ttl. On an error the node is out all the same, and the others learn of it by its ttl.
    result<void> leave() { return engine().leave(); }

    /// How long until tick() has something to do. A local read.
    [[nodiscard]] microseconds next_tick() const { return engine().next_tick(); }

    /// Ends the present or next sleep of run(). Any thread; never blocks.
    void wake() { detail::unwrap(shell_.transport).wake(); }

    /// A descriptor that polls readable when something was pushed or wake() was called, until the next tick(); for loops
    /// of your own. Once this was called, tick() also listens for what is pushed (a second connection).
    [[nodiscard]] int wake_fd()
        requires requires(detail::unwrapped_t<transport_type>& t) { t.wake_fd(); }
    {
        engine().be_watched();
        return detail::unwrap(shell_.transport).wake_fd();
    }

    // ---------------------------------------------------------------- leadership

    /// Whether this node leads right now. A local read: at most one node's is true at any instant, within the limits
    /// that the README states. Nothing stops a thread between this and its effect: pass leader()->term along.
    [[nodiscard]] bool is_leader() const {
        auto const& b = *shell_.published;
        return b.leads(b.now());
    }

    /// Who leads, as last heard; nullopt: nobody, or not known. A local read.
    [[nodiscard]] std::optional<leader_info> leader() const {
        auto const& b = *shell_.published;
        return b.leader(b.now());
    }

    /// Stands for election now. True if this node leads after it.
    [[nodiscard]] result<bool> try_become_leader() { return engine().try_become_leader(); }

    /// Gives up leadership and wakes candidates; then sits out one lease, unless it is alone. not_leader.
    [[nodiscard]] result<void> renounce_leadership() { return engine().renounce(); }

    /// Evens out the load now, whatever rebalance_threshold says. not_leader; invalid_argument: the strategy's plan breaks
    /// its contract.
    [[nodiscard]] result<void> rebalance() { return engine().rebalance(); }

    // ---------------------------------------------------------------- locks

    /// The right to process a schedule for `ttl`, if this node owns it. not_owner (also while it is being handed over),
    /// unknown_schedule, locked_by_other. Do not wait in a loop: the owner's next run comes.
    [[nodiscard]] result<schedule_lock> try_lock(std::string schedule, std::chrono::microseconds ttl) {
        return engine().lock_one(op::lock_kind::schedule, std::move(schedule), ttl);
    }

    /// Many at once, one request per 200; one result per item, in order.
    [[nodiscard]] results<schedule_lock> try_lock_each(std::vector<std::string> schedules,
                                                       std::chrono::microseconds ttl) {
        return engine().lock_each(op::lock_kind::schedule, std::move(schedules), ttl);
    }

    /// A plain lock on a name that is no schedule; any member may try. locked_by_other.
    [[nodiscard]] result<schedule_lock> try_lock_name(std::string name, std::chrono::microseconds ttl) {
        return engine().lock_one(op::lock_kind::name, std::move(name), ttl);
    }

    /// schedule_lock::extend and release for many locks of this coordinator, one request per 200.
    [[nodiscard]] results<void> extend_each(std::span<schedule_lock> locks, std::chrono::microseconds ttl) {
        return engine().extend_each(locks, ttl);
    }
    results<void> release_each(std::span<schedule_lock> locks) { return engine().release_each(locks); }

    // ---------------------------------------------------------------- schedules

    /// Makes schedules exist, for the leader to place; harmless for those that do, which keep the weight that they have.
    /// Also without join(). Here and below: one result per item; an invalid or repeated one (invalid_argument) refuses all.
    [[nodiscard]] results<void> register_schedules(std::span<schedule const> schedules) {
        return engine().register_schedules(schedules);
    }
    [[nodiscard]] results<void> register_schedules(std::initializer_list<schedule> schedules) {
        return engine().register_schedules({schedules.begin(), schedules.size()});
    }

    /// Makes schedules exist no more. A run in hand keeps its lock. unknown_schedule; conflict if it keeps moving.
    /// Also without join().
    [[nodiscard]] results<void> unregister_schedules(std::span<std::string const> ids) {
        return engine().unregister_schedules(ids);
    }
    [[nodiscard]] results<void> unregister_schedules(std::initializer_list<std::string> ids) {
        return engine().unregister_schedules({ids.begin(), ids.size()});
    }
    // {{"a", "b"}} would be one string, made of two pointers.
    template <std::same_as<char const*> Id>
    [[nodiscard]] results<void> unregister_schedules(std::initializer_list<std::initializer_list<Id>> ids) {
        return engine().unregister_schedules(detail::flattened(ids));
    }

    /// Takes schedules that nobody owns, up to max_schedules_per_node. unknown_schedule, owned_by_other,
    /// capacity_exceeded, conflict (registered anew a moment ago, and an earlier owner may not have heard).
    [[nodiscard]] results<owned_schedule> claim(std::span<std::string const> ids) { return engine().claim(ids); }
    [[nodiscard]] results<owned_schedule> claim(std::initializer_list<std::string> ids) {
        return engine().claim({ids.begin(), ids.size()});
    }
    template <std::same_as<char const*> Id>
    [[nodiscard]] results<owned_schedule> claim(std::initializer_list<std::initializer_list<Id>> ids) {
        return engine().claim(detail::flattened(ids));
    }

    /// Hands a schedule to another node, by its owner or the leader: begins the hand-off, and returns. Nothing to do is
    /// success: that node owns it already, or it is on its way there. The leader evens out the load as before, so it may
    /// come back (options::auto_rebalance, rebalance_threshold). unknown_schedule, unknown_node, not_leader (neither owner
    /// nor leader), capacity_exceeded, conflict (it is moving elsewhere).
    [[nodiscard]] result<void> transfer(std::string const& schedule, std::string const& node_id) {
        return engine().transfer(schedule, node_id);
    }

    /// What this node owns right now: a copy, ordered by id; empty while suspended. A local read.
    [[nodiscard]] std::vector<owned_schedule> owned() const {
        auto const& b = *shell_.published;
        return b.owned(b.now());
    }

    // ---------------------------------------------------------------- looking at the group (requests, in pages)

    /// All nodes, live and dead ones with schedules left, by incarnation. Also without join(), as the following.
    [[nodiscard]] result<std::vector<node_status>> nodes() { return engine().nodes(); }

    /// How loaded the live nodes are.
    [[nodiscard]] result<std::vector<node_load>> loads() {
        auto all = engine().nodes();
        if (!all) return all.error();
        std::vector<node_load> list;
        for (auto& n : *all) {
            if (n.alive) list.push_back({std::move(n.node), n.load, n.pending, n.capacity});
        }
        return list;
    }

    /// Schedules without a live owner.
    [[nodiscard]] result<std::vector<schedule_status>> orphaned() { return engine().orphaned(); }

    /// What this node's strategy would do with the group as it is: a dry run.
    [[nodiscard]] result<proposal> propose() { return engine().propose(); }

    // ---------------------------------------------------------------- the policies

    [[nodiscard]] auto& transport() noexcept { return detail::unwrap(shell_.transport); }
    [[nodiscard]] auto& sink() noexcept { return detail::unwrap(shell_.sink); }

private:
    using belief_type = detail::belief_on<clock_type>;

    struct shell final : detail::ports {
        shell(rota::options o, clock_type clock, transport_type t, strategy_type s, sink_type k)
            : transport{std::move(t)},
              rules{std::move(s)},
              sink{std::move(k)},
              published{std::make_shared<belief_type>(std::move(clock))},
              engine{std::make_unique<engine_type>(std::move(o), *this, published, detail::entropy())} {}

        result<void> open(transport_settings const& settings) override {
            return detail::unwrap(transport).open(settings);
        }
        result<reply> perform(operation const& request, microseconds timeout) override {
            return detail::unwrap(transport).perform(request, timeout);
        }
        wake_reason wait(subscription const& sub, microseconds timeout) override {
            return detail::unwrap(transport).wait(sub, timeout);
        }
        void wake() override { detail::unwrap(transport).wake(); }
        bool take_server_changed() override {
            if constexpr (requires { detail::unwrap(transport).take_server_changed(); }) {
                return detail::unwrap(transport).take_server_changed();
            } else {
                return false;
            }
        }
        std::vector<error> take_warnings() override {
            if constexpr (requires { detail::unwrap(transport).take_warnings(); }) {
                return detail::unwrap(transport).take_warnings();
            } else {
                return {};
            }
        }
        void deliver(event const& e) noexcept override { detail::deliver(sink, e); }

        detail::planner strategy() override {
            using plain = detail::unwrapped_t<strategy_type>;
            auto const& policy = detail::unwrap(std::as_const(rules));
            return {&policy, [](void const* self, cluster_view const& view, plan& into) {
                        auto const& s = *static_cast<plain const*>(self);
                        if constexpr (requires { s.make_plan(view, into); }) {
                            s.make_plan(view, into);
                        } else {
                            into = s.make_plan(view);
                        }
                    }};
        }

        [[no_unique_address]] transport_type transport;
        [[no_unique_address]] strategy_type rules;
        [[no_unique_address]] sink_type sink;
        std::shared_ptr<belief_type> published;
        std::unique_ptr<engine_type> engine;
    };

    [[nodiscard]] engine_type& engine() noexcept { return *shell_.engine; }
    [[nodiscard]] engine_type const& engine() const noexcept { return *shell_.engine; }

    shell shell_;
};

template <typename... Policies>
explicit basic_coordinator(options, Policies...) -> basic_coordinator<Policies...>;

}  // namespace rota

// ---- rota/transport/hiredis_sync.hpp -------------------------------------------------------------------------------
// The blocking transport to Redis, over hiredis' parser: operations over one connection, and a sleep that the server
// ends the moment there is something new, over a second one.
//
//   rota::basic_coordinator node{{.node_id = "node-1"}, rota::hiredis_sync{"redis://localhost:6379"}};
//
// There where hiredis can be included and ROTA_NO_HIREDIS is not defined. Linux (eventfd, epoll).

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <cerrno>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

// ---- rota/detail/redis_push.hpp ------------------------------------------------------------------------------------
// The second connection of a Redis transport: a blocked XREAD of the node's inbox and, if asked for, of the group's
// events, so that the server wakes a sleeping node the moment there is something new.
// Promises: never blocks; one read stays pending for as many sleeps as it takes (minutes), and is issued again only when
// it was answered or does not cover the subscription any more; nothing between a cursor and the read is missed, because
// the read starts at the cursor; while the server is away it tries again in ever longer steps.
// Does not: tell what is new (it is a hint, the caller asks over the other connection), or resolve names: it goes where
// the command connection went. One thread at a time.

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <poll.h>

// ---- rota/detail/redis_connection.hpp ------------------------------------------------------------------------------
// One connection to a Redis: connecting under a deadline of our own, requests as bytes, replies through hiredis' parser.
// Promises: no SIGPIPE, no descriptor leaked to child processes, one send and one recv for a request whose reply comes
// in one piece; after a failure the connection is closed, and the kind of error tells whether the whole request had been
// handed to the system (receive() failed) or not (send() failed: the server cannot have acted on it).
// Does not: retry, know rota's scripts, or bound the time that the system takes to resolve a host name (numbers and
// /etc/hosts are immediate; a name server that is away costs what resolv.conf says). One thread at a time.
// Only what hiredis 0.14.1 has is used, and of that only the parser; it is the same in 1.x.

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <cstring>
#include <new>

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

// ---- rota/detail/redis_address.hpp ---------------------------------------------------------------------------------
// Where a Redis is and who asks, from the text that a user writes: host, host:port, [v6]:port,
// redis://[user:password@]host[:port][/db] or unix://[user:password@]/path[?db=N]. Pure text: nothing is resolved here.
// Promises: no message and no description of an address ever holds a user name or a password, not even of a text that
// is malformed in a way that puts the password elsewhere (so messages name the part and the rule, and do not quote).
// Does not: TLS and Sentinel, which are refused with words.

namespace rota::detail {

struct redis_address {
    std::string host{};  ///< name or number, without brackets; empty if `path` is used
    std::uint16_t port = 6379;
    std::string path{};  ///< of a unix socket
    std::string user{};  ///< empty: the default user
    std::string password{};
    bool authenticate = false;  ///< whether the text holds credentials
    std::uint32_t database = 0;

    friend bool operator==(redis_address const&, redis_address const&) = default;
};

/// The address as it may stand in a message: without credentials.
[[nodiscard]] inline std::string redacted(redis_address const& address) {
    std::string text;
    if (address.path.empty()) {
        bool const v6 = address.host.find(':') != std::string::npos;
        text = v6 ? "redis://[" + address.host + "]" : "redis://" + address.host;
        text += ":" + std::to_string(address.port);
        if (address.database != 0) text += "/" + std::to_string(address.database);
    } else {
        text = "unix://" + address.path;
        if (address.database != 0) text += "?db=" + std::to_string(address.database);
    }
    return text;
}

namespace address_text {

inline result<void> malformed(std::string_view why) {
    return {errc::invalid_argument, "Redis URL: " + std::string{why}};
}

// Decimal digits only, up to `most`.
inline bool to_number(std::string_view digits, std::uint32_t most, std::uint32_t& into) {
    if (digits.empty() || digits.size() > 10) return false;
    std::uint64_t value = 0;
    for (char const c : digits) {
        if (c < '0' || c > '9') return false;
        value = value * 10 + static_cast<std::uint64_t>(c - '0');
    }
    if (value > most) return false;
    into = static_cast<std::uint32_t>(value);
    return true;
}

inline int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

inline bool percent_decode(std::string_view text, std::string& into) {
    into.clear();
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            into += text[i];
            continue;
        }
        if (i + 2 >= text.size()) return false;
        int const high = hex_digit(text[i + 1]);
        int const low = hex_digit(text[i + 2]);
        if (high < 0 || low < 0) return false;
        into += static_cast<char>(high * 16 + low);
        i += 2;
    }
    return true;
}

inline result<void> credentials(std::string_view text, redis_address& into) {
    auto const colon = text.find(':');
    // Some tools take a lone word for the user, others for the password: a guess would be wrong for half of the users.
    if (colon == std::string_view::npos) {
        return malformed("credentials must be user:password@, or :password@ for the default user");
    }
    if (!percent_decode(text.substr(0, colon), into.user) || !percent_decode(text.substr(colon + 1), into.password)) {
        return malformed("a % in the credentials must be followed by two hexadecimal digits (a plain % is %25)");
    }
    into.authenticate = !into.user.empty() || !into.password.empty();
    return {};
}

inline result<void> host_and_port(std::string_view text, redis_address& into) {
    std::string_view host = text;
    std::string_view port;
    bool has_port = false;
    if (!text.empty() && text.front() == '[') {
        auto const end = text.find(']');
        if (end == std::string_view::npos) return malformed("the [ of an IPv6 address is not closed");
        host = text.substr(1, end - 1);
        auto const rest = text.substr(end + 1);
        has_port = !rest.empty();
        if (has_port && rest.front() != ':') return malformed("after the ] of an IPv6 address only :port may follow");
        if (has_port) port = rest.substr(1);
        for (char const c : host) {
            bool const fits = hex_digit(c) >= 0 || c == ':' || c == '.' || c == '%' || c == '_' || c == '-' ||
                              (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');  // the latter: zone names
            if (!fits) return malformed("the IPv6 address has a character that does not belong there");
        }
        if (host.find(':') == std::string_view::npos) return malformed("in [ ] there must be an IPv6 address");
    } else if (auto const colon = text.find(':'); colon != std::string_view::npos) {
        if (text.find(':', colon + 1) != std::string_view::npos) {
            return malformed("more than one : after the host; write an IPv6 address in brackets, as in [::1]:6379");
        }
        host = text.substr(0, colon);
        port = text.substr(colon + 1);
        has_port = true;
    }
    if (host.empty()) return malformed("the host is missing");
    if (host.size() > 255) return malformed("the host is longer than 255 characters");
    for (char const c : host) {
        auto const byte = static_cast<unsigned char>(c);
        if (byte <= 0x20 || byte == 0x7f || std::string_view{"/\\?#@\"'<>[]{}|^`"}.find(c) != std::string_view::npos) {
            return malformed("the host has a character that does not belong there");
        }
    }
    into.host = host;
    if (has_port) {
        std::uint32_t number = 0;
        if (!to_number(port, 65535, number) || number == 0) {
            return malformed("the port must be a number from 1 to 65535");
        }
        into.port = static_cast<std::uint16_t>(number);
    }
    return {};
}

inline result<void> database(std::string_view text, redis_address& into) {
    if (!to_number(text, 0x7fffffff, into.database)) return malformed("the database must be a number, as in /0");
    return {};
}

inline result<void> network(std::string_view text, redis_address& into) {
    // The last @: a password that was not percent-encoded may hold @, / and ? itself, and must not end up in the host.
    if (auto const at = text.rfind('@'); at != std::string_view::npos) {
        if (auto ok = credentials(text.substr(0, at), into); !ok) return ok;
        text.remove_prefix(at + 1);
    }
    if (text.find_first_of("?#") != std::string_view::npos) {
        return malformed("parameters after ? or # are not supported");
    }
    auto const slash = text.find('/');
    if (auto ok = host_and_port(text.substr(0, slash), into); !ok) return ok;
    if (slash == std::string_view::npos || slash + 1 == text.size()) return {};
    return database(text.substr(slash + 1), into);
}

inline result<void> socket(std::string_view text, redis_address& into) {
    constexpr std::string_view form = "a unix socket needs an absolute path, as in unix:///run/redis/redis.sock";
    if (text.empty()) return malformed(form);
    if (text.front() != '/') {
        auto const at = text.rfind("@/");
        if (at == std::string_view::npos) return malformed(form);
        if (auto ok = credentials(text.substr(0, at), into); !ok) return ok;
        text.remove_prefix(at + 1);
    }
    if (auto const mark = text.find('?'); mark != std::string_view::npos) {
        auto const parameters = text.substr(mark + 1);
        if (parameters.substr(0, 3) != "db=") return malformed("a unix socket takes no parameter but ?db=");
        if (auto ok = database(parameters.substr(3), into); !ok) return ok;
        text = text.substr(0, mark);
    }
    if (!percent_decode(text, into.path)) {
        return malformed("a % in the path must be followed by two hexadecimal digits (a plain % is %25)");
    }
    for (char const c : into.path) {
        if (static_cast<unsigned char>(c) < 0x20) return malformed("the path has a control character");
    }
    if (into.path.size() < 2) return malformed(form);
    if (into.path.size() > 107) return malformed("the path of a unix socket may have 107 bytes at most");
    return {};
}

}  // namespace address_text

/// Reads an address. invalid_argument: malformed or not supported, with what and why.
[[nodiscard]] inline result<redis_address> parse_redis_address(std::string_view text) {
    using address_text::malformed;
    redis_address address;
    result<void> outcome;
    if (text.empty()) {
        outcome = malformed("it is empty; write host:port or redis://host:port");
    } else if (auto const end = text.find("://"); end != std::string_view::npos) {
        std::string scheme;
        for (char const c : text.substr(0, end))
            scheme += (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
        auto const rest = text.substr(end + 3);
        if (scheme == "redis") {
            outcome = address_text::network(rest, address);
        } else if (scheme == "unix") {
            outcome = address_text::socket(rest, address);
        } else if (scheme == "rediss") {
            outcome = malformed("TLS (rediss://) is not supported yet; use redis:// or unix://, or a TLS tunnel");
        } else if (scheme == "redis+sentinel" || scheme == "redis-sentinel" || scheme == "sentinel") {
            outcome = malformed("Sentinel is not supported yet; use redis:// with the address of the primary");
        } else {
            outcome = malformed("the scheme is neither redis:// nor unix://");
        }
    } else if (text.find('@') != std::string_view::npos) {
        outcome = malformed("credentials need the long form, redis://user:password@host:port");
    } else if (text.front() == '/') {
        outcome = malformed("a unix socket is written as unix:///path");
    } else if (text.find('/') != std::string_view::npos) {
        outcome = malformed("a database needs the long form, redis://host:port/db");
    } else {
        outcome = address_text::host_and_port(text, address);
    }
    if (!outcome) return outcome.error();
    return address;
}

}  // namespace rota::detail

// ---- rota/detail/redis_error.hpp -----------------------------------------------------------------------------------
// What an error reply of Redis means for rota: the kind of error for the caller, what becomes of the connection, and the
// server's words made readable. One table for every transport to Redis; pure text, no hiredis.
// Promises nothing about effects: an error reply to a script of rota's says that nothing was done, because a script
// checks all that can fail before its first write.

namespace rota::detail {

enum class after_error : std::uint8_t {
    keep,    ///< the connection is good
    close,   ///< connect anew, to wherever the address leads by then
    reload,  ///< the scripts are not there (any more): load them, send the request again
};

struct error_meaning {
    errc code{};
    after_error next{};
};

/// The first word of an error, its kind: "ERR", "WRONGTYPE", "NOPERM"…
[[nodiscard]] inline std::string_view error_kind(std::string_view text) { return text.substr(0, text.find(' ')); }

/// What an error means, by its (readable) text.
[[nodiscard]] inline error_meaning meaning_of(std::string_view text) {
    auto const kind = error_kind(text);
    auto const is = [kind](auto... words) { return ((kind == std::string_view{words}) || ...); };

    if (is("NOSCRIPT")) return {errc::unavailable, after_error::reload};
    // Over in a moment, on this very server.
    if (is("LOADING", "BUSY", "TRYAGAIN")) return {errc::unavailable, after_error::keep};
    // Not the primary, or not one that may write: the address may lead to another by now.
    if (is("READONLY", "UNBLOCKED", "NOREPLICAS", "CLUSTERDOWN", "MASTERDOWN")) {
        return {errc::unavailable, after_error::close};
    }
    // The next attempt must authenticate anew.
    if (is("NOAUTH", "WRONGPASS", "DENIED")) return {errc::refused_by_server, after_error::close};
    if (text.find("max number of clients reached") != std::string_view::npos) {
        return {errc::unavailable, after_error::close};
    }
    if (text.find("Protocol error") != std::string_view::npos) return {errc::protocol, after_error::close};
    return {errc::refused_by_server, after_error::keep};
}

/// The server's words without what only a debugger wants: where in which script (Redis 7: at the end; 6.2: in front), and
/// the arguments of an unknown command, which may hold a password. One line, at most 300 bytes.
[[nodiscard]] inline std::string readable_error(std::string_view text) {
    constexpr auto none = std::string_view::npos;

    if (auto const at = text.find(", with args beginning with"); at != none) text = text.substr(0, at);
    if (auto const at = text.find(" script: "); at != none && text.find(", on @", at) != none)
        text = text.substr(0, at);
    constexpr std::string_view mark = "@user_script:";
    if (text.starts_with("ERR Error running script") || text.starts_with(mark)) {
        // "ERR Error running script (call to f_<sha>): @user_script:12: @user_script: 12: -READONLY You can't…"
        if (auto const last = text.rfind(mark); last != none) {
            if (auto const end = text.find(": ", last + mark.size() + 1); end != none) text.remove_prefix(end + 2);
        }
        if (text.starts_with('-')) text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\r' || text.back() == '\n')) text.remove_suffix(1);

    std::string words{text.substr(0, 300)};
    for (char& c : words) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    }
    return words;
}

/// `words` without `secret`: servers quote what they do not understand.
[[nodiscard]] inline std::string without(std::string words, std::string_view secret) {
    if (secret.empty()) return words;
    constexpr std::string_view stars = "***";
    for (std::size_t at = words.find(secret); at != std::string::npos; at = words.find(secret, at + stars.size())) {
        words.replace(at, secret.size(), stars);
    }
    return words;
}

}  // namespace rota::detail

namespace rota::detail {

// ---------------------------------------------------------------- time

/// The clock of all input and output here; suspended with the machine, as the peer's timeouts are not rota's beliefs.
[[nodiscard]] inline microseconds io_now() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return microseconds{static_cast<std::int64_t>(t.tv_sec) * 1'000'000 + t.tv_nsec / 1'000};
}

/// `now + timeout`, for timeouts up to microseconds::max().
[[nodiscard]] inline microseconds io_deadline(microseconds now, microseconds timeout) noexcept {
    constexpr microseconds year = std::chrono::hours{24 * 365};
    return now + (timeout < year ? timeout : year);
}

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

// ---------------------------------------------------------------- requests as bytes (RESP)

inline void append_number(std::string& out, std::uint64_t value) {
    char digits[20];
    char* at = digits + sizeof digits;
    do {
        *--at = static_cast<char>('0' + value % 10);
        value /= 10;
    } while (value != 0);
    out.append(at, static_cast<std::size_t>(digits + sizeof digits - at));
}

inline void append_header(std::string& out, char sigil, std::size_t value) {
    out += sigil;
    append_number(out, value);
    out.append("\r\n", 2);
}

inline void append_bulk(std::string& out, std::string_view bytes) {
    append_header(out, '$', bytes.size());
    out.append(bytes);
    out.append("\r\n", 2);
}

inline void append_command(std::string& out, std::initializer_list<std::string_view> words) {
    append_header(out, '*', words.size());
    for (auto const word : words) append_bulk(out, word);
}

// ---------------------------------------------------------------- replies

struct reply_deleter {
    void operator()(redisReply* reply) const noexcept { ::freeReplyObject(reply); }
};
using reply_ptr = std::unique_ptr<redisReply, reply_deleter>;

[[nodiscard]] inline std::string_view text_of(redisReply const& reply) noexcept {
    return reply.str == nullptr ? std::string_view{} : std::string_view{reply.str, reply.len};
}

[[nodiscard]] inline bool is_error(redisReply const& reply) noexcept { return reply.type == REDIS_REPLY_ERROR; }

/// An address that a host name was resolved to.
struct endpoint {
    sockaddr_storage address{};
    socklen_t size = 0;
};

/// All endpoints of an address, in the order in which to try them. unavailable: the name cannot be resolved now.
[[nodiscard]] inline result<std::vector<endpoint>> resolve(redis_address const& address) {
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
    hints.ai_flags = AI_NUMERICSERV;
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
        reader_.reset();
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
        reader_.reset(::redisReaderCreate());
        if (!reader_) throw std::bad_alloc{};
        if (!input_) input_ = std::make_unique<char[]>(input_size);
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
        for (;;) {
            auto next = parse();
            if (!next || *next) return next;
            auto const count = ::recv(descriptor_, input_.get(), input_size, 0);
            if (count > 0) {
                feed(static_cast<std::size_t>(count));
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
        auto const count = ::recv(descriptor_, input_.get(), input_size, MSG_DONTWAIT);
        if (count > 0) {
            feed(static_cast<std::size_t>(count));
            return true;
        }
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) return true;
        close();
        return false;
    }

    /// The next reply in what was read, null if none is complete. protocol: the bytes are not Redis' (and closed).
    result<reply_ptr> parse() {
        void* raw = nullptr;
        if (::redisReaderGetReply(reader_.get(), &raw) != REDIS_OK) {
            std::string why = static_cast<char const*>(reader_->errstr);
            close();
            return {errc::protocol, "the peer does not speak Redis: " + readable_error(why)};
        }
        return reply_ptr{static_cast<redisReply*>(raw)};
    }

private:
    static constexpr std::size_t input_size = 64 * 1024;

    struct reader_deleter {
        void operator()(redisReader* reader) const noexcept { ::redisReaderFree(reader); }
    };

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

    void feed(std::size_t count) {
        if (::redisReaderFeed(reader_.get(), input_.get(), count) != REDIS_OK) throw std::bad_alloc{};
    }

    // A server that drops a connection at once (too many clients, protected mode) says why first.
    void keep_last_words() {
        last_words_.clear();
        if (!receive_now()) return;
        void* raw = nullptr;
        if (::redisReaderGetReply(reader_.get(), &raw) != REDIS_OK || raw == nullptr) return;
        reply_ptr const said{static_cast<redisReply*>(raw)};
        if (is_error(*said)) last_words_ = text_of(*said);
    }

    int descriptor_ = -1;
    std::unique_ptr<redisReader, reader_deleter> reader_;
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

namespace rota::detail {

/// Where to listen, as whom and for which group.
struct push_target {
    endpoint where;
    redis_address address;  ///< for credentials and database
    std::string name;
    std::string inbox;        ///< key of the inboxes, but for the incarnation
    std::string events;       ///< key of the group's events
    microseconds patience{};  ///< for connecting and greeting
};

/// See the top of the file. The caller's loop: prepare(), poll wanted() until next_time(), react() if it is ready.
class redis_push {
public:
    explicit redis_push(std::uint64_t seed) noexcept : backoff_{seed} {}

    /// Also registers the connection's descriptor with this epoll instance, as it comes and goes.
    void watch_with(int epoll) noexcept { epoll_ = epoll; }

    /// Listens there from now on.
    void retarget(push_target target) {
        close();
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
        wanted_ = has_target_ && (sub.incarnation != 0 || sub.follow_group);
        if (!wanted_) return close();
        if (reading_ && !covers(asked_, sub)) close();
        if (being_greeted() && now >= patience_ends_) failed(now);
        if (state_ == state::closed) {
            if (now < backoff_.not_before()) return;
            opened_at_ = now;
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
            } else if (!accept_read(**next, sub, newer)) {
                break;
            }
        }
        bool const refused = std::exchange(refused_, false);
        failed(now);
        if (refused) backoff_.refused(now);
        return newer;
    }

    /// Why the server does not let us listen, once for each time it says so; empty: it does.
    [[nodiscard]] std::string take_refusal() { return std::exchange(refusal_, {}); }

    void close() noexcept {
        connection_.close();  // which takes it out of the epoll instance too
        state_ = state::closed;
        reading_ = false;
        greeting_ = {};
        greeted_ = 0;
        refused_ = false;
    }

private:
    enum class state : std::uint8_t { closed, connecting, connected };

    [[nodiscard]] bool being_greeted() const noexcept {
        return state_ == state::connecting || greeted_ < greeting_.count;
    }

    // A read that starts at an older cursor is as good: it is pending, so nothing was there after that cursor.
    static bool covers(subscription const& asked, subscription const& sub) noexcept {
        if (asked.incarnation != sub.incarnation || asked.follow_group != sub.follow_group) return false;
        if (asked.version > sub.version) return false;
        return !sub.follow_group || (asked.epoch == sub.epoch && asked.seq <= sub.seq);
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
        append_read(sub);
        if (!connection_.send_now()) failed(now);
    }

    void append_read(subscription const& sub) {
        // As long as clients can sensibly wait, so that a quiet group costs no commands; COUNT 1, as more is not needed.
        auto& out = connection_.request();
        bool const inbox = sub.incarnation != 0;
        append_header(out, '*', 6 + (inbox ? 2u : 0u) + (sub.follow_group ? 2u : 0u));
        for (std::string_view const word : {"XREAD", "COUNT", "1", "BLOCK", "300000", "STREAMS"})
            append_bulk(out, word);
        if (inbox) append_bulk(out, target_.inbox + std::to_string(sub.incarnation));
        if (sub.follow_group) append_bulk(out, target_.events);
        if (inbox) append_bulk(out, std::to_string(sub.version) + "-0");
        if (sub.follow_group) append_bulk(out, std::to_string(sub.epoch) + "-" + std::to_string(sub.seq));
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

    // False: the connection is of no use any more.
    bool accept_read(redisReply const& reply, subscription const& sub, bool& newer) {
        if (!std::exchange(reading_, false)) return false;  // nothing was asked
        if (reply.type == REDIS_REPLY_NIL) return true;     // the time of BLOCK is over
        if (is_error(reply)) {
            auto const why = server_error(target_.address, "listening for changes", text_of(reply));
            refused_ = why.code == errc::refused_by_server;
            if (refused_) refusal_ = why.detail;
            return false;
        }
        if (reply.type != REDIS_REPLY_ARRAY) return false;
        for (std::size_t i = 0; i < reply.elements; ++i) {
            if (!accept_stream(*reply.element[i], sub, newer)) return false;
        }
        return true;
    }

    // [key, [[id, fields]...]]; what is not newer was learnt in another way meanwhile.
    bool accept_stream(redisReply const& stream, subscription const& sub, bool& newer) const {
        if (stream.type != REDIS_REPLY_ARRAY || stream.elements != 2) return false;
        auto const& entries = *stream.element[1];
        if (entries.type != REDIS_REPLY_ARRAY) return false;
        bool const events = text_of(*stream.element[0]) == target_.events;
        for (std::size_t i = 0; i < entries.elements; ++i) {
            auto const& entry = *entries.element[i];
            if (entry.type != REDIS_REPLY_ARRAY || entry.elements == 0) return false;
            std::uint64_t id[2]{};
            if (!stream_id(text_of(*entry.element[0]), id)) return false;
            std::uint64_t const major = events ? sub.epoch : sub.version;
            std::uint64_t const minor = events ? sub.seq : 0;
            if (id[0] > major || (id[0] == major && id[1] > minor)) newer = true;
        }
        return true;
    }

    static bool stream_id(std::string_view text, std::uint64_t (&into)[2]) noexcept {
        std::size_t part = 0;
        for (char const c : text) {
            if (c == '-' && part == 0) {
                part = 1;
            } else if (c >= '0' && c <= '9') {
                into[part] = into[part] * 10 + static_cast<std::uint64_t>(c - '0');
            } else {
                return false;
            }
        }
        return part == 1;
    }

    redis_connection connection_;
    push_target target_;
    bool has_target_ = false;
    bool wanted_ = false;  // a connection
    int epoll_ = -1;
    state state_ = state::closed;
    greeting greeting_;        // replies to come before any other
    std::size_t greeted_ = 0;  // of them, here
    bool reading_ = false;     // a read is pending
    subscription asked_;       // by that read
    bool refused_ = false;     // by the server, in words: trying again soon is of no use
    std::string refusal_;
    microseconds opened_at_{};
    microseconds patience_ends_{};
    reconnect_backoff backoff_;
};

}  // namespace rota::detail

#endif

// ---- rota/detail/redis_session.hpp ---------------------------------------------------------------------------------
// The command connection of a Redis transport: brings a connection to the point where operations can be performed
// (authenticated, scripts loaded, rights checked, numbered within its session), and performs one operation at a time as
// one EVALSHA.
// Promises: nothing is written before every right that rota needs has been checked; each connection raises its number in
// the session's record first, so that a command of an earlier one that arrives late is refused; attempts to connect are
// spaced with backoff, whoever asks; a script that the server forgot is loaded and the operation sent again.
// Does not: repeat an operation otherwise (the caller knows whether it may). One thread at a time.

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <array>

// ---- rota/detail/redis_codec.hpp -----------------------------------------------------------------------------------
// How operations travel to Redis and back: encode() makes the call of a script out of an operation, decode() the reply to
// it out of what comes back. Both are format only: what an operation does stands in the scripts (redis_scripts.hpp), how
// bytes get there in redis_connection.hpp.

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

// ---- rota/detail/redis/decode.hpp ----------------------------------------------------------------------------------
// Makes the reply to an operation out of what its script answered: decode(). What does not have exactly the expected
// shape is errc::protocol, whatever it is; the shapes are written at the scripts (*.lua.hpp in this folder). RESP2.

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

// ---- rota/detail/redis/reply_reader.hpp ----------------------------------------------------------------------------
// Reads what the scripts answer: the elements of an array (redis_array_reader), and the parts of a stored record such
// as "12|34|text" (redis_record_reader). Neither trusts what it reads: every bound and type is checked, a mistake is
// remembered, and what comes after it reads as nothing, so that a caller asks once, at the end.

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <charconv>
#include <cstdlib>

namespace rota::detail {

/// Reads numbers and text out of the elements of an array, in order. A mistake is remembered: ask done() at the end.
class redis_array_reader {
public:
    explicit redis_array_reader(redisReply const* array) : array_{array} {
        if (!array || array->type != REDIS_REPLY_ARRAY || (array->elements > 0 && !array->element)) fail();
    }

    [[nodiscard]] bool ok() const noexcept { return array_ != nullptr; }
    [[nodiscard]] bool done() const noexcept { return ok() && at_ == array_->elements; }
    [[nodiscard]] std::size_t left() const noexcept { return ok() ? array_->elements - at_ : 0; }
    void fail() noexcept { array_ = nullptr; }

    redisReply const* next() noexcept {
        if (left() == 0 || !array_->element[at_]) {
            fail();
            return nullptr;
        }
        return array_->element[at_++];
    }
    /// Nothing if it is nil.
    [[nodiscard]] bool skip_nil() noexcept {
        if (left() == 0 || !array_->element[at_] || array_->element[at_]->type != REDIS_REPLY_NIL) return false;
        ++at_;
        return true;
    }
    std::string_view text() noexcept {
        auto const* element = next();
        if (!element || element->type != REDIS_REPLY_STRING || !element->str) {
            fail();
            return {};
        }
        return {element->str, element->len};
    }
    std::uint64_t number() noexcept {
        auto const* element = next();
        if (element && element->type == REDIS_REPLY_INTEGER && element->integer >= 0) {
            return static_cast<std::uint64_t>(element->integer);
        }
        std::uint64_t value = 0;
        if (!element || element->type != REDIS_REPLY_STRING || !element->str ||
            !parse({element->str, element->len}, value)) {
            fail();
        }
        return value;
    }
    microseconds duration() noexcept { return to_duration(number()); }
    /// -1 means never.
    microseconds duration_or_never() noexcept {
        if (left() > 0 && array_->element[at_] && array_->element[at_]->type == REDIS_REPLY_INTEGER &&
            array_->element[at_]->integer == -1) {
            ++at_;
            return microseconds::max();
        }
        return duration();
    }
    template <typename Enum>
    Enum enumerator(Enum last) noexcept {
        auto const value = number();
        if (value > static_cast<std::uint64_t>(last)) {
            fail();
            return {};
        }
        return static_cast<Enum>(value);
    }
    std::vector<fencing_token> numbers() {
        std::vector<fencing_token> values;
        redis_array_reader inner{next()};
        values.reserve(inner.left());
        while (inner.left() > 0) values.push_back(inner.number());
        if (!inner.done()) fail();
        return values;
    }

    [[nodiscard]] static bool parse(std::string_view text, std::uint64_t& value) noexcept {
        auto const [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
        return problem == std::errc{} && end == text.data() + text.size();
    }
    [[nodiscard]] static microseconds to_duration(std::uint64_t count) noexcept {
        constexpr auto most = static_cast<std::uint64_t>(microseconds::max().count());
        return microseconds{static_cast<std::int64_t>(count < most ? count : most)};
    }

private:
    redisReply const* array_;
    std::size_t at_ = 0;
};

/// Reads the parts of "12|34|text" one by one. A mistake is remembered: ask ok() or done() at the end.
class redis_record_reader {
public:
    explicit redis_record_reader(std::string_view text) : rest_{text} {}

    [[nodiscard]] bool ok() const noexcept { return ok_; }
    [[nodiscard]] bool done() const noexcept { return ok_ && ended_; }
    void fail() noexcept { ok_ = false; }

    std::uint64_t number() noexcept {
        std::uint64_t value = 0;
        if (!redis_array_reader::parse(part(), value)) ok_ = false;
        return value;
    }
    microseconds duration() noexcept { return redis_array_reader::to_duration(number()); }
    template <typename Enum>
    Enum enumerator(Enum last) noexcept {
        auto const value = number();
        if (value > static_cast<std::uint64_t>(last)) {
            ok_ = false;
            return {};
        }
        return static_cast<Enum>(value);
    }
    std::uint32_t capacity() noexcept {
        auto const value = number();
        if (value > unlimited) ok_ = false;
        return static_cast<std::uint32_t>(value);
    }
    double weight() noexcept {
        auto const text = part();
        double value = 0;
#if defined(__cpp_lib_to_chars)
        auto const [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
        bool const read = problem == std::errc{} && end == text.data() + text.size();
#else
        // A library that lacks it: what the program's locale takes for a decimal point must be one.
        std::string const copy{text};
        char* end = nullptr;
        value = std::strtod(copy.c_str(), &end);
        bool const read = !copy.empty() && end == copy.c_str() + copy.size();
#endif
        if (!read || value - value != 0) {  // not a finite number
            ok_ = false;
            return 1;
        }
        return value;
    }
    /// All that is left, | included.
    std::string_view rest() noexcept {
        if (ended_) ok_ = false;
        ended_ = true;
        return std::exchange(rest_, {});
    }

private:
    std::string_view part() noexcept {
        if (ended_) ok_ = false;
        auto const end = rest_.find('|');
        auto const found = rest_.substr(0, end);
        if (end == std::string_view::npos) {
            ended_ = true;
            rest_ = {};
        } else {
            rest_.remove_prefix(end + 1);
        }
        return found;
    }

    std::string_view rest_;
    bool ok_ = true;
    bool ended_ = false;
};

}  // namespace rota::detail

#endif

namespace rota::detail {

/// Makes a reply of what a script answered after its status; each leaves `in` not done() where the shape is wrong.
template <typename T = void>
struct redis_decoder {
    using reply = late<rota::reply, T>;

    redis_array_reader& in;

    reply operator()(op::join const&) const {
        op::joined answer;
        answer.incarnation = in.number();
        answer.epoch = in.number();
        answer.seq = in.number();
        answer.superseded = in.number();
        return answer;
    }

    reply operator()(op::tick const& r) const {
        op::ticked answer;
        answer.status = in.enumerator(op::tick_status::data_lost);
        auto const now = in.number();
        answer.epoch = in.number();
        answer.fence = in.number();
        answer.seq = in.number();
        if (answer.status != op::tick_status::ok) return answer;
        if (auto const leader = in.text(); !leader.empty()) {
            redis_record_reader record{leader};
            auto const deadline = record.number();
            auto const term = record.number();
            auto const incarnation = record.number();
            (void)record.number();  // the lease's length
            auto const id = record.rest();
            if (!record.done()) in.fail();
            if (deadline > now) {
                answer.leader = incarnation;
                answer.term = term;
                answer.leader_id = id;
                answer.leader_remaining = redis_array_reader::to_duration(deadline - now);
            }
        }
        answer.version = in.number();
        if (answer.leader != r.incarnation || answer.leader == 0) return answer;
        answer.sweep.next_expiry = in.duration_or_never();
        answer.sweep.expired = in.numbers();
        answer.sweep.dead = in.numbers();
        answer.sweep.next_dead = in.duration_or_never();
        answer.sweep.candidates = in.numbers();
        return answer;
    }

    reply operator()(op::leave const&) const { return op::done{}; }
    reply operator()(op::renounce const&) const { return op::done{}; }

    reply operator()(op::reap const&) const {
        op::outcomes answer;
        answer.items.reserve(in.left());
        while (in.left() > 0) answer.items.push_back({.token = in.number()});
        return answer;
    }

    reply operator()(op::acquire_locks const& r) const { return outcomes(r.items.size(), code | token | remaining); }

    reply operator()(op::extend_locks const& r) const {
        auto answer = outcomes(r.items.size(), code | remaining);
        for (std::size_t i = 0; i < answer.items.size() && i < r.items.size(); ++i) {
            if (answer.items[i].ok()) answer.items[i].token = r.items[i].token;
        }
        return answer;
    }

    reply operator()(op::release_locks const& r) const { return outcomes(r.items.size(), code); }

    reply operator()(op::register_schedules const& r) const {
        op::outcomes answer;
        answer.items.resize(r.items.size());
        return answer;
    }

    reply operator()(op::lookup const& r) const {
        op::lookup_reply answer;
        redis_array_reader own{in.next()};
        redis_array_reader moves{in.next()};
        answer.items.reserve(r.ids.size());
        for (auto const& id : r.ids) {
            auto& entry = answer.items.emplace_back();
            entry.registered = read_schedule(own, moves, entry.status);
            if (entry.registered) entry.status.id = id;
        }
        require(own, moves);
        return answer;
    }

    reply operator()(op::unregister_schedules const& r) const { return outcomes(r.items.size(), code); }
    reply operator()(op::claim const& r) const { return outcomes(r.ids.size(), code | token); }
    reply operator()(op::adopt const& r) const { return outcomes(r.items.size(), code | token); }
    reply operator()(op::revoke const& r) const { return outcomes(r.items.size(), code | token); }
    reply operator()(op::acknowledge const& r) const { return outcomes(r.items.size(), code | token | remaining); }

    reply operator()(op::changes_since const& r) const {
        op::changes_reply answer;
        answer.gap = in.number() != 0;
        auto const newest = in.number();
        answer.to = answer.gap ? newest : r.version;
        redis_array_reader entries{in.next()};
        while (entries.left() > 0) {
            redis_array_reader entry{entries.next()};
            answer.to = stream_id(entry).first;
            redis_array_reader fields{entry.next()};
            while (fields.left() > 0) {
                redis_record_reader record{fields.text()};
                auto& c = answer.items.emplace_back();
                c.kind = record.enumerator(op::change_kind::vacancy);
                c.generation = record.number();
                c.other = record.number();
                c.reason = record.enumerator(change_reason::resynced);
                c.weight = record.weight();
                c.handoff = record.duration();
                c.id = fields.text();
                if (!record.done()) in.fail();
            }
            require(entry, fields);
        }
        require(entries);
        return answer;
    }

    reply operator()(op::events_since const& r) const {
        op::events_reply answer;
        answer.gap = in.number() != 0;
        answer.head = in.number();
        answer.to = answer.gap ? answer.head : r.seq;
        redis_array_reader entries{in.next()};
        while (entries.left() > 0) {
            redis_array_reader entry{entries.next()};
            answer.to = stream_id(entry).second;
            redis_array_reader fields{entry.next()};
            while (fields.left() > 0) {
                redis_record_reader record{fields.text()};
                auto& e = answer.items.emplace_back();
                e.seq = answer.to;
                e.kind = record.enumerator(op::group_event_kind::data_lost);
                e.generation = record.number();
                e.from = record.number();
                e.to = record.number();
                e.reason = record.enumerator(change_reason::resynced);
                e.weight = record.weight();
                e.capacity = record.capacity();
                e.id = fields.text();
                if (!record.done()) in.fail();
            }
            require(entry, fields);
        }
        require(entries);
        return answer;
    }

    reply operator()(op::schedules_page const&) const {
        op::page_reply answer;
        answer.version = in.number();
        redis_array_reader ids{in.next()};
        redis_array_reader own{in.next()};
        redis_array_reader moves{in.next()};
        answer.items.reserve(ids.left());
        while (ids.left() > 0) {
            auto& status = answer.items.emplace_back();
            status.id = ids.text();
            if (!read_schedule(own, moves, status)) in.fail();
        }
        require(ids, own, moves);
        return answer;
    }

    reply operator()(op::nodes_page const&) const {
        op::nodes_reply answer;
        auto const now = in.number();
        answer.epoch = in.number();
        answer.seq = in.number();
        redis_array_reader nodes{in.next()};
        redis_array_reader info{in.next()};
        redis_array_reader load{in.next()};
        redis_array_reader pending{in.next()};
        redis_array_reader deadlines{in.next()};
        answer.items.reserve(nodes.left());
        while (nodes.left() > 0) {
            auto& status = answer.items.emplace_back();
            status.node.incarnation = nodes.number();
            redis_record_reader record{info.text()};
            status.capacity = record.capacity();
            (void)record.number();  // the nonce that it joined with
            (void)record.number();  // its ttl
            status.node.id = record.rest();
            if (!record.done()) in.fail();
            status.load = load.skip_nil() ? 0 : static_cast<std::uint32_t>(load.number());
            status.pending = pending.skip_nil() ? 0 : static_cast<std::uint32_t>(pending.number());
            status.alive = !deadlines.skip_nil();
            if (auto const deadline = status.alive ? deadlines.number() : 0; deadline > now) {
                status.remaining = redis_array_reader::to_duration(deadline - now);
            }
        }
        require(nodes, info, load, pending, deadlines);
        return answer;
    }

private:
    enum part : unsigned { code = 1, token = 2, remaining = 4 };

    op::outcomes outcomes(std::size_t count, unsigned parts) const {
        op::outcomes answer;
        auto const width = (parts & code ? 1u : 0u) + (parts & token ? 1u : 0u) + (parts & remaining ? 1u : 0u);
        if (in.left() != count * width) {
            in.fail();
            return answer;
        }
        answer.items.resize(count);
        for (auto& item : answer.items) {
            item.code = in.enumerator(errc::protocol);
            if (parts & token) item.token = in.number();
            if (parts & remaining) item.remaining = in.duration();
        }
        return answer;
    }

    // One element of each: generation|owner|weight, or nil; to|deadline|reason, or nil.
    bool read_schedule(redis_array_reader& own, redis_array_reader& moves, schedule_status& status) const {
        bool const registered = !own.skip_nil();
        if (registered) {
            redis_record_reader record{own.text()};
            status.generation = record.number();
            status.owner = record.number();
            status.weight = record.weight();
            if (!record.done()) in.fail();
        }
        if (!moves.skip_nil()) {
            redis_record_reader record{moves.text()};
            status.moving_to = record.number();
            if (!record.ok() || !registered) in.fail();
        }
        return registered;
    }

    std::pair<std::uint64_t, std::uint64_t> stream_id(redis_array_reader& entry) const {
        auto const text = entry.text();
        auto const dash = text.find('-');
        std::pair<std::uint64_t, std::uint64_t> id{};
        if (dash == std::string_view::npos || !redis_array_reader::parse(text.substr(0, dash), id.first) ||
            !redis_array_reader::parse(text.substr(dash + 1), id.second)) {
            in.fail();
        }
        return id;
    }

    template <typename... Readers>
    void require(Readers const&... readers) const {
        if (!(readers.done() && ...)) in.fail();
    }
};

/// The reply to `request` that `answer` holds; or the error that the script gave; or protocol, if it is neither.
template <typename T = void>
[[nodiscard]] result<late<reply, T>> decode(late<operation, T> const& request, redisReply const* answer) {
    if (answer && answer->type == REDIS_REPLY_ERROR) {
        return {errc::refused_by_server, answer->str ? std::string{answer->str, answer->len} : std::string{}};
    }
    redis_array_reader in{answer};
    auto const status = in.enumerator(errc::protocol);
    if (in.ok() && status != errc{}) {
        std::string detail;
        if (in.left() > 0) detail = in.text();
        if (in.done()) return {status, std::move(detail)};
        in.fail();
    }
    if (in.ok()) {
        auto decoded = std::visit(redis_decoder<T>{in}, request);
        if (in.done()) return decoded;
    }
    return {errc::protocol, "the server's answer does not have the form of a reply of rota's scripts"};
}

}  // namespace rota::detail

#endif

// ---- rota/detail/redis/encode.hpp ----------------------------------------------------------------------------------
// Makes the call of a script out of an operation: encode() writes its keys and arguments, in the order that is written
// at the script (*.lua.hpp in this folder). It recycles the buffers of the command that it writes over, since locks are
// the hottest path of a busy node. Every key that the script will touch is among the keys. Text only, no I/O.

// ---- rota/detail/redis_scripts.hpp ---------------------------------------------------------------------------------
// The Lua scripts that perform the operations of operations.hpp on Redis, one atomic step each: which there are, and
// their text. What is in them stands in redis/*.lua.hpp; how requests and replies look on the wire in redis_codec.hpp.
//
// Every script takes the time once, in its first line, and compares it with deadlines that stand in values; that line
// is all that knows of a clock, so tests put another in its place. No hiredis here: this is text.

// ---- rota/detail/redis/common.lua.hpp ------------------------------------------------------------------------------
// Lua that several scripts of redis_scripts.hpp begin with: the group's counters, what a step tells, nodes, and who has
// which schedule. Each piece is prepended only where it is used, in the order in which it stands here.
//
// A script has no way back once it has written. So each reads first (which also finds keys of a wrong type), decides on
// Lua tables, and writes last: verify_…() is the end of reading, commit_…() writes. Words such as errc_conflict,
// event_left or limit_events are replaced by their numbers before a script is sent, within quotes as well.
//
// Numbers are kept as the text they have in Redis and compared as text; arithmetic makes them doubles, exact below
// 2^53, which only '%.0f' turns back into text without loss (`..` keeps 14 digits).

namespace rota::detail::lua {

// KEYS of every script that changes more than locks; ARGV[1] is the number of the connection, ARGV[2] what all keys
// begin with. Keys that depend on the request follow in KEYS, and are named by P .. 'by:' .. incarnation and so on.
inline constexpr char group[] = R"lua(
local call, fmt, match = redis.call, string.format, string.match
local k_session, k_epoch, k_fence, k_seq, k_events, k_leader, k_nodes, k_dead, k_info, k_ids, k_roster,
      k_load, k_pending, k_own, k_unowned, k_moves = unpack(KEYS, 1, 16)
local P = ARGV[2]

local counters = call('MGET', k_session, k_epoch, k_fence, k_seq)
for i = 1, 4 do
    -- MGET shows a key of another type as missing; GET refuses it.
    if not counters[i] then call('GET', KEYS[i]) end
end
if counters[1] and tonumber(counters[1]) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
local epoch, fence, seq = counters[2], tonumber(counters[3] or 0), tonumber(counters[4] or 0)
local counted, founded = false, false

local function mint(seen)
    counted = true
    fence = math.max(fence + 1, now, seen + 1)
    return fence
end

-- Of one that joins: may know of tokens that this server has lost, but not of just any.
local function absurd(seen)
    return seen > math.max(now, fence) + limit_seen_lead and
        {errc_refused_by_server, "a fencing token of more than an hour ahead of the server's clock"}
end

-- Of a member: it is told by its next tick.
local function behind(seen)
    return fence < seen and {errc_not_joined, 'the server has lost writes'}
end
)lua";

// What one step tells: one entry of the group's event log, and one of the change log of each node concerned. An entry
// is a list of pairs: numbers joined by |, and an id. All parts come as text: joining numbers is four times slower.
inline constexpr char step[] = R"lua(
local events, told, versions = {}, {}, {}

local function emit(kind, generation, from, to, reason, weight, capacity, id)
    local n = #events
    events[n + 1] = kind .. '|' .. generation .. '|' .. from .. '|' .. to .. '|' .. reason .. '|' .. weight ..
        '|' .. capacity
    events[n + 2] = id
end

local function tell(inc, kind, generation, other, reason, weight, handoff, id)
    local entry = told[inc]
    if not entry then
        entry = {}
        told[inc] = entry
    end
    local n = #entry
    entry[n + 1] = kind .. '|' .. generation .. '|' .. other .. '|' .. reason .. '|' .. weight .. '|' .. handoff
    entry[n + 2] = id
end

-- A missing epoch, or a fence below what the caller has seen: writes were lost, or (seen 0) the group is new.
local function ensure_epoch(seen)
    if epoch and counters[4] and fence >= seen then return end
    epoch, founded = fmt('%.0f', mint(seen)), true
    if seen > 0 then emit('event_data_lost', epoch, '0', '0', '0', '1', 'limit_unlimited', '') end
end

-- The end of reading. Returns what to answer if the step cannot be logged.
local function verify_step()
    if #events > 0 then
        if not founded and not (epoch and counters[4]) then return {errc_conflict, 'the group has lost its epoch'} end
        call('XLEN', k_events)
    end
    for inc in pairs(told) do
        local inbox = P .. 'inbox:' .. inc
        local version = call('GET', P .. 'ver:' .. inc)
        if call('XLEN', inbox) > 0 and not version then
            -- The counter alone was lost: go on from the log, whose numbers never go back.
            version = match(call('XREVRANGE', inbox, '+', '-', 'COUNT', 1)[1][1], '^%d+')
        end
        versions[inc] = fmt('%.0f', (version or 0) + 1)
    end
end

local function commit_step()
    if #events > 0 then
        counted = true
        seq = seq + 1
        call('XADD', k_events, 'MAXLEN', '~', limit_events, epoch .. '-' .. fmt('%.0f', seq), unpack(events))
    end
    if counted then
        call('MSET', k_epoch, epoch, k_fence, fmt('%.0f', fence), k_seq, fmt('%.0f', seq))
    end
    for inc, version in pairs(versions) do
        call('XADD', P .. 'inbox:' .. inc, 'MAXLEN', '~', limit_changes, version .. '-0', unpack(told[inc]))
        call('SET', P .. 'ver:' .. inc, version)
    end
end
)lua";

// Nodes, live and dead, each read once per step.
inline constexpr char nodes[] = R"lua(
local known, changed = {}, {}

local function node(inc)
    local n = known[inc]
    if n == nil then
        local info = inc ~= '0' and call('HGET', k_info, inc)
        n = false
        if info then
            local live = call('ZSCORE', k_nodes, inc)
            n = {
                info = info,
                live = live and true,
                -- live: taken for dead from then on; dead: its schedules may be adopted from then on
                deadline = tonumber(live or call('ZSCORE', k_dead, inc) or 0),
                capacity = tonumber(match(info, '^%d+')),
                load = tonumber(call('HGET', k_load, inc) or 0),
                pending = tonumber(call('HGET', k_pending, inc) or 0),
            }
        end
        known[inc] = n
    end
    return n
end

local function may_believe(inc)
    local n = node(inc)
    return n and (n.live or n.deadline > now)
end

local function is_target(inc)
    local n = node(inc)
    return n and n.live and n.deadline > now
end

local function count(inc, n, load, pending)
    n.load, n.pending = n.load + load, n.pending + pending
    changed[inc] = n
end

local function commit_nodes()
    local load, pending = {}, {}
    for inc, n in pairs(changed) do
        local i = #load
        load[i + 1], load[i + 2] = inc, n.load
        pending[i + 1], pending[i + 2] = inc, n.pending
    end
    if #load > 0 then
        call('HSET', k_load, unpack(load))
        call('HSET', k_pending, unpack(pending))
    end
end

local function leads(inc, term)
    local leader = call('GET', k_leader)
    if not leader then return false end
    local held_under, holder = match(leader, '^%d+|(%d+)|(%d+)|')
    return holder == inc and held_under == term
end
)lua";

// Nodes that go, and dead ones that own nothing more and are forgotten.
inline constexpr char departures[] = R"lua(
local gone, gone_ids, forgotten = {}, {}, {}

local function take_out(inc, n, kind)
    local id = match(n.info, '^%d+|%d+|%d+|(.*)$')
    n.live, n.deadline = false, now
    gone[#gone + 1] = inc
    -- A newer incarnation may have the name by now.
    if call('HGET', k_ids, id) == inc then gone_ids[#gone_ids + 1] = id end
    emit(kind, '0', inc, '0', '0', '1', 'limit_unlimited', id)
end

local function forget_if_done(inc)
    local n = node(inc)
    if not n or n.live or n.deadline > now or n.load > 0 then return end
    known[inc], changed[inc] = false, nil
    forgotten[#forgotten + 1] = inc
    emit('event_forgotten', '0', inc, '0', '0', '1', 'limit_unlimited', '')
end

local function verify_departures()
    if #forgotten > 0 then call('ZCARD', k_roster) end
    call('ZCARD', k_dead)
end

local function commit_departures()
    if #gone > 0 then
        local since = {}
        for _, inc in ipairs(gone) do
            since[#since + 1] = now
            since[#since + 1] = inc
        end
        call('ZREM', k_nodes, unpack(gone))
        call('ZADD', k_dead, unpack(since))
    end
    if #gone_ids > 0 then call('HDEL', k_ids, unpack(gone_ids)) end
    if #forgotten > 0 then
        local padded, keys = {}, {}
        for i, inc in ipairs(forgotten) do
            padded[i] = fmt('%016.0f', inc)
            local n = #keys
            keys[n + 1], keys[n + 2], keys[n + 3] = P .. 'by:' .. inc, P .. 'ver:' .. inc, P .. 'inbox:' .. inc
        end
        call('ZREM', k_dead, unpack(forgotten))
        call('ZREM', k_roster, unpack(padded))
        call('HDEL', k_info, unpack(forgotten))
        call('HDEL', k_load, unpack(forgotten))
        call('HDEL', k_pending, unpack(forgotten))
        call('DEL', unpack(keys))
    end
end
)lua";

// The schedules of a request: what is stored of each, read once, and what becomes of it.
inline constexpr char schedules[] = R"lua(
local records = {}
local own_set, own_deleted, moves_set, moves_deleted = {}, {}, {}, {}
local unowned_added, unowned_removed, by_added, by_removed = {}, {}, {}, {}

-- Reads the schedules whose ids are ARGV[first..last].
local function read_schedules(first, last)
    if last < first then return end
    local own = call('HMGET', k_own, unpack(ARGV, first, last))
    -- Mostly nothing is moving.
    local moves = call('HLEN', k_moves) > 0 and call('HMGET', k_moves, unpack(ARGV, first, last)) or {}
    for i = first, last do
        local text, move = own[i - first + 1], moves[i - first + 1]
        if text then
            local generation, owner, weight = match(text, '^(%d+)|(%d+)|(.*)$')
            local s = {generation = generation, owner = owner, weight = weight}
            if move then s.to, s.deadline, s.reason = match(move, '^(%d+)|(%d+)|(%d+)') end
            records[ARGV[i]] = s
        end
    end
end

local function append(lists, inc, id)
    local list = lists[inc]
    if not list then
        list = {}
        lists[inc] = list
    end
    list[#list + 1] = id
end

local function detach(id, s)
    if s.owner == '0' then
        unowned_removed[#unowned_removed + 1] = id
        return
    end
    local n = node(s.owner)
    if n then
        append(by_removed, s.owner, id)
        count(s.owner, n, -1, 0)
    end
end

local function drop_move(id, s)
    if not s.to then return end
    local target = node(s.to)
    if target then count(s.to, target, 0, -1) end
    s.to = nil
    moves_deleted[#moves_deleted + 1] = id
end

-- Makes `to` (0: nobody) the owner, and tells so.
local function hand_to(id, s, to, generation, reason)
    local from = s.owner
    generation = fmt('%.0f', generation)
    detach(id, s)
    drop_move(id, s)
    s.owner, s.generation = to, generation
    local n = #own_set
    own_set[n + 1], own_set[n + 2] = id, generation .. '|' .. to .. '|' .. s.weight
    if to == '0' then
        unowned_added[#unowned_added + 1] = id
    else
        append(by_added, to, id)
        count(to, node(to), 1, 0)
        tell(to, 'change_granted', generation, from, reason, s.weight, '0', id)
    end
    emit('event_owned', generation, from, to, reason, s.weight, 'limit_unlimited', id)
end

local function verify_schedules()
    call('ZCARD', k_unowned)
    for inc in pairs(by_added) do call('ZCARD', P .. 'by:' .. inc) end
    for inc in pairs(by_removed) do call('ZCARD', P .. 'by:' .. inc) end
end

local function add_all(key, ids)
    local members = {}
    for i = 1, #ids do members[2 * i - 1], members[2 * i] = '0', ids[i] end
    call('ZADD', key, unpack(members))
end

local function commit_schedules()
    if #own_set > 0 then call('HSET', k_own, unpack(own_set)) end
    if #own_deleted > 0 then call('HDEL', k_own, unpack(own_deleted)) end
    if #moves_deleted > 0 then call('HDEL', k_moves, unpack(moves_deleted)) end
    if #moves_set > 0 then call('HSET', k_moves, unpack(moves_set)) end
    if #unowned_removed > 0 then call('ZREM', k_unowned, unpack(unowned_removed)) end
    if #unowned_added > 0 then add_all(k_unowned, unowned_added) end
    for inc, ids in pairs(by_removed) do call('ZREM', P .. 'by:' .. inc, unpack(ids)) end
    for inc, ids in pairs(by_added) do add_all(P .. 'by:' .. inc, ids) end
end
)lua";

// Values of KEYS[first..last], strings that are to be written. MGET shows a key of another type as missing, so those
// that seem to be are looked at again, all by one EXISTS.
inline constexpr char strings[] = R"lua(
local function strings(first, last)
    local values, absent = redis.call('MGET', unpack(KEYS, first, last)), {}
    for i = first, last do
        if not values[i - first + 1] then absent[#absent + 1] = KEYS[i] end
    end
    if #absent > 0 and redis.call('EXISTS', unpack(absent)) > 0 then
        for _, key in ipairs(absent) do redis.call('GET', key) end
    end
    return values
end
)lua";

// What stays of unregistered schedules, inc|until|kept|nonce: the owner of then may believe in it until it has heard.
inline constexpr char tombstones[] = R"lua(
local stones = {}

-- Reads the tombstones of the schedules whose ids are ARGV[first..last] out of what their keys, KEYS[17..], hold.
local function read_tombstones(first, last, values)
    for i = first, last do
        local text = values[i - first + 1]
        if text then
            local g = {}
            g.owner, g.ends, g.kept, g.nonce = match(text, '^(%d+)|(%d+)|(%d+)|(%d+)$')
            stones[ARGV[i]] = g
        end
    end
end

local function is_guarded(id)
    local g = stones[id]
    return g and tonumber(g.ends) > now and may_believe(g.owner)
end
)lua";

}  // namespace rota::detail::lua

// ---- rota/detail/redis/connection.lua.hpp --------------------------------------------------------------------------
// The scripts of a connection itself: session, which makes it the newest of its session, and probe, which finds out
// whether the server lets us do what the other scripts need.

namespace rota::detail::lua {

// KEYS: session. ARGV: connection. Reply: nothing, or conflict if there is a newer one.
inline constexpr char session[] = R"lua(
local newest = redis.call('GET', KEYS[1])
if newest and tonumber(newest) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', 86400000)
return {0}
)lua";

// KEYS: a key to throw away. Reply: 'OK', or the first error in the server's words, then the command in brackets.
// DEL comes first, so that nothing is written that could not be cleaned up. XREAD is for the connection that sleeps.
inline constexpr char probe[] = R"lua(
local key = KEYS[1]
local commands = {
    {'DEL', key}, {'TIME'}, {'GET', key}, {'MGET', key}, {'EXISTS', key},
    {'HGET', key, 'a'}, {'HMGET', key, 'a'}, {'HEXISTS', key, 'a'}, {'HLEN', key},
    {'ZSCORE', key, 'a'}, {'ZMSCORE', key, 'a'}, {'ZCARD', key}, {'ZRANGE', key, 0, 0}, {'ZREVRANGE', key, 0, 0},
    {'ZRANGEBYSCORE', key, 0, 0}, {'ZRANGEBYLEX', key, '-', '+'},
    {'XLEN', key}, {'XRANGE', key, '-', '+'}, {'XREVRANGE', key, '+', '-'}, {'XREAD', 'STREAMS', key, '0'},
    {'SET', key, '1', 'PX', 1000}, {'MSET', key, '1'}, {'DEL', key},
    {'HSET', key, 'a', '1'}, {'HDEL', key, 'a'}, {'DEL', key},
    {'ZADD', key, 1, 'a'}, {'ZREM', key, 'a'}, {'DEL', key},
    {'XADD', key, 'MAXLEN', '~', 1, '1-0', 'a', '1'}, {'DEL', key},
}
for _, command in ipairs(commands) do
    local outcome = redis.pcall(unpack(command))
    if type(outcome) == 'table' and outcome.err then
        redis.pcall('DEL', key)
        return outcome.err .. ' [' .. command[1] .. ']'
    end
end
return 'OK'
)lua";

}  // namespace rota::detail::lua

// ---- rota/detail/redis/following.lua.hpp ---------------------------------------------------------------------------
// The scripts that only read: changes_since, events_since, schedules_page, nodes_page. See operations.hpp for what they
// do. What is stored goes to the caller as it is; nothing is taken apart here that the caller can.

namespace rota::detail::lua {

// KEYS: nodes, ver:<incarnation>, inbox:<incarnation>. ARGV: incarnation, version. Reply: gap, version, entries.
inline constexpr char changes_since[] = R"lua(
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {errc_not_joined} end
local version, from = redis.call('GET', KEYS[2]) or '0', tonumber(ARGV[2])
local newest = tonumber(version)
if from == newest then return {0, 0, version, {}} end
local first = string.format('%.0f-0', from + 1)
local entries = from < newest and redis.call('XRANGE', KEYS[3], first, '+', 'COUNT', limit_change_steps) or {}
-- Versions have no holes: if the next is not the first one found, it is kept no more.
if not entries[1] or entries[1][1] ~= first then return {0, 1, version, {}} end
return {0, 0, version, entries}
)lua";

// KEYS: epoch, seq, events. ARGV: epoch, seq, limit. Reply: gap, head, entries.
inline constexpr char events_since[] = R"lua(
local epoch, head = redis.call('GET', KEYS[1]) or '0', redis.call('GET', KEYS[2]) or '0'
local newest, from, limit = tonumber(head), tonumber(ARGV[2]), tonumber(ARGV[3])
if epoch ~= ARGV[1] or from > newest then return {0, 1, head, {}} end
if from == newest then return {0, 0, head, {}} end
local first = epoch .. '-' .. string.format('%.0f', from + 1)
local entries = redis.call('XRANGE', KEYS[3], first, '+', 'COUNT', math.max(limit, 1))
-- Numbers have no holes: if the next is not the first one found, it is kept no more.
if not entries[1] or entries[1][1] ~= first then return {0, 1, head, {}} end
return {0, 0, head, limit > 0 and entries or {}}
)lua";

// KEYS: unowned, or by:<holder>; own, moves, and for a holder ver:<holder>. ARGV: after, limit.
// Reply: version, ids, what own and moves hold of them.
inline constexpr char schedules_page[] = R"lua(
local version = KEYS[4] and redis.call('GET', KEYS[4]) or '0'
-- After nothing is after the empty id, which none has.
local ids = redis.call('ZRANGEBYLEX', KEYS[1], '(' .. ARGV[1], '+', 'LIMIT', 0, ARGV[2])
if #ids == 0 then return {0, version, {}, {}, {}} end
return {0, version, ids, redis.call('HMGET', KEYS[2], unpack(ids)), redis.call('HMGET', KEYS[3], unpack(ids))}
)lua";

// KEYS: epoch, seq, roster, info, load, pending, nodes. ARGV: after (16 digits), limit.
// Reply: now, epoch, seq, incarnations, what the others hold of them.
inline constexpr char nodes_page[] = R"lua(
local call = redis.call
local epoch, seq = call('GET', KEYS[1]) or '0', call('GET', KEYS[2]) or '0'
local padded = call('ZRANGEBYLEX', KEYS[3], '(' .. ARGV[1], '+', 'LIMIT', 0, ARGV[2])
if #padded == 0 then return {0, now, epoch, seq, {}, {}, {}, {}, {}} end
local nodes = {}
for i, text in ipairs(padded) do nodes[i] = string.match(text, '^0*(.*)$') end
return {0, now, epoch, seq, nodes, call('HMGET', KEYS[4], unpack(nodes)), call('HMGET', KEYS[5], unpack(nodes)),
        call('HMGET', KEYS[6], unpack(nodes)), call('ZMSCORE', KEYS[7], unpack(nodes))}
)lua";

}  // namespace rota::detail::lua

// ---- rota/detail/redis/locks.lua.hpp -------------------------------------------------------------------------------
// The scripts of locks: acquire, extend, release, of schedules and of names, one and many. See operations.hpp for what
// they do. A lock is `deadline|token|incarnation|nonce` at lock:<id> or name:<name>.

namespace rota::detail::lua {

// One lock, the hottest script of all: no function, no table but what Redis makes, as few calls as the checks need.
//
// KEYS: session, fence, lock, nodes, dead, own, moves; for a name without the last two.
// ARGV: connection, incarnation, ttl, nonce, seen, name, generation; for a name without the last.
// Reply: code, token, remaining.
inline constexpr char acquire_one[] = R"lua(
local call = redis.call
local v = call('MGET', KEYS[1], KEYS[2], KEYS[3])
if v[1] and tonumber(v[1]) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
local inc, ttl, token, lock = ARGV[2], tonumber(ARGV[3]), now, v[3]
if not v[2] then call('GET', KEYS[2]) elseif v[2] + 1 > token then token = v[2] + 1 end
if tonumber(v[2] or 0) < tonumber(ARGV[5]) then return {errc_not_joined, 'the server has lost writes'} end
if not call('ZSCORE', KEYS[4], inc) then return {errc_not_joined} end
if KEYS[6] then
    local own = call('HGET', KEYS[6], ARGV[6])
    if not own then return {0, errc_unknown_schedule, 0, 0} end
    -- generation|owner|weight
    if string.find(own, ARGV[7] .. '|' .. inc .. '|', 1, true) ~= 1 or call('HEXISTS', KEYS[7], ARGV[6]) == 1 then
        return {0, errc_not_owner, 0, 0}
    end
end
if lock then
    local deadline, held, holder, nonce = string.match(lock, '^(%d+)|(%d+)|(%d+)|(%d+)$')
    deadline = tonumber(deadline)
    -- A holder that is not live may still believe until the time from which its schedules may be adopted.
    if deadline > now and (holder == inc or call('ZSCORE', KEYS[4], holder) or
                           tonumber(call('ZSCORE', KEYS[5], holder) or 0) > now) then
        if holder == inc and nonce == ARGV[4] then return {0, 0, held, deadline - now} end
        return {0, errc_locked_by_other, 0, deadline - now}
    end
end
local text = string.format('%.0f|%.0f|%s|%s', now + ttl, token, inc, ARGV[4])
-- In ms and twice as long: it only collects garbage.
local kept = math.max(math.ceil(ttl / 500), 1)
if lock then
    call('SET', KEYS[3], text, 'PX', kept)
elseif not call('SET', KEYS[3], text, 'NX', 'PX', kept) then
    -- There, but MGET did not show it: not a string, which GET says.
    call('GET', KEYS[3])
end
call('SET', KEYS[2], string.format('%.0f', token))
return {0, 0, token, ttl}
)lua";

// KEYS: session, fence, nodes, dead, own, moves, locks...
// ARGV: connection, incarnation, ttl, nonce, seen, names..., generations...; for named locks without the last two.
// Reply: code, token, remaining of each.
inline constexpr char acquire_many[] = R"lua(
local call, fmt, match = redis.call, string.format, string.match
local v = call('MGET', KEYS[1], KEYS[2])
if v[1] and tonumber(v[1]) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
local inc, ttl, seen, locks = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5]), #KEYS - 6
if not v[2] then call('GET', KEYS[2]) end
if tonumber(v[2] or 0) < seen then return {errc_not_joined, 'the server has lost writes'} end
if not call('ZSCORE', KEYS[3], inc) then return {errc_not_joined} end
if locks == 0 then return {0} end

local is_schedule, own, moves = #ARGV > 5, {}, {}
if is_schedule then
    own = call('HMGET', KEYS[5], unpack(ARGV, 6, 5 + locks))
    moves = call('HMGET', KEYS[6], unpack(ARGV, 6, 5 + locks))
end
local held = strings(7, 6 + locks)

local believes = {[inc] = true}
local function may_believe(holder)
    if believes[holder] == nil then
        believes[holder] = call('ZSCORE', KEYS[3], holder) and true or
                           tonumber(call('ZSCORE', KEYS[4], holder) or 0) > now
    end
    return believes[holder]
end

local answer, granted = {0}, {}
for i = 1, locks do
    local code, token, remaining = 0, 0, 0
    if is_schedule and not own[i] then
        code = errc_unknown_schedule
    elseif is_schedule and
            (string.find(own[i], ARGV[5 + locks + i] .. '|' .. inc .. '|', 1, true) ~= 1 or moves[i]) then
        code = errc_not_owner
    else
        local deadline, held_under, holder, nonce
        if held[i] then deadline, held_under, holder, nonce = match(held[i], '^(%d+)|(%d+)|(%d+)|(%d+)$') end
        if deadline and tonumber(deadline) > now and may_believe(holder) then
            remaining = deadline - now
            if holder == inc and nonce == ARGV[4] then token = held_under else code = errc_locked_by_other end
        else
            granted[#granted + 1] = i
        end
    end
    local n = 3 * i - 1
    answer[n], answer[n + 1], answer[n + 2] = code, token, remaining
end
if #granted == 0 then return answer end

local token = math.max(tonumber(v[2] or 0) + 1, now)
local head, tail = fmt('%.0f|', now + ttl), '|' .. inc .. '|' .. ARGV[4]
local kept = math.max(math.ceil(ttl / 500), 1)
for _, i in ipairs(granted) do
    call('SET', KEYS[6 + i], head .. fmt('%.0f', token) .. tail, 'PX', kept)
    answer[3 * i], answer[3 * i + 1] = token, ttl
    token = token + 1
end
call('SET', KEYS[2], fmt('%.0f', token - 1))
return answer
)lua";

// KEYS: session, nodes, moves, locks... ARGV: connection, incarnation, ttl, tokens..., names... (of schedules only).
// Reply: code, remaining of each.
inline constexpr char extend[] = R"lua(
local call = redis.call
local locks, inc, ttl = #KEYS - 3, ARGV[2], tonumber(ARGV[3])
local v = call('MGET', KEYS[1], unpack(KEYS, 4))
if v[1] and tonumber(v[1]) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
if not call('ZSCORE', KEYS[2], inc) then return {errc_not_joined} end
local moves = locks > 0 and #ARGV > 3 + locks and call('HMGET', KEYS[3], unpack(ARGV, 4 + locks)) or {}

local answer, till = {0}, now + ttl
for i = 1, locks do
    local code, remaining = errc_lock_lost, 0
    if v[i + 1] then
        local deadline, token, rest = string.match(v[i + 1], '^(%d+)|(%d+)(|.*)$')
        deadline = tonumber(deadline)
        if token == ARGV[3 + i] and deadline > now and string.find(rest, '|' .. inc .. '|', 1, true) == 1 then
            if moves[i] and tonumber(string.match(moves[i], '^%d+|(%d+)')) <= now then
                code = errc_not_owner
            else
                code = 0
                if till > deadline then
                    deadline = till
                    call('SET', KEYS[3 + i], string.format('%.0f|', till) .. token .. rest, 'PX', math.ceil(ttl / 500))
                end
                remaining = deadline - now
            end
        end
    end
    answer[2 * i], answer[2 * i + 1] = code, remaining
end
return answer
)lua";

// KEYS: session, locks... ARGV: connection, tokens... Reply: code of each.
inline constexpr char release[] = R"lua(
local call = redis.call
local v = call('MGET', unpack(KEYS))
if v[1] and tonumber(v[1]) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
local answer = {0}
for i = 2, #KEYS do
    answer[i] = errc_lock_lost
    if v[i] then
        local deadline, token = string.match(v[i], '^(%d+)|(%d+)|')
        -- DEL tells whether an earlier item of this request has released it.
        if token == ARGV[i] and tonumber(deadline) > now and call('DEL', KEYS[i]) == 1 then answer[i] = 0 end
    end
end
return answer
)lua";

}  // namespace rota::detail::lua

// ---- rota/detail/redis/membership.lua.hpp --------------------------------------------------------------------------
// The scripts of membership and leadership: join, tick, leave, renounce, reap. See operations.hpp for what they do.

namespace rota::detail::lua {

// ARGV: connection, P, nonce, ttl, capacity, on_conflict, seen, node_id. Reply: incarnation, epoch, seq, superseded.
inline constexpr char join[] = R"lua(
local nonce, ttl, capacity, seen, id = ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[7]), ARGV[8]
local refused = absurd(seen)
if refused then return refused end

local older = call('HGET', k_ids, id)
local deadline = older and call('ZSCORE', k_nodes, older)
if deadline then
    if match(call('HGET', k_info, older) or '', '^%d+|(%d+)|') == nonce then
        call('ZADD', k_nodes, now + ttl, older)
        return {0, older, epoch or '0', seq, '0'}
    end
    if tonumber(ARGV[6]) == conflict_refuse and tonumber(deadline) > now then
        return {errc_conflict, 'another live process has this node_id'}
    end
end
call('ZCARD', k_nodes)
call('ZCARD', k_dead)
call('ZCARD', k_roster)
call('HLEN', k_info)

ensure_epoch(seen)
local inc = fmt('%.0f', mint(seen))
if deadline then emit('event_superseded', '0', older, inc, '0', '1', 'limit_unlimited', id) end
emit('event_joined', '0', '0', inc, '0', '1', capacity, id)
refused = verify_step()
if refused then return refused end

commit_step()
if deadline then
    call('ZREM', k_nodes, older)
    call('ZADD', k_dead, deadline, older)
end
call('ZADD', k_nodes, now + ttl, inc)
call('ZADD', k_roster, 0, fmt('%016.0f', inc))
call('HSET', k_info, inc, capacity .. '|' .. nonce .. '|' .. ARGV[4] .. '|' .. id)
call('HSET', k_ids, id, inc)
return {0, inc, epoch, seq, deadline and older or '0'}
)lua";

// Without the common pieces: this one runs once per node and heartbeat, and for a follower writes one score and tells
// what one MGET read; the caller takes the leader's record apart.
//
// KEYS: session, epoch, fence, seq, leader, ver:<incarnation>, nodes, dead, ids, events, info.
// ARGV: connection, incarnation, epoch, term, candidate, ttl, lease, seen, node_id.
// Reply: status, now, epoch, fence, seq; if ok also: leader's record, version; if it leads also: next_expiry (-1:
// none), expired, dead, next_dead (-1: none), candidates.
inline constexpr char tick[] = R"lua(
local call = redis.call
local v = call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
if v[1] and tonumber(v[1]) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
local inc, term, seen, leader = ARGV[2], ARGV[4], tonumber(ARGV[8]), v[5]
if seen > now + limit_seen_lead and seen > tonumber(v[3] or 0) + limit_seen_lead then
    return {errc_refused_by_server, "a fencing token of more than an hour ahead of the server's clock"}
end
-- Mostly a lease is running; one that ends later than if it began now was granted before the clock stepped back.
local ends, held_under, holder, lease, id = 0
if leader then
    ends, held_under, holder, lease, id = string.match(leader, '^(%d+)|(%d+)|(%d+)|(%d+)|(.*)$')
    ends = tonumber(ends)
end
local pulled_in = leader and ends > now + lease
if term == '0' and holder ~= inc and (ends > now or ARGV[5] == '0') and not pulled_in and
        v[2] == ARGV[3] and v[4] and tonumber(v[3] or 0) >= seen and
        -- 0 also if the deadline is the same as before.
        (call('ZADD', KEYS[7], 'XX', 'CH', now + ARGV[6], inc) == 1 or call('ZSCORE', KEYS[7], inc)) then
    return {0, status_ok, now, v[2], v[3], v[4], leader or '', v[6] or '0'}
end

-- A leader, a candidate, or somebody who is to learn that the node or the group's data is gone.
local fmt = string.format
for i = 1, 6 do
    -- MGET shows a key of another type as missing; GET refuses it.
    if not v[i] then call('GET', KEYS[i]) end
end
local epoch, fence, seq = v[2], tonumber(v[3] or 0), tonumber(v[4] or 0)

local function mint()
    fence = math.max(fence + 1, now, seen + 1)
    return fmt('%.0f', fence)
end

local function emit(kind, generation, from, to, id)
    seq = seq + 1
    call('XADD', KEYS[10], 'MAXLEN', '~', limit_events, epoch .. '-' .. fmt('%.0f', seq),
         kind .. '|' .. generation .. '|' .. from .. '|' .. to .. '|0|1|limit_unlimited', id)
end

local function commit()
    call('MSET', KEYS[2], epoch, KEYS[3], fmt('%.0f', fence), KEYS[4], fmt('%.0f', seq))
end

if not (epoch and v[4] and fence >= seen) then
    epoch = mint()
    if seen > 0 then emit('event_data_lost', epoch, '0', '0', '') end
    commit()
    return {0, status_data_lost, now, epoch, fence, seq}
end
if epoch ~= ARGV[3] then return {0, status_data_lost, now, epoch, fence, seq} end

if not call('ZSCORE', KEYS[7], inc) then
    local holder = call('HGET', KEYS[9], ARGV[9])
    return {0, holder and holder ~= inc and status_fenced or status_reaped, now, epoch, fence, seq}
end

local function lease_until(deadline, under, by, lease, its_id)
    leader = fmt('%.0f', deadline) .. '|' .. under .. '|' .. by .. '|' .. lease .. '|' .. its_id
end

if pulled_in then
    ends = now + lease
    lease_until(ends, held_under, holder, lease, id)
end
local renews = holder == inc and held_under == term
local takes = not renews and ARGV[5] == '1' and ends <= now
local leads = renews or takes or holder == inc and ends > now

local next_expiry, expired, dead, next_dead, candidates = -1, {}, {}, -1, {}
local latest = 0
if leads then
    -- The two earliest deadlines: one of them is another node's, if there is any other.
    local first = call('ZRANGE', KEYS[7], 0, 1, 'WITHSCORES')
    local other = first[1] == inc and 3 or 1
    local has_others, after_now = first[other], '(' .. fmt('%.0f', now)
    if has_others and tonumber(first[other + 1]) > now then
        next_expiry = first[other + 1] - now
    elseif has_others then
        for _, node in ipairs(call('ZRANGEBYSCORE', KEYS[7], '-inf', now, 'LIMIT', 0, limit_batch + 1)) do
            if node ~= inc and #expired < limit_batch then expired[#expired + 1] = node end
        end
        local later = call('ZRANGEBYSCORE', KEYS[7], after_now, '+inf', 'WITHSCORES', 'LIMIT', 0, 2)
        other = later[1] == inc and 3 or 1
        if later[other] then next_expiry = later[other + 1] - now end
    end
    local freshest = has_others and call('ZREVRANGE', KEYS[7], 0, 3, 'WITHSCORES') or {}
    if freshest[1] then latest = tonumber(freshest[2]) end
    for i = 1, #freshest, 2 do
        if freshest[i] ~= inc and tonumber(freshest[i + 1]) > now and #candidates < 3 then
            candidates[#candidates + 1] = freshest[i]
        end
    end
    local soonest = call('ZRANGE', KEYS[8], 0, 0, 'WITHSCORES')
    if soonest[1] and tonumber(soonest[2]) <= now then
        dead = call('ZRANGEBYSCORE', KEYS[8], '-inf', now, 'LIMIT', 0, limit_batch)
        soonest = call('ZRANGEBYSCORE', KEYS[8], after_now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    end
    if soonest[1] then
        next_dead = soonest[2] - now
        latest = math.max(latest, tonumber(call('ZREVRANGE', KEYS[8], 0, 0, 'WITHSCORES')[2]))
    end
end

-- Other nodes' deadlines that are further ahead than the node's ttl.
local too_late = {}
if latest > now + ARGV[6] then
    for i = 7, 8 do
        for _, node in ipairs(call('ZRANGEBYSCORE', KEYS[i], '(' .. fmt('%.0f', now + ARGV[6]), '+inf')) do
            local ttl = node ~= inc and string.match(call('HGET', KEYS[11], node) or '', '^%d+|%d+|(%d+)|')
            if ttl then too_late[#too_late + 1] = {KEYS[i], now + ttl, node} end
        end
    end
end

if renews then
    lease_until(now + ARGV[7], term, inc, ARGV[7], id)
elseif takes then
    call('XLEN', KEYS[10])
    term = mint()
    lease_until(now + ARGV[7], term, inc, ARGV[7], ARGV[9])
    emit('event_led', term, holder or '0', inc, ARGV[9])
    commit()
end
if renews or takes or pulled_in then call('SET', KEYS[5], leader) end
call('ZADD', KEYS[7], 'XX', now + ARGV[6], inc)
for _, node in ipairs(too_late) do call('ZADD', node[1], 'XX', 'LT', node[2], node[3]) end
if not leads then return {0, status_ok, now, epoch, fence, seq, leader or '', v[6] or '0'} end
return {0, status_ok, now, epoch, fence, seq, leader, v[6] or '0', next_expiry, expired, dead, next_dead, candidates}
)lua";

// Tells the nodes ARGV[first..] that leadership is vacant.
inline constexpr char vacate[] = R"lua(
local function vacate(leader, first)
    local term, holder = match(leader, '^%d+|(%d+)|(%d+)|')
    emit('event_vacated', term, holder, '0', '0', '1', 'limit_unlimited', '')
    for i = first, #ARGV do
        local n = node(ARGV[i])
        if n and n.live then tell(ARGV[i], 'change_vacancy', '0', '0', '0', '1', '0', '') end
    end
end
)lua";

// ARGV: connection, P, incarnation, wake... Reply: nothing.
inline constexpr char leave[] = R"lua(
local inc = ARGV[3]
local leader = call('GET', k_leader)
local n = node(inc)
local grants_early = false
if n and n.live then
    take_out(inc, n, 'event_left')
elseif n and n.deadline > now then
    n.deadline = now
    grants_early = true
end
forget_if_done(inc)
local vacated = leader and match(leader, '^%d+|%d+|(%d+)|') == inc
if vacated then vacate(leader, 4) end
verify_departures()
local refused = verify_step()
if refused then return refused end

commit_step()
if vacated then call('DEL', k_leader) end
if grants_early then call('ZADD', k_dead, now, inc) end
commit_departures()
return {0}
)lua";

// ARGV: connection, P, incarnation, term, wake... Reply: nothing.
inline constexpr char renounce[] = R"lua(
if not leads(ARGV[3], ARGV[4]) then return {0} end
vacate(call('GET', k_leader), 5)
local refused = verify_step()
if refused then return refused end

commit_step()
call('DEL', k_leader)
return {0}
)lua";

// ARGV: connection, P, incarnation, term, nodes... Reply: those taken out.
inline constexpr char reap[] = R"lua(
if not leads(ARGV[3], ARGV[4]) then return {errc_not_leader} end
local answer = {0}
for i = 5, #ARGV do
    local inc = ARGV[i]
    local n = node(inc)
    if n and n.live and n.deadline <= now and inc ~= ARGV[3] then
        take_out(inc, n, 'event_died')
        answer[#answer + 1] = inc
    end
    forget_if_done(inc)
end
verify_departures()
local refused = verify_step()
if refused then return refused end

commit_step()
commit_departures()
return answer
)lua";

}  // namespace rota::detail::lua

// ---- rota/detail/redis/schedules.lua.hpp ---------------------------------------------------------------------------
// The scripts of schedules: register, lookup, unregister, claim, adopt, revoke, acknowledge. See operations.hpp for
// what they do.

namespace rota::detail::lua {

// ARGV: connection, P, ids..., weights... Reply: nothing, it always succeeds.
inline constexpr char register_schedules[] = R"lua(
local n = (#ARGV - 2) / 2
ensure_epoch(0)
read_schedules(3, 2 + n)
for i = 3, 2 + n do
    local id, weight = ARGV[i], ARGV[n + i]
    if not records[id] then
        records[id] = {generation = '0', owner = '0', weight = weight}
        own_set[#own_set + 1] = id
        own_set[#own_set + 1] = '0|0|' .. weight
        unowned_added[#unowned_added + 1] = id
        emit('event_registered', '0', '0', '0', '0', weight, 'limit_unlimited', id)
    end
end
verify_schedules()
local refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
return {0}
)lua";

// KEYS: own, moves. ARGV: ids... Reply: what is stored of them, twice.
inline constexpr char lookup[] = R"lua(
if #ARGV == 0 then return {0, {}, {}} end
return {0, redis.call('HMGET', KEYS[1], unpack(ARGV)), redis.call('HMGET', KEYS[2], unpack(ARGV))}
)lua";

// ARGV: connection, P, nonce, ids..., owners...; KEYS[17..]: gone:<id>, then of the owners. Reply: code of each.
inline constexpr char unregister_schedules[] = R"lua(
local n, nonce, answer, buried = (#ARGV - 3) / 2, ARGV[3], {0}, {}
read_schedules(4, 3 + n)
read_tombstones(4, 3 + n, n > 0 and strings(17, 16 + n) or {})
for i = 1, n do
    local id, owner = ARGV[3 + i], ARGV[3 + n + i]
    local s, g = records[id], stones[id]
    if g and g.nonce == nonce and tonumber(g.kept) > now then
        answer[i + 1] = 0 -- a repeat, even if it was registered anew meanwhile
    elseif not s then
        answer[i + 1] = errc_unknown_schedule
    elseif s.owner ~= owner then
        answer[i + 1] = errc_conflict
    else
        answer[i + 1] = 0
        local holder = node(owner)
        local stone = {owner = owner, ends = holder and holder.deadline or 0, nonce = nonce}
        -- An earlier owner that may still believe keeps its guard.
        if is_guarded(id) then stone.owner, stone.ends = g.owner, g.ends end
        stone.kept = math.max(tonumber(stone.ends), now + limit_repeat_window)
        stones[id] = stone
        buried[#buried + 1] = id
        records[id] = nil
        detach(id, s)
        drop_move(id, s)
        own_deleted[#own_deleted + 1] = id
        if holder and holder.live then tell(owner, 'change_removed', '0', '0', '0', '1', '0', id) end
        emit('event_unregistered', '0', owner, '0', '0', '1', 'limit_unlimited', id)
    end
end
verify_schedules()
local refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
for _, id in ipairs(buried) do
    local g = stones[id]
    call('SET', P .. 'gone:' .. id, fmt('%.0f|%.0f|%.0f', g.owner, g.ends, g.kept) .. '|' .. g.nonce,
         'PX', math.ceil((g.kept - now) / 500))
end
return answer
)lua";

// ARGV: connection, P, incarnation, seen, ids...; KEYS[17..]: gone:<id>, then the node's. Reply: code, token of each.
inline constexpr char claim[] = R"lua(
local inc, seen = ARGV[3], tonumber(ARGV[4])
local refused = behind(seen)
if refused then return refused end
local me = node(inc)
if not me or not me.live then return {errc_not_joined} end
read_schedules(5, #ARGV)
read_tombstones(5, #ARGV, #ARGV > 4 and call('MGET', unpack(KEYS, 17, 12 + #ARGV)) or {})
local answer = {0}
for i = 5, #ARGV do
    local id = ARGV[i]
    local s = records[id]
    local code, token = 0, 0
    if not s then
        code = errc_unknown_schedule
    elseif s.owner == inc then
        token = s.generation
    elseif s.owner ~= '0' then
        code = errc_owned_by_other
    elseif is_guarded(id) then
        code = errc_conflict
    elseif me.load + me.pending >= me.capacity then
        code = errc_capacity_exceeded
    else
        token = mint(seen)
        hand_to(id, s, inc, token, 'reason_claimed')
    end
    answer[#answer + 1] = code
    answer[#answer + 1] = token
end
verify_schedules()
refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
return answer
)lua";

// ARGV: connection, P, incarnation, term, seen, ids..., generations..., froms..., tos..., reasons...;
// KEYS[17..]: gone:<id>, then of froms and tos. Reply: code, token of each.
inline constexpr char adopt[] = R"lua(
local n, seen = (#ARGV - 5) / 5, tonumber(ARGV[5])
local refused = behind(seen)
if refused then return refused end
if not leads(ARGV[3], ARGV[4]) then return {errc_not_leader} end
read_schedules(6, 5 + n)
read_tombstones(6, 5 + n, n > 0 and call('MGET', unpack(KEYS, 17, 16 + n)) or {})
local answer, sources, is_source = {0}, {}, {}
for i = 6, 5 + n do
    local id, generation, from, to, reason = ARGV[i], ARGV[n + i], ARGV[2 * n + i], ARGV[3 * n + i], ARGV[4 * n + i]
    local s = records[id]
    local code, token = 0, 0
    if not s then
        code = errc_unknown_schedule
    elseif s.generation ~= generation or s.owner ~= from or from ~= '0' and may_believe(from) or is_guarded(id) then
        code = errc_conflict
    elseif not is_target(to) then
        code = errc_unknown_node
    else
        local target = node(to)
        -- A hand-off to this very node has its place already.
        if target.load + target.pending - (s.to == to and 1 or 0) >= target.capacity then
            code = errc_capacity_exceeded
        else
            token = mint(seen)
            hand_to(id, s, to, token, reason)
            if from ~= '0' and not is_source[from] then
                is_source[from] = true
                sources[#sources + 1] = from
            end
        end
    end
    answer[#answer + 1] = code
    answer[#answer + 1] = token
end
for _, inc in ipairs(sources) do forget_if_done(inc) end
verify_schedules()
verify_departures()
refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
commit_departures()
return answer
)lua";

// ARGV: connection, P, incarnation, term, handoff deadline, ids..., generations..., froms..., tos..., reasons...;
// KEYS[17..]: of the froms. Reply: code, token of each.
inline constexpr char revoke[] = R"lua(
local n, inc, term, handoff = (#ARGV - 5) / 5, ARGV[3], ARGV[4], ARGV[5]
if term ~= '0' then
    if not leads(inc, term) then return {errc_not_leader} end
else
    local me = node(inc)
    if not me or not me.live then return {errc_not_joined} end
end
read_schedules(6, 5 + n)
local answer, deadline = {0}, fmt('%.0f', now + handoff)
for i = 6, 5 + n do
    local id, generation, from, to, reason = ARGV[i], ARGV[n + i], ARGV[2 * n + i], ARGV[3 * n + i], ARGV[4 * n + i]
    local s, owner = records[id], node(from)
    local code, token = 0, 0
    if not s then
        code = errc_unknown_schedule
    elseif term == '0' and from ~= inc then
        code = errc_not_owner
    elseif s.generation ~= generation or s.owner ~= from or not (owner and owner.live) or to == from or
            s.to and s.to ~= to then
        code = errc_conflict
    elseif s.to then
        token = generation
    elseif not is_target(to) then
        code = errc_unknown_node
    elseif node(to).load + node(to).pending >= node(to).capacity then
        code = errc_capacity_exceeded
    else
        token = generation
        s.to = to
        local m = #moves_set
        moves_set[m + 1], moves_set[m + 2] = id, to .. '|' .. deadline .. '|' .. reason
        count(to, node(to), 0, 1)
        tell(from, 'change_revoking', generation, to, reason, s.weight, handoff, id)
        emit('event_moving', generation, from, to, reason, s.weight, 'limit_unlimited', id)
    end
    answer[#answer + 1] = code
    answer[#answer + 1] = token
end
local refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
return answer
)lua";

// ARGV: connection, P, incarnation, seen, ids..., generations..., tos...; KEYS[17..]: lock:<id>, then the node's and of
// the tos. Reply: code, token, remaining of each.
inline constexpr char acknowledge[] = R"lua(
local n, inc, seen = (#ARGV - 4) / 3, ARGV[3], tonumber(ARGV[4])
local refused = behind(seen)
if refused then return refused end
local me = node(inc)
if not me or not me.live then return {errc_not_joined} end
read_schedules(5, 4 + n)
local locks = n > 0 and call('MGET', unpack(KEYS, 17, 16 + n)) or {}
local answer = {0}
for i = 1, n do
    local id, generation, to = ARGV[4 + i], ARGV[4 + n + i], ARGV[4 + 2 * n + i]
    local s = records[id]
    local code, token, remaining = 0, 0, 0
    if not s then
        code = errc_unknown_schedule
    elseif s.generation ~= generation or s.owner ~= inc or s.to ~= to then
        code = errc_conflict
    else
        local deadline, holder
        if locks[i] then deadline, holder = match(locks[i], '^(%d+)|%d+|(%d+)|') end
        if deadline and tonumber(deadline) > now and may_believe(holder) then
            code, remaining = errc_locked_by_other, deadline - now
        else
            local target = is_target(to) and node(to)
            if not target then
                code = errc_unknown_node
            elseif target.load + target.pending - 1 >= target.capacity then
                code = errc_capacity_exceeded
            end
            token = mint(seen)
            if code == 0 then
                hand_to(id, s, to, token, s.reason)
            else
                hand_to(id, s, '0', token, 'reason_given_up')
            end
        end
    end
    local a = 3 * i - 1
    answer[a], answer[a + 1], answer[a + 2] = code, token, remaining
end
verify_schedules()
refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
return answer
)lua";

}  // namespace rota::detail::lua

namespace rota::detail {

enum class script_id : std::uint8_t {
    session,
    probe,
    join,
    tick,
    leave,
    renounce,
    reap,
    acquire_one,
    acquire_many,
    extend,
    release,
    register_schedules,
    lookup,
    unregister_schedules,
    claim,
    adopt,
    revoke,
    acknowledge,
    changes_since,
    events_since,
    schedules_page,
    nodes_page,
};
inline constexpr std::size_t script_count = 22;

[[nodiscard]] constexpr std::string_view script_name(script_id id) noexcept {
    switch (id) {
        case script_id::session: return "session";
        case script_id::probe: return "probe";
        case script_id::join: return "join";
        case script_id::tick: return "tick";
        case script_id::leave: return "leave";
        case script_id::renounce: return "renounce";
        case script_id::reap: return "reap";
        case script_id::acquire_one: return "acquire_one";
        case script_id::acquire_many: return "acquire_many";
        case script_id::extend: return "extend";
        case script_id::release: return "release";
        case script_id::register_schedules: return "register_schedules";
        case script_id::lookup: return "lookup";
        case script_id::unregister_schedules: return "unregister_schedules";
        case script_id::claim: return "claim";
        case script_id::adopt: return "adopt";
        case script_id::revoke: return "revoke";
        case script_id::acknowledge: return "acknowledge";
        case script_id::changes_since: return "changes_since";
        case script_id::events_since: return "events_since";
        case script_id::schedules_page: return "schedules_page";
        case script_id::nodes_page: return "nodes_page";
    }
    return "unknown";
}

namespace lua {

struct constant {
    std::string_view name;
    std::int64_t value;
};

// The words in the scripts that stand for numbers, so that errc and the enumerations are written down once.
inline constexpr constant constants[] = {
    {"errc_not_joined", static_cast<int>(errc::not_joined)},
    {"errc_not_owner", static_cast<int>(errc::not_owner)},
    {"errc_owned_by_other", static_cast<int>(errc::owned_by_other)},
    {"errc_not_leader", static_cast<int>(errc::not_leader)},
    {"errc_locked_by_other", static_cast<int>(errc::locked_by_other)},
    {"errc_lock_lost", static_cast<int>(errc::lock_lost)},
    {"errc_unknown_schedule", static_cast<int>(errc::unknown_schedule)},
    {"errc_unknown_node", static_cast<int>(errc::unknown_node)},
    {"errc_capacity_exceeded", static_cast<int>(errc::capacity_exceeded)},
    {"errc_conflict", static_cast<int>(errc::conflict)},
    {"errc_refused_by_server", static_cast<int>(errc::refused_by_server)},
    {"conflict_refuse", static_cast<int>(conflict_policy::refuse)},
    {"status_ok", static_cast<int>(op::tick_status::ok)},
    {"status_reaped", static_cast<int>(op::tick_status::reaped)},
    {"status_fenced", static_cast<int>(op::tick_status::fenced)},
    {"status_data_lost", static_cast<int>(op::tick_status::data_lost)},
    {"reason_claimed", static_cast<int>(change_reason::claimed)},
    {"reason_given_up", static_cast<int>(change_reason::given_up)},
    {"change_granted", static_cast<int>(op::change_kind::granted)},
    {"change_revoking", static_cast<int>(op::change_kind::revoking)},
    {"change_removed", static_cast<int>(op::change_kind::removed)},
    {"change_vacancy", static_cast<int>(op::change_kind::vacancy)},
    {"event_registered", static_cast<int>(op::group_event_kind::registered)},
    {"event_unregistered", static_cast<int>(op::group_event_kind::unregistered)},
    {"event_owned", static_cast<int>(op::group_event_kind::owned)},
    {"event_moving", static_cast<int>(op::group_event_kind::moving)},
    {"event_joined", static_cast<int>(op::group_event_kind::joined)},
    {"event_superseded", static_cast<int>(op::group_event_kind::superseded)},
    {"event_left", static_cast<int>(op::group_event_kind::left)},
    {"event_died", static_cast<int>(op::group_event_kind::died)},
    {"event_forgotten", static_cast<int>(op::group_event_kind::forgotten)},
    {"event_led", static_cast<int>(op::group_event_kind::led)},
    {"event_vacated", static_cast<int>(op::group_event_kind::vacated)},
    {"event_data_lost", static_cast<int>(op::group_event_kind::data_lost)},
    {"limit_unlimited", unlimited},
    {"limit_batch", op::max_batch},
    {"limit_events", op::event_log_length},
    {"limit_changes", op::change_log_length},
    {"limit_change_steps", op::max_change_steps},
    {"limit_seen_lead", op::max_seen_lead.count()},
    {"limit_repeat_window", op::repeat_window.count()},
};

// Appends `text` with the words of `constants` replaced by their numbers.
inline void append_resolved(std::string& into, std::string_view text) {
    auto const in_word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
    while (!text.empty()) {
        std::size_t length = 0;
        bool const word = in_word(text.front());
        while (length < text.size() && in_word(text[length]) == word) ++length;
        auto const piece = text.substr(0, length);
        text.remove_prefix(length);
        auto const* found = static_cast<constant const*>(nullptr);
        if (word && piece.find('_') != std::string_view::npos) {
            for (auto const& c : constants) {
                if (c.name == piece) found = &c;
            }
        }
        if (found) {
            into += std::to_string(found->value);
        } else {
            into += piece;
        }
    }
}

}  // namespace lua

/// The text of a script. `time_source`: a Lua expression for the server's time in µs, in place of Redis' TIME.
[[nodiscard]] inline std::string script_text(script_id id, std::string_view time_source = {}) {
    std::string text;
    auto const add = [&text](auto const&... pieces) { (lua::append_resolved(text, pieces), ...); };
    auto const add_clock = [&] {
        if (time_source.empty()) {
            text += "local time = redis.call('TIME') local now = time[1] * 1000000 + time[2]\n";
        } else {
            text.append("local now = ").append(time_source).append("\n");
        }
    };
    switch (id) {
        case script_id::session: add(lua::session); return text;
        case script_id::probe: add(lua::probe); return text;
        case script_id::lookup: add(lua::lookup); return text;
        case script_id::changes_since: add(lua::changes_since); return text;
        case script_id::events_since: add(lua::events_since); return text;
        case script_id::schedules_page: add(lua::schedules_page); return text;
        default: add_clock(); break;
    }
    switch (id) {
        case script_id::join: add(lua::group, lua::step, lua::join); break;
        case script_id::tick: add(lua::tick); break;
        case script_id::leave: add(lua::group, lua::step, lua::nodes, lua::departures, lua::vacate, lua::leave); break;
        case script_id::renounce: add(lua::group, lua::step, lua::nodes, lua::vacate, lua::renounce); break;
        case script_id::reap: add(lua::group, lua::step, lua::nodes, lua::departures, lua::reap); break;
        case script_id::acquire_one: add(lua::acquire_one); break;
        case script_id::acquire_many: add(lua::strings, lua::acquire_many); break;
        case script_id::extend: add(lua::extend); break;
        case script_id::release: add(lua::release); break;
        case script_id::register_schedules:
            add(lua::group, lua::step, lua::nodes, lua::schedules, lua::register_schedules);
            break;
        case script_id::unregister_schedules:
            add(lua::group, lua::step, lua::nodes, lua::schedules, lua::strings, lua::tombstones,
                lua::unregister_schedules);
            break;
        case script_id::claim:
            add(lua::group, lua::step, lua::nodes, lua::schedules, lua::tombstones, lua::claim);
            break;
        case script_id::adopt:
            add(lua::group, lua::step, lua::nodes, lua::departures, lua::schedules, lua::tombstones, lua::adopt);
            break;
        case script_id::revoke: add(lua::group, lua::step, lua::nodes, lua::schedules, lua::revoke); break;
        case script_id::acknowledge: add(lua::group, lua::step, lua::nodes, lua::schedules, lua::acknowledge); break;
        case script_id::nodes_page: add(lua::nodes_page); break;
        default: break;
    }
    return text;
}

}  // namespace rota::detail

namespace rota::detail {

/// One call of a script.
struct redis_command {
    script_id script{};
    std::vector<std::string> keys;
    std::vector<std::string> args;
};

/// Writes a command's keys and arguments over those of the one before.
class redis_command_writer {
public:
    redis_command_writer(redis_command& into, script_id script, std::string_view key_prefix)
        : into_{into},
          key_prefix_{key_prefix} {
        into_.script = script;
    }
    redis_command_writer(redis_command_writer const&) = delete;
    redis_command_writer& operator=(redis_command_writer const&) = delete;
    ~redis_command_writer() {
        into_.keys.resize(keys_);
        into_.args.resize(args_);
    }

    /// The key {prefix}name, {prefix}name<id> or {prefix}name<number>.
    void key(std::string_view name) { begin_key().append(name); }
    void key(std::string_view name, std::string_view id) { begin_key().append(name).append(id); }
    void key(std::string_view name, std::uint64_t number) { append_number(begin_key().append(name), number); }

    void arg(std::string_view text) { next(into_.args, args_).assign(text); }
    void arg(std::uint64_t number) { append_number(next(into_.args, args_), number); }
    void arg(microseconds duration) { arg(clamped(duration)); }
    void arg(double weight) {
        auto& text = next(into_.args, args_);
        append_weight(text, weight);
    }
    template <typename Enum>
        requires std::is_enum_v<Enum>
    void arg(Enum value) {
        arg(static_cast<std::uint64_t>(value));
    }
    /// What all keys of the group begin with.
    void arg_prefix() { next(into_.args, args_).append("{").append(key_prefix_).append("}"); }

    /// The keys that belong to an incarnation.
    void keys_of_node(fencing_token incarnation) {
        key("by:", incarnation);
        key("ver:", incarnation);
        key("inbox:", incarnation);
    }

private:
    static std::string& next(std::vector<std::string>& texts, std::size_t& used) {
        if (used == texts.size()) texts.emplace_back();
        auto& text = texts[used++];
        text.clear();
        return text;
    }
    std::string& begin_key() { return next(into_.keys, keys_).append("{").append(key_prefix_).append("}"); }

    static void append_number(std::string& into, std::uint64_t number) {
        char digits[20];
        auto const end = std::to_chars(digits, digits + sizeof digits, number).ptr;
        into.append(digits, end);
    }
    // The shortest text that reads back as the same number, whatever the locale.
    static void append_weight(std::string& into, double weight) {
        if (weight == 1) {
            into += '1';
            return;
        }
        char digits[32];
        auto const end = std::to_chars(digits, digits + sizeof digits, weight).ptr;
        into.append(digits, end);
    }
    // Added to the server's time it stays below 2^53, beyond which Lua cannot count.
    static std::uint64_t clamped(microseconds duration) {
        constexpr std::int64_t most = std::int64_t{1} << 51;
        auto const count = duration.count();
        return static_cast<std::uint64_t>(count < 0 ? 0 : count < most ? count : most);
    }

    redis_command& into_;
    std::string_view key_prefix_;
    std::size_t keys_ = 0;
    std::size_t args_ = 0;
};

/// Which connection of which session a command goes by.
struct redis_stamp {
    std::uint64_t session = 0;
    std::uint64_t connection = 0;
};

// Keys and arguments with which every script begins that changes more than locks (see lua::group).
inline void begin_group_command(redis_command_writer& w, redis_stamp from) {
    w.key("session:", from.session);
    for (auto name : {"epoch", "fence", "seq", "events", "leader", "nodes", "dead", "info", "ids", "roster", "load",
                      "pending", "own", "unowned", "moves"}) {
        w.key(name);
    }
    w.arg(from.connection);
    w.arg_prefix();
}

// The incarnations that a request names, each once, for the keys that must be declared.
class incarnation_set {
public:
    void add(fencing_token incarnation) {
        if (incarnation == 0 || incarnation == last_) return;
        last_ = incarnation;
        for (auto known : members_) {
            if (known == incarnation) return;
        }
        members_.push_back(incarnation);
    }
    void declare(redis_command_writer& w) const {
        for (auto incarnation : members_) w.keys_of_node(incarnation);
    }

private:
    fencing_token last_ = 0;
    std::vector<fencing_token> members_;
};

[[nodiscard]] constexpr std::string_view lock_key(op::lock_kind kind) {
    return kind == op::lock_kind::schedule ? "lock:" : "name:";
}

/// Writes a command for each operation; see encode(). A template, as is what decodes, so that it costs nothing where it
/// is not used.
template <typename = void>
struct redis_encoder {
    redis_command& into;
    std::string_view key_prefix;
    redis_stamp from;

    void operator()(op::join const& r) const {
        redis_command_writer w{into, script_id::join, key_prefix};
        begin_group_command(w, from);
        w.arg(r.nonce);
        w.arg(r.node_ttl);
        w.arg(std::uint64_t{r.capacity});
        w.arg(r.on_conflict);
        w.arg(r.seen);
        w.arg(r.node_id);
    }

    void operator()(op::tick const& r) const {
        redis_command_writer w{into, script_id::tick, key_prefix};
        w.key("session:", from.session);
        w.key("epoch");
        w.key("fence");
        w.key("seq");
        w.key("leader");
        w.key("ver:", r.incarnation);
        w.key("nodes");
        w.key("dead");
        w.key("ids");
        w.key("events");
        w.key("info");
        w.arg(from.connection);
        w.arg(r.incarnation);
        w.arg(r.epoch);
        w.arg(r.term);
        w.arg(std::uint64_t{r.candidate});
        w.arg(r.node_ttl);
        w.arg(r.leader_lease);
        w.arg(r.seen);
        w.arg(r.node_id);
    }

    void operator()(op::leave const& r) const {
        redis_command_writer w{into, script_id::leave, key_prefix};
        begin_group_command(w, from);
        w.keys_of_node(r.incarnation);
        w.arg(r.incarnation);
        write_wake(w, r.wake);
    }

    void operator()(op::renounce const& r) const {
        redis_command_writer w{into, script_id::renounce, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.term);
        write_wake(w, r.wake);
    }

    void operator()(op::reap const& r) const {
        redis_command_writer w{into, script_id::reap, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.term);
        for (auto incarnation : r.nodes) {
            w.keys_of_node(incarnation);
            w.arg(incarnation);
        }
    }

    void operator()(op::acquire_locks const& r) const {
        bool const schedules = r.kind == op::lock_kind::schedule;
        bool const one = r.items.size() == 1;
        redis_command_writer w{into, one ? script_id::acquire_one : script_id::acquire_many, key_prefix};
        w.key("session:", from.session);
        w.key("fence");
        if (one) w.key(lock_key(r.kind), r.items.front().name);
        w.key("nodes");
        w.key("dead");
        if (schedules || !one) {
            w.key("own");
            w.key("moves");
        }
        w.arg(from.connection);
        w.arg(r.incarnation);
        w.arg(r.ttl);
        w.arg(r.nonce);
        w.arg(r.seen);
        if (!one) {
            for (auto const& item : r.items) w.key(lock_key(r.kind), item.name);
        }
        if (!schedules) return;
        for (auto const& item : r.items) w.arg(item.name);
        for (auto const& item : r.items) w.arg(item.generation);
    }

    void operator()(op::extend_locks const& r) const {
        redis_command_writer w{into, script_id::extend, key_prefix};
        w.key("session:", from.session);
        w.key("nodes");
        w.key("moves");
        w.arg(from.connection);
        w.arg(r.incarnation);
        w.arg(r.ttl);
        for (auto const& item : r.items) {
            w.key(lock_key(r.kind), item.name);
            w.arg(item.token);
        }
        if (r.kind != op::lock_kind::schedule) return;
        for (auto const& item : r.items) w.arg(item.name);
    }

    void operator()(op::release_locks const& r) const {
        redis_command_writer w{into, script_id::release, key_prefix};
        w.key("session:", from.session);
        w.arg(from.connection);
        for (auto const& item : r.items) {
            w.key(lock_key(r.kind), item.name);
            w.arg(item.token);
        }
    }

    void operator()(op::register_schedules const& r) const {
        redis_command_writer w{into, script_id::register_schedules, key_prefix};
        begin_group_command(w, from);
        for (auto const& item : r.items) w.arg(item.id);
        for (auto const& item : r.items) w.arg(item.weight);
    }

    void operator()(op::lookup const& r) const {
        redis_command_writer w{into, script_id::lookup, key_prefix};
        w.key("own");
        w.key("moves");
        for (auto const& id : r.ids) w.arg(id);
    }

    void operator()(op::unregister_schedules const& r) const {
        redis_command_writer w{into, script_id::unregister_schedules, key_prefix};
        begin_group_command(w, from);
        w.arg(r.nonce);
        incarnation_set owners;
        for (auto const& item : r.items) {
            w.key("gone:", item.id);
            w.arg(item.id);
            owners.add(item.owner);
        }
        owners.declare(w);
        for (auto const& item : r.items) w.arg(item.owner);
    }

    void operator()(op::claim const& r) const {
        redis_command_writer w{into, script_id::claim, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.seen);
        for (auto const& id : r.ids) {
            w.key("gone:", id);
            w.arg(id);
        }
        w.keys_of_node(r.incarnation);
    }

    void operator()(op::adopt const& r) const {
        redis_command_writer w{into, script_id::adopt, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.term);
        w.arg(r.seen);
        for (auto const& item : r.items) w.key("gone:", item.id);
        write_placements(w, r.items);
    }

    void operator()(op::revoke const& r) const {
        redis_command_writer w{into, script_id::revoke, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.term);
        w.arg(r.handoff_deadline);
        write_placements(w, r.items);
    }

    void operator()(op::acknowledge const& r) const {
        redis_command_writer w{into, script_id::acknowledge, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.seen);
        incarnation_set nodes;
        nodes.add(r.incarnation);
        for (auto const& item : r.items) {
            w.key("lock:", item.id);
            w.arg(item.id);
            nodes.add(item.to);
        }
        nodes.declare(w);
        for (auto const& item : r.items) w.arg(item.generation);
        for (auto const& item : r.items) w.arg(item.to);
    }

    void operator()(op::changes_since const& r) const {
        redis_command_writer w{into, script_id::changes_since, key_prefix};
        w.key("nodes");
        w.key("ver:", r.incarnation);
        w.key("inbox:", r.incarnation);
        w.arg(r.incarnation);
        w.arg(r.version);
    }

    void operator()(op::events_since const& r) const {
        redis_command_writer w{into, script_id::events_since, key_prefix};
        w.key("epoch");
        w.key("seq");
        w.key("events");
        w.arg(r.epoch);
        w.arg(r.seq);
        w.arg(std::uint64_t{r.limit});
    }

    void operator()(op::schedules_page const& r) const {
        redis_command_writer w{into, script_id::schedules_page, key_prefix};
        if (r.holder == 0) {
            w.key("unowned");
        } else {
            w.key("by:", r.holder);
        }
        w.key("own");
        w.key("moves");
        if (r.holder != 0) w.key("ver:", r.holder);
        w.arg(r.after);
        w.arg(std::uint64_t{r.limit});
    }

    void operator()(op::nodes_page const& r) const {
        redis_command_writer w{into, script_id::nodes_page, key_prefix};
        for (auto name : {"epoch", "seq", "roster", "info", "load", "pending", "nodes"}) w.key(name);
        char padded[] = "0000000000000000";
        auto after = r.after;
        for (std::size_t i = sizeof padded - 1; i-- > 0 && after != 0; after /= 10) {
            padded[i] = static_cast<char>('0' + after % 10);
        }
        // With more digits than any incarnation has, it is above all of them.
        w.arg(after == 0 ? std::string_view{padded} : std::string_view{":"});
        w.arg(std::uint64_t{r.limit});
    }

private:
    static void write_wake(redis_command_writer& w, std::vector<fencing_token> const& wake) {
        for (auto incarnation : wake) {
            w.keys_of_node(incarnation);
            w.arg(incarnation);
        }
    }

    template <typename Items>
    static void write_placements(redis_command_writer& w, Items const& items) {
        incarnation_set nodes;
        for (auto const& item : items) {
            nodes.add(item.from);
            w.arg(item.id);
        }
        for (auto const& item : items) {
            nodes.add(item.to);
            w.arg(item.generation);
        }
        nodes.declare(w);
        for (auto const& item : items) w.arg(item.from);
        for (auto const& item : items) w.arg(item.to);
        for (auto const& item : items) w.arg(item.reason);
    }
};

/// The call that performs `request`, written over `into` (whose buffers are used again).
template <typename Tag = void>
void encode(operation const& request, std::string_view key_prefix, std::uint64_t session, std::uint64_t connection,
            redis_command& into) {
    std::visit(redis_encoder<Tag>{into, key_prefix, {session, connection}}, request);
}

/// The call that makes `connection` the newest of its session. Reply: {0}, or {code, words}.
[[nodiscard]] inline redis_command session_command(std::string_view key_prefix, std::uint64_t session,
                                                   std::uint64_t connection) {
    redis_command command;
    redis_command_writer w{command, script_id::session, key_prefix};
    w.key("session:", session);
    w.arg(connection);
    return command;
}

/// The call that tries every command that is needed. Reply: OK, or the server's words of refusal and the command.
[[nodiscard]] inline redis_command probe_command(std::string_view key_prefix) {
    redis_command command;
    redis_command_writer w{command, script_id::probe, key_prefix};
    w.key("probe");
    return command;
}

}  // namespace rota::detail

#endif

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

namespace rota {

/// A blocking_transport (policies.hpp) to a Redis at `host`, `host:port`, `[v6]:port`,
/// `redis://[user:password@]host[:port][/db]` or `unix://[user:password@]/path[?db=N]`.
///
/// Promises:
///  * perform() is one attempt: connecting if need be, one EVALSHA, the reply, all within its timeout (but for a name
///    server that does not answer, which takes what the system's resolver is configured to take).
///  * Errors tell whether the operation may have been done (outcome_unknown) or not (all others); messages name the
///    server and hold its words, never a user name or password.
///  * The address is resolved anew for each connection. Attempts to connect are spaced by 5 ms up to 1 s, at random by
///    up to half less; a perform() in between sleeps until the next is due, or its own time is over.
///  * wait() keeps one blocking read pending over any number of sleeps, and works as a plain sleep, which tries to
///    connect again now and then, while the server is away.
///  * No SIGPIPE, no threads, descriptors closed on exec.
///
/// Not promised: TLS, Sentinel, Cluster redirections.
///
/// Threads: see blocking_transport. wake() may also be called from a signal handler. take_warnings(): any thread.
/// Movable until it is first used.
class hiredis_sync {
public:
    /// Never connects and never refuses: open() reports what is wrong with the text.
    explicit hiredis_sync(std::string url) : self_{std::make_unique<state>(std::move(url))} {}

    /// Remembers the settings. invalid_argument: the URL or the key prefix; unavailable: no file descriptor is left.
    result<void> open(transport_settings const& settings) {
        auto& self = *self_;
        self.opened = false;
        auto address = detail::parse_redis_address(self.url);
        if (!address) return address.error();
        if (settings.key_prefix.empty() || settings.key_prefix.find_first_of("{}") != std::string::npos) {
            return {errc::invalid_argument, "key_prefix must not be empty or hold a brace"};
        }
        if (!self.make_descriptors()) {
            return {errc::unavailable, "no file descriptor for wake(): " + std::generic_category().message(errno)};
        }
        auto const name = detail::as_client_name(settings.client_name);
        self.session.open(*address, settings.key_prefix, name);
        auto const tagged = "{" + settings.key_prefix + "}";
        std::lock_guard const lock{self.mutex};
        self.target.address = *std::move(address);
        self.target.name = name + ":push";
        self.target.inbox = tagged + "inbox:";
        self.target.events = tagged + "events";
        self.target.patience = settings.operation_timeout;
        self.opened = true;
        return {};
    }

    /// Performs one operation. unavailable, timed_out, refused_by_server, protocol: not done; outcome_unknown: maybe.
    template <typename T = void>  // see detail/late.hpp
    result<detail::late<reply, T>> perform(detail::late<operation, T> const& request, microseconds timeout) {
        auto& self = *self_;
        if (!self.opened) return {errc::invalid_argument, "hiredis_sync: perform() without a successful open()"};
        auto answer = self.session.perform(request, timeout);
        if (self.session.established() != self.announced) self.announce();
        return answer;
    }

    /// Sleeps until something new came for the subscription, wake(), or the timeout. Errors only make it sleep longer.
    wake_reason wait(subscription const& sub, microseconds timeout) {
        auto& self = *self_;
        auto now = detail::io_now();
        auto const deadline = detail::io_deadline(now, timeout);
        for (;;) {
            if (self.woken.exchange(false, std::memory_order_acquire)) {
                self.calm();
                return wake_reason::woken;
            }
            if (self.announcements.load(std::memory_order_acquire) != self.followed) self.follow();
            self.push.prepare(sub, now);
            auto const until = self.push.next_time();
            pollfd ready[2] = {{self.event.load(std::memory_order_relaxed), POLLIN, 0}, self.push.wanted()};
            bool const any = detail::io_poll(ready, 2, (until < deadline ? until : deadline) - now);
            now = detail::io_now();
            if (any && ready[0].revents != 0) self.calm();
            if (any && ready[1].revents != 0) {
                bool const newer = self.push.react(sub, now);
                if (auto why = self.push.take_refusal(); !why.empty())
                    self.warn({errc::refused_by_server, std::move(why)});
                if (newer) return wake_reason::pushed;
            }
            if (!any && now >= deadline) {
                return self.woken.exchange(false, std::memory_order_acquire) ? wake_reason::woken
                                                                             : wake_reason::timeout;
            }
        }
    }

    /// Ends the present or the next wait. Any thread, any time, also in a signal handler; never blocks.
    void wake() noexcept {
        self_->woken.store(true, std::memory_order_release);
        self_->poke();
    }

    /// Polls readable when wait() has something to do: a wake, or bytes from the server. Owned by the transport.
    [[nodiscard]] int wake_fd() const noexcept { return self_->epoll; }

    /// Whether another server, or another run of it, answers than before: it may lack acknowledged writes. As perform().
    [[nodiscard]] bool take_server_changed() { return self_->session.take_server_changed(); }

    /// What an operator should know, once each.
    [[nodiscard]] std::vector<error> take_warnings() {
        auto& self = *self_;
        std::lock_guard const lock{self.mutex};
        return std::exchange(self.warnings, {});
    }

private:
    struct state {
        explicit state(std::string text) : url{std::move(text)}, push{detail::entropy()} {
            (void)make_descriptors();  // so that wake() works from now on; open() tries again and reports
        }
        state(state const&) = delete;
        state& operator=(state const&) = delete;
        ~state() {
            push.close();
            if (epoll >= 0) ::close(epoll);
            if (event >= 0) ::close(event);
        }

        bool make_descriptors() noexcept {
            if (event < 0) event = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
            if (event < 0) return false;
            if (epoll >= 0) return true;
            int const made = ::epoll_create1(EPOLL_CLOEXEC);
            if (made < 0) return false;
            epoll_event wanted{};
            wanted.events = EPOLLIN;
            if (::epoll_ctl(made, EPOLL_CTL_ADD, event, &wanted) != 0) {
                ::close(made);
                return false;
            }
            epoll = made;
            push.watch_with(made);
            return true;
        }

        // Makes a poll return, now or later.
        void poke() noexcept {
            int const before = errno;
            std::uint64_t const one = 1;
            // Fails only if it is readable anyway, or was never made.
            [[maybe_unused]] auto const ignored = ::write(event.load(std::memory_order_relaxed), &one, sizeof one);
            errno = before;
        }

        void calm() noexcept {
            std::uint64_t count = 0;
            [[maybe_unused]] auto const ignored = ::read(event.load(std::memory_order_relaxed), &count, sizeof count);
        }

        void warn(error what) {
            constexpr std::size_t most = 64;
            std::lock_guard const lock{mutex};
            for (auto const& known : refusals) {
                if (known == what.detail) return;
            }
            if (refusals.size() == most) return;
            refusals.push_back(what.detail);
            warnings.push_back(std::move(what));
        }

        // There is a new command connection: listening goes to the same server, on a connection as fresh. (The old one may
        // be dead without knowing.) Also hands over what was noticed on the way.
        void announce() {
            announced = session.established();
            {
                std::lock_guard const lock{mutex};
                target.where = session.peer();
                for (auto& each : session.warnings()) warnings.push_back(std::move(each));
                session.warnings().clear();
                announcements.fetch_add(1, std::memory_order_release);
            }
            poke();
        }

        void follow() {
            std::lock_guard const lock{mutex};
            followed = announcements.load(std::memory_order_acquire);
            push.retarget(target);
        }

        std::string url;

        // For the thread that performs.
        bool opened = false;
        detail::redis_session session;
        std::uint64_t announced = 0;

        // For all.
        std::mutex mutex;
        detail::push_target target;
        std::vector<error> warnings;
        std::vector<std::string> refusals;
        std::atomic<std::uint64_t> announcements{0};
        std::atomic<bool> woken{false};
        std::atomic<int> event{-1};
        std::atomic<int> epoll{-1};

        // For the thread that waits.
        detail::redis_push push;
        std::uint64_t followed = 0;
    };

    std::unique_ptr<state> self_;
};

template <typename... Policies>
class basic_coordinator;

/// The blocking coordinator over Redis, with the default strategy, clock and sink.
using coordinator = basic_coordinator<hiredis_sync>;

}  // namespace rota

#else

namespace rota {
inline namespace without_hiredis {

template <typename>
inline constexpr bool hiredis_is_there = false;

// Stands in where there is no hiredis, and says so to whoever uses it.
class hiredis_sync {
public:
    template <typename Url>
    explicit hiredis_sync(Url const&) {
        static_assert(
            hiredis_is_there<Url>,
            "rota: no hiredis: <hiredis/hiredis.h> was not found (Debian: libhiredis-dev), or ROTA_NO_HIREDIS is "
            "defined");
    }
    result<void> open(transport_settings const&);
    result<reply> perform(operation const&, microseconds);
    wake_reason wait(subscription const&, microseconds);
    void wake();
};

}  // namespace without_hiredis

template <typename... Policies>
class basic_coordinator;
using coordinator = basic_coordinator<hiredis_sync>;

}  // namespace rota

#endif

// ---- rota/transport/memory.hpp -------------------------------------------------------------------------------------
// A group without a server: the reference model of the server's state in this process, shared by any number of
// transports. For tests (with switches for what goes wrong on a network), for trying rota out, and for services of one
// process. With real time it blocks and wakes as Redis does; with manual time it never blocks, and time passes only by
// advance().
//
//   rota::memory_store store;                                   // or memory_store{rota::manual_time}
//   rota::memory_transport wire{store};                         // a handle: keep a copy to throw the switches
//   rota::basic_coordinator node{{.node_id = "a"}, wire};
//   wire.lose_replies(1);

// ---- rota/detail/store.hpp -----------------------------------------------------------------------------------------
// The reference model of a group's state on the server: every operation of operations.hpp in a few lines of plain C++.
// memory_transport puts a mutex, a clock and a connection around it, the simulator links and replicas, and the Redis
// scripts are held against it by the differential test. A value: copying it takes a snapshot.
//
// It reads no clock: the caller says what time it is (µs, as Redis' TIME).

#include <deque>

namespace rota::detail {

/// Which connection of which session a request came by.
struct connection_stamp {
    std::uint64_t session = 0;
    std::uint64_t number = 0;
};

template <typename Defects = sound>
class basic_store {
    using reply = late<rota::reply, Defects>;
    using change = late<op::change, Defects>;
    using group_event = late<op::group_event, Defects>;
    using id_set = std::set<late<std::string, Defects>, std::less<>>;
    template <typename T>
    using by_id = std::map<late<std::string, Defects>, T, std::less<>>;

public:
    using time = late<std::int64_t, Defects>;  // µs of the server's clock

    /// The first request of each connection: later ones of older connections of the session are refused.
    void raise(connection_stamp from) {
        auto& number = sessions_[from.session];
        if (number < from.number) number = from.number;
    }

    result<reply> perform(operation const& request, connection_stamp from, time now) {
        now_ = now;
        if (writes(request) && is_stale(from)) return {errc::conflict, "an older connection of this session"};
        step_ = {};
        auto answer = std::visit([this](auto const& op) -> result<reply> { return this->on(op); }, request);
        close_step();
        return answer;
    }

    // What followers sleep on.
    [[nodiscard]] std::uint64_t seq() const { return seq_; }
    [[nodiscard]] fencing_token epoch() const { return epoch_; }
    [[nodiscard]] std::uint64_t version_of(fencing_token incarnation) const {
        auto n = nodes_.find(incarnation);
        return n == nodes_.end() ? 0 : n->second.version;
    }

    // ---------------------------------------------------------------- state, open to checkers

    struct moving {
        fencing_token to = 0;
        time deadline = 0;
        change_reason reason{};
    };
    struct schedule_record {
        fencing_token generation = 0;
        fencing_token owner = 0;
        double weight = 1;
        moving move{};  // to == 0: none
    };
    struct node_record {
        std::string id{};
        std::uint64_t nonce = 0;
        std::uint32_t capacity = unlimited;
        time ttl = 0;
        bool live = true;
        time deadline = 0;  // live: taken for dead from then on; dead: its schedules may be adopted from then on
        std::uint32_t pending = 0;
        id_set owned;
        std::uint64_t version = 0;
        std::deque<std::pair<std::uint64_t, std::vector<change>>> log;
    };
    struct lock_record {
        time deadline = 0;
        fencing_token token = 0;
        fencing_token holder = 0;
        std::uint64_t nonce = 0;
    };
    struct leader_record {
        time deadline = 0;
        fencing_token term = 0;
        fencing_token incarnation = 0;  // 0: none
        time lease = 0;
        std::string id{};
    };
    // What stays of an unregistered schedule: its owner may believe in it until it has heard of it.
    struct tombstone {
        fencing_token owner = 0;
        time until = 0;
        std::uint64_t nonce = 0;
        time kept = 0;
    };

    [[nodiscard]] auto const& schedules() const { return schedules_; }
    [[nodiscard]] auto const& nodes() const { return nodes_; }
    [[nodiscard]] auto const& locks(op::lock_kind kind) const { return locks_[index(kind)]; }
    [[nodiscard]] auto const& unowned() const { return unowned_; }
    [[nodiscard]] leader_record const& leader() const { return leader_; }
    [[nodiscard]] fencing_token fence() const { return fence_; }

private:
    static constexpr std::size_t index(op::lock_kind kind) { return kind == op::lock_kind::schedule ? 0 : 1; }

    static bool writes(operation const& request) {
        return std::visit(
            []<typename Op>(Op const&) {
                return !(std::is_same_v<Op, op::lookup> || std::is_same_v<Op, op::changes_since> ||
                         std::is_same_v<Op, op::events_since> || std::is_same_v<Op, op::schedules_page> ||
                         std::is_same_v<Op, op::nodes_page>);
            },
            request);
    }

    bool is_stale(connection_stamp from) const {
        if (Defects::has(defect::stale_connection)) return false;
        auto s = sessions_.find(from.session);
        return s != sessions_.end() && s->second > from.number;
    }

    // ---------------------------------------------------------------- tokens, liveness, logs

    fencing_token mint(fencing_token seen, std::size_t count = 1) {
        auto first = std::max(std::max(fence_, seen) + 1, static_cast<fencing_token>(now_));
        if (Defects::has(defect::token_counts_only)) first = fence_ + 1;
        fence_ = first + count - 1;
        return first;
    }

    bool is_absurd(fencing_token seen) const {
        auto const newest = std::max(fence_, static_cast<fencing_token>(now_));
        return seen > newest + static_cast<fencing_token>(op::max_seen_lead.count());
    }
    static result<reply> absurd() {
        return {errc::refused_by_server, "a fencing token of more than an hour ahead of the server's clock"};
    }

    // Writes that the caller has seen are missing here: nothing is granted before its tick has told it so.
    bool is_behind(fencing_token seen) const { return fence_ < seen; }
    static result<reply> behind() { return {errc::not_joined, "the server has lost writes"}; }

    node_record* find(fencing_token incarnation) {
        auto n = nodes_.find(incarnation);
        return n == nodes_.end() ? nullptr : &n->second;
    }
    node_record* live(fencing_token incarnation) {
        auto* n = find(incarnation);
        return n && n->live ? n : nullptr;
    }
    bool may_believe(fencing_token incarnation) {
        auto* n = find(incarnation);
        return n && (n->live || n->deadline > now_);
    }
    bool is_target(fencing_token incarnation) {
        auto* n = live(incarnation);
        return n && n->deadline > now_;
    }
    static std::uint64_t expected_load(node_record const& n) { return n.owned.size() + n.pending; }
    bool leads(fencing_token incarnation, fencing_token term) const {
        if (Defects::has(defect::adopt_any_term)) return true;
        return leader_.incarnation == incarnation && leader_.term == term && term != 0;
    }
    bool is_guarded(std::string const& id) {
        auto g = gone_.find(id);
        if (Defects::has(defect::tombstone_ignored)) return false;
        return g != gone_.end() && g->second.until > now_ && may_believe(g->second.owner);
    }

    void emit(op::group_event e) { step_.events.push_back(std::move(e)); }
    void tell(fencing_token incarnation, op::change c) { step_.changes[incarnation].push_back(std::move(c)); }

    // All that one operation emits becomes one entry of the event log, and one of each log of a node concerned.
    void close_step() {
        if (!step_.events.empty()) {
            ++seq_;
            for (auto& e : step_.events) e.seq = seq_;
            if (Defects::has(defect::events_twice)) step_.events.push_back(step_.events.back());
            events_.emplace_back(seq_, std::move(step_.events));
            if (events_.size() > op::event_log_length) events_.pop_front();
        }
        for (auto& [incarnation, changes] : step_.changes) {
            auto* n = live(incarnation);
            if (!n) continue;
            n->log.emplace_back(++n->version, std::move(changes));
            if (n->log.size() > op::change_log_length) n->log.pop_front();
        }
    }

    // ---------------------------------------------------------------- membership and leadership

    // A missing epoch or a fence below what the caller has seen: writes were lost (or, with seen == 0, the group is new).
    bool ensure_epoch(fencing_token seen) {
        if (epoch_ != 0 && fence_ >= seen) return true;
        epoch_ = mint(seen);
        events_.clear();  // their numbers belong to the epoch before
        if (seen == 0) return true;
        emit({.kind = op::group_event_kind::data_lost, .generation = epoch_});
        return false;
    }

    void take_out(fencing_token incarnation, node_record& n, time adoptable_from, op::group_event_kind why) {
        n.live = false;
        n.deadline = adoptable_from;
        if (Defects::has(defect::death_takes_all)) {
            for (auto const& id : std::exchange(n.owned, {})) {
                drop_move(schedules_[id]);
                schedules_.erase(id);
            }
        }
        auto id = ids_.find(n.id);
        if (id != ids_.end() && id->second == incarnation) ids_.erase(id);
        emit({.kind = why, .id = n.id, .from = incarnation});
    }

    void forget_if_done(fencing_token incarnation) {
        auto* n = find(incarnation);
        if (!n || n->live || n->deadline > now_ || !n->owned.empty()) return;
        nodes_.erase(incarnation);
        emit({.kind = op::group_event_kind::forgotten, .from = incarnation});
    }

    result<reply> on(op::join const& r) {
        if (is_absurd(r.seen)) return absurd();
        auto const held = ids_.find(r.node_id);
        auto const older = held == ids_.end() ? fencing_token{0} : held->second;
        auto* const before = live(older);
        if (before && before->nonce == r.nonce) {
            before->deadline = now_ + r.node_ttl.count();
            return reply{op::joined{older, epoch_, seq_, 0}};
        }
        if (before && r.on_conflict == conflict_policy::refuse && before->deadline > now_) {
            return {errc::conflict, "another live process has this node_id"};
        }
        ensure_epoch(r.seen);
        auto const incarnation = mint(r.seen);
        if (before) {
            before->live = false;
            if (Defects::has(defect::supersede_frees)) before->deadline = now_;
            emit({.kind = op::group_event_kind::superseded, .id = r.node_id, .from = older, .to = incarnation});
        }
        auto& n = nodes_[incarnation];
        n.id = r.node_id;
        n.nonce = r.nonce;
        n.capacity = r.capacity;
        n.ttl = r.node_ttl.count();
        n.deadline = now_ + r.node_ttl.count();
        ids_[r.node_id] = incarnation;
        if (Defects::has(defect::join_inherits)) {
            if (before) {
                n.owned = std::move(before->owned);
                before->owned.clear();
                for (auto const& id : n.owned) schedules_[id].owner = incarnation;
            }
        }
        emit({.kind = op::group_event_kind::joined, .id = r.node_id, .to = incarnation, .capacity = r.capacity});
        return reply{op::joined{incarnation, epoch_, next_seq(), before ? older : 0}};
    }

    // The number that this step's events will get.
    std::uint64_t next_seq() const { return seq_ + (step_.events.empty() ? 0 : 1); }

    result<reply> on(op::tick const& r) {
        if (is_absurd(r.seen)) return absurd();
        op::ticked answer;
        auto with_status = [&](op::tick_status status) {
            answer.status = status;
            answer.epoch = epoch_;
            answer.fence = fence_;
            answer.seq = next_seq();
            return reply{answer};
        };
        if (!ensure_epoch(r.seen) || epoch_ != r.epoch) return with_status(op::tick_status::data_lost);
        auto* n = live(r.incarnation);
        if (!n) {
            auto const id = ids_.find(r.node_id);
            bool const taken = id != ids_.end() && id->second != r.incarnation;
            return with_status(taken ? op::tick_status::fenced : op::tick_status::reaped);
        }
        n->deadline = now_ + r.node_ttl.count();
        leader_.deadline = std::min(leader_.deadline, now_ + leader_.lease);  // the clock stepped back
        renew_or_take_lead(r);
        answer.version = n->version;
        if (leader_.incarnation != 0 && leader_.deadline > now_) {
            answer.leader = leader_.incarnation;
            answer.term = leader_.term;
            answer.leader_id = leader_.id;
            answer.leader_remaining = microseconds{leader_.deadline - now_};
        }
        if (answer.leader == r.incarnation) {
            answer.sweep = watch_for(r.incarnation);
            pull_in_deadlines(r.incarnation, r.node_ttl.count());
        }
        return with_status(op::tick_status::ok);
    }

    void renew_or_take_lead(op::tick const& r) {
        bool const mine = leader_.incarnation == r.incarnation && leader_.term == r.term && r.term != 0;
        if (Defects::has(defect::renew_any_term) && r.term != 0) {
            leader_ = {now_ + r.leader_lease.count(), r.term, r.incarnation, r.leader_lease.count(), r.node_id};
            return;
        }
        if (mine) {
            leader_.lease = r.leader_lease.count();
            leader_.deadline = now_ + leader_.lease;
            return;
        }
        bool const taken = leader_.incarnation != 0 && leader_.deadline > now_;
        if (!r.candidate || (taken && !Defects::has(defect::elected_on_request))) return;
        auto const previous = leader_.incarnation;
        auto const lease = r.leader_lease.count();
        leader_ = {now_ + lease, mint(r.seen), r.incarnation, lease, r.node_id};
        emit({.kind = op::group_event_kind::led,
              .id = r.node_id,
              .from = previous,
              .to = r.incarnation,
              .generation = leader_.term});
    }

    op::watch watch_for(fencing_token leader) const {
        op::watch w;
        std::set<std::pair<time, fencing_token>> expired, dead, fresh;
        for (auto const& [incarnation, n] : nodes_) {
            if (incarnation == leader) continue;
            auto const left = microseconds{n.deadline - now_};
            bool const over = n.deadline <= now_ + early();
            if (n.live && over) expired.emplace(n.deadline, incarnation);
            if (n.live && !over) {
                w.next_expiry = std::min(w.next_expiry, left);
                fresh.emplace(n.deadline, incarnation);
            }
            if (!n.live && over) dead.emplace(n.deadline, incarnation);
            if (!n.live && !over) w.next_dead = std::min(w.next_dead, left);
        }
        auto list = [](auto from, auto end, std::vector<fencing_token>& into, std::size_t most) {
            for (; from != end && into.size() < most; ++from) into.push_back(from->second);
        };
        list(expired.begin(), expired.end(), w.expired, op::max_batch);
        list(dead.begin(), dead.end(), w.dead, op::max_batch);
        list(fresh.rbegin(), fresh.rend(), w.candidates, 3);
        return w;
    }

    // Once the server's clock has stepped back, what was granted before seems to last for that much longer. Nothing lasts
    // longer than it was granted for. (Locks and hand-offs need no such care: they end with the node that has them.)
    void pull_in_deadlines(fencing_token leader, time usual_ttl) {
        for (auto& [incarnation, n] : nodes_) {
            if (incarnation != leader && n.deadline > now_ + std::max(usual_ttl, n.ttl)) n.deadline = now_ + n.ttl;
        }
    }

    static time early() { return Defects::has(defect::reap_early) ? 1'000'000 : 0; }

    void vacate(std::vector<fencing_token> const& wake) {
        emit({.kind = op::group_event_kind::vacated, .from = leader_.incarnation, .generation = leader_.term});
        leader_ = {};
        for (auto incarnation : wake) {
            if (live(incarnation)) tell(incarnation, {.kind = op::change_kind::vacancy});
        }
    }

    result<reply> on(op::leave const& r) {
        if (auto* n = live(r.incarnation)) {
            take_out(r.incarnation, *n, now_, op::group_event_kind::left);
        } else if (auto* dead = find(r.incarnation); dead && dead->deadline > now_) {
            dead->deadline = now_;
        }
        forget_if_done(r.incarnation);
        if (leader_.incarnation != 0 && leader_.incarnation == r.incarnation) vacate(r.wake);
        return reply{op::done{}};
    }

    result<reply> on(op::renounce const& r) {
        bool const same_term = leader_.term == r.term || Defects::has(defect::renounce_forgets_term);
        if (leader_.incarnation != 0 && same_term &&
            (leader_.incarnation == r.incarnation || Defects::has(defect::renounce_forgets_term))) {
            vacate(r.wake);
        }
        return reply{op::done{}};
    }

    result<reply> on(op::reap const& r) {
        if (!leads(r.incarnation, r.term)) return {errc::not_leader};
        op::outcomes answer;
        for (auto incarnation : r.nodes) {
            auto* n = live(incarnation);
            if (n && (n->deadline <= now_ + early() || Defects::has(defect::reap_unchecked)) &&
                incarnation != r.incarnation) {
                take_out(incarnation, *n, now_, op::group_event_kind::died);
                answer.items.push_back({.token = incarnation});
            }
            forget_if_done(incarnation);
        }
        return reply{std::move(answer)};
    }

    // ---------------------------------------------------------------- locks

    bool is_held(lock_record const& lock) {
        if (Defects::has(defect::locks_outlive_none) && !live(lock.holder)) return false;
        return lock.deadline > now_ && may_believe(lock.holder);
    }

    result<reply> on(op::acquire_locks const& r) {
        if (is_behind(r.seen)) return behind();
        if (!live(r.incarnation)) return {errc::not_joined};
        auto& locks = locks_[index(r.kind)];
        op::outcomes answer;
        std::vector<std::size_t> granted{};
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            if (r.kind == op::lock_kind::schedule && !Defects::has(defect::acquire_any_owner)) {
                auto s = schedules_.find(item.name);
                if (s == schedules_.end()) {
                    out.code = errc::unknown_schedule;
                    continue;
                }
                auto const& record = s->second;
                if (record.owner != r.incarnation || record.generation != item.generation || record.move.to != 0) {
                    out.code = errc::not_owner;
                    continue;
                }
            }
            if (auto l = locks.find(item.name); l != locks.end() && is_held(l->second)) {
                bool const repeat = l->second.holder == r.incarnation &&
                                    (l->second.nonce == r.nonce || Defects::has(defect::acquire_again));
                if (repeat) out.token = l->second.token;
                if (!repeat) out.code = errc::locked_by_other;
                out.remaining = microseconds{l->second.deadline - now_};
                continue;
            }
            granted.push_back(answer.items.size() - 1);
        }
        if (granted.empty()) return reply{std::move(answer)};
        auto token = Defects::has(defect::token_not_minted) ? fence_ : mint(r.seen, granted.size());
        for (auto i : granted) {
            locks[r.items[i].name] = {now_ + r.ttl.count(), token, r.incarnation, r.nonce};
            answer.items[i].token = token++;
            answer.items[i].remaining = r.ttl;
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::extend_locks const& r) {
        if (!live(r.incarnation)) return {errc::not_joined};
        auto& locks = locks_[index(r.kind)];
        op::outcomes answer;
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            auto l = locks.find(item.name);
            bool const theirs = l != locks.end() && l->second.token == item.token && l->second.holder == r.incarnation;
            bool const held = l != locks.end() && (theirs || Defects::has(defect::extend_any_owner)) &&
                              (l->second.deadline > now_ || Defects::has(defect::extend_revives));
            if (!held) {
                out.code = errc::lock_lost;
                continue;
            }
            if (r.kind == op::lock_kind::schedule) {
                auto s = schedules_.find(item.name);
                if (s != schedules_.end() && s->second.move.to != 0 && s->second.move.deadline <= now_) {
                    out.code = errc::not_owner;
                    continue;
                }
            }
            l->second.deadline = std::max(l->second.deadline, now_ + r.ttl.count());
            out.token = item.token;
            out.remaining = microseconds{l->second.deadline - now_};
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::release_locks const& r) {
        auto& locks = locks_[index(r.kind)];
        op::outcomes answer;
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            auto l = locks.find(item.name);
            bool const held = l != locks.end() && l->second.deadline > now_ &&
                              (l->second.token == item.token || Defects::has(defect::release_any_owner));
            if (held) {
                locks.erase(l);
            } else {
                out.code = errc::lock_lost;
            }
        }
        return reply{std::move(answer)};
    }

    // ---------------------------------------------------------------- schedules

    result<reply> on(op::register_schedules const& r) {
        ensure_epoch(0);
        op::outcomes answer;
        for (auto const& item : r.items) {
            answer.items.emplace_back();
            if (!schedules_.try_emplace(item.id, schedule_record{.weight = item.weight}).second) continue;
            unowned_.insert(item.id);
            emit({.kind = op::group_event_kind::registered, .id = item.id, .weight = item.weight});
        }
        return reply{std::move(answer)};
    }

    static schedule_status status_of(std::string const& id, schedule_record const& s) {
        return {id, s.generation, s.owner, s.weight, s.move.to};
    }

    result<reply> on(op::lookup const& r) {
        op::lookup_reply answer;
        for (auto const& id : r.ids) {
            auto s = schedules_.find(id);
            auto& entry = answer.items.emplace_back();
            entry.registered = s != schedules_.end();
            if (entry.registered) entry.status = status_of(id, s->second);
        }
        return reply{std::move(answer)};
    }

    void drop_move(schedule_record& s) {
        if (auto* target = find(s.move.to)) --target->pending;
        s.move = {};
    }
    void detach(std::string const& id, schedule_record const& s) {
        if (s.owner == 0) {
            unowned_.erase(id);
        } else if (auto* n = find(s.owner)) {
            n->owned.erase(id);
        }
    }
    void hand_to(std::string const& id, schedule_record& s, fencing_token to, fencing_token generation,
                 change_reason reason) {
        auto const from = s.owner;
        detach(id, s);
        drop_move(s);
        s.owner = to;
        s.generation = generation;
        if (auto* n = find(to)) {
            n->owned.insert(id);
            tell(to, {op::change_kind::granted, id, generation, s.weight, from, reason, {}});
        } else {
            unowned_.insert(id);
        }
        emit({.kind = op::group_event_kind::owned,
              .id = id,
              .from = from,
              .to = to,
              .generation = generation,
              .weight = s.weight,
              .reason = reason});
    }

    result<reply> on(op::unregister_schedules const& r) {
        op::outcomes answer;
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            auto const g = gone_.find(item.id);
            auto s = schedules_.find(item.id);
            bool const repeat = g != gone_.end() && g->second.nonce == r.nonce && g->second.kept > now_;
            if (repeat) continue;  // even if it was registered anew meanwhile
            if (s == schedules_.end()) {
                out.code = errc::unknown_schedule;
                continue;
            }
            if (s->second.owner != item.owner) {
                out.code = errc::conflict;
                continue;
            }
            auto* owner = find(item.owner);
            tombstone stone{item.owner, owner ? owner->deadline : 0, r.nonce, 0};
            if (is_guarded(item.id)) {  // an earlier owner may still believe: that guard stays
                stone.owner = g->second.owner;
                stone.until = g->second.until;
            }
            stone.kept = std::max(stone.until, now_ + op::repeat_window.count());
            gone_[item.id] = stone;
            detach(item.id, s->second);
            drop_move(s->second);
            schedules_.erase(s);
            if (live(item.owner) && !Defects::has(defect::unregister_untold)) {
                tell(item.owner, {.kind = op::change_kind::removed, .id = item.id});
            }
            emit({.kind = op::group_event_kind::unregistered, .id = item.id, .from = item.owner});
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::claim const& r) {
        if (is_behind(r.seen)) return behind();
        auto* me = live(r.incarnation);
        if (!me) return {errc::not_joined};
        op::outcomes answer;
        for (auto const& id : r.ids) {
            auto& out = answer.items.emplace_back();
            auto s = schedules_.find(id);
            if (s == schedules_.end()) {
                out.code = errc::unknown_schedule;
            } else if (s->second.owner == r.incarnation) {
                out.token = s->second.generation;
            } else if (s->second.owner != 0 && !Defects::has(defect::claim_any_owner)) {
                out.code = errc::owned_by_other;
            } else if (is_guarded(id)) {
                out.code = errc::conflict;
            } else if (expected_load(*me) >= me->capacity) {
                out.code = errc::capacity_exceeded;
            } else {
                out.token = mint(r.seen);
                hand_to(id, s->second, r.incarnation, out.token, change_reason::claimed);
            }
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::adopt const& r) {
        if (is_behind(r.seen)) return behind();
        if (!leads(r.incarnation, r.term)) return {errc::not_leader};
        op::outcomes answer;
        std::vector<fencing_token> sources{};
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            auto s = schedules_.find(item.id);
            if (s == schedules_.end()) {
                out.code = errc::unknown_schedule;
                continue;
            }
            auto& record = s->second;
            bool const expected = (record.generation == item.generation && record.owner == item.from) ||
                                  Defects::has(defect::adopt_any_owner);
            bool const orphaned = item.from == 0 || !may_believe(item.from) || Defects::has(defect::adopt_live_owner);
            if (!expected || !orphaned || is_guarded(item.id)) {
                out.code = errc::conflict;
            } else if (!is_target(item.to)) {
                out.code = errc::unknown_node;
            } else if (auto* to = find(item.to);
                       expected_load(*to) - (record.move.to == item.to ? 1 : 0) >= to->capacity &&
                       !Defects::has(defect::capacity_ignored)) {
                out.code = errc::capacity_exceeded;
            } else {
                out.token = mint(r.seen);
                hand_to(item.id, record, item.to, out.token, item.reason);
                auto const named = find_where(sources, [&](auto source) { return source == item.from; });
                if (item.from != 0 && named == sources.end()) sources.push_back(item.from);
            }
        }
        for (auto from : sources) forget_if_done(from);
        return reply{std::move(answer)};
    }

    result<reply> on(op::revoke const& r) {
        if (r.term != 0 && !leads(r.incarnation, r.term)) return {errc::not_leader};
        if (r.term == 0 && !live(r.incarnation)) return {errc::not_joined};
        op::outcomes answer;
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            auto s = schedules_.find(item.id);
            if (s == schedules_.end()) {
                out.code = errc::unknown_schedule;
                continue;
            }
            auto& record = s->second;
            if (r.term == 0 && item.from != r.incarnation) {
                out.code = errc::not_owner;
            } else if (record.generation != item.generation || record.owner != item.from || !live(item.from) ||
                       item.to == item.from || (record.move.to != 0 && record.move.to != item.to)) {
                out.code = errc::conflict;
            } else if (item.to != 0 && record.move.to == item.to) {
                out.token = record.generation;
            } else if (!is_target(item.to)) {
                out.code = errc::unknown_node;
            } else if (auto* to = find(item.to); expected_load(*to) >= to->capacity) {
                out.code = errc::capacity_exceeded;
            } else {
                out.token = record.generation;
                if (Defects::has(defect::grant_without_ack)) {
                    hand_to(item.id, record, item.to, mint(0), item.reason);
                    continue;
                }
                record.move = {item.to, now_ + r.handoff_deadline.count(), item.reason};
                ++to->pending;
                tell(item.from, {op::change_kind::revoking, item.id, record.generation, record.weight, item.to,
                                 item.reason, r.handoff_deadline});
                emit({.kind = op::group_event_kind::moving,
                      .id = item.id,
                      .from = item.from,
                      .to = item.to,
                      .generation = record.generation,
                      .weight = record.weight,
                      .reason = item.reason});
            }
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::acknowledge const& r) {
        if (is_behind(r.seen)) return behind();
        if (!live(r.incarnation)) return {errc::not_joined};
        auto& locks = locks_[index(op::lock_kind::schedule)];
        op::outcomes answer;
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            auto s = schedules_.find(item.id);
            if (s == schedules_.end()) {
                out.code = errc::unknown_schedule;
                continue;
            }
            auto& record = s->second;
            if (record.generation != item.generation || record.owner != r.incarnation || record.move.to != item.to ||
                item.to == 0) {
                out.code = errc::conflict;
                continue;
            }
            if (Defects::has(defect::ack_during_run)) locks.erase(item.id);
            if (auto l = locks.find(item.id); l != locks.end() && is_held(l->second)) {
                out.code = errc::locked_by_other;
                out.remaining = microseconds{l->second.deadline - now_};
                continue;
            }
            auto* to = find(item.to);
            if (!is_target(item.to)) {
                out.code = errc::unknown_node;
            } else if (expected_load(*to) - 1 >= to->capacity) {
                out.code = errc::capacity_exceeded;
            }
            out.token = Defects::has(defect::generation_kept) ? record.generation : mint(r.seen);
            hand_to(item.id, record, out.ok() ? item.to : 0, out.token,
                    out.ok() ? record.move.reason : change_reason::given_up);
        }
        return reply{std::move(answer)};
    }

    // ---------------------------------------------------------------- following

    result<reply> on(op::changes_since const& r) {
        auto* n = live(r.incarnation);
        if (!n) return {errc::not_joined};
        op::changes_reply answer;
        answer.to = n->version;
        auto const first = n->log.empty() ? n->version + 1 : n->log.front().first;
        if (r.version > n->version || r.version + 1 < first) {
            answer.gap = true;
            return reply{std::move(answer)};
        }
        answer.to = r.version;
        for (std::size_t i = r.version + 1 - first, steps = 0; i < n->log.size() && steps < op::max_change_steps;
             ++i, ++steps) {
            answer.to = n->log[i].first;
            answer.items.insert(answer.items.end(), n->log[i].second.begin(), n->log[i].second.end());
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::events_since const& r) {
        op::events_reply answer;
        answer.head = seq_;
        auto const first = events_.empty() ? seq_ + 1 : events_.front().first;
        if (r.epoch != epoch_ || r.seq > seq_ || r.seq + 1 < first) {
            answer.gap = true;
            answer.to = seq_;
            return reply{std::move(answer)};
        }
        answer.to = r.seq;
        for (std::size_t i = r.seq + 1 - first, steps = 0; i < events_.size() && steps < r.limit; ++i, ++steps) {
            answer.to = events_[i].first;
            answer.items.insert(answer.items.end(), events_[i].second.begin(), events_[i].second.end());
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::schedules_page const& r) {
        op::page_reply answer;
        auto* n = find(r.holder);
        if (r.holder != 0 && !n) return reply{std::move(answer)};
        if (n) answer.version = n->version;
        auto const& ids = n ? n->owned : unowned_;
        for (auto i = ids.upper_bound(r.after); i != ids.end() && answer.items.size() < r.limit; ++i) {
            answer.items.push_back(status_of(*i, schedules_.find(*i)->second));
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::nodes_page const& r) {
        op::nodes_reply answer;
        answer.epoch = epoch_;
        answer.seq = seq_;
        for (auto i = nodes_.upper_bound(r.after); i != nodes_.end() && answer.items.size() < r.limit; ++i) {
            auto const& n = i->second;
            answer.items.push_back({{n.id, i->first},
                                    n.live,
                                    microseconds{n.live ? std::max<time>(n.deadline - now_, 0) : 0},
                                    static_cast<std::uint32_t>(n.owned.size()),
                                    n.pending,
                                    n.capacity});
        }
        return reply{std::move(answer)};
    }

    struct step {
        std::vector<group_event> events{};
        std::map<fencing_token, std::vector<change>> changes;
    };

    time now_ = 0;
    step step_;
    fencing_token epoch_ = 0;
    fencing_token fence_ = 0;
    std::uint64_t seq_ = 0;
    leader_record leader_;
    std::map<fencing_token, node_record> nodes_;
    by_id<fencing_token> ids_;
    by_id<schedule_record> schedules_;
    id_set unowned_;
    by_id<lock_record> locks_[2];
    by_id<tombstone> gone_;
    std::map<std::uint64_t, late<std::uint64_t, Defects>> sessions_;
    std::deque<std::pair<std::uint64_t, std::vector<group_event>>> events_;
};

}  // namespace rota::detail

namespace rota {

struct manual_time_t {};
/// memory_store{manual_time}: its clock stands still but for advance().
inline constexpr manual_time_t manual_time{};

/// The state of any number of groups (by key_prefix), with its own server clock. A handle: copies share the state.
/// Thread-safe.
template <typename Defects = detail::sound>
class basic_memory_store {
public:
    /// Time passes as it does outside.
    basic_memory_store() : shared_{std::make_shared<shared>()} {}

    /// Time passes by advance() only, from `start` on (µs since 1970, like Redis' TIME).
    explicit basic_memory_store(manual_time_t, microseconds start = std::chrono::hours{24 * 365 * 50})
        : basic_memory_store{} {
        shared_->manual = true;
        shared_->manual_now = start.count();
    }

    /// The server's clock.
    [[nodiscard]] microseconds now() const {
        std::lock_guard const lock{shared_->mutex};
        return microseconds{shared_->now()};
    }

    /// Moves the server's clock (manual time: this is all that moves it; real time: it jumps ahead by that much).
    void advance(microseconds by) const {
        std::lock_guard const lock{shared_->mutex};
        shared_->manual_now += by.count();
        shared_->changed.notify_all();
    }

    /// Loses everything, as a server without persistence that is restarted. Connections break.
    void restart_empty() const {
        std::lock_guard const lock{shared_->mutex};
        shared_->groups.clear();
        ++shared_->restarts;
        shared_->changed.notify_all();
    }

private:
    template <typename>
    friend class basic_memory_transport;

    struct shared {
        std::mutex mutex;
        std::condition_variable changed;
        bool manual = false;
        std::int64_t manual_now = 0;
        std::uint64_t restarts = 0;
        std::uint64_t sessions = 0;
        std::map<std::string, detail::basic_store<Defects>, std::less<>> groups;

        std::int64_t now() const {
            if (manual) return manual_now;
            auto const t = std::chrono::steady_clock::now().time_since_epoch();
            static auto const origin = std::chrono::system_clock::now().time_since_epoch() -
                                       std::chrono::steady_clock::now().time_since_epoch();
            return std::chrono::duration_cast<microseconds>(t + origin).count() + manual_now;
        }
    };

    std::shared_ptr<shared> shared_;
};

using memory_store = basic_memory_store<>;

/// A blocking transport (see policies.hpp) to a memory_store. A handle: copies are the same connection.
template <typename Defects = detail::sound>
class basic_memory_transport {
    using reply = detail::late<rota::reply, Defects>;

public:
    using store_type = basic_memory_store<Defects>;

    /// To a store of its own, in real time.
    basic_memory_transport() : basic_memory_transport{store_type{}} {}
    explicit basic_memory_transport(store_type shared_store) : link_{std::make_shared<link>()} {
        link_->store = shared_store.shared_;
        std::lock_guard const lock{link_->store->mutex};
        link_->from.session = ++link_->store->sessions;
        link_->from.number = 1;
    }

    // ---------------------------------------------------------------- what goes wrong; each from any thread

    /// While true every request fails with `unavailable`, and nothing is done or pushed.
    void refuse(bool on) const {
        std::lock_guard const lock{link_->store->mutex};
        link_->refusing = on;
    }
    /// The next `count` requests have their effect, but their replies are lost (outcome_unknown, a new connection).
    void lose_replies(unsigned count) const {
        std::lock_guard const lock{link_->store->mutex};
        link_->losing = count;
    }
    /// The connection breaks: a new one is made for the next request.
    void disconnect() const {
        std::lock_guard const lock{link_->store->mutex};
        link_->connect_anew();
    }
    /// Requests performed so far, failed ones included.
    [[nodiscard]] std::uint64_t requests() const {
        std::lock_guard const lock{link_->store->mutex};
        return link_->requests;
    }

    // ---------------------------------------------------------------- blocking_transport

    result<void> open(transport_settings const& settings) {
        std::lock_guard const lock{link_->store->mutex};
        link_->group = settings.key_prefix;
        return {};
    }

    result<reply> perform(operation const& request, microseconds /*timeout*/) {
        auto& store = *link_->store;
        std::lock_guard const lock{store.mutex};
        ++link_->requests;
        if (link_->refusing) return {errc::unavailable, "memory_transport refuses"};
        auto& group = store.groups[link_->group];
        if (std::exchange(link_->restarts, store.restarts) != store.restarts) link_->connect_anew();
        group.raise(link_->from);
        auto answer = group.perform(request, link_->from, store.now());
        store.changed.notify_all();
        if (link_->losing > 0) {
            --link_->losing;
            link_->connect_anew();
            return {errc::outcome_unknown, "memory_transport lost the reply"};
        }
        return answer;
    }

    wake_reason wait(subscription const& sub, microseconds timeout) {
        auto& store = *link_->store;
        std::unique_lock lock{store.mutex};
        auto const pushed = [&] {
            if (link_->refusing) return false;
            auto const group = store.groups.find(link_->group);
            if (group == store.groups.end()) return false;
            return group->second.version_of(sub.incarnation) > sub.version ||
                   (sub.follow_group && group->second.epoch() == sub.epoch && group->second.seq() > sub.seq);
        };
        auto const awake = [&] { return link_->woken || pushed(); };
        if (!store.manual && timeout > microseconds{}) {
            auto const limit =
                std::chrono::steady_clock::now() + std::min(timeout, microseconds{std::chrono::hours{1}});
            store.changed.wait_until(lock, limit, awake);
        }
        if (std::exchange(link_->woken, false)) return wake_reason::woken;
        return pushed() ? wake_reason::pushed : wake_reason::timeout;
    }

    void wake() {
        std::lock_guard const lock{link_->store->mutex};
        link_->woken = true;
        link_->store->changed.notify_all();
    }

private:
    struct link {
        std::shared_ptr<typename store_type::shared> store;
        std::string group;
        detail::connection_stamp from;
        std::uint64_t restarts = 0;
        std::uint64_t requests = 0;
        unsigned losing = 0;
        bool refusing = false;
        bool woken = false;

        void connect_anew() { ++from.number; }
    };

    std::shared_ptr<link> link_;
};

using memory_transport = basic_memory_transport<>;

}  // namespace rota
