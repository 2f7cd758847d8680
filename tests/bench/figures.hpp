// What the benchmarks that measure a real Redis have in common: medians, arguments, and a table of figures with their
// targets. A figure beyond its target is printed as such and is no failure: machines differ, and busy ones most.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace rota::test {

/// Nanoseconds of CLOCK_MONOTONIC, which all processes share.
[[nodiscard]] inline long long mono_ns() {
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<long long>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

/// Nanoseconds of CPU time that this process has used.
[[nodiscard]] inline long long cpu_ns() {
    timespec t{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<long long>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

/// The middle one; of an even number the upper. `values` must not be empty.
[[nodiscard]] inline double quantile(std::vector<double> values, double which = 0.5) {
    if (values.empty()) throw std::runtime_error("nothing was measured");
    auto const last = static_cast<double>(values.size() - 1);
    auto const at = values.begin() + static_cast<std::ptrdiff_t>(which * last + 0.5);
    std::nth_element(values.begin(), at, values.end());
    return *at;
}

/// `--name value` among the arguments, or `otherwise`.
[[nodiscard]] inline std::string argument(int argc, char** argv, std::string_view name,
                                          std::string_view otherwise = {}) {
    for (int i = 1; i + 1 < argc; ++i) {
        if (argv[i] == name) return argv[i + 1];
    }
    return std::string{otherwise};
}

[[nodiscard]] inline unsigned long argument(int argc, char** argv, std::string_view name, unsigned long otherwise) {
    auto const text = argument(argc, argv, name);
    return text.empty() ? otherwise : std::strtoul(text.c_str(), nullptr, 10);
}

[[nodiscard]] inline bool has_argument(int argc, char** argv, std::string_view name) {
    return std::any_of(argv + 1, argv + argc, [&](std::string_view given) { return given == name; });
}

/// One line: what was measured, the figure, and the target that it is compared with.
enum class wanted { at_most, at_least };
inline void print_figure(std::string const& what, double figure, wanted direction, double target) {
    bool const met = direction == wanted::at_most ? figure <= target : figure >= target;
    std::printf("%-58s %9.3f   target %s %-7.3g %s\n", what.c_str(), figure,
                direction == wanted::at_most ? "<=" : ">=", target, met ? "met" : "MISSED");
}
inline void print_figure(std::string const& what, double figure) { std::printf("%-58s %9.3f\n", what.c_str(), figure); }

}  // namespace rota::test
