// rota's scripts on a real Redis, asked through hiredis_async on an event loop, one operation at a time: the transport
// under the conformance and differential tests. Their clock is script_clock_transport's, by whose connection all else is
// done.
#pragma once

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include <rota/transport/hiredis_async.hpp>

#include "loop_drivers.hpp"
#include "script_clock_transport.hpp"

namespace rota::detail {

struct hiredis_async_access {
    static redis_handshake& handshake(hiredis_async& of) { return of.self_->pipeline->handshake(); }
};

}  // namespace rota::detail

namespace rota::test {

class async_store : public script_clock_transport {
public:
    async_store(redis_server& server, std::unique_ptr<loop_driver> driver)
        : script_clock_transport{server},
          driver_{std::move(driver)},
          transport_{server.unix_url(), driver_->loop()} {
        transport_settings settings;
        settings.key_prefix = "test:";
        settings.operation_timeout = std::chrono::seconds{5};
        if (!transport_.open(settings)) throw std::runtime_error("hiredis_async does not open");
        handshake().set_time_source("tonumber(redis.call('GET', '" + key("test-clock") + "'))");
        if (auto const first = ask(op::lookup{{"x"}}); !first) throw std::runtime_error(first.error().message());
    }

    result<reply> perform(operation const& request, rota::detail::connection_stamp from) {
        handshake().pretend(from.session, from.number);
        return ask(request);
    }

    result<reply> ask(operation const& request) {
        std::optional<result<reply>> answer;
        transport_.submit(request, std::chrono::seconds{5}, [&](result<reply> got) {
            if (answer) throw std::logic_error("a handler was called twice");
            answer = std::move(got);
        });
        if (answer) throw std::logic_error("a handler was called inside submit()");
        if (!driver_->run_until([&] { return answer.has_value(); }, std::chrono::seconds{10})) {
            throw std::runtime_error("a handler was not called");
        }
        return *std::move(answer);
    }

private:
    [[nodiscard]] rota::detail::redis_handshake& handshake() {
        return rota::detail::hiredis_async_access::handshake(transport_);
    }

    std::unique_ptr<loop_driver> driver_;
    hiredis_async transport_;
};

}  // namespace rota::test
