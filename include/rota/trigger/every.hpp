// Runs each schedule once per period, at a phase of its own: a hash of its id, so that schedules do not fire in step and
// each keeps its phase over restarts and changes of owner. Phases are reckoned by wall clocks; where those of two nodes
// differ, so do the phases. No two runs begin within half a period: a step of the wall clock shifts the next by less than
// a period, and a run that began for another reason (triggered, tried again, late) takes the place of the next if that is
// less than half a period away.
#pragma once

#include <optional>
#include <stdexcept>

#include "../strategy/hashing.hpp"
#include "trigger.hpp"

namespace rota {

class every {
public:
    /// `period`: 1 ms .. 100 years, else std::logic_error. A run that takes longer skips what it missed.
    constexpr explicit every(microseconds period) : period_{period} {
        if (period < microseconds{1000}) throw std::logic_error("rota::every: a period of less than 1 ms");
        if (period > std::chrono::years{100}) throw std::logic_error("rota::every: a period of more than 100 years");
    }

    /// The same, with a first run as soon as a schedule comes to a node, whatever its phase: a change of owner then costs
    /// an extra run, in place of up to a period without any.
    [[nodiscard]] constexpr every and_when_acquired() const {
        auto copy = *this;
        copy.when_acquired_ = true;
        return copy;
    }

    [[nodiscard]] constexpr std::optional<microseconds> next_run(schedule_times const& t) const {
        if (when_acquired_ && !t.last_start) return microseconds{};
        auto const length = static_cast<std::uint64_t>(period_.count());
        microseconds const phase{static_cast<microseconds::rep>(detail::hash_of_id(t.schedule) % length)};
        auto since = (t.wall - phase) % period_;
        if (since < microseconds{}) since += period_;
        auto const wait = period_ - since;
        bool const same_point = t.last_start && wait + (t.now - *t.last_start) < period_ / 2;
        return same_point ? wait + period_ : wait;
    }

private:
    microseconds period_;
    bool when_acquired_ = false;
};

}  // namespace rota
