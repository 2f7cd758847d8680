// graced<S>: gives a node that has gone time to come back before its schedules move. So a restart moves nothing: its
// schedules wait, nobody's, until the same node_id is a member again (with whatever incarnation) and are then given back
// to it at once; or until the grace is over, and they are placed like any orphan. (A worker that stops keeps what is idle
// for the same reason, while its last runs end.)
//
// The price is that they do not run meanwhile. That is why only nodes that *left* are waited for, unless asked: whoever
// leaves says so because it restarts, but who crashed may have gone for good.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "../cluster_view.hpp"
#include "../detail/late.hpp"
#include "eligibility.hpp"
#include "layers.hpp"
#include "least_moves.hpp"

namespace rota {

/// What waits is `stuck` with no_place::waits (and counts as unplaced), and plan::revisit is the rest of the shortest
/// grace. What is given back says change_reason::returned. S plans the rest, for it what is given back has arrived.
///
/// A crashed node's schedules do not wait, but those that are still orphans when it is back within the grace are given
/// back too. Nothing is given back that the node has no room for, or that rules forbid (pin, labels, and groups, whether
/// or not S heeds them): S then decides.
///
/// Time and memory: S's own + O(orphans + nodes); when something is given back, O(schedules) unless S is least_moves.
template <typename S = least_moves>
struct graced {
    using inner = S;
    static constexpr auto layer = strategy_layer::pacing;

    microseconds grace = std::chrono::seconds{60};  ///< from the moment when its schedules may be given to others
    bool crashed_too = false;                       ///< wait also for nodes that were taken for dead
    S strategy{};

    void make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const;

    static_assert(detail::nests<graced, layer, S>());
};

namespace detail {

// Sorts the orphans of a view: what goes back, what waits, and what is left for S.
template <typename S>
class grace_run {
    using cluster_view = late<rota::cluster_view, S>;
    using plan = late<rota::plan, S>;
    using index = late<std::uint32_t, S>;

public:
    grace_run(cluster_view const& view, microseconds grace, bool crashed_too) : view_{view}, seen_{view} {
        for (auto const& departure : view.departures) {
            bool const graced = departure.ago < grace;
            fates_.push_back({graced ? node_called(departure.id) : cluster_view::none,
                              graced && (departure.left || crashed_too), grace - departure.ago});
        }
        for (auto const s : view.orphans) {
            auto const departed = view.schedules[s].departed;
            if (departed >= fates_.size()) {
                left_.push_back(s);
            } else if (auto const& fate = fates_[departed]; fate.back_as == cluster_view::none) {
                fate.awaited ? wait(s, fate.rest) : left_.push_back(s);
            } else {
                give_back(s, fate.back_as);
            }
        }
        seen_.orphans = left_;
        if (!returned_.empty()) count_returned();
    }

    /// The view for S.
    [[nodiscard]] cluster_view const& seen() const { return seen_; }

    void add_to(plan& into) const {
        into.moves.insert(into.moves.begin(), returned_.begin(), returned_.end());
        into.forced += static_cast<std::uint32_t>(returned_.size());
        into.unplaced += static_cast<std::uint32_t>(waiting_.size());
        into.stuck.insert(into.stuck.end(), waiting_.begin(), waiting_.end());
        if (rest_ < into.revisit) into.revisit = rest_;
    }

private:
    struct fate_of {
        std::uint32_t back_as = cluster_view::none;  // the node that has come back
        bool awaited = false;
        microseconds rest{};
    };

    std::uint32_t node_called(std::string_view id) {
        for (std::uint32_t i = 0; i < view_.nodes.size(); ++i) {
            if (view_.nodes[i].id == id) return i;
        }
        return cluster_view::none;
    }

    void wait(std::uint32_t schedule, microseconds rest) {
        waiting_.push_back({schedule, no_place::waits});
        if (rest < rest_) rest_ = rest;
    }

    void give_back(std::uint32_t schedule, std::uint32_t node) {
        if (arrived_.empty()) arrived_.resize(view_.nodes.size());
        auto& arrived = arrived_[node];
        auto const& target = view_.nodes[node];
        auto const kind = view_.schedules[schedule].kind;
        bool const room = target.load < target.capacity && arrived.size() < target.capacity - target.load;
        if (!room || !allows(view_, kind, node) || !enters_group(kind, node)) {
            left_.push_back(schedule);
            return;
        }
        arrived.push_back(schedule);
        returned_.push_back({schedule, cluster_view::none, node, change_reason::returned});
    }

    // Whether the node has nothing yet of the group that this kind is of. If so, it has from now on.
    bool enters_group(std::uint32_t kind, std::uint32_t node) {
        auto const group_of = [&](std::uint32_t k) {
            return k < view_.kinds.size() ? view_.kinds[k].group : std::string_view{};
        };
        auto const group = group_of(kind);
        if (group.empty()) return true;
        if (!view_.complete) return false;  // who knows
        if (!groups_.contains({node, {}})) {
            groups_[{node, {}}] = true;  // looked at
            for (auto const s : view_.nodes[node].schedules) groups_[{node, group_of(view_.schedules[s].kind)}] = true;
        }
        return !std::exchange(groups_[{node, group}], true);
    }

    // Makes S see what is given back where it goes, as `moving`, so that it is left alone; or, if it looks at no more than
    // that, only count it there.
    void count_returned() {
        nodes_.assign(view_.nodes.begin(), view_.nodes.end());
        if constexpr (reads_schedules<S>) schedules_.assign(view_.schedules.begin(), view_.schedules.end());
        for (std::uint32_t i = 0; i < nodes_.size(); ++i) {
            auto& arrived = arrived_[i];
            nodes_[i].load += static_cast<std::uint32_t>(arrived.size());
            for (auto const s : arrived) {
                nodes_[i].weight += view_.schedules[s].weight;
                if constexpr (reads_schedules<S>) {
                    schedules_[s].owner = i;
                    schedules_[s].moving = true;
                }
            }
            if (!reads_schedules<S> || arrived.empty()) continue;
            arrived.insert(arrived.end(), nodes_[i].schedules.begin(), nodes_[i].schedules.end());
            nodes_[i].schedules = arrived;
        }
        seen_.nodes = nodes_;
        if constexpr (reads_schedules<S>) seen_.schedules = schedules_;
    }

    cluster_view const& view_;
    cluster_view seen_;
    std::vector<fate_of> fates_;
    std::vector<index> left_;                  // orphans for S
    std::vector<late<move, S>> returned_;      // placements that give back
    std::vector<std::vector<index>> arrived_;  // what is given back, by node
    std::vector<late<unplaced_schedule, S>> waiting_;
    std::map<std::pair<index, std::string_view>, bool> groups_;  // that nodes have something of
    std::vector<typename cluster_view::node> nodes_;
    std::vector<typename cluster_view::schedule> schedules_;
    microseconds rest_ = microseconds::max();
};

template <typename S>
inline constexpr bool reads_schedules<graced<S>> = reads_schedules<S>;

}  // namespace detail

template <typename S>
void graced<S>::make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const {
    if (view.orphans.empty() || view.departures.empty()) return detail::ask(strategy, view, into);
    detail::grace_run<S> const run{view, grace, crashed_too};
    detail::ask(strategy, run.seen(), into);
    run.add_to(into);
}

}  // namespace rota
