// The clock of all input and output: when a connection is given up, a timer of a loop fires, an attempt is due.
// Promises: never goes back. Stands still while the machine is suspended, as the peer's timeouts are not rota's beliefs
// (those go by the coordinator's clock).
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>

#include "../types.hpp"

namespace rota::detail {

[[nodiscard]] inline microseconds io_now() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return microseconds{static_cast<std::int64_t>(t.tv_sec) * 1'000'000 + t.tv_nsec / 1'000};
}

/// `now + timeout`, for timeouts up to microseconds::max().
[[nodiscard]] inline microseconds io_deadline(microseconds now, microseconds timeout) noexcept {
    constexpr microseconds year = std::chrono::hours{24 * 365};
    return now + (timeout < year ? timeout : year);
}

}  // namespace rota::detail
