// The calls of a coordinator over an asynchronous transport: the same flows as a blocking one's (engine/), suspended while
// a request is under way and resumed on the loop's thread. Calls go on side by side, their requests pipelined; only the
// background lane, leave and renounce take turns, so that node_core sees one of its own requests at a time.
//
// Promises: a handler is called by the loop when its call is done, so never inside another call of rota's, and may destroy
// the coordinator. shut_down() ends whatever is under way with errc::cancelled, and calls the handlers that were not called
// yet: the loop may never run again, and what they refer to may be gone soon. Nothing that the transport or the loop still
// holds reaches in afterwards.
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "../async_lock.hpp"
#include "../loop/event_loop.hpp"
#include "engine/group_calls.hpp"
#include "engine/lock_calls.hpp"
#include "engine/membership_calls.hpp"
#include "engine/schedule_calls.hpp"

namespace rota::detail {

/// The policies of an asynchronous coordinator, type-erased.
class async_ports : public ports {
public:
    using reply_handler = unique_function<void(result<reply>)>;
    virtual void submit(operation const&, microseconds timeout, reply_handler) = 0;
    virtual void listen(subscription const&, loop_task pushed) = 0;
    [[nodiscard]] virtual loop_ref loop() const = 0;

protected:
    ~async_ports() = default;
};

/// How a flow takes turns, performs and sleeps on a loop: see driver.hpp.
template <typename Defects>
class async_mode {
    using reply = late<rota::reply, Defects>;
    using operation = late<rota::operation, Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;

public:
    static constexpr bool interleaves = true;

    explicit async_mode(async_ports& p) : ports_{p}, loop_{p.loop()} {}
    async_mode(async_mode const&) = delete;
    async_mode& operator=(async_mode const&) = delete;

    // ---------------------------------------------------------------- turns

    // There is one thread, and it goes on until it awaits something.
    struct no_turn {
        ~no_turn() {}  // g++ warns of variables that nothing is done with, unless they end in some way
    };
    [[nodiscard]] no_turn user_turn() const { return {}; }
    [[nodiscard]] no_turn quick_turn() const { return {}; }

    class turn {
    public:
        explicit turn(async_mode& m) noexcept : mode_{&m} {}
        turn(turn&& other) noexcept : mode_{std::exchange(other.mode_, nullptr)} {}
        turn& operator=(turn&&) = delete;
        ~turn() {
            if (mode_) mode_->end_turn();
        }

    private:
        async_mode* mode_;
    };
    struct turn_awaiter {
        async_mode& mode;
        bool await_ready() noexcept { return !std::exchange(mode.taken_, true); }
        void await_suspend(std::coroutine_handle<> h) { mode.waiting_.push_back(h); }
        turn await_resume() noexcept { return turn{mode}; }
    };
    [[nodiscard]] turn_awaiter lane_turn() { return {*this}; }
    [[nodiscard]] turn_awaiter whole_turn() { return {*this}; }

    // ---------------------------------------------------------------- requests

    // One that is under way. The transport's handler shares it, and may outlive the coordinator.
    struct exchange {
        std::coroutine_handle<> awaits;
        std::optional<result<reply>> answer;
        exchange* before = nullptr;
        exchange* after = nullptr;

        void end(result<reply> with) {
            if (!awaits) return;
            answer.emplace(std::move(with));
            std::exchange(awaits, {}).resume();
        }
    };
    class exchange_awaiter {
    public:
        exchange_awaiter(async_mode& m, operation const& request, microseconds timeout)
            : mode_{m},
              request_{request},
              timeout_{timeout} {}
        [[nodiscard]] bool await_ready() const noexcept { return mode_.closing_; }
        void await_suspend(std::coroutine_handle<> h) {
            exchange_ = std::make_shared<exchange>();
            exchange_->awaits = h;
            mode_.ports_.submit(request_, timeout_,
                                [e = exchange_](result<reply> answer) { e->end(std::move(answer)); });
            mode_.link(*exchange_);
        }
        result<reply> await_resume() {
            if (!exchange_) return error{errc::cancelled, "the coordinator is being destroyed"};
            mode_.unlink(*exchange_);
            return *std::move(exchange_->answer);
        }

    private:
        async_mode& mode_;
        operation const& request_;
        microseconds timeout_;
        std::shared_ptr<exchange> exchange_;
    };
    [[nodiscard]] exchange_awaiter perform(operation const& request, microseconds timeout) {
        return {*this, request, timeout};
    }

    // ---------------------------------------------------------------- the sleep of run()

    class sleep_awaiter {
    public:
        sleep_awaiter(async_mode& m, subscription const& listen, microseconds span)
            : mode_{m},
              listen_{listen},
              span_{span} {}
        [[nodiscard]] bool await_ready() const noexcept { return mode_.closing_ || mode_.stirred_.exchange(false); }
        void await_suspend(std::coroutine_handle<> h) {
            if (!mode_.timer_) {
                mode_.timer_ = mode_.loop_.timer([&m = mode_] { m.wake(wake_reason::timeout); });
            }
            mode_.timer_->start(span_);
            mode_.ports_.listen(listen_, [&m = mode_, still = std::weak_ptr<char>{mode_.alive_}] {
                if (!still.expired()) m.wake(wake_reason::pushed);
            });
            mode_.sleeper_ = h;
        }
        [[nodiscard]] wake_reason await_resume() const noexcept {
            return std::exchange(mode_.why_, wake_reason::woken);
        }

    private:
        async_mode& mode_;
        subscription listen_;
        microseconds span_;
    };
    [[nodiscard]] sleep_awaiter sleep(subscription const& listen, microseconds span) { return {*this, listen, span}; }
    [[nodiscard]] wake_reason look(subscription const&) const { return wake_reason::timeout; }

    /// Any thread.
    void stir() {
        stirred_.store(true);
        later([this] {
            if (sleeper_ && stirred_.exchange(false)) wake(wake_reason::woken);
        });
    }

    template <typename Note>
    void ended(Note&& note) {
        note();
    }

    /// Ends all that is under way, and whatever it begins.
    void close() {
        closing_ = true;
        for (;;) {
            if (first_ != nullptr) {
                first_->end(error{errc::cancelled, "the coordinator is being destroyed"});
            } else if (sleeper_) {
                wake(wake_reason::woken);
            } else if (next_) {
                std::exchange(next_, {}).resume();
            } else {
                break;
            }
        }
        // Not before: until run() has ended, a thread that asks it to stop may be inside stir().
        alive_.reset();
        timer_.reset();
        ports_.listen({}, [] {});
    }

private:
    // On the loop, if this is still there by then.
    template <typename Task>
    void later(Task task) {
        loop_.post([still = std::weak_ptr<char>{alive_}, task]() mutable {
            if (!still.expired()) task();
        });
    }

    // Not at once: the one whose turn it was has more to do.
    void end_turn() {
        if (waiting_.empty()) {
            taken_ = false;
            return;
        }
        next_ = waiting_.front();
        waiting_.pop_front();
        if (closing_) return;
        later([this] {
            if (next_) std::exchange(next_, {}).resume();
        });
    }

    void wake(wake_reason why) {
        if (!sleeper_) return;  // it looks by itself before it sleeps
        why_ = why;
        timer_->stop();
        std::exchange(sleeper_, {}).resume();
    }

    void link(exchange& e) noexcept {
        e.after = first_;
        if (first_ != nullptr) first_->before = &e;
        first_ = &e;
    }
    void unlink(exchange& e) noexcept {
        (e.before != nullptr ? e.before->after : first_) = e.after;
        if (e.after != nullptr) e.after->before = e.before;
    }

    async_ports& ports_;
    loop_ref const loop_;
    std::shared_ptr<char> alive_ = std::make_shared<char>('\0');
    bool closing_ = false;

    bool taken_ = false;  // the lane's turn
    std::deque<std::coroutine_handle<>> waiting_;
    std::coroutine_handle<> next_;  // whose turn it is, and who goes on when the loop comes to it

    exchange* first_ = nullptr;

    std::coroutine_handle<> sleeper_;
    wake_reason why_ = wake_reason::woken;
    std::atomic<bool> stirred_{false};
    timer_handle timer_;
};

template <typename Defects = sound>
class async_engine final : private async_lock_host {
    using mode_type = async_mode<Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;
    template <typename T>
    using results = late<rota::results<T>, Defects>;

public:
    async_engine(options given, async_ports& policies, std::shared_ptr<belief> published, std::uint64_t entropy)
        : ports_{policies},
          mode_{policies},
          driver_{std::move(given), policies, mode_, std::move(published), entropy} {}

    /// The coordinator's destructor: no handle reaches in any more, and every call ends.
    void shut_down() {
        disown_locks();
        membership_.close();
        mode_.close();
        disown_locks();  // a call in pages that ends now hands out what its first pages were granted
        closed_ = true;
        auto const kept = outbox_;
        while (!kept->tasks.empty()) kept->run_first();
    }

    // ---------------------------------------------------------------- membership and leadership

    template <typename Handler>
    void join(Handler h) {
        start(membership_.join(), std::move(h));
    }
    template <typename Handler>
    void tick(Handler h) {
        start(membership_.tick(), std::move(h));
    }
    template <typename Handler>
    void run(std::stop_token stop, Handler h) {
        start(membership_.run(std::move(stop), instant::max()), std::move(h));
    }
    template <typename Handler>
    void leave(Handler h) {
        start(membership_.leave(), std::move(h));
    }
    void wake() { mode_.stir(); }
    [[nodiscard]] microseconds next_tick() const { return membership_.next_tick(); }
    template <typename Handler>
    void try_become_leader(Handler h) {
        start(membership_.try_become_leader(), std::move(h));
    }
    template <typename Handler>
    void renounce(Handler h) {
        start(membership_.renounce(), std::move(h));
    }
    template <typename Handler>
    void rebalance(Handler h) {
        start(membership_.rebalance(), std::move(h));
    }

    // ---------------------------------------------------------------- locks

    template <typename Handler>
    void lock_each(op::lock_kind kind, std::vector<std::string> names, microseconds ttl, Handler h) {
        start(lock_each_flow(kind, std::move(names), ttl), std::move(h));
    }
    template <typename Handler>
    void lock_one(op::lock_kind kind, std::string name, microseconds ttl, Handler h) {
        start(lock_one_flow(kind, std::move(name), ttl), std::move(h));
    }

    // ---------------------------------------------------------------- schedules

    template <typename Handler>
    void register_schedules(std::vector<schedule> list, Handler h) {
        start(register_flow(std::move(list)), std::move(h));
    }
    template <typename Handler>
    void update_schedules(std::vector<schedule> list, Handler h) {
        start(update_flow(std::move(list)), std::move(h));
    }
    template <typename Handler>
    void trigger(std::vector<std::string> ids, Handler h) {
        start(trigger_flow(std::move(ids)), std::move(h));
    }
    template <typename Handler>
    void trigger_done(std::vector<op::trigger::item> runs, Handler h) {
        start(trigger_done_flow(std::move(runs)), std::move(h));
    }
    template <typename Handler>
    void unregister_schedules(std::vector<std::string> ids, Handler h) {
        start(unregister_flow(std::move(ids)), std::move(h));
    }
    template <typename Handler>
    void claim(std::vector<std::string> ids, Handler h) {
        start(claim_flow(std::move(ids)), std::move(h));
    }
    template <typename Handler>
    void transfer(std::string id, std::string node_id, Handler h) {
        start(schedules_.transfer(std::move(id), std::move(node_id)), std::move(h));
    }

    // ---------------------------------------------------------------- the group

    template <typename Handler>
    void nodes(Handler h) {
        start(group_.nodes(), std::move(h));
    }
    template <typename Handler>
    void loads(Handler h) {
        start(group_.loads(), std::move(h));
    }
    template <typename Handler>
    void orphaned(Handler h) {
        start(group_.orphaned(), std::move(h));
    }
    template <typename Handler>
    void propose(Handler h) {
        start(group_.propose(), std::move(h));
    }
    template <typename Handler>
    void propose_if_lost(std::string node_id, Handler h) {
        start(group_.propose_if_lost(std::move(node_id)), std::move(h));
    }
    template <typename Handler>
    void propose_if_joined(std::uint32_t count, node_attributes each, Handler h) {
        start(group_.propose_if_joined(count, std::move(each)), std::move(h));
    }
    template <typename Handler>
    void apply(proposal p, Handler h) {
        start(apply_flow(std::move(p)), std::move(h));
    }
    template <typename Handler>
    void set_attributes(node_attributes attributes, Handler h) {
        start(group_.set_attributes(std::move(attributes)), std::move(h));
    }
    node_attributes attributes() { return group_.attributes(); }
    template <typename Handler>
    void report_load(double load, Handler h) {
        start(group_.report_load(load), std::move(h));
    }
    template <typename Handler>
    void give_order(op::order_kind kind, std::string node_id, Handler h) {
        start(group_.give_order(kind, std::move(node_id)), std::move(h));
    }

    [[nodiscard]] instant now() const { return driver_.now(); }

private:
    template <typename T, typename Handler>
    void start(flow<T> call, Handler handler) {
        static_assert(std::is_invocable_v<Handler&, T>,
                      "rota: this handler cannot take the call's result: see the call's documentation for its type");
        if constexpr (std::is_invocable_v<Handler&, T>) {  // else it was refused, and nothing more is said
            run_and_tell<T>(std::move(call), unique_function<void(T)>{std::move(handler)});
        }
    }
    // (Type-erased: g++ warns of coroutines that hold a lambda of a header's.)
    template <typename T>
    detached_flow run_and_tell(flow<T> call, unique_function<void(T)> handler) {
        T answer = co_await call;
        tell(told<T>{std::move(handler), std::move(answer)});
    }
    // Once this is shut down, what a handler asked for in vain is told by the loop, or it could go round for ever.
    void tell(loop_task task) {
        if (closed_) return ports_.loop().post(std::move(task));
        outbox_->tasks.push_back(std::move(task));
        outbox::come_to(outbox_, ports_.loop());
    }
    // Handlers to be called. It outlives the coordinator while one of them destroys that.
    struct outbox {
        std::deque<loop_task> tasks;
        bool posted = false;  // the loop comes to it

        static void come_to(std::shared_ptr<outbox> const& box, loop_ref loop) {
            if (std::exchange(box->posted, true)) return;
            loop.post([box, loop] {
                box->posted = false;
                struct others {  // also where a handler throws
                    std::shared_ptr<outbox> const& box;
                    loop_ref loop;
                    ~others() {
                        if (!box->tasks.empty()) come_to(box, loop);
                    }
                } const told_later{box, loop};
                for (auto count = box->tasks.size(); count > 0 && !box->tasks.empty(); --count) box->run_first();
            });
        }
        void run_first() {
            auto task = std::move(tasks.front());
            tasks.pop_front();
            task();
        }
    };
    template <typename T>
    struct told {
        unique_function<void(T)> handler;
        T answer;
        void operator()() { handler(std::move(answer)); }
    };

    // ---------------------------------------------------------------- what a call's arguments live in

    flow<results<void>> register_flow(std::vector<schedule> list) {
        std::span<schedule const> const all{list};
        auto answers = co_await schedules_.register_schedules(all);
        co_return answers;
    }
    flow<results<void>> update_flow(std::vector<schedule> list) {
        std::span<schedule const> const all{list};
        auto answers = co_await schedules_.update_schedules(all);
        co_return answers;
    }
    flow<results<void>> trigger_flow(std::vector<std::string> ids) {
        std::span<std::string const> const all{ids};
        auto answers = co_await schedules_.trigger(all);
        co_return answers;
    }
    flow<results<void>> trigger_done_flow(std::vector<op::trigger::item> runs) {
        std::span<op::trigger::item const> const all{runs};
        auto answers = co_await schedules_.trigger_done(all);
        co_return answers;
    }
    flow<results<void>> unregister_flow(std::vector<std::string> ids) {
        std::span<std::string const> const all{ids};
        auto answers = co_await schedules_.unregister_schedules(all);
        co_return answers;
    }
    flow<results<owned_schedule>> claim_flow(std::vector<std::string> ids) {
        std::span<std::string const> const all{ids};
        auto answers = co_await schedules_.claim(all);
        co_return answers;
    }
    flow<result<void>> apply_flow(proposal p) {
        auto answer = co_await group_.apply(p);
        co_return answer;
    }

    // ---------------------------------------------------------------- locks and their handles

    flow<results<async_lock>> lock_each_flow(op::lock_kind kind, std::vector<std::string> names, microseconds ttl) {
        auto granted = co_await locks_.acquire(kind, std::move(names), ttl);
        results<async_lock> locks;
        locks.reserve(granted.size());
        // What a page's handles hold is allocated as one: it goes with the last of them.
        std::shared_ptr<async_hold[]> page;
        for (std::size_t i = 0; i < granted.size(); ++i) {
            auto const place = i % op::max_batch;
            if (place == 0) page.reset();
            auto& g = granted[i];
            if (g) {
                if (!page) page.reset(new async_hold[std::min(granted.size() - (i - place), op::max_batch)]);
                locks.push_back(
                    handle({page, &page[static_cast<std::ptrdiff_t>(place)]}, std::move(g->held), g->until));
            } else {
                locks.push_back(g.error());
            }
        }
        co_return locks;
    }
    flow<result<async_lock>> lock_one_flow(op::lock_kind kind, std::string name, microseconds ttl) {
        std::vector<std::string> names;
        names.push_back(std::move(name));
        auto granted = co_await locks_.acquire(kind, std::move(names), ttl);
        auto& g = granted.front();
        if (!g) co_return g.error();
        co_return handle(std::make_shared<async_hold>(), std::move(g->held), g->until);
    }

    void disown_locks() {
        for (auto& hold : holds_) {
            if (auto const still = hold.lock()) {
                still->ended.store(true);
                still->host = nullptr;
            }
        }
    }

    async_lock handle(std::shared_ptr<async_hold> hold, lock_host::target held, instant until) {
        hold->held = std::move(held);
        hold->node = driver_.belief;
        hold->host = this;
        hold->until.store(until);
        if (holds_.size() >= 2 * held_before_ + 64) {  // those that are gone, now and then
            std::erase_if(holds_, [](auto const& h) { return h.expired(); });
            held_before_ = holds_.size();
        }
        holds_.push_back(hold);
        return async_lock{std::move(hold)};
    }

    void extend(std::shared_ptr<async_hold> hold, microseconds ttl, lock_handler handler) override {
        start(extend_flow(std::move(hold), ttl), std::move(handler));
    }
    flow<result<void>> extend_flow(std::shared_ptr<async_hold> hold, microseconds ttl) {
        std::vector<lock_host::target> held;
        held.push_back(hold->held);
        auto extended = co_await locks_.extend(std::move(held), ttl);
        if (!driver_.in_sink()) driver_.deliver();
        auto const& until = extended.front();
        if (!until) {
            if (until.error() == errc::lock_lost) hold->ended.store(true);
            co_return until.error();
        }
        if (*until > hold->until.load()) hold->until.store(*until);
        co_return result<void>{};
    }

    void release(std::shared_ptr<async_hold> hold, lock_handler handler) override {
        if (driver_.in_sink()) {  // a handle that dies in a sink: the lane tells the server
            driver_.abandon(hold->held);
            if (handler) refuse({}, std::move(handler));
            return;
        }
        if (!handler) handler = [](result<void>) {};
        start(release_flow(std::move(hold)), std::move(handler));
    }
    flow<result<void>> release_flow(std::shared_ptr<async_hold> hold) {
        std::vector<lock_host::target> held;
        held.push_back(hold->held);
        auto released = co_await locks_.release(std::move(held));
        co_await driver_.after_locks();
        co_return std::move(released.front());
    }

    void refuse(error why, lock_handler handler) override {
        result<void> answer;
        if (why.code != errc{}) answer = std::move(why);
        tell(told<result<void>>{std::move(handler), std::move(answer)});
    }

    async_ports& ports_;
    mode_type mode_;
    driver<mode_type, Defects> driver_;
    membership_calls<mode_type, Defects> membership_{driver_};
    lock_calls<mode_type, Defects> locks_{driver_};
    group_calls<mode_type, Defects> group_{driver_, membership_};
    schedule_calls<mode_type, Defects> schedules_{driver_, group_};
    bool closed_ = false;
    std::shared_ptr<outbox> outbox_ = std::make_shared<outbox>();
    std::vector<std::weak_ptr<async_hold>> holds_;
    std::size_t held_before_ = 0;
};

}  // namespace rota::detail
