// Makes the reply to an operation out of what its script answered: decode(). What does not have exactly the expected
// shape is errc::protocol, whatever it is; the shapes are written at the scripts (*.lua.hpp in this folder). RESP2.
#pragma once

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <hiredis/hiredis.h>

#include "../../operations.hpp"
#include "../../result.hpp"
#include "../late.hpp"
#include "../redis_scripts.hpp"
#include "reply_reader.hpp"

namespace rota::detail {

/// Makes a reply of what a script answered after its status; each leaves `in` not done() where the shape is wrong. (All
/// but brief(), which makes one of a text.)
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
        if (!read_leader(in.text(), answer)) in.fail();
        answer.version = in.number();
        if (answer.leader != r.incarnation || answer.leader == 0) return answer;
        answer.sweep.next_expiry = in.duration_or_never();
        answer.sweep.expired = in.numbers();
        answer.sweep.dead = in.numbers();
        answer.sweep.next_dead = in.duration_or_never();
        answer.sweep.candidates = in.numbers();
        return answer;
    }

    /// What a brief one is answered: s|us|epoch-seq|fence|version|leader's record, or nothing.
    static result<reply> brief(op::tick const& r, std::string_view text) {
        op::ticked answer;
        reply const unsettled{op::ticked{.status = op::tick_status::unsettled}};
        if (text.empty()) return unsettled;
        redis_record_reader parts{text};
        auto const seconds = parts.number();
        answer.now = seconds * 1'000'000 + parts.number();
        bool const readable = parts.ok();
        auto const head = parts.stream_id();
        if (readable && !parts.ok()) return unsettled;  // it was damaged
        answer.epoch = head.first;
        answer.seq = head.second;
        answer.fence = parts.number();
        answer.version = parts.number();
        auto const leader = parts.rest();
        fencing_token holder = 0;
        microseconds lease{};
        if (!parts.done() || !read_leader(leader, answer, &holder, &lease)) return {errc::protocol, strange};
        if (answer.epoch != r.epoch || answer.fence < r.seen || (answer.leader == 0 && r.candidate) ||
            (holder != 0 && holder == r.incarnation) || answer.leader_remaining > lease) {
            return unsettled;
        }
        return reply{std::move(answer)};
    }
    static constexpr char const* strange = "the server's answer does not have the form of a reply of rota's scripts";

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
    reply operator()(op::trigger const& r) const { return outcomes(r.items.size(), code | token); }
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
        while (entries.left() > 0) read_step(entries, answer);
        require(entries);
        return answer;
    }

    /// The next entry of a node's change log: the changes go to the others, `to` becomes its version.
    void read_step(redis_array_reader& entries, op::changes_reply& into) const {
        redis_array_reader entry{entries.next()};
        into.to = stream_id(entry).first;
        redis_array_reader fields{entry.next()};
        (void)fields.text();
        redis_record_reader words{fields.text()};
        while (words.ok() && !words.done()) into.items.push_back(to_change(read_word(words)));
        if (!words.done()) in.fail();
        require(entry, fields);
    }

    /// The next entry of a log, unread: its id.
    std::pair<std::uint64_t, std::uint64_t> skip_entry(redis_array_reader& entries) const {
        redis_array_reader entry{entries.next()};
        auto const id = stream_id(entry);
        (void)entry.next();
        require(entry);
        return id;
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
        bool const moving = moves.left() > 0;
        answer.items.reserve(ids.left());
        while (ids.left() > 0) {
            schedule_status status{.id = std::string{ids.text()}};
            auto const found = moving ? read_schedule(own, moves, status) : read_record(own, status);
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

    // deadline|term|incarnation|length of the lease|node_id, or nothing.
    static bool read_leader(std::string_view text, op::ticked& into, fencing_token* holder = nullptr,
                            microseconds* lease = nullptr) {
        if (text.empty()) return true;
        redis_record_reader record{text};
        auto const deadline = record.number();
        auto const term = record.number();
        auto const incarnation = record.number();
        auto const granted_for = record.duration();
        auto const id = record.rest();
        if (holder) *holder = incarnation;
        if (lease) *lease = granted_for;
        if (deadline > into.now) {
            into.leader = incarnation;
            into.term = term;
            into.leader_id = id;
            into.leader_remaining = redis_array_reader::to_duration(deadline - into.now);
        }
        return record.done();
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
        status.triggered = stored.triggered();
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
        fencing_token triggered = 0;
        microseconds lease{};
        std::vector<fencing_token> successors{};
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
        t.triggered = words.triggered();
        if (e.kind == op::group_event_kind::joined || e.kind == op::group_event_kind::described) {
            e.capacity = words.capacity();
        } else if (e.kind == op::group_event_kind::moving) {
            t.handoff = words.duration();
            t.open = words.number() != 0;
        } else if (e.kind == op::group_event_kind::led) {
            t.lease = words.duration();
            t.successors = words.numbers();
        } else if (e.kind == op::group_event_kind::owned && !words.at_counted()) {
            t.lease = words.duration();
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
            case op::group_event_kind::led:
                return {.kind = op::change_kind::led,
                        .generation = e.generation,
                        .other = e.from,
                        .lease = t.lease,
                        .successors = t.successors};
            default: in.fail(); return c;
        }
        c.generation = e.generation;
        c.weight = e.weight;
        c.traits = e.traits;
        c.reason = e.reason;
        if (c.kind != op::change_kind::revoking) c.triggered = t.triggered;
        if (c.kind == op::change_kind::granted) c.other = e.from, c.lease = t.lease;
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
        redis_record_reader id{entry.text()};
        auto const found = id.stream_id();
        if (!id.done()) in.fail();
        return found;
    }

    template <typename... Readers>
    void require(Readers const&... readers) const {
        if (!(readers.done() && ...)) in.fail();
    }
};

/// Whether the script, which does only what is usual, has done nothing: the operation is to be sent once more, in full.
[[nodiscard]] inline bool is_left_undone(script_id script, redisReply const& answer) {
    return script == script_id::hand_over && answer.type == REDIS_REPLY_STRING && answer.len == 0;
}

/// The reply to `request` that `answer` holds; or the error that the script gave; or protocol, if it is neither.
template <typename T = void>
[[nodiscard]] result<late<reply, T>> decode(late<operation, T> const& request, redisReply const* answer) {
    if (answer && answer->type == REDIS_REPLY_ERROR) {
        return {errc::refused_by_server, answer->str ? std::string{answer->str, answer->len} : std::string{}};
    }
    if (auto const* tick = std::get_if<op::tick>(&request); tick && answer && answer->type == REDIS_REPLY_STRING) {
        return redis_decoder<T>::brief(*tick, {answer->str, answer->len});
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
    return {errc::protocol, redis_decoder<T>::strange};
}

}  // namespace rota::detail

#endif
