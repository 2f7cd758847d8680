// least_moves against three references that share nothing with it: brute force over every small view (a search over
// loads that knows neither the formula nor the greedy rule), the literal greedy rule, and the formula of V*.
#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include <rota/strategy/balance.hpp>
#include <rota/strategy/least_moves.hpp>

#include "../catch.hpp"
#include "../support/effort.hpp"
#include "../support/view_builder.hpp"

namespace least_moves_test {

namespace {

using rota_test::node_spec;
using rota_test::plan_fault;
using rota_test::view_builder;

static_assert(std::is_empty_v<rota::least_moves>);

rota::plan plan_of(rota::cluster_view const& view) {
    rota::plan made;
    rota::least_moves{}.make_plan(view, made);
    return made;
}

std::string text_of(std::vector<node_spec> const& nodes, std::size_t orphans) {
    std::string text = "load/capacity(moving):";
    for (auto const& n : nodes) {
        text += " " + std::to_string(n.load) + "/" + std::to_string(n.capacity);
        if (n.moving > 0) text += "(" + std::to_string(n.moving) + ")";
    }
    return text + ", orphans: " + std::to_string(orphans);
}

// ---- brute force --------------------------------------------------------------------------------

constexpr std::size_t most_nodes = 4;

// Up to four numbers up to 15, four bits each: one per node. Nodes that are not there have load and capacity 0.
using numbers = std::uint16_t;

constexpr unsigned at(numbers all, std::size_t node) { return unsigned{all} >> 4 * node & 15; }
constexpr numbers with(numbers all, std::size_t node, unsigned value) {
    return static_cast<numbers>((unsigned{all} & ~(15U << 4 * node)) | value << 4 * node);
}

struct small_view {
    numbers load = 0;
    numbers capacity = 0;
    numbers moving = 0;
    unsigned orphans = 0;
};

// What is better, in this order: less held over capacity; more even. (Orphans are placed while there is any room.)
unsigned cost_of(numbers load, numbers capacity) {
    unsigned cost = 0;
    for (std::size_t i = 0; i < most_nodes; ++i) {
        auto const held = at(load, i);
        cost += held * held;
        if (held > at(capacity, i)) cost += 1000 * (held - at(capacity, i));
    }
    return cost;
}

// All loads that k steps can reach, breadth first, and the least cost among those within k steps, for each k.
class search {
public:
    struct found {
        unsigned placed = 0;
        std::vector<unsigned> best_by_placements;  // [p]: p orphans placed, nothing moved
        std::vector<unsigned> best_by_moves;       // [k]: all placed that can be, up to k moves; ends at the optimum
    };

    found const& run(small_view const& view) {
        ++stamp_;
        capacity_ = view.capacity;
        result_.placed = 0;
        result_.best_by_placements.clear();
        begin_step();
        reach(view.load);
        end_step(result_.best_by_placements);
        for (; result_.placed < view.orphans && place(); ++result_.placed) {}

        auto& best = result_.best_by_moves;
        best.assign(1, result_.best_by_placements.back());
        auto const optimum = lower_bound();
        while (best.back() != optimum && move(view.moving)) {}
        while (best.size() > 1 && best[best.size() - 2] == best.back()) best.pop_back();
        return result_;
    }

private:
    bool place() {
        begin_step();
        ++stamp_;
        for (auto const load : frontier_) {
            for (std::size_t to = 0; to < most_nodes; ++to) {
                if (at(load, to) < at(capacity_, to)) reach(load + (1U << 4 * to));
            }
        }
        return end_step(result_.best_by_placements);
    }

    bool move(numbers moving) {
        begin_step();
        least_cost_ = result_.best_by_moves.back();
        for (auto const load : frontier_) {
            for (std::size_t to = 0; to < most_nodes; ++to) {
                if (at(load, to) >= at(capacity_, to)) continue;
                for (std::size_t from = 0; from < most_nodes; ++from) {
                    if (from == to || at(load, from) <= at(moving, from)) continue;
                    reach(load + (1U << 4 * to) - (1U << 4 * from));
                }
            }
        }
        return end_step(result_.best_by_moves);
    }

    void begin_step() {
        next_.clear();
        least_cost_ = ~0U;
    }
    void reach(unsigned load) {
        if (marks_[load] == stamp_) return;
        marks_[load] = stamp_;
        next_.push_back(static_cast<numbers>(load));
        least_cost_ = std::min(least_cost_, cost_of(next_.back(), capacity_));
    }
    bool end_step(std::vector<unsigned>& best) {
        if (next_.empty()) return false;
        frontier_.swap(next_);
        best.push_back(least_cost_);
        return true;
    }

    // The least cost of any loads of this total within the capacities, so that the search may end once it is met.
    unsigned lower_bound() {
        unsigned total = 0;
        for (std::size_t i = 0; i < most_nodes; ++i) total += at(frontier_.front(), i);
        if (capacity_ != known_capacity_ || total != known_total_) {
            known_capacity_ = capacity_;
            known_total_ = total;
            known_bound_ = ~0U;
            deal_out(0, 0, total);
        }
        return known_bound_;
    }
    void deal_out(numbers load, std::size_t node, unsigned left) {
        if (node == most_nodes) {
            if (left == 0) known_bound_ = std::min(known_bound_, cost_of(load, capacity_));
            return;
        }
        for (unsigned n = 0; n <= left && n <= at(capacity_, node); ++n)
            deal_out(with(load, node, n), node + 1, left - n);
    }

    numbers capacity_ = 0;
    found result_;
    std::vector<numbers> frontier_, next_;
    unsigned least_cost_ = 0;
    std::vector<std::uint32_t> marks_ = std::vector<std::uint32_t>(1U << 16);
    std::uint32_t stamp_ = 0;
    numbers known_capacity_ = 0;
    unsigned known_total_ = ~0U;
    unsigned known_bound_ = 0;
};

// Compares least_moves with what the search found. nullptr: as it should be.
class small_checker {
public:
    char const* check(std::vector<node_spec> const& nodes, unsigned orphans, search::found const& best,
                      bool any_moving) {
        builder_.reset(nodes, orphans);
        auto const view = builder_.view();
        rota::least_moves{}.make_plan(view, plan_);
        if (auto const* fault = plan_fault(view, plan_)) return fault;
        if (plan_.forced != best.placed) return "does not place all orphans that can be placed";

        auto const least = best.best_by_moves.size() - 1;
        if (plan_.voluntary != least) return "does not take the fewest moves";
        if (plan_.bound != rota::least_moves_bound(view)) return "reports another bound than the formula";
        if (any_moving ? plan_.bound < least : plan_.bound != least) return "has a wrong bound";
        if ((rota::imbalance(view) == 0) != (plan_.bound == 0)) return "disagrees with imbalance()";

        numbers load = 0;
        numbers capacity = 0;
        for (std::size_t i = 0; i < nodes.size(); ++i) {
            load = with(load, i, nodes[i].load);
            capacity = with(capacity, i, nodes[i].capacity);
        }
        if (plan_.spread_before != spread(load, nodes.size())) return "reports a wrong spread before";
        std::size_t done = 0;
        for (auto const& step : plan_.moves) {
            if (!step.forced()) load = with(load, step.from, at(load, step.from) - 1);
            load = with(load, step.to, at(load, step.to) + 1);
            ++done;
            auto const wanted =
                done <= best.placed ? best.best_by_placements[done] : best.best_by_moves[done - best.placed];
            if (cost_of(load, capacity) != wanted) return "has a prefix that is not the best of its length";
        }
        if (plan_.spread_after != spread(load, nodes.size())) return "reports a wrong spread after";

        auto const target = rota::balance_target_of(view);
        for (std::size_t i = 0; i < nodes.size() && !any_moving && !target.overcommitted; ++i) {
            auto const limit = at(capacity, i);
            if (at(load, i) < target.lower(limit) || at(load, i) > target.upper(limit)) return "misses its target";
        }
        return nullptr;
    }

private:
    static double spread(numbers load, std::size_t nodes) {
        unsigned fullest = 0;
        unsigned emptiest = 15;
        for (std::size_t i = 0; i < nodes; ++i) {
            fullest = std::max(fullest, at(load, i));
            emptiest = std::min(emptiest, at(load, i));
        }
        return fullest - emptiest;
    }

    view_builder builder_;
    rota::plan plan_;
};

// Calls visit(view) for all views of `nodes` nodes with `total` schedules and capacities up to `most_capacity`, once
// for all that differ in the order of nodes only.
template <typename Visit>
void each_small_view(std::size_t nodes, unsigned total, unsigned most_capacity, Visit const& visit) {
    small_view view;
    auto const deal = [&](auto const& self, std::size_t node, unsigned left) -> void {
        if (node == nodes) {
            view.orphans = left;
            visit(view);
            return;
        }
        bool const same = node > 0 && at(view.capacity, node) == at(view.capacity, node - 1);
        for (unsigned n = same ? at(view.load, node - 1) : 0; n <= left; ++n) {
            view.load = with(view.load, node, n);
            self(self, node + 1, left - n);
        }
    };
    auto const limit = [&](auto const& self, std::size_t node, unsigned least) -> void {
        if (node == nodes) return deal(deal, 0, total);
        for (unsigned n = least; n <= most_capacity; ++n) {
            view.capacity = with(view.capacity, node, n);
            self(self, node + 1, n);
        }
    };
    limit(limit, 0, 0);
}

// Calls visit(capacity) for all ways to raise those capacities of the view that are `total` to up to `most`, again
// once for all that differ in the order of nodes only.
template <typename Visit>
void each_raised(small_view const& view, std::size_t nodes, unsigned total, unsigned most, Visit const& visit) {
    auto const raise = [&](auto const& self, numbers capacity, std::size_t node) -> void {
        if (node == nodes) return visit(capacity);
        auto const own = at(view.capacity, node);
        bool const same =
            node > 0 && own == at(view.capacity, node - 1) && at(view.load, node) == at(view.load, node - 1);
        for (auto n = same ? at(capacity, node - 1) : own; n <= (own == total ? most : own); ++n) {
            self(self, with(capacity, node, n), node + 1);
        }
    };
    raise(raise, 0, 0);
}

// Calls visit(moving) for all numbers of moving schedules that the nodes of the view may have.
template <typename Visit>
void each_moving(small_view const& view, std::size_t nodes, Visit const& visit) {
    auto const choose = [&](auto const& self, numbers moving, std::size_t node) -> void {
        if (node == nodes) return visit(moving);
        for (unsigned n = 0; n <= at(view.load, node); ++n) self(self, with(moving, node, n), node + 1);
    };
    choose(choose, 0, 0);
}

}  // namespace

TEST_CASE("least_moves: fewest moves and best prefixes, on every view of up to 4 nodes and 8 schedules") {
    constexpr unsigned most_capacity = 8;
    search brute;
    small_checker checker;
    std::size_t views = 0;
    std::vector<node_spec> nodes;

    for (std::size_t count = 1; count <= most_nodes; ++count) {
        for (unsigned total = 0; total <= (rota_test::sanitized ? 5u : 8u); ++total) {
            // Capacities above the total limit nothing: one search serves all of them, the plan is made for each.
            each_small_view(count, total, total, [&](small_view const& view) {
                auto const& best = brute.run(view);
                each_raised(view, count, total, most_capacity, [&](numbers capacity) {
                    nodes.resize(count);
                    for (std::size_t i = 0; i < count; ++i) {
                        nodes[(i + views) % count] = {at(view.load, i), at(capacity, i)};  // any order of nodes
                    }
                    ++views;
                    if (auto const* fault = checker.check(nodes, view.orphans, best, false)) {
                        FAIL("the plan " << fault << "; " << text_of(nodes, view.orphans));
                    }
                });
            });
        }
    }
    CHECK(views == (rota_test::sanitized ? 103'644U : 479'376U));
}

TEST_CASE("least_moves: the best that moving schedules leave, on every view of up to 3 nodes and 5 schedules") {
    search brute;
    small_checker checker;
    std::size_t views = 0;
    std::vector<node_spec> nodes;

    for (std::size_t count = 1; count <= 3; ++count) {
        for (unsigned total = 1; total <= (rota_test::sanitized ? 3u : 5u); ++total) {
            each_small_view(count, total, total, [&](small_view view) {
                each_moving(view, count, [&](numbers moving) {
                    view.moving = moving;
                    nodes.resize(count);
                    for (std::size_t i = 0; i < count; ++i) {
                        nodes[(i + views) % count] = {at(view.load, i), at(view.capacity, i), at(moving, i)};
                    }
                    ++views;
                    if (auto const* fault = checker.check(nodes, view.orphans, brute.run(view), true)) {
                        FAIL("the plan " << fault << "; " << text_of(nodes, view.orphans));
                    }
                });
            });
        }
    }
    CHECK(views == (rota_test::sanitized ? 1'712U : 28'357U));
}

// ---- larger views -------------------------------------------------------------------------------

namespace {

// The rule of least_moves word for word, with a scan of all nodes for each step.
std::vector<rota::move> literal_greedy(std::vector<node_spec> nodes, std::size_t orphans) {
    std::vector<rota::move> steps;  // without schedules
    auto constexpr none = rota::cluster_view::none;
    auto const receiver = [&] {
        auto best = none;
        for (std::uint32_t i = 0; i < nodes.size(); ++i) {
            if (nodes[i].load < nodes[i].capacity && (best == none || nodes[i].load < nodes[best].load)) best = i;
        }
        return best;
    };
    auto const giver = [&](bool over_capacity) {
        auto best = none;
        for (std::uint32_t i = 0; i < nodes.size(); ++i) {
            if (over_capacity && nodes[i].load <= nodes[i].capacity) continue;
            if (nodes[i].load > nodes[i].moving && (best == none || nodes[i].load > nodes[best].load)) best = i;
        }
        return best;
    };
    auto const step = [&](std::uint32_t from, std::uint32_t to) {
        steps.push_back({0, from, to});
        ++nodes[to].load;
        if (from != none) --nodes[from].load;
    };
    for (auto to = receiver(); orphans > 0 && to != none; --orphans, to = receiver()) step(none, to);
    for (bool const over_capacity : {true, false}) {
        for (;;) {
            auto const from = giver(over_capacity);
            auto const to = receiver();
            if (from == none || to == none) break;
            if (!over_capacity && nodes[from].load <= nodes[to].load + 1) break;
            step(from, to);
        }
    }
    return steps;
}

class random_views {
public:
    explicit random_views(std::uint64_t seed) : random_{seed} {}

    std::uint32_t below(std::uint32_t end) { return static_cast<std::uint32_t>(random_() % end); }

    void next(bool with_moving) {
        nodes.resize(1 + below(60));
        auto const most_load = 1 + below(below(2) == 0 ? 6 : 200);
        auto const kind = below(5);
        for (auto& node : nodes) {
            node = {};
            node.load = below(4) == 0 ? 0 : below(most_load + 1);
            if (kind == 1) node.capacity = below(2 * most_load);  // some below their load
            if (kind == 2) node.capacity = node.load + below(3);  // hardly any room
            if (kind == 3) node.capacity = below(3) == 0 ? rota::unlimited : below(most_load);
            if (kind == 4) node.capacity = below(most_load);  // often over all capacity
            if (with_moving && below(2) == 0) node.moving = below(node.load + 1);
        }
        orphans = below(3) == 0 ? 0 : below(static_cast<std::uint32_t>(nodes.size()) * most_load);
    }

    std::vector<node_spec> nodes;
    std::uint32_t orphans = 0;

private:
    std::mt19937_64 random_;
};

bool same_steps(std::vector<rota::move> const& plan, std::vector<rota::move> const& wanted) {
    return std::equal(plan.begin(), plan.end(), wanted.begin(), wanted.end(),
                      [](auto const& a, auto const& b) { return a.from == b.from && a.to == b.to; });
}

}  // namespace

TEST_CASE("least_moves: equals the formula and the literal rule on random large views") {
    random_views random{20240601};
    view_builder builder;
    view_builder later;
    rota::plan recycled;
    for (int round = 0; round < rota_test::rounds(400); ++round) {
        random.next(false);
        auto const& nodes = random.nodes;
        INFO("round " << round << "; " << text_of(nodes, random.orphans));
        builder.reset(nodes, random.orphans);
        auto const view = builder.view();
        auto const plan = plan_of(view);

        auto const* fault = plan_fault(view, plan);
        INFO((fault ? fault : "valid"));
        REQUIRE(fault == nullptr);
        REQUIRE(plan.bound == rota::least_moves_bound(view));
        REQUIRE(plan.voluntary == plan.bound);
        REQUIRE(same_steps(plan.moves, literal_greedy(nodes, random.orphans)));

        // The same view gives the same plan, whatever the recycled one held.
        rota::least_moves{}.make_plan(view, recycled);
        REQUIRE(recycled.moves == plan.moves);
        REQUIRE(recycled.spread_after == plan.spread_after);

        // What is left after some steps is what the rest of the plan does, so a bounded round loses nothing.
        auto const steps = plan.moves.empty() ? 0 : random.below(static_cast<std::uint32_t>(plan.moves.size() + 1));
        later.reset(nodes, random.orphans);
        later.apply(plan, steps);
        auto const rest = plan_of(later.view());
        auto const moved = steps > plan.forced ? steps - plan.forced : 0;
        REQUIRE(rest.bound == plan.bound - moved);
        REQUIRE(rest.moves.size() == plan.moves.size() - steps);

        // Nothing is left after all of them, whether they have arrived or are moving.
        for (bool const arrived : {true, false}) {
            later.reset(nodes, random.orphans);
            later.apply(plan, plan.moves.size(), arrived);
            auto const none = plan_of(later.view());
            REQUIRE(none.moves.empty());
            REQUIRE(none.bound == 0);
            REQUIRE(none.unplaced == plan.unplaced);
            REQUIRE(none.spread_before == plan.spread_after);
            REQUIRE(none.spread_after == plan.spread_after);
            REQUIRE(rota::imbalance(later.view()) == 0);
        }
    }
}

TEST_CASE("least_moves: leaves alone what is moving, and evens out the rest as the literal rule does") {
    random_views random{7};
    view_builder builder;
    int short_of_bound = 0;
    for (int round = 0; round < rota_test::rounds(400); ++round) {
        random.next(true);
        INFO("round " << round << "; " << text_of(random.nodes, random.orphans));
        builder.reset(random.nodes, random.orphans);
        auto const view = builder.view();
        auto const plan = plan_of(view);

        auto const* fault = plan_fault(view, plan);
        INFO((fault ? fault : "valid"));
        REQUIRE(fault == nullptr);
        REQUIRE(same_steps(plan.moves, literal_greedy(random.nodes, random.orphans)));
        REQUIRE(plan.voluntary <= plan.bound);
        short_of_bound += plan.voluntary < plan.bound;
        builder.apply(plan);
        REQUIRE(plan_of(builder.view()).moves.empty());
    }
    CHECK(short_of_bound > rota_test::rounds(20));
}

TEST_CASE("imbalance: the largest distance from the target once orphans are placed, by the mean load") {
    random_views random{99};
    view_builder builder;
    for (int round = 0; round < rota_test::rounds(400); ++round) {
        random.next(false);
        INFO("round " << round << "; " << text_of(random.nodes, random.orphans));
        builder.reset(random.nodes, random.orphans);
        auto const before = rota::imbalance(builder.view());
        auto const plan = plan_of(builder.view());
        REQUIRE((before == 0) == (plan.bound == 0));

        builder.apply(plan, plan.forced);
        auto const view = builder.view();
        auto const target = rota::balance_target_of(view);
        double farthest = 0;
        double total = 0;
        for (auto const& node : view.nodes) {
            auto const load = static_cast<double>(node.load);
            farthest = std::max({farthest, load - static_cast<double>(target.upper(node.capacity)),
                                 static_cast<double>(target.lower(node.capacity)) - load});
            total += load;
        }
        auto const wanted = plan.bound == 0 ? 0 : farthest / (total / static_cast<double>(view.nodes.size()));
        REQUIRE(before == wanted);
        REQUIRE(rota::imbalance(view) == wanted);
    }
}

// ---- single cases -------------------------------------------------------------------------------

TEST_CASE("imbalance: counts the orphans where least_moves places them, one by one") {
    // The orphan goes to the first node, which then lacks 3 of its 4; without it, it would lack 4.
    view_builder builder{{{0}, {0, 1}, {5}, {5}, {5}, {5}}, 1};
    CHECK(rota::imbalance(builder.view()) == Approx(3 / 3.5));
    // Here it goes to the other, and the last one lacks all 4.
    builder.reset({{0, 1}, {5}, {5}, {5}, {5}, {0}}, 1);
    CHECK(rota::imbalance(builder.view()) == Approx(4 / 3.5));
    // Orphans alone make no imbalance: they fill up who lacks most.
    builder.reset({{4}, {4}, {0}}, 4);
    CHECK(rota::imbalance(builder.view()) == 0);
}

TEST_CASE("least_moves: the orphans of a lost node are spread, and nothing else moves") {
    view_builder builder{{{100}, {100}, {100}, {100}, {100}}};
    builder.lose(2);
    auto const plan = plan_of(builder.view());
    CHECK(plan.forced == 100);
    CHECK(plan.voluntary == 0);
    CHECK(plan.bound == 0);
    CHECK(plan.unplaced == 0);
    CHECK(plan.spread_after == 0);
}

TEST_CASE("least_moves: a node that joined gets its share from all others, the fullest first") {
    view_builder builder{{{4}, {5}, {4}}};
    builder.join();
    auto const view = builder.view();
    auto const plan = plan_of(view);
    REQUIRE(plan.voluntary == 3);
    CHECK(plan.bound == 3);
    CHECK(plan.spread_before == 5);
    CHECK(plan.spread_after == 1);
    CHECK(plan.moves[0].from == 1);
    CHECK(plan.moves[1].from == 0);
    CHECK(plan.moves[2].from == 1);
    for (auto const& step : plan.moves) CHECK(step.to == 3);
    CHECK(rota::imbalance(view) == Approx(3 / 3.25));
}

TEST_CASE("least_moves: what a node holds over its capacity goes first, even to a node that is no emptier") {
    view_builder builder{{{9}, {3, 1}, {3, 8}}};
    auto const plan = plan_of(builder.view());
    REQUIRE(plan.voluntary == 4);
    CHECK(plan.bound == 4);
    CHECK(plan.moves[0].from == 1);
    CHECK(plan.moves[0].to == 2);
    CHECK(plan.moves[1].from == 1);
    CHECK(plan.moves[1].to == 2);
    CHECK(plan.moves[2].from == 0);
}

TEST_CASE("least_moves: over all capacity, orphans come first, what has no place stays and is reported") {
    view_builder builder{{{5, 2}, {0, 2}, {1, 2}}, 2};
    auto plan = plan_of(builder.view());
    CHECK(plan.forced == 2);
    CHECK(plan.unplaced == 0);
    CHECK(plan.voluntary == 1);
    CHECK(plan.bound == 1);

    builder.reset({{5, 2}, {0, 2}, {1, 2}}, 7);
    plan = plan_of(builder.view());
    CHECK(plan.forced == 3);
    CHECK(plan.unplaced == 4);
    CHECK(plan.voluntary == 0);
    CHECK(plan.bound == 0);
}

TEST_CASE("least_moves: without nodes, without schedules, without room") {
    view_builder builder{{}, 3};
    auto plan = plan_of(builder.view());
    CHECK(plan.moves.empty());
    CHECK(plan.unplaced == 3);
    CHECK(rota::least_moves_bound(builder.view()) == 0);
    CHECK(rota::imbalance(builder.view()) == 0);

    builder.reset({{0}, {0, 0}, {0}});
    plan = plan_of(builder.view());
    CHECK(plan.moves.empty());
    CHECK(plan.unplaced == 0);
    CHECK(rota::imbalance(builder.view()) == 0);

    builder.reset({{3, 0}, {2, 2}}, 1);
    plan = plan_of(builder.view());
    CHECK(plan.moves.empty());
    CHECK(plan.unplaced == 1);
    CHECK(plan.spread_after == 1);
    CHECK(rota::imbalance(builder.view()) == 0);
}

TEST_CASE("least_moves: a giver that holds only what is moving gives none") {
    view_builder builder{{{6, rota::unlimited, 6}, {4}, {0}}};
    auto const plan = plan_of(builder.view());
    REQUIRE(plan.voluntary == 2);
    CHECK(plan.bound == 3);
    for (auto const& step : plan.moves) CHECK(step.from == 1);
}

TEST_CASE("least_moves: loads whose schedules are not known yet, up to the largest number, are left alone") {
    std::vector<rota::cluster_view::node> nodes(3);
    nodes[0].load = 4'000'000'000;
    nodes[1].load = 2'000'000'000;
    nodes[2].capacity = rota::unlimited - 1;
    rota::cluster_view const view{nodes, {}, {}};
    auto const plan = plan_of(view);
    CHECK(plan.moves.empty());
    CHECK(plan.bound == 2'000'000'000);
    CHECK(plan.spread_before == 4e9);
    CHECK(plan.spread_after == 4e9);
    CHECK(rota::imbalance(view) == 1);
}

TEST_CASE("balance_target: the water level under capacities") {
    view_builder builder{{{0, 1}, {0, 3}, {0, 10}, {0}}, 17};
    auto target = rota::balance_target_of(builder.view());
    CHECK(target.level == 6);
    CHECK_FALSE(target.exact);
    CHECK(target.lower(3) == 3);
    CHECK(target.upper(3) == 3);
    CHECK(target.lower(10) == 6);
    CHECK(target.upper(10) == 7);

    builder.reset({{7}, {1}, {0, 2}}, 4);  // comes out even
    target = rota::balance_target_of(builder.view());
    CHECK(target.level == 5);
    CHECK(target.exact);
    CHECK(target.upper(10) == 5);
    CHECK(target.upper(2) == 2);

    builder.reset({{0, 1}, {0, 3}, {5, 4}}, 3);
    target = rota::balance_target_of(builder.view());
    CHECK(target.exact);
    CHECK_FALSE(target.overcommitted);
    CHECK(target.upper(4) == 4);
    builder.reset({{0, 1}, {0, 3}, {5, 4}}, 4);
    CHECK(rota::balance_target_of(builder.view()).overcommitted);
}

}  // namespace least_moves_test
