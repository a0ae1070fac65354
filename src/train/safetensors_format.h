// Names of element types in safetensors files, shared by reader and writer.
#pragma once

#include "octavo/tensor.h"

namespace octavo {

struct SafetensorsDType {
  const char* name;
  DType dtype;
};

inline constexpr SafetensorsDType safetensors_dtypes[] = {
    {"F32", DType::f32}, {"BF16", DType::bf16}, {"I8", DType::s8},
    {"U8", DType::u8},   {"I32", DType::s32},   {"I64", DType::i64},
};

}  // namespace octavo
