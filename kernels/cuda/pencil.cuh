// The pencil of one entry: pencil_reference.py, function by function.
#pragma once
#include "relax.cuh"

#define PLANES 12

// A line below wσ, highest at an end of the box; the one given where none is found.
__device__ inline Line end_line(
    const Shape& f, double w, double target, double low, double high, Line line) {
    if (high - low <= 1e-9 * (fabs(low) + fabs(high)) || line.at == -INF) return line;
    return bridge(f, w, target, low, high, line);
}

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
    for (int side = 0; side < 2; ++side) {
        const double w = 1.0 - 2.0 * side;
        const Line middle{w * lines[2 * side], w * lines[2 * side + 1]};
        for (int k = 0; k < 2; ++k) {
            const Line found = end_line(f, w, k == 0 ? low : high, low, high, middle);
            out[6 * side + 4 * k] = w * found.slope;
            out[6 * side + 4 * k + 1] = w * found.at;
        }
    }
    return 1.0;
}
