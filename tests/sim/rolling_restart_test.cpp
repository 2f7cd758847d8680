// A rolling restart moves what it must, and not more; with a strategy that waits for who has left, nothing at all.
#include "../catch.hpp"

#include <rota/strategy/graced.hpp>
#include <rota/strategy/least_moves.hpp>

#include "../support/rolling_restart.hpp"

using namespace std::chrono_literals;
using rota_test::rolling_restart;

TEST_CASE("rolling restart: each schedule of a node that leaves is placed once, and as few as possible come back") {
    rolling_restart r{.nodes = 20, .schedules = 1000};
    r.run(rota::least_moves{});
    CHECK(r.settled);
    CHECK(r.orphaned == 1000);  // 20 times 50
    CHECK(r.placed == r.orphaned);
    CHECK(r.given_back == 0);
    CHECK(r.least == 20 * 50);
    CHECK(r.moved == r.least);
    CHECK(r.ratio() == 1);
}

TEST_CASE("rolling restart, graced: each node is given back what it had, and nothing moves") {
    rolling_restart r{.nodes = 20, .schedules = 1000};
    r.run(rota::graced<>{.grace = 30s});
    CHECK(r.settled);
    CHECK(r.given_back == 1000);
    CHECK(r.placed == 0);
    CHECK(r.moved == 0);
    CHECK(r.ratio() == 1);
}

TEST_CASE("rolling restart, graced too shortly: as if it were not, and not worse") {
    rolling_restart r{.nodes = 20, .schedules = 1000};
    r.run(rota::graced<>{.grace = 2s});
    CHECK(r.settled);
    CHECK(r.placed == r.orphaned);
    CHECK(r.moved == r.least);
}
