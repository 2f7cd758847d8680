// Self-healing: records that disagree are found by the leader as it takes over and on its rounds, mended by one rule, and
// reported; nobody owns at the same time what another does meanwhile.
#include "../support/scenario.hpp"

namespace audit_test {

using namespace std::chrono_literals;
using rota::change_reason;
using rota::ownership_changed;
using rota_test::contains;
using rota_test::ids;
using rota_test::member;
using rota_test::scenario;
using rota_test::schedules;
using damage = rota::detail::store_damage;

namespace {

struct damaged : scenario {
    damaged() : scenario{{.audit_interval = 10s}}, a{join("a")}, b{join("b")} {
        REQUIRE(a->register_schedules(schedules("s", 20)).all());
        pass(4s);
        REQUIRE(a->is_leader());
        REQUIRE(owned() == 20);
    }
    member& a;
    member& b;

    void inflict(damage const& d) { store.damage("rota:", d); }
    rota::fencing_token incarnation(member& m) {
        for (auto& n : m->nodes().value()) {
            if (n.node.id == m.name) return n.node.incarnation;
        }
        return 0;
    }
    [[nodiscard]] bool reported(std::string const& id) const {
        for (auto& w : a.told<rota::warning>()) {
            if (w.what.detail.find(id) != std::string::npos) return true;
        }
        return false;
    }
    // Every schedule is owned once, and can be locked by who believes to own it.
    void whole() {
        CHECK(owned() == 20);
        for (auto* m : {&a, &b}) {
            for (auto& id : m->owned()) CHECK((*m)->try_lock(id, 1s));
        }
    }
};

}  // namespace

TEST_CASE("a sound group is left alone") {
    damaged group;
    auto const before = group.a.record.events().size() + group.b.record.events().size();
    group.pass(60s, 50ms);
    CHECK(group.a.record.events().size() + group.b.record.events().size() == before);
}

TEST_CASE("a record whose owner nobody has heard of has no owner, and is placed") {
    damaged group;
    auto const id = group.b.owned().front();
    group.inflict({.what = damage::kind::change_owner, .id = id, .node = 4711});
    group.pass(20s, 50ms);
    CHECK(group.reported(id));
    group.whole();
}

TEST_CASE("a record that is lost although its owner lists it is made anew, and goes to nobody too early") {
    damaged group;
    auto const id = group.b.owned().front();
    group.inflict({.what = damage::kind::lose_record, .id = id});
    CHECK(group.b->try_lock(id, 1s).error() == rota::errc::unknown_schedule);
    group.pass(30s, 50ms);
    CHECK(group.reported(id));
    group.whole();
    group.check_told();
}

TEST_CASE("a record that cannot be read is made anew") {
    damaged group;
    auto const id = group.b.owned().front();
    group.inflict({.what = damage::kind::garble_record, .id = id});
    group.pass(30s, 50ms);
    CHECK(group.reported(id));
    group.whole();
}

TEST_CASE("an owner that its index has forgotten is listed again") {
    damaged group;
    auto const id = group.b.owned().front();
    group.inflict({.what = damage::kind::unlist, .id = id, .node = group.incarnation(group.b)});
    group.inflict({.what = damage::kind::set_load, .node = group.incarnation(group.b), .count = 77});
    // The next leader reads indexes, not records.
    REQUIRE(group.a->renounce_leadership());
    group.pass(20s, 50ms);
    group.whole();
    for (auto& n : group.a->nodes().value()) CHECK(n.load == 10);
}

TEST_CASE("a node that is listed without right is told, and the owner stays") {
    damaged group;
    auto const id = group.b.owned().front();
    group.inflict({.what = damage::kind::list, .id = id, .node = group.incarnation(group.a)});
    REQUIRE(group.a->renounce_leadership());
    group.pass(20s, 50ms);
    CHECK(group.b.owns(id));
    group.whole();
    CHECK(group.a->orphaned().value().empty());
}

TEST_CASE("counters that nothing else disagrees with are counted anew by every audit") {
    damaged group;
    group.inflict({.what = damage::kind::set_load, .node = group.incarnation(group.b), .count = 77});
    group.pass(20s, 50ms);
    for (auto& n : group.a->nodes().value()) CHECK(n.load == 10);
    group.whole();
}

}  // namespace audit_test
