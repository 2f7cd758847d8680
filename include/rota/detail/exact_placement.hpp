// The best places for schedules with rules, unit weights: what constrained<least_moves> does. The group becomes a
// network (assignment_flow) in which each class of schedules is one vertex, so its size is nodes x classes, whatever the
// number of schedules:
//
//   orphans of a class -> the class -> (slot of a group on a node) -> node -> everyone
//
// What a class has on a node flows there at no cost (it stays); what flows beyond that enters. What breaks rules, exceeds
// a capacity or has no place flows over edges of its own, as few as can be. Flow that is left in the end says how many of
// each class leave and enter which node; any schedules of that class will do.
//
// A node that holds more than it may, and a slot with more than one of its group, takes nobody in until it has given
// some away: in a later plan. An orphan that finds room at once is never made to wait for room elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "../cluster_view.hpp"
#include "../strategy/balance.hpp"
#include "assert.hpp"
#include "assignment_flow.hpp"
#include "late.hpp"
#include "placement_classes.hpp"
#include "radix_sort.hpp"
#include "step_order.hpp"

namespace rota::detail {

/// What a node has of each class.
template <typename T = void>
class class_census {
    using cluster_view = late<rota::cluster_view, T>;

public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    struct entry {
        std::uint32_t placement_class;
        std::uint32_t movable = 0;
        std::uint32_t fixed = 0;
    };

    class_census(cluster_view const& view, placement_classes<T> const& classes) : view_{view} {
        std::vector<std::uint32_t> at(classes.count(), none);
        movable_.assign(classes.count(), 0);
        orphans_.assign(classes.count(), 0);
        first_.reserve(view.nodes.size() + 1);
        for (auto const& node : view.nodes) {
            auto const begin = static_cast<std::uint32_t>(entries_.size());
            first_.push_back(begin);
            for (auto const s : node.schedules) {
                auto const c = classes.of_kind(view.schedules[s].kind);
                if (at[c] == none || at[c] < begin) {
                    at[c] = static_cast<std::uint32_t>(entries_.size());
                    entries_.push_back({c});
                }
                bool const movable = view.may_move(s);
                ++(movable ? entries_[at[c]].movable : entries_[at[c]].fixed);
                movable_[c] += movable;
            }
        }
        first_.push_back(static_cast<std::uint32_t>(entries_.size()));
        for (auto const s : view.orphans) ++orphans_[classes.of_kind(view.schedules[s].kind)];
    }

    [[nodiscard]] std::span<entry const> on(std::uint32_t node) const {
        return {entries_.data() + first_[node], entries_.data() + first_[node + 1]};
    }
    [[nodiscard]] std::uint32_t movable(std::uint32_t c) const { return movable_[c]; }
    [[nodiscard]] std::uint32_t orphans(std::uint32_t c) const { return orphans_[c]; }

private:
    cluster_view const& view_;
    std::vector<std::uint32_t> first_;  // per node, into entries_
    std::vector<entry> entries_;
    std::vector<std::uint32_t> movable_, orphans_;  // per class
};

template <typename T = void>
class exact_placement {
    using cluster_view = late<rota::cluster_view, T>;
    using plan = late<rota::plan, T>;
    using number = std::uint32_t;
    using flow = assignment_flow<T>;
    using orderer = step_order<T>;

public:
    static constexpr number none = ~number{0};
    /// A larger network is not built: it would take more memory and time than a plan is worth.
    static constexpr std::size_t most_edges = 2'000'000;

    exact_placement(cluster_view const& view, placement_classes<T> const& classes, class_census<T> const& census)
        : view_{view},
          classes_{classes},
          census_{census},
          nodes_{static_cast<number>(view.nodes.size())} {}

    /// false: the network would be too large, and there is no plan.
    [[nodiscard]] bool make_plan(plan& into) {
        look();
        into.clear();
        into.interchangeable = true;
        into.spread_before = into.spread_after = spread_of(nullptr);
        into.imbalance = 0;
        into.unplaced = static_cast<number>(view_.orphans.size());
        if (nothing_to_do()) {
            list_stuck(into, nullptr);
            return true;
        }
        if (expected_edges() > most_edges) return false;
        build();
        network_.minimise(later);
        network_.minimise(broken);
        network_.minimise(unplaced);
        network_.minimise(excess);
        network_.even_out(sink, places_, bands_);
        network_.minimise(entering);
        read_flow();
        network_ = {};
        order_steps(into);
        return true;
    }

private:
    // In this order. `later` are orphans that are not placed by this plan, those that wait for its moves included;
    // `broken` counts each rule that is, and orphans without a place. All orphans count as `entering`, wherever they end.
    enum goal : unsigned { later, broken, unplaced, excess, entering };
    static constexpr unsigned bit(goal g) { return 1U << g; }

    static constexpr number sink = 0;
    static constexpr number nowhere = 1;
    static constexpr number first_node = 2;

    struct slot {
        number group;
        number node;
        number held;
    };
    // Schedules of one class that leave or enter one node.
    struct change {
        number placement_class;
        number node;
        number slot;
        number count;
    };
    // One schedule's entrance. The lower its rank, the sooner.
    struct entrance {
        number placement_class;
        number node;
        number slot;
        number rank;
    };
    static constexpr number full = number{1} << 31;  // of a rank: there is no room before others have left
    struct departure {
        pending_step step;
        std::uint64_t rank;
    };

    // ---- before the network

    void look() {
        movable_.assign(nodes_, 0);
        std::vector<number> seen(classes_.groups(), none);
        for (number n = 0; n < nodes_; ++n) {
            for (auto const& e : census_.on(n)) {
                auto const& c = classes_[e.placement_class];
                movable_[n] += e.movable;
                if (e.movable > 0 && !c.nowhere && !classes_.allows(e.placement_class, n)) rules_broken_ = true;
                if (c.group == none) continue;
                if (seen[c.group] == n || e.movable + e.fixed > 1) rules_broken_ = true;
                seen[c.group] = n;
            }
            auto const& node = view_.nodes[n];
            if (node.load > node.capacity && movable_[n] > 0) over_capacity_ = true;
        }
        for (number c = 0; c < classes_.count(); ++c) {
            units_ += census_.movable(c);
            if (classes_[c].nowhere) continue;
            placeable_ += census_.orphans(c);
        }
        units_ += placeable_;
    }

    [[nodiscard]] bool nothing_to_do() const {
        if (nodes_ == 0) return true;
        if (placeable_ > 0 || rules_broken_ || over_capacity_) return false;
        auto settled = view_;
        settled.orphans = {};
        return least_moves_bound(settled) == 0;
    }

    [[nodiscard]] std::size_t expected_edges() const {
        std::size_t count = 0;
        for (number c = 0; c < classes_.count(); ++c) {
            if (census_.movable(c) + census_.orphans(c) == 0 || classes_[c].row == none) continue;
            count += std::size_t{nodes_} * (classes_[c].group == none ? 1 : 3);
        }
        return count;
    }

    // ---- the network

    void build() {
        for (number v = 0; v < first_node + nodes_; ++v) network_.add_vertex();
        number const classes = classes_.count();
        hub_.assign(classes, none);
        source_.assign(classes, none);
        by_itself_.assign(classes, 0);
        first_pinned_.assign(nodes_, none);
        next_pinned_.assign(classes, none);
        group_slot_.assign(classes_.groups(), none);
        here_.assign(classes, 0);
        here_in_group_.assign(classes_.groups(), 0);
        fixed_in_group_.assign(classes_.groups(), 0);
        find_gated();
        for (number c = 0; c < classes; ++c) add_class(c);
        slot_from_.reserve(nodes_ + 1);
        places_.reserve(nodes_);
        for (number n = 0; n < nodes_; ++n) add_node(n);
        slot_from_.push_back(static_cast<number>(slots_.size()));
        if (placeable_ > 0) network_.add_edge(nowhere, sink, placeable_, placeable_);
        network_.build();
    }

    // Where more could be on the way out than there is room for now: orphans enter through a gate as wide as that.
    void find_gated() {
        gate_.assign(nodes_, none);
        gated_.assign(nodes_, 0);
        for (number n = 0; n < nodes_; ++n) {
            if (movable_[n] > 0 && open(n) && room(n) < placeable_) {
                gated_[n] = 1;
                any_gated_.push_back(n);
            }
        }
    }
    [[nodiscard]] bool open(number n) const { return view_.nodes[n].load <= view_.nodes[n].capacity; }
    [[nodiscard]] number room(number n) const {
        auto const& node = view_.nodes[n];
        return node.load < node.capacity ? node.capacity - node.load : 0;
    }

    void add_class(number c) {
        auto const& one = classes_[c];
        auto const orphans = one.nowhere ? 0 : census_.orphans(c);
        if (census_.movable(c) + orphans == 0) return;
        hub_[c] = network_.add_vertex();
        if (one.row != none) {
            roaming_.push_back(c);
        } else if (one.node != none) {
            next_pinned_[c] = first_pinned_[one.node];
            first_pinned_[one.node] = c;
        }
        if (orphans == 0) return;
        source_[c] = network_.add_vertex();
        network_.add_edge(source_[c], nowhere, orphans, orphans,
                          bit(later) | bit(broken) | bit(unplaced) | bit(entering));
        by_itself_[c] = one.group != none;
        for (auto const n : any_gated_) {
            if (by_itself_[c]) break;
            by_itself_[c] = classes_.allows(c, n);
        }
        network_.add_edge(source_[c], hub_[c], orphans, 0, by_itself_[c] ? bit(later) : 0);
    }

    void add_node(number n) {
        auto const& node = view_.nodes[n];
        number const vertex = first_node + n;
        number const fixed = node.load - movable_[n];
        number const most = node.capacity > fixed ? node.capacity - fixed : 0;
        number const within = most < units_ ? most : units_;
        number const kept = movable_[n] < within ? movable_[n] : within;
        network_.add_edge(vertex, sink, within, kept);
        network_.add_edge(vertex, sink, movable_[n] - kept, movable_[n] - kept, bit(excess));
        places_.push_back({vertex, fixed});

        slot_from_.push_back(static_cast<number>(slots_.size()));
        auto const here = census_.on(n);
        for (auto const& e : here) {
            here_[e.placement_class] = e.movable;
            auto const group = classes_[e.placement_class].group;
            if (group == none) continue;
            here_in_group_[group] += e.movable;
            fixed_in_group_[group] += e.fixed;
        }
        for (auto const c : roaming_) {
            if (classes_.allows(c, n)) add_place(c, n, true);
        }
        for (auto c = first_pinned_[n]; c != none; c = next_pinned_[c]) add_place(c, n, true);
        for (auto const& e : here) {
            if (e.movable > 0 && !classes_.allows(e.placement_class, n)) add_place(e.placement_class, n, false);
        }
        for (auto const& e : here) {
            here_[e.placement_class] = 0;
            auto const group = classes_[e.placement_class].group;
            if (group != none) here_in_group_[group] = fixed_in_group_[group] = 0;
        }
    }

    // What class c may do on node n: stay, enter, be placed there at once.
    void add_place(number c, number n, bool allowed) {
        auto const group = classes_[c].group;
        auto const stay = here_[c];
        auto vertex = first_node + n;
        bool may_enter = allowed && open(n) && view_.nodes[n].capacity > 0;
        bool at_once = may_enter && room(n) > 0;
        number most = units_;
        if (group != none) {
            auto const movable = here_in_group_[group];
            auto const fixed = fixed_in_group_[group];
            may_enter = may_enter && movable + fixed < 2 && fixed == 0;
            at_once = at_once && movable + fixed == 0;
            if (!may_enter && movable == 0) return;
            vertex = slot_vertex(group, n);
            most = 1;
        }
        network_.add_edge(hub_[c], vertex, stay, stay, allowed ? 0 : bit(broken));
        if (may_enter) network_.add_edge(hub_[c], vertex, most, 0, bit(entering));
        if (!at_once || source_[c] == none || !by_itself_[c]) return;
        if (gated_[n] && group == none) vertex = gate_vertex(n);
        network_.add_edge(source_[c], vertex, most, 0, bit(entering));
    }

    number slot_vertex(number group, number n) {
        auto const known = group_slot_[group];
        if (known != none && slots_[known].node == n) return slot_vertices_[known];
        auto const movable = here_in_group_[group];
        auto const fixed = fixed_in_group_[group];
        group_slot_[group] = static_cast<number>(slots_.size());
        auto const vertex = network_.add_vertex();
        slots_.push_back({group, n, movable + fixed});
        slot_vertices_.push_back(vertex);
        note_vertex(vertex, n, group_slot_[group]);
        number const lawful = fixed == 0 ? 1 : 0;
        number const kept = movable < lawful ? movable : lawful;
        network_.add_edge(vertex, first_node + n, lawful, kept);
        network_.add_edge(vertex, first_node + n, movable - kept, movable - kept, bit(broken));
        return vertex;
    }

    number gate_vertex(number n) {
        if (gate_[n] == none) {
            gate_[n] = network_.add_vertex();
            note_vertex(gate_[n], n, none);
            network_.add_edge(gate_[n], first_node + n, room(n), 0);
        }
        return gate_[n];
    }

    // Slots and gates are added one after the other, behind all else.
    void note_vertex(number vertex, number n, number slot_index) {
        if (behind_.empty()) first_behind_ = vertex;
        behind_.push_back({n, slot_index});
    }
    struct location {
        number node;
        number slot;
    };
    [[nodiscard]] location location_of(number vertex) const {
        if (vertex - first_node < nodes_) return {vertex - first_node, none};
        return behind_[vertex - first_behind_];
    }

    // ---- what the flow says

    void read_flow() {
        std::vector<number> left(nodes_, 0);
        std::vector<number> entered(nodes_, 0);
        std::vector<number> slot_at(nodes_, none);
        std::vector<number> touched;
        waiting_.assign(classes_.count(), 0);
        for (number c = 0; c < classes_.count(); ++c) {
            if (hub_[c] == none) continue;
            network_.each_edge(hub_[c], [&](number to, number units, number rest, unsigned goals) {
                bool const enters = (goals & bit(entering)) != 0;
                auto const changed = enters ? units : rest;
                if (changed == 0) return;
                auto const at = location_of(to);
                if (left[at.node] + entered[at.node] == 0) touched.push_back(at.node);
                slot_at[at.node] = at.slot;
                (enters ? entered : left)[at.node] += changed;
            });
            for (auto const n : touched) {
                auto const both = left[n] < entered[n] ? left[n] : entered[n];
                if (left[n] > both) departures_.push_back({c, n, slot_at[n], left[n] - both});
                if (entered[n] > both) entrances_.push_back({c, n, slot_at[n], entered[n] - both});
                left[n] = entered[n] = 0;
            }
            touched.clear();
            if (source_[c] == none) continue;
            network_.each_edge(source_[c], [&](number to, number units, number, unsigned) {
                if (units == 0 || to == nowhere) return;
                if (to == hub_[c]) {
                    waiting_[c] = units;
                    return;
                }
                auto const at = location_of(to);
                placements_.push_back({c, at.node, at.slot, units});
            });
        }
    }

    // ---- steps

    void order_steps(plan& into) {
        std::vector<number> held;
        held.reserve(slots_.size());
        for (auto const& one : slots_) held.push_back(one.held);
        orderer order{view_, into, static_cast<std::vector<number>&&>(held)};

        auto leaving = leaving_schedules();
        auto const at_once = units_of(placements_);  // counted first, since they come first
        auto entering_units = units_of(entrances_);
        std::vector<change>{}.swap(entrances_);
        std::vector<change>{}.swap(placements_);
        // Which entrances are those of orphans is open within a class, but for the group's slots.
        std::vector<entrance> placing;
        placing.reserve(placeable_);
        std::vector<number> sooner(classes_.count(), 0);
        for (auto const& one : at_once) {
            bool const exchangeable = one.slot == none;
            (exchangeable ? entering_units : placing).push_back(one);
            sooner[one.placement_class] += exchangeable;
        }
        into.bound = static_cast<number>(leaving.size());

        // Per class: its orphans enter at once, unless its edges say that they wait; then what must leave, from the
        // fullest node first, to the emptiest that has room.
        std::vector<departure> spare_departures;
        std::vector<entrance> spare;
        spare.reserve(entering_units.size() + placing.size());
        radix_sort(entering_units, 0, spare, [](entrance const& e) { return std::uint64_t{e.rank}; });
        radix_sort(entering_units, 0, spare, [](entrance const& e) { return std::uint64_t{e.placement_class}; });
        radix_sort(leaving, 0, spare_departures, [](departure const& d) { return ~d.rank; });
        radix_sort(leaving, 0, spare_departures, [](departure const& d) {
            return std::uint64_t{d.step.placement_class} * 2 + !is_required(d.step.why);
        });
        std::vector<entrance> reserved;
        std::size_t in = 0;
        std::size_t out = 0;
        for (number c = 0; c < classes_.count(); ++c) {
            if (!by_itself_[c]) sooner[c] = waiting_[c];
            for (number k = 0; k < sooner[c]; ++k) placing.push_back(entering_units[in++]);
            for (; out < leaving.size() && leaving[out].step.placement_class == c; ++out, ++in) {
                auto const& entrance_unit = entering_units[in];
                ROTA_ASSERT(entrance_unit.placement_class == c);
                leaving[out].step.to = entrance_unit.node;
                leaving[out].step.to_slot = entrance_unit.slot;
                leaving[out].rank += full - (entrance_unit.rank & ~full);
            }
            for (; in < entering_units.size() && entering_units[in].placement_class == c; ++in) {
                reserved.push_back(entering_units[in]);
            }
        }

        std::vector<entrance>{}.swap(entering_units);  // the longest lists there are: each lives as briefly as it can
        place_orphans(order, placing, spare, into);
        radix_sort(leaving, 0, spare_departures, [](departure const& d) { return ~d.rank; });
        std::vector<pending_step> steps;
        steps.reserve(leaving.size());
        for (auto const& one : leaving) steps.push_back(one.step);
        std::vector<departure>{}.swap(leaving);
        std::vector<departure>{}.swap(spare_departures);
        order.set_moves(static_cast<std::vector<pending_step>&&>(steps));
        order.make_required([this](number c, orderer const& now, number& at) { return emptiest_open(c, now, at); });
        for (auto const& one : reserved) order.make_room(one.node, one.slot);
        order.make_others();

        into.voluntary = static_cast<number>(into.moves.size()) - into.forced;
        into.spread_after = spread_of(&order.loads());
        list_stuck(into, &order);
        ROTA_ASSERT(into.voluntary <= into.bound);
    }

    // Which schedules leave: on each node the first of the class.
    std::vector<departure> leaving_schedules() {
        std::vector<departure> leaving;
        std::vector<change> spare;
        radix_sort(departures_, 0, spare, [](change const& c) { return std::uint64_t{c.node}; });
        std::vector<number> still(classes_.count(), 0);
        std::vector<number> unlawful(classes_.count(), 0);
        std::vector<number> slot_at(classes_.count(), none);
        std::vector<number> surplus(classes_.groups(), 0);
        for (std::size_t i = 0; i < departures_.size();) {
            auto const n = departures_[i].node;
            auto const& node = view_.nodes[n];
            auto over = node.load > node.capacity ? node.load - node.capacity : 0;
            for (auto k = slot_from_[n]; k < slot_from_[n + 1]; ++k) {
                surplus[slots_[k].group] = slots_[k].held > 1 ? slots_[k].held - 1 : 0;
            }
            for (; i < departures_.size() && departures_[i].node == n; ++i) {
                auto const& one = departures_[i];
                auto const c = one.placement_class;
                still[c] = one.count;
                slot_at[c] = one.slot;
                auto const group = classes_[c].group;
                unlawful[c] = classes_.allows(c, n) && (group == none || surplus[group] == 0) ? 0
                              : !classes_.allows(c, n) || surplus[group] > one.count          ? one.count
                                                                                              : surplus[group];
                if (group != none) surplus[group] -= unlawful[c] < surplus[group] ? unlawful[c] : surplus[group];
                over -= unlawful[c] < over ? unlawful[c] : over;
            }
            std::uint64_t load = node.load;
            for (auto const s : node.schedules) {
                auto const c = classes_.of_kind(view_.schedules[s].kind);
                if (still[c] == 0 || !view_.may_move(s)) continue;
                auto why = change_reason::rebalanced;
                if (unlawful[c] > 0) {
                    --unlawful[c];
                    why = change_reason::constrained;
                } else if (over > 0) {
                    --over;
                    why = node.draining ? change_reason::drained : change_reason::overfull;
                }
                --still[c];
                leaving.push_back({{s, n, none, c, slot_at[c], none, why}, load--});
            }
            for (auto k = slot_from_[n]; k < slot_from_[n + 1]; ++k) surplus[slots_[k].group] = 0;
        }
        return leaving;
    }

    // One by one; nodes without room last, then the emptiest first.
    std::vector<entrance> units_of(std::vector<change> const& changes) {
        if (entered_.empty()) entered_.assign(nodes_, 0);
        std::size_t count = 0;
        for (auto const& one : changes) count += one.count;
        std::vector<entrance> units;
        units.reserve(count);
        for (auto const& one : changes) {
            auto const& node = view_.nodes[one.node];
            for (number k = 0; k < one.count; ++k) {
                auto const load = node.load + entered_[one.node]++;
                auto const rank = load < full ? load : full - 1;
                units.push_back({one.placement_class, one.node, one.slot, load < node.capacity ? rank : rank + full});
            }
        }
        return units;
    }

    void place_orphans(orderer& order, std::vector<entrance>& placing, std::vector<entrance>& spare, plan& into) {
        radix_sort(placing, 0, spare, [](entrance const& e) { return std::uint64_t{e.rank}; });
        std::vector<number> first(classes_.count() + 1, 0);
        for (auto const s : view_.orphans) ++first[classes_.of_kind(view_.schedules[s].kind) + 1];
        for (number c = 0; c < classes_.count(); ++c) first[c + 1] += first[c];
        orphans_.resize(view_.orphans.size());
        next_orphan_ = first;
        for (auto const s : view_.orphans) orphans_[next_orphan_[classes_.of_kind(view_.schedules[s].kind)]++] = s;
        next_orphan_ = first;

        std::vector<number> missed;
        into.moves.reserve(placing.size() + into.bound);
        for (auto const& one : placing) {
            if (order.open(one.node, one.slot)) {
                order.place(orphans_[next_orphan_[one.placement_class]++], one.node, one.slot);
            } else {
                missed.push_back(one.placement_class);
            }
        }
        for (auto const c : missed) {
            number at = none;
            auto const n = emptiest_open(c, order, at);
            if (n != none) order.place(orphans_[next_orphan_[c]++], n, at);
        }
        into.forced = static_cast<number>(into.moves.size());
        into.unplaced = static_cast<number>(view_.orphans.size()) - into.forced;
        into.imbalance = imbalance_of(order);
    }

    number emptiest_open(number c, orderer const& now, number& at) const {
        auto best = none;
        for (number n = 0; n < nodes_; ++n) {
            if (!open(n) || !classes_.allows(c, n) || (best != none && now.load(n) >= now.load(best))) continue;
            auto const candidate = slot_of(classes_[c].group, n);
            if (classes_[c].group != none && candidate == none) continue;
            if (!now.open(n, candidate)) continue;
            best = n;
            at = candidate;
        }
        return best;
    }

    [[nodiscard]] number slot_of(number group, number n) const {
        if (group == none) return none;
        for (auto k = slot_from_[n]; k < slot_from_[n + 1]; ++k) {
            if (slots_[k].group == group) return k;
        }
        return none;
    }

    // ---- the certificate

    [[nodiscard]] double spread_of(std::vector<number> const* loads) const {
        if (nodes_ == 0) return 0;
        number fullest = 0;
        number emptiest = none;
        for (number n = 0; n < nodes_; ++n) {
            auto const load = loads ? (*loads)[n] : view_.nodes[n].load;
            if (load > fullest) fullest = load;
            if (load < emptiest) emptiest = load;
        }
        return fullest - emptiest;
    }

    // Once the orphans are placed.
    [[nodiscard]] double imbalance_of(orderer const& order) const {
        number farthest = 0;
        double total = 0;
        for (number n = 0; n < nodes_; ++n) {
            auto const load = order.load(n);
            auto const& band = bands_[n];
            auto const off = load > band.high ? load - band.high : load < band.low ? band.low - load : 0;
            if (off > farthest) farthest = off;
            total += load;
        }
        return farthest == 0 ? 0 : farthest / (total / nodes_);
    }

    void list_stuck(plan& into, orderer const* order) {
        if (into.unplaced == 0) return;
        std::vector<number> placed(classes_.count(), 0);
        for (number i = 0; i < into.forced; ++i) {
            ++placed[classes_.of_kind(view_.schedules[into.moves[i].schedule].kind)];
        }
        std::vector<no_place> why(classes_.count());
        for (number c = 0; c < classes_.count(); ++c) {
            auto const& one = classes_[c];
            why[c] = one.nowhere || !order ? one.why : why_not(c, *order);
        }
        // The first ones of each class were placed, and of those that were not the first ones wait for room.
        std::vector<number> waits(classes_.count(), 0);
        for (number c = 0; c < classes_.count() && order; ++c) waits[c] = by_itself_[c] ? waiting_[c] : 0;
        for (auto const s : view_.orphans) {
            auto const c = classes_.of_kind(view_.schedules[s].kind);
            if (placed[c] > 0) {
                --placed[c];
            } else if (waits[c] > 0) {
                --waits[c];
                into.stuck.push_back({s, no_place::waits});
            } else {
                into.stuck.push_back({s, why[c]});
            }
        }
    }

    [[nodiscard]] no_place why_not(number c, orderer const& order) const {
        auto const group = classes_[c].group;
        if (group == none) return no_place::no_room;
        for (number n = 0; n < nodes_; ++n) {
            if (!classes_.allows(c, n)) continue;
            auto const at = slot_of(group, n);
            bool taken_by_other = at != none && order.held(at) > 0;
            for (auto const& e : census_.on(n)) {
                taken_by_other = taken_by_other || (classes_[e.placement_class].group == group && e.fixed > 0);
            }
            if (!taken_by_other) return no_place::no_room;
        }
        return no_place::group_apart;
    }

    cluster_view const& view_;
    placement_classes<T> const& classes_;
    class_census<T> const& census_;
    number nodes_;

    std::vector<number> movable_;  // per node
    number units_ = 0;             // schedules that the network is about
    number placeable_ = 0;         // orphans among them
    bool rules_broken_ = false, over_capacity_ = false;

    flow network_;
    std::vector<typename flow::place> places_;
    std::vector<typename flow::band> bands_;
    std::vector<number> hub_, source_;  // per class: its vertex, and that of its orphans
    std::vector<char> by_itself_;       // per class: its orphans are placed by edges of their own
    std::vector<number> roaming_;       // classes that are not pinned
    std::vector<number> first_pinned_, next_pinned_;
    std::vector<number> gate_;  // per node, its vertex
    std::vector<char> gated_;
    std::vector<number> any_gated_;
    std::vector<slot> slots_;
    std::vector<number> slot_vertices_;
    std::vector<number> slot_from_;   // per node, into slots_
    std::vector<number> group_slot_;  // the latest of the group
    std::vector<number> here_, here_in_group_, fixed_in_group_;
    std::vector<location> behind_;
    number first_behind_ = 0;

    std::vector<change> departures_, entrances_, placements_;
    std::vector<number> waiting_;  // per class: orphans that flow through it
    std::vector<number> entered_;
    std::vector<number> orphans_, next_orphan_;  // by class
};

}  // namespace rota::detail
