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
    void process_ended(process const& p, std::string_view) override { owned_.erase(p.number()); }

private:
    std::map<std::uint32_t, std::map<std::string, fencing_token>> owned_;
    std::map<std::pair<std::uint32_t, std::string>, std::pair<fencing_token, moment>> missing_;
};

/// A picture of the group that is current is what the server has.
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
                if (same) continue;
                fail(fmt::format("{}#{} pictures {} of {} under {} for {}; it is of {} under {} for {}", p->node_id(),
                                 p->number(), id, seen ? seen->owner : 0, seen ? seen->generation : 0,
                                 seen ? seen->moving_to : 0, s.owner, s.generation, s.moving_to));
            }
        }
    }
};

}  // namespace rota::sim
