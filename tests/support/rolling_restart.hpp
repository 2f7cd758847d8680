// A rolling restart, simulated: each node of a group in turn leaves in order and comes back a while later. What changes
// hands meanwhile, against the least that must.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <variant>

#include <rota/sim/invariants/plans.hpp>
#include <rota/sim/world.hpp>

namespace rota_test {

struct rolling_restart {
    std::uint32_t nodes = 0;
    std::uint32_t schedules = 0;
    std::chrono::microseconds away = std::chrono::seconds{5};

    std::uint64_t orphaned = 0;    ///< schedules that lost their node because it restarted: each must be granted anew
    std::uint64_t placed = 0;      ///< grants to another node than it was with
    std::uint64_t given_back = 0;  ///< ... to the node that it was with
    std::uint64_t moved = 0;       ///< moves between live nodes
    std::uint64_t least = 0;       ///< the fewest of those that even out the loads, each time that a node is back
    bool settled = false;          ///< in the end every schedule has an owner again, and loads are even

    [[nodiscard]] std::uint64_t moves() const { return placed + given_back + moved; }
    [[nodiscard]] std::uint64_t least_moves() const { return orphaned + least; }
    [[nodiscard]] double ratio() const { return static_cast<double>(moves()) / static_cast<double>(least_moves()); }

    template <typename Strategy>
    void run(Strategy const& strategy) {
        using namespace std::chrono_literals;
        rota::sim::world w{{.seed = 1, .nodes = nodes, .work = rota::sim::no_work, .longest_loss = 0s}};
        w.keep_notes(false);
        w.use_strategy(strategy);
        counter count{w, *this};
        w.watch(count);
        w.register_schedules(schedules);
        w.run_for(30s);
        *this = {.nodes = nodes, .schedules = schedules, .away = away};
        for (std::uint32_t i = 0; i < nodes; ++i) {
            orphaned += w.store().node(w.node(i).incarnation())->load;
            w.node(i).leave(away);
            w.run_for(away + 7s);
        }
        auto const even = rota::sim::load_picture::of(w.store());
        settled = even.unowned == 0 && even.moving == 0 && even.least_moves() == 0;
    }

private:
    struct counter final : rota::sim::audience {
        counter(rota::sim::world const& in, rolling_restart& of) : w{in}, all{of} {}
        void performed(rota::sim::step const& s) override {
            if (!s.answer) return;
            if (auto const* joined = std::get_if<rota::op::joined>(&*s.answer)) {
                names[joined->incarnation] = std::get<rota::op::join>(s.request).node_id;
                // Nobody waits for a place by now, unless for this node.
                if (w.store().unowned_count() + orphans() == 0) {
                    all.least += static_cast<std::uint64_t>(rota::sim::load_picture::of(w.store()).least_moves());
                }
                return;
            }
            auto const* out = std::get_if<rota::op::outcomes>(&*s.answer);
            if (!out) return;
            auto each = [&](auto const& items, auto&& use) {
                for (std::size_t i = 0; i < items.size(); ++i) {
                    if (out->items[i].ok()) use(items[i].id, names[items[i].to]);
                }
            };
            if (auto const* q = std::get_if<rota::op::adopt>(&s.request)) {
                each(q->items, [&](std::string const& id, std::string const& to) {
                    auto& last = where[id];
                    ++(last == to ? all.given_back : all.placed);
                    last = to;
                });
            } else if (auto const* q2 = std::get_if<rota::op::acknowledge>(&s.request)) {
                each(q2->items, [&](std::string const& id, std::string const& to) {
                    ++all.moved;
                    where[id] = to;
                });
            }
        }
        [[nodiscard]] std::size_t orphans() const {
            std::size_t n = 0;
            for (auto const& [incarnation, node] : w.store().nodes()) n += node.live ? 0 : node.load;
            return n;
        }
        rota::sim::world const& w;
        rolling_restart& all;
        std::map<rota::fencing_token, std::string> names;
        std::map<std::string, std::string> where;
    };
};

}  // namespace rota_test
