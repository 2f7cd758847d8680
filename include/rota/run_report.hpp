// What a worker tells of its runs (worker::on_report), beside the events of its node, which go to the sink.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "options.hpp"
#include "sink/describe.hpp"
#include "types.hpp"

namespace rota {

/// Why a run was asked to stop.
enum class stop_cause : std::uint8_t {
    none,           ///< it was not
    lock_ending,    ///< its lock cannot be extended: no contact, or the schedule is to go to another node
    max_run_time,   ///< worker_options::max_run_time is over
    shutting_down,  ///< stop() was called, and little is left of worker_options::drain_budget
};

[[nodiscard]] constexpr std::string_view to_string(stop_cause cause) noexcept {
    switch (cause) {
        case stop_cause::none: return "not asked to stop";
        case stop_cause::lock_ending: return "its lock is about to end";
        case stop_cause::max_run_time: return "it takes longer than max_run_time";
        case stop_cause::shutting_down: return "the worker is shutting down";
    }
    return "unknown cause";
}

struct run_report {
    enum class what : std::uint8_t {
        started,   ///< its lock was taken, and a thread is about to call the handler (unless the worker stops first)
        finished,  ///< the handler returned
        failed,    ///< the handler threw or returned an error: `why`; goes on in `retry_in`
        stop_requested,  ///< `cause`
        stop_ignored,  ///< asked to stop, and still running after worker_options::stop_grace. Its lock is given up: its
                       ///< token counts for nothing against newer ones. Its thread and schedule stay occupied here
        refused,       ///< the lock was not granted, though this node is the owner: `why`; tried again soon
        registration_failed,  ///< of a schedule given to add(): `why`; it is dropped
    };

    what kind{};
    std::string schedule{};
    fencing_token token = 0;
    fencing_token generation = 0;
    std::uint32_t attempt = 0;
    microseconds took{};  ///< since the run began
    std::string why{};
    stop_cause cause{};                      ///< also of a run that has ended: why it was asked to stop
    std::optional<microseconds> retry_in{};  ///< nothing: at its next regular time
};

/// Whether an operator should look at it. These go to stderr from a worker without on_report().
[[nodiscard]] constexpr bool is_trouble(run_report::what kind) noexcept {
    using enum run_report::what;
    return kind == failed || kind == stop_ignored || kind == registration_failed;
}

namespace detail {

template <typename = void>
[[nodiscard]] std::string words_of(run_report const& r) {
    using enum run_report::what;
    switch (r.kind) {
        case started: return fmt::format("a run began, attempt {}, token {}", r.attempt, r.token);
        case finished: return "the run ended after " + in_words(r.took);
        case failed: {
            auto text = fmt::format("the run failed (attempt {}, after {}): {}", r.attempt, in_words(r.took), r.why);
            return text + (r.retry_in ? "; again in " + in_words(*r.retry_in) : "; again at its next regular time");
        }
        case stop_requested: return fmt::format("the run is asked to stop: {}", to_string(r.cause));
        case stop_ignored:
            return fmt::format("the run goes on although it was asked to stop ({}); its lock is given up, after {}",
                               to_string(r.cause), in_words(r.took));
        case refused: return "no lock: " + r.why;
        case registration_failed: return "not registered: " + r.why;
    }
    return "?";
}

}  // namespace detail

/// `r` in words: one line, without its end.
template <typename = void>
[[nodiscard]] std::string describe(run_report const& r) {
    return detail::one_line(detail::in_words(r.schedule) + ": " + detail::words_of(r));
}

}  // namespace rota
