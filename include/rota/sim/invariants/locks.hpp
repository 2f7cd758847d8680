// Locks and runs: one valid handle at a time, tokens that rise, no run begun by a node that may not.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../world.hpp"

namespace rota::sim {

/// Which lock: of which kind, by which name.
using lock_key = std::pair<op::lock_kind, std::string>;

/// A lock that somebody got: by a request for it, or with its schedule.
struct lock_grant {
    lock_key key;
    op::outcome out;
    fencing_token holder = 0;
    std::uint64_t nonce = 0;
    microseconds ttl{};                  // as it was asked for
    std::int64_t until = 0;              // as it was answered
    std::uint32_t process = no_process;  // if by a request
};
/// Those of a step.
[[nodiscard]] inline std::vector<lock_grant> locks_granted(step const& s) {
    std::vector<lock_grant> all;
    if (!s.answer) return all;
    if (auto const* q = std::get_if<op::acquire_locks>(&s.request)) {
        auto const& out = std::get<op::outcomes>(*s.answer).items;
        for (std::size_t i = 0; i < out.size(); ++i) {
            if (!out[i].ok()) continue;
            all.push_back({{q->kind, q->items[i].name},
                           out[i],
                           q->incarnation,
                           q->nonce,
                           q->ttl,
                           s.server_time + out[i].remaining.count(),
                           s.process});
        }
    } else if (auto const* q2 = std::get_if<op::acknowledge>(&s.request); q2 && q2->lock_ttl > microseconds{}) {
        auto const& out = std::get<op::outcomes>(*s.answer).items;
        if (out.size() != 1 || !out[0].ok()) return all;
        auto const& item = q2->items[0];
        all.push_back({{op::lock_kind::schedule, item.id},
                       out[0],
                       item.to,
                       0,
                       q2->lock_ttl,
                       s.server_time + q2->lock_ttl.count()});
    }
    return all;
}

/// What looks at runs has nothing to see where none are.
class run_invariant : public invariant {
public:
    [[nodiscard]] std::string lacks() const override {
        return group().has_work() ? "" : "there are no runs to look at: set world_settings::work, or use_work";
    }
};

/// At most one handle of a lock is valid at any moment.
class locks_exclusive final : public run_invariant {
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
        if (s.server != group().servers().primary()) return;
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
        for (auto const& g : locks_granted(s)) {
            auto& last = highest_[g.key.first == op::lock_kind::schedule ? 0 : 1][g.key.second];
            bool const repeat = g.out.token == last.first && g.nonce == last.second;
            if (!repeat && g.out.token <= last.first) {
                fail(
                    fmt::format("{} was granted under {}, and before under {}", g.key.second, g.out.token, last.first));
            }
            last = {g.out.token, g.nonce};
        }
    }
    // A server that nobody asks anything for a while may have lost all of it meanwhile.
    void fault_began(fault const& f) override {
        if (!within_promises(f.kind)) fence_ = term_ = 0;
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
        if (!s.answer || s.server != group().servers().primary()) return;
        if (!group().promises_hold()) {
            known_.clear();
            all_known_ = false;
            return;
        }
        if (auto* q = std::get_if<op::acquire_locks>(&s.request)) {
            for (auto const& item : q->items) remember({q->kind, item.name});
        } else if (auto* q4 = std::get_if<op::acknowledge>(&s.request)) {
            for (auto const& item : q4->items) remember({op::lock_kind::schedule, item.id});
        } else if (auto* q2 = std::get_if<op::extend_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                look_at(s, {q2->kind, q2->items[i].name}, q2->items[i].token, out[i].ok(), "extended");
            }
        } else if (auto* q3 = std::get_if<op::release_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                look_at(s, {q3->kind, q3->items[i].name}, q3->items[i].token, out[i].ok(), "released");
            }
        }
    }

private:
    void look_at(step const& s, lock_key const& key, fencing_token token, bool done, char const* what) {
        auto const k = known_.find(key);
        if (k != known_.end() || all_known_) {
            auto const before = k == known_.end() ? stored_lock{} : k->second;
            bool const held = before.token == token && token != 0 && before.deadline > s.server_time;
            if (done && !held) {
                fail(fmt::format("the lock of {} was {} under {}, which does not hold it", key.second, what, token));
            }
            auto const now = stored(key);
            bool const same = before.token == now.token && before.deadline == now.deadline;
            if (!same && !held) {
                fail(fmt::format("who is refused to have the lock of {} {} under {} changed it", key.second, what,
                                 token));
            }
        }
        remember(key);
    }
    stored_lock stored(lock_key const& key) const {
        return group().store().lock(key.first, key.second).value_or(stored_lock{});
    }
    void remember(lock_key const& key) { known_[key] = stored(key); }

    std::map<lock_key, stored_lock> known_;  // as it was left; token 0: free
    bool all_known_ = true;                  // what is not in there is free
};

/// A lock that was released is not extended any more, by whatever comes late.
class no_extend_after_release final : public invariant {
public:
    std::string_view name() const override { return "no_extend_after_release"; }
    void performed(step const& s) override {
        if (!s.answer || s.server != group().servers().primary()) return;
        if (!group().promises_hold()) return released_.clear();
        if (auto* q = std::get_if<op::release_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                auto& last = released_[{q->kind, q->items[i].name}];
                if (out[i].ok()) last = std::max(last, q->items[i].token);
            }
        } else if (auto* q2 = std::get_if<op::extend_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                auto const r = released_.find({q2->kind, q2->items[i].name});
                if (!out[i].ok() || r == released_.end() || r->second < q2->items[i].token) continue;
                fail(
                    fmt::format("{} was extended under {}, which was released", q2->items[i].name, q2->items[i].token));
            }
        }
    }

private:
    std::map<lock_key, fencing_token> released_;
};

/// An acquire whose answer did not come has no effect but to keep others out for its ttl: nobody gets a handle by it, and
/// it is not extended. A handle is made of a grant to that very process.
class unanswered_acquire_harmless final : public invariant {
public:
    std::string_view name() const override { return "unanswered_acquire_harmless"; }
    void performed(step const& s) override {
        if (!s.answer || s.server != group().servers().primary()) return;
        if (!group().promises_hold()) {
            granted_.clear();
            all_known_ = false;
            return;
        }
        for (auto const& got : locks_granted(s)) {
            auto& g = granted_[got.key];
            if (g.token != got.out.token) g = {got.out.token, got.holder, got.process, false};
        }
        if (auto* q2 = std::get_if<op::extend_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                auto const g = granted_.find({q2->kind, q2->items[i].name});
                if (!out[i].ok() || g == granted_.end() || g->second.token != q2->items[i].token) continue;
                if (!g->second.taken) {
                    fail(fmt::format("{} is extended under {}, of which nobody has a handle", q2->items[i].name,
                                     q2->items[i].token));
                }
            }
        }
    }
    void lock_taken(process const& p, run const& r) override {
        if (!group().promises_hold()) return;
        auto const g = granted_.find({r.kind, r.name});
        if (g == granted_.end() || g->second.token != r.token) {
            // A later grant is possible only once this one has ended: then the handle is not valid any more.
            if (!all_known_ || !p.is_valid(r)) return;
            fail(fmt::format("{}#{} has a handle of {} under {}, which was not granted", p.node_id(), p.number(),
                             r.name, r.token));
        }
        if (g->second.process == no_process ? g->second.holder != r.incarnation : g->second.process != p.number()) {
            fail(fmt::format("{}#{} has a handle of {} under {}, which was granted to process {}", p.node_id(),
                             p.number(), r.name, r.token, g->second.process));
        }
        g->second.taken = true;
    }

private:
    struct grant {
        fencing_token token = 0;
        fencing_token holder = 0;
        std::uint32_t process = no_process;
        bool taken = false;
    };
    std::map<lock_key, grant> granted_;  // the latest of each lock
    bool all_known_ = true;
};

/// A lock is free at the latest when the ttl is over that its last grant or extension asked for, whatever became of its
/// holder, and of the answer.
class locks_end_by_ttl final : public invariant {
public:
    std::string_view name() const override { return "locks_end_by_ttl"; }
    void performed(step const& s) override {
        if (!s.answer || s.server != group().servers().primary()) return;
        if (!group().promises_hold()) return until_.clear();
        for (auto const& g : locks_granted(s)) {
            auto& u = until_[g.key];
            if (u.first != g.out.token) u = {g.out.token, s.server_time + g.ttl.count()};
        }
        if (auto* q = std::get_if<op::acquire_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                if (out[i].code != errc::locked_by_other) continue;
                lock_key const key{q->kind, q->items[i].name};
                auto const u = until_.find(key);
                if (u == until_.end() || u->second.second >= s.server_time + out[i].remaining.count()) continue;
                fail(fmt::format(
                    "{} is said to be locked for another {}; its ttl is over {} before", key.second,
                    seconds_in_words(out[i].remaining),
                    seconds_in_words(microseconds{s.server_time + out[i].remaining.count() - u->second.second})));
            }
        } else if (auto* q2 = std::get_if<op::extend_locks>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                auto const u = until_.find({q2->kind, q2->items[i].name});
                if (!out[i].ok() || u == until_.end()) continue;
                u->second.second = std::max(u->second.second, s.server_time + q2->ttl.count());
            }
        }
    }

private:
    std::map<lock_key, std::pair<fencing_token, std::int64_t>> until_;
};

/// No run is begun by a node that does not hold the lock and own the schedule at that moment, nor by one that is fenced
/// or suspended; and when runs overlap in time, the later has the higher token, and the earlier has no right any more.
class no_double_run final : public run_invariant {
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

/// A resource that rejects tokens lower than the highest it has seen is never touched by two runs under one token: holds
/// whatever happens to clocks and servers. (Servers that have lost sight of each other, or of what they knew, may come to
/// mint the same number: tokens are compared where the state that minted them is the same.)
class effects_safe final : public run_invariant {
public:
    std::string_view name() const override { return "effects_safe"; }
    void run_began(process const& p, run const& r) override { effect(p, r); }
    void run_worked(process const& p, run const& r) override { effect(p, r); }

private:
    struct resource {
        fencing_token highest = 0;
        std::uint32_t server = 0;
        fencing_token epoch = 0;
        std::uint32_t by = no_process;
        moment began{};
    };
    void effect(process const& p, run const& r) {
        auto& it = resources_[{r.kind, r.name}];
        if (r.token < it.highest) return;  // rejected
        bool const same_source = r.server == it.server && r.epoch == it.epoch;
        if (r.token == it.highest && same_source && (it.by != p.number() || it.began != r.began)) {
            fail(fmt::format("token {} of {} is that of two runs, by {}#{} and by process {}", r.token, r.name,
                             p.node_id(), p.number(), it.by));
        }
        it = {r.token, r.server, r.epoch, p.number(), r.began};
    }
    std::map<lock_key, resource> resources_;
};

/// The user's handler stops when it is asked to: a run whose lock is not valid any more does not go on for longer than it
/// takes to look (a quarter of the lock's ttl). One that works for longer than that in one step cannot be asked in time,
/// and is named too. This is about the program, not about rota.
class handlers_stop final : public run_invariant {
public:
    std::string_view name() const override { return "handlers_stop"; }
    void run_worked(process const& p, run const& r) override {
        if (!r.asked_to_stop) return;
        auto const since = group().now() - *r.asked_to_stop;
        if (since <= p.work().lock_ttl / 4) return;
        fail(fmt::format("the handler of {}#{} goes on with {} under {}, {} after it was asked to stop", p.node_id(),
                         p.number(), r.name, r.token, seconds_in_words(since)));
    }
};

}  // namespace rota::sim
