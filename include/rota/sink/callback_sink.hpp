// A sink of functions, for programs that care about a few events:
//
//   callback_sink{[](node_joined const& e) { ... }, [](ownership_changed const& e) { ... }}
//
// An event that no function takes is skipped. A function that takes `event const&` (also as `auto const&`: it then gets
// the variant) is for the rest: it gets the events that no function for their own type has taken.
#pragma once

#include <tuple>
#include <type_traits>
#include <utility>

#include "../detail/deliver.hpp"
#include "../events.hpp"
#include "../policies.hpp"

namespace rota {

/// Holds the functions by value (share one by std::ref). Several for one type are called in order.
template <typename... Functions>
class callback_sink {
    static_assert(sizeof...(Functions) > 0, "rota::callback_sink: needs a function; null_sink drops all events");
    static_assert((sink_policy<detail::unwrapped_t<Functions>> && ...),
                  "rota::callback_sink: each function must take rota::event const&, or some of the event types");

public:
    constexpr explicit callback_sink(Functions... functions) : functions_{std::move(functions)...} {}

    constexpr void operator()(event const& e) {
        std::apply([&](Functions&... f) { call(e, f...); }, functions_);
    }

private:
    template <typename Function>
    static constexpr bool for_the_rest = detail::takes<detail::unwrapped_t<Function>, event>;

    static constexpr void call(event const& e, Functions&... functions) {
        bool taken = false;
        auto offer = [&](auto& f, bool due) {
            if (due && detail::deliver(f, e)) taken = true;
        };
        (offer(functions, !for_the_rest<Functions>), ...);
        if (!taken) (offer(functions, for_the_rest<Functions>), ...);
    }

    [[no_unique_address]] std::tuple<Functions...> functions_;
};

}  // namespace rota
