// The words for an event: one line of text for people, as log_sink writes it, recording_sink compares it and the
// examples print it. The same event always has the same words. They are no format to parse: take the event for that.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include <fmt/core.h>

#include "../events.hpp"
#include "../options.hpp"
#include "../types.hpp"

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
[[nodiscard]] std::string words_for(schedule_triggered const& e) {
    return fmt::format("schedule {} was triggered, token {}", in_words(e.schedule), e.token);
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
