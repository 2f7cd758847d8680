// The four policy roles: the least that each must be, in any order, by value or shared, and at no cost when empty.
#include <functional>
#include <memory>

#include <rota/clock/manual_clock.hpp>
#include <rota/coordinator.hpp>
#include <rota/sink/callback_sink.hpp>
#include <rota/sink/recording_sink.hpp>
#include <rota/sink/sinks.hpp>
#include <rota/transport/memory.hpp>

#include "../catch.hpp"

namespace policies_test {

using namespace std::chrono_literals;
using rota::basic_coordinator;
using rota::options;

namespace {

// ---------------------------------------------------------------- archetypes: what the tables ask for, and nothing else

class least_transport {
public:
    explicit least_transport(rota::memory_store store) : wire_{store} {}
    least_transport(least_transport&&) = default;
    least_transport& operator=(least_transport&&) = delete;

    rota::result<void> open(rota::transport_settings const& s) { return wire_.open(s); }
    rota::result<rota::reply> perform(rota::operation const& request, rota::microseconds timeout) {
        return wire_.perform(request, timeout);
    }
    rota::wake_reason wait(rota::subscription const& s, rota::microseconds timeout) { return wire_.wait(s, timeout); }
    void wake() { wire_.wake(); }

private:
    rota::memory_transport wire_;
    std::unique_ptr<int> moves_only_ = std::make_unique<int>(1);
};

struct least_strategy {
    least_strategy() = default;
    least_strategy(least_strategy&&) = default;
    least_strategy& operator=(least_strategy&&) = delete;

    rota::plan make_plan(rota::cluster_view const& view) const {
        rota::plan p;
        if (view.nodes.empty()) return p;
        for (auto s : view.orphans) p.moves.push_back({s, rota::cluster_view::none, 0});
        p.forced = static_cast<std::uint32_t>(p.moves.size());
        return p;
    }
    std::unique_ptr<int> moves_only = std::make_unique<int>(1);
};

struct recycling_strategy {
    void make_plan(rota::cluster_view const& view, rota::plan& into) const { into = least_strategy{}.make_plan(view); }
};

struct least_clock {
    least_clock() = default;
    least_clock(least_clock&&) = default;
    least_clock& operator=(least_clock&&) = delete;

    rota::instant now() const { return rota::instant{std::chrono::hours{*hour}}; }
    std::unique_ptr<int> hour = std::make_unique<int>(7);
};

struct least_sink {
    explicit least_sink(int& count) : heard{&count} {}
    least_sink(least_sink&&) = default;
    least_sink& operator=(least_sink&&) = delete;

    void operator()(rota::node_joined const&) { ++*heard; }
    int* heard;
    std::unique_ptr<int> moves_only = std::make_unique<int>(1);
};

static_assert(rota::blocking_transport<least_transport>);
static_assert(rota::strategy_policy<least_strategy>);
static_assert(rota::strategy_policy<recycling_strategy>);
static_assert(rota::clock_policy<least_clock>);
static_assert(rota::sink_policy<least_sink>);
static_assert(!rota::blocking_transport<least_strategy> && !rota::strategy_policy<least_clock> &&
              !rota::clock_policy<least_sink> && !rota::sink_policy<least_transport>);

// Each of rota's own is what it is said to be.
static_assert(rota::blocking_transport<rota::memory_transport>);
static_assert(rota::strategy_policy<rota::least_moves>);
static_assert(rota::clock_policy<rota::boottime_clock> && rota::clock_policy<rota::manual_clock>);
static_assert(rota::sink_policy<rota::null_sink> && rota::sink_policy<rota::recording_sink>);

// ---------------------------------------------------------------- recognition

using wire = rota::memory_transport;
template <typename... P>
using of = basic_coordinator<P...>;

template <typename Coordinator, typename Transport, typename Strategy, typename Clock, typename Sink>
constexpr bool has_roles =
    std::is_same_v<typename Coordinator::transport_type, Transport> &&
    std::is_same_v<typename Coordinator::strategy_type, Strategy> &&
    std::is_same_v<typename Coordinator::clock_type, Clock> && std::is_same_v<typename Coordinator::sink_type, Sink>;

static_assert(has_roles<of<wire>, wire, rota::least_moves, rota::boottime_clock, rota::null_sink>);
static_assert(has_roles<of<least_sink, least_clock, least_strategy, least_transport>, least_transport, least_strategy,
                        least_clock, least_sink>);
static_assert(has_roles<of<least_strategy, wire, least_sink>, wire, least_strategy, rota::boottime_clock, least_sink>);
static_assert(has_roles<of<std::reference_wrapper<least_transport>, std::reference_wrapper<recycling_strategy>>,
                        std::reference_wrapper<least_transport>, std::reference_wrapper<recycling_strategy>,
                        rota::boottime_clock, rota::null_sink>);

struct final_strategy final {
    rota::plan make_plan(rota::cluster_view const&) const { return {}; }
};
struct overloaded_strategy {
    rota::plan make_plan(rota::cluster_view const&) const { return {}; }
    void make_plan(int) const {}
};
struct final_transport final {
    rota::result<void> open(rota::transport_settings const&) { return {}; }
    rota::result<rota::reply> perform(rota::operation const&, rota::microseconds) { return rota::errc::unavailable; }
    rota::wake_reason wait(rota::subscription const&, rota::microseconds) { return rota::wake_reason::timeout; }
    void wake() {}
};
static_assert(std::is_same_v<of<wire, final_strategy>::strategy_type, final_strategy>);
static_assert(std::is_same_v<of<wire, overloaded_strategy>::strategy_type, overloaded_strategy>);
static_assert(std::is_same_v<of<final_transport>::transport_type, final_transport>);

static_assert(!std::is_copy_constructible_v<of<wire>> && !std::is_move_constructible_v<of<wire>>);
static_assert(!std::is_copy_assignable_v<of<wire>> && !std::is_move_assignable_v<of<wire>>);

// ---------------------------------------------------------------- size

struct empty_transport {
    rota::result<void> open(rota::transport_settings const&) { return {}; }
    rota::result<rota::reply> perform(rota::operation const&, rota::microseconds) { return rota::errc::unavailable; }
    rota::wake_reason wait(rota::subscription const&, rota::microseconds) { return rota::wake_reason::timeout; }
    void wake() {}
};
struct empty_strategy {
    rota::plan make_plan(rota::cluster_view const&) const { return {}; }
};
struct empty_clock {
    rota::instant now() const { return rota::instant{1h}; }
};
struct empty_sink {
    void operator()(rota::event const&) const {}
};
struct large_sink {
    void operator()(rota::event const&) const {}
    void* content[4]{};
};

// A pointer to the table of virtual functions, a shared and a unique pointer.
constexpr auto bare = sizeof(void*) + sizeof(std::shared_ptr<int>) + sizeof(void*);
static_assert(sizeof(of<empty_transport>) == bare);
static_assert(sizeof(of<empty_transport, empty_strategy, empty_clock, empty_sink>) == bare);
static_assert(sizeof(of<wire>) == bare + sizeof(wire));
static_assert(sizeof(of<wire, large_sink>) == bare + sizeof(wire) + sizeof(large_sink));

}  // namespace

TEST_CASE("archetypes are enough, and move-only ones are fine") {
    rota::memory_store store{rota::manual_time};
    int heard = 0;
    basic_coordinator node{options{.node_id = "a"}, least_sink{heard}, least_strategy{}, least_clock{},
                           least_transport{store}};
    REQUIRE(node.join());
    CHECK(heard == 1);
    CHECK(node.is_leader());
    REQUIRE(node.register_schedules({{.id = "s"}}).all());
    CHECK(node.owned().size() == 1);
    node.wake();
    CHECK(node.leave());
}

TEST_CASE("policies come in any order") {
    rota::memory_store store{rota::manual_time};
    rota::recording_sink record;
    auto works = [&](auto&& make) {
        auto node = make();
        CHECK(node->join());
        CHECK(node->register_schedules({{.id = "s"}}).all());
        CHECK(node->owned().size() == 1);
        CHECK(node->unregister_schedules({"s"}).all());
    };
    options const o{.node_id = "a"};
    rota::memory_transport const w{store};
    rota::manual_clock const c;
    recycling_strategy const s;
    using std::make_unique;
    works([&] { return make_unique<of<rota::memory_transport, rota::manual_clock>>(o, w, c); });
    works([&] { return make_unique<of<rota::manual_clock, rota::memory_transport>>(o, c, w); });
    works([&] {
        return make_unique<of<recycling_strategy, rota::manual_clock, rota::recording_sink, rota::memory_transport>>(
            o, s, c, record, w);
    });
    // The arguments need not come in the order of the types, and what has a default may be left out.
    works([&] {
        return make_unique<of<recycling_strategy, rota::manual_clock, rota::recording_sink, rota::memory_transport>>(
            o, w, record, c);
    });
    CHECK(record.count<rota::node_joined>() == 2);
}

TEST_CASE("policies are shared by std::ref") {
    rota::memory_store store{rota::manual_time};
    least_transport wire_of_a{store};
    least_strategy strategy;
    least_clock clock;
    int heard = 0;
    least_sink sink{heard};
    basic_coordinator a{options{.node_id = "a"}, std::ref(wire_of_a), std::ref(strategy), std::ref(clock),
                        std::ref(sink)};
    basic_coordinator b{options{.node_id = "b"}, rota::memory_transport{store}, std::cref(strategy), std::cref(clock),
                        std::ref(sink)};
    REQUIRE(a.join());
    REQUIRE(b.join());
    CHECK(heard == 2);
    REQUIRE(a.register_schedules({{.id = "s"}}).all());
    CHECK(a.owned().size() + b.owned().size() == 1);
    CHECK(&a.transport() == &wire_of_a);
    CHECK(&a.sink() == &sink);
}

TEST_CASE("sinks: lambdas, functions, some event types or all, and compositions") {
    rota::memory_store store{rota::manual_time};
    options const o{.node_id = "a"};
    rota::manual_clock clock;

    int joined = 0, all = 0;
    SECTION("a lambda for one type") {
        basic_coordinator node{o, rota::memory_transport{store}, clock, [&](rota::node_joined const&) { ++joined; }};
        REQUIRE(node.join());
        CHECK(joined == 1);
    }
    SECTION("a lambda for all") {
        basic_coordinator node{o, rota::memory_transport{store}, clock, [&](rota::event const&) { ++all; }};
        REQUIRE(node.join());
        CHECK(all == 2);  // joined, leads
    }
    SECTION("a lambda that is mutable and moves only") {
        basic_coordinator node{o, rota::memory_transport{store}, clock,
                               [&, p = std::make_unique<int>(0)](rota::event const&) mutable { all = ++*p; }};
        REQUIRE(node.join());
        CHECK(all == 2);
    }
    SECTION("a function") {
        static int heard = 0;
        heard = 0;
        basic_coordinator node{o, rota::memory_transport{store}, clock, +[](rota::event const&) { ++heard; }};
        REQUIRE(node.join());
        CHECK(heard == 2);
    }
    SECTION("std::function") {
        std::function<void(rota::event const&)> f = [&](rota::event const&) { ++all; };
        basic_coordinator node{o, rota::memory_transport{store}, clock, f};
        REQUIRE(node.join());
        CHECK(all == 2);
    }
    SECTION("composed") {
        rota::recording_sink record;
        basic_coordinator node{o, rota::memory_transport{store}, clock,
                               rota::sinks{record, rota::callback_sink{[&](rota::node_joined const&) { ++joined; }}}};
        REQUIRE(node.join());
        CHECK(joined == 1);
        CHECK(record.events().size() == 2);
    }
}

}  // namespace policies_test
