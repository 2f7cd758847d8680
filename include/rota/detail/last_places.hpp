// Who gets the last places: what weighted_least_moves does where full nodes may have kept its plan from being within
// 1.5 x the best. With places that are counted, even one that is within a constant of the best is hard to find by giving
// one schedule after the other (it contains 3-PARTITION with bins of three), so this searches:
//
//   1. with few schedules: tries all distributions of as many moves whose heaviest node is lighter by a third, by branch
//      and bound, the heaviest schedules first, for so many steps;
//   2. with more, or if these steps are not enough: exchanges two schedules, or gives one, where that makes the heaviest
//      node lighter: the pair that does it best, again and again, until the heaviest is within 1.5 x what no distribution
//      can go below (see bound()). Where no pair does, three schedules go round. That may take more moves.
//
// Only what steps can reach counts: orphans get the room that there is from the beginning, and the moves have an order in
// which each finds room (see orderable()). An overfull node may keep other schedules than before, but gets none that it
// did not have as long as it is overfull. What stays on drained nodes, since there is no room for all, stays.
//
// What was found replaces the plan only if the heaviest node is lighter. So whoever plans again ends: sorted downwards, the
// weights only ever get smaller.
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
        items_of_.resize(kinds * view.nodes.size());
        placed_.resize(view.nodes.size());
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
                ++placed_[step.to];
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
        for (auto const i : sorted) list_of(items_[i].to, items_[i]).push_back(i);
    }

    /// Whether the plan may be more than 1.5 x the best of as many moves, and another was found; moves() and weights() tell.
    bool search() {
        auto const before = heaviest();
        auto const enough = 1.5 * bound();
        if (before <= enough) return false;
        if (items_.size() > most_items) {
            exchange(enough);
            return heaviest() < before && order();
        }
        auto const items = items_;
        auto const counts = counts_;
        auto const weights = weights_;
        auto const placed = placed_;
        bool const branched = branch(before / 1.5);
        if (proven_ || (branched && best_ <= enough)) return branched;
        auto const best = branched ? best_ : before;
        auto const best_weights = weights_;
        auto const best_plan = found_;
        items_ = items;
        counts_ = counts;
        weights_ = weights;
        placed_ = placed;
        exchange(enough);
        if (heaviest() < best && order()) return true;
        weights_ = best_weights;
        found_ = best_plan;
        return branched;
    }
    [[nodiscard]] std::vector<move> const& moves() const { return found_.moves; }
    [[nodiscard]] std::vector<double> const& weights() const { return weights_; }

private:
    static constexpr auto none = cluster_view::none;
    static constexpr std::uint64_t least_effort = 300'000;  // in comparisons: a few ms
    static constexpr std::uint64_t most_effort = 2'000'000;
    static constexpr std::uint64_t most_branches = 100'000;
    static constexpr std::uint32_t most_items = 64;  // to branch over
    static constexpr std::size_t most_barred = 64;   // exchanges that turn out to block each other
    static constexpr std::size_t most_nearest = 8;   // of those that would do by weight, until one would do at all
    static constexpr std::size_t enough_nodes = 8;   // the lightest of those that would do
    static constexpr std::size_t enough_items = 12;  // of each kind
    static constexpr std::uint32_t kinds = 3;        // of items, see list_of()

    // A schedule that may be given to any node.
    struct item {
        double weight;
        std::uint32_t schedule;
        std::uint32_t from;  // none: an orphan
        std::uint32_t to;
    };

    // Where it is to be, the lightest first: what is there already, what comes from elsewhere, and orphans.
    [[nodiscard]] std::vector<std::uint32_t>& list_of(std::uint32_t node, item const& one) {
        return items_of_[kinds * node + (one.from == none ? 2 : one.from == node ? 0 : 1)];
    }
    void add(std::uint32_t schedule, std::uint32_t from, std::uint32_t to) {
        items_.push_back({weight_of_(schedule), schedule, from, to});
    }
    [[nodiscard]] std::uint32_t capacity(std::uint32_t node) const { return view_.nodes[node].capacity; }
    // For orphans.
    [[nodiscard]] std::uint32_t room(std::uint32_t node) const {
        return view_.nodes[node].load < capacity(node) ? capacity(node) - view_.nodes[node].load : 0;
    }
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
            for (std::uint32_t kind = 0; kind < kinds; ++kind) {
                for (auto const i : items_of_[kinds * node + kind]) all.push_back(items_[i].weight);
            }
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

    // x goes from the heaviest node to another, and y comes from there instead; none: nothing does.
    struct swap {
        std::uint32_t x = none;
        std::uint32_t y = none;
        std::uint32_t to = none;
    };

    void exchange(double enough) {
        effort_ = 0;
        most_effort_ = least_effort + 500 * items_.size();
        if (most_effort_ > most_effort) most_effort_ = most_effort;
        std::vector<swap> barred;
        std::vector<std::uint32_t> by_weight(weights_.size());
        std::vector<std::uint32_t> spare;
        for (std::uint32_t node = 0; node < by_weight.size(); ++node) by_weight[node] = node;
        bool all = false;  // else only some are looked at, while that is enough
        while (effort_ < most_effort_) {
            std::uint32_t top = none;
            for (std::uint32_t i = 0; i < weights_.size(); ++i) {
                if (capacity(i) > 0 && (top == none || weights_[i] > weights_[top])) top = i;
            }
            if (top == none || weights_[top] <= enough) return;
            effort_ += items_.size();
            auto const opened = opened_nodes(items_, loads_at_first());
            auto best = weights_[top] * (1 - 1e-9);
            swap found;
            radix_sort(by_weight, 0, spare,
                       [this](std::uint32_t node) { return std::bit_cast<std::uint64_t>(weights_[node]); });
            std::size_t looked_at = 0;
            for (auto const node : by_weight) {
                if (effort_ >= most_effort_ || (!all && found.x != none && looked_at >= enough_nodes)) break;
                if (node == top || capacity(node) == 0) continue;
                ++looked_at;
                auto const half = (weights_[top] - weights_[node]) / 2;
                // Whether it would be possible, though another may be better.
                auto const consider = [&](std::uint32_t x, std::uint32_t y) {
                    ++effort_;
                    if (!finds_room(opened, x, node, y, top)) return false;
                    for (auto const& one : barred) {
                        if (one.x == x && one.y == y && one.to == node) return false;
                    }
                    auto const difference = items_[x].weight - (y == none ? 0 : items_[y].weight);
                    auto const here = weights_[top] - difference;
                    auto const there = weights_[node] + difference;
                    auto const most = here > there ? here : there;
                    if (difference <= 0 || most >= best) return true;
                    best = most;
                    found = {x, y, node};
                    return true;
                };
                for (std::uint32_t kind = 0; kind < kinds; ++kind) {
                    auto const& own = items_of_[kinds * top + kind];
                    for (std::size_t n = 0; n < own.size(); n += all ? 1 : 1 + own.size() / enough_items) {
                        auto const x = own[own.size() - 1 - n];
                        consider(x, none);
                        for (std::uint32_t other = 0; other < kinds; ++other) {
                            // On both sides of what would make both even.
                            auto const& list = items_of_[kinds * node + other];
                            auto const middle = place_of(list, items_[x].weight - half);
                            for (auto at = middle; at < list.size() && at < middle + most_nearest; ++at) {
                                if (consider(x, list[at])) break;
                            }
                            for (auto at = middle; at > 0 && at + most_nearest > middle; --at) {
                                if (consider(x, list[at - 1])) break;
                            }
                        }
                    }
                }
            }
            if (found.x == none && !all) {
                all = true;
                continue;
            }
            all = false;
            if (found.x == none) {
                if (!rotate(top)) return;
                barred.clear();
                continue;
            }
            give(found.x, found.to);
            if (found.y != none) give(found.y, top);
            if (can_be_reached()) {
                barred.clear();
                continue;
            }
            if (found.y != none) give(found.y, found.to);
            give(found.x, top);
            barred.push_back(found);
            if (barred.size() > most_barred) return;
        }
    }

    // Where no two will do, three: x goes from the heaviest node to another, y from there to a third one, and z from there
    // to the first, or nothing. Large ones are tried for x, small ones for z; the first three that will do are taken.
    bool rotate(std::uint32_t top) {
        auto const limit = weights_[top] * (1 - 1e-9);
        auto const nodes = static_cast<std::uint32_t>(weights_.size());
        std::vector<std::uint32_t> large;
        for (std::uint32_t kind = 0; kind < kinds; ++kind) {
            auto const& list = items_of_[kinds * top + kind];
            for (std::size_t n = 0; n < list.size() && n < most_nearest; ++n)
                large.push_back(list[list.size() - 1 - n]);
        }
        for (auto const x : large) {
            for (std::uint32_t a = 0; a < nodes; ++a) {
                if (a == top || !may_get(x, a)) continue;
                for (std::uint32_t kind = 0; kind < kinds; ++kind) {
                    auto const list = items_of_[kinds * a + kind];
                    for (auto at = place_of(list, weights_[a] + items_[x].weight - limit); at < list.size(); ++at) {
                        if (try_three(top, x, a, list[at], limit)) return true;
                        if (effort_ >= most_effort_) return false;
                    }
                }
            }
        }
        return false;
    }

    bool try_three(std::uint32_t top, std::uint32_t x, std::uint32_t a, std::uint32_t y, double limit) {
        for (std::uint32_t b = 0; b < weights_.size() && effort_ < most_effort_; ++b) {
            ++effort_;
            if (b == a || b == top || !may_get(y, b)) continue;
            auto const given = [&](std::uint32_t z) { return z == none ? 0 : items_[z].weight; };
            auto const fits = [&](std::uint32_t z) {
                return weights_[a] + items_[x].weight - items_[y].weight < limit &&
                       weights_[b] + items_[y].weight - given(z) < limit &&
                       weights_[top] - items_[x].weight + given(z) < limit && has_places(top, x, a, y, b, z);
            };
            for (std::uint32_t kind = 0; kind <= kinds; ++kind) {
                auto z = none;
                if (kind < kinds) {
                    auto const& list = items_of_[kinds * b + kind];
                    auto const at = place_of(list, weights_[b] + items_[y].weight - limit);
                    if (at == list.size()) continue;
                    z = list[at];
                    if (!may_get(z, top)) continue;
                }
                if (!fits(z)) continue;
                give(x, a);
                give(y, b);
                if (z != none) give(z, top);
                if (can_be_reached()) return true;
                if (z != none) give(z, b);
                give(y, a);
                give(x, top);
            }
        }
        return false;
    }

    [[nodiscard]] bool has_places(std::uint32_t top, std::uint32_t x, std::uint32_t a, std::uint32_t y, std::uint32_t b,
                                  std::uint32_t z) const {
        auto const orphan = [this](std::uint32_t number) -> std::uint32_t {
            return number != none && items_[number].from == none ? 1 : 0;
        };
        if (z == none && counts_[b] >= capacity(b)) return false;
        return (orphan(x) <= orphan(y) || placed_[a] < room(a)) && (orphan(y) <= orphan(z) || placed_[b] < room(b)) &&
               (orphan(z) <= orphan(x) || placed_[top] < room(top));
    }

    // An overfull node keeps what it has, or gets that back.
    [[nodiscard]] bool may_get(std::uint32_t number, std::uint32_t node) const {
        return capacity(node) > 0 && (takes(node) || items_[number].from == node);
    }

    // Whether there is an order of the moves.
    bool can_be_reached() {
        effort_ += items_.size() + weights_.size();
        if (!orderable(items_, loads_at_first())) return false;
        if (!overfull_gets()) return true;
        effort_ += 10 * items_.size();
        return order();
    }

    // Whether both may be where they are to be, as far as one can tell at once: orphans come first, while there is only
    // the room that there is from the beginning; and a full node takes in what its own moves, directly or not, make room for.
    [[nodiscard]] bool finds_room(std::vector<bool> const& opened, std::uint32_t x, std::uint32_t to, std::uint32_t y,
                                  std::uint32_t back) const {
        if (y == none && counts_[to] >= capacity(to)) return false;
        if (!may_get(x, to) || (y != none && !may_get(y, back))) return false;
        bool const x_orphan = items_[x].from == none;
        bool const y_orphan = y != none && items_[y].from == none;
        if (x_orphan && !y_orphan && placed_[to] >= room(to)) return false;
        if (y_orphan && !x_orphan && placed_[back] >= room(back)) return false;
        bool const x_moves = !x_orphan && items_[x].from != to;
        bool const y_moves = y != none && !y_orphan && items_[y].from != back;
        if (x_moves && !opened[to] && !y_orphan && !(y_moves && items_[y].from == to && opened[back])) return false;
        return !y_moves || opened[back] || x_orphan || (x_moves && items_[x].from == back && opened[to]);
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
        auto& old = list_of(one.to, one);
        auto at = place_of(old, one.weight);
        while (old[at] != number) ++at;
        old.erase(old.begin() + static_cast<std::ptrdiff_t>(at));
        auto& in = list_of(to, one);
        in.insert(in.begin() + static_cast<std::ptrdiff_t>(place_of(in, one.weight)), number);
        weights_[one.to] -= one.weight;
        weights_[to] += one.weight;
        --counts_[one.to];
        ++counts_[to];
        if (one.from == none) {
            --placed_[one.to];
            ++placed_[to];
        }
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
        placed_.assign(counts.size(), 0);
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
            auto const effort = effort_;
            bool const better = most < best_ && order();
            steps_ += (most < best_ ? items_.size() : 0) + (effort_ - effort) / 8;
            if (better) {
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
            if (counts_[node] >= most_counts_[node] || (one.from == none && placed_[node] >= room(node))) continue;
            if ((!left_behind && weights_[node] + one.weight >= best_) || moves + goes > moved_) continue;
            steps_ += 1 + weights_.size() / 16;  // it looks at all nodes
            weights_[node] += one.weight;
            ++counts_[node];
            placed_[node] += one.from == none;
            auto const before = one.to;
            one.to = node;
            any = deal(at + 1, moves + goes) || any;
            one.to = before;
            weights_[node] -= one.weight;
            --counts_[node];
            placed_[node] -= one.from == none;
        }
        if (at == 0 && any) weights_ = best_weights_;
        return any;
    }

    // ---- the steps

    [[nodiscard]] static bool moves(item const& one) { return one.from != none && one.from != one.to; }
    [[nodiscard]] static bool moves(pending_step const&) { return true; }

    // The nodes that have room, and those that give something to one of these.
    template <typename Move>
    [[nodiscard]] std::vector<bool> opened_nodes(std::vector<Move> const& all,
                                                 std::vector<std::uint32_t> const& loads) const {
        std::vector<std::uint32_t> first(loads.size() + 1);  // in giving, by who gets it
        for (auto const& one : all) first[one.to] += moves(one);
        std::uint32_t sum = 0;
        for (auto& at : first) {
            sum += at;
            at = sum;
        }
        std::vector<std::uint32_t> giving(sum);
        for (auto const& one : all) {
            if (moves(one)) giving[--first[one.to]] = one.from;
        }
        std::vector<bool> opened(loads.size());
        std::vector<std::uint32_t> found;
        for (std::uint32_t node = 0; node < loads.size(); ++node) {
            if (loads[node] >= capacity(node)) continue;
            opened[node] = true;
            found.push_back(node);
        }
        for (std::size_t i = 0; i < found.size(); ++i) {
            for (auto at = first[found[i]]; at < first[found[i] + 1]; ++at) {
                if (opened[giving[at]]) continue;
                opened[giving[at]] = true;
                found.push_back(giving[at]);
            }
        }
        return opened;
    }

    // Whether there is an order of the moves in which each finds room: if each goes to a node that is opened. (Where moves
    // lead in a ring, one that starts at a free place fills it from behind all the way round, as often as there are moves:
    // an Eulerian circuit. Only of overfull nodes that get something, which must first give more, this is not enough.)
    template <typename Move>
    [[nodiscard]] bool orderable(std::vector<Move> const& all, std::vector<std::uint32_t> const& loads) const {
        auto const opened = opened_nodes(all, loads);
        for (auto const& one : all) {
            if (moves(one) && !opened[one.to]) return false;
        }
        return true;
    }

    [[nodiscard]] bool overfull_gets() const {
        for (auto const& one : items_) {
            if (moves(one) && view_.nodes[one.to].load > capacity(one.to)) return true;
        }
        return false;
    }

    // Of nodes, once orphans are placed.
    [[nodiscard]] std::vector<std::uint32_t> loads_at_first() const {
        std::vector<std::uint32_t> loads;
        for (std::uint32_t node = 0; node < placed_.size(); ++node) {
            loads.push_back(view_.nodes[node].load + placed_[node]);
        }
        return loads;
    }

    // Writes the steps to where the items are to be. False: they block each other.
    bool order() {
        plan made;
        step_order<T> steps{view_, made, {}};
        std::vector<pending_step> moves;
        auto excess = excess_of_nodes();
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
                             .why = must ? why_it_must(one.from) : change_reason::rebalanced});
        }
        auto const nowhere = [](std::uint32_t, step_order<T> const&, std::uint32_t&) { return none; };
        auto const placed = made.moves.size();
        auto const all = moves;
        auto loads = steps.loads();
        steps.set_moves(static_cast<std::vector<pending_step>&&>(moves));
        steps.make_required(nowhere);
        steps.make_others();
        if (made.moves.size() != wanted) {
            made.moves.resize(placed);
            if (!order_with_foresight(made, all, loads)) return false;
        }
        found_ = static_cast<plan&&>(made);
        return true;
    }

    [[nodiscard]] std::vector<std::uint32_t> excess_of_nodes() const {
        std::vector<std::uint32_t> excess;
        for (auto const& node : view_.nodes) {
            excess.push_back(node.load > node.capacity ? node.load - node.capacity : 0);
        }
        return excess;
    }
    [[nodiscard]] change_reason why_it_must(std::uint32_t from) const {
        return view_.nodes[from].draining ? change_reason::drained : change_reason::overfull;
    }

    // Makes no move after which others could not be made any more: where full nodes wait for each other, it matters who gets
    // the room that comes first.
    bool order_with_foresight(plan& made, std::vector<pending_step> moves, std::vector<std::uint32_t>& loads) {
        auto const placed = made.moves.size();
        std::vector<bool> gets(loads.size());
        for (auto const& one : moves) gets[one.to] = true;
        // An overfull node that is to get something gives first; then goes what has to be.
        auto const rank = [&](pending_step const& one) -> std::uint32_t {
            bool const over = loads[one.from] >= capacity(one.from) && view_.nodes[one.from].load > capacity(one.from);
            return over && gets[one.from] ? 0 : is_required(one.why) ? 1 : 2;
        };
        auto const most = effort_ + least_effort;
        while (!moves.empty()) {
            auto const left = moves.size();
            for (std::size_t i = 0; i < 3 * left && moves.size() == left; ++i) {
                auto const at = i % left;
                auto const one = moves[at];
                if (rank(one) != i / left || loads[one.to] >= capacity(one.to)) continue;
                effort_ += 2 * (left + loads.size());
                if (effort_ > most) return false;
                moves[at] = moves.back();
                moves.pop_back();
                ++loads[one.to];
                --loads[one.from];
                if (orderable(moves, loads)) {
                    made.moves.push_back({one.schedule, one.from, one.to, one.why});
                    continue;
                }
                --loads[one.to];
                ++loads[one.from];
                auto const last = at < moves.size() ? moves[at] : one;
                moves.push_back(last);
                moves[at] = one;
            }
            if (moves.size() == left) return false;
        }
        // What has to be comes first, with what makes room for it.
        bool must = false;
        for (auto at = made.moves.size(); at > placed; --at) {
            auto& why = made.moves[at - 1].why;
            must = must || is_required(why);
            if (must && !is_required(why)) why = change_reason::constrained;
        }
        return true;
    }

    cluster_view const& view_;
    WeightOf weight_of_;
    std::vector<move> original_;
    std::vector<double> weights_;
    std::vector<std::uint32_t> counts_;
    std::vector<item> items_;
    std::vector<std::vector<std::uint32_t>> items_of_;  // see list_of()
    std::vector<std::uint32_t> placed_;                 // how many orphans, by where they are to be
    std::uint32_t moved_ = 0;
    std::uint64_t effort_ = 0;
    std::uint64_t most_effort_ = 0;
    plan found_;

    double best_ = 0;
    std::uint64_t steps_ = 0;
    bool proven_ = false;  // all of as many moves were looked at
    std::vector<double> best_weights_;
    std::vector<std::uint32_t> most_counts_;
};

}  // namespace rota::detail
