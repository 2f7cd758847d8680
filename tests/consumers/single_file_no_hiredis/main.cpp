// Nothing but this file and rota.hpp beside it, and no hiredis.
#include "rota.hpp"

int main() {
    rota::basic_coordinator node{rota::options{.node_id = "node-1"}, rota::memory_transport{}};
    if (!node.join()) return 1;
    (void)node.leave();
    return 0;
}
