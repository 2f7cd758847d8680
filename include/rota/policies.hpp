// The four policy roles of basic_coordinator and what each must offer. A role is recognised by one name; the whole
// contract is then checked by the static_asserts of coordinator.hpp, one per requirement, each naming what is missing.
//
//   role       recognised by     must offer                                               see
//   transport  perform / submit  open, perform, wait, wake (blocking)                     blocking_transport
//                                open, submit, listen, loop (asynchronous)                async_transport
//   strategy   make_plan         make_plan(cluster_view const&) const -> plan, or         strategy_policy
//                                make_plan(cluster_view const&, plan& recycled) const
//   clock      now               now() const -> rota::instant, monotonic                  clock_policy
//   sink       (any callable)    operator()(event const&), or of some event types         sink_policy
//
// Policies are held by value; share one with std::ref, or through a handle of its own (memory_transport does).
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cluster_view.hpp"
#include "events.hpp"
#include "operations.hpp"
#include "result.hpp"
#include "types.hpp"

namespace rota {

/// What a transport is told before its first operation.
struct transport_settings {
    std::string key_prefix{};   ///< names the group; not empty, no braces
    std::string client_name{};  ///< shown in the server's list of clients
    microseconds operation_timeout{};
};

/// Which of the group's events end a sleep.
enum class group_interest : std::uint8_t {
    none,
    calls,  ///< those of which op::calls_leader() is true
    all,
};

/// What a sleeping transport listens for. Cursors, so that nothing between reading and sleeping is missed.
struct subscription {
    fencing_token incarnation = 0;  ///< whose change log; 0: none
    std::uint64_t version = 0;      ///< changes after this wake
    group_interest group{};
    fencing_token epoch = 0;  ///< of the group's event log
    std::uint64_t seq = 0;    ///< events after this wake

    friend bool operator==(subscription const&, subscription const&) = default;
};

enum class wake_reason : std::uint8_t {
    timeout,  ///< the time is over
    woken,    ///< wake() was called
    pushed,   ///< something was added to what the subscription follows (or may have been: see pushed_news)
};

/// What ended a sleep, from a transport that hears more than that something is new. It may say less than there is, never
/// what is not: what it leaves out, the next tick tells of.
struct pushed_news {
    fencing_token incarnation = 0;  ///< whose change log was read; 0: none
    std::uint64_t version = 0;      ///< the changes follow that version, without a hole
    op::changes_reply changes{};    ///< as of op::changes_since; gap: something is there, look for yourself
    bool group = false;             ///< the group's event log goes on
};

namespace detail {

// Unwraps std::reference_wrapper, so that a policy shared by std::ref is recognised as what it refers to.
template <typename T>
struct unwrapped {
    using type = T;
};
template <typename T>
    requires requires(T t) {
        typename T::type;
        { t.get() } -> std::same_as<typename T::type&>;
        requires std::convertible_to<T, typename T::type&>;
    }
struct unwrapped<T> {
    using type = typename T::type;
};
template <typename T>
using unwrapped_t = typename unwrapped<std::remove_cvref_t<T>>::type;

template <typename T>
constexpr unwrapped_t<T>& unwrap(T& policy) {
    if constexpr (std::same_as<unwrapped_t<T>, T>) {
        return policy;
    } else {
        return policy.get();
    }
}

template <typename T>
constexpr unwrapped_t<T> const& unwrap(T const& policy) {
    if constexpr (std::same_as<unwrapped_t<T>, T>) {
        return policy;
    } else {
        return policy.get();
    }
}

// Recognition by one name, however it is declared (overloaded, wrong signature, not const): an ambiguity trick. A class
// that inherits `T` and a class with the name cannot name it unambiguously if T has it too.
#define ROTA_DETAIL_HAS_NAME(name)                                                                              \
    struct fallback_##name {                                                                                    \
        int name;                                                                                               \
    };                                                                                                          \
    template <typename T>                                                                                       \
    struct probe_##name : T, fallback_##name {};                                                                \
    template <typename T>                                                                                       \
    constexpr bool finds_##name() {                                                                             \
        if constexpr (!std::is_class_v<T>) {                                                                    \
            return false;                                                                                       \
        } else if constexpr (std::is_final_v<T>) { /* cannot be derived from: overloaded names are not found */ \
            return requires { &T::name; };                                                                      \
        } else {                                                                                                \
            return !requires { &probe_##name<T>::name; };                                                       \
        }                                                                                                       \
    }                                                                                                           \
    template <typename T>                                                                                       \
    concept has_##name = finds_##name<T>();
ROTA_DETAIL_HAS_NAME(perform)
ROTA_DETAIL_HAS_NAME(submit)
ROTA_DETAIL_HAS_NAME(make_plan)
ROTA_DETAIL_HAS_NAME(now)
#undef ROTA_DETAIL_HAS_NAME

template <typename T>
concept transport_like = has_perform<unwrapped_t<T>> || has_submit<unwrapped_t<T>>;
template <typename T>
concept strategy_like = has_make_plan<unwrapped_t<T>>;
template <typename T>
concept clock_like = has_now<unwrapped_t<T>>;

template <typename Sink, typename Event>
concept takes = std::invocable<Sink&, Event const&>;

template <typename Sink, typename Variant>
inline constexpr bool takes_some = false;
template <typename Sink, typename... Events>
inline constexpr bool takes_some<Sink, std::variant<Events...>> = (takes<Sink, Events> || ...);

}  // namespace detail

/// Requirements of a blocking transport `t`. Threads: perform and open by one thread at a time; wait by one thread at a
/// time, concurrently with perform; wake by any thread, at any time, never blocking.
///
/// | expression                  | type                | meaning |
/// | t.open(settings)            | result<void>        | remember the settings and check what can be checked without a server; called again by each join |
/// | t.perform(op, timeout)      | result<reply>       | one attempt within `timeout`; on success the reply holds Op::reply. unavailable, timed_out: nothing was done; outcome_unknown: it may have been |
/// | t.wait(sub, timeout)        | wake_reason         | sleep until something new, a wake() since the last wait began, or the timeout |
/// | t.wake()                    | -                   | end the present or the next wait |
/// | t.take_news(sub)            | std::optional<pushed_news> | optional: what a wait() was ended by (pushed), seen from `sub`; called at most once for each such wait, while no request is under way. Never what came from another server, or another run of it, than the last request went to. nullopt: not known |
/// | t.take_warnings()           | std::vector<error>  | optional: what an operator should know, once each |
/// | t.take_server_changed()     | bool                | optional: another server, or another run of it, answers than before |
/// | t.wake_fd()                 | int                 | optional: a descriptor that polls readable when wait would return at once |
template <typename T>
concept blocking_transport = requires(T t, operation const& request, transport_settings const& settings,
                                      subscription const& sub, microseconds timeout) {
    { t.open(settings) } -> std::same_as<result<void>>;
    { t.perform(request, timeout) } -> std::same_as<result<reply>>;
    { t.wait(sub, timeout) } -> std::same_as<wake_reason>;
    t.wake();
};

/// Requirements of an asynchronous transport `t`. Threads: all on the thread of its event loop. Handlers and callbacks
/// are called there, never inside the call that they were given to; they may call the transport, and destroy it.
///
/// | expression                      | type                | meaning |
/// | t.open(settings)                | result<void>        | as of a blocking_transport |
/// | t.submit(op, timeout, handler)  | -                   | one attempt within `timeout`; calls `handler(result<reply>)` exactly once: errors as of perform(), and cancelled when the transport is destroyed first (then what was sent may have been done). Handlers are called in the order in which their operations were performed |
/// | t.listen(sub, on_push)          | -                   | calls `on_push()` once when something is there that is newer than the subscription, until the next listen(), which takes its place; a hint, never the truth |
/// | t.loop()                        | loop_ref            | its event loop (loop/event_loop.hpp) |
/// | t.take_news(sub)                | std::optional<pushed_news> | optional, as of a blocking_transport: after on_push() |
/// | t.take_warnings()               | std::vector<error>  | optional, as of a blocking_transport |
/// | t.take_server_changed()         | bool                | optional, as of a blocking_transport |
template <typename T>
concept async_transport =
    requires(T t, operation const& request, transport_settings const& settings, subscription const& sub,
             microseconds timeout, void (*handler)(result<reply>), void (*on_push)()) {
        { t.open(settings) } -> std::same_as<result<void>>;
        t.submit(request, timeout, handler);
        t.listen(sub, on_push);
        t.loop();
    };

/// Requirements of a strategy `s` (const: a pure function of the view; same view, same plan; ends within
/// options::planning_budget; places orphans before it moves anything; keeps capacities; moves only what may_move();
/// a plan for the result of a plan moves nothing; for a view that is not complete, at most placements).
/// check_strategy.hpp holds a strategy of yours against all that. The leader checks what it can before it applies a plan.
template <typename T>
concept strategy_policy = requires(T const s, cluster_view const& view) {
    { s.make_plan(view) } -> std::same_as<plan>;
} || requires(T const s, cluster_view const& view, plan& recycled) { s.make_plan(view, recycled); };

/// Requirements of a clock `c`: now() never goes back, advances at the rate of real time within options::clock_drift,
/// also while the machine is suspended. Any thread may call it.
template <typename T>
concept clock_policy = requires(T const c) {
    { c.now() } -> std::same_as<instant>;
};

/// Requirements of a sink: callable with `event const&`, or with at least one event type; others are skipped. Called by
/// one thread at a time, in order, outside every lock of rota. Only local reads of the coordinator are allowed inside.
/// One that throws terminates the program.
template <typename T>
concept sink_policy = detail::takes<T, event> || detail::takes_some<T, event>;

}  // namespace rota
