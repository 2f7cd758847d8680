// The worker's scheduling, without threads or time of its own: facts in, actions out.
#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <rota/detail/worker_machine.hpp>
#include <rota/trigger/continuous.hpp>
#include <rota/trigger/every.hpp>
#include <rota/trigger/on_demand.hpp>

#include "../catch.hpp"

namespace worker_machine_test {

using namespace std::chrono_literals;
using rota::errc;
using rota::instant;
using rota::microseconds;
using rota::run_report;
using rota::stop_cause;
using what = rota::run_report::what;

namespace {

template <typename Trigger>
struct port final : rota::detail::trigger_port {
    Trigger trigger;
    explicit port(Trigger t) : trigger{t} {}
    std::optional<microseconds> next_run(rota::schedule_times const& t) const override { return trigger.next_run(t); }
};

rota::worker_options rules(std::uint32_t threads = 2) {
    return {.threads = threads,
            .lock_ttl = 3s,
            .stop_margin = 500ms,
            .stop_grace = 2s,
            .drain_budget = 10s,
            .retry = {.attempts = 3, .first = 1s, .most = 3s}};
}

/// A machine whose wishes are looked at one kind at a time.
template <typename Trigger = rota::continuous>
struct script {
    port<Trigger> trigger;
    rota::detail::worker_machine<> machine;
    instant now{1h};
    rota::detail::worker_actions did{};

    explicit script(rota::worker_options o = rules(), Trigger t = {}, microseconds handoff_deadline = 30s)
        : trigger{t},
          machine{o, 1s, handoff_deadline, trigger, 7} {
        machine.joined(now);
        next();
        CHECK(did.look);
        machine.owns(std::vector<rota::owned_schedule>{}, at());
    }

    [[nodiscard]] rota::detail::clock_reading at() const { return {now, now.time_since_epoch()}; }
    void pass(microseconds by) { now += by; }
    auto& next() {
        did = machine.next(now);
        return did;
    }
    void own(std::string const& id, rota::fencing_token generation = 1) { machine.owned(id, generation, at()); }

    /// Takes the lock that the machine must want next, and lets it start the run. Returns the slot.
    std::uint32_t start(std::string const& id, rota::fencing_token token = 10, microseconds valid = 2900ms) {
        next();
        REQUIRE(did.acquire.size() == 1);
        CHECK(did.acquire.front().schedule == id);
        auto const slot = did.acquire.front().slot;
        machine.granted(slot, token, now + valid, at());
        next();
        REQUIRE(did.starts.size() == 1);
        CHECK(did.starts.front().schedule == id);
        CHECK(did.starts.front().slot == slot);
        return slot;
    }
    void end(std::uint32_t slot, std::optional<std::string> failure = {}) {
        machine.ended(slot, std::move(failure), at());
    }
    [[nodiscard]] std::vector<run_report> reports(what kind) {
        std::vector<run_report> found;
        for (auto const& r : did.reports) {
            if (r.kind == kind) found.push_back(r);
        }
        return found;
    }
    [[nodiscard]] std::vector<std::string> wanted() {
        std::vector<std::string> ids;
        for (auto const& a : next().acquire) ids.push_back(a.schedule);
        return ids;
    }
};

using names = std::vector<std::string>;

}  // namespace

TEST_CASE("what a node owns is locked in one batch as it falls due, started under the lock, released at its end") {
    script s{rules(3)};
    s.own("a");
    s.own("b");
    CHECK(s.machine.due() <= s.now);

    s.next();
    REQUIRE(s.did.acquire.size() == 2);
    for (auto const& a : s.did.acquire) s.machine.granted(a.slot, 10 + a.slot, s.now + 2900ms, s.at());
    s.next();
    REQUIRE(s.did.starts.size() == 2);
    CHECK(s.did.starts[0].schedule == "a");
    CHECK(s.did.starts[0].generation == 1);
    CHECK(s.did.starts[0].attempt == 1);
    CHECK(s.reports(what::started).size() == 2);
    CHECK(s.next().empty());

    s.pass(10ms);
    s.end(0);
    s.end(1);
    CHECK(s.machine.due() == instant::min());
    s.next();
    CHECK(s.did.release.size() == 2);
    REQUIRE(s.reports(what::finished).size() == 2);
    CHECK(s.reports(what::finished).front().took == 10ms);
    CHECK(s.did.acquire.empty());

    INFO("and again after the pause");
    CHECK(s.machine.due() == s.now + 1s - 10ms);  // of the look, a second after the first
    s.pass(1s);
    CHECK(s.wanted() == names{"a", "b"});
}

TEST_CASE("never more at once than there are threads: the first to fall due come first") {
    script s{rules(2)};
    for (auto id : {"a", "b", "c"}) s.own(id);
    s.next();
    REQUIRE(s.did.acquire.size() == 2);
    for (auto const& a : s.did.acquire) s.machine.granted(a.slot, 1, s.now + 2900ms, s.at());
    s.next();
    CHECK(s.did.acquire.empty());
    s.end(0);
    CHECK(s.wanted() == names{"c"});
}

TEST_CASE("locks are extended at half their time, all that are near it in one batch, and never after the run") {
    script s{rules(3)};
    s.own("a");
    auto const a = s.start("a");
    s.pass(200ms);
    s.own("b");
    auto const b = s.start("b", 11);
    s.pass(600ms);
    s.own("c");
    auto const c = s.start("c", 12);

    s.pass(699ms);
    CHECK(s.next().extend.empty());
    s.pass(1ms);  // half of the ttl after a's
    CHECK(s.next().extend == std::vector<std::uint32_t>{a, b});
    s.machine.extended(a, s.now + 2900ms, s.now);
    s.machine.not_extended(b, rota::error{errc::unavailable}, s.now);

    INFO("a failure is repeated soon");
    CHECK(s.machine.due() <= s.now + 200ms);
    s.pass(200ms);
    CHECK(s.next().extend == std::vector<std::uint32_t>{b});
    s.machine.extended(b, s.now + 2900ms, s.now);

    s.end(a);
    s.end(b);
    s.end(c);
    CHECK(s.next().release.size() == 3);
    for (int i = 0; i < 100; ++i) {
        s.pass(9ms);
        CHECK(s.next().extend.empty());
    }
}

TEST_CASE("a lock that is lost is not extended again; the run is asked to stop before its validity ends") {
    script s;
    s.own("a");
    auto const slot = s.start("a");

    s.pass(1500ms);
    REQUIRE(s.next().extend.size() == 1);
    s.machine.not_extended(slot, rota::error{errc::not_owner}, s.now);  // handed over, and the time allowed is up
    CHECK(s.next().extend.empty());
    CHECK(s.machine.next_stop() == s.now + 900ms);
    CHECK(s.machine.stops(s.now + 899ms).empty());

    s.pass(900ms);
    CHECK(s.machine.expiring(s.now) == std::vector<std::uint32_t>{slot});
    s.machine.valid_until(slot, s.now + 700ms);  // the node was heard of since
    CHECK(s.machine.stops(s.now).empty());
    s.pass(200ms);
    auto const stops = s.machine.stops(s.now);
    REQUIRE(stops.size() == 1);
    CHECK(stops.front().cause == stop_cause::lock_ending);
    CHECK(s.machine.stops(s.now).empty());
    s.next();
    CHECK(s.reports(what::stop_requested).size() == 1);
    CHECK(s.did.extend.empty());

    s.end(slot);
    CHECK(s.next().release == std::vector<std::uint32_t>{slot});
}

TEST_CASE("a suspended node starts nothing, and asks its runs to stop once their handles say so") {
    script s;
    s.own("a");
    s.own("b");
    s.next();
    REQUIRE(s.did.acquire.size() == 2);
    s.machine.granted(0, 10, s.now + 2900ms, s.at());
    s.machine.suspended();
    s.machine.granted(1, 11, s.now + 2900ms, s.at());
    s.next();
    CHECK(s.did.starts.empty());
    CHECK(s.did.release.size() == 2);
    s.pass(1min);
    CHECK(s.next().empty());
    CHECK(s.machine.due() == instant::max());

    s.machine.resumed(s.now);
    s.next();
    CHECK(s.did.look);
    REQUIRE(s.did.acquire.size() == 2);
    s.machine.granted(0, 12, s.now + 2900ms, s.at());
    s.machine.refused(1, rota::error{errc::unavailable}, s.at());
    REQUIRE(s.next().starts.size() == 1);
    CHECK(s.did.acquire.empty());  // what ails the server ails all: a pause
    s.machine.suspended();
    CHECK(s.machine.next_stop() == instant::min());
    REQUIRE(s.machine.expiring(s.now).size() == 1);
    s.machine.valid_until(0, s.now);
    CHECK(s.machine.stops(s.now).size() == 1);
}

TEST_CASE("of a schedule that is being handed over nothing new is started; the run in hand goes on") {
    script s;
    s.own("a");
    auto const slot = s.start("a");
    s.machine.revoked("a");
    s.pass(1500ms);
    CHECK(s.next().extend ==
          std::vector<std::uint32_t>{slot});  // within handoff_deadline it is the server that decides
    s.machine.extended(slot, s.now + 2900ms, s.now);
    CHECK(s.machine.stops(s.now).empty());
    s.end(slot);
    s.next();
    CHECK(s.did.release.size() == 1);
    s.pass(1h);
    CHECK(s.next().acquire.empty());
    CHECK_FALSE(s.machine.trigger("a", s.now));

    SECTION("once it is gone it is forgotten") {
        s.machine.lost("a");
        CHECK(s.next().acquire.empty());
    }
    SECTION("a hand-off that comes to nothing is found by looking, and the schedule runs on") {
        s.machine.owns(std::vector<rota::owned_schedule>{{.id = "a", .generation = 1, .handing_over = true}}, s.at());
        CHECK(s.next().acquire.empty());
        s.machine.owns(std::vector<rota::owned_schedule>{{.id = "a", .generation = 1}}, s.at());
        CHECK(s.wanted() == names{"a"});
    }
    SECTION("given back under a new generation it runs under that") {
        s.machine.lost("a");
        s.own("a", 5);
        (void)s.start("a");
        CHECK(s.did.starts.front().generation == 5);
    }
}

TEST_CASE("a lock granted for a schedule that went meanwhile is given back unused") {
    script s;
    s.own("a");
    s.next();
    REQUIRE(s.did.acquire.size() == 1);
    SECTION("lost") { s.machine.lost("a"); }
    SECTION("revoked") { s.machine.revoked("a"); }
    SECTION("stopped") { s.machine.stop(s.now); }
    s.machine.granted(0, 10, s.now + 2900ms, s.at());
    s.next();
    CHECK(s.did.starts.empty());
    CHECK(s.did.release == std::vector<std::uint32_t>{0});
    CHECK(s.next().release.empty());
}

TEST_CASE("a schedule lost during its run and owned again is not run twice at once") {
    script s;
    s.own("a");
    auto const slot = s.start("a");
    s.machine.lost("a");
    s.own("a", 2);
    CHECK(s.next().acquire.empty());
    s.end(slot);
    CHECK(s.wanted() == names{"a"});
}

TEST_CASE("a schedule that another holder still locks is tried again soon, and said once") {
    script s;
    s.own("a");
    for (int i = 0; i < 3; ++i) {
        s.next();
        REQUIRE(s.did.acquire.size() == 1);
        s.machine.refused(0, rota::error{errc::locked_by_other, "\"a\", for 900 ms at most"}, s.at());
        s.next();
        CHECK(s.reports(what::refused).size() == (i == 0 ? 1 : 0));
        CHECK(s.did.acquire.empty());
        s.pass(200ms);
    }
    (void)s.start("a");
}

TEST_CASE("a failed run is repeated after a growing pause, so many times; then it waits for its regular time") {
    script s{rules(), rota::continuous{.pause = 20s}};
    s.own("a");
    auto least = 500ms;
    for (std::uint32_t attempt = 1; attempt < 3; ++attempt) {
        auto const slot = s.start("a");
        CHECK(s.did.starts.front().attempt == attempt);
        s.end(slot, "the feed is down");
        s.next();
        auto const told = s.reports(what::failed);
        REQUIRE(told.size() == 1);
        CHECK(told.front().why == "the feed is down");
        CHECK(told.front().attempt == attempt);
        REQUIRE(told.front().retry_in.has_value());
        CHECK(*told.front().retry_in >= least);
        CHECK(*told.front().retry_in <= 2 * least);
        s.pass(*told.front().retry_in - 1us);
        CHECK(s.next().acquire.empty());
        s.pass(1us);
        least *= 2;
    }
    auto const slot = s.start("a");
    s.end(slot, "still");
    s.next();
    REQUIRE(s.reports(what::failed).size() == 1);
    CHECK_FALSE(s.reports(what::failed).front().retry_in.has_value());
    s.pass(20s - 1us);
    CHECK(s.next().acquire.empty());
    s.pass(1us);
    (void)s.start("a");
    CHECK(s.did.starts.front().attempt == 1);
}

TEST_CASE("a run that takes longer than allowed is asked to stop; one that does not heed loses its lock") {
    auto o = rules();
    o.max_run_time = 1s;
    script s{o};
    s.own("a");
    auto const slot = s.start("a");
    CHECK(s.machine.next_stop() == s.now + 1s);
    s.pass(1s);
    REQUIRE(s.machine.stops(s.now).size() == 1);
    s.next();
    REQUIRE(s.reports(what::stop_requested).size() == 1);
    CHECK(s.reports(what::stop_requested).front().cause == stop_cause::max_run_time);

    s.pass(500ms);
    CHECK(s.next().extend.size() == 1);  // it may end in order
    s.machine.extended(slot, s.now + 2900ms, s.now);
    s.pass(1499ms);
    s.next();
    CHECK(s.did.let_go.empty());
    s.pass(1ms);
    s.next();
    CHECK(s.did.let_go == std::vector<std::uint32_t>{slot});
    CHECK(s.reports(what::stop_ignored).size() == 1);

    INFO("it keeps thread and schedule, and is neither extended nor released any more");
    s.pass(1min);
    s.next();
    CHECK(s.did.extend.empty());
    CHECK(s.did.acquire.empty());
    s.end(slot);
    s.next();
    CHECK(s.did.release.empty());
    CHECK(s.reports(what::finished).size() == 1);
    s.pass(1s);
    CHECK(s.wanted() == names{"a"});
}

TEST_CASE("stop: while runs go on, what is idle may go to others, as early as that cuts no run short") {
    auto const handoff_deadline = GENERATE(microseconds{30s}, microseconds{4s});  // the budget is 10 s
    auto one = rules(1);
    one.lock_ttl = 120s;
    script<> s{one, {}, handoff_deadline};
    s.own("a");
    auto const slot = s.start("a", 10, 120s);
    bool const any_idle = GENERATE(true, false);
    if (any_idle) s.own("b");
    s.machine.stop(s.now);
    auto const from = s.now + (handoff_deadline < 10s ? microseconds{6s} : microseconds{});
    if (!any_idle) {
        CHECK_FALSE(s.next().take_no_more);
        CHECK(s.machine.due() > from);
        s.own("b");  // the leader could not know
    }
    if (s.now < from) {
        CHECK_FALSE(s.next().take_no_more);
        CHECK(s.machine.due() == from);
        s.now = from;
    }
    SECTION("once") {
        CHECK(s.next().take_no_more);
        CHECK(s.machine.due() > s.now);
        s.pass(1s);
        CHECK_FALSE(s.next().take_no_more);
        s.machine.revoked("a");
        s.machine.revoked("b");
        s.machine.lost("b");
        CHECK(s.machine.stops(s.now).empty());
        CHECK_FALSE(s.next().leave);
        s.end(slot);
        CHECK(s.next().leave);
    }
    SECTION("not without contact") {
        s.machine.suspended();
        CHECK_FALSE(s.next().take_no_more);
        s.machine.resumed(s.now);
        CHECK(s.next().take_no_more);
    }
    SECTION("not when there is nobody to wait for") {
        s.end(slot);
        s.next();
        CHECK(s.did.leave);
        CHECK_FALSE(s.did.take_no_more);
    }
}

TEST_CASE("stop: runs may end within the budget, are asked near its end, and cut off at it") {
    script s;
    s.own("a");
    s.own("b");
    s.next();
    for (auto const& a : s.did.acquire) s.machine.granted(a.slot, 10, s.now + 2900ms, s.at());
    s.next();
    s.machine.stop(s.now);
    CHECK(s.next().empty());

    SECTION("all end: it leaves at once") {
        s.end(0);
        CHECK_FALSE(s.next().leave);
        s.end(1);
        s.next();
        CHECK(s.did.release.size() == 1);
        CHECK(s.did.leave);
        CHECK(s.machine.done());
    }
    SECTION("one ends when asked, one does not") {
        for (int i = 0; i < 80; ++i) {
            s.pass(100ms);
            s.next();
            for (auto slot : s.did.extend) s.machine.extended(slot, s.now + 2900ms, s.now);
            if (i < 79) CHECK(s.machine.stops(s.now).empty());
        }
        auto const stops = s.machine.stops(s.now);  // 2 s before the end
        REQUIRE(stops.size() == 2);
        CHECK(stops.front().cause == stop_cause::shutting_down);
        s.end(0);
        CHECK_FALSE(s.next().leave);
        s.pass(2s - 1us);
        CHECK_FALSE(s.next().leave);
        s.pass(1us);
        s.next();
        CHECK(s.did.leave);
        CHECK(s.reports(what::stop_ignored).size() == 1);
        CHECK(s.did.extend.empty());
        CHECK_FALSE(s.machine.done());
        s.pass(10s);
        s.end(1);
        s.next();
        CHECK(s.did.release.empty());
        CHECK(s.machine.done());
    }
}

TEST_CASE("triggers: on demand, also during a run, and only where the schedule is owned") {
    script s{rules(), rota::on_demand{}};
    CHECK_FALSE(s.machine.trigger("a", s.now));
    s.own("a");
    CHECK(s.next().acquire.empty());
    CHECK(s.machine.trigger("a", s.now));
    CHECK(s.machine.trigger("a", s.now));
    auto const slot = s.start("a");
    CHECK(s.machine.trigger("a", s.now));
    CHECK(s.machine.trigger("a", s.now));
    CHECK(s.next().acquire.empty());
    s.end(slot);
    auto const again = s.start("a");  // once for all that was asked meanwhile
    s.end(again);
    s.pass(1h);
    CHECK(s.next().acquire.empty());
}

TEST_CASE("a run that the group asks for is said to be done once it has ended by itself") {
    script<rota::on_demand> s{rules(), {}};
    s.own("a");
    CHECK(s.wanted().empty());
    s.machine.triggered("a", 50, s.now);
    s.machine.triggered("a", 50, s.now);  // told twice
    s.machine.triggered("strange", 50, s.now);
    auto slot = s.start("a");
    SECTION("it ends") {
        s.end(slot);
        s.next();
        REQUIRE(s.did.done.size() == 1);
        CHECK(s.did.done.front().schedule == "a");
        CHECK(s.did.done.front().token == 50);
        CHECK(s.did.acquire.empty());
        SECTION("what cannot be told is told later") {
            s.machine.not_told(s.did.done, s.now);
            CHECK(s.machine.due() == s.now + 1s);
            CHECK(s.next().done.empty());
            s.pass(1s);
            CHECK(s.next().done.size() == 1);
            CHECK(s.machine.due() == instant::max());
        }
    }
    SECTION("asked again meanwhile: once more, and each is told") {
        s.machine.triggered("a", 60, s.now);
        s.machine.triggered("a", 70, s.now);
        s.end(slot);
        slot = s.start("a");
        s.end(slot);
        REQUIRE(s.next().done.size() == 1);
        CHECK(s.did.done.front().token == 70);
        CHECK(s.wanted().empty());
    }
    SECTION("it fails: done only when it is not tried again") {
        for (int attempt = 1; attempt < 3; ++attempt) {
            s.end(slot, "no");
            CHECK(s.next().done.empty());
            s.pass(4s);
            slot = s.start("a");
        }
        s.end(slot, "no");
        CHECK(s.next().done.size() == 1);
    }
    SECTION("its lock ends before: not done, and tried again") {
        s.pass(2500ms);
        for (auto const expiring : s.machine.expiring(s.now)) s.machine.valid_until(expiring, s.now);
        REQUIRE(s.machine.stops(s.now).size() == 1);
        s.end(slot);
        CHECK(s.next().done.empty());
        s.pass(1s);
        CHECK(s.wanted() == names{"a"});
    }
    SECTION("cut off by the end of the node: the next owner is asked") {
        s.machine.stop(s.now);
        s.pass(9s);
        for (auto const& order : s.machine.stops(s.now)) CHECK(order.cause != stop_cause::none);
        s.end(slot);
        CHECK(s.next().done.empty());
    }
    SECTION("the schedule goes meanwhile, and comes again") {
        s.machine.lost("a");
        s.end(slot);
        REQUIRE(s.next().done.size() == 1);
        CHECK(s.did.done.front().token == 50);
    }
}

TEST_CASE("a run that the group asks for while the schedule is being handed over, which is called off") {
    script<rota::on_demand> s{rules(), {}};
    s.own("a");
    s.machine.revoked("a");
    s.machine.triggered("a", 50, s.now);
    CHECK(s.wanted().empty());
    s.own("a");
    auto const slot = s.start("a");
    SECTION("asked again during a run that is to be the last one here") {
        s.machine.revoked("a");
        s.machine.triggered("a", 60, s.now);
        s.own("a");
        s.end(slot);
        auto const again = s.start("a");
        s.end(again);
        REQUIRE(s.next().done.size() == 1);
        CHECK(s.did.done.front().token == 60);
    }
    SECTION("what is owned still shows it after it is done") {
        s.end(slot);
        CHECK(s.next().done.size() == 1);
        s.machine.owns(std::vector<rota::owned_schedule>{{.id = "a", .generation = 1, .triggered = 50}}, s.at());
        CHECK(s.wanted().empty());
    }
}

TEST_CASE("a run that was asked for before the schedule came here") {
    script<rota::on_demand> s{rules(), {}};
    s.machine.owns(std::vector<rota::owned_schedule>{{.id = "a", .generation = 5, .triggered = 50}, {.id = "b"}},
                   s.at());
    auto const slot = s.start("a");
    s.end(slot);
    CHECK(s.next().done.size() == 1);
    CHECK(s.wanted().empty());
    // Seen again before the group has taken it down.
    s.machine.owns(std::vector<rota::owned_schedule>{{.id = "a", .generation = 5}}, s.at());
    CHECK(s.wanted().empty());
}

TEST_CASE("every: once per period, at a phase that only the id decides") {
    rota::every const trigger{10s};
    std::set<microseconds> phases;
    for (int i = 0; i < 100; ++i) {
        auto const id = "feed-" + std::to_string(i);
        rota::schedule_times t{.schedule = id, .now = instant{5h}, .wall = 1'000'000s};
        auto const first = trigger.next_run(t).value();
        CHECK(first > 0us);
        CHECK(first <= 10s);
        phases.insert((t.wall + first) % 10s);
        // Elsewhere, later: the same phase.
        rota::schedule_times const other{.schedule = id, .now = instant{1min}, .wall = 1'234'567s};
        CHECK((other.wall + trigger.next_run(other).value()) % 10s == (t.wall + first) % 10s);
        // After a run at that time: the next period, whether the wall clock was set back a little or not.
        t.now += first;
        t.wall += first;
        t.last_start = t.now;
        t.now += 3ms;
        t.wall += 3ms;
        CHECK(trigger.next_run(t).value() == 10s - 3ms);
        t.wall -= 1s;
        CHECK(trigger.next_run(t).value() == 11s - 3ms);
    }
    CHECK(phases.size() > 95);
    CHECK(trigger.and_when_acquired().next_run({.schedule = "a"}) == 0us);
    CHECK_THROWS_AS(rota::every{0s}, std::logic_error);
}

TEST_CASE("worker options are checked, each named with its value and rule") {
    rota::options const node{.node_id = "a"};
    CHECK(rota::detail::check({}, node));
    auto const why = [&](rota::worker_options o) {
        auto const r = rota::detail::check(o, node);
        return r ? std::string{} : r.error().detail;
    };
    CHECK(rota::detail::check({}, {.node_id = "a", .observer = true}).error().detail.find("options::observer") == 0);
    CHECK(why({.threads = 1001}) == "threads is 1001, must be at most 1000");
    CHECK(why({.lock_ttl = 1ms}).find("lock_ttl is 1 ms") == 0);
    CHECK(why({.lock_ttl = 100ms}).find("half of it must be more than safety_margin (50 ms)") != std::string::npos);
    CHECK(why({.stop_margin = 2s}).find("stop_margin (2 s)") != std::string::npos);
    CHECK(why({.max_run_time = -1s}).find("max_run_time") == 0);
    CHECK(why({.stop_grace = 0s + 1us}).find("stop_grace is 1 us") == 0);
    CHECK(why({.drain_budget = 48h}).find("drain_budget is 48 h") == 0);
    CHECK(why({.retry = {.attempts = 0}}) == "retry.attempts is 0, must be 1 .. 1000");
    CHECK(why({.retry = {.first = 2min}}).find("retry.most is 60 s") == 0);
}

namespace {

/// Anything may happen, in any order: what must never come of it?
class storm {
public:
    explicit storm(std::uint64_t seed)
        : random_{seed},
          threads_{1 + static_cast<std::uint32_t>(below(4))},
          machine_{options(), 1s, 30s, trigger_, seed},
          slots_(threads_) {
        machine_.joined(now_);
    }

    void run(int steps) {
        for (int i = 0; i < steps && !machine_.done(); ++i) {
            happen();
            carry_out();
            now_ += microseconds{static_cast<microseconds::rep>(below(3) == 0 ? below(400'000) : below(3'000))};
            watch();
            if (i == steps - 1000) stop();
        }
        // All handlers return in the end, and that is the end.
        for (int i = 0; i < 100 && !machine_.done(); ++i) {
            for (std::uint32_t s = 0; s < threads_; ++s) {
                if (slots_[s].runs) end(s);
            }
            now_ += 1s;
            watch();
            carry_out();
        }
        CHECK(machine_.done());
        CHECK(granted_ == given_up_);
        CHECK(left_ == 1);
    }
    [[nodiscard]] std::uint64_t starts() const { return starts_; }
    [[nodiscard]] std::uint64_t stopped_in_time() const { return stopped_in_time_; }

private:
    struct slot {
        std::string schedule;
        bool holds = false;  // the lock
        bool runs = false;   // the handler
        bool asked = false;
        instant asked_at{};
        instant valid_until{};
    };

    rota::worker_options options() {
        auto o = rules(threads_);
        o.max_run_time = below(2) == 0 ? 0s : 4s;
        return o;
    }
    std::uint64_t below(std::uint64_t limit) {
        random_ = rota::detail::mix(random_ + 0x9e3779b97f4a7c15U);
        return random_ % limit;
    }
    std::string some() { return std::string(1, static_cast<char>('a' + below(8))); }
    [[nodiscard]] rota::detail::clock_reading at() const { return {now_, now_.time_since_epoch()}; }

    void happen() {
        auto const id = some();
        switch (below(16)) {
            case 0:
            case 1:
            case 2:
                owned_[id] = ++generation_;
                revoked_.erase(id);
                machine_.owned(id, generation_, at());
                break;
            case 3:
                owned_.erase(id);
                revoked_.erase(id);
                machine_.lost(id);
                break;
            case 4:
                if (owned_.count(id) != 0) revoked_.insert(id);
                machine_.revoked(id);
                break;
            case 5: CHECK(machine_.trigger(id, now_) == (!stopped_ && owned_.count(id) > revoked_.count(id))); break;
            case 6:
                if (below(6) != 0) break;
                contact_ = !contact_;
                contact_ ? machine_.resumed(now_) : machine_.suspended();
                break;
            case 7:
                if (below(20) != 0) break;
                owned_.clear();
                revoked_.clear();
                contact_ = false;
                machine_.gone();
                for (auto& s : slots_) s.valid_until = std::min(s.valid_until, now_);
                break;
            case 8:
                if (!contact_ && !stopped_) contact_ = true, machine_.joined(now_);
                break;
            case 9:  // the handlers that heed
                for (std::uint32_t s = 0; s < threads_; ++s) {
                    if (slots_[s].runs && slots_[s].asked && below(4) == 0) end(s);
                }
                break;
            default:
                if (auto const s = static_cast<std::uint32_t>(below(threads_)); slots_[s].runs && below(12) == 0)
                    end(s);
        }
    }

    void end(std::uint32_t s) {
        slots_[s].runs = false;
        machine_.ended(s, below(3) == 0 ? std::optional<std::string>{"x"} : std::nullopt, at());
    }
    void stop() {
        machine_.stop(now_);
        if (!stopped_) stopped_at_ = now_;
        stopped_ = true;
    }

    // As the thread that watches does: it comes in time.
    void watch() {
        for (auto s : machine_.expiring(now_)) machine_.valid_until(s, slots_[s].valid_until);
        for (auto const& order : machine_.stops(now_)) {
            auto& s = slots_[order.slot];
            REQUIRE(s.runs);
            REQUIRE_FALSE(s.asked);
            s.asked = true;
            s.asked_at = now_;
            if (now_ < s.valid_until) ++stopped_in_time_;
            if (order.cause == stop_cause::shutting_down) REQUIRE(now_ >= stopped_at_ + 8s);
        }
        for (auto const& s : slots_) {
            if (s.runs && s.holds && !s.asked) REQUIRE(now_ + 500ms < s.valid_until);
        }
        REQUIRE(machine_.next_stop() > now_);
    }

    void carry_out() {
        for (int rounds = 0; machine_.due() <= now_; ++rounds) {
            REQUIRE(rounds < 20);  // no busy loop
            auto const a = machine_.next(now_);
            for (auto s : a.release) give_up(s, false);
            for (auto s : a.let_go) {
                REQUIRE(now_ >= slots_[s].asked_at + 2s);
                give_up(s, true);
            }
            if (a.take_no_more) {
                REQUIRE(stopped_);
                REQUIRE(std::exchange(takes_more_, false));
                REQUIRE(left_ == 0);
            }
            if (a.leave) {
                ++left_;
                for (auto& s : slots_) given_up_ += std::exchange(s.holds, false) ? 1 : 0;
            }
            if (a.look) {
                std::vector<rota::owned_schedule> list;
                for (auto const& [id, generation] : owned_) {
                    list.push_back({.id = id, .generation = generation, .handing_over = revoked_.count(id) != 0});
                }
                machine_.owns(list, at());
            }
            for (auto s : a.extend) {
                REQUIRE(slots_[s].runs);
                REQUIRE(slots_[s].holds);
                REQUIRE(left_ == 0);
                if (!contact_ || below(5) == 0) {
                    machine_.not_extended(s, rota::error{below(3) == 0 ? errc::lock_lost : errc::unavailable}, now_);
                } else {
                    slots_[s].valid_until = now_ + 2900ms;
                    machine_.extended(s, slots_[s].valid_until, now_);
                }
            }
            for (auto const& s : a.starts) start(s);
            for (auto const& wanted : a.acquire) {
                REQUIRE_FALSE(stopped_);
                REQUIRE(contact_);
                REQUIRE(owned_.count(wanted.schedule) == 1);
                REQUIRE(revoked_.count(wanted.schedule) == 0);
            }
            for (auto const& wanted : a.acquire) acquire(wanted);
            for (auto const& r : a.reports) {
                if (!r.retry_in) continue;
                REQUIRE(*r.retry_in >= 500ms);
                REQUIRE(*r.retry_in <= 3s);
                REQUIRE(r.attempt < 3);
            }
        }
    }

    void acquire(rota::detail::worker_actions::acquisition const& a) {
        for (auto const& s : slots_) REQUIRE((s.schedule != a.schedule || (!s.holds && !s.runs)));
        auto& s = slots_[a.slot];
        REQUIRE_FALSE(s.holds);
        REQUIRE_FALSE(s.runs);
        s = {.schedule = a.schedule};
        auto const fate = below(10);
        if (fate == 0) {
            machine_.refused(a.slot, rota::error{errc::locked_by_other}, at());
        } else if (fate == 1) {
            machine_.refused(a.slot, rota::error{errc::unavailable}, at());
        } else if (fate == 2) {
            machine_.refused(a.slot, rota::error{errc::not_owner}, at());
        } else {
            if (below(30) == 0) stop_in_between();
            s.holds = true;
            ++granted_;
            s.valid_until = now_ + (below(10) == 0 ? 400ms : 2900ms);
            machine_.granted(a.slot, ++generation_, s.valid_until, at());
        }
    }
    void stop_in_between() {
        auto const id = some();
        owned_.erase(id);
        revoked_.erase(id);
        machine_.lost(id);
    }

    void start(rota::detail::worker_actions::start const& a) {
        auto& s = slots_[a.slot];
        REQUIRE_FALSE(stopped_);
        REQUIRE(s.schedule == a.schedule);
        REQUIRE(s.holds);
        REQUIRE_FALSE(s.runs);
        REQUIRE(owned_.count(a.schedule) == 1);
        REQUIRE(revoked_.count(a.schedule) == 0);
        REQUIRE(a.attempt >= 1);
        REQUIRE(a.attempt <= 3);
        if (below(20) == 0) {
            machine_.not_started(a.slot, at());
            return;
        }
        s.runs = true;
        ++starts_;
    }

    void give_up(std::uint32_t s, bool running) {
        REQUIRE(slots_[s].holds);
        REQUIRE(slots_[s].runs == running);
        slots_[s].holds = false;
        ++given_up_;
    }

    std::uint64_t random_;
    port<rota::continuous> trigger_{rota::continuous{.pause = 50ms}};
    std::uint32_t threads_;
    rota::detail::worker_machine<> machine_;
    instant now_{1h};
    std::map<std::string, rota::fencing_token> owned_;
    std::set<std::string> revoked_;
    std::vector<slot> slots_;
    bool contact_ = true;
    bool stopped_ = false;
    instant stopped_at_{};
    int left_ = 0;
    bool takes_more_ = true;
    rota::fencing_token generation_ = 0;
    std::uint64_t granted_ = 0;
    std::uint64_t given_up_ = 0;
    std::uint64_t starts_ = 0;
    std::uint64_t stopped_in_time_ = 0;
};

}  // namespace

TEST_CASE(
    "whatever happens: one run per schedule, no more than threads, none started out of order, every lock given up "
    "once") {
    std::uint64_t starts = 0;
    std::uint64_t stopped = 0;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        INFO("seed " << seed);
        storm s{seed};
        s.run(4000);
        starts += s.starts();
        stopped += s.stopped_in_time();
    }
    CHECK(starts > 10'000);
    CHECK(stopped > 1'000);
}

}  // namespace worker_machine_test
