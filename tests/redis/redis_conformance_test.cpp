// Redis plays every scenario of conformance.hpp; and what only Redis can get wrong.
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../unit/conformance.hpp"

#include "../support/describe.hpp"
#include "../support/script_clock_transport.hpp"

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
        s.revoke(a, "moving", moving, b);
        s.add({"free", "free too"});
        lock = s.lock(a, "x", x, 1, 30s).token;
        s.lock(a, "z", z, 1, 1s);
        name_lock = s.lock_name(a, "n", 1, 30s).token;
        redis.advance(6s);
        for (auto const& [node, id] : {std::pair{leader, "leader"}, {a, "a"}, {b, "b"}}) s.tick(node, id);
        s.renew(leader, "leader", term);
        redis.advance(6s);
        REQUIRE(s.get(op::reap{leader, term, {silent}}).items.size() == 1);
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
        auto wiser = tick(a, "a");
        wiser.seen = name_lock + 60'000'000;
        return {
            op::join{.node_id = "new", .nonce = 1, .node_ttl = 10s},
            op::join{.node_id = "a", .nonce = 1, .node_ttl = 10s},
            op::join{.node_id = "new", .nonce = 1, .node_ttl = 10s, .seen = wiser.seen},
            tick(a, "a"),
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
            op::register_schedules{{{"one", 1}, {"two", 1}}},
            op::unregister_schedules{{{"x", a}, {"moving", a}, {"free", 0}}, 1},
            op::claim{.incarnation = b, .ids = {"free", "free too"}},
            op::adopt{.incarnation = leader, .term = term, .items = {{"orphan", orphan, silent, b}, {"free", 0, 0, a}}},
            op::revoke{.incarnation = leader,
                       .term = term,
                       .items = {{"x", x, a, b}, {"y", y, a, leader}},
                       .handoff_deadline = 5s},
            op::revoke{.incarnation = a, .items = {{"x", x, a, b}}, .handoff_deadline = 5s},
            op::acknowledge{.incarnation = a, .items = {{"moving", moving, b}}}};
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
    SECTION("the number of the newest event, or the epoch") {
        redis.command({"DEL", redis.key(GENERATE("seq", "epoch"))});
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
    for (std::string const forbidden :
         {"get", "mget", "set", "mset", "del", "exists", "hset", "zadd", "zmscore", "xadd", "xread"}) {
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
