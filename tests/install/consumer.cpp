// What an embedder's first program needs: public headers, and a library that links.
#include <cstdio>

#include "octavo/tensor.h"

int main() {
  const octavo::Tensor tensor = octavo::Tensor::zeros({2, 3});
  std::printf("%s\n", tensor.shape().str().c_str());
  return tensor.as<float>().size() == 6 ? 0 : 1;
}
