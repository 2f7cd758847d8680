// How one event gets to one sink, whatever the sink takes: the one place that knows. Used by the coordinator and by
// the sinks that hold other sinks or functions.
#pragma once

#include <type_traits>
#include <variant>

#include "../events.hpp"
#include "../policies.hpp"

namespace rota::detail {

template <typename Event, typename Sink, typename Variant>
constexpr bool deliver_if_taken(Sink& sink, Variant const& e) noexcept {
    if constexpr (takes<Sink, Event>) {
        if (auto const* held = std::get_if<Event>(&e)) {
            static_cast<void>(sink(*held));
            return true;
        }
    }
    return false;
}

template <typename Variant>
struct alternatives_of;
template <typename... Events>
struct alternatives_of<std::variant<Events...>> {
    template <typename Sink>
    static constexpr bool deliver(Sink& sink, std::variant<Events...> const& e) noexcept {
        return (deliver_if_taken<Events>(sink, e) || ...);
    }
};

/// Gives `e` to `sink` (or to what a std::reference_wrapper refers to): as a whole if it takes `event const&`, else the
/// type that it holds, if the sink takes that. Returns whether it was taken. noexcept: a sink that throws terminates.
template <typename Sink>
constexpr bool deliver(Sink& sink, event const& e) noexcept {
    auto& target = unwrap(sink);
    using target_type = std::remove_reference_t<decltype(target)>;
    static_assert(sink_policy<target_type>, "rota: a sink must take rota::event const&, or some of the event types");
    if constexpr (takes<target_type, event>) {
        static_cast<void>(target(e));
        return true;
    } else {
        return alternatives_of<event>::deliver(target, e);
    }
}

}  // namespace rota::detail
