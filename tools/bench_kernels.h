// The speed of the integer kernels: `octavo bench kernels`, and the program of its own name.
#pragma once

namespace octavo {

/// Reads its options, measures and prints; returns 0 when the options were right.
int bench_kernels(int argc, char** argv);

}  // namespace octavo
