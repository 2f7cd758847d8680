// Nothing but this file and rota.hpp beside it.
#include "rota.hpp"

int main() {
    rota::basic_coordinator node{rota::options{.node_id = "node-1"}, rota::memory_transport{}};
    if (!node.join()) return 1;
    (void)node.leave();

    rota::coordinator other{rota::options{.node_id = "node-2"}, rota::hiredis_sync{"redis://127.0.0.1:1"}};
    return other.join() ? 2 : 0;
}
