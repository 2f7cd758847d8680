// How long strategies take to plan, next to std::sort of as many random 64-bit integers, in the same run. Buffers are
// warm and recycled; each round measures everything once, in turn, so that a busy machine disturbs all alike. Memory is
// counted by an operator new of our own, of a plan made anew: what the strategy allocates and what the plan takes.
//
//   bench_plan [--check] [SCHEDULES [NODES [ROUNDS]]]      1000000 1000 15 if left out
//
// --check: fail if a target is missed. A plan that is wrong, or makes more moves than needed, is always a failure.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <vector>

#include <rota/strategy/balance.hpp>
#include <rota/strategy/bounded_rendezvous.hpp>
#include <rota/strategy/least_moves.hpp>
#include <rota/strategy/rendezvous.hpp>
#include <rota/strategy/weighted_least_moves.hpp>

#include "../support/view_builder.hpp"
#if __has_include(<rota/strategy/constrained.hpp>) && __has_include("plan_constrained.hpp")
#include "plan_constrained.hpp"
#define ROTA_BENCH_CONSTRAINED
#endif

namespace {

std::size_t allocated = 0;
std::size_t most_allocated = 0;
constexpr std::size_t header = alignof(std::max_align_t);

}  // namespace

void* operator new(std::size_t size) {
    auto* const memory = static_cast<char*>(std::malloc(size + header));
    if (!memory) throw std::bad_alloc{};
    std::memcpy(memory, &size, sizeof size);
    allocated += size;
    most_allocated = std::max(most_allocated, allocated);
    return memory + header;
}
void operator delete(void* memory) noexcept {
    if (!memory) return;
    auto* const begin = static_cast<char*>(memory) - header;
    std::size_t size = 0;
    std::memcpy(&size, begin, sizeof size);
    allocated -= size;
    std::free(begin);
}
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }

namespace {

using rota_test::node_spec;
using rota_test::view_builder;

double median(std::vector<double> values) {
    auto const middle = values.begin() + std::ssize(values) / 2;
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

template <typename Work>
double milliseconds_of(Work const& work) {
    auto const begin = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

struct scenario {
    std::string name;
    double target = 0;  ///< most it may take, as a fraction of the sort; 0: no target
    std::unique_ptr<view_builder> builder = std::make_unique<view_builder>();
    rota::plan plan{};
    std::vector<double> times{};
    std::size_t bytes = 0;
};

struct verdict {
    bool right = true;       ///< plans are valid, and least_moves makes exactly V* moves
    bool in_targets = true;  ///< of time and memory
};

/// The four views that every strategy is measured with, of schedules spread as the strategy has them.
template <typename Strategy, typename Prepare>
std::vector<scenario> scenarios_of(Strategy const& strategy, std::uint32_t schedules, std::uint32_t nodes,
                                   std::uint32_t capacity, Prepare const& prepare) {
    std::vector<node_spec> const empty(nodes, {0, capacity});
    std::vector<scenario> all;
    all.push_back({"from nothing", 0.10});
    all.back().builder->reset(empty, schedules);
    prepare(*all.back().builder);
    for (auto const* name : {"one node lost", "one node joined", "balanced"}) {
        all.push_back({name, name == std::string{"balanced"} ? 0.001 : 0.01});
        auto& builder = *all.back().builder;
        builder.reset(empty, schedules);
        prepare(builder);
        strategy.make_plan(builder.view(), all.back().plan);
        builder.apply(all.back().plan);
        // Those whose loads follow from the order of schedules may have something left to do.
        strategy.make_plan(builder.view(), all.back().plan);
        builder.apply(all.back().plan);
    }
    all[1].builder->lose(nodes / 2);
    all[2].builder->join(capacity);
    return all;
}

/// Times of all scenarios and of the sort, in turn. Returns the median time of the sort.
template <typename Strategy>
double measure(Strategy const& strategy, std::vector<scenario>& scenarios, std::uint32_t schedules,
               std::uint32_t rounds) {
    std::mt19937_64 random{1};
    std::vector<std::uint64_t> unsorted(schedules);
    for (auto& number : unsorted) number = random();
    std::vector<std::uint64_t> numbers(schedules);
    std::vector<double> sort_times;
    for (auto& s : scenarios) {
        auto const view = s.builder->view();
        s.plan = {};
        auto const before = allocated;
        most_allocated = allocated;
        strategy.make_plan(view, s.plan);
        s.bytes = most_allocated - before;
    }
    for (std::uint32_t round = 0; round <= rounds; ++round) {  // the first one warms up and does not count
        numbers = unsorted;
        auto const sorting = milliseconds_of([&] { std::sort(numbers.begin(), numbers.end()); });
        if (round > 0) sort_times.push_back(sorting);
        for (auto& s : scenarios) {
            auto const view = s.builder->view();
            auto const planning = milliseconds_of([&] { strategy.make_plan(view, s.plan); });
            if (round > 0) s.times.push_back(planning);
        }
    }
    return median(sort_times);
}

void print_header(char const* first) {
    std::printf("%-34s %11s %11s %9s %9s %9s %9s %12s\n", first, "ms", "of sort", "placed", "moved", "V*", "ratio",
                "B/schedule");
}

void print_row(std::string const& name, scenario const& s, double sorting, std::uint32_t bound,
               std::uint32_t schedules) {
    auto const time = median(s.times);
    auto const ratio = bound == 0 ? 1.0 : static_cast<double>(s.plan.voluntary) / bound;
    std::printf("%-34s %11.4f %11.5f %9u %9u %9u %9.3f %12.2f", name.c_str(), time, time / sorting, s.plan.forced,
                s.plan.voluntary, bound, ratio, static_cast<double>(s.bytes) / schedules);
}

/// Of least_moves; with a target for each scenario if `targets`.
verdict measure_least_moves(std::uint32_t schedules, std::uint32_t nodes, std::uint32_t rounds, bool targets) {
    verdict found;
    rota::least_moves const strategy;
    auto scenarios = scenarios_of(strategy, schedules, nodes, rota::unlimited, [](view_builder&) {});
    auto const sorting = measure(strategy, scenarios, schedules, rounds);
    if (targets) std::printf("%-34s %11.4f %11.5f\n", "std::sort", sorting, 1.0);
    for (auto& s : scenarios) {
        auto const view = s.builder->view();
        auto const bound = rota::least_moves_bound(view);
        auto const* fault = rota_test::plan_fault(view, s.plan);
        found.right = found.right && fault == nullptr && s.plan.voluntary == bound;
        print_row(targets ? s.name : "  " + s.name, s, sorting, bound, schedules);
        if (targets) {
            bool const met = median(s.times) <= s.target * sorting;
            found.in_targets = found.in_targets && met;
            std::printf("   target %.3f %s", s.target, met ? "met" : "MISSED");
        }
        std::printf("%s%s\n", fault ? "  " : "", fault ? fault : "");
    }
    if (targets) {
        // A schedule takes an entry of the view and one in its node's list; ids are what the entry's id points to.
        auto const of_view = sizeof(rota::cluster_view::schedule) - sizeof(std::string_view) + sizeof(std::uint32_t);
        auto const most = std::max_element(scenarios.begin(), scenarios.end(),
                                           [](auto const& a, auto const& b) { return a.bytes < b.bytes; });
        auto const of_plan = static_cast<double>(most->bytes) / schedules;
        auto const total = static_cast<double>(of_view) + of_plan;
        found.in_targets = found.in_targets && total <= 64;
        std::printf("\npeak bytes per schedule beyond ids: %zu in the view + %.2f for the plan = %.2f   target 64 %s\n",
                    of_view, of_plan, total, total <= 64 ? "met" : "MISSED");
        std::printf("(with the view of an id, %zu bytes more; a move takes %zu bytes, a node %zu)\n",
                    sizeof(std::string_view), sizeof(rota::move), sizeof(rota::cluster_view::node));
    }
    return found;
}

/// For orientation: no targets; `bound` is the strategy's own.
template <typename Strategy, typename Prepare>
verdict measure_other(char const* name, Strategy const& strategy, std::uint32_t capacity, Prepare const& prepare) {
    constexpr std::uint32_t schedules = 100'000;
    constexpr std::uint32_t nodes = 1'000;
    verdict found;
    auto scenarios = scenarios_of(strategy, schedules, nodes, capacity, prepare);
    auto const sorting = measure(strategy, scenarios, schedules, 3);
    std::printf("%s\n", name);
    for (auto& s : scenarios) {
        auto const view = s.builder->view();
        auto const* fault = rota_test::plan_fault(view, s.plan);
        found.right = found.right && fault == nullptr && s.plan.voluntary >= s.plan.bound;
        print_row("  " + s.name, s, sorting, s.plan.bound, schedules);
        std::printf("%s%s\n", fault ? "  " : "", fault ? fault : "");
    }
    return found;
}

verdict measure_all_strategies() {
    verdict found;
    auto const also = [&](verdict const& one) { found.right = found.right && one.right; };
    auto const as_is = [](view_builder&) {};
    auto const weighted = [](view_builder& builder) {
        std::mt19937_64 random{2};
        for (std::uint32_t i = 0; i < builder.schedule_count(); ++i) {
            builder.schedule(i).weight = 0.5 + 1e-3 * static_cast<double>(random() % 10'000);
        }
    };
    also(measure_other("least_moves", rota::least_moves{}, rota::unlimited, as_is));
    also(measure_other("weighted_least_moves, all of 1", rota::weighted_least_moves{}, rota::unlimited, as_is));
    also(measure_other("weighted_least_moves, 0.5 to 10.5", rota::weighted_least_moves{}, rota::unlimited, weighted));
    also(measure_other("rendezvous", rota::rendezvous{}, rota::unlimited, as_is));
    also(measure_other("bounded_rendezvous", rota::bounded_rendezvous{}, rota::unlimited, as_is));
    return found;
}

/// Without a target of time either; what is planned has to be exact.
verdict measure_constrained() {
    verdict found;
#ifdef ROTA_BENCH_CONSTRAINED
    std::printf("\nconstrained<least_moves>, 250000 schedules, 5000 nodes\n");
    std::printf("%-34s %11s %21s %9s %9s %9s\n", "", "ms", "placed", "moved", "bound", "ratio");
    for (auto const& one : rota_test::constrained_results()) {
        std::printf("%-34s %11.4f %21u %9u %9u %9.3f%s\n", one.name.c_str(), one.milliseconds, one.placed, one.moved,
                    one.bound, one.bound == 0 ? 1.0 : static_cast<double>(one.moved) / one.bound,
                    one.exact ? "" : "  not exact");
        found.right = found.right && one.exact;
    }
#endif
    return found;
}

}  // namespace

int main(int argc, char* argv[]) {
    bool check = false;
    std::vector<std::uint32_t> sizes;
    for (int i = 1; i < argc; ++i) {
        if (argv[i] == std::string{"--check"}) {
            check = true;
        } else {
            sizes.push_back(static_cast<std::uint32_t>(std::strtoul(argv[i], nullptr, 10)));
        }
    }
    auto const size = [&](std::size_t index, std::uint32_t otherwise) {
        return index < sizes.size() ? sizes[index] : otherwise;
    };
    auto const schedules = size(0, 1'000'000);
    auto const nodes = size(1, 1'000);
    auto const rounds = size(2, 15);
    if (schedules == 0 || nodes < 2 || rounds == 0 || sizes.size() > 3) {
        std::fputs("usage: bench_plan [--check] [SCHEDULES [NODES, at least 2 [ROUNDS]]]\n", stderr);
        return 2;
    }

    std::printf("least_moves, %u schedules, %u nodes, median of %u rounds\n", schedules, nodes, rounds);
    print_header("");
    auto found = measure_least_moves(schedules, nodes, rounds, true);
    auto const also = [&](verdict const& one) { found.right = found.right && one.right; };

    std::printf("\n");
    print_header("least_moves, other sizes");
    for (std::uint32_t const of_nodes : {100U, 1'000U, 10'000U}) {
        for (std::uint32_t const each : {10U, 100U}) {
            std::printf("%u nodes, %u schedules each\n", of_nodes, each);
            also(measure_least_moves(of_nodes * each, of_nodes, 5, false));
        }
    }
    std::printf("\n");
    print_header("100000 schedules, 1000 nodes");
    also(measure_all_strategies());
    also(measure_constrained());
    if (!found.right) std::printf("\nA plan is wrong.\n");
    return !found.right || (check && !found.in_targets) ? 1 : 0;
}
