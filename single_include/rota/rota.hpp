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
    std::string traits{};         ///< its placement rules, see rules_of (attributes.hpp)

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
    std::string traits{};     ///< its zone, labels and reported load, see attributes_of (attributes.hpp)
    bool left = false;        ///< not alive: because it left in order
    microseconds gone_for{};  ///< not alive: since when its schedules may be given to others; 0: not yet
    bool draining = false;    ///< it is to end empty, see drain()

    friend bool operator==(node_status const&, node_status const&) = default;
};

}  // namespace rota

// ---- rota/attributes.hpp -------------------------------------------------------------------------------------------
// What a schedule asks of its node, and what a node says of itself, beyond weight and capacity; and `traits`, the text
// that this has in operations, events and on the server: fields `name=value` joined by `;`, lists joined by `,`, in a
// fixed order, nothing for what is left out. Equal attributes have equal texts, so that whoever only passes them on, or
// compares them, need not read them.
//
//   of a schedule   p=<pin>;g=<group>;r=<required labels>;f=<forbidden labels>
//   of a node       z=<zone>;l=<labels>;m=<reported load>

#include <charconv>
#include <cstdlib>

namespace rota {

/// Longest name of a label, zone or group, in bytes, and most labels in one list.
inline constexpr std::size_t max_label_size = 64;
inline constexpr std::size_t max_labels = 16;

/// Which nodes a schedule may be on. Heeded by strategies that say so (constrained<S>); others ignore it.
struct placement_rules {
    std::string pin{};                     ///< the node_id it must be on; empty: any
    std::string group{};                   ///< no two schedules of a group are to be on one node; empty: none
    std::vector<std::string> required{};   ///< labels that its node must have, all of them
    std::vector<std::string> forbidden{};  ///< labels that its node must not have

    [[nodiscard]] bool empty() const noexcept {
        return pin.empty() && group.empty() && required.empty() && forbidden.empty();
    }
    friend bool operator==(placement_rules const&, placement_rules const&) = default;
};

/// A schedule to register.
struct schedule {
    std::string id{};         ///< opaque bytes, 1..512
    double weight = 1;        ///< its share of load; finite, > 0
    placement_rules rules{};  ///< where it may be
};

/// What a node says of itself. All of it can be changed while it is a member.
struct node_attributes {
    std::optional<std::uint32_t> capacity{};  ///< most schedules that it may own; none: unlimited
    std::string zone{};                       ///< what fails together: a rack, a data centre; empty: a zone of its own
    std::vector<std::string> labels{};        ///< what schedules may require or forbid

    friend bool operator==(node_attributes const&, node_attributes const&) = default;
};

namespace detail {

/// Writes traits. Bytes that could be taken for part of the form are written as %XX.
template <typename = void>
class traits_writer {
public:
    void field(char name, std::string_view value) {
        if (value.empty()) return;
        begin(name);
        escaped(value);
    }
    // Sorted and each once: the order in which they were given means nothing.
    void field(char name, std::vector<std::string> const& values) {
        if (values.empty()) return;
        std::vector<std::string_view> sorted;
        for (auto const& value : values) {
            auto at = sorted.begin();
            while (at != sorted.end() && *at < value) ++at;
            if (at == sorted.end() || *at != value) sorted.insert(at, value);
        }
        begin(name);
        for (auto const& value : sorted) {
            if (&value != sorted.data()) text_ += ',';
            escaped(value);
        }
    }
    [[nodiscard]] std::string take() { return std::move(text_); }

private:
    void begin(char name) {
        if (!text_.empty()) text_ += ';';
        text_ += name;
        text_ += '=';
    }
    void escaped(std::string_view value) {
        constexpr char digits[] = "0123456789ABCDEF";
        for (char const c : value) {
            auto const byte = static_cast<unsigned char>(c);
            bool const plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                               c == '_' || c == '.' || c == ':' || c == '/' || c == '@' || c == '+';
            if (plain) {
                text_ += c;
            } else {
                text_ += '%';
                text_ += digits[byte >> 4];
                text_ += digits[byte & 15];
            }
        }
    }

    std::string text_;
};

/// Reads traits, leniently: fields that it does not know are passed over, so that older nodes can live with newer ones.
template <typename = void>
class traits_reader {
public:
    explicit traits_reader(std::string_view text) : rest_{text} {}

    /// The next field; false: there is none.
    bool next() {
        if (rest_.empty()) return false;
        auto const end = rest_.find(';');
        auto const field = rest_.substr(0, end);
        rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
        name_ = field.size() >= 2 && field[1] == '=' ? field[0] : '\0';
        value_ = field.size() >= 2 ? field.substr(2) : std::string_view{};
        return true;
    }
    [[nodiscard]] char name() const { return name_; }
    [[nodiscard]] std::string value() const { return plain(value_); }
    [[nodiscard]] std::vector<std::string> list() const {
        std::vector<std::string> all;
        for (auto left = value_; !left.empty();) {
            auto const end = left.find(',');
            all.push_back(plain(left.substr(0, end)));
            left.remove_prefix(end == std::string_view::npos ? left.size() : end + 1);
        }
        return all;
    }
    /// The value as a number; `otherwise` if it is none.
    [[nodiscard]] double number(double otherwise) const {
        double parsed = 0;
#if defined(__cpp_lib_to_chars)
        auto const end = value_.data() + value_.size();
        auto const r = std::from_chars(value_.data(), end, parsed);
        bool const read = r.ec == std::errc{} && r.ptr == end;
#else
        // A library that lacks it: what the program's locale takes for a decimal point must be one.
        std::string const copy{value_};
        char* end = nullptr;
        parsed = std::strtod(copy.c_str(), &end);
        bool const read = !copy.empty() && end == copy.c_str() + copy.size();
#endif
        return read && parsed - parsed == 0 ? parsed : otherwise;
    }

private:
    static std::string plain(std::string_view text) {
        auto const digit = [](char c) { return c <= '9' ? c - '0' : c - 'A' + 10; };
        std::string out;
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (text[i] == '%' && i + 2 < text.size()) {
                out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
                i += 2;
            } else {
                out += text[i];
            }
        }
        return out;
    }

    std::string_view rest_;
    std::string_view value_;
    char name_ = '\0';
};

}  // namespace detail

/// The traits of a schedule with these rules.
template <typename = void>
[[nodiscard]] std::string to_traits(placement_rules const& rules) {
    detail::traits_writer<> w;
    w.field('p', rules.pin);
    w.field('g', rules.group);
    w.field('r', rules.required);
    w.field('f', rules.forbidden);
    return w.take();
}

/// The rules that a schedule's traits hold.
template <typename = void>
[[nodiscard]] placement_rules rules_of(std::string_view traits) {
    placement_rules rules;
    for (detail::traits_reader<> r{traits}; r.next();) {
        switch (r.name()) {
            case 'p': rules.pin = r.value(); break;
            case 'g': rules.group = r.value(); break;
            case 'r': rules.required = r.list(); break;
            case 'f': rules.forbidden = r.list(); break;
            default: break;
        }
    }
    return rules;
}

/// The traits of a node. `reported`: the load that it measures itself; none: it reports none.
template <typename = void>
[[nodiscard]] std::string to_traits(node_attributes const& node, std::optional<double> reported = {}) {
    detail::traits_writer<> w;
    w.field('z', node.zone);
    w.field('l', node.labels);
    if (reported) {
        char digits[32];
        auto const end = std::to_chars(digits, digits + sizeof digits, *reported).ptr;
        w.field('m', std::string_view{digits, static_cast<std::size_t>(end - digits)});
    }
    return w.take();
}

/// The zone and labels that a node's traits hold (its capacity stands beside them).
template <typename = void>
[[nodiscard]] node_attributes attributes_of(std::string_view traits) {
    node_attributes node;
    for (detail::traits_reader<> r{traits}; r.next();) {
        if (r.name() == 'z') node.zone = r.value();
        if (r.name() == 'l') node.labels = r.list();
    }
    return node;
}

/// The load that a node's traits report; none if they do not.
template <typename = void>
[[nodiscard]] std::optional<double> reported_load_of(std::string_view traits) {
    for (detail::traits_reader<> r{traits}; r.next();) {
        if (r.name() != 'm') continue;
        auto const load = r.number(-1);
        if (load >= 0) return load;
    }
    return std::nullopt;
}

}  // namespace rota

// ---- rota/cluster_view.hpp -----------------------------------------------------------------------------------------
// What a rebalancing strategy sees (cluster_view) and says (plan). Index-based: nodes and schedules are numbered by
// their place in the spans; ids are at hand for strategies that hash them, but no inner loop needs a string.
//
// A schedule that is being handed over counts for the node that it goes to and must not be moved again.
//
// The leader does not draw this picture anew for each plan: the spans point into one that it keeps by following events.
// So making a view costs nothing, and a strategy that looks at nodes alone need not cost more for a million schedules.

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
    drained,       ///< moved because its node is being drained
    overfull,      ///< moved because its node holds more than it may
    constrained,   ///< moved because its rules forbid where it was
    returned,      ///< given back to the node that had it, which was gone for a short while
    repaired,      ///< its record was damaged, and has been mended
};
inline constexpr change_reason last_change_reason = change_reason::repaired;

/// Whether a move for this reason is one that has to be, however even the load is.
[[nodiscard]] constexpr bool is_required(change_reason why) noexcept {
    return why == change_reason::drained || why == change_reason::overfull || why == change_reason::constrained ||
           why == change_reason::returned;
}

namespace op {

/// Most items in one operation; keeps a script near 1 ms.
inline constexpr std::size_t max_batch = 200;

/// Steps kept in a node's change log, and in the group's event log; who is further behind gets a gap.
inline constexpr std::size_t change_log_length = 1024;
inline constexpr std::size_t event_log_length = 16384;

/// Most steps in one changes_reply.
inline constexpr std::size_t max_change_steps = 8;

/// Most hand-offs under way that mend counts; more would keep the server too long.
inline constexpr std::size_t max_counted_moves = 1000;

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
    std::string traits{};  ///< zone, labels and reported load
};

/// Change what a node says of itself. No effect, and no event, if it is so already. not_joined.
struct describe_node {
    using reply = done;
    fencing_token incarnation = 0;
    std::uint32_t capacity = unlimited;
    std::string traits{};
};

enum class order_kind : std::uint8_t {
    drain,              ///< the node ends empty and is given nothing
    undrain,            ///< it takes part again
    begin_maintenance,  ///< no voluntary moves in the group; orphans are still placed
    end_maintenance,
};

/// A standing order of an operator, kept until it is taken back, also over restarts of nodes. Anyone may. No effect, and
/// no event, if it stands already. unknown_node: a new drain, and no live node has the id.
struct give_order {
    using reply = done;
    order_kind kind{};
    std::string node_id{};  ///< of drain and undrain
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
    fencing_token now = 0;  ///< the server's clock, µs since 1970: what tokens are minted from
    fencing_token epoch = 0;
    fencing_token fence = 0;    ///< the highest token that the group has minted
    std::uint64_t version = 0;  ///< of this node's change log; unlike the local one: read changes_since
    std::uint64_t seq = 0;      ///< newest event of the group
    fencing_token leader = 0;   ///< incarnation holding an unexpired lease; 0: vacant
    fencing_token term = 0;
    std::string leader_id{};
    microseconds leader_remaining{};
    watch sweep{};  ///< filled only if the caller is the leader
    // (with a status other than ok, only now, epoch, fence and seq are filled)
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

/// A schedule as the server is told of it.
struct described_schedule {
    std::string id{};
    double weight = 1;
    std::string traits{};  ///< its placement rules
};

/// Make schedules exist; no effect on those that do. Anyone may. Outcome: ok.
struct register_schedules {
    using reply = outcomes;
    std::vector<described_schedule> items{};
};

/// Change weight and rules of schedules, whoever owns them; the owner is told. Anyone may. `owner` is where lookup found
/// it (whose log is to be written must be known before). No effect, and no event, on those that have them already.
/// Outcome: ok, unknown_schedule, conflict (another owner meanwhile: look it up again).
struct update_schedules {
    using reply = outcomes;
    struct item {
        std::string id{};
        double weight = 1;
        std::string traits{};
        fencing_token owner = 0;
    };
    std::vector<item> items{};
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
    std::uint64_t as_of = 0;  ///< if not 0: refused as a whole (conflict) unless the group's newest event is this one
};

/// Begin hand-offs: by the leader under its term, or by the owner itself (term 0, from == incarnation). The owner is
/// told, and refused new locks on it. An `open` one may be completed with another schedule of the owner's in its place,
/// see acknowledge. Outcome: ok (also if it is moving there already); unknown_schedule; conflict
/// (generation, owner not live, moving elsewhere); unknown_node; capacity_exceeded.
struct revoke {
    using reply = outcomes;
    struct item {
        std::string id{};
        fencing_token generation = 0;
        fencing_token from = 0;
        fencing_token to = 0;
        change_reason reason = change_reason::rebalanced;
        bool open = false;  ///< any schedule of the owner with the same weight and traits will do
    };
    fencing_token incarnation = 0;
    fencing_token term = 0;
    std::vector<item> items{};
    microseconds handoff_deadline{};
    std::uint64_t as_of = 0;  ///< as in adopt
};

/// By the owner, having dropped its belief: complete hand-offs. The grant happens in the same step. Outcome: ok with the
/// new generation; unknown_node or capacity_exceeded, also with a new generation, if the target was gone, past its
/// deadline or full: the schedule is now nobody's; unknown_schedule; conflict if the generation, owner or target is
/// another (as on a repeat); locked_by_other while its lock is live (with remaining).
/// With `instead_of`, `id` is an idle one that goes in the place of the one that was asked for: that one's hand-off is
/// called off (event `moving` to nobody) and `id` is granted to `to` for the same reason. conflict unless `id` is owned
/// under `generation` and not moving, and `instead_of` is owned, moving to `to` by an `open` request, and has the same
/// weight and traits; locked_by_other as above, of `id`. Where `to` is gone or full: unknown_node or capacity_exceeded,
/// token 0, and nothing is changed.
struct acknowledge {
    using reply = outcomes;
    struct item {
        std::string id{};
        fencing_token generation = 0;
        fencing_token to = 0;
        std::string instead_of{};  ///< empty: `id` itself was asked for
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
    updated,   ///< generation, weight, traits
};
inline constexpr change_kind last_change_kind = change_kind::updated;

/// One entry of a node's change log.
struct change {
    change_kind kind{};
    std::string id{};
    fencing_token generation = 0;
    double weight = 1;
    fencing_token other = 0;
    change_reason reason{};
    microseconds handoff{};  ///< time allowed from the moment of the request
    bool open = false;       ///< revoking: another schedule of the same weight and traits may go instead
    std::string traits{};    ///< granted, revoking, updated
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
    registered,    ///< id, weight, traits
    unregistered,  ///< id, from (its owner, or 0)
    owned,         ///< id, generation, from, to (0: nobody), reason, weight, traits
    moving,        ///< id, generation, from, to, reason, weight, traits: a hand-off began; to == 0: it was called off
    joined,        ///< to, node_id, capacity, traits
    superseded,    ///< from (old), to (new), node_id
    left,          ///< from, node_id
    died,          ///< from, node_id
    forgotten,     ///< from: a dead node owns nothing more
    led,           ///< to, node_id, generation = term, from = previous leader's incarnation or 0
    vacated,       ///< from, generation = term
    data_lost,     ///< generation = the new epoch
    updated,       ///< id, generation, from (its owner, or 0), weight, traits
    described,     ///< to, node_id, capacity, traits
    ordered,       ///< id = node_id (empty for maintenance), generation = the order_kind
};
inline constexpr group_event_kind last_group_event_kind = group_event_kind::ordered;

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
    std::string traits{};
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

/// Schedules held by `holder` (0: by nobody) with ids above `after`, in byte order. Fewer than `limit` items and strays:
/// the last page.
struct page_reply {
    std::uint64_t version = 0;  ///< of the holder's change log at this moment; 0 for nobody
    std::vector<schedule_status> items{};
    /// Ids that the holder's index lists, but whose record is missing, unreadable or names another holder: damage.
    std::vector<std::string> strays{};
    friend bool operator==(page_reply const&, page_reply const&) = default;
};
struct schedules_page {
    using reply = page_reply;
    fencing_token holder = 0;
    std::string after{};
    std::uint32_t limit = max_batch;
};

/// Nodes, live and dead, with incarnations above `after`, in order; fewer than `limit`: the last page. (`draining` of
/// the items is not filled: it is a matter of node_ids.)
struct nodes_reply {
    fencing_token epoch = 0;
    std::uint64_t seq = 0;
    std::vector<node_status> items{};
    fencing_token now = 0;               ///< the server's time in µs, as in the tokens that it mints
    bool maintenance = false;            ///< the order stands
    std::vector<std::string> drained{};  ///< node_ids that are to be drained, in byte order; filled if after == 0
    friend bool operator==(nodes_reply const&, nodes_reply const&) = default;
};
struct nodes_page {
    using reply = nodes_reply;
    fencing_token after = 0;
    std::uint32_t limit = max_batch;
};

/// All schedules, in the order in which the server stores them: from `cursor` (0: the beginning) about `limit`, and the
/// cursor to go on with (0: that was all). Those that exist all the time come at least once; no promise for the others.
/// `broken`: ids whose record cannot be read.
struct scan_reply {
    std::uint64_t next = 0;
    std::vector<schedule_status> items{};
    std::vector<std::string> broken{};
    friend bool operator==(scan_reply const&, scan_reply const&) = default;
};
struct scan_page {
    using reply = scan_reply;
    std::uint64_t cursor = 0;
    std::uint32_t limit = max_batch;
};

/// By the leader: look again at records that seemed to disagree, and mend what does. The record (id -> generation, owner)
/// is the truth, the holders' indexes and counters follow it:
///   * A record that is missing although a holder's index lists the id, or that cannot be read, is made anew with weight
///     1 and no owner (none is lost).
///   * A record whose owner is not known at all (no live or dead node) has no owner.
///   * An index that lists what is not its own, or misses what is, is put right; one that is not the owner, but was listed,
///     is told `removed`; an owner that was not listed is told `granted`, with reason `repaired`. What ends with nobody is
///     granted to nobody before the last deadline of those that were listed (a tombstone).
///   * A hand-off of what is not registered, or whose owner is nobody, its target or was not listed, or that cannot be
///     read, is dropped.
///   * loads and pendings of all nodes named are counted anew (pendings only while max_counted_moves or fewer hand-offs
///     are under way).
/// A record that is changed, or whose owner was not listed (others may know it as somebody else's), gets a newly minted
/// generation and an event `owned` with reason `repaired`. Outcome: token 0 if there was nothing to mend, else the
/// record's generation after it (0 as well if it was never owned, or is not registered and not listed); conflict if its
/// owner is a node that is not among `holders` (nothing is mended then).
///
/// Until it is mended, a record that cannot be read is registered, owned by nobody whom a request could name (claim:
/// owned_by_other; what expects an owner: conflict), and looks to `lookup` as if it had never been owned.
struct mend {
    using reply = outcomes;
    struct item {
        std::string id{};
        std::vector<fencing_token> holders{};  ///< whose indexes may list it, its owner included
    };
    fencing_token incarnation = 0;
    fencing_token term = 0;
    std::vector<item> items{};
    std::vector<fencing_token> recount{};  ///< further nodes whose load and pending are to be counted anew
    fencing_token seen = 0;
};

}  // namespace op

/// Any request, and any reply. The reply to a T holds a T::reply.
using operation =
    std::variant<op::join, op::tick, op::leave, op::renounce, op::acquire_locks, op::extend_locks, op::release_locks,
                 op::register_schedules, op::lookup, op::unregister_schedules, op::claim, op::reap, op::adopt,
                 op::revoke, op::acknowledge, op::changes_since, op::events_since, op::schedules_page, op::nodes_page,
                 op::describe_node, op::give_order, op::update_schedules, op::scan_page, op::mend>;
using reply = std::variant<op::done, op::joined, op::ticked, op::outcomes, op::lookup_reply, op::changes_reply,
                           op::events_reply, op::page_reply, op::nodes_reply, op::scan_reply>;

}  // namespace rota

namespace rota {

/// A read-only picture of the group, valid for the duration of one make_plan call.
struct cluster_view {
    /// "No node": the owner of an orphan, the target of what cannot be placed. Also "no kind", "no departure".
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

    struct node {
        std::string_view id;  ///< the user's node_id
        fencing_token incarnation = 0;
        std::uint32_t load = 0;                      ///< schedules owned or on their way here
        std::uint32_t capacity = unlimited;          ///< most it may hold, 0 while it is drained; may be below load
        double weight = 0;                           ///< sum of the weights of its load
        std::span<std::uint32_t const> schedules{};  ///< indices of what it owns or is to own, no particular order
        std::string_view zone{};                     ///< empty: a zone of its own
        std::span<std::string const> labels{};       ///< sorted, each once
        double reported = -1;                        ///< the load that it measures itself; < 0: it reports none
        bool draining = false;                       ///< it is to end empty
    };

    struct schedule {
        std::string_view id;
        /// Of its latest change of hands, near that moment on `now`'s clock; 0: none yet.
        fencing_token generation = 0;
        double weight = 1;
        std::uint32_t owner = none;     ///< index of a live node; none: an orphan
        std::uint32_t kind = 0;         ///< index of its rules in `kinds`
        std::uint32_t departed = none;  ///< of an orphan: whose it was, in `departures`; none: nobody's, or long ago
        bool moving = false;            ///< on its way to `owner`: leave it alone
    };

    /// The placement rules that some schedules have in common (placement_rules, attributes.hpp).
    struct kind {
        std::string_view pin{};                   ///< node_id; empty: any
        std::string_view group{};                 ///< at most one schedule of a group on a node; empty: none
        std::span<std::string const> required{};  ///< labels, sorted
        std::span<std::string const> forbidden{};
    };

    /// A node that is gone, and whose schedules are orphans.
    struct departure {
        std::string_view id{};
        fencing_token incarnation = 0;
        bool left = false;   ///< in order; false: it was taken for dead
        microseconds ago{};  ///< since when its schedules may be given to others
    };

    std::span<node const> nodes;             ///< live nodes, in no particular order, but a stable one
    std::span<schedule const> schedules;     ///< all of them; entries not reachable from nodes or orphans are void
    std::span<std::uint32_t const> orphans;  ///< indices of schedules without a live owner
    std::span<kind const> kinds{};           ///< the first one has no rules; may be empty if no schedule has any
    std::span<departure const> departures{};
    fencing_token now = 0;  ///< the server's clock, in µs; 0: not known
    /// Schedules whose generation is this or higher changed hands so recently that they are to stay.
    fencing_token settled_before = std::numeric_limits<fencing_token>::max();
    /// When the group's latest moves between live nodes began, on the same clock, oldest first; at most one hour back.
    std::span<fencing_token const> recent_moves{};
    /// false: the leader is still reading who owns what. All nodes and their loads are there, and all orphans that are
    /// listed; `schedules` and `weight` of the nodes are not. Only placements of a plan for it are carried out.
    bool complete = true;

    /// Whether schedule `s` (an index), which has an owner, may be moved to another.
    [[nodiscard]] bool may_move(std::uint32_t s) const noexcept {
        return !schedules[s].moving && schedules[s].generation < settled_before;
    }
};

/// One step of a plan: a placement (from == none, forced) or a move between live nodes (voluntary).
struct move {
    std::uint32_t schedule = 0;
    std::uint32_t from = cluster_view::none;
    std::uint32_t to = 0;
    /// Why; of a placement that says nothing else it is change_reason::placed.
    change_reason why = change_reason::rebalanced;

    [[nodiscard]] bool forced() const noexcept { return from == cluster_view::none; }
    /// A move that has to be, however even the load is.
    [[nodiscard]] bool required() const noexcept { return !forced() && is_required(why); }
    [[nodiscard]] change_reason reason() const noexcept {
        return forced() && why == change_reason::rebalanced ? change_reason::placed : why;
    }
    friend bool operator==(move const&, move const&) = default;
};

/// Why an orphan has no place.
enum class no_place : std::uint8_t {
    no_room,         ///< every node that would do is full
    pin_absent,      ///< the node that it is pinned to is not there
    labels_missing,  ///< no node has the labels that it requires, and none that it forbids
    rules_conflict,  ///< its rules exclude each other: no node could ever do
    group_apart,     ///< each node that would do has another of its group
    waits,           ///< it waits for its last node to return, for room that this plan makes, or for the whole picture
};

struct unplaced_schedule {
    std::uint32_t schedule = 0;
    no_place why = no_place::no_room;
    friend bool operator==(unplaced_schedule const&, unplaced_schedule const&) = default;
};

/// What a strategy proposes, with its certificate. Placements come first, then the moves that have to be (required()),
/// then those that even out; every prefix is valid on its own.
struct plan {
    std::vector<move> moves{};
    std::uint32_t forced = 0;     ///< placements among the moves
    std::uint32_t voluntary = 0;  ///< moves between live nodes, required ones included
    std::uint32_t bound = 0;      ///< the least number of voluntary moves that reaches the strategy's balance
    std::uint32_t unplaced = 0;   ///< orphans for which no node has room
    double spread_before = 0;     ///< fullest less emptiest node, in the strategy's measure of load
    double spread_after = 0;
    /// How far the node that is farthest off is from its target before the moves, as a fraction of the mean load, in the
    /// strategy's measure: what a threshold is compared with. < 0: not stated; it is then measured by count (imbalance()).
    double imbalance = -1;
    /// Instead of each schedule that is moved to even out, any other of the same node with the same weight and rules will
    /// do: the owner gives an idle one, if there is one.
    bool interchangeable = false;
    /// Plan again after this time even if nothing happens: something waits for it. max: no need.
    microseconds revisit = microseconds::max();
    /// Which orphans have no place for another reason than no_room (those may be listed too).
    std::vector<unplaced_schedule> stuck{};

    void clear() noexcept {
        moves.clear();
        stuck.clear();
        forced = voluntary = bound = unplaced = 0;
        spread_before = spread_after = 0;
        imbalance = -1;
        interchangeable = false;
        revisit = microseconds::max();
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
    /// What fails together with this node: a rack, a data centre. At most 64 bytes. Empty: a zone of its own.
    std::string zone{};
    /// What schedules may require of their node, or forbid. At most 16, 1..64 bytes each.
    std::vector<std::string> labels{};
    /// Whether the leader also moves schedules between live nodes to even out the load. Orphans are placed, and what has to
    /// move (drain, capacity, rules) is moved, in any case.
    bool auto_rebalance = true;
    /// The leader moves schedules once a node is off its target by more than this fraction of the mean load, in the
    /// strategy's measure (plan::imbalance). Moves that have to be (drain, capacity, rules) do not wait for it.
    /// Finite, >= 0; 0 evens out every difference.
    double rebalance_threshold = 0.2;
    /// How long the run in hand may extend its lock when its schedule is to move; what was granted last runs to its end.
    microseconds handoff_deadline = std::chrono::seconds{30};
    /// Longest time that a strategy may take for a plan; one that took longer is refused (plan_refused), since the group
    /// has gone on meanwhile. Not more than leader_lease. Nothing ends a strategy that never returns: the node then loses lease and life, and others
    /// go on without it. 0: half of leader_lease.
    microseconds planning_budget{};
    /// Over what time a load that this node reports (report_load) is smoothed. 0: not. 0 .. 1 day.
    microseconds load_smoothing = std::chrono::seconds{30};
    /// Reported loads below this count as nothing: changes of less than a tenth of it are not told. Finite, >= 0.
    double load_floor = 1;
    /// How often the leader looks through all ownership records for damage, and mends it; also each time a node begins to
    /// lead. A page of 200 every eighth of a heartbeat. 0: only when it begins to lead. 1 s .. 30 days.
    microseconds audit_interval = std::chrono::minutes{10};
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
    if (o.planning_budget == microseconds{}) o.planning_budget = o.leader_lease / 2;
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

template <typename = void>
[[nodiscard]] result<void> check_label(char const* field, std::string const& label, std::size_t least) {
    if (label.size() >= least && label.size() <= max_label_size) return {};
    return {errc::invalid_argument,
            fmt::format("{} has {} bytes, must have {}..{}", field, label.size(), least, max_label_size)};
}

template <typename = void>
[[nodiscard]] result<void> check_labels(std::string const& zone, std::vector<std::string> const& labels,
                                        char const* field = "a label") {
    if (auto r = check_label("zone", zone, 0); !r) return r;
    if (labels.size() > max_labels) {
        return {errc::invalid_argument,
                fmt::format("there are {} labels, at most {} may be", labels.size(), max_labels)};
    }
    for (auto const& label : labels) {
        if (auto r = check_label(field, label, 1); !r) return r;
    }
    return {};
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
    if (auto r = detail::check_labels(o.zone, o.labels); !r) return r;
    if (!detail::is_finite(o.rebalance_threshold) || o.rebalance_threshold < 0) {
        return wrong(fmt::format("rebalance_threshold is {}, must be finite and not negative", o.rebalance_threshold));
    }
    if (auto r = detail::check_duration("handoff_deadline", o.handoff_deadline, 0us, 24h * 30); !r) return r;
    if (auto r = detail::check_duration("load_smoothing", o.load_smoothing, 0us, 24h); !r) return r;
    if (!detail::is_finite(o.load_floor) || o.load_floor < 0) {
        return wrong(fmt::format("load_floor is {}, must be finite and not negative", o.load_floor));
    }
    if (auto r = detail::check_duration("planning_budget", o.planning_budget, 1ms, o.leader_lease); !r) return r;
    if (o.audit_interval != 0us) {
        if (auto r = detail::check_duration("audit_interval", o.audit_interval, 1s, 24h * 30); !r) {
            return wrong(r.error().detail + ", or 0");
        }
    }
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
//                                open, submit, listen, loop (asynchronous)                async_transport
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

/// Requirements of an asynchronous transport `t`. Threads: all on the thread of its event loop. Handlers and callbacks
/// are called there, never inside the call that they were given to; they may call the transport, and destroy it.
///
/// | expression                      | type                | meaning |
/// | t.open(settings)                | result<void>        | as of a blocking_transport |
/// | t.submit(op, timeout, handler)  | -                   | one attempt within `timeout`; calls `handler(result<reply>)` exactly once: errors as of perform(), and cancelled when the transport is destroyed first (then what was sent may have been done) |
/// | t.listen(sub, on_push)          | -                   | calls `on_push()` once when something is there that is newer than the subscription, until the next listen(), which takes its place; a hint, never the truth |
/// | t.loop()                        | loop_ref            | its event loop (loop/event_loop.hpp) |
/// | t.take_warnings()               | std::vector<error>  | optional, as of a blocking_transport |
/// | t.take_server_changed()         | bool                | optional, as of a blocking_transport |
template <typename T>
concept async_transport =
    requires(T t, operation const& request, transport_settings const& settings, subscription const& sub,
             microseconds timeout, void (*handler)(result<reply>), void (*on_push)()) {
        { t.open(settings) } -> std::same_as<result<void>>;
        t.submit(request, timeout, handler);
        t.listen(sub, on_push);
        t.loop();
    };

/// Requirements of a strategy `s` (const: a pure function of the view; same view, same plan; ends within
/// options::planning_budget; places orphans before it moves anything; keeps capacities; moves only what may_move();
/// a plan for the result of a plan moves nothing; for a view that is not complete, at most placements).
/// check_strategy.hpp holds a strategy of yours against all that. The leader checks what it can before it applies a plan.
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
    fencing_token generation = 0;  ///< of the ownership that it ends
    fencing_token owner = 0;       ///< whose that is: of an orphan, the node that is gone; 0: nobody's
};

/// What the strategy would do with the group as it is now: a dry run. Nothing is changed, nothing is promised. Whether the
/// leader does it depends on its options (auto_rebalance, rebalance_threshold) and on a maintenance order too.
struct proposal {
    std::vector<proposed_move> moves{};  ///< placements, then moves that have to be, then those that even out
    std::uint32_t forced = 0;            ///< orphans placed
    std::uint32_t voluntary = 0;         ///< moves between live nodes
    std::uint32_t bound = 0;             ///< the fewest voluntary moves that reach the strategy's balance
    std::uint32_t unplaced = 0;          ///< orphans for which no node has room
    double spread_before = 0;            ///< fullest less emptiest node, in the strategy's measure
    double spread_after = 0;
    double imbalance = 0;  ///< what rebalance_threshold is compared with

    struct without_place {
        std::string schedule{};
        std::string why{};
    };
    std::vector<without_place> stuck{};  ///< orphans without a place, and why, as far as the strategy says so

    fencing_token epoch = 0;    ///< of the group, and
    std::uint64_t as_of = 0;    ///< its newest event, when this was made
    bool maintenance = false;   ///< the group is under maintenance: the leader moves nothing between live nodes
    bool hypothetical = false;  ///< of a group that is not: it cannot be applied
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
        case change_reason::drained: return "drained";
        case change_reason::overfull: return "overfull";
        case change_reason::constrained: return "constrained";
        case change_reason::returned: return "returned";
        case change_reason::repaired: return "repaired";
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

// ---- rota/strategy/bounded_rendezvous.hpp --------------------------------------------------------------------------
// Placement by hash with a limit: as rendezvous with equal nodes, but no node is to hold more than ceil((1 + epsilon) x
// the mean), or its capacity. Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016), with highest
// random weight in place of the ring. Who owns what still follows from who is there: schedules choose one after the
// other, in the order of their hashes, and what finds its node full goes to the best that is not.
//
// A node that joins or goes moves its own share and, as others step up or down with their limit, a number of schedules
// of the order of 1 / epsilon^2 for each of these; the more even the loads, the more is moved.

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

// ---- rota/strategy/rendezvous.hpp ----------------------------------------------------------------------------------
// Placement by hash: each schedule belongs to the node that draws the highest score for it, by highest random weight
// (Thaler, Ravishankar 1998), so that who owns what follows from who is there. When a node joins, only what it wins
// moves, all of it to that node; when one goes, only what it had. In return, loads are even by chance only: about
// sqrt(mean) off the mean. bounded_rendezvous limits that.
//
// Weighted by the logarithmic method: a node of weight w that draws u, uniform in (0, 1), scores -w / ln(u), and wins
// schedules in proportion to w. A node's weight is its capacity where every node that takes part states one, else all
// weigh the same. So one node that joins without a capacity, where all others have one, moves much.
//
// Not promised: the same owners after some history and from nothing, once nodes are full (see below).

// ---- rota/detail/assert.hpp ----------------------------------------------------------------------------------------
// ROTA_ASSERT states an invariant of rota's own where it must hold. Off unless a program defines it for all of its
// translation units (rota's tests do); never assert(), whose meaning differs per unit and would break the
// one-definition rule in headers. A caller's broken precondition throws std::logic_error instead.

#ifndef ROTA_ASSERT
#define ROTA_ASSERT(condition) static_cast<void>(0)
#endif

// ---- rota/detail/radix_sort.hpp ------------------------------------------------------------------------------------
// Sorts by a 64-bit key, lowest first, stable: a radix sort by bytes that passes over those that all keys have in
// common, an insertion sort where there is little to sort. Here since <algorithm> is dear to include, and since plans
// sort long lists of numbers, where this takes about a third of the time of std::sort.

namespace rota::detail {

/// Sorts items[from..] by key(item). `spare` is grown as needed, its contents mean nothing before or after.
template <typename Item, typename Key>
void radix_sort(std::vector<Item>& items, std::size_t from, std::vector<Item>& spare, Key const& key) {
    auto const count = items.size() - from;
    if (count < 48) {
        for (auto i = from + 1; i < items.size(); ++i) {
            auto const item = items[i];
            auto at = i;
            for (; at > from && key(items[at - 1]) > key(item); --at) items[at] = items[at - 1];
            items[at] = item;
        }
        return;
    }

    std::uint64_t differing = 0;
    auto const first = key(items[from]);
    for (auto i = from; i < items.size(); ++i) differing |= key(items[i]) ^ first;
    if (differing == 0) return;
    if (spare.size() < count) spare.resize(count);
    auto* source = items.data() + from;
    auto* target = spare.data();
    for (unsigned shift = 0; shift < 64; shift += 8) {
        if ((differing >> shift & 0xff) == 0) continue;
        std::size_t start[257] = {};
        for (std::size_t i = 0; i < count; ++i) ++start[(key(source[i]) >> shift & 0xff) + 1];
        for (unsigned digit = 0; digit < 256; ++digit) start[digit + 1] += start[digit];
        for (std::size_t i = 0; i < count; ++i) target[start[key(source[i]) >> shift & 0xff]++] = source[i];
        auto* const sorted = target;
        target = source;
        source = sorted;
    }
    if (source == items.data() + from) return;
    for (std::size_t i = 0; i < count; ++i) items[from + i] = source[i];
}

}  // namespace rota::detail

// ---- rota/strategy/hashing.hpp -------------------------------------------------------------------------------------
// The hashes of strategies that place by hash: the same on every platform, compiler and version of rota, since two
// leaders that hash differently would move everything back and forth. Not for secrets, nor against chosen ids.
//
// mix() is the finaliser of SplitMix64 (Steele, Lea, Flood 2014, with the constants of Stafford's variant 13), a
// bijection in which each bit of the input changes each bit of the result with a chance of about one half.

#include <bit>

namespace rota::detail {

[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t x) noexcept {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
}

/// Eight bytes a step, put together by shifts so that the order of bytes in memory does not matter.
[[nodiscard]] constexpr std::uint64_t hash_of_id(std::string_view id) noexcept {
    auto const word = [&](std::size_t from, std::size_t bytes) {
        std::uint64_t read = 0;
        for (std::size_t i = 0; i < bytes; ++i) {
            read |= std::uint64_t{static_cast<unsigned char>(id[from + i])} << 8 * i;
        }
        return read;
    };
    auto hash = mix(id.size() + 0x9e3779b97f4a7c15U);
    std::size_t at = 0;
    for (; id.size() - at >= 8; at += 8) hash = mix(hash ^ word(at, 8)) + 0x9e3779b97f4a7c15U;
    return mix(hash ^ word(at, id.size() - at));
}

/// The score of a pair, from the hashes of both ids: as good as drawn at random, uniformly, for each pair.
[[nodiscard]] constexpr std::uint64_t pair_hash(std::uint64_t schedule, std::uint64_t node) noexcept {
    return mix(schedule ^ node);
}

inline constexpr unsigned log_fraction_bits = 26;

/// -ln(hash / 2^64) in units of 2^-26, a few of them off at most, and never more than two below (2^64 - 1 - hash) / 2^64;
/// at most 45 x 2^26. Integers only: what <cmath> answers may differ in the last bit from one C library to the next. The
/// binary logarithm comes bit by bit, by squaring (after Knuth, TAOCP volume 1, 1.2.2); some 50 ns.
[[nodiscard]] constexpr std::uint32_t minus_log(std::uint64_t hash) noexcept {
    constexpr std::uint64_t ln2 = 744261118;  // x 2^30
    auto const zeros = static_cast<unsigned>(std::countl_zero(hash | 1));
    auto mantissa = (hash | 1) << zeros >> 32;  // 1 <= mantissa x 2^-31 < 2
    std::uint64_t fraction = 0;
    for (unsigned bit = 0; bit < log_fraction_bits + 2; ++bit) {
        auto const square = mantissa * mantissa;
        auto const carry = square >> 63;
        fraction = fraction << 1 | carry;
        mantissa = square >> (31 + carry);
    }
    auto const whole = std::uint64_t{zeros + 1} << (log_fraction_bits + 2);
    return static_cast<std::uint32_t>((whole - fraction) * ln2 >> 32);
}

}  // namespace rota::detail

namespace rota {

/// Stateless; any thread may use it. Weights of schedules mean nothing to it. Each plan scores each schedule on each
/// node: time is O(schedules x nodes), some 3 ns a pair, whether there is something to do or not; memory is 24 bytes
/// per schedule, 56 where nodes are full. Each id is hashed once.
///
/// Where more schedules want a node than it may hold, those with the higher hash have it, and the others belong to the
/// best that is left for them: again the same whatever their history. What is moving, or has just moved, counts for
/// where it is. Drained nodes take no part.
///
/// Every step is to where the schedule belongs, with one exception: an orphan, or what has to leave its node, goes to
/// the best node with room if its own is full until a later step of the plan; the next plan then moves it there. But
/// for those, planning on the result gives an empty plan. Two full nodes cannot exchange schedules, as no prefix may go
/// over a capacity; such moves are left out. More schedules than capacity: orphans first, the rest stays.
///
/// The certificate: `bound` is the number of schedules that may move and are not where they belong; `voluntary` equals
/// it unless full nodes stand against that. Spread is by count. `imbalance` is the largest number of schedules that a
/// node has to give, or to get from others, as a fraction of the mean load.
struct rendezvous {
    bool by_capacity = true;  ///< false: all nodes weigh the same, whatever their capacities

    template <typename T = void>  // see late.hpp
    void make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const;
};

namespace detail {

// One run of a strategy that places by hash: where everything belongs, then the steps that lead there.
template <typename T>
class hash_run {
    using cluster_view = late<rota::cluster_view, T>;
    using plan = late<rota::plan, T>;

public:
    hash_run(cluster_view const& view, plan& into, bool by_capacity, std::uint32_t limit) : view_{view}, plan_{into} {
        into.clear();
        loads_.reserve(view.nodes.size());
        most_.reserve(view.nodes.size());
        bool weighted = by_capacity;
        for (std::uint32_t i = 0; i < view.nodes.size(); ++i) {
            auto const& node = view.nodes[i];
            loads_.push_back(node.load);
            most_.push_back(node.capacity < limit ? node.capacity : limit);
            if (node.load < node.capacity) room_ += node.capacity - node.load;
            if (node.capacity == 0) continue;
            entrants_.push_back({hash_of_id(node.id), i, node.capacity});
            weighted = weighted && node.capacity != unlimited;
        }
        for (auto const& entrant : entrants_) {
            weighted_ = weighted_ || (weighted && entrant.weight != entrants_.front().weight);
        }
    }

    void run() {
        plan_.spread_before = spread();
        read();
        choose();
        measure();
        place_orphans();
        relieve();
        settle();
        plan_.voluntary = static_cast<std::uint32_t>(plan_.moves.size()) - plan_.forced;
        ROTA_ASSERT(plan_.voluntary <= plan_.bound);
        plan_.spread_after = spread();
    }

private:
    static constexpr auto none = cluster_view::none;

    struct node_entry {
        std::uint64_t hash;
        std::uint32_t node;
        std::uint32_t weight;
    };
    struct schedule_entry {
        std::uint64_t hash;
        std::uint32_t schedule;
        std::uint32_t owner;
        std::uint32_t home;  // where it belongs; none: nowhere
        std::uint32_t next;  // of those that wait for the same node
    };
    struct ranked {
        std::uint64_t hash;
        std::uint32_t item;
    };

    void read() {
        auto count = view_.orphans.size();
        if (view_.complete) {
            for (auto const& node : view_.nodes) count += node.schedules.size();
        }
        items_.reserve(count);
        for (auto const s : view_.orphans) items_.push_back({hash_of_id(view_.schedules[s].id), s, none, none, none});
        free_ = most_;
        for (std::uint32_t i = 0; i < view_.nodes.size(); ++i) {
            auto staying = view_.nodes[i].load;
            if (view_.complete) {
                for (auto const s : view_.nodes[i].schedules) {
                    if (!view_.may_move(s)) continue;
                    items_.push_back({hash_of_id(view_.schedules[s].id), s, i, none, none});
                    --staying;
                }
            }
            free_[i] -= staying < free_[i] ? staying : free_[i];
        }
    }

    // First choices; only where more want a node than it may have, in turn.
    void choose() {
        if (entrants_.empty()) return;
        std::vector<late<std::uint32_t, T>> wanted(view_.nodes.size());
        bool crowded = false;
        for (auto& item : items_) {
            item.home = weighted_ ? best_weighted(item.hash, anywhere{}) : best_of_equals(item.hash, anywhere{});
            crowded = ++wanted[item.home] > free_[item.home] || crowded;
        }
        if (!crowded) return;

        std::vector<ranked> ranks;
        std::vector<ranked> spare;
        ranks.reserve(items_.size());
        for (std::uint32_t i = 0; i < items_.size(); ++i) ranks.push_back({~items_[i].hash, i});
        radix_sort(ranks, 0, spare, [](ranked const& one) { return one.hash; });
        std::uint64_t left = 0;
        for (auto const n : free_) left += n;
        for (auto const& rank : ranks) {
            auto& item = items_[rank.item];
            if (free_[item.home] == 0) {
                item.home = left == 0 ? none : best(item.hash, [&](std::uint32_t node) { return free_[node] > 0; });
            }
            if (item.home == none) continue;
            --free_[item.home];
            --left;
        }
    }

    void measure() {
        std::vector<late<std::uint32_t, T>> leaving(view_.nodes.size());
        std::vector<late<std::uint32_t, T>> coming(view_.nodes.size());
        for (auto const& item : items_) {
            if (!stray(item)) continue;
            ++plan_.bound;
            ++leaving[item.owner];
            ++coming[item.home];
        }
        std::uint32_t farthest = 0;
        std::uint64_t total = view_.orphans.size() < room_ ? view_.orphans.size() : room_;
        for (std::uint32_t i = 0; i < loads_.size(); ++i) {
            auto const more = leaving[i] > coming[i] ? leaving[i] : coming[i];
            if (more > farthest) farthest = more;
            total += loads_[i];
        }
        plan_.imbalance = 0;
        if (farthest == 0) return;
        plan_.imbalance = farthest * static_cast<double>(loads_.size()) / static_cast<double>(total);
    }

    void place_orphans() {
        plan_.moves.reserve((view_.orphans.size() < room_ ? view_.orphans.size() : room_) + plan_.bound);
        for (std::size_t i = 0; i < view_.orphans.size(); ++i) {
            auto& item = items_[i];
            if (room_ == 0) {
                ++plan_.unplaced;
                plan_.stuck.push_back({item.schedule, no_place::no_room});
            } else {
                step(item, has_room(item.home) ? item.home : best_with_room(item.hash), change_reason::placed);
                ++plan_.forced;
            }
        }
    }

    // What nodes hold over their capacity and is at home elsewhere: first what can go there, then the others. That is
    // enough: there are no more places left than such schedules.
    void relieve() {
        bool overfull = false;
        for (std::uint32_t i = 0; i < loads_.size(); ++i) {
            overfull = overfull || loads_[i] > view_.nodes[i].capacity;
        }
        for (bool const at_home : {true, false}) {
            if (!overfull) return;
            for (auto& item : items_) {
                if (!stray(item) || room_ == 0 || (at_home && !has_room(item.home))) continue;
                auto const& node = view_.nodes[item.owner];
                if (loads_[item.owner] <= node.capacity) continue;
                step(item, at_home ? item.home : best_with_room(item.hash),
                     node.draining ? change_reason::drained : change_reason::overfull);
            }
        }
    }

    // Each step makes room for one that waits for the place that it leaves.
    void settle() {
        waiting_.assign(loads_.size(), none);
        for (std::uint32_t i = 0; i < items_.size(); ++i) {
            auto& item = items_[i];
            if (!stray(item)) continue;
            if (open(item.home)) {
                step_and_follow(item);
            } else {
                item.next = waiting_[item.home];
                waiting_[item.home] = i;
            }
        }
        // Rings of nodes at a limit below their capacity: one of them goes over it until the ring is through.
        for (std::uint32_t node = 0; node < loads_.size(); ++node) {
            while (waiting_[node] != none && loads_[node] < view_.nodes[node].capacity) follow_one(node);
        }
    }

    void step_and_follow(schedule_entry& first) {
        auto left = first.owner;
        step(first, first.home, change_reason::rebalanced);
        while (waiting_[left] != none && open(left)) left = take_waiting(left);
    }
    void follow_one(std::uint32_t node) {
        for (auto left = take_waiting(node); waiting_[left] != none && open(left);) left = take_waiting(left);
    }
    // Returns the node that has one less now.
    std::uint32_t take_waiting(std::uint32_t node) {
        auto& item = items_[waiting_[node]];
        waiting_[node] = item.next;
        auto const left = item.owner;
        step(item, node, change_reason::rebalanced);
        return left;
    }

    void step(schedule_entry& item, std::uint32_t to, change_reason why) {
        ROTA_ASSERT(to != none && loads_[to] < view_.nodes[to].capacity);
        plan_.moves.push_back({item.schedule, item.owner, to, why});
        if (item.owner != none) {
            if (loads_[item.owner]-- <= view_.nodes[item.owner].capacity) ++room_;
        }
        ++loads_[to];
        --room_;
        item.home = item.owner = none;  // done with
    }

    static bool stray(schedule_entry const& item) {
        return item.owner != none && item.home != none && item.home != item.owner;
    }
    // By its capacity: what has to go somewhere goes home even if that is at its limit until later steps.
    [[nodiscard]] bool has_room(std::uint32_t node) const {
        return node != none && loads_[node] < view_.nodes[node].capacity;
    }
    [[nodiscard]] bool open(std::uint32_t node) const { return node != none && loads_[node] < most_[node]; }

    [[nodiscard]] std::uint32_t best_with_room(std::uint64_t hash) const {
        auto const within = best(hash, [&](std::uint32_t node) { return open(node); });
        if (within != none) return within;
        return best(hash, [&](std::uint32_t node) { return has_room(node); });
    }

    struct anywhere {
        bool operator()(std::uint32_t) const { return true; }
    };

    template <typename Allowed>
    [[nodiscard]] std::uint32_t best(std::uint64_t schedule, Allowed const& allowed) const {
        return weighted_ ? best_weighted(schedule, allowed) : best_of_equals(schedule, allowed);
    }

    // Among equals the highest -1 / ln(u) is the highest u: no logarithm.
    template <typename Allowed>
    [[nodiscard]] std::uint32_t best_of_equals(std::uint64_t schedule, Allowed const& allowed) const {
        auto found = none;
        std::uint64_t highest = 0;
        for (auto const& entrant : entrants_) {
            auto const drawn = pair_hash(schedule, entrant.hash);
            if (drawn < highest || !allowed(entrant.node)) continue;
            if (drawn == highest && found != none) continue;
            highest = drawn;
            found = entrant.node;
        }
        return found;
    }

    // The lowest -ln(u) / w. As -ln(u) >= 1 - u, few nodes need the logarithm: those that may be the best yet.
    template <typename Allowed>
    [[nodiscard]] std::uint32_t best_weighted(std::uint64_t schedule, Allowed const& allowed) const {
        auto found = none;
        std::uint64_t best_drawn = 0;
        std::uint64_t best_log = 0;
        std::uint64_t best_weight = 0;
        for (auto const& entrant : entrants_) {
            auto const drawn = pair_hash(schedule, entrant.hash);
            auto const least = ~drawn >> (64 - log_fraction_bits);
            if (found != none && least * best_weight > (best_log + 2) * entrant.weight) continue;
            if (!allowed(entrant.node)) continue;
            std::uint64_t const log = minus_log(drawn);
            auto const own = log * best_weight;
            auto const other = best_log * entrant.weight;
            if (found != none && (own > other || (own == other && drawn <= best_drawn))) continue;
            found = entrant.node;
            best_drawn = drawn;
            best_log = log;
            best_weight = entrant.weight;
        }
        return found;
    }

    [[nodiscard]] double spread() const {
        if (loads_.empty()) return 0;
        auto fullest = loads_.front();
        auto emptiest = loads_.front();
        for (auto const load : loads_) {
            if (load > fullest) fullest = load;
            if (load < emptiest) emptiest = load;
        }
        return fullest - emptiest;
    }

    cluster_view const& view_;
    plan& plan_;
    std::vector<node_entry> entrants_;  // the nodes that may hold anything
    bool weighted_ = false;
    std::uint64_t room_ = 0;                       // places that are free now
    std::vector<late<std::uint32_t, T>> loads_;    // now
    std::vector<late<std::uint32_t, T>> most_;     // that is to belong to a node
    std::vector<late<std::uint32_t, T>> free_;     // of these, not given to anybody yet
    std::vector<schedule_entry> items_;            // orphans first; none that has to stay where it is
    std::vector<late<std::uint32_t, T>> waiting_;  // first item that waits for each node
};

}  // namespace detail

template <typename T>
void rendezvous::make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const {
    detail::hash_run<T>{view, into, by_capacity, unlimited}.run();
}

}  // namespace rota

namespace rota {

/// What is said of rendezvous holds here too: cost, exceptions and certificate. The limit is kept by every plan for a
/// complete view, once it is carried out, unless what may not move, or may not be exchanged between nodes at their
/// capacities, stands against it. Where small capacities leave more than the limit to the others, theirs is the level
/// that even loads would have. The mean is of all nodes that are not drained.
struct bounded_rendezvous {
    double epsilon = 0.25;  ///< how far over the mean a node may be; >= 0 (what is not, counts as 0)

    template <typename T = void>  // see late.hpp
    void make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const;
};

namespace detail {

template <typename View>
std::uint32_t load_limit(View const& view, double epsilon) {
    std::uint64_t total = view.orphans.size();
    std::uint64_t members = 0;
    for (auto const& node : view.nodes) {
        total += node.load;
        if (node.capacity > 0) ++members;
    }
    if (members == 0) return 0;
    auto const even = balance_target_of(view).upper(unlimited);
    auto const share = (epsilon > 0 ? 1 + epsilon : 1) * static_cast<double>(total) / static_cast<double>(members);
    if (!(share < static_cast<double>(unlimited)) || even >= unlimited) return unlimited;
    auto limit = static_cast<std::uint64_t>(share);
    if (static_cast<double>(limit) < share) ++limit;
    return static_cast<std::uint32_t>(limit > even ? limit : even);
}

}  // namespace detail

template <typename T>
void bounded_rendezvous::make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const {
    detail::hash_run<T>{view, into, false, detail::load_limit(view, epsilon)}.run();
}

}  // namespace rota

// ---- rota/strategy/budgeted.hpp ------------------------------------------------------------------------------------
// budgeted<S>: what S plans, a little at a time. It bounds how many schedules are on the move, how many moves begin per
// minute, and how soon a schedule that has changed hands may do so again.
//
// A bounded plan is a beginning of S's plan. Where those are the best of their length (least_moves), so is each round:
// a round that is cut short loses nothing.
//
// All moves between live nodes count, also those that have to be: a node that is drained is emptied at this pace too.
// (They stand first in a plan, so they are served first.) Placements of orphans are neither bounded nor counted. What
// is held back is not forgotten: plan::revisit says when the next move may begin.

// ---- rota/strategy/cut_plan.hpp ------------------------------------------------------------------------------------
// Takes the last steps off a plan and keeps its certificate true: what combinators that hold moves back have in common.
// Every prefix of a plan is valid on its own, so what is left is a plan.

namespace rota::detail {

/// How many steps of the plan are placements or moves that have to be: all that stands before those that even out.
template <typename Plan>
std::size_t needed_steps(Plan const& p) {
    std::size_t needed = p.forced;
    while (needed < p.moves.size() && p.moves[needed].required()) ++needed;
    return needed;
}

/// Fullest less emptiest node after the first `steps` steps of the plan, by `load_of(node)` and `share_of(schedule)`.
template <typename Number, typename View, typename Plan, typename LoadOf, typename ShareOf>
double spread_of(View const& view, Plan const& p, std::size_t steps, LoadOf const& load_of, ShareOf const& share_of) {
    std::vector<Number> load;
    load.reserve(view.nodes.size());
    for (auto const& node : view.nodes) load.push_back(load_of(node));
    for (std::size_t i = 0; i < steps; ++i) {
        auto const& step = p.moves[i];
        auto const share = share_of(view.schedules[step.schedule]);
        load[step.to] += share;
        if (!step.forced()) load[step.from] -= share;
    }
    if (load.empty()) return 0;
    auto fullest = load.front();
    auto emptiest = load.front();
    for (auto const one : load) {
        if (one > fullest) fullest = one;
        if (one < emptiest) emptiest = one;
    }
    return static_cast<double>(fullest - emptiest);
}

/// Keeps the first `kept` steps, the placements among them. `spread_after` is then counted anew where the strategy
/// measures load by count or by weight, which its spread_before shows; otherwise it stays what the whole plan leads to,
/// unless nothing is left of that. `bound` and `imbalance` are about the view, and stay.
template <typename View, typename Plan>
void cut_plan(View const& view, Plan& p, std::size_t kept) {
    if (kept >= p.moves.size()) return;
    p.moves.resize(kept);
    p.voluntary = static_cast<std::uint32_t>(kept) - p.forced;
    if (kept == 0) {
        p.spread_after = p.spread_before;
        return;
    }
    auto const by_count = [&](std::size_t steps) {
        return spread_of<std::int64_t>(
            view, p, steps, [](auto const& node) { return std::int64_t{node.load}; },
            [](auto const&) { return std::int64_t{1}; });
    };
    auto const by_weight = [&](std::size_t steps) {
        return spread_of<double>(
            view, p, steps, [](auto const& node) { return node.weight; },
            [](auto const& schedule) { return schedule.weight; });
    };
    if (by_count(0) == p.spread_before) {
        p.spread_after = by_count(kept);
    } else if (auto const off = by_weight(0) - p.spread_before;
               off * off <= 1e-18 * p.spread_before * p.spread_before) {
        p.spread_after = by_weight(kept);
    }
}

}  // namespace rota::detail

// ---- rota/strategy/layers.hpp --------------------------------------------------------------------------------------
// How combinators nest. A combinator is a strategy made of another, S: it changes what S sees or what becomes of S's
// plan. Any class template of one type can be one: it names S `inner`, says in which layer it stands, and ends with
// `static_assert(detail::nests<my_combinator, layer, S>());`. A strategy that says nothing is a base.
//
//   base     plans alone                               least_moves, rendezvous…, your own
//   spread   asks S for one part of the group          zoned
//   limits   asks S for what no rule decides           constrained
//   pacing   asks S for the whole group: when it       budgeted, graced, thresholded, measured
//            moves, how much, by which weights
//
// A layer may stand around itself and those above it in this list, each combinator once; those that pace, in any order.
// So budgeted<constrained<zoned<S>>> is one; zoned<budgeted<S>>, where each zone would have a budget of its own and S
// would never see the whole, is refused in one line.

namespace rota {

struct least_moves;

enum class strategy_layer : std::uint8_t { base, spread, limits, pacing };

namespace detail {

template <typename S>
inline constexpr bool is_combinator = requires {
    typename S::inner;
    { S::layer } -> std::same_as<strategy_layer const&>;
};

template <typename S>
constexpr strategy_layer layer_of() {
    if constexpr (is_combinator<S>) {
        return S::layer;
    } else {
        return strategy_layer::base;
    }
}

template <template <typename> typename Combinator, typename S>
inline constexpr bool made_by = false;
template <template <typename> typename Combinator, typename S>
inline constexpr bool made_by<Combinator, Combinator<S>> = true;

/// Whether S is that combinator, or holds it at any depth.
template <template <typename> typename Combinator, typename S>
constexpr bool holds() {
    if constexpr (made_by<Combinator, S>) {
        return true;
    } else if constexpr (is_combinator<S>) {
        return holds<Combinator, typename S::inner>();
    } else {
        return false;
    }
}

enum class nesting_fault : std::uint8_t { none, no_strategy, not_const, twice, part_of_group, part_of_rules };

template <template <typename> typename Combinator, strategy_layer Layer, typename S>
constexpr nesting_fault fault_of_nesting();

// What stands in S was looked at when S was made: who is refused for it is S, not all that is around it.
template <typename S>
inline constexpr bool refused = false;
template <template <typename> typename Combinator, typename S>
    requires is_combinator<Combinator<S>>
inline constexpr bool refused<Combinator<S>> =
    refused<S> || fault_of_nesting<Combinator, Combinator<S>::layer, S>() != nesting_fault::none;

template <template <typename> typename Combinator, strategy_layer Layer, typename S>
constexpr nesting_fault fault_of_nesting() {
    if constexpr (refused<S>) {
        return nesting_fault::none;
    } else if constexpr (strategy_policy<S>) {
        if (holds<Combinator, S>()) return nesting_fault::twice;
        if (layer_of<S>() <= Layer) return nesting_fault::none;
        return Layer == strategy_layer::spread ? nesting_fault::part_of_group : nesting_fault::part_of_rules;
    } else {
        return requires(S s, cluster_view const& view, plan& into) {
            s.make_plan(view, into);
        } || requires(S s, cluster_view const& view) { s.make_plan(view); } ? nesting_fault::not_const
                                                                            : nesting_fault::no_strategy;
    }
}

/// Refuses a senseless nesting at compile time; always true, so that this is all that the compiler says.
template <template <typename> typename Combinator, strategy_layer Layer, typename S>
constexpr bool nests() {
    constexpr auto fault = fault_of_nesting<Combinator, Layer, S>();
    constexpr bool is_strategy = fault != nesting_fault::no_strategy;
    constexpr bool is_pure = fault != nesting_fault::not_const;
    constexpr bool once = fault != nesting_fault::twice;
    constexpr bool sees_group = fault != nesting_fault::part_of_group;
    constexpr bool sees_plan = fault != nesting_fault::part_of_rules;
    static_assert(is_strategy,
                  "rota: what this combinator is given is no strategy: it lacks "
                  "`rota::plan make_plan(rota::cluster_view const&) const`");
    static_assert(is_pure,
                  "rota: the make_plan of what this combinator is given must be const and give a rota::plan: a plan is "
                  "a pure function of the view");
    static_assert(once, "rota: the same combinator twice in one strategy, like budgeted<budgeted<S>>: leave one out");
    static_assert(sees_group,
                  "rota: zoned<S> asks S for one zone at a time, and this S must see the whole group: turn them round, "
                  "like budgeted<constrained<zoned<S>>>");
    static_assert(sees_plan,
                  "rota: constrained<S> asks S for what no rule decides, and this S must see the whole plan: turn them "
                  "round, like budgeted<constrained<S>>");
    return true;
}

/// Whether S looks at schedules beyond `may_move` of those that a node is said to have. If not, a combinator that shows
/// it a part or another state of the group need not copy the schedules.
template <typename S>
inline constexpr bool reads_schedules = true;
template <>
inline constexpr bool reads_schedules<least_moves> = false;

/// How a combinator asks the strategy that it holds, whichever form its make_plan has.
template <typename S, typename View, typename Plan>
void ask(S const& strategy, View const& view, Plan& into) {
    if constexpr (requires { strategy.make_plan(view, into); }) {
        strategy.make_plan(view, into);
    } else if constexpr (requires { into = strategy.make_plan(view); }) {
        into = strategy.make_plan(view);
    }  // else it was refused, and nothing more is said
}

}  // namespace detail

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
                moves[placed] = {orphans[placed], cluster_view::none, target.node, change_reason::placed};
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
        hand_over(givers, [](std::uint32_t, std::uint32_t) { return true; }, true);
    }

    void even_out() {
        if (!receivers_.more()) return;
        level_walk<T> givers{loads_.size()};
        for (std::uint32_t i = 0; i < loads_.size(); ++i) {
            if (differ(loads_[i], receivers_.level())) givers.add(i, ~loads_[i], ~std::uint32_t{0});
        }
        hand_over(givers, differ, false);
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
    void hand_over(level_walk<T>& givers, Worthwhile const& worthwhile, bool required) {
        while (givers.more() && receivers_.more() && worthwhile(~givers.level(), receivers_.level())) {
            auto const from = givers.take_one();
            auto const schedule = next_movable(from);
            if (schedule == cluster_view::none) {
                givers.drop();
            } else {
                auto const why = !required                    ? change_reason::rebalanced
                                 : view_.nodes[from].draining ? change_reason::drained
                                                              : change_reason::overfull;
                plan_.moves.push_back({schedule, from, receivers_.take_one(), why});
            }
        }
        givers.each_change([&](std::uint32_t node, std::uint32_t given) { loads_[node] -= given; });
    }

    std::uint32_t next_movable(std::uint32_t node) {
        if (passed_.empty()) passed_.resize(loads_.size());
        auto const held = view_.nodes[node].schedules;
        for (auto& at = passed_[node]; at < held.size();) {
            auto const schedule = held[at++];
            if (view_.may_move(schedule)) return schedule;
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
        into.imbalance = 0;
        return;
    }

    detail::least_moves_run<T> run{view, into};
    into.stuck.clear();
    into.revisit = microseconds::max();
    into.interchangeable = true;
    into.imbalance = imbalance(view);
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

namespace rota {

/// Time and memory: S's own; with a bound per round also O(schedules) while moves are under way; with a cool-down, when
/// there is nothing to move, that of S a second time.
template <typename S = least_moves>
struct budgeted {
    using inner = S;
    static constexpr auto layer = strategy_layer::pacing;

    /// Most schedules that are on their way at a time: those that still are count for the next round. None: no bound.
    std::optional<std::uint32_t> moves_per_round{};
    /// Most moves that begin within any minute of the server's time. None: no bound.
    std::optional<std::uint32_t> moves_per_minute{};
    /// For how long a schedule stays where it is after it changed hands, for whatever reason. 0: no time.
    microseconds cool_down{};
    S strategy{};

    void make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const;

    static_assert(detail::nests<budgeted, layer, S>());
};

namespace detail {

inline constexpr fencing_token minute_of_tokens = 60'000'000;

/// How many moves may begin now, if `limit` may within a minute, and the time of the one that the next after those has
/// to wait for (a minute long).
struct minute_budget {
    std::size_t left = 0;
    fencing_token waits_for = 0;
};

template <typename View>
minute_budget budget_of_minute(View const& view, std::uint32_t limit) {
    auto const& recent = view.recent_moves;
    std::size_t used = 0;  // up to the limit
    while (used < limit && used < recent.size() && recent[recent.size() - 1 - used] + minute_of_tokens > view.now) {
        ++used;
    }
    return {limit - used, used > 0 ? recent[recent.size() - used] : view.now};
}

template <typename View>
std::size_t moving_in(View const& view, std::size_t enough) {
    std::size_t moving = 0;
    for (auto const& node : view.nodes) {
        for (auto const s : node.schedules) {
            if (view.schedules[s].moving && ++moving >= enough) return moving;
        }
    }
    return moving;
}

/// How long until the first schedule has cooled down, of those on nodes that `wanted` takes something from; max: none.
template <typename View, typename Plan>
microseconds until_cooled(View const& view, Plan const& wanted, fencing_token settled_before) {
    constexpr auto none = std::numeric_limits<fencing_token>::max();
    auto oldest = none;
    for (auto from = cluster_view::none; auto const& step : wanted.moves) {
        if (step.forced() || step.from == from) continue;
        from = step.from;
        for (auto const s : view.nodes[from].schedules) {
            auto const since = view.schedules[s].generation;
            if (since >= settled_before && since < oldest && view.may_move(s)) oldest = since;
        }
    }
    if (oldest == none) return microseconds::max();
    return microseconds{static_cast<std::int64_t>(oldest - settled_before) + 1};
}

template <typename S>
inline constexpr bool reads_schedules<budgeted<S>> = reads_schedules<S>;

}  // namespace detail

template <typename S>
void budgeted<S>::make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const {
    auto const cooling = view.now > 0 && cool_down > microseconds{0};
    auto seen = view;
    auto settled_before = view.settled_before;
    if (cooling) {
        auto const since = static_cast<fencing_token>(cool_down.count());
        settled_before = view.now > since ? view.now - since : 0;
        if (settled_before < seen.settled_before) seen.settled_before = settled_before;
    }
    detail::ask(strategy, seen, into);

    auto const revisit_in = [&](microseconds rest) {
        if (rest < into.revisit) into.revisit = rest;
    };
    auto const wanted = into.moves.size() - into.forced;
    if (wanted == 0) {
        if (!cooling) return;
        detail::late<plan, S> uncooled;
        detail::ask(strategy, view, uncooled);
        revisit_in(detail::until_cooled(view, uncooled, settled_before));
        return;
    }

    auto allowed = wanted;
    if (moves_per_round) {
        std::size_t const limit = *moves_per_round;
        // What is on its way began to move a short while ago, so if nothing did, nobody need be asked.
        bool const any_moving = view.now == 0 || !view.recent_moves.empty();
        auto const left = limit - (any_moving ? detail::moving_in(view, limit) : 0);
        if (left < allowed) allowed = left;
    }
    if (moves_per_minute) {
        auto const budget = detail::budget_of_minute(view, *moves_per_minute);
        if (budget.left < allowed) allowed = budget.left;
        // Were it not for the round, would the minute hold something back?
        if (budget.left < wanted && *moves_per_minute > 0) {
            auto const rest = budget.waits_for + detail::minute_of_tokens - view.now;
            revisit_in(microseconds{
                static_cast<std::int64_t>(rest < detail::minute_of_tokens ? rest : detail::minute_of_tokens)});
        }
    }
    detail::cut_plan(view, into, into.forced + allowed);
}

}  // namespace rota

// ---- rota/strategy/constrained.hpp ---------------------------------------------------------------------------------
// constrained<S>: heeds placement rules, and leaves all that no rule decides to S.
//
//   pin        on the node of that node_id and on no other; while it is not there, nowhere
//   required   on nodes that have all of these labels; forbidden: that have none of those
//   group      no two of a group on one node; what there are too many of has no place
//
// With S = least_moves it is exact: the best plan that there is for schedules of equal weight, by min-cost flow
// (exact_placement.hpp). With any other S the rules come first, greedily (rules_first.hpp), then S.

// ---- rota/detail/exact_placement.hpp -------------------------------------------------------------------------------
// The best places for schedules with rules, unit weights: what constrained<least_moves> does. The group becomes a
// network (assignment_flow) in which each class of schedules is one vertex, so its size is nodes x classes, whatever the
// number of schedules:
//
//   orphans of a class -> the class -> (slot of a group on a node) -> node -> everyone
//
// What a class has on a node flows there at no cost (it stays); what flows beyond that enters. What breaks rules, exceeds
// a capacity or has no place flows over edges of its own, as few as can be. Flow that is left in the end says how many of
// each class leave and enter which node; any schedules of that class will do.
//
// A node that holds more than it may, and a slot with more than one of its group, takes nobody in until it has given
// some away: in a later plan. An orphan that finds room at once is never made to wait for room elsewhere.

// ---- rota/detail/assignment_flow.hpp -------------------------------------------------------------------------------
// Whole units flow through a network and come back: a circulation, which is made best for one goal after another. What
// a goal needs is then closed to change, so that later goals choose only among flows that are as good for all earlier
// ones. Two sorts of goals:
//
//   minimise   as few units as can be over the edges that count for the goal. Successive cheapest paths, many units on
//              each (Ahuja, Magnanti, Orlin: Network Flows, 1993, ch. 9.8), blocking flows by E. Dinic (1970).
//   even_out   the loads of some vertices as even as can be: the sum of their squares is least. The water level is a
//              guess that one maximum flow proves, or splits into a part that must stand higher, one that must stand
//              lower, and one that is right (decomposition: H. Groenevelt 1991). Loads may be of any size.
//
// What a goal needs is found by its prices (dual values): an edge whose reduced cost is not 0 has the same flow in all
// best flows. So this is exact, with no number that has to be large enough to stand for "more important".

namespace rota::detail {

/// First all vertices and edges, then build(), then goals, then each_edge(). Vertices are numbered as they are added. The
/// flow that the edges are given must be one: at each vertex as much comes in as goes out, but for a constant of the
/// caller's (what is supplied there, or used up), which is kept.
template <typename = void>
class assignment_flow {
public:
    using number = std::uint32_t;
    static constexpr number none = ~number{0};

    /// A vertex whose flow to the sink is part of its load, and the rest of that load, which is no part of the flow.
    struct place {
        number vertex;
        number fixed = 0;
    };
    /// What the load of a place may be in the most even flows.
    struct band {
        number low = 0;
        number high = 0;
        friend bool operator==(band const&, band const&) = default;
    };

    number add_vertex() { return vertices_++; }

    /// `goals`: bit g is set if units on it count for minimise(g).
    void add_edge(number from, number to, number capacity, number flow, unsigned goals = 0) {
        if (capacity > 0) edges_.push_back({from, to, capacity, flow, goals});
    }

    [[nodiscard]] std::size_t edges() const noexcept { return edges_.size(); }

    void build() {
        first_.assign(vertices_ + 1, 0);
        for (auto const& e : edges_) ++first_[e.from], ++first_[e.to];
        number sum = 0;
        for (auto& at : first_) sum += std::exchange(at, sum);
        next_ = first_;
        arcs_.resize(edges_.size() * 2);
        for (auto const& e : edges_) {
            auto const there = next_[e.from]++;
            auto const back = next_[e.to]++;
            arcs_[there] = {e.to, e.capacity - e.flow, back, static_cast<std::uint16_t>(e.goals), true, false};
            arcs_[back] = {e.from, e.flow, there, static_cast<std::uint16_t>(e.goals), false, false};
        }
        std::vector<edge>{}.swap(edges_);
        excess_.assign(vertices_, 0);
        deficit_.assign(vertices_, 0);
        depth_.assign(vertices_, none);
        price_.assign(vertices_, 0);
        part_.assign(vertices_, 0);
        everywhere_.resize(vertices_);
        for (number v = 0; v < vertices_; ++v) everywhere_[v] = v;
    }

    /// Calls visit(to, flow, rest of the capacity, goals) for each edge that leaves the vertex, in the order in which
    /// they were added.
    template <typename Visit>
    void each_edge(number vertex, Visit const& visit) const {
        for (auto a = first_[vertex]; a < first_[vertex + 1]; ++a) {
            auto const& arc = arcs_[a];
            if (arc.forward) visit(arc.to, arcs_[arc.twin].rest, arc.rest, unsigned{arc.goals});
        }
    }

    /// Brings the flow over the edges that count for goal g to its least.
    void minimise(unsigned g) {
        goal_ = std::uint16_t(1U << g);
        for (auto& price : price_) price = 0;
        lift();
        while (push_all()) raise_prices();
        for (number v = 0; v < vertices_; ++v) {
            for (auto a = first_[v]; a < first_[v + 1]; ++a) {
                if (cost(v, arcs_[a]) > 0) arcs_[a].closed = true;
            }
        }
        goal_ = 0;
        for (auto& price : price_) price = 0;
    }

    /// Makes the loads of the places as even as can be, and closes what would make them less so. bands[i] is where the
    /// load of places[i] then is, and may be; the edges from places to the sink keep no other record of it. What flows to
    /// the sink from other vertices stays as it is.
    void even_out(number sink, std::vector<place> const& places, std::vector<band>& bands) {
        levelled_.clear();
        for (number i = 0; i < places.size(); ++i) levelled_.push_back(range_of(sink, places[i], i));
        vertex_list_ = everywhere_;
        part_[sink] = none;
        number parts = 0;
        std::vector<stretch> left{{0, vertex_list_.size(), 0, levelled_.size(), parts++}};
        while (!left.empty()) {
            auto const now = left.back();
            left.pop_back();
            settle(now, parts, left);
        }

        for (number v = 0; v < vertices_; ++v) {
            for (auto a = first_[v]; a < first_[v + 1]; ++a) {
                if (part_[v] != part_[arcs_[a].to]) arcs_[a].closed = true;
            }
        }
        bands.resize(places.size());
        for (auto const& p : levelled_) {
            bands[p.index] = {static_cast<number>(p.lower), static_cast<number>(p.upper)};
            keep_band(sink, p);
        }
        for (auto& part : part_) part = 0;
    }

private:
    struct edge {
        number from, to, capacity, flow;
        unsigned goals;
    };

    // One direction of an edge: what more can flow this way, be it by taking back what flows the other way.
    struct residual {
        number to;
        number rest;
        number twin;
        std::uint16_t goals;
        bool forward;
        bool closed;
    };

    [[nodiscard]] std::int32_t cost(number from, residual const& a) const {
        auto const own = (a.goals & goal_) == 0 ? 0 : a.forward ? 1 : -1;
        return own + price_[from] - price_[a.to];
    }
    static bool open(residual const& a) { return a.rest > 0 && !a.closed; }

    // Takes all units that can be taken from the edges that count; they have to find their way anew.
    void lift() {
        for (number v = 0; v < vertices_; ++v) {
            for (auto a = first_[v]; a < first_[v + 1]; ++a) {
                auto& there = arcs_[a];
                if (!there.forward || (there.goals & goal_) == 0) continue;
                auto& back = arcs_[there.twin];
                if (!open(back)) continue;
                excess_[v] += back.rest;
                deficit_[there.to] += back.rest;
                there.rest += back.rest;
                back.rest = 0;
            }
        }
        for (number v = 0; v < vertices_; ++v) cancel(v);
    }
    void cancel(number v) {
        auto const both = excess_[v] < deficit_[v] ? excess_[v] : deficit_[v];
        excess_[v] -= both;
        deficit_[v] -= both;
    }

    // Sends what it can from excess to deficit at the present prices. true: there is more, at a higher price.
    bool push_all() {
        while (push_shortest(everywhere_)) {}
        for (auto const excess : excess_) {
            if (excess > 0) return true;
        }
        return false;
    }

    // A blocking flow over the shortest paths from excess to deficit. false: there is none.
    bool push_shortest(std::vector<number> const& within) { return push_shortest(within.data(), within.size()); }
    bool push_shortest(number const* within, std::size_t count) {
        queue_.clear();
        for (std::size_t i = 0; i < count; ++i) {
            auto const v = within[i];
            depth_[v] = none;
            next_[v] = first_[v];
            if (excess_[v] > 0) {
                depth_[v] = 0;
                queue_.push_back(v);
            }
        }
        auto const sources = queue_.size();
        auto goal_depth = none;
        for (std::size_t i = 0; i < queue_.size(); ++i) {
            auto const v = queue_[i];
            if (depth_[v] >= goal_depth) break;
            for (auto a = first_[v]; a < first_[v + 1]; ++a) {
                auto const& arc = arcs_[a];
                if (!open(arc) || depth_[arc.to] != none || part_[arc.to] != part_[v] || cost(v, arc) != 0) continue;
                depth_[arc.to] = depth_[v] + 1;
                if (deficit_[arc.to] > 0) goal_depth = depth_[arc.to];
                queue_.push_back(arc.to);
            }
        }
        if (goal_depth == none) return false;
        for (std::size_t i = 0; i < sources; ++i) {
            while (excess_[queue_[i]] > 0 && push_one(queue_[i])) {}
        }
        return true;
    }

    // As much as one path takes.
    bool push_one(number source) {
        path_.clear();
        for (auto v = source; deficit_[v] == 0;) {
            auto& a = next_[v];
            for (; a < first_[v + 1]; ++a) {
                auto const& arc = arcs_[a];
                if (open(arc) && depth_[arc.to] == depth_[v] + 1 && part_[arc.to] == part_[v] && cost(v, arc) == 0)
                    break;
            }
            if (a < first_[v + 1]) {
                path_.push_back(a);
                v = arcs_[a].to;
                continue;
            }
            depth_[v] = none;
            if (path_.empty()) return false;
            v = arcs_[arcs_[path_.back()].twin].to;
            path_.pop_back();
            ++next_[v];
        }
        auto& wanted = deficit_[arcs_[path_.back()].to];
        auto amount = excess_[source] < wanted ? excess_[source] : wanted;
        for (auto const a : path_) {
            if (arcs_[a].rest < amount) amount = arcs_[a].rest;
        }
        for (auto const a : path_) {
            arcs_[a].rest -= amount;
            arcs_[arcs_[a].twin].rest += amount;
        }
        excess_[source] -= amount;
        wanted -= amount;
        return true;
    }

    // Prices rise by the distance from the excess, up to that of the nearest deficit. Distances are small: a bucket each.
    void raise_prices() {
        depth_.assign(vertices_, none);
        for (auto& bucket : buckets_) bucket.clear();
        if (buckets_.empty()) buckets_.emplace_back();
        for (number v = 0; v < vertices_; ++v) {
            if (excess_[v] == 0) continue;
            depth_[v] = 0;
            buckets_[0].push_back(v);
        }
        auto nearest = none;
        for (number d = 0; d < buckets_.size() && nearest == none; ++d) {
            for (std::size_t i = 0; i < buckets_[d].size(); ++i) {
                auto const v = buckets_[d][i];
                if (depth_[v] != d) continue;
                if (deficit_[v] > 0) {
                    nearest = d;
                    break;
                }
                for (auto a = first_[v]; a < first_[v + 1]; ++a) {
                    auto const& arc = arcs_[a];
                    if (!open(arc)) continue;
                    auto const step = cost(v, arc);
                    ROTA_ASSERT(step >= 0);
                    auto const there = d + static_cast<number>(step);
                    if (there >= depth_[arc.to]) continue;
                    depth_[arc.to] = there;
                    while (buckets_.size() <= there) buckets_.emplace_back();
                    buckets_[there].push_back(arc.to);
                }
            }
        }
        ROTA_ASSERT(nearest != none && nearest > 0);  // what was lifted could at least flow where it did
        for (number v = 0; v < vertices_; ++v) {
            price_[v] += static_cast<std::int32_t>(depth_[v] < nearest ? depth_[v] : nearest);
        }
    }

    // ---- even_out

    // A place: its load, how far that can go without harm to earlier goals, and the band it is to end in.
    struct levelled {
        number vertex;
        number index;
        std::uint64_t load, lowest, highest;
        std::uint64_t lower = 0, upper = 0;
    };

    // A part of the network that is looked at by itself: places in vertex_list_ and levelled_.
    struct stretch {
        std::size_t vertex, vertex_end, place, place_end;
        number part;
    };

    levelled range_of(number sink, place const& p, number index) const {
        levelled made{p.vertex, index, p.fixed, p.fixed, p.fixed};
        for (auto a = first_[p.vertex]; a < first_[p.vertex + 1]; ++a) {
            auto const& there = arcs_[a];
            if (there.to != sink || !there.forward) continue;
            auto const& back = arcs_[there.twin];
            made.load += back.rest;
            made.lowest += open(back) ? 0 : back.rest;
            made.highest += back.rest + (open(there) ? there.rest : 0);
        }
        return made;
    }

    void keep_band(number sink, levelled const& p) {
        bool kept = false;
        for (auto a = first_[p.vertex]; a < first_[p.vertex + 1]; ++a) {
            auto& there = arcs_[a];
            if (there.to != sink || !there.forward) continue;
            auto& back = arcs_[there.twin];
            there.rest = kept ? 0 : static_cast<number>(p.upper - p.load);
            back.rest = kept ? 0 : static_cast<number>(p.load - p.lower);
            there.closed = back.closed = false;
            kept = true;
        }
    }

    static std::uint64_t clamp(std::uint64_t level, levelled const& p) {
        return level < p.lowest ? p.lowest : level > p.highest ? p.highest : level;
    }

    void settle(stretch const& now, number& parts, std::vector<stretch>& left) {
        std::uint64_t total = 0;
        std::uint64_t top = 0;
        for (auto i = now.place; i < now.place_end; ++i) {
            total += levelled_[i].load;
            if (levelled_[i].highest > top) top = levelled_[i].highest;
        }
        auto const volume = [&](std::uint64_t level) {
            std::uint64_t held = 0;
            for (auto i = now.place; i < now.place_end; ++i) held += clamp(level, levelled_[i]);
            return held;
        };
        auto const level = volume(top) <= total ? top : highest_level(0, top, total, volume);
        bool const exact = volume(level) == total;
        for (auto i = now.place; i < now.place_end; ++i) {
            auto& p = levelled_[i];
            p.lower = clamp(level, p);
            p.upper = exact ? p.lower : clamp(level + 1, p);
        }

        using is = levelled const&;
        exchange_load(
            now, [](is p) { return surplus(p.load, p.upper); }, [](is p) { return surplus(p.upper, p.load); });
        exchange_load(
            now, [](is p) { return surplus(p.load, p.lower); }, [](is p) { return surplus(p.lower, p.load); });
        split(now, parts, left);
    }

    static number surplus(std::uint64_t a, std::uint64_t b) { return a > b ? static_cast<number>(a - b) : 0; }

    // As much as can be goes from places that have to spare to places that lack.
    template <typename Spare, typename Lack>
    void exchange_load(stretch const& now, Spare const& spare, Lack const& lack) {
        bool any_spare = false;
        bool any_lack = false;
        for (auto i = now.place; i < now.place_end; ++i) {
            auto const v = levelled_[i].vertex;
            excess_[v] = spare(levelled_[i]);
            deficit_[v] = lack(levelled_[i]);
            any_spare = any_spare || excess_[v] > 0;
            any_lack = any_lack || deficit_[v] > 0;
        }
        if (any_spare && any_lack) {
            while (push_shortest(vertex_list_.data() + now.vertex, now.vertex_end - now.vertex)) {}
        }
        for (auto i = now.place; i < now.place_end; ++i) {
            auto& p = levelled_[i];
            auto const given = spare(p) - excess_[p.vertex];
            auto const taken = lack(p) - deficit_[p.vertex];
            p.load += taken;
            p.load -= given;
            excess_[p.vertex] = deficit_[p.vertex] = 0;
        }
    }

    // What the places above their band can reach must stand higher, what can reach those below must stand lower.
    void split(stretch const& now, number& parts, std::vector<stretch>& left) {
        queue_.clear();
        auto const mark = [&](number v, number part) {
            part_[v] = part;
            queue_.push_back(v);
        };
        auto const high = parts;
        for (auto i = now.place; i < now.place_end; ++i) {
            if (levelled_[i].load > levelled_[i].upper) mark(levelled_[i].vertex, high);
        }
        for (std::size_t i = 0; i < queue_.size(); ++i) {
            for (auto a = first_[queue_[i]]; a < first_[queue_[i] + 1]; ++a) {
                if (open(arcs_[a]) && part_[arcs_[a].to] == now.part) mark(arcs_[a].to, high);
            }
        }
        auto const risen = queue_.size();
        auto const low = parts + 1;
        for (auto i = now.place; i < now.place_end; ++i) {
            if (levelled_[i].load >= levelled_[i].lower) continue;
            ROTA_ASSERT(part_[levelled_[i].vertex] == now.part);
            mark(levelled_[i].vertex, low);
        }
        for (auto i = risen; i < queue_.size(); ++i) {
            for (auto a = first_[queue_[i]]; a < first_[queue_[i] + 1]; ++a) {
                auto const& arc = arcs_[a];
                if (part_[arc.to] == now.part && open(arcs_[arc.twin])) mark(arc.to, low);
            }
        }
        if (queue_.empty()) return;
        parts += 2;

        for (auto const part : {high, low}) {
            stretch made{now.vertex, now.vertex, now.place, now.place, part};
            // The earlier ones move to the front, the others behind them are never looked at again but by the next part.
            if (part == low) made.vertex = made.vertex_end = vertex_mark_, made.place = made.place_end = place_mark_;
            for (auto i = made.vertex; i < now.vertex_end; ++i) {
                if (part_[vertex_list_[i]] == part) std::swap(vertex_list_[made.vertex_end++], vertex_list_[i]);
            }
            for (auto i = made.place; i < now.place_end; ++i) {
                if (part_[levelled_[i].vertex] == part) std::swap(levelled_[made.place_end++], levelled_[i]);
            }
            vertex_mark_ = made.vertex_end;
            place_mark_ = made.place_end;
            if (made.place < made.place_end) left.push_back(made);
        }
    }

    number vertices_ = 0;
    std::vector<edge> edges_;    // until build()
    std::vector<number> first_;  // of each vertex in arcs_
    std::vector<residual> arcs_;
    std::uint16_t goal_ = 0;  // the bit that costs
    std::vector<std::int32_t> price_;
    std::vector<number> excess_, deficit_;
    std::vector<number> depth_;  // in the search
    std::vector<number> next_;   // the arc of each vertex that the search tries next
    std::vector<number> part_;   // searches keep within
    std::vector<number> everywhere_, queue_, path_;
    std::vector<std::vector<number>> buckets_;

    std::vector<number> vertex_list_;  // by stretches
    std::vector<levelled> levelled_;
    std::size_t vertex_mark_ = 0, place_mark_ = 0;
};

}  // namespace rota::detail

// ---- rota/detail/placement_classes.hpp -----------------------------------------------------------------------------
// Classes of schedules that may be on the same nodes: kinds whose pins and labels come to the same, made once per plan.
// Nodes with the same labels are looked at once, so this takes O(nodes + kinds x label sets), not kinds x nodes.

// ---- rota/strategy/eligibility.hpp ---------------------------------------------------------------------------------
// Whether a node may have a schedule of some kind, as far as that can be said of the two alone: pin and labels. Groups
// (no two of one on a node) depend on what else the node has.

namespace rota {

namespace detail {

/// How many of the wanted labels are there; both are sorted.
inline std::size_t labels_found(std::span<std::string const> wanted, std::span<std::string const> there) noexcept {
    std::size_t found = 0;
    std::size_t at = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        while (at < there.size() && there[at] < wanted[i]) ++at;
        if (at < there.size() && there[at] == wanted[i]) ++found;
    }
    return found;
}

}  // namespace detail

/// Whether `node` (an index) may have schedules of `kind` (an index; what has no rules may be anywhere).
[[nodiscard]] inline bool allows(cluster_view const& view, std::uint32_t kind, std::uint32_t node) noexcept {
    if (kind >= view.kinds.size()) return true;
    auto const& rules = view.kinds[kind];
    auto const& there = view.nodes[node];
    if (!rules.pin.empty() && rules.pin != there.id) return false;
    return detail::labels_found(rules.required, there.labels) == rules.required.size() &&
           detail::labels_found(rules.forbidden, there.labels) == 0;
}

}  // namespace rota

namespace rota::detail {

/// Numbers for values, the same for equal ones, in order of their first appearance. The caller keeps the values.
template <typename = void>
class numbering {
public:
    /// The number of a value with this hash; `same(number)` tells whether the value of that number is equal.
    template <typename Same>
    std::uint32_t number_of(std::size_t hash, Same const& same) {
        if (count_ * 2 >= slots_.size()) grow();
        auto at = spread(hash) & (slots_.size() - 1);
        for (; slots_[at].number != none; at = (at + 1) & (slots_.size() - 1)) {
            if (slots_[at].hash == hash && same(slots_[at].number)) return slots_[at].number;
        }
        slots_[at] = {hash, count_};
        return count_++;
    }
    [[nodiscard]] std::uint32_t count() const noexcept { return count_; }

    /// Whether a value with this hash has a number, where the hash says all.
    [[nodiscard]] bool has(std::size_t hash) const noexcept {
        if (slots_.empty()) return false;
        auto at = spread(hash) & (slots_.size() - 1);
        for (; slots_[at].number != none; at = (at + 1) & (slots_.size() - 1)) {
            if (slots_[at].hash == hash) return true;
        }
        return false;
    }

private:
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    struct slot {
        std::size_t hash = 0;
        std::uint32_t number = none;
    };

    static std::size_t spread(std::size_t hash) {
        auto const mixed = hash * 0x9e3779b97f4a7c15U;
        return mixed ^ mixed >> 32;
    }

    void grow() {
        std::vector<slot> larger(slots_.empty() ? 64 : slots_.size() * 2);
        for (auto const& old : slots_) {
            if (old.number == none) continue;
            auto at = spread(old.hash) & (larger.size() - 1);
            while (larger[at].number != none) at = (at + 1) & (larger.size() - 1);
            larger[at] = old;
        }
        slots_.swap(larger);
    }

    std::vector<slot> slots_;
    std::uint32_t count_ = 0;
};

/// The classes of a view. Their numbers, and those of groups, begin at 0, in the order of the view's kinds.
template <typename T = void>
class placement_classes {
    using cluster_view = late<rota::cluster_view, T>;

public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    struct placement_class {
        std::uint32_t row = none;          ///< which label sets will do; none: one node alone, or no node at all
        std::uint32_t node = none;         ///< the node that it is pinned to
        std::uint32_t group = none;        ///< at most one schedule of a group on a node
        no_place why = no_place::no_room;  ///< if no node will do: why
        bool nowhere = false;              ///< no node will do
        bool anywhere = false;             ///< each node will do, and it is in no group
    };

    explicit placement_classes(cluster_view const& view) : view_{view} {
        sort_nodes();
        sort_kinds();
    }

    [[nodiscard]] std::uint32_t of_kind(std::uint32_t kind) const noexcept {
        return class_of_kind_[kind < class_of_kind_.size() ? kind : 0];
    }
    [[nodiscard]] std::uint32_t count() const noexcept { return static_cast<std::uint32_t>(classes_.size()); }
    [[nodiscard]] std::uint32_t groups() const noexcept { return groups_; }
    [[nodiscard]] placement_class const& operator[](std::uint32_t c) const noexcept { return classes_[c]; }

    /// Whether pin and labels of the class let it be on the node.
    [[nodiscard]] bool allows(std::uint32_t c, std::uint32_t node) const noexcept {
        auto const& one = classes_[c];
        return one.row == none ? one.node == node : rows_[one.row][label_set_[node]] != 0;
    }

private:
    using labels = std::span<std::string const>;

    static std::size_t hash_of(labels set, std::size_t seed = 0) {
        for (auto const& label : set) seed = (seed ^ std::hash<std::string_view>{}(label)) * 0x9e3779b97f4a7c15U;
        return seed;
    }
    static bool equal(labels a, labels b) {
        if (a.size() != b.size()) return false;
        if (a.data() == b.data()) return true;
        for (std::size_t i = 0; i < a.size(); ++i) {
            if (a[i] != b[i]) return false;
        }
        return true;
    }

    void sort_nodes() {
        auto const& nodes = view_.nodes;
        numbering<> sets;
        label_set_.resize(nodes.size());
        for (std::uint32_t n = 0; n < nodes.size(); ++n) {
            auto const set = nodes[n].labels;
            label_set_[n] = sets.number_of(
                hash_of(set), [&](std::uint32_t known) { return equal(view_.nodes[example_[known]].labels, set); });
            if (label_set_[n] == example_.size()) example_.push_back(n);
        }
    }

    void sort_kinds() {
        std::hash<std::string_view> const text;
        auto const kinds = view_.kinds.empty() ? 1 : static_cast<std::uint32_t>(view_.kinds.size());
        number_ids();
        rows_.emplace_back(example_.size(), '\1');  // of what may be anywhere
        row_numbers_.number_of(std::hash<std::string_view>{}(rows_[0]), [](std::uint32_t) { return false; });

        numbering<> groups, classes;
        std::vector<std::uint32_t> group_examples;
        class_of_kind_.resize(kinds);
        for (std::uint32_t k = 0; k < kinds; ++k) {
            auto made = view_.kinds.empty() ? placement_class{0, none, none, {}, false, true} : whereabouts(k);
            if (!view_.kinds.empty() && !view_.kinds[k].group.empty()) {
                auto const group = view_.kinds[k].group;
                made.group = groups.number_of(text(group), [&](std::uint32_t known) {
                    return view_.kinds[group_examples[known]].group == group;
                });
                if (made.group == group_examples.size()) group_examples.push_back(k);
                made.anywhere = false;
            }
            std::size_t const hash = (std::size_t{made.row} << 40) ^ (std::size_t{made.node} << 20) ^ made.group;
            class_of_kind_[k] = classes.number_of(hash * 0x9e3779b97f4a7c15U, [&](std::uint32_t known) {
                auto const& other = classes_[known];
                return other.row == made.row && other.node == made.node && other.group == made.group &&
                       other.nowhere == made.nowhere && other.why == made.why;
            });
            if (class_of_kind_[k] == classes_.size()) classes_.push_back(made);
        }
        groups_ = groups.count();
    }

    void number_ids() {
        bool pinned = false;
        for (auto const& kind : view_.kinds) pinned = pinned || !kind.pin.empty();
        if (!pinned) return;
        for (auto const& node : view_.nodes) {
            ids_.number_of(std::hash<std::string_view>{}(node.id), [](std::uint32_t) { return false; });
        }
    }

    // The class of a kind, but for its group.
    placement_class whereabouts(std::uint32_t k) {
        auto const& kind = view_.kinds[k];
        auto const nowhere = [](no_place why) { return placement_class{none, none, none, why, true, false}; };
        if (labels_found(kind.required, kind.forbidden) > 0) return nowhere(no_place::rules_conflict);
        if (!kind.pin.empty()) {
            auto const node = ids_.number_of(std::hash<std::string_view>{}(kind.pin), [&](std::uint32_t n) {
                return n < view_.nodes.size() && view_.nodes[n].id == kind.pin;
            });
            if (node >= view_.nodes.size()) return nowhere(no_place::pin_absent);
            if (!rota::allows(view_, k, node)) return nowhere(no_place::rules_conflict);
            return {none, node, none, {}, false, false};
        }
        auto const row = row_of(k);
        if (row == none) return nowhere(no_place::labels_missing);
        return {row, none, none, {}, false, row == 0};
    }

    // The label sets that will do for a kind, as a number; none: no one will.
    std::uint32_t row_of(std::uint32_t k) {
        auto const& kind = view_.kinds[k];
        if (kind.required.empty() && kind.forbidden.empty()) return 0;
        std::string row(example_.size(), '\0');
        bool any = false;
        for (std::size_t set = 0; set < row.size(); ++set) {
            auto const there = view_.nodes[example_[set]].labels;
            if (labels_found(kind.required, there) < kind.required.size()) continue;
            if (labels_found(kind.forbidden, there) > 0) continue;
            row[set] = '\1';
            any = true;
        }
        if (!any) return none;
        auto const number = row_numbers_.number_of(std::hash<std::string_view>{}(row),
                                                   [&](std::uint32_t known) { return rows_[known] == row; });
        if (number == rows_.size()) rows_.push_back(static_cast<std::string&&>(row));
        return number;
    }

    cluster_view const& view_;
    std::vector<std::uint32_t> label_set_;  // of each node
    std::vector<std::uint32_t> example_;    // a node with that label set
    std::vector<std::string> rows_;         // per class, for each label set: will it do?
    std::vector<placement_class> classes_;
    std::vector<std::uint32_t> class_of_kind_;
    numbering<> row_numbers_, ids_;
    std::uint32_t groups_ = 0;
};

}  // namespace rota::detail

// ---- rota/detail/step_order.hpp ------------------------------------------------------------------------------------
// Puts the steps towards a target in an order in which each can be carried out when its turn comes: into a node that has
// room, and no other of the schedule's group, at that moment. What a step needs gone goes before it.
//
// Where full nodes wait for each other in a ring there is no such order. A step of the ring that has to be is then sent
// to another node that will do, or another that stands in its way is. If there is none, the ring stays as it is.

namespace rota::detail {

/// A move that is part of the target. A slot stands for a group and a node: at most one of the group may enter.
struct pending_step {
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    std::uint32_t schedule = none;
    std::uint32_t from = none;
    std::uint32_t to = none;
    std::uint32_t placement_class = none;
    std::uint32_t from_slot = none;
    std::uint32_t to_slot = none;
    change_reason why = change_reason::rebalanced;
};

/// `Find`: find(class, step_order const&, slot&) gives a node that could be entered now, the emptiest, or `none`.
template <typename T = void>
class step_order {
    using cluster_view = late<rota::cluster_view, T>;
    using plan = late<rota::plan, T>;
    using step = late<pending_step, T>;

public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    /// `held`: how many schedules of its group a slot holds.
    step_order(cluster_view const& view, plan& into, std::vector<std::uint32_t> held)
        : view_{view},
          plan_{into},
          held_{static_cast<std::vector<std::uint32_t>&&>(held)} {
        loads_.reserve(view.nodes.size());
        for (auto const& node : view.nodes) loads_.push_back(node.load);
    }

    [[nodiscard]] std::uint32_t load(std::uint32_t node) const { return loads_[node]; }
    [[nodiscard]] std::vector<std::uint32_t> const& loads() const { return loads_; }
    [[nodiscard]] std::uint32_t held(std::uint32_t slot) const { return held_[slot]; }

    [[nodiscard]] bool open(std::uint32_t node, std::uint32_t slot) const {
        return loads_[node] < view_.nodes[node].capacity && (slot == none || held_[slot] == 0);
    }

    void place(std::uint32_t schedule, std::uint32_t node, std::uint32_t slot) {
        plan_.moves.push_back({schedule, none, node, change_reason::placed});
        ++loads_[node];
        if (slot != none) ++held_[slot];
    }

    /// The moves of the target; those that have to be may stand anywhere among them, the others in the order in which
    /// they are to be made.
    void set_moves(std::vector<step> moves) {
        moves_ = static_cast<std::vector<step>&&>(moves);
        state_.assign(moves_.size(), waiting);
        tried_.assign(moves_.size(), none);
        first_.assign(loads_.size() + 1, 0);
        for (auto const& one : moves_) ++first_[one.from];
        std::uint32_t sum = 0;
        for (auto& at : first_) {
            auto const count = at;
            at = sum;
            sum += count;
        }
        leaving_.resize(moves_.size());
        auto next = first_;
        for (std::uint32_t i = 0; i < moves_.size(); ++i) leaving_[next[moves_[i].from]++] = i;
    }

    /// All that has to be, with what must go before it.
    template <typename Find>
    void make_required(Find const& find) {
        for (bool again = true; again;) {
            auto const before = plan_.moves.size();
            for (std::uint32_t i = 0; i < moves_.size(); ++i) {
                if (is_required(moves_[i].why)) take(i, 0);
            }
            again = plan_.moves.size() > before;
        }
        std::uint32_t searches = 0;
        for (std::uint32_t i = 0; i < moves_.size() && searches < most_searches; ++i) {
            if (!is_required(moves_[i].why) || state_[i] == done) continue;
            ++searches;
            if (take(i, 0) || redirect(i, find)) continue;
            clear_the_way(i, find);
        }
    }

    /// Moves away what keeps something that is no part of the moves from entering.
    void make_room(std::uint32_t node, std::uint32_t slot) { clear(node, slot, 0); }

    void make_others() {
        evening_out_ = true;
        for (std::uint32_t i = 0; i < moves_.size(); ++i) {
            if (!is_required(moves_[i].why)) take(i, 0);
        }
    }

private:
    enum state : unsigned char { waiting, active, done };
    static constexpr std::uint32_t deepest = 2'000;      // a chain of steps that wait for each other
    static constexpr std::uint32_t most_searches = 200;  // for another node

    bool take(std::uint32_t i, std::uint32_t depth) {
        auto const& one = moves_[i];
        auto const now = static_cast<std::uint32_t>(plan_.moves.size());
        if (state_[i] != waiting || depth > deepest) return false;
        if (evening_out_ && is_required(one.why)) return false;
        if (!open(one.to, one.to_slot)) {
            if (tried_[i] == now) return false;  // nothing has changed since
            state_[i] = active;
            bool const cleared = clear(one.to, one.to_slot, depth + 1);
            state_[i] = waiting;
            tried_[i] = static_cast<std::uint32_t>(plan_.moves.size());
            if (!cleared) return false;
        }
        make(i);
        return true;
    }

    void make(std::uint32_t i) {
        auto& one = moves_[i];
        if (!evening_out_ && !is_required(one.why)) one.why = change_reason::constrained;  // makes room for such a one
        plan_.moves.push_back({one.schedule, one.from, one.to, one.why});
        state_[i] = done;
        --loads_[one.from];
        ++loads_[one.to];
        if (one.from_slot != none) --held_[one.from_slot];
        if (one.to_slot != none) ++held_[one.to_slot];
    }

    bool clear(std::uint32_t node, std::uint32_t slot, std::uint32_t depth) {
        for (auto k = first_[node]; k < first_[node + 1] && slot != none && held_[slot] > 0; ++k) {
            if (moves_[leaving_[k]].from_slot == slot) take(leaving_[k], depth);
        }
        for (auto k = first_[node]; k < first_[node + 1] && loads_[node] >= view_.nodes[node].capacity; ++k) {
            take(leaving_[k], depth);
        }
        return open(node, slot);
    }

    // To another node that will do.
    template <typename Find>
    bool redirect(std::uint32_t i, Find const& find) {
        std::uint32_t slot = none;
        auto const node = find(moves_[i].placement_class, *this, slot);
        if (node == none || node == moves_[i].from) return false;
        moves_[i].to = node;
        moves_[i].to_slot = slot;
        make(i);
        return true;
    }

    // Sends something that stands in the way of step i to another node than its own.
    template <typename Find>
    void clear_the_way(std::uint32_t i, Find const& find) {
        auto const node = moves_[i].to;
        auto const slot = moves_[i].to_slot;
        bool const by_group = slot != none && held_[slot] > 0;
        for (auto k = first_[node]; k < first_[node + 1]; ++k) {
            auto const other = leaving_[k];
            if (state_[other] != waiting || (by_group && moves_[other].from_slot != slot)) continue;
            if (!redirect(other, find)) continue;
            take(i, 0);
            return;
        }
    }

    cluster_view const& view_;
    plan& plan_;
    std::vector<std::uint32_t> loads_;
    std::vector<std::uint32_t> held_;
    std::vector<step> moves_;
    std::vector<state> state_;
    std::vector<std::uint32_t> tried_;    // how many steps there were when it was last found blocked
    std::vector<std::uint32_t> first_;    // per node, into leaving_
    std::vector<std::uint32_t> leaving_;  // the moves away from each node
    bool evening_out_ = false;
};

}  // namespace rota::detail

namespace rota::detail {

/// What a node has of each class.
template <typename T = void>
class class_census {
    using cluster_view = late<rota::cluster_view, T>;

public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    struct entry {
        std::uint32_t placement_class;
        std::uint32_t movable = 0;
        std::uint32_t fixed = 0;
    };

    class_census(cluster_view const& view, placement_classes<T> const& classes) : view_{view} {
        std::vector<std::uint32_t> at(classes.count(), none);
        movable_.assign(classes.count(), 0);
        orphans_.assign(classes.count(), 0);
        first_.reserve(view.nodes.size() + 1);
        for (auto const& node : view.nodes) {
            auto const begin = static_cast<std::uint32_t>(entries_.size());
            first_.push_back(begin);
            for (auto const s : node.schedules) {
                auto const c = classes.of_kind(view.schedules[s].kind);
                if (at[c] == none || at[c] < begin) {
                    at[c] = static_cast<std::uint32_t>(entries_.size());
                    entries_.push_back({c});
                }
                bool const movable = view.may_move(s);
                ++(movable ? entries_[at[c]].movable : entries_[at[c]].fixed);
                movable_[c] += movable;
            }
        }
        first_.push_back(static_cast<std::uint32_t>(entries_.size()));
        for (auto const s : view.orphans) ++orphans_[classes.of_kind(view.schedules[s].kind)];
    }

    [[nodiscard]] std::span<entry const> on(std::uint32_t node) const {
        return {entries_.data() + first_[node], entries_.data() + first_[node + 1]};
    }
    [[nodiscard]] std::uint32_t movable(std::uint32_t c) const { return movable_[c]; }
    [[nodiscard]] std::uint32_t orphans(std::uint32_t c) const { return orphans_[c]; }

private:
    cluster_view const& view_;
    std::vector<std::uint32_t> first_;  // per node, into entries_
    std::vector<entry> entries_;
    std::vector<std::uint32_t> movable_, orphans_;  // per class
};

template <typename T = void>
class exact_placement {
    using cluster_view = late<rota::cluster_view, T>;
    using plan = late<rota::plan, T>;
    using number = std::uint32_t;
    using flow = assignment_flow<T>;
    using orderer = step_order<T>;

public:
    static constexpr number none = ~number{0};
    /// A larger network is not built: it would take more memory and time than a plan is worth.
    static constexpr std::size_t most_edges = 2'000'000;

    exact_placement(cluster_view const& view, placement_classes<T> const& classes, class_census<T> const& census)
        : view_{view},
          classes_{classes},
          census_{census},
          nodes_{static_cast<number>(view.nodes.size())} {}

    /// false: the network would be too large, and there is no plan.
    [[nodiscard]] bool make_plan(plan& into) {
        look();
        into.clear();
        into.interchangeable = true;
        into.spread_before = into.spread_after = spread_of(nullptr);
        into.imbalance = 0;
        into.unplaced = static_cast<number>(view_.orphans.size());
        if (nothing_to_do()) {
            list_stuck(into, nullptr);
            return true;
        }
        if (expected_edges() > most_edges) return false;
        build();
        network_.minimise(later);
        network_.minimise(broken);
        network_.minimise(unplaced);
        network_.minimise(excess);
        network_.even_out(sink, places_, bands_);
        network_.minimise(entering);
        read_flow();
        network_ = {};
        order_steps(into);
        return true;
    }

private:
    // In this order. `later` are orphans that are not placed by this plan, those that wait for its moves included;
    // `broken` counts each rule that is, and orphans without a place. All orphans count as `entering`, wherever they end.
    enum goal : unsigned { later, broken, unplaced, excess, entering };
    static constexpr unsigned bit(goal g) { return 1U << g; }

    static constexpr number sink = 0;
    static constexpr number nowhere = 1;
    static constexpr number first_node = 2;

    struct slot {
        number group;
        number node;
        number held;
    };
    // Schedules of one class that leave or enter one node.
    struct change {
        number placement_class;
        number node;
        number slot;
        number count;
    };
    // One schedule's entrance. The lower its rank, the sooner.
    struct entrance {
        number placement_class;
        number node;
        number slot;
        number rank;
    };
    static constexpr number full = number{1} << 31;  // of a rank: there is no room before others have left
    struct departure {
        pending_step step;
        std::uint64_t rank;
    };

    // ---- before the network

    void look() {
        movable_.assign(nodes_, 0);
        std::vector<number> seen(classes_.groups(), none);
        for (number n = 0; n < nodes_; ++n) {
            for (auto const& e : census_.on(n)) {
                auto const& c = classes_[e.placement_class];
                movable_[n] += e.movable;
                if (e.movable > 0 && !c.nowhere && !classes_.allows(e.placement_class, n)) rules_broken_ = true;
                if (c.group == none) continue;
                if (seen[c.group] == n || e.movable + e.fixed > 1) rules_broken_ = true;
                seen[c.group] = n;
            }
            auto const& node = view_.nodes[n];
            if (node.load > node.capacity && movable_[n] > 0) over_capacity_ = true;
        }
        for (number c = 0; c < classes_.count(); ++c) {
            units_ += census_.movable(c);
            if (classes_[c].nowhere) continue;
            placeable_ += census_.orphans(c);
        }
        units_ += placeable_;
    }

    [[nodiscard]] bool nothing_to_do() const {
        if (nodes_ == 0) return true;
        if (placeable_ > 0 || rules_broken_ || over_capacity_) return false;
        auto settled = view_;
        settled.orphans = {};
        return least_moves_bound(settled) == 0;
    }

    [[nodiscard]] std::size_t expected_edges() const {
        std::size_t count = 0;
        for (number c = 0; c < classes_.count(); ++c) {
            if (census_.movable(c) + census_.orphans(c) == 0 || classes_[c].row == none) continue;
            count += std::size_t{nodes_} * (classes_[c].group == none ? 1 : 3);
        }
        return count;
    }

    // ---- the network

    void build() {
        for (number v = 0; v < first_node + nodes_; ++v) network_.add_vertex();
        number const classes = classes_.count();
        hub_.assign(classes, none);
        source_.assign(classes, none);
        by_itself_.assign(classes, 0);
        first_pinned_.assign(nodes_, none);
        next_pinned_.assign(classes, none);
        group_slot_.assign(classes_.groups(), none);
        here_.assign(classes, 0);
        here_in_group_.assign(classes_.groups(), 0);
        fixed_in_group_.assign(classes_.groups(), 0);
        find_gated();
        for (number c = 0; c < classes; ++c) add_class(c);
        slot_from_.reserve(nodes_ + 1);
        places_.reserve(nodes_);
        for (number n = 0; n < nodes_; ++n) add_node(n);
        slot_from_.push_back(static_cast<number>(slots_.size()));
        if (placeable_ > 0) network_.add_edge(nowhere, sink, placeable_, placeable_);
        network_.build();
    }

    // Where more could be on the way out than there is room for now: orphans enter through a gate as wide as that.
    void find_gated() {
        gate_.assign(nodes_, none);
        gated_.assign(nodes_, 0);
        for (number n = 0; n < nodes_; ++n) {
            if (movable_[n] > 0 && open(n) && room(n) < placeable_) {
                gated_[n] = 1;
                any_gated_.push_back(n);
            }
        }
    }
    [[nodiscard]] bool open(number n) const { return view_.nodes[n].load <= view_.nodes[n].capacity; }
    [[nodiscard]] number room(number n) const {
        auto const& node = view_.nodes[n];
        return node.load < node.capacity ? node.capacity - node.load : 0;
    }

    void add_class(number c) {
        auto const& one = classes_[c];
        auto const orphans = one.nowhere ? 0 : census_.orphans(c);
        if (census_.movable(c) + orphans == 0) return;
        hub_[c] = network_.add_vertex();
        if (one.row != none) {
            roaming_.push_back(c);
        } else if (one.node != none) {
            next_pinned_[c] = first_pinned_[one.node];
            first_pinned_[one.node] = c;
        }
        if (orphans == 0) return;
        source_[c] = network_.add_vertex();
        network_.add_edge(source_[c], nowhere, orphans, orphans,
                          bit(later) | bit(broken) | bit(unplaced) | bit(entering));
        by_itself_[c] = one.group != none;
        for (auto const n : any_gated_) {
            if (by_itself_[c]) break;
            by_itself_[c] = classes_.allows(c, n);
        }
        network_.add_edge(source_[c], hub_[c], orphans, 0, by_itself_[c] ? bit(later) : 0);
    }

    void add_node(number n) {
        auto const& node = view_.nodes[n];
        number const vertex = first_node + n;
        number const fixed = node.load - movable_[n];
        number const most = node.capacity > fixed ? node.capacity - fixed : 0;
        number const within = most < units_ ? most : units_;
        number const kept = movable_[n] < within ? movable_[n] : within;
        network_.add_edge(vertex, sink, within, kept);
        network_.add_edge(vertex, sink, movable_[n] - kept, movable_[n] - kept, bit(excess));
        places_.push_back({vertex, fixed});

        slot_from_.push_back(static_cast<number>(slots_.size()));
        auto const here = census_.on(n);
        for (auto const& e : here) {
            here_[e.placement_class] = e.movable;
            auto const group = classes_[e.placement_class].group;
            if (group == none) continue;
            here_in_group_[group] += e.movable;
            fixed_in_group_[group] += e.fixed;
        }
        for (auto const c : roaming_) {
            if (classes_.allows(c, n)) add_place(c, n, true);
        }
        for (auto c = first_pinned_[n]; c != none; c = next_pinned_[c]) add_place(c, n, true);
        for (auto const& e : here) {
            if (e.movable > 0 && !classes_.allows(e.placement_class, n)) add_place(e.placement_class, n, false);
        }
        for (auto const& e : here) {
            here_[e.placement_class] = 0;
            auto const group = classes_[e.placement_class].group;
            if (group != none) here_in_group_[group] = fixed_in_group_[group] = 0;
        }
    }

    // What class c may do on node n: stay, enter, be placed there at once.
    void add_place(number c, number n, bool allowed) {
        auto const group = classes_[c].group;
        auto const stay = here_[c];
        auto vertex = first_node + n;
        bool may_enter = allowed && open(n) && view_.nodes[n].capacity > 0;
        bool at_once = may_enter && room(n) > 0;
        number most = units_;
        if (group != none) {
            auto const movable = here_in_group_[group];
            auto const fixed = fixed_in_group_[group];
            may_enter = may_enter && movable + fixed < 2 && fixed == 0;
            at_once = at_once && movable + fixed == 0;
            if (!may_enter && movable == 0) return;
            vertex = slot_vertex(group, n);
            most = 1;
        }
        network_.add_edge(hub_[c], vertex, stay, stay, allowed ? 0 : bit(broken));
        if (may_enter) network_.add_edge(hub_[c], vertex, most, 0, bit(entering));
        if (!at_once || source_[c] == none || !by_itself_[c]) return;
        if (gated_[n] && group == none) vertex = gate_vertex(n);
        network_.add_edge(source_[c], vertex, most, 0, bit(entering));
    }

    number slot_vertex(number group, number n) {
        auto const known = group_slot_[group];
        if (known != none && slots_[known].node == n) return slot_vertices_[known];
        auto const movable = here_in_group_[group];
        auto const fixed = fixed_in_group_[group];
        group_slot_[group] = static_cast<number>(slots_.size());
        auto const vertex = network_.add_vertex();
        slots_.push_back({group, n, movable + fixed});
        slot_vertices_.push_back(vertex);
        note_vertex(vertex, n, group_slot_[group]);
        number const lawful = fixed == 0 ? 1 : 0;
        number const kept = movable < lawful ? movable : lawful;
        network_.add_edge(vertex, first_node + n, lawful, kept);
        network_.add_edge(vertex, first_node + n, movable - kept, movable - kept, bit(broken));
        return vertex;
    }

    number gate_vertex(number n) {
        if (gate_[n] == none) {
            gate_[n] = network_.add_vertex();
            note_vertex(gate_[n], n, none);
            network_.add_edge(gate_[n], first_node + n, room(n), 0);
        }
        return gate_[n];
    }

    // Slots and gates are added one after the other, behind all else.
    void note_vertex(number vertex, number n, number slot_index) {
        if (behind_.empty()) first_behind_ = vertex;
        behind_.push_back({n, slot_index});
    }
    struct location {
        number node;
        number slot;
    };
    [[nodiscard]] location location_of(number vertex) const {
        if (vertex - first_node < nodes_) return {vertex - first_node, none};
        return behind_[vertex - first_behind_];
    }

    // ---- what the flow says

    void read_flow() {
        std::vector<number> left(nodes_, 0);
        std::vector<number> entered(nodes_, 0);
        std::vector<number> slot_at(nodes_, none);
        std::vector<number> touched;
        waiting_.assign(classes_.count(), 0);
        for (number c = 0; c < classes_.count(); ++c) {
            if (hub_[c] == none) continue;
            network_.each_edge(hub_[c], [&](number to, number units, number rest, unsigned goals) {
                bool const enters = (goals & bit(entering)) != 0;
                auto const changed = enters ? units : rest;
                if (changed == 0) return;
                auto const at = location_of(to);
                if (left[at.node] + entered[at.node] == 0) touched.push_back(at.node);
                slot_at[at.node] = at.slot;
                (enters ? entered : left)[at.node] += changed;
            });
            for (auto const n : touched) {
                auto const both = left[n] < entered[n] ? left[n] : entered[n];
                if (left[n] > both) departures_.push_back({c, n, slot_at[n], left[n] - both});
                if (entered[n] > both) entrances_.push_back({c, n, slot_at[n], entered[n] - both});
                left[n] = entered[n] = 0;
            }
            touched.clear();
            if (source_[c] == none) continue;
            network_.each_edge(source_[c], [&](number to, number units, number, unsigned) {
                if (units == 0 || to == nowhere) return;
                if (to == hub_[c]) {
                    waiting_[c] = units;
                    return;
                }
                auto const at = location_of(to);
                placements_.push_back({c, at.node, at.slot, units});
            });
        }
    }

    // ---- steps

    void order_steps(plan& into) {
        std::vector<number> held;
        held.reserve(slots_.size());
        for (auto const& one : slots_) held.push_back(one.held);
        orderer order{view_, into, static_cast<std::vector<number>&&>(held)};

        auto leaving = leaving_schedules();
        auto const at_once = units_of(placements_);  // counted first, since they come first
        auto entering_units = units_of(entrances_);
        std::vector<change>{}.swap(entrances_);
        std::vector<change>{}.swap(placements_);
        // Which entrances are those of orphans is open within a class, but for the group's slots.
        std::vector<entrance> placing;
        placing.reserve(placeable_);
        std::vector<number> sooner(classes_.count(), 0);
        for (auto const& one : at_once) {
            bool const exchangeable = one.slot == none;
            (exchangeable ? entering_units : placing).push_back(one);
            sooner[one.placement_class] += exchangeable;
        }
        into.bound = static_cast<number>(leaving.size());

        // Per class: its orphans enter at once, unless its edges say that they wait; then what must leave, from the
        // fullest node first, to the emptiest that has room.
        std::vector<departure> spare_departures;
        std::vector<entrance> spare;
        spare.reserve(entering_units.size() + placing.size());
        radix_sort(entering_units, 0, spare, [](entrance const& e) { return std::uint64_t{e.rank}; });
        radix_sort(entering_units, 0, spare, [](entrance const& e) { return std::uint64_t{e.placement_class}; });
        radix_sort(leaving, 0, spare_departures, [](departure const& d) { return ~d.rank; });
        radix_sort(leaving, 0, spare_departures, [](departure const& d) {
            return std::uint64_t{d.step.placement_class} * 2 + !is_required(d.step.why);
        });
        std::vector<entrance> reserved;
        std::size_t in = 0;
        std::size_t out = 0;
        for (number c = 0; c < classes_.count(); ++c) {
            if (!by_itself_[c]) sooner[c] = waiting_[c];
            for (number k = 0; k < sooner[c]; ++k) placing.push_back(entering_units[in++]);
            for (; out < leaving.size() && leaving[out].step.placement_class == c; ++out, ++in) {
                auto const& entrance_unit = entering_units[in];
                ROTA_ASSERT(entrance_unit.placement_class == c);
                leaving[out].step.to = entrance_unit.node;
                leaving[out].step.to_slot = entrance_unit.slot;
                leaving[out].rank += full - (entrance_unit.rank & ~full);
            }
            for (; in < entering_units.size() && entering_units[in].placement_class == c; ++in) {
                reserved.push_back(entering_units[in]);
            }
        }

        std::vector<entrance>{}.swap(entering_units);  // the longest lists there are: each lives as briefly as it can
        place_orphans(order, placing, spare, into);
        radix_sort(leaving, 0, spare_departures, [](departure const& d) { return ~d.rank; });
        std::vector<pending_step> steps;
        steps.reserve(leaving.size());
        for (auto const& one : leaving) steps.push_back(one.step);
        std::vector<departure>{}.swap(leaving);
        std::vector<departure>{}.swap(spare_departures);
        order.set_moves(static_cast<std::vector<pending_step>&&>(steps));
        order.make_required([this](number c, orderer const& now, number& at) { return emptiest_open(c, now, at); });
        for (auto const& one : reserved) order.make_room(one.node, one.slot);
        order.make_others();

        into.voluntary = static_cast<number>(into.moves.size()) - into.forced;
        into.spread_after = spread_of(&order.loads());
        list_stuck(into, &order);
        ROTA_ASSERT(into.voluntary <= into.bound);
    }

    // Which schedules leave: on each node the first of the class.
    std::vector<departure> leaving_schedules() {
        std::vector<departure> leaving;
        std::vector<change> spare;
        radix_sort(departures_, 0, spare, [](change const& c) { return std::uint64_t{c.node}; });
        std::vector<number> still(classes_.count(), 0);
        std::vector<number> unlawful(classes_.count(), 0);
        std::vector<number> slot_at(classes_.count(), none);
        std::vector<number> surplus(classes_.groups(), 0);
        for (std::size_t i = 0; i < departures_.size();) {
            auto const n = departures_[i].node;
            auto const& node = view_.nodes[n];
            auto over = node.load > node.capacity ? node.load - node.capacity : 0;
            for (auto k = slot_from_[n]; k < slot_from_[n + 1]; ++k) {
                surplus[slots_[k].group] = slots_[k].held > 1 ? slots_[k].held - 1 : 0;
            }
            for (; i < departures_.size() && departures_[i].node == n; ++i) {
                auto const& one = departures_[i];
                auto const c = one.placement_class;
                still[c] = one.count;
                slot_at[c] = one.slot;
                auto const group = classes_[c].group;
                unlawful[c] = classes_.allows(c, n) && (group == none || surplus[group] == 0) ? 0
                              : !classes_.allows(c, n) || surplus[group] > one.count          ? one.count
                                                                                              : surplus[group];
                if (group != none) surplus[group] -= unlawful[c] < surplus[group] ? unlawful[c] : surplus[group];
                over -= unlawful[c] < over ? unlawful[c] : over;
            }
            std::uint64_t load = node.load;
            for (auto const s : node.schedules) {
                auto const c = classes_.of_kind(view_.schedules[s].kind);
                if (still[c] == 0 || !view_.may_move(s)) continue;
                auto why = change_reason::rebalanced;
                if (unlawful[c] > 0) {
                    --unlawful[c];
                    why = change_reason::constrained;
                } else if (over > 0) {
                    --over;
                    why = node.draining ? change_reason::drained : change_reason::overfull;
                }
                --still[c];
                leaving.push_back({{s, n, none, c, slot_at[c], none, why}, load--});
            }
            for (auto k = slot_from_[n]; k < slot_from_[n + 1]; ++k) surplus[slots_[k].group] = 0;
        }
        return leaving;
    }

    // One by one; nodes without room last, then the emptiest first.
    std::vector<entrance> units_of(std::vector<change> const& changes) {
        if (entered_.empty()) entered_.assign(nodes_, 0);
        std::size_t count = 0;
        for (auto const& one : changes) count += one.count;
        std::vector<entrance> units;
        units.reserve(count);
        for (auto const& one : changes) {
            auto const& node = view_.nodes[one.node];
            for (number k = 0; k < one.count; ++k) {
                auto const load = node.load + entered_[one.node]++;
                auto const rank = load < full ? load : full - 1;
                units.push_back({one.placement_class, one.node, one.slot, load < node.capacity ? rank : rank + full});
            }
        }
        return units;
    }

    void place_orphans(orderer& order, std::vector<entrance>& placing, std::vector<entrance>& spare, plan& into) {
        radix_sort(placing, 0, spare, [](entrance const& e) { return std::uint64_t{e.rank}; });
        std::vector<number> first(classes_.count() + 1, 0);
        for (auto const s : view_.orphans) ++first[classes_.of_kind(view_.schedules[s].kind) + 1];
        for (number c = 0; c < classes_.count(); ++c) first[c + 1] += first[c];
        orphans_.resize(view_.orphans.size());
        next_orphan_ = first;
        for (auto const s : view_.orphans) orphans_[next_orphan_[classes_.of_kind(view_.schedules[s].kind)]++] = s;
        next_orphan_ = first;

        std::vector<number> missed;
        into.moves.reserve(placing.size() + into.bound);
        for (auto const& one : placing) {
            if (order.open(one.node, one.slot)) {
                order.place(orphans_[next_orphan_[one.placement_class]++], one.node, one.slot);
            } else {
                missed.push_back(one.placement_class);
            }
        }
        for (auto const c : missed) {
            number at = none;
            auto const n = emptiest_open(c, order, at);
            if (n != none) order.place(orphans_[next_orphan_[c]++], n, at);
        }
        into.forced = static_cast<number>(into.moves.size());
        into.unplaced = static_cast<number>(view_.orphans.size()) - into.forced;
        into.imbalance = imbalance_of(order);
    }

    number emptiest_open(number c, orderer const& now, number& at) const {
        auto best = none;
        for (number n = 0; n < nodes_; ++n) {
            if (!open(n) || !classes_.allows(c, n) || (best != none && now.load(n) >= now.load(best))) continue;
            auto const candidate = slot_of(classes_[c].group, n);
            if (classes_[c].group != none && candidate == none) continue;
            if (!now.open(n, candidate)) continue;
            best = n;
            at = candidate;
        }
        return best;
    }

    [[nodiscard]] number slot_of(number group, number n) const {
        if (group == none) return none;
        for (auto k = slot_from_[n]; k < slot_from_[n + 1]; ++k) {
            if (slots_[k].group == group) return k;
        }
        return none;
    }

    // ---- the certificate

    [[nodiscard]] double spread_of(std::vector<number> const* loads) const {
        if (nodes_ == 0) return 0;
        number fullest = 0;
        number emptiest = none;
        for (number n = 0; n < nodes_; ++n) {
            auto const load = loads ? (*loads)[n] : view_.nodes[n].load;
            if (load > fullest) fullest = load;
            if (load < emptiest) emptiest = load;
        }
        return fullest - emptiest;
    }

    // Once the orphans are placed.
    [[nodiscard]] double imbalance_of(orderer const& order) const {
        number farthest = 0;
        double total = 0;
        for (number n = 0; n < nodes_; ++n) {
            auto const load = order.load(n);
            auto const& band = bands_[n];
            auto const off = load > band.high ? load - band.high : load < band.low ? band.low - load : 0;
            if (off > farthest) farthest = off;
            total += load;
        }
        return farthest == 0 ? 0 : farthest / (total / nodes_);
    }

    void list_stuck(plan& into, orderer const* order) {
        if (into.unplaced == 0) return;
        std::vector<number> placed(classes_.count(), 0);
        for (number i = 0; i < into.forced; ++i) {
            ++placed[classes_.of_kind(view_.schedules[into.moves[i].schedule].kind)];
        }
        std::vector<no_place> why(classes_.count());
        for (number c = 0; c < classes_.count(); ++c) {
            auto const& one = classes_[c];
            why[c] = one.nowhere || !order ? one.why : why_not(c, *order);
        }
        // The first ones of each class were placed, and of those that were not the first ones wait for room.
        std::vector<number> waits(classes_.count(), 0);
        for (number c = 0; c < classes_.count() && order; ++c) waits[c] = by_itself_[c] ? waiting_[c] : 0;
        for (auto const s : view_.orphans) {
            auto const c = classes_.of_kind(view_.schedules[s].kind);
            if (placed[c] > 0) {
                --placed[c];
            } else if (waits[c] > 0) {
                --waits[c];
                into.stuck.push_back({s, no_place::waits});
            } else {
                into.stuck.push_back({s, why[c]});
            }
        }
    }

    [[nodiscard]] no_place why_not(number c, orderer const& order) const {
        auto const group = classes_[c].group;
        if (group == none) return no_place::no_room;
        for (number n = 0; n < nodes_; ++n) {
            if (!classes_.allows(c, n)) continue;
            auto const at = slot_of(group, n);
            bool taken_by_other = at != none && order.held(at) > 0;
            for (auto const& e : census_.on(n)) {
                taken_by_other = taken_by_other || (classes_[e.placement_class].group == group && e.fixed > 0);
            }
            if (!taken_by_other) return no_place::no_room;
        }
        return no_place::group_apart;
    }

    cluster_view const& view_;
    placement_classes<T> const& classes_;
    class_census<T> const& census_;
    number nodes_;

    std::vector<number> movable_;  // per node
    number units_ = 0;             // schedules that the network is about
    number placeable_ = 0;         // orphans among them
    bool rules_broken_ = false, over_capacity_ = false;

    flow network_;
    std::vector<typename flow::place> places_;
    std::vector<typename flow::band> bands_;
    std::vector<number> hub_, source_;  // per class: its vertex, and that of its orphans
    std::vector<char> by_itself_;       // per class: its orphans are placed by edges of their own
    std::vector<number> roaming_;       // classes that are not pinned
    std::vector<number> first_pinned_, next_pinned_;
    std::vector<number> gate_;  // per node, its vertex
    std::vector<char> gated_;
    std::vector<number> any_gated_;
    std::vector<slot> slots_;
    std::vector<number> slot_vertices_;
    std::vector<number> slot_from_;   // per node, into slots_
    std::vector<number> group_slot_;  // the latest of the group
    std::vector<number> here_, here_in_group_, fixed_in_group_;
    std::vector<location> behind_;
    number first_behind_ = 0;

    std::vector<change> departures_, entrances_, placements_;
    std::vector<number> waiting_;  // per class: orphans that flow through it
    std::vector<number> entered_;
    std::vector<number> orphans_, next_orphan_;  // by class
};

}  // namespace rota::detail

// ---- rota/detail/rules_first.hpp -----------------------------------------------------------------------------------
// Rules first, then a strategy that knows of none: what has rules is placed and moved greedily, each schedule to the
// node that will do, has room and carries the least; the strategy then plans for all else, seeing what has rules as fixed.
// Not exact, but for any strategy, for any number of rules, and while the leader still reads who owns what.

namespace rota::detail {

template <typename T>
class rules_first {
    using cluster_view = late<rota::cluster_view, T>;
    using plan = late<rota::plan, T>;
    using number = std::uint32_t;

public:
    static constexpr number none = ~number{0};

    rules_first(cluster_view const& view, placement_classes<T> const& classes)
        : view_{view},
          classes_{classes},
          nodes_{view.nodes.begin(), view.nodes.end()} {
        leaving_.assign(nodes_.size(), 0);
        order_.resize(classes.count());
        while (width_ < nodes_.size()) width_ *= 2;
    }

    template <typename S>
    void make_plan(S const& strategy, plan& into) {
        note_groups();
        place_orphans();
        if (view_.complete) move_what_must();
        ask_strategy(strategy);
        join_plans(into);
    }

private:
    [[nodiscard]] number class_of(number s) const { return classes_.of_kind(view_.schedules[s].kind); }

    // ---- the node that carries the least

    struct candidate {
        double weight;
        number node;
    };
    static bool before(candidate const& a, candidate const& b) {
        return a.weight < b.weight || (a.weight == b.weight && a.node < b.node);
    }
    [[nodiscard]] double weight_of(number n) const { return view_.complete ? nodes_[n].weight : nodes_[n].load; }

    // A heap per class. What a node carries mostly rises, so an entry that is out of date is found when it comes to the
    // top; a node that has given something away may be found late.
    struct heap {
        std::vector<candidate> items;
        std::size_t kept = 0;
        bool filled = false;
    };
    static constexpr std::size_t most_kept =
        2'000'000;  // candidates in all heaps; beyond that it is searched each time

    static void sift_down(std::vector<candidate>& items, std::size_t at) {
        for (;;) {
            auto least = at;
            for (auto const child : {2 * at + 1, 2 * at + 2}) {
                if (child < items.size() && before(items[child], items[least])) least = child;
            }
            if (least == at) return;
            auto const moved = items[at];
            items[at] = items[least];
            items[least] = moved;
            at = least;
        }
    }

    [[nodiscard]] bool has_room(number n) const {
        return view_.nodes[n].load <= view_.nodes[n].capacity && nodes_[n].load + leaving_[n] < nodes_[n].capacity;
    }

    /// The best node for one of class c, or none.
    number best_node(number c) {
        auto const& one = classes_[c];
        if (one.nowhere) return none;
        if (one.row == none) return has_room(one.node) && apart(one.group, one.node) ? one.node : none;
        auto& from = order_[c];
        if (!from.filled) {
            if (kept_ > most_kept) return searched_node(c);
            fill(from, c);
        }
        while (!from.items.empty()) {
            auto& top = from.items.front();
            bool const usable = has_room(top.node) && apart(one.group, top.node);
            if (usable && top.weight == weight_of(top.node)) return top.node;
            if (usable) {
                top.weight = weight_of(top.node);
            } else {
                top = from.items.back();
                from.items.pop_back();
            }
            sift_down(from.items, 0);
        }
        return none;
    }

    void fill(heap& into, number c) {
        into.filled = true;
        for (number n = 0; n < nodes_.size(); ++n) {
            if (classes_.allows(c, n) && has_room(n)) into.items.push_back({weight_of(n), n});
        }
        for (auto at = into.items.size() / 2; at-- > 0;) sift_down(into.items, at);
        into.kept = into.items.size();
        kept_ += into.kept;
    }
    void forget(heap& one) {
        kept_ -= one.kept;
        one = {};
    }

    [[nodiscard]] number searched_node(number c) const {
        auto best = none;
        for (number n = 0; n < nodes_.size(); ++n) {
            if (!classes_.allows(c, n) || !has_room(n)) continue;
            if (best != none && weight_of(n) >= weight_of(best)) continue;
            if (apart(classes_[c].group, n)) best = n;
        }
        return best;
    }

    // ---- groups

    [[nodiscard]] std::size_t pair_of(number group, number n) const { return std::size_t{group} * width_ + n; }

    // Which groups have one on which node. A group that has left a node keeps its place until the next plan.
    void note_groups() {
        if (classes_.groups() == 0 || !view_.complete) return;
        for (number n = 0; n < nodes_.size(); ++n) {
            for (auto const s : view_.nodes[n].schedules) {
                auto const group = classes_[class_of(s)].group;
                if (group != none) taken_.number_of(pair_of(group, n), [](number) { return true; });
            }
        }
    }
    [[nodiscard]] bool apart(number group, number n) const { return group == none || !taken_.has(pair_of(group, n)); }

    void arrive(number s, number n) {
        ++nodes_[n].load;
        nodes_[n].weight += view_.schedules[s].weight;
        auto const group = classes_[class_of(s)].group;
        if (group != none) taken_.number_of(pair_of(group, n), [](number) { return true; });
        arrived_.push_back({s, n});
    }

    // ---- what has rules

    // Those that few nodes will do for come first.
    void place_orphans() {
        std::vector<std::vector<number>> by_class(classes_.count());
        for (auto const s : view_.orphans) {
            auto const c = class_of(s);
            if (classes_[c].anywhere) {
                free_orphans_.push_back(s);
            } else {
                by_class[c].push_back(s);
            }
        }
        for (bool const pinned : {true, false}) {
            for (number c = 0; c < classes_.count(); ++c) {
                if ((classes_[c].row == none) == pinned) place_class(c, by_class[c]);
            }
        }
    }

    void place_class(number c, std::vector<number> const& orphans) {
        bool const waits = classes_[c].group != none && !view_.complete && !classes_[c].nowhere;
        for (auto const s : orphans) {
            auto const n = waits ? none : best_node(c);
            if (n != none) {
                placed_.push_back({s, none, n, change_reason::placed});
                arrive(s, n);
            } else {
                stuck_.push_back({s, waits ? no_place::waits : why_not(c)});
            }
        }
        forget(order_[c]);
    }

    [[nodiscard]] no_place why_not(number c) const {
        auto const& one = classes_[c];
        if (one.nowhere) return one.why;
        if (one.group == none) return no_place::no_room;
        for (number n = 0; n < nodes_.size(); ++n) {
            if (classes_.allows(c, n) && apart(one.group, n)) return no_place::no_room;
        }
        return no_place::group_apart;
    }

    // Off the nodes where their rules do not let them be; and off those that hold more than they may, if what has no
    // rules is not enough.
    void move_what_must() {
        for (number n = 0; n < nodes_.size(); ++n) {
            if (has_room(n)) room_ += nodes_[n].capacity - nodes_[n].load;
        }
        std::vector<number> seen(classes_.groups(), none);
        std::vector<char> gone;
        for (number n = 0; n < nodes_.size(); ++n) {
            auto const& node = view_.nodes[n];
            gone.assign(node.schedules.size(), 0);
            number free = 0;
            // A member that cannot be moved is the one that stays.
            for (auto const s : node.schedules) {
                auto const& one = classes_[class_of(s)];
                if (one.group != none && !view_.may_move(s)) seen[one.group] = n;
            }
            for (std::size_t i = 0; i < node.schedules.size(); ++i) {
                auto const s = node.schedules[i];
                auto const c = class_of(s);
                auto const& one = classes_[c];
                if (!view_.may_move(s)) continue;
                if (one.anywhere) {
                    ++free;
                    continue;
                }
                bool const again = one.group != none && seen[one.group] == n;
                if (one.group != none) seen[one.group] = n;
                if (!again && classes_.allows(c, n)) continue;
                gone[i] = move_off(s, n, change_reason::constrained);
            }
            auto const why = node.draining ? change_reason::drained : change_reason::overfull;
            for (std::size_t i = 0; i < node.schedules.size() && nodes_[n].load > excess_limit(n, free); ++i) {
                auto const s = node.schedules[i];
                if (gone[i] || classes_[class_of(s)].anywhere || !view_.may_move(s)) continue;
                move_off(s, n, why);
            }
        }
    }
    // What the node may keep for the strategy to bring down to its capacity.
    [[nodiscard]] std::uint64_t excess_limit(number n, number free) const {
        return std::uint64_t{view_.nodes[n].capacity} + free;
    }

    // Orphans come before moves: what has no rules, and no owner, finds the room that it needs.
    bool move_off(number s, number n, change_reason why) {
        if (room_ <= free_orphans_.size()) return false;
        auto const to = best_node(class_of(s));
        if (to == none || to == n) return false;
        moved_.push_back({s, n, to, why});
        --nodes_[n].load;
        nodes_[n].weight -= view_.schedules[s].weight;
        ++leaving_[n];
        --room_;
        arrive(s, to);
        return true;
    }

    // ---- all else

    // A place that is being left is not free before the plan has been carried out: capacities are lowered by as much.
    template <typename S>
    void ask_strategy(S const& strategy) {
        std::vector<typename cluster_view::schedule> schedules{view_.schedules.begin(), view_.schedules.end()};
        for (auto& one : schedules) {
            if (!classes_[classes_.of_kind(one.kind)].anywhere) one.moving = true;
            one.kind = 0;
        }
        for (auto const& one : arrived_) schedules[one.schedule].owner = one.node;
        auto const kept = schedules_of_nodes();
        for (number n = 0; n < nodes_.size(); ++n) {
            auto const& before_plan = view_.nodes[n];
            if (before_plan.capacity == unlimited) continue;
            if (before_plan.load <= before_plan.capacity) {
                nodes_[n].capacity -= leaving_[n];
            } else if (nodes_[n].load < nodes_[n].capacity) {
                nodes_[n].capacity = nodes_[n].load;
            }
        }
        auto rest = view_;
        rest.nodes = nodes_;
        rest.schedules = schedules;
        rest.orphans = free_orphans_;
        rest.kinds = {};
        ask(strategy, rest, rest_);
    }

    // Of the nodes that something came to or went from; nodes_ points to them.
    std::vector<number> schedules_of_nodes() {
        std::vector<number> kept;
        if (!view_.complete) return kept;
        std::vector<number> come(nodes_.size(), 0);
        std::size_t count = 0;
        for (auto const& one : arrived_) ++come[one.node];
        for (number n = 0; n < nodes_.size(); ++n) {
            if (come[n] + leaving_[n] > 0) count += view_.nodes[n].schedules.size() + come[n];
        }
        kept.resize(count);
        std::vector<char> away(count == 0 ? 0 : view_.schedules.size(), 0);
        for (auto const& one : moved_) away[one.schedule] = 1;
        std::vector<std::size_t> end(nodes_.size(), 0);
        std::size_t at = 0;
        std::vector<std::size_t> begin(nodes_.size(), 0);
        for (number n = 0; n < nodes_.size(); ++n) {
            if (come[n] + leaving_[n] == 0) continue;
            begin[n] = at;
            end[n] = at;
            for (auto const s : view_.nodes[n].schedules) {
                if (!away[s]) kept[end[n]++] = s;
            }
            at += view_.nodes[n].schedules.size() + come[n];
        }
        for (auto const& one : arrived_) kept[end[one.node]++] = one.schedule;
        for (number n = 0; n < nodes_.size(); ++n) {
            if (come[n] + leaving_[n] > 0) nodes_[n].schedules = {kept.data() + begin[n], kept.data() + end[n]};
        }
        return kept;
    }

    // Placements of both, what must move of both, the rest.
    void join_plans(plan& into) {
        auto const forced = rest_.forced;
        std::size_t required = forced;
        while (required < rest_.moves.size() && rest_.moves[required].required()) ++required;
        auto const end = view_.complete ? rest_.moves.size() : forced;
        if (required > end) required = end;
        into.clear();
        auto const append = [&](auto const& moves, std::size_t from, std::size_t to) {
            for (auto i = from; i < to; ++i) into.moves.push_back(moves[i]);
        };
        append(placed_, 0, placed_.size());
        append(rest_.moves, 0, forced);
        append(moved_, 0, moved_.size());
        append(rest_.moves, forced, required);
        append(rest_.moves, required, end);
        into.forced = static_cast<number>(placed_.size()) + forced;
        into.voluntary = static_cast<number>(into.moves.size()) - into.forced;
        into.bound = static_cast<number>(moved_.size()) + rest_.bound;
        into.unplaced = static_cast<number>(view_.orphans.size()) - into.forced;
        into.spread_before = rest_.spread_before;
        into.spread_after = rest_.spread_after;
        into.imbalance = rest_.imbalance;
        into.interchangeable = rest_.interchangeable;
        into.revisit = rest_.revisit;
        for (auto const& one : stuck_) into.stuck.push_back(one);
        for (auto const& one : rest_.stuck) into.stuck.push_back(one);
    }

    struct arrival {
        number schedule;
        number node;
    };

    cluster_view const& view_;
    placement_classes<T> const& classes_;
    std::vector<typename cluster_view::node> nodes_;  // as they will be
    std::vector<number> leaving_;                     // of each node
    std::vector<heap> order_;                         // per class
    std::size_t kept_ = 0;                            // candidates in them
    std::size_t width_ = 1;
    numbering<> taken_;  // pairs of group and node
    std::vector<number> free_orphans_;
    std::uint64_t room_ = 0;  // for orphans and moves, on all nodes
    std::vector<arrival> arrived_;
    std::vector<move> placed_, moved_;
    std::vector<unplaced_schedule> stuck_;
    plan rest_;
};

}  // namespace rota::detail

namespace rota {

/// Any thread may use it if S allows it. Where no schedule that may move has rules that matter, the plan is S's own.
///
/// constrained<least_moves>. Of all ways to place and move what may move, it aims at the one with, in this order,
///   1. most orphans placed at once, with the room that there is before anything moves (nearly so for those of groups
///      on nodes that others leave at the same time);
///   2. fewest rules broken and orphans without a place, of these rather the former than the latter;
///   3. least held over capacity (a node that is drained may hold nothing);
///   4. most even loads: the least sum of their squares;
///   5. fewest moves. That number is the plan's `bound`.
/// What breaks a rule and has no better place stays; nothing that has an owner is left without one. A schedule that is
/// pinned to a node which is drained stays there: it has no other place. Where nodes hold more than they may, or more
/// than one of a group, nobody enters until a later plan. `voluntary` is `bound` unless full nodes would have to swap
/// schedules: such moves are left out, or go to another node. An orphan that has to wait until others have moved, or have
/// been moved to make room for it, is `stuck` with no_place::waits; the plan after the next event places it. So planning
/// on the result of a plan gives none, but where a node was full or a rule was broken twice: after a few it gives none.
///
/// Placements, and moves that have to be, come first: a move that makes room for one of these has the reason
/// `constrained` too. `imbalance` is the largest distance of a node from where its load is in the most even result.
/// Time and memory: O(nodes x classes), where a class is the kinds that may be on the same nodes, each group by itself,
/// times a small number of passes, and O(schedules) to look at them. A network of over two million edges is not built: then the rules come first, as with
/// any other S.
///
/// Any other S: schedules whose rules are broken move, orphans with rules are placed, each to the node that will do, has
/// room and carries the least weight. S then plans for all that has no rules; it sees the others as `moving`. `bound`
/// is S's, plus what had to move. Not exact: it moves nothing to make room, and evens out only what has no rules.
///
/// While the view is not complete, orphans with rules but no group are placed on the node that carries the least, those
/// with a group wait, and nothing moves.
template <typename S = least_moves>
struct constrained {
    using inner = S;
    static constexpr auto layer = strategy_layer::limits;

    [[no_unique_address]] S strategy{};

    void make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const;

    static_assert(detail::nests<constrained, layer, S>());
};

template <typename S>
void constrained<S>::make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const {
    if (view.kinds.size() <= 1) return detail::ask(strategy, view, into);
    detail::placement_classes<S> const classes{view};
    detail::class_census<S> const census{view, classes};
    bool ruled = false;
    for (std::uint32_t c = 0; c < classes.count(); ++c) {
        if (!classes[c].anywhere && census.movable(c) + census.orphans(c) > 0) ruled = true;
    }
    if (!ruled) return detail::ask(strategy, view, into);
    if constexpr (std::is_same_v<S, least_moves>) {
        if (view.complete && detail::exact_placement<S>{view, classes, census}.make_plan(into)) return;
    }
    detail::rules_first<S>{view, classes}.make_plan(strategy, into);
}

}  // namespace rota

// ---- rota/strategy/graced.hpp --------------------------------------------------------------------------------------
// graced<S>: gives a node that has gone time to come back before its schedules move. So a restart moves nothing: its
// schedules wait, nobody's, until the same node_id is a member again (with whatever incarnation) and are then given back
// to it at once; or until the grace is over, and they are placed like any orphan.
//
// The price is that they do not run meanwhile. That is why only nodes that *left* are waited for, unless asked: whoever
// leaves says so because it restarts, but who crashed may have gone for good.

#include <map>

namespace rota {

/// What waits is `stuck` with no_place::waits (and counts as unplaced), and plan::revisit is the rest of the shortest
/// grace. What is given back says change_reason::returned. S plans the rest, for it what is given back has arrived.
///
/// A crashed node's schedules do not wait, but those that are still orphans when it is back within the grace are given
/// back too. Nothing is given back that the node has no room for, or that rules forbid (pin, labels, and groups, whether
/// or not S heeds them): S then decides.
///
/// Time and memory: S's own + O(orphans + nodes); when something is given back, O(schedules) unless S is least_moves.
template <typename S = least_moves>
struct graced {
    using inner = S;
    static constexpr auto layer = strategy_layer::pacing;

    microseconds grace = std::chrono::seconds{60};  ///< from the moment when its schedules may be given to others
    bool crashed_too = false;                       ///< wait also for nodes that were taken for dead
    S strategy{};

    void make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const;

    static_assert(detail::nests<graced, layer, S>());
};

namespace detail {

// Sorts the orphans of a view: what goes back, what waits, and what is left for S.
template <typename S>
class grace_run {
    using cluster_view = late<rota::cluster_view, S>;
    using plan = late<rota::plan, S>;
    using index = late<std::uint32_t, S>;

public:
    grace_run(cluster_view const& view, microseconds grace, bool crashed_too) : view_{view}, seen_{view} {
        for (auto const& departure : view.departures) {
            bool const graced = departure.ago < grace;
            fates_.push_back({graced ? node_called(departure.id) : cluster_view::none,
                              graced && (departure.left || crashed_too), grace - departure.ago});
        }
        for (auto const s : view.orphans) {
            auto const departed = view.schedules[s].departed;
            if (departed >= fates_.size()) {
                left_.push_back(s);
            } else if (auto const& fate = fates_[departed]; fate.back_as == cluster_view::none) {
                fate.awaited ? wait(s, fate.rest) : left_.push_back(s);
            } else {
                give_back(s, fate.back_as);
            }
        }
        seen_.orphans = left_;
        if (!returned_.empty()) count_returned();
    }

    /// The view for S.
    [[nodiscard]] cluster_view const& seen() const { return seen_; }

    void add_to(plan& into) const {
        into.moves.insert(into.moves.begin(), returned_.begin(), returned_.end());
        into.forced += static_cast<std::uint32_t>(returned_.size());
        into.unplaced += static_cast<std::uint32_t>(waiting_.size());
        into.stuck.insert(into.stuck.end(), waiting_.begin(), waiting_.end());
        if (rest_ < into.revisit) into.revisit = rest_;
    }

private:
    struct fate_of {
        std::uint32_t back_as = cluster_view::none;  // the node that has come back
        bool awaited = false;
        microseconds rest{};
    };

    std::uint32_t node_called(std::string_view id) {
        for (std::uint32_t i = 0; i < view_.nodes.size(); ++i) {
            if (view_.nodes[i].id == id) return i;
        }
        return cluster_view::none;
    }

    void wait(std::uint32_t schedule, microseconds rest) {
        waiting_.push_back({schedule, no_place::waits});
        if (rest < rest_) rest_ = rest;
    }

    void give_back(std::uint32_t schedule, std::uint32_t node) {
        if (arrived_.empty()) arrived_.resize(view_.nodes.size());
        auto& arrived = arrived_[node];
        auto const& target = view_.nodes[node];
        auto const kind = view_.schedules[schedule].kind;
        bool const room = target.load < target.capacity && arrived.size() < target.capacity - target.load;
        if (!room || !allows(view_, kind, node) || !enters_group(kind, node)) {
            left_.push_back(schedule);
            return;
        }
        arrived.push_back(schedule);
        returned_.push_back({schedule, cluster_view::none, node, change_reason::returned});
    }

    // Whether the node has nothing yet of the group that this kind is of. If so, it has from now on.
    bool enters_group(std::uint32_t kind, std::uint32_t node) {
        auto const group_of = [&](std::uint32_t k) {
            return k < view_.kinds.size() ? view_.kinds[k].group : std::string_view{};
        };
        auto const group = group_of(kind);
        if (group.empty()) return true;
        if (!view_.complete) return false;  // who knows
        if (!groups_.contains({node, {}})) {
            groups_[{node, {}}] = true;  // looked at
            for (auto const s : view_.nodes[node].schedules) groups_[{node, group_of(view_.schedules[s].kind)}] = true;
        }
        return !std::exchange(groups_[{node, group}], true);
    }

    // Makes S see what is given back where it goes, as `moving`, so that it is left alone; or, if it looks at no more than
    // that, only count it there.
    void count_returned() {
        nodes_.assign(view_.nodes.begin(), view_.nodes.end());
        if constexpr (reads_schedules<S>) schedules_.assign(view_.schedules.begin(), view_.schedules.end());
        for (std::uint32_t i = 0; i < nodes_.size(); ++i) {
            auto& arrived = arrived_[i];
            nodes_[i].load += static_cast<std::uint32_t>(arrived.size());
            for (auto const s : arrived) {
                nodes_[i].weight += view_.schedules[s].weight;
                if constexpr (reads_schedules<S>) {
                    schedules_[s].owner = i;
                    schedules_[s].moving = true;
                }
            }
            if (!reads_schedules<S> || arrived.empty()) continue;
            arrived.insert(arrived.end(), nodes_[i].schedules.begin(), nodes_[i].schedules.end());
            nodes_[i].schedules = arrived;
        }
        seen_.nodes = nodes_;
        if constexpr (reads_schedules<S>) seen_.schedules = schedules_;
    }

    cluster_view const& view_;
    cluster_view seen_;
    std::vector<fate_of> fates_;
    std::vector<index> left_;                  // orphans for S
    std::vector<late<move, S>> returned_;      // placements that give back
    std::vector<std::vector<index>> arrived_;  // what is given back, by node
    std::vector<late<unplaced_schedule, S>> waiting_;
    std::map<std::pair<index, std::string_view>, bool> groups_;  // that nodes have something of
    std::vector<typename cluster_view::node> nodes_;
    std::vector<typename cluster_view::schedule> schedules_;
    microseconds rest_ = microseconds::max();
};

template <typename S>
inline constexpr bool reads_schedules<graced<S>> = reads_schedules<S>;

}  // namespace detail

template <typename S>
void graced<S>::make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const {
    if (view.orphans.empty() || view.departures.empty()) return detail::ask(strategy, view, into);
    detail::grace_run<S> const run{view, grace, crashed_too};
    detail::ask(strategy, run.seen(), into);
    run.add_to(into);
}

}  // namespace rota

// ---- rota/strategy/measured.hpp ------------------------------------------------------------------------------------
// measured<S>: goes by the load that the nodes report themselves (report_load()), and so relieves hot spots that no
// weight foretold. S sees the weights of the schedules on a node scaled so that they add up to what their node reports.
//
// A node smooths what it reports (options::load_smoothing): here it is taken as it comes. Three things keep a jumpy or
// late report from moving anything:
//   floor      below it every load is the same, so nodes that are next to idle never move anything
//   tolerance  what differs by less stays; and once it is by half of that, enough is moved: the rest may be noise
//   settle     what has just moved is not in the reports yet, so nothing moves on the strength of old ones

// ---- rota/strategy/weighted_least_moves.hpp ------------------------------------------------------------------------
// Even sums of weights, by few moves; capacities count schedules. The optimum is NP-hard (it contains PARTITION), so:
//
//   1. orphans, the largest first, each to the lightest node with room (LPT, Graham 1969);
//   2. what has to leave a drained or overfull node, in the same way;
//   3. from the heaviest node to the lightest with room, as long as that makes the heavier of the two lighter: the
//      schedule whose weight is nearest to what one has too much and the other lacks. This ends: sorted downwards, the
//      weights of the nodes only ever get smaller (the jumps of Brucker, Hurink, Werner 1996);
//   4. where the heaviest node may still be more than 1.5 x the optimum, it is because large schedules share a node
//      while small ones fill another: they are exchanged, then 3 again. What Aggarwal, Motwani, Zhu (The load
//      rebalancing problem, SPAA 2003) reach by PARTITION for a given number of moves is reached here for any number.
//
// Not promised: fewest moves; a bound on the heaviest node where full nodes are in the way (see below).

// ---- rota/detail/node_heap.hpp -------------------------------------------------------------------------------------
// Nodes by weight, the first one on top: a binary heap that knows where each node is, so that a weight can change and a
// node can go. Among equals, the lower index is first. add, update and remove take O(log nodes), all others O(1).

namespace rota::detail {

template <typename T>
class node_heap {
public:
    explicit node_heap(bool heaviest_first) : sign_{heaviest_first ? -1.0 : 1.0} {}

    void begin(std::size_t nodes) { places_.assign(nodes, absent); }
    /// In any order, and for the heap as a whole; then order_all().
    void add_unordered(std::uint32_t node, double weight) {
        places_[node] = static_cast<std::uint32_t>(members_.size());
        members_.push_back({sign_ * weight, node});
    }
    void order_all() {
        for (auto i = members_.size() / 2; i > 0; --i) sink(static_cast<std::uint32_t>(i - 1));
    }
    void clear() {
        for (auto const& one : members_) places_[one.node] = absent;
        members_.clear();
    }

    [[nodiscard]] bool empty() const { return members_.empty(); }
    [[nodiscard]] std::uint32_t top() const { return members_.front().node; }
    [[nodiscard]] bool holds(std::uint32_t node) const { return places_[node] != absent; }

    void insert(std::uint32_t node, double weight) {
        add_unordered(node, weight);
        rise(places_[node]);
    }
    void remove(std::uint32_t node) {
        auto const place = places_[node];
        places_[node] = absent;
        auto const last = members_.back();
        members_.pop_back();
        if (last.node == node) return;
        put(place, last);
        rise(place);
        sink(places_[last.node]);
    }
    /// Its weight has changed.
    void update(std::uint32_t node, double weight) {
        members_[places_[node]].key = sign_ * weight;
        rise(places_[node]);
        sink(places_[node]);
    }

private:
    static constexpr auto absent = ~std::uint32_t{0};

    struct member {
        double key;
        std::uint32_t node;
        [[nodiscard]] bool before(member const& other) const {
            return key < other.key || (key == other.key && node < other.node);
        }
    };

    void rise(std::uint32_t place) {
        auto const risen = members_[place];
        for (; place > 0 && risen.before(members_[(place - 1) / 2]); place = (place - 1) / 2) {
            put(place, members_[(place - 1) / 2]);
        }
        put(place, risen);
    }
    void sink(std::uint32_t place) {
        auto const sunk = members_[place];
        for (auto child = 2 * place + 1; child < members_.size(); child = 2 * place + 1) {
            if (child + 1 < members_.size() && members_[child + 1].before(members_[child])) ++child;
            if (!members_[child].before(sunk)) break;
            put(place, members_[child]);
            place = child;
        }
        put(place, sunk);
    }
    void put(std::uint32_t place, member const& one) {
        members_[place] = one;
        places_[one.node] = place;
    }

    std::vector<member> members_;
    std::vector<late<std::uint32_t, T>> places_;
    double sign_;
};

}  // namespace rota::detail

namespace rota {

/// Stateless; any thread may use it. A view whose nodes are even costs O(nodes) and no memory. Otherwise nodes that have
/// to give are read and sorted, and a step costs O(log nodes + log schedules of the node); memory is 32 bytes for each
/// schedule read, twice that while it is sorted. Each exchange of step 4 looks at every node.
///
/// Balanced is: no node holds more than it may while others have room, and no move of one schedule makes the heavier of
/// two nodes lighter that are further apart than `tolerance`. A balanced view gives an empty plan, so does the result of
/// a plan, and nothing goes back and forth. An exception: a place that becomes free only by a later step of a plan may
/// be used by the next plan alone.
///
/// The heaviest node, after the plan, is at most 1.5 x as heavy as in the best of all distributions, whatever number of
/// moves that takes, hence at most 1.5 x the best that as many moves reach. This is proven (at exchange()) where no node
/// that takes part is at its capacity in the end, for any `tolerance` up to 0.5 and whatever may not move, which binds
/// the best as well. With full nodes there is no proof: the choice of who gets the last places is hard by itself, and
/// what has filled a node before stays. Among random small groups with scarce places, fewer than one in 2,000 ends
/// beyond 1.5 x the best of as many moves.
///
/// The certificate: `bound` is proven: no plan that relieves drained and overfull nodes, and gets all weights into the
/// range that this one gets them into, has fewer voluntary moves. For heavy nodes have to lose their largest schedules
/// until they are within it, and light ones need so many of the largest there are.
/// Spread is by weight. `imbalance` is the largest distance of a node from where this plan brings it, once orphans are
/// placed, as a fraction of the mean weight.
///
/// Orphans without a place are the lightest ones. Of a view that is not complete nobody's weight is known: all wait.
/// Weights that are not above 0 count as 0. Equal weights are better served by least_moves, which is exact.
struct weighted_least_moves {
    double tolerance = 0.05;  ///< nodes are even within this fraction of the mean weight; 0..0.5

    template <typename T = void>  // see late.hpp
    void make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const;
};

namespace detail {

// Beyond these, sums lose what they are made of.
[[nodiscard]] inline double sane_weight(double weight) noexcept {
    return weight > 0 ? (weight < 1e200 ? weight : 1e200) : 0;
}

// That of a node, from its schedules if what the view says is no number.
template <typename View, typename Node>
double node_weight(View const& view, Node const& node) {
    if (node.weight >= 0 && node.weight <= 1e300) return node.weight;
    double sum = 0;
    for (auto const s : node.schedules) sum += sane_weight(view.schedules[s].weight);
    return sum;
}

// What nodes alone tell, without a look at any schedule.
struct weight_totals {
    double heaviest = 0;
    double lightest = 0;
    double lightest_with_room = 0;
    double sum = 0;  // of the nodes that take part: those that are not drained
    std::uint32_t members = 0;
    std::uint64_t room = 0;
    bool overfull = false;
};

template <typename View>
weight_totals weight_totals_of(View const& view) {
    weight_totals found;
    bool first = true;
    for (auto const& node : view.nodes) {
        auto const weight = node_weight(view, node);
        if (first || weight > found.heaviest) found.heaviest = weight;
        if (first || weight < found.lightest) found.lightest = weight;
        first = false;
        if (node.load > node.capacity) found.overfull = true;
        if (node.load < node.capacity) {
            if (found.room == 0 || weight < found.lightest_with_room) found.lightest_with_room = weight;
            found.room += node.capacity - node.load;
        }
        if (node.capacity == 0) continue;
        found.sum += weight;
        ++found.members;
    }
    return found;
}

template <typename T>
class weighted_run {
    using cluster_view = late<rota::cluster_view, T>;
    using plan = late<rota::plan, T>;

public:
    weighted_run(cluster_view const& view, plan& into, double tolerance)
        : view_{view},
          plan_{into},
          tolerance_{tolerance} {
        auto const count = view.nodes.size();
        weights_.reserve(count);
        counts_.reserve(count);
        for (auto const& node : view.nodes) {
            weights_.push_back(node_weight(view, node));
            counts_.push_back(node.load);
        }
        light_.begin(count);
        heavy_.begin(count);
        for (std::uint32_t i = 0; i < count; ++i) {
            if (counts_[i] < capacity(i)) light_.add_unordered(i, weights_[i]);
        }
        light_.order_all();
        peaks_ = counts_;
        lists_.resize(count);
        relieved_.resize(count);
    }

    void run() {
        place_orphans();
        auto const placed = weights_;
        weigh(true);
        relieve();
        weigh(false);
        do {
            even_out();
        } while (exchange());
        write(placed);
    }

private:
    static constexpr auto none = cluster_view::none;

    // A change of hands. What is taken on from where it was brought is brought there in the first place.
    struct change {
        double weight;
        std::uint32_t schedule;
        std::uint32_t from;
        std::uint32_t to;
        std::uint32_t next;  // of those that came to the same node since it was last sorted
        change_reason why;
    };
    // A schedule of a sorted node, the heaviest first. Those that are gone lead to ones that are not.
    struct place {
        double weight;
        std::uint32_t schedule;
        std::uint32_t entry;    // that brought it; none: it was here before
        std::uint32_t lighter;  // itself while it is here
        std::uint32_t heavier;
    };
    struct sorted_list {
        std::uint32_t begin = 0;
        std::uint32_t end = 0;
        std::uint32_t arrived = none;  // entry, the first of those that are not sorted in
        bool read = false;
    };
    struct weighed {
        double weight;
        std::uint32_t schedule;
        std::uint32_t node;
    };

    static std::uint64_t descending(double weight) { return ~std::bit_cast<std::uint64_t>(weight); }
    void sort_descending(std::vector<weighed>& all) {
        radix_sort(all, 0, spare_weighed_, [](weighed const& one) { return descending(one.weight); });
    }
    [[nodiscard]] double weight_of(std::uint32_t schedule) const {
        return sane_weight(view_.schedules[schedule].weight);
    }
    [[nodiscard]] std::uint32_t capacity(std::uint32_t node) const { return view_.nodes[node].capacity; }
    // Differences of weights below this are noise of sums.
    [[nodiscard]] static double noise(double weight) { return 1e-9 * weight; }

    // The mean of the nodes that take part, of which there is one at least: there is room. What drained nodes hold is
    // to be theirs, and counts until it is clear that it stays.
    void weigh(bool with_drained) {
        mean_ = 0;
        members_ = 0;
        for (std::uint32_t i = 0; i < weights_.size(); ++i) {
            if (capacity(i) > 0) ++members_;
            if (capacity(i) > 0 || with_drained) mean_ += weights_[i];
        }
        mean_ /= members_;
    }

    // ---- the first two steps

    void place_orphans() {
        std::vector<weighed> all;
        all.reserve(view_.orphans.size());
        entries_.reserve(view_.orphans.size());
        for (auto const s : view_.orphans) all.push_back({weight_of(s), s, none});
        sort_descending(all);
        for (auto const& one : all) {
            if (light_.empty()) {
                ++plan_.unplaced;
                plan_.stuck.push_back({one.schedule, no_place::no_room});
            } else {
                bring(one, light_.top(), change_reason::placed);
            }
        }
    }

    // All that has to leave, together: what is small is not to take the few places that something large needs.
    void relieve() {
        std::vector<weighed> all;
        for (std::uint32_t i = 0; i < counts_.size(); ++i) {
            if (counts_[i] <= capacity(i)) continue;
            if (capacity(i) > 0) {
                choose_excess(i, all);
                continue;
            }
            for (auto const s : view_.nodes[i].schedules) {
                if (view_.may_move(s)) all.push_back({weight_of(s), s, i});
            }
            lists_[i].read = true;  // what it still holds will stay
        }
        sort_descending(all);
        for (auto const& one : all) {
            if (light_.empty()) return;
            ++relieved_[one.node];
            bring(one, light_.top(), view_.nodes[one.node].draining ? change_reason::drained : change_reason::overfull);
        }
    }

    // Of a node that keeps some: so many as have to go, together as heavy as what it has over the mean.
    void choose_excess(std::uint32_t node, std::vector<weighed>& chosen) {
        read(node);
        auto surplus = weights_[node] - mean_;
        for (auto excess = counts_[node] - capacity(node); excess > 0; --excess) {
            auto const taken = nearest(node, surplus > 0 ? surplus / excess : 0, 1e300);
            if (taken == none) return;
            chosen.push_back({pool_[taken].weight, pool_[taken].schedule, node});
            surplus -= pool_[taken].weight;
            take_out(taken);
        }
    }

    void bring(weighed const& one, std::uint32_t to, change_reason why) {
        entries_.push_back({one.weight, one.schedule, one.node, to, none, why});
        arrive(static_cast<std::uint32_t>(entries_.size() - 1));
        if (one.node != none) leave(one.node, one.weight);
    }

    // ---- evening out

    void even_out() {
        heavy_.clear();
        level_weight_ = 0;
        level_members_ = 0;
        apart_.assign(weights_.size(), true);
        for (std::uint32_t i = 0; i < weights_.size(); ++i) {
            heavy_.add_unordered(i, weights_[i]);
            if (capacity(i) == 0 || (counts_[i] >= capacity(i) && weights_[i] < mean_)) continue;
            apart_[i] = false;
            level_weight_ += weights_[i];
            ++level_members_;
        }
        heavy_.order_all();
        while (!heavy_.empty() && !light_.empty()) {
            auto const from = heavy_.top();
            auto const to = light_.top();
            auto const distance = weights_[from] - weights_[to];
            if (distance <= tolerance_ * mean_) return;
            read(from);
            auto const taken = nearest(from, wanted(from, to, distance), distance - noise(weights_[from]), to);
            if (taken == none) {
                // The lightest only ever gets heavier, so that there will be nothing later either.
                heavy_.remove(from);
                set_apart(from);
            } else {
                shift(from, taken, to, change_reason::rebalanced);
            }
        }
    }

    // What one has over the level of those that can still be evened out, and the other lacks; not less than what nobody
    // minds. Where both are on the same side of that level, half of what is between them.
    [[nodiscard]] double wanted(std::uint32_t from, std::uint32_t to, double distance) const {
        auto const level = level_members_ > 0 ? level_weight_ / level_members_ : 0;
        auto const surplus = weights_[from] - level;
        auto const shortage = level - weights_[to];
        auto const both = surplus < shortage ? surplus : shortage;
        auto const half = distance / 2;
        if (both <= 0) return half;
        auto const least = tolerance_ * mean_ / 2 < half ? tolerance_ * mean_ / 2 : half;
        return both > least ? both : least;
    }

    // It no longer tells how high the others can be: it stays above, or below.
    void set_apart(std::uint32_t node) {
        if (apart_[node]) return;
        apart_[node] = true;
        level_weight_ -= weights_[node];
        --level_members_;
    }

    // ---- exchange

    // Where the heaviest node may be more than 1.5 x the optimum: takes one of its schedules to a node that first gives
    // away what stands against that. Whoever is touched ends below the heaviest, so this comes to an end. False: there
    // is nothing to do.
    //
    // Why this suffices if no node is full: let C be the heaviest weight and suppose the optimum to be below 2C/3. After
    // even_out() the others have at least C - p each, p the lightest that may move from the heaviest; so p > C/3, as
    // the mean is no more than the optimum. Call large what is over C/3, be it one schedule or all that a node cannot
    // give. The optimum has at most one large thing on each node, and the heaviest has two: so some node has none. It
    // gives small ones until there is place for p below C, each to the lightest node that is left, which is below 2C/3.
    bool exchange() {
        std::uint32_t from = none;
        double sum = 0;
        for (std::uint32_t i = 0; i < weights_.size(); ++i) {
            if (capacity(i) == 0) continue;
            sum += weights_[i];
            if (from == none || weights_[i] > weights_[from]) from = i;
        }
        auto const most = weights_[from];
        if (light_.empty() || most <= 1.5 * sum / members_) return false;
        read(from);
        auto const first = here_or_lighter(from, lists_[from].begin);
        if (first == none) return false;
        double staying = most;
        for (auto s = first; s != none; s = here_or_lighter(from, s + 1)) staying -= pool_[s].weight;
        auto const largest = pool_[first].weight > staying ? pool_[first].weight : staying;
        if (most <= 1.5 * largest) return false;

        // As low as is called for, so that there is no second exchange for the same node; else at least lower.
        auto const mean = sum / members_;
        return exchange(from, 1.5 * (largest > mean ? largest : mean)) || exchange(from, most - noise(most));
    }

    // So that whoever is touched ends below the limit.
    bool exchange(std::uint32_t from, double limit) {
        struct way {
            std::uint64_t cost;
            std::uint32_t to;
        };
        std::vector<way> ways;
        for (std::uint32_t to = 0; to < weights_.size(); ++to) {
            if (to == from || capacity(to) == 0) continue;
            if (auto const cost = prepare(from, to, limit)) ways.push_back({cost, to});
        }
        std::vector<way> spare;
        radix_sort(ways, 0, spare, [](way const& one) { return one.cost; });
        for (auto const& one : ways) {
            prepare(from, one.to, limit);
            if (!find_places(from, one.to, limit)) continue;
            for (std::size_t i = 0; i < out_.size(); ++i) shift(one.to, out_[i], places_[i], change_reason::rebalanced);
            shift(from, in_, one.to, change_reason::rebalanced);
            return true;
        }
        return false;
    }

    // Sets in_, what `to` is to get, and out_, what it has to give first. The number of moves; 0: there is no way.
    std::uint64_t prepare(std::uint32_t from, std::uint32_t to, double limit) {
        read(to);
        out_.clear();
        if (counts_[to] >= capacity(to)) {
            // One for one, but only what this plan itself has put there: half of the distance is ideal.
            auto out = here_or_heavier(to, lists_[to].end);
            while (out != none && pool_[out].entry == none) out = here_or_heavier(to, out);
            if (out == none) return 0;
            auto const given = pool_[out].weight;
            auto const distance = limit - weights_[to];
            in_ = nearest(from, given + distance / 2, given + distance);
            if (in_ == none || pool_[in_].weight <= given + noise(limit)) return 0;
            out_.push_back(out);
            return 2;
        }
        in_ = here_or_heavier(from, lists_[from].end);
        auto left = weights_[to] + pool_[in_].weight;
        auto slot = here_or_lighter(to, lists_[to].begin);
        for (; slot != none && left >= limit; slot = here_or_lighter(to, slot + 1)) {
            if (pool_[slot].weight >= pool_[in_].weight) continue;
            out_.push_back(slot);
            left -= pool_[slot].weight;
        }
        if (left >= limit) return 0;
        return out_.size() + 1;
    }

    // Where the schedules of out_ may go, one after the other, so that nobody gets as heavy as `limit`.
    bool find_places(std::uint32_t from, std::uint32_t to, double limit) {
        places_.clear();
        auto light = light_;
        auto weights = weights_;
        auto counts = counts_;
        auto peaks = peaks_;
        if (light.holds(to)) light.remove(to);
        weights[from] -= pool_[in_].weight;
        if (light.holds(from)) light.update(from, weights[from]);
        for (auto const out : out_) {
            auto const& most = pool_[out].entry == none ? counts : peaks;
            while (!light.empty() && most[light.top()] >= capacity(light.top())) light.remove(light.top());
            if (light.empty() || weights[light.top()] + pool_[out].weight >= limit) return false;
            auto const found = light.top();
            places_.push_back(found);
            weights[found] += pool_[out].weight;
            light.update(found, weights[found]);
            ++counts[found];
            if (pool_[out].entry != none || counts[found] > peaks[found]) ++peaks[found];
            --counts[to];
        }
        return (pool_[in_].entry == none ? counts[to] : peaks[to]) < capacity(to);
    }

    // ---- the state of nodes

    // Whether the schedule may go there. What the plan has moved already is brought there in the first place, so that
    // there has to have been room for it all the while.
    [[nodiscard]] bool may_go(place const& moved, std::uint32_t to) const {
        return counts_[to] < capacity(to) && (moved.entry == none || peaks_[to] < capacity(to));
    }

    // A schedule of a node that was read goes to another.
    void shift(std::uint32_t from, std::uint32_t taken, std::uint32_t to, change_reason why) {
        auto const moved = pool_[taken];
        take_out(taken);
        auto number = moved.entry;
        if (number == none) {
            number = static_cast<std::uint32_t>(entries_.size());
            entries_.push_back({moved.weight, moved.schedule, from, to, none, why});
        } else {
            entries_[number].to = to;
            ++peaks_[to];
        }
        arrive(number);
        leave(from, moved.weight);
    }

    void take_out(std::uint32_t taken) {
        pool_[taken].lighter = taken + 1;
        pool_[taken].heavier = taken - 1;
    }

    void arrive(std::uint32_t number) {
        auto& entry = entries_[number];
        auto const to = entry.to;
        entry.next = lists_[to].arrived;
        lists_[to].arrived = number;
        weights_[to] += entry.weight;
        ++counts_[to];
        if (counts_[to] > peaks_[to]) peaks_[to] = counts_[to];
        ROTA_ASSERT(counts_[to] <= capacity(to));
        if (!apart_.empty() && !apart_[to]) level_weight_ += entry.weight;
        if (counts_[to] < capacity(to)) {
            light_.update(to, weights_[to]);
        } else {
            light_.remove(to);
            if (!apart_.empty() && level_members_ > 0 && weights_[to] * level_members_ < level_weight_) set_apart(to);
        }
        if (apart_.empty()) return;
        if (heavy_.holds(to)) {
            heavy_.update(to, weights_[to]);
        } else {
            heavy_.insert(to, weights_[to]);
        }
    }

    void leave(std::uint32_t from, double weight) {
        weights_[from] = weights_[from] > weight ? weights_[from] - weight : 0;
        --counts_[from];
        if (!apart_.empty() && !apart_[from]) level_weight_ -= weight;
        if (light_.holds(from)) {
            light_.update(from, weights_[from]);
        } else if (counts_[from] < capacity(from)) {
            light_.insert(from, weights_[from]);
        }
        if (heavy_.holds(from)) heavy_.update(from, weights_[from]);
    }

    // Sorts what the node holds and may give, unless nothing has come since it was last sorted.
    void read(std::uint32_t node) {
        auto& list = lists_[node];
        if (list.read && list.arrived == none) return;
        auto const begin = static_cast<std::uint32_t>(pool_.size());
        if (list.read) {
            for (auto s = here_or_lighter(node, list.begin); s != none; s = here_or_lighter(node, s + 1)) {
                auto const kept = pool_[s];
                pool_.push_back(kept);
            }
        } else {
            for (auto const s : view_.nodes[node].schedules) {
                if (view_.may_move(s)) pool_.push_back({weight_of(s), s, none, 0, 0});
            }
        }
        for (; list.arrived != none; list.arrived = entries_[list.arrived].next) {
            auto const& entry = entries_[list.arrived];
            pool_.push_back({entry.weight, entry.schedule, list.arrived, 0, 0});
        }
        radix_sort(pool_, begin, spare_places_, [](place const& one) { return descending(one.weight); });
        list.begin = begin;
        list.end = static_cast<std::uint32_t>(pool_.size());
        list.read = true;
        for (auto i = list.begin; i < list.end; ++i) pool_[i].lighter = pool_[i].heavier = i;
    }

    // The first one that is here, from `at` on; the way there is shortened for those that come after.
    std::uint32_t here_or_lighter(std::uint32_t node, std::uint32_t at) {
        auto const end = lists_[node].end;
        auto found = at;
        while (found < end && pool_[found].lighter != found) found = pool_[found].lighter;
        while (at < end && at != found) {
            auto const next = pool_[at].lighter;
            pool_[at].lighter = found;
            at = next;
        }
        return found < end ? found : none;
    }
    // The same the other way, from before `at` on.
    std::uint32_t here_or_heavier(std::uint32_t node, std::uint32_t at) {
        auto const begin = lists_[node].begin;
        if (at == begin) return none;
        auto found = at - 1;
        while (found != none && found >= begin && pool_[found].heavier != found) found = pool_[found].heavier;
        for (--at; at != none && at >= begin && at != found;) {
            auto const next = pool_[at].heavier;
            pool_[at].heavier = found;
            at = next;
        }
        return found != none && found >= begin ? found : none;
    }

    // Of the schedules of a node lighter than `limit`, the one whose weight is nearest to `weight`; none: there is none
    // (but for those without weight, which even out nothing). With `to`, only such as may go there.
    std::uint32_t nearest(std::uint32_t node, double weight, double limit, std::uint32_t to = none) {
        auto low = lists_[node].begin;
        auto high = lists_[node].end;
        while (low < high) {
            auto const middle = low + (high - low) / 2;
            if (pool_[middle].weight > weight) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        auto const barred = [&](std::uint32_t s) { return to != none && !may_go(pool_[s], to); };
        auto below = here_or_lighter(node, low);
        while (below != none && (barred(below) || pool_[below].weight >= limit))
            below = here_or_lighter(node, below + 1);
        auto above = here_or_heavier(node, low);
        while (above != none && barred(above)) above = here_or_heavier(node, above);
        bool const above_fits = above != none && pool_[above].weight < limit;
        bool const below_fits = below != none && (to == none || pool_[below].weight > noise(weights_[node]));
        if (!below_fits) return above_fits ? above : none;
        if (!above_fits) return below;
        return pool_[above].weight - weight < weight - pool_[below].weight ? above : below;
    }

    // ---- the plan

    void write(std::vector<late<double, T>> const& placed) {
        plan_.moves.reserve(entries_.size());
        for (auto const& entry : entries_) {
            if (entry.to == entry.from) continue;  // it has come back
            plan_.moves.push_back({entry.schedule, entry.from, entry.to, entry.why});
            if (entry.from == none) ++plan_.forced;
        }
        plan_.voluntary = static_cast<std::uint32_t>(plan_.moves.size()) - plan_.forced;
        plan_.interchangeable = true;
        auto heaviest = weights_.front();
        auto lightest = weights_.front();
        auto lightest_member = 1e300;
        double farthest = 0;
        for (std::uint32_t i = 0; i < weights_.size(); ++i) {
            if (weights_[i] > heaviest) heaviest = weights_[i];
            if (weights_[i] < lightest) lightest = weights_[i];
            if (weights_[i] < lightest_member && capacity(i) > 0) lightest_member = weights_[i];
            auto const off = weights_[i] > placed[i] ? weights_[i] - placed[i] : placed[i] - weights_[i];
            if (off > farthest) farthest = off;
        }
        plan_.spread_after = heaviest - lightest;
        plan_.imbalance = plan_.voluntary > 0 && mean_ > 0 ? farthest / mean_ : 0;
        if (plan_.voluntary > 0) plan_.bound = fewest_to(heaviest, lightest_member);
        ROTA_ASSERT(plan_.bound <= plan_.voluntary);
    }

    // What heavy nodes have to give, or light ones have to get, for the weights to be within these.
    std::uint32_t fewest_to(double heaviest, double lightest) {
        std::uint32_t by_weight = 0;
        std::uint32_t by_count = 0;
        std::uint32_t by_both = 0;
        for (std::uint32_t i = 0; i < weights_.size(); ++i) {
            auto const own = fewest_from(i, heaviest);
            by_weight += own;
            by_count += relieved_[i];
            by_both += own > relieved_[i] ? own : relieved_[i];
        }
        // Which of several overfull nodes got the last places was free to choose.
        auto const given = !light_.empty() ? by_both : by_weight > by_count ? by_weight : by_count;
        auto const gotten = fewest_into(lightest);
        return given > gotten ? given : gotten;
    }

    // Each brings no more than the heaviest that may move; orphans come for nothing.
    std::uint32_t fewest_into(double lightest) {
        auto const limit = lightest - noise(lightest);
        auto const shortage = [&](auto const& node) {
            return node.capacity > 0 ? limit - node_weight(view_, node) : 0;
        };
        bool any = false;
        for (auto const& node : view_.nodes) any = any || shortage(node) > 0;
        if (!any) return 0;
        double largest = 0;
        for (auto const& one : entries_) largest = one.weight > largest ? one.weight : largest;
        for (auto const& node : view_.nodes) {
            for (auto const s : node.schedules) {
                auto const weight = weight_of(s);
                if (weight > largest && view_.may_move(s)) largest = weight;
            }
        }
        std::uint64_t wanted = 0;
        for (auto const& node : view_.nodes) {
            if (!(shortage(node) > 0)) continue;
            auto const steps = shortage(node) / largest;
            auto const whole = static_cast<std::uint32_t>(steps < 4e9 ? steps : 0);
            wanted += whole < steps ? whole + 1 : whole;
        }
        return wanted > plan_.forced ? static_cast<std::uint32_t>(wanted - plan_.forced) : 0;
    }

    std::uint32_t fewest_from(std::uint32_t node, double heaviest) {
        auto left = node_weight(view_, view_.nodes[node]);
        auto const limit = heaviest + noise(heaviest);
        if (left <= limit) return 0;
        std::vector<weighed> own;
        for (auto const s : view_.nodes[node].schedules) {
            if (view_.may_move(s)) own.push_back({weight_of(s), s, node});
        }
        sort_descending(own);
        std::uint32_t steps = 0;
        for (; steps < own.size() && left > limit; ++steps) left -= own[steps].weight;
        return steps;
    }

    cluster_view const& view_;
    plan& plan_;
    double tolerance_ = 0;
    double mean_ = 0;
    std::uint32_t members_ = 0;
    std::vector<late<double, T>> weights_;
    std::vector<late<std::uint32_t, T>> counts_;
    std::vector<late<std::uint32_t, T>> peaks_;     // most that any prefix of the plan brings to a node
    std::vector<late<std::uint32_t, T>> relieved_;  // moves that had to be, by the node that gave
    std::vector<late<bool, T>> apart_;              // nodes that do not count for the level
    double level_weight_ = 0;
    std::uint32_t level_members_ = 0;
    node_heap<T> light_{false};  // those with room
    node_heap<T> heavy_{true};   // those that may have something to give
    std::vector<change> entries_;
    std::vector<sorted_list> lists_;
    std::vector<place> pool_;
    std::vector<place> spare_places_;
    std::vector<weighed> spare_weighed_;
    std::uint32_t in_ = none;
    std::vector<late<std::uint32_t, T>> out_;
    std::vector<late<std::uint32_t, T>> places_;
};

}  // namespace detail

template <typename T>
void weighted_least_moves::make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const {
    into.clear();
    if (!view.complete) {
        into.unplaced = static_cast<std::uint32_t>(view.orphans.size());
        for (auto const s : view.orphans) into.stuck.push_back({s, no_place::waits});
        return;
    }
    auto const totals = detail::weight_totals_of(view);
    auto const within = tolerance > 0 ? (tolerance < 0.5 ? tolerance : 0.5) : 0;
    into.spread_before = into.spread_after = totals.heaviest - totals.lightest;
    into.imbalance = 0;
    auto const mean = totals.members > 0 ? totals.sum / totals.members : 0;
    bool const even = totals.heaviest - totals.lightest_with_room <= within * mean;
    if (totals.room == 0 || (view.orphans.empty() && !totals.overfull && even)) {
        into.unplaced = static_cast<std::uint32_t>(view.orphans.size());
        for (auto const s : view.orphans) into.stuck.push_back({s, no_place::no_room});
        return;
    }
    detail::weighted_run<T>{view, into, within}.run();
}

}  // namespace rota

namespace rota {

/// S should heed weights. Only moves that even out are held back: orphans are placed, and drained and overfull nodes
/// relieved, at once, by weights as measured. Without any report the plan is S's own, by the weights as they were given.
///
/// A node that reports nothing (or what is negative, infinite or no number), what is on its way or has just arrived, and
/// orphans have their given weights, in proportion: times the mean of what the others report per weight. A node without
/// schedules is taken by its report, whatever causes it.
///
/// Spread, `bound` and `imbalance` are S's, in the unit of the reports; fewer moves than `bound` may be enough. Time and memory: S's own, and O(schedules) unless
/// there is nothing to place and the reports are even within the tolerance, which takes O(nodes).
template <typename S = weighted_least_moves>
struct measured {
    using inner = S;
    static constexpr auto layer = strategy_layer::pacing;

    double floor = 1.0;      ///< in the unit of the reports: below it a load counts as if it were this
    double tolerance = 0.2;  ///< even out if a node is off its target by more than this fraction of the mean
    /// How long a report takes to show what has changed hands: nothing is evened out for so long after the group's
    /// latest move, nor while more than `tolerance` of what some node has is on its way to it, or newer than this.
    microseconds settle = std::chrono::seconds{30};
    S strategy{};

    void make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const;

    static_assert(detail::nests<measured, layer, S>());
};

namespace detail {

inline constexpr double most_reported = 1e100;  // beyond this it is no measurement, and sums are in danger

/// The load that a node reports; -1: none that makes sense.
template <typename Node>
double report_of(Node const& node) {
    return node.reported >= 0 && node.reported <= most_reported ? node.reported : -1;
}

/// A weight that sums can bear.
inline double usable_weight(double weight) {
    return weight > 0 ? (weight < most_reported ? weight : most_reported) : 0;
}

inline double at_least(double load, double floor) { return load > floor ? load : floor; }

/// What S sees: weights as measured.
template <typename S>
class measured_view {
    using cluster_view = late<rota::cluster_view, S>;

public:
    measured_view(cluster_view const& view, double floor, microseconds settle)
        : view_{view},
          floor_{floor > 0 ? floor : 0},
          settle_{settle} {
        double load = 0;
        double weight = 0;
        for (auto const& node : view.nodes) {
            auto const report = report_of(node);
            if (report < 0) continue;
            ++reports_;
            load += at_least(report, floor_);
            weight += usable_weight(node.weight);
        }
        per_weight_ = weight > 0 ? load / weight : 1;
    }

    [[nodiscard]] bool any_report() const { return reports_ > 0; }
    [[nodiscard]] bool any_overfull() const {
        for (auto const& node : view_.nodes) {
            if (node.load > node.capacity) return true;
        }
        return false;
    }

    /// How far the farthest node is from the mean, as a fraction of it, and the spread, by reports alone: O(nodes).
    struct evenness {
        double imbalance = 0;
        double spread = 0;
    };
    [[nodiscard]] evenness by_reports() const {
        double sum = 0;
        double most = 0;
        double least = most_reported;
        std::size_t count = 0;
        for (auto const& node : view_.nodes) {
            if (node.draining || node.capacity == 0) continue;
            auto const report = report_of(node);
            auto const load = at_least(report >= 0 ? report : usable_weight(node.weight) * per_weight_, floor_);
            sum += load;
            ++count;
            if (load > most) most = load;
            if (load < least) least = load;
        }
        if (count == 0 || sum <= 0) return {};
        auto const mean = sum / static_cast<double>(count);
        auto const above = most - mean;
        auto const below = mean - least;
        return {(above > below ? above : below) / mean, most - least};
    }

    /// Makes seen(): O(schedules). False: no report can be set against any weight.
    bool weigh(double tolerance) {
        tally();
        double load = 0;
        double weight = 0;
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
            if (report_of(nodes_[i]) < 0 || !counts(settled_[i])) continue;
            load += at_least(report_of(nodes_[i]), floor_);
            weight += settled_[i];
        }
        if (weight <= 0) return false;
        per_weight_ = load / weight;

        for (std::uint32_t i = 0; i < nodes_.size(); ++i) weigh_node(i, tolerance);
        for (auto const s : view_.orphans) schedules_[s].weight = usable_weight(schedules_[s].weight) * per_weight_;
        seen_ = view_;
        seen_.nodes = nodes_;
        seen_.schedules = schedules_;
        return true;
    }

    [[nodiscard]] cluster_view const& seen() const { return seen_; }
    /// When all that has arrived is in the reports, if nothing else happens; 0: it is.
    [[nodiscard]] microseconds until_all_settled() const { return newest_; }
    /// For how long the reports will be too old to go by; 0: they are not.
    [[nodiscard]] microseconds unsettled() const {
        auto rest = unsettled_;
        if (view_.now > 0 && !view_.recent_moves.empty()) {
            auto const left = rest_of(view_.recent_moves.back());
            if (left > rest) rest = left;
        }
        return rest;
    }

private:
    static bool counts(double weight) { return weight > 1e-100; }

    [[nodiscard]] microseconds rest_of(fencing_token since) const {
        if (view_.now == 0 || since == 0 || settle_ <= microseconds{0}) return microseconds{0};
        auto const age = view_.now > since ? view_.now - since : 0;  // (tokens may be ahead of the clock)
        auto const needed = static_cast<fencing_token>(settle_.count());
        return microseconds{age < needed ? static_cast<std::int64_t>(needed - age) : 0};
    }

    [[nodiscard]] bool is_new(std::uint32_t s) const {
        return view_.schedules[s].moving || rest_of(view_.schedules[s].generation) > microseconds{0};
    }

    void tally() {
        nodes_.assign(view_.nodes.begin(), view_.nodes.end());
        schedules_.assign(view_.schedules.begin(), view_.schedules.end());
        settled_.assign(nodes_.size(), 0);
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
            for (auto const s : nodes_[i].schedules) {
                if (!is_new(s)) settled_[i] += usable_weight(schedules_[s].weight);
                auto const rest = rest_of(schedules_[s].generation);
                if (rest > newest_) newest_ = rest;
            }
        }
    }

    void weigh_node(std::uint32_t i, double tolerance) {
        auto& node = nodes_[i];
        auto const report = report_of(node);
        if (node.schedules.empty()) {
            node.weight = at_least(report, floor_);
            return;
        }
        auto scale = per_weight_;
        if (counts(settled_[i]))
            scale = at_least(report >= 0 ? report : settled_[i] * per_weight_, floor_) / settled_[i];
        double old_ones = 0;
        double new_ones = 0;
        microseconds rest{};
        for (auto const s : node.schedules) {
            auto& weight = schedules_[s].weight;
            bool const arriving = is_new(s);
            weight = usable_weight(weight) * (arriving ? per_weight_ : scale);
            (arriving ? new_ones : old_ones) += weight;
            if (!arriving) continue;
            auto const own = view_.schedules[s].moving ? settle_ : rest_of(view_.schedules[s].generation);
            if (own > rest) rest = own;
        }
        node.weight = old_ones + new_ones;
        if (new_ones > tolerance * node.weight && rest > unsettled_) unsettled_ = rest;
    }

    cluster_view const& view_;
    cluster_view seen_;
    double floor_;
    microseconds settle_;
    std::size_t reports_ = 0;
    double per_weight_ = 1;  // reported load per weight, in the mean
    microseconds unsettled_{};
    microseconds newest_{};
    std::vector<typename cluster_view::node> nodes_;
    std::vector<typename cluster_view::schedule> schedules_;
    std::vector<late<double, S>> settled_;  // weight on each node that its report shows
};

/// Whether all nodes are within that fraction of the mean weight after the first `steps` steps.
template <typename View, typename Plan>
bool even_after(View const& view, Plan const& p, std::size_t steps, double within) {
    std::vector<double> load;
    load.reserve(view.nodes.size());
    for (auto const& node : view.nodes) load.push_back(node.weight);
    for (std::size_t i = 0; i < steps; ++i) {
        auto const weight = view.schedules[p.moves[i].schedule].weight;
        load[p.moves[i].to] += weight;
        if (!p.moves[i].forced()) load[p.moves[i].from] -= weight;
    }
    double sum = 0;
    std::size_t count = 0;
    for (std::size_t n = 0; n < load.size(); ++n) {
        if (view.nodes[n].draining || view.nodes[n].capacity == 0) continue;
        sum += load[n];
        ++count;
    }
    auto const mean = sum / static_cast<double>(count);
    for (std::size_t n = 0; n < load.size(); ++n) {
        if (view.nodes[n].draining || view.nodes[n].capacity == 0) continue;
        auto const off = load[n] - mean;
        if (off > within * mean || -off > within * mean) return false;
    }
    return true;
}

/// The fewest steps, of at least `needed`, after which that is so; all of them if it never is. Each step of a plan makes
/// the group more even, so halving finds it.
template <typename View, typename Plan>
std::size_t steps_until_even(View const& view, Plan const& p, std::size_t needed, double within) {
    auto most = p.moves.size();
    while (needed < most) {
        auto const middle = needed + (most - needed) / 2;
        if (even_after(view, p, middle, within)) {
            most = middle;
        } else {
            needed = middle + 1;
        }
    }
    return most;
}

}  // namespace detail

template <typename S>
void measured<S>::make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const {
    detail::measured_view<S> weights{view, floor, settle};
    if (!view.complete || !weights.any_report()) return detail::ask(strategy, view, into);

    auto const even = weights.by_reports();
    if (view.orphans.empty() && even.imbalance <= tolerance) {
        into.clear();
        if (!std::is_same_v<S, weighted_least_moves> || weights.any_overfull()) detail::ask(strategy, view, into);
        if (detail::needed_steps(into) == 0) {
            into.moves.clear();
            into.voluntary = into.bound = 0;
            into.spread_before = into.spread_after = even.spread;
            into.imbalance = even.imbalance;
            return;
        }
    }
    bool const weighed = weights.weigh(tolerance);
    detail::ask(strategy, weighed ? weights.seen() : view, into);
    auto const look_again_in = [&](microseconds rest) {
        if (rest > microseconds{0} && rest < into.revisit) into.revisit = rest;
    };
    auto const needed = detail::needed_steps(into);
    if (!weighed || needed == into.moves.size()) return look_again_in(weights.until_all_settled());

    if (!(into.imbalance >= 0)) into.imbalance = even.imbalance;
    bool const worthwhile = into.imbalance > tolerance;
    auto const rest = weights.unsettled();
    auto kept = needed;
    if (worthwhile && rest <= microseconds{0}) {
        kept = detail::steps_until_even(weights.seen(), into, needed, tolerance / 2);
    } else {
        look_again_in(worthwhile ? rest : weights.until_all_settled());
    }
    detail::cut_plan(weights.seen(), into, kept);
}

}  // namespace rota

// ---- rota/strategy/thresholded.hpp ---------------------------------------------------------------------------------
// thresholded<S>: evens out only what is worth it. Moves that merely even out wait until some node is off its target by
// more than a fraction of the mean load, so loads that jitter below that move nothing, ever.
//
// It is options::rebalance_threshold, but measured as S measures: by weight, if S balances by weight, from the target
// that S has for each node. (Where a strategy does not state its plan::imbalance, it is counted in schedules.)

namespace rota {

/// Placements of orphans, and moves that have to be (drained and overfull nodes, rules), never wait. Time and memory:
/// S's own.
template <typename S = least_moves>
struct thresholded {
    using inner = S;
    static constexpr auto layer = strategy_layer::pacing;

    /// Even out if the farthest node is farther from its target than this fraction of the mean load. 0: whenever S
    /// would; 0.2 of a mean of 10: from a distance of 3 on. What is no number lets nothing move.
    double threshold = 0.2;
    S strategy{};

    void make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const;

    static_assert(detail::nests<thresholded, layer, S>());
};

namespace detail {

template <typename S>
inline constexpr bool reads_schedules<thresholded<S>> = reads_schedules<S>;

}  // namespace detail

template <typename S>
void thresholded<S>::make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const {
    detail::ask(strategy, view, into);
    auto const needed = detail::needed_steps(into);
    if (needed == into.moves.size()) return;
    bool const stated = into.imbalance >= 0;  // not so for what is no number
    if (!stated) into.imbalance = imbalance(view);
    if (!(into.imbalance > threshold)) detail::cut_plan(view, into, needed);
}

}  // namespace rota

// ---- rota/strategy/zoned.hpp ---------------------------------------------------------------------------------------
// zoned<S>: spreads the schedules over zones (what fails together: racks, data centres) and lets S plan inside each. So
// the loss of any one zone leaves at most its even share to be placed anew: the total over the number of zones, rounded
// up, where capacities do not stand against that.
//
// Zones come first: each holds the same number of schedules, whatever its number of nodes, as far as the capacities of
// its nodes allow, by the fewest moves between zones (least_moves on the zones). A node without a zone is a zone of its
// own, so name the zones of all nodes or of none.
//
// Whether the others could take what a lost zone held does not depend on who holds what, but on capacities alone:
// zone_shortfall() tells. No orphan is left without a place for the sake of it.

namespace rota {

/// A plan places orphans, then does what has to be done (drained and overfull nodes, inside their zone if it has room),
/// then evens out the zones, then, as S does, each zone. What leaves a zone comes from the nodes that hold the most;
/// which node takes it, S decides, as if it were an orphan.
///
/// The certificate: `bound` is the fewest moves between zones plus what S states for the moves inside, given those.
/// Spread is the larger of that between zones, by count, and that inside a zone, as S measures; so is `imbalance`.
///
/// Groups (at most one schedule of a group on a node) are the business of constrained<zoned<S>>, which keeps them apart
/// by node; that they end in different zones is not promised.
///
/// Time and memory: O(nodes x log zones + orphans + steps), and what S takes for each zone; O(schedules) where S is not
/// least_moves, for S then sees a copy in which owners are numbered by zone.
template <typename S = least_moves>
struct zoned {
    using inner = S;
    static constexpr auto layer = strategy_layer::spread;

    S strategy{};

    void make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const;

    static_assert(detail::nests<zoned, layer, S>());
};

namespace detail {

/// The nodes of each zone.
template <typename T>
class zone_map {
    using index = late<std::uint32_t, T>;

public:
    explicit zone_map(late<cluster_view, T> const& view) {
        std::map<std::string_view, index> named;
        places_.reserve(view.nodes.size());
        for (std::uint32_t i = 0; i < view.nodes.size(); ++i) {
            auto zone = static_cast<std::uint32_t>(zones_.size());
            if (!view.nodes[i].zone.empty()) zone = named.try_emplace(view.nodes[i].zone, zone).first->second;
            if (zone == zones_.size()) zones_.emplace_back();
            places_.push_back({zone, static_cast<std::uint32_t>(zones_[zone].size())});
            zones_[zone].push_back(i);
        }
    }

    [[nodiscard]] std::uint32_t count() const { return static_cast<std::uint32_t>(zones_.size()); }
    [[nodiscard]] std::vector<index> const& nodes_of(std::uint32_t zone) const { return zones_[zone]; }
    [[nodiscard]] std::uint32_t zone_of(std::uint32_t node) const { return places_[node].first; }
    /// The place of a node among those of its zone.
    [[nodiscard]] std::uint32_t place_of(std::uint32_t node) const { return places_[node].second; }

private:
    std::vector<std::vector<index>> zones_;
    std::vector<std::pair<index, index>> places_;  // zone, and place in it, of each node
};

/// Capacities add up, but never to `unlimited` unless one of them is.
[[nodiscard]] constexpr std::uint32_t added(std::uint32_t a, std::uint32_t b) noexcept {
    if (a == unlimited || b == unlimited) return unlimited;
    return b < unlimited - a ? a + b : unlimited - 1;
}

template <typename S>
class zoned_run {
    using cluster_view = late<rota::cluster_view, S>;
    using plan = late<rota::plan, S>;
    using index = late<std::uint32_t, S>;
    using node_list = std::vector<typename cluster_view::node>;
    using move_list = std::vector<late<move, S>>;

public:
    zoned_run(cluster_view const& view, zone_map<S> const& zones, S const& strategy, plan& into)
        : view_{view},
          zones_{zones},
          strategy_{strategy},
          plan_{into},
          parts_(zones.count()) {}

    void run() {
        plan_.clear();
        plan_.interchangeable = true;
        for (std::uint32_t i = 0; i < view_.nodes.size(); ++i) parts_[zones_.zone_of(i)].load += view_.nodes[i].load;
        plan_.spread_before = spread_of_zones();
        place_in_zones();
        if (view_.complete) move_between_zones();
        renumber_owners();
        // First who takes: what S does not take stays where it was, and counts there.
        for (std::uint32_t z = 0; z < parts_.size(); ++z) {
            if (!parts_[z].coming.empty()) plan_inside(z);
        }
        for (std::uint32_t z = 0; z < parts_.size(); ++z) {
            if (parts_[z].coming.empty()) plan_inside(z);
        }
        between_after_ = spread_of_zones();
        put_together();
    }

private:
    struct departure {
        std::uint32_t schedule;
        std::uint32_t node;
        change_reason why;
    };
    struct zone_part {
        std::uint32_t load = 0;
        std::vector<index> orphans{};
        std::vector<index> coming{};       // indices in crossing_
        std::vector<departure> leaving{};  // what may leave, in the order in which it should
        std::vector<index> gone{};         // indices in crossing_
    };

    [[nodiscard]] double spread_of_zones() const {
        std::uint32_t fullest = 0;
        std::uint32_t emptiest = unlimited;
        for (auto const& zone : parts_) {
            if (zone.load > fullest) fullest = zone.load;
            if (zone.load < emptiest) emptiest = zone.load;
        }
        return fullest - emptiest;
    }

    // A picture of the zones as if they were nodes.
    template <typename CapacityOf>
    [[nodiscard]] node_list zones_as_nodes(CapacityOf const& capacity_of) const {
        node_list made(parts_.size());
        for (std::uint32_t z = 0; z < parts_.size(); ++z) {
            made[z].load = parts_[z].load;
            made[z].capacity = 0;
            for (auto const n : zones_.nodes_of(z))
                made[z].capacity = added(made[z].capacity, capacity_of(view_.nodes[n]));
        }
        return made;
    }

    // Orphans go where room is, even in a zone that holds too much as a whole: another of its nodes may have it.
    void place_in_zones() {
        if (view_.orphans.empty()) return;
        auto const as_nodes =
            zones_as_nodes([](auto const& node) { return node.load > node.capacity ? node.load : node.capacity; });
        auto seen = view_;
        seen.nodes = as_nodes;
        plan placed;
        least_moves{}.make_plan(seen, placed);  // moves nothing: no zone is said to hold any schedules
        for (auto const& step : placed.moves) {
            parts_[step.to].orphans.push_back(step.schedule);
            ++parts_[step.to].load;
        }
        // Of a half-read picture, S may leave room that it will use later.
        for (auto i = placed.moves.size(); i < view_.orphans.size() && !view_.complete; ++i) {
            plan_.stuck.push_back({view_.orphans[i], no_place::waits});
        }
    }

    void move_between_zones() {
        auto as_nodes = zones_as_nodes([](auto const& node) { return node.capacity; });
        auto seen = view_;
        seen.nodes = as_nodes;
        seen.orphans = {};
        plan_.imbalance = imbalance(seen);
        if (least_moves_bound(seen) == 0) return;
        auto const target = balance_target_of(seen);
        std::vector<std::vector<index>> lists(parts_.size());
        for (std::uint32_t z = 0; z < parts_.size(); ++z) {
            auto const least = target.lower(as_nodes[z].capacity);
            if (parts_[z].load <= least) continue;
            find_leaving(z, static_cast<std::uint32_t>(parts_[z].load - least));
            for (auto const& one : parts_[z].leaving) lists[z].push_back(one.schedule);
            as_nodes[z].schedules = lists[z];
        }
        plan between;
        least_moves{}.make_plan(seen, between);
        plan_.bound = between.bound;
        std::vector<std::size_t> taken(parts_.size());
        for (bool const required : {true, false}) {
            taken.assign(parts_.size(), 0);
            for (auto const& step : between.moves) {
                auto const& one = parts_[step.from].leaving[taken[step.from]++];
                auto const why =
                    one.why == change_reason::rebalanced && step.required() ? change_reason::overfull : one.why;
                if (is_required(why) != required) continue;
                parts_[step.from].gone.push_back(static_cast<std::uint32_t>(crossing_.size()));
                parts_[step.to].coming.push_back(static_cast<std::uint32_t>(crossing_.size()));
                --parts_[step.from].load;
                ++parts_[step.to].load;
                crossing_.push_back({one.schedule, one.node, view_t::none, why});
            }
        }
    }

    // From nodes that hold more than they may, then from the fullest. A zone that has taken orphans gives only the
    // former, for S must not place one where room is only once something has left.
    void find_leaving(std::uint32_t z, std::uint32_t count) {
        auto const& nodes = zones_.nodes_of(z);
        std::vector<index> loads;
        std::vector<index> passed(nodes.size());
        for (auto const n : nodes) loads.push_back(view_.nodes[n].load);
        for (bool const over : {true, false}) {
            if (!over && !parts_[z].orphans.empty()) return;
            level_walk<S> givers{nodes.size()};
            for (std::uint32_t i = 0; i < nodes.size(); ++i) {
                auto const kept = over ? view_.nodes[nodes[i]].capacity : 0;
                if (loads[i] > kept) givers.add(i, ~loads[i], ~kept);
            }
            while (parts_[z].leaving.size() < count && givers.more()) {
                auto const i = givers.take_one();
                auto const& node = view_.nodes[nodes[i]];
                while (passed[i] < node.schedules.size() && !view_.may_move(node.schedules[passed[i]])) ++passed[i];
                if (passed[i] == node.schedules.size()) {
                    givers.drop();
                    continue;
                }
                auto const why = !over           ? change_reason::rebalanced
                                 : node.draining ? change_reason::drained
                                                 : change_reason::overfull;
                parts_[z].leaving.push_back({node.schedules[passed[i]++], nodes[i], why});
            }
            givers.each_change([&](std::uint32_t i, std::uint32_t given) { loads[i] -= given; });
        }
    }

    void renumber_owners() {
        if constexpr (reads_schedules<S>) {
            renumbered_.assign(view_.schedules.begin(), view_.schedules.end());
            for (auto& one : renumbered_) {
                if (one.owner < view_.nodes.size()) one.owner = zones_.place_of(one.owner);
            }
            for (auto const& step : crossing_) renumbered_[step.schedule].owner = view_t::none;
        }
        if (!crossing_.empty()) crossing_of_.resize(view_.schedules.size());
        for (std::uint32_t c = 0; c < crossing_.size(); ++c) crossing_of_[crossing_[c].schedule] = c;
    }

    void plan_inside(std::uint32_t z) {
        auto& zone = parts_[z];
        auto const& nodes = zones_.nodes_of(z);
        auto seen = view_;
        node_list inside;
        inside.reserve(nodes.size());
        for (auto const n : nodes) inside.push_back(view_.nodes[n]);
        std::vector<std::vector<index>> kept(zone.gone.empty() ? 0 : nodes.size());
        take_away(z, inside, kept);
        for (auto const c : zone.coming) zone.orphans.push_back(crossing_[c].schedule);
        seen.nodes = inside;
        seen.orphans = zone.orphans;
        if constexpr (reads_schedules<S>) seen.schedules = renumbered_;

        inner_.clear();
        ask(strategy_, seen, inner_);
        zone.load -= static_cast<std::uint32_t>(zone.orphans.size() - inner_.forced);
        take_over(nodes, seen);
    }

    // What has left the zone is not there when S plans.
    void take_away(std::uint32_t z, node_list& inside, std::vector<std::vector<index>>& kept) {
        for (auto const c : parts_[z].gone) {
            if (crossing_[c].to == view_t::none) {  // nobody took it
                ++parts_[z].load;
                if constexpr (reads_schedules<S>) {
                    renumbered_[crossing_[c].schedule].owner = zones_.place_of(crossing_[c].from);
                }
                continue;
            }
            auto& node = inside[zones_.place_of(crossing_[c].from)];
            --node.load;
            node.weight -= view_.schedules[crossing_[c].schedule].weight;
            kept[zones_.place_of(crossing_[c].from)].push_back(crossing_[c].schedule);
        }
        for (std::size_t i = 0; i < kept.size(); ++i) {
            if (kept[i].empty()) continue;
            std::vector<index> left;
            for (auto const s : inside[i].schedules) {
                if (!crosses(s)) left.push_back(s);
            }
            kept[i].swap(left);
            inside[i].schedules = kept[i];
        }
    }

    [[nodiscard]] bool crosses(std::uint32_t schedule) const {
        auto const c = crossing_of_[schedule];
        return crossing_[c].schedule == schedule && crossing_[c].to != view_t::none;
    }

    // Into the whole plan, with the nodes' own numbers.
    void take_over(std::vector<index> const& nodes, cluster_view const& seen) {
        for (auto const& step : inner_.moves) {
            auto const to = nodes[step.to];
            if (!step.forced()) {
                (step.required() ? required_ : evening_out_).push_back({step.schedule, nodes[step.from], to, step.why});
            } else if (view_.schedules[step.schedule].owner == view_t::none) {
                plan_.moves.push_back({step.schedule, view_t::none, to, step.why});
            } else {
                crossing_[crossing_of_[step.schedule]].to = to;
            }
        }
        for (auto const& one : inner_.stuck) {
            if (view_.schedules[one.schedule].owner == view_t::none) plan_.stuck.push_back(one);
        }
        auto const larger = [](double& kept, double other) {
            if (other > kept) kept = other;
        };
        larger(plan_.imbalance, inner_.imbalance >= 0 ? inner_.imbalance : imbalance(seen));
        larger(plan_.spread_before, inner_.spread_before);
        larger(inside_after_, inner_.spread_after);
        plan_.bound += inner_.bound;
        if (inner_.revisit < plan_.revisit) plan_.revisit = inner_.revisit;
        if (!inner_.moves.empty() && !inner_.interchangeable) plan_.interchangeable = false;
    }

    void put_together() {
        plan_.forced = static_cast<std::uint32_t>(plan_.moves.size());
        plan_.unplaced = static_cast<std::uint32_t>(view_.orphans.size()) - plan_.forced;
        for (bool const required : {true, false}) {
            for (auto const& step : crossing_) {
                if (step.to != view_t::none && step.required() == required) plan_.moves.push_back(step);
            }
            auto const& inside = required ? required_ : evening_out_;
            plan_.moves.insert(plan_.moves.end(), inside.begin(), inside.end());
        }
        plan_.voluntary = static_cast<std::uint32_t>(plan_.moves.size()) - plan_.forced;
        plan_.spread_after = inside_after_ > between_after_ ? inside_after_ : between_after_;
    }

    using view_t = rota::cluster_view;

    cluster_view const& view_;
    zone_map<S> const& zones_;
    S const& strategy_;
    plan& plan_;
    plan inner_;
    std::vector<zone_part> parts_;    // by zone
    move_list crossing_;              // from zone to zone; `to` is none until a node is found
    move_list required_;              // inside zones
    move_list evening_out_;           // inside zones
    std::vector<index> crossing_of_;  // by schedule, where there is one
    std::vector<typename cluster_view::schedule> renumbered_;
    double between_after_ = 0;
    double inside_after_ = 0;
};

}  // namespace detail

template <typename S>
void zoned<S>::make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const {
    detail::zone_map<S> const zones{view};
    if (zones.count() <= 1) return detail::ask(strategy, view, into);
    detail::zoned_run<S>{view, zones, strategy, into}.run();
}

/// How many schedules, at worst, would have no place if one zone was lost: what all others have no capacity for. 0: the
/// group survives the loss of any zone with everything placed.
template <typename = void>
[[nodiscard]] std::uint32_t zone_shortfall(cluster_view const& view) {
    detail::zone_map<void> const zones{view};
    std::uint64_t total = view.orphans.size();
    std::uint64_t all = 0;
    for (auto const& node : view.nodes) {
        total += node.load;
        all += node.capacity;
    }
    std::uint64_t worst = 0;
    for (std::uint32_t z = 0; z < zones.count(); ++z) {
        auto others = all;
        for (auto const n : zones.nodes_of(z)) others -= view.nodes[n].capacity;
        if (total > others && total - others > worst) worst = total - others;
    }
    return static_cast<std::uint32_t>(worst);
}

}  // namespace rota

// ---- rota/async_coordinator.hpp ------------------------------------------------------------------------------------
// basic_coordinator over an asynchronous transport: the same calls by the same names, with a handler last.
//
//   rota::poll_loop loop;
//   rota::basic_coordinator node{{.node_id = "node-1"}, rota::hiredis_async{"redis://localhost:6379", loop}};
//   node.run([](rota::result<void> ended) { ... });
//   node.try_lock("feed-1", 5s, [](rota::result<rota::async_lock> lock) { if (lock) process(lock->token()); });
//   loop.run();
//
// transport/hiredis_async.hpp includes this.

#include <initializer_list>
#include <stop_token>

// ---- rota/async_lock.hpp -------------------------------------------------------------------------------------------
// async_lock: the handle of a lock that an asynchronous coordinator holds. As schedule_lock, but for how it waits: extend
// and release take a handler.

#include <algorithm>

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

// ---- rota/detail/unique_function.hpp -------------------------------------------------------------------------------
// A callable that is called through one type and only moved, never copied: C++23's std::move_only_function, as far as
// callbacks need it. Callables up to six words that move without throwing are held in place, others on the heap.

#include <new>

namespace rota::detail {

template <typename Signature>
class unique_function;

template <typename... Arguments>
class unique_function<void(Arguments...)> {
public:
    unique_function() = default;
    unique_function(std::nullptr_t) noexcept {}
    template <typename F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, unique_function> &&
                 std::is_invocable_v<std::decay_t<F>&, Arguments...>)
    unique_function(F&& callable) {
        using held = std::decay_t<F>;
        if constexpr (fits<held>) {
            ::new (static_cast<void*>(room_)) held(std::forward<F>(callable));
            table_ = &in_place<held>;
        } else {
            ::new (static_cast<void*>(room_)) held*(new held(std::forward<F>(callable)));
            table_ = &on_heap<held>;
        }
    }
    unique_function(unique_function&& other) noexcept { take(other); }
    unique_function& operator=(unique_function&& other) noexcept {
        if (this != &other) {
            clear();
            take(other);
        }
        return *this;
    }
    ~unique_function() { clear(); }

    explicit operator bool() const noexcept { return table_ != nullptr; }
    /// Precondition: it holds a callable.
    void operator()(Arguments... arguments) { table_->call(room_, std::forward<Arguments>(arguments)...); }

private:
    static constexpr std::size_t room = 6 * sizeof(void*);

    struct table {
        void (*call)(void*, Arguments&&...);
        void (*move)(void* from, void* to) noexcept;
        void (*destroy)(void*) noexcept;
    };

    template <typename F>
    static constexpr bool fits =
        sizeof(F) <= room && alignof(F) <= alignof(std::max_align_t) && std::is_nothrow_move_constructible_v<F>;

    template <typename F>
    static constexpr table in_place{
        [](void* at, Arguments&&... arguments) { (*static_cast<F*>(at))(std::forward<Arguments>(arguments)...); },
        [](void* from, void* to) noexcept {
            ::new (to) F(std::move(*static_cast<F*>(from)));
            static_cast<F*>(from)->~F();
        },
        [](void* at) noexcept { static_cast<F*>(at)->~F(); }};
    template <typename F>
    static constexpr table on_heap{
        [](void* at, Arguments&&... arguments) { (**static_cast<F**>(at))(std::forward<Arguments>(arguments)...); },
        [](void* from, void* to) noexcept { ::new (to) F*(*static_cast<F**>(from)); },
        [](void* at) noexcept { delete *static_cast<F**>(at); }};

    void take(unique_function& other) noexcept {
        if (other.table_ == nullptr) return;
        other.table_->move(other.room_, room_);
        table_ = std::exchange(other.table_, nullptr);
    }
    void clear() noexcept {
        if (auto const* held = std::exchange(table_, nullptr)) held->destroy(room_);
    }

    alignas(std::max_align_t) std::byte room_[room];
    table const* table_ = nullptr;
};

}  // namespace rota::detail

// ---- rota/schedule_lock.hpp ----------------------------------------------------------------------------------------
// schedule_lock: the exclusive right to process one schedule (or to use one name) for a while, and its fencing token.
//
// valid() is a promise about this instant only: nothing stops a thread between a check and its effect. Work in steps,
// check between them, extend() well before remaining() runs out, and pass token() along with every effect, so that the
// resource can reject whoever comes late.

#include <condition_variable>

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

namespace rota {

namespace detail {

class async_lock_host;

/// What a handle and the requests about it share. It is read by any thread, and changed by the loop's.
struct async_hold {
    lock_host::target held;
    std::shared_ptr<life const> node;
    async_lock_host* host = nullptr;  ///< null: the coordinator is gone
    atomic_instant until;
    std::atomic<bool> ended{false};
};

using lock_handler = unique_function<void(result<void>)>;

class async_lock_host {
public:
    virtual void extend(std::shared_ptr<async_hold>, microseconds ttl, lock_handler) = 0;
    virtual void release(std::shared_ptr<async_hold>, lock_handler) = 0;
    /// A lock that there is no coordinator for, or no lock: the handler is called all the same, later.
    virtual void refuse(error, lock_handler) = 0;

protected:
    ~async_lock_host() = default;
};

}  // namespace detail

/// A held lock. Move-only; releases itself when destroyed (errors are swallowed: the lock then ends with its ttl). May
/// outlive its coordinator, and is invalid then. token, valid and remaining: any thread; all else: the loop's. Handlers
/// are called exactly once, on the loop's thread, never inside the call; but for those of a lock whose coordinator is
/// gone, or of none, which are told lock_lost at once.
class async_lock {
public:
    /// Holds nothing.
    async_lock() = default;
    async_lock(async_lock&&) noexcept = default;
    async_lock& operator=(async_lock&& other) noexcept {
        if (this != &other) {
            let_go();
            hold_ = std::move(other.hold_);
        }
        return *this;
    }
    ~async_lock() { let_go(); }

    /// As of schedule_lock.
    [[nodiscard]] std::string const& name() const noexcept {
        static std::string const none;
        return hold_ ? hold_->held.name : none;
    }
    [[nodiscard]] fencing_token token() const noexcept { return hold_ ? hold_->held.token : 0; }
    [[nodiscard]] bool valid() const { return remaining() > microseconds{}; }
    [[nodiscard]] microseconds remaining() const {
        if (!hold_ || hold_->ended.load()) return {};
        auto const now = hold_->node->now();
        if (!hold_->node->alive(hold_->held.incarnation, now)) return {};
        auto const end = std::min(hold_->until.load(), hold_->node->alive_until());
        return end > now ? end - now : microseconds{};
    }

    /// Makes it last `ttl` from now on; `handler(result<void>)`. Errors as schedule_lock::extend.
    template <std::invocable<result<void>> Handler>
    void extend(microseconds ttl, Handler&& handler) {
        if (!is_held()) return refuse(std::forward<Handler>(handler));
        hold_->host->extend(hold_, ttl, std::forward<Handler>(handler));
    }

    /// Invalid at once, then one request tells the server; `handler(result<void>)`. Errors as schedule_lock::release.
    template <std::invocable<result<void>> Handler>
    void release(Handler&& handler) {
        if (!is_held() || hold_->ended.exchange(true)) return refuse(std::forward<Handler>(handler));
        hold_->host->release(hold_, std::forward<Handler>(handler));
    }

    /// For coordinators.
    explicit async_lock(std::shared_ptr<detail::async_hold> hold) : hold_{std::move(hold)} {}
    [[nodiscard]] std::shared_ptr<detail::async_hold> const& hold() const noexcept { return hold_; }

private:
    [[nodiscard]] bool is_held() const { return hold_ && hold_->host && !hold_->ended.load(); }

    void refuse(detail::lock_handler handler) {
        if (hold_ && hold_->host) return hold_->host->refuse({errc::lock_lost, {}}, std::move(handler));
        handler(errc::lock_lost);
    }
    void let_go() noexcept {
        if (is_held() && !hold_->ended.exchange(true)) hold_->host->release(hold_, {});
    }

    std::shared_ptr<detail::async_hold> hold_;
};

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

// ---- rota/detail/blocking_engine.hpp -------------------------------------------------------------------------------
// The calls of a coordinator over a blocking transport, for any number of calling threads: flows that never suspend, run
// to their end on the calling thread. It owns the mutex that guards core and command connection, and the sleep of run().
//
// Lock order: sleep_, io_, the driver's queue. None is held while a sink runs; while run() sleeps, only sleep_ is.

// ---- rota/detail/engine/group_calls.hpp ----------------------------------------------------------------------------
// Looking at the group, and telling it what to do: nodes, orphans, proposals and their application, attributes, orders.

// ---- rota/detail/engine/driver.hpp ---------------------------------------------------------------------------------
// Runs the algorithm of node_core over a transport: takes turns, sends requests, queues events and delivers them. The
// calls of a coordinator (membership_calls.hpp, lock_calls.hpp, schedule_calls.hpp, group_calls.hpp) are written on top of
// it, once, as flows; what differs between a blocking and an asynchronous coordinator is its Mode (blocking_engine.hpp,
// async_engine.hpp):
//
//   m.user_turn()                 a guard: nobody else touches the core until the holder awaits something
//   m.lane_turn(), m.whole_turn() awaited, give a guard: no request of the lane is under way meanwhile
//   m.perform(op, timeout)        awaited, gives result<reply>: one attempt
//   m.sleep(subscription, span)   awaited, gives wake_reason
//   m.stir()                      ends a sleep
//   Mode::interleaves             whether other calls go on while one awaits something
//
// Policies are reached through `ports`, so all this is compiled once whatever they are; and only where it is used, being
// a template.

#include <set>
#include <thread>

// ---- rota/detail/belief.hpp ----------------------------------------------------------------------------------------
// What this node may believe right now: its incarnation, until when it counts as alive, whether and until when it
// leads, what it owns. Written by the machine in step with the server's replies; read by any thread without waiting
// for the network. Lock handles share it, and may outlive the coordinator: then the incarnation is 0 for good.
//
// A belief is always shorter than what the server grants: see anchored().

// ---- rota/detail/defects.hpp ---------------------------------------------------------------------------------------
// Known ways to get a lease library wrong, to be planted on purpose: the machines of a node and the reference store take
// a template parameter that says which one they suffer from. Production uses `sound`; the simulator's mutation gate
// (tests/sim/mutation_test.cpp) plants each and demands that an invariant made for it catches it.
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
    half_read_moves,      ///< a leader that still reads who owns what moves schedules already
    maintenance_ignored,  ///< ... moves schedules while the group is being maintained
    drain_ignored,        ///< ... gives schedules to a node that is being drained
    open_swap_unchecked,  ///< another schedule than the one asked for is handed over while its run is in hand
    as_of_ignored,        ///< a plan is applied although the group has changed since it was made
    swap_keeps_both,      ///< the one that another went for is handed over as well
    rules_ignored,        ///< a schedule's rules are not told to the leader
    repair_forgets,       ///< a damaged record is thrown away instead of mended
    swap_of_unlike,       ///< another schedule goes although it is not like the one that was asked for
    handoff_cuts_short,   ///< the run in hand is not extended any more as soon as its schedule is to move
    handoff_endless,      ///< ... is extended for ever
    pending_kept,         ///< a hand-off that has ended still counts as on its way
    attributes_untold,    ///< what a node says of itself later is not heard by the leader

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
        bool open = false;  // ... or another with the same weight and traits
        std::string traits{};
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

// ---- rota/detail/flow.hpp ------------------------------------------------------------------------------------------
// flow<T>: a call of the coordinator that may take several requests, written once as a coroutine. Over a blocking
// transport nothing that it awaits ever suspends, and get() runs it from start to end on the calling thread; over an
// asynchronous one it is suspended while a request is under way, and resumed on the loop's thread.
// Promises: starts when it is awaited or asked for its value; a finished awaited flow goes on with who awaits it at a
// stack depth that does not grow with the number of requests (no reliance on tail calls, which compilers make only when
// they optimise).
// Rules for its authors: what is awaited is made of named objects (g++ 12 destroys some temporaries inside a co_await
// expression twice: lambdas with captures, aggregates in braces); and what comes of it is a value, never `auto const&`: it
// lives no longer than the expression.

#include <coroutine>
#include <exception>

namespace rota::detail {

template <typename T>
class [[nodiscard]] flow;

class flow_promise_base {
public:
    static std::suspend_always initial_suspend() noexcept { return {}; }

    struct back_to_whoever_awaits {
        static bool await_ready() noexcept { return false; }
        template <typename Promise>
        static void await_suspend(std::coroutine_handle<Promise> ended) noexcept {
            // It may destroy this coroutine.
            if (auto const next = ended.promise().awaits_) next.resume();
        }
        static void await_resume() noexcept {}
    };
    static back_to_whoever_awaits final_suspend() noexcept { return {}; }

    void unhandled_exception() noexcept { thrown_ = std::current_exception(); }

protected:
    template <typename T>
    friend class flow;

    std::coroutine_handle<> awaits_;
    std::exception_ptr thrown_;
};

template <typename T>
class flow_promise : public flow_promise_base {
public:
    flow<T> get_return_object() noexcept;
    template <typename U>
    void return_value(U&& value) {
        value_.emplace(std::forward<U>(value));
    }

private:
    friend class flow<T>;
    T&& take() noexcept { return *std::move(value_); }
    std::optional<T> value_;
};

template <>
class flow_promise<void> : public flow_promise_base {
public:
    flow<void> get_return_object() noexcept;
    static void return_void() noexcept {}

private:
    friend class flow<void>;
    static void take() noexcept {}
};

/// See the top of the file. Move-only; destroying one that is suspended destroys what it holds.
template <typename T>
class [[nodiscard]] flow {
public:
    using promise_type = flow_promise<T>;

    flow(flow&& other) noexcept : coroutine_{std::exchange(other.coroutine_, {})} {}
    flow& operator=(flow&&) = delete;
    ~flow() {
        if (coroutine_) coroutine_.destroy();
    }

    /// Runs to the end, which it must reach without being suspended.
    T get() && {
        coroutine_.resume();
        ROTA_ASSERT(coroutine_.done());
        return take();
    }

    [[nodiscard]] static bool await_ready() noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> parent) {
        coroutine_.resume();
        if (coroutine_.done()) return false;
        coroutine_.promise().awaits_ = parent;
        return true;
    }
    std::add_rvalue_reference_t<T> await_resume() { return take(); }

private:
    friend promise_type;
    explicit flow(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_{coroutine} {}

    std::add_rvalue_reference_t<T> take() {
        auto& promise = coroutine_.promise();
        if (promise.thrown_) std::rethrow_exception(promise.thrown_);
        return promise.take();
    }

    std::coroutine_handle<promise_type> coroutine_;
};

template <typename T>
flow<T> flow_promise<T>::get_return_object() noexcept {
    return flow<T>{std::coroutine_handle<flow_promise<T>>::from_promise(*this)};
}
inline flow<void> flow_promise<void>::get_return_object() noexcept {
    return flow<void>{std::coroutine_handle<flow_promise<void>>::from_promise(*this)};
}

/// What is there at once, for whoever awaits it.
template <typename T>
struct ready {
    T value;

    [[nodiscard]] static bool await_ready() noexcept { return true; }
    static void await_suspend(std::coroutine_handle<>) noexcept {}
    T&& await_resume() noexcept { return std::move(value); }
};
template <typename T>
ready(T) -> ready<T>;

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
// Keeps a picture of the whole group up to date by following its event log: what the leader plans on, and what a subscriber
// of event_scope::group is told from. First a snapshot in pages, with the log's cursor taken before page one; then the
// events after it, which also correct whatever changed while the pages were read. A gap starts over.
//
// The pages of schedules without a live owner come first: a new leader can place those while it still reads who owns the
// rest. The picture is `current()` once all events that the server has told of are folded in; only then may it be planned
// on as a whole.

// ---- rota/detail/group_picture.hpp ---------------------------------------------------------------------------------
// What a node knows of the whole group: nodes, schedules, and who has what, in the shape that strategies plan on. It is
// kept up to date rather than drawn anew: a change costs O(change), a view for a strategy nothing but its spans. The
// leader of a million schedules thus pays for what happens, not for what there is.
//
// Where each schedule counts follows from its record: at the live node that it is being handed to; else at its live owner;
// else it is an orphan. Every live node has the list of what counts there, and every schedule its place in its list, so
// moving one is O(1). What follows from a record is undone (detach) before the record changes, and made anew after.
//
// Nothing here judges what is told: order and completeness are the business of group_feed.

#include <deque>

namespace rota::detail {

/// From ids to numbers: open addressing over a table that the caller owns the strings of. Four to eight bytes an id.
template <typename Strings>
class id_index {
public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    [[nodiscard]] std::uint32_t find(std::string_view id, Strings const& strings) const {
        if (table_.empty()) return none;
        for (auto at = hash(id) & mask(); table_[at] != none; at = (at + 1) & mask()) {
            if (strings[table_[at]] == id) return table_[at];
        }
        return none;
    }
    void insert(std::uint32_t number, Strings const& strings) {
        if (2 * (used_ + 1) > table_.size()) grow(strings);
        auto at = hash(strings[number]) & mask();
        while (table_[at] != none) at = (at + 1) & mask();
        table_[at] = number;
        ++used_;
    }
    /// Before the string changes. What stands behind the gap moves up, so that no search ends too early.
    void erase(std::uint32_t number, Strings const& strings) {
        auto gap = hash(strings[number]) & mask();
        while (table_[gap] != number) gap = (gap + 1) & mask();
        for (auto at = (gap + 1) & mask(); table_[at] != none; at = (at + 1) & mask()) {
            auto const home = hash(strings[table_[at]]) & mask();
            if (((at - home) & mask()) < ((at - gap) & mask())) continue;
            table_[gap] = table_[at];
            gap = at;
        }
        table_[gap] = none;
        --used_;
    }
    [[nodiscard]] std::size_t size() const { return used_; }

private:
    // FNV-1a with a finaliser: ids tend to differ in their last bytes.
    static std::size_t hash(std::string_view id) {
        std::uint64_t h = 0xcbf29ce484222325u;
        for (char const c : id) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
        h ^= h >> 32;
        h *= 0x9fb21c651e98df25u;
        return static_cast<std::size_t>(h ^ (h >> 29));
    }
    [[nodiscard]] std::size_t mask() const { return table_.size() - 1; }
    void grow(Strings const& strings) {
        std::vector<std::uint32_t> old(table_.empty() ? 16 : 2 * table_.size(), none);
        old.swap(table_);
        for (auto const number : old) {
            if (number == none) continue;
            auto at = hash(strings[number]) & mask();
            while (table_[at] != none) at = (at + 1) & mask();
            table_[at] = number;
        }
    }

    std::vector<std::uint32_t> table_;
    std::size_t used_ = 0;
};

template <typename Defects = sound>
class group_picture {
    template <typename T>
    using late_vector = std::vector<late<T, Defects>>;
    using numbers = late_vector<std::uint32_t>;

public:
    static constexpr std::uint32_t none = cluster_view::none;

    struct record {
        fencing_token generation = 0;
        fencing_token owner = 0;
        fencing_token moving_to = 0;
        double weight = 1;
        std::string_view traits{};
    };
    struct node {
        std::string_view id{};
        bool alive = false;
        std::uint32_t capacity = unlimited;
        std::string_view traits{};
        std::uint32_t owned = 0;  // records that name it as their owner
        fencing_token gone_at = 0;
        bool left = false;
    };

    group_picture() = default;
    group_picture(group_picture&&) = default;
    group_picture& operator=(group_picture&&) = default;

    // ------------------------------------------------ what is told of nodes

    /// A live node, or news of one. `unread`: what counts there according to the server, for as long as the schedules
    /// themselves are still to be read (see complete()).
    void put_node(fencing_token incarnation, std::string_view id, std::uint32_t capacity, std::string_view traits,
                  std::uint32_t unread = 0) {
        auto const m = member_of(incarnation);
        auto& n = members_[m];
        n.id = id;
        n.capacity = capacity;
        set_traits(n, traits);
        n.unread = unread;
        if (!n.alive) come_alive(m);
        refresh(m);
    }
    /// A node that is gone. `gone_at`: since when its schedules may be given to others.
    void put_departed(fencing_token incarnation, std::string_view id, bool left, fencing_token gone_at,
                      std::uint32_t unread = 0) {
        auto const m = member_of(incarnation);
        members_[m].id = id;
        members_[m].unread = unread;
        take_out(incarnation, left, gone_at);
    }
    void take_out(fencing_token incarnation, bool left, fencing_token gone_at) {
        auto const m = member_of(incarnation);
        if (members_[m].alive) {
            auto affected = held_[members_[m].dense];
            for (auto const s : moving_) {
                if (slots_[s].owner == m && view_[s].owner != members_[m].dense) affected.push_back(s);
            }
            for (auto const s : affected) detach(s);
            leave_the_living(m);
            members_[m].alive = false;
            depart(m);
            for (auto const s : affected) attach(s);
        } else if (members_[m].departure == none) {
            depart(m);
            for (auto const s : orphans_) {
                if (slots_[s].owner == m) view_[s].departed = members_[m].departure;
            }
        }
        members_[m].left = left;
        members_[m].gone_at = gone_at;
    }
    /// What a departed node had may be given to others from now on, if it might not before.
    void may_be_taken_over(fencing_token incarnation, fencing_token now) {
        auto const at = by_incarnation_.find(incarnation);
        if (at == by_incarnation_.end()) return;
        auto& n = members_[at->second];
        if (!n.alive && n.gone_at == 0) n.gone_at = now;
    }
    /// It owns nothing more, and is not heard of again.
    void forget(fencing_token incarnation) {
        auto const at = by_incarnation_.find(incarnation);
        if (at == by_incarnation_.end()) return;
        auto const m = at->second;
        if (members_[m].alive) take_out(incarnation, false, 0);
        members_[m].known = false;
        if (members_[m].references > 0 && members_[m].departure != none) {  // damage: it should own nothing
            for (auto const s : orphans_) {
                if (slots_[s].owner == m) view_[s].departed = none;
            }
            end_departure(m);
        }
        release_if_unused(m);
    }

    void order(std::string const& node_id, bool drain) {
        drain ? void(drained_.insert(node_id)) : void(drained_.erase(node_id));
        for (auto const& n : nodes_) {
            if (n.id == node_id) refresh(by_incarnation_.find(n.incarnation)->second);
        }
    }
    void set_maintenance(bool on) { maintenance_ = on; }
    [[nodiscard]] bool maintenance() const { return maintenance_; }
    [[nodiscard]] bool is_drained(std::string_view node_id) const { return drained_.contains(node_id); }

    // ------------------------------------------------ what is told of schedules

    void put(std::string_view id, record const& r) {
        auto s = find(id);
        if (s == none) {
            s = free_slot(id);
        } else {
            detach(s);
        }
        auto& slot = slots_[s];
        auto const owner = refer(slot.owner, r.owner);
        auto const target = refer(slot.moving_to, r.moving_to);
        drop_reference(std::exchange(slot.owner, owner));
        drop_reference(std::exchange(slot.moving_to, target));
        view_[s].generation = r.generation;
        view_[s].weight = r.weight;
        set_kind(s, r.traits);
        attach(s);
    }
    /// No effect if it is there already.
    void put_new(std::string_view id, record const& r) {
        if (find(id) == none) put(id, r);
    }
    void set_moving(std::string_view id, fencing_token to) {
        auto const s = find(id);
        if (s == none) return;
        auto r = record_of(s);
        r.moving_to = to;
        put(id, r);
    }
    void set_attributes(std::string_view id, double weight, std::string_view traits) {
        auto const s = find(id);
        if (s == none) return;
        auto r = record_of(s);
        r.weight = weight;
        r.traits = traits;
        put(id, r);
    }
    void erase(std::string_view id) {
        auto const s = find(id);
        if (s == none) return;
        detach(s);
        drop_reference(std::exchange(slots_[s].owner, none));
        drop_reference(std::exchange(slots_[s].moving_to, none));
        set_kind(s, {});
        index_.erase(s, ids_);
        ids_[s].clear();
        view_[s] = {};
        free_.push_back(s);
    }

    /// It is about to be read. Until it is complete, loads are what the server counts.
    void begin() { complete_ = false; }
    /// All of it has been read: loads are what the lists say from now on. Returns the nodes for which the server counted
    /// another number: its counters may be wrong, or something changed meanwhile.
    std::vector<fencing_token> complete() {
        complete_ = true;
        std::vector<fencing_token> doubtful;
        for (auto const& [incarnation, m] : by_incarnation_) {
            if (std::exchange(members_[m].unread, 0) != 0 && members_[m].known) doubtful.push_back(incarnation);
            refresh(m);
        }
        return doubtful;
    }
    [[nodiscard]] bool is_complete() const { return complete_; }
    /// One that counts at `holder` according to the server was read, and counts there now by itself.
    void was_read(fencing_token holder) {
        auto const at = by_incarnation_.find(holder);
        if (at == by_incarnation_.end()) return;
        --members_[at->second].unread;
        refresh(at->second);
    }

    /// A hand-off began at `when`, of those that a budget counts.
    void note_move(fencing_token when) {
        recent_.push_back(when);
        auto old = outdated(when);
        if (recent_.size() > most_recent) old = old < recent_.size() / 2 ? recent_.size() / 2 : old;
        if (old > recent_.size() / 4)
            recent_.erase(recent_.begin(), recent_.begin() + static_cast<std::ptrdiff_t>(old));
    }
    /// Of one who has only now read all this: what changed hands within the minute before `now` may have been moved.
    void assume_moves(fencing_token now) {
        recent_.clear();
        if (now == 0) return;  // not known
        // By seconds: a budget need not know it better, and there may be a million.
        constexpr fencing_token second = 1'000'000;
        std::size_t count[61] = {};
        for (auto const& s : view_) {
            if (s.generation == 0 || s.generation + 60 * second <= now) continue;
            ++count[s.generation < now ? (now - s.generation) / second : 0];
        }
        for (std::size_t ago = 61; ago-- > 0;) {
            auto const room = most_recent - recent_.size();
            recent_.insert(recent_.end(), count[ago] < room ? count[ago] : room, now - ago * second);
        }
    }

    // ------------------------------------------------ reading

    /// Valid until the next change.
    [[nodiscard]] cluster_view view(fencing_token now) {
        for (auto const& [incarnation, m] : by_incarnation_) {
            auto const& n = members_[m];
            if (n.departure == none) continue;
            departures_[n.departure] = {
                n.id, incarnation, n.left,
                microseconds{n.gone_at != 0 && now > n.gone_at ? static_cast<microseconds::rep>(now - n.gone_at) : 0}};
        }
        cluster_view v;
        v.nodes = nodes_;
        v.schedules = view_;
        v.orphans = orphans_;
        v.kinds = kinds_;
        v.departures = departures_;
        v.now = now;
        v.recent_moves = recent_;
        v.recent_moves = v.recent_moves.subspan(outdated(now));
        v.complete = complete_;
        return v;
    }

    [[nodiscard]] std::size_t schedule_count() const { return index_.size(); }
    [[nodiscard]] std::uint32_t find(std::string_view id) const { return index_.find(id, ids_); }
    [[nodiscard]] std::string const& id_of(std::uint32_t s) const { return ids_[s]; }
    [[nodiscard]] record record_of(std::uint32_t s) const {
        return {view_[s].generation, token_of(slots_[s].owner), token_of(slots_[s].moving_to), view_[s].weight,
                kind_names_[view_[s].kind]};
    }
    /// Calls use(number) for each schedule.
    template <typename Use>
    void each_number(Use&& use) const {
        for (std::uint32_t s = 0; s < slots_.size(); ++s) {
            if (!ids_[s].empty()) use(s);
        }
    }
    /// Calls use(id, record) for each schedule, in no particular order.
    template <typename Use>
    void each_schedule(Use&& use) const {
        each_number([&](std::uint32_t s) { use(ids_[s], record_of(s)); });
    }
    [[nodiscard]] node node_of(fencing_token incarnation) const {
        auto const at = by_incarnation_.find(incarnation);
        if (at == by_incarnation_.end()) return {};
        auto const& n = members_[at->second];
        return {n.id, n.alive, n.capacity, n.traits, n.owned, n.gone_at, n.left};
    }
    /// The server has it among its nodes, live or dead; false: only a record names it.
    [[nodiscard]] bool is_listed(fencing_token incarnation) const {
        auto const at = by_incarnation_.find(incarnation);
        return at != by_incarnation_.end() && members_[at->second].known;
    }
    template <typename Use>
    void each_node(Use&& use) const {
        for (auto const& [incarnation, m] : by_incarnation_) {
            if (members_[m].known) use(incarnation, node_of(incarnation));
        }
    }
    [[nodiscard]] std::size_t orphan_count() const { return orphans_.size(); }

private:
    static constexpr std::size_t most_recent = 65'536;

    struct links {
        std::uint32_t owner = none;      // a member; none: nobody
        std::uint32_t moving_to = none;  // likewise
        std::uint32_t place = 0;         // in the list where it counts
    };
    struct member {
        fencing_token incarnation = 0;
        std::string id{};
        std::string traits{};
        std::string zone{};
        std::vector<std::string> labels{};
        double reported = -1;
        std::uint32_t capacity = unlimited;
        std::uint32_t dense = none;      // its place among the living
        std::uint32_t departure = none;  // ... or among the departed
        std::uint32_t owned = 0;
        std::uint32_t references = 0;  // by owner and moving_to of schedules
        std::int64_t unread = 0;       // what counts here at the server, less what of it was read
        fencing_token gone_at = 0;
        bool alive = false;
        bool left = false;
        bool known = false;  // the server lists it; false: it was only named by a record
    };

    // How many of the recent moves are more than an hour old.
    [[nodiscard]] std::size_t outdated(fencing_token now) const {
        constexpr fencing_token hour = 3'600'000'000;
        std::size_t old = 0;
        while (old < recent_.size() && recent_[old] + hour < now) ++old;
        return old;
    }

    // ------------------------------------------------ members

    std::uint32_t member_of(fencing_token incarnation) {
        auto const m = refer_to(incarnation);
        members_[m].known = true;
        return m;
    }
    std::uint32_t refer_to(fencing_token incarnation) {
        auto const at = by_incarnation_.find(incarnation);
        if (at != by_incarnation_.end()) return at->second;
        std::uint32_t m = 0;
        if (!free_members_.empty()) {
            m = free_members_.back();
            free_members_.pop_back();
            members_[m] = {};
        } else {
            m = static_cast<std::uint32_t>(members_.size());
            members_.emplace_back();
        }
        members_[m].incarnation = incarnation;
        by_incarnation_[incarnation] = m;
        return m;
    }
    // The member of a record's new reference; counted before the old one is dropped, so that it is not freed between.
    std::uint32_t refer(std::uint32_t before, fencing_token incarnation) {
        if (incarnation == 0) return none;
        auto const m = before != none && members_[before].incarnation == incarnation ? before : refer_to(incarnation);
        ++members_[m].references;
        return m;
    }
    void drop_reference(std::uint32_t m) {
        if (m == none) return;
        --members_[m].references;
        release_if_unused(m);
    }
    void release_if_unused(std::uint32_t m) {
        auto& n = members_[m];
        if (n.known || n.references > 0) return;
        end_departure(m);
        by_incarnation_.erase(n.incarnation);
        n = {};
        free_members_.push_back(m);
    }
    [[nodiscard]] fencing_token token_of(std::uint32_t m) const { return m == none ? 0 : members_[m].incarnation; }

    void set_traits(member& n, std::string_view traits) {
        if (n.traits == traits) return;
        n.traits = traits;
        auto described = attributes_of(traits);
        n.zone = std::move(described.zone);
        n.labels = std::move(described.labels);
        n.reported = reported_load_of(traits).value_or(-1);
    }

    void come_alive(std::uint32_t m) {
        // Schedules may name it already, if their page was read before it was heard of.
        numbers affected;
        if (members_[m].owned > 0) {
            for (auto const s : orphans_) {
                if (slots_[s].owner == m) affected.push_back(s);
            }
        }
        for (auto const s : moving_) {
            if (slots_[s].moving_to == m) affected.push_back(s);
        }
        std::set<late<std::uint32_t, Defects>> const once(affected.begin(), affected.end());
        for (auto const s : once) detach(s);
        auto& n = members_[m];
        end_departure(m);
        n.alive = true;
        n.dense = static_cast<std::uint32_t>(nodes_.size());
        nodes_.emplace_back();
        held_.emplace_back();
        for (auto const s : once) attach(s);
    }
    // The last of the living takes its place. It holds nothing by now.
    void leave_the_living(std::uint32_t m) {
        auto const hole = std::exchange(members_[m].dense, none);
        ROTA_ASSERT(held_[hole].empty());
        auto const last = static_cast<std::uint32_t>(nodes_.size() - 1);
        if (hole != last) {
            nodes_[hole] = nodes_[last];
            held_[hole].swap(held_[last]);
            members_[by_incarnation_.find(nodes_[hole].incarnation)->second].dense = hole;
            for (auto const s : held_[hole]) view_[s].owner = hole;
        }
        nodes_.pop_back();
        held_.pop_back();
    }
    void depart(std::uint32_t m) {
        if (free_departures_.empty()) {
            members_[m].departure = static_cast<std::uint32_t>(departures_.size());
            departures_.emplace_back();
        } else {
            members_[m].departure = free_departures_.back();
            free_departures_.pop_back();
        }
        departures_[members_[m].departure].incarnation = members_[m].incarnation;
    }

    void end_departure(std::uint32_t m) {
        auto const place = std::exchange(members_[m].departure, none);
        if (place == none) return;
        departures_[place] = {};
        free_departures_.push_back(place);
    }

    // What the view says of a live node.
    void refresh(std::uint32_t m) {
        auto const& n = members_[m];
        if (!n.alive) return;
        auto& shown = nodes_[n.dense];
        shown.id = n.id;
        shown.incarnation = n.incarnation;
        shown.draining = is_drained(n.id) && !Defects::has(defect::drain_ignored);
        shown.capacity = shown.draining ? 0 : n.capacity;
        shown.zone = n.zone;
        shown.labels = n.labels;
        shown.reported = n.reported;
        shown.load = static_cast<std::uint32_t>(held_[n.dense].size());
        if (n.unread > 0) shown.load += static_cast<std::uint32_t>(n.unread);
        shown.schedules = held_[n.dense];
    }

    // ------------------------------------------------ schedules

    std::uint32_t free_slot(std::string_view id) {
        std::uint32_t s = 0;
        if (!free_.empty()) {
            s = free_.back();
            free_.pop_back();
            slots_[s] = {};
            ids_[s] = id;
        } else {
            s = static_cast<std::uint32_t>(slots_.size());
            slots_.emplace_back();
            ids_.emplace_back(id);
            view_.emplace_back();
        }
        view_[s].id = ids_[s];
        index_.insert(s, ids_);
        return s;
    }

    void detach(std::uint32_t s) {
        auto& shown = view_[s];
        auto& list = shown.owner == none ? orphans_ : held_[shown.owner];
        auto const place = slots_[s].place;
        list[place] = list.back();
        slots_[list[place]].place = place;
        list.pop_back();
        if (shown.owner != none) {
            auto& n = nodes_[shown.owner];
            --n.load;
            n.weight = list.empty() ? 0 : n.weight - shown.weight;
            n.schedules = list;
        }
        if (auto const owner = slots_[s].owner; owner != none) --members_[owner].owned;
        if (slots_[s].moving_to != none) moving_.erase(s);
    }

    void attach(std::uint32_t s) {
        auto& slot = slots_[s];
        auto& shown = view_[s];
        bool const owned = slot.owner != none && members_[slot.owner].alive;
        // On its way from a live node: counts for where it goes; if that one is gone, it will be given up.
        shown.moving = owned && slot.moving_to != none;
        bool const arrives = shown.moving && members_[slot.moving_to].alive;
        shown.owner = arrives ? members_[slot.moving_to].dense : owned ? members_[slot.owner].dense : none;
        shown.departed = owned || slot.owner == none ? none : members_[slot.owner].departure;
        if (slot.owner != none) ++members_[slot.owner].owned;
        if (slot.moving_to != none) moving_.insert(s);
        auto& list = shown.owner == none ? orphans_ : held_[shown.owner];
        slot.place = static_cast<std::uint32_t>(list.size());
        list.push_back(s);
        if (shown.owner == none) return;
        auto& n = nodes_[shown.owner];
        ++n.load;
        n.weight += shown.weight;
        n.schedules = list;
    }

    // ------------------------------------------------ rules

    void set_kind(std::uint32_t s, std::string_view traits) {
        auto const before = view_[s].kind;
        if (kind_names_[before] == traits) return;
        view_[s].kind = kind_of(traits);
        if (view_[s].kind != 0) ++kind_uses_[view_[s].kind];
        if (before == 0 || --kind_uses_[before] > 0) return;
        kind_numbers_.erase(kind_names_[before]);
        kind_names_[before].clear();
        kinds_[before] = {};
        free_kinds_.push_back(before);
    }
    std::uint32_t kind_of(std::string_view traits) {
        if (traits.empty()) return 0;
        auto const known = kind_numbers_.find(traits);
        if (known != kind_numbers_.end()) return known->second;
        std::uint32_t k = 0;
        if (!free_kinds_.empty()) {
            k = free_kinds_.back();
            free_kinds_.pop_back();
        } else {
            k = static_cast<std::uint32_t>(kinds_.size());
            kinds_.emplace_back();
            kind_names_.emplace_back();
            kind_rules_.emplace_back();
            kind_uses_.push_back(0);
        }
        kind_names_[k] = traits;
        kind_rules_[k] = rules_of(traits);
        kind_numbers_[std::string{traits}] = k;
        auto const& rules = kind_rules_[k];
        kinds_[k] = {rules.pin, rules.group, rules.required, rules.forbidden};
        return k;
    }

    std::map<fencing_token, std::uint32_t> by_incarnation_;
    std::deque<member> members_;  // (a deque: views point into them)
    numbers free_members_;
    late_vector<cluster_view::node> nodes_;  // the living
    std::vector<numbers> held_;              // ... and what counts at each
    late_vector<cluster_view::departure> departures_;
    numbers free_departures_;
    std::set<std::string, std::less<>> drained_;
    bool maintenance_ = false;

    std::deque<std::string> ids_;
    id_index<std::deque<std::string>> index_;
    std::vector<links> slots_;
    late_vector<cluster_view::schedule> view_;
    numbers free_;
    numbers orphans_;
    std::set<late<std::uint32_t, Defects>> moving_;  // those that are being handed over, from live nodes or dead ones

    late_vector<cluster_view::kind> kinds_ = late_vector<cluster_view::kind>(1);
    std::deque<std::string> kind_names_ = std::deque<std::string>(1);  // traits; of the first: none
    std::deque<placement_rules> kind_rules_ = std::deque<placement_rules>(1);
    numbers kind_uses_ = numbers(1);
    numbers free_kinds_;
    std::map<std::string, std::uint32_t, std::less<>> kind_numbers_;

    late_vector<fencing_token> recent_;
    bool complete_ = true;
};

}  // namespace rota::detail

namespace rota::detail {

// (Outside of the template for the reason that node_core.hpp gives.)
enum class feed_stage : std::uint8_t { off, nodes, schedules, following };

template <typename Defects = sound>
class group_feed {
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;

public:
    /// An id that the index of `holder` lists without right: the records disagree.
    struct stray {
        std::string id;
        fencing_token holder = 0;
    };

    /// Begin to follow; nothing is told of the first snapshot.
    void start(fencing_token epoch) {
        if (stage_ != feed_stage::off && epoch == epoch_) return;
        if (stage_ == feed_stage::following && !catching_up_) remember();
        begin_snapshot(epoch);
    }
    void stop() {
        auto const begun = snapshots_;
        *this = group_feed{};
        snapshots_ = begun;
    }

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
    /// While the snapshot is read: all nodes and all that has no live owner are known.
    [[nodiscard]] bool orphans_known() const {
        return stage_ == feed_stage::schedules && next_holder_ >= departed_holders_;
    }
    [[nodiscard]] bool reads_snapshot() const { return stage_ == feed_stage::nodes || stage_ == feed_stage::schedules; }
    [[nodiscard]] std::uint64_t cursor() const { return cursor_; }
    /// How many were begun: between two, the numbers in the picture mean the same.
    [[nodiscard]] std::uint64_t snapshots() const { return snapshots_; }
    [[nodiscard]] fencing_token epoch() const { return epoch_; }

    [[nodiscard]] std::optional<operation> next() const {
        switch (stage_) {
            case feed_stage::off: return std::nullopt;
            case feed_stage::nodes: return op::nodes_page{.after = after_node_};
            case feed_stage::schedules:
                return op::schedules_page{.holder = holders_[next_holder_], .after = after_schedule_};
            case feed_stage::following: break;
        }
        if (current()) return std::nullopt;
        return op::events_since{.epoch = epoch_, .seq = cursor_};
    }

    // ------------------------------------------------ replies; what a group subscriber is told goes to `tell`. `at`:
    // about what time it is at the server

    void on(op::nodes_reply const& page, fencing_token at) {
        if (stage_ != feed_stage::nodes) return;
        if (after_node_ == 0) {
            epoch_ = page.epoch;
            cursor_ = page.seq;
            head_ = page.seq;
            picture_.set_maintenance(page.maintenance);
            for (auto const& id : page.drained) picture_.order(id, true);
            holders_ = {0};
        }
        for (auto const& n : page.items) {
            auto const incarnation = n.node.incarnation;
            after_node_ = incarnation;
            if (n.alive) {
                picture_.put_node(incarnation, n.node.id, n.capacity, n.traits, n.load + n.pending);
                living_.push_back(incarnation);
                continue;
            }
            auto const ago = static_cast<fencing_token>(n.gone_for.count());
            auto const since = ago == 0 || at <= ago ? fencing_token{0} : at - ago;  // 0: may still believe
            picture_.put_departed(incarnation, n.node.id, n.left, since, n.load + n.pending);
            holders_.push_back(incarnation);
        }
        if (page.items.size() == op::max_batch) return;
        departed_holders_ = holders_.size();
        holders_.insert(holders_.end(), living_.begin(), living_.end());
        living_.clear();
        stage_ = feed_stage::schedules;
    }

    void on(op::page_reply const& page, fencing_token at) {
        if (stage_ != feed_stage::schedules) return;
        auto const holder = holders_[next_holder_];
        for (auto const& s : page.items) {
            after_schedule_ = s.id;
            auto const known = picture_.find(s.id);
            bool const placed_by_us = known != picture_.none && picture_.record_of(known).generation == s.generation;
            picture_.put(s.id, {s.generation, s.owner, s.moving_to, s.weight, s.traits});
            if (placed_by_us) continue;  // after the counters were read
            picture_.was_read(holder);
            if (s.moving_to != 0) picture_.was_read(s.moving_to);
        }
        for (auto const& id : page.strays) {
            if (after_schedule_ < id) after_schedule_ = id;
            strays_.push_back({id, holder});
        }
        if (page.items.size() + page.strays.size() == op::max_batch) return;
        ++next_holder_;
        after_schedule_.clear();
        if (next_holder_ < holders_.size()) return;
        // What happened while pages were read is still to be folded in; nothing is told of it one by one, as the pages
        // may hold it already.
        stage_ = feed_stage::following;
        catching_up_ = true;
        ++head_;
        doubtful_ = picture_.complete();
        picture_.assume_moves(at);
    }

    template <typename Tell>
    void on(op::events_reply const& page, fencing_token at, Tell&& tell) {
        if (stage_ != feed_stage::following) return;
        if (page.gap) {
            if (!catching_up_) remember();
            begin_snapshot(epoch_);
            return;
        }
        for (auto const& e : page.items) {
            if (catching_up_) {
                if (Defects::has(defect::snapshot_alone)) continue;
                fold(e, at, [](event const&) {});
            } else {
                fold(e, at, tell);
            }
        }
        cursor_ = page.to;
        head_ = page.head;
        if (catching_up_ && current()) {
            catching_up_ = false;
            if (told_) tell_differences(tell);
        }
    }

    // ------------------------------------------------ what the leader did, while the snapshot is being read: the events
    // that tell of it are folded in only at its end

    /// It was taken out: what it owned is without an owner now, and is read next.
    void taken_out(fencing_token incarnation, fencing_token at) {
        if (stage_ != feed_stage::schedules) return;
        auto const known = picture_.node_of(incarnation);
        if (!known.alive) return;
        picture_.take_out(incarnation, false, at);
        for (auto i = next_holder_; i < holders_.size(); ++i) {
            if (holders_[i] != incarnation) continue;
            // In the middle of its page it stays where it is, and is done when it is done.
            if (i == next_holder_ || i < departed_holders_) break;
            holders_.erase(holders_.begin() + static_cast<std::ptrdiff_t>(i));
            auto const middle = !after_schedule_.empty();
            auto const place = std::max(departed_holders_, next_holder_ + (middle ? 1 : 0));
            holders_.insert(holders_.begin() + static_cast<std::ptrdiff_t>(place), incarnation);
            departed_holders_ = place + 1;
            break;
        }
    }
    /// A schedule was placed.
    void placed(std::string const& id, fencing_token generation, fencing_token to) {
        if (stage_ != feed_stage::schedules) return;
        auto const s = picture_.find(id);
        if (s == picture_.none) return;
        auto r = picture_.record_of(s);
        if (r.generation >= generation) return;
        r.generation = generation;
        r.owner = to;
        r.moving_to = 0;
        picture_.put(id, r);
    }

    // ------------------------------------------------ the picture

    [[nodiscard]] group_picture<Defects>& picture() { return picture_; }
    [[nodiscard]] group_picture<Defects> const& picture() const { return picture_; }
    [[nodiscard]] node_ref ref(fencing_token incarnation) const {
        return {std::string{picture_.node_of(incarnation).id}, incarnation};
    }
    /// What the snapshot found to disagree: ids, and nodes whose counters are not what was read of them.
    [[nodiscard]] std::vector<stray> take_strays() { return std::exchange(strays_, {}); }
    [[nodiscard]] std::vector<fencing_token> take_doubtful() { return std::exchange(doubtful_, {}); }

private:
    void begin_snapshot(fencing_token epoch) {
        ++snapshots_;
        stage_ = feed_stage::nodes;
        epoch_ = epoch;
        cursor_ = head_ = 0;
        picture_ = {};
        picture_.begin();
        holders_.clear();
        living_.clear();
        strays_.clear();
        next_holder_ = departed_holders_ = 0;
        after_node_ = 0;
        after_schedule_.clear();
        catching_up_ = false;
    }

    template <typename Tell>
    void fold(op::group_event const& e, fencing_token at, Tell&& tell) {
        using kind = op::group_event_kind;
        switch (e.kind) {
            case kind::registered:
                // The pages may know what became of it since. Else what was known of it is no more: its record was lost.
                if (!catching_up_ && picture_.find(e.id) != picture_.none) {
                    picture_.erase(e.id);
                    tell(event{schedule_changed{e.id, false}});
                }
                picture_.put_new(e.id, {.weight = e.weight, .traits = e.traits});
                tell(event{schedule_changed{e.id, true}});
                break;
            case kind::unregistered:
                picture_.erase(e.id);
                tell(event{schedule_changed{e.id, false}});
                break;
            case kind::updated:
                if (!Defects::has(defect::rules_ignored)) picture_.set_attributes(e.id, e.weight, e.traits);
                break;
            case kind::owned:
                picture_.put(e.id, {e.generation, e.to, 0, e.weight, e.traits});
                tell(event{ownership_changed{e.id, ref(e.from), ref(e.to), e.generation, e.reason}});
                break;
            case kind::moving:
                picture_.set_moving(e.id, e.to);
                if (e.to != 0) picture_.note_move(at);
                break;
            case kind::joined:
                picture_.put_node(e.to, e.id, e.capacity, e.traits);
                tell(event{membership_changed{{e.id, e.to}, membership_change::joined}});
                break;
            case kind::described:
                if (picture_.node_of(e.to).alive && !Defects::has(defect::attributes_untold)) {
                    picture_.put_node(e.to, e.id, e.capacity, e.traits);
                }
                break;
            case kind::superseded:
            case kind::left:
            case kind::died:
                if (picture_.node_of(e.from).alive) {
                    picture_.take_out(e.from, e.kind == kind::left, e.kind == kind::superseded ? 0 : at);
                }
                tell(event{membership_changed{{e.id, e.from},
                                              e.kind == kind::left   ? membership_change::left
                                              : e.kind == kind::died ? membership_change::died
                                                                     : membership_change::superseded}});
                break;
            case kind::forgotten: picture_.forget(e.from); break;
            case kind::ordered:
                switch (static_cast<op::order_kind>(e.generation)) {
                    case op::order_kind::drain: picture_.order(e.id, true); break;
                    case op::order_kind::undrain: picture_.order(e.id, false); break;
                    case op::order_kind::begin_maintenance: picture_.set_maintenance(true); break;
                    case op::order_kind::end_maintenance: picture_.set_maintenance(false); break;
                }
                break;
            case kind::led:
            case kind::vacated:
            case kind::data_lost: break;  // who leads, and whether data was lost, comes with every tick
        }
    }

    void remember() { told_.emplace(std::move(picture_)); }

    // After a gap: what is different from what was told last.
    template <typename Tell>
    void tell_differences(Tell&& tell) {
        if (!Defects::has(defect::gap_untold)) tell(event{events_gap{}});
        auto const& before = *told_;
        before.each_node([&](fencing_token incarnation, auto const& n) {
            if (n.alive && !picture_.node_of(incarnation).alive) {
                tell(event{membership_changed{{std::string{n.id}, incarnation}, membership_change::died}});
            }
        });
        picture_.each_node([&](fencing_token incarnation, auto const& n) {
            if (n.alive && !before.node_of(incarnation).alive) {
                tell(event{membership_changed{{std::string{n.id}, incarnation}, membership_change::joined}});
            }
        });
        before.each_schedule([&](std::string const& id, auto const&) {
            if (picture_.find(id) == picture_.none) tell(event{schedule_changed{id, false}});
        });
        picture_.each_schedule([&](std::string const& id, auto const& s) {
            auto const was = before.find(id);
            bool const is_new = was == before.none;
            if (is_new) tell(event{schedule_changed{id, true}});
            auto const old = is_new ? typename group_picture<Defects>::record{} : before.record_of(was);
            if (s.generation == old.generation && s.owner == old.owner) return;
            node_ref const from{std::string{before.node_of(old.owner).id}, old.owner};
            tell(event{ownership_changed{id, from, ref(s.owner), s.generation, change_reason::resynced}});
        });
        told_.reset();
    }

    feed_stage stage_ = feed_stage::off;
    fencing_token epoch_ = 0;
    std::uint64_t cursor_ = 0;
    std::uint64_t head_ = 0;
    std::uint64_t snapshots_ = 0;
    group_picture<Defects> picture_;
    std::vector<fencing_token> holders_;  // whose pages are read: nobody's, those of the departed, of the living
    std::vector<fencing_token> living_;
    std::size_t next_holder_ = 0;
    std::size_t departed_holders_ = 0;
    fencing_token after_node_ = 0;
    std::string after_schedule_;
    std::vector<stray> strays_;
    std::vector<fencing_token> doubtful_;
    std::optional<group_picture<Defects>> told_;
    bool catching_up_ = false;
};

}  // namespace rota::detail

// ---- rota/detail/leader_machine.hpp --------------------------------------------------------------------------------
// What the leader does beyond holding its lease: takes dead nodes out, places orphans, evens out the load. A to-do
// list, not a script: next() looks at what is known and says what to ask the server for; replies change what is known.
//
// Every step names the term it acts under, and every item what it expects to find, so the server refuses whatever a
// leader of yesterday, or one with a picture of yesterday, sends.

// ---- rota/detail/audit_machine.hpp ---------------------------------------------------------------------------------
// Self-healing: finds ownership records that disagree, after a failover that lost writes or an edit by hand, and has them
// mended. The leader looks through all records as it takes over, and again every audit_interval, one page at a time and
// slowly, and then through the index of each holder; what its picture (built from those indexes once, and from the events)
// does not confirm is suspect. Suspects are only named to the server, which looks again at both sides in one atomic step
// (op::mend): being wrong here costs a request.

namespace rota::detail {

template <typename Defects = sound>
class audit_machine {
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;

public:
    /// A pass begins now; the next ones follow every `interval` (0: never), a page every `pause`.
    void start(instant now, microseconds interval, microseconds pause) {
        *this = audit_machine{};
        interval_ = interval;
        pause_ = pause;
        due_ = now;
        on_ = true;
    }

    /// This node's counters may be wrong.
    void doubt(fencing_token node) { add(recount_, node); }

    /// The server refuses it: not before a while.
    void give_up(instant now) { hold_until_ = now + 8 * pause_; }

    /// When next() has something to say.
    [[nodiscard]] instant due() const {
        return !on_ ? instant::max() : std::max(hold_until_, has_suspects() ? instant::min() : due_);
    }

    /// Only while the picture is current.
    [[nodiscard]] std::optional<operation> next(group_feed<Defects>& feed, instant now, fencing_token self,
                                                fencing_token term, fencing_token seen) {
        if (!on_) return std::nullopt;
        for (auto& s : feed.take_strays()) suspect(std::move(s.id), s.holder);
        for (auto const node : feed.take_doubtful()) add(recount_, node);
        weigh_unconfirmed(feed.picture());
        if (now < hold_until_) return std::nullopt;
        if (has_suspects()) {
            op::mend request{.incarnation = self, .term = term, .seen = seen};
            for (auto const& [id, holders] : suspects_) {
                if (request.items.size() == most_at_once) break;
                request.items.push_back({id, holders});
                if (auto const s = feed.picture().find(id); s != feed.picture().none) {
                    add(request.items.back().holders, feed.picture().record_of(s).owner);
                }
            }
            for (auto const node : recount_) {
                if (request.recount.size() == most_at_once) break;
                request.recount.push_back(node);
            }
            return request;
        }
        if (now < due_) return std::nullopt;
        // A picture that was read anew has other numbers.
        if (std::exchange(snapshot_, feed.snapshots()) != feed.snapshots()) begin_anew();
        if (!holders_.empty()) return op::schedules_page{.holder = holders_.back(), .after = after_};
        if (cursor_ == 0) {
            seen_.assign(seen_.size(), false);
            began_ = seen;
        }
        return op::scan_page{.cursor = cursor_};
    }

    /// Whether that page is one of an index which is being looked through.
    [[nodiscard]] bool asked_for(op::schedules_page const& page) const {
        return on_ && !holders_.empty() && page.holder == holders_.back() && page.after == after_;
    }
    void on(op::page_reply const& page, group_feed<Defects>& feed, instant now) {
        if (snapshot_ != feed.snapshots()) return;
        auto const holder = holders_.back();
        for (auto const& id : page.strays) {
            suspect(id, holder);
            if (after_ < id) after_ = id;
        }
        for (auto const& s : page.items) {
            look_at(feed.picture(), s);
            if (after_ < s.id) after_ = s.id;
        }
        due_ = next_page(now);
        if (page.items.size() + page.strays.size() < op::max_batch) {
            holders_.pop_back();
            after_.clear();
            if (holders_.empty()) {
                suspect_unseen(feed.picture());
                pages_ = 0;
                due_ = interval_ != microseconds{} ? now + interval_ : instant::max();
            }
        }
        if (!unconfirmed_.empty()) feed.look();
    }

    void on(op::scan_reply const& page, group_feed<Defects>& feed, instant now) {
        if (snapshot_ != feed.snapshots()) return;
        auto const& picture = feed.picture();
        for (auto const& id : page.broken) suspect(id, 0);
        for (auto const& s : page.items) look_at(picture, s);
        cursor_ = page.next;
        due_ = next_page(now);
        if (cursor_ == 0) {
            suspect_unseen(picture);
            seen_.assign(seen_.size(), false);
            holders_.push_back(0);
            picture.each_node([&](fencing_token incarnation, auto const&) { holders_.push_back(incarnation); });
        }
        // The page may be newer than the picture: whether it is confirmed is asked again once that has caught up.
        if (!unconfirmed_.empty()) feed.look();
    }

    /// The reply to a mend. Tells what was wrong.
    template <typename Tell>
    void on(op::mend const& request, op::outcomes const& reply, Tell&& tell) {
        std::string names;
        std::size_t mended = 0;
        for (std::size_t i = 0; i < request.items.size(); ++i) {
            suspects_.erase(request.items[i].id);
            if (i >= reply.items.size() || reply.items[i].token == 0) continue;
            if (++mended <= 3) names += (mended > 1 ? ", " : "") + in_words(request.items[i].id);
        }
        auto const counted = std::min(request.recount.size(), recount_.size());
        recount_.erase(recount_.begin(), recount_.begin() + static_cast<std::ptrdiff_t>(counted));
        if (mended == 0) return;
        tell(event{warning{{errc{}, fmt::format("{} ownership records disagreed, and were mended: {}{}", mended, names,
                                                mended > 3 ? ", ..." : "")}}});
    }

private:
    static constexpr std::size_t most_at_once = 50;
    static constexpr std::size_t pages_at_once = 16;

    [[nodiscard]] bool has_suspects() const { return !suspects_.empty() || !recount_.empty(); }

    static void add(std::vector<fencing_token>& holders, fencing_token holder) {
        if (holder == 0) return;
        for (auto const known : holders) {
            if (known == holder) return;
        }
        holders.push_back(holder);
    }
    void suspect(std::string id, fencing_token holder) { add(suspects_[std::move(id)], holder); }

    void look_at(group_picture<Defects> const& picture, schedule_status const& s) {
        auto const known = picture.find(s.id);
        if (known != picture.none) {
            if (seen_.size() <= known) seen_.resize(known + 1);
            seen_[known] = true;
        }
        if (!confirms(picture, s)) unconfirmed_.push_back(s);
    }
    // Those that the picture has had all the while as they are, and no page.
    void suspect_unseen(group_picture<Defects> const& picture) {
        picture.each_number([&](std::uint32_t s) {
            if (s < seen_.size() && seen_[s]) return;
            auto const r = picture.record_of(s);
            if (r.generation <= began_) suspect(picture.id_of(s), r.owner);
        });
    }

    // A small group is looked through at one go; a large one in the background.
    instant next_page(instant now) { return ++pages_ < pages_at_once ? now : now + pause_; }

    void begin_anew() {
        pages_ = 0;
        cursor_ = 0;
        holders_.clear();
        after_.clear();
        unconfirmed_.clear();
    }

    static bool confirms(group_picture<Defects> const& picture, schedule_status const& s) {
        auto const known = picture.find(s.id);
        if (known == picture.none) return false;
        auto const r = picture.record_of(known);
        return r.generation == s.generation && r.owner == s.owner && (s.owner == 0 || picture.is_listed(s.owner));
    }
    void weigh_unconfirmed(group_picture<Defects> const& picture) {
        for (auto const& s : std::exchange(unconfirmed_, {})) {
            if (!confirms(picture, s)) suspect(s.id, s.owner);
        }
    }

    bool on_ = false;
    microseconds interval_{};
    microseconds pause_{};
    instant due_ = instant::max();
    instant hold_until_ = instant::min();
    std::size_t pages_ = 0;                              // in this pass
    std::uint64_t snapshot_ = 0;                         // of the feed, as this pass began
    std::uint64_t cursor_ = 0;                           // in the records
    std::vector<late<fencing_token, Defects>> holders_;  // whose indexes are still to be looked through
    std::string after_;                                  // ... in the one that is under way
    fencing_token began_ = 0;                            // the newest token as this pass began
    std::vector<late<bool, Defects>> seen_;              // in this round of pages, by the picture's numbers
    std::vector<late<schedule_status, Defects>> unconfirmed_;
    std::map<std::string, std::vector<fencing_token>> suspects_;  // and whose indexes may list them
    std::vector<fencing_token> recount_;
};

}  // namespace rota::detail

namespace rota::detail {

/// The strategy, type-erased: planning is rare, compiling is not.
struct planner {
    void const* strategy = nullptr;
    void (*make)(void const* strategy, cluster_view const&, plan&) = nullptr;

    /// Plans, and says why the plan must not be applied; empty if it may. `clock`: called for the time before and after;
    /// a plan that took longer than `budget` comes too late, as the group has gone on meanwhile.
    template <typename Clock, typename T = void>
    [[nodiscard]] std::string operator()(late<cluster_view, T> const& view, late<plan, T>& into, Clock&& clock,
                                         microseconds budget) const;
};

/// Why `p` must not be applied to `view`, or an empty string. A strategy is somebody else's code: it is not trusted.
template <typename T = void>
[[nodiscard]] std::string fault_of(late<plan, T> const& p, late<cluster_view, T> const& view) {
    for (auto const& stuck : p.stuck) {
        if (stuck.schedule >= view.schedules.size() || view.schedules[stuck.schedule].id.empty()) {
            return fmt::format("the plan finds no place for schedule {} of {}", stuck.schedule, view.schedules.size());
        }
    }
    if (p.moves.empty()) return {};
    std::vector<late<std::uint32_t, T>> load;
    load.reserve(view.nodes.size());
    for (auto const& n : view.nodes) load.push_back(n.load);
    std::vector<late<bool, T>> taken(view.schedules.size());
    bool moving_by_now = false;
    for (auto const& m : p.moves) {
        auto const id = [&] { return in_words(std::string{view.schedules[m.schedule].id}); };
        if (m.schedule >= view.schedules.size())
            return fmt::format("the plan names schedule {} of {}", m.schedule, view.schedules.size());
        if (m.to >= view.nodes.size())
            return fmt::format("the plan moves {} to node {} of {}", id(), m.to, view.nodes.size());
        auto const& s = view.schedules[m.schedule];
        if (s.id.empty()) return fmt::format("the plan names schedule {}, which is void", m.schedule);
        if (taken[m.schedule]) return fmt::format("the plan moves {} twice", id());
        taken[m.schedule] = true;
        if (s.owner != m.from) return fmt::format("the plan moves {} from a node that does not own it", id());
        if (s.moving) return fmt::format("the plan moves {}, which is on its way already", id());
        if (m.from == m.to) return fmt::format("the plan moves {} to where it is", id());
        if (m.forced() && moving_by_now) return fmt::format("the plan places {} after it has begun to move", id());
        if (!m.forced()) {
            moving_by_now = true;
            --load[m.from];
        }
        if (++load[m.to] > view.nodes[m.to].capacity) {
            return fmt::format("the plan gives node {} more than its capacity of {}",
                               in_words(std::string{view.nodes[m.to].id}), view.nodes[m.to].capacity);
        }
    }
    return {};
}

template <typename Clock, typename T>
std::string planner::operator()(late<cluster_view, T> const& view, late<plan, T>& into, Clock&& clock,
                                microseconds budget) const {
    into.clear();
    if (view.nodes.empty()) {
        into.unplaced = static_cast<std::uint32_t>(view.orphans.size());
        return {};
    }
    std::string fault;
    try {
        auto const began = clock();
        make(strategy, view, into);
        if (auto const took = clock() - began; took > budget) {
            fault = fmt::format("the strategy took {}, more than its planning_budget of {}", in_words(took),
                                in_words(budget));
        }
    } catch (std::exception const& e) {
        fault = fmt::format("the strategy threw: {}", e.what());
    } catch (...) {
        fault = "the strategy threw what is no std::exception";
    }
    if (fault.empty()) fault = fault_of(into, view);
    if (!fault.empty()) into.clear();
    // The steps are what counts, not what is said of them.
    into.forced = 0;
    for (auto const& m : into.moves) into.forced += m.forced() ? 1 : 0;
    into.voluntary = static_cast<std::uint32_t>(into.moves.size()) - into.forced;
    return fault;
}

/// What a plan's `stuck` says, in words.
[[nodiscard]] constexpr char const* in_words(no_place why) noexcept {
    switch (why) {
        case no_place::no_room: return "no node has room for it";
        case no_place::pin_absent: return "the node that it is pinned to is not there";
        case no_place::labels_missing: return "no node has the labels for it";
        case no_place::rules_conflict: return "its rules exclude each other";
        case no_place::group_apart: return "every node for it has another of its group";
        case no_place::waits: return "it waits for its node to return";
    }
    return "";
}

/// How far the farthest node is off, as a fraction of the mean: in the strategy's own measure, or else by count.
template <typename T = void>
[[nodiscard]] double imbalance_of(late<plan, T> const& p, late<cluster_view, T> const& view) {
    return p.imbalance >= 0 ? p.imbalance : imbalance(view);  // (also for a NaN)
}

template <typename Defects = sound>
class leader_machine {
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;

public:
    leader_machine(options const& o, planner strategy) : options_{o}, strategy_{strategy} {}

    void start(fencing_token self, fencing_token term, instant now) {
        *this = leader_machine{options_, strategy_};
        self_ = self;
        term_ = term;
        audit_.start(now, options_.audit_interval, options_.heartbeat_interval / 8);
    }
    void stop() { *this = leader_machine{options_, strategy_}; }
    [[nodiscard]] bool active() const { return term_ != 0; }

    /// What the leader's own tick tells. `reap_from`: nobody is taken for dead before (the server was silent).
    void on_tick(op::watch watch, instant received, instant reap_from) {
        watch_ = std::move(watch);
        free_ = watch_.dead;
        heard_ = received;
        reap_from_ = reap_from;
        reaped_ = dead_reaped_ = false;
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

    /// When next() has something to say although nothing was heard: nodes to take out once that is allowed again, a plan
    /// that met a state it was not made for, or that said when to plan again, a page of the audit.
    [[nodiscard]] instant work_due() const {
        if (!active()) return instant::max();
        if (!placements_.empty() || !moves_.empty()) return instant::min();
        auto const due = std::min(plan_again_, audit_.due());
        return !watch_.expired.empty() && !reaped_ ? std::min(due, reap_from_) : due;
    }

    /// `server_time`: about what time it is at the server; `clock`: this node's, for how long planning takes.
    template <typename Tell, typename Clock>
    [[nodiscard]] std::optional<operation> next(group_feed<Defects>& feed, instant now, fencing_token seen,
                                                fencing_token server_time, Tell&& tell, Clock&& clock) {
        if (!active()) return std::nullopt;
        // Who is to be taken for dead is known without a picture.
        if (auto expired = who_expired(now); !expired.empty()) return reap(std::move(expired));
        if (!feed.current()) {
            if (placements_.empty()) place_early(feed, server_time, tell, clock);
            if (Defects::has(defect::half_read_moves) && !moves_.empty()) return revoke();
            return placements_.empty() ? feed.next() : adopt(seen);
        }
        if (auto done = who_is_gone(feed.picture()); !done.empty()) return reap(std::move(done));
        // Moves are begun a page at a time. Maintenance ends them, and what has lost its owner meanwhile goes first.
        bool const urgent = feed.picture().orphan_count() > left_unowned_;
        if (is_quiet(feed) || (urgent && placements_.empty())) moves_.clear();
        if (placements_.empty() && moves_.empty()) draw_up_plan(feed, now, server_time, tell, clock);
        if (!placements_.empty()) return adopt(seen);
        if (!moves_.empty()) return revoke();
        return audit_.next(feed, now, self_, term_, seen);
    }

    void on(op::reap const&, op::outcomes const& reply) {
        reaped_ = true;
        for (auto const& out : reply.items) free_.push_back(out.token);
    }

    /// The server refuses a request as a whole, and will do so again: it is not repeated before the next plan or audit.
    void on_refused(operation const& request, instant now) {
        if (std::holds_alternative<op::adopt>(request)) placements_.clear();
        if (std::holds_alternative<op::revoke>(request)) moves_.clear();
        if (std::holds_alternative<op::mend>(request) || std::holds_alternative<op::scan_page>(request)) {
            audit_.give_up(now);
        }
        plan_again_ = std::min(plan_again_, now + options_.heartbeat_interval);
    }

    void on(op::adopt const& request, op::outcomes const& reply, instant now) {
        settle(placements_, request.items, reply, now);
    }
    void on(op::revoke const& request, op::outcomes const& reply, instant now) {
        settle(moves_, request.items, reply, now);
    }
    [[nodiscard]] audit_machine<Defects>& audit() { return audit_; }

private:
    // Half of what a request may hold: these write most, and keep the server longer per item the more there are.
    static constexpr std::size_t most_at_once = op::max_batch / 2;

    template <typename Item>
    static std::vector<Item> first_of(std::deque<Item> const& queue) {
        auto const count = std::min(queue.size(), most_at_once);
        return {queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(count)};
    }
    operation reap(std::vector<fencing_token> nodes) const {
        return op::reap{.incarnation = self_, .term = term_, .nodes = std::move(nodes)};
    }
    operation adopt(fencing_token seen) const {
        return op::adopt{.incarnation = self_, .term = term_, .items = first_of(placements_), .seen = seen};
    }
    operation revoke() const {
        return op::revoke{.incarnation = self_,
                          .term = term_,
                          .items = first_of(moves_),
                          .handoff_deadline = options_.handoff_deadline};
    }

    // Items that were refused are dropped: the events say what is true now, and the next plan is made from that.
    template <typename Item>
    void settle(std::deque<Item>& queue, std::vector<Item> const& sent, op::outcomes const& reply, instant now) {
        queue.erase(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(std::min(sent.size(), queue.size())));
        for (std::size_t i = 0; i < reply.items.size() && i < sent.size(); ++i) {
            if (reply.items[i].ok()) continue;
            // Room was seen where there is none: the server may count wrongly.
            if (reply.items[i].code == errc::capacity_exceeded) audit_.doubt(sent[i].to);
            auto const pause = Defects::has(defect::plan_at_once) ? microseconds{} : options_.heartbeat_interval / 2;
            plan_again_ = std::min(plan_again_, now + pause);
            early_ = false;
        }
    }

    std::vector<fencing_token> who_expired(instant now) const {
        if (reaped_ || now < reap_from_) return {};
        return watch_.expired;
    }
    // Dead ones that own nothing more (those that do are forgotten with their last schedule).
    std::vector<fencing_token> who_is_gone(group_picture<Defects> const& picture) {
        std::vector<fencing_token> gone;
        if (std::exchange(dead_reaped_, true)) return gone;
        auto const before = std::exchange(gone_, {});
        for (auto incarnation : watch_.dead) {
            if (picture.node_of(incarnation).owned != 0) continue;
            gone.push_back(incarnation);
            // It should have been forgotten by now, unless the server counts wrongly.
            if (find_where(before, [&](auto g) { return g == incarnation; }) != before.end()) audit_.doubt(incarnation);
        }
        gone_ = gone;
        return gone;
    }

    // While the leader still reads who owns the rest, it places what has no owner: that needs the nodes and their loads
    // alone. Nothing but placements is taken from such a plan, and each is checked by the server for itself; the first
    // that is refused shows that the picture is not what it was, and ends this.
    template <typename Tell, typename Clock>
    void place_early(group_feed<Defects>& feed, fencing_token server_time, Tell&& tell, Clock&& clock) {
        bool const news = feed.picture().orphan_count() != left_early_ || Defects::has(defect::half_read_moves);
        if (!feed.orphans_known() || !early_ || !news) return;
        auto const view = feed.picture().view(server_time);
        fault_ = strategy_(view, plan_, clock, budget());
        left_early_ = view.orphans.size() - plan_.forced;
        if (!fault_.empty()) {
            early_ = false;
            tell(event{plan_refused{fault_}});
            return;
        }
        take_up(feed.picture(), view,
                [&](move const& m) { return m.forced() || (Defects::has(defect::half_read_moves) && !m.forced()); });
    }

    template <typename Tell, typename Clock>
    void draw_up_plan(group_feed<Defects>& feed, instant now, fencing_token server_time, Tell&& tell, Clock&& clock) {
        if (feed.cursor() == planned_at_ && !forced_round_ && now < plan_again_) return;
        bool const forced_round = std::exchange(forced_round_, false);
        planned_at_ = feed.cursor();
        plan_again_ = instant::max();
        auto const view = feed.picture().view(server_time);
        fault_ = strategy_(view, plan_, clock, budget());
        if (!fault_.empty()) {
            tell(event{plan_refused{fault_}});
            plan_again_ = clock() + options_.heartbeat_interval;
            return;
        }
        if (plan_.revisit != microseconds::max()) {
            auto const soonest = std::max(options_.heartbeat_interval / 8, microseconds{1000});
            plan_again_ = now + std::min<microseconds>(std::max(plan_.revisit, soonest), std::chrono::hours{1});
        }
        tell_unplaced(view, now, tell);
        left_unowned_ = view.orphans.size() - plan_.forced;
        bool const quiet = is_quiet(feed);
        bool const even_out =
            forced_round || (options_.auto_rebalance && imbalance_of(plan_, view) > options_.rebalance_threshold);
        take_up(feed.picture(), view, [&](move const& m) {
            return m.forced() || (!quiet && (even_out || m.required() || view.nodes[m.from].draining));
        });
    }

    template <typename Wanted>
    void take_up(group_picture<Defects> const& picture, cluster_view const& view, Wanted&& wanted) {
        for (auto const i : by_node_told(view.nodes.size())) {
            auto const& m = plan_.moves[i];
            if (!wanted(m)) continue;
            auto const s = picture.record_of(m.schedule);
            auto const to = view.nodes[m.to].incarnation;
            auto const why = m.reason();
            if (m.forced()) {
                if (!may_be_given(picture, s.owner)) continue;
                placements_.push_back({picture.id_of(m.schedule), s.generation, s.owner, to, why});
            } else {
                bool const open =
                    plan_.interchangeable && (why == change_reason::rebalanced || why == change_reason::overfull);
                moves_.push_back({picture.id_of(m.schedule), s.generation, s.owner, to, why, open});
            }
        }
    }

    // A node that was superseded may believe until its deadline: nobody can have what it had before.
    bool may_be_given(group_picture<Defects> const& picture, fencing_token owner) const {
        if (owner == 0 || !picture.is_listed(owner) || picture.node_of(owner).gone_at != 0) return true;
        if (Defects::has(defect::adopt_live_owner)) return true;
        return find_where(free_, [&](auto f) { return f == owner; }) != free_.end();
    }

    // The plan's steps in the order to take them up in: those that the same nodes are told of stand together. A request
    // then concerns few nodes, which takes the server half the time, and each node is woken once and not by every
    // request. Moves of a plan that is particular about which schedule moves stay in its order.
    [[nodiscard]] std::vector<std::uint32_t> by_node_told(std::size_t nodes) const {
        std::vector<std::uint32_t> order(plan_.moves.size());
        for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
        auto sorted = order;
        auto const sort = [&](auto const& key) {  // stable, by counting
            std::vector<std::uint32_t> place(nodes + 2);
            for (auto const& m : plan_.moves) ++place[key(m) + 1];
            for (std::size_t n = 1; n <= nodes; ++n) place[n] += place[n - 1];
            for (auto const i : order) sorted[place[key(plan_.moves[i])]++] = i;
            order.swap(sorted);
        };
        sort([&](move const& m) { return m.forced() || plan_.interchangeable ? m.to : nodes; });
        sort([&](move const& m) { return m.forced() ? m.to : plan_.interchangeable ? m.from : nodes; });
        return order;
    }

    // Said when it begins, and when it becomes more, but not with every one more.
    template <typename Tell>
    void tell_unplaced(cluster_view const& view, instant now, Tell&& tell) {
        std::uint32_t waiting = 0;
        std::string names;
        std::uint32_t named = 0;
        for (auto const& s : plan_.stuck) {
            if (s.why == no_place::waits) ++waiting;
            if (s.why == no_place::waits || s.why == no_place::no_room || s.schedule >= view.schedules.size()) continue;
            if (++named > 3) continue;
            names += fmt::format("; {}: {}", in_words(std::string{view.schedules[s.schedule].id}), in_words(s.why));
        }
        auto const unplaced = plan_.unplaced > waiting ? plan_.unplaced - waiting : 0;
        bool const news = unplaced > unplaced_ && (unplaced_ == 0 || now >= tell_unplaced_again_);
        if (unplaced < unplaced_) unplaced_ = unplaced;
        if (!news) return;
        unplaced_ = unplaced;
        tell_unplaced_again_ = now + std::chrono::seconds{10};
        auto const* const why = named >= unplaced ? "" : ": no node has room for them";
        tell(event{warning{{errc::capacity_exceeded, fmt::format("{} schedules have no owner{}{}{}", unplaced, why,
                                                                 names, named > 3 ? "; ..." : "")}}});
    }

    [[nodiscard]] microseconds budget() const { return options_.planning_budget; }
    [[nodiscard]] static bool is_quiet(group_feed<Defects> const& feed) {
        return feed.picture().maintenance() && !Defects::has(defect::maintenance_ignored);
    }

    options options_;
    planner strategy_;
    fencing_token self_ = 0;
    fencing_token term_ = 0;
    op::watch watch_;
    instant heard_{};
    instant reap_from_{};
    bool reaped_ = false;       // those that had expired by the last tick
    bool dead_reaped_ = false;  // ... that were dead and done
    bool early_ = true;         // may place before all is read
    std::size_t left_early_ = 0;
    std::size_t left_unowned_ = 0;     // orphans, once the last plan's placements are made
    std::vector<fencing_token> free_;  // dead nodes whose schedules may be had, as the last tick and reap told
    std::vector<fencing_token> gone_;  // as last reaped for owning nothing
    bool forced_round_ = false;
    std::uint32_t unplaced_ = 0;  // as last told
    instant tell_unplaced_again_{};
    std::string fault_;  // of the last plan
    std::uint64_t planned_at_ = ~std::uint64_t{0};
    instant plan_again_ = instant::max();
    // Taken from the front: there may be a million.
    std::deque<late<op::adopt::item, Defects>> placements_;
    std::deque<late<op::revoke::item, Defects>> moves_;
    audit_machine<Defects> audit_;
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
          attributes_{options_.max_schedules_per_node, options_.zone, options_.labels},
          leader_{options_, strategy},
          traits_{to_traits(attributes_)},
          nonces_{entropy},
          jitter_{options_.jitter_seed.value_or(hash_of(options_.node_id))} {}

    [[nodiscard]] options const& settings() const { return options_; }
    [[nodiscard]] standing state() const { return standing_; }
    [[nodiscard]] node_ref const& self() const { return self_; }
    [[nodiscard]] fencing_token seen() const { return seen_; }
    [[nodiscard]] fencing_token epoch() const { return epoch_; }
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

    [[nodiscard]] node_attributes const& attributes() const { return attributes_; }
    /// Whether the group knows this node as it is.
    [[nodiscard]] bool is_described() const { return !is_described_wrongly(); }
    /// The group is told next.
    void describe(node_attributes attributes) {
        attributes_ = std::move(attributes);
        traits_ = to_traits(attributes_, told_load_);
    }

    /// A load as the user measures it, at any rate: smoothed (a first-order low-pass, options::load_smoothing), and told
    /// to the group only when it has changed by a tenth, or by a tenth of the floor.
    void report_load(double load, instant now) {
        if (!load_) {
            load_ = load;
        } else {
            auto const since = static_cast<double>((now - load_at_).count());
            auto const constant = static_cast<double>(options_.load_smoothing.count());
            auto const weight = since + constant > 0 ? since / (since + constant) : 1;
            *load_ += (load - *load_) * weight;
        }
        load_at_ = now;
        auto const before = told_load_.value_or(0);
        auto const differs = *load_ > before ? *load_ - before : before - *load_;
        if (told_load_ && differs <= 0.1 * std::max(before, options_.load_floor)) return;
        told_load_ = load_;
        traits_ = to_traits(attributes_, told_load_);
    }

    // ================================================================ the background lane: one operation at a time

    /// What to ask the server for now; nothing: wait until due().
    [[nodiscard]] std::optional<operation> next(instant now) {
        notice_the_time(now);
        if (now < retry_at_) return std::nullopt;
        if (farewell_ != 0) return leave_operation();
        if (standing_ == standing::joining) {
            // A repeat says what the first attempt said: that is what the server may have taken down.
            if (std::exchange(joining_as_, join_nonce_) != join_nonce_) {
                is_described(attributes_.capacity.value_or(unlimited), traits_);
            }
            return op::join{.node_id = options_.node_id,
                            .nonce = join_nonce_,
                            .node_ttl = options_.node_ttl,
                            .capacity = described_capacity_,
                            .on_conflict = options_.on_conflict,
                            .seen = seen_,
                            .traits = described_};
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
            if (try_swap_ && !handing_over_.empty()) request = instant::min();
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
        if (is_described_wrongly() && belief_->now() >= describe_from_) return true;
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

    /// Over a transport that has several requests under way: what may be granted counts as held until the reply is there.
    void on_acquiring(op::acquire_locks const& asked) {
        for (auto const& item : asked.items)
            held(asked.kind).try_emplace(item.name, held_lock{0, instant::max(), false});
    }
    void no_longer_acquiring(op::acquire_locks const& asked) {
        for (auto const& item : asked.items) {
            auto const l = held(asked.kind).find(item.name);
            if (l != held(asked.kind).end() && l->second.token == 0) held(asked.kind).erase(l);
        }
        if (asked.kind == op::lock_kind::schedule) try_swap_ = true;
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
        if (kind == op::lock_kind::schedule) try_swap_ = true;
    }
    void on_released(op::lock_kind kind, std::string const& name, fencing_token token) {
        auto l = held(kind).find(name);
        if (l != held(kind).end() && l->second.token == token) held(kind).erase(l);
    }

    void see(fencing_token token) { seen_ = std::max(seen_, token); }

    // About what time it is at the server: for ages of what carries its tokens, not for deadlines. 0: not known.
    [[nodiscard]] fencing_token server_time(instant now) const {
        return server_time_ == 0 ? 0 : server_time_ + static_cast<fencing_token>((now - server_time_at_).count());
    }

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
        if (is_described_wrongly() && now >= describe_from_) {
            described_surely_ = false;  // whatever comes of it: a request without a reply may take effect later
            return op::describe_node{.incarnation = self_.incarnation,
                                     .capacity = attributes_.capacity.value_or(unlimited),
                                     .traits = traits_};
        }
        if (feed_.active() && !leads(now)) return feed_.next();
        if (leads(now)) {
            return leader_.next(
                feed_, now, seen_, server_time(now), [this](event e) { tell(std::move(e)); },
                [this] { return belief_->now(); });
        }
        return std::nullopt;
    }

    [[nodiscard]] bool is_described_wrongly() const {
        return !described_surely_ || attributes_.capacity.value_or(unlimited) != described_capacity_ ||
               traits_ != described_;
    }
    void is_described(std::uint32_t capacity, std::string traits) {
        described_surely_ = true;
        described_capacity_ = capacity;
        described_ = std::move(traits);
    }

    void hear_the_time(fencing_token server_now, instant at) {
        server_time_ = server_now;
        server_time_at_ = at;
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
        if (!transient) {
            leader_.on_refused(request, now);
            if (std::holds_alternative<op::describe_node>(request)) describe_from_ = now + options_.heartbeat_interval;
        }
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
        hear_the_time(r.incarnation, now);  // minted from it, until the first tick tells
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
        hear_the_time(r.now, now);
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
        leader_.start(self_.incarnation, belief_->term(), now);
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
                leader_.start(self_.incarnation, r.term, now);
                feed_.start(epoch_);
                feed_.heard_of(r.seq);
            }
            for (auto const node : r.sweep.dead) feed_.picture().may_be_taken_over(node, server_time(now));
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

    void on(op::describe_node const& request, reply const&, instant, instant) {
        is_described(request.capacity, request.traits);
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
        try_swap_ = false;
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
                if (known) tell_own(c.id, self_, {}, 0, c.reason);  // mended: it is another ownership now
                belief_->change_table([&](auto& table) {
                    table[c.id] = {.generation = c.generation, .weight = c.weight, .traits = c.traits};
                });
                handing_over_.erase(c.id);
                tell_own(c.id, ref(c.other), self_, c.generation, c.reason);
                return;
            case op::change_kind::revoking:
                if (!known || s->second.generation != c.generation || s->second.moving_to != 0) return;
                belief_->change_table([&](auto& table) {
                    auto& mine = table[c.id];
                    mine.moving_to = c.other;
                    mine.moving_why = c.reason;
                    mine.open = c.open;
                });
                handing_over_.insert(c.id);
                try_swap_ = true;
                tell(handoff_requested{c.id, c.other, c.handoff, c.reason});
                return;
            case op::change_kind::removed:
                if (!known) return;
                belief_->change_table([&](auto& table) { table.erase(c.id); });
                handing_over_.erase(c.id);
                tell_own(c.id, self_, {}, 0, change_reason::unregistered);
                return;
            case op::change_kind::updated:
                if (!known) return;
                belief_->change_table([&](auto& table) {
                    table[c.id].weight = c.weight;
                    table[c.id].traits = c.traits;
                });
                return;
            case op::change_kind::vacancy:  // the tick that told of this entry may have come before it
                if (!leads_told_) tick_at_ = std::min(tick_at_, now);
                return;
        }
    }

    void on(op::schedules_page const& request, reply const& answer, instant, instant now) {
        auto const& r = std::get<op::page_reply>(answer);
        // Three may have asked for it. (What was asked before one of them began anew is not taken for its first page.)
        if (!resync_ || request.holder != self_.incarnation || request.after != resync_->after) {
            if (!feed_.reads_snapshot() && leader_.audit().asked_for(request)) {
                leader_.audit().on(r, feed_, now);
            } else {
                feed_.on(r, server_time(now));
            }
            return;
        }
        if (resync_->first_page) resync_->base = r.version;
        resync_->first_page = false;
        for (auto const& s : r.items) {
            resync_->table[s.id] = {s.generation, s.weight, s.moving_to, change_reason::rebalanced, false, s.traits};
            resync_->after = s.id;
        }
        for (auto const& id : r.strays) resync_->after = std::max(resync_->after, id);
        if (r.items.size() + r.strays.size() == op::max_batch) return;
        tell(events_gap{});
        auto fresh = std::move(resync_->table);
        version_ = resync_->base;
        server_version_ = std::max(server_version_, version_);
        read_to_the_end_ = true;  // what happened since page one
        resync_.reset();
        // What an acknowledgement is under way for is given up for good: it is not believed in again.
        std::erase_if(acknowledging_, [&](acknowledgement const& a) {
            auto const s = fresh.find(a.item.id);
            bool const asked_for = a.item.instead_of.empty();
            bool const still = s != fresh.end() && s->second.generation == a.item.generation &&
                               s->second.moving_to == (asked_for ? a.item.to : 0);
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
        bool asked = false;     // a request with it was sent
        bool repeated = false;  // ... more than once
    };

    // Belief in what is to be handed over is dropped here, before the acknowledgement is sent.
    [[nodiscard]] std::optional<operation> next_acknowledgement(instant now) {
        std::vector<std::string> idle;
        for (auto const& id : handing_over_) {
            if (acknowledging_.size() + idle.size() >= op::max_batch) break;
            if (now >= idle_from(id)) idle.push_back(id);
        }
        if (std::exchange(try_swap_, false)) offer_idle_ones(now, op::max_batch - idle.size());
        for (auto const& id : idle) {
            auto const s = belief_->table().find(id)->second;
            acknowledging_.push_back({{id, s.generation, s.moving_to}, now, s.moving_why});
            handing_over_.erase(id);
            if (Defects::has(defect::acknowledge_first)) continue;
            belief_->change_table([&](auto& table) { table.erase(id); });
        }
        op::acknowledge request{.incarnation = self_.incarnation, .seen = seen_};
        // Half of what a request may hold: it writes much, and keeps the server longer per item the more there are.
        constexpr auto most_at_once = op::max_batch / 2;
        for (auto& a : acknowledging_) {
            if (now < a.not_before || request.items.size() == most_at_once) continue;
            request.items.push_back(a.item);
            a.repeated = std::exchange(a.asked, true);
        }
        if (request.items.empty()) return std::nullopt;
        return request;
    }

    // Where the leader leaves the choice open, an idle schedule goes in the place of one whose run is in hand.
    void offer_idle_ones(instant now, std::size_t most) {
        std::vector<std::string> idle;
        bool looked = false;
        for (auto const& busy : handing_over_) {
            auto const asked = belief_->table().find(busy)->second;
            bool const offered = find_where(acknowledging_, [&](auto const& a) { return a.item.instead_of == busy; }) !=
                                 acknowledging_.end();
            if (!asked.open || now >= idle_from(busy) || offered) continue;
            if (acknowledging_.size() >= most) return;
            if (!std::exchange(looked, true)) {
                for (auto const& [id, mine] : belief_->table()) {
                    bool const may = now >= idle_from(id) || Defects::has(defect::open_swap_unchecked);
                    if (mine.moving_to == 0 && may) idle.push_back(id);
                }
            }
            auto const other = find_where(idle, [&](auto const& id) {
                auto const& mine = belief_->table().find(id)->second;
                bool const like = mine.weight == asked.weight && mine.traits == asked.traits;
                return like || Defects::has(defect::swap_of_unlike);
            });
            if (other == idle.end()) continue;
            auto const id = *other;
            idle.erase(other);
            acknowledging_.push_back(
                {{id, belief_->table().find(id)->second.generation, asked.moving_to, busy}, now, asked.moving_why});
            belief_->change_table([&](auto& table) { table.erase(id); });
        }
    }

    // What came of offering another one. Where it is not certain who has which, all is read anew.
    void on_offered(acknowledgement const& a, op::outcome const& out) {
        if (!out.ok()) {
            resync_.emplace();
            tell_own(a.item.id, self_, {}, 0, change_reason::resynced);
            return;
        }
        tell_own(a.item.id, self_, ref(a.item.to), out.token, a.why);
        if (Defects::has(defect::swap_keeps_both)) return;
        auto const kept = belief_->table().find(a.item.instead_of);
        if (kept == belief_->table().end()) {  // its run ended meanwhile, and it was let go of too: it is ours again
            resync_.emplace();
            return;
        }
        belief_->change_table([&](auto& table) {
            auto& mine = table[a.item.instead_of];
            mine.moving_to = 0;
            mine.open = false;
        });
        handing_over_.erase(a.item.instead_of);
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
                a->asked = false;  // nothing was done
                continue;
            }
            if (!a->item.instead_of.empty()) {
                auto const offered = *a;
                acknowledging_.erase(a);
                on_offered(offered, out);
                continue;
            }
            if (Defects::has(defect::acknowledge_first)) {
                belief_->change_table([&](auto& table) { table.erase(a->item.id); });
            }
            // What was asked for once has not been done before: something else has become of it.
            if (out.code == errc::conflict && !a->repeated) resync_.emplace();
            bool const given_up = out.code == errc::unknown_node || out.code == errc::capacity_exceeded;
            bool const handed = out.ok() || out.code == errc::conflict;  // conflict: a repeat of what was done already
            tell_own(a->item.id, self_, handed ? ref(a->item.to) : node_ref{}, out.token,
                     given_up ? change_reason::given_up : a->why);
            acknowledging_.erase(a);
        }
        if (!acknowledging_.empty()) tick_at_ = std::min(tick_at_, now + options_.heartbeat_interval);
    }

    // ================================================================ the group, and leading it

    void on(op::events_since const&, reply const& answer, instant, instant now) {
        feed_.on(std::get<op::events_reply>(answer), server_time(now), [this](event e) {
            bool const membership = std::holds_alternative<membership_changed>(e);
            if (options_.event_scope == event_scope::group || (membership && leads_told_)) tell(std::move(e));
        });
    }
    void on(op::nodes_page const&, reply const& answer, instant, instant now) {
        feed_.on(std::get<op::nodes_reply>(answer), server_time(now));
    }
    void on(op::reap const& request, reply const& answer, instant, instant now) {
        leader_.on(request, std::get<op::outcomes>(answer));
        for (auto const& out : std::get<op::outcomes>(answer).items) feed_.taken_out(out.token, server_time(now));
        feed_.look();
    }
    void on(op::adopt const& request, reply const& answer, instant, instant now) {
        auto const& r = std::get<op::outcomes>(answer);
        leader_.on(request, r, now);
        for (std::size_t i = 0; i < r.items.size() && i < request.items.size(); ++i) {
            if (r.items[i].ok()) feed_.placed(request.items[i].id, r.items[i].token, request.items[i].to);
        }
        after_own_grants(request.items, r);
        feed_.look();
    }
    void on(op::scan_page const&, reply const& answer, instant, instant now) {
        leader_.audit().on(std::get<op::scan_reply>(answer), feed_, now);
    }
    void on(op::mend const& request, reply const& answer, instant, instant) {
        auto const& r = std::get<op::outcomes>(answer);
        for (auto const& out : r.items) see(out.token);
        leader_.audit().on(request, r, [this](event e) { tell(std::move(e)); });
        own_log_moved();
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
    node_attributes attributes_;
    leader_machine<Defects> leader_;
    group_feed<Defects> feed_;
    std::string traits_;  // of this node
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
    std::uint64_t joining_as_ = 0;  // the nonce that described_ was told under
    fencing_token farewell_ = 0;    // an incarnation that is still to take its leave
    bool left_ = false;             // ... because it was told to
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
    fencing_token server_time_ = 0;
    instant server_time_at_{};
    std::uint32_t described_capacity_ = unlimited;  // as the group knows us
    std::string described_;
    bool described_surely_ = true;  // no request that says otherwise is under way
    instant describe_from_{};
    std::optional<double> load_;  // as measured by the user, smoothed
    std::optional<double> told_load_;
    instant load_at_{};
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
    bool try_swap_ = false;  // an idle schedule might go in the place of a busy one
    lock_table held_[2];
    std::vector<acknowledgement> acknowledging_;
    std::vector<event> events_;
};

}  // namespace rota::detail

namespace rota::detail {

/// The policies of a coordinator that all modes need, type-erased.
class ports {
public:
    virtual result<void> open(transport_settings const&) = 0;
    virtual bool take_server_changed() = 0;
    virtual std::vector<error> take_warnings() = 0;
    virtual void deliver(event const&) noexcept = 0;
    virtual planner strategy() = 0;

protected:
    ~ports() = default;
};

template <typename Mode, typename Defects>
class driver {
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;
    using reply = late<rota::reply, Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;

public:
    using core_type = node_core<Defects>;
    using target = lock_host::target;

    driver(options given, ports& p, Mode& m, std::shared_ptr<detail::belief> published, std::uint64_t entropy)
        : mode{m},
          policies{p},
          belief{std::move(published)},
          core{std::move(given), p.strategy(), belief, entropy} {}
    driver(driver const&) = delete;
    driver& operator=(driver const&) = delete;

    Mode& mode;
    ports& policies;
    std::shared_ptr<late<detail::belief, Defects>> belief;
    core_type core;  // in a turn
    atomic_instant due;

    [[nodiscard]] instant now() const { return belief->now(); }
    [[nodiscard]] bool in_sink() const { return delivering_.load() == std::this_thread::get_id(); }

    [[nodiscard]] result<void> enter() const {
        if (in_sink())
            return {errc::reentrant_call, "called from inside an event sink: only local reads are allowed there"};
        return {};
    }

    // Before the first request, in a turn: options and settings, as a whole.
    result<void> open() {
        if (opened_) return {};
        auto const& o = core.settings();
        if (auto r = validate(o); !r) return r;
        if (auto r = policies.open({o.key_prefix, o.node_id, o.operation_timeout}); !r) return r;
        opened_ = true;
        return {};
    }

    // ---------------------------------------------------------------- requests

    // One request of the user's, in a turn: repeated (every operation has one effect) while that may help and the time
    // allowed is not up.
    auto attempt(operation const& request) {
        if constexpr (Mode::interleaves) {
            return attempt_by_flow(request);
        } else {  // (the hot path of a blocking coordinator)
            attempts tries{*this};
            auto answer = mode.perform(request, tries.time_left()).value;
            while (tries.again_after(answer)) answer = mode.perform(request, tries.time_left()).value;
            return ready<result<reply>>{std::move(answer)};
        }
    }

    flow<result<reply>> perform_any(operation request) {
        auto const turn = mode.user_turn();
        if (auto r = open(); !r) co_return r.error();
        auto answer = co_await attempt(request);
        collect();
        co_return answer;
    }

    template <typename Op>
    flow<result<typename Op::reply>> perform(Op asked) {
        operation request{std::move(asked)};
        auto answer = co_await perform_any(std::move(request));
        if (!answer) co_return answer.error();
        co_return std::get<typename Op::reply>(*std::move(answer));
    }

    // The background lane, until it has nothing to ask for. Others get their turn between requests. Where each takes
    // longer than a heartbeat there is always something: then until the next is due, and the caller looks after itself.
    flow<void> drive() {
        auto const until = now() + core.settings().heartbeat_interval;
        for (bool more = true; more; more = more && now() < until) {
            {
                auto const turn = co_await mode.lane_turn();
                more = co_await release_abandoned();
                collect();  // what is read anew after the server changed begins with its first page
                auto request = core.next(now());
                if (!request) {
                    bool const settling = co_await settle_unanswered();
                    more = settling || more;
                } else {
                    more = true;
                    collect();
                    auto const sent = now();
                    auto const answer = co_await mode.perform(*request, core.settings().operation_timeout);
                    core.done(*request, answer, sent, now());
                }
                collect();
            }
            deliver();
        }
    }

    // After a request of ours that may have given us something to read or to do.
    flow<void> after_change() {
        bool member = false;
        {
            auto const turn = mode.user_turn();
            core.group_log_moved();
            member = core.state() == standing::member;
        }
        if (member) co_await drive();
        deliver();
    }

    void note_own_change(op::outcomes const& r) {
        auto const turn = mode.user_turn();
        for (auto const& out : r.items) {
            core.see(out.token);
            if (out.ok()) {
                core.own_log_moved();
                return;
            }
        }
    }

    // ---------------------------------------------------------------- what run() sleeps for

    struct nap {
        subscription listen;
        instant until{};
    };
    // Calls of others may change that: see collect().
    nap fall_asleep() {
        nap_ = {core.what_to_listen_for(), core.due()};
        return *nap_;
    }
    void wake_up() { nap_.reset(); }

    // ---------------------------------------------------------------- events

    // In a turn: moves what happened to the queue, in order.
    void collect() {
        if (policies.take_server_changed()) core.server_changed();
        auto const next = core.due();
        due.store(next);
        if (nap_) {
            auto const listen = core.what_to_listen_for();
            bool const other = listen.incarnation != nap_->listen.incarnation || listen.epoch != nap_->listen.epoch ||
                               listen.follow_group != nap_->listen.follow_group;
            if (other || next < nap_->until) {
                nap_.reset();
                mode.stir();
            }
        }
        for (auto& w : policies.take_warnings()) core.tell(event{warning{std::move(w)}});
        if (!core.has_events()) return;
        auto fresh = core.take_events();
        std::lock_guard const lock{queue_mutex_};
        for (auto& e : fresh) queue_.push_back(std::move(e));
    }

    // Outside of every turn: one thread at a time delivers, in order. Who comes meanwhile leaves its events to that one,
    // and does not wait: the sink may be waiting for something that it holds.
    void deliver() {
        std::unique_lock lock{queue_mutex_};
        if (delivering_.load() != std::thread::id{}) return;
        while (!queue_.empty()) {
            delivering_.store(std::this_thread::get_id());
            auto const batch = std::exchange(queue_, {});
            lock.unlock();
            for (auto const& e : batch) policies.deliver(e);
            lock.lock();
        }
        delivering_.store(std::thread::id{});
    }

    // ---------------------------------------------------------------- locks that nobody holds any more

    // Their handles died in a sink, or they were granted too late: the lane gives them back.
    void abandon(target held) {
        std::lock_guard const lock{queue_mutex_};
        abandoned_.push_back(std::move(held));
    }

    // An acquisition that was never answered: see settle_unanswered().
    void note_unanswered(operation request, instant until) { unanswered_.push_back({std::move(request), until}); }

    // In a turn; the handles are invalid already.
    flow<result<op::outcomes>> release_locked(op::release_locks released) {
        operation const request{std::move(released)};
        auto const& [kind, locks] = std::get<op::release_locks>(request);
        for (auto const& l : locks) core.on_releasing(kind, l.name, l.token);
        auto answer = co_await attempt(request);
        collect();
        if (!answer) co_return answer.error();
        for (auto const& l : locks) core.on_released(kind, l.name, l.token);
        co_return std::get<op::outcomes>(*std::move(answer));
    }

    // A hand-off may have waited for the lock just released.
    flow<void> after_locks() {
        bool waiting = false;
        {
            auto const turn = mode.user_turn();
            waiting = core.state() == standing::member && core.due() <= now();
        }
        if (waiting) co_await drive();
        deliver();
    }

private:
    class attempts {
    public:
        explicit attempts(driver& d) : driver_{d}, limit_{d.now() + d.core.settings().operation_timeout} {}

        [[nodiscard]] microseconds time_left() const { return std::max(limit_ - driver_.now(), microseconds{1000}); }
        bool again_after(result<reply>& answer) {
            if (answer) return false;
            auto const code = answer.error().code;
            unknown_ = unknown_ || code == errc::outcome_unknown;
            bool const worth_it = code == errc::unavailable || code == errc::outcome_unknown;
            if (code == errc::not_joined || code == errc::not_leader) driver_.core.want_tick(driver_.now());
            if (worth_it && ++count_ < most && driver_.now() < limit_) return true;
            // An attempt may have done it.
            if (unknown_) answer = error{errc::outcome_unknown, answer.error().detail};
            return false;
        }

    private:
        static constexpr unsigned most = 3;
        driver& driver_;
        instant limit_;
        unsigned count_ = 0;
        bool unknown_ = false;
    };

    flow<result<reply>> attempt_by_flow(operation const& request) {
        attempts tries{*this};
        auto answer = co_await mode.perform(request, tries.time_left());
        while (tries.again_after(answer)) answer = co_await mode.perform(request, tries.time_left());
        co_return answer;
    }

    // One request. False: there are none.
    flow<bool> release_abandoned() {
        op::release_locks request;
        {
            std::lock_guard const lock{queue_mutex_};
            if (abandoned_.empty()) co_return false;
            request.kind = abandoned_.front().kind;
            std::erase_if(abandoned_, [&](target const& held) {
                if (held.kind != request.kind || request.items.size() == op::max_batch) return false;
                request.items.push_back({held.name, held.token});
                return true;
            });
        }
        (void)co_await release_locked(std::move(request));
        co_return true;
    }

    // An acquisition that was never answered is asked about once there is contact again, and what it took is given back;
    // else that would stand in this node's own way for its ttl. (A repeat has one effect.) False: nothing to ask.
    flow<bool> settle_unanswered() {
        if (unanswered_.empty() || core.last_failure()) co_return false;
        auto open = std::move(unanswered_.back());
        unanswered_.pop_back();
        auto const& asked = std::get<op::acquire_locks>(open.request);
        if (now() >= open.until || asked.incarnation != core.self().incarnation) co_return true;
        auto const answer = co_await attempt(open.request);
        if (!answer) {  // another time
            if (answer.error() != errc::not_joined) unanswered_.push_back(std::move(open));
            co_return false;
        }
        op::release_locks taken{.kind = asked.kind};
        auto const& out = std::get<op::outcomes>(*answer).items;
        for (std::size_t i = 0; i < out.size(); ++i) {
            if (out[i].ok()) taken.items.push_back({asked.items[i].name, out[i].token});
        }
        if (!taken.items.empty()) (void)co_await release_locked(std::move(taken));
        co_return true;
    }

    bool opened_ = false;
    std::optional<nap> nap_;  // while run() sleeps
    struct unanswered {
        operation request;
        instant until{};
    };
    std::vector<unanswered> unanswered_;  // acquisitions

    std::mutex queue_mutex_;                     // of what follows
    std::atomic<std::thread::id> delivering_{};  // the thread that runs the sink
    std::vector<event> queue_;
    std::vector<target> abandoned_;
};

// ---------------------------------------------------------------- what calls have in common

template <typename T>
results<T> all_failed(std::size_t count, error const& why) {
    results<T> answers;
    answers.reserve(count);
    for (std::size_t i = 0; i < count; ++i) answers.push_back(why);
    return answers;
}

/// The i-th page of `all`; empty behind the last.
template <typename Item>
std::span<Item const> page_of(std::span<Item const> all, std::size_t i) {
    auto const begin = std::min(all.size(), i * op::max_batch);
    return all.subspan(begin, std::min(all.size() - begin, op::max_batch));
}

template <typename = void>
error at_item(std::ptrdiff_t index, error why) {
    why.detail = fmt::format("item {}: {}", index, why.detail);
    return why;
}

template <typename = void>
result<void> check_distinct(std::vector<std::string_view> ids) {
    std::set<std::string_view> seen;
    for (auto id : ids) {
        if (!seen.insert(id).second) return {errc::invalid_argument, in_words(std::string{id}) + " is named twice"};
    }
    return {};
}

template <typename = void>
result<void> check_ids(std::span<std::string const> ids) {
    for (auto const& id : ids) {
        if (auto r = check_id("a schedule id", id); !r) return at_item(&id - ids.data(), r.error());
    }
    return check_distinct({ids.begin(), ids.end()});
}

}  // namespace rota::detail

// ---- rota/detail/engine/membership_calls.hpp -----------------------------------------------------------------------
// What a node does to take part: join, tick, run, leave; and what it does about leadership.

namespace rota::detail {

template <typename Mode, typename Defects>
class membership_calls {
    using driver_type = driver<Mode, Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;

public:
    explicit membership_calls(driver_type& d) : driver_{d} {}

    flow<result<void>> join() {
        if (auto r = driver_.enter(); !r) co_return r;
        auto const began = co_await begin_join();
        if (!began) co_return began.error();
        auto const limit = driver_.now() + driver_.core.settings().operation_timeout;
        bool unknown = false;
        for (unsigned n = 1;; ++n) {
            co_await driver_.drive();
            auto const turn = driver_.mode.user_turn();
            auto const state = driver_.core.state();
            if (state == standing::member) break;
            auto failure = driver_.core.last_failure().value_or(error{errc::unavailable, "could not join"});
            bool const again = failure == errc::outcome_unknown;
            unknown = unknown || again;
            if (state == standing::joining && again && n < most_attempts && driver_.now() < limit) {
                driver_.core.want_tick(driver_.now());
                continue;
            }
            // What run() is still trying, or a member that was taken for dead, is left to try.
            if (*began && !running_.load()) driver_.core.begin_leave();
            if (unknown) failure.code = errc::outcome_unknown;
            co_return failure;
        }
        if (has_more_to_do()) co_await driver_.drive();  // its first tick, if joining took long
        co_return result<void>{};
    }

    flow<result<void>> tick() {
        if (auto r = driver_.enter(); !r) co_return r;
        {
            auto const turn = driver_.mode.user_turn();
            if (driver_.core.state() == standing::out) co_return error{errc::not_joined, "join() first"};
            driver_.core.want_tick(driver_.now());
        }
        co_await driver_.drive();
        if (watched_.load()) co_await listen();
        co_return outcome_of_tick();
    }

    /// From now on a loop watches the transport's wake_fd().
    void be_watched() { watched_.store(true); }

    flow<result<void>> run(std::stop_token stop, instant until) {
        if (auto r = driver_.enter(); !r) co_return r;
        if (running_.exchange(true)) {
            co_return error{errc::already_running, "run() is under way already"};
        }
        struct no_longer_running {
            membership_calls& self;
            ~no_longer_running() {
                self.driver_.mode.ended([this] { self.running_.store(false); });
            }
        } const guard{*this};
        auto const wake = [this] { driver_.mode.stir(); };
        std::stop_callback const on_stop{stop, wake};
        if (state() == standing::fenced) co_return fenced();
        if (stop.stop_requested() || driver_.now() >= until) co_return result<void>{};
        if (state() != standing::member) {
            auto const began = co_await begin_join();
            if (!began) co_return began.error();
        }
        for (;;) {
            co_await driver_.drive();
            auto const where = where_we_are();
            if (where.state == standing::fenced) co_return fenced();
            if (where.state == standing::out) {
                if (where.failure) co_return *where.failure;
                co_return result<void>{};
            }
            auto const at = driver_.now();
            if (stop.stop_requested() || at >= until) co_return result<void>{};
            if (closing_.load()) co_return error{errc::cancelled, "the coordinator is being destroyed"};
            auto const nap = fall_asleep();
            auto const wake_at = std::min(nap.until, until);
            auto why = wake_reason::timeout;
            if (wake_at > at) why = co_await driver_.mode.sleep(nap.listen, std::min(wake_at - at, longest_sleep));
            auto const turn = co_await driver_.mode.lane_turn();
            driver_.wake_up();
            if (why == wake_reason::pushed) driver_.core.want_tick(driver_.now());
        }
    }

    /// run() returns soon, and is not entered again.
    void close() { closing_.store(true); }
    [[nodiscard]] bool running() const { return running_.load(); }

    flow<result<void>> leave() {
        if (auto r = driver_.enter(); !r) co_return r;
        result<void> answer;
        {
            auto const turn = co_await driver_.mode.whole_turn();
            driver_.core.begin_leave();
            auto request = driver_.core.leave_operation();
            if (request) {
                driver_.collect();
                auto const reply = co_await driver_.attempt(*request);
                driver_.core.finish_leave(reply.has_value());
                if (!reply) answer = reply.error();
            }
            driver_.collect();
        }
        if (running_.load()) driver_.mode.stir();
        driver_.deliver();
        co_return answer;
    }

    [[nodiscard]] microseconds next_tick() const {
        auto const at = driver_.now();
        auto const due = driver_.due.load();
        return due > at ? due - at : microseconds{};
    }

    // ================================================================ leadership

    flow<result<bool>> try_become_leader() {
        auto const ticked = co_await tick();
        if (!ticked) co_return ticked.error();
        co_return driver_.belief->leads(driver_.now());
    }

    flow<result<void>> renounce() {
        if (auto r = driver_.enter(); !r) co_return r;
        result<void> answer;
        {
            auto const turn = co_await driver_.mode.whole_turn();
            auto const request = driver_.core.begin_renounce(driver_.now());
            if (!request) co_return error{errc::not_leader, "this node does not lead"};
            driver_.collect();
            auto const sent = driver_.now();
            auto const reply = co_await driver_.attempt(*request);
            if (reply) driver_.core.done(*request, reply, sent, driver_.now());
            if (!reply) answer = reply.error();
            driver_.collect();
        }
        driver_.deliver();
        co_return answer;
    }

    flow<result<void>> rebalance() {
        if (auto r = driver_.enter(); !r) co_return r;
        {
            auto const turn = driver_.mode.user_turn();
            if (auto r = driver_.core.can_act(driver_.now()); !r) co_return r;
            if (!driver_.belief->leads(driver_.now())) {
                co_return error{errc::not_leader, "only the leader rebalances"};
            }
            if (driver_.core.feed().picture().maintenance()) {
                co_return error{errc::conflict, "the group is under maintenance: nothing is moved"};
            }
            driver_.core.rebalance_now();
            driver_.core.want_tick(driver_.now());
        }
        co_await driver_.drive();
        if (auto r = outcome_of_tick(); !r) co_return r;
        auto const turn = driver_.mode.user_turn();
        auto const& fault = driver_.core.leading().last_fault();
        if (!fault.empty()) co_return error{errc::invalid_argument, fault};
        co_return result<void>{};
    }

    // ================================================================ of use to other calls

    result<void> outcome_of_tick() {
        auto const where = where_we_are();
        if (where.state == standing::fenced) return fenced();
        if (where.failure) return *where.failure;
        if (where.state != standing::member) return {errc::not_joined, "join() first"};
        return {};
    }

private:
    static constexpr unsigned most_attempts = 3;
    static constexpr microseconds longest_sleep = std::chrono::hours{1};

    static error fenced() { return {errc::fenced, "a newer process has this node_id"}; }

    standing state() {
        auto const turn = driver_.mode.quick_turn();
        return driver_.core.state();
    }
    struct whereabouts {
        standing state{};
        std::optional<error> failure;
    };
    whereabouts where_we_are() {
        auto const turn = driver_.mode.quick_turn();
        return {driver_.core.state(), driver_.core.last_failure()};
    }
    typename driver_type::nap fall_asleep() {
        auto const turn = driver_.mode.quick_turn();
        return driver_.fall_asleep();
    }
    bool has_more_to_do() {
        auto const turn = driver_.mode.quick_turn();
        return driver_.core.due() <= driver_.now();
    }

    // Whether it was neither a member nor trying to be one.
    flow<result<bool>> begin_join() {
        auto const turn = co_await driver_.mode.whole_turn();
        if (auto r = driver_.open(); !r) co_return r.error();
        if (driver_.core.state() == standing::member) co_return false;
        bool const fresh = driver_.core.state() != standing::joining;
        driver_.core.want_join(driver_.now());
        driver_.core.want_tick(driver_.now());
        co_return fresh;
    }

    // What run() does in its sleep, for a loop that does the sleeping itself: takes in what made wake_fd() readable, and
    // listens for what comes next.
    flow<void> listen() {
        for (int rounds = 0; rounds < 2; ++rounds) {
            subscription next;
            {
                auto const turn = driver_.mode.quick_turn();
                next = driver_.core.what_to_listen_for();
            }
            auto const why = driver_.mode.look(next);  // timeout, too, while run() sleeps: it listens
            if (why != wake_reason::pushed) co_return;
            {
                auto const turn = driver_.mode.quick_turn();
                driver_.core.want_tick(driver_.now());
            }
            co_await driver_.drive();
        }
    }

    driver_type& driver_;
    std::atomic<bool> running_{false};
    std::atomic<bool> closing_{false};
    std::atomic<bool> watched_{false};
};

}  // namespace rota::detail

namespace rota::detail {

template <typename Mode, typename Defects>
class group_calls {
    using driver_type = driver<Mode, Defects>;
    using operation = late<rota::operation, Defects>;
    using event = late<rota::event, Defects>;
    using reply = late<rota::reply, Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;

public:
    group_calls(driver_type& d, membership_calls<Mode, Defects>& membership) : driver_{d}, membership_{membership} {}

    // ---------------------------------------------------------------- looking

    flow<result<std::vector<node_status>>> nodes() {
        if (auto r = driver_.enter(); !r) co_return r.error();
        std::vector<node_status> all;
        std::vector<std::string> drained;
        for (fencing_token after = 0;;) {
            op::nodes_page request{.after = after};
            auto page = co_await driver_.perform(std::move(request));
            if (!page) co_return page.error();
            if (after == 0) drained = std::move(page->drained);
            for (auto& n : page->items) {
                after = n.node.incarnation;
                n.draining = find_where(drained, [&](auto const& id) { return id == n.node.id; }) != drained.end();
                all.push_back(std::move(n));
            }
            if (page->items.size() < op::max_batch) co_return all;
        }
    }

    flow<result<std::vector<node_load>>> loads() {
        auto const all = co_await nodes();
        if (!all) co_return all.error();
        std::vector<node_load> found;
        for (auto const& n : *all) {
            if (n.alive) found.push_back({n.node, n.load, n.pending, n.capacity});
        }
        co_return found;
    }

    flow<result<std::vector<schedule_status>>> orphaned() {
        auto const all = co_await nodes();
        if (!all) co_return all.error();
        std::vector<schedule_status> orphans;
        auto const unowned = co_await read_holder(0, orphans);
        if (!unowned) co_return unowned.error();
        for (auto const& n : *all) {
            if (n.alive && n.remaining > microseconds{}) continue;
            auto const left = co_await read_holder(n.node.incarnation, orphans);
            if (!left) co_return left.error();
        }
        co_return orphans;
    }

    flow<result<fencing_token>> incarnation_of(std::string const& node_id) {
        auto const all = co_await nodes();
        if (!all) co_return all.error();
        for (auto const& n : *all) {
            if (n.alive && n.node.id == node_id) co_return n.node.incarnation;
        }
        co_return error{errc::unknown_node, in_words(node_id)};
    }

    // ---------------------------------------------------------------- plans

    flow<result<proposal>> propose() {
        auto const as_it_is = [](group_picture<Defects>&) { return result<void>{}; };
        co_return co_await propose_for(as_it_is, false);
    }

    flow<result<proposal>> propose_if_lost(std::string node_id) {
        auto const without = [&node_id](group_picture<Defects>& picture) -> result<void> {
            fencing_token lost = 0;
            picture.each_node([&](fencing_token incarnation, auto const& n) {
                if (n.alive && n.id == node_id) lost = incarnation;
            });
            if (lost == 0) return {errc::unknown_node, in_words(node_id)};
            picture.take_out(lost, false, 0);
            return {};
        };
        co_return co_await propose_for(without, true);
    }

    flow<result<proposal>> propose_if_joined(std::uint32_t count, node_attributes attributes) {
        if (auto r = check_labels(attributes.zone, attributes.labels); !r) co_return r.error();
        if (count > most_imagined) {
            co_return error{errc::invalid_argument, fmt::format("{} nodes, at most {} may be", count, most_imagined)};
        }
        auto const with = [&attributes, count](group_picture<Defects>& picture) -> result<void> {
            for (std::uint32_t i = 1; i <= count; ++i) {
                picture.put_node((fencing_token{1} << 53) + i, fmt::format("new-{}", i),
                                 attributes.capacity.value_or(unlimited), to_traits(attributes));
            }
            return {};
        };
        co_return co_await propose_for(with, true);
    }

    flow<result<void>> apply(proposal const& p) {
        if (auto r = driver_.enter(); !r) co_return r;
        if (p.hypothetical) {
            co_return error{errc::invalid_argument, "the proposal is for a group that is not as it assumes"};
        }
        fencing_token self = 0, term = 0;
        {
            auto const turn = driver_.mode.user_turn();
            if (auto can = driver_.core.can_act(driver_.now()); !can) co_return can;
            if (!driver_.belief->leads(driver_.now())) {
                co_return error{errc::not_leader, "only the leader applies a plan"};
            }
            if (p.epoch != driver_.core.epoch()) {
                co_return error{errc::conflict, "the group has lost data since the plan was made"};
            }
            self = driver_.core.self().incarnation;
            term = driver_.belief->term();
            if (p.maintenance && p.voluntary > 0) {  // (if it was ordered since, the group has changed)
                co_return error{errc::conflict, "the group is under maintenance: nothing is moved"};
            }
        }
        op::adopt placing{.incarnation = self, .term = term};
        op::revoke moving{
            .incarnation = self, .term = term, .handoff_deadline = driver_.core.settings().handoff_deadline};
        for (auto const& m : p.moves) {
            if (m.from.incarnation == 0) {
                placing.items.push_back({m.schedule, m.generation, m.owner, m.to.incarnation, m.reason});
            } else {
                moving.items.push_back({m.schedule, m.generation, m.owner, m.to.incarnation, m.reason, false});
            }
        }
        auto as_of = p.as_of;  // asked of the first request alone: from then on the group changes by our own doing
        std::size_t refused = 0;
        auto r = co_await apply_in_pages(std::move(placing), as_of, refused);
        if (r) r = co_await apply_in_pages(std::move(moving), as_of, refused);
        co_await driver_.after_change();
        if (r && refused > 0) {
            co_return error{errc::conflict, fmt::format("{} of {} steps no longer applied", refused, p.moves.size())};
        }
        co_return r;
    }

    // ---------------------------------------------------------------- attributes and orders

    flow<result<void>> set_attributes(node_attributes attributes) {
        auto may = driver_.enter();
        if (may) may = check_labels(attributes.zone, attributes.labels);
        if (!may) co_return may;
        if (attributes.capacity == unlimited) {
            co_return error{errc::invalid_argument, "the capacity is too large (leave it out for no limit)"};
        }
        {
            auto const turn = driver_.mode.user_turn();
            driver_.core.describe(std::move(attributes));
        }
        co_return co_await told_to_group();
    }

    node_attributes attributes() {
        auto const turn = driver_.mode.user_turn();
        return driver_.core.attributes();
    }

    flow<result<void>> report_load(double load) {
        if (auto r = driver_.enter(); !r) co_return r;
        if (!is_finite(load) || load < 0) {
            co_return error{errc::invalid_argument,
                            fmt::format("the load is {}, must be finite and not negative", load)};
        }
        {
            auto const turn = driver_.mode.user_turn();
            driver_.core.report_load(load, driver_.now());
        }
        co_return co_await told_to_group();
    }

    flow<result<void>> give_order(op::order_kind kind, std::string node_id) {
        auto may = driver_.enter();
        bool const of_node = kind == op::order_kind::drain || kind == op::order_kind::undrain;
        if (may && of_node) may = check_id("the node id", node_id);
        if (!may) co_return may;
        op::give_order request{.kind = kind, .node_id = node_id};
        auto const r = co_await driver_.perform(std::move(request));
        if (!r) co_return r.error() == errc::unknown_node ? error{errc::unknown_node, in_words(node_id)} : r.error();
        co_await driver_.after_change();
        co_return result<void>{};
    }

private:
    static constexpr std::uint32_t most_imagined = 10'000;

    flow<result<void>> read_holder(fencing_token holder, std::vector<schedule_status>& into) {
        for (std::string after;;) {
            op::schedules_page request{.holder = holder, .after = after};
            auto page = co_await driver_.perform(std::move(request));
            if (!page) co_return page.error();
            auto const count = page->items.size() + page->strays.size();
            if (!page->items.empty()) after = page->items.back().id;
            for (auto const& id : page->strays) after = std::max(after, id);
            for (auto& s : page->items) into.push_back(std::move(s));
            if (count < op::max_batch) co_return result<void>{};
        }
    }

    // What this node says of itself goes out with the lane, at once if it is a member.
    flow<result<void>> told_to_group() {
        bool member = false;
        {
            auto const turn = driver_.mode.user_turn();
            driver_.collect();
            member = driver_.core.state() == standing::member;
        }
        if (!member) co_return result<void>{};  // with the next join
        co_await driver_.drive();
        auto r = membership_.outcome_of_tick();
        driver_.deliver();
        auto const turn = driver_.mode.user_turn();
        if (r && !driver_.core.is_described()) {
            co_return error{errc::unavailable, "not told yet: it goes out with the next contact"};
        }
        co_return r;
    }

    // Reads the group as it is, makes of it what is to be assumed, and asks the strategy.
    template <typename Assume>
    flow<result<proposal>> propose_for(Assume const& assume, bool hypothetical) {
        if (auto r = driver_.enter(); !r) co_return r.error();
        group_feed<Defects> feed;
        op::nodes_page first{.limit = 1};
        auto const start = co_await driver_.perform(std::move(first));
        if (!start) co_return start.error();
        feed.start(start->epoch);
        auto const began = driver_.now();
        auto const server_time = [this, began, then = start->now] {
            return then + static_cast<fencing_token>((driver_.now() - began).count());
        };
        for (auto request = feed.next(); request; request = feed.next()) {
            auto const answer = co_await driver_.perform_any(*std::move(request));
            if (!answer) co_return answer.error();
            auto const at = server_time();
            if (auto* page = std::get_if<op::nodes_reply>(&*answer)) feed.on(*page, at);
            if (auto* page = std::get_if<op::page_reply>(&*answer)) feed.on(*page, at);
            if (auto* page = std::get_if<op::events_reply>(&*answer)) feed.on(*page, at, [](event const&) {});
        }
        if (auto r = assume(feed.picture()); !r) co_return r.error();
        co_return ask_strategy(feed, server_time(), hypothetical);
    }

    result<proposal> ask_strategy(group_feed<Defects>& feed, fencing_token server_time, bool hypothetical) {
        plan p;
        auto& picture = feed.picture();
        auto const turn = driver_.mode.user_turn();  // it is asked by one thread at a time
        auto const view = picture.view(server_time);
        auto fault = driver_.policies.strategy()(view, p, [this] { return driver_.now(); }, microseconds::max());
        if (fault.empty()) return proposal_of(p, picture, view, feed, hypothetical);
        return error{errc::invalid_argument, std::move(fault)};
    }

    static proposal proposal_of(plan const& p, group_picture<Defects> const& picture, cluster_view const& view,
                                group_feed<Defects> const& feed, bool hypothetical) {
        proposal out{.forced = p.forced,
                     .voluntary = p.voluntary,
                     .bound = p.bound,
                     .unplaced = p.unplaced,
                     .spread_before = p.spread_before,
                     .spread_after = p.spread_after,
                     .imbalance = view.nodes.empty() ? 0 : imbalance_of(p, view),
                     .epoch = feed.epoch(),
                     .as_of = feed.cursor(),
                     .maintenance = picture.maintenance(),
                     .hypothetical = hypothetical};
        auto const node = [&](std::uint32_t n) {
            return n == cluster_view::none ? node_ref{}
                                           : node_ref{std::string{view.nodes[n].id}, view.nodes[n].incarnation};
        };
        for (auto const& m : p.moves) {
            auto const was = picture.record_of(m.schedule);
            out.moves.push_back(
                {picture.id_of(m.schedule), node(m.from), node(m.to), m.reason(), was.generation, was.owner});
        }
        for (auto const& s : p.stuck) out.stuck.push_back({picture.id_of(s.schedule), in_words(s.why)});
        return out;
    }

    template <typename Op>
    flow<result<void>> apply_in_pages(Op all, std::uint64_t& as_of, std::size_t& refused) {
        auto const items = std::exchange(all.items, {});
        using item = typename decltype(all.items)::value_type;
        std::span<item const> const everything{items};
        for (std::size_t n = 0; !page_of(everything, n).empty(); ++n) {
            auto const page = page_of(everything, n);
            auto request = all;
            request.items = {page.begin(), page.end()};
            request.as_of = std::exchange(as_of, 0);
            if constexpr (std::is_same_v<Op, op::adopt>) request.seen = seen();
            auto const r = co_await driver_.perform(std::move(request));
            if (!r) co_return r.error();
            for (auto const& out : r->items) refused += out.ok() ? 0 : 1;
            driver_.note_own_change(*r);
        }
        co_return result<void>{};
    }

    fencing_token seen() {
        auto const turn = driver_.mode.user_turn();
        return driver_.core.seen();
    }

    driver_type& driver_;
    membership_calls<Mode, Defects>& membership_;
};

}  // namespace rota::detail

// ---- rota/detail/engine/lock_calls.hpp -----------------------------------------------------------------------------
// Locks: taken, extended and given back in pages, each page one request. Handles are the Mode's: here locks go by what
// they are (lock_host::target).

#include <iterator>

namespace rota::detail {

template <typename Mode, typename Defects>
class lock_calls {
    using driver_type = driver<Mode, Defects>;
    using operation = late<rota::operation, Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;
    template <typename T>
    using results = late<rota::results<T>, Defects>;

public:
    using target = lock_host::target;

    /// What was granted, and until when it may be believed in.
    struct grant {
        target held;
        instant until{};
    };

    explicit lock_calls(driver_type& d) : driver_{d} {}

    // ---------------------------------------------------------------- taking them

    flow<std::vector<late<rota::result<grant>, Defects>>> acquire(op::lock_kind kind, std::vector<std::string> names,
                                                                  microseconds ttl) {
        std::vector<result<grant>> grants;
        grants.reserve(names.size());
        if (auto r = check(kind, names, ttl); !r) {
            while (grants.size() < names.size()) grants.push_back(r.error());
            co_return grants;
        }
        while (grants.size() < names.size()) {
            auto const begin = std::make_move_iterator(names.begin() + std::ssize(grants));
            auto const count = std::min<std::size_t>(op::max_batch, names.size() - grants.size());
            std::vector<std::string> page{begin, begin + static_cast<std::ptrdiff_t>(count)};
            auto const r = co_await acquire_page(kind, std::move(page), ttl, grants);
            while (!r && grants.size() < names.size()) grants.push_back(r.error());
        }
        driver_.deliver();
        co_return grants;
    }

    // ---------------------------------------------------------------- and keeping or giving back a page of them

    /// All of one kind, at most op::max_batch. Until when each may be believed in from now on.
    flow<std::vector<late<rota::result<instant>, Defects>>> extend(std::vector<target> held, microseconds ttl) {
        std::vector<result<instant>> answers;
        answers.reserve(held.size());
        auto const turn = driver_.mode.user_turn();
        auto may = driver_.enter();
        if (may) may = check_ttl(ttl);
        if (may) may = driver_.core.can_act(driver_.now());
        if (!may) {
            while (answers.size() < held.size()) answers.push_back(may.error());
            co_return answers;
        }
        auto const kind = held.front().kind;
        auto const self = driver_.core.self().incarnation;
        op::extend_locks asked{.incarnation = self, .kind = kind, .ttl = ttl};
        asked.items.reserve(held.size());
        for (auto const& l : held) {
            if (l.incarnation == self) asked.items.push_back({l.name, l.token});
        }
        if (asked.items.empty()) {
            for (auto const& l : held) answers.push_back(error{errc::lock_lost, in_words(l.name)});
            co_return answers;
        }
        operation const request{std::move(asked)};
        auto const sent = driver_.now();
        auto const answer = co_await driver_.attempt(request);
        driver_.collect();
        auto const at = driver_.now();
        std::size_t next = 0;
        for (auto const& l : held) {
            if (l.incarnation != self) {  // of a membership that has ended
                answers.push_back(error{errc::lock_lost, in_words(l.name)});
                continue;
            }
            if (!answer) {
                answers.push_back(answer.error());
                continue;
            }
            auto const& out = std::get<op::outcomes>(*answer).items[next++];
            if (out.ok()) {
                answers.push_back(driver_.core.on_extended(kind, l.name, out, sent, at));
            } else {
                answers.push_back(error{out.code, in_words(l.name)});
                if (out.code == errc::lock_lost) driver_.core.on_released(kind, l.name, l.token);
            }
        }
        co_return answers;
    }

    /// All of one kind, at most op::max_batch; their handles are invalid already.
    flow<std::vector<late<rota::result<void>, Defects>>> release(std::vector<target> held) {
        std::vector<result<void>> answers(held.size());
        op::release_locks request{.kind = held.front().kind};
        request.items.reserve(held.size());
        for (auto const& l : held) request.items.push_back({l.name, l.token});
        auto const turn = driver_.mode.user_turn();
        auto const r = co_await driver_.release_locked(std::move(request));
        for (std::size_t i = 0; i < held.size(); ++i) {
            if (!r) {
                answers[i] = r.error();
            } else if (!r->items[i].ok()) {
                answers[i] = error{r->items[i].code, in_words(held[i].name)};
            }
        }
        co_return answers;
    }

    result<void> check_ttl(microseconds ttl) const {
        auto const& o = driver_.core.settings();
        if (auto r = check_duration("ttl", ttl, microseconds{1000}, std::chrono::hours{24 * 30}); !r) return r;
        if (anchored(o, instant{}, instant{}, ttl) > instant{}) return {};
        return {errc::invalid_argument,
                fmt::format("ttl is {}: nothing is left of it after safety_margin ({}) and clock_drift", in_words(ttl),
                            in_words(o.safety_margin))};
    }

private:
    result<void> check(op::lock_kind kind, std::vector<std::string> const& names, microseconds ttl) const {
        if (auto r = driver_.enter(); !r) return r;
        if (auto r = check_ttl(ttl); !r) return r;
        char const* const what = kind == op::lock_kind::schedule ? "a schedule id" : "the name of a lock";
        for (auto const& name : names) {
            if (auto r = check_id(what, name); !r) return at_item(&name - names.data(), r.error());
        }
        if (names.size() == 1) return {};
        return check_distinct({names.begin(), names.end()});
    }

    flow<result<void>> acquire_page(op::lock_kind kind, std::vector<std::string> names, microseconds ttl,
                                    std::vector<late<rota::result<grant>, Defects>>& grants) {
        auto const turn = driver_.mode.user_turn();
        auto& core = driver_.core;
        if (auto r = core.can_act(driver_.now()); !r) co_return r;
        operation const request = core.acquisition(kind, std::move(names), ttl);
        auto const& asked = std::get<op::acquire_locks>(request);
        if constexpr (Mode::interleaves) core.on_acquiring(asked);
        auto const sent = driver_.now();
        auto const answer = co_await driver_.attempt(request);
        if constexpr (Mode::interleaves) core.no_longer_acquiring(asked);
        driver_.collect();
        if (!answer) {
            if (answer.error() == errc::outcome_unknown) driver_.note_unanswered(request, driver_.now() + ttl);
            co_return answer.error();
        }
        auto const& granted = std::get<op::outcomes>(*answer).items;
        auto const at = driver_.now();
        for (std::size_t i = 0; i < granted.size(); ++i) {
            auto const& name = asked.items[i].name;
            if (!granted[i].ok()) {
                grants.push_back(error{granted[i].code, why_not(granted[i], name)});
                continue;
            }
            target held{kind, name, granted[i].token, asked.incarnation};
            auto const until = core.on_acquired(kind, name, granted[i], sent, at);
            if (at >= until || !driver_.belief->alive(asked.incarnation, at)) {  // too late to be of use: given back
                driver_.abandon(std::move(held));
                grants.push_back(error{errc::lock_lost, in_words(name) + " was granted too late to be of use"});
                continue;
            }
            grants.push_back(grant{std::move(held), until});
        }
        co_return result<void>{};
    }

    static std::string why_not(op::outcome const& out, std::string const& name) {
        if (out.code != errc::locked_by_other) return in_words(name);
        return fmt::format("{}, for {} ms at most", in_words(name), out.remaining.count() / 1000 + 1);
    }

    driver_type& driver_;
};

}  // namespace rota::detail

// ---- rota/detail/engine/schedule_calls.hpp -------------------------------------------------------------------------
// Which schedules there are, and who has them: register, update, unregister, claim, transfer. In pages, each page one
// request (or two, where it has to be looked up first who owns what). What is given by span must live until the end.

namespace rota::detail {

template <typename Mode, typename Defects>
class schedule_calls {
    using driver_type = driver<Mode, Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;
    template <typename T>
    using results = late<rota::results<T>, Defects>;

public:
    schedule_calls(driver_type& d, group_calls<Mode, Defects>& group) : driver_{d}, group_{group} {}

    flow<results<void>> register_schedules(std::span<schedule const> all) {
        auto may = driver_.enter();
        if (may) may = check_schedules(all);
        if (!may) co_return all_failed<void>(all.size(), may.error());
        results<void> answers;
        for (std::size_t n = 0; !page_of(all, n).empty(); ++n) {
            auto const page = page_of(all, n);
            op::register_schedules request;
            for (auto const& s : page) request.items.push_back({s.id, s.weight, to_traits(s.rules)});
            auto const r = co_await driver_.perform(std::move(request));
            for (std::size_t i = 0; i < page.size(); ++i) {
                if (!r) {
                    answers.push_back(r.error());
                } else if (r->items[i].ok()) {
                    answers.push_back({});
                } else {
                    answers.push_back(error{r->items[i].code, in_words(page[i].id)});
                }
            }
        }
        co_await driver_.after_change();
        co_return answers;
    }

    flow<results<void>> update_schedules(std::span<schedule const> all) {
        auto may = driver_.enter();
        if (may) may = check_schedules(all);
        if (!may) co_return all_failed<void>(all.size(), may.error());
        results<void> answers;
        for (std::size_t n = 0; !page_of(all, n).empty(); ++n) {
            auto const page = page_of(all, n);
            std::vector<std::string> ids;
            for (auto const& s : page) ids.push_back(s.id);
            auto const ask = [page](std::vector<located> const& found) {
                op::update_schedules request;
                for (auto const& [i, owner] : found) {
                    request.items.push_back({page[i].id, page[i].weight, to_traits(page[i].rules), owner});
                }
                return request;
            };
            co_await at_their_owners(ids, answers, ask);
        }
        co_await driver_.after_change();
        co_return answers;
    }

    flow<results<void>> unregister_schedules(std::span<std::string const> all) {
        auto may = driver_.enter();
        if (may) may = check_ids(all);
        if (!may) co_return all_failed<void>(all.size(), may.error());
        results<void> answers;
        for (std::size_t n = 0; !page_of(all, n).empty(); ++n) {
            auto const page = page_of(all, n);
            auto const nonce = new_nonce();
            auto const ask = [page, nonce](std::vector<located> const& found) {
                op::unregister_schedules request{.nonce = nonce};
                for (auto const& [i, owner] : found) request.items.push_back({page[i], owner});
                return request;
            };
            co_await at_their_owners(page, answers, ask);
        }
        co_await driver_.after_change();
        co_return answers;
    }

    flow<results<owned_schedule>> claim(std::span<std::string const> all) {
        auto may = driver_.enter();
        if (may) may = check_ids(all);
        if (!may) co_return all_failed<owned_schedule>(all.size(), may.error());
        results<owned_schedule> answers;
        for (std::size_t n = 0; !page_of(all, n).empty(); ++n) {
            auto const page = page_of(all, n);
            op::claim request{.ids = {page.begin(), page.end()}};
            if (auto r = as_member(request); !r) {
                for (std::size_t i = 0; i < page.size(); ++i) answers.push_back(r.error());
                continue;
            }
            auto const r = co_await driver_.perform(std::move(request));
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
            if (r) driver_.note_own_change(*r);
        }
        co_await driver_.after_change();
        auto const turn = driver_.mode.user_turn();
        for (auto& claimed : answers) {
            if (!claimed) continue;
            auto const s = driver_.belief->table().find(claimed->id);  // the weight is known by now
            if (s != driver_.belief->table().end()) claimed->weight = s->second.weight;
        }
        co_return answers;
    }

    flow<result<void>> transfer(std::string id, std::string node_id) {
        auto may = driver_.enter();
        if (may) may = check_id("the schedule id", id);
        if (!may) co_return may;
        auto const to = co_await group_.incarnation_of(node_id);
        if (!to) co_return to.error();
        auto const found = co_await look_up(id);
        if (!found) co_return found.error();
        if (!found->registered) co_return error{errc::unknown_schedule, in_words(id)};
        auto const& status = found->status;
        if (status.owner == *to && status.moving_to == 0) co_return result<void>{};
        fencing_token self = 0, term = 0, seen = 0;
        {
            auto const turn = driver_.mode.user_turn();
            if (auto can = driver_.core.can_act(driver_.now()); !can) co_return can;
            self = driver_.core.self().incarnation;
            if (driver_.belief->leads(driver_.now())) term = driver_.belief->term();
            seen = driver_.core.seen();
        }
        if (term == 0 && status.owner != self) {
            co_return error{errc::not_leader, "only the owner or the leader transfers a schedule"};
        }
        if (status.owner == *to) co_return error{errc::conflict, in_words(id) + " is on its way to another node"};
        result<op::outcomes> r = errc::not_leader;
        if (status.owner == 0) {
            op::adopt request{.incarnation = self, .term = term, .items = {}, .seen = seen};
            request.items.push_back({id, status.generation, 0, *to, change_reason::transferred});
            r = co_await driver_.perform(std::move(request));
        } else {
            op::revoke request{.incarnation = self,
                               .term = status.owner == self ? 0 : term,
                               .items = {},
                               .handoff_deadline = driver_.core.settings().handoff_deadline};
            request.items.push_back({id, status.generation, status.owner, *to, change_reason::transferred});
            r = co_await driver_.perform(std::move(request));
        }
        if (!r) co_return r.error();
        driver_.note_own_change(*r);
        co_await driver_.after_change();
        auto const& out = r->items.front();
        if (out.ok()) co_return result<void>{};
        if (out.code == errc::conflict) {  // also what a repeat is answered, once the first has taken effect
            auto const now_at = co_await look_up(id);
            if (now_at && now_at->status.owner == *to) co_return result<void>{};
        }
        co_return error{out.code, in_words(id) + " to " + in_words(node_id)};
    }

private:
    struct located {
        std::size_t item = 0;
        fencing_token owner = 0;
    };

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

    // Requests that need to know where each schedule is: that is looked up first; who moved in between is looked up again.
    template <typename Ask>
    flow<void> at_their_owners(std::span<std::string const> page, results<void>& answers, Ask const& ask) {
        std::vector<outcome_or_error> state(page.size());
        for (int round = 0; round < 4; ++round) {
            op::lookup look;
            std::vector<located> open;
            for (std::size_t i = 0; i < page.size(); ++i) {
                if (state[i].settled) continue;
                look.ids.push_back(page[i]);
                open.push_back({i, 0});
            }
            if (open.empty()) break;
            auto const found = co_await driver_.perform(std::move(look));
            for (std::size_t k = 0; found && k < open.size(); ++k) open[k].owner = found->items[k].status.owner;
            result<op::outcomes> r = errc::unavailable;
            if (found) {
                auto request = ask(open);
                r = co_await driver_.perform(std::move(request));
            } else {
                r = found.error();
            }
            for (std::size_t k = 0; k < open.size(); ++k) state[open[k].item].set(r, k);
            if (r) driver_.note_own_change(*r);
        }
        for (std::size_t i = 0; i < page.size(); ++i) answers.push_back(state[i].as_result(in_words(page[i])));
    }

    flow<result<op::lookup_reply::entry>> look_up(std::string const& id) {
        op::lookup request;
        request.ids.push_back(id);
        auto found = co_await driver_.perform(std::move(request));
        if (!found) co_return found.error();
        co_return std::move(found->items.front());
    }

    static result<void> check_schedules(std::span<schedule const> list) {
        std::vector<std::string_view> ids;
        for (auto const& s : list) {
            if (auto r = check_schedule(s); !r) return at_item(&s - list.data(), r.error());
            ids.push_back(s.id);
        }
        return check_distinct(std::move(ids));
    }

    static result<void> check_schedule(schedule const& s) {
        if (auto r = check_id("a schedule id", s.id); !r) return r;
        if (!is_finite(s.weight) || s.weight <= 0) {
            return {errc::invalid_argument,
                    fmt::format("the weight of {} is {}, must be finite and more than 0", in_words(s.id), s.weight)};
        }
        if (!s.rules.pin.empty()) {
            if (auto r = check_id("a pin", s.rules.pin); !r) return r;
        }
        if (auto r = check_label("a group", s.rules.group, 0); !r) return r;
        if (auto r = check_labels({}, s.rules.required, "a required label"); !r) return r;
        return check_labels({}, s.rules.forbidden, "a forbidden label");
    }

    std::uint64_t new_nonce() {
        auto const turn = driver_.mode.user_turn();
        return driver_.core.new_nonce();
    }

    result<void> as_member(op::claim& request) {
        auto const turn = driver_.mode.user_turn();
        if (auto r = driver_.core.can_act(driver_.now()); !r) return r;
        request.incarnation = driver_.core.self().incarnation;
        request.seen = driver_.core.seen();
        return {};
    }

    driver_type& driver_;
    group_calls<Mode, Defects>& group_;
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
class blocking_ports : public ports {
public:
    virtual result<reply> perform(operation const&, microseconds timeout) = 0;
    virtual wake_reason wait(subscription const&, microseconds timeout) = 0;
    virtual void wake() = 0;

protected:
    ~blocking_ports() = default;
};

/// How a flow takes turns, performs and sleeps where it may block its thread: see driver.hpp.
template <typename Defects>
class blocking_mode {
public:
    static constexpr bool interleaves = false;

    explicit blocking_mode(blocking_ports& p) : ports_{p} {}

    [[nodiscard]] auto user_turn() { return std::unique_lock{io_}; }
    [[nodiscard]] auto quick_turn() { return std::unique_lock{lane_io_}; }
    [[nodiscard]] auto whole_turn() { return ready{std::unique_lock{io_}}; }
    [[nodiscard]] auto lane_turn() { return ready{std::unique_lock{lane_io_}}; }

    [[nodiscard]] auto perform(late<operation, Defects> const& request, microseconds timeout) {
        return ready<result<reply>>{ports_.perform(request, timeout)};
    }
    [[nodiscard]] auto sleep(subscription const& listen, microseconds span) {
        std::lock_guard const turn{sleep_};
        return ready{ports_.wait(listen, span)};
    }
    // A glance at what a sleep would be woken by; none if somebody is asleep.
    [[nodiscard]] wake_reason look(subscription const& listen) {
        std::unique_lock const turn{sleep_, std::try_to_lock};
        return turn ? ports_.wait(listen, microseconds{}) : wake_reason::timeout;
    }
    void stir() { ports_.wake(); }

    // run() has ended: somebody may wait for that.
    template <typename Note>
    void ended(Note&& note) {
        std::lock_guard const lock{idle_mutex_};
        note();
        idle_.notify_all();
    }
    template <typename Until>
    void await(Until&& until) {
        std::unique_lock lock{idle_mutex_};
        idle_.wait(lock, until);
    }

private:
    blocking_ports& ports_;
    two_lane_mutex io_;                       // of core and command connection
    two_lane_mutex::fast_lane lane_io_{io_};  // ... for the background lane, which goes first
    std::mutex sleep_;                        // held by the thread that waits for what is pushed
    std::mutex idle_mutex_;
    std::condition_variable idle_;
};

template <typename Defects = sound>
class blocking_engine final : private lock_host {
    using mode_type = blocking_mode<Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;
    template <typename T>
    using results = late<rota::results<T>, Defects>;

public:
    blocking_engine(options given, blocking_ports& policies, std::shared_ptr<belief> published, std::uint64_t entropy)
        : mode_{policies},
          driver_{std::move(given), policies, mode_, std::move(published), entropy},
          link_{std::make_shared<lock_link>(static_cast<lock_host&>(*this), driver_.belief)} {}

    /// The coordinator's destructor: no handle reaches in any more, then one bounded leave.
    void shut_down() {
        link_->close();
        membership_.close();
        mode_.stir();
        mode_.await([this] { return !membership_.running(); });
        (void)leave();
    }

    // ---------------------------------------------------------------- membership and leadership

    result<void> join() { return membership_.join().get(); }
    result<void> tick() { return membership_.tick().get(); }
    void be_watched() { membership_.be_watched(); }
    result<void> run(std::stop_token stop, instant until) { return membership_.run(std::move(stop), until).get(); }
    result<void> leave() { return membership_.leave().get(); }
    [[nodiscard]] microseconds next_tick() const { return membership_.next_tick(); }
    result<bool> try_become_leader() { return membership_.try_become_leader().get(); }
    result<void> renounce() { return membership_.renounce().get(); }
    result<void> rebalance() { return membership_.rebalance().get(); }

    // ---------------------------------------------------------------- locks

    results<schedule_lock> lock_each(op::lock_kind kind, std::vector<std::string> names, microseconds ttl) {
        auto granted = locks_.acquire(kind, std::move(names), ttl).get();
        results<schedule_lock> locks;
        locks.reserve(granted.size());
        for (auto& g : granted) {
            if (g) {
                locks.push_back(schedule_lock{link_, std::move(g->held), g->until});
            } else {
                locks.push_back(g.error());
            }
        }
        return locks;
    }

    result<schedule_lock> lock_one(op::lock_kind kind, std::string name, microseconds ttl) {
        std::vector<std::string> names;
        names.push_back(std::move(name));
        auto locks = lock_each(kind, std::move(names), ttl);
        return std::move(locks.front());
    }

    results<void> extend_each(std::span<schedule_lock> locks, microseconds ttl) {
        return in_batches(locks, [&](std::span<schedule_lock*> batch) { return extend_batch(batch, ttl); });
    }
    results<void> release_each(std::span<schedule_lock> locks) {
        return in_batches(locks, [&](std::span<schedule_lock*> batch) {
            for (auto* l : batch) l->forget();
            return locks_.release(held_by(batch)).get();
        });
    }

    // ---------------------------------------------------------------- schedules

    results<void> register_schedules(std::span<schedule const> list) {
        return schedules_.register_schedules(list).get();
    }
    results<void> update_schedules(std::span<schedule const> list) { return schedules_.update_schedules(list).get(); }
    results<void> unregister_schedules(std::span<std::string const> ids) {
        return schedules_.unregister_schedules(ids).get();
    }
    results<owned_schedule> claim(std::span<std::string const> ids) { return schedules_.claim(ids).get(); }
    result<void> transfer(std::string const& id, std::string const& node_id) {
        return schedules_.transfer(id, node_id).get();
    }

    // ---------------------------------------------------------------- the group

    result<std::vector<node_status>> nodes() { return group_.nodes().get(); }
    result<std::vector<node_load>> loads() { return group_.loads().get(); }
    result<std::vector<schedule_status>> orphaned() { return group_.orphaned().get(); }
    result<proposal> propose() { return group_.propose().get(); }
    result<proposal> propose_if_lost(std::string const& node_id) { return group_.propose_if_lost(node_id).get(); }
    result<proposal> propose_if_joined(std::uint32_t count, node_attributes const& attributes) {
        return group_.propose_if_joined(count, attributes).get();
    }
    result<void> apply(proposal const& p) { return group_.apply(p).get(); }
    result<void> set_attributes(node_attributes attributes) {
        return group_.set_attributes(std::move(attributes)).get();
    }
    node_attributes attributes() { return group_.attributes(); }
    result<void> report_load(double load) { return group_.report_load(load).get(); }
    result<void> give_order(op::order_kind kind, std::string const& node_id) {
        return group_.give_order(kind, node_id).get();
    }

    [[nodiscard]] instant now() const { return driver_.now(); }

private:
    // Locks of both kinds and of this coordinator alone, in requests of one kind; the others are lost ones.
    template <typename Send>
    results<void> in_batches(std::span<schedule_lock> locks, Send&& send) {
        if (auto r = driver_.enter(); !r) return all_failed<void>(locks.size(), r.error());
        results<void> answers = all_failed<void>(locks.size(), {errc::lock_lost, {}});
        for (auto kind : {op::lock_kind::schedule, op::lock_kind::name}) {
            std::vector<schedule_lock*> batch;
            std::vector<std::size_t> places;
            auto flush = [&] {
                if (batch.empty()) return;
                auto r = send(std::span{batch});
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
        driver_.after_locks().get();
        return answers;
    }

    static std::vector<target> held_by(std::span<schedule_lock*> batch) {
        std::vector<target> held;
        held.reserve(batch.size());
        for (auto const* l : batch) held.push_back(l->held());
        return held;
    }

    std::vector<result<void>> extend_batch(std::span<schedule_lock*> batch, microseconds ttl) {
        auto const extended = locks_.extend(held_by(batch), ttl).get();
        std::vector<result<void>> answers(batch.size());
        for (std::size_t i = 0; i < batch.size(); ++i) {
            if (extended[i]) {
                batch[i]->extended_until(*extended[i]);
            } else {
                answers[i] = extended[i].error();
                if (answers[i].error() == errc::lock_lost) batch[i]->forget();
            }
        }
        return answers;
    }

    result<instant> extend_lock(target const& held, microseconds ttl) override {
        auto extended = locks_.extend({held}, ttl).get();
        if (!driver_.in_sink()) driver_.deliver();
        return std::move(extended.front());
    }

    result<void> release_lock(target const& held) override {
        if (driver_.in_sink()) {  // a handle that dies in a sink: the lane tells the server
            driver_.abandon(held);
            return {};
        }
        auto released = locks_.release({held}).get();
        driver_.after_locks().get();
        return std::move(released.front());
    }

    mode_type mode_;
    driver<mode_type, Defects> driver_;
    membership_calls<mode_type, Defects> membership_{driver_};
    lock_calls<mode_type, Defects> locks_{driver_};
    group_calls<mode_type, Defects> group_{driver_, membership_};
    schedule_calls<mode_type, Defects> schedules_{driver_, group_};
    std::shared_ptr<lock_link> link_;
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

// ---- rota/detail/handler.hpp ---------------------------------------------------------------------------------------
// Tells handlers from other arguments, so that a call of the wrong kind (with a handler over a blocking transport, without
// one over an asynchronous one) is refused in one line.

namespace rota::detail {

struct fallback_call {
    void operator()();
};
template <typename T>
struct probe_call : T, fallback_call {};

template <typename T>
constexpr bool is_callable() {
    if constexpr (std::is_pointer_v<T>) {
        return std::is_function_v<std::remove_pointer_t<T>>;
    } else if constexpr (!std::is_class_v<T>) {
        return false;
    } else if constexpr (std::is_final_v<T>) {
        return requires { &T::operator(); };
    } else {
        return !requires { &probe_call<T>::operator(); };  // also overloaded and generic ones
    }
}

template <typename... Arguments>
struct last_is_callable : std::false_type {};
template <typename Last>
struct last_is_callable<Last> : std::bool_constant<is_callable<std::decay_t<Last>>()> {};
template <typename First, typename Second, typename... Rest>
struct last_is_callable<First, Second, Rest...> : last_is_callable<Second, Rest...> {};

template <typename...>
inline constexpr bool never = false;

}  // namespace rota::detail

// For the two kinds of coordinator: each refuses what only the other has.
#define ROTA_DETAIL_TAKES_NO_HANDLER(name)                                                                      \
    template <typename... Arguments>                                                                            \
        requires(detail::last_is_callable<Arguments...>::value)                                                 \
    void name(Arguments&&...) {                                                                                 \
        static_assert(detail::never<Arguments...>, "rota: over a blocking transport " #name                     \
                                                   " returns its result and takes no handler (an asynchronous " \
                                                   "one is rota::hiredis_async)");                              \
    }
#define ROTA_DETAIL_TAKES_A_HANDLER(name)                                                                        \
    template <typename... Arguments>                                                                             \
        requires(!detail::last_is_callable<Arguments...>::value)                                                 \
    void name(Arguments&&...) {                                                                                  \
        static_assert(detail::never<Arguments...>,                                                               \
                      "rota: over an asynchronous transport " #name " takes a handler last, and does not wait"); \
    }

// ---- rota/detail/policy_ports.hpp ----------------------------------------------------------------------------------
// The policies of a coordinator, held by value, and the way of an engine to those that every mode has.

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

template <typename T>
inline constexpr bool has_submit_only = has_submit<T> && !has_perform<T>;

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
    transport_lacks_submit,
    transport_lacks_listen,
    transport_lacks_loop,
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
constexpr policy_fault fault_of_async_transport() {
    if constexpr (!requires(T t, operation const& request, microseconds timeout,
                            unique_function<void(result<reply>)> handler) {
                      t.submit(request, timeout, std::move(handler));
                  }) {
        return policy_fault::transport_lacks_submit;
    } else if constexpr (!requires(T t, subscription const& sub, unique_function<void()> pushed) {
                             t.listen(sub, std::move(pushed));
                         }) {
        return policy_fault::transport_lacks_listen;
    } else if constexpr (!requires(T t) { t.loop(); }) {
        return policy_fault::transport_lacks_loop;
    } else {
        return policy_fault::none;
    }
}

template <typename T>
constexpr policy_fault fault_of_transport() {
    if constexpr (!requires(T t, transport_settings const& s) {
                      { t.open(s) } -> std::same_as<result<void>>;
                  }) {
        return policy_fault::transport_lacks_open;
    } else if constexpr (has_submit<T> && !has_perform<T>) {
        return fault_of_async_transport<T>();
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
    static_assert(Fault != transport_lacks_submit,
                  "rota: the transport policy lacks `void submit(rota::operation const&, rota::microseconds timeout, "
                  "handler of rota::result<rota::reply>)`");
    static_assert(Fault != transport_lacks_listen,
                  "rota: the transport policy lacks `void listen(rota::subscription const&, handler of nothing)`");
    static_assert(Fault != transport_lacks_loop, "rota: the transport policy lacks `rota::loop_ref loop()`");
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
    // Calls take a handler last, and nothing waits.
    static constexpr bool is_async = valid && (has_submit_only<unwrapped_t<Policies>> || ...);

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

namespace rota::detail {

/// `Ports`: blocking_ports or async_ports, whose other members the coordinator adds.
template <typename Ports, typename Set>
class policy_ports : public Ports {
    using transport_type = typename Set::transport;
    using strategy_type = typename Set::strategy;
    using sink_type = typename Set::sink;

public:
    policy_ports(transport_type t, strategy_type s, sink_type k)
        : transport{std::move(t)},
          rules{std::move(s)},
          sink{std::move(k)} {}

    result<void> open(transport_settings const& settings) final { return unwrap(transport).open(settings); }
    bool take_server_changed() final {
        if constexpr (requires { unwrap(transport).take_server_changed(); }) {
            return unwrap(transport).take_server_changed();
        } else {
            return false;
        }
    }
    std::vector<error> take_warnings() final {
        if constexpr (requires { unwrap(transport).take_warnings(); }) {
            return unwrap(transport).take_warnings();
        } else {
            return {};
        }
    }
    void deliver(event const& e) noexcept final { detail::deliver(sink, e); }

    planner strategy() final {
        using plain = unwrapped_t<strategy_type>;
        auto const& policy = unwrap(std::as_const(rules));
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

protected:
    ~policy_ports() = default;
};

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
    static_assert(!set::is_async, "rota: include rota/async_coordinator.hpp for an asynchronous transport");

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

    /// Evens out the load now, whatever rebalance_threshold says. not_leader; conflict: the group is under maintenance;
    /// invalid_argument: the strategy's plan breaks its contract.
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

    /// Makes schedules exist, for the leader to place; harmless for those that do, which keep weight and rules as they are.
    /// Also without join(). Here and below: one result per item; an invalid or repeated one (invalid_argument) refuses all.
    [[nodiscard]] results<void> register_schedules(std::span<schedule const> schedules) {
        return engine().register_schedules(schedules);
    }
    [[nodiscard]] results<void> register_schedules(std::initializer_list<schedule> schedules) {
        return engine().register_schedules({schedules.begin(), schedules.size()});
    }

    /// Changes weight and rules of schedules, whoever owns them; the leader takes it into account at once. unknown_schedule.
    /// Also without join().
    [[nodiscard]] results<void> update_schedules(std::span<schedule const> schedules) {
        return engine().update_schedules(schedules);
    }
    [[nodiscard]] results<void> update_schedules(std::initializer_list<schedule> schedules) {
        return engine().update_schedules({schedules.begin(), schedules.size()});
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
    /// come back: pin it (placement_rules, constrained<S>) for good. unknown_schedule, unknown_node, not_leader (neither owner
    /// nor leader), capacity_exceeded, conflict (it is moving elsewhere).
    [[nodiscard]] result<void> transfer(std::string const& schedule, std::string const& node_id) {
        return engine().transfer(schedule, node_id);
    }

    /// What this node owns right now: a copy, ordered by id; empty while suspended. A local read.
    [[nodiscard]] std::vector<owned_schedule> owned() const {
        auto const& b = *shell_.published;
        return b.owned(b.now());
    }

    // ---------------------------------------------------------------- attributes of this node

    /// Changes what this node says of itself: capacity, zone and labels, all of them. Without membership it is told with
    /// the next join(). Begins as options say (max_schedules_per_node, zone, labels). A capacity below what it owns makes
    /// the leader move the rest. Success means that the group has been told; unavailable: it will be.
    [[nodiscard]] result<void> set_attributes(node_attributes attributes) {
        return engine().set_attributes(std::move(attributes));
    }
    [[nodiscard]] node_attributes attributes() { return engine().attributes(); }

    /// Reports how loaded this node is by its own measure (any unit, the same on all nodes), for strategies that go by it
    /// (measured<S>). Call it as often as you like: it is smoothed (options::load_smoothing), and a request goes out only
    /// when it has changed by a tenth, or a tenth of options::load_floor. Finite, >= 0.
    [[nodiscard]] result<void> report_load(double load) { return engine().report_load(load); }

    // ---------------------------------------------------------------- orders to the group, by anyone, also without join()

    /// The node ends empty and is given nothing more, while it goes on as a member: its schedules are handed over to
    /// others as its runs end. Kept by node_id, over restarts, until undrain(). unknown_node: no live node has that id.
    [[nodiscard]] result<void> drain(std::string const& node_id) {
        return engine().give_order(op::order_kind::drain, node_id);
    }
    [[nodiscard]] result<void> undrain(std::string const& node_id) {
        return engine().give_order(op::order_kind::undrain, node_id);
    }

    /// Until end_maintenance() nothing is moved between live nodes, whatever the reason; orphans are still placed. Hand-offs
    /// that are under way are completed.
    [[nodiscard]] result<void> begin_maintenance() {
        return engine().give_order(op::order_kind::begin_maintenance, {});
    }
    [[nodiscard]] result<void> end_maintenance() { return engine().give_order(op::order_kind::end_maintenance, {}); }

    // ---------------------------------------------------------------- looking at the group (requests, in pages)

    /// All nodes, live and dead ones with schedules left, by incarnation. Also without join(), as the following.
    [[nodiscard]] result<std::vector<node_status>> nodes() { return engine().nodes(); }

    /// How loaded the live nodes are.
    [[nodiscard]] result<std::vector<node_load>> loads() { return engine().loads(); }

    /// Schedules without a live owner.
    [[nodiscard]] result<std::vector<schedule_status>> orphaned() { return engine().orphaned(); }

    /// What this node's strategy would do with the group as it is: a dry run.
    [[nodiscard]] result<proposal> propose() { return engine().propose(); }

    /// ... and what it would do if that node died now, or if `count` more nodes of these attributes joined (their ids are
    /// new-1, new-2, ...). unknown_node.
    [[nodiscard]] result<proposal> propose_if_lost(std::string const& node_id) {
        return engine().propose_if_lost(node_id);
    }
    [[nodiscard]] result<proposal> propose_if_joined(std::uint32_t count, node_attributes const& each = {}) {
        return engine().propose_if_joined(count, each);
    }

    /// Carries out a proposal, by the leader, if nothing at all has changed in the group since it was made (no schedule, no
    /// node, no attribute; make it and apply it at once). conflict: it has,
    /// and nothing was done (for one of more than 200 steps: in part, if something changes meanwhile; the detail says how
    /// many steps no longer applied); or the group is under maintenance. not_leader; invalid_argument: a hypothetical one.
    [[nodiscard]] result<void> apply(proposal const& p) { return engine().apply(p); }

    // ---------------------------------------------------------------- what an asynchronous coordinator has

    ROTA_DETAIL_TAKES_NO_HANDLER(join)
    ROTA_DETAIL_TAKES_NO_HANDLER(tick)
    ROTA_DETAIL_TAKES_NO_HANDLER(leave)
    ROTA_DETAIL_TAKES_NO_HANDLER(run)
    ROTA_DETAIL_TAKES_NO_HANDLER(try_become_leader)
    ROTA_DETAIL_TAKES_NO_HANDLER(renounce_leadership)
    ROTA_DETAIL_TAKES_NO_HANDLER(rebalance)
    ROTA_DETAIL_TAKES_NO_HANDLER(try_lock)
    ROTA_DETAIL_TAKES_NO_HANDLER(try_lock_name)
    ROTA_DETAIL_TAKES_NO_HANDLER(try_lock_each)
    ROTA_DETAIL_TAKES_NO_HANDLER(register_schedules)
    ROTA_DETAIL_TAKES_NO_HANDLER(update_schedules)
    ROTA_DETAIL_TAKES_NO_HANDLER(unregister_schedules)
    ROTA_DETAIL_TAKES_NO_HANDLER(claim)
    ROTA_DETAIL_TAKES_NO_HANDLER(transfer)
    ROTA_DETAIL_TAKES_NO_HANDLER(set_attributes)
    ROTA_DETAIL_TAKES_NO_HANDLER(report_load)
    ROTA_DETAIL_TAKES_NO_HANDLER(drain)
    ROTA_DETAIL_TAKES_NO_HANDLER(undrain)
    ROTA_DETAIL_TAKES_NO_HANDLER(begin_maintenance)
    ROTA_DETAIL_TAKES_NO_HANDLER(end_maintenance)
    ROTA_DETAIL_TAKES_NO_HANDLER(nodes)
    ROTA_DETAIL_TAKES_NO_HANDLER(loads)
    ROTA_DETAIL_TAKES_NO_HANDLER(orphaned)
    ROTA_DETAIL_TAKES_NO_HANDLER(propose)
    ROTA_DETAIL_TAKES_NO_HANDLER(propose_if_lost)
    ROTA_DETAIL_TAKES_NO_HANDLER(propose_if_joined)
    ROTA_DETAIL_TAKES_NO_HANDLER(apply)

    // ---------------------------------------------------------------- the policies

    [[nodiscard]] auto& transport() noexcept { return detail::unwrap(shell_.transport); }
    [[nodiscard]] auto& sink() noexcept { return detail::unwrap(shell_.sink); }

private:
    using belief_type = detail::belief_on<clock_type>;

    struct shell final : detail::policy_ports<detail::blocking_ports, set> {
        shell(rota::options o, clock_type clock, transport_type t, strategy_type s, sink_type k)
            : detail::policy_ports<detail::blocking_ports, set>{std::move(t), std::move(s), std::move(k)},
              published{std::make_shared<belief_type>(std::move(clock))},
              engine{std::make_unique<engine_type>(std::move(o), *this, published, detail::entropy())} {}

        result<reply> perform(operation const& request, microseconds timeout) override {
            return detail::unwrap(this->transport).perform(request, timeout);
        }
        wake_reason wait(subscription const& sub, microseconds timeout) override {
            return detail::unwrap(this->transport).wait(sub, timeout);
        }
        void wake() override { detail::unwrap(this->transport).wake(); }

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

// ---- rota/detail/async_engine.hpp ----------------------------------------------------------------------------------
// The calls of a coordinator over an asynchronous transport: the same flows as a blocking one's (engine/), suspended while
// a request is under way and resumed on the loop's thread. Calls go on side by side, their requests pipelined; only the
// background lane, leave and renounce take turns, so that node_core sees one of its own requests at a time.
//
// Promises: a handler is posted to the loop when its call is done, so it is never called inside another call of rota's,
// and may destroy the coordinator. shut_down() ends whatever is under way with errc::cancelled; nothing that the transport
// or the loop still holds reaches in afterwards.

// ---- rota/loop/event_loop.hpp --------------------------------------------------------------------------------------
// What rota's asynchronous side asks of an event loop: to watch a descriptor, to call back after a time, and to run
// something later. poll_loop.hpp is one of rota's own; libuv_loop.hpp, libevent_loop.hpp and asio_loop.hpp adapt others
// in a hundred lines each, and so may you.
// Promises of a loop: callbacks run on its thread, one at a time, never inside the call that asked for them; a watch or
// timer that was destroyed or stopped calls back no more, also when that was done inside a callback, its own included.
// All of rota holds loops by a loop_ref, so that what uses one is compiled once, whichever it is.

namespace rota {

/// What a descriptor is watched for, or has become; a set of bits.
enum class io_interest : std::uint8_t { none = 0, readable = 1, writable = 2, both = 3 };

[[nodiscard]] constexpr io_interest operator|(io_interest a, io_interest b) noexcept {
    return static_cast<io_interest>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
[[nodiscard]] constexpr bool includes(io_interest all, io_interest some) noexcept {
    return (static_cast<unsigned>(all) & static_cast<unsigned>(some)) != 0;
}

/// A descriptor that a loop watches, until this is destroyed; which must be before the descriptor is closed, and before
/// the loop is destroyed. Loop's thread only.
class loop_watch {
public:
    loop_watch() = default;
    loop_watch(loop_watch const&) = delete;
    loop_watch& operator=(loop_watch const&) = delete;
    virtual ~loop_watch() = default;
    /// What to watch for from now on.
    virtual void want(io_interest interest) = 0;
};

/// A timer that fires once, each time it is started. Loop's thread only; to be destroyed before the loop.
class loop_timer {
public:
    loop_timer() = default;
    loop_timer(loop_timer const&) = delete;
    loop_timer& operator=(loop_timer const&) = delete;
    virtual ~loop_timer() = default;
    /// Fires that much later, and not at the time that it was set to before. 0 or less: soon.
    virtual void start(microseconds after) = 0;
    virtual void stop() = 0;
};

using watch_handle = std::unique_ptr<loop_watch>;
using timer_handle = std::unique_ptr<loop_timer>;

/// What they call. Level-triggered: called again and again while the descriptor stays ready. Errors and hang-ups count
/// as readable, or as writable if that is all that was asked for.
using watch_callback = detail::unique_function<void(io_interest ready)>;
using loop_task = detail::unique_function<void()>;

/// Requirements of an event loop `l`. Threads: post() by any, all else by the thread that runs the loop.
///
/// | expression                    | type         | meaning |
/// | l.watch(fd, interest, called) | watch_handle | calls `called(ready)` whenever fd is ready for what is of interest; one watch per descriptor |
/// | l.timer(called)               | timer_handle | calls `called()` when it fires; not started yet |
/// | l.post(task)                  | -            | runs the task once, later, in the order of posting; dropped unrun if the loop never runs again |
template <typename L>
concept event_loop =
    requires(L& l, int fd, io_interest interest, watch_callback watch_called, loop_task timer_called, loop_task task) {
        { l.watch(fd, interest, std::move(watch_called)) } -> std::same_as<watch_handle>;
        { l.timer(std::move(timer_called)) } -> std::same_as<timer_handle>;
        l.post(std::move(task));
    };

/// Any event_loop, by reference: the loop must outlive it, and everything that was made through it. Copied freely.
class loop_ref {
public:
    template <typename L>
        requires(!std::same_as<std::remove_cv_t<L>, loop_ref> && event_loop<L>)
    loop_ref(L& loop) noexcept : loop_{&loop},
                                 calls_{&of<L>} {}

    [[nodiscard]] watch_handle watch(int fd, io_interest interest, watch_callback called) const {
        return calls_->watch(loop_, fd, interest, std::move(called));
    }
    [[nodiscard]] timer_handle timer(loop_task called) const { return calls_->timer(loop_, std::move(called)); }
    /// Any thread.
    void post(loop_task task) const { calls_->post(loop_, std::move(task)); }

    /// Whether both are the same loop.
    friend bool operator==(loop_ref a, loop_ref b) noexcept { return a.loop_ == b.loop_; }

private:
    struct calls {
        watch_handle (*watch)(void*, int, io_interest, watch_callback);
        timer_handle (*timer)(void*, loop_task);
        void (*post)(void*, loop_task);
    };
    template <typename L>
    static constexpr calls of{[](void* l, int fd, io_interest interest, watch_callback called) {
                                  return static_cast<L*>(l)->watch(fd, interest, std::move(called));
                              },
                              [](void* l, loop_task called) { return static_cast<L*>(l)->timer(std::move(called)); },
                              [](void* l, loop_task task) { static_cast<L*>(l)->post(std::move(task)); }};

    void* loop_;
    calls const* calls_;
};

}  // namespace rota

namespace rota::detail {

/// The policies of an asynchronous coordinator, type-erased.
class async_ports : public ports {
public:
    using reply_handler = unique_function<void(result<reply>)>;
    virtual void submit(operation const&, microseconds timeout, reply_handler) = 0;
    virtual void listen(subscription const&, loop_task pushed) = 0;
    [[nodiscard]] virtual loop_ref loop() const = 0;

protected:
    ~async_ports() = default;
};

/// How a flow takes turns, performs and sleeps on a loop: see driver.hpp.
template <typename Defects>
class async_mode {
    using reply = late<rota::reply, Defects>;
    using operation = late<rota::operation, Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;

public:
    static constexpr bool interleaves = true;

    explicit async_mode(async_ports& p) : ports_{p} {}
    async_mode(async_mode const&) = delete;
    async_mode& operator=(async_mode const&) = delete;

    // ---------------------------------------------------------------- turns

    // There is one thread, and it goes on until it awaits something.
    struct no_turn {
        ~no_turn() {}  // g++ warns of variables that nothing is done with, unless they end in some way
    };
    [[nodiscard]] no_turn user_turn() const { return {}; }
    [[nodiscard]] no_turn quick_turn() const { return {}; }

    class turn {
    public:
        explicit turn(async_mode& m) noexcept : mode_{&m} {}
        turn(turn&& other) noexcept : mode_{std::exchange(other.mode_, nullptr)} {}
        turn& operator=(turn&&) = delete;
        ~turn() {
            if (mode_) mode_->end_turn();
        }

    private:
        async_mode* mode_;
    };
    struct turn_awaiter {
        async_mode& mode;
        bool await_ready() noexcept { return !std::exchange(mode.taken_, true); }
        void await_suspend(std::coroutine_handle<> h) { mode.waiting_.push_back(h); }
        turn await_resume() noexcept { return turn{mode}; }
    };
    [[nodiscard]] turn_awaiter lane_turn() { return {*this}; }
    [[nodiscard]] turn_awaiter whole_turn() { return {*this}; }

    // ---------------------------------------------------------------- requests

    // One that is under way. The transport's handler shares it, and may outlive the coordinator.
    struct exchange {
        std::coroutine_handle<> awaits;
        std::optional<result<reply>> answer;
        exchange* before = nullptr;
        exchange* after = nullptr;

        void end(result<reply> with) {
            if (!awaits) return;
            answer.emplace(std::move(with));
            std::exchange(awaits, {}).resume();
        }
    };
    class exchange_awaiter {
    public:
        exchange_awaiter(async_mode& m, operation const& request, microseconds timeout)
            : mode_{m},
              request_{request},
              timeout_{timeout} {}
        [[nodiscard]] bool await_ready() const noexcept { return mode_.closing_; }
        void await_suspend(std::coroutine_handle<> h) {
            exchange_ = std::make_shared<exchange>();
            exchange_->awaits = h;
            mode_.link(*exchange_);
            mode_.ports_.submit(request_, timeout_,
                                [e = exchange_](result<reply> answer) { e->end(std::move(answer)); });
        }
        result<reply> await_resume() {
            if (!exchange_) return error{errc::cancelled, "the coordinator is being destroyed"};
            mode_.unlink(*exchange_);
            return *std::move(exchange_->answer);
        }

    private:
        async_mode& mode_;
        operation const& request_;
        microseconds timeout_;
        std::shared_ptr<exchange> exchange_;
    };
    [[nodiscard]] exchange_awaiter perform(operation const& request, microseconds timeout) {
        return {*this, request, timeout};
    }

    // ---------------------------------------------------------------- the sleep of run()

    class sleep_awaiter {
    public:
        sleep_awaiter(async_mode& m, subscription const& listen, microseconds span)
            : mode_{m},
              listen_{listen},
              span_{span} {}
        [[nodiscard]] bool await_ready() const noexcept { return mode_.closing_ || mode_.stirred_.exchange(false); }
        void await_suspend(std::coroutine_handle<> h) {
            mode_.sleeper_ = h;
            if (!mode_.timer_) {
                mode_.timer_ = mode_.ports_.loop().timer([&m = mode_] { m.wake(wake_reason::timeout); });
            }
            mode_.timer_->start(span_);
            mode_.ports_.listen(listen_, [&m = mode_, still = std::weak_ptr<char>{mode_.alive_}] {
                if (!still.expired()) m.wake(wake_reason::pushed);
            });
        }
        [[nodiscard]] wake_reason await_resume() const noexcept {
            return std::exchange(mode_.why_, wake_reason::woken);
        }

    private:
        async_mode& mode_;
        subscription listen_;
        microseconds span_;
    };
    [[nodiscard]] sleep_awaiter sleep(subscription const& listen, microseconds span) { return {*this, listen, span}; }
    [[nodiscard]] wake_reason look(subscription const&) const { return wake_reason::timeout; }

    /// Any thread.
    void stir() {
        stirred_.store(true);
        later([this] {
            if (sleeper_ && stirred_.exchange(false)) wake(wake_reason::woken);
        });
    }

    template <typename Note>
    void ended(Note&& note) {
        note();
    }

    /// Ends all that is under way, and whatever it begins.
    void close() {
        closing_ = true;
        alive_.reset();
        for (;;) {
            if (first_ != nullptr) {
                first_->end(error{errc::cancelled, "the coordinator is being destroyed"});
            } else if (sleeper_) {
                wake(wake_reason::woken);
            } else if (next_) {
                std::exchange(next_, {}).resume();
            } else {
                break;
            }
        }
        timer_.reset();
        ports_.listen({}, [] {});
    }

private:
    // On the loop, if this is still there by then.
    template <typename Task>
    void later(Task task) {
        ports_.loop().post([still = std::weak_ptr<char>{alive_}, task]() mutable {
            if (!still.expired()) task();
        });
    }

    // Not at once: the one whose turn it was has more to do.
    void end_turn() {
        if (waiting_.empty()) {
            taken_ = false;
            return;
        }
        next_ = waiting_.front();
        waiting_.pop_front();
        if (closing_) return;
        later([this] {
            if (next_) std::exchange(next_, {}).resume();
        });
    }

    void wake(wake_reason why) {
        if (!sleeper_) return;  // it looks by itself before it sleeps
        why_ = why;
        timer_->stop();
        std::exchange(sleeper_, {}).resume();
    }

    void link(exchange& e) noexcept {
        e.after = first_;
        if (first_ != nullptr) first_->before = &e;
        first_ = &e;
    }
    void unlink(exchange& e) noexcept {
        (e.before != nullptr ? e.before->after : first_) = e.after;
        if (e.after != nullptr) e.after->before = e.before;
    }

    async_ports& ports_;
    std::shared_ptr<char> alive_ = std::make_shared<char>('\0');
    bool closing_ = false;

    bool taken_ = false;  // the lane's turn
    std::deque<std::coroutine_handle<>> waiting_;
    std::coroutine_handle<> next_;  // whose turn it is, and who goes on when the loop comes to it

    exchange* first_ = nullptr;

    std::coroutine_handle<> sleeper_;
    wake_reason why_ = wake_reason::woken;
    std::atomic<bool> stirred_{false};
    timer_handle timer_;
};

/// A call that nobody awaits: it runs from here on by itself.
struct detached_flow {
    struct promise_type {
        static detached_flow get_return_object() noexcept { return {}; }
        static std::suspend_never initial_suspend() noexcept { return {}; }
        static std::suspend_never final_suspend() noexcept { return {}; }
        static void return_void() noexcept {}
        [[noreturn]] static void unhandled_exception() { throw; }
    };
};

template <typename Defects = sound>
class async_engine final : private async_lock_host {
    using mode_type = async_mode<Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;
    template <typename T>
    using results = late<rota::results<T>, Defects>;

public:
    async_engine(options given, async_ports& policies, std::shared_ptr<belief> published, std::uint64_t entropy)
        : ports_{policies},
          mode_{policies},
          driver_{std::move(given), policies, mode_, std::move(published), entropy} {}

    /// The coordinator's destructor: no handle reaches in any more, and every call ends.
    void shut_down() {
        for (auto& hold : holds_) {
            if (auto const still = hold.lock()) {
                still->ended.store(true);
                still->host = nullptr;
            }
        }
        membership_.close();
        mode_.close();
    }

    // ---------------------------------------------------------------- membership and leadership

    template <typename Handler>
    void join(Handler h) {
        start(membership_.join(), std::move(h));
    }
    template <typename Handler>
    void tick(Handler h) {
        start(membership_.tick(), std::move(h));
    }
    template <typename Handler>
    void run(std::stop_token stop, Handler h) {
        start(membership_.run(std::move(stop), instant::max()), std::move(h));
    }
    template <typename Handler>
    void leave(Handler h) {
        start(membership_.leave(), std::move(h));
    }
    void wake() { mode_.stir(); }
    [[nodiscard]] microseconds next_tick() const { return membership_.next_tick(); }
    template <typename Handler>
    void try_become_leader(Handler h) {
        start(membership_.try_become_leader(), std::move(h));
    }
    template <typename Handler>
    void renounce(Handler h) {
        start(membership_.renounce(), std::move(h));
    }
    template <typename Handler>
    void rebalance(Handler h) {
        start(membership_.rebalance(), std::move(h));
    }

    // ---------------------------------------------------------------- locks

    template <typename Handler>
    void lock_each(op::lock_kind kind, std::vector<std::string> names, microseconds ttl, Handler h) {
        start(lock_each_flow(kind, std::move(names), ttl), std::move(h));
    }
    template <typename Handler>
    void lock_one(op::lock_kind kind, std::string name, microseconds ttl, Handler h) {
        start(lock_one_flow(kind, std::move(name), ttl), std::move(h));
    }

    // ---------------------------------------------------------------- schedules

    template <typename Handler>
    void register_schedules(std::vector<schedule> list, Handler h) {
        start(register_flow(std::move(list)), std::move(h));
    }
    template <typename Handler>
    void update_schedules(std::vector<schedule> list, Handler h) {
        start(update_flow(std::move(list)), std::move(h));
    }
    template <typename Handler>
    void unregister_schedules(std::vector<std::string> ids, Handler h) {
        start(unregister_flow(std::move(ids)), std::move(h));
    }
    template <typename Handler>
    void claim(std::vector<std::string> ids, Handler h) {
        start(claim_flow(std::move(ids)), std::move(h));
    }
    template <typename Handler>
    void transfer(std::string id, std::string node_id, Handler h) {
        start(schedules_.transfer(std::move(id), std::move(node_id)), std::move(h));
    }

    // ---------------------------------------------------------------- the group

    template <typename Handler>
    void nodes(Handler h) {
        start(group_.nodes(), std::move(h));
    }
    template <typename Handler>
    void loads(Handler h) {
        start(group_.loads(), std::move(h));
    }
    template <typename Handler>
    void orphaned(Handler h) {
        start(group_.orphaned(), std::move(h));
    }
    template <typename Handler>
    void propose(Handler h) {
        start(group_.propose(), std::move(h));
    }
    template <typename Handler>
    void propose_if_lost(std::string node_id, Handler h) {
        start(group_.propose_if_lost(std::move(node_id)), std::move(h));
    }
    template <typename Handler>
    void propose_if_joined(std::uint32_t count, node_attributes each, Handler h) {
        start(group_.propose_if_joined(count, std::move(each)), std::move(h));
    }
    template <typename Handler>
    void apply(proposal p, Handler h) {
        start(apply_flow(std::move(p)), std::move(h));
    }
    template <typename Handler>
    void set_attributes(node_attributes attributes, Handler h) {
        start(group_.set_attributes(std::move(attributes)), std::move(h));
    }
    node_attributes attributes() { return group_.attributes(); }
    template <typename Handler>
    void report_load(double load, Handler h) {
        start(group_.report_load(load), std::move(h));
    }
    template <typename Handler>
    void give_order(op::order_kind kind, std::string node_id, Handler h) {
        start(group_.give_order(kind, std::move(node_id)), std::move(h));
    }

    [[nodiscard]] instant now() const { return driver_.now(); }

private:
    template <typename T, typename Handler>
    void start(flow<T> call, Handler handler) {
        static_assert(std::is_invocable_v<Handler&, T>,
                      "rota: this handler cannot take the call's result: see the call's documentation for its type");
        run_and_tell(std::move(call), std::move(handler), ports_.loop());
    }
    template <typename T, typename Handler>
    static detached_flow run_and_tell(flow<T> call, Handler handler, loop_ref loop) {
        T answer = co_await call;
        loop.post(loop_task{told<T, Handler>{std::move(handler), std::move(answer)}});
    }
    template <typename T, typename Handler>
    struct told {
        Handler handler;
        T answer;
        void operator()() { handler(std::move(answer)); }
    };

    // ---------------------------------------------------------------- what a call's arguments live in

    flow<results<void>> register_flow(std::vector<schedule> list) {
        std::span<schedule const> const all{list};
        auto answers = co_await schedules_.register_schedules(all);
        co_return answers;
    }
    flow<results<void>> update_flow(std::vector<schedule> list) {
        std::span<schedule const> const all{list};
        auto answers = co_await schedules_.update_schedules(all);
        co_return answers;
    }
    flow<results<void>> unregister_flow(std::vector<std::string> ids) {
        std::span<std::string const> const all{ids};
        auto answers = co_await schedules_.unregister_schedules(all);
        co_return answers;
    }
    flow<results<owned_schedule>> claim_flow(std::vector<std::string> ids) {
        std::span<std::string const> const all{ids};
        auto answers = co_await schedules_.claim(all);
        co_return answers;
    }
    flow<result<void>> apply_flow(proposal p) {
        auto answer = co_await group_.apply(p);
        co_return answer;
    }

    // ---------------------------------------------------------------- locks and their handles

    flow<results<async_lock>> lock_each_flow(op::lock_kind kind, std::vector<std::string> names, microseconds ttl) {
        auto granted = co_await locks_.acquire(kind, std::move(names), ttl);
        results<async_lock> locks;
        locks.reserve(granted.size());
        for (auto& g : granted) {
            if (g) {
                locks.push_back(handle(std::move(g->held), g->until));
            } else {
                locks.push_back(g.error());
            }
        }
        co_return locks;
    }
    flow<result<async_lock>> lock_one_flow(op::lock_kind kind, std::string name, microseconds ttl) {
        std::vector<std::string> names;
        names.push_back(std::move(name));
        auto granted = co_await locks_.acquire(kind, std::move(names), ttl);
        auto& g = granted.front();
        if (!g) co_return g.error();
        co_return handle(std::move(g->held), g->until);
    }

    async_lock handle(lock_host::target held, instant until) {
        auto hold = std::make_shared<async_hold>();
        hold->held = std::move(held);
        hold->node = driver_.belief;
        hold->host = this;
        hold->until.store(until);
        if (holds_.size() >= 2 * held_before_ + 64) {  // those that are gone, now and then
            std::erase_if(holds_, [](auto const& h) { return h.expired(); });
            held_before_ = holds_.size();
        }
        holds_.push_back(hold);
        return async_lock{std::move(hold)};
    }

    void extend(std::shared_ptr<async_hold> hold, microseconds ttl, lock_handler handler) override {
        start(extend_flow(std::move(hold), ttl), std::move(handler));
    }
    flow<result<void>> extend_flow(std::shared_ptr<async_hold> hold, microseconds ttl) {
        std::vector<lock_host::target> held;
        held.push_back(hold->held);
        auto extended = co_await locks_.extend(std::move(held), ttl);
        if (!driver_.in_sink()) driver_.deliver();
        auto const& until = extended.front();
        if (!until) {
            if (until.error() == errc::lock_lost) hold->ended.store(true);
            co_return until.error();
        }
        if (*until > hold->until.load()) hold->until.store(*until);
        co_return result<void>{};
    }

    void release(std::shared_ptr<async_hold> hold, lock_handler handler) override {
        if (driver_.in_sink()) {  // a handle that dies in a sink: the lane tells the server
            driver_.abandon(hold->held);
            if (handler) refuse({}, std::move(handler));
            return;
        }
        if (!handler) handler = [](result<void>) {};
        start(release_flow(std::move(hold)), std::move(handler));
    }
    flow<result<void>> release_flow(std::shared_ptr<async_hold> hold) {
        std::vector<lock_host::target> held;
        held.push_back(hold->held);
        auto released = co_await locks_.release(std::move(held));
        co_await driver_.after_locks();
        co_return std::move(released.front());
    }

    void refuse(error why, lock_handler handler) override {
        result<void> answer;
        if (why.code != errc{}) answer = std::move(why);
        ports_.loop().post(loop_task{told<result<void>, lock_handler>{std::move(handler), std::move(answer)}});
    }

    async_ports& ports_;
    mode_type mode_;
    driver<mode_type, Defects> driver_;
    membership_calls<mode_type, Defects> membership_{driver_};
    lock_calls<mode_type, Defects> locks_{driver_};
    group_calls<mode_type, Defects> group_{driver_, membership_};
    schedule_calls<mode_type, Defects> schedules_{driver_, group_};
    std::vector<std::weak_ptr<async_hold>> holds_;
    std::size_t held_before_ = 0;
};

}  // namespace rota::detail

namespace rota {

/// A node of a group over an asynchronous transport (policies.hpp). Neither copied nor moved.
///
/// Threads: belongs to the thread that runs the transport's loop, as all its calls do; only wake() and the local reads
/// (is_leader, leader, owned) are for any thread. A call returns at once; its handler is called exactly once, on the
/// loop's thread, never inside a call, with what the blocking call of that name returns. The handler may do anything,
/// also destroy the coordinator: then the calls that are under way end with errc::cancelled (a request that was sent may
/// take effect). Calls may be made without waiting for each other; their requests go out in the order of the calls.
///
/// Errors as of the blocking one, and cancelled.
template <typename... Policies>
    requires(detail::policy_set<Policies...>::is_async)
class basic_coordinator<Policies...> {
    using set = detail::policy_set<Policies...>;
    using engine_type = detail::late<detail::async_engine<>, set>;
    using leader_info = detail::late<rota::leader_info, set>;
    using owned_schedule = detail::late<rota::owned_schedule, set>;
    using reply = detail::late<rota::reply, set>;
    template <typename T>
    using result = detail::late<rota::result<T>, set>;

public:
    using transport_type = typename set::transport;
    using strategy_type = typename set::strategy;
    using clock_type = typename set::clock;
    using sink_type = typename set::sink;

    /// Connects to nothing and refuses nothing: join() and run() do.
    template <typename... Given>
    explicit basic_coordinator(rota::options given_options, Given... policies)
        : shell_{std::move(given_options), detail::pick<clock_type>(policies...),
                 detail::pick<transport_type>(policies...), detail::pick<strategy_type>(policies...),
                 detail::pick<sink_type>(policies...)} {
        static_assert((detail::one_of<Given, transport_type, strategy_type, clock_type, sink_type> && ...),
                      "rota: an argument is none of this coordinator's policies");
        static_assert(detail::all_different<Given...>, "rota: an argument is given twice");
    }

    basic_coordinator(basic_coordinator const&) = delete;
    basic_coordinator& operator=(basic_coordinator const&) = delete;

    /// Ends all calls with errc::cancelled (their handlers are posted to the loop). Does not leave: call leave() first,
    /// and destroy in its handler, or others wait for the node's ttl.
    ~basic_coordinator() { engine().shut_down(); }

    // ---------------------------------------------------------------- taking part

    /// As the blocking calls; handlers take a result<void>.
    template <typename Handler>
    void join(Handler handler) {
        engine().join(std::move(handler));
    }
    template <typename Handler>
    void tick(Handler handler) {
        engine().tick(std::move(handler));
    }
    template <typename Handler>
    void leave(Handler handler) {
        engine().leave(std::move(handler));
    }

    /// Takes part until `stop` is requested (by any thread), leave() is called, or it is fenced: joins if needed, ticks
    /// when it is time, at once for what is pushed, retries while the server is away, rejoins after a loss.
    template <typename Handler>
    void run(std::stop_token stop, Handler handler) {
        engine().run(std::move(stop), std::move(handler));
    }
    template <typename Handler>
    void run(Handler handler) {
        engine().run(std::stop_token{}, std::move(handler));
    }

    /// How long until there is something to do. run() looks after that. A local read.
    [[nodiscard]] microseconds next_tick() const { return engine().next_tick(); }

    /// Ends the present or next sleep of run(). Any thread.
    void wake() { engine().wake(); }

    // ---------------------------------------------------------------- leadership

    [[nodiscard]] bool is_leader() const {
        auto const& b = *shell_.published;
        return b.leads(b.now());
    }
    [[nodiscard]] std::optional<leader_info> leader() const {
        auto const& b = *shell_.published;
        return b.leader(b.now());
    }
    /// `handler(result<bool>)`.
    template <typename Handler>
    void try_become_leader(Handler handler) {
        engine().try_become_leader(std::move(handler));
    }
    template <typename Handler>
    void renounce_leadership(Handler handler) {
        engine().renounce(std::move(handler));
    }
    template <typename Handler>
    void rebalance(Handler handler) {
        engine().rebalance(std::move(handler));
    }

    // ---------------------------------------------------------------- locks

    /// `handler(result<async_lock>)`.
    template <typename Handler>
    void try_lock(std::string schedule, std::chrono::microseconds ttl, Handler handler) {
        engine().lock_one(op::lock_kind::schedule, std::move(schedule), ttl, std::move(handler));
    }
    template <typename Handler>
    void try_lock_name(std::string name, std::chrono::microseconds ttl, Handler handler) {
        engine().lock_one(op::lock_kind::name, std::move(name), ttl, std::move(handler));
    }
    /// `handler(results<async_lock>)`, one per item, in order.
    template <typename Handler>
    void try_lock_each(std::vector<std::string> schedules, std::chrono::microseconds ttl, Handler handler) {
        engine().lock_each(op::lock_kind::schedule, std::move(schedules), ttl, std::move(handler));
    }

    // ---------------------------------------------------------------- schedules

    /// `handler(results<void>)`, one per item, in order.
    template <typename Handler>
    void register_schedules(std::vector<schedule> schedules, Handler handler) {
        engine().register_schedules(std::move(schedules), std::move(handler));
    }
    template <typename Handler>
    void update_schedules(std::vector<schedule> schedules, Handler handler) {
        engine().update_schedules(std::move(schedules), std::move(handler));
    }
    template <typename Handler>
    void unregister_schedules(std::vector<std::string> ids, Handler handler) {
        engine().unregister_schedules(std::move(ids), std::move(handler));
    }
    /// `handler(results<owned_schedule>)`.
    template <typename Handler>
    void claim(std::vector<std::string> ids, Handler handler) {
        engine().claim(std::move(ids), std::move(handler));
    }
    template <typename Handler>
    void transfer(std::string schedule, std::string node_id, Handler handler) {
        engine().transfer(std::move(schedule), std::move(node_id), std::move(handler));
    }
    [[nodiscard]] std::vector<owned_schedule> owned() const {
        auto const& b = *shell_.published;
        return b.owned(b.now());
    }

    // ---------------------------------------------------------------- attributes and orders

    template <typename Handler>
    void set_attributes(node_attributes attributes, Handler handler) {
        engine().set_attributes(std::move(attributes), std::move(handler));
    }
    [[nodiscard]] node_attributes attributes() { return engine().attributes(); }
    template <typename Handler>
    void report_load(double load, Handler handler) {
        engine().report_load(load, std::move(handler));
    }
    template <typename Handler>
    void drain(std::string node_id, Handler handler) {
        engine().give_order(op::order_kind::drain, std::move(node_id), std::move(handler));
    }
    template <typename Handler>
    void undrain(std::string node_id, Handler handler) {
        engine().give_order(op::order_kind::undrain, std::move(node_id), std::move(handler));
    }
    template <typename Handler>
    void begin_maintenance(Handler handler) {
        engine().give_order(op::order_kind::begin_maintenance, {}, std::move(handler));
    }
    template <typename Handler>
    void end_maintenance(Handler handler) {
        engine().give_order(op::order_kind::end_maintenance, {}, std::move(handler));
    }

    // ---------------------------------------------------------------- looking at the group

    /// `handler(result<std::vector<node_status>>)`, and so on, as the blocking calls return.
    template <typename Handler>
    void nodes(Handler handler) {
        engine().nodes(std::move(handler));
    }
    template <typename Handler>
    void loads(Handler handler) {
        engine().loads(std::move(handler));
    }
    template <typename Handler>
    void orphaned(Handler handler) {
        engine().orphaned(std::move(handler));
    }
    template <typename Handler>
    void propose(Handler handler) {
        engine().propose(std::move(handler));
    }
    template <typename Handler>
    void propose_if_lost(std::string node_id, Handler handler) {
        engine().propose_if_lost(std::move(node_id), std::move(handler));
    }
    template <typename Handler>
    void propose_if_joined(std::uint32_t count, node_attributes each, Handler handler) {
        engine().propose_if_joined(count, std::move(each), std::move(handler));
    }
    template <typename Handler>
    void apply(proposal p, Handler handler) {
        engine().apply(std::move(p), std::move(handler));
    }

    // ---------------------------------------------------------------- what a blocking coordinator has

    ROTA_DETAIL_TAKES_A_HANDLER(join)
    ROTA_DETAIL_TAKES_A_HANDLER(tick)
    ROTA_DETAIL_TAKES_A_HANDLER(leave)
    ROTA_DETAIL_TAKES_A_HANDLER(run)
    ROTA_DETAIL_TAKES_A_HANDLER(try_become_leader)
    ROTA_DETAIL_TAKES_A_HANDLER(renounce_leadership)
    ROTA_DETAIL_TAKES_A_HANDLER(rebalance)
    ROTA_DETAIL_TAKES_A_HANDLER(try_lock)
    ROTA_DETAIL_TAKES_A_HANDLER(try_lock_name)
    ROTA_DETAIL_TAKES_A_HANDLER(try_lock_each)
    ROTA_DETAIL_TAKES_A_HANDLER(register_schedules)
    ROTA_DETAIL_TAKES_A_HANDLER(update_schedules)
    ROTA_DETAIL_TAKES_A_HANDLER(unregister_schedules)
    ROTA_DETAIL_TAKES_A_HANDLER(claim)
    ROTA_DETAIL_TAKES_A_HANDLER(transfer)
    ROTA_DETAIL_TAKES_A_HANDLER(set_attributes)
    ROTA_DETAIL_TAKES_A_HANDLER(report_load)
    ROTA_DETAIL_TAKES_A_HANDLER(drain)
    ROTA_DETAIL_TAKES_A_HANDLER(undrain)
    ROTA_DETAIL_TAKES_A_HANDLER(begin_maintenance)
    ROTA_DETAIL_TAKES_A_HANDLER(end_maintenance)
    ROTA_DETAIL_TAKES_A_HANDLER(nodes)
    ROTA_DETAIL_TAKES_A_HANDLER(loads)
    ROTA_DETAIL_TAKES_A_HANDLER(orphaned)
    ROTA_DETAIL_TAKES_A_HANDLER(propose)
    ROTA_DETAIL_TAKES_A_HANDLER(propose_if_lost)
    ROTA_DETAIL_TAKES_A_HANDLER(propose_if_joined)
    ROTA_DETAIL_TAKES_A_HANDLER(apply)

    // ---------------------------------------------------------------- the policies

    [[nodiscard]] auto& transport() noexcept { return detail::unwrap(shell_.transport); }
    [[nodiscard]] auto& sink() noexcept { return detail::unwrap(shell_.sink); }

private:
    using belief_type = detail::belief_on<clock_type>;

    struct shell final : detail::policy_ports<detail::async_ports, set> {
        shell(rota::options o, clock_type clock, transport_type t, strategy_type s, sink_type k)
            : detail::policy_ports<detail::async_ports, set>{std::move(t), std::move(s), std::move(k)},
              published{std::make_shared<belief_type>(std::move(clock))},
              engine{std::make_unique<engine_type>(std::move(o), *this, published, detail::entropy())} {}

        void submit(operation const& request, microseconds timeout, detail::async_ports::reply_handler h) override {
            detail::unwrap(this->transport).submit(request, timeout, std::move(h));
        }
        void listen(subscription const& sub, loop_task pushed) override {
            detail::unwrap(this->transport).listen(sub, std::move(pushed));
        }
        [[nodiscard]] loop_ref loop() const override { return detail::unwrap(this->transport).loop(); }

        std::shared_ptr<belief_type> published;
        std::unique_ptr<engine_type> engine;
    };

    [[nodiscard]] engine_type& engine() noexcept { return *shell_.engine; }
    [[nodiscard]] engine_type const& engine() const noexcept { return *shell_.engine; }

    shell shell_;
};

}  // namespace rota

// ---- rota/loop/poll_loop.hpp ---------------------------------------------------------------------------------------
// An event loop of rota's own, for programs that have none: one thread in run(), epoll, timers in a heap.
//
//   rota::poll_loop loop;
//   rota::hiredis_async transport{"localhost:6379", loop};
//   loop.run();                       // until another thread, or a callback, calls loop.stop()
//
// Promises: thousands of watches and timers (starting and stopping a timer costs O(log n), an idle watch nothing);
// timers fire to within what the system takes to wake a thread, never early; descriptors are closed on exec.
// Does not: start threads, handle signals, or survive fork() in the child, which must make a loop of its own.
// Linux (epoll, eventfd).

#include <cerrno>

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

// ---- rota/detail/io_clock.hpp --------------------------------------------------------------------------------------
// The clock of all input and output: when a connection is given up, a timer of a loop fires, an attempt is due.
// Promises: never goes back. Stands still while the machine is suspended, as the peer's timeouts are not rota's beliefs
// (those go by the coordinator's clock).

namespace rota::detail {

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

}  // namespace rota::detail

// ---- rota/detail/posted_tasks.hpp ----------------------------------------------------------------------------------
// Tasks that any thread posts to an event loop, and the descriptor that wakes it for them.

#include <sys/eventfd.h>

namespace rota::detail {

/// Threads: post() and wake() by any, the rest by the loop's.
class posted_tasks {
public:
    /// Throws std::bad_alloc where the system has no descriptor left.
    posted_tasks() : event_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)} {
        if (event_ < 0) throw std::bad_alloc{};
    }
    posted_tasks(posted_tasks const&) = delete;
    posted_tasks& operator=(posted_tasks const&) = delete;
    ~posted_tasks() { ::close(event_); }

    void post(unique_function<void()> task) {
        bool first = false;
        {
            std::lock_guard const lock{mutex_};
            first = posted_.empty();
            posted_.push_back(std::move(task));
        }
        if (first) wake();  // else it has been, and the loop has not come to look yet
    }
    void wake() noexcept {
        std::uint64_t const one = 1;
        [[maybe_unused]] auto const ignored = ::write(event_, &one, sizeof one);  // fails only if it is readable anyway
    }

    /// Polls readable after a post() or wake(), until calm().
    [[nodiscard]] int descriptor() const noexcept { return event_; }
    void calm() noexcept {
        std::uint64_t count = 0;
        [[maybe_unused]] auto const ignored = ::read(event_, &count, sizeof count);
    }
    [[nodiscard]] bool empty() {
        std::lock_guard const lock{mutex_};
        return posted_.empty();
    }
    /// Runs what has been posted; what these post is for the next time, so that none can keep the loop from other work.
    void run() {
        std::vector<unique_function<void()>> tasks = std::exchange(spare_, {});
        {
            std::lock_guard const lock{mutex_};
            tasks.swap(posted_);
        }
        for (auto& task : tasks) task();
        tasks.clear();
        spare_ = std::move(tasks);
    }

private:
    int event_;
    std::mutex mutex_;
    std::vector<unique_function<void()>> posted_;
    std::vector<unique_function<void()>> spare_;  // its memory
};

}  // namespace rota::detail

namespace rota {

/// An event_loop (event_loop.hpp). Threads: post() and stop() by any; all else by one thread, which is the one that runs
/// it. Everything made through it must be destroyed before it.
class poll_loop {
public:
    /// Throws std::bad_alloc where the system has no descriptor left for it.
    poll_loop() : epoll_{::epoll_create1(EPOLL_CLOEXEC)} {
        epoll_event wanted{};
        wanted.events = EPOLLIN;
        if (epoll_ < 0) throw std::bad_alloc{};
        if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, tasks_.descriptor(), &wanted) != 0) {
            ::close(epoll_);
            throw std::bad_alloc{};
        }
    }
    poll_loop(poll_loop const&) = delete;
    poll_loop& operator=(poll_loop const&) = delete;
    ~poll_loop() { ::close(epoll_); }

    // ---------------------------------------------------------------- what an event_loop offers

    /// std::logic_error: no open descriptor, one that cannot be polled (a plain file), or one that is watched already.
    [[nodiscard]] watch_handle watch(int fd, io_interest interest, watch_callback called) {
        auto made = std::make_unique<watcher>(*this, fd, std::move(called));
        made->add(interest);
        return made;
    }
    [[nodiscard]] timer_handle timer(loop_task called) {
        return std::make_unique<timer_entry>(*this, std::move(called));
    }
    /// Any thread.
    void post(loop_task task) { tasks_.post(std::move(task)); }

    // ---------------------------------------------------------------- running it

    /// Runs callbacks until stop(). std::logic_error: called inside a callback (so do the others here).
    void run() {
        run_while([] { return true; }, microseconds::max());
    }
    /// Runs callbacks until stop(), or until a stop is requested.
    void run(std::stop_token const& stop) {
        std::stop_callback const wake_up{stop, [this] { tasks_.wake(); }};
        run_while([&] { return !stop.stop_requested(); }, microseconds::max());
    }
    /// Runs callbacks for that long, or until stop().
    void run_for(microseconds duration) {
        run_while([] { return true; }, duration);
    }
    /// Runs callbacks until the predicate holds, which is looked at before each turn; false if that long, or a stop(), came
    /// first.
    template <typename Predicate>
    [[nodiscard]] bool run_until(Predicate&& holds, microseconds at_most) {
        bool held = false;
        run_while([&] { return !(held = static_cast<bool>(holds())); }, at_most);
        return held;
    }
    /// Ends the present run, after the callback that is in hand; or the next one at once, if none is under way. Any thread.
    void stop() noexcept {
        stop_.store(true, std::memory_order_release);
        tasks_.wake();
    }

private:
    // A callback that may be destroyed while it runs: it lives on in retired_ until the turn is over.
    struct watched {
        explicit watched(watch_callback f) : called{std::move(f)} {}
        watch_callback called;
        bool live = true;
        io_interest interest = io_interest::none;
    };
    struct timed {
        explicit timed(loop_task f) : called{std::move(f)} {}
        loop_task called;
        microseconds due{};
        std::uint64_t order = 0;              // among those due at the same time: first started, first
        std::size_t place = ~std::size_t{0};  // in the heap
        [[nodiscard]] bool started() const noexcept { return place != ~std::size_t{0}; }
    };

    class watcher final : public loop_watch {
    public:
        watcher(poll_loop& loop, int fd, watch_callback called)
            : loop_{loop},
              fd_{fd},
              node_{std::make_unique<watched>(std::move(called))} {}
        ~watcher() override {
            if (!added_) return;
            ::epoll_ctl(loop_.epoll_, EPOLL_CTL_DEL, fd_, nullptr);
            node_->live = false;
            if (loop_.running_) loop_.retired_watches_.push_back(std::move(node_));
        }
        void want(io_interest interest) override {
            if (interest != node_->interest) control(EPOLL_CTL_MOD, interest);
        }
        void add(io_interest interest) {
            control(EPOLL_CTL_ADD, interest);
            added_ = true;
        }

    private:
        void control(int what, io_interest interest) {
            epoll_event wanted{};
            if (includes(interest, io_interest::readable)) wanted.events |= EPOLLIN;
            if (includes(interest, io_interest::writable)) wanted.events |= EPOLLOUT;
            wanted.data.ptr = node_.get();
            if (::epoll_ctl(loop_.epoll_, what, fd_, &wanted) != 0) {
                if (errno == ENOMEM || errno == ENOSPC) throw std::bad_alloc{};
                throw std::logic_error("rota::poll_loop: this descriptor cannot be watched");
            }
            node_->interest = interest;
        }

        poll_loop& loop_;
        int fd_;
        std::unique_ptr<watched> node_;
        bool added_ = false;
    };

    class timer_entry final : public loop_timer {
    public:
        timer_entry(poll_loop& loop, loop_task called)
            : loop_{loop},
              node_{std::make_unique<timed>(std::move(called))} {}
        ~timer_entry() override {
            stop();
            if (loop_.running_) loop_.retired_timers_.push_back(std::move(node_));
        }
        void start(microseconds after) override {
            node_->due = detail::io_deadline(detail::io_now(), std::max(after, microseconds{0}));
            node_->order = ++loop_.timers_started_;
            loop_.place(*node_);
        }
        void stop() override { loop_.displace(*node_); }

    private:
        poll_loop& loop_;
        std::unique_ptr<timed> node_;
    };

    // ---------------------------------------------------------------- one turn

    template <typename Condition>
    void run_while(Condition&& go_on, microseconds at_most) {
        if (running_) throw std::logic_error("rota::poll_loop: run inside a callback");
        struct marked {
            poll_loop& loop;
            ~marked() {
                loop.running_ = false;
                loop.bury();
            }
        } const mark{*this};
        running_ = true;
        auto const until = detail::io_deadline(detail::io_now(), at_most);
        while (!stop_.exchange(false, std::memory_order_acquire) && go_on() && detail::io_now() < until) turn(until);
    }

    void turn(microseconds until) {
        // Waiting comes first, so that a predicate is looked at after whatever could have made it hold.
        epoll_event ready[64];
        int const count = await(ready, 64, until);
        for (int i = 0; i < count; ++i) {
            auto* const node = static_cast<watched*>(ready[i].data.ptr);
            if (node == nullptr) {
                tasks_.calm();
            } else if (node->live) {
                if (auto const what = became(ready[i].events, node->interest); what != io_interest::none)
                    node->called(what);
            }
        }
        tasks_.run();
        run_timers();
        bury();
    }

    static io_interest became(std::uint32_t events, io_interest interest) noexcept {
        auto what = io_interest::none;
        bool const over = (events & (EPOLLERR | EPOLLHUP)) != 0;
        if ((events & EPOLLIN) != 0 || (over && interest != io_interest::writable)) what = what | io_interest::readable;
        if ((events & EPOLLOUT) != 0 || (over && interest == io_interest::writable))
            what = what | io_interest::writable;
        return what;
    }

    // epoll counts in milliseconds; the last two of a wait are left to ppoll, which is exact.
    int await(epoll_event* ready, int room, microseconds until) {
        bool const busy = !tasks_.empty() || stop_.load(std::memory_order_acquire);
        if (busy) return ::epoll_wait(epoll_, ready, room, 0);
        if (!heap_.empty()) until = std::min(until, heap_.front()->due);
        auto const left = until - detail::io_now();
        if (left <= microseconds{0}) return ::epoll_wait(epoll_, ready, room, 0);
        if (left >= std::chrono::milliseconds{2}) {
            constexpr std::int64_t hour_ms = 3'600'000;
            return ::epoll_wait(epoll_, ready, room, static_cast<int>(std::min(left.count() / 1000, hour_ms)));
        }
        pollfd one{epoll_, POLLIN, 0};
        timespec span{};
        span.tv_nsec = static_cast<long>(left.count() * 1000);
        return ::ppoll(&one, 1, &span, nullptr) > 0 ? ::epoll_wait(epoll_, ready, room, 0) : 0;
    }

    void run_timers() {
        if (heap_.empty()) return;
        auto const now = detail::io_now();
        auto const last = timers_started_;
        while (!heap_.empty() && heap_.front()->due <= now && heap_.front()->order <= last) {
            auto& first = *heap_.front();
            displace(first);
            first.called();
        }
    }

    void bury() noexcept {
        // What a callback holds may have a destructor that retires more.
        while (!retired_watches_.empty() || !retired_timers_.empty()) {
            auto const watches = std::exchange(retired_watches_, {});
            auto const timers = std::exchange(retired_timers_, {});
        }
    }

    // ---------------------------------------------------------------- the heap of timers, the earliest in front

    static bool before(timed const& a, timed const& b) noexcept {
        return a.due != b.due ? a.due < b.due : a.order < b.order;
    }
    void place(timed& node) {
        if (!node.started()) {
            node.place = heap_.size();
            heap_.push_back(&node);
        }
        settle(node.place);
    }
    void displace(timed& node) noexcept {
        if (!node.started()) return;
        auto const hole = std::exchange(node.place, ~std::size_t{0});
        auto* const last = heap_.back();
        heap_.pop_back();
        if (last == &node) return;
        heap_[hole] = last;
        last->place = hole;
        settle(hole);
    }
    void settle(std::size_t at) noexcept {
        auto* const node = heap_[at];
        auto const put = [this](std::size_t where, timed* what) {
            heap_[where] = what;
            what->place = where;
        };
        while (at > 0 && before(*node, *heap_[(at - 1) / 2])) {
            put(at, heap_[(at - 1) / 2]);
            at = (at - 1) / 2;
        }
        for (;;) {
            auto child = 2 * at + 1;
            if (child >= heap_.size()) break;
            if (child + 1 < heap_.size() && before(*heap_[child + 1], *heap_[child])) ++child;
            if (!before(*heap_[child], *node)) break;
            put(at, heap_[child]);
            at = child;
        }
        put(at, node);
    }

    detail::posted_tasks tasks_;
    int epoll_ = -1;
    std::atomic<bool> stop_{false};

    // For the thread that runs it.
    bool running_ = false;
    std::vector<timed*> heap_;
    std::uint64_t timers_started_ = 0;
    std::vector<std::unique_ptr<watched>> retired_watches_;
    std::vector<std::unique_ptr<timed>> retired_timers_;
};

}  // namespace rota

// ---- rota/transport/hiredis_async.hpp ------------------------------------------------------------------------------
// The asynchronous transport to Redis, over hiredis' parser, on an event loop of the user's: many operations in flight
// on one connection, and a second one on which the server tells at once when there is something new.
//
//   rota::poll_loop loop;             // or an adapter of another: loop/libuv_loop.hpp, libevent_loop.hpp, asio_loop.hpp
//   rota::hiredis_async transport{"redis://localhost:6379", loop};
//
// There where hiredis can be included and ROTA_NO_HIREDIS is not defined. Linux (epoll).

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

// ---- rota/detail/redis_call.hpp ------------------------------------------------------------------------------------
// One operation on its way to Redis and its handler, as the pipelined connection sees it: something that can be written
// as the call of a script, and is answered once. So that redis_pipeline.hpp is no template, and one allocation holds all.

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

// ---- rota/detail/redis_codec.hpp -----------------------------------------------------------------------------------
// How operations travel to Redis and back: encode() makes the call of a script out of an operation, decode() the reply to
// it out of what comes back. Both are format only: what an operation does stands in the scripts (redis_scripts.hpp), how
// bytes get there in redis_connection.hpp.

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

// ---- rota/detail/redis/decode.hpp ----------------------------------------------------------------------------------
// Makes the reply to an operation out of what its script answered: decode(). What does not have exactly the expected
// shape is errc::protocol, whatever it is; the shapes are written at the scripts (*.lua.hpp in this folder). RESP2.

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <hiredis/hiredis.h>

// ---- rota/detail/redis/reply_reader.hpp ----------------------------------------------------------------------------
// Reads what the scripts answer: the elements of an array (redis_array_reader), and the parts of a stored record such
// as "12|34|text" (redis_record_reader). Neither trusts what it reads: every bound and type is checked, a mistake is
// remembered, and what comes after it reads as nothing, so that a caller asks once, at the end.

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

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
    /// weight, or weight;traits: the latter are left for traits().
    double weight() noexcept {
        auto text = part();
        auto const end_of_weight = text.find(';');
        traits_ = end_of_weight == std::string_view::npos ? std::string_view{} : text.substr(end_of_weight + 1);
        text = text.substr(0, end_of_weight);
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
        bool const digit = !text.empty() && text.front() >= '0' && text.front() <= '9';
        if (!read || !digit || !(value > 0) || value - value != 0) {  // not a finite number
            ok_ = false;
            return 1;
        }
        return value;
    }
    /// Those that came with the last weight.
    [[nodiscard]] std::string_view traits() const noexcept { return traits_; }
    /// Of 16 digits at most, and as text unlike that of any other.
    fencing_token token() noexcept {
        auto const text = part();
        std::uint64_t value = 0;
        if (text.size() > 16 || (text.size() > 1 && text.front() == '0') || !redis_array_reader::parse(text, value)) {
            ok_ = false;
        }
        return value;
    }
    /// length:text. What follows is the next part, without a | between.
    std::string_view counted() noexcept {
        auto const end = rest_.find(':');
        std::uint64_t length = 0;
        if (ended_ || end == std::string_view::npos || !redis_array_reader::parse(rest_.substr(0, end), length) ||
            length > rest_.size() - end - 1) {
            ok_ = false;
            return {};
        }
        auto const found = rest_.substr(end + 1, static_cast<std::size_t>(length));
        rest_.remove_prefix(end + 1 + found.size());
        ended_ = rest_.empty();
        return found;
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
    std::string_view traits_;
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
        answer.now = in.number();
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
            if (deadline > answer.now) {
                answer.leader = incarnation;
                answer.term = term;
                answer.leader_id = id;
                answer.leader_remaining = redis_array_reader::to_duration(deadline - answer.now);
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
    reply operator()(op::describe_node const&) const { return op::done{}; }
    reply operator()(op::give_order const&) const { return op::done{}; }

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
            auto const found = read_schedule(own, moves, entry.status);
            entry.registered = found != reading::missing;
            if (entry.registered) entry.status.id = id;
        }
        require(own, moves);
        return answer;
    }

    reply operator()(op::update_schedules const& r) const { return outcomes(r.items.size(), code); }
    reply operator()(op::unregister_schedules const& r) const { return outcomes(r.items.size(), code); }
    reply operator()(op::claim const& r) const { return outcomes(r.ids.size(), code | token); }
    reply operator()(op::adopt const& r) const { return outcomes(r.items.size(), code | token); }
    reply operator()(op::revoke const& r) const { return outcomes(r.items.size(), code | token); }
    reply operator()(op::acknowledge const& r) const { return outcomes(r.items.size(), code | token | remaining); }

    reply operator()(op::mend const& r) const { return outcomes(r.items.size(), code | token); }

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
            (void)fields.text();
            redis_record_reader words{fields.text()};
            while (words.ok() && !words.done()) answer.items.push_back(to_change(read_word(words)));
            if (!words.done()) in.fail();
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
            (void)fields.text();
            redis_record_reader words{fields.text()};
            while (words.ok() && !words.done()) {
                answer.items.push_back(std::move(read_word(words).event));
                answer.items.back().seq = answer.to;
            }
            if (!words.done()) in.fail();
            require(entry, fields);
        }
        require(entries);
        return answer;
    }

    reply operator()(op::schedules_page const& r) const {
        op::page_reply answer;
        answer.version = in.number();
        redis_array_reader ids{in.next()};
        redis_array_reader own{in.next()};
        redis_array_reader moves{in.next()};
        answer.items.reserve(ids.left());
        while (ids.left() > 0) {
            schedule_status status{.id = std::string{ids.text()}};
            auto const found = read_schedule(own, moves, status);
            if (found == reading::sound && status.owner == r.holder) {
                answer.items.push_back(std::move(status));
            } else {
                answer.strays.push_back(std::move(status.id));
            }
        }
        require(ids, own, moves);
        return answer;
    }

    reply operator()(op::nodes_page const&) const {
        op::nodes_reply answer;
        auto const now = answer.now = in.number();
        answer.epoch = in.number();
        answer.seq = in.number();
        answer.maintenance = in.number() != 0;
        redis_array_reader orders{in.next()};
        while (orders.left() > 0) {
            auto const id = orders.text();
            if (id.empty()) continue;  // that is the order of maintenance
            auto at = answer.drained.begin();
            while (at != answer.drained.end() && *at < id) ++at;
            answer.drained.emplace(at, id);
        }
        redis_array_reader nodes{in.next()};
        redis_array_reader info{in.next()};
        redis_array_reader load{in.next()};
        redis_array_reader pending{in.next()};
        redis_array_reader live{in.next()};
        redis_array_reader dead{in.next()};
        answer.items.reserve(nodes.left());
        while (nodes.left() > 0) {
            auto& status = answer.items.emplace_back();
            status.node.incarnation = nodes.number();
            redis_record_reader record{info.text()};
            status.capacity = record.capacity();
            (void)record.number();  // the nonce that it joined with
            (void)record.number();  // its ttl
            status.left = record.number() != 0;
            (void)record.weight();
            status.traits = record.traits();
            status.node.id = record.rest();
            if (!record.done()) in.fail();
            status.load = counter(load);
            status.pending = counter(pending);
            status.alive = !live.skip_nil();
            auto const deadline = status.alive ? live.number() : 0;
            if (deadline > now) status.remaining = redis_array_reader::to_duration(deadline - now);
            auto const gone_since = dead.skip_nil() ? now : dead.number();
            if (!status.alive && gone_since < now) {
                status.gone_for = redis_array_reader::to_duration(now - gone_since);
            }
        }
        require(orders, nodes, info, load, pending, live, dead);
        return answer;
    }

    reply operator()(op::scan_page const&) const {
        op::scan_reply answer;
        answer.next = in.number();
        redis_array_reader found{in.next()};
        redis_array_reader moves{in.next()};
        bool const moving = moves.left() > 0;
        answer.items.reserve(found.left() / 2);
        while (found.left() > 0) {
            schedule_status status{.id = std::string{found.text()}};
            auto const state = moving ? read_schedule(found, moves, status) : read_record(found, status);
            if (state == reading::sound) {
                answer.items.push_back(std::move(status));
            } else {
                answer.broken.push_back(std::move(status.id));
            }
        }
        require(found, moves);
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

    enum class reading { missing, sound, unreadable };

    // The next element: generation|owner|weight;traits, or nil. Of an unreadable one nothing is said but its id.
    reading read_record(redis_array_reader& own, schedule_status& status) const {
        if (own.skip_nil()) return reading::missing;
        redis_record_reader stored{own.text()};
        auto const generation = stored.token();
        auto const owner = stored.token();
        auto const weight = stored.weight();
        if (!stored.done()) return reading::unreadable;
        status.generation = generation;
        status.owner = owner;
        status.weight = weight;
        status.traits = stored.traits();
        return reading::sound;
    }

    // The next element of each; of moves: to|deadline|reason|open, or nil. A move of what is not there is damage, which
    // somebody else sees to.
    reading read_schedule(redis_array_reader& own, redis_array_reader& moves, schedule_status& status) const {
        auto const found = read_record(own, status);
        if (moves.skip_nil()) return found;
        redis_record_reader stored{moves.text()};
        auto const to = stored.token();
        (void)stored.number();
        (void)stored.number();
        (void)stored.number();
        if (found != reading::sound) return found;
        if (!stored.done() || to == 0) {
            status = {.id = std::move(status.id)};
            return reading::unreadable;
        }
        status.moving_to = to;
        return found;
    }

    struct told {
        op::group_event event{};
        microseconds handoff{};
        bool open = false;
    };

    // kind|reason|from|generation|to|weight;traits|length:id, with what some kinds have besides before the id.
    told read_word(redis_record_reader& words) const {
        told t;
        auto& e = t.event;
        e.kind = words.enumerator(op::last_group_event_kind);
        e.reason = words.enumerator(last_change_reason);
        e.from = words.number();
        e.generation = words.number();
        e.to = words.number();
        e.weight = words.weight();
        e.traits = words.traits();
        if (e.kind == op::group_event_kind::joined || e.kind == op::group_event_kind::described) {
            e.capacity = words.capacity();
        } else if (e.kind == op::group_event_kind::moving) {
            t.handoff = words.duration();
            t.open = words.number() != 0;
        }
        e.id = words.counted();
        return t;
    }

    // The node's own view of what the group is told.
    op::change to_change(told const& t) const {
        auto const& e = t.event;
        op::change c{.id = e.id};
        switch (e.kind) {
            case op::group_event_kind::owned: c.kind = op::change_kind::granted; break;
            case op::group_event_kind::moving: c.kind = op::change_kind::revoking; break;
            case op::group_event_kind::updated: c.kind = op::change_kind::updated; break;
            case op::group_event_kind::unregistered: c.kind = op::change_kind::removed; return c;
            case op::group_event_kind::vacated: c.kind = op::change_kind::vacancy; return c;
            default: in.fail(); return c;
        }
        c.generation = e.generation;
        c.weight = e.weight;
        c.traits = e.traits;
        c.reason = e.reason;
        if (c.kind == op::change_kind::granted) c.other = e.from;
        if (c.kind == op::change_kind::revoking) c.other = e.to;
        c.handoff = t.handoff;
        c.open = t.open;
        return c;
    }

    // One that is missing or cannot be read says nothing; see op::mend.
    static std::uint32_t counter(redis_array_reader& counters) {
        if (counters.skip_nil()) return 0;
        std::uint64_t value = 0;
        if (!redis_array_reader::parse(counters.text(), value)) return 0;
        return static_cast<std::uint32_t>(value < unlimited ? value : unlimited);
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
      k_load, k_pending, k_own, k_unowned, k_moves, k_gone = unpack(KEYS, 1, 17)
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
    fence = fence + 1
    if fence < now then fence = now end
    if fence <= seen then fence = seen + 1 end
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

-- Of one whose request was made from what the group was at that event.
local function moved_on(as_of)
    return as_of ~= '0' and tonumber(as_of) ~= seq and {errc_conflict, 'the group has changed'}
end
)lua";

// What one step tells: one entry of the group's event log, and one of the change log of each node concerned. Both hold
// the same words, so that each is made once; an entry is all of them in one text (a field for each costs more than the
// rest of the step):
//   kind|reason|from|generation|to|weight;traits|length:id
// with |capacity before the id where a node joins or is described, |time for the hand-off|open where a move begins.
// All parts come as text: joining numbers is four times slower.
inline constexpr char step[] = R"lua(
local events, told, versions, lengths = {}, {}, {}, {}

-- |length: of an id.
local function mark_of(id)
    local mark = '|' .. #id .. ':'
    lengths[#id] = mark
    return mark
end

local function word(record, id)
    return record .. (lengths[#id] or mark_of(id)) .. id
end

local function emit(record, id)
    events[#events + 1] = word(record, id)
end

local function tell_word(inc, text)
    local entry = told[inc]
    if entry then
        entry[#entry + 1] = text
    else
        told[inc] = {text}
    end
end

local function tell(inc, record, id)
    tell_word(inc, word(record, id))
end

-- A missing epoch, or a fence below what the caller has seen: writes were lost, or (seen 0) the group is new.
local function ensure_epoch(seen)
    if epoch and counters[4] and fence >= seen then return end
    epoch, founded = fmt('%.0f', mint(seen)), true
    if seen > 0 then emit('event_data_lost|0|0|' .. epoch .. '|0|1', '') end
end

-- The end of reading. Returns what to answer if the step cannot be logged.
local function verify_step()
    if #events > 0 then
        if not founded and not (epoch and counters[4]) then return {errc_conflict, 'the group has lost its epoch'} end
        call('XLEN', k_events)
    end
    local nodes, keys = {}, {}
    for inc in pairs(told) do
        nodes[#nodes + 1] = inc
        keys[#keys + 1] = P .. 'ver:' .. inc
    end
    local found = #keys > 0 and call('MGET', unpack(keys)) or {}
    for i, inc in ipairs(nodes) do
        local inbox, version = P .. 'inbox:' .. inc, found[i] or call('GET', keys[i])
        if call('XLEN', inbox) > 0 and not version then
            -- The counter alone was lost: go on from the log, whose numbers never go back.
            version = match(call('XREVRANGE', inbox, '+', '-', 'COUNT', 1)[1][1], '^%d+')
        end
        versions[i] = {inbox, (version or 0) + 1 .. '', keys[i], told[inc]}
    end
end

local function commit_step()
    if #events > 0 then
        counted = true
        seq = seq + 1
        call('XADD', k_events, 'MAXLEN', '~', limit_events, epoch .. '-' .. fmt('%.0f', seq), 'e',
             table.concat(events))
    end
    local set = {}
    if counted then set = {k_epoch, epoch, k_fence, fmt('%.0f', fence), k_seq, fmt('%.0f', seq)} end
    local n = #set
    for _, v in ipairs(versions) do
        local version = v[2]
        call('XADD', v[1], 'MAXLEN', '~', limit_changes, version .. '-0', 'e', table.concat(v[4]))
        set[n + 1], set[n + 2] = v[3], version
        n = n + 2
    end
    if n > 0 then call('MSET', unpack(set)) end
end
)lua";

// Nodes, live and dead, each read once per step; many at once by read_nodes.
// info is capacity|nonce|ttl|1 if it left in order, else 0|1;traits|id.
inline constexpr char nodes[] = R"lua(
local known, changed, departed = {}, {}, {}

-- A counter that cannot be read says nothing; see mend.
local function counter(text)
    local value = tonumber(text or 0)
    return value and value >= 0 and value or 0
end

local function know(inc, info, live, dead, load, pending)
    local n = info and {
        info = info,
        live = live and true,
        -- live: taken for dead from then on; dead: its schedules may be adopted from then on
        deadline = tonumber(live or dead or 0),
        capacity = tonumber(match(info, '^%d+')),
        load = counter(load),
        pending = counter(pending),
    }
    known[inc] = n or false
    return n
end

local function node(inc)
    local n = known[inc]
    if n ~= nil then return n end
    local info = inc ~= '0' and call('HGET', k_info, inc)
    if not info then return know(inc) end
    local live = call('ZSCORE', k_nodes, inc)
    return know(inc, info, live, not live and call('ZSCORE', k_dead, inc), call('HGET', k_load, inc),
                call('HGET', k_pending, inc))
end

-- Reads those whose incarnations are ARGV[first..last].
local function read_nodes(first, last)
    if last < first then return end
    local info = call('HMGET', k_info, unpack(ARGV, first, last))
    local live = call('ZMSCORE', k_nodes, unpack(ARGV, first, last))
    local load = call('HMGET', k_load, unpack(ARGV, first, last))
    local pending = call('HMGET', k_pending, unpack(ARGV, first, last))
    for i = first, last do
        local j = i - first + 1
        local inc, deadline = ARGV[i], live[j]
        know(inc, info[j], deadline, not deadline and call('ZSCORE', k_dead, inc), load[j], pending[j])
    end
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
    load, pending = n.load + load, n.pending + pending
    n.load, n.pending = load > 0 and load or 0, pending > 0 and pending or 0
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
local gone, gone_ids, forgotten, left = {}, {}, {}, {}

local function take_out(inc, n, kind)
    local before, after, id = match(n.info, '^(%d+|%d+|%d+)|%d|([^|]*|(.*))$')
    n.live, n.deadline = false, now
    gone[#gone + 1] = inc
    -- A newer incarnation may have the name by now.
    if call('HGET', k_ids, id) == inc then gone_ids[#gone_ids + 1] = id end
    if kind == 'event_left' then left = {inc, before .. '|1|' .. after} end
    emit(kind .. '|0|' .. inc .. '|0|0|1', id)
end

local function forget_if_done(inc)
    local n = node(inc)
    if not n or n.live or n.deadline > now or n.load > 0 then return end
    known[inc], changed[inc], departed[inc] = false, nil, true
    forgotten[#forgotten + 1] = inc
    emit('event_forgotten|0|' .. inc .. '|0|0|1', '')
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
    if #left > 0 then call('HSET', k_info, unpack(left)) end
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

// What is stored of a schedule, generation|owner|weight;traits, as its three parts; nothing if it cannot be read.
inline constexpr char record[] = R"lua(
local function is_weight(text)
    local number = match(text, '^[^;|]*')
    local value = match(number, '^%d[%d.]*[eE]?[+-]?%d*$') and tonumber(number)
    return value and value > 0 and value < math.huge and not string.find(text, '|', 1, true)
end

-- Of 16 digits at most, and as text unlike any other.
local function is_token(text)
    return text == '0' or #text <= 16 and string.byte(text) ~= 48
end

local function parse(text)
    local generation, owner, weight = match(text, '^(%d+)|(%d+)|(.*)$')
    if generation and is_token(generation) and is_token(owner) and (weight == '1' or is_weight(weight)) then
        return generation, owner, weight
    end
end
)lua";

// The schedules of a request: what is stored of each, read once, and what becomes of it.
inline constexpr char schedules[] = R"lua(
local records = {}
local own_set, own_deleted, moves_set, moves_deleted = {}, {}, {}, {}
local unowned_added, unowned_removed, by_added, by_removed = {}, {}, {}, {}
-- Of a token, an owner and a weight. %d is twice as fast where it can count as far.
local record_format = (fmt('%d', 2 ^ 52) == '4503599627370496' and '%d' or '%.0f') .. '|%s|%s'

-- What own and moves hold of the schedules whose ids are ARGV[first..last].
local function read_own(first, last)
    if last < first then return {}, {} end
    -- Mostly nothing is moving.
    return call('HMGET', k_own, unpack(ARGV, first, last)),
        call('HLEN', k_moves) > 0 and call('HMGET', k_moves, unpack(ARGV, first, last)) or {}
end

-- The same as records.
local function read_schedules(first, last)
    local own, moves = read_own(first, last)
    for i = first, last do
        local text, move = own[i - first + 1], moves[i - first + 1]
        if text then
            local generation, owner, weight = parse(text)
            -- One that cannot be read has an owner that is nobody, and is not '0' either.
            local s = {generation = generation or '', owner = owner or '', weight = weight or '1'}
            if move then s.to = match(move, '^%d+') end
            records[ARGV[i]] = s
        end
    end
end

local function append(lists, inc, id)
    local list = lists[inc]
    if list then
        list[#list + 1] = id
    else
        lists[inc] = {id}
    end
end

-- In pairs, as ZADD takes them.
local function append_scored(lists, inc, id)
    local list = lists[inc]
    if list then
        local n = #list
        list[n + 1], list[n + 2] = '0', id
    else
        lists[inc] = {'0', id}
    end
end

local function detach(id, owner)
    if owner == '0' then
        unowned_removed[#unowned_removed + 1] = id
        return
    end
    local n = node(owner)
    if n then
        append(by_removed, owner, id)
        n.load = n.load > 0 and n.load - 1 or 0
        changed[owner] = n
    end
end

local function drop_move(id, to)
    local target = node(to)
    if target then count(to, target, 0, -1) end
    moves_deleted[#moves_deleted + 1] = id
end

-- Makes `to` (0: nobody) the owner in place of `from`, and tells so. `head` is what the word of it begins with:
-- event_owned|reason|from|
local function hand_to(id, weight, from, to, token, head)
    detach(id, from)
    local text = fmt(record_format, token, to, weight)
    local n = #own_set
    own_set[n + 1], own_set[n + 2] = id, text
    text = head .. text .. (lengths[#id] or mark_of(id)) .. id
    events[#events + 1] = text
    if to == '0' then
        unowned_added[#unowned_added + 1] = '0'
        unowned_added[#unowned_added + 1] = id
        return
    end
    append_scored(by_added, to, id)
    local target = node(to)
    target.load = target.load + 1
    changed[to] = target
    tell_word(to, text)
end

local function verify_schedules()
    call('ZCARD', k_unowned)
    for inc in pairs(by_added) do call('ZCARD', P .. 'by:' .. inc) end
    for inc in pairs(by_removed) do call('ZCARD', P .. 'by:' .. inc) end
end

local function commit_schedules()
    if #own_set > 0 then call('HSET', k_own, unpack(own_set)) end
    if #own_deleted > 0 then call('HDEL', k_own, unpack(own_deleted)) end
    if #moves_deleted > 0 then call('HDEL', k_moves, unpack(moves_deleted)) end
    if #moves_set > 0 then call('HSET', k_moves, unpack(moves_set)) end
    if #unowned_removed > 0 then call('ZREM', k_unowned, unpack(unowned_removed)) end
    if #unowned_added > 0 then call('ZADD', k_unowned, unpack(unowned_added)) end
    for inc, ids in pairs(by_removed) do
        -- The index of a node that is forgotten goes as a whole.
        if not departed[inc] then call('ZREM', P .. 'by:' .. inc, unpack(ids)) end
    end
    for inc, pairs in pairs(by_added) do call('ZADD', P .. 'by:' .. inc, unpack(pairs)) end
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

// What stays of schedules that were unregistered or mended, in the hash `gone`: inc|until|kept|nonce. The owner of then
// may believe in it until it has heard; 0: several may.
inline constexpr char tombstones[] = R"lua(
local stones = {}

-- Reads those of the schedules whose ids are ARGV[first..last]. Whether there are any.
local function read_tombstones(first, last)
    -- Mostly there are none.
    if last < first or call('HLEN', k_gone) == 0 then return false end
    local values = call('HMGET', k_gone, unpack(ARGV, first, last))
    for i = first, last do
        local text = values[i - first + 1]
        if text then
            local g = {}
            g.owner, g.ends, g.kept, g.nonce = match(text, '^(%d+)|(%d+)|(%d+)|(%d+)$')
            if g.owner then stones[ARGV[i]] = g end
        end
    end
    return true
end

local function is_guarded(id)
    local g = stones[id]
    return g and tonumber(g.ends) > now and (g.owner == '0' or may_believe(g.owner))
end
)lua";

// Writes tombstones, and throws those away that have had their time: `buried` knows it. KEYS[18] is `buried`.
inline constexpr char burial[] = R"lua(
local k_buried = KEYS[18]
local buried, overdue = {}, {}

-- May be called for an id once, with a stone that is not changed after.
local function bury(id, stone)
    stones[id] = stone
    buried[#buried + 1] = id
end

local function verify_burial()
    if #buried > 0 then
        call('HLEN', k_gone)
        overdue = call('ZRANGEBYSCORE', k_buried, '-inf', now, 'LIMIT', 0, 2 * #buried)
    end
end

local function commit_burial()
    if #buried == 0 then return end
    if #overdue > 0 then
        call('HDEL', k_gone, unpack(overdue))
        call('ZREM', k_buried, unpack(overdue))
    end
    local set, scores = {}, {}
    for i, id in ipairs(buried) do
        local g = stones[id]
        set[2 * i - 1], set[2 * i] = id, fmt('%s|%.0f|%.0f|%s', g.owner, g.ends, g.kept, g.nonce)
        scores[2 * i - 1], scores[2 * i] = fmt('%.0f', math.max(g.ends, g.kept)), id
    end
    call('HSET', k_gone, unpack(set))
    call('ZADD', k_buried, unpack(scores))
    -- In ms and twice as long: it only collects garbage.
    local last = call('ZREVRANGE', k_buried, 0, 0, 'WITHSCORES')
    local kept = math.ceil(math.max(last[2] - now, 0) / 500) + 1
    call('PEXPIRE', k_gone, kept)
    call('PEXPIRE', k_buried, kept)
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
    {'HKEYS', key}, {'HGETALL', key}, {'HSCAN', key, '0'},
    {'ZSCORE', key, 'a'}, {'ZMSCORE', key, 'a'}, {'ZCARD', key}, {'ZRANGE', key, 0, 0}, {'ZREVRANGE', key, 0, 0},
    {'ZRANGEBYSCORE', key, 0, 0}, {'ZRANGEBYLEX', key, '-', '+'},
    {'XLEN', key}, {'XRANGE', key, '-', '+'}, {'XREVRANGE', key, '+', '-'}, {'XREAD', 'STREAMS', key, '0'},
    {'SET', key, '1', 'PX', 1000}, {'MSET', key, '1'}, {'DEL', key},
    {'HSET', key, 'a', '1'}, {'PEXPIRE', key, 1000}, {'HDEL', key, 'a'}, {'DEL', key},
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
// The scripts that only read: changes_since, events_since, schedules_page, nodes_page, scan_page. See operations.hpp
// for what they do. What is stored goes to the caller as it is; nothing is taken apart here that the caller can.

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

// KEYS: epoch, seq, roster, info, load, pending, nodes, dead, orders. ARGV: after (16 digits), limit.
// Reply: now, epoch, seq, whether maintenance, drained (if after is 0), incarnations, what the others hold of them.
inline constexpr char nodes_page[] = R"lua(
local call = redis.call
local epoch, seq = call('GET', KEYS[1]) or '0', call('GET', KEYS[2]) or '0'
local maintenance = call('HEXISTS', KEYS[9], '')
local drained = tonumber(ARGV[1]) == 0 and call('HKEYS', KEYS[9]) or {}
local padded = call('ZRANGEBYLEX', KEYS[3], '(' .. ARGV[1], '+', 'LIMIT', 0, ARGV[2])
if #padded == 0 then return {0, now, epoch, seq, maintenance, drained, {}, {}, {}, {}, {}, {}} end
local nodes = {}
for i, text in ipairs(padded) do nodes[i] = string.match(text, '^0*(.*)$') end
return {0, now, epoch, seq, maintenance, drained, nodes, call('HMGET', KEYS[4], unpack(nodes)),
        call('HMGET', KEYS[5], unpack(nodes)), call('HMGET', KEYS[6], unpack(nodes)),
        call('ZMSCORE', KEYS[7], unpack(nodes)), call('ZMSCORE', KEYS[8], unpack(nodes))}
)lua";

// KEYS: own, moves. ARGV: cursor, limit. Reply: cursor, ids with what own holds of each, what moves holds of them, or
// nothing if nothing moves.
inline constexpr char scan_page[] = R"lua(
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found, moves, ids = page[2], {}, {}
if #found == 0 or redis.call('HLEN', KEYS[2]) == 0 then return {0, page[1], found, {}} end
for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
-- A hash that is small as the server is configured comes whole.
for i = 1, #ids, 1000 do
    for _, move in ipairs(redis.call('HMGET', KEYS[2], unpack(ids, i, math.min(i + 999, #ids)))) do
        moves[#moves + 1] = move
    end
end
return {0, page[1], found, moves}
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
    -- generation|owner|weight;traits
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
            if moves[i] and tonumber(string.match(moves[i], '^%d+|(%d+)') or now + 1) <= now then
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
// The scripts of membership and leadership: join, describe_node, give_order, tick, leave, renounce, reap. See
// operations.hpp for what they do.

namespace rota::detail::lua {

// ARGV: connection, P, nonce, ttl, capacity, on_conflict, seen, node_id, 1;traits.
// Reply: incarnation, epoch, seq, superseded.
inline constexpr char join[] = R"lua(
local nonce, ttl, capacity, seen, id, traits = ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[7]), ARGV[8], ARGV[9]
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
if deadline then emit('event_superseded|0|' .. older .. '|0|' .. inc .. '|1', id) end
emit('event_joined|0|0|0|' .. inc .. '|' .. traits .. '|' .. capacity, id)
refused = verify_step()
if refused then return refused end

commit_step()
if deadline then
    call('ZREM', k_nodes, older)
    call('ZADD', k_dead, deadline, older)
end
call('ZADD', k_nodes, now + ttl, inc)
call('ZADD', k_roster, 0, fmt('%016.0f', inc))
call('HSET', k_info, inc, capacity .. '|' .. nonce .. '|' .. ARGV[4] .. '|0|' .. traits .. '|' .. id)
call('HSET', k_ids, id, inc)
return {0, inc, epoch, seq, deadline and older or '0'}
)lua";

// ARGV: connection, P, incarnation, capacity, 1;traits. Reply: nothing.
inline constexpr char describe_node[] = R"lua(
local inc, capacity, traits = ARGV[3], ARGV[4], ARGV[5]
local info = call('ZSCORE', k_nodes, inc) and call('HGET', k_info, inc)
if not info then return {errc_not_joined} end
local capacity_before, middle, traits_before, id = match(info, '^(%d+)(|%d+|%d+|%d|)([^|]*)|(.*)$')
if capacity == capacity_before and traits == traits_before then return {0} end
emit('event_described|0|0|0|' .. inc .. '|' .. traits .. '|' .. capacity, id)
local refused = verify_step()
if refused then return refused end

commit_step()
call('HSET', k_info, inc, capacity .. middle .. traits .. '|' .. id)
return {0}
)lua";

// `orders` has a field for each node_id that is drained, and one without a name for maintenance.
//
// ARGV: connection, P, kind, node_id (empty for maintenance); KEYS[18]: orders. Reply: nothing.
inline constexpr char give_order[] = R"lua(
local k_orders, kind, id = KEYS[18], tonumber(ARGV[3]), ARGV[4]
local begins = kind == order_drain or kind == order_begin_maintenance
if (call('HEXISTS', k_orders, id) == 1) == begins then return {0} end
if kind == order_drain and call('HEXISTS', k_ids, id) == 0 then return {errc_unknown_node} end
ensure_epoch(0)
emit('event_ordered|0|0|' .. ARGV[3] .. '|0|1', id)
local refused = verify_step()
if refused then return refused end

commit_step()
if begins then call('HSET', k_orders, id, '1') else call('HDEL', k_orders, id) end
return {0}
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

local function emit(record, id)
    seq = seq + 1
    call('XADD', KEYS[10], 'MAXLEN', '~', limit_events, epoch .. '-' .. fmt('%.0f', seq), 'e',
         record .. '|' .. #id .. ':' .. id)
end

local function commit()
    call('MSET', KEYS[2], epoch, KEYS[3], fmt('%.0f', fence), KEYS[4], fmt('%.0f', seq))
end

if not (epoch and v[4] and fence >= seen) then
    epoch = mint()
    if seen > 0 then emit('event_data_lost|0|0|' .. epoch .. '|0|1', '') end
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
    emit('event_led|0|' .. (holder or '0') .. '|' .. term .. '|' .. inc .. '|1', ARGV[9])
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
    local record = 'event_vacated|0|' .. holder .. '|' .. term .. '|0|1'
    emit(record, '')
    for i = first, #ARGV do
        local n = node(ARGV[i])
        if n and n.live then tell(ARGV[i], record, '') end
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

// ---- rota/detail/redis/mending.lua.hpp -----------------------------------------------------------------------------
// The script mend, which looks again at records that seemed to disagree. See operations.hpp for what it does.

namespace rota::detail::lua {

// ARGV: connection, P, incarnation, term, seen, number of items, ids..., holders of each (joined by ,)..., nodes to
// recount...; KEYS[18..]: buried, then of the holders and nodes. Reply: code, token of each.
inline constexpr char mend[] = R"lua(
local seen, n = tonumber(ARGV[5]), tonumber(ARGV[6])
local refused = behind(seen)
if refused then return refused end
if not leads(ARGV[3], ARGV[4]) then return {errc_not_leader} end
call('HLEN', k_own)
call('HLEN', k_load)
call('HLEN', k_pending)
read_tombstones(7, 6 + n)
local own = n > 0 and call('HMGET', k_own, unpack(ARGV, 7, 6 + n)) or {}
local moves = n > 0 and call('HMGET', k_moves, unpack(ARGV, 7, 6 + n)) or {}
local lists, named, dropped = {}, {}, {}

-- What the index of inc has more or less after this step.
local function relist(inc, id, adds)
    if adds then append_scored(by_added, inc, id) else append(by_removed, inc, id) end
    lists[inc] = (lists[inc] or 0) + (adds and 1 or -1)
end

-- The earlier guard of an id holds as well; and a repeat of its unregistering is still known.
local function guard(id, owner, ends)
    local g = stones[id] or {kept = 0, nonce = '0'}
    local stone = {owner = owner, ends = ends, kept = g.kept, nonce = g.nonce}
    if is_guarded(id) then
        if g.owner ~= owner then stone.owner = '0' end
        stone.ends = math.max(ends, g.ends)
    end
    bury(id, stone)
end

-- Reads all there is of one, and decides.
local function mend(i)
    local id = ARGV[6 + i]
    local generation, owner, weight
    if own[i] then generation, owner, weight = parse(own[i]) end
    if not generation then owner = '0' end
    local holder, owner_lists, knows_owner, mended = node(owner), false, false, false
    local others, is_named = {}, {}
    for inc in string.gmatch(ARGV[6 + n + i], '%d+') do
        named[inc] = true
        if inc == owner then knows_owner = true end
        if not is_named[inc] then
            is_named[inc] = true
            if call('ZSCORE', P .. 'by:' .. inc, id) then
                if holder and inc == owner then owner_lists = true else others[#others + 1] = inc end
            end
        end
    end
    if holder and not knows_owner then return errc_conflict, 0 end
    local unowned = call('ZSCORE', k_unowned, id)
    local to, is_move = nil, moves[i]
    if is_move then to = match(is_move, '^([1-9]%d*)|%d+|%d+|%d$') end

    local believer, ends = nil, 0
    for _, inc in ipairs(others) do
        mended = true
        relist(inc, id, false)
        local it = node(inc)
        if it and it.live then tell(inc, 'event_unregistered|0|' .. inc .. '|0|0|1', id) end
        if it and it.deadline > now then
            believer = (not believer or believer == inc) and inc or '0'
            ends = math.max(ends, it.deadline)
        end
    end
    local exists = own[i] or mended or unowned
    -- A hand-off that cannot be read, or of what nobody has or is not listed as it should be, or to whom has it.
    local is_listed = owner_lists and not unowned and #others == 0
    if is_move and not (to and is_listed and to ~= owner) then
        mended = mended or exists
        moves_deleted[#moves_deleted + 1] = id
        dropped[id] = true
        local target = to and node(to)
        if target then count(to, target, 0, -1) end
    end
    if not exists then return 0, 0 end
    -- Where anything is wrong with it, its owner and all who follow may know it as another's: it begins anew.
    if not holder and (mended or not generation or owner ~= '0' or not unowned) then
        mended = true
        if not generation then weight = '1' end
        generation = fmt('%.0f', mint(seen))
        local text = generation .. '|0|' .. weight
        own_set[#own_set + 1] = id
        own_set[#own_set + 1] = text
        emit('event_owned|reason_repaired|' .. owner .. '|' .. text, id)
    end
    if holder then
        if unowned then unowned_removed[#unowned_removed + 1] = id end
        if not owner_lists then relist(owner, id, true) end
        if mended or not is_listed then
            mended = true
            generation = fmt('%.0f', mint(seen))
            local text = generation .. '|' .. owner .. '|' .. weight
            own_set[#own_set + 1] = id
            own_set[#own_set + 1] = text
            if holder.live then tell(owner, 'event_owned|reason_repaired|0|' .. text, id) end
            emit('event_owned|reason_repaired|0|' .. text, id)
        end
    else
        if not unowned then
            mended = true
            unowned_added[#unowned_added + 1] = '0'
            unowned_added[#unowned_added + 1] = id
        end
        if believer then guard(id, believer, ends) end
    end
    return 0, mended and generation or 0
end

local answer = {0}
for i = 1, n do answer[2 * i], answer[2 * i + 1] = mend(i) end

for i = 7 + 2 * n, #ARGV do named[ARGV[i]] = true end
local pending, strangers = nil, {}
if next(named) and call('HLEN', k_moves) - #moves_deleted <= limit_counted_moves then
    pending = {}
    local all = call('HGETALL', k_moves)
    for i = 1, #all, 2 do
        local to = not dropped[all[i]] and match(all[i + 1], '^%d+')
        if to then pending[to] = (pending[to] or 0) + 1 end
    end
end
for inc in pairs(named) do
    local it, load = node(inc), call('ZCARD', P .. 'by:' .. inc) + (lists[inc] or 0)
    if it then
        it.load = load
        if pending then it.pending = pending[inc] or 0 end
        changed[inc] = it
    else
        strangers[#strangers + 1] = inc
    end
end
verify_schedules()
verify_burial()
refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
commit_burial()
if #strangers > 0 then
    call('HDEL', k_load, unpack(strangers))
    call('HDEL', k_pending, unpack(strangers))
end
return answer
)lua";

}  // namespace rota::detail::lua

// ---- rota/detail/redis/schedules.lua.hpp ---------------------------------------------------------------------------
// The scripts of schedules: register, update, lookup, unregister, claim, adopt, revoke, acknowledge. See operations.hpp
// for what they do.

namespace rota::detail::lua {

// ARGV: connection, P, ids..., weight;traits... Reply: nothing, it always succeeds.
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
        unowned_added[#unowned_added + 1] = '0'
        unowned_added[#unowned_added + 1] = id
        emit('event_registered|0|0|0|0|' .. weight, id)
    end
end
verify_schedules()
local refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
return {0}
)lua";

// ARGV: connection, P, ids..., weight;traits..., owners...; KEYS[18..]: of the owners. Reply: code of each.
inline constexpr char update_schedules[] = R"lua(
local n, answer = (#ARGV - 2) / 3, {0}
read_schedules(3, 2 + n)
for i = 3, 2 + n do
    local id, weight, owner = ARGV[i], ARGV[n + i], ARGV[2 * n + i]
    local s = records[id]
    local code = 0
    if not s then
        code = errc_unknown_schedule
    elseif s.owner ~= owner then
        code = errc_conflict
    elseif s.weight ~= weight then
        s.weight = weight
        local text = '|' .. owner .. '|' .. weight
        own_set[#own_set + 1] = id
        own_set[#own_set + 1] = s.generation .. text
        local record = 'event_updated|0|' .. owner .. '|' .. s.generation .. '|0|' .. weight
        local holder = node(owner)
        if holder and holder.live then tell(owner, record, id) end
        emit(record, id)
    end
    answer[#answer + 1] = code
end
local refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
return answer
)lua";

// KEYS: own, moves. ARGV: ids... Reply: what is stored of them, twice.
inline constexpr char lookup[] = R"lua(
if #ARGV == 0 then return {0, {}, {}} end
return {0, redis.call('HMGET', KEYS[1], unpack(ARGV)), redis.call('HMGET', KEYS[2], unpack(ARGV))}
)lua";

// ARGV: connection, P, nonce, ids..., owners...; KEYS[18..]: buried, then of the owners. Reply: code of each.
inline constexpr char unregister_schedules[] = R"lua(
local n, nonce, answer = (#ARGV - 3) / 2, ARGV[3], {0}
read_schedules(4, 3 + n)
read_tombstones(4, 3 + n)
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
        bury(id, stone)
        records[id] = nil
        detach(id, owner)
        if s.to then drop_move(id, s.to) end
        own_deleted[#own_deleted + 1] = id
        local record = 'event_unregistered|0|' .. owner .. '|0|0|1'
        if holder and holder.live then tell(owner, record, id) end
        emit(record, id)
    end
end
verify_schedules()
verify_burial()
local refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
commit_burial()
return answer
)lua";

// ARGV: connection, P, incarnation, seen, ids...; KEYS[18..]: of the node. Reply: code, token of each.
inline constexpr char claim[] = R"lua(
local inc, seen = ARGV[3], tonumber(ARGV[4])
local refused = behind(seen)
if refused then return refused end
local me = node(inc)
if not me or not me.live then return {errc_not_joined} end
read_schedules(5, #ARGV)
read_tombstones(5, #ARGV)
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
        if s.to then drop_move(id, s.to) end
        hand_to(id, s.weight, '0', inc, token, 'event_owned|reason_claimed|0|')
        s.owner, s.generation = inc, token
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

// What adopt and revoke have in common: items as ids, what the record is expected to begin with (generation|owner|),
// and ways, from|to|reason| or from|to|reason|open|, each of which is looked into once.
inline constexpr char ways[] = R"lua(
local ways = {}

local function look_into(text)
    local from, to, reason, open = match(text, '^(%d+)|(%d+)|(%d+)|(%d?)')
    local way = {from = from, to = to, reason = reason, open = open, source = node(from), target = node(to),
                 is_target = is_target(to)}
    ways[text] = way
    return way
end
)lua";

// ARGV: connection, P, incarnation, term, seen, as_of, number of items, ids..., expected..., ways..., incarnations in
// them...; KEYS[18..]: of those. Reply: code, token of each.
inline constexpr char adopt[] = R"lua(
local seen, n, find, sub = tonumber(ARGV[5]), tonumber(ARGV[7]), string.find, string.sub
local refused = behind(seen)
if refused then return refused end
if not leads(ARGV[3], ARGV[4]) then return {errc_not_leader} end
refused = moved_on(ARGV[6])
if refused then return refused end
local own, moves = read_own(8, 7 + n)
local are_stones = read_tombstones(8, 7 + n)
read_nodes(8 + 3 * n, #ARGV)
local answer, done, sources = {0}, {}, {}
for i = 1, n do
    local id, expected, way = ARGV[7 + i], ARGV[7 + n + i], ARGV[7 + 2 * n + i]
    way = ways[way] or look_into(way)
    if not way.head then
        way.head = 'event_owned|' .. way.reason .. '|' .. way.from .. '|'
        way.is_orphan = way.from == '0' or not may_believe(way.from)
    end
    local text, move = own[i], moves[i]
    local code, token, weight = 0, 0, nil
    if text and way.is_orphan and find(text, expected, 1, true) == 1 then weight = sub(text, #expected + 1) end
    if not text then
        code = errc_unknown_schedule
    elseif not weight or weight ~= '1' and not is_weight(weight) or done[id] or are_stones and is_guarded(id) then
        code = errc_conflict
    elseif not way.is_target then
        code = errc_unknown_node
    else
        local target, to = way.target, way.to
        move = move and match(move, '^%d+')
        -- A hand-off to this very node has its place already.
        if target.load + target.pending >= target.capacity + (move == to and 1 or 0) then
            code = errc_capacity_exceeded
        else
            token = mint(seen)
            if move then drop_move(id, move) end
            hand_to(id, weight, way.from, to, token, way.head)
            done[id] = true
            if way.source and not sources[way.from] then
                sources[way.from] = true
                sources[#sources + 1] = way.from
            end
        end
    end
    answer[2 * i], answer[2 * i + 1] = code, token
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

// ARGV: connection, P, incarnation, term, time for the hand-off, as_of, number of items, ids..., expected..., ways...,
// incarnations in them...; KEYS[18..]: of those. Reply: code, token of each.
inline constexpr char revoke[] = R"lua(
local inc, term, handoff, n, find, sub = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[7]), string.find, string.sub
if term ~= '0' then
    if not leads(inc, term) then return {errc_not_leader} end
else
    local me = node(inc)
    if not me or not me.live then return {errc_not_joined} end
end
local refused = moved_on(ARGV[6])
if refused then return refused end
local own, moves = read_own(8, 7 + n)
read_nodes(8 + 3 * n, #ARGV)
local answer, deadline, begun = {0}, fmt('|%.0f|', now + handoff), {}
for i = 1, n do
    local id, expected, way = ARGV[7 + i], ARGV[7 + n + i], ARGV[7 + 2 * n + i]
    way = ways[way] or look_into(way)
    if not way.head then
        way.head = 'event_moving|' .. way.reason .. '|' .. way.from .. '|'
        way.middle = '|' .. way.to .. '|'
        way.tail = '|' .. handoff .. '|' .. way.open
        way.move = way.to .. deadline .. way.reason .. '|' .. way.open
    end
    local text, target, weight = own[i], way.target, nil
    local moving_to = begun[id] or moves[i] and match(moves[i], '^%d+')
    local code, token = 0, 0
    if text and find(text, expected, 1, true) == 1 then weight = sub(text, #expected + 1) end
    if not text then
        code = errc_unknown_schedule
    elseif term == '0' and way.from ~= inc then
        code = errc_not_owner
    elseif not weight or weight ~= '1' and not is_weight(weight) or not (way.source and way.source.live) or
            way.to == way.from or moving_to and moving_to ~= way.to then
        code = errc_conflict
    elseif not moving_to and not way.is_target then
        code = errc_unknown_node
    elseif not moving_to and target.load + target.pending >= target.capacity then
        code = errc_capacity_exceeded
    else
        token = match(expected, '^%d+')
        if not moving_to then
            begun[id] = way.to
            local m = #moves_set
            moves_set[m + 1], moves_set[m + 2] = id, way.move
            target.pending = target.pending + 1
            changed[way.to] = target
            text = word(way.head .. token .. way.middle .. weight .. way.tail, id)
            events[#events + 1] = text
            tell_word(way.from, text)
        end
    end
    answer[2 * i], answer[2 * i + 1] = code, token
end
refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
return answer
)lua";

// ARGV: connection, P, incarnation, seen, number of items, number of places (the same, or 0), ids..., in whose place
// each goes (empty: nobody's)..., expected (generation|incarnation|)..., tos..., incarnations in them...; KEYS[18..]:
// lock:<id>, then of the node and those. Reply: code, token, remaining of each.
inline constexpr char acknowledge[] = R"lua(
local inc, seen, n, places = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local find, sub = string.find, string.sub
local refused = behind(seen)
if refused then return refused end
local me = node(inc)
if not me or not me.live then return {errc_not_joined} end
local all_expected, tos = 6 + n + places, 6 + 2 * n + places
local own, moves = read_own(7, all_expected)
read_nodes(tos + n + 1, #ARGV)
local locks = n > 0 and call('MGET', unpack(KEYS, 18, 17 + n)) or {}
local answer, done, asked = {0}, {}, {}

-- What was asked for by `move`, to|deadline|reason|open.
local function look_into(move)
    local to, reason, open = match(move, '^(%d+)|%d+|(%d+)|(%d)$')
    local it = {to = to, open = open == '1', target = to and is_target(to) and node(to)}
    if to then
        it.head = 'event_owned|' .. reason .. '|' .. inc .. '|'
        it.called_off = 'event_moving|' .. reason .. '|' .. inc .. '|'
    end
    asked[move] = it
    return it
end

for i = 1, n do
    local id, expected, to = ARGV[6 + i], ARGV[all_expected + i], ARGV[tos + i]
    local place = places > 0 and ARGV[6 + n + i] or ''
    local is_substitute = place ~= ''
    local text, move, weight, generation = own[i], moves[is_substitute and n + i or i], nil, nil
    local it = move and (asked[move] or look_into(move))
    if text and it and it.to == to and find(text, expected, 1, true) == 1 and not done[id] then
        weight = sub(text, #expected + 1)
        if weight ~= '1' and not is_weight(weight) then weight = nil end
    end
    if weight and is_substitute then
        local owner, other
        if own[n + i] then generation, owner, other = parse(own[n + i]) end
        if moves[i] or done[place] or not it.open or owner ~= inc or other ~= weight then weight = nil end
    end
    local code, token, remaining = 0, 0, 0
    if not text then
        code = errc_unknown_schedule
    elseif not weight then
        code = errc_conflict
    else
        local deadline, holder
        if locks[i] then deadline, holder = match(locks[i], '^(%d+)|%d+|(%d+)|') end
        if deadline and tonumber(deadline) > now and may_believe(holder) then
            code, remaining = errc_locked_by_other, deadline - now
        else
            local target = it.target
            if not target then
                code = errc_unknown_node
            elseif target.load + target.pending >= target.capacity + 1 then
                code = errc_capacity_exceeded
            end
            if code == 0 or not is_substitute then
                token = mint(seen)
                done[id] = true
                if is_substitute then
                    done[place] = true
                    drop_move(place, to)
                    emit(it.called_off .. generation .. '|0|' .. weight .. '|0|0', place)
                else
                    drop_move(id, to)
                end
                if code == 0 then
                    hand_to(id, weight, inc, to, token, it.head)
                else
                    hand_to(id, weight, inc, '0', token, 'event_owned|reason_given_up|' .. inc .. '|')
                end
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
    describe_node,
    give_order,
    update_schedules,
    scan_page,
    mend,
};
inline constexpr std::size_t script_count = 27;

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
        case script_id::describe_node: return "describe_node";
        case script_id::give_order: return "give_order";
        case script_id::update_schedules: return "update_schedules";
        case script_id::scan_page: return "scan_page";
        case script_id::mend: return "mend";
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
    {"reason_repaired", static_cast<int>(change_reason::repaired)},
    {"order_drain", static_cast<int>(op::order_kind::drain)},
    {"order_begin_maintenance", static_cast<int>(op::order_kind::begin_maintenance)},
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
    {"event_updated", static_cast<int>(op::group_event_kind::updated)},
    {"event_described", static_cast<int>(op::group_event_kind::described)},
    {"event_ordered", static_cast<int>(op::group_event_kind::ordered)},
    {"limit_batch", op::max_batch},
    {"limit_events", op::event_log_length},
    {"limit_changes", op::change_log_length},
    {"limit_change_steps", op::max_change_steps},
    {"limit_seen_lead", op::max_seen_lead.count()},
    {"limit_repeat_window", op::repeat_window.count()},
    {"limit_counted_moves", op::max_counted_moves},
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
    auto const add_of_schedules = [&add](auto const&... pieces) {
        add(lua::group, lua::step, lua::nodes, lua::record, lua::schedules, pieces...);
    };
    switch (id) {
        case script_id::session: add(lua::session); return text;
        case script_id::probe: add(lua::probe); return text;
        case script_id::lookup: add(lua::lookup); return text;
        case script_id::changes_since: add(lua::changes_since); return text;
        case script_id::events_since: add(lua::events_since); return text;
        case script_id::schedules_page: add(lua::schedules_page); return text;
        case script_id::scan_page: add(lua::scan_page); return text;
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
        case script_id::describe_node: add(lua::group, lua::step, lua::describe_node); break;
        case script_id::give_order: add(lua::group, lua::step, lua::give_order); break;
        case script_id::register_schedules: add_of_schedules(lua::register_schedules); break;
        case script_id::update_schedules: add_of_schedules(lua::update_schedules); break;
        case script_id::unregister_schedules:
            add_of_schedules(lua::tombstones, lua::burial, lua::unregister_schedules);
            break;
        case script_id::claim: add_of_schedules(lua::tombstones, lua::claim); break;
        case script_id::adopt: add_of_schedules(lua::departures, lua::tombstones, lua::ways, lua::adopt); break;
        case script_id::revoke: add_of_schedules(lua::ways, lua::revoke); break;
        case script_id::acknowledge: add_of_schedules(lua::acknowledge); break;
        case script_id::mend: add_of_schedules(lua::tombstones, lua::burial, lua::mend); break;
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
    /// weight, or weight;traits.
    void arg(double weight, std::string_view traits) {
        auto& text = next(into_.args, args_);
        append_weight(text, weight);
        if (!traits.empty()) text.append(";").append(traits);
    }
    /// Numbers, with `end` after each.
    template <typename Numbers = std::initializer_list<std::uint64_t>>
    void arg(Numbers const& numbers, char end) {
        auto& text = next(into_.args, args_);
        for (auto number : numbers) {
            append_number(text, number);
            text += end;
        }
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
                      "pending", "own", "unowned", "moves", "gone"}) {
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
    void name(redis_command_writer& w) const {
        for (auto incarnation : members_) w.arg(incarnation);
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
        w.arg(1, r.traits);
    }

    void operator()(op::describe_node const& r) const {
        redis_command_writer w{into, script_id::describe_node, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(std::uint64_t{r.capacity});
        w.arg(1, r.traits);
    }

    void operator()(op::give_order const& r) const {
        redis_command_writer w{into, script_id::give_order, key_prefix};
        begin_group_command(w, from);
        w.key("orders");
        w.arg(r.kind);
        bool const of_node = r.kind == op::order_kind::drain || r.kind == op::order_kind::undrain;
        w.arg(of_node ? std::string_view{r.node_id} : std::string_view{});
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
        for (auto const& item : r.items) w.arg(item.weight, item.traits);
    }

    void operator()(op::update_schedules const& r) const {
        redis_command_writer w{into, script_id::update_schedules, key_prefix};
        begin_group_command(w, from);
        incarnation_set owners;
        for (auto const& item : r.items) {
            w.arg(item.id);
            owners.add(item.owner);
        }
        owners.declare(w);
        for (auto const& item : r.items) w.arg(item.weight, item.traits);
        for (auto const& item : r.items) w.arg(item.owner);
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
        w.key("buried");
        w.arg(r.nonce);
        incarnation_set owners;
        for (auto const& item : r.items) {
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
        for (auto const& id : r.ids) w.arg(id);
        w.keys_of_node(r.incarnation);
    }

    void operator()(op::adopt const& r) const {
        redis_command_writer w{into, script_id::adopt, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.term);
        w.arg(r.seen);
        w.arg(r.as_of);
        write_placements(w, r.items);
    }

    void operator()(op::revoke const& r) const {
        redis_command_writer w{into, script_id::revoke, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.term);
        w.arg(r.handoff_deadline);
        w.arg(r.as_of);
        write_placements(w, r.items);
    }

    void operator()(op::acknowledge const& r) const {
        redis_command_writer w{into, script_id::acknowledge, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.seen);
        w.arg(std::uint64_t{r.items.size()});
        bool substitutes = false;
        for (auto const& item : r.items) substitutes = substitutes || !item.instead_of.empty();
        w.arg(std::uint64_t{substitutes ? r.items.size() : 0});
        incarnation_set nodes;
        nodes.add(r.incarnation);
        for (auto const& item : r.items) {
            w.key("lock:", item.id);
            w.arg(item.id);
            nodes.add(item.to);
        }
        nodes.declare(w);
        if (substitutes) {
            for (auto const& item : r.items) w.arg(item.instead_of);
        }
        for (auto const& item : r.items) w.arg({item.generation, r.incarnation}, '|');
        for (auto const& item : r.items) w.arg(item.to);
        nodes.name(w);
    }

    void operator()(op::mend const& r) const {
        redis_command_writer w{into, script_id::mend, key_prefix};
        begin_group_command(w, from);
        w.key("buried");
        w.arg(r.incarnation);
        w.arg(r.term);
        w.arg(r.seen);
        w.arg(std::uint64_t{r.items.size()});
        incarnation_set nodes;
        for (auto const& item : r.items) {
            w.arg(item.id);
            for (auto holder : item.holders) nodes.add(holder);
        }
        for (auto const& item : r.items) {
            w.arg(item.holders, ',');
        }
        for (auto incarnation : r.recount) {
            nodes.add(incarnation);
            w.arg(incarnation);
        }
        nodes.declare(w);
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
        for (auto name : {"epoch", "seq", "roster", "info", "load", "pending", "nodes", "dead", "orders"}) w.key(name);
        char padded[] = "0000000000000000";
        auto after = r.after;
        for (std::size_t i = sizeof padded - 1; i-- > 0 && after != 0; after /= 10) {
            padded[i] = static_cast<char>('0' + after % 10);
        }
        // With more digits than any incarnation has, it is above all of them.
        w.arg(after == 0 ? std::string_view{padded} : std::string_view{":"});
        w.arg(std::uint64_t{r.limit});
    }

    void operator()(op::scan_page const& r) const {
        redis_command_writer w{into, script_id::scan_page, key_prefix};
        w.key("own");
        w.key("moves");
        w.arg(r.cursor);
        w.arg(std::uint64_t{r.limit == 0 ? 1 : r.limit});
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
        w.arg(std::uint64_t{items.size()});
        incarnation_set nodes;
        for (auto const& item : items) {
            nodes.add(item.from);
            w.arg(item.id);
        }
        for (auto const& item : items) {
            nodes.add(item.to);
            w.arg({item.generation, item.from}, '|');
        }
        for (auto const& item : items) {
            auto const reason = static_cast<std::uint64_t>(item.reason);
            if constexpr (requires { item.open; }) {
                w.arg({item.from, item.to, reason, std::uint64_t{item.open}}, '|');
            } else {
                w.arg({item.from, item.to, reason}, '|');
            }
        }
        nodes.declare(w);
        nodes.name(w);
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

// ---- rota/detail/redis_handshake.hpp -------------------------------------------------------------------------------
// How a connection to Redis is brought to the point where operations can be performed (authenticated, the server looked
// at, scripts loaded, rights checked, numbered within its session), and what is known from it afterwards: a machine that
// gives bytes to send and takes replies, and does no input or output itself. The blocking session (redis_session.hpp)
// and the pipelined one (redis_pipeline.hpp) drive the same.
// Promises: nothing is written to the server before every right that rota needs has been checked; each connection raises
// its number in the session's record before its first operation, so that a command of an earlier one that arrives late
// is refused; no message holds a password.
// Does not: time anything, or decide when to try again (that is reconnect_backoff).

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <array>

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

#include <fcntl.h>
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

enum class resolving : std::uint8_t { names, numbers_only };

/// All endpoints of an address, in the order in which to try them. unavailable: the name cannot be resolved now; or, of
/// numbers_only, which asks nobody and so never blocks, it is a name.
[[nodiscard]] inline result<std::vector<endpoint>> resolve(redis_address const& address,
                                                           resolving what = resolving::names) {
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
    hints.ai_flags = AI_NUMERICSERV | (what == resolving::numbers_only ? AI_NUMERICHOST : 0);
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
        if (!input_) input_ = std::make_unique_for_overwrite<char[]>(input_size);
        for (;;) {
            auto next = parse();
            if (!next || *next) return next;
            auto const count = ::recv(descriptor_, input_.get(), input_size, 0);
            if (count > 0) {
                feed(input_.get(), static_cast<std::size_t>(count));
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
        if (receive_some()) return true;
        close();
        return false;
    }

    /// The next reply in what was read, null if none is complete. protocol: the bytes are not Redis' (and closed).
    result<reply_ptr> parse() {
        auto next = next_reply();
        if (!next) close();
        return next;
    }

    // The same for whoever watches the descriptor, and so must be the one that closes it: these leave it open.

    /// Hands as many of the bytes to the system as it takes now, and tells how many. unavailable: the connection is lost;
    /// last_words() may tell why.
    result<std::size_t> send_some(std::string_view bytes) {
        for (;;) {
            auto const count = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (count >= 0) return static_cast<std::size_t>(count);
            if (errno == EAGAIN) return std::size_t{0};
            if (errno == EINTR) continue;
            error why{errc::unavailable, "connection lost: " + std::generic_category().message(errno)};
            keep_last_words();
            return why;
        }
    }

    /// Reads what is there, up to a limit, and tells how much; 0: nothing yet. unavailable: the connection is over.
    result<std::size_t> receive_some() {
        char bytes[nonblocking_size];  // not kept: a program may have thousands of connections
        auto const count = ::recv(descriptor_, bytes, sizeof bytes, MSG_DONTWAIT);
        if (count > 0) {
            feed(bytes, static_cast<std::size_t>(count));
            return static_cast<std::size_t>(count);
        }
        if (count == 0) return {errc::unavailable, "the server closed the connection"};
        if (errno == EAGAIN || errno == EINTR) return std::size_t{0};
        return {errc::unavailable, "connection lost: " + std::generic_category().message(errno)};
    }

    /// As parse().
    result<reply_ptr> next_reply() {
        void* raw = nullptr;
        if (::redisReaderGetReply(reader_.get(), &raw) != REDIS_OK) {
            std::string why = static_cast<char const*>(reader_->errstr);
            return {errc::protocol, "the peer does not speak Redis: " + readable_error(why)};
        }
        return reply_ptr{static_cast<redisReply*>(raw)};
    }

private:
    static constexpr std::size_t input_size = 64 * 1024;
    static constexpr std::size_t nonblocking_size = 16 * 1024;

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

    void feed(char const* bytes, std::size_t count) {
        if (::redisReaderFeed(reader_.get(), bytes, count) != REDIS_OK) throw std::bad_alloc{};
    }

    // A server that drops a connection at once (too many clients, protected mode) says why first.
    void keep_last_words() {
        last_words_.clear();
        if (!receive_some()) return;
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

    /// Where connections go from now on, as whom, for which group. False: just as before.
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

    /// Whether another server, or another run of it, answers than when this was last asked.
    [[nodiscard]] bool take_server_changed() noexcept { return std::exchange(changed_, false); }
    /// What an operator should know; taken away by the caller.
    [[nodiscard]] std::vector<error>& warnings() noexcept { return warnings_; }

    /// For tests: where scripts take their time from, in place of the server's clock; and as whom operations are sent.
    void set_time_source(std::string lua) { time_source_ = std::move(lua); }
    void pretend(std::uint64_t session, std::uint64_t number) noexcept {
        session_ = session;
        connections_ = number;
    }

    // ---------------------------------------------------------------- a new connection

    /// Begins with all that writes nothing, in one round trip: who we are, what the server is, the scripts.
    handshake_step begin(std::string& out) {
        phase_ = phase::greeting;
        keep_ = false;
        outcome_ = {};
        said_.clear();
        info_.clear();
        greeting_ = append_greeting(out, address_, client_name_);
        // INFO tells all that is to be known with one right; CONFIG GET would need another, which many services refuse.
        for (auto const section : {"server", "replication", "memory"}) append_command(out, {"INFO", section});
        append_script_loads(out);
        return expect(greeting_.count + sections + script_count);
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
                phase_ = phase::rights;
                append_call(out, probe_command(key_prefix_));
                return expect(1);
            case phase::rights:
                phase_ = phase::numbering;
                ++connections_;
                append_call(out, session_command(key_prefix_, session_, connections_));
                return expect(1);
            case phase::numbering: break;
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

    /// What loads the scripts, with script_count replies, each for take_digest().
    void append_script_loads(std::string& out) const {
        for (std::size_t i = 0; i < script_count; ++i) {
            append_command(out, {"SCRIPT", "LOAD", script_text(static_cast<script_id>(i), time_source_)});
        }
    }
    result<void> take_digest(std::size_t index, redisReply const& reply) {
        if (is_error(reply)) return refuse("loading rota's scripts", text_of(reply));
        if (text_of(reply).size() != 40) return at_server({errc::protocol, "SCRIPT LOAD gave no digest"});
        digests_[index] = text_of(reply);
        return {};
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
    enum class phase : std::uint8_t { greeting, rights, numbering };
    static constexpr std::size_t sections = 3;

    handshake_step expect(std::size_t replies) noexcept {
        expected_ = replies;
        taken_ = 0;
        return handshake_step::send;
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
            case phase::rights:
                // Every command that the scripts and the push connection use is tried, on a key to throw away.
                if (!is_error(reply) && text_of(reply) == "OK") return {};
                return refuse("checking the rights that rota needs", text_of(reply));
            case phase::numbering: break;
        }
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
        return take_digest(index - greeting_.count - sections, reply);
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

    std::uint64_t session_;
    std::uint64_t connections_ = 0;  // the number of the present one
    std::uint64_t established_ = 0;
    redis_address address_;
    std::string key_prefix_;
    std::string client_name_;
    std::string time_source_;
    std::array<std::string, script_count> digests_;

    // Of the connection that is being made ready.
    phase phase_{};
    greeting greeting_;
    std::size_t expected_ = 0;  // replies, to what was last sent
    std::size_t taken_ = 0;     // of them
    std::string info_;
    std::string said_;  // the error that the last reply was
    result<void> outcome_;
    bool keep_ = false;

    bool changed_ = false;
    std::string server_;  // run id and replication id
    std::vector<std::string> warned_;
    std::vector<error> warnings_;
};

}  // namespace rota::detail

#endif

namespace rota::detail {

/// See the top of the file. One of answer() and fail() is called, once.
class redis_call {
public:
    redis_call() = default;
    redis_call(redis_call const&) = delete;
    redis_call& operator=(redis_call const&) = delete;
    virtual ~redis_call() = default;

    virtual void write(redis_handshake const& from, redis_command& into) const = 0;
    /// Hands the handler what the reply, which is no error, says. False: it is no reply to this.
    virtual bool answer(redisReply const& reply, redis_handshake const& from) = 0;
    virtual void fail(error why) = 0;

    microseconds deadline{};
    std::uint64_t end = 0;    ///< of its bytes, in all that was ever written to the connection
    script_id script{};       ///< once written
    bool sent_again = false;  ///< after the scripts were loaded
};

/// Handler: void(result<reply>), called once.
template <typename Handler, typename T = void>
class redis_call_of final : public redis_call {
public:
    template <typename H>
    redis_call_of(late<operation, T> request, H&& handler)
        : request_{std::move(request)},
          handler_{std::forward<H>(handler)} {}

    void write(redis_handshake const& from, redis_command& into) const override {
        encode(request_, from.key_prefix(), from.session(), from.connection_number(), into);
    }
    bool answer(redisReply const& reply, redis_handshake const& from) override {
        auto decoded = decode(request_, &reply);
        if (!decoded && decoded.error() == errc::protocol) return fail(from.at_server(decoded.error())), false;
        handler_(std::move(decoded));
        return true;
    }
    void fail(error why) override { handler_(result<late<reply, T>>{std::move(why)}); }

private:
    late<operation, T> request_;
    Handler handler_;
};

}  // namespace rota::detail

#endif

// ---- rota/detail/redis_listener.hpp --------------------------------------------------------------------------------
// The push connection (redis_push.hpp) on an event loop: calls back when something newer than a subscription came.
// Promises: one call at most for each listen(), never inside it; nothing is read again until the next listen() says where
// from, so that a reader who has not caught up yet is not called in a tight loop.
// Watches an epoll instance of its own, in which the connection registers itself as it comes and goes, so that the order
// in which descriptors are closed is no concern of the loop's. One thread: the loop's.

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

// ---- rota/detail/redis_push.hpp ------------------------------------------------------------------------------------
// The second connection of a Redis transport: a blocked XREAD of the node's inbox and, if asked for, of the group's
// events, so that the server wakes a sleeping node the moment there is something new.
// Promises: never blocks; one read stays pending for as many sleeps as it takes (minutes), and is issued again only when
// it was answered or does not cover the subscription any more; nothing between a cursor and the read is missed, because
// the read starts at the cursor; while the server is away it tries again in ever longer steps.
// Does not: tell what is new (it is a hint, the caller asks over the other connection), or resolve names: it goes where
// the command connection went. One thread at a time.

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

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

namespace rota::detail {

/// See the top of the file.
class redis_listener : public std::enable_shared_from_this<redis_listener> {
public:
    using callback = unique_function<void()>;
    using complaint = unique_function<void(std::string)>;

    explicit redis_listener(loop_ref loop) : loop_{loop}, push_{entropy()} {}
    redis_listener(redis_listener const&) = delete;
    redis_listener& operator=(redis_listener const&) = delete;
    ~redis_listener() { shut_down(); }

    /// Where to, from now on; and who hears why the server does not let us.
    void retarget(push_target target) {
        push_.retarget(std::move(target));
        go_on();
    }
    void complain_to(complaint heard) { complaint_ = std::move(heard); }

    /// Listens for that from now on, in place of what it was before. False: no descriptor is left.
    bool listen(subscription const& sub, callback called) {
        sub_ = sub;
        called_ = std::move(called);
        bool const wanted = sub.incarnation != 0 || sub.follow_group;
        if (wanted && !make_descriptor()) return false;
        if (wanted || epoll_ >= 0) go_on();
        return true;
    }

    void shut_down() noexcept {
        called_ = nullptr;
        complaint_ = nullptr;
        timer_.reset();
        watch_.reset();
        push_.close();
        if (epoll_ >= 0) ::close(std::exchange(epoll_, -1));
    }

private:
    bool make_descriptor() {
        if (epoll_ >= 0) return true;
        epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
        if (epoll_ < 0) return false;
        push_.watch_with(epoll_);
        watch_ = loop_.watch(epoll_, io_interest::readable, [this](io_interest) { react(); });
        timer_ = loop_.timer([this] { go_on(); });
        return true;
    }

    void go_on() {
        if (epoll_ < 0) return;
        auto const now = io_now();
        // Without anybody to call there is nothing to listen for, but what is pending stays so for the next listen().
        if (called_ || (sub_.incarnation == 0 && !sub_.follow_group)) push_.prepare(sub_, now);
        auto const next = push_.next_time();
        if (!called_ || next == microseconds::max()) {
            timer_->stop();
        } else {
            timer_->start(next - now);
        }
    }

    void react() {
        auto const kept = shared_from_this();
        bool const newer = push_.react(sub_, io_now());
        if (auto why = push_.take_refusal(); !why.empty() && complaint_) complaint_(std::move(why));
        if (newer && called_) {
            auto called = std::move(called_);
            called_ = nullptr;
            called();
        }
        go_on();
    }

    loop_ref loop_;
    redis_push push_;
    int epoll_ = -1;
    subscription sub_;
    callback called_;
    complaint complaint_;
    watch_handle watch_;
    timer_handle timer_;
};

}  // namespace rota::detail

#endif

// ---- rota/detail/redis_pipeline.hpp --------------------------------------------------------------------------------
// The command connection of the asynchronous Redis transport, on an event loop: many operations in flight on one
// connection, replies matched in order, requests written together once per turn of the loop.
// Like the blocking transport it uses hiredis' parser on a socket of its own, not redisAsyncContext: no SIGPIPE, nothing
// freed inside a callback of the library's, deadlines of our own, and the same source from hiredis 0.14.1 on.
// Promises: each call is answered or failed exactly once, on the loop's thread, inside no function but the destructor's
// shut_down(); what waits for a connection that cannot be had fails with that attempt, or at its deadline if the attempt
// has no outcome by then; what is not answered by its deadline costs the connection, so that a late reply is never taken
// for another's; what had not wholly gone out when a connection was lost goes out over the next one.
// Does not: connect unless something is to be sent, or repeat what was sent (but once after NOSCRIPT, when nothing was
// done).

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

// ---- rota/detail/name_resolution.hpp -------------------------------------------------------------------------------
// Finds the endpoints of a Redis without keeping an event loop waiting: numbers and unix sockets at once, host names by
// the system's resolver, on a thread that lives as long as it takes and posts what it found.
// Promises: one thread at most at a time; after cancel(), or destruction, the callback is not called and the loop is not
// touched any more, however long the resolver takes; the thread takes no signals.
// Does not: bound the time that the system's resolver takes.

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <csignal>

#include <pthread.h>

namespace rota::detail {

/// See the top of the file. Loop's thread only.
class name_resolution {
public:
    using endpoints = std::vector<endpoint>;
    using callback = unique_function<void(result<endpoints>)>;

    name_resolution() = default;
    name_resolution(name_resolution const&) = delete;
    name_resolution& operator=(name_resolution const&) = delete;
    ~name_resolution() { cancel(); }

    /// Calls back on the loop's thread, later.
    void start(redis_address const& address, loop_ref loop, callback called) {
        cancel();
        request_ = std::make_shared<request>(loop, std::move(called));
        sigset_t all;
        sigset_t before;
        sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            std::thread{[kept = request_, address] { finish(kept, resolve(address)); }}.detach();
        } catch (std::system_error const& e) {
            finish(request_, {errc::unavailable, std::string{"no thread to resolve the host name: "} + e.what()});
        }
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    void cancel() {
        if (!request_) return;
        callback dropped;  // outside the lock
        {
            std::lock_guard const lock{request_->mutex};
            request_->wanted = false;
            dropped = std::move(request_->called);
        }
        request_.reset();
    }

private:
    struct request {
        request(loop_ref l, callback c) : loop{l}, called{std::move(c)} {}
        std::mutex mutex;
        bool wanted = true;
        loop_ref loop;
        callback called;
    };

    static void finish(std::shared_ptr<request> const& of, result<endpoints> found) {
        std::lock_guard const lock{of->mutex};  // so that the loop, which outlives cancel(), is there
        if (!of->wanted) return;
        of->loop.post([of, found = std::move(found)]() mutable {
            if (!of->wanted) return;
            of->wanted = false;
            auto const called = std::make_unique<callback>(std::move(of->called));
            (*called)(std::move(found));
        });
    }

    std::shared_ptr<request> request_;
};

}  // namespace rota::detail

#endif

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

    /// Where operations go from now on; `patience`: the least time that an attempt to connect is given.
    void open(redis_address address, std::string key_prefix, std::string client_name, microseconds patience) {
        patience_ = patience;
        if (!handshake_.open(std::move(address), std::move(key_prefix), std::move(client_name))) return;
        lose({errc::unavailable, "the transport was opened for another server or group"});
        backoff_.succeeded();
        if (!queue_.empty()) schedule();
    }
    /// Called whenever a connection has become fit for use.
    void on_established(unique_function<void()> called) { established_ = std::move(called); }

    void submit(std::unique_ptr<redis_call> call, microseconds timeout) {
        if (closed_) return refuse(std::move(call), {errc::cancelled, "the transport is gone"});
        if (timeout <= microseconds{0}) {
            return refuse(std::move(call), {errc::timed_out, "no time was allowed for the request"});
        }
        if (queue_.size() + in_flight_ >= most_) {
            return refuse(std::move(call), {errc::unavailable, "too many requests in flight"});
        }
        call->deadline = io_deadline(io_now(), timeout);
        earliest_ = std::min(earliest_, call->deadline);
        queue_.push_back(std::move(call));
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
        if (any) close();
        for (auto& call : std::exchange(queue_, {})) complete(std::move(call), why);
        schedule();
    }
    /// Ends everything; what is under way is failed with `cancelled` before this returns.
    void shut_down() {
        auto const kept = shared_from_this();
        closed_ = true;
        established_ = nullptr;
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

    // Something that was written and is to be answered: a call, or else the loading of the scripts.
    struct flight {
        std::unique_ptr<redis_call> call;
        std::size_t digests = 0;  // taken
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

    void turn() {
        if (closed_) return;
        auto const kept = shared_from_this();
        in_turn_ = true;
        auto const now = io_now();
        if (now >= earliest_) expire(now);
        if (stage_ != stage::idle && stage_ != stage::ready && now >= patience_ends_) attempt_took_too_long(now);
        if (stage_ == stage::ready && !queue_.empty()) write(now);
        if (stage_ == stage::idle && !queue_.empty() && now >= backoff_.not_before()) attempt(now);
        for (auto left = done_.size(); left > 0 && !done_.empty() && !closed_; --left) deliver_one();
        in_turn_ = false;
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
            if (!each.call) continue;
            overdue = overdue || each.call->deadline <= now;
            earliest_ = std::min(earliest_, each.call->deadline);
        }
        if (overdue) {
            lose({errc::timed_out, "no reply within the time allowed"});  // what had not gone out is in the queue again
            earliest_ = microseconds::max();
        }
        std::deque<std::unique_ptr<redis_call>> left;
        for (auto& call : queue_) {
            if (call->deadline <= now) {
                complete(std::move(call), too_late(now));
            } else {
                earliest_ = std::min(earliest_, call->deadline);
                left.push_back(std::move(call));
            }
        }
        queue_ = std::move(left);
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
        if (established_) established_();
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
        if (in_flight_ == 0 && now - last_used_ > quick_succession && connection_.has_unasked_input()) {
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
        auto& out = connection_.request();
        auto const before = out.size();
        call->write(handshake_, command_);
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
        if (!first.call) {
            auto ok = handshake_.take_digest(first.digests++, *reply);
            if (first.digests == script_count) sent_.pop_front();
            if (!ok) wind_up(ok.error(), now);
            return;
        }
        auto call = std::move(first.call);
        sent_.pop_front();
        --in_flight_;
        if (!is_error(*reply)) {
            if (!winding_up_) backoff_.succeeded();
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
        bool loading = false;
        for (auto at = sent_.rbegin(); at != sent_.rend() && !loading; ++at) loading = !at->call;
        if (!loading) {
            auto& out = connection_.request();
            auto const before = out.size();
            handshake_.append_script_loads(out);
            written_ += out.size() - before;
            sent_.push_back({});
        }
        call->sent_again = true;
        append(std::move(call));
        flush(now);
    }

    // ---------------------------------------------------------------- the end of a connection

    // The server is not fit to serve us: nothing more is sent, but what was sent is still answered (with the same error,
    // most likely, which tells more than that the outcome is unknown).
    void wind_up(error const& why, microseconds now) {
        if (!winding_up_) backoff_.failed(now);
        winding_up_ = true;
        last_failure_ = why;
        if (in_flight_ == 0) close();
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
                if (!at->call) continue;
                at->call->sent_again = false;
                queue_.push_front(std::move(at->call));
            }
        }
        close();
        schedule();
    }

    void close() {
        watch_.reset();  // before the descriptor
        connection_.close();
        resolution_.cancel();
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
    unique_function<void()> established_;

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

namespace rota {

namespace detail {
struct hiredis_async_access;  // tests define it
}

/// An async_transport (policies.hpp) to a Redis at an address as hiredis_sync takes it.
///
/// Promises:
///  * A handler is called exactly once, on the loop's thread, never inside the call that it was given to. Its errors tell
///    whether the operation may have been done: outcome_unknown and cancelled: maybe; all others: no. Messages name the
///    server and hold its words, never a user name or password.
///  * The destructor hands `cancelled` to every handler that was not called yet, before it returns: the one place where
///    handlers run inside a call of yours. (They could not be left to a loop that may never run again.)
///  * What is asked for in one turn of the loop goes out together. At most `most_in_flight` operations wait or are under
///    way; more fail with `unavailable`.
///  * It connects when there is something to send, and anew after a loss; in between an operation waits until its own
///    time is over. It fails at once with an attempt that was refused or failed. Attempts are spaced by 5 ms up to 1 s,
///    at random by up to half less. An operation that has no reply when its time is over costs the connection, so that no
///    late reply is taken for another's; others that were on it end with outcome_unknown.
///  * Host names are resolved anew for each connection, on a short-lived thread of their own unless they are numbers; it
///    touches neither loop nor transport once this is destroyed.
///  * No SIGPIPE; descriptors closed on exec.
///
/// Not promised: TLS, Sentinel, Cluster redirections; any use in the child after fork().
///
/// Threads: all calls on the loop's. The loop must outlive it. Movable until it is first used.
class hiredis_async {
public:
    static constexpr std::size_t default_most_in_flight = 10'000;

    /// Never connects and never refuses: open() reports what is wrong with the text.
    hiredis_async(std::string url, loop_ref loop, std::size_t most_in_flight = default_most_in_flight)
        : url_{std::move(url)},
          loop_{loop},
          self_{std::make_shared<state>(loop, most_in_flight)} {}
    hiredis_async(hiredis_async&&) = default;
    hiredis_async& operator=(hiredis_async&& other) noexcept {
        if (this != &other) {
            if (self_) self_->shut_down();
            url_ = std::move(other.url_);
            loop_ = other.loop_;
            self_ = std::move(other.self_);
        }
        return *this;
    }
    ~hiredis_async() {
        if (auto const self = std::move(self_)) self->shut_down();
    }

    /// Remembers the settings. invalid_argument: the URL or the key prefix.
    result<void> open(transport_settings const& settings) {
        auto& self = *self_;
        self.opened = false;
        auto address = detail::parse_redis_address(url_);
        if (!address) return address.error();
        if (settings.key_prefix.empty() || settings.key_prefix.find_first_of("{}") != std::string::npos) {
            return {errc::invalid_argument, "key_prefix must not be empty or hold a brace"};
        }
        auto const name = detail::as_client_name(settings.client_name);
        auto const tagged = "{" + settings.key_prefix + "}";
        self.pipeline->open(*address, settings.key_prefix, name, settings.operation_timeout);
        self.target.address = *std::move(address);
        self.target.name = name + ":push";
        self.target.inbox = tagged + "inbox:";
        self.target.events = tagged + "events";
        self.target.patience = settings.operation_timeout;
        self.opened = true;
        return {};
    }

    /// Performs one operation within the timeout, and calls `handler(result<reply>)`, which may be a callable that can only
    /// be moved. unavailable (also: too many in flight), timed_out, refused_by_server, protocol, invalid_argument (not
    /// open): not done; outcome_unknown, cancelled: maybe.
    template <typename T = void, typename Handler>  // see detail/late.hpp
    void submit(detail::late<operation, T> request, microseconds timeout, Handler&& handler) {
        using call = detail::redis_call_of<std::decay_t<Handler>, T>;
        auto made = std::make_unique<call>(std::move(request), std::forward<Handler>(handler));
        if (!self_->opened) {
            auto why = rota::error{errc::invalid_argument, "hiredis_async: submit() without a successful open()"};
            return self_->pipeline->refuse(std::move(made), std::move(why));
        }
        self_->pipeline->submit(std::move(made), timeout);
    }

    /// Ends what is under way: its handlers get `cancelled`, later. What was sent may have been done.
    void cancel() { self_->pipeline->give_up_all({errc::cancelled, "cancel() was called"}); }

    /// Calls `on_push()` once when something newer than the subscription is there, and then rests until the next listen(),
    /// each of which takes the place of the one before; subscription{} listens to nothing. Errors only make it later: while
    /// the server is away it tries to connect again now and then, to where operations last reached it.
    template <typename OnPush>
    void listen(subscription const& sub, OnPush&& on_push) {
        if (self_->listener->listen(sub, std::forward<OnPush>(on_push))) return;
        self_->warn({errc::unavailable, "no file descriptor is left to listen for changes"});
    }

    [[nodiscard]] loop_ref loop() const noexcept { return loop_; }

    /// Whether another server, or another run of it, answers than before: it may lack acknowledged writes.
    [[nodiscard]] bool take_server_changed() { return self_->pipeline->handshake().take_server_changed(); }

    /// What an operator should know, once each.
    [[nodiscard]] std::vector<error> take_warnings() {
        auto all = std::exchange(self_->warnings, {});
        auto& more = self_->pipeline->handshake().warnings();
        for (auto& each : more) all.push_back(std::move(each));
        more.clear();
        return all;
    }

private:
    friend struct detail::hiredis_async_access;

    // Never moves, so that what is called back knows where it is.
    struct state {
        state(loop_ref loop, std::size_t most_in_flight)
            : pipeline{std::make_shared<detail::redis_pipeline>(loop, most_in_flight)},
              listener{std::make_shared<detail::redis_listener>(loop)} {
            // Listening goes to the server that operations go to, on a connection as fresh. (The old one may be dead
            // without knowing.)
            pipeline->on_established([this] {
                target.where = pipeline->peer();
                listener->retarget(target);
            });
            listener->complain_to([this](std::string why) { warn({errc::refused_by_server, std::move(why)}); });
        }
        state(state const&) = delete;
        state& operator=(state const&) = delete;

        void shut_down() {
            listener->shut_down();
            pipeline->shut_down();
        }
        void warn(error what) {
            constexpr std::size_t most = 64;
            for (auto const& known : refusals) {
                if (known == what.detail) return;
            }
            if (refusals.size() == most) return;
            refusals.push_back(what.detail);
            warnings.push_back(std::move(what));
        }

        bool opened = false;
        detail::push_target target;
        std::vector<error> warnings;
        std::vector<std::string> refusals;
        std::shared_ptr<detail::redis_pipeline> pipeline;
        std::shared_ptr<detail::redis_listener> listener;
    };

    std::string url_;
    loop_ref loop_;
    std::shared_ptr<state> self_;
};

}  // namespace rota

#else

namespace rota {
inline namespace without_hiredis {

template <typename>
inline constexpr bool hiredis_is_there_for_async = false;

// Stands in where there is no hiredis, and says so to whoever uses it.
class hiredis_async {
public:
    template <typename Url>
    hiredis_async(Url const&, loop_ref loop, std::size_t = 0) : loop_{loop} {
        static_assert(
            hiredis_is_there_for_async<Url>,
            "rota: no hiredis: <hiredis/hiredis.h> was not found (Debian: libhiredis-dev), or ROTA_NO_HIREDIS is "
            "defined");
    }
    result<void> open(transport_settings const&);
    template <typename Handler>
    void submit(operation const&, microseconds, Handler&&);
    template <typename OnPush>
    void listen(subscription const&, OnPush&&);
    loop_ref loop() const;

private:
    loop_ref loop_;
};

}  // namespace without_hiredis
}  // namespace rota

#endif

// ---- rota/transport/hiredis_sync.hpp -------------------------------------------------------------------------------
// The blocking transport to Redis, over hiredis' parser: operations over one connection, and a sleep that the server
// ends the moment there is something new, over a second one.
//
//   rota::basic_coordinator node{{.node_id = "node-1"}, rota::hiredis_sync{"redis://localhost:6379"}};
//
// There where hiredis can be included and ROTA_NO_HIREDIS is not defined. Linux (eventfd, epoll).

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

// ---- rota/detail/redis_session.hpp ---------------------------------------------------------------------------------
// The command connection of the blocking Redis transport: drives redis_handshake.hpp until a connection is ready, and
// performs one operation at a time as one EVALSHA.
// Promises: attempts to connect are spaced with backoff, whoever asks; a script that the server forgot is loaded and the
// operation sent again.
// Does not: repeat an operation otherwise (the caller knows whether it may). One thread at a time.

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

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
        encode(request, handshake_.key_prefix(), handshake_.session(), handshake_.connection_number(), command_);
        for (bool reloaded = false;; reloaded = true) {
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
                auto answer = decode(request, got->get());
                if (!answer && answer.error() == errc::protocol) return lost(answer.error());
                return answer;
            }
            auto refusal = handshake_.verdict_on(command_.script, **got);
            if (refusal.next == after_error::reload && !reloaded) {
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
            if (auto ok = handshake_.take_digest(i, **got); !ok) return ok;
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

namespace rota::detail {

/// Which connection of which session a request came by.
struct connection_stamp {
    std::uint64_t session = 0;
    std::uint64_t number = 0;
};

/// What a failover that lost writes, or an edit by hand, may have done to the records: for tests, see op::mend.
struct store_damage {
    enum class kind : std::uint8_t {
        lose_record,    ///< the record of `id` is gone, whatever indexes say
        garble_record,  ///< it cannot be read
        change_owner,   ///< it names `node`, known or not
        list,           ///< the index of `node` (0: of nobody) lists `id`
        unlist,         ///< ... does not
        set_load,       ///< the counters of `node` say `count`
        set_pending,
    };
    kind what{};
    std::string id{};
    fencing_token node = 0;
    std::uint32_t count = 0;
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
        bool open = false;
    };
    /// The owner of a record that cannot be read: nobody's to grant, and nobody's own.
    static constexpr fencing_token unreadable = ~fencing_token{0};
    struct schedule_record {
        fencing_token generation = 0;
        fencing_token owner = 0;
        double weight = 1;
        std::string traits{};
        moving move{};             // to == 0: none
        std::uint64_t number = 0;  // its place in a scan: that of its registration
    };
    struct node_record {
        std::string id{};
        std::uint64_t nonce = 0;
        std::uint32_t capacity = unlimited;
        std::string traits{};
        time ttl = 0;
        bool live = true;
        bool left = false;  // in order
        time deadline = 0;  // live: taken for dead from then on; dead: its schedules may be adopted from then on
        std::uint32_t load = 0;
        std::uint32_t pending = 0;
        id_set owned;  // as many as load says, unless the records are damaged
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
    // What stays of an unregistered schedule: its owner may believe in it until it has heard of it. So may, of one that
    // had to be mended, all who were listed as its holder.
    static constexpr fencing_token several = 0;
    struct tombstone {
        fencing_token owner = 0;
        time until = 0;
        std::uint64_t nonce = 0;
        time kept = 0;
        time overdue = 0;  // as buried_ has it
    };

    [[nodiscard]] auto const& schedules() const { return schedules_; }
    [[nodiscard]] auto const& nodes() const { return nodes_; }
    [[nodiscard]] auto const& locks(op::lock_kind kind) const { return locks_[index(kind)]; }
    [[nodiscard]] auto const& unowned() const { return unowned_; }
    [[nodiscard]] leader_record const& leader() const { return leader_; }
    [[nodiscard]] fencing_token fence() const { return fence_; }
    [[nodiscard]] auto const& stray_moves() const { return stray_moves_; }
    [[nodiscard]] auto const& drained() const { return drained_; }
    [[nodiscard]] bool maintenance() const { return maintenance_; }

    void inflict(store_damage const& d) {
        using kind = store_damage::kind;
        auto const s = schedules_.find(d.id);
        auto* const n = find(d.node);
        switch (d.what) {
            case kind::lose_record:
                if (s == schedules_.end()) return;
                if (s->second.move.to != 0) stray_moves_[d.id] = s->second.move;
                erase_record(s);
                break;
            case kind::garble_record:
                if (s != schedules_.end()) {
                    s->second = {.owner = unreadable, .move = s->second.move, .number = s->second.number};
                }
                break;
            case kind::change_owner:
                if (s != schedules_.end() && s->second.owner != unreadable) s->second.owner = d.node;
                break;
            case kind::list:
                if (d.node == 0) unowned_.insert(d.id);
                if (n) n->owned.insert(d.id);
                break;
            case kind::unlist:
                if (d.node == 0) unowned_.erase(d.id);
                if (n) n->owned.erase(d.id);
                break;
            case kind::set_load:
                if (n) n->load = d.count;
                break;
            case kind::set_pending:
                if (n) n->pending = d.count;
                break;
        }
    }

private:
    static constexpr std::size_t index(op::lock_kind kind) { return kind == op::lock_kind::schedule ? 0 : 1; }

    static bool writes(operation const& request) {
        return std::visit(
            []<typename Op>(Op const&) {
                return !(std::is_same_v<Op, op::lookup> || std::is_same_v<Op, op::changes_since> ||
                         std::is_same_v<Op, op::events_since> || std::is_same_v<Op, op::schedules_page> ||
                         std::is_same_v<Op, op::nodes_page> || std::is_same_v<Op, op::scan_page>);
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

    bool has_moved_on(std::uint64_t as_of) const {
        return as_of != 0 && as_of != seq_ && !Defects::has(defect::as_of_ignored);
    }
    static result<reply> moved_on() { return {errc::conflict, "the group has changed"}; }

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
    static std::uint64_t expected_load(node_record const& n) { return std::uint64_t{n.load} + n.pending; }
    bool leads(fencing_token incarnation, fencing_token term) const {
        if (Defects::has(defect::adopt_any_term)) return true;
        return leader_.incarnation == incarnation && leader_.term == term && term != 0;
    }
    bool is_guarded(std::string const& id) {
        auto g = gone_.find(id);
        if (Defects::has(defect::tombstone_ignored)) return false;
        if (g == gone_.end() || g->second.until <= now_) return false;
        return g->second.owner == several || may_believe(g->second.owner);
    }

    void emit(op::group_event e) { step_.events.push_back(std::move(e)); }
    void tell(fencing_token incarnation, op::change c) { step_.changes[incarnation].push_back(std::move(c)); }

    // All that one operation emits becomes one entry of the event log, and one of each log of a node concerned.
    void close_step() {
        close_graves();
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

    void bury(std::string const& id, tombstone stone) {
        auto& held = gone_[id];
        stone.overdue = held.overdue;
        held = stone;
        step_.buried.push_back(id);
    }
    // A step that buries throws away twice as many that have had their time, so that no more are kept than are needed.
    void close_graves() {
        for (auto left = 2 * step_.buried.size(); left > 0 && !buried_.empty(); --left) {
            auto const first = buried_.begin();
            if (first->first > now_) break;
            auto const anew = find_where(step_.buried, [&](auto const& id) { return id == first->second; });
            if (anew == step_.buried.end()) gone_.erase(first->second);
            buried_.erase(first);
        }
        for (auto const& id : step_.buried) {
            auto& stone = gone_[id];
            buried_.erase({stone.overdue, id});
            stone.overdue = std::max(stone.until, stone.kept);
            buried_.emplace(stone.overdue, id);
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
        n.left = why == op::group_event_kind::left;
        n.deadline = adoptable_from;
        if (Defects::has(defect::death_takes_all)) {
            for (auto const& id : std::exchange(n.owned, {})) {
                auto const s = schedules_.find(id);
                if (s == schedules_.end()) continue;
                drop_move(s->second);
                erase_record(s);
            }
            n.load = 0;
        }
        auto id = ids_.find(n.id);
        if (id != ids_.end() && id->second == incarnation) ids_.erase(id);
        emit({.kind = why, .id = n.id, .from = incarnation});
    }

    void forget_if_done(fencing_token incarnation) {
        auto* n = find(incarnation);
        if (!n || n->live || n->deadline > now_ || n->load != 0) return;
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
        n.traits = r.traits;
        n.ttl = r.node_ttl.count();
        n.deadline = now_ + r.node_ttl.count();
        ids_[r.node_id] = incarnation;
        if (Defects::has(defect::join_inherits)) {
            if (before) {
                n.owned = std::move(before->owned);
                n.load = std::exchange(before->load, 0);
                before->owned.clear();
                for (auto const& id : n.owned) schedules_[id].owner = incarnation;
            }
        }
        emit({.kind = op::group_event_kind::joined,
              .id = r.node_id,
              .to = incarnation,
              .capacity = r.capacity,
              .traits = r.traits});
        return reply{op::joined{incarnation, epoch_, next_seq(), before ? older : 0}};
    }

    result<reply> on(op::describe_node const& r) {
        auto* n = live(r.incarnation);
        if (!n) return {errc::not_joined};
        if (n->capacity == r.capacity && n->traits == r.traits) return reply{op::done{}};
        n->capacity = r.capacity;
        n->traits = r.traits;
        emit({.kind = op::group_event_kind::described,
              .id = n->id,
              .to = r.incarnation,
              .capacity = r.capacity,
              .traits = r.traits});
        return reply{op::done{}};
    }

    result<reply> on(op::give_order const& r) {
        bool const begins = r.kind == op::order_kind::drain || r.kind == op::order_kind::begin_maintenance;
        bool const of_node = r.kind == op::order_kind::drain || r.kind == op::order_kind::undrain;
        bool const stands = of_node ? drained_.contains(r.node_id) : maintenance_;
        if (stands == begins) return reply{op::done{}};
        if (r.kind == op::order_kind::drain && !ids_.contains(r.node_id)) return {errc::unknown_node};
        ensure_epoch(0);
        if (!of_node) {
            maintenance_ = begins;
        } else if (begins) {
            drained_.insert(r.node_id);
        } else {
            drained_.erase(r.node_id);
        }
        emit({.kind = op::group_event_kind::ordered,
              .id = of_node ? r.node_id : std::string{},
              .generation = static_cast<fencing_token>(r.kind)});
        return reply{op::done{}};
    }

    // The number that this step's events will get.
    std::uint64_t next_seq() const { return seq_ + (step_.events.empty() ? 0 : 1); }

    result<reply> on(op::tick const& r) {
        if (is_absurd(r.seen)) return absurd();
        op::ticked answer;
        auto with_status = [&](op::tick_status status) {
            answer.status = status;
            answer.now = static_cast<fencing_token>(now_);
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
                auto const* move = move_of(item.name);
                bool const over = move && (move->deadline <= now_ || Defects::has(defect::handoff_cuts_short));
                if (over && !Defects::has(defect::handoff_endless)) {
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

    // A hand-off of what is not registered is damage, which whoever registers it anew meets.
    moving const* move_of(std::string const& id) const {
        auto const s = schedules_.find(id);
        if (s != schedules_.end()) return s->second.move.to != 0 ? &s->second.move : nullptr;
        auto const stray = stray_moves_.find(id);
        return stray == stray_moves_.end() ? nullptr : &stray->second;
    }
    schedule_record& make_record(std::string const& id, double weight, std::string const& traits) {
        auto& s = schedules_[id];
        s = {.weight = weight, .traits = traits, .number = ++numbers_};
        by_number_.emplace(s.number, id);
        if (auto const stray = stray_moves_.find(id); stray != stray_moves_.end()) {
            s.move = stray->second;
            stray_moves_.erase(stray);
        }
        return s;
    }
    template <typename At>
    void erase_record(At at) {
        by_number_.erase(at->second.number);
        schedules_.erase(at);
    }

    result<reply> on(op::register_schedules const& r) {
        ensure_epoch(0);
        op::outcomes answer;
        for (auto const& item : r.items) {
            answer.items.emplace_back();
            if (schedules_.contains(item.id)) continue;
            make_record(item.id, item.weight, item.traits);
            unowned_.insert(item.id);
            emit({.kind = op::group_event_kind::registered,
                  .id = item.id,
                  .weight = item.weight,
                  .traits = item.traits});
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::update_schedules const& r) {
        op::outcomes answer;
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            auto s = schedules_.find(item.id);
            if (s == schedules_.end()) {
                out.code = errc::unknown_schedule;
                continue;
            }
            auto& record = s->second;
            if (record.owner != item.owner) {
                out.code = errc::conflict;
                continue;
            }
            if (record.weight == item.weight && record.traits == item.traits) continue;
            record.weight = item.weight;
            record.traits = item.traits;
            if (live(record.owner)) {
                tell(record.owner, {.kind = op::change_kind::updated,
                                    .id = item.id,
                                    .generation = record.generation,
                                    .weight = item.weight,
                                    .traits = item.traits});
            }
            emit({.kind = op::group_event_kind::updated,
                  .id = item.id,
                  .from = record.owner,
                  .generation = record.generation,
                  .weight = item.weight,
                  .traits = item.traits});
        }
        return reply{std::move(answer)};
    }

    static schedule_status status_of(std::string const& id, schedule_record const& s) {
        if (s.owner == unreadable) return {.id = id};
        return {id, s.generation, s.owner, s.weight, s.move.to, s.traits};
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
        if (auto* target = find(s.move.to); target && !Defects::has(defect::pending_kept)) count_down(target->pending);
        s.move = {};
    }
    static void count_down(std::uint32_t& counter) {
        if (counter > 0) --counter;
    }
    void detach(std::string const& id, schedule_record const& s) {
        if (s.owner == 0) {
            unowned_.erase(id);
        } else if (auto* n = find(s.owner)) {
            n->owned.erase(id);
            count_down(n->load);
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
            ++n->load;
            tell_granted(to, id, s, from, reason);
        } else {
            unowned_.insert(id);
        }
        emit_owned(id, s, from, reason);
    }
    void tell_granted(fencing_token to, std::string const& id, schedule_record const& s, fencing_token from,
                      change_reason reason) {
        tell(to, {.kind = op::change_kind::granted,
                  .id = id,
                  .generation = s.generation,
                  .weight = s.weight,
                  .other = from,
                  .reason = reason,
                  .traits = s.traits});
    }
    void emit_owned(std::string const& id, schedule_record const& s, fencing_token from, change_reason reason) {
        emit({.kind = op::group_event_kind::owned,
              .id = id,
              .from = from,
              .to = s.owner,
              .generation = s.generation,
              .weight = s.weight,
              .reason = reason,
              .traits = s.traits});
    }
    void emit_moving(std::string const& id, schedule_record const& s, fencing_token to, change_reason reason) {
        emit({.kind = op::group_event_kind::moving,
              .id = id,
              .from = s.owner,
              .to = to,
              .generation = s.generation,
              .weight = s.weight,
              .reason = reason,
              .traits = s.traits});
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
            bury(item.id, stone);
            detach(item.id, s->second);
            drop_move(s->second);
            erase_record(s);
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
        if (has_moved_on(r.as_of)) return moved_on();
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
                       expected_load(*to) >= std::uint64_t{to->capacity} + (record.move.to == item.to ? 1 : 0) &&
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
        if (has_moved_on(r.as_of)) return moved_on();
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
                record.move = {item.to, now_ + r.handoff_deadline.count(), item.reason, item.open};
                ++to->pending;
                tell(item.from, {op::change_kind::revoking, item.id, record.generation, record.weight, item.to,
                                 item.reason, r.handoff_deadline, item.open, record.traits});
                emit_moving(item.id, record, item.to, item.reason);
            }
        }
        return reply{std::move(answer)};
    }

    // Whether `other`, of the same owner, may go in the place of `asked`.
    static bool is_like(schedule_record const& other, schedule_record const& asked) {
        bool const like = other.weight == asked.weight && other.traits == asked.traits;
        return asked.move.open && other.owner == asked.owner && (like || Defects::has(defect::swap_of_unlike));
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
            bool const substitute = !item.instead_of.empty();
            auto const asked = substitute ? schedules_.find(item.instead_of) : s;
            bool const own = record.generation == item.generation && record.owner == r.incarnation;
            bool const wanted = asked != schedules_.end() && asked->second.move.to == item.to && item.to != 0;
            if (!own || !wanted || (substitute && (record.move.to != 0 || !is_like(record, asked->second)))) {
                out.code = errc::conflict;
                continue;
            }
            if (Defects::has(defect::ack_during_run)) locks.erase(item.id);
            bool const checked = !substitute || !Defects::has(defect::open_swap_unchecked);
            if (auto l = locks.find(item.id); l != locks.end() && is_held(l->second) && checked) {
                out.code = errc::locked_by_other;
                out.remaining = microseconds{l->second.deadline - now_};
                continue;
            }
            auto* to = find(item.to);
            if (!is_target(item.to)) {
                out.code = errc::unknown_node;
            } else if (expected_load(*to) >= std::uint64_t{to->capacity} + 1) {
                out.code = errc::capacity_exceeded;
            }
            if (!out.ok() && substitute) continue;
            out.token = Defects::has(defect::generation_kept) ? record.generation : mint(r.seen);
            if (substitute) {
                auto const reason = asked->second.move.reason;
                if (!Defects::has(defect::swap_keeps_both)) {
                    drop_move(asked->second);
                    emit_moving(asked->first, asked->second, 0, reason);
                }
                hand_to(item.id, record, item.to, out.token, reason);
                continue;
            }
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
        auto const full = [&] { return answer.items.size() + answer.strays.size() >= r.limit; };
        for (auto i = ids.upper_bound(r.after); i != ids.end() && !full(); ++i) {
            auto const s = schedules_.find(*i);
            if (s != schedules_.end() && s->second.owner == r.holder) {
                answer.items.push_back(status_of(*i, s->second));
            } else {
                answer.strays.push_back(*i);
            }
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::nodes_page const& r) {
        op::nodes_reply answer;
        answer.epoch = epoch_;
        answer.seq = seq_;
        answer.now = static_cast<fencing_token>(now_);
        answer.maintenance = maintenance_;
        if (r.after == 0) answer.drained.assign(drained_.begin(), drained_.end());
        for (auto i = nodes_.upper_bound(r.after); i != nodes_.end() && answer.items.size() < r.limit; ++i) {
            auto const& n = i->second;
            auto& status = answer.items.emplace_back();
            status.node = {n.id, i->first};
            status.alive = n.live;
            (n.live ? status.remaining : status.gone_for) =
                microseconds{std::max<time>(n.live ? n.deadline - now_ : now_ - n.deadline, 0)};
            status.load = n.load;
            status.pending = n.pending;
            status.capacity = n.capacity;
            status.traits = n.traits;
            status.left = n.left;
        }
        return reply{std::move(answer)};
    }

    // In order of registration: what exists all the time keeps its place.
    result<reply> on(op::scan_page const& r) {
        op::scan_reply answer;
        auto i = by_number_.upper_bound(r.cursor);
        for (std::uint32_t left = std::max(r.limit, 1u); i != by_number_.end() && left > 0; ++i, --left) {
            auto const& s = schedules_.find(i->second)->second;
            if (s.owner == unreadable) {
                answer.broken.push_back(i->second);
            } else {
                answer.items.push_back(status_of(i->second, s));
            }
            answer.next = i->first;
        }
        if (i == by_number_.end()) answer.next = 0;
        return reply{std::move(answer)};
    }

    // ---------------------------------------------------------------- mending

    result<reply> on(op::mend const& r) {
        if (is_behind(r.seen)) return behind();
        if (!leads(r.incarnation, r.term)) return {errc::not_leader};
        op::outcomes answer;
        std::set<fencing_token> named{r.recount.begin(), r.recount.end()};
        for (auto const& item : r.items) {
            named.insert(item.holders.begin(), item.holders.end());
            answer.items.push_back(mend(item, r.seen));
        }
        count_anew(named);
        return reply{std::move(answer)};
    }

    op::outcome mend(op::mend::item const& item, fencing_token seen) {
        auto const& id = item.id;
        auto s = schedules_.find(id);
        bool const readable = s != schedules_.end() && s->second.owner != unreadable;
        auto const owner = readable ? s->second.owner : 0;
        bool const owned = find(owner) != nullptr;
        auto const named = find_where(item.holders, [&](auto holder) { return holder == owner; });
        if (owned && named == item.holders.end()) return {errc::conflict};
        bool mended = false;
        tombstone believers;
        for (auto holder : item.holders) {
            auto* const n = find(holder);
            if (!n || (owned && holder == owner) || n->owned.erase(id) == 0) continue;
            mended = true;
            if (n->live) tell(holder, {.kind = op::change_kind::removed, .id = id});
            if (n->deadline > now_) add(believers, holder, n->deadline);
        }
        if (s == schedules_.end()) {
            if ((!mended && !unowned_.contains(id)) || Defects::has(defect::repair_forgets)) {
                if (auto const stray = stray_moves_.find(id); stray != stray_moves_.end()) {
                    if (auto* target = find(stray->second.to)) count_down(target->pending);
                    stray_moves_.erase(stray);
                }
                return {};
            }
            make_record(id, 1, {});
            s = schedules_.find(id);
        }
        auto& record = s->second;
        if (record.move.to != 0 && (!owned || record.move.to == owner)) {
            mended = true;
            drop_move(record);
        }
        // Where anything is wrong with it, its owner and all who follow may know it as another's: it begins anew.
        if (!owned && (mended || owner != 0 || !readable || !unowned_.contains(id))) {
            mended = true;
            if (!readable) record = {.number = record.number};
            record.owner = 0;
            record.generation = mint(seen);
            emit_owned(id, record, owner, change_reason::repaired);
        }
        if (owned) {
            bool const was_nobodys = unowned_.erase(id) > 0;
            if (find(owner)->owned.insert(id).second || was_nobodys || mended) {
                mended = true;
                drop_move(record);
                record.generation = mint(seen);
                tell_granted(owner, id, record, 0, change_reason::repaired);
                emit_owned(id, record, 0, change_reason::repaired);
            }
        } else {
            if (unowned_.insert(id).second) mended = true;
            if (believers.until > now_) guard(id, believers);
        }
        return {.token = mended ? record.generation : 0};
    }

    static void add(tombstone& believers, fencing_token believer, time until) {
        bool const first = believers.until == 0;
        believers.owner = first || believers.owner == believer ? believer : several;
        believers.until = std::max(believers.until, until);
    }
    // An earlier guard of the id holds as well; and a repeat of its unregistering is still known.
    void guard(std::string const& id, tombstone const& believers) {
        auto stone = believers;
        if (auto const g = gone_.find(id); g != gone_.end()) {
            if (is_guarded(id)) add(stone, g->second.owner, g->second.until);
            stone.nonce = g->second.nonce;
            stone.kept = g->second.kept;
        }
        bury(id, stone);
    }

    void count_anew(std::set<fencing_token> const& named) {
        std::map<fencing_token, std::uint32_t> pending;
        std::size_t moves = stray_moves_.size();
        for (auto const& [id, move] : stray_moves_) ++pending[move.to];
        for (auto const& [id, s] : schedules_) {
            if (s.move.to == 0) continue;
            ++moves;
            ++pending[s.move.to];
        }
        for (auto incarnation : named) {
            auto* const n = find(incarnation);
            if (!n) continue;
            n->load = static_cast<std::uint32_t>(n->owned.size());
            if (moves <= op::max_counted_moves) n->pending = pending[incarnation];
        }
    }

    struct step {
        std::vector<group_event> events{};
        std::map<fencing_token, std::vector<change>> changes;
        std::vector<late<std::string, Defects>> buried{};
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
    std::map<std::uint64_t, late<std::string, Defects>> by_number_;
    std::uint64_t numbers_ = 0;
    id_set unowned_;
    by_id<moving> stray_moves_;  // of what is not registered
    id_set drained_;
    bool maintenance_ = false;
    by_id<lock_record> locks_[2];
    by_id<tombstone> gone_;
    std::set<std::pair<time, late<std::string, Defects>>> buried_;
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

    /// Damages the records of a group, as a failover that lost writes or an edit by hand would: for tests of healing.
    void damage(std::string const& key_prefix, detail::store_damage const& what) const {
        std::lock_guard const lock{shared_->mutex};
        shared_->groups[key_prefix].inflict(what);
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
