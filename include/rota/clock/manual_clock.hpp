// A clock that stands still until it is told to advance: for tests that replay a scenario exactly. A handle: copies
// share one time, so a test keeps one and gives another to the coordinator. Any thread may read or advance it.
#pragma once

#include <atomic>
#include <memory>
#include <stdexcept>

#include "../types.hpp"

namespace rota {

class manual_clock {
public:
    explicit manual_clock(instant start = instant{std::chrono::hours{1}})
        : now_{std::make_shared<std::atomic<microseconds::rep>>(start.time_since_epoch().count())} {}

    [[nodiscard]] instant now() const noexcept { return instant{microseconds{now_->load()}}; }

    /// Moves time on. Throws std::logic_error for a negative step: node clocks never go back.
    void advance(microseconds by) const {
        if (by < microseconds{}) throw std::logic_error("rota::manual_clock: time never goes back");
        now_->fetch_add(by.count());
    }

private:
    std::shared_ptr<std::atomic<microseconds::rep>> now_;
};

}  // namespace rota
