# OCTAVO_CUDA: finds nvcc and the runtime. Architectures are CMake's CMAKE_CUDA_ARCHITECTURES, machine code for
# sm_80 and sm_90a unless given; tools/cuda_matrix compiles for all that are supported.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES "80-real;90a-real")
endif()
if(NOT DEFINED CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(OCTAVO_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin)
  if(NOT OCTAVO_NVCC)
    message(FATAL_ERROR "OCTAVO_CUDA: no nvcc on PATH, in CUDA_HOME or in /usr/local/cuda. Install the CUDA toolkit 13, "
                        "or name its compiler: -DCMAKE_CUDA_COMPILER=/path/to/nvcc")
  endif()
  set(CMAKE_CUDA_COMPILER ${OCTAVO_NVCC})
endif()
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25.1 does not know that nvcc has C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
find_package(CUDAToolkit REQUIRED)
