// expect: rota: two triggers given
#include <chrono>

#include <rota/transport/memory.hpp>
#include <rota/worker.hpp>

int main() {
    rota::worker w{{.node_id = "a"}, rota::memory_transport{}, rota::every{std::chrono::seconds{1}}, rota::on_demand{}};
}
