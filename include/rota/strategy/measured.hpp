// measured<S>: goes by the load that the nodes report themselves (report_load()), and so relieves hot spots that no
// weight foretold. S sees the weights of the schedules on a node scaled so that they add up to what their node reports.
//
// A node smooths what it reports (options::load_smoothing): here it is taken as it comes. Three things keep a jumpy or
// late report from moving anything:
//   floor      below it every load is the same, so nodes that are next to idle never move anything
//   tolerance  what differs by less stays; and once it is by half of that, enough is moved: the rest may be noise
//   settle     what has just moved is not in the reports yet, so nothing moves on the strength of old ones
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "../cluster_view.hpp"
#include "../detail/late.hpp"
#include "cut_plan.hpp"
#include "layers.hpp"
#include "weighted_least_moves.hpp"

namespace rota {

/// S should heed weights. Only moves that even out are held back: orphans are placed, and drained and overfull nodes
/// relieved, at once, by weights as measured. Without any report the plan is S's own, by the weights as they were given.
///
/// A node that reports nothing (or what is negative, infinite or no number), what is on its way or has just arrived, and
/// orphans have their given weights, in proportion: times the mean of what the others report per weight. A node without
/// schedules is taken by its report, whatever causes it.
///
/// Spread, `bound` and `imbalance` are S's, in the unit of the reports; fewer moves than `bound` may be enough. Time and memory: S's own, and O(schedules) unless
/// there is nothing to place and the reports are even within the tolerance, which takes O(nodes).
template <typename S = weighted_least_moves>
struct measured {
    using inner = S;
    static constexpr auto layer = strategy_layer::pacing;

    double floor = 1.0;      ///< in the unit of the reports: below it a load counts as if it were this
    double tolerance = 0.2;  ///< even out if a node is off its target by more than this fraction of the mean
    /// How long a report takes to show what has changed hands: nothing is evened out for so long after the group's
    /// latest move, nor while more than `tolerance` of what some node has is on its way to it, or newer than this.
    microseconds settle = std::chrono::seconds{30};
    S strategy{};

    void make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const;

    static_assert(detail::nests<measured, layer, S>());
    static_assert(
        detail::may_heed_weights<S>(),
        "rota: measured<S> gives S the reports as weights, and this S counts schedules: give it one that heeds "
        "weights, like measured<constrained<weighted_least_moves>>");
};

namespace detail {

inline constexpr double most_reported = 1e100;  // beyond this it is no measurement, and sums are in danger

/// The load that a node reports; -1: none that makes sense.
template <typename Node>
double report_of(Node const& node) {
    return node.reported >= 0 && node.reported <= most_reported ? node.reported : -1;
}

/// A weight that sums can bear.
inline double usable_weight(double weight) {
    return weight > 0 ? (weight < most_reported ? weight : most_reported) : 0;
}

inline double at_least(double load, double floor) { return load > floor ? load : floor; }

/// What S sees: weights as measured.
template <typename S>
class measured_view {
    using cluster_view = late<rota::cluster_view, S>;

public:
    measured_view(cluster_view const& view, double floor, microseconds settle)
        : view_{view},
          floor_{floor > 0 ? floor : 0},
          settle_{settle} {
        double load = 0;
        double weight = 0;
        for (auto const& node : view.nodes) {
            auto const report = report_of(node);
            if (report < 0) continue;
            ++reports_;
            load += at_least(report, floor_);
            weight += usable_weight(node.weight);
        }
        per_weight_ = weight > 0 ? load / weight : 1;
    }

    [[nodiscard]] bool any_report() const { return reports_ > 0; }
    [[nodiscard]] bool any_overfull() const {
        for (auto const& node : view_.nodes) {
            if (node.load > node.capacity) return true;
        }
        return false;
    }

    /// How far the farthest node is from the mean, as a fraction of it, and the spread, by reports alone: O(nodes).
    struct evenness {
        double imbalance = 0;
        double spread = 0;
    };
    [[nodiscard]] evenness by_reports() const {
        double sum = 0;
        double most = 0;
        double least = most_reported;
        std::size_t count = 0;
        for (auto const& node : view_.nodes) {
            if (node.draining || node.capacity == 0) continue;
            auto const report = report_of(node);
            auto const load = at_least(report >= 0 ? report : usable_weight(node.weight) * per_weight_, floor_);
            sum += load;
            ++count;
            if (load > most) most = load;
            if (load < least) least = load;
        }
        if (count == 0 || sum <= 0) return {};
        auto const mean = sum / static_cast<double>(count);
        auto const above = most - mean;
        auto const below = mean - least;
        return {(above > below ? above : below) / mean, most - least};
    }

    /// Makes seen(): O(schedules). False: no report can be set against any weight.
    bool weigh(double tolerance) {
        tally();
        double load = 0;
        double weight = 0;
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
            if (report_of(nodes_[i]) < 0 || !counts(settled_[i])) continue;
            load += at_least(report_of(nodes_[i]), floor_);
            weight += settled_[i];
        }
        if (weight <= 0) return false;
        per_weight_ = load / weight;

        for (std::uint32_t i = 0; i < nodes_.size(); ++i) weigh_node(i, tolerance);
        for (auto const s : view_.orphans) schedules_[s].weight = usable_weight(schedules_[s].weight) * per_weight_;
        seen_ = view_;
        seen_.nodes = nodes_;
        seen_.schedules = schedules_;
        return true;
    }

    [[nodiscard]] cluster_view const& seen() const { return seen_; }
    /// When all that has arrived is in the reports, if nothing else happens; 0: it is.
    [[nodiscard]] microseconds until_all_settled() const { return newest_; }
    /// For how long the reports will be too old to go by; 0: they are not.
    [[nodiscard]] microseconds unsettled() const {
        auto rest = unsettled_;
        if (view_.now > 0 && !view_.recent_moves.empty()) {
            auto const left = rest_of(view_.recent_moves.back());
            if (left > rest) rest = left;
        }
        return rest;
    }

private:
    static bool counts(double weight) { return weight > 1e-100; }

    [[nodiscard]] microseconds rest_of(fencing_token since) const {
        if (view_.now == 0 || since == 0 || settle_ <= microseconds{0}) return microseconds{0};
        auto const age = view_.now > since ? view_.now - since : 0;  // (tokens may be ahead of the clock)
        auto const needed = static_cast<fencing_token>(settle_.count());
        return microseconds{age < needed ? static_cast<std::int64_t>(needed - age) : 0};
    }

    [[nodiscard]] bool is_new(std::uint32_t s) const {
        return view_.schedules[s].moving || rest_of(view_.schedules[s].generation) > microseconds{0};
    }

    void tally() {
        nodes_.assign(view_.nodes.begin(), view_.nodes.end());
        schedules_.assign(view_.schedules.begin(), view_.schedules.end());
        settled_.assign(nodes_.size(), 0);
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
            for (auto const s : nodes_[i].schedules) {
                if (!is_new(s)) settled_[i] += usable_weight(schedules_[s].weight);
                auto const rest = rest_of(schedules_[s].generation);
                if (rest > newest_) newest_ = rest;
            }
        }
    }

    void weigh_node(std::uint32_t i, double tolerance) {
        auto& node = nodes_[i];
        auto const report = report_of(node);
        if (node.schedules.empty()) {
            node.weight = at_least(report, floor_);
            return;
        }
        auto scale = per_weight_;
        if (counts(settled_[i]))
            scale = at_least(report >= 0 ? report : settled_[i] * per_weight_, floor_) / settled_[i];
        double old_ones = 0;
        double new_ones = 0;
        microseconds rest{};
        for (auto const s : node.schedules) {
            auto& weight = schedules_[s].weight;
            bool const arriving = is_new(s);
            weight = usable_weight(weight) * (arriving ? per_weight_ : scale);
            (arriving ? new_ones : old_ones) += weight;
            if (!arriving) continue;
            auto const own = view_.schedules[s].moving ? settle_ : rest_of(view_.schedules[s].generation);
            if (own > rest) rest = own;
        }
        node.weight = old_ones + new_ones;
        if (new_ones > tolerance * node.weight && rest > unsettled_) unsettled_ = rest;
    }

    cluster_view const& view_;
    cluster_view seen_;
    double floor_;
    microseconds settle_;
    std::size_t reports_ = 0;
    double per_weight_ = 1;  // reported load per weight, in the mean
    microseconds unsettled_{};
    microseconds newest_{};
    std::vector<typename cluster_view::node> nodes_;
    std::vector<typename cluster_view::schedule> schedules_;
    std::vector<late<double, S>> settled_;  // weight on each node that its report shows
};

/// Whether all nodes are within that fraction of the mean weight after the first `steps` steps.
template <typename View, typename Plan>
bool even_after(View const& view, Plan const& p, std::size_t steps, double within) {
    std::vector<double> load;
    load.reserve(view.nodes.size());
    for (auto const& node : view.nodes) load.push_back(node.weight);
    for (std::size_t i = 0; i < steps; ++i) {
        auto const weight = view.schedules[p.moves[i].schedule].weight;
        load[p.moves[i].to] += weight;
        if (!p.moves[i].forced()) load[p.moves[i].from] -= weight;
    }
    double sum = 0;
    std::size_t count = 0;
    for (std::size_t n = 0; n < load.size(); ++n) {
        if (view.nodes[n].draining || view.nodes[n].capacity == 0) continue;
        sum += load[n];
        ++count;
    }
    auto const mean = sum / static_cast<double>(count);
    for (std::size_t n = 0; n < load.size(); ++n) {
        if (view.nodes[n].draining || view.nodes[n].capacity == 0) continue;
        auto const off = load[n] - mean;
        if (off > within * mean || -off > within * mean) return false;
    }
    return true;
}

/// The fewest steps, of at least `needed`, after which that is so; all of them if it never is. Each step of a plan makes
/// the group more even, so halving finds it.
template <typename View, typename Plan>
std::size_t steps_until_even(View const& view, Plan const& p, std::size_t needed, double within) {
    auto most = p.moves.size();
    while (needed < most) {
        auto const middle = needed + (most - needed) / 2;
        if (even_after(view, p, middle, within)) {
            most = middle;
        } else {
            needed = middle + 1;
        }
    }
    return most;
}

}  // namespace detail

template <typename S>
void measured<S>::make_plan(detail::late<cluster_view, S> const& view, detail::late<plan, S>& into) const {
    detail::measured_view<S> weights{view, floor, settle};
    if (!view.complete || !weights.any_report()) return detail::ask(strategy, view, into);

    auto const even = weights.by_reports();
    if (view.orphans.empty() && even.imbalance <= tolerance) {
        into.clear();
        if (!std::is_same_v<S, weighted_least_moves> || weights.any_overfull()) detail::ask(strategy, view, into);
        if (detail::needed_steps(into) == 0) {
            into.moves.clear();
            into.voluntary = into.bound = 0;
            into.spread_before = into.spread_after = even.spread;
            into.imbalance = even.imbalance;
            return;
        }
    }
    bool const weighed = weights.weigh(tolerance);
    detail::ask(strategy, weighed ? weights.seen() : view, into);
    auto const look_again_in = [&](microseconds rest) {
        if (rest > microseconds{0} && rest < into.revisit) into.revisit = rest;
    };
    auto const needed = detail::needed_steps(into);
    if (!weighed || needed == into.moves.size()) return look_again_in(weights.until_all_settled());

    if (!(into.imbalance >= 0)) into.imbalance = even.imbalance;
    bool const worthwhile = into.imbalance > tolerance;
    auto const rest = weights.unsettled();
    auto kept = needed;
    if (worthwhile && rest <= microseconds{0}) {
        kept = detail::steps_until_even(weights.seen(), into, needed, tolerance / 2);
    } else {
        look_again_in(worthwhile ? rest : weights.until_all_settled());
    }
    detail::cut_plan(weights.seen(), into, kept);
}

}  // namespace rota
