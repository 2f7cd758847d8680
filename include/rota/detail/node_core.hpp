// The algorithm of a node, without I/O: it is resumed with replies and the time, and says which operation to perform
// next (next), when to look again (due), and what happened (take_events). One algorithm serves the blocking
// coordinator, the asynchronous one and the simulator.
//
// What is delicate, and kept here:
//  * Belief ends before the server's grant does, and is dropped before anything that gives up is sent.
//  * A heartbeat extends the node's life only once every change that the server had for it is applied: a node that
//    counts as alive has heard, at most one node_ttl late, of all that was taken from it.
//  * A lost reply is repeated, never guessed at: each operation has one effect however often it arrives.
//
// Not thread-safe; beliefs are published through detail::belief, which any thread may read.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../events.hpp"
#include "../options.hpp"
#include "../policies.hpp"
#include "belief.hpp"
#include "find.hpp"
#include "group_feed.hpp"
#include "handed_locks.hpp"
#include "held_locks.hpp"
#include "jitter_source.hpp"
#include "late.hpp"
#include "leader_machine.hpp"
#include "node_description.hpp"

namespace rota::detail {

// (Outside of the template: g++ 12 compares the names within one with those of the program that includes this.)
enum class standing : std::uint8_t {
    out,      // not a member, and not trying to be
    joining,  // trying
    member,
    fenced,     // a newer process has the node_id
    observing,  // no member: it only follows what happens
};

template <typename Defects = sound>
class node_core {
    using error = late<rota::error, Defects>;
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;
    using reply = late<rota::reply, Defects>;

public:
    using standing = detail::standing;

    /// `entropy`: random bits that no other process shares.
    node_core(options given, planner strategy, std::shared_ptr<belief> published, std::uint64_t entropy)
        : options_{with_defaults(std::move(given))},
          belief_{std::move(published)},
          description_{options_},
          leader_{options_, strategy},
          nonces_{entropy},
          jitter_{options_.jitter_seed.value_or(hash_of(options_.node_id))} {}

    [[nodiscard]] options const& settings() const { return options_; }
    [[nodiscard]] standing state() const { return standing_; }
    [[nodiscard]] node_ref const& self() const { return self_; }
    [[nodiscard]] fencing_token seen() const { return seen_; }
    [[nodiscard]] fencing_token epoch() const { return epoch_; }
    [[nodiscard]] std::optional<error> const& last_failure() const { return failure_; }
    /// An observer has seen the whole group.
    [[nodiscard]] bool has_observed() const { return standing_ == standing::observing && was_member_; }
    [[nodiscard]] group_feed<Defects> const& feed() const { return feed_; }
    [[nodiscard]] leader_machine<Defects>& leading() { return leader_; }
    std::uint64_t new_nonce() { return nonces_.next(); }

    // ================================================================ wishes

    void want_join(instant now) {
        if (standing_ == standing::joining || standing_ == standing::member) return;
        if (options_.observer) return want_to_observe(now);
        standing_ = standing::joining;
        failure_.reset();
        was_member_ = false;
        if (join_nonce_ == 0) join_nonce_ = new_nonce();  // kept while an attempt's outcome is unknown
        retry_at_ = now;
    }

    void want_tick(instant now) {
        tick_at_ = std::min(tick_at_, now);
        retry_at_ = std::min(retry_at_, now);
    }
    /// One that takes what is vacant.
    void want_full_tick(instant now) {
        settled_ = false;
        want_tick(now);
    }

    /// Drops all belief at once. Then what leave_operation() returns is to be performed, until it returns nothing.
    void begin_leave() {
        if (standing_ == standing::fenced) return;
        if (self_.incarnation != 0 && standing_ == standing::member) {
            farewell_ = self_.incarnation;
            left_ = true;
            name_heirs();
            if (Defects::has(defect::leave_first)) return;
            if (!failure_) passing_on_ = belief_->term();
            drop_everything(change_reason::lost);
        }
        feed_.interrupt();
        failure_.reset();
        standing_ = standing::out;
    }

    /// A leader passes leadership on before anything else: an heir waits for that, and it is the shorter step. Not where
    /// contact is bad: its leave does the same.
    [[nodiscard]] std::optional<operation> leave_operation() const {
        if (farewell_ == 0) return std::nullopt;
        if (passing_on_ != 0) {
            return op::renounce{.incarnation = farewell_, .term = passing_on_, .successors = candidates_};
        }
        return op::leave{.incarnation = farewell_, .node_id = options_.node_id, .successors = candidates_};
    }

    /// Of what leave_operation() returned last.
    void finish_leave(bool done) {
        if (std::exchange(passing_on_, 0) != 0) return;
        auto const gone = std::exchange(farewell_, 0);
        if (std::exchange(left_, false) && gone != 0 && done) tell(node_left{{options_.node_id, gone}});
    }

    /// Drops the belief in leadership at once. Then the operation is to be performed; nullopt if it is not held.
    [[nodiscard]] std::optional<operation> begin_renounce(instant now) {
        auto const term = belief_->term();
        if (term == 0) return std::nullopt;
        renounced_ = term;
        declined_ = 0;
        bool const has_heirs = !candidates_.empty();
        name_heirs();
        renouncing_ = op::renounce{.incarnation = self_.incarnation, .term = term, .successors = candidates_};
        if (has_heirs) sit_out_until_ = now + options_.leader_lease;
        if (!Defects::has(defect::renounce_first)) end_leadership();
        return *renouncing_;
    }

    void rebalance_now() { leader_.rebalance_now(); }

    /// What this node says of itself; where that changes, the group is told next.
    [[nodiscard]] node_description<Defects>& description() { return description_; }
    [[nodiscard]] node_description<Defects> const& description() const { return description_; }

    // ================================================================ the background lane: one operation at a time

    /// What to ask the server for now; nothing: wait until due().
    [[nodiscard]] std::optional<operation> next(instant now) {
        notice_the_time(now);
        if (now < retry_at_) return std::nullopt;
        if (farewell_ != 0) return leave_operation();
        if (standing_ == standing::joining) {
            // A repeat says what the first attempt said: that is what the server may have taken down.
            if (std::exchange(joining_as_, join_nonce_) != join_nonce_) {
                description_.told(description_.capacity(), description_.traits());
            }
            return op::join{.node_id = options_.node_id,
                            .nonce = join_nonce_,
                            .node_ttl = options_.node_ttl,
                            .capacity = description_.told_capacity(),
                            .on_conflict = options_.on_conflict,
                            .seen = seen_,
                            .traits = description_.told_traits()};
        }
        if (standing_ == standing::observing) return next_to_observe(now);
        if (standing_ != standing::member) return std::nullopt;
        if (renouncing_) return *renouncing_;
        bool const tick_is_due = now >= tick_due();
        // Where requests take longer than heartbeats (a slow link, many users of it), ticks take turns with what they
        // give occasion for: life is extended only by reading what a tick told of.
        if (!tick_is_due || (ticked_last_ && !Defects::has(defect::ticks_first))) {
            if (auto other = next_but_ticks(now)) {
                ticked_last_ = false;
                return other;
            }
        }
        ticked_last_ = tick_is_due;
        if (tick_is_due) return tick_now(now);
        return std::nullopt;
    }

    /// The reply to what next() asked for, departed at `sent`.
    void done(operation const& request, result<reply> const& answer, instant sent, instant now) {
        if (!Defects::has(defect::end_untold))
            notice_the_time(now);  // what ended while it was under way ended, even if the reply brings it back
        if (!answer) {
            fail(request, answer.error(), now);
            return;
        }
        failures_ = 0;
        std::visit([&](auto const& r) { this->on(r, *answer, sent, now); }, request);
        if (standing_ == standing::observing) {
            failure_.reset();
            was_member_ = was_member_ || feed_.current();
        }
    }

    /// When next() may have something to say, if nobody asks for anything before.
    [[nodiscard]] instant due() const {
        if (standing_ == standing::out || standing_ == standing::fenced) {
            return farewell_ != 0 ? retry_at_ : instant::max();
        }
        if (standing_ == standing::joining || farewell_ != 0) return retry_at_;
        if (standing_ == standing::observing) return std::max(feed_.current() ? tick_at_ : instant::min(), retry_at_);
        auto request = has_to_ask() ? instant::min() : std::min(tick_due(), leader_.work_due());
        if (acknowledging_.size() < op::max_batch) {
            for (auto const& id : handing_over_) request = std::min(request, idle_from(id));
            if (try_swap_ && !handing_over_.empty()) request = instant::min();
        }
        for (auto const& a : acknowledging_) request = std::min(request, a.not_before);
        // Belief ends when it ends, whether the server may be asked again by then or not.
        auto belief_ends = instant::max();
        if (leads_told_ && !Defects::has(defect::leads_past_it)) belief_ends = belief_->leads_until();
        if (!suspended_) belief_ends = std::min(belief_ends, belief_->alive_until());
        return std::min(belief_ends, std::max(request, retry_at_));
    }

    /// Whether next() has something to ask for, whatever the time is, once retrying is allowed.
    [[nodiscard]] bool has_to_ask() const {
        if (renouncing_ || resync_ || read_to_the_end_ || server_version_ > version_) return true;
        if (handed_.has_to_release()) return true;
        if (description_.to_be_told(belief_->now())) return true;
        bool const follows = feed_.active() && (!leads_told_ || leader_.active());
        return follows && !feed_.current();
    }

    [[nodiscard]] subscription what_to_listen_for() const {
        if (failures_ > 0) return {};  // what is pushed now could not be read: wait for the next try instead
        auto group = group_interest::none;
        if (feed_.active() && feed_.current()) {
            group = follows_all() || much_happens_ ? group_interest::all : group_interest::calls;
        }
        return {.incarnation = standing_ == standing::member ? self_.incarnation : 0,
                .version = version_,
                .group = group,
                .epoch = feed_.epoch(),
                .seq = feed_.cursor()};
    }

    /// Something was pushed: what, if the transport knows. Entries of a log are as good as the reply to the request for
    /// them, and spare two round trips; where they do not follow on what was read, that request is made.
    void hear(std::optional<pushed_news> const& news, instant now) {
        if (!news) return want_full_tick(now);  // it may be a vacancy
        notice_the_time(now);                   // what is over is told of before what begins
        if (news->group) group_log_moved();
        if (standing_ != standing::member || news->incarnation != self_.incarnation) return;
        if (news->changes.gap || news->version != version_ || resync_) return own_log_moved();
        take_in(news->changes, now);
        server_version_ = std::max(server_version_, version_);
        heard_all_up_to_version();
    }

    [[nodiscard]] std::vector<event> take_events() { return std::exchange(events_, {}); }
    [[nodiscard]] bool has_events() const { return !events_.empty(); }
    void tell(event e) { events_.push_back(std::move(e)); }

    // ================================================================ locks

    [[nodiscard]] result<void> can_act(instant now) const {
        if (standing_ == standing::fenced)
            return {errc::fenced, "a newer process has node_id " + in_words(options_.node_id)};
        if (standing_ == standing::observing)
            return {errc::not_joined, "this coordinator only observes: options::observer"};
        if (standing_ != standing::member) return {errc::not_joined, "join() first, or wait until run() has joined"};
        if (!belief_->alive(self_.incarnation, now)) return {errc::unavailable, "no contact with the group: suspended"};
        return {};
    }

    [[nodiscard]] op::acquire_locks acquisition(op::lock_kind kind, std::vector<std::string> names, microseconds ttl) {
        op::acquire_locks request{
            .incarnation = self_.incarnation, .kind = kind, .ttl = ttl, .nonce = new_nonce(), .seen = seen_};
        request.items.reserve(names.size());
        auto const& table = belief_->table();
        auto s = table.end();
        for (auto& name : names) {
            if (s != table.end()) ++s;  // mostly they come in order
            if (s == table.end() || s->first != name) s = table.find(name);
            // Generation 0 never matches: the server then says why it cannot be.
            auto const generation =
                s == table.end() || s->second.moving_to != 0 ? fencing_token{0} : s->second.generation;
            request.items.push_back({std::move(name), generation});
        }
        return request;
    }

    /// What is known of a lock that this node has or asks for.
    using lock_entry = typename held_locks<Defects>::entry;

    /// Over a transport that has several requests under way: a schedule for which a lock is asked is not idle. The entries
    /// of the items, which stay where they are until no_longer_acquiring(); none for locks of names.
    [[nodiscard]] std::vector<lock_entry*> on_acquiring(op::acquire_locks const& asked) {
        if (asked.kind != op::lock_kind::schedule) return {};
        return held_.asking(asked);
    }
    /// After on_acquired() for those that were granted.
    void no_longer_acquiring(std::vector<lock_entry*> const& entries) noexcept {
        held_.no_longer_asking(entries);
        if (!entries.empty()) try_swap_ = true;
    }
    /// After a request for the lock of a schedule of ours: granted. What may have come with it is over.
    void on_lock_granted(std::string const& schedule) {
        if (!some_unheard_) return;
        auto const s = belief_->table().find(schedule);
        if (s == belief_->table().end() || !s->second.unheard) return;
        belief_->change_table([&](auto& table) { table.find(schedule)->second.unheard = false; });
    }
    /// ... refused: somebody has it, says the server.
    void on_locked_by_other(std::string const& schedule) {
        auto const s = belief_->table().find(schedule);
        if (s == belief_->table().end() || !s->second.unheard) return;
        may_have_come_locked(schedule, s->second.generation);
        belief_->change_table([&](auto& table) { table.find(schedule)->second.unheard = false; });
    }
    /// Where there are no entries yet.
    [[nodiscard]] lock_entry& entry_of(op::lock_kind kind, std::string const& name) { return held_.at(kind, name); }

    /// Until when a granted lock may be believed in.
    instant on_acquired(lock_entry& entry, op::outcome const& grant, instant sent, instant now) {
        see(grant.token);
        auto const until = anchored<Defects>(options_, sent, now, grant.remaining);
        held_.granted(entry, grant.token, until);
        return until;
    }

    /// Whether schedules came with locks that nobody has taken yet.
    [[nodiscard]] bool has_handed_locks() const { return !handed_.empty(); }
    struct taken_lock {
        fencing_token token = 0;
        instant until{};
    };
    /// The lock that came with a schedule, in place of a request for it: see handed_locks. can_act() must have allowed it.
    [[nodiscard]] std::optional<taken_lock> take_handed(std::string const& schedule, microseconds ttl, instant now) {
        auto const s = belief_->table().find(schedule);
        if (s == belief_->table().end() || s->second.moving_to != 0) return std::nullopt;
        auto const lock = handed_.take(schedule, s->second.generation, ttl, now);
        if (!lock) return std::nullopt;
        held_.granted(held_.at(op::lock_kind::schedule, schedule), lock->token, lock->until);
        return taken_lock{lock->token, lock->until};
    }
    /// One that is to be released before the schedule is locked by a request.
    [[nodiscard]] std::optional<fencing_token> handed_in_the_way_of(std::string const& schedule, instant now) {
        return handed_.in_the_way_of(schedule, now);
    }

    instant on_extended(op::lock_kind kind, std::string const& name, op::outcome const& grant, instant sent,
                        instant now) {
        return held_.extended(kind, name, grant.token, anchored<Defects>(options_, sent, now, grant.remaining));
    }

    /// The handle is invalid from now on; the server is told next.
    void on_releasing(op::lock_kind kind, std::string const& name, fencing_token token) {
        held_.releasing(kind, name, token);
        if (kind == op::lock_kind::schedule) try_swap_ = true;
    }
    void on_released(op::lock_kind kind, std::string const& name, fencing_token token) {
        held_.released(kind, name, token);
        if (kind != op::lock_kind::schedule) return;
        handed_.released(name, token);
        try_swap_ = true;
        // An acknowledgement that came before it was told to wait for the lock's end.
        for (auto& a : acknowledging_) {
            if (a.item.id == name) a.not_before = {};
        }
    }

    // ================================================================ giving a schedule away

    /// Hands an idle schedule of ours to that node with the next request, in one step. False: it is none of ours, is on
    /// its way already, or has a run in hand; then it has to be asked for (op::revoke).
    [[nodiscard]] bool give(std::string const& id, fencing_token to, instant now) {
        auto const s = belief_->table().find(id);
        bool const here = s != belief_->table().end() && s->second.moving_to == 0;
        if (!here || to == self_.incarnation || !can_act(now) || resync_ || now < idle_from(id)) return false;
        if (s->second.unheard) return false;  // it may be locked, see may_have_come_locked
        acknowledging_.push_back({.item = {id, s->second.generation, to, {}, true},
                                  .not_before = now,
                                  .why = change_reason::transferred,
                                  .had = s->second,
                                  .version = version_});
        given_.insert_or_assign(id, std::nullopt);
        if (!Defects::has(defect::acknowledge_first)) {
            belief_->change_table([&](auto& table) { table.erase(id); });
        }
        return true;
    }
    /// What came of it: to be asked for once; nothing: it is not known yet. outcome_unknown: this node lost its
    /// membership before it heard.
    [[nodiscard]] std::optional<op::outcome> take_given(std::string const& id) {
        auto const g = given_.find(id);
        if (g == given_.end()) return op::outcome{.code = errc::outcome_unknown};
        if (g->second) return given_.extract(g).mapped();
        return std::nullopt;
    }
    /// The run that was asked for under that token is done, as the server has been told.
    void on_trigger_done(std::string const& id, fencing_token token) {
        auto const settle = [token](auto& mine) {
            mine.done = std::max(mine.done, token);
            if (mine.triggered <= mine.done) mine.triggered = 0;
        };
        for (auto& a : acknowledging_) {
            if (a.item.id == id) settle(a.had);
        }
        if (!belief_->table().contains(id)) return;
        belief_->change_table([&](auto& table) { settle(table.find(id)->second); });
    }

    /// Nobody will ask.
    void forget_given(std::string const& id) { given_.erase(id); }

    void see(fencing_token token) { seen_ = std::max(seen_, token); }

    // About what time it is at the server: for ages of what carries its tokens, not for deadlines. 0: not known.
    [[nodiscard]] fencing_token server_time(instant now) const {
        return server_time_ == 0 ? 0 : server_time_ + static_cast<fencing_token>((now - server_time_at_).count());
    }

    /// Another server answers now, or the same one after a restart: it may lack what was acknowledged before. All that
    /// is known of it is read anew.
    void server_changed() {
        if (standing_ == standing::observing) feed_.doubt();
        if (standing_ != standing::member || Defects::has(defect::server_change_ignored)) return;
        resync_.emplace();
        handed_.doubt();
        feed_.doubt();
    }

    /// Something was granted to this node, or taken from it, by an operation of its own: read the log.
    void own_log_moved() { read_to_the_end_ = true; }
    void group_log_moved() {
        if (feed_.active()) feed_.look();
    }

private:
    // ================================================================ time

    // Belief that has run out is told of at once; it ended by itself, for whoever looked.
    void notice_the_time(instant now) {
        if (standing_ == standing::member && !suspended_ && now >= belief_->alive_until()) {
            suspended_ = true;
            tell(node_suspended{self_, failure_.value_or(error{errc::timed_out, "no tick in time"})});
        }
        if (leads_told_ && !leads(now)) leadership_ended(now);
    }

    [[nodiscard]] std::optional<operation> next_but_ticks(instant now) {
        if (auto read = next_own_read()) return read;
        if (auto ack = next_acknowledgement(now)) return ack;
        if (auto back = handed_.next_release()) return back;
        if (description_.to_be_told(now)) {
            description_.telling();
            return op::describe_node{
                .incarnation = self_.incarnation, .capacity = description_.capacity(), .traits = description_.traits()};
        }
        if (feed_.active() && !leads(now)) return feed_.next();
        if (leads(now)) {
            return leader_.next(
                feed_, now, seen_, server_time(now), [this](event e) { tell(std::move(e)); },
                [this] { return belief_->now(); });
        }
        return std::nullopt;
    }

    void hear_the_time(fencing_token server_now, instant at) {
        server_time_ = server_now;
        server_time_at_ = at;
    }

    [[nodiscard]] instant tick_due() const {
        auto when = std::min(tick_at_, leader_.tick_due());
        if (!leads_told_ && election_at_ < when) when = election_at_;
        return when;
    }

    [[nodiscard]] bool leads(instant now) const {
        return leads_told_ && (belief_->leads(now) || Defects::has(defect::leads_past_it));
    }

    operation tick_now(instant now) {
        // A tick that is a little late does not shift those to come.
        bool const in_time = tick_at_ <= now && now - tick_at_ < options_.heartbeat_interval / 16;
        tick_from_ = in_time ? tick_at_ : now;
        return op::tick{.incarnation = self_.incarnation,
                        .node_id = options_.node_id,
                        .epoch = epoch_,
                        .term = belief_->term(),
                        .candidate = now >= sit_out_until_,
                        .node_ttl = options_.node_ttl,
                        .leader_lease = options_.leader_lease,
                        .seen = seen_,
                        .brief = settled_ && belief_->term() == 0 && now < election_at_};
    }

    // Nobody refused it: asked again it may well succeed, and perhaps it has.
    [[nodiscard]] static bool may_pass(errc code) {
        return code == errc::unavailable || code == errc::timed_out || code == errc::outcome_unknown ||
               code == errc::cancelled;
    }

    void fail(operation const& request, error const& why, instant now) {
        failure_ = why;
        if (Defects::has(defect::lost_ack_is_failure) && std::holds_alternative<op::acknowledge>(request)) {
            for (auto const& a : std::exchange(acknowledging_, {})) {
                belief_->change_table(
                    [&](auto& table) { table[a.item.id] = {a.item.generation, 1, a.item.to, a.why}; });
                handing_over_.insert(a.item.id);
            }
        }
        if (standing_ == standing::observing && !may_pass(why.code) && !was_member_) begin_leave(), failure_ = why;
        if (std::holds_alternative<op::join>(request)) {
            bool const hopeless = !may_pass(why.code);
            // A refusal is the user's to see; while it was a member before, it keeps trying.
            if (hopeless && !was_member_) standing_ = standing::out;
        }
        if (why.code == errc::not_joined || why.code == errc::not_leader) {
            // The tick says what became of us.
            tick_at_ = now;
            if (why.code == errc::not_leader) leader_.stop(), feed_if_wanted();
            retry_at_ = now;
            return;
        }
        // What retrying alone does not heal is an operator's business, and so is a group that cannot be joined: said once,
        // and again after a while. (Losing contact later is told as such.)
        bool const transient = may_pass(why.code) || why.code == errc::conflict;
        bool const shut_out = std::holds_alternative<op::join>(request) && transient && failures_ > 0;
        bool const news = !transient && warned_of_ != why;  // (what it fails with may alternate)
        if ((!transient || shut_out) && (news || now >= warn_again_at_)) {
            warned_of_ = why;
            warn_again_at_ = now + std::chrono::minutes{1};
            tell(warning{why});
        }
        // What the server refuses is not said again: the lease, or the life, ends by itself.
        if (!transient) {
            leader_.on_refused(request, now);
            if (std::holds_alternative<op::describe_node>(request))
                description_.tell_again_from(now + options_.heartbeat_interval);
            if (auto const* back = std::get_if<op::release_locks>(&request)) {
                for (auto const& l : back->items) handed_.released(l.name, l.token);
            }
        }
        if (!transient || why.code == errc::conflict) {
            if (std::holds_alternative<op::renounce>(request)) {
                renouncing_.reset();
                passing_on_ = 0;
                sit_out_until_ = {};
            }
            if (std::holds_alternative<op::leave>(request)) farewell_ = 0;
        }
        ++failures_;
        auto const step =
            std::min(options_.heartbeat_interval / 2, microseconds{5000} * (1 << std::min(failures_ - 1, 10u)));
        retry_at_ = now + step / 2 + jitter_.up_to(step / 2);
    }

    // ================================================================ following the group without being part of it

    void want_to_observe(instant now) {
        if (standing_ == standing::observing) return;
        standing_ = standing::observing;
        failure_.reset();
        was_member_ = false;
        feed_.start(epoch_);
        tick_at_ = retry_at_ = now;
    }

    // What is pushed is followed at once; now and then it looks by itself.
    [[nodiscard]] std::optional<operation> next_to_observe(instant now) {
        if (now >= tick_at_) {
            tick_at_ = now + options_.heartbeat_interval;
            feed_.look();
        }
        return feed_.next();
    }

    // ================================================================ replies: membership and leadership

    void on(op::join const&, reply const& answer, instant sent, instant now) {
        auto const& r = std::get<op::joined>(answer);
        standing_ = standing::member;
        join_nonce_ = 0;
        was_member_ = true;
        suspended_ = false;
        failure_.reset();
        self_ = {options_.node_id, r.incarnation};
        epoch_ = r.epoch;
        see(r.incarnation);
        hear_the_time(r.incarnation, now);  // minted from it, until the first tick tells
        version_ = server_version_ = life_needs_version_ = 0;
        version_at_tick_.reset();  // an earlier attempt may have made us a member long before this one was sent
        ticked_last_ = read_to_the_end_ = false;
        if (!options_.jitter_seed) jitter_ = jitter_source{hash_of(options_.node_id) ^ r.incarnation};
        belief_->become(r.incarnation, anchored<Defects>(options_, sent, now, options_.node_ttl));
        tell(node_joined{self_, r.epoch});
        if (options_.event_scope == event_scope::group) feed_.start(epoch_);
        feed_.heard_of(r.seq);
        last_contact_ = now;
        // Nobody is taken for dead by one that cannot know yet whether the group was silent.
        reap_from_ = now + options_.heartbeat_interval;
        tick_at_ = now;
    }

    void on(op::tick const& request, reply const& answer, instant sent, instant now) {
        auto const& r = std::get<op::ticked>(answer);
        if (request.incarnation != self_.incarnation) return;
        settled_ = r.status == op::tick_status::ok;
        if (r.status == op::tick_status::unsettled) {
            tick_at_ = now;
            return;
        }
        see(r.fence);
        hear_the_time(r.now, now);
        failure_.reset();
        switch (r.status) {
            case op::tick_status::reaped: lose(false, now); return;
            case op::tick_status::data_lost: lose(true, now); return;
            case op::tick_status::fenced: be_fenced(); return;
            case op::tick_status::unsettled:
            case op::tick_status::ok: break;
        }
        tick_at_ = tick_from_ + options_.heartbeat_interval;
        // After a silence of the whole group (the server stalled), give the others a heartbeat to report.
        if (now - last_contact_ > options_.heartbeat_interval + options_.heartbeat_interval / 2) {
            reap_from_ = now + options_.heartbeat_interval;
        }
        last_contact_ = now;
        tick_sent_ = sent;
        version_at_tick_ = r.version;
        auto const until = anchored<Defects>(options_, sent, now, options_.node_ttl);
        if (Defects::has(defect::life_before_reading)) extend_life(until);
        if (r.version < version_) server_changed();  // what we have read is not there any more
        if (r.version == version_) {
            extend_life(until);
        } else {
            server_version_ = std::max(server_version_, r.version);
            if (life_needs_version_ == 0) {
                life_after_reading_ = until;
                life_needs_version_ = r.version;
            }
        }
        feed_.heard_of(r.seq);
        note_pace(r.seq, now);
        hear_of_leader(r, sent, now);
    }

    // A leader that is called by few events has all that came before to read first. Where there are many, it keeps up.
    void note_pace(std::uint64_t seq, instant now) {
        if (now - pace_since_ < options_.heartbeat_interval / 2) return;
        auto const steps = seq > pace_seq_ && pace_since_ != instant{} ? seq - pace_seq_ : 0;
        constexpr std::uint64_t much = 512;  // per heartbeat
        much_happens_ = steps > (much_happens_ ? much / 2 : much);
        pace_since_ = now;
        pace_seq_ = seq;
    }

    void extend_life(instant until) {
        belief_->extend_life(until);
        if (suspended_ && belief_->now() < belief_->alive_until()) {
            suspended_ = false;
            tell(node_resumed{self_});
            if (!Defects::has(defect::resume_untold)) leadership_begins(belief_->now());
        }
    }

    // Belief in our own leadership needs a lease and a life; whichever comes second makes it so.
    void leadership_begins(instant now) {
        if (leads_told_ || !belief_->leads(now)) return;
        leads_told_ = true;
        tell(leadership_changed{self_, belief_->term(), std::exchange(told_leader_, {})});
        leader_.start(self_.incarnation, belief_->term(), now);
        feed_.start(epoch_);
        tick_at_ = now;  // whom to watch
    }

    void hear_of_leader(op::ticked const& r, instant sent, instant now) {
        auto const previous = belief_->last_leader().node;
        bool const me = r.leader == self_.incarnation;
        if (me && declines_to_lead(r.term, r.sweep.candidates, now)) return;
        auto const lease_end = now + r.leader_remaining;
        node_ref const leader{r.leader_id, r.leader};
        if (me) {
            belief_->lead(r.term, anchored<Defects>(options_, sent, now, r.leader_remaining));
            belief_->hear_of_leader({leader, r.term, {}}, lease_end);
            if (!leads_told_ && belief_->leads(belief_->now())) {
                leads_told_ = true;
                tell(leadership_changed{leader, r.term, previous == leader ? node_ref{} : previous});
            }
            if (leads_told_ && !leader_.active()) {
                leader_.start(self_.incarnation, r.term, now);
                feed_.start(epoch_);
                feed_.heard_of(r.seq);
            }
            for (auto const node : r.sweep.dead) feed_.picture().may_be_taken_over(node, server_time(now));
            leader_.on_tick(r.sweep, now, reap_from_);
            candidates_ = r.sweep.candidates;
            election_at_ = instant::max();
            return;
        }
        if (leads_told_) leadership_ended(now);
        belief_->stop_leading();
        candidates_.clear();
        auto const before = belief_->last_leader();
        bool const changed = told_leader_ != leader || before.term != r.term;
        belief_->hear_of_leader({leader, r.term, {}}, lease_end);
        if (changed && (r.leader != 0 || told_leader_.incarnation != 0)) {
            tell(leadership_changed{leader, r.term, std::exchange(told_leader_, leader)});
        }
        told_leader_ = leader;
        // Be there when the lease ends: at once if it is vacant and we may, a little apart from the others.
        if (r.leader == 0) {
            election_at_ = std::max(sit_out_until_, now + options_.heartbeat_interval / 4);
        } else {
            election_at_ = std::max(sit_out_until_, lease_end + microseconds{1000} + jitter_.up_to(election_jitter()));
        }
    }

    // How far apart candidates spread their first try after a lease has run out.
    [[nodiscard]] microseconds election_jitter() const {
        return std::min(microseconds{5000}, options_.heartbeat_interval / 100);
    }

    void leadership_ended(instant now) {
        leads_told_ = false;
        leader_.stop();
        feed_if_wanted();
        told_leader_ = {};
        auto const was = self_;
        leadership_changed nobody;
        nobody.previous = was;
        tell(std::move(nobody));
        if (belief_->last_leader().node.incarnation == was.incarnation) belief_->hear_of_leader({}, now);
    }

    // Who may lead after us, for when we go: whom our last tick named, then others that the group's events tell of (they may
    // have joined since), the longest there first. The server passes over those that have died.
    void name_heirs() {
        if (belief_->term() == 0) return;
        feed_.picture().each_node([this](fencing_token incarnation, auto const& node) {
            if (candidates_.size() >= most_heirs || !node.alive || incarnation == self_.incarnation) return;
            if (std::find(candidates_.begin(), candidates_.end(), incarnation) != candidates_.end()) return;
            candidates_.push_back(incarnation);
        });
    }
    static constexpr std::size_t most_heirs = 3;  // as many as a tick names

    void end_leadership() {
        belief_->stop_leading();
        if (leads_told_) leadership_ended(belief_->now());
    }

    void feed_if_wanted() {
        if (options_.event_scope == event_scope::own) feed_.stop();
    }

    void on(op::renounce const&, reply const&, instant, instant now) {
        renouncing_.reset();
        passing_on_ = 0;
        if (Defects::has(defect::renounce_first)) end_leadership();
        election_at_ = std::max(sit_out_until_, now + options_.heartbeat_interval / 4);
    }

    void on(op::describe_node const& request, reply const&, instant, instant) {
        description_.told(request.capacity, request.traits);
    }

    // A goodbye of the lane: to an incarnation whose state was lost or taken over.
    void on(op::leave const&, reply const&, instant, instant) { farewell_ = 0; }

    void lose(bool data_lost, instant now) {
        auto const was = self_;
        if (data_lost) farewell_ = was.incarnation;  // it may still stand there: its schedules need not wait
        tell(node_lost{was, data_lost});
        if (Defects::has(defect::keep_after_reap)) {
            belief_->become(was.incarnation, now + options_.node_ttl);
        } else {
            feed_.interrupt();
            drop_everything(change_reason::lost);
        }
        standing_ = standing::joining;
        join_nonce_ = new_nonce();
        retry_at_ = now;
    }

    void be_fenced() {
        if (Defects::has(defect::fenced_rejoins)) return lose(false, belief_->now());
        farewell_ = self_.incarnation;  // all belief is dropped: the newer one need not wait for our deadline
        auto const was = self_;
        drop_everything(change_reason::lost);
        standing_ = standing::fenced;
        tell(node_fenced{was});
    }

    void drop_everything(change_reason why) {
        end_leadership();
        auto const was = std::exchange(self_, {options_.node_id, 0});
        std::vector<std::string> had;
        for (auto const& [id, s] : belief_->table()) had.push_back(id);
        for (auto const& a : acknowledging_) had.push_back(a.item.id);
        belief_->end();
        if (options_.event_scope == event_scope::own) {
            for (auto& id : had) tell(ownership_changed{std::move(id), was, {}, 0, why});
        }
        held_.drop();
        acknowledging_.clear();
        given_.clear();
        handed_.clear();
        handing_over_.clear();
        try_swap_ = false;
        resync_.reset();
        renouncing_.reset();
        suspended_ = false;
        if (options_.event_scope == event_scope::own) feed_.stop();
        belief_->hear_of_leader({}, {});
        told_leader_ = {};
        election_at_ = instant::max();
        tick_at_ = instant::max();
    }

    // ================================================================ what this node owns

    struct resync {
        std::uint64_t base = 0;
        bool first_page = true;
        std::string after;
        belief::owned_table table;
    };

    [[nodiscard]] std::optional<operation> next_own_read() const {
        if (resync_) return op::schedules_page{.holder = self_.incarnation, .after = resync_->after};
        if (read_to_the_end_ || server_version_ > version_)
            return op::changes_since{.incarnation = self_.incarnation, .version = version_};
        return std::nullopt;
    }

    void on(op::changes_since const& request, reply const& answer, instant, instant now) {
        auto const& r = std::get<op::changes_reply>(answer);
        if (request.incarnation != self_.incarnation) return;
        if (r.gap) {
            resync_.emplace();
            return;
        }
        // The versions of a log are dense: fewer steps than there is room for were all there are.
        bool const at_end = r.to - request.version < op::max_change_steps;
        take_in(r, now);
        if (at_end) read_to_the_end_ = false;
        if (at_end || version_ > server_version_) server_version_ = version_;
        heard_all_up_to_version();
    }

    void take_in(op::changes_reply const& r, instant now) {
        for (auto const& c : r.items) apply(c, now);
        version_ = r.to;
    }

    void heard_all_up_to_version() {
        if (life_needs_version_ == 0 || version_ < life_needs_version_) return;
        life_needs_version_ = 0;
        extend_life(life_after_reading_);
    }

    void tell_own(std::string const& id, node_ref from, node_ref to, fencing_token generation, change_reason why) {
        if (options_.event_scope == event_scope::own)
            tell(ownership_changed{id, std::move(from), std::move(to), generation, why});
    }
    [[nodiscard]] node_ref ref(fencing_token incarnation) const {
        if (incarnation == self_.incarnation) return self_;
        if (incarnation == told_leader_.incarnation) return told_leader_;
        return feed_.ref(incarnation);
    }

    // It is ours again before we heard that it had gone: that comes first.
    void forget_acknowledgement(std::string const& id) {
        auto const a = find_where(acknowledging_, [&](auto const& x) { return x.item.id == id; });
        if (a == acknowledging_.end()) return;
        tell_own(id, self_, ref(a->item.to), 0, a->why);
        if (auto const waits = given_.find(id); waits != given_.end()) waits->second.emplace();
        acknowledging_.erase(a);
    }

    void apply(op::change const& c, instant now) {
        auto const s = belief_->table().find(c.id);
        bool const known = s != belief_->table().end();
        switch (c.kind) {
            case op::change_kind::granted:
                see(c.generation);
                if (known && s->second.generation >= c.generation) return;
                forget_acknowledgement(c.id);
                if (known) tell_own(c.id, self_, {}, 0, c.reason);  // mended: it is another ownership now
                belief_->change_table([&](auto& table) {
                    table[c.id] = {
                        .generation = c.generation, .weight = c.weight, .traits = c.traits, .triggered = c.triggered};
                });
                handing_over_.erase(c.id);
                if (c.lease > microseconds{}) comes_locked(c, now);
                tell_own(c.id, ref(c.other), self_, c.generation, c.reason);
                if (c.triggered != 0) tell(schedule_triggered{c.id, c.triggered});
                return;
            case op::change_kind::revoking:
                if (!known || s->second.generation != c.generation || s->second.moving_to != 0) return;
                belief_->change_table([&](auto& table) {
                    auto& mine = table[c.id];
                    mine.moving_to = c.other;
                    mine.moving_why = c.reason;
                    mine.open = c.open;
                });
                handing_over_.insert(c.id);
                handed_.give_back(c.id);
                try_swap_ = true;
                tell(handoff_requested{c.id, c.other, c.handoff, c.reason});
                return;
            case op::change_kind::removed:
                if (!known) return;
                belief_->change_table([&](auto& table) { table.erase(c.id); });
                handing_over_.erase(c.id);
                handed_.give_back(c.id);
                tell_own(c.id, self_, {}, 0, change_reason::unregistered);
                return;
            case op::change_kind::updated:
                if (!known) return;
                if (c.triggered > std::max(s->second.triggered, s->second.done)) {
                    tell(schedule_triggered{c.id, c.triggered});
                }
                belief_->change_table([&](auto& table) {
                    auto& mine = table[c.id];
                    mine.weight = c.weight;
                    mine.traits = c.traits;
                    mine.triggered = c.triggered > mine.done ? c.triggered : 0;
                });
                return;
            case op::change_kind::vacancy:  // the tick that told of this entry may have come before it
                if (!leads_told_) tick_at_ = std::min(tick_at_, now);
                settled_ = false;
                return;
            case op::change_kind::led: lead_by_succession(c, now); return;
        }
    }

    // Whether what was read of our change log last came after the server had answered our last tick, which did not tell of
    // it. Then it was granted later than that tick was sent, and belief counts from there.
    [[nodiscard]] bool is_newer_than_tick() const {
        return !resync_ && version_at_tick_ && version_ >= *version_at_tick_;
    }

    void comes_locked(op::change const& c, instant now) {
        auto const from = Defects::has(defect::lock_from_news) ? now : tick_sent_;
        auto const until = is_newer_than_tick() ? anchored<Defects>(options_, from, now, c.lease) : instant::min();
        auto const longest = static_cast<double>(c.lease.count()) / (1 - options_.clock_drift);
        auto const over = now + microseconds{static_cast<microseconds::rep>(longest) + 1000};
        handed_.came(c.id, {c.generation, c.lease, until, over}, now);
    }

    // The leader that went passed leadership on to us; a tick renews it at once.
    void lead_by_succession(op::change const& c, instant now) {
        tick_at_ = std::min(tick_at_, now);
        settled_ = false;
        see(c.generation);
        if (!is_newer_than_tick()) return;
        if (declines_to_lead(c.generation, c.successors, now)) return;
        auto const from = Defects::has(defect::lease_from_news) ? now : tick_sent_;
        belief_->lead(c.generation, anchored<Defects>(options_, from, now, c.lease));
        if (!belief_->leads(belief_->now())) return;
        belief_->hear_of_leader({self_, c.generation, {}}, now + c.lease);
        candidates_ = c.successors;
        election_at_ = instant::max();
        leadership_begins(belief_->now());
    }

    // Who has just renounced does not want it back, not even from the next leader: but only once. If it comes again, nobody
    // else wants it either (two that decline in each other's favour would pass it to and fro).
    bool declines_to_lead(fencing_token term, std::vector<fencing_token> const& successors, instant now) {
        if (now >= sit_out_until_ || term == belief_->term()) return false;
        if (term != renounced_) {
            if (declined_ != 0 && term != declined_) {
                sit_out_until_ = {};
                return false;
            }
            declined_ = term;
            // Others may take it; if none does, it is not left vacant for long.
            sit_out_until_ = std::min(sit_out_until_, now + options_.heartbeat_interval / 2);
        }
        renouncing_ = op::renounce{.incarnation = self_.incarnation, .term = term, .successors = successors};
        return true;
    }

    void on(op::schedules_page const& request, reply const& answer, instant, instant now) {
        auto const& r = std::get<op::page_reply>(answer);
        // Three may have asked for it. (What was asked before one of them began anew is not taken for its first page.)
        if (!resync_ || request.holder != self_.incarnation || request.after != resync_->after) {
            if (!feed_.reads_snapshot() && leader_.audit().asked_for(request)) {
                leader_.audit().on(r, feed_, now);
            } else {
                feed_.on(request, r, server_time(now));
            }
            return;
        }
        if (resync_->first_page) resync_->base = r.version;
        resync_->first_page = false;
        for (auto const& s : r.items) {
            resync_->table[s.id] = {.generation = s.generation,
                                    .weight = s.weight,
                                    .moving_to = s.moving_to,
                                    .moving_why = change_reason::rebalanced,
                                    .traits = s.traits,
                                    .triggered = s.triggered};
            resync_->after = s.id;
        }
        for (auto const& id : r.strays) resync_->after = std::max(resync_->after, id);
        if (r.items.size() + r.strays.size() >= request.limit) return;
        tell(events_gap{});
        auto fresh = std::move(resync_->table);
        version_ = resync_->base;
        server_version_ = std::max(server_version_, version_);
        read_to_the_end_ = true;  // what happened since page one
        resync_.reset();
        // What an acknowledgement is under way for is given up for good: it is not believed in again.
        std::erase_if(acknowledging_, [&](acknowledgement const& a) {
            auto const s = fresh.find(a.item.id);
            bool const asked_for = a.item.instead_of.empty() && !a.item.unasked;
            bool const still = s != fresh.end() && s->second.generation == a.item.generation &&
                               (s->second.moving_to == (asked_for ? a.item.to : 0) ||
                                (a.item.unasked && s->second.moving_to == a.item.to));
            if (!still) given_.erase(a.item.id);
            if (still && !Defects::has(defect::resync_takes_back)) {
                fresh.erase(s);
            } else {
                tell_own(a.item.id, self_, {}, 0, change_reason::resynced);
            }
            return !still;
        });
        for (auto const& [id, s] : belief_->table()) {
            auto const now_there = fresh.find(id);
            if (now_there == fresh.end()) tell_own(id, self_, {}, 0, change_reason::resynced);
        }
        for (auto& [id, s] : fresh) {
            auto const before = belief_->table().find(id);
            see(s.generation);
            if (before == belief_->table().end() || before->second.generation != s.generation) {
                tell_own(id, {}, self_, s.generation, change_reason::resynced);
            }
            bool const was_here = before != belief_->table().end();
            some_unheard_ = some_unheard_ || !was_here || before->second.generation != s.generation;
            s.unheard = !was_here || before->second.generation != s.generation || before->second.unheard;
            if (was_here && before->second.generation == s.generation) {
                s.done = before->second.done;
                if (s.triggered <= s.done) s.triggered = 0;
            }
            bool const told = was_here && before->second.triggered == s.triggered;
            if (s.triggered != 0 && !told) tell(schedule_triggered{id, s.triggered});
        }
        handing_over_.clear();
        for (auto const& [id, s] : fresh) {
            if (s.moving_to != 0 && !Defects::has(defect::resync_loses_handoffs)) handing_over_.insert(id);
        }
        handed_.give_back_unless([&](auto const& id, fencing_token token) {
            auto const s = fresh.find(id);
            return s != fresh.end() && s->second.generation == token && s->second.moving_to == 0;
        });
        belief_->change_table([&](auto& table) { table = std::move(fresh); });
    }

    // The server says that it is locked. If this ownership was not heard of in our log, that may be the lock that came with
    // it, of which a page does not tell: then nobody has a handle of it.
    void may_have_come_locked(std::string const& id, fencing_token generation) {
        if (!held_.has(id, generation)) handed_.give_back(id, generation);
    }

    // ================================================================ hand-offs

    // From when on no run of ours can be under way.
    [[nodiscard]] instant run_ends(std::string const& id) const {
        auto const when = held_.run_ends(id);
        return when != instant::max() && Defects::has(defect::ack_during_run) ? instant::min() : when;
    }
    // ... nor its lock be ours at the server because it came with it.
    [[nodiscard]] instant idle_from(std::string const& id) const { return std::max(run_ends(id), handed_.over(id)); }

    struct acknowledgement {
        op::acknowledge::item item;
        instant not_before{};
        change_reason why{};
        bool asked = false;         // a request with it was sent
        bool repeated = false;      // ... more than once
        bool unheard = false;       // as of belief::ownership
        belief::ownership had{};    // of one that nobody asked for: as it was
        std::uint64_t version = 0;  // ... when our change log was read so far
    };

    // Belief in what is to be handed over is dropped here, before the acknowledgement is sent.
    [[nodiscard]] std::optional<operation> next_acknowledgement(instant now) {
        std::vector<std::string> idle;
        for (auto const& id : handing_over_) {
            if (acknowledging_.size() + idle.size() >= op::max_batch) break;
            if (now >= idle_from(id)) idle.push_back(id);
        }
        if (std::exchange(try_swap_, false)) offer_idle_ones(now, op::max_batch - idle.size());
        for (auto const& id : idle) {
            auto const s = belief_->table().find(id)->second;
            acknowledging_.push_back({.item = {id, s.generation, s.moving_to},
                                      .not_before = now,
                                      .why = s.moving_why,
                                      .unheard = s.unheard});
            handing_over_.erase(id);
            if (Defects::has(defect::acknowledge_first)) continue;
            belief_->change_table([&](auto& table) { table.erase(id); });
        }
        op::acknowledge request{.incarnation = self_.incarnation, .seen = seen_};
        // Half of what a request may hold: it writes much, and keeps the server longer per item the more there are.
        constexpr auto most_at_once = op::max_batch / 2;
        for (auto& a : acknowledging_) {
            if (now < a.not_before || request.items.size() == most_at_once) continue;
            request.items.push_back(a.item);
            a.repeated = std::exchange(a.asked, true);
        }
        if (request.items.empty()) return std::nullopt;
        bool const goes_locked = request.items.size() == 1 && request.items.front().instead_of.empty();
        if (goes_locked) request.lock_ttl = options_.handoff_lock_ttl;
        return request;
    }

    // Where the leader leaves the choice open, an idle schedule goes in the place of one whose run is in hand.
    void offer_idle_ones(instant now, std::size_t most) {
        std::vector<std::string> idle;
        bool looked = false;
        for (auto const& busy : handing_over_) {
            auto const asked = belief_->table().find(busy)->second;
            bool const offered = find_where(acknowledging_, [&](auto const& a) { return a.item.instead_of == busy; }) !=
                                 acknowledging_.end();
            if (!asked.open || now >= idle_from(busy) || offered) continue;
            if (acknowledging_.size() >= most) return;
            if (!std::exchange(looked, true)) {
                for (auto const& [id, mine] : belief_->table()) {
                    bool const may = now >= idle_from(id) || Defects::has(defect::open_swap_unchecked);
                    if (mine.moving_to == 0 && may) idle.push_back(id);
                }
            }
            auto const is_like = [&](belief::ownership const& mine) {
                bool const like =
                    mine.weight == asked.weight && mine.traits == asked.traits && mine.triggered == asked.triggered;
                return like || Defects::has(defect::swap_of_unlike);
            };
            auto const other =
                find_where(idle, [&](auto const& id) { return is_like(belief_->table().find(id)->second); });
            if (other == idle.end()) {
                (void)handed_.give_one_back(now, [&](auto const& id) {  // idle but for the lock that it came with
                    auto const s = belief_->table().find(id);
                    return s != belief_->table().end() && s->second.moving_to == 0 && now >= run_ends(id) &&
                           is_like(s->second);
                });
                continue;
            }
            auto const id = *other;
            idle.erase(other);
            auto const& mine = belief_->table().find(id)->second;
            acknowledging_.push_back({.item = {id, mine.generation, asked.moving_to, busy},
                                      .not_before = now,
                                      .why = asked.moving_why,
                                      .unheard = mine.unheard});
            belief_->change_table([&](auto& table) { table.erase(id); });
        }
    }

    // What came of offering another one. Where it is not certain who has which, all is read anew.
    void on_offered(acknowledgement const& a, op::outcome const& out) {
        if (!out.ok()) {
            resync_.emplace();
            tell_own(a.item.id, self_, {}, 0, change_reason::resynced);
            return;
        }
        tell_own(a.item.id, self_, ref(a.item.to), out.token, a.why);
        if (Defects::has(defect::swap_keeps_both)) return;
        auto const kept = belief_->table().find(a.item.instead_of);
        if (kept == belief_->table().end()) {  // its run ended meanwhile, and it was let go of too: it is ours again
            resync_.emplace();
            return;
        }
        belief_->change_table([&](auto& table) {
            auto& mine = table[a.item.instead_of];
            mine.moving_to = 0;
            mine.open = false;
        });
        handing_over_.erase(a.item.instead_of);
    }

    // What came of giving one away that nobody asked for. Where nothing was done it is ours as before.
    void on_given(acknowledgement const& a, op::outcome const& out) {
        auto const& id = a.item.id;
        if (auto const waits = given_.find(id); waits != given_.end()) waits->second = out;
        if (Defects::has(defect::acknowledge_first)) belief_->change_table([&](auto& table) { table.erase(id); });
        bool const refused =
            out.code == errc::unknown_node || out.code == errc::capacity_exceeded || out.code == errc::locked_by_other;
        bool const nothing_done = refused && out.token == 0;
        if (out.ok()) {
            tell_own(id, self_, ref(a.item.to), out.token, a.why);
        } else if (refused && !nothing_done) {  // the leader had asked for it, too: it is nobody's now
            tell_own(id, self_, {}, out.token, change_reason::given_up);
        } else if (out.code == errc::unknown_schedule) {
            tell_own(id, self_, {}, 0, change_reason::unregistered);
        } else if (nothing_done && Defects::has(defect::refused_gift_lost)) {
            return;
        } else if (nothing_done && !a.repeated && a.version == version_) {
            belief_->change_table([&](auto& table) { table[id] = a.had; });
        } else {  // it has gone already, is wanted elsewhere, or something was told of it meanwhile
            tell_own(id, self_, {}, 0, change_reason::resynced);
            resync_.emplace();
        }
    }

    void on(op::release_locks const& request, reply const&, instant, instant) {
        for (auto const& l : request.items) on_released(request.kind, l.name, l.token);
    }

    void on(op::acknowledge const& request, reply const& answer, instant, instant now) {
        auto const& r = std::get<op::outcomes>(answer);
        for (std::size_t i = 0; i < r.items.size() && i < request.items.size(); ++i) {
            auto const& out = r.items[i];
            auto const& id = request.items[i].id;
            auto const a = find_where(acknowledging_, [&](auto const& x) { return x.item.id == id; });
            if (a == acknowledging_.end()) continue;
            see(out.token);
            if (a->item.unasked) {
                auto const gave = *a;
                acknowledging_.erase(a);
                on_given(gave, out);
                continue;
            }
            if (out.code == errc::locked_by_other) {
                a->not_before = now + out.remaining + microseconds{1000};
                a->asked = false;  // nothing was done
                if (std::exchange(a->unheard, false)) may_have_come_locked(id, a->item.generation);
                continue;
            }
            if (!a->item.instead_of.empty()) {
                auto const offered = *a;
                acknowledging_.erase(a);
                on_offered(offered, out);
                continue;
            }
            if (Defects::has(defect::acknowledge_first)) {
                belief_->change_table([&](auto& table) { table.erase(a->item.id); });
            }
            // What was asked for once has not been done before: something else has become of it.
            if (out.code == errc::conflict && !a->repeated) resync_.emplace();
            bool const given_up = out.code == errc::unknown_node || out.code == errc::capacity_exceeded;
            bool const handed = out.ok() || out.code == errc::conflict;  // conflict: a repeat of what was done already
            tell_own(a->item.id, self_, handed ? ref(a->item.to) : node_ref{}, out.token,
                     given_up ? change_reason::given_up : a->why);
            acknowledging_.erase(a);
        }
        if (!acknowledging_.empty()) tick_at_ = std::min(tick_at_, now + options_.heartbeat_interval);
    }

    // ================================================================ the group, and leading it

    // Whether events are told of. If not, the picture is kept for leading.
    [[nodiscard]] bool follows_all() const {
        return options_.event_scope == event_scope::group || standing_ == standing::observing;
    }

    void on(op::events_since const&, reply const& answer, instant, instant now) {
        feed_.on(std::get<op::events_reply>(answer), self_.incarnation, server_time(now), [this](event e) {
            bool const observing = standing_ == standing::observing;
            auto const* const membership = std::get_if<membership_changed>(&e);
            if (membership && membership->change != membership_change::joined) {
                std::erase(candidates_, membership->subject.incarnation);
            }
            // Who leads, members hear with every tick.
            if (std::holds_alternative<leadership_changed>(e) && !observing) return;
            if (follows_all() || (membership && leads_told_)) tell(std::move(e));
        });
    }
    void on(op::nodes_page const& request, reply const& answer, instant, instant now) {
        if (!feed_.expects(request)) return;  // it was begun anew meanwhile
        feed_.on(std::get<op::nodes_reply>(answer), server_time(now));
    }
    void on(op::reap const& request, reply const& answer, instant, instant now) {
        leader_.on(request, std::get<op::outcomes>(answer));
        for (auto const& out : std::get<op::outcomes>(answer).items) feed_.taken_out(out.token, server_time(now));
        feed_.look();
    }
    void on(op::adopt const& request, reply const& answer, instant, instant now) {
        auto const& r = std::get<op::outcomes>(answer);
        leader_.on(request, r, now);
        for (std::size_t i = 0; i < r.items.size() && i < request.items.size(); ++i) {
            if (r.items[i].ok()) feed_.placed(request.items[i].id, r.items[i].token, request.items[i].to);
        }
        after_own_grants(request.items, r);
        feed_.look();
    }
    void on(op::scan_page const&, reply const& answer, instant, instant now) {
        leader_.audit().on(std::get<op::scan_reply>(answer), feed_, now);
    }
    void on(op::mend const& request, reply const& answer, instant, instant) {
        auto const& r = std::get<op::outcomes>(answer);
        for (auto const& out : r.items) see(out.token);
        leader_.audit().on(request, r, [this](event e) { tell(std::move(e)); });
        own_log_moved();
        feed_.look();
    }
    void on(op::revoke const& request, reply const& answer, instant, instant now) {
        leader_.on(request, std::get<op::outcomes>(answer), now);
        auto const& r = std::get<op::outcomes>(answer);
        for (std::size_t i = 0; i < r.items.size() && i < request.items.size(); ++i) {
            if (r.items[i].ok() && request.items[i].from == self_.incarnation) own_log_moved();
        }
        feed_.look();
    }
    // The leader need not be woken for what it gave itself.
    void after_own_grants(std::vector<op::adopt::item> const& items, op::outcomes const& r) {
        for (std::size_t i = 0; i < r.items.size() && i < items.size(); ++i) {
            see(r.items[i].token);
            if (r.items[i].ok() && items[i].to == self_.incarnation) {
                own_log_moved();
                return;
            }
        }
    }

    // The lane asks for nothing else.
    template <typename Other>
    void on(Other const&, reply const&, instant, instant) {
        ROTA_ASSERT(false);
    }

    options options_;
    std::shared_ptr<late<belief, Defects>> belief_;
    node_description<Defects> description_;
    leader_machine<Defects> leader_;
    group_feed<Defects> feed_;
    jitter_source nonces_;
    jitter_source jitter_;

    standing standing_ = standing::out;
    bool was_member_ = false;
    bool suspended_ = false;
    bool leads_told_ = false;
    bool ticked_last_ = false;
    node_ref self_;
    fencing_token epoch_ = 0;
    fencing_token seen_ = 0;
    std::uint64_t join_nonce_ = 0;
    std::uint64_t joining_as_ = 0;  // the nonce under which the server was told who we are
    fencing_token farewell_ = 0;    // an incarnation that is still to take its leave
    fencing_token passing_on_ = 0;  // the term of that, if it led, until that was said
    bool left_ = false;             // ... because it was told to
    node_ref told_leader_;
    std::vector<fencing_token> candidates_;
    std::optional<late<op::renounce, Defects>> renouncing_;
    fencing_token renounced_ = 0;  // the last term that was to be given up because the program wished it
    fencing_token declined_ = 0;   // ... and one that came after

    instant tick_at_ = instant::max();
    instant tick_from_{};
    instant election_at_ = instant::max();
    instant pace_since_{};  // how far the group's events were, then
    std::uint64_t pace_seq_ = 0;
    bool much_happens_ = false;
    bool settled_ = false;  // the last tick went well, and nothing was heard since: the next one may be brief
    instant sit_out_until_{};
    instant retry_at_{};
    instant last_contact_{};
    instant tick_sent_{};  // the last one that was answered
    instant reap_from_{};
    fencing_token server_time_ = 0;
    instant server_time_at_{};
    unsigned failures_ = 0;
    std::optional<error> failure_;
    std::optional<error> warned_of_;
    instant warn_again_at_{};

    std::uint64_t version_ = 0;                       // of our change log: applied
    std::uint64_t server_version_ = 0;                // ... known to exist
    bool read_to_the_end_ = false;                    // ... newer entries than that may exist
    std::optional<std::uint64_t> version_at_tick_{};  // ... told by the last tick of this incarnation
    std::uint64_t life_needs_version_ = 0;
    instant life_after_reading_{};
    std::optional<resync> resync_;
    std::set<late<std::string, Defects>, std::less<>> handing_over_;  // owned, but another is to have it
    bool try_swap_ = false;  // an idle schedule might go in the place of a busy one
    held_locks<Defects> held_;
    handed_locks<Defects> handed_;
    bool some_unheard_ = false;  // belief::ownership::unheard, of some
    std::vector<acknowledgement> acknowledging_;
    std::map<std::string, std::optional<op::outcome>, std::less<>> given_;  // by whom somebody waits for
    std::vector<event> events_;
};

}  // namespace rota::detail
