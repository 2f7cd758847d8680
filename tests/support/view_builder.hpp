// Builds cluster_views for tests and benches of strategies from loads, capacities and a number of orphans; applies
// plans to get the next view; and checks what every plan must keep, whatever its strategy.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include <rota/cluster_view.hpp>

namespace rota_test {

struct node_spec {
    std::uint32_t load = 0;
    std::uint32_t capacity = rota::unlimited;
    std::uint32_t moving = 0;  ///< how many of its load are on their way to it; the first ones
};

/// Owns what a cluster_view points to. Nodes are "n00000", "n00001"…, schedules "s0000000"…, dealt out node by node,
/// orphans last. A view is valid until the builder is next changed.
class view_builder {
public:
    view_builder() = default;
    explicit view_builder(std::vector<node_spec> const& nodes, std::uint32_t orphans = 0) { reset(nodes, orphans); }
    view_builder(view_builder const&) = delete;
    view_builder& operator=(view_builder const&) = delete;

    void reset(std::vector<node_spec> const& nodes, std::uint32_t orphans = 0) {
        nodes_.resize(nodes.size());
        if (held_.size() < nodes.size()) held_.resize(nodes.size());
        schedules_.clear();
        orphans_.clear();
        for (std::uint32_t i = 0; i < nodes.size(); ++i) {
            held_[i].clear();
            nodes_[i].load = nodes[i].load;
            nodes_[i].capacity = nodes[i].capacity;
            for (std::uint32_t k = 0; k < nodes[i].load; ++k) held_[i].push_back(add(i, k < nodes[i].moving));
        }
        for (std::uint32_t k = 0; k < orphans; ++k) orphans_.push_back(add(rota::cluster_view::none, false));
        name();
    }

    [[nodiscard]] rota::cluster_view view() {
        for (std::uint32_t i = 0; i < nodes_.size(); ++i) {
            nodes_[i].load = static_cast<std::uint32_t>(held_[i].size());
            nodes_[i].weight = nodes_[i].load;
            nodes_[i].schedules = held_[i];
        }
        return {nodes_, schedules_, orphans_};
    }

    /// Carries out the plan's first `steps` steps. In the next view they have all arrived, or are `moving`.
    void apply(rota::plan const& plan, std::size_t steps, bool arrived = true) {
        bool placed = false;
        for (std::size_t i = 0; i < steps; ++i) {
            auto const& step = plan.moves[i];
            if (step.forced()) {
                placed = true;
            } else {
                std::erase(held_[step.from], step.schedule);
            }
            held_[step.to].push_back(step.schedule);
            schedules_[step.schedule].owner = step.to;
            schedules_[step.schedule].moving = !arrived;
        }
        if (placed) {
            std::erase_if(orphans_, [&](auto s) { return schedules_[s].owner != rota::cluster_view::none; });
        }
    }
    void apply(rota::plan const& plan) { apply(plan, plan.moves.size()); }

    /// The node is gone, and what it held is without an owner. Later nodes move up.
    void lose(std::uint32_t node) {
        for (auto const s : held_[node]) {
            schedules_[s].owner = rota::cluster_view::none;
            schedules_[s].moving = false;
            orphans_.push_back(s);
        }
        nodes_.erase(nodes_.begin() + node);
        held_.erase(held_.begin() + node);
        for (auto& s : schedules_) {
            if (s.owner != rota::cluster_view::none && s.owner > node) --s.owner;
        }
        name();
    }

    /// A node that holds nothing is added as the last one.
    void join(std::uint32_t capacity = rota::unlimited) {
        held_.resize(nodes_.size());
        held_.emplace_back();
        nodes_.emplace_back().capacity = capacity;
        name();
    }

private:
    std::uint32_t add(std::uint32_t owner, bool moving) {
        auto& made = schedules_.emplace_back();
        made.owner = owner;
        made.moving = moving;
        return static_cast<std::uint32_t>(schedules_.size() - 1);
    }

    // Names depend on the place only, so they are made once and kept.
    void name() {
        char text[24];
        while (node_names_.size() < nodes_.size()) {
            std::snprintf(text, sizeof text, "n%05zu", node_names_.size());
            node_names_.emplace_back(text);
        }
        while (schedule_names_.size() < schedules_.size()) {
            std::snprintf(text, sizeof text, "s%07zu", schedule_names_.size());
            schedule_names_.emplace_back(text);
        }
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
            nodes_[i].id = node_names_[i];
            nodes_[i].incarnation = i + 1;
        }
        for (std::size_t i = 0; i < schedules_.size(); ++i) schedules_[i].id = schedule_names_[i];
    }

    std::vector<rota::cluster_view::node> nodes_;
    std::vector<rota::cluster_view::schedule> schedules_;
    std::vector<std::uint32_t> orphans_;
    std::vector<std::vector<std::uint32_t>> held_;
    std::vector<std::string> node_names_;
    std::vector<std::string> schedule_names_;
};

/// What is wrong with the plan for this view; nullptr if every prefix of it can be carried out: placements first,
/// each schedule at most once, from where it is, none that is moving, no node over its capacity, the counts right.
[[nodiscard]] inline char const* plan_fault(rota::cluster_view const& view, rota::plan const& plan) {
    std::vector<std::uint32_t> load;
    for (auto const& node : view.nodes) load.push_back(node.load);
    std::vector<bool> touched(view.schedules.size());
    std::uint32_t forced = 0;
    for (auto const& step : plan.moves) {
        if (step.schedule >= view.schedules.size()) return "names a schedule that is not there";
        if (step.to >= view.nodes.size()) return "names a node that is not there";
        auto const& schedule = view.schedules[step.schedule];
        if (touched[step.schedule]) return "names a schedule twice";
        if (schedule.owner != step.from) return "takes a schedule from where it is not";
        if (schedule.moving) return "takes a schedule that is moving";
        if (step.from == step.to) return "moves a schedule to where it is";
        if (load[step.to] >= view.nodes[step.to].capacity) return "fills a node over its capacity";
        touched[step.schedule] = true;
        ++load[step.to];
        if (step.forced()) {
            if (forced++ != &step - plan.moves.data()) return "places an orphan after a move";
        } else {
            --load[step.from];
        }
    }
    if (plan.forced != forced || plan.forced + plan.voluntary != plan.moves.size()) return "miscounts its steps";
    if (plan.unplaced + forced != view.orphans.size()) return "miscounts the orphans without a place";
    return nullptr;
}

}  // namespace rota_test
