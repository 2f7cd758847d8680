// Drains this node and ends that again, each time it is flipped: on SIGUSR1.
//
// It makes no request: whoever has it asks the group when it must look, gives the order that is due, and tells it what
// came of that; again and again, as an order may have to wait for Redis. Whether the node is empty is what the group
// says: schedules may have been on their way to it.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rota/result.hpp>
#include <rota/types.hpp>

#include "report.hpp"

namespace example {

/// One thread.
class drain_switch {
public:
    drain_switch(std::string self, report& told) : self_{std::move(self)}, told_{told} {}

    void flip() { wanted_ = !wanted_; }

    /// Whether to ask the group for its nodes, and what it said.
    [[nodiscard]] bool must_look() const { return !drained_ || emptying_; }
    void seen(rota::result<std::vector<rota::node_status>> const& all) {
        if (!all) return;
        for (auto const& each : *all) {
            if (each.alive && each.node.id == self_) return seen(each);
        }
    }

    /// The order that is due: to drain this node (true), or to end that. And what came of it.
    [[nodiscard]] std::optional<bool> order() const {
        if (!drained_ || *drained_ == wanted_) return std::nullopt;
        return wanted_;
    }
    void ordered(bool drain, rota::result<void> const& done) {
        if (!done) {
            told_.say((drain ? "not drained yet: " : "still drained: ") + done.error().message());
            return;
        }
        drained_ = emptying_ = drain;
        drain ? told_.draining() : told_.undrained();
    }

    /// Nothing is to be done until it is flipped.
    [[nodiscard]] bool settled() const { return drained_ == wanted_ && !emptying_; }

private:
    void seen(rota::node_status const& self) {
        if (!drained_) {
            wanted_ = self.draining != wanted_;  // flipped before this was known
            drained_ = emptying_ = self.draining;
            if (emptying_) told_.draining();  // since before a restart
        } else if (emptying_ && self.load + self.pending == 0) {
            emptying_ = false;
            told_.drained();
        }
    }

    std::string self_;
    report& told_;
    std::optional<bool> drained_;  // as far as the group is known to know
    bool emptying_ = false;
    bool wanted_ = false;
};

}  // namespace example
