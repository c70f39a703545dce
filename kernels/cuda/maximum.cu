// The kernel of maximum_reference.py, in double, one block a row. Windows are read anew whenever
// they are needed: a list of those that matter would need memory a row.
#include "common.cuh"
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

// min(0, min_j …) of the window; see maximum_reference.py.
__device__ inline double floor_of(const Window& w, double lam) {
    const double a = w.weight;
    double least = INF;
    for (i64 j = 0; j < w.entries; ++j) {
        if (j == w.peak) continue;
        const double* entry = w.box + 3 * j;
        const double at = clamped(a / lam, entry[1], entry[2]);
        least = nan_min(least, a * entry[0] + 0.5 * lam * at * at - a * at);
    }
    const double* top = w.box + 3 * w.peak;
    const double at = clamped(-a / lam, top[1], top[2]);
    return nan_min(0.0, 0.5 * lam * at * at + a * at + least);
}

// How far δ reaches in any entry of the window that is no padding.
__device__ inline double reach_of(const Window& w) {
    double far = 0.0;
    for (i64 j = 0; j < w.entries; ++j) {
        const double* entry = w.box + 3 * j;
        if (is_finite(entry[0])) far = nan_max(far, nan_max(fabs(entry[1]), fabs(entry[2])));
    }
    return far;
}

struct MaximumRow {
    const double* row;
    const i64* taps;                // at the row's sample, as are
    const double *lines, *windows;  // the constants below; slopes and constants above; boxes
    i64 plane, entries;
    Patch patch;

    // Reads entry e. False where its coefficient is not negative: there is no choice then.
    __device__ bool over(i64 e, Window& w) const {
        const i64 at = patch.at(e);
        if (at < 0 || !(row[e] < 0.0)) return false;
        w = Window{-row[e], row[e] * lines[2 * plane + at], windows + at * entries * 3, entries,
                   taps[PEAK * plane + at]};
        return true;
    }
};

KERNEL(pull_maximum, (const double* rows, const i64* owner, const i64* origin, const i64* taps,
                      const double* lines, const double* windows, const double* square, i64* tap,
                      double* out, double* rest, double* mass, i64 channels, i64 high, i64 wide,
                      i64 samples, i64 plane_high, i64 plane_wide, i64 entries)) {
    const i64 row = blockIdx.x, count = channels * high * wide;
    const i64 plane = channels * plane_high * plane_wide, sample = owner[row] % samples;
    const MaximumRow mine{rows + row * count, taps + sample * 3 * plane,
                          lines + sample * 3 * plane, windows + sample * plane * entries * 3,
                          plane, entries,
                          patch_of(origin, row, high, wide, plane_high, plane_wide)};
    const i64 lane = threadIdx.x, lanes = blockDim.x;
    i64* to_tap = tap + row * count;
    double* to = out + row * count;
    Window w;
    double settled = 0.0, plain = 0.0, length = 0.0, number = 0.0;
    for (i64 e = lane; e < count; e += lanes) {
        const i64 at = mine.patch.at(e);
        const double c = at < 0 ? 0.0 : mine.row[e];
        to_tap[e] = at < 0 ? 0 : mine.taps[(c > 0.0 ? LEAST : MOST) * plane + at];
        if (mine.over(e, w)) {
            to[e] = c * mine.lines[plane + at];
            plain += w.plain;
            length += w.weight * w.weight;
            number += 1.0;
        } else {
            to[e] = c;
            settled += c > 0.0 ? c * mine.lines[at] : c;
        }
    }
    settled = block_sum(settled);
    plain = block_sum(plain);
    length = block_sum(length);
    number = block_sum(number);

    const double budget = square[owner[row]];
    const auto value = [&](double lam) {
        double total = 0.0;
        for (i64 e = lane; e < count; e += lanes) {
            if (mine.over(e, w)) total += nan_max(w.plain, floor_of(w, lam));
        }
        return block_sum(total) - 0.5 * lam * budget;
    };
    const double lam = multiplier(value, plain, length, budget);
    if (lam > 0.0) {
        double found = 0.0, size = 0.0;
        for (i64 e = lane; e < count; e += lanes) {
            if (!mine.over(e, w)) continue;
            const double far = reach_of(w);
            found += nan_max(w.plain, floor_of(w, lam));
            size += 2.0 * w.weight * far + lam * far * far + fabs(w.plain);
        }
        const double spent = 0.5 * lam * budget;
        size = block_sum(size);
        found = block_sum(found) - spent - (spent + size) * (number + 64.0) * 2.0 * EPS;
        if (found > plain) {
            plain = found;
            for (i64 e = lane; e < count; e += lanes) {
                if (!mine.over(e, w) || !(floor_of(w, lam) > w.plain)) continue;
                to_tap[e] = w.peak;
                to[e] = -w.weight;
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
