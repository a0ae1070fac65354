#include "chain_plan.h"
namespace octavo::kernels { void run_chunk_avx512vnni(const ChainPlan& plan, std::int64_t chunk) { run_chunk_ref(plan, chunk); } }
