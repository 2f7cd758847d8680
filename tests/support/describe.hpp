// Operations and replies as one line of text each, for tests to print.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <fmt/core.h>

#include <rota/detail/store.hpp>
#include <rota/operations.hpp>
#include <rota/result.hpp>

namespace rota::test {

using rota::detail::store_damage;

/// Appends fields to "name{…}".
class description {
public:
    explicit description(std::string_view name) : text_{name} { text_ += '{'; }

    description& field(std::string_view name, std::string_view value) {
        text_ += fmt::format("{}{}: ", text_.back() == '{' ? "" : ", ", name);
        text_ += '"';
        for (char const c : value.substr(0, 24)) {
            auto const byte = static_cast<unsigned char>(c);
            text_ += byte >= 0x20 && byte < 0x7f ? std::string(1, c) : fmt::format("\\x{:02x}", byte);
        }
        text_ += value.size() > 24 ? "...\"" : "\"";
        return *this;
    }
    description& field(std::string_view name, std::string const& value) { return field(name, std::string_view{value}); }
    description& field(std::string_view name, microseconds value) {
        return plain(name, fmt::format("{} us", value.count()));
    }
    description& field(std::string_view name, errc value) {
        return plain(name, value == errc{} ? "ok" : to_string(value));
    }
    description& field(std::string_view name, double value) { return plain(name, fmt::format("{}", value)); }
    template <typename T>
        requires(std::is_integral_v<T>)
    description& field(std::string_view name, T value) {
        return plain(name, fmt::format("{}", value));
    }
    template <typename T>
        requires(std::is_enum_v<T>)
    description& field(std::string_view name, T value) {
        return plain(name, fmt::format("{}", static_cast<int>(value)));
    }
    template <typename T>
    description& field(std::string_view name, std::vector<T> const& values);

    [[nodiscard]] std::string text() const { return text_ + '}'; }

private:
    description& plain(std::string_view name, std::string_view value) {
        text_ += fmt::format("{}{}: {}", text_.back() == '{' ? "" : ", ", name, value);
        return *this;
    }

    std::string text_;
};

inline std::string describe(fencing_token v) { return fmt::format("{}", v); }
inline std::string describe(std::string const& v) { return description{""}.field("", v).text(); }
inline std::string describe(op::described_schedule const& v) {
    return description{""}.field("id", v.id).field("weight", v.weight).field("traits", v.traits).text();
}
inline std::string describe(op::update_schedules::item const& v) {
    return description{""}
        .field("id", v.id)
        .field("weight", v.weight)
        .field("traits", v.traits)
        .field("owner", v.owner)
        .text();
}
inline std::string describe(op::acquire_locks::item const& v) {
    return description{""}.field("name", v.name).field("generation", v.generation).text();
}
inline std::string describe(op::lock_ref const& v) {
    return description{""}.field("name", v.name).field("token", v.token).text();
}
inline std::string describe(op::unregister_schedules::item const& v) {
    return description{""}.field("id", v.id).field("owner", v.owner).text();
}
template <typename T>
    requires requires(T v) { v.from, v.to, v.generation, v.reason; }
std::string describe(T const& v) {
    description d{""};
    if constexpr (requires { v.kind; }) d.field("seq", v.seq).field("kind", v.kind);
    d.field("id", v.id)
        .field("generation", v.generation)
        .field("from", v.from)
        .field("to", v.to)
        .field("reason", v.reason);
    if constexpr (requires { v.open; }) d.field("open", v.open);
    if constexpr (requires { v.kind; }) {
        d.field("weight", v.weight).field("capacity", v.capacity).field("traits", v.traits);
    }
    return d.text();
}
inline std::string describe(op::trigger::item const& v) {
    return description{""}.field("id", v.id).field("owner", v.owner).field("done", v.done).text();
}
inline std::string describe(op::acknowledge::item const& v) {
    return description{""}
        .field("id", v.id)
        .field("generation", v.generation)
        .field("to", v.to)
        .field("instead_of", v.instead_of)
        .field("unasked", v.unasked)
        .text();
}
inline std::string describe(op::mend::item const& v);
inline std::string describe(store_damage const& v);
inline std::string describe(op::outcome const& v) {
    return description{""}.field("code", v.code).field("token", v.token).field("remaining", v.remaining).text();
}
inline std::string describe(schedule_status const& v) {
    return description{""}
        .field("id", v.id)
        .field("generation", v.generation)
        .field("owner", v.owner)
        .field("weight", v.weight)
        .field("moving_to", v.moving_to)
        .field("traits", v.traits)
        .field("triggered", v.triggered)
        .text();
}
inline std::string describe(op::lookup_reply::entry const& v) { return v.registered ? describe(v.status) : "none"; }
inline std::string describe(node_status const& v) {
    return description{""}
        .field("id", v.node.id)
        .field("incarnation", v.node.incarnation)
        .field("alive", v.alive)
        .field("remaining", v.remaining)
        .field("load", v.load)
        .field("pending", v.pending)
        .field("capacity", v.capacity)
        .field("traits", v.traits)
        .field("left", v.left)
        .field("gone_for", v.gone_for)
        .text();
}
inline std::string describe(op::change const& v) {
    return description{""}
        .field("kind", v.kind)
        .field("id", v.id)
        .field("generation", v.generation)
        .field("weight", v.weight)
        .field("other", v.other)
        .field("reason", v.reason)
        .field("handoff", v.handoff)
        .field("open", v.open)
        .field("traits", v.traits)
        .field("triggered", v.triggered)
        .field("lease", v.lease)
        .field("successors", v.successors)
        .text();
}

template <typename T>
description& description::field(std::string_view name, std::vector<T> const& values) {
    std::string all = "[";
    for (auto const& value : values) all += describe(value) + " ";
    return plain(name, all + "]");
}

inline std::string describe(op::mend::item const& v) {
    return description{""}.field("id", v.id).field("holders", v.holders).text();
}
inline std::string describe(store_damage const& v) {
    return description{"damage"}
        .field("what", v.what)
        .field("id", v.id)
        .field("node", v.node)
        .field("count", v.count)
        .text();
}

namespace detail {

struct describer {
    std::string operator()(op::join const& v) const {
        return description{"join"}
            .field("node_id", v.node_id)
            .field("nonce", v.nonce)
            .field("ttl", v.node_ttl)
            .field("capacity", v.capacity)
            .field("on_conflict", v.on_conflict)
            .field("seen", v.seen)
            .field("traits", v.traits)
            .text();
    }
    std::string operator()(op::describe_node const& v) const {
        return description{"describe_node"}
            .field("incarnation", v.incarnation)
            .field("capacity", v.capacity)
            .field("traits", v.traits)
            .text();
    }
    std::string operator()(op::give_order const& v) const {
        return description{"give_order"}.field("kind", v.kind).field("node_id", v.node_id).text();
    }
    std::string operator()(op::tick const& v) const {
        return description{"tick"}
            .field("incarnation", v.incarnation)
            .field("node_id", v.node_id)
            .field("epoch", v.epoch)
            .field("term", v.term)
            .field("candidate", v.candidate)
            .field("ttl", v.node_ttl)
            .field("lease", v.leader_lease)
            .field("seen", v.seen)
            .field("brief", v.brief)
            .text();
    }
    std::string operator()(op::leave const& v) const {
        return description{"leave"}.field("incarnation", v.incarnation).field("successors", v.successors).text();
    }
    std::string operator()(op::renounce const& v) const {
        return description{"renounce"}
            .field("incarnation", v.incarnation)
            .field("term", v.term)
            .field("successors", v.successors)
            .text();
    }
    std::string operator()(op::acquire_locks const& v) const {
        return description{"acquire_locks"}
            .field("incarnation", v.incarnation)
            .field("kind", v.kind)
            .field("items", v.items)
            .field("ttl", v.ttl)
            .field("nonce", v.nonce)
            .field("seen", v.seen)
            .text();
    }
    std::string operator()(op::extend_locks const& v) const {
        return description{"extend_locks"}
            .field("incarnation", v.incarnation)
            .field("kind", v.kind)
            .field("items", v.items)
            .field("ttl", v.ttl)
            .text();
    }
    std::string operator()(op::release_locks const& v) const {
        return description{"release_locks"}.field("kind", v.kind).field("items", v.items).text();
    }
    std::string operator()(op::register_schedules const& v) const {
        return description{"register_schedules"}.field("items", v.items).text();
    }
    std::string operator()(op::trigger const& v) const { return description{"trigger"}.field("items", v.items).text(); }
    std::string operator()(op::update_schedules const& v) const {
        return description{"update_schedules"}.field("items", v.items).text();
    }
    std::string operator()(op::lookup const& v) const { return description{"lookup"}.field("ids", v.ids).text(); }
    std::string operator()(op::unregister_schedules const& v) const {
        return description{"unregister_schedules"}.field("items", v.items).field("nonce", v.nonce).text();
    }
    std::string operator()(op::claim const& v) const {
        return description{"claim"}
            .field("incarnation", v.incarnation)
            .field("ids", v.ids)
            .field("seen", v.seen)
            .text();
    }
    std::string operator()(op::reap const& v) const {
        return description{"reap"}
            .field("incarnation", v.incarnation)
            .field("term", v.term)
            .field("nodes", v.nodes)
            .text();
    }
    std::string operator()(op::adopt const& v) const {
        return description{"adopt"}
            .field("incarnation", v.incarnation)
            .field("term", v.term)
            .field("items", v.items)
            .field("seen", v.seen)
            .field("as_of", v.as_of)
            .text();
    }
    std::string operator()(op::revoke const& v) const {
        return description{"revoke"}
            .field("incarnation", v.incarnation)
            .field("term", v.term)
            .field("items", v.items)
            .field("handoff", v.handoff_deadline)
            .field("as_of", v.as_of)
            .text();
    }
    std::string operator()(op::acknowledge const& v) const {
        return description{"acknowledge"}
            .field("incarnation", v.incarnation)
            .field("items", v.items)
            .field("seen", v.seen)
            .field("lock_ttl", v.lock_ttl)
            .text();
    }
    std::string operator()(op::changes_since const& v) const {
        return description{"changes_since"}.field("incarnation", v.incarnation).field("version", v.version).text();
    }
    std::string operator()(op::events_since const& v) const {
        return description{"events_since"}.field("epoch", v.epoch).field("seq", v.seq).field("limit", v.limit).text();
    }
    std::string operator()(op::schedules_page const& v) const {
        return description{"schedules_page"}
            .field("holder", v.holder)
            .field("after", v.after)
            .field("limit", v.limit)
            .text();
    }
    std::string operator()(op::nodes_page const& v) const {
        return description{"nodes_page"}.field("after", v.after).field("limit", v.limit).text();
    }
    std::string operator()(op::scan_page const& v) const {
        return description{"scan_page"}.field("cursor", v.cursor).field("limit", v.limit).text();
    }
    std::string operator()(op::mend const& v) const {
        return description{"mend"}
            .field("incarnation", v.incarnation)
            .field("term", v.term)
            .field("items", v.items)
            .field("recount", v.recount)
            .field("seen", v.seen)
            .text();
    }

    std::string operator()(op::done const&) const { return "done"; }
    std::string operator()(op::joined const& v) const {
        return description{"joined"}
            .field("incarnation", v.incarnation)
            .field("epoch", v.epoch)
            .field("seq", v.seq)
            .field("superseded", v.superseded)
            .text();
    }
    std::string operator()(op::ticked const& v) const {
        return description{"ticked"}
            .field("status", v.status)
            .field("now", v.now)
            .field("epoch", v.epoch)
            .field("fence", v.fence)
            .field("version", v.version)
            .field("seq", v.seq)
            .field("leader", v.leader)
            .field("term", v.term)
            .field("leader_id", v.leader_id)
            .field("remaining", v.leader_remaining)
            .field("next_expiry", v.sweep.next_expiry)
            .field("expired", v.sweep.expired)
            .field("dead", v.sweep.dead)
            .field("next_dead", v.sweep.next_dead)
            .field("candidates", v.sweep.candidates)
            .text();
    }
    std::string operator()(op::outcomes const& v) const {
        return description{"outcomes"}.field("items", v.items).text();
    }
    std::string operator()(op::lookup_reply const& v) const {
        return description{"found"}.field("items", v.items).text();
    }
    std::string operator()(op::changes_reply const& v) const {
        return description{"changes"}.field("gap", v.gap).field("to", v.to).field("items", v.items).text();
    }
    std::string operator()(op::events_reply const& v) const {
        return description{"events"}
            .field("gap", v.gap)
            .field("to", v.to)
            .field("head", v.head)
            .field("items", v.items)
            .text();
    }
    std::string operator()(op::page_reply const& v) const {
        return description{"page"}.field("version", v.version).field("items", v.items).field("strays", v.strays).text();
    }
    std::string operator()(op::nodes_reply const& v) const {
        return description{"nodes"}
            .field("epoch", v.epoch)
            .field("seq", v.seq)
            .field("items", v.items)
            .field("maintenance", v.maintenance)
            .field("drained", v.drained)
            .text();
    }
    std::string operator()(op::scan_reply const& v) const {
        return description{"scanned"}.field("next", v.next).field("items", v.items).field("broken", v.broken).text();
    }
};

}  // namespace detail

inline std::string describe(operation const& request) { return std::visit(detail::describer{}, request); }
inline std::string describe(result<reply> const& answer) {
    return answer ? std::visit(detail::describer{}, *answer) : "error: " + answer.error().message();
}

}  // namespace rota::test
