# The sources of the CUDA backend, for nvcc (CMakeLists.txt here) and for the tests that run them on the host.
set(OCTAVO_CUDA_SOURCES batch_norm.cu bf16_sums.cu ceilings.cu chain.cu conv_chain.cu conv_chain_plan.cpp conv_cudnn.cpp conv_cudnn_matmul.cpp conv_f32.cu conv_f32_plan.cpp conv_lt.cpp conv_plan.cpp conv_s8.cu conv_tma.cu cudnn_conv.cpp
    cudnn_matmul.cpp cudnn_plan.cpp depthwise_plan.cpp depthwise_s8.cu fixed_point.cu images.cu library_f32.cpp loss.cu lt_matmul.cpp pool.cu prepared_kernel.cpp quantize.cu range_norm.cu result_sums.cu slots.cu squeeze.cu sums_plan.cpp
    tma_maps.cpp tma_plan.cpp update.cu
    weights.cu)
list(TRANSFORM OCTAVO_CUDA_SOURCES PREPEND ${PROJECT_SOURCE_DIR}/kernels/cuda/)
