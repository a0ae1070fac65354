# Finds every package octavo builds on. Versions are the oldest that are tested; licences are listed in README.md here.
find_package(Threads REQUIRED)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_package(yaml-cpp 0.7 REQUIRED)
find_package(spdlog 1.10 REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(JPEG REQUIRED)
find_package(PNG 1.6.32 REQUIRED)
find_path(STB_INCLUDE_DIR stb/stb_image.h REQUIRED)
if(OCTAVO_TOOLS)
  find_package(CLI11 2.1 REQUIRED)
endif()

# oneDNN's own package file asks for OpenCL, which octavo does not use: take header and library directly.
find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.hpp REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
add_library(octavo_dnnl INTERFACE IMPORTED)
target_include_directories(octavo_dnnl INTERFACE ${DNNL_INCLUDE_DIR})
target_link_libraries(octavo_dnnl INTERFACE ${DNNL_LIBRARY})

# What only has headers is wrapped, so that an installed static octavo does not ask for it again.
set(OCTAVO_PRIVATE_PACKAGES Threads::Threads yaml-cpp spdlog::spdlog ZLIB::ZLIB JPEG::JPEG PNG::PNG octavo_dnnl
                            $<BUILD_INTERFACE:Eigen3::Eigen> $<BUILD_INTERFACE:nlohmann_json::nlohmann_json>)
