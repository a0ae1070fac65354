# The sources of the CUDA backend, for nvcc (CMakeLists.txt here) and for the tests that run them on the host.
set(OCTAVO_CUDA_SOURCES batch_norm.cu ceilings.cu chain.cu conv_f32.cu conv_f32_plan.cpp conv_plan.cpp conv_s8.cu depthwise_plan.cpp
    depthwise_s8.cu loss.cu pool.cu quantize.cu slots.cu update.cu)
list(TRANSFORM OCTAVO_CUDA_SOURCES PREPEND ${PROJECT_SOURCE_DIR}/kernels/cuda/)
