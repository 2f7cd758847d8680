// Writes each event as one line of text for people (describe.hpp): to stderr, another C stream, or a function of the
// user's, such as the logger of the program. Adds no time and no level: a logger knows better. A line that cannot be
// written is dropped: coordination does not end for the lack of a log.
#pragma once

#include <concepts>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "../detail/late.hpp"
#include "../events.hpp"
#include "describe.hpp"

namespace rota {

/// Copies share the stream, or the function.
class log_sink {
public:
    /// Writes lines to `to`, each "<prefix>: <words>", or the words alone. Each is one fwrite, so that lines of several
    /// threads do not mix; when it is flushed is up to the stream. `to` must outlive the sink; null: std::logic_error.
    explicit log_sink(std::FILE* to = stderr, std::string prefix = {})
        : file_{to},
          prefix_{as_prefix(std::move(prefix))} {
        if (to == nullptr) throw std::logic_error("rota::log_sink: no stream to write to");
    }

    /// Calls `write` with each line, without its end. As with any sink: one call at a time, and it must not throw.
    template <typename Write>
        requires std::invocable<std::decay_t<Write>&, std::string_view>
    explicit log_sink(Write&& write, std::string prefix = {})
        : writer_{std::make_shared<function_writer<std::decay_t<Write>>>(std::forward<Write>(write))},
          prefix_{as_prefix(std::move(prefix))} {}

    template <typename T = void>
    void operator()(detail::late<event, T> const& e) const {
        auto line = prefix_ + describe(e);
        if (writer_) {
            writer_->write(line);
        } else {
            line += '\n';
            static_cast<void>(std::fwrite(line.data(), 1, line.size(), file_));
        }
    }

private:
    struct writer {
        virtual void write(std::string_view line) = 0;

    protected:
        ~writer() = default;
    };

    template <typename Write>
    struct function_writer final : writer {
        explicit function_writer(Write function) : function_{std::move(function)} {}
        void write(std::string_view line) override { static_cast<void>(function_(line)); }
        Write function_;
    };

    static std::string as_prefix(std::string prefix) {
        return prefix.empty() ? prefix : detail::one_line(std::move(prefix)) + ": ";
    }

    std::FILE* file_ = nullptr;
    std::shared_ptr<writer> writer_{};
    std::string prefix_;
};

}  // namespace rota
