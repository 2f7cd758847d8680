// The codec against what no script of rota's would ever answer: whatever comes, decode() gives a reply or an error, and
// the address sanitizer watches.
#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "../support/command_words.hpp"
#include "../support/script_clock_transport.hpp"
#include "../unit/conformance.hpp"

namespace redis_codec_test {

using namespace rota;
using namespace rota::test;

namespace {

void append_resp(std::string& into, redis_reply const& reply) {
    using type = redis_reply::type;
    switch (reply.kind) {
        case type::nil: into += "$-1\r\n"; break;
        case type::status: into += "+" + reply.text + "\r\n"; break;
        case type::error: into += "-" + reply.text + "\r\n"; break;
        case type::integer: into += ":" + std::to_string(reply.integer) + "\r\n"; break;
        case type::string: into += "$" + std::to_string(reply.text.size()) + "\r\n" + reply.text + "\r\n"; break;
        case type::array:
            into += "*" + std::to_string(reply.elements.size()) + "\r\n";
            for (auto const& element : reply.elements) append_resp(into, element);
            break;
    }
}

/// What decode makes of `reply`, sent as Redis would send it.
result<reply> decoded(operation const& request, redis_reply const& reply) {
    std::string text;
    append_resp(text, reply);
    std::unique_ptr<redisReader, void (*)(redisReader*)> const reader{::redisReaderCreate(), ::redisReaderFree};
    REQUIRE(::redisReaderFeed(reader.get(), text.data(), text.size()) == REDIS_OK);
    void* parsed = nullptr;
    REQUIRE(::redisReaderGetReply(reader.get(), &parsed) == REDIS_OK);
    REQUIRE(parsed);
    std::unique_ptr<redisReply, void (*)(void*)> const owned{static_cast<redisReply*>(parsed), ::freeReplyObject};
    return rota::detail::decode(request, owned.get());
}

redis_reply number(long long value) {
    return {.kind = redis_reply::type::integer, .text = {}, .integer = value, .elements = {}};
}
redis_reply text(std::string value) {
    return {.kind = redis_reply::type::string, .text = std::move(value), .integer = 0, .elements = {}};
}
redis_reply list(std::vector<redis_reply> elements) {
    return {.kind = redis_reply::type::array, .text = {}, .integer = 0, .elements = std::move(elements)};
}

/// Requests of every kind, with the very replies of Redis to them.
std::vector<std::pair<operation, redis_reply>> real_replies() {
    redis_server server;
    script_clock_transport redis{server};
    scene<script_clock_transport> s{redis};
    auto const a = s.join("a");
    auto const b = s.join("b");
    auto const term = s.lead(a, "a");
    auto const x = s.own_new(a, "x");
    auto const y = s.own_new(a, "y");
    auto const z = s.own_new(a, "z");
    s.own_new(b, "something");
    s.revoke(a, "y", y, b);
    s.get(op::register_schedules{{{"free", 2, "g=1"}}});
    s.get(op::update_schedules{{{"x", 2, "g=1", a}}});
    s.get(op::describe_node{b, 7, "z=one"});
    s.get(op::give_order{op::order_kind::drain, "b"});
    s.get(op::give_order{op::order_kind::begin_maintenance, {}});
    auto renewal = s.heartbeat(a, "a");
    renewal.term = term;
    auto const silent = s.join("silent");
    auto const epoch = s.get(op::nodes_page{}).epoch;
    redis.advance(6s);
    s.tick(b, "b");
    s.renew(a, "a", term);
    redis.advance(6s);
    std::vector<operation> const requests{
        op::nodes_page{},
        renewal,
        s.heartbeat(b, "b"),
        s.heartbeat(4711, "b"),
        op::lookup{{"x", "none", "y"}},
        op::scan_page{},
        op::describe_node{b, 7, {}},
        op::give_order{op::order_kind::drain, "none"},
        op::update_schedules{{{"x", 1, {}, a}, {"none", 1, {}, 0}}},
        op::mend{.incarnation = a, .term = term, .items = {{"x", {a}}, {"y", {b}}}},
        op::acquire_locks{.incarnation = a, .items = {{"x", x}}, .ttl = 5s},
        op::acquire_locks{.incarnation = a, .items = {{"x", x}, {"none", 0}, {"y", y}}, .ttl = 5s},
        op::schedules_page{.holder = a},
        op::schedules_page{},
        op::changes_since{a, 0},
        op::events_since{epoch, 0, 100},
        op::claim{.incarnation = b, .ids = {"x", "free"}},
        op::claim{.incarnation = 4711, .ids = {"x"}},
        op::reap{a, term, {silent}},
        op::adopt{.incarnation = a, .term = term, .items = {{"x", x, a, b}}},
        op::revoke{.incarnation = a, .term = term, .items = {{"x", x, a, b}}},
        op::acknowledge{.incarnation = a, .items = {{"y", y, b, {}}, {"none", 0, b, {}}}},
        op::acknowledge{.incarnation = a, .items = {{"none", 0, b, {}, false}}},
        op::acknowledge{.incarnation = a, .items = {{"z", z, b, {}, true}}},
        op::trigger{{{"y", a, 0}, {"none", 0, 0}}},
        op::trigger{{{"y", 0, 5}}},
        op::register_schedules{{{"new", 1, {}}}},
        op::unregister_schedules{{{"new", 0}, {"x", 0}}, 1},
        op::renounce{a, term, {b}},
        op::leave{b, "b", {}},
        op::join{.node_id = "c", .nonce = 1, .node_ttl = 10s},
    };
    std::vector<std::pair<operation, redis_reply>> replies;
    for (auto const& request : requests) replies.emplace_back(request, redis.perform_raw(request, {1, 1}));
    return replies;
}

/// Every reply within a reply.
void collect(redis_reply& reply, std::vector<redis_reply*>& into) {
    into.push_back(&reply);
    for (auto& element : reply.elements) collect(element, into);
}

void spoil(redis_reply& whole, std::mt19937_64& random) {
    std::vector<redis_reply*> all;
    collect(whole, all);
    auto& victim = *all[random() % all.size()];
    static long long const numbers[] = {-1, 0, 1, 19, 20, 256, 1LL << 53, INT64_MAX, INT64_MIN};
    static char const* const texts[] = {"",
                                        "|",
                                        "-",
                                        "1|2",
                                        "1|2|3|4|5|6|7|8",
                                        "99999999999999999999",
                                        "-1",
                                        "1e3",
                                        "nan",
                                        "1-2-3",
                                        "0|0|0|0|0|1|9:x",
                                        "3|0|0|0|0|1|1|1|18446744073709551615:x",
                                        "2|0|1|1|1|1;|1:x2|0|1|1|1|1|1:"};
    switch (random() % 8) {
        case 0: victim = number(numbers[random() % std::size(numbers)]); break;
        case 1: victim = text(texts[random() % std::size(texts)]); break;
        case 2: victim = redis_reply{}; break;
        case 3: victim = list({}); break;
        case 4:
            if (!victim.elements.empty()) victim.elements.pop_back();
            break;
        case 5:
            if (!victim.elements.empty()) victim.elements.push_back(victim.elements.front());
            break;
        case 6:
            if (!victim.text.empty()) victim.text.resize(random() % victim.text.size());
            break;
        default: victim = list({victim}); break;
    }
}

}  // namespace

TEST_CASE("decode refuses what has not the form of a reply") {
    operation const join = op::join{};
    CHECK((*decoded(join, list({number(0), number(3), number(2), number(1), number(0)})) ==
           reply{op::joined{3, 2, 1, 0}}));
    auto const refused = [&](redis_reply const& r) { return decoded(join, r).error().code; };
    CHECK(rota::detail::decode(join, nullptr).error().code == errc::protocol);
    CHECK(refused({}) == errc::protocol);
    CHECK(refused(number(0)) == errc::protocol);
    CHECK(refused(list({})) == errc::protocol);
    CHECK(refused(list({text("ok")})) == errc::protocol);
    CHECK(refused(list({number(0), number(3), number(2), number(1)})) == errc::protocol);
    CHECK(refused(list({number(0), number(3), number(2), number(1), number(-1)})) == errc::protocol);
    CHECK(refused(list({number(0), number(3), number(2), number(1), number(0), number(0)})) == errc::protocol);
    CHECK(refused(list({number(0), text("3 "), number(2), number(1), number(0)})) == errc::protocol);
    CHECK(refused(list({number(0), text(""), number(2), number(1), number(0)})) == errc::protocol);
    CHECK(refused(list({number(1000)})) == errc::protocol);
    CHECK(refused(list({number(-1)})) == errc::protocol);
    CHECK(refused(list({number(static_cast<int>(errc::conflict)), text("why"), text("more")})) == errc::protocol);
    CHECK(refused(list({number(static_cast<int>(errc::conflict)), text("why")})) == errc::conflict);
    CHECK(decoded(join, list({number(static_cast<int>(errc::conflict)), text("why")})).error().detail == "why");
    CHECK(refused({.kind = redis_reply::type::error, .text = "WRONGTYPE x", .integer = 0, .elements = {}}) ==
          errc::refused_by_server);
}

TEST_CASE("decode survives any reply") {
    std::mt19937_64 random{2026};
    std::size_t refused = 0;
    for (auto const& [request, real] : real_replies()) {
        REQUIRE_FALSE(real.is_error());
        auto const sound = decoded(request, real);
        CHECK((sound || sound.error().code != errc::protocol));
        for (int i = 0; i < 2000; ++i) {
            auto spoilt = real;
            for (auto times = 1 + random() % 3; times-- > 0;) spoil(spoilt, random);
            auto const answer = decoded(request, spoilt);
            refused += !answer && answer.error().code == errc::protocol;
        }
        // Nor is it mistaken for the reply to another request.
        for (auto const& other :
             std::vector<operation>{op::join{}, op::tick{}, op::acquire_locks{.items = {{"x", 1}}}, op::lookup{{"x"}},
                                    op::changes_since{}, op::events_since{}, op::schedules_page{}, op::nodes_page{},
                                    op::scan_page{}, op::mend{.items = {{"x", {}}}}}) {
            (void)decoded(other, real);
        }
    }
    CHECK(refused > 20'000);
}

TEST_CASE("a command takes the place of the one before, whatever their sizes") {
    rota::detail::redis_command recycled;
    auto const same = [&](operation const& request) {
        rota::detail::redis_command fresh;
        rota::detail::encode(request, "p", 1, 2, fresh);
        rota::detail::encode(request, "p", 1, 2, recycled);
        CHECK(recycled.script == fresh.script);
        CHECK(texts_of(recycled.keys) == texts_of(fresh.keys));
        CHECK(texts_of(recycled.args) == texts_of(fresh.args));
    };
    op::register_schedules many;
    for (int i = 0; i < 50; ++i) many.items.push_back({"schedule-" + std::to_string(i), 0.1 * i + 1, {}});
    same(many);
    same(op::acquire_locks{.incarnation = 3, .items = {{"x", 4}}, .ttl = 5s, .nonce = 6, .seen = 7});
    same(many);
    same(op::nodes_page{});
    CHECK(texts_of(recycled.keys).front() == "{p}head");
    CHECK(texts_of(recycled.args) == std::vector<std::string>{"0000000000000000", "200"});
}

TEST_CASE("durations travel without overflowing what the server can count") {
    rota::detail::redis_command command;
    rota::detail::encode(op::acquire_locks{.incarnation = 1, .items = {{"x", 4}}, .ttl = microseconds::max()}, "p", 1,
                         2, command);
    CHECK(texts_of(command.args)[2] == std::to_string(std::int64_t{1} << 51));
    rota::detail::encode(op::acquire_locks{.incarnation = 1, .items = {{"x", 4}}, .ttl = -5s}, "p", 1, 2, command);
    CHECK(texts_of(command.args)[2] == "0");
}

}  // namespace redis_codec_test
