// Sorts what a worker is given into what is its own (worker_options, a trigger) and the policies of its coordinator.
#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "../attributes.hpp"
#include "../events.hpp"
#include "../sink/describe.hpp"
#include "../trigger/continuous.hpp"
#include "../trigger/trigger.hpp"
#include "../worker_options.hpp"
#include "deliver.hpp"
#include "policy_set.hpp"
#include "say.hpp"

namespace rota::detail {

template <typename T>
inline constexpr bool is_trigger = trigger_policy<unwrapped_t<T>>;
template <typename T>
inline constexpr bool is_worker_part = is_trigger<T> || std::is_same_v<T, worker_options>;

template <typename... Types>
struct type_list {};

// The types of a list that are no part of the worker's own, as a policy_set.
template <typename Kept, typename... Rest>
struct policies_among;
template <typename... Kept>
struct policies_among<type_list<Kept...>> {
    using type = policy_set<Kept...>;
};
template <typename... Kept, typename First, typename... Rest>
struct policies_among<type_list<Kept...>, First, Rest...> {
    using type = typename policies_among<
        std::conditional_t<is_worker_part<First>, type_list<Kept...>, type_list<Kept..., First>>, Rest...>::type;
};

template <typename... Types>
struct first_trigger {
    using type = continuous;
};
template <typename First, typename... Rest>
struct first_trigger<First, Rest...> {
    using type =
        typename std::conditional_t<is_trigger<First>, std::type_identity<First>, first_trigger<Rest...>>::type;
};

template <typename... Parts>
struct worker_parts {
    using set = typename policies_among<type_list<>, Parts...>::type;
    using trigger = typename first_trigger<Parts...>::type;
    static constexpr bool has_sink = (false || ... || std::is_same_v<Parts, typename set::sink>);
    static constexpr std::size_t triggers = (std::size_t{0} + ... + (is_trigger<Parts> ? 1 : 0));
};

/// A copy of the argument of type T among those given, or a default.
template <typename T>
T copy_of() {
    return pick<T>();
}
template <typename T, typename First, typename... Rest>
T copy_of(First const& first, Rest const&... rest) {
    if constexpr (std::is_same_v<First, T>) {
        return first;
    } else {
        return copy_of<T>(rest...);
    }
}

template <typename T>
concept names_schedule = std::constructible_from<std::string, T> || std::convertible_to<T, schedule>;

[[nodiscard]] inline schedule as_schedule(schedule s) { return s; }
template <typename Id>
    requires(!std::convertible_to<Id, schedule>)
[[nodiscard]] schedule as_schedule(Id&& id) {
    schedule s;
    s.id = std::string{std::forward<Id>(id)};
    return s;
}

/// What of a node an operator should look at, and that it is over. (Not plan_refused, of which there may be many.)
template <typename T = void>
[[nodiscard]] bool is_trouble(event const& e) {
    return std::holds_alternative<warning>(e) || std::holds_alternative<node_suspended>(e) ||
           std::holds_alternative<node_resumed>(e) || std::holds_alternative<node_lost>(e);
}

/// Tells the worker's engine of each event, then the user's sink; without one, stderr of trouble.
template <typename Engine, typename Sink, bool Given>
class worker_sink {
public:
    worker_sink(Engine& engine, Sink sink) : engine_{&engine}, sink_{std::move(sink)} {}
    void operator()(event const& e) {
        engine_->on_event(e);
        if constexpr (Given) {
            deliver(sink_, e);
        } else {
            if (is_trouble(e)) say(describe(e));
        }
    }

private:
    Engine* engine_;
    [[no_unique_address]] Sink sink_;
};

}  // namespace rota::detail
