// Rules first, then a strategy that knows of none: what has rules is placed and moved greedily, each schedule to the
// node that will do, has room and carries the least; the strategy then plans for all else, seeing what has rules as fixed.
// Not exact, but for any strategy, for any number of rules, and while the leader still reads who owns what.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "../cluster_view.hpp"
#include "../strategy/layers.hpp"
#include "late.hpp"
#include "placement_classes.hpp"

namespace rota::detail {

template <typename T>
class rules_first {
    using cluster_view = late<rota::cluster_view, T>;
    using plan = late<rota::plan, T>;
    using number = std::uint32_t;

public:
    static constexpr number none = ~number{0};

    rules_first(cluster_view const& view, placement_classes<T> const& classes)
        : view_{view},
          classes_{classes},
          nodes_{view.nodes.begin(), view.nodes.end()} {
        leaving_.assign(nodes_.size(), 0);
        order_.resize(classes.count());
        while (width_ < nodes_.size()) width_ *= 2;
    }

    template <typename S>
    void make_plan(S const& strategy, plan& into) {
        note_groups();
        place_orphans();
        if (view_.complete) move_what_must();
        ask_strategy(strategy);
        join_plans(into);
    }

private:
    [[nodiscard]] number class_of(number s) const { return classes_.of_kind(view_.schedules[s].kind); }

    // ---- the node that carries the least

    struct candidate {
        double weight;
        number node;
    };
    static bool before(candidate const& a, candidate const& b) {
        return a.weight < b.weight || (a.weight == b.weight && a.node < b.node);
    }
    [[nodiscard]] double weight_of(number n) const { return view_.complete ? nodes_[n].weight : nodes_[n].load; }

    // A heap per class. What a node carries mostly rises, so an entry that is out of date is found when it comes to the
    // top; a node that has given something away may be found late.
    struct heap {
        std::vector<candidate> items;
        std::size_t kept = 0;
        bool filled = false;
    };
    static constexpr std::size_t most_kept =
        2'000'000;  // candidates in all heaps; beyond that it is searched each time

    static void sift_down(std::vector<candidate>& items, std::size_t at) {
        for (;;) {
            auto least = at;
            for (auto const child : {2 * at + 1, 2 * at + 2}) {
                if (child < items.size() && before(items[child], items[least])) least = child;
            }
            if (least == at) return;
            auto const moved = items[at];
            items[at] = items[least];
            items[least] = moved;
            at = least;
        }
    }

    [[nodiscard]] bool has_room(number n) const {
        return view_.nodes[n].load <= view_.nodes[n].capacity && nodes_[n].load + leaving_[n] < nodes_[n].capacity;
    }

    /// The best node for one of class c, or none.
    number best_node(number c) {
        auto const& one = classes_[c];
        if (one.nowhere) return none;
        if (one.row == none) return has_room(one.node) && apart(one.group, one.node) ? one.node : none;
        auto& from = order_[c];
        if (!from.filled) {
            if (kept_ > most_kept) return searched_node(c);
            fill(from, c);
        }
        while (!from.items.empty()) {
            auto& top = from.items.front();
            bool const usable = has_room(top.node) && apart(one.group, top.node);
            if (usable && top.weight == weight_of(top.node)) return top.node;
            if (usable) {
                top.weight = weight_of(top.node);
            } else {
                top = from.items.back();
                from.items.pop_back();
            }
            sift_down(from.items, 0);
        }
        return none;
    }

    void fill(heap& into, number c) {
        into.filled = true;
        for (number n = 0; n < nodes_.size(); ++n) {
            if (classes_.allows(c, n) && has_room(n)) into.items.push_back({weight_of(n), n});
        }
        for (auto at = into.items.size() / 2; at-- > 0;) sift_down(into.items, at);
        into.kept = into.items.size();
        kept_ += into.kept;
    }
    void forget(heap& one) {
        kept_ -= one.kept;
        one = {};
    }

    [[nodiscard]] number searched_node(number c) const {
        auto best = none;
        for (number n = 0; n < nodes_.size(); ++n) {
            if (!classes_.allows(c, n) || !has_room(n)) continue;
            if (best != none && weight_of(n) >= weight_of(best)) continue;
            if (apart(classes_[c].group, n)) best = n;
        }
        return best;
    }

    // ---- groups

    [[nodiscard]] std::size_t pair_of(number group, number n) const { return std::size_t{group} * width_ + n; }

    // Which groups have one on which node. A group that has left a node keeps its place until the next plan.
    void note_groups() {
        if (classes_.groups() == 0 || !view_.complete) return;
        for (number n = 0; n < nodes_.size(); ++n) {
            for (auto const s : view_.nodes[n].schedules) {
                auto const group = classes_[class_of(s)].group;
                if (group != none) taken_.number_of(pair_of(group, n), [](number) { return true; });
            }
        }
    }
    [[nodiscard]] bool apart(number group, number n) const { return group == none || !taken_.has(pair_of(group, n)); }

    void arrive(number s, number n) {
        ++nodes_[n].load;
        nodes_[n].weight += view_.schedules[s].weight;
        auto const group = classes_[class_of(s)].group;
        if (group != none) taken_.number_of(pair_of(group, n), [](number) { return true; });
        arrived_.push_back({s, n});
    }

    // ---- what has rules

    // Those that few nodes will do for come first.
    void place_orphans() {
        std::vector<std::vector<number>> by_class(classes_.count());
        for (auto const s : view_.orphans) {
            auto const c = class_of(s);
            if (classes_[c].anywhere) {
                free_orphans_.push_back(s);
            } else {
                by_class[c].push_back(s);
            }
        }
        for (bool const pinned : {true, false}) {
            for (number c = 0; c < classes_.count(); ++c) {
                if ((classes_[c].row == none) == pinned) place_class(c, by_class[c]);
            }
        }
    }

    void place_class(number c, std::vector<number> const& orphans) {
        bool const waits = classes_[c].group != none && !view_.complete && !classes_[c].nowhere;
        for (auto const s : orphans) {
            auto const n = waits ? none : best_node(c);
            if (n != none) {
                placed_.push_back({s, none, n, change_reason::placed});
                arrive(s, n);
            } else {
                stuck_.push_back({s, waits ? no_place::waits : why_not(c)});
            }
        }
        forget(order_[c]);
    }

    [[nodiscard]] no_place why_not(number c) const {
        auto const& one = classes_[c];
        if (one.nowhere) return one.why;
        if (one.group == none) return no_place::no_room;
        for (number n = 0; n < nodes_.size(); ++n) {
            if (classes_.allows(c, n) && apart(one.group, n)) return no_place::no_room;
        }
        return no_place::group_apart;
    }

    // Off the nodes where their rules do not let them be; and off those that hold more than they may, if what has no
    // rules is not enough.
    void move_what_must() {
        for (number n = 0; n < nodes_.size(); ++n) {
            if (has_room(n)) room_ += nodes_[n].capacity - nodes_[n].load;
        }
        std::vector<number> seen(classes_.groups(), none);
        std::vector<char> gone;
        for (number n = 0; n < nodes_.size(); ++n) {
            auto const& node = view_.nodes[n];
            gone.assign(node.schedules.size(), 0);
            number free = 0;
            // A member that cannot be moved is the one that stays.
            for (auto const s : node.schedules) {
                auto const& one = classes_[class_of(s)];
                if (one.group != none && !view_.may_move(s)) seen[one.group] = n;
            }
            for (std::size_t i = 0; i < node.schedules.size(); ++i) {
                auto const s = node.schedules[i];
                auto const c = class_of(s);
                auto const& one = classes_[c];
                if (!view_.may_move(s)) continue;
                if (one.anywhere) {
                    ++free;
                    continue;
                }
                bool const again = one.group != none && seen[one.group] == n;
                if (one.group != none) seen[one.group] = n;
                if (!again && classes_.allows(c, n)) continue;
                gone[i] = move_off(s, n, change_reason::constrained);
            }
            auto const why = node.draining ? change_reason::drained : change_reason::overfull;
            for (std::size_t i = 0; i < node.schedules.size() && nodes_[n].load > excess_limit(n, free); ++i) {
                auto const s = node.schedules[i];
                if (gone[i] || classes_[class_of(s)].anywhere || !view_.may_move(s)) continue;
                move_off(s, n, why);
            }
        }
    }
    // What the node may keep for the strategy to bring down to its capacity.
    [[nodiscard]] std::uint64_t excess_limit(number n, number free) const {
        return std::uint64_t{view_.nodes[n].capacity} + free;
    }

    // Orphans come before moves: what has no rules, and no owner, finds the room that it needs.
    bool move_off(number s, number n, change_reason why) {
        if (room_ <= free_orphans_.size()) return false;
        auto const to = best_node(class_of(s));
        if (to == none || to == n) return false;
        moved_.push_back({s, n, to, why});
        --nodes_[n].load;
        nodes_[n].weight -= view_.schedules[s].weight;
        ++leaving_[n];
        --room_;
        arrive(s, to);
        return true;
    }

    // ---- all else

    // A place that is being left is not free before the plan has been carried out: capacities are lowered by as much.
    template <typename S>
    void ask_strategy(S const& strategy) {
        std::vector<typename cluster_view::schedule> schedules{view_.schedules.begin(), view_.schedules.end()};
        for (auto& one : schedules) {
            if (!classes_[classes_.of_kind(one.kind)].anywhere) one.moving = true;
            one.kind = 0;
        }
        for (auto const& one : arrived_) schedules[one.schedule].owner = one.node;
        auto const kept = schedules_of_nodes();
        for (number n = 0; n < nodes_.size(); ++n) {
            auto const& before_plan = view_.nodes[n];
            if (before_plan.capacity == unlimited) continue;
            if (before_plan.load <= before_plan.capacity) {
                nodes_[n].capacity -= leaving_[n];
            } else if (nodes_[n].load < nodes_[n].capacity) {
                nodes_[n].capacity = nodes_[n].load;
            }
        }
        auto rest = view_;
        rest.nodes = nodes_;
        rest.schedules = schedules;
        rest.orphans = free_orphans_;
        rest.kinds = {};
        ask(strategy, rest, rest_);
    }

    // Of the nodes that something came to or went from; nodes_ points to them.
    std::vector<number> schedules_of_nodes() {
        std::vector<number> kept;
        if (!view_.complete) return kept;
        std::vector<number> come(nodes_.size(), 0);
        std::size_t count = 0;
        for (auto const& one : arrived_) ++come[one.node];
        for (number n = 0; n < nodes_.size(); ++n) {
            if (come[n] + leaving_[n] > 0) count += view_.nodes[n].schedules.size() + come[n];
        }
        kept.resize(count);
        std::vector<char> away(count == 0 ? 0 : view_.schedules.size(), 0);
        for (auto const& one : moved_) away[one.schedule] = 1;
        std::vector<std::size_t> end(nodes_.size(), 0);
        std::size_t at = 0;
        std::vector<std::size_t> begin(nodes_.size(), 0);
        for (number n = 0; n < nodes_.size(); ++n) {
            if (come[n] + leaving_[n] == 0) continue;
            begin[n] = at;
            end[n] = at;
            for (auto const s : view_.nodes[n].schedules) {
                if (!away[s]) kept[end[n]++] = s;
            }
            at += view_.nodes[n].schedules.size() + come[n];
        }
        for (auto const& one : arrived_) kept[end[one.node]++] = one.schedule;
        for (number n = 0; n < nodes_.size(); ++n) {
            if (come[n] + leaving_[n] > 0) nodes_[n].schedules = {kept.data() + begin[n], kept.data() + end[n]};
        }
        return kept;
    }

    // Placements of both, what must move of both, the rest.
    void join_plans(plan& into) {
        auto const forced = rest_.forced;
        std::size_t required = forced;
        while (required < rest_.moves.size() && rest_.moves[required].required()) ++required;
        auto const end = view_.complete ? rest_.moves.size() : forced;
        if (required > end) required = end;
        into.clear();
        auto const append = [&](auto const& moves, std::size_t from, std::size_t to) {
            for (auto i = from; i < to; ++i) into.moves.push_back(moves[i]);
        };
        append(placed_, 0, placed_.size());
        append(rest_.moves, 0, forced);
        append(moved_, 0, moved_.size());
        append(rest_.moves, forced, required);
        append(rest_.moves, required, end);
        into.forced = static_cast<number>(placed_.size()) + forced;
        into.voluntary = static_cast<number>(into.moves.size()) - into.forced;
        into.bound = static_cast<number>(moved_.size()) + rest_.bound;
        into.unplaced = static_cast<number>(view_.orphans.size()) - into.forced;
        into.spread_before = rest_.spread_before;
        into.spread_after = rest_.spread_after;
        into.imbalance = rest_.imbalance;
        into.interchangeable = rest_.interchangeable;
        into.revisit = rest_.revisit;
        for (auto const& one : stuck_) into.stuck.push_back(one);
        for (auto const& one : rest_.stuck) into.stuck.push_back(one);
    }

    struct arrival {
        number schedule;
        number node;
    };

    cluster_view const& view_;
    placement_classes<T> const& classes_;
    std::vector<typename cluster_view::node> nodes_;  // as they will be
    std::vector<number> leaving_;                     // of each node
    std::vector<heap> order_;                         // per class
    std::size_t kept_ = 0;                            // candidates in them
    std::size_t width_ = 1;
    numbering<> taken_;  // pairs of group and node
    std::vector<number> free_orphans_;
    std::uint64_t room_ = 0;  // for orphans and moves, on all nodes
    std::vector<arrival> arrived_;
    std::vector<move> placed_, moved_;
    std::vector<unplaced_schedule> stuck_;
    plan rest_;
};

}  // namespace rota::detail
