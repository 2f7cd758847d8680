// zoned<S>: spreads the schedules over zones (what fails together: racks, data centres) and lets S plan inside each. So
// the loss of any one zone leaves at most its even share to be placed anew: the total over the number of zones, rounded
// up, where capacities do not stand against that.
//
// Zones come first: each holds the same number of schedules, whatever its number of nodes, as far as the capacities of
// its nodes allow, by the fewest moves between zones (least_moves on the zones). A node without a zone is a zone of its
// own, so name the zones of all nodes or of none.
//
// Whether the others could take what a lost zone held does not depend on who holds what, but on capacities alone:
// zone_shortfall() tells. No orphan is left without a place for the sake of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "../cluster_view.hpp"
#include "../detail/late.hpp"
#include "balance.hpp"
#include "layers.hpp"
#include "least_moves.hpp"

namespace rota {

/// A plan places orphans, then does what has to be done (drained and overfull nodes, inside their zone if it has room),
/// then evens out the zones, then, as S does, each zone. What leaves a zone comes from the nodes that hold the most;
/// which node takes it, S decides, as if it were an orphan.
///
/// The certificate: `bound` is the fewest moves between zones plus what S states for the moves inside, given those.
/// Spread is the larger of that between zones, by count, and that inside a zone, as S measures; so is `imbalance`.
///
/// Groups (at most one schedule of a group on a node) are the business of constrained<zoned<S>>, which keeps them apart
/// by node; that they end in different zones is not promised.
///
/// Time and memory: O(nodes x log zones + orphans + steps), and what S takes for each zone; O(schedules) where S is not
/// least_moves, for S then sees a copy in which owners are numbered by zone.
template <typename S = least_moves>
struct zoned {
    using inner = S;
    static constexpr auto layer = strategy_layer::spread;

    S strategy{};

    void make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const;

    static_assert(detail::nests<zoned, layer, S>());
};

namespace detail {

/// The nodes of each zone.
template <typename T>
class zone_map {
    using index = late<std::uint32_t, T>;

public:
    explicit zone_map(late<cluster_view, T> const& view) {
        std::map<std::string_view, index> named;
        places_.reserve(view.nodes.size());
        for (std::uint32_t i = 0; i < view.nodes.size(); ++i) {
            auto zone = static_cast<std::uint32_t>(zones_.size());
            if (!view.nodes[i].zone.empty()) zone = named.try_emplace(view.nodes[i].zone, zone).first->second;
            if (zone == zones_.size()) zones_.emplace_back();
            places_.push_back({zone, static_cast<std::uint32_t>(zones_[zone].size())});
            zones_[zone].push_back(i);
        }
    }

    [[nodiscard]] std::uint32_t count() const { return static_cast<std::uint32_t>(zones_.size()); }
    [[nodiscard]] std::vector<index> const& nodes_of(std::uint32_t zone) const { return zones_[zone]; }
    [[nodiscard]] std::uint32_t zone_of(std::uint32_t node) const { return places_[node].first; }
    /// The place of a node among those of its zone.
    [[nodiscard]] std::uint32_t place_of(std::uint32_t node) const { return places_[node].second; }

private:
    std::vector<std::vector<index>> zones_;
    std::vector<std::pair<index, index>> places_;  // zone, and place in it, of each node
};

/// Capacities add up, but never to `unlimited` unless one of them is.
[[nodiscard]] constexpr std::uint32_t added(std::uint32_t a, std::uint32_t b) noexcept {
    if (a == unlimited || b == unlimited) return unlimited;
    return b < unlimited - a ? a + b : unlimited - 1;
}

template <typename S>
class zoned_run {
    using cluster_view = late<rota::cluster_view, S>;
    using plan = late<rota::plan, S>;
    using index = late<std::uint32_t, S>;
    using node_list = std::vector<typename cluster_view::node>;
    using move_list = std::vector<late<move, S>>;

public:
    zoned_run(cluster_view const& view, zone_map<S> const& zones, S const& strategy, plan& into)
        : view_{view},
          zones_{zones},
          strategy_{strategy},
          plan_{into},
          parts_(zones.count()) {}

    void run() {
        plan_.clear();
        plan_.interchangeable = true;
        for (std::uint32_t i = 0; i < view_.nodes.size(); ++i) parts_[zones_.zone_of(i)].load += view_.nodes[i].load;
        plan_.spread_before = spread_of_zones();
        place_in_zones();
        if (view_.complete) move_between_zones();
        renumber_owners();
        // First who takes: what S does not take stays where it was, and counts there.
        for (std::uint32_t z = 0; z < parts_.size(); ++z) {
            if (!parts_[z].coming.empty()) plan_inside(z);
        }
        for (std::uint32_t z = 0; z < parts_.size(); ++z) {
            if (parts_[z].coming.empty()) plan_inside(z);
        }
        between_after_ = spread_of_zones();
        put_together();
    }

private:
    struct departure {
        std::uint32_t schedule;
        std::uint32_t node;
        change_reason why;
    };
    struct zone_part {
        std::uint32_t load = 0;
        std::vector<index> orphans{};
        std::vector<index> coming{};       // indices in crossing_
        std::vector<departure> leaving{};  // what may leave, in the order in which it should
        std::vector<index> gone{};         // indices in crossing_
    };

    [[nodiscard]] double spread_of_zones() const {
        std::uint32_t fullest = 0;
        std::uint32_t emptiest = unlimited;
        for (auto const& zone : parts_) {
            if (zone.load > fullest) fullest = zone.load;
            if (zone.load < emptiest) emptiest = zone.load;
        }
        return fullest - emptiest;
    }

    // A picture of the zones as if they were nodes.
    template <typename CapacityOf>
    [[nodiscard]] node_list zones_as_nodes(CapacityOf const& capacity_of) const {
        node_list made(parts_.size());
        for (std::uint32_t z = 0; z < parts_.size(); ++z) {
            made[z].load = parts_[z].load;
            made[z].capacity = 0;
            for (auto const n : zones_.nodes_of(z))
                made[z].capacity = added(made[z].capacity, capacity_of(view_.nodes[n]));
        }
        return made;
    }

    // Orphans go where room is, even in a zone that holds too much as a whole: another of its nodes may have it.
    void place_in_zones() {
        if (view_.orphans.empty()) return;
        auto const as_nodes =
            zones_as_nodes([](auto const& node) { return node.load > node.capacity ? node.load : node.capacity; });
        auto seen = view_;
        seen.nodes = as_nodes;
        plan placed;
        least_moves{}.make_plan(seen, placed);  // moves nothing: no zone is said to hold any schedules
        for (auto const& step : placed.moves) {
            parts_[step.to].orphans.push_back(step.schedule);
            ++parts_[step.to].load;
        }
        // Of a half-read picture, S may leave room that it will use later.
        for (auto i = placed.moves.size(); i < view_.orphans.size() && !view_.complete; ++i) {
            plan_.stuck.push_back({view_.orphans[i], no_place::waits});
        }
    }

    void move_between_zones() {
        auto as_nodes = zones_as_nodes([](auto const& node) { return node.capacity; });
        auto seen = view_;
        seen.nodes = as_nodes;
        seen.orphans = {};
        plan_.imbalance = imbalance(seen);
        if (least_moves_bound(seen) == 0) return;
        auto const target = balance_target_of(seen);
        std::vector<std::vector<index>> lists(parts_.size());
        for (std::uint32_t z = 0; z < parts_.size(); ++z) {
            auto const least = target.lower(as_nodes[z].capacity);
            if (parts_[z].load <= least) continue;
            find_leaving(z, static_cast<std::uint32_t>(parts_[z].load - least));
            for (auto const& one : parts_[z].leaving) lists[z].push_back(one.schedule);
            as_nodes[z].schedules = lists[z];
        }
        plan between;
        least_moves{}.make_plan(seen, between);
        plan_.bound = between.bound;
        std::vector<std::size_t> taken(parts_.size());
        for (bool const required : {true, false}) {
            taken.assign(parts_.size(), 0);
            for (auto const& step : between.moves) {
                auto const& one = parts_[step.from].leaving[taken[step.from]++];
                auto const why =
                    one.why == change_reason::rebalanced && step.required() ? change_reason::overfull : one.why;
                if (is_required(why) != required) continue;
                parts_[step.from].gone.push_back(static_cast<std::uint32_t>(crossing_.size()));
                parts_[step.to].coming.push_back(static_cast<std::uint32_t>(crossing_.size()));
                --parts_[step.from].load;
                ++parts_[step.to].load;
                crossing_.push_back({one.schedule, one.node, view_t::none, why});
            }
        }
    }

    // From nodes that hold more than they may, then from the fullest. A zone that has taken orphans gives only the
    // former, for S must not place one where room is only once something has left.
    void find_leaving(std::uint32_t z, std::uint32_t count) {
        auto const& nodes = zones_.nodes_of(z);
        std::vector<index> loads;
        std::vector<index> passed(nodes.size());
        for (auto const n : nodes) loads.push_back(view_.nodes[n].load);
        for (bool const over : {true, false}) {
            if (!over && !parts_[z].orphans.empty()) return;
            level_walk<S> givers{nodes.size()};
            for (std::uint32_t i = 0; i < nodes.size(); ++i) {
                auto const kept = over ? view_.nodes[nodes[i]].capacity : 0;
                if (loads[i] > kept) givers.add(i, ~loads[i], ~kept);
            }
            while (parts_[z].leaving.size() < count && givers.more()) {
                auto const i = givers.take_one();
                auto const& node = view_.nodes[nodes[i]];
                while (passed[i] < node.schedules.size() && !view_.may_move(node.schedules[passed[i]])) ++passed[i];
                if (passed[i] == node.schedules.size()) {
                    givers.drop();
                    continue;
                }
                auto const why = !over           ? change_reason::rebalanced
                                 : node.draining ? change_reason::drained
                                                 : change_reason::overfull;
                parts_[z].leaving.push_back({node.schedules[passed[i]++], nodes[i], why});
            }
            givers.each_change([&](std::uint32_t i, std::uint32_t given) { loads[i] -= given; });
        }
    }

    void renumber_owners() {
        if constexpr (reads_schedules<S>) {
            renumbered_.assign(view_.schedules.begin(), view_.schedules.end());
            for (auto& one : renumbered_) {
                if (one.owner < view_.nodes.size()) one.owner = zones_.place_of(one.owner);
            }
            for (auto const& step : crossing_) renumbered_[step.schedule].owner = view_t::none;
        }
        if (!crossing_.empty()) crossing_of_.resize(view_.schedules.size());
        for (std::uint32_t c = 0; c < crossing_.size(); ++c) crossing_of_[crossing_[c].schedule] = c;
    }

    void plan_inside(std::uint32_t z) {
        auto& zone = parts_[z];
        auto const& nodes = zones_.nodes_of(z);
        auto seen = view_;
        node_list inside;
        inside.reserve(nodes.size());
        for (auto const n : nodes) inside.push_back(view_.nodes[n]);
        std::vector<std::vector<index>> kept(zone.gone.empty() ? 0 : nodes.size());
        take_away(z, inside, kept);
        for (auto const c : zone.coming) zone.orphans.push_back(crossing_[c].schedule);
        seen.nodes = inside;
        seen.orphans = zone.orphans;
        if constexpr (reads_schedules<S>) seen.schedules = renumbered_;

        inner_.clear();
        ask(strategy_, seen, inner_);
        zone.load -= static_cast<std::uint32_t>(zone.orphans.size() - inner_.forced);
        take_over(nodes, seen);
    }

    // What has left the zone is not there when S plans.
    void take_away(std::uint32_t z, node_list& inside, std::vector<std::vector<index>>& kept) {
        for (auto const c : parts_[z].gone) {
            if (crossing_[c].to == view_t::none) {  // nobody took it
                ++parts_[z].load;
                if constexpr (reads_schedules<S>) {
                    renumbered_[crossing_[c].schedule].owner = zones_.place_of(crossing_[c].from);
                }
                continue;
            }
            auto& node = inside[zones_.place_of(crossing_[c].from)];
            --node.load;
            node.weight -= view_.schedules[crossing_[c].schedule].weight;
            kept[zones_.place_of(crossing_[c].from)].push_back(crossing_[c].schedule);
        }
        for (std::size_t i = 0; i < kept.size(); ++i) {
            if (kept[i].empty()) continue;
            std::vector<index> left;
            for (auto const s : inside[i].schedules) {
                if (!crosses(s)) left.push_back(s);
            }
            kept[i].swap(left);
            inside[i].schedules = kept[i];
        }
    }

    [[nodiscard]] bool crosses(std::uint32_t schedule) const {
        auto const c = crossing_of_[schedule];
        return crossing_[c].schedule == schedule && crossing_[c].to != view_t::none;
    }

    // Into the whole plan, with the nodes' own numbers.
    void take_over(std::vector<index> const& nodes, cluster_view const& seen) {
        for (auto const& step : inner_.moves) {
            auto const to = nodes[step.to];
            if (!step.forced()) {
                (step.required() ? required_ : evening_out_).push_back({step.schedule, nodes[step.from], to, step.why});
            } else if (view_.schedules[step.schedule].owner == view_t::none) {
                plan_.moves.push_back({step.schedule, view_t::none, to, step.why});
            } else {
                crossing_[crossing_of_[step.schedule]].to = to;
            }
        }
        for (auto const& one : inner_.stuck) {
            if (view_.schedules[one.schedule].owner == view_t::none) plan_.stuck.push_back(one);
        }
        auto const larger = [](double& kept, double other) {
            if (other > kept) kept = other;
        };
        larger(plan_.imbalance, inner_.imbalance >= 0 ? inner_.imbalance : imbalance(seen));
        larger(plan_.spread_before, inner_.spread_before);
        larger(inside_after_, inner_.spread_after);
        plan_.bound += inner_.bound;
        if (inner_.revisit < plan_.revisit) plan_.revisit = inner_.revisit;
        if (!inner_.moves.empty() && !inner_.interchangeable) plan_.interchangeable = false;
    }

    void put_together() {
        plan_.forced = static_cast<std::uint32_t>(plan_.moves.size());
        plan_.unplaced = static_cast<std::uint32_t>(view_.orphans.size()) - plan_.forced;
        for (bool const required : {true, false}) {
            for (auto const& step : crossing_) {
                if (step.to != view_t::none && step.required() == required) plan_.moves.push_back(step);
            }
            auto const& inside = required ? required_ : evening_out_;
            plan_.moves.insert(plan_.moves.end(), inside.begin(), inside.end());
        }
        plan_.voluntary = static_cast<std::uint32_t>(plan_.moves.size()) - plan_.forced;
        plan_.spread_after = inside_after_ > between_after_ ? inside_after_ : between_after_;
    }

    using view_t = rota::cluster_view;

    cluster_view const& view_;
    zone_map<S> const& zones_;
    S const& strategy_;
    plan& plan_;
    plan inner_;
    std::vector<zone_part> parts_;    // by zone
    move_list crossing_;              // from zone to zone; `to` is none until a node is found
    move_list required_;              // inside zones
    move_list evening_out_;           // inside zones
    std::vector<index> crossing_of_;  // by schedule, where there is one
    std::vector<typename cluster_view::schedule> renumbered_;
    double between_after_ = 0;
    double inside_after_ = 0;
};

}  // namespace detail

template <typename S>
void zoned<S>::make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const {
    detail::zone_map<S> const zones{view};
    if (zones.count() <= 1) return detail::ask(strategy, view, into);
    detail::zoned_run<S>{view, zones, strategy, into}.run();
}

/// How many schedules, at worst, would have no place if one zone was lost: what all others have no capacity for. 0: the
/// group survives the loss of any zone with everything placed.
template <typename = void>
[[nodiscard]] std::uint32_t zone_shortfall(cluster_view const& view) {
    detail::zone_map<void> const zones{view};
    std::uint64_t total = view.orphans.size();
    std::uint64_t all = 0;
    for (auto const& node : view.nodes) {
        total += node.load;
        all += node.capacity;
    }
    std::uint64_t worst = 0;
    for (std::uint32_t z = 0; z < zones.count(); ++z) {
        auto others = all;
        for (auto const n : zones.nodes_of(z)) others -= view.nodes[n].capacity;
        if (total > others && total - others > worst) worst = total - others;
    }
    return static_cast<std::uint32_t>(worst);
}

}  // namespace rota
