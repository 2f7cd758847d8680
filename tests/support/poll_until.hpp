// Waiting for real servers and processes: a deadline, and poll_until, the only place of the tests that sleeps.
//
// poll_until looks at a condition every few milliseconds, until it holds or the deadline passes; a test that waits thus
// takes no longer than it must, and fails instead of hanging. Tests on virtual time have no use for it.
#pragma once

#include <algorithm>
#include <chrono>
#include <thread>

namespace rota::test {

/// A point of the steady clock (CLOCK_MONOTONIC) by which something must have happened. Made from a duration ("within
/// 2 s from now") or from a time point.
class deadline {
public:
    using clock = std::chrono::steady_clock;

    template <typename Rep, typename Period>
    deadline(std::chrono::duration<Rep, Period> within) : at_{clock::now() + within} {}
    deadline(clock::time_point at) : at_{at} {}

    [[nodiscard]] clock::time_point at() const { return at_; }
    [[nodiscard]] bool passed() const { return clock::now() >= at_; }

    /// What is left, rounded up to a whole millisecond; never negative.
    [[nodiscard]] std::chrono::milliseconds remaining() const {
        auto const left = std::chrono::ceil<std::chrono::milliseconds>(at_ - clock::now());
        return std::max(left, std::chrono::milliseconds{0});
    }

    /// The same as the timeout of poll(2).
    [[nodiscard]] int poll_timeout_ms() const {
        return static_cast<int>(std::min<std::chrono::milliseconds::rep>(remaining().count(), 60'000));
    }

private:
    clock::time_point at_;
};

/// True as soon as `condition()` holds; false if it did not by `until`. It is looked at once more after the deadline,
/// so a slow machine does not turn a condition that holds into a failure.
template <typename Condition>
[[nodiscard]] bool poll_until(deadline until, Condition&& condition,
                              std::chrono::milliseconds interval = std::chrono::milliseconds{2}) {
    while (true) {
        bool const last_look = until.passed();
        if (condition()) return true;
        if (last_look) return false;
        std::this_thread::sleep_for(std::min(interval, until.remaining()));
    }
}

}  // namespace rota::test
