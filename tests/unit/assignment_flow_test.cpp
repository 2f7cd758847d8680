// assignment_flow against brute force: a few units, each of which may take one of some edges to a place, with goals in
// turn; then even loads alone, of sizes that no search could reach.
#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include <rota/detail/assignment_flow.hpp>

#include "../catch.hpp"

namespace assignment_flow_test {

namespace {

using flow = rota::detail::assignment_flow<>;
using number = flow::number;

constexpr number sink = 0;

// Units of some sources, one edge each, to places with capacities; edges may count for goals 0, 1 and 2. In this order:
// least of goal 0, least of goal 1, most even loads, least of goal 2.
struct small_case {
    struct edge {
        number source, place, capacity;
        unsigned goals;
    };
    std::vector<number> units;  // of each source
    std::vector<edge> edges;
    std::vector<number> capacity;  // of each place
    std::vector<number> fixed;
};

using verdict = std::array<int, 4>;

class brute_force {
public:
    explicit brute_force(small_case const& one) : case_{one}, used_(one.edges.size()), held_(one.capacity.size()) {}

    // What is best, and the loads that are as even as that.
    verdict best() {
        best_ = {1 << 20, 0, 0, 0};
        choose(0, 0, 0);
        return best_;
    }
    std::vector<number> first() const { return first_; }  // some flow that can be
    bool possible() const { return !first_.empty(); }
    std::vector<flow::band> const& bands() const { return bands_; }

private:
    void choose(std::size_t source, number unit, std::size_t from) {
        if (source == case_.units.size()) return judge();
        if (unit == case_.units[source]) return choose(source + 1, 0, 0);
        for (auto e = from; e < case_.edges.size(); ++e) {
            auto const& edge = case_.edges[e];
            if (edge.source != source || used_[e] == edge.capacity) continue;
            if (held_[edge.place] == case_.capacity[edge.place]) continue;
            ++used_[e], ++held_[edge.place];
            choose(source, unit + 1, e);
            --used_[e], --held_[edge.place];
        }
    }
    void judge() {
        if (first_.empty()) first_ = used_;
        verdict v{};
        for (std::size_t e = 0; e < used_.size(); ++e) {
            for (unsigned g = 0; g < 3; ++g) {
                if (case_.edges[e].goals >> g & 1) v[g == 2 ? 3 : g] += static_cast<int>(used_[e]);
            }
        }
        for (std::size_t n = 0; n < held_.size(); ++n) {
            auto const load = static_cast<int>(held_[n] + case_.fixed[n]);
            v[2] += load * load;
        }
        auto const even = [](verdict const& a) { return std::array{a[0], a[1], a[2]}; };
        if (bands_.empty() || even(v) < even(best_)) bands_.assign(held_.size(), {~0U, 0});
        if (even(v) <= even(best_)) {
            for (std::size_t n = 0; n < held_.size(); ++n) {
                bands_[n].low = std::min(bands_[n].low, held_[n] + case_.fixed[n]);
                bands_[n].high = std::max(bands_[n].high, held_[n] + case_.fixed[n]);
            }
        }
        best_ = std::min(best_, v);
    }

    small_case const& case_;
    std::vector<number> used_, held_, first_;
    std::vector<flow::band> bands_;
    verdict best_{};
};

// The same by flow, from a given one.
struct by_flow {
    verdict reached{};
    std::vector<flow::band> bands;

    by_flow(small_case const& one, std::vector<number> const& start) {
        flow network;
        network.add_vertex();
        auto const first_source = number{1};
        auto const first_place = first_source + static_cast<number>(one.units.size());
        for (std::size_t i = 0; i < one.units.size() + one.capacity.size(); ++i) network.add_vertex();
        std::vector<number> held(one.capacity.size());
        for (std::size_t e = 0; e < one.edges.size(); ++e) {
            auto const& edge = one.edges[e];
            network.add_edge(first_source + edge.source, first_place + edge.place, edge.capacity, start[e], edge.goals);
            held[edge.place] += start[e];
        }
        std::vector<flow::place> places;
        for (number n = 0; n < held.size(); ++n) {
            network.add_edge(first_place + n, sink, one.capacity[n], held[n]);
            places.push_back({first_place + n, one.fixed[n]});
        }
        network.build();
        network.minimise(0);
        network.minimise(1);
        network.even_out(sink, places, bands);
        network.minimise(2);

        held.assign(held.size(), 0);
        for (number s = 0; s < one.units.size(); ++s) {
            number sent = 0;
            network.each_edge(first_source + s, [&](number to, number units, number, unsigned goals) {
                held[to - first_place] += units;
                sent += units;
                for (unsigned g = 0; g < 3; ++g) {
                    if (goals >> g & 1) reached[g == 2 ? 3 : g] += static_cast<int>(units);
                }
            });
            CHECK(sent == one.units[s]);
        }
        for (number n = 0; n < held.size(); ++n) {
            CHECK(held[n] <= one.capacity[n]);
            auto const load = static_cast<int>(held[n] + one.fixed[n]);
            CHECK(static_cast<number>(load) >= bands[n].low);
            CHECK(static_cast<number>(load) <= bands[n].high);
            reached[2] += load * load;
        }
    }
};

}  // namespace

TEST_CASE("assignment_flow: one goal after another, as good as any way there is") {
    std::mt19937_64 random{5};
    auto const below = [&](number n) { return static_cast<number>(random() % n); };
    int compared = 0;
    for (int round = 0; round < 4'000; ++round) {
        small_case one;
        one.units.resize(1 + below(3));
        for (auto& units : one.units) units = below(4);
        auto const places = 1 + below(4);
        for (number n = 0; n < places; ++n) {
            one.capacity.push_back(below(3) == 0 ? 9 : below(5));
            one.fixed.push_back(below(2) == 0 ? 0 : below(4));
        }
        for (number s = 0; s < one.units.size(); ++s) {
            for (number n = 0; n < places; ++n) {
                if (below(4) == 0) continue;
                one.edges.push_back({s, n, 1 + below(4), below(2) == 0 ? 0 : below(8)});
                if (below(3) == 0) one.edges.push_back({s, n, 1 + below(4), below(8)});
            }
        }
        brute_force search{one};
        auto const best = search.best();
        if (!search.possible()) continue;
        ++compared;
        INFO("round " << round);
        by_flow const found{one, search.first()};
        REQUIRE(found.reached == best);
        REQUIRE(found.bands.size() == search.bands().size());
        for (std::size_t n = 0; n < found.bands.size(); ++n) {
            // What the flow allows includes all that is best, and no more than one unit above it.
            REQUIRE(found.bands[n].low <= search.bands()[n].low);
            REQUIRE(found.bands[n].high >= search.bands()[n].high);
            REQUIRE(found.bands[n].high - found.bands[n].low <= 1);
        }
    }
    CHECK(compared > 2'000);
}

TEST_CASE("assignment_flow: loads of any size are evened out, each part at its own level") {
    // 1,000,000,000 units may be on the first two of four places, 10 on the last two, 4 of these on the third alone.
    flow network;
    for (int i = 0; i < 8; ++i) network.add_vertex();
    constexpr number many = 1'000'000'000;
    number const heavy = 1, light = 2, pinned = 3;
    number const place = 4;
    network.add_edge(heavy, place, many, many);
    network.add_edge(heavy, place + 1, many, 0);
    network.add_edge(light, place + 1, 6, 6);
    network.add_edge(light, place + 2, 6, 0);
    network.add_edge(light, place + 3, 6, 0);
    network.add_edge(pinned, place + 2, 4, 4);
    network.add_edge(place, sink, many, many);
    network.add_edge(place + 1, sink, many, 6);
    network.add_edge(place + 2, sink, many, 4);
    network.add_edge(place + 3, sink, many, 0);
    network.build();
    std::vector<flow::band> bands;
    network.even_out(sink, {{place, 0}, {place + 1, 0}, {place + 2, 0}, {place + 3, 0}}, bands);
    CHECK(bands[0] == flow::band{many / 2, many / 2});
    CHECK(bands[1] == flow::band{many / 2, many / 2});
    CHECK(bands[2] == flow::band{5, 5});
    CHECK(bands[3] == flow::band{5, 5});
    std::vector<number> sent;
    for (auto const source : {heavy, light, pinned}) {
        network.each_edge(source, [&](number, number units, number, unsigned) { sent.push_back(units); });
    }
    CHECK(sent == std::vector<number>{many / 2, many / 2, 0, 1, 5, 4});
}

TEST_CASE("assignment_flow: what an earlier goal needs is not given up for a later one") {
    // The unit may go to a free place at the price of goal 0, or stay at the price of goal 1 and of evenness.
    flow network;
    for (int i = 0; i < 4; ++i) network.add_vertex();
    network.add_edge(1, 2, 1, 1, 0b10);
    network.add_edge(1, 3, 1, 0, 0b01);
    network.add_edge(2, sink, 5, 1);
    network.add_edge(3, sink, 5, 0);
    network.build();
    network.minimise(0);
    network.minimise(1);
    std::vector<flow::band> bands;
    network.even_out(sink, {{2, 3}, {3, 0}}, bands);
    CHECK(bands[0] == flow::band{4, 4});
    CHECK(bands[1] == flow::band{0, 0});
}

}  // namespace assignment_flow_test
