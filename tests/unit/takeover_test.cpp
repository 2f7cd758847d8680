// A new leader: what it does before it has read the whole group, and that it makes no mistake of a half-read picture.
#include "../support/effort.hpp"
#include "../support/scenario.hpp"

namespace takeover_test {

using namespace std::chrono_literals;
using rota_test::ids;
using rota_test::member;
using rota_test::scenario;
using rota_test::schedules;

namespace {
constexpr std::size_t many = rota_test::optimised && !rota_test::sanitized ? 1000 : 300;  // more than a page
}

TEST_CASE("a new leader places what the dead one had before it has read who owns the rest") {
    scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    auto& c = group.join("c");
    REQUIRE(a->register_schedules(schedules("s", 3 * many)).all());
    CHECK(group.until([&] { return group.owned() == 3 * many; }, 20s, 10ms) <= 20s);
    group.pass(3s, 50ms);
    REQUIRE(a->is_leader());
    bool early = false;
    bool moved_early = false;
    for (auto* m : {&b, &c}) {
        m->strategy.use([&](rota::cluster_view const& view, rota::plan& into) {
            rota::least_moves{}.make_plan(view, into);
            if (view.complete) return;
            early = true;
            CHECK(view.orphans.size() == many);
            CHECK(view.nodes.size() == 2);
            for (auto& n : view.nodes) CHECK(n.load == many);
            moved_early = moved_early || into.voluntary > 0;
        });
    }
    a.crash();
    CHECK(group.until([&] { return b.owned().size() + c.owned().size() == 3 * many; }, 10s, 10ms) <= 4s);
    CHECK(early);
    CHECK_FALSE(moved_early);
    group.pass(5s, 50ms);
    CHECK(b.owned().size() == 3 * many / 2);
    CHECK(c.owned().size() == 3 * many / 2);
    group.check_told();
}

TEST_CASE("nothing is moved by a plan for a half-read picture, whatever the strategy says") {
    scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    auto& c = group.join("c");
    REQUIRE(a->register_schedules(schedules("s", 900)).all());
    CHECK(group.until([&] { return group.owned() == 900; }, 20s, 10ms) <= 20s);
    group.pass(3s, 50ms);
    bool tried = false;
    for (auto* m : {&b, &c}) {
        m->strategy.use([&](rota::cluster_view const& view, rota::plan& into) {
            into.clear();
            if (view.complete) return;
            // What it has read so far: orphans to the first node; and away with whatever counts at the first.
            for (auto const s : view.orphans) into.moves.push_back({.schedule = s, .to = 0});
            for (auto const s : view.nodes[0].schedules) {
                into.moves.push_back({.schedule = s, .from = 0, .to = 1});
                tried = true;
            }
        });
    }
    a.crash();
    group.pass(8s);
    (void)tried;
    CHECK(b.owned().size() + c.owned().size() == 900);
    for (auto* m : {&b, &c}) {
        CHECK(m->told<rota::handoff_requested>().empty());
        for (auto& e : m->told<rota::ownership_changed>()) CHECK(e.reason != rota::change_reason::rebalanced);
    }
}

TEST_CASE("a strategy that would rather wait for the whole picture may") {
    scenario group;
    auto& a = group.join("a");
    auto& b = group.join("b");
    REQUIRE(a->register_schedules(schedules("s", 500)).all());
    group.pass(5s, 50ms);
    bool waited = false;
    b.strategy.use([&](rota::cluster_view const& view, rota::plan& into) {
        into.clear();
        if (view.complete) {
            rota::least_moves{}.make_plan(view, into);
        } else {
            waited = true;
            into.unplaced = static_cast<std::uint32_t>(view.orphans.size());
        }
    });
    a.crash();
    group.pass(6s);
    CHECK(waited);
    CHECK(b.owned().size() == 500);
}

TEST_CASE("a tick of the leader costs one request however many schedules there are, and a change a few") {
    scenario group;
    auto& a = group.join("a");
    group.join("b");
    REQUIRE(a->register_schedules(schedules("s", 2 * many)).all());
    group.pass(10s, 50ms);
    auto before = a.wire.requests();
    group.pass(10s, 50ms);
    CHECK(a.wire.requests() - before <= 11);
    before = a.wire.requests();
    REQUIRE(a->register_schedules({{.id = "new"}}).all());
    group.pass(500ms);
    CHECK(a.wire.requests() - before <= 8);
}

}  // namespace takeover_test
