// Three nodes in one process share a dozen schedules, and their leader dies. Needs no server: the group lives in a
// memory_store, in real time; that the leader dies means that its connection is cut and its thread stops without a word.
//
// What is printed is what the nodes' event sinks were told, and what their local reads say. It ends by itself: with exit
// code 0 if all went as expected, 1 if something did not happen within its time, 130 after Ctrl-C.
#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <map>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/core.h>

#include <rota/coordinator.hpp>
#include <rota/sink/describe.hpp>
#include <rota/transport/memory.hpp>

namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr milliseconds heartbeat = 100ms;
constexpr milliseconds lease = 1s;  // of the leader; and a node's ttl

volatile std::sig_atomic_t interrupted = 0;

/// Ends the demo early.
struct the_end {
    int exit_code = 1;
    std::string why;
};

/// What happened when, told by the nodes' threads, printed by the main thread.
class account {
public:
    /// Milliseconds since the demo began.
    [[nodiscard]] long long now() const {
        return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - start_).count();
    }

    void note(std::string node, std::string text) { add({now(), std::move(node), std::move(text), {}}); }

    /// Schedules that a node gets in a row, in the same way, become one line.
    void note_gain(std::string node, std::string how, std::string schedule) {
        add({now(), std::move(node), std::move(how), {std::move(schedule)}});
    }

    void print_news() {
        for (auto const& line : take_lines()) {
            auto text = line.text;
            if (!line.schedules.empty()) {
                text = "+";
                for (auto const& schedule : line.schedules) text += ' ' + schedule;
                text += "   (" + line.text + ')';
            }
            fmt::print("{:7} ms  {:6}  {}\n", line.at, line.node, text);
        }
        std::fflush(stdout);
    }

    // Who an incarnation is: a follower is told only by which incarnation a schedule was owned before.
    void learn(rota::node_ref const& node) {
        std::lock_guard const lock{mutex_};
        names_[node.incarnation] = node.id;
    }
    [[nodiscard]] std::string name_of(rota::node_ref const& node) {
        std::lock_guard const lock{mutex_};
        auto const known = names_.find(node.incarnation);
        return known == names_.end() ? node.id : known->second;
    }

private:
    struct entry {
        long long at = 0;
        std::string node;
        std::string text;
        std::vector<std::string> schedules;
    };

    void add(entry fresh) {
        std::lock_guard const lock{mutex_};
        if (!news_.empty() && !fresh.schedules.empty()) {
            auto& last = news_.back();
            if (!last.schedules.empty() && last.node == fresh.node && last.text == fresh.text) {
                last.schedules.push_back(std::move(fresh.schedules.front()));
                return;
            }
        }
        news_.push_back(std::move(fresh));
    }

    std::vector<entry> take_lines() {
        std::lock_guard const lock{mutex_};
        return std::exchange(news_, {});
    }

    std::chrono::steady_clock::time_point const start_ = std::chrono::steady_clock::now();
    std::mutex mutex_;
    std::vector<entry> news_;
    std::map<rota::fencing_token, std::string> names_;
};

/// The event sink of one node: turns what it is told into lines of the account.
struct teller {
    account& told;
    std::string self;

    void operator()(rota::event const& e) const {
        std::visit([&](auto const& held) { tell(held); }, e);
    }

private:
    void tell(rota::node_joined const& e) const {
        told.learn(e.node);
        told.note(self, fmt::format("joined, incarnation {}", e.node.incarnation));
    }
    void tell(rota::node_left const&) const { told.note(self, "left"); }
    void tell(rota::leadership_changed const& e) const {
        if (e.leader.id == self) told.note(self, fmt::format("leads, term {}", e.term));
    }
    void tell(rota::ownership_changed const& e) const {
        if (e.to.id != self) return;  // its new owner tells of it
        auto how = std::string{rota::to_string(e.reason)};
        if (e.from.incarnation != 0) how += ", was " + told.name_of(e.from) + "'s";
        told.note_gain(self, std::move(how), e.schedule);
    }
    void tell(rota::membership_changed const& e) const {  // told to the leader
        if (e.change == rota::membership_change::died) told.note(self, "finds that " + e.subject.id + " died");
    }
    void tell(rota::handoff_requested const&) const {}
    void tell(rota::schedule_changed const&) const {}
    template <typename Unexpected>
    void tell(Unexpected const& e) const {  // suspended, say, on a machine that is too busy for this
        told.note(self, rota::describe(e));
    }
};

/// A node as a process of its own would have it: a coordinator, and a thread that takes part.
class node {
public:
    node(std::string given, rota::memory_store const& group, account& told)
        : name{given},
          wire_{group},
          coordinator{rota::options{
                          .node_id = given, .heartbeat_interval = heartbeat, .node_ttl = lease, .leader_lease = lease},
                      wire_, teller{told, given}} {}

    void start() {
        heart_ = std::jthread{[this](std::stop_token stop) { (void)coordinator.run(stop); }};
    }

    /// Cut off in the middle of everything: nothing is given back, nobody is told.
    void crash() {
        wire_.refuse(true);
        heart_ = {};
    }

    [[nodiscard]] std::vector<rota::owned_schedule> owned() const { return coordinator.owned(); }
    [[nodiscard]] std::uint64_t requests() const { return wire_.requests(); }

    std::string const name;

private:
    rota::memory_transport wire_;

public:
    rota::basic_coordinator<rota::memory_transport, teller> coordinator;

private:
    std::jthread heart_;  // ends before the coordinator does
};

using nodes = std::vector<node*>;

[[nodiscard]] std::size_t total_load(nodes const& all) {
    std::size_t sum = 0;
    for (auto const* each : all) sum += each->owned().size();
    return sum;
}

[[nodiscard]] bool each_owns(nodes const& all, std::size_t count) {
    return std::all_of(all.begin(), all.end(), [&](auto const* each) { return each->owned().size() == count; });
}

/// The one that leads; null: none.
[[nodiscard]] node* leader_of(nodes const& all) {
    for (auto* each : all) {
        if (each->coordinator.is_leader()) return each;
    }
    return nullptr;
}

/// Goes on when `met`; tells meanwhile what happens.
template <typename Condition>
void expect(account& told, std::string_view what, Condition&& met) {
    constexpr auto patience = 10s;
    auto const limit = std::chrono::steady_clock::now() + patience;
    for (;;) {
        bool const now_met = met();
        told.print_news();
        if (interrupted) throw the_end{130, "interrupted"};
        if (now_met) return;
        if (std::chrono::steady_clock::now() > limit) {
            throw the_end{1, fmt::format("this did not happen within {} s: {}", patience.count(), what)};
        }
        std::this_thread::sleep_for(2ms);
    }
}

void print_heading(std::string_view text) { fmt::print("\n{}\n\n", text); }

void print_roster(nodes const& all) {
    fmt::print("\n");
    for (auto const* each : all) {
        std::string line;
        for (auto const& schedule : each->owned()) line += ' ' + schedule.id;
        fmt::print("{:>18}  {:5} {}\n", each->name, each->coordinator.is_leader() ? "leads" : "", line);
    }
}

void tell_the_story(account& told) {
    rota::memory_store const group;
    std::array<node, 3> all{node{"node-1", group, told}, node{"node-2", group, told}, node{"node-3", group, told}};
    nodes alive{&all[0], &all[1], &all[2]};

    print_heading("One node is alone; it leads, and owns all:");
    constexpr std::size_t schedules = 12;
    std::vector<rota::schedule> feeds;
    for (char letter = 'a'; feeds.size() < schedules; ++letter) feeds.push_back({.id = std::string{"feed-"} + letter});
    all[0].start();
    expect(told, "node-1 leads", [&] { return all[0].coordinator.is_leader(); });
    if (auto made = all[0].coordinator.register_schedules(feeds).all(); !made) throw the_end{1, made.error().message()};
    expect(told, "node-1 owns all schedules", [&] { return all[0].owned().size() == schedules; });

    print_heading("Two more join; the leader evens out the load with the fewest moves:");
    all[1].start();
    all[2].start();
    node* dead = nullptr;
    expect(told, "each node owns 4 schedules, and one leads", [&] {
        dead = leader_of(alive);
        return dead && each_owns(alive, 4);
    });
    print_roster(alive);

    print_heading("For a second nothing happens; this is what it costs:");
    std::map<std::string, std::uint64_t> requests;
    for (auto const* each : alive) requests[each->name] = each->requests();
    expect(told, "a second passes", [quiet_until = told.now() + 1000, &told] { return told.now() >= quiet_until; });
    for (auto const* each : alive) {
        told.note(each->name, fmt::format("made {} requests", each->requests() - requests[each->name]));
    }
    told.print_news();

    print_heading(fmt::format("{} dies, without a word:", dead->name));
    auto const crash_at = told.now();
    dead->crash();
    std::erase(alive, dead);
    told.note(dead->name, "is cut off");
    expect(told, "the dead leader believes no more", [&] { return !dead->coordinator.is_leader(); });
    told.note(dead->name, "would not act as the leader any more, by its own clock");

    node* leaving = nullptr;
    expect(told, "another node leads, and the others own all schedules, half each", [&] {
        leaving = leader_of(alive);
        return leaving && each_owns(alive, schedules / 2);
    });
    auto const taken_over_at = told.now();
    print_roster(alive);
    if (dead->coordinator.is_leader() || !dead->owned().empty()) throw the_end{1, "the dead node still believes"};

    print_heading(fmt::format("{} leaves in order; nobody has to wait for a lease to end:", leaving->name));
    auto const leave_at = told.now();
    if (auto left = leaving->coordinator.leave(); !left) throw the_end{1, left.error().message()};
    std::erase(alive, leaving);
    expect(told, "the last node leads and owns all schedules",
           [&] { return leader_of(alive) && total_load(alive) == schedules; });
    auto const handed_over_at = told.now();
    print_roster(alive);

    fmt::print(
        "\nAll {} schedules had a new owner {} ms after the crash (the lease is {} ms), {} ms after the leave.\n",
        schedules, taken_over_at - crash_at, lease.count(), handed_over_at - leave_at);
    if (auto left = alive.front()->coordinator.leave(); !left) throw the_end{1, left.error().message()};
}

}  // namespace

int main() {
    std::signal(SIGINT, [](int) { interrupted = 1; });
    std::signal(SIGTERM, [](int) { interrupted = 1; });
    fmt::print(
        "rota: three nodes in one process, 12 schedules, no server\n"
        "heartbeat {} ms, leader lease and node ttl {} ms\n",
        heartbeat.count(), lease.count());
    account told;
    try {
        tell_the_story(told);
    } catch (the_end const& end) {
        told.print_news();
        std::fflush(stdout);
        fmt::print(stderr, "\ndemo: {}\n", end.why);
        return end.exit_code;
    }
    return 0;
}
