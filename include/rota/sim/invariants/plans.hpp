// What leaders' plans come to: they take effect under the present term alone, they are sound, and they move no more
// than they must.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "../world.hpp"

namespace rota::sim {

/// Plans take effect only under the term that is stored as the present one.
class plans_under_current_term final : public invariant {
public:
    std::string_view name() const override { return "plans_under_current_term"; }
    void performed(step const& s) override {
        if (!s.answer) return;
        if (auto* r = std::get_if<op::adopt>(&s.request)) check(s, r->incarnation, r->term);
        if (auto* r = std::get_if<op::reap>(&s.request)) check(s, r->incarnation, r->term);
        if (auto* r = std::get_if<op::revoke>(&s.request); r && r->term != 0) check(s, r->incarnation, r->term);
    }

private:
    void check(step const& s, fencing_token incarnation, fencing_token term) {
        auto const l = group().servers().server(s.server).store->leader();
        if (l.incarnation == incarnation && l.term == term) return;
        fail(fmt::format("a plan of {} under term {} was applied; the present one is {} of {}", incarnation, term,
                         l.term, l.incarnation));
    }
};

/// No plan has to be refused: the strategy gives nothing to two nodes, nor more than a node may have, nor what is not
/// there to be given.
class plans_are_sound final : public invariant {
public:
    std::string_view name() const override { return "plans_are_sound"; }
    void told(process const& p, event const& e) override {
        if (auto const* refused = std::get_if<plan_refused>(&e)) {
            fail(fmt::format("the strategy of {}#{} broke its contract: {}", p.node_id(), p.number(), refused->why));
        }
    }
};

/// A group's loads, and by how many voluntary moves they are off the most even ones that capacities allow: V* of
/// DESIGN.md, section 6, computed from its definition. Independent of strategy/balance.hpp on purpose.
struct load_picture {
    struct node {
        std::int64_t load = 0;
        std::int64_t capacity = 0;
    };
    std::vector<node> nodes;
    std::int64_t unowned = 0;
    std::int64_t moving = 0;

    // What is on its way between live nodes counts for where it goes.
    static load_picture of(store_model const& store) {
        load_picture p;
        std::map<fencing_token, std::size_t> index;
        for (auto const& [incarnation, n] : store.nodes()) {
            if (!n.live) continue;
            index[incarnation] = p.nodes.size();
            p.nodes.push_back({0, store.is_drained(n.id) ? 0 : n.capacity});
        }
        for (auto const& [id, s] : store.schedules()) {
            auto const owner = index.find(s.owner);
            if (owner == index.end()) {
                ++p.unowned;
                continue;
            }
            if (s.moving_to != 0) ++p.moving;
            auto const target = s.moving_to == 0 ? index.end() : index.find(s.moving_to);
            ++p.nodes[target == index.end() ? owner->second : target->second].load;
        }
        return p;
    }

    struct target {
        std::int64_t level = 0;
        bool exact = false;  // nobody needs to be above the level
        bool over = false;   // more than all may have
        [[nodiscard]] std::int64_t least(node const& n) const { return std::min(n.capacity, level); }
        [[nodiscard]] std::int64_t most(node const& n) const { return std::min(n.capacity, exact ? level : level + 1); }
    };
    [[nodiscard]] target aim() const {
        std::int64_t wanted = unowned;
        std::int64_t capacity = 0;
        for (auto const& n : nodes) {
            wanted += n.load;
            capacity += n.capacity;
        }
        auto const total = std::min(wanted, capacity);
        auto volume = [&](std::int64_t level) {
            std::int64_t sum = 0;
            for (auto const& n : nodes) sum += std::min(n.capacity, level);
            return sum;
        };
        std::int64_t level = total / static_cast<std::int64_t>(nodes.size());
        while (level < total && volume(level + 1) <= total) ++level;
        return {level, volume(level) == total, wanted > capacity};
    }
    [[nodiscard]] std::int64_t least_moves() const {
        if (nodes.empty()) return 0;
        auto const t = aim();
        std::int64_t surplus = 0;
        std::int64_t shortage = 0;
        for (auto const& n : nodes) {
            surplus += std::max<std::int64_t>(n.load - t.most(n), 0);
            shortage += std::max<std::int64_t>(t.least(n) - n.load, 0);
        }
        auto const moved_in = std::max<std::int64_t>(shortage - unowned, 0);
        return t.over ? moved_in : std::max(surplus, moved_in);
    }
    /// How far the node that is farthest off is from its target.
    [[nodiscard]] std::int64_t farthest() const {
        std::int64_t most = 0;
        if (nodes.empty()) return 0;
        auto const t = aim();
        for (auto const& n : nodes) most = std::max({most, n.load - t.most(n), t.least(n) - n.load});
        return most;
    }
    [[nodiscard]] double mean() const {
        std::int64_t sum = 0;
        for (auto const& n : nodes) sum += n.load;
        return nodes.empty() ? 0 : static_cast<double>(sum) / static_cast<double>(nodes.size());
    }
};

/// Moves between live nodes, those that a drain or a lowered capacity ask for included, never exceed the optimum for what
/// made them necessary. Declared bound beyond it: a plan that is under way as something else changes may be carried out all the same, and what it spoilt be made good: twice what was left.
/// For strategies that even out counts, as least_moves does.
class moves_bounded final : public invariant {
public:
    std::string_view name() const override { return "moves_bounded"; }
    void performed(step const& s) override {
        if (s.server != group().servers().primary()) return;
        auto const& store = group().store();
        if (!group().promises_hold()) {
            seq_ = 0;
            return;
        }
        if (store.seq() == seq_) return;
        auto const picture = load_picture::of(store);
        auto const before = std::exchange(best_, picture.least_moves());
        auto const moving = std::exchange(moving_, picture.moving);
        bool const fresh = std::exchange(seq_, store.seq()) == 0;
        changed_ = group().now();
        if (fresh) {
            allowed_ = 3 * best_ + moving_;  // of what came before, nothing is known
            return;
        }
        auto const* revoked = std::get_if<op::revoke>(&s.request);
        if (revoked && revoked->term != 0 && revoked->items.front().reason != change_reason::transferred) {
            auto const moves = moving_ - moving;
            if (moves > allowed_) {
                fail(fmt::format("{} moves more, where {} were the most that could be needed", moves, allowed_));
            }
            allowed_ -= moves;
            return;
        }
        allowed_ += std::max<std::int64_t>(best_ - before, 0);
        if (!std::holds_alternative<op::adopt>(s.request)) allowed_ += 2 * before;
    }
    void looks() override {
        if (best_ == 0 && group().now() - changed_ > std::chrono::seconds{30}) allowed_ = 0;
    }

private:
    std::uint64_t seq_ = 0;
    std::int64_t best_ = 0;  // moves from here, if nothing else happens
    std::int64_t moving_ = 0;
    std::int64_t allowed_ = 0;
    moment changed_{};
};

}  // namespace rota::sim
