// Sorts the policies of a basic_coordinator into their roles, fills in defaults, and refuses what does not fit with one
// readable line per fault. A set that is not valid still has types for every role (stand-ins), so that the one line is
// all that the compiler says.
#pragma once

#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>

#include "../clock/boottime_clock.hpp"
#include "../policies.hpp"
#include "../sink/null_sink.hpp"
#include "../strategy/least_moves.hpp"
#include "unique_function.hpp"

namespace rota::detail {

// Values, not concepts: a compiler explains at length why a concept is not satisfied.
template <typename T, typename... Others>
inline constexpr bool one_of = (std::is_same_v<T, Others> || ...);
template <typename... Types>
inline constexpr bool all_different = true;
template <typename First, typename... Rest>
inline constexpr bool all_different<First, Rest...> = !one_of<First, Rest...> && all_different<Rest...>;

enum class role : std::uint8_t { transport, strategy, clock, sink, unknown };

template <typename T>
constexpr role role_of() {
    if constexpr (transport_like<T>)
        return role::transport;
    else if constexpr (strategy_like<T>)
        return role::strategy;
    else if constexpr (clock_like<T>)
        return role::clock;
    else if constexpr (sink_policy<unwrapped_t<T>>)
        return role::sink;
    else
        return role::unknown;
}

template <typename T>
inline constexpr bool has_submit_only = has_submit<T> && !has_perform<T>;

template <role Role, typename... Policies>
inline constexpr std::size_t count_of = (std::size_t{0} + ... + (role_of<Policies>() == Role ? 1 : 0));

// The first policy of that role, or the fallback.
template <role Role, typename Fallback, typename... Policies>
struct first_of_role {
    using type = Fallback;
};
template <role Role, typename Fallback, typename First, typename... Rest>
struct first_of_role<Role, Fallback, First, Rest...> {
    using type = typename std::conditional_t<role_of<First>() == Role, std::type_identity<First>,
                                             first_of_role<Role, Fallback, Rest...>>::type;
};

// What stands in for a policy that was refused. (Nothing is ever linked that uses it.)
struct no_transport {
    result<void> open(transport_settings const&);
    result<reply> perform(operation const&, microseconds);
    wake_reason wait(subscription const&, microseconds);
    void wake();
};

/// What is wrong with a policy, or with a set of them.
enum class policy_fault {
    none,
    unknown,
    transport_lacks_open,
    transport_lacks_perform,
    transport_lacks_wait,
    transport_lacks_wake,
    transport_lacks_submit,
    transport_lacks_listen,
    transport_lacks_loop,
    strategy_is_not_const,
    strategy_lacks_make_plan,
    clock_is_not_const,
    clock_lacks_now,
    two_roles,
    no_transport,
    two_transports,
    two_strategies,
    two_clocks,
    two_sinks,
};

template <typename T>
constexpr policy_fault fault_of_async_transport() {
    if constexpr (!requires(T t, operation const& request, microseconds timeout,
                            unique_function<void(result<reply>)> handler) {
                      t.submit(request, timeout, std::move(handler));
                  }) {
        return policy_fault::transport_lacks_submit;
    } else if constexpr (!requires(T t, subscription const& sub, unique_function<void()> pushed) {
                             t.listen(sub, std::move(pushed));
                         }) {
        return policy_fault::transport_lacks_listen;
    } else if constexpr (!requires(T t) { t.loop(); }) {
        return policy_fault::transport_lacks_loop;
    } else {
        return policy_fault::none;
    }
}

template <typename T>
constexpr policy_fault fault_of_transport() {
    if constexpr (!requires(T t, transport_settings const& s) {
                      { t.open(s) } -> std::same_as<result<void>>;
                  }) {
        return policy_fault::transport_lacks_open;
    } else if constexpr (has_submit<T> && !has_perform<T>) {
        return fault_of_async_transport<T>();
    } else if constexpr (!requires(T t, operation const& request, microseconds timeout) {
                             { t.perform(request, timeout) } -> std::same_as<result<reply>>;
                         }) {
        return policy_fault::transport_lacks_perform;
    } else if constexpr (!requires(T t, subscription const& sub, microseconds timeout) {
                             { t.wait(sub, timeout) } -> std::same_as<wake_reason>;
                         }) {
        return policy_fault::transport_lacks_wait;
    } else if constexpr (!requires(T t) { t.wake(); }) {
        return policy_fault::transport_lacks_wake;
    } else {
        return policy_fault::none;
    }
}

template <typename T>
constexpr policy_fault fault_of_strategy() {
    if constexpr (strategy_policy<T>) {
        return policy_fault::none;
    } else if constexpr (
        requires(T s, cluster_view const& view) {
            { s.make_plan(view) } -> std::same_as<plan>;
        } || requires(T s, cluster_view const& view, plan& into) { s.make_plan(view, into); }) {
        return policy_fault::strategy_is_not_const;
    } else {
        return policy_fault::strategy_lacks_make_plan;
    }
}

template <typename T>
constexpr policy_fault fault_of_clock() {
    if constexpr (clock_policy<T>) {
        return policy_fault::none;
    } else if constexpr (requires(T c) {
                             { c.now() } -> std::same_as<instant>;
                         }) {
        return policy_fault::clock_is_not_const;
    } else {
        return policy_fault::clock_lacks_now;
    }
}

template <typename Policy>
constexpr policy_fault fault_of_policy() {
    using plain = unwrapped_t<Policy>;
    constexpr role part = role_of<Policy>();
    if constexpr (part != role::sink && part != role::unknown && sink_policy<plain>)
        return policy_fault::two_roles;
    else if constexpr (part == role::transport)
        return fault_of_transport<plain>();
    else if constexpr (part == role::strategy)
        return fault_of_strategy<plain>();
    else if constexpr (part == role::clock)
        return fault_of_clock<plain>();
    else
        return part == role::sink ? policy_fault::none : policy_fault::unknown;
}

// The first fault: of a policy alone, then of all together.
template <typename... Policies>
constexpr policy_fault fault_of_set() {
    policy_fault fault = policy_fault::none;
    (void)((fault = fault_of_policy<Policies>(), fault != policy_fault::none) || ...);
    if (fault != policy_fault::none) return fault;
    if (count_of<role::transport, Policies...> == 0) return policy_fault::no_transport;
    if (count_of<role::transport, Policies...> > 1) return policy_fault::two_transports;
    if (count_of<role::strategy, Policies...> > 1) return policy_fault::two_strategies;
    if (count_of<role::clock, Policies...> > 1) return policy_fault::two_clocks;
    if (count_of<role::sink, Policies...> > 1) return policy_fault::two_sinks;
    return policy_fault::none;
}

/// Says what is wrong, at compile time; always true, so that this is all that the compiler says.
template <policy_fault Fault>
constexpr bool refuse() {
    using enum policy_fault;
    static_assert(Fault != unknown,
                  "rota: this type is no policy: no transport (perform), strategy (make_plan), clock (now), nor a sink "
                  "(callable with `rota::event const&`, or so with one of its types)");
    static_assert(Fault != transport_lacks_open,
                  "rota: the transport policy lacks `rota::result<void> open(rota::transport_settings const&)`");
    static_assert(Fault != transport_lacks_perform,
                  "rota: the transport policy lacks `rota::result<rota::reply> perform(rota::operation const&, "
                  "rota::microseconds timeout)`");
    static_assert(Fault != transport_lacks_wait,
                  "rota: the transport policy lacks `rota::wake_reason wait(rota::subscription const&, "
                  "rota::microseconds timeout)`");
    static_assert(Fault != transport_lacks_wake, "rota: the transport policy lacks `void wake()`");
    static_assert(Fault != transport_lacks_submit,
                  "rota: the transport policy lacks `void submit(rota::operation const&, rota::microseconds timeout, "
                  "handler of rota::result<rota::reply>)`");
    static_assert(Fault != transport_lacks_listen,
                  "rota: the transport policy lacks `void listen(rota::subscription const&, handler of nothing)`");
    static_assert(Fault != transport_lacks_loop, "rota: the transport policy lacks `rota::loop_ref loop()`");
    static_assert(Fault != strategy_is_not_const,
                  "rota: the strategy policy's make_plan must be const: a plan is a pure function of the view");
    static_assert(Fault != strategy_lacks_make_plan,
                  "rota: the strategy policy lacks `rota::plan make_plan(rota::cluster_view const&) const`");
    static_assert(Fault != clock_is_not_const, "rota: the clock policy's now must be const: any thread may read it");
    static_assert(Fault != clock_lacks_now,
                  "rota: the clock policy lacks `rota::instant now() const` (what has a member `now` "
                  "is taken for a clock; of a memory_store, pass rota::memory_transport{store})");
    static_assert(Fault != two_roles,
                  "rota: this policy is an event sink (it is callable) and something else as well: make two of it, or "
                  "its events would be lost");
    static_assert(Fault != no_transport,
                  "rota: no transport given: name one (rota::memory_transport, rota::hiredis_sync); it is never "
                  "defaulted, for then every process would elect itself");
    static_assert(Fault != two_transports, "rota: two transports given: a coordinator has one");
    static_assert(Fault != two_strategies, "rota: two strategies given: a coordinator has one");
    static_assert(Fault != two_clocks, "rota: two clocks given: a coordinator has one");
    static_assert(Fault != two_sinks, "rota: two event sinks given: compose them with rota::sinks");
    return true;
}

template <typename... Policies>
struct policy_set {
    static constexpr policy_fault fault = fault_of_set<Policies...>();
    static constexpr bool valid = fault == policy_fault::none;
    // Calls take a handler last, and nothing waits.
    static constexpr bool is_async = valid && (has_submit_only<unwrapped_t<Policies>> || ...);

    template <role Role, typename Fallback, typename Refused>
    using type_for = std::conditional_t<valid, typename first_of_role<Role, Fallback, Policies...>::type, Refused>;

    using transport = type_for<role::transport, no_transport, no_transport>;
    using strategy = type_for<role::strategy, least_moves, least_moves>;
    using clock = type_for<role::clock, boottime_clock, boottime_clock>;
    using sink = type_for<role::sink, null_sink, null_sink>;
};

/// The argument of type T among those given, or a default.
template <typename T>
T pick() {
    static_assert(
        std::is_default_constructible_v<T>,
        "rota: a policy without a default constructor must be passed, e.g. rota::hiredis_sync{\"redis://host:6379\"}");
    if constexpr (std::is_default_constructible_v<T>) {
        return T{};
    } else {
        std::terminate();  // refused above; nothing more is said
    }
}
template <typename T, typename First, typename... Rest>
T pick(First& first, Rest&... rest) {
    if constexpr (std::is_same_v<First, T>) {
        return std::move(first);
    } else {
        return pick<T>(rest...);
    }
}

}  // namespace rota::detail
