#include "ops/pool.h"

#include "core/check.h"
#include "ops/common.h"

namespace octavo {

std::shared_ptr<Window> read_window(AttrReader& reader) {
  auto window = std::make_shared<Window>();
  window->kernel = reader.pair("kernel", {}, 1);
  window->stride = reader.has("stride") ? reader.pair("stride", {}, 1) : window->kernel;
  window->pad = reader.pair("pad", 0);
  for (std::size_t axis : {0u, 1u})
    if (2 * window->pad[axis] > window->kernel[axis]) reader.fail("pad", "must be at most half of `kernel`");
  return window;
}

std::vector<TensorType> infer_window(const Signature& signature) {
  const Window& window = signature.as<Window>();
  require_rank(signature, 0, 4, "images [N, H, W, C]");
  Shape shape = signature.inputs[0].shape;
  for (std::size_t axis : {0u, 1u}) {
    const int at = static_cast<int>(axis) + 1;
    const std::int64_t room = shape[at] + 2 * window.pad[axis] - window.kernel[axis];
    require(room >= 0, Errc::config, "a window of ", window.kernel[axis], " does not fit ", shape[at],
            " + 2 x ", window.pad[axis], " pixels of padding");
    shape[at] = room / window.stride[axis] + 1;
  }
  return {{DType::f32, shape}};
}

kernels::PoolAxisOf<std::int64_t> pool_axis(const Signature& signature, std::size_t axis) {
  const Window& window = signature.as<Window>();
  const int at = static_cast<int>(axis) + 1;
  return {signature.inputs[0].shape[at], signature.outputs[0].shape[at], window.kernel[axis],
          window.stride[axis], window.pad[axis]};
}

}  // namespace octavo
