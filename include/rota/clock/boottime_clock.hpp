// The default clock: monotonic, and counting while the machine is suspended (CLOCK_BOOTTIME on Linux), because leases
// on the server go on running then. Elsewhere std::chrono::steady_clock, which may stop in suspend: a node that wakes
// up may then believe in a lease for longer than it has it, so raise options::safety_margin or forbid suspend.
#pragma once

#include <chrono>
#include <ctime>

#include "../types.hpp"

namespace rota {

struct boottime_clock {
    [[nodiscard]] instant now() const noexcept {
#ifdef CLOCK_BOOTTIME
        std::timespec t{};
        ::clock_gettime(CLOCK_BOOTTIME, &t);
        return instant{std::chrono::duration_cast<microseconds>(std::chrono::seconds{t.tv_sec} +
                                                                std::chrono::nanoseconds{t.tv_nsec})};
#else
        return instant{std::chrono::duration_cast<microseconds>(std::chrono::steady_clock::now().time_since_epoch())};
#endif
    }
};

}  // namespace rota
