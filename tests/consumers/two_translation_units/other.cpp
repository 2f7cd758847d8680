#include <rota/rota.hpp>
#if __has_include(<rota/sim.hpp>)
#include <rota/sim.hpp>
#endif

char const* other_version();
bool other_joins(rota::memory_store& store);

char const* other_version() { return rota::version_text; }

bool other_joins(rota::memory_store& store) {
    rota::basic_coordinator node{rota::options{.node_id = "node-2"}, rota::memory_transport{store}};
    return node.join().has_value();
}
