// A local picture of the whole group, kept by following its event log: what the leader plans on, and what a subscriber
// of event_scope::group is told from. First a snapshot in pages, with the log's cursor taken before page one; then the
// events after it, which also correct whatever changed while the pages were read. A gap starts over.
//
// The picture is `current()` once all events that the server has told of are folded in; only then may it be planned on.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "../events.hpp"
#include "../operations.hpp"
#include "assert.hpp"
#include "defects.hpp"
#include "late.hpp"

namespace rota::detail {

// (Outside of the template for the reason that node_core.hpp gives.)
enum class feed_stage : std::uint8_t { off, nodes, schedules, following };

template <typename Defects = sound>
class group_feed {
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;

public:
    struct node {
        std::string id;
        bool alive = false;
        std::uint32_t capacity = unlimited;
    };
    struct item {
        fencing_token generation = 0;
        fencing_token owner = 0;
        fencing_token moving_to = 0;
        double weight = 1;
    };

    /// Begin to follow; nothing is told of the first snapshot.
    void start(fencing_token epoch) {
        if (stage_ != feed_stage::off && epoch == epoch_) return;
        if (stage_ == feed_stage::following && !catching_up_) remember();
        begin_snapshot(epoch);
    }
    void stop() { *this = group_feed{}; }

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
    [[nodiscard]] std::uint64_t cursor() const { return cursor_; }
    [[nodiscard]] fencing_token epoch() const { return epoch_; }

    [[nodiscard]] std::optional<operation> next() const {
        switch (stage_) {
            case feed_stage::off: return std::nullopt;
            case feed_stage::nodes: return op::nodes_page{.after = after_node_};
            case feed_stage::schedules: return op::schedules_page{.holder = holders_.back(), .after = after_schedule_};
            case feed_stage::following: break;
        }
        if (current()) return std::nullopt;
        return op::events_since{.epoch = epoch_, .seq = cursor_};
    }

    // ------------------------------------------------ replies; what a group subscriber is told goes to `tell`

    void on(op::nodes_reply const& page) {
        if (stage_ != feed_stage::nodes) return;
        if (after_node_ == 0) {
            epoch_ = page.epoch;
            cursor_ = page.seq;
            head_ = page.seq;
            holders_ = {0};
        }
        for (auto const& n : page.items) {
            nodes_[n.node.incarnation] = {n.node.id, n.alive, n.capacity};
            holders_.push_back(n.node.incarnation);
            after_node_ = n.node.incarnation;
        }
        if (page.items.size() < op::max_batch) stage_ = feed_stage::schedules;
    }

    void on(op::page_reply const& page) {
        if (stage_ != feed_stage::schedules) return;
        for (auto const& s : page.items) {
            schedules_[s.id] = {s.generation, s.owner, s.moving_to, s.weight};
            after_schedule_ = s.id;
        }
        if (page.items.size() == op::max_batch) return;
        holders_.pop_back();
        after_schedule_.clear();
        if (!holders_.empty()) return;
        // What happened while pages were read is still to be folded in; nothing is told of it one by one, as the pages
        // may hold it already.
        stage_ = feed_stage::following;
        catching_up_ = true;
        ++head_;
    }

    template <typename Tell>
    void on(op::events_reply const& page, Tell&& tell) {
        if (stage_ != feed_stage::following) return;
        if (page.gap) {
            if (!catching_up_) remember();
            begin_snapshot(epoch_);
            return;
        }
        for (auto const& e : page.items) {
            if (catching_up_) {
                if (Defects::has(defect::snapshot_alone)) continue;
                fold(e, [](event const&) {});
            } else {
                fold(e, tell);
            }
        }
        cursor_ = page.to;
        head_ = page.head;
        if (catching_up_ && current()) {
            catching_up_ = false;
            dirty_ = true;
            if (told_) tell_differences(tell);
        }
    }

    // ------------------------------------------------ the picture

    [[nodiscard]] std::map<fencing_token, node> const& nodes() const { return nodes_; }
    [[nodiscard]] std::map<std::string, item, std::less<>> const& schedules() const { return schedules_; }

    [[nodiscard]] node_ref ref(fencing_token incarnation) const {
        auto n = nodes_.find(incarnation);
        return {n == nodes_.end() ? std::string{} : n->second.id, incarnation};
    }

    /// Whether the picture has changed since this was last asked.
    [[nodiscard]] bool dirty() const { return dirty_; }
    void clean() { dirty_ = false; }

private:
    struct picture {
        std::map<fencing_token, node> nodes;
        std::map<std::string, item, std::less<>> schedules;
    };

    void begin_snapshot(fencing_token epoch) {
        stage_ = feed_stage::nodes;
        epoch_ = epoch;
        cursor_ = head_ = 0;
        nodes_.clear();
        schedules_.clear();
        holders_.clear();
        after_node_ = 0;
        after_schedule_.clear();
    }

    template <typename Tell>
    void fold(op::group_event const& e, Tell&& tell) {
        using kind = op::group_event_kind;
        dirty_ = true;
        switch (e.kind) {
            case kind::registered:
                schedules_.try_emplace(e.id, item{.weight = e.weight});
                tell(event{schedule_changed{e.id, true}});
                break;
            case kind::unregistered:
                schedules_.erase(e.id);
                tell(event{schedule_changed{e.id, false}});
                break;
            case kind::owned: {
                schedules_[e.id] = {e.generation, e.to, 0, e.weight};
                tell(event{ownership_changed{e.id, ref(e.from), ref(e.to), e.generation, e.reason}});
                break;
            }
            case kind::moving:
                if (auto s = schedules_.find(e.id); s != schedules_.end()) s->second.moving_to = e.to;
                break;
            case kind::joined:
                nodes_[e.to] = {e.id, true, e.capacity};
                tell(event{membership_changed{{e.id, e.to}, membership_change::joined}});
                break;
            case kind::superseded:
            case kind::left:
            case kind::died:
                if (auto n = nodes_.find(e.from); n != nodes_.end()) n->second.alive = false;
                tell(event{membership_changed{{e.id, e.from},
                                              e.kind == kind::left   ? membership_change::left
                                              : e.kind == kind::died ? membership_change::died
                                                                     : membership_change::superseded}});
                break;
            case kind::forgotten: nodes_.erase(e.from); break;
            case kind::led:
            case kind::vacated:
            case kind::data_lost: break;  // who leads, and whether data was lost, comes with every tick
        }
    }

    void remember() { told_.emplace(picture{std::move(nodes_), std::move(schedules_)}); }

    // After a gap: what is different from what was told last.
    template <typename Tell>
    void tell_differences(Tell&& tell) {
        if (!Defects::has(defect::gap_untold)) tell(event{events_gap{}});
        for (auto const& [incarnation, n] : told_->nodes) {
            auto now = nodes_.find(incarnation);
            if (n.alive && (now == nodes_.end() || !now->second.alive)) {
                tell(event{membership_changed{{n.id, incarnation}, membership_change::died}});
            }
        }
        for (auto const& [incarnation, n] : nodes_) {
            auto before = told_->nodes.find(incarnation);
            if (n.alive && (before == told_->nodes.end() || !before->second.alive)) {
                tell(event{membership_changed{{n.id, incarnation}, membership_change::joined}});
            }
        }
        for (auto const& [id, s] : told_->schedules) {
            if (!schedules_.contains(id)) tell(event{schedule_changed{id, false}});
        }
        for (auto const& [id, s] : schedules_) {
            auto before = told_->schedules.find(id);
            bool const is_new = before == told_->schedules.end();
            if (is_new) tell(event{schedule_changed{id, true}});
            auto const old_owner = is_new ? 0 : before->second.owner;
            auto const old_generation = is_new ? 0 : before->second.generation;
            if (s.generation != old_generation) {
                auto was = told_->nodes.find(old_owner);
                tell(event{ownership_changed{id,
                                             {was == told_->nodes.end() ? std::string{} : was->second.id, old_owner},
                                             ref(s.owner),
                                             s.generation,
                                             change_reason::resynced}});
            }
        }
        told_.reset();
    }

    feed_stage stage_ = feed_stage::off;
    fencing_token epoch_ = 0;
    std::uint64_t cursor_ = 0;
    std::uint64_t head_ = 0;
    std::map<fencing_token, node> nodes_;
    std::map<std::string, item, std::less<>> schedules_;
    std::vector<fencing_token> holders_;  // whose pages are still to be read
    fencing_token after_node_ = 0;
    std::string after_schedule_;
    std::optional<picture> told_;
    bool catching_up_ = false;
    bool dirty_ = false;
};

}  // namespace rota::detail
