// How schedules change hands while their owner works: the run in hand is finished, nobody is given it before, and where
// another one goes in its place, just that one goes.
#pragma once

#include <map>
#include <string>

#include "../world.hpp"
#include "locks.hpp"

namespace rota::sim {

/// No run is cut short by a hand-off: while a schedule is on its way its lock is extended until handoff_deadline, no
/// longer, and nobody is given it before its lock has ended.
class runs_finish final : public invariant {
public:
    std::string_view name() const override { return "runs_finish"; }
    void performed(step const& s) override {
        if (!s.answer || s.server != group().servers().primary()) return;
        if (!group().promises_hold()) return locks_.clear();
        if (auto* q2 = std::get_if<op::extend_locks>(&s.request); q2 && q2->kind == op::lock_kind::schedule) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) extended(s, *q2, i, out[i]);
        } else if (auto* q3 = std::get_if<op::release_locks>(&s.request); q3 && q3->kind == op::lock_kind::schedule) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                if (out[i].ok()) locks_.erase(q3->items[i].name);
            }
        } else if (auto* q4 = std::get_if<op::acknowledge>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                if (out[i].token != 0) handed_over(s, q4->items[i].id, q4->incarnation);
            }
        } else if (auto* q5 = std::get_if<op::revoke>(&s.request)) {
            for (auto const& item : q5->items) {
                auto const now = group().store().schedule(item.id);
                if (now && now->owner != item.from) handed_over(s, item.id, item.from);
            }
        }
        for (auto const& g : locks_granted(s)) {
            if (g.key.first == op::lock_kind::schedule) locks_[g.key.second] = {g.out.token, g.holder, g.until};
        }
    }
    void looks() override {
        std::erase_if(locks_, [&](auto const& l) { return l.second.until < group().server_time(); });
    }

private:
    struct held {
        fencing_token token = 0;
        fencing_token holder = 0;
        std::int64_t until = 0;
    };
    static std::int64_t until(step const& s, op::outcome const& out) { return s.server_time + out.remaining.count(); }

    void extended(step const& s, op::extend_locks const& q, std::size_t i, op::outcome const& out) {
        auto const& [name, token] = q.items[i];
        auto const l = locks_.find(name);
        if (l == locks_.end() || l->second.token != token || l->second.until <= s.server_time) return;
        auto const now = group().store().schedule(name);
        bool const moves = now && now->moving_to != 0;
        bool const over = moves && now->handoff_until <= s.server_time;
        if (out.ok()) l->second.until = until(s, out);
        if (!out.ok() && moves && !over) {
            fail(fmt::format("the run of {} under {} was not extended, {} before its hand-off's deadline", name, token,
                             seconds_in_words(microseconds{now->handoff_until - s.server_time})));
        }
        if (out.ok() && over) {
            fail(fmt::format("the run of {} under {} was extended, {} after its hand-off's deadline", name, token,
                             seconds_in_words(microseconds{s.server_time - now->handoff_until})));
        }
    }
    void handed_over(step const& s, std::string const& id, fencing_token by) {
        auto const l = locks_.find(id);
        if (l == locks_.end() || l->second.holder != by || l->second.until <= s.server_time) return;
        fail(fmt::format("{} was handed over while {} had a run of it in hand, under {} for another {}", id, by,
                         l->second.token, seconds_in_words(microseconds{l->second.until - s.server_time})));
    }

    std::map<std::string, held> locks_;
};

/// Where another schedule goes in the place of the one that was asked for, it is one like it, and that one stays.
class swaps_hand_over_one final : public invariant {
public:
    std::string_view name() const override { return "swaps_hand_over_one"; }
    void performed(step const& s) override {
        if (!s.answer || s.server != group().servers().primary() || !group().promises_hold()) return;
        auto const* q = std::get_if<op::acknowledge>(&s.request);
        if (!q) return;
        auto const& out = std::get<op::outcomes>(*s.answer).items;
        for (std::size_t i = 0; i < out.size(); ++i) {
            auto const& item = q->items[i];
            if (!out[i].ok() || item.instead_of.empty()) continue;
            auto const went = group().store().schedule(item.id);
            auto const stayed = group().store().schedule(item.instead_of);
            if (!went || went->owner != item.to || went->generation != out[i].token) {
                fail(fmt::format("{} was to go to {} instead of {}, and did not", item.id, item.to, item.instead_of));
            }
            if (!stayed || stayed->owner != q->incarnation || stayed->moving_to != 0) {
                fail(fmt::format("{} went to {} instead of {}, which does not stay with {}", item.id, item.to,
                                 item.instead_of, q->incarnation));
            }
            if (went->weight != stayed->weight || went->traits != stayed->traits) {
                fail(fmt::format("{} went to {} instead of {}, which is not like it", item.id, item.to,
                                 item.instead_of));
            }
        }
    }
};

}  // namespace rota::sim
