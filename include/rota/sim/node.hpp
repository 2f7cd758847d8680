// A process that runs a node: it drives the production algorithm exactly as detail::blocking_engine does (one request
// at a time; the lane asks until there is nothing to ask, then sleeps until due() or a push; requests of the user's are
// attempted up to three times), but on virtual time, and with every reply, timeout and sleep as an event.
//
// On top runs simulated work, as a careless user would write it: each round, lock what is owned, process it for a while
// with extensions in good time, release. It holds no rule of rota's: whether it may act is asked of the handle.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clock.hpp"
#include "network.hpp"
#include "stage.hpp"
#include "subject.hpp"

namespace rota::sim {

/// What the user's code does on every node: each round, it locks what the node owns, works on it, and releases.
struct work_settings {
    microseconds period = std::chrono::seconds{1};       ///< from one round to the next; 0: it does nothing
    microseconds least = std::chrono::milliseconds{10};  ///< how long a run takes
    microseconds most = std::chrono::seconds{2};
    microseconds lock_ttl = std::chrono::seconds{5};
    std::uint32_t names = 0;  ///< so many plain names are fought for, too
    bool heeds_stop = true;   ///< a run whose lock is no longer valid ends when it next looks; false: a planted bug
};
/// Nodes that take part, and run nothing.
inline constexpr work_settings no_work{.period = microseconds{}};

/// One handling of a schedule (or of a plain name), from try_lock to release.
struct run {
    enum class stage : std::uint8_t { unused, asking, working, releasing };
    std::string name;
    op::lock_kind kind{};
    stage at = stage::unused;
    fencing_token token = 0;
    fencing_token generation = 0;  // under which it was asked for
    fencing_token incarnation = 0;
    instant until{};     // of the handle
    instant started{};   // the work
    instant ends{};      // or is to be asked whether it does
    bool holds = false;  // the handle
    bool extending = false;
    moment began{};
    std::optional<moment> asked_to_stop{};  // when the work first saw that the handle is not valid
    std::uint32_t server = 0;               // that granted it
    fencing_token epoch = 0;                // ... under which state
    std::uint64_t stamp = 0;                // of the event that it waits for
};

/// What a handler of your own sees of its run, in place of work_settings' least and most. It is called as the run begins,
/// and again whenever the time has passed that it returned; it returns 0 when the run is done. Nothing stops it meanwhile:
/// who returns more than a quarter of work_settings::lock_ttl may work on without a lock (handlers_stop).
///
///   w.use_handler([](sim::job const& j) {
///       return j.stop_requested() || j.elapsed() >= 2s ? 0us : 100ms;
///   });
class job {
public:
    job(std::string const& schedule, fencing_token token, microseconds elapsed, bool stop)
        : schedule_{schedule},
          token_{token},
          elapsed_{elapsed},
          stop_{stop} {}
    [[nodiscard]] std::string const& schedule() const { return schedule_; }
    [[nodiscard]] fencing_token token() const { return token_; }
    /// By the node's clock.
    [[nodiscard]] microseconds elapsed() const { return elapsed_; }
    /// The lock is no longer valid: somebody else may be at it, or soon will.
    [[nodiscard]] bool stop_requested() const { return stop_; }

private:
    std::string const& schedule_;
    fencing_token token_;
    microseconds elapsed_;
    bool stop_;
};
using work_handler = std::function<microseconds(job const&)>;

class simulated_belief final : public rota::detail::belief {
public:
    simulated_belief(stage const& s, node_clock const& c) : stage_{s}, clock_{c} {}
    [[nodiscard]] instant now() const override { return clock_.at(stage_.now); }

private:
    stage const& stage_;
    node_clock const& clock_;
};

/// What a world lends to a process.
struct process_makings {
    std::uint32_t number = 0;
    std::uint32_t slot = 0;
    options settings;
    work_settings work;
    std::function<void(event const&)> sink;
    work_handler handler;
    bool lane_first = true;
    rota::detail::planner strategy;
    std::unique_ptr<node_machine> (*make)(options, rota::detail::planner, std::shared_ptr<rota::detail::belief>,
                                          std::uint64_t entropy) = nullptr;
};

class process {
public:
    process(stage& s, network& n, node_clock& c, route& way, process_makings m)
        : stage_{s},
          network_{n},
          clock_{c},
          makings_{std::move(m)},
          belief_{std::make_shared<simulated_belief>(s, c)} {
        auto const high = stage_.pick.choose(std::uint64_t{1} << 32);
        auto const low = stage_.pick.choose(std::uint64_t{1} << 32);
        machine_ = makings_.make(makings_.settings, makings_.strategy, belief_, high << 32 | low);
        if (suffers_from(defect::heartbeats_last)) makings_.lane_first = false;
        if (suffers_from(defect::wall_clock)) clock_.shows_wall_time = true;
        link_.way = &way;
        link_.stamp.session = makings_.number + 1;
    }
    process(process const&) = delete;
    process& operator=(process const&) = delete;

    // ---------------------------------------------------------------- looking at it

    [[nodiscard]] std::uint32_t number() const { return makings_.number; }
    [[nodiscard]] std::uint32_t slot() const { return makings_.slot; }
    [[nodiscard]] work_settings const& work() const { return makings_.work; }
    [[nodiscard]] std::string const& node_id() const { return makings_.settings.node_id; }
    [[nodiscard]] bool alive() const { return alive_; }  ///< the process, not the node
    [[nodiscard]] bool paused() const { return paused_; }
    [[nodiscard]] node_machine& machine() const { return *machine_; }
    [[nodiscard]] rota::detail::belief const& belief() const { return *belief_; }
    [[nodiscard]] node_clock const& clock() const { return clock_; }
    [[nodiscard]] sim::link& link() { return link_; }
    [[nodiscard]] std::vector<run> const& runs() const { return runs_; }
    [[nodiscard]] bool stopped() const { return stopped_; }  ///< run() has returned
    /// What it knew of the group as it asked for what it last asked of its own accord.
    struct knowledge {
        bool complete = false;     ///< it had read all of it
        std::uint64_t cursor = 0;  ///< up to which event
        fencing_token epoch = 0;
    };
    [[nodiscard]] knowledge const& knew() const { return knew_; }

    [[nodiscard]] instant now() const { return clock_.at(stage_.now); }
    [[nodiscard]] bool believes_it_leads() const { return alive_ && belief_->leads(now()); }
    [[nodiscard]] bool believes_it_lives() const { return alive_ && belief_->alive(belief_->incarnation(), now()); }
    [[nodiscard]] bool is_valid(run const& r) const {
        auto const at = now();
        return alive_ && r.holds && belief_->alive(r.incarnation, at) && at < r.until && at < belief_->alive_until();
    }

    // ---------------------------------------------------------------- what a program does

    /// run(): joins and takes part.
    void start() {
        machine_->want_join(now());
        stopped_ = false;
        drive();
        if (makings_.work.period > microseconds{}) next_round(stage_.pick.between({}, makings_.work.period));
    }

    /// leave(), and the program ends.
    void leave() { add_task({.kind = task::what::leave}); }
    void renounce() { add_task({.kind = task::what::renounce}); }
    void claim(std::string id) { add_task({.kind = task::what::claim, .name = std::move(id)}); }
    void transfer(std::string id, std::string node_id) {
        add_task({.kind = task::what::transfer_nodes, .name = std::move(id), .other = std::move(node_id)});
    }
    void add_schedule(std::string id) { add_task({.kind = task::what::add, .name = std::move(id)}); }
    void remove_schedule(std::string id) { add_task({.kind = task::what::remove_lookup, .name = std::move(id)}); }
    /// Unless it is `until` already when its turn comes.
    void update_schedule(schedule s, moment until) {
        add_task({.kind = task::what::update_lookup,
                  .name = std::move(s.id),
                  .other = to_traits(s.rules),
                  .weight = s.weight,
                  .until = until});
    }
    void give_order(op::order_kind kind, std::string node_id, moment until) {
        add_task({.kind = task::what::order, .name = std::move(node_id), .order = kind, .until = until});
    }
    void set_attributes(node_attributes a) {
        machine_->describe(std::move(a));
        if (machine_->state() == standing::member) drive();
    }
    void report_load(double load) {
        machine_->report_load(load, now());
        if (machine_->state() == standing::member) drive();
    }

    void die(std::string_view how) {
        alive_ = false;
        stage_.watch->process_ended(*this, how);
        machine_.reset();
        runs_.clear();
        tasks_.clear();
        backlog_.clear();
    }

    // ---------------------------------------------------------------- what happens to it

    void pause() { ++paused_; }
    void go_on() {
        if (paused_ == 0 || --paused_ > 0) return;
        // In the order in which it all came.
        for (auto const& e : std::exchange(backlog_, {})) stage_.queue.add(stage_.now, e.what, e.who, e.detail);
    }

    void on(event_queue::entry const& e) {
        if (!alive_) {
            if (e.what == happening::reply_arrives) network_.free(e.detail);
            return;
        }
        if (paused_ > 0) {
            backlog_.push_back(e);
            return;
        }
        switch (e.what) {
            case happening::lane_wakes:
                if (!asleep_ || e.detail != sleep_) return;
                drive();
                break;
            case happening::reply_arrives: on_reply(e.detail); break;
            case happening::times_out:
                if (!waiting_ || e.detail != exchange_) return;
                lose_connection(connecting_ ? errc::timed_out : errc::outcome_unknown, "no reply in time");
                break;
            case happening::connection_ends:
                if (e.detail != link_.stamp.number || (!link_.open && !waiting_)) return;
                lose_connection(connecting_ ? errc::unavailable : errc::outcome_unknown, "the connection broke");
                break;
            case happening::push_arrives:
                push_pending_ = false;
                if (!asleep_ || !link_.open || e.detail != link_.stamp.number) return;
                machine_->hear(std::exchange(pushed_, std::nullopt), now());
                tell();
                drive();
                break;
            case happening::work_is_due: on_work(static_cast<std::size_t>(e.detail & 0xffff), e.detail >> 16); break;
            case happening::round_begins: begin_round(); break;
            default: break;
        }
        if (alive_) stage_.watch->acted(*this);
    }

    /// The server has something new, perhaps for this one.
    void look_for_push(store_model const& store, microseconds more) {
        if (!alive_ || !asleep_ || push_pending_ || !link_.open) return;
        if (!store.has_news_for(listens_)) return;
        push_pending_ = true;
        // What the server sends now arrives later, when more may have happened. Some transports say only that there is news.
        pushed_.reset();
        if (number() % 4 != 3) pushed_ = store.news_for(listens_);
        network_.push(link_, number(), more);
        if (link_.way->replies_cut > 0 || link_.way->stalled > 0 || link_.way->refused > 0) push_pending_ = false;
    }
    /// Set by the world: the store that this process is connected to, for looking as it goes to sleep.
    store_model const* (*store_of)(void const* world, std::uint32_t server) = nullptr;
    void const* world = nullptr;

    std::uint64_t spins() const { return spins_; }

private:
    struct task {
        enum class what : std::uint8_t {
            lane,
            acquire,
            clear_the_way,
            extend,
            release,
            leave,
            renounce,
            claim,
            transfer_nodes,
            transfer_lookup,
            transfer,
            add,
            remove_lookup,
            remove,
            update_lookup,
            update,
            order
        };
        what kind{};
        std::string name{};
        std::string other{};
        std::size_t run = 0;
        std::uint64_t nonce = 0;
        fencing_token found = 0;  // incarnation that was looked up
        unsigned rounds = 0;
        double weight = 1;
        op::order_kind order{};
        moment until = moment::max();
        std::uint64_t as_of = 0;  // the state that was looked at: to be refused if it has changed
    };
    static constexpr unsigned most_attempts = 3;

    using defect = rota::detail::defect;
    [[nodiscard]] bool suffers_from(defect d) const { return machine_->suffers_from(d); }

    // ---------------------------------------------------------------- one request at a time: the engine's mutex

    void add_task(task t) {
        tasks_.push_back(std::move(t));
        go_ahead();
    }
    void drive() {
        asleep_ = false;
        if (!lane_wants_) want_lane();
        lane_wants_ = true;
        go_ahead();
    }

    // Who waits for the mutex gets it in turn; the lane queues up for each of its requests, before the users' threads.
    void want_lane() {
        if (makings_.lane_first) {
            tasks_.push_front({.kind = task::what::lane});
        } else {
            tasks_.push_back({.kind = task::what::lane});
        }
    }
    void go_ahead() {
        while (alive_ && !busy_ && !tasks_.empty()) {
            task_ = std::move(tasks_.front());
            tasks_.pop_front();
            busy_ = true;
            request_.reset();
            if (task_.kind == task::what::lane) {
                request_ = machine_->next(now());
                lane_wants_ = request_.has_value();
                knew_ = {machine_->picture_is_complete(), machine_->picture_cursor(), machine_->picture_epoch()};
            } else {
                prepare();
            }
            if (!alive_) return;
            tell();
            if (request_) return begin_attempts();
            busy_ = false;
            if (task_.kind == task::what::lane) go_to_sleep();
        }
    }

    void go_to_sleep() {
        auto const state = machine_->state();
        if (state == standing::fenced || state == standing::out) {
            stopped_ = true;
            return;
        }
        auto const due = machine_->due();
        auto const at = now();
        ++sleep_;
        asleep_ = true;
        listens_ = machine_->what_to_listen_for();
        if (due <= at) {
            // run() would go round again at once; real time passes meanwhile.
            ++spins_;
            stage_.queue.add(stage_.now + microseconds{1}, happening::lane_wakes, number(), sleep_);
            return;
        }
        spins_ = 0;
        if (due != instant::max()) {
            auto const when = std::max(clock_.when(due), stage_.now + microseconds{1});
            stage_.queue.add(when, happening::lane_wakes, number(), sleep_);
        }
        if (link_.open) look_for_push(*store_of(world, link_.server), network_.settings().most_delay);
    }

    // What the engine's public calls do under the mutex, before their request.
    void prepare() {
        auto& t = task_;
        auto const can = machine_->can_act(now());
        auto* r = t.kind == task::what::acquire || t.kind == task::what::extend || t.kind == task::what::release
                      ? &runs_[t.run]
                      : nullptr;
        switch (t.kind) {
            case task::what::lane: break;
            case task::what::acquire: {
                if (!can) return finish_run(t.run);
                if (r->kind == op::lock_kind::schedule && t.rounds == 0) {
                    if (take_handed(t.run)) return;
                    if (auto const token = machine_->handed_in_the_way_of(r->name, now())) {
                        t.kind = task::what::clear_the_way;
                        machine_->on_releasing(r->kind, r->name, *token);
                        request_ = op::release_locks{.kind = r->kind, .items = {{r->name, *token}}};
                        return;
                    }
                }
                auto request = machine_->acquisition(r->kind, {r->name}, makings_.work.lock_ttl);
                r->incarnation = request.incarnation;
                r->generation = request.items.front().generation;
                request_ = std::move(request);
                break;
            }
            case task::what::extend:
                if (!std::exchange(r->extending, false) || !r->holds || !can) return;
                request_ = op::extend_locks{.incarnation = r->incarnation,
                                            .kind = r->kind,
                                            .items = {{r->name, r->token}},
                                            .ttl = makings_.work.lock_ttl};
                break;
            case task::what::release:
                machine_->on_releasing(r->kind, r->name, r->token);
                request_ = op::release_locks{.kind = r->kind, .items = {{r->name, r->token}}};
                break;
            case task::what::leave:
                machine_->begin_leave();
                request_ = machine_->leave_operation();
                if (!request_) {
                    tell();
                    die("left");
                }
                break;
            case task::what::renounce: request_ = machine_->begin_renounce(now()); break;
            case task::what::claim:
                if (!can) return;
                request_ =
                    op::claim{.incarnation = machine_->self().incarnation, .ids = {t.name}, .seen = machine_->seen()};
                break;
            case task::what::transfer_nodes: request_ = op::nodes_page{}; break;
            case task::what::transfer_lookup:
            case task::what::remove_lookup: request_ = op::lookup{.ids = {t.name}}; break;
            case task::what::add: request_ = op::register_schedules{.items = {{.id = t.name}}}; break;
            case task::what::update_lookup:
                if (stage_.now < t.until) request_ = op::lookup{.ids = {t.name}};
                break;
            case task::what::order:
                if (stage_.now < t.until) request_ = op::give_order{t.order, t.name};
                break;
            case task::what::clear_the_way:
            case task::what::transfer:
            case task::what::remove:
            case task::what::update: break;
        }
    }

    // The lock that came with the schedule.
    bool take_handed(std::size_t number) {
        auto& r = runs_[number];
        auto const lock = machine_->take_handed(r.name, makings_.work.lock_ttl, now());
        if (!lock) return false;
        stage_.seen.saw(sight::came_with_its_lock);
        r.incarnation = machine_->self().incarnation;
        r.token = r.generation = lock->token;
        r.until = lock->until;
        lock_is_held(number);
        return true;
    }
    void lock_is_held(std::size_t number) {
        auto& r = runs_[number];
        r.holds = true;
        r.server = link_.server;
        r.epoch = store_of(world, link_.server)->epoch();
        // Granted too late to be of use: given back, not handed out.
        if (!is_valid(r) && !suffers_from(defect::late_grant_used)) {
            stage_.seen.saw(sight::granted_too_late);
            r.at = run::stage::releasing;
            r.holds = false;
            add_task({.kind = task::what::release, .run = number});
            return;
        }
        stage_.watch->lock_taken(*this, r);
        begin_run(number);
    }

    void begin_attempts() {
        attempts_ = 1;
        sent_ = now();
        limit_ = sent_ + makings_.settings.operation_timeout;
        begin_exchange(makings_.settings.operation_timeout);
    }
    void begin_exchange(microseconds timeout) {
        waiting_ = true;
        ++exchange_;
        stage_.queue.add(clock_.when(now() + timeout), happening::times_out, number(), exchange_);
        connecting_ = !link_.open;
        if (connecting_) network_.connect(link_);
        network_.send(link_, number(), exchange_, connecting_ ? nullptr : &*request_);
    }

    void on_reply(std::uint64_t message_number) {
        auto& m = network_.at(message_number);
        bool const expected =
            waiting_ && m.exchange == exchange_ && m.from.number == link_.stamp.number && m.hello == connecting_;
        if (!expected) {
            if (!m.hello) stage_.seen.saw(sight::late_reply_dropped);
            network_.free(message_number);
            return;
        }
        if (m.hello) {
            network_.free(message_number);
            link_.open = true;
            connecting_ = false;
            auto const server = (std::uint64_t{link_.server} << 32 | link_.server_run) + 1;
            auto const known = std::exchange(link_.known_server, server);
            if (known != 0 && known != server) machine_->server_changed();
            network_.send(link_, number(), exchange_, &*request_);
            return;
        }
        auto answer = std::move(m.answer);
        if (m.closes) link_.open = false;
        network_.free(message_number);
        waiting_ = false;
        complete(std::move(answer));
    }
    void lose_connection(errc code, char const* why) {
        link_.open = false;
        connecting_ = false;
        push_pending_ = false;
        if (!waiting_) return;
        waiting_ = false;
        complete({code, why});
    }

    void complete(result<reply> answer) {
        if (!answer && answer.error().code == errc::outcome_unknown) stage_.seen.saw(sight::unknown_outcome);
        if (task_.kind == task::what::lane) {
            machine_->done(*request_, answer, sent_, now());
            busy_ = false;
            tell();
            want_lane();
            return go_ahead();
        }
        if (!answer) {
            auto const code = answer.error().code;
            bool const worth_it = code == errc::unavailable || code == errc::outcome_unknown;
            if (code == errc::not_joined || code == errc::not_leader) machine_->want_tick(now());
            if (worth_it && attempts_ < most_attempts && now() < limit_) {
                ++attempts_;
                return begin_exchange(std::max(limit_ - now(), microseconds{1000}));
            }
        }
        tell();
        conclude(answer);
        if (!alive_) return;
        if (std::exchange(next_is_ready_, false)) return begin_attempts();
        busy_ = false;
        tell();
        // after_locks(), after_change(): the lane may have something to do now.
        if (machine_->state() == standing::member && !lane_wants_ && machine_->due() <= now()) drive();
        go_ahead();
    }

    // What the engine's public calls make of the answer.
    void conclude(result<reply> const& answer) {
        auto& t = task_;
        auto const first = [&]() -> op::outcome const& { return std::get<op::outcomes>(*answer).items.front(); };
        auto const released = [&] { return std::get<op::release_locks>(*request_).items.front().token; };
        switch (t.kind) {
            case task::what::lane: break;
            case task::what::acquire: {
                auto& r = runs_[t.run];
                if (answer && first().code == errc::locked_by_other && r.kind == op::lock_kind::schedule) {
                    machine_->on_locked_by_other(r.name);
                }
                if (!answer || !first().ok()) return finish_run(t.run);
                if (r.kind == op::lock_kind::schedule) machine_->on_lock_granted(r.name);
                r.token = first().token;
                r.until = machine_->on_acquired(r.kind, r.name, first(), sent_, now());
                lock_is_held(t.run);
                break;
            }
            case task::what::clear_the_way:
                if (!answer) return finish_run(t.run);
                machine_->on_released(runs_[t.run].kind, runs_[t.run].name, released());
                go_on_with(task::what::acquire);
                break;
            case task::what::extend: {
                auto& r = runs_[t.run];
                if (!answer) return;
                if (first().ok()) {
                    auto const until = machine_->on_extended(r.kind, r.name, first(), sent_, now());
                    if (until > r.until) r.until = until;
                    if (r.holds) stage_.watch->lock_taken(*this, r);
                } else if (first().code == errc::lock_lost) {
                    machine_->on_released(r.kind, r.name, r.token);
                    drop_handle(r);
                }
                break;
            }
            case task::what::release: {
                auto& r = runs_[t.run];
                if (answer) machine_->on_released(r.kind, r.name, r.token);
                finish_run(t.run);
                break;
            }
            case task::what::leave:
                machine_->finish_leave(answer.has_value());
                if (auto next = machine_->leave_operation()) {  // it led
                    next_request_ = std::move(next);
                    return go_on_with(task::what::leave);
                }
                tell();
                die("left");
                break;
            case task::what::renounce:
                if (answer) machine_->done(*request_, answer, sent_, now());
                break;
            case task::what::claim:
                if (answer) note_own_change(std::get<op::outcomes>(*answer));
                after_change();
                break;
            case task::what::transfer_nodes:
                if (!answer) return;
                for (auto const& n : std::get<op::nodes_reply>(*answer).items) {
                    if (n.alive && n.node.id == t.other) t.found = n.node.incarnation;
                }
                // Sometimes as apply() does it: as part of a plan for that very state.
                if (stage_.pick.one_in(2)) t.as_of = std::get<op::nodes_reply>(*answer).seq;
                if (t.found == 0) break;
                if (machine_->give(t.name, t.found, now())) {
                    after_change();
                } else {
                    go_on_with(task::what::transfer_lookup);
                }
                break;
            case task::what::transfer_lookup: transfer_found(answer); break;
            case task::what::transfer:
                if (answer) note_own_change(std::get<op::outcomes>(*answer));
                after_change();
                break;
            case task::what::add: after_change(); break;
            case task::what::remove_lookup:
                if (!answer) return;
                if (t.nonce == 0) t.nonce = machine_->new_nonce();
                next_request_ = op::unregister_schedules{
                    .items = {{t.name, std::get<op::lookup_reply>(*answer).items.front().status.owner}},
                    .nonce = t.nonce};
                go_on_with(task::what::remove);
                break;
            case task::what::remove:
                if (answer && first().code == errc::conflict && t.rounds < 4)
                    return go_on_with(task::what::remove_lookup);
                after_change();
                break;
            case task::what::update_lookup: {
                if (!answer) return;
                auto const& entry = std::get<op::lookup_reply>(*answer).items.front();
                if (!entry.registered) return;
                next_request_ = op::update_schedules{.items = {{t.name, t.weight, t.other, entry.status.owner}}};
                go_on_with(task::what::update);
                break;
            }
            case task::what::update:
                if (answer && first().code == errc::conflict && t.rounds < 4)
                    return go_on_with(task::what::update_lookup);
                after_change();
                break;
            case task::what::order: after_change(); break;
        }
    }

    // The next request of the same call. Others may come between: the mutex is free.
    void go_on_with(task::what kind) {
        auto t = task_;
        t.kind = kind;
        ++t.rounds;
        if (kind == task::what::transfer || kind == task::what::remove || kind == task::what::update ||
            kind == task::what::leave) {
            // Its request is ready; it goes out at once.
            task_ = std::move(t);
            request_ = std::move(next_request_);
            next_is_ready_ = true;
            return;
        }
        tasks_.push_back(std::move(t));
    }

    void transfer_found(result<reply> const& answer) {
        if (!answer) return;
        auto const& entry = std::get<op::lookup_reply>(*answer).items.front();
        auto const& status = entry.status;
        if (!entry.registered || status.owner == task_.found || !machine_->can_act(now())) return;
        auto const self = machine_->self().incarnation;
        fencing_token const term = belief_->leads(now()) ? belief_->term() : 0;
        if (term == 0 && status.owner != self) return;
        if (status.owner == 0) {
            next_request_ =
                op::adopt{.incarnation = self,
                          .term = term,
                          .items = {{task_.name, status.generation, 0, task_.found, change_reason::transferred}},
                          .seen = machine_->seen(),
                          .as_of = task_.as_of};
        } else {
            next_request_ = op::revoke{
                .incarnation = self,
                .term = status.owner == self ? 0 : term,
                .items = {{task_.name, status.generation, status.owner, task_.found, change_reason::transferred}},
                .handoff_deadline = makings_.settings.handoff_deadline,
                .as_of = task_.as_of};
        }
        go_on_with(task::what::transfer);
    }

    void note_own_change(op::outcomes const& r) {
        for (auto const& out : r.items) {
            machine_->see(out.token);
            if (out.ok()) return machine_->own_log_moved();
        }
    }
    void after_change() {
        machine_->group_log_moved();
        if (machine_->state() == standing::member) drive();
    }

    void tell() {
        for (auto const& e : machine_->take_events()) {
            stage_.watch->told(*this, e);
            if (makings_.sink) makings_.sink(e);
        }
    }

    // ---------------------------------------------------------------- the user's work

    void next_round(microseconds after) {
        stage_.queue.add(clock_.when(now() + after), happening::round_begins, number());
    }
    void begin_round() {
        next_round(makings_.work.period);
        auto const at = now();
        for (auto const& s : belief_->owned(at)) {
            if (!s.handing_over) want_run(op::lock_kind::schedule, s.id);
        }
        if (makings_.work.names > 0) {
            auto const which = stage_.pick.choose(makings_.work.names);
            want_run(op::lock_kind::name, "name-" + std::to_string(which));
        }
    }
    void want_run(op::lock_kind kind, std::string const& name) {
        for (auto const& r : runs_) {
            if (r.at != run::stage::unused && r.kind == kind && r.name == name) return;
        }
        std::size_t number = 0;
        while (number < runs_.size() && runs_[number].at != run::stage::unused) ++number;
        if (number == runs_.size()) runs_.emplace_back();
        auto const stamp = runs_[number].stamp;
        runs_[number] = {.name = name, .kind = kind, .at = run::stage::asking, .stamp = stamp + 1};
        add_task({.kind = task::what::acquire, .run = number});
    }

    // The careless part: a handle is taken for a right to begin.
    void begin_run(std::size_t number) {
        auto& r = runs_[number];
        r.at = run::stage::working;
        r.began = stage_.now;
        r.started = r.ends = now();
        if (!makings_.handler) r.ends += stage_.pick.between(makings_.work.least, makings_.work.most);
        stage_.watch->run_began(*this, r);
        if (makings_.handler && is_over(r)) return end_run(number);
        wait_for_work(number);
    }
    void wait_for_work(std::size_t number) {
        auto& r = runs_[number];
        // It looks at least every quarter of the ttl: to extend, and whether it should stop.
        auto const look = std::min(r.ends, now() + makings_.work.lock_ttl / 4);
        ++r.stamp;
        stage_.queue.add(std::max(clock_.when(look), stage_.now + microseconds{1}), happening::work_is_due,
                         this->number(), number | r.stamp << 16);
    }
    void on_work(std::size_t number, std::uint64_t stamp) {
        if (number >= runs_.size() || runs_[number].stamp != stamp || runs_[number].at != run::stage::working) return;
        auto& r = runs_[number];
        if (makings_.handler) {
            // In the midst of a step the handler is not asked anything; whether it still may work is noted all the same.
            if (now() < r.ends) {
                look_whether_to_stop(r);
            } else if (is_over(r)) {
                return end_run(number);
            }
        } else {
            look_whether_to_stop(r);
            if (r.asked_to_stop && makings_.work.heeds_stop) return end_run(number);
        }
        stage_.watch->run_worked(*this, r);
        if (!makings_.handler && now() >= r.ends) return end_run(number);
        if (r.holds && !r.extending && r.until - now() < makings_.work.lock_ttl * 3 / 4) {
            r.extending = true;
            add_task({.kind = task::what::extend, .run = number});
        }
        wait_for_work(number);
    }
    // What the handler says to it.
    [[nodiscard]] bool is_over(run& r) {
        auto const at = now();
        look_whether_to_stop(r);
        auto const more = makings_.handler(job{r.name, r.token, at - r.started, r.asked_to_stop.has_value()});
        if (more < microseconds{} || more > forever) {
            throw std::logic_error(fmt::format(
                "rota::sim: the handler of {} returned {} us for {}; it must be 0 (done) or how long it works, "
                "sim::forever at most",
                node_id(), more.count(), r.name));
        }
        r.ends = at + more;
        return more <= microseconds{};
    }
    void look_whether_to_stop(run& r) {
        if (r.asked_to_stop || is_valid(r)) return;
        r.asked_to_stop = stage_.now;
        stage_.seen.saw(sight::lock_expired_while_held);
    }
    void end_run(std::size_t number) {
        auto& r = runs_[number];
        ++r.stamp;
        stage_.watch->run_ended(*this, r);
        r.at = run::stage::releasing;
        if (!r.holds) return finish_run(number);
        if (!suffers_from(defect::belief_after_release)) drop_handle(r);
        add_task({.kind = task::what::release, .run = number});
    }
    void drop_handle(run& r) {
        if (!r.holds) return;
        r.holds = false;
        stage_.watch->lock_ended(*this, r);
    }
    void finish_run(std::size_t number) {
        auto& r = runs_[number];
        drop_handle(r);
        r.at = run::stage::unused;
        ++r.stamp;
    }

    stage& stage_;
    network& network_;
    node_clock& clock_;
    process_makings makings_;
    std::shared_ptr<simulated_belief> belief_;
    std::unique_ptr<node_machine> machine_;
    sim::link link_;
    bool alive_ = true;
    bool stopped_ = true;
    unsigned paused_ = 0;
    std::vector<event_queue::entry> backlog_;

    // the lane's sleep
    bool asleep_ = false;
    bool lane_wants_ = false;
    bool push_pending_ = false;
    std::uint64_t sleep_ = 0;
    std::uint64_t spins_ = 0;
    subscription listens_;
    std::optional<pushed_news> pushed_;  // on its way

    // the request under way
    bool busy_ = false;
    bool waiting_ = false;
    bool connecting_ = false;
    bool next_is_ready_ = false;
    std::uint64_t exchange_ = 0;
    unsigned attempts_ = 0;
    instant sent_{};
    instant limit_{};
    std::optional<operation> request_;
    std::optional<operation> next_request_;
    task task_;
    std::deque<task> tasks_;

    knowledge knew_;
    std::vector<run> runs_;
};

}  // namespace rota::sim
