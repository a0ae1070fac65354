// octavo: deep learning training in 8-bit integers. This header includes the whole public API.
#pragma once

#include "octavo/config.h"
#include "octavo/data.h"
#include "octavo/error.h"
#include "octavo/op.h"
#include "octavo/precision.h"
#include "octavo/tensor.h"
#include "octavo/trainer.h"
