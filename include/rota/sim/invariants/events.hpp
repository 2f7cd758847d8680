// What a subscriber is told: in order, without duplicates, and such that folding it gives the state.
#pragma once

#include <map>
#include <string>

#include "../world.hpp"

namespace rota::sim {

/// With event_scope::own: the ownership that a node tells of, folded, is what it believes to own (what it has given up
/// and not yet told of excepted), each gain and loss told once.
class own_events_fold_to_state final : public invariant {
public:
    std::string_view name() const override { return "own_events_fold_to_state"; }
    void told(process const& p, event const& e) override {
        auto const* change = std::get_if<ownership_changed>(&e);
        if (!change || p.machine().settings().event_scope != event_scope::own) return;
        auto& mine = owned_[p.number()];
        bool const lost = change->from.id == p.node_id() && change->from.incarnation != 0;
        bool const gained = change->to.id == p.node_id() && change->to.incarnation != 0;
        if (lost && mine.erase(change->schedule) == 0 && !gained) {
            fail(fmt::format("{}#{} tells that it lost {}, which it had not told to own", p.node_id(), p.number(),
                             change->schedule));
        }
        if (gained) {
            auto const [at, fresh] = mine.try_emplace(change->schedule, change->generation);
            if (!fresh && at->second >= change->generation && change->reason != change_reason::resynced) {
                fail(fmt::format("{}#{} tells twice that it owns {} under {}", p.node_id(), p.number(),
                                 change->schedule, change->generation));
            }
            at->second = change->generation;
        }
    }
    void looks() override {
        for (auto const* p : group().living()) {
            if (p->machine().settings().event_scope != event_scope::own) continue;
            auto const& mine = owned_[p->number()];
            for (auto const& [id, s] : p->belief().table()) {
                if (!missing_.empty()) missing_.erase({p->number(), id});
                auto const t = mine.find(id);
                if (t == mine.end() || t->second != s.generation) {
                    fail(fmt::format("{}#{} owns {} under {}, and has not told", p->node_id(), p->number(), id,
                                     s.generation));
                }
            }
            if (mine.size() > p->belief().table().size() && group().store().node(p->belief().incarnation())) {
                for (auto const& [id, generation] : mine) {
                    if (p->belief().table().contains(id)) continue;
                    // Given up, and the acknowledgement not yet answered? Then it was this node's a moment ago.
                    auto& since = missing_[{p->number(), id}];
                    if (since.first != generation) since = {generation, group().now()};
                    if (group().now() - since.second > std::chrono::seconds{60}) {
                        fail(fmt::format("{}#{} does not own {} any more, and has not told for a minute", p->node_id(),
                                         p->number(), id));
                    }
                }
            }
        }
    }
    void process_ended(process const& p, std::string_view) override {
        owned_.erase(p.number());
        std::erase_if(missing_, [&](auto const& m) { return m.first.first == p.number(); });
    }

private:
    std::map<std::uint32_t, std::map<std::string, fencing_token>> owned_;
    std::map<std::pair<std::uint32_t, std::string>, std::pair<fencing_token, moment>> missing_;
};

/// With event_scope::group: what a node tells of members, schedules and owners comes in one order, that of the server's
/// tokens, nothing twice; what could not be had one by one is announced as a gap; and folded it is the group's picture.
class group_events_fold_to_state final : public invariant {
public:
    std::string_view name() const override { return "group_events_fold_to_state"; }
    [[nodiscard]] std::string lacks() const override {
        return group().has_group_subscribers() ? "" : "no node has event_scope::group";
    }
    void told(process const& p, event const& e) override {
        if (p.machine().settings().event_scope != event_scope::group) return;
        auto& s = subscribers_[p.number()];
        if (std::holds_alternative<events_gap>(e)) {
            s.in_gap = true;
        } else if (auto const* lost = std::get_if<node_lost>(&e)) {
            if (lost->data_lost) s = {};  // another state of the server: all begins anew
        } else if (auto const* c = std::get_if<schedule_changed>(&e); c && s.begun) {
            bool const changed =
                c->registered ? s.schedules.try_emplace(c->schedule).second : s.schedules.erase(c->schedule) > 0;
            // (Else it was gone from the server when its first picture was looked at, or was damaged as that was read.)
            if (!changed && s.whole && group().promises_hold()) {
                fail(fmt::format("{}#{} tells twice that {} is {}registered", p.node_id(), p.number(), c->schedule,
                                 c->registered ? "" : "un"));
            }
        } else if (auto const* o = std::get_if<ownership_changed>(&e);
                   o && (o->generation != 0 || o->reason == change_reason::resynced)) {
            owner_changed(p, s, *o);  // 0: registered anew during the gap
        }
    }
    void acted(process const& p) override {
        if (p.machine().settings().event_scope != event_scope::group) return;
        auto& s = subscribers_[p.number()];
        if (s.begun || !p.machine().picture_is_current()) return;
        // What a first snapshot shows is not told.
        s.begun = true;
        for (auto const& [id, stored] : group().store().schedules()) {
            if (auto const seen = p.machine().picture_of(id)) s.schedules[id] = {seen->generation, seen->owner};
        }
        s.whole = s.schedules.size() == p.machine().pictured_schedules();
    }
    void looks() override {
        for (auto const* p : group().living()) {
            auto const found = subscribers_.find(p->number());
            if (found == subscribers_.end()) continue;
            auto& s = found->second;
            if (!s.begun || !p->machine().picture_is_current() || p->machine().state() != standing::member) continue;
            if (s.whole && s.schedules.size() != p->machine().pictured_schedules()) {
                fail(fmt::format("{}#{} has told of {} schedules, and knows {}", p->node_id(), p->number(),
                                 s.schedules.size(), p->machine().pictured_schedules()));
            }
            for (auto const& [id, told] : s.schedules) {
                auto const seen = p->machine().picture_of(id);
                if (seen && seen->generation == told.generation && seen->owner == told.owner) continue;
                fail(fmt::format("{}#{} has told that {} is of {} under {}, and knows of {} under {}", p->node_id(),
                                 p->number(), id, told.owner, told.generation, seen ? seen->owner : 0,
                                 seen ? seen->generation : 0));
            }
        }
    }
    void process_ended(process const& p, std::string_view) override { subscribers_.erase(p.number()); }

private:
    struct owned {
        fencing_token generation = 0;
        fencing_token owner = 0;
    };
    struct subscriber {
        bool begun = false;
        bool whole = false;  // all schedules of the first picture are known here
        bool in_gap = false;
        fencing_token last = 0;
        std::map<std::string, owned> schedules;
    };
    void owner_changed(process const& p, subscriber& s, ownership_changed const& o) {
        if (!s.begun) return;
        if (o.reason == change_reason::resynced) {
            if (!s.in_gap) {
                fail(fmt::format("{}#{} tells of {} out of turn, and of no gap", p.node_id(), p.number(), o.schedule));
            }
        } else {
            s.in_gap = false;
            if (o.generation <= s.last) {
                fail(fmt::format("{}#{} tells of {} under {} after it has told of {}", p.node_id(), p.number(),
                                 o.schedule, o.generation, s.last));
            }
            s.last = o.generation;
        }
        s.schedules[o.schedule] = {o.generation, o.to.incarnation};
    }
    std::map<std::uint32_t, subscriber> subscribers_;
};

/// A picture of the group that is current is what the server has: of schedules, nodes and orders.
class pictures_are_true final : public invariant {
public:
    std::string_view name() const override { return "pictures_are_true"; }
    void looks() override {
        if (!group().promises_hold()) return;
        auto const& store = group().store();
        for (auto const* p : group().living()) {
            auto const& m = p->machine();
            if (!m.picture_is_current() || m.picture_epoch() != store.epoch() || m.picture_cursor() != store.seq())
                continue;
            if (m.pictured_schedules() != store.schedule_count()) {
                fail(fmt::format("{}#{} pictures {} schedules of {}", p->node_id(), p->number(), m.pictured_schedules(),
                                 store.schedule_count()));
            }
            for (auto const& [id, s] : store.schedules()) {
                auto const seen = m.picture_of(id);
                bool const same = seen && seen->generation == s.generation && seen->owner == s.owner &&
                                  seen->moving_to == s.moving_to;
                if (!same) {
                    fail(fmt::format("{}#{} pictures {} of {} under {} for {}; it is of {} under {} for {}",
                                     p->node_id(), p->number(), id, seen ? seen->owner : 0, seen ? seen->generation : 0,
                                     seen ? seen->moving_to : 0, s.owner, s.generation, s.moving_to));
                }
                if (seen->weight == s.weight && seen->traits == s.traits) continue;
                fail(fmt::format("{}#{} pictures {} with weight {} and \"{}\"; it has {} and \"{}\"", p->node_id(),
                                 p->number(), id, seen->weight, seen->traits, s.weight, s.traits));
            }
            for (auto const& [incarnation, n] : store.nodes()) {
                auto const seen = m.picture_of_node(incarnation);
                node_machine::pictured_node const is{n.id,
                                                     n.live,
                                                     n.live ? n.capacity : seen.capacity,
                                                     n.live ? n.traits : seen.traits,
                                                     n.load,
                                                     n.live && store.is_drained(n.id)};
                if (seen == is) continue;
                fail(fmt::format("{}#{} pictures {} as {} ({}, {}) with {} of {}; it is {} ({}, {}) with {} of {}",
                                 p->node_id(), p->number(), incarnation, seen.id, seen.alive ? "alive" : "gone",
                                 seen.draining ? "drained" : seen.traits, seen.owned, seen.capacity, n.id,
                                 n.live ? "alive" : "gone", is.draining ? "drained" : n.traits, n.load, n.capacity));
            }
            if (m.pictures_maintenance() != store.maintenance()) {
                fail(fmt::format("{}#{} pictures {}maintenance", p->node_id(), p->number(),
                                 m.pictures_maintenance() ? "" : "no "));
            }
        }
    }
};

}  // namespace rota::sim
