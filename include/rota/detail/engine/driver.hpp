// Runs the algorithm of node_core over a transport: takes turns, sends requests, queues events and delivers them. The
// calls of a coordinator (membership_calls.hpp, lock_calls.hpp, schedule_calls.hpp, group_calls.hpp) are written on top of
// it, once, as flows; what differs between a blocking and an asynchronous coordinator is its Mode (blocking_engine.hpp,
// async_engine.hpp):
//
//   m.user_turn()                 a guard: nobody else touches the core until the holder awaits something
//   m.lane_turn(), m.whole_turn() awaited, give a guard: no request of the lane is under way meanwhile
//   m.perform(op, timeout)        awaited, gives result<reply>: one attempt
//   m.sleep(subscription, span)   awaited, gives wake_reason
//   m.stir()                      ends a sleep
//   Mode::interleaves             whether other calls go on while one awaits something
//
// Policies are reached through `ports`, so all this is compiled once whatever they are; and only where it is used, being
// a template.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "../../events.hpp"
#include "../../options.hpp"
#include "../../policies.hpp"
#include "../../schedule_lock.hpp"
#include "../belief.hpp"
#include "../flow.hpp"
#include "../late.hpp"
#include "../node_core.hpp"

namespace rota::detail {

/// The policies of a coordinator that all modes need, type-erased.
class ports {
public:
    virtual result<void> open(transport_settings const&) = 0;
    virtual bool take_server_changed() = 0;
    virtual std::optional<pushed_news> take_news(subscription const&) = 0;
    virtual std::vector<error> take_warnings() = 0;
    virtual void deliver(event const&) noexcept = 0;
    virtual planner strategy() = 0;

protected:
    ~ports() = default;
};

template <typename Mode, typename Defects>
class driver {
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;
    using reply = late<rota::reply, Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;

public:
    using core_type = node_core<Defects>;
    using target = lock_host::target;

    driver(options given, ports& p, Mode& m, std::shared_ptr<detail::belief> published, std::uint64_t entropy)
        : mode{m},
          policies{p},
          belief{std::move(published)},
          core{std::move(given), p.strategy(), belief, entropy} {}
    driver(driver const&) = delete;
    driver& operator=(driver const&) = delete;

    Mode& mode;
    ports& policies;
    std::shared_ptr<late<detail::belief, Defects>> belief;
    core_type core;  // in a turn
    atomic_instant due;

    [[nodiscard]] instant now() const { return belief->now(); }
    [[nodiscard]] bool in_sink() const { return delivering_.load() == std::this_thread::get_id(); }

    [[nodiscard]] result<void> enter() const {
        if (in_sink())
            return {errc::reentrant_call, "called from inside an event sink: only local reads are allowed there"};
        return {};
    }

    // Before the first request, in a turn: options and settings, as a whole.
    result<void> open() {
        if (opened_) return {};
        auto const& o = core.settings();
        if (auto r = validate(o); !r) return r;
        if (auto r = policies.open({o.key_prefix, o.node_id, o.operation_timeout}); !r) return r;
        opened_ = true;
        return {};
    }

    // ---------------------------------------------------------------- requests

    // One request of the user's, in a turn: repeated (every operation has one effect) while that may help and the time
    // allowed is not up.
    auto attempt(operation const& request) {
        if constexpr (Mode::interleaves) {
            return attempt_by_flow(request);
        } else {  // (the hot path of a blocking coordinator)
            attempts tries{*this};
            auto answer = mode.perform(request, tries.time_left()).value;
            while (tries.again_after(answer)) answer = mode.perform(request, tries.time_left()).value;
            return ready<result<reply>>{std::move(answer)};
        }
    }

    // For a call that begins now.
    [[nodiscard]] instant time_allowed() const { return now() + core.settings().operation_timeout; }

    flow<result<reply>> perform_any(operation request) {
        auto const turn = mode.user_turn();
        if (auto r = open(); !r) co_return r.error();
        auto answer = co_await attempt(request);
        collect();
        co_return answer;
    }

    template <typename Op>
    flow<result<typename Op::reply>> perform(Op asked) {
        operation request{std::move(asked)};
        auto answer = co_await perform_any(std::move(request));
        if (!answer) co_return answer.error();
        co_return std::get<typename Op::reply>(*std::move(answer));
    }

    // The background lane, until it has nothing to ask for. Others get their turn between requests. Where each takes
    // longer than a heartbeat there is always something: then until the next is due, and the caller looks after itself.
    // Or until the caller has something else to do.
    flow<void> drive(std::stop_token const* stop = nullptr, std::atomic<bool> const* enough = nullptr) {
        auto const until = now() + core.settings().heartbeat_interval;
        for (bool more = true; more;) {
            {
                auto const turn = co_await mode.lane_turn();
                more = co_await release_abandoned();
                take_in();  // what is read anew after the server changed begins with its first page
                auto request = core.next(now());
                if (!request) {
                    bool const settling = co_await settle_unanswered();
                    more = settling || more;
                } else {
                    more = true;
                    take_in();
                    auto const sent = now();
                    auto const answer = co_await mode.perform(*request, core.settings().operation_timeout);
                    core.done(*request, answer, sent, now());
                }
                // Whoever drives does what is due: run() need not be woken for it.
                more = more && now() < until && !(stop && stop->stop_requested()) && !(enough && enough->load());
                if (more) {
                    take_in();
                } else {
                    collect();
                }
            }
            deliver();
        }
    }

    // After a request of ours that may have given us something to read or to do.
    flow<void> after_change() {
        bool member = false;
        {
            auto const turn = mode.user_turn();
            core.group_log_moved();
            member = core.state() == standing::member;
        }
        if (member) co_await drive();
        deliver();
    }

    void note_own_change(op::outcomes const& r) {
        auto const turn = mode.user_turn();
        for (auto const& out : r.items) {
            core.see(out.token);
            if (out.ok()) {
                core.own_log_moved();
                return;
            }
        }
    }

    // ---------------------------------------------------------------- what run() sleeps for

    struct nap {
        subscription listen;
        instant until{};
    };
    // Calls of others may change that: see collect().
    nap fall_asleep() {
        nap_ = {core.what_to_listen_for(), core.due()};
        return *nap_;
    }
    void wake_up() { nap_.reset(); }

    // In a turn of the lane: a sleep was ended by what was pushed.
    void hear() {
        collect();  // what is heard of another server than before does not go with what was known
        core.hear(policies.take_news(core.what_to_listen_for()), now());
        collect();
    }

    // ---------------------------------------------------------------- events

    // In a turn: moves what happened to the queue, in order; and ends the sleep of run() if there is something to do
    // before that would.
    void collect() {
        take_in();
        if (!nap_) return;
        auto const listen = core.what_to_listen_for();
        bool const other = listen.incarnation != nap_->listen.incarnation || listen.epoch != nap_->listen.epoch ||
                           listen.group != nap_->listen.group;
        if (!other && due.load() >= nap_->until) return;
        nap_.reset();
        mode.stir();
    }
    // The first half of that.
    void take_in() {
        if (policies.take_server_changed()) core.server_changed();
        due.store(core.due());
        for (auto& w : policies.take_warnings()) core.tell(event{warning{std::move(w)}});
        if (!core.has_events()) return;
        auto fresh = core.take_events();
        std::lock_guard const lock{queue_mutex_};
        for (auto& e : fresh) queue_.push_back(std::move(e));
    }

    // Outside of every turn: one thread at a time delivers, in order. Who comes meanwhile leaves its events to that one,
    // and does not wait: the sink may be waiting for something that it holds.
    void deliver() {
        std::unique_lock lock{queue_mutex_};
        if (delivering_.load() != std::thread::id{}) return;
        while (!queue_.empty()) {
            delivering_.store(std::this_thread::get_id());
            auto const batch = std::exchange(queue_, {});
            lock.unlock();
            for (auto const& e : batch) policies.deliver(e);
            lock.lock();
        }
        delivering_.store(std::thread::id{});
    }

    // ---------------------------------------------------------------- locks that nobody holds any more

    // Their handles died in a sink, or they were granted too late: the lane gives them back.
    void abandon(target held) {
        std::lock_guard const lock{queue_mutex_};
        abandoned_.push_back(std::move(held));
    }

    // An acquisition that was never answered: see settle_unanswered().
    void note_unanswered(operation request, instant until) { unanswered_.push_back({std::move(request), until}); }

    // In a turn; the handles are invalid already.
    flow<result<op::outcomes>> release_locked(op::release_locks released) {
        operation const request{std::move(released)};
        auto const& [kind, locks] = std::get<op::release_locks>(request);
        for (auto const& l : locks) core.on_releasing(kind, l.name, l.token);
        auto answer = co_await attempt(request);
        collect();
        if (!answer) co_return answer.error();
        for (auto const& l : locks) core.on_released(kind, l.name, l.token);
        co_return std::get<op::outcomes>(*std::move(answer));
    }

    // A hand-off may have waited for the lock just released.
    flow<void> after_locks() {
        bool waiting = false;
        {
            auto const turn = mode.user_turn();
            waiting = core.state() == standing::member && core.due() <= now();
        }
        if (waiting) co_await drive();
        deliver();
    }

private:
    class attempts {
    public:
        explicit attempts(driver& d) : driver_{d}, limit_{d.time_allowed()} {}

        [[nodiscard]] microseconds time_left() const { return std::max(limit_ - driver_.now(), microseconds{1000}); }
        bool again_after(result<reply>& answer) {
            if (answer) return false;
            auto const code = answer.error().code;
            unknown_ = unknown_ || code == errc::outcome_unknown;
            bool const worth_it = code == errc::unavailable || code == errc::outcome_unknown;
            if (code == errc::not_joined || code == errc::not_leader) driver_.core.want_tick(driver_.now());
            if (worth_it && ++count_ < most && driver_.now() < limit_) return true;
            // An attempt may have done it.
            if (unknown_) answer = error{errc::outcome_unknown, answer.error().detail};
            return false;
        }

    private:
        static constexpr unsigned most = 3;
        driver& driver_;
        instant limit_;
        unsigned count_ = 0;
        bool unknown_ = false;
    };

    flow<result<reply>> attempt_by_flow(operation const& request) {
        attempts tries{*this};
        auto answer = co_await mode.perform(request, tries.time_left());
        while (tries.again_after(answer)) answer = co_await mode.perform(request, tries.time_left());
        co_return answer;
    }

    // One request. False: there are none.
    flow<bool> release_abandoned() {
        op::release_locks request;
        {
            std::lock_guard const lock{queue_mutex_};
            if (abandoned_.empty()) co_return false;
            request.kind = abandoned_.front().kind;
            std::erase_if(abandoned_, [&](target const& held) {
                if (held.kind != request.kind || request.items.size() == op::max_batch) return false;
                request.items.push_back({held.name, held.token});
                return true;
            });
        }
        (void)co_await release_locked(std::move(request));
        co_return true;
    }

    // An acquisition that was never answered is asked about once there is contact again, and what it took is given back;
    // else that would stand in this node's own way for its ttl. (A repeat has one effect.) False: nothing to ask.
    flow<bool> settle_unanswered() {
        if (unanswered_.empty() || core.last_failure()) co_return false;
        auto open = std::move(unanswered_.back());
        unanswered_.pop_back();
        auto const& asked = std::get<op::acquire_locks>(open.request);
        if (now() >= open.until || asked.incarnation != core.self().incarnation) co_return true;
        auto const answer = co_await attempt(open.request);
        if (!answer) {  // another time
            if (answer.error() != errc::not_joined) unanswered_.push_back(std::move(open));
            co_return false;
        }
        op::release_locks taken{.kind = asked.kind};
        auto const& out = std::get<op::outcomes>(*answer).items;
        for (std::size_t i = 0; i < out.size(); ++i) {
            if (out[i].ok()) taken.items.push_back({asked.items[i].name, out[i].token});
        }
        if (!taken.items.empty()) (void)co_await release_locked(std::move(taken));
        co_return true;
    }

    bool opened_ = false;
    std::optional<nap> nap_;  // while run() sleeps
    struct unanswered {
        operation request;
        instant until{};
    };
    std::vector<unanswered> unanswered_;  // acquisitions

    std::mutex queue_mutex_;                     // of what follows
    std::atomic<std::thread::id> delivering_{};  // the thread that runs the sink
    std::vector<event> queue_;
    std::vector<target> abandoned_;
};

// ---------------------------------------------------------------- what calls have in common

template <typename T>
results<T> all_failed(std::size_t count, error const& why) {
    results<T> answers;
    answers.reserve(count);
    for (std::size_t i = 0; i < count; ++i) answers.push_back(why);
    return answers;
}

/// The i-th page of `all`; empty behind the last.
template <typename Item>
std::span<Item const> page_of(std::span<Item const> all, std::size_t i) {
    auto const begin = std::min(all.size(), i * op::max_batch);
    return all.subspan(begin, std::min(all.size() - begin, op::max_batch));
}

template <typename = void>
error at_item(std::ptrdiff_t index, error why) {
    why.detail = fmt::format("item {}: {}", index, why.detail);
    return why;
}

template <typename = void>
result<void> check_distinct(std::vector<std::string_view> ids) {
    // Mostly they come in order.
    if (std::adjacent_find(ids.begin(), ids.end(), std::greater_equal<>{}) == ids.end()) return {};
    std::vector<std::size_t> seen(std::bit_ceil(2 * ids.size()));  // 1 + an index, near to where its hash belongs
    for (std::size_t i = 0; i < ids.size(); ++i) {
        auto at = std::hash<std::string_view>{}(ids[i]) & (seen.size() - 1);
        for (; seen[at] != 0; at = (at + 1) & (seen.size() - 1)) {
            if (ids[seen[at] - 1] != ids[i]) continue;
            return {errc::invalid_argument, in_words(std::string{ids[i]}) + " is named twice"};
        }
        seen[at] = i + 1;
    }
    return {};
}

template <typename = void>
result<void> check_ids(std::span<std::string const> ids) {
    for (auto const& id : ids) {
        if (auto r = check_id("a schedule id", id); !r) return at_item(&id - ids.data(), r.error());
    }
    return check_distinct({ids.begin(), ids.end()});
}

}  // namespace rota::detail
