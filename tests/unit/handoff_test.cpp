// Moves between live nodes: revoke, acknowledge, grant. The owner that is idle acknowledges at once, one that holds the
// lock when the run is over; whoever dies in between, the schedule has an owner again and never two.
#include "../support/scenario.hpp"

namespace handoff_test {

using namespace std::chrono_literals;
using rota::change_reason;
using rota::errc;
using rota::handoff_requested;
using rota::ownership_changed;
using rota_test::contains;
using rota_test::ids;
using rota_test::member;
using rota_test::scenario;
using rota_test::schedules;

namespace {

// Three nodes that stay as they are unless somebody transfers; a leads, b owns "s".
struct trio : scenario {
    explicit trio(rota::options o = {.auto_rebalance = false})
        : scenario{o},
          leader{join("leader")},
          owner{join("owner")},
          target{join("target")} {
        leader.pause();
        REQUIRE(owner->register_schedules({{.id = "s", .weight = 2}}).all());
        REQUIRE(owner->claim({"s"}).all());
        leader.wake_up();
        pass(1500ms);
        REQUIRE(owner.owns("s"));
        REQUIRE(leader->is_leader());
    }
    member& leader;
    member& owner;
    member& target;
};

ownership_changed last_of(member const& m, std::string const& id) {
    ownership_changed last;
    for (auto& e : m.told<ownership_changed>()) {
        if (e.schedule == id) last = e;
    }
    return last;
}

}  // namespace

TEST_CASE("transfer by the owner: it lets go at once, and the target has it with its next tick") {
    trio group;
    auto const generation = group.owner.generation_of("s");
    REQUIRE(group.owner->transfer("s", "target"));
    CHECK_FALSE(group.owner.owns("s"));
    CHECK(group.owner->try_lock("s", 5s).error() == errc::not_owner);
    REQUIRE(group.target->tick());
    CHECK(group.target.owns("s"));
    CHECK(group.target.generation_of("s") > generation);
    CHECK(group.target->owned().front().weight == 2);
    auto const lost = last_of(group.owner, "s");
    CHECK(lost.from.id == "owner");
    CHECK(lost.to.incarnation == group.target.told<rota::node_joined>().front().node.incarnation);
    CHECK(lost.reason == change_reason::transferred);
    CHECK(lost.generation == group.target.generation_of("s"));
    auto const got = last_of(group.target, "s");
    CHECK(got.reason == change_reason::transferred);
    CHECK(group.owner.told<handoff_requested>().empty());  // nobody asked
    group.check_told();
}

TEST_CASE("transfer by the owner: one request, once it is known who has that node id") {
    trio group;
    REQUIRE(group.owner->register_schedules(schedules("t", 3)).all());
    REQUIRE(group.owner->claim(ids("t", 3)).all());
    REQUIRE(group.owner->transfer("s", "target"));
    auto const before = group.owner.wire.requests();
    REQUIRE(group.owner->transfer("t000", "target"));
    CHECK(group.owner.wire.requests() == before + 1);
    // It joins anew: found out by being refused.
    REQUIRE(group.target->leave());
    REQUIRE(group.target->join());
    REQUIRE(group.owner->transfer("t001", "target"));
    REQUIRE(group.target->tick());
    CHECK(group.target.owns("t001"));
    REQUIRE(group.target->leave());
    auto const gone = group.owner->transfer("t002", "target");
    CHECK(gone.error() == errc::unknown_node);
    CHECK_THAT(gone.error().detail, contains("target"));
    CHECK(group.owner.owns("t002"));
    group.check_told();
}

TEST_CASE("transfer by the owner with a run in hand: asked for, and done once the run is over") {
    trio group;
    auto& lock = group.keep(group.owner->try_lock("s", 20s));
    REQUIRE(group.owner->transfer("s", "target"));
    auto const requested = group.owner.told<handoff_requested>();
    REQUIRE(requested.size() == 1);
    CHECK(requested.front().schedule == "s");
    CHECK(requested.front().within == 30s);
    CHECK(requested.front().reason == change_reason::transferred);
    group.pass(1s);
    CHECK(group.owner.owns("s"));
    CHECK(lock.valid());
    REQUIRE(lock.release());
    group.pass(1100ms);
    CHECK(group.target.owns("s"));
    group.check_told();
}

TEST_CASE("transfer by the owner that is refused: it is the owner's as before, and nothing is told") {
    rota::options o{.auto_rebalance = false};
    scenario group{o};
    auto& owner = group.join("owner");
    rota::options none{.max_schedules_per_node = 0, .auto_rebalance = false};
    group.join("full", none);
    REQUIRE(owner->register_schedules({{.id = "s", .weight = 2}}).all());
    group.pass(1500ms);
    REQUIRE(owner.owns("s"));
    auto const before = owner->owned().front();
    auto const told = owner.told<ownership_changed>().size();
    CHECK(owner->transfer("s", "full").error() == errc::capacity_exceeded);
    auto const after = owner->owned().front();
    CHECK(after.generation == before.generation);
    CHECK(after.weight == 2);
    CHECK_FALSE(after.handing_over);
    CHECK(owner.told<ownership_changed>().size() == told);
    CHECK(owner->try_lock("s", 5s));
    group.pass(2s);
    CHECK(owner.owns("s"));
    group.check_told();
}

TEST_CASE("transfer by the owner where the leader wants the same, and the target is full by then: nobody's") {
    trio group;
    REQUIRE(group.owner->register_schedules(schedules("t", 2)).all());
    REQUIRE(group.owner->claim(ids("t", 1)).all());
    REQUIRE(group.owner->transfer("t000", "target"));  // whom it knows from now on
    REQUIRE(group.leader->transfer("s", "target"));    // the owner has not heard of it
    REQUIRE(group.target->leave());
    auto const r = group.owner->transfer("s", "target");
    CHECK_FALSE(r);
    CHECK_FALSE(group.owner.owns("s"));
    group.pass(2s);
    auto* const now = group.owner_of("s");
    REQUIRE(now != nullptr);
    group.check_told();
}

TEST_CASE("transfer by the owner whose replies are lost: once, and never in two hands") {
    for (unsigned lost = 1; lost < 5; ++lost) {
        CAPTURE(lost);
        rota::options o{.node_ttl = 30s, .auto_rebalance = false};
        trio group{o};
        REQUIRE(group.owner->register_schedules(schedules("t", 1)).all());
        REQUIRE(group.owner->claim(ids("t", 1)).all());
        REQUIRE(group.owner->transfer("s", "target"));
        group.owner.wire.lose_replies(lost);
        auto const r = group.owner->transfer("t000", "target");
        CHECK((r || r.error() == errc::outcome_unknown));
        CHECK_FALSE(group.owner.owns("t000"));
        REQUIRE(group.target->tick());
        CHECK(group.target.owns("t000"));
        group.owner.wire.lose_replies(0);
        group.pass(3s);
        CHECK(group.target.owns("t000"));
        CHECK(group.target->try_lock("t000", 5s));
        group.check_told();
    }
}

TEST_CASE("transfer by the owner while the server is away: it goes when the server is back") {
    rota::options o{.node_ttl = 30s, .auto_rebalance = false};
    trio group{o};
    REQUIRE(group.owner->register_schedules(schedules("t", 1)).all());
    REQUIRE(group.owner->claim(ids("t", 1)).all());
    REQUIRE(group.owner->transfer("s", "target"));
    group.owner.cut();
    auto const r = group.owner->transfer("t000", "target");
    CHECK(r.error() == errc::outcome_unknown);
    CHECK_THAT(r.error().detail, contains("t000"));
    CHECK_FALSE(group.owner.owns("t000"));
    CHECK_FALSE(group.owner->try_lock("t000", 5s));
    group.pass(1s);
    group.owner.mend();
    group.pass(1s);
    CHECK(group.target.owns("t000"));
    group.check_told();
}

TEST_CASE("transfer by the leader: done within two heartbeats") {
    trio group;
    REQUIRE(group.leader->transfer("s", "target"));
    CHECK(group.until([&] { return group.target.owns("s"); }, 10s) <= 2100ms);
    group.check_told();
}

TEST_CASE("transfer by one that is neither") {
    trio group;
    auto const r = group.target->transfer("s", "target");
    REQUIRE_FALSE(r);
    CHECK(r.error() == errc::not_leader);
    group.pass(3s);
    CHECK(group.owner.owns("s"));
}

TEST_CASE("transfer: what cannot be, each by its name") {
    rota::options o{.max_schedules_per_node = 2, .auto_rebalance = false};
    trio group{o};
    CHECK(group.owner->transfer("nowhere", "target").error() == errc::unknown_schedule);
    CHECK(group.owner->transfer("s", "nobody").error() == errc::unknown_node);
    CHECK_THAT(group.owner->transfer("s", "nobody").error().detail, contains("nobody"));
    CHECK(group.owner->transfer("s", "owner"));  // it is there already

    group.leader.pause();
    REQUIRE(group.target->register_schedules(schedules("t", 2)).all());
    REQUIRE(group.target->claim(ids("t", 2)).all());
    CHECK(group.owner->transfer("s", "target").error() == errc::capacity_exceeded);
    CHECK(group.owner.owns("s"));
    CHECK(group.owner->try_lock("s", 5s));
}

TEST_CASE("transfer of an orphan by the leader places it") {
    trio group;
    group.leader.strategy.use([](auto const&, auto& into) { into.clear(); });
    REQUIRE(group.leader->register_schedules({{.id = "t"}}).all());
    group.pass(2s);
    REQUIRE(group.owner_of("t") == nullptr);
    CHECK(group.owner->transfer("t", "target").error() == errc::not_leader);
    REQUIRE(group.leader->transfer("t", "target"));
    group.pass(1100ms);
    CHECK(group.target.owns("t"));
}

TEST_CASE("transfer to one place, then to another: conflict while it is on its way") {
    trio group;
    auto& lock = group.keep(group.owner->try_lock("s", 20s));
    REQUIRE(group.leader->transfer("s", "target"));
    CHECK(group.leader->transfer("s", "target"));  // again: no second hand-off
    CHECK(group.leader->transfer("s", "leader").error() == errc::conflict);
    CHECK(lock.release());
    group.pass(2100ms);
    CHECK(group.target.owns("s"));
    CHECK(group.owner.told<handoff_requested>().size() == 1);
}

TEST_CASE("to its present owner, while it is on its way to another: not a success") {
    trio group;
    auto& lock = group.keep(group.owner->try_lock("s", 20s));
    REQUIRE(group.leader->transfer("s", "target"));
    CHECK(group.leader->transfer("s", "owner").error() == errc::conflict);
    CHECK(lock.valid());
}

TEST_CASE("a hand-off waits for the run in hand; the owner is asked, and gets no new lock") {
    trio group;
    auto& lock = group.keep(group.owner->try_lock("s", 20s));
    REQUIRE(group.leader->transfer("s", "target"));
    group.pass(5s);
    REQUIRE(group.owner.owns("s"));
    CHECK(group.owner->owned().front().handing_over);
    CHECK(group.owner.told<handoff_requested>().size() == 1);
    CHECK(lock.valid());
    CHECK(lock.extend(20s));
    CHECK_FALSE(group.target.owns("s"));

    REQUIRE(lock.release());
    // The release itself sets it going: no tick of the owner's is needed.
    CHECK_FALSE(group.owner.owns("s"));
    REQUIRE(group.target->tick());
    CHECK(group.target.owns("s"));
    auto& next = group.keep(group.target->try_lock("s", 5s));
    CHECK(next.token() > lock.token());
    group.check_told();
}

TEST_CASE("a run that is never ended: no extension after handoff_deadline, and the grant comes with the lock's end") {
    rota::options o{.auto_rebalance = false, .handoff_deadline = 6s};
    trio group{o};
    auto& lock = group.keep(group.owner->try_lock("s", 4s));
    REQUIRE(group.leader->transfer("s", "target"));
    auto const revoked_at = group.store.now();
    rota::microseconds last_good{};
    for (int i = 0; i < 100; ++i) {
        group.pass(100ms);
        auto const r = lock.extend(4s);
        if (r) {
            last_good = group.store.now() - revoked_at;
        } else {
            CHECK(r.error() == errc::not_owner);
            break;
        }
    }
    CHECK(last_good >= 5800ms);
    CHECK(last_good < 6s);
    CHECK(lock.valid());  // it runs out as it is
    auto const handed = group.until([&] { return group.target.owns("s"); }, 20s, 10ms);
    CHECK(handed >= 3500ms);
    CHECK(handed <= 4s + 1100ms);
    CHECK_FALSE(lock.valid());
    CHECK(group.target->try_lock("s", 5s));
    group.check_told();
}

TEST_CASE("a handle that is forgotten ends with its ttl, and the hand-off goes on then") {
    trio group;
    auto& lock = group.keep(group.owner->try_lock("s", 5s));
    group.pass(100ms);
    REQUIRE(group.leader->transfer("s", "target"));
    auto const handed = group.until([&] { return group.target.owns("s"); }, 20s, 10ms);
    CHECK(handed >= 4800ms);
    CHECK(handed <= 5s + 1200ms);
    CHECK_FALSE(lock.valid());
}

TEST_CASE("a lock that the owner does not know of (every reply was lost) still holds the hand-off back") {
    trio group;
    group.owner.wire.lose_replies(100);
    CHECK(group.owner->try_lock("s", 5s).error() == errc::outcome_unknown);
    group.owner.wire.lose_replies(0);
    auto const at = group.store.now();
    REQUIRE(group.leader->transfer("s", "target"));
    (void)group.until([&] { return group.target.owns("s"); }, 20s, 10ms);
    CHECK(group.store.now() - at >= 4900ms);
    CHECK(group.store.now() - at <= 6200ms);
    group.check_told();
}

TEST_CASE("a release that did not arrive delays the hand-off, no more") {
    trio group;
    auto& lock = group.keep(group.owner->try_lock("s", 8s));
    REQUIRE(group.leader->transfer("s", "target"));
    group.pass(1100ms);
    group.owner.cut();
    CHECK_FALSE(lock.release());
    group.owner.mend();
    CHECK(group.until([&] { return group.target.owns("s"); }, 20s, 10ms) <= 8s + 1200ms);
    group.check_told();
}

TEST_CASE("more unknown locks than fit one request: the owner waits for their end, and does not spin") {
    rota::options o{.auto_rebalance = false};
    scenario group{o};
    auto& leader = group.join("leader");
    auto& owner = group.join("owner");
    group.join("target");
    leader.pause();
    REQUIRE(owner->register_schedules(schedules("s", 260)).all());
    REQUIRE(owner->claim(ids("s", 260)).all());
    leader.wake_up();
    group.pass(2s);
    REQUIRE(owner.owned().size() == 260);
    owner.wire.lose_replies(1000);
    auto const locks = owner->try_lock_each(ids("s", 200), 20s);
    REQUIRE(locks.front().error() == errc::outcome_unknown);
    REQUIRE(owner->try_lock_each({"s200", "s201"}, 20s).front().error() == errc::outcome_unknown);
    owner.wire.lose_replies(0);
    group.pass(1s);
    for (auto& id : ids("s", 202)) REQUIRE(leader->transfer(id, "target"));
    group.pass(2s);
    REQUIRE(owner->tick());
    CHECK(owner->next_tick() > 0us);
    auto const before = owner.wire.requests();
    group.pass(1s);
    CHECK(owner.wire.requests() - before < 20);
    group.pass(25s, 20ms);
    CHECK(group[2].owned().size() == 202);
    group.check_told();
}

TEST_CASE("the target dies during the hand-off: the schedule is given up, and placed anew") {
    trio group;
    auto& lock = group.keep(group.owner->try_lock("s", 20s));
    REQUIRE(group.leader->transfer("s", "target"));
    group.pass(1100ms);
    SECTION("without a word") {
        group.target.crash();
        group.pass(5s);
    }
    SECTION("in order") { REQUIRE(group.target->leave()); }
    REQUIRE(lock.release());
    group.pass(2s);
    auto* now = group.owner_of("s");
    REQUIRE(now != nullptr);
    CHECK(now->running);
    bool given_up = false;
    for (auto& e : group.owner.told<ownership_changed>()) given_up = given_up || e.reason == change_reason::given_up;
    CHECK(given_up);
    CHECK((*now)->try_lock("s", 5s));
    group.check_told();
}

TEST_CASE("the target's capacity is taken while the hand-off waits: it is a hard limit all the same") {
    rota::options o{.auto_rebalance = false};
    scenario group{o};
    auto& leader = group.join("leader");
    auto& owner = group.join("owner");
    rota::options small{.max_schedules_per_node = 2, .auto_rebalance = false};
    auto& target = group.join("target", small);
    leader.pause();
    REQUIRE(owner->register_schedules(schedules("s", 4)).all());
    REQUIRE(owner->claim({"s000", "s001"}).all());
    REQUIRE(owner->transfer("s000", "target"));
    // The place that is kept for what is on its way cannot be claimed.
    auto& lock = group.keep(owner->try_lock("s001", 30s));
    REQUIRE(owner->transfer("s001", "target"));
    auto const claimed = target->claim({"s002"});
    CHECK(claimed.all().error() == errc::capacity_exceeded);
    CHECK(lock.release());
    group.pass(1100ms);
    CHECK(target.owned().size() == 2);
}

TEST_CASE("the owner dies during the hand-off: placed anew, once its beliefs are over") {
    trio group;
    auto& lock = group.keep(group.owner->try_lock("s", 600s));
    REQUIRE(group.leader->transfer("s", "target"));
    group.pass(500ms);
    group.owner.crash();
    auto const took = group.until(
        [&] {
            auto* m = group.owner_of("s");
            return m && m != &group.owner;
        },
        20s, 10ms);
    CHECK(took <= 3s + 1100ms);
    CHECK_FALSE(lock.valid());
    auto* now = group.owner_of("s");
    REQUIRE(now);
    CHECK((*now)->try_lock("s", 5s));
    auto const loads = group.leader->loads().value();
    for (auto& l : loads) CHECK(l.pending == 0);
}

TEST_CASE("the owner leaves during the hand-off") {
    trio group;
    auto& lock = group.keep(group.owner->try_lock("s", 600s));
    REQUIRE(group.leader->transfer("s", "target"));
    group.pass(1100ms);
    REQUIRE(group.owner->leave());
    CHECK_FALSE(lock.valid());
    CHECK(group.until([&] { return group.owner_of("s") != nullptr; }, 20s, 10ms) <= 2100ms);
}

TEST_CASE("the leader dies during the hand-off: it is carried through all the same") {
    trio group;
    REQUIRE(group.leader->transfer("s", "target"));
    group.leader.crash();  // before the owner has heard
    CHECK(group.until([&] { return group.target.owns("s"); }, 20s, 10ms) <= 2100ms);
    group.pass(5s);
    CHECK(group.target.owns("s"));
    group.check_told();
}

TEST_CASE("unregistered during the hand-off") {
    trio group;
    auto& lock = group.keep(group.owner->try_lock("s", 20s));
    REQUIRE(group.leader->transfer("s", "target"));
    group.pass(1100ms);
    REQUIRE(group.leader->unregister_schedules({"s"}).all());
    group.pass(1100ms);
    CHECK_FALSE(group.owner.owns("s"));
    CHECK(lock.valid());
    REQUIRE(lock.release());
    group.pass(2s);
    CHECK(group.owner_of("s") == nullptr);
    CHECK(last_of(group.owner, "s").reason == change_reason::unregistered);
    auto const loads = group.leader->loads().value();
    for (auto& l : loads) CHECK(l.pending == 0);
    group.check_told();
}

TEST_CASE("an acknowledgement whose reply is lost hands over once, and the owner is told once") {
    for (unsigned lost = 1; lost < 6; ++lost) {
        CAPTURE(lost);
        trio group;
        REQUIRE(group.leader->transfer("s", "target"));
        // Tick, read, acknowledge: the reply of each is lost in turn, and of all up to it.
        group.pass(300ms);
        group.owner.wire.lose_replies(lost);
        CHECK(group.until([&] { return group.target.owns("s"); }, 20s, 10ms) <= 4s);
        group.owner.wire.lose_replies(0);
        group.pass(2s);
        std::size_t told = 0;
        for (auto& e : group.owner.told<ownership_changed>()) told += e.from.id == "owner" ? 1 : 0;
        CHECK(told == 1);
        group.check_told();
    }
}

TEST_CASE("an acknowledgement that arrived unheard, and the schedule is back before the owner is in contact again") {
    rota::options o{.node_ttl = 30s, .auto_rebalance = false};
    trio group{o};
    auto& lock = group.keep(group.owner->try_lock("s", 20s));
    REQUIRE(group.leader->transfer("s", "target"));
    REQUIRE(group.owner->tick());
    REQUIRE(group.owner.owns("s"));
    // Three attempts to release and the acknowledgement that follows: all have their effect, none is answered.
    group.owner.wire.lose_replies(4);
    CHECK(lock.release().error() == errc::outcome_unknown);
    group.owner.cut();
    group.owner.wire.lose_replies(0);
    REQUIRE(group.target->tick());
    REQUIRE(group.target.owns("s"));
    REQUIRE(group.target->transfer("s", "owner"));
    REQUIRE_FALSE(group.target.owns("s"));
    group.pass(2s);
    group.owner.mend();
    group.pass(2s);
    CHECK(group.owner.owns("s"));
    CHECK(last_of(group.owner, "s").to.id == "owner");
    group.check_told();
}

TEST_CASE("a node that goes while an acknowledgement is unanswered tells that it lost that schedule too") {
    rota::options o{.node_ttl = 30s, .auto_rebalance = false};
    trio group{o};
    auto& lock = group.keep(group.owner->try_lock("s", 20s));
    REQUIRE(group.leader->transfer("s", "target"));
    REQUIRE(group.owner->tick());
    group.owner.cut();
    // The release sets the hand-off going; nothing of it arrives.
    CHECK_FALSE(lock.release());
    group.pass(1s);
    REQUIRE_FALSE(group.owner.owns("s"));
    SECTION("it leaves in vain") { CHECK_FALSE(group.owner->leave()); }
    SECTION("it leaves") {
        group.owner.mend();
        CHECK(group.owner->leave());
    }
    std::size_t told = 0;
    for (auto& e : group.owner.told<ownership_changed>()) told += e.from.id == "owner" ? 1 : 0;
    CHECK(told == 1);
}

}  // namespace handoff_test
