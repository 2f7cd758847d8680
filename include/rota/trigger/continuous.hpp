// Runs each schedule again and again: at once when it comes to a node, and then a pause after each run's end. What a
// worker does that is given no trigger.
#pragma once

#include <chrono>
#include <optional>

#include "trigger.hpp"

namespace rota {

struct continuous {
    microseconds pause = std::chrono::seconds{1};  ///< from the end of a run to the next

    [[nodiscard]] constexpr std::optional<microseconds> next_run(schedule_times const& t) const {
        return t.last_end ? pause : microseconds{};
    }
};

}  // namespace rota
