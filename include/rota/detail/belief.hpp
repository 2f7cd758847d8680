// What this node may believe right now: its incarnation, until when it counts as alive, whether and until when it
// leads, what it owns. Written by the machine in step with the server's replies; read by any thread without waiting
// for the network. Lock handles share it, and may outlive the coordinator: then the incarnation is 0 for good.
//
// A belief is always shorter than what the server grants: see anchored().
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "../options.hpp"
#include "../policies.hpp"
#include "../types.hpp"
#include "defects.hpp"
#include "late.hpp"
#include "life.hpp"

namespace rota::detail {

/// Until when to believe in what the server granted for `remaining`, when the request departed at `sent`. The server
/// began to count later than that, and its clock may run faster by `clock_drift`; the margin is the user's.
template <typename Defects = sound>
[[nodiscard]] instant anchored(options const& o, instant sent, instant received, microseconds remaining) {
    if (Defects::has(defect::lease_from_reply)) sent = received;
    auto const margin = Defects::has(defect::margin_ignored) ? microseconds{} : o.safety_margin;
    auto const slow = Defects::has(defect::margin_ignored) ? 0.0 : o.clock_drift;
    auto const certain = static_cast<double>(remaining.count()) * (1.0 - slow);
    return sent + microseconds{static_cast<microseconds::rep>(certain)} - margin;
}

template <typename T = void>
class basic_belief : public life {
    using leader_info = late<rota::leader_info, T>;
    using owned_schedule = late<rota::owned_schedule, T>;

public:
    struct ownership {
        fencing_token generation = 0;
        double weight = 1;
        // Asked to hand it over:
        fencing_token moving_to = 0;
        change_reason moving_why{};
        bool open = false;     // ... or another with the same weight and traits
        bool unheard = false;  // read from a page, not from our log
        std::string traits{};
        fencing_token triggered = 0;
        fencing_token done = 0;  // the latest of which this node has said that it is done
    };
    using owned_table = std::map<std::string, ownership, std::less<>>;

    // ------------------------------------------------ read by any thread

    [[nodiscard]] bool leads(instant now) const noexcept {
        return term_.load() != 0 && now < leads_until_.load() && now < alive_until();
    }

    [[nodiscard]] std::vector<owned_schedule> owned(instant now) const {
        std::vector<owned_schedule> list;
        std::lock_guard const lock{mutex_};
        if (!alive(incarnation(), now)) return list;
        list.reserve(owned_.size());
        for (auto const& [id, s] : owned_) list.push_back({id, s.generation, s.weight, s.moving_to != 0, s.triggered});
        return list;
    }

    [[nodiscard]] std::optional<leader_info> leader(instant now) const {
        std::lock_guard const lock{mutex_};
        if (leader_.node.incarnation == 0 || now >= leader_until_) return std::nullopt;
        auto info = leader_;
        info.remaining = leader_until_ - now;
        return info;
    }

    // ------------------------------------------------ written by the machine alone (one thread at a time)

    void lead(fencing_token term, instant until) {
        if (term != term_.load() || until > leads_until_.load()) leads_until_.store(until);
        term_.store(term);
    }
    void stop_leading() { term_.store(0); }
    [[nodiscard]] fencing_token term() const noexcept { return term_.load(); }
    [[nodiscard]] instant leads_until() const noexcept { return leads_until_.load(); }

    /// Every handle is invalid, nothing is owned, from here on.
    void end() {
        end_life();
        term_.store(0);
        std::lock_guard const lock{mutex_};
        owned_.clear();
    }

    void hear_of_leader(leader_info info, instant until) {
        std::lock_guard const lock{mutex_};
        leader_ = std::move(info);
        leader_until_ = until;
    }

    // The machine reads the table without the mutex: it is the only writer.
    [[nodiscard]] owned_table const& table() const { return owned_; }
    [[nodiscard]] leader_info const& last_leader() const { return leader_; }
    [[nodiscard]] instant last_leader_until() const { return leader_until_; }

    template <typename Change>
    void change_table(Change&& change) {
        std::lock_guard const lock{mutex_};
        change(owned_);
    }

private:
    std::atomic<fencing_token> term_{0};
    atomic_instant leads_until_;
    mutable std::mutex mutex_;  // of what follows
    owned_table owned_;
    leader_info leader_;
    instant leader_until_{};
};

using belief = basic_belief<>;

template <typename Clock>
class belief_on final : public late<belief, Clock> {
public:
    explicit belief_on(Clock clock) : clock_{std::move(clock)} {}
    [[nodiscard]] instant now() const override { return unwrap(clock_).now(); }

private:
    [[no_unique_address]] Clock clock_;
};

}  // namespace rota::detail
