# For rota's own tests, examples and benchmarks; nothing here reaches a user's program.

set(CMAKE_CXX_EXTENSIONS OFF)

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
  endif()

  find_program(ROTA_CCACHE ccache)
  mark_as_advanced(ROTA_CCACHE)
  if(ROTA_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    # Precompiled headers defeat ccache unless it is told to look away from time stamps.
    set(
      CMAKE_CXX_COMPILER_LAUNCHER
      "${CMAKE_COMMAND}" -E env "CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime"
      "${ROTA_CCACHE}"
    )
  endif()
endif()

add_library(rota_own_code INTERFACE)
target_compile_options(
  rota_own_code
  INTERFACE
    $<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:-Wall;-Wextra;-Wpedantic;-Wconversion;-Wshadow>
    $<$<AND:$<BOOL:${ROTA_WARNINGS_AS_ERRORS}>,$<CXX_COMPILER_ID:GNU,Clang,AppleClang>>:-Werror>
)

# Whether one of the sources uses the Redis transports (comments that mention them do not count).
function(rota_needs_hiredis result)
  set(${result} FALSE PARENT_SCOPE)
  foreach(source IN LISTS ARGN)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${source}")
    file(STRINGS "${source}" lines REGEX "^ *#include.*hiredis|^[^/]*hiredis_(sync|async)" LIMIT_COUNT 1)
    if(lines)
      set(${result} TRUE PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

# A program of ours: links rota::hiredis if its sources need it and rota::rota if not, and is left out with a word when
# it needs hiredis and there is none.
function(rota_add_program name)
  rota_needs_hiredis(needs_hiredis ${ARGN})
  if(needs_hiredis AND NOT TARGET rota_hiredis)
    message(STATUS "rota: no hiredis, so no ${name}")
    return()
  endif()
  add_executable(${name} ${ARGN})
  if(needs_hiredis)
    target_link_libraries(${name} PRIVATE rota_hiredis rota_own_code)
  else()
    target_link_libraries(${name} PRIVATE rota rota_own_code)
  endif()
endfunction()
