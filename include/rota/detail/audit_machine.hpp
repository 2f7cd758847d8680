// Self-healing: finds ownership records that disagree, after a failover that lost writes or an edit by hand, and has them
// mended. The leader looks through all records as it takes over, and again every audit_interval, one page at a time and
// slowly, and then through the index of each holder; what its picture (built from those indexes once, and from the events)
// does not confirm is suspect. Suspects are only named to the server, which looks again at both sides in one atomic step
// (op::mend): being wrong here costs a request. In the end all nodes' counters are counted anew, 50 with each request.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "../events.hpp"
#include "../operations.hpp"
#include "../options.hpp"
#include "defects.hpp"
#include "group_feed.hpp"
#include "late.hpp"

namespace rota::detail {

template <typename Defects = sound>
class audit_machine {
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;

public:
    /// A pass begins now; the next ones follow every `interval` (0: never), a page every `pause`.
    void start(instant now, microseconds interval, microseconds pause) {
        *this = audit_machine{};
        interval_ = interval;
        pause_ = pause;
        due_ = now;
        on_ = true;
    }

    /// This node's counters may be wrong.
    void doubt(fencing_token node) { add(recount_, node); }

    /// The server refuses it: not before a while.
    void give_up(instant now) { hold_until_ = now + 8 * pause_; }

    /// When next() has something to say.
    [[nodiscard]] instant due() const {
        return !on_ ? instant::max() : std::max(hold_until_, has_suspects() ? instant::min() : due_);
    }

    /// Only while the picture is current.
    [[nodiscard]] std::optional<operation> next(group_feed<Defects>& feed, instant now, fencing_token self,
                                                fencing_token term, fencing_token seen) {
        if (!on_) return std::nullopt;
        for (auto& s : feed.take_strays()) suspect(std::move(s.id), s.holder);
        for (auto const node : feed.take_doubtful()) add(recount_, node);
        weigh_unconfirmed(feed.picture());
        if (now < hold_until_) return std::nullopt;
        if (has_suspects()) {
            op::mend request{.incarnation = self, .term = term, .seen = seen};
            for (auto const& [id, holders] : suspects_) {
                if (request.items.size() == most_at_once) break;
                request.items.push_back({id, holders});
                if (auto const s = feed.picture().find(id); s != feed.picture().none) {
                    add(request.items.back().holders, feed.picture().record_of(s).owner);
                }
            }
            for (auto const node : recount_) {
                if (request.recount.size() == most_at_once) break;
                request.recount.push_back(node);
            }
            return request;
        }
        if (now < due_) return std::nullopt;
        // A picture that was read anew has other numbers.
        if (std::exchange(snapshot_, feed.snapshots()) != feed.snapshots()) begin_anew();
        if (!holders_.empty()) return op::schedules_page{.holder = holders_.back(), .after = after_};
        if (cursor_ == 0) {
            seen_.assign(seen_.size(), false);
            began_ = seen;
        }
        return op::scan_page{.cursor = cursor_};
    }

    /// Whether that page is one of an index which is being looked through.
    [[nodiscard]] bool asked_for(op::schedules_page const& page) const {
        return on_ && !holders_.empty() && page.holder == holders_.back() && page.after == after_;
    }
    void on(op::page_reply const& page, group_feed<Defects>& feed, instant now) {
        if (snapshot_ != feed.snapshots()) return;
        auto const holder = holders_.back();
        for (auto const& id : page.strays) {
            suspect(id, holder);
            if (after_ < id) after_ = id;
        }
        for (auto const& s : page.items) {
            look_at(feed.picture(), s);
            if (after_ < s.id) after_ = s.id;
        }
        due_ = next_page(now);
        if (page.items.size() + page.strays.size() < op::max_batch) {
            holders_.pop_back();
            after_.clear();
            if (holders_.empty()) {
                suspect_unseen(feed.picture());
                // No page tells what the counters are, and what was listed without right may have been counted twice.
                feed.picture().each_node([&](fencing_token incarnation, auto const&) { add(recount_, incarnation); });
                pages_ = 0;
                due_ = interval_ != microseconds{} ? now + interval_ : instant::max();
            }
        }
        if (!unconfirmed_.empty()) feed.look();
    }

    void on(op::scan_reply const& page, group_feed<Defects>& feed, instant now) {
        if (snapshot_ != feed.snapshots()) return;
        auto const& picture = feed.picture();
        for (auto const& id : page.broken) suspect(id, 0);
        for (auto const& s : page.items) look_at(picture, s);
        cursor_ = page.next;
        due_ = next_page(now);
        if (cursor_ == 0) {
            suspect_unseen(picture);
            seen_.assign(seen_.size(), false);
            holders_.push_back(0);
            picture.each_node([&](fencing_token incarnation, auto const&) { holders_.push_back(incarnation); });
        }
        // The page may be newer than the picture: whether it is confirmed is asked again once that has caught up.
        if (!unconfirmed_.empty()) feed.look();
    }

    /// The reply to a mend. Tells what was wrong.
    template <typename Tell>
    void on(op::mend const& request, op::outcomes const& reply, Tell&& tell) {
        std::string names;
        std::size_t mended = 0;
        for (std::size_t i = 0; i < request.items.size(); ++i) {
            suspects_.erase(request.items[i].id);
            if (i >= reply.items.size() || reply.items[i].token == 0) continue;
            if (++mended <= 3) names += (mended > 1 ? ", " : "") + in_words(request.items[i].id);
        }
        auto const counted = std::min(request.recount.size(), recount_.size());
        recount_.erase(recount_.begin(), recount_.begin() + static_cast<std::ptrdiff_t>(counted));
        if (mended == 0) return;
        tell(event{warning{{errc{}, fmt::format("{} ownership records disagreed, and were mended: {}{}", mended, names,
                                                mended > 3 ? ", ..." : "")}}});
    }

private:
    static constexpr std::size_t most_at_once = 50;
    static constexpr std::size_t pages_at_once = 16;

    [[nodiscard]] bool has_suspects() const { return !suspects_.empty() || !recount_.empty(); }

    static void add(std::vector<fencing_token>& holders, fencing_token holder) {
        if (holder == 0) return;
        for (auto const known : holders) {
            if (known == holder) return;
        }
        holders.push_back(holder);
    }
    void suspect(std::string id, fencing_token holder) { add(suspects_[std::move(id)], holder); }

    void look_at(group_picture<Defects> const& picture, schedule_status const& s) {
        auto const known = picture.find(s.id);
        if (known != picture.none) {
            if (seen_.size() <= known) seen_.resize(known + 1);
            seen_[known] = true;
        }
        if (!confirms(picture, s)) unconfirmed_.push_back(s);
    }
    // Those that the picture has had all the while as they are, and no page.
    void suspect_unseen(group_picture<Defects> const& picture) {
        picture.each_number([&](std::uint32_t s) {
            if (s < seen_.size() && seen_[s]) return;
            auto const r = picture.record_of(s);
            if (r.generation <= began_) suspect(picture.id_of(s), r.owner);
        });
    }

    // A small group is looked through at one go; a large one in the background.
    instant next_page(instant now) { return ++pages_ < pages_at_once ? now : now + pause_; }

    void begin_anew() {
        pages_ = 0;
        cursor_ = 0;
        holders_.clear();
        after_.clear();
        unconfirmed_.clear();
    }

    static bool confirms(group_picture<Defects> const& picture, schedule_status const& s) {
        auto const known = picture.find(s.id);
        if (known == picture.none) return false;
        auto const r = picture.record_of(known);
        return r.generation == s.generation && r.owner == s.owner && (s.owner == 0 || picture.is_listed(s.owner));
    }
    void weigh_unconfirmed(group_picture<Defects> const& picture) {
        for (auto const& s : std::exchange(unconfirmed_, {})) {
            if (!confirms(picture, s)) suspect(s.id, s.owner);
        }
    }

    bool on_ = false;
    microseconds interval_{};
    microseconds pause_{};
    instant due_ = instant::max();
    instant hold_until_ = instant::min();
    std::size_t pages_ = 0;                              // in this pass
    std::uint64_t snapshot_ = 0;                         // of the feed, as this pass began
    std::uint64_t cursor_ = 0;                           // in the records
    std::vector<late<fencing_token, Defects>> holders_;  // whose indexes are still to be looked through
    std::string after_;                                  // ... in the one that is under way
    fencing_token began_ = 0;                            // the newest token as this pass began
    std::vector<late<bool, Defects>> seen_;              // in this round of pages, by the picture's numbers
    std::vector<late<schedule_status, Defects>> unconfirmed_;
    std::map<std::string, std::vector<fencing_token>> suspects_;  // and whose indexes may list them
    std::vector<fencing_token> recount_;
};

}  // namespace rota::detail
