// Locks and runs: one valid handle at a time, tokens that rise, no run begun by a node that may not.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../world.hpp"

namespace rota::sim {

/// At most one handle of a lock is valid at any moment.
class locks_exclusive final : public invariant {
public:
    std::string_view name() const override { return "locks_exclusive"; }
    void lock_taken(process const& p, run const& r) override { look(p, r); }
    void told(process const& p, event const& e) override {
        if (!std::holds_alternative<node_resumed>(e)) return;
        for (auto const& r : p.runs()) {
            if (r.holds) look(p, r);
        }
    }

private:
    void look(process const& p, run const& r) {
        if (!group().promises_hold() || !p.is_valid(r)) return;
        for (auto const* other : group().living()) {
            for (auto const& o : other->runs()) {
                if (&o == &r || o.kind != r.kind || o.name != r.name || !other->is_valid(o)) continue;
                fail(fmt::format("{}#{} (token {}) and {}#{} (token {}) hold {}", p.node_id(), p.number(), r.token,
                                 other->node_id(), other->number(), o.token, r.name));
            }
        }
    }
};

/// Tokens of one name rise from grant to grant; the group's highest never falls; terms rise.
class tokens_rise final : public invariant {
public:
    std::string_view name() const override { return "tokens_rise"; }
    void performed(step const& s) override {
        if (s.server != group().redis().primary()) return;
        auto const& store = group().store();
        if (!group().promises_hold()) {
            fence_ = store.fence();
            term_ = store.leader().term;
            highest_[0].clear();
            highest_[1].clear();
            return;
        }
        if (store.fence() < fence_) fail(fmt::format("the highest token fell from {} to {}", fence_, store.fence()));
        fence_ = store.fence();
        auto const l = store.leader();
        if (l.term != 0 && l.term != term_) {
            if (l.term < term_) fail(fmt::format("term {} came after {}", l.term, term_));
            term_ = l.term;
        }
        auto const* q = std::get_if<op::acquire_locks>(&s.request);
        if (!q || !s.answer) return;
        auto const& out = std::get<op::outcomes>(*s.answer).items;
        for (std::size_t i = 0; i < out.size(); ++i) {
            if (!out[i].ok()) continue;
            auto& last = highest_[q->kind == op::lock_kind::schedule ? 0 : 1][q->items[i].name];
            bool const repeat = out[i].token == last.first && q->nonce == last.second;
            if (!repeat && out[i].token <= last.first) {
                fail(fmt::format("{} was granted under {}, and before under {}", q->items[i].name, out[i].token,
                                 last.first));
            }
            last = {out[i].token, q->nonce};
        }
    }

private:
    fencing_token fence_ = 0;
    fencing_token term_ = 0;
    std::map<std::string, std::pair<fencing_token, std::uint64_t>> highest_[2];
};

/// Extend and release change nothing for who does not hold the lock under that very token.
class strangers_change_nothing final : public invariant {
public:
    std::string_view name() const override { return "strangers_change_nothing"; }
    void performed(step const& s) override {
        if (!s.answer || s.server != group().redis().primary()) return;
        if (auto* q = std::get_if<op::acquire_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) remember(q->kind, q->items[i].name);
        } else if (auto* q2 = std::get_if<op::extend_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                auto const before = known(q2->kind, q2->items[i].name);
                bool const held = before && before->token == q2->items[i].token && before->deadline > s.server_time;
                if (out[i].ok() && !held && group().promises_hold()) {
                    fail(fmt::format("{} was extended under {}, which does not hold it", q2->items[i].name,
                                     q2->items[i].token));
                }
                compare(s, q2->kind, q2->items[i].name, out[i].ok());
            }
        } else if (auto* q3 = std::get_if<op::release_locks>(&s.request)) {
            for (auto const& item : q3->items) {
                auto const before = known(q3->kind, item.name);
                compare(s, q3->kind, item.name, before && before->token == item.token);
            }
        }
    }

private:
    using key = std::pair<int, std::string>;
    static key key_of(op::lock_kind kind, std::string const& name) { return {static_cast<int>(kind), name}; }
    std::optional<stored_lock> known(op::lock_kind kind, std::string const& name) {
        auto const k = known_.find(key_of(kind, name));
        return k == known_.end() ? std::nullopt : std::optional{k->second};
    }
    void remember(op::lock_kind kind, std::string const& name) {
        auto const now = group().store().lock(kind, name);
        if (now) {
            known_[key_of(kind, name)] = *now;
        } else {
            known_.erase(key_of(kind, name));
        }
    }
    void compare(step const&, op::lock_kind kind, std::string const& name, bool may_change) {
        auto const before = known(kind, name);
        auto const now = group().store().lock(kind, name);
        bool const same = before.has_value() == now.has_value() &&
                          (!now || (before->token == now->token && before->deadline == now->deadline));
        if (!same && !may_change && group().promises_hold()) {
            fail(fmt::format("the lock of {} was changed by who does not hold it", name));
        }
        remember(kind, name);
    }
    std::map<key, stored_lock> known_;
};

/// No run is begun by a node that does not hold the lock and own the schedule at that moment, nor by one that is fenced
/// or suspended; and when runs overlap in time, the later has the higher token, and the earlier has no right any more.
class no_double_run final : public invariant {
public:
    std::string_view name() const override { return "no_double_run"; }
    void run_began(process const& p, run const& r) override {
        if (!group().promises_hold()) return;
        if (p.machine().state() != standing::member) {
            fail(fmt::format("{}#{} begins {} and is no member", p.node_id(), p.number(), r.name));
        }
        if (!p.believes_it_lives()) {
            fail(fmt::format("{}#{} begins {} while suspended", p.node_id(), p.number(), r.name));
        }
        if (!p.is_valid(r)) {
            fail(fmt::format("{}#{} begins {} under {}: try_lock gave a handle that is not valid", p.node_id(),
                             p.number(), r.name, r.token));
        }
        if (r.kind == op::lock_kind::schedule) {
            auto const s = group().store().schedule(r.name);
            if (s && (s->owner != r.incarnation || s->generation != r.generation)) {
                fail(fmt::format("{}#{} begins {} under generation {}; it is {}'s under {}", p.node_id(), p.number(),
                                 r.name, r.generation, s->owner, s->generation));
            }
        }
        for (auto const* other : group().living()) {
            for (auto const& o : other->runs()) {
                if (&o == &r || o.at != run::stage::working || o.kind != r.kind || o.name != r.name) continue;
                if (o.token >= r.token || other->is_valid(o)) {
                    fail(fmt::format("{}#{} begins {} under {} while {}#{} is at it under {}", p.node_id(), p.number(),
                                     r.name, r.token, other->node_id(), other->number(), o.token));
                }
            }
        }
    }
};

/// A resource that rejects tokens lower than the highest it has seen is never touched by two runs under one token:
/// holds whatever happens to clocks and servers.
class effects_safe final : public invariant {
public:
    std::string_view name() const override { return "effects_safe"; }
    void run_began(process const& p, run const& r) override { effect(p, r); }
    void run_worked(process const& p, run const& r) override { effect(p, r); }

private:
    struct resource {
        fencing_token highest = 0;
        std::uint32_t by = no_process;
        moment began{};
    };
    void effect(process const& p, run const& r) {
        auto& it = resources_[{static_cast<int>(r.kind), r.name}];
        if (r.token < it.highest) return;  // rejected
        if (r.token == it.highest && (it.by != p.number() || it.began != r.began)) {
            fail(fmt::format("token {} of {} is that of two runs, by {}#{} and by process {}", r.token, r.name,
                             p.node_id(), p.number(), it.by));
        }
        it = {r.token, p.number(), r.began};
    }
    std::map<std::pair<int, std::string>, resource> resources_;
};

}  // namespace rota::sim
