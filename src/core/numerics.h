// The version of the numbers that training gives, kept with every run and every published result.
#pragma once

namespace octavo {

/// Raise it with any change after which the same configuration, model file, data, seed and instruction set
/// end with other weights: kernel results, order of a float sum, random streams, defaults. What changes for
/// one policy alone raises its PolicyDef::revision, for `precision.edges: bf16` alone bf16_edges_revision.
inline constexpr int numerics_version = 2;
/// 2: outputs of the model that nothing reads are as narrow as other values.
inline constexpr int bf16_edges_revision = 2;

}  // namespace octavo
