// Rigorous minima of activations over boxes: shapes.py, function by function; the proof is there.
#pragma once
#include "stationary.cuh"

#define BIG 1e100
#define TINY 1e-100
#define VALUE_FUZZ (16 * EPS)
#define SLOPE_FUZZ (32 * EPS)
#define BEND 2.0

// A bound and where it is attained.
struct Floor {
    double bound, z;
};

// wσ(z) ≥ v + m(z − q) − e|z − q|, v known to `off`.
struct Support {
    double m, e, q, v, off;
};

OUTLINED double value(const Shape& f, double x) {
    const double a = f.a, b = f.b;
    switch (f.kind) {
        case RELU: return larger(x, 0.0);
        case LEAKY: return x > 0.0 ? x : a * x;
        case ELU: return x > 0.0 ? x : a * expm1(x);
        case SELU: return x > 0.0 ? b * x : b * (a * expm1(x));
        case CELU: return x > 0.0 ? x : a * expm1(x / a);
        case SIGMOID: return sigmoid(x);
        case HARD_SIGMOID: return smaller(larger(a * x + b, 0.0), 1.0);
        case TANH: return tanh(x);
        case SOFTPLUS: return larger(x, 0.0) + log1p(exp(-fabs(x)));
        case SOFTSIGN: return x / (1.0 + fabs(x));
        case GELU: return 0.5 * x * erfc(-a * x);
        case GELU_TANH: {
            if (fabs(x) > 1e3) return larger(x, 0.0);
            const double t = a * (x + b * x * x * x);
            return x * sigmoid(2.0 * t);
        }
        case CLIP: return smaller(larger(x, a), b);
        case ABS: return fabs(x);
        case POW: return power(x, a);
        case ERF: return erf(x);
        case EXP: return x < 709.0 ? exp(x) : INF;
        case HARD_SWISH: return x * smaller(larger(x / 6.0 + 0.5, 0.0), 1.0);
        case RECIPROCAL: return x != 0.0 ? 1.0 / x : INF;
        case LOG: return x > 0.0 ? log(x) : (x == 0.0 ? -INF : NOT_A_NUMBER);
        case SWISH: return x * sigmoid(a * x);
        case MISH: return x * mish_parts(x).part;
        default: return NOT_A_NUMBER;
    }
}

__device__ inline double value_error(const Shape& f, double x, double v) {
    double size = fabs(v);
    if (f.kind == RELU || f.kind == ABS || f.kind == CLIP) return 0.0;
    if (f.kind == GELU || f.kind == GELU_TANH || f.kind == SWISH) size += fabs(x);
    if (f.kind == HARD_SWISH) size += fabs(x);
    if (f.kind == HARD_SIGMOID) size = fabs(f.a * x) + fabs(f.b);
    return VALUE_FUZZ * size;
}

__device__ inline double slope_error(const Shape& f, double x, double m) {
    double size = fabs(m);
    if (f.kind == GELU || f.kind == GELU_TANH || f.kind == ERF || f.kind == CELU) size += 1.0;
    if (f.kind == SWISH || f.kind == MISH) size += 1.0;
    if (f.kind == POW && x != 0.0) size *= 1.0 + fabs(f.a - 1.0) * fabs(log(fabs(x)));
    return SLOPE_FUZZ * size;
}

OUTLINED Support tangent(const Shape& f, double w, double q, double slope_there, double extra) {
    const double m = w * slope_there, v = value(f, q);
    const double e = fabs(w) * (slope_error(f, q, slope_there) + extra);
    const double off = fabs(w) * value_error(f, q, v);
    return Support{m, e + EPS * fabs(m), q, w * v, off + EPS * fabs(w * v)};
}

// `s` and `t` are the values at the ends.
OUTLINED Support secant(
    const Shape& f, double w, double low, double high, double s, double t) {
    const double wide = high - low;
    const double m = wide > 0.0 ? w * ((t - s) / wide) : 0.0;
    const double v = smaller(w * s, w * t - m * wide);
    const double off = larger(value_error(f, low, s), value_error(f, high, t));
    const double size = fabs(w * s) + fabs(w * t) + fabs(m * wide);
    return Support{m, 0.0, low, v, fabs(w) * off + 4 * EPS * size};
}

// The minimum at the point of support if `here`, as it is where that was the minimiser.
OUTLINED Floor quadratic(
    double lam, double c, double g, double low, double high, const Support& by, bool here) {
    const double d = by.m - g;
    double z = by.q;
    if (!here) z = lam > 0.0 ? c - d / lam : (d > 0.0 ? low : high);
    z = smaller(larger(z, low), high);
    const double t = z - c, r = lam * t + d;
    const double wrong = 4 * EPS * (lam * fabs(t) + fabs(by.m) + fabs(g)) + by.e;
    double loss = larger(larger((wrong - r) * (high - z), (wrong + r) * (z - low)), 0.0);
    if (lam > 0.0) {
        loss = smaller(loss, (fabs(r) + wrong) * ((fabs(r) + wrong) / (2.0 * lam)));
    }
    const double bend = 0.5 * (lam * t) * t, line = by.m * (z - by.q), pull = g * z;
    const double size = bend + fabs(by.v) + fabs(line) + fabs(pull);
    const double error = 8 * EPS * size + by.off + by.e * fabs(z - by.q) + loss;
    return Floor{bend + by.v + line - pull - error * (1.0 + 16 * EPS) - TINY, z};
}

// `box_floor` of numbers in its range and a box in the domain, with what is known of them.
OUTLINED Floor floor_between(
    const Shape& f, double w, double g, double lam, double c, double low, double high,
    double at_low, double at_high, double guess) {
    double best = INF, z = low;
    for (int k = 0; k < f.pieces.count; ++k) {
        const double l = larger(low, f.pieces.start(k)), u = smaller(high, f.pieces.end(k));
        // a part of one point is the end of a neighbour, unless it is the whole box
        if (l > u || (l == u && low < high)) continue;
        const double s = l == low ? at_low : value(f, l);
        const double t = u == high ? at_high : value(f, u);
        if (!is_finite(s) || !is_finite(t)) return Floor{-INF, l};
        const double sign = f.pieces.sign(k);
        const bool convex = sign * w > 0.0 && sign != 2.0;
        Support by;
        if (sign == 2.0) {
            by = tangent(f, w, l, inner_slope(f, l), BEND * (u - l));
        } else if (convex && l < u) {
            double near = guess;
            if (lam == 0.0 && !(l <= near && near <= u)) near = point_of_slope(f, g / w, l, u);
            const Stationary found = stationary(f, w, g, lam, c, l, u, near);
            by = tangent(f, w, found.z, found.slope, 0.0);
        } else {
            by = secant(f, w, l, u, s, t);
        }
        const Floor here = quadratic(lam, c, g, l, u, by, convex);
        if (!(here.bound > -INF)) return Floor{-INF, l};
        if (here.bound < best) {
            best = here.bound;
            z = here.z;
        }
    }
    return Floor{best < INF ? best : -INF, z};
}

// `floor` of shapes.py, which C++ has given away.
OUTLINED Floor box_floor(
    const Shape& f, double w, double g, double lam, double c, double low, double high) {
    const double biggest = larger(larger(fabs(low), fabs(high)), larger(fabs(c), lam));
    if (!(low <= high && lam >= 0.0 && larger(biggest, larger(fabs(w), fabs(g))) <= BIG)) {
        return Floor{-INF, 0.0};
    }
    if (is_nan(w) || is_nan(g) || is_nan(c) || is_nan(lam)) return Floor{-INF, 0.0};
    if (w == 0.0) {
        return quadratic(lam, c, g, low, high, Support{0.0, 0.0, low, 0.0, 0.0}, false);
    }
    if (!f.pieces.hold(low, high)) return Floor{-INF, low};
    const double at_low = value(f, low), at_high = value(f, high);
    return floor_between(f, w, g, lam, c, low, high, at_low, at_high, NOT_A_NUMBER);
}
