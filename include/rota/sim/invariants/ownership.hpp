// Who owns what: local beliefs never overlap, generations rise, only what is nobody's is taken, nothing is lost.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "../world.hpp"

namespace rota::sim {

/// No schedule is believed in by two nodes at a time, and what a node believes to own the server has as its own.
class one_owner final : public invariant {
public:
    std::string_view name() const override { return "one_owner"; }
    void acted(process const& p) override {
        auto const& b = p.belief();
        bool const lives = p.believes_it_lives();
        auto& last = seen_[p.number()];
        bool const again = lives && !last.lived;
        last.lived = lives;
        if (!group().promises_hold()) {
            last.stamp = ~std::uint64_t{0};
            return;
        }
        auto const stamp = stamp_of(b);
        if (!again && stamp == last.stamp) return;
        last.stamp = stamp;
        if (!lives) return;
        for (auto const& [id, mine] : b.table()) {
            auto const s = group().store().schedule(id);
            if (s && (s->owner != b.incarnation() || s->generation != mine.generation)) {
                fail(fmt::format("{}#{} believes to own {} under {}; the server has {} under {}", p.node_id(),
                                 p.number(), id, mine.generation, s->owner, s->generation));
            }
            for (auto const* other : group().living()) {
                if (other == &p || !other->believes_it_lives() || !other->belief().table().contains(id)) continue;
                fail(fmt::format("{}#{} and {}#{} believe to own {}", p.node_id(), p.number(), other->node_id(),
                                 other->number(), id));
            }
        }
    }

private:
    struct last_seen {
        std::uint64_t stamp = 0;
        bool lived = false;
    };
    static std::uint64_t stamp_of(rota::detail::belief const& b) {
        std::uint64_t stamp = b.incarnation();
        for (auto const& [id, s] : b.table()) stamp += mixed(s.generation);
        return stamp;
    }
    std::map<std::uint32_t, last_seen> seen_;
};

/// Each change of owner mints a generation above all before it; an owner does not change without one.
class generation_rises final : public invariant {
public:
    std::string_view name() const override { return "generation_rises"; }
    void performed(step const& s) override {
        if (!group().promises_hold() || s.server != group().redis().primary() || !s.answer) return;
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
    }
    void fault_ended(fault const& f) override {
        if (!within_promises(f.kind)) known_.clear();
    }
    void looks() override {
        if (!group().promises_hold()) known_.clear();
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

/// Only what has no owner, or one that cannot believe in it any more, is given away by a plan.
class only_expired_orphaned final : public invariant {
public:
    std::string_view name() const override { return "only_expired_orphaned"; }
    void performed(step const& s) override {
        if (!s.answer || s.server != group().redis().primary()) return;
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

private:
    std::map<fencing_token, std::int64_t> life_;
};

/// What is registered and not unregistered is stored, and nothing else.
class nothing_lost final : public invariant {
public:
    std::string_view name() const override { return "nothing_lost"; }
    void performed(step const& s) override {
        if (s.server != group().redis().primary()) return;
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
        if (!seen_.insert(joined.incarnation).second) return;  // a repeat
        auto const n = group().redis().server(s.server).store->node(joined.incarnation);
        if (n && n->load != 0) fail(fmt::format("{} joined, and owns {} schedules", joined.incarnation, n->load));
    }
    void told(process const& p, event const& e) override {
        if (std::holds_alternative<node_joined>(e) && !p.belief().table().empty()) {
            fail(fmt::format("{}#{} joined, and believes to own something", p.node_id(), p.number()));
        }
    }

private:
    std::set<fencing_token> seen_;
};

}  // namespace rota::sim
