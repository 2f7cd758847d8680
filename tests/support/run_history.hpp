// What several processes of `scheduling_node --json` did, and whether it was sound.
//
// A run_history is given the lines of all nodes, and is told what the test did to them (killed, paused). It then looks
// for what must never happen: a run that overlaps an earlier one whose holder was not out of contact, a token that does
// not rise, a run on an ownership that is somebody else's by then, a run of a node that is out. What must happen in time
// after a kill, a pause or a leave is asked for separately. Times are CLOCK_MONOTONIC, one clock for all processes of a
// machine; `run_finished` must be stamped before the lock is released, `run_started` after it was taken.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json_line.hpp"

namespace rota::test {

/// A point of CLOCK_MONOTONIC, as `mono_us` has it.
using moment = std::chrono::microseconds;

[[nodiscard]] inline moment monotonic_now() {
    return std::chrono::duration_cast<moment>(std::chrono::steady_clock::now().time_since_epoch());
}

enum class violation_kind {
    overlap,              ///< two runs at once, and the earlier one's token was not superseded or its holder went on
    unexplained_overlap,  ///< two runs at once, the earlier holder being neither gone nor out of contact
    token_not_rising,     ///< a later run of a schedule has no higher token
    stale_run,            ///< started on an ownership that was already superseded
    shared_generation,    ///< one ownership, two owners
    shared_term,          ///< one term, two leaders
    run_while_out,        ///< started before `joined`, while suspended, or after `fenced` or `left`
    never_finished,       ///< started by a node that nothing happened to, and no `run_finished`
    finished_twice,       ///< `run_finished` without a run that was going on
    not_run_again,        ///< no run in time after its node was gone
    no_new_owner,         ///< no other owner in time after its node left
    pause_unnoticed,      ///< a node woke after a pause, and reported neither `suspended` nor `fenced`
};

[[nodiscard]] inline std::string_view name_of(violation_kind kind);

struct violation {
    violation_kind kind{};
    std::string what;

    friend std::ostream& operator<<(std::ostream& out, violation const& v) {
        return out << name_of(v.kind) << ": " << v.what;
    }
};

struct run {
    std::string schedule{};
    std::string node{};
    std::uint64_t token = 0;
    std::uint64_t generation = 0;
    moment started{};
    std::optional<moment> finished{};
};

/// Who leads: the holder of the highest term seen.
struct leadership {
    std::string leader{};
    std::uint64_t term = 0;
};

class run_history {
public:
    /// Adds a line of a node; the lines of one node in their order. Throws json_error if it is none.
    void add(std::string_view line);

    /// The node was sent SIGKILL then.
    void killed(std::string const& node, moment at) { killed_[node] = at; }

    /// The node was sent SIGSTOP and SIGCONT then.
    void paused(std::string const& node, moment from, moment to) { pauses_.push_back({node, from, to}); }

    /// What must never have happened, in all that was added. Call it when all nodes have ended, so that none is in the
    /// middle of a run.
    [[nodiscard]] std::vector<violation> check() const;

    /// Each of the schedules was started in (after, after + within] by another node than `gone`.
    [[nodiscard]] std::vector<violation> check_run_again(std::set<std::string> const& schedules,
                                                         std::string const& gone, moment after, moment within) const;

    /// By `within` after the node's `left`, each of the schedules had an owner that was neither this node nor killed nor
    /// itself had left.
    [[nodiscard]] std::vector<violation> check_new_owners(std::set<std::string> const& schedules,
                                                          std::string const& node, moment within) const;

    /// After each pause the node reported `suspended` or `fenced`, and started nothing before that.
    [[nodiscard]] std::vector<violation> check_pauses() const;

    [[nodiscard]] std::vector<run> const& runs() const { return runs_; }
    [[nodiscard]] std::optional<leadership> leader() const;

    /// The owner of each schedule as far as it is known: of its highest generation, at the end or by a time.
    [[nodiscard]] std::map<std::string, std::string> owners(moment by = moment::max()) const;

    /// How many schedules have a known owner.
    [[nodiscard]] std::size_t owned() const { return owners_.size(); }

    /// When the node first, or last, said this; nothing if it never did.
    [[nodiscard]] std::optional<moment> first(std::string_view node, std::string_view event) const;
    [[nodiscard]] std::optional<moment> last(std::string_view node, std::string_view event) const;

private:
    /// `joined`, `suspended`, `resumed`, `fenced` or `left`.
    struct standing_line {
        moment at;
        std::string event;
    };
    struct node_pause {
        std::string node;
        moment from;
        moment to;
    };
    /// That this ownership exists, and since when at the latest.
    struct known_owner {
        std::string owner;
        moment known_since;
    };

    void learn_owner(std::string const& schedule, std::uint64_t generation, std::string const& owner, moment at);
    void finish(std::string const& node, json_value const& line, moment at);

    [[nodiscard]] std::map<std::string, std::vector<run>> runs_by_schedule() const;
    [[nodiscard]] moment end_of(run const& each) const;
    [[nodiscard]] moment next_run_after(run const& each) const;
    [[nodiscard]] std::optional<moment> said_it_is_out(run const& each) const;
    [[nodiscard]] bool went_out(run const& each) const;
    [[nodiscard]] std::string describe(run const& each) const;
    [[nodiscard]] std::string describe(moment at) const;

    void check_order(std::vector<run> const& runs, std::vector<violation>& found) const;
    void check_overlap(run const& earlier, run const& later, std::vector<run> const& all,
                       std::vector<violation>& found) const;
    void check_fresh(run const& each, std::vector<violation>& found) const;
    void check_standing(run const& each, std::vector<violation>& found) const;

    std::vector<run> runs_;
    std::map<std::string, std::vector<standing_line>, std::less<>> standing_;
    std::map<std::string, std::map<std::uint64_t, known_owner>> owners_;
    std::map<std::uint64_t, std::string> leaders_;
    std::map<std::string, moment> killed_;
    std::vector<node_pause> pauses_;
    std::vector<violation> found_when_added_;
    std::optional<moment> first_line_;
};

inline std::string_view name_of(violation_kind kind) {
    switch (kind) {
        case violation_kind::overlap: return "overlap";
        case violation_kind::unexplained_overlap: return "unexplained overlap";
        case violation_kind::token_not_rising: return "token does not rise";
        case violation_kind::stale_run: return "run on a stale ownership";
        case violation_kind::shared_generation: return "one generation, two owners";
        case violation_kind::shared_term: return "one term, two leaders";
        case violation_kind::run_while_out: return "run of a node that is out";
        case violation_kind::never_finished: return "run without an end";
        case violation_kind::finished_twice: return "end without a run";
        case violation_kind::not_run_again: return "not run again in time";
        case violation_kind::no_new_owner: return "no new owner in time";
        case violation_kind::pause_unnoticed: return "pause unnoticed";
    }
    return "?";
}

// --- taking lines in --------------------------------------------------------------------------------------------------

namespace detail {

inline std::uint64_t fencing_token_in(json_value const& line, std::string_view name) {
    auto const value = line.at(name).integer();
    if (value < 0) throw json_error("\"" + std::string{name} + "\" is negative");
    return static_cast<std::uint64_t>(value);
}

/// A node's id; empty for null, which stands for nobody.
inline std::string node_in(json_value const& line, std::string_view name) {
    auto const& value = line.at(name);
    return value.is_null() ? std::string{} : value.string();
}

}  // namespace detail

inline void run_history::add(std::string_view text) {
    auto const line = parse_json_line(text);
    moment const at{line.at("mono_us").integer()};
    auto const& node = line.at("node").string();
    auto const& event = line.at("event").string();
    first_line_ = std::min(first_line_.value_or(at), at);

    if (event == "run_started") {
        runs_.push_back({.schedule = line.at("schedule").string(),
                         .node = node,
                         .token = detail::fencing_token_in(line, "token"),
                         .generation = detail::fencing_token_in(line, "generation"),
                         .started = at});
        learn_owner(runs_.back().schedule, runs_.back().generation, node, at);
    } else if (event == "run_finished") {
        finish(node, line, at);
    } else if (event == "ownership") {
        auto const owner = detail::node_in(line, "to");
        auto const& schedule = line.at("schedule").string();
        auto const generation = detail::fencing_token_in(line, "generation");
        if (!owner.empty()) learn_owner(schedule, generation, owner, at);
    } else if (event == "leadership") {
        auto const leader = detail::node_in(line, "leader");
        auto const term = detail::fencing_token_in(line, "term");
        if (leader.empty()) return;
        auto const [known, fresh] = leaders_.try_emplace(term, leader);
        if (known->second == leader) return;
        found_when_added_.push_back({violation_kind::shared_term,
                                     "term " + std::to_string(term) + " of " + known->second + " and of " + leader});
    } else if (event == "joined" || event == "suspended" || event == "resumed" || event == "fenced" ||
               event == "left") {
        standing_[node].push_back({at, event});
    }
}

inline void run_history::finish(std::string const& node, json_value const& line, moment at) {
    auto const& schedule = line.at("schedule").string();
    auto const token = detail::fencing_token_in(line, "token");
    auto const started = std::find_if(runs_.rbegin(), runs_.rend(), [&](run const& each) {
        return each.node == node && each.schedule == schedule && each.token == token && !each.finished;
    });
    if (started != runs_.rend() && started->started <= at) {
        started->finished = at;
    } else {
        found_when_added_.push_back({violation_kind::finished_twice,
                                     schedule + " by " + node + ", token " + std::to_string(token) + describe(at)});
    }
}

inline void run_history::learn_owner(std::string const& schedule, std::uint64_t generation, std::string const& owner,
                                     moment at) {
    auto const [known, fresh] = owners_[schedule].try_emplace(generation, known_owner{owner, at});
    known->second.known_since = std::min(known->second.known_since, at);
    if (known->second.owner == owner) return;
    found_when_added_.push_back(
        {violation_kind::shared_generation,
         schedule + ", generation " + std::to_string(generation) + ": " + known->second.owner + " and " + owner});
}

// --- what never happens -----------------------------------------------------------------------------------------------

inline std::vector<violation> run_history::check() const {
    auto found = found_when_added_;
    for (auto const& [schedule, runs] : runs_by_schedule()) check_order(runs, found);
    for (auto const& each : runs_) {
        check_fresh(each, found);
        check_standing(each, found);
        if (!each.finished && !went_out(each)) found.push_back({violation_kind::never_finished, describe(each)});
    }
    return found;
}

inline void run_history::check_order(std::vector<run> const& runs, std::vector<violation>& found) const {
    for (std::size_t i = 0; i < runs.size(); ++i) {
        if (i > 0 && runs[i].token <= runs[i - 1].token) {
            found.push_back({violation_kind::token_not_rising, describe(runs[i - 1]) + ", then " + describe(runs[i])});
        }
        auto const end = end_of(runs[i]);
        for (std::size_t k = i + 1; k < runs.size() && runs[k].started < end; ++k) {
            check_overlap(runs[i], runs[k], runs, found);
        }
    }
}

inline void run_history::check_overlap(run const& earlier, run const& later, std::vector<run> const& all,
                                       std::vector<violation>& found) const {
    auto const both = describe(earlier) + " and " + describe(later);
    if (later.token <= earlier.token) {
        found.push_back({violation_kind::overlap, both + ": the earlier token is not superseded"});
    }
    auto const went_on = std::find_if(all.begin(), all.end(), [&](run const& each) {
        return each.node == earlier.node && each.started > later.started && each.generation <= earlier.generation;
    });
    if (went_on != all.end()) {
        found.push_back({violation_kind::overlap, both + ": the earlier holder went on with " + describe(*went_on)});
    }
    if (!went_out(earlier)) found.push_back({violation_kind::unexplained_overlap, both});
}

inline void run_history::check_fresh(run const& each, std::vector<violation>& found) const {
    auto const& generations = owners_.at(each.schedule);
    for (auto newer = generations.upper_bound(each.generation); newer != generations.end(); ++newer) {
        if (newer->second.known_since >= each.started) continue;
        found.push_back({violation_kind::stale_run, describe(each) + ", but generation " +
                                                        std::to_string(newer->first) + " was " + newer->second.owner +
                                                        "'s" + describe(newer->second.known_since)});
        return;
    }
}

inline void run_history::check_standing(run const& each, std::vector<violation>& found) const {
    std::string_view last = "not joined";
    if (auto const lines = standing_.find(each.node); lines != standing_.end()) {
        for (auto const& line : lines->second) {
            if (line.at <= each.started) last = line.event;
        }
    }
    if (last == "joined" || last == "resumed") return;
    found.push_back({violation_kind::run_while_out, describe(each) + ": " + std::string{last}});
}

// --- what happens in time ---------------------------------------------------------------------------------------------

inline std::vector<violation> run_history::check_run_again(std::set<std::string> const& schedules,
                                                           std::string const& gone, moment after, moment within) const {
    std::map<std::string, moment> next;
    for (auto const& each : runs_) {
        if (each.started <= after || each.node == gone) continue;
        auto const [known, fresh] = next.try_emplace(each.schedule, each.started);
        known->second = std::min(known->second, each.started);
    }
    std::vector<violation> found;
    for (auto const& schedule : schedules) {
        auto const run_again = next.find(schedule);
        if (run_again != next.end() && run_again->second <= after + within) continue;
        auto const when = run_again == next.end() ? " never again" : " only" + describe(run_again->second);
        found.push_back(
            {violation_kind::not_run_again, schedule + when + ", " + gone + " being gone" + describe(after)});
    }
    return found;
}

inline std::vector<violation> run_history::check_new_owners(std::set<std::string> const& schedules,
                                                            std::string const& node, moment within) const {
    auto const left = last(node, "left");
    if (!left) return {{violation_kind::no_new_owner, node + " has not left"}};
    auto const by = *left + within;
    auto const gone = [&](std::string const& owner) {
        auto const kill = killed_.find(owner);
        auto const leave = last(owner, "left");
        return owner == node || (kill != killed_.end() && kill->second <= by) || (leave && *leave <= by);
    };
    auto const owners_by_then = owners(by);
    std::vector<violation> found;
    for (auto const& schedule : schedules) {
        auto const owner = owners_by_then.find(schedule);
        if (owner != owners_by_then.end() && !gone(owner->second)) continue;
        auto const whose = owner == owners_by_then.end() ? std::string{"nobody"} : owner->second;
        found.push_back({violation_kind::no_new_owner, schedule + " is still " + whose + "'s" + describe(by)});
    }
    return found;
}

inline std::vector<violation> run_history::check_pauses() const {
    std::vector<violation> found;
    for (auto const& pause : pauses_) {
        auto noticed = moment::max();
        if (auto const lines = standing_.find(pause.node); lines != standing_.end()) {
            for (auto const& line : lines->second) {
                bool const says_so = line.event == "suspended" || line.event == "fenced";
                if (says_so && line.at >= pause.from) noticed = std::min(noticed, line.at);
            }
        }
        if (noticed == moment::max()) {
            found.push_back({violation_kind::pause_unnoticed, pause.node + ", woken" + describe(pause.to)});
        }
        for (auto const& each : runs_) {
            if (each.node != pause.node || each.started < pause.to || each.started >= noticed) continue;
            found.push_back({violation_kind::stale_run,
                             describe(each) + ": woken" + describe(pause.to) + " and not yet aware of it"});
        }
    }
    return found;
}

// --- questions --------------------------------------------------------------------------------------------------------

inline std::optional<leadership> run_history::leader() const {
    if (leaders_.empty()) return std::nullopt;
    auto const& [term, leader] = *leaders_.rbegin();
    return leadership{.leader = leader, .term = term};
}

inline std::map<std::string, std::string> run_history::owners(moment by) const {
    std::map<std::string, std::string> result;
    for (auto const& [schedule, generations] : owners_) {
        for (auto const& [generation, ownership] : generations) {
            if (ownership.known_since <= by) result[schedule] = ownership.owner;
        }
    }
    return result;
}

inline std::optional<moment> run_history::first(std::string_view node, std::string_view event) const {
    std::optional<moment> result;
    auto const lines = standing_.find(node);
    if (lines == standing_.end()) return result;
    for (auto const& line : lines->second) {
        if (line.event == event) result = std::min(result.value_or(line.at), line.at);
    }
    return result;
}

inline std::optional<moment> run_history::last(std::string_view node, std::string_view event) const {
    std::optional<moment> result;
    auto const lines = standing_.find(node);
    if (lines == standing_.end()) return result;
    for (auto const& line : lines->second) {
        if (line.event == event) result = std::max(result.value_or(line.at), line.at);
    }
    return result;
}

/// By start.
inline std::map<std::string, std::vector<run>> run_history::runs_by_schedule() const {
    std::map<std::string, std::vector<run>> result;
    for (auto const& each : runs_) result[each.schedule].push_back(each);
    for (auto& [schedule, runs] : result) {
        std::sort(runs.begin(), runs.end(), [](run const& a, run const& b) {
            return std::pair{a.started, a.token} < std::pair{b.started, b.token};
        });
    }
    return result;
}

/// When the run was over: as the node says, or when it can have done nothing more.
inline moment run_history::end_of(run const& each) const {
    if (each.finished) return *each.finished;
    auto const kill = killed_.find(each.node);
    if (kill != killed_.end() && kill->second >= each.started) return kill->second;
    return said_it_is_out(each).value_or(moment::max());
}

inline moment run_history::next_run_after(run const& each) const {
    auto next = moment::max();
    for (auto const& other : runs_) {
        if (other.node == each.node && other.started > each.started) next = std::min(next, other.started);
    }
    return next;
}

/// When, after the run's start and before its next run, the node said that it had lost contact or what it owned.
inline std::optional<moment> run_history::said_it_is_out(run const& each) const {
    auto const lines = standing_.find(each.node);
    if (lines == standing_.end()) return std::nullopt;
    auto const next_run = next_run_after(each);
    std::optional<moment> result;
    for (auto const& line : lines->second) {
        bool const out = line.event == "suspended" || line.event == "fenced" || line.event == "joined";
        if (out && line.at >= each.started && line.at <= next_run) result = std::min(result.value_or(line.at), line.at);
    }
    return result;
}

/// Whether the node lost contact during the run or after it, before it started another: it was killed or paused, or
/// said so itself.
inline bool run_history::went_out(run const& each) const {
    auto const next_run = next_run_after(each);
    auto const in_between = [&](moment at) { return at >= each.started && at <= next_run; };
    auto const kill = killed_.find(each.node);
    return (kill != killed_.end() && in_between(kill->second)) || said_it_is_out(each) ||
           std::any_of(pauses_.begin(), pauses_.end(),
                       [&](node_pause const& p) { return p.node == each.node && in_between(p.from); });
}

inline std::string run_history::describe(run const& each) const {
    return each.schedule + " by " + each.node + " (token " + std::to_string(each.token) + ", generation " +
           std::to_string(each.generation) + ")" + describe(each.started);
}

/// Since the first line, for people.
inline std::string run_history::describe(moment at) const {
    auto const since = at - first_line_.value_or(at);
    return " at " + std::to_string(static_cast<double>(since.count()) / 1000.0) + " ms";
}

}  // namespace rota::test
