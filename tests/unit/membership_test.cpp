// Taking part: join, heartbeat, being taken for dead, leaving, and two processes under one id.
#include "../support/scenario.hpp"

namespace membership_test {

using namespace std::chrono_literals;
using rota::errc;
using rota_test::member;
using rota_test::scenario;
using rota_test::schedules;

TEST_CASE("join mints an incarnation, and says so") {
    scenario group;
    auto& a = group.join("a");
    auto const joined = a.told<rota::node_joined>();
    REQUIRE(joined.size() == 1);
    CHECK(joined.front().node.id == "a");
    CHECK(joined.front().node.incarnation > 0);
    CHECK(joined.front().epoch > 0);

    auto const nodes = a->nodes().value();
    REQUIRE(nodes.size() == 1);
    CHECK(nodes.front().node == joined.front().node);
    CHECK(nodes.front().alive);
}

TEST_CASE("join of a member has no effect") {
    scenario group;
    auto& a = group.join("a");
    CHECK(a->join());
    CHECK(a.record.count<rota::node_joined>() == 1);
    CHECK(a->is_leader());
}

TEST_CASE("calls that need membership say so without") {
    scenario group;
    group.join("b");
    auto& a = group.add("a");
    CHECK(a->tick().error() == errc::not_joined);
    CHECK(a->try_lock("s", 1s).error() == errc::not_joined);
    CHECK(a->try_lock_name("s", 1s).error() == errc::not_joined);
    CHECK(a->claim({"s"}).all().error() == errc::not_joined);
    CHECK_FALSE(a->rebalance());
    CHECK(a->leave());  // nothing to leave
    CHECK(a.record.events().empty());
    CHECK_FALSE(a->is_leader());
    CHECK_FALSE(a->leader());
    CHECK(a->owned().empty());
}

TEST_CASE("calls that need no membership work without") {
    scenario group;
    auto& b = group.join("b");
    auto& a = group.add("a");
    CHECK(a->register_schedules({{.id = "s"}}).all());
    group.pass(2s);
    CHECK(b.owns("s"));
    CHECK(a->nodes().value().size() == 1);
    CHECK(a->loads().value().front().load == 1);
    CHECK(a->orphaned().value().empty());
    CHECK(a->propose().value().moves.empty());
    CHECK(a->unregister_schedules({"s"}).all());
    group.pass(2s);
    CHECK_FALSE(b.owns("s"));
}

TEST_CASE("a server that cannot be reached: join says so, and the node is out") {
    scenario group;
    auto& a = group.add("a");
    a.cut();
    CHECK(a->join().error() == errc::unavailable);
    CHECK(a->tick().error() == errc::not_joined);
    a.mend();
    CHECK(a->join());
    CHECK(a->is_leader());
}

TEST_CASE("a node that loses contact fences itself before the group may take it for dead, whatever the margins") {
    auto const margin = GENERATE(0ms, 50ms, 900ms);
    auto const drift = GENERATE(0.0, 0.05, 0.1);
    auto const rate_sign = GENERATE(-1, 1);
    auto const ttl = GENERATE(3s, 5s);
    CAPTURE(margin.count(), drift, rate_sign, ttl.count());
    rota::options o{.node_ttl = ttl, .clock_drift = drift, .safety_margin = margin};
    scenario group{o};
    group.join("a", o);
    auto& b = group.join("b", o, 1.0 + rate_sign * drift);
    REQUIRE(b->register_schedules(schedules("s", 4)).all());
    group.pass(3s);
    REQUIRE_FALSE(b.owned().empty());
    auto& lock = group.keep(b->try_lock(b.owned().front(), 60s));
    REQUIRE(lock.valid());

    auto const cut_at = group.store.now();
    b.cut();
    (void)group.until([&] { return b->owned().empty(); }, 2 * ttl, 5ms);
    auto const fenced_after = group.store.now() - cut_at;

    CHECK_FALSE(lock.valid());
    CHECK(lock.remaining() == 0us);
    CHECK_FALSE(b->is_leader());
    // Belief would be useless if it ended at once, and wrong if it went past the server's deadline.
    CHECK(fenced_after <= ttl);
    CHECK(fenced_after > ttl / 4);
    group.pass(20ms);
    auto const suspended = b.told<rota::node_suspended>();
    CHECK(suspended.size() == 1);
    if (suspended.empty()) return;
    CHECK(suspended.front().node.id == "b");
    CHECK(suspended.front().why == errc::unavailable);

    // The group goes on without: check() sees to it that no two ever own one.
    CHECK(group.until([&] { return group[0].owned().size() == 4; }, 2 * ttl, 5ms) <= ttl + 1s);
}

TEST_CASE("a suspended node that comes back in time resumes, and what it owned is still its own") {
    rota::options o{.node_ttl = 5s, .clock_drift = 0.1, .safety_margin = 1s};
    scenario group{o};
    group.join("a");
    auto& b = group.join("b");
    REQUIRE(b->register_schedules(schedules("s", 4)).all());
    group.pass(3s);
    auto const had = b.owned();
    REQUIRE(had.size() == 2);
    auto& lock = group.keep(b->try_lock(had.front(), 60s));

    b.cut();
    (void)group.until([&] { return b.record.count<rota::node_suspended>() == 1; }, 5s, 5ms);
    CHECK(b->owned().empty());
    CHECK(b->try_lock(had.back(), 5s).error() == errc::unavailable);
    CHECK_FALSE(lock.valid());
    b.mend();
    group.pass(600ms);

    CHECK(b.record.count<rota::node_resumed>() == 1);
    CHECK(b.record.count<rota::node_lost>() == 0);
    CHECK(b.owned() == had);
    CHECK(lock.valid());
    group.check_told();
}

TEST_CASE("a node that was taken for dead learns it, drops what it owned, says so, and takes part anew") {
    scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    REQUIRE(b->register_schedules(schedules("s", 10)).all());
    group.pass(3s);
    REQUIRE(b.owned().size() == 5);
    auto const old = b.told<rota::node_joined>().front().node;
    auto& lock = group.keep(b->try_lock(b.owned().front(), 60s));
    b.cut();
    group.pass(6s);
    REQUIRE(a.owned().size() == 10);
    b.mend();
    REQUIRE(b->tick());

    auto const lost = b.told<rota::node_lost>();
    REQUIRE(lost.size() == 1);
    CHECK(lost.front().node == old);
    CHECK_FALSE(lost.front().data_lost);
    auto const joined = b.told<rota::node_joined>();
    REQUIRE(joined.size() == 2);
    CHECK(joined[1].node.id == "b");
    CHECK(joined[1].node.incarnation > old.incarnation);
    std::size_t dropped = 0;
    for (auto& e : b.told<rota::ownership_changed>()) {
        if (e.from == old && e.to == rota::node_ref{} && e.reason == rota::change_reason::lost) ++dropped;
    }
    CHECK(dropped == 5);
    CHECK_FALSE(lock.valid());
    CHECK(b.owned().empty());
}

TEST_CASE("what a reaped node is given later is new, and a lock of its earlier life stays lost") {
    scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    REQUIRE(b->register_schedules(schedules("s", 10)).all());
    group.pass(3s);
    auto const id = b.owned().front();
    auto& lock = group.keep(b->try_lock(id, 600s));
    auto const generation = b.generation_of(id);
    b.cut();
    group.pass(6s);
    b.mend();
    group.pass(6s);

    CHECK(a.owned().size() == 5);
    CHECK(b.owned().size() == 5);
    CHECK_FALSE(lock.valid());
    auto const extended = lock.extend(5s);
    REQUIRE_FALSE(extended);
    CHECK(extended.error() == errc::lock_lost);
    auto* owner = group.owner_of(id);
    REQUIRE(owner);
    CHECK(owner->generation_of(id) > generation);
    auto& anew = group.keep((*owner)->try_lock(id, 5s));
    CHECK(anew.token() > lock.token());
    group.check_told();
}

TEST_CASE("a process that stood still past its deadline starts nothing on what it owned when it wakes up") {
    scenario group;
    group.join("a");
    auto& b = group.join("b");
    REQUIRE(b->register_schedules(schedules("s", 10)).all());
    group.pass(3s);
    auto const had = b.owned();
    auto& lock = group.keep(b->try_lock(had.front(), 60s));
    b.pause();
    group.pass(10s);
    // Not one tick of b has run since: its beliefs ended by themselves.
    CHECK(b.owned().empty());
    CHECK_FALSE(lock.valid());
    CHECK_FALSE(b->try_lock(had.back(), 5s));
    b.wake_up();
    group.pass(6s);
    CHECK(b.record.count<rota::node_suspended>() == 1);
    CHECK(b.record.count<rota::node_lost>() == 1);
    CHECK(b.owned().size() == 5);
    group.check_told();
}

TEST_CASE("a second process with the same id fences the older one, which does not fight back") {
    scenario group;
    auto& other = group.join("other");
    rota::options o{.node_id = "twin"};
    auto& older = group.join("older", o);
    REQUIRE(older->register_schedules(schedules("s", 10)).all());
    group.pass(3s);
    auto const had = older.owned();
    REQUIRE(had.size() == 5);
    auto& lock = group.keep(older->try_lock(had.front(), 60s));

    auto& newer = group.join("newer", o);
    CHECK(newer.owned().empty());  // it takes the id, never the schedules
    group.pass(2s);

    CHECK(older.record.count<rota::node_fenced>() == 1);
    CHECK(older.owned().empty());
    CHECK_FALSE(lock.valid());
    CHECK(older->tick().error() == errc::fenced);
    CHECK(older->try_lock(had.front(), 5s).error() == errc::fenced);
    group.pass(5s);
    CHECK(newer.record.count<rota::node_fenced>() == 0);
    CHECK(older.record.count<rota::node_joined>() == 1);
    CHECK(newer.owned().size() == 5);
    CHECK(other.owned().size() == 5);
    auto const nodes = newer->nodes().value();
    CHECK(nodes.size() == 2);
    group.check_told();
}

TEST_CASE("run() of a fenced node says so again, and does not take the id back") {
    scenario group;
    rota::options o{.node_id = "twin"};
    auto& older = group.join("older", o);
    auto& newer = group.join("newer", o);
    group.pass(2s);
    REQUIRE(older.record.count<rota::node_fenced>() == 1);
    for (int i = 0; i < 3; ++i) {
        auto const r = older->run_for(0s);
        REQUIRE_FALSE(r);
        CHECK(r.error() == errc::fenced);
    }
    group.pass(2s);
    CHECK(newer.record.count<rota::node_fenced>() == 0);
    CHECK(older.record.count<rota::node_joined>() == 1);
}

TEST_CASE("what an older process believes in goes to nobody, not even its own successor, while it may believe") {
    scenario group;
    auto& other = group.join("other");
    rota::options o{.node_id = "twin"};
    auto& older = group.join("older", o);
    REQUIRE(older->register_schedules(schedules("s", 10)).all());
    group.pass(3s);
    auto const had = older.owned();
    older.cut();  // it will not hear that it is fenced
    auto const cut_at = group.store.now();
    auto& newer = group.join("newer", o);
    CHECK(newer->claim({had.front()}).all().error() == errc::owned_by_other);

    (void)group.until([&] { return newer.owned().size() + other.owned().size() > 5; }, 10s, 5ms);

    CHECK(group.store.now() - cut_at >= 2s);  // its last tick was less than a heartbeat before the cut
    CHECK(older.owned().empty());
    group.pass(3s);
    CHECK(newer.owned().size() == 5);
    older.mend();
    group.pass(2s);
    CHECK(older.record.count<rota::node_fenced>() == 1);
}

TEST_CASE("a fenced process that hears of it hands over what it owned without waiting for its deadline") {
    rota::options o{.node_ttl = 30s};
    scenario group{o};
    group.join("other");
    rota::options twin{.node_id = "twin", .node_ttl = 30s};
    auto& older = group.join("older", twin);
    REQUIRE(older->register_schedules(schedules("s", 10)).all());
    group.pass(3s);
    auto& newer = group.join("newer", twin);
    group.pass(4s);
    CHECK(group.owned() == 10);
    CHECK(newer.owned().size() == 5);
}

TEST_CASE("on_conflict = refuse turns the newcomer away, until the older one is gone") {
    scenario group;
    rota::options o{.node_id = "twin", .on_conflict = rota::conflict_policy::refuse};
    auto& older = group.join("older", o);
    auto& newer = group.add("newer", o);

    auto const refused = newer->join();
    REQUIRE_FALSE(refused);
    CHECK(refused.error() == errc::conflict);
    group.pass(5s);
    CHECK(older->is_leader());
    CHECK(older.record.count<rota::node_fenced>() == 0);
    CHECK(newer->join().error() == errc::conflict);

    SECTION("it left") {
        REQUIRE(older->leave());
        CHECK(newer->join());
    }
    SECTION("it is silent for a ttl") {
        older.crash();
        group.pass(2s);
        CHECK(newer->join().error() == errc::conflict);
        group.pass(2s);
        CHECK(newer->join());
    }
}

TEST_CASE("a join whose reply was lost is not refused by its own ghost") {
    scenario group;
    rota::options o{.on_conflict = rota::conflict_policy::refuse};
    auto& a = group.add("a", o);
    a.wire.lose_replies(1);
    auto r = a->join();
    if (!r) r = a->join();
    INFO((r ? std::string{} : r.error().message()));
    CHECK(r);
    CHECK(a->nodes().value().size() == 1);
}

TEST_CASE("leave: belief ends at once, everybody knows, schedules go on without waiting for a ttl") {
    rota::options o{.node_ttl = 60s, .leader_lease = 60s};
    scenario group{o};
    auto& a = group.join("a");
    auto& b = group.join("b");
    auto& c = group.join("c");
    REQUIRE(b->register_schedules(schedules("s", 12)).all());
    group.pass(3s);
    REQUIRE(b.owned().size() == 4);
    auto& lock = group.keep(b->try_lock(b.owned().front(), 60s));
    auto& name = group.keep(b->try_lock_name("a name", 60s));

    SECTION("a follower") {
        REQUIRE(b->leave());
        CHECK(b.owned().empty());
        CHECK_FALSE(lock.valid());
        CHECK_FALSE(name.valid());
        CHECK(b.record.count<rota::node_left>() == 1);
        CHECK(b->tick().error() == errc::not_joined);
        CHECK(group.until([&] { return a.owned().size() == 6 && c.owned().size() == 6; }, 20s, 5ms) <= 2100ms);
        CHECK(a->try_lock_name("a name", 1s));  // not kept by one that is gone
        CHECK(a->nodes().value().size() == 2);
    }
    SECTION("the leader") {
        REQUIRE(a->leave());
        CHECK(group.until([&] { return b.owned().size() == 6 && c.owned().size() == 6; }, 20s, 5ms) <= 2100ms);
    }
    SECTION("and it may come back") {
        REQUIRE(b->leave());
        group.pass(3s);
        REQUIRE(b->join());
        group.pass(5s);
        CHECK(b.owned().size() == 4);
    }
    group.check_told();
}

TEST_CASE("the destructor leaves") {
    rota::options o{.node_ttl = 60s, .leader_lease = 60s};
    scenario group{o};
    auto& a = group.join("a");
    {
        rota::basic_coordinator passing{rota::options{.node_id = "b"}, rota::memory_transport{group.store},
                                        rota::manual_clock{}};
        REQUIRE(passing.join());
        CHECK(a->nodes().value().size() == 2);
    }
    group.pass(2s);
    CHECK(a->nodes().value().size() == 1);
}

TEST_CASE("a leave that does not arrive: the node is out all the same, the group waits for the ttl") {
    scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    REQUIRE(b->register_schedules(schedules("s", 4)).all());
    group.pass(3s);
    b.cut();
    CHECK(b->leave().error() == errc::unavailable);
    CHECK(b.owned().empty());
    CHECK(b->tick().error() == errc::not_joined);
    group.pass(1s);
    CHECK(a.owned().size() == 2);
    group.pass(4s);
    CHECK(a.owned().size() == 4);
}

TEST_CASE("a silence of the server does not make the leader take everybody for dead at once") {
    scenario group;
    for (auto name : {"a", "b", "c", "d"}) group.join(name);
    REQUIRE(group[0]->register_schedules(schedules("s", 12)).all());
    group.pass(4s);
    std::map<std::string, std::string> before;
    for (auto& id : rota_test::ids("s", 12)) before[id] = group.owner_of(id)->name;

    for (std::size_t i = 0; i < 4; ++i) group[i].cut();
    group.pass(5s);
    CHECK(group.owned() == 0);
    for (std::size_t i = 0; i < 4; ++i) group[i].mend();
    group.pass(4s);

    for (std::size_t i = 0; i < 4; ++i) {
        CAPTURE(i);
        CHECK(group[i].record.count<rota::node_lost>() == 0);
        CHECK(group[i].record.count<rota::node_resumed>() == 1);
    }
    for (auto& id : rota_test::ids("s", 12)) {
        REQUIRE(group.owner_of(id));
        CHECK(group.owner_of(id)->name == before[id]);
    }
    group.check_told();
}

TEST_CASE("after a silence, those that do not come back are taken for dead all the same") {
    scenario group;
    for (auto name : {"a", "b", "c"}) group.join(name);
    REQUIRE(group[0]->register_schedules(schedules("s", 12)).all());
    group.pass(4s);
    for (std::size_t i = 0; i < 3; ++i) group[i].cut();
    group.pass(5s);
    group[2].crash();
    group[0].mend();
    group[1].mend();
    group.pass(4s);
    CHECK(group[0].owned().size() == 6);
    CHECK(group[1].owned().size() == 6);
}

TEST_CASE("a server that comes back empty: detected as loss of data, told, and all take part anew") {
    scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    REQUIRE(b->register_schedules(schedules("s", 10)).all());
    group.pass(3s);
    auto& lock = group.keep(b->try_lock(b.owned().front(), 60s));
    auto const term = a->leader()->term;
    group.store.restart_empty();
    group.pass(3s);

    for (auto* m : {&a, &b}) {
        CAPTURE(m->name);
        auto const lost = m->told<rota::node_lost>();
        REQUIRE(lost.size() == 1);
        CHECK(lost.front().data_lost);
        auto const joined = m->told<rota::node_joined>();
        REQUIRE(joined.size() == 2);
        CHECK(joined[1].node.incarnation > joined[0].node.incarnation);
        CHECK(joined[1].epoch > joined[0].epoch);
        CHECK(m->owned().empty());
    }
    CHECK_FALSE(lock.valid());
    REQUIRE(group.leader());
    CHECK(group.leader()->node->leader()->term > term);

    REQUIRE(b->register_schedules(schedules("s", 10)).all());
    group.pass(3s);
    CHECK(a.owned().size() == 5);
    CHECK(b.owned().size() == 5);
    auto& anew = group.keep(group.owner_of(lock.name())->node->try_lock(lock.name(), 5s));
    CHECK(anew.token() > lock.token());
    group.check_told();
}

TEST_CASE("loss of data is noticed even if a registration comes before the next heartbeat") {
    scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    group.pass(3s);
    group.store.restart_empty();
    REQUIRE(b->register_schedules(schedules("s", 10)).all());
    group.pass(4s);
    CHECK(a.told<rota::node_lost>().size() == 1);
    CHECK(b.told<rota::node_lost>().size() == 1);
    CHECK(a.owned().size() == 5);
    CHECK(b.owned().size() == 5);
}

TEST_CASE("groups with different prefixes do not meet") {
    rota::memory_store store{rota::manual_time};
    rota::basic_coordinator a{rota::options{.node_id = "a", .key_prefix = "x"}, rota::memory_transport{store},
                              rota::manual_clock{}};
    rota::basic_coordinator b{rota::options{.node_id = "a", .key_prefix = "y"}, rota::memory_transport{store},
                              rota::manual_clock{}};
    REQUIRE(a.join());
    REQUIRE(b.join());
    CHECK(a.is_leader());
    CHECK(b.is_leader());
    REQUIRE(a.register_schedules({{.id = "s"}}).all());
    CHECK(a.owned().size() == 1);
    CHECK(b.nodes().value().size() == 1);
    CHECK(b.claim({"s"}).all().error() == errc::unknown_schedule);
}

TEST_CASE("next_tick is a heartbeat after a tick, and zero when there is something to do") {
    scenario group;
    auto& a = group.join("a");
    CHECK(a->next_tick() == 1s);
    group.pass_silently(400ms);
    CHECK(a->next_tick() == 600ms);
    group.pass_silently(700ms);
    CHECK(a->next_tick() == 0us);
    REQUIRE(a->tick());
    CHECK(a->next_tick() == 1s);
    REQUIRE(a->leave());
    CHECK(a->next_tick() > 24h);
}

}  // namespace membership_test
