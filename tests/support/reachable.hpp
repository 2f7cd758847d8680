// What a group can get to in few moves, by brute force: every distribution that some sequence of valid steps ends in. A
// step gives a schedule to a node that has room for it at that time; orphans come first; no schedule goes twice; what may
// not move stays. So two full nodes cannot exchange schedules, whatever the loads are in the end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include <rota/cluster_view.hpp>

namespace rota_test {

/// Of the sequences that place the orphans that the plan places, take no more moves than it does, leave no node further
/// above its capacity, and where there is not room for all, leave the same on drained nodes.
class reachable {
public:
    reachable(rota::cluster_view const& view, rota::plan const& plan) : view_{view}, most_moves_{plan.voluntary} {
        for (auto const& schedule : view.schedules) owners_.push_back(schedule.owner);
        for (auto const& node : view.nodes) {
            counts_.push_back(node.load);
            weights_.push_back(0);
            for (auto const s : node.schedules) weights_.back() += view.schedules[s].weight;
        }
        most_counts_ = counts_;
        std::vector<bool> moved(owners_.size());
        for (auto const& step : plan.moves) {
            moved[step.schedule] = true;
            if (step.forced()) orphans_.push_back(step.schedule);
            if (!step.forced()) --most_counts_[step.from];
            ++most_counts_[step.to];
        }
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            most_counts_[i] = std::max(most_counts_[i], view.nodes[i].capacity);
        }

        std::uint32_t states = 1;
        place_.resize(owners_.size());
        for (std::uint32_t s = 0; s < owners_.size(); ++s) {
            if (owners_[s] == rota::cluster_view::none) {
                if (!moved[s]) continue;
            } else {
                if (!view.may_move(s) || (view.nodes[owners_[s]].capacity == 0 && !moved[s])) continue;
                movable_.push_back(s);
            }
            place_[s] = states;
            states *= static_cast<std::uint32_t>(counts_.size());
        }
        seen_.resize(states);
        std::uint32_t number = 0;
        for (auto const s : movable_) number += owners_[s] * place_[s];
        place(0, number);
    }

    double best = std::numeric_limits<double>::infinity();  ///< weight of the heaviest node that is not drained
    std::uint32_t found = 0;                                ///< distributions, those on the way included

private:
    void place(std::size_t at, std::uint32_t number) {
        if (at == orphans_.size()) return go_on(0, number);
        auto const s = orphans_[at];
        for (std::uint32_t to = 0; to < counts_.size(); ++to) {
            if (counts_[to] >= view_.nodes[to].capacity) continue;
            enter(s, to);
            place(at + 1, number + to * place_[s]);
            leave(s, to);
        }
    }

    // How many moves it has taken is how many are not where they were: each way there is as short as any other.
    void go_on(std::uint32_t moves, std::uint32_t number) {
        if (seen_[number] != 0) return;
        seen_[number] = 1;
        judge();
        if (moves == most_moves_) return;
        for (std::uint32_t to = 0; to < counts_.size(); ++to) {
            if (counts_[to] >= view_.nodes[to].capacity) continue;
            for (auto const s : movable_) {
                auto const from = view_.schedules[s].owner;
                auto const then = number - from * place_[s] + to * place_[s];
                if (owners_[s] != from || to == from || seen_[then] != 0) continue;
                leave(s, from);
                enter(s, to);
                go_on(moves + 1, then);
                leave(s, to);
                enter(s, from);
            }
        }
    }

    void enter(std::uint32_t s, std::uint32_t node) {
        owners_[s] = node;
        ++counts_[node];
        weights_[node] += view_.schedules[s].weight;
    }
    void leave(std::uint32_t s, std::uint32_t node) {
        --counts_[node];
        weights_[node] -= view_.schedules[s].weight;
    }

    void judge() {
        ++found;
        double most = 0;
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            if (counts_[i] > most_counts_[i]) return;
            if (view_.nodes[i].capacity > 0) most = std::max(most, weights_[i]);
        }
        best = std::min(best, most);
    }

    rota::cluster_view const& view_;
    std::uint32_t most_moves_;
    std::vector<std::uint32_t> orphans_;  // that the plan places
    std::vector<std::uint32_t> movable_;
    std::vector<std::uint32_t> owners_;
    std::vector<std::uint32_t> counts_;
    std::vector<std::uint32_t> most_counts_;  // in the end
    std::vector<double> weights_;
    std::vector<std::uint32_t> place_;  // of each schedule's owner in the number of a state
    std::vector<char> seen_;            // by number
};

}  // namespace rota_test
