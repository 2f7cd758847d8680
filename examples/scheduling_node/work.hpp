// What a run does: nothing, for a while. It stands for what a service would do with a schedule under lock.token().
//
// It goes on in small steps, so that whoever takes them can look between them whether the lock is still valid, and asks
// for more time when half of what it has is over.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include <rota/types.hpp>

namespace example {

class work {
public:
    work(rota::microseconds time, rota::microseconds lock_ttl)
        : time_{time},
          lock_ttl_{lock_ttl},
          extend_after_{std::min(time, lock_ttl) / 2} {}

    struct step {
        bool extend_first = false;  ///< the lock, by its ttl
        rota::microseconds time{};  ///< to spend
    };
    /// What to do next; nothing: the work is done.
    [[nodiscard]] std::optional<step> next() {
        constexpr rota::microseconds slice = std::chrono::milliseconds{5};
        if (done_ >= time_) return std::nullopt;
        bool const extend = done_ >= extend_after_;
        if (extend) extend_after_ = done_ + lock_ttl_ / 2;
        auto const time = std::min({slice, time_ - done_, std::max(extend_after_ - done_, rota::microseconds{1})});
        done_ += time;
        return step{extend, time};
    }

private:
    rota::microseconds time_;
    rota::microseconds lock_ttl_;
    rota::microseconds extend_after_;
    rota::microseconds done_{};
};

}  // namespace example
