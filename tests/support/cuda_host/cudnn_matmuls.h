// A matrix product of bytes with the products behind it, as cudnn_graph.h takes it, which includes this: what
// the library's runtime fusion accepts of what kernels/cuda asks, and its loops.
#pragma once

/// C [b][m][n] = A [b][m][k] B [1][k][n] in s32, then floats x * y of tensors with equal sizes or 1. What one
/// operation hands to the next is virtual; everything else is in memory.
struct CudnnHostMatmul {
  struct Operation {
    CudnnHostTensor x, b, y;
    bool plain;  // both floats: a product in FP32
  };
  CudnnHostTensor a, b, c;
  bool integers;  // computes in s32
  std::vector<Operation> products;

  static bool is(const CudnnHostDescriptor& graph) {
    return graph.descriptor(CUDNN_ATTR_OPERATIONGRAPH_OPS).type == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR;
  }
  explicit CudnnHostMatmul(const CudnnHostDescriptor& graph)
      : a(of(graph, CUDNN_ATTR_OPERATION_MATMUL_ADESC)),
        b(of(graph, CUDNN_ATTR_OPERATION_MATMUL_BDESC)),
        c(of(graph, CUDNN_ATTR_OPERATION_MATMUL_CDESC)),
        integers(graph.descriptor(CUDNN_ATTR_OPERATIONGRAPH_OPS)
                     .descriptor(CUDNN_ATTR_OPERATION_MATMUL_DESC)
                     .get<cudnnDataType_t>(CUDNN_ATTR_MATMUL_COMP_TYPE) == CUDNN_DATA_INT32) {
    for (std::size_t i = 1; i < graph.count(CUDNN_ATTR_OPERATIONGRAPH_OPS, 8); ++i) {
      const auto& of = *graph.get<const CudnnHostDescriptor*>(CUDNN_ATTR_OPERATIONGRAPH_OPS, i);
      if (of.type != CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR) {
        integers = false;
        return;
      }
      const CudnnHostDescriptor& how = of.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
      products.push_back({CudnnHostTensor(of.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_XDESC)),
                          CudnnHostTensor(of.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_BDESC)),
                          CudnnHostTensor(of.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_YDESC)),
                          how.get<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE) == CUDNN_POINTWISE_MUL &&
                              how.get<cudnnDataType_t>(CUDNN_ATTR_POINTWISE_MATH_PREC) == CUDNN_DATA_FLOAT});
    }
  }

  bool scaled() const { return !products.empty(); }

  cudnnStatus_t check() const {
    const bool sizes = a.sizes[0] == c.sizes[0] && b.sizes[0] == 1 && a.sizes[1] == c.sizes[1] &&
                       a.sizes[2] == b.sizes[1] && b.sizes[2] == c.sizes[2];
    if (!sizes || c.type != CUDNN_DATA_INT32 || c.is_virtual != scaled()) return CUDNN_STATUS_BAD_PARAM;
    // Bytes lie along the contraction ("TN"), in whole lines of four.
    if (!integers || a.type != CUDNN_DATA_INT8 || b.type != CUDNN_DATA_INT8 || a.strides[2] != 1 ||
        b.strides[1] != 1 || a.strides[1] % 4 != 0 || b.strides[2] % 4 != 0)
      return CUDNN_STATUS_NOT_SUPPORTED;
    std::set<std::int64_t> made{c.id};
    for (std::size_t i = 0; i < products.size(); ++i) {
      const Operation& each = products[i];
      const bool last = i + 1 == products.size();
      for (const CudnnHostTensor* from : {&each.x, &each.b}) {
        if (from->is_virtual != (made.count(from->id) > 0)) return CUDNN_STATUS_BAD_PARAM;
        for (std::size_t axis = 0; axis < 3; ++axis)
          if (from->sizes[axis] != c.sizes[axis] && from->sizes[axis] != 1) return CUDNN_STATUS_BAD_PARAM;
      }
      if (!each.plain || each.y.is_virtual == last || each.y.sizes != c.sizes ||
          !made.insert(each.y.id).second)
        return CUDNN_STATUS_BAD_PARAM;
    }
    return CUDNN_STATUS_SUCCESS;
  }

  std::vector<CudnnHostTensor> in_memory() const {
    std::vector<CudnnHostTensor> all{a, b, c};
    for (const Operation& each : products) all.insert(all.end(), {each.x, each.b, each.y});
    std::erase_if(all, [](const CudnnHostTensor& tensor) { return tensor.is_virtual; });
    return all;
  }

  void run(const std::map<std::int64_t, void*>& data) const {
    for (std::int64_t i = 0; i < c.sizes[0]; ++i)
      for (std::int64_t m = 0; m < c.sizes[1]; ++m)
        for (std::int64_t n = 0; n < c.sizes[2]; ++n) {
          std::int32_t sum = 0;
          const auto* left = static_cast<const std::int8_t*>(data.at(a.id)) + a.at(i, m, 0, 0);
          const auto* right = static_cast<const std::int8_t*>(data.at(b.id)) + b.at(0, 0, n, 0);
          for (std::int64_t k = 0; k < a.sizes[2]; ++k) sum += left[k] * right[k];
          if (!scaled()) static_cast<std::int32_t*>(data.at(c.id))[c.at(i, m, n, 0)] = sum;
          std::map<std::int64_t, float> values{{c.id, static_cast<float>(sum)}};
          for (const Operation& each : products)
            store(each.y,
                  values[each.y.id] =
                      value(each.x, values, data, i, m, n) * value(each.b, values, data, i, m, n),
                  data, i, m, n);
        }
  }

 private:
  static CudnnHostTensor of(const CudnnHostDescriptor& graph, int name) {
    return CudnnHostTensor(graph.descriptor(CUDNN_ATTR_OPERATIONGRAPH_OPS).descriptor(name));
  }
  static float value(const CudnnHostTensor& of, const std::map<std::int64_t, float>& values,
                     const std::map<std::int64_t, void*>& data, std::int64_t i, std::int64_t m,
                     std::int64_t n) {
    if (of.is_virtual) return values.at(of.id);
    return static_cast<const float*>(
        data.at(of.id))[of.at(i % of.sizes[0], m % of.sizes[1], n % of.sizes[2], 0)];
  }
  static void store(const CudnnHostTensor& to, float value, const std::map<std::int64_t, void*>& data,
                    std::int64_t i, std::int64_t m, std::int64_t n) {
    if (to.is_virtual) return;
    const std::int64_t at = to.at(i, m, n, 0);
    if (to.type == CUDNN_DATA_BFLOAT16)
      static_cast<octavo::kernels::Bf16*>(data.at(to.id))[at] = octavo::kernels::to_bf16(value);
    else
      static_cast<float*>(data.at(to.id))[at] = value;
  }
};
