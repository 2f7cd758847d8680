// The options of a worker, beside those of its node. All have defaults.
#pragma once

#include <chrono>
#include <cstdint>

#include <fmt/core.h>

#include "options.hpp"

namespace rota {

/// What follows a run that failed: another attempt after `first`, twice that, and so on up to `most`, each less a random
/// part of up to half. After `attempts` in a row the schedule waits for its next regular time, and counts anew.
struct retry_policy {
    std::uint32_t attempts = 3;                    ///< the first one included; 1: none is repeated. 1 .. 1000
    microseconds first = std::chrono::seconds{1};  ///< 1 ms .. 1 day
    microseconds most = std::chrono::minutes{1};   ///< `first` .. 1 day
};

/// An aggregate: name what differs, in this order: `rota::worker_options{.threads = 4, .max_run_time = 30s}`.
struct worker_options {
    /// Most runs at once on this node, each on a thread of its own. 0: the number of processors, and at least 4, since
    /// most handlers wait for something. At most 1000.
    std::uint32_t threads = 0;
    /// How long a lock is taken for. It is extended while the handler runs, at half of that. 0: node_ttl. 10 ms .. 30 days.
    microseconds lock_ttl{};
    /// How long before its lock ends a run is asked to stop. Give handlers as much as they need from one look at
    /// stop_requested() to the next. Less than half of lock_ttl, and less than node_ttl without heartbeat_interval and
    /// safety_margin, since a lock ends with its node at the latest. 0: a quarter of lock_ttl, or less if node_ttl is short.
    microseconds stop_margin{};
    /// A run that takes longer is asked to stop. 0: no limit. 0 .. 30 days.
    microseconds max_run_time{};
    /// How long a run that was asked to stop may take to end, its lock being extended if possible. Then the lock is given
    /// up and run_report::stop_ignored says so. 1 ms .. 1 day.
    microseconds stop_grace = std::chrono::seconds{5};
    /// From stop() to the hand-over, at most: runs in hand may end by then, and are asked to stop when `stop_grace` (or
    /// half of the budget, if that is less) is left of it. 0 .. 1 day.
    microseconds drain_budget = std::chrono::seconds{10};
    retry_policy retry{};
};

namespace detail {

/// `w` with the members that stand for a derived default (0) filled in; `o` likewise already. `threads` is left alone.
[[nodiscard]] inline worker_options with_defaults(worker_options w, options const& o) {
    if (w.lock_ttl == microseconds{}) w.lock_ttl = o.node_ttl;
    if (w.stop_margin == microseconds{}) {
        // Just before a tick a node's own life has that much less to go.
        auto const life = o.node_ttl - o.heartbeat_interval - o.safety_margin;
        w.stop_margin = w.lock_ttl / 4 < life / 2 ? w.lock_ttl / 4 : life / 2;
        if (w.stop_margin < microseconds{1}) w.stop_margin = microseconds{1};
    }
    return w;
}

/// Checks the options of a worker whose node's options are valid. invalid_argument names field, value and rule.
template <typename = void>
[[nodiscard]] result<void> check(worker_options const& given, options const& node) {
    using namespace std::chrono_literals;
    auto const o = rota::with_defaults(node);
    auto const w = with_defaults(given, o);
    auto wrong = [](std::string text) { return result<void>{errc::invalid_argument, std::move(text)}; };
    if (o.observer) return wrong("options::observer is set: an observer owns nothing that a worker could run");
    if (w.threads > 1000) return wrong(fmt::format("threads is {}, must be at most 1000", w.threads));
    if (auto r = check_duration("lock_ttl", w.lock_ttl, 10ms, 24h * 30); !r) return r;
    auto const drift = static_cast<microseconds::rep>(static_cast<double>(w.lock_ttl.count()) * o.clock_drift);
    if (w.lock_ttl / 2 <= o.safety_margin + w.stop_margin + microseconds{drift}) {
        return wrong(
            fmt::format("lock_ttl is {}: half of it must be more than safety_margin ({}), stop_margin ({}) and "
                        "clock_drift ({} of it)",
                        in_words(w.lock_ttl), in_words(o.safety_margin), in_words(w.stop_margin), o.clock_drift));
    }
    if (auto r = check_duration("stop_margin", w.stop_margin, 1us, w.lock_ttl / 2); !r) return r;
    auto const life = o.node_ttl - o.heartbeat_interval - o.safety_margin;  // of a node, just before a tick
    if (w.stop_margin >= life) {
        return wrong(fmt::format(
            "stop_margin is {}: must be less than node_ttl ({}) without heartbeat_interval ({}) and "
            "safety_margin ({}), or every run is asked to stop where its node has yet to tick",
            in_words(w.stop_margin), in_words(o.node_ttl), in_words(o.heartbeat_interval), in_words(o.safety_margin)));
    }
    if (auto r = check_duration("max_run_time", w.max_run_time, 0us, 24h * 30); !r) return r;
    if (auto r = check_duration("stop_grace", w.stop_grace, 1ms, 24h); !r) return r;
    if (auto r = check_duration("drain_budget", w.drain_budget, 0us, 24h); !r) return r;
    if (w.retry.attempts < 1 || w.retry.attempts > 1000) {
        return wrong(fmt::format("retry.attempts is {}, must be 1 .. 1000", w.retry.attempts));
    }
    if (auto r = check_duration("retry.first", w.retry.first, 1ms, 24h); !r) return r;
    return check_duration("retry.most", w.retry.most, w.retry.first, 24h);
}

/// `o` for the node of a worker: a schedule goes to its next owner with its lock, if enough would be left of that there
/// (which counts from its last tick). What is wrong with them, run() says.
template <typename = void>
[[nodiscard]] options handing_locks_on(options o, worker_options const& w) {
    if (!validate(o)) return o;
    auto const node = rota::with_defaults(o);
    auto const ttl = with_defaults(w, node).lock_ttl;
    auto const lost = node.heartbeat_interval + node.safety_margin + std::chrono::milliseconds{1} +
                      microseconds{static_cast<microseconds::rep>(static_cast<double>(ttl.count()) * node.clock_drift)};
    bool const enough = ttl / 2 > lost && ttl <= std::chrono::hours{24 * 30};
    if (o.handoff_lock_ttl == microseconds{} && enough) o.handoff_lock_ttl = ttl;
    return o;
}

}  // namespace detail

}  // namespace rota
