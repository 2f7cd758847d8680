// Leadership that is passed on: what the heir makes of it when it hears, step by step. (node_core on a store, without an
// engine: what is pushed is heard when the test says so.)
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

using namespace std::chrono_literals;
using namespace rota;
using namespace rota::detail;

namespace {

struct shared_clock {
    instant const* at;
    [[nodiscard]] instant now() const { return *at; }
};

class group;

class node {
public:
    node(group& g, std::string id);

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
    group& group_;
    connection_stamp from_;
    std::shared_ptr<belief_on<shared_clock>> belief_;
    node_core<> core_;
    std::vector<leadership_changed> told_;
};

class group {
public:
    instant now{1s};
    basic_store<> store;
    options defaults{.node_ttl = 6s, .leader_lease = 3s};

    node& add(std::string id) { return nodes_.emplace_back(*this, std::move(id)); }
    node& join(std::string id) {
        auto& made = add(std::move(id));
        made.join();
        return made;
    }
    result<reply> perform(operation const& request, connection_stamp from) {
        return store.perform(request, from, 1'000'000'000 + now.time_since_epoch().count());
    }
    std::string leader() const { return store.leader().incarnation == 0 ? "" : store.leader().id; }
    /// Each ticks, the last one last.
    void tick(std::initializer_list<node*> in_this_order) {
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
    std::deque<node> nodes_;
};

node::node(group& g, std::string id)
    : group_{g},
      from_{++g.sessions, 1},
      belief_{std::make_shared<belief_on<shared_clock>>(shared_clock{&g.now})},
      core_{[&] {
                auto o = g.defaults;
                o.node_id = std::move(id);
                return o;
            }(),
            g.strategy(), belief_, g.sessions} {}

bool node::leads() const { return belief_->leads(group_.now); }
bool node::has_news() const {
    auto const listens = core_.what_to_listen_for();
    return group_.store.version_of(listens.incarnation) > listens.version;
}
bool node::step(bool reply_is_lost) {
    auto const request = core_.next(group_.now);
    if (!request) return false;
    auto const answer = group_.perform(*request, from_);
    core_.done(*request, reply_is_lost ? result<reply>{error{errc::outcome_unknown, "lost"}} : answer, group_.now,
               group_.now);
    return true;
}
void node::hear() { core_.hear(group_.store.news_for(core_.what_to_listen_for()), group_.now); }
void node::leave() {
    core_.begin_leave();
    auto const request = core_.leave_operation();
    REQUIRE(request);
    core_.finish_leave(group_.perform(*request, from_).has_value());
}
void node::renounce() {
    auto const request = core_.begin_renounce(group_.now);
    REQUIRE(request);
    auto const answer = group_.perform(*request, from_);
    REQUIRE(answer);
    core_.done(*request, answer, group_.now, group_.now);
}

}  // namespace

TEST_CASE("the heir leads when it hears, and no longer than a lease after its last tick was sent") {
    group g;
    auto& a = g.join("a");
    auto& b = g.join("b");
    g.now += 500ms;
    g.tick({&b, &a});
    auto const last_tick = g.now - 1ms;
    g.now += 400ms;
    a.leave();
    CHECK_FALSE(a.leads());
    CHECK(g.leader() == "b");
    CHECK_FALSE(b.leads());
    g.now += 100ms;
    b.hear();
    CHECK(b.leads());
    CHECK(b.leads_until() <= last_tick + 3s - g.defaults.safety_margin);
    CHECK(b.leads_until() > last_tick + 3s - g.defaults.safety_margin - 100ms);
    REQUIRE(b.told().size() == 2);
    CHECK(b.told().back().leader.id == "b");
    CHECK(b.told().back().term == g.store.leader().term);
    CHECK(b.told().back().previous.id == "a");
    // Its next tick, at once, makes a whole lease of it.
    b.drive();
    CHECK(b.leads_until() > g.now + 2900ms - g.defaults.safety_margin);
    CHECK(b.told().size() == 2);
}

TEST_CASE("who hears too late does not believe, and learns with its next tick how it stands") {
    group g;
    auto& a = g.join("a");
    auto& b = g.join("b");
    g.tick({&b, &a});
    a.leave();
    g.now += 3100ms;
    b.hear();
    CHECK_FALSE(b.leads());
    b.drive();
    CHECK(b.leads());  // nobody else was there to take it
}

TEST_CASE("nothing is believed before the first answered tick: a join that was repeated may be older than it seems") {
    group g;
    auto& a = g.join("a");
    auto& b = g.add("b");
    b->want_join(g.now);
    REQUIRE(b.step(true));  // it is a member, and does not know
    g.now += 100ms;
    g.tick({&a});
    a.leave();
    CHECK(g.leader() == "b");
    g.now += 2900ms;
    REQUIRE(b.step());  // told now, with the lease nearly over
    REQUIRE(b->state() == standing::member);
    SECTION("pushed") { b.hear(); }
    SECTION("read, because somebody asked for it") {
        b->own_log_moved();
        auto const request = b->next(g.now);
        REQUIRE(request);
        CHECK(std::holds_alternative<op::tick>(*request));
    }
    CHECK_FALSE(b.leads());
}

TEST_CASE("an heir that goes before its first tick passes it on to who comes next") {
    group g;
    auto& a = g.join("a");
    auto& b = g.join("b");
    auto& c = g.join("c");
    g.tick({&c, &b, &a});
    SECTION("leaves") {
        a.leave();
        REQUIRE(g.leader() == "b");
        b.hear();
        b.leave();
    }
    SECTION("renounces") {
        a.renounce();
        REQUIRE(g.leader() == "b");
        b.hear();
        b.renounce();
        // It goes by whom the server heard of last, and a has only just renounced.
        if (g.leader() == "a") a.hear(), a.drive();
    }
    CHECK(g.leader() == "c");
    CHECK(c.has_news());
    c.hear();
    CHECK(c.leads());
}

TEST_CASE("who has just renounced declines in favour of who comes next") {
    group g;
    auto& a = g.join("a");
    auto& b = g.join("b");
    auto& c = g.join("c");
    g.tick({&c, &b, &a});
    a.renounce();
    REQUIRE(g.leader() == "b");
    b.hear();
    g.tick({&c, &a, &b});
    REQUIRE(b.leads());
    b.renounce();
    REQUIRE(g.leader() == "a");
    SECTION("when it hears") { a.hear(); }
    SECTION("when its tick says so") { g.now += 1s; }
    a.drive();
    CHECK_FALSE(a.leads());
    if (g.leader() == "b") b.hear(), b.drive();  // it has just renounced, too
    CHECK(g.leader() == "c");
    c.hear();
    CHECK(c.leads());
    CHECK_FALSE(b.leads());
}

TEST_CASE("what is over is told of before what begins") {
    group g;
    g.defaults.node_ttl = 20s;
    auto& b = g.join("b");
    auto lease = g.defaults;
    g.defaults.leader_lease = 15s;
    auto& c = g.join("c");
    g.tick({&c, &b});
    REQUIRE(b.leads());
    g.now += 4s;  // b stands still
    c.tick();
    REQUIRE(c.leads());
    c.tick();
    c.leave();
    REQUIRE(g.leader() == "b");
    b.hear();
    CHECK(b.leads());
    auto const told = b.told();
    REQUIRE(told.size() == 3);
    CHECK(told[0].leader.id == "b");
    CHECK(told[1].leader.id.empty());
    CHECK(told[1].previous.id == "b");
    CHECK(told[2].leader.id == "b");
    CHECK(told[2].term == g.store.leader().term);
}

TEST_CASE("a renounce that the server refuses leaves the leader what it is") {
    group g;
    auto& a = g.join("a");
    auto& b = g.join("b");
    g.tick({&b, &a});
    auto const request = a->begin_renounce(g.now);
    REQUIRE(request);
    CHECK_FALSE(a.leads());
    a->done(*request, error{errc::refused_by_server, "OOM"}, g.now, g.now);
    CHECK(g.leader() == "a");
    g.now += 1s;
    a.tick();
    CHECK(a.leads());
}
