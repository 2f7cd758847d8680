// What simulate says: progress on stderr while it lasts, each failure, and a summary, as words or as JSON.
#pragma once

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include <rota/sim/replay.hpp>

#include "command_line.hpp"

namespace example {

[[nodiscard]] inline std::string json_text(std::string_view words) {
    std::string text = "\"";
    for (char c : words) {
        auto const byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            text += {'\\', c};
        } else if (c == '\n') {
            text += "\\n";
        } else if (byte < 0x20 || byte > 0x7e) {
            text += fmt::format("\\u{:04x}", byte);
        } else {
            text += c;
        }
    }
    return text + '"';
}

/// 1234567 as 1,234,567.
[[nodiscard]] inline std::string grouped(double number) {
    auto text = fmt::format("{:.0f}", number);
    for (auto at = static_cast<int>(text.size()) - 3; at > 0; at -= 3)
        text.insert(static_cast<std::size_t>(at), 1, ',');
    return text;
}
[[nodiscard]] inline std::string grouped(std::uint64_t number) { return grouped(static_cast<double>(number)); }

[[nodiscard]] inline std::string time_in_words(double seconds) {
    if (seconds < 0.01) return fmt::format("{:.1f} ms", seconds * 1e3);
    if (seconds < 1) return fmt::format("{:.0f} ms", seconds * 1e3);
    return fmt::format("{:.1f} s", seconds);
}

/// How far it is: only when it lasts, no more often than anybody can read, and on a terminal in one line.
class progress {
public:
    void tell(std::uint64_t done, std::uint64_t all) {
        auto const now = clock::now();
        if (now < next_) return;
        next_ = now + (is_terminal_ ? std::chrono::milliseconds{500} : std::chrono::seconds{10});
        auto const seconds = std::chrono::duration<double>(now - start_).count();
        auto const rate = static_cast<double>(done) / seconds;
        auto const left = rate > 0 ? static_cast<double>(all - done) / rate : 0.0;
        auto line = fmt::format("{:3.0f} %  {} of {} seeds, {:.1f} a second, about {:.0f} s left",
                                100.0 * static_cast<double>(done) / static_cast<double>(all), done, all, rate, left);
        if (!is_terminal_) {
            fmt::print(stderr, "{}\n", line);
            return;
        }
        line.resize(std::max(line.size(), longest_), ' ');
        longest_ = line.size();
        fmt::print(stderr, "\r{}", line);
        std::fflush(stderr);
    }
    void end() {
        if (longest_ > 0) fmt::print(stderr, "\r{}\r", std::string(longest_, ' '));
        longest_ = 0;
    }

private:
    using clock = std::chrono::steady_clock;
    bool const is_terminal_ = ::isatty(STDERR_FILENO) == 1;
    clock::time_point const start_ = clock::now();
    clock::time_point next_ = start_ + std::chrono::seconds{2};
    std::size_t longest_ = 0;
};

/// What a sweep came to.
struct outcome {
    rota::sim::tally seen{};
    std::uint64_t trace = 0;  ///< of all traces, in order of the seeds
    std::uint64_t seeds = 0;  ///< that were asked for
    double seconds = 0;
    double cpu_seconds = 0;
    std::optional<std::uint64_t> broken_seed{};
    bool interrupted = false;
};

inline void print_run(std::uint64_t seed, std::uint64_t trace, std::uint64_t events) {
    fmt::print("{{\"event\":\"run\",\"seed\":{},\"trace\":\"{:016x}\",\"events\":{}}}\n", seed, trace, events);
}

inline void print_failure(settings const& asked, rota::sim::failure const& f, std::string const& file) {
    auto const seed = f.run.world.seed;
    if (asked.json) {
        fmt::print(
            "{{\"event\":\"failure\",\"seed\":{},\"invariant\":{},\"at\":{},\"words\":{},\"faults\":{},"
            "\"trace\":\"{:016x}\",\"replay\":{},\"replay_file\":{}}}\n",
            seed, json_text(f.broken.invariant), json_text(rota::sim::in_words(f.broken.at)), json_text(f.broken.words),
            f.run.world.faults.size(), f.broken.trace_hash, json_text(to_text(rota::sim::recording_of(f))),
            json_text(file));
        return;
    }
    fmt::print("{}\n", rota::sim::describe(f));
    if (!file.empty()) fmt::print("  which is in {0}; simulate --replay {0} --svg run.svg draws it\n\n", file);
}

/// "name count" for each of many, in lines of a readable length.
class name_list {
public:
    void add(std::string_view name, std::uint64_t count) {
        if (count == 0) return;
        auto const one = fmt::format("{} {}", name, grouped(count));
        auto const line = text_.size() - (text_.rfind('\n') + 1);  // npos + 1 is 0
        if (!text_.empty()) text_ += line + one.size() > 100 ? ",\n    " : ", ";
        text_ += one;
    }
    [[nodiscard]] std::string text() const { return text_.empty() ? "none" : text_; }

private:
    std::string text_;
};

/// How often there was each kind of fault, and of rare turn: `use(name, count)`.
template <typename Use>
void each_fault(rota::sim::tally const& seen, Use use) {
    for (std::size_t k = 0; k < rota::sim::fault_kinds; ++k) {
        use(name_of(static_cast<rota::sim::fault_kind>(k)), seen.faults[k]);
    }
}
template <typename Use>
void each_turn(rota::sim::tally const& seen, Use use) {
    for (std::size_t k = 0; k < rota::sim::sights; ++k) {
        auto const sight = static_cast<rota::sim::sight>(k);
        use(name_of(sight), seen.turns.count(sight));
    }
}

inline void print_summary(settings const& asked, outcome const& o) {
    auto const& seen = o.seen;
    auto const node_seconds = static_cast<double>(seen.node_time.count()) / 1e6;
    if (asked.json) {
        std::string faults, turns;
        auto const into = [](std::string& text) {
            return [&text](std::string_view name, std::uint64_t count) {
                text += fmt::format("{}\"{}\":{}", text.empty() ? "" : ",", name, count);
            };
        };
        each_fault(seen, into(faults));
        each_turn(seen, into(turns));
        fmt::print(
            "{{\"event\":\"summary\",\"failed\":{},\"interrupted\":{},\"runs\":{},\"seeds\":{},\"events\":{},"
            "\"requests\":{},\"processes\":{},\"handler_runs\":{},\"node_seconds\":{:.0f},\"seconds\":{:.3f},"
            "\"cpu_seconds\":{:.3f},\"trace\":\"{:016x}\",\"faults\":{{{}}},\"sometimes\":{{{}}}}}\n",
            o.broken_seed.has_value(), o.interrupted, seen.runs, o.seeds, seen.events, seen.requests, seen.processes,
            seen.work, node_seconds, o.seconds, o.cpu_seconds, o.trace, faults, turns);
        return;
    }
    fmt::print("{}; {} of {} seeds run{}\n",
               o.broken_seed ? fmt::format("seed {} broke", *o.broken_seed) : "nothing broke", seen.runs, o.seeds,
               o.interrupted ? " (interrupted)" : "");
    fmt::print("  {} node-seconds in {}, {} per CPU second\n", grouped(node_seconds), time_in_words(o.seconds),
               grouped(o.cpu_seconds > 0 ? node_seconds / o.cpu_seconds : 0.0));
    fmt::print("  {} events, {} requests, {} processes, {} handler runs\n", grouped(seen.events),
               grouped(seen.requests), grouped(seen.processes), grouped(seen.work));
    name_list faults, turns;
    each_fault(seen, [&](std::string_view name, std::uint64_t count) { faults.add(name, count); });
    each_turn(seen, [&](std::string_view name, std::uint64_t count) { turns.add(name, count); });
    fmt::print("  faults: {}\n  sometimes: {}\n", faults.text(), turns.text());
    auto const never = seen.turns.missing(asked.sweep.kinds, seen.work > 0);
    if (!never.empty()) fmt::print("  never: {}\n", never);
    fmt::print("  trace {:016x}\n", o.trace);
}

}  // namespace example
