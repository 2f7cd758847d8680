// Sweeps seeds through the simulator, on as many threads as there are processors, until something breaks; then says what,
// and writes a file that shows it again. Needs no server.
//
// A run depends on its seed and the options alone: threads share a counter of seeds, nothing else, and what is printed
// is the same whatever their number, but for figures of speed.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <deque>
#include <exception>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/core.h>

#include <rota/sim/replay.hpp>
#include <rota/sim/sweep.hpp>
#include <rota/sim/timeline.hpp>

#include "simulate/command_line.hpp"
#include "simulate/report.hpp"

namespace {

using namespace std::chrono_literals;
namespace sim = rota::sim;

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

void interrupt(int signal) {
    interrupted = true;
    std::signal(signal, SIG_DFL);  // the second one ends it at once
}

/// What is run: rota, or rota with a bug planted. A replay file knows it by the name of the setup.
struct subject {
    sim::setup setup;
    std::optional<sim::failure> (*find_failure)(sim::scenario const&, sim::setup const&, sim::tally*,
                                                std::uint64_t& trace);
    rota::result<sim::replayed> (*replay)(std::string_view, sim::replay_settings const&);
};

template <typename World>
subject subject_of(std::string name) {
    return {{.name = std::move(name)},
            [](sim::scenario const& d, sim::setup const& with, sim::tally* seen, std::uint64_t& trace) {
                std::optional<sim::failure> found;
                try {
                    trace = sim::run_scenario<World>(d, false, with, seen);
                } catch (sim::broken_invariant const&) {
                    found = sim::find_failure<World>(d, with);
                }
                return found;
            },
            sim::replay<World>};
}

/// A bug in each machine and in the server, chosen once, before any thread starts.
struct planted {
    static bool has(rota::detail::defect d) { return d == which; }
    static inline auto which = rota::detail::defect::none;
};

constexpr std::pair<std::string_view, rota::detail::defect> bugs[] = {
    {"lease_from_reply", rota::detail::defect::lease_from_reply},
    {"margin_ignored", rota::detail::defect::margin_ignored},
    {"token_not_minted", rota::detail::defect::token_not_minted},
    {"adopt_any_term", rota::detail::defect::adopt_any_term},
    {"reap_early", rota::detail::defect::reap_early},
    {"join_inherits", rota::detail::defect::join_inherits},
    {"acquire_any_owner", rota::detail::defect::acquire_any_owner},
    {"release_any_owner", rota::detail::defect::release_any_owner},
    {"stale_connection", rota::detail::defect::stale_connection}};

constexpr std::string_view setup_of_a_bug = "planted-";  // and its name

std::optional<subject> subject_for(std::string_view bug) {
    if (bug.empty()) return subject_of<sim::world>("standard");
    for (auto const& [name, which] : bugs) {
        if (bug != name) continue;
        planted::which = which;
        return subject_of<sim::basic_world<planted>>(fmt::format("{}{}", setup_of_a_bug, bug));
    }
    return std::nullopt;
}

/// There is no such bug: that, and which there are.
int refuse_bug(std::string_view source, std::string_view bug) {
    std::string names;
    for (auto const& [name, which] : bugs) names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
    fmt::print(stderr, "simulate: {}: there is no bug {}; there are: {}\n", source, sim::replay_text::quoted(bug),
               names);
    return 2;
}

bool write_file(std::string const& name, std::string const& text) {
    std::ofstream file{name, std::ios::binary};
    file << text;
    file.close();
    if (!file) fmt::print(stderr, "simulate: cannot write {}\n", name);
    return !file.fail();
}

/// The same run once more, for its picture.
bool draw(subject const& s, sim::recording const& run, std::string title, std::string const& file) {
    std::optional<sim::timeline> drawn;
    auto setup = s.setup;
    setup.prepare = [&, checks = s.setup.prepare](sim::world& w) {
        checks(w);
        drawn.emplace(w);
    };
    auto const again = s.replay(to_text(run), {.setup = setup, .any_version = true});
    if (!again || !drawn) return false;
    return write_file(file, drawn->svg({.title = std::move(title)}));
}

// ---------------------------------------------------------------- a sweep

struct done_seed {
    std::uint64_t seed = 0;
    std::uint64_t trace = 0;
    sim::tally seen{};
    std::optional<sim::failure> failure{};
    std::string trouble{};  // what is no broken invariant but an exception all the same
};

/// Runs seeds in threads; gives what came of them in the order of the seeds.
class sweep {
public:
    sweep(example::settings const& asked, subject const& what) : asked_{asked}, what_{what} {
        for (unsigned i = 0; i < asked.jobs; ++i) threads_.emplace_back([this] { work(); });
    }
    ~sweep() { stop(); }
    sweep(sweep const&) = delete;
    sweep& operator=(sweep const&) = delete;

    /// No further seed is begun.
    void stop() { stopped_ = true; }

    /// The next in order, if it is there within `time`.
    std::optional<done_seed> next(std::chrono::milliseconds time) {
        std::unique_lock lock{mutex_};
        auto const there = [&] { return !ready_.empty() && ready_.begin()->first == position_; };
        if (!news_.wait_for(lock, time, there)) return std::nullopt;
        ++position_;
        return std::move(ready_.extract(ready_.begin()).mapped());
    }
    /// Nothing more will come.
    [[nodiscard]] bool over() {
        std::lock_guard const lock{mutex_};
        return ended_ == asked_.jobs && (ready_.empty() || ready_.begin()->first != position_);
    }

private:
    void work() {
        auto const count = asked_.last_seed - asked_.first_seed;  // and one more, which might not fit
        while (!stopped_) {
            auto const at = claimed_.fetch_add(1);
            if (at > count) break;
            auto done = run(asked_.first_seed + at);
            std::lock_guard const lock{mutex_};
            ready_.emplace(at, std::move(done));
            news_.notify_one();
        }
        std::lock_guard const lock{mutex_};
        ++ended_;
        news_.notify_one();
    }
    done_seed run(std::uint64_t seed) const {
        done_seed done{.seed = seed};
        try {
            done.failure =
                what_.find_failure(sim::draw_scenario(seed, asked_.sweep), what_.setup, &done.seen, done.trace);
        } catch (std::exception const& e) {
            done.trouble = e.what();
        }
        return done;
    }

    example::settings const& asked_;
    subject const& what_;
    std::atomic<std::uint64_t> claimed_ = 0;
    std::atomic<bool> stopped_ = false;
    std::mutex mutex_;
    std::condition_variable news_;
    std::map<std::uint64_t, done_seed> ready_;
    std::uint64_t position_ = 0;
    unsigned ended_ = 0;
    std::vector<std::jthread> threads_;  // last: they use all of the above
};

int run_sweep(example::settings const& asked, subject const& what) {
    auto const start = std::chrono::steady_clock::now();
    example::progress progress;
    example::outcome o{.seeds = asked.last_seed - asked.first_seed + 1};
    std::string trouble;
    std::optional<sim::recording> to_draw;
    {
        sweep runs{asked, what};
        while (!runs.over() && !o.broken_seed && trouble.empty()) {
            if (interrupted) runs.stop();
            progress.tell(o.seen.runs, o.seeds);
            auto done = runs.next(100ms);
            if (!done) continue;
            o.seen += done->seen;
            o.trace = sim::mixed(o.trace ^ done->trace);
            if (!done->trouble.empty()) trouble = fmt::format("seed {}: {}", done->seed, done->trouble);
            if (asked.json && !done->failure && trouble.empty()) {
                example::print_run(done->seed, done->trace, done->seen.events);
            }
            if (!to_draw) {
                to_draw = sim::recording{.run = sim::draw_scenario(done->seed, asked.sweep), .setup = what.setup.name};
            }
            if (!done->failure) continue;
            o.broken_seed = done->seed;
            progress.end();
            to_draw = recording_of(*done->failure);
            auto file = asked.replay_to.empty() ? fmt::format("rota-replay-{}.txt", done->seed) : asked.replay_to;
            if (!write_file(file, to_text(*to_draw))) file.clear();
            example::print_failure(asked, *done->failure, file);
        }
    }
    progress.end();
    o.interrupted = interrupted && !o.broken_seed;
    o.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    o.cpu_seconds = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
    if (!trouble.empty()) {
        fmt::print(stderr, "simulate: {}\n", trouble);
        return 1;
    }
    bool good = true;
    if (!asked.svg.empty() && to_draw) {
        auto title = fmt::format("seed {}", to_draw->run.world.seed);
        if (o.broken_seed)
            title += fmt::format(": {} broke at {}", to_draw->invariant, sim::in_words(to_draw->broke_at));
        good = draw(what, *to_draw, std::move(title), asked.svg);
    }
    example::print_summary(asked, o);
    if (o.broken_seed) return 1;
    if (o.interrupted) return 130;
    return good ? 0 : 2;
}

// ---------------------------------------------------------------- one replay

int run_replay(example::settings const& asked) {
    std::ifstream file{asked.replay, std::ios::binary};
    std::ostringstream text;
    text << file.rdbuf();
    if (!file) {
        fmt::print(stderr, "simulate: cannot read {}\n", asked.replay);
        return 2;
    }
    auto const refuse = [&](std::string_view why) {
        fmt::print(stderr, "simulate: {}: {}\n", asked.replay, why);
        return 2;
    };
    auto const recorded = sim::recording_from(text.str());
    if (!recorded) return refuse(recorded.error().detail);
    // Said here rather than by sim::replay(), which does not know of our options.
    using sim::replay_text::quoted;
    if (recorded->version != rota::version_text && !asked.any_version) {
        return refuse(
            fmt::format("it is of rota {}, this is rota {}: what it draws from a seed may differ "
                        "(--any-version runs it all the same)",
                        quoted(recorded->version), rota::version_text));
    }
    std::string_view const setup = recorded->setup;
    bool const has_bug = setup.starts_with(setup_of_a_bug);
    auto const bug = has_bug ? setup.substr(setup_of_a_bug.size()) : std::string_view{};
    if (!has_bug && setup != "standard") {
        return refuse(
            fmt::format("it is of a run with the setup {}: only the program that has it can replay it", quoted(setup)));
    }
    if (!asked.plant.empty() && bug != asked.plant) {
        return refuse(fmt::format("it is of a run {}: leave out --plant {}",
                                  has_bug ? "with the bug " + quoted(bug) : "without a planted bug",
                                  quoted(asked.plant)));
    }
    auto const what = subject_for(bug);
    if (!what || bug.empty() == has_bug) return refuse_bug(asked.replay, bug);
    auto const again = what->replay(text.str(), {.setup = what->setup, .any_version = true});
    if (!again) return refuse(again.error().detail);
    if (asked.json) {
        fmt::print("{{\"event\":\"replay\",\"broken\":{},\"as_recorded\":{},\"words\":{},\"trace\":\"{:016x}\"}}\n",
                   again->broken ? example::json_text(again->broken->invariant) : "null", again->as_recorded,
                   example::json_text(again->words), again->trace_hash);
    } else {
        if (again->broken) fmt::print("{}\n", again->broken->what());
        fmt::print("{}\n", again->words);
    }
    if (!asked.svg.empty() && !draw(*what, again->recorded, again->words, asked.svg)) return 2;
    return again->broken ? 1 : 0;
}

}  // namespace

int main(int argc, char* argv[]) {
    auto const asked = example::read_command_line(argc, argv);
    if (auto const* words = std::get_if<example::parting_words>(&asked)) {
        fmt::print(words->exit_code == 0 ? stdout : stderr, "{}", words->text);
        return words->exit_code;
    }
    auto const& settings = std::get<example::settings>(asked);
    auto const what = subject_for(settings.plant);
    if (!what) return refuse_bug("--plant", settings.plant);
    if (!settings.replay.empty()) return run_replay(settings);
    std::signal(SIGINT, interrupt);
    std::signal(SIGTERM, interrupt);
    return run_sweep(settings, *what);
}
