// A fault plan: what goes wrong in a run, and when, as a list drawn up before the run begins. So it can be printed, read
// back, edited and shrunk, and one entry taken away leaves the others where they were.
//
//   at 12.5s cut_replies node 2 for 3.25s
//   at 14s fail_over amount 200000 for 10s
//
// Kinds that break what rota assumes of its server (see within_promises) suspend the invariants that rest on it, until
// every belief of that time has run out; tokens must protect even then.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "../attributes.hpp"
#include "../error.hpp"
#include "choices.hpp"
#include "event_queue.hpp"

namespace rota::sim {

enum class fault_kind : std::uint8_t {
    crash,           ///< the process dies; a new one, that remembers nothing, starts after `lasting`
    replace,         ///< a new process starts under the node's id while the old one goes on
    pause,           ///< SIGSTOP for `lasting`: its clock goes on
    leave,           ///< leaves in order; a new process starts after `lasting`
    renounce,        ///< gives up leadership, if it leads
    clock_rate,      ///< its clock runs fast by `amount` parts per billion, from now on
    wall_jump,       ///< its wall time jumps by `amount` µs; nothing may come of it
    delay,           ///< each message takes up to `amount` µs longer, for `lasting`
    stall,           ///< nothing arrives for `lasting`, then all of it
    cut_requests,    ///< nothing reaches the server for `lasting`
    cut_replies,     ///< nothing comes from the server for `lasting`
    cut,             ///< neither
    refuse,          ///< connections are refused for `lasting`
    reset,           ///< the connection breaks
    lose_reply,      ///< the next request has its effect, then the connection breaks
    late_request,    ///< the next request lands `amount` µs late, on a connection that broke meanwhile
    claim,           ///< claims a schedule that nobody owns, or somebody (`amount`: which)
    transfer,        ///< asks to hand schedule `amount` to the next node
    register_one,    ///< registers a schedule (`amount`: which)
    unregister_one,  ///< unregisters one
    update_one,      ///< gives one another weight and rules for `lasting` (`amount`: which, and see becomes())
    attributes,      ///< says other things of itself for `lasting` (`amount`: see attributes_at())
    report_load,     ///< reports a load of `amount`
    drain,           ///< orders the node that is `amount` places further to be drained, for `lasting`
    maintenance,     ///< begins maintenance, for `lasting`
    slow_server,     ///< each request takes the server `amount` µs, for `lasting`
    stall_server,    ///< it stands still for `lasting`
    restart_server,  ///< it is down for `lasting`, and keeps its data
    server_error,    ///< it answers with error number `amount` of server_errors(), for `lasting`
    lose_data,       ///< it is down for `lasting`, and forgets everything
    server_clock,    ///< its clock steps by `amount` µs
    fail_over,  ///< to a replica that lacks the last `amount` µs of writes; the old one serves who it had, `lasting`
    damage,     ///< an edit by hand to the records of the group (`amount`: which schedule, and see damage_at())
};
inline constexpr std::size_t fault_kinds = static_cast<std::size_t>(fault_kind::damage) + 1;

[[nodiscard]] constexpr std::string_view name_of(fault_kind kind) {
    constexpr std::string_view names[fault_kinds] = {
        "crash",        "replace",        "pause",        "leave",          "renounce",     "clock_rate",
        "wall_jump",    "delay",          "stall",        "cut_requests",   "cut_replies",  "cut",
        "refuse",       "reset",          "lose_reply",   "late_request",   "claim",        "transfer",
        "register_one", "unregister_one", "update_one",   "attributes",     "report_load",  "drain",
        "maintenance",  "slow_server",    "stall_server", "restart_server", "server_error", "lose_data",
        "server_clock", "fail_over",      "damage"};
    auto const number = static_cast<std::size_t>(kind);
    return number < fault_kinds ? names[number] : std::string_view{"no_such_kind"};
}

[[nodiscard]] constexpr bool concerns_node(fault_kind kind) {
    return kind < fault_kind::slow_server || kind == fault_kind::damage;
}
/// What is wrong with a link, rather than with the node behind it.
[[nodiscard]] constexpr bool concerns_link(fault_kind kind) {
    return kind >= fault_kind::delay && kind <= fault_kind::refuse;
}
/// Whether `amount` is the number of a schedule: in a plan, counted round those that there are and one more.
[[nodiscard]] constexpr bool names_schedule(fault_kind kind) {
    return (kind >= fault_kind::claim && kind <= fault_kind::update_one) || kind == fault_kind::damage;
}
/// Of kinds that do one of several things to a schedule, `amount` is which one: so many times this, plus the schedule.
inline constexpr std::int64_t per_way = 10'000;
[[nodiscard]] constexpr bool has_ways(fault_kind kind) {
    return kind == fault_kind::update_one || kind == fault_kind::damage;
}
/// Whether `lasting` means something to it.
[[nodiscard]] constexpr bool lasts(fault_kind kind) {
    switch (kind) {
        case fault_kind::replace:
        case fault_kind::renounce:
        case fault_kind::clock_rate:
        case fault_kind::wall_jump:
        case fault_kind::reset:
        case fault_kind::lose_reply:
        case fault_kind::late_request:
        case fault_kind::claim:
        case fault_kind::transfer:
        case fault_kind::register_one:
        case fault_kind::unregister_one:
        case fault_kind::report_load:
        case fault_kind::server_clock:
        case fault_kind::damage: return false;
        default: return true;
    }
}
/// Whether all that rota promises must hold in spite of it.
[[nodiscard]] constexpr bool within_promises(fault_kind kind) { return kind < fault_kind::lose_data; }

/// How long a fault lasts that only healing ends: some 30 years.
inline constexpr microseconds forever = std::chrono::seconds{1'000'000'000};

struct fault {
    moment at{};
    fault_kind kind{};
    std::uint32_t node = 0;
    microseconds lasting{};
    std::int64_t amount = 0;

    friend bool operator==(fault const&, fault const&) = default;
};

using fault_plan = std::vector<fault>;

/// The number of the schedule that a fault is about, not counted round yet; and in which way.
[[nodiscard]] constexpr std::int64_t schedule_of(fault const& f) {
    return has_ways(f.kind) ? f.amount % per_way : f.amount;
}
[[nodiscard]] constexpr std::int64_t way_of(fault const& f) { return f.amount / per_way; }

/// What update_one makes of a schedule: two other weights, then rules: a pin to `neighbour`, or to no node at all, a label
/// that it must or must not find, a group.
inline constexpr std::int64_t ways_to_update = 8;
[[nodiscard]] inline schedule becomes(fault const& f, std::string id, std::string const& neighbour) {
    schedule s{.id = std::move(id)};
    switch (way_of(f) % ways_to_update) {
        case 0: s.weight = 3; break;
        case 1: s.weight = 0.5; break;
        case 2: s.rules.pin = neighbour; break;
        case 3: s.rules.pin = "nowhere"; break;
        case 4: s.rules.required = {"a"}; break;
        case 5: s.rules.forbidden = {"a"}; break;
        case 6: s.rules.group = "apart"; break;
        default: s = {.id = std::move(s.id), .weight = 2, .rules = {.required = {"b"}, .forbidden = {"a"}}};
    }
    return s;
}

/// What a node says of itself during an attributes fault: a capacity of 1 to 15, or the one of its `usual` ones; none of
/// two labels, one of them or both; its usual zone or another.
inline constexpr std::int64_t ways_to_describe = 16 * 4 * 2;
[[nodiscard]] inline node_attributes attributes_at(std::int64_t amount, node_attributes usual) {
    auto a = std::move(usual);
    if (amount % 16 != 0) a.capacity = static_cast<std::uint32_t>(amount % 16);
    a.labels.clear();
    if ((amount / 16 & 1) != 0) a.labels.emplace_back("a");
    if ((amount / 32 & 1) != 0) a.labels.emplace_back("b");
    if ((amount / 64 & 1) != 0) a.zone = "elsewhere";
    return a;
}

/// How many kinds of damage there are, see damage_at() (redis.hpp).
inline constexpr std::int64_t ways_to_damage = 6;
inline constexpr std::int64_t way_to_lose = 0;
inline constexpr std::int64_t way_to_unlist = 4;

/// What a server may answer instead of a reply (DESIGN.md §5), and what the transport makes of it.
struct server_error {
    char const* words;
    errc code;
    bool reconnects;
};
[[nodiscard]] inline std::vector<server_error> const& server_errors() {
    static std::vector<server_error> const all{
        {"LOADING Redis is loading the dataset in memory", errc::unavailable, false},
        {"READONLY You can't write against a read only replica.", errc::unavailable, true},
        {"NOREPLICAS Not enough good replicas to write.", errc::unavailable, true},
        {"OOM command not allowed when used memory > 'maxmemory'.", errc::refused_by_server, false},
        {"NOPERM this user has no permissions to run the 'evalsha' command", errc::refused_by_server, false},
    };
    return all;
}

// ---------------------------------------------------------------- as text

[[nodiscard]] inline std::string seconds_in_words(microseconds d) {
    auto const us = d.count();
    auto text =
        fmt::format("{}{}.{:06}", us < 0 ? "-" : "", (us < 0 ? -us : us) / 1'000'000, (us < 0 ? -us : us) % 1'000'000);
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
    return text + "s";
}
[[nodiscard]] inline std::string in_words(moment t) { return seconds_in_words(t.time_since_epoch()); }

[[nodiscard]] inline std::string to_text(fault const& f) {
    auto text = fmt::format("at {} {}", in_words(f.at), name_of(f.kind));
    if (concerns_node(f.kind)) text += fmt::format(" node {}", f.node);
    if (f.lasting >= forever) {
        text += " until healed";
    } else if (f.lasting != microseconds{}) {
        text += " for " + seconds_in_words(f.lasting);
    }
    if (f.amount != 0) text += fmt::format(" amount {}", f.amount);
    return text;
}
[[nodiscard]] inline std::string to_text(fault_plan const& plan) {
    std::string text;
    for (auto const& f : plan) text += to_text(f) + "\n";
    return text;
}

namespace plan_text {

class words {
public:
    explicit words(std::string_view line) : rest_{line} {}
    std::string_view next() {
        while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t' || rest_.front() == '\r')) {
            rest_.remove_prefix(1);
        }
        auto const word = rest_.substr(0, rest_.find_first_of(" \t\r"));
        rest_.remove_prefix(word.size());
        return word;
    }

private:
    std::string_view rest_;
};

[[nodiscard]] inline std::optional<std::int64_t> integer(std::string_view text) {
    bool const negative = !text.empty() && text.front() == '-';
    if (negative) text.remove_prefix(1);
    if (text.empty() || text.size() > 18) return std::nullopt;
    std::int64_t n = 0;
    for (char c : text) {
        if (c < '0' || c > '9') return std::nullopt;
        n = n * 10 + (c - '0');
    }
    return negative ? -n : n;
}

[[nodiscard]] inline std::optional<microseconds> seconds(std::string_view text) {
    if (text.empty() || text.back() != 's') return std::nullopt;
    text.remove_suffix(1);
    bool const negative = !text.empty() && text.front() == '-';
    if (negative) text.remove_prefix(1);
    auto const point = text.find('.');
    auto const whole = integer(text.substr(0, point));
    std::int64_t part = 0;
    if (point != std::string_view::npos) {
        auto const digits = text.substr(point + 1);
        auto const given = integer(digits);
        if (!given || *given < 0 || digits.size() > 6) return std::nullopt;
        part = *given;
        for (auto i = digits.size(); i < 6; ++i) part *= 10;
    }
    if (!whole || *whole < 0 || *whole > 1'000'000'000) return std::nullopt;
    auto const us = *whole * 1'000'000 + part;
    return microseconds{negative ? -us : us};
}

}  // namespace plan_text

/// One line; nullopt if it is no fault.
[[nodiscard]] inline std::optional<fault> fault_from(std::string_view line) {
    plan_text::words words{line};
    if (words.next() != "at") return std::nullopt;
    auto const at = plan_text::seconds(words.next());
    auto const name = words.next();
    std::optional<fault> f;
    for (std::size_t k = 0; at && k < fault_kinds; ++k) {
        auto const kind = static_cast<fault_kind>(k);
        if (name_of(kind) == name) f = fault{.at = moment{*at}, .kind = kind};
    }
    if (!f) return std::nullopt;
    for (auto key = words.next(); !key.empty(); key = words.next()) {
        auto const value = words.next();
        auto const number = plan_text::integer(value);
        auto const time = plan_text::seconds(value);
        if (key == "node" && number && *number >= 0 && *number < 1'000'000) {
            f->node = static_cast<std::uint32_t>(*number);
        } else if (key == "for" && time) {
            f->lasting = *time;
        } else if (key == "until" && value == "healed") {
            f->lasting = forever;
        } else if (key == "amount" && number) {
            f->amount = *number;
        } else {
            return std::nullopt;
        }
    }
    return f;
}

/// Why no world can make sense of it; empty: one can. (What is drawn makes sense; what is read may be anything.)
[[nodiscard]] inline std::string what_is_senseless(fault const& f) {
    constexpr std::int64_t day = std::int64_t{24} * 3600 * 1'000'000;
    if (static_cast<std::size_t>(f.kind) >= fault_kinds) return "there is no such kind";
    if (f.at < moment{} || f.lasting < microseconds{}) return "time does not go back";
    if (f.lasting > forever) return "it lasts for more than sim::forever";
    auto within = [&](std::int64_t least, std::int64_t most, char const* unit) {
        return f.amount >= least && f.amount <= most
                   ? std::string{}
                   : fmt::format("the amount of {} must be {} .. {}{}", name_of(f.kind), least, most, unit);
    };
    switch (f.kind) {
        case fault_kind::clock_rate: return within(-500'000'000, 1'000'000'000, " parts per billion");
        case fault_kind::wall_jump: return within(-1000 * day, 1000 * day, " us");
        case fault_kind::server_clock: return within(-day, day, " us");
        case fault_kind::server_error:
            return within(0, static_cast<std::int64_t>(server_errors().size()) - 1, ", a number of server_errors()");
        case fault_kind::claim:
        case fault_kind::transfer:
        case fault_kind::register_one:
        case fault_kind::unregister_one: return within(0, day, ", the number of a schedule");
        case fault_kind::update_one: return within(0, ways_to_update * per_way - 1, ", see sim::becomes");
        case fault_kind::damage: return within(0, ways_to_damage * per_way - 1, ", see sim::damage_at");
        case fault_kind::attributes: return within(0, ways_to_describe - 1, ", see sim::attributes_at");
        default: return within(0, day, " us");
    }
}
[[nodiscard]] inline bool makes_sense(fault const& f) { return what_is_senseless(f).empty(); }

// ---------------------------------------------------------------- drawing one up

/// Some kinds of fault: bit n is fault_kind n.
using fault_set = std::uint64_t;
static_assert(fault_kinds <= 64);

/// Which kinds may come, between when and when, and how many.
struct fault_weather {
    fault_set kinds = 0;
    moment from{};
    moment to{};
    std::uint32_t count = 0;
    std::uint32_t nodes = 1;
    std::uint32_t schedules = 1;
    microseconds lease = std::chrono::seconds{3};  ///< faults last about as long as what they endanger
    std::int64_t clock_drift_ppb = 0;
};

[[nodiscard]] constexpr fault_set bit(fault_kind kind) { return fault_set{1} << static_cast<unsigned>(kind); }
inline constexpr fault_set every_kind = (fault_set{1} << fault_kinds) - 1;
/// All kinds that the promises stand up to.
inline constexpr fault_set promised_kinds = bit(fault_kind::lose_data) - 1;

[[nodiscard]] inline fault_plan draw_faults(fault_weather const& w, choices& c) {
    std::vector<fault_kind> kinds;
    for (std::size_t k = 0; k < fault_kinds; ++k) {
        if (w.kinds >> k & 1) kinds.push_back(static_cast<fault_kind>(k));
    }
    fault_plan plan;
    if (kinds.empty()) return plan;
    auto const longest = 3 * w.lease;
    for (std::uint32_t i = 0; i < w.count; ++i) {
        fault f;
        f.at = moment{c.between(w.from.time_since_epoch(), w.to.time_since_epoch())};
        f.kind = kinds[c.choose(kinds.size())];
        if (concerns_node(f.kind)) f.node = static_cast<std::uint32_t>(c.choose(w.nodes));
        auto const about = c.choose(4);
        auto lasts = [&](microseconds least, microseconds most) {
            f.lasting = about == 0 ? least : c.between(least, about == 1 ? (least + most) / 8 : most);
        };
        auto amount = [&](std::int64_t least, std::int64_t most) {
            f.amount = c.between(microseconds{least}, microseconds{most}).count();
        };
        auto const lease = w.lease.count();
        switch (f.kind) {
            case fault_kind::crash:
            case fault_kind::leave:
            case fault_kind::pause:
            case fault_kind::stall:
            case fault_kind::cut_requests:
            case fault_kind::cut_replies:
            case fault_kind::cut:
            case fault_kind::refuse: lasts(microseconds{1000}, longest); break;
            case fault_kind::clock_rate: amount(-w.clock_drift_ppb, w.clock_drift_ppb); break;
            case fault_kind::wall_jump: amount(-1'000'000'000, 1'000'000'000); break;
            case fault_kind::delay:
            case fault_kind::slow_server:
                lasts(microseconds{1000}, longest);
                amount(1, f.kind == fault_kind::delay ? lease / 2 : lease / 100);
                break;
            case fault_kind::late_request: amount(1, lease * 2); break;
            case fault_kind::claim:
            case fault_kind::transfer:
            case fault_kind::register_one:
            case fault_kind::unregister_one: amount(0, static_cast<std::int64_t>(w.schedules)); break;
            case fault_kind::update_one:
            case fault_kind::damage: {
                bool const updates = f.kind == fault_kind::update_one;
                if (updates) lasts(microseconds{1000}, 4 * longest);
                amount(0, static_cast<std::int64_t>(w.schedules));
                f.amount += per_way * static_cast<std::int64_t>(c.choose(updates ? ways_to_update : ways_to_damage));
                break;
            }
            case fault_kind::attributes:
                lasts(microseconds{1000}, 4 * longest);
                amount(0, ways_to_describe - 1);
                break;
            case fault_kind::report_load: amount(0, 1000); break;
            case fault_kind::drain:
                lasts(microseconds{1000}, 4 * longest);
                amount(0, static_cast<std::int64_t>(w.nodes) - 1);
                break;
            case fault_kind::maintenance: lasts(microseconds{1000}, 4 * longest); break;
            case fault_kind::stall_server:
            case fault_kind::restart_server:
            case fault_kind::lose_data: lasts(microseconds{1000}, longest); break;
            case fault_kind::server_error:
                lasts(microseconds{1000}, longest);
                amount(0, static_cast<std::int64_t>(server_errors().size()) - 1);
                break;
            case fault_kind::server_clock: amount(-2 * lease, 2 * lease); break;
            case fault_kind::fail_over:
                lasts(microseconds{}, longest);
                amount(0, 1'000'000);
                break;
            case fault_kind::replace:
            case fault_kind::renounce:
            case fault_kind::reset:
            case fault_kind::lose_reply: break;
        }
        plan.push_back(f);
    }
    // In order of time, and of being drawn. (Not std::stable_sort: clang warns of what libstdc++ 12 does in it.)
    for (auto f = plan.begin(); f != plan.end(); ++f) {
        auto const earlier = [](fault const& a, fault const& b) { return a.at < b.at; };
        std::rotate(std::upper_bound(plan.begin(), f, *f, earlier), f, f + 1);
    }
    return plan;
}

}  // namespace rota::sim
