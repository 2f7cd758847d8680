// Counts the rare turns of a run (sometimes.hpp) from what an audience is told. Those that nobody is told of, the
// processes and the network count themselves.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "node.hpp"
#include "sometimes.hpp"
#include "stage.hpp"

namespace rota::sim {

class spotter {
public:
    explicit spotter(sometimes& seen) : seen_{seen} {}

    /// `by`: whose request it was; null: the simulation's own.
    void performed(step const& s, store_model const& store, process const* by) {
        if (!s.answer) {
            auto const* const plan = std::get_if<op::revoke>(&s.request);
            if (plan && plan->as_of != 0 && s.answer.error().code == errc::conflict) {
                seen_.saw(sight::plan_of_another_state_refused);
            }
            if (s.answer.error().code == errc::not_leader) seen_.saw(sight::leader_lost_in_mid_plan);
            if (s.answer.error().code == errc::conflict && !std::holds_alternative<op::join>(s.request)) {
                seen_.saw(sight::stale_connection_refused);
            }
            return;
        }
        if (auto const* t = std::get_if<op::ticked>(&*s.answer)) {
            if (t->status == op::tick_status::data_lost) {
                seen_.saw(sight::data_loss_noticed);
                term_ = 0;
            }
            if (t->status == op::tick_status::ok && t->term != term_) leader_changed(*t, store);
            return;
        }
        bool const goes =
            std::holds_alternative<op::leave>(s.request) || std::holds_alternative<op::renounce>(s.request);
        if (goes && store.leader().incarnation == 0) how_ = sight::takeover_by_vacancy;
        if (goes && store.leader().incarnation != 0 && store.leader().term != term_)
            how_ = sight::takeover_by_succession;
        auto const* r = std::get_if<op::outcomes>(&*s.answer);
        if (!r) return;
        bool const acquires = std::holds_alternative<op::acquire_locks>(s.request);
        bool const extends = std::holds_alternative<op::extend_locks>(s.request);
        bool const acknowledges = std::holds_alternative<op::acknowledge>(s.request);
        bool const adopts = std::holds_alternative<op::adopt>(s.request);
        bool const plans = adopts || std::holds_alternative<op::revoke>(s.request);
        for (std::size_t i = 0; i < r->items.size(); ++i) {
            auto const code = r->items[i].code;
            if (r->items[i].ok()) {
                if (acknowledges) seen_.saw(sight::handoff_done);
                if (acknowledges && !std::get<op::acknowledge>(s.request).items[i].instead_of.empty()) {
                    seen_.saw(sight::idle_one_went_instead);
                }
                if (adopts && std::get<op::adopt>(s.request).items[i].from != 0) seen_.saw(sight::orphans_adopted);
                if (adopts && by && !by->knew().complete) seen_.saw(sight::placed_before_all_was_read);
                if (auto const* moves = std::get_if<op::revoke>(&s.request)) {
                    auto const why = moves->items[i].reason;
                    if (why == change_reason::drained) seen_.saw(sight::moved_from_drained_node);
                    if (why == change_reason::overfull) seen_.saw(sight::moved_from_overfull_node);
                }
                continue;
            }
            if (acquires && code == errc::locked_by_other) seen_.saw(sight::lock_refused);
            if (acquires && code == errc::not_owner) seen_.saw(sight::lock_refused_to_stranger);
            if (extends && code == errc::not_owner) seen_.saw(sight::handoff_deadline_passed);
            if (code == errc::lock_lost) seen_.saw(sight::stale_extend_refused);
            if (plans) seen_.saw(sight::plan_item_refused);
            if (acknowledges && code == errc::locked_by_other) seen_.saw(sight::handoff_waited_for_run);
            if (acknowledges && (code == errc::unknown_node || code == errc::capacity_exceeded)) {
                seen_.saw(sight::handoff_to_nobody);
            }
        }
    }
    void told(process const& p, event const& e) {
        if (auto const* lost = std::get_if<node_lost>(&e)) {
            if (!lost->data_lost) lost_.emplace(p.number(), true);
        } else if (std::holds_alternative<node_joined>(e)) {
            if (lost_.erase(p.number()) > 0) seen_.saw(sight::reaped_and_rejoined);
        } else if (std::holds_alternative<node_fenced>(e)) {
            seen_.saw(sight::fenced_by_twin);
        } else if (std::holds_alternative<node_resumed>(e)) {
            seen_.saw(sight::suspended_and_resumed);
        } else if (std::holds_alternative<events_gap>(e)) {
            seen_.saw(sight::resync_after_gap);
        }
    }
    // The resource that rejects what comes under a lower token than the highest it has seen.
    void effect(run const& r) {
        auto& highest = highest_[{r.kind, r.name}];
        if (r.token < highest) seen_.saw(sight::stale_token_refused);
        if (r.token > highest) highest = r.token;
    }
    void process_ended(process const& p) { lost_.erase(p.number()); }

private:
    void leader_changed(op::ticked const& t, store_model const& store) {
        if (t.term == 0) return;
        for (auto const& [id, s] : store.schedules()) {
            if (s.moving_to == 0) continue;
            seen_.saw(sight::leader_lost_in_mid_plan);
            break;
        }
        if (term_ != 0) seen_.saw(how_);
        how_ = sight::takeover_by_expiry;
        term_ = t.term;
    }

    sometimes& seen_;
    fencing_token term_ = 0;
    sight how_ = sight::takeover_by_expiry;  // the next leader comes to lead
    std::map<std::uint32_t, bool> lost_;
    std::map<std::pair<op::lock_kind, std::string>, fencing_token> highest_;
};

}  // namespace rota::sim
