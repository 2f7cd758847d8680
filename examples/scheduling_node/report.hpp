// What scheduling_node says: the event sink that writes lines, for people or as JSON. `--help` describes the latter.
//
// One line at a time, from any thread, in the order of their times, and flushed: whoever reads them sees them at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/core.h>

#include <rota/events.hpp>
#include <rota/result.hpp>
#include <rota/sink/describe.hpp>

namespace example {

/// CLOCK_MONOTONIC, the same for all processes of a machine.
[[nodiscard]] inline std::int64_t monotonic_microseconds() {
    std::timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return std::int64_t{t.tv_sec} * 1'000'000 + t.tv_nsec / 1'000;
}

/// Whether all of it is well-formed UTF-8 (overlong forms and surrogates are not).
[[nodiscard]] inline bool is_utf8(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        auto const at = [&](std::size_t k) { return k < text.size() ? static_cast<unsigned char>(text[k]) : 0U; };
        unsigned const first = at(i);
        std::size_t const length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
        if (length == 0 || first > 0xf4) return false;
        for (std::size_t k = 1; k < length; ++k) {
            if ((at(i + k) & 0xc0) != 0x80) return false;
        }
        unsigned const second = at(i + 1);
        if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f)) return false;
        if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) return false;
        i += length;
    }
    return true;
}

/// A JSON string. Ids may hold any byte: where they are no UTF-8, each byte above 127 stands as \u00XX.
[[nodiscard]] inline std::string as_json(std::string_view text) {
    bool const utf8 = is_utf8(text);
    std::string quoted = "\"";
    for (char const c : text) {
        auto const byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            quoted += '\\';
            quoted += c;
        } else if (byte < 0x20 || byte == 0x7f || (byte > 0x7f && !utf8)) {
            quoted += fmt::format("\\u{:04x}", byte);
        } else {
            quoted += c;
        }
    }
    return quoted += '"';
}

class report {
public:
    report(std::string self, bool json) : self_{std::move(self)}, json_{json} {}

    /// The event sink.
    void operator()(rota::event const& e) {
        std::lock_guard const lock{mutex_};
        std::visit([&](auto const& held) { on(held); }, e);
    }

    // ------------------------------------------------ runs

    /// Says that a run starts; or that it is refused and must not start, if its schedule is not this node's any more, or the
    /// lock not valid at that very moment: then returns false. `Lock`: schedule_lock or async_lock.
    template <typename Lock>
    [[nodiscard]] bool run_started(Lock const& run, std::optional<rota::fencing_token> generation) {
        std::lock_guard const lock{mutex_};
        auto const now = monotonic_microseconds();  // before the check: a pause in between would end the lock
        if (!generation || !run.valid()) {
            refuse(run.name(), "the lock ended before the run began");
            return false;
        }
        if (json_) {
            write(line("run_started", now) + of_run(run, *generation));
        } else {
            ++runs_;
        }
        return true;
    }

    template <typename Lock>
    void run_finished(Lock const& run, rota::fencing_token generation) {
        std::lock_guard const lock{mutex_};
        if (json_) write(line("run_finished", monotonic_microseconds()) + of_run(run, generation));
    }

    template <typename Lock>
    void run_extended(Lock const& run, rota::result<void> const& extended) {
        if (!extended) say(run.name() + ": no more time, " + extended.error().message());
    }
    template <typename Lock>
    void run_broken_off(Lock const& run) {
        say(run.name() + ": the run is broken off, the lock has ended");
    }

    void run_refused(std::string const& schedule, std::string const& why) {
        std::lock_guard const lock{mutex_};
        refuse(schedule, why);
    }

    /// For people, every few seconds: what this node has run since, and what it owns.
    [[nodiscard]] bool summary_is_due() {
        std::lock_guard const lock{mutex_};
        return clock::now() >= next_summary_;
    }
    void sum_up(std::vector<std::string> const& owned) {
        std::lock_guard const lock{mutex_};
        next_summary_ += summary_interval;
        auto const runs = std::exchange(runs_, 0);
        if (json_ || runs == 0) return;
        auto text = fmt::format("{} runs; owns {}:", runs, owned.size());
        constexpr std::size_t most = 6;
        for (std::size_t i = 0; i < owned.size() && i < most; ++i) text += ' ' + printable(owned[i]);
        if (owned.size() > most) text += " ...";
        print(text);
    }

    // ------------------------------------------------ draining

    void draining() { standing("draining", "drains: hands its schedules over, and takes no more"); }
    void drained() { standing("drained", "is drained: it owns nothing any more"); }
    void undrained() { standing("undrained", "takes schedules again"); }

    // ------------------------------------------------ what is no event

    void say(std::string const& text) {
        std::lock_guard const lock{mutex_};
        print(text);
    }

    /// There is no contact with the group. Said once per reason, and then every 10 s, until there is.
    void no_contact(std::string why) {
        std::lock_guard const lock{mutex_};
        if (begin_outage(why)) {
            print(why + "; trying again");
        } else {
            remind_when_due();
        }
    }
    void remind() {
        std::lock_guard const lock{mutex_};
        remind_when_due();
    }
    /// The schedules are, or are not.
    void registered(rota::result<void> const& done) {
        if (!done) return no_contact("the schedules are not registered: " + done.error().message());
        std::lock_guard const lock{mutex_};
        outage_.reset();
    }

    void not_joined(rota::error const& why) {
        std::lock_guard const lock{mutex_};
        fmt::print(stderr, "scheduling_node: {}\n", why.message());
    }
    void not_left(rota::error const& why) {
        say("the group could not be told, and will notice later: " + why.message());
    }

private:
    using clock = std::chrono::steady_clock;
    static constexpr std::chrono::seconds reminder_interval{10};
    static constexpr std::chrono::seconds summary_interval{5};

    struct outage {
        clock::time_point since{};
        clock::time_point next_reminder{};
        std::string why{};
        std::set<std::string> said{};
    };

    void refuse(std::string const& schedule, std::string const& why) {
        if (json_) {
            write(line("run_refused", monotonic_microseconds()) + member("schedule", as_json(schedule)) +
                  member("why", as_json(why)));
        } else {
            print(printable(schedule) + " is not run: " + why);
        }
    }

    void standing(std::string_view event, std::string_view words) {
        std::lock_guard const lock{mutex_};
        if (json_) {
            write(line(event, monotonic_microseconds()));
        } else {
            print(fmt::format("\"{}\" {}", printable(self_), words));
        }
    }

    // ------------------------------------------------ events, under the mutex

    void on(rota::node_joined const& e) {
        outage_.reset();
        tell(e, "joined", member("incarnation", std::to_string(e.node.incarnation)));
    }
    void on(rota::node_suspended const& e) {
        (void)begin_outage(e.why.message());
        tell(e, "suspended", member("why", as_json(e.why.message())));
    }
    void on(rota::node_resumed const& e) {
        outage_.reset();
        tell(e, "resumed");
    }
    void on(rota::node_fenced const& e) {
        outage_.reset();
        tell(e, "fenced");
    }
    void on(rota::node_left const& e) { tell(e, "left"); }
    void on(rota::leadership_changed const& e) {
        tell(e, "leadership",
             member("leader", id_of(e.leader)) + member("term", std::to_string(e.term)) +
                 member("previous", id_of(e.previous)));
    }
    void on(rota::membership_changed const& e) {
        tell(e, "membership",
             member("subject", id_of(e.subject)) + member("change", as_json(rota::to_string(e.change))));
    }
    void on(rota::ownership_changed const& e) {
        if (!json_) {
            print(in_short(e));
            return;
        }
        std::string reason{rota::to_string(e.reason)};
        for (char& c : reason) c = c == ' ' ? '_' : c;
        auto text = member("schedule", as_json(e.schedule)) + member("from", id_of(e.from)) +
                    member("to", id_of(e.to)) + member("generation", std::to_string(e.generation)) +
                    member("reason", as_json(reason));
        for (auto const& [name, node] : {std::pair{"from_incarnation", &e.from}, std::pair{"to_incarnation", &e.to}}) {
            if (node->incarnation != 0 && node->id.empty()) text += member(name, std::to_string(node->incarnation));
        }
        write(line("ownership", monotonic_microseconds()) + text);
    }
    void on(rota::handoff_requested const&) {}  // followed by the change itself, mostly at once
    template <typename Other>
    void on(Other const& e) {
        print(rota::describe(e));
    }

    template <typename Event>
    void tell(Event const& e, std::string_view name, std::string const& members = {}) {
        if (json_) {
            write(line(name, monotonic_microseconds()) + members);
        } else {
            print(rota::describe(e));
        }
    }

    // ------------------------------------------------ words

    [[nodiscard]] std::string in_short(rota::ownership_changed const& e) const {
        bool const gained = e.to.id == self_;
        auto const& other = gained ? e.from : e.to;
        auto text = (gained ? "+ " : "- ") + printable(e.schedule) + "   ";
        text += rota::to_string(e.reason);
        if (other.incarnation != 0) {
            text += gained ? ", was with " : ", now with ";
            text += other.id.empty() ? std::string{"another node"} : printable(other.id);
        }
        return text;
    }

    // Whoever chose the id: a terminal acts on none of its bytes.
    [[nodiscard]] static std::string printable(std::string text) {
        bool const utf8 = is_utf8(text);
        for (char& c : text) {
            auto const byte = static_cast<unsigned char>(c);
            if (byte < 0x20 || byte == 0x7f || (byte > 0x7f && !utf8)) c = '?';
        }
        return text;
    }

    [[nodiscard]] bool begin_outage(std::string const& why) {
        auto const now = clock::now();
        if (!outage_) outage_.emplace(outage{.since = now});
        outage_->why = why;
        if (!outage_->said.insert(why).second) return false;
        outage_->next_reminder = now + reminder_interval;
        return true;
    }

    void remind_when_due() {
        auto const now = clock::now();
        if (!outage_ || now < outage_->next_reminder) return;
        outage_->next_reminder = now + reminder_interval;
        print(fmt::format("no contact for {} s: {}; trying again",
                          std::chrono::duration_cast<std::chrono::seconds>(now - outage_->since).count(),
                          outage_->why));
    }

    void print(std::string const& text) const {
        std::timespec now{};
        ::clock_gettime(CLOCK_REALTIME, &now);
        std::tm local{};
        ::localtime_r(&now.tv_sec, &local);
        auto* const to = json_ ? stderr : stdout;
        fmt::print(to, "{:02}:{:02}:{:02}.{:03}  {}\n", local.tm_hour, local.tm_min, local.tm_sec,
                   now.tv_nsec / 1'000'000, text);
        std::fflush(to);
    }

    // ------------------------------------------------ JSON

    [[nodiscard]] std::string line(std::string_view event, std::int64_t at) const {
        return fmt::format("{{\"mono_us\":{},\"node\":{},\"event\":\"{}\"", at, as_json(self_), event);
    }
    [[nodiscard]] static std::string member(std::string_view name, std::string_view value) {
        return fmt::format(",\"{}\":{}", name, value);
    }
    template <typename Lock>
    [[nodiscard]] static std::string of_run(Lock const& run, rota::fencing_token generation) {
        return member("schedule", as_json(run.name())) + member("token", std::to_string(run.token())) +
               member("generation", std::to_string(generation));
    }
    [[nodiscard]] static std::string id_of(rota::node_ref const& node) {
        return node.id.empty() ? std::string{"null"} : as_json(node.id);
    }
    static void write(std::string text) {
        text += "}\n";
        (void)std::fwrite(text.data(), 1, text.size(), stdout);
        std::fflush(stdout);
    }

    std::mutex mutex_;
    std::string self_;
    bool json_;
    std::uint64_t runs_ = 0;
    clock::time_point next_summary_ = clock::now() + summary_interval;
    std::optional<outage> outage_;
};

}  // namespace example
