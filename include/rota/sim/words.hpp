// What happens in a run, in a line each: for the last events that a broken invariant prints.
#pragma once

#include <iterator>
#include <string>
#include <variant>

#include <fmt/core.h>

#include "../error.hpp"
#include "../events.hpp"
#include "faults.hpp"
#include "stage.hpp"

namespace rota::sim {

/// What the server did, and for whom.
[[nodiscard]] inline std::string in_words(step const& s, std::string const& whose) {
    static constexpr char const* names[] = {"join",          "tick",
                                            "leave",         "renounce",
                                            "acquire_locks", "extend_locks",
                                            "release_locks", "register_schedules",
                                            "lookup",        "unregister_schedules",
                                            "claim",         "reap",
                                            "adopt",         "revoke",
                                            "acknowledge",   "changes_since",
                                            "events_since",  "schedules_page",
                                            "nodes_page",    "describe_node",
                                            "give_order",    "update_schedules",
                                            "scan_page",     "mend",
                                            "trigger"};
    static_assert(std::size(names) == std::variant_size_v<operation>);
    auto text = fmt::format("server {} performs {}", s.server, names[s.request.index()]);
    if (!whose.empty()) text += " of " + whose;
    auto list = [&](auto const& items, auto&& words) {
        std::size_t n = 0;
        for (auto const& i : items) {
            if (++n > 6) {
                text += " ...";
                return;
            }
            text += " " + words(i);
        }
    };
    if (auto* r = std::get_if<op::adopt>(&s.request)) {
        list(r->items, [](auto const& i) { return fmt::format("{}:{}->{}", i.id, i.from, i.to); });
    } else if (auto* r2 = std::get_if<op::revoke>(&s.request)) {
        list(r2->items, [](auto const& i) { return fmt::format("{}:{}->{}", i.id, i.from, i.to); });
    } else if (auto* r3 = std::get_if<op::reap>(&s.request)) {
        list(r3->nodes, [](auto const& i) { return fmt::format("{}", i); });
    } else if (auto* r4 = std::get_if<op::acknowledge>(&s.request)) {
        list(r4->items, [](auto const& i) { return fmt::format("{}->{}", i.id, i.to); });
    } else if (auto* r5 = std::get_if<op::acquire_locks>(&s.request)) {
        list(r5->items, [](auto const& i) { return fmt::format("{}", i.name); });
    } else if (auto* r6 = std::get_if<op::release_locks>(&s.request)) {
        list(r6->items, [](auto const& i) { return fmt::format("{} {}", i.name, i.token); });
    }
    if (!s.answer) {
        text += fmt::format(" -> {} {}", to_string(s.answer.error().code), s.answer.error().detail);
    } else if (auto* r7 = std::get_if<op::outcomes>(&*s.answer)) {
        text += " ->";
        list(r7->items,
             [](auto const& o) { return o.ok() ? fmt::format("{}", o.token) : std::string{to_string(o.code)}; });
    } else if (auto* r8 = std::get_if<op::ticked>(&*s.answer)) {
        static constexpr char const* statuses[] = {"ok", "reaped", "fenced", "data_lost", "unsettled"};
        static_assert(std::size(statuses) == static_cast<std::size_t>(op::last_tick_status) + 1);
        text += fmt::format(" -> {} leader {} term {} for {} version {} seq {}",
                            statuses[static_cast<std::size_t>(r8->status)], r8->leader_id, r8->term,
                            seconds_in_words(r8->leader_remaining), r8->version, r8->seq);
        if (!r8->sweep.expired.empty()) text += fmt::format(" expired {}", r8->sweep.expired.size());
        if (!r8->sweep.dead.empty()) text += fmt::format(" dead {}", r8->sweep.dead.size());
    } else if (auto* r9 = std::get_if<op::joined>(&*s.answer)) {
        text += fmt::format(" -> {} superseded {}", r9->incarnation, r9->superseded);
    }
    return text;
}

/// What a sink is told.
[[nodiscard]] inline std::string in_words(event const& e) {
    static constexpr char const* names[] = {
        "node_joined",        "node_left",         "node_suspended",    "node_resumed",       "node_lost",
        "node_fenced",        "ownership_changed", "handoff_requested", "schedule_triggered", "leadership_changed",
        "membership_changed", "schedule_changed",  "events_gap",        "plan_refused",       "warning"};
    static_assert(std::size(names) == std::variant_size_v<event>);
    std::string text = names[e.index()];
    if (auto* o = std::get_if<ownership_changed>(&e)) {
        text += fmt::format(" {} {} -> {} generation {}", o->schedule, o->from.id, o->to.id, o->generation);
    } else if (auto* l = std::get_if<leadership_changed>(&e)) {
        text += fmt::format(" {} term {} (was {})", l->leader.id, l->term, l->previous.id);
    } else if (auto* r10 = std::get_if<plan_refused>(&e)) {
        text += " " + r10->why;
    } else if (auto* w = std::get_if<warning>(&e)) {
        text += " " + w->what.detail;
    }
    return text;
}

}  // namespace rota::sim
