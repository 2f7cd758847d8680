// The picture of a group that the leader plans on: kept up to date step by step, it must be what one drawn anew from the
// same records would be.
#include "../catch.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <rota/detail/group_picture.hpp>

namespace group_picture_test {

namespace {

using rota::cluster_view;
using rota::fencing_token;
using picture = rota::detail::group_picture<>;

// The records alone, and what follows from them, by definition.
struct model {
    struct node {
        std::string id;
        bool alive = true;
        std::uint32_t capacity = rota::unlimited;
        std::string traits;
    };
    struct record {
        fencing_token generation = 0;
        fencing_token owner = 0;
        fencing_token moving_to = 0;
        double weight = 1;
        std::string traits;
    };
    std::map<fencing_token, node> nodes;
    std::map<std::string, record> schedules;
    std::map<std::string, bool> drained;

    [[nodiscard]] bool alive(fencing_token incarnation) const {
        auto const n = nodes.find(incarnation);
        return n != nodes.end() && n->second.alive;
    }
    // Where it counts: an incarnation, or 0.
    [[nodiscard]] fencing_token counts_at(record const& r) const {
        if (!alive(r.owner)) return 0;
        return r.moving_to != 0 && alive(r.moving_to) ? r.moving_to : r.owner;
    }
};

std::string compare(model const& m, picture& p) {
    auto const view = p.view(0);
    std::size_t living = 0;
    for (auto const& [incarnation, n] : m.nodes) living += n.alive ? 1 : 0;
    if (view.nodes.size() != living) return "another number of live nodes";
    std::map<fencing_token, std::uint32_t> index;
    for (std::uint32_t i = 0; i < view.nodes.size(); ++i) {
        auto const& shown = view.nodes[i];
        auto const n = m.nodes.find(shown.incarnation);
        if (n == m.nodes.end() || !n->second.alive) return "a node that is not alive";
        index[shown.incarnation] = i;
        auto const drained = m.drained.find(n->second.id);
        bool const draining = drained != m.drained.end() && drained->second;
        if (shown.id != n->second.id || shown.draining != draining) return "node " + n->second.id;
        if (shown.capacity != (draining ? 0 : n->second.capacity)) return "capacity of " + n->second.id;
        if (shown.zone != rota::attributes_of(n->second.traits).zone) return "zone of " + n->second.id;
        if (shown.load != shown.schedules.size()) return "load of " + n->second.id;
    }
    std::map<fencing_token, std::uint32_t> load;
    std::map<fencing_token, double> weight;
    std::size_t orphans = 0;
    std::map<fencing_token, std::uint32_t> owned;
    if (p.schedule_count() != m.schedules.size()) return "another number of schedules";
    for (auto const& [id, r] : m.schedules) {
        auto const s = p.find(id);
        if (s == picture::none) return id + " is missing";
        auto const known = p.record_of(s);
        if (known.generation != r.generation || known.owner != r.owner || known.moving_to != r.moving_to ||
            known.weight != r.weight || known.traits != r.traits) {
            return "record of " + id;
        }
        auto const& shown = view.schedules[s];
        if (shown.id != id || shown.generation != r.generation || shown.weight != r.weight) return "view of " + id;
        if (view.kinds[shown.kind].pin != rota::rules_of(r.traits).pin) return "rules of " + id;
        auto const at = m.counts_at(r);
        if (at == 0 ? shown.owner != cluster_view::none : shown.owner != index[at]) return "owner of " + id;
        if (shown.moving != (m.alive(r.owner) && r.moving_to != 0)) return "moving of " + id;
        bool const departed = at == 0 && r.owner != 0 && m.nodes.contains(r.owner);
        if (departed != (shown.departed != cluster_view::none)) return "departure of " + id;
        if (departed && view.departures[shown.departed].incarnation != r.owner) return "whose orphan is " + id;
        auto const list = at == 0 ? view.orphans : view.nodes[index[at]].schedules;
        if (std::count(list.begin(), list.end(), s) != 1) return "list of " + id;
        ++load[at];
        weight[at] += r.weight;
        orphans += at == 0 ? 1 : 0;
        if (r.owner != 0) ++owned[r.owner];
    }
    if (view.orphans.size() != orphans) return "another number of orphans";
    for (auto const& shown : view.nodes) {
        if (shown.load != load[shown.incarnation]) return "load";
        if (std::abs(shown.weight - weight[shown.incarnation]) > 1e-6) return "weight";
        if (p.node_of(shown.incarnation).owned != owned[shown.incarnation]) return "owned";
    }
    return {};
}

}  // namespace

TEST_CASE("whatever happens, in whatever order, the picture is what its records say") {
    std::mt19937_64 random{7};
    auto below = [&](std::uint64_t n) { return random() % n; };
    for (int round = 0; round < 60; ++round) {
        model m;
        picture p;
        fencing_token next = 1;
        auto some_node = [&]() -> fencing_token {
            if (m.nodes.empty() || below(8) == 0)
                return below(2) ? 0 : 900 + below(3);  // nobody, or one never heard of
            return std::next(m.nodes.begin(), static_cast<std::ptrdiff_t>(below(m.nodes.size())))->first;
        };
        for (int step = 0; step < 400; ++step) {
            std::string const id = "s" + std::to_string(below(25));
            std::string const traits = below(3) ? "" : "p=n" + std::to_string(below(4));
            switch (below(11)) {
                case 0: {
                    auto const incarnation = below(6) == 0 ? 900 + below(3) : next++;
                    std::string const name = "n" + std::to_string(below(5));
                    auto const capacity = static_cast<std::uint32_t>(below(9));
                    std::string const zone = below(2) ? "z=eu" : "";
                    if (m.nodes.size() > 8 || (m.nodes.contains(incarnation) && !m.alive(incarnation))) break;
                    m.nodes[incarnation] = {name, true, capacity, zone};
                    p.put_node(incarnation, name, capacity, zone);
                    break;
                }
                case 1: {
                    auto const incarnation = some_node();
                    if (!m.alive(incarnation)) break;
                    m.nodes[incarnation].alive = false;
                    p.take_out(incarnation, below(2) == 0, 5);
                    break;
                }
                case 2: {
                    auto const incarnation = some_node();
                    if (!m.nodes.contains(incarnation) || m.alive(incarnation)) break;
                    m.nodes.erase(incarnation);
                    p.forget(incarnation);
                    break;
                }
                case 3:
                    m.schedules.erase(id);
                    p.erase(id);
                    break;
                case 4:
                    if (m.schedules.contains(id)) m.schedules[id].moving_to = 0;
                    p.set_moving(id, 0);
                    break;
                case 5: {
                    auto const to = some_node();
                    if (m.schedules.contains(id)) m.schedules[id].moving_to = to;
                    p.set_moving(id, to);
                    break;
                }
                case 6: {
                    if (m.schedules.contains(id)) {
                        m.schedules[id].weight = 2.5;
                        m.schedules[id].traits = traits;
                    }
                    p.set_attributes(id, 2.5, traits);
                    break;
                }
                case 7: {
                    std::string const name = "n" + std::to_string(below(5));
                    bool const on = below(2) == 0;
                    m.drained[name] = on;
                    p.order(name, on);
                    break;
                }
                default: {
                    model::record const r{below(1000), some_node(), below(4) ? 0 : some_node(),
                                          static_cast<double>(1 + below(4)), traits};
                    m.schedules[id] = r;
                    p.put(id, {r.generation, r.owner, r.moving_to, r.weight, r.traits});
                }
            }
            auto const difference = compare(m, p);
            if (!difference.empty()) {
                CAPTURE(round, step);
                FAIL(difference);
            }
        }
    }
}

TEST_CASE("a node that is gone leaves what it had to nobody, and what was on its way to it where it was") {
    picture p;
    p.put_node(1, "a", 10, "");
    p.put_node(2, "b", 10, "");
    p.put("mine", {.generation = 1, .owner = 1});
    p.put("coming", {.generation = 2, .owner = 2, .moving_to = 1});
    p.put("going", {.generation = 3, .owner = 1, .moving_to = 2});
    CHECK(p.view(0).nodes[0].load == 2);
    p.take_out(1, true, 100);
    auto const view = p.view(150);
    REQUIRE(view.nodes.size() == 1);
    CHECK(view.nodes[0].id == "b");
    CHECK(view.nodes[0].load == 1);
    CHECK(view.schedules[p.find("coming")].moving);
    CHECK(view.orphans.size() == 2);
    auto const& gone = view.departures[view.schedules[p.find("mine")].departed];
    CHECK(gone.id == "a");
    CHECK(gone.left);
    CHECK(gone.ago == rota::microseconds{50});
}

TEST_CASE("until all is read, a node's load is what the server counts") {
    picture p;
    p.begin();
    p.put_node(1, "a", 10, "", 2);
    p.put_node(2, "b", 10, "", 3);
    CHECK_FALSE(p.view(0).complete);
    CHECK(p.view(0).nodes[0].load == 2);
    p.put("x", {.generation = 1, .owner = 1});
    p.was_read(1);
    CHECK(p.view(0).nodes[0].load == 2);
    p.put("placed meanwhile", {.generation = 5, .owner = 1});
    CHECK(p.view(0).nodes[0].load == 3);
    CHECK(p.complete() == std::vector<fencing_token>{1, 2});  // they were counted otherwise
    CHECK(p.view(0).complete);
    CHECK(p.view(0).nodes[0].load == 2);
    CHECK(p.view(0).nodes[1].load == 0);
}

TEST_CASE("moves of the last hour are remembered, those of the last minute taken for granted by who comes new") {
    picture p;
    for (fencing_token t = 0; t < 5000; ++t) p.note_move(t * 1'000'000);
    auto const moves = p.view(0).recent_moves;
    REQUIRE_FALSE(moves.empty());
    CHECK(moves.back() == 4999'000'000);
    CHECK(moves.size() >= 3600);
    CHECK(moves.size() < 4900);

    picture fresh;
    fresh.put_node(1, "a", 10, "");
    fresh.put("old", {.generation = 1'000'000, .owner = 1});
    fresh.put("new", {.generation = 99'000'000, .owner = 1});
    fresh.put("ahead", {.generation = 200'000'000, .owner = 1});
    fresh.assume_moves(100'000'000);
    CHECK(fresh.view(0).recent_moves.size() == 2);
    CHECK(fresh.view(0).recent_moves.back() == 100'000'000);
}

}  // namespace group_picture_test
