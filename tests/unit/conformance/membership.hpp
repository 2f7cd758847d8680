// Nodes join, tick, leave, die and are reaped; one leads; orders. See conformance.hpp.
#pragma once

#include "scene.hpp"

namespace rota::test {

template <typename Store>
std::vector<scenario<Store>> membership_scenarios() {
    using on = scene<Store>&;
    return {
        {"the first join founds the group",
         [](on s) {
             auto const answer = s.get(op::join{.node_id = "a", .nonce = 7, .node_ttl = 10s, .capacity = 5});
             CHECK(answer.epoch > 0);
             CHECK(answer.incarnation > answer.epoch);
             CHECK(answer.seq == 1);
             CHECK(answer.superseded == 0);
             auto const events = s.events_after(0);
             REQUIRE(events.size() == 1);
             CHECK(events[0] ==
                   op::group_event{
                       .seq = 1, .kind = event_kind::joined, .id = "a", .to = answer.incarnation, .capacity = 5});
             auto const nodes = s.get(op::nodes_page{});
             REQUIRE(nodes.items.size() == 1);
             CHECK(nodes.items[0] ==
                   node_status{.node = {"a", answer.incarnation}, .alive = true, .remaining = 10s, .capacity = 5});
         }},
        {"a repeated join returns the same incarnation, and no second one",
         [](on s) {
             op::join const request{.node_id = "a", .nonce = 7, .node_ttl = 10s};
             auto const first = s.get(request);
             s.advance(4s);
             auto const again = s.get(request);
             CHECK(again.incarnation == first.incarnation);
             CHECK(again.superseded == 0);
             CHECK(again.seq == first.seq);
             auto const nodes = s.get(op::nodes_page{});
             REQUIRE(nodes.items.size() == 1);
             CHECK(nodes.items[0].remaining == microseconds{10s});
         }},
        {"the same nonce under another name is another node",
         [](on s) {
             auto const a = s.get(op::join{.node_id = "a", .nonce = 7, .node_ttl = 10s});
             auto const b = s.get(op::join{.node_id = "b", .nonce = 7, .node_ttl = 10s});
             CHECK(a.incarnation < b.incarnation);
         }},
        {"after the clock stepped back, a lease lasts no longer than it was granted for",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             s.advance(-1h);
             CHECK(s.tick(b, "b").leader_remaining == microseconds{10s});
             s.advance(10s);
             CHECK(s.lead(b, "b") > term);
         }},
        {"after the clock stepped back, no node lives or is waited for longer than its ttl",
         [](on s) {
             auto const leader = s.join("leader");
             auto const term = s.lead(leader, "leader");
             auto const quick = s.join("quick");
             auto const slow = s.get(op::join{.node_id = "slow", .nonce = 1, .node_ttl = 20s}).incarnation;
             auto const older = s.join("twin");
             auto const newer = s.join("twin");
             s.advance(-1h);
             CHECK(s.renew(leader, "leader", term).sweep.next_dead > 1h);
             auto const sweep = s.renew(leader, "leader", term).sweep;
             CHECK(sweep.next_expiry == microseconds{10s});
             CHECK(sweep.next_dead == microseconds{10s});
             s.advance(10s);
             auto const later = s.renew(leader, "leader", term).sweep;
             CHECK(later.expired == std::vector<fencing_token>{quick, newer});
             CHECK(later.dead == std::vector<fencing_token>{older});
             CHECK(later.next_expiry == microseconds{10s});
             CHECK(later.candidates == std::vector<fencing_token>{slow});
         }},
        {"a newcomer takes the name, and the older incarnation is fenced",
         [](on s) {
             auto const older = s.join("a");
             auto const before = s.seq();
             auto const newer = s.get(op::join{.node_id = "a", .nonce = 8, .node_ttl = 10s});
             CHECK(newer.superseded == older);
             CHECK(newer.incarnation > older);
             CHECK(s.kinds_after(before) == event_kinds{event_kind::superseded, event_kind::joined});
             auto const events = s.events_after(before);
             CHECK(events[0].from == older);
             CHECK(events[0].to == newer.incarnation);
             CHECK(events[0].seq == events[1].seq);
             CHECK(newer.seq == events[1].seq);
             CHECK(s.tick(older, "a").status == op::tick_status::fenced);
             CHECK(s.tick(newer.incarnation, "a").status == op::tick_status::ok);
         }},
        {"a newcomer that refuses conflict waits until the older one is silent for its ttl",
         [](on s) {
             auto const older = s.join("a");
             op::join const polite{.node_id = "a", .nonce = 8, .node_ttl = 10s, .on_conflict = conflict_policy::refuse};
             CHECK(s.refusal(polite) == errc::conflict);
             s.advance(10s - 1us);
             CHECK(s.refusal(polite) == errc::conflict);
             s.advance(1us);
             CHECK(s.get(polite).superseded == older);
         }},
        {"tokens stay above what one that joins has seen, unless that is absurd",
         [](on s) {
             auto const a = s.join("a");
             auto const seen = a + 3'000'000;
             auto const b = s.get(op::join{.node_id = "b", .nonce = 1, .node_ttl = 10s, .seen = seen});
             CHECK(b.epoch == seen + 1);
             CHECK(b.incarnation == seen + 2);
             auto const absurd = a + 3'700'000'000;
             CHECK(s.refusal(op::join{.node_id = "c", .nonce = 1, .node_ttl = 10s, .seen = absurd}) ==
                   errc::refused_by_server);
             auto t = s.heartbeat(a, "a");
             t.seen = absurd;
             CHECK(s.refusal(t) == errc::refused_by_server);
         }},
        {"once the clock stepped back by hours, what the group has minted is not absurd",
         [](on s) {
             auto const a = s.join("a");
             s.advance(-5h);
             auto t = s.heartbeat(a, "a");
             t.seen = a;
             CHECK(s.get(t).status == op::tick_status::ok);
             CHECK(s.get(op::join{.node_id = "b", .nonce = 1, .node_ttl = 10s, .seen = a}).incarnation > a);
         }},
        {"to a member that has seen more tokens than there are, nothing is granted before its tick has told it",
         [](on s) {
             auto const a = s.join("a");
             auto const term = s.lead(a, "a");
             s.add({"x", "y"});
             auto const x = s.claim(a, "x");
             auto const seen = x + 1'000'000;
             CHECK(s.refusal(op::claim{.incarnation = a, .ids = {"y"}, .seen = seen}) == errc::not_joined);
             CHECK(s.refusal(op::adopt{.incarnation = a, .term = term, .seen = seen}) == errc::not_joined);
             CHECK(s.refusal(op::acknowledge{.incarnation = a, .seen = seen}) == errc::not_joined);
             CHECK(s.refusal(op::acquire_locks{.incarnation = a, .ttl = 5s, .seen = seen}) == errc::not_joined);
             CHECK(s.refusal(op::acquire_locks{.incarnation = a, .items = {{"x", x}}, .ttl = 5s, .seen = seen}) ==
                   errc::not_joined);
             CHECK(s.refusal(op::acquire_locks{.incarnation = a,
                                               .kind = op::lock_kind::name,
                                               .items = {{"n", 0}, {"m", 0}},
                                               .ttl = 5s,
                                               .seen = seen}) == errc::not_joined);
             auto t = s.heartbeat(a, "a");
             t.seen = seen;
             auto const told = s.get(t);
             CHECK(told.status == op::tick_status::data_lost);
             CHECK(told.epoch > seen);
         }},
        {"after the clock stepped back, a lease is pulled in whatever leases others ask for",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             (void)s.lead(a, "a");
             s.advance(-30s);
             auto t = s.heartbeat(b, "b");
             t.leader_lease = 60s;
             t.candidate = true;
             CHECK(s.get(t).leader_remaining == microseconds{10s});
             s.advance(9s);
             CHECK(s.tick(b, "b").leader == a);
             s.advance(1s);
             CHECK(s.get(t).leader == b);
         }},
        {"a heartbeat extends the deadline and tells how things are",
         [](on s) {
             auto const a = s.join("a");
             s.advance(9s);
             auto const answer = s.tick(a, "a");
             CHECK(answer.status == op::tick_status::ok);
             CHECK(answer.fence == a);
             CHECK(answer.seq == 1);
             CHECK(answer.version == 0);
             CHECK(answer.leader == 0);
             CHECK(answer.sweep == op::watch{});
             CHECK(s.get(op::nodes_page{}).items[0].remaining == microseconds{10s});
             // Also twice in the same microsecond.
             CHECK(s.tick(a, "a") == answer);
         }},
        {"a brief heartbeat extends the deadline, and says when there is more to do",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto brief = s.heartbeat(b, "b");
             brief.brief = true;
             auto const unsettled = op::ticked{.status = op::tick_status::unsettled};
             auto const remaining_of_b = [&] { return s.get(op::nodes_page{.after = a}).items.at(0).remaining; };
             // Without a leader, nothing is to be done by who is no candidate.
             s.advance(4s);
             CHECK(s.get(brief) == s.tick(b, "b"));
             brief.candidate = true;
             s.advance(1s);
             CHECK(s.get(brief) == unsettled);
             CHECK(remaining_of_b() == microseconds{10s});
             CHECK(s.tick(b, "b").leader == 0);  // it took no lease
             auto const term = s.lead(a, "a");
             s.advance(3s);
             auto const told = s.get(brief);
             CHECK(told == s.tick(b, "b"));
             CHECK(told.leader == a);
             CHECK(told.term == term);
             CHECK(told.leader_id == "a");
             CHECK(told.leader_remaining == microseconds{7s});
             CHECK(remaining_of_b() == microseconds{10s});
             // Who holds the lease has to renew it.
             auto of_leader = s.heartbeat(a, "a");
             of_leader.brief = true;
             CHECK(s.get(of_leader) == unsettled);
             // The lease is over.
             s.advance(7s);
             CHECK(s.get(brief) == unsettled);
             CHECK(remaining_of_b() == microseconds{10s});
             brief.candidate = false;
             CHECK(s.get(brief).leader == 0);
             // What is not so as the caller takes it to be.
             s.advance(1s);
             auto other = brief;
             other.epoch += 1;
             CHECK(s.get(other) == unsettled);
             other = brief;
             other.seen = s.tick(a, "a").fence + 1;
             CHECK(s.get(other) == unsettled);
             other = brief;
             other.incarnation = 4711;
             CHECK(s.get(other) == unsettled);
             CHECK(remaining_of_b() == microseconds{10s});
             CHECK(s.tick(b, "b").status == op::tick_status::ok);
         }},
        {"a candidate takes vacant leadership, and others hear of it",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const before = s.seq();
             auto const term = s.lead(a, "a");
             CHECK(term > b);
             auto const events = s.events_after(before);
             REQUIRE(events.size() == 1);
             CHECK(events[0] ==
                   op::group_event{.seq = before + 1, .kind = event_kind::led, .id = "a", .to = a, .generation = term});
             s.advance(3s);
             auto const other = s.tick(b, "b");
             CHECK(other.leader == a);
             CHECK(other.term == term);
             CHECK(other.leader_id == "a");
             CHECK(other.leader_remaining == microseconds{7s});
             CHECK(other.fence == term);
             CHECK(other.sweep == op::watch{});
             // Another candidate does not get what is held.
             auto eager = s.heartbeat(b, "b");
             eager.candidate = true;
             CHECK(s.get(eager).leader == a);
         }},
        {"a leader renews its lease under its term only, even late if nobody took it",
         [](on s) {
             auto const a = s.join("a");
             auto const term = s.lead(a, "a");
             s.advance(9s);
             CHECK(s.renew(a, "a", term - 1).leader_remaining == microseconds{1s});
             CHECK(s.renew(a, "a", term).leader_remaining == microseconds{10s});
             s.advance(11s);
             CHECK(s.tick(a, "a").leader == 0);
             auto const late = s.renew(a, "a", term);
             CHECK(late.leader == a);
             CHECK(late.term == term);
         }},
        {"a lease that ran out goes to the next candidate, under a higher term",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const old_term = s.lead(a, "a");
             s.advance(10s);
             auto const before = s.seq();
             auto const term = s.lead(b, "b");
             CHECK(term > old_term);
             CHECK(s.events_after(before).at(0).from == a);
             CHECK(s.renew(a, "a", old_term).leader == b);
             CHECK(s.refusal(op::reap{a, old_term, {}}) == errc::not_leader);
         }},
        {"a reaped node learns it from its heartbeat",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             s.reap_all(a, "a", term, {b});
             CHECK(s.tick(b, "b").status == op::tick_status::reaped);
             auto const again = s.join("b");
             CHECK(s.tick(b, "b").status == op::tick_status::fenced);
             CHECK(s.tick(again, "b").status == op::tick_status::ok);
         }},
        {"lost data is noticed by epoch and by fence",
         [](on s) {
             auto const a = s.join("a");
             auto stranger = s.heartbeat(a, "a");
             stranger.epoch -= 1;
             auto const epoch = s.get(stranger).epoch;
             CHECK(s.get(stranger).status == op::tick_status::data_lost);
             CHECK(epoch == stranger.epoch + 1);
             auto wiser = s.heartbeat(a, "a");
             wiser.seen = s.tick(a, "a").fence + 1;
             auto const before = s.seq();
             auto const lost = s.get(wiser);
             CHECK(lost.status == op::tick_status::data_lost);
             CHECK(lost.epoch > wiser.seen);
             CHECK(lost.seq == before + 1);
             CHECK(s.events_after(before).at(0).kind == event_kind::data_lost);
             CHECK(s.events_after(before).at(0).generation == lost.epoch);
             // Whoever still comes with the old epoch hears the same, once.
             auto other = s.heartbeat(a, "a");
             CHECK(s.get(other).status == op::tick_status::data_lost);
             CHECK(s.get(other).epoch == lost.epoch);
             CHECK(s.seq() == lost.seq);
         }},
        {"an empty server is founded anew, above all that was seen",
         [](on s) {
             auto const a = s.join("a");
             auto beat = s.heartbeat(a, "a");
             beat.seen = s.tick(a, "a").fence + 1000;
             s.store().lose_everything();
             auto const lost = s.get(beat);
             CHECK(lost.status == op::tick_status::data_lost);
             CHECK(lost.epoch > beat.seen);
             CHECK(lost.seq == 1);
             auto const joined = s.get(op::join{.node_id = "a", .nonce = 9, .node_ttl = 10s, .seen = beat.seen});
             CHECK(joined.epoch == lost.epoch);
             CHECK(joined.incarnation > lost.epoch);
         }},
        {"a join that has seen more than the server founds a new epoch and says so",
         [](on s) {
             auto const a = s.join("a");
             auto const before = s.seq();
             auto const b = s.get(op::join{.node_id = "b", .nonce = 1, .node_ttl = 10s, .seen = a + 5});
             CHECK(b.epoch > a + 5);
             CHECK(s.kinds_after(before) == event_kinds{event_kind::data_lost, event_kind::joined});
         }},
        {"the leader's heartbeat tells whom to watch",
         [](on s) {
             auto const a = s.join("a");
             auto const term = s.lead(a, "a");
             CHECK(s.renew(a, "a", term).sweep == op::watch{});
             auto const b = s.join("b");
             s.advance(1s);
             auto const c = s.join("c");
             s.advance(1s);
             auto const d = s.join("d");
             s.advance(1s);
             auto const e = s.join("e");
             auto const sweep = s.renew(a, "a", term).sweep;
             CHECK(sweep.next_expiry == microseconds{7s});
             CHECK(sweep.expired.empty());
             CHECK(sweep.candidates == std::vector{e, d, c});
             s.advance(8s);  // b and c are over
             auto const later = s.renew(a, "a", term).sweep;
             CHECK(later.expired == std::vector{b, c});
             CHECK(later.next_expiry == microseconds{1s});
             CHECK(later.candidates == std::vector{e, d});
             CHECK(later.dead.empty());
             CHECK(later.next_dead == microseconds::max());
         }},
        {"the leader's heartbeat tells which dead nodes' schedules may be adopted, and when the next may",
         [](on s) {
             auto const a = s.join("a");
             auto const term = s.lead(a, "a");
             auto const b = s.join("b");
             auto const c = s.join("c");
             s.own_new(b, "of b");
             s.own_new(c, "of c");
             s.get(op::leave{b, "b", {}});
             s.advance(2s);
             s.join("c");  // the older c may believe until its deadline
             auto const sweep = s.renew(a, "a", term).sweep;
             CHECK(sweep.dead == std::vector{b});
             CHECK(sweep.next_dead == microseconds{8s});
             s.advance(8s);
             CHECK(s.renew(a, "a", term).sweep.dead == std::vector{b, c});
         }},
        {"a leader that has forgotten its term still sees the sweep, but does not renew",
         [](on s) {
             auto const a = s.join("a");
             s.lead(a, "a");
             auto const b = s.join("b");
             s.advance(1s);
             auto const answer = s.tick(a, "a");
             CHECK(answer.leader_remaining == microseconds{9s});
             CHECK(answer.sweep.candidates == std::vector{b});
         }},
        {"a node that leaves owning nothing is forgotten at once",
         [](on s) {
             auto const a = s.join("a");
             auto const before = s.seq();
             s.get(op::leave{a, "a", {}});
             CHECK(s.kinds_after(before) == event_kinds{event_kind::left, event_kind::forgotten});
             CHECK(s.get(op::nodes_page{}).items.empty());
             CHECK(s.refusal(op::changes_since{a, 0}) == errc::not_joined);
             // And again, as after a lost reply.
             s.get(op::leave{a, "a", {}});
             CHECK(s.kinds_after(before).size() == 2);
         }},
        {"a leader that leaves passes leadership to the first that it names and that lives",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const c = s.join("c");
             auto const term = s.lead(a, "a");
             s.own_new(a, "x");
             auto const before = s.seq();
             s.advance(1s);
             s.get(op::leave{a, "a", {12345, a, b, c}});
             CHECK(s.kinds_after(before) == event_kinds{event_kind::left, event_kind::led});
             auto const next = s.events_after(before)[1];
             CHECK(next.generation > term);
             CHECK(next.from == a);
             CHECK(next.to == b);
             CHECK(next.id == "b");
             CHECK(s.changes_of(b) == std::vector{op::change{.kind = op::change_kind::led,
                                                             .generation = next.generation,
                                                             .other = a,
                                                             .lease = microseconds{10s},
                                                             .successors = {c}}});
             CHECK(s.changes_of(c).empty());
             auto const seen = s.tick(c, "c");
             CHECK(seen.leader == b);
             CHECK(seen.leader_id == "b");
             CHECK(seen.term == next.generation);
             CHECK(seen.leader_remaining == microseconds{10s});
             CHECK(s.tick(b, "b").version == 1);
             CHECK(s.tick(b, "b").leader == b);
             // It renews it as any other; and what the one before owned can be adopted now.
             CHECK(s.renew(b, "b", next.generation).sweep.dead == std::vector{a});
             auto const status = s.get(op::nodes_page{}).items.at(0);
             CHECK_FALSE(status.alive);
             CHECK(status.load == 1);
             CHECK(status.remaining == 0us);
         }},
        {"where none that it names is alive, a leader that leaves vacates, and tells those that are not taken out yet",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const c = s.join("c");
             auto const term = s.lead(a, "a");
             s.advance(10s);
             auto const before = s.seq();
             s.get(op::leave{a, "a", {b, 12345, a}});
             CHECK(s.kinds_after(before) == event_kinds{event_kind::left, event_kind::forgotten, event_kind::vacated});
             CHECK(s.events_after(before)[2].generation == term);
             CHECK(s.changes_of(b) == std::vector{op::change{.kind = op::change_kind::vacancy}});
             CHECK(s.changes_of(c).empty());
             CHECK(s.tick(b, "b").leader == 0);
             CHECK(s.lead(b, "b") > term);
         }},
        {"a superseded incarnation that leaves lets its schedules be adopted at once",
         [](on s) {
             auto const a = s.join("a");
             auto const generation = s.own_new(a, "x");
             auto const newer = s.join("a");
             auto const term = s.lead(newer, "a");
             op::adopt const plan{.incarnation = newer, .term = term, .items = {{"x", generation, a, newer}}};
             CHECK(s.one(plan).code == errc::conflict);
             auto const before = s.seq();
             s.get(op::leave{a, "a", {}});
             CHECK(s.kinds_after(before).empty());
             CHECK(s.one(plan).ok());
             CHECK(s.kinds_after(before) == event_kinds{event_kind::owned, event_kind::forgotten});
             CHECK(s.tick(newer, "a").status == op::tick_status::ok);
         }},
        {"renouncing gives leadership up, under the right term only",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             auto const before = s.seq();
             s.get(op::renounce{a, term - 1, {b}});
             s.get(op::renounce{b, term, {b}});
             CHECK(s.tick(b, "b").leader == a);
             s.get(op::renounce{a, term, {99}});
             CHECK(s.tick(b, "b").leader == 0);
             CHECK(s.tick(a, "a").status == op::tick_status::ok);
             auto const events = s.events_after(before);
             REQUIRE(events.size() == 1);
             CHECK(events[0] ==
                   op::group_event{.seq = before + 1, .kind = event_kind::vacated, .from = a, .generation = term});
             s.get(op::renounce{a, term, {b}});
             CHECK(s.changes_of(b).empty());
             auto const again = s.lead(a, "a");
             CHECK(again > term);
             s.get(op::renounce{a, again, {a, 99, b}});
             CHECK(s.tick(b, "b").leader == b);
             CHECK(s.tick(b, "b").term > again);
             CHECK(s.tick(a, "a").leader == b);
             REQUIRE(s.changes_of(b).size() == 1);
             CHECK(s.changes_of(b)[0].kind == op::change_kind::led);
             s.get(op::renounce{a, again, {b}});
             CHECK(s.changes_of(b).size() == 1);
         }},
        {"only the leader reaps, and only who is silent",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const c = s.join("c");
             auto const term = s.lead(a, "a");
             s.own_new(b, "x");
             CHECK(s.refusal(op::reap{b, term, {c}}) == errc::not_leader);
             CHECK(s.refusal(op::reap{a, term - 1, {c}}) == errc::not_leader);
             CHECK(s.get(op::reap{a, term, {b, c}}).items.empty());
             s.advance(10s);
             auto const before = s.seq();
             auto const reaped = s.get(op::reap{a, term, {c, 4711, a, b}}).items;
             REQUIRE(reaped.size() == 2);
             CHECK(reaped[0].token == c);
             CHECK(reaped[1].token == b);
             // c owned nothing; b stays, dead, for as long as x is its own; the leader never reaps itself.
             CHECK(s.kinds_after(before) == event_kinds{event_kind::died, event_kind::forgotten, event_kind::died});
             CHECK(s.get(op::reap{a, term, {c, b}}).items.empty());
             auto const nodes = s.get(op::nodes_page{}).items;
             REQUIRE(nodes.size() == 2);
             CHECK(nodes[0].alive);
             CHECK_FALSE(nodes[1].alive);
             CHECK(s.refusal(op::claim{.incarnation = b, .ids = {"x"}}) == errc::not_joined);
         }},
        {"a dead node whose last schedule was unregistered is forgotten by the next reap",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const term = s.lead(a, "a");
             s.own_new(b, "x");
             s.reap_all(a, "a", term, {b});
             CHECK(s.one(op::unregister_schedules{{{"x", b}}, 1}).ok());
             CHECK(s.get(op::nodes_page{}).items.size() == 2);
             auto const before = s.seq();
             CHECK(s.get(op::reap{a, term, {b}}).items.empty());
             CHECK(s.kinds_after(before) == event_kinds{event_kind::forgotten});
             CHECK(s.get(op::nodes_page{}).items.size() == 1);
         }},
        {"every heartbeat tells the server's time, whatever else it has to say",
         [](on s) {
             auto const a = s.join("a");
             auto const term = s.lead(a, "a");
             auto const start = s.tick(a, "a").now;
             CHECK(start + 1 == a);  // the epoch took the first
             s.advance(3s);
             CHECK(s.renew(a, "a", term).now == start + 3'000'000);
             CHECK(s.tick(4711, "b").now == start + 3'000'000);
             s.join("a");
             CHECK(s.tick(a, "a").now == start + 3'000'000);
             auto stranger = s.heartbeat(a, "a");
             stranger.epoch -= 1;
             CHECK(s.get(stranger).now == start + 3'000'000);
         }},
        {"a node says of itself what it likes, and the group hears it",
         [](on s) {
             auto const a = s.join("a", 5, "z=one;l=x,y");
             CHECK(s.events_after(0) == std::vector{op::group_event{.seq = 1,
                                                                    .kind = event_kind::joined,
                                                                    .id = "a",
                                                                    .to = a,
                                                                    .capacity = 5,
                                                                    .traits = "z=one;l=x,y"}});
             CHECK(s.node(a).traits == "z=one;l=x,y");
             auto const before = s.seq();
             s.get(op::describe_node{a, 7, "z=two"});
             CHECK(s.events_after(before) == std::vector{op::group_event{.seq = before + 1,
                                                                         .kind = event_kind::described,
                                                                         .id = "a",
                                                                         .to = a,
                                                                         .capacity = 7,
                                                                         .traits = "z=two"}});
             CHECK(s.node(a) ==
                   node_status{.node = {"a", a}, .alive = true, .remaining = 10s, .capacity = 7, .traits = "z=two"});
             // The capacity counts from now on, and each of the two can change alone; the same again is no change.
             s.get(op::describe_node{a, 0, "z=two"});
             s.get(op::describe_node{a, 0, ""});
             s.get(op::describe_node{a, 0, ""});
             CHECK(s.kinds_after(before).size() == 3);
             CHECK(s.node(a).traits.empty());
             s.add({"x"});
             CHECK(s.one(op::claim{.incarnation = a, .ids = {"x"}}).code == errc::capacity_exceeded);
             CHECK(s.refusal(op::describe_node{4711, 1, ""}) == errc::not_joined);
         }},
        {"a repeated join leaves alone what the node has said of itself since",
         [](on s) {
             op::join const request{.node_id = "a", .nonce = 7, .node_ttl = 10s, .capacity = 5, .traits = "z=one"};
             auto const a = s.get(request).incarnation;
             s.get(op::describe_node{a, 7, "z=two"});
             s.get(request);
             CHECK(s.node(a).capacity == 7);
             CHECK(s.node(a).traits == "z=two");
             s.get(op::leave{a, "a", {}});
             CHECK(s.refusal(op::describe_node{a, 9, ""}) == errc::not_joined);
         }},
        {"what a node says of itself stays while it is dead, and so does whether it left",
         [](on s) {
             auto const a = s.join("a");
             auto const term = s.lead(a, "a");
             auto const odd = std::string{"b|\0;|", 5};
             auto const b = s.join(odd, 3, "z=one");
             auto const c = s.join("c", 4, "l=x");
             s.own_new(b, "of b");
             s.own_new(c, "of c");
             s.get(op::leave{b, odd, {}});
             s.advance(6s);
             s.renew(a, "a", term);
             s.advance(5s);
             CHECK(s.get(op::reap{a, term, {c}}).items.size() == 1);
             s.advance(1s);
             CHECK(s.node(b) ==
                   node_status{
                       .node = {odd, b}, .load = 1, .capacity = 3, .traits = "z=one", .left = true, .gone_for = 12s});
             CHECK(s.node(c) ==
                   node_status{.node = {"c", c}, .load = 1, .capacity = 4, .traits = "l=x", .gone_for = 1s});
         }},
        {"a superseded incarnation is gone from its deadline on, or from its leave, which is no leave in order",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             s.own_new(a, "x");
             s.own_new(b, "y");
             s.join("a");
             s.join("b");
             s.advance(2s);
             s.get(op::leave{b, "b", {}});
             CHECK(s.node(a).gone_for == 0us);
             CHECK(s.node(a).remaining == 0us);
             s.advance(9s);
             CHECK(s.node(a).gone_for == microseconds{1s});
             CHECK(s.node(b).gone_for == microseconds{9s});
             CHECK_FALSE(s.node(b).left);
         }},
        {"orders stand until they are taken back",
         [](on s) {
             auto const a = s.join("a");
             s.join("b");
             s.join("\xff");
             auto const before = s.seq();
             auto const order = [&](op::order_kind kind, std::string id = {}) {
                 s.get(op::give_order{kind, std::move(id)});
             };
             CHECK(s.refusal(op::give_order{op::order_kind::drain, "none"}) == errc::unknown_node);
             order(op::order_kind::undrain, "a");
             order(op::order_kind::end_maintenance);
             CHECK(s.kinds_after(before).empty());
             order(op::order_kind::drain, "\xff");
             order(op::order_kind::drain, "a");
             order(op::order_kind::drain, "b");
             order(op::order_kind::drain, "a");
             order(op::order_kind::begin_maintenance);
             order(op::order_kind::begin_maintenance);
             auto const events = s.events_after(before);
             REQUIRE(events.size() == 4);
             CHECK(events[1] == op::group_event{.seq = before + 2,
                                                .kind = event_kind::ordered,
                                                .id = "a",
                                                .generation = static_cast<fencing_token>(op::order_kind::drain)});
             CHECK(events[3] ==
                   op::group_event{.seq = before + 4,
                                   .kind = event_kind::ordered,
                                   .generation = static_cast<fencing_token>(op::order_kind::begin_maintenance)});
             auto nodes = s.get(op::nodes_page{});
             CHECK(nodes.maintenance);
             CHECK(nodes.drained == std::vector<std::string>{"a", "b", "\xff"});
             CHECK_FALSE(nodes.items[0].draining);
             auto const later_page = s.get(op::nodes_page{.after = a});
             CHECK(later_page.maintenance);
             CHECK(later_page.drained.empty());
             // They outlive the node, and a new process under its name finds them.
             s.get(op::leave{a, "a", {}});
             order(op::order_kind::drain, "a");
             order(op::order_kind::undrain, "b");
             order(op::order_kind::end_maintenance);
             s.join("a");
             nodes = s.get(op::nodes_page{});
             CHECK_FALSE(nodes.maintenance);
             CHECK(nodes.drained == std::vector<std::string>{"a", "\xff"});
             order(op::order_kind::undrain, "a");
             CHECK(s.get(op::nodes_page{}).drained == std::vector<std::string>{"\xff"});
         }},
        {"an order may be a group's first event",
         [](on s) {
             s.get(op::give_order{op::order_kind::begin_maintenance, {}});
             CHECK(s.get(op::nodes_page{}).maintenance);
             CHECK(s.kinds_after(0) == event_kinds{event_kind::ordered});
         }},
    };
}

}  // namespace rota::test
