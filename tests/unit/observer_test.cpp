// An observer: a coordinator that follows the group without being a node of it.
#include "../support/scenario.hpp"

#include <map>
#include <string>
#include <variant>

namespace observer_test {

using namespace std::chrono_literals;
using rota::errc;
using rota_test::member;
using rota_test::scenario;
using rota_test::schedules;

namespace {

rota::options observer() { return {.event_scope = rota::event_scope::group, .observer = true}; }

// Owners as the events alone tell them; what they say twice or out of order is a failure.
std::map<std::string, std::string> owners_told(member const& m) {
    std::map<std::string, rota::node_ref> owner;
    for (auto const& changed : m.told<rota::ownership_changed>()) {
        INFO(changed.schedule);
        auto const known = owner.find(changed.schedule);
        if (known != owner.end()) CHECK(known->second == changed.from);
        owner[changed.schedule] = changed.to;
    }
    std::map<std::string, std::string> names;
    for (auto const& [id, node] : owner) names.emplace(id, node.id);
    return names;
}

std::map<std::string, std::string> owners_in_fact(scenario& group, std::size_t count) {
    std::map<std::string, std::string> names;
    for (auto const& id : rota_test::ids("s", count)) {
        auto const* owner = group.owner_of(id);
        names.emplace(id, owner ? owner->name : std::string{});
    }
    return names;
}

}  // namespace

TEST_CASE("an observer hears of all that happens in the group, and the group never of it") {
    scenario group;
    auto& a = group.join("a");
    auto& eye = group.join("eye", observer());
    CHECK(eye.record.events().empty());
    REQUIRE(a->register_schedules(schedules("s", 6)).all());
    auto& b = group.join("b");
    group.pass(5s);
    CHECK(owners_told(eye) == owners_in_fact(group, 6));
    CHECK(b.owned().size() == 3);
    CHECK(eye.told<rota::schedule_changed>().size() == 6);

    auto const nodes = a->nodes().value();
    CHECK(nodes.size() == 2);
    CHECK(eye->owned().empty());
    CHECK_FALSE(eye->is_leader());

    REQUIRE(a->leave());
    group.pass(3s);
    auto const led = eye.told<rota::leadership_changed>();
    REQUIRE(led.size() == 1);
    CHECK(led[0].leader.id == "b");
    CHECK(led[0].previous.id == "a");
    auto const members = eye.told<rota::membership_changed>();
    REQUIRE(members.size() == 2);
    CHECK(members[0].subject.id == "b");
    CHECK(members[1].subject.id == "a");
    CHECK(members[1].change == rota::membership_change::left);
    CHECK(owners_told(eye) == owners_in_fact(group, 6));

    b.crash();
    group.pass(5s);
    CHECK(eye.told<rota::node_joined>().empty());
    CHECK(eye.told<rota::node_suspended>().empty());
    CHECK_FALSE(eye->is_leader());  // though nobody else is left
    CHECK(eye->nodes().value().size() == 1);
}

TEST_CASE("an observer owns and locks nothing, and may look and give orders") {
    scenario group;
    auto& a = group.join("a");
    auto& eye = group.join("eye", observer());
    REQUIRE(eye->register_schedules(schedules("s", 2)).all());
    group.pass(2s);
    CHECK(a.owned().size() == 2);
    auto const lock = eye->try_lock("s000", 1s);
    REQUIRE_FALSE(lock);
    CHECK(lock.error() == errc::not_joined);
    CHECK(lock.error().detail.find("observe") != std::string::npos);
    CHECK(eye->try_lock_name("n", 1s).error() == errc::not_joined);
    CHECK(eye->claim({"s000"}).all().error() == errc::not_joined);
    CHECK(eye->rebalance().error() == errc::not_joined);
    CHECK(eye->renounce_leadership().error() == errc::not_leader);
    CHECK(eye->propose());
    CHECK(eye->drain("a"));
    group.pass(2s);
    CHECK(a.owned().size() == 2);  // there is nobody else
    CHECK(eye->nodes().value().at(0).draining);
    CHECK(eye->leave());
    CHECK(eye->tick().error() == errc::not_joined);
}

TEST_CASE("an observer that was away tells the differences after a gap; one that left and comes back, too") {
    scenario group;
    auto& a = group.join("a");
    auto& eye = group.join("eye", observer());
    REQUIRE(a->register_schedules(schedules("s", 4)).all());
    group.pass(3s);
    eye.pause();
    for (std::size_t i = 0; i < rota::op::event_log_length / 2 + 10; ++i) {
        REQUIRE(a->register_schedules({{.id = "x"}}).all());
        REQUIRE(a->unregister_schedules({"x"}).all());
    }
    REQUIRE(a->register_schedules({{.id = "y"}}).all());
    eye.wake_up();
    group.pass(3s);
    CHECK(eye.record.count<rota::events_gap>() == 1);
    CHECK(eye.told<rota::schedule_changed>().size() == 5);
    CHECK(owners_told(eye).size() == 5);

    REQUIRE(eye->leave());
    REQUIRE(a->unregister_schedules({"y"}).all());
    REQUIRE(eye->join());
    group.pass(1s);
    auto const changes = eye.told<rota::schedule_changed>();
    REQUIRE(changes.size() == 6);
    CHECK(changes.back().schedule == "y");
    CHECK_FALSE(changes.back().registered);
}

TEST_CASE("an observer goes on through a loss of contact, and of the server's data") {
    scenario group;
    auto& a = group.join("a");
    auto& eye = group.join("eye", observer());
    REQUIRE(a->register_schedules(schedules("s", 4)).all());
    group.pass(3s);
    eye.cut();
    auto& b = group.join("b");
    group.pass(5s);
    CHECK(eye->tick().error() == errc::unavailable);
    eye.mend();
    group.pass(2s);
    CHECK(eye->tick());
    CHECK(owners_told(eye) == owners_in_fact(group, 4));
    CHECK(b.owned().size() == 2);

    auto& late = group.add("late", observer());
    late.cut();
    auto const refused = late->join();
    REQUIRE_FALSE(refused);
    CHECK(refused.error() == errc::unavailable);
    CHECK(late->tick().error() == errc::not_joined);  // a join that failed is not tried any more
}

TEST_CASE("an observer of a group that begins only later hears of it") {
    scenario group;
    auto& eye = group.join("eye", observer());
    auto& a = group.join("a");
    REQUIRE(a->register_schedules(schedules("s", 2)).all());
    group.pass(3s);
    CHECK(owners_told(eye) == owners_in_fact(group, 2));
    CHECK(eye.told<rota::membership_changed>().size() == 1);
}

}  // namespace observer_test
