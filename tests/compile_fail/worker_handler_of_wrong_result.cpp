// expect: rota: a handler returns nothing, or rota::result<void>
#include <rota/transport/memory.hpp>
#include <rota/worker.hpp>

int main() {
    rota::worker w{{.node_id = "a"}, rota::memory_transport{}};
    return w.run_until_signal([](rota::job&) { return true; });  // of what would it be a sign?
}
