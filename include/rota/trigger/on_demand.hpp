// Runs a schedule when worker::trigger() asks for it, on whichever node that is called, and at no other time.
#pragma once

#include <optional>

#include "trigger.hpp"

namespace rota {

struct on_demand {
    [[nodiscard]] constexpr std::optional<microseconds> next_run(schedule_times const&) const { return std::nullopt; }
};

}  // namespace rota
