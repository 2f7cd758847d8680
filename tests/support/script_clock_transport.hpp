// rota's scripts on a real Redis, with their clock in a key of the test's: time passes by advance() only, so that what
// they answer can be compared with the reference store's, deadline by deadline. Production takes TIME in the one line
// that is replaced here. What Redis expires by itself (PX) still goes by real time; it only collects garbage, twice as
// late as needed, so a test must use times that are long against its own run.
//
// Has the interface of reference_store. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <rota/detail/redis_codec.hpp>
#include <rota/detail/store.hpp>

#include "command_words.hpp"
#include "group_state.hpp"
#include "redis_server.hpp"
#include "reference_store.hpp"

namespace rota::test {

class script_clock_transport {
public:
    /// Begins with an empty server.
    explicit script_clock_transport(redis_server& server, std::string key_prefix = "test:")
        : prefix_{std::move(key_prefix)} {
        context_.reset(::redisConnectUnix(server.unix_socket().c_str()));
        if (!context_ || context_->err) throw std::runtime_error("no connection to redis-server");
        auto const source = "tonumber(redis.call('GET', '" + clock_key() + "'))";
        for (std::size_t i = 0; i < rota::detail::script_count; ++i) {
            auto const loaded =
                command({"SCRIPT", "LOAD", rota::detail::script_text(static_cast<rota::detail::script_id>(i), source)});
            if (loaded.is_error()) throw std::runtime_error(loaded.text);
            digests_[i] = loaded.text;
        }
        lose_everything();
    }

    void raise(rota::detail::connection_stamp from) {
        auto const call = rota::detail::session_command(prefix_, from.session, from.number);
        (void)evaluate(call);
    }

    result<reply> perform(operation const& request, rota::detail::connection_stamp from) {
        for (bool const in_full : {false, true}) {
            rota::detail::encode(request, prefix_, from.session, from.number, call_, in_full);
            auto const answer = evaluate(call_);
            if (!rota::detail::is_left_undone(call_.script, *answer))
                return rota::detail::decode(request, answer.get());
        }
        throw std::runtime_error("what is sent in full was left undone");
    }

    /// The very reply of Redis to an operation.
    redis_reply perform_raw(operation const& request, rota::detail::connection_stamp from) {
        rota::detail::encode(request, prefix_, from.session, from.number, call_);
        return detail::copy_reply(*evaluate(call_));
    }
    [[nodiscard]] std::string probe() {
        return detail::copy_reply(*evaluate(rota::detail::probe_command(prefix_))).text;
    }

    [[nodiscard]] std::int64_t now() const { return now_; }
    void advance(microseconds by) {
        now_ += by.count();
        (void)command({"SET", clock_key(), std::to_string(now_)});
    }
    void lose_everything() {
        (void)command({"FLUSHALL"});
        advance({});
    }
    /// The same, and the clock begins anew.
    void begin_anew() {
        now_ = stepped_start;
        lose_everything();
    }

    redis_reply command(std::vector<std::string> const& words) { return detail::copy_reply(*send(words)); }
    [[nodiscard]] std::string key(std::string_view name) const { return "{" + prefix_ + "}" + std::string{name}; }

    /// The same damage as to the reference store, done by plain commands.
    void inflict(store_damage const& damage);

    [[nodiscard]] group_state state();
    [[nodiscard]] std::vector<std::string> contradictions();

    /// Every key of the server with its value, but for the clock.
    [[nodiscard]] std::map<std::string, std::string> dump();

private:
    struct context_deleter {
        void operator()(redisContext* context) const { ::redisFree(context); }
    };
    struct reply_deleter {
        void operator()(redisReply* reply) const { ::freeReplyObject(reply); }
    };
    using owned_reply = std::unique_ptr<redisReply, reply_deleter>;

    [[nodiscard]] std::string clock_key() const { return key("test-clock"); }

    template <typename Words>
    owned_reply send(Words const& words) {
        texts_.clear();
        sizes_.clear();
        for (auto const& word : words) {
            texts_.push_back(word.data());
            sizes_.push_back(word.size());
        }
        owned_reply answer{static_cast<redisReply*>(
            ::redisCommandArgv(context_.get(), static_cast<int>(texts_.size()), texts_.data(), sizes_.data()))};
        if (!answer) throw std::runtime_error(std::string{"redis-server: "} + context_->errstr);
        return answer;
    }

    owned_reply evaluate(rota::detail::redis_command const& call) {
        std::vector<std::string> words{"EVALSHA", digests_[static_cast<std::size_t>(call.script)],
                                       std::to_string(call.keys.count)};
        for (auto const* part : {&call.keys, &call.args}) {
            for (auto& word : texts_of(*part)) words.push_back(std::move(word));
        }
        return send(words);
    }

    std::map<std::string, std::string> hash(std::string_view name) {
        std::map<std::string, std::string> fields;
        auto const flat = command({"HGETALL", key(name)});
        for (std::size_t i = 0; i + 1 < flat.elements.size(); i += 2)
            fields[flat.elements[i].text] = flat.elements[i + 1].text;
        return fields;
    }
    std::map<std::string, std::string> sorted_set(std::string_view name) {
        std::map<std::string, std::string> members;
        auto const flat = command({"ZRANGE", key(name), "0", "-1", "WITHSCORES"});
        for (std::size_t i = 0; i + 1 < flat.elements.size(); i += 2)
            members[flat.elements[i].text] = flat.elements[i + 1].text;
        return members;
    }
    std::string text(std::string_view name) { return command({"GET", key(name)}).text; }

    std::string prefix_;
    std::unique_ptr<redisContext, context_deleter> context_;
    std::array<std::string, rota::detail::script_count> digests_;
    std::int64_t now_ = stepped_start;
    rota::detail::redis_command call_;
    std::vector<char const*> texts_;
    std::vector<std::size_t> sizes_;
};

namespace detail {

inline std::uint64_t number_of(std::string const& text) { return text.empty() ? 0 : std::stoull(text); }

// The first `count` parts of "a|b|c" as numbers, then the rest as text.
struct parted {
    std::vector<std::uint64_t> numbers;
    std::string rest;
};
inline parted parts_of(std::string const& text, std::size_t count) {
    parted p;
    std::size_t at = 0;
    for (std::size_t i = 0; i < count; ++i) {
        auto const end = text.find('|', at);
        p.numbers.push_back(number_of(text.substr(at, end - at)));
        at = end == std::string::npos ? text.size() : end + 1;
    }
    p.rest = text.substr(at);
    return p;
}

// What stands after the weight.
inline std::string traits_of(std::string const& weight_and_traits) {
    auto const end_of_weight = weight_and_traits.find(';');
    return end_of_weight == std::string::npos ? std::string{} : weight_and_traits.substr(end_of_weight + 1);
}

}  // namespace detail

inline void script_clock_transport::inflict(store_damage const& d) {
    using kind = store_damage::kind;
    auto const incarnation = std::to_string(d.node);
    auto const index = key(d.node == 0 ? std::string{"unowned"} : "by:" + incarnation);
    auto const known = [&] { return command({"HEXISTS", key("info"), incarnation}).integer == 1; };
    switch (d.what) {
        case kind::lose_record: (void)command({"HDEL", key("own"), d.id}); break;
        case kind::garble_record:
        case kind::change_owner: {
            auto const record = command({"HGET", key("own"), d.id});
            if (record.kind == redis_reply::type::nil) return;
            auto text = record.text;
            if (d.what == kind::garble_record) {
                text = "garbage";
            } else if (auto const first = text.find('|'); first != std::string::npos) {
                text = text.substr(0, first + 1) + incarnation + text.substr(text.find('|', first + 1));
            }
            (void)command({"HSET", key("own"), d.id, text});
            break;
        }
        case kind::list:
            if (d.node == 0 || known()) (void)command({"ZADD", index, "0", d.id});
            break;
        case kind::unlist: (void)command({"ZREM", index, d.id}); break;
        case kind::set_load:
            if (known()) (void)command({"HSET", key("load"), incarnation, std::to_string(d.count)});
            break;
        case kind::set_pending:
            if (known()) (void)command({"HSET", key("pending"), incarnation, std::to_string(d.count)});
            break;
    }
}

inline group_state script_clock_transport::state() {
    group_state s;
    auto const head = text("head");
    s.epoch = detail::number_of(head.substr(0, head.find('-')));
    if (!head.empty()) s.seq = detail::number_of(head.substr(head.find('-') + 1));
    s.fence = detail::number_of(text("fence"));
    if (auto const last = command({"XREVRANGE", key("calls"), "+", "-", "COUNT", "1"}); !last.elements.empty()) {
        auto const& id = last.elements[0].elements[0].text;
        s.called = detail::number_of(id.substr(id.find('-') + 1));
    }
    if (auto const leader = text("leader"); !leader.empty()) {
        auto const p = detail::parts_of(leader, 4);
        s.leader = {static_cast<std::int64_t>(p.numbers[0]), p.numbers[1], p.numbers[2], p.numbers[3], p.rest};
    }
    auto const live = sorted_set("nodes");
    auto const dead = sorted_set("dead");
    auto load = hash("load");
    auto pending = hash("pending");
    for (auto const& [incarnation, info] : hash("info")) {
        auto const p = detail::parts_of(info, 4);
        auto& node = s.nodes[detail::number_of(incarnation)];
        node.capacity = static_cast<std::uint32_t>(p.numbers[0]);
        node.nonce = p.numbers[1];
        node.ttl = p.numbers[2];
        node.left = p.numbers[3] == 1;
        auto const end_of_traits = p.rest.find('|');
        node.traits = detail::traits_of(p.rest.substr(0, end_of_traits));
        node.id = p.rest.substr(end_of_traits + 1);
        node.live = live.contains(incarnation);
        auto const& deadlines = node.live ? live : dead;
        if (auto const d = deadlines.find(incarnation); d != deadlines.end()) node.deadline = std::stoll(d->second);
        node.load = detail::number_of(load[incarnation]);
        node.pending = detail::number_of(pending[incarnation]);
        node.version = detail::number_of(text("ver:" + incarnation));
        for (auto const& [id, score] : sorted_set("by:" + incarnation)) node.owned.insert(id);
    }
    for (auto const& [id, record] : hash("own")) {
        auto& schedule = s.schedules[id];
        if (record == "garbage") {
            schedule.owner = ~fencing_token{0};
            continue;
        }
        auto const p = detail::parts_of(record, 2);
        schedule.generation = p.numbers[0];
        schedule.owner = p.numbers[1];
        schedule.weight = std::stod(p.rest);
        schedule.traits = detail::traits_of(p.rest);
        if (schedule.traits.starts_with("t=")) {  // triggered
            schedule.triggered = std::stoull(schedule.traits.substr(2));
            schedule.traits = detail::traits_of(schedule.traits);
        }
    }
    for (auto const& [id, record] : hash("moves")) {
        auto const p = detail::parts_of(record, 3);
        auto const schedule = s.schedules.find(id);
        group_state::move const move{p.numbers[0], static_cast<std::int64_t>(p.numbers[1]), p.numbers[2],
                                     p.rest == "1"};
        if (schedule == s.schedules.end()) {
            s.stray_moves[id] = move;
        } else {
            schedule->second.move = move;
        }
    }
    for (auto const& [id, value] : hash("orders")) {
        if (id.empty()) {
            s.maintenance = true;
        } else {
            s.drained.insert(id);
        }
    }
    for (auto const& [id, score] : sorted_set("unowned")) s.unowned.insert(id);
    auto const locks = [this](std::string const& kind, auto& into) {
        for (auto const& found : command({"KEYS", key(kind + "*")}).elements) {
            auto const p = detail::parts_of(command({"GET", found.text}).text, 4);
            group_state::lock const lock{static_cast<std::int64_t>(p.numbers[0]), p.numbers[1], p.numbers[2],
                                         p.numbers[3]};
            if (lock.deadline > now_) into[found.text.substr(key(kind).size())] = lock;
        }
    };
    locks("lock:", s.locks);
    locks("name:", s.names);
    return s;
}

inline std::map<std::string, std::string> script_clock_transport::dump() {
    std::map<std::string, std::string> all;
    for (auto const& found : command({"KEYS", "*"}).elements) {
        if (found.text != clock_key()) all[found.text] = command({"DUMP", found.text}).text;
    }
    return all;
}

// Besides what any store can get wrong: tables of this one that contradict each other, and keys that nothing needs.
inline std::vector<std::string> script_clock_transport::contradictions() {
    auto const s = state();
    auto found = find_contradictions(s);
    auto const demand = [&](bool holds, std::string what) {
        if (!holds) found.push_back(std::move(what));
    };
    auto const is_node = [&](std::string const& incarnation) {
        return s.nodes.contains(detail::number_of(incarnation));
    };
    auto const live = sorted_set("nodes");
    auto const dead = sorted_set("dead");
    auto const roster = sorted_set("roster");
    auto const ids = hash("ids");
    demand(live.size() + dead.size() == s.nodes.size(), "nodes and dead do not make up info");
    demand(roster.size() == s.nodes.size(), "roster and info differ");
    for (auto const& [incarnation, score] : live) {
        demand(is_node(incarnation), incarnation + ": live, but not in info");
        demand(!dead.contains(incarnation), incarnation + ": live and dead");
        auto const id = ids.find(
            s.nodes.contains(detail::number_of(incarnation)) ? s.nodes.at(detail::number_of(incarnation)).id : "");
        demand(id != ids.end() && id->second == incarnation, incarnation + ": live, but its name is not its own");
    }
    for (auto const& [incarnation, score] : dead) demand(is_node(incarnation), incarnation + ": dead, but not in info");
    for (auto const& [id, incarnation] : ids)
        demand(live.contains(incarnation), id + ": the name of a node that is not live");
    for (auto const& [padded, score] : roster) {
        demand(padded.size() == 16 && is_node(padded), padded + ": in the roster, but not in info");
    }
    for (auto const* name : {"load", "pending"}) {
        for (auto const& [incarnation, value] : hash(name)) {
            demand(is_node(incarnation), fmt::format("{}: in {}, but not in info", incarnation, name));
        }
    }
    for (auto const& element : command({"KEYS", "*"}).elements) {
        auto const& whole = element.text;
        demand(whole.starts_with(key("")), whole + ": not under the prefix");
        auto const name = whole.substr(std::min(whole.size(), key("").size()));
        for (std::string const kind : {"by:", "ver:", "inbox:"}) {
            if (name.starts_with(kind))
                demand(is_node(name.substr(kind.size())), name + ": of a node that is forgotten");
        }
        for (std::string const kind : {"lock:", "name:", "gone", "buried", "session:"}) {
            if (name.starts_with(kind)) demand(command({"PTTL", whole}).integer > 0, name + ": would stay for ever");
        }
        if (name.starts_with("inbox:")) {
            auto const last = command({"XREVRANGE", whole, "+", "-", "COUNT", "1"});
            demand(!last.elements.empty() && last.elements[0].elements[0].text == text("ver:" + name.substr(6)) + "-0",
                   name + ": its last entry is not its version");
        }
    }
    auto const buried = sorted_set("buried");
    auto const gone = hash("gone");
    demand(buried.size() == gone.size(), "gone and buried differ");
    for (auto const& [id, score] : buried) demand(gone.contains(id), id + ": buried, but without a tombstone");
    if (auto const last = command({"XREVRANGE", key("events"), "+", "-", "COUNT", "1"}); !last.elements.empty()) {
        demand(last.elements[0].elements[0].text == fmt::format("{}-{}", s.epoch, s.seq),
               "events: its last entry is not seq");
    }
    return found;
}

}  // namespace rota::test
