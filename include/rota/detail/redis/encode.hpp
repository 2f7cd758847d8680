// Makes the call of a script out of an operation: encode() writes its keys and arguments, in the order that is written
// at the script (*.lua.hpp in this folder), as the bytes that go to the server. It recycles the buffers of the command
// that it writes over, since locks are the hottest path of a busy node. Every key that the script will touch is among
// the keys. No I/O.
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "../../operations.hpp"
#include "../redis_scripts.hpp"
#include "request_bytes.hpp"

namespace rota::detail {

/// Words of a request, as they are sent.
struct redis_words {
    byte_buffer bytes;
    std::size_t count = 0;

    void clear() noexcept {
        bytes.clear();
        count = 0;
    }
    /// One word, which is what the parts are one after the other.
    template <typename... Parts>
    void add(Parts const&... parts) {
        append_bulk(bytes, parts...);
        ++count;
    }
};

/// One call of a script.
struct redis_command {
    std::string tag;  ///< what all keys begin with: the prefix in braces
    script_id script{};
    redis_words keys;
    redis_words args;
};

/// Writes a command's keys and arguments over those of the one before.
class redis_command_writer {
public:
    redis_command_writer(redis_command& into, script_id script, std::string_view key_prefix) : into_{into} {
        bool const as_before = into_.tag.size() == key_prefix.size() + 2 &&
                               std::string_view{into_.tag}.substr(1, key_prefix.size()) == key_prefix;
        if (!as_before) into_.tag.assign("{").append(key_prefix).append("}");
        into_.script = script;
        into_.keys.clear();
        into_.args.clear();
    }
    redis_command_writer(redis_command_writer const&) = delete;
    redis_command_writer& operator=(redis_command_writer const&) = delete;

    /// The key {prefix}name, {prefix}name<id> or {prefix}name<number>.
    void key(std::string_view name, std::string_view id = {}) { into_.keys.add(into_.tag, name, id); }
    void key(std::string_view name, std::uint64_t number) { key(name, digits_of{number}.text()); }

    void arg(std::string_view text) { into_.args.add(text); }
    void arg(std::uint64_t number) { arg(digits_of{number}.text()); }
    void signed_arg(std::string_view sign, std::uint64_t number) { into_.args.add(sign, digits_of{number}.text()); }
    void arg(microseconds duration) { arg(clamped(duration)); }
    /// weight, or weight;traits.
    void arg(double weight, std::string_view traits) {
        char digits[32];
        auto const end = std::to_chars(digits, digits + sizeof digits, weight).ptr;
        std::string_view const text{digits, static_cast<std::size_t>(end - digits)};
        into_.args.add(text, traits.empty() ? "" : ";", traits);
    }
    /// Numbers, with `end` after each.
    template <typename Numbers = std::initializer_list<std::uint64_t>>
    void arg(Numbers const& numbers, char end) {
        list_.clear();
        for (auto number : numbers) {
            append_number(list_, number);
            list_ += end;
        }
        arg(list_);
    }
    template <typename Enum>
        requires std::is_enum_v<Enum>
    void arg(Enum value) {
        arg(static_cast<std::uint64_t>(value));
    }
    /// What all keys of the group begin with.
    void arg_prefix() { into_.args.add(into_.tag); }

    /// The keys that belong to an incarnation.
    void keys_of_node(fencing_token incarnation) {
        key("by:", incarnation);
        key("ver:", incarnation);
        key("inbox:", incarnation);
    }

private:
    // Added to the server's time it stays below 2^53, beyond which Lua cannot count.
    static std::uint64_t clamped(microseconds duration) {
        constexpr std::int64_t most = std::int64_t{1} << 51;
        auto const count = duration.count();
        return static_cast<std::uint64_t>(count < 0 ? 0 : count < most ? count : most);
    }

    redis_command& into_;
    std::string list_{};
};

/// Which connection of which session a command goes by.
struct redis_stamp {
    std::uint64_t session = 0;
    std::uint64_t connection = 0;
};

// Keys and arguments with which every script begins that changes more than locks (see lua::group).
inline void begin_group_command(redis_command_writer& w, redis_stamp from) {
    w.key("session:", from.session);
    for (auto name : {"head", "fence", "leader", "events", "nodes", "dead", "info", "ids", "roster", "load", "pending",
                      "own", "unowned", "moves", "gone", "calls"}) {
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
    bool in_full = false;

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
        if (r.brief) return brief_tick(r);
        redis_command_writer w{into, script_id::tick, key_prefix};
        w.key("session:", from.session);
        begin_tick(w, r);
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

    // Keys with which both kinds begin.
    void begin_tick(redis_command_writer& w, op::tick const& r) const {
        w.key("head");
        w.key("fence");
        w.key("leader");
        w.key("ver:", r.incarnation);
        w.key("nodes");
    }

    void brief_tick(op::tick const& r) const {
        redis_command_writer w{into, script_id::brief_tick, key_prefix};
        begin_tick(w, r);
        w.arg(r.incarnation);
        w.arg(r.node_ttl);
    }

    void operator()(op::leave const& r) const {
        redis_command_writer w{into, script_id::leave, key_prefix};
        begin_group_command(w, from);
        w.keys_of_node(r.incarnation);
        w.arg(r.incarnation);
        write_nodes(w, r.successors);
    }

    void operator()(op::renounce const& r) const {
        redis_command_writer w{into, script_id::renounce, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.term);
        write_nodes(w, r.successors);
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

    void operator()(op::trigger const& r) const {
        redis_command_writer w{into, script_id::trigger, key_prefix};
        begin_group_command(w, from);
        incarnation_set owners;
        for (auto const& item : r.items) {
            w.arg(item.id);
            owners.add(item.owner);
        }
        owners.declare(w);
        for (auto const& item : r.items) w.arg(item.done);
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
        if (!in_full && r.items.size() == 1) {
            auto const& item = r.items.front();
            bool const usual = item.unasked && item.instead_of.empty() && item.to != 0 && item.to != r.incarnation;
            if (usual) return hand_over(r, item);
        }
        redis_command_writer w{into, script_id::acknowledge, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.seen);
        w.arg(std::uint64_t{r.items.size()});
        bool substitutes = false;
        for (auto const& item : r.items) substitutes = substitutes || !item.instead_of.empty();
        w.arg(std::uint64_t{substitutes ? r.items.size() : 0});
        w.arg(r.lock_ttl);
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
        for (auto const& item : r.items) w.signed_arg(item.unasked ? "+" : "", item.to);
        nodes.name(w);
    }

    void hand_over(op::acknowledge const& r, op::acknowledge::item const& item) const {
        redis_command_writer w{into, script_id::hand_over, key_prefix};
        w.key("session:", from.session);
        w.key("head");
        w.key("fence");
        w.key("ver:", item.to);
        w.key("lock:", item.id);
        for (auto name : {"nodes", "info", "load", "pending", "own", "moves", "events"}) w.key(name);
        w.key("by:", r.incarnation);
        w.key("by:", item.to);
        w.key("inbox:", item.to);
        w.arg(from.connection);
        w.arg(r.incarnation);
        w.arg(r.seen);
        w.arg(item.id);
        w.arg({item.generation, r.incarnation}, '|');
        w.arg(item.to);
        w.arg(r.lock_ttl);
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
        w.key("head");
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
        for (auto name : {"head", "roster", "info", "load", "pending", "nodes", "dead", "orders"}) w.key(name);
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
    static void write_nodes(redis_command_writer& w, std::vector<fencing_token> const& nodes) {
        for (auto incarnation : nodes) {
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
            w.arg(item.generation);
        }
        nodes.declare(w);
        // Mostly many in a row have their way in common.
        auto const way_of = [](auto const& item) {
            std::uint64_t open = 0;
            if constexpr (requires { item.open; }) open = item.open;
            return std::array{item.from, item.to, static_cast<std::uint64_t>(item.reason), open};
        };
        std::uint64_t ways = 0;
        for_each_run(items, way_of, [&](auto const&, std::uint64_t) { ++ways; });
        w.arg(ways);
        for_each_run(items, way_of, [&](auto const& way, std::uint64_t count) {
            w.arg({way[0], way[1], way[2], way[3], count}, '|');
        });
        nodes.name(w);
    }

    template <typename Items, typename WayOf, typename Each>
    static void for_each_run(Items const& items, WayOf const& way_of, Each const& each) {
        for (auto i = items.begin(); i != items.end();) {
            auto const first = i;
            auto const way = way_of(*first);
            while (i != items.end() && way_of(*i) == way) ++i;
            each(way, static_cast<std::uint64_t>(i - first));
        }
    }
};

/// The call that performs `request`, written over `into` (whose buffers are used again). `in_full`: by no script that does
/// only what is usual; see is_left_undone().
template <typename Tag = void>
void encode(operation const& request, std::string_view key_prefix, std::uint64_t session, std::uint64_t connection,
            redis_command& into, bool in_full = false) {
    std::visit(redis_encoder<Tag>{into, key_prefix, {session, connection}, in_full}, request);
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
