// What a worker still has to register: pages, refusals, and a server that lost its data meanwhile.
#include <rota/detail/worker_registrations.hpp>

#include <chrono>
#include <string>
#include <vector>

#include "../catch.hpp"

namespace worker_registrations_test {

using namespace std::chrono_literals;
using rota::instant;
using registrations = rota::detail::worker_registrations<>;

namespace {

constexpr auto now = instant{} + 100s;

rota::results<void> all(std::size_t count, rota::result<void> const& each = {}) {
    rota::results<void> answers;
    for (std::size_t i = 0; i < count; ++i) answers.push_back(each);
    return answers;
}

// Registers what there is. How many that were.
std::size_t finish(registrations& r) {
    std::size_t count = 0;
    while (r.due() <= now) {
        auto const page = r.next_page();
        CHECK(r.done(page, all(page.size()), now, 1s).empty());
        count += page.size();
    }
    return count;
}

}  // namespace

TEST_CASE("registrations: each schedule once, and all again after the server has lost its data") {
    registrations r;
    CHECK(r.due() == instant::max());
    r.add({{.id = "a"}, {.id = "b"}, {.id = "a", .weight = 2}});
    CHECK(finish(r) == 2);
    r.add({{.id = "b"}, {.id = "c"}});
    CHECK(finish(r) == 1);
    r.repeat();
    CHECK(finish(r) == 3);
}

TEST_CASE("registrations: data that is lost while a page is under way may have been that page's") {
    registrations r;
    r.add({{.id = "a"}, {.id = "b"}});
    auto const page = r.next_page();
    r.repeat();
    CHECK(r.done(page, all(2), now, 1s).empty());
    CHECK(finish(r) == 2);
}

TEST_CASE("registrations: what is refused for good is reported, dropped, and may be given again as it should be") {
    registrations r;
    r.add({{.id = "a"}, {.id = "bad", .weight = 0}, {.id = "c"}});
    std::vector<std::string> refused;
    for (int turns = 0; r.due() <= now && turns < 10; ++turns) {
        auto const page = r.next_page();
        bool wrong = false;
        for (auto const& s : page) wrong = wrong || s.weight == 0;
        rota::result<void> const answer =
            wrong ? rota::error{rota::errc::invalid_argument, "weight"} : rota::result<void>{};
        for (auto const& each : r.done(page, all(page.size(), answer), now, 1s)) refused.push_back(each.schedule);
    }
    CHECK(refused == std::vector<std::string>{"bad"});
    r.add({{.id = "bad"}});
    CHECK(finish(r) == 1);
}

TEST_CASE("registrations: what fails otherwise is tried again after a pause") {
    registrations r;
    r.add({{.id = "a"}});
    auto const page = r.next_page();
    CHECK(r.done(page, all(1, rota::error{rota::errc::unavailable, ""}), now, 1s).empty());
    CHECK(r.due() == now + 1s);
    r.add({{.id = "b"}});
    CHECK(r.due() == now + 1s);
    CHECK(r.next_page().size() == 2);
}

}  // namespace worker_registrations_test
