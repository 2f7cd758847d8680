// Records that disagree are mended. See conformance.hpp.
#pragma once

#include "scene.hpp"

namespace rota::test {

template <typename Store>
std::vector<scenario<Store>> mending_scenarios() {
    using on = scene<Store>&;
    using kind = store_damage::kind;
    return {
        {"a scan goes through all schedules, whoever has them",
         [](on s) {
             CHECK(s.get(op::scan_page{}) == op::scan_reply{});
             auto const a = s.join("a");
             auto const b = s.join("b");
             op::register_schedules all;
             op::claim claims{.incarnation = a};
             for (std::size_t i = 0; i < op::max_batch; ++i) {
                 all.items.push_back({"schedule-" + std::to_string(1000 + i), 2, "g=1"});
             }
             s.get(all);
             for (std::size_t i = 0; i < 100; ++i) claims.ids.push_back(all.items[i].id);
             auto const claimed = s.get(claims).items;
             // Nothing moves yet; then something does. A large one comes in pages, a small one may come at once.
             for (std::uint32_t const limit : {0u, 7u, 200u, 1000u}) {
                 auto const found = s.scan(limit);
                 REQUIRE(found.items.size() == op::max_batch);
                 CHECK(found.broken.empty());
                 for (std::size_t i = 0; i < op::max_batch; ++i) {
                     CHECK(found.items[i] == schedule_status{all.items[i].id, i < 100 ? claimed[i].token : 0,
                                                             i < 100 ? a : 0, 2, 0, "g=1"});
                 }
             }
             s.revoke(a, claims.ids[5], claimed[5].token, b);
             for (std::uint32_t const limit : {7u, 200u}) {
                 auto const found = s.scan(limit);
                 REQUIRE(found.items.size() == op::max_batch);
                 for (std::size_t i = 0; i < op::max_batch; ++i) CHECK(found.items[i].moving_to == (i == 5 ? b : 0));
             }
         }},
        {"there is nothing to mend in what is sound",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             auto const x = s.own_new(b, "x");
             auto const y = s.own_new(b, "y");
             s.add({"free"});
             s.revoke(b, "y", y, a);
             auto const before = s.seq();
             auto const got = s.get(op::mend{.incarnation = a,
                                             .term = term,
                                             .items = {{"x", {a, b}}, {"y", {b}}, {"free", {a}}, {"none", {a, b, 9}}},
                                             .recount = {a, b, 4711}});
             CHECK(got.items == std::vector<op::outcome>(4));
             CHECK(s.seq() == before);
             CHECK(s.where("x").generation == x);
             CHECK(s.where("y").moving_to == a);
             CHECK(s.node(a).pending == 1);
             CHECK(s.node(b).load == 2);
             CHECK(s.get(op::mend{.incarnation = a, .term = term}).items.empty());
             CHECK(s.refusal(op::mend{.incarnation = a, .term = term - 1}) == errc::not_leader);
             CHECK(s.refusal(op::mend{.incarnation = b, .term = term}) == errc::not_leader);
             CHECK(s.refusal(op::mend{.incarnation = a, .term = term, .seen = a + 1'000'000'000}) == errc::not_joined);
         }},
        {"a record that is lost is made anew, and its holder told; nobody is granted it too early",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             s.get(op::register_schedules{{{"x", 3, "g=1"}}});
             s.claim(b, "x");
             s.damage({.what = kind::lose_record, .id = "x"});
             auto const page = s.get(op::schedules_page{.holder = b});
             CHECK(page.items.empty());
             CHECK(page.strays == std::vector<std::string>{"x"});
             auto const before = s.seq();
             auto const version = s.version_of(b);
             auto const mended = s.mend(a, term, "x", {b});
             CHECK(mended.token > b);
             CHECK(s.where("x") == schedule_status{"x", mended.token, 0, 1, 0, {}});
             CHECK(s.events_after(before) == std::vector{op::group_event{.seq = before + 1,
                                                                         .kind = event_kind::owned,
                                                                         .id = "x",
                                                                         .generation = mended.token,
                                                                         .reason = change_reason::repaired}});
             CHECK(s.changes_of(b, version) == std::vector{op::change{.kind = op::change_kind::removed, .id = "x"}});
             CHECK(s.node(b).load == 0);
             op::claim const claims{.incarnation = a, .ids = {"x"}};
             op::adopt const adopts{.incarnation = a, .term = term, .items = {{"x", mended.token, 0, a}}};
             CHECK(s.one(claims).code == errc::conflict);
             CHECK(s.one(adopts).code == errc::conflict);
             s.advance(6s);
             s.renew(a, "a", term);
             s.advance(4s - 1us);
             CHECK(s.one(claims).code == errc::conflict);
             s.advance(1us);
             CHECK(s.one(adopts).ok());
         }},
        {"until it is mended, a record that cannot be read is nobody's whom a request could name",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             auto const x = s.own_new(b, "x");
             auto const y = s.own_new(b, "y");
             s.revoke(b, "y", y, a, 30s, true);
             s.damage({.what = kind::garble_record, .id = "x"});
             auto const before = s.seq();
             CHECK(s.where("x") == schedule_status{.id = "x"});
             CHECK(s.get(op::schedules_page{.holder = b}).strays == std::vector<std::string>{"x"});
             CHECK(s.scan().broken == std::vector<std::string>{"x"});
             CHECK(s.scan().items.size() == 1);
             s.add({"x"});
             CHECK(s.one(op::claim{.incarnation = b, .ids = {"x"}}).code == errc::owned_by_other);
             CHECK(s.one(op::unregister_schedules{{{"x", b}}, 1}).code == errc::conflict);
             CHECK(s.one(op::unregister_schedules{{{"x", 0}}, 1}).code == errc::conflict);
             CHECK(s.one(op::update_schedules{{{"x", 2, {}, b}}}).code == errc::conflict);
             CHECK(s.one(op::adopt{.incarnation = a, .term = term, .items = {{"x", 0, 0, a}}}).code == errc::conflict);
             CHECK(s.one(op::revoke{.incarnation = a, .term = term, .items = {{"x", x, b, a}}}).code == errc::conflict);
             CHECK(s.one(op::acknowledge{.incarnation = b, .items = {{"x", x, a, {}}}}).code == errc::conflict);
             CHECK(s.one(op::acknowledge{.incarnation = b, .items = {{"x", x, a, "y"}}}).code == errc::conflict);
             CHECK(s.lock(b, "x", x).code == errc::not_owner);
             CHECK(s.get(op::acquire_locks{.incarnation = b, .items = {{"x", x}, {"none", 1}}, .ttl = 5s})
                       .items[0]
                       .code == errc::not_owner);
             CHECK(s.seq() == before);
             auto const mended = s.mend(a, term, "x", {b});
             CHECK(s.where("x") == schedule_status{"x", mended.token, 0, 1, 0, {}});
             CHECK(s.kinds_after(before) == event_kinds{event_kind::owned});
             CHECK(s.node(b).load == 1);
         }},
        {"a lost or garbled record of what was being handed over ends the hand-off",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             auto const x = s.own_new(b, "x");
             auto const y = s.own_new(b, "y");
             auto const z = s.own_new(b, "z");
             s.revoke(b, "x", x, a);
             s.revoke(b, "y", y, a);
             s.revoke(b, "z", z, a);
             s.damage({.what = kind::lose_record, .id = "x"});
             s.damage({.what = kind::garble_record, .id = "y"});
             s.damage({.what = kind::lose_record, .id = "z"});
             s.damage({.what = kind::unlist, .id = "z", .node = b});
             CHECK(s.node(a).pending == 3);
             CHECK(s.mend(a, term, "x", {b}).token != 0);
             CHECK(s.mend(a, term, "y", {b}).token != 0);
             // Nobody lists it and nothing is known of it but that it moved: it is not registered.
             CHECK(s.mend(a, term, "z", {b}) == op::outcome{});
             CHECK(s.node(a).pending == 0);
             CHECK(s.where("x").moving_to == 0);
             CHECK(s.where("y").moving_to == 0);
             CHECK_FALSE(s.get(op::lookup{{"z"}}).items[0].registered);
         }},
        {"what moved when its record was lost moves still if it is registered anew",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             auto const x = s.own_new(b, "x");
             auto const token = s.lock(b, "x", x, 1, 100s).token;
             s.revoke(b, "x", x, a, 1s);
             s.damage({.what = kind::lose_record, .id = "x"});
             s.advance(1s);
             CHECK(s.one(op::extend_locks{.incarnation = b, .items = {{"x", token}}, .ttl = 200s}).code ==
                   errc::not_owner);
             s.add({"x"});
             CHECK(s.where("x").moving_to == a);
             auto const mended = s.mend(a, term, "x", {b});
             CHECK(mended.token != 0);
             CHECK(s.where("x") == schedule_status{"x", mended.token, 0, 1, 0, {}});
             CHECK(s.node(a).pending == 0);
         }},
        {"an owner that nobody knows is none",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             s.get(op::register_schedules{{{"x", 3, "g=1"}}});
             s.claim(b, "x");
             s.damage({.what = kind::change_owner, .id = "x", .node = 4711});
             CHECK(s.get(op::schedules_page{.holder = b}).strays == std::vector<std::string>{"x"});
             auto const before = s.seq();
             auto const mended = s.mend(a, term, "x", {b, 4711});
             CHECK(s.where("x") == schedule_status{"x", mended.token, 0, 3, 0, "g=1"});
             CHECK(s.events_after(before) == std::vector{op::group_event{.seq = before + 1,
                                                                         .kind = event_kind::owned,
                                                                         .id = "x",
                                                                         .from = 4711,
                                                                         .generation = mended.token,
                                                                         .weight = 3,
                                                                         .reason = change_reason::repaired,
                                                                         .traits = "g=1"}});
             CHECK(s.changes_of(b).back().kind == op::change_kind::removed);
             CHECK(s.one(op::claim{.incarnation = a, .ids = {"x"}}).code == errc::conflict);
             s.get(op::leave{b, "b", {}});
             CHECK(s.one(op::claim{.incarnation = a, .ids = {"x"}}).ok());
         }},
        {"indexes follow the record",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const c = s.join("c");
             auto const term = s.lead(a, "a");
             s.get(op::register_schedules{{{"x", 3, "g=1"}}});
             auto const x = s.claim(b, "x");
             s.damage({.what = kind::change_owner, .id = "x", .node = c});
             s.damage({.what = kind::list, .id = "x", .node = a});
             s.damage({.what = kind::list, .id = "x", .node = 0});
             auto const before = s.seq();
             // Whose index is to be written must be named.
             CHECK(s.mend(a, term, "x", {a, b}) == op::outcome{.code = errc::conflict});
             CHECK(s.seq() == before);
             // Others may know it as somebody else's: its owner has it under a new generation.
             auto const mended = s.mend(a, term, "x", {a, b, c, a});
             CHECK(mended.token > x);
             CHECK(s.where("x") == schedule_status{"x", mended.token, c, 3, 0, "g=1"});
             CHECK(s.events_after(before) == std::vector{op::group_event{.seq = before + 1,
                                                                         .kind = event_kind::owned,
                                                                         .id = "x",
                                                                         .to = c,
                                                                         .generation = mended.token,
                                                                         .weight = 3,
                                                                         .reason = change_reason::repaired,
                                                                         .traits = "g=1"}});
             CHECK(s.changes_of(a) == std::vector{op::change{.kind = op::change_kind::removed, .id = "x"}});
             CHECK(s.changes_of(b).back() == op::change{.kind = op::change_kind::removed, .id = "x"});
             CHECK(s.changes_of(c) == std::vector{op::change{.kind = op::change_kind::granted,
                                                             .id = "x",
                                                             .generation = mended.token,
                                                             .weight = 3,
                                                             .reason = change_reason::repaired,
                                                             .traits = "g=1"}});
             CHECK(s.get(op::schedules_page{.holder = c}).items.size() == 1);
             for (auto const holder : {a, b, fencing_token{0}}) {
                 auto const page = s.get(op::schedules_page{.holder = holder});
                 CHECK(page.items.size() + page.strays.size() == 0);
             }
             CHECK(s.node(a).load + s.node(b).load == 0);
             CHECK(s.node(c).load == 1);
         }},
        {"what nobody has is listed as such",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             s.add({"x", "y"});
             s.damage({.what = kind::unlist, .id = "x", .node = 0});
             s.damage({.what = kind::list, .id = "y", .node = b});
             s.damage({.what = kind::list, .id = "ghost", .node = 0});
             CHECK(s.get(op::schedules_page{}).strays == std::vector<std::string>{"ghost"});
             CHECK(s.mend(a, term, "x", {}).ok());
             CHECK(s.mend(a, term, "y", {b}).ok());
             CHECK(s.mend(a, term, "ghost", {}).token != 0);
             CHECK(s.get(op::schedules_page{}).items.size() == 3);
             CHECK(s.get(op::schedules_page{.holder = b}).strays.empty());
             // y was not granted to b, but b may think so.
             CHECK(s.one(op::claim{.incarnation = a, .ids = {"y"}}).code == errc::conflict);
             CHECK(s.one(op::claim{.incarnation = a, .ids = {"x"}}).ok());
             CHECK(s.one(op::claim{.incarnation = a, .ids = {"ghost"}}).ok());
         }},
        {"a hand-off to who has it already is none",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             auto const x = s.own_new(a, "x");
             s.revoke(a, "x", x, b);
             s.damage({.what = kind::change_owner, .id = "x", .node = b});
             s.damage({.what = kind::list, .id = "x", .node = b});
             auto const mended = s.mend(a, term, "x", {a, b});
             CHECK(mended.token > x);
             CHECK(s.where("x") == schedule_status{"x", mended.token, b, 1, 0, {}});
             CHECK(s.node(b).pending == 0);
         }},
        {"one that is listed elsewhere, too, begins anew, and no hand-off of before goes on",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             auto const x = s.own_new(b, "x");
             s.revoke(b, "x", x, a);
             s.damage({.what = kind::list, .id = "x", .node = a});
             auto const before = s.seq();
             auto const mended = s.mend(a, term, "x", {a, b});
             CHECK(mended.token > x);
             CHECK(s.seq() == before + 1);
             CHECK(s.changes_of(a).back().kind == op::change_kind::removed);
             CHECK(s.changes_of(b).back().generation == mended.token);
             CHECK(s.where("x") == schedule_status{"x", mended.token, b, 1, 0, {}});
             CHECK(s.node(a).pending == 0);
         }},
        {"an owner that was not listed, or listed beside nobody, begins anew, and no hand-off of before goes on",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             auto const x = s.own_new(b, "x");
             auto const y = s.own_new(b, "y");
             s.revoke(b, "x", x, a);
             s.revoke(b, "y", y, a);
             s.damage({.what = kind::unlist, .id = "x", .node = b});
             s.damage({.what = kind::list, .id = "y", .node = 0});
             for (std::string const id : {"x", "y"}) {
                 auto const mended = s.mend(a, term, id, {a, b});
                 CHECK(mended.token > y);
                 CHECK(s.where(id) == schedule_status{id, mended.token, b, 1, 0, {}});
                 CHECK(s.changes_of(b).back().generation == mended.token);
             }
             CHECK(s.node(a).pending == 0);
             CHECK(s.one(op::acknowledge{.incarnation = b, .items = {{"x", x, a, {}}}}).code == errc::conflict);
         }},
        {"an owner that is dead cannot be told, and what it had is its own all the same",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             s.own_new(b, "x");
             s.get(op::leave{b, "b", {}});
             s.damage({.what = kind::unlist, .id = "x", .node = b});
             auto const mended = s.mend(a, term, "x", {b});
             CHECK(s.where("x") == schedule_status{"x", mended.token, b, 1, 0, {}});
             CHECK(s.one(op::adopt{.incarnation = a, .term = term, .items = {{"x", mended.token, b, a}}}).ok());
         }},
        {"several that may believe are all waited for",
         [](on s) {
             auto const a = s.join("a");
             auto const term = s.lead(a, "a");
             auto const b = s.join("b");
             s.advance(2s);
             auto const c = s.join("c");
             s.own_new(b, "x");
             s.damage({.what = kind::list, .id = "x", .node = c});
             s.damage({.what = kind::garble_record, .id = "x"});
             CHECK(s.mend(a, term, "x", {c, b}).token != 0);
             op::claim const claims{.incarnation = a, .ids = {"x"}};
             s.get(op::leave{c, "c", {}});
             CHECK(s.one(claims).code == errc::conflict);
             s.get(op::leave{b, "b", {}});
             CHECK(s.one(claims).code == errc::conflict);
             s.advance(6s);
             s.renew(a, "a", term);
             s.advance(4s - 1us);
             CHECK(s.one(claims).code == errc::conflict);
             s.advance(1us);
             CHECK(s.one(claims).ok());
         }},
        {"mending keeps the guard that there was, and a repeated unregistering is known all the same",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             auto const late = s.get(op::join{.node_id = "late", .nonce = 1, .node_ttl = 30s}).incarnation;
             s.own_new(late, "x");
             op::unregister_schedules const request{{{"x", late}}, 77};
             CHECK(s.one(request).ok());
             s.add({"x"});
             s.damage({.what = kind::list, .id = "x", .node = b});
             CHECK(s.mend(a, term, "x", {b}).ok());
             CHECK(s.one(request).ok());
             CHECK(s.where("x").owner == 0);
             s.advance(6s);
             s.renew(a, "a", term);
             s.advance(6s);
             // Though b goes: the former owner may still believe in it.
             s.get(op::leave{b, "b", {}});
             CHECK(s.one(op::claim{.incarnation = a, .ids = {"x"}}).code == errc::conflict);
             s.renew(a, "a", term);
             s.advance(18s);
             CHECK(s.one(op::claim{.incarnation = a, .ids = {"x"}}).ok());
         }},
        {"counters are counted anew for whoever is named",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             auto const x = s.own_new(b, "x");
             s.own_new(b, "y");
             s.revoke(b, "x", x, a);
             for (auto const node : {a, b}) {
                 s.damage({.what = kind::set_load, .node = node, .count = 7});
                 s.damage({.what = kind::set_pending, .node = node, .count = 9});
             }
             CHECK(s.node(a).load == 7);
             CHECK(s.node(b).pending == 9);
             CHECK(s.mend(a, term, "y", {b}) == op::outcome{});
             CHECK(s.node(b).load == 2);
             CHECK(s.node(b).pending == 0);
             CHECK(s.node(a).load == 7);
             s.get(op::mend{.incarnation = a, .term = term, .recount = {a, 4711}});
             CHECK(s.node(a).load == 0);
             CHECK(s.node(a).pending == 1);
         }},
        {"no counter falls below nothing",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b", 1);
             auto const x = s.own_new(a, "x");
             s.revoke(a, "x", x, b);
             s.damage({.what = kind::set_load, .node = a, .count = 0});
             s.damage({.what = kind::set_pending, .node = b, .count = 0});
             CHECK(s.one(op::acknowledge{.incarnation = a, .items = {{"x", x, b, {}}}}).ok());
             CHECK(s.node(a).load == 0);
             CHECK(s.node(b).load == 1);
             CHECK(s.node(b).pending == 0);
         }},
        {"a node whose counter says that it owns nothing is forgotten, and what it owned mended",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             s.own_new(b, "x");
             s.damage({.what = kind::set_load, .node = b, .count = 0});
             auto const before = s.seq();
             s.get(op::leave{b, "b", {}});
             CHECK(s.kinds_after(before) == event_kinds{event_kind::left, event_kind::forgotten});
             CHECK(s.where("x").owner == b);
             auto const mended = s.mend(a, term, "x", {b});
             CHECK(s.where("x") == schedule_status{"x", mended.token, 0, 1, 0, {}});
             CHECK(s.one(op::claim{.incarnation = a, .ids = {"x"}}).ok());
         }},
        {"pendings are counted only while not too much moves",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             auto const move = [&](std::size_t first, std::size_t count) {
                 op::register_schedules all;
                 op::claim claims{.incarnation = b};
                 op::revoke moves{.incarnation = a, .term = term, .items = {}, .handoff_deadline = 30s};
                 for (std::size_t i = first; i < first + count; ++i) {
                     all.items.push_back({"schedule-" + std::to_string(i), 1, {}});
                     claims.ids.push_back(all.items.back().id);
                 }
                 s.get(all);
                 auto const claimed = s.get(claims).items;
                 for (std::size_t i = 0; i < count; ++i) moves.items.push_back({claims.ids[i], claimed[i].token, b, a});
                 s.get(moves);
             };
             for (std::size_t i = 0; i < op::max_counted_moves; i += op::max_batch) move(i, op::max_batch);
             s.damage({.what = kind::set_pending, .node = a, .count = 3});
             op::mend const recount{.incarnation = a, .term = term, .recount = {a, b}};
             s.get(recount);
             CHECK(s.node(a).pending == op::max_counted_moves);
             move(op::max_counted_moves, 1);
             s.damage({.what = kind::set_pending, .node = a, .count = 3});
             s.get(recount);
             CHECK(s.node(a).pending == 3);
             s.damage({.what = kind::set_pending, .node = a, .count = op::max_counted_moves + 1});
         }},
        {"a full batch of damage is mended at once",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             op::register_schedules all;
             op::claim claims{.incarnation = b};
             op::mend mends{.incarnation = a, .term = term};
             for (std::size_t i = 0; i < op::max_batch; ++i) {
                 all.items.push_back({"schedule-" + std::to_string(i), 1, {}});
                 claims.ids.push_back(all.items.back().id);
                 mends.items.push_back({all.items.back().id, {a, b}});
             }
             s.get(all);
             s.get(claims);
             for (auto const& id : claims.ids) s.damage({.what = kind::lose_record, .id = id});
             auto const mended = s.get(mends).items;
             CHECK(mended.back().token == mended.front().token + op::max_batch - 1);
             CHECK(s.scan().items.size() == op::max_batch);
         }},
    };
}

}  // namespace rota::test
