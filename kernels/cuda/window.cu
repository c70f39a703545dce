// The kernel of window_reference.py, in double, one block a plane: its windows share entries, and
// threads that mark the same entry write the same.
#include "relax.cuh"

// Planes of the taps, and of the marks.
enum Tap { LEAST, MOST, PEAK };
enum Mark { TIED, FIRST, BEHIND };

// Relative widening of a deviation, whose subtraction and scaling round three times.
#define NUDGE 4e-16

// An end that is infinite or no number bounds nothing.
__device__ inline double lower(double end) { return is_finite(end) ? end : -INF; }
__device__ inline double upper(double end) { return is_finite(end) ? end : INF; }

// At least |δ|; infinite where an end or the point is none.
__device__ inline double deviation_of(double low, double high, double point) {
    const double apart = nan_max(nan_max(high - point, point - low), 0.0);
    const double far = apart * (1.0 + NUDGE) + fabs(point) * NUDGE;
    return far < INF ? far : INF;
}

// Slope and constant of the line above; see window_reference.py.
struct Above {
    double slope, at;
};

__device__ inline Above above_of(double top, double bottom, double others) {
    if (bottom >= others) return Above{1.0, 0.0};
    const double level = others;  // the greater of the two, or this were exact
    double slope = top > bottom ? (top - level) / (top - bottom) : 1.0;
    slope = is_nan(slope) ? 0.0 : smaller(larger(slope, 0.0), 1.0);
    double at = nan_max(level - slope * bottom, top - slope * top);
    at = at + (fabs(level) + fabs(bottom) + fabs(top)) * (4 * EPS);
    return Above{slope, is_finite(at) ? at : INF};
}

KERNEL(window_lines, (const double* low, const double* high, const double* point,
                      const double* value, const i64* table, i64* taps, double* lines,
                      unsigned char* marks, double* far, double gamma, i64 channels, i64 size,
                      i64 count, i64 entries)) {
    const i64 plane = blockIdx.x, sample = plane / channels, channel = plane % channels;
    const double *lows = low + plane * size, *highs = high + plane * size;
    const double* points = point + plane * size;
    // where the first of three planes starts, and how far the next is
    const i64 start = (sample * 3 * channels + channel) * count, step = channels * count;
    unsigned char* mark = marks + (sample * 3 * channels + channel) * size;
    const i64 next = channels * size;
    double reach = 0.0;
    for (i64 w = threadIdx.x; w < count; w += blockDim.x) {
        const i64* window = table + w * entries;
        i64 least = -1, most = -1, peak = -1, first = -1;
        double floor_at = -INF, top = -INF, others = -INF, best = -INF;
        for (i64 k = 0; k < entries; ++k) {
            const i64 e = window[k];
            if (e < 0) continue;
            if (first < 0) first = k;
            const double l = lower(lows[e]), u = upper(highs[e]), z = points[e];
            if (l > floor_at) {
                least = k;
                floor_at = l;
            }
            if (u > top) {
                most = k;
                others = top;
                top = u;
            } else if (u > others) {
                others = u;
            }
            if (z > best) {
                peak = k;
                best = z;
            }
            reach = larger(reach, deviation_of(l, u, z));
        }
        // where none is more than −∞ the first
        if (least < 0) least = first;
        if (peak < 0) peak = first;
        const i64 i = window[least], j = window[most];
        const double v = value[plane * count + w], bottom = lower(lows[j]);
        const Above line = above_of(top, bottom, others);
        const double below = shift_one(1.0, 0.0, points[i], v,
                                       deviation_of(lower(lows[i]), upper(highs[i]), points[i]),
                                       gamma, -1.0);
        const double above = shift_one(line.slope, line.at, points[j], v,
                                       deviation_of(bottom, top, points[j]), gamma, 1.0);
        taps[start + LEAST * step + w] = least;
        taps[start + MOST * step + w] = most;
        taps[start + PEAK * step + w] = peak;
        lines[start + w] = is_finite(below) ? below : -INF;
        lines[start + step + w] = line.slope;
        lines[start + 2 * step + w] = is_finite(above) ? above : INF;
        const bool loose = !(least == most && bottom >= others);
        for (i64 k = 0; k < entries; ++k) {
            const i64 e = window[k];
            if (e < 0) continue;
            mark[(k == peak ? FIRST : BEHIND) * next + e] = 1;
            if (loose && !(upper(highs[e]) <= floor_at)) mark[TIED * next + e] = 1;
        }
    }
    reach = block_max(reach);
    if (threadIdx.x == 0) far[plane] = reach;
}
