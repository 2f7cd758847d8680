// How soon a group comes right: bounds in numbers, from the moment on at which nothing more goes wrong. What goes wrong with
// some nodes for ever (cut off one way, paused, down) is no excuse: the others must do without them.
#pragma once

#include <algorithm>
#include <map>
#include <string>

#include "../world.hpp"
#include "plans.hpp"

namespace rota::sim {

/// The times that the bounds are made of, as nodes and links of a world have them.
struct time_scales {
    microseconds lease{};
    microseconds node_ttl{};
    microseconds round_trip{};  ///< there and back, at the slowest
    /// For a request that was lost to time out, for the next try, and for a silent group to report.
    microseconds retry{};

    static time_scales of(world const& w) {
        time_scales t;
        t.round_trip = 2 * w.settings().network.most_delay;
        for (std::uint32_t i = 0; i < w.size(); ++i) {
            auto const o = with_defaults(w.options_of(i));
            t.lease = std::max(t.lease, o.leader_lease);
            t.node_ttl = std::max(t.node_ttl, o.node_ttl);
            t.retry = std::max(t.retry, o.operation_timeout + o.heartbeat_interval / 2 + o.heartbeat_interval);
        }
        return t;
    }
};

/// How long it takes at most, once things are calm, until what is to move has moved: first every schedule is owned, then
/// the runs in hand are over.
[[nodiscard]] inline microseconds time_to_move(world const& w) {
    auto const t = time_scales::of(w);
    auto const& work = w.settings().work;
    auto const runs = w.has_work() ? work.most + 2 * work.lock_ttl : microseconds{};
    return std::max(t.node_ttl, t.lease) + 2 * t.retry + 24 * t.round_trip + runs + w.habits().waits + w.habits().takes;
}

/// Once things are calm, some node leads within the lease, a retry and a few round trips; and then it stays.
class leader_in_time final : public invariant {
public:
    std::string_view name() const override { return "leader_in_time"; }
    void begin() override {
        auto const t = time_scales::of(group());
        bound_ = t.lease + t.retry + 8 * t.round_trip;
    }
    void looks() override {
        auto const calm = group().now() - group().calm_since();
        if (calm <= bound_ || !group().promises_hold()) {
            term_ = 0;
            return;
        }
        bool healthy = false;
        bool leads = false;
        for (auto const* p : group().living()) {  // one that was replaced and has not heard of it may still lead
            if (!group().is_healthy(p->slot())) continue;
            healthy = true;
            leads = leads || p->believes_it_leads();
        }
        if (!healthy) return;
        if (!leads) fail(fmt::format("nothing went wrong for {}, and nobody leads", seconds_in_words(calm)));
        auto const term = group().store().leader().term;
        if (term_ != 0 && term_ != term) {
            fail(fmt::format("the leader of term {} was replaced, in term {}, although nothing went wrong", term_,
                             term));
        }
        term_ = term;
    }

private:
    microseconds bound_{};
    fencing_token term_ = 0;
};

/// Once things are calm, every schedule that there is room for is owned by a healthy node, which knows it, within the
/// longer of node_ttl and lease, a retry and a few round trips.
class owned_in_time final : public invariant {
public:
    std::string_view name() const override { return "owned_in_time"; }
    void begin() override {
        auto const t = time_scales::of(group());
        bound_ = std::max(t.node_ttl, t.lease) + t.retry + 16 * t.round_trip + group().habits().waits;
    }
    void looks() override {
        auto const calm = group().now() - group().calm_since();
        if (calm <= bound_ || !group().promises_hold()) {
            nobodys_.clear();
            return;
        }
        std::map<fencing_token, process const*> healthy;
        std::uint64_t room = 0;
        for (std::uint32_t i = 0; i < group().size(); ++i) {
            if (!group().is_healthy(i)) continue;
            auto const* p = group().process_at(i);
            healthy[p->belief().incarnation()] = p;
            auto const n = group().store().node(p->belief().incarnation());
            if (n) room += group().store().is_drained(n->id) ? n->load : n->capacity;
        }
        if (healthy.empty() || room < group().store().schedule_count()) return;
        for (auto const& [id, s] : group().store().schedules()) {
            auto const p = healthy.find(s.owner);
            bool const known = p != healthy.end() && p->second->believes_it_lives() &&
                               (p->second->belief().table().contains(id) || s.moving_to != 0);
            bool const homeless = group().habits().heeds_rules && !s.traits.empty();  // or so it may be
            if (known || homeless) {
                nobodys_.erase(id);
                continue;
            }
            // It may have been granted just now: then its owner hears of it within a round trip.
            auto const since = nobodys_.try_emplace(id, group().now()).first->second;
            if (group().now() == since) continue;
            fail(fmt::format("nothing went wrong for {}, and {} is nobody's (stored: {} under {})",
                             seconds_in_words(calm), id, s.owner, s.generation));
        }
    }

private:
    microseconds bound_{};
    std::map<std::string, moment> nobodys_;
};

/// Once things are calm, the spread of the loads is within options::rebalance_threshold, as soon as every schedule is
/// owned and the runs in hand are over. For strategies that even out counts, as least_moves does.
class even_in_time final : public invariant {
public:
    std::string_view name() const override { return "even_in_time"; }
    void begin() override { bound_ = time_to_move(group()); }
    void looks() override {
        auto const calm = group().now() - group().calm_since();
        auto const& o = group().settings().options;
        if (calm <= bound_ || !group().promises_hold() || !o.auto_rebalance || group().store().maintenance()) return;
        bool healthy = false;
        for (std::uint32_t i = 0; i < group().size(); ++i) healthy = healthy || group().is_healthy(i);
        if (!healthy || (seq_ == group().store().seq() && even_)) return;
        auto const picture = load_picture::of(group().store());
        seq_ = group().store().seq();
        even_ = picture.least_moves() == 0 ||
                static_cast<double>(picture.farthest()) <= o.rebalance_threshold * picture.mean();
        if (even_) return;
        std::string loads;
        for (auto const& n : picture.nodes) loads += fmt::format(" {}", n.load);
        fail(fmt::format("nothing went wrong for {}, and the loads are{}", seconds_in_words(calm), loads));
    }

private:
    microseconds bound_{};
    std::uint64_t seq_ = 0;
    bool even_ = false;
};

/// After a graceful leave its schedules have new owners within a few round trips: nobody waits for a ttl. Where meanwhile
/// something else goes wrong, nothing is asked.
class leave_without_gap final : public invariant {
public:
    std::string_view name() const override { return "leave_without_gap"; }
    void begin() override {
        auto const t = time_scales::of(group());
        // A new leader first reads the group: a page per member.
        bound_ = (16 + 2 * group().size()) * t.round_trip + std::chrono::milliseconds{10};
        calm_before_ = std::max(t.node_ttl, t.lease) + t.retry;
    }
    void fault_began(fault const& f) override {
        bool const alone = f.kind == fault_kind::leave && group().now() - left_at_ > 2 * bound_;
        if (f.kind == fault_kind::leave) left_at_ = group().now();
        if (!alone) disturbed_ = group().now();
    }
    void fault_ended(fault const&) override { disturbed_ = group().now(); }
    void performed(step const& s) override {
        if (s.server != group().servers().primary()) return;
        if (auto* q = std::get_if<op::leave>(&s.request); q && s.answer) {
            begin_to_wait(q->incarnation);
        } else if (auto* q2 = std::get_if<op::adopt>(&s.request); q2 && s.answer && !left_.empty()) {
            for (auto const& item : q2->items) {
                auto const l = left_.find(item.id);
                if (l == left_.end()) continue;
                if (auto const now = group().store().schedule(item.id); !now || now->owner == l->second.from) continue;
                judge(item.id, l->second);
                left_.erase(item.id);
            }
        } else if (auto* q3 = std::get_if<op::unregister_schedules>(&s.request); q3 && !left_.empty()) {
            for (auto const& item : q3->items) left_.erase(item.id);
        }
    }
    void looks() override {
        for (auto const& [id, l] : left_) {
            if (group().now() - l.at > bound_) judge(id, l);
        }
        std::erase_if(left_, [&](auto const& l) { return !is_fair(l.second); });
    }

private:
    struct leaving {
        moment at{};
        fencing_token from = 0;
    };
    [[nodiscard]] bool is_fair(leaving const& l) const { return group().promises_hold() && disturbed_ <= l.at; }
    void begin_to_wait(fencing_token incarnation) {
        // Somebody must be there to take over, as ever: a leader, or candidates; and all in good health for a while.
        std::uint32_t others = 0;
        for (auto const* p : group().living()) {
            if (p->belief().incarnation() == incarnation || p->belief().incarnation() == 0) continue;
            bool const fit =
                group().is_healthy(p->slot()) && p->believes_it_lives() && p->machine().state() == standing::member;
            if (!fit) return;
            ++others;
        }
        std::uint64_t room = 0;
        for (auto const& [other, n] : group().store().nodes()) {
            if (n.live && other != incarnation && !group().store().is_drained(n.id)) room += n.capacity;
        }
        if (room < group().store().schedule_count()) return;  // not all of them have a place
        if (group().calm_since() == group().now()) return;    // the server is not well
        if (group().habits().waits > microseconds{}) return;
        if (others == 0 || !group().promises_hold() || group().now() - disturbed_ < calm_before_) return;
        for (auto const& [id, s] : group().store().schedules()) {
            bool const homeless = group().habits().heeds_rules && !s.traits.empty();  // or so it may be
            if (s.owner == incarnation && !homeless) left_[id] = {group().now(), incarnation};
        }
    }
    void judge(std::string const& id, leaving const& l) {
        auto const took = group().now() - l.at;
        if (took <= bound_ || !is_fair(l)) return;
        fail(fmt::format("{} left, and {} had no owner for {}", l.from, id, seconds_in_words(took)));
    }
    microseconds bound_{};
    microseconds calm_before_{};
    moment disturbed_{};
    moment left_at_{std::chrono::hours{-1}};
    std::map<std::string, leaving> left_;
};

}  // namespace rota::sim
