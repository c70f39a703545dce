// The relaxations of one entry: relax_reference.py, function by function.
#pragma once
#include "shapes.cuh"

struct Lines {
    double below, low_at, above, high_at;
};
struct Line {
    double slope, at;
};
struct Ends {
    double least, most;
};

// True only where σ does not decrease from `low` on.
__device__ inline bool rises(const Shape& f, double low) {
    switch (f.kind) {
        case ELU:
        case LEAKY:
        case HARD_SIGMOID: return f.a >= 0.0;
        case SELU: return f.a >= 0.0 && f.b >= 0.0;
        case POW: return f.a >= 0.0 && low >= 0.0;
        case LOG: return low > 0.0;
        case RELU:
        case CELU:
        case SIGMOID:
        case TANH:
        case SOFTPLUS:
        case SOFTSIGN:
        case CLIP:
        case ERF:
        case EXP: return true;
        default: return false;
    }
}

// Bounds that hold everywhere, so that rounding never leaves them.
__device__ inline Ends codomain(const Shape& f) {
    switch (f.kind) {
        case SIGMOID:
        case HARD_SIGMOID: return Ends{0.0, 1.0};
        case TANH:
        case ERF:
        case SOFTSIGN: return Ends{-1.0, 1.0};
        case ABS:
        case EXP:
        case SOFTPLUS: return Ends{0.0, INF};
        case POW:
            if (fmod(f.a, 2.0) == 0.0 || f.a != floor(f.a)) return Ends{0.0, INF};
            return Ends{-INF, INF};
        default: return Ends{-INF, INF};
    }
}

__device__ inline Ends range_one(const Shape& f, double low, double high) {
    const Ends unknown{-INF, INF};
    if (!(low <= high) || !f.pieces.hold(low, high)) return unknown;
    double least, most;
    if (rises(f, low)) {
        least = value(f, low);
        most = value(f, high);
        least -= value_error(f, low, least) * (1.0 + EPS);
        most += value_error(f, high, most) * (1.0 + EPS);
        // what underflow may have taken; exact kinds have nothing to lose
        if (f.kind != RELU && f.kind != CLIP) {
            least -= TINY;
            most += TINY;
        }
    } else {
        least = box_floor(f, 1.0, 0.0, 0.0, 0.0, low, high).bound;
        most = -box_floor(f, -1.0, 0.0, 0.0, 0.0, low, high).bound;
        if (least == -INF || most == INF) return unknown;
    }
    if (is_nan(least) || is_nan(most)) return unknown;
    const Ends within = codomain(f);
    return Ends{larger(least, within.least), smaller(most, within.most)};
}

__device__ inline Lines leaky_lines(double a, double low, double high) {
    if (low >= 0.0) return Lines{1.0, 0.0, 1.0, 0.0};
    if (high <= 0.0) return Lines{a, 0.0, a, 0.0};
    const double through = high > -low ? 1.0 : a;
    const double s = high / (high - low) - a * (low / (high - low));
    const double at_low = (a - s) * low, at_high = (1.0 - s) * high;
    const double size = fabs(at_low) + fabs(at_high) + (fabs(a) + fabs(s)) * -low + high;
    const double slack = 8 * EPS * size + TINY;
    if (a <= 1.0) return Lines{through, 0.0, s, larger(at_low, at_high) + slack};
    return Lines{s, smaller(at_low, at_high) - slack, through, 0.0};
}

// A box with a target in it, what is known of the function there, and how it bends (bends_of).
struct Box {
    double low, high, target, at_low, at_high, at, slope, bends;
};

// Slope of the convex hull of wσ at the target, where the function itself is above it.
OUTLINED double hull_slope(const Shape& f, double w, const Box& box) {
    const double low = box.low, high = box.high, target = box.target;
    const double first_at = w * box.at_low, last_at = w * box.at_high;
    double left = low, right = high, at_left = first_at, at_right = last_at;
    double s = (at_right - at_left) / (right - left), before = 0.0;
    for (int step = 0; step < 12; ++step) {
        const double level = at_left - s * left;
        double lowest = level, highest = level;
        if (first_at - s * low < lowest && low < target) {
            lowest = first_at - s * low;
            left = low;
            at_left = first_at;
        }
        if (last_at - s * high < highest && target < high) {
            highest = last_at - s * high;
            right = high;
            at_right = last_at;
        }
        for (int k = 0; k < f.pieces.count; ++k) {
            const double l = larger(low, f.pieces.start(k)), u = smaller(high, f.pieces.end(k));
            const double sign = f.pieces.sign(k);
            if (l >= u || sign == 2.0) continue;
            double z;
            if (sign * w > 0.0) {
                z = point_of_slope(f, s / w, l, u);
                if (is_nan(z)) z = stationary(f, w, s, 0.0, 0.0, l, u, z).z;
                z = smaller(larger(z, l), u);
            } else if (u < high && f.pieces.sign(k + 1) * w <= 0.0 && f.pieces.sign(k + 1) != 2.0) {
                z = u;
            } else {
                continue;
            }
            const double at = w * value(f, z), below = at - s * z;
            if (z < target || (z == target && target < high)) {
                if (below < lowest) {
                    lowest = below;
                    left = z;
                    at_left = at;
                }
            } else if (below < highest) {
                highest = below;
                right = z;
                at_right = at;
            }
        }
        const double gap = level - smaller(lowest, highest);
        if (!(right > left)) break;
        s = (at_right - at_left) / (right - left);
        // gaps shrink faster each time, so the next is less than this
        const double ahead = before > 0.0 ? gap * smaller(gap / before, 1.0) : gap;
        const double noise = 4 * EPS * (fabs(at_right) + fabs(at_left));
        if (!(ahead > 1e-12 * fabs(at_right - at_left) + noise)) break;
        before = gap;
    }
    return s;
}

// The sign of the one piece the box lies on; 4 if it meets several.
__device__ inline double bends_of(const Pieces& pieces, double low, double high) {
    int count = 0;
    double first = 0.0;
    for (int k = 0; k < pieces.count; ++k) {
        if (larger(low, pieces.start(k)) < smaller(high, pieces.end(k))) {
            ++count;
            first = pieces.sign(k);
        }
    }
    return count == 1 ? first : 4.0;
}

// See LEAN in relax_lines.py.
__device__ inline double target_of(double low, double high, double point, double rise) {
    const double middle = 0.5 * (low + high), end = rise > 0.0 ? low : rise < 0.0 ? high : point;
    const double target = middle + 0.06 * (end - point);
    return is_nan(target) ? middle : larger(low, smaller(target, high));
}

// Slope and constant of a line below wσ on the box, close to it at the target.
OUTLINED Line line_below(const Shape& f, double w, const Box& box) {
    const double low = box.low, high = box.high, target = box.target, wide = high - low;
    const bool narrow = wide <= 1e-9 * (fabs(low) + fabs(high));
    double s = w * box.slope;
    bool bent = box.bends == 4.0 || !(fabs(box.slope) <= BIG);
    // a secant of nearly equal values would be noise
    if (!narrow && fabs(box.bends) <= 1.0 && box.bends * w <= 0.0) {
        s = (w * box.at_high - w * box.at_low) / wide;
        bent = false;
    }
    s = fabs(s) <= BIG ? s : 0.0;
    bent = bent && !narrow;
    const double at = w * box.at, size = fabs(box.at) + fabs(s) * (fabs(low) + fabs(high));
    const double room = 1e-12 * fabs(s) * wide + 64 * EPS * size;
    double constant = -INF;
    if (!bent || (w * (box.at_low - box.at) + room >= s * (low - target) &&
                  w * (box.at_high - box.at) + room >= s * (high - target))) {
        constant =
            floor_between(f, w, s, 0.0, 0.0, low, high, box.at_low, box.at_high, target).bound;
    }
    // no line that holds is higher there than a tangent that does
    if (bent && !(at - (constant + s * target) <= room)) {
        double steep = hull_slope(f, w, box);
        steep = fabs(steep) <= BIG ? steep : s;
        const double other = floor_between(f, w, steep, 0.0, 0.0, low, high, box.at_low,
                                           box.at_high, NOT_A_NUMBER).bound;
        if (constant == -INF || other + steep * target > constant + s * target) {
            s = steep;
            constant = other;
        }
    }
    return Line{constant > -INF ? s : 0.0, constant};
}

__device__ inline Lines lines_one(const Shape& f, double low, double high, double point) {
    if (!(low <= high && larger(fabs(low), fabs(high)) <= BIG) || f.pieces.count == 0) {
        return Lines{0.0, -INF, 0.0, INF};
    }
    if (f.kind == RELU) return leaky_lines(0.0, low, high);
    if (f.kind == LEAKY && fabs(f.a) <= BIG) return leaky_lines(f.a, low, high);
    const Lines none{0.0, -INF, 0.0, INF};
    if (!f.pieces.hold(low, high)) return none;
    const double at_low = value(f, low), at_high = value(f, high);
    if (!is_finite(at_low) || !is_finite(at_high)) return none;
    const double bends = bends_of(f.pieces, low, high);
    Line found[2];
    for (int side = 0; side < 2; ++side) {
        const double w = 1.0 - 2.0 * side;
        const double target = target_of(low, high, point, w * (at_high - at_low));
        const Box box{low, high, target, at_low, at_high, value(f, target), inner_slope(f, target),
                      bends};
        found[side] = line_below(f, w, box);
    }
    return Lines{found[0].slope, found[0].at, -found[1].slope, -found[1].at};
}

// `box_floor` of the ReLU, whose linear pieces are exact supports; the hot case.
__device__ inline Floor relu_floor(
    double w, double g, double lam, double c, double low, double high) {
    // a nan fails its comparison
    if (!(low >= -BIG && high <= BIG && low <= high && 0.0 <= lam && lam <= BIG)) {
        return Floor{-INF, 0.0};
    }
    if (!(fabs(w) <= BIG && fabs(g) <= BIG && fabs(c) <= BIG)) return Floor{-INF, 0.0};
    Floor best{INF, low};
    if (lam > 0.0) {
        if (low <= 0.0) {
            const Support flat{0.0, 0.0, 0.0, 0.0, 0.0};
            best = quadratic(lam, c, g, low, smaller(high, 0.0), flat, false);
        }
        if (high > 0.0) {
            const Support steep{w, 0.0, 0.0, 0.0, 0.0};
            const Floor found = quadratic(lam, c, g, larger(low, 0.0), high, steep, false);
            if (found.bound < best.bound) best = found;
        }
        return best;
    }
    // piecewise linear: one of three points
    const double points[3] = {low, high, low < 0.0 && 0.0 < high ? 0.0 : low};
    for (double point : points) {
        const double up = w * larger(point, 0.0), pull = g * point;
        const double bound = up - pull - 2 * EPS * (fabs(up) + fabs(pull));
        if (bound < best.bound) best = Floor{bound, point};
    }
    return Floor{best.bound - TINY, best.z};
}

__device__ inline Floor floor_one(
    const Shape& f, double w, double g, double lam, double c, double low, double high) {
    if (w == 0.0 && g == 0.0) return Floor{0.0, smaller(larger(c, low), high)};
    if (f.kind == RELU) return relu_floor(w, g, lam, c, low, high);
    return box_floor(f, w, g, lam, c, low, high);
}

// s·p + t − v, moved outward by what rounding costs a unit of coefficient. An infinite constant is
// no line.
__device__ inline double shift_one(
    double slope, double constant, double point, double value_at, double deviation, double gamma,
    double outward) {
    if (fabs(constant) == INF) return constant;
    const double moved = slope * point, shifted = moved + constant - value_at;
    double size = (fabs(moved) + fabs(constant) + fabs(value_at)) * (8 * EPS);
    size = size + fabs(slope) * deviation * (4 * EPS) + fabs(shifted) * gamma;
    return shifted + outward * (size * (1.0 + gamma) + 1e-300);
}
