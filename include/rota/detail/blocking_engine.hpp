// The calls of a coordinator over a blocking transport, for any number of calling threads: flows that never suspend, run
// to their end on the calling thread. It owns the mutex that guards core and command connection, and the sleep of run().
//
// Lock order: sleep_, io_, the driver's queue. None is held while a sink runs; while run() sleeps, only sleep_ is.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "../schedule_lock.hpp"
#include "engine/group_calls.hpp"
#include "engine/lock_calls.hpp"
#include "engine/membership_calls.hpp"
#include "engine/schedule_calls.hpp"
#include "two_lane_mutex.hpp"

namespace rota::detail {

/// The policies of a blocking coordinator, type-erased.
class blocking_ports : public ports {
public:
    virtual result<reply> perform(operation const&, microseconds timeout) = 0;
    virtual wake_reason wait(subscription const&, microseconds timeout) = 0;
    virtual void wake() = 0;

protected:
    ~blocking_ports() = default;
};

/// How a flow takes turns, performs and sleeps where it may block its thread: see driver.hpp.
template <typename Defects>
class blocking_mode {
public:
    static constexpr bool interleaves = false;

    explicit blocking_mode(blocking_ports& p) : ports_{p} {}

    [[nodiscard]] auto user_turn() { return std::unique_lock{io_}; }
    [[nodiscard]] auto quick_turn() { return std::unique_lock{lane_io_}; }
    [[nodiscard]] auto whole_turn() { return ready{std::unique_lock{io_}}; }
    [[nodiscard]] auto lane_turn() { return ready{std::unique_lock{lane_io_}}; }

    [[nodiscard]] auto perform(late<operation, Defects> const& request, microseconds timeout) {
        return ready<result<reply>>{ports_.perform(request, timeout)};
    }
    [[nodiscard]] auto sleep(subscription const& listen, microseconds span) {
        std::lock_guard const turn{sleep_};
        return ready{ports_.wait(listen, span)};
    }
    // A glance at what a sleep would be woken by; none if somebody is asleep.
    [[nodiscard]] wake_reason look(subscription const& listen) {
        std::unique_lock const turn{sleep_, std::try_to_lock};
        return turn ? ports_.wait(listen, microseconds{}) : wake_reason::timeout;
    }
    void stir() { ports_.wake(); }

    // run() has ended: somebody may wait for that.
    template <typename Note>
    void ended(Note&& note) {
        std::lock_guard const lock{idle_mutex_};
        note();
        idle_.notify_all();
    }
    template <typename Until>
    void await(Until&& until) {
        std::unique_lock lock{idle_mutex_};
        idle_.wait(lock, until);
    }

private:
    blocking_ports& ports_;
    two_lane_mutex io_;                       // of core and command connection
    two_lane_mutex::fast_lane lane_io_{io_};  // ... for the background lane, which goes first
    std::mutex sleep_;                        // held by the thread that waits for what is pushed
    std::mutex idle_mutex_;
    std::condition_variable idle_;
};

template <typename Defects = sound>
class blocking_engine final : private lock_host {
    using mode_type = blocking_mode<Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;
    template <typename T>
    using results = late<rota::results<T>, Defects>;

public:
    blocking_engine(options given, blocking_ports& policies, std::shared_ptr<belief> published, std::uint64_t entropy)
        : mode_{policies},
          driver_{std::move(given), policies, mode_, std::move(published), entropy},
          link_{std::make_shared<lock_link>(static_cast<lock_host&>(*this), driver_.belief)} {}

    /// The coordinator's destructor: no handle reaches in any more, then one bounded leave.
    void shut_down() {
        link_->close();
        membership_.close();
        mode_.stir();
        mode_.await([this] { return !membership_.running(); });
        (void)leave();
    }

    // ---------------------------------------------------------------- membership and leadership

    result<void> join() { return membership_.join().get(); }
    result<void> tick() { return membership_.tick().get(); }
    void be_watched() { membership_.be_watched(); }
    result<void> run(std::stop_token stop, instant until) { return membership_.run(std::move(stop), until).get(); }
    result<void> run(std::atomic<bool> const& enough) { return membership_.run({}, instant::max(), &enough).get(); }
    result<void> look_in() { return membership_.look_in().get(); }
    result<void> leave() { return membership_.leave().get(); }
    [[nodiscard]] microseconds next_tick() const { return membership_.next_tick(); }
    result<bool> try_become_leader() { return membership_.try_become_leader().get(); }
    result<void> renounce() { return membership_.renounce().get(); }
    result<void> rebalance() { return membership_.rebalance().get(); }

    // ---------------------------------------------------------------- locks

    results<schedule_lock> lock_each(op::lock_kind kind, std::vector<std::string> names, microseconds ttl) {
        results<schedule_lock> locks;
        if (names.size() == 1 && kind == op::lock_kind::schedule) {
            if (auto came = locks_.acquire_handed(names.front(), ttl)) {
                locks.push_back(schedule_lock{link_, std::move(came->held), came->until});
                return locks;
            }
        }
        auto granted = locks_.acquire(kind, std::move(names), ttl).get();
        locks.reserve(granted.size());
        for (auto& g : granted) {
            if (g) {
                locks.push_back(schedule_lock{link_, std::move(g->held), g->until});
            } else {
                locks.push_back(g.error());
            }
        }
        return locks;
    }

    result<schedule_lock> lock_one(op::lock_kind kind, std::string name, microseconds ttl) {
        std::vector<std::string> names;
        names.push_back(std::move(name));
        auto locks = lock_each(kind, std::move(names), ttl);
        return std::move(locks.front());
    }

    results<void> extend_each(std::span<schedule_lock> locks, microseconds ttl) {
        return in_batches(locks, [&](std::span<schedule_lock*> batch) { return extend_batch(batch, ttl); });
    }
    results<void> release_each(std::span<schedule_lock> locks) {
        return in_batches(locks, [&](std::span<schedule_lock*> batch) {
            for (auto* l : batch) l->forget();
            return locks_.release(held_by(batch)).get();
        });
    }

    // ---------------------------------------------------------------- schedules

    results<void> register_schedules(std::span<schedule const> list) {
        return schedules_.register_schedules(list).get();
    }
    results<void> update_schedules(std::span<schedule const> list) { return schedules_.update_schedules(list).get(); }
    results<void> trigger(std::span<std::string const> ids) { return schedules_.trigger(ids).get(); }
    results<void> trigger_done(std::span<op::trigger::item const> runs) { return schedules_.trigger_done(runs).get(); }
    results<void> unregister_schedules(std::span<std::string const> ids) {
        return schedules_.unregister_schedules(ids).get();
    }
    results<owned_schedule> claim(std::span<std::string const> ids) { return schedules_.claim(ids).get(); }
    result<void> transfer(std::string const& id, std::string const& node_id) {
        return schedules_.transfer(id, node_id).get();
    }

    // ---------------------------------------------------------------- the group

    result<std::vector<node_status>> nodes() { return group_.nodes().get(); }
    result<std::vector<node_load>> loads() { return group_.loads().get(); }
    result<std::vector<schedule_status>> orphaned() { return group_.orphaned().get(); }
    result<proposal> propose() { return group_.propose().get(); }
    result<proposal> propose_if_lost(std::string const& node_id) { return group_.propose_if_lost(node_id).get(); }
    result<proposal> propose_if_joined(std::uint32_t count, node_attributes const& attributes) {
        return group_.propose_if_joined(count, attributes).get();
    }
    result<void> apply(proposal const& p) { return group_.apply(p).get(); }
    result<void> set_attributes(node_attributes attributes) {
        return group_.set_attributes(std::move(attributes)).get();
    }
    node_attributes attributes() { return group_.attributes(); }
    result<void> report_load(double load) { return group_.report_load(load).get(); }
    result<void> give_order(op::order_kind kind, std::string const& node_id) {
        return group_.give_order(kind, node_id).get();
    }

    [[nodiscard]] instant now() const { return driver_.now(); }

private:
    // Locks of both kinds and of this coordinator alone, in requests of one kind; the others are lost ones.
    template <typename Send>
    results<void> in_batches(std::span<schedule_lock> locks, Send&& send) {
        if (auto r = driver_.enter(); !r) return all_failed<void>(locks.size(), r.error());
        results<void> answers = all_failed<void>(locks.size(), {errc::lock_lost, {}});
        for (auto kind : {op::lock_kind::schedule, op::lock_kind::name}) {
            std::vector<schedule_lock*> batch;
            std::vector<std::size_t> places;
            auto flush = [&] {
                if (batch.empty()) return;
                auto r = send(std::span{batch});
                for (std::size_t i = 0; i < batch.size(); ++i) answers[places[i]] = std::move(r[i]);
                batch.clear();
                places.clear();
            };
            for (std::size_t i = 0; i < locks.size(); ++i) {
                if (!locks[i].is_held_by(*link_) || locks[i].held().kind != kind) continue;
                batch.push_back(&locks[i]);
                places.push_back(i);
                if (batch.size() == op::max_batch) flush();
            }
            flush();
        }
        driver_.after_locks().get();
        return answers;
    }

    static std::vector<target> held_by(std::span<schedule_lock*> batch) {
        std::vector<target> held;
        held.reserve(batch.size());
        for (auto const* l : batch) held.push_back(l->held());
        return held;
    }

    std::vector<result<void>> extend_batch(std::span<schedule_lock*> batch, microseconds ttl) {
        auto const extended = locks_.extend(held_by(batch), ttl).get();
        std::vector<result<void>> answers(batch.size());
        for (std::size_t i = 0; i < batch.size(); ++i) {
            if (extended[i]) {
                batch[i]->extended_until(*extended[i]);
            } else {
                answers[i] = extended[i].error();
                if (answers[i].error() == errc::lock_lost) batch[i]->forget();
            }
        }
        return answers;
    }

    result<instant> extend_lock(target const& held, microseconds ttl) override {
        auto extended = locks_.extend({held}, ttl).get();
        if (!driver_.in_sink()) driver_.deliver();
        return std::move(extended.front());
    }

    result<void> release_lock(target const& held) override {
        if (driver_.in_sink()) {  // a handle that dies in a sink: the lane tells the server
            driver_.abandon(held);
            return {};
        }
        auto released = locks_.release({held}).get();
        driver_.after_locks().get();
        return std::move(released.front());
    }

    mode_type mode_;
    driver<mode_type, Defects> driver_;
    membership_calls<mode_type, Defects> membership_{driver_};
    lock_calls<mode_type, Defects> locks_{driver_};
    group_calls<mode_type, Defects> group_{driver_, membership_};
    schedule_calls<mode_type, Defects> schedules_{driver_, group_};
    std::shared_ptr<lock_link> link_;
};

}  // namespace rota::detail
