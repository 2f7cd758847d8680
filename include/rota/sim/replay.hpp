// A run as a text: what it takes to see it again, what broke in it, and its trace hash. Written when a run fails, read
// back by replay(), and fit to be pasted into a test, where it says whether the same still breaks:
//
//   rota-replay 1
//   rota 0.1.0
//   setup standard
//   seed 7
//   nodes 3
//   schedules 4
//   length 42.5s
//   leader_lease 2s
//   fault at 12.5s cut_replies node 2 for 3.25s
//   broke one_leader at 14.203117s
//   trace 0123456789abcdef
//   end
//
// Settings that are not named have their defaults. Numbers mean the same to every compiler. What cannot be run as it was
// recorded is refused with words: another version of rota (its defaults, and what it draws from a seed, may differ;
// replay_settings::any_version runs it anyway), another setup, a text that is cut off or none at all.
#pragma once

#include <charconv>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "../result.hpp"
#include "../version.hpp"
#include "sweep.hpp"

namespace rota::sim {

/// A run, and what came of it.
struct recording {
    scenario run;
    std::string version = version_text;
    std::string setup = "standard";
    std::string invariant{};  ///< that broke; empty: none
    moment broke_at{};
    std::uint64_t trace_hash = 0;
};

[[nodiscard]] inline recording recording_of(failure const& f) {
    return {f.run, version_text, f.setup, f.broken.invariant, f.broken.at, f.broken.trace_hash};
}

namespace replay_text {

inline constexpr std::string_view first_line = "rota-replay 1";
inline constexpr std::size_t most_faults = 100'000;
inline constexpr std::size_t most_bytes = 1'000'000;

// Every setting of a run by its name, for writing and for reading. A seed is enough for whatever is not here.
template <typename Scenario, typename Visit>
void each_setting(Scenario& s, Visit&& visit) {
    auto& w = s.world;
    visit("clock_drift", w.clock_drift);
    visit("longest_loss", w.longest_loss);
    visit("restart_after", w.restart_after);
    visit("strategy", w.strategy);
    visit("network.least_delay", w.network.least_delay);
    visit("network.most_delay", w.network.most_delay);
    visit("work.period", w.work.period);
    visit("work.least", w.work.least);
    visit("work.most", w.work.most);
    visit("work.lock_ttl", w.work.lock_ttl);
    visit("work.names", w.work.names);
    visit("work.heeds_stop", w.work.heeds_stop);
    auto& o = w.options;
    visit("options.heartbeat_interval", o.heartbeat_interval);
    visit("options.node_ttl", o.node_ttl);
    visit("options.leader_lease", o.leader_lease);
    visit("options.operation_timeout", o.operation_timeout);
    visit("options.clock_drift", o.clock_drift);
    visit("options.safety_margin", o.safety_margin);
    visit("options.max_schedules_per_node", o.max_schedules_per_node);
    visit("options.auto_rebalance", o.auto_rebalance);
    visit("options.rebalance_threshold", o.rebalance_threshold);
    visit("options.handoff_deadline", o.handoff_deadline);
    visit("options.zone", o.zone);
    visit("options.planning_budget", o.planning_budget);
    visit("options.load_smoothing", o.load_smoothing);
    visit("options.load_floor", o.load_floor);
    visit("options.audit_interval", o.audit_interval);
    visit("options.on_conflict", o.on_conflict);
    visit("options.event_scope", o.event_scope);
    visit("options.jitter_seed", o.jitter_seed);
}

[[nodiscard]] inline std::string written(std::uint64_t n) { return fmt::format("{}", n); }
[[nodiscard]] inline std::string written(std::uint32_t n) { return fmt::format("{}", n); }
[[nodiscard]] inline std::string written(double n) { return fmt::format("{}", n); }  // the shortest that reads the same
[[nodiscard]] inline std::string written(bool yes) { return yes ? "yes" : "no"; }
[[nodiscard]] inline std::string written(microseconds d) { return seconds_in_words(d); }
[[nodiscard]] inline std::string written(std::string const& word) { return word.empty() ? "none" : word; }
[[nodiscard]] inline std::string written(conflict_policy p) {
    return p == conflict_policy::refuse ? "refuse" : "take_over";
}
[[nodiscard]] inline std::string written(event_scope s) { return s == event_scope::group ? "group" : "own"; }
template <typename T>
[[nodiscard]] std::string written(std::optional<T> const& n) {
    return n ? written(*n) : "none";
}

template <typename Number>
[[nodiscard]] bool read_number(std::string_view text, Number& into) {
    auto const [end, failed] = std::from_chars(text.data(), text.data() + text.size(), into);
    return failed == std::errc{} && end == text.data() + text.size();
}
[[nodiscard]] inline bool read(std::string_view text, std::uint64_t& into) { return read_number(text, into); }
[[nodiscard]] inline bool read(std::string_view text, std::uint32_t& into) {
    return read_number(text, into) && into <= 10'000'000;
}
[[nodiscard]] inline bool read(std::string_view text, double& into) { return read_number(text, into); }
[[nodiscard]] inline bool read(std::string_view text, bool& into) {
    into = text == "yes";
    return into || text == "no";
}
[[nodiscard]] inline bool read(std::string_view text, microseconds& into) {
    auto const time = plan_text::seconds(text);
    if (!time || *time < microseconds{} || *time > std::chrono::hours{24 * 366}) return false;
    into = *time;
    return true;
}
[[nodiscard]] inline bool read(std::string_view text, std::string& into) {
    if (text.empty() || text.size() > max_label_size || text.find_first_of(" \t") != text.npos) return false;
    into = text == "none" ? std::string_view{} : text;
    return true;
}
[[nodiscard]] inline bool read(std::string_view text, conflict_policy& into) {
    into = text == "refuse" ? conflict_policy::refuse : conflict_policy::take_over;
    return text == written(into);
}
[[nodiscard]] inline bool read(std::string_view text, event_scope& into) {
    into = text == "group" ? event_scope::group : event_scope::own;
    return text == written(into);
}
template <typename T>
[[nodiscard]] bool read(std::string_view text, std::optional<T>& into) {
    if (text == "none") return into.reset(), true;
    return read(text, into.emplace());
}

[[nodiscard]] inline std::string hex(std::vector<std::uint8_t> const& bytes) {
    std::string text;
    for (auto b : bytes) text += fmt::format("{:02x}", b);
    return text;
}
[[nodiscard]] inline bool read_hex(std::string_view text, std::vector<std::uint8_t>& into) {
    if (text.empty() || text.size() % 2 != 0 || text.size() > 2 * most_bytes) return false;
    into.clear();
    for (std::size_t i = 0; i < text.size(); i += 2) {
        auto const* const first = text.data() + i;
        std::uint8_t byte = 0;
        auto const [end, failed] = std::from_chars(first, first + 2, byte, 16);
        if (failed != std::errc{} || end != first + 2) return false;
        into.push_back(byte);
    }
    return true;
}

// What a stranger's text may hold goes into messages cut short and without bytes that a terminal acts on.
[[nodiscard]] inline std::string quoted(std::string_view text) { return rota::detail::in_words(std::string{text}); }

[[nodiscard]] inline std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
    return text;
}

class reader {
public:
    [[nodiscard]] result<recording> read_all(std::string_view text) {
        while (!text.empty() && wrong_.empty()) {
            auto const end = std::min(text.find('\n'), text.size());
            ++number_;
            if (auto const line = trimmed(text.substr(0, end)); !line.empty() && line.front() != '#') read_line(line);
            text.remove_prefix(std::min(end + 1, text.size()));
        }
        if (!wrong_.empty()) return {errc::invalid_argument, std::move(wrong_)};
        auto refused = [](std::string why) {
            return result<recording>{errc::invalid_argument, "the replay file " + std::move(why)};
        };
        if (!begun_) return refused("is empty");
        if (!ended_) return refused("has no line \"end\": it is cut off");
        if (!has_trace_) return refused("does not say what its trace is");
        if (r_.run.world.nodes == 0 || r_.run.world.nodes > 10'000) {
            return refused(fmt::format("has {} nodes, must have 1 to 10000", r_.run.world.nodes));
        }
        if (!(r_.run.world.clock_drift >= 0 && r_.run.world.clock_drift <= 0.1)) {
            return refused(fmt::format("has clock_drift {}, must be 0 .. 0.1", r_.run.world.clock_drift));
        }
        if (r_.run.world.work.lock_ttl < std::chrono::milliseconds{1}) return refused("has work.lock_ttl under 1 ms");
        auto o = r_.run.world.options;
        o.node_id = "node";
        if (auto valid = validate(o); !valid) return refused("has options that rota refuses: " + valid.error().detail);
        return std::move(r_);
    }

private:
    void wrong(std::string why) { wrong_ = fmt::format("line {} of the replay file: {}", number_, why); }

    void read_line(std::string_view line) {
        if (!begun_) {
            begun_ = line == first_line;
            if (begun_) return;
            return wrong(
                line.starts_with("rota-replay ")
                    ? fmt::format("it has the format {}; this version of rota reads \"{}\"", quoted(line), first_line)
                    : fmt::format("this is no replay file: it begins with {}, not with \"{}\"", quoted(line),
                                  first_line));
        }
        auto const space = std::min(line.find(' '), line.size());
        auto const name = line.substr(0, space);
        auto const value = trimmed(line.substr(space));
        if (ended_) return wrong(fmt::format("{} after the line \"end\"", quoted(line)));
        if (name != "fault" && !given_.emplace(name).second) {
            return wrong(fmt::format("there was a line {} before", quoted(name)));
        }
        if (name == "end") {
            ended_ = true;
        } else if (name == "rota") {
            r_.version = value;
        } else if (name == "setup") {
            r_.setup = value;
        } else if (name == "fault") {
            auto const f = fault_from(value);
            if (!f) return wrong(fmt::format("{} is no fault", quoted(value)));
            if (!makes_sense(*f)) return wrong(fmt::format("{} is out of range", quoted(value)));
            if (r_.run.world.faults.size() == most_faults) return wrong("too many faults");
            r_.run.world.faults.push_back(*f);
        } else if (name == "bytes") {
            if (!read_hex(value, r_.run.bytes)) wrong("bytes: these are no bytes in hexadecimal");
        } else if (name == "broke") {
            plan_text::words words{value};
            r_.invariant = words.next();
            bool const at = words.next() == "at";
            auto const when = plan_text::seconds(words.next());
            if (!at || !when || !words.next().empty()) return wrong("expected: broke INVARIANT at TIME");
            r_.broke_at = moment{*when};
        } else if (name == "trace") {
            auto const [end, failed] = std::from_chars(value.data(), value.data() + value.size(), r_.trace_hash, 16);
            has_trace_ = failed == std::errc{} && value.size() == 16 && end == value.data() + value.size();
            if (!has_trace_) wrong(fmt::format("trace: {} is no hash of 16 hexadecimal digits", quoted(value)));
        } else {
            read_setting(name, value);
        }
    }

    void read_setting(std::string_view name, std::string_view value) {
        bool known = false, good = false;
        auto look = [&](std::string_view its_name, auto& into) {
            if (its_name != name) return;
            known = true;
            good = read(value, into);
        };
        look("seed", r_.run.world.seed);
        look("nodes", r_.run.world.nodes);
        look("schedules", r_.run.schedules);
        look("length", r_.run.length);
        each_setting(r_.run, look);
        if (!known) return wrong(fmt::format("there is no setting {}", quoted(name)));
        if (!good) wrong(fmt::format("{}: {} is no such value, or out of range", name, quoted(value)));
    }

    recording r_;
    std::set<std::string, std::less<>> given_;  // names of lines so far
    std::string wrong_;
    std::size_t number_ = 0;
    bool begun_ = false;
    bool ended_ = false;
    bool has_trace_ = false;
};

}  // namespace replay_text

/// The replay file of a run.
[[nodiscard]] inline std::string to_text(recording const& r) {
    using namespace replay_text;
    auto text =
        fmt::format("{}\nrota {}\nsetup {}\nseed {}\nnodes {}\nschedules {}\nlength {}\n", first_line, r.version,
                    r.setup, r.run.world.seed, r.run.world.nodes, r.run.schedules, written(r.run.length));
    std::vector<std::string> defaults;
    scenario const nothing_set;
    each_setting(nothing_set, [&](std::string_view, auto const& value) { defaults.push_back(written(value)); });
    std::size_t n = 0;
    each_setting(r.run, [&](std::string_view name, auto const& value) {
        if (auto words = written(value); words != defaults[n++]) text += fmt::format("{} {}\n", name, words);
    });
    if (!r.run.bytes.empty()) text += fmt::format("bytes {}\n", hex(r.run.bytes));
    for (auto const& f : r.run.world.faults) text += "fault " + to_text(f) + "\n";
    if (!r.invariant.empty()) text += fmt::format("broke {} at {}\n", r.invariant, in_words(r.broke_at));
    text += fmt::format("trace {:016x}\nend\n", r.trace_hash);
    return text;
}

/// Reads a replay file. The error (invalid_argument) says which line is wrong, and what is wrong with it.
[[nodiscard]] inline result<recording> recording_from(std::string_view text) {
    return replay_text::reader{}.read_all(text);
}

/// What a replay came to.
struct replayed {
    recording recorded;
    std::optional<broken_invariant> broken;  ///< with the last events; none: nothing breaks (any more)
    std::uint64_t trace_hash = 0;
    bool as_recorded = false;  ///< the same broke (or nothing), and the trace is the same
    std::string words;         ///< all of this as a sentence
};

struct replay_settings {
    sim::setup setup{};
    bool any_version = false;  ///< run it whichever version recorded it: for tests that outlive releases
};

/// Runs it again. A text that cannot be run as it was recorded gives invalid_argument, and what differs in words.
///
///   auto again = sim::replay(text);
///   REQUIRE(again);              // it could be run
///   CHECK_FALSE(again->broken);  // and nothing breaks any more
template <typename World = world>
[[nodiscard]] result<replayed> replay(std::string_view text, replay_settings const& with = {}) {
    auto read = recording_from(text);
    if (!read) return read.error();
    auto& recorded = *read;
    if (recorded.version != version_text && !with.any_version) {
        return {errc::invalid_argument,
                fmt::format("the replay file is of rota {}, this is rota {}: what it draws from a seed may differ "
                            "(replay_settings::any_version runs it all the same)",
                            replay_text::quoted(recorded.version), version_text)};
    }
    if (recorded.setup != with.setup.name) {
        return {errc::invalid_argument,
                fmt::format("the replay file is of a run with the setup {}, this one is \"{}\": give replay() the same",
                            replay_text::quoted(recorded.setup), with.setup.name)};
    }
    replayed r{std::move(recorded), std::nullopt, 0, false, {}};
    try {
        r.trace_hash = run_scenario<World>(r.recorded.run, true, with.setup);
    } catch (broken_invariant const& e) {
        r.trace_hash = e.trace_hash;
        r.broken = e;
    } catch (std::logic_error const& e) {
        return {errc::invalid_argument, fmt::format("the replay file asks for what cannot be: {}", e.what())};
    }
    auto const& was = r.recorded;
    auto const now = r.broken ? r.broken->invariant + " breaks at " + in_words(r.broken->at) : "nothing breaks";
    bool const same_end =
        r.broken ? r.broken->invariant == was.invariant && r.broken->at == was.broke_at : was.invariant.empty();
    r.as_recorded = same_end && r.trace_hash == was.trace_hash;
    if (r.as_recorded) {
        r.words = now + ", as recorded";
    } else if (same_end) {
        r.words = now + ", as recorded, but the way there is another";
    } else if (was.invariant.empty()) {
        r.words = now + "; nothing did when it was recorded";
    } else {
        r.words = fmt::format("{}; when it was recorded, {} broke at {}", now, was.invariant, in_words(was.broke_at));
    }
    return r;
}

/// What people read of a failing run: what broke, the last events, the shrunk plan, and the text to replay it by.
[[nodiscard]] inline std::string describe(failure const& f) {
    return fmt::format("{}  to see it again, sim::replay this text:\n\n{}", f.broken.what(), to_text(recording_of(f)));
}

}  // namespace rota::sim
