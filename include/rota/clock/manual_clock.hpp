// A clock that stands still until it is told to advance: for tests that replay a scenario exactly. A handle: copies
// share one time, so a test keeps one and gives another to the coordinator. Any thread may read or advance it.
#pragma once

#include <atomic>
#include <memory>
#include <stdexcept>

#include "../detail/late.hpp"
#include "../types.hpp"

namespace rota {

// (A template for the reason that late.hpp gives.)
template <typename T = void>
class basic_manual_clock {
    using atomic_time = detail::late<std::atomic<microseconds::rep>, T>;

public:
    explicit basic_manual_clock(instant start = instant{std::chrono::hours{1}})
        : now_{std::make_shared<atomic_time>(start.time_since_epoch().count())} {}

    [[nodiscard]] instant now() const noexcept { return instant{microseconds{now_->load()}}; }

    /// Moves time on. Throws std::logic_error for a negative step: node clocks never go back.
    void advance(microseconds by) const {
        if (by < microseconds{}) throw std::logic_error("rota::manual_clock: time never goes back");
        now_->fetch_add(by.count());
    }

private:
    std::shared_ptr<atomic_time> now_;
};

using manual_clock = basic_manual_clock<>;

}  // namespace rota
