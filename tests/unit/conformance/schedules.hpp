// Schedules are registered, described, claimed, triggered and unregistered. See conformance.hpp.
#pragma once

#include "scene.hpp"

namespace rota::test {

template <typename Store>
std::vector<scenario<Store>> schedule_scenarios() {
    using on = scene<Store>&;
    return {
        {"registering makes schedules exist, once",
         [](on s) {
             auto const answer = s.get(op::register_schedules{{{"x", 2.5, {}}, {"y", 1, {}}}});
             CHECK(answer.items == std::vector<op::outcome>(2));
             auto const before = s.seq();
             CHECK(s.one(op::register_schedules{{{"x", 7, {}}}}).ok());
             CHECK(s.where("x") == schedule_status{"x", 0, 0, 2.5, 0, {}});
             CHECK(s.kinds_after(before).empty());
             auto const events = s.events_after(0);
             REQUIRE(events.size() == 2);
             CHECK(events[0] == op::group_event{.seq = 1, .kind = event_kind::registered, .id = "x", .weight = 2.5});
             CHECK(events[1].seq == 1);
             CHECK(s.get(op::register_schedules{}).items.empty());
         }},
        {"schedules keep their rules, and a change of weight or rules is told",
         [](on s) {
             auto const a = s.join("a");
             s.get(op::register_schedules{{{"x", 2, "p=a;g=1"}, {"free", 1, {}}}});
             auto const x = s.claim(a, "x");
             auto const before = s.seq();
             auto const version = s.version_of(a);
             CHECK(s.where("x") == schedule_status{"x", x, a, 2, 0, "p=a;g=1"});
             CHECK(s.events_after(before - 1).at(0).traits == "p=a;g=1");
             CHECK(s.changes_of(a).at(0).traits == "p=a;g=1");
             auto const got = s.get(op::update_schedules{
                 {{"x", 2, "p=b", a}, {"free", 0.5, {}, 0}, {"none", 1, {}, 0}, {"free", 1, {}, a}}});
             CHECK(got.items ==
                   std::vector<op::outcome>{{}, {}, {.code = errc::unknown_schedule}, {.code = errc::conflict}});
             CHECK(s.where("x") == schedule_status{"x", x, a, 2, 0, "p=b"});
             CHECK(s.where("free") == schedule_status{"free", 0, 0, 0.5, 0, {}});
             CHECK(s.changes_of(a, version) ==
                   std::vector{op::change{
                       .kind = op::change_kind::updated, .id = "x", .generation = x, .weight = 2, .traits = "p=b"}});
             CHECK(s.events_after(before) ==
                   std::vector{
                       op::group_event{.seq = before + 1,
                                       .kind = event_kind::updated,
                                       .id = "x",
                                       .from = a,
                                       .generation = x,
                                       .weight = 2,
                                       .traits = "p=b"},
                       op::group_event{.seq = before + 1, .kind = event_kind::updated, .id = "free", .weight = 0.5}});
             // As it is already: nothing is told.
             CHECK(s.one(op::update_schedules{{{"x", 2, "p=b", a}}}).ok());
             CHECK(s.kinds_after(before).size() == 2);
             CHECK(s.version_of(a) == version + 1);
             // Of a dead node's schedule too, which cannot be told.
             s.get(op::leave{a, "a", {}});
             CHECK(s.one(op::update_schedules{{{"x", 3, "p=b", a}}}).ok());
             CHECK(s.where("x").weight == 3);
             CHECK(s.get(op::update_schedules{}).items.empty());
         }},
        {"an update does not touch a hand-off that is under way",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const x = s.own_new(a, "x");
             s.revoke(a, "x", x, b);
             CHECK(s.one(op::update_schedules{{{"x", 5, "g=1", a}}}).ok());
             CHECK(s.where("x").moving_to == b);
             auto const done = s.one(op::acknowledge{.incarnation = a, .items = {{"x", x, b, {}}}});
             CHECK(s.where("x") == schedule_status{"x", done.token, b, 5, 0, "g=1"});
             CHECK(s.changes_of(b).at(0).weight == 5);
         }},
        {"looking up says what is registered, and where",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const generation = s.own_new(a, "x");
             s.add({"y"});
             s.revoke(a, "x", generation, b);
             auto const found = s.get(op::lookup{{"x", "none", "y"}});
             REQUIRE(found.items.size() == 3);
             CHECK(found.items[0].status == schedule_status{"x", generation, a, 1, b, {}});
             CHECK_FALSE(found.items[1].registered);
             CHECK(found.items[1].status == schedule_status{});
             CHECK(found.items[2].status == schedule_status{"y", 0, 0, 1, 0, {}});
             CHECK(s.get(op::lookup{}).items.empty());
         }},
        {"weights and ids come back as they went in",
         [](on s) {
             auto const a = s.join(std::string{"node\0|{}\r\n \xff", 12});
             std::vector<op::described_schedule> const odd{{std::string(512, '\xfe'), 0.1, "p=a"},
                                                           {std::string{"\0", 1}, 1e-300, {}},
                                                           {"1|2|3", 1e300, "r=%7C;x"},
                                                           {std::string{"a\0b|c\n", 6}, 1.0 / 3, ";"},
                                                           {"{tag}*?[x]", 12345678.9, std::string(4000, 't')}};
             s.get(op::register_schedules{odd});
             op::lookup all;
             op::claim claims{.incarnation = a};
             for (auto const& o : odd) all.ids.push_back(o.id);
             claims.ids = all.ids;
             auto const claimed = s.get(claims);
             auto const found = s.get(all);
             auto const changes = s.changes_of(a);
             auto const events = s.events_after(1);
             REQUIRE(changes.size() == odd.size());
             REQUIRE(events.size() == 2 * odd.size());
             for (std::size_t i = 0; i < odd.size(); ++i) {
                 CHECK(found.items[i].status ==
                       schedule_status{odd[i].id, claimed.items[i].token, a, odd[i].weight, 0, odd[i].traits});
                 CHECK(changes[i].id == odd[i].id);
                 CHECK(changes[i].weight == odd[i].weight);
                 CHECK(events[i].id == odd[i].id);
                 CHECK(events[odd.size() + i].weight == odd[i].weight);
                 auto const lock = s.lock(a, odd[i].id, claimed.items[i].token);
                 CHECK(lock.ok());
                 CHECK(s.one(op::release_locks{.items = {{odd[i].id, lock.token}}}).ok());
             }
             CHECK(s.get(op::schedules_page{.holder = a}).items.size() == odd.size());
             CHECK(s.get(op::nodes_page{}).items[0].node.id == std::string{"node\0|{}\r\n \xff", 12});
             s.lead(a, std::string{"node\0|{}\r\n \xff", 12});
             CHECK(s.tick(a, "another").leader_id == std::string{"node\0|{}\r\n \xff", 12});
         }},
        {"a node claims what nobody owns, up to its capacity",
         [](on s) {
             auto const a = s.join("a", 2);
             auto const b = s.join("b");
             s.add({"u", "v", "w", "x"});
             s.claim(b, "u");
             auto const before = s.seq();
             auto const got = s.get(op::claim{.incarnation = a, .ids = {"u", "v", "none", "w", "x"}});
             REQUIRE(got.items.size() == 5);
             CHECK(got.items[0].code == errc::owned_by_other);
             CHECK(got.items[1].ok());
             CHECK(got.items[2].code == errc::unknown_schedule);
             CHECK(got.items[3].token == got.items[1].token + 1);
             CHECK(got.items[4].code == errc::capacity_exceeded);
             auto const again = s.get(op::claim{.incarnation = a, .ids = {"v", "w"}});
             CHECK(again.items[0] == got.items[1]);
             CHECK(again.items[1] == got.items[3]);
             auto const events = s.events_after(before);
             REQUIRE(events.size() == 2);
             CHECK(events[0] == op::group_event{.seq = before + 1,
                                                .kind = event_kind::owned,
                                                .id = "v",
                                                .to = a,
                                                .generation = got.items[1].token,
                                                .reason = change_reason::claimed});
             auto const changes = s.changes_of(a);
             REQUIRE(changes.size() == 2);
             CHECK(changes[0] == op::change{.kind = op::change_kind::granted,
                                            .id = "v",
                                            .generation = got.items[1].token,
                                            .reason = change_reason::claimed});
             CHECK(s.tick(a, "a").version == 1);
             CHECK(s.refusal(op::claim{.incarnation = 5, .ids = {"x"}}) == errc::not_joined);
         }},
        {"a claim does not take from a dead node",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             s.own_new(b, "x");
             s.reap_all(a, "a", term, {b});
             CHECK(s.one(op::claim{.incarnation = a, .ids = {"x"}}).code == errc::owned_by_other);
         }},
        {"a repeated unregistering leaves alone what was registered anew since",
         [](on s) {
             s.add({"x"});
             op::unregister_schedules const request{{{"x", 0}}, 77};
             CHECK(s.one(request).ok());
             s.add({"x"});
             CHECK(s.one(request).ok());
             CHECK(s.where("x").owner == 0);
             CHECK(s.one(op::unregister_schedules{{{"x", 0}}, 78}).ok());
         }},
        {"unregistering tells the owner, and a repeat succeeds",
         [](on s) {
             auto const a = s.join("a");
             s.own_new(a, "x");
             s.add({"y"});
             auto const before = s.seq();
             auto const version = s.version_of(a);
             op::unregister_schedules const request{{{"x", a}, {"y", a}, {"none", 0}}, 77};
             auto const got = s.get(request);
             REQUIRE(got.items.size() == 3);
             CHECK(got.items[0].ok());
             CHECK(got.items[1].code == errc::conflict);
             CHECK(got.items[2].code == errc::unknown_schedule);
             CHECK(s.get(op::lookup{{"x"}}).items[0].registered == false);
             CHECK(s.changes_of(a, version) == std::vector{op::change{.kind = op::change_kind::removed, .id = "x"}});
             auto const events = s.events_after(before);
             REQUIRE(events.size() == 1);
             CHECK(events[0] ==
                   op::group_event{.seq = before + 1, .kind = event_kind::unregistered, .id = "x", .from = a});
             CHECK(s.get(request).items[0].ok());
             s.advance(60s - 1us);
             CHECK(s.get(request).items[0].ok());
             s.advance(1us);
             CHECK(s.get(request).items[0].code == errc::unknown_schedule);
             CHECK(s.one(op::unregister_schedules{{{"y", 0}}, 78}).ok());
             CHECK(s.one(op::unregister_schedules{{{"y", 0}}, 79}).code == errc::unknown_schedule);
         }},
        {"what is registered anew is granted to nobody while its former owner may believe in it",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(b, "b");
             s.own_new(a, "x");
             CHECK(s.one(op::unregister_schedules{{{"x", a}}, 1}).ok());
             s.add({"x"});
             op::claim const claims{.incarnation = b, .ids = {"x"}};
             op::adopt const adopts{.incarnation = b, .term = term, .items = {{"x", 0, 0, b}}};
             CHECK(s.one(claims).code == errc::conflict);
             CHECK(s.one(adopts).code == errc::conflict);
             // Once more: the first owner's guard stays.
             CHECK(s.one(op::unregister_schedules{{{"x", 0}}, 2}).ok());
             s.add({"x"});
             CHECK(s.one(claims).code == errc::conflict);
             s.advance(6s);
             s.tick(a, "a");
             s.renew(b, "b", term);
             s.advance(4s);
             CHECK(s.one(claims).ok());
         }},
        {"the guard of what is registered anew ends with its former owner",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             s.own_new(a, "x");
             CHECK(s.one(op::unregister_schedules{{{"x", a}}, 1}).ok());
             s.add({"x"});
             s.get(op::leave{a, "a", {}});
             CHECK(s.one(op::claim{.incarnation = b, .ids = {"x"}}).ok());
         }},
        {"a trigger is told to the owner, and stays with the schedule until it is done",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const x = s.own_new(a, "x");
             auto const before = s.seq();
             auto const version = s.version_of(a);
             auto const asked = s.one(op::trigger{{{"x", a}}});
             CHECK(asked.ok());
             CHECK(asked.token > x);
             CHECK(s.where("x") == schedule_status{"x", x, a, 1, 0, {}, asked.token});
             CHECK(s.changes_of(a, version) ==
                   std::vector{op::change{
                       .kind = op::change_kind::updated, .id = "x", .generation = x, .triggered = asked.token}});
             CHECK(s.seq() == before);  // of no concern to the group
             // What it weighs and asks for is changed without it.
             CHECK(s.one(op::update_schedules{{{"x", 2.5, "g=1", a}}}).ok());
             CHECK(s.where("x") == schedule_status{"x", x, a, 2.5, 0, "g=1", asked.token});
             CHECK(s.one(op::update_schedules{{{"x", 2.5, "g=1", a}}}).ok());
             CHECK(s.seq() == before + 1);
             // It goes where the schedule goes.
             auto const given = s.one(op::acknowledge{.incarnation = a, .items = {{"x", x, b, {}, true}}});
             CHECK(s.where("x") == schedule_status{"x", given.token, b, 2.5, 0, "g=1", asked.token});
             CHECK(s.changes_of(b) == std::vector{op::change{.kind = op::change_kind::granted,
                                                             .id = "x",
                                                             .generation = given.token,
                                                             .weight = 2.5,
                                                             .other = a,
                                                             .reason = change_reason::transferred,
                                                             .traits = "g=1",
                                                             .triggered = asked.token}});
             // Asked for again: another token; the first one is done in vain.
             auto const again = s.one(op::trigger{{{"x", b}}});
             CHECK(again.token > given.token);
             CHECK(s.one(op::trigger{{{"x", 0, asked.token}}}) == op::outcome{});
             CHECK(s.where("x").triggered == again.token);
             auto const version_of_b = s.version_of(b);
             CHECK(s.one(op::trigger{{{"x", 0, again.token}}}) == op::outcome{});
             CHECK(s.one(op::trigger{{{"x", 0, again.token}}}) == op::outcome{});
             CHECK(s.where("x") == schedule_status{"x", given.token, b, 2.5, 0, "g=1"});
             CHECK(s.version_of(b) == version_of_b);  // the owner said so itself
         }},
        {"a trigger of what nobody has, is elsewhere, or is not there",
         [](on s) {
             auto const a = s.join("a");
             auto const x = s.own_new(a, "x");
             CHECK(s.one(op::trigger{{{"none", a}}}).code == errc::unknown_schedule);
             CHECK(s.one(op::trigger{{{"none", 0, 5}}}).code == errc::unknown_schedule);
             CHECK(s.one(op::trigger{{{"x", 5}}}).code == errc::conflict);
             CHECK(s.one(op::trigger{{{"x", 0}}}).code == errc::conflict);
             CHECK(s.where("x") == schedule_status{"x", x, a, 1, 0, {}});
             s.get(op::register_schedules{{{"free", 3, "g=1"}}});
             auto const asked = s.one(op::trigger{{{"free", 0}}});
             CHECK(asked.ok());
             CHECK(s.where("free") == schedule_status{"free", 0, 0, 3, 0, "g=1", asked.token});
             auto const mine = s.one(op::claim{.incarnation = a, .ids = {"free"}});
             CHECK(s.where("free") == schedule_status{"free", mine.token, a, 3, 0, "g=1", asked.token});
             CHECK(s.changes_of(a).back().triggered == asked.token);
             // Twice in one request: the later one counts.
             auto const twice = s.get(op::trigger{{{"x", a}, {"free", a}}});
             CHECK(twice.items[1].token == twice.items[0].token + 1);
         }},
    };
}

}  // namespace rota::test
