// A strategy of one's own: any class with make_plan(cluster_view const&) const. This one gives each schedule without
// an owner to the node that its name is drawn to (highest random weight: the highest hash of both ids), the next best
// if that one is full, and never moves what has an owner. So a lost schedule finds the same node, whoever leads.
//
// What every strategy keeps: it is a pure function of the view, it places before it moves, it gives no node more than
// its capacity and touches nothing that is `moving`.
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <rota/rota.hpp>

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

// Any member of the group: a strategy is one of the coordinator's policies, recognised by make_plan.
using member = rota::basic_coordinator<rota::memory_transport, sticky_by_hash>;

bool tell(member const& node, char const* name) {
    std::printf("%s:", name);
    for (auto const& s : node.owned()) std::printf(" %s", s.id.c_str());
    std::printf("\n");
    return !node.owned().empty();
}

int main() {
    rota::memory_store store;  // what Redis would hold
    member first{{.node_id = "node-1", .max_schedules_per_node = 4}, rota::memory_transport{store}};
    member second{{.node_id = "node-2"}, rota::memory_transport{store}};
    member third{{.node_id = "node-3"}, rota::memory_transport{store}};
    for (auto* node : {&first, &second, &third}) {
        if (auto joined = node->join(); !joined) {
            std::fprintf(stderr, "%s\n", joined.error().message().c_str());
            return 1;
        }
    }
    std::vector<rota::schedule> feeds;
    for (int i = 0; i < 12; ++i) feeds.push_back({.id = "feed-" + std::to_string(i)});
    if (auto made = first.register_schedules(feeds).all(); !made) return 1;

    for (auto* node : {&first, &second, &third}) node->tick();  // the leader places them, and all of them hear of it
    bool const spread = tell(first, "node-1") && tell(second, "node-2") && tell(third, "node-3");

    std::puts("node-1 leaves; the others keep theirs");
    first.leave();
    for (auto* node : {&second, &third, &second}) node->tick();
    tell(second, "node-2");
    tell(third, "node-3");
    return spread && second.owned().size() + third.owned().size() == feeds.size() ? 0 : 1;
}
