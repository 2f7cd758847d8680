// The reference model of a group's state on the server: every operation of operations.hpp in a few lines of plain C++.
// memory_transport puts a mutex, a clock and a connection around it, the simulator links and replicas, and the Redis
// scripts are held against it by the differential test. A value: copying it takes a snapshot.
//
// It reads no clock: the caller says what time it is (µs, as Redis' TIME).
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../operations.hpp"
#include "../policies.hpp"
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

/// What a failover that lost writes, or an edit by hand, may have done to the records: for tests, see op::mend.
struct store_damage {
    enum class kind : std::uint8_t {
        lose_record,    ///< the record of `id` is gone, whatever indexes say
        garble_record,  ///< it cannot be read
        change_owner,   ///< it names `node`, known or not
        list,           ///< the index of `node` (0: of nobody) lists `id`
        unlist,         ///< ... does not
        set_load,       ///< the counters of `node` say `count`
        set_pending,
    };
    kind what{};
    std::string id{};
    fencing_token node = 0;
    std::uint32_t count = 0;
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
    /// The last step with an event that calls the leader.
    [[nodiscard]] std::uint64_t called() const { return called_; }
    [[nodiscard]] fencing_token epoch() const { return epoch_; }
    /// As the reply to changes_since.
    [[nodiscard]] op::changes_reply changes_after(fencing_token incarnation, std::uint64_t version) const {
        op::changes_reply answer;
        auto const found = nodes_.find(incarnation);
        if (found == nodes_.end()) {
            answer.gap = true;
            return answer;
        }
        auto const& n = found->second;
        auto const first = n.log.empty() ? n.version + 1 : n.log.front().first;
        if (version > n.version || version + 1 < first) {
            answer.gap = true;
            answer.to = n.version;
            return answer;
        }
        answer.to = version;
        for (std::size_t i = version + 1 - first, steps = 0; i < n.log.size() && steps < op::max_change_steps;
             ++i, ++steps) {
            answer.to = n.log[i].first;
            answer.items.insert(answer.items.end(), n.log[i].second.begin(), n.log[i].second.end());
        }
        return answer;
    }

    /// What a transport that listens can tell of what is newer than `sub`.
    [[nodiscard]] pushed_news news_for(subscription const& sub) const {
        pushed_news news{.incarnation = sub.incarnation, .version = sub.version};
        news.group = has_group_news(sub);
        news.changes = changes_after(sub.incarnation, sub.version);
        return news;
    }
    /// Whether there is anything.
    [[nodiscard]] bool has_news_for(subscription const& sub) const {
        return version_of(sub.incarnation) > sub.version || has_group_news(sub);
    }

    [[nodiscard]] std::uint64_t version_of(fencing_token incarnation) const {
        auto n = nodes_.find(incarnation);
        return n == nodes_.end() ? 0 : n->second.version;
    }

    // ---------------------------------------------------------------- state, open to checkers

    struct moving {
        fencing_token to = 0;
        time deadline = 0;
        change_reason reason{};
        bool open = false;
    };
    /// The owner of a record that cannot be read: nobody's to grant, and nobody's own.
    static constexpr fencing_token unreadable = ~fencing_token{0};
    struct schedule_record {
        fencing_token generation = 0;
        fencing_token owner = 0;
        double weight = 1;
        std::string traits{};
        fencing_token triggered = 0;
        moving move{};             // to == 0: none
        std::uint64_t number = 0;  // its place in a scan: that of its registration
    };
    struct node_record {
        std::string id{};
        std::uint64_t nonce = 0;
        std::uint32_t capacity = unlimited;
        std::string traits{};
        time ttl = 0;
        bool live = true;
        bool left = false;  // in order
        time deadline = 0;  // live: taken for dead from then on; dead: its schedules may be adopted from then on
        std::uint32_t load = 0;
        std::uint32_t pending = 0;
        id_set owned;  // as many as load says, unless the records are damaged
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
    // What stays of an unregistered schedule: its owner may believe in it until it has heard of it. So may, of one that
    // had to be mended, all who were listed as its holder.
    static constexpr fencing_token several = 0;
    struct tombstone {
        fencing_token owner = 0;
        time until = 0;
        std::uint64_t nonce = 0;
        time kept = 0;
        time overdue = 0;  // as buried_ has it
    };

    [[nodiscard]] auto const& schedules() const { return schedules_; }
    [[nodiscard]] auto const& nodes() const { return nodes_; }
    [[nodiscard]] auto const& locks(op::lock_kind kind) const { return locks_[index(kind)]; }
    [[nodiscard]] auto const& unowned() const { return unowned_; }
    [[nodiscard]] leader_record const& leader() const { return leader_; }
    [[nodiscard]] fencing_token fence() const { return fence_; }
    [[nodiscard]] auto const& stray_moves() const { return stray_moves_; }
    [[nodiscard]] auto const& drained() const { return drained_; }
    [[nodiscard]] bool maintenance() const { return maintenance_; }

    void inflict(store_damage const& d) {
        using kind = store_damage::kind;
        auto const s = schedules_.find(d.id);
        auto* const n = find(d.node);
        switch (d.what) {
            case kind::lose_record:
                if (s == schedules_.end()) return;
                if (s->second.move.to != 0) stray_moves_[d.id] = s->second.move;
                erase_record(s);
                break;
            case kind::garble_record:
                if (s != schedules_.end()) {
                    s->second = {.owner = unreadable, .move = s->second.move, .number = s->second.number};
                }
                break;
            case kind::change_owner:
                if (s != schedules_.end() && s->second.owner != unreadable) s->second.owner = d.node;
                break;
            case kind::list:
                if (d.node == 0) unowned_.insert(d.id);
                if (n) n->owned.insert(d.id);
                break;
            case kind::unlist:
                if (d.node == 0) unowned_.erase(d.id);
                if (n) n->owned.erase(d.id);
                break;
            case kind::set_load:
                if (n) n->load = d.count;
                break;
            case kind::set_pending:
                if (n) n->pending = d.count;
                break;
        }
    }

private:
    static constexpr std::size_t index(op::lock_kind kind) { return kind == op::lock_kind::schedule ? 0 : 1; }

    static bool writes(operation const& request) {
        return std::visit(
            []<typename Op>(Op const& r) {
                if constexpr (std::is_same_v<Op, op::tick>) return !r.brief;
                return !(std::is_same_v<Op, op::lookup> || std::is_same_v<Op, op::changes_since> ||
                         std::is_same_v<Op, op::events_since> || std::is_same_v<Op, op::schedules_page> ||
                         std::is_same_v<Op, op::nodes_page> || std::is_same_v<Op, op::scan_page>);
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

    bool has_moved_on(std::uint64_t as_of) const {
        return as_of != 0 && as_of != seq_ && !Defects::has(defect::as_of_ignored);
    }
    static result<reply> moved_on() { return {errc::conflict, "the group has changed"}; }

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
    static std::uint64_t expected_load(node_record const& n) { return std::uint64_t{n.load} + n.pending; }
    bool leads(fencing_token incarnation, fencing_token term) const {
        if (Defects::has(defect::adopt_any_term)) return true;
        return leader_.incarnation == incarnation && leader_.term == term && term != 0;
    }
    bool is_guarded(std::string const& id) {
        auto g = gone_.find(id);
        if (Defects::has(defect::tombstone_ignored)) return false;
        if (g == gone_.end() || g->second.until <= now_) return false;
        return g->second.owner == several || may_believe(g->second.owner);
    }

    bool has_group_news(subscription const& sub) const {
        if (sub.group == group_interest::none || epoch_ != sub.epoch) return false;
        return (sub.group == group_interest::all ? seq_ : called_) > sub.seq;
    }

    void emit(op::group_event e) { step_.events.push_back(std::move(e)); }
    void tell(fencing_token incarnation, op::change c) { step_.changes[incarnation].push_back(std::move(c)); }

    // All that one operation emits becomes one entry of the event log, and one of each log of a node concerned.
    void close_step() {
        close_graves();
        if (!step_.events.empty()) {
            ++seq_;
            for (auto& e : step_.events) e.seq = seq_;
            if (std::any_of(step_.events.begin(), step_.events.end(), op::calls_leader)) called_ = seq_;
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

    void bury(std::string const& id, tombstone stone) {
        auto& held = gone_[id];
        stone.overdue = held.overdue;
        held = stone;
        step_.buried.push_back(id);
    }
    // A step that buries throws away twice as many that have had their time, so that no more are kept than are needed.
    void close_graves() {
        for (auto left = 2 * step_.buried.size(); left > 0 && !buried_.empty(); --left) {
            auto const first = buried_.begin();
            if (first->first > now_) break;
            auto const anew = find_where(step_.buried, [&](auto const& id) { return id == first->second; });
            if (anew == step_.buried.end()) gone_.erase(first->second);
            buried_.erase(first);
        }
        for (auto const& id : step_.buried) {
            auto& stone = gone_[id];
            buried_.erase({stone.overdue, id});
            stone.overdue = std::max(stone.until, stone.kept);
            buried_.emplace(stone.overdue, id);
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
        n.left = why == op::group_event_kind::left;
        n.deadline = adoptable_from;
        if (Defects::has(defect::death_takes_all)) {
            for (auto const& id : std::exchange(n.owned, {})) {
                auto const s = schedules_.find(id);
                if (s == schedules_.end()) continue;
                drop_move(s->second);
                erase_record(s);
            }
            n.load = 0;
        }
        auto id = ids_.find(n.id);
        if (id != ids_.end() && id->second == incarnation) ids_.erase(id);
        emit({.kind = why, .id = n.id, .from = incarnation});
    }

    void forget_if_done(fencing_token incarnation) {
        auto* n = find(incarnation);
        if (!n || n->live || n->deadline > now_ || n->load != 0) return;
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
        n.traits = r.traits;
        n.ttl = r.node_ttl.count();
        n.deadline = now_ + r.node_ttl.count();
        ids_[r.node_id] = incarnation;
        if (Defects::has(defect::join_inherits)) {
            if (before) {
                n.owned = std::move(before->owned);
                n.load = std::exchange(before->load, 0);
                before->owned.clear();
                for (auto const& id : n.owned) schedules_[id].owner = incarnation;
            }
        }
        emit({.kind = op::group_event_kind::joined,
              .id = r.node_id,
              .to = incarnation,
              .capacity = r.capacity,
              .traits = r.traits});
        return reply{op::joined{incarnation, epoch_, next_seq(), before ? older : 0}};
    }

    result<reply> on(op::describe_node const& r) {
        auto* n = live(r.incarnation);
        if (!n) return {errc::not_joined};
        if (n->capacity == r.capacity && n->traits == r.traits) return reply{op::done{}};
        n->capacity = r.capacity;
        n->traits = r.traits;
        emit({.kind = op::group_event_kind::described,
              .id = n->id,
              .to = r.incarnation,
              .capacity = r.capacity,
              .traits = r.traits});
        return reply{op::done{}};
    }

    result<reply> on(op::give_order const& r) {
        bool const begins = r.kind == op::order_kind::drain || r.kind == op::order_kind::begin_maintenance;
        bool const of_node = r.kind == op::order_kind::drain || r.kind == op::order_kind::undrain;
        bool const stands = of_node ? drained_.contains(r.node_id) : maintenance_;
        if (stands == begins) return reply{op::done{}};
        if (r.kind == op::order_kind::drain && !ids_.contains(r.node_id)) return {errc::unknown_node};
        ensure_epoch(0);
        if (!of_node) {
            maintenance_ = begins;
        } else if (begins) {
            drained_.insert(r.node_id);
        } else {
            drained_.erase(r.node_id);
        }
        emit({.kind = op::group_event_kind::ordered,
              .id = of_node ? r.node_id : std::string{},
              .generation = static_cast<fencing_token>(r.kind)});
        return reply{op::done{}};
    }

    // The number that this step's events will get.
    std::uint64_t next_seq() const { return seq_ + (step_.events.empty() ? 0 : 1); }

    result<reply> on(op::tick const& r) {
        if (r.brief && !is_settled(r)) return reply{op::ticked{.status = op::tick_status::unsettled}};
        if (is_absurd(r.seen)) return absurd();
        op::ticked answer;
        auto with_status = [&](op::tick_status status) {
            answer.status = status;
            answer.now = static_cast<fencing_token>(now_);
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

    bool is_settled(op::tick const& r) {
        if (Defects::has(defect::elected_on_request)) return true;
        auto* n = live(r.incarnation);
        if (epoch_ == 0 || !n) return false;
        n->deadline = now_ + r.node_ttl.count();
        if (epoch_ != r.epoch || fence_ < r.seen) return false;
        bool const vacant = leader_.incarnation == 0 || leader_.deadline <= now_;
        return !(vacant && r.candidate) && leader_.incarnation != r.incarnation &&
               leader_.deadline <= now_ + leader_.lease;
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

    void give_up_lead(std::vector<fencing_token> const& successors) {
        auto const before = std::exchange(leader_, {});
        for (auto at = successors.begin(); at != successors.end(); ++at) {
            auto const incarnation = *at;
            auto* n = live(incarnation);
            if (!n || n->deadline <= now_ || incarnation == before.incarnation) continue;
            leader_ = {now_ + before.lease, mint(0), incarnation, before.lease, n->id};
            emit({.kind = op::group_event_kind::led,
                  .id = n->id,
                  .from = before.incarnation,
                  .to = incarnation,
                  .generation = leader_.term});
            tell(incarnation, {.kind = op::change_kind::led,
                               .generation = leader_.term,
                               .other = before.incarnation,
                               .lease = microseconds{before.lease},
                               .successors = {at + 1, successors.end()}});
            return;
        }
        emit({.kind = op::group_event_kind::vacated, .from = before.incarnation, .generation = before.term});
        for (auto incarnation : successors) {
            if (incarnation != before.incarnation && live(incarnation)) {
                tell(incarnation, {.kind = op::change_kind::vacancy});
            }
        }
    }

    result<reply> on(op::leave const& r) {
        if (auto* n = live(r.incarnation)) {
            take_out(r.incarnation, *n, now_, op::group_event_kind::left);
        } else if (auto* dead = find(r.incarnation); dead && dead->deadline > now_) {
            dead->deadline = now_;
        }
        forget_if_done(r.incarnation);
        if (leader_.incarnation != 0 && leader_.incarnation == r.incarnation) give_up_lead(r.successors);
        return reply{op::done{}};
    }

    result<reply> on(op::renounce const& r) {
        bool const same_term = leader_.term == r.term || Defects::has(defect::renounce_forgets_term);
        if (leader_.incarnation != 0 && same_term &&
            (leader_.incarnation == r.incarnation || Defects::has(defect::renounce_forgets_term))) {
            give_up_lead(r.successors);
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
                auto const* move = move_of(item.name);
                bool const over = move && (move->deadline <= now_ || Defects::has(defect::handoff_cuts_short));
                if (over && !Defects::has(defect::handoff_endless)) {
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

    // A hand-off of what is not registered is damage, which whoever registers it anew meets.
    moving const* move_of(std::string const& id) const {
        auto const s = schedules_.find(id);
        if (s != schedules_.end()) return s->second.move.to != 0 ? &s->second.move : nullptr;
        auto const stray = stray_moves_.find(id);
        return stray == stray_moves_.end() ? nullptr : &stray->second;
    }
    schedule_record& make_record(std::string const& id, double weight, std::string const& traits) {
        auto& s = schedules_[id];
        s = {.weight = weight, .traits = traits, .number = ++numbers_};
        by_number_.emplace(s.number, id);
        if (auto const stray = stray_moves_.find(id); stray != stray_moves_.end()) {
            s.move = stray->second;
            stray_moves_.erase(stray);
        }
        return s;
    }
    template <typename At>
    void erase_record(At at) {
        by_number_.erase(at->second.number);
        schedules_.erase(at);
    }

    result<reply> on(op::register_schedules const& r) {
        ensure_epoch(0);
        op::outcomes answer;
        for (auto const& item : r.items) {
            answer.items.emplace_back();
            if (schedules_.contains(item.id)) continue;
            make_record(item.id, item.weight, item.traits);
            unowned_.insert(item.id);
            emit({.kind = op::group_event_kind::registered,
                  .id = item.id,
                  .weight = item.weight,
                  .traits = item.traits});
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::update_schedules const& r) {
        op::outcomes answer;
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            auto s = schedules_.find(item.id);
            if (s == schedules_.end()) {
                out.code = errc::unknown_schedule;
                continue;
            }
            auto& record = s->second;
            if (record.owner != item.owner) {
                out.code = errc::conflict;
                continue;
            }
            if (record.weight == item.weight && record.traits == item.traits) continue;
            record.weight = item.weight;
            record.traits = item.traits;
            if (live(record.owner)) tell_updated(item.id, record);
            emit({.kind = op::group_event_kind::updated,
                  .id = item.id,
                  .from = record.owner,
                  .generation = record.generation,
                  .weight = item.weight,
                  .traits = item.traits});
        }
        return reply{std::move(answer)};
    }

    void tell_updated(std::string const& id, schedule_record const& s) {
        tell(s.owner, {.kind = op::change_kind::updated,
                       .id = id,
                       .generation = s.generation,
                       .weight = s.weight,
                       .traits = s.traits,
                       .triggered = s.triggered});
    }

    result<reply> on(op::trigger const& r) {
        ensure_epoch(0);
        op::outcomes answer;
        for (auto const& item : r.items) {
            auto& out = answer.items.emplace_back();
            auto const s = schedules_.find(item.id);
            if (s == schedules_.end()) {
                out.code = errc::unknown_schedule;
            } else if (item.done != 0) {
                if (s->second.triggered == item.done) s->second.triggered = 0;
            } else if (s->second.owner != item.owner) {
                out.code = errc::conflict;
            } else {
                out.token = s->second.triggered = mint(0);
                if (live(item.owner)) tell_updated(item.id, s->second);
            }
        }
        return reply{std::move(answer)};
    }

    static schedule_status status_of(std::string const& id, schedule_record const& s) {
        if (s.owner == unreadable) return {.id = id};
        return {id, s.generation, s.owner, s.weight, s.move.to, s.traits, s.triggered};
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
        if (auto* target = find(s.move.to); target && !Defects::has(defect::pending_kept)) count_down(target->pending);
        s.move = {};
    }
    static void count_down(std::uint32_t& counter) {
        if (counter > 0) --counter;
    }
    void detach(std::string const& id, schedule_record const& s) {
        if (s.owner == 0) {
            unowned_.erase(id);
        } else if (auto* n = find(s.owner)) {
            n->owned.erase(id);
            count_down(n->load);
        }
    }
    void hand_to(std::string const& id, schedule_record& s, fencing_token to, fencing_token generation,
                 change_reason reason, microseconds lease = {}) {
        auto const from = s.owner;
        detach(id, s);
        drop_move(s);
        s.owner = to;
        s.generation = generation;
        if (auto* n = find(to)) {
            n->owned.insert(id);
            ++n->load;
            tell_granted(to, id, s, from, reason, lease);
        } else {
            unowned_.insert(id);
        }
        emit_owned(id, s, from, reason);
    }
    void tell_granted(fencing_token to, std::string const& id, schedule_record const& s, fencing_token from,
                      change_reason reason, microseconds lease = {}) {
        tell(to, {.kind = op::change_kind::granted,
                  .id = id,
                  .generation = s.generation,
                  .weight = s.weight,
                  .other = from,
                  .reason = reason,
                  .traits = s.traits,
                  .triggered = s.triggered,
                  .lease = lease});
    }
    void emit_owned(std::string const& id, schedule_record const& s, fencing_token from, change_reason reason) {
        emit({.kind = op::group_event_kind::owned,
              .id = id,
              .from = from,
              .to = s.owner,
              .generation = s.generation,
              .weight = s.weight,
              .reason = reason,
              .traits = s.traits});
    }
    void emit_moving(std::string const& id, schedule_record const& s, fencing_token to, change_reason reason) {
        emit({.kind = op::group_event_kind::moving,
              .id = id,
              .from = s.owner,
              .to = to,
              .generation = s.generation,
              .weight = s.weight,
              .reason = reason,
              .traits = s.traits});
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
            bury(item.id, stone);
            detach(item.id, s->second);
            drop_move(s->second);
            erase_record(s);
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
        if (has_moved_on(r.as_of)) return moved_on();
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
                       expected_load(*to) >= std::uint64_t{to->capacity} + (record.move.to == item.to ? 1 : 0) &&
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
        if (has_moved_on(r.as_of)) return moved_on();
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
                record.move = {item.to, now_ + r.handoff_deadline.count(), item.reason, item.open};
                ++to->pending;
                tell(item.from, {op::change_kind::revoking, item.id, record.generation, record.weight, item.to,
                                 item.reason, r.handoff_deadline, item.open, record.traits});
                emit_moving(item.id, record, item.to, item.reason);
            }
        }
        return reply{std::move(answer)};
    }

    // Whether `other`, of the same owner, may go in the place of `asked`.
    static bool is_like(schedule_record const& other, schedule_record const& asked) {
        bool const like =
            other.weight == asked.weight && other.traits == asked.traits && other.triggered == asked.triggered;
        return asked.move.open && other.owner == asked.owner && (like || Defects::has(defect::swap_of_unlike));
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
            bool const substitute = !item.instead_of.empty();
            auto const asked = substitute ? schedules_.find(item.instead_of) : s;
            bool const own = record.generation == item.generation && record.owner == r.incarnation;
            bool const moves = asked != schedules_.end() && asked->second.move.to != 0;
            bool const unasked = item.unasked && !moves;
            bool const wanted = (unasked || (moves && asked->second.move.to == item.to)) && item.to != 0;
            if (!own || !wanted || (substitute && (record.move.to != 0 || !is_like(record, asked->second)))) {
                out.code = errc::conflict;
                continue;
            }
            if (Defects::has(defect::ack_during_run)) locks.erase(item.id);
            bool const checked = !substitute || !Defects::has(defect::open_swap_unchecked);
            if (auto l = locks.find(item.id); l != locks.end() && is_held(l->second) && checked) {
                out.code = errc::locked_by_other;
                out.remaining = microseconds{l->second.deadline - now_};
                continue;
            }
            auto* to = find(item.to);
            if (!is_target(item.to)) {
                out.code = errc::unknown_node;
            } else if (expected_load(*to) >= std::uint64_t{to->capacity} + (unasked ? 0 : 1)) {
                out.code = errc::capacity_exceeded;
            }
            if (!out.ok() && (substitute || unasked)) continue;
            out.token = Defects::has(defect::generation_kept) ? record.generation : mint(r.seen);
            if (substitute) {
                auto const reason = asked->second.move.reason;
                if (!Defects::has(defect::swap_keeps_both)) {
                    drop_move(asked->second);
                    emit_moving(asked->first, asked->second, 0, reason);
                }
                hand_to(item.id, record, item.to, out.token, reason);
                continue;
            }
            auto const why = unasked ? change_reason::transferred : record.move.reason;
            bool const locked = out.ok() && r.lock_ttl > microseconds{} && r.items.size() == 1;
            if (locked) locks[item.id] = {now_ + r.lock_ttl.count(), out.token, item.to, 0};
            hand_to(item.id, record, out.ok() ? item.to : 0, out.token, out.ok() ? why : change_reason::given_up,
                    locked ? r.lock_ttl : microseconds{});
        }
        return reply{std::move(answer)};
    }

    // ---------------------------------------------------------------- following

    result<reply> on(op::changes_since const& r) {
        if (!live(r.incarnation)) return {errc::not_joined};
        return reply{changes_after(r.incarnation, r.version)};
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
        auto const full = [&] { return answer.items.size() + answer.strays.size() >= r.limit; };
        for (auto i = ids.upper_bound(r.after); i != ids.end() && !full(); ++i) {
            auto const s = schedules_.find(*i);
            if (s != schedules_.end() && s->second.owner == r.holder) {
                answer.items.push_back(status_of(*i, s->second));
            } else {
                answer.strays.push_back(*i);
            }
        }
        return reply{std::move(answer)};
    }

    result<reply> on(op::nodes_page const& r) {
        op::nodes_reply answer;
        answer.epoch = epoch_;
        answer.seq = seq_;
        answer.now = static_cast<fencing_token>(now_);
        answer.maintenance = maintenance_;
        if (r.after == 0) answer.drained.assign(drained_.begin(), drained_.end());
        for (auto i = nodes_.upper_bound(r.after); i != nodes_.end() && answer.items.size() < r.limit; ++i) {
            auto const& n = i->second;
            auto& status = answer.items.emplace_back();
            status.node = {n.id, i->first};
            status.alive = n.live;
            (n.live ? status.remaining : status.gone_for) =
                microseconds{std::max<time>(n.live ? n.deadline - now_ : now_ - n.deadline, 0)};
            status.load = n.load;
            status.pending = n.pending;
            status.capacity = n.capacity;
            status.traits = n.traits;
            status.left = n.left;
        }
        return reply{std::move(answer)};
    }

    // In order of registration: what exists all the time keeps its place.
    result<reply> on(op::scan_page const& r) {
        op::scan_reply answer;
        auto i = by_number_.upper_bound(r.cursor);
        for (std::uint32_t left = std::max(r.limit, 1u); i != by_number_.end() && left > 0; ++i, --left) {
            auto const& s = schedules_.find(i->second)->second;
            if (s.owner == unreadable) {
                answer.broken.push_back(i->second);
            } else {
                answer.items.push_back(status_of(i->second, s));
            }
            answer.next = i->first;
        }
        if (i == by_number_.end()) answer.next = 0;
        return reply{std::move(answer)};
    }

    // ---------------------------------------------------------------- mending

    result<reply> on(op::mend const& r) {
        if (is_behind(r.seen)) return behind();
        if (!leads(r.incarnation, r.term)) return {errc::not_leader};
        op::outcomes answer;
        std::set<fencing_token> named{r.recount.begin(), r.recount.end()};
        for (auto const& item : r.items) {
            named.insert(item.holders.begin(), item.holders.end());
            answer.items.push_back(mend(item, r.seen));
        }
        count_anew(named);
        return reply{std::move(answer)};
    }

    op::outcome mend(op::mend::item const& item, fencing_token seen) {
        auto const& id = item.id;
        auto s = schedules_.find(id);
        bool const readable = s != schedules_.end() && s->second.owner != unreadable;
        auto const owner = readable ? s->second.owner : 0;
        bool const owned = find(owner) != nullptr;
        auto const named = find_where(item.holders, [&](auto holder) { return holder == owner; });
        if (owned && named == item.holders.end()) return {errc::conflict};
        bool mended = false;
        tombstone believers;
        for (auto holder : item.holders) {
            auto* const n = find(holder);
            if (!n || (owned && holder == owner) || n->owned.erase(id) == 0) continue;
            mended = true;
            if (n->live) tell(holder, {.kind = op::change_kind::removed, .id = id});
            if (n->deadline > now_) add(believers, holder, n->deadline);
        }
        if (s == schedules_.end()) {
            if ((!mended && !unowned_.contains(id)) || Defects::has(defect::repair_forgets)) {
                if (auto const stray = stray_moves_.find(id); stray != stray_moves_.end()) {
                    if (auto* target = find(stray->second.to)) count_down(target->pending);
                    stray_moves_.erase(stray);
                }
                return {};
            }
            make_record(id, 1, {});
            s = schedules_.find(id);
        }
        auto& record = s->second;
        if (record.move.to != 0 && (!owned || record.move.to == owner)) {
            mended = true;
            drop_move(record);
        }
        // Where anything is wrong with it, its owner and all who follow may know it as another's: it begins anew.
        if (!owned && (mended || owner != 0 || !readable || !unowned_.contains(id))) {
            mended = true;
            if (!readable) record = {.number = record.number};
            record.owner = 0;
            record.generation = mint(seen);
            emit_owned(id, record, owner, change_reason::repaired);
        }
        if (owned) {
            bool const was_nobodys = unowned_.erase(id) > 0;
            if (find(owner)->owned.insert(id).second || was_nobodys || mended) {
                mended = true;
                drop_move(record);
                record.generation = mint(seen);
                tell_granted(owner, id, record, 0, change_reason::repaired);
                emit_owned(id, record, 0, change_reason::repaired);
            }
        } else {
            if (unowned_.insert(id).second) mended = true;
            if (believers.until > now_) guard(id, believers);
        }
        return {.token = mended ? record.generation : 0};
    }

    static void add(tombstone& believers, fencing_token believer, time until) {
        bool const first = believers.until == 0;
        believers.owner = first || believers.owner == believer ? believer : several;
        believers.until = std::max(believers.until, until);
    }
    // An earlier guard of the id holds as well; and a repeat of its unregistering is still known.
    void guard(std::string const& id, tombstone const& believers) {
        auto stone = believers;
        if (auto const g = gone_.find(id); g != gone_.end()) {
            if (is_guarded(id)) add(stone, g->second.owner, g->second.until);
            stone.nonce = g->second.nonce;
            stone.kept = g->second.kept;
        }
        bury(id, stone);
    }

    void count_anew(std::set<fencing_token> const& named) {
        std::map<fencing_token, std::uint32_t> pending;
        std::size_t moves = stray_moves_.size();
        for (auto const& [id, move] : stray_moves_) ++pending[move.to];
        for (auto const& [id, s] : schedules_) {
            if (s.move.to == 0) continue;
            ++moves;
            ++pending[s.move.to];
        }
        for (auto incarnation : named) {
            auto* const n = find(incarnation);
            if (!n) continue;
            n->load = static_cast<std::uint32_t>(n->owned.size());
            if (moves <= op::max_counted_moves) n->pending = pending[incarnation];
        }
    }

    struct step {
        std::vector<group_event> events{};
        std::map<fencing_token, std::vector<change>> changes;
        std::vector<late<std::string, Defects>> buried{};
    };

    time now_ = 0;
    step step_;
    fencing_token epoch_ = 0;
    fencing_token fence_ = 0;
    std::uint64_t seq_ = 0;
    std::uint64_t called_ = 0;
    leader_record leader_;
    std::map<fencing_token, node_record> nodes_;
    by_id<fencing_token> ids_;
    by_id<schedule_record> schedules_;
    std::map<std::uint64_t, late<std::string, Defects>> by_number_;
    std::uint64_t numbers_ = 0;
    id_set unowned_;
    by_id<moving> stray_moves_;  // of what is not registered
    id_set drained_;
    bool maintenance_ = false;
    by_id<lock_record> locks_[2];
    by_id<tombstone> gone_;
    std::set<std::pair<time, late<std::string, Defects>>> buried_;
    std::map<std::uint64_t, late<std::uint64_t, Defects>> sessions_;
    std::deque<std::pair<std::uint64_t, std::vector<group_event>>> events_;
};

}  // namespace rota::detail
