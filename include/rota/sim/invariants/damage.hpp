// Records that disagree: never by rota's own doing; and where somebody else has damaged them, they are mended.
#pragma once

#include <algorithm>
#include <set>
#include <string>

#include "../world.hpp"
#include "liveness.hpp"

namespace rota::sim {

/// Each record is listed by the index of its owner and by no other, and counters count what there is.
class records_agree final : public invariant {
public:
    std::string_view name() const override { return "records_agree"; }
    void looks() override {
        if (!group().promises_hold() || seq_ == group().store().seq()) return;
        seq_ = group().store().seq();
        if (auto const what = group().store().disagreement(); !what.empty()) fail(what);
    }

private:
    std::uint64_t seq_ = 0;
};

/// Once things are calm, damage is mended within options::audit_interval, the time that the leader takes to look through
/// all records, and a few round trips; and what was registered still is.
class damage_mended final : public invariant {
public:
    std::string_view name() const override { return "damage_mended"; }
    void begin() override {
        auto const t = time_scales::of(group());
        auto const& o = group().settings().options;
        bound_ = o.audit_interval + std::max(t.node_ttl, t.lease) + t.retry + 32 * t.round_trip +
                 o.heartbeat_interval * (1 + static_cast<int>(group().schedules() / op::max_batch));
    }
    void fault_began(fault const& f) override {
        if (within_promises(f.kind)) return;
        if (f.kind != fault_kind::damage) return there_.clear();
        // What no index lists any more, nor any record has, is lost indeed.
        auto const id = group().schedule_named_by(f);
        auto const s = group().store().schedule(id);
        if (way_of(f) % ways_to_damage == way_to_unlist || !s || !group().store().lists(s->owner, id)) there_.erase(id);
    }
    void performed(step const& s) override {
        if (s.server != group().servers().primary() || !s.answer) return;
        if (auto* q = std::get_if<op::register_schedules>(&s.request)) {
            for (auto const& item : q->items) there_.insert(item.id);
        } else if (auto* q2 = std::get_if<op::unregister_schedules>(&s.request)) {
            for (auto const& item : q2->items) there_.erase(item.id);
        } else if (std::holds_alternative<op::mend>(s.request)) {
            auto const& items = std::get<op::mend>(s.request).items;
            for (auto const& item : items) {
                bool const is_there = group().store().schedule(item.id).has_value();
                if (!is_there && there_.contains(item.id)) {
                    fail(item.id + " was damaged, and mending it has lost it");
                }
                if (is_there) there_.insert(item.id);
            }
        }
    }
    void looks() override {
        auto const since = group().damaged_since();
        if (!since) return;
        auto const calm = group().now() - std::max(*since, group().calm_since());
        bool healthy = false;
        for (std::uint32_t i = 0; i < group().size(); ++i) healthy = healthy || group().is_healthy(i);
        if (calm <= bound_ || !healthy || group().settings().options.audit_interval == microseconds{}) return;
        fail(fmt::format("nothing went wrong for {}, and still {}", seconds_in_words(calm),
                         group().store().disagreement()));
    }

private:
    microseconds bound_{};
    std::set<std::string> there_;
};

}  // namespace rota::sim
