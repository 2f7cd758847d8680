// What the leader does beyond holding its lease: takes dead nodes out, places orphans, evens out the load. A to-do
// list, not a script: next() looks at what is known and says what to ask the server for; replies change what is known.
//
// Every step names the term it acts under, and every item what it expects to find, so the server refuses whatever a
// leader of yesterday, or one with a picture of yesterday, sends.
#pragma once

#include <deque>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../cluster_view.hpp"
#include "../events.hpp"
#include "../options.hpp"
#include "../strategy/balance.hpp"
#include "audit_machine.hpp"
#include "belief.hpp"
#include "find.hpp"
#include "group_feed.hpp"
#include "late.hpp"

namespace rota::detail {

/// The strategy, type-erased: planning is rare, compiling is not.
struct planner {
    void const* strategy = nullptr;
    void (*make)(void const* strategy, cluster_view const&, plan&) = nullptr;

    /// Plans, and says why the plan must not be applied; empty if it may. `clock`: called for the time before and after;
    /// a plan that took longer than `budget` comes too late, as the group has gone on meanwhile.
    template <typename Clock, typename T = void>
    [[nodiscard]] std::string operator()(late<cluster_view, T> const& view, late<plan, T>& into, Clock&& clock,
                                         microseconds budget) const;
};

/// Why `p` must not be applied to `view`, or an empty string. A strategy is somebody else's code: it is not trusted.
template <typename T = void>
[[nodiscard]] std::string fault_of(late<plan, T> const& p, late<cluster_view, T> const& view) {
    for (auto const& stuck : p.stuck) {
        if (stuck.schedule >= view.schedules.size() || view.schedules[stuck.schedule].id.empty()) {
            return fmt::format("the plan finds no place for schedule {} of {}", stuck.schedule, view.schedules.size());
        }
    }
    if (p.moves.empty()) return {};
    std::vector<late<std::uint32_t, T>> load;
    load.reserve(view.nodes.size());
    for (auto const& n : view.nodes) load.push_back(n.load);
    std::vector<late<bool, T>> taken(view.schedules.size());
    bool moving_by_now = false;
    for (auto const& m : p.moves) {
        auto const id = [&] { return in_words(std::string{view.schedules[m.schedule].id}); };
        if (m.schedule >= view.schedules.size())
            return fmt::format("the plan names schedule {} of {}", m.schedule, view.schedules.size());
        if (m.to >= view.nodes.size())
            return fmt::format("the plan moves {} to node {} of {}", id(), m.to, view.nodes.size());
        auto const& s = view.schedules[m.schedule];
        if (s.id.empty()) return fmt::format("the plan names schedule {}, which is void", m.schedule);
        if (taken[m.schedule]) return fmt::format("the plan moves {} twice", id());
        taken[m.schedule] = true;
        if (s.owner != m.from) return fmt::format("the plan moves {} from a node that does not own it", id());
        if (s.moving) return fmt::format("the plan moves {}, which is on its way already", id());
        if (m.from == m.to) return fmt::format("the plan moves {} to where it is", id());
        if (m.forced() && moving_by_now) return fmt::format("the plan places {} after it has begun to move", id());
        if (!m.forced()) {
            moving_by_now = true;
            --load[m.from];
        }
        if (++load[m.to] > view.nodes[m.to].capacity) {
            return fmt::format("the plan gives node {} more than its capacity of {}",
                               in_words(std::string{view.nodes[m.to].id}), view.nodes[m.to].capacity);
        }
    }
    return {};
}

template <typename Clock, typename T>
std::string planner::operator()(late<cluster_view, T> const& view, late<plan, T>& into, Clock&& clock,
                                microseconds budget) const {
    into.clear();
    if (view.nodes.empty()) {
        into.unplaced = static_cast<std::uint32_t>(view.orphans.size());
        return {};
    }
    std::string fault;
    try {
        auto const began = clock();
        make(strategy, view, into);
        if (auto const took = clock() - began; took > budget) {
            fault = fmt::format("the strategy took {}, more than its planning_budget of {}", in_words(took),
                                in_words(budget));
        }
    } catch (std::exception const& e) {
        fault = fmt::format("the strategy threw: {}", e.what());
    } catch (...) {
        fault = "the strategy threw what is no std::exception";
    }
    if (fault.empty()) fault = fault_of(into, view);
    if (!fault.empty()) into.clear();
    // The steps are what counts, not what is said of them.
    into.forced = 0;
    for (auto const& m : into.moves) into.forced += m.forced() ? 1 : 0;
    into.voluntary = static_cast<std::uint32_t>(into.moves.size()) - into.forced;
    return fault;
}

/// What a plan's `stuck` says, in words.
[[nodiscard]] constexpr char const* in_words(no_place why) noexcept {
    switch (why) {
        case no_place::no_room: return "no node has room for it";
        case no_place::pin_absent: return "the node that it is pinned to is not there";
        case no_place::labels_missing: return "no node has the labels for it";
        case no_place::rules_conflict: return "its rules exclude each other";
        case no_place::group_apart: return "every node for it has another of its group";
        case no_place::waits:
            return "it waits: for its node to return, for room that is being made, or for the whole picture";
    }
    return "";
}

/// How far the farthest node is off, as a fraction of the mean: in the strategy's own measure, or else by count.
template <typename T = void>
[[nodiscard]] double imbalance_of(late<plan, T> const& p, late<cluster_view, T> const& view) {
    return p.imbalance >= 0 ? p.imbalance : imbalance(view);  // (also for a NaN)
}

template <typename Defects = sound>
class leader_machine {
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;

public:
    leader_machine(options const& o, planner strategy) : options_{o}, strategy_{strategy} {}

    void start(fencing_token self, fencing_token term, instant now) {
        *this = leader_machine{options_, strategy_};
        self_ = self;
        term_ = term;
        audit_.start(now, options_.audit_interval, options_.heartbeat_interval / 8);
    }
    void stop() { *this = leader_machine{options_, strategy_}; }
    [[nodiscard]] bool active() const { return term_ != 0; }

    /// What the leader's own tick tells. `reap_from`: nobody is taken for dead before (the server was silent).
    void on_tick(op::watch watch, instant received, instant reap_from) {
        watch_ = std::move(watch);
        free_ = watch_.dead;
        heard_ = received;
        reap_from_ = reap_from;
        reaped_ = dead_reaped_ = false;
        if (!watch_.dead.empty()) plan_again_ = received;  // their schedules may have become adoptable just now
    }

    /// Even out the load now, whatever the threshold says.
    void rebalance_now() { forced_round_ = true; }
    [[nodiscard]] plan const& last_plan() const { return plan_; }
    /// Why the last plan was refused; empty: it was not.
    [[nodiscard]] std::string const& last_fault() const { return fault_; }

    /// When the next node can be taken for dead, or its schedules be had: a tick then says which.
    [[nodiscard]] instant tick_due() const {
        if (!active()) return instant::max();
        if (reaped_ && watch_.expired.size() + watch_.dead.size() >= op::max_batch) {
            return instant::min();  // there were more than go into one reap, or into the lists
        }
        auto const next = std::min(watch_.next_expiry, watch_.next_dead);
        return next == microseconds::max() ? instant::max() : heard_ + next + microseconds{1000};
    }

    /// When next() has something to say although nothing was heard: nodes to take out once that is allowed again, a plan
    /// that met a state it was not made for, or that said when to plan again, a page of the audit.
    [[nodiscard]] instant work_due() const {
        if (!active()) return instant::max();
        if (!placements_.empty() || !moves_.empty()) return instant::min();
        auto const due = std::min(plan_again_, audit_.due());
        return !watch_.expired.empty() && !reaped_ ? std::min(due, reap_from_) : due;
    }

    /// `server_time`: about what time it is at the server; `clock`: this node's, for how long planning takes.
    template <typename Tell, typename Clock>
    [[nodiscard]] std::optional<operation> next(group_feed<Defects>& feed, instant now, fencing_token seen,
                                                fencing_token server_time, Tell&& tell, Clock&& clock) {
        if (!active()) return std::nullopt;
        // Who is to be taken for dead is known without a picture.
        if (auto expired = who_expired(now); !expired.empty()) return reap(std::move(expired));
        if (!feed.current()) {
            if (placements_.empty()) place_early(feed, server_time, tell, clock);
            if (Defects::has(defect::half_read_moves) && !moves_.empty()) return revoke();
            return placements_.empty() ? feed.next() : adopt(seen);
        }
        if (auto done = who_is_gone(feed.picture()); !done.empty()) return reap(std::move(done));
        // What is left of a plan that did not know of an order, or of rules, is not carried out.
        if (terms_ != feed.picture().terms()) {
            terms_ = feed.picture().terms();
            placements_.clear();
            moves_.clear();
            planned_at_ = ~std::uint64_t{0};
        }
        // Moves are begun a page at a time. Maintenance ends them, and what has lost its owner meanwhile goes first.
        bool const urgent = feed.picture().orphan_count() > left_unowned_;
        if (is_quiet(feed) || (urgent && placements_.empty())) moves_.clear();
        if (placements_.empty() && moves_.empty()) draw_up_plan(feed, now, server_time, tell, clock);
        if (!placements_.empty()) return adopt(seen);
        if (!moves_.empty()) return revoke();
        return audit_.next(feed, now, self_, term_, seen);
    }

    void on(op::reap const&, op::outcomes const& reply) {
        reaped_ = true;
        for (auto const& out : reply.items) free_.push_back(out.token);
    }

    /// The server refuses a request as a whole, and will do so again: it is not repeated before the next plan or audit.
    void on_refused(operation const& request, instant now) {
        if (std::holds_alternative<op::adopt>(request)) placements_.clear();
        if (std::holds_alternative<op::revoke>(request)) moves_.clear();
        if (std::holds_alternative<op::mend>(request) || std::holds_alternative<op::scan_page>(request)) {
            audit_.give_up(now);
        }
        plan_again_ = std::min(plan_again_, now + options_.heartbeat_interval);
    }

    void on(op::adopt const& request, op::outcomes const& reply, instant now) {
        settle(placements_, request.items, reply, now);
    }
    void on(op::revoke const& request, op::outcomes const& reply, instant now) {
        settle(moves_, request.items, reply, now);
    }
    [[nodiscard]] audit_machine<Defects>& audit() { return audit_; }

private:
    // Mostly less than a request may hold: these write most, 10 to 20 us for each item, and others wait meanwhile. Where
    // more than `many` wait for their node, they wait longest, and go in as few requests as can be.
    static constexpr std::size_t few_at_once = 48;
    static constexpr std::size_t many = 8192;

    template <typename Item>
    std::vector<Item> first_of(std::deque<Item> const& queue) const {
        auto const count = std::min(queue.size(), at_once_);
        return {queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(count)};
    }
    operation reap(std::vector<fencing_token> nodes) const {
        return op::reap{.incarnation = self_, .term = term_, .nodes = std::move(nodes)};
    }
    operation adopt(fencing_token seen) const {
        return op::adopt{.incarnation = self_, .term = term_, .items = first_of(placements_), .seen = seen};
    }
    operation revoke() const {
        return op::revoke{.incarnation = self_,
                          .term = term_,
                          .items = first_of(moves_),
                          .handoff_deadline = options_.handoff_deadline};
    }

    // Items that were refused are dropped: the events say what is true now, and the next plan is made from that.
    template <typename Item>
    void settle(std::deque<Item>& queue, std::vector<Item> const& sent, op::outcomes const& reply, instant now) {
        queue.erase(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(std::min(sent.size(), queue.size())));
        for (std::size_t i = 0; i < reply.items.size() && i < sent.size(); ++i) {
            if (reply.items[i].ok()) continue;
            // Room was seen where there is none: the server may count wrongly.
            if (reply.items[i].code == errc::capacity_exceeded) audit_.doubt(sent[i].to);
            auto const pause = Defects::has(defect::plan_at_once) ? microseconds{} : options_.heartbeat_interval / 2;
            plan_again_ = std::min(plan_again_, now + pause);
            early_ = false;
        }
    }

    std::vector<fencing_token> who_expired(instant now) const {
        if (reaped_ || now < reap_from_) return {};
        return watch_.expired;
    }
    // Dead ones that own nothing more (those that do are forgotten with their last schedule).
    std::vector<fencing_token> who_is_gone(group_picture<Defects> const& picture) {
        std::vector<fencing_token> gone;
        if (std::exchange(dead_reaped_, true)) return gone;
        auto const before = std::exchange(gone_, {});
        for (auto incarnation : watch_.dead) {
            if (picture.node_of(incarnation).owned != 0) continue;
            gone.push_back(incarnation);
            // It should have been forgotten by now, unless the server counts wrongly.
            if (find_where(before, [&](auto g) { return g == incarnation; }) != before.end()) audit_.doubt(incarnation);
        }
        gone_ = gone;
        return gone;
    }

    // While the leader still reads who owns the rest, it places what has no owner: that needs the nodes and their loads
    // alone. Nothing but placements is taken from such a plan, and each is checked by the server for itself; the first
    // that is refused shows that the picture is not what it was, and ends this.
    template <typename Tell, typename Clock>
    void place_early(group_feed<Defects>& feed, fencing_token server_time, Tell&& tell, Clock&& clock) {
        bool const news = feed.picture().orphan_count() != left_early_ || Defects::has(defect::half_read_moves);
        if (!feed.orphans_known() || !early_ || !news) return;
        auto const view = feed.picture().view(server_time);
        fault_ = strategy_(view, plan_, clock, budget());
        left_early_ = view.orphans.size() - plan_.forced;
        if (!fault_.empty()) {
            early_ = false;
            tell(event{plan_refused{fault_}});
            return;
        }
        take_up(feed.picture(), view,
                [&](move const& m) { return m.forced() || (Defects::has(defect::half_read_moves) && !m.forced()); });
    }

    template <typename Tell, typename Clock>
    void draw_up_plan(group_feed<Defects>& feed, instant now, fencing_token server_time, Tell&& tell, Clock&& clock) {
        if (feed.cursor() == planned_at_ && !forced_round_ && now < plan_again_) return;
        bool const forced_round = std::exchange(forced_round_, false);
        planned_at_ = feed.cursor();
        plan_again_ = instant::max();
        auto const view = feed.picture().view(server_time);
        fault_ = strategy_(view, plan_, clock, budget());
        if (!fault_.empty()) {
            tell(event{plan_refused{fault_}});
            plan_again_ = clock() + options_.heartbeat_interval;
            return;
        }
        if (plan_.revisit != microseconds::max()) {
            auto const soonest = std::max(options_.heartbeat_interval / 8, microseconds{1000});
            plan_again_ = now + std::min<microseconds>(std::max(plan_.revisit, soonest), std::chrono::hours{1});
        }
        tell_unplaced(view, now, tell);
        left_unowned_ = view.orphans.size() - plan_.forced;
        bool const quiet = is_quiet(feed);
        bool const even_out =
            forced_round || (options_.auto_rebalance && imbalance_of(plan_, view) > options_.rebalance_threshold);
        take_up(feed.picture(), view, [&](move const& m) {
            return m.forced() || (!quiet && (even_out || m.required() || view.nodes[m.from].draining));
        });
    }

    template <typename Wanted>
    void take_up(group_picture<Defects> const& picture, cluster_view const& view, Wanted&& wanted) {
        for (auto const i : by_node_told(view.nodes.size())) {
            auto const& m = plan_.moves[i];
            if (!wanted(m)) continue;
            auto const s = picture.record_of(m.schedule);
            auto const to = view.nodes[m.to].incarnation;
            auto const why = m.reason();
            if (m.forced()) {
                if (!may_be_given(picture, s.owner)) continue;
                placements_.push_back({picture.id_of(m.schedule), s.generation, s.owner, to, why});
            } else {
                bool const open =
                    plan_.interchangeable && (why == change_reason::rebalanced || why == change_reason::overfull);
                moves_.push_back({picture.id_of(m.schedule), s.generation, s.owner, to, why, open});
            }
        }
        at_once_ = std::max(placements_.size(), moves_.size()) > many ? op::max_batch : few_at_once;
    }

    // A node that was superseded may believe until its deadline: nobody can have what it had before.
    bool may_be_given(group_picture<Defects> const& picture, fencing_token owner) const {
        if (owner == 0 || !picture.is_listed(owner) || picture.node_of(owner).gone_at != 0) return true;
        if (Defects::has(defect::adopt_live_owner)) return true;
        return find_where(free_, [&](auto f) { return f == owner; }) != free_.end();
    }

    // The plan's steps in the order to take them up in: those that the same nodes are told of stand together. A request
    // then concerns few nodes, which takes the server half the time, and each node is woken once and not by every
    // request. Moves of a plan that is particular about which schedule moves stay in its order.
    [[nodiscard]] std::vector<std::uint32_t> by_node_told(std::size_t nodes) const {
        std::vector<std::uint32_t> order(plan_.moves.size());
        for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
        auto sorted = order;
        auto const sort = [&](auto const& key) {  // stable, by counting
            std::vector<std::uint32_t> place(nodes + 2);
            for (auto const& m : plan_.moves) ++place[key(m) + 1];
            for (std::size_t n = 1; n <= nodes; ++n) place[n] += place[n - 1];
            for (auto const i : order) sorted[place[key(plan_.moves[i])]++] = i;
            order.swap(sorted);
        };
        sort([&](move const& m) { return m.forced() || plan_.interchangeable ? m.to : nodes; });
        sort([&](move const& m) { return m.forced() ? m.to : plan_.interchangeable ? m.from : nodes; });
        return order;
    }

    // Said when it begins, and when it becomes more, but not with every one more.
    template <typename Tell>
    void tell_unplaced(cluster_view const& view, instant now, Tell&& tell) {
        std::uint32_t waiting = 0;
        std::string names;
        std::uint32_t named = 0;
        for (auto const& s : plan_.stuck) {
            if (s.why == no_place::waits) ++waiting;
            if (s.why == no_place::waits || s.why == no_place::no_room || s.schedule >= view.schedules.size()) continue;
            if (++named > 3) continue;
            names += fmt::format("; {}: {}", in_words(std::string{view.schedules[s.schedule].id}), in_words(s.why));
        }
        auto const unplaced = plan_.unplaced > waiting ? plan_.unplaced - waiting : 0;
        bool const news = unplaced > unplaced_ && (unplaced_ == 0 || now >= tell_unplaced_again_);
        if (unplaced < unplaced_) unplaced_ = unplaced;
        if (!news) return;
        unplaced_ = unplaced;
        tell_unplaced_again_ = now + std::chrono::seconds{10};
        auto const* const why = named >= unplaced ? "" : ": no node has room for them";
        auto const code = named >= unplaced ? errc::conflict : errc::capacity_exceeded;
        tell(event{warning{
            {code, fmt::format("{} schedules have no owner{}{}{}", unplaced, why, names, named > 3 ? "; ..." : "")}}});
    }

    [[nodiscard]] microseconds budget() const { return options_.planning_budget; }
    [[nodiscard]] static bool is_quiet(group_feed<Defects> const& feed) {
        return feed.picture().maintenance() && !Defects::has(defect::maintenance_ignored);
    }

    options options_;
    planner strategy_;
    fencing_token self_ = 0;
    fencing_token term_ = 0;
    op::watch watch_;
    instant heard_{};
    instant reap_from_{};
    bool reaped_ = false;       // those that had expired by the last tick
    bool dead_reaped_ = false;  // ... that were dead and done
    bool early_ = true;         // may place before all is read
    std::size_t left_early_ = 0;
    std::size_t left_unowned_ = 0;     // orphans, once the last plan's placements are made
    std::vector<fencing_token> free_;  // dead nodes whose schedules may be had, as the last tick and reap told
    std::vector<fencing_token> gone_;  // as last reaped for owning nothing
    bool forced_round_ = false;
    std::uint32_t unplaced_ = 0;  // as last told
    instant tell_unplaced_again_{};
    std::string fault_;  // of the last plan
    std::uint64_t planned_at_ = ~std::uint64_t{0};
    std::uint64_t terms_ = 0;  // of the picture that it was made from
    instant plan_again_ = instant::max();
    // Taken from the front: there may be a million.
    std::deque<late<op::adopt::item, Defects>> placements_;
    std::deque<late<op::revoke::item, Defects>> moves_;
    std::size_t at_once_ = few_at_once;
    audit_machine<Defects> audit_;
    plan plan_;
};

}  // namespace rota::detail
