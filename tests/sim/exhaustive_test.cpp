// The sources of choices, and the search that tries all of them in a small scope.
#include <rota/sim/exhaustive.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "../catch.hpp"

namespace sim = rota::sim;
using namespace std::chrono_literals;

namespace {

std::vector<std::uint64_t> asked(sim::choices c, std::vector<std::uint64_t> const& of) {
    std::vector<std::uint64_t> got;
    for (auto n : of) got.push_back(c.choose(n));
    return got;
}

/// Breaks if a process joins twice: its first join landed and the reply did not. Only a fault at one point does that.
class joins_once final : public sim::invariant {
public:
    std::string_view name() const override { return "joins_once"; }
    void performed(sim::step const& s) override {
        if (!std::holds_alternative<rota::op::join>(s.request)) return;
        if (!seen_.insert(s.process).second) fail("process " + std::to_string(s.process) + " joined twice");
    }

private:
    std::set<std::uint32_t> seen_;
};

constexpr auto few_kinds =
    sim::bit(sim::fault_kind::crash) | sim::bit(sim::fault_kind::lose_reply) | sim::bit(sim::fault_kind::cut_replies);

}  // namespace

TEST_CASE("A seed gives the same choices on every machine") {
    CHECK(sim::mixed(0) == 0xe220a8397b1dcdaf);  // the first output of splitmix64 for the state 0
    sim::choices a{42}, b{42}, other{43};
    std::vector<std::uint64_t> of(100, 1000);
    auto const first = asked(a, of);
    CHECK(first == asked(b, of));
    CHECK(first != asked(other, of));
    CHECK(std::vector(first.begin(), first.begin() + 4) == std::vector<std::uint64_t>{413, 160, 331, 326});
}

TEST_CASE("A list and bytes are used up in order; then all is dull") {
    CHECK(asked(sim::choices::replayed({3, 1, 7}), {4, 2, 5, 9}) == std::vector<std::uint64_t>{3, 1, 2, 0});
    CHECK(asked(sim::choices::replayed({3}), {1, 0, 4}) == std::vector<std::uint64_t>{0, 0, 3});  // n < 2 asks nobody

    std::array<std::uint8_t, 4> const bytes{0x05, 0x01, 0x02, 0xff};
    CHECK(asked(sim::choices::from_bytes(bytes), {10, 1000, 2, 1000}) ==
          std::vector<std::uint64_t>{5, 0x0102 % 1000, 1, 0});
    CHECK(asked(sim::choices::from_bytes({}), {10, 1000000}) == std::vector<std::uint64_t>{0, 0});
    CHECK_FALSE(sim::choices::from_bytes({}).one_in(2));
    CHECK(sim::choices::replayed({}).between(5ms, 9ms) == 5ms);
}

TEST_CASE("Mere bits are no decision: they differ, and use nothing up") {
    constexpr auto many = std::uint64_t{1} << 32;
    auto const zeros = asked(sim::choices::replayed({}), {many, many, many});
    CHECK(std::set(zeros.begin(), zeros.end()).size() == 3);
    CHECK(zeros == asked(sim::choices::from_bytes({}), {many, many, many}));
    CHECK(asked(sim::choices::replayed({2}), {many, 5})[1] == 2);
    sim::every_history all;
    sim::choices c{all};
    CHECK(c.choose(many) == zeros[0]);
    CHECK_FALSE(all.next());
}

TEST_CASE("Every history is seen once, also where what can be chosen depends on what was") {
    std::vector<std::vector<std::uint64_t>> seen;
    sim::every_history all;
    do {
        sim::choices c{all};
        std::vector<std::uint64_t> history{c.choose(3)};
        for (std::uint64_t i = 0; i < history.front(); ++i) history.push_back(c.choose(2 + i));
        seen.push_back(history);
    } while (all.next());
    using list = std::vector<std::vector<std::uint64_t>>;
    CHECK(seen == list{{0}, {1, 0}, {1, 1}, {2, 0, 0}, {2, 0, 1}, {2, 0, 2}, {2, 1, 0}, {2, 1, 1}, {2, 1, 2}});
    CHECK(all.seen() == seen.size());
}

TEST_CASE("One fault at every point: rota stands all of them, and their number is what it must be") {
    auto const began = std::chrono::steady_clock::now();
    auto const all = sim::explore({});
    if (all.failure) FAIL(all.failure->broken.what());
    CHECK(all.complete);
    CHECK(all.points > 30);
    CHECK(all.faults > 30);
    CHECK(all.histories == 1 + all.points * all.faults);
    auto const took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    WARN(all.histories << " histories: none, or one of " << all.faults << " faults at one of " << all.points
                       << " points, in " << took << " s");
}

TEST_CASE("What only one fault at one point breaks is found, shrunk, and replayed") {
    sim::exhaustive_settings s{
        .kinds = few_kinds, .window = 2s, .setup = {"joins once", [](sim::world& w) { w.check<joins_once>(); }}};
    auto const all = sim::explore(s);
    REQUIRE(all.failure);
    CHECK_FALSE(all.complete);
    CHECK(all.failure->broken.invariant == "joins_once");
    CHECK(all.failure->run.world.faults.size() == 1);
    CHECK(all.failure->setup == "joins once");
    CHECK(sim::failure_of(all.failure->run, false, s.setup));
    CHECK_FALSE(sim::failure_of(all.failure->run));
}

TEST_CASE("Two faults: each pair in order, none twice") {
    sim::exhaustive_settings s{.faults = 2, .kinds = sim::bit(sim::fault_kind::lose_reply), .window = 300ms};
    std::set<std::string> plans;
    std::uint64_t runs = 0, pairs = 0;
    s.setup.prepare = [&](sim::world& w) {
        auto const& plan = w.settings().faults;
        ++runs;
        if (plan.size() == 2) ++pairs;
        plans.insert(sim::to_text(plan));
        REQUIRE(plan.size() <= 2);
        if (plan.size() == 2) CHECK(plan[0].at <= plan[1].at);
    };
    auto const all = sim::explore(s);
    CHECK(all.complete);
    CHECK(all.histories == runs);
    CHECK(plans.size() == runs);
    CHECK(pairs > all.points * all.faults);

    s.most_histories = 10;
    auto const some = sim::explore(s);
    CHECK_FALSE(some.complete);
    CHECK(some.histories == 10);
}

// The long one: run it by its tag.
TEST_CASE("Two faults at every pair of points", "[.][exhaustive]") {
    sim::exhaustive_settings s{
        .faults = 2,
        .kinds = few_kinds | sim::bit(sim::fault_kind::pause) | sim::bit(sim::fault_kind::late_request),
        .window = 2500ms,
        .lasting = {4500ms}};
    auto const all = sim::explore(s);
    if (all.failure) FAIL(all.failure->broken.what());
    CHECK(all.complete);
    WARN(all.histories << " histories of up to two faults");
}
