// expect: rota: no hiredis
// alone
#define ROTA_NO_HIREDIS
#include <rota/rota.hpp>

int main() { rota::coordinator node{rota::options{.node_id = "a"}, rota::hiredis_sync{"redis://localhost:6379"}}; }
