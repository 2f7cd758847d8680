// A group of one node in this process; no Redis, and no hiredis linked.
#include <rota/rota.hpp>

int main() {
    rota::basic_coordinator node{rota::options{.node_id = "node-1"}, rota::memory_transport{}};
    if (!node.join()) return 1;
    if (!node.try_become_leader() || !node.is_leader()) return 2;
    (void)node.leave();
    return node.is_leader() ? 3 : 0;
}
