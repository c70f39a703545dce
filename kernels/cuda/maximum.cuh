// The windows of maximum_reference.py, in double, as rows in the precision `REAL` meet them, and
// their floors for a multiplier.
#pragma once
#include "multiplier.cuh"
#include "patch.cuh"

// Planes of the taps: which entry of its window a coefficient goes to.
enum Tap { LEAST, MOST, PEAK };

// A window maximum with a negative coefficient: |c|, c times the constant above, and the gap, low
// and high end of each entry of the window.
struct Window {
    double weight, plain;
    const double* box;
    i64 entries, peak;
};

// min(0, min_j …) of a window, and where it is: of the peak, of entry j, its gap.
struct Floor {
    double value, mine, other, gap;
};

__device__ inline Floor floor_of(const Window& w, double lam) {
    const Floor lost{-INF, 0.0, 0.0, 0.0};
    const double a = w.weight;
    Floor least{INF, 0.0, 0.0, 0.0};
    for (i64 j = 0; j < w.entries; ++j) {
        const double gap = w.box[3 * j], low = w.box[3 * j + 1], high = w.box[3 * j + 2];
        const double at = clamped(a / lam, low, high);
        const double term = a * gap + 0.5 * lam * at * at - a * at;
        // what is no number or has no end bounds nothing
        if (is_nan(term) || !is_finite(low) || !is_finite(high)) return lost;
        if (j != w.peak && term < least.value) least = Floor{term, 0.0, at, gap};
    }
    const double* top = w.box + 3 * w.peak;
    const double at = clamped(-a / lam, top[1], top[2]);
    const double value = 0.5 * lam * at * at + a * at + least.value;
    if (is_nan(value)) return lost;
    // a floor of 0 stays 0: nothing that it is made of matters
    return value < 0.0 ? Floor{value, at, least.other, least.gap} : Floor{0.0, 0.0, 0.0, 0.0};
}

// What rounding of the floor is in proportion to; entries that are padding have no part in it.
__device__ inline double cost_of(const Window& w, double lam) {
    double far = 0.0;
    for (i64 j = 0; j < w.entries; ++j) {
        const double* entry = w.box + 3 * j;
        if (is_finite(entry[0])) far = nan_max(far, nan_max(fabs(entry[1]), fabs(entry[2])));
    }
    return 2.0 * w.weight * far + lam * far * far;
}

// What windows add up to, of each the better of floor and line: this thread's, then the block's.
struct Dual {
    double bound = 0.0, size = 0.0, number = 0.0;

    // Adds a window. Does it take its floor?
    __device__ bool add(const Window& w, double lam, double floor) {
        const bool taken = floor > w.plain;
        bound += taken ? floor : w.plain;
        size += taken ? cost_of(w, lam) : fabs(w.plain);
        number += 1.0;
        return taken;
    }

    // Less what the ball and rounding cost; all threads of the block must call it.
    __device__ double total(double lam, double square) const {
        const double spent = 0.5 * lam * square, count = block_sum(number);
        const double loss = (spent + block_sum(size)) * (count + 64.0) * 2.0 * EPS;
        return block_sum(bound) - spent - loss;
    }
};

struct MaximumRow {
    const real* row;
    const i64* taps;                // at the row's sample, as are
    const double *lines, *windows;  // the constants below; slopes and constants above; boxes
    i64 plane, entries;
    Patch patch;

    // Entry e, 0 off the plane, and where it is on the plane.
    __device__ double read(i64 e, i64& at) const {
        at = patch.at(e);
        return at < 0 ? 0.0 : (double)row[e];
    }

    // The entry of the window at a place that a coefficient goes to.
    __device__ i64 tap(Tap which, i64 at) const { return at < 0 ? 0 : taps[which * plane + at]; }

    // Of the lines at a place: the constant below; the slope and the constant above.
    __device__ double below(i64 at) const { return lines[at]; }
    __device__ double slope(i64 at) const { return lines[plane + at]; }
    __device__ double above(i64 at) const { return lines[2 * plane + at]; }

    // The window of a negative coefficient.
    __device__ Window window(double c, i64 at) const {
        return Window{-c, c * above(at), windows + at * entries * 3, entries, tap(PEAK, at)};
    }
};

__device__ inline MaximumRow maximum_row(
    const real* rows, const i64* owner, const i64* origin, const i64* taps, const double* lines,
    const double* windows, i64 row, i64 channels, i64 high, i64 wide, i64 samples, i64 plane_high,
    i64 plane_wide, i64 entries) {
    const i64 plane = channels * plane_high * plane_wide, sample = owner[row] % samples;
    return MaximumRow{rows + row * channels * high * wide, taps + sample * 3 * plane,
                      lines + sample * 3 * plane, windows + sample * plane * entries * 3,
                      plane, entries,
                      patch_of(origin, row, high, wide, plane_high, plane_wide)};
}
