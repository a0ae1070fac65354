# The executor on an NVIDIA GPU, for the library and for the tests that run it on the host.
set(OCTAVO_DEVICE_SOURCES batch_feed.cpp batch_norm.cpp captured_steps.cpp chain.cpp concat_op.cpp cuda_steps.cpp loss_ops.cpp memory.cpp ops.cpp
    parameters.cpp plan_memory.cpp plan_products.cpp pool_ops.cpp product_ops.cpp products.cpp quantize.cpp range_batch_norm.cpp statistics.cpp step_settings.cpp weight_lists.cpp)
list(TRANSFORM OCTAVO_DEVICE_SOURCES PREPEND ${PROJECT_SOURCE_DIR}/src/device/)
