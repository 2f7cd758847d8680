// A few nodes on one store, step by step: node_core without an engine, so that what is pushed is heard when the test says
// so, and replies are lost where it says so.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <rota/detail/node_core.hpp>
#include <rota/detail/store.hpp>
#include <rota/strategy/least_moves.hpp>

#include "../catch.hpp"

namespace rota::test {

using namespace std::chrono_literals;
using namespace rota::detail;

struct shared_clock {
    instant const* at;
    [[nodiscard]] instant now() const { return *at; }
};

class core_group;

class core_node {
public:
    core_node(core_group& g, std::string id);

    node_core<>& operator*() { return core_; }
    node_core<>* operator->() { return &core_; }

    [[nodiscard]] std::string const& id() const { return core_.settings().node_id; }
    [[nodiscard]] bool leads() const;
    [[nodiscard]] instant leads_until() const { return belief_->leads_until(); }
    [[nodiscard]] bool has_news() const;

    /// One request of the lane; false: there is nothing to ask.
    bool step(bool reply_is_lost = false);
    void drive() {
        for (int i = 0; i < 100 && step(); ++i) {}
    }
    void join() {
        core_.want_join({});
        drive();
    }
    void tick() {
        core_.want_tick({});
        drive();
    }
    void hear();
    /// What the program asks for, beside the lane.
    result<reply> ask(operation const& request);
    op::outcome ask_one(operation const& request) { return std::get<op::outcomes>(*ask(request)).items.front(); }
    /// A new schedule, owned by this node from now on.
    void own_new(std::string const& id) {
        (void)ask(op::register_schedules{.items = {{.id = id}}});
        REQUIRE(ask_one(op::claim{.incarnation = core_.self().incarnation, .ids = {id}}).ok());
        core_.own_log_moved();
        drive();
    }
    void leave();
    void renounce();

    /// Who led, as it was told.
    std::vector<leadership_changed> told() {
        for (auto& e : core_.take_events()) {
            if (auto* held = std::get_if<leadership_changed>(&e)) told_.push_back(std::move(*held));
        }
        return told_;
    }

private:
    core_group& group_;
    connection_stamp from_;
    std::shared_ptr<belief_on<shared_clock>> belief_;
    node_core<> core_;
    std::vector<leadership_changed> told_;
};

class core_group {
public:
    instant now{1s};
    basic_store<> store;
    options defaults{.node_ttl = 6s, .leader_lease = 3s};

    core_node& add(std::string id) { return nodes_.emplace_back(*this, std::move(id)); }
    core_node& join(std::string id) {
        auto& made = add(std::move(id));
        made.join();
        return made;
    }
    result<reply> perform(operation const& request, connection_stamp from) {
        return store.perform(request, from, 1'000'000'000 + now.time_since_epoch().count());
    }
    std::string leader() const { return store.leader().incarnation == 0 ? "" : store.leader().id; }
    /// Each ticks, the last one last.
    void tick(std::initializer_list<core_node*> in_this_order) {
        for (auto* each : in_this_order) {
            now += 1ms;
            each->tick();
        }
    }
    planner strategy() const {
        return {&strategy_, [](void const* s, cluster_view const& view, plan& into) {
                    static_cast<least_moves const*>(s)->make_plan(view, into);
                }};
    }

    std::uint64_t sessions = 0;

private:
    least_moves strategy_;
    std::deque<core_node> nodes_;
};

inline core_node::core_node(core_group& g, std::string id)
    : group_{g},
      from_{++g.sessions, 1},
      belief_{std::make_shared<belief_on<shared_clock>>(shared_clock{&g.now})},
      core_{[&] {
                auto o = g.defaults;
                o.node_id = std::move(id);
                return o;
            }(),
            g.strategy(), belief_, g.sessions} {}

inline bool core_node::leads() const { return belief_->leads(group_.now); }
inline bool core_node::has_news() const { return group_.store.has_news_for(core_.what_to_listen_for()); }
inline bool core_node::step(bool reply_is_lost) {
    auto const request = core_.next(group_.now);
    if (!request) return false;
    auto const answer = group_.perform(*request, from_);
    core_.done(*request, reply_is_lost ? result<reply>{error{errc::outcome_unknown, "lost"}} : answer, group_.now,
               group_.now);
    return true;
}
inline void core_node::hear() { core_.hear(group_.store.news_for(core_.what_to_listen_for()), group_.now); }
inline result<reply> core_node::ask(operation const& request) { return group_.perform(request, from_); }
inline void core_node::leave() {
    core_.begin_leave();
    auto request = core_.leave_operation();
    REQUIRE(request);
    for (; request; request = core_.leave_operation()) {
        core_.finish_leave(group_.perform(*request, from_).has_value());
    }
}
inline void core_node::renounce() {
    auto const request = core_.begin_renounce(group_.now);
    REQUIRE(request);
    auto const answer = group_.perform(*request, from_);
    REQUIRE(answer);
    core_.done(*request, answer, group_.now, group_.now);
}

}  // namespace rota::test
