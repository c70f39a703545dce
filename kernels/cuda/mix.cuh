// Mixes, numbers in [0, 2] by which rows choose their lines.
#pragma once
#include "patch.cuh"

// The mix in [0, 2]; 0 where it is nan.
__device__ inline double bounded(real mix) { return mix > 0 ? smaller((double)mix, 2.0) : 0.0; }
