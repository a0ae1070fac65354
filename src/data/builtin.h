// Factories of the built-in sets; dataset_list.inc names them.
#pragma once

#include "octavo/data.h"

namespace octavo {

std::shared_ptr<const Dataset> open_cifar10(const DataRequest& request);
std::shared_ptr<const Dataset> open_cifar100(const DataRequest& request);
std::shared_ptr<const Dataset> open_mnist(const DataRequest& request);
std::shared_ptr<const Dataset> open_fashion_mnist(const DataRequest& request);
std::shared_ptr<const Dataset> open_shapes(const DataRequest& request);

/// The samples that request.fraction leaves; the set itself when that is all of them.
std::shared_ptr<const Dataset> take_fraction(std::shared_ptr<const Dataset> data, const DataRequest& request);

}  // namespace octavo
