// The kernel of clip_reference.py, one block a row, in the precision `REAL` of the rows; the
// searches are those of clip_cpu.py. Everything but the coefficients is double.
#include "common.cuh"
#include "patch.cuh"

#define PASSES 32
#define CLOSE 1e-10

// One row: absolute values, and the rooms on the side that lowers it. Off the plane both are 0.
struct Clipped {
    const real* row;
    const double *below, *above;
    Patch patch;
    i64 count;

    __device__ double size(i64 e) const { return patch.at(e) < 0 ? 0.0 : fabs((double)row[e]); }
    __device__ double room(i64 e) const {
        const i64 at = patch.at(e);
        return at < 0 ? 0.0 : (row[e] > 0 ? below[at] : above[at]);
    }
};

__device__ inline double row_top(const Clipped& row) {
    double top = 0.0;
    for (i64 e = threadIdx.x; e < row.count; e += blockDim.x) top = nan_max(top, row.size(e));
    return block_max(top);
}

__device__ inline double tension(const Clipped& row, double eps, double top) {
    if (!(eps > 0.0) || !(top > 0.0) || !is_finite(top)) return INF;
    double rate = 0.0;
    for (int pass = 0; pass < PASSES; ++pass) {
        double free = 0.0, full = 0.0;
        for (i64 e = threadIdx.x; e < row.count; e += blockDim.x) {
            const double part = row.size(e) / top, share = smaller(row.room(e) / eps, 2.0);
            const double square = part * part, room = share * share;
            if (rate * square >= room) full += room;
            else free += square;
        }
        free = block_sum(free);
        full = block_sum(full);
        if (free == 0.0) return 0.0;
        const double further = (1.0 - full) / free;
        if (!(further > rate * (1.0 + CLOSE))) break;
        rate = further;
    }
    return rate > 0.0 ? top / eps / sqrt(rate) : INF;
}

// Σ r and Σ c·r over the entries with c > level.
__device__ inline void above_level(const Clipped& row, double level, double& rooms, double& weight) {
    double mine = 0.0, heavy = 0.0;
    for (i64 e = threadIdx.x; e < row.count; e += blockDim.x) {
        const double size = row.size(e);
        if (size > level) {
            mine += row.room(e);
            heavy += size * row.room(e);
        }
    }
    rooms = block_sum(mine);
    weight = block_sum(heavy);
}

__device__ inline double threshold(const Clipped& row, double eps, double top) {
    if (!(top > 0.0) || !is_finite(top)) return top;
    double rooms, weight;
    above_level(row, 0.0, rooms, weight);
    if (rooms <= eps) return 0.0;
    double low = 0.0, low_value = weight, low_slope = eps - rooms;
    double high = top, high_value = eps * top, high_slope = eps;
    for (int pass = 0; pass < PASSES; ++pass) {
        double here =
            low + (high_value - low_value - high_slope * (high - low)) / (low_slope - high_slope);
        if (!(low < here && here < high)) {
            high = here <= low ? here : high;
            break;
        }
        double floor = low_value + low_slope * (here - low);
        if (pass % 4 == 3) {
            here = 0.5 * (low + high);
            floor = -INF;
        }
        above_level(row, here, rooms, weight);
        const double value = weight - here * rooms + eps * here, slope = eps - rooms;
        if (slope < 0.0) {
            low = here;
            low_value = value;
            low_slope = slope;
        } else {
            high = here;
            high_value = value;
            high_slope = slope;
        }
        if (slope == 0.0 || value <= floor * (1.0 + CLOSE)) {
            high = here;
            break;
        }
    }
    double level = 0.0;
    for (i64 e = threadIdx.x; e < row.count; e += blockDim.x) {
        const double size = row.size(e);
        if (level < size && size <= high * (1.0 + CLOSE)) level = size;
    }
    return block_max(level);
}

KERNEL(clipped_norm, (const real* rows, const i64* owner, const i64* origin, const double* below,
                      const double* above, const double* eps, double* loss, double* slope,
                      double* level, i64 channels, i64 high, i64 wide, i64 samples,
                      i64 plane_high, i64 plane_wide, double p)) {
    const i64 row = blockIdx.x, count = channels * high * wide;
    const i64 sample = (owner[row] % samples) * channels * plane_high * plane_wide;
    const Clipped mine{rows + row * count, below + sample, above + sample,
                       patch_of(origin, row, high, wide, plane_high, plane_wide), count};
    const double radius = eps[row];
    double t = radius;
    if (p != INF) {
        const double top = row_top(mine);
        t = p == 1.0 ? threshold(mine, radius, top) : tension(mine, radius, top);
    }
    const auto held = [&](i64 e) {
        const double c = mine.size(e), r = mine.room(e);
        if (p == INF) return r > 0.0 && !(r < t) ? c : 0.0;
        const double most = p == 1.0 ? t : (r > 0.0 ? t * r : 0.0);
        return most < c ? most : c;
    };
    double total = 0.0;
    for (i64 e = threadIdx.x; e < count; e += blockDim.x) {
        total += (mine.size(e) - held(e)) * mine.room(e);
    }
    total = block_sum(total);
    const double dual = p == 2.0 ? 2.0 : (p == 1.0 ? INF : 1.0);
    const double size = block_norm(held, count, dual);
    if (threadIdx.x == 0) {
        loss[row] = total;
        slope[row] = size;
        level[row] = t;
    }
}
