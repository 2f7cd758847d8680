// Builds cluster_views for tests and benches of strategies from loads, capacities and a number of orphans; applies
// plans to get the next view; and checks what every plan must keep, whatever its strategy.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rota/attributes.hpp>
#include <rota/cluster_view.hpp>

namespace rota_test {

struct node_spec {
    std::uint32_t load = 0;
    std::uint32_t capacity = rota::unlimited;
    std::uint32_t moving = 0;  ///< how many of its load are on their way to it; the first ones
    double weight = 1;         ///< of each of its load
    bool draining = false;
    std::string zone{};
    std::vector<std::string> labels{};
};

/// Owns what a cluster_view points to. Nodes are "n00000", "n00001"…, schedules "s0000000"…, dealt out node by node,
/// orphans last. A node keeps its name and incarnation when others are lost; one that joins gets the next ones. A view
/// is valid until the builder is next changed.
class view_builder {
public:
    view_builder() = default;
    explicit view_builder(std::vector<node_spec> const& nodes, std::uint32_t orphans = 0) { reset(nodes, orphans); }
    view_builder(view_builder const&) = delete;
    view_builder& operator=(view_builder const&) = delete;

    void reset(std::vector<node_spec> const& nodes, std::uint32_t orphans = 0) {
        nodes_.clear();
        more_.clear();
        joined_ = 0;
        if (held_.size() < nodes.size()) held_.resize(nodes.size());
        schedules_.clear();
        orphans_.clear();
        kinds_.clear();
        departures_.clear();
        rules_.clear();
        for (std::uint32_t i = 0; i < nodes.size(); ++i) {
            auto const& spec = nodes[i];
            add_node(spec.capacity);
            held_[i].clear();
            for (std::uint32_t k = 0; k < spec.load; ++k) {
                held_[i].push_back(add(i, k < spec.moving));
                schedules_.back().weight = spec.weight;
            }
            if (!spec.zone.empty()) set_zone(i, spec.zone);
            if (!spec.labels.empty()) set_labels(i, spec.labels);
            if (spec.draining) drain(i);
        }
        for (std::uint32_t k = 0; k < orphans; ++k) orphans_.push_back(add(rota::cluster_view::none, false));
        name();
        weighed_ = false;
    }

    [[nodiscard]] rota::cluster_view view() {
        for (std::uint32_t i = 0; i < nodes_.size(); ++i) {
            nodes_[i].load = static_cast<std::uint32_t>(held_[i].size());
            nodes_[i].schedules = held_[i];
            if (weighed_) continue;
            nodes_[i].weight = 0;
            for (auto const s : held_[i]) nodes_[i].weight += schedules_[s].weight;
        }
        weighed_ = true;
        rota::cluster_view made{nodes_, schedules_, orphans_};
        made.kinds = kinds_;
        made.departures = departures_;
        return made;
    }

    /// What a leader sees that has not read yet who owns what: loads and orphans only.
    [[nodiscard]] rota::cluster_view incomplete_view() {
        auto made = view();
        for (auto& node : nodes_) {
            node.schedules = {};
            node.weight = 0;
        }
        weighed_ = false;
        made.complete = false;
        return made;
    }

    /// To set any field that view() does not: all but load, weight and schedules of a node.
    [[nodiscard]] rota::cluster_view::node& node(std::uint32_t i) { return nodes_[i]; }
    [[nodiscard]] rota::cluster_view::schedule& schedule(std::uint32_t i) {
        weighed_ = false;
        return schedules_[i];
    }
    [[nodiscard]] rota::cluster_view::departure& departure(std::uint32_t i) { return departures_[i]; }
    [[nodiscard]] std::uint32_t schedule_count() const { return static_cast<std::uint32_t>(schedules_.size()); }
    [[nodiscard]] std::uint32_t node_count() const { return static_cast<std::uint32_t>(nodes_.size()); }

    void set_zone(std::uint32_t node, std::string zone) {
        more_[node]->zone = std::move(zone);
        nodes_[node].zone = more_[node]->zone;
    }
    void set_labels(std::uint32_t node, std::vector<std::string> labels) {
        more_[node]->labels = sorted(std::move(labels));
        nodes_[node].labels = more_[node]->labels;
    }
    void drain(std::uint32_t node) {
        nodes_[node].draining = true;
        more_[node]->capacity = std::exchange(nodes_[node].capacity, 0);
    }
    void undrain(std::uint32_t node) {
        nodes_[node].draining = false;
        nodes_[node].capacity = more_[node]->capacity;
    }

    /// A kind of schedules with these rules; its index is for schedule(i).kind.
    std::uint32_t add_kind(rota::placement_rules rules) {
        if (kinds_.empty()) kinds_.emplace_back();
        auto& kept = rules_.emplace_back(std::move(rules));
        kept.required = sorted(std::move(kept.required));
        kept.forbidden = sorted(std::move(kept.forbidden));
        kinds_.push_back({kept.pin, kept.group, kept.required, kept.forbidden});
        return static_cast<std::uint32_t>(kinds_.size() - 1);
    }

    /// Carries out the plan's first `steps` steps. In the next view they have all arrived, or are `moving`. A
    /// `generation` other than 0 is given to all of them.
    void apply(rota::plan const& plan, std::size_t steps, bool arrived = true, rota::fencing_token generation = 0) {
        bool placed = false;
        for (std::size_t i = 0; i < steps; ++i) {
            auto const& step = plan.moves[i];
            auto& schedule = schedules_[step.schedule];
            if (step.forced()) {
                placed = true;
                schedule.departed = rota::cluster_view::none;
            } else {
                std::erase(held_[step.from], step.schedule);
            }
            held_[step.to].push_back(step.schedule);
            schedule.owner = step.to;
            schedule.moving = !arrived;
            if (generation != 0) schedule.generation = generation;
        }
        if (placed) {
            std::erase_if(orphans_, [&](auto s) { return schedules_[s].owner != rota::cluster_view::none; });
        }
        weighed_ = false;
    }
    void apply(rota::plan const& plan) { apply(plan, plan.moves.size()); }

    /// The node is gone: it crashed, or `left`. What it held is without an owner, and knows its departure, the newest
    /// one. Later nodes move up.
    void lose(std::uint32_t node, bool left = false) {
        departures_.push_back({nodes_[node].id, nodes_[node].incarnation, left, {}});
        for (auto const s : held_[node]) {
            schedules_[s].owner = rota::cluster_view::none;
            schedules_[s].moving = false;
            schedules_[s].departed = static_cast<std::uint32_t>(departures_.size() - 1);
            orphans_.push_back(s);
        }
        nodes_.erase(nodes_.begin() + node);
        more_.erase(more_.begin() + node);
        held_.erase(held_.begin() + node);
        for (auto& s : schedules_) {
            if (s.owner != rota::cluster_view::none && s.owner > node) --s.owner;
        }
        weighed_ = false;
    }

    /// A node that holds nothing is added as the last one.
    void join(std::uint32_t capacity = rota::unlimited) {
        held_.resize(nodes_.size());
        held_.emplace_back();
        add_node(capacity);
        weighed_ = false;
    }

private:
    // What the view only points to, and what draining hides.
    struct node_store {
        std::string zone;
        std::vector<std::string> labels;
        std::uint32_t capacity = 0;
    };

    static std::vector<std::string> sorted(std::vector<std::string> labels) {
        std::sort(labels.begin(), labels.end());
        labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
        return labels;
    }

    void add_node(std::uint32_t capacity) {
        char text[24];
        if (node_names_.size() == joined_) {
            std::snprintf(text, sizeof text, "n%05zu", node_names_.size());
            node_names_.emplace_back(text);
        }
        auto& made = nodes_.emplace_back();
        made.id = node_names_[joined_];
        made.incarnation = ++joined_;
        made.capacity = capacity;
        more_.push_back(std::make_unique<node_store>());
    }

    std::uint32_t add(std::uint32_t owner, bool moving) {
        auto& made = schedules_.emplace_back();
        made.owner = owner;
        made.moving = moving;
        return static_cast<std::uint32_t>(schedules_.size() - 1);
    }

    // Names of schedules depend on the place only, so they are made once and kept.
    void name() {
        char text[24];
        while (schedule_names_.size() < schedules_.size()) {
            std::snprintf(text, sizeof text, "s%07zu", schedule_names_.size());
            schedule_names_.emplace_back(text);
        }
        for (std::size_t i = 0; i < schedules_.size(); ++i) schedules_[i].id = schedule_names_[i];
    }

    std::vector<rota::cluster_view::node> nodes_;
    std::vector<std::unique_ptr<node_store>> more_;  // of each node; stays where views point to
    std::vector<rota::cluster_view::schedule> schedules_;
    std::vector<std::uint32_t> orphans_;
    std::vector<rota::cluster_view::kind> kinds_;
    std::vector<rota::cluster_view::departure> departures_;
    std::deque<rota::placement_rules> rules_;  // of each kind but the first
    std::vector<std::vector<std::uint32_t>> held_;
    std::deque<std::string> node_names_;
    std::deque<std::string> schedule_names_;
    std::size_t joined_ = 0;
    bool weighed_ = false;
};

/// What is wrong with the plan for this view; nullptr if every prefix of it can be carried out: placements first, then
/// the moves that have to be, each schedule at most once, from where it is, none that may not move, no node over its
/// capacity, the counts right.
[[nodiscard]] inline char const* plan_fault(rota::cluster_view const& view, rota::plan const& plan) {
    std::vector<std::uint32_t> load;
    for (auto const& node : view.nodes) load.push_back(node.load);
    std::vector<bool> touched(view.schedules.size());
    std::uint32_t forced = 0;
    bool evening_out = false;
    for (auto const& step : plan.moves) {
        if (step.schedule >= view.schedules.size()) return "names a schedule that is not there";
        if (step.to >= view.nodes.size()) return "names a node that is not there";
        auto const& schedule = view.schedules[step.schedule];
        if (touched[step.schedule]) return "names a schedule twice";
        if (schedule.owner != step.from) return "takes a schedule from where it is not";
        if (!step.forced() && !view.may_move(step.schedule))
            return "takes a schedule that is moving, or has just moved";
        if (step.from == step.to) return "moves a schedule to where it is";
        if (load[step.to] >= view.nodes[step.to].capacity) return "fills a node over its capacity";
        touched[step.schedule] = true;
        ++load[step.to];
        if (step.forced()) {
            if (forced++ != &step - plan.moves.data()) return "places an orphan after a move";
        } else {
            if (step.required() && evening_out) return "evens out before a move that has to be";
            evening_out = !step.required();
            --load[step.from];
        }
    }
    if (plan.forced != forced || plan.forced + plan.voluntary != plan.moves.size()) return "miscounts its steps";
    if (plan.unplaced + forced != view.orphans.size()) return "miscounts the orphans without a place";
    for (auto const& one : plan.stuck) {
        if (one.schedule >= view.schedules.size()) return "is stuck with a schedule that is not there";
        if (view.schedules[one.schedule].owner != rota::cluster_view::none) return "is stuck with what is no orphan";
        if (touched[one.schedule]) return "is stuck with what it places, or twice with one";
        touched[one.schedule] = true;
    }
    return nullptr;
}

}  // namespace rota_test
