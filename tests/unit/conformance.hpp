// What every store must answer to every operation, as scenarios: the words of operations.hpp, one by one. Run on the
// reference store by memory_conformance_test.cpp, and on Redis by tests/redis/redis_conformance_test.cpp; after each
// scenario the state is searched for contradictions.
//
// A store under test has raise(stamp), perform(operation, stamp), advance(duration), lose_everything(), inflict(damage)
// and contradictions(); see tests/support/reference_store.hpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <rota/detail/store.hpp>
#include <rota/operations.hpp>

#include "../catch.hpp"

namespace rota::test {

using namespace std::chrono_literals;
using rota::detail::store_damage;

/// A store, and short ways to ask it; everything goes by one connection of one session unless said otherwise.
template <typename Store>
class scene {
public:
    explicit scene(Store& store) : store_{store} { store_.raise(from_); }

    /// The reply, or the error.
    template <typename Op>
    result<typename Op::reply> ask(Op const& request, rota::detail::connection_stamp from = {1, 1}) {
        auto answer = store_.perform(operation{request}, from);
        if (!answer) return answer.error();
        REQUIRE(std::holds_alternative<typename Op::reply>(*answer));
        return std::get<typename Op::reply>(*answer);
    }
    /// The reply; there must be one.
    template <typename Op>
    typename Op::reply get(Op const& request) {
        auto answer = ask(request);
        if (!answer) FAIL("unexpected: " << answer.error().message());
        return *answer;
    }
    /// What went wrong; something must have.
    template <typename Op>
    errc refusal(Op const& request) {
        auto answer = ask(request);
        REQUIRE_FALSE(answer.has_value());
        return answer.error().code;
    }
    /// The outcome of a batch of one.
    template <typename Op>
    op::outcome one(Op const& request) {
        auto answer = get(request);
        REQUIRE(answer.items.size() == 1);
        return answer.items.front();
    }

    void advance(microseconds by) { store_.advance(by); }
    Store& store() { return store_; }

    // ---------------------------------------------------------------- given

    /// A node of that id, for 10 s unless it ticks.
    fencing_token join(std::string const& id, std::uint32_t capacity = unlimited, std::string const& traits = {}) {
        auto const answer =
            get(op::join{.node_id = id, .nonce = ++nonces_, .node_ttl = 10s, .capacity = capacity, .traits = traits});
        epoch_ = answer.epoch;
        return answer.incarnation;
    }
    op::tick heartbeat(fencing_token node, std::string const& id) const {
        return {.incarnation = node, .node_id = id, .epoch = epoch_, .node_ttl = 10s, .leader_lease = 10s};
    }
    op::ticked tick(fencing_token node, std::string const& id) { return get(heartbeat(node, id)); }
    /// Makes it the leader, if nobody is; gives the term.
    fencing_token lead(fencing_token node, std::string const& id) {
        auto t = heartbeat(node, id);
        t.candidate = true;
        auto const answer = get(t);
        REQUIRE(answer.leader == node);
        return answer.term;
    }
    void add(std::vector<std::string> const& ids) {
        op::register_schedules r;
        for (auto const& id : ids) r.items.push_back({id, 1, {}});
        for (auto const& item : get(r).items) REQUIRE(item.ok());
    }
    /// Makes the node its owner; gives the generation.
    fencing_token claim(fencing_token node, std::string const& id) {
        auto const answer = one(op::claim{.incarnation = node, .ids = {id}});
        REQUIRE(answer.ok());
        return answer.token;
    }
    fencing_token own_new(fencing_token node, std::string const& id) {
        add({id});
        return claim(node, id);
    }
    void revoke(fencing_token owner, std::string const& id, fencing_token generation, fencing_token to,
                microseconds within = 30s, bool open = false) {
        REQUIRE(one(op::revoke{.incarnation = owner,
                               .items = {{id, generation, owner, to, change_reason::transferred, open}},
                               .handoff_deadline = within})
                    .ok());
    }
    op::outcome lock(fencing_token node, std::string const& id, fencing_token generation, std::uint64_t nonce = 1,
                     microseconds ttl = 5s) {
        return one(op::acquire_locks{.incarnation = node, .items = {{id, generation}}, .ttl = ttl, .nonce = nonce});
    }
    op::outcome lock_name(fencing_token node, std::string const& name, std::uint64_t nonce = 1, microseconds ttl = 5s) {
        return one(op::acquire_locks{
            .incarnation = node, .kind = op::lock_kind::name, .items = {{name, 0}}, .ttl = ttl, .nonce = nonce});
    }
    /// The nodes go silent, and the leader, who stays, reaps them.
    void reap_all(fencing_token leader, std::string const& id, fencing_token term, std::vector<fencing_token> nodes) {
        advance(6s);
        renew(leader, id, term);
        advance(6s);
        REQUIRE(get(op::reap{leader, term, nodes}).items.size() == nodes.size());
    }
    op::ticked renew(fencing_token leader, std::string const& id, fencing_token term) {
        auto t = heartbeat(leader, id);
        t.term = term;
        return get(t);
    }

    /// The records are damaged in this way.
    void damage(store_damage const& d) { store_.inflict(d); }

    // ---------------------------------------------------------------- then

    schedule_status where(std::string const& id) {
        auto const answer = get(op::lookup{{id}});
        REQUIRE(answer.items.size() == 1);
        REQUIRE(answer.items[0].registered);
        return answer.items[0].status;
    }
    std::uint64_t seq() { return get(op::nodes_page{}).seq; }
    std::vector<op::group_event> events_after(std::uint64_t seq) {
        auto const answer = get(op::events_since{.epoch = get(op::nodes_page{}).epoch, .seq = seq, .limit = 1000});
        REQUIRE_FALSE(answer.gap);
        return answer.items;
    }
    std::vector<op::group_event_kind> kinds_after(std::uint64_t seq) {
        std::vector<op::group_event_kind> kinds;
        for (auto const& e : events_after(seq)) kinds.push_back(e.kind);
        return kinds;
    }
    std::vector<op::change> changes_of(fencing_token node, std::uint64_t version = 0) {
        auto const answer = get(op::changes_since{node, version});
        REQUIRE_FALSE(answer.gap);
        return answer.items;
    }
    /// What one item's mending gives, and that it leaves nothing to mend.
    op::outcome mend(fencing_token leader, fencing_token term, std::string const& id,
                     std::vector<fencing_token> const& holders) {
        op::mend const request{.incarnation = leader, .term = term, .items = {{id, holders}}};
        auto const answer = one(request);
        if (answer.ok()) CHECK(one(request) == op::outcome{});
        return answer;
    }
    node_status node(fencing_token incarnation) {
        auto const page = get(op::nodes_page{.after = incarnation - 1, .limit = 1});
        REQUIRE(page.items.size() == 1);
        REQUIRE(page.items[0].node.incarnation == incarnation);
        return page.items[0];
    }
    /// From the beginning to the end, in order of ids.
    op::scan_reply scan(std::uint32_t limit = op::max_batch) {
        std::map<std::string, schedule_status> items;
        std::set<std::string> broken;
        op::scan_page request{.limit = limit};
        do {
            auto const page = get(request);
            for (auto const& item : page.items) items[item.id] = item;
            broken.insert(page.broken.begin(), page.broken.end());
            request.cursor = page.next;
        } while (request.cursor != 0);
        op::scan_reply all{.broken = {broken.begin(), broken.end()}};
        for (auto const& [id, item] : items) all.items.push_back(item);
        return all;
    }
    std::uint64_t version_of(fencing_token node) { return get(op::schedules_page{.holder = node}).version; }

private:
    Store& store_;
    rota::detail::connection_stamp from_{1, 1};
    std::uint64_t nonces_ = 100;
    fencing_token epoch_ = 0;
};

template <typename Store>
struct scenario {
    char const* name;
    void (*play)(scene<Store>&);
};

using event_kind = op::group_event_kind;
using event_kinds = std::vector<op::group_event_kind>;

// ---------------------------------------------------------------- membership and leadership

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

// ---------------------------------------------------------------- locks

template <typename Store>
std::vector<scenario<Store>> lock_scenarios() {
    using on = scene<Store>&;
    return {
        {"the owner locks its schedule",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const generation = s.own_new(a, "x");
             auto const got = s.lock(a, "x", generation);
             CHECK(got.ok());
             CHECK(got.token > generation);
             CHECK(got.remaining == microseconds{5s});
             CHECK(s.tick(a, "a").fence == got.token);
             CHECK(s.lock(b, "x", generation).code == errc::not_owner);
             CHECK(s.lock(a, "x", generation - 1, 2).code == errc::not_owner);
             CHECK(s.lock(a, "y", generation).code == errc::unknown_schedule);
             CHECK(s.refusal(op::acquire_locks{.incarnation = 5, .items = {{"x", generation}}, .ttl = 5s}) ==
                   errc::not_joined);
             CHECK(s.refusal(op::acquire_locks{.incarnation = 5, .items = {{"x", generation}, {"y", 1}}, .ttl = 5s}) ==
                   errc::not_joined);
         }},
        {"a repeated acquisition returns the token held, another one is told how long",
         [](on s) {
             auto const a = s.join("a");
             auto const generation = s.own_new(a, "x");
             auto const got = s.lock(a, "x", generation, 1);
             s.advance(2s);
             auto const again = s.lock(a, "x", generation, 1);
             CHECK(again.ok());
             CHECK(again.token == got.token);
             CHECK(again.remaining == microseconds{3s});
             auto const other = s.lock(a, "x", generation, 2);
             CHECK(other.code == errc::locked_by_other);
             CHECK(other.token == 0);
             CHECK(other.remaining == microseconds{3s});
         }},
        {"a lock that ran out is free, under a higher token",
         [](on s) {
             auto const a = s.join("a");
             auto const generation = s.own_new(a, "x");
             auto const got = s.lock(a, "x", generation, 1);
             s.advance(5s - 1us);
             CHECK(s.lock(a, "x", generation, 2).code == errc::locked_by_other);
             s.advance(1us);
             auto const next = s.lock(a, "x", generation, 2);
             CHECK(next.ok());
             CHECK(next.token > got.token);
         }},
        {"no new lock on what is being handed over",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const generation = s.own_new(a, "x");
             s.revoke(a, "x", generation, b);
             CHECK(s.lock(a, "x", generation).code == errc::not_owner);
             CHECK(s.get(op::acquire_locks{.incarnation = a, .items = {{"x", generation}, {"y", 1}}, .ttl = 5s})
                       .items[0]
                       .code == errc::not_owner);
         }},
        {"the lock of a reaped node is free, that of a superseded one only after its deadline",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const c = s.join("c");
             auto const term = s.lead(a, "a");
             CHECK(s.lock_name(b, "n", 1, 100s).ok());
             CHECK(s.lock_name(c, "m", 1, 100s).ok());
             auto const newer_c = s.join("c");
             CHECK(s.lock_name(newer_c, "m", 2).code == errc::locked_by_other);
             CHECK(
                 s
                     .get(op::acquire_locks{
                         .incarnation = newer_c, .kind = op::lock_kind::name, .items = {{"m", 0}, {"n", 0}}, .ttl = 5s})
                     .items[0]
                     .remaining == microseconds{100s});
             s.advance(6s);
             s.renew(a, "a", term);
             s.tick(newer_c, "c");
             s.advance(4s);
             CHECK(s.lock_name(newer_c, "m", 3).ok());
             CHECK(s.lock_name(a, "n", 2).code == errc::locked_by_other);
             CHECK(s.get(op::reap{a, term, {b}}).items.size() == 1);
             auto const both = s.get(op::acquire_locks{
                 .incarnation = a, .kind = op::lock_kind::name, .items = {{"n", 0}, {"o", 0}}, .ttl = 5s});
             CHECK(both.items[0].ok());
             CHECK(both.items[1].token == both.items[0].token + 1);
         }},
        {"names do not meet schedule ids",
         [](on s) {
             auto const a = s.join("a");
             auto const generation = s.own_new(a, "x");
             CHECK(s.lock(a, "x", generation, 1).ok());
             CHECK(s.lock_name(a, "x", 2).ok());
             CHECK(s.lock_name(a, "x", 3).code == errc::locked_by_other);
         }},
        {"a batch takes consecutive tokens, each item with its own outcome",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const x = s.own_new(a, "x");
             auto const y = s.own_new(b, "y");
             auto const z = s.own_new(a, "z");
             auto const held = s.own_new(a, "held");
             s.lock(a, "held", held, 9);
             auto const got =
                 s.get(op::acquire_locks{.incarnation = a,
                                         .items = {{"x", x}, {"y", y}, {"none", 1}, {"held", held}, {"z", z}},
                                         .ttl = 7s,
                                         .nonce = 1});
             REQUIRE(got.items.size() == 5);
             CHECK(got.items[0].ok());
             CHECK(got.items[1].code == errc::not_owner);
             CHECK(got.items[2].code == errc::unknown_schedule);
             CHECK(got.items[3].code == errc::locked_by_other);
             CHECK(got.items[4].token == got.items[0].token + 1);
             CHECK(got.items[4].remaining == microseconds{7s});
             CHECK(s.tick(a, "a").fence == got.items[4].token);
             CHECK(s.get(op::acquire_locks{.incarnation = a, .ttl = 7s}).items.empty());
         }},
        {"an extension moves the end, never towards us",
         [](on s) {
             auto const a = s.join("a");
             auto const generation = s.own_new(a, "x");
             auto const token = s.lock(a, "x", generation).token;
             auto const extend = [&](fencing_token node, fencing_token with, microseconds ttl) {
                 return s.one(op::extend_locks{.incarnation = node, .items = {{"x", with}}, .ttl = ttl});
             };
             s.advance(1s);
             CHECK(extend(a, token, 8s) == op::outcome{{}, token, 8s});
             CHECK(extend(a, token, 1s) == op::outcome{{}, token, 8s});
             CHECK(extend(a, token - 1, 8s).code == errc::lock_lost);
             CHECK(extend(s.join("b"), token, 8s).code == errc::lock_lost);
             CHECK(s.one(op::extend_locks{
                             .incarnation = a, .kind = op::lock_kind::name, .items = {{"x", token}}, .ttl = 8s})
                       .code == errc::lock_lost);
             s.advance(8s);
             CHECK(extend(a, token, 8s).code == errc::lock_lost);
             CHECK(s.refusal(op::extend_locks{.incarnation = 5, .items = {{"x", token}}, .ttl = 8s}) ==
                   errc::not_joined);
             CHECK(s.get(op::extend_locks{.incarnation = a, .ttl = 8s}).items.empty());
         }},
        {"a lock is extended while its schedule is handed over, until the deadline of that",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const generation = s.own_new(a, "x");
             auto const token = s.lock(a, "x", generation, 1, 9s).token;
             s.revoke(a, "x", generation, b, 5s);
             op::extend_locks const more{.incarnation = a, .items = {{"x", token}}, .ttl = 9s};
             s.advance(5s - 1us);
             CHECK(s.one(more).ok());
             s.advance(1us);
             CHECK(s.one(more).code == errc::not_owner);
             // It runs out as it is.
             CHECK(s.one(op::acknowledge{.incarnation = a, .items = {{"x", generation, b, {}}}}).remaining ==
                   microseconds{9s - 1us});
         }},
        {"a lock is released by its token, once",
         [](on s) {
             auto const a = s.join("a");
             auto const generation = s.own_new(a, "x");
             auto const token = s.lock(a, "x", generation).token;
             auto const release = [&](fencing_token with) {
                 return s.one(op::release_locks{.items = {{"x", with}}}).code;
             };
             CHECK(release(token - 1) == errc::lock_lost);
             CHECK(s.one(op::release_locks{.kind = op::lock_kind::name, .items = {{"x", token}}}).code ==
                   errc::lock_lost);
             CHECK(release(token) == errc{});
             CHECK(release(token) == errc::lock_lost);
             auto const next = s.lock(a, "x", generation, 2).token;
             CHECK(release(token) == errc::lock_lost);
             s.advance(5s);
             CHECK(release(next) == errc::lock_lost);
             CHECK(s.get(op::release_locks{}).items.empty());
         }},
        {"a node that has left can still release",
         [](on s) {
             auto const a = s.join("a");
             auto const token = s.lock_name(a, "n").token;
             s.get(op::leave{a, "a", {}});
             CHECK(s.one(op::release_locks{.kind = op::lock_kind::name, .items = {{"n", token}}}).ok());
         }},
        {"a lock outlives the unregistering of its schedule",
         [](on s) {
             auto const a = s.join("a");
             auto const generation = s.own_new(a, "x");
             auto const token = s.lock(a, "x", generation).token;
             CHECK(s.one(op::unregister_schedules{{{"x", a}}, 1}).ok());
             CHECK(s.one(op::extend_locks{.incarnation = a, .items = {{"x", token}}, .ttl = 9s}).ok());
             CHECK(s.lock(a, "x", generation, 2).code == errc::unknown_schedule);
             CHECK(s.one(op::release_locks{.items = {{"x", token}}}).ok());
         }},
    };
}

// ---------------------------------------------------------------- schedules

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

// ---------------------------------------------------------------- following

template <typename Store>
std::vector<scenario<Store>> following_scenarios() {
    using on = scene<Store>&;
    return {
        {"a node reads its changes step by step, at most 8 steps at a time",
         [](on s) {
             auto const a = s.join("a");
             for (int i = 0; i < 11; ++i) s.own_new(a, "x" + std::to_string(i));
             auto const first = s.get(op::changes_since{a, 0});
             CHECK_FALSE(first.gap);
             CHECK(first.to == 8);
             CHECK(first.items.size() == 8);
             auto const rest = s.get(op::changes_since{a, first.to});
             CHECK(rest.to == 11);
             REQUIRE(rest.items.size() == 3);
             CHECK(rest.items[0].id == "x8");
             auto const none = s.get(op::changes_since{a, 11});
             CHECK(none == op::changes_reply{false, 11, {}});
             CHECK(s.get(op::changes_since{a, 12}) == op::changes_reply{true, 11, {}});
             CHECK(s.refusal(op::changes_since{5, 0}) == errc::not_joined);
         }},
        {"who is too far behind in the changes gets a gap",
         [](on s) {
             auto const a = s.join("a");
             s.own_new(a, "x");
             auto const before = s.get(op::changes_since{a, 0}).to;
             auto const steps = op::change_log_length + 300;
             for (std::size_t i = 0; i < steps; ++i) s.get(op::trigger{{{"x", a}}});
             auto const gap = s.get(op::changes_since{a, before + 1});
             CHECK(gap == op::changes_reply{true, before + steps, {}});
             auto const near = s.get(op::changes_since{a, before + steps - op::change_log_length});
             CHECK_FALSE(near.gap);
             CHECK(near.items.size() == 8);
         }},
        {"anyone reads the group's events step by step",
         [](on s) {
             auto const a = s.join("a");
             s.add({"x", "y"});
             s.get(op::claim{.incarnation = a, .ids = {"x", "y"}});
             auto const epoch = s.get(op::nodes_page{}).epoch;
             auto const two = s.get(op::events_since{epoch, 0, 2});
             CHECK(two.to == 2);
             CHECK(two.head == 3);
             CHECK(two.items.size() == 3);
             auto const rest = s.get(op::events_since{epoch, 2, 2});
             CHECK(rest.to == 3);
             CHECK(rest.items.size() == 2);
             CHECK(s.get(op::events_since{epoch, 3, 2}) == op::events_reply{false, 3, 3, {}});
             CHECK(s.get(op::events_since{epoch, 1, 0}) == op::events_reply{false, 1, 3, {}});
             CHECK(s.get(op::events_since{epoch, 4, 2}) == op::events_reply{true, 3, 3, {}});
             CHECK(s.get(op::events_since{epoch + 1, 0, 2}) == op::events_reply{true, 3, 3, {}});
         }},
        {"an empty group has no events",
         [](on s) {
             CHECK(s.get(op::events_since{}) == op::events_reply{});
             auto none = s.get(op::nodes_page{});
             CHECK(std::exchange(none.now, 0) != 0);
             CHECK(none == op::nodes_reply{});
             CHECK(s.get(op::schedules_page{}) == op::page_reply{});
             CHECK(s.get(op::lookup{{"x"}}).items.size() == 1);
         }},
        {"who is too far behind in the events gets a gap",
         [](on s) {
             auto const a = s.join("a");
             auto const epoch = s.get(op::nodes_page{}).epoch;
             for (std::size_t i = 0; i < op::event_log_length / 2 + 100; ++i)
                 s.get(op::renounce{a, s.lead(a, "a"), {}});
             auto const gap = s.get(op::events_since{epoch, 1, 5});
             CHECK(gap.gap);
             CHECK(gap.to == s.seq());
             CHECK(gap.items.empty());
             auto const near = s.get(op::events_since{epoch, gap.head - op::event_log_length, 5});
             CHECK_FALSE(near.gap);
             CHECK(near.items.size() == 5);
         }},
        {"schedules are paged in byte order, by holder",
         [](on s) {
             auto const a = s.join("a");
             s.add({"b", "\xff", "a", "ab", "c"});
             s.claim(a, "c");
             s.claim(a, "a");
             auto const ids = [](op::page_reply const& page) {
                 std::vector<std::string> all;
                 for (auto const& item : page.items) all.push_back(item.id);
                 return all;
             };
             auto const mine = s.get(op::schedules_page{.holder = a});
             CHECK(mine.version == 2);
             CHECK(ids(mine) == std::vector<std::string>{"a", "c"});
             auto const free = s.get(op::schedules_page{.limit = 2});
             CHECK(free.version == 0);
             CHECK(ids(free) == std::vector<std::string>{"ab", "b"});
             CHECK(ids(s.get(op::schedules_page{.after = "b", .limit = 2})) == std::vector<std::string>{"\xff"});
             CHECK(ids(s.get(op::schedules_page{.holder = a, .after = "b"})) == std::vector<std::string>{"c"});
             CHECK(s.get(op::schedules_page{.holder = 99}) == op::page_reply{});
             CHECK(s.get(op::schedules_page{.limit = 0}) == op::page_reply{});
             // Those of a dead node too.
             s.get(op::leave{a, "a", {}});
             CHECK(s.get(op::schedules_page{.holder = a}) == mine);
         }},
        {"nodes are paged in the order in which they came",
         [](on s) {
             std::vector<fencing_token> all;
             for (int i = 0; i < 5; ++i) all.push_back(s.join("n" + std::to_string(i), static_cast<std::uint32_t>(i)));
             s.own_new(all[4], "x");
             s.get(op::leave{all[4], "n4", {}});
             s.advance(3s);
             auto const page = s.get(op::nodes_page{.after = all[1], .limit = 2});
             REQUIRE(page.items.size() == 2);
             CHECK(page.items[0] == node_status{.node = {"n2", all[2]}, .alive = true, .remaining = 7s, .capacity = 2});
             auto const last = s.get(op::nodes_page{.after = all[3], .limit = 2});
             REQUIRE(last.items.size() == 1);
             CHECK(last.items[0] ==
                   node_status{.node = {"n4", all[4]}, .load = 1, .capacity = 4, .left = true, .gone_for = 3s});
             CHECK(s.get(op::nodes_page{.after = all[4]}).items.empty());
             CHECK(s.get(op::nodes_page{.after = ~std::uint64_t{0}}).items.empty());
             CHECK(s.get(op::nodes_page{.limit = 0}).items.empty());
             s.advance(8s);
             CHECK(s.get(op::nodes_page{.limit = 1}).items[0].remaining == 0us);
         }},
        {"a late command of an older connection changes nothing but, if it is a brief tick, a deadline",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const x = s.own_new(a, "x");
             auto const token = s.lock(a, "x", x).token;
             auto const term = s.lead(a, "a");
             s.store().raise({1, 3});
             auto const before = s.seq();
             rota::detail::connection_stamp const late{1, 2};
             auto const refused = [&](auto const& request) {
                 auto const answer = s.ask(request, late);
                 return !answer && answer.error() == errc::conflict;
             };
             CHECK(refused(op::join{.node_id = "c", .nonce = 1, .node_ttl = 10s}));
             CHECK(refused(s.heartbeat(a, "a")));
             auto brief = s.heartbeat(b, "b");
             brief.brief = true;
             s.advance(1s);
             CHECK(s.ask(brief, late).has_value());
             CHECK(s.get(op::nodes_page{.after = a}).items.at(0).remaining == microseconds{10s});
             CHECK(refused(op::leave{a, "a", {}}));
             CHECK(refused(op::renounce{a, term, {}}));
             CHECK(refused(op::acquire_locks{.incarnation = a, .items = {{"x", x}}, .ttl = 5s}));
             CHECK(refused(op::acquire_locks{.incarnation = a, .items = {{"x", x}, {"y", 1}}, .ttl = 5s}));
             CHECK(refused(op::extend_locks{.incarnation = a, .items = {{"x", token}}, .ttl = 5s}));
             CHECK(refused(op::release_locks{.items = {{"x", token}}}));
             CHECK(refused(op::register_schedules{{{"y", 1, {}}}}));
             CHECK(refused(op::unregister_schedules{{{"x", a}}, 1}));
             CHECK(refused(op::claim{.incarnation = a, .ids = {"x"}}));
             CHECK(refused(op::reap{a, term, {b}}));
             CHECK(refused(op::adopt{.incarnation = a, .term = term, .items = {{"x", x, a, b}}}));
             CHECK(refused(op::revoke{.incarnation = a, .items = {{"x", x, a, b}}}));
             CHECK(refused(op::acknowledge{.incarnation = a, .items = {{"x", x, b, {}}}}));
             CHECK(refused(op::describe_node{a, 1, {}}));
             CHECK(refused(op::give_order{op::order_kind::drain, "a"}));
             CHECK(refused(op::update_schedules{{{"x", 2, {}, a}}}));
             CHECK(refused(op::mend{.incarnation = a, .term = term, .items = {{"x", {a}}}}));
             // It may read, and the newest connection, or one of another session, may write.
             CHECK(s.ask(op::lookup{{"x"}}, late).has_value());
             CHECK(s.ask(op::changes_since{a, 0}, late).has_value());
             CHECK(s.ask(op::events_since{}, late).has_value());
             CHECK(s.ask(op::schedules_page{}, late).has_value());
             CHECK(s.ask(op::scan_page{}, late).has_value());
             CHECK(s.ask(op::nodes_page{}, late)->seq == before);
             CHECK(s.ask(s.heartbeat(a, "a"), {1, 3}).has_value());
             CHECK(s.ask(s.heartbeat(b, "b"), {2, 1}).has_value());
             CHECK(s.ask(op::release_locks{.items = {{"x", token}}}, {1, 3})->items[0].ok());
         }},
    };
}

// ---------------------------------------------------------------- mending

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

/// Plays every scenario, each on a store that `fresh()` gives, emptied.
template <typename Fresh>
void play_all_scenarios(Fresh&& fresh) {
    using store = std::remove_reference_t<decltype(fresh())>;
    for (auto const& part : {membership_scenarios<store>(), lock_scenarios<store>(), schedule_scenarios<store>(),
                             following_scenarios<store>(), mending_scenarios<store>()}) {
        for (auto const& each : part) {
            DYNAMIC_SECTION(each.name) {
                store& under_test = fresh();
                scene<store> s{under_test};
                each.play(s);
                CHECK(under_test.contradictions() == std::vector<std::string>{});
            }
        }
    }
}

}  // namespace rota::test
