// What the scenarios of the conformance suite are told with: a store, and short ways to ask it. See conformance.hpp.
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

#include "../../catch.hpp"

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

}  // namespace rota::test
