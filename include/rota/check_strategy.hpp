// Whether a strategy keeps its contract: for the tests of whoever writes one.
//
//   auto const report = rota::check_strategy(my_strategy{});
//   REQUIRE(report.passed);       // report.text() says what is wrong, and in which group it was seen
//
// It is asked for plans of all small groups, and of many random ones: with capacities, weights, zones, labels and rules,
// drained nodes, schedules on their way, nodes that have gone or come back, half-read pictures, and nobody at all.
//
// Each plan must keep the rules of cluster_view.hpp: it names only what is there, each schedule once, from where it is;
// places before it moves, and moves first what has to be; keeps capacities at every step, so that every prefix is
// valid; leaves alone what may not move; counts right; says why an orphan has no place while there is room. The same view
// gives the same plan, whatever the object, the addresses and the recycled buffer. Carried out over and over, with
// nothing else happening, the plans end: the group comes to rest. And no call throws, or takes longer than the deadline.
//
// Not checked: how good a plan is. No test framework is needed. Not part of rota.hpp: it starts a thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "cluster_view.hpp"
#include "detail/strategy_check/group_model.hpp"
#include "detail/strategy_check/model_source.hpp"
#include "detail/strategy_check/plan_faults.hpp"
#include "detail/strategy_check/watched_run.hpp"
#include "policies.hpp"

namespace rota {

struct check_strategy_options {
    std::uint64_t seed = 1;         ///< of the random groups: same seed, same groups
    std::uint32_t groups = 500;     ///< random ones, beyond all small ones; and one in a hundred 20 times as large
    std::uint32_t nodes = 12;       ///< most nodes of a random group
    std::uint32_t schedules = 100;  ///< about the most schedules of a random group
    std::uint32_t rounds = 2'000;   ///< within which a group must come to rest, and two more for each schedule
    bool places_all = true;         ///< false: it may leave orphans although there is room, without saying why
    std::chrono::milliseconds deadline{10'000};  ///< of a call
};

struct check_strategy_report {
    bool passed = false;
    /// Each rule that was broken, once: which, how, how often, and the first group in which it was.
    std::vector<std::string> faults{};
    std::uint64_t groups = 0;             ///< tried
    std::uint64_t plans = 0;              ///< asked for
    std::uint64_t moves = 0;              ///< in the plans that were carried out, placements included
    std::uint64_t most_rounds = 0;        ///< that a group took to come to rest
    std::chrono::microseconds slowest{};  ///< call

    [[nodiscard]] std::string text() const {
        auto text = fmt::format("{}: {} groups, {} plans, {} steps, at most {} rounds, slowest call {} us\n",
                                passed ? "passed" : "failed", groups, plans, moves, most_rounds, slowest.count());
        for (auto const& fault : faults) text += "  " + fault + "\n";
        return text;
    }
};

namespace detail {

/// Any strategy, so that the check is compiled once.
struct checked_strategy {
    virtual ~checked_strategy() = default;
    virtual void make_plan(cluster_view const& view, plan& into) const = 0;
    [[nodiscard]] virtual std::unique_ptr<checked_strategy> copy() const = 0;  ///< null: it cannot be copied
};

template <typename S>
struct checked_as final : checked_strategy {
    explicit checked_as(S&& given) : strategy{std::move(given)} {}
    explicit checked_as(S const& given) : strategy{given} {}

    void make_plan(cluster_view const& view, plan& into) const override {
        auto const& asked = unwrap(strategy);
        if constexpr (requires { asked.make_plan(view, into); }) {
            asked.make_plan(view, into);
        } else {
            into = asked.make_plan(view);
        }
    }
    [[nodiscard]] std::unique_ptr<checked_strategy> copy() const override {
        if constexpr (std::is_copy_constructible_v<S>) {
            return std::make_unique<checked_as>(strategy);
        } else {
            return nullptr;
        }
    }

    S strategy;
};

class strategy_check {
public:
    strategy_check(std::unique_ptr<checked_strategy> strategy, check_strategy_options const& o)
        : watch{o.deadline},
          strategy_{std::move(strategy)},
          options_{o} {}

    void run() {
        each_small_model([&](group_model const& small) { try_on(small); });
        model_source source{options_.seed, options_.nodes, options_.schedules};
        for (std::uint32_t i = 0; i < options_.groups; ++i) try_on(source.draw());
        model_source large{options_.seed, 20 * options_.nodes, 20 * options_.schedules};
        for (std::uint32_t i = 0; i < options_.groups / 100; ++i) try_on(large.draw());
    }

    /// The present call takes too long. (It does not go on while this is called.)
    void overdue() { note("does not end", fmt::format("after {} ms it still plans", options_.deadline.count())); }

    [[nodiscard]] check_strategy_report take_report() {
        for (auto const& fault : faults_) {
            report_.faults.push_back(
                fmt::format("{}{}{}; in a group of {}{}", fault.what, fault.which.empty() ? "" : ": ", fault.which,
                            fault.where, fault.times > 1 ? fmt::format(" ({} times in all)", fault.times) : ""));
        }
        report_.passed = faults_.empty();
        return report_;
    }

    call_watch watch;

private:
    struct seen_fault {
        std::string what;
        std::string which;
        std::string where;
        std::uint64_t times = 1;
    };

    void note(std::string what, std::string which) {
        for (auto& fault : faults_) {
            if (fault.what == what) return void(++fault.times);
        }
        faults_.push_back({std::move(what), std::move(which), group_.in_words()});
    }

    // Returns whether there is a plan.
    bool ask(checked_strategy const& strategy, cluster_view const& view, plan& into) {
        ++report_.plans;
        watch.begin();
        std::string thrown;
        try {
            strategy.make_plan(view, into);
        } catch (std::exception const& e) {
            thrown = fmt::format("\"{}\"", e.what());
        } catch (...) {
            thrown = "what is no std::exception";
        }
        auto const took = watch.end();
        auto const in_us = std::chrono::duration_cast<std::chrono::microseconds>(took);
        report_.slowest = std::max(report_.slowest, in_us);
        if (took > watch.deadline()) note("takes too long", fmt::format("{} us", in_us.count()));
        if (!thrown.empty()) note("throws", thrown);
        return thrown.empty();
    }

    bool sound(cluster_view const& view, plan const& p) {
        auto fault = plan_inspector{view, p, options_.places_all}.first_fault();
        if (!fault) return true;
        note(std::move(fault.what), std::move(fault.which));
        return false;
    }

    void try_on(group_model model) {
        ++report_.groups;
        group_ = std::move(model);
        plan first;
        {
            model_view const shown{group_};
            if (!ask(*strategy_, shown.view(), first) || !sound(shown.view(), first)) return;
            plan again;
            if (!ask(*strategy_, shown.view(), again)) return;
            if (!same_plan(first, again)) return note("gives another plan when asked again for the same view", "");
        }
        if (!same_elsewhere(first)) return;
        if (group_.complete) come_to_rest();
    }

    // Other addresses, a copy of the strategy, a buffer that holds another plan.
    bool same_elsewhere(plan const& first) {
        model_view const shown{group_};
        auto recycled = leftovers();
        if (!ask(*strategy_, shown.view(), recycled)) return false;
        if (!same_plan(first, recycled)) {
            note("gives another plan into a recycled one", "write over all that it holds, or clear() it first");
            return false;
        }
        if (auto const copy = strategy_->copy()) {
            plan by_copy;
            if (!ask(*copy, shown.view(), by_copy)) return false;
            if (!same_plan(first, by_copy)) {
                note("gives another plan when it is a copy", "a plan must follow from the view alone");
                return false;
            }
        }
        return true;
    }

    static plan leftovers() {
        plan p;
        p.moves = {{7, 8, 9, change_reason::drained}, {7, cluster_view::none, 1'000'000}};
        p.stuck = {{1'000'000, no_place::waits}};
        p.forced = p.voluntary = p.bound = p.unplaced = 77;
        p.spread_before = p.spread_after = p.imbalance = 77;
        p.interchangeable = true;
        p.revisit = microseconds{77};
        return p;
    }

    // From here on nothing happens but what the plans say; what reports its load reports its weight.
    void come_to_rest() {
        group_.settled_before = std::numeric_limits<fencing_token>::max();
        for (auto& node : group_.nodes) node.reported = -1;
        std::uint32_t idle = 0;
        auto const limit = options_.rounds + 2 * group_.schedules.size();  // a move at a time, and a wait after each
        for (std::size_t round = 0; round < limit; ++round) {
            switch (next_round()) {
                case outcome::fault: return;
                case outcome::changed:
                    idle = 0;
                    report_.most_rounds = std::max<std::uint64_t>(report_.most_rounds, round + 1);
                    break;
                case outcome::waits:
                    if (++idle <= most_idle_rounds) break;
                    return;  // whoever asks again and again, but never moves anything, is at rest
                case outcome::rests:
                    group_.pass(std::chrono::hours{2});
                    if (next_round() == outcome::changed)
                        note("moves again what was at rest", "two hours later, though nothing has happened");
                    return;
            }
        }
        note("never comes to rest", fmt::format("it still moves schedules after {} rounds", limit));
    }

    enum class outcome : std::uint8_t { fault, changed, waits, rests };

    outcome next_round() {
        plan next;
        {
            model_view const shown{group_};
            if (!ask(*strategy_, shown.view(), next) || !sound(shown.view(), next)) return outcome::fault;
        }
        report_.moves += next.moves.size();
        group_.apply(next);
        bool const arrived = group_.arrive();
        bool const waits = next.revisit != microseconds::max();
        bool const changed = arrived || !next.moves.empty();
        group_.pass(waits && !changed ? std::min<microseconds>(next.revisit, std::chrono::hours{24})
                                      : std::chrono::seconds{1});
        return changed ? outcome::changed : waits ? outcome::waits : outcome::rests;
    }

    static constexpr std::uint32_t most_idle_rounds = 100;

    std::unique_ptr<checked_strategy> strategy_;
    check_strategy_options options_;
    group_model group_;
    std::vector<seen_fault> faults_;
    check_strategy_report report_;
};

}  // namespace detail

/// Tries a strategy. Takes a few seconds at most, if it is quick; a call that does not end within the deadline ends the
/// check, its thread is left behind, so what the strategy refers to should then outlive the program's tests.
template <typename S>
[[nodiscard]] check_strategy_report check_strategy(S strategy, check_strategy_options const& options = {}) {
    constexpr bool is_strategy = strategy_policy<detail::unwrapped_t<S>>;
    static_assert(is_strategy,
                  "rota: what is to be checked is no strategy: it lacks `rota::plan "
                  "make_plan(rota::cluster_view const&) const`");
    if constexpr (is_strategy) {
        auto const check = std::make_shared<detail::strategy_check>(
            std::make_unique<detail::checked_as<S>>(std::move(strategy)), options);
        detail::run_watched(check);
        return check->take_report();
    } else {
        return {};  // refused above; nothing more is said
    }
}

}  // namespace rota
