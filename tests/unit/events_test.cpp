// Events: each change once and in order, in the scope asked for; and the same scenario twice tells the same, byte for
// byte. That gains and losses alternate is looked at by scenario::check in every test of every file.
#include "../support/effort.hpp"
#include "../support/scenario.hpp"

#include <optional>

namespace events_test {

using namespace std::chrono_literals;
using rota::event_scope;
using rota::membership_change;
using rota::ownership_changed;
using rota_test::ids;
using rota_test::member;
using rota_test::scenario;
using rota_test::schedules;

namespace {

// What a subscriber of the whole group knows, from its events alone.
struct picture {
    std::map<rota::fencing_token, std::string> alive;
    std::map<std::string, rota::fencing_token> owner;  // 0: nobody
    std::vector<std::string> faults;

    explicit picture(member const& m, std::size_t from = 0) {
        auto const all = m.record.events();
        for (std::size_t i = from; i < all.size(); ++i) {
            auto const& e = all[i];
            auto fault = [&](char const* what) { faults.push_back(rota::describe(e) + ": " + what); };
            if (auto* c = std::get_if<rota::membership_changed>(&e)) {
                if (c->change == membership_change::joined) {
                    if (!alive.emplace(c->subject.incarnation, c->subject.id).second) fault("joined twice");
                } else if (alive.erase(c->subject.incarnation) == 0) {
                    fault("gone twice");
                }
            } else if (auto* s = std::get_if<rota::schedule_changed>(&e)) {
                if (s->registered && !owner.emplace(s->schedule, 0).second) fault("registered twice");
                if (!s->registered && owner.erase(s->schedule) == 0) fault("unregistered twice");
            } else if (auto* o = std::get_if<ownership_changed>(&e)) {
                auto const known = owner.find(o->schedule);
                if (known == owner.end()) {
                    fault("not registered");
                } else if (known->second != o->from.incarnation) {
                    fault("from another owner than the last one");
                }
                owner[o->schedule] = o->to.incarnation;
            }
        }
    }
};

rota::options everything() { return {.event_scope = event_scope::group}; }

void check_picture(scenario& group, picture const& seen, member& of) {
    for (auto& f : seen.faults) FAIL_CHECK(f);
    std::map<rota::fencing_token, std::string> alive;
    auto const nodes = of->nodes().value();
    for (auto& n : nodes) {
        if (n.alive) alive.emplace(n.node.incarnation, n.node.id);
    }
    CHECK(seen.alive == alive);
    for (auto& [id, owner] : seen.owner) {
        auto* m = group.owner_of(id);
        CAPTURE(id);
        if (owner == 0) {
            CHECK(m == nullptr);
        } else {
            REQUIRE(m != nullptr);
            CHECK(m->told<rota::node_joined>().back().node.incarnation == owner);
        }
    }
    CHECK(seen.owner.size() == group.owned() + of->orphaned().value().size());
}

// Everything that can happen, to see that it is told.
void a_busy_day(scenario& group, unsigned seed) {
    auto random = [&] { return (seed = seed * 1103515245u + 12345u) >> 16; };
    auto& a = group[0];
    auto& b = group[1];
    auto& c = group[2];
    (void)a->register_schedules(schedules("s", 9));
    group.pass(2s);
    for (int i = 0; i < 12; ++i) {
        auto& m = group[random() % 3];
        switch (random() % 6) {
            case 0: (void)m->renounce_leadership(); break;
            case 1: (void)m->register_schedules({{.id = "t" + std::to_string(i)}}); break;
            case 2: (void)m->unregister_schedules({"s00" + std::to_string(random() % 9)}); break;
            case 3: (void)m->transfer("s00" + std::to_string(random() % 9), group[random() % 3].name); break;
            case 4: m.wire.lose_replies(random() % 5); break;
            case 5: (void)m->claim({"s00" + std::to_string(random() % 9)}); break;
        }
        group.pass(rota::microseconds{(random() % 1500) * 1000});
    }
    b.cut();
    group.pass(4s);
    b.mend();
    group.pass(3s);
    (void)c->leave();
    group.pass(2s);
    (void)c->join();
    group.pass(4s);
}

}  // namespace

TEST_CASE("the same scenario twice tells the same, byte for byte") {
    auto const seed = GENERATE(range(1u, 7u));
    CAPTURE(seed);
    std::string texts[2][3];
    for (auto& text : texts) {
        scenario group;
        group.join("a");
        group.join("b");
        group.join("c");
        a_busy_day(group, seed);
        for (std::size_t i = 0; i < 3; ++i) text[i] = group[i].record.text();
        group.check_told();
    }
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(texts[0][i] == texts[1][i]);
        CHECK(texts[0][i].size() > 200);
    }
}

TEST_CASE("scope group: one who is there from the first is told every change, once and in order") {
    auto const seed = GENERATE(range(10u, 22u));
    CAPTURE(seed);
    scenario group;
    auto& watcher = group.join("watcher", everything());
    auto const from = watcher.record.events().size();
    // The watcher is left alone: its own troubles are another test's.
    group.join("b");
    group.join("c");
    group.join("d");
    auto random = [state = seed]() mutable { return (state = state * 1103515245u + 12345u) >> 16; };
    (void)group[1]->register_schedules(schedules("s", 9));
    group.pass(2s);
    for (int i = 0; i < 15; ++i) {
        auto& m = group[1 + random() % 3];
        switch (random() % 7) {
            case 0: (void)m->leave(); break;
            case 1: (void)m->join(); break;
            case 2: (void)m->unregister_schedules({"s00" + std::to_string(random() % 9)}); break;
            case 3: (void)m->transfer("s00" + std::to_string(random() % 9), group[random() % 4].name); break;
            case 4: m.wire.lose_replies(random() % 5); break;
            case 5: (void)m->register_schedules({{.id = "s00" + std::to_string(random() % 9)}}); break;
            case 6: random() % 2 ? m.cut() : m.mend(); break;
        }
        group.pass(rota::microseconds{(random() % 2500) * 1000});
    }
    for (std::size_t i = 1; i < 4; ++i) {
        group[i].mend();
        (void)group[i]->join();
    }
    group.pass(8s);

    picture seen{watcher, from};
    seen.alive.emplace(watcher.told<rota::node_joined>().front().node.incarnation, "watcher");
    check_picture(group, seen, watcher);
    CHECK(watcher.record.count<rota::events_gap>() == 0);
}

TEST_CASE("scope group: what a node came to own before it had read how the group stands, it is told all the same") {
    scenario group;
    auto& a = group.join("a");
    REQUIRE(a->register_schedules(schedules("s", 6)).all());
    group.pass(3s);
    REQUIRE(a.owned().size() == 6);
    std::vector<ownership_changed> told;
    auto const heard = [&](rota::event const& e) {
        if (std::holds_alternative<rota::node_joined>(e)) {  // it has asked for nothing else yet
            for (auto const& id : ids("s", 2)) CHECK(a->transfer(id, "late"));
        }
        if (auto const* const change = std::get_if<ownership_changed>(&e)) told.push_back(*change);
    };
    rota::options settings = everything();
    settings.node_id = "late";
    rota::basic_coordinator late{settings, rota::memory_transport{group.store}, a.clock, heard};
    REQUIRE(late.join());
    REQUIRE(late.owned().size() >= 2);
    for (auto const& s : late.owned()) {
        INFO(s.id);
        auto const of_it = [&](auto const& c) { return c.schedule == s.id && c.to.id == "late"; };
        CHECK(std::count_if(told.begin(), told.end(), of_it) == 1);
    }
}

TEST_CASE("scope group: one that lost its membership is told of a gap, and then of what is different") {
    scenario group;
    group.join("a");
    auto& watcher = group.join("watcher", everything());
    REQUIRE(group[0]->register_schedules(schedules("s", 6)).all());
    group.pass(3s);
    REQUIRE(watcher.owned().size() == 3);
    watcher.cut();
    group.pass(5s);  // it is taken for dead; a owns all
    REQUIRE(group[0]->unregister_schedules({"s000"}).all());
    REQUIRE(group[0]->register_schedules({{.id = "t"}}).all());
    group.join("late");
    group.pass(2s);
    watcher.mend();
    group.pass(6s);

    REQUIRE(watcher.record.count<rota::node_lost>() == 1);
    CHECK(watcher.record.count<rota::events_gap>() >= 1);
    auto const changes = watcher.told<rota::schedule_changed>();
    auto told = [&](std::string const& id, bool registered) {
        return std::any_of(changes.begin(), changes.end(),
                           [&](auto& c) { return c.schedule == id && c.registered == registered; });
    };
    CHECK(told("s000", false));
    CHECK(told("t", true));
    auto const members = watcher.told<rota::membership_changed>();
    CHECK(std::any_of(members.begin(), members.end(), [](auto& c) { return c.subject.id == "late"; }));
}

TEST_CASE("scope group: after more than the log keeps, a gap and the differences") {
    scenario group;
    auto& a = group.join("a");
    auto& watcher = group.join("watcher", rota::options{.node_ttl = 24h * 7, .event_scope = event_scope::group});
    REQUIRE(a->register_schedules(schedules("s", 4)).all());
    group.pass(3s);
    watcher.pause();
    for (std::size_t i = 0; i < rota::op::event_log_length / 2 + 10; ++i) {
        REQUIRE(a->register_schedules({{.id = "x"}}).all());
        REQUIRE(a->unregister_schedules({"x"}).all());
    }
    REQUIRE(a->register_schedules({{.id = "y"}}).all());
    watcher.wake_up();
    group.pass(3s);
    CHECK(watcher.record.count<rota::events_gap>() == 1);
    std::size_t x = 0, y = 0;
    for (auto& c : watcher.told<rota::schedule_changed>()) {
        x += c.schedule == "x" ? 1 : 0;
        y += c.schedule == "y" ? 1 : 0;
    }
    CHECK(y == 1);
    CHECK(x == 0);
    group.check();
}

TEST_CASE("scope own: after more than the node's log keeps, a gap, and belief is right again") {
    rota::options o{.node_ttl = 24h, .leader_lease = 24h, .auto_rebalance = false};
    scenario group{o};
    auto& a = group.join("a");
    auto& b = group.join("b");
    REQUIRE(a->register_schedules(schedules("s", 10)).all());
    group.pass(3s);
    REQUIRE(b.owned().size() == 5);
    b.pause();
    auto const mine = b.owned().front();
    for (std::size_t i = 0; i < rota::op::change_log_length + 10; ++i) {
        REQUIRE(a->register_schedules({{.id = fmt::format("x{:05}", 2 * i)}, {.id = fmt::format("x{:05}", 2 * i + 1)}})
                    .all());
        REQUIRE(a->tick());
    }
    REQUIRE(a->unregister_schedules({mine}).all());
    b.wake_up();
    group.pass(3s);
    CHECK(b.record.count<rota::events_gap>() == 1);
    CHECK_FALSE(b.owns(mine));
    CHECK(b.owned().size() == 4 + rota::op::change_log_length + 10);
    CHECK(b->try_lock(b.owned().back(), 5s));
    group.check_told();
}

TEST_CASE("scope own tells nothing of other nodes' schedules") {
    scenario group;
    group.join("a");
    auto& b = group.join("b");
    REQUIRE(group[0]->register_schedules(schedules("s", 10)).all());
    group.pass(3s);
    for (auto& e : b.told<ownership_changed>()) CHECK((e.to.id == "b" || e.from.id == "b"));
    CHECK(b.record.count<rota::membership_changed>() == 0);
    CHECK(b.record.count<rota::schedule_changed>() == 0);
}

TEST_CASE("the leader is told who comes and goes, whatever its scope") {
    scenario group;
    auto& a = group.join("a");
    group.pass(1s);
    auto& b = group.join("b");
    auto& c = group.join("c");
    group.pass(2s);
    b.crash();
    REQUIRE(c->leave());
    group.pass(6s);
    std::vector<std::pair<std::string, membership_change>> told;
    for (auto& e : a.told<rota::membership_changed>()) told.emplace_back(e.subject.id, e.change);
    CHECK(told == std::vector<std::pair<std::string, membership_change>>{{"b", membership_change::joined},
                                                                         {"c", membership_change::joined},
                                                                         {"c", membership_change::left},
                                                                         {"b", membership_change::died}});
}

// ---------------------------------------------------------------- lost replies, everywhere

namespace {

// A day in which every kind of request is made; `trouble` is called before each step with its number.
template <typename Trouble>
void every_request(scenario& group, Trouble&& trouble) {
    auto& a = group.add("a");
    auto& b = group.add("b");
    int step = 0;
    auto next = [&] { trouble(step++, a, b); };
    auto join = [&](member& m) {
        for (int attempt = 0; attempt < 5 && !m->join(); ++attempt) group.pass(50ms);
    };
    next(), join(a);
    next(), join(b);
    next(), (void)a->register_schedules(schedules("s", 6));
    next(), group.pass(1s);
    next(), group.pass(1s);
    next(), (void)b->register_schedules({{.id = "claimed"}});
    next(), (void)b->claim({"claimed"});
    next();
    {
        auto locks = b->try_lock_each(b.owned(), 5s);
        for (auto& l : locks) {
            if (l) group.keep(std::move(*l));
        }
        next(), (void)b->extend_each({}, 5s);
    }
    next(), (void)a->transfer(a.owned().empty() ? "s000" : a.owned().front(), "b");
    next(), (void)b->transfer(b.owned().empty() ? "s001" : b.owned().front(), "a");
    next(), group.pass(1s);
    next(), (void)b->unregister_schedules({"claimed"});
    next(), (void)a->renounce_leadership();
    next(), group.pass(2s);
    next(), (void)a->propose();
    next(), (void)b->leave();
    next(), join(b);
    next(), group.pass(7s);
}

}  // namespace

TEST_CASE("replies are lost, any number at any point: no double grant, each change told once, and all converges") {
    auto const lost = GENERATE(1u, 2u, 3u, 4u, 7u);
    auto const who = GENERATE(0, 1);
    for (int at = 0; at < 19; at += rota_test::sanitized ? 6 : 1) {
        CAPTURE(lost, who, at);
        scenario group;
        every_request(group, [&](int step, member& a, member& b) {
            if (step == at) (who == 0 ? a : b).wire.lose_replies(lost);
        });
        group[0].wire.lose_replies(0);
        group[1].wire.lose_replies(0);
        for (std::size_t i = 0; i < 2; ++i) REQUIRE(group[i]->join());
        // Where every attempt was in vain, nothing was done, or it was: making it good does no harm.
        REQUIRE(group[0]->register_schedules(schedules("s", 6)).all());
        (void)group[0]->unregister_schedules({"claimed"});
        group.pass(12s, 20ms);

        CHECK(group.leader() != nullptr);
        std::vector<std::string> all;
        for (std::size_t i = 0; i < 2; ++i) {
            auto const own = group[i].owned();
            CHECK(own.size() == 3);
            all.insert(all.end(), own.begin(), own.end());
        }
        std::sort(all.begin(), all.end());
        CHECK(all == ids("s", 6));
        CHECK(group[0]->nodes().value().size() == 2);
        CHECK(group[0]->orphaned().value().empty());
        group.check_told();
        for (auto& id : all) CHECK(group.owner_of(id)->node->try_lock(id, 5s));
    }
}

TEST_CASE("contact is lost for a while, at any point: the same") {
    auto const away = GENERATE(200ms, 1200ms, 2900ms, 4500ms);
    auto const who = GENERATE(0, 1);
    for (int at = 0; at < 19; at += rota_test::sanitized ? 6 : 1) {
        CAPTURE(away.count(), who, at);
        scenario group;
        std::optional<rota::microseconds> until;
        every_request(group, [&](int step, member& a, member& b) {
            auto& m = who == 0 ? a : b;
            if (step == at) {
                m.cut();
                until = group.store.now() + away;
            }
            if (until && group.store.now() >= *until) m.mend();
        });
        if (until) group.pass(std::max(rota::microseconds{}, *until - group.store.now()));
        for (std::size_t i = 0; i < 2; ++i) {
            group[i].mend();
            REQUIRE(group[i]->join());
        }
        // What was never registered, or never unregistered, is made good.
        REQUIRE(group[0]->register_schedules(schedules("s", 6)).all());
        (void)group[0]->unregister_schedules({"claimed"});
        group.pass(12s, 20ms);

        CHECK(group.leader() != nullptr);
        CHECK(group[0].owned().size() == 3);
        CHECK(group[1].owned().size() == 3);
        CHECK(group[0]->nodes().value().size() == 2);
        group.check_told();
    }
}

}  // namespace events_test
