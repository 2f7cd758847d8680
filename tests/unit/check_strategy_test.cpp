// The conformance kit itself: what keeps the contract passes, and every kind of breach is caught and called by its name.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include <rota/check_strategy.hpp>
#include <rota/strategy/bounded_rendezvous.hpp>
#include <rota/strategy/budgeted.hpp>
#include <rota/strategy/constrained.hpp>
#include <rota/strategy/graced.hpp>
#include <rota/strategy/least_moves.hpp>
#include <rota/strategy/measured.hpp>
#include <rota/strategy/rendezvous.hpp>
#include <rota/strategy/thresholded.hpp>
#include <rota/strategy/weighted_least_moves.hpp>
#include <rota/strategy/zoned.hpp>

#include "../catch.hpp"
#include "../support/effort.hpp"
#include "../support/poll_until.hpp"

namespace check_strategy_test {

namespace {

using namespace std::chrono_literals;
using rota::cluster_view;
using rota::plan;
using rota_test::contains;

// least_moves, and then something goes wrong.
template <typename Spoil>
struct spoiled {
    Spoil spoil;

    plan make_plan(cluster_view const& view) const {
        plan made;
        rota::least_moves{}.make_plan(view, made);
        spoil(view, made);
        return made;
    }
};
template <typename Spoil>
spoiled(Spoil) -> spoiled<Spoil>;

// What the kit says of it; it must fail.
template <typename S>
std::string verdict(S const& strategy, rota::check_strategy_options const& options = {.groups = 200}) {
    auto const report = rota::check_strategy(strategy, options);
    CHECK_FALSE(report.passed);
    REQUIRE_FALSE(report.faults.empty());
    return report.text();
}

template <typename Spoil>
std::string verdict_on(Spoil const& spoil) {
    return verdict(spoiled<Spoil>{spoil});
}

}  // namespace

TEST_CASE("check_strategy: what rota brings along keeps the contract") {
    constexpr auto random_ones = rota_test::rounds(300U);
    auto const check = [](auto const& strategy) {
        auto const report = rota::check_strategy(strategy, {.seed = 5, .groups = random_ones});
        INFO(report.text());
        CHECK(report.passed);
        CHECK(report.groups == 1365 + random_ones + random_ones / 100);
        CHECK(report.plans > 4 * report.groups);
        CHECK(report.moves > 0);
    };
    check(rota::least_moves{});
    check(rota::weighted_least_moves{});
    check(rota::rendezvous{});
    check(rota::bounded_rendezvous{});
    check(rota::zoned<rota::weighted_least_moves>{});
    check(rota::constrained<>{});
    check(rota::constrained<rota::zoned<>>{});
    check(rota::measured<>{});
    check(rota::budgeted<>{.moves_per_round = 1});
    check(rota::budgeted<>{.moves_per_minute = 3, .cool_down = 20s});
    check(rota::graced<>{.crashed_too = true});
    check(rota::thresholded<>{});
    check(rota::budgeted<rota::graced<rota::thresholded<rota::rendezvous>>>{.moves_per_minute = 5});
}

TEST_CASE("check_strategy: a strategy of one's own, of either shape, shared or not to be copied") {
    struct does_nothing {
        std::unique_ptr<int> not_to_be_copied{};
        plan make_plan(cluster_view const& view) const {
            plan made;
            made.unplaced = static_cast<std::uint32_t>(view.orphans.size());
            return made;
        }
    };
    rota::check_strategy_options const lazy{.groups = 100, .places_all = false};
    CHECK(rota::check_strategy(does_nothing{}, lazy).passed);

    rota::least_moves const shared;
    CHECK(rota::check_strategy(std::ref(shared), lazy).passed);
}

TEST_CASE("check_strategy: orphans that are left without a word are a fault, unless that is the strategy's way") {
    struct does_nothing {
        plan make_plan(cluster_view const& view) const {
            plan made;
            made.unplaced = static_cast<std::uint32_t>(view.orphans.size());
            return made;
        }
    };
    CHECK_THAT(verdict(does_nothing{}), contains("leaves an orphan although a node has room, and does not say why"));
}

TEST_CASE("check_strategy: throws") {
    CHECK_THAT(verdict_on([](auto const& view, auto const&) {
                   if (view.nodes.size() == 3) throw std::runtime_error{"three is too many"};
               }),
               contains("throws: \"three is too many\""));
    CHECK_THAT(verdict_on([](auto const&, auto const&) { throw 7; }), contains("throws: what is no std::exception"));
}

TEST_CASE("check_strategy: names what is not there") {
    CHECK_THAT(verdict_on([](auto const& view, auto& made) {
                   if (!made.moves.empty()) made.moves.back().to = static_cast<std::uint32_t>(view.nodes.size());
               }),
               contains("names a node that is not there"));
    CHECK_THAT(verdict_on([](auto const& view, auto& made) {
                   if (!made.moves.empty())
                       made.moves.back().schedule = static_cast<std::uint32_t>(view.schedules.size());
               }),
               contains("names a schedule that is not there"));
    // Walks all entries of the view instead of its orphans.
    CHECK_THAT(verdict_on([](auto const& view, auto& made) {
                   for (std::uint32_t s = 0; s < view.schedules.size() && !view.nodes.empty(); ++s) {
                       bool const listed = std::find(view.orphans.begin(), view.orphans.end(), s) != view.orphans.end();
                       if (view.schedules[s].owner == cluster_view::none && !listed) {
                           made.moves.insert(made.moves.begin(), {.schedule = s, .to = 0});
                           ++made.forced;
                       }
                   }
               }),
               contains("(a void entry)"));
}

TEST_CASE("check_strategy: assigns twice") {
    CHECK_THAT(verdict_on([](auto const&, auto& made) {
                   if (made.forced == 0) return;
                   made.moves.insert(made.moves.begin(), made.moves.front());
                   ++made.forced;
               }),
               contains("assigns a schedule twice: "));
}

TEST_CASE("check_strategy: takes a schedule from where it is not, or to where it is") {
    CHECK_THAT(verdict_on([](auto const& view, auto& made) {
                   if (made.voluntary > 0 && view.nodes.size() > 2) {
                       auto& last = made.moves.back();
                       for (std::uint32_t n = 0; n < view.nodes.size(); ++n) {
                           if (n != last.from && n != last.to) last.from = n;
                       }
                   }
               }),
               contains("takes a schedule from where it is not"));
    CHECK_THAT(verdict_on([](auto const&, auto& made) {
                   if (made.voluntary > 0) made.moves.back().to = made.moves.back().from;
               }),
               contains("moves a schedule to where it is"));
}

TEST_CASE("check_strategy: gives a node more than its capacity, even if only on the way") {
    struct generous {
        plan make_plan(cluster_view const& view) const {
            plan made;
            for (auto const s : view.orphans) {
                if (!view.nodes.empty()) made.moves.push_back({.schedule = s, .to = 0});
            }
            made.forced = static_cast<std::uint32_t>(made.moves.size());
            made.unplaced = static_cast<std::uint32_t>(view.orphans.size()) - made.forced;
            return made;
        }
    };
    CHECK_THAT(verdict(generous{}), contains("gives a node more than its capacity"));

    // The end is sound, but not every prefix: the node is filled before it is relieved.
    CHECK_THAT(
        verdict_on([](auto const& view, auto& made) {
            if (made.voluntary == 0) return;
            auto const from = made.moves.back().from;
            auto const others = [&](auto const& step) { return step.to == from || step.from == from; };
            if (std::count_if(made.moves.begin(), made.moves.end(), others) != 1) return;
            if (view.nodes[from].load != view.nodes[from].capacity) return;
            for (std::uint32_t n = 0; n < view.nodes.size(); ++n) {
                for (auto const s : view.nodes[n].schedules) {
                    auto const taken = [&](auto const& step) { return step.schedule == s; };
                    if (n == from || !view.may_move(s) || std::any_of(made.moves.begin(), made.moves.end(), taken))
                        continue;
                    made.moves.insert(made.moves.end() - 1, {.schedule = s, .from = n, .to = from});
                    ++made.voluntary;
                    return;
                }
            }
        }),
        contains("gives a node more than its capacity"));
}

TEST_CASE("check_strategy: touches what may not move") {
    auto const moves_if = [](auto const& chosen) {
        return [chosen](auto const& view, auto& made) {
            if (!view.complete) return;
            made.clear();
            made.unplaced = static_cast<std::uint32_t>(view.orphans.size());
            for (std::uint32_t n = 0; n < view.nodes.size(); ++n) {
                for (auto const s : view.nodes[n].schedules) {
                    for (std::uint32_t to = 0; to < view.nodes.size(); ++to) {
                        if (to == n || view.nodes[to].load >= view.nodes[to].capacity || !chosen(view, s)) continue;
                        made.moves.push_back({.schedule = s, .from = n, .to = to});
                        made.voluntary = 1;
                        return;
                    }
                }
            }
        };
    };
    CHECK_THAT(verdict_on(moves_if([](auto const& view, auto s) { return view.schedules[s].moving; })),
               contains("moves a schedule that is on its way already"));
    CHECK_THAT(verdict_on(moves_if([](auto const& view, auto s) {
                   return !view.schedules[s].moving && view.schedules[s].generation >= view.settled_before;
               })),
               contains("moves a schedule that is to stay"));
}

TEST_CASE("check_strategy: moves before it places, evens out before it does what has to be done, or for no reason") {
    CHECK_THAT(verdict_on([](auto const&, auto& made) { std::reverse(made.moves.begin(), made.moves.end()); }),
               contains("places an orphan after a move"));
    CHECK_THAT(
        verdict_on([](auto const&, auto& made) { std::reverse(made.moves.begin() + made.forced, made.moves.end()); }),
        contains("has a move that has to be after one that evens out"));
    CHECK_THAT(verdict_on([](auto const&, auto& made) {
                   if (made.voluntary > 0) made.moves.back().why = rota::change_reason::claimed;
               }),
               contains("gives a reason that is none for a move"));
}

TEST_CASE("check_strategy: miscounts") {
    CHECK_THAT(verdict_on([](auto const&, auto& made) { made.forced += 1; }), contains("miscounts its placements"));
    CHECK_THAT(verdict_on([](auto const&, auto& made) { made.voluntary = 0; }), contains("miscounts its moves"));
    CHECK_THAT(verdict_on([](auto const&, auto& made) { made.unplaced = 0; }),
               contains("miscounts the orphans that it leaves"));
}

TEST_CASE("check_strategy: says of what is placed, owned or unknown that it is stuck") {
    CHECK_THAT(verdict_on([](auto const&, auto& made) {
                   if (made.forced > 0) made.stuck.push_back({made.moves.front().schedule, rota::no_place::no_room});
               }),
               contains("says of what it places that it has no place"));
    CHECK_THAT(verdict_on([](auto const& view, auto& made) {
                   made.stuck.push_back({static_cast<std::uint32_t>(view.schedules.size()), rota::no_place::no_room});
               }),
               contains("says of a schedule that is not there that it has no place"));
    CHECK_THAT(verdict_on([](auto const& view, auto& made) {
                   if (!view.nodes.empty() && !view.nodes[0].schedules.empty())
                       made.stuck.push_back({view.nodes[0].schedules[0], rota::no_place::no_room});
               }),
               contains("says of what has an owner that it has no place"));
}

TEST_CASE("check_strategy: states what is no number, or wants to be asked again without end") {
    CHECK_THAT(verdict_on([](auto const&, auto& made) { made.imbalance = std::numeric_limits<double>::quiet_NaN(); }),
               contains("states what is no finite number"));
    CHECK_THAT(verdict_on([](auto const&, auto& made) { made.spread_after = -1; }),
               contains("states a spread below 0"));
    CHECK_THAT(verdict_on([](auto const&, auto& made) { made.revisit = 0us; }),
               contains("asks to be asked again at once"));
}

TEST_CASE("check_strategy: another plan for the same view") {
    SECTION("each time") {
        auto const calls = std::make_shared<std::atomic<std::uint32_t>>(0);
        CHECK_THAT(verdict_on([calls](auto const&, auto& made) { made.bound = ++*calls; }),
                   contains("gives another plan when asked again for the same view"));
    }
    SECTION("on another machine, where addresses are others") {
        CHECK_THAT(verdict_on([](auto const& view, auto& made) {
                       made.bound =
                           static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(view.nodes.data()) >> 4);
                   }),
                   contains("gives another plan"));
    }
    SECTION("by a copy of the strategy") {
        struct counts_copies {
            int copies = 0;
            counts_copies() = default;
            counts_copies(counts_copies&&) = default;
            counts_copies(counts_copies const& other) : copies{other.copies + 1} {}
            plan make_plan(cluster_view const& view) const {
                plan made;
                rota::least_moves{}.make_plan(view, made);
                made.bound += static_cast<std::uint32_t>(copies);
                return made;
            }
        };
        CHECK_THAT(verdict(counts_copies{}), contains("gives another plan when it is a copy"));
    }
    SECTION("into a recycled one") {
        struct forgets_to_clear {
            void make_plan(cluster_view const& view, plan& into) const {
                auto const before = into.interchangeable;
                rota::least_moves{}.make_plan(view, into);
                into.interchangeable = before;
            }
        };
        CHECK_THAT(verdict(forgets_to_clear{}), contains("gives another plan into a recycled one"));
    }
}

TEST_CASE("check_strategy: ping-pong") {
    // Sound each time, but it never ends.
    auto const text = verdict_on([](auto const& view, auto& made) {
        if (!made.moves.empty() || view.nodes.size() != 2 || !view.complete) return;
        for (std::uint32_t from = 0; from < 2; ++from) {
            auto const to = 1 - from;
            for (auto const s : view.nodes[from].schedules) {
                if (view.nodes[to].load >= view.nodes[to].capacity || !view.may_move(s)) continue;
                made.moves.push_back({.schedule = s, .from = from, .to = to});
                made.voluntary = 1;
                return;
            }
        }
    });
    CHECK_THAT(text, contains("never comes to rest: it still moves schedules after 20"));
}

TEST_CASE("check_strategy: moves by the clock, though it said that nothing was left to do") {
    CHECK_THAT(verdict_on([](auto const& view, auto& made) {
                   auto const late = view.now > 1'700'000'000'000'000 + 7'000'000'000;
                   if (!made.moves.empty() || !late || view.nodes.size() != 2 || view.nodes[0].schedules.empty())
                       return;
                   auto const s = view.nodes[0].schedules[0];
                   if (view.nodes[1].load >= view.nodes[1].capacity) return;
                   made.moves.push_back({.schedule = s, .from = 0, .to = 1});
                   made.voluntary = 1;
               }),
               contains("moves again what was at rest"));
}

TEST_CASE("check_strategy: a call that never ends is given up, and its thread left behind", "[threads]") {
    struct flags {
        std::atomic<bool> stop{false};
        std::atomic<bool> ended{false};
    };
    struct sleeper {
        std::shared_ptr<flags> shared;
        plan make_plan(cluster_view const& view) const {
            plan made;
            rota::least_moves{}.make_plan(view, made);
            if (view.nodes.size() < 2 || view.orphans.size() < 2) return made;
            while (!shared->stop) std::this_thread::sleep_for(1ms);
            shared->ended = true;
            return made;
        }
    };
    auto const shared = std::make_shared<flags>();
    auto const began = std::chrono::steady_clock::now();
    auto const text = verdict(sleeper{shared}, {.deadline = 200ms});
    CHECK(std::chrono::steady_clock::now() - began < 5s);
    CHECK_THAT(text, contains("does not end: after 200 ms it still plans; in a group of 2 nodes"));

    shared->stop = true;
    CHECK(rota::test::poll_until(5s, [&] { return shared->ended.load(); }));
}

TEST_CASE("check_strategy: the same seed tries the same groups, another one others") {
    auto const report_of = [](std::uint64_t seed) {
        return rota::check_strategy(rota::least_moves{}, {.seed = seed, .groups = 100});
    };
    CHECK(report_of(1).moves == report_of(1).moves);
    CHECK(report_of(1).moves != report_of(2).moves);
}

TEST_CASE("check_strategy: a fault says how often, and the first group in which it was") {
    auto const text = verdict_on([](auto const& view, auto& made) {
        if (view.nodes.size() == 1) made.bound = made.forced += 1;
    });
    CHECK_THAT(text, contains("; in a group of 1 nodes: n0/0 draining []; orphans: ["));
    CHECK_THAT(text, contains(" times in all)"));
}

TEST_CASE("check_strategy: ping-pong of what has a family, which a strategy reads out of the ids") {
    auto const text = verdict_on([](auto const& view, auto& made) {
        if (!made.moves.empty() || view.nodes.size() != 2 || !view.complete) return;
        for (std::uint32_t from = 0; from < 2; ++from) {
            auto const to = 1 - from;
            for (auto const s : view.nodes[from].schedules) {
                if (!view.schedules[s].id.starts_with("family-")) continue;
                if (view.nodes[to].load >= view.nodes[to].capacity || !view.may_move(s)) continue;
                made.moves.push_back({.schedule = s, .from = from, .to = to});
                made.voluntary = 1;
                return;
            }
        }
    });
    CHECK_THAT(text, contains("never comes to rest"));
}

}  // namespace check_strategy_test
