// expect: rota: no transport given
#include <rota/worker.hpp>

int main() { rota::worker w{{.node_id = "a"}, rota::worker_options{.threads = 2}}; }
