// Which schedules exist and who owns them: registering, claiming, unregistering, capacity, orphans and their placement.
#include "../support/scenario.hpp"

#include <cmath>
#include <limits>

namespace ownership_test {

using namespace std::chrono_literals;
using rota::errc;
using rota::ownership_changed;
using rota_test::contains;
using rota_test::ids;
using rota_test::member;
using rota_test::scenario;
using rota_test::schedules;

namespace {

bool has(std::vector<ownership_changed> const& list, std::string const& id, rota::change_reason reason) {
    for (auto& e : list) {
        if (e.schedule == id && e.reason == reason) return true;
    }
    return false;
}

}  // namespace

TEST_CASE("what is registered is placed by the leader, evenly, and each owner is told") {
    scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    auto& c = group.join("c");
    REQUIRE(c->register_schedules(schedules("s", 12)).all());
    group.pass(3s);
    for (auto* m : {&a, &b, &c}) {
        CAPTURE(m->name);
        CHECK(m->owned().size() == 4);
        auto const told = m->told<ownership_changed>();
        REQUIRE(told.size() == 4);
        CHECK(told.front().reason == rota::change_reason::placed);
        CHECK(told.front().to.id == m->name);
        CHECK(told.front().generation == m->generation_of(told.front().schedule));
    }
    group.check_told();
}

TEST_CASE("registering what exists has no effect") {
    scenario group;
    auto& a = group.join("a");
    REQUIRE(a->register_schedules({{.id = "s", .weight = 3}}).all());
    group.pass(2s);
    auto const generation = a.generation_of("s");
    REQUIRE(a->register_schedules({{.id = "s", .weight = 7}, {.id = "t"}}).all());
    group.pass(2s);
    CHECK(a.generation_of("s") == generation);
    CHECK(a->owned().front().weight == 3);
    CHECK(a.owned().size() == 2);
}

TEST_CASE("a thousand schedules in one call") {
    scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    auto const answers = a->register_schedules(schedules("s", 1000));
    CHECK(answers.size() == 1000);
    REQUIRE(answers.all());
    group.pass(4s);
    CHECK(a.owned().size() == 500);
    CHECK(b.owned().size() == 500);
    auto const gone = a->unregister_schedules(ids("s", 1000));
    CHECK(gone.size() == 1000);
    REQUIRE(gone.all());
    group.pass(3s);
    CHECK(group.owned() == 0);
    group.check_told();
}

TEST_CASE("a schedule that cannot be: no item is registered, and the message names what is wrong") {
    scenario group;
    auto& a = group.join("a");
    auto words = [&](rota::schedule bad) {
        auto const r = a->register_schedules({{.id = "good"}, std::move(bad)});
        REQUIRE(r.size() == 2);
        for (auto& item : r) {
            REQUIRE_FALSE(item);
            CHECK(item.error() == errc::invalid_argument);
        }
        return r.front().error().detail;
    };
    CHECK_THAT(words({.id = ""}), contains("0 bytes") && contains("1..512"));
    CHECK_THAT(words({.id = std::string(513, 'x')}), contains("513 bytes") && contains("1..512"));
    CHECK_THAT(words({.id = "w", .weight = 0}), contains("weight") && contains("\"w\"") && contains("0"));
    CHECK_THAT(words({.id = "w", .weight = -1}), contains("-1"));
    CHECK_THAT(words({.id = "w", .weight = std::nan("")}), contains("nan"));
    CHECK_THAT(words({.id = "w", .weight = std::numeric_limits<double>::infinity()}), contains("inf"));
    CHECK_THAT(words({.id = "good"}), contains("twice"));
    group.pass(2s);
    CHECK(a.owned().empty());
}

TEST_CASE("ids may hold any byte, and 512 of them") {
    scenario group;
    auto& a = group.join("a");
    std::string const odd{"\0{}\xff\n\"%", 7};
    std::string const longest(512, 'x');
    REQUIRE(a->register_schedules({{.id = odd}, {.id = longest}, {.id = std::string(1, '\0')}}).all());
    group.pass(2s);
    CHECK(a.owned().size() == 3);
    CHECK(a.owns(odd));
    CHECK(a.owns(longest));
    auto lock = a->try_lock(odd, 5s);
    REQUIRE(lock);
    CHECK(lock->name() == odd);
    CHECK(lock->release());
    CHECK(a->unregister_schedules({odd, longest}).all());
}

TEST_CASE("ids that cannot be are refused by each call before anything is sent") {
    scenario group;
    auto& a = group.join("a");
    for (auto const& id : {std::string{}, std::string(513, 'x')}) {
        auto const before = a.wire.requests();
        CHECK(a->claim({id}).all().error() == errc::invalid_argument);
        CHECK(a->unregister_schedules({id}).all().error() == errc::invalid_argument);
        CHECK(a->try_lock(id, 1s).error() == errc::invalid_argument);
        CHECK(a->try_lock_name(id, 1s).error() == errc::invalid_argument);
        CHECK(a->transfer(id, "a").error() == errc::invalid_argument);
        CHECK(a.wire.requests() == before);
    }
    CHECK(a->claim({"x", "x"}).all().error() == errc::invalid_argument);
    CHECK(a->unregister_schedules({"x", "x"}).all().error() == errc::invalid_argument);
    CHECK(a->try_lock_each({"x", "x"}, 1s).all().error() == errc::invalid_argument);
}

TEST_CASE("nothing asked, nothing done") {
    scenario group;
    auto& a = group.join("a");
    CHECK(a->register_schedules({}).empty());
    CHECK(a->claim({}).empty());
    CHECK(a->unregister_schedules({}).empty());
    auto const before = a.wire.requests();
    CHECK(a->try_lock_each({}, 1s).empty());
    CHECK(a->extend_each({}, 1s).empty());
    CHECK(a->release_each({}).empty());
    CHECK(a.wire.requests() == before);
}

// ---------------------------------------------------------------- claim

TEST_CASE("claim: what nobody owns is owned at once, with its generation and weight") {
    scenario group;
    auto& leader = group.join("leader");
    auto& b = group.join("b");
    leader.pause();  // it would place them
    REQUIRE(b->register_schedules({{.id = "s", .weight = 5}, {.id = "t"}}).all());

    auto const claimed = b->claim({"s"});

    REQUIRE(claimed.all());
    CHECK(claimed.front()->id == "s");
    CHECK(claimed.front()->generation > 0);
    CHECK(claimed.front()->generation == b.generation_of("s"));
    CHECK(claimed.front()->weight == 5);
    CHECK(b.owned() == std::vector<std::string>{"s"});
    CHECK(has(b.told<ownership_changed>(), "s", rota::change_reason::claimed));
    CHECK(b->try_lock("s", 5s));
}

TEST_CASE("claim: one answer per item") {
    rota::options o{.max_schedules_per_node = 2};
    scenario group{o};
    auto& a = group.join("a");
    a.pause();
    auto& b = group.join("b");
    auto& c = group.join("c");
    REQUIRE(b->register_schedules(schedules("s", 5)).all());
    REQUIRE(c->claim({"s000"}).all());

    auto const answers = b->claim({"s000", "s001", "nowhere", "s002", "s003"});

    REQUIRE(answers.size() == 5);
    CHECK(answers[0].error() == errc::owned_by_other);
    CHECK(answers[1]);
    CHECK(answers[2].error() == errc::unknown_schedule);
    CHECK(answers[3]);
    CHECK(answers[4].error() == errc::capacity_exceeded);
    CHECK_THAT(answers[4].error().detail, contains("s003"));
    CHECK(b.owned().size() == 2);
    // Again: what it has is its own, without a new generation.
    auto const again = b->claim({"s001"});
    REQUIRE(again.all());
    CHECK(again.front()->generation == b.generation_of("s001"));
}

TEST_CASE("claim by many: exactly one gets it") {
    rota::options o{.max_schedules_per_node = 8, .auto_rebalance = false};
    scenario group{o};
    std::vector<member*> nodes;
    for (auto name : {"a", "b", "c", "d"}) nodes.push_back(&group.join(name));
    REQUIRE((*nodes[1])->register_schedules(schedules("s", 20)).all());
    std::size_t got = 0;
    for (auto* m : {nodes[3], nodes[2], nodes[1], nodes[0]}) {
        for (auto& r : (*m)->claim(ids("s", 20))) got += r ? 1 : 0;
        group.check();
    }
    CHECK(got == 20);
    CHECK(nodes[3]->owned().size() == 8);
    CHECK(nodes[2]->owned().size() == 8);
    CHECK(nodes[1]->owned().size() == 4);
}

TEST_CASE("claim of what a dead node owned is the leader's business") {
    scenario group;
    group.join("a");
    auto& b = group.join("b");
    auto& c = group.join("c");
    REQUIRE(c->register_schedules({{.id = "s"}}).all());
    group[0].pause();
    (void)c->claim({"s"});
    REQUIRE((group.owner_of("s") != nullptr));
    auto* owner = group.owner_of("s");
    owner->crash();
    auto& other = owner == &b ? c : b;
    CHECK(other->claim({"s"}).all().error() == errc::owned_by_other);
}

TEST_CASE("what was claimed is owned when claim returns, however much else there is to read") {
    scenario group;
    auto& leader = group.join("leader");
    auto& b = group.join("b");
    // Twenty grants to b, one at a time, while it does nothing.
    b.pause();
    for (auto& s : schedules("s", 40)) {
        REQUIRE(leader->register_schedules({s}).all());
        REQUIRE(leader->tick());
    }
    leader.pause();
    REQUIRE(leader.owned().size() == 20);
    REQUIRE(b->register_schedules({{.id = "mine"}}).all());
    auto const claimed = b->claim({"mine"});
    REQUIRE(claimed.all());
    CHECK(b.owns("mine"));
    CHECK(b->try_lock("mine", 5s));
}

// ---------------------------------------------------------------- unregister

TEST_CASE("unregister: gone for all, told to the owner, and unknown from then on") {
    scenario group;
    group.join("a");
    auto& b = group.join("b");
    REQUIRE(b->register_schedules(schedules("s", 4)).all());
    group.pass(2s);
    auto const id = b.owned().front();
    REQUIRE(group[0]->unregister_schedules({id}).all());
    group.pass(1100ms);
    CHECK_FALSE(b.owns(id));
    CHECK(has(b.told<ownership_changed>(), id, rota::change_reason::unregistered));
    CHECK(b->try_lock(id, 5s).error() == errc::unknown_schedule);
    CHECK(b->unregister_schedules({id}).all().error() == errc::unknown_schedule);
    CHECK(b->claim({id}).all().error() == errc::unknown_schedule);
    group.check_told();
}

TEST_CASE("a node that unregisters its own schedule owns it no more when the call returns") {
    scenario group;
    auto& a = group.join("a");
    REQUIRE(a->register_schedules({{.id = "s"}}).all());
    REQUIRE(a.owns("s"));
    REQUIRE(a->unregister_schedules({"s"}).all());
    CHECK_FALSE(a.owns("s"));
}

TEST_CASE("unregister: one answer per item, and none stops the others") {
    scenario group;
    auto& a = group.join("a");
    REQUIRE(a->register_schedules({{.id = "s"}, {.id = "t"}}).all());
    auto const answers = a->unregister_schedules({"s", "nowhere", "t"});
    REQUIRE(answers.size() == 3);
    CHECK(answers[0]);
    CHECK(answers[1].error() == errc::unknown_schedule);
    CHECK_THAT(answers[1].error().detail, contains("nowhere"));
    CHECK(answers[2]);
}

TEST_CASE("a run in hand keeps its lock when its schedule is unregistered") {
    scenario group;
    auto& a = group.join("a");
    REQUIRE(a->register_schedules({{.id = "s"}}).all());
    auto& lock = group.keep(a->try_lock("s", 10s));
    REQUIRE(a->unregister_schedules({"s"}).all());
    group.pass(2s);
    CHECK(lock.valid());
    CHECK(lock.extend(10s));
    CHECK(lock.release());
}

TEST_CASE("registered anew, it is granted to nobody before the earlier owner can have heard") {
    scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    REQUIRE(b->register_schedules(schedules("s", 2)).all());
    group.pass(2s);
    auto const id = b.owned().front();
    b.pause();  // it hears nothing
    group.pass(100ms);
    auto const at = group.store.now();
    REQUIRE(a->unregister_schedules({id}).all());
    REQUIRE(a->register_schedules({{.id = id}}).all());
    CHECK(b.owns(id));
    CHECK(a->claim({id}).all().error() == errc::conflict);

    (void)group.until([&] { return a.owns(id); }, 10s, 5ms);

    CHECK(a.owns(id));
    CHECK_FALSE(b.owns(id));  // and check() saw no moment of both
    CHECK(group.store.now() - at >= 1500ms);
}

TEST_CASE("registered anew again and again, the first owner's belief is still respected") {
    scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    REQUIRE(b->register_schedules(schedules("s", 2)).all());
    group.pass(2s);
    auto const id = b.owned().front();
    b.pause();
    for (int i = 0; i < 5; ++i) {
        REQUIRE(a->unregister_schedules({id}).all());
        REQUIRE(a->register_schedules({{.id = id}}).all());
        CHECK_FALSE(a->claim({id}).all());
        group.pass(100ms);
    }
    (void)group.until([&] { return a.owns(id); }, 10s, 5ms);
    CHECK(a.owns(id));
    group.check();
}

// ---------------------------------------------------------------- capacity

TEST_CASE("nobody is ever given more than it may hold") {
    rota::options o{.max_schedules_per_node = 3};
    scenario group{o};
    for (auto name : {"a", "b", "c"}) group.join(name);
    REQUIRE(group[0]->register_schedules(schedules("s", 12)).all());
    for (int i = 0; i < 50; ++i) {
        group.pass(100ms);
        for (std::size_t n = 0; n < 3; ++n) REQUIRE(group[n].owned().size() <= 3);
    }
    CHECK(group.owned() == 9);
    CHECK(group[0]->orphaned().value().size() == 3);
    CHECK(group[0]->propose().value().unplaced == 3);

    // One more node takes the rest.
    auto& d = group.join("d");
    group.pass(3s);
    CHECK(d.owned().size() == 3);
    CHECK(group[0]->orphaned().value().empty());

    // With one lost, the others still take no more.
    group[1].crash();
    group.pass(8s);
    for (std::size_t n : {0u, 2u, 3u}) CHECK(group[n].owned().size() == 3);
    CHECK(group[0]->orphaned().value().size() == 3);
}

TEST_CASE("a node of capacity 0 may lead, and owns nothing") {
    scenario group;
    rota::options none{.max_schedules_per_node = 0};
    auto& a = group.join("a", none);
    auto& b = group.join("b");
    REQUIRE(a->register_schedules(schedules("s", 5)).all());
    group.pass(3s);
    CHECK(a->is_leader());
    CHECK(a.owned().empty());
    CHECK(b.owned().size() == 5);
    CHECK(a->claim({"s000"}).all().error() == errc::owned_by_other);
}

TEST_CASE("with room for nobody, schedules stay registered and wait") {
    scenario group;
    rota::options none{.max_schedules_per_node = 0};
    auto& a = group.join("a", none);
    REQUIRE(a->register_schedules(schedules("s", 5)).all());
    group.pass(3s);
    CHECK(a->orphaned().value().size() == 5);
    auto const before = a.wire.requests();
    group.pass(10s);
    CHECK(a.wire.requests() - before <= 11);  // it does not try and try
    auto& b = group.join("b");
    group.pass(3s);
    CHECK(b.owned().size() == 5);
}

// ---------------------------------------------------------------- orphans

TEST_CASE("what a dead node owned has new owners within max(node_ttl, leader_lease) and a few ticks") {
    auto const ttl = GENERATE(2s, 3s, 6s);
    auto const lease = GENERATE(2s, 6s);
    auto const dies = GENERATE("leader", "follower", "both");
    CAPTURE(ttl.count(), lease.count(), dies);
    rota::options o{.node_ttl = ttl, .leader_lease = lease};
    scenario group{o};
    auto& a = group.join("a");
    auto& b = group.join("b");
    auto& c = group.join("c");
    group.join("d");
    REQUIRE(a->register_schedules(schedules("s", 40)).all());
    group.pass(4s);
    REQUIRE(a->is_leader());
    REQUIRE(group.owned() == 40);
    std::size_t alive = 4;
    if (dies != std::string{"follower"}) a.crash(), --alive;
    if (dies != std::string{"leader"}) b.crash(), --alive;

    auto living = [&] {
        std::size_t sum = 0;
        for (std::size_t i = 0; i < 4; ++i) sum += group[i].running ? group[i].owned().size() : 0;
        return sum;
    };
    auto const took = group.until([&] { return living() == 40; }, 40s, 5ms);

    CHECK(took <= std::max(ttl, lease) + 1100ms);
    group.pass(2s);
    CHECK(c.owned().size() == 40 / alive + (40 % alive ? (c.owned().size() > 40 / alive ? 1 : 0) : 0));
    group.check_told();
}

TEST_CASE("orphaned() names what has no live owner") {
    scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    REQUIRE(b->register_schedules(schedules("s", 4)).all());
    group.pass(3s);
    CHECK(a->orphaned().value().empty());
    auto const lost = b.owned();
    b.crash();
    a.pause();  // nobody does anything about it
    group.pass(4s);
    std::vector<std::string> found;
    auto const orphans = a->orphaned().value();
    for (auto& s : orphans) found.push_back(s.id);
    std::sort(found.begin(), found.end());
    // a has not ticked either: all are without a live owner as the server sees it.
    CHECK(found == ids("s", 4));
    CHECK(lost.size() == 2);
}

TEST_CASE("nodes() and loads() tell who is there, with load and capacity") {
    scenario group;
    rota::options small{.max_schedules_per_node = 2};
    auto& a = group.join("a");
    auto& b = group.join("b", small);
    REQUIRE(b->register_schedules(schedules("s", 7)).all());
    group.pass(3s);
    auto const loads = b->loads().value();
    REQUIRE(loads.size() == 2);
    CHECK(loads[0].node.id == "a");
    CHECK(loads[0].load == 5);
    CHECK(loads[0].capacity == rota::unlimited);
    CHECK(loads[1].node.id == "b");
    CHECK(loads[1].load == 2);
    CHECK(loads[1].capacity == 2);
    CHECK(loads[1].pending == 0);
    auto const nodes = a->nodes().value();
    REQUIRE(nodes.size() == 2);
    CHECK(nodes[0].remaining > 1s);
    CHECK(nodes[0].remaining <= 3s);
}

TEST_CASE("more than one page of nodes") {
    scenario group;
    for (int i = 0; i < 205; ++i) group.join(fmt::format("n{:03}", i));
    CHECK(group[0]->nodes().value().size() == 205);
    REQUIRE(group[0]->register_schedules(schedules("s", 410)).all());
    group.pass(3s, 100ms);
    for (std::size_t i = 0; i < 205; ++i) REQUIRE(group[i].owned().size() == 2);
}

}  // namespace ownership_test
