// The kernels of pencil_reference.py on rows, one block a row, in the precision `REAL` of the rows.
// Lines are mixed in double, and so is what comes of them until it is stored.
#include "common.cuh"
#include "mix.cuh"
#include "patch.cuh"

#define PLANES 12

// Which line of its pencil (twelve planes apart by `plane`) a coefficient takes, and the share of
// the one after it.
struct Choice {
    const real* line;
    i64 plane;
    double share;

    // Number k of the line, 0 the slope and 1 the constant, and of the line after it.
    __device__ double first(int k) const { return (double)line[k * plane]; }
    __device__ double next(int k) const { return (double)line[(2 + k) * plane]; }
    // A line by itself must not meet its neighbour, whose constant may be infinite.
    __device__ double mixed(int k) const {
        return share > 0.0 ? (1.0 - share) * first(k) + share * next(k) : first(k);
    }
};

__device__ inline Choice choice(real c, real mix, const real* pencil, i64 plane) {
    const double place = bounded(mix);
    const int second = place >= 1.0 ? 1 : 0;
    return Choice{pencil + ((c < 0 ? 6 : 0) + 2 * second) * plane, plane, place - second};
}

KERNEL(pull_pencil, (const real* rows, const i64* owner, const i64* origin, const real* mix,
                     const real* table, real* out, double* rest, double* mass, i64 channels,
                     i64 high, i64 wide, i64 samples, i64 plane_high, i64 plane_wide)) {
    const i64 row = blockIdx.x, count = channels * high * wide;
    const i64 plane = channels * plane_high * plane_wide;
    const real* pencils = table + (owner[row] % samples) * PLANES * plane;
    const Patch patch = patch_of(origin, row, high, wide, plane_high, plane_wide);
    double total = 0.0, size = 0.0;
    for (i64 e = threadIdx.x; e < count; e += blockDim.x) {
        const i64 at = patch.at(e);
        const real c = at < 0 ? (real)0 : rows[row * count + e];
        real v = 0;
        // a coefficient of 0 meets no infinity
        if (c != 0) {
            const Choice lines = choice(c, mix[row * count + e], pencils + at, plane);
            v = (real)((double)c * lines.mixed(0));
            total += (double)c * lines.mixed(1);
        }
        out[row * count + e] = v;
        size += fabs((double)v);
    }
    total = block_sum(total);
    size = block_sum(size);
    if (threadIdx.x == 0) {
        rest[row] = total;
        mass[row] = size;
    }
}

KERNEL(pencil_gradient, (const real* rows, const i64* owner, const i64* origin, const real* mix,
                         const real* table, const real* out_grad, const double* rest_grad,
                         real* row_grad, real* mix_grad, i64 channels, i64 high, i64 wide,
                         i64 samples, i64 plane_high, i64 plane_wide)) {
    const i64 row = blockIdx.x, count = channels * high * wide;
    const i64 plane = channels * plane_high * plane_wide;
    const real* pencils = table + (owner[row] % samples) * PLANES * plane;
    const Patch patch = patch_of(origin, row, high, wide, plane_high, plane_wide);
    const double weight = rest_grad[row];
    for (i64 e = threadIdx.x; e < count; e += blockDim.x) {
        const i64 at = patch.at(e), here = row * count + e;
        const real c = at < 0 ? (real)0 : rows[here];
        double to_row = 0.0, to_mix = 0.0;
        if (c != 0) {
            const Choice lines = choice(c, mix[here], pencils + at, plane);
            const double steeper = lines.next(0) - lines.first(0);
            const double higher = lines.next(1) - lines.first(1);
            const double back = (double)out_grad[here];
            to_row = lines.mixed(0) * back + lines.mixed(1) * weight;
            to_mix = (double)c * (steeper * back + higher * weight);
        }
        row_grad[here] = (real)to_row;
        mix_grad[here] = (real)to_mix;
    }
}
