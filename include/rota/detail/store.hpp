// The reference model of a group's state on the server: every operation of operations.hpp in a few lines of plain C++.
// memory_transport puts a mutex, a clock and a connection around it, the simulator links and replicas, and the Redis
// scripts are held against it by the differential test. A value: copying it takes a snapshot.
//
// It reads no clock: the caller says what time it is (µs, as Redis' TIME).
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../operations.hpp"
#include "../result.hpp"
#include "assert.hpp"
#include "defects.hpp"
#include "find.hpp"
#include "late.hpp"

namespace rota::detail {

/// Which connection of which session a request came by.
struct connection_stamp {
    std::uint64_t session = 0;
    std::uint64_t number = 0;
};

template <typename Defects = sound>
class basic_store {
    using reply = late<rota::reply, Defects>;
    using change = late<op::change, Defects>;
    using group_event = late<op::group_event, Defects>;
    using id_set = std::set<late<std::string, Defects>, std::less<>>;
    template <typename T>
    using by_id = std::map<late<std::string, Defects>, T, std::less<>>;

public:
    using time = late<std::int64_t, Defects>;  // µs of the server's clock

    /// The first request of each connection: later ones of older connections of the session are refused.
    void raise(connection_stamp from) {
        auto& number = sessions_[from.session];
        if (number < from.number) number = from.number;
    }

    result<reply> perform(operation const& request, connection_stamp from, time now) {
        now_ = now;
        if (writes(request) && is_stale(from)) return {errc::conflict, "an older connection of this session"};
        step_ = {};
        auto answer = std::visit([this](auto const& op) -> result<reply> { return this->on(op); }, request);
        close_step();
        return answer;
    }

    // What followers sleep on.
    [[nodiscard]] std::uint64_t seq() const { return seq_; }
    [[nodiscard]] fencing_token epoch() const { return epoch_; }
    [[nodiscard]] std::uint64_t version_of(fencing_token incarnation) const {
        auto n = nodes_.find(incarnation);
        return n == nodes_.end() ? 0 : n->second.version;
    }

    // ---------------------------------------------------------------- state, open to checkers

    struct moving {
        fencing_token to = 0;
        time deadline = 0;
        change_reason reason{};
    };
    struct schedule_record {
        fencing_token generation = 0;
        fencing_token owner = 0;
        double weight = 1;
        moving move{};  // to == 0: none
    };
    struct node_record {
        std::string id{};
        std::uint64_t nonce = 0;
        std::uint32_t capacity = unlimited;
        time ttl = 0;
        bool live = true;
        time deadline = 0;  // live: taken for dead from then on; dead: its schedules may be adopted from then on
        std::uint32_t pending = 0;
        id_set owned;
        std::uint64_t version = 0;
        std::deque<std::pair<std::uint64_t, std::vector<change>>> log;
    };
    struct lock_record {
        time deadline = 0;
        fencing_token token = 0;
        fencing_token holder = 0;
        std::uint64_t nonce = 0;
    };
    struct leader_record {
        time deadline = 0;
        fencing_token term = 0;
        fencing_token incarnation = 0;  // 0: none
        time lease = 0;
        std::string id{};
    };
    // What stays of an unregistered schedule: its owner may believe in it until it has heard of it.
    struct tombstone {
        fencing_token owner = 0;
        time until = 0;
        std::uint64_t nonce = 0;
        time kept = 0;
    };

    [[nodiscard]] auto const& schedules() const { return schedules_; }
    [[nodiscard]] auto const& nodes() const { return nodes_; }
    [[nodiscard]] auto const& locks(op::lock_kind kind) const { return locks_[index(kind)]; }
    [[nodiscard]] auto const& unowned() const { return unowned_; }
    [[nodiscard]] leader_record const& leader() const { return leader_; }
    [[nodiscard]] fencing_token fence() const { return fence_; }

private:
    static constexpr std::size_t index(op::lock_kind kind) { return kind == op::lock_kind::schedule ? 0 : 1; }

    static bool writes(operation const& request) {
        return std::visit(
            []<typename Op>(Op const&) {
                return !(std::is_same_v<Op, op::lookup> || std::is_same_v<Op, op::changes_since> ||
                         std::is_same_v<Op, op::events_since> || std::is_same_v<Op, op::schedules_page> ||
                         std::is_same_v<Op, op::nodes_page>);
            },
            request);
    }

    bool is_stale(connection_stamp from) const {
        if (Defects::has(defect::stale_connection)) return false;
        auto s = sessions_.find(from.session);
        return s != sessions_.end() && s->second > from.number;
    }

    // ---------------------------------------------------------------- tokens, liveness, logs

    fencing_token mint(fencing_token seen, std::size_t count = 1) {
        auto first = std::max(std::max(fence_, seen) + 1, static_cast<fencing_token>(now_));
        if (Defects::has(defect::token_counts_only)) first = fence_ + 1;
        fence_ = first + count - 1;
        return first;
    }

    bool is_absurd(fencing_token seen) const {
        auto const newest = std::max(fence_, static_cast<fencing_token>(now_));
        return seen > newest + static_cast<fencing_token>(op::max_seen_lead.count());
    }
    static result<reply> absurd() {
        return {errc::refused_by_server, "a fencing token of more than an hour ahead of the server's clock"};
    }

    // Writes that the caller has seen are missing here: nothing is granted before its tick has told it so.
    bool is_behind(fencing_token seen) const { return fence_ < seen; }
    static result<reply> behind() { return {errc::not_joined, "the server has lost writes"}; }

    node_record* find(fencing_token incarnation) {
        auto n = nodes_.find(incarnation);
        return n == nodes_.end() ? nullptr : &n->second;
    }
    node_record* live(fencing_token incarnation) {
        auto* n = find(incarnation);
        return n && n->live ? n : nullptr;
    }
    bool may_believe(fencing_token incarnation) {
        auto* n = find(incarnation);
        return n && (n->live || n->deadline > now_);
    }
    bool is_target(fencing_token incarnation) {
        auto* n = live(incarnation);
        return n && n->deadline > now_;
    }
    static std::uint64_t expected_load(node_record const& n) { return n.owned.size() + n.pending; }
    bool leads(fencing_token incarnation, fencing_token term) const {
        if (Defects::has(defect::adopt_any_term)) return true;
        return leader_.incarnation == incarnation && leader_.term == term && term != 0;
    }
    bool is_guarded(std::string const& id) {
        auto g = gone_.find(id);
        if (Defects::has(defect::tombstone_ignored)) return false;
        return g != gone_.end() && g->second.until > now_ && may_believe(g->second.owner);
    }

    void emit(op::group_event e) { step_.events.push_back(std::move(e)); }
    void tell(fencing_token incarnation, op::change c) { step_.changes[incarnation].push_back(std::move(c)); }

    // All that one operation emits becomes one entry of the event log, and one of each log of a node concerned.
    void close_step() {
        if (!step_.events.empty()) {
            ++seq_;
            for (auto& e : step_.events) e.seq = seq_;
            if (Defects::has(defect::events_twice)) step_.events.push_back(step_.events.back());
            events_.emplace_back(seq_, std::move(step_.events));
            if (events_.size() > op::event_log_length) events_.pop_front();
        }
        for (auto& [incarnation, changes] : step_.changes) {
            auto* n = live(incarnation);
            if (!n) continue;
            n->log.emplace_back(++n->version, std::move(changes));
            if (n->log.size() > op::change_log_length) n->log.pop_front();
        }
    }

    // ---------------------------------------------------------------- membership and leadership

    // A missing epoch or a fence below what the caller has seen: writes were lost (or, with seen == 0, the group is new).
    bool ensure_epoch(fencing_token seen) {
        if (epoch_ != 0 && fence_ >= seen) return true;
        epoch_ = mint(seen);
        events_.clear();  // their numbers belong to the epoch before
        if (seen == 0) return true;
        emit({.kind = op::group_event_kind::data_lost, .generation = epoch_});
        return false;
    }

    void take_out(fencing_token incarnation, node_record& n, time adoptable_from, op::group_event_kind why) {
        n.live = false;
        n.deadline = adoptable_from;
        if (Defects::has(defect::death_takes_all)) {
            for (auto const& id : std::exchange(n.owned, {})) {
                drop_move(schedules_[id]);
                schedules_.erase(id);
            }
        }
        auto id = ids_.find(n.id);
        if (id != ids_.end() && id->second == incarnation) ids_.erase(id);
        emit({.kind = why, .id = n.id, .from = incarnation});
    }

    void forget_if_done(fencing_token incarnation) {
        auto* n = find(incarnation);
        if (!n || n->live || n->deadline > now_ || !n->owned.empty()) return;
        nodes_.erase(incarnation);
        emit({.kind = op::group_event_kind::forgotten, .from = incarnation});
    }

    result<reply> on(op::join const& r) {
        if (is_absurd(r.seen)) return absurd();
        auto const held = ids_.find(r.node_id);
        auto const older = held == ids_.end() ? fencing_token{0} : held->second;
        auto* const before = live(older);
        if (before && before->nonce == r.nonce) {
            before->deadline = now_ + r.node_ttl.count();
            return reply{op::joined{older, epoch_, seq_, 0}};
        }
        if (before && r.on_conflict == conflict_policy::refuse && before->deadline > now_) {
            return {errc::conflict, "another live process has this node_id"};
        }
        ensure_epoch(r.seen);
        auto const incarnation = mint(r.seen);
        if (before) {
            before->live = false;
            if (Defects::has(defect::supersede_frees)) before->deadline = now_;
            emit({.kind = op::group_event_kind::superseded, .id = r.node_id, .from = older, .to = incarnation});
        }
        auto& n = nodes_[incarnation];
        n.id = r.node_id;
        n.nonce = r.nonce;
        n.capacity = r.capacity;
        n.ttl = r.node_ttl.count();
        n.deadline = now_ + r.node_ttl.count();
        ids_[r.node_id] = incarnation;
        if (Defects::has(defect::join_inherits)) {
            if (before) {
                n.owned = std::move(before->owned);
                before->owned.clear();
                for (auto const& id : n.owned) schedules_[id].owner = incarnation;
            }
        }
        emit({.kind = op::group_event_kind::joined, .id = r.node_id, .to = incarnation, .capacity = r.capacity});
        return reply{op::joined{incarnation, epoch_, next_seq(), before ? older : 0}};
    }

    // The number that this step's events will get.
    std::uint64_t next_seq() const { return seq_ + (step_.events.empty() ? 0 : 1); }

    result<reply> on(op::tick const& r) {
        if (is_absurd(r.seen)) return absurd();
        op::ticked answer;
        auto with_status = [&](op::tick_status status) {
            answer.status = status;
            answer.epoch = epoch_;
            answer.fence = fence_;
            answer.seq = next_seq();
            return reply{answer};
        };
        if (!ensure_epoch(r.seen) || epoch_ != r.epoch) return with_status(op::tick_status::data_lost);
        auto* n = live(r.incarnation);
        if (!n) {
            auto const id = ids_.find(r.node_id);
            bool const taken = id != ids_.end() && id->second != r.incarnation;
            return with_status(taken ? op::tick_status::fenced : op::tick_status::reaped);
        }
        n->deadline = now_ + r.node_ttl.count();
        leader_.deadline = std::min(leader_.deadline, now_ + leader_.lease);  // the clock stepped back
        renew_or_take_lead(r);
        answer.version = n->version;
        if (leader_.incarnation != 0 && leader_.deadline > now_) {
            answer.leader = leader_.incarnation;
            answer.term = leader_.term;
            answer.leader_id = leader_.id;
            answer.leader_remaining = microseconds{leader_.deadline - now_};
        }
        if (answer.leader == r.incarnation) {
            answer.sweep = watch_for(r.incarnation);
            pull_in_deadlines(r.incarnation, r.node_ttl.count());
        }
        return with_status(op::tick_status::ok);
    }

    void renew_or_take_lead(op::tick const& r) {
        bool const mine = leader_.incarnation == r.incarnation && leader_.term == r.term && r.term != 0;
        if (Defects::has(defect::renew_any_term) && r.term != 0) {
            leader_ = {now_ + r.leader_lease.count(), r.term, r.incarnation, r.leader_lease.count(), r.node_id};
            return;
        }
        if (mine) {
            leader_.lease = r.leader_lease.count();
            leader_.deadline = now_ + leader_.lease;
            return;
        }
        bool const taken = leader_.incarnation != 0 && leader_.deadline > now_;
        if (!r.candidate || (taken && !Defects::has(defect::elected_on_request))) return;
        auto const previous = leader_.incarnation;
        auto const lease = r.leader_lease.count();
        leader_ = {now_ + lease, mint(r.seen), r.incarnation, lease, r.node_id};
        emit({.kind = op::group_event_kind::led,
              .id = r.node_id,
              .from = previous,
              .to = r.incarnation,
              .generation = leader_.term});
    }

    op::watch watch_for(fencing_token leader) const {
        op::watch w;
        std::set<std::pair<time, fencing_token>> expired, dead, fresh;
        for (auto const& [incarnation, n] : nodes_) {
            if (incarnation == leader) continue;
            auto const left = microseconds{n.deadline - now_};
            bool const over = n.deadline <= now_ + early();
            if (n.live && over) expired.emplace(n.deadline, incarnation);
            if (n.live && !over) {
                w.next_expiry = std::min(w.next_expiry, left);
                fresh.emplace(n.deadline, incarnation);
            }
            if (!n.live && over) dead.emplace(n.deadline, incarnation);
            if (!n.live && !over) w.next_dead = std::min(w.next_dead, left);
        }
        auto list = [](auto from, auto end, std::vector<fencing_token>& into, std::size_t most) {
            for (; from != end && into.size() < most; ++from) into.push_back(from->second);
        };
        list(expired.begin(), expired.end(), w.expired, op::max_batch);
        list(dead.begin(), dead.end(), w.dead, op::max_batch);
        list(fresh.rbegin(), fresh.rend(), w.candidates, 3);
        return w;
    }

    // Once the server's clock has stepped back, what was granted before seems to last for that much longer. Nothing lasts
    // longer than it was granted for. (Locks and hand-offs need no such care: they end with the node that has them.)
    void pull_in_deadlines(fencing_token leader, time usual_ttl) {
        for (auto& [incarnation, n] : nodes_) {
            if (incarnation != leader && n.deadline > now_ + std::max(usual_ttl, n.ttl)) n.deadline = now_ + n.ttl;
        }
    }

    static time early() { return Defects::has(defect::reap_early) ? 1'000'000 : 0; }

    void vacate(std::vector<fencing_token> const& wake) {
        emit({.kind = op::group_event_kind::vacated, .from = leader_.incarnation, .generation = leader_.term});
        leader_ = {};
        for (auto incarnation : wake) {
            if (live(incarnation)) tell(incarnation, {.kind = op::change_kind::vacancy});
        }
    }

    result<reply> on(op::leave const& r) {
        if (auto* n = live(r.incarnation)) {
            take_out(r.incarnation, *n, now_, op::group_event_kind::left);
        } else if (auto* dead = find(r.incarnation); dead && dead->deadline > now_) {
            dead->deadline = now_;
        }
        forget_if_done(r.incarnation);
        if (leader_.incarnation != 0 && leader_.incarnation == r.incarnation) vacate(r.wake);
        return reply{op::done{}};
    }

    result<reply> on(op::renounce const& r) {
        bool const same_term = leader_.term == r.term || Defects::has(defect::renounce_forgets_term);
        if (leader_.incarnation != 0 && same_term &&
            (leader_.incarnation == r.incarnation || Defects::has(defect::renounce_forgets_term))) {
            vacate(r.wake);
        }
        return reply{op::done{}};
    }

    result<reply> on(op::reap const& r) {
        if (!leads(r.incarnation, r.term)) return {errc::not_leader};
        op::outcomes answer;
        for (auto incarnation : r.nodes) {
            auto* n = live(incarnation);
            if (n && (n->deadline <= now_ + early() || Defects::has(defect::reap_unchecked)) &&
                incarnation != r.incarnation) {
                take_out(incarnation, *n, now_, op::group_event_kind::died);
                answer.items.push_back({.token = incarnation});
            }
            forget_if_done(incarnation);
        }
        return reply{std::move(answer)};
    }

    // ---------------------------------------------------------------- locks

    bool is_held(lock_record const& lock) {
        if (Defects::has(defect::locks_outlive_none) && !live(lock.holder)) return false;
        return lock.deadline > now_ && may_believe(lock.holder);
    }

    result<reply> on(op::acquire_locks const& r) {
        if (is_behind(r.seen)) return behind();
        if (!live(r.incarnation)) return {errc::not_joined};
        auto& locks = locks_[index(r.kind)];
        op::outcomes answer;
        std::vector<std::size_t> granted{};
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            if (r.kind == op::lock_kind::schedule && !Defects::has(defect::acquire_any_owner)) {
                auto s = schedules_.find(item.name);
                if (s == schedules_.end()) {
                    out.code = errc::unknown_schedule;
                    continue;
                }
                auto const& record = s->second;
                if (record.owner != r.incarnation || record.generation != item.generation || record.move.to != 0) {
                    out.code = errc::not_owner;
                    continue;
                }
            }
            if (auto l = locks.find(item.name); l != locks.end() && is_held(l->second)) {
                bool const repeat = l->second.holder == r.incarnation &&
                                    (l->second.nonce == r.nonce || Defects::has(defect::acquire_again));
                if (repeat) out.token = l->second.token;
                if (!repeat) out.code = errc::locked_by_other;
                out.remaining = microseconds{l->second.deadline - now_};
                continue;
            }
            granted.push_back(answer.items.size() - 1);
        }
        if (granted.empty()) return reply{std::move(answer)};
        auto token = Defects::has(defect::token_not_minted) ? fence_ : mint(r.seen, granted.size());
        for (auto i : granted) {
            locks[r.items[i].name] = {now_ + r.ttl.count(), token, r.incarnation, r.nonce};
            answer.items[i].token = token++;
            answer.items[i].remaining = r.ttl;
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::extend_locks const& r) {
        if (!live(r.incarnation)) return {errc::not_joined};
        auto& locks = locks_[index(r.kind)];
        op::outcomes answer;
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            auto l = locks.find(item.name);
            bool const theirs = l != locks.end() && l->second.token == item.token && l->second.holder == r.incarnation;
            bool const held = l != locks.end() && (theirs || Defects::has(defect::extend_any_owner)) &&
                              (l->second.deadline > now_ || Defects::has(defect::extend_revives));
            if (!held) {
                out.code = errc::lock_lost;
                continue;
            }
            if (r.kind == op::lock_kind::schedule) {
                auto s = schedules_.find(item.name);
                if (s != schedules_.end() && s->second.move.to != 0 && s->second.move.deadline <= now_) {
                    out.code = errc::not_owner;
                    continue;
                }
            }
            l->second.deadline = std::max(l->second.deadline, now_ + r.ttl.count());
            out.token = item.token;
            out.remaining = microseconds{l->second.deadline - now_};
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::release_locks const& r) {
        auto& locks = locks_[index(r.kind)];
        op::outcomes answer;
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            auto l = locks.find(item.name);
            bool const held = l != locks.end() && l->second.deadline > now_ &&
                              (l->second.token == item.token || Defects::has(defect::release_any_owner));
            if (held) {
                locks.erase(l);
            } else {
                out.code = errc::lock_lost;
            }
        }
        return reply{std::move(answer)};
    }

    // ---------------------------------------------------------------- schedules

    result<reply> on(op::register_schedules const& r) {
        ensure_epoch(0);
        op::outcomes answer;
        for (auto const& item : r.items) {
            answer.items.emplace_back();
            if (!schedules_.try_emplace(item.id, schedule_record{.weight = item.weight}).second) continue;
            unowned_.insert(item.id);
            emit({.kind = op::group_event_kind::registered, .id = item.id, .weight = item.weight});
        }
        return reply{std::move(answer)};
    }

    static schedule_status status_of(std::string const& id, schedule_record const& s) {
        return {id, s.generation, s.owner, s.weight, s.move.to};
    }

    result<reply> on(op::lookup const& r) {
        op::lookup_reply answer;
        for (auto const& id : r.ids) {
            auto s = schedules_.find(id);
            auto& entry = answer.items.emplace_back();
            entry.registered = s != schedules_.end();
            if (entry.registered) entry.status = status_of(id, s->second);
        }
        return reply{std::move(answer)};
    }

    void drop_move(schedule_record& s) {
        if (auto* target = find(s.move.to)) --target->pending;
        s.move = {};
    }
    void detach(std::string const& id, schedule_record const& s) {
        if (s.owner == 0) {
            unowned_.erase(id);
        } else if (auto* n = find(s.owner)) {
            n->owned.erase(id);
        }
    }
    void hand_to(std::string const& id, schedule_record& s, fencing_token to, fencing_token generation,
                 change_reason reason) {
        auto const from = s.owner;
        detach(id, s);
        drop_move(s);
        s.owner = to;
        s.generation = generation;
        if (auto* n = find(to)) {
            n->owned.insert(id);
            tell(to, {op::change_kind::granted, id, generation, s.weight, from, reason, {}});
        } else {
            unowned_.insert(id);
        }
        emit({.kind = op::group_event_kind::owned,
              .id = id,
              .from = from,
              .to = to,
              .generation = generation,
              .weight = s.weight,
              .reason = reason});
    }

    result<reply> on(op::unregister_schedules const& r) {
        op::outcomes answer;
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            auto const g = gone_.find(item.id);
            auto s = schedules_.find(item.id);
            bool const repeat = g != gone_.end() && g->second.nonce == r.nonce && g->second.kept > now_;
            if (repeat) continue;  // even if it was registered anew meanwhile
            if (s == schedules_.end()) {
                out.code = errc::unknown_schedule;
                continue;
            }
            if (s->second.owner != item.owner) {
                out.code = errc::conflict;
                continue;
            }
            auto* owner = find(item.owner);
            tombstone stone{item.owner, owner ? owner->deadline : 0, r.nonce, 0};
            if (is_guarded(item.id)) {  // an earlier owner may still believe: that guard stays
                stone.owner = g->second.owner;
                stone.until = g->second.until;
            }
            stone.kept = std::max(stone.until, now_ + op::repeat_window.count());
            gone_[item.id] = stone;
            detach(item.id, s->second);
            drop_move(s->second);
            schedules_.erase(s);
            if (live(item.owner) && !Defects::has(defect::unregister_untold)) {
                tell(item.owner, {.kind = op::change_kind::removed, .id = item.id});
            }
            emit({.kind = op::group_event_kind::unregistered, .id = item.id, .from = item.owner});
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::claim const& r) {
        if (is_behind(r.seen)) return behind();
        auto* me = live(r.incarnation);
        if (!me) return {errc::not_joined};
        op::outcomes answer;
        for (auto const& id : r.ids) {
            auto& out = answer.items.emplace_back();
            auto s = schedules_.find(id);
            if (s == schedules_.end()) {
                out.code = errc::unknown_schedule;
            } else if (s->second.owner == r.incarnation) {
                out.token = s->second.generation;
            } else if (s->second.owner != 0 && !Defects::has(defect::claim_any_owner)) {
                out.code = errc::owned_by_other;
            } else if (is_guarded(id)) {
                out.code = errc::conflict;
            } else if (expected_load(*me) >= me->capacity) {
                out.code = errc::capacity_exceeded;
            } else {
                out.token = mint(r.seen);
                hand_to(id, s->second, r.incarnation, out.token, change_reason::claimed);
            }
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::adopt const& r) {
        if (is_behind(r.seen)) return behind();
        if (!leads(r.incarnation, r.term)) return {errc::not_leader};
        op::outcomes answer;
        std::vector<fencing_token> sources{};
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            auto s = schedules_.find(item.id);
            if (s == schedules_.end()) {
                out.code = errc::unknown_schedule;
                continue;
            }
            auto& record = s->second;
            bool const expected = (record.generation == item.generation && record.owner == item.from) ||
                                  Defects::has(defect::adopt_any_owner);
            bool const orphaned = item.from == 0 || !may_believe(item.from) || Defects::has(defect::adopt_live_owner);
            if (!expected || !orphaned || is_guarded(item.id)) {
                out.code = errc::conflict;
            } else if (!is_target(item.to)) {
                out.code = errc::unknown_node;
            } else if (auto* to = find(item.to);
                       expected_load(*to) - (record.move.to == item.to ? 1 : 0) >= to->capacity &&
                       !Defects::has(defect::capacity_ignored)) {
                out.code = errc::capacity_exceeded;
            } else {
                out.token = mint(r.seen);
                hand_to(item.id, record, item.to, out.token, item.reason);
                auto const named = find_where(sources, [&](auto source) { return source == item.from; });
                if (item.from != 0 && named == sources.end()) sources.push_back(item.from);
            }
        }
        for (auto from : sources) forget_if_done(from);
        return reply{std::move(answer)};
    }

    result<reply> on(op::revoke const& r) {
        if (r.term != 0 && !leads(r.incarnation, r.term)) return {errc::not_leader};
        if (r.term == 0 && !live(r.incarnation)) return {errc::not_joined};
        op::outcomes answer;
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            auto s = schedules_.find(item.id);
            if (s == schedules_.end()) {
                out.code = errc::unknown_schedule;
                continue;
            }
            auto& record = s->second;
            if (r.term == 0 && item.from != r.incarnation) {
                out.code = errc::not_owner;
            } else if (record.generation != item.generation || record.owner != item.from || !live(item.from) ||
                       item.to == item.from || (record.move.to != 0 && record.move.to != item.to)) {
                out.code = errc::conflict;
            } else if (item.to != 0 && record.move.to == item.to) {
                out.token = record.generation;
            } else if (!is_target(item.to)) {
                out.code = errc::unknown_node;
            } else if (auto* to = find(item.to); expected_load(*to) >= to->capacity) {
                out.code = errc::capacity_exceeded;
            } else {
                out.token = record.generation;
                if (Defects::has(defect::grant_without_ack)) {
                    hand_to(item.id, record, item.to, mint(0), item.reason);
                    continue;
                }
                record.move = {item.to, now_ + r.handoff_deadline.count(), item.reason};
                ++to->pending;
                tell(item.from, {op::change_kind::revoking, item.id, record.generation, record.weight, item.to,
                                 item.reason, r.handoff_deadline});
                emit({.kind = op::group_event_kind::moving,
                      .id = item.id,
                      .from = item.from,
                      .to = item.to,
                      .generation = record.generation,
                      .weight = record.weight,
                      .reason = item.reason});
            }
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::acknowledge const& r) {
        if (is_behind(r.seen)) return behind();
        if (!live(r.incarnation)) return {errc::not_joined};
        auto& locks = locks_[index(op::lock_kind::schedule)];
        op::outcomes answer;
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            auto s = schedules_.find(item.id);
            if (s == schedules_.end()) {
                out.code = errc::unknown_schedule;
                continue;
            }
            auto& record = s->second;
            if (record.generation != item.generation || record.owner != r.incarnation || record.move.to != item.to ||
                item.to == 0) {
                out.code = errc::conflict;
                continue;
            }
            if (Defects::has(defect::ack_during_run)) locks.erase(item.id);
            if (auto l = locks.find(item.id); l != locks.end() && is_held(l->second)) {
                out.code = errc::locked_by_other;
                out.remaining = microseconds{l->second.deadline - now_};
                continue;
            }
            auto* to = find(item.to);
            if (!is_target(item.to)) {
                out.code = errc::unknown_node;
            } else if (expected_load(*to) - 1 >= to->capacity) {
                out.code = errc::capacity_exceeded;
            }
            out.token = Defects::has(defect::generation_kept) ? record.generation : mint(r.seen);
            hand_to(item.id, record, out.ok() ? item.to : 0, out.token,
                    out.ok() ? record.move.reason : change_reason::given_up);
        }
        return reply{std::move(answer)};
    }

    // ---------------------------------------------------------------- following

    result<reply> on(op::changes_since const& r) {
        auto* n = live(r.incarnation);
        if (!n) return {errc::not_joined};
        op::changes_reply answer;
        answer.to = n->version;
        auto const first = n->log.empty() ? n->version + 1 : n->log.front().first;
        if (r.version > n->version || r.version + 1 < first) {
            answer.gap = true;
            return reply{std::move(answer)};
        }
        answer.to = r.version;
        for (std::size_t i = r.version + 1 - first, steps = 0; i < n->log.size() && steps < op::max_change_steps;
             ++i, ++steps) {
            answer.to = n->log[i].first;
            answer.items.insert(answer.items.end(), n->log[i].second.begin(), n->log[i].second.end());
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::events_since const& r) {
        op::events_reply answer;
        answer.head = seq_;
        auto const first = events_.empty() ? seq_ + 1 : events_.front().first;
        if (r.epoch != epoch_ || r.seq > seq_ || r.seq + 1 < first) {
            answer.gap = true;
            answer.to = seq_;
            return reply{std::move(answer)};
        }
        answer.to = r.seq;
        for (std::size_t i = r.seq + 1 - first, steps = 0; i < events_.size() && steps < r.limit; ++i, ++steps) {
            answer.to = events_[i].first;
            answer.items.insert(answer.items.end(), events_[i].second.begin(), events_[i].second.end());
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::schedules_page const& r) {
        op::page_reply answer;
        auto* n = find(r.holder);
        if (r.holder != 0 && !n) return reply{std::move(answer)};
        if (n) answer.version = n->version;
        auto const& ids = n ? n->owned : unowned_;
        for (auto i = ids.upper_bound(r.after); i != ids.end() && answer.items.size() < r.limit; ++i) {
            answer.items.push_back(status_of(*i, schedules_.find(*i)->second));
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::nodes_page const& r) {
        op::nodes_reply answer;
        answer.epoch = epoch_;
        answer.seq = seq_;
        for (auto i = nodes_.upper_bound(r.after); i != nodes_.end() && answer.items.size() < r.limit; ++i) {
            auto const& n = i->second;
            answer.items.push_back({{n.id, i->first},
                                    n.live,
                                    microseconds{n.live ? std::max<time>(n.deadline - now_, 0) : 0},
                                    static_cast<std::uint32_t>(n.owned.size()),
                                    n.pending,
                                    n.capacity});
        }
        return reply{std::move(answer)};
    }

    struct step {
        std::vector<group_event> events{};
        std::map<fencing_token, std::vector<change>> changes;
    };

    time now_ = 0;
    step step_;
    fencing_token epoch_ = 0;
    fencing_token fence_ = 0;
    std::uint64_t seq_ = 0;
    leader_record leader_;
    std::map<fencing_token, node_record> nodes_;
    by_id<fencing_token> ids_;
    by_id<schedule_record> schedules_;
    id_set unowned_;
    by_id<lock_record> locks_[2];
    by_id<tombstone> gone_;
    std::map<std::uint64_t, late<std::uint64_t, Defects>> sessions_;
    std::deque<std::pair<std::uint64_t, std::vector<group_event>>> events_;
};

}  // namespace rota::detail
