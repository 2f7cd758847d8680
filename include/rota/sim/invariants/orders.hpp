// What leaders' plans heed: standing orders, the rules of schedules, and that they know all of what they plan for.
//
// A leader is held to what it knew as it asked: up to which event of the group's log it had read (process::knew). That it
// does not stay behind is the business of others (pictures_are_true, even_in_time).
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "../world.hpp"
#include "liveness.hpp"

namespace rota::sim {

/// A step of a leader's own plan that took effect, and what it knew.
class plan_invariant : public invariant {
public:
    void performed(step const& s) override {
        if (!s.answer || s.server != group().servers().primary()) return;
        happened(s);
        if (s.process == no_process || !group().promises_hold()) return;
        auto const& knew = group().processes()[s.process]->knew();
        if (knew.epoch != group().store().epoch()) return;
        auto each = [&](auto const& items, bool moves) {
            auto const& out = std::get<op::outcomes>(*s.answer).items;
            for (std::size_t i = 0; i < items.size(); ++i) {
                bool const of_plan = items[i].reason != change_reason::transferred;  // else it is its user's wish
                if (of_plan && out[i].ok()) took_effect(items[i].id, items[i].to, items[i].reason, moves, knew);
            }
        };
        if (auto* q = std::get_if<op::adopt>(&s.request)) each(q->items, false);
        if (auto* q = std::get_if<op::revoke>(&s.request); q && q->term != 0) each(q->items, true);
    }

protected:
    virtual void happened(step const&) {}
    virtual void took_effect(std::string const& id, fencing_token to, change_reason why, bool moves,
                             process::knowledge const& knew) = 0;
};

/// A leader that has not read all of who owns what moves nothing.
class whole_pictures_move final : public plan_invariant {
public:
    std::string_view name() const override { return "whole_pictures_move"; }

protected:
    void took_effect(std::string const& id, fencing_token to, change_reason, bool moves,
                     process::knowledge const& knew) override {
        if (moves && !knew.complete) {
            fail(fmt::format("{} was moved to {} by a leader that had not read who owns what", id, to));
        }
    }
};

/// While the group is maintained, nothing is moved between live nodes.
class maintenance_kept final : public plan_invariant {
public:
    std::string_view name() const override { return "maintenance_kept"; }

protected:
    void happened(step const& s) override {
        if (!std::holds_alternative<op::give_order>(s.request)) return;
        if (!group().store().maintenance()) {
            since_ = 0;
        } else if (since_ == 0) {
            since_ = group().store().seq();
        }
    }
    void took_effect(std::string const& id, fencing_token to, change_reason, bool moves,
                     process::knowledge const& knew) override {
        if (!moves || !group().store().maintenance() || since_ == 0 || knew.cursor < since_) return;
        fail(fmt::format("{} was moved to {}, although the group is being maintained", id, to));
    }

private:
    std::uint64_t since_ = 0;
};

/// A node that is drained is given nothing; and once things are calm it ends empty, if the others have room.
class drained_end_empty final : public plan_invariant {
public:
    std::string_view name() const override { return "drained_end_empty"; }
    void begin() override { bound_ = time_to_move(group()); }
    void looks() override {
        auto const calm = group().now() - group().calm_since();
        if (calm <= bound_ || !group().promises_hold() || group().store().maintenance()) return;
        std::uint64_t room = 0, there = 0;
        std::string held;
        bool healthy = false;
        for (std::uint32_t i = 0; i < group().size(); ++i) healthy = healthy || group().is_healthy(i);
        for (auto const& [incarnation, n] : group().store().nodes()) {
            if (!n.live) continue;
            if (group().store().is_drained(n.id)) {
                if (n.load > 0) held = fmt::format("{} still has {} schedules", n.id, n.load);
                there += n.load;
            } else {
                room += n.capacity > n.load + n.pending ? n.capacity - n.load - n.pending : 0;
            }
        }
        if (!healthy || held.empty() || room < there || has_rules()) return;
        fail(fmt::format("nothing went wrong for {}, and {}, which is to end empty", seconds_in_words(calm), held));
    }

protected:
    void happened(step const& s) override {
        if (!std::holds_alternative<op::give_order>(s.request)) return;
        std::map<std::string, std::uint64_t, std::less<>> now;
        for (auto const& id : group().store().drained()) {
            auto const known = since_.find(id);
            now[id] = known == since_.end() ? group().store().seq() : known->second;
        }
        since_ = std::move(now);
    }
    void took_effect(std::string const& id, fencing_token to, change_reason, bool,
                     process::knowledge const& knew) override {
        auto const n = group().store().node(to);
        if (!n || !group().store().is_drained(n->id)) return;
        auto const since = since_.find(n->id);
        if (since == since_.end() || knew.cursor < since->second) return;
        fail(fmt::format("{} was given to {}, which is to end empty", id, n->id));
    }

private:
    // They may stand against it, where they are heeded.
    [[nodiscard]] bool has_rules() const {
        if (!group().habits().heeds_rules) return false;
        auto const all = group().store().schedules();
        return std::any_of(all.begin(), all.end(), [](auto const& s) { return !s.second.traits.empty(); });
    }
    microseconds bound_{};
    std::map<std::string, std::uint64_t, std::less<>> since_;  // the event from which on it is so
};

/// What a plan places or moves goes where the rules of the schedule allow it. For strategies that heed them.
class rules_kept final : public plan_invariant {
public:
    std::string_view name() const override { return "rules_kept"; }
    [[nodiscard]] std::string lacks() const override {
        return group().habits().heeds_rules ? "" : "the strategy heeds no rules, or is not said to (strategy_habits)";
    }

protected:
    void happened(step const& s) override {
        auto const seq = group().store().seq();
        auto each = [&](auto const& items) {
            for (auto const& item : items) changed_[item.id] = seq;
        };
        if (auto* q = std::get_if<op::update_schedules>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::register_schedules>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::adopt>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::revoke>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::acknowledge>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::claim>(&s.request)) {
            for (auto const& id : q->ids) changed_[id] = seq;
        }
        if (auto* q = std::get_if<op::describe_node>(&s.request)) described_[q->incarnation] = seq;
        if (auto* q = std::get_if<op::update_schedules>(&s.request)) {
            for (auto const& item : q->items) ruled_[item.id] = seq;
        }
    }
    void took_effect(std::string const& id, fencing_token to, change_reason, bool,
                     process::knowledge const& knew) override {
        auto const& store = group().store();
        auto const s = store.schedule(id);
        auto const n = store.node(to);
        if (!s || !n || s->traits.empty() || ruled_[id] > knew.cursor || described_[to] > knew.cursor) return;
        auto const rules = rules_of(s->traits);
        auto const labels = attributes_of(n->traits).labels;
        auto const has = [&](std::string const& label) {
            return std::find(labels.begin(), labels.end(), label) != labels.end();
        };
        bool const allowed = (rules.pin.empty() || rules.pin == n->id) &&
                             std::all_of(rules.required.begin(), rules.required.end(), has) &&
                             std::none_of(rules.forbidden.begin(), rules.forbidden.end(), has);
        if (!allowed) fail(fmt::format("{} ({}) was given to {} ({})", id, s->traits, n->id, n->traits));
        if (rules.group.empty()) return;
        for (auto const& [other, o] : store.schedules()) {
            bool const there = (o.moving_to != 0 ? o.moving_to : o.owner) == to;
            if (other == id || !there || changed_[other] > knew.cursor) continue;
            if (rules_of(o.traits).group != rules.group) continue;
            fail(fmt::format("{} was given to {}, which has {} of the same group", id, n->id, other));
        }
    }

private:
    // The latest event that concerns a schedule at all, its rules, a node.
    std::map<std::string, std::uint64_t> changed_, ruled_;
    std::map<fencing_token, std::uint64_t> described_;
};

/// A plan that names the state that it was made for takes effect in that state alone.
class plans_fit_their_state final : public invariant {
public:
    std::string_view name() const override { return "plans_fit_their_state"; }
    void performed(step const& s) override {
        if (s.server != group().servers().primary()) return;
        auto const before = std::exchange(seq_, group().store().seq());
        if (!s.answer || !group().promises_hold()) return;
        auto const* placing = std::get_if<op::adopt>(&s.request);
        auto const* moving = std::get_if<op::revoke>(&s.request);
        auto const as_of = placing ? placing->as_of : moving ? moving->as_of : 0;
        if (as_of == 0 || as_of == before) return;
        fail(fmt::format("a plan for the group as of event {} took effect after event {}", as_of, before));
    }

private:
    std::uint64_t seq_ = 0;
};

}  // namespace rota::sim
