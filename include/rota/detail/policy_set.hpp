// Sorts the policies of a basic_coordinator into their roles, fills in defaults, and refuses what does not fit with one
// readable line per fault. A set that is not valid still has types for every role (stand-ins), so that the one line is
// all that the compiler says.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "../clock/boottime_clock.hpp"
#include "../policies.hpp"
#include "../sink/null_sink.hpp"
#include "../strategy/least_moves.hpp"

namespace rota::detail {

template <typename T, typename... Others>
concept one_of = (std::same_as<T, Others> || ...);

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

// What stands in for a policy that was refused.
struct no_transport {
    result<void> open(transport_settings const&) { return {}; }
    result<reply> perform(operation const&, microseconds) { return errc::unavailable; }
    wake_reason wait(subscription const&, microseconds) { return wake_reason::timeout; }
    void wake() {}
};

template <bool Say, typename T>
constexpr bool check_transport() {
    using plain = unwrapped_t<T>;
    using settings = transport_settings const&;
    constexpr bool opens = requires(plain t, settings s) {
        { t.open(s) } -> std::same_as<result<void>>;
    };
    constexpr bool performs = requires(plain t, operation const& request, microseconds timeout) {
        { t.perform(request, timeout) } -> std::same_as<result<reply>>;
    };
    constexpr bool waits = requires(plain t, subscription const& sub, microseconds timeout) {
        { t.wait(sub, timeout) } -> std::same_as<wake_reason>;
    };
    constexpr bool wakes = requires(plain t) { t.wake(); };
    static_assert(!Say || (opens),
                  "rota: the transport policy lacks `rota::result<void> open(rota::transport_settings const&)`");
    static_assert(!Say || (performs),
                  "rota: the transport policy lacks `rota::result<rota::reply> perform(rota::operation const&, "
                  "rota::microseconds timeout)`");
    static_assert(
        !Say || (waits),
        "rota: the transport policy lacks `rota::wake_reason wait(rota::subscription const&, rota::microseconds "
        "timeout)`");
    static_assert(!Say || (wakes), "rota: the transport policy lacks `void wake()`");
    return opens && performs && waits && wakes;
}

template <bool Say, typename T>
constexpr bool check_strategy_policy() {
    using plain = unwrapped_t<T>;
    constexpr bool plans = strategy_policy<plain>;
    constexpr bool plans_if_not_const = requires(plain s, cluster_view const& view) {
        { s.make_plan(view) } -> std::same_as<plan>;
    } || requires(plain s, cluster_view const& view, plan& into) { s.make_plan(view, into); };
    static_assert(!Say || (plans || !plans_if_not_const),
                  "rota: the strategy policy's make_plan must be const: a plan is a pure function of the view");
    static_assert(!Say || (plans || plans_if_not_const),
                  "rota: the strategy policy lacks `rota::plan make_plan(rota::cluster_view const&) const`");
    return plans;
}

template <bool Say, typename T>
constexpr bool check_clock() {
    using plain = unwrapped_t<T>;
    constexpr bool tells = clock_policy<plain>;
    constexpr bool tells_if_not_const = requires(plain c) {
        { c.now() } -> std::same_as<instant>;
    };
    static_assert(!Say || (tells || !tells_if_not_const),
                  "rota: the clock policy's now must be const: any thread may read it");
    static_assert(!Say || (tells || tells_if_not_const), "rota: the clock policy lacks `rota::instant now() const`");
    return tells;
}

template <bool Say, typename T>
constexpr bool check_role() {
    static_assert(!Say || (role_of<T>() != role::unknown),
                  "rota: this type is no policy: no transport (perform), strategy (make_plan), clock (now), nor a sink "
                  "(callable with rota::event or one of its types)");
    if constexpr (role_of<T>() == role::transport)
        return check_transport<Say, T>();
    else if constexpr (role_of<T>() == role::strategy)
        return check_strategy_policy<Say, T>();
    else if constexpr (role_of<T>() == role::clock)
        return check_clock<Say, T>();
    else
        return role_of<T>() == role::sink;
}

template <typename... Policies>
struct policy_set {
    template <role Role>
    static constexpr std::size_t count = count_of<Role, Policies...>;

    static constexpr bool each_fits = (true && ... && check_role<false, Policies>());
    static constexpr bool valid = each_fits && count<role::transport> == 1 && count<role::strategy> < 2 &&
                                  count<role::clock> < 2 && count<role::sink> < 2;

    template <role Role, typename Fallback, typename Refused>
    using type_for = std::conditional_t<valid, typename first_of_role<Role, Fallback, Policies...>::type, Refused>;

    using transport = type_for<role::transport, no_transport, no_transport>;
    using strategy = type_for<role::strategy, least_moves, least_moves>;
    using clock = type_for<role::clock, boottime_clock, boottime_clock>;
    using sink = type_for<role::sink, null_sink, null_sink>;

    // Last, so that the names above stand even where one fails.
    static_assert((true && ... && (check_role<true, Policies>() || true)));
    // One line at a time: the count is looked at once each policy is one.
    static_assert(
        !each_fits || count<role::transport> > 0,
        "rota: no transport given: name one (rota::memory_transport, rota::hiredis_sync); it is never defaulted, "
        "for then every process would elect itself");
    static_assert(count<role::transport> < 2, "rota: two transports given: a coordinator has one");
    static_assert(count<role::strategy> < 2, "rota: two strategies given: a coordinator has one");
    static_assert(count<role::clock> < 2, "rota: two clocks given: a coordinator has one");
    static_assert(count<role::sink> < 2, "rota: two event sinks given: compose them with rota::sinks");
};

/// The argument of type T among those given, or a default.
template <typename T>
T pick() {
    static_assert(std::is_default_constructible_v<T>, "rota: a policy without a default constructor must be passed");
    return T{};
}
template <typename T, typename First, typename... Rest>
T pick(First& first, Rest&... rest) {
    if constexpr (std::same_as<std::remove_cv_t<First>, T>) {
        return std::move(first);
    } else {
        return pick<T>(rest...);
    }
}

}  // namespace rota::detail
