// The part of a node's belief that lock handles share: under which incarnation it counts as alive, and until when.
// Written by the machine in step with the server's replies (belief.hpp), read by any thread without waiting. May outlive
// the coordinator: then the incarnation is 0 for good.
#pragma once

#include <atomic>

#include "../types.hpp"

namespace rota::detail {

/// A point in time that threads may read while another moves it.
class atomic_instant {
public:
    [[nodiscard]] instant load() const noexcept { return instant{microseconds{value_.load()}}; }
    void store(instant t) noexcept { value_.store(t.time_since_epoch().count()); }

private:
    std::atomic<microseconds::rep> value_{instant::min().time_since_epoch().count()};
};

class life {
public:
    virtual ~life() = default;

    /// The node's clock, at hand for whoever shares the belief.
    [[nodiscard]] virtual instant now() const = 0;

    // ------------------------------------------------ read by any thread

    [[nodiscard]] fencing_token incarnation() const noexcept { return incarnation_.load(); }

    /// Counts as alive, under that incarnation.
    [[nodiscard]] bool alive(fencing_token incarnation, instant now) const noexcept {
        return incarnation != 0 && incarnation_.load() == incarnation && now < alive_until_.load();
    }
    /// For how long what that incarnation was granted `until` then may be believed in: never longer than the node lives.
    [[nodiscard]] microseconds left(fencing_token incarnation, instant until) const {
        auto const at = now();
        if (!alive(incarnation, at)) return {};
        auto const lives = alive_until_.load();
        auto const end = until < lives ? until : lives;
        return end > at ? end - at : microseconds{};
    }
    [[nodiscard]] instant alive_until() const noexcept { return alive_until_.load(); }

    // ------------------------------------------------ written by the machine alone (one thread at a time)

    void become(fencing_token incarnation, instant until) {
        alive_until_.store(until);
        incarnation_.store(incarnation);
    }
    void extend_life(instant until) {
        if (until > alive_until_.load()) alive_until_.store(until);
    }

protected:
    void end_life() { incarnation_.store(0); }

private:
    std::atomic<fencing_token> incarnation_{0};
    atomic_instant alive_until_;
};

}  // namespace rota::detail
