// Drains this node and ends that again, each time flip() is called: on SIGUSR1.
//
// An order to the group may have to wait for Redis, so a thread of its own gives it (obey), and tries again until the
// group has it. Whether the node is empty is what the group says: schedules may have been on their way to it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include <rota/result.hpp>
#include <rota/types.hpp>

#include "report.hpp"

namespace example {

class drain_switch {
public:
    /// From any thread, but not from a signal handler.
    void flip() {
        std::lock_guard const lock{mutex_};
        flipped_ = !flipped_;
        news_.notify_all();
    }

    /// Until stop is requested. `look_every`: how often the group is asked while something is to be waited for.
    template <typename Coordinator>
    void obey(Coordinator& node, std::string const& self, report& told, rota::microseconds look_every,
              std::stop_token const& stop) {
        std::optional<bool> drained;  // as far as the group is known to know
        bool emptying = false;
        bool wanted = false;
        while (!stop.stop_requested()) {
            auto const standing = drained && !emptying ? std::nullopt : look(node, self);
            if (!drained && standing) {
                wanted = standing->draining != wanted;  // flipped before this was known
                drained = standing->draining;
                emptying = standing->draining;
                if (emptying) told.draining();  // since before a restart
            } else if (emptying && standing && standing->load + standing->pending == 0) {
                emptying = false;
                told.drained();
            }
            if (drained && wanted != *drained) {
                auto const ordered = wanted ? node.drain(self) : node.undrain(self);
                if (ordered) {
                    drained = emptying = wanted;
                    wanted ? told.draining() : told.undrained();
                } else {
                    told.say((wanted ? "not drained yet: " : "still drained: ") + ordered.error().message());
                }
            }
            bool const settled = drained == wanted && !emptying;
            if (wait_for_flip(stop, settled ? std::nullopt : std::optional{look_every})) wanted = !wanted;
        }
    }

private:
    template <typename Coordinator>
    [[nodiscard]] static std::optional<rota::node_status> look(Coordinator& node, std::string const& self) {
        auto all = node.nodes();
        if (!all) return std::nullopt;
        for (auto& each : *all) {
            if (each.alive && each.node.id == self) return std::move(each);
        }
        return std::nullopt;
    }

    [[nodiscard]] bool wait_for_flip(std::stop_token const& stop, std::optional<rota::microseconds> most) {
        std::unique_lock lock{mutex_};
        auto const flipped = [this] { return flipped_; };
        if (most) {
            news_.wait_for(lock, stop, *most, flipped);
        } else {
            news_.wait(lock, stop, flipped);
        }
        return std::exchange(flipped_, false);
    }

    std::mutex mutex_;
    std::condition_variable_any news_;
    bool flipped_ = false;  // an odd number of times
};

}  // namespace example
