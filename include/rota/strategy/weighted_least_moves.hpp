// Even sums of weights, by few moves; capacities count schedules. The optimum is NP-hard (it contains PARTITION), so:
//
//   1. orphans, the largest first, each to the lightest node with room (LPT, Graham 1969);
//   2. what has to leave a drained or overfull node, in the same way;
//   3. from the heaviest node to the lightest with room, as long as that makes the heavier of the two lighter: the
//      schedule whose weight is nearest to what one has too much and the other lacks. This ends: sorted downwards, the
//      weights of the nodes only ever get smaller (the jumps of Brucker, Hurink, Werner 1996);
//   4. where the heaviest node may still be more than 1.5 x the optimum, it is because large schedules share a node
//      while small ones fill another: they are exchanged, then 3 again. What Aggarwal, Motwani, Zhu (The load
//      rebalancing problem, SPAA 2003) reach by PARTITION for a given number of moves is reached here for any number.
//   5. where full nodes keep that from being enough: a search for who gets the last places (detail/last_places.hpp).
//
// Not promised: fewest moves.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../cluster_view.hpp"
#include "../detail/assert.hpp"
#include "../detail/last_places.hpp"
#include "../detail/late.hpp"
#include "../detail/node_heap.hpp"
#include "../detail/radix_sort.hpp"

namespace rota {

/// Stateless; any thread may use it. A view whose nodes are even costs O(nodes) and no memory. Otherwise nodes that have
/// to give are read and sorted, and a step costs O(log nodes + log schedules of the node); memory is 32 bytes for each
/// schedule read, twice that while it is sorted. Each exchange of step 4 looks at every node.
///
/// Balanced is: no node holds more than it may while others have room, and no move of one schedule makes the heavier of
/// two nodes lighter that are further apart than `tolerance`. A balanced view gives an empty plan, so does the result of
/// a plan, and nothing goes back and forth. Exceptions: a place that becomes free only by a later step of a plan may be
/// used by the next plan alone; and after a search for the last places (step 5) the next plan may even out the rest.
///
/// The heaviest node that is not drained is to be, after the plan, at most 1.5 x as heavy as after the best sequence of as
/// many moves: of those that place the same orphans first, each step into a node with room at that time, no schedule twice,
/// with no node further above its capacity in the end, and the same left on drained ones for lack of room. (The lightest
/// are left over, orphans as well as these: that is settled before.) The ground for this:
///
///   - where no node that takes part is full in the end, it is proven (at exchange()), even against the best of all
///     distributions, whatever number of moves that takes; for any `tolerance` up to 0.5, and whatever may not move, which
///     binds the best as well;
///   - where bounds show that the heaviest is within 1.5 x what no distribution goes below, or what as many moves from the
///     nodes above that could relieve, there is nothing left to do;
///   - up to 64 schedules are searched exhaustively for a plan of as many moves that is better by a third, as far as
///     100,000 branches go. If these suffice, that is a proof (but for plans in which an overfull node gets something once
///     it has given more than it has to: of their orders not all are tried);
///   - more are improved by exchanges, with a limit on effort, for which nothing is proven. (A factor of 1.5 is known to be
///     within reach where all machines are empty and there is no limit on moves: Kellerer, Kotov, A 3/2-approximation
///     algorithm for k_i-partitioning, Operations Research Letters 39, 2011.)
///
/// Measured: of 600,000 small groups with scarce places, compared with all that such sequences reach, none is beyond 1.5 x.
/// Of 100,000 groups of up to 20 nodes and 400 schedules or more, most of them with scarce places, one is not shown to be
/// within it, nor to be beyond, by bounds and by a search of their own (tests/support/makespan_bound.hpp); of 10,000 of up
/// to 60 nodes, three.
///
/// The certificate: `bound` is proven: no plan that relieves drained and overfull nodes, and gets all weights into the
/// range that this one gets them into, has fewer voluntary moves. For heavy nodes have to lose their largest schedules
/// until they are within it, and light ones need so many of the largest there are.
/// Spread is by weight. `imbalance` is the largest distance of a node from where this plan brings it, once orphans are
/// placed, as a fraction of the mean weight.
///
/// Orphans without a place are the lightest ones. Of a view that is not complete nobody's weight is known: all wait.
/// Weights that are not above 0 count as 0. Equal weights are better served by least_moves, which is exact.
struct weighted_least_moves {
    double tolerance = 0.05;  ///< nodes are even within this fraction of the mean weight; 0..0.5

    template <typename T = void>  // see late.hpp
    void make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const;
};

namespace detail {

// Beyond these, sums lose what they are made of.
[[nodiscard]] inline double sane_weight(double weight) noexcept {
    return weight > 0 ? (weight < 1e200 ? weight : 1e200) : 0;
}

// That of a node, from its schedules if what the view says is no number.
template <typename View, typename Node>
double node_weight(View const& view, Node const& node) {
    if (node.weight >= 0 && node.weight <= 1e300) return node.weight;
    double sum = 0;
    for (auto const s : node.schedules) sum += sane_weight(view.schedules[s].weight);
    return sum;
}

// What nodes alone tell, without a look at any schedule.
struct weight_totals {
    double heaviest = 0;
    double lightest = 0;
    double lightest_with_room = 0;
    double sum = 0;  // of the nodes that take part: those that are not drained
    std::uint32_t members = 0;
    std::uint64_t room = 0;
    bool overfull = false;
};

template <typename View>
weight_totals weight_totals_of(View const& view) {
    weight_totals found;
    bool first = true;
    for (auto const& node : view.nodes) {
        auto const weight = node_weight(view, node);
        if (first || weight > found.heaviest) found.heaviest = weight;
        if (first || weight < found.lightest) found.lightest = weight;
        first = false;
        if (node.load > node.capacity) found.overfull = true;
        if (node.load < node.capacity) {
            if (found.room == 0 || weight < found.lightest_with_room) found.lightest_with_room = weight;
            found.room += node.capacity - node.load;
        }
        if (node.capacity == 0) continue;
        found.sum += weight;
        ++found.members;
    }
    return found;
}

template <typename T>
class weighted_run {
    using cluster_view = late<rota::cluster_view, T>;
    using plan = late<rota::plan, T>;

public:
    weighted_run(cluster_view const& view, plan& into, double tolerance)
        : view_{view},
          plan_{into},
          tolerance_{tolerance} {
        auto const count = view.nodes.size();
        weights_.reserve(count);
        counts_.reserve(count);
        for (auto const& node : view.nodes) {
            weights_.push_back(node_weight(view, node));
            counts_.push_back(node.load);
        }
        light_.begin(count);
        heavy_.begin(count);
        for (std::uint32_t i = 0; i < count; ++i) {
            if (counts_[i] < capacity(i)) light_.add_unordered(i, weights_[i]);
        }
        light_.order_all();
        peaks_ = counts_;
        lists_.resize(count);
        relieved_.resize(count);
    }

    void run() {
        place_orphans();
        auto placed = weights_;
        weigh(true);
        relieve();
        weigh(false);
        do {
            even_out();
        } while (exchange());
        give_last_places(placed);
        write(placed);
    }

private:
    static constexpr auto none = cluster_view::none;

    // A change of hands. What is taken on from where it was brought is brought there in the first place.
    struct change {
        double weight;
        std::uint32_t schedule;
        std::uint32_t from;
        std::uint32_t to;
        std::uint32_t next;  // of those that came to the same node since it was last sorted
        change_reason why;
    };
    // A schedule of a sorted node, the heaviest first. Those that are gone lead to ones that are not.
    struct place {
        double weight;
        std::uint32_t schedule;
        std::uint32_t entry;    // that brought it; none: it was here before
        std::uint32_t lighter;  // itself while it is here
        std::uint32_t heavier;
    };
    struct sorted_list {
        std::uint32_t begin = 0;
        std::uint32_t end = 0;
        std::uint32_t arrived = none;  // entry, the first of those that are not sorted in
        bool read = false;
    };
    struct weighed {
        double weight;
        std::uint32_t schedule;
        std::uint32_t node;
    };

    static std::uint64_t descending(double weight) { return ~std::bit_cast<std::uint64_t>(weight); }
    void sort_descending(std::vector<weighed>& all) {
        radix_sort(all, 0, spare_weighed_, [](weighed const& one) { return descending(one.weight); });
    }
    [[nodiscard]] double weight_of(std::uint32_t schedule) const {
        return sane_weight(view_.schedules[schedule].weight);
    }
    [[nodiscard]] std::uint32_t capacity(std::uint32_t node) const { return view_.nodes[node].capacity; }
    // Differences of weights below this are noise of sums.
    [[nodiscard]] static double noise(double weight) { return 1e-9 * weight; }

    // The mean of the nodes that take part, of which there is one at least: there is room. What drained nodes hold is
    // to be theirs, and counts until it is clear that it stays.
    void weigh(bool with_drained) {
        mean_ = 0;
        members_ = 0;
        for (std::uint32_t i = 0; i < weights_.size(); ++i) {
            if (capacity(i) > 0) ++members_;
            if (capacity(i) > 0 || with_drained) mean_ += weights_[i];
        }
        mean_ /= members_;
    }

    // ---- the first two steps

    void place_orphans() {
        std::vector<weighed> all;
        all.reserve(view_.orphans.size());
        entries_.reserve(view_.orphans.size());
        for (auto const s : view_.orphans) all.push_back({weight_of(s), s, none});
        sort_descending(all);
        for (auto const& one : all) {
            if (light_.empty()) {
                ++plan_.unplaced;
                plan_.stuck.push_back({one.schedule, no_place::no_room});
            } else {
                bring(one, light_.top(), change_reason::placed);
            }
        }
    }

    // All that has to leave, together: what is small is not to take the few places that something large needs.
    void relieve() {
        std::vector<weighed> all;
        for (std::uint32_t i = 0; i < counts_.size(); ++i) {
            if (counts_[i] <= capacity(i)) continue;
            if (capacity(i) > 0) {
                choose_excess(i, all);
                continue;
            }
            for (auto const s : view_.nodes[i].schedules) {
                if (view_.may_move(s)) all.push_back({weight_of(s), s, i});
            }
            lists_[i].read = true;  // what it still holds will stay
        }
        sort_descending(all);
        for (auto const& one : all) {
            if (light_.empty()) return;
            ++relieved_[one.node];
            bring(one, light_.top(), view_.nodes[one.node].draining ? change_reason::drained : change_reason::overfull);
        }
    }

    // Of a node that keeps some: so many as have to go, together as heavy as what it has over the mean.
    void choose_excess(std::uint32_t node, std::vector<weighed>& chosen) {
        read(node);
        auto surplus = weights_[node] - mean_;
        for (auto excess = counts_[node] - capacity(node); excess > 0; --excess) {
            auto const taken = nearest(node, surplus > 0 ? surplus / excess : 0, 1e300);
            if (taken == none) return;
            chosen.push_back({pool_[taken].weight, pool_[taken].schedule, node});
            surplus -= pool_[taken].weight;
            take_out(taken);
        }
    }

    void bring(weighed const& one, std::uint32_t to, change_reason why) {
        entries_.push_back({one.weight, one.schedule, one.node, to, none, why});
        arrive(static_cast<std::uint32_t>(entries_.size() - 1));
        if (one.node != none) leave(one.node, one.weight);
    }

    // ---- evening out

    void even_out() {
        heavy_.clear();
        level_weight_ = 0;
        level_members_ = 0;
        apart_.assign(weights_.size(), true);
        for (std::uint32_t i = 0; i < weights_.size(); ++i) {
            heavy_.add_unordered(i, weights_[i]);
            if (capacity(i) == 0 || (counts_[i] >= capacity(i) && weights_[i] < mean_)) continue;
            apart_[i] = false;
            level_weight_ += weights_[i];
            ++level_members_;
        }
        heavy_.order_all();
        while (!heavy_.empty() && !light_.empty()) {
            auto const from = heavy_.top();
            auto const to = light_.top();
            auto const distance = weights_[from] - weights_[to];
            if (distance <= tolerance_ * mean_) return;
            read(from);
            auto const taken = nearest(from, wanted(from, to, distance), distance - noise(weights_[from]), to);
            if (taken == none) {
                // The lightest only ever gets heavier, so that there will be nothing later either.
                heavy_.remove(from);
                set_apart(from);
            } else {
                shift(from, taken, to, change_reason::rebalanced);
            }
        }
    }

    // What one has over the level of those that can still be evened out, and the other lacks; not less than what nobody
    // minds. Where both are on the same side of that level, half of what is between them.
    [[nodiscard]] double wanted(std::uint32_t from, std::uint32_t to, double distance) const {
        auto const level = level_members_ > 0 ? level_weight_ / level_members_ : 0;
        auto const surplus = weights_[from] - level;
        auto const shortage = level - weights_[to];
        auto const both = surplus < shortage ? surplus : shortage;
        auto const half = distance / 2;
        if (both <= 0) return half;
        auto const least = tolerance_ * mean_ / 2 < half ? tolerance_ * mean_ / 2 : half;
        return both > least ? both : least;
    }

    // It no longer tells how high the others can be: it stays above, or below.
    void set_apart(std::uint32_t node) {
        if (apart_[node]) return;
        apart_[node] = true;
        level_weight_ -= weights_[node];
        --level_members_;
    }

    // ---- exchange

    // Where the heaviest node may be more than 1.5 x the optimum: takes one of its schedules to a node that first gives
    // away what stands against that. Whoever is touched ends below the heaviest, so this comes to an end. False: there
    // is nothing to do.
    //
    // Why this suffices if no node is full: let C be the heaviest weight and suppose the optimum to be below 2C/3. After
    // even_out() the others have at least C - p each, p the lightest that may move from the heaviest; so p > C/3, as
    // the mean is no more than the optimum. Call large what is over C/3, be it one schedule or all that a node cannot
    // give. The optimum has at most one large thing on each node, and the heaviest has two: so some node has none. It
    // gives small ones until there is place for p below C, each to the lightest node that is left, which is below 2C/3.
    bool exchange() {
        std::uint32_t from = none;
        double sum = 0;
        for (std::uint32_t i = 0; i < weights_.size(); ++i) {
            if (capacity(i) == 0) continue;
            sum += weights_[i];
            if (from == none || weights_[i] > weights_[from]) from = i;
        }
        auto const most = weights_[from];
        if (light_.empty() || most <= 1.5 * sum / members_) return false;
        auto const largest = largest_of(from);
        if (most <= 1.5 * largest) return false;

        // As low as is called for, so that there is no second exchange for the same node; else at least lower.
        auto const mean = sum / members_;
        return exchange(from, 1.5 * (largest > mean ? largest : mean)) || exchange(from, most - noise(most));
    }

    // The heaviest thing that a node holds: a schedule that may move, or all that may not.
    double largest_of(std::uint32_t node) {
        read(node);
        auto const first = here_or_lighter(node, lists_[node].begin);
        double staying = weights_[node];
        for (auto s = first; s != none; s = here_or_lighter(node, s + 1)) staying -= pool_[s].weight;
        return first != none && pool_[first].weight > staying ? pool_[first].weight : staying;
    }

    // So that whoever is touched ends below the limit.
    bool exchange(std::uint32_t from, double limit) {
        struct way {
            std::uint64_t cost;
            std::uint32_t to;
        };
        std::vector<way> ways;
        for (std::uint32_t to = 0; to < weights_.size(); ++to) {
            if (to == from || capacity(to) == 0) continue;
            if (auto const cost = prepare(from, to, limit)) ways.push_back({cost, to});
        }
        std::vector<way> spare;
        radix_sort(ways, 0, spare, [](way const& one) { return one.cost; });
        for (auto const& one : ways) {
            prepare(from, one.to, limit);
            if (!find_places(from, one.to, limit)) continue;
            for (std::size_t i = 0; i < out_.size(); ++i) shift(one.to, out_[i], places_[i], change_reason::rebalanced);
            shift(from, in_, one.to, change_reason::rebalanced);
            return true;
        }
        return false;
    }

    // Sets in_, what `to` is to get, and out_, what it has to give first. The number of moves; 0: there is no way.
    std::uint64_t prepare(std::uint32_t from, std::uint32_t to, double limit) {
        read(to);
        out_.clear();
        if (counts_[to] >= capacity(to)) {
            // One for one, but only what this plan itself has put there: half of the distance is ideal.
            auto out = here_or_heavier(to, lists_[to].end);
            while (out != none && pool_[out].entry == none) out = here_or_heavier(to, out);
            if (out == none) return 0;
            auto const given = pool_[out].weight;
            auto const distance = limit - weights_[to];
            in_ = nearest(from, given + distance / 2, given + distance);
            if (in_ == none || pool_[in_].weight <= given + noise(limit)) return 0;
            out_.push_back(out);
            return 2;
        }
        in_ = here_or_heavier(from, lists_[from].end);
        auto left = weights_[to] + pool_[in_].weight;
        auto slot = here_or_lighter(to, lists_[to].begin);
        for (; slot != none && left >= limit; slot = here_or_lighter(to, slot + 1)) {
            if (pool_[slot].weight >= pool_[in_].weight) continue;
            out_.push_back(slot);
            left -= pool_[slot].weight;
        }
        if (left >= limit) return 0;
        return out_.size() + 1;
    }

    // Where the schedules of out_ may go, one after the other, so that nobody gets as heavy as `limit`.
    bool find_places(std::uint32_t from, std::uint32_t to, double limit) {
        places_.clear();
        auto light = light_;
        auto weights = weights_;
        auto counts = counts_;
        auto peaks = peaks_;
        if (light.holds(to)) light.remove(to);
        weights[from] -= pool_[in_].weight;
        if (light.holds(from)) light.update(from, weights[from]);
        for (auto const out : out_) {
            auto const& most = pool_[out].entry == none ? counts : peaks;
            while (!light.empty() && most[light.top()] >= capacity(light.top())) light.remove(light.top());
            if (light.empty() || weights[light.top()] + pool_[out].weight >= limit) return false;
            auto const found = light.top();
            places_.push_back(found);
            weights[found] += pool_[out].weight;
            light.update(found, weights[found]);
            ++counts[found];
            if (pool_[out].entry != none || counts[found] > peaks[found]) ++peaks[found];
            --counts[to];
        }
        return (pool_[in_].entry == none ? counts[to] : peaks[to]) < capacity(to);
    }

    // ---- full nodes

    // Where the heaviest node may still be more than 1.5 x the best of as many moves, full nodes are in the way. (Drained
    // ones have nothing to do with it but that they take some of the moves.)
    void give_last_places(std::vector<late<double, T>>& placed) {
        std::uint32_t top = none;
        double sum = 0;
        for (std::uint32_t i = 0; i < weights_.size(); ++i) {
            if (capacity(i) == 0) continue;
            sum += weights_[i];
            if (top == none || weights_[i] > weights_[top]) top = i;
        }
        auto const most = weights_[top] - noise(weights_[top]);
        if (most <= 1.5 * sum / members_ || most <= 1.5 * largest_of(top)) return;

        std::vector<move> steps;
        std::uint32_t moves = 0;
        for (auto const& entry : entries_) {
            if (entry.to == entry.from) continue;
            steps.push_back({entry.schedule, entry.from, entry.to, entry.why});
            if (entry.from != none) ++moves;
        }
        std::uint64_t fewest = 0;  // that bring it so far down
        for (std::uint32_t i = 0; i < weights_.size(); ++i) {
            fewest += capacity(i) == 0 ? relieved_[i] : fewest_from(i, most / 1.5);
        }
        if (steps.empty() || fewest > moves) return;

        auto const weigh_one = [this](std::uint32_t s) { return weight_of(s); };
        last_places<decltype(weigh_one), T> places{view_, weigh_one, steps, weights_};
        if (!places.search()) return;
        entries_.clear();
        for (auto const& step : places.moves()) {
            entries_.push_back({weight_of(step.schedule), step.schedule, step.from, step.to, none, step.why});
        }
        weights_ = places.weights();
        for (std::uint32_t i = 0; i < placed.size(); ++i) placed[i] = node_weight(view_, view_.nodes[i]);
        for (auto const& entry : entries_) {
            if (entry.from == none) placed[entry.to] += entry.weight;
        }
    }

    // ---- the state of nodes

    // Whether the schedule may go there. What the plan has moved already is brought there in the first place, so that
    // there has to have been room for it all the while.
    [[nodiscard]] bool may_go(place const& moved, std::uint32_t to) const {
        return counts_[to] < capacity(to) && (moved.entry == none || peaks_[to] < capacity(to));
    }

    // A schedule of a node that was read goes to another.
    void shift(std::uint32_t from, std::uint32_t taken, std::uint32_t to, change_reason why) {
        auto const moved = pool_[taken];
        take_out(taken);
        auto number = moved.entry;
        if (number == none) {
            number = static_cast<std::uint32_t>(entries_.size());
            entries_.push_back({moved.weight, moved.schedule, from, to, none, why});
        } else {
            entries_[number].to = to;
            ++peaks_[to];
        }
        arrive(number);
        leave(from, moved.weight);
    }

    void take_out(std::uint32_t taken) {
        pool_[taken].lighter = taken + 1;
        pool_[taken].heavier = taken - 1;
    }

    void arrive(std::uint32_t number) {
        auto& entry = entries_[number];
        auto const to = entry.to;
        entry.next = lists_[to].arrived;
        lists_[to].arrived = number;
        weights_[to] += entry.weight;
        ++counts_[to];
        if (counts_[to] > peaks_[to]) peaks_[to] = counts_[to];
        ROTA_ASSERT(counts_[to] <= capacity(to));
        if (!apart_.empty() && !apart_[to]) level_weight_ += entry.weight;
        if (counts_[to] < capacity(to)) {
            light_.update(to, weights_[to]);
        } else {
            light_.remove(to);
            if (!apart_.empty() && level_members_ > 0 && weights_[to] * level_members_ < level_weight_) set_apart(to);
        }
        if (apart_.empty()) return;
        if (heavy_.holds(to)) {
            heavy_.update(to, weights_[to]);
        } else {
            heavy_.insert(to, weights_[to]);
        }
    }

    void leave(std::uint32_t from, double weight) {
        weights_[from] = weights_[from] > weight ? weights_[from] - weight : 0;
        --counts_[from];
        if (!apart_.empty() && !apart_[from]) level_weight_ -= weight;
        if (light_.holds(from)) {
            light_.update(from, weights_[from]);
        } else if (counts_[from] < capacity(from)) {
            light_.insert(from, weights_[from]);
        }
        if (heavy_.holds(from)) heavy_.update(from, weights_[from]);
    }

    // Sorts what the node holds and may give, unless nothing has come since it was last sorted.
    void read(std::uint32_t node) {
        auto& list = lists_[node];
        if (list.read && list.arrived == none) return;
        auto const begin = static_cast<std::uint32_t>(pool_.size());
        if (list.read) {
            for (auto s = here_or_lighter(node, list.begin); s != none; s = here_or_lighter(node, s + 1)) {
                auto const kept = pool_[s];
                pool_.push_back(kept);
            }
        } else {
            for (auto const s : view_.nodes[node].schedules) {
                if (view_.may_move(s)) pool_.push_back({weight_of(s), s, none, 0, 0});
            }
        }
        for (; list.arrived != none; list.arrived = entries_[list.arrived].next) {
            auto const& entry = entries_[list.arrived];
            pool_.push_back({entry.weight, entry.schedule, list.arrived, 0, 0});
        }
        radix_sort(pool_, begin, spare_places_, [](place const& one) { return descending(one.weight); });
        list.begin = begin;
        list.end = static_cast<std::uint32_t>(pool_.size());
        list.read = true;
        for (auto i = list.begin; i < list.end; ++i) pool_[i].lighter = pool_[i].heavier = i;
    }

    // The first one that is here, from `at` on; the way there is shortened for those that come after.
    std::uint32_t here_or_lighter(std::uint32_t node, std::uint32_t at) {
        auto const end = lists_[node].end;
        auto found = at;
        while (found < end && pool_[found].lighter != found) found = pool_[found].lighter;
        while (at < end && at != found) {
            auto const next = pool_[at].lighter;
            pool_[at].lighter = found;
            at = next;
        }
        return found < end ? found : none;
    }
    // The same the other way, from before `at` on.
    std::uint32_t here_or_heavier(std::uint32_t node, std::uint32_t at) {
        auto const begin = lists_[node].begin;
        if (at == begin) return none;
        auto found = at - 1;
        while (found != none && found >= begin && pool_[found].heavier != found) found = pool_[found].heavier;
        for (--at; at != none && at >= begin && at != found;) {
            auto const next = pool_[at].heavier;
            pool_[at].heavier = found;
            at = next;
        }
        return found != none && found >= begin ? found : none;
    }

    // Of the schedules of a node lighter than `limit`, the one whose weight is nearest to `weight`; none: there is none
    // (but for those without weight, which even out nothing). With `to`, only such as may go there.
    std::uint32_t nearest(std::uint32_t node, double weight, double limit, std::uint32_t to = none) {
        auto low = lists_[node].begin;
        auto high = lists_[node].end;
        while (low < high) {
            auto const middle = low + (high - low) / 2;
            if (pool_[middle].weight > weight) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        auto const barred = [&](std::uint32_t s) { return to != none && !may_go(pool_[s], to); };
        auto below = here_or_lighter(node, low);
        while (below != none && (barred(below) || pool_[below].weight >= limit))
            below = here_or_lighter(node, below + 1);
        auto above = here_or_heavier(node, low);
        while (above != none && barred(above)) above = here_or_heavier(node, above);
        bool const above_fits = above != none && pool_[above].weight < limit;
        bool const below_fits = below != none && (to == none || pool_[below].weight > noise(weights_[node]));
        if (!below_fits) return above_fits ? above : none;
        if (!above_fits) return below;
        return pool_[above].weight - weight < weight - pool_[below].weight ? above : below;
    }

    // ---- the plan

    void write(std::vector<late<double, T>> const& placed) {
        plan_.moves.reserve(entries_.size());
        for (auto const& entry : entries_) {
            if (entry.to == entry.from) continue;  // it has come back
            plan_.moves.push_back({entry.schedule, entry.from, entry.to, entry.why});
            if (entry.from == none) ++plan_.forced;
        }
        plan_.voluntary = static_cast<std::uint32_t>(plan_.moves.size()) - plan_.forced;
        plan_.interchangeable = true;
        auto heaviest = weights_.front();
        auto lightest = weights_.front();
        auto lightest_member = 1e300;
        double farthest = 0;
        for (std::uint32_t i = 0; i < weights_.size(); ++i) {
            if (weights_[i] > heaviest) heaviest = weights_[i];
            if (weights_[i] < lightest) lightest = weights_[i];
            if (weights_[i] < lightest_member && capacity(i) > 0) lightest_member = weights_[i];
            auto const off = weights_[i] > placed[i] ? weights_[i] - placed[i] : placed[i] - weights_[i];
            if (off > farthest) farthest = off;
        }
        plan_.spread_after = heaviest - lightest;
        plan_.imbalance = plan_.voluntary > 0 && mean_ > 0 ? farthest / mean_ : 0;
        if (plan_.voluntary > 0) plan_.bound = fewest_to(heaviest, lightest_member);
        ROTA_ASSERT(plan_.bound <= plan_.voluntary);
    }

    // What heavy nodes have to give, or light ones have to get, for the weights to be within these.
    std::uint32_t fewest_to(double heaviest, double lightest) {
        std::uint32_t by_weight = 0;
        std::uint32_t by_count = 0;
        std::uint32_t by_both = 0;
        for (std::uint32_t i = 0; i < weights_.size(); ++i) {
            auto const own = fewest_from(i, heaviest);
            by_weight += own;
            by_count += relieved_[i];
            by_both += own > relieved_[i] ? own : relieved_[i];
        }
        // Which of several overfull nodes got the last places was free to choose.
        auto const given = !light_.empty() ? by_both : by_weight > by_count ? by_weight : by_count;
        auto const gotten = fewest_into(lightest);
        return given > gotten ? given : gotten;
    }

    // Each brings no more than the heaviest that may move; orphans come for nothing.
    std::uint32_t fewest_into(double lightest) {
        auto const limit = lightest - noise(lightest);
        auto const shortage = [&](auto const& node) {
            return node.capacity > 0 ? limit - node_weight(view_, node) : 0;
        };
        bool any = false;
        for (auto const& node : view_.nodes) any = any || shortage(node) > 0;
        if (!any) return 0;
        double largest = 0;
        for (auto const& one : entries_) largest = one.weight > largest ? one.weight : largest;
        for (auto const& node : view_.nodes) {
            for (auto const s : node.schedules) {
                auto const weight = weight_of(s);
                if (weight > largest && view_.may_move(s)) largest = weight;
            }
        }
        std::uint64_t wanted = 0;
        for (auto const& node : view_.nodes) {
            if (!(shortage(node) > 0)) continue;
            auto const steps = shortage(node) / largest;
            auto const whole = static_cast<std::uint32_t>(steps < 4e9 ? steps : 0);
            wanted += whole < steps ? whole + 1 : whole;
        }
        return wanted > plan_.forced ? static_cast<std::uint32_t>(wanted - plan_.forced) : 0;
    }

    std::uint32_t fewest_from(std::uint32_t node, double heaviest) {
        auto left = node_weight(view_, view_.nodes[node]);
        auto const limit = heaviest + noise(heaviest);
        if (left <= limit) return 0;
        std::vector<weighed> own;
        for (auto const s : view_.nodes[node].schedules) {
            if (view_.may_move(s)) own.push_back({weight_of(s), s, node});
        }
        sort_descending(own);
        std::uint32_t steps = 0;
        for (; steps < own.size() && left > limit; ++steps) left -= own[steps].weight;
        return steps;
    }

    cluster_view const& view_;
    plan& plan_;
    double tolerance_ = 0;
    double mean_ = 0;
    std::uint32_t members_ = 0;
    std::vector<late<double, T>> weights_;
    std::vector<late<std::uint32_t, T>> counts_;
    std::vector<late<std::uint32_t, T>> peaks_;     // most that any prefix of the plan brings to a node
    std::vector<late<std::uint32_t, T>> relieved_;  // moves that had to be, by the node that gave
    std::vector<late<bool, T>> apart_;              // nodes that do not count for the level
    double level_weight_ = 0;
    std::uint32_t level_members_ = 0;
    node_heap<T> light_{false};  // those with room
    node_heap<T> heavy_{true};   // those that may have something to give
    std::vector<change> entries_;
    std::vector<sorted_list> lists_;
    std::vector<place> pool_;
    std::vector<place> spare_places_;
    std::vector<weighed> spare_weighed_;
    std::uint32_t in_ = none;
    std::vector<late<std::uint32_t, T>> out_;
    std::vector<late<std::uint32_t, T>> places_;
};

}  // namespace detail

template <typename T>
void weighted_least_moves::make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const {
    into.clear();
    if (!view.complete) {
        into.unplaced = static_cast<std::uint32_t>(view.orphans.size());
        for (auto const s : view.orphans) into.stuck.push_back({s, no_place::waits});
        return;
    }
    auto const totals = detail::weight_totals_of(view);
    auto const within = tolerance > 0 ? (tolerance < 0.5 ? tolerance : 0.5) : 0;
    into.spread_before = into.spread_after = totals.heaviest - totals.lightest;
    into.imbalance = 0;
    auto const mean = totals.members > 0 ? totals.sum / totals.members : 0;
    bool const even = totals.heaviest - totals.lightest_with_room <= within * mean;
    if (totals.room == 0 || (view.orphans.empty() && !totals.overfull && even)) {
        into.unplaced = static_cast<std::uint32_t>(view.orphans.size());
        for (auto const s : view.orphans) into.stuck.push_back({s, no_place::no_room});
        return;
    }
    detail::weighted_run<T>{view, into, within}.run();
}

}  // namespace rota
