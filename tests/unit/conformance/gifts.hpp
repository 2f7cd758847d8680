// What an owner gives away in one step, by itself or in place of what was asked for. See conformance.hpp.
#pragma once

#include "scene.hpp"

namespace rota::test {

template <typename Store>
std::vector<scenario<Store>> gift_scenarios() {
    using on = scene<Store>&;
    return {
        {"an owner gives a schedule away in one step",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b", 2);
             auto const x = s.own_new(a, "x");
             auto const before = s.seq();
             auto const version = s.version_of(a);
             op::acknowledge const gift{.incarnation = a, .items = {{"x", x, b, {}, true}}};
             auto const done = s.one(gift);
             CHECK(done.ok());
             CHECK(done.token > x);
             CHECK(s.where("x") == schedule_status{"x", done.token, b, 1, 0, {}});
             CHECK(s.events_after(before) == std::vector{op::group_event{.seq = before + 1,
                                                                         .kind = event_kind::owned,
                                                                         .id = "x",
                                                                         .from = a,
                                                                         .to = b,
                                                                         .generation = done.token,
                                                                         .reason = change_reason::transferred}});
             CHECK(s.changes_of(b) == std::vector{op::change{.kind = op::change_kind::granted,
                                                             .id = "x",
                                                             .generation = done.token,
                                                             .other = a,
                                                             .reason = change_reason::transferred}});
             CHECK(s.changes_of(a, version).empty());
             CHECK(s.node(a).load == 0);
             CHECK(s.node(b).load == 1);
             // The repeat has no second effect.
             CHECK(s.one(gift) == op::outcome{.code = errc::conflict});
             CHECK(s.seq() == before + 1);
             // It goes to where it was asked to as well, and keeps the place that was made for it there.
             s.revoke(b, "x", done.token, a, 3s, false);
             CHECK(s.one(op::acknowledge{.incarnation = b, .items = {{"x", done.token, a, {}, true}}}).ok());
             CHECK(s.node(a).pending == 0);
             CHECK(s.node(a).load == 1);
         }},
        {"a schedule goes with its lock",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const x = s.own_new(a, "x");
             auto const before = s.seq();
             auto const done =
                 s.one(op::acknowledge{.incarnation = a, .items = {{"x", x, b, {}, true}}, .lock_ttl = 5s});
             REQUIRE(done.ok());
             CHECK(s.changes_of(b) == std::vector{op::change{.kind = op::change_kind::granted,
                                                             .id = "x",
                                                             .generation = done.token,
                                                             .other = a,
                                                             .reason = change_reason::transferred,
                                                             .lease = 5s}});
             CHECK(s.events_after(before) == std::vector{op::group_event{.seq = before + 1,
                                                                         .kind = event_kind::owned,
                                                                         .id = "x",
                                                                         .from = a,
                                                                         .to = b,
                                                                         .generation = done.token,
                                                                         .reason = change_reason::transferred}});
             // It is b's alone, and no request of b's has it.
             s.advance(1s);
             auto const refused = s.lock(b, "x", done.token);
             CHECK(refused.code == errc::locked_by_other);
             CHECK(refused.remaining == 4s);
             CHECK(s.one(op::acknowledge{.incarnation = b, .items = {{"x", done.token, a, {}, true}}}).code ==
                   errc::locked_by_other);
             op::extend_locks more{.incarnation = a, .items = {{"x", done.token}}, .ttl = 5s};
             CHECK(s.one(more).code == errc::lock_lost);
             more.incarnation = b;
             CHECK(s.one(more).remaining == 5s);
             CHECK(s.one(op::release_locks{.items = {{"x", done.token}}}).ok());
             auto const own = s.lock(b, "x", done.token);
             CHECK(own.token > done.token);
             CHECK(s.one(op::release_locks{.items = {{"x", own.token}}}).ok());
             // Where it was asked for, likewise.
             s.revoke(b, "x", done.token, a);
             auto const back =
                 s.one(op::acknowledge{.incarnation = b, .items = {{"x", done.token, a, {}}}, .lock_ttl = 5s});
             REQUIRE(back.ok());
             CHECK(s.changes_of(a).back().lease == microseconds{5s});
             // It ends by itself.
             s.advance(5s);
             CHECK(s.lock(a, "x", back.token).ok());
         }},
        {"a lock goes with a schedule where it goes alone and to somebody",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const full = s.join("full", 1);
             auto const x = s.own_new(a, "x");
             auto const y = s.own_new(a, "y");
             op::acknowledge both{
                 .incarnation = a, .items = {{"x", x, b, {}, true}, {"y", y, b, {}, true}}, .lock_ttl = 5s};
             auto const done = s.get(both).items;
             for (auto const& c : s.changes_of(b)) CHECK(c.lease == 0s);
             CHECK(s.lock(b, "x", done[0].token).ok());
             auto const z = s.own_new(a, "z");
             s.revoke(a, "z", z, full);
             s.get(op::describe_node{full, 0, {}});
             auto const nobodys =
                 s.one(op::acknowledge{.incarnation = a, .items = {{"z", z, full, {}}}, .lock_ttl = 5s});
             CHECK(nobodys.code == errc::capacity_exceeded);
             auto const mine = s.one(op::claim{.incarnation = a, .ids = {"z"}});
             CHECK(s.lock(a, "z", mine.token).ok());
             CHECK(s.one(op::acknowledge{.incarnation = a, .items = {{"z", mine.token, b, {}, true}}, .lock_ttl = 5s})
                       .code == errc::locked_by_other);
         }},
        {"a gift that is refused changes nothing",
         [](on s) {
             auto const a = s.join("a");
             auto const full = s.join("full", 0);
             auto const b = s.join("b", 1);
             auto const x = s.own_new(a, "x");
             auto const y = s.own_new(a, "y");
             s.revoke(a, "y", y, b, 3s, false);
             auto const before = s.seq();
             auto const give = [&](fencing_token by, fencing_token generation, fencing_token to) {
                 return s.one(op::acknowledge{.incarnation = by, .items = {{"x", generation, to, {}, true}}});
             };
             CHECK(give(a, x, full) == op::outcome{.code = errc::capacity_exceeded});
             CHECK(give(a, x, b) == op::outcome{.code = errc::capacity_exceeded});  // the place is y's
             CHECK(give(a, x, 5) == op::outcome{.code = errc::unknown_node});
             CHECK(give(a, x, 0) == op::outcome{.code = errc::conflict});
             CHECK(give(a, x + 1, b) == op::outcome{.code = errc::conflict});
             CHECK(give(b, x, a) == op::outcome{.code = errc::conflict});
             CHECK(s.one(op::acknowledge{.incarnation = a, .items = {{"none", x, b, {}, true}}}) ==
                   op::outcome{.code = errc::unknown_schedule});
             CHECK(s.one(op::acknowledge{.incarnation = a, .items = {{"y", y, full, {}, true}}}) ==
                   op::outcome{.code = errc::conflict});  // on its way to another
             CHECK(s.lock(a, "x", x).ok());
             auto const locked = give(a, x, b);
             CHECK(locked.code == errc::locked_by_other);
             CHECK(locked.remaining > 0s);
             // The same among others of one request.
             auto const many = s.get(
                 op::acknowledge{.incarnation = a, .items = {{"x", x, full, {}, true}, {"none", x, b, {}, true}}});
             CHECK(many.items[0].code == errc::locked_by_other);
             CHECK(many.items[1].code == errc::unknown_schedule);
             CHECK(s.seq() == before);
             CHECK(s.where("x") == schedule_status{"x", x, a, 1, 0, {}});
         }},
        {"several gifts in one request see each other's effect",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b", 1);
             auto const x = s.own_new(a, "x");
             auto const y = s.own_new(a, "y");
             auto const done =
                 s.get(op::acknowledge{.incarnation = a, .items = {{"x", x, b, {}, true}, {"y", y, b, {}, true}}});
             CHECK(done.items[0].ok());
             CHECK(done.items[1] == op::outcome{.code = errc::capacity_exceeded});
             CHECK(s.where("y").owner == a);
             CHECK(s.node(a).load == 1);
             CHECK(s.node(b).load == 1);
         }},
        {"an open request may be met with an idle schedule in place of the busy one",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b", 1);
             auto const busy = s.own_new(a, "busy");
             auto const idle = s.own_new(a, "idle");
             CHECK(s.lock(a, "busy", busy).ok());
             s.revoke(a, "busy", busy, b, 30s, true);
             auto const before = s.seq();
             auto const version = s.version_of(a);
             op::acknowledge const ack{.incarnation = a, .items = {{"idle", idle, b, "busy"}}};
             auto const done = s.one(ack);
             CHECK(done.ok());
             CHECK(done.token > idle);
             CHECK(s.where("idle") == schedule_status{"idle", done.token, b, 1, 0, {}});
             CHECK(s.where("busy") == schedule_status{"busy", busy, a, 1, 0, {}});
             CHECK(s.events_after(before) == std::vector{op::group_event{.seq = before + 1,
                                                                         .kind = event_kind::moving,
                                                                         .id = "busy",
                                                                         .from = a,
                                                                         .to = 0,
                                                                         .generation = busy,
                                                                         .reason = change_reason::transferred},
                                                         op::group_event{.seq = before + 1,
                                                                         .kind = event_kind::owned,
                                                                         .id = "idle",
                                                                         .from = a,
                                                                         .to = b,
                                                                         .generation = done.token,
                                                                         .reason = change_reason::transferred}});
             CHECK(s.changes_of(b) == std::vector{op::change{.kind = op::change_kind::granted,
                                                             .id = "idle",
                                                             .generation = done.token,
                                                             .other = a,
                                                             .reason = change_reason::transferred}});
             CHECK(s.changes_of(a, version).empty());
             CHECK(s.node(a).load == 1);
             CHECK(s.node(b).load == 1);
             CHECK(s.node(b).pending == 0);
             // The repeat has no second effect, and what was called off can be locked again and moved anew.
             CHECK(s.one(ack).code == errc::conflict);
             CHECK(s.lock(a, "busy", busy).ok());
             s.get(op::describe_node{b, 2, {}});
             s.revoke(a, "busy", busy, b);
         }},
        {"only its like may go in the place of another, and only if any may",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const c = s.join("c");
             s.get(op::register_schedules{{{"asked", 1, "g=1"},
                                           {"like", 1, "g=1"},
                                           {"heavier", 2, "g=1"},
                                           {"other rules", 1, "g=2"},
                                           {"closed", 1, "g=1"},
                                           {"theirs", 1, "g=1"},
                                           {"moving too", 1, "g=1"}}});
             auto const own = [&](std::string const& id) { return s.claim(a, id); };
             auto const asked = own("asked");
             auto const like = own("like");
             auto const heavier = own("heavier");
             auto const other_rules = own("other rules");
             auto const closed = own("closed");
             auto const theirs = s.claim(c, "theirs");
             auto const moving_too = own("moving too");
             s.revoke(a, "asked", asked, b, 30s, true);
             s.revoke(a, "moving too", moving_too, b, 30s, true);
             s.revoke(a, "closed", closed, b, 30s, false);
             s.revoke(c, "theirs", theirs, b, 30s, true);
             auto const code = [&](std::string id, fencing_token generation, fencing_token to, std::string place) {
                 return s
                     .one(op::acknowledge{.incarnation = a,
                                          .items = {{std::move(id), generation, to, std::move(place)}}})
                     .code;
             };
             auto const before = s.seq();
             CHECK(code("heavier", heavier, b, "asked") == errc::conflict);
             CHECK(code("other rules", other_rules, b, "asked") == errc::conflict);
             CHECK(code("like", like, b, "closed") == errc::conflict);
             CHECK(code("like", like, b, "theirs") == errc::conflict);
             CHECK(code("theirs", theirs, b, "asked") == errc::conflict);
             CHECK(code("moving too", moving_too, b, "asked") == errc::conflict);
             CHECK(code("asked", asked, b, "asked") == errc::conflict);
             CHECK(code("like", like, b, "heavier") == errc::conflict);  // is not asked for
             CHECK(code("like", like, c, "asked") == errc::conflict);
             CHECK(code("like", like, 0, "heavier") == errc::conflict);
             CHECK(code("like", like - 1, b, "asked") == errc::conflict);
             CHECK(code("like", like, b, "none") == errc::conflict);
             CHECK(code("none", like, b, "asked") == errc::unknown_schedule);
             CHECK(s.lock(a, "like", like, 1, 5s).ok());
             CHECK(code("like", like, b, "asked") == errc::locked_by_other);
             CHECK(s.seq() == before);
             s.advance(5s);
             CHECK(code("like", like, b, "asked") == errc{});
         }},
        {"each request is met once, in whatever way",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const w = s.own_new(a, "w");
             auto const x = s.own_new(a, "x");
             auto const y = s.own_new(a, "y");
             auto const z = s.own_new(a, "z");
             s.revoke(a, "w", w, b, 30s, true);
             s.revoke(a, "x", x, b, 30s, true);
             auto const got = s.get(op::acknowledge{
                 .incarnation = a,
                 .items = {{"y", y, b, "x"}, {"z", z, b, "x"}, {"x", x, b, {}}, {"w", w, b, {}}, {"z", z, b, "w"}}});
             CHECK(got.items[0].ok());
             CHECK(got.items[1].code == errc::conflict);
             CHECK(got.items[2].code == errc::conflict);
             CHECK(got.items[3].token == got.items[0].token + 1);
             CHECK(got.items[4].code == errc::conflict);
             CHECK(s.node(a).load == 2);
             CHECK(s.node(b).load == 2);
             CHECK(s.node(b).pending == 0);
         }},
        {"nothing goes in another's place to a node that is gone or full, and nothing is changed",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b", 1);
             auto const x = s.own_new(a, "x");
             auto const y = s.own_new(a, "y");
             s.revoke(a, "x", x, b, 30s, true);
             op::acknowledge const ack{.incarnation = a, .items = {{"y", y, b, "x"}}};
             s.get(op::describe_node{b, 0, {}});
             auto before = s.seq();
             CHECK(s.one(ack) == op::outcome{.code = errc::capacity_exceeded});
             s.get(op::leave{b, "b", {}});
             before = s.seq();
             CHECK(s.one(ack) == op::outcome{.code = errc::unknown_node});
             CHECK(s.seq() == before);
             CHECK(s.where("x").moving_to == b);
             CHECK(s.where("y").generation == y);
         }},
    };
}

}  // namespace rota::test
