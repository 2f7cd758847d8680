// Replies out of bytes: what hiredis' own functions make of the same bytes, however they are cut; nothing is lost or
// leaked when they end in the middle, are garbage, or promise more than is believed.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <rota/detail/redis_parser.hpp>

#include "../catch.hpp"

namespace redis_parser_test {

using namespace rota;
using namespace rota::detail;

namespace {

/// All that can be seen of a reply, as text.
std::string shown(redisReply const* reply) {
    if (reply == nullptr) return "null";
    switch (reply->type) {
        case REDIS_REPLY_INTEGER: return ":" + std::to_string(reply->integer);
        case REDIS_REPLY_NIL: return "nil";
        case REDIS_REPLY_ARRAY: {
            std::string all = "[";
            for (std::size_t i = 0; i < reply->elements; ++i) all += shown(reply->element[i]) + " ";
            return all + "]";
        }
        default: return std::to_string(reply->type) + "'" + std::string{text_of(*reply)} + "'" + reply->str;
    }
}

/// What hiredis by itself makes of it.
std::vector<std::string> by_hiredis(std::string_view bytes) {
    std::unique_ptr<redisReader, decltype(&::redisReaderFree)> const reader{::redisReaderCreate(), &::redisReaderFree};
    std::vector<std::string> all;
    ::redisReaderFeed(reader.get(), bytes.data(), bytes.size());
    for (;;) {
        void* raw = nullptr;
        if (::redisReaderGetReply(reader.get(), &raw) != REDIS_OK) return all.push_back("error"), all;
        if (raw == nullptr) return all;
        all.push_back(shown(static_cast<redisReply*>(raw)));
        ::freeReplyObject(raw);
    }
}

/// And ours, given `piece` bytes at a time. The replies are kept until the end.
std::vector<std::string> by_parser(std::string_view bytes, std::size_t piece) {
    redis_parser parser;
    parser.start();
    std::vector<reply_ptr> kept;
    std::vector<std::string> all;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
        auto const part = bytes.substr(at, piece);
        parser.feed(part.data(), part.size());
        for (;;) {
            auto next = parser.next();
            if (!next) {
                CHECK(next.error() == errc::protocol);
                for (auto const& reply : kept) all.push_back(shown(reply.get()));
                all.push_back("error");
                return all;
            }
            if (!*next) break;
            kept.push_back(*std::move(next));
        }
    }
    parser.stop();  // what was taken out lives on
    for (auto const& reply : kept) all.push_back(shown(reply.get()));
    return all;
}

std::string bulk(std::string const& text) { return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n"; }

std::string random_reply(std::mt19937& random, int depth) {
    auto const pick = [&](std::uint32_t below) { return static_cast<std::size_t>(random() % below); };
    switch (pick(depth > 0 ? 8 : 6)) {
        case 0: return "+OK\r\n";
        case 1: return "-ERR no\r\n";
        case 2: return ":" + std::to_string(static_cast<std::int64_t>(random()) - 2'000'000'000) + "\r\n";
        case 3: return "$-1\r\n";
        case 4: return bulk(std::string(pick(40), 'a'));
        case 5: return bulk(std::string(pick(5000), '\0'));
        default: {
            auto const count = pick(4) == 0 ? pick(300) : pick(6);
            std::string all = "*" + std::to_string(count) + "\r\n";
            for (std::size_t i = 0; i < count; ++i) all += random_reply(random, depth - 1);
            return all;
        }
    }
}

}  // namespace

TEST_CASE("replies are what hiredis makes of the same bytes") {
    std::string const all = "+OK\r\n-ERR wrong\r\n:-12\r\n$-1\r\n*-1\r\n*0\r\n$0\r\n\r\n" + bulk("text") +
                            "*3\r\n:1\r\n*2\r\n$-1\r\n+x\r\n" + bulk("y");
    REQUIRE(by_hiredis(all).size() == 9);
    for (std::size_t piece = 1; piece <= all.size(); ++piece) CHECK(by_parser(all, piece) == by_hiredis(all));
}

TEST_CASE("replies of any shape and size, and their remains when the connection ends") {
    std::mt19937 random{12};
    for (int round = 0; round < 60; ++round) {
        std::string all;
        for (int i = 0; i < 5; ++i) all += random_reply(random, 3);
        all.resize(all.size() - random() % std::min<std::size_t>(all.size(), 200));
        auto const expected = by_hiredis(all);
        for (std::size_t const piece : {all.size() + 1, std::size_t{7}, std::size_t{1460}}) {
            INFO("round " << round << ", in pieces of " << piece);
            CHECK((by_parser(all, piece) == expected));
        }
    }
}

TEST_CASE("what is not Redis is refused, at any place of a reply") {
    for (std::string const start : {"", "*2\r\n", "*2\r\n:1\r\n", "*2\r\n*1\r\n"}) {
        for (std::string const rest : {"HTTP/1.1 200 OK\r\n", "$x\r\n", ":\r\n",
                                       "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"
                                       "*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"}) {
            INFO(start << rest);
            CHECK(by_parser(start + rest, 1000) == by_hiredis(start + rest));
            CHECK(by_parser(start + rest, 1) == by_hiredis(start + rest));
        }
    }
    // hiredis would set aside 16 GB.
    CHECK(by_parser("*2000000000\r\n", 100) == std::vector<std::string>{"error"});
    CHECK(by_parser("*2\r\n:1\r\n*2000000000\r\n", 100) == std::vector<std::string>{"error"});
    redis_parser parser;
    auto const why = [&](std::string_view bytes) {
        parser.start();
        parser.feed(bytes.data(), bytes.size());
        return parser.next().error().detail;
    };
    CHECK(why("*2000000000\r\n").find("more elements") != std::string::npos);
    CHECK(why("HTTP/1.1 200 OK\r\n").find("does not speak Redis") != std::string::npos);
}

}  // namespace redis_parser_test
