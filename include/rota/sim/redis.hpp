// The Redis of a simulation: the reference store as it is, with a clock of its own, a time that requests take, and a
// replica behind it that is given every write a little later. Restart, stall and failover are done here, around the
// store; what a request means is the store's business alone.
//
// The replica is kept by replication, as Redis does it: it performs what the primary performed, at the times of the
// primary. A failover that loses the last 200 ms performs all but those.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "event_queue.hpp"
#include "faults.hpp"
#include "subject.hpp"

namespace rota::sim {

/// One server: a store, and when it will look at the next request.
struct redis_server {
    std::unique_ptr<store_model> store;
    std::int64_t clock_offset = 0;
    bool primary = true;
    bool up = true;
    moment free_from{};                   // busy or standing still until then
    std::deque<std::uint32_t> waiting{};  // messages, meanwhile
    std::uint32_t run = 0;                // counts restarts: connections belong to one
};

/// What damage does: the record of the schedule is gone, cannot be read, names `node`, or one that never was; the index
/// of its owner does not list it, or that of `node` does.
[[nodiscard]] inline rota::detail::store_damage damage_at(fault const& f, std::string id, fencing_token node,
                                                          fencing_token owner) {
    using kind = rota::detail::store_damage::kind;
    switch (way_of(f) % ways_to_damage) {
        case way_to_lose: return {.what = kind::lose_record, .id = std::move(id)};
        case 1: return {.what = kind::garble_record, .id = std::move(id)};
        case 2: return {.what = kind::change_owner, .id = std::move(id), .node = node};
        case 3: return {.what = kind::change_owner, .id = std::move(id), .node = 4711};
        case way_to_unlist: return {.what = kind::unlist, .id = std::move(id), .node = owner};
        default: return {.what = kind::list, .id = std::move(id), .node = node};
    }
}

class redis_model {
public:
    /// Its clock shows 2020 at the beginning. `longest_loss`: how far back a failover can go; 0: there is no replica.
    redis_model(std::unique_ptr<store_model> empty, microseconds longest_loss)
        : empty_{std::move(empty)},
          longest_loss_{longest_loss} {
        servers_.push_back(fresh());
        if (longest_loss_ > microseconds{}) replica_ = empty_->copy();
    }

    static constexpr std::int64_t started_at = std::int64_t{50} * 365 * 24 * 3600 * 1'000'000;

    [[nodiscard]] std::uint32_t primary() const { return static_cast<std::uint32_t>(servers_.size() - 1); }
    [[nodiscard]] redis_server& server(std::uint32_t number) { return servers_[number]; }
    [[nodiscard]] redis_server const& server(std::uint32_t number) const { return servers_[number]; }
    [[nodiscard]] store_model const& store() const { return *servers_.back().store; }
    [[nodiscard]] store_model& store() { return *servers_.back().store; }
    [[nodiscard]] std::int64_t clock(std::uint32_t number, moment now) const {
        return started_at + now.time_since_epoch().count() + servers_[number].clock_offset;
    }

    /// Writes that the replica was not given yet.
    [[nodiscard]] std::size_t behind() const { return log_.size(); }

    result<reply> perform(std::uint32_t number, operation const& request, rota::detail::connection_stamp from,
                          moment now) {
        auto const at = clock(number, now);
        if (replica_ && number == primary()) log({request, from, at, now});
        return servers_[number].store->perform(request, from, at);
    }
    void raise(std::uint32_t number, rota::detail::connection_stamp from, moment now) {
        if (replica_ && number == primary()) log({.from = from, .performed = now, .raises = true});
        servers_[number].store->raise(from);
    }

    /// An edit by hand, which the replica is given like any other write.
    void inflict(rota::detail::store_damage const& d, moment now) {
        if (replica_) log({.from = {}, .performed = now, .inflicts = d});
        store().inflict(d);
    }

    void lose_data() {
        servers_.back().store = empty_->copy();
        log_.clear();
        if (replica_) replica_ = empty_->copy();
    }

    /// The replica becomes the primary, without the writes of the last `lost`. The old primary goes on as server
    /// primary() - 1.
    /// Whether any were lost.
    bool fail_over(microseconds lost, moment now) {
        if (!replica_) throw std::logic_error("rota::sim: fail_over needs a replica: set world_settings::longest_loss");
        if (lost > longest_loss_) {
            throw std::logic_error("rota::sim: fail_over cannot lose more than world_settings::longest_loss");
        }
        catch_up(now - lost);
        bool const lost_some = !log_.empty();
        log_.clear();
        auto next = fresh();
        next.store = std::move(replica_);
        next.clock_offset = servers_.back().clock_offset;
        replica_ = next.store->copy();
        servers_.back().primary = false;
        servers_.push_back(std::move(next));
        return lost_some;
    }

private:
    struct logged {
        operation request{};
        rota::detail::connection_stamp from{};
        std::int64_t at = 0;
        moment performed{};
        bool raises = false;
        std::optional<rota::detail::store_damage> inflicts{};
    };

    redis_server fresh() const {
        redis_server s;
        s.store = empty_->copy();
        return s;
    }
    void log(logged write) {
        auto const now = write.performed;
        log_.push_back(std::move(write));
        catch_up(now - longest_loss_);
    }
    void catch_up(moment to) {
        for (; !log_.empty() && log_.front().performed <= to; log_.pop_front()) {
            auto const& l = log_.front();
            if (l.inflicts) {
                replica_->inflict(*l.inflicts);
            } else if (l.raises) {
                replica_->raise(l.from);
            } else {
                (void)replica_->perform(l.request, l.from, l.at);
            }
        }
    }

    std::unique_ptr<store_model> empty_;
    microseconds longest_loss_;
    std::deque<redis_server> servers_;
    std::unique_ptr<store_model> replica_;
    std::deque<logged> log_;
};

}  // namespace rota::sim
