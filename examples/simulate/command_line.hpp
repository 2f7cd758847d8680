// What simulate is asked to do: reads its command line, and checks it as a whole.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <variant>

#include <fmt/core.h>

#include <rota/sim/faults.hpp>
#include <rota/sim/sweep.hpp>

namespace example {

inline constexpr std::string_view help = R"(usage: simulate [options]

Runs groups of rota nodes in virtual time, one per seed, with faults drawn from the seed, and checks every invariant after
every event. What breaks is shrunk to the faults that it takes, and written to a file that runs it again.

  --seeds A..B       which seeds to run; N alone: just that one (default 1..200)
  --nodes N          so many nodes (default: 1 to 5, drawn from the seed)
  --schedules N      so many schedules (default: 0 to 30, drawn from the seed)
  --minutes M        of simulated time with faults, per seed (default 5); then the group must come to rest
  --faults LIST      which kinds of fault, separated by commas: names (--help-faults), `promised` (all that rota's promises
                     stand up to), `all` (also a server that loses data or whose clock steps), `none`; with `swarm` each
                     seed has some of them only (default swarm, which alone means swarm,promised)
  --jobs J           threads, which share nothing (default: one per processor)
  --replay FILE      run again what such a file says, and nothing else: with --svg, --json, --any-version or --plant only
  --replay-to FILE   where to write it when something breaks (default rota-replay-SEED.txt)
  --any-version      replay a file of another version of rota too
  --svg FILE         draw the run that failed, or was replayed; if nothing fails, the first seed's
  --plant BUG        plant a bug (a replay plants what its file says), to see what a failure looks like: lease_from_reply, margin_ignored, token_not_minted,
                     adopt_any_term, reap_early, join_inherits, acquire_any_owner, release_any_owner, stale_connection
  --json             one JSON object per line on stdout: run {seed, trace, events}, failure {...}, summary {...}
  --help             this text
  --help-faults      the kinds of fault

Exit code 0: nothing broke; 1: something did; 2: the command line or the file is wrong; 130: ended by Ctrl-C, after the
runs in hand and a summary of what was done (a second Ctrl-C ends it at once).
)";

struct settings {
    std::uint64_t first_seed = 1;
    std::uint64_t last_seed = 200;
    rota::sim::sweep_settings sweep{};
    unsigned jobs = std::max(std::thread::hardware_concurrency(), 1u);
    std::string replay{};
    std::string replay_to{};
    std::string svg{};
    std::string plant{};
    bool any_version = false;
    bool json = false;
};

/// To be said, and to end with.
struct parting_words {
    int exit_code = 0;
    std::string text{};
};

namespace detail {

namespace sim = rota::sim;

struct bad_usage {
    std::string what;
};

template <typename Number>
[[nodiscard]] bool parse_all(std::string_view text, Number& into) {
    auto const [end, failure] = std::from_chars(text.data(), text.data() + text.size(), into);
    return failure == std::errc{} && end == text.data() + text.size();
}

[[nodiscard]] inline std::uint32_t parse_count(std::string_view option, std::string_view text, std::uint32_t least,
                                               std::uint32_t most) {
    std::uint32_t count = 0;
    if (parse_all(text, count) && count >= least && count <= most) return count;
    throw bad_usage{fmt::format("{}: \"{}\" is no number of {} to {}", option, text, least, most)};
}

inline void parse_seeds(std::string_view text, settings& into) {
    auto const dots = text.find("..");
    bool good = parse_all(text.substr(0, dots), into.first_seed);
    into.last_seed = into.first_seed;
    if (dots != std::string_view::npos) good = good && parse_all(text.substr(dots + 2), into.last_seed);
    if (!good) throw bad_usage{fmt::format("--seeds: \"{}\" is not A..B", text)};
    if (into.last_seed < into.first_seed) throw bad_usage{fmt::format("--seeds: {} holds no seed", text)};
}

[[nodiscard]] inline rota::microseconds parse_minutes(std::string_view text) {
    double minutes = 0;
    if (!parse_all(text, minutes) || !std::isfinite(minutes) || minutes < 0 || minutes > 100'000) {
        throw bad_usage{fmt::format("--minutes: \"{}\" is no number of 0 to 100000", text)};
    }
    return rota::microseconds{static_cast<std::int64_t>(minutes * 60e6)};
}

inline void parse_faults(std::string_view text, sim::sweep_settings& into) {
    into.kinds = 0;
    into.swarm = false;
    bool none = false;
    for (auto rest = text; !rest.empty();) {
        auto const end = std::min(rest.find(','), rest.size());
        auto const name = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        sim::fault_set kinds = 0;
        for (std::size_t k = 0; k < sim::fault_kinds; ++k) {
            if (auto const kind = static_cast<sim::fault_kind>(k); sim::name_of(kind) == name) kinds = sim::bit(kind);
        }
        if (name == "promised") kinds = sim::promised_kinds;
        if (name == "all") kinds = sim::every_kind;
        if (name == "swarm") into.swarm = true;
        if (name == "none") none = true;
        if (kinds == 0 && name != "swarm" && name != "none") {
            throw bad_usage{fmt::format("--faults: there is no fault \"{}\"; --help-faults lists them", name)};
        }
        into.kinds |= kinds;
    }
    if (none && (into.kinds != 0 || into.swarm)) throw bad_usage{"--faults: none, and others?"};
    if (text.empty()) throw bad_usage{"--faults: which?"};
    if (into.swarm && into.kinds == 0) into.kinds = sim::promised_kinds;
}

[[nodiscard]] inline settings parse(int count, char const* const* arguments) {
    settings asked;
    std::string_view of_a_sweep;  // an option that makes no sense for a replay
    for (int i = 1; i < count; ++i) {
        std::string_view const argument = arguments[i];
        auto const equals = std::min(argument.find('='), argument.size());
        auto const option = argument.substr(0, equals);
        if (option == "--json" || option == "--any-version") {
            if (option != argument) throw bad_usage{fmt::format("{} takes no value", option)};
            (option == "--json" ? asked.json : asked.any_version) = true;
            continue;
        }
        for (std::string_view each :
             {"--seeds", "--nodes", "--schedules", "--minutes", "--faults", "--jobs", "--replay-to"}) {
            if (option == each) of_a_sweep = each;
        }
        // All others have a value: `--option value` or `--option=value`.
        auto const value = [&]() -> std::string_view {
            if (equals != argument.size()) return argument.substr(equals + 1);
            if (i + 1 == count) throw bad_usage{fmt::format("{}: the value is missing", option)};
            return arguments[++i];
        };
        auto const file = [&]() -> std::string {
            std::string name{value()};
            if (name.empty()) throw bad_usage{fmt::format("{}: the name of the file is empty", option)};
            return name;
        };
        if (option == "--seeds") {
            parse_seeds(value(), asked);
        } else if (option == "--nodes") {
            asked.sweep.nodes = parse_count(option, value(), 1, 1'000);
        } else if (option == "--schedules") {
            asked.sweep.schedules = parse_count(option, value(), 0, 1'000'000);
        } else if (option == "--minutes") {
            asked.sweep.faults_for = parse_minutes(value());
        } else if (option == "--faults") {
            parse_faults(value(), asked.sweep);
        } else if (option == "--jobs") {
            asked.jobs = parse_count(option, value(), 1, 1'000);
        } else if (option == "--replay") {
            asked.replay = file();
        } else if (option == "--replay-to") {
            asked.replay_to = file();
        } else if (option == "--svg") {
            asked.svg = file();
        } else if (option == "--plant") {
            asked.plant = value();
        } else if (!argument.empty() && argument.front() == '-') {
            throw bad_usage{fmt::format("there is no option {}", option)};
        } else {
            throw bad_usage{fmt::format("what is \"{}\"?", argument)};
        }
    }
    if (!asked.replay.empty() && !of_a_sweep.empty()) {
        throw bad_usage{fmt::format("--replay runs what its file says: it does not go with {}", of_a_sweep)};
    }
    return asked;
}

[[nodiscard]] inline std::string kinds_of_fault() {
    std::string text = "what rota's promises stand up to:\n";
    for (std::size_t k = 0; k < sim::fault_kinds; ++k) {
        auto const kind = static_cast<sim::fault_kind>(k);
        if (k > 0 && !sim::within_promises(kind) && sim::within_promises(static_cast<sim::fault_kind>(k - 1))) {
            text += "what they do not; tokens must protect even then:\n";
        }
        text += fmt::format("  {}\n", sim::name_of(kind));
    }
    return text;
}

}  // namespace detail

[[nodiscard]] inline std::variant<settings, parting_words> read_command_line(int count, char const* const* arguments) {
    for (int i = 1; i < count; ++i) {
        if (std::string_view const a{arguments[i]}; a == "--help" || a == "-h")
            return parting_words{0, std::string{help}};
        if (std::string_view{arguments[i]} == "--help-faults") return parting_words{0, detail::kinds_of_fault()};
    }
    try {
        return detail::parse(count, arguments);
    } catch (detail::bad_usage const& bad) {
        return parting_words{2, fmt::format("simulate: {}\nsimulate --help lists all options\n", bad.what)};
    }
}

}  // namespace example
