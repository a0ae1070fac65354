// One convolution of cudnn_graph.h, which includes this: its tensors by their strides, what fits, and its
// loops.
#pragma once

struct CudnnHostTensor {
  std::int64_t id = 0, alignment = 0;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  bool is_virtual = false;
  std::array<std::int64_t, 4> sizes{}, strides{};

  explicit CudnnHostTensor(const CudnnHostDescriptor& from)
      : id(from.get<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID)),
        alignment(from.get<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)),
        type(from.get<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE)) {
    sizes.fill(1);
    const std::size_t rank = from.count(CUDNN_ATTR_TENSOR_DIMENSIONS, 8);
    for (std::size_t i = 0; i < rank && i < 4; ++i) {
      sizes[i] = from.get<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS, i);
      strides[i] = from.get<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES, i);
    }
    is_virtual =
        from.values.count(CUDNN_ATTR_TENSOR_IS_VIRTUAL) > 0 && from.get<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL);
  }
  std::int64_t at(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) const {
    return a * strides[0] + b * strides[1] + c * strides[2] + d * strides[3];
  }
  std::int64_t elements() const { return sizes[0] * sizes[1] * sizes[2] * sizes[3]; }
};

struct CudnnHostConvolution {
  cudnnBackendDescriptorType_t operation;
  cudnnDataType_t compute;
  bool plain = false;  // alpha 1, beta 0, cross-correlation in two dimensions
  std::array<std::int64_t, 2> strides{}, dilations{}, pads{}, pads_behind{};
  std::vector<CudnnHostTensor> tensors;  // X, W, Y

  explicit CudnnHostConvolution(const CudnnHostDescriptor& of) : operation(of.type) {
    const bool forward = operation == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR;
    const bool data = operation == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR;
    const int first = forward ? CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA
                      : data  ? CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA
                              : CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA;
    const CudnnHostDescriptor& convolution = of.descriptor(first + 2);
    for (const int name : {forward ? CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X
                           : data  ? CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX
                                   : CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                           forward ? CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W
                           : data  ? CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W
                                   : CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                           forward ? CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y
                           : data  ? CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY
                                   : CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY})
      tensors.emplace_back(of.descriptor(name));
    compute = convolution.get<cudnnDataType_t>(CUDNN_ATTR_CONVOLUTION_COMP_TYPE);
    const auto number = [&](int name) {
      return of.get<float>(static_cast<cudnnBackendAttributeName_t>(name));
    };
    plain = number(first) == 1 && number(first + 1) == 0 &&
            convolution.get<cudnnConvolutionMode_t>(CUDNN_ATTR_CONVOLUTION_CONV_MODE) ==
                CUDNN_CROSS_CORRELATION &&
            convolution.get<std::int64_t>(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS) == 2;
    for (std::size_t i = 0; i < 2; ++i) {
      strides[i] = convolution.get<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, i);
      dilations[i] = convolution.get<std::int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS, i);
      pads[i] = convolution.get<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, i);
      pads_behind[i] = convolution.get<std::int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, i);
    }
  }

  const CudnnHostTensor& x() const { return tensors[0]; }
  const CudnnHostTensor& w() const { return tensors[1]; }
  const CudnnHostTensor& y() const { return tensors[2]; }
  bool integers() const { return compute == CUDNN_DATA_INT32; }
  std::size_t tensor_of(std::int64_t id) const {
    std::size_t at = 0;
    while (at < 3 && tensors[at].id != id) ++at;
    return at;
  }
  std::size_t written() const {
    return operation == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR         ? 2
           : operation == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR ? 0
                                                                                       : 1;
  }

  cudnnStatus_t check() const {
    if (!plain || tensor_of(tensors[0].id) != 0 || tensor_of(tensors[1].id) != 1)
      return CUDNN_STATUS_BAD_PARAM;
    for (std::size_t i = 0; i < 2; ++i) {
      const std::int64_t room =
          x().sizes[i + 2] + pads[i] + pads_behind[i] - ((w().sizes[i + 2] - 1) * dilations[i] + 1);
      if (room < 0 || y().sizes[i + 2] != room / strides[i] + 1) return CUDNN_STATUS_BAD_PARAM;
    }
    const bool fits = x().sizes[0] == y().sizes[0] && w().sizes[0] == y().sizes[1] &&
                      x().sizes[1] % w().sizes[1] == 0 && pads == pads_behind;
    if (!fits) return CUDNN_STATUS_BAD_PARAM;
    for (const CudnnHostTensor& tensor : tensors)
      if (tensor.strides[1] != 1) return CUDNN_STATUS_NOT_SUPPORTED;  // channels are innermost
    return integers() ? check_integers() : check_floats();
  }
  bool narrow() const { return x().type == CUDNN_DATA_BFLOAT16; }
  /// All three in one type: an H200's engines have no FP32 results of bfloat16.
  cudnnStatus_t check_floats() const {
    for (const CudnnHostTensor& tensor : tensors)
      if (tensor.type != (narrow() ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT) || compute != CUDNN_DATA_FLOAT)
        return CUDNN_STATUS_NOT_SUPPORTED;
    return CUDNN_STATUS_SUCCESS;
  }
  /// There is no data gradient and no weight gradient in INT8; channels and filters come in fours.
  cudnnStatus_t check_integers() const {
    const bool types =
        x().type == CUDNN_DATA_INT8 && w().type == CUDNN_DATA_INT8 && y().type == CUDNN_DATA_INT32;
    return types && written() == 2 && w().sizes[1] % 4 == 0 && y().sizes[1] % 4 == 0
               ? CUDNN_STATUS_SUCCESS
               : CUDNN_STATUS_NOT_SUPPORTED;
  }

  /// body(x, w, y): offsets of every product.
  template <class Body>
  void each(const Body& body) const {
    const std::int64_t inputs = w().sizes[1], filters = w().sizes[0] / (x().sizes[1] / inputs);
    for (std::int64_t n = 0; n < y().sizes[0]; ++n)
      for (std::int64_t k = 0; k < y().sizes[1]; ++k)
        for (std::int64_t i = 0; i < y().sizes[2]; ++i)
          for (std::int64_t j = 0; j < y().sizes[3]; ++j)
            for (std::int64_t r = 0; r < w().sizes[2]; ++r)
              for (std::int64_t s = 0; s < w().sizes[3]; ++s) {
                const std::int64_t h = i * strides[0] - pads[0] + r * dilations[0];
                const std::int64_t at = j * strides[1] - pads[1] + s * dilations[1];
                if (h < 0 || h >= x().sizes[2] || at < 0 || at >= x().sizes[3]) continue;
                for (std::int64_t c = 0; c < inputs; ++c)
                  body(x().at(n, k / filters * inputs + c, h, at), w().at(k, c, r, s), y().at(n, k, i, j));
              }
  }
  void run(const std::array<void*, 3>& data, bool tensor_cores) const {
    if (integers()) {
      auto* const sums = static_cast<std::int32_t*>(data[2]);
      std::fill_n(sums, y().elements(), 0);
      return each([&](std::int64_t a, std::int64_t b, std::int64_t c) {
        sums[c] += static_cast<const std::int8_t*>(data[0])[a] * static_cast<const std::int8_t*>(data[1])[b];
      });
    }
    const std::size_t to = written(), one = to == 0 ? 1 : 0, other = to == 2 ? 1 : 2;
    std::vector<double> exact(static_cast<std::size_t>(tensors[to].elements()));
    const auto operand = [&](std::size_t which, std::int64_t at) {
      if (narrow())
        return octavo::kernels::to_float(static_cast<const octavo::kernels::Bf16*>(data[which])[at]);
      const float value = static_cast<const float*>(data[which])[at];
      return tensor_cores ? cublaslt_host_operand(value, CUBLAS_COMPUTE_32F_FAST_TF32) : value;
    };
    each([&](std::int64_t a, std::int64_t b, std::int64_t c) {
      const std::array<std::int64_t, 3> at{a, b, c};
      exact[static_cast<std::size_t>(at[to])] +=
          static_cast<double>(operand(one, at[one])) * static_cast<double>(operand(other, at[other]));
    });
    if (!narrow()) {
      std::copy(exact.begin(), exact.end(), static_cast<float*>(data[to]));
      return;
    }
    for (std::size_t i = 0; i < exact.size(); ++i)
      static_cast<octavo::kernels::Bf16*>(data[to])[i] =
          octavo::kernels::to_bf16(static_cast<float>(exact[i]));
  }
};
