# Finds hiredis, and always gives the target hiredis::hiredis, for `#include <hiredis/hiredis.h>`.
#
# hiredis 1.x installs a CMake package with that target; 0.14 (Debian 12) installs one without any target, and some
# distributions none at all, so this falls back to looking for the header and the library.
#
# Sets hiredis_FOUND and hiredis_VERSION. HIREDIS_INCLUDE_DIR and HIREDIS_LIBRARY say where to look first.

if(TARGET hiredis::hiredis)
  # Brought by the project around us, or found before.
  set(hiredis_FOUND TRUE)
  return()
endif()

if(NOT HIREDIS_INCLUDE_DIR AND NOT HIREDIS_LIBRARY)
  find_package(hiredis CONFIG QUIET)
  if(TARGET hiredis::hiredis)
    if(NOT hiredis_FIND_QUIETLY)
      message(STATUS "Found hiredis: ${hiredis_CONFIG} (version \"${hiredis_VERSION}\")")
    endif()
    set(hiredis_FOUND TRUE)
    return()
  endif()
endif()

# pkg-config only hints at the folders: what it calls the include folder is .../include/hiredis in some versions and
# .../include in others.
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(PC_HIREDIS QUIET hiredis)
endif()

find_path(
  HIREDIS_INCLUDE_DIR
  NAMES hiredis/hiredis.h
  HINTS ${PC_HIREDIS_INCLUDEDIR} ${PC_HIREDIS_INCLUDE_DIRS}
)
find_library(
  HIREDIS_LIBRARY
  NAMES hiredis
  HINTS ${PC_HIREDIS_LIBDIR} ${PC_HIREDIS_LIBRARY_DIRS}
)
mark_as_advanced(HIREDIS_INCLUDE_DIR HIREDIS_LIBRARY)

set(hiredis_VERSION "")
if(HIREDIS_INCLUDE_DIR)
  file(
    STRINGS "${HIREDIS_INCLUDE_DIR}/hiredis/hiredis.h" _hiredis_lines
    REGEX "^#define HIREDIS_(MAJOR|MINOR|PATCH) +[0-9]+"
  )
  foreach(_hiredis_line IN LISTS _hiredis_lines)
    string(REGEX MATCH "[0-9]+$" _hiredis_number "${_hiredis_line}")
    list(APPEND _hiredis_numbers "${_hiredis_number}")
  endforeach()
  list(JOIN _hiredis_numbers "." hiredis_VERSION)
  unset(_hiredis_numbers)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  hiredis
  REQUIRED_VARS HIREDIS_LIBRARY HIREDIS_INCLUDE_DIR
  VERSION_VAR hiredis_VERSION
)

if(hiredis_FOUND)
  add_library(hiredis::hiredis UNKNOWN IMPORTED)
  set_target_properties(
    hiredis::hiredis
    PROPERTIES
      IMPORTED_LOCATION "${HIREDIS_LIBRARY}"
      INTERFACE_INCLUDE_DIRECTORIES "${HIREDIS_INCLUDE_DIR}"
  )
endif()
