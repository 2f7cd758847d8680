// Redis plays every scenario of conformance.hpp; and what only Redis can get wrong.
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../unit/conformance.hpp"

#include "../support/describe.hpp"
#include "../support/script_clock_transport.hpp"

namespace redis_conformance_test {

using namespace rota;
using namespace rota::test;

namespace {

// One server for all tests of this file.
redis_server& server() {
    static redis_server one;
    return one;
}

script_clock_transport& fresh_redis() {
    static script_clock_transport wire{server()};
    wire.begin_anew();
    return wire;
}

/// Hears all that the server does.
class monitor {
public:
    monitor() : context_{::redisConnectUnix(server().unix_socket().c_str()), ::redisFree} {
        REQUIRE(context_);
        reply_of(::redisCommand(context_.get(), "MONITOR"));
    }
    /// The words of what is done next, as the server quotes them; the first says who did it.
    std::vector<std::string> next() {
        void* reply = nullptr;
        REQUIRE(::redisGetReply(context_.get(), &reply) == REDIS_OK);
        auto const line = reply_of(reply);
        std::vector<std::string> words{line.substr(0, line.find(']'))};
        for (auto at = line.find('"'); at != std::string::npos; at = line.find('"', at)) {
            auto end = at + 1;
            while (line[end] != '"') end += line[end] == '\\' ? 2 : 1;
            words.push_back(line.substr(at + 1, end - at - 1));
            at = end + 1;
        }
        return words;
    }

private:
    static std::string reply_of(void* reply) {
        REQUIRE(reply);
        auto const* r = static_cast<redisReply*>(reply);
        std::string text = r->str ? std::string{r->str, r->len} : std::string{};
        ::freeReplyObject(reply);
        return text;
    }
    std::unique_ptr<redisContext, void (*)(redisContext*)> context_;
};

// A group in which every operation has something to do.
struct busy_group {
    fencing_token leader = 0, term = 0, epoch = 0, a = 0, b = 0, silent = 0, orphan = 0, x = 0, y = 0, z = 0,
                  moving = 0;
    fencing_token lock = 0, name_lock = 0;

    explicit busy_group(script_clock_transport& redis) {
        scene<script_clock_transport> s{redis};
        silent = s.join("silent");
        orphan = s.own_new(silent, "orphan");
        leader = s.join("leader");
        a = s.join("a");
        b = s.join("b");
        epoch = s.get(op::nodes_page{}).epoch;
        term = s.lead(leader, "leader");
        x = s.own_new(a, "x");
        y = s.own_new(a, "y");
        z = s.own_new(a, "z");
        moving = s.own_new(a, "moving");
        s.revoke(a, "moving", moving, b, 30s, true);
        s.own_new(b, "damaged");
        s.own_new(b, "unlisted");
        s.add({"free", "free too"});
        lock = s.lock(a, "x", x, 1, 30s).token;
        s.lock(a, "z", z, 1, 1s);
        name_lock = s.lock_name(a, "n", 1, 30s).token;
        redis.advance(6s);
        for (auto const& [node, id] : {std::pair{leader, "leader"}, {a, "a"}, {b, "b"}}) s.tick(node, id);
        s.renew(leader, "leader", term);
        redis.advance(6s);
        REQUIRE(s.get(op::reap{leader, term, {silent}}).items.size() == 1);
        s.get(op::give_order{op::order_kind::drain, "a"});
        s.damage({.what = store_damage::kind::garble_record, .id = "damaged"});
        s.damage({.what = store_damage::kind::unlist, .id = "unlisted", .node = b});
        s.damage({.what = store_damage::kind::list, .id = "ghost", .node = 0});
        redis.command({"HSET", redis.key("moves"), "damaged", std::to_string(a) + "|1|1|0"});
    }

    [[nodiscard]] op::tick tick(fencing_token node, std::string id) const {
        return {.incarnation = node, .node_id = std::move(id), .epoch = epoch, .node_ttl = 10s, .leader_lease = 10s};
    }

    // Every operation that writes, in each way that it can.
    [[nodiscard]] std::vector<operation> writes() const {
        auto candidate = tick(a, "a");
        candidate.candidate = true;
        auto renewal = tick(leader, "leader");
        renewal.term = term;
        auto brief = tick(a, "a");
        brief.brief = true;
        auto wiser = tick(a, "a");
        wiser.seen = name_lock + 60'000'000;
        return {
            op::join{.node_id = "new", .nonce = 1, .node_ttl = 10s},
            op::join{.node_id = "a", .nonce = 1, .node_ttl = 10s},
            op::join{.node_id = "new", .nonce = 1, .node_ttl = 10s, .seen = wiser.seen},
            tick(a, "a"),
            brief,
            renewal,
            candidate,
            wiser,
            op::leave{leader, "leader", {a, b}},
            op::leave{a, "a", {}},
            op::renounce{leader, term, {a, b}},
            op::acquire_locks{.incarnation = a, .items = {{"y", y}}, .ttl = 5s, .nonce = 1},
            op::acquire_locks{.incarnation = a, .items = {{"z", z}}, .ttl = 5s, .nonce = 1},
            op::acquire_locks{.incarnation = a, .items = {{"y", y}, {"z", z}}, .ttl = 5s, .nonce = 1},
            op::acquire_locks{.incarnation = a, .kind = op::lock_kind::name, .items = {{"m", 0}}, .ttl = 5s},
            op::acquire_locks{.incarnation = a, .kind = op::lock_kind::name, .items = {{"m", 0}, {"o", 0}}, .ttl = 5s},
            op::extend_locks{.incarnation = a, .items = {{"x", lock}}, .ttl = 60s},
            op::release_locks{.items = {{"x", lock}}},
            op::release_locks{.kind = op::lock_kind::name, .items = {{"n", name_lock}}},
            op::register_schedules{{{"one", 1, {}}, {"two", 1, {}}}},
            op::unregister_schedules{{{"x", a}, {"moving", a}, {"free", 0}}, 1},
            op::claim{.incarnation = b, .ids = {"free", "free too"}},
            op::adopt{.incarnation = leader, .term = term, .items = {{"orphan", orphan, silent, b}, {"free", 0, 0, a}}},
            op::revoke{.incarnation = leader,
                       .term = term,
                       .items = {{"x", x, a, b}, {"y", y, a, leader}},
                       .handoff_deadline = 5s},
            op::revoke{.incarnation = a, .items = {{"x", x, a, b}}, .handoff_deadline = 5s},
            op::acknowledge{.incarnation = a, .items = {{"moving", moving, b, {}}}},
            op::acknowledge{.incarnation = a, .items = {{"y", y, b, {}, true}}},
            op::acknowledge{.incarnation = a, .items = {{"y", y, b, {}, true}}, .lock_ttl = 5s},
            op::acknowledge{.incarnation = a, .items = {{"moving", moving, b, {}}, {"y", y, b, {}, true}}},
            op::acknowledge{.incarnation = a, .items = {{"y", y, b, "moving"}}},
            op::trigger{{{"x", a}, {"free", 0}, {"y", 0, 5}}},
            op::describe_node{a, 1000, "z=one"},
            op::give_order{op::order_kind::drain, "b"},
            op::give_order{op::order_kind::undrain, "a"},
            op::update_schedules{{{"x", 2, "g=1", a}, {"free", 2, {}, 0}}},
            op::mend{.incarnation = leader,
                     .term = term,
                     .items = {{"damaged", {a, b}}, {"unlisted", {b}}, {"ghost", {}}},
                     .recount = {leader}}};
    }
};

}  // namespace

TEST_CASE("Redis answers as operations.hpp says") { play_all_scenarios(fresh_redis); }

TEST_CASE("a key of the wrong type is found before anything is written") {
    auto& redis = fresh_redis();
    auto const prepare = [&] {
        redis.begin_anew();
        return busy_group{redis};
    };
    auto const count = prepare().writes().size();
    for (std::size_t i = 0; i < count; ++i) {
        auto group = prepare();
        auto const request = group.writes()[i];
        auto const before = redis.dump();
        auto const answer = redis.perform(request, {1, 1});
        INFO(describe(request) << " -> " << describe(answer));
        REQUIRE(answer.has_value());
        if (auto const* outcomes = std::get_if<op::outcomes>(&*answer)) {
            for (auto const& item : outcomes->items) REQUIRE(item.ok());
        }
        auto const after = redis.dump();
        std::vector<std::string> written;
        for (auto const& [key, value] : after) {
            auto const old = before.find(key);
            if (old == before.end() || old->second != value) written.push_back(key);
        }
        for (auto const& [key, value] : before) {
            if (!after.contains(key)) written.push_back(key);
        }
        REQUIRE_FALSE(written.empty());
        for (auto const& key : written) {
            INFO("with " << key << " of the wrong type");
            group = prepare();
            redis.command({"DEL", key});
            redis.command({"RPUSH", key, "a list"});
            auto const unspoilt = redis.dump();
            auto const refused = redis.perform(group.writes()[i], {1, 1});
            bool const untouched = redis.dump() == unspoilt;
            bool const only_read =
                std::holds_alternative<op::release_locks>(request) || std::holds_alternative<op::extend_locks>(request);
            if (only_read && refused) {
                CHECK(untouched);
                CHECK(std::get<op::outcomes>(*refused).items[0].code == errc::lock_lost);
            } else if (refused && !after.contains(key)) {
                CHECK_FALSE(redis.dump().contains(key));  // it was only to be deleted
            } else {
                CHECK(untouched);
                REQUIRE_FALSE(refused.has_value());
                CHECK(refused.error().code == errc::refused_by_server);
                CHECK_THAT(refused.error().detail, rota_test::contains("WRONGTYPE"));
            }
        }
    }
}

TEST_CASE("every key that a script touches is declared") {
    auto& redis = fresh_redis();
    auto const count = busy_group{redis}.writes().size();
    monitor heard;
    for (std::size_t i = 0; i < count; ++i) {
        redis.begin_anew();
        busy_group const group{redis};
        (void)redis.perform(group.writes()[i], {1, 1});
        for (auto holder : {group.a, fencing_token{0}})
            (void)redis.perform(op::schedules_page{.holder = holder}, {1, 1});
        (void)redis.perform(op::changes_since{group.a, 0}, {1, 1});
        (void)redis.perform(op::events_since{group.epoch, 0}, {1, 1});
        (void)redis.perform(op::nodes_page{}, {1, 1});
        (void)redis.perform(op::scan_page{}, {1, 1});
        (void)redis.perform(op::lookup{{"x"}}, {1, 1});
        (void)redis.probe();
    }
    redis.command({"ECHO", "done"});
    std::set<std::string> declared;
    std::size_t touched = 0;
    for (;;) {
        auto const words = heard.next();
        REQUIRE(words.size() >= 2);
        if (words[1] == "ECHO") break;
        if (words[1] == "EVALSHA") {
            declared.clear();
            for (std::size_t i = 0; i < std::stoul(words[3]); ++i) declared.insert(words[4 + i]);
        }
        if (words[0].find("lua") == std::string::npos) continue;
        for (auto const& word : words) {
            if (!word.starts_with(redis.key("")) || word == redis.key("test-clock")) continue;
            ++touched;
            INFO(words[1] << " " << word);
            CHECK(declared.contains(word));
        }
    }
    CHECK(touched > 10'000);
}

TEST_CASE("whatever stands in a record, nothing fails, and it is mended") {
    auto& redis = fresh_redis();
    scene<script_clock_transport> s{redis};
    auto const a = s.join("a");
    auto const b = s.join("b");
    auto const term = s.lead(a, "a");
    auto const x = s.own_new(b, "x");
    auto const y = s.own_new(b, "y");
    auto const z = s.own_new(b, "z");
    s.own_new(a, "what tells it that it has something");
    auto const token = s.lock(b, "x", x).token;
    s.revoke(b, "y", y, a, 30s, true);
    auto const incarnation = std::to_string(b);
    // No script fails, and no reply is unreadable.
    auto const perform_all = [&] {
        std::vector<operation> const all{
            op::lookup{{"x", "y"}},
            op::schedules_page{.holder = b},
            op::schedules_page{},
            op::nodes_page{},
            op::changes_since{b, 0},
            op::events_since{.epoch = s.get(op::nodes_page{}).epoch, .limit = 1000},
            op::register_schedules{{{"x", 1, {}}}},
            op::update_schedules{{{"x", 2, {}, 0}}},
            op::unregister_schedules{{{"x", 0}}, 1},
            op::claim{.incarnation = b, .ids = {"x"}},
            op::adopt{.incarnation = a, .term = term, .items = {{"x", 1, 2, a}, {"x", 0, 0, a}}},
            op::revoke{.incarnation = a, .term = term, .items = {{"x", x, b, a}}},
            op::acknowledge{.incarnation = b, .items = {{"x", x, a, {}}, {"x", x, a, "y"}}},
            op::acknowledge{.incarnation = b, .items = {{"z", z, a, {}, true}}},
            op::acquire_locks{.incarnation = b, .items = {{"x", 1}}, .ttl = 5s},
            op::acquire_locks{.incarnation = b, .items = {{"x", 1}, {"y", 1}}, .ttl = 5s},
            op::extend_locks{.incarnation = b, .items = {{"x", token}}, .ttl = 5s},
            op::scan_page{},
        };
        for (auto const& request : all) {
            auto const answer = redis.perform(request, {1, 1});
            INFO(describe(request) << " -> " << describe(answer));
            CHECK(answer.has_value());
        }
    };

    SECTION("of a schedule") {
        auto const text =
            GENERATE(as<std::string>{}, "", "|", "||", "1|2", "1|2|", "a|b|c", "-1|0|1", "1|2|x", "1|2|-1", "1|2|0",
                     "1|2|nan", "1|2|inf", "1|2|1e999", "1|2|1e-999", "1|2|0x10", "1|2| 1", "1|2|1|", "1|2|1|2",
                     "1|2|1;g=x|y", "99999999999999999|0|1", "1|99999999999999999|1", "007|0|1", "1|02|1", "1|2|1.5.5",
                     "1|2|1e", "1|2|1-2", "1|2|;g=x", "1||1", "\n|\n|\n");
        INFO(text);
        redis.command({"HSET", redis.key("own"), "x", text});
        perform_all();
        CHECK(redis.command({"HGET", redis.key("own"), "x"}).text == text);
        CHECK(s.scan().broken == std::vector<std::string>{"x"});
        CHECK(s.get(op::schedules_page{.holder = b}).strays == std::vector<std::string>{"x"});
        auto const mended = s.mend(a, term, "x", {a, b});
        CHECK(s.where("x") == schedule_status{"x", mended.token, 0, 1, 0, {}});
    }
    SECTION("of a hand-off") {
        auto const text = GENERATE(as<std::string>{}, "", "|", "x", "5|x|1|0", "0|1|1|0", "5|1|1", "5|1|1|0|0",
                                   "|1|1|0", "07|1|1|0", "5|1|1|", "-5|1|1|1");
        INFO(text);
        redis.command({"HSET", redis.key("moves"), "x", text});
        perform_all();
        redis.command({"HSET", redis.key("moves"), "x", text});  // a new one may have taken its place
        CHECK(s.scan().broken == std::vector<std::string>{"x"});
        auto const mended = s.mend(a, term, "x", {a, b});
        CHECK(mended.token > x);
        CHECK(s.where("x") == schedule_status{"x", mended.token, b, 1, 0, {}});
    }
    SECTION("of a counter") {
        auto const text = GENERATE(as<std::string>{}, "", "x", "-3", "1.5", "nan", "1e400", "99999999999999999999999");
        INFO(text);
        for (auto const* name : {"load", "pending"}) redis.command({"HSET", redis.key(name), incarnation, text});
        redis.command({"HSET", redis.key("pending"), std::to_string(a), text});
        perform_all();
        s.get(op::mend{.incarnation = a, .term = term, .recount = {a, b}});
        CHECK(s.node(a).pending == (s.where("x").moving_to == a ? 1u : 0u) + (s.where("y").moving_to == a ? 1u : 0u));
        CHECK(s.node(b).load == (s.where("z").owner == b ? 3u : 2u));
        CHECK(s.node(b).pending == 0);
    }
    SECTION("of a tombstone") {
        redis.command({"HSET", redis.key("gone"), "x", GENERATE(as<std::string>{}, "", "1|2", "a|b|c|d", "1|2|3|4|5")});
        perform_all();
        redis.command({"DEL", redis.key("gone")});
    }
    SECTION("of a node that nobody knows") {
        redis.command({"ZADD", redis.key("by:4711"), "0", "x", "0", "lost"});
        redis.command({"HSET", redis.key("load"), "4711", "2"});
        redis.command({"HSET", redis.key("pending"), "4711", "2"});
        s.get(op::mend{.incarnation = a, .term = term, .items = {{"x", {b, 4711}}, {"lost", {4711}}}});
        CHECK(s.where("x").owner == b);
        CHECK(s.where("lost").owner == 0);
        CHECK(s.one(op::claim{.incarnation = a, .ids = {"lost"}}).ok());  // nobody is there to believe in it
    }
    CHECK(redis.contradictions() == std::vector<std::string>{});
}

TEST_CASE("tombstones are thrown away when they have had their time") {
    auto& redis = fresh_redis();
    scene<script_clock_transport> s{redis};
    auto const unregister = [&](std::string const& name, int count) {
        for (int i = 0; i < count; ++i) {
            auto const id = name + std::to_string(i);
            s.add({id});
            CHECK(s.one(op::unregister_schedules{{{id, 0}}, 1}).ok());
        }
    };
    auto const kept = [&] { return redis.command({"HLEN", redis.key("gone")}).integer; };
    unregister("early ", 10);
    s.advance(59s);
    unregister("late ", 4);
    CHECK(kept() == 14);
    s.advance(1s);
    unregister("new ", 3);
    CHECK(kept() == 4 + 4 + 3);
    unregister("newer ", 3);
    CHECK(kept() == 4 + 3 + 3);
    CHECK(redis.contradictions() == std::vector<std::string>{});
}

TEST_CASE("the script for the usual hand-over leaves all that is unusual to the one for any, and does nothing then") {
    auto& redis = fresh_redis();
    scene<script_clock_transport> s{redis};
    auto const a = s.join("a");
    auto const b = s.join("b");
    auto const limited = s.join("limited", 2);
    auto const x = s.own_new(a, "x");
    s.own_new(b, "something");
    s.own_new(limited, "first");
    op::acknowledge gift{.incarnation = a, .items = {{"x", x, b, {}, true}}, .lock_ttl = 5s};
    rota::detail::connection_stamp const now{1, 1};
    auto const is_left = [&] {
        auto const before = redis.dump();
        auto const answer = redis.perform_raw(gift, now);
        return answer.kind == redis_reply::type::string && answer.text.empty() && redis.dump() == before;
    };
    auto const answer = [&] { return std::get<op::outcomes>(redis.perform(gift, now).value()).items.at(0); };

    SECTION("the usual one") {
        CHECK_FALSE(is_left());
        CHECK(s.where("x").owner == b);
    }
    SECTION("to a node that takes one more, and no other") {
        gift.items[0].to = limited;
        CHECK_FALSE(is_left());
        CHECK(s.where("x").owner == limited);
        gift.items[0] = {"y", s.own_new(a, "y"), limited, {}, true};
        CHECK(is_left());
        CHECK(answer().code == errc::capacity_exceeded);
    }
    SECTION("to a node that has something on its way") {
        s.revoke(a, "y", s.own_new(a, "y"), limited, 30s, false);
        gift.items[0].to = limited;
        CHECK(is_left());
        CHECK(answer().code == errc::capacity_exceeded);
    }
    SECTION("of what is locked") {
        s.lock(a, "x", x);
        CHECK(is_left());
        CHECK(answer().code == errc::locked_by_other);
    }
    SECTION("of what was asked for") {
        s.revoke(a, "x", x, b, 30s, false);
        CHECK(is_left());
        CHECK(answer().ok());
    }
    SECTION("of what is another's by now") {
        gift.items[0].generation = x - 1;
        CHECK(is_left());
        CHECK(answer().code == errc::conflict);
    }
    SECTION("of what nobody knows") {
        gift.items[0].id = "none";
        CHECK(is_left());
        CHECK(answer().code == errc::unknown_schedule);
    }
    SECTION("to nobody") {
        gift.items[0].to = GENERATE(as<fencing_token>{}, 4711, 0);
        CHECK_FALSE(answer().ok());
        CHECK(s.where("x").owner == a);
    }
    SECTION("to itself") {
        gift.items[0].to = a;
        CHECK(answer().ok());
        CHECK(s.where("x").owner == a);
    }
    SECTION("to one that is late") {
        s.advance(8s);
        s.tick(a, "a");
        s.advance(8s);
        CHECK(is_left());
        CHECK(answer().code == errc::unknown_node);
    }
    SECTION("to one that had nothing yet") {
        gift.items[0].to = s.join("new");
        CHECK(is_left());
        CHECK(answer().ok());
        gift.items[0] = {"y", s.own_new(a, "y"), gift.items[0].to, {}, true};
        CHECK_FALSE(is_left());
    }
    SECTION("by one that is not there") {
        gift.incarnation = 4711;
        CHECK(is_left());
        CHECK(redis.perform(gift, now).error() == errc::not_joined);
    }
    SECTION("by one that has seen more than the server knows") {
        gift.seen = x + 1'000'000'000;
        CHECK(is_left());
        CHECK(redis.perform(gift, now).error() == errc::not_joined);
    }
    SECTION("of a session whose record has had its time") {
        redis.command({"DEL", redis.key("session:1")});
        CHECK_FALSE(is_left());
    }
    SECTION("over an older connection") {
        redis.raise({1, 2});
        CHECK(is_left());
        CHECK(redis.perform(gift, now).error() == errc::conflict);
    }
    SECTION("where something cannot be read") {
        auto const [name, field] = GENERATE_COPY(
            std::pair{std::string{"own"}, std::string{"x"}}, std::pair{std::string{"load"}, std::to_string(a)},
            std::pair{std::string{"load"}, std::to_string(b)}, std::pair{std::string{"head"}, std::string{}});
        INFO(name);
        if (field.empty()) {
            redis.command({"SET", redis.key(name), "garbage"});
        } else {
            redis.command({"HSET", redis.key(name), field,
                           name == "own" ? std::to_string(x) + "|" + std::to_string(a) + "|garbage" : "nan"});
        }
        CHECK(is_left());
        return;
    }
    CHECK(redis.contradictions() == std::vector<std::string>{});
}

TEST_CASE("a schedule that goes to and fro leaves no inbox that grows without end") {
    auto& redis = fresh_redis();
    scene<script_clock_transport> s{redis};
    fencing_token nodes[] = {s.join("a"), s.join("b")};
    auto generation = s.own_new(nodes[0], "x");
    // Each node hears of half of them. Redis throws away whole pieces of a log, of 100 entries at most.
    constexpr long long most = static_cast<long long>(op::change_log_length) + 200;
    for (long long i = 0; i < 3 * most; ++i) {
        op::acknowledge const gift{.incarnation = nodes[0], .items = {{"x", generation, nodes[1], {}, true}}};
        generation = s.one(gift).token;
        if (generation == 0) FAIL("hand-over " << i);
        std::swap(nodes[0], nodes[1]);
    }
    for (auto const node : nodes) {
        auto const inbox = redis.command({"XLEN", redis.key("inbox:" + std::to_string(node))}).integer;
        CHECK(inbox >= static_cast<long long>(op::change_log_length));
        CHECK(inbox <= most);
    }
}

TEST_CASE("counters that were lost alone are noticed, and no log goes back") {
    auto& redis = fresh_redis();
    scene<script_clock_transport> s{redis};
    auto const a = s.join("a");
    s.own_new(a, "x");
    s.own_new(a, "y");
    s.add({"z"});

    SECTION("the version of a node's log") {
        redis.command({"DEL", redis.key("ver:" + std::to_string(a))});
        CHECK(s.get(op::changes_since{a, 2}).gap);
        s.claim(a, "z");
        CHECK(s.version_of(a) == 3);
        CHECK(s.changes_of(a, 2).size() == 1);
    }
    SECTION("the epoch and the number of the newest event") {
        bool const gone = GENERATE(true, false);
        if (gone) {
            redis.command({"DEL", redis.key("head")});
        } else {
            redis.command({"SET", redis.key("head"), "12"});
        }
        auto brief = s.heartbeat(a, "a");
        brief.brief = true;
        CHECK(s.get(brief).status == op::tick_status::unsettled);
        op::claim const request{.incarnation = a, .ids = {"z"}};
        auto const before = redis.dump();
        CHECK(s.refusal(request) == errc::conflict);
        CHECK((redis.dump() == before));
        auto beat = s.heartbeat(a, "a");
        beat.seen = a;
        auto const lost = s.get(beat);
        CHECK(lost.status == op::tick_status::data_lost);
        CHECK(lost.epoch > beat.epoch);
        CHECK(s.one(request).ok());
        CHECK(s.events_after(lost.seq).size() == 1);
    }
    SECTION("the fence") {
        auto const generation = s.claim(a, "z");
        redis.command({"DEL", redis.key("fence")});
        auto beat = s.heartbeat(a, "a");
        beat.seen = generation;
        auto const lost = s.get(beat);
        CHECK(lost.status == op::tick_status::data_lost);
        CHECK(lost.fence > generation);
    }
}

TEST_CASE("the probe finds every command that is not allowed, and leaves nothing") {
    auto& redis = fresh_redis();
    CHECK(redis.probe() == "OK");
    CHECK(redis.dump().empty());
    for (std::string const forbidden : {"get", "mget", "set", "mset", "del", "exists", "hset", "hscan", "hkeys",
                                        "hgetall", "pexpire", "zadd", "zmscore", "xadd", "xread"}) {
        INFO(forbidden);
        redis.command({"ACL", "SETUSER", "default", "-" + forbidden});
        auto const text = redis.probe();
        redis.command({"ACL", "SETUSER", "default", "+@all"});
        auto upper = forbidden;
        for (auto& c : upper) c = static_cast<char>(c - 'a' + 'A');
        CHECK_THAT(text, rota_test::contains("[" + upper + "]"));
        CHECK(redis.dump().empty());
    }
    // What somebody else has put there is in nobody's way.
    redis.command({"RPUSH", redis.key("probe"), "x"});
    CHECK(redis.probe() == "OK");
}

}  // namespace redis_conformance_test
