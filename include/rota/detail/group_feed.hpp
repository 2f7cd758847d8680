// Keeps a picture of the whole group up to date by following its event log: what the leader plans on, and what a subscriber
// of event_scope::group is told from. First a snapshot in pages, with the log's cursor taken before page one; then the
// events after it, which also correct whatever changed while the pages were read. A gap starts over.
//
// The pages of schedules without a live owner come first: a new leader can place those while it still reads who owns the
// rest. The picture is `current()` once all events that the server has told of are folded in; only then may it be planned
// on as a whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../events.hpp"
#include "../operations.hpp"
#include "assert.hpp"
#include "defects.hpp"
#include "group_picture.hpp"
#include "late.hpp"

namespace rota::detail {

// (Outside of the template for the reason that node_core.hpp gives.)
enum class feed_stage : std::uint8_t { off, nodes, schedules, following };

template <typename Defects = sound>
class group_feed {
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;

public:
    /// An id that the index of `holder` lists without right: the records disagree.
    struct stray {
        std::string id;
        fencing_token holder = 0;
    };

    /// Begin to follow; of the first snapshot nothing is told but what the reader itself owns.
    void start(fencing_token epoch) {
        if (stage_ != feed_stage::off && epoch == epoch_) return;
        if (stage_ == feed_stage::following && !catching_up_) remember();
        begin_snapshot(epoch);
    }
    void stop() {
        auto const begun = snapshots_;
        *this = group_feed{};
        snapshots_ = begun;
    }

    /// Stop for now; after the next start the differences to what was told until here are told.
    void interrupt() {
        if (stage_ == feed_stage::following && !catching_up_) remember();
        auto told = std::move(told_);
        stop();
        told_ = std::move(told);
    }

    [[nodiscard]] bool active() const { return stage_ != feed_stage::off; }

    /// The server's newest event is at least `seq`.
    void heard_of(std::uint64_t seq) {
        if (seq > head_) head_ = seq;
    }
    /// Something may have happened: look.
    void look() { head_ = std::max(head_, cursor_ + 1); }

    /// The server may have lost what it told: read all of it anew, and tell the differences.
    void doubt() {
        if (stage_ == feed_stage::off) return;
        if (stage_ == feed_stage::following && !catching_up_) remember();
        begin_snapshot(epoch_);
    }

    [[nodiscard]] bool current() const { return stage_ == feed_stage::following && cursor_ >= head_; }
    /// While the snapshot is read: all nodes and all that has no live owner are known.
    [[nodiscard]] bool orphans_known() const {
        return stage_ == feed_stage::schedules && next_holder_ >= departed_holders_;
    }
    [[nodiscard]] bool reads_snapshot() const { return stage_ == feed_stage::nodes || stage_ == feed_stage::schedules; }
    [[nodiscard]] std::uint64_t cursor() const { return cursor_; }
    /// How many were begun: between two, the numbers in the picture mean the same.
    [[nodiscard]] std::uint64_t snapshots() const { return snapshots_; }
    [[nodiscard]] fencing_token epoch() const { return epoch_; }

    [[nodiscard]] std::optional<operation> next() const {
        switch (stage_) {
            case feed_stage::off: return std::nullopt;
            case feed_stage::nodes: return op::nodes_page{.after = after_node_};
            case feed_stage::schedules:
                return op::schedules_page{
                    .holder = holders_[next_holder_], .after = after_schedule_, .limit = page_limit()};
            case feed_stage::following: break;
        }
        if (current()) return std::nullopt;
        return op::events_since{.epoch = epoch_, .seq = cursor_};
    }

    /// Whether the reply to that request is the next page.
    [[nodiscard]] bool expects(op::nodes_page const& request) const {
        return stage_ == feed_stage::nodes && request.after == after_node_;
    }

    // ------------------------------------------------ replies; what a group subscriber is told goes to `tell`. `at`:
    // about what time it is at the server

    void on(op::nodes_reply const& page, fencing_token at) {
        if (stage_ != feed_stage::nodes) return;
        if (after_node_ == 0) {
            epoch_ = page.epoch;
            cursor_ = page.seq;
            head_ = page.seq;
            picture_.set_maintenance(page.maintenance);
            for (auto const& id : page.drained) picture_.order(id, true);
            holders_ = {0};
        }
        for (auto const& n : page.items) {
            auto const incarnation = n.node.incarnation;
            after_node_ = incarnation;
            if (n.alive) {
                picture_.put_node(incarnation, n.node.id, n.capacity, n.traits, n.load + n.pending);
                living_.push_back(incarnation);
                continue;
            }
            auto const ago = static_cast<fencing_token>(n.gone_for.count());
            auto const since = ago == 0 || at <= ago ? fencing_token{0} : at - ago;  // 0: may still believe
            picture_.put_departed(incarnation, n.node.id, n.left, since, n.load + n.pending);
            holders_.push_back(incarnation);
        }
        if (page.items.size() == op::max_batch) return;
        departed_holders_ = holders_.size();
        holders_.insert(holders_.end(), living_.begin(), living_.end());
        living_.clear();
        stage_ = feed_stage::schedules;
    }

    void on(op::schedules_page const& request, op::page_reply const& page, fencing_token at) {
        if (stage_ != feed_stage::schedules) return;
        auto const holder = holders_[next_holder_];
        for (auto const& s : page.items) {
            after_schedule_ = s.id;
            auto const known = picture_.find(s.id);
            bool const placed_by_us = known != picture_.none && picture_.record_of(known).generation == s.generation;
            picture_.put(s.id, {s.generation, s.owner, s.moving_to, s.weight, s.traits});
            if (placed_by_us) continue;  // after the counters were read
            picture_.was_read(holder);
            if (s.moving_to != 0) picture_.was_read(s.moving_to);
        }
        for (auto const& id : page.strays) {
            if (after_schedule_ < id) after_schedule_ = id;
            strays_.push_back({id, holder});
        }
        if (page.items.size() + page.strays.size() >= request.limit) return;
        ++next_holder_;
        after_schedule_.clear();
        if (next_holder_ < holders_.size()) return;
        // What happened while pages were read is still to be folded in; nothing is told of it one by one, as the pages
        // may hold it already.
        stage_ = feed_stage::following;
        catching_up_ = true;
        ++head_;
        doubtful_ = picture_.complete();
        picture_.assume_moves(at);
    }

    /// `self`: the reader, or 0 if it is no node.
    template <typename Tell>
    void on(op::events_reply const& page, fencing_token self, fencing_token at, Tell&& tell) {
        if (stage_ != feed_stage::following) return;
        if (page.gap) {
            if (!catching_up_) remember();
            begin_snapshot(epoch_);
            return;
        }
        for (auto const& e : page.items) {
            if (catching_up_) {
                if (Defects::has(defect::snapshot_alone)) continue;
                fold(e, at, [](event const&) {});
            } else {
                fold(e, at, tell);
            }
        }
        cursor_ = page.to;
        head_ = page.head;
        if (catching_up_ && current()) {
            catching_up_ = false;
            if (told_) {
                tell_differences(tell);
            } else if (self != 0) {
                tell_owned(self, tell);
            }
        }
    }

    // ------------------------------------------------ what the leader did, while the snapshot is being read: the events
    // that tell of it are folded in only at its end

    /// It was taken out: what it owned is without an owner now, and is read next.
    void taken_out(fencing_token incarnation, fencing_token at) {
        if (stage_ != feed_stage::schedules) return;
        auto const known = picture_.node_of(incarnation);
        if (!known.alive) return;
        picture_.take_out(incarnation, false, at);
        for (auto i = next_holder_; i < holders_.size(); ++i) {
            if (holders_[i] != incarnation) continue;
            // In the middle of its page it stays where it is, and is done when it is done.
            if (i == next_holder_ || i < departed_holders_) break;
            holders_.erase(holders_.begin() + static_cast<std::ptrdiff_t>(i));
            auto const middle = !after_schedule_.empty();
            auto const place = std::max(departed_holders_, next_holder_ + (middle ? 1 : 0));
            holders_.insert(holders_.begin() + static_cast<std::ptrdiff_t>(place), incarnation);
            departed_holders_ = place + 1;
            break;
        }
    }
    /// A schedule was placed.
    void placed(std::string const& id, fencing_token generation, fencing_token to) {
        if (stage_ != feed_stage::schedules) return;
        auto const s = picture_.find(id);
        if (s == picture_.none) return;
        auto r = picture_.record_of(s);
        if (r.generation >= generation) return;
        r.generation = generation;
        r.owner = to;
        r.moving_to = 0;
        picture_.put(id, r);
    }

    // ------------------------------------------------ the picture

    [[nodiscard]] group_picture<Defects>& picture() { return picture_; }
    [[nodiscard]] group_picture<Defects> const& picture() const { return picture_; }
    [[nodiscard]] node_ref ref(fencing_token incarnation) const {
        return {std::string{picture_.node_of(incarnation).id}, incarnation};
    }
    /// What the snapshot found to disagree: ids, and nodes whose counters are not what was read of them.
    [[nodiscard]] std::vector<stray> take_strays() { return std::exchange(strays_, {}); }
    [[nodiscard]] std::vector<fencing_token> take_doubtful() { return std::exchange(doubtful_, {}); }

private:
    // What has no live owner waits for its page; of the rest, others wait less for a short one.
    [[nodiscard]] std::uint32_t page_limit() const {
        return next_holder_ < departed_holders_ ? op::large_page : op::max_batch;
    }

    void begin_snapshot(fencing_token epoch) {
        ++snapshots_;
        stage_ = feed_stage::nodes;
        epoch_ = epoch;
        cursor_ = head_ = 0;
        picture_ = {};
        picture_.begin();
        holders_.clear();
        living_.clear();
        strays_.clear();
        next_holder_ = departed_holders_ = 0;
        after_node_ = 0;
        after_schedule_.clear();
        catching_up_ = false;
    }

    template <typename Tell>
    void fold(op::group_event const& e, fencing_token at, Tell&& tell) {
        using kind = op::group_event_kind;
        switch (e.kind) {
            case kind::registered:
                // The pages may know what became of it since. Else what was known of it is no more: its record was lost.
                if (auto const known = picture_.find(e.id); !catching_up_ && known != picture_.none) {
                    doubt_where(e.id, picture_.record_of(known));
                    picture_.erase(e.id);
                    tell(event{schedule_changed{e.id, false}});
                }
                picture_.put_new(e.id, {.weight = e.weight, .traits = e.traits});
                tell(event{schedule_changed{e.id, true}});
                break;
            case kind::unregistered:
                picture_.erase(e.id);
                tell(event{schedule_changed{e.id, false}});
                break;
            case kind::updated:
                if (!Defects::has(defect::rules_ignored)) picture_.set_attributes(e.id, e.weight, e.traits);
                break;
            case kind::owned:
                picture_.put(e.id, {e.generation, e.to, 0, e.weight, e.traits});
                tell(event{ownership_changed{e.id, ref(e.from), ref(e.to), e.generation, e.reason}});
                break;
            case kind::moving:
                picture_.set_moving(e.id, e.to);
                if (e.to != 0) picture_.note_move(at);
                break;
            case kind::joined:
                picture_.put_node(e.to, e.id, e.capacity, e.traits);
                tell(event{membership_changed{{e.id, e.to}, membership_change::joined}});
                break;
            case kind::described:
                if (picture_.node_of(e.to).alive && !Defects::has(defect::attributes_untold)) {
                    picture_.put_node(e.to, e.id, e.capacity, e.traits);
                }
                break;
            case kind::superseded:
            case kind::left:
            case kind::died:
                if (picture_.node_of(e.from).alive) {
                    picture_.take_out(e.from, e.kind == kind::left, e.kind == kind::superseded ? 0 : at);
                }
                tell(event{membership_changed{{e.id, e.from},
                                              e.kind == kind::left   ? membership_change::left
                                              : e.kind == kind::died ? membership_change::died
                                                                     : membership_change::superseded}});
                break;
            case kind::forgotten: picture_.forget(e.from); break;
            case kind::ordered:
                switch (static_cast<op::order_kind>(e.generation)) {
                    case op::order_kind::drain: picture_.order(e.id, true); break;
                    case op::order_kind::undrain: picture_.order(e.id, false); break;
                    case op::order_kind::begin_maintenance: picture_.set_maintenance(true); break;
                    case op::order_kind::end_maintenance: picture_.set_maintenance(false); break;
                }
                break;
            case kind::led: tell_leader({e.id, e.to}, e.generation, e.from, tell); break;
            case kind::vacated: tell_leader({}, 0, e.from, tell); break;
            case kind::data_lost: break;  // that comes with every tick
        }
    }

    // Of a schedule whose record was lost: its owner may still be listed with it, and count it, as may who was to have it.
    void doubt_where(std::string const& id, typename group_picture<Defects>::record const& was) {
        if (was.owner != 0) {
            strays_.push_back({id, was.owner});
            doubtful_.push_back(was.owner);
        }
        if (was.moving_to != 0) doubtful_.push_back(was.moving_to);
    }

    // (Built up: g++ 12 -O3 takes an aggregate with an empty node_ref in it for uninitialized.)
    template <typename Tell>
    void tell_leader(node_ref leader, fencing_token term, fencing_token previous, Tell&& tell) {
        leadership_changed change;
        change.leader = std::move(leader);
        change.term = term;
        change.previous = ref(previous);
        tell(event{std::move(change)});
    }

    void remember() { told_.emplace(std::move(picture_)); }

    // It may have come to own something before there was a picture.
    template <typename Tell>
    void tell_owned(fencing_token self, Tell&& tell) {
        picture_.each_schedule([&](std::string const& id, auto const& s) {
            if (s.owner != self) return;
            ownership_changed change;  // built up, as in tell_leader()
            change.schedule = id;
            change.to = ref(self);
            change.generation = s.generation;
            change.reason = change_reason::resynced;
            tell(event{std::move(change)});
        });
    }

    // After a gap: what is different from what was told last.
    template <typename Tell>
    void tell_differences(Tell&& tell) {
        if (!Defects::has(defect::gap_untold)) tell(event{events_gap{}});
        auto const& before = *told_;
        before.each_node([&](fencing_token incarnation, auto const& n) {
            if (n.alive && !picture_.node_of(incarnation).alive) {
                tell(event{membership_changed{{std::string{n.id}, incarnation}, membership_change::died}});
            }
        });
        picture_.each_node([&](fencing_token incarnation, auto const& n) {
            if (n.alive && !before.node_of(incarnation).alive) {
                tell(event{membership_changed{{std::string{n.id}, incarnation}, membership_change::joined}});
            }
        });
        before.each_schedule([&](std::string const& id, auto const&) {
            if (picture_.find(id) == picture_.none) tell(event{schedule_changed{id, false}});
        });
        picture_.each_schedule([&](std::string const& id, auto const& s) {
            auto const was = before.find(id);
            bool const is_new = was == before.none;
            if (is_new) tell(event{schedule_changed{id, true}});
            auto const old = is_new ? typename group_picture<Defects>::record{} : before.record_of(was);
            if (s.generation == old.generation && s.owner == old.owner) return;
            node_ref const from{std::string{before.node_of(old.owner).id}, old.owner};
            tell(event{ownership_changed{id, from, ref(s.owner), s.generation, change_reason::resynced}});
        });
        told_.reset();
    }

    feed_stage stage_ = feed_stage::off;
    fencing_token epoch_ = 0;
    std::uint64_t cursor_ = 0;
    std::uint64_t head_ = 0;
    std::uint64_t snapshots_ = 0;
    group_picture<Defects> picture_;
    std::vector<fencing_token> holders_;  // whose pages are read: nobody's, those of the departed, of the living
    std::vector<fencing_token> living_;
    std::size_t next_holder_ = 0;
    std::size_t departed_holders_ = 0;
    fencing_token after_node_ = 0;
    std::string after_schedule_;
    std::vector<stray> strays_;
    std::vector<fencing_token> doubtful_;
    std::optional<group_picture<Defects>> told_;
    bool catching_up_ = false;
};

}  // namespace rota::detail
