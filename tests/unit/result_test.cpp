// result<T>, results<T>, error and errc: values, errors, and what reading the wrong one does.
#include <rota/result.hpp>

#include <memory>
#include <set>
#include <stdexcept>
#include <string>

#include "../catch.hpp"

namespace result_test {

using rota::errc;
using rota::error;
using rota::result;
using rota::results;
using rota_test::contains;

TEST_CASE("a result holds a value") {
    result<int> r = 7;
    CHECK(r.has_value());
    CHECK(r);
    CHECK(*r == 7);
    CHECK(r.value() == 7);
    CHECK(r.value_or(3) == 7);
    *r = 8;
    CHECK(std::as_const(r).value() == 8);
    CHECK_THROWS_AS(r.error(), std::logic_error);
}

TEST_CASE("or an error") {
    result<int> const r{errc::not_owner, "s"};
    CHECK_FALSE(r);
    CHECK_FALSE(r.has_value());
    CHECK(r.error() == errc::not_owner);
    CHECK(r.error().detail == "s");
    CHECK(r.value_or(3) == 3);
    CHECK_THROWS_AS(r.value(), std::logic_error);
    CHECK_THROWS_WITH(*r, contains("not the owner: s"));
    CHECK_THROWS_AS(r.operator->(), std::logic_error);
}

TEST_CASE("both from what is at hand") {
    auto f = [](int n) -> result<std::string> {
        if (n == 0) return errc::unavailable;
        if (n == 1) return error{errc::protocol, "HTTP"};
        return std::string{"fine"};
    };
    CHECK(f(0).error() == errc::unavailable);
    CHECK(f(1).error().message() == "protocol error: HTTP");
    CHECK(f(2)->size() == 4);
}

TEST_CASE("what is read of a temporary outlives it") {
    auto f = [] { return result<std::string>{std::string(100, 'x')}; };
    static_assert(std::is_same_v<decltype(*f()), std::string>);
    static_assert(std::is_same_v<decltype(f().value()), std::string>);
    int count = 0;
    for (char c : *f()) count += c == 'x';
    CHECK(count == 100);
}

TEST_CASE("values move out, and may be move-only") {
    result<std::unique_ptr<int>> r = std::make_unique<int>(7);
    CHECK(**r == 7);
    std::unique_ptr<int> p = *std::move(r);
    CHECK(*p == 7);
    auto q = result<std::unique_ptr<int>>{std::make_unique<int>(9)}.value();
    CHECK(*q == 9);
}

TEST_CASE("a result of void") {
    result<void> const fine;
    CHECK(fine);
    CHECK_NOTHROW(fine.value());
    CHECK_THROWS_AS(fine.error(), std::logic_error);
    result<void> const bad{errc::timed_out};
    CHECK_FALSE(bad);
    CHECK(bad.error().message() == "timed out");
    CHECK_THROWS_AS(bad.value(), std::logic_error);
}

TEST_CASE("results: one each, and the first error of all") {
    results<int> r;
    CHECK(r.all());
    r.push_back(1);
    CHECK(r.all());
    r.push_back(errc::conflict);
    r.push_back(errc::unavailable);
    CHECK(r.all().error() == errc::conflict);
}

TEST_CASE("every kind of failure has words and a value of its own, and is a std::error_code") {
    std::set<std::string_view> words;
    int kinds = 0;
    for (int i = 1; i <= static_cast<int>(errc::protocol); ++i, ++kinds) {
        auto const code = static_cast<errc>(i);
        words.insert(to_string(code));
        std::error_code const standard = code;
        CHECK(standard);
        CHECK(standard.message() == to_string(code));
        CHECK(standard == make_error_code(code));
    }
    CHECK(words.size() == static_cast<std::size_t>(kinds));
    CHECK(words.count("unknown error") == 0);
    CHECK(to_string(static_cast<errc>(0)) == "unknown error");
    CHECK(to_string(static_cast<errc>(99)) == "unknown error");
    CHECK(std::string{rota::error_category().name()} == "rota");
    CHECK(&make_error_code(errc::fenced).category() == &rota::error_category());
}

TEST_CASE("errors compare by kind, or by kind and detail") {
    CHECK(error{errc::conflict, "a"} == errc::conflict);
    CHECK(error{errc::conflict, "a"} != errc::fenced);
    CHECK(error{errc::conflict, "a"} == error{errc::conflict, "a"});
    CHECK(error{errc::conflict, "a"} != error{errc::conflict, "b"});
    CHECK(error{errc::conflict}.message() == "conflict");
}

}  // namespace result_test
