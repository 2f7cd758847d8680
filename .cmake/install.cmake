# Installs the headers, the CMake package and the pkg-config file. Nothing of it depends on the machine: all goes below
# include/ and share/. rota::hiredis is made by rota-config.cmake, where hiredis is, and so is in no export set.

include(CMakePackageConfigHelpers)

set(rota_package_dir "${CMAKE_INSTALL_DATADIR}/cmake/rota")
set(rota_pkgconfig_dir "${CMAKE_INSTALL_DATADIR}/pkgconfig")

install(
  DIRECTORY "${PROJECT_SOURCE_DIR}/include/"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  FILES_MATCHING PATTERN "*.hpp"
)
if(ROTA_INSTALL_SINGLE_HEADERS)
  install(
    DIRECTORY "${PROJECT_SOURCE_DIR}/single_include/rota/"
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/rota/single"
    FILES_MATCHING PATTERN "*.hpp"
  )
endif()
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATADIR}/licenses/rota")

install(TARGETS rota EXPORT rota-targets)
install(EXPORT rota-targets NAMESPACE rota:: DESTINATION "${rota_package_dir}")

configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/rota-config.cmake.in" "${PROJECT_BINARY_DIR}/rota-config.cmake"
  INSTALL_DESTINATION "${rota_package_dir}"
)
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/rota-config-version.cmake" COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT
)
install(
  FILES
    "${PROJECT_BINARY_DIR}/rota-config.cmake"
    "${PROJECT_BINARY_DIR}/rota-config-version.cmake"
    "${CMAKE_CURRENT_LIST_DIR}/Findhiredis.cmake"
  DESTINATION "${rota_package_dir}"
)

# The prefix is found from where rota.pc lies, so that an installed tree can be moved.
file(RELATIVE_PATH ROTA_PC_PREFIX "/${rota_pkgconfig_dir}" "/")
string(REGEX REPLACE "/$" "" ROTA_PC_PREFIX "${ROTA_PC_PREFIX}")
configure_file("${CMAKE_CURRENT_LIST_DIR}/rota.pc.in" "${PROJECT_BINARY_DIR}/rota.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/rota.pc" DESTINATION "${rota_pkgconfig_dir}")
