// The default strategy: the most even loads that the capacities allow, by the fewest moves. Every schedule counts as
// one, whatever its weight; shares in proportion to capacity are another strategy's business.
//
// The plan is greedy: place each orphan on the emptiest node with room; bring nodes that hold more than they may down
// to their capacity; then move from the fullest to the emptiest with room while they differ by more than one. For
// convex costs (here: first what is held over capacity, then the sum of squared loads) greedy steps are optimal, and
// so is every prefix of them (marginal analysis, B. Fox 1966). A round that is cut short loses nothing.
//
// Not promised: which schedules of a node move (the first that may); evenness that `moving` schedules stand against.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../cluster_view.hpp"
#include "../detail/assert.hpp"
#include "../detail/late.hpp"
#include "balance.hpp"

namespace rota {

/// Stateless; any thread may use it. Whatever the number of schedules, time is O(nodes x bits of a load + steps of
/// the plan + `moving` schedules passed over); memory beyond the plan's own is O(nodes), none if nothing is to do.
///
/// The certificate: `bound` is V* (least_moves_bound) and `voluntary` equals it, unless a node that should give holds
/// nothing but schedules that are `moving`. It then gives none, the others are evened out as far as that allows, and
/// `voluntary` may be below `bound`, never above. A plan made once those have arrived finishes the work.
///
/// Nobody takes more than its capacity. Orphans without a place are `unplaced`, the last ones of view.orphans; what
/// is held over capacity and has no other place stays. A balanced view gives an empty plan. Among equals the node
/// with the lower index comes first, so the same view gives the same plan.
struct least_moves {
    template <typename T = void>  // see late.hpp
    void make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const;
};

namespace detail {

// Raises the lowest of its members by one, again and again; among equals, the one with the lowest node index. A
// member leaves at its limit. Members at the lowest level form a round, which is walked in order, so a step costs
// O(1) and no heap is needed. Lowering the highest is the same walk over loads counted downwards.
template <typename T>
class level_walk {
public:
    struct place {
        std::uint32_t node;
        std::uint32_t member;
    };

    // A span would do, but its iterators are slow to compile.
    struct places {
        place const* first;
        place const* last;
        [[nodiscard]] place const* begin() const noexcept { return first; }
        [[nodiscard]] place const* end() const noexcept { return last; }
    };

    explicit level_walk(std::size_t most_members) { members_.reserve(most_members); }

    /// Members are added in order of their nodes, all before the first step; `from` < `limit`.
    void add(std::uint32_t node, std::uint32_t from, std::uint32_t limit) {
        if (!members_.empty()) sorted_ = sorted_ && members_.back().value <= from;
        members_.push_back({node, from, from, limit});
    }

    /// Is there a member to raise? Then `level` is its value.
    [[nodiscard]] bool more() {
        if (position_ == round_.size()) next_round();
        return position_ < round_.size();
    }

    [[nodiscard]] std::uint32_t level() const noexcept { return level_; }

    /// The next members to be raised, all at the present level, at most `count`. Only after more().
    [[nodiscard]] places take(std::size_t count) {
        auto const left = round_.size() - position_;
        auto const* first = round_.data() + position_;
        auto const taken = count < left ? count : left;
        position_ += taken;
        return {first, first + taken};
    }

    [[nodiscard]] std::uint32_t take_one() { return round_[position_++].node; }

    /// The member taken last could not be raised after all, and never can.
    void drop() {
        members_[round_[position_ - 1].member].limit = level_;
        nearest_limit_ = level_;
    }

    /// Calls change(node, steps) for each member that has taken part.
    template <typename Change>
    void each_change(Change const& change) {
        for (std::size_t i = 0; i < round_.size(); ++i) {
            auto& member = members_[round_[i].member];
            auto const value = i < position_ ? level_ + 1 : level_;
            member.value = value < member.limit ? value : member.limit;
        }
        for (std::size_t i = 0; i < joined_; ++i) {
            change(members_[i].node, members_[i].value - members_[i].from);
        }
    }

private:
    struct walker {
        std::uint32_t node;
        std::uint32_t from;
        std::uint32_t value;  // while in a round, level_ stands for it
        std::uint32_t limit;
    };

    void next_round() {
        if (!sorted_) sort();
        if (!round_.empty()) ++level_;
        bool const leaving = !round_.empty() && nearest_limit_ <= level_;
        bool const joining = joined_ < members_.size() && (round_.empty() || members_[joined_].value == level_);
        position_ = 0;
        if (!leaving && !joining) return;

        if (leaving) leave();
        if (joined_ < members_.size() && round_.empty()) level_ = members_[joined_].value;
        join();
    }

    void leave() {
        std::size_t kept = 0;
        nearest_limit_ = unlimited;
        for (auto const at : round_) {
            auto& member = members_[at.member];
            if (member.limit <= level_) {
                member.value = member.limit;
            } else {
                round_[kept++] = at;
                if (member.limit < nearest_limit_) nearest_limit_ = member.limit;
            }
        }
        round_.resize(kept);
    }

    // Merges the members at the present level into the round, by node index.
    void join() {
        merged_.clear();
        merged_.reserve(members_.size());
        std::size_t old = 0;
        for (; joined_ < members_.size() && members_[joined_].value == level_; ++joined_) {
            auto const& member = members_[joined_];
            while (old < round_.size() && round_[old].node < member.node) merged_.push_back(round_[old++]);
            merged_.push_back({member.node, static_cast<std::uint32_t>(joined_)});
            if (member.limit < nearest_limit_) nearest_limit_ = member.limit;
        }
        while (old < round_.size()) merged_.push_back(round_[old++]);
        round_.swap(merged_);
    }

    // By value; stable, so that equals stay in order of their nodes. A radix sort: O(members), and no <algorithm>.
    void sort() {
        std::uint32_t differing = 0;
        for (auto const& member : members_) differing |= member.value ^ members_.front().value;
        std::vector<walker> spare(members_.size());
        for (unsigned shift = 0; shift < 32; shift += 8) {
            if ((differing >> shift & 0xff) == 0) continue;
            std::uint32_t start[257] = {};
            for (auto const& member : members_) ++start[(member.value >> shift & 0xff) + 1];
            for (unsigned digit = 0; digit < 256; ++digit) start[digit + 1] += start[digit];
            for (auto const& member : members_) spare[start[member.value >> shift & 0xff]++] = member;
            members_.swap(spare);
        }
        sorted_ = true;
    }

    std::vector<walker> members_;  // by value; those before joined_ have been in a round
    std::vector<place> round_;     // members at level_, by node; those before position_ have been raised
    std::vector<place> merged_;
    std::size_t joined_ = 0;
    std::size_t position_ = 0;
    std::uint32_t level_ = 0;
    std::uint32_t nearest_limit_ = unlimited;
    bool sorted_ = true;
};

struct load_extremes {
    std::uint32_t fullest = 0;
    std::uint32_t emptiest = unlimited;
    std::uint32_t emptiest_with_room = unlimited;
    bool over_capacity = false;
};

template <typename View>
load_extremes extremes_of(View const& view) {
    load_extremes found;
    for (auto const& node : view.nodes) {
        if (node.load > found.fullest) found.fullest = node.load;
        if (node.load < found.emptiest) found.emptiest = node.load;
        if (node.load > node.capacity) found.over_capacity = true;
        if (node.load < node.capacity && node.load < found.emptiest_with_room) found.emptiest_with_room = node.load;
    }
    return found;
}

// One run of least_moves: the receivers, and what each node still holds that may be moved.
template <typename T>
class least_moves_run {
    using cluster_view = late<rota::cluster_view, T>;
    using plan = late<rota::plan, T>;

public:
    least_moves_run(cluster_view const& view, plan& into) : view_{view}, plan_{into}, receivers_{view.nodes.size()} {
        loads_.reserve(view.nodes.size());
        for (std::uint32_t i = 0; i < view.nodes.size(); ++i) {
            auto const& node = view.nodes[i];
            loads_.push_back(node.load);
            if (node.load >= node.capacity) continue;
            receivers_.add(i, node.load, node.capacity);
            room_ += node.capacity - node.load;
        }
    }

    // Writes over what the recycled plan holds: a million push_backs take up to three times as long.
    void place_orphans() {
        auto const& orphans = view_.orphans;
        auto const count = orphans.size() < room_ ? orphans.size() : static_cast<std::size_t>(room_);
        auto& moves = plan_.moves;
        moves.resize(count);
        for (std::size_t placed = 0; placed < count && receivers_.more();) {
            for (auto const target : receivers_.take(count - placed)) {
                moves[placed] = {orphans[placed], cluster_view::none, target.node, change_reason::placed};
                ++placed;
            }
        }
        plan_.forced = static_cast<std::uint32_t>(count);
        plan_.unplaced = static_cast<std::uint32_t>(orphans.size() - count);
    }

    /// What a node holds over its capacity goes to whoever has room, even if that one is no emptier.
    void keep_capacities() {
        level_walk<T> givers{loads_.size()};
        for (std::uint32_t i = 0; i < loads_.size(); ++i) {
            auto const capacity = view_.nodes[i].capacity;
            if (loads_[i] > capacity) givers.add(i, ~loads_[i], ~capacity);
        }
        hand_over(givers, [](std::uint32_t, std::uint32_t) { return true; }, true);
    }

    void even_out() {
        if (!receivers_.more()) return;
        level_walk<T> givers{loads_.size()};
        for (std::uint32_t i = 0; i < loads_.size(); ++i) {
            if (differ(loads_[i], receivers_.level())) givers.add(i, ~loads_[i], ~std::uint32_t{0});
        }
        hand_over(givers, differ, false);
    }

    [[nodiscard]] double spread_after() {
        receivers_.each_change([&](std::uint32_t node, std::uint32_t taken) { loads_[node] += taken; });
        auto fullest = loads_.front();
        auto emptiest = loads_.front();
        for (auto const load : loads_) {
            if (load > fullest) fullest = load;
            if (load < emptiest) emptiest = load;
        }
        return fullest - emptiest;
    }

private:
    static bool differ(std::uint32_t giver, std::uint32_t receiver) noexcept {
        return giver > receiver && giver - receiver > 1;
    }

    template <typename Worthwhile>
    void hand_over(level_walk<T>& givers, Worthwhile const& worthwhile, bool required) {
        while (givers.more() && receivers_.more() && worthwhile(~givers.level(), receivers_.level())) {
            auto const from = givers.take_one();
            auto const schedule = next_movable(from);
            if (schedule == cluster_view::none) {
                givers.drop();
            } else {
                auto const why = !required                    ? change_reason::rebalanced
                                 : view_.nodes[from].draining ? change_reason::drained
                                                              : change_reason::overfull;
                plan_.moves.push_back({schedule, from, receivers_.take_one(), why});
            }
        }
        givers.each_change([&](std::uint32_t node, std::uint32_t given) { loads_[node] -= given; });
    }

    std::uint32_t next_movable(std::uint32_t node) {
        if (passed_.empty()) passed_.resize(loads_.size());
        auto const held = view_.nodes[node].schedules;
        for (auto& at = passed_[node]; at < held.size();) {
            auto const schedule = held[at++];
            if (view_.may_move(schedule)) return schedule;
        }
        return cluster_view::none;
    }

    cluster_view const& view_;
    plan& plan_;
    level_walk<T> receivers_;
    std::uint64_t room_ = 0;  // of all receivers, before the first step
    std::vector<late<std::uint32_t, T>>
        loads_;  // what was given is taken off at once, what was received is added at the end
    std::vector<late<std::uint32_t, T>> passed_;  // per node, how many of its schedules were looked at
};

}  // namespace detail

template <typename T>
void least_moves::make_plan(detail::late<cluster_view, T> const& view, detail::late<plan, T>& into) const {
    auto const found = detail::extremes_of(view);
    bool const any_room = found.emptiest_with_room != unlimited;
    bool const uneven = found.over_capacity || (any_room && found.fullest - found.emptiest_with_room > 1);
    if (!any_room || (view.orphans.empty() && !uneven)) {
        into.clear();
        into.unplaced = static_cast<std::uint32_t>(view.orphans.size());
        into.spread_before = into.spread_after = view.nodes.empty() ? 0 : found.fullest - found.emptiest;
        into.imbalance = 0;
        return;
    }

    detail::least_moves_run<T> run{view, into};
    into.stuck.clear();
    into.revisit = microseconds::max();
    into.interchangeable = true;
    into.imbalance = imbalance(view);
    run.place_orphans();
    if (found.over_capacity) run.keep_capacities();
    run.even_out();
    into.voluntary = static_cast<std::uint32_t>(into.moves.size()) - into.forced;
    into.bound = least_moves_bound(view);
    into.spread_before = found.fullest - found.emptiest;
    into.spread_after = run.spread_after();
    ROTA_ASSERT(into.voluntary <= into.bound);
}

}  // namespace rota
