// The drawing of a run: it is XML, shows what happened, and does not grow without bound.
#include <rota/sim/sweep.hpp>
#include <rota/sim/timeline.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "../catch.hpp"

namespace sim = rota::sim;
using namespace std::chrono_literals;
using rota_test::contains;

namespace {

/// Why it is no well-formed XML, as far as a drawing needs it; empty: it is.
std::string fault_of_xml(std::string_view xml) {
    std::vector<std::string_view> open;
    std::size_t at = 0;
    bool had_root = false;
    auto near = [&] { return " near: " + std::string{xml.substr(at, 60)}; };
    while (at < xml.size()) {
        if (xml[at] == '&') {
            auto const end = xml.substr(at, 8).find(';');
            auto const name = end == std::string_view::npos ? "" : xml.substr(at + 1, end - 1);
            if (name != "amp" && name != "lt" && name != "gt" && name != "quot") return "a bare &" + near();
        }
        if (xml[at] != '<') {
            if (open.empty() && xml[at] != '\n') return "text outside of the root" + near();
            ++at;
            continue;
        }
        auto const end = xml.find('>', at);
        if (end == std::string_view::npos) return "< without >" + near();
        auto tag = xml.substr(at + 1, end - at - 1);
        if (tag.find('<') != std::string_view::npos) return "< within a tag" + near();
        if (tag.starts_with('/')) {
            if (open.empty() || open.back() != tag.substr(1)) return "closes what is not open" + near();
            open.pop_back();
        } else {
            bool const empty = tag.ends_with('/');
            if (empty) tag.remove_suffix(1);
            auto const name = tag.substr(0, tag.find_first_of(" \n"));
            if (name.empty()) return "a tag without a name" + near();
            if (open.empty() && std::exchange(had_root, true)) return "two roots" + near();
            // Attributes: name="value", each name once.
            std::vector<std::string_view> names;
            for (auto rest = tag.substr(name.size()); !rest.empty();) {
                if (rest.front() == ' ' || rest.front() == '\n') {
                    rest.remove_prefix(1);
                    continue;
                }
                auto const equals = rest.find("=\"");
                if (equals == std::string_view::npos) return "an attribute without a value" + near();
                auto const key = rest.substr(0, equals);
                for (auto const& other : names) {
                    if (other == key) return "an attribute twice" + near();
                }
                names.push_back(key);
                auto const close = rest.find('"', equals + 2);
                if (close == std::string_view::npos) return "a quote that does not end" + near();
                rest.remove_prefix(close + 1);
            }
            if (!empty) open.push_back(name);
        }
        at = end + 1;
    }
    if (!open.empty()) return "not closed: " + std::string{open.back()};
    return had_root ? "" : "nothing in it";
}

std::size_t count_of(std::string_view text, std::string_view part) {
    std::size_t n = 0;
    for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++n;
    return n;
}

std::size_t lanes_of(std::string_view svg) {
    std::size_t lanes = 0;
    for (int i = 0; i < 100; ++i) lanes += count_of(svg, ">node-" + std::to_string(i) + "</text>");
    return lanes;
}

/// Draws a drawn run.
std::string drawing_of(sim::scenario const& d, sim::timeline_settings const& how = {}) {
    std::optional<sim::timeline> lines;
    (void)sim::run_scenario(d, false, {"drawn", [&](sim::world& w) { lines.emplace(w); }});
    return lines->svg(how);
}

}  // namespace

TEST_CASE("The checker of drawings sees what is no XML") {
    CHECK(fault_of_xml("<a b=\"1\"><c/>x &amp; y</a>\n").empty());
    for (auto const* bad : {"", "x", "<a>", "<a></b>", "<a/><a/>", "<a>&</a>", "<a b></a>", "<a b=\"1\" b=\"2\"/>",
                            "<a b=\"<c\"/>", "<a b=\"1></a>"}) {
        INFO(bad);
        CHECK_FALSE(fault_of_xml(bad).empty());
    }
}

TEST_CASE("A drawing shows who led, what was owned and run, and what went wrong") {
    sim::world w{{.seed = 4, .nodes = 3, .work = {.period = 500ms, .most = 300ms}}};
    sim::timeline drawn{w};
    w.register_schedules(9);
    REQUIRE(w.run_until(sim::converged, 30s));
    w.run_for(5s);
    auto const before = drawn.svg();
    auto const leader = w.leader();
    auto const name = leader.id();
    leader.crash(4s);
    auto const crashed_at = w.now();
    w.run_for(1s);
    w.node((leader.place() + 1) % 3).pause(2s);
    w.redis().stall(700ms);
    w.run_for(20s);
    drawn.mark(crashed_at, "here <it> & \"that\" began");

    auto const svg = drawn.svg({.title = "a <crash> & more"});
    INFO(svg);
    REQUIRE(fault_of_xml(svg) == "");
    CHECK(fault_of_xml(before) == "");
    for (auto const* node : {"node-0", "node-1", "node-2"}) CHECK_THAT(svg, contains(">" + std::string{node} + "<"));
    CHECK_THAT(svg, contains("a &lt;crash&gt; &amp; more") && contains("here &lt;it&gt; &amp; &quot;that&quot; began"));
    CHECK_THAT(svg, contains(name + " leads under term "));
    CHECK(count_of(before, "leads under term") == 1);
    CHECK(count_of(svg, "leads under term") >= 2);  // somebody took over
    CHECK_THAT(before, !contains("crash"));
    CHECK_THAT(svg, contains(">crash</text>") && contains(">pause</text>") && contains(">stall_server</text>"));
    CHECK_THAT(svg, contains("crashed</title>"));
    CHECK(count_of(svg, "<path class=\"load\"") == 3);
    CHECK_THAT(svg, contains("class=\"run\"") && contains("class=\"pause\""));
    CHECK_THAT(svg, contains("requests per second, at most"));

    INFO("messages on demand, and a part of the run");
    CHECK(count_of(svg, "<circle") == 0);
    auto const part = drawn.svg({.from = crashed_at, .to = crashed_at + 2s, .messages = true});
    CHECK(fault_of_xml(part) == "");
    CHECK(count_of(part, "<circle") > 5);
    CHECK_THAT(part, contains("tick at "));
}

TEST_CASE("A drawing of a run that broke says what broke, without being told") {
    sim::world w{{.seed = 4, .nodes = 2}};
    sim::timeline const drawn{w};
    w.register_schedules(3);
    w.run_for(5s);
    w.link(0).cut();
    w.run_for(2s);
    CHECK(count_of(drawn.svg(), "class=\"broke\"") == 0);
    CHECK_THROWS_AS(w.broken("one_leader", "two & more"), sim::broken_invariant);

    auto const svg = drawn.svg();
    INFO(svg);
    CHECK(fault_of_xml(svg) == "");
    CHECK(count_of(svg, "class=\"broke\"") == 1);
    CHECK_THAT(svg, contains(">one_leader: two &amp; more</text>"));
    CHECK_THAT(svg, contains("cut node 0 until healed</title>"));
}

TEST_CASE("A drawing is sensible with 1 to 20 nodes") {
    for (std::uint32_t nodes : {1u, 2u, 8u, 20u}) {
        auto const d = sim::draw_scenario(
            nodes,
            {.faults_for = 1min, .kinds = sim::every_kind, .swarm = false, .nodes = nodes, .schedules = 3 * nodes});
        auto const svg = drawing_of(d);
        CAPTURE(nodes, svg.size());
        CHECK(fault_of_xml(svg) == "");
        CHECK(lanes_of(svg) == nodes);
        CHECK(count_of(svg, "<path class=\"load\"") == nodes);
        CHECK(svg.size() < 300'000);
    }
    INFO("nothing happened yet");
    sim::world w{{.nodes = 2}};
    sim::timeline const drawn{w};
    CHECK(fault_of_xml(drawn.svg()) == "");
    CHECK(fault_of_xml(drawn.svg({.width = 1, .most_lanes = 1})) == "");
}

TEST_CASE("A drawing of a long and stormy run has a bound") {
    auto d = sim::draw_scenario(5, {.faults_for = 60min,
                                    .kinds = sim::promised_kinds,
                                    .swarm = false,
                                    .most_faults = 4000,
                                    .nodes = 10,
                                    .schedules = 30});
    d.world.work = {.period = 1s, .most = 500ms};
    std::optional<sim::timeline> lines;
    (void)sim::run_scenario(d, false, {"drawn", [&](sim::world& w) { lines.emplace(w); }});
    auto const svg = lines->svg();
    CHECK(fault_of_xml(svg) == "");
    CHECK(svg.size() < 1'500'000);
    auto const with_messages = lines->svg({.messages = true});
    CHECK(fault_of_xml(with_messages) == "");
    CHECK(with_messages.size() < 4'000'000);
    auto const few_lanes = lines->svg({.most_lanes = 3});
    CHECK(lanes_of(few_lanes) == 3);
    CHECK_THAT(few_lanes, contains("and 7 more nodes"));
}
