// Puts the steps towards a target in an order in which each can be carried out when its turn comes: into a node that has
// room, and no other of the schedule's group, at that moment. What a step needs gone goes before it.
//
// Where full nodes wait for each other in a ring there is no such order. A step of the ring that has to be is then sent
// to another node that will do, or another that stands in its way is. If there is none, the ring stays as it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../cluster_view.hpp"
#include "late.hpp"

namespace rota::detail {

/// A move that is part of the target. A slot stands for a group and a node: at most one of the group may enter.
struct pending_step {
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    std::uint32_t schedule = none;
    std::uint32_t from = none;
    std::uint32_t to = none;
    std::uint32_t placement_class = none;
    std::uint32_t from_slot = none;
    std::uint32_t to_slot = none;
    change_reason why = change_reason::rebalanced;
};

/// `Find`: find(class, step_order const&, slot&) gives a node that could be entered now, the emptiest, or `none`.
template <typename T = void>
class step_order {
    using cluster_view = late<rota::cluster_view, T>;
    using plan = late<rota::plan, T>;
    using step = late<pending_step, T>;

public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    /// `held`: how many schedules of its group a slot holds.
    step_order(cluster_view const& view, plan& into, std::vector<std::uint32_t> held)
        : view_{view},
          plan_{into},
          held_{static_cast<std::vector<std::uint32_t>&&>(held)} {
        loads_.reserve(view.nodes.size());
        for (auto const& node : view.nodes) loads_.push_back(node.load);
    }

    [[nodiscard]] std::uint32_t load(std::uint32_t node) const { return loads_[node]; }
    [[nodiscard]] std::vector<std::uint32_t> const& loads() const { return loads_; }
    [[nodiscard]] std::uint32_t held(std::uint32_t slot) const { return held_[slot]; }

    [[nodiscard]] bool open(std::uint32_t node, std::uint32_t slot) const {
        return loads_[node] < view_.nodes[node].capacity && (slot == none || held_[slot] == 0);
    }

    void place(std::uint32_t schedule, std::uint32_t node, std::uint32_t slot) {
        plan_.moves.push_back({schedule, none, node, change_reason::placed});
        ++loads_[node];
        if (slot != none) ++held_[slot];
    }

    /// The moves of the target; those that have to be may stand anywhere among them, the others in the order in which
    /// they are to be made.
    void set_moves(std::vector<step> moves) {
        moves_ = static_cast<std::vector<step>&&>(moves);
        state_.assign(moves_.size(), waiting);
        tried_.assign(moves_.size(), none);
        first_.assign(loads_.size() + 1, 0);
        for (auto const& one : moves_) ++first_[one.from];
        std::uint32_t sum = 0;
        for (auto& at : first_) {
            auto const count = at;
            at = sum;
            sum += count;
        }
        leaving_.resize(moves_.size());
        auto next = first_;
        for (std::uint32_t i = 0; i < moves_.size(); ++i) leaving_[next[moves_[i].from]++] = i;
    }

    /// All that has to be, with what must go before it.
    template <typename Find>
    void make_required(Find const& find) {
        for (bool again = true; again;) {
            auto const before = plan_.moves.size();
            for (std::uint32_t i = 0; i < moves_.size(); ++i) {
                if (is_required(moves_[i].why)) take(i, 0);
            }
            again = plan_.moves.size() > before;
        }
        std::uint32_t searches = 0;
        for (std::uint32_t i = 0; i < moves_.size() && searches < most_searches; ++i) {
            if (!is_required(moves_[i].why) || state_[i] == done) continue;
            ++searches;
            if (take(i, 0) || redirect(i, find)) continue;
            clear_the_way(i, find);
        }
    }

    /// Moves away what keeps something that is no part of the moves from entering.
    void make_room(std::uint32_t node, std::uint32_t slot) { clear(node, slot, 0); }

    void make_others() {
        evening_out_ = true;
        for (std::uint32_t i = 0; i < moves_.size(); ++i) {
            if (!is_required(moves_[i].why)) take(i, 0);
        }
    }

private:
    enum state : unsigned char { waiting, active, done };
    static constexpr std::uint32_t deepest = 2'000;      // a chain of steps that wait for each other
    static constexpr std::uint32_t most_searches = 200;  // for another node

    bool take(std::uint32_t i, std::uint32_t depth) {
        auto const& one = moves_[i];
        auto const now = static_cast<std::uint32_t>(plan_.moves.size());
        if (state_[i] != waiting || depth > deepest) return false;
        if (evening_out_ && is_required(one.why)) return false;
        if (!open(one.to, one.to_slot)) {
            if (tried_[i] == now) return false;  // nothing has changed since
            state_[i] = active;
            bool const cleared = clear(one.to, one.to_slot, depth + 1);
            state_[i] = waiting;
            tried_[i] = static_cast<std::uint32_t>(plan_.moves.size());
            if (!cleared) return false;
        }
        make(i);
        return true;
    }

    void make(std::uint32_t i) {
        auto& one = moves_[i];
        if (!evening_out_ && !is_required(one.why)) one.why = change_reason::constrained;  // makes room for such a one
        plan_.moves.push_back({one.schedule, one.from, one.to, one.why});
        state_[i] = done;
        --loads_[one.from];
        ++loads_[one.to];
        if (one.from_slot != none) --held_[one.from_slot];
        if (one.to_slot != none) ++held_[one.to_slot];
    }

    bool clear(std::uint32_t node, std::uint32_t slot, std::uint32_t depth) {
        for (auto k = first_[node]; k < first_[node + 1] && slot != none && held_[slot] > 0; ++k) {
            if (moves_[leaving_[k]].from_slot == slot) take(leaving_[k], depth);
        }
        for (auto k = first_[node]; k < first_[node + 1] && loads_[node] >= view_.nodes[node].capacity; ++k) {
            take(leaving_[k], depth);
        }
        return open(node, slot);
    }

    // To another node that will do.
    template <typename Find>
    bool redirect(std::uint32_t i, Find const& find) {
        std::uint32_t slot = none;
        auto const node = find(moves_[i].placement_class, *this, slot);
        if (node == none || node == moves_[i].from) return false;
        moves_[i].to = node;
        moves_[i].to_slot = slot;
        make(i);
        return true;
    }

    // Sends something that stands in the way of step i to another node than its own.
    template <typename Find>
    void clear_the_way(std::uint32_t i, Find const& find) {
        auto const node = moves_[i].to;
        auto const slot = moves_[i].to_slot;
        bool const by_group = slot != none && held_[slot] > 0;
        for (auto k = first_[node]; k < first_[node + 1]; ++k) {
            auto const other = leaving_[k];
            if (state_[other] != waiting || (by_group && moves_[other].from_slot != slot)) continue;
            if (!redirect(other, find)) continue;
            take(i, 0);
            return;
        }
    }

    cluster_view const& view_;
    plan& plan_;
    std::vector<std::uint32_t> loads_;
    std::vector<std::uint32_t> held_;
    std::vector<step> moves_;
    std::vector<state> state_;
    std::vector<std::uint32_t> tried_;    // how many steps there were when it was last found blocked
    std::vector<std::uint32_t> first_;    // per node, into leaving_
    std::vector<std::uint32_t> leaving_;  // the moves away from each node
    bool evening_out_ = false;
};

}  // namespace rota::detail
