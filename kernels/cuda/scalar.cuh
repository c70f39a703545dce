// First and second derivatives of every activation: scalar.py, function by function.
#pragma once
#include "common.cuh"

enum Kind {
    RELU, LEAKY, ELU, SELU, CELU, SIGMOID, HARD_SIGMOID, TANH, SOFTPLUS, SOFTSIGN,
    GELU, GELU_TANH, CLIP, ABS, POW, ERF, EXP, HARD_SWISH, RECIPROCAL, LOG, SWISH, MISH
};

#define PI 3.141592653589793
#define TWO_OVER_SQRT_PI 1.1283791670955126

// 1/(1+e^-x) without overflow.
__device__ inline double sigmoid(double x) {
    const double e = exp(-fabs(x));
    return x >= 0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
}

// Derivative of the sigmoid, even in x, without cancellation.
__device__ inline double logistic_slope(double x) {
    const double e = exp(-fabs(x));
    return e / ((1.0 + e) * (1.0 + e));
}

// Derivative of tanh, sech², without cancellation.
__device__ inline double tanh_slope(double x) { return 4.0 * logistic_slope(2.0 * x); }

// tanh(softplus(x)) and its derivative, without cancellation; see scalar.py.
struct Mish {
    double part, steep;
};

__device__ inline Mish mish_parts(double x) {
    const double w = exp(-fabs(x));
    if (x > 0.0) {
        const double whole = 1.0 + 2.0 * w + 2.0 * w * w;
        return Mish{(1.0 + 2.0 * w) / whole, 4.0 * w * w * (1.0 + w) / (whole * whole)};
    }
    const double n = w * w + 2.0 * w;
    return Mish{n / (n + 2.0), 4.0 * w * (1.0 + w) / ((n + 2.0) * (n + 2.0))};
}

// x**e over the reals: nan where undefined, inf at a pole or on overflow.
OUTLINED double power(double x, double e) {
    if (x < 0.0 && e != floor(e)) return NOT_A_NUMBER;
    if (x == 0.0 && e < 0.0) return INF;
    if (x == 0.0) return e == 0.0 ? 1.0 : 0.0;
    if (e * log(fabs(x)) > 709.0) return x < 0.0 && fmod(e, 2.0) != 0.0 ? -INF : INF;
    return pow(x, e);
}

// First derivative of an activation at x.
OUTLINED double slope(int kind, double x, double a, double b) {
    switch (kind) {
        case RELU: return x > 0 ? 1.0 : 0.0;
        case LEAKY: return x > 0 ? 1.0 : a;
        case ELU: return x > 0 ? 1.0 : a * exp(x);
        case SELU: return x > 0 ? b : b * a * exp(x);
        case CELU: return x > 0 ? 1.0 : exp(x / a);
        case SIGMOID: return logistic_slope(x);
        case HARD_SIGMOID: {
            const double v = a * x + b;
            return 0.0 < v && v < 1.0 ? a : 0.0;
        }
        case TANH: return tanh_slope(x);
        case SOFTPLUS: return sigmoid(x);
        case SOFTSIGN: return 1.0 / ((1.0 + fabs(x)) * (1.0 + fabs(x)));
        case GELU: {
            const double t = a * x;
            return 0.5 * erfc(-t) + 0.5 * TWO_OVER_SQRT_PI * t * exp(-smaller(t * t, 1000.0));
        }
        case GELU_TANH: {
            if (fabs(x) > 1e3) return x > 0 ? 1.0 : 0.0;
            const double t = a * (x + b * x * x * x);
            const double dt = a * (1.0 + 3.0 * b * x * x);
            return sigmoid(2.0 * t) + 0.5 * x * tanh_slope(t) * dt;
        }
        case CLIP: return a < x && x < b ? 1.0 : 0.0;
        case ABS: return x > 0 ? 1.0 : -1.0;
        case POW: return a * power(x, a - 1.0);
        case ERF: return TWO_OVER_SQRT_PI * exp(-smaller(x * x, 2000.0));
        case EXP: return x < 709.0 ? exp(x) : INF;
        case HARD_SWISH: return x <= -3.0 ? 0.0 : (x >= 3.0 ? 1.0 : (2.0 * x + 3.0) / 6.0);
        case RECIPROCAL: return -power(x, -2.0);
        case LOG: return x > 0.0 ? 1.0 / x : INF;
        case SWISH: return sigmoid(a * x) + a * x * logistic_slope(a * x);
        case MISH: {
            const Mish at = mish_parts(x);
            return at.part + x * at.steep;
        }
        default: return NOT_A_NUMBER;
    }
}

// See scalar.py: summands that cancel, exponentials of rounded squares.
__device__ inline double slope_noise(int kind, double a) {
    if (kind == GELU || kind == GELU_TANH || kind == SWISH) return 4e-15 * larger(a, 1.0);
    return kind == ERF || kind == HARD_SWISH || kind == MISH ? 4e-15 : 0.0;
}

// Second derivative of a smooth activation at x; nan for the others.
OUTLINED double curvature(int kind, double x, double a, double b) {
    (void)b;
    switch (kind) {
        case SIGMOID: return -logistic_slope(x) * tanh(0.5 * x);
        case TANH: return -2.0 * tanh(x) * tanh_slope(x);
        case SOFTPLUS: return logistic_slope(x);
        case GELU: {
            const double t = smaller(a * x * (a * x), 1000.0);
            return a * TWO_OVER_SQRT_PI * exp(-t) * (1.0 - t);
        }
        case ERF: return -2.0 * x * TWO_OVER_SQRT_PI * exp(-smaller(x * x, 2000.0));
        case SWISH: return a * logistic_slope(a * x) * (2.0 - a * x * tanh(0.5 * a * x));
        default: return NOT_A_NUMBER;
    }
}
