// The strategies of rota by name, with what invariants need to know of each (strategy_habits): so that a sweep may draw
// one for each run, and a replay file name it (world_settings::strategy).
//
//   sim::setup all{.name = "any strategy", .prepare = [](sim::world& w) {
//       sim::use_strategy_named(w, w.settings().strategy);
//       sim::check_all(w);
//   }};
//
// sim.hpp does not include this: it takes a compiler as long as all strategies do.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "../strategy/bounded_rendezvous.hpp"
#include "../strategy/budgeted.hpp"
#include "../strategy/constrained.hpp"
#include "../strategy/graced.hpp"
#include "../strategy/least_moves.hpp"
#include "../strategy/measured.hpp"
#include "../strategy/rendezvous.hpp"
#include "../strategy/thresholded.hpp"
#include "../strategy/weighted_least_moves.hpp"
#include "../strategy/zoned.hpp"
#include "world.hpp"

namespace rota::sim {

inline constexpr std::string_view strategy_names[] = {
    "least_moves",        "budgeted",    "constrained", "graced", "measured", "rendezvous",
    "bounded_rendezvous", "thresholded", "weighted",    "zoned",  "nested"};

/// Before time passes. An empty name is least_moves; one that there is not is refused with a std::logic_error.
template <typename = void>
void use_strategy_named(world& w, std::string_view name) {
    using namespace std::chrono_literals;
    constexpr strategy_habits uneven{.evens_out = false, .moves_least = false};
    if (name.empty() || name == "least_moves") return w.use_strategy(least_moves{});
    if (name == "budgeted") {
        return w.use_strategy(budgeted<>{.moves_per_round = 3, .moves_per_minute = 30, .cool_down = 2s},
                              {.evens_out = false, .takes = 120s});
    }
    if (name == "constrained") {
        auto habits = uneven;
        habits.heeds_rules = true;
        return w.use_strategy(constrained<>{}, habits);
    }
    if (name == "graced") {
        auto habits = uneven;
        habits.waits = 3s;
        return w.use_strategy(graced<>{.grace = habits.waits, .crashed_too = true}, habits);
    }
    if (name == "measured") {
        auto habits = uneven;
        habits.takes = 30s;
        return w.use_strategy(measured<>{.settle = 5s}, habits);
    }
    if (name == "rendezvous") return w.use_strategy(rendezvous{}, uneven);
    if (name == "bounded_rendezvous") return w.use_strategy(bounded_rendezvous{}, uneven);
    if (name == "thresholded") return w.use_strategy(thresholded<>{.threshold = 0.5}, {.evens_out = false});
    if (name == "weighted") return w.use_strategy(weighted_least_moves{}, uneven);
    if (name == "zoned") return w.use_strategy(zoned<>{}, uneven);
    if (name == "nested") {
        auto habits = uneven;
        habits.heeds_rules = true;
        habits.waits = 2s;
        habits.takes = 120s;
        return w.use_strategy(
            graced<budgeted<constrained<zoned<>>>>{.grace = habits.waits, .strategy = {.moves_per_minute = 30}},
            habits);
    }
    throw std::logic_error("rota::sim: there is no strategy called " + rota::detail::in_words(std::string{name}));
}

}  // namespace rota::sim
