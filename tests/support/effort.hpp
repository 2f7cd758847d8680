// How much of a long test there is time for: all of it, but under a sanitizer, where code takes fifty times as long.
#pragma once

namespace rota_test {

#if defined(__has_feature)
#define ROTA_TEST_HAS_FEATURE(what) __has_feature(what)
#else
#define ROTA_TEST_HAS_FEATURE(what) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || ROTA_TEST_HAS_FEATURE(address_sanitizer) || \
    ROTA_TEST_HAS_FEATURE(thread_sanitizer)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

#if defined(__OPTIMIZE__)
inline constexpr bool optimised = true;
#else
inline constexpr bool optimised = false;
#endif

/// `all`, or a part of it.
template <typename Number>
[[nodiscard]] constexpr Number rounds(Number all) {
    return sanitized ? all / 20 : all;
}

}  // namespace rota_test
