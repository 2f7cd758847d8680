// How operations travel to Redis and back: encode() makes the keys and arguments of the script that performs an
// operation, decode() makes a reply of what comes back. The layout of each is written at its script (redis/*.lua.hpp).
//
// decode() trusts nothing: whatever does not have exactly the expected shape is errc::protocol. encode() recycles the
// buffers of the command that it writes into. No I/O here; hiredis only for the type of a reply (RESP2).
#pragma once

#include "redis_scripts.hpp"

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <hiredis/hiredis.h>

#include "../operations.hpp"
#include "../result.hpp"

namespace rota::detail {

/// One call of a script.
struct redis_command {
    script_id script{};
    std::vector<std::string> keys;
    std::vector<std::string> args;
};

// ---------------------------------------------------------------- requests

/// Writes a command's keys and arguments over those of the one before.
class redis_command_writer {
public:
    redis_command_writer(redis_command& into, script_id script, std::string_view key_prefix)
        : into_{into}, key_prefix_{key_prefix} {
        into_.script = script;
    }
    redis_command_writer(redis_command_writer const&) = delete;
    redis_command_writer& operator=(redis_command_writer const&) = delete;
    ~redis_command_writer() {
        into_.keys.resize(keys_);
        into_.args.resize(args_);
    }

    /// The key {prefix}name, {prefix}name<id> or {prefix}name<number>.
    void key(std::string_view name) { begin_key().append(name); }
    void key(std::string_view name, std::string_view id) { begin_key().append(name).append(id); }
    void key(std::string_view name, std::uint64_t number) { append_number(begin_key().append(name), number); }

    void arg(std::string_view text) { next(into_.args, args_).assign(text); }
    void arg(std::uint64_t number) { append_number(next(into_.args, args_), number); }
    void arg(microseconds duration) { arg(clamped(duration)); }
    void arg(double weight) {
        auto& text = next(into_.args, args_);
        append_weight(text, weight);
    }
    template <typename Enum>
        requires std::is_enum_v<Enum>
    void arg(Enum value) {
        arg(static_cast<std::uint64_t>(value));
    }
    /// What all keys of the group begin with.
    void arg_prefix() { next(into_.args, args_).append("{").append(key_prefix_).append("}"); }

    /// The keys that belong to an incarnation.
    void keys_of_node(fencing_token incarnation) {
        key("by:", incarnation);
        key("ver:", incarnation);
        key("inbox:", incarnation);
    }

private:
    static std::string& next(std::vector<std::string>& texts, std::size_t& used) {
        if (used == texts.size()) texts.emplace_back();
        auto& text = texts[used++];
        text.clear();
        return text;
    }
    std::string& begin_key() { return next(into_.keys, keys_).append("{").append(key_prefix_).append("}"); }

    static void append_number(std::string& into, std::uint64_t number) {
        char digits[20];
        auto const end = std::to_chars(digits, digits + sizeof digits, number).ptr;
        into.append(digits, end);
    }
    // The shortest text that reads back as the same number, whatever the locale.
    static void append_weight(std::string& into, double weight) {
        if (weight == 1) {
            into += '1';
            return;
        }
        char digits[32];
        auto const end = std::to_chars(digits, digits + sizeof digits, weight).ptr;
        into.append(digits, end);
    }
    // Added to the server's time it stays below 2^53, beyond which Lua cannot count.
    static std::uint64_t clamped(microseconds duration) {
        constexpr std::int64_t most = std::int64_t{1} << 51;
        auto const count = duration.count();
        return static_cast<std::uint64_t>(count < 0 ? 0 : count < most ? count : most);
    }

    redis_command& into_;
    std::string_view key_prefix_;
    std::size_t keys_ = 0;
    std::size_t args_ = 0;
};

/// Which connection of which session a command goes by.
struct redis_stamp {
    std::uint64_t session = 0;
    std::uint64_t connection = 0;
};

// Keys and arguments with which every script begins that changes more than locks (see lua::group).
inline void begin_group_command(redis_command_writer& w, redis_stamp from) {
    w.key("session:", from.session);
    for (auto name : {"epoch", "fence", "seq", "events", "leader", "nodes", "dead", "info", "ids", "roster", "load",
                      "pending", "own", "unowned", "moves"}) {
        w.key(name);
    }
    w.arg(from.connection);
    w.arg_prefix();
}

// The incarnations that a request names, each once, for the keys that must be declared.
class incarnation_set {
public:
    void add(fencing_token incarnation) {
        if (incarnation == 0 || incarnation == last_) return;
        last_ = incarnation;
        for (auto known : members_) {
            if (known == incarnation) return;
        }
        members_.push_back(incarnation);
    }
    void declare(redis_command_writer& w) const {
        for (auto incarnation : members_) w.keys_of_node(incarnation);
    }

private:
    fencing_token last_ = 0;
    std::vector<fencing_token> members_;
};

[[nodiscard]] constexpr std::string_view lock_key(op::lock_kind kind) {
    return kind == op::lock_kind::schedule ? "lock:" : "name:";
}

/// Writes a command for each operation; see encode().
struct redis_encoder {
    redis_command& into;
    std::string_view key_prefix;
    redis_stamp from;

    void operator()(op::join const& r) const {
        redis_command_writer w{into, script_id::join, key_prefix};
        begin_group_command(w, from);
        w.arg(r.nonce);
        w.arg(r.node_ttl);
        w.arg(std::uint64_t{r.capacity});
        w.arg(r.on_conflict);
        w.arg(r.seen);
        w.arg(r.node_id);
    }

    void operator()(op::tick const& r) const {
        redis_command_writer w{into, script_id::tick, key_prefix};
        w.key("session:", from.session);
        w.key("epoch");
        w.key("fence");
        w.key("seq");
        w.key("leader");
        w.key("ver:", r.incarnation);
        w.key("nodes");
        w.key("dead");
        w.key("ids");
        w.key("events");
        w.arg(from.connection);
        w.arg(r.incarnation);
        w.arg(r.epoch);
        w.arg(r.term);
        w.arg(std::uint64_t{r.candidate});
        w.arg(r.node_ttl);
        w.arg(r.leader_lease);
        w.arg(r.seen);
        w.arg(r.node_id);
    }

    void operator()(op::leave const& r) const {
        redis_command_writer w{into, script_id::leave, key_prefix};
        begin_group_command(w, from);
        w.keys_of_node(r.incarnation);
        w.arg(r.incarnation);
        write_wake(w, r.wake);
    }

    void operator()(op::renounce const& r) const {
        redis_command_writer w{into, script_id::renounce, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.term);
        write_wake(w, r.wake);
    }

    void operator()(op::reap const& r) const {
        redis_command_writer w{into, script_id::reap, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.term);
        for (auto incarnation : r.nodes) {
            w.keys_of_node(incarnation);
            w.arg(incarnation);
        }
    }

    void operator()(op::acquire_locks const& r) const {
        bool const schedules = r.kind == op::lock_kind::schedule;
        bool const one = r.items.size() == 1;
        redis_command_writer w{into, one ? script_id::acquire_one : script_id::acquire_many, key_prefix};
        w.key("session:", from.session);
        w.key("fence");
        if (one) w.key(lock_key(r.kind), r.items.front().name);
        w.key("nodes");
        w.key("dead");
        if (schedules || !one) {
            w.key("own");
            w.key("moves");
        }
        w.arg(from.connection);
        w.arg(r.incarnation);
        w.arg(r.ttl);
        w.arg(r.nonce);
        w.arg(r.seen);
        if (!one) {
            for (auto const& item : r.items) w.key(lock_key(r.kind), item.name);
        }
        if (!schedules) return;
        for (auto const& item : r.items) w.arg(item.name);
        for (auto const& item : r.items) w.arg(item.generation);
    }

    void operator()(op::extend_locks const& r) const {
        redis_command_writer w{into, script_id::extend, key_prefix};
        w.key("session:", from.session);
        w.key("nodes");
        w.key("moves");
        w.arg(from.connection);
        w.arg(r.incarnation);
        w.arg(r.ttl);
        for (auto const& item : r.items) {
            w.key(lock_key(r.kind), item.name);
            w.arg(item.token);
        }
        if (r.kind != op::lock_kind::schedule) return;
        for (auto const& item : r.items) w.arg(item.name);
    }

    void operator()(op::release_locks const& r) const {
        redis_command_writer w{into, script_id::release, key_prefix};
        w.key("session:", from.session);
        w.arg(from.connection);
        for (auto const& item : r.items) {
            w.key(lock_key(r.kind), item.name);
            w.arg(item.token);
        }
    }

    void operator()(op::register_schedules const& r) const {
        redis_command_writer w{into, script_id::register_schedules, key_prefix};
        begin_group_command(w, from);
        for (auto const& item : r.items) w.arg(item.id);
        for (auto const& item : r.items) w.arg(item.weight);
    }

    void operator()(op::lookup const& r) const {
        redis_command_writer w{into, script_id::lookup, key_prefix};
        w.key("own");
        w.key("moves");
        for (auto const& id : r.ids) w.arg(id);
    }

    void operator()(op::unregister_schedules const& r) const {
        redis_command_writer w{into, script_id::unregister_schedules, key_prefix};
        begin_group_command(w, from);
        w.arg(r.nonce);
        incarnation_set owners;
        for (auto const& item : r.items) {
            w.key("gone:", item.id);
            w.arg(item.id);
            owners.add(item.owner);
        }
        owners.declare(w);
        for (auto const& item : r.items) w.arg(item.owner);
    }

    void operator()(op::claim const& r) const {
        redis_command_writer w{into, script_id::claim, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.seen);
        for (auto const& id : r.ids) {
            w.key("gone:", id);
            w.arg(id);
        }
        w.keys_of_node(r.incarnation);
    }

    void operator()(op::adopt const& r) const {
        redis_command_writer w{into, script_id::adopt, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.term);
        w.arg(r.seen);
        for (auto const& item : r.items) w.key("gone:", item.id);
        write_placements(w, r.items);
    }

    void operator()(op::revoke const& r) const {
        redis_command_writer w{into, script_id::revoke, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.term);
        w.arg(r.handoff_deadline);
        write_placements(w, r.items);
    }

    void operator()(op::acknowledge const& r) const {
        redis_command_writer w{into, script_id::acknowledge, key_prefix};
        begin_group_command(w, from);
        w.arg(r.incarnation);
        w.arg(r.seen);
        incarnation_set nodes;
        nodes.add(r.incarnation);
        for (auto const& item : r.items) {
            w.key("lock:", item.id);
            w.arg(item.id);
            nodes.add(item.to);
        }
        nodes.declare(w);
        for (auto const& item : r.items) w.arg(item.generation);
        for (auto const& item : r.items) w.arg(item.to);
    }

    void operator()(op::changes_since const& r) const {
        redis_command_writer w{into, script_id::changes_since, key_prefix};
        w.key("nodes");
        w.key("ver:", r.incarnation);
        w.key("inbox:", r.incarnation);
        w.arg(r.incarnation);
        w.arg(r.version);
    }

    void operator()(op::events_since const& r) const {
        redis_command_writer w{into, script_id::events_since, key_prefix};
        w.key("epoch");
        w.key("seq");
        w.key("events");
        w.arg(r.epoch);
        w.arg(r.seq);
        w.arg(std::uint64_t{r.limit});
    }

    void operator()(op::schedules_page const& r) const {
        redis_command_writer w{into, script_id::schedules_page, key_prefix};
        if (r.holder == 0) {
            w.key("unowned");
        } else {
            w.key("by:", r.holder);
        }
        w.key("own");
        w.key("moves");
        if (r.holder != 0) w.key("ver:", r.holder);
        w.arg(r.after);
        w.arg(std::uint64_t{r.limit});
    }

    void operator()(op::nodes_page const& r) const {
        redis_command_writer w{into, script_id::nodes_page, key_prefix};
        for (auto name : {"epoch", "seq", "roster", "info", "load", "pending", "nodes"}) w.key(name);
        char padded[] = "0000000000000000";
        auto after = r.after;
        for (std::size_t i = sizeof padded - 1; i-- > 0 && after != 0; after /= 10) {
            padded[i] = static_cast<char>('0' + after % 10);
        }
        // With more digits than any incarnation has, it is above all of them.
        w.arg(after == 0 ? std::string_view{padded} : std::string_view{":"});
        w.arg(std::uint64_t{r.limit});
    }

private:
    static void write_wake(redis_command_writer& w, std::vector<fencing_token> const& wake) {
        for (auto incarnation : wake) {
            w.keys_of_node(incarnation);
            w.arg(incarnation);
        }
    }

    template <typename Items>
    static void write_placements(redis_command_writer& w, Items const& items) {
        incarnation_set nodes;
        for (auto const& item : items) {
            nodes.add(item.from);
            w.arg(item.id);
        }
        for (auto const& item : items) {
            nodes.add(item.to);
            w.arg(item.generation);
        }
        nodes.declare(w);
        for (auto const& item : items) w.arg(item.from);
        for (auto const& item : items) w.arg(item.to);
        for (auto const& item : items) w.arg(item.reason);
    }
};

/// The call that performs `request`, written over `into` (whose buffers are used again).
inline void encode(operation const& request, std::string_view key_prefix, std::uint64_t session,
                   std::uint64_t connection, redis_command& into) {
    std::visit(redis_encoder{into, key_prefix, {session, connection}}, request);
}

/// The call that makes `connection` the newest of its session. Reply: {0}, or {code, words}.
[[nodiscard]] inline redis_command session_command(std::string_view key_prefix, std::uint64_t session,
                                                   std::uint64_t connection) {
    redis_command command;
    redis_command_writer w{command, script_id::session, key_prefix};
    w.key("session:", session);
    w.arg(connection);
    return command;
}

/// The call that tries every command that is needed. Reply: OK, or the server's words of refusal and the command.
[[nodiscard]] inline redis_command probe_command(std::string_view key_prefix) {
    redis_command command;
    redis_command_writer w{command, script_id::probe, key_prefix};
    w.key("probe");
    return command;
}

// ---------------------------------------------------------------- replies

/// Reads numbers and text out of the elements of an array, in order. A mistake is remembered: ask done() at the end.
class redis_array_reader {
public:
    explicit redis_array_reader(redisReply const* array) : array_{array} {
        if (!array || array->type != REDIS_REPLY_ARRAY || (array->elements > 0 && !array->element)) fail();
    }

    [[nodiscard]] bool ok() const noexcept { return array_ != nullptr; }
    [[nodiscard]] bool done() const noexcept { return ok() && at_ == array_->elements; }
    [[nodiscard]] std::size_t left() const noexcept { return ok() ? array_->elements - at_ : 0; }
    void fail() noexcept { array_ = nullptr; }

    redisReply const* next() noexcept {
        if (left() == 0 || !array_->element[at_]) {
            fail();
            return nullptr;
        }
        return array_->element[at_++];
    }
    /// Nothing if it is nil.
    [[nodiscard]] bool skip_nil() noexcept {
        if (left() == 0 || !array_->element[at_] || array_->element[at_]->type != REDIS_REPLY_NIL) return false;
        ++at_;
        return true;
    }
    std::string_view text() noexcept {
        auto const* element = next();
        if (!element || element->type != REDIS_REPLY_STRING || !element->str) {
            fail();
            return {};
        }
        return {element->str, element->len};
    }
    std::uint64_t number() noexcept {
        auto const* element = next();
        if (element && element->type == REDIS_REPLY_INTEGER && element->integer >= 0) {
            return static_cast<std::uint64_t>(element->integer);
        }
        std::uint64_t value = 0;
        if (!element || element->type != REDIS_REPLY_STRING || !element->str || !parse({element->str, element->len}, value)) {
            fail();
        }
        return value;
    }
    microseconds duration() noexcept { return to_duration(number()); }
    /// -1 means never.
    microseconds duration_or_never() noexcept {
        if (left() > 0 && array_->element[at_] && array_->element[at_]->type == REDIS_REPLY_INTEGER &&
            array_->element[at_]->integer == -1) {
            ++at_;
            return microseconds::max();
        }
        return duration();
    }
    template <typename Enum>
    Enum enumerator(Enum last) noexcept {
        auto const value = number();
        if (value > static_cast<std::uint64_t>(last)) {
            fail();
            return {};
        }
        return static_cast<Enum>(value);
    }
    std::vector<fencing_token> numbers() {
        std::vector<fencing_token> values;
        redis_array_reader inner{next()};
        values.reserve(inner.left());
        while (inner.left() > 0) values.push_back(inner.number());
        if (!inner.done()) fail();
        return values;
    }

    [[nodiscard]] static bool parse(std::string_view text, std::uint64_t& value) noexcept {
        auto const [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
        return problem == std::errc{} && end == text.data() + text.size();
    }
    [[nodiscard]] static microseconds to_duration(std::uint64_t count) noexcept {
        constexpr auto most = static_cast<std::uint64_t>(microseconds::max().count());
        return microseconds{static_cast<std::int64_t>(count < most ? count : most)};
    }

private:
    redisReply const* array_;
    std::size_t at_ = 0;
};

/// Reads the parts of "12|34|text" one by one. A mistake is remembered: ask ok() or done() at the end.
class redis_record_reader {
public:
    explicit redis_record_reader(std::string_view text) : rest_{text} {}

    [[nodiscard]] bool ok() const noexcept { return ok_; }
    [[nodiscard]] bool done() const noexcept { return ok_ && ended_; }
    void fail() noexcept { ok_ = false; }

    std::uint64_t number() noexcept {
        std::uint64_t value = 0;
        if (!redis_array_reader::parse(part(), value)) ok_ = false;
        return value;
    }
    microseconds duration() noexcept { return redis_array_reader::to_duration(number()); }
    template <typename Enum>
    Enum enumerator(Enum last) noexcept {
        auto const value = number();
        if (value > static_cast<std::uint64_t>(last)) {
            ok_ = false;
            return {};
        }
        return static_cast<Enum>(value);
    }
    std::uint32_t capacity() noexcept {
        auto const value = number();
        if (value > unlimited) ok_ = false;
        return static_cast<std::uint32_t>(value);
    }
    double weight() noexcept {
        auto const text = part();
        double value = 0;
#if defined(__cpp_lib_to_chars)
        auto const [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
        bool const read = problem == std::errc{} && end == text.data() + text.size();
#else
        // A library that lacks it: what the program's locale takes for a decimal point must be one.
        std::string const copy{text};
        char* end = nullptr;
        value = std::strtod(copy.c_str(), &end);
        bool const read = !copy.empty() && end == copy.c_str() + copy.size();
#endif
        if (!read || !std::isfinite(value)) {
            ok_ = false;
            return 1;
        }
        return value;
    }
    /// All that is left, | included.
    std::string_view rest() noexcept {
        if (ended_) ok_ = false;
        ended_ = true;
        return std::exchange(rest_, {});
    }

private:
    std::string_view part() noexcept {
        if (ended_) ok_ = false;
        auto const end = rest_.find('|');
        auto const found = rest_.substr(0, end);
        if (end == std::string_view::npos) {
            ended_ = true;
            rest_ = {};
        } else {
            rest_.remove_prefix(end + 1);
        }
        return found;
    }

    std::string_view rest_;
    bool ok_ = true;
    bool ended_ = false;
};

/// Makes a reply of what a script answered after its status; each leaves `in` not done() where the shape is wrong.
struct redis_decoder {
    redis_array_reader& in;

    reply operator()(op::join const&) const {
        op::joined answer;
        answer.incarnation = in.number();
        answer.epoch = in.number();
        answer.seq = in.number();
        answer.superseded = in.number();
        return answer;
    }

    reply operator()(op::tick const& r) const {
        op::ticked answer;
        answer.status = in.enumerator(op::tick_status::data_lost);
        auto const now = in.number();
        answer.epoch = in.number();
        answer.fence = in.number();
        answer.seq = in.number();
        if (answer.status != op::tick_status::ok) return answer;
        if (auto const leader = in.text(); !leader.empty()) {
            redis_record_reader record{leader};
            auto const deadline = record.number();
            auto const term = record.number();
            auto const incarnation = record.number();
            auto const id = record.rest();
            if (!record.done()) in.fail();
            if (deadline > now) {
                answer.leader = incarnation;
                answer.term = term;
                answer.leader_id = id;
                answer.leader_remaining = redis_array_reader::to_duration(deadline - now);
            }
        }
        answer.version = in.number();
        if (answer.leader != r.incarnation || answer.leader == 0) return answer;
        answer.sweep.next_expiry = in.duration_or_never();
        answer.sweep.expired = in.numbers();
        answer.sweep.dead = in.numbers();
        answer.sweep.next_dead = in.duration_or_never();
        answer.sweep.candidates = in.numbers();
        return answer;
    }

    reply operator()(op::leave const&) const { return op::done{}; }
    reply operator()(op::renounce const&) const { return op::done{}; }

    reply operator()(op::reap const&) const {
        op::outcomes answer;
        answer.items.reserve(in.left());
        while (in.left() > 0) answer.items.push_back({.token = in.number()});
        return answer;
    }

    reply operator()(op::acquire_locks const& r) const { return outcomes(r.items.size(), code | token | remaining); }

    reply operator()(op::extend_locks const& r) const {
        auto answer = outcomes(r.items.size(), code | remaining);
        for (std::size_t i = 0; i < answer.items.size() && i < r.items.size(); ++i) {
            if (answer.items[i].ok()) answer.items[i].token = r.items[i].token;
        }
        return answer;
    }

    reply operator()(op::release_locks const& r) const { return outcomes(r.items.size(), code); }

    reply operator()(op::register_schedules const& r) const {
        op::outcomes answer;
        answer.items.resize(r.items.size());
        return answer;
    }

    reply operator()(op::lookup const& r) const {
        op::lookup_reply answer;
        redis_array_reader own{in.next()};
        redis_array_reader moves{in.next()};
        answer.items.reserve(r.ids.size());
        for (auto const& id : r.ids) {
            auto& entry = answer.items.emplace_back();
            entry.registered = read_schedule(own, moves, entry.status);
            if (entry.registered) entry.status.id = id;
        }
        require(own, moves);
        return answer;
    }

    reply operator()(op::unregister_schedules const& r) const { return outcomes(r.items.size(), code); }
    reply operator()(op::claim const& r) const { return outcomes(r.ids.size(), code | token); }
    reply operator()(op::adopt const& r) const { return outcomes(r.items.size(), code | token); }
    reply operator()(op::revoke const& r) const { return outcomes(r.items.size(), code | token); }
    reply operator()(op::acknowledge const& r) const { return outcomes(r.items.size(), code | token | remaining); }

    reply operator()(op::changes_since const& r) const {
        op::changes_reply answer;
        answer.gap = in.number() != 0;
        auto const newest = in.number();
        answer.to = answer.gap ? newest : r.version;
        redis_array_reader entries{in.next()};
        while (entries.left() > 0) {
            redis_array_reader entry{entries.next()};
            answer.to = stream_id(entry).first;
            redis_array_reader fields{entry.next()};
            while (fields.left() > 0) {
                redis_record_reader record{fields.text()};
                auto& c = answer.items.emplace_back();
                c.kind = record.enumerator(op::change_kind::vacancy);
                c.generation = record.number();
                c.other = record.number();
                c.reason = record.enumerator(change_reason::resynced);
                c.weight = record.weight();
                c.handoff = record.duration();
                c.id = fields.text();
                if (!record.done()) in.fail();
            }
            require(entry, fields);
        }
        require(entries);
        return answer;
    }

    reply operator()(op::events_since const& r) const {
        op::events_reply answer;
        answer.gap = in.number() != 0;
        answer.head = in.number();
        answer.to = answer.gap ? answer.head : r.seq;
        redis_array_reader entries{in.next()};
        while (entries.left() > 0) {
            redis_array_reader entry{entries.next()};
            answer.to = stream_id(entry).second;
            redis_array_reader fields{entry.next()};
            while (fields.left() > 0) {
                redis_record_reader record{fields.text()};
                auto& e = answer.items.emplace_back();
                e.seq = answer.to;
                e.kind = record.enumerator(op::group_event_kind::data_lost);
                e.generation = record.number();
                e.from = record.number();
                e.to = record.number();
                e.reason = record.enumerator(change_reason::resynced);
                e.weight = record.weight();
                e.capacity = record.capacity();
                e.id = fields.text();
                if (!record.done()) in.fail();
            }
            require(entry, fields);
        }
        require(entries);
        return answer;
    }

    reply operator()(op::schedules_page const&) const {
        op::page_reply answer;
        answer.version = in.number();
        redis_array_reader ids{in.next()};
        redis_array_reader own{in.next()};
        redis_array_reader moves{in.next()};
        answer.items.reserve(ids.left());
        while (ids.left() > 0) {
            auto& status = answer.items.emplace_back();
            status.id = ids.text();
            if (!read_schedule(own, moves, status)) in.fail();
        }
        require(ids, own, moves);
        return answer;
    }

    reply operator()(op::nodes_page const&) const {
        op::nodes_reply answer;
        auto const now = in.number();
        answer.epoch = in.number();
        answer.seq = in.number();
        redis_array_reader nodes{in.next()};
        redis_array_reader info{in.next()};
        redis_array_reader load{in.next()};
        redis_array_reader pending{in.next()};
        redis_array_reader deadlines{in.next()};
        answer.items.reserve(nodes.left());
        while (nodes.left() > 0) {
            auto& status = answer.items.emplace_back();
            status.node.incarnation = nodes.number();
            redis_record_reader record{info.text()};
            status.capacity = record.capacity();
            (void)record.number();  // the nonce that it joined with
            status.node.id = record.rest();
            if (!record.done()) in.fail();
            status.load = load.skip_nil() ? 0 : static_cast<std::uint32_t>(load.number());
            status.pending = pending.skip_nil() ? 0 : static_cast<std::uint32_t>(pending.number());
            status.alive = !deadlines.skip_nil();
            if (auto const deadline = status.alive ? deadlines.number() : 0; deadline > now) {
                status.remaining = redis_array_reader::to_duration(deadline - now);
            }
        }
        require(nodes, info, load, pending, deadlines);
        return answer;
    }

private:
    enum part : unsigned { code = 1, token = 2, remaining = 4 };

    op::outcomes outcomes(std::size_t count, unsigned parts) const {
        op::outcomes answer;
        auto const width = (parts & code ? 1u : 0u) + (parts & token ? 1u : 0u) + (parts & remaining ? 1u : 0u);
        if (in.left() != count * width) {
            in.fail();
            return answer;
        }
        answer.items.resize(count);
        for (auto& item : answer.items) {
            item.code = in.enumerator(errc::protocol);
            if (parts & token) item.token = in.number();
            if (parts & remaining) item.remaining = in.duration();
        }
        return answer;
    }

    // One element of each: generation|owner|weight, or nil; to|deadline|reason, or nil.
    bool read_schedule(redis_array_reader& own, redis_array_reader& moves, schedule_status& status) const {
        bool const registered = !own.skip_nil();
        if (registered) {
            redis_record_reader record{own.text()};
            status.generation = record.number();
            status.owner = record.number();
            status.weight = record.weight();
            if (!record.done()) in.fail();
        }
        if (!moves.skip_nil()) {
            redis_record_reader record{moves.text()};
            status.moving_to = record.number();
            if (!record.ok() || !registered) in.fail();
        }
        return registered;
    }

    std::pair<std::uint64_t, std::uint64_t> stream_id(redis_array_reader& entry) const {
        auto const text = entry.text();
        auto const dash = text.find('-');
        std::pair<std::uint64_t, std::uint64_t> id{};
        if (dash == std::string_view::npos || !redis_array_reader::parse(text.substr(0, dash), id.first) ||
            !redis_array_reader::parse(text.substr(dash + 1), id.second)) {
            in.fail();
        }
        return id;
    }

    template <typename... Readers>
    void require(Readers const&... readers) const {
        if (!(readers.done() && ...)) in.fail();
    }
};

/// The reply to `request` that `answer` holds; or the error that the script gave; or protocol, if it is neither.
[[nodiscard]] inline result<reply> decode(operation const& request, redisReply const* answer) {
    if (answer && answer->type == REDIS_REPLY_ERROR) {
        return {errc::refused_by_server, answer->str ? std::string{answer->str, answer->len} : std::string{}};
    }
    redis_array_reader in{answer};
    auto const status = in.enumerator(errc::protocol);
    if (in.ok() && status != errc{}) {
        std::string detail;
        if (in.left() > 0) detail = in.text();
        if (in.done()) return {status, std::move(detail)};
        in.fail();
    }
    if (in.ok()) {
        auto decoded = std::visit(redis_decoder{in}, request);
        if (in.done()) return decoded;
    }
    return {errc::protocol, "the server's answer does not have the form of a reply of rota's scripts"};
}

}  // namespace rota::detail

#endif
