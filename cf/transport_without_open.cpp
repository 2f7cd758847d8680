// expect: rota: the transport policy lacks `rota::result<void> open(rota::transport_settings const&)`
#include <rota/coordinator.hpp>

struct mine {
    rota::result<rota::reply> perform(rota::operation const&, rota::microseconds) { return rota::errc::unavailable; }
    rota::wake_reason wait(rota::subscription const&, rota::microseconds) { return rota::wake_reason::timeout; }
    void wake() {}
};

int main() { rota::basic_coordinator node{rota::options{.node_id = "a"}, mine{}}; }
