// validate(): every option alone and all of them together; each refusal names the field, its value and the rule. Plus
// what a healthy group must look like under every setting that is not refused.
#include <rota/options.hpp>

#include <cmath>
#include <limits>

#include "../support/scenario.hpp"

namespace options_test {

using namespace std::chrono_literals;
using rota::errc;
using rota::microseconds;
using rota::options;
using rota_test::contains;
using rota_test::scenario;

namespace {

options good() { return {.node_id = "n"}; }

template <typename Change>
options with(Change&& change) {
    auto o = good();
    change(o);
    return o;
}

// The refusal, checked to name the field, its value and the rule; the coordinator says the same.
void refused(options const& o, std::string const& field, std::string const& value, std::string const& rule) {
    auto const r = rota::validate(o);
    CAPTURE(field, value, rule);
    REQUIRE_FALSE(r);
    CHECK(r.error() == errc::invalid_argument);
    CHECK_THAT(r.error().detail, contains(field) && contains(value) && contains(rule));

    rota::memory_transport wire{rota::memory_store{rota::manual_time}};
    rota::basic_coordinator node{o, wire, rota::manual_clock{}};
    auto const joined = node.join();
    REQUIRE_FALSE(joined);
    CHECK(joined.error().detail == r.error().detail);
    CHECK_FALSE(node.register_schedules({{.id = "s"}}).all());
    CHECK(wire.requests() == 0);
}

void accepted(options const& o) {
    auto const r = rota::validate(o);
    INFO((r ? std::string{} : r.error().message()));
    CHECK(r);
}

}  // namespace

TEST_CASE("the defaults, and the example of the README, are good") {
    accepted(good());
    accepted({.node_id = "node-1",
              .key_prefix = "myapp:scheduling:",
              .heartbeat_interval = 30s,
              .leader_lease = 60s,
              .max_schedules_per_node = 100,
              .auto_rebalance = true,
              .rebalance_threshold = 0.2});
    auto const o = rota::with_defaults(good());
    CHECK(o.heartbeat_interval == 1s);
    CHECK(o.node_ttl == 3s);
    CHECK(o.leader_lease == 3s);
    CHECK(o.operation_timeout == 500ms);
    CHECK(o.safety_margin == 50ms);
    CHECK(o.clock_drift == 0.01);
    CHECK(o.key_prefix == "rota:");
    CHECK_FALSE(o.max_schedules_per_node.has_value());
    CHECK(o.rebalance_threshold == 0.2);
    CHECK(o.handoff_deadline == 30s);
    CHECK(o.handoff_lock_ttl == 0s);
    CHECK(o.on_conflict == rota::conflict_policy::take_over);
    CHECK(o.event_scope == rota::event_scope::own);
}

TEST_CASE("ids and prefixes") {
    refused(with([](auto& o) { o.node_id = ""; }), "node_id", "0 bytes", "1..512");
    refused(with([](auto& o) { o.node_id = std::string(513, 'x'); }), "node_id", "513 bytes", "1..512");
    refused(with([](auto& o) { o.key_prefix = ""; }), "key_prefix", "0 bytes", "1..512");
    refused(with([](auto& o) { o.key_prefix = std::string(513, 'x'); }), "key_prefix", "513 bytes", "1..512");
    refused(with([](auto& o) { o.key_prefix = "a{b"; }), "key_prefix", "a{b", "no braces");
    refused(with([](auto& o) { o.key_prefix = "a}b"; }), "key_prefix", "a}b", "no braces");
    accepted(with([](auto& o) { o.node_id = std::string(512, '\0'); }));
    accepted(with([](auto& o) { o.key_prefix = "x"; }));
}

TEST_CASE("durations") {
    for (auto bad : {0us, -1us, 999us, microseconds{24h + 1us}}) {
        refused(with([&](auto& o) { o.heartbeat_interval = bad; }), "heartbeat_interval", rota::detail::in_words(bad),
                "1 ms");
    }
    for (auto bad : {-1us, 1us, microseconds{1999ms}, microseconds{24h * 31}}) {
        refused(with([&](auto& o) { o.node_ttl = bad; }), "node_ttl", rota::detail::in_words(bad), "2 heartbeats");
        refused(with([&](auto& o) { o.leader_lease = bad; }), "leader_lease", rota::detail::in_words(bad),
                "2 heartbeats");
    }
    for (auto bad : {0us, -1us, 999us, microseconds{1h + 1us}}) {
        refused(with([&](auto& o) { o.operation_timeout = bad; }), "operation_timeout", rota::detail::in_words(bad),
                "1 ms");
    }
    for (auto bad : {-1us, microseconds{24h * 31}}) {
        refused(with([&](auto& o) { o.handoff_deadline = bad; }), "handoff_deadline", rota::detail::in_words(bad),
                "0 s");
        refused(with([&](auto& o) { o.handoff_lock_ttl = bad; }), "handoff_lock_ttl", rota::detail::in_words(bad),
                "0 s");
    }
    accepted(with([](auto& o) { o.heartbeat_interval = 1ms, o.safety_margin = 0us; }));
    accepted(with([](auto& o) { o.heartbeat_interval = 24h; }));
    accepted(with([](auto& o) { o.handoff_deadline = 0us; }));
    accepted(with([](auto& o) { o.node_ttl = 2s, o.leader_lease = 2s; }));
}

TEST_CASE("extreme durations are refused, not computed with") {
    for (auto extreme : {microseconds::max(), microseconds::min()}) {
        auto const value = rota::detail::in_words(extreme);
        refused(with([&](auto& o) { o.heartbeat_interval = extreme; }), "heartbeat_interval", value, "1 ms");
        refused(with([&](auto& o) { o.node_ttl = extreme; }), "node_ttl", value, "2 heartbeats");
        refused(with([&](auto& o) { o.leader_lease = extreme; }), "leader_lease", value, "2 heartbeats");
        refused(with([&](auto& o) { o.operation_timeout = extreme; }), "operation_timeout", value, "1 ms");
        refused(with([&](auto& o) { o.safety_margin = extreme; }), "safety_margin", value, "half");
        refused(with([&](auto& o) { o.handoff_deadline = extreme; }), "handoff_deadline", value, "0 s");
        refused(with([&](auto& o) { o.handoff_lock_ttl = extreme; }), "handoff_lock_ttl", value, "0 s");
    }
}

TEST_CASE("margin and drift") {
    refused(with([](auto& o) { o.safety_margin = -1us; }), "safety_margin", "-1 us", "0 or more");
    refused(with([](auto& o) { o.safety_margin = 1500ms; }), "safety_margin", "1500 ms", "half");
    refused(with([](auto& o) { o.node_ttl = 2s, o.safety_margin = 1s; }), "safety_margin", "1 s", "node_ttl");
    refused(with([](auto& o) { o.leader_lease = 2s, o.safety_margin = 1s; }), "safety_margin", "1 s", "leader_lease");
    refused(with([](auto& o) { o.heartbeat_interval = 10ms; }), "safety_margin", "50 ms", "half");
    for (auto bad : {-0.001, 0.101, 1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
        refused(with([&](auto& o) { o.clock_drift = bad; }), "clock_drift", fmt::format("{}", bad), "0 .. 0.1");
    }
    accepted(with([](auto& o) { o.clock_drift = 0; }));
    accepted(with([](auto& o) { o.clock_drift = 0.1; }));
    accepted(with([](auto& o) { o.safety_margin = 0us; }));
}

TEST_CASE("the rest") {
    refused(with([](auto& o) { o.max_schedules_per_node = rota::unlimited; }), "max_schedules_per_node", "4294967295",
            "leave it out");
    for (auto bad : {-0.1, std::nan(""), std::numeric_limits<double>::infinity()}) {
        refused(with([&](auto& o) { o.rebalance_threshold = bad; }), "rebalance_threshold", fmt::format("{}", bad),
                "finite");
    }
    refused(with([](auto& o) { o.on_conflict = static_cast<rota::conflict_policy>(7); }), "on_conflict", "",
            "take_over");
    refused(with([](auto& o) { o.event_scope = static_cast<rota::event_scope>(7); }), "event_scope", "", "own");
    accepted(with([](auto& o) { o.max_schedules_per_node = 0; }));
    accepted(with([](auto& o) { o.rebalance_threshold = 0; }));
}

TEST_CASE("the first wrong field is named, whatever else is wrong") {
    CHECK_THAT(rota::validate({.node_id = "", .key_prefix = ""}).error().detail, contains("node_id"));
}

TEST_CASE(
    "a setting that is not refused works: a node that ticks in time is never suspended, a leader never loses its "
    "lease") {
    auto const ttl = GENERATE(2s, 3s, 10s);
    auto const drift = GENERATE(0.0, 0.01, 0.1);
    auto const margin = GENERATE(0ms, 50ms, 500ms, 700ms, 900ms, 999ms, 1400ms);
    options const o{
        .node_id = "n", .node_ttl = ttl, .leader_lease = ttl, .clock_drift = drift, .safety_margin = margin};
    if (!rota::validate(o)) return;
    CAPTURE(ttl.count(), drift, margin.count());
    scenario group;
    auto& a = group.join("a", o);
    group.pass(5s);
    CHECK(a.record.count<rota::node_suspended>() == 0);
    CHECK(a.record.count<rota::leadership_changed>() == 1);
}

TEST_CASE("constructors refuse nothing and connect to nothing") {
    rota::memory_transport wire;
    rota::basic_coordinator node{options{}, wire};
    CHECK(wire.requests() == 0);
    CHECK_FALSE(node.is_leader());
    CHECK(node.owned().empty());
    CHECK(node.join().error() == errc::invalid_argument);
    CHECK(node.nodes().error() == errc::invalid_argument);
}

}  // namespace options_test
