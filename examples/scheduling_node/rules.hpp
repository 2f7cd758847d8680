// What the blocking and the asynchronous node both go by: what they register, and what an error means for them.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include <fmt/core.h>

#include <rota/operations.hpp>
#include <rota/result.hpp>
#include <rota/types.hpp>

#include "command_line.hpp"

namespace example {

inline constexpr auto join_retry = std::chrono::milliseconds{100};
inline constexpr auto registration_retry = std::chrono::milliseconds{500};
inline constexpr auto housekeeping_interval = std::chrono::milliseconds{500};

/// The schedules to register from this number on, as many as make one request. One page after the other, so that a lost
/// connection does not cost a timeout for each.
[[nodiscard]] inline std::vector<rota::schedule> page_from(std::uint32_t first, settings const& asked) {
    std::vector<rota::schedule> page;
    auto const end = std::min(asked.schedules, first + static_cast<std::uint32_t>(rota::op::max_batch));
    for (auto i = first; i < end; ++i) {
        page.push_back({.id = fmt::format("schedule-{}", i), .rules = {.required = asked.required_labels}});
    }
    return page;
}

/// At the end of its ttl the group may take a node for dead: no use in locks that last longer.
[[nodiscard]] inline rota::microseconds lock_ttl(settings const& asked) {
    return rota::with_defaults(asked.options).node_ttl;
}

/// Joining may work later; any other error: it will never work like this.
[[nodiscard]] inline bool may_pass(rota::error const& why) {
    return why == rota::errc::unavailable || why == rota::errc::timed_out || why == rota::errc::outcome_unknown;
}

/// A lock was refused for what ails the node, not just one schedule.
[[nodiscard]] inline bool concerns_all(rota::error const& why) {
    return why != rota::errc::not_owner && why != rota::errc::locked_by_other && why != rota::errc::unknown_schedule;
}

inline constexpr int exit_refused = 1;
inline constexpr int exit_bad_usage = 2;

[[nodiscard]] inline int exit_code_of(rota::error const& why) {
    return why == rota::errc::invalid_argument ? exit_bad_usage : exit_refused;
}

}  // namespace example
