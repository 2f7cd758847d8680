// The sinks, the words for events, and deliver(), by which every sink gets its events: each sink is given events by hand,
// as a coordinator would.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <rota/detail/deliver.hpp>
#include <rota/sink/callback_sink.hpp>
#include <rota/sink/describe.hpp>
#include <rota/sink/log_sink.hpp>
#include <rota/sink/null_sink.hpp>
#include <rota/sink/recording_sink.hpp>
#include <rota/sink/sinks.hpp>

#include "../catch.hpp"

namespace sinks_test {

namespace {

using rota::event;
using rota::detail::deliver;

using lines = std::vector<std::string>;

rota::node_ref const a{.id = "a", .incarnation = 1};
rota::node_ref const b{.id = "b", .incarnation = 2};

// ---- archetypes: the least that is a sink, and what is none ---------------------------------------------------------

struct whole_sink {
    void operator()(event const&) {}
};
struct partial_sink {
    void operator()(rota::node_left const&) {}
};
struct by_value_sink {
    void operator()(event) {}
};
struct own_copy_sink {
    std::size_t got = 0;
    void operator()(event&& e) { got = e.index(); }
};
struct answering_sink {  // what a sink returns is dropped
    [[nodiscard]] int operator()(rota::warning const&) const noexcept { return 1; }
};
struct move_only_sink final {
    std::unique_ptr<int> count = std::make_unique<int>(0);
    void operator()(rota::node_left const&) const { ++*count; }
};
void plain_function(rota::node_left const&) {}
using lambda = decltype([](rota::node_left const&) {});
using generic_lambda = decltype([](auto const&) {});
using mutable_lambda = decltype([n = 0](rota::node_left const&) mutable { return ++n; });

static_assert(rota::sink_policy<whole_sink>);
static_assert(rota::sink_policy<partial_sink>);
static_assert(rota::sink_policy<by_value_sink>);
static_assert(rota::sink_policy<own_copy_sink>);
static_assert(rota::sink_policy<answering_sink>);
static_assert(rota::sink_policy<move_only_sink>);
static_assert(rota::sink_policy<decltype(&plain_function)>);
static_assert(rota::sink_policy<lambda>);
static_assert(rota::sink_policy<generic_lambda>);
static_assert(rota::sink_policy<mutable_lambda>);
static_assert(rota::sink_policy<std::function<void(event const&)>>);
static_assert(rota::sink_policy<rota::null_sink>);
static_assert(rota::sink_policy<rota::log_sink>);
static_assert(rota::sink_policy<rota::recording_sink>);
static_assert(rota::sink_policy<rota::callback_sink<lambda>>);
static_assert(rota::sink_policy<rota::sinks<whole_sink, partial_sink>>);

struct no_call {};
struct no_argument {
    void operator()() {}
};
struct other_argument {
    void operator()(std::string const&) {}
};
struct wants_to_change_it {
    void operator()(event&) {}
};
struct two_arguments {
    void operator()(event const&, int) {}
};
struct only_once {
    void operator()(event const&) && {}
};
class keeps_it_private {
    void operator()(event const&) {}
};

static_assert(!rota::sink_policy<int>);
static_assert(!rota::sink_policy<no_call>);
static_assert(!rota::sink_policy<no_argument>);
static_assert(!rota::sink_policy<other_argument>);
static_assert(!rota::sink_policy<wants_to_change_it>);
static_assert(!rota::sink_policy<two_arguments>);
static_assert(!rota::sink_policy<only_once>);
static_assert(!rota::sink_policy<keeps_it_private>);
static_assert(!rota::sink_policy<whole_sink const>);  // its call changes it

// Sinks without state take no space in a coordinator.
static_assert(std::is_empty_v<rota::null_sink>);
static_assert(std::is_empty_v<rota::callback_sink<lambda>>);
static_assert(std::is_empty_v<rota::sinks<rota::null_sink, partial_sink>>);

// A sink that throws ends the program.
static_assert(noexcept(deliver(std::declval<whole_sink&>(), std::declval<event const&>())));
static_assert(noexcept(deliver(std::declval<partial_sink&>(), std::declval<event const&>())));

// ---- one event to one sink ------------------------------------------------------------------------------------------

TEST_CASE("a sink that takes the whole event gets every one of them, once", "[sinks]") {
    std::vector<std::size_t> got;
    auto sink = [&](event const& e) { got.push_back(e.index()); };

    CHECK(deliver(sink, rota::node_joined{}));
    CHECK(deliver(sink, rota::events_gap{}));
    CHECK(deliver(sink, rota::warning{}));

    CHECK(got == std::vector<std::size_t>{0, 12, 14});
}

TEST_CASE("a sink that takes some types gets those, with what they hold, and is spared the rest", "[sinks]") {
    struct {
        lines got{};
        void operator()(rota::node_left const& e) { got.push_back("left " + e.node.id); }
        void operator()(rota::plan_refused const& e) { got.push_back("refused " + e.why); }
    } sink;

    CHECK(deliver(sink, rota::node_left{a}));
    CHECK_FALSE(deliver(sink, rota::node_resumed{a}));  // holds the same as node_left, and is another type
    CHECK_FALSE(deliver(sink, rota::warning{}));
    CHECK(deliver(sink, rota::plan_refused{"no room"}));

    CHECK(sink.got == lines{"left a", "refused no room"});
}

TEST_CASE("a sink that takes the whole event and a type gets each event once, as a whole", "[sinks]") {
    struct {
        int whole = 0;
        int left = 0;
        void operator()(event const&) { ++whole; }
        void operator()(rota::node_left const&) { ++left; }
    } sink;

    CHECK(deliver(sink, rota::node_left{a}));
    CHECK(sink.whole == 1);
    CHECK(sink.left == 0);
}

TEST_CASE("the event is handed on as it is, not copied", "[sinks]") {
    event const original = rota::node_left{a};
    void const* seen = nullptr;

    auto whole = [&](event const& e) { seen = &e; };
    deliver(whole, original);
    CHECK(seen == &original);

    auto partial = [&](rota::node_left const& e) { seen = &e; };
    deliver(partial, original);
    CHECK(seen == std::get_if<rota::node_left>(&original));
}

TEST_CASE("a sink behind std::ref is called itself", "[sinks]") {
    int left = 0;
    auto sink = [&left, own = 0](rota::node_left const&) mutable { left = ++own; };
    auto shared = std::ref(sink);
    auto again = std::ref(sink);

    CHECK(deliver(shared, rota::node_left{}));
    CHECK(deliver(again, rota::node_left{}));
    CHECK_FALSE(deliver(shared, rota::warning{}));
    CHECK(left == 2);

    move_only_sink const constant;
    auto shared_constant = std::cref(constant);
    CHECK(deliver(shared_constant, rota::node_left{}));
    CHECK(*constant.count == 1);
}

TEST_CASE("functions, answering sinks and generic ones are served", "[sinks]") {
    auto* function = &plain_function;
    CHECK(deliver(function, rota::node_left{}));
    CHECK_FALSE(deliver(function, rota::node_lost{}));
    auto shared_function = std::ref(plain_function);
    CHECK(deliver(shared_function, rota::node_left{}));

    answering_sink answering;
    CHECK(deliver(answering, rota::warning{}));
    own_copy_sink own_copy;
    CHECK(deliver(own_copy, rota::warning{}));
    CHECK(own_copy.got == event{rota::warning{}}.index());

    bool got_the_variant = false;
    auto generic = [&](auto const& e) { got_the_variant = std::is_same_v<decltype(e), event const&>; };
    CHECK(deliver(generic, rota::node_lost{}));
    CHECK(got_the_variant);
}

TEST_CASE("null_sink takes every event", "[sinks]") {
    rota::null_sink constexpr sink;
    CHECK(deliver(sink, rota::node_joined{a, 1}));
    CHECK(deliver(sink, rota::warning{}));
}

// ---- callback_sink --------------------------------------------------------------------------------------------------

TEST_CASE("callback_sink calls the function for the type and skips what none takes", "[sinks]") {
    lines got;
    rota::callback_sink sink{
        [&](rota::node_joined const& e) { got.push_back("joined " + e.node.id); },
        [&](rota::ownership_changed const& e) { got.push_back("owned " + e.schedule); },
    };

    deliver(sink, rota::ownership_changed{.schedule = "s"});
    deliver(sink, rota::node_left{a});
    deliver(sink, rota::node_joined{a, 1});

    CHECK(got == lines{"owned s", "joined a"});
}

TEST_CASE("callback_sink gives a function for whole events what the others leave", "[sinks]") {
    lines got;
    auto joined = [&](rota::node_joined const&) { got.push_back("joined"); };
    auto rest = [&](event const& e) { got.push_back("rest: " + describe(e)); };
    auto generic_rest = [&](auto const& e) { got.push_back("rest: " + describe(e)); };

    SECTION("wherever it stands") {
        rota::callback_sink sink{rest, joined};
        deliver(sink, rota::node_joined{a, 1});
        deliver(sink, rota::events_gap{});
    }
    SECTION("also when it is generic") {
        rota::callback_sink sink{joined, generic_rest};
        deliver(sink, rota::node_joined{a, 1});
        deliver(sink, rota::events_gap{});
    }

    CHECK(got == lines{"joined", "rest: " + describe(rota::events_gap{})});
}

TEST_CASE("callback_sink calls several functions for one type in order", "[sinks]") {
    lines got;
    rota::callback_sink sink{
        [&](rota::node_left const&) { got.push_back("first"); },
        [&](rota::node_lost const&) { got.push_back("other"); },
        [&](rota::node_left const&) { got.push_back("second"); },
    };

    deliver(sink, rota::node_left{a});
    CHECK(got == lines{"first", "second"});
}

TEST_CASE("callback_sink keeps functions that change, move only, or are referred to", "[sinks]") {
    int calls = 0;
    auto counting = [&calls, own = 0](rota::node_left const&) mutable { calls = ++own; };
    move_only_sink move_only;
    int* const moved_count = move_only.count.get();

    rota::callback_sink sink{std::ref(counting), std::move(move_only), &plain_function};
    deliver(sink, rota::node_left{});
    deliver(sink, rota::node_left{});
    CHECK(calls == 2);
    CHECK(*moved_count == 2);

    counting(rota::node_left{});  // the sink called this one, not a copy
    CHECK(calls == 3);
}

// ---- sinks ----------------------------------------------------------------------------------------------------------

TEST_CASE("sinks gives each sink every event that it takes, in order", "[sinks]") {
    lines got;
    rota::sinks sink{
        [&](event const& e) { got.push_back("1: " + describe(e)); },
        [&](rota::node_left const&) { got.push_back("2: left"); },
        rota::null_sink{},
        [&](event const&) { got.push_back("4"); },
    };

    deliver(sink, rota::events_gap{});
    deliver(sink, rota::node_left{a});

    CHECK(got ==
          lines{"1: " + describe(rota::events_gap{}), "4", "1: " + describe(rota::node_left{a}), "2: left", "4"});
}

TEST_CASE("sinks nest, share handles, and refer to sinks that live elsewhere", "[sinks]") {
    rota::recording_sink const record;
    int left = 0;
    auto mine = [&left, own = 0](rota::node_left const&) mutable { left = ++own; };
    rota::recording_sink elsewhere;

    rota::sinks inner{record, std::ref(mine)};
    rota::sinks outer{inner, std::ref(elsewhere), rota::callback_sink{[](rota::node_lost const&) {}}, std::ref(mine)};
    deliver(outer, rota::node_left{a});
    deliver(outer, rota::warning{});

    CHECK(record.events().size() == 2);
    CHECK(record.text() == elsewhere.text());
    CHECK(left == 2);  // in `inner` and in `outer`: one and the same
}

TEST_CASE("no sinks at all take nothing amiss", "[sinks]") {
    rota::sinks<> none;
    CHECK(deliver(none, rota::warning{}));
}

// ---- words ----------------------------------------------------------------------------------------------------------

template <typename Event>
concept has_words = requires(Event const& e) {
    { rota::detail::words_for(e) } -> std::same_as<std::string>;
};

template <typename Variant>
struct every;
template <typename... Events>
struct every<std::variant<Events...>> {
    static constexpr bool have_words = (has_words<Events> && ...);
    static std::vector<event> as_made() { return {event{Events{}}...}; }
};
static_assert(every<event>::have_words, "an event type has no words_for() in describe.hpp");

struct worded {
    event what;
    std::string words;
};

std::vector<worded> const& every_event_with_its_words() {
    using namespace std::chrono_literals;
    using rota::change_reason;
    static std::vector<worded> const all{
        {rota::node_joined{a, 7}, R"("a" (incarnation 1) joined, epoch 7)"},
        {rota::node_left{a}, R"("a" (incarnation 1) left)"},
        {rota::node_suspended{a, {rota::errc::unavailable, "connection refused"}},
         R"("a" (incarnation 1) is suspended: unavailable: connection refused)"},
        {rota::node_resumed{a}, R"("a" (incarnation 1) resumed)"},
        {rota::node_lost{a}, R"("a" (incarnation 1) lost its membership)"},
        {rota::node_lost{a, true}, R"("a" (incarnation 1) lost its membership: the server lost data)"},
        {rota::node_fenced{a}, R"("a" (incarnation 1) is fenced: a newer process took its id)"},
        {rota::ownership_changed{"s", a, b, 9, change_reason::rebalanced},
         R"(schedule "s" went from "a" (incarnation 1) to "b" (incarnation 2): rebalanced, generation 9)"},
        {rota::ownership_changed{"s", {}, {"", 3}, 9, change_reason::placed},
         R"(schedule "s" went from nobody to incarnation 3: placed, generation 9)"},
        {rota::ownership_changed{"s", a, {}, 0, change_reason::lost},
         R"(schedule "s" went from "a" (incarnation 1) to nobody: lost)"},
        {rota::schedule_triggered{"s", 5}, R"(schedule "s" was triggered, token 5)"},
        {rota::handoff_requested{"s", 2, 30s, change_reason::transferred},
         R"(schedule "s" is to go to incarnation 2 within 30 s: transferred)"},
        {rota::leadership_changed{b, 5, a}, R"("b" (incarnation 2) leads, term 5, after "a" (incarnation 1))"},
        {rota::leadership_changed{{}, 0, a}, R"(nobody leads, after "a" (incarnation 1))"},
        {rota::membership_changed{b, rota::membership_change::died}, R"(member "b" (incarnation 2) died)"},
        {rota::membership_changed{b, rota::membership_change::superseded},
         R"(member "b" (incarnation 2) was superseded)"},
        {rota::schedule_changed{"s", true}, R"(schedule "s" was registered)"},
        {rota::schedule_changed{"s", false}, R"(schedule "s" was unregistered)"},
        {rota::events_gap{}, "some events could not be had; the differences follow"},
        {rota::plan_refused{"no room"}, "plan refused: no room"},
        {rota::warning{{rota::errc::refused_by_server, "may evict"}}, "warning: refused by the server: may evict"},
    };
    return all;
}

TEST_CASE("describe has words for each event, and its test knows each", "[sinks][words]") {
    std::set<std::size_t> tested;
    for (auto const& [what, words] : every_event_with_its_words()) {
        CHECK(describe(what) == words);
        tested.insert(what.index());
    }
    CHECK(tested.size() == std::variant_size_v<event>);
}

TEST_CASE("the words for an event without content are not empty, and no two types share them", "[sinks][words]") {
    std::set<std::string> seen;
    for (auto const& e : every<event>::as_made()) {
        auto const words = describe(e);
        INFO("alternative " << e.index() << ": " << words);
        CHECK_FALSE(words.empty());
        CHECK(words.find('\n') == std::string::npos);
        CHECK(seen.insert(words).second);
    }
    CHECK(seen.size() == std::variant_size_v<event>);
}

TEST_CASE("each reason and each change of membership has its word", "[sinks][words]") {
    std::set<std::string_view> reasons;
    for (int i = 0; i <= static_cast<int>(rota::change_reason::resynced); ++i) {
        reasons.insert(to_string(static_cast<rota::change_reason>(i)));
    }
    CHECK(reasons.size() == 8);
    CHECK(reasons.count("unknown reason") == 0);
    CHECK(to_string(static_cast<rota::change_reason>(200)) == "unknown reason");

    std::set<std::string_view> changes;
    for (int i = 0; i <= static_cast<int>(rota::membership_change::superseded); ++i) {
        changes.insert(to_string(static_cast<rota::membership_change>(i)));
    }
    CHECK(changes.size() == 4);
    CHECK(changes.count("unknown change") == 0);
    CHECK(to_string(static_cast<rota::membership_change>(200)) == "unknown change");
}

bool fit_to_print(std::string const& text) {
    for (char c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
    }
    return text.find("\xc2\x9b") == std::string::npos;
}

TEST_CASE("what others wrote cannot act on a terminal or begin a line of its own", "[sinks][words]") {
    std::string const evil{"\x1b[2J\n\r\t\x7f\xc2\x9b\x00!", 12};
    rota::node_ref const node{evil, 1};
    rota::error const why{rota::errc::refused_by_server, evil};

    std::vector<event> const all{
        rota::node_joined{node, 1},
        rota::node_left{node},
        rota::node_suspended{node, why},
        rota::node_resumed{node},
        rota::node_lost{node, true},
        rota::node_fenced{node},
        rota::ownership_changed{evil, node, node, 1, {}},
        rota::handoff_requested{evil, 1, {}, {}},
        rota::schedule_triggered{evil, 1},
        rota::leadership_changed{node, 1, node},
        rota::membership_changed{node, {}},
        rota::schedule_changed{evil, true},
        rota::plan_refused{evil},
        rota::warning{why},
    };
    for (auto const& e : all) {
        auto const words = describe(e);
        INFO(words);
        CHECK(fit_to_print(words));
        CHECK_THAT(words, rota_test::contains("?[2J?????"));
    }
    CHECK(describe(rota::schedule_changed{evil, true}) == R"(schedule "?[2J??????!" was registered)");
}

TEST_CASE("text in other scripts stays as it is", "[sinks][words]") {
    CHECK(describe(rota::schedule_changed{"caf\xc3\xa9 \xc2\xa9 \xe6\x97\xa5", true}) ==
          "schedule \"caf\xc3\xa9 \xc2\xa9 \xe6\x97\xa5\" was registered");
    CHECK(describe(rota::plan_refused{"ends in \xc2"}) == "plan refused: ends in \xc2");
}

TEST_CASE("long ids are cut, long messages are not", "[sinks][words]") {
    std::string const id(rota::max_id_size, 'x');
    CHECK(describe(rota::schedule_changed{id, true}) == "schedule \"" + id.substr(0, 64) + "...\" was registered");
    CHECK(describe(rota::plan_refused{id}) == "plan refused: " + id);
}

// ---- log_sink -------------------------------------------------------------------------------------------------------

struct temporary_file {
    std::FILE* file = std::tmpfile();
    temporary_file() { REQUIRE(file != nullptr); }
    temporary_file(temporary_file const&) = delete;
    temporary_file& operator=(temporary_file const&) = delete;
    ~temporary_file() { std::fclose(file); }

    [[nodiscard]] std::string content() const {
        std::rewind(file);
        std::string text;
        for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text += static_cast<char>(c);
        return text;
    }
};

TEST_CASE("log_sink writes a line for each event to a stream", "[sinks]") {
    temporary_file const out;
    rota::log_sink sink{out.file};

    deliver(sink, rota::node_left{a});
    deliver(sink, rota::plan_refused{std::string{"one\ntwo\0three", 13}});

    CHECK(out.content() == "\"a\" (incarnation 1) left\nplan refused: one?two?three\n");
}

TEST_CASE("log_sink puts a prefix before each line, made fit to print", "[sinks]") {
    temporary_file const out;
    rota::log_sink sink{out.file, "node-1\x1b"};

    deliver(sink, rota::node_left{a});
    deliver(sink, rota::events_gap{});

    CHECK(out.content() ==
          "node-1?: " + describe(rota::node_left{a}) + "\nnode-1?: " + describe(rota::events_gap{}) + "\n");
}

TEST_CASE("log_sink hands lines to a function of the user's, without their end", "[sinks]") {
    lines got;
    auto write = [&](std::string_view line) { got.emplace_back(line); };
    rota::log_sink plain{write};
    rota::log_sink prefixed{write, "node-1"};

    deliver(plain, rota::node_left{a});
    deliver(prefixed, rota::node_left{a});

    CHECK(got == lines{describe(rota::node_left{a}), "node-1: " + describe(rota::node_left{a})});
}

TEST_CASE("copies of a log_sink share the user's function, which may be move-only", "[sinks]") {
    std::string last;
    rota::log_sink sink{[&last, calls = std::make_unique<int>(0)](std::string_view) mutable {
        last = std::to_string(++*calls);
        return true;
    }};
    auto copy = sink;
    deliver(sink, rota::events_gap{});
    deliver(copy, rota::events_gap{});
    CHECK(last == "2");
}

TEST_CASE("log_sink without a stream is a bug of the caller", "[sinks]") {
    std::FILE* const none = nullptr;
    CHECK_THROWS_AS(rota::log_sink{none}, std::logic_error);
}

static_assert(std::is_default_constructible_v<rota::log_sink>);                   // to stderr
static_assert(!std::is_constructible_v<rota::log_sink, void (*)(std::string&)>);  // takes no string_view
static_assert(!std::is_convertible_v<std::FILE*, rota::log_sink>);

// ---- recording_sink -------------------------------------------------------------------------------------------------

TEST_CASE("recording_sink keeps the events in order, for all copies", "[sinks]") {
    rota::recording_sink const kept;
    auto given = kept;

    deliver(given, rota::node_joined{a, 1});
    deliver(given, rota::schedule_changed{"s", true});
    deliver(given, rota::schedule_changed{"t", true});

    auto const events = kept.events();
    REQUIRE(events.size() == 3);
    CHECK(std::get<rota::node_joined>(events[0]).node == a);
    CHECK(std::get<rota::schedule_changed>(events[1]).schedule == "s");
    CHECK(std::get<rota::schedule_changed>(events[2]).schedule == "t");
    CHECK(kept.count<rota::schedule_changed>() == 2);
    CHECK(kept.count<rota::node_joined>() == 1);
    CHECK(kept.count<rota::warning>() == 0);
    CHECK(kept.text() == describe(events[0]) + '\n' + describe(events[1]) + '\n' + describe(events[2]) + '\n');
}

TEST_CASE("taking the events of a recording_sink leaves none, and it goes on recording", "[sinks]") {
    rota::recording_sink const record;
    CHECK(record.text().empty());

    deliver(record, rota::node_left{a});
    CHECK(record.take().size() == 1);
    CHECK(record.events().empty());
    CHECK(record.text().empty());

    deliver(record, rota::events_gap{});
    CHECK(record.count<rota::events_gap>() == 1);
    CHECK(record.count<rota::node_left>() == 0);
}

TEST_CASE("two recording_sinks have nothing in common", "[sinks]") {
    rota::recording_sink const one;
    rota::recording_sink const other;
    deliver(one, rota::events_gap{});
    CHECK(other.events().empty());
}

TEST_CASE("a recording_sink may be read while it records", "[sinks][threads]") {
    constexpr std::size_t most = 500;
    rota::recording_sink const record;
    std::atomic<bool> done = false;

    std::thread recorder{[sink = record, &done] {
        for (std::size_t i = 0; i < most; ++i) deliver(sink, rota::node_left{a});
        done = true;
    }};
    std::size_t last = 0;
    bool shrank = false;
    std::size_t taken = 0;
    while (!done) {
        auto const now = record.count<rota::node_left>();
        shrank = shrank || now < last;
        last = now;
        if (now > most / 2 && taken == 0) {
            taken = record.take().size();
            last = 0;
        }
    }
    recorder.join();

    CHECK_FALSE(shrank);
    CHECK(taken + record.events().size() == most);
}

}  // namespace

}  // namespace sinks_test
