// Where an activation has a given slope: stationary.py, function by function.
#pragma once
#include "scalar.cuh"

#define SWISH_BEND 2.3993572805154677

// Rows (start, end, sign), in order.
struct Pieces {
    const double* rows;
    int count;

    __device__ double start(int k) const { return rows[3 * k]; }
    __device__ double end(int k) const { return rows[3 * k + 1]; }
    __device__ double sign(int k) const { return rows[3 * k + 2]; }
    __device__ bool hold(double low, double high) const {
        return count > 0 && !(low < start(0)) && !(high > end(count - 1));
    }
};

// One activation and where it bends.
struct Shape {
    int kind;
    double a, b;
    Pieces pieces;
};

// A point, and the activation's slope there.
struct Stationary {
    double z, slope;
};

OUTLINED double inner_slope(const Shape& f, double x) {
    if (f.kind == HARD_SWISH && -3.0 <= x && x <= 3.0) return (2.0 * x + 3.0) / 6.0;
    return slope(f.kind, x, f.a, f.b);
}

// |x| where the sigmoid has slope s; 0 where it is nowhere so steep.
__device__ inline double logistic_point(double s) {
    if (s >= 0.25) return 0.0;
    return s > 0.0 ? -log(2.0 * s / ((1.0 - 2.0 * s) + sqrt(1.0 - 4.0 * s))) : INF;
}

__device__ inline double log_or_less(double x) { return x > 0.0 ? log(x) : -INF; }

// Where a·x^(a − 1) = s, on the right of 0 or on the left (a is an integer).
__device__ inline double power_point(double s, bool right, double a) {
    const bool even = fmod(a, 2.0) == 0.0;
    const double size = even && !right ? -s / a : s / a;
    const double x = size > 0.0 ? power(size, 1.0 / (a - 1.0)) : (a > 1.0 ? 0.0 : INF);
    return right ? x : -x;
}

// Newton's method from a sine, between the inflections; nan too near to them.
__device__ inline double gated_point(const Shape& f, double s, double bend, double steepest) {
    double x = smaller(larger((s - 0.5) / steepest, -1.0), 1.0);
    x = bend * asin(x) / (0.5 * PI);
    for (int k = 0; k < 4; ++k) {
        const double bent = curvature(f.kind, x, f.a, f.b);
        if (!(fabs(bent) > 1e-3 * f.a)) return NOT_A_NUMBER;
        const double ahead = x - (slope(f.kind, x, f.a, f.b) - s) / bent;
        x = smaller(larger(ahead, -1.06 * bend), 1.06 * bend);
    }
    return x;
}

// Where a curved piece has slope `s`, or beyond an end of it; nan where there is no formula.
OUTLINED double point_of_slope(const Shape& f, double s, double low, double high) {
    if (is_nan(s)) return NOT_A_NUMBER;
    const double a = f.a, b = f.b;
    const bool right = low + high > 0.0;
    const double side = right ? 1.0 : -1.0;
    switch (f.kind) {
        case SIGMOID: return side * logistic_point(s);
        case TANH: return side * 0.5 * logistic_point(0.25 * s);
        case SOFTPLUS: return s < 1.0 ? log_or_less(s / (1.0 - s)) : INF;
        case SOFTSIGN: return side * (s > 0.0 ? larger(1.0 / sqrt(s), 1.0) - 1.0 : INF);
        case ERF: return side * sqrt(larger(-log_or_less(s / TWO_OVER_SQRT_PI), 0.0));
        case EXP: return log_or_less(s);
        case ELU: return a != 0.0 ? log_or_less(s / a) : NOT_A_NUMBER;
        case SELU: return a * b != 0.0 ? log_or_less(s / (a * b)) : NOT_A_NUMBER;
        case CELU: return a * log_or_less(s);
        case HARD_SWISH: return 3.0 * s - 1.5;
        case LOG: return s > 0.0 ? 1.0 / s : INF;
        case RECIPROCAL: return side * (s < 0.0 ? 1.0 / sqrt(-s) : INF);
        case POW:
            if (a == 0.0 || a == 1.0) return NOT_A_NUMBER;
            // an even power is one piece: its slope has the sign of x
            return power_point(s, low < 0.0 && 0.0 < high ? s / a > 0.0 : right, a);
        case GELU:
            if (!(fabs(low + high) < 2.0 / a)) return NOT_A_NUMBER;
            return gated_point(f, s, 1.0 / a, 0.629);
        case SWISH:
            if (!(fabs(low + high) < 2.0 * SWISH_BEND / a)) return NOT_A_NUMBER;
            return gated_point(f, s, SWISH_BEND / a, 0.6);
        default: return NOT_A_NUMBER;
    }
}

// Absolute error of slopes that have one; nothing is gained by a zero more exact than that.
__device__ inline double noise_of(int kind) {
    if (kind == SWISH || kind == MISH) return 4 * EPS;
    return kind == GELU || kind == GELU_TANH || kind == ERF || kind == CELU ? 4 * EPS : 0.0;
}

// The guess, or the end next to it, if it will do; else the zero by Illinois, bisected.
OUTLINED Stationary stationary(
    const Shape& f, double w, double g, double lam, double c, double low, double high,
    double guess) {
    const double noise = fabs(w) * noise_of(f.kind);
    if (!is_nan(guess)) {
        const double x = smaller(larger(guess, low), high), slope = inner_slope(f, x);
        const double m = w * slope, h = lam * (x - c) + m - g;
        const Stationary found{x, slope};
        if (fabs(h) <= 1e-13 * (lam * fabs(x - c) + fabs(m) + fabs(g)) + noise) return found;
        if ((x == low && h >= 0.0) || (x == high && h <= 0.0)) return found;
    }
    const double first = inner_slope(f, low), last = inner_slope(f, high);
    double at_low = lam * (low - c) + w * first - g, at_high = lam * (high - c) + w * last - g;
    if (at_low >= 0.0) return Stationary{low, first};
    if (at_high <= 0.0) return Stationary{high, last};
    Stationary found{low, first};
    double x = 0.5 * (low + high);
    int side = 0;
    for (int k = 0; k < 60; ++k) {
        if (!(low < x && x < high)) break;
        found = Stationary{x, inner_slope(f, x)};
        const double m = w * found.slope, h = lam * (x - c) + m - g;
        if (fabs(h) <= 1e-13 * (lam * fabs(x - c) + fabs(m) + fabs(g)) + noise) break;
        if (h < 0.0) {
            low = x;
            at_low = h;
            at_high *= side < 0 ? 0.5 : 1.0;
            side = -1;
        } else {
            high = x;
            at_high = h;
            at_low *= side > 0 ? 0.5 : 1.0;
            side = 1;
        }
        x = 0.5 * (low + high);
        // a bisection in four guards against slopes of wild scale
        if (k % 4 != 3 && at_high - at_low < INF) {
            const double step = low - at_low * ((high - low) / (at_high - at_low));
            x = low < step && step < high ? step : x;
        }
    }
    return found;
}
