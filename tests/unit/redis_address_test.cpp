// Addresses as users write them, and those that are refused: with words that name the part, and never a password.
#include <rota/detail/redis_address.hpp>

#include "../catch.hpp"

namespace redis_address_test {

using rota::errc;
using rota::detail::parse_redis_address;
using rota::detail::redacted;
using rota::detail::redis_address;
using rota_test::contains;

namespace {

redis_address good(std::string_view text) {
    auto parsed = parse_redis_address(text);
    INFO(text);
    if (!parsed) FAIL(parsed.error().message());
    return *parsed;
}

std::string words_of_bad(std::string_view text) {
    auto parsed = parse_redis_address(text);
    INFO(text);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error() == errc::invalid_argument);
    return parsed.error().detail;
}

}  // namespace

TEST_CASE("a host alone means port 6379, database 0, no credentials") {
    auto const a = good("cache.example");
    CHECK(a == redis_address{.host = "cache.example"});
    CHECK(a.port == 6379);
    CHECK_FALSE(a.authenticate);
    CHECK(redacted(a) == "redis://cache.example:6379");
}

TEST_CASE("each form of a network address") {
    CHECK(good("cache:1234") == redis_address{.host = "cache", .port = 1234});
    CHECK(good("10.0.0.1:1234") == redis_address{.host = "10.0.0.1", .port = 1234});
    CHECK(good("[::1]") == redis_address{.host = "::1"});
    CHECK(good("[fe80::1%eth0]:1234") == redis_address{.host = "fe80::1%eth0", .port = 1234});
    CHECK(good("redis://cache") == redis_address{.host = "cache"});
    CHECK(good("redis://cache/") == redis_address{.host = "cache"});
    CHECK(good("REDIS://cache:1/15") == redis_address{.host = "cache", .port = 1, .database = 15});
    CHECK(good("redis://[::1]:65535/2") == redis_address{.host = "::1", .port = 65535, .database = 2});
    CHECK(redacted(good("redis://u:p@[::1]:7/2")) == "redis://[::1]:7/2");
}

TEST_CASE("credentials are percent-decoded") {
    redis_address const expected{.host = "cache", .user = "me:you", .password = "p@ss/w?rd%", .authenticate = true};
    CHECK(good("redis://me%3ayou:p%40ss%2Fw%3Frd%25@cache") == expected);
}

TEST_CASE("a password may hold @ / ? # : as they are") {
    CHECK(good("redis://:p@ss/w?r#d:@cache:1/3") ==
          redis_address{.host = "cache", .port = 1, .password = "p@ss/w?r#d:", .authenticate = true, .database = 3});
}

TEST_CASE("the default user, a user without a password, and nobody") {
    CHECK(good("redis://:secret@cache").user.empty());
    CHECK(good("redis://me:@cache") == redis_address{.host = "cache", .user = "me", .authenticate = true});
    CHECK_FALSE(good("redis://:@cache").authenticate);
}

TEST_CASE("each form of a unix socket") {
    CHECK(good("unix:///run/redis.sock") == redis_address{.path = "/run/redis.sock"});
    CHECK(good("unix:///run/redis.sock?db=4") == redis_address{.path = "/run/redis.sock", .database = 4});
    CHECK(good("unix:///run/a%3fb%25") == redis_address{.path = "/run/a?b%"});
    CHECK(good("unix:///run/me@home.sock") == redis_address{.path = "/run/me@home.sock"});
    auto const a = good("unix://me:p@/ss@/run/redis.sock?db=4");
    CHECK(a == redis_address{
                   .path = "/run/redis.sock", .user = "me", .password = "p@/ss", .authenticate = true, .database = 4});
    CHECK(redacted(a) == "unix:///run/redis.sock?db=4");
}

TEST_CASE("what is not supported is refused by name") {
    CHECK_THAT(words_of_bad("rediss://cache"), contains("TLS") && contains("not supported yet"));
    CHECK_THAT(words_of_bad("redis+sentinel://a,b/main"), contains("Sentinel") && contains("not supported yet"));
    CHECK_THAT(words_of_bad("sentinel://a"), contains("Sentinel"));
    CHECK_THAT(words_of_bad("http://cache"), contains("scheme"));
    CHECK_THAT(words_of_bad("redis://cache?timeout=3"), contains("parameters"));
}

TEST_CASE("what is malformed is refused with the part and the rule") {
    CHECK_THAT(words_of_bad(""), contains("empty"));
    CHECK_THAT(words_of_bad("redis://"), contains("host is missing"));
    CHECK_THAT(words_of_bad(":6379"), contains("host is missing"));
    CHECK_THAT(words_of_bad("a b"), contains("host"));
    CHECK_THAT(words_of_bad(std::string(256, 'a')), contains("255"));
    CHECK_THAT(words_of_bad("cache:"), contains("port"));
    CHECK_THAT(words_of_bad("cache:0"), contains("1 to 65535"));
    CHECK_THAT(words_of_bad("cache:65536"), contains("1 to 65535"));
    CHECK_THAT(words_of_bad("cache:99999999999999999999"), contains("1 to 65535"));
    CHECK_THAT(words_of_bad("cache:12x"), contains("1 to 65535"));
    CHECK_THAT(words_of_bad("::1"), contains("brackets"));
    CHECK_THAT(words_of_bad("[::1"), contains("not closed"));
    CHECK_THAT(words_of_bad("[::1]6379"), contains("]"));
    CHECK_THAT(words_of_bad("[cache]:1"), contains("IPv6"));
    CHECK_THAT(words_of_bad("redis://cache/x"), contains("database"));
    CHECK_THAT(words_of_bad("redis://cache/1/"), contains("database"));
    CHECK_THAT(words_of_bad("redis://cache/-1"), contains("database"));
    CHECK_THAT(words_of_bad("redis://me@cache"), contains("user:password@"));
    CHECK_THAT(words_of_bad("redis://:%4@cache"), contains("hexadecimal"));
    CHECK_THAT(words_of_bad("me:pw@cache"), contains("long form"));
    CHECK_THAT(words_of_bad("cache/1"), contains("long form"));
    CHECK_THAT(words_of_bad("/run/redis.sock"), contains("unix:///"));
    CHECK_THAT(words_of_bad("unix://redis.sock"), contains("absolute path"));
    CHECK_THAT(words_of_bad("unix:///"), contains("absolute path"));
    CHECK_THAT(words_of_bad("unix:///a?x=1"), contains("?db="));
    CHECK_THAT(words_of_bad("unix:///a?db=x"), contains("database"));
    CHECK_THAT(words_of_bad("unix:///a%0"), contains("hexadecimal"));
    CHECK_THAT(words_of_bad("unix:///a%00b"), contains("control character"));
    CHECK_THAT(words_of_bad("unix:///" + std::string(107, 'a')), contains("107"));
}

TEST_CASE("no message holds a password, wherever a mistake has put it") {
    for (std::string const text : {"redis://hunter2@cache",
                                   "redis://:hunter2",
                                   "redis://me:hunter2",
                                   "redis://me:hunter2@",
                                   "redis://me:hunter2@cache:x",
                                   "redis://me:hunter2@cache/x",
                                   "redis://me:hunter2@cache?x",
                                   "redis://me:hunter2%@cache",
                                   "rediss://me:hunter2@cache",
                                   "hunter2://cache",
                                   "me:hunter2@cache",
                                   "me:hunter2",
                                   "unix://me:hunter2",
                                   "unix://me:hunter2@run/x",
                                   "unix://hunter2@/run/x",
                                   "unix://me:hunter2@/run/x?hunter2",
                                   "redis://me:hunter2@a:b:c",
                                   "redis://me:hun/ter2@[x",
                                   "redis+sentinel://:hunter2@a",
                                   "redis://hunter2 x",
                                   "[hunter2",
                                   "[::1]hunter2"}) {
        CHECK_THAT(words_of_bad(text), !contains("hunter2") && !contains("ter2"));
    }
    CHECK_THAT(redacted(good("redis://me:hunter2@cache")), !contains("hunter2") && !contains("me:"));
    CHECK_THAT(redacted(good("redis://me:hun/ter2@cache")), !contains("ter2"));
    CHECK_THAT(redacted(good("unix://me:hunter2@/run/x")), !contains("hunter2"));
}

}  // namespace redis_address_test
