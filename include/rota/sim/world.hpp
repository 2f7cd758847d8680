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
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "../options.hpp"
#include "../strategy/least_moves.hpp"
#include "clock.hpp"
#include "network.hpp"
#include "node.hpp"
#include "redis.hpp"
#include "stage.hpp"

namespace rota::sim {

class world;

/// What broke, when, and between whom; what() has it all, with the last events.
class broken_invariant : public std::runtime_error {
public:
    broken_invariant(std::string name, moment when, std::string what_broke, std::string const& report)
        : std::runtime_error{report},
          invariant{std::move(name)},
          at{when},
          words{std::move(what_broke)} {}

    std::string invariant;
    moment at;
    std::string words;
};

/// Something that must hold at every moment. Derive, override what you want to be told of, and call fail().
class invariant : public audience {
public:
    [[nodiscard]] virtual std::string_view name() const = 0;
    /// Once a second of true time, for what is too much to look at after every event.
    virtual void looks() {}
    virtual void begin() {}

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
};

/// What run_until found.
struct outcome_of_wait {
    bool held = false;
    std::string missing{};
    explicit operator bool() const { return held; }
};

class world {
public:
    explicit world(world_settings s) : world{std::move(s), std::optional<choices>{}} {}
    world(world_settings s, choices c) : world{std::move(s), std::optional<choices>{std::move(c)}} {}
    virtual ~world() = default;
    world(world const&) = delete;
    world& operator=(world const&) = delete;

    // ---------------------------------------------------------------- set up

    template <typename... Invariants>
    void check() {
        (add<Invariants>(), ...);
    }

    /// Any strategy policy, for all nodes of this world. Before time passes.
    template <typename Strategy>
    void use_strategy(Strategy strategy) {
        auto held = std::make_shared<Strategy>(std::move(strategy));
        planner_ = {held.get(), [](void const* self, cluster_view const& view, plan& into) {
                        auto const& s = *static_cast<Strategy const*>(self);
                        if constexpr (requires { s.make_plan(view, into); }) {
                            s.make_plan(view, into);
                        } else {
                            into = s.make_plan(view);
                        }
                    }};
        strategy_ = held;
    }

    /// Makes schedule-000 … exist.
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

    // ---------------------------------------------------------------- time

    void run_for(microseconds time) {
        begin();
        auto const until = stage_.now + time;
        while (stage_.queue.next_at() <= until) advance();
        stage_.now = until;
    }

    /// Runs until `predicate(*this)` holds: a bool, or a text that says what is missing. Looked at every millisecond at
    /// most, and only when something has happened. Gives up after `limit`.
    template <typename Predicate>
    outcome_of_wait run_until(Predicate&& predicate, microseconds limit) {
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

    [[nodiscard]] moment now() const { return stage_.now; }

    // ---------------------------------------------------------------- looking at it

    [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(slots_.size()); }
    /// Every process that there ever was.
    [[nodiscard]] std::deque<std::unique_ptr<process>> const& processes() const { return processes_; }
    /// Those that are there now, in order of their start.
    [[nodiscard]] std::vector<process*> const& living() const { return living_; }
    [[nodiscard]] process* node(std::uint32_t place) const {
        auto const number = slots_.at(place).current;
        return number == no_process ? nullptr : processes_[number].get();
    }
    [[nodiscard]] redis_model& redis() { return redis_; }
    [[nodiscard]] redis_model const& redis() const { return redis_; }
    [[nodiscard]] store_model const& store() const { return redis_.store(); }
    [[nodiscard]] std::int64_t server_time() const { return redis_.clock(redis_.primary(), stage_.now); }
    [[nodiscard]] moment true_time_of(std::int64_t server_time) const {
        return stage_.now + microseconds{server_time - this->server_time()};
    }
    [[nodiscard]] world_settings const& settings() const { return settings_; }
    [[nodiscard]] network const& wires() const { return network_; }
    [[nodiscard]] std::uint64_t events() const { return events_; }
    [[nodiscard]] std::uint32_t schedules() const { return schedules_; }
    /// The same for the same seed, settings and plan, whatever compiled it.
    [[nodiscard]] std::uint64_t trace_hash() const { return hash_; }
    /// Whether rota's promises hold now: nothing that they exclude has happened for as long as any belief lasts.
    [[nodiscard]] bool promises_hold() const { return stage_.now >= promises_from_; }
    [[nodiscard]] bool promises_ever_broken() const { return promises_from_ > moment{}; }
    /// The processes that are in their slot for good: not down, not paused, nothing wrong with their link.
    [[nodiscard]] bool is_healthy(std::uint32_t place) const {
        auto const& s = slots_[place];
        auto const& w = s.way;
        return s.current != no_process && !processes_[s.current]->paused() && w.requests_cut == 0 &&
               w.replies_cut == 0 && w.stalled == 0 && w.refused == 0;
    }

    // ---------------------------------------------------------------- faults

    /// Ends all faults, whatever remains of the plan included.
    void heal() {
        for (std::size_t i = 0; i < settings_.faults.size(); ++i) {
            if (under_way_[i]) end_fault(i);
        }
        plan_is_over_ = true;
    }
    void begin_fault(fault const& f) {
        settings_.faults.push_back(f);
        under_way_.push_back(false);
        begin();
        begin_fault(settings_.faults.size() - 1);
    }

    [[noreturn]] void broken(std::string_view invariant, std::string words) const {
        auto report =
            fmt::format("{} broken at {}: {}\n  seed {}\n", invariant, in_words(stage_.now), words, settings_.seed);
        report += "  last events:\n" + last_events();
        if (!settings_.faults.empty()) report += "  faults:\n" + to_text(settings_.faults);
        throw broken_invariant{std::string{invariant}, stage_.now, std::move(words), report};
    }

    /// The last things that happened, one per line.
    [[nodiscard]] std::string last_events() const {
        std::string text;
        auto const first = noted_ > notes_.size() ? noted_ - notes_.size() : 0;
        for (auto i = first; i < noted_; ++i) {
            auto const& n = notes_[i % notes_.size()];
            text += fmt::format("    {:>12} {}\n", in_words(n.at), n.words);
        }
        return text;
    }
    /// Keep words on everything that happens, for last_events(): slow; for a run that is known to fail.
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

    struct slot {
        std::string node_id;
        node_clock clock;
        route way;
        std::uint32_t current = no_process;
        bool starting = false;
    };

    // Hands what happens to the invariants that want it, and to the trace.
    class fan_out final : public audience {
    public:
        explicit fan_out(world& w) : world_{w} {}
        void performed(step const& s) override {
            world_.hash_in(s.request.index() << 8 | (s.answer ? s.answer->index() : 0x80u));
            world_.hash_in(s.answer ? 0 : static_cast<std::uint64_t>(s.answer.error().code));
            if (world_.keeps_notes_) world_.note_step(s);
            for (auto* i : performed_) i->performed(s);
        }
        void acted(process const& p) override {
            for (auto* i : acted_) i->acted(p);
        }
        void told(process const& p, event const& e) override {
            world_.hash_in(0x100 + e.index());
            if (world_.keeps_notes_) world_.note_event(p, e);
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
            for (auto* i : runs_) i->run_began(p, r);
        }
        void run_worked(process const& p, run const& r) override {
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
            world_.note(who(p) + " starts");
            for (auto* i : processes_) i->process_began(p);
        }
        void process_ended(process const& p, std::string_view how) override {
            world_.note(who(p) + " ends: " + std::string{how});
            for (auto* i : processes_) i->process_ended(p, how);
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
        }

    private:
        static std::string who(process const& p) { return fmt::format("{}#{}", p.node_id(), p.number()); }
        world& world_;
        std::vector<audience*> performed_, acted_, told_, locks_, runs_, faults_, processes_;
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
        }
        under_way_.resize(settings_.faults.size());
        notes_.resize(256);
    }

    // The first time that time passes.
    void begin() {
        if (std::exchange(begun_, true)) return;
        auto o = settings_.options;
        o.node_id = "node";
        if (auto r = validate(o); !r) throw std::logic_error("rota::sim::world: " + r.error().detail);
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
    void start_process(std::uint32_t number) {
        auto& s = slots_[number];
        if (!s.starting) return;
        s.starting = false;
        process_makings m{.number = static_cast<std::uint32_t>(processes_.size()),
                          .slot = number,
                          .settings = settings_.options,
                          .work = settings_.work,
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
    // For how long the promises are off after something that they exclude: until every belief of before has run out, and
    // every node has heard.
    void suspend_promises() {
        auto const o = with_defaults(settings_.options);
        auto const longest = std::max({o.node_ttl, o.leader_lease, settings_.work.lock_ttl});
        promises_from_ = std::max(promises_from_, stage_.now + 2 * longest + 10 * o.operation_timeout);
    }

    void begin_fault(std::size_t index) {
        auto const f = settings_.faults[index];
        if (concerns_node(f.kind) && f.node >= slots_.size()) return;
        under_way_[index] = true;
        watch_.fault_began(f);
        if (!within_promises(f.kind)) suspend_promises();
        auto* const s = concerns_node(f.kind) ? &slots_[f.node] : nullptr;
        switch (f.kind) {
            case fault_kind::crash: kill(f.node, "crashed"); break;
            case fault_kind::replace:
                if (!s->starting) {
                    s->starting = true;
                    start_process(f.node);
                }
                break;
            case fault_kind::pause:
                if (s->current != no_process) paused_.push_back({index, s->current}), processes_[s->current]->pause();
                break;
            case fault_kind::leave:
                if (s->current != no_process) {
                    auto& p = *processes_[s->current];
                    s->current = no_process;
                    p.leave();
                    if (!p.alive()) std::erase(living_, &p);
                }
                break;
            case fault_kind::renounce: with_process(f.node, [](process& p) { p.renounce(); }); break;
            case fault_kind::clock_rate: s->clock.run_fast_by(stage_.now, f.amount); break;
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
            case fault_kind::claim: with_process(f.node, [&](process& p) { p.claim(any_schedule(f)); }); break;
            case fault_kind::transfer:
                with_process(f.node, [&](process& p) {
                    p.transfer(any_schedule(f), slots_[(f.node + 1) % slots_.size()].node_id);
                });
                break;
            case fault_kind::register_one:
                with_process(f.node, [&](process& p) { p.add_schedule(any_schedule(f)); });
                break;
            case fault_kind::unregister_one:
                with_process(f.node, [&](process& p) { p.remove_schedule(any_schedule(f)); });
                break;
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
                redis_.fail_over(microseconds{f.amount}, stage_.now);
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
        auto* const s = concerns_node(f.kind) ? &slots_[f.node] : nullptr;
        auto free_way = [&] {
            for (auto* p : living_) {
                if (p->slot() == f.node) network_.release_held(p->link(), p->number());
            }
        };
        switch (f.kind) {
            case fault_kind::crash:
            case fault_kind::leave:
                if (s->current == no_process && !s->starting) {
                    s->starting = true;
                    start_process(f.node);
                }
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
    [[nodiscard]] std::string any_schedule(fault const& f) const {
        auto const count = std::max<std::int64_t>(schedules_, 1);
        return schedule_id(static_cast<std::uint32_t>(f.amount % (count + 1)));
    }

    // ---------------------------------------------------------------- words

    struct note_line {
        moment at{};
        std::string words{};
    };
    void note_step(step const& s);
    void note_event(process const& p, event const& e);

    world_settings settings_;
    stage stage_;
    redis_model redis_;
    network network_;
    maker make_;
    fan_out watch_{*this};
    std::deque<slot> slots_;
    std::deque<std::unique_ptr<process>> processes_;
    std::vector<process*> living_;
    std::vector<std::unique_ptr<invariant>> invariants_;
    std::vector<invariant*> lookers_;
    std::shared_ptr<void> strategy_;
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
    bool keeps_notes_ = false;
    std::vector<note_line> notes_;
    std::size_t noted_ = 0;
};

inline void invariant::fail(std::string words) const { world_->broken(name(), std::move(words)); }

inline void world::note_step(step const& s) {
    static constexpr char const* names[] = {"join",          "tick",
                                            "leave",         "renounce",
                                            "acquire_locks", "extend_locks",
                                            "release_locks", "register_schedules",
                                            "lookup",        "unregister_schedules",
                                            "claim",         "reap",
                                            "adopt",         "revoke",
                                            "acknowledge",   "changes_since",
                                            "events_since",  "schedules_page",
                                            "nodes_page"};
    auto text = fmt::format("server {} performs {}", s.server, names[s.request.index()]);
    if (s.process != no_process) {
        text += fmt::format(" of {}#{}", processes_[s.process]->node_id(), s.process);
    }
    auto list = [&](auto const& items, auto&& words) {
        std::size_t n = 0;
        for (auto const& i : items) {
            if (++n > 6) {
                text += " ...";
                return;
            }
            text += " " + words(i);
        }
    };
    if (auto* r = std::get_if<op::adopt>(&s.request)) {
        list(r->items, [](auto const& i) { return fmt::format("{}:{}->{}", i.id, i.from, i.to); });
    } else if (auto* r2 = std::get_if<op::revoke>(&s.request)) {
        list(r2->items, [](auto const& i) { return fmt::format("{}:{}->{}", i.id, i.from, i.to); });
    } else if (auto* r3 = std::get_if<op::reap>(&s.request)) {
        list(r3->nodes, [](auto const& i) { return fmt::format("{}", i); });
    } else if (auto* r4 = std::get_if<op::acknowledge>(&s.request)) {
        list(r4->items, [](auto const& i) { return fmt::format("{}->{}", i.id, i.to); });
    } else if (auto* r5 = std::get_if<op::acquire_locks>(&s.request)) {
        list(r5->items, [](auto const& i) { return fmt::format("{}", i.name); });
    } else if (auto* r6 = std::get_if<op::release_locks>(&s.request)) {
        list(r6->items, [](auto const& i) { return fmt::format("{} {}", i.name, i.token); });
    }
    if (!s.answer) {
        text += fmt::format(" -> {} {}", to_string(s.answer.error().code), s.answer.error().detail);
    } else if (auto* r7 = std::get_if<op::outcomes>(&*s.answer)) {
        text += " ->";
        list(r7->items,
             [](auto const& o) { return o.ok() ? fmt::format("{}", o.token) : std::string{to_string(o.code)}; });
    } else if (auto* r8 = std::get_if<op::ticked>(&*s.answer)) {
        static constexpr char const* statuses[] = {"ok", "reaped", "fenced", "data_lost"};
        text += fmt::format(" -> {} leader {} term {} for {} version {} seq {}",
                            statuses[static_cast<std::size_t>(r8->status)], r8->leader_id, r8->term,
                            seconds_in_words(r8->leader_remaining), r8->version, r8->seq);
        if (!r8->sweep.expired.empty()) text += fmt::format(" expired {}", r8->sweep.expired.size());
        if (!r8->sweep.dead.empty()) text += fmt::format(" dead {}", r8->sweep.dead.size());
    } else if (auto* r9 = std::get_if<op::joined>(&*s.answer)) {
        text += fmt::format(" -> {} superseded {}", r9->incarnation, r9->superseded);
    }
    note(std::move(text));
}

inline void world::note_event(process const& p, event const& e) {
    static constexpr char const* names[] = {"node_joined",        "node_left",
                                            "node_suspended",     "node_resumed",
                                            "node_lost",          "node_fenced",
                                            "ownership_changed",  "handoff_requested",
                                            "leadership_changed", "membership_changed",
                                            "schedule_changed",   "events_gap",
                                            "plan_refused",       "warning"};
    auto text = fmt::format("{}#{} tells {}", p.node_id(), p.number(), names[e.index()]);
    if (auto* o = std::get_if<ownership_changed>(&e)) {
        text += fmt::format(" {} {} -> {} generation {}", o->schedule, o->from.id, o->to.id, o->generation);
    } else if (auto* l = std::get_if<leadership_changed>(&e)) {
        text += fmt::format(" {} term {} (was {})", l->leader.id, l->term, l->previous.id);
    } else if (auto* r10 = std::get_if<plan_refused>(&e)) {
        text += " " + r10->why;
    } else if (auto* w = std::get_if<warning>(&e)) {
        text += " " + w->what.detail;
    }
    note(std::move(text));
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
