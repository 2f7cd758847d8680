// The version of rota: the one place that states it. CMake, the CMake package and rota.pc read the macros below.
#pragma once

#if !defined(__cplusplus) || __cplusplus < 202002L
#error "rota needs C++20: compile with -std=c++20"
#endif

#define ROTA_VERSION_MAJOR 0
#define ROTA_VERSION_MINOR 1
#define ROTA_VERSION_PATCH 0

#define ROTA_DETAIL_TEXT_OF(value) #value
#define ROTA_DETAIL_DOTTED(a, b, c) ROTA_DETAIL_TEXT_OF(a) "." ROTA_DETAIL_TEXT_OF(b) "." ROTA_DETAIL_TEXT_OF(c)

namespace rota {

inline constexpr int version_major = ROTA_VERSION_MAJOR;
inline constexpr int version_minor = ROTA_VERSION_MINOR;
inline constexpr int version_patch = ROTA_VERSION_PATCH;

/// "major.minor.patch".
inline constexpr char version_text[] = ROTA_DETAIL_DOTTED(ROTA_VERSION_MAJOR, ROTA_VERSION_MINOR, ROTA_VERSION_PATCH);

}  // namespace rota

#undef ROTA_DETAIL_DOTTED
#undef ROTA_DETAIL_TEXT_OF
