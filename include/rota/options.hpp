// The options of a coordinator, and validate(), which checks them as a whole: every member alone and all of them
// together (the lease must outlive heartbeats and margin). Constructors never refuse; join() calls validate().
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <fmt/core.h>

#include "attributes.hpp"
#include "operations.hpp"
#include "result.hpp"
#include "types.hpp"

namespace rota {

enum class event_scope : std::uint8_t {
    own,    ///< what concerns this node
    group,  ///< every node and schedule of the group
};

/// An aggregate: name what differs, in this order: `{.node_id = "node-1", .heartbeat_interval = 2s}`.
struct options {
    /// This node's name, 1..512 bytes, unique among live processes of the group. Required.
    std::string node_id{};
    /// Names the group; every key is `{<prefix>}…`. 1..512 bytes, no braces.
    std::string key_prefix = "rota:";
    /// Time between two ticks of a quiet node. 1 ms .. 1 day.
    microseconds heartbeat_interval = std::chrono::seconds{1};
    /// Silence after which the group takes a node for dead. At least 2 heartbeats. 0: 3 heartbeats.
    microseconds node_ttl{};
    /// How long leadership outlives the leader's last tick. At least 2 heartbeats. 0: 3 heartbeats.
    microseconds leader_lease{};
    /// Longest wait for one request, connecting included. The destructor waits for one, a leader's for two. 1 ms .. 1 hour.
    microseconds operation_timeout = std::chrono::milliseconds{500};
    /// By how much the rate of this node's clock may differ from the server's, as a fraction. 0 .. 0.1.
    double clock_drift = 0.01;
    /// How much earlier than computed this node stops to believe in a lease or lock. Less than half of node_ttl and of
    /// leader_lease, which must outlast a heartbeat after drift and margin. Covers the time between a check and its effect, as far as you can bound it.
    microseconds safety_margin = std::chrono::milliseconds{50};
    /// Most schedules that this node owns, a hard limit. None: unlimited.
    std::optional<std::uint32_t> max_schedules_per_node{};
    /// What fails together with this node: a rack, a data centre. At most 64 bytes. Empty: a zone of its own.
    std::string zone{};
    /// What schedules may require of their node, or forbid. At most 16, 1..64 bytes each.
    std::vector<std::string> labels{};
    /// Whether the leader also moves schedules between live nodes to even out the load. Orphans are placed, and what has to
    /// move (drain, capacity, rules) is moved, in any case.
    bool auto_rebalance = true;
    /// The leader moves schedules once a node is off its target by more than this fraction of the mean load, in the
    /// strategy's measure (plan::imbalance). Moves that have to be (drain, capacity, rules) do not wait for it.
    /// Finite, >= 0; 0 evens out every difference.
    double rebalance_threshold = 0.2;
    /// How long the run in hand may extend its lock when its schedule is to move; what was granted last runs to its end.
    microseconds handoff_deadline = std::chrono::seconds{30};
    /// A schedule that this node hands over alone (a transfer, or a move that the leader asks for; not several at a time, nor
    /// all by leave()) goes with a fresh lock for its new owner, for so long: that need not ask for one before its first
    /// run. Its try_lock() takes it without a request if it is for that time or longer, and at least half of what it is for
    /// is left, as counted from that node's last tick. So give all nodes the ttl that they lock for, if that is more than
    /// two heartbeats. One that is not taken runs out; its node gives it back before that to lock the schedule by a request,
    /// or to hand it on. As with any lock that is held, what others do to the schedule meanwhile (move it on, unregister it)
    /// does not take it away. Its token is the generation.
    /// 0: without; in a worker its lock_ttl, if half of that is more than a heartbeat, safety_margin and drift (there, 1 us
    /// is as good as none). 0 .. 30 days.
    microseconds handoff_lock_ttl{};
    /// Longest time that a strategy may take for a plan; one that took longer is refused (plan_refused), since the group
    /// has gone on meanwhile. Not more than leader_lease. Nothing ends a strategy that never returns: the node then loses lease and life, and others
    /// go on without it. 0: half of leader_lease.
    microseconds planning_budget{};
    /// Over what time a load that this node reports (report_load) is smoothed. 0: not. 0 .. 1 day.
    microseconds load_smoothing = std::chrono::seconds{30};
    /// Reported loads below this count as nothing: changes of less than a tenth of it are not told. Finite, >= 0.
    double load_floor = 1;
    /// How often the leader looks through all ownership records for damage, and mends it; also each time a node begins to
    /// lead. A page of 200 every eighth of a heartbeat. 0: only when it begins to lead. 1 s .. 30 days.
    microseconds audit_interval = std::chrono::minutes{10};
    /// What join does if another live process has this node_id.
    conflict_policy on_conflict = conflict_policy::take_over;
    /// Which events the sink gets.
    rota::event_scope event_scope = rota::event_scope::own;
    /// Follows the group from outside, as no node of it: for dashboards and the like. join() reads what there is; from
    /// then on tick() and run() follow what happens, and the sink gets all events of event_scope::group, once and in order
    /// (events_gap, and then the differences, if some were missed). It owns nothing, takes no locks (not_joined), never
    /// leads, and nobody hears of it; its heartbeat_interval is how often it looks if nothing is pushed. Calls that any
    /// client may make work as ever: nodes(), register_schedules(), propose(), drain() and so on. Who leads is
    /// told as it changes, but for changes within a gap; leader() knows nothing.
    bool observer = false;
    /// Seed of the jitter of retries and elections. None: derived from node_id and incarnation.
    std::optional<std::uint64_t> jitter_seed{};
};

/// `o` with the members that stand for a derived default (0) filled in.
[[nodiscard]] inline options with_defaults(options o) {
    bool const absurd = o.heartbeat_interval > std::chrono::hours{24} ||
                        o.heartbeat_interval < microseconds{};  // refused by validate; not to be computed with
    auto const derived = absurd ? o.heartbeat_interval : 3 * o.heartbeat_interval;
    if (o.node_ttl == microseconds{}) o.node_ttl = derived;
    if (o.leader_lease == microseconds{}) o.leader_lease = derived;
    if (o.planning_budget == microseconds{}) o.planning_budget = o.leader_lease / 2;
    return o;
}

namespace detail {

/// Neither infinite nor a NaN. (<cmath> has it too, and costs a compiler a third of what all else in rota does.)
constexpr bool is_finite(double x) {
    return x >= std::numeric_limits<double>::lowest() && x <= std::numeric_limits<double>::max();
}

// Templates although nothing varies, here and for validate(): so that a program that includes rota pays for compiling
// them (and what they use of fmt) only where it uses them.
template <typename = void>
[[nodiscard]] std::string in_words(microseconds d) {
    if (d >= std::chrono::hours{1} && d % std::chrono::hours{1} == microseconds{}) {
        return fmt::format("{} h", d / std::chrono::hours{1});
    }
    if (d.count() % 1'000'000 == 0) return fmt::format("{} s", d.count() / 1'000'000);
    if (d.count() % 1'000 == 0) return fmt::format("{} ms", d.count() / 1'000);
    return fmt::format("{} us", d.count());
}

// An id as it may stand in a message: bytes that a terminal would act on are shown as ?, long ones cut.
template <typename = void>
[[nodiscard]] std::string in_words(std::string const& id) {
    std::string text = id.substr(0, 64);
    for (char& c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    }
    if (text.size() < id.size()) text += "...";
    return '"' + text + '"';
}

template <typename = void>
[[nodiscard]] result<void> check_id(char const* field, std::string const& id) {
    if (!id.empty() && id.size() <= max_id_size) return {};
    return {errc::invalid_argument, fmt::format("{} has {} bytes, must have 1..{}", field, id.size(), max_id_size)};
}

template <typename = void>
[[nodiscard]] result<void> check_duration(char const* field, microseconds value, microseconds least,
                                          microseconds most) {
    if (value >= least && value <= most) return {};
    return {errc::invalid_argument,
            fmt::format("{} is {}, must be {} .. {}", field, in_words(value), in_words(least), in_words(most))};
}

template <typename = void>
[[nodiscard]] result<void> check_label(char const* field, std::string const& label, std::size_t least) {
    if (label.size() >= least && label.size() <= max_label_size) return {};
    return {errc::invalid_argument,
            fmt::format("{} has {} bytes, must have {}..{}", field, label.size(), least, max_label_size)};
}

template <typename = void>
[[nodiscard]] result<void> check_labels(std::string const& zone, std::vector<std::string> const& labels,
                                        char const* field = "a label") {
    if (auto r = check_label("zone", zone, 0); !r) return r;
    if (labels.size() > max_labels) {
        return {errc::invalid_argument,
                fmt::format("there are {} labels, at most {} may be", labels.size(), max_labels)};
    }
    for (auto const& label : labels) {
        if (auto r = check_label(field, label, 1); !r) return r;
    }
    return {};
}

}  // namespace detail

/// Checks `o` as a whole. The error (invalid_argument) names the first field that is wrong, its value, and the rule.
template <typename = void>
[[nodiscard]] result<void> validate(options const& given) {
    using namespace std::chrono_literals;
    auto const o = with_defaults(given);
    auto wrong = [](std::string text) { return result<void>{errc::invalid_argument, std::move(text)}; };

    if (auto r = detail::check_id("node_id", o.node_id); !r) return r;
    if (auto r = detail::check_id("key_prefix", o.key_prefix); !r) return r;
    if (o.key_prefix.find_first_of("{}") != std::string::npos) {
        return wrong(fmt::format("key_prefix is {}, must have no braces", detail::in_words(o.key_prefix)));
    }
    if (auto r = detail::check_duration("heartbeat_interval", o.heartbeat_interval, 1ms, 24h); !r) return r;
    if (auto r = detail::check_duration("node_ttl", o.node_ttl, 2 * o.heartbeat_interval, 24h * 30); !r) {
        return wrong(r.error().detail + ", that is at least 2 heartbeats");
    }
    if (auto r = detail::check_duration("leader_lease", o.leader_lease, 2 * o.heartbeat_interval, 24h * 30); !r) {
        return wrong(r.error().detail + ", that is at least 2 heartbeats");
    }
    if (auto r = detail::check_duration("operation_timeout", o.operation_timeout, 1ms, 1h); !r) return r;
    if (!detail::is_finite(o.clock_drift) || o.clock_drift < 0 || o.clock_drift > 0.1) {
        return wrong(fmt::format("clock_drift is {}, must be 0 .. 0.1", o.clock_drift));
    }
    auto const shorter = o.node_ttl < o.leader_lease ? o.node_ttl : o.leader_lease;
    if (o.safety_margin < 0us || o.safety_margin >= shorter - shorter / 2) {
        return wrong(
            fmt::format("safety_margin is {}, must be 0 or more and less than half of node_ttl and leader_lease ({})",
                        detail::in_words(o.safety_margin), detail::in_words(shorter / 2)));
    }
    auto const believed =
        microseconds{static_cast<microseconds::rep>(static_cast<double>(shorter.count()) * (1 - o.clock_drift))} -
        o.safety_margin;
    if (believed <= o.heartbeat_interval) {
        return wrong(
            fmt::format("node_ttl and leader_lease are {} at least: after clock_drift ({}) and safety_margin ({}) "
                        "{} are left of that, must be more than heartbeat_interval ({})",
                        detail::in_words(shorter), o.clock_drift, detail::in_words(o.safety_margin),
                        detail::in_words(believed), detail::in_words(o.heartbeat_interval)));
    }
    if (o.max_schedules_per_node && *o.max_schedules_per_node == unlimited) {
        return wrong(fmt::format("max_schedules_per_node is {}, must be less (leave it out for no limit)", unlimited));
    }
    if (auto r = detail::check_labels(o.zone, o.labels); !r) return r;
    if (!detail::is_finite(o.rebalance_threshold) || o.rebalance_threshold < 0) {
        return wrong(fmt::format("rebalance_threshold is {}, must be finite and not negative", o.rebalance_threshold));
    }
    if (auto r = detail::check_duration("handoff_deadline", o.handoff_deadline, 0us, 24h * 30); !r) return r;
    if (auto r = detail::check_duration("handoff_lock_ttl", o.handoff_lock_ttl, 0us, 24h * 30); !r) return r;
    if (auto r = detail::check_duration("load_smoothing", o.load_smoothing, 0us, 24h); !r) return r;
    if (!detail::is_finite(o.load_floor) || o.load_floor < 0) {
        return wrong(fmt::format("load_floor is {}, must be finite and not negative", o.load_floor));
    }
    if (auto r = detail::check_duration("planning_budget", o.planning_budget, 1ms, o.leader_lease); !r) return r;
    if (o.audit_interval != 0us) {
        if (auto r = detail::check_duration("audit_interval", o.audit_interval, 1s, 24h * 30); !r) {
            return wrong(r.error().detail + ", or 0");
        }
    }
    if (o.on_conflict != conflict_policy::take_over && o.on_conflict != conflict_policy::refuse) {
        return wrong("on_conflict is neither take_over nor refuse");
    }
    if (o.event_scope != event_scope::own && o.event_scope != event_scope::group) {
        return wrong("event_scope is neither own nor group");
    }
    return {};
}

}  // namespace rota
