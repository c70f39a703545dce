// The table of ball_reference.py, in double, as rows in the precision `REAL` meet it, and the least
// of what a multiplier leaves of an entry.
#pragma once
#include "multiplier.cuh"
#include "patch.cuh"

// Planes of the table, as in ball_reference.py.
enum Column { LOW, HIGH, SPLIT, BELOW, ABOVE = 7, BASE = 11, COLUMNS = 15 };

// One coefficient, the box of its δ and the lines on its side: left and right of the cut, whole.
// Where it is straight, with one slope below and above the whole, the others are not read.
struct Entry {
    double c, low, high, split, left, left_at, right, right_at, base, base_at;
    bool straight;
};

struct BallRow {
    const real* row;
    const double* table;  // at the row's sample
    i64 plane;            // from one column of the table to the next
    Patch patch;

    // Reads entry e. False where its coefficient is 0, as off the plane: only `c` is set then.
    __device__ bool read(i64 e, Entry& t) const {
        const i64 at = patch.at(e);
        t.c = at < 0 ? 0.0 : (double)row[e];
        if (t.c == 0.0) return false;
        const double* column = table + at;
        const double below = column[BASE * plane], below_at = column[(BASE + 1) * plane];
        const double above = column[(BASE + 2) * plane], above_at = column[(BASE + 3) * plane];
        t.base = t.c > 0.0 ? below : above;
        t.base_at = t.c > 0.0 ? below_at : above_at;
        t.straight = below == above;
        if (t.straight) return true;
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

    // Reads entry e. False where its line over the whole box is all there is to say: `c`, `base`
    // and `base_at` are set in any case, to c·(δ + 1) where c is 0 or not a number.
    __device__ bool open(i64 e, Entry& t) const {
        if (read(e, t) && !is_nan(t.c)) return !t.straight;
        t.base = t.base_at = 1.0;
        return false;
    }
};

__device__ inline BallRow ball_row(
    const real* rows, const i64* owner, const i64* origin, const double* table, i64 row,
    i64 channels, i64 high, i64 wide, i64 samples, i64 plane_high, i64 plane_wide) {
    const i64 plane = channels * plane_high * plane_wide;
    return BallRow{rows + row * channels * high * wide,
                   table + (owner[row] % samples) * COLUMNS * plane, plane,
                   patch_of(origin, row, high, wide, plane_high, plane_wide)};
}

// The least of a function of δ, where it is, and the line there.
struct Lowest {
    double value, at, line;
};

// The least of ½λδ² + c(slope·δ + at_zero) − gδ over δ in [start, end], computed plainly.
__device__ inline Lowest piece(
    double c, double g, double lam, double slope, double at_zero, double start, double end) {
    const double steep = c * slope - g;
    const double at = clamped(-steep / lam, start, end);
    return Lowest{0.5 * lam * at * at + steep * at + c * at_zero, at, slope * at + at_zero};
}

// Over the part of the box left of the cut, and right of it.
__device__ inline Lowest left_piece(const Entry& t, double g, double lam) {
    const double end = nan_max(nan_min(t.split, t.high), t.low);
    return piece(t.c, g, lam, t.left, t.left_at, t.low, end);
}
__device__ inline Lowest right_piece(const Entry& t, double g, double lam) {
    const double start = nan_min(nan_max(t.split, t.low), t.high);
    return piece(t.c, g, lam, t.right, t.right_at, start, t.high);
}

// At least the sum of the magnitudes that an entry's floor adds up.
__device__ inline double magnitude(const Entry& t, double g, double lam) {
    const double reach = nan_max(fabs(t.low), fabs(t.high));
    const double steep = fabs(t.c) * nan_max(fabs(t.left), fabs(t.right)) + fabs(g);
    const double offset = fabs(t.c) * nan_max(fabs(t.left_at), fabs(t.right_at));
    return 0.5 * lam * reach * reach + steep * reach + offset;
}
