// Links what talks to Redis. Nothing listens on port 1, so joining must fail, and soon.
#include <rota/rota.hpp>

int main() {
    rota::coordinator node{rota::options{.node_id = "node-1"}, rota::hiredis_sync{"redis://127.0.0.1:1"}};
    auto joined = node.join();
    return !joined && joined.error() == rota::errc::unavailable ? 0 : 1;
}
