# Installs library, headers, models, configurations and the package that find_package(Octavo) reads.
include(CMakePackageConfigHelpers)
set(OCTAVO_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/Octavo)

install(TARGETS octavo EXPORT OctavoTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/octavo DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
foreach(folder models configs)
  if(EXISTS ${PROJECT_SOURCE_DIR}/${folder})
    install(DIRECTORY ${folder} DESTINATION ${CMAKE_INSTALL_DATADIR}/octavo FILES_MATCHING PATTERN "*.yaml")
  endif()
endforeach()

install(EXPORT OctavoTargets NAMESPACE Octavo:: DESTINATION ${OCTAVO_PACKAGE_DIR})
configure_package_config_file(tools/cmake/OctavoConfig.cmake.in ${PROJECT_BINARY_DIR}/OctavoConfig.cmake
                              INSTALL_DESTINATION ${OCTAVO_PACKAGE_DIR} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/OctavoConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/OctavoConfig.cmake ${PROJECT_BINARY_DIR}/OctavoConfigVersion.cmake
        DESTINATION ${OCTAVO_PACKAGE_DIR})
