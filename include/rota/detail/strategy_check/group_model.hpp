// A group as check_strategy imagines it: what a cluster_view shows of it, what becomes of it when a plan is carried out,
// and what it looks like in words, for a fault to say where it was seen.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "../../attributes.hpp"
#include "../../cluster_view.hpp"

namespace rota::detail {

struct group_model {
    struct node {
        std::string id{};
        std::uint32_t capacity = unlimited;
        node_attributes has{};  // zone and labels
        bool draining = false;
        bool reports = false;
        double reported = -1;  // what it reports if it does not report report_scale x its weight
    };
    struct schedule {
        std::string id{};
        fencing_token generation = 0;
        double weight = 1;
        std::uint32_t owner = cluster_view::none;
        std::uint32_t kind = 0;
        std::uint32_t departed = cluster_view::none;
        bool moving = false;
        bool registered = true;  // false: a void entry of the view
    };
    struct departure {
        std::string id{};
        bool left = false;
        microseconds ago{};
    };

    std::vector<node> nodes{};
    std::vector<schedule> schedules{};
    std::vector<placement_rules> kinds{};  // labels sorted; the first one has no rules
    std::vector<departure> departures{};
    fencing_token now = 0;
    fencing_token settled_before = std::numeric_limits<fencing_token>::max();
    std::vector<fencing_token> recent_moves{};
    double report_scale = 1;
    bool backwards = false;  // lists what has no particular order from its end
    bool complete = true;

    void pass(microseconds time) {
        now += static_cast<fencing_token>(time.count());
        for (auto& one : departures) one.ago += time;
        constexpr fencing_token hour = 3'600'000'000;
        while (!recent_moves.empty() && recent_moves.front() + hour < now) recent_moves.erase(recent_moves.begin());
    }

    /// What is on its way gets there. Returns whether anything was.
    bool arrive() {
        bool any = false;
        for (auto& one : schedules) any = std::exchange(one.moving, false) || any;
        return any;
    }

    /// Carries out a plan that is sound. What moves is on its way until arrive().
    void apply(plan const& p) {
        for (auto const& step : p.moves) {
            auto& one = schedules[step.schedule];
            one.owner = step.to;
            one.departed = cluster_view::none;
            one.generation = now;
            if (step.forced()) continue;
            one.moving = true;
            recent_moves.push_back(now);
        }
    }

    [[nodiscard]] std::string in_words() const {
        std::string text = fmt::format("{} nodes:", nodes.size());
        for (std::uint32_t i = 0; i < nodes.size(); ++i) {
            auto const& n = nodes[i];
            text += fmt::format(" {}", n.id);
            text += n.capacity == unlimited ? std::string{} : fmt::format("/{}", n.capacity);
            if (n.draining) text += " draining";
            if (!n.has.zone.empty()) text += fmt::format(" zone {}", n.has.zone);
            for (auto const& label : n.has.labels) text += fmt::format(" +{}", label);
            text += " [" + names_of(i) + "]";
        }
        text += "; orphans: [" + names_of(cluster_view::none) + "]";
        return text + (complete ? "" : "; incomplete");
    }

private:
    [[nodiscard]] std::string names_of(std::uint32_t owner) const {
        constexpr std::size_t most = 12;
        std::string text;
        std::size_t count = 0;
        for (auto const& one : schedules) {
            if (!one.registered || one.owner != owner) continue;
            if (++count > most) continue;
            text += fmt::format("{}{}", text.empty() ? "" : " ", one.id);
            if (one.weight != 1) text += fmt::format(":{}", one.weight);
            if (one.moving) text += " (moving)";
        }
        return count > most ? text + fmt::format(" and {} more", count - most) : text;
    }
};

/// What a strategy is shown of a model; made anew, so at other addresses, each time.
class model_view {
public:
    explicit model_view(group_model const& m) : rules_{m.kinds}, recent_{m.recent_moves}, held_(m.nodes.size()) {
        texts_.reserve(m.schedules.size());
        for (std::uint32_t s = 0; s < m.schedules.size(); ++s) {
            auto const& one = m.schedules[s];
            texts_.push_back(one.id);
            schedules_.push_back(
                {texts_.back(), one.generation, one.weight, one.owner, one.kind, one.departed, one.moving});
            if (one.registered) (one.owner == cluster_view::none ? orphans_ : held_[one.owner]).push_back(s);
        }
        nodes_from_.reserve(m.nodes.size());
        for (std::uint32_t i = 0; i < m.nodes.size(); ++i) {
            auto const& from = nodes_from_.emplace_back(m.nodes[i]);
            if (m.backwards) turn_round(held_[i]);
            cluster_view::node n{.id = from.id, .incarnation = i + 1};
            n.load = static_cast<std::uint32_t>(held_[i].size());
            n.capacity = from.draining ? 0 : from.capacity;
            for (auto const s : held_[i]) n.weight += schedules_[s].weight;
            n.reported = from.reports ? m.report_scale * n.weight : from.reported;
            n.zone = from.has.zone;
            n.labels = from.has.labels;
            n.draining = from.draining;
            if (m.complete) {
                n.schedules = held_[i];
            } else {
                n.weight = 0;
            }
            nodes_.push_back(n);
        }
        if (m.backwards) turn_round(orphans_);
        for (auto const& k : rules_) kinds_.push_back({k.pin, k.group, k.required, k.forbidden});
        departed_.reserve(m.departures.size());
        for (auto const& d : m.departures) {
            departures_.push_back({departed_.emplace_back(d.id), 1'000'000 + departures_.size(), d.left, d.ago});
        }
        view_ = {nodes_, schedules_, orphans_, kinds_, departures_, m.now, m.settled_before, recent_, m.complete};
    }
    model_view(model_view const&) = delete;
    model_view& operator=(model_view const&) = delete;

    [[nodiscard]] cluster_view const& view() const { return view_; }

private:
    static void turn_round(std::vector<std::uint32_t>& list) {
        for (std::size_t i = 0; i + i + 1 < list.size(); ++i) std::swap(list[i], list[list.size() - 1 - i]);
    }

    std::vector<std::string> texts_;
    std::vector<group_model::node> nodes_from_;
    std::vector<std::string> departed_;
    std::vector<placement_rules> rules_;
    std::vector<fencing_token> recent_;
    std::vector<std::vector<std::uint32_t>> held_;
    std::vector<std::uint32_t> orphans_;
    std::vector<cluster_view::node> nodes_;
    std::vector<cluster_view::schedule> schedules_;
    std::vector<cluster_view::kind> kinds_;
    std::vector<cluster_view::departure> departures_;
    cluster_view view_;
};

}  // namespace rota::detail
