// What scheduling_node is asked to do: reads its command line, and checks it as a whole.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/core.h>

#include <rota/options.hpp>

namespace example {

inline constexpr std::string_view help = R"(usage: scheduling_node [NODE_ID] [options]

A node of a group that shares schedules through Redis: it registers schedule-0 to schedule-(N-1), takes part, and runs
whatever it owns. Start several, kill some, watch.

  NODE_ID              unique in the group; default: host name and process id
  --redis URL          host:port, redis://[user:password@]host[:port][/db] or unix://path
                       (default redis://localhost:6379)
  --prefix P           name of the group (default rota:)
  --heartbeat TIME     between two reports of a quiet node (default 1s)
  --lease TIME         how long leadership outlives its leader (default 3 heartbeats)
  --node-ttl TIME      silence after which a node counts as dead (default 3 heartbeats)
  --schedules N        how many schedules to register (default 12)
  --work TIME          how long a run takes (default 5ms)
  --period TIME        from one run of a schedule to its next (default 500ms)
  --threads N          how many runs go on at the same time (default 1)
  --capacity N         most schedules that this node takes (default: no limit)
  --zone Z             what fails together with this node, e.g. a rack: the leader spreads schedules evenly over zones
                       (default: the node is a zone of its own)
  --labels A,B,...     what schedules may require of this node
  --require A,B,...    the labels that the schedules require of their node; of those registered already they stay as
                       they are
  --threshold X        imbalance that the leader lets pass, as a fraction of the mean load (default 0.2)
  --handoff TIME       how long the run in hand may go on when its schedule is to move (default 30s)
  --async              do all of it on one thread: an event loop (rota::hiredis_async on rota::poll_loop) instead of
                       threads that wait (rota::hiredis_sync)
  --idle               own schedules, but run none
  --json               one JSON object per line on stdout instead of words (what is no event goes to stderr)
  --help               this text

TIME is a number and a unit: 500us, 5ms, 1s, 2m, 1h. Ctrl-C or SIGTERM: finishes the run in hand, leaves, and ends with
exit code 0; a second one ends it at once. Exit code 2: the command line is wrong; 1: it was refused or replaced.

SIGUSR1: drains the node. It hands all its schedules over, each once its run is done, is given no more, and stays a
member. The next SIGUSR1 ends that. The group remembers it by NODE_ID, so a restart does not.

Every JSON line has mono_us (CLOCK_MONOTONIC in microseconds), node (this one's id) and event:
  joined {incarnation}, suspended {why}, resumed, fenced, left
  draining, drained, undrained                drained: it owns nothing any more
  leadership {leader, term, previous}         leader and previous: a node id, or null for nobody
  membership {subject, change}                joined, left, died, superseded; told by the leader
  ownership {schedule, from, to, generation, reason}
      from and to: a node id, or null: nobody, or a node whose id this one has not heard of; which one it is then
      stands in from_incarnation or to_incarnation. generation is 0 where a schedule is just lost.
  run_started, run_finished {schedule, token, generation}, run_refused {schedule, why}
)";

struct settings {
    rota::options options{};
    std::string redis = "redis://localhost:6379";
    std::uint32_t schedules = 12;
    rota::microseconds work = std::chrono::milliseconds{5};
    rota::microseconds period = std::chrono::milliseconds{500};
    std::uint32_t threads = 1;
    std::vector<std::string> required_labels{};
    bool async = false;
    bool idle = false;
    bool json = false;
};

/// To be said, and to end with.
struct parting_words {
    int exit_code = 0;
    std::string text{};
};

namespace detail {

struct bad_usage {
    std::string what;
};

template <typename Number>
[[nodiscard]] bool parse_all(std::string_view text, Number& into) {
    auto const [end, failure] = std::from_chars(text.data(), text.data() + text.size(), into);
    return failure == std::errc{} && end == text.data() + text.size();
}

[[nodiscard]] inline rota::microseconds parse_duration(std::string_view option, std::string_view text) {
    constexpr std::array<std::pair<std::string_view, std::int64_t>, 5> units{
        {{"us", 1}, {"ms", 1'000}, {"s", 1'000'000}, {"m", 60'000'000}, {"h", 3'600'000'000}}};
    auto const digits = std::min(text.find_first_not_of("0123456789"), text.size());
    for (auto const& [unit, in_microseconds] : units) {
        std::int64_t count = 0;
        if (text.substr(digits) != unit || !parse_all(text.substr(0, digits), count)) continue;
        if (count <= std::numeric_limits<std::int64_t>::max() / in_microseconds) {
            return rota::microseconds{count * in_microseconds};
        }
    }
    throw bad_usage{fmt::format("{}: \"{}\" is no time (500us, 5ms, 1s, 2m, 1h)", option, text)};
}

// An interval of 0 is never meant. (To the library a lease or ttl of 0 means the default.)
[[nodiscard]] inline rota::microseconds parse_interval(std::string_view option, std::string_view text) {
    auto const value = parse_duration(option, text);
    if (value >= std::chrono::milliseconds{1}) return value;
    throw bad_usage{fmt::format("{}: is {}, must be 1ms or more", option, text)};
}

[[nodiscard]] inline std::uint32_t parse_count(std::string_view option, std::string_view text) {
    constexpr std::uint32_t most = 10'000'000;
    std::uint32_t count = 0;
    if (parse_all(text, count) && count <= most) return count;
    throw bad_usage{fmt::format("{}: \"{}\" is no number of 0 to {}", option, text, most)};
}

[[nodiscard]] inline std::uint32_t parse_threads(std::string_view option, std::string_view text) {
    constexpr std::uint32_t most = 1'000;
    auto const count = parse_count(option, text);
    if (count >= 1 && count <= most) return count;
    throw bad_usage{fmt::format("{}: is {}, must be 1 to {}", option, count, most)};
}

[[nodiscard]] inline std::vector<std::string> parse_list(std::string_view text) {
    std::vector<std::string> items;
    for (std::size_t from = 0; from <= text.size();) {
        auto const comma = std::min(text.find(',', from), text.size());
        items.emplace_back(text.substr(from, comma - from));
        from = comma + 1;
    }
    return items;
}

[[nodiscard]] inline double parse_fraction(std::string_view option, std::string_view text) {
    double value = 0;
    if (parse_all(text, value) && std::isfinite(value) && value >= 0) return value;
    throw bad_usage{fmt::format("{}: \"{}\" is no number of 0 or more", option, text)};
}

[[nodiscard]] inline std::string default_node_id() {
    std::array<char, 256> host{};
    if (::gethostname(host.data(), host.size() - 1) != 0) return fmt::format("node-{}", ::getpid());
    return fmt::format("{}-{}", host.data(), ::getpid());
}

// With a short ttl the library's own defaults would be too long: a node could not be sure of anything, or would lose it
// all by waiting for a single reply.
inline void fit_to_ttl(rota::options& o) {
    auto const filled = rota::with_defaults(o);
    auto const ttl = std::min(filled.node_ttl, filled.leader_lease);
    if (2 * o.safety_margin >= ttl) o.safety_margin = ttl / 10;
    o.operation_timeout = std::clamp<rota::microseconds>(ttl / 2, std::chrono::milliseconds{1}, o.operation_timeout);
}

// The options that have no value.
[[nodiscard]] inline bool* flag_of(std::string_view option, settings& asked) {
    if (option == "--async") return &asked.async;
    if (option == "--idle") return &asked.idle;
    if (option == "--json") return &asked.json;
    return nullptr;
}

[[nodiscard]] inline settings parse(int count, char const* const* arguments) {
    settings asked;
    for (int i = 1; i < count; ++i) {
        std::string_view const argument = arguments[i];
        if (argument.empty() || argument.front() != '-') {
            if (!asked.options.node_id.empty()) throw bad_usage{fmt::format("what is \"{}\"?", argument)};
            if (argument.empty()) throw bad_usage{"NODE_ID is empty"};
            asked.options.node_id = argument;
            continue;
        }
        auto const equals = std::min(argument.find('='), argument.size());
        auto const option = argument.substr(0, equals);
        if (auto* const flag = flag_of(option, asked)) {
            if (option != argument) throw bad_usage{fmt::format("{} takes no value", option)};
            *flag = true;
            continue;
        }
        // All others have a value: `--option value` or `--option=value`.
        auto const value = [&]() -> std::string_view {
            if (equals != argument.size()) return argument.substr(equals + 1);
            if (i + 1 == count) throw bad_usage{fmt::format("{}: the value is missing", option)};
            return arguments[++i];
        };
        if (option == "--redis") {
            asked.redis = value();
        } else if (option == "--prefix") {
            asked.options.key_prefix = value();
        } else if (option == "--heartbeat") {
            asked.options.heartbeat_interval = parse_interval(option, value());
        } else if (option == "--lease") {
            asked.options.leader_lease = parse_interval(option, value());
        } else if (option == "--node-ttl") {
            asked.options.node_ttl = parse_interval(option, value());
        } else if (option == "--schedules") {
            asked.schedules = parse_count(option, value());
        } else if (option == "--work") {
            asked.work = parse_duration(option, value());
        } else if (option == "--period") {
            asked.period = parse_interval(option, value());
        } else if (option == "--threads") {
            asked.threads = parse_threads(option, value());
        } else if (option == "--capacity") {
            asked.options.max_schedules_per_node = parse_count(option, value());
        } else if (option == "--zone") {
            asked.options.zone = value();
        } else if (option == "--labels") {
            asked.options.labels = parse_list(value());
        } else if (option == "--require") {
            asked.required_labels = parse_list(value());
        } else if (option == "--threshold") {
            asked.options.rebalance_threshold = parse_fraction(option, value());
        } else if (option == "--handoff") {
            asked.options.handoff_deadline = parse_duration(option, value());
        } else {
            throw bad_usage{fmt::format("there is no option {}", option)};
        }
    }
    if (asked.options.node_id.empty()) asked.options.node_id = default_node_id();
    fit_to_ttl(asked.options);
    if (auto valid = rota::validate(asked.options); !valid) throw bad_usage{valid.error().detail};
    return asked;
}

}  // namespace detail

[[nodiscard]] inline std::variant<settings, parting_words> read_command_line(int count, char const* const* arguments) {
    for (int i = 1; i < count; ++i) {
        if (std::string_view const a{arguments[i]}; a == "--help" || a == "-h")
            return parting_words{0, std::string{help}};
    }
    try {
        return detail::parse(count, arguments);
    } catch (detail::bad_usage const& bad) {
        return parting_words{2,
                             fmt::format("scheduling_node: {}\nscheduling_node --help lists all options\n", bad.what)};
    }
}

}  // namespace example
