// With other.cpp: everything that is included in two translation units is defined once.
#include <rota/rota.hpp>
#if __has_include(<rota/sim.hpp>)
#include <rota/sim.hpp>
#endif

char const* other_version();
bool other_joins(rota::memory_store& store);

int main() {
    rota::memory_store store;
    rota::basic_coordinator node{rota::options{.node_id = "node-1"}, rota::memory_transport{store}};
    if (!node.join()) return 1;
    if (!other_joins(store)) return 2;
    return other_version() == rota::version_text ? 0 : 3;
}
