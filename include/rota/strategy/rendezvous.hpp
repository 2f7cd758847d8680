// Placement by hash: each schedule belongs to the node that draws the highest score for it, by highest random weight
// (Thaler, Ravishankar 1998), so that who owns what follows from who is there. When a node joins, only what it wins
// moves, all of it to that node; when one goes, only what it had. In return, loads are even by chance only: about
// sqrt(mean) off the mean. bounded_rendezvous limits that.
//
// Weighted by the logarithmic method: a node of weight w that draws u, uniform in (0, 1), scores -w / ln(u), and wins
// schedules in proportion to w. A node's weight is its capacity where every node that takes part states one, else all
// weigh the same. So one node that joins without a capacity, where all others have one, moves much.
//
// Not promised: the same owners after some history and from nothing, once nodes are full (see below).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../cluster_view.hpp"
#include "../detail/assert.hpp"
#include "../detail/late.hpp"
#include "../detail/radix_sort.hpp"
#include "hashing.hpp"

namespace rota {

/// Stateless; any thread may use it. Weights of schedules mean nothing to it. Each plan scores each schedule on each
/// node: time is O(schedules x nodes), some 3 ns a pair, whether there is something to do or not; memory is 24 bytes
/// per schedule, 56 where nodes are full. Each id is hashed once.
///
/// Where more schedules want a node than it may hold, those with the higher hash have it, and the others belong to the
/// best that is left for them: again the same whatever their history. What is moving, or has just moved, counts for
/// where it is. Drained nodes take no part.
///
/// Every step is to where the schedule belongs, with one exception: an orphan, or what has to leave its node, goes to
/// the best node with room if its own is full until a later step of the plan; the next plan then moves it there. But
/// for those, planning on the result gives an empty plan. Two full nodes cannot exchange schedules, as no prefix may go
/// over a capacity; such moves are left out. More schedules than capacity: orphans first, the rest stays.
///
/// The certificate: `bound` is the number of schedules that may move and are not where they belong; `voluntary` equals
/// it unless full nodes stand against that. Spread is by count. `imbalance` is the largest number of schedules that a
/// node has to give, or to get from others, as a fraction of the mean load.
struct rendezvous {
    bool by_capacity = true;  ///< false: all nodes weigh the same, whatever their capacities

    template <typename T = void>  // see late.hpp
    void make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const;
};

namespace detail {

// One run of a strategy that places by hash: where everything belongs, then the steps that lead there.
template <typename T>
class hash_run {
    using cluster_view = late<rota::cluster_view, T>;
    using plan = late<rota::plan, T>;

public:
    hash_run(cluster_view const& view, plan& into, bool by_capacity, std::uint32_t limit) : view_{view}, plan_{into} {
        into.clear();
        loads_.reserve(view.nodes.size());
        most_.reserve(view.nodes.size());
        bool weighted = by_capacity;
        for (std::uint32_t i = 0; i < view.nodes.size(); ++i) {
            auto const& node = view.nodes[i];
            loads_.push_back(node.load);
            most_.push_back(node.capacity < limit ? node.capacity : limit);
            if (node.load < node.capacity) room_ += node.capacity - node.load;
            if (node.capacity == 0) continue;
            entrants_.push_back({hash_of_id(node.id), i, node.capacity});
            weighted = weighted && node.capacity != unlimited;
        }
        for (auto const& entrant : entrants_) {
            weighted_ = weighted_ || (weighted && entrant.weight != entrants_.front().weight);
        }
    }

    void run() {
        plan_.spread_before = spread();
        read();
        choose();
        measure();
        place_orphans();
        relieve();
        settle();
        plan_.voluntary = static_cast<std::uint32_t>(plan_.moves.size()) - plan_.forced;
        ROTA_ASSERT(plan_.voluntary <= plan_.bound);
        plan_.spread_after = spread();
    }

private:
    static constexpr auto none = cluster_view::none;

    struct node_entry {
        std::uint64_t hash;
        std::uint32_t node;
        std::uint32_t weight;
    };
    struct schedule_entry {
        std::uint64_t hash;
        std::uint32_t schedule;
        std::uint32_t owner;
        std::uint32_t home;  // where it belongs; none: nowhere
        std::uint32_t next;  // of those that wait for the same node
    };
    struct ranked {
        std::uint64_t hash;
        std::uint32_t item;
    };

    void read() {
        auto count = view_.orphans.size();
        if (view_.complete) {
            for (auto const& node : view_.nodes) count += node.schedules.size();
        }
        items_.reserve(count);
        for (auto const s : view_.orphans) items_.push_back({hash_of_id(view_.schedules[s].id), s, none, none, none});
        free_ = most_;
        for (std::uint32_t i = 0; i < view_.nodes.size(); ++i) {
            auto staying = view_.nodes[i].load;
            if (view_.complete) {
                for (auto const s : view_.nodes[i].schedules) {
                    if (!view_.may_move(s)) continue;
                    items_.push_back({hash_of_id(view_.schedules[s].id), s, i, none, none});
                    --staying;
                }
            }
            free_[i] -= staying < free_[i] ? staying : free_[i];
        }
    }

    // First choices; only where more want a node than it may have, in turn.
    void choose() {
        if (entrants_.empty()) return;
        std::vector<late<std::uint32_t, T>> wanted(view_.nodes.size());
        bool crowded = false;
        for (auto& item : items_) {
            item.home = weighted_ ? best_weighted(item.hash, anywhere{}) : best_of_equals(item.hash, anywhere{});
            crowded = ++wanted[item.home] > free_[item.home] || crowded;
        }
        if (!crowded) return;

        std::vector<ranked> ranks;
        std::vector<ranked> spare;
        ranks.reserve(items_.size());
        for (std::uint32_t i = 0; i < items_.size(); ++i) ranks.push_back({~items_[i].hash, i});
        radix_sort(ranks, 0, spare, [](ranked const& one) { return one.hash; });
        std::uint64_t left = 0;
        for (auto const n : free_) left += n;
        for (auto const& rank : ranks) {
            auto& item = items_[rank.item];
            if (free_[item.home] == 0) {
                item.home = left == 0 ? none : best(item.hash, [&](std::uint32_t node) { return free_[node] > 0; });
            }
            if (item.home == none) continue;
            --free_[item.home];
            --left;
        }
    }

    void measure() {
        std::vector<late<std::uint32_t, T>> leaving(view_.nodes.size());
        std::vector<late<std::uint32_t, T>> coming(view_.nodes.size());
        for (auto const& item : items_) {
            if (!stray(item)) continue;
            ++plan_.bound;
            ++leaving[item.owner];
            ++coming[item.home];
        }
        std::uint32_t farthest = 0;
        std::uint64_t total = view_.orphans.size() < room_ ? view_.orphans.size() : room_;
        for (std::uint32_t i = 0; i < loads_.size(); ++i) {
            auto const more = leaving[i] > coming[i] ? leaving[i] : coming[i];
            if (more > farthest) farthest = more;
            total += loads_[i];
        }
        plan_.imbalance = 0;
        if (farthest == 0) return;
        plan_.imbalance = farthest * static_cast<double>(loads_.size()) / static_cast<double>(total);
    }

    void place_orphans() {
        plan_.moves.reserve((view_.orphans.size() < room_ ? view_.orphans.size() : room_) + plan_.bound);
        for (std::size_t i = 0; i < view_.orphans.size(); ++i) {
            auto& item = items_[i];
            if (room_ == 0) {
                ++plan_.unplaced;
                plan_.stuck.push_back({item.schedule, no_place::no_room});
            } else {
                step(item, has_room(item.home) ? item.home : best_with_room(item.hash), change_reason::placed);
                ++plan_.forced;
            }
        }
    }

    // What nodes hold over their capacity and is at home elsewhere: first what can go there, then the others. That is
    // enough: there are no more places left than such schedules.
    void relieve() {
        bool overfull = false;
        for (std::uint32_t i = 0; i < loads_.size(); ++i) {
            overfull = overfull || loads_[i] > view_.nodes[i].capacity;
        }
        for (bool const at_home : {true, false}) {
            if (!overfull) return;
            for (auto& item : items_) {
                if (!stray(item) || room_ == 0 || (at_home && !has_room(item.home))) continue;
                auto const& node = view_.nodes[item.owner];
                if (loads_[item.owner] <= node.capacity) continue;
                step(item, at_home ? item.home : best_with_room(item.hash),
                     node.draining ? change_reason::drained : change_reason::overfull);
            }
        }
    }

    // Each step makes room for one that waits for the place that it leaves.
    void settle() {
        waiting_.assign(loads_.size(), none);
        for (std::uint32_t i = 0; i < items_.size(); ++i) {
            auto& item = items_[i];
            if (!stray(item)) continue;
            if (open(item.home)) {
                step_and_follow(item);
            } else {
                item.next = waiting_[item.home];
                waiting_[item.home] = i;
            }
        }
        // Rings of nodes at a limit below their capacity: one of them goes over it until the ring is through.
        for (std::uint32_t node = 0; node < loads_.size(); ++node) {
            while (waiting_[node] != none && loads_[node] < view_.nodes[node].capacity) follow_one(node);
        }
    }

    void step_and_follow(schedule_entry& first) {
        auto left = first.owner;
        step(first, first.home, change_reason::rebalanced);
        while (waiting_[left] != none && open(left)) left = take_waiting(left);
    }
    void follow_one(std::uint32_t node) {
        for (auto left = take_waiting(node); waiting_[left] != none && open(left);) left = take_waiting(left);
    }
    // Returns the node that has one less now.
    std::uint32_t take_waiting(std::uint32_t node) {
        auto& item = items_[waiting_[node]];
        waiting_[node] = item.next;
        auto const left = item.owner;
        step(item, node, change_reason::rebalanced);
        return left;
    }

    void step(schedule_entry& item, std::uint32_t to, change_reason why) {
        ROTA_ASSERT(to != none && loads_[to] < view_.nodes[to].capacity);
        plan_.moves.push_back({item.schedule, item.owner, to, why});
        if (item.owner != none) {
            if (loads_[item.owner]-- <= view_.nodes[item.owner].capacity) ++room_;
        }
        ++loads_[to];
        --room_;
        item.home = item.owner = none;  // done with
    }

    static bool stray(schedule_entry const& item) {
        return item.owner != none && item.home != none && item.home != item.owner;
    }
    // By its capacity: what has to go somewhere goes home even if that is at its limit until later steps.
    [[nodiscard]] bool has_room(std::uint32_t node) const {
        return node != none && loads_[node] < view_.nodes[node].capacity;
    }
    [[nodiscard]] bool open(std::uint32_t node) const { return node != none && loads_[node] < most_[node]; }

    [[nodiscard]] std::uint32_t best_with_room(std::uint64_t hash) const {
        auto const within = best(hash, [&](std::uint32_t node) { return open(node); });
        if (within != none) return within;
        return best(hash, [&](std::uint32_t node) { return has_room(node); });
    }

    struct anywhere {
        bool operator()(std::uint32_t) const { return true; }
    };

    template <typename Allowed>
    [[nodiscard]] std::uint32_t best(std::uint64_t schedule, Allowed const& allowed) const {
        return weighted_ ? best_weighted(schedule, allowed) : best_of_equals(schedule, allowed);
    }

    // Among equals the highest -1 / ln(u) is the highest u: no logarithm.
    template <typename Allowed>
    [[nodiscard]] std::uint32_t best_of_equals(std::uint64_t schedule, Allowed const& allowed) const {
        auto found = none;
        std::uint64_t highest = 0;
        for (auto const& entrant : entrants_) {
            auto const drawn = pair_hash(schedule, entrant.hash);
            if (drawn < highest || !allowed(entrant.node)) continue;
            if (drawn == highest && found != none) continue;
            highest = drawn;
            found = entrant.node;
        }
        return found;
    }

    // The lowest -ln(u) / w. As -ln(u) >= 1 - u, few nodes need the logarithm: those that may be the best yet.
    template <typename Allowed>
    [[nodiscard]] std::uint32_t best_weighted(std::uint64_t schedule, Allowed const& allowed) const {
        auto found = none;
        std::uint64_t best_drawn = 0;
        std::uint64_t best_log = 0;
        std::uint64_t best_weight = 0;
        for (auto const& entrant : entrants_) {
            auto const drawn = pair_hash(schedule, entrant.hash);
            auto const least = ~drawn >> (64 - log_fraction_bits);
            if (found != none && least * best_weight > (best_log + 2) * entrant.weight) continue;
            if (!allowed(entrant.node)) continue;
            std::uint64_t const log = minus_log(drawn);
            auto const own = log * best_weight;
            auto const other = best_log * entrant.weight;
            if (found != none && (own > other || (own == other && drawn <= best_drawn))) continue;
            found = entrant.node;
            best_drawn = drawn;
            best_log = log;
            best_weight = entrant.weight;
        }
        return found;
    }

    [[nodiscard]] double spread() const {
        if (loads_.empty()) return 0;
        auto fullest = loads_.front();
        auto emptiest = loads_.front();
        for (auto const load : loads_) {
            if (load > fullest) fullest = load;
            if (load < emptiest) emptiest = load;
        }
        return fullest - emptiest;
    }

    cluster_view const& view_;
    plan& plan_;
    std::vector<node_entry> entrants_;  // the nodes that may hold anything
    bool weighted_ = false;
    std::uint64_t room_ = 0;                       // places that are free now
    std::vector<late<std::uint32_t, T>> loads_;    // now
    std::vector<late<std::uint32_t, T>> most_;     // that is to belong to a node
    std::vector<late<std::uint32_t, T>> free_;     // of these, not given to anybody yet
    std::vector<schedule_entry> items_;            // orphans first; none that has to stay where it is
    std::vector<late<std::uint32_t, T>> waiting_;  // first item that waits for each node
};

}  // namespace detail

template <typename T>
void rendezvous::make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const {
    detail::hash_run<T>{view, into, by_capacity, unlimited}.run();
}

}  // namespace rota
