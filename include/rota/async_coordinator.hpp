// basic_coordinator over an asynchronous transport: the same calls by the same names, with a handler last.
//
//   rota::poll_loop loop;
//   rota::basic_coordinator node{{.node_id = "node-1"}, rota::hiredis_async{"redis://localhost:6379", loop}};
//   node.run([](rota::result<void> ended) { ... });
//   (void)loop.run_until([&] { return !node.owned().empty(); }, 10s);  // before that no lock is to be had
//   for (auto const& owned : node.owned()) {
//       node.try_lock(owned.id, 5s, [](rota::result<rota::async_lock> lock) { if (lock) process(lock->token()); });
//   }
//   loop.run();
//
// transport/hiredis_async.hpp includes this.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "async_lock.hpp"
#include "coordinator.hpp"
#include "detail/async_engine.hpp"
#include "detail/handler.hpp"

namespace rota {

/// A node of a group over an asynchronous transport (policies.hpp). Neither copied nor moved.
///
/// Threads: belongs to the thread that runs the transport's loop, as all its calls do; only wake() and the local reads
/// (is_leader, leader, owned) are for any thread. A call returns at once; its handler is called exactly once, on the
/// loop's thread, never inside a call (but for the destructor), with what the blocking call of that name returns. The
/// handler may do anything, also destroy the coordinator: then the calls that are under way end with errc::cancelled (a
/// request that was sent may take effect). What handlers refer to must outlive the coordinator: declare it before. Calls
/// may be made without waiting for each other; their requests go out in the order of the calls. But for run() and join()
/// themselves, none waits until the node has joined: what needs membership ends with not_joined before.
///
/// Errors as of the blocking one, and cancelled.
template <typename... Policies>
    requires(detail::policy_set<Policies...>::is_async)
class basic_coordinator<Policies...> {
    using set = detail::policy_set<Policies...>;
    using engine_type = detail::late<detail::async_engine<>, set>;
    using leader_info = detail::late<rota::leader_info, set>;
    using owned_schedule = detail::late<rota::owned_schedule, set>;
    using reply = detail::late<rota::reply, set>;
    template <typename T>
    using result = detail::late<rota::result<T>, set>;

public:
    using transport_type = typename set::transport;
    using strategy_type = typename set::strategy;
    using clock_type = typename set::clock;
    using sink_type = typename set::sink;

    /// Connects to nothing and refuses nothing: join() and run() do.
    template <typename... Given>
    explicit basic_coordinator(rota::options given_options, Given... policies)
        : shell_{std::move(given_options), detail::pick<clock_type>(policies...),
                 detail::pick<transport_type>(policies...), detail::pick<strategy_type>(policies...),
                 detail::pick<sink_type>(policies...)} {
        static_assert((detail::one_of<Given, transport_type, strategy_type, clock_type, sink_type> && ...),
                      "rota: an argument is none of this coordinator's policies");
        static_assert(detail::all_different<Given...>, "rota: an argument is given twice");
    }

    basic_coordinator(basic_coordinator const&) = delete;
    basic_coordinator& operator=(basic_coordinator const&) = delete;

    /// Ends all calls with errc::cancelled; the handler of every call that was made before has been called when it returns:
    /// the one place where handlers run inside a call of yours. A call that such a handler makes ends with cancelled, too,
    /// and is told of by the loop, later: do not call again on cancelled. Does not leave: call leave() first, and destroy it
    /// in its handler, or others wait for the node's ttl.
    ~basic_coordinator() { engine().shut_down(); }

    // ---------------------------------------------------------------- taking part

    /// As the blocking calls; handlers take a result<void>.
    template <typename Handler>
    void join(Handler handler) {
        engine().join(std::move(handler));
    }
    template <typename Handler>
    void tick(Handler handler) {
        engine().tick(std::move(handler));
    }
    template <typename Handler>
    void leave(Handler handler) {
        engine().leave(std::move(handler));
    }

    /// Takes part until `stop` is requested (by any thread), leave() is called, or it is fenced: joins if needed, ticks
    /// when it is time, at once for what is pushed, retries while the server is away, rejoins after a loss. (A join() that is
    /// called before leave() has ended may keep it going.) A stop does not leave; leave() is answered before or after this.
    template <typename Handler>
    void run(std::stop_token stop, Handler handler) {
        engine().run(std::move(stop), std::move(handler));
    }
    template <typename Handler>
    void run(Handler handler) {
        engine().run(std::stop_token{}, std::move(handler));
    }

    /// How long until there is something to do. run() looks after that. A local read.
    [[nodiscard]] microseconds next_tick() const { return engine().next_tick(); }

    /// Ends the present or next sleep of run(). Any thread.
    void wake() { engine().wake(); }

    // ---------------------------------------------------------------- leadership

    [[nodiscard]] bool is_leader() const {
        auto const& b = *shell_.published;
        return b.leads(b.now());
    }
    [[nodiscard]] std::optional<leader_info> leader() const {
        auto const& b = *shell_.published;
        return b.leader(b.now());
    }
    /// `handler(result<bool>)`.
    template <typename Handler>
    void try_become_leader(Handler handler) {
        engine().try_become_leader(std::move(handler));
    }
    template <typename Handler>
    void renounce_leadership(Handler handler) {
        engine().renounce(std::move(handler));
    }
    template <typename Handler>
    void rebalance(Handler handler) {
        engine().rebalance(std::move(handler));
    }

    // ---------------------------------------------------------------- locks

    /// `handler(result<async_lock>)`.
    template <typename Handler>
    void try_lock(std::string schedule, std::chrono::microseconds ttl, Handler handler) {
        engine().lock_one(op::lock_kind::schedule, std::move(schedule), ttl, std::move(handler));
    }
    template <typename Handler>
    void try_lock_name(std::string name, std::chrono::microseconds ttl, Handler handler) {
        engine().lock_one(op::lock_kind::name, std::move(name), ttl, std::move(handler));
    }
    /// `handler(results<async_lock>)`, one per item, in order.
    template <typename Handler>
    void try_lock_each(std::vector<std::string> schedules, std::chrono::microseconds ttl, Handler handler) {
        engine().lock_each(op::lock_kind::schedule, std::move(schedules), ttl, std::move(handler));
    }

    // ---------------------------------------------------------------- schedules

    /// `handler(results<void>)`, one per item, in order.
    template <typename Handler>
    void register_schedules(std::vector<schedule> schedules, Handler handler) {
        engine().register_schedules(std::move(schedules), std::move(handler));
    }
    template <typename Handler>
    void update_schedules(std::vector<schedule> schedules, Handler handler) {
        engine().update_schedules(std::move(schedules), std::move(handler));
    }
    template <typename Handler>
    void unregister_schedules(std::vector<std::string> ids, Handler handler) {
        engine().unregister_schedules(std::move(ids), std::move(handler));
    }
    template <typename Handler>
    void trigger(std::vector<std::string> ids, Handler handler) {
        engine().trigger(std::move(ids), std::move(handler));
    }
    template <typename Handler>
    void trigger_done(std::vector<schedule_triggered> runs, Handler handler) {
        engine().trigger_done(detail::as_items(runs), std::move(handler));
    }
    /// `handler(results<owned_schedule>)`.
    template <typename Handler>
    void claim(std::vector<std::string> ids, Handler handler) {
        engine().claim(std::move(ids), std::move(handler));
    }
    template <typename Handler>
    void transfer(std::string schedule, std::string node_id, Handler handler) {
        engine().transfer(std::move(schedule), std::move(node_id), std::move(handler));
    }
    [[nodiscard]] std::vector<owned_schedule> owned() const {
        auto const& b = *shell_.published;
        return b.owned(b.now());
    }

    // ---------------------------------------------------------------- attributes and orders

    template <typename Handler>
    void set_attributes(node_attributes attributes, Handler handler) {
        engine().set_attributes(std::move(attributes), std::move(handler));
    }
    [[nodiscard]] node_attributes attributes() { return engine().attributes(); }
    template <typename Handler>
    void report_load(double load, Handler handler) {
        engine().report_load(load, std::move(handler));
    }
    template <typename Handler>
    void drain(std::string node_id, Handler handler) {
        engine().give_order(op::order_kind::drain, std::move(node_id), std::move(handler));
    }
    template <typename Handler>
    void undrain(std::string node_id, Handler handler) {
        engine().give_order(op::order_kind::undrain, std::move(node_id), std::move(handler));
    }
    template <typename Handler>
    void begin_maintenance(Handler handler) {
        engine().give_order(op::order_kind::begin_maintenance, {}, std::move(handler));
    }
    template <typename Handler>
    void end_maintenance(Handler handler) {
        engine().give_order(op::order_kind::end_maintenance, {}, std::move(handler));
    }

    // ---------------------------------------------------------------- looking at the group

    /// `handler(result<std::vector<node_status>>)`, and so on, as the blocking calls return.
    template <typename Handler>
    void nodes(Handler handler) {
        engine().nodes(std::move(handler));
    }
    template <typename Handler>
    void loads(Handler handler) {
        engine().loads(std::move(handler));
    }
    template <typename Handler>
    void orphaned(Handler handler) {
        engine().orphaned(std::move(handler));
    }
    template <typename Handler>
    void propose(Handler handler) {
        engine().propose(std::move(handler));
    }
    template <typename Handler>
    void propose_if_lost(std::string node_id, Handler handler) {
        engine().propose_if_lost(std::move(node_id), std::move(handler));
    }
    template <typename Handler>
    void propose_if_joined(std::uint32_t count, node_attributes each, Handler handler) {
        engine().propose_if_joined(count, std::move(each), std::move(handler));
    }
    template <typename Handler>
    void apply(proposal p, Handler handler) {
        engine().apply(std::move(p), std::move(handler));
    }

    // ---------------------------------------------------------------- what a blocking coordinator has

    ROTA_DETAIL_TAKES_A_HANDLER(join)
    ROTA_DETAIL_TAKES_A_HANDLER(tick)
    ROTA_DETAIL_TAKES_A_HANDLER(leave)
    ROTA_DETAIL_TAKES_A_HANDLER(run)
    ROTA_DETAIL_TAKES_A_HANDLER(try_become_leader)
    ROTA_DETAIL_TAKES_A_HANDLER(renounce_leadership)
    ROTA_DETAIL_TAKES_A_HANDLER(rebalance)
    ROTA_DETAIL_TAKES_A_HANDLER(try_lock)
    ROTA_DETAIL_TAKES_A_HANDLER(try_lock_name)
    ROTA_DETAIL_TAKES_A_HANDLER(try_lock_each)
    ROTA_DETAIL_TAKES_A_HANDLER(register_schedules)
    ROTA_DETAIL_TAKES_A_HANDLER(update_schedules)
    ROTA_DETAIL_TAKES_A_HANDLER(unregister_schedules)
    ROTA_DETAIL_TAKES_A_HANDLER(trigger)
    ROTA_DETAIL_TAKES_A_HANDLER(trigger_done)
    ROTA_DETAIL_TAKES_A_HANDLER(claim)
    ROTA_DETAIL_TAKES_A_HANDLER(transfer)
    ROTA_DETAIL_TAKES_A_HANDLER(set_attributes)
    ROTA_DETAIL_TAKES_A_HANDLER(report_load)
    ROTA_DETAIL_TAKES_A_HANDLER(drain)
    ROTA_DETAIL_TAKES_A_HANDLER(undrain)
    ROTA_DETAIL_TAKES_A_HANDLER(begin_maintenance)
    ROTA_DETAIL_TAKES_A_HANDLER(end_maintenance)
    ROTA_DETAIL_TAKES_A_HANDLER(nodes)
    ROTA_DETAIL_TAKES_A_HANDLER(loads)
    ROTA_DETAIL_TAKES_A_HANDLER(orphaned)
    ROTA_DETAIL_TAKES_A_HANDLER(propose)
    ROTA_DETAIL_TAKES_A_HANDLER(propose_if_lost)
    ROTA_DETAIL_TAKES_A_HANDLER(propose_if_joined)
    ROTA_DETAIL_TAKES_A_HANDLER(apply)

    // ---------------------------------------------------------------- the policies

    [[nodiscard]] auto& transport() noexcept { return detail::unwrap(shell_.transport); }
    [[nodiscard]] auto& sink() noexcept { return detail::unwrap(shell_.sink); }

private:
    using belief_type = detail::belief_on<clock_type>;

    struct shell final : detail::policy_ports<detail::async_ports, set> {
        shell(rota::options o, clock_type clock, transport_type t, strategy_type s, sink_type k)
            : detail::policy_ports<detail::async_ports, set>{std::move(t), std::move(s), std::move(k)},
              published{std::make_shared<belief_type>(std::move(clock))},
              engine{std::make_unique<engine_type>(std::move(o), *this, published, detail::entropy())} {}

        void submit(operation const& request, microseconds timeout, detail::async_ports::reply_handler h) override {
            detail::unwrap(this->transport).submit(request, timeout, std::move(h));
        }
        void listen(subscription const& sub, loop_task pushed) override {
            detail::unwrap(this->transport).listen(sub, std::move(pushed));
        }
        [[nodiscard]] loop_ref loop() const override { return detail::unwrap(this->transport).loop(); }

        std::shared_ptr<belief_type> published;
        std::unique_ptr<engine_type> engine;
    };

    [[nodiscard]] engine_type& engine() noexcept { return *shell_.engine; }
    [[nodiscard]] engine_type const& engine() const noexcept { return *shell_.engine; }

    shell shell_;
};

}  // namespace rota
