// job: what a worker's handler is given of the run that it is to do.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <utility>

#include "schedule_lock.hpp"
#include "types.hpp"

namespace rota {

/// One run, on a thread of the worker's, under a lock that the worker holds and extends until the handler returns. Not
/// to be kept beyond that. Any thread may use it.
///
/// Look at stop_requested() between steps, at least once per worker_options::stop_margin, and return when it is true.
/// Nothing stops a thread between that look and its next effect: pass token() along with every effect, so that the
/// resource can reject whoever comes late.
class job {
public:
    [[nodiscard]] std::string const& schedule() const noexcept { return schedule_; }

    /// Fencing token of the run's lock: higher than that of any earlier run of the schedule, on whatever node.
    [[nodiscard]] fencing_token token() const noexcept { return lock_.token(); }

    /// Fencing token of this node's ownership of the schedule, as it was when the run began.
    [[nodiscard]] fencing_token generation() const noexcept { return generation_; }

    /// 1, or more if the runs before this one failed (worker_options::retry).
    [[nodiscard]] std::uint32_t attempt() const noexcept { return attempt_; }

    /// Whether to return now: the lock is about to end, the run takes too long, or the worker shuts down. A local read,
    /// true `stop_margin` before the lock's validity ends, however busy the worker's other threads are.
    [[nodiscard]] bool stop_requested() const { return stop_.stop_requested() || lock_.remaining() <= margin_; }

    /// The same for what waits for a std::stop_token (condition_variable_any, callbacks). Callbacks run on a thread of
    /// the worker that has other things to do: keep them short.
    [[nodiscard]] std::stop_token stop_token() const noexcept { return stop_; }

    /// For how long the lock is valid if nothing more is heard from the server; 0 when it is not. Rises as it is extended.
    [[nodiscard]] microseconds remaining() const { return lock_.remaining(); }

    /// For workers. `lock` outlives the job.
    job(std::string schedule, schedule_lock const& lock, fencing_token generation, std::uint32_t attempt,
        std::stop_token stop, microseconds margin)
        : schedule_{std::move(schedule)},
          lock_{lock},
          generation_{generation},
          attempt_{attempt},
          stop_{std::move(stop)},
          margin_{margin} {}
    job(job const&) = delete;
    job& operator=(job const&) = delete;

private:
    std::string schedule_;
    schedule_lock const& lock_;
    fencing_token generation_;
    std::uint32_t attempt_;
    std::stop_token stop_;
    microseconds margin_;
};

}  // namespace rota
