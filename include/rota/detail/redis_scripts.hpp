// The Lua scripts that perform the operations of operations.hpp on Redis, one atomic step each: which there are, and
// their text. What is in them stands in redis/*.lua.hpp; how requests and replies look on the wire in redis_codec.hpp.
//
// Every script takes the time once, in its first line, and compares it with deadlines that stand in values; that line
// (`time`: seconds and microseconds, as text; `now`: all of it) is all that knows of a clock, so tests put others there. No hiredis here: this is text.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "../error.hpp"
#include "../operations.hpp"
#include "redis/common.lua.hpp"
#include "redis/connection.lua.hpp"
#include "redis/following.lua.hpp"
#include "redis/locks.lua.hpp"
#include "redis/membership.lua.hpp"
#include "redis/mending.lua.hpp"
#include "redis/schedules.lua.hpp"
#include "sha1.hpp"

namespace rota::detail {

enum class script_id : std::uint8_t {
    session,
    probe,
    join,
    tick,
    brief_tick,
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
    hand_over,
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
    trigger,
};
inline constexpr std::size_t script_count = 30;

[[nodiscard]] constexpr std::string_view script_name(script_id id) noexcept {
    switch (id) {
        case script_id::session: return "session";
        case script_id::probe: return "probe";
        case script_id::join: return "join";
        case script_id::tick: return "tick";
        case script_id::brief_tick: return "brief_tick";
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
        case script_id::hand_over: return "hand_over";
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
        case script_id::trigger: return "trigger";
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
    {"reason_transferred", static_cast<int>(change_reason::transferred)},
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
    {"limit_unlimited", unlimited},
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
            text += "local time = {string.format('%.0f', math.floor(now / 1000000)), now % 1000000 .. ''}\n";
        }
    };
    auto const add_of_group = [&add](auto const&... pieces) { add(lua::whole, lua::group, lua::step, pieces...); };
    auto const add_of_schedules = [&add_of_group](auto const&... pieces) {
        add_of_group(lua::nodes, lua::weights, lua::record, lua::schedules, pieces...);
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
        case script_id::join: add_of_group(lua::join); break;
        case script_id::tick: add(lua::tick); break;
        case script_id::brief_tick: add(lua::brief_tick); break;
        case script_id::leave: add_of_group(lua::nodes, lua::departures, lua::succession, lua::leave); break;
        case script_id::renounce: add_of_group(lua::leadership, lua::succession, lua::renounce); break;
        case script_id::reap: add_of_group(lua::nodes, lua::leadership, lua::departures, lua::reap); break;
        case script_id::acquire_one: add(lua::whole, lua::acquire_one); break;
        case script_id::acquire_many: add(lua::whole, lua::strings, lua::acquire_many); break;
        case script_id::extend: add(lua::whole, lua::extend); break;
        case script_id::release: add(lua::release); break;
        case script_id::describe_node: add_of_group(lua::describe_node); break;
        case script_id::give_order: add_of_group(lua::give_order); break;
        case script_id::register_schedules: add_of_schedules(lua::register_schedules); break;
        case script_id::update_schedules: add_of_schedules(lua::triggers, lua::update_schedules); break;
        case script_id::trigger: add_of_schedules(lua::triggers, lua::trigger); break;
        case script_id::unregister_schedules:
            add_of_schedules(lua::tombstones, lua::burial, lua::unregister_schedules);
            break;
        case script_id::claim: add_of_schedules(lua::tombstones, lua::claim); break;
        case script_id::adopt:
            add_of_schedules(lua::leadership, lua::departures, lua::tombstones, lua::ways, lua::adopt);
            break;
        case script_id::revoke: add_of_schedules(lua::leadership, lua::ways, lua::revoke); break;
        case script_id::hand_over: add(lua::shorthands, lua::weights, lua::hand_over); break;
        case script_id::acknowledge: add_of_schedules(lua::acknowledge); break;
        case script_id::mend: add_of_schedules(lua::leadership, lua::tombstones, lua::burial, lua::mend); break;
        case script_id::nodes_page: add(lua::nodes_page); break;
        default: break;
    }
    return text;
}

/// All scripts, and what the server knows them by.
class script_table {
public:
    explicit script_table(std::string_view time_source) {
        for (std::size_t i = 0; i < script_count; ++i) {
            auto text = script_text(static_cast<script_id>(i), time_source);
            auto digest = sha1_hex(text);
            all_[i] = {std::move(text), std::move(digest)};
        }
    }
    /// Those that take their time from the server; made once in a process, shared by all connections. Never destroyed:
    /// a coordinator of static storage duration still leaves its group at the very end.
    [[nodiscard]] static script_table const& standard() {
        static script_table const& table = *new script_table{std::string_view{}};
        return table;
    }

    [[nodiscard]] std::string const& text(script_id id) const noexcept { return of(id).text; }
    [[nodiscard]] std::string const& digest(script_id id) const noexcept { return of(id).digest; }

private:
    struct script {
        std::string text;
        std::string digest;
    };
    [[nodiscard]] script const& of(script_id id) const noexcept { return all_[static_cast<std::size_t>(id)]; }

    std::array<script, script_count> all_;
};

}  // namespace rota::detail
