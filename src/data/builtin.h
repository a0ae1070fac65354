// The built-in sets: factories, and what their publications say of them; dataset_list.inc names both.
#pragma once

#include <optional>

#include "octavo/data.h"

namespace octavo {

std::shared_ptr<const Dataset> open_cifar10(const DataRequest& request);
std::shared_ptr<const Dataset> open_cifar100(const DataRequest& request);
std::shared_ptr<const Dataset> open_mnist(const DataRequest& request);
std::shared_ptr<const Dataset> open_fashion_mnist(const DataRequest& request);
std::shared_ptr<const Dataset> open_shapes(const DataRequest& request);
std::shared_ptr<const Dataset> open_image_folder(const DataRequest& request);

DatasetInfo cifar10_info(const DataRequest& request);
DatasetInfo cifar100_info(const DataRequest& request);
DatasetInfo mnist_info(const DataRequest& request);
DatasetInfo fashion_mnist_info(const DataRequest& request);
DatasetInfo shapes_info(const DataRequest& request);
/// Empty unless the option `classes` says how many there are.
std::optional<DatasetInfo> image_folder_info(const DataRequest& request);

/// Fields, classes and number of samples of a built-in set as published, without reading files; empty for
/// others.
std::optional<DatasetInfo> published_info(const DataRequest& request);

/// The samples that request.fraction leaves; the set itself when that is all of them.
std::shared_ptr<const Dataset> take_fraction(std::shared_ptr<const Dataset> data, const DataRequest& request);

}  // namespace octavo
