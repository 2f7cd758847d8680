// What a command of rota's is made of, read back from the bytes that would go to the server.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include <rota/detail/redis/encode.hpp>

namespace rota::test {

[[nodiscard]] inline std::vector<std::string> texts_of(rota::detail::redis_words const& words) {
    std::vector<std::string> texts;
    std::string const bytes{words.bytes.view()};
    for (std::size_t at = 0; at < bytes.size();) {
        auto const end = bytes.find("\r\n", at);
        if (bytes[at] != '$' || end == std::string::npos) throw std::logic_error("no bulk string");
        auto const size = std::stoul(bytes.substr(at + 1, end - at - 1));
        if (bytes.compare(end + 2 + size, 2, "\r\n") != 0) throw std::logic_error("a bulk string of another length");
        texts.push_back(bytes.substr(end + 2, size));
        at = end + 2 + size + 2;
    }
    if (texts.size() != words.count) throw std::logic_error("another number of words");
    return texts;
}

}  // namespace rota::test
