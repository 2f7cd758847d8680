// A strategy of one's own: any class with make_plan(cluster_view const&) const. This one gives each schedule without
// an owner to the node that its name is drawn to (highest random weight: the highest hash of both ids), the next best
// if that one is full, and never moves what has an owner. So a lost schedule finds the same node, whoever leads.
//
// What every strategy keeps: it is a pure function of the view, it places before it moves, it gives no node more than
// its capacity and touches nothing that is `moving`.
#include <cstdint>
#include <cstdio>
#include <string_view>
#include <vector>

#include <rota/cluster_view.hpp>

struct sticky_by_hash {
    rota::plan make_plan(rota::cluster_view const& view) const {
        rota::plan made;
        std::vector<std::uint32_t> load;
        for (auto const& node : view.nodes) load.push_back(node.load);

        for (auto const orphan : view.orphans) {
            auto best = rota::cluster_view::none;
            std::uint64_t best_score = 0;
            for (std::uint32_t n = 0; n < view.nodes.size(); ++n) {
                if (load[n] >= view.nodes[n].capacity) continue;
                auto const score = hash(view.nodes[n].id, hash(view.schedules[orphan].id));
                if (best == rota::cluster_view::none || score > best_score) best = n, best_score = score;
            }
            if (best == rota::cluster_view::none) {
                ++made.unplaced;
                continue;
            }
            made.moves.push_back({.schedule = orphan, .to = best});
            ++made.forced;
            ++load[best];
        }
        return made;
    }

    // FNV-1a, then a finaliser (MurmurHash3's), since ids that differ in the last byte only would rank nodes alike.
    static std::uint64_t hash(std::string_view id, std::uint64_t h = 0xcbf29ce484222325) {
        for (char const c : id) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
        h = (h ^ (h >> 33)) * 0xff51afd7ed558ccd;
        h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53;
        return h ^ (h >> 33);
    }
};

int main() {
    // A strategy needs no group to be tried out: make the view by hand.
    std::vector<rota::cluster_view::node> const nodes{
        {.id = "node-1", .load = 1, .capacity = 3},
        {.id = "node-2", .capacity = 2},
        {.id = "node-3"},
    };
    std::vector<rota::cluster_view::schedule> const schedules{
        {.id = "feed-0", .owner = 0},
        {.id = "feed-1"},
        {.id = "feed-2"},
        {.id = "feed-3"},
        {.id = "feed-4"},
        {.id = "feed-5"},
        {.id = "feed-6"},
        {.id = "feed-7"},
    };
    std::vector<std::uint32_t> const orphans{1, 2, 3, 4, 5, 6, 7};

    auto const plan = sticky_by_hash{}.make_plan({.nodes = nodes, .schedules = schedules, .orphans = orphans});
    for (auto const& step : plan.moves) {
        auto const schedule = schedules[step.schedule].id;
        auto const node = nodes[step.to].id;
        std::printf("%.*s goes to %.*s\n", static_cast<int>(schedule.size()), schedule.data(),
                    static_cast<int>(node.size()), node.data());
    }
    std::printf("%u placed, %u without a place\n", plan.forced, plan.unplaced);
    return plan.forced == orphans.size() ? 0 : 1;
}
