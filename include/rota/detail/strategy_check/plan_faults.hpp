// What breaks the contract of a strategy in one plan for one view, in words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <fmt/core.h>

#include "../../cluster_view.hpp"

namespace rota::detail {

struct plan_fault {
    std::string what{};  ///< the rule that is broken; empty: none
    std::string which{};
    explicit operator bool() const noexcept { return !what.empty(); }
};

class plan_inspector {
public:
    plan_inspector(cluster_view const& view, plan const& p, bool places_all)
        : view_{view},
          plan_{p},
          places_all_{places_all},
          state_(view.schedules.size(), absent) {}

    [[nodiscard]] plan_fault first_fault() {
        for (auto const s : view_.orphans) state_[s] = orphan;
        for (auto const& node : view_.nodes) {
            load_.push_back(node.load);
            for (auto const s : node.schedules) state_[s] = owned;
        }
        for (auto const check : {&plan_inspector::steps, &plan_inspector::counts, &plan_inspector::numbers,
                                 &plan_inspector::stuck, &plan_inspector::orphans_left}) {
            if (auto fault = (this->*check)()) return fault;
        }
        return {};
    }

private:
    enum what_it_is : std::uint8_t { absent, orphan, owned, touched, without_room };

    plan_fault steps() {
        bool evening_out = false;
        for (auto const& step : plan_.moves) {
            // Of a picture that is half read only placements are carried out.
            if (!step.forced() && !view_.complete) break;
            if (auto fault = names(step)) return fault;
            auto const& schedule = view_.schedules[step.schedule];
            auto const& target = view_.nodes[step.to];
            auto const which = fmt::format("{} to {}", schedule.id, target.id);
            if (state_[step.schedule] == touched) return {"assigns a schedule twice", which};
            if (state_[step.schedule] == absent) return {"names a schedule that is not there (a void entry)", which};
            if (step.from != schedule.owner) return {"takes a schedule from where it is not", which};
            if (step.to == step.from) return {"moves a schedule to where it is", which};
            if (step.forced()) {
                if (moved_) return {"places an orphan after a move", which};
            } else {
                if (schedule.moving) return {"moves a schedule that is on its way already", which};
                if (!view_.may_move(step.schedule)) return {"moves a schedule that is to stay (settled_before)", which};
                if (step.required() && evening_out)
                    return {"has a move that has to be after one that evens out", which};
                if (!step.required() && step.why != change_reason::rebalanced)
                    return {"gives a reason that is none for a move", which};
                evening_out = !step.required();
                if (!moved_) placed_load_ = load_;
                moved_ = true;
            }
            if (load_[step.to] >= target.capacity)
                return {"gives a node more than its capacity", fmt::format("{}, capacity {}", which, target.capacity)};
            ++load_[step.to];
            if (!step.forced()) --load_[step.from];
            state_[step.schedule] = touched;
        }
        if (!moved_) placed_load_ = load_;
        return {};
    }

    [[nodiscard]] plan_fault names(move const& step) const {
        if (step.schedule >= view_.schedules.size())
            return {"names a schedule that is not there",
                    fmt::format("{} of {}", step.schedule, view_.schedules.size())};
        if (step.to >= view_.nodes.size())
            return {"names a node that is not there", fmt::format("{} of {}", step.to, view_.nodes.size())};
        return {};
    }

    plan_fault counts() {
        std::size_t forced = 0;
        for (auto const& step : plan_.moves) forced += step.forced() ? 1 : 0;
        if (plan_.forced != forced)
            return {"miscounts its placements", fmt::format("forced is {}, not {}", plan_.forced, forced)};
        if (plan_.voluntary != plan_.moves.size() - forced)
            return {"miscounts its moves",
                    fmt::format("voluntary is {}, not {}", plan_.voluntary, plan_.moves.size() - forced)};
        if (plan_.unplaced != view_.orphans.size() - forced)
            return {"miscounts the orphans that it leaves",
                    fmt::format("unplaced is {}, not {}", plan_.unplaced, view_.orphans.size() - forced)};
        return {};
    }

    plan_fault numbers() {
        auto const finite = [](double x) { return x - x == 0; };
        if (!finite(plan_.spread_before) || !finite(plan_.spread_after) || !finite(plan_.imbalance))
            return {"states what is no finite number", "spread_before, spread_after or imbalance"};
        if (plan_.spread_before < 0 || plan_.spread_after < 0) return {"states a spread below 0", ""};
        if (plan_.revisit <= microseconds{0})
            return {"asks to be asked again at once, for ever", fmt::format("revisit is {} us", plan_.revisit.count())};
        return {};
    }

    plan_fault stuck() {
        for (auto const& one : plan_.stuck) {
            if (one.schedule >= view_.schedules.size() || state_[one.schedule] == absent)
                return {"says of a schedule that is not there that it has no place", fmt::format("{}", one.schedule)};
            auto const which = std::string{view_.schedules[one.schedule].id};
            if (view_.schedules[one.schedule].owner != cluster_view::none)
                return {"says of what has an owner that it has no place", which};
            if (state_[one.schedule] != orphan)
                return {"says of what it places that it has no place, or says so twice", which};
            state_[one.schedule] = one.why == no_place::no_room ? without_room : touched;
        }
        return {};
    }

    // An orphan of which nothing is said has no place because every node is full. Only those without rules: of others it
    // may be that just those nodes are full that would do.
    plan_fault orphans_left() {
        if (!places_all_) return {};
        for (auto const s : view_.orphans) {
            bool const left = state_[s] == orphan || state_[s] == without_room;
            if (!left || view_.schedules[s].kind != 0) continue;
            for (std::size_t i = 0; i < view_.nodes.size(); ++i) {
                auto const& node = view_.nodes[i];
                if (placed_load_[i] >= node.capacity || load_[i] >= node.capacity) continue;
                return {"leaves an orphan although a node has room, and does not say why",
                        fmt::format("{}, {}", view_.schedules[s].id, node.id)};
            }
            break;  // nobody has room
        }
        return {};
    }

    cluster_view const& view_;
    plan const& plan_;
    bool places_all_;
    std::vector<what_it_is> state_;
    std::vector<std::uint32_t> load_;
    std::vector<std::uint32_t> placed_load_;  // after the placements
    bool moved_ = false;
};

/// Whether two plans say the same, certificate and all.
[[nodiscard]] inline bool same_plan(plan const& a, plan const& b) {
    return a.moves == b.moves && a.stuck == b.stuck && a.forced == b.forced && a.voluntary == b.voluntary &&
           a.bound == b.bound && a.unplaced == b.unplaced && a.spread_before == b.spread_before &&
           a.spread_after == b.spread_after && a.imbalance == b.imbalance && a.interchangeable == b.interchangeable &&
           a.revisit == b.revisit;
}

}  // namespace rota::detail
