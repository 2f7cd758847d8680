// Traits: the text that placement rules and node attributes have in operations and on the server.
#include "../catch.hpp"

#include <string>

#include <rota/attributes.hpp>

namespace attributes_test {

using rota::attributes_of;
using rota::node_attributes;
using rota::placement_rules;
using rota::reported_load_of;
using rota::rules_of;
using rota::to_traits;

TEST_CASE("no attributes have no text") {
    CHECK(to_traits(placement_rules{}).empty());
    CHECK(to_traits(node_attributes{.capacity = 7}).empty());  // the capacity stands beside it
    CHECK(rules_of("").empty());
    CHECK(attributes_of("") == node_attributes{});
    CHECK_FALSE(reported_load_of(""));
}

TEST_CASE("rules come back from their text as they were") {
    placement_rules const rules{
        .pin = "node-1", .group = "replicas of x", .required = {"eu", "ssd"}, .forbidden = {"spot"}};
    CHECK(to_traits(rules) == "p=node-1;g=replicas%20of%20x;r=eu,ssd;f=spot");
    CHECK(rules_of(to_traits(rules)) == rules);
}

TEST_CASE("any byte may stand in a name, none of them in the text that takes it apart") {
    std::string every;
    for (int c = 0; c < 256; ++c) every += static_cast<char>(c);
    placement_rules const rules{
        .pin = every, .group = "a|b;c,d=e%f", .required = {"|", ";", ","}, .forbidden = {"%41"}};
    auto const text = to_traits(rules);
    CHECK(text.find('|') == std::string::npos);
    CHECK(text.find('\0') == std::string::npos);
    auto const back = rules_of(text);
    CHECK(back.pin == every);
    CHECK(back.group == rules.group);
    CHECK(back.required == std::vector<std::string>{",", ";", "|"});
    CHECK(back.forbidden == rules.forbidden);
}

TEST_CASE("labels are a set: their order and repetition make no difference") {
    CHECK(to_traits(placement_rules{.required = {"b", "a", "b"}}) ==
          to_traits(placement_rules{.required = {"a", "b"}}));
    CHECK(to_traits(node_attributes{.labels = {"b", "a", "a"}}) == "l=a,b");
}

TEST_CASE("a node's zone, labels and reported load come back as they were") {
    node_attributes const node{.zone = "eu-1", .labels = {"gpu", "ssd"}};
    auto const text = to_traits(node, 12.5);
    CHECK(text == "z=eu-1;l=gpu,ssd;m=12.5");
    CHECK(attributes_of(text) == node);
    CHECK(reported_load_of(text) == 12.5);
    CHECK(reported_load_of(to_traits(node)) == std::nullopt);
    CHECK(reported_load_of(to_traits(node_attributes{}, 0.0)) == 0.0);
}

TEST_CASE("what is not understood is passed over") {
    CHECK(rules_of("x=1;p=a;;=;q").pin == "a");
    CHECK(rules_of("p=a%4").pin == "a%4");
    CHECK_FALSE(reported_load_of("m=nonsense"));
    CHECK_FALSE(reported_load_of("m=-3"));
    CHECK_FALSE(reported_load_of("m=nan"));
}

}  // namespace attributes_test
