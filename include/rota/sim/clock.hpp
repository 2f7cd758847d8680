// A node's clock: true time seen through a rate and an offset of its own. The monotonic clock, which rota uses, never
// goes back; wall time may jump, and nothing may depend on it.
#pragma once

#include <cstdint>

#include "../types.hpp"
#include "event_queue.hpp"

namespace rota::sim {

class node_clock {
public:
    /// Rates are kept in parts per billion: integers, so that every machine agrees.
    static constexpr std::int64_t billion = 1'000'000'000;

    node_clock() = default;
    node_clock(moment now, instant shows, std::int64_t fast_by_ppb)
        : base_true_{now},
          base_node_{shows},
          fast_by_{fast_by_ppb} {}

    [[nodiscard]] instant at(moment now) const {
        auto const passed = (now - base_true_).count();
        auto const shown = base_node_ + microseconds{passed + scaled(passed, fast_by_)};
        return shows_wall_time ? shown + wall_offset : shown;
    }

    /// The first moment at which it shows `then` or more.
    [[nodiscard]] moment when(instant then) const {
        if (shows_wall_time) then -= wall_offset;
        auto const needed = (then - base_node_).count();
        if (needed <= 0) return base_true_;
        // One step of correction after the first guess is enough for rates near 1.
        auto guess = needed - scaled(needed, fast_by_);
        for (int i = 0; i < 3; ++i) guess += needed - (guess + scaled(guess, fast_by_));
        while (guess + scaled(guess, fast_by_) < needed) ++guess;
        while (guess > 0 && guess - 1 + scaled(guess - 1, fast_by_) >= needed) --guess;
        return base_true_ + microseconds{guess};
    }

    [[nodiscard]] std::int64_t fast_by() const { return fast_by_; }
    void run_fast_by(moment now, std::int64_t ppb) {
        base_node_ = shows_wall_time ? at(now) - wall_offset : at(now);
        base_true_ = now;
        fast_by_ = ppb;
    }

    /// Wall time less true time.
    microseconds wall_offset{};
    /// A defect: who asks for the monotonic clock is shown wall time.
    bool shows_wall_time = false;

private:
    static constexpr std::int64_t scaled(std::int64_t time, std::int64_t ppb) {
        return time / billion * ppb + time % billion * ppb / billion;
    }

    moment base_true_{};
    instant base_node_{};
    std::int64_t fast_by_ = 0;
};

}  // namespace rota::sim
