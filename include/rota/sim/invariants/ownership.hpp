// Who owns what: local beliefs never overlap, generations rise, only what is nobody's is taken, nothing is lost.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "../world.hpp"

namespace rota::sim {

/// Tells when a node's beliefs may have come to be others than they were: its table changed, or it lives again.
class belief_watch {
public:
    /// Whether what `p` believes to own is to be looked at now.
    bool is_news(process const& p) {
        auto& last = seen_[p.number()];
        auto const& b = p.belief();
        bool const lives = p.believes_it_lives();
        bool const again = lives && (!last.lived || last.until <= p.now());
        std::uint64_t stamp = b.incarnation();
        for (auto const& [id, s] : b.table()) stamp += mixed(s.generation);
        bool const news = lives && (again || stamp != last.stamp);
        last = {stamp, lives, b.alive_until()};
        return news;
    }
    void forget(process const& p) { seen_.erase(p.number()); }

private:
    struct last_seen {
        std::uint64_t stamp = 0;
        bool lived = false;
        instant until{};
    };
    std::map<std::uint32_t, last_seen> seen_;
};

/// What a node believes to own the server has as its own, under that generation.
class one_owner final : public invariant {
public:
    std::string_view name() const override { return "one_owner"; }
    void acted(process const& p) override {
        if (!group().promises_hold()) {
            watch_.forget(p);
            return;
        }
        if (!watch_.is_news(p)) return;
        auto const& b = p.belief();
        for (auto const& [id, mine] : b.table()) {
            auto const s = group().store().schedule(id);
            if (s && (s->owner != b.incarnation() || s->generation != mine.generation) && !may_not_know(id)) {
                fail(fmt::format("{}#{} believes to own {} under {}; the server has {} under {}", p.node_id(),
                                 p.number(), id, mine.generation, s->owner, s->generation));
            }
        }
    }
    void process_ended(process const& p, std::string_view) override { watch_.forget(p); }
    void performed(step const& s) override {
        if (auto* q = std::get_if<op::unregister_schedules>(&s.request); q && s.answer) {
            for (auto const& item : q->items) unregistered_[item.id] = group().now();
        }
    }

private:
    // Unregistered and registered again: whoever had it hears of it while it lives, and nobody else is given it before.
    [[nodiscard]] bool may_not_know(std::string const& id) const {
        auto const u = unregistered_.find(id);
        return u != unregistered_.end() && group().store().schedule(id)->owner == 0 &&
               group().now() - u->second < with_defaults(group().settings().options).node_ttl;
    }
    belief_watch watch_;
    std::map<std::string, moment> unregistered_;
};

/// The times during which nodes believe to own a schedule are disjoint, on true time: whenever one begins to, no other
/// does.
class ownership_disjoint final : public invariant {
public:
    std::string_view name() const override { return "ownership_disjoint"; }
    void acted(process const& p) override {
        if (!group().promises_hold()) {
            watch_.forget(p);
            return;
        }
        if (!watch_.is_news(p)) return;
        for (auto const* other : group().living()) {
            if (other == &p || !other->believes_it_lives()) continue;
            for (auto const& [id, mine] : p.belief().table()) {
                auto const theirs = other->belief().table().find(id);
                if (theirs == other->belief().table().end()) continue;
                fail(fmt::format("{}#{} (generation {}) and {}#{} (generation {}) believe to own {}", p.node_id(),
                                 p.number(), mine.generation, other->node_id(), other->number(),
                                 theirs->second.generation, id));
            }
        }
    }
    void process_ended(process const& p, std::string_view) override { watch_.forget(p); }

private:
    belief_watch watch_;
};

/// Each change of owner mints a generation above all before it; an owner does not change without one.
class generation_rises final : public invariant {
public:
    std::string_view name() const override { return "generation_rises"; }
    void performed(step const& s) override {
        if (s.server != group().servers().primary() || !s.answer) return;
        if (!group().promises_hold()) {
            known_.clear();
            return;
        }
        auto const* r = std::get_if<op::outcomes>(&*s.answer);
        if (!r) return;
        auto each = [&](auto const& items, auto&& id_of) {
            for (auto const& item : items) look_at(id_of(item));
        };
        if (auto* q = std::get_if<op::adopt>(&s.request)) each(q->items, [](auto& i) { return i.id; });
        if (auto* q = std::get_if<op::acknowledge>(&s.request)) each(q->items, [](auto& i) { return i.id; });
        if (auto* q = std::get_if<op::claim>(&s.request)) each(q->ids, [](auto& i) { return i; });
        if (auto* q = std::get_if<op::revoke>(&s.request)) each(q->items, [](auto& i) { return i.id; });
        if (auto* q = std::get_if<op::unregister_schedules>(&s.request)) each(q->items, [](auto& i) { return i.id; });
        if (auto* q = std::get_if<op::mend>(&s.request)) each(q->items, [](auto& i) { return i.id; });
    }
    // A server that nobody asks anything for a while may have lost all of it meanwhile.
    void fault_began(fault const& f) override {
        if (!within_promises(f.kind)) known_.clear();
    }

private:
    void look_at(std::string const& id) {
        auto const s = group().store().schedule(id);
        if (!s) {
            known_.erase(id);
            return;
        }
        auto& before = known_[id];
        if (s->generation < before.generation || (s->owner != before.owner && s->generation == before.generation)) {
            fail(fmt::format("{} went from {} under {} to {} under {}", id, before.owner, before.generation, s->owner,
                             s->generation));
        }
        before = *s;
    }
    std::map<std::string, stored_schedule> known_;
};

/// What names a generation takes effect under that one alone: a plan, an acknowledgement, a lock of yesterday does not.
class stale_generations_refused final : public invariant {
public:
    std::string_view name() const override { return "stale_generations_refused"; }
    void performed(step const& s) override {
        if (s.server != group().servers().primary() || !s.answer) return;
        if (!group().promises_hold()) {
            known_.clear();
            return;
        }
        auto const* r = std::get_if<op::outcomes>(&*s.answer);
        if (!r) return;
        if (auto* q = std::get_if<op::adopt>(&s.request)) each(q->items, *r, "placed");
        if (auto* q = std::get_if<op::acknowledge>(&s.request)) each(q->items, *r, "handed over");
        if (auto* q = std::get_if<op::revoke>(&s.request)) each(q->items, *r, "revoked");
        if (auto* q = std::get_if<op::claim>(&s.request)) {
            for (auto const& id : q->ids) remember(id);
        }
        if (auto* q = std::get_if<op::unregister_schedules>(&s.request)) {
            for (auto const& item : q->items) known_.erase(item.id);
        }
        if (auto* q = std::get_if<op::acquire_locks>(&s.request); q && q->kind == op::lock_kind::schedule) {
            for (std::size_t i = 0; i < q->items.size(); ++i) {
                if (r->items[i].ok()) look_at(q->items[i].name, q->items[i].generation, "locked");
            }
        }
        if (auto* q = std::get_if<op::mend>(&s.request)) {
            for (auto const& item : q->items) remember(item.id);
        }
    }
    void fault_began(fault const& f) override {
        if (!within_promises(f.kind)) known_.clear();
    }

private:
    template <typename Items>
    void each(Items const& items, op::outcomes const& r, char const* what) {
        for (std::size_t i = 0; i < items.size(); ++i) {
            if (r.items[i].ok()) look_at(items[i].id, items[i].generation, what);
        }
        for (auto const& item : items) remember(item.id);
    }
    void look_at(std::string const& id, fencing_token generation, char const* what) {
        auto const before = known_.find(id);
        if (before == known_.end() || before->second == generation) return;
        fail(fmt::format("{} was {} under generation {}; its own was {}", id, what, generation, before->second));
    }
    void remember(std::string const& id) {
        if (auto const s = group().store().schedule(id)) known_[id] = s->generation;
    }
    std::map<std::string, fencing_token> known_;
};

/// Only what has no owner, or one that cannot believe in it any more, is given away by a plan.
class only_expired_orphaned final : public invariant {
public:
    std::string_view name() const override { return "only_expired_orphaned"; }
    void performed(step const& s) override {
        if (!s.answer || s.server != group().servers().primary()) return;
        if (auto* q = std::get_if<op::tick>(&s.request)) {
            if (std::get<op::ticked>(*s.answer).status == op::tick_status::ok) {
                life_[q->incarnation] = s.server_time + q->node_ttl.count();
            }
        } else if (auto* q2 = std::get_if<op::join>(&s.request)) {
            life_[std::get<op::joined>(*s.answer).incarnation] = s.server_time + q2->node_ttl.count();
        } else if (auto* q3 = std::get_if<op::leave>(&s.request)) {
            life_.erase(q3->incarnation);
        } else if (auto* q4 = std::get_if<op::reap>(&s.request)) {
            for (auto const& out : std::get<op::outcomes>(*s.answer).items) {
                if (auto l = life_.find(out.token);
                    l != life_.end() && l->second > s.server_time && group().promises_hold()) {
                    fail(fmt::format("{} was reaped {} before its deadline", out.token,
                                     seconds_in_words(microseconds{l->second - s.server_time})));
                }
            }
            for (auto n : q4->nodes) {
                if (!group().store().node(n)) life_.erase(n);
            }
        } else if (auto* q5 = std::get_if<op::adopt>(&s.request)) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < out.size(); ++i) {
                if (!out[i].ok()) continue;
                auto const l = life_.find(q5->items[i].from);
                if (l != life_.end() && l->second > s.server_time && group().promises_hold()) {
                    fail(fmt::format("{} was taken from {}, which may believe in it for another {}", q5->items[i].id,
                                     l->first, seconds_in_words(microseconds{l->second - s.server_time})));
                }
            }
        }
    }

    void looks() override {
        std::erase_if(life_, [&](auto const& l) { return !group().store().node(l.first); });
    }

private:
    std::map<fencing_token, std::int64_t> life_;
};

/// What is registered and not unregistered is stored, and nothing else.
class nothing_lost final : public invariant {
public:
    std::string_view name() const override { return "nothing_lost"; }
    void performed(step const& s) override {
        if (s.server != group().servers().primary()) return;
        if (s.answer) {
            if (auto* q = std::get_if<op::register_schedules>(&s.request)) {
                for (auto const& item : q->items) there_.insert(item.id);
            } else if (auto* q6 = std::get_if<op::unregister_schedules>(&s.request)) {
                auto const& out = std::get<op::outcomes>(*s.answer).items;
                for (std::size_t i = 0; i < out.size(); ++i) {
                    if (out[i].ok()) there_.erase(q6->items[i].id);
                }
            }
        }
        if (there_.size() != group().store().schedule_count() && group().promises_hold()) compare();
    }
    void looks() override {
        if (group().promises_hold()) {
            compare();
        } else {
            there_.clear();
            for (auto const& [id, s] : group().store().schedules()) there_.insert(id);
        }
    }

private:
    void compare() {
        std::set<std::string> stored;
        for (auto const& [id, s] : group().store().schedules()) stored.insert(id);
        for (auto const& id : there_) {
            if (!stored.contains(id)) fail(id + " is registered, and the server does not have it");
        }
        for (auto const& id : stored) {
            if (!there_.contains(id)) fail("the server has " + id + ", which nobody registered");
        }
    }
    std::set<std::string> there_;
};

/// A new incarnation owns nothing.
class restart_inherits_nothing final : public invariant {
public:
    std::string_view name() const override { return "restart_inherits_nothing"; }
    void performed(step const& s) override {
        if (!s.answer || !std::holds_alternative<op::join>(s.request)) return;
        auto const& joined = std::get<op::joined>(*s.answer);
        if (joined.incarnation <= highest_) return;  // a repeat
        highest_ = joined.incarnation;
        auto const n = group().servers().server(s.server).store->node(joined.incarnation);
        if (n && n->load != 0) fail(fmt::format("{} joined, and owns {} schedules", joined.incarnation, n->load));
    }
    void told(process const& p, event const& e) override {
        if (std::holds_alternative<node_joined>(e) && !p.belief().table().empty()) {
            fail(fmt::format("{}#{} joined, and believes to own something", p.node_id(), p.number()));
        }
    }

private:
    fencing_token highest_ = 0;
};

/// A node that is fenced or suspended begins nothing. The server grants nothing to an incarnation that
/// is not live.
class fenced_do_nothing final : public invariant {
public:
    std::string_view name() const override { return "fenced_do_nothing"; }
    void run_began(process const& p, run const& r) override { look(p, r, "begins"); }
    void performed(step const& s) override {
        if (!s.answer) return;
        if (auto* q = std::get_if<op::acquire_locks>(&s.request)) look(s, q->incarnation, "locked something");
        if (auto* q = std::get_if<op::extend_locks>(&s.request)) look(s, q->incarnation, "extended a lock");
        if (auto* q = std::get_if<op::claim>(&s.request)) look(s, q->incarnation, "claimed something");
        if (auto* q = std::get_if<op::acknowledge>(&s.request)) look(s, q->incarnation, "handed something over");
    }

private:
    void look(step const& s, fencing_token incarnation, char const* did) {
        auto const n = group().servers().server(s.server).store->node(incarnation);
        if (!n || !n->live) fail(fmt::format("{} {}, and is no member", incarnation, did));
    }
    void look(process const& p, run const& r, char const* does) {
        if (p.machine().state() == standing::fenced) {
            fail(fmt::format("{}#{} {} {} and is fenced", p.node_id(), p.number(), does, r.name));
        }
        if (!p.believes_it_lives()) {
            fail(fmt::format("{}#{} {} {} while suspended", p.node_id(), p.number(), does, r.name));
        }
    }
};

}  // namespace rota::sim
