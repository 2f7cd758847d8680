// All that a server holds of a group, read out of the reference store or out of Redis, in one form: to be checked for
// contradictions (find_contradictions) and compared with what another store holds.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <fmt/core.h>

#include <rota/detail/store.hpp>

namespace rota::test {

using rota::detail::store_damage;

struct group_state {
    struct leader_record {
        std::int64_t deadline = 0;
        fencing_token term = 0;
        fencing_token incarnation = 0;
        std::uint64_t lease = 0;
        std::string id;
        bool operator==(leader_record const&) const = default;
    };
    struct node {
        std::string id;
        std::uint64_t nonce = 0;
        std::uint64_t ttl = 0;
        std::uint32_t capacity = 0;
        std::string traits;
        bool live = false;
        bool left = false;
        std::int64_t deadline = 0;
        std::uint64_t load = 0;
        std::uint64_t pending = 0;
        std::uint64_t version = 0;
        std::set<std::string> owned;
        bool operator==(node const&) const = default;
    };
    struct move {
        fencing_token to = 0;
        std::int64_t deadline = 0;
        std::uint64_t reason = 0;
        bool open = false;
        bool operator==(move const&) const = default;
    };
    struct schedule {
        fencing_token generation = 0;
        fencing_token owner = 0;  // all bits set: cannot be read
        double weight = 1;
        std::string traits;
        group_state::move move;
        fencing_token triggered = 0;
        bool operator==(schedule const&) const = default;
    };
    struct lock {
        std::int64_t deadline = 0;
        fencing_token token = 0;
        fencing_token holder = 0;
        std::uint64_t nonce = 0;
        bool operator==(lock const&) const = default;
    };

    fencing_token epoch = 0;
    fencing_token fence = 0;
    std::uint64_t seq = 0;
    std::uint64_t called = 0;
    leader_record leader;
    std::map<fencing_token, node> nodes;
    std::map<std::string, schedule> schedules;
    std::set<std::string> unowned;
    std::map<std::string, move> stray_moves;
    std::set<std::string> drained;
    bool maintenance = false;
    std::map<std::string, lock> locks, names;  // those that have not run out

    bool operator==(group_state const&) const = default;
};

/// What contradicts itself in `s`, in words; empty: nothing.
inline std::vector<std::string> find_contradictions(group_state const& s) {
    std::vector<std::string> found;
    auto const demand = [&](bool holds, std::string what) {
        if (!holds) found.push_back(std::move(what));
    };
    std::map<fencing_token, std::uint64_t> moving_to;
    std::map<std::string, fencing_token> live_names;
    std::set<fencing_token> generations;
    for (auto const& [id, schedule] : s.schedules) {
        demand(schedule.generation <= s.fence, fmt::format("{}: generation above the fence", id));
        if (schedule.generation != 0) {
            demand(generations.insert(schedule.generation).second, fmt::format("{}: generation granted twice", id));
        }
        demand(s.unowned.contains(id) == (schedule.owner == 0), fmt::format("{}: unowned or not?", id));
        if (schedule.owner != 0) {
            auto const owner = s.nodes.find(schedule.owner);
            demand(owner != s.nodes.end(), fmt::format("{}: its owner {} is not known", id, schedule.owner));
            demand(owner == s.nodes.end() || owner->second.owned.contains(id),
                   fmt::format("{}: not with its owner", id));
        }
        if (schedule.move.to != 0) {
            demand(schedule.owner != 0 && schedule.owner != schedule.move.to,
                   fmt::format("{}: moves from or to where?", id));
            ++moving_to[schedule.move.to];
        }
    }
    for (auto const& [id, move] : s.stray_moves) demand(false, fmt::format("{}: moves, but is not registered", id));
    for (auto const& id : s.unowned)
        demand(s.schedules.contains(id), fmt::format("{}: unowned but not registered", id));
    for (auto const& [incarnation, node] : s.nodes) {
        demand(incarnation <= s.fence, fmt::format("{}: incarnation above the fence", incarnation));
        demand(node.load == node.owned.size(),
               fmt::format("{}: load {} with {} schedules", incarnation, node.load, node.owned.size()));
        demand(node.pending == moving_to[incarnation],
               fmt::format("{}: {} pending with {} moves", incarnation, node.pending, moving_to[incarnation]));
        for (auto const& id : node.owned) {
            auto const schedule = s.schedules.find(id);
            demand(schedule != s.schedules.end() && schedule->second.owner == incarnation,
                   fmt::format("{}: has {}, which is not its own", incarnation, id));
        }
        if (node.live) {
            demand(live_names.emplace(node.id, incarnation).second, fmt::format("{}: two live nodes", node.id));
        }
    }
    demand(s.leader.term <= s.fence, "the leader's term is above the fence");
    return found;
}

/// What the reference store holds at `now`.
template <typename Defects>
group_state state_of(rota::detail::basic_store<Defects> const& store, std::int64_t now) {
    group_state s;
    s.epoch = store.epoch();
    s.fence = store.fence();
    s.seq = store.seq();
    s.called = store.called();
    auto const& leads = store.leader();
    s.leader = {leads.deadline, leads.term, leads.incarnation, static_cast<std::uint64_t>(leads.lease), leads.id};
    for (auto const& [incarnation, n] : store.nodes()) {
        auto& node = s.nodes[incarnation];
        node.id = n.id;
        node.nonce = n.nonce;
        node.ttl = static_cast<std::uint64_t>(n.ttl);
        node.capacity = n.capacity;
        node.traits = n.traits;
        node.live = n.live;
        node.left = n.left;
        node.deadline = n.deadline;
        node.load = n.load;
        node.pending = n.pending;
        node.version = n.version;
        node.owned.insert(n.owned.begin(), n.owned.end());
    }
    auto const move_of = [](auto const& m) {
        return group_state::move{m.to, m.deadline, static_cast<std::uint64_t>(m.reason), m.open};
    };
    for (auto const& [id, r] : store.schedules()) {
        s.schedules[id] = {r.generation, r.owner, r.weight, r.traits, move_of(r.move), r.triggered};
    }
    for (auto const& [id, m] : store.stray_moves()) s.stray_moves[id] = move_of(m);
    s.drained.insert(store.drained().begin(), store.drained().end());
    s.maintenance = store.maintenance();
    s.unowned.insert(store.unowned().begin(), store.unowned().end());
    auto const copy = [now](auto const& from, auto& into) {
        for (auto const& [id, l] : from) {
            if (l.deadline > now) into[id] = {l.deadline, l.token, l.holder, l.nonce};
        }
    };
    copy(store.locks(op::lock_kind::schedule), s.locks);
    copy(store.locks(op::lock_kind::name), s.names);
    return s;
}

}  // namespace rota::test
