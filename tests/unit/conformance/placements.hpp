// What a leader does with schedules: adoption, and hand-offs that it asks for. See conformance.hpp.
#pragma once

#include "scene.hpp"

namespace rota::test {

template <typename Store>
std::vector<scenario<Store>> placement_scenarios() {
    using on = scene<Store>&;
    return {
        {"the leader gives orphans to nodes",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const c = s.join("c", 1);
             auto const term = s.lead(a, "a");
             auto const x = s.own_new(b, "x");
             auto const y = s.own_new(b, "y");
             auto const z = s.own_new(b, "z");
             s.add({"new"});
             s.advance(6s);
             s.renew(a, "a", term);
             s.tick(c, "c");
             s.advance(6s);
             op::adopt plan{.incarnation = a, .term = term, .items = {{"x", x, b, a}}};
             CHECK(s.one(plan).code == errc::conflict);  // silent, but not reaped
             CHECK(s.get(op::reap{a, term, {b}}).items.size() == 1);
             auto const before = s.seq();
             plan.items = {{"x", x, b, a},    {"y", y - 1, b, a}, {"y", y, a, a},
                           {"none", 0, 0, a}, {"y", y, b, b},     {"y", y, b, 99},
                           {"new", 0, 0, c},  {"y", y, b, c},     {"z", z, b, a, change_reason::rebalanced}};
             auto const got = s.get(plan);
             REQUIRE(got.items.size() == 9);
             CHECK(got.items[0].ok());
             CHECK(got.items[1].code == errc::conflict);
             CHECK(got.items[2].code == errc::conflict);
             CHECK(got.items[3].code == errc::unknown_schedule);
             CHECK(got.items[4].code == errc::unknown_node);
             CHECK(got.items[5].code == errc::unknown_node);
             CHECK(got.items[6].token == got.items[0].token + 1);
             CHECK(got.items[7].code == errc::capacity_exceeded);
             CHECK(got.items[8].token == got.items[0].token + 2);
             CHECK(s.where("x") == schedule_status{"x", got.items[0].token, a, 1, 0, {}});
             CHECK(s.get(plan).items[0].code == errc::conflict);
             CHECK(s.kinds_after(before) == event_kinds{event_kind::owned, event_kind::owned, event_kind::owned});
             auto const changes = s.changes_of(a);
             REQUIRE(changes.size() == 2);
             CHECK(changes[0] == op::change{.kind = op::change_kind::granted,
                                            .id = "x",
                                            .generation = got.items[0].token,
                                            .other = b,
                                            .reason = change_reason::placed});
             CHECK(changes[1].reason == change_reason::rebalanced);
             // The last one takes the dead node with it.
             auto const last = s.seq();
             plan.items = {{"y", y, b, a}};
             CHECK(s.one(plan).ok());
             CHECK(s.kinds_after(last) == event_kinds{event_kind::owned, event_kind::forgotten});
             CHECK(s.get(op::nodes_page{}).items.size() == 2);
             plan.term -= 1;
             CHECK(s.refusal(plan) == errc::not_leader);
         }},
        {"nobody is given anything past its deadline",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             s.add({"x"});
             auto const y = s.own_new(a, "y");
             s.advance(10s);
             s.renew(a, "a", term);
             CHECK(s.one(op::adopt{.incarnation = a, .term = term, .items = {{"x", 0, 0, b}}}).code ==
                   errc::unknown_node);
             CHECK(s.one(op::revoke{.incarnation = a, .term = term, .items = {{"y", y, a, b}}}).code ==
                   errc::unknown_node);
         }},
        {"the schedules of a superseded incarnation can be granted from its deadline on",
         [](on s) {
             auto const a = s.join("a");
             auto const x = s.own_new(a, "x");
             s.advance(4s);
             auto const newer = s.join("a");
             auto const term = s.lead(newer, "a");
             op::adopt const plan{.incarnation = newer, .term = term, .items = {{"x", x, a, newer}}};
             s.advance(6s - 1us);
             CHECK(s.one(plan).code == errc::conflict);
             s.advance(1us);
             CHECK(s.one(plan).ok());
         }},
        {"a hand-off is revoked, acknowledged, granted",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(b, "b");
             auto const x = s.own_new(a, "x");
             auto const a_version = s.version_of(a);
             auto before = s.seq();
             op::revoke const begin{.incarnation = b, .term = term, .items = {{"x", x, a, b}}, .handoff_deadline = 3s};
             CHECK(s.one(begin) == op::outcome{{}, x, {}});
             CHECK(s.where("x") == schedule_status{"x", x, a, 1, b, {}});
             CHECK(s.changes_of(a, a_version) == std::vector{op::change{.kind = op::change_kind::revoking,
                                                                        .id = "x",
                                                                        .generation = x,
                                                                        .other = b,
                                                                        .reason = change_reason::rebalanced,
                                                                        .handoff = 3s}});
             CHECK(s.events_after(before) == std::vector{op::group_event{.seq = before + 1,
                                                                         .kind = event_kind::moving,
                                                                         .id = "x",
                                                                         .from = a,
                                                                         .to = b,
                                                                         .generation = x,
                                                                         .reason = change_reason::rebalanced}});
             auto nodes = s.get(op::nodes_page{}).items;
             CHECK(nodes[0].load == 1);
             CHECK(nodes[1].pending == 1);
             // A repeat changes nothing.
             CHECK(s.one(begin) == op::outcome{{}, x, {}});
             CHECK(s.kinds_after(before).size() == 1);

             before = s.seq();
             auto const ack = op::acknowledge{.incarnation = a, .items = {{"x", x, b, {}}}};
             auto const done = s.one(ack);
             CHECK(done.ok());
             CHECK(done.token > x);
             CHECK(s.where("x") == schedule_status{"x", done.token, b, 1, 0, {}});
             CHECK(s.changes_of(b) == std::vector{op::change{.kind = op::change_kind::granted,
                                                             .id = "x",
                                                             .generation = done.token,
                                                             .other = a,
                                                             .reason = change_reason::rebalanced}});
             CHECK(s.kinds_after(before) == event_kinds{event_kind::owned});
             CHECK(s.one(ack).code == errc::conflict);
             nodes = s.get(op::nodes_page{}).items;
             CHECK(nodes[0].load == 0);
             CHECK(nodes[1].load == 1);
             CHECK(nodes[1].pending == 0);
         }},
        {"who may revoke what",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b", 1);
             auto const c = s.join("c");
             auto const term = s.lead(c, "c");
             auto const x = s.own_new(a, "x");
             auto const y = s.own_new(a, "y");
             s.add({"free"});
             auto const by_owner = [&](fencing_token from, std::string id, fencing_token generation, fencing_token to) {
                 return s
                     .one(op::revoke{
                         .incarnation = a, .items = {{std::move(id), generation, from, to}}, .handoff_deadline = 3s})
                     .code;
             };
             CHECK(by_owner(a, "none", x, b) == errc::unknown_schedule);
             CHECK(by_owner(b, "x", x, b) == errc::not_owner);
             CHECK(by_owner(a, "x", x - 1, b) == errc::conflict);
             CHECK(by_owner(a, "free", 0, b) == errc::conflict);
             CHECK(by_owner(a, "x", x, a) == errc::conflict);
             CHECK(by_owner(a, "x", x, 99) == errc::unknown_node);
             CHECK(by_owner(a, "x", x, b) == errc{});
             CHECK(by_owner(a, "x", x, c) == errc::conflict);
             CHECK(by_owner(a, "y", y, b) == errc::capacity_exceeded);
             CHECK(s.refusal(op::revoke{.incarnation = 5, .items = {{"y", y, 5, b}}}) == errc::not_joined);
             CHECK(s.refusal(op::revoke{.incarnation = a, .term = term, .items = {{"y", y, a, c}}}) ==
                   errc::not_leader);
             CHECK(s.one(op::revoke{.incarnation = c, .term = term, .items = {{"y", y, a, c}}}).ok());
             // From a dead node there is nothing to revoke: it is adopted.
             s.get(op::leave{a, "a", {}});
             CHECK(s.one(op::revoke{.incarnation = c, .term = term, .items = {{"x", x, a, c}}}).code == errc::conflict);
         }},
        {"a grant waits for the lock in hand",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const x = s.own_new(a, "x");
             auto const token = s.lock(a, "x", x).token;
             s.revoke(a, "x", x, b);
             op::acknowledge const ack{.incarnation = a, .items = {{"x", x, b}}};
             s.advance(1s);
             auto const waits = s.one(ack);
             CHECK(waits.code == errc::locked_by_other);
             CHECK(waits.remaining == microseconds{4s});
             CHECK(s.one(op::release_locks{.items = {{"x", token}}}).ok());
             CHECK(s.one(ack).ok());
         }},
        {"a grant does not wait for the lock of somebody who is gone",
         [](on s) {
             auto const older = s.join("a");
             auto const x = s.own_new(older, "x");
             CHECK(s.lock(older, "x", x, 1, 100s).ok());
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             s.get(op::leave{older, "a", {}});
             op::adopt const plan{.incarnation = a, .term = term, .items = {{"x", x, older, a}}};
             auto const adopted = s.one(plan).token;
             s.revoke(a, "x", adopted, b);
             CHECK(s.one(op::acknowledge{.incarnation = a, .items = {{"x", adopted, b, {}}}}).ok());
         }},
        {"an acknowledgement is of what was asked for",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const c = s.join("c");
             auto const x = s.own_new(a, "x");
             auto const code = [&](fencing_token node, std::string id, fencing_token generation, fencing_token to) {
                 return s.one(op::acknowledge{.incarnation = node, .items = {{std::move(id), generation, to, {}}}})
                     .code;
             };
             CHECK(code(a, "x", x, b) == errc::conflict);
             CHECK(code(a, "x", x, 0) == errc::conflict);
             s.revoke(a, "x", x, b);
             CHECK(code(a, "none", x, b) == errc::unknown_schedule);
             CHECK(code(a, "x", x - 1, b) == errc::conflict);
             CHECK(code(a, "x", x, c) == errc::conflict);
             CHECK(code(c, "x", x, b) == errc::conflict);
             CHECK(s.refusal(op::acknowledge{.incarnation = 5, .items = {{"x", x, b, {}}}}) == errc::not_joined);
             CHECK(code(a, "x", x, b) == errc{});
         }},
        {"a plan of what is not so any more is refused as a whole",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             auto const x = s.own_new(a, "x");
             s.add({"y"});
             auto const now = s.seq();
             op::adopt adopts{.incarnation = a, .term = term, .items = {{"y", 0, 0, b}}, .as_of = now - 1};
             op::revoke revokes{.incarnation = a, .term = term, .items = {{"x", x, a, b}}, .as_of = now + 1};
             CHECK(s.refusal(adopts) == errc::conflict);
             CHECK(s.refusal(revokes) == errc::conflict);
             CHECK(s.seq() == now);
             revokes.as_of = now;
             CHECK(s.one(revokes).ok());
             CHECK(s.refusal(revokes) == errc::conflict);  // its own event counts
             revokes.term = 0;
             CHECK(s.refusal(revokes) == errc::conflict);
             adopts.as_of = now + 1;
             CHECK(s.one(adopts).ok());
             adopts.as_of = 0;
             CHECK(s.one(adopts).code == errc::conflict);
             adopts.term -= 1;
             adopts.as_of = 1;
             CHECK(s.refusal(adopts) == errc::not_leader);
         }},
        {"a batch that names a thing twice, against the rules, has one effect",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             s.add({"x", "y"});
             auto const got = s.get(
                 op::adopt{.incarnation = a, .term = term, .items = {{"x", 0, 0, b}, {"x", 0, 0, b}, {"x", 0, 0, a}}});
             CHECK(got.items[0].ok());
             CHECK(got.items[1].code == errc::conflict);
             CHECK(got.items[2].code == errc::conflict);
             auto const x = got.items[0].token;
             auto const claimed = s.get(op::claim{.incarnation = b, .ids = {"y", "y"}});
             CHECK(claimed.items[0] == claimed.items[1]);
             auto const revoked = s.get(op::revoke{
                 .incarnation = a, .term = term, .items = {{"x", x, b, a}, {"x", x, b, a}}, .handoff_deadline = 5s});
             CHECK(revoked.items[0] == revoked.items[1]);
             CHECK(s.node(a).pending == 1);
             CHECK(s.node(b).load == 2);
             auto const before = s.seq();
             CHECK(s.get(op::update_schedules{{{"x", 2, {}, b}, {"x", 3, {}, b}}}).items[1].ok());
             CHECK(s.kinds_after(before) == event_kinds{event_kind::updated, event_kind::updated});
             CHECK(s.where("x").weight == 3);
             auto const done = s.get(op::acknowledge{.incarnation = b, .items = {{"x", x, a, {}}, {"x", x, a, {}}}});
             CHECK(done.items[0].ok());
             CHECK(done.items[1].code == errc::conflict);
             CHECK(s.node(a).load == 1);
         }},
        {"an open request is told as one, and repeating it closes nothing",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             s.get(op::register_schedules{{{"x", 2, "g=1"}}});
             auto const x = s.claim(a, "x");
             auto const version = s.version_of(a);
             auto const before = s.seq();
             s.revoke(a, "x", x, b, 3s, true);
             s.revoke(a, "x", x, b, 3s, false);
             CHECK(s.changes_of(a, version) == std::vector{op::change{.kind = op::change_kind::revoking,
                                                                      .id = "x",
                                                                      .generation = x,
                                                                      .weight = 2,
                                                                      .other = b,
                                                                      .reason = change_reason::transferred,
                                                                      .handoff = 3s,
                                                                      .open = true,
                                                                      .traits = "g=1"}});
             CHECK(s.events_after(before) == std::vector{op::group_event{.seq = before + 1,
                                                                         .kind = event_kind::moving,
                                                                         .id = "x",
                                                                         .from = a,
                                                                         .to = b,
                                                                         .generation = x,
                                                                         .weight = 2,
                                                                         .reason = change_reason::transferred,
                                                                         .traits = "g=1"}});
         }},
        {"a hand-off to a node that is gone ends with nobody",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const x = s.own_new(a, "x");
             s.revoke(a, "x", x, b);
             s.get(op::leave{b, "b", {}});
             auto const before = s.seq();
             auto const done = s.one(op::acknowledge{.incarnation = a, .items = {{"x", x, b, {}}}});
             CHECK(done.code == errc::unknown_node);
             CHECK(done.token > x);
             CHECK(s.where("x") == schedule_status{"x", done.token, 0, 1, 0, {}});
             CHECK(s.events_after(before) == std::vector{op::group_event{.seq = before + 1,
                                                                         .kind = event_kind::owned,
                                                                         .id = "x",
                                                                         .from = a,
                                                                         .to = 0,
                                                                         .generation = done.token,
                                                                         .reason = change_reason::given_up}});
             CHECK(s.claim(a, "x") > done.token);
         }},
        {"a hand-off to a node past its deadline ends with nobody",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const x = s.own_new(a, "x");
             s.revoke(a, "x", x, b);
             s.advance(10s);
             CHECK(s.one(op::acknowledge{.incarnation = a, .items = {{"x", x, b, {}}}}).code == errc::unknown_node);
             CHECK(s.where("x").owner == 0);
         }},
        {"a place that a hand-off has taken is nobody else's",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b", 1);
             auto const term = s.lead(a, "a");
             auto const x = s.own_new(a, "x");
             s.add({"y"});
             s.revoke(a, "x", x, b);
             CHECK(s.one(op::claim{.incarnation = b, .ids = {"y"}}).code == errc::capacity_exceeded);
             CHECK(s.one(op::adopt{.incarnation = a, .term = term, .items = {{"y", 0, 0, b}}}).code ==
                   errc::capacity_exceeded);
             CHECK(s.one(op::acknowledge{.incarnation = a, .items = {{"x", x, b, {}}}}).ok());
             CHECK(s.where("x").owner == b);
         }},
        {"adoption ends the hand-off that a dead owner left undone, wherever it went",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b", 1);
             auto const c = s.join("c");
             auto const term = s.lead(c, "c");
             auto const x = s.own_new(a, "x");
             auto const y = s.own_new(a, "y");
             s.revoke(a, "x", x, b);
             s.revoke(a, "y", y, c);
             s.get(op::leave{a, "a", {}});
             CHECK(s.where("x").moving_to == b);
             // Its own place for x is no reason to refuse it.
             auto const got =
                 s.get(op::adopt{.incarnation = c, .term = term, .items = {{"x", x, a, b}, {"y", y, a, c}}});
             CHECK(got.items[0].ok());
             CHECK(got.items[1].ok());
             for (auto const& node : s.get(op::nodes_page{}).items) {
                 CHECK(node.load == 1);
                 CHECK(node.pending == 0);
             }
         }},
        {"unregistering ends a hand-off",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const x = s.own_new(a, "x");
             s.revoke(a, "x", x, b);
             CHECK(s.one(op::unregister_schedules{{{"x", a}}, 1}).ok());
             for (auto const& node : s.get(op::nodes_page{}).items) CHECK(node.load + node.pending == 0);
             CHECK(s.one(op::acknowledge{.incarnation = a, .items = {{"x", x, b, {}}}}).code == errc::unknown_schedule);
         }},
        {"full batches work",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             op::register_schedules all;
             op::claim claims{.incarnation = b};
             for (std::size_t i = 0; i < op::max_batch; ++i)
                 all.items.push_back({"schedule-" + std::to_string(i), 1, {}});
             s.get(all);
             for (auto const& item : all.items) claims.ids.push_back(item.id);
             auto const claimed = s.get(claims).items;
             op::acquire_locks locks{.incarnation = b, .ttl = 5s};
             op::revoke moves{.incarnation = a, .term = term};
             op::acknowledge acks{.incarnation = b};
             for (std::size_t i = 0; i < op::max_batch; ++i) {
                 locks.items.push_back({claims.ids[i], claimed[i].token});
                 moves.items.push_back({claims.ids[i], claimed[i].token, b, a});
                 acks.items.push_back({claims.ids[i], claimed[i].token, a, {}});
             }
             auto const locked = s.get(locks).items;
             op::extend_locks extends{.incarnation = b, .ttl = 6s};
             for (std::size_t i = 0; i < op::max_batch; ++i) {
                 CHECK(locked[i].token == locked[0].token + i);
                 extends.items.push_back({claims.ids[i], locked[i].token});
             }
             CHECK(s.get(extends).items.back().remaining == microseconds{6s});
             CHECK(s.get(op::release_locks{.items = extends.items}).items == std::vector<op::outcome>(op::max_batch));
             s.get(moves);
             auto const granted = s.get(acks).items;
             CHECK(granted.back().token == granted.front().token + op::max_batch - 1);
             CHECK(s.get(op::schedules_page{.holder = a}).items.size() == op::max_batch);
             auto const newest = s.changes_of(a, 0);
             CHECK(newest.size() == op::max_batch);
             s.get(op::leave{a, "a", {b}});
             auto const next = s.lead(b, "b");
             op::adopt plan{.incarnation = b, .term = next};
             for (std::size_t i = 0; i < op::max_batch; ++i)
                 plan.items.push_back({claims.ids[i], granted[i].token, a, b});
             for (auto const& item : s.get(plan).items) CHECK(item.ok());
             op::unregister_schedules last{.nonce = 3};
             for (auto const& id : claims.ids) last.items.push_back({id, b});
             for (auto const& item : s.get(last).items) CHECK(item.ok());
             CHECK(s.get(op::nodes_page{}).items.size() == 1);
         }},
    };
}

}  // namespace rota::test
