// basic_coordinator<Policies...>: a node of a group. The one type that user code holds.
//
//   rota::basic_coordinator node{{.node_id = "node-1"}, rota::memory_transport{store}};
//   std::jthread heart{[&](std::stop_token stop) { (void)node.run(stop); }};
//   for (auto& s : node.owned())
//       if (auto lock = node.try_lock(s.id, 5s)) process(s.id, lock->token());
//   node.leave();
//
// Policies come in any order; each role is recognised by one name (policies.hpp). The transport is never defaulted; the
// strategy is least_moves, the clock boottime_clock and the sink null_sink unless given.
#pragma once

#include <atomic>
#include <chrono>
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

#include "clock/boottime_clock.hpp"
#include "detail/blocking_engine.hpp"
#include "detail/entropy.hpp"
#include "detail/handler.hpp"
#include "detail/late.hpp"
#include "detail/policy_ports.hpp"
#include "detail/policy_set.hpp"
#include "options.hpp"
#include "policies.hpp"
#include "queries.hpp"
#include "schedule_lock.hpp"
#include "sink/null_sink.hpp"
#include "strategy/least_moves.hpp"

namespace rota {

namespace detail {

template <typename Names>
[[nodiscard]] std::vector<std::string> flattened(Names const& lists) {
    std::vector<std::string> all;
    for (auto const& list : lists) all.insert(all.end(), list.begin(), list.end());
    return all;
}

}  // namespace detail

/// A node of a group over a blocking transport. Neither copied nor moved.
///
/// Threads: starts none. Any thread may call anything, also while run() is under way on another. is_leader, leader, owned
/// and next_tick are local reads: they never wait for the network. Everything else may take up to operation_timeout per
/// request, and waits for the request of another thread first. From inside an event sink only local reads are allowed; others return errc::reentrant_call.
///
/// Errors that any call with a request may return: unavailable, timed_out (nothing was done), outcome_unknown (it may
/// have been), refused_by_server, protocol; invalid_argument before anything is sent; not_joined and fenced if
/// membership is needed and not had.
template <typename... Policies>
class basic_coordinator {
    using set = detail::policy_set<Policies...>;
    static_assert(detail::refuse<set::fault>());
    static_assert(!set::is_async, "rota: include rota/async_coordinator.hpp for an asynchronous transport");

    // See late.hpp: who includes this does not pay for what it does not call.
    using engine_type = detail::late<detail::blocking_engine<>, set>;
    using leader_info = detail::late<rota::leader_info, set>;
    using owned_schedule = detail::late<rota::owned_schedule, set>;
    using reply = detail::late<rota::reply, set>;
    template <typename T>
    using result = detail::late<rota::result<T>, set>;
    template <typename T>
    using results = detail::late<rota::results<T>, set>;

public:
    using transport_type = typename set::transport;
    using strategy_type = typename set::strategy;
    using clock_type = typename set::clock;
    using sink_type = typename set::sink;

    /// Connects to nothing and refuses nothing: join() does. `policies`: in any order; those left out are
    /// default-constructed.
    template <typename... Given>
    explicit basic_coordinator(rota::options given_options, Given... policies)
        : shell_{std::move(given_options), detail::pick<clock_type>(policies...),
                 detail::pick<transport_type>(policies...), detail::pick<strategy_type>(policies...),
                 detail::pick<sink_type>(policies...)} {
        static_assert(
            !set::valid || (detail::one_of<Given, transport_type, strategy_type, clock_type, sink_type> && ...),
            "rota: an argument is none of this coordinator's policies");
        static_assert(!set::valid || detail::all_different<Given...>, "rota: an argument is given twice");
    }

    basic_coordinator(basic_coordinator const&) = delete;
    basic_coordinator& operator=(basic_coordinator const&) = delete;

    /// Ends run() on another thread (it returns errc::cancelled), then one bounded leave(). No other call may be under way.
    ~basic_coordinator() { engine().shut_down(); }

    // ---------------------------------------------------------------- taking part

    /// Becomes a member, and one that leads if nobody does. No effect on a member; one that was fenced takes its id back. invalid_argument: the options or the
    /// transport's address, naming field, value and rule; conflict: another live process has the node_id
    /// (options::on_conflict). After an error the node is out again, unless run() keeps trying on another thread.
    [[nodiscard]] result<void> join() { return engine().join(); }

    /// One heartbeat now, and all that it gives occasion for: one request if nothing has changed; returns after about a
    /// heartbeat_interval even if there is more to do (then next_tick() is zero). For loops of your own:
    /// at least every heartbeat_interval, best when next_tick() is over or wake_fd() is readable. A node that the group
    /// took for dead rejoins in it.
    result<void> tick() { return engine().tick(); }

    /// Takes part until `stop` is requested: joins if needed, ticks when it is time, wakes at once for what is pushed,
    /// retries with backoff while the server is away, rejoins after a loss. Returns success on stop or after leave();
    /// fenced when a newer process took the node_id; already_running; cancelled on destruction; what join() says if the
    /// first attempt is refused. Does not leave. Sleeps in real time: with a manual_clock use tick().
    [[nodiscard]] result<void> run(std::stop_token stop) { return engine().run(std::move(stop), instant::max()); }

    /// run() for a limited time; a time that no clock can reach is for ever.
    [[nodiscard]] result<void> run_for(std::chrono::microseconds time) {
        auto const now = engine().now();
        return engine().run(std::stop_token{}, time < instant::max() - now ? now + time : instant::max());
    }

    /// Ends membership in order: every handle and belief is dropped at once, then the group is told, so that nobody waits
    /// for a ttl; a leader passes leadership on. On an error the node is out all the same, and the others learn of it by its
    /// ttl.
    result<void> leave() { return engine().leave(); }

    /// How long until tick() has something to do. A local read.
    [[nodiscard]] microseconds next_tick() const { return engine().next_tick(); }

    /// Ends the present or next sleep of run(). Any thread; never blocks.
    void wake() { detail::unwrap(shell_.transport).wake(); }

    /// A descriptor that polls readable when something was pushed or wake() was called, until the next tick(); for loops
    /// of your own. Once this was called, tick() also listens for what is pushed (a second connection).
    [[nodiscard]] int wake_fd()
        requires requires(detail::unwrapped_t<transport_type>& t) { t.wake_fd(); }
    {
        engine().be_watched();
        return detail::unwrap(shell_.transport).wake_fd();
    }

    // ---------------------------------------------------------------- leadership

    /// Whether this node leads right now. A local read: at most one node's is true at any instant, within the limits
    /// that the README states. Nothing stops a thread between this and its effect: pass leader()->term along.
    [[nodiscard]] bool is_leader() const {
        auto const& b = *shell_.published;
        return b.leads(b.now());
    }

    /// Who leads, as last heard; nullopt: nobody, or not known. A local read.
    [[nodiscard]] std::optional<leader_info> leader() const {
        auto const& b = *shell_.published;
        return b.leader(b.now());
    }

    /// Stands for election now. True if this node leads after it.
    [[nodiscard]] result<bool> try_become_leader() { return engine().try_become_leader(); }

    /// Passes leadership to the node that was heard of last, if there is another; then sits out one lease, unless it is
    /// alone, or the others do not want it either (what comes back is declined once). not_leader.
    [[nodiscard]] result<void> renounce_leadership() { return engine().renounce(); }

    /// Evens out the load now, whatever rebalance_threshold says. not_leader; conflict: the group is under maintenance;
    /// invalid_argument: the strategy's plan breaks its contract.
    [[nodiscard]] result<void> rebalance() { return engine().rebalance(); }

    // ---------------------------------------------------------------- locks

    /// The right to process a schedule for `ttl`, if this node owns it. not_owner (also while it is being handed over),
    /// unknown_schedule, locked_by_other. Do not wait in a loop: the owner's next run comes. Of a schedule that came
    /// with its lock (options::handoff_lock_ttl) it takes that without a request: then half of `ttl` may be all that is
    /// left, see remaining(), and what happened to the schedule elsewhere just now (it is to move on, it was unregistered)
    /// may be heard of later, as during any run.
    [[nodiscard]] result<schedule_lock> try_lock(std::string schedule, std::chrono::microseconds ttl) {
        return engine().lock_one(op::lock_kind::schedule, std::move(schedule), ttl);
    }

    /// Many at once, one request per 200; one result per item, in order.
    [[nodiscard]] results<schedule_lock> try_lock_each(std::vector<std::string> schedules,
                                                       std::chrono::microseconds ttl) {
        return engine().lock_each(op::lock_kind::schedule, std::move(schedules), ttl);
    }

    /// A plain lock on a name that is no schedule; any member may try. locked_by_other.
    [[nodiscard]] result<schedule_lock> try_lock_name(std::string name, std::chrono::microseconds ttl) {
        return engine().lock_one(op::lock_kind::name, std::move(name), ttl);
    }

    /// schedule_lock::extend and release for many locks of this coordinator, one request per 200.
    [[nodiscard]] results<void> extend_each(std::span<schedule_lock> locks, std::chrono::microseconds ttl) {
        return engine().extend_each(locks, ttl);
    }
    results<void> release_each(std::span<schedule_lock> locks) { return engine().release_each(locks); }

    // ---------------------------------------------------------------- schedules

    /// Makes schedules exist, for the leader to place; harmless for those that do, which keep weight and rules as they are.
    /// Also without join(). Here and below: one result per item; an invalid or repeated one (invalid_argument) refuses all.
    [[nodiscard]] results<void> register_schedules(std::span<schedule const> schedules) {
        return engine().register_schedules(schedules);
    }
    [[nodiscard]] results<void> register_schedules(std::initializer_list<schedule> schedules) {
        return engine().register_schedules({schedules.begin(), schedules.size()});
    }

    /// Changes weight and rules of schedules, whoever owns them; the leader takes it into account at once. unknown_schedule.
    /// Also without join().
    [[nodiscard]] results<void> update_schedules(std::span<schedule const> schedules) {
        return engine().update_schedules(schedules);
    }
    [[nodiscard]] results<void> update_schedules(std::initializer_list<schedule> schedules) {
        return engine().update_schedules({schedules.begin(), schedules.size()});
    }

    /// Asks for a run of schedules, wherever they are owned, and whoever owns them next: the owner's sink is told
    /// (schedule_triggered), and owned() shows it, until trigger_done(). Asked for several times meanwhile, one. At least
    /// once: where a reply is lost, or an owner dies, there may be one run more. unknown_schedule; conflict if it keeps
    /// moving. Also without join().
    [[nodiscard]] results<void> trigger(std::span<std::string const> ids) { return engine().trigger(ids); }
    [[nodiscard]] results<void> trigger(std::initializer_list<std::string> ids) {
        return engine().trigger({ids.begin(), ids.size()});
    }
    template <std::same_as<char const*> Id>
    [[nodiscard]] results<void> trigger(std::initializer_list<std::initializer_list<Id>> ids) {
        return engine().trigger(detail::flattened(ids));
    }

    /// The run that was asked for under that token is done; no effect if another has been asked for since.
    /// unknown_schedule.
    [[nodiscard]] result<void> trigger_done(std::string const& schedule, fencing_token token) {
        return trigger_done(std::vector<schedule_triggered>{{schedule, token}}).front();
    }
    /// The same of many.
    [[nodiscard]] results<void> trigger_done(std::vector<schedule_triggered> const& runs) {
        return engine().trigger_done(detail::as_items(runs));
    }

    /// Makes schedules exist no more. A run in hand keeps its lock. unknown_schedule; conflict if it keeps moving.
    /// Also without join().
    [[nodiscard]] results<void> unregister_schedules(std::span<std::string const> ids) {
        return engine().unregister_schedules(ids);
    }
    [[nodiscard]] results<void> unregister_schedules(std::initializer_list<std::string> ids) {
        return engine().unregister_schedules({ids.begin(), ids.size()});
    }
    // {{"a", "b"}} would be one string, made of two pointers.
    template <std::same_as<char const*> Id>
    [[nodiscard]] results<void> unregister_schedules(std::initializer_list<std::initializer_list<Id>> ids) {
        return engine().unregister_schedules(detail::flattened(ids));
    }

    /// Takes schedules that nobody owns, up to max_schedules_per_node, whatever their placement rules say. What a node had
    /// that is gone is that node's until the leader places it. unknown_schedule, owned_by_other,
    /// capacity_exceeded, conflict (registered anew a moment ago, and an earlier owner may not have heard).
    [[nodiscard]] results<owned_schedule> claim(std::span<std::string const> ids) { return engine().claim(ids); }
    [[nodiscard]] results<owned_schedule> claim(std::initializer_list<std::string> ids) {
        return engine().claim({ids.begin(), ids.size()});
    }
    template <std::same_as<char const*> Id>
    [[nodiscard]] results<owned_schedule> claim(std::initializer_list<std::initializer_list<Id>> ids) {
        return engine().claim(detail::flattened(ids));
    }

    /// Hands a schedule to another node, by its owner or the leader. An idle one of its own a node gives away with one
    /// request (two, the first time that it gives to that node_id); for others, and while a run of it is in hand or may be
    /// (a lock that came with it was not taken yet), this begins the hand-off, and returns. outcome_unknown: this node has
    /// let go of it all the same, and the other has it as soon as the server can be told. Nothing to do is success: that
    /// node owns it already, or it is on its way there. The leader evens out the load with its next heartbeat, so it may
    /// come back: pin it (placement_rules, constrained<S>) for good. unknown_schedule, unknown_node, not_leader (neither owner
    /// nor leader), capacity_exceeded, conflict (it is moving elsewhere).
    [[nodiscard]] result<void> transfer(std::string const& schedule, std::string const& node_id) {
        return engine().transfer(schedule, node_id);
    }

    /// What this node owns right now: a copy, ordered by id; empty while suspended. A local read.
    [[nodiscard]] std::vector<owned_schedule> owned() const {
        auto const& b = *shell_.published;
        return b.owned(b.now());
    }

    // ---------------------------------------------------------------- attributes of this node

    /// Changes what this node says of itself: capacity, zone and labels, all of them. Without membership it is told with
    /// the next join(). Begins as options say (max_schedules_per_node, zone, labels). A capacity below what it owns makes
    /// the leader move the rest. Success means that the group has been told; unavailable: it will be.
    [[nodiscard]] result<void> set_attributes(node_attributes attributes) {
        return engine().set_attributes(std::move(attributes));
    }
    [[nodiscard]] node_attributes attributes() { return engine().attributes(); }

    /// Reports how loaded this node is by its own measure (any unit, the same on all nodes), for strategies that go by it
    /// (measured<S>). Call it as often as you like: it is smoothed (options::load_smoothing), and a request goes out only
    /// when it has changed by a tenth, or a tenth of options::load_floor. Finite, >= 0.
    [[nodiscard]] result<void> report_load(double load) { return engine().report_load(load); }

    // ---------------------------------------------------------------- orders to the group, by anyone, also without join()

    /// The node ends empty and is given nothing more, while it goes on as a member: its schedules are handed over to
    /// others as its runs end. Kept by node_id, over restarts, until undrain() (which takes any id). What may be nowhere
    /// else (no room, constrained<S>) stays, and propose() says how much would move; transfer() is carried out all the
    /// same, and evened out again. unknown_node: no live node has that id.
    [[nodiscard]] result<void> drain(std::string const& node_id) {
        return engine().give_order(op::order_kind::drain, node_id);
    }
    [[nodiscard]] result<void> undrain(std::string const& node_id) {
        return engine().give_order(op::order_kind::undrain, node_id);
    }

    /// Until end_maintenance() the leader moves nothing between live nodes, whatever the reason; orphans are still placed.
    /// Hand-offs that are under way are completed, and transfer() is carried out: that is somebody's wish.
    [[nodiscard]] result<void> begin_maintenance() {
        return engine().give_order(op::order_kind::begin_maintenance, {});
    }
    [[nodiscard]] result<void> end_maintenance() { return engine().give_order(op::order_kind::end_maintenance, {}); }

    // ---------------------------------------------------------------- looking at the group (requests, in pages)

    /// All nodes, live and dead ones with schedules left, by incarnation. Also without join(), as the following.
    [[nodiscard]] result<std::vector<node_status>> nodes() { return engine().nodes(); }

    /// How loaded the live nodes are.
    [[nodiscard]] result<std::vector<node_load>> loads() { return engine().loads(); }

    /// Schedules without a live owner.
    [[nodiscard]] result<std::vector<schedule_status>> orphaned() { return engine().orphaned(); }

    /// What this node's strategy would do with the group as it is: a dry run.
    [[nodiscard]] result<proposal> propose() { return engine().propose(); }

    /// ... and what it would do if that node died now, or if `count` more nodes of these attributes joined (their ids are
    /// new-1, new-2, ...). unknown_node.
    [[nodiscard]] result<proposal> propose_if_lost(std::string const& node_id) {
        return engine().propose_if_lost(node_id);
    }
    [[nodiscard]] result<proposal> propose_if_joined(std::uint32_t count, node_attributes const& each = {}) {
        return engine().propose_if_joined(count, each);
    }

    /// Carries out a proposal, by the leader, if nothing at all has changed in the group since it was made (no schedule, no
    /// node, no attribute; make it and apply it at once). conflict: it has,
    /// and nothing was done (for one of more than 200 steps: in part, if something changes meanwhile; the detail says how
    /// many steps no longer applied); or the group is under maintenance. not_leader; invalid_argument: a hypothetical one.
    [[nodiscard]] result<void> apply(proposal const& p) { return engine().apply(p); }

    // ---------------------------------------------------------------- what an asynchronous coordinator has

    ROTA_DETAIL_TAKES_NO_HANDLER(join)
    ROTA_DETAIL_TAKES_NO_HANDLER(tick)
    ROTA_DETAIL_TAKES_NO_HANDLER(leave)
    ROTA_DETAIL_TAKES_NO_HANDLER(run)
    ROTA_DETAIL_TAKES_NO_HANDLER(try_become_leader)
    ROTA_DETAIL_TAKES_NO_HANDLER(renounce_leadership)
    ROTA_DETAIL_TAKES_NO_HANDLER(rebalance)
    ROTA_DETAIL_TAKES_NO_HANDLER(try_lock)
    ROTA_DETAIL_TAKES_NO_HANDLER(try_lock_name)
    ROTA_DETAIL_TAKES_NO_HANDLER(try_lock_each)
    ROTA_DETAIL_TAKES_NO_HANDLER(register_schedules)
    ROTA_DETAIL_TAKES_NO_HANDLER(update_schedules)
    ROTA_DETAIL_TAKES_NO_HANDLER(unregister_schedules)
    ROTA_DETAIL_TAKES_NO_HANDLER(trigger)
    ROTA_DETAIL_TAKES_NO_HANDLER(trigger_done)
    ROTA_DETAIL_TAKES_NO_HANDLER(claim)
    ROTA_DETAIL_TAKES_NO_HANDLER(transfer)
    ROTA_DETAIL_TAKES_NO_HANDLER(set_attributes)
    ROTA_DETAIL_TAKES_NO_HANDLER(report_load)
    ROTA_DETAIL_TAKES_NO_HANDLER(drain)
    ROTA_DETAIL_TAKES_NO_HANDLER(undrain)
    ROTA_DETAIL_TAKES_NO_HANDLER(begin_maintenance)
    ROTA_DETAIL_TAKES_NO_HANDLER(end_maintenance)
    ROTA_DETAIL_TAKES_NO_HANDLER(nodes)
    ROTA_DETAIL_TAKES_NO_HANDLER(loads)
    ROTA_DETAIL_TAKES_NO_HANDLER(orphaned)
    ROTA_DETAIL_TAKES_NO_HANDLER(propose)
    ROTA_DETAIL_TAKES_NO_HANDLER(propose_if_lost)
    ROTA_DETAIL_TAKES_NO_HANDLER(propose_if_joined)
    ROTA_DETAIL_TAKES_NO_HANDLER(apply)

    // ---------------------------------------------------------------- the policies

    [[nodiscard]] auto& transport() noexcept { return detail::unwrap(shell_.transport); }
    [[nodiscard]] auto& sink() noexcept { return detail::unwrap(shell_.sink); }

private:
    using belief_type = detail::belief_on<clock_type>;

    struct shell final : detail::policy_ports<detail::blocking_ports, set> {
        shell(rota::options o, clock_type clock, transport_type t, strategy_type s, sink_type k)
            : detail::policy_ports<detail::blocking_ports, set>{std::move(t), std::move(s), std::move(k)},
              published{std::make_shared<belief_type>(std::move(clock))},
              engine{std::make_unique<engine_type>(std::move(o), *this, published, detail::entropy())} {}

        result<reply> perform(operation const& request, microseconds timeout) override {
            return detail::unwrap(this->transport).perform(request, timeout);
        }
        wake_reason wait(subscription const& sub, microseconds timeout) override {
            return detail::unwrap(this->transport).wait(sub, timeout);
        }
        void wake() override { detail::unwrap(this->transport).wake(); }

        std::shared_ptr<belief_type> published;
        std::unique_ptr<engine_type> engine;
    };

    // run() until `enough` is set, by an event sink; or by anybody who calls wake() then.
    template <typename... Parts>
    friend class worker;
    [[nodiscard]] result<void> run_until(std::atomic<bool> const& enough) { return engine().run(enough); }
    [[nodiscard]] result<void> look_in() { return engine().look_in(); }

    [[nodiscard]] engine_type& engine() noexcept { return *shell_.engine; }
    [[nodiscard]] engine_type const& engine() const noexcept { return *shell_.engine; }

    shell shell_;
};

template <typename... Policies>
explicit basic_coordinator(options, Policies...) -> basic_coordinator<Policies...>;

}  // namespace rota
