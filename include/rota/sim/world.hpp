// A whole group in one thread on virtual time: machines with clocks, processes that run the production algorithm, links,
// and the model of Redis. Time passes by run_for and run_until alone.
//
//   sim::world w{{.seed = 7, .nodes = 5, .clock_drift = 200e-6}};
//   w.check<sim::one_leader, sim::tokens_rise>();
//   w.register_schedules(50);
//   if (!w.run_until(sim::converged, 30s)) ...
//
// An invariant that breaks throws broken_invariant out of whatever moved time, with all that is needed to see it again.
#pragma once

#include <array>
#include <concepts>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "../detail/deliver.hpp"
#include "../options.hpp"
#include "../strategy/least_moves.hpp"
#include "clock.hpp"
#include "handles.hpp"
#include "network.hpp"
#include "node.hpp"
#include "redis.hpp"
#include "spotter.hpp"
#include "stage.hpp"
#include "words.hpp"

namespace rota::sim {

class world;

/// What broke, when, and between whom; what() has it all, with the last events.
class broken_invariant : public std::runtime_error {
public:
    broken_invariant(std::string name, moment when, std::string what_broke, std::uint64_t hash,
                     std::string const& report)
        : std::runtime_error{report},
          invariant{std::move(name)},
          at{when},
          words{std::move(what_broke)},
          trace_hash{hash} {}

    std::string invariant;
    moment at;
    std::string words;
    std::uint64_t trace_hash;  ///< of the run up to then
};

/// Something that must hold at every moment. Derive, override what you want to be told of, and call fail().
class invariant : public audience {
public:
    [[nodiscard]] virtual std::string_view name() const = 0;
    /// Once a second of true time, for what is too much to look at after every event.
    virtual void looks() {}
    virtual void begin() {}
    /// What it needs and this world does not have or record; empty: nothing. Asked before time passes.
    [[nodiscard]] virtual std::string lacks() const { return {}; }

    void belongs_to(world& w) { world_ = &w; }

protected:
    [[nodiscard]] world& group() const { return *world_; }
    [[noreturn]] void fail(std::string words) const;

private:
    world* world_ = nullptr;
};

struct world_settings {
    std::uint64_t seed = 1;
    std::uint32_t nodes = 3;
    /// Node clocks run fast or slow by up to this fraction. Options allow for 0.01 unless told otherwise.
    double clock_drift = 200e-6;
    /// Of all nodes; node_id is set by the world.
    rota::options options{};
    work_settings work{};
    network_settings network{};
    /// How far back a failover can go. 0: no replica is kept.
    microseconds longest_loss = std::chrono::seconds{1};
    fault_plan faults{};
    /// How long a program that ended by itself (fenced, refused) stays away before it is started again.
    microseconds restart_after = std::chrono::seconds{1};
    /// A strategy by its name, for setups that know some (strategies.hpp). The world itself takes no notice of it.
    std::string strategy{};
};

/// What invariants need to know of a strategy. As it stands: what least_moves does.
struct strategy_habits {
    bool evens_out = true;     ///< the number of schedules, as far as options::rebalance_threshold asks
    bool moves_least = true;   ///< ... and by no more moves than that takes
    bool heeds_rules = false;  ///< placement_rules
    microseconds waits{};      ///< for so long it may leave an orphan where it is
    microseconds takes{};      ///< so much longer than all at once it may take for moves that have to be
};

/// What run_until found.
struct outcome_of_wait {
    bool held = false;
    std::string missing{};
    explicit operator bool() const { return held; }
    template <typename Stream>
    friend auto operator<<(Stream& to, outcome_of_wait const& o) -> decltype(to << std::declval<std::string const&>()) {
        return to << (o.held ? "it held" : o.missing);
    }
};

/// What run_until can ask: whether it holds, or what is missing.
template <typename T>
inline constexpr bool is_predicate_of_world = requires(T& predicate, world& w) {
    { predicate(w) } -> std::convertible_to<std::string>;
} || requires(T& predicate, world& w) {
    { predicate(w) } -> std::same_as<bool>;
};

class world {
public:
    explicit world(world_settings s) : world{std::move(s), std::optional<choices>{}} {}
    world(world_settings s, choices c) : world{std::move(s), std::optional<choices>{std::move(c)}} {}
    virtual ~world() = default;
    world(world const&) = delete;
    world& operator=(world const&) = delete;

    // ---------------------------------------------------------------- set up

    /// Before time passes. Or all at once: check_all, check_sound (invariants/all.hpp).
    template <typename... Invariants>
    void check() {
        static_assert((std::is_base_of_v<invariant, Invariants> && ...),
                      "rota::sim: what is checked must derive from rota::sim::invariant, as sim::one_leader does");
        before_time_passes("check");
        if constexpr ((std::is_base_of_v<invariant, Invariants> && ...)) (add<Invariants>(), ...);
    }

    /// Tells `watcher`, an audience that is no invariant, of all that happens. It must outlive the world.
    template <typename Watcher>
    void watch(Watcher& watcher) {
        watch_.add(&watcher);
    }

    /// Any strategy policy, for all nodes of this world. Before time passes, and before check_all() or check_sound():
    /// what they ask for depends on its `habits`.
    template <typename Strategy>
    void use_strategy(Strategy strategy, strategy_habits habits = {}) {
        static_assert(strategy_policy<rota::detail::unwrapped_t<Strategy>>,
                      "rota::sim: a strategy must have `rota::plan make_plan(rota::cluster_view const&) const`, or "
                      "`void make_plan(rota::cluster_view const&, rota::plan&) const`");
        before_time_passes("use_strategy");
        auto held = std::make_shared<Strategy>(std::move(strategy));
        planner_ = {held.get(), [](void const* self, cluster_view const& view, plan& into) {
                        auto const& s = rota::detail::unwrap(*static_cast<Strategy const*>(self));
                        if constexpr (requires { s.make_plan(view, into); }) {
                            s.make_plan(view, into);
                        } else {
                            into = s.make_plan(view);
                        }
                    }};
        strategy_ = held;
        habits_ = habits;
    }
    [[nodiscard]] strategy_habits const& habits() const { return habits_; }

    /// Any sink policy, for all nodes of this world: a copy per process, unless given by std::ref. Before time passes.
    template <typename Sink>
    void use_sink(Sink const& sink) {
        before_time_passes("use_sink");
        for (auto& s : slots_) s.make_sink = maker_of_sinks(sink);
    }
    /// The user's work, for all nodes: see job. A copy per process, unless given by std::ref. Before time passes. Some node
    /// must have work: else nothing would call it.
    template <typename Handler>
    void use_handler(Handler const& handler) {
        before_time_passes("use_handler");
        for (auto& s : slots_) s.handler = handler_of(handler);
    }

    /// Makes these exist.
    void register_schedules(std::vector<schedule> const& all) {
        op::register_schedules request;
        for (std::size_t i = 0; i < all.size(); ++i) {
            request.items.push_back({all[i].id, all[i].weight, to_traits(all[i].rules)});
            if (request.items.size() == op::max_batch || i + 1 == all.size()) administer(std::exchange(request, {}));
        }
    }
    /// Makes schedule-0000 … exist.
    void register_schedules(std::uint32_t count) {
        op::register_schedules request;
        for (std::uint32_t i = 0; i < count; ++i) {
            request.items.push_back({.id = schedule_id(i)});
            if (request.items.size() == op::max_batch || i + 1 == count) {
                administer(std::exchange(request, {}));
            }
        }
        schedules_ = std::max(schedules_, count);
    }
    [[nodiscard]] static std::string schedule_id(std::uint32_t n) { return fmt::format("schedule-{:04}", n); }

    // ---------------------------------------------------------------- handles, by number or by node (handles.hpp)

    [[nodiscard]] node_handle node(std::uint32_t place) { return {*this, known(place)}; }
    /// The node that believes it leads. There must be one.
    [[nodiscard]] node_handle leader();
    /// The first member that does not. There must be one.
    [[nodiscard]] node_handle follower();
    [[nodiscard]] link_handle link(std::uint32_t place) { return {*this, known(place)}; }
    [[nodiscard]] link_handle link(node_handle const& n) { return link(n.place()); }
    [[nodiscard]] clock_handle clock(std::uint32_t place) { return {*this, known(place)}; }
    [[nodiscard]] clock_handle clock(node_handle const& n) { return clock(n.place()); }
    [[nodiscard]] redis_handle redis() { return redis_handle{*this}; }

    // ---------------------------------------------------------------- time

    void run_for(microseconds time) {
        if (time < microseconds{}) throw std::logic_error("rota::sim::world::run_for: time does not go back");
        begin();
        auto const until = stage_.now + time;
        while (stage_.queue.next_at() <= until) advance();
        stage_.now = until;
    }

    /// Runs until `predicate(*this)` holds: a bool, or a text that says what is missing. Looked at every millisecond at
    /// most, and only when something has happened. Gives up after `limit`.
    template <typename Predicate>
    outcome_of_wait run_until(Predicate&& predicate, microseconds limit) {
        static_assert(is_predicate_of_world<Predicate>,
                      "rota::sim: run_until takes a predicate that is called with a rota::sim::world& (or const&) and "
                      "returns bool, or a std::string that says what is missing");
        if constexpr (is_predicate_of_world<Predicate>) {
            return wait_until(predicate, limit);
        } else {
            return {};
        }
    }

    [[nodiscard]] moment now() const { return stage_.now; }

    // ---------------------------------------------------------------- looking at it
    [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(slots_.size()); }
    /// Every process that there ever was.
    [[nodiscard]] std::deque<std::unique_ptr<process>> const& processes() const { return processes_; }
    /// Those that are there now, in order of their start.
    [[nodiscard]] std::vector<process*> const& living() const { return living_; }
    /// The one that runs on a node now; null while it is down.
    [[nodiscard]] process* process_at(std::uint32_t place) const {
        auto const number = slots_[known(place)].current;
        return number == no_process ? nullptr : processes_[number].get();
    }
    [[nodiscard]] node_clock const& clock_of(std::uint32_t place) const { return slots_[known(place)].clock; }
    [[nodiscard]] redis_model const& servers() const { return redis_; }
    [[nodiscard]] store_model const& store() const { return redis_.store(); }
    [[nodiscard]] std::int64_t server_time() const { return redis_.clock(redis_.primary(), stage_.now); }
    [[nodiscard]] moment true_time_of(std::int64_t server_time) const {
        return stage_.now + microseconds{server_time - this->server_time()};
    }
    [[nodiscard]] world_settings const& settings() const { return settings_; }
    [[nodiscard]] network const& wires() const { return network_; }
    /// How much there is of what a run keeps: none of it grows with time.
    struct size_of_parts {
        std::size_t waiting = 0;     ///< things that are to happen
        std::size_t messages = 0;    ///< places for those on their way
        std::size_t replicated = 0;  ///< writes that the replica is still to be given
        std::size_t processes = 0;   ///< that there ever were
        std::size_t runs = 0;        ///< places for the work of those that live
    };
    [[nodiscard]] size_of_parts sizes() const {
        size_of_parts s{stage_.queue.size(), network_.places(), redis_.behind(), processes_.size(), 0};
        for (auto const* p : living_) s.runs += p->runs().size();
        return s;
    }
    /// Which rare turns this run has come by.
    [[nodiscard]] sometimes const& seen() const { return stage_.seen; }
    [[nodiscard]] std::uint64_t events() const { return events_; }
    [[nodiscard]] std::uint32_t schedules() const { return schedules_; }
    /// The same for the same seed, settings and plan, whatever compiled it.
    [[nodiscard]] std::uint64_t trace_hash() const { return hash_; }
    /// Whether rota's promises hold now: nothing that they exclude has happened for as long as any belief lasts, and no
    /// record is damaged.
    [[nodiscard]] bool promises_hold() const { return stage_.now >= promises_from_ && !damaged_since_; }
    [[nodiscard]] bool promises_ever_broken() const { return promises_from_ > moment{} || damaged_since_; }
    /// Since when there is damage that was done and is not mended yet.
    [[nodiscard]] std::optional<moment> damaged_since() const { return damaged_since_; }
    /// Its process is up and not paused, and nothing is wrong with its link and clock.
    [[nodiscard]] bool is_healthy(std::uint32_t place) const {
        auto const& s = slots_[known(place)];
        auto const& w = s.way;
        return s.current != no_process && !processes_[s.current]->paused() && w.requests_cut == 0 &&
               w.replies_cut == 0 && w.stalled == 0 && w.refused == 0 && w.extra_delay == microseconds{} &&
               !w.old_server && !runs_too_far_off(s.clock);
    }
    /// Since when no fault began or ended, and no process did; nodes may have been down, paused or cut off all the while.
    /// now(): the server is not well, or a link is slow (who is behind it can neither be done with nor without).
    [[nodiscard]] moment calm_since() const {
        bool const well = servers_down_ == 0 && redis_.server(redis_.primary()).up && !network_.answer_error &&
                          network_.slow_by == microseconds{} && redis_.server(redis_.primary()).free_from <= stage_.now;
        bool const slow =
            std::any_of(slots_.begin(), slots_.end(), [](slot const& s) { return s.way.extra_delay > microseconds{}; });
        return well && !slow ? std::max(last_fault_, last_process_) : stage_.now;
    }
    [[nodiscard]] rota::options const& options_of(std::uint32_t place) const { return slots_[known(place)].options; }
    /// Whether any node runs the user's work.
    [[nodiscard]] bool has_work() const {
        return std::any_of(slots_.begin(), slots_.end(), [](slot const& s) { return s.work.period > microseconds{}; });
    }
    /// Whether the sink of any node is told of the whole group.
    [[nodiscard]] bool has_group_subscribers() const {
        return std::any_of(slots_.begin(), slots_.end(),
                           [](slot const& s) { return s.options.event_scope == event_scope::group; });
    }
    /// When a fault last began or ended.
    [[nodiscard]] moment last_fault() const { return last_fault_; }

    // ---------------------------------------------------------------- faults

    /// Ends all faults, whatever remains of the plan included, and sets clocks right that run outside of the promises.
    void heal() {
        begin();
        end_faults([](fault const&) { return true; });
        plan_is_over_ = true;
        for (auto& s : slots_) {
            s.way.lose_next_reply = false;
            s.way.make_next_late = {};
            if (runs_too_far_off(s.clock)) s.clock.run_fast_by(stage_.now, 0);
        }
        take_back_orders();
        look_at_clocks();
    }
    /// One more fault, beginning now; handles say it shorter.
    void begin_fault(fault f) {
        f.at = stage_.now;
        check_fault(f, to_text(f));
        if (names_schedule(f.kind) && schedule_of(f) > last_schedule()) {
            throw std::logic_error(
                fmt::format("rota::sim::world: {}: there is no schedule {}: {} are registered, say 0 .. {}", to_text(f),
                            schedule_of(f), schedules_, last_schedule()));
        }
        begin();
        settings_.faults.push_back(f);
        under_way_.push_back(false);
        begin_fault(settings_.faults.size() - 1);
    }
    /// In a plan a number counts round, so that it means something still where a shrunk run has fewer schedules.
    [[nodiscard]] std::string schedule_named_by(fault const& f) const {
        return schedule_id(static_cast<std::uint32_t>(schedule_of(f) % (last_schedule() + 1)));
    }
    template <typename Which>
    void end_faults(Which&& which) {
        for (std::size_t i = 0; i < settings_.faults.size(); ++i) {
            if (under_way_[i] && which(settings_.faults[i])) end_fault(i);
        }
    }

    [[noreturn]] void broken(std::string_view invariant, std::string words) const {
        auto const headline = fmt::format("{} broken at {}: {}\n", invariant, in_words(stage_.now), words);
        auto report = headline + fmt::format("  seed {}\n", settings_.seed);
        report += "  last events:\n" + last_events();
        if (!settings_.faults.empty()) report += "  faults:\n";
        for (auto const& f : settings_.faults) report += "    " + to_text(f) + "\n";
        report += headline;  // once more: the first one may have scrolled away
        watch_.tell_broken(invariant, words);
        throw broken_invariant{std::string{invariant}, stage_.now, std::move(words), hash_, report};
    }

    /// The last things that happened, one per line, `most` of them or what is kept; before them how many more there were.
    [[nodiscard]] std::string last_events(std::size_t most = 40) const {
        std::string text;
        auto const count = std::min({noted_, notes_.size(), most});
        auto const first = noted_ - count;
        if (first > 0) text += fmt::format("    ... {} earlier\n", first);
        for (auto i = first; i < noted_; ++i) {
            auto const& n = notes_[i % notes_.size()];
            text += fmt::format("    {:>12} {}\n", in_words(n.at), n.words);
        }
        return text;
    }
    /// Whether to keep words on everything that happens, for last_events(): on unless turned off, as sweeps do; slow.
    void keep_notes(bool on) { keeps_notes_ = on; }
    void note(std::string words) {
        if (!keeps_notes_) return;
        if (noted_ < notes_.size() || !notes_.empty()) notes_[noted_ % notes_.size()] = {stage_.now, std::move(words)};
        ++noted_;
    }

protected:
    using maker = std::unique_ptr<node_machine> (*)(options, rota::detail::planner,
                                                    std::shared_ptr<rota::detail::belief>, std::uint64_t);
    world(world_settings s, std::optional<choices> c, std::unique_ptr<store_model> empty, maker make)
        : settings_{std::move(s)},
          stage_{c ? std::move(*c) : choices{mixed(settings_.seed)}},
          redis_{std::move(empty), settings_.longest_loss},
          network_{stage_, redis_, settings_.network},
          make_{make} {
        set_up();
    }

private:
    world(world_settings s, std::optional<choices> c)
        : world{std::move(s), std::move(c), std::make_unique<store_model_of<rota::detail::sound>>(),
                [](options o, rota::detail::planner p, std::shared_ptr<rota::detail::belief> b,
                   std::uint64_t entropy) -> std::unique_ptr<node_machine> {
                    return std::make_unique<node_machine_of<rota::detail::sound>>(std::move(o), p, std::move(b),
                                                                                  entropy);
                }} {}

    using sink_maker = std::function<std::function<void(event const&)>()>;
    struct slot {
        std::string node_id;
        node_clock clock;
        route way;
        std::uint32_t current = no_process;
        bool starting = false;
        unsigned down = 0;  // faults that keep it so
        rota::options options{};
        work_settings work{};
        sink_maker make_sink{};
        work_handler handler{};
        bool handler_is_its_own = false;  // given to this node, rather than to all
    };
    friend class node_handle;
    template <typename Sink>
    static sink_maker maker_of_sinks(Sink const& sink) {
        static_assert(sink_policy<rota::detail::unwrapped_t<Sink>>,
                      "rota::sim: a sink must take rota::event const&, or some of the event types");
        return [sink] {
            return std::function<void(event const&)>{
                [copy = sink](event const& e) mutable { rota::detail::deliver(copy, e); }};
        };
    }
    template <typename Handler>
    static work_handler handler_of(Handler const& handler) {
        static_assert(
            std::is_invocable_r_v<microseconds, Handler&, job const&>,
            "rota::sim: a handler takes rota::sim::job const& and returns how long it works until it is called "
            "again, 0 if it is done");
        return handler;
    }

    // Hands what happens to the invariants that want it, and to the trace.
    class fan_out final : public audience {
    public:
        explicit fan_out(world& w) : world_{w} {}
        void performed(step const& s) override {
            world_.hash_in(s.request.index() << 8 | (s.answer ? s.answer->index() : 0x80u));
            world_.hash_in(s.answer ? 0 : static_cast<std::uint64_t>(s.answer.error().code));
            if (world_.keeps_notes_) world_.note_step(s);
            auto const* const by = s.process == no_process ? nullptr : world_.processes_[s.process].get();
            world_.spotter_.performed(s, *world_.redis_.server(s.server).store, by);
            for (auto* i : performed_) i->performed(s);
        }
        void acted(process const& p) override {
            for (auto* i : acted_) i->acted(p);
        }
        void told(process const& p, event const& e) override {
            world_.hash_in(0x100 + e.index());
            if (world_.keeps_notes_) world_.note_event(p, e);
            world_.spotter_.told(p, e);
            for (auto* i : told_) i->told(p, e);
        }
        void lock_taken(process const& p, run const& r) override {
            world_.hash_in(r.token);
            for (auto* i : locks_) i->lock_taken(p, r);
        }
        void lock_ended(process const& p, run const& r) override {
            for (auto* i : locks_) i->lock_ended(p, r);
        }
        void run_began(process const& p, run const& r) override {
            if (world_.keeps_notes_) world_.note(fmt::format("{} begins {} under {}", who(p), r.name, r.token));
            world_.spotter_.effect(r);
            for (auto* i : runs_) i->run_began(p, r);
        }
        void run_worked(process const& p, run const& r) override {
            world_.spotter_.effect(r);
            for (auto* i : runs_) i->run_worked(p, r);
        }
        void run_ended(process const& p, run const& r) override {
            if (world_.keeps_notes_) world_.note(fmt::format("{} ends {} under {}", who(p), r.name, r.token));
            for (auto* i : runs_) i->run_ended(p, r);
        }
        void fault_began(fault const& f) override {
            world_.note(to_text(f));
            for (auto* i : faults_) i->fault_began(f);
        }
        void fault_ended(fault const& f) override {
            world_.note("over: " + to_text(f));
            for (auto* i : faults_) i->fault_ended(f);
        }
        void process_began(process const& p) override {
            world_.last_process_ = world_.stage_.now;
            world_.note(who(p) + " starts");
            for (auto* i : processes_) i->process_began(p);
        }
        void process_ended(process const& p, std::string_view how) override {
            world_.last_process_ = world_.stage_.now;
            world_.spotter_.process_ended(p);
            world_.note(who(p) + " ends: " + std::string{how});
            for (auto* i : processes_) i->process_ended(p, how);
        }
        void tell_broken(std::string_view invariant, std::string_view words) const {
            for (auto* i : of_breaks_) i->broke(world_.stage_.now, invariant, words);
        }

        // Who does not override a hook is not called for it.
        template <typename T>
        void add(T* watcher) {
            if constexpr (!std::is_same_v<decltype(&T::performed), decltype(&audience::performed)>)
                performed_.push_back(watcher);
            if constexpr (!std::is_same_v<decltype(&T::acted), decltype(&audience::acted)>) acted_.push_back(watcher);
            if constexpr (!std::is_same_v<decltype(&T::told), decltype(&audience::told)>) told_.push_back(watcher);
            if constexpr (!std::is_same_v<decltype(&T::lock_taken), decltype(&audience::lock_taken)> ||
                          !std::is_same_v<decltype(&T::lock_ended), decltype(&audience::lock_ended)>)
                locks_.push_back(watcher);
            if constexpr (!std::is_same_v<decltype(&T::run_began), decltype(&audience::run_began)> ||
                          !std::is_same_v<decltype(&T::run_worked), decltype(&audience::run_worked)> ||
                          !std::is_same_v<decltype(&T::run_ended), decltype(&audience::run_ended)>)
                runs_.push_back(watcher);
            if constexpr (!std::is_same_v<decltype(&T::fault_began), decltype(&audience::fault_began)> ||
                          !std::is_same_v<decltype(&T::fault_ended), decltype(&audience::fault_ended)>)
                faults_.push_back(watcher);
            if constexpr (!std::is_same_v<decltype(&T::process_began), decltype(&audience::process_began)> ||
                          !std::is_same_v<decltype(&T::process_ended), decltype(&audience::process_ended)>)
                processes_.push_back(watcher);
            if constexpr (!std::is_same_v<decltype(&T::broke), decltype(&audience::broke)>)
                of_breaks_.push_back(watcher);
        }

    private:
        static std::string who(process const& p) { return fmt::format("{}#{}", p.node_id(), p.number()); }
        world& world_;
        std::vector<audience*> performed_, acted_, told_, locks_, runs_, faults_, processes_, of_breaks_;
    };

    template <typename T>
    void add() {
        auto owned = std::make_unique<T>();
        owned->belongs_to(*this);
        watch_.add(owned.get());
        if constexpr (!std::is_same_v<decltype(&T::looks), decltype(&invariant::looks)>)
            lookers_.push_back(owned.get());
        invariants_.push_back(std::move(owned));
    }

    void set_up() {
        if (settings_.nodes == 0) throw std::logic_error("rota::sim::world: a world needs nodes");
        if (!(settings_.clock_drift >= 0 && settings_.clock_drift <= 0.1)) {
            throw std::logic_error("rota::sim::world: clock_drift must be 0 .. 0.1");
        }
        stage_.watch = &watch_;
        use_strategy(least_moves{});
        auto const drift = static_cast<std::int64_t>(settings_.clock_drift * 1e9);
        for (std::uint32_t i = 0; i < settings_.nodes; ++i) {
            auto& s = slots_.emplace_back();
            s.node_id = fmt::format("node-{}", i);
            auto const shows = stage_.pick.between(std::chrono::hours{1}, std::chrono::hours{1000});
            auto const fast_by = stage_.pick.between(microseconds{-drift}, microseconds{drift}).count();
            s.clock = {moment{}, instant{shows}, fast_by};
            s.options = settings_.options;
            s.work = settings_.work;
        }
        under_way_.resize(settings_.faults.size());
        notes_.resize(256);
    }

    // The first time that time passes.
    void begin() {
        if (begun_) return;
        check_settings();
        begun_ = true;
        for (std::uint32_t i = 0; i < settings_.nodes; ++i) {
            auto const after = stage_.pick.between({}, settings_.options.heartbeat_interval);
            slots_[i].starting = true;
            stage_.queue.add(stage_.now + after, happening::process_starts, i);
        }
        for (std::size_t i = 0; i < settings_.faults.size(); ++i) {
            stage_.queue.add(settings_.faults[i].at, happening::fault_begins, 0, i);
        }
        stage_.queue.add(stage_.now + std::chrono::seconds{1}, happening::watch_looks);
        for (auto& i : invariants_) i->begin();
    }

    // Wrong use is said before time passes.
    void check_settings() {
        auto refuse = [](std::string const& why) { throw std::logic_error("rota::sim::world: " + why); };
        bool handled = false;
        bool calls_handler = false;
        for (auto& s : slots_) {
            s.options.node_id = s.node_id;
            check_options(s.options);
            check_work(s.work);
            if (s.handler_is_its_own) check_handler(s);
            handled = handled || s.handler;
            calls_handler = calls_handler || (s.handler && s.work.period > microseconds{});
        }
        if (handled && !calls_handler) refuse(std::string{"use_handler: "} + handler_is_idle);
        if (settings_.network.least_delay < microseconds{} ||
            settings_.network.most_delay < settings_.network.least_delay) {
            refuse("network: delays must not be negative, nor most_delay less than least_delay");
        }
        if (settings_.longest_loss < microseconds{}) refuse("longest_loss must not be negative");
        if (settings_.restart_after < microseconds{}) refuse("restart_after must not be negative");
        for (std::size_t i = 0; i < settings_.faults.size(); ++i) {
            check_fault(settings_.faults[i], fmt::format("fault {} ({})", i, to_text(settings_.faults[i])));
        }
        for (auto const& i : invariants_) {
            if (auto const missing = i->lacks(); !missing.empty()) {
                refuse(fmt::format("{} cannot be checked here: {}", i->name(), missing));
            }
        }
    }
    void check_options(rota::options const& o) const {
        auto refuse = [](std::string const& why) { throw std::logic_error("rota::sim::world: " + why); };
        if (auto r = validate(o); !r) refuse(o.node_id + ": " + r.error().detail);
        if (settings_.clock_drift > o.clock_drift) {
            refuse(fmt::format("clock_drift is {}, and options::clock_drift allows for {} only: no promise would hold",
                               settings_.clock_drift, o.clock_drift));
        }
    }
    static void check_work(work_settings const& w) {
        auto refuse = [](std::string const& why) { throw std::logic_error("rota::sim::world: work: " + why); };
        if (w.period < microseconds{} || w.least < microseconds{} || w.most < w.least) {
            refuse("period, least and most must not be negative, nor most less than least");
        }
        if (w.period > microseconds{} && w.lock_ttl < std::chrono::milliseconds{1}) {
            refuse("lock_ttl must be 1 ms or more");
        }
    }
    static constexpr char const* handler_is_idle =
        "there are no runs that would call it: set world_settings::work, or use_work";
    static void check_handler(slot const& s) {
        if (s.work.period > microseconds{}) return;
        throw std::logic_error(fmt::format("rota::sim::world: use_handler of {}: {}", s.node_id, handler_is_idle));
    }
    void check_fault(fault const& f, std::string const& which) const {
        auto refuse = [&](std::string const& why) {
            throw std::logic_error("rota::sim::world: " + which + ": " + why);
        };
        if (concerns_node(f.kind) && f.node >= slots_.size()) refuse(no_such_node(f.node));
        if (auto const why = what_is_senseless(f); !why.empty()) refuse(why);
        if (f.kind == fault_kind::fail_over && settings_.longest_loss == microseconds{}) {
            refuse("fail_over needs a replica: set world_settings::longest_loss");
        }
        if (f.kind == fault_kind::fail_over && f.amount > settings_.longest_loss.count()) {
            refuse("fail_over cannot lose more than world_settings::longest_loss, " +
                   seconds_in_words(settings_.longest_loss));
        }
    }
    void before_time_passes(char const* what) const {
        if (begun_) throw std::logic_error(fmt::format("rota::sim::world::{}: before time passes, please", what));
    }
    [[nodiscard]] std::string no_such_node(std::uint32_t place) const {
        return fmt::format("there is no node {}: this world has 0 to {}", place, slots_.size() - 1);
    }
    [[nodiscard]] std::uint32_t known(std::uint32_t place) const {
        if (place >= slots_.size()) throw std::logic_error("rota::sim::world: " + no_such_node(place));
        return place;
    }

    template <typename Predicate>
    outcome_of_wait wait_until(Predicate& predicate, microseconds limit) {
        if (limit < microseconds{}) throw std::logic_error("rota::sim::world::run_until: time does not go back");
        begin();
        auto const until = stage_.now + limit;
        auto missing = missing_of(predicate);
        while (!missing.empty()) {
            auto const next = stage_.queue.next_at();
            if (next > until) {
                stage_.now = until;
                return {false, std::move(missing)};
            }
            auto const look_at = stage_.now + std::chrono::milliseconds{1};
            while (stage_.queue.next_at() <= std::min(look_at, until)) advance();
            if (stage_.queue.next_at() > look_at) stage_.now = std::min(look_at, until);
            missing = missing_of(predicate);
        }
        return {true, {}};
    }

    template <typename Predicate>
    std::string missing_of(Predicate& predicate) {
        auto found = predicate(*this);
        if constexpr (std::is_same_v<decltype(found), bool>) {
            return found ? std::string{} : std::string{"the condition does not hold"};
        } else {
            return found;
        }
    }

    void hash_in(std::uint64_t word) { hash_ = mixed(hash_ ^ word); }

    void advance() {
        auto const e = stage_.queue.take();
        ++events_;
        stage_.now = e.at;
        hash_in(static_cast<std::uint64_t>(e.at.time_since_epoch().count()) << 8 | static_cast<std::uint64_t>(e.what));
        hash_in(std::uint64_t{e.who} << 32 ^ e.detail);
        switch (e.what) {
            case happening::request_arrives: serve(static_cast<std::uint32_t>(e.detail)); break;
            case happening::server_goes_on: {
                auto const server = static_cast<std::uint32_t>(e.detail);
                while (auto const message = network_.next_waiting(server)) {
                    serve(*message);
                    network_.was_waiting(server);
                }
                break;
            }
            case happening::process_starts: start_process(e.who); break;
            case happening::fault_begins:
                if (!plan_is_over_) begin_fault(static_cast<std::size_t>(e.detail));
                break;
            case happening::fault_ends:
                if (under_way_[e.detail]) end_fault(static_cast<std::size_t>(e.detail));
                break;
            case happening::watch_looks:
                stage_.queue.add(stage_.now + std::chrono::seconds{1}, happening::watch_looks);
                look_at_damage();
                for (auto* i : lookers_) i->looks();
                break;
            default:
                processes_[e.who]->on(e);
                after_process(*processes_[e.who]);
                break;
        }
    }

    void serve(std::uint32_t message) {
        auto* const from = processes_[network_.at(message).process].get();
        network_.serve(message, from->alive() ? &from->link() : nullptr);
        if (!network_.take_changed()) return;
        for (auto* p : living_) p->look_for_push(*redis_.server(p->link().server).store, {});
    }

    // A program that has ended is started again, as by a supervisor; one that has been replaced is not.
    void after_process(process& p) {
        if (p.alive() && p.spins() > 10'000)
            broken("no_busy_loop", p.node_id() + " has nothing to do, and does not sleep");
        if (p.alive() && !p.stopped()) return;
        if (p.alive()) p.die("run() returned");
        std::erase(living_, &p);
        auto& s = slots_[p.slot()];
        if (s.current != p.number()) return;
        s.current = no_process;
        if (!s.starting) start_later(p.slot(), settings_.restart_after);
    }
    void start_later(std::uint32_t number, microseconds after) {
        slots_[number].starting = true;
        stage_.queue.add(stage_.now + after, happening::process_starts, number);
    }
    void start_now(std::uint32_t number) {
        if (std::exchange(slots_[number].starting, true)) return;
        start_process(number);
    }
    void start_process(std::uint32_t number) {
        auto& s = slots_[number];
        if (!std::exchange(s.starting, false) || s.down > 0) return;
        process_makings m{.number = static_cast<std::uint32_t>(processes_.size()),
                          .slot = number,
                          .settings = s.options,
                          .work = s.work,
                          .sink = s.make_sink ? s.make_sink() : nullptr,
                          .handler = s.handler,
                          .strategy = planner_,
                          .make = make_};
        m.settings.node_id = s.node_id;
        processes_.push_back(std::make_unique<process>(stage_, network_, s.clock, s.way, std::move(m)));
        auto& p = *processes_.back();
        p.world = this;
        p.store_of = [](void const* self, std::uint32_t server) -> store_model const* {
            return static_cast<world const*>(self)->redis_.server(server).store.get();
        };
        living_.push_back(&p);
        s.current = p.number();
        watch_.process_began(p);
        p.start();
    }
    void kill(std::uint32_t slot_number, std::string_view how) {
        auto& s = slots_[slot_number];
        if (s.current == no_process) return;
        auto& p = *processes_[s.current];
        s.current = no_process;
        p.die(how);
        std::erase(living_, &p);
    }

    void administer(operation request) {
        auto const answer = redis_.perform(redis_.primary(), request, {}, stage_.now);
        watch_.performed({request, answer, redis_.primary(), no_process, server_time()});
        for (auto* p : living_) p->look_for_push(*redis_.server(p->link().server).store, {});
    }

    // ---------------------------------------------------------------- faults

    template <typename Use>
    void with_process(std::uint32_t slot_number, Use&& use) {
        auto const number = slots_[slot_number].current;
        if (number == no_process) return;
        auto& p = *processes_[number];
        use(p);
        after_process(p);
    }
    void break_connections(std::uint32_t server) {
        for (auto* p : living_) {
            if (p->link().server == server) network_.end_connection(p->link(), p->number());
        }
    }
    // For how long the promises are off after something that they exclude, and that lasts: until every belief of before
    // has run out, and every node has heard.
    void suspend_promises(microseconds lasting = {}) {
        microseconds longest{};
        for (auto const& s : slots_) {
            auto const o = with_defaults(s.options);
            longest = std::max(
                {longest, 2 * std::max({o.node_ttl, o.leader_lease, s.work.lock_ttl}) + 10 * o.operation_timeout});
        }
        promises_from_ = std::max(promises_from_,
                                  stage_.now + longest + std::min(lasting, microseconds{std::chrono::hours{10'000}}));
    }

    [[nodiscard]] bool runs_too_far_off(node_clock const& c) const {
        auto const most = static_cast<std::int64_t>(settings_.options.clock_drift * 1e9);
        return c.fast_by() > most || c.fast_by() < -most;
    }
    // No promise holds while a clock runs at a rate that options::clock_drift does not allow for.
    void look_at_clocks() {
        bool off = false;
        for (auto const& s : slots_) off = off || runs_too_far_off(s.clock);
        if (off) {
            promises_from_ = moment::max();
        } else if (promises_from_ == moment::max()) {
            promises_from_ = moment{};
            suspend_promises();
        }
    }

    void begin_fault(std::size_t index) {
        auto const f = settings_.faults[index];
        under_way_[index] = true;
        last_fault_ = stage_.now;
        watch_.fault_began(f);
        if (!within_promises(f.kind)) suspend_promises(f.lasting);
        auto* const s = concerns_node(f.kind) ? &slots_[f.node] : nullptr;
        switch (f.kind) {
            case fault_kind::crash:
                ++s->down;
                kill(f.node, "crashed");
                break;
            case fault_kind::replace: start_now(f.node); break;
            case fault_kind::pause:
                if (s->current != no_process) paused_.push_back({index, s->current}), processes_[s->current]->pause();
                break;
            case fault_kind::leave:
                ++s->down;
                if (s->current != no_process) {
                    auto& p = *processes_[s->current];
                    s->current = no_process;
                    p.leave();
                    if (!p.alive()) std::erase(living_, &p);
                }
                break;
            case fault_kind::renounce: with_process(f.node, [](process& p) { p.renounce(); }); break;
            case fault_kind::clock_rate:
                s->clock.run_fast_by(stage_.now, f.amount);
                look_at_clocks();
                break;
            case fault_kind::wall_jump: s->clock.wall_offset += microseconds{f.amount}; break;
            case fault_kind::delay: s->way.extra_delay += microseconds{f.amount}; break;
            case fault_kind::stall: ++s->way.stalled; break;
            case fault_kind::cut_requests: ++s->way.requests_cut; break;
            case fault_kind::cut_replies: ++s->way.replies_cut; break;
            case fault_kind::cut: ++s->way.requests_cut, ++s->way.replies_cut; break;
            case fault_kind::refuse:
                ++s->way.refused;
                break_connection_of(f.node);
                break;
            case fault_kind::reset: break_connection_of(f.node); break;
            case fault_kind::lose_reply: s->way.lose_next_reply = true; break;
            case fault_kind::late_request: s->way.make_next_late = microseconds{f.amount}; break;
            case fault_kind::claim: with_process(f.node, [&](process& p) { p.claim(schedule_named_by(f)); }); break;
            case fault_kind::transfer:
                with_process(f.node, [&](process& p) {
                    p.transfer(schedule_named_by(f), slots_[(f.node + 1) % slots_.size()].node_id);
                });
                break;
            case fault_kind::register_one:
                with_process(f.node, [&](process& p) { p.add_schedule(schedule_named_by(f)); });
                break;
            case fault_kind::unregister_one:
                with_process(f.node, [&](process& p) { p.remove_schedule(schedule_named_by(f)); });
                break;
            case fault_kind::update_one:
                with_process(f.node, [&](process& p) {
                    p.update_schedule(becomes(f, schedule_named_by(f), neighbour_of(f.node, 1)),
                                      stage_.now + f.lasting);
                });
                break;
            case fault_kind::attributes:
                with_process(f.node, [&](process& p) { p.set_attributes(attributes_at(f.amount, usual(*s))); });
                break;
            case fault_kind::report_load:
                with_process(f.node, [&](process& p) { p.report_load(static_cast<double>(f.amount)); });
                break;
            case fault_kind::drain:
                with_process(f.node, [&](process& p) {
                    p.give_order(op::order_kind::drain, neighbour_of(f.node, f.amount), stage_.now + f.lasting);
                });
                break;
            case fault_kind::maintenance:
                with_process(f.node, [&](process& p) {
                    p.give_order(op::order_kind::begin_maintenance, {}, stage_.now + f.lasting);
                });
                break;
            case fault_kind::damage: do_damage(f); break;
            case fault_kind::slow_server: network_.slow_by += microseconds{f.amount}; break;
            case fault_kind::stall_server: {
                auto& server = redis_.server(redis_.primary());
                server.free_from = std::max(server.free_from, stage_.now + f.lasting);
                break;
            }
            case fault_kind::restart_server:
            case fault_kind::lose_data: {
                auto& server = redis_.server(redis_.primary());
                server.up = false;
                ++server.run;
                ++servers_down_;
                if (f.kind == fault_kind::lose_data) redis_.lose_data();
                break_connections(redis_.primary());
                break;
            }
            case fault_kind::server_error: network_.answer_error = static_cast<std::size_t>(f.amount); break;
            case fault_kind::server_clock: redis_.server(redis_.primary()).clock_offset += f.amount; break;
            case fault_kind::fail_over: {
                auto const old = redis_.primary();
                if (redis_.fail_over(microseconds{f.amount}, stage_.now)) stage_.seen.saw(sight::failover_with_loss);
                for (auto& each : slots_) {
                    if (f.lasting > microseconds{} && stage_.pick.one_in(2)) each.way.old_server = old;
                }
                for (auto* p : living_) {
                    if (!p->link().way->old_server) network_.end_connection(p->link(), p->number());
                }
                break;
            }
        }
        stage_.queue.add(stage_.now + f.lasting, happening::fault_ends, 0, index);
    }

    void end_fault(std::size_t index) {
        auto const f = settings_.faults[index];
        under_way_[index] = false;
        last_fault_ = stage_.now;
        auto* const s = concerns_node(f.kind) ? &slots_[f.node] : nullptr;
        auto free_way = [&] {
            for (auto* p : living_) {
                if (p->slot() == f.node) network_.release_held(p->link(), p->number());
            }
        };
        switch (f.kind) {
            case fault_kind::crash:
            case fault_kind::leave:
                if (--s->down == 0 && s->current == no_process) start_now(f.node);
                break;
            case fault_kind::pause:
                for (auto& [fault, number] : paused_) {
                    if (fault == index) processes_[number]->go_on();
                }
                std::erase_if(paused_, [&](auto const& p) { return p.first == index; });
                break;
            case fault_kind::delay: s->way.extra_delay -= microseconds{f.amount}; break;
            case fault_kind::stall: --s->way.stalled, free_way(); break;
            case fault_kind::cut_requests: --s->way.requests_cut, free_way(); break;
            case fault_kind::cut_replies: --s->way.replies_cut, free_way(); break;
            case fault_kind::cut: --s->way.requests_cut, --s->way.replies_cut, free_way(); break;
            case fault_kind::refuse: --s->way.refused; break;
            case fault_kind::update_one: restore(schedule_named_by(f)); break;
            case fault_kind::attributes: with_process(f.node, [&](process& p) { p.set_attributes(usual(*s)); }); break;
            case fault_kind::drain:
                administer(op::give_order{op::order_kind::undrain, neighbour_of(f.node, f.amount)});
                break;
            case fault_kind::maintenance: administer(op::give_order{op::order_kind::end_maintenance}); break;
            case fault_kind::slow_server: network_.slow_by -= microseconds{f.amount}; break;
            case fault_kind::stall_server:
                redis_.server(redis_.primary()).free_from = stage_.now;
                network_.goes_on(redis_.primary());
                break;
            case fault_kind::restart_server:
            case fault_kind::lose_data:
                if (--servers_down_ == 0) redis_.server(redis_.primary()).up = true;
                if (f.kind == fault_kind::lose_data) suspend_promises();
                break;
            case fault_kind::server_error: network_.answer_error.reset(); break;
            case fault_kind::fail_over:
                for (std::uint32_t n = 0; n < redis_.primary(); ++n) {
                    if (!redis_.server(n).up) continue;
                    redis_.server(n).up = false;
                    break_connections(n);
                }
                for (auto& each : slots_) each.way.old_server.reset();
                suspend_promises();
                break;
            default: break;
        }
        watch_.fault_ended(f);
    }

    void break_connection_of(std::uint32_t slot_number) {
        for (auto* p : living_) {
            if (p->slot() == slot_number) network_.end_connection(p->link(), p->number());
        }
    }
    // One that is registered, or the first that is not.
    [[nodiscard]] std::int64_t last_schedule() const { return std::max<std::int64_t>(schedules_, 1); }
    [[nodiscard]] std::string const& neighbour_of(std::uint32_t place, std::int64_t further) const {
        return slots_[(place + static_cast<std::size_t>(further)) % slots_.size()].node_id;
    }
    [[nodiscard]] static node_attributes usual(slot const& s) {
        return {s.options.max_schedules_per_node, s.options.zone, s.options.labels};
    }

    // What update_one made of it is over: by an operator who is never cut off, as are the ends of all orders.
    void restore(std::string const& id) {
        auto const s = store().schedule(id);
        if (s && (s->weight != 1 || !s->traits.empty())) {
            administer(op::update_schedules{.items = {{id, 1, {}, s->owner}}});
        }
    }
    // Those too that have come late.
    void take_back_orders() {
        for (auto& node_id : store().drained()) administer(op::give_order{op::order_kind::undrain, std::move(node_id)});
        if (store().maintenance()) administer(op::give_order{op::order_kind::end_maintenance});
        for (auto const& f : settings_.faults) {
            if (f.kind == fault_kind::update_one && f.at <= stage_.now) restore(schedule_named_by(f));
        }
    }

    void do_damage(fault const& f) {
        auto const* const p = process_at(f.node);
        auto const id = schedule_named_by(f);
        auto const s = store().schedule(id);
        if (!s) return;
        // What neither a record nor an index tells of is gone for good, and its owner would never hear of it.
        bool const loses_it = way_of(f) % ways_to_damage == way_to_lose;
        if (loses_it && !store().lists(s->owner, id)) return;
        redis_.inflict(damage_at(f, id, p ? p->belief().incarnation() : 0, s->owner), stage_.now);
        if (!damaged_since_ && !store().disagreement().empty()) damaged_since_ = stage_.now;
    }
    void look_at_damage() {
        if (!damaged_since_ || !store().disagreement().empty()) return;
        damaged_since_.reset();
        stage_.seen.saw(sight::damage_mended);
        suspend_promises();
    }

    struct note_line {
        moment at{};
        std::string words{};
    };
    void note_step(step const& s) {
        auto const* p = s.process == no_process ? nullptr : processes_[s.process].get();
        note(in_words(s, p ? fmt::format("{}#{}", p->node_id(), s.process) : std::string{}));
    }
    void note_event(process const& p, event const& e) {
        note(fmt::format("{}#{} tells {}", p.node_id(), p.number(), in_words(e)));
    }

    world_settings settings_;
    stage stage_;
    redis_model redis_;
    network network_;
    maker make_;
    spotter spotter_{stage_.seen};
    fan_out watch_{*this};
    std::deque<slot> slots_;
    std::deque<std::unique_ptr<process>> processes_;
    std::vector<process*> living_;
    std::vector<std::unique_ptr<invariant>> invariants_;
    std::vector<invariant*> lookers_;
    std::shared_ptr<void> strategy_;
    strategy_habits habits_;
    rota::detail::planner planner_;
    std::vector<bool> under_way_;
    std::vector<std::pair<std::size_t, std::uint32_t>> paused_;
    bool begun_ = false;
    bool plan_is_over_ = false;
    unsigned servers_down_ = 0;
    std::uint32_t schedules_ = 0;
    std::uint64_t events_ = 0;
    std::uint64_t hash_ = 0;
    moment promises_from_{};
    std::optional<moment> damaged_since_{};
    moment last_fault_{};
    moment last_process_{};
    bool keeps_notes_ = true;
    std::vector<note_line> notes_;
    std::size_t noted_ = 0;
};

inline void invariant::fail(std::string words) const { world_->broken(name(), std::move(words)); }

// ---------------------------------------------------------------- handles

inline node_handle world::leader() {
    for (std::uint32_t i = 0; i < size(); ++i) {
        if (auto const* p = process_at(i); p && p->believes_it_leads()) return {*this, i};
    }
    throw std::logic_error("rota::sim::world::leader: at " + in_words(now()) +
                           " no node believes that it leads: run_until(sim::converged, ...) first");
}
inline node_handle world::follower() {
    for (std::uint32_t i = 0; i < size(); ++i) {
        auto const* p = process_at(i);
        if (p && p->machine().state() == standing::member && !p->believes_it_leads()) return {*this, i};
    }
    throw std::logic_error("rota::sim::world::follower: at " + in_words(now()) + " there is none");
}

inline process* node_handle::running() const { return world_->process_at(place_); }
inline std::string const& node_handle::id() const { return world_->slots_[place_].node_id; }
inline bool node_handle::is_up() const { return running() != nullptr; }
inline bool node_handle::is_member() const {
    auto const* p = running();
    return p && p->machine().state() == standing::member;
}
inline bool node_handle::is_suspended() const { return is_member() && !running()->believes_it_lives(); }
inline bool node_handle::believes_it_leads() const {
    auto const* p = running();
    return p && p->believes_it_leads();
}
inline bool node_handle::owns(std::string_view schedule) const {
    auto const* p = running();
    return p && p->believes_it_lives() && p->belief().table().contains(schedule);
}
inline std::vector<std::string> node_handle::owned() const {
    std::vector<std::string> ids;
    if (auto const* p = running()) {
        for (auto& s : p->belief().owned(p->now())) ids.push_back(std::move(s.id));
    }
    return ids;
}
inline bool node_handle::holds(std::string_view name) const {
    auto const* p = running();
    if (!p) return false;
    return std::any_of(p->runs().begin(), p->runs().end(),
                       [&](run const& r) { return r.name == name && p->is_valid(r); });
}
inline fencing_token node_handle::incarnation() const { return running() ? running()->belief().incarnation() : 0; }
inline fencing_token node_handle::term() const { return running() ? running()->belief().term() : 0; }

inline node_handle const& node_handle::suffers(fault_kind kind, microseconds lasting, std::int64_t amount) const {
    world_->begin_fault({.kind = kind, .node = place_, .lasting = lasting, .amount = amount});
    return *this;
}
inline node_handle const& node_handle::crash(microseconds down_for) const {
    return suffers(fault_kind::crash, down_for);
}
inline node_handle const& node_handle::restart() const {
    if (is_up()) suffers(fault_kind::crash);
    world_->end_faults([&](fault const& f) {
        return f.node == place_ && (f.kind == fault_kind::crash || f.kind == fault_kind::leave);
    });
    return *this;
}
inline node_handle const& node_handle::pause(microseconds time) const { return suffers(fault_kind::pause, time); }
inline node_handle const& node_handle::resume() const {
    world_->end_faults([&](fault const& f) { return f.node == place_ && f.kind == fault_kind::pause; });
    return *this;
}
inline node_handle const& node_handle::replace() const { return suffers(fault_kind::replace); }
inline node_handle const& node_handle::leave(microseconds away_for) const {
    return suffers(fault_kind::leave, away_for);
}
inline node_handle const& node_handle::renounce() const { return suffers(fault_kind::renounce); }
inline node_handle const& node_handle::claim(std::uint32_t schedule) const {
    return suffers(fault_kind::claim, {}, schedule);
}
inline node_handle const& node_handle::transfer(std::uint32_t schedule) const {
    return suffers(fault_kind::transfer, {}, schedule);
}
inline node_handle const& node_handle::drain(microseconds time) const { return suffers(fault_kind::drain, time); }
inline node_handle const& node_handle::undrain() const {
    world_->end_faults(
        [&](fault const& f) { return f.kind == fault_kind::drain && world_->neighbour_of(f.node, f.amount) == id(); });
    return *this;
}
inline node_handle const& node_handle::begin_maintenance(microseconds time) const {
    return suffers(fault_kind::maintenance, time);
}
inline node_handle const& node_handle::end_maintenance() const {
    world_->end_faults([](fault const& f) { return f.kind == fault_kind::maintenance; });
    return *this;
}
inline node_handle const& node_handle::set_attributes(node_attributes a) const {
    world_->with_process(place_, [&](process& p) { p.set_attributes(std::move(a)); });
    return *this;
}
inline node_handle const& node_handle::use_options(options o) const {
    o.node_id = id();
    if (world_->begun_) world_->check_options(o);
    world_->slots_[place_].options = std::move(o);
    return *this;
}
inline node_handle const& node_handle::use_work(work_settings w) const {
    if (world_->begun_) world::check_work(w);
    world_->slots_[place_].work = w;
    return *this;
}
template <typename Sink>
node_handle const& node_handle::use_sink(Sink sink) const {
    world_->slots_[place_].make_sink = world::maker_of_sinks(sink);
    return *this;
}
template <typename Handler>
node_handle const& node_handle::use_handler(Handler handler) const {
    auto& s = world_->slots_[place_];
    if (world_->begun_) world::check_handler(s);
    s.handler = world::handler_of(handler);
    s.handler_is_its_own = true;
    return *this;
}

inline link_handle const& link_handle::suffers(fault_kind kind, microseconds lasting, std::int64_t amount) const {
    world_->begin_fault({.kind = kind, .node = place_, .lasting = lasting, .amount = amount});
    return *this;
}
inline link_handle const& link_handle::drop_replies(microseconds time) const {
    return suffers(fault_kind::cut_replies, time);
}
inline link_handle const& link_handle::drop_requests(microseconds time) const {
    return suffers(fault_kind::cut_requests, time);
}
inline link_handle const& link_handle::cut(microseconds time) const { return suffers(fault_kind::cut, time); }
inline link_handle const& link_handle::stall(microseconds time) const { return suffers(fault_kind::stall, time); }
inline link_handle const& link_handle::delay(microseconds up_to, microseconds time) const {
    return suffers(fault_kind::delay, time, up_to.count());
}
inline link_handle const& link_handle::refuse(microseconds time) const { return suffers(fault_kind::refuse, time); }
inline link_handle const& link_handle::reset() const { return suffers(fault_kind::reset); }
inline link_handle const& link_handle::lose_next_reply() const { return suffers(fault_kind::lose_reply); }
inline link_handle const& link_handle::make_next_late(microseconds by) const {
    return suffers(fault_kind::late_request, {}, by.count());
}
inline link_handle const& link_handle::heal() const {
    world_->end_faults([&](fault const& f) { return f.node == place_ && concerns_link(f.kind); });
    return *this;
}

inline clock_handle const& clock_handle::rate(double r) const {
    if (!(r >= 0.5 && r <= 2)) throw std::logic_error("rota::sim: a clock's rate must be 0.5 .. 2");
    auto const fast_by = (r - 1) * 1e9;
    world_->begin_fault({.kind = fault_kind::clock_rate,
                         .node = place_,
                         .amount = static_cast<std::int64_t>(fast_by + (fast_by < 0 ? -0.5 : 0.5))});
    return *this;
}
inline double clock_handle::rate() const { return 1 + static_cast<double>(world_->clock_of(place_).fast_by()) / 1e9; }
inline clock_handle const& clock_handle::jump_wall(microseconds by) const {
    world_->begin_fault({.kind = fault_kind::wall_jump, .node = place_, .amount = by.count()});
    return *this;
}
inline instant clock_handle::shows() const { return world_->clock_of(place_).at(world_->now()); }

inline redis_handle const& redis_handle::suffers(fault_kind kind, microseconds lasting, std::int64_t amount) const {
    world_->begin_fault({.kind = kind, .lasting = lasting, .amount = amount});
    return *this;
}
inline redis_handle const& redis_handle::fail_over(fail_over_settings s) const {
    return suffers(fault_kind::fail_over, s.old_primary_serves, s.lose_last.count());
}
inline redis_handle const& redis_handle::restart(microseconds down_for) const {
    return suffers(fault_kind::restart_server, down_for);
}
inline redis_handle const& redis_handle::restart_empty(microseconds down_for) const {
    return suffers(fault_kind::lose_data, down_for);
}
inline redis_handle const& redis_handle::stall(microseconds time) const {
    return suffers(fault_kind::stall_server, time);
}
inline redis_handle const& redis_handle::slow(microseconds by, microseconds time) const {
    return suffers(fault_kind::slow_server, time, by.count());
}
inline redis_handle const& redis_handle::jump_clock(microseconds by) const {
    return suffers(fault_kind::server_clock, {}, by.count());
}
inline redis_handle const& redis_handle::answer(std::string_view error, microseconds time) const {
    auto const& all = server_errors();
    for (std::size_t i = 0; i < all.size(); ++i) {
        std::string_view const words = all[i].words;
        if (words.substr(0, words.find(' ')) == error) {
            return suffers(fault_kind::server_error, time, static_cast<std::int64_t>(i));
        }
    }
    std::string known;
    for (auto const& e : all) {
        std::string_view const words = e.words;
        known += (known.empty() ? "" : ", ") + std::string{words.substr(0, words.find(' '))};
    }
    throw std::logic_error(fmt::format("rota::sim: {} is none of server_errors(): {}", error, known));
}
inline redis_handle const& redis_handle::heal() const {
    world_->end_faults([](fault const& f) { return !concerns_node(f.kind); });
    return *this;
}
inline std::uint32_t redis_handle::primary() const { return world_->servers().primary(); }
inline redis_server const& redis_handle::server(std::uint32_t number) const { return world_->servers().server(number); }
inline store_model const& redis_handle::store() const { return world_->store(); }
inline std::int64_t redis_handle::clock(std::uint32_t number, moment now) const {
    return world_->servers().clock(number, now);
}

/// A world whose nodes and server suffer from a planted defect (detail/defects.hpp); `world` is basic_world<sound>.
template <typename Defects>
class basic_world : public world {
public:
    explicit basic_world(world_settings s, std::optional<choices> c = {})
        : world{std::move(s), std::move(c), std::make_unique<store_model_of<Defects>>(),
                [](options o, rota::detail::planner p, std::shared_ptr<rota::detail::belief> b,
                   std::uint64_t entropy) -> std::unique_ptr<node_machine> {
                    return std::make_unique<node_machine_of<Defects>>(std::move(o), p, std::move(b), entropy);
                }} {}
};

}  // namespace rota::sim
