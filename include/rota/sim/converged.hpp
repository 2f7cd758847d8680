// What a group comes to once nothing goes wrong any more, as predicates for run_until that say what is missing: converged
// with the default strategy, and every other that evens load out; settled with one that does not mean to.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "world.hpp"

namespace rota::sim {

/// Every program is up and a member; one of them leads, and the server says so; every schedule is owned, by a live node
/// that knows it, as far as capacity allows; nothing is on its way. How load is spread does not matter: for strategies
/// that do not balance (check_sound).
struct settled_predicate {
    [[nodiscard]] std::string operator()(world const& w) const {
        std::uint32_t leaders = 0;
        std::size_t owned = 0;
        std::uint64_t capacity = 0;
        auto const stored = w.store().leader();
        for (std::uint32_t i = 0; i < w.size(); ++i) {
            auto const* p = w.process_at(i);
            if (!p) return fmt::format("node-{} is down", i);
            if (p->machine().state() != standing::member) return p->node_id() + " is no member";
            if (!p->believes_it_lives()) return p->node_id() + " is suspended";
            if (p->believes_it_leads()) {
                ++leaders;
                if (stored.incarnation != p->belief().incarnation() || stored.term != p->belief().term()) {
                    return p->node_id() + " leads, and the server has another leader";
                }
            }
            auto const load = p->belief().table().size();
            owned += load;
            capacity += w.store().is_drained(p->node_id()) ? 0 : p->machine().attributes().capacity.value_or(unlimited);
        }
        if (leaders != 1) return fmt::format("{} nodes lead", leaders);
        auto const expected = std::min<std::uint64_t>(w.store().schedule_count(), capacity);
        // (A node may hold more than it is allowed to by now, if nobody else can have it.)
        if (owned < expected || owned > w.store().schedule_count()) {
            return fmt::format("{} of {} schedules are believed in", owned, expected);
        }
        for (std::uint32_t i = 0; i < w.size(); ++i) {
            auto const* p = w.process_at(i);
            for (auto const& [id, mine] : p->belief().table()) {
                auto const s = w.store().schedule(id);
                if (!s || s->owner != p->belief().incarnation() || s->generation != mine.generation) {
                    return fmt::format("{} believes to own {}; the server knows better", p->node_id(), id);
                }
                if (s->moving_to != 0) return id + " is on its way";
            }
        }
        return {};
    }
};
inline constexpr settled_predicate settled{};

/// settled, and, where the strategy is known to even out (strategy_habits), the load is within
/// options::rebalance_threshold. Nodes that are drained are empty, and do not count.
struct converged_predicate {
    [[nodiscard]] std::string operator()(world const& w) const {
        if (auto missing = settled(w); !missing.empty()) return missing;
        std::size_t owned = 0;
        std::size_t least = ~std::size_t{0}, most = 0, nodes = 0;
        if (!w.habits().evens_out || w.store().maintenance()) return {};
        for (auto const* p : w.living()) {
            if (w.process_at(p->slot()) != p) continue;
            auto const load = p->belief().table().size();
            if (w.store().is_drained(p->node_id())) {
                if (load > 0) return p->node_id() + " is to end empty";
                continue;
            }
            ++nodes;
            owned += load;
            least = std::min(least, load);
            most = std::max(most, load);
        }
        if (nodes == 0) return {};
        auto const mean = static_cast<double>(owned) / static_cast<double>(nodes);
        auto const allowed = std::max(1.0, std::ceil(2 * w.settings().options.rebalance_threshold * mean) + 1);
        if (w.settings().options.auto_rebalance && !w.settings().options.max_schedules_per_node &&
            static_cast<double>(most - least) > allowed) {
            return fmt::format("loads are {} to {}", least, most);
        }
        return {};
    }
};
inline constexpr converged_predicate converged{};

}  // namespace rota::sim
