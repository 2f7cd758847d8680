// examples/simulate as its users run it: a process with arguments, output, signals and an exit code.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#if __has_include("programs.hpp")
#include "programs.hpp"  // written by the build
#endif

#include <rota/version.hpp>

#include "../catch.hpp"
#include "../support/child_process.hpp"

using namespace std::chrono_literals;
using rota::test::child_process;
using rota::test::deadline;
using rota_test::contains;

namespace {

child_process start(std::vector<std::string> arguments) {
    std::string program;
#if __has_include("programs.hpp")
    program = rota_test::simulate;
#endif
    INFO("this test starts examples/simulate: build it, too (ROTA_BUILD_EXAMPLES)");
    REQUIRE_FALSE(program.empty());
    arguments.insert(arguments.begin(), program);
    return child_process::spawn(arguments, {.err = rota::test::error_output::join_stdout});
}

struct ended {
    int code = -1;
    std::vector<std::string> lines{};
    [[nodiscard]] std::string text() const {
        std::string all;
        for (auto const& line : lines) all += line + "\n";
        return all;
    }
    [[nodiscard]] std::vector<std::string> holding(std::string const& part) const {
        std::vector<std::string> some;
        for (auto const& line : lines) {
            if (line.find(part) != std::string::npos) some.push_back(line);
        }
        return some;
    }
};

ended end_of(child_process process) {
    ended e;
    deadline const until = 200s;
    while (auto line = process.next_line(until)) e.lines.push_back(std::move(*line));
    auto const status = process.exit_status(until);
    REQUIRE(status);
    INFO(status->describe());
    REQUIRE(status->code);
    e.code = *status->code;
    return e;
}

ended run_simulate(std::vector<std::string> arguments) { return end_of(start(std::move(arguments))); }

/// A folder of its own, gone at the end.
struct folder {
    std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("rota-simulate-test-" + std::to_string(::getpid()));
    folder() { std::filesystem::create_directories(path); }
    ~folder() { std::filesystem::remove_all(path); }
    folder(folder const&) = delete;
    folder& operator=(folder const&) = delete;
    [[nodiscard]] std::string file(std::string const& name) const { return (path / name).string(); }
};

std::string content_of(std::string const& file) {
    std::ostringstream text;
    text << std::ifstream{file}.rdbuf();
    return text.str();
}

}  // namespace

TEST_CASE("simulate --help tells all there is; a wrong command line is answered in two lines") {
    auto const help = run_simulate({"--help"});
    CHECK(help.code == 0);
    for (auto const* option : {"--seeds", "--nodes", "--schedules", "--minutes", "--faults", "--jobs", "--replay",
                               "--svg", "--json", "--plant", "--any-version"}) {
        CHECK_THAT(help.text(), contains(option));
    }
    auto const faults = run_simulate({"--help-faults"});
    CHECK(faults.code == 0);
    CHECK_THAT(faults.text(), contains("cut_replies") && contains("fail_over"));

    using words = std::pair<std::vector<std::string>, std::string>;
    for (auto const& [arguments, expected] :
         {words{{"--seeds", "9..1"}, "--seeds: 9..1 holds no seed"}, words{{"--seeds", "a..b"}, "is not A..B"},
          words{{"--nodes", "0"}, "--nodes: \"0\" is no number of 1 to"},
          words{{"--minutes", "-1"}, "--minutes: \"-1\" is no number"},
          words{{"--faults", "crash,smash"}, "there is no fault \"smash\"; --help-faults lists them"},
          words{{"--faults=none,crash"}, "none, and others?"}, words{{"--jobs"}, "--jobs: the value is missing"},
          words{{"--json=1"}, "--json takes no value"}, words{{"--speed", "9"}, "there is no option --speed"},
          words{{"quickly"}, "what is \"quickly\"?"},
          words{{"--plant", "oak"}, "there is no bug \"oak\"; there are: lease_from_reply, margin_ignored, "},
          words{{"--replay", "x", "--nodes", "3"}, "--replay runs what its file says: it does not go with --nodes"},
          words{{"--seeds=1", "--replay=x"}, "it does not go with --seeds"},
          words{{"--replay", "/nowhere/at/all"}, "cannot read /nowhere/at/all"}}) {
        CAPTURE(arguments);
        auto const refused = run_simulate(arguments);
        CHECK(refused.code == 2);
        CHECK(refused.lines.size() <= 2);
        CHECK_THAT(refused.text(), contains(expected));
    }
}

TEST_CASE("simulate gives the same runs whatever the number of threads", "[threads]") {
    auto const with_jobs = [](std::string jobs) {
        auto const e =
            run_simulate({"--seeds", "1..12", "--minutes", "1", "--nodes", "3", "--json", "--jobs", std::move(jobs)});
        INFO(e.text());
        CHECK(e.code == 0);
        CHECK(e.holding("\"event\":\"summary\"").size() == 1);
        return e.holding("\"event\":\"run\"");
    };
    auto const alone = with_jobs("1");
    CHECK(alone.size() == 12);
    CHECK(alone == with_jobs("4"));

    INFO("one seed, as words");
    auto const one = run_simulate({"--seeds", "3", "--minutes", "1", "--nodes", "3", "--faults", "crash,reset"});
    CHECK(one.code == 0);
    CHECK_THAT(one.text(), contains("nothing broke; 1 of 1 seeds run\n") && contains("node-seconds in") &&
                               contains("faults: crash ") && contains("reset "));
    CHECK_THAT(run_simulate({"--seeds", "3", "--minutes", "1", "--faults", "none"}).text(), contains("faults: none"));
}

TEST_CASE("simulate shrinks what breaks, writes it down, draws it, and shows it again") {
    folder const here;
    auto const file = here.file("found.txt"), picture = here.file("found.svg");
    auto const failed = run_simulate(
        {"--plant", "lease_from_reply", "--seeds", "1..200", "--replay-to", file, "--svg", picture, "--jobs", "2"});
    INFO(failed.text());
    REQUIRE(failed.code == 1);
    CHECK_THAT(failed.text(), contains("belief_ends_in_time broken at") && contains("last events:") &&
                                  contains("rota-replay 1") && contains("which is in " + file) &&
                                  contains(" of 200 seeds run\n") && !contains("something broke"));
    auto const seed = failed.holding("  seed ").front().substr(7);
    CHECK_THAT(failed.text(), contains("seed " + seed + " broke; " + seed + " of 200 seeds run\n"));  // from seed 1 on
    CHECK_THAT(failed.text(),
               contains("\n" + failed.holding("belief_ends_in_time broken at").front() + "\n  to see it again"));
    auto const text = content_of(file);
    CHECK_THAT(text, contains("setup planted-lease_from_reply") && contains("broke belief_ends_in_time at"));
    CHECK_THAT(failed.text(), contains(text));
    CHECK_THAT(content_of(picture), contains("<svg ") && contains("</svg>") && contains("belief_ends_in_time"));

    auto const again = run_simulate({"--replay", file, "--svg", here.file("again.svg")});  // the file names the bug
    INFO(again.text());
    CHECK(again.code == 1);
    CHECK_THAT(again.text(), contains("as recorded"));
    auto const drawing = content_of(here.file("again.svg"));
    CHECK_THAT(drawing, contains("</svg>") && contains(">belief_ends_in_time: ") && contains("class=\"broke\""));
    CHECK(run_simulate({"--plant", "lease_from_reply", "--replay", file}).lines.back() == again.lines.back());

    auto const unlike = run_simulate({"--plant", "reap_early", "--replay", file});
    CHECK(unlike.code == 2);
    CHECK_THAT(unlike.text(), contains("with the bug \"lease_from_reply\": leave out --plant \"reap_early\""));
    for (auto const& [setup, expected] :
         {std::pair{"planted-oak", "there is no bug \"oak\"; there are: lease_from_reply, "},
          std::pair{"planted-", "there is no bug \"\"; there are: "},
          std::pair{"my own", "with the setup \"my own\": only the program that has it can replay it"}}) {
        auto const name = here.file("setup.txt");
        std::ofstream{name} << "rota-replay 1\nrota " << rota::version_text << "\nsetup " << setup
                            << "\ntrace 0000000000000000\nend\n";
        auto const refused = run_simulate({"--replay", name});
        CHECK(refused.code == 2);
        CHECK_THAT(refused.text(), contains(expected));
    }

    std::ofstream{here.file("other.txt")}
        << "rota-replay 1\nrota 99.0.0\nsetup standard\ntrace 0000000000000000\nend\n";
    auto const other = run_simulate({"--replay", here.file("other.txt")});
    CHECK(other.code == 2);
    CHECK_THAT(other.text(), contains("is of rota \"99.0.0\", this is rota") && contains("(--any-version runs it") &&
                                 !contains("replay_settings"));
    auto const anyway = run_simulate({"--replay", here.file("other.txt"), "--any-version", "--json"});
    CHECK(anyway.code == 0);
    CHECK_THAT(anyway.text(), contains("\"broken\":null,\"as_recorded\":false"));
}

TEST_CASE("simulate tells how far it is, and ends with a summary at Ctrl-C") {
    auto process = start({"--seeds", "1..1000000000", "--minutes", "1", "--nodes", "2", "--jobs", "1"});
    deadline const until = 60s;
    auto const first = process.next_line(until);
    REQUIRE(first);
    CHECK_THAT(*first, contains("of 1000000000 seeds") && contains("a second"));
    REQUIRE(process.signal(SIGINT));
    auto const e = end_of(std::move(process));
    INFO(e.text());
    CHECK(e.code == 130);
    CHECK_THAT(e.text(), contains("nothing broke; ") && contains(" of 1000000000 seeds run (interrupted)") &&
                             contains("per CPU second"));
    CHECK((*first + e.text()).find_first_of("\r\x1b") == std::string::npos);  // this is no terminal
}
