// The checker of the black-box tests is itself checked: it passes sound histories, and sees every kind of fault planted
// in one.
#include "../support/run_history.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "../catch.hpp"

namespace run_history_test {

namespace {

using namespace std::chrono_literals;
using rota::test::json_error;
using rota::test::moment;
using rota::test::run_history;
using rota::test::violation_kind;

/// Writes a history line by line, times in milliseconds.
class story {
public:
    story& event(int ms, std::string const& node, std::string const& name, std::string const& more = "") {
        history_.add(R"({"mono_us":)" + std::to_string(1'000'000 + ms * 1000) + R"(,"node":")" + node +
                     R"(","event":")" + name + '"' + (more.empty() ? "" : "," + more) + "}");
        return *this;
    }
    story& joined(int ms, std::string const& node) { return event(ms, node, "joined"); }
    story& owns(int ms, std::string const& node, std::string const& schedule, int generation) {
        return event(ms, node, "ownership",
                     R"("schedule":")" + schedule + R"(","from":null,"to":")" + node + R"(","generation":)" +
                         std::to_string(generation) + R"(,"reason":"placed")");
    }
    story& leads(int ms, std::string const& node, int term) {
        return event(ms, node, "leadership",
                     R"("leader":")" + node + R"(","term":)" + std::to_string(term) + R"(,"previous":null)");
    }
    story& starts(int ms, std::string const& node, std::string const& schedule, int token, int generation) {
        return event(ms, node, "run_started", of_run(schedule, token, generation));
    }
    story& finishes(int ms, std::string const& node, std::string const& schedule, int token, int generation) {
        return event(ms, node, "run_finished", of_run(schedule, token, generation));
    }
    /// A run of 5 ms.
    story& runs(int ms, std::string const& node, std::string const& schedule, int token, int generation) {
        return starts(ms, node, schedule, token, generation).finishes(ms + 5, node, schedule, token, generation);
    }
    story& killed(int ms, std::string const& node) {
        history_.killed(node, at(ms));
        return *this;
    }
    story& paused(int from_ms, int to_ms, std::string const& node) {
        history_.paused(node, at(from_ms), at(to_ms));
        return *this;
    }

    [[nodiscard]] static moment at(int ms) { return 1s + std::chrono::milliseconds{ms}; }
    [[nodiscard]] run_history const& history() const { return history_; }
    [[nodiscard]] std::set<violation_kind> faults() const { return kinds_of(history_.check()); }
    [[nodiscard]] static std::set<violation_kind> kinds_of(std::vector<rota::test::violation> const& found) {
        std::set<violation_kind> kinds;
        for (auto const& each : found) {
            UNSCOPED_INFO(each);
            kinds.insert(each.kind);
        }
        return kinds;
    }

private:
    static std::string of_run(std::string const& schedule, int token, int generation) {
        return R"("schedule":")" + schedule + R"(","token":)" + std::to_string(token) + R"(,"generation":)" +
               std::to_string(generation);
    }

    run_history history_;
};

/// a and b share two schedules and lead in turn; nothing happens to them.
story two_nodes() {
    story told;
    told.joined(0, "a").joined(1, "b").leads(2, "a", 1);
    told.owns(10, "a", "s", 11).owns(10, "b", "t", 12);
    for (int round = 0; round < 5; ++round) {
        told.runs(20 + 100 * round, "a", "s", 20 + 2 * round, 11);
        told.runs(22 + 100 * round, "b", "t", 21 + 2 * round, 12);
    }
    return told;  // until 427
}

using faults = std::set<violation_kind>;

}  // namespace

TEST_CASE("A history without faults passes", "[run_history]") {
    auto told = two_nodes();
    CHECK(told.faults() == faults{});
    CHECK(told.history().runs().size() == 10);
    CHECK(told.history().leader()->leader == "a");
    CHECK(told.history().owners() == std::map<std::string, std::string>{{"s", "a"}, {"t", "b"}});
}

TEST_CASE("An orderly hand-over passes, in the very microsecond of the last run's end", "[run_history]") {
    auto told = two_nodes();
    told.runs(500, "a", "s", 90, 11).owns(505, "b", "s", 91).runs(505, "b", "s", 92, 91);
    CHECK(told.faults() == faults{});
}

TEST_CASE("A kill in the middle of a run, and the takeover, pass", "[run_history]") {
    auto told = two_nodes();
    told.starts(500, "a", "s", 90, 11).killed(502, "a").leads(1500, "b", 95);
    told.owns(1510, "b", "s", 100).runs(1511, "b", "s", 101, 100);
    CHECK(told.faults() == faults{});
    CHECK(told.history().leader()->leader == "b");
    CHECK(told.history().check_run_again({"s"}, "a", story::at(502), 1500ms).empty());
}

TEST_CASE("A pause in the middle of a run, and a return with new ownership, pass", "[run_history]") {
    auto told = two_nodes();
    told.starts(500, "a", "s", 90, 11).paused(501, 3501, "a");
    told.owns(1510, "b", "s", 100).runs(1511, "b", "s", 101, 100).runs(3500, "b", "s", 110, 100);
    told.finishes(3505, "a", "s", 90, 11).event(3506, "a", "suspended").joined(3510, "a");
    told.owns(3600, "a", "s", 120).runs(3601, "a", "s", 121, 120);
    CHECK(told.faults() == faults{});
    CHECK(told.history().check_pauses().empty());
}

TEST_CASE("A node that lost contact by itself may be overtaken too, if it says so before it goes on", "[run_history]") {
    auto told = two_nodes();
    told.starts(500, "a", "s", 90, 11).owns(1510, "b", "s", 100).runs(1511, "b", "s", 101, 100);
    told.event(1600, "a", "suspended").finishes(1601, "a", "s", 90, 11);
    CHECK(told.faults() == faults{});
}

TEST_CASE("Planted: two runs of a schedule at once under a lock that excludes nobody", "[run_history]") {
    auto told = two_nodes();
    SECTION("the later one has the lower token") {
        told.starts(500, "b", "t", 91, 12).runs(502, "a", "t", 90, 13).finishes(510, "b", "t", 91, 12);
        auto const found = told.faults();
        CHECK(found.count(violation_kind::overlap) == 1);
        CHECK(found.count(violation_kind::token_not_rising) == 1);
    }
    SECTION("the earlier holder is superseded, but goes on") {
        told.starts(500, "b", "t", 90, 12).runs(502, "a", "t", 91, 13).finishes(510, "b", "t", 90, 12);
        told.event(511, "b", "suspended").event(512, "b", "resumed").runs(520, "b", "t", 92, 12);
        CHECK(told.faults().count(violation_kind::overlap) == 1);
    }
    SECTION("both start in the same microsecond with one token") {
        told.runs(500, "b", "t", 90, 12).runs(500, "a", "t", 90, 13);
        CHECK(told.faults().count(violation_kind::overlap) == 1);
    }
    SECTION("the earlier holder is superseded, stops, and gives no reason") {
        told.starts(500, "b", "t", 90, 12).runs(502, "a", "t", 91, 13).finishes(510, "b", "t", 90, 12);
        CHECK(told.faults() == faults{violation_kind::unexplained_overlap});
    }
    SECTION("one node runs a schedule twice") {
        told.starts(500, "b", "t", 90, 12).runs(501, "b", "t", 91, 12).finishes(510, "b", "t", 90, 12);
        CHECK(told.faults() == faults{violation_kind::unexplained_overlap});
    }
    SECTION("the earlier run never ends, and its node lives on") {
        told.starts(500, "b", "t", 90, 12).runs(9000, "a", "t", 91, 13).runs(9001, "b", "u", 92, 14);
        CHECK(told.faults() == faults{violation_kind::unexplained_overlap, violation_kind::never_finished});
    }
}

TEST_CASE("Planted: a token that does not rise", "[run_history]") {
    auto told = two_nodes();
    SECTION("it falls") { told.runs(500, "a", "s", 19, 11); }
    SECTION("it is given twice") { told.runs(500, "a", "s", 28, 11); }
    CHECK(told.faults() == faults{violation_kind::token_not_rising});
}

TEST_CASE("Planted: a run on an ownership that is another node's by then", "[run_history]") {
    auto told = two_nodes();
    SECTION("which the new owner has said") { told.owns(500, "b", "s", 100).runs(501, "a", "s", 101, 11); }
    SECTION("which the new owner's run shows") { told.runs(500, "b", "s", 100, 99).runs(510, "a", "s", 101, 11); }
    CHECK(told.faults() == faults{violation_kind::stale_run});
}

TEST_CASE("Planted: one generation with two owners", "[run_history]") {
    auto told = two_nodes();
    SECTION("both say so") { told.owns(500, "b", "s", 11); }
    SECTION("the other one runs on it") { told.runs(500, "b", "s", 100, 11); }
    CHECK(told.faults() == faults{violation_kind::shared_generation});
}

TEST_CASE("Planted: one term with two leaders", "[run_history]") {
    auto told = two_nodes();
    told.leads(500, "b", 1);
    CHECK(told.faults() == faults{violation_kind::shared_term});
}

TEST_CASE("Planted: a run of a node that is out", "[run_history]") {
    auto told = two_nodes();
    SECTION("that never joined") { told.runs(500, "c", "u", 90, 80); }
    SECTION("that is suspended") { told.event(500, "a", "suspended").runs(501, "a", "s", 90, 11); }
    SECTION("that is fenced") { told.event(500, "a", "fenced").runs(501, "a", "s", 90, 11); }
    SECTION("that has left") { told.event(500, "a", "left").runs(501, "a", "s", 90, 11); }
    CHECK(told.faults() == faults{violation_kind::run_while_out});
}

TEST_CASE("A node that is back may run again", "[run_history]") {
    auto told = two_nodes();
    told.event(500, "a", "suspended").event(510, "a", "resumed").runs(511, "a", "s", 90, 11);
    told.event(600, "b", "left").joined(700, "b").owns(701, "b", "t", 95).runs(702, "b", "t", 96, 95);
    CHECK(told.faults() == faults{});
}

TEST_CASE("Planted: runs and their ends that do not match", "[run_history]") {
    auto told = two_nodes();
    SECTION("a run without an end") {
        told.starts(500, "a", "s", 90, 11);
        CHECK(told.faults() == faults{violation_kind::never_finished});
    }
    SECTION("an end without a run") {
        told.finishes(500, "a", "s", 90, 11);
        CHECK(told.faults() == faults{violation_kind::finished_twice});
    }
    SECTION("an end before its run") {
        told.starts(500, "a", "s", 90, 11).finishes(499, "a", "s", 90, 11);
        CHECK(told.faults() == faults{violation_kind::finished_twice, violation_kind::never_finished});
    }
    SECTION("a run that ends twice") {
        told.finishes(500, "a", "s", 28, 11);
        CHECK(told.faults() == faults{violation_kind::finished_twice});
    }
}

TEST_CASE("Planted: a schedule that is not run again in time after a kill", "[run_history]") {
    auto told = two_nodes();
    told.killed(450, "a");
    auto const faults_of = [&] {
        return story::kinds_of(told.history().check_run_again({"s"}, "a", story::at(450), 1500ms));
    };
    SECTION("never") { CHECK(faults_of() == faults{violation_kind::not_run_again}); }
    SECTION("too late") {
        told.runs(1951, "b", "s", 100, 99);
        CHECK(faults_of() == faults{violation_kind::not_run_again});
    }
    SECTION("only by the node that is gone") {
        told.runs(500, "a", "s", 100, 11);
        CHECK(faults_of() == faults{violation_kind::not_run_again});
    }
    SECTION("just in time") {
        told.runs(1950, "b", "s", 100, 99);
        CHECK(faults_of() == faults{});
    }
}

TEST_CASE("Planted: a schedule without a new owner after its node left", "[run_history]") {
    auto told = two_nodes();
    auto const faults_of = [&] { return story::kinds_of(told.history().check_new_owners({"s", "t"}, "a", 100ms)); };
    SECTION("the node has not even left") { told.owns(500, "b", "s", 90); }
    SECTION("nobody takes it") { told.event(500, "a", "left"); }
    SECTION("it is taken too late") { told.event(500, "a", "left").owns(601, "b", "s", 90); }
    SECTION("it goes to a node that is dead") { told.killed(490, "b").event(500, "a", "left").owns(510, "b", "s", 90); }
    SECTION("it goes to a node that has left as well") {
        told.event(500, "a", "left").owns(510, "b", "s", 90).event(550, "b", "left");
    }
    SECTION("it goes back to the node") {
        told.event(500, "a", "left").owns(510, "b", "s", 90).owns(520, "a", "s", 91);
    }
    CHECK(faults_of() == faults{violation_kind::no_new_owner});
}

TEST_CASE("New owners in time after a leave pass, told before or after it", "[run_history]") {
    auto told = two_nodes();
    SECTION("before") { told.owns(499, "b", "s", 90).event(500, "a", "left"); }
    SECTION("at the last moment") { told.event(500, "a", "left").owns(600, "b", "s", 90); }
    CHECK(told.history().check_new_owners({"s", "t"}, "a", 100ms).empty());
}

TEST_CASE("Planted: a paused node that wakes and goes on as if nothing had been", "[run_history]") {
    auto told = two_nodes();
    told.paused(500, 3500, "a");
    auto const faults_of = [&] { return story::kinds_of(told.history().check_pauses()); };
    SECTION("it says nothing, and does nothing") { CHECK(faults_of() == faults{violation_kind::pause_unnoticed}); }
    SECTION("it says nothing, and runs") {
        told.runs(3501, "a", "s", 90, 11);
        CHECK(faults_of() == faults{violation_kind::pause_unnoticed, violation_kind::stale_run});
    }
    SECTION("it runs, and only then says so") {
        told.runs(3501, "a", "s", 90, 11).event(3510, "a", "suspended");
        CHECK(faults_of() == faults{violation_kind::stale_run});
    }
    SECTION("it had said so, but before the pause") {
        told.event(499, "a", "suspended");
        CHECK(faults_of() == faults{violation_kind::pause_unnoticed});
    }
    SECTION("it says so and runs what has been another's meanwhile") {
        told.event(3501, "a", "suspended").event(3502, "a", "resumed").owns(1500, "b", "s", 80);
        told.runs(3503, "a", "s", 90, 11);
        CHECK(faults_of() == faults{});
        CHECK(told.faults() == faults{violation_kind::stale_run});
    }
}

TEST_CASE("A line that is not of the agreed form is refused", "[run_history]") {
    run_history history;
    for (auto const* line : {
             "listening",
             R"({"node":"a","event":"joined"})",
             R"({"mono_us":"1","node":"a","event":"joined"})",
             R"({"mono_us":1,"event":"joined"})",
             R"({"mono_us":1,"node":"a"})",
             R"({"mono_us":1,"node":"a","event":"run_started","schedule":"s","token":1})",
             R"({"mono_us":1,"node":"a","event":"run_started","schedule":"s","token":-1,"generation":1})",
             R"({"mono_us":1,"node":"a","event":"run_finished","schedule":"s","generation":1})",
             R"({"mono_us":1,"node":"a","event":"ownership","schedule":"s","from":"b","generation":1})",
             R"({"mono_us":1,"node":"a","event":"leadership","leader":"a","previous":null})",
             R"({"mono_us":1,"node":"a","event":"joined"} and more)",
         }) {
        CAPTURE(line);
        CHECK_THROWS_AS(history.add(line), json_error);
    }
    CHECK_NOTHROW(history.add(R"({"mono_us":1,"node":"a","event":"something_new","more":[1,{"x":null}]})"));
}

}  // namespace run_history_test
