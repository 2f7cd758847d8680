// How long least_moves takes to plan, next to std::sort of as many random 64-bit integers, in the same run. Buffers
// are warm and recycled; each round measures everything once, in turn, so that a busy machine disturbs all alike.
//
//   bench_plan [SCHEDULES [NODES [ROUNDS]]]      1000000 1000 15 if left out
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <rota/strategy/balance.hpp>
#include <rota/strategy/least_moves.hpp>

#include "../support/view_builder.hpp"

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
    std::unique_ptr<view_builder> builder = std::make_unique<view_builder>();
    rota::plan plan{};
    std::vector<double> times{};
};

}  // namespace

int main(int argc, char* argv[]) {
    auto const argument = [&](int index, unsigned long otherwise) {
        return static_cast<std::uint32_t>(argc > index ? std::strtoul(argv[index], nullptr, 10) : otherwise);
    };
    auto const schedules = argument(1, 1'000'000);
    auto const nodes = argument(2, 1'000);
    auto const rounds = argument(3, 15);
    if (schedules == 0 || nodes < 2 || rounds == 0) {
        std::fputs("usage: bench_plan [SCHEDULES [NODES, at least 2 [ROUNDS]]]\n", stderr);
        return 2;
    }

    std::vector<node_spec> even(nodes);
    for (std::uint32_t i = 0; i < nodes; ++i) even[i].load = schedules / nodes + (i < schedules % nodes ? 1 : 0);
    std::vector<scenario> scenarios;
    scenarios.push_back({"one node lost"});
    scenarios.back().builder->reset(even);
    scenarios.back().builder->lose(nodes / 2);
    scenarios.push_back({"from nothing"});
    scenarios.back().builder->reset(std::vector<node_spec>(nodes), schedules);
    scenarios.push_back({"balanced"});
    scenarios.back().builder->reset(even);
    scenarios.push_back({"one node joined"});
    scenarios.back().builder->reset(even);
    scenarios.back().builder->join();

    std::mt19937_64 random{1};
    std::vector<std::uint64_t> unsorted(schedules);
    for (auto& number : unsorted) number = random();
    std::vector<std::uint64_t> numbers(schedules);
    std::vector<double> sort_times;

    for (std::uint32_t round = 0; round <= rounds; ++round) {  // the first one warms up and does not count
        numbers = unsorted;
        auto const sorting = milliseconds_of([&] { std::sort(numbers.begin(), numbers.end()); });
        if (round > 0) sort_times.push_back(sorting);
        for (auto& s : scenarios) {
            auto const view = s.builder->view();
            auto const planning = milliseconds_of([&] { rota::least_moves{}.make_plan(view, s.plan); });
            if (round > 0) s.times.push_back(planning);
        }
    }

    auto const sorting = median(sort_times);
    std::printf("%u schedules, %u nodes, median of %u rounds\n\n", schedules, nodes, rounds);
    std::printf("%-16s %12s %12s %10s %10s %10s %9s\n", "", "ms", "of std::sort", "placed", "moved", "V*", "ratio");
    std::printf("%-16s %12.4f %12.5f\n", "std::sort", sorting, 1.0);
    bool exact = true;
    for (auto& s : scenarios) {
        auto const view = s.builder->view();
        auto const bound = rota::least_moves_bound(view);
        auto const* fault = rota_test::plan_fault(view, s.plan);
        exact = exact && fault == nullptr && s.plan.voluntary == bound;
        auto const time = median(s.times);
        std::printf("%-16s %12.4f %12.5f %10u %10u %10u %9.3f%s%s\n", s.name.c_str(), time, time / sorting,
                    s.plan.forced, s.plan.voluntary, bound,
                    bound == 0 ? 1.0 : static_cast<double>(s.plan.voluntary) / bound, fault ? "  " : "",
                    fault ? fault : "");
    }
    return exact ? 0 : 1;
}
