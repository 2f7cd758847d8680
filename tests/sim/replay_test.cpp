// Replay files: what is written is read back, a failing run is seen again from its text alone, and what cannot be run as
// it was recorded is refused with words.
#include <rota/sim/replay.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "../catch.hpp"

namespace sim = rota::sim;
using namespace std::chrono_literals;

namespace {

/// Not an invariant of rota: something that faults break, so that there are failing runs to look at.
class at_most_two_crashes final : public sim::invariant {
public:
    std::string_view name() const override { return "at_most_two_crashes"; }
    void fault_began(sim::fault const& f) override {
        if (f.kind == sim::fault_kind::crash && f.node == 1 && ++crashes_ > 2) fail("node-1 crashed three times");
    }

private:
    int crashes_ = 0;
};

sim::setup const fragile{"fragile", [](sim::world& w) {
                             sim::check_all(w);
                             w.check<at_most_two_crashes>();
                         }};

sim::scenario stormy() {
    return sim::draw_scenario(5, {.kinds = sim::bit(sim::fault_kind::crash) | sim::bit(sim::fault_kind::lose_reply) |
                                           sim::bit(sim::fault_kind::pause),
                                  .swarm = false,
                                  .most_faults = 60,
                                  .nodes = 3,
                                  .schedules = 8});
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
    auto const at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

std::string const small = R"(rota-replay 1
rota )" + std::string{rota::version_text} +
                          R"(
setup standard
seed 11
nodes 2
schedules 3
length 20s
fault at 6s crash node 1 for 2s
trace 0000000000000000
end
)";

std::string words_of(std::string const& text, sim::replay_settings const& with = {}) {
    auto const r = sim::replay(text, with);
    if (r) return "accepted: " + r->words;
    CHECK(r.error().code == rota::errc::invalid_argument);
    return r.error().detail;
}

using rota_test::contains;

}  // namespace

TEST_CASE("A failing run is shrunk to the faults that it needs, and seen again from its text") {
    auto const drawn = stormy();
    auto const crashes = std::count_if(drawn.world.faults.begin(), drawn.world.faults.end(),
                                       [](auto const& f) { return f.kind == sim::fault_kind::crash && f.node == 1; });
    REQUIRE(crashes > 2);
    REQUIRE(drawn.world.faults.size() > 10);

    auto const found = sim::find_failure(drawn, fragile);
    REQUIRE(found);
    CHECK(found->broken.invariant == "at_most_two_crashes");
    CHECK(found->broken.words == "node-1 crashed three times");
    REQUIRE(found->run.world.faults.size() == 3);
    for (auto const& f : found->run.world.faults) CHECK(f.kind == sim::fault_kind::crash);
    CHECK(found->run.length <= drawn.length);
    CHECK(found->run.schedules == 0);
    CHECK(found->run.world.nodes == 2);

    auto const report = sim::describe(*found);
    INFO(report);
    CHECK_THAT(report, contains("at_most_two_crashes broken at " + sim::in_words(found->broken.at)));
    CHECK_THAT(report, contains("seed 5"));
    auto const when = sim::in_words(found->broken.at);
    CHECK_THAT(report, contains(when + " at " + when + " crash node 1"));  // the last event
    CHECK_THAT(report, contains("fault at"));

    auto const text = sim::to_text(sim::recording_of(*found));
    auto const again = sim::replay(text, {.setup = fragile});
    REQUIRE(again);
    REQUIRE(again->broken);
    CHECK(again->as_recorded);
    CHECK(again->broken->invariant == found->broken.invariant);
    CHECK(again->broken->at == found->broken.at);
    CHECK(again->trace_hash == found->broken.trace_hash);
    CHECK_THAT(again->words, contains("as recorded"));
    CHECK_THAT(again->broken->what(), contains(when + " at " + when + " crash node 1"));
}

TEST_CASE("What is written of a run is read back, every setting of it") {
    sim::recording r;
    r.run = sim::draw_scenario(3, {.kinds = sim::every_kind, .swarm = false});
    // Structured bindings: a member that is added must be added here, and in replay_text::each_setting.
    auto& [seed, nodes, clock_drift, options, work, network, longest_loss, faults, restart_after, strategy] =
        r.run.world;
    auto& [period, least, most, lock_ttl, names, heeds_stop] = work;
    auto& [least_delay, most_delay] = network;
    seed = 0xffff'ffff'ffff'ffff;
    nodes = 17;
    clock_drift = 0.1 / 3;
    longest_loss = 123'457us;
    restart_after = 7s;
    strategy = "constrained";
    period = 1'234'567us;
    least = 0us;
    most = 3s;
    lock_ttl = 1ms;
    names = 2;
    heeds_stop = !heeds_stop;
    least_delay = 1us;
    most_delay = 2us;
    options.heartbeat_interval = 200ms;
    options.node_ttl = 4s;
    options.leader_lease = 5s;
    options.operation_timeout = 77ms;
    options.clock_drift = 1e-5;
    options.safety_margin = 3ms;
    options.max_schedules_per_node = 5;
    options.auto_rebalance = false;
    options.rebalance_threshold = 1.0 / 3;
    options.handoff_deadline = 0us;
    options.zone = "eu";
    options.planning_budget = 17ms;
    options.load_smoothing = 1s;
    options.load_floor = 2.5;
    options.audit_interval = 2min;
    options.on_conflict = rota::conflict_policy::refuse;
    options.event_scope = rota::event_scope::group;
    options.jitter_seed = 99;
    r.run.schedules = 41;
    r.run.length = 61'000'001us;
    r.run.bytes = {0x00, 0x7f, 0xff};
    r.setup = "my own";
    r.invariant = "one_leader";
    r.broke_at = sim::moment{17'000'003us};
    r.trace_hash = 0x0123456789abcdef;

    auto const text = sim::to_text(r);
    INFO(text);
    auto const back = sim::recording_from(text);
    REQUIRE(back);
    CHECK(sim::to_text(*back) == text);
    CHECK(back->run.world.faults == faults);
    CHECK(back->run.bytes == r.run.bytes);
    CHECK(back->setup == "my own");
    CHECK(back->invariant == "one_leader");
    CHECK(back->broke_at == r.broke_at);
    CHECK(back->trace_hash == r.trace_hash);
    std::vector<std::string> written, read, defaults;
    auto into = [](std::vector<std::string>& list) {
        return [&list](std::string_view name, auto const& value) {
            list.push_back(std::string{name} + " " + sim::replay_text::written(value));
        };
    };
    sim::replay_text::each_setting(r.run, into(written));
    sim::replay_text::each_setting(back->run, into(read));
    sim::scenario const nothing_set;
    sim::replay_text::each_setting(nothing_set, into(defaults));
    CHECK(read == written);
    for (std::size_t i = 0; i < written.size(); ++i) CHECK(written[i] != defaults[i]);  // or the test shows nothing
    CHECK(back->run.world.seed == seed);
    CHECK(back->run.length == r.run.length);
    CHECK(back->run.schedules == 41);
}

TEST_CASE("A fault that only healing ends says so, and is read back") {
    sim::fault const cut{.at = sim::moment{5s}, .kind = sim::fault_kind::cut, .node = 1, .lasting = sim::forever};
    CHECK(sim::to_text(cut) == "at 5s cut node 1 until healed");
    CHECK(sim::fault_from("at 5s cut node 1 until healed") == cut);
    CHECK(sim::fault_from("at 5s cut node 1 for 1000000000s") == cut);  // as it was written once
    for (auto const* bad : {"at 5s cut node 1 until", "at 5s cut node 1 until noon", "at 5s cut node 1 for healed"}) {
        INFO(bad);
        CHECK_FALSE(sim::fault_from(bad));
    }
    auto const delay = "at 5s delay node 1 until healed amount 70000";
    REQUIRE(sim::fault_from(delay));
    CHECK(sim::to_text(*sim::fault_from(delay)) == delay);

    sim::recording r;
    r.run.world.faults = {cut};
    auto const back = sim::recording_from(sim::to_text(r));
    REQUIRE(back);
    CHECK(back->run.world.faults == r.run.world.faults);
}

TEST_CASE("What breaks is said first and last, and between them the last 40 events at most") {
    auto const report_of = [](int notes) -> std::string {
        sim::world w{{.seed = 28}};
        auto const before = w.last_events(1000);
        for (int i = 1; i <= notes; ++i) w.note("note " + std::to_string(i));
        CHECK(before.empty());  // so that all that is told of are notes of ours
        try {
            w.broken("something", "broke");
        } catch (sim::broken_invariant const& e) {
            return e.what();
        }
        return {};
    };
    std::string const headline = "something broken at 0s: broke\n";
    for (auto const notes : {3, 40, 41, 1000}) {
        auto const report = report_of(notes);
        INFO(report);
        CHECK(report.starts_with(headline));
        CHECK(report.ends_with(headline));
        CHECK(std::count(report.begin(), report.end(), '\n') == 4 + std::min(notes, 40) + (notes > 40 ? 1 : 0));
        CHECK_THAT(report, contains(" note " + std::to_string(notes) + "\n"));
        if (notes > 40) {
            CHECK_THAT(report, contains("    ... " + std::to_string(notes - 40) + " earlier\n"));
            CHECK_THAT(report, !contains(" note " + std::to_string(notes - 40) + "\n"));
        } else {
            CHECK_THAT(report, contains(" note 1\n") && !contains("earlier"));
        }
    }
}

TEST_CASE("A replay says whether it went as recorded") {
    auto const first = sim::replay(small);
    REQUIRE(first);
    CHECK_FALSE(first->broken);
    CHECK_FALSE(first->as_recorded);
    CHECK_THAT(first->words, contains("nothing breaks, as recorded, but the way there is another"));

    auto const right = replaced(small, "trace 0000000000000000", fmt::format("trace {:016x}", first->trace_hash));
    CHECK(words_of(right) == "accepted: nothing breaks, as recorded");
    CHECK(words_of(replaced(right, "seed 11", "seed 12")) ==
          "accepted: nothing breaks, as recorded, but the way there is another");
    CHECK_THAT(words_of(replaced(right, "trace", "broke one_leader at 14s\ntrace")),
               contains("nothing breaks; when it was recorded, one_leader broke at 14s"));

    INFO("comments, empty lines, carriage returns and indentation do no harm: it may have been through a mail");
    auto mailed = "# found last night\n\n" + right;
    for (std::size_t at = 0; (at = mailed.find('\n', at)) != std::string::npos; at += 4)
        mailed.replace(at, 1, "\r\n  ");
    CHECK(words_of(mailed) == "accepted: nothing breaks, as recorded");
}

TEST_CASE("A replay file of another version or configuration is refused with words that say what differs") {
    auto const other = replaced(small, "rota " + std::string{rota::version_text}, "rota 99.2.1");
    CHECK_THAT(words_of(other), contains("of rota \"99.2.1\", this is rota " + std::string{rota::version_text}));
    CHECK_THAT(words_of(other, {.any_version = true}), contains("accepted: nothing breaks"));

    CHECK_THAT(words_of(small, {.setup = fragile}), contains("with the setup \"standard\", this one is \"fragile\""));
    CHECK_THAT(words_of(replaced(small, "rota-replay 1", "rota-replay 2")),
               contains("it has the format \"rota-replay 2\"; this version of rota reads \"rota-replay 1\""));
    CHECK_THAT(words_of(replaced(small, "length", "gravity 9.81\nlength")),
               contains("line 7 of the replay file: there is no setting \"gravity\""));
    CHECK_THAT(words_of(replaced(small, "length", "options.node_ttl 1s\nlength")),
               contains("options that rota refuses: node_ttl is 1 s"));
}

TEST_CASE("Garbage is refused, and the line is named") {
    CHECK_THAT(words_of(""), contains("is empty"));
    CHECK_THAT(words_of("\n# nothing\n"), contains("is empty"));
    CHECK_THAT(words_of("hello"),
               contains("line 1 of the replay file: this is no replay file: it begins with \"hello\""));
    CHECK_THAT(words_of(std::string(5000, '\x1b')), contains("\"????"));  // nothing that a terminal acts on
    CHECK_THAT(words_of(replaced(small, "end\n", "")), contains("no line \"end\": it is cut off"));
    CHECK_THAT(words_of(replaced(small, "trace 0000000000000000\n", "")), contains("does not say what its trace is"));
    CHECK_THAT(words_of(replaced(small, "nodes 2", "nodes 0")), contains("0 nodes, must have 1 to"));

    auto const line = [](std::string_view was, std::string_view is) { return words_of(replaced(small, was, is)); };
    CHECK_THAT(line("seed 11", "seed eleven"), contains("line 4 of the replay file: seed: \"eleven\""));
    CHECK_THAT(line("seed 11", "seed"), contains("seed: \"\""));
    CHECK_THAT(line("seed 11", "seed -1"), contains("seed: \"-1\""));
    CHECK_THAT(line("seed 11", "seed 18446744073709551616"), contains("out of range"));
    CHECK_THAT(line("length 20s", "length 20"), contains("length: \"20\""));
    CHECK_THAT(line("length 20s", "length -20s"), contains("length: \"-20s\""));
    CHECK_THAT(line("length 20s", "length 99999999999s"), contains("out of range"));
    CHECK_THAT(line("length 20s", "clock_drift nan"), contains("clock_drift nan, must be 0 .. 0.1"));
    CHECK_THAT(line("length 20s", "work.heeds_stop maybe"), contains("work.heeds_stop: \"maybe\""));
    CHECK_THAT(line("length 20s", "work.lock_ttl 0s"), contains("work.lock_ttl under 1 ms"));
    CHECK_THAT(line("length 20s", "options.event_scope all"), contains("options.event_scope: \"all\""));
    CHECK_THAT(line("crash", "smash"),
               contains("line 8 of the replay file: \"at 6s smash node 1 for 2s\" is no fault"));
    CHECK_THAT(line("crash node 1 for 2s", "clock_rate node 1 amount -2000000000"), contains("is out of range"));
    CHECK_THAT(line("trace 0", "trace x"), contains("is no hash of 16"));
    CHECK_THAT(line("trace", "broke one_leader\ntrace"), contains("expected: broke INVARIANT at TIME"));
    CHECK_THAT(line("nodes 2", "seed 12"), contains("line 5 of the replay file: there was a line \"seed\" before"));
    CHECK_THAT(line("trace", "trace 0000000000000001\ntrace"),
               contains("line 10 of the replay file: there was a line \"trace\" before"));
    CHECK_THAT(line("end\n", "end\nnodes 7\n"),
               contains("line 11 of the replay file: \"nodes 7\" after the line \"end\""));
    CHECK_THAT(line("end\n", "end\nend\n"), contains("line 11 of the replay file: \"end\" after the line \"end\""));
    CHECK_THAT(line("end\n", "end\n\n# found last night\n"), contains("accepted: "));
    CHECK_THAT(line("trace", "bytes 0g\ntrace"), contains("no bytes in hexadecimal"));
    CHECK_THAT(line("fault at 6s crash node 1 for 2s", "fault at 6s fail_over amount 900000000"),
               contains("fail_over cannot lose more than"));
}

TEST_CASE("No text makes a replay crash") {
    auto const text = sim::to_text({.run = stormy(), .trace_hash = 1});
    sim::choices pick{2026};
    for (int i = 0; i < 3000; ++i) {
        auto changed = text;
        auto const changes = 1 + pick.choose(4);
        for (std::uint64_t n = 0; n < changes; ++n) {
            auto const at = static_cast<std::size_t>(pick.choose(changed.size()));
            auto const what = pick.choose(3);
            auto const byte = static_cast<char>(pick.choose(256));
            if (what == 0) changed[at] = byte;
            if (what == 1) changed.erase(at, 1 + static_cast<std::size_t>(pick.choose(30)));
            if (what == 2) changed.insert(at, 1, byte);
            if (changed.empty()) changed = "x";
        }
        if (auto const r = sim::recording_from(changed)) {
            CHECK(sim::to_text(*sim::recording_from(sim::to_text(*r))) == sim::to_text(*r));
        } else {
            CHECK_FALSE(r.error().detail.empty());
        }
    }
}
