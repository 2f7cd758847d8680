// A strategy of one's own: any class with make_plan(cluster_view const&) const. This one gives each schedule to the node
// that its name is drawn to (highest random weight: the highest hash of both ids), the next best if that one is full, and
// moves only what has to leave: what a node holds over its capacity, which is 0 while it is drained. So a lost schedule
// finds the same node, whoever leads, and nothing ever moves just to be even.
//
// What every strategy keeps, and check_strategy checks:
//   pure           the plan follows from the view alone: no clock, no random numbers, no state, no address. Any node may
//                  become the leader, and must go on where the last one stopped
//   valid          at every step: places before it moves, moves first what has to; no node over its capacity, nothing
//                  twice, nothing that view.may_move() forbids
//   true           the counts are those of the plan, and of an orphan without a place it says why, unless all is full
//   coming to rest planned again on its own result, over and over, it ends with an empty plan: no ping-pong
//   quick          it never blocks, and takes far less than a heartbeat: a plan is made after each change. Aim for
//                  O(nodes + steps). This one takes O(nodes) per step, and nothing while all is in order
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <rota/check_strategy.hpp>
#include <rota/rota.hpp>

struct sticky_by_hash {
    rota::plan make_plan(rota::cluster_view const& view) const {
        rota::plan made;
        std::vector<std::uint32_t> load;
        for (auto const& node : view.nodes) load.push_back(node.load);

        for (auto const orphan : view.orphans) {
            auto const home = best_with_room(view, load, orphan);
            if (home == rota::cluster_view::none) break;  // all are full
            made.moves.push_back({.schedule = orphan, .to = home});
            ++load[home];
        }
        made.forced = static_cast<std::uint32_t>(made.moves.size());
        made.unplaced = static_cast<std::uint32_t>(view.orphans.size()) - made.forced;

        for (std::uint32_t n = 0; n < view.nodes.size(); ++n) {
            auto const& node = view.nodes[n];
            auto const why = node.draining ? rota::change_reason::drained : rota::change_reason::overfull;
            for (auto const s : node.schedules) {
                if (load[n] <= node.capacity) break;
                if (!view.may_move(s)) continue;
                auto const home = best_with_room(view, load, s);
                if (home == rota::cluster_view::none) break;
                made.moves.push_back({.schedule = s, .from = n, .to = home, .why = why});
                --load[n];
                ++load[home];
            }
        }
        made.voluntary = made.bound = static_cast<std::uint32_t>(made.moves.size()) - made.forced;
        made.imbalance =
            0;  // it has no moves that even out; one that has some states how uneven the group is: only above
                // rebalance_threshold does the leader make them
        return made;
    }

    static std::uint32_t best_with_room(rota::cluster_view const& view, std::vector<std::uint32_t> const& load,
                                        std::uint32_t schedule) {
        auto best = rota::cluster_view::none;
        std::uint64_t best_score = 0;
        auto const name = hash(view.schedules[schedule].id);
        for (std::uint32_t n = 0; n < view.nodes.size(); ++n) {
            if (load[n] >= view.nodes[n].capacity) continue;
            auto const score = hash(view.nodes[n].id, name);
            if (best == rota::cluster_view::none || score > best_score) best = n, best_score = score;
        }
        return best;
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
    auto const report = rota::check_strategy(sticky_by_hash{});  // in a test of yours
    std::printf("check_strategy %s", report.text().c_str());
    if (!report.passed) return 1;

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
