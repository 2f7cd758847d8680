// What the leader does beyond holding its lease: takes dead nodes out, places orphans, evens out the load. A to-do
// list, not a script: next() looks at what is known and says what to ask the server for; replies change what is known.
//
// Every step names the term it acts under, and every item what it expects to find, so the server refuses whatever a
// leader of yesterday, or one with a picture of yesterday, sends.
#pragma once

#include <exception>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../cluster_view.hpp"
#include "../events.hpp"
#include "../options.hpp"
#include "../strategy/balance.hpp"
#include "belief.hpp"
#include "find.hpp"
#include "group_feed.hpp"
#include "late.hpp"

namespace rota::detail {

/// The strategy, type-erased: planning is rare, compiling is not.
struct planner {
    void const* strategy = nullptr;
    void (*make)(void const* strategy, cluster_view const&, plan&) = nullptr;

    /// Plans, and says why the plan must not be applied; empty if it may.
    template <typename T = void>
    [[nodiscard]] std::string operator()(late<cluster_view, T> const& view, late<plan, T>& into) const;
};

/// A cluster_view and what it points into, made from the picture that a group_feed keeps.
template <typename Defects = sound>
class planning_board {
    template <typename T>
    using late_vector = std::vector<late<T, Defects>>;

public:
    cluster_view const& draw(group_feed<Defects> const& feed) {
        nodes_.clear();
        schedules_.clear();
        orphans_.clear();
        ids_.clear();
        std::map<std::pair<std::string_view, fencing_token>, typename group_feed<Defects>::node const*> by_id;
        for (auto const& [incarnation, n] : feed.nodes()) {
            if (n.alive) by_id[{n.id, incarnation}] = &n;
        }
        std::map<fencing_token, late<std::uint32_t, Defects>> index;
        for (auto const& [key, n] : by_id) {
            index[key.second] = static_cast<std::uint32_t>(nodes_.size());
            nodes_.push_back({.id = n->id, .incarnation = key.second, .capacity = n->capacity});
        }
        owned_.resize(nodes_.size());
        for (auto& list : owned_) list.clear();
        for (auto const& [id, s] : feed.schedules()) {
            auto const number = static_cast<std::uint32_t>(schedules_.size());
            auto const at = index.find(s.owner);
            auto const bound_for = s.moving_to == 0 ? index.end() : index.find(s.moving_to);
            auto owner = cluster_view::none;
            // On its way from a live node: counts for where it goes; if that one is gone, it will be given up.
            bool const moving = s.moving_to != 0 && at != index.end();
            if (moving) {
                owner = bound_for == index.end() ? at->second : bound_for->second;
            } else if (at != index.end()) {
                owner = at->second;
            }
            schedules_.push_back({.id = id, .owner = owner, .moving = moving, .weight = s.weight});
            ids_.push_back(&id);
            if (owner == cluster_view::none) {
                orphans_.push_back(number);
            } else {
                owned_[owner].push_back(number);
                ++nodes_[owner].load;
                nodes_[owner].weight += s.weight;
            }
        }
        for (std::size_t i = 0; i < nodes_.size(); ++i) nodes_[i].schedules = owned_[i];
        view_ = {nodes_, schedules_, orphans_};
        return view_;
    }

    [[nodiscard]] cluster_view const& view() const { return view_; }
    [[nodiscard]] std::string const& id_of(std::uint32_t schedule) const { return *ids_[schedule]; }

private:
    late_vector<cluster_view::node> nodes_;
    late_vector<cluster_view::schedule> schedules_;
    late_vector<std::uint32_t> orphans_;
    late_vector<std::string const*> ids_;  // into the feed's picture
    std::vector<late_vector<std::uint32_t>> owned_;
    cluster_view view_;
};

/// Why `p` must not be applied to `view`, or an empty string. A strategy is somebody else's code: it is not trusted.
template <typename T = void>
[[nodiscard]] std::string fault_of(late<plan, T> const& p, late<cluster_view, T> const& view) {
    std::vector<late<std::uint32_t, T>> load;
    for (auto const& n : view.nodes) load.push_back(n.load);
    std::vector<late<bool, T>> taken(view.schedules.size());
    for (auto const& m : p.moves) {
        auto const id = [&] { return in_words(std::string{view.schedules[m.schedule].id}); };
        if (m.schedule >= view.schedules.size())
            return fmt::format("the plan names schedule {} of {}", m.schedule, view.schedules.size());
        if (m.to >= view.nodes.size())
            return fmt::format("the plan moves {} to node {} of {}", id(), m.to, view.nodes.size());
        auto const& s = view.schedules[m.schedule];
        if (taken[m.schedule]) return fmt::format("the plan moves {} twice", id());
        taken[m.schedule] = true;
        if (s.owner != m.from) return fmt::format("the plan moves {} from a node that does not own it", id());
        if (s.moving) return fmt::format("the plan moves {}, which is on its way already", id());
        if (m.from == m.to) return fmt::format("the plan moves {} to where it is", id());
        if (!m.forced()) --load[m.from];
        if (++load[m.to] > view.nodes[m.to].capacity) {
            return fmt::format("the plan gives node {} more than its capacity of {}",
                               in_words(std::string{view.nodes[m.to].id}), view.nodes[m.to].capacity);
        }
    }
    return {};
}

template <typename T>
std::string planner::operator()(late<cluster_view, T> const& view, late<plan, T>& into) const {
    into.clear();
    if (view.nodes.empty()) {
        into.unplaced = static_cast<std::uint32_t>(view.orphans.size());
        return {};
    }
    try {
        make(strategy, view, into);
    } catch (std::exception const& e) {
        into.clear();
        return fmt::format("the strategy threw: {}", e.what());
    } catch (...) {
        into.clear();
        return "the strategy threw what is no std::exception";
    }
    auto fault = fault_of(into, view);
    if (!fault.empty()) into.clear();
    return fault;
}

template <typename Defects = sound>
class leader_machine {
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;

public:
    leader_machine(options const& o, planner strategy) : options_{o}, strategy_{strategy} {}

    void start(fencing_token self, fencing_token term) {
        *this = leader_machine{options_, strategy_};
        self_ = self;
        term_ = term;
    }
    void stop() { start(0, 0); }
    [[nodiscard]] bool active() const { return term_ != 0; }

    /// What the leader's own tick tells. `reap_from`: nobody is taken for dead before (the server was silent).
    void on_tick(op::watch watch, instant received, instant reap_from) {
        watch_ = std::move(watch);
        heard_ = received;
        reap_from_ = reap_from;
        reaped_ = false;
        if (!watch_.dead.empty()) plan_again_ = received;  // their schedules may have become adoptable just now
    }

    /// Even out the load now, whatever the threshold says.
    void rebalance_now() { forced_round_ = true; }
    [[nodiscard]] plan const& last_plan() const { return plan_; }
    /// Why the last plan was refused; empty: it was not.
    [[nodiscard]] std::string const& last_fault() const { return fault_; }
    [[nodiscard]] std::vector<fencing_token> const& candidates() const { return watch_.candidates; }

    /// When the next node can be taken for dead, or its schedules be had: a tick then says which.
    [[nodiscard]] instant tick_due() const {
        if (!active()) return instant::max();
        if (reaped_ && watch_.expired.size() + watch_.dead.size() >= op::max_batch) {
            return instant::min();  // there were more than go into one reap, or into the lists
        }
        auto const next = std::min(watch_.next_expiry, watch_.next_dead);
        return next == microseconds::max() ? instant::max() : heard_ + next + microseconds{1000};
    }

    /// When next() has something to say although nothing was heard: nodes to take out once that is allowed again, or a
    /// plan that met a state it was not made for.
    [[nodiscard]] instant work_due() const {
        if (!active()) return instant::max();
        if (!placements_.empty() || !moves_.empty()) return instant::min();
        return !watch_.expired.empty() && !reaped_ ? std::min(plan_again_, reap_from_) : plan_again_;
    }

    template <typename Tell>
    [[nodiscard]] std::optional<operation> next(group_feed<Defects> const& feed, instant now, fencing_token seen,
                                                Tell&& tell) {
        if (!active()) return std::nullopt;
        if (!feed.current()) return feed.next();
        if (auto to_reap = who_is_gone(feed, now); !to_reap.empty()) {
            return op::reap{.incarnation = self_, .term = term_, .nodes = std::move(to_reap)};
        }
        if (placements_.empty() && moves_.empty()) draw_up_plan(feed, now, tell);
        if (!placements_.empty()) {
            return op::adopt{.incarnation = self_, .term = term_, .items = first_of(placements_), .seen = seen};
        }
        if (!moves_.empty()) {
            return op::revoke{.incarnation = self_,
                              .term = term_,
                              .items = first_of(moves_),
                              .handoff_deadline = options_.handoff_deadline};
        }
        return std::nullopt;
    }

    void on(op::reap const&) { reaped_ = true; }

    void on(op::adopt const& request, op::outcomes const& reply, instant now) {
        settle(placements_, request.items.size(), reply, now);
    }
    void on(op::revoke const& request, op::outcomes const& reply, instant now) {
        settle(moves_, request.items.size(), reply, now);
    }

private:
    template <typename Item>
    static std::vector<Item> first_of(std::vector<Item> const& queue) {
        auto const count = std::min(queue.size(), op::max_batch);
        return {queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(count)};
    }

    // Items that were refused are dropped: the events say what is true now, and the next plan is made from that.
    template <typename Item>
    void settle(std::vector<Item>& queue, std::size_t sent, op::outcomes const& reply, instant now) {
        queue.erase(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(std::min(sent, queue.size())));
        for (auto const& item : reply.items) {
            auto const pause = Defects::has(defect::plan_at_once) ? microseconds{} : options_.heartbeat_interval / 2;
            if (!item.ok()) plan_again_ = std::min(plan_again_, now + pause);
        }
    }

    // Expired nodes, and dead ones that own nothing more (those that do are forgotten with their last schedule).
    std::vector<fencing_token> who_is_gone(group_feed<Defects> const& feed, instant now) {
        std::vector<fencing_token> gone;
        if (reaped_) return gone;
        if (now >= reap_from_) gone = watch_.expired;
        for (auto incarnation : watch_.dead) {
            auto const& all = feed.schedules();
            auto const owned = find_where(all, [&](auto const& s) { return s.second.owner == incarnation; });
            if (owned == all.end()) gone.push_back(incarnation);
        }
        if (gone.size() > op::max_batch) gone.resize(op::max_batch);
        return gone;
    }

    template <typename Tell>
    void draw_up_plan(group_feed<Defects> const& feed, instant now, Tell&& tell) {
        if (feed.cursor() == planned_at_ && !forced_round_ && now < plan_again_) return;
        bool const forced_round = std::exchange(forced_round_, false);
        planned_at_ = feed.cursor();
        plan_again_ = instant::max();
        auto const& view = board_.draw(feed);
        fault_ = strategy_(view, plan_);
        if (!fault_.empty()) {
            tell(event{plan_refused{fault_}});
            plan_again_ = now + options_.heartbeat_interval;
            return;
        }
        if (plan_.unplaced != 0 && unplaced_ == 0) {
            tell(
                event{warning{{errc::capacity_exceeded,
                               fmt::format("{} schedules have no owner: no node has room for them", plan_.unplaced)}}});
        }
        unplaced_ = plan_.unplaced;
        bool const even_out =
            forced_round || (options_.auto_rebalance && imbalance(view) > options_.rebalance_threshold);
        for (auto const& m : plan_.moves) {
            auto const& s = feed.schedules().find(board_.id_of(m.schedule))->second;
            auto const to = view.nodes[m.to].incarnation;
            if (m.forced()) {
                placements_.push_back({board_.id_of(m.schedule), s.generation, s.owner, to, change_reason::placed});
            } else if (even_out) {
                moves_.push_back({board_.id_of(m.schedule), s.generation, s.owner, to, change_reason::rebalanced});
            }
        }
    }

    options options_;
    planner strategy_;
    fencing_token self_ = 0;
    fencing_token term_ = 0;
    op::watch watch_;
    instant heard_{};
    instant reap_from_{};
    bool reaped_ = false;
    bool forced_round_ = false;
    std::uint32_t unplaced_ = 0;  // as last planned
    std::string fault_;           // of the last plan
    std::uint64_t planned_at_ = ~std::uint64_t{0};
    instant plan_again_ = instant::max();
    std::vector<late<op::adopt::item, Defects>> placements_;
    std::vector<late<op::revoke::item, Defects>> moves_;
    planning_board<Defects> board_;
    plan plan_;
};

}  // namespace rota::detail
