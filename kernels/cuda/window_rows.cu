// The kernels of window_rows_reference.py, one block a row; sums of a row in double.
#include "patch.cuh"

// Windows may share an entry, but not at the same place in them: whatever goes to one place of its
// window can be added at once, without atomics, and in the order of the reference.
KERNEL(pull_windows, (const real* rows, const i64* owner, const i64* origin, const i64* taps,
                      const double* lines, const i64* table, real* out, double* rest, double* mass,
                      i64 channels, i64 high, i64 wide, i64 samples, i64 plane_high,
                      i64 plane_wide, i64 entries, i64 size)) {
    const i64 row = blockIdx.x, windows = high * wide, count = channels * windows;
    const i64 plane = channels * plane_high * plane_wide, sample = owner[row] % samples;
    const Patch patch = patch_of(origin, row, high, wide, plane_high, plane_wide);
    const real* mine = rows + row * count;
    const i64* tap = taps + sample * 3 * plane;
    const double* line = lines + sample * 3 * plane;  // below; slope and constant above
    real* to = out + row * channels * size;
    double total = 0.0, weight = 0.0;
    for (i64 k = 0; k < entries; ++k) {
        for (i64 e = threadIdx.x; e < count; e += blockDim.x) {
            const i64 at = patch.at(e);
            const double c = at < 0 ? 0.0 : (double)mine[e];
            // a coefficient of 0 meets no infinity; a nan goes where those below 0 go
            if (c == 0.0) continue;
            const bool below = c > 0.0;
            if (tap[below ? at : at + plane] != k) continue;
            const double moved = c * (below ? 1.0 : line[at + plane]);
            total += c * line[below ? at : at + 2 * plane];
            weight += fabs(moved);
            const unsigned channel = (unsigned)e / (unsigned)windows;
            const i64 place = channel * size + table[(unsigned)e % (unsigned)windows * entries + k];
            to[place] = (real)((double)to[place] + moved);
        }
        __syncthreads();
    }
    total = block_sum(total);
    weight = block_sum(weight);
    if (threadIdx.x == 0) {
        rest[row] = total;
        mass[row] = weight;
    }
}

KERNEL(pull_means, (const real* rows, const i64* owner, const i64* origin, const double* weights,
                    const double* constants, const i64* table, real* out, double* rest,
                    double* mass, i64 channels, i64 high, i64 wide, i64 samples, i64 plane_high,
                    i64 plane_wide, i64 entries, i64 size)) {
    const i64 row = blockIdx.x, windows = high * wide, count = channels * windows;
    const i64 plane = channels * plane_high * plane_wide, sample = owner[row] % samples;
    const Patch patch = patch_of(origin, row, high, wide, plane_high, plane_wide);
    const real* mine = rows + row * count;
    real* to = out + row * channels * size;
    double total = 0.0, weight = 0.0;
    for (i64 k = 0; k < entries; ++k) {
        for (i64 e = threadIdx.x; e < count; e += blockDim.x) {
            const i64 at = patch.at(e);
            const double c = at < 0 ? 0.0 : (double)mine[e];
            // a coefficient of 0 meets no infinity; a nan goes where those below 0 go
            if (c == 0.0) continue;
            const i64 side = 2 * sample + (c > 0.0 ? 0 : 1);
            const double moved = c * weights[(side * entries + k) * plane + at];
            if (k == 0) total += c * constants[side * plane + at];
            weight += fabs(moved);
            const i64 place = table[(unsigned)e % (unsigned)windows * entries + k];
            if (place < 0) continue;
            real* found = to + (unsigned)e / (unsigned)windows * size + place;
            *found = (real)((double)*found + moved);
        }
        __syncthreads();
    }
    total = block_sum(total);
    weight = block_sum(weight);
    if (threadIdx.x == 0) {
        rest[row] = total;
        mass[row] = weight;
    }
}
