// How heavy the heaviest node has to be, at least, after as many moves as a plan takes: for groups that are too large to
// try all distributions. Orphans come first, so that they get only the room that is there from the beginning; who is to
// end lighter has to give that much; and some must take what others have no place for. (Kin to the bounds of
// Dell'Amico and Martello for cardinality constrained P||Cmax, Journal of Scheduling 4, 2001; here nodes hold something
// already, and have different numbers of places.)
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include <rota/cluster_view.hpp>

namespace rota_test {

/// Of all distributions in which the same orphans are placed, the same stays on drained nodes, and no node is further
/// above its capacity; of nodes that are not drained.
class makespan_bound {
public:
    makespan_bound(rota::cluster_view const& view, rota::plan const& plan) : moves_{plan.voluntary} {
        std::vector<std::uint32_t> after;
        std::vector<bool> moved(view.schedules.size());
        std::uint64_t room = 0;
        std::uint64_t left = 0;
        for (auto const& node : view.nodes) after.push_back(node.load);
        for (auto const& step : plan.moves) {
            moved[step.schedule] = true;
            ++after[step.to];
            if (step.forced()) {
                orphans_.add(view.schedules[step.schedule].weight);
            } else {
                --after[step.from];
            }
        }
        all_ = orphans_;
        for (std::size_t i = 0; i < view.nodes.size(); ++i) {
            auto const& node = view.nodes[i];
            member one;
            std::vector<double> own;
            for (auto const s : node.schedules) {
                auto const weight = view.schedules[s].weight;
                if (view.may_move(s)) own.push_back(weight);
                if (!view.may_move(s)) one.staying += weight;
                if (node.capacity == 0 && moved[s]) drained_items_.add(weight);
                if (view.may_move(s) && (node.capacity > 0 || moved[s])) all_.add(weight);
            }
            auto const most = std::max(node.capacity, after[i]);
            one.excess = node.load > most ? node.load - most : 0;
            if (node.capacity == 0) {
                drained_ += one.excess;
                continue;
            }
            auto const staying = node.load - own.size();
            one.places = most > staying ? most - staying : 0;
            one.room = node.capacity > node.load ? node.capacity - node.load : 0;
            one.closed = staying >= node.capacity;
            one.overfull = after[i] > node.capacity;
            room += one.room;
            left += after[i] < node.capacity ? node.capacity - after[i] : 0;
            for (auto const weight : own) one.own.add(weight);
            one.own.sort();
            members_.push_back(one);
        }
        coming_ = orphans_;
        coming_.add(drained_items_);
        for (auto* of : {&orphans_, &drained_items_, &coming_, &all_}) of->sort();
        // Where no place is left free, each node ends with as many as here: one that is overfull then is so all the while.
        for (auto& one : members_) one.closed = one.closed || (one.overfull && left == 0);
        // Where orphans take all the room, nothing can move.
        stuck_ = room == orphans_.count();
    }

    /// Whether it shows that none has all nodes below `level`.
    [[nodiscard]] bool excludes(double level) const { return !possible(level * (1 - 1e-9)); }

    /// The same, by a search of all distributions, in so many steps. (Whether full nodes would have to exchange schedules
    /// is not looked at; orphans get only what room there is from the beginning.)
    [[nodiscard]] bool excludes_by_search(double level, std::uint64_t steps) const {
        search all{*this, level * (1 - 1e-9), steps};
        return !all.finds() && all.steps > 0;
    }

private:
    // Weights, the heaviest first.
    struct weights {
        void add(double weight) { sums_.push_back(weight); }
        void add(weights const& others) { sums_.insert(sums_.end(), others.sums_.begin(), others.sums_.end()); }
        void sort() {
            std::sort(sums_.begin(), sums_.end(), std::greater<>{});
            double sum = 0;
            for (auto& each : sums_) {
                sum += each;
                each = sum;
            }
            sums_.insert(sums_.begin(), 0);
        }
        [[nodiscard]] std::size_t count() const { return sums_.size() - 1; }
        [[nodiscard]] double heaviest(std::size_t n) const { return sums_[std::min(n, count())]; }
        [[nodiscard]] std::size_t not_below(double weight) const {
            std::size_t n = 0;
            while (n < count() && sums_[n + 1] - sums_[n] >= weight * (1 - 1e-9)) ++n;
            return n;
        }
        // The n lightest of the first `of`.
        [[nodiscard]] double lightest(std::size_t n, std::size_t of) const { return sums_[of] - sums_[of - n]; }
        // Of the first `of`, how many find place together, where others take all but `empty` places.
        [[nodiscard]] std::size_t fit(std::size_t of, double space, std::size_t places, std::size_t empty) const {
            std::size_t low = 0;
            auto high = std::min(places, of);
            while (low < high) {
                auto const middle = (low + high + 1) / 2;
                auto const others = places > middle + empty ? places - middle - empty : 0;
                auto const least = lightest(middle, of) + lightest(std::min(others, count() - of), count());
                if (least <= space) {
                    low = middle;
                } else {
                    high = middle - 1;
                }
            }
            return low;
        }

    private:
        std::vector<double> sums_;
    };
    struct member {
        double staying = 0;
        weights own;             // what it may give
        std::size_t excess = 0;  // how many it has to give
        std::size_t room = 0;    // for orphans
        std::size_t places = 0;  // in the end, for what may move
        bool overfull = false;   // in the end
        bool closed = false;     // never has room, so that it only keeps
    };
    struct bin {
        double space;
        std::size_t places;
        weights const* only = nullptr;  // what may be there; null: anything
    };

    // Whether all nodes may end below the level, as far as can be told.
    [[nodiscard]] bool possible(double level) const {
        std::vector<std::size_t> giving;
        std::size_t needed = drained_;
        for (auto const& one : members_) {
            auto const weight = one.staying + one.own.heaviest(one.own.count());
            auto n = one.excess;
            while (n < one.own.count() && weight - one.own.heaviest(n) > level) ++n;
            if (weight - one.own.heaviest(n) > level) return false;
            giving.push_back(n);
            needed += n;
        }
        if (needed > moves_) return false;
        auto const free = stuck_ ? 0 : moves_ - needed;

        // What the moves that are left may bring: room for what is heavier than others.
        std::vector<double> gains;
        std::vector<bin> initial;
        std::vector<bin> initial_at_best;
        std::vector<bin> later_at_best;
        std::vector<bin> final;
        for (std::size_t i = 0; i < members_.size(); ++i) {
            auto const& one = members_[i];
            auto const weight = one.staying + one.own.heaviest(one.own.count());
            auto const n = giving[i];
            for (auto m = n; m < std::min(one.own.count(), n + free); ++m) {
                gains.push_back(one.own.heaviest(m + 1) - one.own.heaviest(m));
            }
            auto const space = level - weight + one.own.heaviest(n);
            auto const at_best = level - weight + one.own.heaviest(n + free);
            initial.push_back({space, one.room});
            initial_at_best.push_back({at_best, one.room});
            later_at_best.push_back({at_best, stuck_ ? one.room : one.room + n - one.excess + free});
            final.push_back({level - one.staying, one.places, one.closed ? &one.own : nullptr});
        }
        std::sort(gains.begin(), gains.end(), std::greater<>{});
        double more = 0;
        for (std::size_t m = 0; m < std::min(free, gains.size()); ++m) more += gains[m];
        return fit(orphans_, initial_at_best, initial, more) && fit(coming_, later_at_best, later_at_best, 0) &&
               fit(all_, final, final, 0);
    }

    // For the n heaviest, whatever n is: whether the bins have places for so many, and hold as much: each what it has space
    // for, or several together the heaviest that they have places for.
    [[nodiscard]] static bool fit(weights const& these, std::vector<bin> const& by_count, std::vector<bin> by_weight,
                                  double more) {
        std::sort(by_weight.begin(), by_weight.end(), [](bin const& a, bin const& b) {
            return static_cast<double>(a.places) * b.space < static_cast<double>(b.places) * a.space;
        });
        double space = more;
        std::size_t empty = 0;
        for (auto const& one : by_weight) {
            space += one.only ? std::min(one.space, one.only->heaviest(one.places)) : one.space;
            empty += one.places;
        }
        empty -= std::min(empty, these.count());
        for (std::size_t n = 1; n <= these.count(); ++n) {
            std::size_t found = 0;
            auto const least = these.heaviest(n) - these.heaviest(n - 1);
            for (std::size_t i = 0; i < by_count.size() && found < n; ++i) {
                auto const& one = by_count[i];
                auto const fit = these.fit(n, one.space, one.places, empty);
                found += one.only ? std::min(fit, one.only->not_below(least)) : fit;
            }
            if (found < n) return false;
            auto const sum = these.heaviest(n) * (1 - 1e-9);
            std::size_t places = 0;
            double rest = space;
            if (sum > rest) return false;
            for (auto const& one : by_weight) {
                places += one.places;
                rest -= one.only ? std::min(one.space, one.only->heaviest(one.places)) : one.space;
                if (sum > rest + these.heaviest(std::min(n, places))) return false;
            }
        }
        return true;
    }

    // The heaviest first, each to all nodes that it may go to.
    struct search {
        struct item {
            double weight;
            std::size_t from;
        };

        search(makespan_bound const& of, double below, std::uint64_t most) : bound{of}, level{below}, steps{most} {
            auto const add = [&](weights const& these, std::size_t from) {
                for (std::size_t n = 0; n < these.count(); ++n) {
                    items.push_back({these.heaviest(n + 1) - these.heaviest(n), from});
                }
            };
            for (std::size_t i = 0; i < of.members_.size(); ++i) {
                auto const& one = of.members_[i];
                add(one.own, i);
                weights_of.push_back(one.staying);
                undecided.push_back(one.own.count());
            }
            counts.resize(of.members_.size());
            placed.resize(of.members_.size());
            add(of.orphans_, orphan);
            add(of.drained_items_, drained);
            std::sort(items.begin(), items.end(), [](item const& a, item const& b) { return a.weight > b.weight; });
        }

        bool finds() {
            for (auto const weight : weights_of) {
                if (weight >= level) return false;
            }
            return deal(0, bound.drained_);
        }

        bool deal(std::size_t at, std::size_t moves) {
            if (moves > bound.moves_) return false;
            if (at == items.size() || bound.members_.empty()) return true;
            auto const& one = items[at];
            bool const owned = one.from < bound.members_.size();
            if (owned) --undecided[one.from];
            bool found = false;
            for (std::size_t i = 0; i < bound.members_.size() && !found; ++i) {
                auto const& node = bound.members_[i];
                if (steps == 0) return true;  // not known
                if (counts[i] == node.places || weights_of[i] + one.weight >= level) continue;
                if (i != one.from && (node.closed || (bound.stuck_ && one.from != orphan))) continue;
                if (one.from == orphan && placed[i] == node.room) continue;
                if (i != one.from && twin(i)) continue;
                --steps;
                weights_of[i] += one.weight;
                ++counts[i];
                placed[i] += one.from == orphan;
                found = deal(at + 1, moves + (owned && i != one.from));
                weights_of[i] -= one.weight;
                --counts[i];
                placed[i] -= one.from == orphan;
            }
            if (owned) ++undecided[one.from];
            return found;
        }

        // Another node before it, of which all that counts is the same.
        [[nodiscard]] bool twin(std::size_t i) const {
            for (std::size_t k = 0; k < i; ++k) {
                auto const& a = bound.members_[k];
                auto const& b = bound.members_[i];
                if (undecided[k] == 0 && undecided[i] == 0 && counts[k] == counts[i] && placed[k] == placed[i] &&
                    a.places == b.places && a.room == b.room && a.closed == b.closed &&
                    weights_of[k] == weights_of[i]) {
                    return true;
                }
            }
            return false;
        }

        static constexpr auto orphan = static_cast<std::size_t>(-1);
        static constexpr auto drained = static_cast<std::size_t>(-2);

        makespan_bound const& bound;
        double level;
        std::uint64_t steps;
        std::vector<item> items;
        std::vector<double> weights_of;
        std::vector<std::size_t> counts;
        std::vector<std::size_t> placed;
        std::vector<std::size_t> undecided;
    };

    std::size_t moves_;
    std::size_t drained_ = 0;  // moves away from drained nodes
    bool stuck_ = false;
    std::vector<member> members_;
    weights orphans_;
    weights drained_items_;  // what leaves drained nodes
    weights coming_;         // both
    weights all_;            // that may get elsewhere, or has to
};

}  // namespace rota_test
