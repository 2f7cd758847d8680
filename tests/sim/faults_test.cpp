// What goes wrong in a simulation goes wrong as it does in a data centre, each kind for itself; and what a sweep must
// have met, it has met.
#include <rota/sim.hpp>

#include "../catch.hpp"

using namespace std::chrono_literals;
using namespace rota;
using rota_test::contains;
using sim::sight;

namespace {

// A group at rest, under all invariants.
struct group : sim::world {
    explicit group(sim::world_settings s = {}) : world{with_nodes(std::move(s))} {
        sim::check_all(*this);
        register_schedules(9);
        REQUIRE(run_until(sim::converged, 30s));
        run_for(5s);
    }
    static sim::world_settings with_nodes(sim::world_settings s) {
        s.nodes = 3;
        return s;
    }
    // How long until every schedule is owned by one of the living, from now.
    microseconds time_to_own_all(microseconds limit = 60s) {
        auto const from = now();
        auto const all_owned = [](sim::world& w) {
            std::size_t owned = 0;
            for (std::uint32_t i = 0; i < w.size(); ++i) owned += w.node(i).owned().size();
            return owned == w.schedules();
        };
        REQUIRE(run_until(all_owned, limit));
        return now() - from;
    }
    bool somebody_leads() {
        for (std::uint32_t i = 0; i < size(); ++i) {
            if (node(i).believes_it_leads()) return true;
        }
        return false;
    }
};

}  // namespace

TEST_CASE("crash: the others take over within max(node_ttl, lease) and a few round trips; the new process is another") {
    group w{{.seed = 11, .options = {.node_ttl = 4s, .leader_lease = 2s}}};
    auto const leader = w.leader();
    auto const before = leader.incarnation();
    leader.crash();
    CHECK_FALSE(leader.is_up());
    CHECK(w.time_to_own_all() <= 4s + 50ms);
    w.run_for(20s);
    CHECK_FALSE(leader.is_up());
    leader.restart();
    CHECK(leader.is_up());
    REQUIRE(w.run_until(sim::converged, 30s));
    CHECK(leader.incarnation() > before);
    CHECK(w.seen().count(sight::takeover_by_expiry) == 1);
    CHECK(w.seen().count(sight::orphans_adopted) == 3);
}

TEST_CASE("crash for a time: it comes back by itself") {
    group w;
    w.node(1).crash(3s);
    w.run_for(2900ms);
    CHECK_FALSE(w.node(1).is_up());
    w.run_for(200ms);
    CHECK(w.node(1).is_up());
    REQUIRE(w.run_until(sim::converged, 30s));
}

TEST_CASE("leave: the others have it all within a few round trips") {
    group w{{.seed = 12}};
    auto const leaver = w.leader();
    leaver.leave();
    CHECK(w.time_to_own_all() <= 60ms);
    CHECK(w.leader().place() != leaver.place());
    CHECK(w.seen().count(sight::takeover_by_succession) == 1);
    w.run_for(10s);
    CHECK_FALSE(leaver.is_up());
    w.heal();
    REQUIRE(w.run_until(sim::converged, 30s));
}

TEST_CASE("pause: it believes in nothing when it wakes, and is taken for dead if it slept too long") {
    group w{{.seed = 13}};
    auto const node = w.follower();
    node.pause();
    REQUIRE(w.run_until([&](sim::world&) { return node.is_suspended(); }, 3s));
    CHECK(w.seen().count(sight::orphans_adopted) == 0);
    w.run_for(10s);
    CHECK(w.seen().count(sight::orphans_adopted) == 3);
    auto const before = node.incarnation();
    node.resume();
    REQUIRE(w.run_until(sim::converged, 30s));
    CHECK(node.incarnation() > before);
    CHECK(w.seen().count(sight::reaped_and_rejoined) == 1);
}

TEST_CASE("pause, shorter than node_ttl: nothing is lost") {
    group w{{.seed = 13}};
    auto const node = w.follower();
    auto const before = node.incarnation();
    auto const had = node.owned();
    node.pause(1500ms);
    w.run_for(10s);
    CHECK(node.incarnation() == before);
    CHECK(node.owned() == had);
}

TEST_CASE("replace: the newer process has the id, the older is fenced and leaves in peace") {
    group w{{.seed = 14}};
    auto const node = w.follower();
    auto const before = node.incarnation();
    auto const older = w.process_at(node.place());
    node.replace();
    REQUIRE(w.run_until(sim::converged, 30s));
    CHECK(node.incarnation() > before);
    CHECK_FALSE(older->alive());
    CHECK(w.living().size() == 3);
    CHECK(w.seen().count(sight::fenced_by_twin) == 1);
}

TEST_CASE("a node that is cut off for ever hinders nobody: either way, both ways, stalled, refused") {
    auto const kind = GENERATE(0, 1, 2, 3, 4);
    auto const leads = GENERATE(true, false);
    INFO("kind " << kind << (leads ? ", the leader" : ", a follower"));
    group w{{.seed = 15}};
    auto const node = leads ? w.leader() : w.follower();
    auto const link = w.link(node);
    if (kind == 0) link.drop_replies();
    if (kind == 1) link.drop_requests();
    if (kind == 2) link.cut();
    if (kind == 3) link.stall();
    if (kind == 4) link.refuse();
    w.run_for(4s);  // node_ttl, a tick that landed, and the wait for the lock of the run in hand
    CHECK(w.time_to_own_all(8s) <= 8s);
    CHECK_FALSE(node.believes_it_leads());
    CHECK(node.owned().empty());
    CHECK(w.somebody_leads());
    auto const term = w.store().leader().term;
    w.run_for(60s);
    CHECK(w.store().leader().term == term);
    link.heal();
    REQUIRE(w.run_until(sim::converged, 45s));
}

TEST_CASE("drop_replies: requests land; drop_requests: they do not") {
    group w{{.seed = 16, .work = sim::no_work}};
    auto const node = w.follower();
    auto const deadline = [&] { return w.store().node(node.incarnation())->deadline; };
    auto const before = deadline();
    w.link(node).drop_replies(2s);
    w.run_for(2s);
    CHECK(deadline() > before);
    w.run_for(5s);
    auto const later = deadline();
    w.link(node).drop_requests(2s);
    w.run_for(2s);
    CHECK(deadline() <= later + 10'000);  // but for what was on its way
    CHECK(w.seen().count(sight::unknown_outcome) >= 1);
}

TEST_CASE("lose_next_reply, reset, make_next_late: one effect, however it arrives") {
    group w{{.seed = 17}};
    auto const node = w.leader();  // whose ticks are no brief ones
    auto const before = node.incarnation();
    w.link(node).lose_next_reply();
    w.run_for(2s);
    CHECK(w.seen().count(sight::unknown_outcome) >= 1);
    w.link(node).reset();
    w.run_for(2s);
    w.link(node).make_next_late(2s);
    w.run_for(5s);
    CHECK(w.seen().count(sight::stale_connection_refused) == 1);
    CHECK(node.incarnation() == before);
    REQUIRE(w.run_until(sim::converged, 10s));
}

TEST_CASE("delay: slow is not dead") {
    group w{{.seed = 18}};
    auto const node = w.follower();
    auto const before = node.incarnation();
    w.link(node).delay(200ms);
    w.run_for(60s);
    CHECK(node.incarnation() == before);
    CHECK(node.is_member());
}

TEST_CASE("a clock within clock_drift does no harm; one outside of it suspends the promises until it is set right") {
    group w{{.seed = 19, .work = sim::no_work}};
    auto const leader = w.leader();
    w.clock(leader).rate(0.99);
    CHECK(w.clock(leader).rate() == Approx(0.99));
    auto const shown = w.clock(leader).shows();
    w.run_for(100s);
    CHECK((w.clock(leader).shows() - shown).count() == Approx(99e6).epsilon(1e-6));
    CHECK(leader.believes_it_leads());
    CHECK(w.promises_hold());
    w.clock(leader).rate(0.5);
    w.run_for(60s);
    CHECK_FALSE(w.promises_hold());
    w.heal();
    CHECK(w.clock(leader).rate() == 1);
    w.run_for(60s);
    CHECK(w.promises_hold());
    REQUIRE(w.run_until(sim::converged, 45s));
}

TEST_CASE("wall time may jump; nothing comes of it") {
    auto history = [](std::chrono::seconds jump) {
        group w{{.seed = 20, .work = sim::no_work}};
        w.clock(w.leader()).jump_wall(jump);
        w.run_for(30s);
        return std::pair{w.store().leader().term, w.events()};
    };
    CHECK(history(0s) == history(-100'000s));
    CHECK(history(0s) == history(100'000s));
}

TEST_CASE("a server that stands still, is slow, restarts: the group goes on as it was") {
    auto const kind = GENERATE(0, 1, 2);
    group w{{.seed = 21}};
    auto const leader = w.leader();
    auto const term = leader.term();
    if (kind == 0) w.redis().stall(1s);
    if (kind == 1) w.redis().slow(5ms, 10s);
    if (kind == 2) w.redis().restart(500ms);
    w.run_for(15s);
    CHECK(leader.term() == term);
    CHECK(w.seen().count(sight::orphans_adopted) == 0);
    REQUIRE(w.run_until(sim::converged, 10s));
}

TEST_CASE("a server that stood still for longer than every lease: nobody is taken for dead for it") {
    group w{{.seed = 22}};
    w.redis().stall(20s);
    w.run_for(10s);
    CHECK_FALSE(w.somebody_leads());
    for (std::uint32_t i = 0; i < w.size(); ++i) CHECK(w.node(i).is_suspended());
    w.run_for(15s);
    REQUIRE(w.run_until(sim::converged, 10s));
    CHECK(w.seen().count(sight::orphans_adopted) == 0);
    CHECK(w.seen().count(sight::suspended_and_resumed) >= 3);
}

TEST_CASE("errors of the server: the group comes back when it does") {
    auto const* const error = GENERATE("LOADING", "READONLY", "NOREPLICAS", "OOM", "NOPERM");
    group w{{.seed = 23}};
    w.redis().answer(error);
    w.run_for(20s);
    CHECK_FALSE(w.somebody_leads());
    CHECK(w.seen().count(sight::server_answered_error) > 0);
    w.redis().heal();
    REQUIRE(w.run_until(sim::converged, 30s));
}

TEST_CASE("restart_empty: the loss is noticed, and the group begins anew") {
    group w{{.seed = 24}};
    auto const epoch = w.store().epoch();
    w.redis().restart_empty(1s);
    w.run_for(10s);
    CHECK(w.seen().count(sight::data_loss_noticed) > 0);
    CHECK(w.store().epoch() > epoch);
    CHECK(w.store().schedule_count() == 0);
    w.register_schedules(9);
    REQUIRE(w.run_until(sim::converged, 45s));
}

TEST_CASE("fail_over: what was acknowledged last is gone; the old primary may go on for a while") {
    group w{{.seed = 25, .longest_loss = 2s}};
    w.node(0).leave();
    w.run_for(300ms);
    REQUIRE(w.store().nodes().size() < 3 + 0u);
    w.redis().fail_over({.lose_last = 500ms, .old_primary_serves = 5s});
    CHECK(w.store().nodes().size() == 3);
    CHECK(w.seen().count(sight::failover_with_loss) == 1);
    CHECK(w.redis().primary() == 1);
    CHECK(w.redis().server(0).up);
    w.run_for(5s);
    CHECK_FALSE(w.redis().server(0).up);
    w.heal();
    REQUIRE(w.run_until(sim::converged, 60s));
}

TEST_CASE("a server's clock that steps: outside of the promises, and tokens protect") {
    auto const step = GENERATE(-10s, 10s);
    group w{{.seed = 26}};
    auto const fence = w.store().fence();
    w.redis().jump_clock(step);
    CHECK_FALSE(w.promises_hold());
    w.run_for(60s);
    CHECK(w.store().fence() > fence);
    w.heal();
    REQUIRE(w.run_until(sim::converged, 60s));
}

TEST_CASE("heal ends everything at once, and what the plan still had in store") {
    sim::world_settings s{.seed = 27, .nodes = 3};
    for (int i = 0; i < 20; ++i) {
        s.faults.push_back({.at = sim::moment{1s * i}, .kind = sim::fault_kind::crash, .node = 0, .lasting = 1s});
    }
    sim::world w{s};
    sim::check_all(w);
    w.register_schedules(6);
    w.run_for(5500ms);
    w.node(1).pause();
    w.link(2).cut();
    w.redis().answer("OOM").slow(1ms);
    w.node(1).crash();
    w.run_for(10s);
    w.heal();
    REQUIRE(w.run_until(sim::converged, 30s));
    auto const incarnation = w.node(0).incarnation();
    w.run_for(20s);
    CHECK(w.node(0).incarnation() == incarnation);
}

TEST_CASE("amounts that mean nothing are refused, said at once or in a plan") {
    auto refused = [](auto&& call) -> std::string {
        try {
            call();
        } catch (std::logic_error const& e) {
            return e.what();
        }
        return {};
    };
    sim::world w{{.seed = 29, .work = sim::no_work}};
    CHECK_THAT(refused([&] { w.link(0).delay(-1s); }), contains("amount of delay must be 0 .. 86400000000 us"));
    CHECK_THAT(refused([&] { w.link(0).make_next_late(-1s); }), contains("amount of late_request must be 0 .. "));
    CHECK_THAT(refused([&] { w.redis().slow(-1ms); }), contains("amount of slow_server must be 0 .. "));
    CHECK_THAT(refused([&] { w.redis().fail_over({.lose_last = -1ms}); }),
               contains("amount of fail_over must be 0 .."));
    CHECK_THAT(refused([&] { w.clock(0).jump_wall(-24001h); }),
               contains("amount of wall_jump must be -86400000000000 .. "));
    CHECK_THAT(refused([&] { w.redis().jump_clock(25h); }),
               contains("amount of server_clock must be -86400000000 .. "));
    CHECK_THAT(refused([&] { w.node(0).pause(microseconds::max()); }), contains("for more than sim::forever"));
    CHECK(w.now() == sim::moment{});

    auto in_plan = [&](sim::fault f) {
        CHECK_FALSE(sim::makes_sense(f));
        return refused([&] { sim::world{{.seed = 29, .work = sim::no_work, .faults = {f}}}.run_for(1s); });
    };
    auto const errors = static_cast<std::int64_t>(sim::server_errors().size());
    CHECK_THAT(in_plan({.kind = sim::fault_kind::server_error, .lasting = 1s, .amount = errors}),
               contains("fault 0 (at 0s server_error for 1s amount 5): the amount of server_error must be 0 .. 4"));
    CHECK_THAT(in_plan({.kind = sim::fault_kind::server_error, .lasting = 1s, .amount = -1}),
               contains("must be 0 .. 4"));
    CHECK_THAT(in_plan({.kind = sim::fault_kind::claim, .amount = -1}), contains("the number of a schedule"));
    CHECK_THAT(in_plan({.kind = sim::fault_kind::clock_rate, .amount = 2'000'000'000}), contains("parts per billion"));
    CHECK_THAT(in_plan({.kind = static_cast<sim::fault_kind>(200)}), contains("there is no such kind"));
    // What a handle can say, a plan can.
    CHECK(sim::makes_sense({.kind = sim::fault_kind::clock_rate, .amount = -500'000'000}));
    CHECK(sim::makes_sense({.kind = sim::fault_kind::server_error, .amount = errors - 1}));
}

TEST_CASE("a fault that a test makes is in the report of what then breaks") {
    sim::world w{{.seed = 28, .nodes = 2, .work = sim::no_work}};
    w.run_for(2500ms);
    w.link(1).drop_replies(3s);
    try {
        w.broken("something", "broke");
    } catch (sim::broken_invariant const& e) {
        CHECK(e.invariant == "something");
        CHECK(e.at == sim::moment{2500ms});
        CHECK_THAT(e.what(), contains("something broken at 2.5s: broke") && contains("seed 28") &&
                                 contains("at 2.5s cut_replies node 1 for 3s"));
    }
}

// -------------------------------------------------------------------- sometimes

TEST_CASE("what must be seen sometimes: counted per run, added up, asked for by name") {
    sim::sometimes a, b;
    CHECK_THAT(a.missing(), contains("takeover_by_expiry, takeover_by_vacancy") && contains("granted_too_late"));
    a.saw(sight::takeover_by_expiry);
    b.saw(sight::takeover_by_expiry);
    b.saw(sight::handoff_done);
    a += b;
    CHECK(a.count(sight::takeover_by_expiry) == 2);
    CHECK_FALSE(a.missing().find("takeover_by_expiry") != std::string::npos);
    CHECK_THAT(a.to_text(), contains("takeover_by_expiry") && contains("2\n"));
    // Runs without some kinds of fault, or without work, cannot see all of it.
    CHECK_FALSE(a.missing(sim::promised_kinds).find("failover_with_loss") != std::string::npos);
    CHECK_THAT(a.missing(sim::promised_kinds), contains("lock_refused"));
    CHECK_FALSE(a.missing(sim::promised_kinds, false).find("lock_refused") != std::string::npos);
}

TEST_CASE("a sweep sees all that must be seen sometimes, and every kind of fault has happened in it") {
    sim::sometimes seen;
    std::uint64_t seed = 0;
    // As far as it takes, but no farther than this.
    while (seed < 400 && !seen.missing().empty()) {
        auto const d = sim::draw_scenario(++seed, {.faults_for = std::chrono::minutes{2}, .kinds = sim::every_kind});
        sim::world w{d.world};
        w.register_schedules(d.schedules);
        w.run_for(d.length);
        seen += w.seen();
    }
    INFO(seen.to_text());
    CHECK(seen.missing().empty());
}
