// Redis plays every scenario of conformance.hpp; and what only Redis can get wrong.
#include "../unit/conformance.hpp"

#include "../support/script_clock_transport.hpp"

using namespace rota;
using namespace rota::test;

namespace {

// One server for all tests of this file.
script_clock_transport& fresh_redis() {
    static redis_server server;
    static script_clock_transport wire{server};
    wire.begin_anew();
    return wire;
}

}  // namespace

TEST_CASE("Redis answers as operations.hpp says") { play_all_scenarios(fresh_redis); }
