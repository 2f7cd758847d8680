// Carries out what a worker_machine wants: of a crew of threads the one at the helm talks to the group, others run handlers
// (worker_crew.hpp); and the caller of run() watches the time, so that a run is asked to stop when it must be even while
// the helm waits for the network.
//
// One mutex guards machine and slots; it is held neither during a request, nor while a handler, a sink, a report or a stop
// callback runs. Who is at the helm sleeps inside the coordinator's run().
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "../events.hpp"
#include "../job.hpp"
#include "../result.hpp"
#include "../schedule_lock.hpp"
#include "entropy.hpp"
#include "late.hpp"
#include "say.hpp"
#include "worker_crew.hpp"
#include "worker_machine.hpp"
#include "worker_registrations.hpp"

namespace rota::detail {

/// A coordinator and a trigger, type-erased.
class worker_ports : public trigger_port {
public:
    /// Until `enough` is set: by an event, or by whoever calls wake() then.
    virtual result<void> take_part(std::atomic<bool> const& enough) = 0;
    virtual void wake() = 0;
    virtual result<void> look_in() = 0;
    virtual bool tick_is_due() const = 0;
    /// Idle schedules may go to others at once; undone by take_again().
    virtual void take_no_more() = 0;
    virtual void take_again() = 0;
    virtual void leave() = 0;
    virtual results<schedule_lock> lock(std::vector<std::string>, microseconds ttl) = 0;
    virtual results<void> extend(std::span<schedule_lock>, microseconds ttl) = 0;
    virtual void release(std::span<schedule_lock>) = 0;
    virtual std::vector<owned_schedule> owned() = 0;
    virtual results<void> register_schedules(std::span<schedule const>) = 0;
    virtual results<void> trigger_done(std::vector<schedule_triggered> const&) = 0;
    virtual instant now() const = 0;

protected:
    ~worker_ports() = default;
};

/// A handler, type-erased: what it failed with, if it did.
class worker_handler {
public:
    virtual std::optional<std::string> call(job&) = 0;

protected:
    ~worker_handler() = default;
};

template <typename T = void>
class worker_engine {
    using machine_type = late<worker_machine<>, T>;
    using actions = late<worker_actions, T>;
    using event = late<rota::event, T>;
    using schedule_lock = late<rota::schedule_lock, T>;
    using schedule = late<rota::schedule, T>;
    using string = late<std::string, T>;
    using hook = late<std::function<void()>, T>;
    using report_hook = late<std::function<void(run_report const&)>, T>;
    using steady_time = late<std::chrono::steady_clock::time_point, T>;
    using stop_source = late<std::stop_source, T>;
    using ports = late<worker_ports, T>;
    using handler_type = late<worker_handler, T>;
    using crew = worker_crew<T>;

public:
    worker_engine(options node, worker_options given) : node_{with_defaults(std::move(node))}, given_{given} {}
    worker_engine(worker_engine const&) = delete;
    worker_engine& operator=(worker_engine const&) = delete;

    void attach(worker_ports& to) { ports_ = &to; }
    void on_report(report_hook call) { told_ = std::move(call); }

    // ---------------------------------------------------------------- any thread

    void add(std::vector<schedule> list) {
        std::unique_lock lock{mutex_};
        registrations_.add(std::move(list));
        wake_if_due(lock);
    }
    bool trigger_here(std::string const& id) {
        std::unique_lock lock{mutex_};
        bool const owned = machine_ && machine_->trigger(id, ports_->now());
        wake_if_due(lock);
        return owned;
    }
    void stop() {
        std::unique_lock lock{mutex_};
        stop_wanted_ = true;
        if (!machine_) return;
        machine_->stop(ports_->now());
        wake_if_due(lock);
    }

    /// What the coordinator's sink is told.
    void on_event(event const& e) {
        std::unique_lock lock{mutex_};
        std::visit([this](auto const& held) { this->take(held); }, e);
        wake_if_due(lock);
    }

    // ---------------------------------------------------------------- the thread of run()

    /// `hung`: called where a handler has not returned stop_grace after the node has left; may be empty.
    result<void> run(std::stop_token stop_asked, handler_type& handler, hook hung) {
        if (auto r = validate(node_); !r) return r;
        if (auto r = check(given_, node_); !r) return r;
        if (running_.exchange(true)) return {errc::already_running, "run() is under way on another thread"};
        std::exception_ptr failure;
        try {
            begin();
            crew hands{rules_.threads, [&] { return step(hands, hung); },
                       [&](std::uint32_t s) { run_slot(s, handler); }, [this] { end_watch(); }};
            std::stop_callback const on_stop{std::move(stop_asked), [this] { stop(); }};
            hands.start();
            watch();
            for (auto& s : slots_) s.stop.request_stop();  // none is left, unless something was thrown
            failure = hands.finish();
        } catch (...) {
            failure = std::current_exception();
        }
        ports_->take_again();
        std::vector<schedule_lock> left;  // to be given back without the mutex: that takes a request
        {
            std::lock_guard const lock{mutex_};
            machine_.reset();
            left.swap(locks_);
            asleep_ = false;
            stop_wanted_ = false;
        }
        left.clear();
        auto outcome = std::exchange(outcome_, {});
        running_ = false;
        if (failure) std::rethrow_exception(failure);
        return outcome;
    }

private:
    static constexpr microseconds between_looks{5000};

    struct slot {
        std::string schedule;
        fencing_token generation = 0;
        std::uint32_t attempt = 0;
        std::stop_source stop{std::nostopstate};
    };

    void begin() {
        std::lock_guard const lock{mutex_};
        rules_ = with_defaults(given_, node_);
        if (rules_.threads == 0) rules_.threads = std::max(4u, std::thread::hardware_concurrency());
        machine_.emplace(rules_, node_.heartbeat_interval, node_.handoff_deadline, *ports_,
                         node_.jitter_seed.value_or(entropy()));
        locks_ = std::vector<schedule_lock>(rules_.threads);
        slots_ = std::vector<slot>(rules_.threads);
        taking_part_ = true;
        worked_ = false;
        watch_over_ = false;
        left_at_.reset();
        hung_told_ = false;
        auto const now = ports_->now();
        if (contact_) machine_->joined(now);
        if (stop_wanted_) machine_->stop(now);
    }

    [[nodiscard]] clock_reading reading() const {
        return {ports_->now(),
                std::chrono::duration_cast<microseconds>(std::chrono::system_clock::now().time_since_epoch())};
    }

    worker_step step(crew& hands, hook const& hung) {
        bool const worked = std::exchange(worked_, false);
        if (worked && taking_part_ && must_look_in()) note(ports_->look_in(), true);
        std::unique_lock lock{mutex_};
        auto const now = ports_->now();
        if (worked && may_register(now)) {
            register_page(lock);
            return {};
        }
        auto did = machine_->next(now);
        if (!did.empty()) {
            worked_ = true;
            return {.item = carry_out(did, hands, lock)};
        }
        if (machine_->done()) return {.over = true};
        if (may_register(now)) {
            register_page(lock);
        } else if (taking_part_) {
            sleep_in_group(lock);
        } else {
            sleep_until_done(lock, hung);
        }
        return {};
    }

    // A busy worker never sleeps: it has to tick and to hear of what is pushed all the same.
    bool must_look_in() {
        auto const now = ports_->now();
        if (!ports_->tick_is_due() && now < look_in_at_) return false;
        look_in_at_ = now + between_looks;
        std::lock_guard const lock{mutex_};
        return machine_->in_contact() && !machine_->has_left();
    }

    // ---------------------------------------------------------------- asleep

    void sleep_in_group(std::unique_lock<std::mutex>& lock) {
        enough_ = false;
        fall_asleep();
        lock.unlock();
        auto const r = ports_->take_part(enough_);
        note(r, enough_);
        lock.lock();
        asleep_ = false;
        look_in_at_ = ports_->now() + between_looks;
    }

    // Of taking part. A membership that ends by itself (fenced, refused, somebody called leave()) ends the worker.
    void note(result<void> const& r, bool was_woken) {
        if (r && was_woken) return;
        std::lock_guard const lock{mutex_};
        if (!r) outcome_ = r;
        taking_part_ = false;
        machine_->end(ports_->now());
    }

    void sleep_until_done(std::unique_lock<std::mutex>& lock, hook const& hung) {
        auto const now = std::chrono::steady_clock::now();
        if (!left_at_) left_at_ = now;
        auto const limit = *left_at_ + rules_.stop_grace;
        fall_asleep();
        if (!hung || hung_told_) {
            woken_.wait(lock, [this] { return !asleep_; });
        } else if (!woken_.wait_until(lock, limit, [this] { return !asleep_; })) {
            hung_told_ = true;
            lock.unlock();
            hung();
            lock.lock();
        }
        asleep_ = false;
    }

    void fall_asleep() {
        asleep_ = true;
        sleeper_ = std::this_thread::get_id();
        if (wanted_from() < watch_until_) watch_.notify_one();
    }

    // With the mutex, which it may let go of: there is something to do at the helm.
    void wake(std::unique_lock<std::mutex>& lock) {
        asleep_ = false;
        enough_ = true;
        bool const tells_itself = sleeper_ == std::this_thread::get_id();  // an event woke it
        lock.unlock();
        if (tells_itself) return;
        ports_->wake();
        woken_.notify_one();
    }
    void wake_if_due(std::unique_lock<std::mutex>& lock) {
        if (!machine_) return;
        if (asleep_ && wanted_from() <= ports_->now()) return wake(lock);
        if (std::min(machine_->next_stop(), asleep_ ? wanted_from() : instant::max()) < watch_until_) {
            watch_.notify_one();
        }
    }
    [[nodiscard]] instant wanted_from() const {
        auto const when = machine_->due();
        bool const may = machine_->in_contact() && !machine_->stopping();
        return may ? std::min(when, registrations_.due()) : when;
    }

    // ---------------------------------------------------------------- the thread of run(), which watches

    void end_watch() {
        {
            std::lock_guard const lock{mutex_};
            watch_over_ = true;
        }
        watch_.notify_one();
    }

    // (What is thrown here, for want of memory, ends the process.)
    void watch() noexcept {
        std::unique_lock lock{mutex_};
        while (!watch_over_) {
            watch_until_ = instant::max();
            auto const now = ports_->now();
            for (auto s : machine_->expiring(now)) machine_->valid_until(s, now + locks_[s].remaining());
            std::vector<stop_source> sources;
            for (auto const& order : machine_->stops(now)) sources.push_back(slots_[order.slot].stop);
            bool const due = asleep_ && wanted_from() <= now;
            if (due) wake(lock);
            if (!sources.empty()) {
                if (lock.owns_lock()) lock.unlock();
                for (auto& s : sources) s.request_stop();
            }
            if (!lock.owns_lock()) {
                lock.lock();
                continue;
            }
            // Not longer than a heartbeat: this clock and that of the wait may differ (suspend).
            watch_until_ = std::min(
                {machine_->next_stop(), asleep_ ? wanted_from() : instant::max(), now + node_.heartbeat_interval});
            watch_.wait_for(lock, std::max(watch_until_ - now, microseconds{}));
        }
        watch_until_ = instant::min();
    }

    // ---------------------------------------------------------------- a thread that is not at the helm

    void run_slot(std::uint32_t number, handler_type& handler) {
        std::unique_lock lock{mutex_};
        auto& s = slots_[number];
        auto const& held = locks_[number];
        if (machine_->stopping() || held.remaining() <= rules_.stop_margin) {
            machine_->not_started(number, reading());
            return wake_if_due(lock);
        }
        std::optional<string> failure;
        {
            job j{s.schedule, held, s.generation, s.attempt, s.stop.get_token(), rules_.stop_margin};
            lock.unlock();
            failure = handler.call(j);
        }
        lock.lock();
        machine_->ended(number, std::move(failure), reading());
        wake_if_due(lock);
    }

    // ---------------------------------------------------------------- what the machine wants

    // Returns the slot of a run that may begin on this thread, as nothing else is to be done first.
    std::optional<std::uint32_t> carry_out(actions& a, crew& hands, std::unique_lock<std::mutex>& lock) {
        std::vector<schedule_lock> over;
        for (auto s : a.release) over.push_back(std::move(locks_[s]));
        for (auto& start : a.starts) {
            slots_[start.slot] = {std::move(start.schedule), start.generation, start.attempt, std::stop_source{}};
        }
        bool const watch_sooner = machine_->next_stop() < watch_until_;
        lock.unlock();
        if (watch_sooner) watch_.notify_one();
        std::optional<std::uint32_t> own;
        if (a.only_starts()) {
            own = a.starts.back().slot;
            a.starts.pop_back();
        }
        for (auto const& start : a.starts) hands.push(start.slot);
        if (!a.starts.empty()) std::this_thread::yield();  // what follows can wait, where they share a CPU with this
        if (a.look) {
            auto const all = ports_->owned();
            std::lock_guard const relock{mutex_};
            machine_->owns(all, reading());
        }
        for (auto s : a.let_go) static_cast<void>(locks_[s].release());
        if (!a.done.empty()) tell_done(a.done);  // before a hand-off that waits for the lock takes it along
        if (!over.empty()) ports_->release(over);
        if (a.leave) leave();
        if (!a.extend.empty()) extend(a.extend);
        if (!a.acquire.empty()) acquire(a.acquire);
        if (a.take_no_more) ports_->take_no_more();
        for (auto const& r : a.reports) tell(r);
        return own;
    }

    // Those that exist no more are as good as told.
    void tell_done(std::vector<schedule_triggered> const& runs) {
        auto const answers = ports_->trigger_done(runs);
        std::vector<schedule_triggered> left;
        for (std::size_t i = 0; i < runs.size(); ++i) {
            if (!answers[i] && answers[i].error() != errc::unknown_schedule) left.push_back(runs[i]);
        }
        if (left.empty()) return;
        std::lock_guard const lock{mutex_};
        if (!machine_->stopping()) machine_->not_told(left, ports_->now());
    }

    void leave() {
        ports_->leave();
        taking_part_ = false;
        for (auto& l : locks_) l.forget();  // they are invalid: nothing to be told to the group
    }

    // One request, as a rule: for slots side by side, with none among them that is not to be extended.
    void extend(std::vector<std::uint32_t> const& slots) {
        for (std::size_t from = 0; from < slots.size();) {
            auto to = from + 1;
            while (to < slots.size() && only_free_between(slots[to - 1], slots[to])) ++to;
            auto const first = slots[from];
            auto const answers =
                ports_->extend(std::span{locks_}.subspan(first, slots[to - 1] - first + 1), rules_.lock_ttl);
            std::lock_guard const lock{mutex_};
            auto const now = ports_->now();
            for (auto i = from; i < to; ++i) {
                auto const& answer = answers[slots[i] - first];
                if (answer) {
                    machine_->extended(slots[i], now + locks_[slots[i]].remaining(), now);
                } else {
                    machine_->not_extended(slots[i], answer.error(), now);
                }
            }
            if (machine_->next_stop() < watch_until_) watch_.notify_one();  // a lock was lost
            from = to;
        }
    }
    [[nodiscard]] bool only_free_between(std::uint32_t a, std::uint32_t b) const {
        return std::all_of(locks_.begin() + a + 1, locks_.begin() + b,
                           [](schedule_lock const& l) { return l.token() == 0; });
    }

    void acquire(std::vector<late<worker_actions::acquisition, T>> const& wanted) {
        std::vector<string> names;
        names.reserve(wanted.size());
        for (auto const& w : wanted) names.push_back(w.schedule);
        auto granted = ports_->lock(std::move(names), rules_.lock_ttl);
        std::lock_guard const lock{mutex_};
        auto const t = reading();
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            auto const s = wanted[i].slot;
            if (!granted[i]) {
                machine_->refused(s, granted[i].error(), t);
                continue;
            }
            locks_[s] = std::move(*granted[i]);
            machine_->granted(s, locks_[s].token(), t.now + locks_[s].remaining(), t);
        }
    }

    void tell(run_report const& r) noexcept {
        if (told_) {
            told_(r);
        } else if (is_trouble(r.kind)) {
            say(describe(r));
        }
    }

    // ---------------------------------------------------------------- registration

    [[nodiscard]] bool may_register(instant now) const {
        return taking_part_ && machine_->in_contact() && !machine_->stopping() && registrations_.due() <= now;
    }
    void register_page(std::unique_lock<std::mutex>& lock) {
        auto const page = registrations_.next_page();
        lock.unlock();
        auto const answers = ports_->register_schedules(page);
        lock.lock();
        auto const refused = registrations_.done(page, answers, ports_->now(), node_.heartbeat_interval);
        lock.unlock();
        for (auto const& r : refused) tell(r);
    }

    // ---------------------------------------------------------------- events

    void take(node_joined const& e) {
        self_ = e.node.incarnation;
        contact_ = true;
        if (machine_) machine_->joined(ports_->now());
    }
    void take(node_suspended const&) {
        if (machine_) machine_->suspended();
    }
    void take(node_resumed const&) {
        if (machine_) machine_->resumed(ports_->now());
    }
    void take(node_lost const& e) {
        be_gone();
        if (e.data_lost) registrations_.repeat();
    }
    void take(node_left const&) { be_gone(); }
    void take(node_fenced const&) { be_gone(); }
    void take(ownership_changed const& e) {
        if (!machine_ || self_ == 0) return;
        if (e.to.incarnation == self_) {
            machine_->owned(e.schedule, e.generation, reading());
        } else if (e.from.incarnation == self_) {
            machine_->lost(e.schedule);
        }
    }
    void take(handoff_requested const& e) {
        if (machine_) machine_->revoked(e.schedule);
    }
    void take(schedule_triggered const& e) {
        if (!machine_) return;
        machine_->triggered(e.schedule, e.token, ports_->now());
    }
    void take(events_gap const&) {
        if (machine_) machine_->look_soon(ports_->now());
    }
    template <typename Other>
    void take(Other const&) {}

    void be_gone() {
        contact_ = false;
        if (machine_) machine_->gone();
    }

    options node_;
    worker_options given_;
    worker_options rules_;  // while run() is under way
    ports* ports_ = nullptr;
    report_hook told_;
    std::atomic<bool> running_{false};

    // At the helm alone.
    result<void> outcome_;
    bool taking_part_ = false;
    bool worked_ = false;  // in the step before
    instant look_in_at_{};
    std::optional<steady_time> left_at_;
    bool hung_told_ = false;  // since then

    std::mutex mutex_;  // of what follows
    std::optional<machine_type> machine_;
    late<worker_registrations<>, T> registrations_;
    std::vector<slot> slots_;
    std::vector<schedule_lock> locks_;  // by slot; side by side, since extend_each() takes a span
    fencing_token self_ = 0;
    bool contact_ = false;
    bool stop_wanted_ = false;
    bool asleep_ = false;
    std::thread::id sleeper_;
    std::atomic<bool> enough_{false};  // sleep, set with the mutex
    std::condition_variable woken_;
    std::condition_variable watch_;
    instant watch_until_ = instant::min();  // the watcher looks again then, at the latest
    bool watch_over_ = false;
};

}  // namespace rota::detail
