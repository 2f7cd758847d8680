// The reference store plays every scenario of conformance.hpp.
#include "conformance.hpp"

#include "../support/reference_store.hpp"

namespace memory_conformance_test {

using namespace rota::test;

TEST_CASE("the reference store answers as operations.hpp says") {
    reference_store store;
    play_all_scenarios([&]() -> reference_store& { return store; });
}

}  // namespace memory_conformance_test
