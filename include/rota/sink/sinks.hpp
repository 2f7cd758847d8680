// Several sinks as one: `sinks{log_sink{}, std::ref(mine)}`. Each gets every event that it takes, one after the other in
// the order given. Held by value; share one by std::ref, or through a handle of its own (recording_sink is one).
#pragma once

#include <tuple>
#include <utility>

#include "../detail/deliver.hpp"
#include "../events.hpp"
#include "../policies.hpp"

namespace rota {

template <typename... Sinks>
class sinks {
    static_assert((sink_policy<detail::unwrapped_t<Sinks>> && ...),
                  "rota::sinks: each must take rota::event const&, or some of the event types");

public:
    constexpr explicit sinks(Sinks... all) : all_{std::move(all)...} {}

    constexpr void operator()(event const& e) {
        std::apply([&](Sinks&... sink) { (detail::deliver(sink, e), ...); }, all_);
    }

private:
    [[no_unique_address]] std::tuple<Sinks...> all_;
};

}  // namespace rota
