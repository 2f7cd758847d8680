// The text of the Redis scripts, as far as it can be judged without a Redis.
#include <set>
#include <string>
#include <string_view>

#include <rota/detail/redis_scripts.hpp>

#include "../catch.hpp"

namespace redis_scripts_test {

using namespace rota::detail;

namespace {

/// The commands that a script calls by name.
std::set<std::string> commands_of(std::string_view text) {
    std::set<std::string> found;
    for (std::string_view const opening : {"call('", "{'"}) {
        for (auto at = text.find(opening); at != std::string_view::npos; at = text.find(opening, at + 1)) {
            auto const begin = at + opening.size();
            auto const name = text.substr(begin, text.find('\'', begin) - begin);
            bool const is_command =
                !name.empty() && name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") == std::string_view::npos;
            if (is_command) found.emplace(name);
        }
    }
    return found;
}

}  // namespace

TEST_CASE("scripts are named by their SHA-1") {
    using rota::detail::sha1_hex;
    // The examples of FIPS 180-4's companion document, and RFC 3174.
    CHECK(sha1_hex("") == "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    CHECK(sha1_hex("abc") == "a9993e364706816aba3e25717850c26c9cd0d89d");
    CHECK(sha1_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    CHECK(sha1_hex(std::string(1'000'000, 'a')) == "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

TEST_CASE("each script has a name of its own and a text") {
    std::set<std::string_view> names;
    for (std::size_t i = 0; i < script_count; ++i) {
        auto const id = static_cast<script_id>(i);
        INFO(script_name(id));
        CHECK(names.insert(script_name(id)).second);
        CHECK(script_text(id).size() > 100);
    }
    CHECK(script_name(static_cast<script_id>(script_count)) == "unknown");
}

TEST_CASE("no word that stands for a number is left in a script") {
    for (std::size_t i = 0; i < script_count; ++i) {
        auto const text = script_text(static_cast<script_id>(i));
        for (auto const* prefix : {"errc_", "status_", "event_", "order_", "reason_", "limit_", "conflict_"}) {
            INFO(script_name(static_cast<script_id>(i)) << ", " << prefix);
            CHECK(text.find(prefix) == std::string::npos);
        }
    }
}

TEST_CASE("scripts read the clock in one place, which tests can replace") {
    for (std::size_t i = 0; i < script_count; ++i) {
        auto const id = static_cast<script_id>(i);
        if (id == script_id::probe) continue;
        INFO(script_name(id));
        auto const real = script_text(id);
        auto const first = real.find("'TIME'");
        CHECK(real.find("'TIME'", first == std::string::npos ? first : first + 1) == std::string::npos);
        auto const replaced = script_text(id, "4711");
        CHECK(replaced.find("'TIME'") == std::string::npos);
        CHECK((replaced.find("local now = 4711\n") == 0) == (first != std::string::npos));
    }
}

TEST_CASE("the probe tries every command that the scripts call") {
    auto const tried = commands_of(script_text(script_id::probe));
    for (std::size_t i = 0; i < script_count; ++i) {
        for (auto const& command : commands_of(script_text(static_cast<script_id>(i)))) {
            INFO(script_name(static_cast<script_id>(i)) << " calls " << command);
            CHECK(tried.contains(command));
        }
    }
    CHECK(tried.contains("XREAD"));
}

}  // namespace redis_scripts_test
