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
#include "reply_reader.hpp"

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
