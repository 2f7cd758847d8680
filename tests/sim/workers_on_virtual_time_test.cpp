// Several workers on virtual time: each the scheduling machine of a worker on a real coordinator, over a store that can be
// cut off, lose replies and outlive its nodes; handlers that take time, throw, dawdle or do not heed. Seeds decide; a seed
// that fails fails again.
//
// What must hold, whatever comes:
//  * no two runs of a schedule at once, as long as handlers end within stop_margin of being asked and their process is
//    not stopped meanwhile; and never two under valid locks, whatever they do;
//  * each run's token is higher than that of the one before;
//  * a run is asked to stop before its lock ends; nothing starts after stop(), and the node has left when drain_budget
//    is over;
//  * once faults are over, every schedule is run again.
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rota/clock/manual_clock.hpp>
#include <rota/coordinator.hpp>
#include <rota/detail/worker_machine.hpp>
#include <rota/transport/memory.hpp>
#include <rota/trigger/continuous.hpp>

#include "../catch.hpp"
#include "../support/effort.hpp"

using namespace std::chrono_literals;
using rota::instant;
using rota::microseconds;

namespace {

constexpr microseconds step = 10ms;
constexpr microseconds stop_margin = 400ms;
constexpr microseconds stop_grace = 1s;
constexpr microseconds drain_budget = 4s;

class dice {
public:
    explicit dice(std::uint64_t seed) : state_{seed} {}
    std::uint64_t below(std::uint64_t limit) {
        state_ = rota::detail::mix(state_ + 0x9e3779b97f4a7c15U);
        return state_ % limit;
    }
    bool one_in(std::uint64_t n) { return below(n) == 0; }
    microseconds up_to(microseconds most) {
        return microseconds{static_cast<microseconds::rep>(below(static_cast<std::uint64_t>(most.count()) + 1))};
    }

private:
    std::uint64_t state_;
};

/// What is seen of all runs, by somebody who sees all nodes.
struct history {
    std::map<std::string, rota::fencing_token> tokens;
    std::map<std::string, microseconds> last_start;  // in server time
    std::uint64_t starts = 0;
    std::uint64_t asked = 0;
    std::uint64_t revoked = 0;
    std::uint64_t took_no_more = 0;
};

class process {
public:
    process(std::string given_name, rota::memory_store& store, dice& random, history& seen)
        : name{std::move(given_name)},
          wire{store},
          store_{store},
          random_{random},
          seen_{seen} {
        rota::worker_options const given{.threads = 3,
                                         .lock_ttl = 3s,
                                         .stop_margin = stop_margin,
                                         .max_run_time = 5s,
                                         .stop_grace = stop_grace,
                                         .drain_budget = drain_budget,
                                         .retry = {.attempts = 2, .first = 200ms, .most = 500ms}};
        rota::options const node{.node_id = name, .handoff_deadline = 4s};
        REQUIRE(rota::detail::check(given, node));
        machine_ = std::make_unique<rota::detail::worker_machine<>>(given, 1s, node.handoff_deadline, trigger_,
                                                                    random.below(1'000'000));
        locks_ = std::vector<rota::schedule_lock>(given.threads);
        runs_ = std::vector<run>(given.threads);
        node_ = std::make_unique<coordinator>(node, wire, clock, sink{this});
    }
    process(process const&) = delete;
    process& operator=(process const&) = delete;
    ~process() {
        wire.refuse(false);
        node_.reset();  // tells its sink
    }

    struct run {
        std::string schedule;
        bool on = false;     // the handler is at work
        bool asked = false;  // to stop
        bool sound = true;   // its process was never stopped, and it heeds
        instant ends{};      // unless it is asked before
        instant deaf_until{};
    };

    std::string const name;
    rota::manual_clock clock;
    rota::memory_transport wire;
    bool crashed = false;
    bool stopped = false;  // SIGSTOP
    bool leaving = false;
    bool left = false;
    instant leaving_since{};

    [[nodiscard]] bool awake() const { return !crashed && !stopped; }
    [[nodiscard]] std::vector<run> const& runs() const { return runs_; }
    [[nodiscard]] bool holds_valid(std::size_t slot) const { return locks_[slot].valid(); }
    [[nodiscard]] bool over() const { return machine_->done(); }

    void leave() {
        if (leaving) return;
        leaving = true;
        leaving_since = clock.now();
        halted_ = stopped;
        machine_->stop(clock.now());
    }
    void kill() {
        crashed = true;
        wire.refuse(true);
        for (auto& r : runs_) r.on = false;
    }
    void halt() {
        stopped = halted_ = true;
        for (auto& r : runs_) r.sound = false;
    }
    void trigger(std::string const& id) { (void)machine_->trigger(id, clock.now()); }
    void renounce() { (void)node_->renounce_leadership(); }

    /// What a process does in no time: as far as it is awake.
    void live() {
        if (!awake()) return;
        watch();
        if (!left && node_->next_tick() <= microseconds{}) (void)node_->tick();
        if (!left && !joined_ && clock.now() >= join_at_) {
            join_at_ = clock.now() + 500ms;
            joined_ = node_->join().has_value();
        }
        end_runs();
        for (int rounds = 0; machine_->due() <= clock.now(); ++rounds) {
            REQUIRE(rounds < 50);  // no busy loop
            carry_out(machine_->next(clock.now()));
        }
        watch();
    }

private:
    struct sink {
        process* of;
        void operator()(rota::event const& e) const {
            std::visit([this](auto const& held) { of->hear(held); }, e);
        }
    };
    using coordinator = rota::basic_coordinator<rota::memory_transport, rota::manual_clock, sink>;

    struct every_so_often final : rota::detail::trigger_port {
        rota::continuous trigger{.pause = 300ms};
        std::optional<microseconds> next_run(rota::schedule_times const& t) const override {
            return trigger.next_run(t);
        }
    };

    // ---------------------------------------------------------------- as worker_engine takes events

    void hear(rota::node_joined const& e) {
        self_ = e.node.incarnation;
        machine_->joined(clock.now());
    }
    void hear(rota::node_suspended const&) { machine_->suspended(); }
    void hear(rota::node_resumed const&) { machine_->resumed(clock.now()); }
    void hear(rota::node_lost const&) { machine_->gone(); }
    void hear(rota::node_left const&) { machine_->gone(); }
    void hear(rota::ownership_changed const& e) {
        if (e.to.incarnation == self_) {
            machine_->owned(e.schedule, e.generation, at());
        } else if (e.from.incarnation == self_) {
            machine_->lost(e.schedule);
        }
    }
    void hear(rota::handoff_requested const& e) {
        ++seen_.revoked;
        machine_->revoked(e.schedule);
    }
    void hear(rota::events_gap const&) { machine_->look_soon(clock.now()); }
    template <typename Other>
    void hear(Other const&) {}

    // ---------------------------------------------------------------- the thread that watches, and the handlers

    [[nodiscard]] rota::detail::clock_reading at() const { return {clock.now(), clock.now().time_since_epoch()}; }

    void watch() {
        auto const now = clock.now();
        for (auto s : machine_->expiring(now)) machine_->valid_until(s, now + locks_[s].remaining());
        for (auto const& order : machine_->stops(now)) {
            auto& r = runs_[order.slot];
            REQUIRE(r.on);
            REQUIRE_FALSE(r.asked);
            r.asked = true;
            ++seen_.asked;
            bool const deaf = random_.one_in(12);
            r.deaf_until = now + (deaf ? stop_grace * 3 : random_.up_to(stop_margin - 2 * step));
            if (deaf) r.sound = false;
        }
        for (std::size_t s = 0; s < runs_.size(); ++s) {
            // (A process that was stopped finds its locks gone.)
            if (runs_[s].on && runs_[s].sound && !runs_[s].asked) REQUIRE(locks_[s].remaining() > stop_margin);
        }
    }

    void end_runs() {
        auto const now = clock.now();
        for (std::uint32_t s = 0; s < runs_.size(); ++s) {
            auto& r = runs_[s];
            if (!r.on || now < (r.asked ? std::min(r.deaf_until, r.ends) : r.ends)) continue;
            r.on = false;
            machine_->ended(s, random_.one_in(5) ? std::optional<std::string>{"thrown"} : std::nullopt, at());
        }
    }

    void start(rota::detail::worker_actions::start const& a) {
        REQUIRE_FALSE(leaving);
        auto& r = runs_[a.slot];
        REQUIRE_FALSE(r.on);
        if (locks_[a.slot].remaining() <= stop_margin) {
            machine_->not_started(a.slot, at());
            return;
        }
        auto const token = locks_[a.slot].token();
        INFO(name << " starts " << a.schedule);
        REQUIRE(token > seen_.tokens[a.schedule]);
        seen_.tokens[a.schedule] = token;
        seen_.last_start[a.schedule] = store_.now();
        ++seen_.starts;
        auto const length = random_.one_in(6) ? 3s + random_.up_to(4s) : random_.up_to(600ms);
        r = {.schedule = a.schedule, .on = true, .ends = clock.now() + length};
    }

    // ---------------------------------------------------------------- the thread that talks to the group

    void carry_out(rota::detail::worker_actions const& a) {
        for (auto s : a.release) (void)locks_[s].release();
        for (auto const& one : a.starts) start(one);
        if (a.look) machine_->owns(node_->owned(), at());
        for (auto s : a.let_go) (void)locks_[s].release();
        if (a.take_no_more) {
            REQUIRE(leaving);
            ++seen_.took_no_more;
            (void)node_->set_attributes({.capacity = 0});
        }
        if (a.leave) {
            (void)node_->leave();
            left = true;
            if (!halted_) CHECK(clock.now() - leaving_since <= drain_budget + 2 * step);
        }
        for (auto s : a.extend) {
            REQUIRE(runs_[s].on);
            auto const extended = locks_[s].extend(3s);
            if (extended) {
                machine_->extended(s, clock.now() + locks_[s].remaining(), clock.now());
            } else {
                machine_->not_extended(s, extended.error(), clock.now());
            }
        }
        if (a.acquire.empty()) return;
        REQUIRE_FALSE(leaving);
        std::vector<std::string> names;
        for (auto const& wanted : a.acquire) names.push_back(wanted.schedule);
        auto granted = node_->try_lock_each(names, 3s);
        for (std::size_t i = 0; i < names.size(); ++i) {
            auto const s = a.acquire[i].slot;
            if (!granted[i]) {
                machine_->refused(s, granted[i].error(), at());
                continue;
            }
            locks_[s] = std::move(*granted[i]);
            machine_->granted(s, locks_[s].token(), clock.now() + locks_[s].remaining(), at());
        }
    }

    rota::memory_store& store_;
    dice& random_;
    history& seen_;
    every_so_often trigger_;
    std::unique_ptr<rota::detail::worker_machine<>> machine_;
    rota::fencing_token self_ = 0;
    bool joined_ = false;
    bool halted_ = false;  // while it was leaving
    instant join_at_{};
    std::unique_ptr<coordinator> node_;
    std::vector<rota::schedule_lock> locks_;  // after the coordinator: they go first
    std::vector<run> runs_;
};

class service {
public:
    explicit service(std::uint64_t seed) : random_{seed} {
        for (int i = 0; i < 3; ++i) begin();
        rota::basic_coordinator office{rota::options{.node_id = "office", .observer = true},
                                       rota::memory_transport{store_}, rota::manual_clock{}};
        std::vector<rota::schedule> list;
        for (auto const& id : ids()) list.push_back({.id = id});
        REQUIRE(office.register_schedules(list).all());
    }

    static std::vector<std::string> ids() {
        std::vector<std::string> list;
        for (int i = 0; i < 8; ++i) list.push_back("s" + std::to_string(i));
        return list;
    }

    void pass(microseconds time, bool with_faults) {
        for (microseconds left = time; left > microseconds{}; left -= step) {
            store_.advance(step);
            for (auto& p : processes_) p->clock.advance(step);
            if (with_faults) fault();
            for (auto& p : processes_) {
                p->live();
                look();
            }
        }
    }
    /// All that is broken is mended.
    void mend() {
        for (auto& p : processes_) {
            if (p->crashed) continue;
            p->wire.refuse(false);
            p->stopped = false;
        }
    }
    void all_ran_within(microseconds time) {
        for (auto const& id : ids()) {
            INFO(id);
            CHECK(store_.now() - seen.last_start[id] <= time);
        }
    }
    void stop_all() {
        for (auto& p : processes_) p->leave();
        pass(drain_budget + stop_grace * 4, false);
        for (auto& p : processes_) {
            if (p->awake()) CHECK(p->over());
        }
    }

    history seen;

private:
    void begin() {
        processes_.push_back(std::make_unique<process>("p" + std::to_string(++begun_), store_, random_, seen));
    }

    void fault() {
        if (!random_.one_in(40)) return;
        auto& p = *processes_[processes_.size() - 1 - random_.below(std::min<std::size_t>(processes_.size(), 4))];
        switch (random_.below(9)) {
            case 0: p.wire.refuse(true); break;
            case 1:
            case 2:
                if (!p.crashed) p.wire.refuse(false);
                break;
            case 3: p.wire.lose_replies(static_cast<unsigned>(random_.below(4))); break;
            case 4: p.halt(); break;
            case 5: p.stopped = false; break;
            case 6:
                if (random_.one_in(3)) {
                    p.kill();
                    begin();
                }
                break;
            case 7:
                if (random_.one_in(3) && p.awake() && !p.leaving) {
                    p.leave();
                    begin();
                }
                break;
            default:
                if (!p.awake() || p.left) break;
                p.trigger(ids()[random_.below(8)]);
                p.renounce();
        }
    }

    void look() {
        for (auto const& id : ids()) {
            int valid = 0;
            int sound = 0;
            std::string who;
            for (auto const& p : processes_) {
                if (!p->awake()) continue;
                for (std::size_t s = 0; s < p->runs().size(); ++s) {
                    auto const& r = p->runs()[s];
                    if (!r.on || r.schedule != id) continue;
                    who += " " + p->name;
                    valid += p->holds_valid(s);
                    sound += r.sound;
                }
            }
            if (valid < 2 && sound < 2) continue;
            INFO(id << " is run by" << who);
            REQUIRE(valid < 2);
            REQUIRE(sound < 2);
        }
    }

    rota::memory_store store_{rota::manual_time};
    dice random_;
    int begun_ = 0;
    std::vector<std::unique_ptr<process>> processes_;
};

}  // namespace

TEST_CASE("workers: whatever befalls them, one run at a time, under rising tokens; and all is run once it is over") {
    history total;
    for (std::uint64_t seed = 1; seed <= rota_test::rounds(std::uint64_t{40}); ++seed) {
        INFO("seed " << seed);
        service all{seed};
        all.pass(60s, true);
        all.mend();
        all.pass(25s, false);
        all.all_ran_within(12s);
        all.stop_all();
        total.starts += all.seen.starts;
        total.asked += all.seen.asked;
        total.revoked += all.seen.revoked;
        total.took_no_more += all.seen.took_no_more;
    }
    // It has been put to the test.
    CHECK(total.starts > rota_test::rounds(40) * 100);
    CHECK(total.asked > rota_test::rounds(40) * 3);
    CHECK(total.revoked > rota_test::rounds(40));
    CHECK(total.took_no_more > rota_test::rounds(40) / 2);
}
