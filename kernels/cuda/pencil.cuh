// The pencil of one entry: pencil_reference.py, function by function.
#pragma once
#include "relax.cuh"

#define PLANES 12

// Writes the twelve numbers of the pencil over [low, high]; the mix of `lines_one`.
__device__ inline double pencil_one(const Shape& f, double low, double high, double point,
                                    double* out) {
    const Lines both = lines_one(f, low, high, point);
    const double lines[4] = {both.below, both.low_at, both.above, both.high_at};
    for (int k = 0; k < PLANES; ++k) out[k] = lines[k / 6 * 2 + k % 2];
    if (!(low < high) || fabs(both.low_at) == INF) return 1.0;
    if (f.kind == RELU || (f.kind == LEAKY && fabs(f.a) <= BIG)) {
        if (low >= 0.0 || high <= 0.0) return 1.0;
        const double flat = f.kind == LEAKY ? f.a : 0.0;
        const int first = flat <= 1.0 ? 0 : 6;
        // rays through 0 with slopes in order of their ends: constants are 0 already
        out[first] = flat;
        out[first + 2] = 0.5 * (flat + 1.0);
        out[first + 4] = 1.0;
        return lines[first / 3] == flat ? 0.0 : 2.0;
    }
    if (high - low <= 1e-9 * (fabs(low) + fabs(high)) || fabs(both.high_at) == INF) return 1.0;
    const double at_low = value(f, low), at_high = value(f, high);
    const double bends = bends_of(f.pieces, low, high);
    for (int k = 0; k < 2; ++k) {
        const double target = k == 0 ? low : high, at = k == 0 ? at_low : at_high;
        const Box box{low, high, target, at_low, at_high, at, inner_slope(f, target), bends};
        for (int side = 0; side < 2; ++side) {
            const double w = 1.0 - 2.0 * side;
            const Line found = line_below(f, w, box);
            const double middle = w * (lines[2 * side + 1] + lines[2 * side] * target);
            if (!(found.at + found.slope * target > middle)) continue;
            out[6 * side + 4 * k] = w * found.slope;
            out[6 * side + 4 * k + 1] = w * found.at;
        }
    }
    return 1.0;
}
