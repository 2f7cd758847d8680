// worker: a node that runs its schedules. It owns a coordinator and the threads for the runs; a program gives it a
// function, and is done:
//
//   rota::worker w{{.node_id = "node-1"}, rota::hiredis_sync{"localhost:6379"}};
//   w.add("feed-1", "feed-2");
//   return w.run_until_signal([](rota::job& j) { poll(j.schedule(), j.token()); });
//
// It promises what its coordinator promises (README), and: a handler is only called for a schedule that this node owns,
// under a lock of it; the lock is extended while the handler runs and released when it returns; a run is asked to stop
// before its lock ends. It cannot make a handler return: one that never looks at job::stop_requested() goes on without
// its lock, and only its token, which newer ones supersede, tells the resource.
#pragma once

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "coordinator.hpp"
#include "detail/late.hpp"
#include "detail/say.hpp"
#include "detail/signal_watch.hpp"
#include "detail/worker_engine.hpp"
#include "detail/worker_parts.hpp"
#include "job.hpp"
#include "run_report.hpp"
#include "strategy/layers.hpp"
#include "trigger/continuous.hpp"
#include "trigger/every.hpp"
#include "trigger/on_demand.hpp"
#include "worker_options.hpp"

namespace rota {

template <typename S>
struct graced;

/// A node that runs what it owns. Neither copied nor moved.
///
/// `Parts`, in any order: the policies of its coordinator (a blocking transport, which is required, a strategy, a clock, a
/// sink), a trigger (every, continuous, on_demand, or one of your own; default: continuous{}) and worker_options.
///
/// Runs. A schedule falls due as the trigger says; then its lock is taken (all that are due in one request), a thread of
/// the worker calls the handler, and the lock is released. While a run is in hand no other of the same schedule starts here,
/// and at most worker_options::threads are in hand in all. The handler is asked to stop (job::stop_requested()) before
/// its lock ends unextended, when max_run_time is over, and at the end of a drain. When a schedule is to go to another
/// node, the run in hand may go on for options::handoff_deadline, and no other is started.
///
/// What an operator should look at goes to stderr, a line each, where nobody else asks for it: failed runs without
/// on_report(), and trouble of the node (no group to join, contact lost and found, warnings) without a sink.
///
/// Handlers: `void(job&)` or `rota::result<void>(job&)`. One object is called from many threads at once. What it throws, or
/// the error that it returns, makes the run a failed one: reported, and repeated as worker_options::retry says.
///
/// Threads: run() starts up to one more than worker_options::threads, which take turns: one at a time takes part in the
/// group, and tells the sink and on_report(). Who learns of a run that can begin at once lets another go on with that, and
/// calls the handler itself. The caller of run() watches the time, and gets what comes of a want of memory or threads there
/// (std::bad_alloc, std::system_error), after the handlers have returned. All threads have ended when it returns. add,
/// trigger and stop: any thread, also a handler's. on_report: before run(). fork(): only before run(), or in a child that
/// calls exec at once; a forked child has none of the threads, and must not touch the worker.
template <typename... Parts>
class worker {
    using parts = detail::worker_parts<Parts...>;
    using set = typename parts::set;
    static_assert(detail::refuse<set::fault>());
    static_assert(parts::triggers <= 1,
                  "rota: two triggers given: a worker has one; make one that tells schedules apart");

    using engine_type = detail::late<detail::worker_engine<>, set>;
    using sink_type = detail::worker_sink<engine_type, typename set::sink, parts::has_sink>;
    template <typename T>
    using result = detail::late<rota::result<T>, set>;
    using report = detail::late<run_report, set>;

public:
    using coordinator_type =
        basic_coordinator<typename set::transport, typename set::strategy, typename set::clock, sink_type>;
    using trigger_type = typename parts::trigger;

    /// Connects to nothing and refuses nothing: run() reports what is wrong with the options.
    template <typename... Given>
    explicit worker(options node, Given... given)
        : engine_{node, detail::copy_of<worker_options>(given...)},
          shell_{detail::handing_locks_on(std::move(node), detail::copy_of<worker_options>(given...)), engine_,
                 given...} {
        static_assert(detail::all_different<Given...>, "rota: an argument is given twice");
        engine_.attach(shell_);
    }
    worker(worker const&) = delete;
    worker& operator=(worker const&) = delete;

    /// run() must have returned.
    ~worker() = default;

    /// Schedules to be registered: ids, or rota::schedule{...} with weight and rules. It is done in run(), repeated until it
    /// succeeds, and again after the server has lost its data. Those that exist are left as they are. What is refused for
    /// good is reported (registration_failed) and dropped.
    template <typename... Schedules>
        requires(detail::names_schedule<Schedules> && ...)
    void add(Schedules&&... schedules) {
        std::vector<schedule> list;
        list.reserve(sizeof...(schedules));
        (list.push_back(detail::as_schedule(std::forward<Schedules>(schedules))), ...);
        engine_.add(std::move(list));
    }
    void add(std::vector<schedule> schedules) { engine_.add(std::move(schedules)); }

    /// A run of it is wanted: now, or once more when the one in hand is over; asked for several times meanwhile, one. On
    /// whichever node owns it, or comes to: the group remembers, until a run that nothing cut short has ended (or has
    /// failed for the last time). At least once: a node that dies in such a run leaves it to the next owner. Two requests.
    /// unknown_schedule; what requests fail with. Any thread, also a handler; not from a sink.
    [[nodiscard]] result<void> trigger(std::string const& schedule) {
        return node().trigger(std::span{&schedule, 1}).front();
    }

    /// The same on this node alone, if it owns the schedule and is not handing it over: else false, and nothing is done.
    /// Asks nobody; forgotten if this process dies.
    bool trigger_here(std::string const& schedule) { return engine_.trigger_here(schedule); }

    /// Calls `call` with what becomes of each run, in order, one call at a time, on threads of the worker. In place of the
    /// line on stderr that each trouble (is_trouble()) is worth otherwise. It must not throw, nor take long.
    void on_report(std::function<void(run_report const&)> call) { engine_.on_report(std::move(call)); }

    /// Takes part and runs schedules until `stop` is requested or stop() called; then ends as stop() says. Returns success
    /// after that, else why the node takes part no more, after all handlers have returned: invalid_argument (options),
    /// fenced (a newer process has the node_id), what join() says if the first attempt is refused; already_running.
    template <typename Handler>
    [[nodiscard]] result<void> run(std::stop_token stop, Handler&& handler) {
        handler_of<std::remove_reference_t<Handler>> erased{handler};
        return engine_.run(std::move(stop), erased, {});
    }

    /// run() for a main function: SIGINT and SIGTERM call stop(), a second one (200 ms later or more) ends the
    /// process at once. Returns the exit code: 0, or 1 after a line on stderr that says why. A handler that has not returned
    /// worker_options::stop_grace after the hand-over does not keep the process: it is ended (std::_Exit, code 1; nothing is
    /// flushed), since a supervisor would kill it next. Once per process at a time; the signals' former actions are put back.
    template <typename Handler>
    [[nodiscard]] int run_until_signal(Handler&& handler) {
        handler_of<std::remove_reference_t<Handler>> erased{handler};
        detail::late<detail::signal_watch<>, set> const signals{[this] { stop(); }};
        auto const hung = [] {
            detail::say("a handler does not return; the process ends without it");
            std::_Exit(1);
        };
        auto const ended = engine_.run({}, erased, hung);
        if (ended) return 0;
        detail::say(ended.error().message());
        return 1;
    }

    /// Ends run() in order, and returns at once: nothing more is started; runs in hand may end within
    /// worker_options::drain_budget, and are asked to stop when stop_grace (at most half the budget) is left of it; then the
    /// node leaves, and others own its schedules at once. A handler that still runs then has lost its lock; run() waits for
    /// it. Before run(): that then returns at once. Not from a signal handler: see run_until_signal().
    ///
    /// While it waits, others get what is idle here (its capacity is 0 until then): as soon as what is left of drain_budget
    /// is no more than options::handoff_deadline (the leader's), since the runs are to be handed over then too, and must not
    /// be cut short by that. Not under graced<>, by which a restart moves nothing.
    void stop() { engine_.stop(); }

    /// The node, for whatever else is wanted of it: looking, claiming, unregistering, transferring, orders. From a handler
    /// or another thread; not join, run, tick, leave, nor wake_fd.
    [[nodiscard]] coordinator_type& node() noexcept { return shell_.node; }

private:
    template <typename Handler>
    struct handler_of final : detail::worker_handler {
        using returned = std::invoke_result_t<Handler&, job&>;
        static_assert(std::is_void_v<returned> || std::is_same_v<returned, rota::result<void>>,
                      "rota: a handler returns nothing, or rota::result<void>");

        explicit handler_of(Handler& h) : handler{h} {}

        std::optional<std::string> call(job& j) override {
            try {
                if constexpr (std::is_void_v<returned>) {
                    handler(j);
                } else if (auto const r = handler(j); !r) {
                    return r.error().message();
                }
                return std::nullopt;
            } catch (std::exception const& e) {
                return e.what();
            } catch (...) {
                return "an exception that is no std::exception";
            }
        }

        Handler& handler;
    };

    struct shell final : detail::worker_ports {
        template <typename... Given>
        shell(options o, engine_type& engine, Given&... given)
            : clock{detail::copy_of<typename set::clock>(given...)},
              trigger{detail::copy_of<trigger_type>(given...)},
              node{std::move(o), clock, detail::pick<typename set::transport>(given...),
                   detail::pick<typename set::strategy>(given...),
                   sink_type{engine, detail::pick<typename set::sink>(given...)}} {}

        rota::result<void> take_part(std::atomic<bool> const& enough) override { return node.run_until(enough); }
        void wake() override { node.wake(); }
        rota::result<void> look_in() override { return node.look_in(); }
        bool tick_is_due() const override { return node.next_tick() == microseconds{}; }
        void take_no_more() override {
            if constexpr (!moves_nothing_at_restart) {
                usual = node.attributes();
                (void)node.set_attributes(without_capacity(*usual));
            }
        }
        void take_again() override {
            if (!usual) return;
            // Told with the next join. (Not if somebody has set others meanwhile.)
            if (node.attributes() == without_capacity(*usual)) (void)node.set_attributes(*usual);
            usual.reset();
        }
        static node_attributes without_capacity(node_attributes a) {
            a.capacity = 0;
            return a;
        }
        static constexpr bool moves_nothing_at_restart =
            detail::holds<graced, detail::unwrapped_t<typename set::strategy>>();
        void leave() override { (void)node.leave(); }
        results<schedule_lock> lock(std::vector<std::string> names, microseconds ttl) override {
            return node.try_lock_each(std::move(names), ttl);
        }
        results<void> extend(std::span<schedule_lock> locks, microseconds ttl) override {
            return node.extend_each(locks, ttl);
        }
        void release(std::span<schedule_lock> locks) override { (void)node.release_each(locks); }
        std::vector<owned_schedule> owned() override { return node.owned(); }
        results<void> register_schedules(std::span<schedule const> list) override {
            return node.register_schedules(list);
        }
        results<void> trigger_done(std::vector<schedule_triggered> const& runs) override {
            return node.trigger_done(runs);
        }
        instant now() const override { return detail::unwrap(clock).now(); }
        std::optional<microseconds> next_run(schedule_times const& times) const override {
            return detail::unwrap(trigger).next_run(times);
        }

        [[no_unique_address]] typename set::clock clock;
        [[no_unique_address]] trigger_type trigger;
        std::optional<node_attributes> usual;  // while it takes no more
        coordinator_type node;
    };

    engine_type engine_;  // outlives the node, whose sink tells it of its end
    shell shell_;
};

template <typename... Parts>
explicit worker(options, Parts...) -> worker<Parts...>;

}  // namespace rota
