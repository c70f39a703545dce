// The kernels of rows_reference.py, one block a row, in the precision `REAL` of the rows.
// Sums are taken in double whatever the precision.
#include "common.cuh"
#include "patch.cuh"

// The entries lane, lane + lanes, … of one row, all operands already at it or at its sample.
__device__ inline void pull_lines_row(
    int lane, int lanes, i64 count, const Patch& patch, const real* row, const real* below_slope,
    const real* below_const, const real* above_slope, const real* above_const, real* out,
    double& rest, double& mass) {
    for (i64 e = lane; e < count; e += lanes) {
        const i64 at = patch.at(e);
        const real c = at < 0 ? (real)0 : row[e];
        real v = 0;
        // a coefficient of 0 meets no infinity; a nan takes the second branch and stays one
        if (c != 0) {
            v = c * (c > 0 ? below_slope[at] : above_slope[at]);
            const real part = c * (c > 0 ? below_const[at] : above_const[at]);
            rest += (double)part;
        }
        out[e] = v;
        mass += fabs((double)v);
    }
}

KERNEL(pull_lines, (const real* rows, const i64* owner, const i64* origin,
                    const real* below_slope, const real* below_const, const real* above_slope,
                    const real* above_const, real* out, double* rest, double* mass,
                    i64 channels, i64 high, i64 wide, i64 samples, i64 plane_high,
                    i64 plane_wide)) {
    const i64 row = blockIdx.x, count = channels * high * wide;
    const i64 sample = (owner[row] % samples) * channels * plane_high * plane_wide;
    const Patch patch = patch_of(origin, row, high, wide, plane_high, plane_wide);
    double at_rest = 0.0, size = 0.0;
    pull_lines_row((int)threadIdx.x, (int)blockDim.x, count, patch, rows + row * count,
                   below_slope + sample, below_const + sample, above_slope + sample,
                   above_const + sample, out + row * count, at_rest, size);
    at_rest = block_sum(at_rest);
    size = block_sum(size);
    if (threadIdx.x == 0) {
        rest[row] = at_rest;
        mass[row] = size;
    }
}

__device__ inline double scale_row(
    int lane, int lanes, i64 count, const Patch& patch, const real* row, const real* weight,
    real* out) {
    double mass = 0.0;
    for (i64 e = lane; e < count; e += lanes) {
        const i64 at = patch.at(e);
        const real c = at < 0 ? (real)0 : row[e];
        const real v = c != 0 ? c * weight[at] : (real)0;
        out[e] = v;
        mass += fabs((double)v);
    }
    return mass;
}

KERNEL(scale, (const real* rows, const i64* owner, const i64* origin, const real* weight,
               real* out, double* mass, i64 channels, i64 high, i64 wide, i64 samples,
               i64 plane_high, i64 plane_wide)) {
    const i64 row = blockIdx.x, count = channels * high * wide;
    const i64 sample = (owner[row] % samples) * channels * plane_high * plane_wide;
    const Patch patch = patch_of(origin, row, high, wide, plane_high, plane_wide);
    const double size = block_sum(scale_row((int)threadIdx.x, (int)blockDim.x, count, patch,
                                            rows + row * count, weight + sample,
                                            out + row * count));
    if (threadIdx.x == 0) mass[row] = size;
}

KERNEL(weigh, (const real* rows, const i64* owner, const i64* origin, const real* weight,
               double* out, i64 channels, i64 high, i64 wide, i64 samples, i64 plane_high,
               i64 plane_wide)) {
    const i64 row = blockIdx.x, count = channels * high * wide;
    const i64 sample = (owner[row] % samples) * channels * plane_high * plane_wide;
    const Patch patch = patch_of(origin, row, high, wide, plane_high, plane_wide);
    double size = 0.0;
    for (i64 e = threadIdx.x; e < count; e += blockDim.x) {
        const i64 at = patch.at(e);
        const double c = at < 0 ? 0.0 : fabs((double)rows[row * count + e]);
        if (c != 0.0) size += c * (double)weight[sample + at];
    }
    size = block_sum(size);
    if (threadIdx.x == 0) out[row] = size;
}

KERNEL(dual_norm, (const real* rows, const i64* origin, double* out, i64 channels, i64 high,
                   i64 wide, i64 plane_high, i64 plane_wide, double q)) {
    const i64 row = blockIdx.x, count = channels * high * wide;
    const Patch patch = patch_of(origin, row, high, wide, plane_high, plane_wide);
    const real* mine = rows + row * count;
    const auto entry = [&](i64 e) { return patch.at(e) < 0 ? 0.0 : (double)mine[e]; };
    const double size = block_norm(entry, count, q);
    if (threadIdx.x == 0) out[row] = size;
}

struct Fold {
    int channels, tall, broad, high, wide, plane_high, plane_wide;
    int stride_y, stride_x, dilation_y, dilation_x, out_high, out_wide;
};

// Each entry of the result gathers its taps, in the order in which the reference scatters them:
// no atomics, and the same sum to the last bit.
__device__ inline void fold_row(
    i64 r, i64 lane, i64 lanes, const Fold& f, const real* columns, const i64* first,
    const i64* origin, real* out) {
    const i64 count = (i64)f.channels * f.out_high * f.out_wide;
    for (i64 e = lane; e < count; e += lanes) {
        const unsigned line = (unsigned)e / (unsigned)f.out_wide;
        const int x = (int)((unsigned)e % (unsigned)f.out_wide);
        const int y = (int)(line % (unsigned)f.out_high), k = (int)(line / (unsigned)f.out_high);
        const i64 row = origin[2 * r] + y, column = origin[2 * r + 1] + x;
        if (row < 0 || row >= f.plane_high || column < 0 || column >= f.plane_wide) continue;
        const int down = (int)(row - first[2 * r]), right = (int)(column - first[2 * r + 1]);
        real total = out[r * count + e];
        for (int i = 0; i < f.tall; ++i) {
            const int dy = down - i * f.dilation_y, at_y = dy / f.stride_y;
            if (dy < 0 || at_y * f.stride_y != dy || at_y >= f.high) continue;
            for (int j = 0; j < f.broad; ++j) {
                const int dx = right - j * f.dilation_x, at_x = dx / f.stride_x;
                if (dx < 0 || at_x * f.stride_x != dx || at_x >= f.wide) continue;
                const i64 tap = ((r * f.channels + k) * f.tall + i) * f.broad + j;
                total += columns[(tap * f.high + at_y) * f.wide + at_x];
            }
        }
        out[r * count + e] = total;
    }
}

// `chunks` blocks share a row.
KERNEL(fold, (const real* columns, const i64* first, const i64* origin, real* out, i64 chunks,
              i64 channels, i64 tall, i64 broad, i64 high, i64 wide, i64 plane_high,
              i64 plane_wide, i64 stride_y, i64 stride_x, i64 dilation_y, i64 dilation_x,
              i64 out_high, i64 out_wide)) {
    const Fold f{(int)channels, (int)tall, (int)broad, (int)high, (int)wide,
                 (int)plane_high, (int)plane_wide, (int)stride_y, (int)stride_x,
                 (int)dilation_y, (int)dilation_x, (int)out_high, (int)out_wide};
    const i64 lane = (blockIdx.x % chunks) * blockDim.x + threadIdx.x;
    fold_row(blockIdx.x / chunks, lane, chunks * blockDim.x, f, columns, first, origin, out);
}
