// The kernel of ball_reference.py, in double, one block a row. Entries are read anew whenever they
// are needed: a list of those that matter would need memory a row.
#include "common.cuh"
#include "multiplier.cuh"
#include "patch.cuh"

// Planes of the table, as in ball_reference.py.
enum Column { LOW, HIGH, SPLIT, BELOW, ABOVE = 7, BASE = 11, COLUMNS = 15 };

// One coefficient, the box of its δ and the lines on its side: left and right of the cut, whole.
struct Entry {
    double c, low, high, split, left, left_at, right, right_at, base, base_at;
};
// A floor and c times the slope it is for.
struct Best {
    double value, g;
};

// min over δ in [start, end] of ½λδ² + c(slope·δ + const) − gδ, computed plainly.
__device__ inline double piece(
    double c, double g, double lam, double slope, double at_zero, double start, double end) {
    const double steep = c * slope - g;
    const double at = clamped(-steep / lam, start, end);
    return 0.5 * lam * at * at + steep * at + c * at_zero;
}

// The least of both pieces; a piece of which the box holds nothing does not count.
__device__ inline double floor_over(const Entry& t, double g, double lam) {
    double bound = INF;
    if (t.low <= t.split) {
        const double end = nan_max(nan_min(t.split, t.high), t.low);
        bound = piece(t.c, g, lam, t.left, t.left_at, t.low, end);
    }
    if (t.high > t.split || bound == INF) {
        const double start = nan_min(nan_max(t.split, t.low), t.high);
        bound = nan_min(bound, piece(t.c, g, lam, t.right, t.right_at, start, t.high));
    }
    return bound;
}

// The largest floor over a few slopes.
__device__ inline Best best_of(const Entry& t, double lam) {
    const double local = t.split > 0.0 ? t.left : t.right;
    Best best{floor_over(t, t.c * t.base, lam), t.c * t.base};
    for (int k = 0; k < 2; ++k) {
        const double other = t.c * (k == 0 ? local : 0.5 * (local + t.base));
        const double found = floor_over(t, other, lam);
        if (found > best.value) best = Best{found, other};
    }
    return best;
}

struct BallRow {
    const double *row, *table;  // the table at the row's sample
    i64 plane;                  // from one column of the table to the next
    Patch patch;

    // Reads entry e. False where its line over the whole box is all there is to say: `c`, `base`
    // and `base_at` are set in any case, to c·(δ + 1) where c is 0 or not a number.
    __device__ bool open(i64 e, Entry& t) const {
        const i64 at = patch.at(e);
        t.c = at < 0 ? 0.0 : row[e];
        t.base = t.base_at = 1.0;
        if (t.c == 0.0 || is_nan(t.c)) return false;
        const double* column = table + at;
        const double below = column[BASE * plane], below_at = column[(BASE + 1) * plane];
        const double above = column[(BASE + 2) * plane], above_at = column[(BASE + 3) * plane];
        t.base = t.c > 0.0 ? below : above;
        t.base_at = t.c > 0.0 ? below_at : above_at;
        if (below == above && below_at == above_at) return false;
        const double* side = column + (t.c > 0.0 ? BELOW : ABOVE) * plane;
        t.low = column[LOW * plane];
        t.high = column[HIGH * plane];
        t.split = column[SPLIT * plane];
        t.left = side[0];
        t.left_at = side[plane];
        t.right = side[2 * plane];
        t.right_at = side[3 * plane];
        return true;
    }
};

// At least the sum of the magnitudes that an entry's floor adds up.
__device__ inline double magnitude(const Entry& t, double g, double lam) {
    const double reach = nan_max(fabs(t.low), fabs(t.high));
    const double steep = fabs(t.c) * nan_max(fabs(t.left), fabs(t.right)) + fabs(g);
    const double offset = fabs(t.c) * nan_max(fabs(t.left_at), fabs(t.right_at));
    return 0.5 * lam * reach * reach + steep * reach + offset;
}

KERNEL(pull_ball, (const double* rows, const i64* owner, const i64* origin, const double* table,
                   const double* square, double* out, double* rest, double* mass, i64 channels,
                   i64 high, i64 wide, i64 samples, i64 plane_high, i64 plane_wide)) {
    const i64 row = blockIdx.x, count = channels * high * wide;
    const i64 plane = channels * plane_high * plane_wide, sample = owner[row] % samples;
    const BallRow mine{rows + row * count, table + sample * COLUMNS * plane, plane,
                       patch_of(origin, row, high, wide, plane_high, plane_wide)};
    const i64 lane = threadIdx.x, lanes = blockDim.x;
    double* to = out + row * count;
    Entry t;
    double settled = 0.0, plain = 0.0, length = 0.0, number = 0.0;
    for (i64 e = lane; e < count; e += lanes) {
        const bool open = mine.open(e, t);
        to[e] = t.c * t.base;
        (open ? plain : settled) += t.c * t.base_at;
        if (!open) continue;
        length += t.c * t.c;
        number += 1.0;
    }
    settled = block_sum(settled);
    plain = block_sum(plain);
    length = block_sum(length);
    number = block_sum(number);

    const double budget = square[owner[row]];
    const auto value = [&](double lam) {
        double total = 0.0;
        for (i64 e = lane; e < count; e += lanes) {
            if (mine.open(e, t)) total += best_of(t, lam).value;
        }
        return block_sum(total) - 0.5 * lam * budget;
    };
    const double lam = multiplier(value, plain, length, budget);
    if (lam > 0.0) {
        double bound = 0.0, size = 0.0;
        for (i64 e = lane; e < count; e += lanes) {
            if (!mine.open(e, t)) continue;
            const Best found = best_of(t, lam);
            bound += found.value;
            size += magnitude(t, found.g, lam);
        }
        const double spent = 0.5 * lam * budget;
        size = block_sum(size);
        bound = block_sum(bound) - spent - (spent + size) * (number + 64.0) * EPS;
        if (bound > plain) {
            plain = bound;
            for (i64 e = lane; e < count; e += lanes) {
                if (mine.open(e, t)) to[e] = best_of(t, lam).g;
            }
        }
    }
    double total = 0.0;  // of entries that this thread wrote itself
    for (i64 e = lane; e < count; e += lanes) total += fabs(to[e]);
    total = block_sum(total);
    if (lane == 0) {
        rest[row] = settled + plain;
        mass[row] = total;
    }
}
