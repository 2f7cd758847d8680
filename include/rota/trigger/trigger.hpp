// When a worker runs a schedule that it owns: what a trigger policy is told, and what it answers. rota has every,
// continuous and on_demand; any type with the member of trigger_policy is one.
//
// A trigger only says when a run is wanted. Ownership, the lock, a free thread and retries after a failure come on top:
// a run may start later than asked for, and while one is in hand no other starts.
#pragma once

#include <concepts>
#include <optional>
#include <string_view>

#include "../types.hpp"

namespace rota {

/// What a trigger knows of a schedule when it is asked for the next run: as the schedule comes to this node, and again
/// at the end of each run (but where a retry is due first).
struct schedule_times {
    std::string_view schedule{};
    instant now{};          ///< on the node's monotonic clock
    microseconds wall{};    ///< the same moment since the Unix epoch, for what is to be alike on all nodes
    instant owned_since{};  ///< when this node learnt that it owns the schedule
    std::optional<instant> last_start{};  ///< of the latest run on this node under this ownership
    std::optional<instant> last_end{};
};

/// Requirements of a trigger `t` (const: any of the worker's threads may ask, one at a time; it must neither throw nor
/// take long).
///
/// | expression          | type                        | meaning |
/// | t.next_run(times)   | std::optional<microseconds> | how long from now; 0 or less: at once; nothing: only on worker::trigger() |
template <typename T>
concept trigger_policy = requires(T const t, schedule_times const& times) {
    { t.next_run(times) } -> std::same_as<std::optional<microseconds>>;
};

}  // namespace rota
