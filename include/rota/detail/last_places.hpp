// Who gets the last places: what weighted_least_moves does where full nodes may have kept its plan from being within
// 1.5 x the best. With places that are counted, even one that is within a constant of the best is hard to find by giving
// one schedule after the other (it contains 3-PARTITION with bins of three), so this searches:
//
//   1. with few schedules: tries all distributions of as many moves whose heaviest node is lighter by a third, by branch
//      and bound, the heaviest schedules first, for so many steps;
//   2. with more: exchanges two schedules, or gives one, where that makes the heaviest node lighter: the pair that does it
//      best, again and again, until the heaviest is within 1.5 x what no distribution can go below (see bound()). That
//      may take more moves.
//
// What stays on drained nodes, since there is no room for all, stays.
//
// What was found replaces the plan only if there is an order in which each step finds room (step_order.hpp) and the
// heaviest node is lighter. So whoever plans again ends: sorted downwards, the weights only ever get smaller.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../cluster_view.hpp"
#include "late.hpp"
#include "radix_sort.hpp"
#include "step_order.hpp"

namespace rota::detail {

/// `weight_of`: a schedule's, by index, 0 or more. Deterministic: what bounds it is counted in steps, not in time.
template <typename WeightOf, typename T = void>
class last_places {
    using cluster_view = late<rota::cluster_view, T>;
    using plan = late<rota::plan, T>;

public:
    /// `weights`: of the nodes after `moves`.
    last_places(cluster_view const& view, WeightOf weight_of, std::vector<move> const& moves,
                std::vector<double> const& weights)
        : view_{view},
          weight_of_{weight_of},
          original_{moves},
          weights_{weights} {
        items_of_.resize(view.nodes.size());
        for (std::uint32_t node = 0; node < view.nodes.size(); ++node) {
            counts_.push_back(view.nodes[node].load);
            for (auto const s : view.nodes[node].schedules) {
                if (view.may_move(s)) add(s, node, node);
            }
        }
        std::vector<std::uint32_t> number(view.schedules.size(), none);
        for (std::uint32_t i = 0; i < items_.size(); ++i) number[items_[i].schedule] = i;
        for (auto const& step : moves) {
            if (step.from == none) {
                add(step.schedule, none, step.to);
            } else {
                items_[number[step.schedule]].to = step.to;
                --counts_[step.from];
                ++moved_;
            }
            ++counts_[step.to];
        }
        std::vector<std::uint32_t> spare;
        std::vector<std::uint32_t> sorted(items_.size());
        for (std::uint32_t i = 0; i < items_.size(); ++i) sorted[i] = i;
        radix_sort(sorted, 0, spare,
                   [this](std::uint32_t i) { return std::bit_cast<std::uint64_t>(items_[i].weight); });
        for (auto const i : sorted) items_of_[items_[i].to].push_back(i);
    }

    /// Whether the plan may be more than 1.5 x the best of as many moves, and another was found; moves() and weights() tell.
    bool search() {
        auto const before = heaviest();
        auto const enough = 1.5 * bound();
        if (before <= enough) return false;
        if (items_.size() <= most_items) {
            auto const items = items_;
            auto const counts = counts_;
            auto const weights = weights_;
            bool const found = branch(before / 1.5);
            if (found || proven_) return found;
            items_ = items;
            counts_ = counts;
            weights_ = weights;
        }
        exchange(enough);
        return heaviest() < before && order();
    }
    [[nodiscard]] std::vector<move> const& moves() const { return found_.moves; }
    [[nodiscard]] std::vector<double> const& weights() const { return weights_; }

private:
    static constexpr auto none = cluster_view::none;
    static constexpr std::uint64_t most_comparisons = 300'000;  // for exchanges: a few ms
    static constexpr std::uint64_t most_branches = 100'000;
    static constexpr std::uint32_t most_items = 64;  // to branch over

    // A schedule that may be given to any node.
    struct item {
        double weight;
        std::uint32_t schedule;
        std::uint32_t from;  // none: an orphan
        std::uint32_t to;
    };

    void add(std::uint32_t schedule, std::uint32_t from, std::uint32_t to) {
        items_.push_back({weight_of_(schedule), schedule, from, to});
    }
    [[nodiscard]] std::uint32_t capacity(std::uint32_t node) const { return view_.nodes[node].capacity; }
    // What is not wholly settled by counts: drained and overfull nodes get nothing.
    [[nodiscard]] bool takes(std::uint32_t node) const { return capacity(node) > 0 && counts_[node] <= capacity(node); }

    [[nodiscard]] double heaviest() const {
        double most = 0;
        for (std::uint32_t node = 0; node < weights_.size(); ++node) {
            if (capacity(node) > 0 && weights_[node] > most) most = weights_[node];
        }
        return most;
    }

    // No distribution has a lighter heaviest node: each holds what stays there, and one of them the heaviest of the rest;
    // and if none is above `level`, they hold no more together than that allows, nor than the heaviest schedules that
    // they have places for.
    [[nodiscard]] double bound() const {
        std::vector<double> all;
        std::vector<double> least;  // what stays
        std::vector<std::uint32_t> places;
        double most = 0;
        double sum = 0;
        for (std::uint32_t node = 0; node < weights_.size(); ++node) {
            double staying = 0;
            std::uint32_t count = 0;
            for (auto const s : view_.nodes[node].schedules) {
                if (view_.may_move(s)) continue;
                staying += weight_of_(s);
                ++count;
            }
            if (capacity(node) == 0) continue;
            most = staying > most ? staying : most;
            sum += weights_[node];
            least.push_back(staying);
            auto const places_of_all = counts_[node] > capacity(node) ? counts_[node] : capacity(node);
            places.push_back(places_of_all > count ? places_of_all - count : 0);
            for (auto const i : items_of_[node]) all.push_back(items_[i].weight);
        }
        std::vector<double> spare;
        radix_sort(all, 0, spare, [](double weight) { return ~std::bit_cast<std::uint64_t>(weight); });
        if (!all.empty() && all.front() > most) most = all.front();
        std::vector<double> heaviest_of{0};  // so many
        for (auto const weight : all) heaviest_of.push_back(heaviest_of.back() + weight);
        auto const fits = [&](double level) {
            double held = 0;
            for (std::size_t i = 0; i < least.size(); ++i) {
                auto const most_held = least[i] + heaviest_of[places[i] < all.size() ? places[i] : all.size()];
                held += level < most_held ? level : most_held;
            }
            return held >= sum * (1 - 1e-9);
        };
        auto low = most;
        auto high = sum > most ? sum : most;
        for (int round = 0; round < 40 && !fits(low); ++round) {
            auto const middle = low + (high - low) / 2;
            (fits(middle) ? high : low) = middle;
            if (high - low < 1e-6 * high) break;
        }
        return low;
    }

    // ---- exchanging

    void exchange(double enough) {
        for (std::uint64_t compared = 0; compared < most_comparisons;) {
            std::uint32_t top = none;
            for (std::uint32_t i = 0; i < weights_.size(); ++i) {
                if (capacity(i) > 0 && (top == none || weights_[i] > weights_[top])) top = i;
            }
            if (top == none || weights_[top] <= enough || !takes(top)) return;
            auto best = weights_[top] * (1 - 1e-9);
            std::uint32_t given = none;
            std::uint32_t gotten = none;  // none: nothing in return
            std::uint32_t to = none;
            for (std::uint32_t node = 0; node < weights_.size() && compared < most_comparisons; ++node) {
                if (node == top || !takes(node)) continue;
                compared += items_of_[top].size();
                auto const half = (weights_[top] - weights_[node]) / 2;
                auto const consider = [&](std::uint32_t x, std::uint32_t y, double difference) {
                    auto const here = weights_[top] - difference;
                    auto const there = weights_[node] + difference;
                    auto const most = here > there ? here : there;
                    if (difference <= 0 || most >= best) return;
                    best = most;
                    given = x;
                    gotten = y;
                    to = node;
                };
                for (auto const x : items_of_[top]) {
                    auto const weight = items_[x].weight;
                    if (counts_[node] < capacity(node)) consider(x, none, weight);
                    auto const& others = items_of_[node];
                    auto const at = place_of(others, weight - half);  // on both sides of what would make both even
                    if (at < others.size()) consider(x, others[at], weight - items_[others[at]].weight);
                    if (at > 0) consider(x, others[at - 1], weight - items_[others[at - 1]].weight);
                }
            }
            if (given == none) return;
            give(given, to);
            if (gotten != none) give(gotten, top);
        }
    }

    // Where in a list that is sorted, the lightest first, the first one is that is not lighter.
    [[nodiscard]] std::size_t place_of(std::vector<std::uint32_t> const& list, double weight) const {
        std::size_t low = 0;
        auto high = list.size();
        while (low < high) {
            auto const middle = low + (high - low) / 2;
            if (items_[list[middle]].weight < weight) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

    void give(std::uint32_t number, std::uint32_t to) {
        auto& one = items_[number];
        auto& old = items_of_[one.to];
        auto at = place_of(old, one.weight);
        while (old[at] != number) ++at;
        old.erase(old.begin() + static_cast<std::ptrdiff_t>(at));
        auto& in = items_of_[to];
        in.insert(in.begin() + static_cast<std::ptrdiff_t>(place_of(in, one.weight)), number);
        weights_[one.to] -= one.weight;
        weights_[to] += one.weight;
        --counts_[one.to];
        ++counts_[to];
        one.to = to;
    }

    // ---- branch and bound

    // The best of all below `limit` that takes no more moves and leaves no node more overfull.
    bool branch(double limit) {
        std::vector<item> spare;
        radix_sort(items_, 0, spare, [](item const& one) { return ~std::bit_cast<std::uint64_t>(one.weight); });
        most_counts_.resize(view_.nodes.size());
        std::vector<std::uint32_t> counts;
        for (auto const& node : view_.nodes) counts.push_back(node.load);
        for (auto const& step : original_) {
            ++counts[step.to];
            if (step.from != none) --counts[step.from];
        }
        for (std::uint32_t node = 0; node < counts.size(); ++node) {
            most_counts_[node] = counts[node] > capacity(node) ? counts[node] : capacity(node);
        }
        for (auto const& one : items_) {
            weights_[one.to] -= one.weight;
            --counts[one.to];
        }
        counts_ = counts;
        best_ = limit * (1 - 1e-9);
        steps_ = 0;
        bool const any = deal(0, 0);
        proven_ = steps_ < most_branches;
        return any;
    }

    bool deal(std::uint32_t at, std::uint32_t moves) {
        if (at == items_.size()) {
            auto const most = heaviest();
            auto const kept = best_weights_;
            best_weights_ = weights_;
            if (most < best_ && order()) {
                best_ = most;
                return true;
            }
            best_weights_ = kept;
            return false;
        }
        bool any = false;
        auto& one = items_[at];
        bool const left_behind = one.to == one.from && capacity(one.to) == 0;
        for (std::uint32_t node = 0; node < weights_.size() && steps_ < most_branches; ++node) {
            bool const goes = one.from != none && one.from != node;
            if (left_behind ? node != one.to : capacity(node) == 0) continue;
            if (counts_[node] >= most_counts_[node]) continue;
            if ((!left_behind && weights_[node] + one.weight >= best_) || moves + goes > moved_) continue;
            steps_ += 1 + weights_.size() / 16;  // it looks at all nodes
            weights_[node] += one.weight;
            ++counts_[node];
            auto const before = one.to;
            one.to = node;
            any = deal(at + 1, moves + goes) || any;
            one.to = before;
            weights_[node] -= one.weight;
            --counts_[node];
        }
        if (at == 0 && any) weights_ = best_weights_;
        return any;
    }

    // ---- the steps

    // Writes the steps to where the items are to be. False: they block each other.
    bool order() {
        plan made;
        step_order<T> steps{view_, made, {}};
        std::vector<pending_step> moves;
        std::vector<std::uint32_t> excess;
        for (auto const& node : view_.nodes) {
            excess.push_back(node.load > node.capacity ? node.load - node.capacity : 0);
        }
        std::size_t wanted = 0;
        for (auto const& one : items_) {
            if (one.from == one.to) continue;
            ++wanted;
            if (one.from == none) {
                if (!steps.open(one.to, none)) return false;
                steps.place(one.schedule, one.to, none);
                continue;
            }
            bool const must = excess[one.from] > 0;
            if (must) --excess[one.from];
            moves.push_back({.schedule = one.schedule,
                             .from = one.from,
                             .to = one.to,
                             .why = !must                            ? change_reason::rebalanced
                                    : view_.nodes[one.from].draining ? change_reason::drained
                                                                     : change_reason::overfull});
        }
        auto const nowhere = [](std::uint32_t, step_order<T> const&, std::uint32_t&) { return none; };
        steps.set_moves(static_cast<std::vector<pending_step>&&>(moves));
        steps.make_required(nowhere);
        steps.make_others();
        if (made.moves.size() != wanted) return false;
        found_ = static_cast<plan&&>(made);
        return true;
    }

    cluster_view const& view_;
    WeightOf weight_of_;
    std::vector<move> original_;
    std::vector<double> weights_;
    std::vector<std::uint32_t> counts_;
    std::vector<item> items_;
    std::vector<std::vector<std::uint32_t>> items_of_;  // by where they are to be
    std::uint32_t moved_ = 0;
    plan found_;

    double best_ = 0;
    std::uint64_t steps_ = 0;
    bool proven_ = false;  // all of as many moves were looked at
    std::vector<double> best_weights_;
    std::vector<std::uint32_t> most_counts_;
};

}  // namespace rota::detail
